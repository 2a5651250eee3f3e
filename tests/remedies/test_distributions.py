"""What installs each part on each distribution, a folder of `cases/distributions` each: every word as it is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.remedies import Remedies
from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.views import Views
from tests.support import driver as d
from tests.support.distributions import DISTRIBUTIONS, FOLDER, node
from tests.support.remedies import as_text, parts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_gpuready.model import Remedy


def build(name: str, *, headers: bool) -> Remedy:
    """Return what builds the module from its source for this kernel."""
    made = node(name).folder(f"/var/lib/dkms/nvidia/{d.VERSION}/source")
    return parts(d.on_disk(made, kernels=[], headers=headers))[0].build()


def remedies(name: str) -> dict[str, Remedy]:
    """Return the remedies that differ between distributions, by title."""
    (driver, gpus), views = parts(node(name)), Views(node(name).facts())
    packages = Remedies(views).packages
    return {
        "Driver": driver.install(),
        "Driver, open kernel modules": driver.install("open"),
        "Driver, proprietary kernel modules": driver.install("proprietary"),
        "Driver libraries": driver.libraries(),
        "Kernel module, headers missing": build(name, headers=False),
        "Kernel module, headers installed": build(name, headers=True),
        "Fabric manager, not installed": gpus.fabric_manager(installed=False, version=None, running=False),
        "Fabric manager, another version": gpus.fabric_manager(installed=True, version="570.1.1", running=True),
        "Fabric manager, stopped": gpus.fabric_manager(installed=True, version=d.VERSION, running=False),
        "Fabric manager, running": gpus.fabric_manager(installed=True, version=d.VERSION, running=True),
        "Toolkit": packages.toolkit(),
        "Toolkit, too old": packages.upgrade("nvidia-container-toolkit"),
        "containerd": ContainerdRemedies(views).install(),
        "runc": packages.other("runc"),
        "runc, a file missing": packages.again("runc"),
    }


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_remedies_of_a_distribution(name: str, expect: Callable[[Path, str], None]) -> None:
    found = remedies(name)
    assert not any(remedy.edits for remedy in found.values())
    text = "\n".join(f"== {title}\n{as_text(remedy)}" for title, remedy in found.items())
    expect(FOLDER / name / "expected.txt", text)
