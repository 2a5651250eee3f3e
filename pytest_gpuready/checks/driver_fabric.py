"""The driver's check of the NVLink fabric: judged by the GPUs' own state, then by its manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.model import Evidence, Outcome, failed, not_applicable, passed

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.driver import Driver
    from pytest_gpuready.views.nvml import Nvml
    from pytest_gpuready.views.nvsmi import Gpu
    from pytest_gpuready.views.platform import Platform


@check("driver.fabric-manager", title="The NVLink fabric is set up", needs=["driver.nvml-answers"])
def fabric_manager(driver: Driver, nvml: Nvml, platform: Platform, mend: Remedies) -> Outcome:
    """On NVSwitch machines every GPU has joined the fabric.

    What: Every GPU's own fabric state is Completed, Success. Only where it is not, the manager is looked at: is it
        installed, running, of the driver's version. GPUs that know no fabric state (A100) are judged by the manager,
        where NVSwitches are on the bus.
    Why: Until the fabric is set up, CUDA fails with error 802 while nvidia-smi looks well. In virtual machines and on
        NVL72 the manager runs elsewhere, so its absence here is no fault.
    Fix: Start the fabric manager of exactly the driver's version.
    References: Fabric Manager for NVIDIA NVSwitch Systems User Guide; nvml.h (nvmlGpuFabricInfo_t); pytorch issue
        35710; gpu-operator issue 610.
    """
    driver.only_on_pci("NVSwitch")
    gpus = nvml.devices
    joined = [gpu for gpu in gpus if gpu.fabric_state is not None]
    switches = driver.nvswitches
    if not joined:
        if not switches:
            return not_applicable("no GPU knows a fabric and no NVSwitch is on the bus")
        return _by_manager(driver, nvml, platform, mend)
    bad = [gpu for gpu in joined if _unjoined(gpu)]
    if not bad:
        return passed(f"{len(joined)} GPUs: Completed, Success")
    running = _manager_runs(platform)
    installed = running or platform.program("nv-fabricmanager") is not None
    local = bool(switches) or installed
    version = nvml.fabric_manager_version
    manager = f"the manager {'runs' if running else 'does not run' if installed else 'is not installed'}"
    return failed(
        (
            f"{'; '.join(f'GPU {gpu.index}: {_unjoined(gpu)}' for gpu in bad)}; "
            f"{manager if local else 'no NVSwitch on this machine'}"
        ),
        expected="every GPU's fabric state is Completed, Success",
        evidence=(
            Evidence("nv-fabricmanager --version", version),
            Evidence("/sys/module/nvidia/version", driver.version),
        )
        if version
        else (),
        remedy=mend.gpus.fabric_manager(installed=installed, version=version, running=running)
        if local
        else mend.gpus.fabric_elsewhere(),
    )


def _unjoined(gpu: Gpu) -> str | None:
    """What is wrong with a GPU's part in the fabric; None if nothing is."""
    if gpu.fabric_state != "Completed":
        return f"fabric state {gpu.fabric_state}"
    if gpu.fabric_status not in (None, "Success"):
        return f"fabric status {gpu.fabric_status}"
    if gpu.fabric_health is not None and gpu.fabric_health.lower() == "unhealthy":
        return f"fabric health {gpu.fabric_health}"
    return None


def _manager_runs(platform: Platform) -> bool:
    unit = platform.unit("nvidia-fabricmanager.service")
    return (unit is not None and unit.active == "active") or any(
        p.comm == "nv-fabricmanage" for p in platform.processes
    )


def _by_manager(driver: Driver, nvml: Nvml, platform: Platform, mend: Remedies) -> Outcome:
    """NVSwitches are on the bus and the GPUs know no fabric state: A100 and older are judged by their manager."""
    running, installed = _manager_runs(platform), platform.program("nv-fabricmanager") is not None
    version, module = nvml.fabric_manager_version, driver.version
    matches = version in (None, module)
    if running and matches:
        return passed(f"{len(driver.nvswitches)} NVSwitches, the fabric manager{f' {version}' if version else ''} runs")
    why = (
        "is not installed" if not installed else f"is {version}, the driver {module}" if not matches else "does not run"
    )
    return failed(
        f"{len(driver.nvswitches)} NVSwitches on the bus, and the fabric manager {why}",
        expected="the fabric manager of the driver's version runs",
        remedy=mend.gpus.fabric_manager(installed=installed, version=version, running=running),
    )
