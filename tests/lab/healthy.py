"""Kinds of healthy nodes: how each is set up, and the routes that it is healthy for.

A kind is made of a healthy node as the lab boots it (toolkit 1.18, a drop-in with the handler ``nvidia``, a CDI spec in
/var/run/cdi), by what the people who have such nodes, or their installers, do. Every kind is proven before it is
judged: `prove` runs a container by each of its routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab import base, cri, hardware, image
from tests.lab import setups as setup
from tests.lab import setups_gpu as gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.node import Node

ALL = tuple(base.GENERATIONS)
NOTE = ("ctr-gpus", "cri-handler")
DEFAULT = ("ctr-gpus", "cri-default")
ONE_ROUTE = ("cri-handler",)


@dataclass(frozen=True)
class Kind:
    """A kind of healthy node.

    Args:
        name: what tests and ``python -m tests.lab up --kind`` call it.
        prepare: makes a healthy node one of this kind; its docstring says what kind that is.
        routes: those that it is healthy for: what evidence must lead to, or, with ``asked``, what is asked for.
        generations: the generations of containerd on which it makes sense.
        distribution: see `Node`.
        user: who logs in; anyone but root uses sudo.
        handler: the handler that pods name, where the report is told so or finds it by itself.
        socket: the daemon's, where it is not the usual one; ``told``: the report is told which.
        device: the kind of the CDI devices that pods name.
        cgroup_parent: the slice that pods are put in.
        proven: the routes by which a container is run before anything is judged, where those are fewer than `routes`.
    """

    name: str
    prepare: Callable[[Node], None]
    routes: tuple[str, ...] = NOTE
    asked: bool = False
    generations: tuple[str, ...] = ALL
    distribution: str = "debian"
    user: str = "root"
    handler: str = "nvidia"
    socket: str = cri.SOCKET
    told: bool = False
    proven: tuple[str, ...] | None = None
    cgroup_parent: str = ""
    device: str = "nvidia.com/gpu"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # Where the handler stands.
        Kind("drop-in", setup.as_it_is),
        Kind("in-config", setup.in_config),
        Kind("in-both", setup.in_both),
        Kind("imports-glob", setup.imports_glob),
        Kind("default-runtime", setup.default_runtime, DEFAULT),
        Kind("only-nvidia", setup.only_nvidia, DEFAULT),
        Kind("handler-named-gpu", setup.handler_named_gpu, handler="gpu"),
        Kind("explicit-config-path", setup.explicit_config_path),
        # Versions of the configuration; what a containerd does not read is no healthy node of its.
        Kind("config-version-1", setup.config_version_1, generations=("1.6", "1.7")),
        Kind("config-version-2", setup.config_version_2),
        Kind("config-version-3", setup.config_version_3, generations=("2.x",)),
        # Which containerd.
        Kind("k3s", setup.k3s, ONE_ROUTE, socket=setup.K3S_SOCKET),
        Kind("rke2", setup.rke2, ONE_ROUTE, socket=setup.K3S_SOCKET),
        Kind("k0s", setup.k0s, ONE_ROUTE, socket=setup.K0S_SOCKET),
        Kind("several-daemons", setup.several_daemons),
        Kind("upstream-tarball", setup.upstream_tarball),
        Kind("other-socket", setup.other_socket, ONE_ROUTE, asked=True, socket=setup.OTHER_SOCKET, told=True),
        # Kubernetes.
        Kind("kubeadm", setup.kubeadm),
        Kind("kubeadm-systemd", setup.kubeadm_systemd, cgroup_parent="kubepods.slice", proven=("ctr-gpus",)),
        # The toolkit.
        Kind("toolkit-before-1.18", gpu.toolkit_before_1_18),
        Kind("legacy-mode", gpu.legacy_mode, ("cri-handler", "ctr-runtime"), asked=True),
        Kind("cdi-mode", gpu.cdi_mode, ("cri-handler", "ctr-runtime"), asked=True),
        Kind("crun", gpu.crun, ("ctr-runtime", *NOTE), asked=True),
        Kind("operator", gpu.operator, ONE_ROUTE),
        Kind("operator-driver", gpu.operator_driver, ONE_ROUTE),
        Kind("operator-cdi", gpu.operator_cdi, ("cri-cdi",), generations=("1.7", "2.x"), device=gpu.PLUGIN_KIND),
        # CDI.
        Kind("cdi-only", gpu.cdi_only, ("cri-cdi",), asked=True, generations=("1.7", "2.x")),
        Kind("ctr-cdi", gpu.cdi_only, ("ctr-cdi",), asked=True, generations=("2.x",)),
        Kind("custom-cdi-folder", gpu.custom_cdi_folder, ("cri-cdi",), asked=True, generations=("1.7", "2.x")),
        # GPUs.
        Kind("eight-gpus", gpu.eight_gpus),
        Kind("mig", gpu.mig),
        # What else a node may lack or have.
        Kind("no-curl", gpu.no_curl),
        Kind("busybox", gpu.busybox),
        Kind("sudo", setup.as_it_is, user="ops"),
        Kind("noexec-tmp", gpu.noexec_tmp),
        Kind("read-only-root", gpu.read_only_root),
        Kind("no-repository", gpu.no_repository),
        Kind("fedora", setup.as_it_is, distribution="fedora"),
        Kind("fedora-no-curl", gpu.no_curl, distribution="fedora"),
    )
}
"""Every kind, by name."""


def prove(node: Node, kind: Kind) -> None:
    """Run a container by each route of a kind; each lists the GPUs that it asked for.

    Raises:
        AssertionError: one did not.
    """
    everything = {"NVIDIA_VISIBLE_DEVICES": "all"}
    every = hardware.listed(node)
    smi = ["nvidia-smi", "-L"]
    for route in kind.routes if kind.proven is None else kind.proven:
        asked, wanted = f"ctr run --rm {image.NAME} {route} {' '.join(smi)}", every
        if route.startswith("cri-"):
            handler = kind.handler if route == "cri-handler" else ""
            devices = (f"{kind.device}=all",) if route == "cri-cdi" else ()
            env = {} if devices else everything
            code, text = cri.pod(node, smi, handler=handler, env=env, devices=devices, socket=kind.socket,
                                 cgroup_parent=kind.cgroup_parent)  # fmt: skip
        else:
            options, wanted = {
                "ctr-gpus": ("--gpus 0", 1),
                "ctr-runtime": ("--runc-binary nvidia-container-runtime --env NVIDIA_VISIBLE_DEVICES=all", every),
                "ctr-cdi": ("--device nvidia.com/gpu=all", every),
            }[route]
            for _ in range(5):
                done = node.run(asked.replace("--rm", f"--rm {options}"))
                code, text = done.returncode, done.stdout + done.stderr
                if code or text:
                    break  # on a busy machine ctr may end before it has copied a short-lived container's output
        assert (code, text.count("GPU-")) == (0, wanted), f"{kind.name}: {route}: {code} {text}"


def describe(kind: Kind) -> str:
    """What a kind is, in a line."""
    return " ".join((kind.prepare.__doc__ or "").split())
