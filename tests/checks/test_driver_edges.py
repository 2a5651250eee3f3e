"""What the driver's checks show beside their words (place, evidence, command), and nodes at the edges of them."""

from __future__ import annotations

import json

import pytest

from pytest_gpuready.model import Where
from tests.checks.test_driver import UBUNTU, commands, find, ubuntu, unloaded
from tests.checks.test_driver_gpus import fabric, switches
from tests.checks.test_driver_libraries import CUDA, ML
from tests.checks.test_driver_libraries import node as with_libraries
from tests.support import driver as d
from tests.support.simnode import Proc, SimNode
from tests.support.toolkit import DEFAULT_CONFIG, config, toolkit

EFI = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
KO = f"/lib/modules/{d.KERNEL}/updates/dkms/nvidia.ko.zst"
GPU = f"{d.address(0)} 10de:2330"


def evidence(node: SimNode, check: str) -> list[tuple[str, str]]:
    """The evidence of a finding that is known."""
    found = find(node, check)
    assert found.status in ("fail", "warn", "pass")
    return [(item.source, item.text) for item in found.outcome.evidence]


def failed(node: SimNode, check: str) -> str:
    """What a check that fails says."""
    found = find(node, check)
    assert found.status == "fail"
    return found.outcome.found


# ---------------------------------------------------------------------- the bus, nouveau


def test_the_gpus_that_are_there_are_listed() -> None:
    assert find(ubuntu(), "gpu-on-bus").outcome.found.count(GPU) == 1
    assert evidence(d.pci(ubuntu()), "gpu-on-bus")


def test_nouveau_is_shown_with_what_holds_what_and_its_module_is_told() -> None:
    node = d.gpus_on_bus(unloaded(ubuntu()), 2, driver="nouveau")
    assert failed(node, "nouveau-absent") == f"nouveau holds {d.address(0)}, {d.address(1)}"
    assert len(evidence(node, "nouveau-absent")) == 1
    assert find(ubuntu(), "nouveau-absent").outcome.found == "no GPU is bound to nouveau"
    loaded = find(ubuntu().folder("/sys/module/nouveau"), "nouveau-absent").outcome.found
    assert loaded == "no GPU is bound to nouveau (its module is loaded and holds none)"


@pytest.mark.parametrize("rival", ["nova-core", "nova_core", "NovaCore"])
def test_nova_holds_gpus_as_nouveau_does(rival: str) -> None:
    assert failed(d.gpus_on_bus(unloaded(ubuntu()), driver=rival), "nouveau-absent") == f"{rival} holds {d.address(0)}"


# ---------------------------------------------------------------------- module-loaded


def test_the_version_that_is_loaded_is_told() -> None:
    assert find(ubuntu(), "module-loaded").outcome.found == f"nvidia {d.VERSION} is loaded"
    silent = ubuntu().put("/sys/module/nvidia/version", "").put("/proc/driver/nvidia/version", "?\n")
    assert find(silent, "module-loaded").outcome.found == "nvidia (version unsaid) is loaded"


def test_what_the_kernel_said_last_is_the_evidence() -> None:
    node = d.log(unloaded(ubuntu()), *[f"[ {number}.0] NVRM: line {number}" for number in range(8)])
    shown = evidence(node, "module-loaded")
    assert [source for source, _ in shown] == ["dmesg"]
    assert shown[0][1].splitlines()[0].endswith("line 2")
    assert evidence(d.log(unloaded(ubuntu())), "module-loaded") == []


def test_a_module_that_is_there_and_was_not_loaded_is_shown_by_its_file() -> None:
    found = find(unloaded(ubuntu()), "module-loaded").outcome
    assert found.found == (
        f"the module nvidia is not loaded: nvidia.ko {d.VERSION} is there for this kernel and was not loaded"
    )
    assert found.where is not None
    assert found.where.path == KO


def test_built_for_other_kernels_with_and_without_sources() -> None:
    other = d.on_disk(unloaded(ubuntu()), kernels=["6.8.0-39-generic"], headers=False)
    assert failed(other, "module-loaded").endswith(
        "it is not built for the running kernel 6.8.0-40-generic (built for 6.8.0-39-generic)"
    )
    sources = d.on_disk(unloaded(ubuntu()), kernels=[]).folder(f"/var/lib/dkms/nvidia/{d.VERSION}/source")
    assert failed(sources, "module-loaded").endswith(f"(built for no kernel; DKMS holds the sources of {d.VERSION})")
    assert find(other, "module-loaded").outcome.where is None


def test_a_driver_container_beside_a_module_of_the_hosts_is_no_reason() -> None:
    node = d.on_disk(unloaded(ubuntu()), kernels=["6.8.0-39-generic"]).folder("/run/nvidia/driver")
    assert "is not built for the running kernel" in failed(node, "module-loaded")
    bare = d.on_disk(unloaded(ubuntu()), kernels=[]).folder("/run/nvidia/driver")
    assert failed(bare, "module-loaded").endswith("the GPU operator's driver container has not loaded one")


def test_what_the_command_line_forbids_is_shown_there() -> None:
    node = d.on_disk(unloaded(ubuntu()), more=["cmdline modprobe.blacklist=nvidia"])
    found = find(node, "module-loaded").outcome
    assert found.where == Where("/proc/cmdline")
    assert found.remedy is not None
    assert found.remedy.summary


def test_secure_boot_names_the_signer_or_that_there_is_none() -> None:
    on = b"\x06\0\0\0\x01"
    unsigned = d.on_disk(unloaded(ubuntu()), signer=None).put(EFI, on)
    found = find(unsigned, "module-loaded").outcome
    assert found.found.endswith("Secure Boot is on and it is not signed")
    assert found.where is not None
    assert found.where.path == KO
    for words in ("Key was rejected by service", "unsigned module is rejected"):
        node = d.log(unloaded(ubuntu()), f"[1.0] {words}").put(EFI, on)
        assert failed(node, "module-loaded").endswith(
            "Secure Boot is on and its signer 'DKMS module signing key' is not enrolled"
        )
    assert "was not loaded" in failed(unloaded(ubuntu()).put(EFI, on), "module-loaded")


def test_a_kernel_that_takes_signed_modules_only_refuses_an_unsigned_one_without_secure_boot() -> None:
    off = b"\x06\0\0\0\x00"
    node = d.on_disk(unloaded(ubuntu()), signer=None, more=["enforce Y"]).put(EFI, off)
    assert "it is not signed" in failed(node, "module-loaded")


def test_the_wrong_flavour_on_disk_counts_where_all_gpus_need_the_other() -> None:
    node = d.on_disk(unloaded(ubuntu()), license_="NVIDIA")
    both = d.pci(node, (d.address(0), 0x2901, 0x030200, ""), (d.address(1), d.H100, 0x030200, ""))
    assert "was not loaded" in failed(both, "module-loaded")
    blackwell = d.gpus_on_bus(node, device=0x2901, driver="")
    found = find(blackwell, "module-loaded").outcome
    assert (
        f"the proprietary module is installed and {d.address(0)} 10de:2901 (no driver) needs the open one"
        in found.found
    )
    assert found.where is not None
    assert found.where.path == KO


# ---------------------------------------------------------------------- kernel-flavour, device nodes


def test_the_flavour_is_told_and_what_is_wrong_with_it_shown() -> None:
    assert find(ubuntu(), "kernel-flavour").outcome.found == f"the open module drives {GPU} (nvidia)"
    node = d.h100(SimNode(), device=0x2901, flavour="proprietary")
    shown = evidence(node, "kernel-flavour")
    assert [source for source, _ in shown] == ["/proc/driver/nvidia/version", "dmesg"]
    assert d.VERSION in shown[0][1]
    assert find(node, "kernel-flavour").outcome.expected == "the open module"


def test_the_nodes_that_are_there_are_named_with_their_major() -> None:
    assert find(d.h100(SimNode(), 2), "device-nodes").outcome.found == "/dev: nvidiactl, nvidia0, nvidia1, major 195"
    node = d.h100(SimNode(), 2).remove("/dev/nvidia1", "/dev/nvidiactl")
    found = find(node, "device-nodes").outcome
    assert found.where is not None
    assert found.where.path in ("/dev/nvidia1", "/dev/nvidiactl")
    assert found.expected == "/dev: nvidiactl, nvidia0, nvidia1, character devices of major 195, openable"
    assert "-c=1" in commands(find(node, "device-nodes"))
    assert "-c=255" in commands(find(node, "device-nodes"))


def test_a_module_without_a_gpu_on_the_bus_says_so() -> None:
    node = d.pci(ubuntu().remove("/proc/driver/nvidia/gpus"), ("0000:01:00.0", d.H100, 0x030200, ""))
    assert failed(node, "device-nodes") == "the module nvidia drives no GPU: 0000:01:00.0 10de:2330 (no driver)"
    assert evidence(node, "device-nodes")


def test_uvm_says_whether_its_module_or_its_major_is_missing() -> None:
    nothing = "Character devices:\n195 nvidia\n\nBlock devices:\n"
    loaded = ubuntu().put("/proc/devices", nothing)
    assert failed(loaded, "uvm-node") == "the module nvidia_uvm is loaded and has no major in /proc/devices"
    gone = ubuntu().remove("/sys/module/nvidia_uvm").put("/proc/devices", nothing)
    assert failed(gone, "uvm-node") == "the module nvidia_uvm is not loaded"
    assert find(ubuntu(), "uvm-node").outcome.found == "/dev/nvidia-uvm, major 238"


def test_a_wrong_uvm_node_is_shown_and_made_anew() -> None:
    found = find(ubuntu().remove("/dev/nvidia-uvm"), "uvm-node")
    assert (found.outcome.found, found.outcome.where) == ("/dev/nvidia-uvm is not there", Where("/dev/nvidia-uvm"))
    assert commands(found)
    tools = ubuntu().device("/dev/nvidia-uvm-tools", 511, 1)
    assert "/dev/nvidia-uvm-tools has the numbers" in failed(tools, "uvm-node")


def test_more_than_eight_devices_are_counted() -> None:
    assert find(d.h100(SimNode(), 9), "kernel-flavour").outcome.found.endswith(" and 1 more")
    assert "more" not in find(d.h100(SimNode(), 8), "kernel-flavour").outcome.found


# ---------------------------------------------------------------------- libraries


def test_the_libraries_that_are_found_are_described() -> None:
    found = find(with_libraries(*d.both()), "library-present").outcome.found
    assert found == f"{ML} -> {d.LIBS}/libnvidia-ml.so.{d.VERSION}; {CUDA} -> {d.LIBS}/libcuda.so.{d.VERSION}"


def test_what_is_missing_is_told_with_where_it_lies_instead() -> None:
    found = find(with_libraries(*d.both("folder")), "library-present").outcome
    assert found.found == (
        "libnvidia-ml.so.1 and libcuda.so.1 not found: "
        f"{ML} is there, where this route does not look; {CUDA} is there, where this route does not look"
    )
    assert found.expected == "libnvidia-ml.so.1 and libcuda.so.1 in the loader's cache"
    assert found.where == Where(ML)
    assert found.evidence[0].source == "ldconfig -p and driver roots"
    assert found.evidence[0].text.splitlines()[1] == f"{CUDA} -> {d.LIBS}/libcuda.so.{d.VERSION}"
    none = find(with_libraries(), "library-present").outcome
    assert none.found == "libnvidia-ml.so.1 and libcuda.so.1 not found"
    assert none.evidence[0].text == "none found"
    assert none.where is None


def test_a_library_with_a_fault_is_described_with_it() -> None:
    node = with_libraries(d.library("cache", ML, fault="empty"), d.library("cache", CUDA))
    assert "(" in find(node, "library-present").outcome.evidence[0].text.splitlines()[0]


def test_the_operators_container_has_them_for_pods_only() -> None:
    node = with_libraries(*d.both("operator", "/run/nvidia/driver/usr/lib64"))
    found = find(node, "library-present")
    assert found.per_route["cri-cdi"] == "pass"
    assert found.outcome.remedy is not None
    assert found.outcome.remedy.summary.startswith("The GPU operator's driver container has the libraries")


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [("legacy", {"cache"}), ("jit-cdi", {"cache", "folder", "nixos"})],
)
def test_the_runtime_looks_in_more_places_where_it_does_not_use_the_cli(mode: str, kinds: set[str]) -> None:
    for kind in ("cache", "folder", "nixos", "root"):
        node = config(toolkit(with_libraries(*d.both(kind))), 'mode = "auto"', f'mode = "{mode}"')
        d.libraries(node, *d.both(kind))
        assert (find(node, "library-present").per_route["cri-handler"] == "pass") == (kind in kinds), kind


def test_the_operators_root_may_end_in_a_slash() -> None:
    node = with_libraries(*d.both("operator", "/run/nvidia/driver/usr/lib64"))
    node.put("/etc/nvidia-container-runtime/config.toml", '[nvidia-container-cli]\nroot = "/run/nvidia/driver/"\n')
    assert find(node, "library-present").per_route["cri-handler"] == "pass"
    assert "[nvidia-container-cli]" in DEFAULT_CONFIG


@pytest.mark.parametrize(("version", "status"), [("2.3.4", "pass"), ("2.2.7", "fail")])
def test_ctr_from_2_3_on_finds_them_where_a_spec_names_them(version: str, status: str) -> None:
    node = with_libraries(*d.both("folder"))
    node.answer(("ctr", "--version"), f"ctr github.com/containerd/containerd/v2 {version}\n")
    assert find(node, "library-present").per_route["ctr-gpus"] == status
    node.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), f"nerdctl version {version}\n")
    assert find(node, "library-present").per_route["nerdctl"] == status


def test_a_client_that_tells_no_version_is_taken_for_an_old_one() -> None:
    node = with_libraries(*d.both("folder")).answer(("ctr", "--version"), "?\n")
    per_route = find(node, "library-present").per_route
    assert (per_route["ctr-gpus"], per_route["nerdctl"], per_route["ctr-cdi"]) == ("fail", "fail", "pass")


def test_versions_that_differ_are_shown_from_all_sides() -> None:
    node = d.on_disk(with_libraries(*d.both(version="580.173.02")), version="580.173.02")
    assert evidence(node, "versions-match") == [
        ("/sys/module/nvidia/version", d.VERSION),
        (ML, f"{d.LIBS}/libnvidia-ml.so.580.173.02"),
        ("modinfo nvidia", "580.173.02"),
    ]
    assert find(node, "versions-match").outcome.where == Where(ML)
    nothing = d.on_disk(with_libraries(*d.both(version="580.173.02")), version=None)
    assert [source for source, _ in evidence(nothing, "versions-match")] == ["/sys/module/nvidia/version", ML]
    assert find(with_libraries(*d.both()), "versions-match").outcome.found == f"module and libraries are {d.VERSION}"


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
    node = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(uuid="GPU-99999999-0000-0000-0000-000000000009")))
    found = find(node, "nvml-answers").outcome
    assert found.where == Where("/usr/bin/nvidia-smi")
    assert d.uuid(0) in str(found.expected)
    hidden = node.deny("/proc/driver/nvidia/gpus")
    assert find(hidden, "nvml-answers").status in ("pass", "blocked")


def test_one_gpu_of_the_nodes_among_the_listed_is_enough() -> None:
    both = d.smi_xml(d.gpu_xml(0), d.gpu_xml(1, uuid="GPU-99999999-0000-0000-0000-000000000009"))
    assert find(d.smi(d.h100(SimNode(), 2), both), "nvml-answers").status == "pass"


def test_what_is_not_said_is_left_out() -> None:
    bare = d.smi_xml(d.gpu_xml(0)).replace("\t<cuda_version>13.0</cuda_version>\n", "")
    assert find(d.smi(ubuntu(), bare), "nvml-answers").outcome.found == f"1 x NVIDIA H100 80GB HBM3; driver {d.VERSION}"
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
    assert d.address(0) in commands(find(node, "gpu-count"))


def test_a_gpu_without_a_driver_is_named_and_looked_for_in_the_log() -> None:
    node = d.pci(ubuntu(), (d.address(0), d.H100, 0x030200, "nvidia"), ("0000:81:00.0", 0x0FFD, 0x030000, ""))
    found = find(node, "gpu-count")
    assert found.outcome.found == "1 GPUs in NVML as on the bus; without a driver: 0000:81:00.0"
    assert "0000:81:00.0" in commands(found)


def test_gpus_whose_addresses_nvml_does_not_tell_are_counted() -> None:
    node = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, bus="N/A")))
    assert find(node, "gpu-count").outcome.found == "1 in NVML as on the bus"


def test_each_sick_gpu_is_shown_once_with_all_that_it_says() -> None:
    node = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0, retirement="Yes", remap_pending="Yes"), d.gpu_xml(1)))
    said = failed(node, "gpu-health")
    assert said.count(f"GPU 0 ({d.address(0)}) ") == 2
    shown = evidence(node, "gpu-health")
    assert len(shown) == 1
    assert shown[0][1] == f"{d.address(0)} {d.uuid(0)} NVIDIA H100 80GB HBM3"
    assert find(d.h100(SimNode(), 2), "gpu-health").outcome.found == "2 GPUs, none with a complaint"


def test_a_gpu_without_an_address_is_named_by_its_uuid() -> None:
    node = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, bus="N/A", retirement="Yes")))
    assert failed(node, "gpu-health").startswith(f"GPU 0 ({d.uuid(0)}) ")


def test_mig_that_is_off_everywhere_says_just_that() -> None:
    assert find(ubuntu(), "mig-instances").outcome.found == "MIG is off on every GPU"


def test_a_gpu_whose_mig_goes_off_at_the_next_reset_says_so() -> None:
    xml = d.smi_xml(d.gpu_xml(0, mig="Enabled", mig_pending="Disabled", mig_devices=d.mig_xml(0, 7)))
    assert find(d.smi(ubuntu(), xml), "mig-instances").outcome.found == (
        "GPU 0: 1 MIG devices; after the next reset: GPU 0 Disabled"
    )


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
    made.unit("nvidia-fabricmanager.service", Id="nvidia-fabricmanager.service")
    assert failed(made, "fabric-manager").endswith("; the manager runs")


def test_without_switches_the_manager_is_elsewhere_unless_it_is_installed() -> None:
    made = fabric(d.h100(SimNode(), 2), "In Progress")
    assert failed(made, "fabric-manager").endswith("; no NVSwitch on this machine")
    made.program("/usr/bin/nv-fabricmanager")
    assert failed(made, "fabric-manager").endswith("; the manager does not run")


def test_a_process_without_a_unit_runs_too() -> None:
    made = fabric(switches(d.h100(SimNode(systemd=False), 2)), "In Progress")
    made.process(Proc(900, "nv-fabricmanage", ["nv-fabricmanager"], "/usr/bin/nv-fabricmanager"))
    assert failed(made, "fabric-manager").endswith("; the manager runs")


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
    assert find(d.log(ubuntu(), begins="[  100.000000]"), "xid").outcome.found == "no fatal Xid in dmesg"


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


def test_what_the_kernel_hides_is_left_out_of_the_evidence() -> None:
    node = unloaded(ubuntu()).answer(("kernel log",), "denied\n")
    assert find(node, "module-loaded").outcome.evidence == ()
