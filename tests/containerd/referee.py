"""The real containerd as referee: started on private paths in its own mount and network namespaces.

It stands on the machine's own kernel and cgroups: what a node's devices or snapshotters make of a configuration, it
cannot show.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_SCRIPT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1/ns"
mkdir "$1/ns/up" "$1/ns/work" "$1/ns/run"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/ns/up,workdir=$1/ns/work" /etc
rm -rf /etc/containerd /etc/cni
cp -a "$1/etc" /etc/containerd
mount --bind "$1/ns/run" /run
mkdir -p /run/netns
ip link set lo up 2>/dev/null || true
cd /
bin="$2"; dir="$1"; shift 2
exec "$bin" --address "$dir/s/c.sock" --root "$dir/ns/root" --state "$dir/ns/state" "$@"
"""
_HOME = "/etc/containerd/"


@dataclass(frozen=True)
class Verdict:
    """What the daemon did: the same words as the model's."""

    loads: bool
    error: str | None
    cri_state: str
    config: dict[str, Any] = field(default_factory=dict)
    deprecations: frozenset[str] = frozenset()
    log: str = ""


@cache
def binaries() -> dict[str, str]:
    """The daemons on this machine by version: the system's and those below GPUREADY_CONTAINERD_BINARIES."""
    places = ["/usr/bin", *os.environ.get("GPUREADY_CONTAINERD_BINARIES", "").split(os.pathsep)]
    found: dict[str, str] = {}
    for place in filter(None, places):
        direct = Path(place, "containerd")
        for path in [direct, *sorted(Path(place).glob("*/usr/bin/containerd"))] if direct.parent.is_dir() else []:
            if path.is_file() and os.access(path, os.X_OK):
                text = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False).stdout
                version = re.search(r"\bv?(\d+\.\d+\.\d+[^\s]*)", text.split("containerd/", 1)[-1])
                if version:
                    found.setdefault(version[1], str(path))
    return found


@cache
def why_not() -> str | None:
    """Why no daemon can be asked here; None if one can."""
    if os.geteuid() != 0:
        return "starting containerd needs root"
    for tool in ("unshare", "curl", "mount"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if not binaries():
        return "no containerd is installed, and GPUREADY_CONTAINERD_BINARIES names none"
    with tempfile.TemporaryDirectory() as place:
        for name in ("ns", "s", "etc"):
            Path(place, name).mkdir()
        command = ["unshare", "-m", "-n", "sh", "-c", _SCRIPT, "sh", place, "true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no namespaces here: {done.stderr.strip()[:200]}"


def ask(version: str, files: dict[str, bytes], *, explicit: str | None = None, seconds: float = 20) -> Verdict:
    """Start the daemon of `version` on `files` (all below /etc/containerd) and ask it over its own socket."""
    with tempfile.TemporaryDirectory(prefix="ctd") as place:
        root = Path(place)
        for name in ("ns", "s", "etc"):
            (root / name).mkdir()
        for path, data in files.items():
            target = root / "etc" / path.removeprefix(_HOME)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        command = ["unshare", "-m", "-n", "sh", "-c", _SCRIPT, "sh", place]
        command += [binaries()[version], *(["--config", explicit] if explicit else [])]
        with (root / "log").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            booted = _wait(daemon, root / "log", seconds)
            text = (root / "log").read_text("utf-8", "replace")
            return _serving(root, text) if booted else Verdict(False, _ending(text), "daemon exits", log=text)
        finally:
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()


def _wait(daemon: subprocess.Popen[bytes], log: Path, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if b"containerd successfully booted" in log.read_bytes():
            return True
        if daemon.poll() is not None:
            return False
        time.sleep(0.02)
    raise TimeoutError(f"neither booted nor ended: {log.read_text('utf-8', 'replace')[-2000:]}")


def _ending(log: str) -> str:
    for line in log.split("\n"):
        if line.startswith(("containerd: ", "panic: ")):
            return line
        if " level=fatal " in line:
            fields = _fields(line)
            return f"{fields['msg']}: {fields.get('error', '')}"
    return log.strip().splitlines()[-1] if log.strip() else ""


def _fields(line: str) -> dict[str, str]:
    return {key: (json.loads(text) if text.startswith('"') else text) for key, text in _FIELD.findall(line)}


_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


def failures(log: str) -> dict[str, str]:
    """The plugins that failed to load, with their error, from the daemon's log."""
    out = {}
    for line in log.splitlines():
        fields = _fields(line)
        message = fields.get("msg", "")
        if message.startswith(("failed to load plugin", "skip loading plugin")):
            uri = fields.get("id") or message.split()[-1].strip('."')
            out[uri] = fields.get("error", "")
    return out


def _serving(root: Path, log: str) -> Verdict:
    failed = failures(log)
    status = _call(root, "runtime.v1.RuntimeService/Status", b"\x08\x01")
    # A CRI plugin that was loaded says "server is not initialized yet" until its services are up.
    begun = any("loading plugin" in line and _CRI in line for line in log.splitlines()) and _CRI not in failed
    for _ in range(100):
        if status is not None or not begun:
            break
        time.sleep(0.05)
        status = _call(root, "runtime.v1.RuntimeService/Status", b"\x08\x01")
    server = _call(root, "containerd.services.introspection.v1.Introspection/Server", b"")
    warned = frozenset(
        value[len(_ID) :]
        for number, message in _message(server or b"")
        if number == 4
        for inner, value in ((n, v.decode("utf-8", "replace")) for n, v in _message(message))
        if inner == 1
    )
    if status is not None:
        entries = [dict(_message(entry)) for number, entry in _message(status) if number == 2]
        info = {entry.get(1, b"").decode(): entry.get(2, b"") for entry in entries}
        return Verdict(True, None, "serving", json.loads(info["config"]), warned, log)
    for uri in ("io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images", _CRI):
        if uri in failed and _CRI in failed:
            return Verdict(True, f"{uri}: {failed[uri]}", "failed", {}, warned, log)
    return Verdict(True, None, "not loaded", {}, warned, log)


_ID = "io.containerd.deprecation/"
_CRI = "io.containerd.grpc.v1.cri"


def _call(root: Path, method: str, body: bytes) -> bytes | None:
    """One gRPC call by curl; None where the service is not there."""
    frame = b"\0" + len(body).to_bytes(4, "big") + body
    command = ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", str(root / "s/c.sock"), "-X", "POST"]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-", "-m", "10"]
    done = subprocess.run([*command, f"http://localhost/{method}"], input=frame, capture_output=True, check=False)
    return done.stdout[5:] if len(done.stdout) >= 5 else None


def _message(data: bytes) -> list[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message."""
    out, at = [], 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 2:
            size, at = _varint(data, at)
            out.append((tag >> 3, data[at : at + size]))
            at += size
        elif tag & 7 == 0:
            _, at = _varint(data, at)
        else:
            at += 8 if tag & 7 == 1 else 4
    return out


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
