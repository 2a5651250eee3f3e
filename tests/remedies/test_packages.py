"""What installs the toolkit, as printed; test_distributions has what each distribution is told."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.remedies import Remedies
from tests.support.simnode import Proc, SimNode
from tests.support.toolkit import NVIDIA_REPO, debian, fedora, packages, repositories, views

if TYPE_CHECKING:
    from pytest_gpuready.model import Remedy
    from pytest_gpuready.remedies.packages import PackageRemedies


def toolkit(node: SimNode) -> Remedy:
    found: Remedy = Remedies(views(node)).packages.toolkit()
    return found


def system(os_id: str, *programs: str) -> SimNode:
    node = SimNode().put("/etc/os-release", f"ID={os_id}\n")
    for program in ("sudo", "curl", *programs):
        node.program(f"/usr/bin/{program}")
    return node


def test_repository_that_is_set_up_is_used() -> None:
    found = toolkit(repositories(fedora(SimNode()), NVIDIA_REPO))
    assert found.summary == "Install nvidia-container-toolkit."
    assert found.commands == ("sudo dnf install -y nvidia-container-toolkit",)


def test_a_repository_that_is_switched_off_is_none() -> None:
    off = NVIDIA_REPO.replace("enabled=1", "enabled=0")
    assert len(toolkit(repositories(fedora(SimNode()), off)).commands) == 2


def test_debian_with_cudas_repository() -> None:
    address = "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/"
    cuda = f"file /etc/apt/sources.list.d/cuda.list\n> deb {address} /\n"
    assert toolkit(repositories(debian(SimNode()), cuda)).commands == (
        "sudo apt-get update && sudo apt-get install -y nvidia-container-toolkit",
    )


def test_without_curl_it_is_installed_first() -> None:
    assert "ca-certificates curl" in toolkit(debian(SimNode()).remove("/usr/bin/curl")).commands[0]
    assert toolkit(fedora(SimNode()).remove("/usr/bin/curl")).commands[0] == "sudo dnf install -y curl"


def test_root_without_sudo_types_no_sudo() -> None:
    node = repositories(fedora(SimNode()).remove("/usr/bin/sudo"), NVIDIA_REPO)
    assert toolkit(node).commands == ("dnf install -y nvidia-container-toolkit",)


@pytest.mark.parametrize("folder", ["/usr/local/nvidia/toolkit", "/run/nvidia/driver"])
def test_toolkit_of_the_gpu_operator_is_not_a_package(folder: str) -> None:
    found = toolkit(debian(SimNode()).folder(folder))
    assert "GPU operator" in found.summary
    assert found.commands == ()


def test_k3s_has_to_be_restarted_to_find_the_runtime() -> None:
    node = repositories(fedora(SimNode()), NVIDIA_REPO).unit("k3s.service")
    path = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
    node.process(
        Proc(
            9, "containerd", ["containerd", "-c", path, "-a", "/run/k3s/containerd/containerd.sock"], "/k3s/containerd"
        )
    )
    assert toolkit(node).commands == ("sudo dnf install -y nvidia-container-toolkit", "sudo systemctl restart k3s")


@pytest.mark.parametrize(("service", "again"), [("rke2-server", ("sudo systemctl restart rke2-server",)), ("", ())])
def test_rke2_is_restarted_where_a_service_carries_it(service: str, again: tuple[str, ...]) -> None:
    node = repositories(fedora(SimNode()), NVIDIA_REPO)
    path = "/var/lib/rancher/rke2/agent/etc/containerd/config.toml"
    args = ["containerd", "-c", path, "-a", "/run/k3s/containerd/containerd.sock"]
    node.process(Proc(9, "containerd", args, "/var/lib/rancher/rke2/bin/containerd"))
    if service:
        node.unit(f"{service}.service")
    assert toolkit(node).commands == ("sudo dnf install -y nvidia-container-toolkit", *again)


def test_a_part_of_the_family_means_that_a_repository_is_there() -> None:
    node = packages(debian(SimNode()), "nvidia-container-toolkit-base 1.18.2-1")
    assert toolkit(node).commands == ("sudo apt-get install -y nvidia-container-toolkit",)


def test_where_packages_are_not_installed_anew_the_toolkit_is_asked_for() -> None:
    """rpm-ostree has no reinstall, and what the operator brings no package manager mends."""
    parts = ("nvidia-container-toolkit 1.18.2-1", "nvidia-container-toolkit-base 1.18.2-1")
    node = packages(system("fedora", "rpm-ostree", "dnf").put("/run/ostree-booted"), *parts, manager="rpm")
    ostree: Remedy = Remedies(views(node)).packages.program("nvidia-ctk")
    assert ostree.commands[0] == "sudo rpm-ostree install --idempotent nvidia-container-toolkit"
    operators = packages(debian(SimNode()), *parts).folder("/usr/local/nvidia/toolkit")
    found: Remedy = Remedies(views(operators)).packages.program("nvidia-ctk")
    assert found.commands == ()
    assert found.summary.startswith("The GPU operator brings nvidia-container-toolkit to this node")


def dpkg(node: SimNode, *lines: str) -> SimNode:
    text = "".join(f"pkg|deb|{line}\n" for line in lines)
    return node.answer(("packages of the toolkit",), f"manager deb\n{text}")


def test_a_package_whose_installation_broke_off_is_installed_anew() -> None:
    node = dpkg(debian(SimNode()), "nvidia-container-toolkit-base|1.18.2-1|half-installed|NVIDIA|install")
    remedy: Remedy = Remedies(views(node)).packages.program("nvidia-container-runtime")
    assert remedy.commands == ("sudo apt-get install -y --reinstall nvidia-container-toolkit-base",)


def test_a_part_that_was_removed_by_force_is_asked_for_by_its_name() -> None:
    """nvidia-container-toolkit is already the newest version, says apt."""
    node = dpkg(debian(SimNode()), "nvidia-container-toolkit|1.18.2-1|installed|NVIDIA|hold")
    remedy: Remedy = Remedies(views(node)).packages.program("nvidia-container-runtime")
    command = "sudo apt-get install -y --allow-change-held-packages nvidia-container-toolkit-base"
    assert remedy.commands == (command,)


def test_packages_on_hold_are_installed_all_the_same_and_it_is_said() -> None:
    base, other = "nvidia-container-toolkit-base", "libnvidia-container1|1.18.2-1|installed|NVIDIA|install"
    remedy = toolkit(dpkg(debian(SimNode()), f"{base}||not-installed||hold", other))
    assert remedy.commands == ("sudo apt-get install -y --allow-change-held-packages nvidia-container-toolkit",)
    assert f"{base}: on hold" in remedy.summary
    plain = toolkit(dpkg(debian(SimNode()), other))
    assert "hold" not in plain.summary + plain.commands[0]


def test_upgrades_name_the_packages_that_are_there() -> None:
    found = Remedies(views(debian(SimNode()))).packages.upgrade("a", "b c")
    assert found.commands == ("sudo apt-get update && sudo apt-get install -y --only-upgrade a 'b c'",)


def mended(node: SimNode) -> PackageRemedies:
    found: PackageRemedies = Remedies(views(node)).packages
    return found


def test_what_each_manager_types_to_upgrade_and_who_does_it_where_nobody_installs_packages() -> None:
    assert mended(fedora(SimNode())).upgrade("a").commands == ("sudo dnf upgrade -y a",)
    assert mended(fedora(SimNode())).upgrade("a", "b").summary == "Bring a, b up to date."
    assert "update the channel" in mended(system("nixos")).upgrade("a").summary
    nobody = mended(SimNode()).upgrade("a", "b")
    assert (nobody.summary, nobody.commands) == ("Bring a and b up to date by the means that built the node.", ())


@pytest.mark.parametrize("manager", ["yum", "tdnf", "microdnf"])
def test_without_curl_each_manager_of_rpms_installs_it_first(manager: str) -> None:
    found = toolkit(system("rocky", manager).remove("/usr/bin/curl"))
    assert found.commands[0] == f"sudo {manager} install -y curl"
    assert found.commands[1].startswith("curl -fsSL")


def test_an_image_of_ostree_has_curl() -> None:
    node = system("fedora", "rpm-ostree", "dnf").put("/run/ostree-booted").remove("/usr/bin/curl")
    assert toolkit(node).commands[0].startswith("curl -fsSL")


def test_a_newer_one_comes_with_a_newer_operator() -> None:
    found = mended(debian(SimNode()).folder("/usr/local/nvidia/toolkit"))
    assert found.upgrade("nvidia-container-toolkit").summary.endswith("; a newer one comes with a newer operator.")
    assert "newer" not in found.toolkit().summary


def test_microk8s_has_an_addon() -> None:
    path, socket = "/var/snap/microk8s/current/args/containerd.toml", "/var/snap/microk8s/common/run/containerd.sock"
    args = ["containerd", "--config", path, "--address", socket]
    node = debian(SimNode()).process(Proc(9, "containerd", args, "/snap/microk8s/1/bin/containerd"))
    assert toolkit(node).commands == ("sudo microk8s enable nvidia",)


def test_what_a_program_needs_beside_it_is_installed_anew_with_it() -> None:
    node = packages(debian(SimNode()), "libnvidia-container-tools 1.18.2-1")
    assert mended(node).program("nvidia-container-cli", "libnvidia-container1").commands == (
        "sudo apt-get install -y --reinstall libnvidia-container-tools libnvidia-container1",
    )


@pytest.mark.parametrize(
    "node", [debian(SimNode()), fedora(SimNode()), system("opensuse-leap", "zypper"), system("centos", "yum")]
)
def test_every_command_is_sh_and_writes_by_sudo_only(node: SimNode) -> None:
    for command in toolkit(node).commands:
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0
        assert not re.search(r">\s*/(?!dev/null)", command)


class TestProgram:
    """A program whose package is installed and whose file is gone comes back with the package, installed anew."""

    def test_of_an_installed_deb_is_installed_anew(self) -> None:
        node = packages(debian(SimNode()), "libnvidia-container-tools 1.18.2-1")
        command = "sudo apt-get install -y --reinstall libnvidia-container-tools"
        assert Remedies(views(node)).packages.program("nvidia-container-cli").commands == (command,)

    def test_of_an_installed_rpm_is_installed_anew(self) -> None:
        node = packages(fedora(SimNode()), "nvidia-container-toolkit-base 1.18.2-1", manager="rpm")
        command = "sudo dnf reinstall -y nvidia-container-toolkit-base"
        assert Remedies(views(node)).packages.program("nvidia-container-runtime").commands == (command,)

    def test_of_a_package_that_is_not_installed_brings_the_toolkit(self) -> None:
        remedies = Remedies(views(packages(debian(SimNode())))).packages
        assert remedies.program("nvidia-container-cli") == remedies.toolkit()
