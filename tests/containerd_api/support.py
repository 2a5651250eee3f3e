"""What the tests here share: running a command as a node would, and outputs made by hand."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SHELLS: dict[str, tuple[str, ...]] = {
    name: (shutil.which(name) or name, *words) for name, words in {"dash": (), "bash": (), "busybox": ("ash",)}.items()
}
NOBODY = 65534


def run(
    command: tuple[str, ...], path: Path | str, shell: str = "dash", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with nothing but ``path`` as PATH; nothing may be written to standard error."""
    environment = {"PATH": str(path), **options.pop("env", {})}
    done = subprocess.run(
        [*SHELLS[shell], *command[1:]], capture_output=True, check=False, timeout=60, env=environment, **options
    )
    assert done.stderr == b""
    assert done.returncode == 0
    return done


def frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def curl_call(path: str, message: bytes, *, status: int = 0, text: str = "", code: int = 0) -> bytes:
    """A call as curl 7.88 prints it with -i: headers, the gRPC frame, trailers without an empty line after them."""
    trailers = f"grpc-status: {status}\r\ngrpc-message: {text}\r\n".encode()
    head = f"rpc={path}\n".encode() + b"HTTP/2 200 \r\ncontent-type: application/grpc\r\n"
    body = head + trailers + b"\r\n" if status else head + b"\r\n" + frame(message) + trailers
    return body + f"\nrc={code}\n".encode()


def curl_output(*calls: bytes) -> bytes:
    return b"via=curl\nsocket=ok\n" + b"".join(calls)


def literal(name: bytes, value: bytes) -> bytes:
    """A header field as an HPACK literal without indexing and without Huffman coding."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


OK_HEADERS = b"\x88" + literal(b"content-type", b"application/grpc")
OK_TRAILERS = literal(b"grpc-status", b"0") + literal(b"grpc-message", b"")


def frame_line(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return f"frame={kind} {flags} {stream} {payload.hex()}\n".encode()


def python_output(frames: bytes, *calls: tuple[str, bytes], error: str = "") -> bytes:
    """What the python3 client prints: frames but DATA as lines, then each call's data."""
    data = b"".join(f"rpc={path}\ndata={len(body)}\n".encode() + body + b"\n" for path, body in calls)
    return b"via=python3\nsocket=ok\n" + frames + f"err={error}\n".encode() + data + b"end\n"
