"""Remedies: the commands that mend it on *this* node, typed as printed.

`mend` in a check is a `Remedies`; each family has its own part. One element of `commands` is one paste; whatever comes
from the node is quoted by `pytest_gpuready.quoting`; nothing that a node's file holds is written back.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_gpuready.views import Views

#: Part of `mend`, and where its class is: constructed with the views, made when a check asks for it.
PARTS: dict[str, str] = {
    "node": "pytest_gpuready.remedies.node:NodeRemedies",
    "driver": "pytest_gpuready.remedies.driver:DriverRemedies",
    "gpus": "pytest_gpuready.remedies.gpus:GpuRemedies",
    "containerd": "pytest_gpuready.remedies.containerd:ContainerdRemedies",
    "packages": "pytest_gpuready.remedies.packages:PackageRemedies",
    "toolkit": "pytest_gpuready.remedies.toolkit:ToolkitRemedies",
    "cdi": "pytest_gpuready.remedies.cdi:CdiRemedies",
    "kubernetes": "pytest_gpuready.remedies.kubernetes:KubernetesRemedies",
    "live": "pytest_gpuready.remedies.live:LiveRemedies",
}


class Remedies:
    """The remedies of one node: `mend.containerd.restart()`, `mend.packages.toolkit()` and so on."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def __getattr__(self, name: str) -> Any:
        if name not in PARTS:
            raise AttributeError(name)
        module, _, attribute = PARTS[name].partition(":")
        part = getattr(importlib.import_module(module), attribute)(self.views)
        setattr(self, name, part)
        return part
