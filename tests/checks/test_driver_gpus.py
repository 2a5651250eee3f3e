"""The checks that ask NVML: hangs, empty answers, lost, sick, partitioned and unjoined GPUs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from tests.support import driver as d
from tests.support.reference import DATA, reference
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding


def node(gpus: int = 1) -> SimNode:
    """A healthy node with apt and sudo."""
    release = "ID=ubuntu\nID_LIKE=debian\n"
    return d.h100(SimNode().put("/etc/os-release", release).program("/usr/bin/apt-get").program("/usr/bin/sudo"), gpus)


def find(made: SimNode, check: str = "nvml-answers") -> Finding:
    """The finding of one check."""
    return made.judge().findings[f"driver.{check}"]


def commands(finding: Finding) -> str:
    """The remedy's commands, one per line."""
    assert finding.outcome.remedy is not None, finding.outcome
    return "\n".join(finding.outcome.remedy.commands)


class TestAnswers:
    def test_what_it_says_is_said(self) -> None:
        finding = find(node(2))
        assert finding.outcome.found == "2 x NVIDIA H100 80GB HBM3; driver 580.159.04, CUDA 13.0"

    def test_a_hang_is_a_failure(self) -> None:
        finding = find(d.smi(node(), rc=124, state="timeout"))
        assert finding.status == "fail"
        assert "did not end within 10 s" in finding.outcome.found

    def test_where_nvml_answers_pynvml_the_fault_is_nvidia_smis(self) -> None:
        said = {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": d.uuid(0)}]}
        finding = find(d.smi(node(), "").answer(("NVML by pynvml",), json.dumps(said)))
        assert finding.status == "fail"
        assert finding.outcome.evidence[1].text == "NVML lists 1 GPUs: the fault is in /usr/bin/nvidia-smi"

    def test_the_nodes_own_deadline_is_no_answer_of_nvmls(self) -> None:
        made = node().answer(("nvidia-smi -q -x",), "", rc=0, state="timeout")
        made.answers[0] = (made.answers[0][0], dataclasses.replace(made.answers[0][1], rc=None, note="not reached"))
        assert find(made).status == "unknown"

    @pytest.mark.parametrize(
        ("output", "rc", "words"),
        [
            ("", 0, "printed nothing and exited with 0"),
            ("\n\n", 0, "printed nothing and exited with 0"),
            ("ok\n", 0, "printed something else"),
            ("<html>", 0, "printed something else"),
            ("No devices were found\n", 0, "lists no GPU"),
            ("No devices were found\n", 6, "lists no GPU"),
            (d.smi_xml(), 0, "lists no GPU"),
            (
                "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.173\n",
                18,
                "exit status 18",
            ),
            ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9, "exit status 9"),
            ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n", 12, "exit status 12"),
            (
                "Unable to determine the device handle for GPU0000:00:06.0: GPU is lost.  Reboot the system\n",
                15,
                "exit status 15",
            ),
            ("sh: 1: /usr/bin/nvidia-smi: Exec format error\n", 126, "exit status 126"),
            (d.smi_xml(d.gpu_xml(uuid="N/A")), 0, "none with a UUID"),
            (
                d.smi_xml(d.gpu_xml(uuid="GPU-99999999-0000-0000-0000-000000000009")),
                0,
                "GPUs that this node does not have",
            ),
            ("<nvidia_smi_log></nvidia_smi_log>", 0, "lists no GPU"),
            ("<nvidia_smi_log><gpu></nvidia_smi_log>", 0, "printed something else"),
        ],
    )
    def test_no_answer_of_this_kind_ever_passes(self, output: str, rc: int, words: str) -> None:
        """The vacuous passes of other tools: an nvidia-smi that does nothing, lists nothing, or speaks of elsewhere."""
        report = d.smi(node(), output, rc=rc).judge()
        finding = report.findings["driver.nvml-answers"]
        assert finding.status == "fail"
        assert words in finding.outcome.found
        assert report.verdict != "ready"
        assert all(route.verdict != "ready" for route in report.routes.values())
        assert finding.outcome.remedy is not None

    def test_a_cut_answer_is_unknown(self) -> None:
        assert find(d.smi(node(), "<nvidia_smi_log>", state="cut")).status == "unknown"

    def test_a_lost_gpu_asks_for_a_reboot(self) -> None:
        finding = find(
            d.smi(node(), "Unable to determine the device handle for GPU0000:00:06.0: GPU is lost.\n", rc=15)
        )
        assert commands(finding) == "sudo reboot"

    def test_a_sentence_in_the_middle_of_the_document_is_kept_as_evidence(self) -> None:
        text = "Unable to determine the device handle for GPU0000:00:07.0: GPU is lost."
        made = d.smi(node(2), d.smi_xml(d.gpu_xml(0), f"{text}\n"), rc=15)
        report = made.judge()
        assert report.findings["driver.nvml-answers"].status == "pass"
        assert report.findings["driver.nvml-answers"].outcome.evidence[0].text == text
        assert report.findings["driver.gpu-count"].status == "fail"

    def test_entities_and_doctypes_are_never_expanded(self) -> None:
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        made = d.smi(node(), bomb + d.smi_xml(d.gpu_xml(name="NAME")).replace("NAME", "&b;"))
        assert find(made).status == "fail"

    def test_without_nvidia_smi_python_asks_the_library(self) -> None:
        made = node().remove("/usr/bin/nvidia-smi").program("/usr/bin/python3")
        said = {
            "driver": d.VERSION,
            "cuda": 13000,
            "gpus": [
                {
                    "index": 0,
                    "name": "NVIDIA H100 80GB HBM3",
                    "uuid": d.uuid(0),
                    "bus_id": "00000000:00:06.0",
                    "memory": 85520809984,
                }
            ],
        }
        finding = find(made.answer(("NVML by python3",), json.dumps(said)))
        assert finding.status == "pass"
        assert find(made, "gpu-count").status == "pass"

    @pytest.mark.parametrize(
        ("answer", "rc", "status"),
        [
            ('{"error": "Driver Not Loaded", "code": 9}', 0, "fail"),
            ("SyntaxError", 1, "unknown"),
            ("[]", 0, "unknown"),
            ('{"gpus": [{}]}', 0, "unknown"),
            ('{"gpus": []}', 0, "fail"),
        ],
    )
    def test_what_python_could_not_ask_is_unknown(self, answer: str, rc: int, status: str) -> None:
        made = node().remove("/usr/bin/nvidia-smi").program("/usr/bin/python3")
        assert find(made.answer(("NVML by python3",), answer, rc=rc)).status == status

    def test_with_neither_it_is_unknown_in_words(self) -> None:
        finding = find(node().remove("/usr/bin/nvidia-smi"))
        assert finding.status == "unknown"
        assert "nvidia-smi is not on the node" in finding.outcome.found

    def test_what_pynvml_says_otherwise_is_evidence(self) -> None:
        said = {
            "driver": d.VERSION,
            "gpus": [{"index": 0, "name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-other", "minor": 0}],
        }
        made = node().answer(("NVML by pynvml",), json.dumps(said))
        finding = find(made)
        assert finding.status == "pass"
        assert (
            "GPU 0's uuid: nvidia-smi GPU-00000000-0000-0000-0000-000000000001, NVML GPU-other"
            in finding.outcome.evidence[0].text
        )

    def test_pynvml_is_asked_on_the_local_node_alone(self) -> None:
        def asked(label: str) -> bool:
            made = d.h100(SimNode(label=label))
            return any(request.arg[0] == "NVML by pynvml" for request, _ in made.facts())

        assert asked("local")
        assert not asked("ssh://root@n1")


class TestCount:
    def test_a_gpu_that_nvml_does_not_list_fails_by_its_address(self) -> None:
        finding = find(d.smi(node(4), d.smi_xml(*[d.gpu_xml(n) for n in (0, 1, 3)])), "gpu-count")
        assert finding.status == "fail"
        assert finding.outcome.found == "NVML lists 3, the bus has 4 bound to nvidia; missing in NVML: 0000:00:08.0"
        assert "0000:00:08.0" in commands(finding)

    def test_a_gpu_given_to_a_virtual_machine_is_named_and_no_fault(self) -> None:
        made = d.pci(node(), (d.address(0), d.H100, 0x030200, "nvidia"), ("0000:81:00.0", d.H100, 0x030200, "vfio-pci"))
        finding = find(made, "gpu-count")
        assert finding.status == "pass"
        assert "0000:81:00.0 is given to vfio-pci" in finding.outcome.found

    def test_an_excluded_gpu_is_named_and_no_fault(self) -> None:
        made = d.information(node(2), 1, excluded=True)
        finding = find(d.smi(made, d.smi_xml(d.gpu_xml(0))), "gpu-count")
        assert finding.status == "pass"
        assert f"{d.address(1)} is excluded from the driver" in finding.outcome.found

    def test_a_gpu_without_a_driver_warns(self) -> None:
        made = d.pci(node(), (d.address(0), d.H100, 0x030200, "nvidia"), ("0000:81:00.0", 0x0FFD, 0x030000, ""))
        assert find(made, "gpu-count").status == "warn"

    def test_virtual_functions_are_not_counted(self) -> None:
        made = d.pci(
            node(),
            (d.address(0), 0x20B0, 0x030200, "nvidia"),
            ("0000:00:06.4", 0x20B0, 0x030200, "nvidia"),
            virtual=["0000:00:06.4"],
        )
        assert find(made, "gpu-count").status == "pass"

    def test_more_in_nvml_than_on_the_bus_fails(self) -> None:
        finding = find(d.smi(node(), d.smi_xml(d.gpu_xml(0), d.gpu_xml(1))), "gpu-count")
        assert "not on the bus: 0000:00:07.0" in finding.outcome.found


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
        finding = find(d.smi(node(), d.smi_xml(d.gpu_xml(0, **said))), "gpu-health")
        assert finding.status == "fail"
        assert words in finding.outcome.found
        assert commands(finding) == command

    def test_a_gpu_that_says_nothing_of_its_memory_passes(self) -> None:
        said = dict.fromkeys(
            ("recovery", "retirement", "remap_pending", "remap_failure", "repair", "unrepairable"), "N/A"
        )
        assert find(d.smi(node(), d.smi_xml(d.gpu_xml(0, **said))), "gpu-health").status == "pass"


class TestMig:
    def test_on_without_an_instance_fails(self) -> None:
        finding = find(d.smi(node(2), d.smi_xml(d.gpu_xml(0, mig="Enabled"), d.gpu_xml(1))), "mig-instances")
        assert finding.status == "fail"
        assert "GPU 0 (0000:00:06.0)" in finding.outcome.found
        assert commands(finding) == "sudo nvidia-smi mig -i 0 -lgip"

    def test_gpu_instances_without_compute_instances_are_told_apart(self) -> None:
        made = d.smi(node(), d.smi_xml(d.gpu_xml(0, mig="Enabled")))
        made.folder("/proc/driver/nvidia/capabilities/gpu0/mig/gi1").folder(
            "/proc/driver/nvidia/capabilities/gpu0/mig/gi2"
        )
        finding = find(made, "mig-instances")
        assert "GPU instances without a compute instance: GPU 0" in finding.outcome.found
        assert finding.outcome.evidence[0].text == "2 GPU instances"
        assert commands(finding).splitlines()[0] == "sudo nvidia-smi mig -i 0 -cci"

    def test_on_with_instances_passes(self) -> None:
        xml = d.smi_xml(d.gpu_xml(0, mig="Enabled", mig_devices=d.mig_xml(0, 7) + d.mig_xml(1, 8)))
        assert find(d.smi(node(), xml), "mig-instances").outcome.found == "GPU 0: 2 MIG devices"

    def test_a_pending_change_is_said(self) -> None:
        finding = find(d.smi(node(), d.smi_xml(d.gpu_xml(0, mig_pending="Enabled"))), "mig-instances")
        assert finding.status == "not-applicable"
        assert "after the next reset: GPU 0 Enabled" in finding.outcome.found


def fabric(made: SimNode, state: str, status: str = "N/A", health: str = "N/A", gpus: int = 2) -> SimNode:
    """Every GPU says this of its fabric."""
    each = [d.gpu_xml(n, fabric_state=state, fabric_status=status, fabric_health=health) for n in range(gpus)]
    return d.smi(made, d.smi_xml(*each))


def switches(made: SimNode) -> SimNode:
    """Two H100s and an NVSwitch."""
    gpus = [(d.address(n), d.H100, 0x030200, "nvidia") for n in range(2)]
    return d.pci(made, *gpus, ("0000:40:00.0", 0x22A3, 0x068000, "nvidia-nvswitch"))


class TestFabric:
    def test_completed_without_a_manager_passes(self) -> None:
        """A virtual machine: the manager runs on its host."""
        assert find(fabric(node(2), "Completed", "Success"), "fabric-manager").status == "pass"

    def test_in_progress_on_a_machine_with_switches_installs_the_drivers_version(self) -> None:
        finding = find(fabric(switches(node(2)), "In Progress"), "fabric-manager")
        assert finding.status == "fail"
        assert "GPU 0: fabric state In Progress" in finding.outcome.found
        assert commands(finding).splitlines() == [
            "sudo apt-get install -y nvidia-fabricmanager-580",
            "sudo systemctl enable --now nvidia-fabricmanager",
        ]

    def test_a_manager_of_another_version_is_named(self) -> None:
        made = fabric(switches(node(2)), "In Progress").program("/usr/bin/nv-fabricmanager")
        made.answer(("nv-fabricmanager", "--version"), "Fabric Manager version is : 580.126.20\n")
        made.unit("nvidia-fabricmanager.service", ActiveState="failed")
        finding = find(made, "fabric-manager")
        assert finding.outcome.remedy is not None
        assert "is 580.126.20, the driver 580.159.04" in finding.outcome.remedy.summary

    def test_a_manager_that_is_stopped_is_started(self) -> None:
        made = fabric(switches(node(2)), "Not Started").program("/usr/bin/nv-fabricmanager")
        made.answer(("nv-fabricmanager", "--version"), f"Fabric Manager version is : {d.VERSION}\n")
        assert (
            commands(find(made, "fabric-manager")).splitlines()[0] == "sudo systemctl enable --now nvidia-fabricmanager"
        )

    def test_unhealthy_without_switches_is_somebody_elses_to_mend(self) -> None:
        finding = find(fabric(node(2), "Completed", "Success", "Unhealthy"), "fabric-manager")
        assert finding.status == "fail"
        assert finding.outcome.remedy is not None
        assert "outside this machine" in finding.outcome.remedy.summary

    def test_a_completed_fabric_with_an_error_fails(self) -> None:
        assert (
            "fabric status Insufficient"
            in find(fabric(node(2), "Completed", "Insufficient Resources"), "fabric-manager").outcome.found
        )

    def test_a100s_are_judged_by_their_manager(self) -> None:
        made = switches(node(2))
        assert find(made, "fabric-manager").status == "fail"
        made.process(Proc(900, "nv-fabricmanage", ["nv-fabricmanager"], "/usr/bin/nv-fabricmanager"))
        assert find(made, "fabric-manager").status == "pass"

    def test_no_fabric_at_all_is_not_applicable(self) -> None:
        assert find(node(2), "fabric-manager").status == "not-applicable"


class TestAdvice:
    LINE = "[ 99.1] NVRM: Xid (PCI:0000:00:06): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."

    def test_a_fatal_xid_warns_and_changes_no_verdict(self) -> None:
        before, report = node().judge(), d.log(node(), self.LINE).judge()
        assert report.findings["driver.xid"].status == "warn"
        assert "Xid 79 (GPU has fallen off the bus) on 0000:00:06" in report.findings["driver.xid"].outcome.found
        assert report.verdict == before.verdict

    @pytest.mark.parametrize("number", [13, 31, 43, 45, 63, 94])
    def test_an_xid_of_a_programs_own_making_passes(self, number: int) -> None:
        finding = find(d.log(node(), f"[ 5.0] NVRM: Xid (PCI:0000:00:06): {number}, pid=1, name=x"), "xid")
        assert finding.status == "pass"
        assert "1 others" in finding.outcome.found

    def test_a_log_that_lost_its_beginning_says_so(self) -> None:
        finding = find(d.log(node(), begins="[ 86400.000000]"), "xid")
        assert "reaches back to 86400 s after boot" in finding.outcome.found

    def test_persistence_off_warns(self) -> None:
        finding = find(d.smi(node(), d.smi_xml(d.gpu_xml(0, persistence="Disabled"))), "persistence")
        assert finding.status == "warn"
        assert commands(finding) == "sudo nvidia-smi -pm 1"
        made = d.smi(node(), d.smi_xml(d.gpu_xml(0, persistence="Disabled"))).unit(
            "nvidia-persistenced.service", ActiveState="inactive"
        )
        assert commands(find(made, "persistence")) == "sudo systemctl enable --now nvidia-persistenced"


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
    made = node()
    made.remove("/proc/driver/nvidia/gpus")
    d.smi(made, (DATA / "nvsmi" / case / "stdout.xml").read_text("utf-8"))
    report = made.judge()
    assert report.findings["driver.nvml-answers"].status == answers
    assert report.findings["driver.gpu-health"].status == health
    assert report.findings["driver.fabric-manager"].status == fabric_
