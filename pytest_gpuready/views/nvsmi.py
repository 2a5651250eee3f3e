"""What nvidia-smi prints, as data: `nvidia-smi -q -x` (XML) and `nvidia-smi -L` (the names of MIG devices).

The DTD in front of the XML is never given to a parser: only the element `nvidia_smi_log` is, so entities cannot be
defined, and what is not that element is kept as the program's remarks.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

#: Words of NVML instead of a value: `nvmlErrorString` of GPU_IS_LOST (15) and RESET_REQUIRED (16).
_LOST = "gpu is lost"
_RESET = ("gpu requires reset", "reset required")
_NOTHING = frozenset(
    {"", "n/a", "[n/a]", "not supported", "[not supported]", "requested functionality has been deprecated"}
)
_BUS_ID = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")
_GPU_LINE = re.compile(r"^GPU (\d{1,9}):")
_MIG_LINE = re.compile(r"^\s+MIG (\S+)\s+Device\s+(\d{1,9}): \(UUID: (\S+)\)")


class Garbled(Exception):  # noqa: N818 - it is an answer, not an error
    """The program printed something, and it is not what it should be; the text says what."""


@dataclass(frozen=True)
class MigDevice:
    """A MIG device of a GPU. `index` counts within the GPU; `memory_total` is in MiB; `profile` is e.g. `1g.10gb`."""

    index: int
    gpu_instance: int | None = None
    compute_instance: int | None = None
    uuid: str | None = None
    profile: str | None = None
    memory_total: int | None = None


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML knows it; None stands for what it does not say (N/A).

    `bus_id` is written as in sysfs (`0000:06:00.0`), `memory_total` in MiB, `mig_mode` is `Enabled` or `Disabled`,
    `minor` the N of /dev/nvidiaN. `fabric_state` and `fabric_status` are NVML's words (`Completed`, `Success`).
    Serial numbers are left out on purpose.
    """

    index: int
    name: str | None = None
    uuid: str | None = None
    bus_id: str | None = None
    memory_total: int | None = None
    minor: int | None = None
    architecture: str | None = None
    compute_capability: tuple[int, int] | None = None
    performance_state: str | None = None
    persistence: bool | None = None
    virtualization: str | None = None
    mig_mode: str | None = None
    mig_pending: str | None = None
    mig_devices: tuple[MigDevice, ...] = ()
    ecc: bool | None = None
    ecc_uncorrectable: int | None = None
    retirement_pending: bool | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    repair_pending: bool | None = None
    memory_unrepairable: bool | None = None
    recovery_action: str | None = None
    fabric_state: str | None = None
    fabric_status: str | None = None
    fabric_health: str | None = None
    lost: bool = False
    reset_required: bool = False

    @property
    def mig_enabled(self) -> bool:
        """MIG is on: work runs on its MIG devices only."""
        return self.mig_mode == "Enabled"


@dataclass(frozen=True)
class Log:
    """One answer of NVML: versions, GPUs in NVML's order, how many it says are attached, and remarks around them."""

    driver_version: str | None
    cuda_version: str | None
    gpus: tuple[Gpu, ...]
    attached: int | None = None
    remarks: tuple[str, ...] = ()


def bus_id(text: str | None) -> str | None:
    """A PCI address as sysfs writes it: `00000000:1E:00.0` and `1e:00.0` become `0000:1e:00.0`; None if it is none."""
    match = _BUS_ID.fullmatch((text or "").strip())
    if match is None:
        return None
    domain, bus, device, function = match.groups()
    return f"{int(domain or '0', 16):04x}:{bus.lower()}:{device.lower()}.{function}"


def parse(text: str) -> Log:
    """The answer of `nvidia-smi -q -x`, perhaps followed by that of `nvidia-smi -L`; `Garbled` if there is none."""
    begin, end = text.find("<nvidia_smi_log"), text.rfind("</nvidia_smi_log>")
    if begin < 0 or end < begin:
        raise Garbled("there is no nvidia_smi_log in it")
    end += len("</nvidia_smi_log>")
    remarks = [
        line.strip()
        for line in text[:begin].splitlines()
        if line.strip() and not line.lstrip().startswith(("<?xml", "<!"))
    ]
    body = []
    for line in text[begin:end].splitlines():
        # A GPU that has gone makes it print a sentence in the middle of the document.
        if re.match(r"(?:Unable to|WARNING:|Failed to)", line):
            remarks.append(line.strip())
        else:
            body.append(line)
    try:
        root = ET.fromstring("\n".join(body))  # noqa: S314 - no DTD gets here, see above
    except (ET.ParseError, RecursionError, ValueError) as error:
        raise Garbled(f"its XML cannot be read: {error}") from error
    listing = text[end:]
    remarks += [
        line.strip()
        for line in listing.splitlines()
        if line.strip() and not _GPU_LINE.match(line) and not _MIG_LINE.match(line)
    ]
    gpus = tuple(_gpu(index, element) for index, element in enumerate(root.findall("gpu")))
    return Log(
        driver_version=_said(root, "driver_version"),
        cuda_version=_said(root, "cuda_version"),
        gpus=_named(gpus, listing),
        attached=_number(_said(root, "attached_gpus")),
        remarks=tuple(remarks),
    )


def _gpu(index: int, element: ET.Element) -> Gpu:
    words = {text.strip().lower() for text in element.itertext()}
    capability = re.fullmatch(r"(\d+)\.(\d+)", _said(element, "compute_cap") or "")
    repairs = [_yes(element, f"ecc_errors/{name}_repair_pending") for name in ("channel", "tpc")]
    return Gpu(
        index=index,
        name=_said(element, "product_name"),
        uuid=_said(element, "uuid"),
        bus_id=bus_id(_said(element, "pci/pci_bus_id") or element.get("id")),
        memory_total=_number(_said(element, "fb_memory_usage/total")),
        minor=_number(_said(element, "minor_number")),
        architecture=_said(element, "product_architecture"),
        compute_capability=(int(capability[1]), int(capability[2])) if capability else None,
        performance_state=_said(element, "performance_state"),
        persistence=_on(element, "persistence_mode"),
        virtualization=_said(element, "gpu_virtualization_mode/virtualization_mode"),
        mig_mode=_said(element, "mig_mode/current_mig"),
        mig_pending=_said(element, "mig_mode/pending_mig"),
        mig_devices=tuple(_mig(number, mig) for number, mig in enumerate(element.findall("mig_devices/mig_device"))),
        ecc=_on(element, "ecc_mode/current_ecc"),
        ecc_uncorrectable=_number(_said(element, "ecc_errors/aggregate/dram_uncorrectable")),
        retirement_pending=_either(
            _yes(element, "retired_pages/pending_retirement"), _yes(element, "retired_pages/pending_blacklist")
        ),
        remap_pending=_yes(element, "remapped_rows/remapped_row_pending"),
        remap_failed=_yes(element, "remapped_rows/remapped_row_failure"),
        repair_pending=_either(*repairs),
        memory_unrepairable=_yes(element, "ecc_errors/unrepairable_memory"),
        recovery_action=_said(element, "gpu_recovery_action"),
        fabric_state=_said(element, "fabric/state"),
        fabric_status=_said(element, "fabric/status"),
        fabric_health=_said(element, "fabric/health/summary"),
        lost=_LOST in words,
        reset_required=any(word in words for word in _RESET),
    )


def _mig(number: int, element: ET.Element) -> MigDevice:
    index = _number(_said(element, "index"))
    return MigDevice(
        index=number if index is None else index,
        gpu_instance=_number(_said(element, "gpu_instance_id")),
        compute_instance=_number(_said(element, "compute_instance_id")),
        uuid=_said(element, "uuid"),
        memory_total=_number(_said(element, "fb_memory_usage/total")),
    )


def _named(gpus: tuple[Gpu, ...], listing: str) -> tuple[Gpu, ...]:
    """The same GPUs, their MIG devices with the profiles and UUIDs that `nvidia-smi -L` lists."""
    found: dict[tuple[int, int], tuple[str, str]] = {}
    gpu = -1
    for line in listing.splitlines():
        if match := _GPU_LINE.match(line):
            gpu = int(match[1])
        elif match := _MIG_LINE.match(line):
            found[gpu, int(match[2])] = (match[1], match[3])
    return tuple(
        replace(
            gpu,
            mig_devices=tuple(
                replace(mig, profile=found[gpu.index, mig.index][0], uuid=found[gpu.index, mig.index][1])
                if (gpu.index, mig.index) in found
                else mig
                for mig in gpu.mig_devices
            ),
        )
        for gpu in gpus
    )


def _said(element: ET.Element, path: str) -> str | None:
    """An element's text; None for none, for N/A, and for the words NVML puts in place of a value."""
    text = (element.findtext(path) or "").strip()
    low = text.lower()
    return None if low in _NOTHING or low == _LOST or low in _RESET or "unknown error" in low else text


def _number(text: str | None) -> int | None:
    """The whole number that a value begins with: `81559 MiB`."""
    match = re.match(r"\d{1,18}(?![\d.])", text or "", re.ASCII)
    return int(match[0]) if match else None


def _yes(element: ET.Element, path: str) -> bool | None:
    return {"yes": True, "no": False}.get((_said(element, path) or "").lower())


def _on(element: ET.Element, path: str) -> bool | None:
    return {"enabled": True, "disabled": False}.get((_said(element, path) or "").lower())


def _either(*values: bool | None) -> bool | None:
    """True if any is, None if nothing is known."""
    known = [value for value in values if value is not None]
    return any(known) if known else None
