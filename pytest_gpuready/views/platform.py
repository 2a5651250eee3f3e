"""The platform: distribution, package manager, kernel, user, programs, processes and services of a node."""

from __future__ import annotations

import functools
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, Undetermined
from pytest_gpuready.node.facts import SUDO, stat
from pytest_gpuready.views import View
from pytest_gpuready.views.platform_probe import (
    FURTHER_PLACES,
    IDENTITY,
    OS_RELEASE,
    PLACES,
    PROCESS_LIST,
    PROGRAM_SEARCH,
    PROGRAMS,
    UNIT_STATES,
    UNITS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

__all__ = [
    "FURTHER_PLACES",
    "IDENTITY",
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


def number(word: str | None) -> int | None:
    """A count as the kernel or systemd prints it; None for anything else."""
    return int(word) if word is not None and re.fullmatch(r"[0-9]{1,18}", word) else None


@dataclass(frozen=True)
class Process:
    """A running program. `exe` is None where the node would not say; `started` is in seconds since 1970.

    `path` is its PATH, `args` its command line, `mntns` its mount namespace; `deleted`: its file was replaced or
    removed. `uid` is its user's number, None where that is not known. `toolkit_config` and `config_home` are its
    NVIDIA_CTK_CONFIG_FILE_PATH and XDG_CONFIG_HOME, which NVIDIA's runtime inherits from containerd.
    """

    pid: int
    comm: str
    exe: str | None
    args: tuple[str, ...]
    started: float | None
    path: str | None
    mntns: str | None = None
    pidns: str | None = None
    deleted: bool = False
    environ_denied: bool = False
    uid: int | None = None
    toolkit_config: str | None = None
    config_home: str | None = None

    def option(self, *names: str) -> str | None:
        """The value of a command-line option, as `--name value` or `--name=value`; the last one counts."""
        value = None
        for place, arg in enumerate(self.args):
            for name in names:
                if arg == name and place + 1 < len(self.args):
                    value = self.args[place + 1]
                elif arg.startswith(f"{name}="):
                    value = arg[len(name) + 1 :]
        return value


@dataclass(frozen=True)
class Program:
    """A program's file, as found in PATH or a known place."""

    path: str
    executable: bool


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
        del views
        yield IDENTITY
        yield from OS_RELEASE
        yield PROGRAM_SEARCH
        yield PROCESS_LIST
        yield UNIT_STATES
        yield OSTREE

    @functools.cached_property
    def _identity(self) -> dict[str, str]:
        text = self.facts.text(IDENTITY)
        if text is None:
            raise Undetermined("the node has no POSIX sh")
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
            mark, _, path = line.partition(" ")
            if path and path not in seen:
                seen.add(path)
                found.setdefault(path.rpartition("/")[2], []).append(Program(path, mark == "x"))
        return found

    def program(self, name: str, *, folders: tuple[str, ...] | None = None) -> str | None:
        """The path of an executable as typing its name finds it (in `folders`, else PATH); None if it is not there."""
        places = self.path if folders is None else folders
        found = {program.path for program in self.programs.get(name, ()) if program.executable}
        return next((path for path in (f"{folder.rstrip('/')}/{name}" for folder in places) if path in found), None)

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
        """The daemons that matter here, those of our own process namespace, in the order in which /proc lists them."""
        if "hidden" in self._identity:
            raise Denied("/proc (other users' processes)")
        text = self.facts.text(PROCESS_LIST)
        if text is None:
            raise Undetermined("the list of processes cannot be had")
        own = self._identity.get("pidns", "")
        blocks = re.split(r"^pid ", text, flags=re.MULTILINE)[1:]
        every = [self._process(block) for block in blocks if "gone" not in block.splitlines()]
        # A container may run a containerd of its own (kind, a CI job): it is not this node's.
        return [process for process in every if not process.pidns or not own or process.pidns == own]

    def _process(self, block: str) -> Process:
        first, *lines = block.splitlines() or [""]
        fields = dict(line.split(" ", 1) for line in lines if " " in line and not line.startswith("arg "))
        args = tuple(line[4:] for line in lines if line.startswith("arg "))
        exe = fields.get("exe")
        deleted = bool(exe) and str(exe).endswith(" (deleted)")
        return Process(
            pid=number(first) or 0,
            comm=fields.get("comm", ""),
            exe=str(exe).removesuffix(" (deleted)") if exe else None,
            args=args,
            started=self._started(fields.get("stat", "")),
            path=fields.get("path"),
            mntns=fields.get("mntns"),
            pidns=fields.get("pidns"),
            deleted=deleted,
            environ_denied="environ?" in lines,
            uid=number(fields.get("uid")),
            toolkit_config=fields.get("toolkit"),
            config_home=fields.get("xdg"),
        )

    def _started(self, line: str) -> float | None:
        """Field 22 of /proc/PID/stat (after the last parenthesis), in ticks since boot."""
        words = line.rpartition(")")[2].split()
        started = number(words[19]) if len(words) > 19 else None
        ticks = number(self._identity.get("clk", "100"))
        if started is None or self.boot_time is None or not ticks:
            return None
        return self.boot_time + started / ticks

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
