"""The handler's program as the daemon sees it: in its mount namespace and on its PATH."""

from __future__ import annotations

import functools
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_gpuready.model import Denied, Undetermined
from pytest_gpuready.node.facts import Request, file, missing, stat
from pytest_gpuready.views import View
from pytest_gpuready.views.containerd_config import RUNTIME_NAME, ContainerdConfig
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.views import Views

MOUNTS = file("/proc/self/mounts", limit=1024 * 1024)

#: ELF machine numbers by `uname -m` (elf.h).
MACHINES = {"x86_64": 62, "aarch64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243}
MACHINE_NAMES = {62: "x86-64", 183: "aarch64", 21: "ppc64", 22: "s390x", 243: "riscv64", 3: "i386", 40: "arm"}

#: Why a program cannot be executed: not there, a folder, no right to, no content, another machine's, its mount.
Kind = Literal["missing", "folder", "mode", "empty", "machine", "noexec"]


@dataclass(frozen=True)
class Trouble:
    """Why the daemon could not execute the program: the kind, and in words."""

    kind: Kind
    text: str


def head(path: str) -> Request:
    """The first bytes of a file: enough to tell a script from a program and a program's machine."""
    return file(path, limit=64)


class HandlerBinary(View):
    """Where the judged handler's BinaryName leads, for the daemon."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """The usual place at once; others when the handler and the daemon's PATH are known."""
        yield MOUNTS
        usual = f"/usr/bin/{RUNTIME_NAME}"
        yield stat(usual)
        yield head(usual)
        for path in views.get(cls).candidates:
            yield stat(path)
            yield head(path)

    @functools.cached_property
    def name(self) -> str:
        """The handler's BinaryName, a path or a name."""
        handler = self.views.get(ContainerdConfig).handler
        if handler is None or not handler.binary_name:
            raise Undetermined("the handler names no program")
        return handler.binary_name

    @functools.cached_property
    def root(self) -> str:
        """What a path of the daemon's begins with for us: nothing, unless it lives in another mount namespace."""
        return self.views.get(ContainerdLive).root

    @functools.cached_property
    def candidates(self) -> list[str]:
        """The places, as we see them, in which the daemon would look, in order."""
        if posixpath.isabs(self.name):
            return [f"{self.root}{self.name}"]
        if "/" in self.name:
            raise Undetermined(f"{self.name} is relative to the daemon's working folder")
        folders = [folder for folder in self.views.get(ContainerdLive).daemon_path.split(":") if folder.startswith("/")]
        return [f"{self.root}{folder.rstrip('/')}/{self.name}" for folder in folders]

    @functools.cached_property
    def path(self) -> str | None:
        """The file that the daemon executes, as we see it; None where there is none."""
        for path in self.candidates:
            found = self.facts.stat(path)
            if found is not None and ((found.executable and not found.is_dir) or len(self.candidates) == 1):
                return path
        return None

    @functools.cached_property
    def trouble(self) -> Trouble | None:
        """Why the daemon could not execute it; None if it could."""
        path = self.path
        if path is None:
            if posixpath.isabs(self.name):
                whose = " in the daemon's own mount namespace" if self.root else ""
                return Trouble("missing", f"{self.name} is not there{whose}")
            folders = self.views.get(ContainerdLive).daemon_path
            return Trouble("missing", f"{self.name} is in no folder of the daemon's PATH ({folders})")
        found = self.facts.stat(path)
        if found is None or found.is_dir:
            return Trouble("folder", f"{path} is a folder")
        if not found.executable:
            return Trouble("mode", f"{path} is not executable (mode {found.mode & 0o7777:04o})")
        return self._wrong_kind(path) or self._noexec(found.target or path)

    def _wrong_kind(self, path: str) -> Trouble | None:
        fact = self.facts.peek(head(path))
        if fact is None or fact.state == "timeout":
            raise Undetermined(f"the beginning of {path} was not read", missing(fact))
        if fact.state == "denied":
            raise Denied(path)
        start = fact.data
        if fact.state == "ok" and not start:
            return Trouble("empty", f"{path} is empty")
        if len(start) < 20 or not start.startswith(b"\x7fELF"):
            return None
        machine = int.from_bytes(start[18:20], "big" if start[5] == 2 else "little")
        node = self.views.get(Platform).machine
        if MACHINES.get(node, machine) == machine:
            return None
        return Trouble(
            "machine", f"{path} is a program for {MACHINE_NAMES.get(machine, f'machine {machine}')}, the node is {node}"
        )

    def _noexec(self, path: str) -> Trouble | None:
        if self.root:
            return None  # our list of mounts is not the daemon's
        best, options = "", ""
        for line in (self.facts.text(MOUNTS) or "").splitlines():
            words = line.split(" ")
            if len(words) < 4:
                continue
            place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[1])
            inside = path == place or path.startswith(f"{place.rstrip('/')}/")
            # The later mount of the same place covers the earlier one.
            if inside and len(place) >= len(best):
                best, options = place, words[3]
        if "noexec" in options.split(","):
            return Trouble("noexec", f"{path} lies on {best}, which is mounted noexec")
        return None
