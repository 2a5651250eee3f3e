"""An OpenSSH server of a test's own: on the loopback, at a free port, with its own keys and its own ssh_config.

It stands for a node's sshd and is one: the real program, its logins counted in its own log. What differs from a node's:
no PAM, and the login shell of an alias is what `SetEnv` in the ssh_config names, started by ForceCommand as sshd starts
a login shell (SHELL -c COMMAND). It cannot show how PAM or a shell in /etc/passwd delay or refuse a login.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How sshd would start a login shell; `-c` is what every shell knows.
_LOGIN = """#!/bin/sh
[ -z "$GPUREADY_SETUP" ] || . "$GPUREADY_SETUP"
exec "${GPUREADY_SHELL:-/bin/sh}" -c "$SSH_ORIGINAL_COMMAND"
"""


@dataclass
class Sshd:
    """A running server. `config` is the ssh_config that reaches it, `alias` a host in it."""

    folder: Path
    port: int
    config: Path
    log: Path
    user: str
    alias: str = "node"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def spec(self) -> str:
        """The alias as a host spec."""
        return f"ssh://{self.alias}"

    @property
    def key(self) -> Path:
        """The identity that may log in."""
        return self.folder / "id"

    @property
    def known_hosts(self) -> Path:
        """The file that holds the server's key."""
        return self.folder / "known_hosts"

    def logins(self) -> int:
        """How often somebody logged in so far."""
        return self.text().count("Accepted publickey")

    def text(self) -> str:
        """The server's log."""
        return self.log.read_text("utf-8", "replace")

    def add_alias(
        self, name: str, *lines: str, user: str | None = None, shell: str | None = None, setup: str | None = None
    ) -> str:
        """Another host in the ssh_config: more of its lines, another user, login shell, or a file read first."""
        environment = {"GPUREADY_SHELL": shell, "GPUREADY_SETUP": setup}
        setenv = " ".join(f"{key}={value}" for key, value in environment.items() if value)
        own = {line.split()[0] for line in lines}
        text = [
            f"Host {name}",
            *lines,
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"User {user or self.user}",
            *([] if "IdentityFile" in own else [f"IdentityFile {self.key}"]),
            "IdentitiesOnly yes",
            *([] if "UserKnownHostsFile" in own else [f"UserKnownHostsFile {self.known_hosts}"]),
            "GlobalKnownHostsFile /dev/null",
            "HostKeyAlias gpuready-test",
            *([f"SetEnv {setenv}"] if setenv else []),
            "",
        ]
        with self.config.open("a", encoding="utf-8") as stream:
            stream.write("\n".join(text))
        return name

    def sessions(self) -> list[int]:
        """The pids of the processes that serve a login each."""
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if "sshd" in _name(pid)]

    def stop(self) -> None:
        """End the server and the sessions it serves, by their pids."""
        if self.process is None:
            return
        pids = [self.process.pid, *descendants(self.process.pid)]
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM if pid == self.process.pid else signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None


def why_not() -> str | None:
    """Why no server can be started here; None if one can."""
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if sshd_program() is None:
        missing.append("sshd")
    return f"{', '.join(missing)} is not on this machine" if missing else None


def sshd_program() -> str | None:
    """The server's program; it must be started by its full path."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")


def keygen(path: Path) -> Path:
    """A new key pair at the path."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port of the loopback whose queue of connections is full: the kernel drops what comes, as a firewall does."""
    with socket.socket() as listener, contextlib.ExitStack() as held:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def start(folder: Path, *options: str, within: tuple[str, ...] = ()) -> Sshd:
    """Start a server with its files in the folder; `options` are further lines of its configuration.

    `within` is a program that runs it, such as unshare.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in ("host", "id"):
        keygen(folder / name)
    # sshd reads it as the user who logs in, whoever that is.
    shutil.copy(folder / "id.pub", folder / "authorized")
    (folder / "authorized").chmod(0o644)
    (folder / "login").write_text(_LOGIN)
    (folder / "login").chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = Sshd(folder, free_port(), folder / "ssh_config", folder / "log", getpass.getuser())
    (folder / "known_hosts").write_text(f"gpuready-test {(folder / 'host.pub').read_text()}")
    lines = [
        *options,
        f"Port {server.port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        f"PidFile {folder / 'pid'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        "PrintMotd no",
        "UseDNS no",
        # Of this word, unlike the others, the last line counts.
        *([] if any(option.startswith("MaxStartups ") for option in options) else ["MaxStartups 200"]),
        "MaxSessions 100",
        "LogLevel VERBOSE",
        # bash, as the first shell of a login, would read the ~/.bashrc of whoever runs the tests.
        "SetEnv SHLVL=1",
        "AcceptEnv GPUREADY_SHELL GPUREADY_SETUP",
        f"ForceCommand {folder / 'login'}",
    ]
    (folder / "sshd_config").write_text("\n".join([*lines, ""]))
    server.config.touch()
    server.add_alias(server.alias)
    server.log.touch()
    again(server, within=within)
    return server


def again(server: Sshd, within: tuple[str, ...] = ()) -> None:
    """Run a server that was made, or that was stopped; its log goes on."""
    program = sshd_program()
    assert program is not None
    said = server.text().count("Server listening")
    server.process = subprocess.Popen(
        [*within, program, "-D", "-f", str(server.folder / "sshd_config"), "-E", str(server.log)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(100):
        if server.text().count("Server listening") > said:
            return
        if server.process.poll() is not None:
            break
        time.sleep(0.05)
    text = server.text()
    server.stop()
    raise RuntimeError(f"sshd did not start: {text[-500:]}")


@contextlib.contextmanager
def serving(*options: str, within: tuple[str, ...] = ()) -> Iterator[Sshd]:
    """A server for the time of a block, in a folder that every user may reach; skips the test where none can be."""
    why = why_not()
    if why is not None:
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="gpuready-sshd-"))
    server = None
    try:
        server = start(folder, *options, within=within)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """One server for all tests; an alias of a test's own keeps them apart."""
    with serving() as server:
        yield server


def descendants(pid: int) -> list[int]:
    """The pids of all processes below one, nearest first."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text("utf-8", "replace")
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, level = [], [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return re.sub(r"\0", " ", Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace"))
    return ""
