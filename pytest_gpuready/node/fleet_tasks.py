r"""ClusterShell as a program of its own: a Task whose orders come by standard input and whose answers go to its output.

Started by its path with one JSON argument. Stands alone: nothing of the package is imported. It is a process and no
thread since a Task forks in Python, and unpickles; ended with all it started by ending its session. What goes wrong as
a whole is one line on standard error, and status 1.

Its argument is {"options", "fanout", "routes", "most", "total", "share"}: words of ssh, logins at once, what
`fleet_lookup` prints, bytes that a node may send, and `memory`'s bounds for all nodes and for each. A line of its input
is a round, {"id", "nodes", "command", "script", "end", "timeout"}; each of its nodes is answered once, by {"id",
"node", "out", "err" (base64), "rc", "why", "gateway", "spent"}. `why` is empty, or timeout, flood, gateway, name.

Written against ClusterShell 1.10.1 (a gateway's may be older, 1.9.3 was tried). What is not in its documented interface
is named where it is used.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import math
import os
import pickle
import resource
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Started by its path, this folder is where Python looks first: its modules are not the top-level ones of anybody.
sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]
from ClusterShell.Engine.Engine import EngineAbortException  # noqa: E402
from ClusterShell.Event import EventHandler  # noqa: E402
from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet  # noqa: E402
from ClusterShell.Propagation import PropagationChannel, PropagationTreeRouter, RouteResolvingError  # noqa: E402
from ClusterShell.Task import _getshorthostname, task_self  # noqa: E402
from ClusterShell.Topology import TopologyGraph  # noqa: E402
from ClusterShell.Worker.Ssh import SshClient, WorkerSsh  # noqa: E402
from ClusterShell.Worker.Tree import TreeWorker  # noqa: E402
from ClusterShell.Worker.Worker import FANOUT_UNLIMITED, StreamWorker  # noqa: E402

#: Longest line of a gateway that is held while its end is waited for, in bytes; it sends some of 64 KiB.
LINE = 4 * 1024 * 1024

#: Seconds for a gateway to be logged in to and to answer, and for word of its nodes to come after their deadline.
GATEWAY, GRACE = 15.0, 4.0

#: Seconds that a login may last after its last word (ControlPersist keeps standard error open).
LINGER = 1.0


# ---------------------------------------------------------------------------------------------------- ssh


class SshOfOurs(SshClient):  # type: ignore[misc]
    """ClusterShell's ssh, which reads a node's answers as they come and not by lines, which have no longest length."""

    def _handle_read(self, sname: str) -> None:
        if isinstance(self.worker.eh, Round):
            self.worker.eh.take(self.key, self._read(sname), error=sname == self.worker.SNAME_STDERR)
            return
        # A gateway.
        super()._handle_read(sname)
        stream = self.streams.get(sname)
        if stream is not None and len(stream.rbuf) > LINE:
            self.popen.kill()


class Direct(WorkerSsh):  # type: ignore[misc]
    """Logins from here. A time-out is told at once, and not, as by ClusterShell, when the worker's last login ended."""

    SHELL_CLASS = SshOfOurs

    def _on_node_timeout(self, node: str) -> None:
        super()._on_node_timeout(node)
        if isinstance(self.eh, Round):
            self.eh.finish(node, why="timeout")


# ---------------------------------------------------------------------------------------------------- gateways


class _Plain(pickle.Unpickler):
    """What a gateway may send is bytes: a pickle that names anything else would run it here."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not expected from a gateway")


def _payload(message: Any) -> bytes:
    found = _Plain(io.BytesIO(base64.b64decode(message.data or b""))).load()
    if not isinstance(found, bytes):
        raise pickle.UnpicklingError("bytes are expected from a gateway")
    return found


class Channel(PropagationChannel):  # type: ignore[misc]
    """To a gateway. Whatever one of them says costs its own nodes and no others."""

    since: float
    words: str

    def recv(self, msg: Any) -> None:
        """Take a message; ClusterShell raises for some, which would end the whole Task."""
        msg.data_decode = functools.partial(_payload, msg)
        try:
            super().recv(msg)
        except EngineAbortException:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self.words += f"{error}\n"
            with contextlib.suppress(Exception):
                self._close(abort=True)


class Through(TreeWorker):  # type: ignore[misc]
    """A round through gateways.

    A gateway gives what is written to the worker that it began last (1.10.1, Gateway.py, `recv_ctl`), and what was
    written to a gateway that failed is not written to the one that takes its nodes over: so each launch has its script
    behind it.
    """

    def __init__(self, nodes: Any, script: bytes, handler: Round, timeout: float, command: str) -> None:
        super().__init__(nodes, handler=handler, timeout=timeout, command=command, stderr=True)
        self.script = script
        # Nothing is written on a gateway: its log would be a file in /tmp. Whatever runs it here, there it is python3.
        mine = ["PYTHONDONTWRITEBYTECODE=1"]
        if not os.environ.get("CLUSTERSHELL_GW_LOG_DIR"):
            mine.append("CLUSTERSHELL_GW_LOG_DIR=/dev/null")
        python = os.environ.get("CLUSTERSHELL_GW_PYTHON_EXECUTABLE") or "python3"
        kept = [
            shlex.quote(f"{name}={os.environ[name]}")
            for name in (
                "PYTHONPATH",
                *(f"CLUSTERSHELL_GW_{end}" for end in ("LOG_DIR", "LOG_LEVEL", "B64_LINE_LENGTH")),
            )
            if os.environ.get(name)
        ]
        self.invoke_gateway = " ".join(["env", *mine, *kept, python, "-m", "ClusterShell.Gateway", "-Bu"])

    def _execute_remote(self, cmd: str, targets: Any, gateway: Any, timeout: float) -> None:
        super()._execute_remote(cmd, targets, gateway, timeout)
        channel = self.task._pchannel(gateway, self)  # noqa: SLF001
        if not isinstance(channel, Channel):
            channel.__class__ = Channel
            channel.since, channel.words = time.monotonic(), ""
        channel.write(nodes=targets, buf=self.script, worker=self)
        channel.set_write_eof(nodes=targets, worker=self)
        self.eh.sent(targets, str(gateway))

    def _start(self) -> None:
        # Gateways that failed in an earlier round.
        try:
            super()._start()
        except RouteResolvingError:
            for node in self.nodes:
                self.eh.lost(node, "")

    def _relaunch(self, previous_gateway: str) -> None:
        targets = NodeSet.fromlist(self.gwtargets[previous_gateway])
        try:
            super()._relaunch(previous_gateway)
        except RouteResolvingError:
            for node in targets:
                self.eh.lost(node, previous_gateway)
            self._check_fini()

    def _gateway_abort(self, gateway: str) -> None:
        for node in list(self.gwtargets.get(gateway, ())):
            self.eh.lost(node, gateway)
        super()._gateway_abort(gateway)

    def _on_remote_node_msgline(self, node: str, msg: bytes, sname: str, gateway: Any) -> None:
        if node in self.gwtargets.get(str(gateway), ()):
            self.eh.take(node, msg + b"\n", error=sname == self.SNAME_STDERR)
        elif node == str(gateway):
            channel = self.task.gateways[node][0].eh
            channel.words = (channel.words + msg.decode("utf-8", "replace") + "\n")[-4096:]

    # A gateway has a say in its own nodes alone.

    def _on_remote_node_close(self, node: str, rc: int, gateway: Any) -> None:
        if node in self.gwtargets.get(str(gateway), ()):
            super()._on_remote_node_close(node, rc, gateway)

    def _on_remote_node_timeout(self, node: str, gateway: Any) -> None:
        if node in self.gwtargets.get(str(gateway), ()):
            self.eh.finish(node, why="timeout")
            super()._on_remote_node_timeout(node, gateway)


# ---------------------------------------------------------------------------------------------------- rounds


@dataclass
class State:
    """A node within a round. `due`: when word through its gateway is late; 0: not yet known."""

    out: bytearray
    began: float
    err: bytes = b""
    gateway: str = ""
    waves: int = 1
    due: float = 0.0


class Round(EventHandler):  # type: ignore[misc]
    """One order, and what has come of it."""

    def __init__(self, tasks: Tasks, order: dict[str, Any]) -> None:
        super().__init__()
        self.tasks = tasks
        self.id = order["id"]
        self.timeout = float(order["timeout"])
        self.end = f"\n{order['end']}\n".encode()
        now = time.monotonic()
        self.nodes = {node: State(bytearray(), now) for node in order["nodes"]}
        self.direct: Direct | None = None
        self.lingering: list[tuple[float, str]] = []

    def ev_pickup(self, worker: Any, node: str) -> None:
        """A login began."""
        if worker is self.direct and node in self.nodes:
            self.nodes[node].began = time.monotonic()

    def sent(self, targets: Any, gateway: str) -> None:
        """The nodes were given to a gateway, which asks as many at once as the fanout says."""
        for node in targets:
            if node in self.nodes:
                self.nodes[node].gateway = gateway
                self.nodes[node].waves = math.ceil(len(targets) / self.tasks.fanout)

    def take(self, node: str, piece: bytes, *, error: bool) -> None:
        """A part of what a node says."""
        state = self.nodes.get(node)
        if state is None:
            return
        if error:
            state.err = (state.err + piece)[-65536:]
            return
        looked = max(0, len(state.out) - len(self.end))
        state.out += piece
        self.tasks.held += len(piece)
        if state.out.find(self.end, looked) >= 0:
            self.lingering.append((time.monotonic(), node))
            self.finish(node, rc=0)
        elif self.tasks.too_much(len(state.out)):
            self.lingering.append((0.0, node))
            self.finish(node, why="flood")

    def ev_hup(self, worker: Any, node: str, rc: int | None) -> None:
        """A login ended."""
        del worker
        self.finish(node, rc=rc)

    def lost(self, node: str, gateway: str) -> None:
        """Nothing more will come through the gateway."""
        self.finish(node, why="gateway", gateway=gateway)

    def finish(self, node: str, *, rc: int | None = None, why: str = "", gateway: str = "") -> None:
        """Answer for a node, once."""
        state = self.nodes.pop(node, None)
        if state is None:
            return
        self.tasks.held -= len(state.out)
        spent = time.monotonic() - state.began - (state.waves - 1) * self.timeout
        name = gateway or state.gateway
        words = self.tasks.words(name) if why == "gateway" else ""
        self.tasks.tell(
            {
                "id": self.id,
                "node": node,
                # What is too much is no answer; its beginning may say what it is.
                "out": base64.b64encode(state.out[:65536] if why == "flood" else state.out).decode(),
                "err": base64.b64encode(words.encode() or state.err).decode(),
                "rc": rc,
                "why": why,
                "gateway": name,
                "spent": max(0.0, spent),
            }
        )

    def tick(self, now: float) -> None:
        """End what is late."""
        for node, state in list(self.nodes.items()):
            if state.gateway and not state.due and self.tasks.ready(state.gateway):
                # What its gateway took to begin is none of the node's time.
                state.began = now
                state.due = now + state.waves * self.timeout + GRACE
            elif state.due and now > state.due:
                self.finish(node, why="timeout")
        for then, node in list(self.lingering):
            if now - then > LINGER:
                self.lingering.remove((then, node))
                for client in self.direct._clients if self.direct is not None else ():  # noqa: SLF001
                    if client.key == node and client.registered:
                        client.abort()


class Tasks(EventHandler):  # type: ignore[misc]
    """The Task, and the rounds that are under way."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__()
        # Three pipes each; the soft limit may be that of a login shell.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.fanout = max(1, min(int(asked["fanout"]), (most if most > 0 else 1 << 20) // 4 - 16))
        self.most, self.total, self.share = int(asked["most"]), int(asked["total"]), int(asked["share"])
        self.held = 0
        self.rounds: list[Round] = []
        self.said: dict[str, str] = {}
        task = self.task = task_self()
        for name in ("stdout_msgtree", "stderr_msgtree"):
            task.set_default(name, False)
        task.set_default("distant_worker", Direct)
        task.set_info("fanout", self.fanout)
        # On gateways, too: the same ssh line, whatever their own defaults.conf says.
        task.set_info("ssh_options", asked["options"])
        task.set_info("tree_default:distant_workername", "ssh")
        task.set_info("tree_default:local_workername", "exec")
        if asked["routes"]:
            task.topology = tree(asked["routes"])
            task.router = PropagationTreeRouter(str(task.topology.root.nodeset), task.topology)

    def too_much(self, size: int) -> bool:
        """Whether a node that has sent so many bytes has to stop."""
        return size > self.most or (size > self.share and self.held > self.total)

    def run(self) -> None:
        """Until standard input ends."""
        os.set_blocking(0, False)
        orders = StreamWorker(handler=self)
        orders._fanout = FANOUT_UNLIMITED  # noqa: SLF001 - as ClusterShell's own Gateway does
        orders.set_reader("orders", 0)
        self.task.schedule(orders)
        self.task.timer(0.25, self, interval=0.25, autoclose=True)
        with contextlib.suppress(EngineAbortException):
            self.task.resume()

    def ev_read(self, worker: Any, node: Any, sname: str, msg: bytes) -> None:
        """An order."""
        del worker, node, sname
        self.begin(json.loads(msg))

    def ev_close(self, worker: Any, timedout: bool) -> None:  # noqa: FBT001 - ClusterShell's
        """No more orders: whoever gave them is gone, or wants an end."""
        del worker, timedout
        self.task.abort()

    def ev_timer(self, timer: Any) -> None:
        """Look after what ClusterShell has no time-out for."""
        del timer
        now = time.monotonic()
        for name, (worker, _) in list(self.task.gateways.items()):
            channel = worker.eh
            if isinstance(channel, Channel):
                self.said[name] = channel.words or self.said.get(name, "")
                if not channel.setup and now - channel.since > GATEWAY:
                    channel.words += f"no answer within {GATEWAY:.0f} s\n"
                    # Ended and not aborted: then its nodes go to another gateway, where there is one.
                    for client in worker._clients:  # noqa: SLF001
                        if client.popen is not None:
                            client.popen.kill()
        for one in self.rounds:
            one.tick(now)
        self.rounds = [one for one in self.rounds if one.nodes or one.lingering]

    def begin(self, order: dict[str, Any]) -> None:
        """A round: from here, and through gateways where topology.conf says so."""
        one = Round(self, order)
        self.rounds.append(one)
        script = order["script"].encode("utf-8", "surrogateescape")
        nodes = NodeSet.fromlist(order["nodes"], resolver=RESOLVER_NOGROUP)
        for node in set(order["nodes"]) - set(nodes):
            one.finish(node, why="name")  # a name that NodeSet writes in another way
        behind = NodeSet(resolver=RESOLVER_NOGROUP)
        for network, gateways in self.task.router.table if self.task.router is not None else ():
            there = network & nodes
            if there and not gateways - self.task.router._unreachable_hosts:  # noqa: SLF001
                for node in there:
                    one.lost(node, str(gateways))
            else:
                behind.update(there)
            nodes.difference_update(there)
        if behind:
            self.task.schedule(Through(behind, script, one, one.timeout, order["command"]))
        if nodes:
            worker = Direct(nodes, handler=one, timeout=one.timeout, command=order["command"], stderr=True)
            one.direct = worker
            worker.write(script)
            worker.set_write_eof()
            self.task.schedule(worker)

    def ready(self, gateway: str) -> bool:
        """Whether the gateway is at work."""
        return gateway in self.task.gateways and bool(self.task.gateways[gateway][0].eh.setup)

    def words(self, gateway: str) -> str:
        """What a gateway said before it ended, or each of several."""
        if gateway in self.task.gateways:
            self.said[gateway] = getattr(self.task.gateways[gateway][0].eh, "words", "") or self.said.get(gateway, "")
        if gateway in self.said:
            return self.said[gateway]
        several = {name: self.said[name] for name in NodeSet(gateway, resolver=RESOLVER_NOGROUP) if name in self.said}
        return "; ".join(f"{name}: {' '.join(words.split())}" for name, words in several.items())

    def tell(self, answer: dict[str, Any]) -> None:
        """Write an answer."""
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def tree(pairs: list[list[str]]) -> Any:
    """The tree of routes, this machine at its root."""
    graph = TopologyGraph()
    for source, target in pairs:
        graph.add_route(NodeSet(source, resolver=RESOLVER_NOGROUP), NodeSet(target, resolver=RESOLVER_NOGROUP))
    return graph.to_tree(_getshorthostname())


def main() -> int:
    """As the module says."""
    try:
        Tasks(json.loads(sys.argv[1])).run()
    except Exception as error:  # noqa: BLE001 - one sentence, whatever it is
        sys.stderr.write(f"{' '.join(str(error).split()) or type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
