"""What a container says of itself, read back; and the probe itself, run by real shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.live.probe import PROBE, before, parse
from tests.live.answers import NODES, UUIDS, nothing, probed
from tests.support.shell import shells

SHELLS = {
    name: [shutil.which(name) or name, *words]
    for name, words in (("dash", []), ("bash", ["--posix"]), ("busybox", ["sh"]))
}


def test_gpus_and_device_nodes_are_read() -> None:
    seen = parse(probed())
    assert seen is not None
    assert (seen.whole, seen.smi, seen.uuids, seen.opens) == (True, 0, UUIDS, NODES)
    assert seen.gpu_nodes == ("/dev/nvidia0", "/dev/nvidia1")
    assert seen.sees_gpus


def test_without_nvidia_smi_and_nodes_no_gpu_is_seen() -> None:
    seen = parse(nothing())
    assert seen is not None
    assert (seen.smi, seen.uuids, seen.gpu_nodes, seen.sees_gpus) == (127, (), (), False)


@pytest.mark.parametrize("refused", ["Operation not permitted", "Permission denied"])
def test_a_node_that_may_not_be_opened_is_no_gpu(refused: str) -> None:
    seen = parse(probed((), smi=127, opens={"/dev/nvidia0": refused, "/dev/nvidia-uvm": refused}))
    assert seen is not None
    assert not seen.sees_gpus
    assert seen.refused("/dev/nvidia-uvm")


def test_a_simulated_node_that_no_driver_answers_is_there() -> None:
    """ENXIO is the device's own answer, inside as outside."""
    seen = parse(probed(opens={"/dev/nvidia0": "No such device or address"}))
    assert seen is not None
    assert seen.gpu_nodes == ("/dev/nvidia0",)


def test_what_was_printed_around_the_probe_is_kept_apart() -> None:
    said = b"time=x level=warning\n" + probed() + b"ctr: it ended badly\n"
    assert before(said) == "time=x level=warning\nctr: it ended badly"
    assert parse(b"ctr: no such image\n") is None


def test_mig_devices_are_listed_beside_their_gpu() -> None:
    mig = "MIG-ae3a1f05-1f5a-5a44-8bd4-9e1d2c3b4a5f"
    seen = parse(probed(said=f"GPU 0: NVIDIA H100 (UUID: {UUIDS[0]})\n  MIG 1g.10gb     Device  0: (UUID: {mig})"))
    assert seen is not None
    assert seen.uuids == (UUIDS[0], mig)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    parse(data)
    parse(b"gpuready-probe\n" + data)
    assert "gpuready-probe\n" not in before(data)


@pytest.mark.parametrize("shell", shells(*SHELLS))
def test_the_probe_runs_in_every_shell_and_makes_nothing(shell: str) -> None:
    done = subprocess.run([*SHELLS[shell], "-c", PROBE], capture_output=True, check=False, env={"PATH": "/nowhere"})
    seen = parse(done.stdout)
    assert done.returncode == 0
    assert seen is not None
    assert seen.whole
    assert seen.smi == 127


@pytest.mark.parametrize("shell", shells(*SHELLS))
def test_the_systems_words_are_taken_for_a_node_that_refuses(shell: str) -> None:
    """On a device that cannot be opened for writing, and one that is not there."""
    body = PROBE.replace(
        "/dev/nvidiactl /dev/nvidia-uvm /dev/nvidia[0-9]* /dev/dxg", "/dev/null /proc/version /dev/none"
    )
    done = subprocess.run([*SHELLS[shell], "-c", body], capture_output=True, check=False)
    text = done.stdout.decode()
    assert "gpuready-open /dev/null opened\n" in text
    assert "gpuready-open /dev/none absent\n" in text
    refusal = next(line for line in text.splitlines() if "/proc/version" in line)
    assert refusal.split(" ", 2)[2] in ("Permission denied", "Operation not permitted", "Input/output error", "opened")
