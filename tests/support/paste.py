"""Pasting a remedy's commands into a real shell whose programs only write down what they were given."""

from __future__ import annotations

import shutil
import stat
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHELLS = tuple(line for line in (("dash",), ("bash", "--norc"), ("busybox", "sh")) if shutil.which(line[0]) is not None)
#: All programs that a remedy's command line begins with, or that stand after a pipe or `&&`.
PROGRAMS = (
    *("sudo", "tee", "sed", "mv", "mkdir", "grep", "tail", "head", "awk", "cat", "ln", "env", "chmod", "rm", "mknod"),
    *("systemctl", "journalctl", "dmesg", "reboot", "ldconfig", "depmod", "modprobe", "dkms", "lspci", "mokutil"),
    *("apt-get", "dnf", "ubuntu-drivers", "nvidia-smi", "nvidia-modprobe", "nvidia-ctk", "setsebool", "wsl.exe"),
    *("kubectl", "helm", "curl", "ctr", "ssh", "pytest", "containerd", "visudo", "microk8s", "touch"),
)
#: A command's arguments end with a byte that no argument has.
_STUB = """#!/bin/sh
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\001\\0'; } >>"$LOG/argv.$N"
case ${0##*/} in sudo|tee|kubectl) /bin/cat >>"$LOG/text.$N" ;; esac
"""


@dataclass(frozen=True)
class Pasted:
    """What became of one command: the programs that were run with their arguments, and what they could read."""

    calls: list[list[str]]
    text: str
    said: str


class Desk:
    """A folder with stand-ins for all programs; the shell that commands are pasted into finds no others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True)
        for name in PROGRAMS:
            place = self.programs / name
            place.write_text(_STUB)
            place.chmod(place.stat().st_mode | stat.S_IXUSR)

    def paste(self, commands: Sequence[str], shell: Sequence[str]) -> list[Pasted]:
        """Let the shell read each command for itself, in an empty folder that must stay empty."""
        log, work = self.folder / "log", self.folder / "work"
        for place in (log, work):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        for number, command in enumerate(commands):
            (log / f"command.{number}").write_text(f"{command}\n", "utf-8", newline="")
        body = (
            f'n=0; while [ $n -lt {len(commands)} ]; do N=$n; export N; ( . "$LOG/command.$n" ) '
            '>"$LOG/out.$n" 2>"$LOG/said.$n" </dev/null; n=$((n+1)); done'
        )
        program = shutil.which(shell[0])
        assert program is not None
        environment = {"PATH": str(self.programs), "LOG": str(log), "HOME": "/home/user", "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [program, *shell[1:], "-c", body], cwd=work, env=environment, check=True, timeout=120, capture_output=True
        )
        assert list(work.iterdir()) == [], "a command wrote a file"
        return [self._became(log, number) for number in range(len(commands))]

    @staticmethod
    def _became(log: Path, number: int) -> Pasted:
        def read(name: str) -> str:
            place = log / f"{name}.{number}"
            return place.read_bytes().decode("utf-8", "surrogateescape") if place.exists() else ""

        calls = [call.split("\0")[:-1] for call in read("argv").split("\1\0") if call]
        return Pasted(calls, read("text"), read("said"))
