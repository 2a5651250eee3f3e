"""The API is asked by kubectl on the controller, within a deadline, and never with words that a node made up."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.node.facts import Fact, Facts
from pytest_gpuready.node.kubeapi import RUNTIME_CLASSES, ask, gather, node_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWERS: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "nodes", "singularName": "node", "namespaced": False, "kind": "Node", "verbs": ["get", "list"]}
        ],
    },
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "node.k8s.io",
                "versions": [{"groupVersion": "node.k8s.io/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "node.k8s.io/v1", "version": "v1"},
            }
        ],
    },
    "/apis/node.k8s.io/v1": {
        "kind": "APIResourceList",
        "groupVersion": "node.k8s.io/v1",
        "resources": [
            {
                "name": "runtimeclasses",
                "singularName": "runtimeclass",
                "namespaced": False,
                "kind": "RuntimeClass",
                "verbs": ["get", "list"],
            }
        ],
    },
    "/apis/node.k8s.io/v1/runtimeclasses": {
        "kind": "RuntimeClassList",
        "apiVersion": "node.k8s.io/v1",
        "metadata": {},
        "items": [{"metadata": {"name": "nvidia"}, "handler": "nvidia"}],
    },
    "/api/v1/nodes/gpu-node": {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": "gpu-node"},
        "status": {"allocatable": {"nvidia.com/gpu": "8"}},
    },
}


class Api(BaseHTTPRequestHandler):
    """It stands for an API server and knows the few answers above; it cannot show how a real one authenticates."""

    def do_GET(self) -> None:
        found = ANSWERS.get(self.path.partition("?")[0])
        failure = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "NotFound",
            "message": "no such thing",
            "code": 404,
        }
        body = json.dumps(found or failure).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
        del format, args


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[str]:
    """A kubeconfig of the API above, on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    path = tmp_path / "kube.config"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
        f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{server.server_address[1]}'}}}}]\n"
        "users: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
    )
    yield str(path)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called kubectl, first on PATH; it stands for one that behaves as the test writes, and knows no API."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.touch()
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.mark.lab("kubectl")
def test_a_real_kubectl_brings_runtime_classes_and_the_node(
    kubeconfig: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # its cache of what the API has
    facts = Facts("local")
    request = node_request("gpu-node")
    assert request is not None
    gather(facts, [RUNTIME_CLASSES, request], kubeconfig, 20)
    assert json.loads(facts.text(RUNTIME_CLASSES) or "")["items"][0]["handler"] == "nvidia"
    assert json.loads(facts.text(request) or "")["status"]["allocatable"] == {"nvidia.com/gpu": "8"}


@pytest.mark.lab("kubectl")
def test_a_node_that_the_cluster_does_not_know_is_an_answer_with_its_words(
    kubeconfig: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    request = node_request("other")
    assert request is not None
    fact = ask(request, kubeconfig, 20)
    assert fact.state == "ok"
    assert fact.rc == 1
    assert "no such thing" in fact.note


def test_the_kubeconfig_is_passed_and_is_no_part_of_what_is_recorded(stand_in: Path) -> None:
    stand_in.write_text('#!/bin/sh\nprintf \'["%s", "%s"]\' "$1" "$2"\n')
    facts = Facts("local")
    gather(facts, [RUNTIME_CLASSES], "/home/me/kube config", 10)
    assert json.loads(facts.text(RUNTIME_CLASSES) or "") == ["--kubeconfig", "/home/me/kube config"]
    assert "kubeconfig" not in " ".join(RUNTIME_CLASSES.arg)


def test_without_kubectl_the_answer_is_absent_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fact = ask(RUNTIME_CLASSES, "/k", 10)
    assert (fact.state, fact.note) == ("absent", "kubectl is not installed where pytest runs")


def test_a_kubectl_that_hangs_is_ended_with_all_that_it_started(stand_in: Path, tmp_path: Path) -> None:
    """A credential helper holds the pipe too; ending kubectl alone would wait for it."""
    witness = tmp_path / "pid"
    stand_in.write_text(f'#!/bin/sh\nsleep 600 &\necho $! >"{witness}"\nwait\n')
    fact = ask(RUNTIME_CLASSES, "/k", 1)
    assert fact.state == "timeout"
    helper = int(witness.read_text())
    end = time.monotonic() + 10
    while not _ended(helper) and time.monotonic() < end:
        time.sleep(0.01)  # a killed process ends when it is next given the processor
    assert _ended(helper)


def _ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel's
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except FileNotFoundError:
        return True


def test_no_time_left_is_a_time_out_and_starts_nothing(stand_in: Path) -> None:
    stand_in.write_text("#!/bin/sh\necho '{}'\n")
    assert ask(RUNTIME_CLASSES, "/k", 0).state == "timeout"


def test_a_failing_kubectl_keeps_its_words_without_terminal_control(stand_in: Path) -> None:
    stand_in.write_text("#!/bin/sh\nprintf 'error: \\033[31mUnauthorized\\033[0m\\n' >&2\nexit 1\n")
    fact = ask(RUNTIME_CLASSES, "/k", 10)
    assert (fact.state, fact.rc, fact.note) == ("ok", 1, "error: Unauthorized")


def test_a_path_that_no_program_can_be_given_is_odd_and_no_error() -> None:
    assert ask(RUNTIME_CLASSES, "a\0b", 10).state == "odd"


def test_what_a_snapshot_holds_is_not_asked_again(stand_in: Path) -> None:
    stand_in.write_text("#!/bin/sh\necho new\n")
    facts = Facts("local", [(RUNTIME_CLASSES, Fact("ok", b"old", 0))])
    gather(facts, [RUNTIME_CLASSES], "/k", 10)
    assert facts.text(RUNTIME_CLASSES) == "old"


def test_secrets_in_an_answer_are_gone_before_it_is_recorded(stand_in: Path) -> None:
    stand_in.write_text('#!/bin/sh\necho \'{"token": "abcdefghijklmnop"}\'\n')
    facts = Facts("local")
    gather(facts, [RUNTIME_CLASSES], "/k", 10)
    assert "abcdefghijklmnop" not in (facts.text(RUNTIME_CLASSES) or "")
