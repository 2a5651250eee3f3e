"""Early logins: while the suite is imported and collected, the first nodes' connections are already being made.

A login takes about as long as importing everything; side by side they cost one of the two. Nothing is asked of a node
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.node.hosts import SpecError, parse_all
from pytest_gpuready.node.transport import Options, Shell

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The connections that wait for the runner, by node's label.
EARLY: pytest.StashKey[dict[str, Shell]] = pytest.StashKey()

#: More nodes than this gain nothing: importing is short beside asking them.
MOST = 4


def options(config: pytest.Config) -> Options:
    """The options of testinfra, as given."""
    option = config.option
    return Options(option.ssh_config, option.ssh_identity_file, bool(option.sudo), option.sudo_user)


def connect(config: pytest.Config) -> None:
    """Begin the logins of the nodes that --hosts names; whatever is wrong with them is said later, by who asks."""
    hosts = getattr(config.option, "hosts", None)
    if not hosts or config.option.collectonly or hasattr(config, "workerinput"):
        return
    if _engine(config) != "threads":
        return  # it makes logins of its own
    try:
        nodes = [node for node in parse_all([hosts]) if node.scheme in ("ssh", "paramiko")]
    except SpecError:
        return
    shells = {node.label: Shell(node, options(config)) for node in nodes[:MOST]}
    config.stash[EARLY] = shells
    # Whatever is not taken (a usage error, a collection that fails) is closed with the run.
    config.add_cleanup(lambda: _close(shells.values()))
    for shell in shells.values():
        shell.connect()


def _engine(config: pytest.Config) -> str:
    """What is to ask the nodes; whether there is such a thing is said later."""
    try:
        return str(config.option.gpuready_engine or config.getini("gpuready_engine") or "threads")
    except (pytest.UsageError, TypeError, ValueError):
        return ""


def _close(shells: Iterable[Shell]) -> None:
    for shell in list(shells):
        shell.kill()
        shell.close()
