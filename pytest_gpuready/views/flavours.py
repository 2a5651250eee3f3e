"""Who brings a containerd: the distribution, or a Kubernetes distribution with one of its own."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

DEFAULT_SOCKET = "/run/containerd/containerd.sock"
DEFAULT_CONFIG = "/etc/containerd/config.toml"


@dataclass(frozen=True)
class Flavour:
    """Who brings the containerd: its services (the one that restarts it first), configuration and socket.

    `owner` is the program that writes the configuration anew at each start; `template` where people put their own.
    """

    name: str
    services: tuple[str, ...]
    config: str
    socket: str
    owner: str | None = None
    template: str | None = None

    @property
    def embedded(self) -> bool:
        """A Kubernetes distribution's own containerd."""
        return self.owner is not None


STOCK = Flavour("containerd", ("containerd.service",), DEFAULT_CONFIG, DEFAULT_SOCKET)
#: Kubernetes distributions with a containerd of their own, by what its configuration's path begins with (reference:
#: k3s-io/k3s pkg/agent/containerd/config.go; docs.k0sproject.io runtime; canonical/microk8s).
EMBEDDED: tuple[Flavour, ...] = (
    Flavour(
        "k3s",
        ("k3s.service", "k3s-agent.service"),
        "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        "/run/k3s/containerd/containerd.sock",
        "k3s",
        "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl",
    ),
    Flavour(
        "RKE2",
        ("rke2-server.service", "rke2-agent.service"),
        "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
        "/run/k3s/containerd/containerd.sock",
        "rke2",
        "/var/lib/rancher/rke2/agent/etc/containerd/config-v3.toml.tmpl",
    ),
    Flavour(
        "k0s",
        ("k0sworker.service", "k0scontroller.service"),
        "/etc/k0s/containerd.toml",
        "/run/k0s/containerd.sock",
        "k0s",
        "/etc/k0s/containerd.d/nvidia.toml",
    ),
    Flavour(
        "MicroK8s",
        ("snap.microk8s.daemon-containerd.service",),
        "/var/snap/microk8s/current/args/containerd.toml",
        "/var/snap/microk8s/common/run/containerd.sock",
        "microk8s",
        "/var/snap/microk8s/current/args/containerd-template.toml",
    ),
)


def flavour_of(config: str | None, address: str | None) -> Flavour:
    """Whose containerd it is, by the configuration and socket on its command line."""
    for flavour in EMBEDDED:
        if config and config.startswith(posixpath.dirname(flavour.config) + "/"):
            return flavour
    # k3s and RKE2 with --data-dir: the folders are other, their ends and the socket are not.
    if config and config.endswith("/agent/etc/containerd/config.toml"):
        return next(flavour for flavour in EMBEDDED if flavour.name == ("RKE2" if "/rke2/" in config else "k3s"))
    return next((flavour for flavour in EMBEDDED if address == flavour.socket), STOCK)
