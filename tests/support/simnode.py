"""A simulated node: a tree of files, programs that answer, and nothing else; it answers requests as a real one does.

It stands for what the sh script would have brought from a node with these files, so that views and checks can be tried
on recorded facts. It cannot show that the script works (tests/node does, on real shells) nor that real programs answer
so.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import REACH, SUDO, VOCABULARY, Fact, Facts, Recording, Request
from pytest_gpuready.node.gather import MOST_ROUNDS
from pytest_gpuready.node.redact import redact
from pytest_gpuready.views import Views
from pytest_gpuready.views.platform import (
    FURTHER_PLACES,
    IDENTITY,
    OLD_PROCESS_LIST,
    PLACES,
    PROCESS_LIST,
    PROGRAM_SEARCH,
    PROGRAMS,
    UNIT_STATES,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.report.model import NodeReport

DIR, FILE, CHAR, SOCKET = 0o040000, 0o100000, 0o020000, 0o140000


@dataclass
class Entry:
    """A file, device, socket, folder or link of the node."""

    data: bytes = b""
    mode: int = FILE | 0o644
    mtime: int = 1_760_000_000
    ctime: int = 1_760_000_000
    major: int = 0
    minor: int = 0
    link: str | None = None
    denied: bool = False


@dataclass
class Proc:
    """A running daemon as the list of processes shows it."""

    pid: int
    comm: str
    args: list[str]
    exe: str
    started: int = 1_770_000_000
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    deleted: bool = False
    uid: int = 0
    mntns: str = "mnt:[4026531832]"
    #: Its program's file gives its user away.
    set_uid: bool = False
    #: NVIDIA_CTK_CONFIG_FILE_PATH and XDG_CONFIG_HOME of its environment.
    toolkit_config: str = ""
    config_home: str = ""


@dataclass
class SimNode:
    """A node made of plain values; every method returns the node so that cases read as a list of differences."""

    label: str = "local"
    uid: int = 0
    hostname: str = "gpu-node"
    kernel: str = "Linux 6.8.0-40-generic x86_64"
    now: int = 1_780_000_000
    boot: int = 1_769_000_000
    systemd: bool = True
    selinux: str | None = None
    tree: dict[str, Entry] = field(default_factory=dict)
    procs: list[Proc] = field(default_factory=list)
    units: dict[str, dict[str, str]] = field(default_factory=dict)
    #: (what the argv or a script's name and arguments begin with, or a predicate) → fact, the latest added first
    answers: list[tuple[tuple[str, ...] | Callable[[Request], bool], Fact]] = field(default_factory=list)
    reach: Fact = field(default_factory=lambda: Fact("ok"))
    sudo: Fact = field(default_factory=lambda: Fact("ok"))
    #: The vocabulary of the release that took the facts; an older one makes them those of a snapshot.
    vocabulary: int = VOCABULARY

    # ------------------------------------------------------------------ building

    def put(
        self, path: str, data: str | bytes = b"", *, mode: int = 0o644, mtime: int = 1_760_000_000, denied: bool = False
    ) -> SimNode:
        """A regular file, and its folders."""
        raw = data.encode() if isinstance(data, str) else data
        self._folders(path)
        self.tree[path] = Entry(raw, FILE | mode, mtime, mtime, denied=denied)
        return self

    def program(self, path: str) -> SimNode:
        """An executable file."""
        return self.put(path, b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\x3e\0", mode=0o755)

    def folder(self, path: str, *, mtime: int = 1_760_000_000) -> SimNode:
        """A folder."""
        self._folders(path)
        self.tree[path] = Entry(mode=DIR | 0o755, mtime=mtime, ctime=mtime)
        return self

    def device(self, path: str, major: int, minor: int, *, mode: int = 0o666) -> SimNode:
        """A character device."""
        self._folders(path)
        self.tree[path] = Entry(mode=CHAR | mode, major=major, minor=minor)
        return self

    def socket(self, path: str) -> SimNode:
        """A UNIX socket."""
        self._folders(path)
        self.tree[path] = Entry(mode=SOCKET | 0o660)
        return self

    def link(self, path: str, target: str) -> SimNode:
        """A link to an absolute path."""
        self._folders(path)
        self.tree[path] = Entry(mode=0o120777, link=target)
        return self

    def remove(self, *paths: str) -> SimNode:
        """Take paths away, with all below them."""
        for path in paths:
            for known in [known for known in self.tree if known == path or known.startswith(f"{path}/")]:
                del self.tree[known]
        return self

    def deny(self, path: str) -> SimNode:
        """Let a path be there and unreadable, with all below it."""
        for known, entry in self.tree.items():
            if known == path or known.startswith(f"{path}/"):
                entry.denied = True
        return self

    def process(self, proc: Proc) -> SimNode:
        """A running daemon."""
        self.procs.append(proc)
        return self

    def unit(self, name: str, **said: str) -> SimNode:
        """A systemd unit; keys as systemctl show prints them."""
        self.units[name] = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "Result": "success",
            **said,
        }
        return self

    def answer(
        self,
        what: tuple[str, ...] | Callable[[Request], bool],
        output: str | bytes = b"",
        *,
        rc: int = 0,
        note: str = "",
        state: str = "ok",
    ) -> SimNode:
        """What a command prints: `what` is how its argv begins, for our own scripts (NAME, ARG…), or a predicate."""
        raw = output.encode() if isinstance(output, str) else output
        self.answers.insert(0, (what, Fact(state, raw, rc, note)))  # type: ignore[arg-type]
        return self

    def _folders(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent:
            self.tree.setdefault(parent, Entry(mode=DIR | 0o755))
            parent = parent.rpartition("/")[0]

    # ------------------------------------------------------------------ answering

    def facts(self, settings: Settings | None = None) -> Facts:
        """The facts that gathering from this node would bring."""
        old = self.vocabulary < VOCABULARY
        facts = Facts(self.label, recording=Recording(None, self.vocabulary) if old else None)
        facts.add(REACH, self.reach)
        if self.reach.state != "ok":
            return facts
        facts.add(SUDO, self.sudo)
        if self.sudo.state != "ok":
            return facts
        for _ in range(MOST_ROUNDS):
            wanted = [request for request in Views(facts, settings).wants() if request not in facts]
            if not wanted:
                break
            for request in wanted:
                self._answer_into(facts, request)
        return facts

    def judge(self, settings: Settings | None = None) -> NodeReport:
        """The report on this node; whatever failed says what mends it."""
        report = judge(self.facts(settings), settings or Settings())
        bare = [name for name, found in report.findings.items() if found.status == "fail" and not found.outcome.remedy]
        assert not bare, f"failed without a remedy: {', '.join(bare)}"
        return report

    def _answer_into(self, facts: Facts, request: Request) -> None:
        fact = self._fact(request)
        facts.add(request, redact(request, fact))
        if request.kind == "files" and fact.state == "ok":
            for path in fact.data.decode().split("\0"):
                if path:
                    member = Request("file", (path,), limit=request.limit)
                    facts.add(member, redact(member, self._fact(member)))

    def _resolve(self, path: str, depth: int = 0) -> str:
        """The path with every link on the way resolved; a loop leads nowhere."""
        if depth > 20:
            return "/proc/self/loop"
        parts, done = path.split("/")[1:], ""
        for number, part in enumerate(parts):
            done = f"{done}/{part}"
            entry = self.tree.get(done)
            if entry is not None and entry.link is not None:
                target = entry.link if entry.link.startswith("/") else f"{done.rpartition('/')[0]}/{entry.link}"
                rest = "/".join(parts[number + 1 :])
                return self._resolve(f"{target}/{rest}".rstrip("/"), depth + 1)
        return done

    def _fact(self, request: Request) -> Fact:
        for what, fact in self.answers:
            if what(request) if callable(what) else _matches(request, what):
                return fact
        if request.kind in ("run", "script"):
            return self._run(request)
        path = request.arg[0].rstrip("/") or "/"
        if request.kind in ("glob", "files"):
            return Fact(
                "ok", "\0".join(sorted(known for known in self._every_path() if _fnmatch(known, path))).encode()
            )
        real = self._resolve(path)
        entry = self.tree.get(real)
        if entry is None:
            return Fact("absent")
        if request.kind == "stat":
            line = f"{entry.mode:x} 0 0 {len(entry.data)} {entry.mtime} {entry.ctime} {entry.major:x} {entry.minor:x}"
            return Fact("ok", f"{line}\n{real}".encode() if real != path else line.encode())
        if entry.denied:
            return Fact("denied")
        if entry.mode & 0o170000 != FILE:
            return Fact("odd", note="is a directory" if entry.mode & 0o170000 == DIR else "is no regular file")
        if len(entry.data) > request.limit:
            return Fact("cut", entry.data[: request.limit], note=f"longer than {request.limit} bytes")
        return Fact("ok", entry.data)

    def _every_path(self) -> list[str]:
        """All paths, those seen through links to folders too."""
        paths = list(self.tree)
        for path, entry in self.tree.items():
            if entry.link is not None:
                real = self._resolve(path)
                paths += [path + known[len(real) :] for known in self.tree if known.startswith(f"{real}/")]
        return paths

    def _run(self, request: Request) -> Fact:
        if request == IDENTITY:
            return Fact("ok", self._identity().encode(), 0)
        if request == PROGRAM_SEARCH:
            return Fact("ok", self._programs().encode(), 0)
        if request == PROCESS_LIST:
            return Fact("ok", self._processes().encode(), 0)
        if request == OLD_PROCESS_LIST:
            return Fact("ok", self._old_processes().encode(), 0)
        if request == UNIT_STATES:
            return self._units()
        return Fact("absent", b"", 127, f"{request.arg[0]}: not found")

    def _identity(self) -> str:
        lines = [
            f"kernel {self.kernel}",
            f"user {self.uid} {'root' if self.uid == 0 else 'somebody'}",
            f"hostname {self.hostname}",
            "path /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"now {self.now}",
            "clk 100",
            f"btime {self.boot}",
            "pidns pid:[4026531836]",
            "mntns mnt:[4026531832]",
        ]
        lines += [f"selinux {self.selinux}"] if self.selinux is not None else []
        lines += ["init systemd"] if self.systemd else []
        return "\n".join(lines) + "\n"

    def _programs(self) -> str:
        lines = []
        for folder in dict.fromkeys([*PLACES, *FURTHER_PLACES]):
            for name in PROGRAMS:
                entry = self.tree.get(self._resolve(f"{folder}/{name}"))
                if entry is not None and entry.mode & 0o170000 == FILE:
                    lines.append(f"{'x' if entry.mode & 0o111 else '-'} {folder}/{name}")
        return "\n".join(lines) + "\n"

    def _old_processes(self) -> str:
        """Return the list of the first vocabulary, which says nothing of trust."""
        blocks = []
        for proc in self.procs:
            ticks = (proc.started - self.boot) * 100
            lines = [
                f"pid {proc.pid}",
                f"comm {proc.comm}",
                f"uid {proc.uid}",
                f"exe {proc.exe}{' (deleted)' if proc.deleted else ''}",
                "pidns pid:[4026531836]",
                f"mntns {proc.mntns}",
                f"stat {proc.pid} ({proc.comm}) S {' '.join(['0'] * 18)} {ticks} 0",
                *[f"arg {arg}" for arg in proc.args],
                f"path {proc.path}",
                *([f"toolkit {proc.toolkit_config}"] if proc.toolkit_config else []),
                *([f"xdg {proc.config_home}"] if proc.config_home else []),
            ]
            blocks.append("\n".join(lines))
        return "\n".join(blocks) + "\n"

    def _processes(self) -> str:
        own = "4026531836 4026531832"
        blocks = [f"login {self.uid} {own} 4026531832"]
        for proc in self.procs:
            ticks = (proc.started - self.boot) * 100
            lines = [f"pid {proc.pid}", f"comm {proc.comm}", f"uid {proc.uid} {proc.uid} {proc.uid} {proc.uid}"]
            if proc.uid in (0, self.uid):
                words = [
                    f"ns {own.split(maxsplit=1)[0]} {proc.mntns.removeprefix('mnt:[').removesuffix(']')}",
                    *(["set-user-ID"] if proc.set_uid else []),
                    f"exe {proc.exe}{' (deleted)' if proc.deleted else ''}",
                    f"stat  S {' '.join(['0'] * 18)} {ticks} 0",
                    *[f"arg {arg}" for arg in proc.args],
                    f"path {proc.path}",
                    *([f"toolkit {proc.toolkit_config}"] if proc.toolkit_config else []),
                    *([f"xdg {proc.config_home}"] if proc.config_home else []),
                ]
                lines += [word.replace("\n", "\x01") for word in words]
            blocks.append("\n".join(lines))
        return "\n".join(blocks) + "\n"

    def _units(self) -> Fact:
        if not self.systemd:
            return Fact("absent", b"", 127)
        blocks = [
            "\n".join([f"Id={name}", *[f"{key}={value}" for key, value in said.items()]])
            for name, said in self.units.items()
        ]
        return Fact("ok", ("\n\n".join(blocks) + "\n").encode(), 0)


def _matches(request: Request, beginning: tuple[str, ...]) -> bool:
    return request.kind in ("run", "script") and request.arg[: len(beginning)] == beginning


def _fnmatch(path: str, pattern: str) -> bool:
    """A glob in which `*` stops at a slash."""
    left, right = path.split("/"), pattern.split("/")
    return len(left) == len(right) and all(fnmatch.fnmatchcase(a, b) for a, b in zip(left, right, strict=True))
