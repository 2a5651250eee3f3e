"""Requests and facts: what is asked of a node and what came back.

A request is the key of a fact. The facts of a node are its snapshot; nothing to the right of them touches a machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

from pytest_gpuready import budget
from pytest_gpuready.model import Denied, NotAsked, Refused, Undetermined
from pytest_gpuready.node.clean import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_gpuready.model import Missing

#: `file`: contents. `stat`: what it is (follows links). `glob`: matching paths. `files`: matching paths, and each as a
#: `file` fact of its own. `run`: a command. `script`: a small sh script of ours, known by its name and arguments: its
#: snapshot outlives changes of its text. `node`: what the transport itself met ("reach", "sudo").
Kind = Literal["file", "stat", "glob", "files", "run", "script", "node"]

#: `ok`: it was had. `absent`: no such file, no such program. `denied`: no permission. `timeout`: no answer within the
#: deadline. `cut`: only a part came (too long, connection lost). `odd`: it is there but not of the kind asked for
#: (a directory, a loop of links, an I/O error); the note says what.
#: `refused`: a user without rights could decide what it is (see `trust`); the note says why.
State = Literal["ok", "absent", "denied", "timeout", "cut", "odd", "refused"]

#: The generation of requests that this release asks. 1 is what cd17f98 asked; `since` names a later one.
VOCABULARY = 2

STATES: frozenset[str] = frozenset({"ok", "absent", "denied", "timeout", "cut", "odd", "refused"})
KINDS: frozenset[str] = frozenset({"file", "stat", "glob", "files", "run", "script", "node"})


@dataclass(frozen=True)
class Request:
    """One question. `arg` is a path or pattern (one element), a command's argv, or a script's name and arguments.

    Nothing in `arg` is ever read as shell. `timeout` (whole seconds on the node, rounded up), `limit` (bytes) and a
    script's `body` are no part of the key. Nor is `since`, the first vocabulary that has the request.
    """

    kind: Kind
    arg: tuple[str, ...]
    timeout: float = field(default=5, compare=False)
    limit: int = field(default=262_144, compare=False)
    body: str = field(default="", compare=False, repr=False)
    since: int = field(default=1, compare=False)

    def __str__(self) -> str:
        """The question as people read it: a path, a command, a script's name."""
        return self.arg[0] if self.kind == "script" else " ".join(self.arg)


def file(path: str, *, limit: int = 262_144, since: int = 1) -> Request:
    """The contents of a file."""
    return Request("file", (path,), limit=limit, since=since)


def stat(path: str, *, since: int = 1) -> Request:
    """What lies at a path, links followed."""
    return Request("stat", (path,), since=since)


def glob(pattern: str, *, since: int = 1) -> Request:
    """The paths that match a pattern."""
    return Request("glob", (pattern,), since=since)


def files(pattern: str, *, limit: int = 262_144, since: int = 1) -> Request:
    """The paths that match a pattern, and the contents of each (facts of their own)."""
    return Request("files", (pattern,), limit=limit, since=since)


def run(*argv: str, timeout: float = 5, limit: int = 262_144, since: int = 1) -> Request:
    """What a command prints."""
    return Request("run", argv, timeout=timeout, limit=limit, since=since)


def script(name: str, body: str, *args: str, timeout: float = 5, limit: int = 262_144, since: int = 1) -> Request:
    """What a small POSIX sh script of ours prints; `name` is how people see it, `args` arrive as "$1" and so on.

    A script whose output is read in another way than before needs another name, and `since`; `Facts.newest` chooses.
    """
    return Request("script", (name, *args), timeout=timeout, limit=limit, body=body, since=since)


#: Most paths that a pattern may match; a real node has some 200. Beyond it the answer says nothing.
MOST_PATHS = 10_000

#: The limit of a command whose answer is short, in bytes: such commands run side by side on the node.
SHORT = 12_288

#: Whether the transport answered with a working shell, whether sudo worked, why the answers broke off, if they did, and
#: what the node was at when its deadline passed, if more was to be asked.
REACH = Request("node", ("reach",))
SUDO = Request("node", ("sudo",))
BROKE_OFF = Request("node", ("broke off",))
LATE = Request("node", ("late",))

#: How the note of a fact begins that an earlier question left no time for.
UNREACHED = "not reached: "
#: How the note of a fact begins whose answer was on its way when the deadline passed.
OVERDUE = "no answer within the deadline"
#: Why a node was not asked to its end that is not to blame for it: this machine's limits, the user, this program.
EXHAUSTED = "this machine could not start another thread or process"
INTERRUPTED = "interrupted"
FAILED = "pytest-gpuready itself failed"


@dataclass(frozen=True)
class Fact:
    """One answer. `data` holds a file's bytes, a command's standard output, or paths separated by NUL.

    `rc` is a command's exit status (None: none was seen), `note` its standard error or why the answer is not `ok`.
    """

    state: State
    data: bytes = b""
    rc: int | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """The data as text: UTF-8, what cannot be decoded replaced, control and bidi characters dropped."""
        return clean(self.data.decode("utf-8", "replace"))


class Cause(Enum):
    """Why a node was not asked to its end, where ssh or the node does not say it."""

    BROKE_OFF = "the answers broke off"
    DEADLINE = "the node's deadline passed"
    EXHAUSTED = "this machine's limits"
    INTERRUPTED = "the user"
    FAILED = "an error of this program"


def cause_of(reach: Fact) -> Cause | None:
    """Return why a node was not reached, of the fact `REACH`; None where its words are ssh's or the node's.

    A fact's note is all that snapshots record of it: what stands at its beginning is read here and nowhere else.
    """
    if reach.state == "timeout":
        return Cause.DEADLINE
    begins = {EXHAUSTED: Cause.EXHAUSTED, INTERRUPTED: Cause.INTERRUPTED, FAILED: Cause.FAILED}
    return next((cause for words, cause in begins.items() if reach.note.startswith(words)), None)


def missing(fact: Fact | None) -> Missing | None:
    """Return why a fact is no answer; None where it is one, or why is not known. The note is read as in `cause_of`."""
    if fact is None or (fact.state in ("timeout", "cut") and fact.note.startswith(UNREACHED)):
        return "not-asked"
    if fact.state == "timeout":
        return "deadline" if fact.note.startswith(OVERDUE) else "timeout"
    return "truncated" if fact.state == "cut" else "denied" if fact.state == "denied" else None


@dataclass(frozen=True)
class Stat:
    """What lies at a path: `mode` with its type bits, owner, size in bytes, times in seconds, device numbers."""

    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    ctime: int
    major: int
    minor: int
    #: The path with every link resolved, if the path itself is a link.
    target: str | None = None

    @property
    def is_dir(self) -> bool:
        """A directory."""
        return self.mode & 0o170000 == 0o040000

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return self.mode & 0o170000 == 0o100000

    @property
    def is_char_device(self) -> bool:
        """A character device."""
        return self.mode & 0o170000 == 0o020000

    @property
    def is_socket(self) -> bool:
        """A UNIX socket."""
        return self.mode & 0o170000 == 0o140000

    @property
    def executable(self) -> bool:
        """Executable by somebody."""
        return bool(self.mode & 0o111)


@dataclass(frozen=True)
class Recording:
    """Origin of facts that were read from a snapshot: when they were taken (UTC), and the vocabulary of that release.

    A snapshot that names no vocabulary has the first one.
    """

    taken: str | None = None
    vocabulary: int = 1


class Facts:
    """The facts of one node: a mapping from request to fact, with readers that never take "not known" for "no".

    `recording` is None where the node is asked now.
    """

    def __init__(
        self, node: str, facts: Iterable[tuple[Request, Fact]] = (), *, recording: Recording | None = None
    ) -> None:
        self.node = node
        self.recording = recording
        self._facts: dict[Request, Fact] = dict(facts)
        #: Incremented with every addition, so that what was worked out before can be seen to be old.
        self.generation = 0

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[tuple[Request, Fact]]:
        return iter(self._facts.items())

    def __contains__(self, request: Request) -> bool:
        return request in self._facts

    @property
    def vocabulary(self) -> int:
        """The newest vocabulary whose requests these facts can hold."""
        return VOCABULARY if self.recording is None else self.recording.vocabulary

    def knows(self, request: Request) -> bool:
        """Whether the release that took these facts could ask this."""
        return request.since <= self.vocabulary

    def newest(self, *requests: Request) -> Request:
        """Return the first request that these facts' vocabulary has: give the newest first, the oldest last."""
        return next((request for request in requests if self.knows(request)), requests[-1])

    def add(self, request: Request, fact: Fact) -> None:
        """Record an answer; the first one stays (a file read twice in a run is judged as first seen)."""
        if request not in self._facts:
            self._facts[request] = fact
            self.generation += 1

    def peek(self, request: Request) -> Fact | None:
        """The fact, or None if it was not asked for (yet)."""
        return self._facts.get(request)

    def fact(self, request: Request) -> Fact:
        """The fact; `Denied` and `Undetermined` if it is no answer. `absent` and `odd` come back as they are.

        `NotAsked` if the snapshot is older than the request.
        `OverBudget` where the time for judging this node is spent: everything that is worked out begins here.
        """
        budget.check()
        fact = self._facts.get(request)
        if fact is None:
            if not self.knows(request):
                raise NotAsked(str(request))
            raise Undetermined(f"{request} was not looked at", missing(fact))
        if fact.state == "denied":
            raise Denied(str(request))
        if fact.state == "refused":
            raise Refused(str(request), clean(fact.note))
        if fact.state == "timeout":
            raise Undetermined(f"{request}: {fact.note or f'no answer within {request.timeout:g} s'}", missing(fact))
        if fact.state == "cut":
            note = f" ({fact.note})" if fact.note else ""
            raise Undetermined(f"{request}: only a part of the answer came{note}", missing(fact))
        if len(fact.data) > request.limit and request.kind not in ("glob", "files"):
            # A node's answer was cut there; a snapshot may say anything.
            raise Undetermined(f"{request}: longer than {request.limit} bytes", "truncated")
        return fact

    def text(self, request: Request) -> str | None:
        """The answer as clean text; None where there is no such file or program."""
        fact = self.fact(request)
        if fact.state == "absent":
            return None
        if fact.state == "odd":
            raise Undetermined(f"{request}: {clean(fact.note) or 'cannot be read'}")
        return fact.text

    def exists(self, path: str, *, since: int = 1) -> bool:
        """Whether something lies at the path (a link that leads nowhere is nothing)."""
        fact = self.fact(stat(path, since=since))
        return fact.state == "ok"

    def stat(self, path: str, *, since: int = 1) -> Stat | None:
        """What lies at the path; None where nothing does."""
        fact = self.fact(stat(path, since=since))
        if fact.state != "ok":
            return None
        line, _, target = fact.data.decode("utf-8", "surrogateescape").partition("\n")
        try:
            mode, uid, gid, size, mtime, ctime, major, minor = line.split()[:8]
            return Stat(
                int(mode, 16),
                int(uid),
                int(gid),
                int(size),
                int(mtime),
                int(ctime),
                int(major, 16),
                int(minor, 16),
                target or None,
            )
        except ValueError as error:
            if line:
                raise Undetermined(f"stat {path}: the answer makes no sense") from error
            why = "the node has no stat program that says more than that it is there"
            raise Undetermined(f"stat {path}: {why}", "no-tool") from error

    def glob(self, pattern: str, *, kind: Kind = "glob", since: int = 1) -> list[str]:
        """The paths that match, sorted; empty where none does."""
        fact = self.fact(Request(kind, (pattern,), since=since))
        if fact.data.count(b"\0") > MOST_PATHS:
            raise Undetermined(f"{pattern}: more than {MOST_PATHS} paths match", "truncated")
        found = fact.data.decode("utf-8", "surrogateescape").split("\0")
        return sorted(path for path in found if path)
