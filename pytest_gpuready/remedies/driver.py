"""Remedies for the driver: what to type on this distribution, else what a person has to do and why."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, Edit, NotApplicable, Remedy, Undetermined
from pytest_gpuready.quoting import here_document, loader_folder, quote, quote_package
from pytest_gpuready.views.driver import Driver
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuready.views import Views
    from pytest_gpuready.views.driver import NodeFault

#: How packages are installed without a question, per package manager.
_INSTALL: dict[str | None, str] = {
    "apt": "apt-get install -y",
    "dnf": "dnf install -y",
    "yum": "yum install -y",
    "tdnf": "tdnf install -y",
    "zypper": "zypper --non-interactive install",
    "transactional-update": "transactional-update --non-interactive pkg install",
    "pacman": "pacman -S --noconfirm",
}
#: What makes the initial ramdisk anew; where several are there, the first is the distribution's own.
_RAMDISK = {
    "update-initramfs": "update-initramfs -u",
    "mkinitcpio": "mkinitcpio -P",
    "dracut": "dracut --force",
}
_NOUVEAU_FILE = "/etc/modprobe.d/blacklist-nouveau.conf"
_NOUVEAU = "blacklist nouveau\noptions nouveau modeset=0"


def known_number(ask: Callable[[], int]) -> int:
    """A number of the node's; 1 where it cannot be had."""
    with contextlib.suppress(Undetermined, Denied, NotApplicable):
        return ask()
    return 1


class DriverRemedies:
    """`mend.driver`."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.platform = views.get(Platform)
        self.driver = views.get(Driver)

    @property
    def _sudo(self) -> str:
        return self.platform.sudo_prefix

    @property
    def manager(self) -> str | None:
        """The package manager; None where it is not known."""
        with contextlib.suppress(Undetermined, Denied):
            return self.platform.package_manager
        return None

    @property
    def _kernel(self) -> str:
        return self.platform.kernel

    def install_command(self, *packages: str) -> tuple[str, ...]:
        """The command that installs packages with the node's package manager, one of `_INSTALL`; none for none."""
        return (f"{self._sudo}{_INSTALL[self.manager]} {' '.join(map(quote_package, packages))}",) if packages else ()

    def _then(self, last: str, commands: tuple[str, ...]) -> tuple[str, ...]:
        """What comes after the commands that install, if there are any: where they make a new snapshot, a reboot."""
        word = "reboot" if self.manager == "transactional-update" else last
        return (*commands, f"{self._sudo}{word}") if commands else ()

    def _initramfs(self) -> tuple[str, ...]:
        """The command that makes the initial ramdisk anew, so that it follows modprobe's configuration.

        A machine without an initial ramdisk, such as many virtual ones, has no program for it.
        """
        there = [program for program in _RAMDISK if self.driver.makes_ramdisk(program)]
        return tuple(f"{self._sudo}{_RAMDISK[program]}" for program in there[:1])

    # ------------------------------------------------------------------ bus and module

    def no_gpu(self) -> Remedy:
        """Nothing of NVIDIA's on the bus."""
        if self.driver.is_wsl:
            return Remedy(
                (
                    "In Windows: install NVIDIA's current driver, then update WSL and start it again. No "
                    "Linux driver belongs into WSL."
                ),
                ("wsl.exe --update && wsl.exe --shutdown",),
            )
        return Remedy(
            "The machine shows no NVIDIA GPU. On metal: seat the card, its power and the slot's setting in the "
            "firmware. In a virtual machine: pass a GPU through, or choose an instance type that has one. After a GPU "
            "fell off the bus: a cold start.",
            ("lspci -nn -d 10de:",),
        )

    def nouveau(self, rival: str) -> Remedy:
        """The in-kernel driver holds a GPU."""
        if self.manager == "rpm-ostree":
            words = "--append=rd.driver.blacklist=nouveau --append=modprobe.blacklist=nouveau"
            commands: tuple[str, ...] = (f"{self._sudo}rpm-ostree kargs {words}",)
            edits: tuple[Edit, ...] = ()
        else:
            commands = (here_document(f"{self._sudo}tee {_NOUVEAU_FILE}", _NOUVEAU), *self._initramfs())
            lines = "".join(f"+{line}\n" for line in _NOUVEAU.splitlines())
            edits = (Edit(_NOUVEAU_FILE, f"--- /dev/null\n+++ {_NOUVEAU_FILE}\n@@ -0,0 +1,2 @@\n{lines}"),)
        return Remedy(
            f"Keep {rival} from taking the GPU, install NVIDIA's driver if it is not, and reboot.",
            (*commands, f"{self._sudo}reboot"),
            edits,
        )

    def install(self, flavour: str | None = None) -> Remedy:
        """The driver is not installed, or of the wrong flavour (`open`, `proprietary`, None: as the GPU needs)."""
        summary = "Install NVIDIA's driver for this distribution, then load its module."
        if self.driver.driver_root:
            return Remedy(
                "The GPU operator's driver container installs the driver here: look why it did not.",
                ("kubectl -n gpu-operator logs -l app=nvidia-driver-daemonset --all-containers --tail=50",),
            )
        proprietary = flavour == "proprietary"
        manager, family = self.manager, self.platform.os_family
        commands: tuple[str, ...] = ()
        if manager == "apt" and "ubuntu" in family:
            tools = f"ubuntu-drivers-common {quote_package(f'linux-headers-{self._kernel}')}"
            tool = f"{self._sudo}apt-get update && {self._sudo}apt-get install -y {tools}"
            commands = (tool, f"{self._sudo}ubuntu-drivers install")
            if flavour is not None:
                commands = (tool, "ubuntu-drivers list --gpgpu")
                summary = (
                    "Install a package of that list whose name "
                    f"{'lacks' if proprietary else 'ends in'} -open, then reboot."
                )
        elif manager == "apt":
            package = "nvidia-open-kernel-dkms" if flavour == "open" else "nvidia-kernel-dkms"
            commands = (
                f"{self._sudo}apt-get update",
                *self.install_command(f"linux-headers-{self._kernel}", package, "nvidia-driver", "nvidia-smi"),
            )
            summary += " The packages are in Debian's contrib and non-free."
        elif manager in ("dnf", "yum", "tdnf", "zypper", "transactional-update"):
            commands = self.install_command("cuda-drivers" if proprietary else "nvidia-open")
            summary += (
                " The packages are in NVIDIA's repository (docs.nvidia.com/datacenter/tesla/driver-installation-guide)."
            )
        elif manager == "pacman":
            commands = self.install_command("nvidia-dkms" if proprietary else "nvidia-open-dkms", "nvidia-utils")
        if self.platform.os_id == "nixos":
            opened = "false" if proprietary else "true"
            return Remedy(
                (
                    'Set services.xserver.videoDrivers = [ "nvidia" ] and hardware.nvidia.open = '
                    f"{opened} in configuration.nix."
                ),
                (f"{self._sudo}nixos-rebuild boot", f"{self._sudo}reboot"),
            )
        last = "modprobe nvidia" if flavour is None else "reboot"
        return Remedy(summary, self._then(last, commands))

    def build(self) -> Remedy:
        """There is no module for the running kernel, and the sources are there or one for another kernel is."""
        kernel = self._kernel
        known: dict[str | None, str] = {
            "apt": f"linux-headers-{kernel}",
            "dnf": f"kernel-devel-{kernel}",
            "yum": f"kernel-devel-{kernel}",
            "tdnf": f"kernel-devel-{kernel}",
            "zypper": "kernel-default-devel",
            "pacman": "linux-headers",
        }
        headers = known.get(self.manager)
        others = ", ".join(sorted(self.driver.on_disk.built)) or "none"
        if not self.driver.dkms:
            return Remedy(
                (
                    f"The module is packaged per kernel: install the one for {kernel} (there are some "
                    f"for: {others}), or boot that kernel."
                ),
                (f"{self._sudo}reboot",) if self.driver.on_disk.built else (),
            )
        install = self.install_command(headers) if headers and not self.driver.on_disk.headers else ()
        return Remedy(
            f"Build the module for {kernel} (built for: {others}), then load it.",
            (*install, f"{self._sudo}dkms autoinstall -k {quote(kernel)}", *self._start()),
        )

    def load(self) -> Remedy:
        """The module is there and not loaded."""
        return Remedy(
            "Load the module and make its device nodes; what the kernel says of it is in its log.",
            (*self._start(), f"{self._sudo}dmesg | tail -n 20"),
        )

    def _start(self) -> tuple[str, ...]:
        """Load the modules that containers need, and make their device nodes: neither udev nor modprobe may do that."""
        load = f"{self._sudo}modprobe nvidia"
        if not self.platform.program("nvidia-modprobe"):
            return (load, f"{self._sudo}modprobe nvidia-uvm")
        gpus = known_number(lambda: len(self.driver.gpus_on_bus))
        words = " ".join(f"-c={minor}" for minor in (*range(gpus), 255))
        return (load, f"{self._sudo}nvidia-modprobe {words}", f"{self._sudo}nvidia-modprobe -u -c=0 -c=1")

    def allow(self, path: str, line: int, text: str) -> Remedy:
        """A line of modprobe's configuration keeps the module from being loaded."""
        return Remedy(
            "Comment that line out, then load the module.",
            (f"{self._sudo}sed -i '{line}s/^/# /' {quote(path)}", *self._initramfs(), *self._start()),
            (Edit(path, f"--- {path}\n+++ {path}\n@@ -{line} +{line} @@\n-{text}\n+# {text}\n"),),
        )

    def allow_on_cmdline(self, words: list[str]) -> Remedy:
        """The kernel's command line keeps the module from being loaded."""
        return Remedy(
            f"Take {' '.join(words)} off the kernel's command line (boot loader's configuration) and reboot.",
            (f"{self._sudo}reboot",),
        )

    def sign(self, signer: str | None) -> Remedy:
        """Secure Boot lets only signed modules in."""
        keys = self.driver.on_disk.keys
        why = f"signed by {signer!r}, whose key is not enrolled" if signer else "not signed"
        summary = (
            f"Secure Boot is on and the module is {why}. A person at the console has to act: import the key, reboot, "
            "choose Enroll MOK and type the password chosen here. Or install the distribution's signed module, or turn "
            "Secure Boot off in the firmware."
        )
        commands = (
            (f"{self._sudo}mokutil --import {quote(keys[0])}", f"{self._sudo}reboot")
            if keys
            else ("mokutil --sb-state",)
        )
        return Remedy(summary, commands)

    def reload(self, module: str, library: str | None) -> Remedy:
        """Library and module are of two versions: the module has to follow."""
        if library and self.driver.loader_would_find(module):
            return Remedy(
                f"The libraries of {module} are there too, and the links lead to {library}: let the loader make them.",
                (f"{self._sudo}ldconfig",),
            )
        on_disk = self.driver.on_disk.version
        if on_disk not in (None, library):
            return Remedy(
                (
                    f"The module on disk is {on_disk}, the libraries are {library}: bring the packages to "
                    "one version, then reboot."
                ),
                (*self._upgrade(), f"{self._sudo}reboot"),
            )
        return Remedy(
            f"Reboot; the module on disk then replaces {module}. Without a reboot: stop everything that uses the GPUs "
            "(kubelet, GPU pods, nvidia-persistenced, nvidia-fabricmanager, dcgm), then unload and load the modules: "
            f"{self._sudo}modprobe -r nvidia_uvm nvidia_drm nvidia_modeset nvidia_peermem nvidia && "
            f"{self._sudo}modprobe nvidia",
            (f"{self._sudo}reboot",),
        )

    def reboot_for_version(self) -> Remedy:
        """NVML says that library and module are of two versions."""
        return self.reload(self.driver.module_version or "the loaded one", self.driver.on_disk.version)

    def _upgrade(self) -> tuple[str, ...]:
        build = (f"{self._sudo}dkms autoinstall -k {quote(self._kernel)}",) if self.driver.dkms else ()
        return (*build, f"{self._sudo}depmod -a")

    # ------------------------------------------------------------------ libraries and nodes

    def ldconfig(self) -> Remedy:
        """The libraries are in a folder of the loader's, and its cache does not know them."""
        return Remedy("Make the loader's cache anew.", (f"{self._sudo}ldconfig",))

    def loader_path(self, folder: str) -> Remedy:
        """The libraries are in a folder that the loader does not search."""
        return Remedy(
            f"Let the loader search {folder}.",
            (
                here_document(f"{self._sudo}tee /etc/ld.so.conf.d/nvidia.conf", loader_folder(folder)),
                f"{self._sudo}ldconfig",
            ),
        )

    def libraries(self) -> Remedy:
        """The driver's user-space libraries are not there, or broken."""
        version = self.driver.module_version or self.driver.on_disk.version or ""
        if self.driver.loader_would_find(version):
            return Remedy(
                f"The libraries of {version} are there, and the links to them are not: let the loader make them.",
                (f"{self._sudo}ldconfig",),
            )
        branch = version.partition(".")[0]
        manager, family = self.manager, self.platform.os_family
        packages: tuple[str, ...] = ()
        if manager == "apt" and "ubuntu" in family:
            server = "-server" if self._is_server_branch() else ""
            names = ("libnvidia-compute", "nvidia-utils")
            packages = tuple(f"{name}-{branch}{server}" for name in names if branch)
        elif manager == "apt":
            packages = ("libnvidia-ml1", "libcuda1", "nvidia-smi")
        elif manager in ("dnf", "yum", "tdnf"):
            packages = ("nvidia-driver-cuda", "nvidia-driver-cuda-libs")
        elif manager in ("zypper", "transactional-update"):
            packages = ("nvidia-compute-utils-G06",)
        elif manager == "pacman":
            packages = ("nvidia-utils",)
        again = "install -y --reinstall" if manager == "apt" else "install -y"
        commands = tuple(command.replace("install -y", again) for command in self.install_command(*packages))
        return Remedy(
            f"Install the driver's libraries of the module's version{f' ({version})' if version else ''}.",
            self._then("ldconfig", commands),
        )

    def _is_server_branch(self) -> bool:
        """Ubuntu's modules of its -server branches lie in a folder that says so (kernel/nvidia-580srv)."""
        return any("srv" in path for path in self.driver.on_disk.built.values())

    def nodes(self, faults: Mapping[int, NodeFault]) -> Remedy:
        """Device nodes of GPUs and nvidiactl, by minor, are missing or wrong. nvidia-modprobe mends all of it."""
        if self.platform.program("nvidia-modprobe") and self.driver.params.get("ModifyDeviceFiles", "1") != "0":
            words = " ".join(f"-c={minor}" for minor in sorted(faults))
            return Remedy("Make the device nodes as the driver has them.", (f"{self._sudo}nvidia-modprobe {words}",))
        return Remedy(
            "Make the device nodes as the driver has them (nvidia-modprobe is not installed, or may not).",
            tuple(command for minor in sorted(faults) for command in self._node(minor, faults[minor])),
        )

    def _node(self, minor: int, fault: NodeFault) -> tuple[str, ...]:
        if fault.mode is not None:
            return (f"{self._sudo}chmod {fault.mode:o} {quote(fault.path)}",)
        if fault.owner is not None:
            return (f"{self._sudo}chown {quote(fault.owner)} {quote(fault.path)}",)
        make = f"{self._sudo}mknod -m 666 {quote(fault.path)} c {self.driver.frontend_major} {minor}"
        return (make,) if fault.missing else (f"{self._sudo}rm -rf {quote(fault.path)}", make)

    def uvm(self, *, loaded: bool) -> Remedy:
        """nvidia-uvm is not loaded, or its nodes are missing or wrong."""
        if self.platform.program("nvidia-modprobe"):
            return Remedy("Load nvidia-uvm and make its device nodes.", (f"{self._sudo}nvidia-modprobe -u -c=0 -c=1",))
        major = "$(awk '$2 == \"nvidia-uvm\" {print $1}' /proc/devices)"
        return Remedy(
            f"{'Make' if loaded else 'Load nvidia-uvm and make'} its device nodes (nvidia-modprobe is not installed).",
            (
                *(() if loaded else (f"{self._sudo}modprobe nvidia-uvm",)),
                f"{self._sudo}rm -rf /dev/nvidia-uvm /dev/nvidia-uvm-tools",
                f"{self._sudo}mknod -m 666 /dev/nvidia-uvm c {major} 0",
                f"{self._sudo}mknod -m 666 /dev/nvidia-uvm-tools c {major} 1",
            ),
        )
