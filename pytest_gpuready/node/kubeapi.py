"""Asking the Kubernetes API, on the controller and only with a kubeconfig that the user names.

`kubectl` asks, so that every way to authenticate that works for people works here. Its answers become facts of the node
beside the node's own; the path of the kubeconfig is no part of them, so that a snapshot can be judged again without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.node.facts import Fact, Facts, Request, run
from pytest_gpuready.node.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Longest answer that is taken, in bytes.
LIMIT = 16 * 1024 * 1024

#: A node's name (RFC 1123 subdomain): all that may become an argument of kubectl.
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")

#: All RuntimeClasses of the cluster, as a List.
RUNTIME_CLASSES: Request = run("kubectl", "get", "runtimeclasses.node.k8s.io", "-o", "json", timeout=10, limit=LIMIT)


def node_request(name: str) -> Request | None:
    """The question for one Node object; None where the name cannot be one."""
    if _NAME.fullmatch(name) is None:
        return None
    return run("kubectl", "get", "nodes", name, "-o", "json", timeout=10, limit=LIMIT)


def gather(facts: Facts, requests: Iterable[Request], kubeconfig: str, timeout: float) -> None:
    """Ask the API within `timeout` seconds and record its answers in `facts`. What is known is not asked again."""
    deadline = time.monotonic() + timeout
    for request in requests:
        if request not in facts:
            facts.add(request, redact(request, ask(request, kubeconfig, deadline - time.monotonic())))


def ask(request: Request, kubeconfig: str, timeout: float) -> Fact:
    """One answer of kubectl. `absent`: it is not installed here; `timeout`: no answer within `timeout` seconds.

    Never raises for what kubectl, the kubeconfig or the API do; kubectl cannot prompt (no standard input).
    """
    seconds = min(timeout, request.timeout)
    if seconds <= 0:
        return Fact("timeout", note="no time was left to ask the Kubernetes API")
    program, *words = request.arg
    command = [program, "--kubeconfig", kubeconfig, f"--request-timeout={seconds:.1f}s", *words]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        return Fact("absent", rc=127, note=f"{program} is not installed where pytest runs")
    except (OSError, ValueError) as error:
        return Fact("odd", note=f"{program} cannot be started: {one_line(str(error), 200)}")
    with process:
        try:
            output, complaint = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return Fact("timeout", note=f"the Kubernetes API did not answer within {seconds:g} s")
        note = clean(complaint.decode("utf-8", "replace")).strip()[:4096]
        if len(output) > request.limit:
            return Fact("cut", output[: request.limit], process.returncode, f"longer than {request.limit} bytes")
        return Fact("ok", output, process.returncode, note)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End kubectl and what it started (credential helpers are processes of their own)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
