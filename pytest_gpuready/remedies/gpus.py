"""Remedies for GPUs: a reset, a reboot, MIG, the fabric; else what a person has to do and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.model import Remedy
from pytest_gpuready.quoting import echo, quote, quote_package
from pytest_gpuready.remedies.driver import DriverRemedies
from pytest_gpuready.views.driver import Driver
from pytest_gpuready.views.nvml import Nvml
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from pytest_gpuready.views import Views
    from pytest_gpuready.views.driver_probe import PciDevice
    from pytest_gpuready.views.nvsmi import Gpu


class GpuRemedies:
    """`mend.gpus`."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.platform = views.get(Platform)
        self.driver = views.get(Driver)
        self._driver = DriverRemedies(views)

    @property
    def _sudo(self) -> str:
        return self.platform.sudo_prefix

    def hung(self) -> Remedy:
        """NVML does not answer in time."""
        return Remedy(
            (
                "See what the kernel says of the GPU. Where GPUs are slow to start, turn persistence on; "
                "where the driver hangs, only a reboot helps."
            ),
            (f"{self._sudo}dmesg | grep -E 'NVRM|Xid' | tail -n 20", *self.persistence().commands),
        )

    def ask_by_hand(self) -> Remedy:
        """NVML failed for a reason that has no known remedy."""
        program = self.views.get(Nvml).program or "nvidia-smi"
        return Remedy(
            "See what it says by hand, and what the kernel says.",
            (quote(program), f"{self._sudo}dmesg | grep -E 'NVRM|Xid' | tail -n 20"),
        )

    def reset(self, gpus: list[Gpu], *, reboot: bool = False) -> Remedy:
        """GPUs need a reset, or a reboot."""
        if reboot:
            return Remedy(
                (
                    "Drain the node and reboot it (cold, where the GPU fell off the bus). A GPU that is "
                    "lost again is to be replaced."
                ),
                (f"{self._sudo}reboot",),
            )
        names = ",".join(str(gpu.index) for gpu in gpus)
        return Remedy(
            (
                "Stop everything that uses these GPUs, then reset them; on NVSwitch machines reset all "
                "of them together, or reboot."
            ),
            (f"{self._sudo}nvidia-smi --gpu-reset -i {names}",),
        )

    def replace(self) -> Remedy:
        """A GPU's memory cannot be repaired any more."""
        return Remedy(
            (
                "The GPU has no spare rows left: drain the node and have the GPU replaced. This collects "
                "what its maker asks for."
            ),
            (f"{self._sudo}nvidia-bug-report.sh",),
        )

    def missing(self, address: str) -> Remedy:
        """NVML knows less GPUs than the bus has."""
        return Remedy(
            f"See what the kernel says of {address}; a GPU that did not start wants a reset or a cold start.",
            (f"{self._sudo}dmesg | grep -E {quote(f'NVRM|Xid|{address}')} | tail -n 30",),
        )

    def mig(self, gpus: list[Gpu]) -> Remedy:
        """MIG is on and no instance was made: which ones is the owner's to choose."""
        names = ",".join(str(gpu.index) for gpu in gpus)
        return Remedy(
            "Choose profiles of the list and make instances of them: nvidia-smi mig -i GPU -cgi PROFILE -C. "
            "Or turn MIG off: "
            f"{self._sudo}nvidia-smi -i {names} -mig 0",
            (f"{self._sudo}nvidia-smi mig -i {names} -lgip",),
        )

    def mig_compute(self, gpus: list[Gpu]) -> Remedy:
        """GPU instances were made, and no compute instance in them."""
        names = ",".join(str(gpu.index) for gpu in gpus)
        return Remedy(
            "Make a compute instance in each GPU instance.",
            (f"{self._sudo}nvidia-smi mig -i {names} -cci", f"{self._sudo}nvidia-smi mig -i {names} -lgi"),
        )

    def none_driven(self, others: list[PciDevice]) -> Remedy:
        """The module drives no GPU."""
        taken = [device for device in others if device.driver == "vfio-pci"]
        if taken:
            return Remedy(
                "The GPUs are given to virtual machines. To have one back: stop its machine, take it out of what binds "
                "it at boot (vfio-pci.ids, driverctl), then bind it to nvidia.",
                tuple(
                    f"{echo(device.address)} | {self._sudo}tee /sys/bus/pci/drivers/vfio-pci/unbind && "
                    f"echo nvidia | {self._sudo}tee /sys/bus/pci/devices/{quote(device.address)}/driver_override && "
                    f"{echo(device.address)} | {self._sudo}tee /sys/bus/pci/drivers_probe"
                    for device in taken[:1]
                ),
            )
        return self.missing(others[0].address if others else "10de")

    def fabric_manager(self, *, installed: bool, version: str | None, running: bool) -> Remedy:
        """The fabric is not set up, or its manager is not of the driver's version."""
        driver = self.driver.version
        if version not in (None, driver):
            return Remedy(
                f"The fabric manager is {version}, the driver {driver}: it has to be of exactly the driver's version.",
                (*self._fabric_package(driver), f"{self._sudo}systemctl restart nvidia-fabricmanager"),
            )
        if installed:
            verb = "restart" if running else "enable --now"
            return Remedy(
                "Start the fabric manager; what keeps it from doing its work is in its log.",
                (
                    f"{self._sudo}systemctl {verb} nvidia-fabricmanager",
                    f"{self._sudo}journalctl -u nvidia-fabricmanager -n 30 --no-pager",
                ),
            )
        return Remedy(
            f"Install the fabric manager of exactly the driver's version ({driver}) and start it.",
            (*self._fabric_package(driver), f"{self._sudo}systemctl enable --now nvidia-fabricmanager"),
        )

    def _fabric_package(self, driver: str) -> tuple[str, ...]:
        manager = self._driver.manager
        if manager == "apt" and "ubuntu" in self.platform.os_family:
            return self._driver.install_command(f"nvidia-fabricmanager-{driver.partition('.')[0]}")
        if manager == "apt":
            return (f"{self._sudo}apt-get install -y {quote_package(f'nvidia-fabricmanager={driver}*')}",)
        if manager in ("dnf", "yum", "tdnf", "zypper"):
            return self._driver.install_command(f"nvidia-fabricmanager-{driver}")
        return ()

    def fabric_elsewhere(self) -> Remedy:
        """There is no NVSwitch on this machine: its fabric is set up from elsewhere."""
        return Remedy(
            "The fabric is set up outside this machine: for a virtual machine by the host's fabric manager, on NVL72 "
            "by the one of the NVLink switch trays. Ask their operator for this partition's state.",
            ("nvidia-smi -q | grep -A 12 -i fabric",),
        )

    def persistence(self) -> Remedy:
        """The driver forgets its state between uses."""
        unit = self.platform.unit("nvidia-persistenced.service")
        command = "systemctl enable --now nvidia-persistenced" if unit is not None else "nvidia-smi -pm 1"
        return Remedy("Keep the driver's state between uses, so that GPUs start at once.", (f"{self._sudo}{command}",))

    def stale_socket(self) -> Remedy:
        """nvidia-persistenced died and left its socket."""
        return Remedy(
            "Start nvidia-persistenced again; legacy mode mounts its socket into containers.",
            (f"{self._sudo}systemctl restart nvidia-persistenced",),
        )

    def xid(self) -> Remedy:
        """The kernel reported a fatal Xid."""
        return Remedy(
            "Look the number up in docs.nvidia.com/deploy/xid-errors; drain the node, reset the GPU or reboot; if it "
            "comes back, have the GPU looked at.",
            (f"{self._sudo}dmesg | grep -E 'Xid' | tail -n 20",),
        )
