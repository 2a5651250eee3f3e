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


def _script(node: Node, name: str) -> None:
    node.run(
        "export DEBIAN_FRONTEND=noninteractive; set -eu\n" + (base.HERE / name).read_text(), check=True, timeout=120
    )
