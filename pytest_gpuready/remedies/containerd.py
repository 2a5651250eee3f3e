"""Remedies for containerd: its service, its configuration, its handlers; a room for each."""

from __future__ import annotations

from pytest_gpuready.remedies.containerd_files import PLUGIN_TABLES
from pytest_gpuready.remedies.containerd_handlers import HandlerRemedies

__all__ = ["PLUGIN_TABLES", "ContainerdRemedies"]


class ContainerdRemedies(HandlerRemedies):
    """`mend.containerd`."""
