"""nvidia-smi's XML, real and made up: what the truth says is what the reader says."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.views.nvml import smi_request
from pytest_gpuready.views.nvsmi import Garbled, Gpu, bus_id, parse
from tests.support import driver as d
from tests.support.reference import DATA, reference
from tests.support.shell import shells

if TYPE_CHECKING:
    from pathlib import Path

CASES = sorted(path.parent for path in DATA.glob("nvsmi/*/stdout.xml"))

#: The truth's name of a value → how the reader has it.
READ: dict[str, Any] = {
    "bus_id": lambda gpu: gpu.bus_id,
    "name": lambda gpu: gpu.name,
    "uuid": lambda gpu: gpu.uuid,
    "mig_current": lambda gpu: gpu.mig_mode,
    "ecc_current": lambda gpu: {True: "Enabled", False: "Disabled", None: None}[gpu.ecc],
    "memory_total": lambda gpu: None if gpu.memory_total is None else f"{gpu.memory_total} MiB",
    "pstate": lambda gpu: gpu.performance_state,
    "persistence_mode": lambda gpu: {True: "Enabled", False: "Disabled", None: None}[gpu.persistence],
    "recovery_action": lambda gpu: gpu.recovery_action,
    "fabric_state": lambda gpu: gpu.fabric_state,
    "fabric_status": lambda gpu: gpu.fabric_status,
    "fabric_health_summary": lambda gpu: gpu.fabric_health,
    "ecc_aggregate_dram_uncorrectable": lambda gpu: (
        None if gpu.ecc_uncorrectable is None else str(gpu.ecc_uncorrectable)
    ),
}


def truth(name: str, value: str | None) -> str | None:
    """The truth's value as the reader writes it: nothing for N/A and for a lost GPU, sysfs's form for addresses."""
    if value in (None, "N/A", "GPU is lost"):
        return None
    return bus_id(value) if name == "bus_id" else value


@reference
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_what_the_truth_says_is_what_is_read(case: Path) -> None:
    says = json.loads((case / "truth.json").read_text("utf-8"))["says"]
    log = parse((case / "stdout.xml").read_text("utf-8"))
    assert log.driver_version == says["driver_version"]
    assert log.cuda_version == says["cuda_version"]
    assert log.attached == says["attached_gpus"]
    assert len(log.gpus) == says["gpu_elements"]
    for gpu, said in zip(log.gpus, says["gpus"], strict=True):
        for name, value in said.items():
            if name in READ:
                assert READ[name](gpu) == truth(name, value), (gpu.index, name)
        assert gpu.lost == (said["gpu_temp"] == "GPU is lost")


@reference
def test_every_value_of_the_truth_is_looked_at() -> None:
    """A truth that says something the reader does not have would make the test above vacuous there."""
    names = {
        name
        for case in CASES
        for gpu in json.loads((case / "truth.json").read_text("utf-8"))["says"]["gpus"]
        for name in gpu
    }
    assert names - set(READ) <= {"gpu_temp"}
    assert len(CASES) >= 11


@reference
def test_a_real_h100() -> None:
    log = parse((DATA / "h100" / "nvidia-smi-q-x.xml").read_text("utf-8"))
    assert log.gpus == (
        Gpu(
            index=0,
            name="NVIDIA H100 80GB HBM3",
            uuid="GPU-474d0f12-689f-fef5-c11a-252632d51e26",
            bus_id="0000:00:06.0",
            memory_total=81559,
            minor=0,
            architecture="Hopper",
            performance_state="P0",
            persistence=True,
            virtualization="Pass-Through",
            mig_mode="Disabled",
            mig_pending="Disabled",
            ecc=True,
            ecc_uncorrectable=0,
            remap_pending=False,
            remap_failed=False,
            repair_pending=False,
            memory_unrepairable=False,
            recovery_action="None",
        ),
    )


@reference
def test_four_real_h100s_say_in_xml_what_they_say_in_csv() -> None:
    log = parse((DATA / "h100x4" / "smi.xml").read_text("utf-8"))
    rows = list(csv.DictReader((DATA / "h100x4" / "query.csv").read_text("utf-8").splitlines(), skipinitialspace=True))
    assert len(log.gpus) == len(rows) == 4
    for gpu, row in zip(log.gpus, rows, strict=True):
        assert (str(gpu.index), gpu.uuid, gpu.name) == (row["index"], row["uuid"], row["name"])
        assert (gpu.bus_id, log.driver_version) == (bus_id(row["pci.bus_id"]), row["driver_version"])
        assert f"{gpu.memory_total} MiB" == row["memory.total [MiB]"]
        assert (gpu.fabric_state, gpu.fabric_status, gpu.mig_mode) == (
            row["fabric.state"],
            row["fabric.status"],
            row["mig.mode.current"],
        )


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("00000000:00:06.0", "0000:00:06.0"),
        ("00000000:1E:00.0", "0000:1e:00.0"),
        ("0000:0A:00.0", "0000:0a:00.0"),
        ("00010000:8F:00.0", "10000:8f:00.0"),
        ("00000008:06:00.0", "0008:06:00.0"),
        ("1e:00.0", "0000:1e:00.0"),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_are_written_as_sysfs_writes_them(said: str | None, read: str | None) -> None:
    assert bus_id(said) == read


def test_mig_devices_get_their_names_from_the_listing() -> None:
    listing = (
        "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 3g.20gb     Device  0: (UUID: MIG-a)\n"
        "  MIG 1g.5gb      Device  1: (UUID: MIG-b)\n"
        "GPU 1: NVIDIA A100 (UUID: GPU-2)\n  MIG 7g.40gb     Device  0: (UUID: MIG-c)\n"
    )
    mig = d.mig_xml(0, 1) + d.mig_xml(1, 9)
    log = parse(
        d.smi_xml(
            d.gpu_xml(0, mig="Enabled", mig_devices=mig), d.gpu_xml(1, mig="Enabled", mig_devices=d.mig_xml(0, 0))
        )
        + listing
    )
    assert [(m.index, m.gpu_instance, m.profile, m.uuid) for m in log.gpus[0].mig_devices] == [
        (0, 1, "3g.20gb", "MIG-a"),
        (1, 9, "1g.5gb", "MIG-b"),
    ]
    assert log.gpus[1].mig_devices[0].uuid == "MIG-c"
    assert log.remarks == ()


def test_serial_numbers_are_not_kept() -> None:
    assert not [name for name in Gpu.__dataclass_fields__ if "serial" in name]


@given(st.one_of(st.text(), st.text().map(lambda text: f"<nvidia_smi_log>{text}</nvidia_smi_log>")))
def test_nothing_that_is_printed_raises_anything_else(text: str) -> None:
    with contextlib.suppress(Garbled):
        parse(text)


def test_deep_nesting_is_garbled_or_empty_and_never_a_crash() -> None:
    text = f"<nvidia_smi_log>{'<a>' * 100_000}{'</a>' * 100_000}</nvidia_smi_log>"
    assert parse(text).gpus == ()


# ---------------------------------------------------------------------- the script on real shells


def script(shell: str, program: Path, folder: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script that asks nvidia-smi, under a real shell."""
    body = smi_request(str(program), folder).body
    line = [shell, "ash"] if shell == "busybox" else [shell]
    return subprocess.run(
        [*line, "-c", body, "name", str(program), folder], capture_output=True, text=True, check=False, timeout=30
    )


def stand_in(tmp_path: Path, body: str) -> Path:
    """A program in nvidia-smi's place. It stands for its output and exit status; it cannot show what a driver does."""
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(params=shells("dash", "bash", "busybox"))
def shell(request: pytest.FixtureRequest) -> str:
    """A POSIX shell that is installed here."""
    return str(request.param)


@reference
@pytest.mark.parametrize(
    "case", ["h100/nvidia-smi-q-x.xml", "h100x4/smi.xml", "nvsmi/08-xml-gb200-gpu-lost/stdout.xml"]
)
def test_clocks_processes_and_serial_numbers_stay_on_the_node(shell: str, case: str, tmp_path: Path) -> None:
    whole = (DATA / case).read_text("utf-8")
    done = script(shell, stand_in(tmp_path, f"cat {DATA / case}"))
    assert done.returncode == 0
    assert parse(done.stdout) == parse(whole)
    assert "supported_graphics_clock" not in done.stdout
    assert "<process_info>" not in done.stdout
    assert "<serial></serial>" in done.stdout or "<serial>" not in whole
    assert len(done.stdout) < len(whole)


def test_the_programs_exit_status_and_complaint_come_through(shell: str, tmp_path: Path) -> None:
    done = script(shell, stand_in(tmp_path, "echo 'NVIDIA-SMI has failed' >&2; exit 9"))
    assert (done.returncode, done.stdout.strip()) == (9, "NVIDIA-SMI has failed")


def test_the_library_folder_is_given_only_where_it_is_asked_for(shell: str, tmp_path: Path) -> None:
    program = stand_in(tmp_path, 'echo "[$LD_LIBRARY_PATH]"')
    assert script(shell, program, "/run/nvidia/driver/usr/lib64").stdout.startswith("[/run/nvidia/driver/usr/lib64")
    assert script(shell, program).stdout.startswith(f"[{os.environ.get('LD_LIBRARY_PATH', '')}]")


def test_where_there_are_mig_devices_their_names_are_asked_too(shell: str, tmp_path: Path) -> None:
    program = stand_in(tmp_path, 'case $1 in -q) echo "<mig_device>" ;; -L) echo "GPU 0: x" ;; esac')
    assert script(shell, program).stdout.splitlines() == ["<mig_device>", "GPU 0: x"]
