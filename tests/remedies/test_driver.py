"""The driver's remedies: every command is whole, quoted, and of this distribution."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.views.driver import NodeFault
from pytest_gpuready.views.nvsmi import Gpu
from tests.support import driver as d
from tests.support.distributions import DISTRIBUTIONS, node
from tests.support.remedies import parts

if TYPE_CHECKING:
    from pytest_gpuready.model import Remedy
    from tests.support.simnode import SimNode


def every(made: SimNode) -> list[Remedy]:
    """Every remedy of both parts on this node."""
    driver, gpus = parts(made)
    gpu = Gpu(0, bus_id="0000:00:06.0")
    return [
        driver.no_gpu(),
        driver.nouveau("nouveau"),
        driver.install(),
        driver.install("open"),
        driver.install("proprietary"),
        driver.build(),
        driver.load(),
        driver.allow("/etc/modprobe.d/x y.conf", 3, "blacklist nvidia"),
        driver.allow_on_cmdline(["modprobe.blacklist=nvidia"]),
        driver.sign(None),
        driver.sign("somebody"),
        driver.reload("580.1", "580.2"),
        driver.reload("580.1", d.VERSION),
        driver.reboot_for_version(),
        driver.ldconfig(),
        driver.loader_path("/usr/local/nvidia/lib64"),
        driver.libraries(),
        driver.nodes({255: NodeFault("/dev/nvidiactl", "x"), 0: NodeFault("/dev/nvidia0", "x", missing=True)}),
        driver.uvm(loaded=True),
        driver.uvm(loaded=False),
        gpus.hung(),
        gpus.ask_by_hand(),
        gpus.reset([gpu]),
        gpus.reset([gpu], reboot=True),
        gpus.replace(),
        gpus.missing("0000:00:06.0"),
        gpus.mig([gpu]),
        gpus.mig_compute([gpu]),
        gpus.none_driven([]),
        gpus.none_driven(gpus.driver.gpus_on_bus),
        gpus.fabric_manager(installed=False, version=None, running=False),
        gpus.fabric_manager(installed=True, version="1.2", running=True),
        gpus.fabric_manager(installed=True, version=d.VERSION, running=False),
        gpus.fabric_elsewhere(),
        gpus.persistence(),
        gpus.stale_socket(),
        gpus.xid(),
    ]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_remedy_says_what_to_do_and_is_shell(name: str) -> None:
    for remedy in every(node(name)):
        assert len(remedy.summary) > 10
        for command in remedy.commands:
            done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False, timeout=10)
            assert done.returncode == 0, (command, done.stderr)
            assert "None" not in command


def test_where_there_is_no_sudo_and_the_user_is_root_nothing_says_sudo() -> None:
    assert not [command for remedy in every(node(sudo=False)) for command in remedy.commands if "sudo" in command]


def test_where_there_is_sudo_what_changes_the_node_says_sudo() -> None:
    looks = (
        "lspci",
        "nvidia-smi -q",
        "/usr/bin/nvidia-smi",
        "mokutil --sb-state",
        "ubuntu-drivers list",
        "kubectl",
        "wsl.exe",
        "echo ",
    )
    for remedy in every(node()):
        for command in remedy.commands:
            assert command.startswith(("sudo ", *looks)), command


def test_ubuntus_server_branch_is_told_by_its_folder() -> None:
    made = node()
    made.answer(
        ("nvidia module on disk",), f"dep /lib/modules/{d.KERNEL}/modules.dep:kernel/nvidia-580srv/nvidia.ko:\n"
    )
    driver, _ = parts(made)
    assert "libnvidia-compute-580-server" in driver.libraries().commands[0]


def test_nvidia_modprobe_makes_all_device_nodes() -> None:
    driver, _ = parts(node())
    faults = {number: NodeFault(f"/dev/nvidia{number}", "x") for number in (1, 0, 255)}
    assert driver.nodes(faults).commands == ("sudo nvidia-modprobe -c=0 -c=1 -c=255",)
    for loaded in (True, False):
        assert driver.uvm(loaded=loaded).commands == ("sudo nvidia-modprobe -u -c=0 -c=1",)


def test_without_nvidia_modprobe_both_modules_are_loaded() -> None:
    driver, _ = parts(node().remove("/usr/bin/nvidia-modprobe"))
    assert driver.load().commands[:2] == ("sudo modprobe nvidia", "sudo modprobe nvidia-uvm")


def test_nodes_are_made_anew_where_something_else_stands_in_their_place() -> None:
    driver, _ = parts(node().remove("/usr/bin/nvidia-modprobe"))
    faults = {
        0: NodeFault("/dev/nvidia0", "is a folder"),
        1: NodeFault("/dev/nvidia1", "has mode 0600", mode=0o666),
        2: NodeFault("/dev/nvidia2", "belongs to user 7", owner="0"),
        255: NodeFault("/dev/nvidiactl", "is not there", missing=True),
    }
    assert driver.nodes(faults).commands == (
        "sudo rm -rf /dev/nvidia0",
        "sudo mknod -m 666 /dev/nvidia0 c 195 0",
        "sudo chmod 666 /dev/nvidia1",
        "sudo chown 0 /dev/nvidia2",
        "sudo mknod -m 666 /dev/nvidiactl c 195 255",
    )


def test_where_the_driver_may_not_modify_device_files_they_are_made_by_hand() -> None:
    driver, _ = parts(node().put("/proc/driver/nvidia/params", "ModifyDeviceFiles: 0\n"))
    assert driver.nodes({0: NodeFault("/dev/nvidia0", "x", missing=True)}).commands == (
        "sudo mknod -m 666 /dev/nvidia0 c 195 0",
    )


def test_uvm_without_nvidia_modprobe_takes_the_major_from_proc() -> None:
    driver, _ = parts(node().remove("/usr/bin/nvidia-modprobe"))
    major = "$(awk '$2 == \"nvidia-uvm\" {print $1}' /proc/devices)"
    nodes = (
        "sudo rm -rf /dev/nvidia-uvm /dev/nvidia-uvm-tools",
        f"sudo mknod -m 666 /dev/nvidia-uvm c {major} 0",
        f"sudo mknod -m 666 /dev/nvidia-uvm-tools c {major} 1",
    )
    assert driver.uvm(loaded=False).commands == ("sudo modprobe nvidia-uvm", *nodes)
    assert driver.uvm(loaded=True).commands == nodes
    assert driver.uvm(loaded=False).summary.startswith("Load nvidia-uvm and make its device nodes")
    assert driver.uvm(loaded=True).summary.startswith("Make its device nodes")


def test_a_path_of_the_nodes_stays_one_word() -> None:
    driver, _ = parts(node())
    command = driver.allow("/etc/modprobe.d/a'; reboot #.conf", 1, "x").commands[0]
    assert shlex.split(command)[-1] == "/etc/modprobe.d/a'; reboot #.conf"


def test_a_line_is_commented_out_where_it_stands() -> None:
    driver, _ = parts(node())
    remedy = driver.allow("/etc/modprobe.d/x.conf", 2, "blacklist nvidia")
    assert remedy.commands[0] == "sudo sed -i '2s/^/# /' /etc/modprobe.d/x.conf"
    assert remedy.edits[0].diff.splitlines()[-2:] == ["-blacklist nvidia", "+# blacklist nvidia"]
