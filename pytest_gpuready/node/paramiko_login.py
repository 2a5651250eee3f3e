"""A login by paramiko as a program: standard input to the command on the host, its output and status back.

Started by its path with one JSON argument (see `inside.by_paramiko`); a password is in GPUREADY_PASSWORD. Stands alone:
nothing of the package is imported. What goes wrong is one line on standard error in ssh's words, and status 255.

Unlike testinfra 10.2.2 (backend/paramiko.py) host keys are enforced as ssh does: a key that is not known is refused
unless StrictHostKeyChecking says otherwise, one that changed always.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

# Started by its path, this folder is where Python looks first: its modules are not the top-level ones of anybody.
sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]
try:
    import paramiko
except ImportError:
    sys.stderr.write("paramiko:// needs a library: install paramiko, or use ssh://\n")
    sys.exit(255)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STRICT_NOT = ("no", "off", "accept-new")


class _Accept(paramiko.MissingHostKeyPolicy):
    """Take the key and write it nowhere."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Nothing to say."""


class _LoginError(Exception):
    """One sentence for the user."""


def _lines(path: Path, depth: int = 0) -> Iterator[str]:
    """The lines of an ssh_config with what it includes, which paramiko leaves to its users."""
    block = "Host *"
    for line in path.read_text("utf-8", "replace").splitlines():
        words = line.replace("=", " ", 1).split()
        key = words[0].lower() if words else ""
        if key in ("host", "match"):
            block = line
        if key != "include" or depth > 8:
            yield line
            continue
        for word in words[1:]:
            wanted = Path("~/.ssh").expanduser() / Path(word.strip('"')).expanduser()
            for name in sorted(glob.glob(str(wanted))):  # noqa: PTH207 - an absolute pattern
                yield from _lines(Path(name), depth + 1)
                # A block of the included file ends with it.
                yield block


def lookup(host: str, config: str | None, user: str | None) -> Mapping[str, Any]:
    """What ssh_config says of the host: the file named alone, else the user's and then the system's, as for ssh."""
    found = paramiko.SSHConfig()
    lines: list[str] = [f"Host *\nUser {user}"] if user else []
    try:
        if config:
            lines += ["Host *", *_lines(Path(config).expanduser())]
        else:
            for path in (Path("~/.ssh/config").expanduser(), Path("/etc/ssh/ssh_config")):
                if path.is_file():
                    lines += ["Host *", *_lines(path)]
        found.parse("\n".join(lines).splitlines())
        asked: Mapping[str, Any] = found.lookup(host)
    except OSError as error:
        raise _LoginError(f"Can't open user config file {error.filename}: {error.strerror}") from None
    except (paramiko.SSHException, ValueError, KeyError, ImportError) as error:
        raise _LoginError(f"paramiko cannot read the ssh_config ({error}); use ssh://") from None
    return asked


def _known(client: paramiko.SSHClient, asked: Mapping[str, Any], name: str) -> None:
    """Load the known hosts, under the name by which paramiko will look for the host."""
    files = [
        *str(asked.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")).split(),
        *str(asked.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")).split(),
    ]
    keys = client.get_host_keys()
    for file in files:
        path = Path(file.strip('"')).expanduser()
        if path.is_file():
            keys.load(str(path))
    alias = asked.get("hostkeyalias")
    if alias:
        # Under the alias alone, as ssh does it.
        known = dict(keys.lookup(alias) or {})
        keys.clear()
        for kind, key in known.items():
            keys.add(name, kind, key)


def connect(wanted: Mapping[str, Any]) -> paramiko.Transport:
    """The login made; `_LoginError` if it cannot be."""
    asked = lookup(wanted["host"], wanted["config"], wanted["user"])
    if str(asked.get("proxyjump", "none")).lower() != "none":
        raise _LoginError(f"paramiko knows no ProxyJump, which the ssh_config has for {wanted['host']}; use ssh://")
    host, port = str(asked["hostname"]), int(wanted["port"] or asked.get("port") or 22)
    client = paramiko.SSHClient()
    loose = str(asked.get("stricthostkeychecking", "ask")).lower() in _STRICT_NOT
    client.set_missing_host_key_policy(_Accept() if loose else paramiko.RejectPolicy())
    _known(client, asked, host if port == 22 else f"[{host}]:{port}")
    only = str(asked.get("identitiesonly", "no")).lower() == "yes"
    names = [wanted["identity"]] if wanted["identity"] else asked.get("identityfile", [])
    identities = [str(path) for name in names if (path := Path(name).expanduser()).is_file()]
    command = asked.get("proxycommand")
    if command and wanted["port"]:
        # paramiko fills in the configuration's port for %p; the spec's own cannot be told apart any more.
        raise _LoginError("a ProxyCommand and a port in the spec cannot be had both by paramiko; use ssh://")
    client.connect(
        host,
        port,
        wanted["user"] or asked.get("user"),
        os.environ.pop("GPUREADY_PASSWORD", None),
        key_filename=cast("Any", identities),  # its stubs know one alone
        timeout=wanted["timeout"],
        banner_timeout=wanted["timeout"],
        auth_timeout=wanted["timeout"],
        allow_agent=not only,
        look_for_keys=not only and not identities,
        sock=paramiko.ProxyCommand(command) if command else None,
    )
    transport = client.get_transport()
    assert transport is not None  # noqa: S101 - it is connected
    transport.set_keepalive(5)
    # It closes the connection when it is collected.
    transport.gpuready_client = client  # type: ignore[attr-defined]
    return transport


def _in(channel: paramiko.Channel) -> None:
    """Standard input to the command, until either ends."""
    try:
        while data := os.read(0, 65536):
            channel.sendall(data)
        channel.shutdown_write()
    except OSError:
        return


def _errors(channel: paramiko.Channel) -> None:
    """The command's standard error to ours."""
    while data := channel.recv_stderr(65536):
        _out(2, data)


def _out(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def converse(transport: paramiko.Transport, command: str) -> int:
    """Run the command and carry its streams; its exit status."""
    channel = transport.open_session()
    channel.exec_command(command)
    errors = threading.Thread(target=_errors, args=(channel,), daemon=True)
    errors.start()
    threading.Thread(target=_in, args=(channel,), daemon=True).start()
    while data := channel.recv(1 << 18):
        _out(1, data)
    errors.join(1)
    return channel.recv_exit_status()


def main(argument: str) -> int:
    """The command's exit status; 255 with a line on standard error if there was no login."""
    wanted: dict[str, Any] = json.loads(argument)
    logger = logging.getLogger("paramiko")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    try:
        return converse(connect(wanted), wanted["command"])
    except (_LoginError, OSError, EOFError, ValueError, paramiko.SSHException) as error:
        sys.stderr.write(f"{_words(error, wanted['host'])}\n")
    return 255


def _words(error: Exception, host: str) -> str:
    """What went wrong, as ssh says it."""
    if isinstance(error, _LoginError):
        return str(error)
    if isinstance(error, paramiko.BadHostKeyException):
        return f"REMOTE HOST IDENTIFICATION HAS CHANGED! The key of {host} is not the one that is known."
    if isinstance(error, paramiko.PasswordRequiredException):
        return "Permission denied (the private key wants a passphrase; give it to ssh-agent)"
    if isinstance(error, paramiko.AuthenticationException):
        return f"Permission denied ({error})"
    if isinstance(error, paramiko.SSHException):
        told = str(error)
        if "not found in known_hosts" in told:
            return f"Host key verification failed ({told})"
        return "Permission denied (no key or password to try)" if "No authentication methods" in told else told
    if isinstance(error, socket.gaierror):
        return f"Could not resolve hostname {host}: {error.strerror}"
    if isinstance(error, TimeoutError):
        return f"connect to host {host}: Connection timed out"
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    return f"connect to host {host}: {getattr(error, 'strerror', None) or error or 'the connection ended'}"


if __name__ == "__main__":
    status = main(sys.argv[1])
    # No waiting for threads: standard input may stay open.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
