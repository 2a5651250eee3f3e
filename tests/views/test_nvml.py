"""NVML's view: one shape whatever asked, and the questions that it puts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gpuready.model import Undetermined
from pytest_gpuready.views import Views, nvml_child
from pytest_gpuready.views.nvml import Nvml, bindings_request, library_request
from tests.support import driver as d
from tests.support.simnode import SimNode

CHILD = Path(nvml_child.__file__)

#: A module that stands for nvidia-ml-py on a machine with two GPUs, the second lost. It cannot show what NVML does.
BINDINGS = """
import sys
class NVMLError(Exception):
    def __init__(self, value): self.value = value
    def __str__(self): return "error %d" % self.value
assert sys.modules[__name__]
class Info:
    busId = "00000000:00:06.0"; total = 85520809984
def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index):
    if index: raise NVMLError(15)
    return index
def nvmlDeviceGetMemoryInfo(handle): return Info
def nvmlDeviceGetPciInfo(handle): return Info
def nvmlDeviceGetName(handle): return "NVIDIA H100 80GB HBM3"
def nvmlDeviceGetUUID(handle): return "GPU-00000000-0000-0000-0000-000000000001"
def nvmlDeviceGetMinorNumber(handle): return 0
def nvmlDeviceGetMigMode(handle): return [0, 0]
def nvmlDeviceGetCudaComputeCapability(handle): return (9, 0)
def nvmlDeviceGetPersistenceMode(handle): raise NVMLError(3)
def nvmlSystemGetDriverVersion(): return "580.159.04"
def nvmlSystemGetCudaDriverVersion_v2(): return 13000
"""


def view(node: SimNode) -> Nvml:
    """NVML's view of a node."""
    return Views(node.facts()).get(Nvml)


def test_the_shape_is_the_same_by_nvidia_smi_and_by_python() -> None:
    by_smi = view(d.h100(SimNode(label="ssh://n1")))
    node = d.h100(SimNode(label="ssh://n1")).remove("/usr/bin/nvidia-smi").program("/usr/bin/python3")
    gpu = {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": d.uuid(0),
        "bus_id": "00000000:00:06.0",
        "memory": 81559 << 20,
    }
    gpu.update(
        {"minor": 0, "mig": [0, 0], "persistence": 1, "capability": [9, 0], "remapped": [0, 0, 0, 0], "fabric": [3, 0]}
    )
    node.answer(("NVML by python3",), json.dumps({"driver": d.VERSION, "cuda": 13000, "gpus": [gpu]}))
    by_python = view(node)
    for name in (
        "name",
        "uuid",
        "bus_id",
        "memory_total",
        "minor",
        "mig_mode",
        "persistence",
        "remap_pending",
        "remap_failed",
    ):
        assert getattr(by_smi.devices[0], name) == getattr(by_python.devices[0], name), name
    assert (
        (by_smi.driver_version, by_smi.cuda_version)
        == (by_python.driver_version, by_python.cuda_version)
        == (d.VERSION, "13.0")
    )
    assert by_python.devices[0].compute_capability == (9, 0)
    assert (by_python.devices[0].fabric_state, by_python.devices[0].fabric_status) == ("Completed", "Success")
    assert by_smi.source == "/usr/bin/nvidia-smi -q -x"
    assert by_python.source == "NVML by python3"


def test_a_lost_gpu_keeps_its_place() -> None:
    node = d.h100(SimNode(label="ssh://n1"), 2).remove("/usr/bin/nvidia-smi").program("/usr/bin/python3")
    node.answer(("NVML by python3",), json.dumps({"gpus": [{"index": 0, "uuid": d.uuid(0)}, {"index": 1, "code": 15}]}))
    assert [gpu.lost for gpu in view(node).devices] == [False, True]


def test_no_gpu_is_an_empty_list_and_no_answer_is_none() -> None:
    assert view(d.smi(d.h100(SimNode()), "No devices were found\n", rc=6)).devices == []
    for output, rc in (("", 0), ("Failed to initialize NVML: Unknown Error\n", 255), ("x", 0)):
        with pytest.raises(Undetermined):
            _ = view(d.smi(d.h100(SimNode()), output, rc=rc)).devices


@pytest.mark.parametrize(
    ("kind", "folder", "given"),
    [
        ("cache", d.LIBS, ""),
        ("root", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib64"),
        ("operator", "/run/nvidia/driver/usr/lib64", "/run/nvidia/driver/usr/lib64"),
    ],
)
def test_nvidia_smi_gets_the_folder_of_a_library_that_the_loader_does_not_find(
    kind: str, folder: str, given: str
) -> None:
    node = d.libraries(d.h100(SimNode()), *d.both(kind, folder))
    request = view(node).request
    assert request is not None
    assert request.arg == ("nvidia-smi -q -x", "/usr/bin/nvidia-smi", given)
    assert request.timeout == 10


def test_an_nvidia_smi_beside_path_is_found() -> None:
    node = d.h100(SimNode()).remove("/usr/bin/nvidia-smi").program("/run/nvidia/driver/usr/bin/nvidia-smi")
    assert view(node).program == "/run/nvidia/driver/usr/bin/nvidia-smi"


def test_every_gpus_answer_fits_the_limit() -> None:
    request = view(d.h100(SimNode())).request
    assert request is not None
    assert request.limit > 16 * 60_000


def test_a_recorded_question_holds_no_path_of_the_machine_that_asked() -> None:
    assert bindings_request("/home/me/pynvml.py").arg == ("NVML by pynvml",)


class TestChild:
    def ask(self, *line: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-I", "-S", *line], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def test_by_bindings(self, tmp_path: Path) -> None:
        module = tmp_path / "pynvml.py"
        module.write_text(BINDINGS)
        answer = self.ask(str(CHILD), str(module))
        node = d.h100(SimNode(), 2).answer(("NVML by pynvml",), json.dumps(answer))
        other = view(node).bindings
        assert other is not None
        assert (other.driver_version, other.cuda_version, len(other.gpus)) == ("580.159.04", "13.0", 2)
        assert (other.gpus[0].memory_total, other.gpus[0].bus_id, other.gpus[0].mig_mode) == (
            81559,
            "0000:00:06.0",
            "Disabled",
        )
        assert other.gpus[0].persistence is None
        assert other.gpus[1].lost
        assert view(node).differences() == []

    def test_without_a_library_both_ways_say_error_12(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "libnvidia-ml.so.1")
        assert self.ask("-c", CHILD.read_text("utf-8"), missing)["code"] == 12
        assert self.ask(str(CHILD), missing)["code"] == 12

    def test_a_library_that_is_something_else_says_error_12(self) -> None:
        assert self.ask(str(CHILD), "libc.so.6")["code"] == 12

    def test_the_real_bindings_are_loaded_without_a_warning(self) -> None:
        import importlib.util  # noqa: PLC0415 - only here

        spec = importlib.util.find_spec("pynvml")
        assert spec is not None
        assert spec.origin is not None
        answer = self.ask("-W", "error", str(CHILD), spec.origin)
        assert "gpus" in answer or answer["code"] in (9, 12, 18)

    def test_the_script_for_nodes_without_nvidia_smi_runs_under_sh(self, tmp_path: Path) -> None:
        request = library_request(str(tmp_path / "no'such library.so"))
        done = subprocess.run(
            ["sh", "-c", request.body, *request.arg], capture_output=True, text=True, check=False, timeout=30
        )
        assert json.loads(done.stdout)["code"] == 12


def test_importing_the_package_imports_no_pynvml() -> None:
    code = "import sys, pytest_gpuready.views.nvml, pytest_gpuready.checks.driver; sys.exit('pynvml' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code], check=False, cwd=Path(__file__).parents[2], timeout=60
        ).returncode
        == 0
    )
