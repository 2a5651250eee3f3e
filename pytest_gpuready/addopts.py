"""The ini file's addopts, and what they may not change.

pytest puts an ini file's addopts in front of what was typed. It looks for that file in the working directory and above,
so another person may have written it. Where `--gpuready` was typed, the file cannot make pytest show something else,
ask other nodes or run containers. PYTEST_ADDOPTS counts as typed: the environment is the user's own.
"""

from __future__ import annotations

import copy
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.node.clean import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Which nodes are asked; these count where the same file gives `--gpuready`.
HOSTS = ("hosts", "gpuready_hosts_file")

#: Other options, by their names in `config.option`, that would show something else, ask nothing, or run containers.
ELSE = (
    "collectonly",
    "showfixtures",
    "show_fixtures_per_test",
    "markers",
    "cacheshow",
    "setuponly",
    "setupplan",
    "help",
    "version",
    "nagios",
    "looponfail",
    "gpuready_list",
    "gpuready_explain",
    "gpuready_live",
    "gpuready_live_idle_only",
    "gpuready_image",
)


@dataclass(frozen=True)
class Addopts:
    """What the ini file's addopts did to this run: `ignored` is a sentence, `options` are names that it alone gives.

    `hosts` is the file where it chose the nodes.
    """

    ignored: str = ""
    hosts: str = ""
    options: frozenset[str] = frozenset()


KEY: pytest.StashKey[Addopts] = pytest.StashKey()


def settle(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Take out of `args` what the ini file may not decide, and keep on record what else it decides.

    For `pytest_load_initial_conftests`: all plugins' options are known there, and nothing has acted on them yet.
    """

    def parsed(some: Sequence[str]) -> dict[str, object]:
        return vars(parser.parse_known_args(list(some), namespace=copy.copy(config.option)))

    added, typed = _split(config, args)
    mine, theirs = parsed(typed), parsed(added)
    overrides = mine["override_ini"]
    if not added or (isinstance(overrides, list) and any(entry.startswith("addopts=") for entry in overrides)):
        return  # with -o the user typed them
    defaults = parsed([])
    refused = set(ELSE).union(() if theirs["gpuready"] else HOSTS).intersection(mine) if mine["gpuready"] else set()
    kept, dropped = _without(added, lambda some: any(parsed(some)[name] != defaults[name] for name in refused))
    args[: len(added)] = kept
    for name in refused:
        setattr(config.known_args_namespace, name, mine[name])
    alone = {name for name in defaults if theirs[name] != defaults[name] == mine[name]} - refused
    path = one_line(str(config.inipath))
    config.stash[KEY] = Addopts(
        ignored=f"addopts of {path}: {', '.join(dropped)} ignored, because --gpuready was typed" if dropped else "",
        hosts=path if alone.intersection(HOSTS) else "",
        options=frozenset(alone),
    )


def of(config: pytest.Config) -> Addopts:
    """What the ini file's addopts did to this run."""
    return config.stash.get(KEY, Addopts())


def _split(config: pytest.Config, args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments that the ini file added, and those that are the user's own."""
    given = [str(arg) for arg in args]
    typed = [str(arg) for arg in config.invocation_params.args]
    before = given[: len(given) - len(typed)]
    if [*before, *typed] != given:
        return [], given  # an xdist worker: its arguments come from the controller
    own = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    if own and before[-len(own) :] == own:
        before = before[: -len(own)]
    return before, given[len(before) :]


def _without(args: Iterable[str], is_refused: Callable[[list[str]], bool]) -> tuple[list[str], list[str]]:
    """The arguments without the refused options, and the names of these as they were written."""
    kept: list[str] = []
    dropped: list[str] = []
    waiting: list[str] = []
    for arg in args:
        waiting.append(arg)
        try:
            refused = is_refused(waiting)
        except pytest.UsageError:
            continue  # its value comes next
        if refused:
            dropped.append(one_line(waiting[0].partition("=")[0], 40))
        else:
            kept += waiting
        waiting = []
    return [*kept, *waiting], list(dict.fromkeys(dropped))
