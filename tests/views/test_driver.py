"""The driver's view: a real H100's files, garbage in every file, and what is never taken for "no"."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Denied, NotApplicable, Settings, Undetermined
from pytest_gpuready.node.facts import Fact, Facts, Request
from pytest_gpuready.views import Views
from pytest_gpuready.views.driver import Driver
from pytest_gpuready.views.nvml import Nvml
from tests.support import driver as d
from tests.support.reference import DATA, reference
from tests.support.simnode import Entry, SimNode


def view(node: SimNode) -> Driver:
    """The driver's view of a node."""
    return Views(node.facts()).get(Driver)


def recorded(folder: str) -> SimNode:
    """A node made of what was written down of a real one: devices-and-proc.txt and nvidia-smi's XML."""
    text = (DATA / folder / "devices-and-proc.txt").read_text("utf-8")
    node = SimNode(label="ssh://n1")
    for match in re.finditer(r"^c\S+ 1 root root (\d+),\s+(\d+) .* (/dev/nvidia\S*)$", text, re.MULTILINE):
        node.device(match[3], int(match[1]), int(match[2]))
    majors = re.findall(r"^(\d+) (nvidia\S*)$", text, re.MULTILINE)
    node.put(
        "/proc/devices",
        "Character devices:\n" + "".join(f"{major} {name}\n" for major, name in majors) + "\nBlock devices:\n",
    )
    node.put("/proc/driver/nvidia/version", f"{re.search(r'^NVRM version:.*$', text, re.MULTILINE)[0]}\n")  # type: ignore[index]
    version = re.search(r"^\d+\.\d+\.\d+$", text, re.MULTILINE)
    assert version
    node.put("/sys/module/nvidia/version", f"{version[0]}\n").folder("/sys/module/nvidia_uvm")
    for block in re.findall(r"^Model:.*?^GPU Excluded:.*?$", text, re.MULTILINE | re.DOTALL):
        where = re.search(r"Bus Location:\s+(\S+)", block)
        assert where
        node.put(f"/proc/driver/nvidia/gpus/{where[1]}/information", f"{block}\n")
    functions = re.findall(r"([0-9a-f:.]{12}) 0x10de 0x([0-9a-f]{4}) 0x([0-9a-f]{6})", text)
    d.pci(node, *[(where, int(device, 16), int(kind, 16), "nvidia") for where, device, kind in functions])
    d.on_disk(node, kernels=[])
    d.libraries(node, *d.both(version=version[0]))
    d.log(node)
    node.program("/usr/bin/nvidia-smi")
    xml = next((DATA / folder).glob("*smi*.xml"))
    return d.smi(node, xml.read_text("utf-8"))


@reference
@pytest.mark.parametrize(("folder", "gpus"), [("h100", 1), ("h100x4", 4)])
def test_a_real_node_is_read_as_it_is(folder: str, gpus: int) -> None:
    driver = view(recorded(folder))
    assert driver.module_loaded
    assert driver.module_version == "580.159.04"
    assert driver.flavour == "open"
    assert [gpu.minor for gpu in driver.proc_gpus] == list(range(gpus))
    assert [gpu.address for gpu in driver.proc_gpus] == [device.address for device in driver.gpus_on_bus]
    assert driver.majors["nvidia-uvm"] == 238
    assert driver.frontend_major == 195
    assert driver.node_faults() == []
    assert driver.nvml_blocker is None
    assert [gpu.uuid for gpu in driver.proc_gpus] == [gpu.uuid for gpu in driver.views.get(Nvml).devices]


@reference
@pytest.mark.parametrize("folder", ["h100", "h100x4"])
def test_a_real_node_passes_every_check_of_the_driver(folder: str) -> None:
    report = recorded(folder).judge()
    seen = {
        name: (finding.status, finding.outcome.found)
        for name, finding in report.findings.items()
        if name.startswith("driver.")
    }
    assert {status for status, _ in seen.values()} <= {"pass", "not-applicable"}, seen
    assert seen["driver.fabric-manager"][0] == ("pass" if folder == "h100x4" else "not-applicable")


@pytest.mark.parametrize(
    ("line", "flavour", "version"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build", "open", "580.159.04"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23", "proprietary", "570.86.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  595.10  Release", "open", "595.10"),
    ],
)
def test_the_modules_own_line(line: str, flavour: str, version: str) -> None:
    driver = view(
        d.h100(SimNode()).remove("/sys/module/nvidia/version").put("/proc/driver/nvidia/version", f"{line}\nGCC\n")
    )
    assert (driver.flavour, driver.module_version) == (flavour, version)


def test_a_block_devices_major_is_no_character_devices() -> None:
    driver = view(
        d.h100(SimNode()).put("/proc/devices", "Character devices:\n195 nvidia\n\nBlock devices:\n238 nvidia-uvm\n")
    )
    assert driver.majors == {"nvidia": 195}


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/proc/driver/nvidia/version", lambda driver: driver.flavour),
        ("/proc/devices", lambda driver: driver.majors),
        ("/proc/driver/nvidia/params", lambda driver: driver.node_faults()),
    ],
)
def test_what_may_not_be_read_is_never_taken_for_no(path: str, read: object) -> None:
    node = d.h100(SimNode())
    node.tree[path] = Entry(b"", denied=True)
    with pytest.raises(Denied):
        read(view(node))  # type: ignore[operator]


def test_a_module_that_could_not_be_looked_for_is_not_absent() -> None:
    facts = Facts("n")
    with pytest.raises(Undetermined):
        _ = Views(facts).get(Driver).module_loaded
    facts.add(Request("stat", ("/sys/module/nvidia",)), Fact("denied"))
    with pytest.raises(Denied):
        _ = Views(facts).get(Driver).module_loaded


_QUESTIONS = [
    "/proc/driver/nvidia/version",
    "/proc/driver/nvidia/params",
    "/proc/driver/nvidia/gpus/0000:00:06.0/information",
    "/proc/devices",
    "/sys/module/nvidia/version",
    "/sys/devices/soc0/family",
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
]
_SCRIPTS = [
    "PCI devices of NVIDIA",
    "nvidia module on disk",
    "ldconfig -p and driver roots",
    "kernel log",
    "nvidia-smi -q -x",
    "NVML by pynvml",
]
_WORDS = st.sampled_from(
    [
        *(b"bus\n", b"pci ", b"0x10de", b"lib cache /", b"real ", b"head 7f 45 4c 46 ", b"dep /", b"deny /etc:1:"),
        *(
            b"info version ",
            b"source ",
            b"begins [",
            b"line ",
            b"<nvidia_smi_log>",
            b"<gpu>",
            b"</gpu></nvidia_smi_log>",
        ),
        *(b"Device Minor: ", b"195 nvidia", b'{"gpus": [{', b"\xff\xfe", b"\0", b"\n", b" ", b":", b"9" * 30),
    ]
)
_GARBAGE = st.one_of(st.binary(max_size=200), st.lists(_WORDS, max_size=20).map(b"".join))


_HEALTHY = d.h100(SimNode()).facts()


def spoilt(garbage: dict[str, bytes], rc: int) -> Facts:
    """A healthy node's facts with some answers replaced."""
    facts = Facts("local")
    for request, fact in _HEALTHY:
        data = garbage.get(request.arg[0])
        facts.add(request, fact if data is None else Fact("ok", data, None if fact.rc is None else rc))
    return facts


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*_QUESTIONS, *_SCRIPTS]), _GARBAGE, min_size=1), st.integers(0, 255))
def test_garbage_never_raises_but_in_the_three_ways(garbage: dict[str, bytes], rc: int) -> None:
    views = Views(spoilt(garbage, rc))
    for kind in (Driver, Nvml):
        for name in (
            name for name in dir(kind) if not name.startswith("_") and name not in ("requests", "views", "facts")
        ):
            with contextlib.suppress(Undetermined, Denied, NotApplicable):
                value = getattr(views.get(kind), name)
                if name in ("node_faults", "differences"):
                    value()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*_QUESTIONS, *_SCRIPTS]), _GARBAGE, min_size=1), st.integers(0, 255))
def test_garbage_is_never_an_error_of_ours(garbage: dict[str, bytes], rc: int) -> None:
    mine = {name: check for name, check in catalogue().items() if check.family in ("node", "driver")}
    for finding in judge(spoilt(garbage, rc), Settings(), checks=mine).findings.values():
        assert "itself failed" not in finding.outcome.found, finding


def test_every_check_of_the_family_tells_what_why_fix_and_references() -> None:
    mine = [check for check in catalogue().values() if check.family == "driver"]
    assert len(mine) == 15
    for check in mine:
        assert set(check.page) == {"What", "Why", "Fix", "References"}
        assert all(check.page.values()), check.id


def test_the_version_of_a_module_that_is_not_loaded_is_not_known() -> None:
    assert Views(d.h100(SimNode()).facts()).get(Driver).version == d.VERSION
    with pytest.raises(Undetermined, match="is not loaded"):
        assert Views(SimNode().facts()).get(Driver).version
