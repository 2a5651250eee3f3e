"""Stands for ``crictl -t 2s -r unix://SOCKET info``: asks by the python3 client and prints what crictl prints.

It cannot show crictl's own deadline, flags or messages; recorded outputs of the real one are read in test_answers.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from pytest_gpuready.containerd_api.ask import STATUS_PATH, unary
from pytest_gpuready.containerd_api.grpcwire import Message
from pytest_gpuready.containerd_api.transcript import Call, parse_transcript

_CODES = {2: "Unknown", 12: "Unimplemented", 14: "Unavailable"}


def _ask(socket: str) -> Call:
    _, *rest = unary(socket, STATUS_PATH, "0801")
    answered = subprocess.run(["/bin/sh", *rest], capture_output=True, check=True)
    call = parse_transcript(answered.stdout).call(STATUS_PATH)
    assert call is not None
    return call


def _info(message: Message) -> dict[str, Any]:
    (status,) = message.messages(1)
    texts = message.string_map(2)
    info: dict[str, Any] = {
        "status": {
            "conditions": [
                {"type": one.text(1), "status": bool(one.integer(2)), "reason": one.text(3), "message": one.text(4)}
                for one in status.messages(1)
            ]
        }
    }
    info.update({key: json.loads(text) if text.startswith(("{", "[")) else text for key, text in texts.items()})
    if handlers := message.messages(3):
        info["runtimeHandlers"] = [
            {
                **({"features": {"recursive_read_only_mounts": True}} if 2 in one.fields else {}),
                **({"name": one.text(1)} if one.text(1) else {}),
            }
            for one in handlers
        ]
    return info


def main(arguments: list[str]) -> int:
    """Print the answer; 1 and a log line when the daemon refuses."""
    timeout, seconds, remote, endpoint, command = arguments
    assert (timeout, seconds, remote, command) == ("-t", "2s", "-r", "info")
    call = _ask(endpoint.removeprefix("unix://"))
    if call.message is None:
        code = _CODES.get(call.grpc_status or 0, "Unknown")
        sys.stderr.write(
            f'time="2026-01-01T00:00:00Z" level=fatal msg="validate service connection: validate CRI v1 runtime API '
            f'for endpoint \\"{endpoint}\\": rpc error: code = {code} desc = {call.grpc_message}"\n'
        )
        return 1
    sys.stderr.write('time="2026-01-01T00:00:00Z" level=warning msg="Config \\"/etc/crictl.yaml\\" does not exist"\n')
    sys.stderr.flush()
    sys.stdout.write(json.dumps(_info(Message.decode(call.message)), indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
