"""What the driver's checks show beside their words (place, evidence, command), and nodes at the edges of them."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Where
from tests.checks.test_driver import commands, find, ubuntu, unloaded
from tests.support import driver as d
from tests.support.simnode import SimNode

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


def test_the_gpus_that_are_there_are_listed_else_what_of_nvidias_is_there_instead() -> None:
    assert find(ubuntu(), "gpu-on-bus").outcome.found == f"1 on the bus: {GPU} (nvidia)"
    empty = d.pci(ubuntu())
    assert failed(empty, "gpu-on-bus") == "no NVIDIA GPU among the PCI devices"
    assert evidence(empty, "gpu-on-bus") == [("sysfs, PCI devices of vendor 10de", "none")]
    sound, words = d.pci(ubuntu(), ("0000:01:00.1", 0x22BA, 0x040300, "")), "0000:01:00.1 10de:22ba (no driver)"
    assert failed(sound, "gpu-on-bus") == f"no NVIDIA GPU among the PCI devices; of NVIDIA there is only {words}"
    assert [text for _, text in evidence(sound, "gpu-on-bus")] == [words]


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


def test_a_module_that_modinfo_finds_is_there_whatever_the_lists_of_modules_say() -> None:
    node = d.on_disk(unloaded(ubuntu()), kernels=[], more=[f"info version {d.VERSION}"])
    found = find(node, "module-loaded").outcome
    assert found.found.endswith(f"nvidia.ko {d.VERSION} is there for this kernel and was not loaded")
    assert found.where is None


def test_a_module_whose_version_and_licence_are_unsaid_is_there_all_the_same() -> None:
    found = find(d.on_disk(unloaded(ubuntu()), version=None), "module-loaded").outcome
    assert found.found.endswith("not loaded: nvidia.ko is there for this kernel and was not loaded")


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
    fits = d.gpus_on_bus(d.on_disk(unloaded(ubuntu())), device=0x2901, driver="")
    assert "was not loaded" in failed(fits, "module-loaded")
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


def test_what_the_kernel_hides_is_left_out_of_the_evidence() -> None:
    node = unloaded(ubuntu()).answer(("kernel log",), "denied\n")
    assert find(node, "module-loaded").outcome.evidence == ()
