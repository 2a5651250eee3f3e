"""The driver without NVML: PCI bus, kernel module, device nodes, libraries, kernel log.

Everything here is read from sysfs, procfs, /dev and files. It is read first: programs of NVIDIA's that run as root load
modules and make device nodes, so NVML is asked only where `Driver.nvml_blocker` says that nothing is missing.
"""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.facts import Request, file, files, glob, stat
from pytest_gpuready.views import View
from pytest_gpuready.views import driver_probe as probe
from pytest_gpuready.views.nvsmi import bus_id
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Stat
    from pytest_gpuready.views import Views

NVIDIA_VERSION = file("/proc/driver/nvidia/version")
MODULE_VERSION = file("/sys/module/nvidia/version")
PARAMS = file("/proc/driver/nvidia/params")
INFORMATION = "/proc/driver/nvidia/gpus/*/information"
#: The files behind libnvidia-ml.so.1 and libcuda.so.1, in the folders that ldconfig looks into.
VERSIONED: tuple[str, ...] = tuple(
    f"{folder}/{name}.so.*" for folder in ("/usr/lib/*-linux-gnu", "/usr/lib64") for name in ("libnvidia-ml", "libcuda")
)
#: What makes initial ramdisks.
RAMDISK: tuple[str, ...] = ("update-initramfs", "dracut", "mkinitcpio")


def _places_of(program: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{program}" for folder in ("/usr/sbin", "/sbin", "/usr/bin"))


DEVICES = file("/proc/devices")
SECURE_BOOT = file("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", limit=64)
SOC_FAMILY = file("/sys/devices/soc0/family")
DKMS = "/var/lib/dkms/nvidia*/*/*"
MIG_INSTANCES = "/proc/driver/nvidia/capabilities/gpu*/mig/gi*"

#: Modules of the driver, and its rival.
MODULES: tuple[str, ...] = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nouveau")

#: Nodes that are looked at on every machine; those of further GPUs follow once their minors are known.
MOST_GPUS = 16
NODES: tuple[str, ...] = (
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
    "/dev/nvidia-caps/nvidia-cap1",
    "/dev/nvidia-caps/nvidia-cap2",
    *[f"/dev/nvidia{number}" for number in range(MOST_GPUS)],
)

#: First PCI device id of Turing (TU102, 1E02) and of Blackwell (GB100, 2901). Ids below are Volta and older, ids above
#: are younger: pci.ids; open-gpu-kernel-modules src/nvidia/generated/g_nv_name_released.h lists 1E02 and up.
TURING, BLACKWELL = 0x1E00, 0x2900
#: Grace Hopper needs the open module as Blackwell does (NVIDIA's blog of July 2024 on the open-source modules).
GRACE_HOPPER = frozenset({0x2342, 0x2348})


@dataclass(frozen=True)
class ProcGpu:
    """A GPU as the kernel module knows it (/proc/driver/nvidia/gpus/*/information); `minor` is N of /dev/nvidiaN."""

    address: str
    model: str | None
    uuid: str | None
    minor: int | None
    excluded: bool


@dataclass(frozen=True)
class NodeFault:
    """A device node that cannot be used: its path, and why in words.

    `mode` and `owner` are what it should have, where that alone is wrong.
    """

    path: str
    why: str
    missing: bool = False
    mode: int | None = None
    owner: str | None = None

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


class Driver(View):
    """PCI bus, kernel module, device nodes, libraries and kernel log."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """See `View.requests`."""
        yield from (NVIDIA_VERSION, MODULE_VERSION, PARAMS, DEVICES, SECURE_BOOT, SOC_FAMILY)
        yield files(INFORMATION)
        yield glob(DKMS)
        yield glob(MIG_INSTANCES)
        yield from (stat(f"/sys/module/{name}") for name in MODULES)
        yield from (stat(path) for path in NODES)
        yield from (stat("/dev/dxg"), stat("/etc/nv_tegra_release"), stat("/run/nvidia/driver"))
        yield stat("/run/nvidia-persistenced/socket")
        yield from (probe.PCI, probe.MODULE, probe.LIBRARIES, probe.KERNEL_LOG)
        yield from (glob(pattern) for pattern in VERSIONED)
        yield from (stat(path) for program in RAMDISK for path in _places_of(program))
        for gpu in views.get(cls).proc_gpus:
            if gpu.minor is not None and gpu.minor >= MOST_GPUS:
                yield stat(f"/dev/nvidia{gpu.minor}")

    # ------------------------------------------------------------------ what kind of machine

    @functools.cached_property
    def is_wsl(self) -> bool:
        """WSL2: the GPU comes by /dev/dxg from Windows; no PCI device, no module, no /dev/nvidia*."""
        kernel = ""
        with contextlib.suppress(Undetermined):
            kernel = self.views.get(Platform).kernel.lower()
        return "microsoft" in kernel and ("wsl" in kernel or self.facts.exists("/dev/dxg"))

    @functools.cached_property
    def is_tegra(self) -> bool:
        """Tegra (Jetson): the GPU is part of the chip, driven by nvgpu; there is no PCI device."""
        if self.facts.exists("/etc/nv_tegra_release"):
            return True
        return (self.facts.text(SOC_FAMILY) or "").strip().lower().startswith("tegra")

    def only_on_pci(self, what: str) -> None:
        """Raise `NotApplicable` on WSL and Tegra, which have no `what`."""
        if self.is_wsl:
            raise NotApplicable(f"WSL: the GPU comes by /dev/dxg, there is no {what}")
        if self.is_tegra:
            raise NotApplicable(f"Tegra: the GPU is part of the chip, there is no {what}")

    # ------------------------------------------------------------------ bus

    @functools.cached_property
    def pci(self) -> list[probe.PciDevice]:
        """NVIDIA's PCI functions, in the order of their addresses."""
        found = probe.pci_devices(self.facts.text(probe.PCI) or "")
        if found is None:
            raise Undetermined("sysfs shows no PCI bus")
        return found

    @property
    def gpus_on_bus(self) -> list[probe.PciDevice]:
        """The GPUs on the bus, without SR-IOV's virtual functions."""
        return [device for device in self.pci if device.is_gpu and not device.virtual]

    @property
    def nvswitches(self) -> list[probe.PciDevice]:
        """The NVSwitches on the bus."""
        return [device for device in self.pci if device.is_nvswitch]

    # ------------------------------------------------------------------ module

    def has_module(self, name: str) -> bool:
        """Whether a kernel module of `MODULES` is loaded."""
        return self.facts.exists(f"/sys/module/{name}")

    @property
    def module_loaded(self) -> bool:
        """The kernel module nvidia is loaded."""
        return self.has_module("nvidia")

    @functools.cached_property
    def module_version(self) -> str | None:
        """The loaded module's version, e.g. `580.159.04`; None where it is not loaded or does not say."""
        text = (self.facts.text(MODULE_VERSION) or "").strip()
        if re.fullmatch(r"\d+\.\d+(\.\d+)?", text):
            return text
        match = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+\.\d+(?:\.\d+)?)", self.nvrm_version or "")
        return match[1] if match else None

    @property
    def version(self) -> str:
        """The same where there must be one; `Undetermined` where there is none."""
        if self.module_version is None:
            raise Undetermined("the kernel module nvidia is not loaded, or does not say its version")
        return self.module_version

    @property
    def nvrm_version(self) -> str | None:
        """The first line of /proc/driver/nvidia/version."""
        text = self.facts.text(NVIDIA_VERSION)
        return text.splitlines()[0].strip() if text and text.strip() else None

    @property
    def flavour(self) -> str:
        """`open` or `proprietary`, as the loaded module says."""
        line = self.nvrm_version
        if line is None or "Kernel Module" not in line:
            raise Undetermined("/proc/driver/nvidia/version does not say which module is loaded")
        return "open" if "Open Kernel Module" in line else "proprietary"

    @functools.cached_property
    def on_disk(self) -> probe.ModuleOnDisk:
        """The module's files."""
        return probe.module_on_disk(self.facts.text(probe.MODULE) or "")

    @functools.cached_property
    def dkms(self) -> dict[str, list[str]]:
        """Versions that DKMS holds the sources of, and the kernels each is built for (names of its folders)."""
        found: dict[str, list[str]] = {}
        for path in self.facts.glob(DKMS):
            version, leaf = ([*path.split("/"), *[""] * 7])[5:7]
            if re.match(r"\d", version):
                kernels = found.setdefault(version, [])
                if leaf not in ("source", "build"):
                    kernels.append(leaf)
        return found

    @property
    def secure_boot(self) -> bool:
        """UEFI Secure Boot is on: the variable's value is the byte after its four of attributes."""
        fact = self.facts.fact(SECURE_BOOT)
        return fact.state == "ok" and len(fact.data) > 4 and fact.data[4] == 1

    @property
    def denied_on_cmdline(self) -> list[str]:
        """The words of the kernel's command line that keep the module nvidia from being loaded."""
        return [word for word in self.on_disk.cmdline if "nvidia" in word.partition("=")[2].split(",")]

    @property
    def driver_root(self) -> bool:
        """The GPU operator's driver container is (or was) here: /run/nvidia/driver."""
        return self.facts.exists("/run/nvidia/driver")

    @functools.cached_property
    def params(self) -> dict[str, str]:
        """/proc/driver/nvidia/params; empty where the module is not loaded."""
        pairs = [line.partition(":") for line in (self.facts.text(PARAMS) or "").splitlines()]
        return {name.strip(): value.strip() for name, colon, value in pairs if colon}

    @functools.cached_property
    def proc_gpus(self) -> list[ProcGpu]:
        """The GPUs that the module drives, by address."""
        found = []
        for path in self.facts.glob(INFORMATION, kind="files"):
            pairs = [line.partition(":") for line in (self.facts.text(file(path)) or "").splitlines()]
            said = {name.strip(): value.strip() for name, colon, value in pairs if colon}
            minor = said.get("Device Minor", "")
            uuid = said.get("GPU UUID", "")
            found.append(
                ProcGpu(
                    address=bus_id(said.get("Bus Location") or path.split("/")[5]) or path.split("/")[5],
                    model=said.get("Model") or None,
                    uuid=uuid if uuid.startswith("GPU-") and "?" not in uuid else None,
                    minor=int(minor) if re.fullmatch(r"[0-9]{1,4}", minor) else None,
                    excluded=said.get("GPU Excluded", "").lower() == "yes",
                )
            )
        return found

    @property
    def mig_instances(self) -> dict[int, int]:
        """How many GPU instances /proc/driver/nvidia/capabilities lists, by the N of gpuN (the minor)."""
        found: dict[int, int] = {}
        for path in self.facts.glob(MIG_INSTANCES):
            if match := re.search(r"/gpu(\d{1,4})/mig/gi\d+$", path):
                found[int(match[1])] = found.get(int(match[1]), 0) + 1
        return found

    # ------------------------------------------------------------------ device nodes

    @functools.cached_property
    def majors(self) -> dict[str, int]:
        """The character devices' majors by name, from /proc/devices."""
        text = self.facts.text(DEVICES)
        if text is None:
            raise Undetermined("/proc/devices is not there")
        block = text.partition("Block devices:")[0]
        return {match[2]: int(match[1]) for match in re.finditer(r"^\s*(\d{1,4}) (\S+)$", block, re.MULTILINE)}

    @property
    def frontend_major(self) -> int:
        """The major of /dev/nvidia0 and /dev/nvidiactl: 195, named nvidia or nvidia-frontend."""
        return next(
            (self.majors[name] for name in ("nvidia", "nvidia-frontend", "nvidiactl") if name in self.majors), 195
        )

    def node(self, path: str) -> Stat | None:
        """A device node; None where it is not there."""
        return self.facts.stat(path)

    @property
    def gpu_minors(self) -> list[int]:
        """The minors of the GPUs that have to have nodes: those the module drives and does not exclude."""
        known = [gpu for gpu in self.proc_gpus if not gpu.excluded]
        if known and all(gpu.minor is not None for gpu in known):
            return sorted(gpu.minor for gpu in known if gpu.minor is not None)
        return list(range(len([device for device in self.gpus_on_bus if device.driver == "nvidia"])))

    def node_faults(self) -> list[NodeFault]:
        """What is wrong with /dev/nvidiactl and the GPUs' nodes."""
        wanted = [("/dev/nvidiactl", 255), *[(f"/dev/nvidia{minor}", minor) for minor in self.gpu_minors]]
        faults = [self.node_fault(path, self.frontend_major, minor) for path, minor in wanted]
        return [fault for fault in faults if fault is not None]

    def node_fault(self, path: str, major: int, minor: int) -> NodeFault | None:
        """What is wrong with a device node that should have these numbers; None if nothing is."""
        seen = self.node(path)
        if seen is None:
            return NodeFault(path, "is not there", missing=True)
        if not seen.is_char_device:
            return NodeFault(path, f"is {'a folder' if seen.is_dir else 'no character device'}")
        if (seen.major, seen.minor) != (major, minor):
            return NodeFault(path, f"has the numbers {seen.major},{seen.minor}; the driver's are {major},{minor}")
        return self._mode_fault(path, seen)

    def _mode_fault(self, path: str, seen: Stat) -> NodeFault | None:
        """Users of containers open the node by its mode; the driver's parameters say which it should have."""
        said = self.params.get("DeviceFileMode", "")
        wanted = int(said) & 0o666 if re.fullmatch(r"[0-9]{1,5}", said) else 0o666
        mode = seen.mode & 0o666
        if mode & wanted != wanted:
            return NodeFault(path, f"has mode {seen.mode & 0o777:04o}; it needs {wanted:04o}", mode=wanted)
        owner = self.params.get("DeviceFileUID", "0")
        if mode & 0o006 != 0o006 and re.fullmatch(r"[0-9]{1,10}", owner) and seen.uid != int(owner):
            return NodeFault(path, f"belongs to user {seen.uid}; the driver's parameter says {owner}", owner=owner)
        return None

    # ------------------------------------------------------------------ libraries

    @functools.cached_property
    def _libraries(self) -> tuple[bool, list[probe.Library]]:
        text = self.facts.text(probe.LIBRARIES)
        if text is None:
            raise Undetermined("the node has no POSIX sh", "no-tool")
        return probe.libraries(text)

    @property
    def has_loader_cache(self) -> bool:
        """The node has ldconfig, whose cache programs find libraries by."""
        return self._libraries[0]

    @property
    def libraries(self) -> list[probe.Library]:
        """Every libnvidia-ml.so.1 and libcuda.so.1 found, those of the loader's cache first."""
        return self._libraries[1]

    def loader_would_find(self, version: str) -> bool:
        """Whether ldconfig alone would link both libraries to this version: whole files of it are there, none newer.

        ldconfig(8) links the name in each library to the highest version in its folder, and leaves out empty files.
        """
        broken = {one.real for one in self.libraries if one.fault and not one.fault.startswith("is a link")}
        found: dict[str, dict[str, str]] = {}
        with contextlib.suppress(Undetermined, Denied):
            for pattern in VERSIONED:
                for path in self.facts.glob(pattern):
                    folder, _, name = path.rpartition("/")
                    stem, _, suffix = name.partition(".so.")
                    if re.fullmatch(r"\d{3,4}(\.\d+){1,2}", suffix):
                        found.setdefault(f"{folder}/{stem}", {})[suffix] = path

        def newest(versions: dict[str, str]) -> str:
            return max(versions, key=lambda one: [int(part) for part in one.split(".")])

        good = {
            key.rpartition("/")[2]
            for key, versions in found.items()
            if newest(versions) == version and not {versions[version], versions[version].removeprefix("/usr")} & broken
        }
        return {name.partition(".so")[0] for name in probe.NAMES} <= good

    def makes_ramdisk(self, program: str) -> bool:
        """Whether a program of `RAMDISK` is known to be there."""
        facts = [self.facts.peek(stat(path)) for path in _places_of(program)]
        return any(fact is not None and fact.state == "ok" for fact in facts)

    def library(self, name: str, kinds: tuple[str, ...]) -> probe.Library | None:
        """The first usable library of that name in these kinds of places (`cache`, `folder`, `operator`, `root` …)."""
        machine = self.views.get(Platform).machine
        found = [library for library in self.libraries if library.name == name and library.fits(machine)]
        return next((library for kind in kinds for library in found if library.kind == kind), None)

    @property
    def nvml_library(self) -> probe.Library | None:
        """The libnvidia-ml.so.1 that NVML is asked through: the loader cache's, else that of any driver root."""
        return self.library("libnvidia-ml.so.1", ("cache", "wsl", "folder", "nixos", "root", "operator", "tegra"))

    # ------------------------------------------------------------------ kernel log, NVML

    @property
    def kernel_log(self) -> probe.KernelLog:
        """What the kernel said of the driver since boot; `Denied` where it hides that from this user."""
        text = self.facts.text(probe.KERNEL_LOG) or ""
        found = probe.kernel_log(text)
        if found is not None:
            return found
        if "denied" in text.splitlines():
            raise Denied("the kernel's log (dmesg)")
        raise Undetermined("neither dmesg nor journalctl is there to read the kernel's log", "no-tool")

    @property
    def nvml_blocker(self) -> str | None:
        """What forbids asking NVML, since it would be made or loaded by asking; None if nothing does."""
        if self.is_wsl:
            return None if self.facts.exists("/dev/dxg") else "/dev/dxg is not there"
        if self.is_tegra:
            return "Tegra has no NVML of this kind"
        if not self.module_loaded:
            return "the module nvidia is not loaded"
        if not self.gpu_minors:
            return "the module nvidia drives no GPU"
        faults = self.node_faults()
        return str(faults[0]) if faults else None
