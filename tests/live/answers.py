"""Live answers made by hand: what a node's script would have printed.

They stand for a real run's output. They cannot show that the script prints so: tests/lab/test_live.py does, on real
nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.containerd_api.grpcwire import encode, frame
from pytest_gpuready.judge import judge
from pytest_gpuready.live.script import REQUEST
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import Fact
from pytest_gpuready.routes import ROUTES
from tests.support import nodes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuready.model import Evidence, Outcome, Remedy
    from pytest_gpuready.node.facts import State
    from pytest_gpuready.report.model import NodeReport
    from tests.support.simnode import SimNode

NONCE = "0123456789abcdef01234567"
ID = b"ab" * 32
UUIDS = ("GPU-6f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c40", "GPU-6f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c41")
NODES = {"/dev/nvidiactl": "opened", "/dev/nvidia-uvm": "opened", "/dev/nvidia0": "opened", "/dev/nvidia1": "opened"}


def probed(uuids: Iterable[str] = UUIDS, *, smi: int = 0, said: str = "", opens: dict[str, str] | None = None) -> bytes:
    """What the probe prints where these GPUs are seen."""
    lines = ["gpuready-probe"]
    lines += [said] if said else [f"GPU {n}: NVIDIA H100 (UUID: {uuid})" for n, uuid in enumerate(uuids)]
    lines.append(f"gpuready-smi {smi}")
    lines += [f"gpuready-open {path} {words}" for path, words in (NODES if opens is None else opens).items()]
    return ("\n".join([*lines, "gpuready-end"]) + "\n").encode()


def nothing() -> bytes:
    """What it prints in a container that asks for no GPU."""
    return probed((), smi=127, said="sh: 1: nvidia-smi: not found", opens={"/dev/nvidia[0-9]*": "absent"})


def section(name: str, data: bytes, rc: int | None = 0, seconds: float = 0.5) -> bytes:
    """One section; with `rc` None it was cut off."""
    begun = f"\n{NONCE} b {name}\n".encode() + data
    return begun if rc is None else begun + f"\n{NONCE} e {name} {rc} 100.25 {100.25 + seconds:.2f}\n".encode()


def whole(*sections: bytes) -> bytes:
    """An answer of these sections."""
    return f"gpuready-live 1 {NONCE}\n".encode() + b"".join(sections)


def curl(method: str, message: bytes | None, status: int = 0, text: str = "") -> bytes:
    """What asking by curl prints: an answer, or a refusal."""
    head = b"via=curl\nsocket=ok\nrpc=/runtime.v1.RuntimeService/" + method.encode() + b"\n"
    head += b"HTTP/2 200 \r\ncontent-type: application/grpc\r\n"
    tail = f"grpc-status: {status}\r\ngrpc-message: {text}\r\n\r\n\nrc=0\n".encode()
    return head + (tail if message is None else b"\r\n" + frame(message) + tail)


def pod(route: str, output: bytes, without: bytes | None = None, attempt: int = 1) -> bytes:
    """The calls of a pod whose containers printed this."""
    done = section(f"{route}/RunPodSandbox/{attempt}", curl("RunPodSandbox", encode([(1, ID)])))
    for suffix, printed in (("", output), (".none", without)):
        if printed is None:
            continue
        name = f"{route}{suffix}"
        done += section(f"{name}/CreateContainer/{attempt}", curl("CreateContainer", encode([(1, ID)])))
        done += section(f"{name}/StartContainer/{attempt}", curl("StartContainer", b""))
        executed = encode([(1, printed)])
        done += section(f"{name}/ExecSync/{attempt}", curl("ExecSync", executed))
    return done


def healthy() -> bytes:
    """A run on a node with two GPUs, where every route is fine."""
    clients = [section(route, probed()) for route in ("ctr-gpus", "ctr-runtime", "ctr-cdi", "nerdctl")]
    plain = [section(f"{name}.none", nothing()) for name in ("ctr", "ctr-runtime", "nerdctl")]
    pods = [pod(route, probed(), nothing()) for route in ("cri-handler", "cri-default", "cri-cdi")]
    return whole(
        section("host", probed()),
        section("image", b"unpacking done\n"),
        *clients,
        *plain,
        section("ctr.privileged", probed((), smi=127, said="sh: 1: nvidia-smi: not found")),
        *pods,
        section("clean", b""),
        section("left", b""),
    )


def judged(node: SimNode, answer: bytes | None, settings: Settings, *, state: State = "ok") -> NodeReport:
    """The report on the node with this answer of its containers recorded; None: none was run."""
    facts = node.facts(settings)
    if answer is not None:
        facts.add(REQUEST, Fact(state, answer, 0))
    return judge(facts, settings)


#: Both kinds of clients, and containers are run.
LIVE = Settings(routes=("ctr-gpus", "cri-handler"), live=True)
CLIENT = Settings(routes=("ctr-gpus",), live=True)
#: Both, with an image that the user names.
NAMED = Settings(routes=LIVE.routes, live=True, image="nvidia/cuda:12.8.1-base-ubuntu24.04")
CTR, CRI = ROUTES["ctr-gpus"].command, ROUTES["cri-handler"].command
HOST, IMAGE = section("host", probed()), section("image", b"")


def report(*sections: bytes, settings: Settings = LIVE) -> NodeReport:
    """Return the report on a ready node whose run printed these sections."""
    return judged(nodes.ready(), whole(*sections), settings)


def gpus(output: bytes, rc: int = 0, *, host: bytes = HOST) -> NodeReport:
    """Return the report where the container of ctr-gpus printed this and the pod is fine."""
    return report(
        host,
        IMAGE,
        section("ctr-gpus", output, rc),
        section("ctr.none", nothing()),
        pod("cri-handler", probed(), nothing()),
    )


def pods(calls: bytes) -> NodeReport:
    """Return the report where the pod came to this and ctr-gpus is fine."""
    return report(HOST, IMAGE, section("ctr-gpus", probed()), section("ctr.none", nothing()), calls)


def said(found: NodeReport, check: str = "live.ctr-gpus") -> tuple[str, str, tuple[Evidence, ...]]:
    """Return status, words and evidence of a check."""
    outcome = found.findings[check].outcome
    return outcome.status, outcome.found, outcome.evidence


def remedy(outcome: Outcome) -> Remedy:
    """Return the remedy, which must be there."""
    assert outcome.remedy is not None
    return outcome.remedy
