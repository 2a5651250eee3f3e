"""How devices resolve: later directories win, double devices of one directory never do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.cdispec.registry import resolve
from pytest_gpuready.cdispec.spec import parse
from tests.support.cdi import spec

if TYPE_CHECKING:
    from pytest_gpuready.cdispec.spec import Spec

GPU = ["nvidia.com/gpu"]


def at(path: str, *, gpus: int = 1, kind: str = "nvidia.com/gpu") -> Spec:
    return parse(path, spec(gpus, kind=kind).encode())


def test_the_later_directory_wins() -> None:
    registry = resolve([[at("/etc/cdi/a.yaml")], [at("/var/run/cdi/b.yaml")]])
    assert registry.of_kinds(GPU)["0"][0].path == "/var/run/cdi/b.yaml"
    assert not registry.conflicts


def test_twice_in_one_directory_resolves_to_nothing() -> None:
    registry = resolve([[], [at("/var/run/cdi/a.yaml", gpus=2), at("/var/run/cdi/b.yaml")]])
    assert "0" not in registry.names(GPU)
    assert "1" in registry.names(GPU)
    assert {conflict.name for conflict in registry.conflicts} >= {"nvidia.com/gpu=0", "nvidia.com/gpu=all"}


def test_a_conflict_below_is_not_healed_above() -> None:
    registry = resolve([[at("/etc/cdi/a.yaml"), at("/etc/cdi/b.yaml")], [at("/var/run/cdi/c.yaml")]])
    assert "0" not in registry.names(GPU)


def test_kinds_do_not_meet() -> None:
    registry = resolve([[at("/etc/cdi/a.yaml"), at("/etc/cdi/b.yaml", kind="management.nvidia.com/gpu")]])
    assert not registry.conflicts
