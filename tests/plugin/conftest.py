"""Runs of pytest with the plugin, on recorded nodes, so that nothing here depends on the machine it runs on."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import pytest_gpuready.judge
from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.model import Settings, passed
from pytest_gpuready.node.facts import Fact, Facts
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.snapshot import dumps
from pytest_gpuready.node.transport import Options
from pytest_gpuready.report.json import render
from pytest_gpuready.runner import Runner
from pytest_gpuready.views import VIEWS, Views
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Runs within this process give back the modules that they import; what is imported here is imported once.
catalogue()
for _name in VIEWS:
    Views(Facts("none")).named(_name)
for _module in (
    "suite",
    "fixtures",
    "runner",
    "remedies",
    "snapshot_backend",
    "report_guard",
    "report.json",
    "report.terminal",
    "report.pages",
):
    importlib.import_module(f"pytest_gpuready.{_module}")

#: Plugins of this project's own tests, which import much and have nothing to do with the runs.
QUICK = ("-p", "no:hypothesispytest", "-p", "no:cov")


def spied(seen: list[Any], function: Callable[[Any], Any], argument: Any) -> Any:
    """Call the function, and remember what with."""
    seen.append(argument)
    return function(argument)


CONFIG = """version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
    BinaryName = "/usr/bin/nvidia-container-runtime"
"""


def node_with_containerd() -> SimNode:
    """A node on which containerd runs with a handler for the NVIDIA runtime."""
    node = (
        SimNode().put("/etc/containerd/config.toml", CONFIG).put("/etc/os-release", 'ID=debian\nPRETTY_NAME="Debian"\n')
    )
    for program in ("containerd", "ctr", "runc", "nvidia-container-runtime", "nvidia-container-cli", "nvidia-ctk"):
        node.program(f"/usr/bin/{program}")
    node.socket("/run/containerd/containerd.sock")
    node.answer(("/usr/bin/containerd", "--version"), "containerd github.com/containerd/containerd v1.7.24 abc\n")
    return node.process(Proc(700, "containerd", ["/usr/bin/containerd"], "/usr/bin/containerd"))


@dataclass
class Nodes:
    """Snapshots by kind: the specs that `--hosts` takes."""

    folder: Path

    def write(self, name: str, node: SimNode) -> str:
        """Record a node; its spec."""
        path = self.folder / f"{name}.json"
        path.write_text(dumps(node.facts(), {"generator": "a test"}), "utf-8")
        return f"snapshot://{path}"

    @property
    def containerd(self) -> str:
        """A node with containerd."""
        return f"snapshot://{self.folder}/containerd.json"

    @property
    def bare(self) -> str:
        """A node with nothing on it."""
        return f"snapshot://{self.folder}/bare.json"

    @property
    def silent(self) -> str:
        """A node that did not answer."""
        return f"snapshot://{self.folder}/silent.json"


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    """Three recorded nodes."""
    found = Nodes(tmp_path_factory.mktemp("nodes"))
    found.write("containerd", node_with_containerd())
    found.write("bare", SimNode())
    found.write("silent", SimNode(reach=Fact("cut", note="ssh: connect to host n1 port 22: Connection refused")))
    return found


@dataclass
class Result:
    """How a run ended, what it printed, and its JSON report (None: it wrote none)."""

    ret: int
    out: str
    err: str
    report: dict[str, Any] | None

    @property
    def text(self) -> str:
        """Everything printed."""
        return self.out + "\n" + self.err

    @property
    def judged(self) -> dict[str, Any]:
        """What must be the same however the suite was started: every finding, its roots and remedies, the verdict."""
        assert self.report is not None, self.text
        return {
            node["node"]: {
                "verdict": node["verdict"],
                "routes": node["routes"],
                "checks": {check["check"]: (check["status"], check["blocked_by"]) for check in node["checks"]},
                "remedies": {root["check"]: root["remedy"] for root in node["root_causes"]},
            }
            for node in self.report["nodes"]
        }

    def lines(self, beginning: str) -> list[str]:
        """The printed lines that begin so."""
        return [line for line in self.out.splitlines() if line.startswith(beginning)]


def exactly_the_suite(result: Result, plain: dict[str, Any]) -> None:
    """Assert that the findings are those of judging without pytest, and the exit code is the verdict's."""
    assert result.judged == plain
    assert result.ret == 1
    assert "Traceback" not in result.text


@dataclass
class Pytest:
    """pytest in a folder of its own."""

    pytester: pytest.Pytester
    json: Path
    spec: str

    @property
    def path(self) -> Path:
        """The folder."""
        return self.pytester.path

    def file(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def raw(self, *args: str, process: bool = False) -> Result:
        """Run pytest with exactly these arguments; in a process of its own where the run must not share anything."""
        self.json.unlink(missing_ok=True)
        args = (*QUICK, *args)
        if process:
            done = self.pytester.run(sys.executable, "-m", "pytest", *args, timeout=120)
        else:
            done = self.pytester.runpytest_inprocess(*args)
        report = json.loads(self.json.read_text("utf-8")) if self.json.exists() else None
        result = Result(int(done.ret), done.stdout.str(), done.stderr.str(), report)
        assert "INTERNALERROR" not in result.text
        return result

    def suite(self, *args: str, hosts: str | None = None, process: bool = False) -> Result:
        """`pytest --gpuready` on a recorded node, with a JSON report."""
        given = ["--gpuready", "--hosts", hosts or self.spec, "--gpuready-json", str(self.json)]
        return self.raw(*given, *args, process=process)


@pytest.fixture
def run(
    pytester: pytest.Pytester,
    nodes: Nodes,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Pytest:
    """Run pytest in an empty folder, by default on the node with containerd."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)  # of the run that this test is a part of
    return Pytest(pytester, tmp_path_factory.mktemp("report") / "report.json", nodes.containerd)


@pytest.fixture
def all_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check passes: stands for a node without a fault. It cannot show that there is such a node."""
    answered = pytest_gpuready.judge._Answered(passed("so says this test"))
    monkeypatch.setattr(pytest_gpuready.judge.Judge, "answer", lambda *_: answered)


@pytest.fixture(scope="session")
def plain(nodes: Nodes) -> dict[str, Any]:
    """What the suite finds on the node with containerd, judged without pytest."""
    report = render(Runner([parse(nodes.containerd)], Settings(), Options()).run())
    return Result(0, "", "", json.loads(json.dumps(report))).judged
