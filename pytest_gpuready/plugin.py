"""The pytest plugin: options, ini keys, and the hooks that every pytest run loads. Nothing heavy is imported here.

With `--gpuready` it registers `pytest_gpuready.suite`, which collects, gathers, judges and reports.
"""

from __future__ import annotations

import copy
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pytest_gpuready.fixtures import (
    cdi,
    containerd_config,
    containerd_live,
    ctr,
    driver,
    kubernetes,
    node,
    nvml,
    platform,
    toolkit,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = [
    "cdi",
    "containerd_config",
    "containerd_live",
    "ctr",
    "driver",
    "kubernetes",
    "node",
    "nvml",
    "platform",
    "toolkit",
]

#: ini keys that may also be given as options: name, help. The option wins.
INI: tuple[tuple[str, str], ...] = (
    ("gpuready_routes", "routes that must hold, as --gpuready-routes"),
    ("gpuready_handler", "runtime handler to judge, as --gpuready-handler"),
    ("gpuready_containerd", "socket of the containerd to judge, as --gpuready-containerd"),
    ("gpuready_timeout", "seconds per node, as --gpuready-timeout"),
    ("gpuready_jobs", "nodes at once, as --gpuready-jobs"),
    ("gpuready_engine", "what asks the nodes, as --gpuready-engine"),
)

#: What standard input said, where a file of hosts is `-`; and standard output, where a report goes to `-`.
STDIN: pytest.StashKey[str] = pytest.StashKey()
STDOUT: pytest.StashKey[TextIO] = pytest.StashKey()

#: One of the suite's ids on the command line; a rootdir above the current directory makes pytest show it with `../`.
_SUITE_ID = re.compile(r"(?:\.\./)*(gpuready(?:/.*)?)", re.DOTALL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the group `gpuready`; testinfra's own (--hosts, --ssh-config, --sudo …) are used as they are."""
    add = parser.getgroup("gpuready", "can these nodes run NVIDIA GPU containers on containerd?").addoption
    add("--gpuready", action="store_true", help="run the packaged readiness suite (on --hosts, else on this machine)")
    add("--gpuready-hosts-file", metavar="FILE", help="host specs, one a line, # comments; - is standard input")
    add(
        "--gpuready-routes",
        metavar="LIST",
        help="routes that must hold: ids, or any, or all (default: by evidence, per node)",
    )
    add(
        "--gpuready-handler",
        metavar="NAME",
        help="the runtime handler to judge (default: the RuntimeClass's, else nvidia)",
    )
    add("--gpuready-containerd", metavar="SOCKET", help="the containerd to judge (default: the kubelet's)")
    add("--gpuready-timeout", metavar="S", help="seconds until a node has answered everything (default: 30)")
    add("--gpuready-jobs", metavar="N", help="nodes asked at once (default: 128 a core, at most 512)")
    add(
        "--gpuready-engine",
        metavar="NAME",
        help="what asks the nodes: threads (default), or clustershell, also through gateways (pytest-gpuready[fleet])",
    )
    add(
        "--gpuready-save",
        metavar="DIR",
        help="write each node's snapshot there; judge it again by --hosts snapshot://FILE",
    )
    add(
        "--gpuready-json",
        metavar="PATH",
        type=_place,
        help="write the JSON report; - is standard output, pytest's own output then goes to standard error",
    )
    add(
        "--gpuready-md",
        metavar="PATH",
        type=_place,
        help="write the report as Markdown, for a chat, an issue, a ticket; - is standard output; "
        "where $GITHUB_STEP_SUMMARY is set, it is appended there too",
    )
    add(
        "--gpuready-baseline",
        metavar="OLD.json",
        help="say in every report what changed since that JSON report",
    )
    add(
        "--gpuready-kubeconfig",
        metavar="FILE",
        help="let the kubernetes checks ask the API server with this kubeconfig",
    )
    add("--gpuready-live", action="store_true", help="also run a container by each route, and remove it again")
    add("--gpuready-live-idle-only", action="store_true", help="the same, but leave a node alone whose GPUs are in use")
    add(
        "--gpuready-image",
        metavar="REF",
        help="the image for it (default: builtin, a tiny one made of the node's own libc; nothing is ever pulled)",
    )
    add("--gpuready-list", action="store_true", help="list all checks and routes, and exit")
    add("--gpuready-explain", metavar="ID", help="explain a check, and exit")
    for name, text in INI:
        parser.addini(name, text)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """With no path of the user's among the arguments no conftest is loaded at all; an ini file's addopts are settled.

    This is also the one moment before pytest captures standard input and output.
    """
    known = early_config.known_args_namespace
    if known.gpuready:
        from pytest_gpuready.addopts import settle  # noqa: PLC0415 - loaded only when asked for

        settle(early_config, parser, args)
    if known.debug:
        _hide_passwords(early_config)
    if known.gpuready:
        _open_closed_streams((known.gpuready_json, known.gpuready_md))
    if known.gpuready_hosts_file == "-":
        early_config.stash[STDIN] = sys.stdin.read()
    if known.gpuready:
        if "-" in (known.gpuready_json, known.gpuready_md):
            _keep_stdout(early_config)
        # Up to pytest 8 only the first of several groups of paths is known here as such.
        _, others = parser.parse_known_and_unknown_args(list(args), copy.copy(early_config.option))
        paths, _ = split_args(early_config, [*known.file_or_dir, *(arg for arg in others if _exists(arg))])
        known.file_or_dir = paths
        if not paths:
            known.noconftest = True  # what the conftest loader reads
            args.append("--noconftest")  # what the final options, and xdist's workers, see
    yield


def _place(text: str) -> str:
    """Parse where a report goes; `outputs` is loaded only where one is asked for."""
    from pytest_gpuready.outputs import place  # noqa: PLC0415 - see above

    return place(text)


def _open_closed_streams(reports: tuple[str | None, ...]) -> None:
    """Replace each standard stream that the caller closed (`>&-`) by an empty one; pytest cannot run without them."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        stream = os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w", encoding="utf-8")
        setattr(sys, name, stream)
    if "stdout" in closed and "-" in reports:
        raise pytest.UsageError("a report that goes to - needs standard output, which is closed")


def _hide_passwords(config: pytest.Config) -> None:
    """Take passwords out of the arguments that `--debug` writes to its log. The options stay as they were parsed."""
    from pytest_gpuready.inputs import hidden  # noqa: PLC0415 - loaded only when asked for

    given = config.invocation_params
    before = ["", *map(str, given.args)]
    args = tuple(
        hidden(str(arg)) if last == "--hosts" or str(arg).startswith("--hosts=") else arg
        for last, arg in zip(before, given.args, strict=False)
    )
    config.invocation_params = type(given)(args=args, plugins=given.plugins, dir=given.dir)


def split_args(config: pytest.Config, args: Iterable[str]) -> tuple[list[str], list[str]]:
    """The paths of the user's own tests, and the ids of the suite that are to be shown.

    Paths are those typed, not those of an ini file's addopts: the suite is the same in every directory.
    """
    typed = [str(arg) for arg in config.invocation_params.args]
    from_file = any(arg.startswith("@") for arg in typed)  # pytest reads further arguments there
    paths, ids = [], []
    for arg in args:
        match = _SUITE_ID.fullmatch(arg)
        if match and not _exists(arg):
            ids.append(match[1])
        elif arg in typed or from_file:
            paths.append(arg)
    return paths, ids


def _exists(arg: str) -> bool:
    """Whether the argument names something of the user's: a folder of theirs may be called gpuready."""
    return Path(arg.partition("::")[0]).exists()


def _keep_stdout(config: pytest.Config) -> None:
    """Keep standard output for a report: from here on everybody who writes there writes to standard error."""
    stream = sys.stdout
    stream.flush()
    try:
        real = stream.fileno() == 1
    except (OSError, ValueError):
        real = False  # pytest was called by a program that has put something else in its place
    if not real:
        config.stash[STDOUT] = stream
        sys.stdout = sys.stderr
        config.add_cleanup(lambda: setattr(sys, "stdout", stream))
        return
    kept = os.dup(1)
    os.dup2(2, 1)
    config.stash[STDOUT] = os.fdopen(kept, "w", encoding="utf-8")

    def restore() -> None:
        sys.stdout.flush()
        os.dup2(kept, 1)

    config.add_cleanup(restore)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """--gpuready-list and --gpuready-explain print and end the run."""
    if not (config.option.gpuready_list or config.option.gpuready_explain):
        return None
    from pytest_gpuready.report import pages  # noqa: PLC0415 - loaded only when asked for

    try:
        text = pages.explain(config.option.gpuready_explain) if config.option.gpuready_explain else pages.listing()
    except LookupError as error:
        raise pytest.UsageError(str(error.args[0])) from None
    print(text.rstrip("\n"))  # noqa: T201 - that is what the option is for
    return 0


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the suite if it is asked for."""
    config.addinivalue_line(
        "markers", "gpuready(id, needs): a readiness check of your own, in the report and the verdict"
    )
    workerinput = getattr(config, "workerinput", {})
    hosts = getattr(config.option, "hosts", None) or ""
    if workerinput.get("gpuready_hosts"):
        from pytest_gpuready.asked import give_hosts  # noqa: PLC0415 - loaded only when asked for

        give_hosts(config, workerinput["gpuready_hosts"])
    elif not config.option.gpuready and (
        config.option.gpuready_hosts_file or re.search(r"snapshot://|chroot://|\[|://@|@@|[!&^]", hosts)
    ):
        from pytest_gpuready.asked import share_hosts, specs  # noqa: PLC0415 - loaded only when asked for

        share_hosts(config, specs(config))
    if config.option.gpuready:
        from pytest_gpuready.early import connect  # noqa: PLC0415 - loaded only when asked for

        connect(config)
        from pytest_gpuready.suite import SuitePlugin  # noqa: PLC0415 - loaded only when asked for

        config.pluginmanager.register(SuitePlugin.from_config(config), "gpuready-suite")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: a worker need not read the hosts again, and could not where they came from standard input."""
    option = node.config.option
    hosts = getattr(option, "hosts", None) or ""
    if option.gpuready_hosts_file or option.gpuready or "snapshot://" in hosts or "chroot://" in hosts:
        node.workerinput["gpuready_hosts"] = option.hosts
