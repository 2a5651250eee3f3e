"""The driver's checks that ask NVML: does it answer, and are all GPUs there, healthy and partitioned."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.model import (
    Denied,
    Evidence,
    Outcome,
    Undetermined,
    Where,
    failed,
    not_applicable,
    passed,
    unknown,
    warned,
)
from pytest_gpuready.views.nvml import DEADLINE

if TYPE_CHECKING:
    from pytest_gpuready.model import Remedy
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.driver import Driver, ProcGpu
    from pytest_gpuready.views.nvml import Nvml, Reading
    from pytest_gpuready.views.nvsmi import Gpu
    from pytest_gpuready.views.platform import Platform

#: Xids after which a GPU is not to be used before a reset, a reboot or a repair.
FATAL_XIDS: dict[int, str] = {
    48: "double-bit ECC error",
    62: "internal micro-controller halt",
    64: "ECC page retirement or row remapper failure",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    95: "uncontained ECC error",
    119: "GSP RPC timeout",
    120: "GSP error",
}
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\)[^:]*: (\d{1,4})[,:]")


@check("driver.nvml-answers", title="NVML answers", needs=["driver.device-nodes", "driver.versions-match"])
def nvml_answers(driver: Driver, nvml: Nvml, mend: Remedies) -> Outcome:
    """NVML answers within its deadline and lists at least one GPU.

    What: `nvidia-smi -q -x` ends within 10 s and lists a GPU with its UUID, one that the kernel module lists too. It
        is called only where module and device nodes are there, since as root it would load and make them.
    Why: What sets containers up asks NVML the same. A hung NVML hangs every container's start; an nvidia-smi that
        prints nothing and exits with 0 proves nothing.
    Fix: As it says; after Xid 79 a reboot.
    References: nvidia-smi(1), "RETURN VALUE"; nvml.h (nvmlReturn_t); nvidia-container-toolkit issue 580.
    """
    reading = nvml.reading
    if reading.kind != "answer":
        return _no_answer(nvml, reading, mend)
    gpus = nvml.devices
    evidence = [Evidence(reading.source, reading.text)] if reading.text else []
    uuids = {gpu.uuid for gpu in gpus if gpu.uuid}
    if not uuids:
        return failed(
            f"{reading.source} lists {len(gpus)} GPUs, none with a UUID",
            expected="NVML lists at least one GPU with its UUID",
            evidence=(*evidence,),
            remedy=mend.gpus.ask_by_hand(),
        )
    known = {gpu.uuid for gpu in _proc_gpus(driver) if gpu.uuid}
    if known and not uuids & known:
        return failed(
            f"{reading.source} lists GPUs that this node does not have ({', '.join(sorted(uuids)[:2])} …)",
            expected=f"the GPUs of /proc/driver/nvidia/gpus ({', '.join(sorted(filter(None, known))[:2])} …)",
            where=Where(nvml.program) if nvml.program else None,
            evidence=(*evidence,),
            remedy=mend.gpus.ask_by_hand(),
        )
    differences = nvml.differences()
    if differences:
        evidence.append(Evidence("NVML through pynvml, asked on its own", "\n".join(differences)))
    names = ", ".join(f"{count} x {name}" for name, count in Counter(gpu.name or "GPU" for gpu in gpus).items())
    also = f"; {len(differences)} differences to pynvml" if differences else ""
    cuda = f", CUDA {nvml.cuda_version}" if nvml.cuda_version else ""
    return passed(f"{names}; driver {nvml.driver_version or 'unsaid'}{cuda}{also}", evidence=(*evidence,))


def _proc_gpus(driver: Driver) -> list[ProcGpu]:
    with contextlib.suppress(Undetermined, Denied):
        return driver.proc_gpus
    return []


def _no_answer(nvml: Nvml, reading: Reading, mend: Remedies) -> Outcome:
    said = {
        "hang": f"{reading.source} did not end within {DEADLINE} s",
        "empty": f"{reading.source} printed nothing and exited with 0: nothing looked at any GPU",
        "garbled": f"{reading.source} printed something else",
        "none": f"{reading.source} lists no GPU",
        "failed": f"{reading.source} failed with exit status {reading.rc}",
    }[reading.kind]
    first = reading.text.strip().splitlines()[:1]
    other = nvml.bindings
    evidence = [Evidence(reading.source, reading.text or "(nothing)")]
    if other is not None and other.gpus:
        seen = f"NVML lists {len(other.gpus)} GPUs: the fault is in {nvml.program or 'the program asked'}"
        evidence.append(Evidence("NVML through pynvml, asked on its own", seen))
    return failed(
        f"{said}{f': {first[0]}' if first else ''}",
        expected=f"NVML lists at least one GPU within {DEADLINE} s",
        evidence=(*evidence,),
        remedy=_remedy_of(reading, mend),
    )


def _remedy_of(reading: Reading, mend: Remedies) -> Remedy:
    text = reading.text.lower()
    if reading.kind == "hang":
        return mend.gpus.hung()
    if "version mismatch" in text:
        return mend.driver.reboot_for_version()
    if "gpu is lost" in text or "fallen off" in text or "unable to determine the device handle" in text:
        return mend.gpus.reset([], reboot=True)
    if "libnvidia-ml" in text or "shared library not found" in text:
        return mend.driver.libraries()
    return mend.gpus.ask_by_hand()


@check("driver.gpu-count", title="NVML lists every GPU of the bus", needs=["driver.nvml-answers"])
def gpu_count(driver: Driver, nvml: Nvml, mend: Remedies) -> Outcome:
    """NVML's GPUs are those on the bus that are bound to nvidia.

    What: The PCI addresses that NVML lists are those in sysfs bound to nvidia, but for those excluded from the
        driver. GPUs given to vfio-pci, excluded ones and ones without a driver are named.
    Why: A GPU that did not start, or fell off the bus, is missing in NVML alone; peers that count only NVML pass.
    Fix: The kernel's log says why; reset or cold start.
    References: NVIDIA driver README, NVreg_ExcludedGpus; Linux Documentation/ABI/testing/sysfs-bus-pci;
        nvidia-smi(1).
    """
    driver.only_on_pci("PCI bus to compare with")
    gpus = nvml.devices
    excluded = {gpu.address for gpu in driver.proc_gpus if gpu.excluded}
    bound = [device for device in driver.gpus_on_bus if device.driver == "nvidia" and device.address not in excluded]
    unbound = [device for device in driver.gpus_on_bus if not device.driver]
    aside = [
        f"{device.address} is given to {device.driver}" for device in driver.gpus_on_bus if device.driver == "vfio-pci"
    ]
    aside += [f"{address} is excluded from the driver" for address in sorted(excluded)]
    notes = "".join(f"; {note}" for note in aside)
    listed = {gpu.bus_id for gpu in gpus if gpu.bus_id}
    all_told = len(listed) == len(gpus)
    missing = [device.address for device in bound if all_told and device.address not in listed]
    strangers = sorted(listed - {device.address for device in driver.pci})
    if missing or strangers or len(gpus) != len(bound):
        parts = [f"NVML lists {len(gpus)}, the bus has {len(bound)} bound to nvidia"]
        parts += [f"missing in NVML: {', '.join(missing)}"] if missing else []
        parts += [f"not on the bus: {', '.join(strangers)}"] if strangers else []
        return failed(
            f"{'; '.join(parts)}{notes}",
            expected=f"{len(bound)} GPUs: {', '.join(device.address for device in bound)}",
            evidence=(Evidence("sysfs", "\n".join(map(str, driver.gpus_on_bus))),),
            remedy=mend.gpus.missing((missing or strangers or [device.address for device in driver.gpus_on_bus])[0]),
        )
    if unbound:
        return warned(
            f"{len(gpus)} GPUs in NVML as on the bus{notes}; without a driver: {', '.join(d.address for d in unbound)}",
            expected="every GPU of the bus has a driver",
            remedy=mend.gpus.missing(unbound[0].address),
        )
    return passed(f"{len(gpus)} in NVML as on the bus{notes}")


@check("driver.gpu-health", title="No GPU asks for a reset or a replacement", needs=["driver.nvml-answers"])
def gpu_health(nvml: Nvml, mend: Remedies) -> Outcome:
    """No GPU is lost, needs a reset, has pages or rows to retire, or memory that cannot be repaired.

    What: NVML's own words for each GPU: lost, reset required, recovery action, pending page retirement, pending or
        failed row remapping, pending repair, unrepairable memory.
    Why: nvidia-smi lists such a GPU and exits with 0, and work on it fails or computes wrongly.
    Fix: What NVML asks for: reset the GPU, reboot the node, or have the GPU replaced.
    References: NVIDIA GPU Memory Error Management ("Row Remapping", "RMA policy"); NVIDIA Dynamic Page Retirement;
        nvml.h (nvmlDeviceGetGpuRecoveryAction, nvmlDeviceGetRemappedRows).
    """
    troubles = [(gpu, words) for gpu in nvml.devices for words in _ills(gpu)]
    if not troubles:
        return passed(f"{len(nvml.devices)} GPUs, none with a complaint")
    ill = list({gpu.index: gpu for gpu, _ in troubles}.values())
    if any(gpu.remap_failed or gpu.memory_unrepairable for gpu in ill):
        remedy = mend.gpus.replace()
    else:
        gone = any(gpu.lost or "reboot" in (gpu.recovery_action or "").lower() for gpu in ill)
        remedy = mend.gpus.reset(ill, reboot=gone)
    shown = [" ".join(filter(None, (gpu.bus_id, gpu.uuid, gpu.name))) for gpu in ill]
    return failed(
        "; ".join(f"GPU {gpu.index} ({gpu.bus_id or gpu.uuid or '?'}) {words}" for gpu, words in troubles),
        expected="no GPU lost, to be reset, or with memory to retire",
        evidence=(Evidence(nvml.source, "\n".join(shown)),),
        remedy=remedy,
    )


def _ills(gpu: Gpu) -> list[str]:
    action = gpu.recovery_action
    return [
        words
        for ill, words in (
            (gpu.lost, "is lost"),
            (gpu.reset_required, "requires a reset"),
            (action not in (None, "None"), f"asks for recovery: {action}"),
            (gpu.retirement_pending, "has pages whose retirement waits for a reset"),
            (gpu.remap_failed, "could not remap a memory row"),
            (gpu.remap_pending, "has memory rows whose remapping waits for a reset"),
            (gpu.repair_pending, "has a repair that waits for a reset"),
            (gpu.memory_unrepairable, "has memory that cannot be repaired"),
        )
        if ill
    ]


@check("driver.mig-instances", title="Where MIG is on, instances exist", needs=["driver.nvml-answers"])
def mig_instances(driver: Driver, nvml: Nvml, mend: Remedies) -> Outcome:
    """A GPU in MIG mode has MIG devices.

    What: Every GPU whose MIG mode is on has at least one MIG device (GPU instance with compute instance).
    Why: In MIG mode work runs on MIG devices only. Without one, nvidia-smi looks well and CUDA finds no device.
    Fix: Make instances of the profiles wanted, or turn MIG off.
    References: NVIDIA MIG User Guide, "Creating GPU Instances"; nvidia-container-toolkit docs,
        NVIDIA_VISIBLE_DEVICES.
    """
    on = [gpu for gpu in nvml.devices if gpu.mig_enabled]
    empty = [gpu for gpu in on if not gpu.mig_devices]
    if empty:
        made = _gpu_instances(driver)
        half = [gpu for gpu in empty if gpu.minor in made]
        return failed(
            f"MIG is on without a MIG device: {', '.join(f'GPU {gpu.index} ({gpu.bus_id})' for gpu in empty)}"
            + (f"; GPU instances without a compute instance: GPU {_numbers(half)}" if half else ""),
            expected="at least one MIG device on each",
            evidence=tuple(
                Evidence(f"/proc/driver/nvidia/capabilities/gpu{minor}/mig", f"{count} GPU instances")
                for minor, count in made.items()
            ),
            remedy=mend.gpus.mig_compute(half) if half else mend.gpus.mig(empty),
        )
    pending = [gpu for gpu in nvml.devices if gpu.mig_pending not in (None, gpu.mig_mode)]
    after = (
        f"; after the next reset: {', '.join(f'GPU {gpu.index} {gpu.mig_pending}' for gpu in pending)}"
        if pending
        else ""
    )
    if on:
        return passed(f"{', '.join(f'GPU {gpu.index}: {len(gpu.mig_devices)} MIG devices' for gpu in on)}{after}")
    return not_applicable(f"MIG is off on every GPU{after}")


def _gpu_instances(driver: Driver) -> dict[int, int]:
    with contextlib.suppress(Undetermined, Denied):
        return driver.mig_instances
    return {}


def _numbers(gpus: list[Gpu]) -> str:
    return ",".join(str(gpu.index) for gpu in gpus)


@check("driver.xid", title="No fatal Xid since boot", advisory=True, needs=["driver.module-loaded"])
def xid(driver: Driver, mend: Remedies) -> Outcome:
    """The kernel's log holds no fatal Xid.

    What: No Xid of 48, 62, 64, 74, 79, 95, 119 or 120 in what dmesg (else systemd's journal) shows since boot.
    Why: They announce a GPU that is lost, its memory or its links: work may fail though NVML lists the GPU.
    Fix: Look the number up; reset or replace the GPU.
    References: NVIDIA XID Errors (docs.nvidia.com/deploy/xid-errors); gpud components/accelerator/nvidia/xid.
    """
    driver.only_on_pci("kernel module nvidia")
    log = driver.kernel_log
    seen = [(int(match[2]), match[1], line) for line in log.lines if (match := _XID.search(line))]
    fatal = [item for item in seen if item[0] in FATAL_XIDS]
    reach = f" ({log.source} reaches back to {log.begins:.0f} s after boot)" if log.begins and log.begins > 120 else ""
    if not fatal:
        harmless = f"; {len(seen)} others" if seen else ""
        return passed(f"no fatal Xid in {log.source}{harmless}{reach}")
    counts = Counter((number, address) for number, address, _ in fatal)
    words = ", ".join(
        (f"Xid {number} ({FATAL_XIDS[number]}) on {address}, {count} times")
        for (number, address), count in counts.items()
    )
    return warned(
        f"{words}{reach}",
        expected="no fatal Xid since boot",
        evidence=(Evidence(log.source, "\n".join(line for _, _, line in fatal[-6:])),),
        remedy=mend.gpus.xid(),
    )


@check(
    "driver.persistence", title="The driver keeps its state between uses", advisory=True, needs=["driver.nvml-answers"]
)
def persistence(driver: Driver, nvml: Nvml, platform: Platform, mend: Remedies) -> Outcome:
    """Persistence is on, and nvidia-persistenced's socket has a listener.

    What: NVML says that persistence is on for every GPU; /run/nvidia-persistenced/socket, if there, belongs to a
        running nvidia-persistenced.
    Why: Without it, each first use initialises the GPUs (seconds each). A socket that is left of a dead daemon breaks
        legacy containers: "no such device or address".
    Fix: nvidia-persistenced, else nvidia-smi -pm 1.
    References: NVIDIA Driver Persistence; nvidia-docker issue 1690 and containerd issue 3151 (stale socket).
    """
    driver.only_on_pci("persistence to keep")
    listed = driver.facts.stat("/run/nvidia-persistenced/socket")
    if listed is not None and not any(process.comm == "nvidia-persiste" for process in platform.processes):
        return warned(
            "/run/nvidia-persistenced/socket is there and nvidia-persistenced does not run",
            expected="a socket with its daemon, or none",
            where=Where("/run/nvidia-persistenced/socket"),
            remedy=mend.gpus.stale_socket(),
        )
    off = [gpu for gpu in nvml.devices if gpu.persistence is False]
    if off:
        return warned(
            f"off on {', '.join(f'GPU {gpu.index}' for gpu in off)}: each first use waits for the GPU to start",
            expected="persistence is on",
            remedy=mend.gpus.persistence(),
        )
    if all(gpu.persistence is None for gpu in nvml.devices):
        return unknown("NVML does not say whether persistence is on")
    return passed("on")
