"""The driver's checks of bus, kernel module and device nodes; the other modules driver_* hold the rest."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.containerd import sandboxed
from pytest_gpuready.checks.messages import Message
from pytest_gpuready.model import (
    Denied,
    Evidence,
    Outcome,
    Remedy,
    Undetermined,
    Where,
    failed,
    passed,
)
from pytest_gpuready.views.containerd_live import CONTROL_NODE
from pytest_gpuready.views.driver import BLACKWELL, GRACE_HOPPER, TURING

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.driver import Driver
    from pytest_gpuready.views.driver_probe import PciDevice
    from pytest_gpuready.views.platform import Platform

_LSPCI = "sysfs, PCI devices of vendor 10de"
_OTHER_FLAVOUR: dict[str | None, str] = {"open": "proprietary", "proprietary": "open"}


@check("driver.gpu-on-bus", title="An NVIDIA GPU is on the PCI bus")
def gpu_on_bus(driver: Driver, mend: Remedies) -> Outcome:
    """A GPU is there for the driver to drive.

    What: A PCI function of vendor 10de and class 0300 (VGA) or 0302 (3D) is in sysfs; on WSL /dev/dxg; or it is a
        Tegra.
    Why: Without hardware nothing else means anything. A GPU that fell off the bus, or a virtual machine without
        passthrough, looks like this.
    Fix: Hardware, firmware or the virtual machine's configuration; on WSL the driver of Windows.
    References: Linux Documentation/ABI/testing/sysfs-bus-pci; PCI code and ID assignment (class 03h);
        nvidia-container-toolkit issue 155 (WSL without adapters).
    """
    if driver.is_wsl:
        if driver.facts.exists("/dev/dxg"):
            return passed("WSL: /dev/dxg is there")
        return failed(
            "WSL without /dev/dxg", expected="/dev/dxg, by which Windows lends its GPU", remedy=mend.driver.no_gpu()
        )
    if driver.is_tegra:
        return passed("Tegra: the GPU is part of the chip")
    if driver.gpus_on_bus:
        return passed(f"{len(driver.gpus_on_bus)} on the bus: {_list(driver.gpus_on_bus)}")
    others = _list(driver.pci)
    return failed(
        f"no NVIDIA GPU among the PCI devices{f'; of NVIDIA there is only {others}' if others else ''}",
        expected="a PCI device of vendor 10de, class 0300 or 0302",
        evidence=(Evidence(_LSPCI, others or "none"),),
        remedy=mend.driver.no_gpu(),
    )


@check("driver.nouveau-absent", title="No GPU is held by nouveau", needs=["driver.gpu-on-bus"])
def nouveau_absent(driver: Driver, mend: Remedies) -> Outcome:
    """The in-kernel driver does not hold a GPU.

    What: No NVIDIA GPU on the bus is bound to nouveau (or to its successor nova).
    Why: A device has one driver. While nouveau holds the GPU, NVIDIA's module cannot take it, and its installer
        refuses.
    Fix: Blacklist nouveau, make the initial ramdisk anew, reboot.
    References: NVIDIA Driver Installation Guide, "Disabling Nouveau"; dcgm-diag's denylist test (nvvs Software.cpp).
    """
    driver.only_on_pci("PCI device to hold")
    held = [
        device for device in driver.gpus_on_bus if device.driver in ("nouveau", "nova-core", "nova_core", "NovaCore")
    ]
    if not held:
        loaded = driver.has_module("nouveau")
        return passed(f"no GPU is bound to nouveau{' (its module is loaded and holds none)' if loaded else ''}")
    rival = held[0].driver
    return failed(
        f"{rival} holds {', '.join(device.address for device in held)}",
        expected="the GPUs are free for the module nvidia",
        evidence=(Evidence(_LSPCI, _list(driver.gpus_on_bus)),),
        remedy=mend.driver.nouveau(rival),
    )


@check(
    "driver.module-loaded", title="The kernel module is loaded", needs=["driver.gpu-on-bus", "driver.nouveau-absent"]
)
def module_loaded(driver: Driver, platform: Platform, mend: Remedies) -> Outcome:
    """The kernel module nvidia is loaded; if not, why.

    What: /sys/module/nvidia is there. If not: is the module built for the running kernel, let in by modprobe's
        configuration and the kernel's command line, signed where Secure Boot asks for it, of the flavour the GPU
        needs.
    Why: Everything of NVIDIA's talks to this module. After a kernel update without headers, DKMS builds none.
    Fix: Load it; or build it for this kernel; or sign it; or take away what forbids it.
    References: nvidia-container-toolkit issues 260 and 1269 ("nvml error: driver not loaded"); modprobe.d(5);
        dkms(8); kernel Documentation/admin-guide/module-signing.rst.
    """
    driver.only_on_pci("kernel module nvidia")
    if driver.module_loaded:
        return passed(f"nvidia {driver.module_version or '(version unsaid)'} is loaded")
    why, where, remedy = _why_not_loaded(driver, platform, mend)
    return failed(
        f"the module nvidia is not loaded: {why}",
        expected="the module nvidia is loaded",
        where=where,
        evidence=_kernel_says(driver),
        remedy=remedy,
    )


def _why_not_loaded(driver: Driver, platform: Platform, mend: Remedies) -> tuple[str, Where | None, Remedy]:
    disk, kernel = driver.on_disk, platform.kernel
    here = disk.built.get(kernel)
    where = Where(here) if here else None
    if here is None and disk.version is None:
        if driver.driver_root and not disk.built:
            why = "the host has no driver; the GPU operator's driver container has not loaded one"
            return why, None, mend.driver.install()
        if disk.built or driver.dkms:
            built = ", ".join(sorted(disk.built)) or "no kernel"
            sources = f"; DKMS holds the sources of {', '.join(sorted(driver.dkms))}" if driver.dkms else ""
            lacking = "" if disk.headers or not driver.dkms else ", and the kernel's headers are not installed"
            why = f"it is not built for the running kernel {kernel} (built for {built}{sources}){lacking}"
            return why, None, mend.driver.build()
        return f"it is not installed (no nvidia.ko for {kernel} nor any other kernel)", None, mend.driver.install()
    for path, line, text in disk.denied:
        return f"modprobe's configuration forbids it ({text!r})", Where(path, line), mend.driver.allow(path, line, text)
    if driver.denied_on_cmdline:
        words = driver.denied_on_cmdline
        why = f"the kernel's command line forbids it ({' '.join(words)})"
        return why, Where("/proc/cmdline"), mend.driver.allow_on_cmdline(words)
    if _refused_unsigned(driver):
        signed = f"its signer {disk.signer!r} is not enrolled" if disk.signer else "it is not signed"
        return f"Secure Boot is on and {signed}", where, mend.driver.sign(disk.signer)
    other = _OTHER_FLAVOUR.get(disk.flavour)
    if other and all(_needs(device) == other for device in driver.gpus_on_bus):
        why = f"the {disk.flavour} module is installed and {_list(driver.gpus_on_bus)} needs the {other} one"
        return why, where, mend.driver.install(other)
    version = f" {disk.version}" if disk.version else ""
    return f"nvidia.ko{version} is there for this kernel and was not loaded", where, mend.driver.load()


def _refused_unsigned(driver: Driver) -> bool:
    """Secure Boot (or module.sig_enforce) refuses the module: unsigned, or the kernel said it knows no such key."""
    disk = driver.on_disk
    with contextlib.suppress(Undetermined, Denied):
        if not driver.secure_boot and not disk.enforced:
            return False
    said = " ".join(item.text for item in _kernel_says(driver))
    return disk.signer is None or "Key was rejected" in said or "unsigned module is rejected" in said


def _kernel_says(driver: Driver) -> tuple[Evidence, ...]:
    """The last lines of the kernel's log about the driver, where they may be read."""
    with contextlib.suppress(Undetermined, Denied):
        log = driver.kernel_log
        if log.lines:
            return (Evidence(log.source, "\n".join(log.lines[-6:])),)
    return ()


def _needs(device: PciDevice) -> str | None:
    """The flavour of the module that this GPU works with: `open`, `proprietary`, or None (both do)."""
    if device.device < TURING:
        return "proprietary"
    return "open" if device.device >= BLACKWELL or device.device in GRACE_HOPPER else None


@check("driver.kernel-flavour", title="The module's flavour fits the GPU", needs=["driver.module-loaded"])
def kernel_flavour(driver: Driver, mend: Remedies) -> Outcome:
    """The open or the proprietary module is loaded, as the GPU needs.

    What: Blackwell, Grace Hopper and later need the open module; Maxwell, Pascal and Volta the proprietary one;
        Turing to Hopper work with both. The GPU's generation is told by its PCI device id (Turing begins at 1E00,
        Blackwell at 2900).
    Why: With the wrong flavour the module loads, says so in the kernel's log, and drives no GPU: nvidia-smi lists
        none.
    Fix: Install the other flavour and reboot.
    References: NVIDIA Driver Installation Guide, "Kernel Modules"; open-gpu-kernel-modules README ("Turing or later")
        and src/nvidia/generated/g_nv_name_released.h; NVIDIA's blog "Transitions Fully Towards Open-Source GPU Kernel
        Modules".
    """
    driver.only_on_pci("kernel module nvidia")
    flavour = driver.flavour
    wrong = [
        device for device in driver.gpus_on_bus if device.driver != "vfio-pci" and _needs(device) not in (None, flavour)
    ]
    if not wrong:
        return passed(f"the {flavour} module drives {_list(driver.gpus_on_bus)}")
    need = str(_needs(wrong[0]))
    return failed(
        f"the {flavour} module is loaded; {_list(wrong)} needs the {need} one",
        expected=f"the {need} module",
        evidence=(Evidence("/proc/driver/nvidia/version", str(driver.nvrm_version)), *_kernel_says(driver)),
        remedy=mend.driver.install(need),
    )


@check("driver.device-nodes", title="The device nodes are there and can be opened", needs=["driver.module-loaded"])
def device_nodes(driver: Driver, containerd_live: ContainerdLive, mend: Remedies) -> Outcome:
    """/dev/nvidiactl and /dev/nvidia0 … are there, with the driver's numbers, and openable; for containerd too.

    What: A character device for nvidiactl and for every GPU that the module drives, its major as in /proc/devices,
        its minor as in /proc/driver/nvidia/gpus, its mode and owner at least what the driver's parameters say (0666).
        Where containerd lives in a mount namespace of its own, nvidiactl is there too.
    Why: devtmpfs does not make them: udev, nvidia-modprobe or nvidia-persistenced do. Until they are there, NVML
        cannot be asked without changing the node, and CDI has nothing to inject.
    Fix: nvidia-modprobe makes and mends them; a service of containerd with PrivateDevices is to do without.
    References: nvidia-modprobe modprobe-utils/nvidia-modprobe-utils.c (mknod_helper); NVIDIA driver README, "The
        NVIDIA device files"; nvidia-container-toolkit issues 33 and 210 ("Insufficient Permissions").
    """
    driver.only_on_pci("/dev/nvidia0")
    minors = driver.gpu_minors
    faults = driver.node_faults()
    names = ", ".join(["nvidiactl", *[f"nvidia{minor}" for minor in minors]])
    if not minors:
        return failed(
            f"the module nvidia drives no GPU: {_list(driver.gpus_on_bus)}",
            expected="the module nvidia drives a GPU",
            evidence=_kernel_says(driver),
            remedy=mend.gpus.none_driven(driver.gpus_on_bus),
        )
    if not faults and containerd_live.hides(CONTROL_NODE):
        return failed(
            f"/dev: {names} are there, and not for containerd: it has a /dev of its own",
            expected="containerd has the node's /dev",
            evidence=sandboxed(containerd_live),
            where=Where(f"{containerd_live.root}{CONTROL_NODE}"),
            remedy=mend.containerd.unhide("/dev"),
        )
    if not faults:
        return passed(f"/dev: {names}, major {driver.frontend_major}")
    wanted = {"/dev/nvidiactl": 255, **{f"/dev/nvidia{minor}": minor for minor in minors}}
    return failed(
        "; ".join(map(str, faults)),
        expected=f"/dev: {names}, character devices of major {driver.frontend_major}, openable",
        where=Where(faults[0].path),
        remedy=mend.driver.nodes({wanted[fault.path]: fault for fault in faults}),
    )


@check("driver.uvm-node", title="nvidia-uvm is loaded and has its node", needs=["driver.device-nodes"])
def uvm_node(driver: Driver, mend: Remedies) -> Outcome:
    """/dev/nvidia-uvm is there, with the driver's numbers, and openable.

    What: The module nvidia_uvm is loaded, /dev/nvidia-uvm is a character device of the (dynamic) major in
        /proc/devices, minor 0, and openable; /dev/nvidia-uvm-tools, where it is there, has minor 1.
    Why: CUDA needs it, nvidia-smi does not: containers list their GPU and then fail with error 999. Legacy mode makes
        it by itself; CDI injects what is there when the spec is made.
    Fix: nvidia-modprobe -u loads the module and makes the nodes; then make the CDI spec anew.
    References: nvidia-container-toolkit issues 50, 1934 and 1967; nvidia-modprobe (-u).
    """
    driver.only_on_pci("/dev/nvidia-uvm")
    major = driver.majors.get("nvidia-uvm")
    if major is None:
        loaded = driver.has_module("nvidia_uvm")
        return failed(
            "the module nvidia_uvm is loaded and has no major in /proc/devices"
            if loaded
            else "the module nvidia_uvm is not loaded",
            expected="nvidia_uvm is loaded and /dev/nvidia-uvm is there",
            remedy=mend.driver.uvm(loaded=False),
        )
    faults = [driver.node_fault("/dev/nvidia-uvm", major, 0), driver.node_fault("/dev/nvidia-uvm-tools", major, 1)]
    real = [fault for fault in faults if fault and not (fault.missing and fault.path.endswith("-tools"))]
    if not real:
        return passed(f"/dev/nvidia-uvm, major {major}")
    return failed(
        "; ".join(map(str, real)),
        expected=f"/dev/nvidia-uvm is a character device {major},0, openable",
        where=Where(real[0].path),
        remedy=mend.driver.uvm(loaded=True),
    )


def _list(devices: list[PciDevice]) -> str:
    """Devices in words, the first few."""
    shown = ", ".join(map(str, devices[:8]))
    return f"{shown} and {len(devices) - 8} more" if len(devices) > 8 else shown


MESSAGES: tuple[Message, ...] = (
    Message(
        (
            "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot "
            "open shared object file"
        ),
        "driver.library-present",
    ),
    Message("Failed to initialize NVML: Driver/library version mismatch", "driver.versions-match"),
    Message(
        "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch",
        "driver.versions-match",
    ),
    Message(
        "NVRM: API mismatch: the client has the version X, but this kernel module has the version Y",
        "driver.versions-match",
        "in dmesg",
    ),
    Message("nvidia-container-cli: initialization error: nvml error: driver not loaded", "driver.module-loaded"),
    Message("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "driver.module-loaded"),
    Message(
        "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service", "driver.module-loaded", "Secure Boot"
    ),
    Message(
        "modprobe: FATAL: Module nvidia not found in directory /lib/modules/…",
        "driver.module-loaded",
        "not built for this kernel",
    ),
    Message(
        "failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND", "driver.library-present", "in the runtime's CDI modifier"
    ),
    Message(
        "lstat /run/nvidia/driver/dev/nvidiactl: no such file or directory",
        "driver.library-present",
        "the toolkit's root is the driver container's",
    ),
    Message(
        "change root failed: /run/nvidia/driver: no such file or directory",
        "driver.library-present",
        "the driver container is gone",
    ),
    Message("failed to initialize NVML: ERROR_LIB_RM_VERSION_MISMATCH", "driver.versions-match"),
    Message("failed to initialize NVML: ERROR_DRIVER_NOT_LOADED", "driver.module-loaded"),
    Message("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", "driver.library-present"),
    Message("CUDA error 999: unknown error", "driver.uvm-node", "nvidia-smi works"),
    Message("modprobe: FATAL: Module nvidia-uvm not found in directory /lib/modules/…", "driver.module-loaded"),
    Message("Failed to initialize NVML: Insufficient Permissions", "driver.device-nodes", "else node.selinux"),
    Message("WSL environment detected but no adapters were found", "driver.gpu-on-bus"),
    Message(
        "NVRM: installed in this system requires use of the NVIDIA open kernel modules",
        "driver.kernel-flavour",
        "in dmesg",
    ),
    Message("No devices were found", "driver.nvml-answers", "nvidia-smi"),
    Message("Unable to determine the device handle for GPU0000:0B:00.0: GPU is lost.", "driver.gpu-health"),
    Message("CUDA error 802: system not yet initialized", "driver.fabric-manager"),
    Message(
        "mount error: /run/nvidia-persistenced/socket: no such device or address", "driver.persistence", "legacy mode"
    ),
)

from pytest_gpuready.checks import driver_fabric, driver_gpus, driver_libraries  # noqa: E402, F401 - the rest of the family
