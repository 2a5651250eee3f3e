"""The sh scripts that look at the driver, on real shells over folders made here, and the reading of what they print."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.views import driver_probe as probe
from tests.support.shell import shells

if TYPE_CHECKING:
    from pathlib import Path

KERNEL = os.uname().release
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + struct.pack("<HH", 3, 62)


@pytest.fixture(params=shells("dash", "bash", "busybox"))
def shell(request: pytest.FixtureRequest) -> str:
    """A POSIX shell that is installed here."""
    return str(request.param)


def run(shell: str, body: str, *args: str, path: Path | None = None) -> str:
    """What a script prints under this shell; `path` stands before PATH, for programs that a test puts there."""
    line = [shell, "ash"] if shell == "busybox" else [shell]
    if shell == "busybox" and path:
        # It prefers its own dmesg and modinfo to PATH's; a function comes before both.
        body = "".join(f'{tool.name}() {{ "{tool}" "$@"; }}\n' for tool in path.iterdir()) + body
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    done = subprocess.run(
        [*line, "-c", body, "name", *args], capture_output=True, text=True, check=False, timeout=30, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def program(folder: Path, name: str, body: str) -> None:
    """A program of the node's."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_nvidias_functions_are_told_from_others(shell: str, tmp_path: Path) -> None:
    bus, drivers = tmp_path / "bus/pci", tmp_path / "drivers"
    for where, vendor, device, kind, driver in (
        ("0000:00:06.0", "0x10de", "0x2330", "0x030200", "nvidia"),
        ("0000:00:06.4", "0x10de", "0x2330", "0x030200", "nvidia"),
        ("0000:01:00.0", "0x8086", "0x1533", "0x020000", "igb"),
        ("0000:02:00.0", "0x10de", "0x1b06", "0x030000", ""),
        ("0000:40:00.0", "0x10de", "0x22a3", "0x068000", "nvidia-nvswitch"),
    ):
        folder = bus / "devices" / where
        folder.mkdir(parents=True)
        for name, value in (("vendor", vendor), ("device", device), ("class", kind)):
            (folder / name).write_text(f"{value}\n")
        if driver:
            (drivers / driver).mkdir(parents=True, exist_ok=True)
            (folder / "driver").symlink_to(drivers / driver)
    (bus / "devices/0000:00:06.4/physfn").symlink_to("../0000:00:06.0")
    found = probe.pci_devices(run(shell, probe.PCI.body.replace("/sys/bus/pci", str(bus))))
    assert found is not None
    assert [(device.address, device.driver, device.is_gpu, device.virtual, device.is_nvswitch) for device in found] == [
        ("0000:00:06.0", "nvidia", True, False, False),
        ("0000:00:06.4", "nvidia", True, True, False),
        ("0000:02:00.0", "", True, False, False),
        ("0000:40:00.0", "nvidia-nvswitch", False, False, True),
    ]


def test_without_sysfs_there_is_no_bus(shell: str, tmp_path: Path) -> None:
    assert probe.pci_devices(run(shell, probe.PCI.body.replace("/sys/bus/pci", str(tmp_path)))) is None


def test_libraries_in_the_cache_and_beside_it(shell: str, tmp_path: Path) -> None:
    lib, root, tools = tmp_path / "lib", tmp_path / "root with space", tmp_path / "bin"
    lib.mkdir()
    root.mkdir()
    (lib / "libcuda.so.580.1").write_bytes(ELF)
    (lib / "libcuda.so.1").symlink_to("libcuda.so.580.1")
    (root / "libnvidia-ml.so.1").write_bytes(b"")
    (root / "libcuda.so.1").symlink_to("libcuda.so.550.1")
    program(
        tools,
        "ldconfig",
        f"printf '\\tlibcuda.so.1 (libc6,x86-64) => {lib}/libcuda.so.1\\n\\tlibcudart.so.1 (libc6) => /x\\n"
        f"\\tlibnvidia-ml.so.1 (libc6,x86-64) => {lib}/libnvidia-ml.so.1\\n'",
    )
    # Folders of our own table have no spaces; a folder of the cache's may.
    cache, found = probe.libraries(
        run(shell, probe.LIBRARIES.body, f"folder:{lib} root:{tmp_path}/second", " ".join(probe.NAMES), path=tools)
    )
    assert cache
    assert [(one.kind, one.name, one.version, one.fits("x86_64")) for one in found] == [
        ("cache", "libcuda.so.1", "580.1", True),
        ("cache", "libnvidia-ml.so.1", None, False),
    ]
    assert found[1].fault == "is listed in the loader's cache and is not there"
    shutil.move(root, tmp_path / "second")
    _, found = probe.libraries(
        run(shell, probe.LIBRARIES.body, f"root:{tmp_path}/second", " ".join(probe.NAMES), path=tools)
    )
    assert [(one.name, one.fault) for one in found if one.kind == "root"] == [
        ("libnvidia-ml.so.1", "is an empty file"),
        ("libcuda.so.1", "is a link to libcuda.so.550.1, which is not there"),
    ]


def test_a_cache_entry_with_a_space_in_its_path_is_one_library(shell: str, tmp_path: Path) -> None:
    folder, tools = tmp_path / "a b", tmp_path / "bin"
    folder.mkdir()
    (folder / "libcuda.so.1").write_bytes(ELF)
    program(tools, "ldconfig", f"printf '\\tlibcuda.so.1 (libc6,x86-64) => {folder}/libcuda.so.1\\n'")
    _, found = probe.libraries(run(shell, probe.LIBRARIES.body, "", " ".join(probe.NAMES), path=tools))
    assert [(one.path, one.fault) for one in found] == [(f"{folder}/libcuda.so.1", None)]


def test_the_module_on_disk(shell: str, tmp_path: Path) -> None:
    modules, etc, tools = tmp_path / "modules", tmp_path / "modprobe.d", tmp_path / "bin"
    for kernel, lines in (
        (
            KERNEL,
            (
                "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko: x.ko\nupdates/dkms/nvidia-uvm.ko.zst: "
                "a\nupdates/dkms/nvidia.ko.zst:\n"
            ),
        ),
        ("5.10.0-1-amd64", "updates/dkms/nvidia-current-uvm.ko: x\nupdates/dkms/nvidia-current.ko: y\n"),
        ("6.1.0-9-amd64", "kernel/drivers/i2c/i2c-nvidia-gpu.ko: z\n"),
    ):
        (modules / kernel).mkdir(parents=True)
        (modules / kernel / "modules.dep").write_text(lines)
    etc.mkdir()
    (etc / "a.conf").write_text(
        "# blacklist nvidia\nblacklist nvidiafb\n  blacklist   nvidia  # no\noptions nvidia x=1\n"
    )
    (etc / "b.conf").write_text("install nvidia /bin/false\ninstall nvidia modprobe -i nvidia-current $CMDLINE_OPTS\n")
    program(
        tools,
        "modinfo",
        "printf 'filename:       /x\\nlicense:        Dual MIT/GPL\\nversion:        580.159.04\\nalias: z\\n'",
    )
    line = tmp_path / "cmdline"
    line.write_text("root=/dev/vda1 password=x * rd.driver.blacklist=nouveau modprobe.blacklist=nouveau,nvidia quiet\n")
    body = probe.MODULE.body.replace("/lib/modules", str(modules)).replace("/etc/modprobe.d", str(etc))
    body = body.replace("/proc/cmdline", str(line))
    found = probe.module_on_disk(run(shell, body, path=tools))
    assert found.built == {
        KERNEL: f"{modules}/{KERNEL}/updates/dkms/nvidia.ko.zst",
        "5.10.0-1-amd64": f"{modules}/5.10.0-1-amd64/updates/dkms/nvidia-current.ko",
    }
    assert (found.version, found.flavour, found.signer, found.headers) == ("580.159.04", "open", None, False)
    assert found.cmdline == ("rd.driver.blacklist=nouveau", "modprobe.blacklist=nouveau,nvidia")
    assert found.denied == (
        (f"{etc}/a.conf", 3, "blacklist   nvidia  # no"),
        (f"{etc}/b.conf", 1, "install nvidia /bin/false"),
    )


def test_the_kernels_log_by_dmesg_else_by_the_journal_else_denied(shell: str, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    body = probe.KERNEL_LOG.body
    program(
        tools,
        "dmesg",
        "printf '[    0.000000] Linux\\n[    9.1] NVRM: Xid (PCI:0000:00:06): 79, x\\n[   10.0] usb 1-1\\n'",
    )
    found = probe.kernel_log(run(shell, body, path=tools))
    assert found == probe.KernelLog("dmesg", 0.0, ("[    9.1] NVRM: Xid (PCI:0000:00:06): 79, x",))
    program(tools, "dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1")
    program(tools, "journalctl", "printf '[   99.500000] h kernel: NVRM: loaded\\n'")
    found = probe.kernel_log(run(shell, body, path=tools))
    assert found == probe.KernelLog("journalctl -k -b", 99.5, ("[   99.500000] h kernel: NVRM: loaded",))
    program(tools, "journalctl", "exit 1")
    said = run(shell, body, path=tools)
    assert probe.kernel_log(said) is None
    assert said == "denied\n"


def test_none_of_the_scripts_calls_a_program_of_nvidias() -> None:
    for request in (probe.PCI, probe.MODULE, probe.LIBRARIES, probe.KERNEL_LOG):
        for word in ("nvidia-smi", "nvidia-modprobe", "nvidia-container", "nvidia-ctk", "modprobe nvidia", "insmod"):
            assert word not in request.body
