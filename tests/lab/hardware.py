"""Simulated GPUs and their driver, and a node made ready for GPU containers.

What stands for what is said in each file of ``standins/``. The GPUs are described by ``driver.txt`` (see
``standins/driver.sh``), which `describe` changes; ``/usr/share/gpuready-lab/driver VERB`` on the node loads, unloads,
installs and removes.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tests.lab import base

if TYPE_CHECKING:
    from tests.lab.node import Node

DRIVER = "/usr/share/gpuready-lab/driver"
"""The simulated driver's switch on a node: ``install|remove|plug|load|unload|nodes``."""


def settle(node: Node) -> None:
    """Give a booted node what containers need: writable control groups, an image."""
    _script(node, "settle.sh")


def attach(node: Node) -> None:
    """Plug the GPUs in and load the driver, on a node that has the driver on disk."""
    _script(node, "attach.sh")


def bring_up(node: Node) -> None:
    """Plug the GPUs in and load the driver, on a node that has it on disk and no toolkit yet."""
    for verb in ("plug", "load nvidia", "load nvidia-uvm", "nodes"):
        node.run(f"{DRIVER} {verb}", check=True)


def make_ready(node: Node) -> None:
    """Turn a bare node (``Node(…, ready=False)``) into a healthy one, by the commands a user would type."""
    _script(node, "ready.sh")
    node.restart_containerd()
    attach(node)


def break_handler(node: Node) -> None:
    """Take the drop-in with the handler ``nvidia`` from a healthy node, and let containerd know."""
    node.run("rm /etc/containerd/conf.d/99-nvidia.toml", check=True)
    node.restart_containerd()


def describe(node: Node, **values: str) -> None:
    """Change what the hardware says, such as ``describe(node, gpu0__state="In Progress", hang="60")``.

    ``__`` stands for a dot; an empty value takes the key away. The keys of a GPU are named as the tags of
    nvidia-smi's XML; see ``standins/driver.sh`` and ``standins/nvml.c`` for the others.
    """
    for name, value in values.items():
        key = name.replace("__", ".")
        line = f"{key}={value}"
        for path in ("/usr/share/gpuready-lab/driver.txt", "/run/gpuready-lab/kernel"):
            drop = f"[ ! -e {path} ] || {{ grep -v ^{shlex.quote(key)}= {path} >{path}.new; cat {path}.new >{path}; }}"
            node.run(drop, check=True)
            if value:
                node.run(f"[ ! -e {path} ] || echo {shlex.quote(line)} >>{path}", check=True)


def replug(node: Node, **values: str) -> None:
    """Change the hardware as `describe` does, and bring the driver up on it anew: device nodes and the CDI spec too."""
    describe(node, **values)
    node.run(f"{DRIVER} unload; rm -rf /dev/nvidia*; systemctl stop nvidia-cdi-refresh.service", check=True)
    attach(node)


def uuids(node: Node) -> list[str]:
    """The GPUs' UUIDs, by index."""
    text = node.read("/usr/share/gpuready-lab/driver.txt")
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return [found[f"gpu{index}.uuid"] for index in range(int(found["gpus"]))]


def listed(node: Node) -> int:
    """How many GPUs the node has."""
    return len(uuids(node))


def forget_repository(node: Node) -> None:
    """Take NVIDIA's repository from a node, with what the package manager knows of it, as before it was set up."""
    if node.distribution == "fedora":
        node.run("rm /etc/yum.repos.d/nvidia-container-toolkit.repo && dnf clean all", check=True)
    else:
        node.run("rm /etc/apt/sources.list.d/nvidia-container-toolkit.list && apt-get update", check=True)


def _script(node: Node, name: str) -> None:
    node.run(
        "export DEBIAN_FRONTEND=noninteractive; set -eu\n" + (base.HERE / name).read_text(), check=True, timeout=120
    )
