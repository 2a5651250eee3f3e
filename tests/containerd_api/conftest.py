"""A private containerd for tests: own root, state, socket and configuration, ended with the session.

``GPUREADY_CONTAINERD_BINARIES`` names further folders, separated by colons, that hold a ``containerd`` (and its shims).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from pytest_gpuready.containerd_api.answers import parse_answer
from pytest_gpuready.containerd_api.ask import STATUS_PATH, status_command

CRI_1 = 'plugins."io.containerd.grpc.v1.cri"'
CRI_2 = 'plugins."io.containerd.cri.v1.runtime"'


@dataclass(frozen=True)
class Binary:
    """A containerd program: ``version`` as ``containerd --version`` tells it, ``generation`` 1 or 2."""

    path: Path
    version: str
    generation: int

    @property
    def cri(self) -> str:
        """The table of the CRI plugin's runtime settings in this generation's newest file version."""
        return CRI_1 if self.generation == 1 else CRI_2


@dataclass(frozen=True)
class Daemon:
    """A running private containerd."""

    binary: Binary
    socket: str
    pid: int
    log: Path


StartDaemon: TypeAlias = Callable[..., Daemon]


def _binaries() -> list[Binary]:
    folders = [Path(folder) for folder in os.environ.get("GPUREADY_CONTAINERD_BINARIES", "").split(":") if folder]
    found = []
    for folder in [Path("/usr/bin"), *folders]:
        path = folder / "containerd"
        if path.is_file():
            told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            version = re.search(r" v?((\d+)\.\d+\S*)", told)
            if version:
                found.append(Binary(path, version[1], int(version[2])))
    return found


BINARIES = _binaries()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def handlers(cri: str) -> str:
    """Return a configuration: a handler without its program, one that every release spells otherwise, and CDI."""
    handler = f'[{cri}.containerd.runtimes.%s]\nruntime_type = "io.containerd.runc.v2"\n'
    return f"""\
[{cri}]
enable_cdi = true
cdi_spec_dirs = ["/etc/cdi", "/opt/cdi"]
[{cri}.containerd]
default_runtime_name = "runc"
{handler % "runc"}
{handler % "nvidia"}
pod_annotations = ["nvidia.*"]
[{cri}.containerd.runtimes.nvidia.options]
BinaryName = "/opt/none/nvidia-container-runtime"
SystemdCgroup = true
{handler % "misspelt"}
[{cri}.containerd.runtimes.misspelt.options]
Binaryname = "/opt/none/other"
"""


@contextlib.contextmanager
def running(binary: Binary, config: str = "", *, disabled: str = "", wait_for_cri: bool = True) -> Iterator[Daemon]:
    """Run a private containerd for the time of a block."""
    # Not pytest's own folder: a socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="gpuready-"))
    socket, log = folder / "containerd.sock", folder / "log"
    (folder / "config.toml").write_text(
        f"""\
version = {2 if binary.generation == 1 else 3}
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [{disabled}]
[grpc]
address = "{socket}"
[ttrpc]
address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.nri.v1.nri"]
disable = true
{config}"""
    )
    # 2.x finds a handler's shim beside itself or on PATH, and introspects it when it starts.
    environment = {**os.environ, "PATH": f"{binary.path.parent}:{os.environ['PATH']}"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [binary.path, "--config", folder / "config.toml"], stdout=stream, stderr=stream, env=environment
        )
    try:
        for _ in range(200):
            if process.poll() is not None:
                raise RuntimeError(f"containerd {binary.version} ended: {log.read_text()[-3000:]}")
            if "containerd successfully booted" in log.read_text() and (not wait_for_cri or _cri_is_up(str(socket))):
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"containerd {binary.version} did not come up: {log.read_text()[-3000:]}")
        yield Daemon(binary, str(socket), process.pid, log)
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _cri_is_up(socket: str) -> bool:
    """CRI answers "server is not initialized yet" for a moment after the socket is there."""
    answered = subprocess.run(status_command(socket), capture_output=True, check=False)
    call = parse_answer(answered.stdout).call(STATUS_PATH)
    return call is not None and call.outcome == "answered"


@pytest.fixture(scope="session")
def start_containerd() -> Iterator[StartDaemon]:
    """``start_containerd(binary, config="", disabled="", wait_for_cri=True) -> Daemon``; skips when not root."""
    if os.geteuid() != 0:
        pytest.skip("starting a containerd needs root")
    with contextlib.ExitStack() as stack:

        def start(binary: Binary, config: str = "", *, disabled: str = "", wait_for_cri: bool = True) -> Daemon:
            return stack.enter_context(running(binary, config, disabled=disabled, wait_for_cri=wait_for_cri))

        yield start


@pytest.fixture(
    scope="session",
    params=[pytest.param(binary, id=binary.version) for binary in BINARIES]
    or [pytest.param(None, marks=pytest.mark.skip(reason="no containerd is installed"))],
)
def containerd_binary(request: pytest.FixtureRequest) -> Binary:
    """Each containerd that is there."""
    binary = request.param
    assert isinstance(binary, Binary)
    return binary


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """Folders for PATH, each with one program: ``curl``, ``python3``, ``crictl`` (a stand-in), ``nothing``.

    The stand-in asks the daemon by python3 and prints as ``crictl info`` of cri-tools 1.36 does. It shows that crictl
    is called and how its output is read; not how crictl itself behaves (its flags, its own deadline).
    """
    folder = Path(tempfile.mkdtemp(prefix="gpuready-"))
    folder.chmod(0o755)
    for name in ("curl", "python3", "crictl", "nothing"):
        (folder / name).mkdir()
    if curl := shutil.which("curl"):
        (folder / "curl/curl").symlink_to(curl)
    python = folder / "python3/python3"
    python.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} "$@"\n')
    crictl = folder / "crictl/crictl"
    crictl.write_text(
        f"""#!/bin/sh
PATH={folder}/python3 PYTHONPATH={Path(__file__).parents[2]} \\
exec {sys.executable} -m tests.containerd_api.crictl_stand_in "$@"
"""
    )
    python.chmod(0o755)
    crictl.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
