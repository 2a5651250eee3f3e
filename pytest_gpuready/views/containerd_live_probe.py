"""What is asked of a containerd: its version, its API, and what its service said last."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pytest_gpuready.containerd_api.ask import CLIENT, ONLY_WITH_UUID, SNIPPET, ask_command
from pytest_gpuready.node.facts import SHORT, run, script
from pytest_gpuready.node.trust import USE

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Request

PATH_VERSION = run("containerd", "--version", limit=SHORT)

_COMPLAINT = re.compile(r"containerd: |level=(?:fatal|error)|\.service: Failed (?:at step|to locate)")


def api(socket: str) -> Request:
    """Version, Server and CRI Status of the daemon behind a socket, by curl, python3 or crictl."""
    # The client travels in the script's text, not among its arguments: those are the fact's key.
    _, _, _, _, _, *arguments = ask_command(socket)
    body = f'{USE}tx "$1"\n{ONLY_WITH_UUID}set -- {shlex.quote(CLIENT)} "$@"\n{SNIPPET}'
    return script("containerd API", body, *arguments, timeout=6, limit=4 * 1024 * 1024)


def journal(unit: str) -> Request:
    """The last that a service said."""
    return run("journalctl", "-u", unit, "-n", "30", "--no-pager", "-o", "cat", timeout=5, limit=65_536)


def complaints(text: str) -> list[str]:
    """The last three lines of a journal that tell of trouble: the daemon's, and systemd's where it could not run it."""
    return [line for line in text.splitlines() if _COMPLAINT.search(line)][-3:]
