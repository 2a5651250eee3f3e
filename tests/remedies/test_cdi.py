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
CONFIG = "/etc/containerd/config.toml"
GENERATE = ("sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",)


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


def test_a_driver_root_is_named_to_the_operators_nvidia_ctk_alone_and_where_there_is_one() -> None:
    operator = toolkit(debian(SimNode()), folder=OPERATOR)
    assert generate(operator).commands == (
        f"sudo {OPERATOR}/nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",
    )
    assert generate(node().folder("/run/nvidia/driver")).commands == GENERATE


def test_what_lacks_is_brought_first_where_a_package_is_known_to_bring_it() -> None:
    def lacking(made: SimNode) -> Remedy:
        found: Remedy = Remedies(views(made)).cdi.generate(lacking="nvidia-cdi-hook")
        return found

    bare = SimNode().program("/usr/bin/sudo")
    by_hand = lacking(bare)
    assert (by_hand.summary.startswith("No package manager that is known here"), by_hand.commands) == (True, ())
    found = lacking(bare.program("/usr/bin/nvidia-ctk"))
    assert found.summary.startswith("Generate /var/run/cdi/nvidia.yaml ")
    assert found.commands == GENERATE
    neither = lacking(node().remove("/usr/bin/nvidia-ctk"))
    assert neither.commands[-1:] == GENERATE
    assert "apt-get install -y nvidia-container-toolkit" in neither.commands[-2]
    assert neither.summary.endswith(
        "Then generate /var/run/cdi/nvidia.yaml; it is read at each container start, nothing is restarted."
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


MARK = b"\xef\xbb\xbf"
CRI = 'plugins."io.containerd.grpc.v1.cri"'
RUNC = f'[{CRI}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
RESTART = "sudo systemctl restart containerd"


@pytest.mark.parametrize(
    ("data", "command"),
    [
        (None, f"sudo tee {CONFIG} >/dev/null <<'EOF'\n[plugins.cri]\n  enable_cdi = true\nEOF"),
        (
            f"version = 2\n{RUNC}".encode(),
            f"sudo tee -a {CONFIG} >/dev/null <<'EOF'\n\n[{CRI}]\n  enable_cdi = true\nEOF",
        ),
        # tomlkit takes no byte order mark: it is a line by hand.
        (
            MARK + f"version = 2\n [{CRI}] # ours\n{RUNC}".encode(),
            f"sudo sed -i '2a\\   enable_cdi = true' {CONFIG}",
        ),
        (
            MARK + f"version = 2\n[{CRI}]\nenable_cdi = false\n{RUNC}".encode(),
            f"sudo sed -i '3s|=.*|= true|' {CONFIG}",
        ),
    ],
)
def test_it_is_enabled_in_a_new_file_at_the_end_of_one_or_by_a_line(data: bytes | None, command: str) -> None:
    made = node(version="1.7.24").remove(CONFIG)
    found: Remedy = Remedies(views(made if data is None else made.put(CONFIG, data))).cdi.enable()
    assert found.commands == (command, RESTART)


def test_where_no_edit_is_proven_it_is_said_what_is_to_be_set_and_what_restarts() -> None:
    """A line that is no UTF-8 is not edited, and the table is there."""
    made = node(version="1.7.24").put(CONFIG, f"version = 2\n[{CRI}]\nenable_cdi = false # ".encode() + b"\xe9\n")
    by_hand = f"Set enable_cdi = true in the CRI plugin's own table of {CONFIG}, then restart containerd."
    found: Remedy = Remedies(views(made)).cdi.enable()
    assert (found.summary, found.commands, found.edits) == (by_hand, (RESTART,), ())
    made.units.clear()
    alone: Remedy = Remedies(views(made)).cdi.enable()
    assert (alone.summary, alone.commands) == (by_hand, ())


def test_where_something_writes_the_file_anew_it_is_enabled_there() -> None:
    nixos = node(version="1.7.24").put("/etc/os-release", "ID=nixos\n")
    found: Remedy = Remedies(views(nixos)).cdi.enable()
    assert found.summary.startswith("NixOS writes the file: ")


def test_a_file_that_is_moved_aside_is_no_longer_read() -> None:
    found: Remedy = Remedies(views(node())).cdi.move_aside("/etc/cdi/a b.yaml", "Why.")
    assert found.commands == ("sudo mv '/etc/cdi/a b.yaml' '/etc/cdi/a b.yaml.disabled'",)


def test_without_the_unit_the_spec_is_kept_in_etc() -> None:
    found: Remedy = Remedies(views(node())).cdi.refresh(has_unit=False)
    assert found.commands == ("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",)
    without: Remedy = Remedies(views(node().remove("/usr/bin/nvidia-ctk"))).cdi.refresh(has_unit=False)
    assert without.commands == found.commands
    operator = toolkit(debian(SimNode()), folder=OPERATOR)
    named: Remedy = Remedies(views(operator)).cdi.refresh(has_unit=False)
    assert named.commands == (f"sudo {OPERATOR}/nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",)


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
