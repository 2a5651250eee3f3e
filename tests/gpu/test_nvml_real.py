"""This machine's own GPUs: the driver's views and checks against what NVML says by three other ways.

Runs where /dev/nvidiactl is (tests/gpu/run); everywhere else it skips and says so.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import parse as parse_spec
from pytest_gpuready.node.snapshot import dumps
from pytest_gpuready.node.transport import Options, Reply, Shell
from pytest_gpuready.views import Views
from pytest_gpuready.views.driver import Driver
from pytest_gpuready.views.nvml import Nvml, _from_child, library_request
from pytest_gpuready.views.nvsmi import bus_id

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Facts
    from pytest_gpuready.report.model import NodeReport

pytestmark = pytest.mark.skipif(
    not Path("/dev/nvidiactl").exists(), reason="no /dev/nvidiactl: there is no NVIDIA driver on this machine"
)


class Counting(Shell):
    """The local shell, counting the rounds."""

    rounds = 0

    def send(self, script: str, deadline: float) -> Reply:
        """One more round."""
        self.rounds += 1
        return super().send(script, deadline)


@dataclasses.dataclass
class Looked:
    """What one gathering brought, how many rounds it took, and what of the driver was loaded and there around it."""

    facts: Facts
    rounds: int
    before: list[str]
    after: list[str]


def state() -> list[str]:
    """The driver's device nodes and modules, as they are now."""
    nodes = sorted(
        f"{path} {path.stat().st_mode:o} {path.stat().st_rdev}"
        for path in [*Path("/dev").glob("nvidia*"), *Path("/dev").glob("nvidia-caps/*")]
    )
    modules = sorted(
        line.split()[0] for line in Path("/proc/modules").read_text("utf-8").splitlines() if line.startswith("nvidia")
    )
    return nodes + modules


@pytest.fixture(scope="module")
def looked() -> Looked:
    """This machine, gathered once."""
    before = state()
    shell = Counting(parse_spec("local://"), Options())
    with shell:
        facts = gather(shell, "local", lambda facts: Views(facts, Settings()).wants(), 60)
        return Looked(facts, shell.rounds, before, state())


@pytest.fixture(scope="module")
def report(looked: Looked) -> NodeReport:
    """This machine, judged; snapshot and findings are written to $GPUREADY_GPU_OUT."""
    made = judge(looked.facts, Settings())
    folder = os.environ.get("GPUREADY_GPU_OUT")
    if folder:
        out = Path(folder)
        (out / "snapshot.json").write_text(dumps(looked.facts, {"generator": "tests/gpu"}), "utf-8")
        findings = [
            {"check": name, "status": finding.status, "found": finding.outcome.found, "blocked_by": finding.blocked_by}
            for name, finding in made.findings.items()
        ]
        devices = [dataclasses.asdict(gpu) for gpu in Views(looked.facts).get(Nvml).devices]
        document = {"verdict": made.verdict, "rounds": looked.rounds, "findings": findings, "devices": devices}
        (out / "report.json").write_text(json.dumps(document, indent=1, default=str), "utf-8")
    return made


@pytest.fixture(scope="module")
def nvml(looked: Looked) -> Nvml:
    """NVML's view of this machine."""
    return Views(looked.facts).get(Nvml)


def test_nothing_of_the_drivers_was_made_or_loaded_by_looking(looked: Looked) -> None:
    assert looked.after == looked.before


def test_two_rounds_bring_all_of_it(looked: Looked) -> None:
    assert (
        looked.rounds <= 3
    )  # two that ask; some view of another family may take one more on a node without containerd


def test_nvml_answers_and_lists_every_gpu(report: NodeReport) -> None:
    for name in ("gpu-on-bus", "module-loaded", "device-nodes", "nvml-answers", "gpu-count"):
        finding = report.findings[f"driver.{name}"]
        assert finding.status == "pass", finding.outcome


def test_no_check_of_the_driver_failed_in_itself(report: NodeReport) -> None:
    for finding in report.findings.values():
        assert "itself failed" not in finding.outcome.found, finding


def test_pynvml_and_nvidia_smi_say_the_same(nvml: Nvml) -> None:
    other = nvml.bindings
    assert other is not None, "pynvml did not answer in its own process"
    assert nvml.differences() == []
    assert len(other.gpus) == len(nvml.devices) > 0
    for one, two in zip(nvml.devices, other.gpus, strict=True):
        for name in ("index", "name", "uuid", "bus_id", "memory_total", "minor", "persistence"):
            assert getattr(one, name) == getattr(two, name) is not None, name
    assert other.driver_version == nvml.driver_version
    assert other.cuda_version == nvml.cuda_version


def test_the_library_through_ctypes_says_the_same(nvml: Nvml, looked: Looked) -> None:
    """The way of nodes without nvidia-smi."""
    library = Views(looked.facts).get(Driver).nvml_library
    assert library is not None
    request = library_request(library.path)
    done = subprocess.run(
        ["sh", "-c", request.body, *request.arg], capture_output=True, text=True, check=True, timeout=60
    )
    log = _from_child(done.stdout)
    assert (log.driver_version, log.cuda_version) == (nvml.driver_version, nvml.cuda_version)
    names = (
        "index",
        "name",
        "uuid",
        "bus_id",
        "memory_total",
        "minor",
        "mig_mode",
        "persistence",
        "remap_pending",
        "remap_failed",
    )
    for one, two in zip(nvml.devices, log.gpus, strict=True):
        assert {name: getattr(one, name) for name in names} == {name: getattr(two, name) for name in names}
        assert two.fabric_state == one.fabric_state or one.fabric_state in (None, "N/A")


def test_the_csv_of_nvidia_smi_says_the_same(nvml: Nvml) -> None:
    fields = "index,name,uuid,pci.bus_id,memory.total,driver_version,persistence_mode,mig.mode.current,pstate"
    assert nvml.program is not None
    done = subprocess.run(
        [nvml.program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = list(csv.reader(done.stdout.splitlines(), skipinitialspace=True))
    assert len(rows) == len(nvml.devices)
    for gpu, row in zip(nvml.devices, rows, strict=True):
        assert [str(gpu.index), gpu.name, gpu.uuid, gpu.bus_id] == [*row[:3], bus_id(row[3])]
        assert [str(gpu.memory_total), nvml.driver_version] == row[4:6]
        assert ("Enabled" if gpu.persistence else "Disabled") == row[6]
        assert (gpu.mig_mode or "[N/A]") == row[7]


def test_the_kernel_module_lists_the_same_gpus(nvml: Nvml, looked: Looked) -> None:
    driver = Views(looked.facts).get(Driver)
    mine = {(gpu.bus_id, gpu.uuid, gpu.minor) for gpu in nvml.devices}
    assert {(gpu.address, gpu.uuid, gpu.minor) for gpu in driver.proc_gpus if not gpu.excluded} == mine
    assert nvml.driver_version == driver.module_version


def test_no_serial_number_and_no_process_is_in_the_snapshot(looked: Looked) -> None:
    for request, fact in looked.facts:
        if request.arg[0] == "nvidia-smi -q -x":
            assert b"<serial></serial>" in fact.data
            assert b"process_name" not in fact.data
            return
    pytest.fail("nvidia-smi was not asked")
