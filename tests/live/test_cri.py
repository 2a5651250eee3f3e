"""CRI's messages: written by field number, completed on the node, read back."""

from __future__ import annotations

import re
import subprocess

import pytest

from pytest_gpuready.containerd_api.grpcwire import Message, encode, frame, take_unary
from pytest_gpuready.live import cri
from pytest_gpuready.live.cri import Pod, container_config, octal, read_answer, read_exec, run_pod, sandbox_config
from tests.live.answers import curl

POD = Pod(
    "cri-handler",
    "nvidia",
    "gpuready.invalid/builtin:abc",
    (("NVIDIA_VISIBLE_DEVICES", "all"),),
    (("/dev/null", "/var/run/nvidia-container-devices/all"),),
    ("nvidia.com/gpu=all",),
)


def test_a_sandbox_is_on_the_hosts_network_labelled_and_in_the_runs_group() -> None:
    config = Message.decode(sandbox_config(POD, "gpuready-abc", "abc"))
    assert config.messages(1)[0].text(1) == "gpuready-abc-cri-handler"
    assert config.string_map(6) == {"gpuready.run": "abc"}
    linux = config.messages(8)[0]
    assert linux.text(1) == "/gpuready-abc"
    assert linux.messages(2)[0].messages(1)[0].integer(1) == 2
    assert config.text(3) == ""  # no folder for logs


def test_with_systemds_groups_it_is_in_a_slice_that_is_there() -> None:
    by_systemd = Pod("cri-default", "", "x", slice=True)
    assert Message.decode(sandbox_config(by_systemd, "r", "k")).messages(8)[0].text(1) == "system.slice"


@pytest.mark.parametrize("unified", [True, False])
def test_the_container_that_asks_has_it_all_and_limits(*, unified: bool) -> None:
    config = Message.decode(container_config(POD, "c", "abc", asks=True, unified=unified))
    assert config.messages(6)[0].text(1) == "NVIDIA_VISIBLE_DEVICES"
    assert config.messages(7)[0].text(2) == "/dev/null"
    assert config.messages(17)[0].text(1) == "nvidia.com/gpu=all"
    assert config.string_map(10) == {"cdi.k8s.io/gpuready": "nvidia.com/gpu=all"}
    limits = config.messages(15)[0].messages(1)[0]
    assert limits.integer(4) == 1 << 30
    assert limits.string_map(9) == ({"pids.max": "256"} if unified else {})


def test_the_other_container_asks_for_nothing() -> None:
    config = Message.decode(container_config(POD, "c", "abc", asks=False, unified=False))
    assert not {6, 7, 10, 17} & set(config.fields)
    assert config.string_map(9) == {"gpuready.run": "abc"}


def test_a_message_is_completed_by_the_shell_with_the_ids_and_the_attempt() -> None:
    """Real sh and printf make the bytes; real ids are 64 hex digits."""
    message = encode([(1, cri._POD), (2, cri._CONTAINER), (3, encode([(4, cri._ATTEMPT)]))])
    words = cri._attempts(message)
    script = f"""
{cri.SHELL}
p=$(oct {"0f" * 32}) q=$(oct {"a9" * 32}) k=2
printf {words}
"""
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    made = Message.decode(take_unary(done.stdout))
    assert (made.text(1), made.text(2), made.messages(3)[0].integer(4)) == ("0f" * 32, "a9" * 32, 2)


def test_octal_is_one_word_of_the_shell() -> None:
    message = bytes(range(256))
    done = subprocess.run(["sh", "-c", f"printf {octal(message)}"], capture_output=True, check=True)
    assert done.stdout == frame(message)


def test_every_call_of_a_pod_is_bounded_and_a_message_fits() -> None:
    text = run_pod(POD, "gpuready-abc", "abc", 30)
    assert len(text) < 60_000
    calls = re.findall(r"^[QW] \S+ (/\S+) .* (\d+)$", text, re.MULTILINE)
    assert {path.rpartition("/")[2] for path, _ in calls} == {
        "RunPodSandbox",
        "CreateContainer",
        "StartContainer",
        "ExecSync",
    }
    assert {seconds for _, seconds in calls} == {"30", "32"}


def test_answers_are_told_apart() -> None:
    assert read_answer(curl("RunPodSandbox", b"x")).state == "ok"
    refused = read_answer(curl("RunPodSandbox", None, 2, "no runtime for %22nvidia%22 is configured"))
    assert (refused.state, refused.code, refused.text) == ("refused", 2, 'no runtime for "nvidia" is configured')
    assert read_answer(b"via=none\nsocket=ok\n").state == "lost"
    assert read_answer(b"").state == "lost"
    late = b"via=curl\nsocket=ok\nrpc=/runtime.v1.RuntimeService/ExecSync\n\nrc=28\n"
    assert "deadline" in read_answer(late).text


def test_exec_has_both_outputs_and_a_signed_code() -> None:
    done = read_exec(encode([(1, b"out"), (2, b"err"), (3, -1)]))
    assert done is not None
    assert (done.output, done.code) == (b"outerr", -1)
    assert read_exec(b"\xff") is None
