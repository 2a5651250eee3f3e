"""Remedies for the NVIDIA Container Toolkit's own configuration and surroundings."""

from __future__ import annotations

import contextlib
import difflib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.toml import Dialect, TomlError, loads
from pytest_gpuready.model import Denied, Edit, Remedy, Undetermined, Where
from pytest_gpuready.node.facts import file
from pytest_gpuready.quoting import escape_sed_replacement, here_document, quote, quote_path_entry, udev_command
from pytest_gpuready.remedies.edits import aside, comment_out, toml_string
from pytest_gpuready.remedies.packages import PackageRemedies
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.platform import PLACES, Platform
from pytest_gpuready.views.toolkit import RUNTIME, Toolkit

if TYPE_CHECKING:
    from pytest_gpuready.checks.toolkit_config import Problem
    from pytest_gpuready.views import Views

#: The folders in which the runtime looks whatever the daemon's PATH is.
_USUAL = tuple(f"{folder}/" for folder in PLACES)
_RULE = "/etc/udev/rules.d/71-nvidia-dev-char.rules"


@dataclass(frozen=True)
class Setting:
    """A key of the configuration to set: its place, its name, its value as TOML (None: a person's to decide)."""

    where: Where
    key: tuple[str, ...]
    mend: str | None
    syntax: bool = False


class ToolkitRemedies:
    """`mend.toolkit`."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.sudo = views.get(Platform).sudo_prefix

    def setting(self, problem: Problem | Setting) -> Remedy:
        """Set a key of the runtime's configuration: one line of the file, by sed, proven on a copy."""
        name = ".".join(problem.key)
        path = problem.where.path
        words = f"Correct {name or 'the file'} in {problem.where}; it is read at each container start."
        fact = self.views.facts.peek(file(path))
        if fact is None:
            return Remedy(words)
        if fact.state == "odd":
            command = f"{self.sudo}{aside(path).command}"
            return Remedy(f"Put {path} aside: without a file there the built-in defaults hold.", (command,))
        if problem.syntax and problem.where.line is not None:
            return self._without(problem.where.line, path, fact.data) or Remedy(words)
        if problem.mend is None or problem.where.line is None:
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
        value = escape_sed_replacement(problem.mend)
        return Remedy(
            f"Set {name} = {problem.mend}; it is read at each container start, nothing has to be restarted.",
            (f"{self.sudo}sed -i {quote(f'{number}s|=.*|= {value}|')} {quote(path)}",),
            (Edit(path, diff),),
        )

    def program(self, where: Where | None, key: tuple[str, ...], named: str, usual: str) -> Remedy:
        """A program of the toolkit's is not where the configuration names it, or not there at all.

        A package brings it to the usual place only: where another is named, that setting is what is wrong.
        """
        packages = PackageRemedies(self.views)
        if where is None or (named.startswith(_USUAL) and posixpath.basename(named) == usual) or named == usual:
            return packages.program(usual)
        lies = self.views.get(Toolkit).elsewhere(usual)
        # The hook executes nvidia-container-cli as it is named, and looks for it only where it is not
        # (toolkit v1.20.0:cmd/nvidia-container-runtime-hook/main.go:41).
        value = usual if usual != "nvidia-container-cli" else lies or f"/usr/bin/{usual}"
        setting = self.setting(Setting(where, key, toml_string(value)))
        if lies is not None:
            return setting
        brought = packages.program(usual)
        return Remedy(f"{brought.summary} {setting.summary}", (*brought.commands, *setting.commands), setting.edits)

    def _without(self, line: int, path: str, old: bytes) -> Remedy | None:
        """Comment out a line that is no TOML, or the one before it, if the rest can be read then."""
        for number in (line, line - 1):
            change = comment_out(path, old, number, number)
            if change is not None and change.new is not None and _reads(change.new):
                diff = difflib.unified_diff(
                    old.decode("utf-8", "replace").splitlines(keepends=True),
                    change.new.decode("utf-8", "replace").splitlines(keepends=True), path, path, n=0,
                )  # fmt: skip
                return Remedy(
                    f"Comment out line {number} of {path}: the default holds then. It is read at each container start.",
                    (f"{self.sudo}{change.command}",),
                    (Edit(path, "".join(diff)),),
                )
        return None

    def low_level(self) -> Remedy:
        """The runtime finds none of the low-level runtimes that its configuration lists."""
        toolkit = self.views.get(Toolkit)
        lying = toolkit.elsewhere("runc") or toolkit.elsewhere("crun")
        if lying is None:
            return self.runc()
        config = toolkit.config
        value = '["runc", "crun"]' if lying.startswith(_USUAL) else f'[{toml_string(lying)}, "runc", "crun"]'
        where = config.where(RUNTIME, "runtimes")
        remedy = self.setting(Setting(where, (RUNTIME, "runtimes"), value))
        if remedy.commands:
            return remedy
        return Remedy(
            f"{lying} is there: put it first in `runtimes` of {config.path}, section [{RUNTIME}]: "
            f"runtimes = {value}. It is read at each container start."
        )

    def runc(self, *, broken: bool = False) -> Remedy:
        """There is no runc for the daemon; or it is there, and does not run."""
        live, packages = self.views.get(ContainerdLive), PackageRemedies(self.views)
        lying = self.views.get(Toolkit).elsewhere("runc")
        with contextlib.suppress(Undetermined, Denied):
            if not broken and lying is not None and "/usr/local/bin" in live.daemon_path.split(":"):
                return Remedy(
                    f"{lying} is there: let the daemon's PATH lead to it.",
                    (f"{self.sudo}ln -s {quote(lying)} /usr/local/bin/runc",),
                )
        with contextlib.suppress(Undetermined, Denied):
            if live.flavour.embedded:
                return Remedy(f"{live.flavour.name} brings its own runc: reinstall it, or install runc beside it.")
        with contextlib.suppress(Undetermined, Denied):
            installed = self.views.get(Toolkit).packages
            for name in ("containerd.io", "moby-runc", "runc"):
                if name in installed:
                    return packages.again(name)
        return packages.other("runc")

    def dev_char(self, program: str) -> Remedy:
        """Make the links below /dev/char now and at every load of the driver."""
        words = ("system", "create-dev-char-symlinks", "--create-all")
        rule = f'ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="{udev_command([program, *words])}"'
        return Remedy(
            "Make the links now, and by a udev rule whenever the driver is loaded. Running containers keep "
            "their fault until they are started anew. Mode jit-cdi (toolkit 1.18) needs none of this.",
            (f"{self.sudo}{quote(program)} {' '.join(words)}", here_document(f"{self.sudo}tee {_RULE}", rule)),
        )

    def path_for(self, folder: str, command: str) -> Remedy:
        """A program that is on the node and not on PATH."""
        return Remedy(
            f"It is in {folder}, which is not on PATH: extend PATH for the command.",
            (f'{self.sudo}env PATH="$PATH:"{quote_path_entry(folder)} {command}',),
        )


def _reads(content: bytes) -> bool:
    """The toolkit can read the file."""
    try:
        loads(content, Dialect.V1)
    except (TomlError, ValueError):
        return False
    return True


def _sets(lines: list[str], problem: Problem | Setting) -> bool:
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
