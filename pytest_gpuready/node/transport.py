"""Transports: a shell on a node, once per node, that takes one script per round.

`Shell` is a program (sh here, ssh to there, docker exec into a container) whose standard input is the node's sh; the
rounds share it, so a node sees one login. A spec means what it means to testinfra (user, port, ssh_config, identity,
time-out, sudo).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import selectors
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_gpuready.node.clean import clean
from pytest_gpuready.node.facts import OVERDUE
from pytest_gpuready.node.inside import INSIDE, by_paramiko, by_salt, salt_round
from pytest_gpuready.node.logins import Logins, pause, turned_away
from pytest_gpuready.node.memory import Memory
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.rooted import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

    from pytest_gpuready.node.hosts import NodeSpec

#: Most that one round may print, in bytes; beyond it the connection is cut. `memory` bounds all nodes together.
OUTPUT_LIMIT = 32 * 1024 * 1024

#: Seconds for a connection to be made.
CONNECT_TIMEOUT = 10

#: What sshpass says by its exit status alone (sshpass(1), RETURN VALUES), in ssh's own words.
_SSHPASS = {5: "Permission denied (the password was refused)", 6: "Host key verification failed (the key is not known)"}


@dataclass(frozen=True)
class Options:
    """testinfra's own options, as given to pytest."""

    ssh_config: str | None = None
    ssh_identity_file: str | None = None
    sudo: bool = False
    sudo_user: str | None = None


@dataclass
class Reply:
    """What a round brought: the bytes so far, whether it ended, and if not, why in one sentence.

    `endless`: it was cut because it brought too much.
    """

    output: bytes = b""
    complete: bool = False
    trouble: str = ""
    timed_out: bool = False
    endless: bool = False


class Transport(Protocol):
    """A way to a node's shell. The gatherer uses nothing else."""

    nonce: str
    #: Whether the shell answered at all, and if not, why.
    greeted: bool
    #: Standard error of the transport so far, in one cleaned line; its last words where it is long.
    complaint: str

    @property
    def sudo(self) -> bool:
        """Whether the shell was asked for through sudo."""

    @property
    def by_rule(self) -> bool:
        """Whether it may be the user's own, beside one program that sudo permits (see `rooted`)."""

    def send(self, script: str, deadline: float) -> Reply:
        """Run a round's script; `deadline` is a time of the monotonic clock. Never raises for what the node does."""

    def close(self) -> None:
        """End the connection and the processes that make it."""


def argv(node: NodeSpec, options: Options, command: str) -> tuple[list[str], dict[str, str]]:
    """The program that gives a shell on the node, and what it needs in its environment.

    The ssh line is testinfra's with what it lacks: BatchMode (never a prompt), keep-alives, no terminal; and without
    what a configuration may hold for people's own logins (forwardings, a command of their own).
    """
    if node.scheme == "local":
        return ["/bin/sh", "-c", command], {}
    if node.scheme in INSIDE:
        return INSIDE[node.scheme](node, command), {}
    if node.scheme == "salt":
        return by_salt(node, command), {}
    asked = dict(node.options)
    config = asked.get("ssh_config") or options.ssh_config
    identity = asked.get("ssh_identity_file") or options.ssh_identity_file
    if node.scheme == "paramiko":
        return by_paramiko(node, config, identity, command)
    line = ["ssh", "-T", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2"]
    line += ["-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no"]
    environment = {"SSH_ASKPASS_REQUIRE": "never"}
    if node.password is None:
        line += ["-o", "BatchMode=yes"]
    else:
        # By environment: a password among the arguments is everybody's to read.
        line = ["sshpass", "-e", *line, "-o", "NumberOfPasswordPrompts=1"]
        environment["SSHPASS"] = node.password
    line += ["-o", f"ConnectTimeout={asked.get('timeout') or CONNECT_TIMEOUT}"]
    if config:
        line += ["-F", str(Path(config).expanduser())]
    if identity:
        line += ["-i", str(Path(identity).expanduser())]
    if node.user:
        line += ["-o", f"User={node.user}"]
    if node.port:
        line += ["-o", f"Port={node.port}"]
    # An inventory's own (ssh_common_args); no spec can hold them.
    line += shlex.split(asked.get("ssh_extra_args", ""))
    return [*line, "--", node.host, command], environment


def wants_sudo(node: NodeSpec, options: Options) -> bool:
    """Whether sudo is asked for, for all nodes or by this one's spec."""
    return options.sudo or dict(node.options).get("sudo", "").lower() in ("1", "true", "yes")


def by_rule(node: NodeSpec, options: Options) -> bool:
    """Whether a rule for one program (see `rooted`) may stand for a shell by sudo: root is what is asked for."""
    return wants_sudo(node, options) and not (dict(node.options).get("sudo_user") or options.sudo_user)


def shell_command(greeting: str, options: Options, node: NodeSpec) -> str:
    """What the login shell is asked for: a greeting, then sh on standard input, through sudo where that is wished.

    One line, one pair of single quotes: csh and fish read it as sh does.
    """
    # By its path: the login's PATH is judged by the first round, and may begin with a folder of another user's.
    last = "exec /bin/sh -s"
    if wants_sudo(node, options):
        user = dict(node.options).get("sudo_user") or options.sudo_user
        last = f"exec sudo -n {f'-u {shlex.quote(user)} ' if user else ''}-- sh -s"
    if by_rule(node, options):
        # Tried with nothing to do: no line meant for root's shell may ever reach another one.
        last = f"[ -x {PROGRAM} ] && {{ sudo -n -- sh -s </dev/null || exec /bin/sh -s; }}; {last}"
    return f"exec /bin/sh -c {shlex.quote(f'echo; echo {greeting}; {last}')}"


@dataclass(eq=False)
class Shell:
    """A shell on a node behind a program's standard input and output.

    `logins` and `memory` are those of the run that it belongs to.
    """

    node: NodeSpec
    options: Options
    logins: Logins = field(default_factory=Logins, repr=False)
    memory: Memory = field(default_factory=Memory, repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)
    greeted: bool = False
    complaint: str = ""
    # Not the nonce: the greeting stands in process lists, and who knows the nonce could forge answers in a file.
    _greeting: str = field(default_factory=lambda: f"hello-{secrets.token_hex(12)}", repr=False)
    _process: subprocess.Popen[bytes] | None = None
    _errors: bytes = b""
    _held: int = 0
    _killed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Shell:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._forget()

    @property
    def sudo(self) -> bool:
        """See `Transport.sudo`."""
        return wants_sudo(self.node, self.options)

    @property
    def by_rule(self) -> bool:
        """See `Transport.by_rule`."""
        return by_rule(self.node, self.options)

    def _open(self) -> subprocess.Popen[bytes] | None:
        """The program, started by the first round; None once it was killed."""
        with self._lock:
            if self._process is None and not self._killed.is_set():
                line, environment = argv(
                    self.node, self.options, shell_command(self._greeting, self.options, self.node)
                )
                self._errors = b""
                self._process = subprocess.Popen(
                    line,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={**os.environ, **environment},
                    # A session of its own: closing it reaches every child, Ctrl-C reaches us alone, and ssh finds no
                    # terminal to ask on.
                    start_new_session=True,
                )
                for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                    assert stream is not None  # noqa: S101 - asked for as pipes above
                    os.set_blocking(stream.fileno(), False)
            return self._process

    def connect(self, until: float | None = None) -> bool:
        """Begin the login when it has its turn; False if it got none. Whether it works, the first round says."""
        if self._process is not None:
            return True
        if not self.logins.enter(self, until):
            return False
        with contextlib.suppress(OSError):
            self._open()
        return True

    def send(self, script: str, deadline: float) -> Reply:
        """See `Transport.send`. A login that is turned away because too many begin is tried again until then."""
        tries = 0
        while True:
            tries += 1
            if not self.connect(deadline):
                late = time.monotonic() >= deadline
                return Reply(trouble=OVERDUE if late else "interrupted", timed_out=late)
            began = time.monotonic()
            reply = self._round(script, deadline)
            seconds = time.monotonic() - began
            again = not (self.greeted or reply.timed_out) and turned_away(self._said, seconds)
            self.logins.leave(self, greeted=self.greeted, refused=again)
            if not again:
                return reply
            wait = pause(tries)
            if time.monotonic() + wait >= deadline:
                self.complaint += f" (turned away {tries} times before a login began)"
                return reply
            if self._killed.wait(wait):
                return Reply(trouble="interrupted")

    @property
    def _said(self) -> str:
        return clean(self._errors.decode("utf-8", "replace"))

    def _round(self, script: str, deadline: float) -> Reply:
        try:
            process = self._open()
        except OSError as error:
            if is_exhaustion(error):
                raise  # the node is not to blame for it
            program = error.filename or "the transport's program"
            return Reply(trouble=f"{program} cannot be started here: {error.strerror}")
        if process is None:
            return Reply(trouble="interrupted")
        # A job of Salt's is a shell of its own: each round brings the functions.
        jobs = self.node.scheme == "salt"
        whole = f"{preamble(self.nonce) if jobs and self.greeted else ''}{script}".encode("utf-8", "surrogateescape")
        rest = salt_round(whole, deadline - time.monotonic()) if jobs else whole
        return self._converse(process, rest, deadline)

    def _converse(self, process: subprocess.Popen[bytes], rest: bytes, deadline: float) -> Reply:
        reply = Reply()
        end, hello = f"\n{self.nonce} end\n".encode(), f"\n{self._greeting}\n".encode()
        chunks = bytearray()
        searched = 0
        self._forget()
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin is not None and stdout is not None and stderr is not None  # noqa: S101, PT018 - pipes, see _open
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            selector.register(stdin, selectors.EVENT_WRITE)
            while not (reply.complete or reply.trouble):
                left = deadline - time.monotonic()
                if left <= 0:
                    reply.timed_out = True
                    reply.trouble = OVERDUE
                    break
                for key, _ in selector.select(min(left, 1.0)):
                    if key.fileobj is stdin:
                        rest = _write(stdin.fileno(), rest)
                        if not rest:
                            selector.unregister(stdin)
                    elif key.fileobj is stderr:
                        piece = _read(stderr.fileno())
                        self._errors = (self._errors + (piece or b""))[-65536:]
                        if piece == b"":
                            selector.unregister(stderr)
                    else:
                        piece = _read(stdout.fileno())
                        chunks += piece or b""
                        self._hold(len(piece or b""))
                        if piece == b"":
                            reply.trouble = "the connection ended"
                if not self.greeted and chunks.find(hello, max(0, searched - len(hello))) >= 0:
                    self.greeted = True
                    self.logins.leave(self, greeted=True)
                reply.complete = chunks.find(end, max(0, searched - len(end))) >= 0
                searched = len(chunks)
                if searched > OUTPUT_LIMIT or self.memory.too_much(searched):
                    reply.endless = not reply.complete
                    reply.trouble = reply.trouble or f"output without end, cut at {searched / 1e6:.0f} MB"
        reply.output = bytes(chunks)
        if not reply.complete:
            self._finish(process, reply)
        self.complaint = complaint(self._errors)
        return reply

    def _finish(self, process: subprocess.Popen[bytes], reply: Reply) -> None:
        """Take what standard error still holds and the exit status, then end the program."""
        assert process.stderr is not None  # noqa: S101 - a pipe, see _open
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
        # A connection that ssh keeps for later (ControlPersist) holds standard error open: no waiting for its end.
        while piece := _read(process.stderr.fileno()):
            self._errors = (self._errors + piece)[-65536:]
        status = process.returncode
        if self._killed.is_set():
            reply.trouble = "interrupted"
        elif not reply.timed_out and status:
            told = _SSHPASS.get(status) if self.node.password is not None else None
            reply.trouble = told or f"{reply.trouble} (exit status {status})"
        self._end()

    def _hold(self, size: int) -> None:
        self._held += size
        self.memory.take(size)

    def _forget(self) -> None:
        self.memory.take(-self._held)
        self._held = 0

    def kill(self) -> None:
        """End the program and all it started at once, from another thread: whoever reads it sees the end."""
        kill_all([self])

    def doom(self) -> int | None:
        """Begin nothing more; the process to be killed, if there is one."""
        with self._lock:
            self._killed.set()
            process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def close(self) -> None:
        """See `Transport.close`."""
        self.logins.leave(self)
        self._end()

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        # Its end of input ends a healthy shell at once; a hung one is killed, with all it started.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        if process.returncode != 0:
            _end_session(process.pid)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            # It cannot be killed (of another user, by sudo; in state D): whenever it ends, somebody waits for it.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=process.wait, daemon=True).start()


def is_exhaustion(error: BaseException) -> bool:
    """Whether this machine had no memory, process, thread or descriptor left."""
    if isinstance(error, OSError):
        return error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
    return isinstance(error, MemoryError) or str(error) == "can't start new thread"


class Mortal(Protocol):
    """A way to a node that can be ended from another thread."""

    def doom(self) -> int | None:
        """See `Shell.doom`."""


def kill_all(shells: Iterable[Mortal]) -> None:
    """End many at once, whatever they are doing."""
    leaders = [pid for shell in shells if (pid := shell.doom()) is not None]
    if leaders:
        _end_sessions(leaders)


def _end_session(leader: int) -> None:
    _end_sessions((leader,))


def _end_sessions(leaders: Collection[int]) -> None:
    """Kill every process of the sessions: the commands under a node's `timeout` have groups of their own."""
    for leader in leaders:
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
    # Linux; elsewhere a program for a node is ssh, and its group is all there is.
    wanted = set(leaders)
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - names alone are wanted
            with contextlib.suppress(ValueError, OSError):
                if os.getsid(int(name)) in wanted:
                    os.kill(int(name), signal.SIGKILL)


def complaint(errors: bytes) -> str:
    """What standard error says, on one line: a frame of `@` is left out, and of many words the last ones count."""
    lines = [" ".join(line.strip("@ ").split()) for line in clean(errors.decode("utf-8", "replace")).splitlines()]
    text = " ".join(line for line in lines if line)
    if len(text) <= 400:
        return text
    changed = re.search(r"REMOTE HOST IDENTIFICATION HAS CHANGED!?", text)
    return f"{f'{changed[0]} ' if changed else ''}… {text[-360:].partition(' ')[2]}"


def _write(descriptor: int, rest: bytes) -> bytes:
    """Write what the pipe takes; what remains."""
    try:
        return rest[os.write(descriptor, rest[:65536]) :]
    except BlockingIOError:
        return rest
    except OSError:
        # The other end is gone; reading will say so.
        return b""


def _read(descriptor: int) -> bytes | None:
    """What there is to read; None if nothing is there yet, empty at the end."""
    try:
        return os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return None
    except OSError:
        return b""
