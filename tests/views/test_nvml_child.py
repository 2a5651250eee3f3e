"""The child that asks NVML, called in this process: by a library of a test's own, and by a module in pynvml's place.

Both stand for NVML and answer what is written here; that the real one is read rightly, tests/gpu shows.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.views import nvml_child

if TYPE_CHECKING:
    from pathlib import Path

UUID = "GPU-00000000-0000-4000-8000-000000000001"
LIBRARY = f"""
#include <stdio.h>
#include <string.h>
typedef struct {{ char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; }} pci_t;
typedef struct {{ unsigned long long total, free, used; }} memory_t;
typedef struct {{ unsigned char cluster[16]; unsigned status, clique; unsigned char state; }} fabric_t;
int nvmlInit_v2(void) {{ return INIT; }}
int nvmlShutdown(void) {{ return 0; }}
const char *nvmlErrorString(int code) {{ return code == 9 ? "Driver Not Loaded" : "Unknown Error"; }}
int nvmlDeviceGetCount_v2(unsigned *n) {{ *n = 2; return COUNT; }}
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) {{ *h = (void *)1; return i ? 15 : 0; }}
int nvmlDeviceGetName(void *h, char *b, unsigned n) {{ snprintf(b, n, "NVIDIA H100"); return 0; }}
int nvmlDeviceGetUUID(void *h, char *b, unsigned n) {{ snprintf(b, n, h == (void *)1 ? "{UUID}" : "MIG-1"); return 0; }}
int nvmlDeviceGetMemoryInfo(void *h, memory_t *m) {{ m->total = 85899345920ULL; return 0; }}
int nvmlDeviceGetPciInfo_v3(void *h, pci_t *p) {{ strcpy(p->bus_id, "00000000:00:06.0"); return 0; }}
int nvmlDeviceGetMinorNumber(void *h, unsigned *n) {{ *n = 3; return 0; }}
int nvmlDeviceGetPersistenceMode(void *h, unsigned *n) {{ *n = 1; return 0; }}
int nvmlDeviceGetMigMode(void *h, unsigned *a, unsigned *b) {{ *a = *b = 1; return 0; }}
int nvmlDeviceGetMaxMigDeviceCount(void *h, unsigned *n) {{ *n = 2; return 0; }}
int nvmlDeviceGetMigDeviceHandleByIndex(void *h, unsigned i, void **m) {{ *m = (void *)2; return i ? 6 : 0; }}
int nvmlDeviceGetGpuFabricInfo(void *h, fabric_t *f) {{ f->state = 3; f->status = 0; return 0; }}
int nvmlDeviceGetCudaComputeCapability(void *h, int *a, int *b) {{ *a = 9; *b = 0; return 0; }}
int nvmlSystemGetDriverVersion(char *b, unsigned n) {{ snprintf(b, n, "580.159.04"); return 0; }}
int nvmlSystemGetCudaDriverVersion_v2(int *v) {{ *v = 13000; return 0; }}
"""


def library(folder: Path, *, init: int = 0, count: int = 0) -> str:
    """A libnvidia-ml.so.1 with these answers of its first two calls."""
    compiler = shutil.which("gcc")
    assert compiler is not None
    made = folder / "libnvidia-ml.so.1"
    flags = [f"-DINIT={init}", f"-DCOUNT={count}", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(made)]
    subprocess.run([compiler, *flags], input=LIBRARY, text=True, check=True)
    return str(made)


@pytest.mark.lab("gcc")
def test_the_library_is_read_call_by_call_and_what_it_lacks_is_none(tmp_path: Path) -> None:
    """The second GPU is lost; remapped rows and retired pages are calls that this library does not have."""
    answer: Any = nvml_child.by_library(library(tmp_path))
    assert (answer["driver"], answer["cuda"]) == ("580.159.04", 13000)
    first, second = answer["gpus"]
    assert second == {"index": 1, "code": 15}
    assert first == {
        "index": 0,
        "code": 0,
        "name": "NVIDIA H100",
        "uuid": UUID,
        "bus_id": "00000000:00:06.0",
        "memory": 85899345920,
        "minor": 3,
        "mig": [1, 1],
        "mig_devices": [{"index": 0, "uuid": "MIG-1"}],
        "capability": [9, 0],
        "persistence": 1,
        "retired": None,
        "remapped": None,
        "fabric": [3, 0],
    }


@pytest.mark.lab("gcc")
@pytest.mark.parametrize(("init", "count"), [(9, 0), (0, 9)])
def test_an_error_of_the_library_comes_with_its_words_and_code(tmp_path: Path, init: int, count: int) -> None:
    answer = nvml_child.by_library(library(tmp_path, init=init, count=count))
    assert answer == {"error": "Driver Not Loaded", "code": 9}


def test_no_library_is_code_12(tmp_path: Path) -> None:
    assert nvml_child.by_library(str(tmp_path / "none.so"))["code"] == 12


BINDINGS = """
class NVMLError(Exception):
    def __init__(self, value): self.value = value
    def __str__(self): return "Driver Not Loaded"
class _Memory: total = 85899345920
class _Pci: busId = "00000000:00:06.0"
def nvmlInit():
    if {init}: raise NVMLError({init})
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index):
    if index: raise NVMLError(15)
    return 1
def nvmlDeviceGetName(handle): return "NVIDIA H100"
def nvmlDeviceGetUUID(handle): return "{uuid}"
def nvmlDeviceGetMemoryInfo(handle): return _Memory
def nvmlDeviceGetPciInfo(handle): return _Pci
def nvmlDeviceGetMinorNumber(handle): raise NVMLError(3)
def nvmlSystemGetDriverVersion(): return "580.159.04"
def nvmlSystemGetCudaDriverVersion_v2(): return 13000
"""


def bindings(folder: Path, monkeypatch: pytest.MonkeyPatch, *, init: int = 0) -> str:
    """A pynvml.py with these answers."""
    monkeypatch.setitem(sys.modules, "pynvml", sys)  # put back afterwards
    path = folder / "pynvml.py"
    path.write_text(BINDINGS.format(init=init, uuid=UUID))
    return str(path)


def test_the_bindings_are_read_call_by_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer: Any = nvml_child.by_bindings(bindings(tmp_path, monkeypatch))
    first, second = answer["gpus"]
    assert (answer["driver"], answer["cuda"], second) == ("580.159.04", 13000, {"index": 1, "code": 15})
    assert (first["uuid"], first["memory"], first["bus_id"]) == (UUID, 85899345920, "00000000:00:06.0")
    assert (first["minor"], first["mig"]) == (None, None)


def test_an_error_of_the_bindings_comes_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert nvml_child.by_bindings(bindings(tmp_path, monkeypatch, init=9)) == {"error": "Driver Not Loaded", "code": 9}
