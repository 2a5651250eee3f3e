"""ctr and nerdctl: their versions, and what those mean."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Undetermined
from pytest_gpuready.views import Views
from pytest_gpuready.views.ctr import Ctr, version_tuple
from tests.support.containerd import healthy
from tests.support.simnode import SimNode


def ctr(said: str) -> Ctr:
    return Views(healthy(SimNode()).answer(("ctr", "--version"), said).facts()).get(Ctr)


@pytest.mark.parametrize(
    ("said", "version", "cdi"),
    [
        ("ctr github.com/containerd/containerd 1.6.20~ds1\n", (1, 6, 20), False),
        ("ctr containerd.io v1.7.27\n", (1, 7, 27), False),
        ("ctr github.com/k3s-io/containerd/v2 v2.1.4-k3s1\n", (2, 1, 4), False),
        ("ctr github.com/containerd/containerd/v2 2.3.0-rc.1\n", (2, 3, 0), True),
    ],
)
def test_ctrs_own_version_decides_how_gpus_are_given(said: str, version: tuple[int, ...], cdi: bool) -> None:  # noqa: FBT001
    assert (ctr(said).version, ctr(said).gpus_by_cdi) == (version, cdi)


@pytest.mark.parametrize("said", ["", "ctr: what?", "9" * 5000])
def test_a_version_that_is_not_told_is_undetermined(said: str) -> None:
    with pytest.raises(Undetermined):
        _ = ctr(said).version


def test_where_ctr_is() -> None:
    assert (ctr("x").path, ctr("x").elsewhere, ctr("x").containerd_on_path) == (
        "/usr/bin/ctr",
        None,
        "/usr/bin/containerd",
    )
    node = SimNode().program("/var/lib/k0s/bin/ctr")
    assert Views(node.facts()).get(Ctr).elsewhere == "/var/lib/k0s/bin/ctr"
    with pytest.raises(Undetermined, match="ctr is not on PATH"):
        _ = Views(node.facts()).get(Ctr).version


def test_nerdctl_asks_by_cdi_from_2_3() -> None:
    for said, cdi in (("nerdctl version 1.7.7\n", False), ("nerdctl version 2.3.1\n", True)):
        node = SimNode().program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), said)
        assert Views(node.facts()).get(Ctr).nerdctl_gpus_by_cdi is cdi


def test_the_first_version_number_of_a_text() -> None:
    assert version_tuple("release v2.1 of 3.4.5") == (2, 1)
