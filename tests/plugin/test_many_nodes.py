"""Five hundred nodes in one run, every tenth of them dead: each has its result, and the counts are right."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.node.snapshot import shipped
from tests.support.sshd import free_port

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest

NODES = 500


@pytest.mark.slow
@pytest.mark.parametrize("jump", [0.0, -3600.0, 86_400.0], ids=["clock", "clock set back", "clock set forth"])
def test_five_hundred_nodes_with_every_tenth_dead(
    run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """Recorded nodes stand for those that answer; the dead are ports without a server, and recorded silence.

    What a login costs is not shown here (benchmarks/fleet.py). The clock is set while nodes are asked.
    """
    ready = shipped()["ready"].read_text("utf-8")
    silent = Path(nodes.silent.removeprefix("snapshot://")).read_text("utf-8")
    folder = run.path / "recorded"
    folder.mkdir()
    specs = []
    for number in range(NODES):
        dead = number % 10 == 5
        if dead and number % 20 == 5:
            specs.append(f"ssh://127.0.0.1:{free_port()}?timeout=5")
            continue
        path = folder / f"n{number:03}.json"
        text = silent if dead else ready.replace("hostname gpu01", f"hostname n{number:03}")
        path.write_text(text, "utf-8")
        specs.append(f"snapshot://{path}")
    now, since = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: now() + (jump if time.monotonic() - since > 2 else 0))
    hosts = run.file("hosts", "\n".join(specs))
    args = ["--gpuready-hosts-file", str(hosts), "--html=out.html", "--junitxml=out.xml", "--gpuready-md=out.md"]
    result = run.raw("--gpuready", f"--gpuready-json={run.json}", *args)
    monkeypatch.undo()
    assert result.ret == 1
    report = result.report
    assert report is not None
    labels = [node["node"] for node in report["nodes"]]
    assert len(labels) == len(set(labels)) == NODES
    assert [node["verdict"] for node in report["nodes"]] == [
        "unreachable" if number % 10 == 5 else "ready" for number in range(NODES)
    ]
    for node in report["nodes"]:
        assert 0 <= node["duration_s"] < 60
        if node["verdict"] == "unreachable":
            assert "\n" not in node["reason"]
            assert node["reason"]
    assert 0 <= report["duration_s"] < 120
    text = " ".join(result.out.split())
    assert "450 ready" in text
    assert "50 unreachable" in text
    assert "Traceback" not in result.text
    assert json.dumps(report).count("itself failed") == 0
    page = (run.path / "out.html").read_text("utf-8")
    assert all(f"n{number:03}.json" in page for number in range(NODES) if number % 20 != 5)
