"""What makes a healthy node one of another kind (see healthy.py): each function is one way to set up a node.

They type what an installer or a person would; where that is not to be had here (k3s, the GPU operator, a kubelet), they
lay out the same files, processes and units, and say so.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.lab import hardware
from tests.lab.node import PATH

if TYPE_CHECKING:
    from tests.lab.node import Node

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/99-nvidia.toml"
RUNTIME = "/usr/bin/nvidia-container-runtime"
K3S_SOCKET = "/run/k3s/containerd/containerd.sock"
K0S_SOCKET = "/run/k0s/containerd.sock"
OTHER_SOCKET = "/run/site/containerd.sock"
PLUGINS = {1: "cri", 2: '"io.containerd.grpc.v1.cri"', 3: '"io.containerd.cri.v1.runtime"'}


def version(node: Node) -> int:
    """The newest version of the configuration that this containerd reads."""
    return 3 if node.generation == "2.x" else 2


def default_config(node: Node) -> str:
    """`containerd config default`, as far as a machine of tests allows it, without imports."""
    text = node.run("containerd config default", check=True).stdout
    text = text.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
    return re.sub(r"(?m)^imports = .*\n", "", text)


def handler(of: int, name: str = "nvidia", binary: str = RUNTIME, *, systemd: bool = False) -> str:
    """The tables of a handler, in a version of the configuration."""
    table = f"plugins.{PLUGINS[of]}.containerd.runtimes.{name}"
    return (
        f'\n[{table}]\n  runtime_type = "io.containerd.runc.v2"\n'
        f'[{table}.options]\n  BinaryName = "{binary}"\n  SystemdCgroup = {str(systemd).lower()}\n'
    )


def small_config(of: int, *, default: str = "runc", runc: bool = True) -> str:
    """A configuration that a person would write: few keys, the rest is built in."""
    cri = f"plugins.{PLUGINS[of]}"
    runtimes = f'\n[{cri}.containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n' if runc else ""
    head = "" if of == 1 else f"version = {of}\n"
    return (
        f'{head}[{cri}]\n  restrict_oom_score_adj = true\n[{cri}.containerd]\n  default_runtime_name = "{default}"\n'
        f"{runtimes}"
    )


def write(node: Node, text: str, *, path: str = CONFIG, restart: bool = True) -> None:
    """Make a text the whole of containerd's configuration: no drop-in is left."""
    node.run(f"rm -rf {DROP_IN}; rmdir /etc/containerd/conf.d 2>/dev/null; true", check=True)
    node.put(path, text)
    if restart:
        node.restart_containerd()


# ---------------------------------------------------------------------- where the handler stands


def as_it_is(node: Node) -> None:
    """As the lab's nodes are: nvidia-ctk of 1.18 wrote a drop-in, config.toml imports it."""
    assert node


def in_config(node: Node) -> None:
    """The handler in config.toml itself, as nvidia-ctk up to 1.17 or a person writes it."""
    write(node, default_config(node) + handler(version(node)))


def in_both(node: Node) -> None:
    """The handler in config.toml, and nvidia-ctk of 1.18 wrote its drop-in too."""
    in_config(node)
    node.run("nvidia-ctk runtime configure --runtime=containerd", check=True)
    node.restart_containerd()


def imports_glob(node: Node) -> None:
    """Several drop-ins of a site's own, by globs; the handler in one of them."""
    of = version(node)
    write(node, f'imports = ["/etc/containerd/site.d/*.toml", "/etc/containerd/gpu.d/*.toml"]\n{default_config(node)}',
          restart=False)  # fmt: skip
    node.put("/etc/containerd/site.d/10-debug.toml", f'version = {of}\n[debug]\n  level = "info"\n')
    whole = small_config(of) if of == 2 else "version = 3\n"
    node.put("/etc/containerd/gpu.d/50-gpu.toml", whole + handler(of))
    node.restart_containerd()


def default_runtime(node: Node) -> None:
    """The handler is the default one: `nvidia-ctk runtime configure --set-as-default`."""
    node.run("nvidia-ctk runtime configure --runtime=containerd --set-as-default", check=True)
    node.restart_containerd()


def only_nvidia(node: Node) -> None:
    """One handler, nvidia, the default; no runc entry: as EKS' nodeadm writes it."""
    of = version(node)
    write(node, small_config(of, default="nvidia", runc=False) + handler(of))


def handler_named_gpu(node: Node) -> None:
    """The handler has a name of the site's own, and there is none called nvidia."""
    write(node, default_config(node), restart=False)
    node.run("nvidia-ctk runtime configure --runtime=containerd --nvidia-runtime-name=gpu", check=True)
    node.restart_containerd()


def explicit_config_path(node: Node) -> None:
    """The unit names the configuration by -c; there is none at the usual place."""
    write(node, default_config(node) + handler(version(node)), path="/etc/site/containerd.toml", restart=False)
    node.run(f"rm {CONFIG}", check=True)
    start = "[Service]\nExecStart=\nExecStart=/usr/bin/containerd -c /etc/site/containerd.toml\n"
    node.put("/etc/systemd/system/containerd.service.d/60-site.conf", start)
    node.run("systemctl daemon-reload", check=True)
    node.restart_containerd()


def config_version_1(node: Node) -> None:
    """A configuration of version 1, as of old; containerd 2 reads no handler from one."""
    write(node, small_config(1) + handler(1))


def config_version_2(node: Node) -> None:
    """A configuration of version 2, which every containerd reads."""
    write(node, small_config(2) + handler(2))


def config_version_3(node: Node) -> None:
    """A small configuration of version 3."""
    write(node, "version = 3\n" + handler(3).replace("SystemdCgroup = false\n", "") + _oom(3))


def _oom(of: int) -> str:
    return f"\n[plugins.{PLUGINS[of]}]\n  restrict_oom_score_adj = true\n"


# ---------------------------------------------------------------------- which containerd


def _images(node: Node, socket: str) -> None:
    """Give another daemon the image that pods are made of."""
    ctr = f"ctr -a {socket} -n k8s.io images"
    node.run(
        f"for i in $(seq 100); do ctr -a {socket} version >/dev/null 2>&1 && break; sleep 0.05; done; "
        f"{ctr} import /usr/share/gpuready-lab/image.tar && {ctr} tag registry.invalid/gpuready-lab:1 "
        '"$(containerd config default | sed -nE "s/^ *(sandbox_image|sandbox) = [\'\\"](.*)[\'\\"]$/\\2/p")"',
        check=True,
    )


def _embedded(node: Node, service: str, program: str, config: str, socket: str, containerd: str) -> None:
    """A distribution's own containerd, child of its program; the node's own containerd is not there."""
    root, verb = f"/var/lib/{service}", "worker" if service == "k0sworker" else "agent"
    node.run("systemctl disable --now containerd; rm -r /etc/containerd", check=True)
    if containerd != "/usr/bin/containerd":
        node.run(f"install -D /usr/bin/containerd {containerd}", check=True)
        node.run(f"cp /usr/bin/containerd-shim* /usr/bin/ctr {containerd.rpartition('/')[0]}/", check=True)
    text = default_config(node).replace(f"/run/containerd/{'containerd.sock'}", socket) + handler(version(node))
    node.put(config, text)
    # Its state is no overlay on an overlay here.
    node.run(f"mkdir -p {root} && mount -t tmpfs tmpfs {root}", check=True)
    folder = socket.rpartition("/")[0]
    node.run(f"install -D /usr/share/gpuready-lab/kubelet {program}", check=True)
    child = f"exec {containerd} -c {config} -a {socket} --state {folder} --root {root}"
    environment = f'Environment="PATH={containerd.rpartition("/")[0]}:{PATH}" "LAB_CHILD={child}"\n'
    unit = f"[Service]\n{environment}ExecStart={program} {verb}\nKillMode=process\nDelegate=yes\n"
    unit += "[Install]\nWantedBy=multi-user.target\n"
    node.put(f"/etc/systemd/system/{service}.service", unit)
    node.run(f"mkdir -p {folder}; systemctl daemon-reload && systemctl enable --now {service}", check=True)
    _images(node, socket)


def k3s(node: Node) -> None:
    """Like k3s: its containerd is a child of k3s, with a configuration that k3s writes; the socket is k3s' own."""
    config = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
    _checkpoint(node)
    _embedded(
        node, "k3s-agent", "/usr/local/bin/k3s", config, K3S_SOCKET, "/var/lib/rancher/k3s/data/current/bin/containerd"
    )


def rke2(node: Node) -> None:
    """Like RKE2: an embedded containerd with its own socket and configuration, and a kubelet of its own beside it."""
    config = "/var/lib/rancher/rke2/agent/etc/containerd/config.toml"
    _embedded(node, "rke2-agent", "/usr/local/bin/rke2", config, K3S_SOCKET, "/var/lib/rancher/rke2/bin/containerd")
    _kubelet(node, K3S_SOCKET, "cgroupfs", program="/var/lib/rancher/rke2/bin/kubelet")


def k0s(node: Node) -> None:
    """Like k0s: an embedded containerd that reads /etc/k0s/containerd.toml, and a kubelet of its own beside it."""
    _embedded(
        node, "k0sworker", "/usr/local/bin/k0s", "/etc/k0s/containerd.toml", K0S_SOCKET, "/var/lib/k0s/bin/containerd"
    )
    _kubelet(node, K0S_SOCKET, "cgroupfs", program="/var/lib/k0s/bin/kubelet")


def several_daemons(node: Node) -> None:
    """Docker's containerd beside the node's own: it knows no handler, and is nobody's concern."""
    folder = "/var/run/docker/containerd"
    node.put(f"{folder}/containerd.toml", f'version = 2\n[grpc]\n  address = "{folder}/containerd.sock"\n')
    node.run(
        "mkdir -p /var/lib/docker && mount -t tmpfs tmpfs /var/lib/docker && systemd-run --unit=docker-containerd -q "
        "containerd --config /var/run/docker/containerd/containerd.toml --root /var/lib/docker/containerd "
        "--state /run/docker/containerd/daemon",
        check=True,
    )
    node.run("for i in $(seq 100); do [ ! -e /run/docker/containerd/containerd.sock ] || break; sleep 0.05; done")


def upstream_tarball(node: Node) -> None:
    """A containerd of upstream's tarball: below /usr/local, with a unit of its own, of no package."""
    node.run(
        "systemctl stop containerd; "
        "install -D -t /usr/local/bin /usr/bin/containerd /usr/bin/ctr /usr/bin/containerd-shim*; "
        "install -D /usr/sbin/runc /usr/local/sbin/runc; "
        "dpkg --purge --force-depends containerd runc || exit 1; rm -rf /etc/systemd/system/containerd.service.d; "
        "mkdir -p /usr/local/lib/systemd/system /etc/containerd",
        check=True,
    )
    node.put(
        "/usr/local/lib/systemd/system/containerd.service",
        "[Unit]\nDescription=containerd container runtime\nStartLimitIntervalSec=0\n[Service]\n"
        "ExecStart=/usr/local/bin/containerd\nType=notify\nDelegate=yes\nKillMode=process\nRestart=always\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    write(node, default_config(node) + handler(version(node)), restart=False)
    node.run("systemctl daemon-reload && systemctl enable --now containerd", check=True)


def other_socket(node: Node) -> None:
    """The daemon serves at a socket of the site's own, which the report is told."""
    text = default_config(node) + handler(version(node))
    write(node, text.replace("/run/containerd/containerd.sock", OTHER_SOCKET))


# ---------------------------------------------------------------------- Kubernetes


def _checkpoint(node: Node) -> None:
    """What the kubelet has noted of the device plugin."""
    devices = {"nvidia.com/gpu": hardware.uuids(node)}
    data = {"Data": {"PodDeviceEntries": None, "RegisteredDevices": devices}, "Checksum": 1}
    node.put("/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint", json.dumps(data), 0o600)


def _kubelet(node: Node, socket: str, driver: str, program: str = "/usr/bin/kubelet") -> None:
    """Start what stands for a kubelet (standins/kubelet.c), set up as kubeadm does."""
    node.run(f"install -D /usr/share/gpuready-lab/kubelet {program}", check=True)
    node.put(
        "/var/lib/kubelet/config.yaml",
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        f"cgroupDriver: {driver}\ncontainerRuntimeEndpoint: unix://{socket}\n",
    )
    _checkpoint(node)
    start = f"{program} --config=/var/lib/kubelet/config.yaml --hostname-override=gpu-1"
    unit = f"[Service]\nExecStart={start}\n[Install]\nWantedBy=multi-user.target\n"
    node.put("/etc/systemd/system/kubelet.service", unit)
    node.run("systemctl daemon-reload && systemctl enable --now kubelet", check=True)


def kubeadm(node: Node) -> None:
    """A node of Kubernetes: a kubelet with the cgroup driver cgroupfs, which has noted the device plugin's GPUs."""
    _kubelet(node, "/run/containerd/containerd.sock", "cgroupfs")


def kubeadm_systemd(node: Node) -> None:
    """The same with the cgroup driver systemd on both sides; no pod can be run, the lab's cgroups are of version 1."""
    node.run(f"sed -i 's/SystemdCgroup = false/SystemdCgroup = true/' {CONFIG} {DROP_IN}", check=True)
    node.run("mkdir -p /dev/char && for n in 0 1 255; do ln -sf ../nvidia$n /dev/char/195:$n; done", check=True)
    node.restart_containerd()
    _kubelet(node, "/run/containerd/containerd.sock", "systemd")
