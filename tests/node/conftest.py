"""The shells that the script must run under, as a node would have them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.node.nodes import NOBODY, NodeShell, applets, programs
from tests.support.salt import salt_master, stand_in
from tests.support.shell import shells

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["salt_master", "stand_in"]

#: dash and bash with GNU's tools; busybox's ash with its own tools alone; and tools left out of a busybox, so that the
#: script's own watcher and the answers for missing programs are tried.
SHELLS = ("dash", "bash", "busybox", "busybox-no-timeout-no-setsid")


def make_shell(name: str, folder: Path) -> NodeShell:
    """A shell by its name in SHELLS."""
    program = "busybox" if name.startswith("busybox") else name
    found = shutil.which(program)
    assert found is not None, program
    if program != "busybox":
        # Under the name sh, as on a node: bash behaves otherwise under its own name.
        alias = folder / "sh"
        alias.symlink_to(found)
        return NodeShell(name, [str(alias), "-s"])
    left_out = ("timeout", "setsid") if "no-timeout" in name else ()
    return NodeShell(name, [found, "sh", "-s"], {"PATH": applets(folder / "bin", *left_out)}, alone=True)


@pytest.fixture(params=shells(*SHELLS))
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NodeShell:
    """Each shell in turn."""
    return make_shell(str(request.param), tmp_path_factory.mktemp("shell"))


@pytest.fixture
def dash(tmp_path_factory: pytest.TempPathFactory) -> NodeShell:
    """One shell, for what depends on none."""
    here = next(name for name in SHELLS if shutil.which(name))
    return make_shell(here, tmp_path_factory.mktemp("shell"))


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user of this machine may reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="gpuready-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


PLAIN = [pytest.param(name, marks=pytest.mark.lab("root", "setpriv", name)) for name in ("dash", "bash")]


@pytest.fixture(params=PLAIN)
def plain(request: pytest.FixtureRequest) -> NodeShell:
    """A shell of an unprivileged user."""
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return NodeShell(f"plain {request.param}", [*become, str(request.param), "-s"])


@pytest.fixture
def bare(tmp_path: Path) -> NodeShell:
    """A shell whose node has sh, cat, ls and sleep, and nothing else that the script would use."""
    sh = shutil.which("dash") or shutil.which("sh") or "sh"
    return NodeShell("bare", [sh, "-s"], {"PATH": programs(tmp_path / "bare", "sh", "cat", "ls", "sleep")}, alone=True)
