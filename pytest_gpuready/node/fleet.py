"""Asking through ClusterShell: many nodes by one program, through gateways where topology.conf names them.

`Engine` gives a transport per node, as `transport.Shell` is one; what many nodes are asked at the same moment goes out
once. A round is a login of its own. What each says is told apart as `packed` explains.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import queue
import re
import secrets
import shlex
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuready.node import memory, packed
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import OVERDUE
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.transport import Reply, _end_session, argv, by_rule, complaint, shell_command, wants_sudo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from pytest_gpuready.node.hosts import NodeSpec
    from pytest_gpuready.node.transport import Options

#: The programs that hold ClusterShell.
TASKS = Path(__file__).with_name("fleet_tasks.py")
LOOKUP = Path(__file__).with_name("fleet_lookup.py")

#: What installs it.
INSTALL = "pip install 'pytest-gpuready[fleet]'"

#: Seconds that groups and routes may take: they can be commands of the site's own (groups.conf(5), upcalls).
RESOLVE = 20.0

#: Seconds in which what is asked goes out together, and within which deadlines are one.
TOGETHER = 0.05
NEAR = 5.0


class FleetError(ValueError):
    """ClusterShell is not there, or what it was asked cannot be had; one sentence."""


def installed() -> bool:
    """Whether ClusterShell can be had."""
    return find_spec("ClusterShell") is not None


def resolve(**asked: object) -> Any:
    """What `fleet_lookup` answers. `FleetError` if it cannot."""
    if not installed():
        raise FleetError(f"that needs ClusterShell: {INSTALL}")
    process = _start(LOOKUP, asked)
    try:
        out, errors = process.communicate(timeout=RESOLVE)
    except subprocess.TimeoutExpired:
        raise FleetError(f"ClusterShell had no answer within {RESOLVE:.0f} s; a command of groups.conf hangs") from None
    finally:
        # With what it started: a command of groups.conf.
        _end_session(process.pid)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if process.returncode != 0:
        raise FleetError(f"ClusterShell: {one_line(errors.decode('utf-8', 'replace'), 300) or 'it ended at once'}")
    return json.loads(out)


def routes() -> list[tuple[str, str]]:
    """The routes of topology.conf: node sets, and those that they lead to; none: every login begins here."""
    return [(str(source), str(target)) for source, target in resolve()]


def takes(node: NodeSpec) -> bool:
    """Whether ClusterShell can hold the node: OpenSSH, and a name (a colon or % means something else to NodeSet)."""
    return node.scheme == "ssh" and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", node.host) is not None


def _start(program: Path, asked: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(program), json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Ctrl-C reaches us alone, and ending the session ends all logins.
        start_new_session=True,
    )


@dataclass(eq=False)
class Ticket:
    """One round of one node, on its way."""

    login: Login
    body: str
    left: float
    came: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, Any] = field(default_factory=dict)

    def end(self, **answer: Any) -> None:
        """The answer is there."""
        if not self.came.is_set():
            self.answer = answer
            self.came.set()


@dataclass(eq=False)
class Login:
    """The transport of one node. `logins` and `memory` are a run's; here ClusterShell's fanout bounds both."""

    engine: Engine
    node: NodeSpec
    options: Options
    #: Never sent: what the node's own nonce is replaced by.
    nonce: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)
    greeted: bool = False
    complaint: str = ""
    logins: object = None
    memory: object = None
    _killed: threading.Event = field(default_factory=threading.Event)
    _waiting: Ticket | None = None
    #: Seconds that this node waited for its turn, which are none of its own.
    _queued: float = 0.0

    def __enter__(self) -> Login:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sudo(self) -> bool:
        """See `Transport.sudo`."""
        return wants_sudo(self.node, self.options)

    @property
    def by_rule(self) -> bool:
        """See `Transport.by_rule`."""
        return by_rule(self.node, self.options)

    def connect(self, until: float | None = None) -> bool:
        """Nothing is begun before it is known what is asked."""
        del until
        return True

    def close(self) -> None:
        """See `Transport.close`: no round is under way."""

    def kill(self) -> None:
        """Let whoever waits see the end; the engine ends what runs."""
        self.doom()

    def doom(self) -> int | None:
        """The same: there is no process of this node alone."""
        self._killed.set()
        if self._waiting is not None:
            self._waiting.end(why="interrupted")
        return None

    def send(self, script: str, deadline: float) -> Reply:
        """See `Transport.send`."""
        begun = time.monotonic()
        # The functions are part of every round, and the frames are marked by what the node makes up.
        body = script.removeprefix(preamble(self.nonce)).replace(self.nonce, packed.NONCE)
        left = max(1.0, deadline + self._queued - begun)
        ticket = self._waiting = Ticket(self, body, left)
        if self._killed.is_set():
            return Reply(trouble="interrupted")
        self.engine.take(ticket)
        if not ticket.came.wait(self.engine.longest(left)):
            ticket.end(why="timeout")
        self._queued += max(0.0, time.monotonic() - begun - ticket.answer.get("spent", left))
        return self._reply(ticket.answer)

    def _reply(self, answer: dict[str, Any]) -> Reply:
        raw = base64.b64decode(answer.get("out", ""))
        self.complaint = complaint(base64.b64decode(answer.get("err", "")))
        self.greeted = self.greeted or f"\n{self.engine.greeting}\n".encode() in b"\n" + raw
        found = packed.unpack(raw, self.engine.mark)
        output = raw if found is None else found.output.replace(found.nonce.encode(), self.nonce.encode())
        complete = f"\n{self.nonce} end\n".encode() in output
        reply = Reply(output, complete)
        if complete:
            return reply
        why, gateway, status = answer.get("why", ""), one_line(answer.get("gateway") or "", 80), answer.get("rc")
        if why in ("interrupted", "engine"):
            reply.trouble = answer.get("words", why)
            self.complaint = ""
        elif why == "gateway":
            words = self.complaint or "the connection ended"
            reply.trouble = f"through the gateway {gateway}: {words}" if gateway else "no gateway of its route is left"
            self.complaint = reply.trouble
        elif why == "name":
            reply.trouble = "ClusterShell has no such name of a node"
        elif why == "flood" or len(output) > packed.LIMIT:
            reply.trouble = f"more than {packed.LIMIT // 1024 // 1024} MiB of output"
        elif why == "timeout" or (found is not None and found.ended):
            reply.timed_out, reply.trouble = True, OVERDUE
            if gateway and not raw:
                self.complaint = self.complaint or f"through the gateway {gateway}"
        else:
            reply.trouble = "the connection ended" + (f" (exit status {status})" if status else "")
        return reply


class _Program:
    """One Task, for nodes that are logged in to by the same ssh line."""

    def __init__(self, line: str, fanout: int, found: list[tuple[str, str]]) -> None:
        bounds = {"most": packed.LIMIT, "total": memory.TOTAL, "share": memory.SHARE}
        self._process = _start(TASKS, {"options": line, "fanout": fanout, "routes": found, **bounds})
        self._lock = threading.Lock()
        self._tickets: dict[tuple[int, str], Ticket] = {}
        self._ended = ""
        self._number = 0
        self._reader = threading.Thread(target=self._read, name="gpuready-clustershell", daemon=True)
        self._reader.start()

    def order(self, tickets: list[Ticket], command: str, mark: str) -> None:
        """Ask several nodes the same."""
        # Two names of an inventory may be one host.
        one = {ticket.login.node.host: ticket for ticket in reversed(tickets)}
        again = [ticket for ticket in tickets if one[ticket.login.node.host] is not ticket]
        tickets = list(one.values())[::-1]
        first, seconds = tickets[0], min(ticket.left for ticket in tickets)
        with self._lock:
            ended, self._number = self._ended, self._number + 1
            order = {
                "id": self._number,
                "nodes": [ticket.login.node.host for ticket in tickets],
                "command": command,
                "script": packed.pack(first.body, mark, seconds),
                "end": f"{mark} packed",
                "timeout": seconds,
            }
            if not ended:
                self._tickets.update({(self._number, ticket.login.node.host): ticket for ticket in tickets})
                with contextlib.suppress(OSError):  # its end is told by who reads it
                    assert self._process.stdin is not None  # noqa: S101 - a pipe, see _start
                    self._process.stdin.write(f"{json.dumps(order)}\n".encode())
                    self._process.stdin.flush()
        if ended:
            for ticket in tickets:
                ticket.end(why="engine", words=ended)
        if again:
            self.order(again, command, mark)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe, see _start
        assert self._process.stderr is not None  # noqa: S101 - likewise
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(self._process.stderr.read()[-4096:]), daemon=True)  # type: ignore[union-attr]
        reader.start()
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                ticket = self._tickets.pop((answer["id"], answer["node"]), None)
            if ticket is not None:
                ticket.end(**answer)
        self._process.wait()
        reader.join(1)
        words = one_line(b"".join(errors).decode("utf-8", "replace"), 200)
        with self._lock:
            self._ended = f"ClusterShell ended{f': {words}' if words else ''}"
            rest, self._tickets = list(self._tickets.values()), {}
        for ticket in rest:
            ticket.end(why="engine", words=self._ended)

    def stop(self) -> None:
        """End it, with every login."""
        if self._process.poll() is None:
            _end_session(self._process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._reader.join(2)
        if self._reader.is_alive():
            return  # something that nobody can end holds its output; it is a daemon
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()


class Engine:
    """All that one run asks through ClusterShell. `at_once`: nodes that gateways ask side by side."""

    def __init__(self, nodes: Iterable[NodeSpec], options: Options, fanout: int, found: list[tuple[str, str]]) -> None:
        self.options = options
        self.fanout = fanout
        self.routes = found
        self.greeting = f"hello-{secrets.token_hex(12)}"
        self.mark = secrets.token_hex(12)
        self.at_once = sum(takes(node) for node in nodes) if found else 0
        self._programs: dict[str, _Program] = {}
        self._asked: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def login(self, node: NodeSpec) -> Login:
        """The way to a node that it takes."""
        return Login(self, node, self.options)

    def takes(self, node: NodeSpec) -> bool:
        """Whether it asks the node; the others are asked by threads."""
        return takes(node)

    def longest(self, left: float) -> float:
        """Seconds after which the program itself must be broken: every gateway's turns, and the gateway's own time."""
        return (left + 5) * max(1, math.ceil(self.at_once / self.fanout)) + 60

    def take(self, ticket: Ticket) -> None:
        """Have a node asked."""
        with self._lock:
            if self._stopped:
                ticket.end(why="interrupted")
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._give, name="gpuready-orders", daemon=True)
                self._thread.start()
        self._asked.put(ticket)

    def _give(self) -> None:
        """Send out what is asked at about the same moment, once for all that are asked the same."""
        while (first := self._asked.get()) is not None:
            time.sleep(TOGETHER)
            alike: dict[tuple[str, str, str, int], list[Ticket]] = defaultdict(list)
            ticket: Ticket | None = first
            with contextlib.suppress(queue.Empty):
                while ticket is not None:
                    login = ticket.login
                    command = shell_command(self.greeting, self.options, login.node)
                    alike[self._line(login.node), command, ticket.body, int(ticket.left // NEAR)].append(ticket)
                    ticket = self._asked.get_nowait()
            for (line, command, _, _), tickets in alike.items():
                self._order(line, command, tickets)
            if ticket is None and self._stopped:
                return

    def _order(self, line: str, command: str, tickets: list[Ticket]) -> None:
        with self._lock:
            program = self._programs.get(line)
            if program is None and not self._stopped:
                try:
                    program = self._programs[line] = _Program(line, self.fanout, self.routes)
                except OSError as error:
                    for ticket in tickets:
                        ticket.end(why="engine", words=f"ClusterShell cannot be started: {error.strerror}")
                    return
        if program is None:
            for ticket in tickets:
                ticket.end(why="interrupted")
        else:
            program.order(tickets, command, self.mark)

    def _line(self, node: NodeSpec) -> str:
        """The words of ssh before the host's name, as `transport.argv` has them."""
        words, _ = argv(node, self.options, "")
        return shlex.join(words[1 : words.index("--")])

    def stop(self) -> None:
        """End every login and process."""
        with self._lock:
            self._stopped = True
            programs = list(self._programs.values())
        self._asked.put(None)
        for program in programs:
            program.stop()
