"""The platform: distribution, package manager, kernel, user, programs, processes and services of a node."""

from __future__ import annotations

import contextlib
import functools
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, Refused, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import SUDO, stat
from pytest_gpuready.views import View
from pytest_gpuready.views.platform_probe import (
    FURTHER_PLACES,
    IDENTITY,
    OLD_PROCESS_LIST,
    OS_RELEASE,
    PLACES,
    PROCESS_LIST,
    PROGRAM_SEARCH,
    PROGRAMS,
    UNIT_STATES,
    UNITS,
)
from pytest_gpuready.views.processes import Process, number, read_processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

__all__ = [
    "FURTHER_PLACES",
    "IDENTITY",
    "OLD_PROCESS_LIST",
    "OS_RELEASE",
    "PLACES",
    "PROCESS_LIST",
    "PROGRAMS",
    "PROGRAM_SEARCH",
    "UNITS",
    "UNIT_STATES",
    "Platform",
    "Process",
    "Program",
    "Unit",
]

OSTREE = stat("/run/ostree-booted")


@dataclass(frozen=True)
class Program:
    """A program's file, as found in PATH or a known place; `refused`: why it may not be run (`trust`)."""

    path: str
    executable: bool
    refused: str | None = None


@dataclass(frozen=True)
class Unit:
    """A systemd unit's state, systemctl show's own words; `command` is what ExecStart runs, its drop-ins counted in.

    `exit_status` is what its main process ended with; 203 (EXIT_EXEC of systemd.exec(5)): it could not be run at all.
    """

    id: str
    load: str
    active: str
    sub: str
    main_pid: int
    result: str
    fragment: str
    file_state: str = ""
    needs_reload: bool = False
    condition: str = ""
    command: tuple[str, ...] = ()
    exit_status: int = 0

    @property
    def loaded(self) -> bool:
        """There is such a unit, and it can be started."""
        return self.load == "loaded"

    @property
    def masked(self) -> bool:
        """There is such a unit, and it may not be started."""
        return self.load == "masked"


class Platform(View):
    """Distribution, kernel, user, programs, processes and services."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """All in the first round; it depends on nothing."""
        yield IDENTITY
        yield from OS_RELEASE
        yield PROGRAM_SEARCH
        yield views.facts.newest(PROCESS_LIST, OLD_PROCESS_LIST)
        yield UNIT_STATES
        yield OSTREE

    @functools.cached_property
    def _identity(self) -> dict[str, str]:
        text = self.facts.text(IDENTITY)
        if text is None:
            raise Undetermined("the node has no POSIX sh", "no-tool")
        return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)

    def _said(self, key: str) -> str:
        if key not in self._identity:
            raise Undetermined(f"the node does not say its {key}")
        return self._identity[key]

    @property
    def hostname(self) -> str | None:
        """The kernel's host name."""
        return self._identity.get("hostname")

    @property
    def kernel(self) -> str:
        """The kernel's release, `uname -r`."""
        return self._kernel[1]

    @property
    def machine(self) -> str:
        """The processor's kind, `uname -m`: x86_64, aarch64 and so on."""
        return self._kernel[2]

    @functools.cached_property
    def _kernel(self) -> list[str]:
        words = self._said("kernel").split()
        if len(words) < 3:
            raise Undetermined("uname says nothing of use")
        return words

    @property
    def uid(self) -> int:
        """The user's number that everything was read under."""
        uid = number(self._said("user").partition(" ")[0])
        if uid is None:
            raise Undetermined("id says no user number")
        return uid

    @property
    def user(self) -> str:
        """The user's name that everything was read under."""
        words = self._said("user").split()
        if not words:
            raise Undetermined("id says no user")
        return words[1] if len(words) > 1 else words[0]

    @property
    def sudo_prefix(self) -> str:
        """What commands that need root begin with: `sudo ` wherever there is sudo, nothing for a root without it."""
        try:
            return "" if self.uid == 0 and not self.programs.get("sudo") else "sudo "
        except (Undetermined, Denied):
            return "sudo "

    @property
    def path(self) -> tuple[str, ...]:
        """The folders in which a typed command is found: the login's PATH and the standard folders."""
        own = [folder for folder in self._identity.get("path", "").split(":") if folder.startswith("/")]
        return tuple(dict.fromkeys([*own, *PLACES]))

    @property
    def now(self) -> int:
        """The node's clock, seconds since 1970."""
        now = number(self._said("now"))
        if now is None:
            raise Undetermined("the node's clock cannot be read")
        return now

    @property
    def boot_time(self) -> int | None:
        """When the node was booted, seconds since 1970."""
        return number(self._identity.get("btime"))

    @property
    def mount_namespace(self) -> str | None:
        """The mount namespace that everything was read in; None where the node does not say."""
        return self._identity.get("mntns") or None

    @property
    def selinux_enforcing(self) -> bool:
        """SELinux is there and enforcing."""
        return self._identity.get("selinux") == "1"

    @property
    def has_systemd(self) -> bool:
        """The init process is systemd."""
        return self._identity.get("init") == "systemd"

    @functools.cached_property
    def os_release(self) -> dict[str, str]:
        """/etc/os-release, else /usr/lib/os-release; empty where neither is there."""
        for request in OS_RELEASE:
            text = self.facts.text(request)
            if text is not None:
                return _os_release(text)
        return {}

    @property
    def os_id(self) -> str:
        """The distribution in lower case: `debian`, `ubuntu`, `fedora`, `rhel`, `amzn`, `cos`, `nixos`, or ""."""
        return self.os_release.get("ID", "").lower()

    @property
    def os_family(self) -> tuple[str, ...]:
        """The distribution and those that it is like, itself first."""
        return (self.os_id, *self.os_release.get("ID_LIKE", "").lower().split())

    @property
    def os_name(self) -> str:
        """The distribution's full name."""
        return self.os_release.get("PRETTY_NAME") or self.os_release.get("NAME") or "an unnamed Linux"

    @functools.cached_property
    def programs(self) -> dict[str, list[Program]]:
        """Every place in which each program of `PROGRAMS` lies, in the order of search; one file once."""
        text = self.facts.text(PROGRAM_SEARCH)
        found: dict[str, list[Program]] = {}
        seen: set[str] = set()
        for line in (text or "").splitlines():
            mark, _, rest = line.partition(" ")
            path, _, why = rest.partition("\t")
            if path and path not in seen:
                seen.add(path)
                program = Program(path, mark == "x", (why or "untrusted") if mark == "?" else None)
                found.setdefault(path.rpartition("/")[2], []).append(program)
        return found

    def program(self, name: str, *, folders: tuple[str, ...] | None = None) -> str | None:
        """Return the executable that typing its name finds (in `folders`, else PATH); None if it is not there.

        Raises:
            Refused: the only one that is found.
        """
        places = self.path if folders is None else folders
        every = self.programs.get(name, ())
        found = {program.path for program in every if program.executable}
        path = next((path for path in (f"{folder.rstrip('/')}/{name}" for folder in places) if path in found), None)
        if path is None:
            for program in every:
                folder = program.path.rpartition("/")[0] or "/"
                # A refused folder is no longer on PATH; the further places never were.
                if program.refused and (folder in places or (folders is None and folder not in FURTHER_PLACES)):
                    raise Refused(one_line(program.path), one_line(program.refused))
        return path

    def anywhere(self, name: str) -> str | None:
        """The path of an executable wherever it lies."""
        return self.program(name) or next((p.path for p in self.programs.get(name, ()) if p.executable), None)

    @property
    def package_manager(self) -> str | None:
        """`apt`, `dnf`, `yum`, `tdnf`, `zypper`, `pacman`, `apk`, `rpm-ostree`, `transactional-update`, or None."""
        if self.facts.exists(OSTREE.arg[0]) and self.program("rpm-ostree"):
            return "rpm-ostree"
        names = ("transactional-update", "zypper", "dnf", "tdnf", "yum", "microdnf", "apt-get", "pacman", "apk")
        found = [name for name in names if self.program(name)]
        if "debian" in self.os_family and "apt-get" in found:
            return "apt"
        return {"apt-get": "apt"}.get(found[0], found[0]) if found else None

    @functools.cached_property
    def processes(self) -> list[Process]:
        """The trusted daemons that matter here, those of our own process namespace, in the order of /proc."""
        return [process for process in self._every_process if process.refused is None]

    @functools.cached_property
    def refused_processes(self) -> list[Process]:
        """The processes with a daemon's name that may not be followed, and why; twenty at most."""
        return [process for process in self._every_process if process.refused is not None]

    def not_followed(self, name: str) -> str:
        """Say in a clause which processes of a daemon's name are not followed, and why; "" where there are none."""
        try:
            found = [process for process in self.refused_processes if process.comm == name]
        except (Undetermined, Denied):
            return ""
        if not found:
            return ""
        reasons = " or ".join(dict.fromkeys(str(process.refused) for process in found[:3]))
        pids = ", ".join(str(process.pid) for process in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return f"not followed: pid {pids}{more}, called {name}, which {reasons}"

    @functools.cached_property
    def _every_process(self) -> list[Process]:
        if "hidden" in self._identity:
            raise Denied("/proc (other users' processes)")
        request = self.facts.newest(PROCESS_LIST, OLD_PROCESS_LIST)
        fact = self.facts.fact(request)
        if fact.state == "absent":
            raise Undetermined("the list of processes cannot be had")
        main_pids: set[int] = set()
        with contextlib.suppress(Undetermined, Denied):
            main_pids = {unit.main_pid for unit in self.units.values()}
        every = read_processes(
            fact.data,
            main_pids,
            self.boot_time,
            number(self._identity.get("clk", "100")),
            tells_trust=request == PROCESS_LIST,
        )
        if request == PROCESS_LIST:
            return every
        # A container may run a containerd of its own (kind, a CI job): it is not this node's.
        own = self._identity.get("pidns", "")
        return [process for process in every if not process.pidns or not own or process.pidns == own]

    @functools.cached_property
    def units(self) -> dict[str, Unit]:
        """The services that are known to systemd, by id; empty without systemd."""
        text = self.facts.text(UNIT_STATES)
        units: dict[str, Unit] = {}
        for block in (text or "").split("\n\n"):
            said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if said.get("Id"):
                units[said["Id"]] = Unit(
                    id=said["Id"],
                    load=said.get("LoadState", ""),
                    active=said.get("ActiveState", ""),
                    sub=said.get("SubState", ""),
                    main_pid=number(said.get("MainPID")) or 0,
                    result=said.get("Result", ""),
                    fragment=said.get("FragmentPath", ""),
                    file_state=said.get("UnitFileState", ""),
                    needs_reload=said.get("NeedDaemonReload") == "yes",
                    condition=said.get("ConditionResult", ""),
                    command=_command(block),
                    exit_status=number(said.get("ExecMainStatus")) or 0,
                )
        return units

    def unit(self, name: str) -> Unit | None:
        """The unit if systemd knows it and it can be started."""
        unit = self.units.get(name)
        return unit if unit and unit.loaded else None

    @property
    def sudo_trouble(self) -> str | None:
        """What sudo said when it refused; None if it was not used or worked."""
        fact = self.facts.peek(SUDO)
        return None if fact is None or fact.state == "ok" else fact.note or "sudo did not answer"


def _command(block: str) -> tuple[str, ...]:
    """The words of a unit's first ExecStart; printed without quotes (systemd:src/systemctl/systemctl-show.c).

    ExecStart={ path=/usr/bin/containerd ; argv[]=/usr/bin/containerd -c /etc/c.toml ; ignore_errors=no ; … }
    """
    found = re.search(r"^ExecStart=\{.*? argv\[\]=(.*?) ; ignore_errors=", block, re.MULTILINE)
    return tuple(found[1].split()) if found else ()


def _os_release(text: str) -> dict[str, str]:
    """os-release(5): NAME=value lines, quoted as a shell would."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                said[name] = " ".join(shlex.split(value))
            except ValueError:
                said[name] = value.strip("\"'")
    return said
