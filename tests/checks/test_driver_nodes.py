"""The device nodes in /dev: there, with the right numbers and modes, the ones of uvm too."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Where
from tests.support import driver as d
from tests.support.driver import commands, evidence, failed, find, ubuntu
from tests.support.simnode import SimNode


class TestNodes:
    @pytest.mark.parametrize("path", ["/dev/nvidiactl", "/dev/nvidia0"])
    def test_a_missing_node_fails_and_is_made(self, path: str) -> None:
        finding = find(ubuntu().remove(path), "device-nodes")
        assert finding.outcome.found == f"{path} is not there"
        assert commands(finding) == f"sudo nvidia-modprobe -c={255 if path.endswith('ctl') else 0}"

    def test_without_nvidia_modprobe_mknod_makes_it(self) -> None:
        finding = find(ubuntu().remove("/dev/nvidia0", "/usr/bin/nvidia-modprobe"), "device-nodes")
        assert commands(finding) == "sudo mknod -m 666 /dev/nvidia0 c 195 0"

    @pytest.mark.parametrize("mode", [0o600, 0o000, 0o660, 0o444])
    def test_a_mode_that_keeps_users_out_fails(self, mode: int) -> None:
        finding = find(ubuntu().device("/dev/nvidia0", 195, 0, mode=mode), "device-nodes")
        assert finding.status == "fail"
        assert f"has mode {mode:04o}" in finding.outcome.found

    def test_a_mode_that_the_drivers_parameters_ask_for_passes(self) -> None:
        node = ubuntu().device("/dev/nvidia0", 195, 0, mode=0o660).device("/dev/nvidiactl", 195, 255, mode=0o660)
        node.put("/proc/driver/nvidia/params", "DeviceFileUID: 0\nDeviceFileMode: 432\n")
        assert find(node, "device-nodes").status == "pass"

    @pytest.mark.parametrize("numbers", [(195, 1), (194, 0), (10, 0)])
    def test_wrong_numbers_fail(self, numbers: tuple[int, int]) -> None:
        assert "has the numbers" in find(ubuntu().device("/dev/nvidia0", *numbers), "device-nodes").outcome.found

    def test_a_folder_in_its_place_fails(self) -> None:
        assert "is a folder" in find(ubuntu().folder("/dev/nvidia0"), "device-nodes").outcome.found

    def test_a_module_that_drives_no_gpu_fails_and_names_who_has_them(self) -> None:
        node = d.gpus_on_bus(ubuntu().remove("/proc/driver/nvidia/gpus"), driver="vfio-pci")
        finding = find(node, "device-nodes")
        assert finding.status == "fail"
        assert "drives no GPU: 0000:00:06.0 10de:2330 (vfio-pci)" in finding.outcome.found
        assert "drivers_probe" in commands(finding)
        assert not [request for request, _ in node.facts() if "nvidia-smi -q -x" in request.arg]

    def test_an_excluded_gpu_needs_no_node(self) -> None:
        node = d.information(d.h100(SimNode(), 2), 1, excluded=True).remove("/dev/nvidia1")
        assert find(node, "device-nodes").status == "pass"

    def test_while_they_are_missing_nvml_is_not_asked(self) -> None:
        node = ubuntu().remove("/dev/nvidia0")
        assert not [request for request, _ in node.facts() if "nvidia-smi -q -x" in request.arg]
        assert find(node, "nvml-answers").blocked_by == ("driver.device-nodes",)

    def test_the_nodes_that_are_there_are_named_with_their_major(self) -> None:
        assert (
            find(d.h100(SimNode(), 2), "device-nodes").outcome.found == "/dev: nvidiactl, nvidia0, nvidia1, major 195"
        )
        node = d.h100(SimNode(), 2).remove("/dev/nvidia1", "/dev/nvidiactl")
        found = find(node, "device-nodes").outcome
        assert found.where is not None
        assert found.where.path in ("/dev/nvidia1", "/dev/nvidiactl")
        assert found.expected == "/dev: nvidiactl, nvidia0, nvidia1, character devices of major 195, openable"
        assert "-c=1" in commands(find(node, "device-nodes"))
        assert "-c=255" in commands(find(node, "device-nodes"))

    def test_a_module_without_a_gpu_on_the_bus_says_so(self) -> None:
        node = d.pci(ubuntu().remove("/proc/driver/nvidia/gpus"), ("0000:01:00.0", d.H100, 0x030200, ""))
        assert failed(node, "device-nodes") == "the module nvidia drives no GPU: 0000:01:00.0 10de:2330 (no driver)"
        assert evidence(node, "device-nodes")


class TestUvm:
    def test_uvm_not_loaded_fails(self) -> None:
        node = ubuntu().remove("/sys/module/nvidia_uvm", "/dev/nvidia-uvm")
        node.put("/proc/devices", "Character devices:\n195 nvidia\n\nBlock devices:\n")
        finding = find(node, "uvm-node")
        assert finding.status == "fail"
        assert commands(finding) == "sudo nvidia-modprobe -u -c=0 -c=1"

    def test_uvm_of_yesterdays_major_fails(self) -> None:
        assert (
            "numbers 511,0; the driver's are 238,0"
            in find(ubuntu().device("/dev/nvidia-uvm", 511, 0), "uvm-node").outcome.found
        )

    def test_uvm_tools_may_be_absent(self) -> None:
        assert find(ubuntu().remove("/dev/nvidia-uvm-tools"), "uvm-node").status == "pass"

    def test_uvm_says_whether_its_module_or_its_major_is_missing(self) -> None:
        nothing = "Character devices:\n195 nvidia\n\nBlock devices:\n"
        loaded = ubuntu().put("/proc/devices", nothing)
        assert failed(loaded, "uvm-node") == "the module nvidia_uvm is loaded and has no major in /proc/devices"
        gone = ubuntu().remove("/sys/module/nvidia_uvm").put("/proc/devices", nothing)
        assert failed(gone, "uvm-node") == "the module nvidia_uvm is not loaded"
        assert find(ubuntu(), "uvm-node").outcome.found == "/dev/nvidia-uvm, major 238"

    def test_a_wrong_uvm_node_is_shown_and_made_anew(self) -> None:
        found = find(ubuntu().remove("/dev/nvidia-uvm"), "uvm-node")
        assert (found.outcome.found, found.outcome.where) == ("/dev/nvidia-uvm is not there", Where("/dev/nvidia-uvm"))
        assert commands(found)
        tools = ubuntu().device("/dev/nvidia-uvm-tools", 511, 1)
        assert "/dev/nvidia-uvm-tools has the numbers" in failed(tools, "uvm-node")
