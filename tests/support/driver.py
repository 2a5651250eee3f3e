"""What a node with a healthy NVIDIA driver shows, and the pieces to break it with.

The nvidia-smi output is made here in the shape of a real one (cut to what is read, and as our script passes it on). It
stands for `nvidia-smi -q -x`; the real outputs of shared data and of real GPUs are tried in tests/views and tests/gpu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuready.model import Settings
    from pytest_gpuready.report.model import Finding

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n'
H100 = 0x2330
VERSION = "580.159.04"
ELF64 = "7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00 03 00 3e 00"
ELF32 = "7f 45 4c 46 01 01 01 00 00 00 00 00 00 00 00 00 03 00 03 00"
LIBS = "/usr/lib/x86_64-linux-gnu"
KERNEL = "6.8.0-40-generic"


def address(number: int) -> str:
    """The PCI address of GPU `number`, as sysfs writes it."""
    return f"0000:00:{6 + number:02x}.0"


def uuid(number: int) -> str:
    """The UUID of GPU `number`."""
    return f"GPU-00000000-0000-0000-0000-{number + 1:012d}"


def pci(node: SimNode, *functions: tuple[str, int, int, str], virtual: Sequence[str] = ()) -> SimNode:
    """NVIDIA's PCI functions: (address, device id, class, driver or "")."""
    lines = [
        f"pci {where} 0x{device:04x} 0x{kind:06x} {'vf' if where in virtual else 'pf'} {driver}"
        for where, device, kind, driver in functions
    ]
    return node.answer(("PCI devices of NVIDIA",), "\n".join(["bus", *lines]) + "\n")


def gpus_on_bus(node: SimNode, gpus: int = 1, *, device: int = H100, driver: str = "nvidia") -> SimNode:
    """So many GPUs of one kind, all with one driver."""
    return pci(node, *[(address(number), device, 0x030200, driver) for number in range(gpus)])


def on_disk(
    node: SimNode,
    *,
    kernels: Sequence[str] = (KERNEL,),
    version: str | None = VERSION,
    license_: str = "Dual MIT/GPL",
    signer: str | None = "DKMS module signing key",
    headers: bool = True,
    more: Sequence[str] = (),
) -> SimNode:
    """nvidia.ko on disk for these kernels."""
    lines = [f"dep /lib/modules/{kernel}/modules.dep:updates/dkms/nvidia.ko.zst:" for kernel in kernels]
    lines += [f"dep /lib/modules/{kernel}/modules.dep:updates/dkms/nvidia-uvm.ko.zst:" for kernel in kernels]
    lines += ["headers"] if headers else []
    lines += [f"info version {version}", f"info license {license_}"] if version and KERNEL in kernels else []
    lines += [f"info signer {signer}"] if signer and KERNEL in kernels else []
    return node.answer(("nvidia module on disk",), "\n".join([*lines, *more]) + "\n")


def library(kind: str, path: str, *, version: str | None = VERSION, head: str = ELF64, fault: str = "") -> str:
    """One record of the search for libraries; `fault` is a line in place of the ELF head (`empty`, `gone` …)."""
    real = f"{path.removesuffix('.1')}.{version}" if version else path
    if fault.startswith(("gone", "broken", "folder")):
        return f"lib {kind} {path}\n{fault}\n"
    return f"lib {kind} {path}\nreal {real}\n{fault or f'head {head}'}\n"


def libraries(node: SimNode, *records: str, cache: bool = True) -> SimNode:
    """What the search for libraries prints."""
    return node.answer(("ldconfig -p and driver roots",), ("cache\n" if cache else "") + "".join(records))


def both(kind: str = "cache", folder: str = LIBS, *, version: str | None = VERSION) -> list[str]:
    """Records of both libraries in a folder."""
    return [library(kind, f"{folder}/{name}", version=version) for name in ("libnvidia-ml.so.1", "libcuda.so.1")]


def log(node: SimNode, *lines: str, begins: str = "[    0.000000]") -> SimNode:
    """The kernel's lines about the driver."""
    body = "".join(f"line {line}\n" for line in lines)
    return node.answer(("kernel log",), f"source dmesg\nbegins {begins}\n{body}")


def gpu_xml(number: int = 0, **said: str) -> str:
    """One GPU's element; `said` replaces values: name, uuid, bus, memory, mig, mig_devices, fabric_state and so on."""
    values = {
        "name": "NVIDIA H100 80GB HBM3",
        "architecture": "Hopper",
        "uuid": uuid(number),
        "bus": f"0000{address(number)}",
        "minor": str(number),
        "memory": "81559 MiB",
        "persistence": "Enabled",
        "mig": "Disabled",
        "mig_pending": said.get("mig", "Disabled"),
        "pstate": "P0",
        "ecc": "Enabled",
        "recovery": "None",
        "retirement": "N/A",
        "remap_pending": "No",
        "remap_failure": "No",
        "unrepairable": "No",
        "repair": "No",
        "fabric_state": "N/A",
        "fabric_status": "N/A",
        "fabric_health": "N/A",
        **said,
    }
    v = {key: value if key == "mig_devices" else escape(value) for key, value in values.items()}
    return f"""\t<gpu id="{v["bus"]}">
\t\t<product_name>{v["name"]}</product_name>
\t\t<product_architecture>{v["architecture"]}</product_architecture>
\t\t<persistence_mode>{v["persistence"]}</persistence_mode>
\t\t<mig_mode>
\t\t\t<current_mig>{v["mig"]}</current_mig>
\t\t\t<pending_mig>{v["mig_pending"]}</pending_mig>
\t\t</mig_mode>
\t\t<mig_devices>
\t\t\t{v.get("mig_devices", "None")}
\t\t</mig_devices>
\t\t<serial></serial>
\t\t<uuid>{v["uuid"]}</uuid>
\t\t<minor_number>{v["minor"]}</minor_number>
\t\t<gpu_virtualization_mode>
\t\t\t<virtualization_mode>None</virtualization_mode>
\t\t</gpu_virtualization_mode>
\t\t<gpu_recovery_action>{v["recovery"]}</gpu_recovery_action>
\t\t<pci>
\t\t\t<pci_bus_id>{v["bus"]}</pci_bus_id>
\t\t</pci>
\t\t<performance_state>{v["pstate"]}</performance_state>
\t\t<fb_memory_usage>
\t\t\t<total>{v["memory"]}</total>
\t\t</fb_memory_usage>
\t\t<ecc_mode>
\t\t\t<current_ecc>{v["ecc"]}</current_ecc>
\t\t</ecc_mode>
\t\t<ecc_errors>
\t\t\t<aggregate>
\t\t\t\t<dram_uncorrectable>0</dram_uncorrectable>
\t\t\t</aggregate>
\t\t\t<channel_repair_pending>{v["repair"]}</channel_repair_pending>
\t\t\t<tpc_repair_pending>No</tpc_repair_pending>
\t\t\t<unrepairable_memory>{v["unrepairable"]}</unrepairable_memory>
\t\t</ecc_errors>
\t\t<retired_pages>
\t\t\t<pending_retirement>{v["retirement"]}</pending_retirement>
\t\t</retired_pages>
\t\t<remapped_rows>
\t\t\t<remapped_row_pending>{v["remap_pending"]}</remapped_row_pending>
\t\t\t<remapped_row_failure>{v["remap_failure"]}</remapped_row_failure>
\t\t</remapped_rows>
\t\t<fabric>
\t\t\t<state>{v["fabric_state"]}</state>
\t\t\t<status>{v["fabric_status"]}</status>
\t\t\t<health>
\t\t\t\t<summary>{v["fabric_health"]}</summary>
\t\t\t</health>
\t\t</fabric>
\t</gpu>
"""


def mig_xml(index: int, instance: int) -> str:
    """One MIG device, for `gpu_xml(mig_devices=…)`."""
    return (
        f"<mig_device><index>{index}</index><gpu_instance_id>{instance}</gpu_instance_id>"
        "<compute_instance_id>0</compute_instance_id>"
        "<fb_memory_usage><total>9984 MiB</total></fb_memory_usage></mig_device>"
    )


def smi_xml(*gpus: str, version: str = VERSION, attached: int | None = None) -> str:
    """The answer of `nvidia-smi -q -x`."""
    return f"""<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v13.dtd">
<nvidia_smi_log>
\t<timestamp>Sun Nov 22 08:46:02 2026</timestamp>
\t<driver_version>{version}</driver_version>
\t<cuda_version>13.0</cuda_version>
\t<attached_gpus>{len(gpus) if attached is None else attached}</attached_gpus>
{"".join(gpus)}
</nvidia_smi_log>
"""


def smi(node: SimNode, output: str = "", *, rc: int = 0, state: str = "ok", note: str = "") -> SimNode:
    """What nvidia-smi answers."""
    return node.answer(("nvidia-smi -q -x",), output, rc=rc, state=state, note=note)


def h100(node: SimNode, gpus: int = 1, *, version: str = VERSION, device: int = H100, flavour: str = "open") -> SimNode:
    """A node with so many GPUs (H100 unless said otherwise), driver loaded, device nodes and libraries there."""
    gpus_on_bus(node, gpus, device=device)
    on_disk(node, version=version, license_="Dual MIT/GPL" if flavour == "open" else "NVIDIA")
    libraries(node, *both(version=version))
    log(node, f"[    0.840390] NVRM: loading NVIDIA UNIX Kernel Module  {version}")
    words = "NVIDIA UNIX Open Kernel Module for x86_64" if flavour == "open" else "NVIDIA UNIX x86_64 Kernel Module"
    node.put("/proc/driver/nvidia/version", f"NVRM version: {words}  {version}  Release Build\nGCC version:  gcc\n")
    node.put(
        "/proc/driver/nvidia/params", "ModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 438\n"
    )
    node.put(
        "/proc/devices",
        "Character devices:\n195 nvidia\n195 nvidiactl\n238 nvidia-uvm\n241 nvidia-caps\n\nBlock devices:\n  8 sd\n",
    )
    node.put("/sys/module/nvidia/version", f"{version}\n")
    node.folder("/sys/module/nvidia_uvm")
    node.device("/dev/nvidiactl", 195, 255).device("/dev/nvidia-uvm", 238, 0).device("/dev/nvidia-uvm-tools", 238, 1)
    node.device("/dev/nvidia-caps/nvidia-cap1", 241, 1, mode=0o400).device(
        "/dev/nvidia-caps/nvidia-cap2", 241, 2, mode=0o444
    )
    for number in range(gpus):
        information(node, number)
        node.device(f"/dev/nvidia{number}", 195, number)
        node.folder(f"/proc/driver/nvidia/capabilities/gpu{number}/mig")
    node.program("/usr/bin/nvidia-smi").program("/usr/bin/nvidia-modprobe")
    return smi(node, smi_xml(*[gpu_xml(number) for number in range(gpus)], version=version))


def information(node: SimNode, number: int, *, excluded: bool = False, uuid_: str | None = None) -> SimNode:
    """A GPU as the kernel module lists it."""
    return node.put(
        f"/proc/driver/nvidia/gpus/{address(number)}/information",
        f"Model: \t\t NVIDIA H100 80GB HBM3\nGPU UUID: \t {uuid_ or uuid(number)}\nBus Type: \t PCIe\n"
        f"Bus Location: \t {address(number)}\nDevice Minor: \t {number}\nGPU Excluded:\t "
        f"{'Yes' if excluded else 'No'}\n",
    )


def ubuntu(gpus: int = 1) -> SimNode:
    """Return a healthy H100 node on Ubuntu with sudo, asked by an ordinary user."""
    node = SimNode().put("/etc/os-release", UBUNTU).program("/usr/bin/apt-get").program("/usr/bin/sudo")
    return h100(node.program("/usr/sbin/update-initramfs"), gpus)


def unloaded(node: SimNode) -> SimNode:
    """Unload the module and take away what it makes."""
    node.remove("/sys/module/nvidia", "/sys/module/nvidia_uvm", "/proc/driver/nvidia")
    for path in [path for path in node.tree if path.startswith("/dev/nvidia")]:
        node.remove(path)
    return gpus_on_bus(node, driver="")


def lists(*gpus: str) -> SimNode:
    """Return a node with as many GPUs, whose nvidia-smi lists these."""
    return smi(h100(SimNode().put("/etc/os-release", UBUNTU), len(gpus)), smi_xml(*gpus))


def find(node: SimNode, check: str, settings: Settings | None = None) -> Finding:
    """Return the finding of one of the driver's checks."""
    return node.judge(settings).findings[f"driver.{check}"]


def commands(finding: Finding) -> str:
    """Return the remedy's commands, one per line."""
    assert finding.outcome.remedy is not None, finding.outcome
    return "\n".join(finding.outcome.remedy.commands)


def evidence(node: SimNode, check: str) -> list[tuple[str, str]]:
    """Return source and text of each piece of evidence; the finding must be known."""
    found = find(node, check)
    assert found.status in ("fail", "warn", "pass")
    return [(item.source, item.text) for item in found.outcome.evidence]


def failed(node: SimNode, check: str) -> str:
    """Return what a failing check says."""
    found = find(node, check)
    assert found.status == "fail"
    return found.outcome.found
