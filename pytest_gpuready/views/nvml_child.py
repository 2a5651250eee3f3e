"""NVML asked directly, in a process of its own: prints one JSON object on standard output.

    python3 -I -S nvml_child.py PATH/pynvml.py       by NVIDIA's bindings (the local node's cross-check)
    python3 -I -S -c SOURCE     libnvidia-ml.so.1    by ctypes alone (a node without nvidia-smi)

It is started apart because nvmlInit may block while the driver initialises, and because importing the deprecated
distribution `pynvml` warns. It imports nothing of this package and is written for Python 3.6.
Sources: nvml.h of the driver (nvmlPciInfo_v3_t, nvmlMemory_t, nvmlGpuFabricInfo_t), nvidia-ml-py.
"""

import ctypes
import json
import sys
from typing import Any


def by_bindings(path: str) -> "dict[str, object]":
    """What NVML says through the module pynvml at `path`."""
    import importlib.util  # noqa: PLC0415 - only here

    spec = importlib.util.spec_from_file_location("pynvml", path)
    nvml = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["pynvml"] = nvml  # it looks itself up there
    spec.loader.exec_module(nvml)  # type: ignore[union-attr]

    def ask(function: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, function)(*arguments)
        except (nvml.NVMLError, AttributeError):
            return None

    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"error": str(error), "code": error.value}
    gpus = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            gpus.append({"index": index, "code": error.value})
            continue
        memory, pci = ask("nvmlDeviceGetMemoryInfo", handle), ask("nvmlDeviceGetPciInfo", handle)
        gpus.append(
            {
                "index": index,
                "name": ask("nvmlDeviceGetName", handle),
                "uuid": ask("nvmlDeviceGetUUID", handle),
                "bus_id": pci and pci.busId,
                "memory": memory and memory.total,
                "minor": ask("nvmlDeviceGetMinorNumber", handle),
                "mig": ask("nvmlDeviceGetMigMode", handle),
                "capability": ask("nvmlDeviceGetCudaComputeCapability", handle),
                "persistence": ask("nvmlDeviceGetPersistenceMode", handle),
            }
        )
    driver, cuda = ask("nvmlSystemGetDriverVersion"), ask("nvmlSystemGetCudaDriverVersion_v2")
    nvml.nvmlShutdown()
    return {"driver": driver, "cuda": cuda, "gpus": gpus}


class Pci(ctypes.Structure):
    """nvmlPciInfo_t of nvmlDeviceGetPciInfo_v3."""

    _fields_ = [
        ("legacy", ctypes.c_char * 16),
        *[(name, ctypes.c_uint) for name in ("domain", "bus", "device", "id", "subsystem")],
        ("bus_id", ctypes.c_char * 32),
    ]


class Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class Fabric(ctypes.Structure):
    """nvmlGpuFabricInfo_t."""

    _fields_ = [
        ("cluster", ctypes.c_ubyte * 16),
        ("status", ctypes.c_uint),
        ("clique", ctypes.c_uint),
        ("state", ctypes.c_ubyte),
    ]


def by_library(path: str) -> "dict[str, object]":
    """What NVML says through the library at `path`."""
    try:
        nvml = ctypes.CDLL(path)
        nvml.nvmlErrorString.restype = ctypes.c_char_p
        code = nvml.nvmlInit_v2()
    except (OSError, AttributeError) as error:
        return {"error": str(error), "code": 12}
    if code:
        return {"error": nvml.nvmlErrorString(code).decode("ascii", "replace"), "code": code}

    def ask(function: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, function)(*arguments)
        except AttributeError:
            return 13

    def text(function: str, *before: Any) -> "str | None":
        buffer = ctypes.create_string_buffer(96)
        return None if ask(function, *before, buffer, 96) else buffer.value.decode("utf-8", "replace")

    def numbers(function: str, handle: Any, count: int) -> "list[int] | None":
        values = [ctypes.c_uint() for _ in range(count)]
        return None if ask(function, handle, *map(ctypes.byref, values)) else [value.value for value in values]

    count, cuda = ctypes.c_uint(), ctypes.c_int()
    code = ask("nvmlDeviceGetCount_v2", ctypes.byref(count))
    if code:
        return {"error": nvml.nvmlErrorString(code).decode("ascii", "replace"), "code": code}
    gpus = []
    for index in range(count.value):
        handle, pci, memory, fabric = ctypes.c_void_p(), Pci(), Memory(), Fabric()
        code = ask("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        if code:
            gpus.append({"index": index, "code": code})
            continue
        code = ask("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        located = not ask("nvmlDeviceGetPciInfo_v3", handle, ctypes.byref(pci))
        bus_id = pci.bus_id.decode("ascii", "replace") if located else None
        joined = not ask("nvmlDeviceGetGpuFabricInfo", handle, ctypes.byref(fabric))
        minor = numbers("nvmlDeviceGetMinorNumber", handle, 1)
        persistence = numbers("nvmlDeviceGetPersistenceMode", handle, 1)
        retired = numbers("nvmlDeviceGetRetiredPagesPendingStatus", handle, 1)
        instances = []
        for number in range((numbers("nvmlDeviceGetMaxMigDeviceCount", handle, 1) or [0])[0]):
            mig = ctypes.c_void_p()
            if not ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, number, ctypes.byref(mig)):
                instances.append({"index": number, "uuid": text("nvmlDeviceGetUUID", mig)})
        gpus.append(
            {
                "index": index,
                "code": code if code in (15, 16) else 0,
                "name": text("nvmlDeviceGetName", handle),
                "uuid": text("nvmlDeviceGetUUID", handle),
                "bus_id": bus_id,
                "memory": None if code else memory.total,
                "minor": minor and minor[0],
                "mig": numbers("nvmlDeviceGetMigMode", handle, 2),
                "mig_devices": instances,
                "capability": numbers("nvmlDeviceGetCudaComputeCapability", handle, 2),
                "persistence": persistence and persistence[0],
                "retired": retired and retired[0],
                "remapped": numbers("nvmlDeviceGetRemappedRows", handle, 4),
                "fabric": [fabric.state, fabric.status] if joined else None,
            }
        )
    driver = text("nvmlSystemGetDriverVersion")
    told = not ask("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
    answer: dict[str, object] = {"driver": driver, "cuda": cuda.value if told else None, "gpus": gpus}
    ask("nvmlShutdown")
    return answer


if __name__ == "__main__":
    asked = sys.argv[1]
    json.dump(by_bindings(asked) if asked.endswith(".py") else by_library(asked), sys.stdout)
