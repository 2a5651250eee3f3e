"""Each check of the driver on a simulated node: what passes it, what fails it, and what then is blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.checks.driver import MESSAGES
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.views import Views
from tests.support import driver as d
from tests.support.simnode import Entry, Proc, SimNode

if TYPE_CHECKING:
    from pytest_gpuready.model import Settings
    from pytest_gpuready.report.model import Finding

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n'
FEDORA = "NAME=Fedora\nID=fedora\n"


def ubuntu() -> SimNode:
    """A healthy H100 node on Ubuntu, a user who is not root, sudo there."""
    node = SimNode().put("/etc/os-release", UBUNTU).program("/usr/bin/apt-get").program("/usr/bin/sudo")
    return d.h100(node.program("/usr/sbin/update-initramfs"))


def find(node: SimNode, check: str, settings: Settings | None = None) -> Finding:
    """The finding of one check."""
    return node.judge(settings).findings[f"driver.{check}"]


def commands(finding: Finding) -> str:
    """The remedy's commands, one per line."""
    assert finding.outcome.remedy is not None, finding.outcome
    return "\n".join(finding.outcome.remedy.commands)


def unloaded(node: SimNode) -> SimNode:
    """The module is not loaded; nothing that it makes is there."""
    node.remove("/sys/module/nvidia", "/sys/module/nvidia_uvm", "/proc/driver/nvidia")
    for path in [path for path in node.tree if path.startswith("/dev/nvidia")]:
        node.remove(path)
    return d.gpus_on_bus(node, driver="")


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


class TestNouveau:
    def test_a_gpu_that_nouveau_holds_fails_and_is_mended_by_a_drop_in(self) -> None:
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

    def test_its_module_alone_is_no_fault(self) -> None:
        assert find(ubuntu().folder("/sys/module/nouveau"), "nouveau-absent").status == "pass"


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

    def test_blacklisted_by_a_file_is_pointed_at_and_mended_in_place(self) -> None:
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
        node.put("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\x06\0\0\0\x01")
        finding = find(node, "module-loaded")
        assert "Secure Boot is on and it is not signed" in finding.outcome.found
        assert commands(finding).startswith("sudo mokutil --import /var/lib/shim-signed/mok/MOK.der")

    def test_secure_boot_refuses_a_key_that_is_not_enrolled(self) -> None:
        node = d.log(
            unloaded(ubuntu()), "Loading of module with unavailable key is rejected: Key was rejected by service"
        )
        node.put("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\x06\0\0\0\x01")
        assert "is not enrolled" in find(node, "module-loaded").outcome.found

    @pytest.mark.parametrize("value", [b"\x06\0\0\0\0", b"", b"\x06\0\0\0"])
    def test_secure_boot_off_is_not_blamed(self, value: bytes) -> None:
        node = d.on_disk(unloaded(ubuntu()), signer=None)
        node.put("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", value)
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

    def test_a_kernel_of_azures_that_is_no_wsl_is_judged_as_any_other(self) -> None:
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


class TestPersistenceSocket:
    def test_a_socket_without_its_daemon_warns(self) -> None:
        finding = find(ubuntu().socket("/run/nvidia-persistenced/socket"), "persistence")
        assert finding.status == "warn"
        assert str(finding.outcome.where) == "/run/nvidia-persistenced/socket"

    def test_a_socket_with_its_daemon_passes(self) -> None:
        node = ubuntu().socket("/run/nvidia-persistenced/socket")
        node.process(Proc(700, "nvidia-persiste", ["nvidia-persistenced"], "/usr/bin/nvidia-persistenced"))
        assert find(node, "persistence").status == "pass"


def test_every_message_leads_to_a_check_that_there_is() -> None:
    assert {message.check for message in MESSAGES} <= set(catalogue())
    assert len({message.text for message in MESSAGES}) == len(MESSAGES) >= 15


def test_no_program_of_nvidias_runs_in_the_first_round() -> None:
    """Modules and /dev are read first; what could load or make them is not among the first questions."""
    first = list(Views(Facts("ssh://n1")).wants())
    assert first
    assert not [request for request in first if request.kind == "script" and "NVML" in request.arg[0]]
    assert not [
        request for request in first if request.arg[0] in ("nvidia-smi", "nvidia-modprobe", "nvidia-container-cli")
    ]
