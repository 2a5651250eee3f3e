"""The list of processes: daemons that matter, as the kernel tells them, and which of them may be followed."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Undetermined
from pytest_gpuready.node.trust import Credentials, Login, refusal

if TYPE_CHECKING:
    from collections.abc import Collection


def number(word: str | None) -> int | None:
    """Parse a count as the kernel or systemd prints it; None for anything else."""
    return int(word) if word is not None and re.fullmatch(r"[0-9]{1,18}", word) else None


@dataclass(frozen=True)
class Process:
    """A running program. `exe` is None where the node would not say; `started` is in seconds since 1970.

    `path` is its PATH, `args` its command line, `mntns` its mount namespace; `deleted`: its file was replaced or
    removed. `uid` is its user's number, None where that is not known. `toolkit_config` and `config_home` are its
    NVIDIA_CTK_CONFIG_FILE_PATH and XDG_CONFIG_HOME, which NVIDIA's runtime inherits from containerd.

    `refused`: why it may not be followed (`trust`), None if it may. Of a process that is refused only its number, name
    and user are known.
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
    refused: str | None = None

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


def read_processes(
    data: bytes, main_pids: Collection[int], boot_time: int | None, ticks: int | None, *, tells_trust: bool
) -> list[Process]:
    """Parse the answer to `PROCESS_LIST` or its predecessor, in the order of /proc.

    `main_pids` are the main processes of services (systemd), `boot_time` is in seconds since 1970, `ticks` the unit of
    start times, per second. A list of the first vocabulary lacks what trust depends on (`tells_trust` is false): each
    process of it is taken as trusted.

    Raises:
        Undetermined: the list does not say who looked, so that trust cannot be decided.
    """
    head, *blocks = re.split(r"^pid ", data.decode("utf-8", "surrogateescape"), flags=re.MULTILINE)
    records = [record for block in blocks if not (record := _Record(block)).gone]
    processes = [record.process(boot_time, ticks) for record in records]
    if not tells_trust:
        return processes
    words = re.match(r"login (\S+) (\S+) (\S+) (\S+)$", head, re.MULTILINE)
    if words is None:
        raise Undetermined("the list of processes does not say who looked")
    login = Login(*(number(word) for word in words.groups()))
    services = {
        record.credentials.mount_namespace
        for record in records
        if record.pid in main_pids and refusal(record.credentials, login, {record.credentials.mount_namespace}) is None
    }
    return [
        dataclasses.replace(process, refused=refusal(record.credentials, login, services))
        for record, process in zip(records, processes, strict=True)
    ]


class _Record:
    """One process's lines."""

    def __init__(self, block: str) -> None:
        first, *self.lines = block.split("\n")
        self.pid = number(first.strip()) or 0
        self.gone = "gone" in self.lines
        self.fields: dict[str, str] = {}
        for line in self.lines:
            key, space, value = line.partition(" ")
            if space:
                self.fields.setdefault(key, _plain(value))

    @property
    def credentials(self) -> Credentials:
        """What the kernel says of it."""
        uids = tuple(-1 if uid is None else uid for uid in map(number, self.fields.get("uid", "").split()))
        pid_namespace, mount_namespace = (number(word) for word in (*self.fields.get("ns", "").split(), "", "")[:2])
        return Credentials(uids, pid_namespace, mount_namespace, "set-user-ID" in self.lines)

    def process(self, boot_time: int | None, ticks: int | None) -> Process:
        """The process, with no word yet on its trust."""
        fields, credentials = self.fields, self.credentials
        exe = fields.get("exe")
        pidns, mntns = credentials.pid_namespace, credentials.mount_namespace
        return Process(
            pid=self.pid,
            comm=fields.get("comm", ""),
            exe=exe.removesuffix(" (deleted)") if exe else None,
            args=tuple(_plain(line[4:]) for line in self.lines if line.startswith("arg ")),
            started=_started(fields.get("stat", ""), boot_time, ticks),
            path=fields.get("path"),
            mntns=fields.get("mntns") or (f"mnt:[{mntns}]" if mntns else None),
            pidns=fields.get("pidns") or (f"pid:[{pidns}]" if pidns else None),
            deleted=bool(exe) and str(exe).endswith(" (deleted)"),
            environ_denied="environ?" in self.lines,
            uid=credentials.uids[0] if credentials.uids and credentials.uids[0] >= 0 else None,
            toolkit_config=fields.get("toolkit"),
            config_home=fields.get("xdg"),
        )


def _plain(text: str) -> str:
    """Undo what the script does to a line break, which could add a line."""
    return text.replace("\x01", "\n")


def _started(line: str, boot_time: int | None, ticks: int | None) -> float | None:
    """Field 22 of /proc/PID/stat (after the last parenthesis), in ticks since boot."""
    words = line.rpartition(")")[2].split()
    started = number(words[19]) if len(words) > 19 else None
    if started is None or boot_time is None or not ticks:
        return None
    return boot_time + started / ticks
