"""Every command of the driver's and the GPUs' remedies, where nodes differ; test_distributions has the others."""

from __future__ import annotations

import pytest

from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views.nvsmi import Gpu
from tests.support import driver as d
from tests.support.cdi import cdi
from tests.support.distributions import node
from tests.support.remedies import parts
from tests.support.simnode import SimNode
from tests.support.toolkit import containerd, debian, toolkit, views

LOG = "sudo dmesg | grep -E 'NVRM|Xid' | tail -n 20"
KERNEL = d.KERNEL
LOAD = ("sudo modprobe nvidia", "sudo nvidia-modprobe -c=0 -c=255", "sudo nvidia-modprobe -u -c=0 -c=1")


def test_the_libraries_are_of_the_version_on_disk_where_no_module_is_loaded() -> None:
    made = node().put("/sys/module/nvidia/version", "").put("/proc/driver/nvidia/version", "?\n")
    assert parts(made)[0].libraries().summary.endswith(f"of the module's version ({d.VERSION}).")
    unsaid = parts(d.on_disk(made, version=None))[0].libraries()
    assert unsaid.summary.endswith("of the module's version.")
    assert unsaid.commands == ()


def test_a_module_that_is_packaged_per_kernel_is_there_after_a_reboot_into_that_kernel() -> None:
    made = d.on_disk(node(), kernels=["6.8.0-39-generic"])
    assert parts(made)[0].build().commands == ("sudo reboot",)
    assert "6.8.0-39-generic" in parts(made)[0].build().summary
    nothing = parts(d.on_disk(node(), kernels=[]))[0].build()
    assert nothing.commands == ()
    assert "(there are some for: none)" in nothing.summary


@pytest.mark.parametrize(
    ("programs", "ramdisk"),
    [
        (("/usr/sbin/update-initramfs",), ("sudo update-initramfs -u",)),
        (("/usr/sbin/update-initramfs", "/usr/bin/dracut"), ("sudo update-initramfs -u",)),
        (("/usr/bin/mkinitcpio", "/usr/bin/dracut"), ("sudo mkinitcpio -P",)),
        (("/sbin/dracut",), ("sudo dracut --force",)),
        ((), ()),
    ],
)
def test_what_modprobe_is_told_goes_into_the_ramdisk_where_there_is_one(
    programs: tuple[str, ...], ramdisk: tuple[str, ...]
) -> None:
    made = node()
    for program in programs:
        made.program(program)
    driver = parts(made)[0]
    assert driver.allow("/x", 3, "blacklist nvidia").commands == ("sudo sed -i '3s/^/# /' /x", *ramdisk, *LOAD)
    nouveau = driver.nouveau("nouveau")
    assert nouveau.commands[1:] == (*ramdisk, "sudo reboot")
    assert nouveau.edits[0].diff.endswith("+blacklist nouveau\n+options nouveau modeset=0\n")
    assert nouveau.edits[0].path == "/etc/modprobe.d/blacklist-nouveau.conf"


def test_where_the_system_is_an_image_the_kernels_words_keep_nouveau_away() -> None:
    remedy = parts(node("silverblue"))[0].nouveau("nouveau")
    assert remedy.commands == (
        "sudo rpm-ostree kargs --append=rd.driver.blacklist=nouveau --append=modprobe.blacklist=nouveau",
        "sudo reboot",
    )
    assert remedy.edits == ()


def test_what_changes_a_line_shows_the_change() -> None:
    edit = parts(node())[0].allow("/x", 3, "blacklist nvidia").edits[0]
    assert edit.diff == "--- /x\n+++ /x\n@@ -3 +3 @@\n-blacklist nvidia\n+# blacklist nvidia\n"


def test_the_short_ones() -> None:
    driver, gpus = parts(node())
    gpu = [Gpu(0, bus_id="0000:00:06.0"), Gpu(2)]
    assert driver.no_gpu().commands == ("lspci -nn -d 10de:",)
    assert driver.load().commands == (*LOAD, "sudo dmesg | tail -n 20")
    assert driver.allow_on_cmdline(["nvidia"]).commands == ("sudo reboot",)
    assert driver.sign(None).commands == ("mokutil --sb-state",)
    assert driver.ldconfig().commands == ("sudo ldconfig",)
    assert driver.loader_path("/a").commands == (
        "sudo tee /etc/ld.so.conf.d/nvidia.conf <<'EOF'\n/a\nEOF",
        "sudo ldconfig",
    )
    assert gpus.hung().commands == (LOG, "sudo nvidia-smi -pm 1")
    assert gpus.ask_by_hand().commands == ("/usr/bin/nvidia-smi", LOG)
    assert gpus.reset(gpu).commands == ("sudo nvidia-smi --gpu-reset -i 0,2",)
    assert gpus.reset(gpu, reboot=True).commands == ("sudo reboot",)
    assert gpus.replace().commands == ("sudo nvidia-bug-report.sh",)
    assert gpus.missing("x").commands == ("sudo dmesg | grep -E 'NVRM|Xid|x' | tail -n 30",)
    assert gpus.mig(gpu).commands == ("sudo nvidia-smi mig -i 0,2 -lgip",)
    assert gpus.mig_compute(gpu).commands == ("sudo nvidia-smi mig -i 0,2 -cci", "sudo nvidia-smi mig -i 0,2 -lgi")
    assert gpus.fabric_elsewhere().commands == ("nvidia-smi -q | grep -A 12 -i fabric",)
    assert gpus.stale_socket().commands == ("sudo systemctl restart nvidia-persistenced",)
    assert gpus.xid().commands == ("sudo dmesg | grep -E 'Xid' | tail -n 20",)
    assert gpus.none_driven([]).commands == gpus.missing("10de").commands
    assert gpus.none_driven(gpus.driver.gpus_on_bus).commands == gpus.missing(d.address(0)).commands
    assert parts(node().remove("/usr/bin/nvidia-smi"))[1].ask_by_hand().commands == ("nvidia-smi", LOG)
    kept = node().unit("nvidia-persistenced.service", ActiveState="inactive")
    assert parts(kept)[1].persistence().commands == ("sudo systemctl enable --now nvidia-persistenced",)


def test_a_gpu_is_taken_back_from_virtual_machines_by_what_binds_it() -> None:
    made, second = node(), "0000:81:00.0"
    d.pci(made, (d.address(0), d.H100, 0x030200, "nvidia"), (second, d.H100, 0x030200, "vfio-pci"))
    gpus = parts(made)[1]
    (command,) = gpus.none_driven(gpus.driver.gpus_on_bus).commands
    assert command.split(" && ") == [
        f"echo {second} | sudo tee /sys/bus/pci/drivers/vfio-pci/unbind",
        f"echo nvidia | sudo tee /sys/bus/pci/devices/{second}/driver_override",
        f"echo {second} | sudo tee /sys/bus/pci/drivers_probe",
    ]


def test_windows_and_the_operator_bring_their_own_driver() -> None:
    windows = SimNode(kernel="Linux 5.15.167.4-microsoft-standard-WSL2 x86_64").device("/dev/dxg", 10, 125)
    assert parts(windows)[0].no_gpu().commands == ("wsl.exe --update && wsl.exe --shutdown",)
    assert parts(node().folder("/run/nvidia/driver"))[0].install().commands == (
        "kubectl -n gpu-operator logs -l app=nvidia-driver-daemonset --all-containers --tail=50",
    )


def test_a_key_of_the_nodes_is_imported() -> None:
    made = d.on_disk(node(), more=["mok /var/lib/shim-signed/mok/MOK.der"])
    assert parts(made)[0].sign("x").commands == (
        "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der",
        "sudo reboot",
    )


def test_what_is_not_signed_or_signed_by_a_stranger_is_told_apart() -> None:
    driver = parts(node())[0]
    assert "the module is not signed. A person" in driver.sign(None).summary
    assert "the module is signed by 'somebody', whose key is not enrolled. A person" in driver.sign("somebody").summary


def test_packages_of_two_versions_are_brought_to_one() -> None:
    made = d.on_disk(node(), version="570.1.1")
    assert parts(made)[0].reload("580.1", "580.2").commands == ("sudo depmod -a", "sudo reboot")
    made.folder(f"/var/lib/dkms/nvidia/{d.VERSION}/source")
    assert parts(made)[0].reload("580.1", "580.2").commands == (
        f"sudo dkms autoinstall -k {KERNEL}",
        "sudo depmod -a",
        "sudo reboot",
    )
    assert parts(made)[0].reload("580.1", "570.1.1").commands == ("sudo reboot",)
    assert parts(made)[0].reboot_for_version().commands == ("sudo reboot",)


def test_nvmls_two_versions_are_brought_to_one_by_a_reboot_unless_the_loader_has_both() -> None:
    made = node()
    for name in ("libcuda", "libnvidia-ml"):
        made.put(f"{d.LIBS}/{name}.so.{d.VERSION}")
    assert parts(made)[0].reboot_for_version().commands == ("sudo ldconfig",)
    unsaid = d.on_disk(made, version=None)
    assert parts(unsaid)[0].reboot_for_version().commands == ("sudo reboot",)
    assert parts(unsaid)[0].reload("580.1", "580.2").commands == ("sudo reboot",)
    unsaid.put("/sys/module/nvidia/version", "").put("/proc/driver/nvidia/version", "?\n")
    assert "then replaces the loaded one." in parts(unsaid)[0].reboot_for_version().summary


def test_a_spec_is_kept_up_to_date_by_these_commands() -> None:
    mend = Remedies(views(cdi(containerd(toolkit(debian(SimNode())))))).cdi
    assert mend.refresh(has_unit=True, failed=True).commands == (
        "sudo journalctl -u nvidia-cdi-refresh.service -n 20 --no-pager",
        "sudo systemctl restart nvidia-cdi-refresh.service",
    )
    assert mend.refresh(has_unit=True).commands == (
        "sudo systemctl enable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service",
    )
    assert mend.generate("/var/run/cdi/k8s.gpu.nvidia.com.yaml").commands == ()
