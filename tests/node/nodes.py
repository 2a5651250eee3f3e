"""Shells to try the script on, and what tests of a round need: one round's facts, and what is left of it afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuready.node.preamble import FIRST, FURTHER, preamble
from pytest_gpuready.node.script import parse, render

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Fact, Request

NONCE = "9e3779b97f4a7c15f39cc060"

#: An unprivileged user that every Linux has.
NOBODY = 65534


@dataclass
class NodeShell:
    """A shell as a node's sh: its command line, and the environment it runs in (None: ours)."""

    name: str
    argv: list[str]
    environment: dict[str, str] | None = None
    #: Whether PATH stays as it is; the script adds the standard folders, and with them this machine's programs.
    alone: bool = False
    #: Everything that the rounds so far printed to standard error.
    errors: bytes = field(default=b"", repr=False)

    def output(self, *requests: Request, cwd: Path | None = None) -> bytes:
        """What a round prints."""
        functions = preamble(NONCE)
        if self.alone:
            functions = alone(functions)
        script = (functions + render(requests, NONCE)).encode("utf-8", "surrogateescape")
        done = subprocess.run(
            self.argv, input=script, capture_output=True, check=False, env=self.environment, cwd=cwd, timeout=120
        )
        self.errors += done.stderr
        assert f"\n{NONCE} end\n".encode() in done.stdout, done.stderr
        return done.stdout

    def ask(self, *requests: Request, cwd: Path | None = None) -> dict[Request, Fact]:
        """The facts of a round."""
        return parse(self.output(*requests, cwd=cwd), requests, NONCE)

    def one(self, request: Request) -> Fact:
        """The fact of a round with one request."""
        return self.ask(request)[request]


def alone(functions: str) -> str:
    """The script's functions for a node that has no program beside those on its PATH."""
    changed = functions.replace(f"PATH={FIRST}\n", "PATH=\n").replace(f"$PATH{FURTHER}", "$PATH")
    assert changed != functions
    return changed


def applets(folder: Path, *left_out: str) -> str:
    """A PATH of busybox's applets alone, but those left out."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    folder.mkdir(parents=True, exist_ok=True)
    names = subprocess.run([busybox, "--list"], capture_output=True, check=True, text=True).stdout.split()
    for name in {*names, "sh"} - set(left_out):
        (folder / name).symlink_to(busybox)
    return str(folder)


def programs(folder: Path, *names: str) -> str:
    """A PATH of some of this machine's programs alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return str(folder)


def running(word: str) -> list[str]:
    """The command lines of all processes that hold the word (a zombie has none)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line:
                found.append(line.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found
