"""More ways to set up a healthy node (see setups.py, healthy.py): the toolkit, CDI, GPUs, and what a node may lack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.lab import hardware
from tests.lab.cri import SPARE
from tests.lab.setups import CONFIG, DROP_IN, RUNTIME, default_config, handler, in_config, version, write

if TYPE_CHECKING:
    from tests.lab.node import Node

RUNTIME_CONFIG = "/etc/nvidia-container-runtime/config.toml"
PLUGIN_KIND = "k8s.device-plugin.nvidia.com/gpu"
OPERATOR = "/usr/local/nvidia/toolkit"


# ---------------------------------------------------------------------- the toolkit


def toolkit_before_1_18(node: Node) -> None:
    """Toolkit 1.17: `auto` is legacy mode, the handler stands in config.toml, nothing refreshes a CDI spec."""
    node.run(
        "sed -i s/^toolkit_version=.*/toolkit_version=1.17.8/ /usr/share/gpuready-lab/functions.sh; "
        "sed -i s/1.18.2-1/1.17.8-1/g /var/lib/dpkg/status; "
        "systemctl disable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service; "
        "rm -rf /etc/systemd/system/nvidia-cdi-refresh* /var/run/cdi; systemctl daemon-reload; "
        f'sed -i \'s/^runtimes = .*/runtimes = ["docker-runc", "runc", "crun"]/\' {RUNTIME_CONFIG}',
        check=True,
    )
    in_config(node)


def _mode(node: Node, mode: str) -> None:
    node.run(f"nvidia-ctk config --in-place --set nvidia-container-runtime.mode={mode}", check=True)


def legacy_mode(node: Node) -> None:
    """The runtime's mode is set to legacy; there is no CDI spec."""
    _mode(node, "legacy")
    node.run("rm -rf /var/run/cdi /etc/cdi", check=True)


def cdi_mode(node: Node) -> None:
    """The runtime's mode is set to cdi; the spec lies in /etc/cdi, and no legacy program is there."""
    _mode(node, "cdi")
    node.run("mkdir -p /etc/cdi && mv /var/run/cdi/nvidia.yaml /etc/cdi/", check=True)
    node.run("DEBIAN_FRONTEND=noninteractive apt-get remove -y libnvidia-container-tools", check=True)


def crun(node: Node) -> None:
    """The runtime starts crun, as its configuration says; runc under that name stands for it."""
    node.run("cp /usr/sbin/runc /usr/bin/crun", check=True)
    node.run(f"sed -i 's/^runtimes = .*/runtimes = [\"crun\"]/' {RUNTIME_CONFIG}", check=True)


def _operator(node: Node, *, root: str = "", mode: str = "auto") -> None:
    """The toolkit as the GPU operator's container lays it out: wrappers in /usr/local/nvidia/toolkit, no package."""
    programs = "nvidia-container-runtime nvidia-ctk nvidia-container-cli nvidia-container-runtime-hook"
    xdg = f"{OPERATOR}/.config"
    node.run(
        f"mkdir -p {OPERATOR}; cd {OPERATOR}; for p in {programs}; do cp /usr/bin/$p $p.real; done; "
        "cp /usr/bin/nvidia-cdi-hook .; systemctl disable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service; "
        "DEBIAN_FRONTEND=noninteractive apt-get purge -y nvidia-container-toolkit-base libnvidia-container1; "
        f"rm -rf {RUNTIME_CONFIG.rpartition('/')[0]} /etc/apt/sources.list.d/nvidia-container-toolkit.list {DROP_IN} "
        "/var/run/cdi /usr/share/gpuready-lab/toolkit; systemctl daemon-reload; systemctl reset-failed",
        check=True,
    )
    for program in programs.split():
        twins = (
            [("", ""), (".cdi", "cdi"), (".legacy", "legacy")] if program == "nvidia-container-runtime" else [("", "")]
        )
        for suffix, fixed in twins:
            # NVIDIA's asks /proc/modules, which a kernel without modules does not have.
            unloaded = (
                "if [ ! -d /sys/module/nvidia ]; then\n"
                '\techo "nvidia driver modules are not yet loaded, invoking runc directly"\n\texec runc "$@"\nfi\n'
                if program == "nvidia-container-runtime"
                else ""
            )
            wrapper = (
                f"#! /bin/sh\n{unloaded}{f'NVIDIA_CONTAINER_RUNTIME_MODE={fixed} ' if fixed else ''}"
                f'PATH={OPERATOR}:$PATH XDG_CONFIG_HOME={xdg} exec {OPERATOR}/{program}.real "$@"\n'
            )
            node.put(f"{OPERATOR}/{program}{suffix}", wrapper, 0o755)
    config = node.read("/usr/share/gpuready-lab/config.toml")
    config = config.replace('mode = "auto"', f'mode = "{mode}"')
    config = config.replace('#path = "/usr/bin/', f'path = "{OPERATOR}/')
    config = config.replace('path = "nvidia-', f'path = "{OPERATOR}/nvidia-')
    if root:
        config = config.replace("#root =", "root =")
    node.put(f"{xdg}/nvidia-container-runtime/config.toml", config)
    text = default_config(node)
    ends = (("nvidia", ""), ("nvidia-cdi", ".cdi"), ("nvidia-legacy", ".legacy"))
    handlers = "".join(
        handler(version(node), name, f"{OPERATOR}/{RUNTIME.rpartition('/')[2]}{end}") for name, end in ends
    )
    write(node, f'imports = ["/etc/containerd/conf.d/*.toml"]\n{text}', restart=False)
    own = text if version(node) == 2 else "version = 3\n"
    node.put(DROP_IN, own + handlers)


def operator(node: Node) -> None:
    """The GPU operator's toolkit below /usr/local/nvidia/toolkit, the driver on the host."""
    _operator(node)
    node.restart_containerd()


def operator_driver(node: Node) -> None:
    """The GPU operator with its driver container: nothing of the driver in /usr, all of it in /run/nvidia/driver."""
    libraries = node.read("/usr/share/gpuready-lab/libdir").strip()
    root = "/run/nvidia/driver"
    node.run(
        f"mkdir -p {root}/usr/bin {root}{libraries} /run/nvidia/validations; "
        "touch /run/nvidia/validations/driver-ready; "
        f"mv /usr/bin/nvidia-smi /usr/bin/nvidia-modprobe {root}/usr/bin/; "
        f"mv {libraries}/libnvidia-ml.so* {libraries}/libcuda.so* {root}{libraries}/; ldconfig",
        check=True,
    )
    _operator(node, root=root)
    node.restart_containerd()


def operator_cdi(node: Node) -> None:
    """The GPU operator from 25.10 on: pods get their GPU by native CDI, by the device plugin's spec in /var/run/cdi."""
    _operator(node, mode="cdi")
    if node.generation == "1.7":
        node.run(f"sed -i 's/enable_cdi = false/enable_cdi = true/' {CONFIG} {DROP_IN}", check=True)
    node.restart_containerd()
    node.run(
        f"XDG_CONFIG_HOME={OPERATOR}/.config {OPERATOR}/nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml && "
        f"sed -i 's#/usr/bin/nvidia-cdi-hook#{OPERATOR}/nvidia-cdi-hook#; s#^kind: .*#kind: {PLUGIN_KIND}#' "
        "/var/run/cdi/nvidia.yaml && cd /var/run/cdi && mv nvidia.yaml k8s.device-plugin.nvidia.com-gpu.json",
        check=True,
    )


# ---------------------------------------------------------------------- CDI


def cdi_only(node: Node) -> None:
    """No handler, no runtime, no legacy programs: containers get their GPU by CDI alone."""
    text = default_config(node).replace("enable_cdi = false", "enable_cdi = true")
    write(node, text)
    node.run("rm /usr/bin/nvidia-container-runtime* /usr/bin/nvidia-container-cli", check=True)


def custom_cdi_folder(node: Node) -> None:
    """The specs lie in a folder of the site's own, which containerd is told."""
    text = default_config(node).replace("enable_cdi = false", "enable_cdi = true")
    write(node, re.sub(r"cdi_spec_dirs = \[.*\]", 'cdi_spec_dirs = ["/opt/site/cdi"]', text))
    node.run("mkdir -p /opt/site/cdi && mv /var/run/cdi/nvidia.yaml /opt/site/cdi/", check=True)


# ---------------------------------------------------------------------- GPUs


def eight_gpus(node: Node) -> None:
    """Eight GPUs, as an HGX board has; two more nodes than the lab's boards usually bring."""
    values = {"gpus": "8"}
    for number in range(2, 8):
        values |= {
            f"gpu{number}__product_name": "NVIDIA H100 80GB HBM3",
            f"gpu{number}__uuid": f"GPU-6f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c4{number}",
            f"gpu{number}__bus": f"0000:{0x40 + number:02x}:00.0",
            f"gpu{number}__device": "0x2330",
            f"gpu{number}__total": "81559 MiB",
        }
    hardware.replug(node, **values)


def mig(node: Node) -> None:
    """One GPU is parted into two MIG instances, one is whole."""
    hardware.replug(
        node,
        gpu0__current_mig="Enabled",
        gpu0__pending_mig="Enabled",
        gpu0__mig="2",
        gpu0__mig0__uuid="MIG-0f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c40",
        gpu0__mig1__uuid="MIG-1f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c40",
    )


# ---------------------------------------------------------------------- what else a node may lack or have


def no_curl(node: Node) -> None:
    """No curl: python3 asks containerd where it is; else the report goes by the files' times."""
    node.run(f"mkdir -p {SPARE} && mv /usr/bin/curl {SPARE}/", check=True)


def busybox(node: Node) -> None:
    """sh, awk, sed, grep, find and all of coreutils are busybox'."""
    packages = "coreutils findutils grep sed mawk procps dash debianutils gzip hostname"
    node.run(
        "cp /bin/busybox /usr/local/lib/busybox; "
        f"dpkg -L {packages} | grep -E '^(/usr)?/s?bin/' | while read -r f; do "
        "name=${f##*/}; [ $name = mawk ] || ! /usr/local/lib/busybox --list | grep -qx -- $name || echo $f; done "
        ">/tmp/list; "
        "for f in $(cat /tmp/list); do /usr/local/lib/busybox ln -sf /usr/local/lib/busybox $f; done; "
        "for f in /usr/bin/awk /bin/sh; do /usr/local/lib/busybox ln -sf /usr/local/lib/busybox $f; done; rm /tmp/list",
        check=True,
    )


def noexec_tmp(node: Node) -> None:
    """/tmp, /var/tmp and /dev/shm take no programs."""
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        node.run(f"mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs {place}", check=True)


def read_only_root(node: Node) -> None:
    """The root file system is read-only; what containerd needs is on others."""
    node.run("mkdir -p /var/log/pods && mount -t tmpfs tmpfs /var/log && mkdir /var/log/pods", check=True)
    node.run("mount -o remount,bind,ro /", check=True)


def no_repository(node: Node) -> None:
    """NVIDIA's repository is not set up (any more)."""
    hardware.forget_repository(node)
