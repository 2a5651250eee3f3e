"""GPUs that NVML counts, finds sick, or partitions."""

from __future__ import annotations

import pytest

from tests.support import driver as d
from tests.support.driver import commands, evidence, failed, find, lists, ubuntu
from tests.support.reference import DATA, reference
from tests.support.simnode import SimNode


class TestCount:
    def test_a_gpu_that_nvml_does_not_list_fails_by_its_address(self) -> None:
        finding = find(d.smi(ubuntu(4), d.smi_xml(*[d.gpu_xml(n) for n in (0, 1, 3)])), "gpu-count")
        assert finding.status == "fail"
        assert finding.outcome.found == "NVML lists 3, the bus has 4 bound to nvidia; missing in NVML: 0000:00:08.0"
        assert "0000:00:08.0" in commands(finding)

    def test_a_gpu_given_to_a_virtual_machine_is_named_and_no_fault(self) -> None:
        made = d.pci(
            ubuntu(), (d.address(0), d.H100, 0x030200, "nvidia"), ("0000:81:00.0", d.H100, 0x030200, "vfio-pci")
        )
        finding = find(made, "gpu-count")
        assert finding.status == "pass"
        assert "0000:81:00.0 is given to vfio-pci" in finding.outcome.found

    def test_an_excluded_gpu_is_named_and_no_fault(self) -> None:
        made = d.information(ubuntu(2), 1, excluded=True)
        finding = find(d.smi(made, d.smi_xml(d.gpu_xml(0))), "gpu-count")
        assert finding.status == "pass"
        assert f"{d.address(1)} is excluded from the driver" in finding.outcome.found

    def test_virtual_functions_are_not_counted(self) -> None:
        made = d.pci(
            ubuntu(),
            (d.address(0), 0x20B0, 0x030200, "nvidia"),
            ("0000:00:06.4", 0x20B0, 0x030200, "nvidia"),
            virtual=["0000:00:06.4"],
        )
        assert find(made, "gpu-count").status == "pass"

    def test_the_bus_is_the_evidence_of_a_count_that_differs(self) -> None:
        node = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0)))
        assert evidence(node, "gpu-count") == [
            ("sysfs", f"{d.address(0)} 10de:2330 (nvidia)\n{d.address(1)} 10de:2330 (nvidia)")
        ]
        assert find(node, "gpu-count").outcome.expected == f"2 GPUs: {d.address(0)}, {d.address(1)}"
        assert find(ubuntu(), "gpu-count").outcome.found == "1 in NVML as on the bus"

    def test_a_gpu_in_nvml_alone_is_told(self) -> None:
        node = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0), d.gpu_xml(1)))
        assert failed(node, "gpu-count") == (
            f"NVML lists 2, the bus has 1 bound to nvidia; not on the bus: {d.address(1)}"
        )
        assert d.address(1) in commands(find(node, "gpu-count"))

    def test_two_that_nvml_lists_and_the_bus_has_otherwise_are_told_apart(self) -> None:
        """A GPU whose address NVML does not tell may be any: none is called missing."""
        untold = lists(d.gpu_xml(0, bus="N/A"), d.gpu_xml(5))
        assert failed(untold, "gpu-count") == (
            f"NVML lists 2, the bus has 2 bound to nvidia; not on the bus: {d.address(5)}"
        )
        given = d.pci(
            lists(d.gpu_xml(0), d.gpu_xml(2)),
            *[(d.address(number), d.H100, 0x030200, "vfio-pci" if number == 2 else "nvidia") for number in range(3)],
        )
        assert failed(given, "gpu-count") == (
            f"NVML lists 2, the bus has 2 bound to nvidia; missing in NVML: {d.address(1)}; "
            f"{d.address(2)} is given to vfio-pci"
        )

    def test_a_gpu_without_a_driver_is_looked_for_in_the_log(self) -> None:
        node = d.pci(ubuntu(), (d.address(0), d.H100, 0x030200, "nvidia"), ("0000:81:00.0", 0x0FFD, 0x030000, ""))
        found = find(node, "gpu-count")
        words = "1 GPUs in NVML as on the bus; without a driver: 0000:81:00.0"
        assert (found.status, found.outcome.found) == ("warn", words)
        assert "0000:81:00.0" in commands(found)

    def test_gpus_whose_addresses_nvml_does_not_tell_are_counted(self) -> None:
        untold = d.gpu_xml(0, bus="N/A")
        assert find(lists(untold), "gpu-count").outcome.found == "1 in NVML as on the bus"
        fewer = d.smi(d.h100(SimNode(), 2), d.smi_xml(untold))
        assert failed(fewer, "gpu-count") == "NVML lists 1, the bus has 2 bound to nvidia"
        assert d.address(0) in commands(find(fewer, "gpu-count"))
        assert find(lists(untold, d.gpu_xml(1)), "gpu-count").outcome.found == "2 in NVML as on the bus"


class TestHealth:
    @pytest.mark.parametrize(
        ("said", "words", "command"),
        [
            ({"memory": "GPU is lost"}, "is lost", "sudo reboot"),
            ({"pstate": "GPU requires reset"}, "requires a reset", "sudo nvidia-smi --gpu-reset -i 0"),
            ({"recovery": "Reset"}, "asks for recovery: Reset", "sudo nvidia-smi --gpu-reset -i 0"),
            ({"recovery": "Reboot"}, "asks for recovery: Reboot", "sudo reboot"),
            ({"retirement": "Yes"}, "retirement waits", "sudo nvidia-smi --gpu-reset -i 0"),
            ({"remap_pending": "Yes"}, "remapping waits", "sudo nvidia-smi --gpu-reset -i 0"),
            ({"remap_failure": "Yes"}, "could not remap", "sudo nvidia-bug-report.sh"),
            ({"repair": "Yes"}, "repair that waits", "sudo nvidia-smi --gpu-reset -i 0"),
            ({"unrepairable": "Yes"}, "cannot be repaired", "sudo nvidia-bug-report.sh"),
        ],
    )
    def test_each_complaint_fails(self, said: dict[str, str], words: str, command: str) -> None:
        finding = find(d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, **said))), "gpu-health")
        assert finding.status == "fail"
        assert words in finding.outcome.found
        assert commands(finding) == command

    def test_a_gpu_that_says_nothing_of_its_memory_passes(self) -> None:
        said = dict.fromkeys(
            ("recovery", "retirement", "remap_pending", "remap_failure", "repair", "unrepairable"), "N/A"
        )
        assert find(d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, **said))), "gpu-health").status == "pass"

    def test_each_sick_gpu_is_shown_once_with_all_that_it_says(self) -> None:
        node = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0, retirement="Yes", remap_pending="Yes"), d.gpu_xml(1)))
        said = failed(node, "gpu-health")
        assert said.count(f"GPU 0 ({d.address(0)}) ") == 2
        shown = evidence(node, "gpu-health")
        assert len(shown) == 1
        assert shown[0][1] == f"{d.address(0)} {d.uuid(0)} NVIDIA H100 80GB HBM3"
        assert find(d.h100(SimNode(), 2), "gpu-health").outcome.found == "2 GPUs, none with a complaint"

    def test_a_gpu_without_an_address_is_named_by_its_uuid(self) -> None:
        node = lists(d.gpu_xml(0, bus="N/A", retirement="Yes"))
        assert failed(node, "gpu-health").startswith(f"GPU 0 ({d.uuid(0)}) ")
        assert [text for _, text in evidence(node, "gpu-health")] == [f"{d.uuid(0)} NVIDIA H100 80GB HBM3"]
        nobody = lists(d.gpu_xml(0), d.gpu_xml(1, bus="N/A", uuid="N/A", retirement="Yes"))
        assert failed(nobody, "gpu-health").startswith("GPU 1 (?) ")

    def test_a_gpu_without_recovery_action_is_reset_for_pending_pages(self) -> None:
        node = lists(d.gpu_xml(0, recovery="N/A", retirement="Yes"))
        assert commands(find(node, "gpu-health")) == "nvidia-smi --gpu-reset -i 0"


class TestMig:
    def test_on_without_an_instance_fails(self) -> None:
        finding = find(d.smi(ubuntu(2), d.smi_xml(d.gpu_xml(0, mig="Enabled"), d.gpu_xml(1))), "mig-instances")
        assert finding.status == "fail"
        assert "GPU 0 (0000:00:06.0)" in finding.outcome.found
        assert commands(finding) == "sudo nvidia-smi mig -i 0 -lgip"

    def test_gpu_instances_without_compute_instances_are_told_apart(self) -> None:
        made = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, mig="Enabled")))
        made.folder("/proc/driver/nvidia/capabilities/gpu0/mig/gi1").folder(
            "/proc/driver/nvidia/capabilities/gpu0/mig/gi2"
        )
        finding = find(made, "mig-instances")
        assert "GPU instances without a compute instance: GPU 0" in finding.outcome.found
        assert finding.outcome.evidence[0].text == "2 GPU instances"
        assert commands(finding).splitlines()[0] == "sudo nvidia-smi mig -i 0 -cci"

    def test_on_with_instances_passes(self) -> None:
        xml = d.smi_xml(d.gpu_xml(0, mig="Enabled", mig_devices=d.mig_xml(0, 7) + d.mig_xml(1, 8)))
        assert find(d.smi(ubuntu(), xml), "mig-instances").outcome.found == "GPU 0: 2 MIG devices"

    def test_a_pending_change_is_said(self) -> None:
        finding = find(d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, mig_pending="Enabled"))), "mig-instances")
        assert finding.status == "not-applicable"
        assert "after the next reset: GPU 0 Enabled" in finding.outcome.found

    def test_mig_that_is_off_everywhere_says_just_that(self) -> None:
        assert find(ubuntu(), "mig-instances").outcome.found == "MIG is off on every GPU"

    def test_a_gpu_whose_mig_goes_off_at_the_next_reset_says_so(self) -> None:
        xml = d.smi_xml(d.gpu_xml(0, mig="Enabled", mig_pending="Disabled", mig_devices=d.mig_xml(0, 7)))
        assert find(d.smi(ubuntu(), xml), "mig-instances").outcome.found == (
            "GPU 0: 1 MIG devices; after the next reset: GPU 0 Disabled"
        )
        unsaid = lists(d.gpu_xml(0, mig="Enabled", mig_pending="N/A", mig_devices=d.mig_xml(0, 7)))
        assert find(unsaid, "mig-instances").outcome.found == "GPU 0: 1 MIG devices"

    def test_unreadable_gpu_instances_still_leave_mig_a_fault(self) -> None:
        node = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, mig="Enabled", minor="N/A")))
        assert failed(node, "mig-instances") == f"MIG is on without a MIG device: GPU 0 ({d.address(0)})"
        assert commands(find(node, "mig-instances"))


@reference
@pytest.mark.parametrize(
    ("case", "health", "fabric_", "answers"),
    [
        ("01-xml-a100", "pass", "not-applicable", "pass"),
        ("02-xml-t4", "pass", "not-applicable", "pass"),
        ("03-xml-l40s", "pass", "not-applicable", "pass"),
        ("04-xml-h100-two-of-eight", "pass", "pass", "pass"),
        ("05-xml-b200-two-of-eight", "pass", "pass", "pass"),
        ("06-xml-gb200-two-of-four", "pass", "pass", "pass"),
        ("07-xml-gb300-two-of-four", "pass", "pass", "pass"),
        ("08-xml-gb200-gpu-lost", "fail", "pass", "pass"),
        ("09-xml-gb200-fabric-degraded", "pass", "fail", "pass"),
        ("10-xml-gb200-ecc", "fail", "pass", "pass"),
        ("11-xml-aicr-570", "pass", "pass", "pass"),
    ],
)
def test_real_outputs_are_judged_by_what_is_wrong_in_them(case: str, health: str, fabric_: str, answers: str) -> None:
    made = ubuntu()
    made.remove("/proc/driver/nvidia/gpus")
    d.smi(made, (DATA / "nvsmi" / case / "stdout.xml").read_text("utf-8"))
    report = made.judge()
    assert report.findings["driver.nvml-answers"].status == answers
    assert report.findings["driver.gpu-health"].status == health
    assert report.findings["driver.fabric-manager"].status == fabric_
