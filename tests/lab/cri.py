"""CRI calls on a node through its curl: what crictl would do, which Debian does not have.

Messages are written by field number, from the CRI's api.proto (runtime.v1).
"""

from __future__ import annotations

import base64
import functools
import json
import time
from typing import TYPE_CHECKING, Any

from tests.lab import image

if TYPE_CHECKING:
    from tests.lab.node import Node

SOCKET = "/run/containerd/containerd.sock"
SPARE = "/usr/share/gpuready-lab/spare"
HOST_NETWORK = 2  # NamespaceMode NODE: no CNI is needed
EXITED = 2  # ContainerState


class CriError(Exception):
    """The daemon refused; the text is its gRPC status and message."""


def call(node: Node, method: str, request: bytes = b"", socket: str = SOCKET) -> dict[int, list[Any]]:
    """Make one unary call of RuntimeService; return the answer's fields by number.

    Raises:
        CriError: the status is not OK, or nothing answered.
    """
    frame = b"\0" + len(request).to_bytes(4, "big") + request
    curl = (
        # Nodes without curl keep theirs aside for the tests.
        f"base64 -d | PATH=$PATH:{SPARE} curl -sS --http2-prior-knowledge --unix-socket {socket} -X POST -m 30"
        f" http://localhost/runtime.v1.RuntimeService/{method} -H 'content-type: application/grpc' -H 'te: trailers'"
        " --data-binary @- -D /run/cri.headers -o - | base64 -w0; cat /run/cri.headers >&2"
    )
    done = node.run(curl, stdin=base64.b64encode(frame).decode())
    headers = dict(line.split(": ", 1) for line in done.stderr.splitlines() if ": " in line)
    if headers.get("grpc-status") != "0":
        raise CriError(f"{headers.get('grpc-status')}: {headers.get('grpc-message', done.stderr.strip())}")
    return decode(base64.b64decode(done.stdout)[5:])


def status(node: Node, socket: str = SOCKET) -> dict[str, Any]:
    """Return the configuration that the running daemon's CRI plugin has loaded (``crictl info``'s ``config``)."""
    answer = call(node, "Status", encode((1, 1)), socket)
    info = {bytes(one[1][0]).decode(): one[2][0] for one in map(decode, answer[2])}
    loaded = json.loads(info["config"])
    assert isinstance(loaded, dict)
    return loaded


def pod(
    node: Node,
    command: list[str],
    *,
    handler: str = "",
    env: dict[str, str] | None = None,
    name: str = "probe",
    devices: tuple[str, ...] = (),
    socket: str = SOCKET,
    cgroup_parent: str = "",
) -> tuple[int, str]:
    """Run a pod of one container on the host's network; return its exit code and its log, and remove it.

    ``devices`` are CDI names, given as a pod's annotation: from containerd 1.7 on, where CDI is enabled.
    """
    logs = f"/var/log/pods/{name}"
    node.run(f"mkdir -p {logs} && rm -f {logs}/main.log", check=True)
    network = encode((1, HOST_NETWORK))
    sandbox = encode(
        (1, encode((1, name), (2, f"uid-{name}"), (3, "default"), (4, 0))),
        (3, logs),
        (8, encode(*(((1, cgroup_parent),) if cgroup_parent else ()), (2, encode((1, network))))),
    )
    ask = functools.partial(call, node, socket=socket)
    answer = ask("RunPodSandbox", encode((1, sandbox), *(((2, handler),) if handler else ())))
    identity = bytes(answer[1][0]).decode()
    try:
        container = encode(
            (1, encode((1, "main"), (2, 0))),
            (2, encode((1, image.NAME))),
            *((3, word) for word in command),
            *((6, encode((1, key), (2, value))) for key, value in (env or {}).items()),
            *((10, encode((1, "cdi.k8s.io/test"), (2, device))) for device in devices),
            (11, "main.log"),
            (15, encode((2, encode((3, network))))),
        )
        made = ask("CreateContainer", encode((1, identity), (2, container), (3, sandbox)))
        one = encode((1, bytes(made[1][0]).decode()))
        ask("StartContainer", one)
        state: dict[int, list[Any]] = {}
        end = time.monotonic() + 30
        while time.monotonic() < end and state.get(3) != [EXITED]:
            state = decode(ask("ContainerStatus", one)[1][0])
            time.sleep(0.02)
        lines = node.read(f"{logs}/main.log").splitlines()
        node.run(f"rm -r {logs}", check=True)
        return state.get(7, [0])[0], "\n".join(line.split(" ", 3)[3] for line in lines)
    finally:
        ask("StopPodSandbox", encode((1, identity)))
        ask("RemovePodSandbox", encode((1, identity)))


def encode(*fields: tuple[int, bytes | str | int]) -> bytes:
    """Encode fields as protobuf: integers as varints, the rest as bytes."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(content)) + content
    return out


def decode(message: bytes) -> dict[int, list[Any]]:
    """Decode one level of protobuf: varints as integers, the rest as bytes."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        value: int | bytes
        if tag & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(tag & 7) or varint()
            value = message[at : at + size]
            at += size
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
