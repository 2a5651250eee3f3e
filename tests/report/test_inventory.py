"""The inventory says what is known and None for the rest."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pytest_gpuready.model import Denied, NotApplicable, Settings, Undetermined
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.node.snapshot import read, shipped
from pytest_gpuready.report.inventory import KEYS, SOURCES, inventory
from pytest_gpuready.views import View, Views
from tests.support.simnode import SimNode

OS_RELEASE = 'ID=ubuntu\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n'


@dataclass
class Gpu:
    """An NVML device as the inventory reads it: a name and a UUID."""

    name: str | None
    uuid: str | None


class Nvml(View):
    """Stands for the view of NVML; says two GPUs, one of them without a name. Cannot show how NVML is asked."""

    devices = (Gpu("NVIDIA H100\x1b[31m 80GB", "GPU-1"), Gpu(None, "GPU-2"))


class Driver(View):
    """Stands for the view of the driver that cannot or may not say its version."""

    error: Exception = Undetermined("no answer")

    @property
    def module_version(self) -> str:
        raise self.error


def test_a_node_says_its_distribution_and_kernel() -> None:
    found = inventory(Views(SimNode().put("/etc/os-release", OS_RELEASE).facts()))
    assert found["os"] == "Ubuntu 24.04.3 LTS"
    assert found["kernel"] == "6.8.0-40-generic"


def test_a_node_with_everything_says_every_source() -> None:
    """The shipped recording of a ready node; an attribute that does not exist would be "not known" on every node."""
    found = inventory(Views(read(str(shipped()["ready"]))[0]))
    assert [key for key in SOURCES if not found[key]] == []


def test_nothing_is_known_of_a_node_that_was_not_reached() -> None:
    assert inventory(Views(Facts("ssh://n1"), Settings())) == dict.fromkeys(KEYS)


def test_gpus_are_listed_with_name_and_uuid_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Views, "nvml", property(Nvml))
    assert inventory(Views(Facts("local")))["gpus"] == [
        {"name": "NVIDIA H100 80GB", "uuid": "GPU-1"},
        {"name": None, "uuid": "GPU-2"},
    ]


def test_no_gpu_is_an_empty_list_and_not_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Views, "nvml", property(Nvml))
    monkeypatch.setattr(Nvml, "devices", ())
    assert inventory(Views(Facts("local")))["gpus"] == []


@pytest.mark.parametrize(
    "error",
    [Undetermined("x"), NotApplicable("x"), Denied("x"), ValueError("a fault of ours")],
    ids=lambda e: type(e).__name__,
)
def test_what_a_view_cannot_say_is_none(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(Views, "driver", property(Driver))
    monkeypatch.setattr(Driver, "error", error)
    assert inventory(Views(Facts("local")))["driver"] is None
