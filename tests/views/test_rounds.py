"""How often a node must be asked: healthy ones at most twice."""

from __future__ import annotations

import pytest

from pytest_gpuready.node.facts import REACH, SUDO, Fact, Facts
from pytest_gpuready.views import Views, settled
from tests.support import kubernetes
from tests.support.containerd import config, healthy, k3s
from tests.support.simnode import SimNode

#: The views of this part of the suite; the others count their own.
MINE = ("platform", "containerd_live", "containerd_config", "handler_binary", "ctr")


def rounds(node: SimNode) -> int:
    """How many rounds of questions these views need."""
    facts = Facts("local", [(REACH, Fact("ok")), (SUDO, Fact("ok"))])
    for number in range(10):
        views = Views(facts)
        wanted = []
        for name in MINE:
            wanted += [request for request in settled(views.named(name).requests(views)) if request not in facts]
        if not wanted:
            return number
        for request in wanted:
            node._answer_into(facts, request)
    return 10


IMPORTING = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'


@pytest.mark.parametrize("release", ["1.6.39", "1.7.24", "2.1.9", "2.3.4"])
def test_a_stock_node_is_asked_at_most_twice(release: str) -> None:
    assert rounds(healthy(SimNode(), release)) <= 2
    with_drop_in = healthy(SimNode(), release, text=IMPORTING + config(release))
    assert rounds(with_drop_in.put("/etc/containerd/conf.d/99-nvidia.toml", config(release))) <= 2


def test_k3s_and_a_kubeadm_node_are_asked_at_most_twice() -> None:
    assert rounds(kubernetes.k3s(k3s(SimNode()))) <= 2
    assert rounds(kubernetes.kubeadm(healthy(SimNode(), systemd=True))) <= 2
