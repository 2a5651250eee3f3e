"""What generates a CDI spec on each kind of node, and what lets containerd read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd.toml import loads
from pytest_gpuready.remedies import Remedies
from tests.support.cdi import cdi
from tests.support.simnode import SimNode
from tests.support.toolkit import containerd, debian, toolkit, views

if TYPE_CHECKING:
    from pytest_gpuready.model import Remedy

OPERATOR = "/usr/local/nvidia/toolkit"


def generate(node: SimNode, path: str | None = None) -> Remedy:
    found: Remedy = Remedies(views(node)).cdi.generate(path)
    return found


def node(**options: str) -> SimNode:
    return cdi(containerd(toolkit(debian(SimNode())), **options))


def test_the_usual_place_the_files_own_and_json() -> None:
    assert generate(node()).commands == ("sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",)
    assert generate(node(), "/etc/cdi/nvidia.yaml").commands == (
        "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    )
    assert generate(node(), "/etc/cdi/n v.json").commands == (
        "sudo nvidia-ctk cdi generate --output='/etc/cdi/n v.json' --format=json",
    )


def test_the_operators_nvidia_ctk_is_named_by_its_path_with_its_driver_root() -> None:
    operator = toolkit(debian(SimNode()), folder=OPERATOR).folder("/run/nvidia/driver")
    assert generate(operator).commands == (
        f"sudo {OPERATOR}/nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml --driver-root=/run/nvidia/driver",
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/var/run/cdi/k8s.device-plugin.nvidia.com-gpu.json", "device plugin"),
        ("/var/run/cdi/management.nvidia.com-gpu.yaml", "toolkit pod"),
    ],
)
def test_what_a_pod_writes_is_that_pods_to_write(path: str, words: str) -> None:
    found = generate(node(), path)
    assert words in found.summary
    assert found.commands == ()


def test_nixos_has_a_service_of_its_own() -> None:
    nixos = SimNode().put("/etc/os-release", "ID=nixos\n").program("/usr/bin/sudo")
    assert generate(nixos).commands == ("sudo systemctl restart nvidia-container-toolkit-cdi-generator.service",)


@pytest.mark.parametrize(
    ("release", "line"),
    [("1.7.24", ""), *((release, "enable_cdi = false\n") for release in ("1.7.24", "2.1.9", "2.3.4"))],
)
def test_enabling_was_tried_on_a_copy_and_keeps_the_handlers(release: str, line: str) -> None:
    nodes = node(version=release, cri=line)
    found: Remedy = Remedies(views(nodes)).cdi.enable()
    assert found.commands[-1] == "sudo systemctl restart containerd"
    assert "+enable_cdi = true" in found.edits[0].diff.replace("+  ", "+")
    assert loads(nodes.tree["/etc/containerd/config.toml"].data)


def test_a_file_that_is_moved_aside_is_no_longer_read() -> None:
    found: Remedy = Remedies(views(node())).cdi.move_aside("/etc/cdi/a b.yaml", "Why.")
    assert found.commands == ("sudo mv '/etc/cdi/a b.yaml' '/etc/cdi/a b.yaml.disabled'",)


def test_without_the_unit_the_spec_is_kept_in_etc() -> None:
    found: Remedy = Remedies(views(node())).cdi.refresh(has_unit=False)
    assert found.commands == ("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",)


def test_a_folder_under_the_specs_name_is_moved_out_of_its_way() -> None:
    """As Docker leaves one for a bind mount's source that is not there."""
    found = generate(node().folder("/etc/cdi/nvidia.yaml"), "/etc/cdi/nvidia.yaml")
    assert found.commands == (
        "sudo mv /etc/cdi/nvidia.yaml /etc/cdi/nvidia.yaml.disabled",
        "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    )


def test_a_file_in_the_place_of_the_specs_folder_is_moved_out_of_its_way() -> None:
    """The daemon watches the file, and does not see that a folder came."""
    assert generate(node().put("/var/run/cdi", "")).commands == (
        "sudo mv /var/run/cdi /var/run/cdi.disabled",
        "sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",
        "sudo systemctl restart containerd",
    )
