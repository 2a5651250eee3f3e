"""Nodes with a healthy containerd of a generation, and what its socket answers.

The answers are bytes as curl prints them, encoded here from a configuration; tests/containerd_api compares such bytes
with real daemons'. They cannot show that a daemon would answer so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.containerd_api.ask import SERVER_PATH, STATUS_PATH, VERSION_PATH
from pytest_gpuready.containerd_api.grpcwire import encode
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.views import Views
from pytest_gpuready.views.containerd_config import ContainerdConfig
from tests.containerd_api.support import curl_call, curl_output
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gpuready.model import Outcome
    from pytest_gpuready.report.model import Finding, NodeReport

RELEASES = ("1.6.39", "1.7.24", "2.1.9")
SOCKET = "/run/containerd/containerd.sock"
CONFIG = "/etc/containerd/config.toml"
RUNTIME = "/usr/bin/nvidia-container-runtime"
V2 = 'plugins."io.containerd.grpc.v1.cri"'
V3 = 'plugins."io.containerd.cri.v1.runtime"'
DROP_IN = "/etc/containerd/conf.d/99-nvidia.toml"
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'
RUNC = '  runtime_type = "io.containerd.runc.v2"\n'
K3S_CONFIG = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
K3S_SOCKET = "/run/k3s/containerd/containerd.sock"
RESTART = "sudo systemctl restart containerd"
#: The node has no program that could ask the daemon.
NO_TOOL = b"via=none\nsocket=ok\n"


def table(release: str) -> str:
    """The table of the CRI plugin's handlers that this release's own files use."""
    return V2 if release.startswith("1.") else V3


def config(release: str, *, systemd: bool = False, binary: str = RUNTIME, name: str = "nvidia") -> str:
    """A main file with runc and NVIDIA's handler."""
    runtimes = f"{table(release)}.containerd.runtimes"
    cgroup = f"  SystemdCgroup = {str(systemd).lower()}\n"
    kind = '  runtime_type = "io.containerd.runc.v2"\n'
    return (
        f"version = {2 if release.startswith('1.') else 3}\n\n"
        f"[{runtimes}.runc]\n{kind}[{runtimes}.runc.options]\n{cgroup}\n"
        f'[{runtimes}.{name}]\n{kind}[{runtimes}.{name}.options]\n  BinaryName = "{binary}"\n{cgroup}'
    )


def plain(release: str, more: str = "") -> str:
    """Return a main file with runc alone."""
    text = config(release)
    return text[: text.index(f"[{table(release)}.containerd.runtimes.nvidia]")] + more


@dataclass
class Live:
    """What a daemon has loaded: handlers as `info.config` of CRI Status shows them."""

    release: str = "1.7.24"
    handlers: dict[str, dict[str, Any]] = field(default_factory=dict)
    default: str = "runc"
    cdi: bool | None = None
    dirs: Sequence[str] = ("/etc/cdi", "/var/run/cdi")
    served: bool = True
    refusal: tuple[int, str] | None = None
    deprecations: Sequence[tuple[str, str]] = ()

    def answer(self) -> bytes:
        """Version, Server and CRI Status as curl prints them."""
        status = (
            curl_call(STATUS_PATH, self._status())
            if self.served and self.refusal is None
            else curl_call(
                STATUS_PATH,
                b"",
                status=self.refusal[0] if self.refusal else 12,
                text=self.refusal[1] if self.refusal else "unknown service runtime.v1.RuntimeService",
            )
        )
        warnings = [(4, encode([(1, key), (2, text)])) for key, text in self.deprecations]
        return curl_output(
            curl_call(VERSION_PATH, encode([(1, f"v{self.release}"), (2, "abc")])),
            curl_call(SERVER_PATH, encode([(1, "4a1c"), (2, 900), *warnings])),
            status,
        )

    def _status(self) -> bytes:
        shown: dict[str, Any] = {
            "containerd": {"defaultRuntimeName": self.default, "runtimes": self.handlers},
            **({"sandboxImage": "registry.k8s.io/pause:3.8"} if self.release.startswith("1.") else {}),
        }
        if not self.release.startswith("1.6"):
            shown |= {"enableCDI": self.cdi, "cdiSpecDirs": list(self.dirs)}
        conditions = encode([(1, encode([(1, "RuntimeReady"), (2, 1)]))])
        return encode([(1, conditions), (2, encode([(1, "config"), (2, json.dumps(shown))]))])


def loaded(node: SimNode, release: str) -> Live:
    """A daemon that has loaded what is on the node's disk now."""
    view = Views(node.facts()).get(ContainerdConfig)
    live = Live(release, served=view.loaded.cri_enabled, default=view.default_runtime or "")
    live.cdi, live.dirs = view.cdi_enabled, view.cdi_spec_dirs
    for name, handler in view.handlers.items():
        options = {
            key: value
            for key, value in (("BinaryName", handler.binary_name), ("SystemdCgroup", handler.systemd_cgroup))
            if value is not None
        }
        live.handlers[name] = {"runtimeType": handler.runtime_type or "", "runtimePath": "", "options": options or None}
    return live


def says(node: SimNode, live: Live | bytes, socket: str = SOCKET) -> SimNode:
    """The daemon at a socket answers so."""
    return node.answer(("containerd API", socket), live.answer() if isinstance(live, Live) else live)


def programs(node: SimNode, release: str) -> SimNode:
    """The programs containerd, ctr, runc and NVIDIA's runtime, with their versions."""
    for name in ("containerd", "ctr", "runc", "nvidia-container-runtime", "nvidia-container-cli", "sudo", "curl"):
        node.program(f"/usr/bin/{name}")
    node.put("/proc/self/mounts", "/dev/vda1 / ext4 rw,relatime 0 0\n")
    shim = "shim /usr/bin/containerd-shim-runc-v2\nrunc /usr/bin/runc\n> runc version 1.3.6\nrc 0\n"
    node.answer(("runc and its shim",), shim)
    package = "github.com/containerd/containerd" + ("" if release.startswith("1.") else "/v2")
    node.answer(("containerd", "--version"), f"containerd {package} v{release} 0123abc\n")
    return node.answer(("ctr", "--version"), f"ctr {package} v{release}\n")


def simulated(release: str, files: Mapping[str, str | bytes]) -> SimNode:
    """Return a node whose containerd runs with these files and does not tell what it has loaded."""
    node = programs(SimNode(), release)
    node.unit("containerd.service", Id="containerd.service", MainPID="900")
    node.process(Proc(900, "containerd", ["/usr/bin/containerd"], "/usr/bin/containerd"))
    for path, data in files.items():
        node.put(path, data)
    return node


def healthy(node: SimNode, release: str = "1.7.24", *, text: str | None = None, systemd: bool = False) -> SimNode:
    """A stock containerd: programs, configuration with the handler, process, unit, socket and answer."""
    programs(node, release).put(CONFIG, config(release, systemd=systemd) if text is None else text).socket(SOCKET)
    node.unit("containerd.service", Id="containerd.service", MainPID="900", UnitFileState="enabled")
    node.process(Proc(900, "containerd", ["/usr/bin/containerd"], "/usr/bin/containerd"))
    return says(node, loaded(node, release))


def k3s(node: SimNode, release: str = "2.1.4") -> SimNode:
    """The containerd that k3s runs, and the handler it writes; its kubelet is in `tests.support.kubernetes`."""
    node.program("/usr/bin/nvidia-container-runtime").program("/usr/bin/sudo")
    node.put("/proc/self/mounts", "/dev/vda1 / ext4 rw,relatime 0 0\n").socket(K3S_SOCKET)
    exe = "/var/lib/rancher/k3s/data/current/bin/containerd"
    node.program(exe).program("/var/lib/rancher/k3s/data/current/bin/runc").unit(
        "k3s.service", Id="k3s.service", MainPID="700", UnitFileState="enabled"
    )
    node.answer((exe, "--version"), f"containerd github.com/k3s-io/containerd/v2 v{release}-k3s1 0123abc\n")
    node.put(K3S_CONFIG, f"# File generated by k3s. DO NOT EDIT. Use config.toml.tmpl instead.\n{config(release)}")
    args = ["containerd", "-c", K3S_CONFIG, "-a", K3S_SOCKET, "--state", "/run/k3s/containerd"]
    node.process(Proc(950, "containerd", args, exe))
    return says(node, loaded(node, release), K3S_SOCKET)


def rke2() -> SimNode:
    """Return a node with the containerd that RKE2 runs."""
    node = k3s(SimNode())
    for path in [path for path in node.tree if "/k3s/" in path]:
        node.tree[path.replace("/rancher/k3s/", "/rancher/rke2/")] = node.tree[path]
    node.procs[0].args = [word.replace("/rancher/k3s/", "/rancher/rke2/") for word in node.procs[0].args]
    node.units["rke2-agent.service"] = node.units.pop("k3s.service") | {"Id": "rke2-agent.service"}
    return node


def k0s(text: str, cri: str) -> SimNode:
    """Return a node with the containerd that k0s runs: its file, and the one that k0s merges."""
    node = SimNode().program("/usr/bin/sudo").program(RUNTIME).unit("k0sworker.service", Id="k0sworker.service")
    args = ["containerd", "--config=/etc/k0s/containerd.toml", "--address=/run/k0s/containerd.sock"]
    node.program("/var/lib/k0s/bin/containerd").process(Proc(9, "containerd", args, "/var/lib/k0s/bin/containerd"))
    node.answer(("/var/lib/k0s/bin/containerd", "--version"), "containerd github.com/containerd/containerd v1.7.24 x\n")
    return node.put("/etc/k0s/containerd.toml", text).put("/run/k0s/containerd-cri.toml", cri)


def microk8s() -> SimNode:
    """Return a node with MicroK8s' containerd, whose template is the user's."""
    folder = "/var/snap/microk8s/current/args"
    node = SimNode().program("/usr/bin/sudo").program("/snap/microk8s/current/bin/containerd")
    node.put(f"{folder}/containerd.toml", config("1.7.24"))
    unit = "snap.microk8s.daemon-containerd.service"
    args = ["containerd", "--config", f"{folder}/containerd.toml"]
    return node.unit(unit, Id=unit, MainPID="9").process(
        Proc(9, "containerd", args, "/snap/microk8s/current/bin/containerd")
    )


def stopped(node: SimNode) -> SimNode:
    """The same node with its daemon stopped."""
    node.procs = [proc for proc in node.procs if proc.comm != "containerd"]
    node.remove(SOCKET)
    if "containerd.service" in node.units:
        node.units["containerd.service"] |= {"ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}
    return node.answer(("containerd API", SOCKET), b"via=none\nsocket=absent\n")


def several(node: SimNode) -> SimNode:
    """Add a second daemon at a socket of its own, without the handler."""
    args = ["containerd", "-a", "/run/other.sock", "-c", "/etc/other.toml"]
    node.process(Proc(901, "containerd", args, "/usr/bin/containerd"))
    node.put("/etc/other.toml", "version = 2\n").socket("/run/other.sock")
    return says(node, Live("1.7.24"), "/run/other.sock")


def mine(report: NodeReport) -> list[str]:
    """Return the roots of this family and the node's that keep a required route from being ready."""
    return [f.check.id for f in report.roots if f.check.family in ("containerd", "node") and f.keeps]


def finding(node: SimNode, name: str, settings: Settings | None = None) -> Finding:
    """Return the finding of one of containerd's checks."""
    return node.judge(settings).findings[f"containerd.{name}"]


def outcome(node: SimNode, name: str, settings: Settings | None = None) -> Outcome:
    """Return what one of containerd's checks says."""
    return finding(node, name, settings).outcome


def commands(node: SimNode, name: str, settings: Settings | None = None) -> Sequence[str]:
    """Return the commands that one of containerd's checks brings."""
    remedy = outcome(node, name, settings).remedy
    assert remedy is not None
    return remedy.commands


def summary(node: SimNode, name: str, settings: Settings | None = None) -> str:
    """Return the summary of the remedy that one of containerd's checks brings."""
    remedy = outcome(node, name, settings).remedy
    assert remedy is not None
    return remedy.summary


def binary(node: SimNode) -> Finding:
    """Return the finding of handler-binary by itself, whatever the toolkit's checks say."""
    checks = {key: check for key, check in catalogue().items() if check.family in ("node", "containerd")}
    return judge(node.facts(), Settings(), checks=checks).findings["containerd.handler-binary"]
