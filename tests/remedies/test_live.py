"""Where an image is brought from and to: which namespace, and which daemon's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.remedies import Remedies
from tests.support import nodes
from tests.support.containerd import k3s
from tests.support.simnode import SimNode
from tests.support.toolkit import debian, views

if TYPE_CHECKING:
    from pytest_gpuready.remedies.live import LiveRemedies

IMAGE = "docker.io/library/cuda:12"
K3S = " -a /run/k3s/containerd/containerd.sock"


def mend(node: SimNode) -> LiveRemedies:
    found: LiveRemedies = Remedies(views(node)).live
    return found


@pytest.mark.parametrize(
    ("namespace", "whose", "space"),
    [("default", "ctr's own namespace", ""), ("k8s.io", "the kubelet's namespace", " -n k8s.io")],
)
def test_an_image_is_pulled_into_the_namespace_that_the_route_looks_in(namespace: str, whose: str, space: str) -> None:
    found = mend(nodes.ready()).pull("cuda:12", namespace)
    assert found.summary == f"Pull it into {namespace}, {whose}: each namespace has images of its own."
    assert found.commands == (f"sudo ctr{space} images pull {IMAGE}",)


def test_a_daemon_at_another_socket_is_named() -> None:
    live = mend(k3s(debian(SimNode())))
    assert live.pull("cuda:12", "k8s.io").commands == (f"sudo ctr{K3S} -n k8s.io images pull {IMAGE}",)
    assert live.copy("cuda:12", "k8s.io", "default").commands == (
        f"sudo ctr{K3S} images export - {IMAGE} | sudo ctr{K3S} -n k8s.io images import -",
    )
