"""Real containerds, each private to these tests, asked by every program and every shell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd_api import ask
from pytest_gpuready.containerd_api.answers import LiveAnswer, parse_answer
from pytest_gpuready.containerd_api.grpcwire import Message, encode
from pytest_gpuready.containerd_api.transcript import parse_transcript
from tests.containerd_api.conftest import handlers
from tests.containerd_api.support import SHELLS, run

if TYPE_CHECKING:
    from tests.containerd_api.conftest import Binary, Daemon, StartDaemon

pytestmark = [
    pytest.mark.daemon,
    pytest.mark.lab("root"),
]
WAYS = [
    pytest.param("curl", marks=pytest.mark.lab("curl")),
    "python3",
]


@pytest.fixture(scope="module")
def daemon(start_containerd: StartDaemon, containerd_binary: Binary) -> Daemon:
    """With an nvidia handler whose program is missing, one that every release spells otherwise, and CDI on."""
    return start_containerd(containerd_binary, handlers(containerd_binary.cri))


@pytest.fixture(scope="module")
def without_cri(start_containerd: StartDaemon, containerd_binary: Binary) -> Daemon:
    plugin = "io.containerd.grpc.v1.cri"
    return start_containerd(containerd_binary, disabled=f'"{plugin}"', wait_for_cri=False)


def answer(daemon: Daemon, path: Path, shell: str = "dash") -> LiveAnswer:
    return parse_answer(run(ask.ask_command(daemon.socket), path, shell).stdout)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.lab(name)) for name in SHELLS])
def test_all_three_questions_are_answered(daemon: Daemon, programs: Path, way: str, shell: str) -> None:
    told = answer(daemon, programs / way, shell)
    assert (told.state, told.via, told.detail) == ("answered", way, "")
    assert told.version is not None
    assert told.version.version.removeprefix("v") == daemon.binary.version
    assert told.server is not None
    assert told.server.uuid
    if (daemon.binary.generation, daemon.binary.version) == (1, "1.6.20~ds1"):
        # Its Server call tells the uuid alone: the pid came with 1.6.25.
        assert (told.server.pid, told.server.pidns) == (None, None)
    else:
        assert told.server.pid == daemon.pid
        assert told.server.pidns == Path("/proc/self/ns/pid").stat().st_ino
    status = told.cri
    assert status is not None
    assert (status.served, status.refusal, status.default_runtime, status.via) == (True, "", "runc", way)
    assert sorted(status.handlers) == ["misspelt", "nvidia", "runc"]
    nvidia = status.handlers["nvidia"]
    assert (nvidia.binary_name, nvidia.systemd_cgroup) == ("/opt/none/nvidia-container-runtime", True)
    assert (nvidia.runtime_type, nvidia.pod_annotations) == ("io.containerd.runc.v2", ("nvidia.*",))
    ready = status.condition("RuntimeReady")
    assert ready is not None
    assert ready.status


@pytest.mark.lab("curl")
def test_curl_and_python3_tell_the_same(daemon: Daemon, programs: Path) -> None:
    by_curl, by_python = answer(daemon, programs / "curl"), answer(daemon, programs / "python3")
    assert (by_curl.cri, by_curl.server, by_curl.version) == (by_python.cri, by_python.server, by_python.version)


def test_crictl_tells_the_same_status(daemon: Daemon, programs: Path) -> None:
    """The crictl is a stand-in; without a version the release is known by the answer's shape."""
    by_python, by_crictl = answer(daemon, programs / "python3"), answer(daemon, programs / "crictl")
    assert (by_crictl.state, by_crictl.via) == ("answered", "crictl")
    assert by_crictl.cri == by_python.cri
    assert (by_crictl.server, by_crictl.version) == (None, None)


def test_what_differs_by_release(daemon: Daemon, programs: Path) -> None:
    """CDI keys since 1.7; features since 2.0; 2.x reads options in any case."""
    status = answer(daemon, programs / "python3").cri
    assert status is not None
    cdi = (status.cdi_enabled, status.cdi_spec_dirs)
    assert cdi == ((None, None) if daemon.binary.version.startswith("1.6") else (True, ("/etc/cdi", "/opt/cdi")))
    newer = daemon.binary.generation == 2
    assert status.handlers["misspelt"].binary_name == ("/opt/none/other" if newer else None)
    assert status.handlers["nvidia"].features_known is (False if newer else None)


@pytest.mark.parametrize("way", [*WAYS, "crictl"])
@pytest.mark.parametrize("attempt", range(8))
def test_a_disabled_cri_is_said_each_time(without_cri: Daemon, programs: Path, way: str, attempt: int) -> None:
    """Several times: curl loses this answer in about every second call, when the daemon answers before the body."""
    del attempt
    told = answer(without_cri, programs / way)
    assert (told.state, told.via) == ("answered", way)
    assert told.cri is not None
    assert (told.cri.served, told.cri.handlers) == (False, {})
    assert told.cri.refusal == "unknown service runtime.v1.RuntimeService"
    assert (told.version is None) == (way == "crictl")


@pytest.mark.parametrize("way", WAYS)
def test_single_questions(daemon: Daemon, programs: Path, way: str) -> None:
    path = programs / way
    both = answer(daemon, path)
    assert parse_answer(run(ask.status_command(daemon.socket), path).stdout).cri == both.cri
    assert parse_answer(run(ask.server_command(daemon.socket), path).stdout).server == both.server
    assert parse_answer(run(ask.version_command(daemon.socket), path).stdout).version == both.version


@pytest.mark.parametrize("way", WAYS)
def test_any_unary_call_can_be_put(daemon: Daemon, programs: Path, way: str) -> None:
    """CRI Version with a request that is not empty; CRI ContainerStatus of a container that is not there."""
    command = ask.unary(daemon.socket, "/runtime.v1.RuntimeService/Version", encode([(1, "v1")]).hex())
    (call,) = parse_transcript(run(command, programs / way).stdout).calls
    assert Message.decode(call.message or b"").text(2) == "containerd"
    command = ask.unary(daemon.socket, "/runtime.v1.RuntimeService/ContainerStatus", encode([(1, "gone")]).hex())
    (call,) = parse_transcript(run(command, programs / way).stdout).calls
    assert (call.outcome, call.grpc_status, call.message) == ("error", 5, None)
    assert "gone" in call.grpc_message


@pytest.mark.parametrize("way", WAYS)
def test_a_long_request_goes_through(daemon: Daemon, programs: Path, way: str) -> None:
    name = "x" * (ask.MAX_BODY - 10)
    command = ask.unary(daemon.socket, "/runtime.v1.RuntimeService/ContainerStatus", encode([(1, name)]).hex())
    (call,) = parse_transcript(run(command, programs / way).stdout).calls
    assert (call.outcome, call.grpc_status) == ("error", 5)


@pytest.mark.parametrize("way", WAYS)
def test_a_long_answer_goes_through(
    start_containerd: StartDaemon, containerd_binary: Binary, programs: Path, way: str
) -> None:
    """Longer than HTTP/2's first window of 65,535 bytes and than one frame of 16,384."""
    cri = containerd_binary.cri
    handlers = "".join(
        f'[{cri}.containerd.runtimes.h{number}]\nruntime_type = "io.containerd.runc.v2"\n'
        f'[{cri}.containerd.runtimes.h{number}.options]\nBinaryName = "/opt/{"n" * 500}/{number}"\n'
        for number in range(150 if containerd_binary.generation == 1 else 100)
    )
    runc = f'[{cri}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
    daemon = start_containerd(containerd_binary, runc + handlers)
    told = answer(daemon, programs / way)
    call = told.call(ask.STATUS_PATH)
    assert call is not None
    assert len(call.message or b"") > 65_535
    assert told.cri is not None
    assert told.cri.handlers["h99"].binary_name == f"/opt/{'n' * 500}/99"


def test_a_daemon_that_ended_leaves_a_stale_or_no_socket(
    start_containerd: StartDaemon, containerd_binary: Binary, programs: Path
) -> None:
    daemon = start_containerd(containerd_binary, wait_for_cri=False)
    os.kill(daemon.pid, 9)
    # Reaped by the fixture; the socket refuses connections once the process is gone.
    os.waitid(os.P_PID, daemon.pid, os.WEXITED | os.WNOWAIT)
    assert answer(daemon, programs / "python3").state == "stale"
