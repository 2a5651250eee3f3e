"""The driver's checks on whole nodes, on the bus, beside nouveau, and on other machines than servers."""

from __future__ import annotations

import pytest

from pytest_gpuready.checks.driver import MESSAGES
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.views import Views
from tests.support import driver as d
from tests.support.driver import commands, evidence, failed, find, ubuntu, unloaded
from tests.support.simnode import Entry, SimNode

GPU = f"{d.address(0)} 10de:2330"
FEDORA = "NAME=Fedora\nID=fedora\n"


class TestHealthy:
    @pytest.mark.parametrize("gpus", [1, 4, 8])
    def test_every_check_of_the_driver_holds(self, gpus: int) -> None:
        report = d.h100(SimNode(), gpus).judge()
        seen = {name: finding.status for name, finding in report.findings.items() if name.startswith("driver.")}
        assert set(seen.values()) <= {"pass", "not-applicable"}, seen
        assert seen["driver.nvml-answers"] == "pass"
        assert len(seen) == 15

    def test_a_healthy_node_is_asked_in_two_rounds(self) -> None:
        node, facts, rounds = d.h100(SimNode(), 8), Facts("local"), 0
        while wanted := [request for request in Views(facts).wants() if request not in facts]:
            rounds += 1
            for request in wanted:
                node._answer_into(facts, request)
        assert rounds <= 2

    def test_more_than_sixteen_gpus_have_their_nodes_looked_at(self) -> None:
        node = d.h100(SimNode(), 18)
        assert find(node, "device-nodes").status == "pass"
        node.remove("/dev/nvidia17")
        assert "/dev/nvidia17 is not there" in find(node, "device-nodes").outcome.found


class TestBus:
    def test_no_device_of_nvidia_fails(self) -> None:
        finding = find(d.pci(ubuntu()), "gpu-on-bus")
        assert finding.status == "fail"
        assert finding.outcome.remedy is not None

    def test_an_audio_function_alone_is_no_gpu_and_is_named(self) -> None:
        finding = find(d.pci(ubuntu(), ("0000:01:00.1", 0x22BA, 0x040300, "snd_hda_intel")), "gpu-on-bus")
        assert finding.status == "fail"
        assert "0000:01:00.1 10de:22ba (snd_hda_intel)" in finding.outcome.found

    def test_without_a_bus_in_sysfs_it_is_unknown(self) -> None:
        assert find(ubuntu().answer(("PCI devices of NVIDIA",), "nobus\n"), "gpu-on-bus").status == "unknown"

    def test_everything_else_is_blocked_by_it(self) -> None:
        report = d.pci(unloaded(ubuntu())).judge()
        assert report.findings["driver.module-loaded"].blocked_by == ("driver.gpu-on-bus",)
        assert report.findings["driver.nvml-answers"].status == "blocked"

    def test_the_gpus_are_listed_or_other_devices_of_nvidia(self) -> None:
        assert find(ubuntu(), "gpu-on-bus").outcome.found == f"1 on the bus: {GPU} (nvidia)"
        empty = d.pci(ubuntu())
        assert failed(empty, "gpu-on-bus") == "no NVIDIA GPU among the PCI devices"
        assert evidence(empty, "gpu-on-bus") == [("sysfs, PCI devices of vendor 10de", "none")]
        sound, words = d.pci(ubuntu(), ("0000:01:00.1", 0x22BA, 0x040300, "")), "0000:01:00.1 10de:22ba (no driver)"
        assert failed(sound, "gpu-on-bus") == f"no NVIDIA GPU among the PCI devices; of NVIDIA there is only {words}"
        assert [text for _, text in evidence(sound, "gpu-on-bus")] == [words]


class TestNouveau:
    def test_a_gpu_that_nouveau_holds_gets_a_drop_in(self) -> None:
        finding = find(d.gpus_on_bus(unloaded(ubuntu()), driver="nouveau"), "nouveau-absent")
        assert finding.status == "fail"
        assert finding.outcome.found == "nouveau holds 0000:00:06.0"
        assert commands(finding).splitlines() == [
            "sudo tee /etc/modprobe.d/blacklist-nouveau.conf <<'EOF'",
            "blacklist nouveau",
            "options nouveau modeset=0",
            "EOF",
            "sudo update-initramfs -u",
            "sudo reboot",
        ]

    def test_on_fedora_dracut_makes_the_ramdisk(self) -> None:
        fedora = SimNode().put("/etc/os-release", FEDORA).program("/usr/bin/dracut")
        node = d.gpus_on_bus(unloaded(d.h100(fedora)), driver="nouveau")
        assert "dracut --force" in commands(find(node, "nouveau-absent"))

    def test_a_machine_without_an_initial_ramdisk_is_told_of_none(self) -> None:
        node = d.gpus_on_bus(unloaded(ubuntu().remove("/usr/sbin/update-initramfs")), driver="nouveau")
        assert "update-initramfs" not in commands(find(node, "nouveau-absent"))

    def test_every_gpu_that_nouveau_holds_is_named(self) -> None:
        node = d.gpus_on_bus(unloaded(ubuntu()), 2, driver="nouveau")
        assert failed(node, "nouveau-absent") == f"nouveau holds {d.address(0)}, {d.address(1)}"
        assert len(evidence(node, "nouveau-absent")) == 1
        assert find(ubuntu(), "nouveau-absent").outcome.found == "no GPU is bound to nouveau"

    def test_its_module_alone_is_no_fault(self) -> None:
        loaded = find(ubuntu().folder("/sys/module/nouveau"), "nouveau-absent")
        words = "no GPU is bound to nouveau (its module is loaded and holds none)"
        assert (loaded.status, loaded.outcome.found) == ("pass", words)

    @pytest.mark.parametrize("rival", ["nova-core", "nova_core", "NovaCore"])
    def test_nova_holds_gpus_as_nouveau_does(self, rival: str) -> None:
        assert (
            failed(d.gpus_on_bus(unloaded(ubuntu()), driver=rival), "nouveau-absent") == f"{rival} holds {d.address(0)}"
        )


class TestOtherMachines:
    def wsl(self) -> SimNode:
        node = SimNode(kernel="Linux 5.15.167.4-microsoft-standard-WSL2 x86_64").device("/dev/dxg", 10, 125)
        d.pci(node)
        d.libraries(node, *d.both("wsl", "/usr/lib/wsl/lib", version=None))
        node.program("/usr/lib/wsl/lib/nvidia-smi")
        return d.smi(node, d.smi_xml(d.gpu_xml(name="NVIDIA GeForce RTX 4090", minor="N/A"), version="566.36"))

    def test_wsl_is_judged_by_its_own_rules(self) -> None:
        report = self.wsl().judge()
        seen = {name[7:]: finding.status for name, finding in report.findings.items() if name.startswith("driver.")}
        assert seen["gpu-on-bus"] == seen["nvml-answers"] == seen["library-present"] == "pass"
        assert {
            seen[name] for name in ("module-loaded", "device-nodes", "uvm-node", "versions-match", "gpu-count")
        } == {"not-applicable"}

    def test_wsl_without_dxg_fails_and_asks_nothing(self) -> None:
        node = self.wsl().remove("/dev/dxg")
        finding = find(node, "gpu-on-bus")
        assert finding.status == "fail"
        assert "wsl.exe --update" in commands(finding)
        assert not [request for request, _ in node.facts() if "nvidia-smi -q -x" in request.arg]

    def test_a_kernel_of_azures_is_judged_as_any_other(self) -> None:
        node = d.h100(SimNode(kernel="Linux 5.15.0-1075-azure x86_64"))
        assert find(node, "device-nodes").status == "pass"

    def test_tegra_is_judged_by_its_own_rules(self) -> None:
        node = d.pci(SimNode(kernel="Linux 5.15.148-tegra aarch64").put("/etc/nv_tegra_release", "# R36\n"))
        head = d.ELF64.replace("3e 00", "b7 00")
        d.libraries(
            node, d.library("cache", "/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1", version="1.1", head=head)
        )
        seen = {name[7:]: f.status for name, f in node.judge().findings.items() if name.startswith("driver.")}
        assert seen["gpu-on-bus"] == seen["library-present"] == "pass"
        assert {seen[name] for name in ("module-loaded", "device-nodes", "nvml-answers", "gpu-count")} == {
            "not-applicable"
        }


class TestDenied:
    def test_an_unreadable_proc_is_blocked_by_privileges(self) -> None:
        node = ubuntu()
        node.tree["/proc/devices"] = Entry(b"x", denied=True)
        assert find(node, "device-nodes").blocked_by == ("node.privileges",)

    def test_a_hidden_kernel_log_blocks_the_advisory_check_alone(self) -> None:
        node = ubuntu().answer(("kernel log",), "denied\n")
        report = node.judge()
        assert report.findings["driver.xid"].status == "blocked"
        assert report.findings["driver.nvml-answers"].status == "pass"

    def test_the_kernel_log_that_timed_out_is_unknown(self) -> None:
        node = ubuntu().answer(("kernel log",), "", state="timeout")
        assert find(node, "xid").status == "unknown"


def test_each_message_of_the_driver_is_there_once() -> None:
    assert len({message.text for message in MESSAGES}) == len(MESSAGES) >= 15


def test_no_program_of_nvidias_runs_in_the_first_round() -> None:
    """Modules and /dev are read first; what could load or make them is not among the first questions."""
    first = list(Views(Facts("ssh://n1")).wants())
    assert first
    assert not [request for request in first if request.kind == "script" and "NVML" in request.arg[0]]
    assert not [
        request for request in first if request.arg[0] in ("nvidia-smi", "nvidia-modprobe", "nvidia-container-cli")
    ]
