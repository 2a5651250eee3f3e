"""The shells that the script must run under, as a node would have them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.node.nodes import NOBODY, NodeShell, applets, programs
from tests.support.salt import salt_master, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["salt_master", "stand_in"]

#: dash and bash with GNU's tools; busybox's ash with its own tools alone; and tools left out of a busybox, so that the
#: script's own watcher and the answers for missing programs are tried.
SHELLS = ("dash", "bash", "busybox", "busybox-no-timeout-no-setsid")


def make_shell(name: str, folder: Path) -> NodeShell:
    """A shell by its name in SHELLS; skips where this machine lacks it."""
    program = "busybox" if name.startswith("busybox") else name
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on this machine")
    if program != "busybox":
        # Under the name sh, as on a node: bash behaves otherwise under its own name.
        alias = folder / "sh"
        alias.symlink_to(found)
        return NodeShell(name, [str(alias), "-s"])
    left_out = ("timeout", "setsid") if "no-timeout" in name else ()
    return NodeShell(name, [found, "sh", "-s"], {"PATH": applets(folder / "bin", *left_out)}, alone=True)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NodeShell:
    """Each shell in turn."""
    return make_shell(str(request.param), tmp_path_factory.mktemp("shell"))


@pytest.fixture
def dash(tmp_path_factory: pytest.TempPathFactory) -> NodeShell:
    """One shell, for what depends on none."""
    return make_shell("dash", tmp_path_factory.mktemp("shell"))


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user of this machine may reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="gpuready-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["dash", "bash"])
def plain(request: pytest.FixtureRequest) -> NodeShell:
    """A shell of an unprivileged user."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("becoming another user needs root and setpriv")
    if shutil.which(str(request.param)) is None:
        pytest.skip(f"{request.param} is not on this machine")
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return NodeShell(f"plain {request.param}", [*become, str(request.param), "-s"])


@pytest.fixture
def bare(tmp_path: Path) -> NodeShell:
    """A shell whose node has sh, cat, ls and sleep, and nothing else that the script would use."""
    sh = shutil.which("dash") or shutil.which("sh") or "sh"
    return NodeShell("bare", [sh, "-s"], {"PATH": programs(tmp_path / "bare", "sh", "cat", "ls", "sleep")}, alone=True)
