"""A containerd process by its command line: whether it is a daemon, whose, its configuration and its socket."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.toml import TomlError, loads
from pytest_gpuready.views.fact_files import config_file
from pytest_gpuready.views.flavours import DEFAULT_CONFIG, Flavour, flavour_of
from pytest_gpuready.views.platform import Process

if TYPE_CHECKING:
    from pytest_gpuready.containerd_api.answers import LiveAnswer
    from pytest_gpuready.node.facts import Facts

#: Containerds that belong to another engine: no kubelet and no `ctr` that the routes name talks to them.
FOREIGN = ("/var/run/docker/", "/run/docker/")

#: With these it is no daemon (ctd v2.1.9:cmd/containerd/command/main.go).
_QUESTIONS = frozenset({"--version", "-v", "--help", "-h"})
_COMMANDS = ("config", "publish", "oci-hook", "help")


@dataclass(frozen=True)
class Daemon:
    """A running containerd: its process, flavour, main configuration file and socket.

    `explicit`: the command line names the file, so the daemon refuses to start where it is missing.
    """

    process: Process
    flavour: Flavour
    config: str
    explicit: bool
    socket: str

    @property
    def foreign(self) -> bool:
        """Docker's own, or some user's: not the node's."""
        return self.config.startswith(FOREIGN) or bool(self.process.uid)


def daemon_of(process: Process, facts: Facts) -> Daemon:
    """What a process's command line makes of it; its socket may stand in its main file."""
    config, address = process.option("--config", "-c", "-config"), process.option("--address", "-a", "-address")
    path = posixpath.normpath(config) if config else DEFAULT_CONFIG
    flavour = flavour_of(path if config else None, plain_socket(address) if address else None)
    socket = plain_socket(address) if address else _socket_in(path, facts) or flavour.socket
    return Daemon(process, flavour, path, config is not None, socket)


def daemon_to_be(command: tuple[str, ...], facts: Facts) -> Daemon | None:
    """The daemon that a service's command line would start; None where that is none of containerd's."""
    program = command[0] if command else ""
    if posixpath.basename(program) != "containerd":
        # Of k3s' own words, or a shell's, none is containerd's.
        return None
    exe = program if program.startswith("/") else None
    daemon = daemon_of(Process(0, "containerd", exe, command, None, None, uid=0), facts)
    # A service's folder is / (systemd.exec(5): WorkingDirectory=), and containerd's own unit leaves it so.
    return replace(daemon, config=posixpath.join("/", daemon.config))


def _socket_in(path: str, facts: Facts) -> str | None:
    """The socket that a main file sets: [grpc] up to version 3, a plugin's table from 4 on (containerd 2.3)."""
    fact = facts.peek(config_file(path))
    if fact is None or fact.state != "ok" or b"address" not in fact.data:
        return None
    try:
        root = loads(fact.data).root
    except TomlError:
        return None
    for table in (root.get("grpc"), _table(root.get("plugins")).get("io.containerd.server.v1.grpc")):
        found = _table(table).get("address")
        if isinstance(found, str) and found:
            return found
    return None


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def asked_only(args: tuple[str, ...]) -> bool:
    """Whether it is no daemon but a question, such as our own `containerd --version` beside the list of processes.

    One that has no arguments yet, not even its name, was begun that moment.
    """
    return not args or bool(_QUESTIONS & set(args[1:])) or args[1:2] in [(word,) for word in _COMMANDS]


# ---------------------------------------------------------------------- sockets


def plain_socket(endpoint: str) -> str:
    """A socket's path without `unix://` or `unix:`."""
    return endpoint.removeprefix("unix://").removeprefix("unix:")


def is_path(socket: str) -> bool:
    """A socket that can be asked: an absolute path."""
    return socket.startswith("/") and "\0" not in socket


def same_socket(left: str, right: str) -> bool:
    """Whether two paths name one socket: /var/run is /run."""
    return _under_run(left) == _under_run(right)


def _under_run(path: str) -> str:
    plain = posixpath.normpath(plain_socket(path))
    return plain.removeprefix("/var") if plain.startswith("/var/run/") else plain


def why_silent(answer: LiveAnswer, socket: str) -> str:
    """In words, why an answer is none."""
    return {
        "absent": f"{socket} is not there",
        "denied": f"{socket}: permission denied",
        "not-a-socket": f"{socket} is no socket",
        "stale": f"nobody listens at {socket}",
        "timeout": f"no answer at {socket} within the deadline",
        "no-tool": "the node has neither curl with HTTP/2, python3 nor crictl",
        "broken": answer.detail or f"the answer at {socket} makes no sense",
    }.get(answer.state, answer.detail or "no answer")
