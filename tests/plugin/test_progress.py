"""How far the asking has come, as pytest's terminal shows it: a line that is rewritten, a log, or nothing."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Nodes, Pytest


def on_a_terminal(columns: int, command: list[str], folder: Path) -> bytes:
    """What a program writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env={**os.environ, "COLUMNS": str(columns)}
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # Linux: the other end is closed
            pass
        process.wait(60)
    os.close(ours)
    return said


def test_on_a_real_terminal_it_is_one_line(run: Pytest, nodes: Nodes) -> None:
    """A pty as pytest's terminal: one line is rewritten, and left as it is at the end."""
    args = [*QUICK, "--gpuready", "--hosts", f"{nodes.bare},{nodes.silent}", "-p", "no:cacheprovider"]
    said = on_a_terminal(60, [sys.executable, "-m", "pytest", *args], run.path).decode("utf-8", "replace")
    (progress,) = [one for one in said.split("\n") if "nodes done" in one]
    drawn = [text for text in progress.split("\r") if text]
    assert drawn[0] == "gpuready: 0 of 2 nodes done, 0 s"
    assert re.fullmatch(r"gpuready: 2 of 2 nodes done, \d+ s *", drawn[-1])
    assert "asking" not in said


@pytest.mark.parametrize(("more", "number"), [(["-q"], 2), ([], 1)], ids=["quiet", "one node"])
def test_nothing_is_said_when_quiet_or_of_one_node(run: Pytest, nodes: Nodes, more: list[str], number: int) -> None:
    out = run.suite(*more, hosts=",".join([nodes.bare, nodes.silent][:number])).out
    assert "nodes done" not in out
    assert "asking" not in out


def test_in_a_log_it_is_a_line_at_the_start_and_one_at_the_end(run: Pytest, nodes: Nodes) -> None:
    result = run.suite("--gpuready-jobs=1", hosts=f"{nodes.bare},{nodes.silent}")
    assert result.lines("gpuready: asking") == ["gpuready: asking 2 nodes, up to 1 at once"]
    assert len([one for one in result.lines("gpuready:") if "of 2 nodes done" in one]) == 1
    assert "\r" not in result.out
