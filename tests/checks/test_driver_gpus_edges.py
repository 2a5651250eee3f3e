"""What the checks that ask NVML show beside their words (place, evidence, command), and nodes at the edges of them."""

from __future__ import annotations

import json

import pytest

from pytest_gpuready.model import Where
from tests.checks.test_driver import UBUNTU, commands, find, ubuntu
from tests.checks.test_driver_edges import evidence, failed
from tests.checks.test_driver_gpus import fabric, switches
from tests.support import driver as d
from tests.support.simnode import Proc, SimNode

LOST = "Unable to determine the device handle for GPU0000:00:07.0: GPU is lost."
ELSEWHERE = "GPU-99999999-0000-0000-0000-000000000009"


def lists(*gpus: str) -> SimNode:
    """A node of so many GPUs whose nvidia-smi lists these."""
    return d.smi(d.h100(SimNode().put("/etc/os-release", UBUNTU), len(gpus)), d.smi_xml(*gpus))


def without_smi(node: SimNode, said: object) -> SimNode:
    """python3 is asked in nvidia-smi's place, and answers so."""
    return node.remove("/usr/bin/nvidia-smi").program("/usr/bin/python3").answer(("NVML by python3",), json.dumps(said))


# ---------------------------------------------------------------------- nvml-answers


def test_what_it_printed_is_the_evidence_and_its_first_line_is_told() -> None:
    node = d.smi(ubuntu(), "first\nsecond\n", rc=9)
    assert failed(node, "nvml-answers").endswith("failed with exit status 9: first")
    assert [text for _, text in evidence(node, "nvml-answers")] == ["first\nsecond"]
    empty = d.smi(ubuntu(), "")
    assert failed(empty, "nvml-answers").endswith("nothing looked at any GPU")
    assert [text for _, text in evidence(empty, "nvml-answers")] == ["(nothing)"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", "reboot"),
        ("the GPU is lost", "reboot"),
        ("it has fallen off the bus", "reboot"),
        ("Unable to determine the device handle for GPU0", "reboot"),
        ("couldn't find libnvidia-ml.so library", "ldconfig"),
        ("NVML: Shared Library Not Found", "ldconfig"),
        ("something else", "nvidia-smi"),
    ],
)
def test_each_sentence_of_nvmls_has_its_own_remedy(said: str, words: str) -> None:
    assert words in commands(find(d.smi(ubuntu(), f"{said}\n", rc=15), "nvml-answers"))


def test_a_hang_is_looked_into_before_anything_else() -> None:
    found = find(d.smi(ubuntu(), "the GPU is lost", rc=124, state="timeout"), "nvml-answers")
    other = find(d.smi(ubuntu(), "the GPU is lost", rc=15), "nvml-answers")
    assert found.outcome.remedy is not None
    assert found.outcome.remedy != other.outcome.remedy


def test_gpus_of_elsewhere_are_shown_by_the_program_that_lists_them() -> None:
    node = lists(d.gpu_xml(uuid=ELSEWHERE))
    found = find(node, "nvml-answers").outcome
    assert found.where == Where("/usr/bin/nvidia-smi")
    assert d.uuid(0) in str(found.expected)
    assert found.evidence == ()
    by_python = without_smi(ubuntu(), {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": ELSEWHERE}]})
    assert failed(by_python, "nvml-answers").startswith("NVML by python3 lists GPUs that this node does not have")
    assert find(by_python, "nvml-answers").outcome.where is None
    hidden = node.deny("/proc/driver/nvidia/gpus")
    assert find(hidden, "nvml-answers").status in ("pass", "blocked")


def test_one_gpu_of_the_nodes_among_the_listed_is_enough() -> None:
    assert find(lists(d.gpu_xml(0), d.gpu_xml(1, uuid=ELSEWHERE)), "nvml-answers").status == "pass"


def test_what_nvidia_smi_says_beside_its_list_is_the_evidence_of_every_answer() -> None:
    for gpu in (d.gpu_xml(uuid="N/A"), d.gpu_xml(uuid=ELSEWHERE), d.gpu_xml()):
        assert evidence(lists(gpu), "nvml-answers") == []
        assert evidence(d.smi(ubuntu(), d.smi_xml(gpu, f"{LOST}\n"), rc=15), "nvml-answers") == [
            ("/usr/bin/nvidia-smi -q -x", LOST)
        ]


def test_a_kernel_module_that_does_not_tell_uuids_makes_no_gpu_a_stranger() -> None:
    node = d.information(ubuntu(), 0, uuid_="GPU-????????-????-????-????-????????????")
    assert find(node, "nvml-answers").status == "pass"


def test_pynvml_that_lists_none_is_no_evidence_against_nvidia_smi() -> None:
    node = d.smi(ubuntu(), "").answer(("NVML by pynvml",), json.dumps({"driver": d.VERSION, "gpus": []}))
    assert [source for source, _ in evidence(node, "nvml-answers")] == ["/usr/bin/nvidia-smi -q -x"]


def test_pynvml_that_lists_gpus_where_python3_is_told_none_blames_what_was_asked() -> None:
    said = {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": d.uuid(0)}]}
    node = without_smi(ubuntu(), {"error": "Driver Not Loaded", "code": 9})
    assert evidence(node.answer(("NVML by pynvml",), json.dumps(said)), "nvml-answers") == [
        ("NVML by python3", "Driver Not Loaded (NVML error 9)"),
        ("NVML through pynvml, asked on its own", "NVML lists 1 GPUs: the fault is in the program asked"),
    ]


def test_what_is_not_said_is_left_out() -> None:
    bare = d.smi_xml(d.gpu_xml(0)).replace("\t<cuda_version>13.0</cuda_version>\n", "")
    assert find(d.smi(ubuntu(), bare), "nvml-answers").outcome.found == f"1 x NVIDIA H100 80GB HBM3; driver {d.VERSION}"
    nameless = d.smi_xml(d.gpu_xml(0, name="N/A"), version="N/A")
    assert find(d.smi(ubuntu(), nameless), "nvml-answers").outcome.found == "1 x GPU; driver unsaid, CUDA 13.0"
    said = {"driver": d.VERSION, "gpus": [{"index": 0, "uuid": "GPU-other", "minor": 0}]}
    node = ubuntu().answer(("NVML by pynvml",), json.dumps(said))
    assert " differences to pynvml" in find(node, "nvml-answers").outcome.found
    assert [source for source, _ in evidence(node, "nvml-answers")] == ["NVML through pynvml, asked on its own"]


# ---------------------------------------------------------------------- count, health, MIG


def test_the_bus_is_the_evidence_of_a_count_that_differs() -> None:
    node = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0)))
    assert evidence(node, "gpu-count") == [
        ("sysfs", f"{d.address(0)} 10de:2330 (nvidia)\n{d.address(1)} 10de:2330 (nvidia)")
    ]
    assert find(node, "gpu-count").outcome.expected == f"2 GPUs: {d.address(0)}, {d.address(1)}"
    assert find(ubuntu(), "gpu-count").outcome.found == "1 in NVML as on the bus"


def test_a_gpu_in_nvml_that_the_bus_does_not_have_is_told_alone() -> None:
    node = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0), d.gpu_xml(1)))
    assert failed(node, "gpu-count") == (f"NVML lists 2, the bus has 1 bound to nvidia; not on the bus: {d.address(1)}")
    assert d.address(1) in commands(find(node, "gpu-count"))


def test_two_that_nvml_lists_and_the_bus_has_otherwise_are_told_apart() -> None:
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


def test_a_gpu_without_a_driver_is_named_and_looked_for_in_the_log() -> None:
    node = d.pci(ubuntu(), (d.address(0), d.H100, 0x030200, "nvidia"), ("0000:81:00.0", 0x0FFD, 0x030000, ""))
    found = find(node, "gpu-count")
    assert found.outcome.found == "1 GPUs in NVML as on the bus; without a driver: 0000:81:00.0"
    assert "0000:81:00.0" in commands(found)


def test_gpus_whose_addresses_nvml_does_not_tell_are_counted() -> None:
    untold = d.gpu_xml(0, bus="N/A")
    assert find(lists(untold), "gpu-count").outcome.found == "1 in NVML as on the bus"
    fewer = d.smi(d.h100(SimNode(), 2), d.smi_xml(untold))
    assert failed(fewer, "gpu-count") == "NVML lists 1, the bus has 2 bound to nvidia"
    assert d.address(0) in commands(find(fewer, "gpu-count"))
    assert find(lists(untold, d.gpu_xml(1)), "gpu-count").outcome.found == "2 in NVML as on the bus"


def test_each_sick_gpu_is_shown_once_with_all_that_it_says() -> None:
    node = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0, retirement="Yes", remap_pending="Yes"), d.gpu_xml(1)))
    said = failed(node, "gpu-health")
    assert said.count(f"GPU 0 ({d.address(0)}) ") == 2
    shown = evidence(node, "gpu-health")
    assert len(shown) == 1
    assert shown[0][1] == f"{d.address(0)} {d.uuid(0)} NVIDIA H100 80GB HBM3"
    assert find(d.h100(SimNode(), 2), "gpu-health").outcome.found == "2 GPUs, none with a complaint"


def test_a_gpu_without_an_address_is_named_by_its_uuid() -> None:
    node = lists(d.gpu_xml(0, bus="N/A", retirement="Yes"))
    assert failed(node, "gpu-health").startswith(f"GPU 0 ({d.uuid(0)}) ")
    assert [text for _, text in evidence(node, "gpu-health")] == [f"{d.uuid(0)} NVIDIA H100 80GB HBM3"]
    nobody = lists(d.gpu_xml(0), d.gpu_xml(1, bus="N/A", uuid="N/A", retirement="Yes"))
    assert failed(nobody, "gpu-health").startswith("GPU 1 (?) ")


def test_a_gpu_that_asks_for_no_recovery_is_reset_for_what_it_waits_for() -> None:
    node = lists(d.gpu_xml(0, recovery="N/A", retirement="Yes"))
    assert commands(find(node, "gpu-health")) == "nvidia-smi --gpu-reset -i 0"


def test_mig_that_is_off_everywhere_says_just_that() -> None:
    assert find(ubuntu(), "mig-instances").outcome.found == "MIG is off on every GPU"


def test_a_gpu_whose_mig_goes_off_at_the_next_reset_says_so() -> None:
    xml = d.smi_xml(d.gpu_xml(0, mig="Enabled", mig_pending="Disabled", mig_devices=d.mig_xml(0, 7)))
    assert find(d.smi(ubuntu(), xml), "mig-instances").outcome.found == (
        "GPU 0: 1 MIG devices; after the next reset: GPU 0 Disabled"
    )
    unsaid = lists(d.gpu_xml(0, mig="Enabled", mig_pending="N/A", mig_devices=d.mig_xml(0, 7)))
    assert find(unsaid, "mig-instances").outcome.found == "GPU 0: 1 MIG devices"


def test_gpu_instances_that_cannot_be_looked_at_are_no_reason_to_know_nothing() -> None:
    node = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, mig="Enabled", minor="N/A")))
    assert failed(node, "mig-instances") == f"MIG is on without a MIG device: GPU 0 ({d.address(0)})"
    assert commands(find(node, "mig-instances"))


# ---------------------------------------------------------------------- fabric


def test_gpus_that_joined_are_counted() -> None:
    found = find(fabric(d.h100(SimNode(), 2), "Completed", "Success"), "fabric-manager").outcome
    assert found.found == "2 GPUs: Completed, Success"


def test_the_manager_is_told_by_what_it_does() -> None:
    made = fabric(switches(d.h100(SimNode().put("/etc/os-release", UBUNTU), 2)), "In Progress")
    assert failed(made, "fabric-manager").endswith("; the manager is not installed")
    assert evidence(made, "fabric-manager") == []
    made.program("/usr/bin/nv-fabricmanager")
    made.answer(("nv-fabricmanager", "--version"), f"Fabric Manager version is : {d.VERSION}\n")
    assert failed(made, "fabric-manager").endswith("; the manager does not run")
    assert evidence(made, "fabric-manager") == [
        ("nv-fabricmanager --version", d.VERSION),
        ("/sys/module/nvidia/version", d.VERSION),
    ]
    for state, does in (("failed", "does not run"), ("active", "runs")):
        made.unit("nvidia-fabricmanager.service", ActiveState=state)
        assert failed(made, "fabric-manager").endswith(f"; the manager {does}")


def test_without_switches_the_manager_is_elsewhere_unless_it_is_installed() -> None:
    made = fabric(d.h100(SimNode(), 2), "In Progress")
    assert failed(made, "fabric-manager").endswith("; no NVSwitch on this machine")
    made.program("/usr/bin/nv-fabricmanager")
    assert failed(made, "fabric-manager").endswith("; the manager does not run")


def test_a_process_without_a_unit_runs_too() -> None:
    made = fabric(switches(d.h100(SimNode(systemd=False), 2)), "In Progress")
    made.process(Proc(900, "nv-fabricmanage", ["nv-fabricmanager"], "/usr/bin/nv-fabricmanager"))
    assert failed(made, "fabric-manager").endswith("; the manager runs")
    assert commands(find(made, "fabric-manager")).startswith("systemctl restart nvidia-fabricmanager\n")
    old = switches(d.h100(SimNode(systemd=False), 2))
    old.process(Proc(900, "nv-fabricmanage", ["nv-fabricmanager"], "/opt/nvidia/nv-fabricmanager"))
    assert find(old, "fabric-manager").outcome.found == "1 NVSwitches, the fabric manager runs"


def test_a_healthy_summary_is_no_complaint_and_a_status_that_is_unsaid_is_none() -> None:
    for status, health in (("Success", "Healthy"), ("N/A", "N/A")):
        made = fabric(d.h100(SimNode(), 2), "Completed", status, health)
        assert find(made, "fabric-manager").status == "pass"


def test_older_gpus_are_judged_by_a_manager_of_the_drivers_version() -> None:
    made = switches(d.h100(SimNode().put("/etc/os-release", UBUNTU), 2))
    assert failed(made, "fabric-manager") == "1 NVSwitches on the bus, and the fabric manager is not installed"
    made.program("/usr/bin/nv-fabricmanager")
    assert failed(made, "fabric-manager").endswith("the fabric manager does not run")
    assert commands(find(made, "fabric-manager"))
    made.answer(("nv-fabricmanager", "--version"), "Fabric Manager version is : 570.1.1\n")
    assert failed(made, "fabric-manager").endswith(f"the fabric manager is 570.1.1, the driver {d.VERSION}")
    made.unit("nvidia-fabricmanager.service", Id="nvidia-fabricmanager.service")
    assert find(made, "fabric-manager").status == "fail"
    made.answer(("nv-fabricmanager", "--version"), f"Fabric Manager version is : {d.VERSION}\n")
    assert find(made, "fabric-manager").outcome.found == f"1 NVSwitches, the fabric manager {d.VERSION} runs"


# ---------------------------------------------------------------------- advice


@pytest.mark.parametrize("number", [48, 62, 64, 74, 79, 95, 119, 120])
def test_each_fatal_xid_warns_and_is_shown(number: int) -> None:
    line = f"[ 99.1] NVRM: Xid (PCI:0000:00:06): {number}, pid=1, name=x"
    node = d.log(ubuntu(), line, line, "[ 99.2] NVRM: Xid (PCI:0000:00:06): 13, pid=1")
    found = find(node, "xid")
    assert found.status == "warn"
    assert f"Xid {number} (" in found.outcome.found
    assert "on 0000:00:06, 2 times" in found.outcome.found
    assert evidence(node, "xid") == [("dmesg", f"{line}\n{line}")]
    assert found.outcome.remedy is not None


def test_a_quiet_log_says_just_that() -> None:
    assert find(ubuntu(), "xid").outcome.found == "no fatal Xid in dmesg"
    for begins in ("[  100.000000]", ""):
        assert find(d.log(ubuntu(), begins=begins), "xid").outcome.found == "no fatal Xid in dmesg"


def test_persistence_is_told_gpu_by_gpu() -> None:
    node = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0), d.gpu_xml(1, persistence="Disabled")))
    assert find(node, "persistence").outcome.found.startswith("off on GPU 1: ")
    unsaid = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, persistence="N/A")))
    assert find(unsaid, "persistence").status == "unknown"
    some = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0), d.gpu_xml(1, persistence="N/A")))
    assert find(some, "persistence").status == "pass"


def test_a_stale_socket_is_taken_away_or_its_daemon_started() -> None:
    found = find(ubuntu().socket("/run/nvidia-persistenced/socket"), "persistence")
    assert found.outcome.remedy is not None
    assert found.outcome.remedy.commands
