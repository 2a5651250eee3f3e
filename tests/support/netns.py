"""Machines of a small cluster as network namespaces: a controller, two gateways, and leaves that only those reach.

    controller ── gw1 ──┐
         │               lan ── leaf1 … leaf4
         └─────── gw2 ──┘

Each gateway and leaf has a real sshd in its namespace; nothing is forwarded, so from the controller a leaf has no
address that answers. It stands for the network of a cluster. What differs: all of them share this machine's files, host
name, and processes, so what they find is the same; it cannot show a gateway whose Python or ssh is another.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.sshd import Sshd, again, start
from tests.support.sshd import why_not as no_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

GATEWAYS = ("gw1", "gw2")
LEAVES = ("leaf1", "leaf2", "leaf3", "leaf4")


@dataclass
class Cluster:
    """The namespaces, the servers, and the ssh_config that names them all."""

    prefix: str
    folder: Path
    servers: dict[str, Sshd] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """It holds gateways and leaves, as a file that all machines share."""
        return self.folder / "ssh_config"

    def within(self, name: str, *, alone: bool = False) -> tuple[str, ...]:
        """The words before a command that is to run on a machine: `ctl`, a gateway or a leaf.

        `alone`: with processes of its own, so that no other test's daemon is found there.
        """
        words = ("nsenter", f"--net=/run/netns/{self.prefix}{name}")
        return (*words, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc") if alone else words

    def topology(self, *routes: str) -> Path:
        """A folder for $CLUSTERSHELL_CFGDIR with that topology.conf."""
        folder = Path(tempfile.mkdtemp(prefix="cfg-", dir=self.folder))
        (folder / "topology.conf").write_text("\n".join(["[routes]", *routes, ""]))
        return folder

    def restart(self, name: str) -> None:
        """Start the server of a machine again, with the keys it had."""
        again(self.servers[name], within=self.within(name, alone=name in LEAVES))


def why_not() -> str | None:
    """Why there can be no namespaces here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is not on this machine"
    if no_sshd() is not None:
        return no_sshd()
    name = f"gpuready-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"no network namespace can be made: {tried.stderr.strip()}"


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """For the time of a block; skips the test where none can be. Whatever happens, the namespaces go."""
    why = why_not()
    if why is not None:
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="gpuready-cluster-"))
    folder.chmod(0o755)
    made = Cluster(f"gr{os.getpid()}-", folder)
    try:
        _network(made)
        _servers(made)
        yield made
    finally:
        for server in made.servers.values():
            server.stop()
        for name in ("ctl", "lan", *GATEWAYS, *LEAVES):
            # Its ends of the links go with it.
            subprocess.run(["ip", "netns", "del", f"{made.prefix}{name}"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _network(made: Cluster) -> None:
    def ip(*words: str, on: str = "") -> None:
        subprocess.run(["ip", *(["-n", f"{made.prefix}{on}"] if on else []), *words], check=True, capture_output=True)

    def link(one: str, name: str, other: str, other_name: str) -> None:
        ends = ("link", "add", name, "netns", f"{made.prefix}{one}", "type", "veth")
        ip(*ends, "peer", "name", other_name, "netns", f"{made.prefix}{other}")
        ip("link", "set", name, "up", on=one)
        ip("link", "set", other_name, "up", on=other)

    for name in ("ctl", "lan", *GATEWAYS, *LEAVES):
        ip("netns", "add", f"{made.prefix}{name}")
        ip("link", "set", "lo", "up", on=name)
    ip("link", "add", "br0", "type", "bridge", on="lan")
    ip("link", "set", "br0", "up", on="lan")
    for number, name in enumerate((*GATEWAYS, *LEAVES), 1):
        link(name, "lan0", "lan", name)
        ip("link", "set", name, "master", "br0", on="lan")
        ip("address", "add", f"10.77.0.{number}/24", "dev", "lan0", on=name)
    for number, name in enumerate(GATEWAYS, 1):
        link("ctl", name, name, "up0")
        ip("address", "add", f"10.78.{number}.1/30", "dev", name, on="ctl")
        ip("address", "add", f"10.78.{number}.2/30", "dev", "up0", on=name)


def _servers(made: Cluster) -> None:
    addresses = {name: f"10.77.0.{number}" for number, name in enumerate((*GATEWAYS, *LEAVES), 1)}
    up = {name: f"10.78.{number}.2" for number, name in enumerate(GATEWAYS, 1)}
    lines = []
    for name, address in addresses.items():
        listen = [f"ListenAddress {one}:22" for one in (address, *([up[name]] if name in up else []))]
        server = made.servers[name] = start(made.folder / name, *listen, within=made.within(name, alone=name in LEAVES))
        lines += [
            f"Host {name}",
            f"HostName {up.get(name, address)}",
            "Port 22",
            "User root",
            f"IdentityFile {server.key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {server.known_hosts}",
            "GlobalKnownHostsFile /dev/null",
            "HostKeyAlias gpuready-test",
        ]
    made.config.write_text("\n".join([*lines, ""]))
