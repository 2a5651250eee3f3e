"""Running a remedy's commands for real, in a folder that stands for the node's root."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from _pytest.mark.structures import ParameterSet


def shells(*names: str) -> list[ParameterSet]:
    """Return a parameter per shell: the first lane takes one that this machine has, the lab lane the others.

    A name begins with its program: ``busybox-no-timeout`` is one of busybox's.
    """
    programs = {name: name.partition("-")[0] for name in names}
    here = next((name for name, program in programs.items() if shutil.which(program)), names[0])
    return [pytest.param(name, marks=() if name == here else pytest.mark.lab(programs[name])) for name in names]


SEDS = ("sed", *(("busybox sed",) if shutil.which("busybox") else ()))


def apply(commands: Sequence[str], files: Mapping[str, bytes], root: Path, sed: str) -> dict[str, bytes]:
    """The files after sh ran the commands with this sed; services are not started, sudo is left out."""
    shutil.rmtree(root, ignore_errors=True)
    for path, data in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    for command in commands:
        if "systemctl" in command or "nvidia-ctk" in command:
            continue
        # Paths are arguments: of sed the last, of tee and mkdir all. They are mapped into the folder.
        head, newline, rest = command.removeprefix("sudo ").partition("\n")
        words = shlex.split(head)
        paths = [word for word in words[1:] if re.match(r"/(etc|var|run)/", word)]
        for path in paths:
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            word = re.escape(shlex.quote(path))
            head = re.sub(rf"(?<!\S){word}(?!\S)", lambda _, place=place: shlex.quote(str(place)), head)  # type: ignore[misc]
        script = re.sub(r"^sed ", f"{sed} ", head) + newline + rest
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=False)
        assert done.returncode == 0, (script, done.stderr)
    return {f"/{place.relative_to(root)}": place.read_bytes() for place in root.rglob("*") if place.is_file()}
