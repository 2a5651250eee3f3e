"""Remedies: the commands that mend it on *this* node, typed as printed.

`mend` in a check is a `Remedies`; each family has its own part. One element of `commands` is one paste; whatever comes
from the node is quoted by `pytest_gpuready.quoting`; nothing that a node's file holds is written back.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuready.remedies.cdi import CdiRemedies
    from pytest_gpuready.remedies.containerd import ContainerdRemedies
    from pytest_gpuready.remedies.driver import DriverRemedies
    from pytest_gpuready.remedies.gpus import GpuRemedies
    from pytest_gpuready.remedies.kubernetes import KubernetesRemedies
    from pytest_gpuready.remedies.live import LiveRemedies
    from pytest_gpuready.remedies.node import NodeRemedies
    from pytest_gpuready.remedies.packages import PackageRemedies
    from pytest_gpuready.remedies.toolkit import ToolkitRemedies
    from pytest_gpuready.views import Views


class Remedies:
    """The remedies of one node: `mend.containerd.restart()`, `mend.packages.toolkit()` and so on.

    A part is imported and made when a check first asks for it.
    """

    def __init__(self, views: Views) -> None:
        self.views = views

    @functools.cached_property
    def node(self) -> NodeRemedies:
        """The login, and what may be read."""
        from pytest_gpuready.remedies.node import NodeRemedies

        return NodeRemedies(self.views)

    @functools.cached_property
    def driver(self) -> DriverRemedies:
        """The NVIDIA driver."""
        from pytest_gpuready.remedies.driver import DriverRemedies

        return DriverRemedies(self.views)

    @functools.cached_property
    def gpus(self) -> GpuRemedies:
        """GPUs, MIG and the fabric."""
        from pytest_gpuready.remedies.gpus import GpuRemedies

        return GpuRemedies(self.views)

    @functools.cached_property
    def containerd(self) -> ContainerdRemedies:
        """The service, configuration and handlers of containerd."""
        from pytest_gpuready.remedies.containerd import ContainerdRemedies

        return ContainerdRemedies(self.views)

    @functools.cached_property
    def packages(self) -> PackageRemedies:
        """Packages of the NVIDIA Container Toolkit."""
        from pytest_gpuready.remedies.packages import PackageRemedies

        return PackageRemedies(self.views)

    @functools.cached_property
    def toolkit(self) -> ToolkitRemedies:
        """The toolkit's own configuration."""
        from pytest_gpuready.remedies.toolkit import ToolkitRemedies

        return ToolkitRemedies(self.views)

    @functools.cached_property
    def cdi(self) -> CdiRemedies:
        """CDI specs."""
        from pytest_gpuready.remedies.cdi import CdiRemedies

        return CdiRemedies(self.views)

    @functools.cached_property
    def kubernetes(self) -> KubernetesRemedies:
        """The kubelet and its surroundings."""
        from pytest_gpuready.remedies.kubernetes import KubernetesRemedies

        return KubernetesRemedies(self.views)

    @functools.cached_property
    def live(self) -> LiveRemedies:
        """The containers of a live run."""
        from pytest_gpuready.remedies.live import LiveRemedies

        return LiveRemedies(self.views)
