"""Addresses that the daemon listens on: what Go's net.Listen refuses whatever the node, and what depends on it.

Sources: cmd/containerd/command/main.go (the listeners, in this order), 2.3 plugins/server; Go's net/lookup.go and
net/ipsock.go.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.files import exists
from pytest_gpuready.containerd.model import Unknown
from pytest_gpuready.containerd.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.containerd.files import Files
    from pytest_gpuready.containerd.model import Where
    from pytest_gpuready.containerd.releases import Release

_MOST = 65535
_LONGEST = 255
_SERVICES = ("domain", "ftp", "ftps", "gopher", "http", "https", "imap2", "imap3", "imaps", "pop3", "pop3s", "smtp",
             "ssh", "submissions", "telnet")  # fmt: skip
"""The names of ports that Go knows without /etc/services."""
_LEVELS = ("", "panic", "fatal", "error", "warn", "warning", "info", "debug", "trace")


_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.*[A-Za-z_-]){_LABEL}(?:\.{_LABEL})*\.?|\.")
"""What Go takes for the name of a host (net/dnsclient.go isDomainName): no numbers alone."""


def port_error(port: str, *, old: bool = False) -> str | None:
    """What Go says of a port that cannot be listened on; None where it can. `old`: the Go of containerd 1.6."""
    if re.fullmatch(r"[+-]?[0-9]+", port):
        return None if 0 <= int(port[:9]) <= _MOST else f"listen tcp: address {port}: invalid port"
    known = not port or port.lower() in _SERVICES
    return None if known else f"listen tcp: {'address' if old else 'lookup'} tcp/{port}: unknown port"


def host_error(host: str) -> str | None:
    """The same for a host that is neither an address nor can be a name: nobody is asked about it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        named = not host or (len(host) < _LONGEST and _NAME.fullmatch(host))
        return None if named else f"listen tcp: lookup {host}: no such host"
    return None


def address_error(address: str, *, old: bool = False) -> str | None:
    """The same for ``host:port`` (net.SplitHostPort)."""
    wrong = None
    host, colon, port = address.rpartition(":")
    if not colon:
        wrong = "missing port in address"
    elif address.startswith("["):
        end = address.find("]")
        if end < 0:
            wrong = "missing ']' in address"
        elif end + 1 == len(address):
            wrong = "missing port in address"
        elif end != len(host) - 1:
            wrong = "too many colons in address" if address[end + 1] == ":" else "missing port in address"
    elif ":" in host:
        wrong = "too many colons in address"
    elif "[" in address or "]" in address:
        wrong = f"unexpected '{'[' if '[' in address else ']'}' in address"
    if wrong:
        return f"listen tcp: address {address}: {wrong}"
    return port_error(port, old=old) or host_error(host[1:-1] if host.startswith("[") else host)


def everywhere(host: str) -> bool:
    """Whether a host is every machine's own: no name but localhost, no address but loopback's and any."""
    if host in ("", "localhost"):
        return True
    try:
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified


def logging_error(debug: Tree) -> tuple[str, Where | None] | None:
    """What the daemon ends with for ``[debug] level`` and ``format`` (applyFlags)."""
    level, style = debug.get("level", ""), debug.get("format", "")
    if level.lower() not in _LEVELS:
        return f'containerd: not a valid logrus Level: "{level}"', debug.at("level")
    if style not in ("", "text", "json"):
        return f"containerd: unknown log format: {style}", debug.at("format")
    return None


def tls_error(grpc: Tree, files: Files, unknown: Callable[[Unknown], None]) -> tuple[str, Where | None] | None:
    """What a daemon before 2.3 ends with for ``[grpc] tcp_tls_cert``, with an address to listen on or without.

    Whether a file is there is looked at, not what it holds.
    """
    if not grpc.get("tcp_tls_cert"):
        return None
    for key in ("tcp_tls_cert", "tcp_tls_key"):
        path = grpc.get(key, "")
        if not path or not exists(files, path):
            return f"containerd: open {path}: no such file or directory", grpc.at(key) or grpc.at("tcp_tls_cert")
    authority = grpc.get("tcp_tls_ca", "")
    if authority and not exists(files, authority):
        text = f"containerd: failed to load CA file: open {authority}: no such file or directory"
        return text, grpc.at("tcp_tls_ca")
    unknown(Unknown("loads", "whether the TLS certificate of the TCP endpoint can be loaded"))
    return None


def listener_error(
    release: Release, tree: Tree, tables: dict[str, Tree], unknown: Callable[[Unknown], None]
) -> tuple[str, Where | None] | None:
    """What the daemon ends with for an address of its own; `unknown` is told of those that depend on the node."""
    newest = release.config_version > 3

    def table(name: str) -> Tree:
        return tables.get(f"io.containerd.server.v1.{name}", Tree()) if newest else tree.table(name)

    places = [(table("debug"), "address", "debug endpoint"), (table("metrics"), "address", "metrics endpoint")]
    if not newest:
        places.append((tree.table("grpc"), "tcp_address", "TCP grpc endpoint"))
    for settings, key, what in places:
        address = settings.get(key, "")
        if not address or (what.startswith("debug") and address.startswith(("/", "\\\\.\\"))):
            continue
        wrong = address_error(address, old=release.minor == "1.6")
        if wrong:
            return f"containerd: failed to get listener for {what}: {wrong}", settings.at(key)
        if not everywhere(address.rpartition(":")[0]):
            unknown(Unknown("loads", f"whether the {what} can listen on {address} on this node"))
    return None
