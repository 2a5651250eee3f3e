"""The kernel module: why it is not loaded, and whether it is the kind that the GPUs need."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Where
from tests.support import driver as d
from tests.support.driver import commands, evidence, failed, find, ubuntu, unloaded
from tests.support.simnode import SimNode

KO = f"/lib/modules/{d.KERNEL}/updates/dkms/nvidia.ko.zst"
EFI = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
GPU = f"{d.address(0)} 10de:2330"


class TestModule:
    def test_not_built_for_the_running_kernel(self) -> None:
        node = unloaded(ubuntu()).folder(f"/var/lib/dkms/nvidia/{d.VERSION}/6.8.0-39-generic")
        node.folder(f"/var/lib/dkms/nvidia/{d.VERSION}/source")
        d.on_disk(node, kernels=["6.8.0-39-generic"], headers=False)
        finding = find(node, "module-loaded")
        assert finding.status == "fail"
        assert "not built for the running kernel 6.8.0-40-generic (built for 6.8.0-39-generic" in finding.outcome.found
        assert "headers are not installed" in finding.outcome.found
        assert commands(finding).splitlines() == [
            "sudo apt-get install -y linux-headers-6.8.0-40-generic",
            "sudo dkms autoinstall -k 6.8.0-40-generic",
            "sudo modprobe nvidia",
            "sudo nvidia-modprobe -c=0 -c=255",
            "sudo nvidia-modprobe -u -c=0 -c=1",
        ]

    def test_headers_that_are_there_are_not_installed_again(self) -> None:
        node = unloaded(ubuntu()).folder(f"/var/lib/dkms/nvidia/{d.VERSION}/source")
        d.on_disk(node, kernels=[])
        assert commands(find(node, "module-loaded")).splitlines()[0] == "sudo dkms autoinstall -k 6.8.0-40-generic"

    def test_not_installed_at_all(self) -> None:
        finding = find(d.on_disk(unloaded(ubuntu()), kernels=[]), "module-loaded")
        assert "not installed" in finding.outcome.found
        assert "ubuntu-drivers install" in commands(finding)

    @pytest.mark.parametrize(
        ("release", "program", "command"),
        [
            (
                "ID=debian\n",
                "apt-get",
                "sudo apt-get install -y linux-headers-6.8.0-40-generic nvidia-kernel-dkms nvidia-driver nvidia-smi",
            ),
            ("ID=rocky\nID_LIKE='rhel fedora'\n", "dnf", "sudo dnf install -y nvidia-open"),
            ("ID=sles\nID_LIKE=suse\n", "zypper", "sudo zypper --non-interactive install nvidia-open"),
            ("ID=arch\n", "pacman", "sudo pacman -S --noconfirm nvidia-open-dkms nvidia-utils"),
            ("ID=nixos\n", "true", "sudo nixos-rebuild boot"),
        ],
    )
    def test_each_distribution_has_its_own_command(self, release: str, program: str, command: str) -> None:
        node = d.h100(SimNode().put("/etc/os-release", release).program(f"/usr/bin/{program}").program("/usr/bin/sudo"))
        assert command in commands(find(d.on_disk(unloaded(node), kernels=[]), "module-loaded"))

    def test_a_blacklisting_file_is_shown_and_edited_in_place(self) -> None:
        deny = "deny /etc/modprobe.d/no-gpu.conf:3:blacklist nvidia"
        finding = find(d.on_disk(unloaded(ubuntu()), more=[deny]), "module-loaded")
        assert str(finding.outcome.where) == "/etc/modprobe.d/no-gpu.conf:3"
        assert commands(finding).splitlines() == [
            "sudo sed -i '3s/^/# /' /etc/modprobe.d/no-gpu.conf",
            "sudo update-initramfs -u",
            "sudo modprobe nvidia",
            "sudo nvidia-modprobe -c=0 -c=255",
            "sudo nvidia-modprobe -u -c=0 -c=1",
        ]

    def test_a_file_name_of_the_nodes_is_quoted(self) -> None:
        deny = "deny /etc/modprobe.d/a;reboot.conf:1:blacklist nvidia"
        assert "'/etc/modprobe.d/a;reboot.conf'" in commands(
            find(d.on_disk(unloaded(ubuntu()), more=[deny]), "module-loaded")
        )

    def test_blacklisted_on_the_kernels_command_line(self) -> None:
        node = d.on_disk(unloaded(ubuntu()), more=["cmdline modprobe.blacklist=nouveau,nvidia"])
        assert "modprobe.blacklist=nouveau,nvidia" in find(node, "module-loaded").outcome.found

    def test_secure_boot_refuses_an_unsigned_module(self) -> None:
        node = d.on_disk(unloaded(ubuntu()), signer=None, more=["mok /var/lib/shim-signed/mok/MOK.der"])
        node.put(EFI, b"\x06\0\0\0\x01")
        finding = find(node, "module-loaded")
        assert "Secure Boot is on and it is not signed" in finding.outcome.found
        assert commands(finding).startswith("sudo mokutil --import /var/lib/shim-signed/mok/MOK.der")

    def test_secure_boot_refuses_a_key_that_is_not_enrolled(self) -> None:
        node = d.log(
            unloaded(ubuntu()), "Loading of module with unavailable key is rejected: Key was rejected by service"
        )
        node.put(EFI, b"\x06\0\0\0\x01")
        assert "is not enrolled" in find(node, "module-loaded").outcome.found

    @pytest.mark.parametrize("value", [b"\x06\0\0\0\0", b"", b"\x06\0\0\0"])
    def test_secure_boot_off_is_not_blamed(self, value: bytes) -> None:
        node = d.on_disk(unloaded(ubuntu()), signer=None)
        node.put(EFI, value)
        assert "Secure Boot" not in find(node, "module-loaded").outcome.found

    def test_the_wrong_flavour_on_disk_is_named(self) -> None:
        node = d.gpus_on_bus(d.on_disk(unloaded(ubuntu()), license_="NVIDIA"), device=0x2901, driver="")
        assert "needs the open one" in find(node, "module-loaded").outcome.found

    def test_there_and_not_loaded_is_loaded(self) -> None:
        finding = find(unloaded(ubuntu()), "module-loaded")
        assert "was not loaded" in finding.outcome.found
        assert commands(finding).splitlines()[0] == "sudo modprobe nvidia"

    def test_the_operators_driver_container_is_asked_first(self) -> None:
        node = d.on_disk(unloaded(ubuntu()), kernels=[]).folder("/run/nvidia/driver")
        assert "kubectl" in commands(find(node, "module-loaded"))

    def test_nvidia_smi_is_never_called_before_the_module_is_loaded(self) -> None:
        facts = unloaded(ubuntu()).facts()
        assert not [request for request, _ in facts if "nvidia-smi -q -x" in request.arg]

    def test_the_version_that_is_loaded_is_told(self) -> None:
        assert find(ubuntu(), "module-loaded").outcome.found == f"nvidia {d.VERSION} is loaded"
        silent = ubuntu().put("/sys/module/nvidia/version", "").put("/proc/driver/nvidia/version", "?\n")
        assert find(silent, "module-loaded").outcome.found == "nvidia (version unsaid) is loaded"

    def test_what_the_kernel_said_last_is_the_evidence(self) -> None:
        node = d.log(unloaded(ubuntu()), *[f"[ {number}.0] NVRM: line {number}" for number in range(8)])
        shown = evidence(node, "module-loaded")
        assert [source for source, _ in shown] == ["dmesg"]
        assert shown[0][1].splitlines()[0].endswith("line 2")
        assert evidence(d.log(unloaded(ubuntu())), "module-loaded") == []

    def test_a_module_that_was_not_loaded_is_shown_by_its_file(self) -> None:
        found = find(unloaded(ubuntu()), "module-loaded").outcome
        assert found.found == (
            f"the module nvidia is not loaded: nvidia.ko {d.VERSION} is there for this kernel and was not loaded"
        )
        assert found.where is not None
        assert found.where.path == KO

    def test_a_module_that_modinfo_finds_is_there(self) -> None:
        node = d.on_disk(unloaded(ubuntu()), kernels=[], more=[f"info version {d.VERSION}"])
        found = find(node, "module-loaded").outcome
        assert found.found.endswith(f"nvidia.ko {d.VERSION} is there for this kernel and was not loaded")
        assert found.where is None

    def test_a_module_without_version_and_licence_is_there(self) -> None:
        found = find(d.on_disk(unloaded(ubuntu()), version=None), "module-loaded").outcome
        assert found.found.endswith("not loaded: nvidia.ko is there for this kernel and was not loaded")

    def test_built_for_other_kernels_with_and_without_sources(self) -> None:
        other = d.on_disk(unloaded(ubuntu()), kernels=["6.8.0-39-generic"], headers=False)
        assert failed(other, "module-loaded").endswith(
            "it is not built for the running kernel 6.8.0-40-generic (built for 6.8.0-39-generic)"
        )
        sources = d.on_disk(unloaded(ubuntu()), kernels=[]).folder(f"/var/lib/dkms/nvidia/{d.VERSION}/source")
        assert failed(sources, "module-loaded").endswith(
            f"(built for no kernel; DKMS holds the sources of {d.VERSION})"
        )
        assert find(other, "module-loaded").outcome.where is None

    def test_a_driver_container_beside_a_module_of_the_hosts_is_no_reason(self) -> None:
        node = d.on_disk(unloaded(ubuntu()), kernels=["6.8.0-39-generic"]).folder("/run/nvidia/driver")
        assert "is not built for the running kernel" in failed(node, "module-loaded")
        bare = d.on_disk(unloaded(ubuntu()), kernels=[]).folder("/run/nvidia/driver")
        assert failed(bare, "module-loaded").endswith("the GPU operator's driver container has not loaded one")

    def test_what_the_command_line_forbids_is_shown_there(self) -> None:
        node = d.on_disk(unloaded(ubuntu()), more=["cmdline modprobe.blacklist=nvidia"])
        found = find(node, "module-loaded").outcome
        assert found.where == Where("/proc/cmdline")
        assert found.remedy is not None
        assert found.remedy.summary

    def test_secure_boot_names_the_signer_or_its_absence(self) -> None:
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

    def test_module_sig_enforce_refuses_unsigned_modules_without_secure_boot(self) -> None:
        off = b"\x06\0\0\0\x00"
        node = d.on_disk(unloaded(ubuntu()), signer=None, more=["enforce Y"]).put(EFI, off)
        assert "it is not signed" in failed(node, "module-loaded")

    def test_the_wrong_flavour_on_disk_counts_where_all_gpus_need_the_other(self) -> None:
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

    def test_what_the_kernel_hides_is_left_out_of_the_evidence(self) -> None:
        node = unloaded(ubuntu()).answer(("kernel log",), "denied\n")
        assert find(node, "module-loaded").outcome.evidence == ()


class TestFlavour:
    @pytest.mark.parametrize("device", [0x2901, 0x2941, 0x3182, 0x2B85, 0x2342])
    def test_blackwell_and_grace_hopper_need_the_open_module(self, device: int) -> None:
        finding = find(d.h100(SimNode(), device=device, flavour="proprietary"), "kernel-flavour")
        assert finding.status == "fail"
        assert "needs the open one" in finding.outcome.found
        assert find(d.h100(SimNode(), device=device), "kernel-flavour").status == "pass"

    @pytest.mark.parametrize("device", [0x13C2, 0x15F8, 0x1B06, 0x1DB4])
    def test_maxwell_pascal_and_volta_need_the_proprietary_one(self, device: int) -> None:
        finding = find(d.h100(SimNode(), device=device), "kernel-flavour")
        assert finding.status == "fail"
        assert "needs the proprietary one" in finding.outcome.found
        assert find(d.h100(SimNode(), device=device, flavour="proprietary"), "kernel-flavour").status == "pass"

    @pytest.mark.parametrize("flavour", ["open", "proprietary"])
    @pytest.mark.parametrize("device", [0x1EB8, 0x20B0, 0x2330, 0x26B9])
    def test_turing_to_hopper_take_both(self, device: int, flavour: str) -> None:
        assert find(d.h100(SimNode(), device=device, flavour=flavour), "kernel-flavour").status == "pass"

    def test_a_gpu_given_away_is_no_concern(self) -> None:
        node = d.pci(
            ubuntu(), (d.address(0), d.H100, 0x030200, "nvidia"), ("0000:81:00.0", 0x1DB4, 0x030200, "vfio-pci")
        )
        assert find(node, "kernel-flavour").status == "pass"

    def test_the_flavour_is_told_and_what_is_wrong_with_it_shown(self) -> None:
        assert find(ubuntu(), "kernel-flavour").outcome.found == f"the open module drives {GPU} (nvidia)"
        node = d.h100(SimNode(), device=0x2901, flavour="proprietary")
        shown = evidence(node, "kernel-flavour")
        assert [source for source, _ in shown] == ["/proc/driver/nvidia/version", "dmesg"]
        assert d.VERSION in shown[0][1]
        assert find(node, "kernel-flavour").outcome.expected == "the open module"

    def test_more_than_eight_devices_are_counted(self) -> None:
        assert find(d.h100(SimNode(), 9), "kernel-flavour").outcome.found.endswith(" and 1 more")
        assert "more" not in find(d.h100(SimNode(), 8), "kernel-flavour").outcome.found
