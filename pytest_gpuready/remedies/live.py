"""Remedies for the live proof: an image that is there, in the namespace that the route looks in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.live.image import full_reference, missing_tag
from pytest_gpuready.model import Remedy
from pytest_gpuready.quoting import quote
from pytest_gpuready.remedies.containerd_service import known
from pytest_gpuready.views.containerd_live import DEFAULT_SOCKET, ContainerdLive
from pytest_gpuready.views.daemons import same_socket
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from pytest_gpuready.views import Views


class LiveRemedies:
    """Images."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.platform = views.get(Platform)

    def pull(self, reference: str, namespace: str) -> Remedy:
        """The image is not in the namespace that a route looks in."""
        full = full_reference(reference)
        wrong = missing_tag(full)
        if wrong is not None:
            return Remedy(f"Name an image that exists: {wrong}.")
        words = "ctr's own namespace" if namespace == "default" else "the kubelet's namespace"
        return Remedy(
            f"Pull it into {namespace}, {words}: each namespace has images of its own.",
            (f"{self._ctr(namespace)} images pull {quote(full)}",),
        )

    def copy(self, reference: str, namespace: str, other: str) -> Remedy:
        """The image is there, in another namespace."""
        full = quote(full_reference(reference))
        return Remedy(
            f"It is in {other}, and this route looks in {namespace}: take it over, without a download.",
            (f"{self._ctr(other)} images export - {full} | {self._ctr(namespace)} images import -",),
        )

    def _ctr(self, namespace: str) -> str:
        sudo = self.platform.sudo_prefix
        socket = known(lambda: self.views.get(ContainerdLive).socket, DEFAULT_SOCKET)
        address = "" if same_socket(socket, DEFAULT_SOCKET) else f" -a {quote(socket)}"
        space = "" if namespace == "default" else f" -n {quote(namespace)}"
        return f"{sudo}ctr{address}{space}"
