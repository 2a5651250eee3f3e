"""Remedies for the NVIDIA Container Toolkit's own configuration and surroundings."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.toml import Dialect, TomlError, loads
from pytest_gpuready.model import Edit, Remedy
from pytest_gpuready.node.facts import file
from pytest_gpuready.remedies import quote
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from pytest_gpuready.checks.toolkit_config import Problem
    from pytest_gpuready.views import Views

_RULE = "/etc/udev/rules.d/71-nvidia-dev-char.rules"


class ToolkitRemedies:
    """`mend.toolkit`."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.sudo = views.get(Platform).sudo_prefix

    def setting(self, problem: Problem) -> Remedy:
        """Set a key of the runtime's configuration: one line of the file, by sed, proven on a copy."""
        name = ".".join(problem.key)
        path = problem.where.path
        words = f"Correct {name or 'the file'} in {problem.where}; it is read at each container start."
        fact = self.views.facts.peek(file(path))
        if problem.mend is None or problem.where.line is None or fact is None or not problem.key:
            return Remedy(words)
        old = fact.data.decode("utf-8", "replace").splitlines(keepends=True)
        number = problem.where.line
        if not 0 < number <= len(old):
            return Remedy(words)
        new = list(old)
        new[number - 1] = re.sub(r"=.*", lambda _: f"= {problem.mend}", old[number - 1], count=1)
        if not _sets(new, problem):
            return Remedy(words)
        diff = "".join(difflib.unified_diff(old, new, path, path, n=0))
        value = problem.mend.replace("\\", "\\\\").replace("&", "\\&").replace("|", "\\|")
        return Remedy(
            f"Set {name} = {problem.mend}; it is read at each container start, nothing has to be restarted.",
            (f"{self.sudo}sed -i {quote(f'{number}s|=.*|= {value}|')} {quote(path)}",),
            (Edit(path, diff),),
        )

    def dev_char(self, program: str) -> Remedy:
        """Make the links below /dev/char now and at every load of the driver."""
        command = f"{program} system create-dev-char-symlinks --create-all"
        rule = f'ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="{command}"'
        return Remedy(
            "Make the links now, and by a udev rule whenever the driver is loaded. Running containers keep "
            "their fault until they are started anew. Mode jit-cdi (toolkit 1.18) needs none of this.",
            (f"{self.sudo}{command}", f"{self.sudo}tee {_RULE} <<'EOF'\n{rule}\nEOF"),
        )

    def path_for(self, folder: str, command: str) -> Remedy:
        """A program that is on the node and not on PATH."""
        return Remedy(
            f"It is in {folder}, which is not on PATH: extend PATH for the command.",
            (f'{self.sudo}env PATH="$PATH:"{quote(folder)} {command}',),
        )


def _sets(lines: list[str], problem: Problem) -> bool:
    """The edited file says what it should at that key, and nothing else differs in it."""
    try:
        after = loads("".join(lines).encode(), Dialect.V1).root
    except (TomlError, ValueError):
        return False
    node: object = after
    for key in problem.key:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    try:
        wanted = loads(f"x = {problem.mend}\n".encode(), Dialect.V1).root["x"]
    except (TomlError, ValueError):
        return False
    return bool(node == wanted)
