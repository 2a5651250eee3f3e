"""The JSON report: the schema's keys and words, and valid output whatever a node says."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any, get_args

import pytest

from pytest_gpuready.checks.catalogue import make
from pytest_gpuready.model import WORST_FIRST, Edit, Evidence, Missing, Remedy, Where, failed, unknown
from pytest_gpuready.report.json import dumps, render
from pytest_gpuready.report.model import VERDICTS, Run, Verdict
from pytest_gpuready.routes import Required
from tests.report.sample import (
    BOTH,
    CHECKS,
    INVENTORY,
    NO_HANDLER,
    NO_MODULE,
    NOT_RESTARTED,
    NVML_HANGS,
    PERSISTENCE,
    report,
    run,
    unreachable,
)


def rendered(*nodes: Any, **more: Any) -> dict[str, Any]:
    return render(run(*nodes, **more), checks=CHECKS)


REPORT = ["schema", "generator", "started", "duration_s", "live", "verdict", "nodes"]
NODE = [
    "node",
    "hostname",
    "verdict",
    "reason",
    "duration_s",
    "snapshot",
    "required_routes",
    "checks_expected",
    "checks_run",
    "routes",
    "root_causes",
    "checks",
    "inventory",
]
ROOT = [
    "check",
    "title",
    "status",
    "routes",
    "advisory",
    "waived",
    "missing",
    "expected",
    "found",
    "where",
    "evidence",
    "remedy",
    "blocks",
]
CHECK = ["check", "family", "status", "advisory", "routes", "found", "expected", "where", "blocked_by"]

_KINDS = {
    "healthy": run(report()),
    "not ready": run(report(outcomes={"driver.module-loaded": NO_MODULE, "containerd.handler": NO_HANDLER})),
    "unknown": run(report(outcomes={"driver.nvml-answers": NVML_HANGS, "driver.persistence": PERSISTENCE})),
    "unreachable": run(unreachable()),
    "incomplete": run(dataclasses.replace(report(verdict="incomplete", reason="interrupted"), findings={}, routes={})),
    "several": run(report("ssh://a"), unreachable("ssh://b"), report("ssh://c")),
    "none": run(),
}


@pytest.mark.parametrize("of", _KINDS.values(), ids=_KINDS)
def test_every_key_of_the_schema_is_there_in_its_order_and_every_word_is_closed(of: Run) -> None:
    found = render(of, checks=CHECKS)
    assert list(found) == REPORT
    assert found["schema"] == 1
    assert found["verdict"] in VERDICTS
    for node in found["nodes"]:
        assert list(node) == NODE
        assert node["verdict"] in get_args(Verdict)
        assert list(node["required_routes"]) == ["names", "mode", "because"]
        for route in node["routes"].values():
            assert list(route) == ["verdict", "proof", "required", "offered", "roots"]
            assert route["verdict"] in ("ready", "not-ready", "unknown")
            assert route["proof"] in ("configured", "live")
        for root in node["root_causes"]:
            assert list(root) == ROOT
            assert root["status"] in ("fail", "unknown")
            assert root["waived"] is None
        for check in node["checks"]:
            assert list(check) == CHECK
            assert check["status"] in WORST_FIRST
        assert list(node["inventory"]) == ["containerd", "ctr", "driver", "toolkit", "os", "kernel", "gpus"]


def test_a_whole_node() -> None:
    found = rendered(report("ssh://root@n1", {"containerd.restarted": NOT_RESTARTED}, hostname="n1"))
    node = found["nodes"][0]
    assert {key: found[key] for key in REPORT[:-1]} == {
        "schema": 1,
        "generator": "pytest-gpuready 0.1.0",
        "started": "2026-11-22T09:00:00Z",
        "duration_s": 1.234,
        "live": False,
        "verdict": "not-ready",
    }
    assert {key: node[key] for key in NODE[:9]} == {
        "node": "ssh://root@n1",
        "hostname": "n1",
        "verdict": "not-ready",
        "reason": None,
        "duration_s": 0.4,
        "snapshot": None,
        "required_routes": {
            "names": ["ctr-gpus", "cri-handler"],
            "mode": "every",
            "because": "no evidence of another set-up",
        },
        "checks_expected": len(CHECKS),
        "checks_run": len(CHECKS),
    }
    assert node["routes"] == {
        "ctr-gpus": {"verdict": "ready", "proof": "configured", "required": True, "offered": True, "roots": []},
        "ctr-cdi": {
            "verdict": "not-ready",
            "proof": "configured",
            "required": False,
            "offered": True,
            "roots": ["cdi.spec-present"],
        },
        "cri-handler": {
            "verdict": "not-ready",
            "proof": "configured",
            "required": True,
            "offered": True,
            "roots": ["containerd.restarted"],
        },
        "nerdctl": {
            "verdict": "not-ready",
            "proof": "configured",
            "required": False,
            "offered": False,
            "roots": ["containerd.supports-route"],
        },
    }
    assert node["root_causes"][0] == {
        "check": "containerd.restarted",
        "title": "The daemon has loaded what is on disk",
        "status": "fail",
        "routes": ["cri-handler"],
        "advisory": False,
        "waived": None,
        "missing": None,
        "expected": "the daemon serves what is on disk",
        "found": NOT_RESTARTED.found,
        "where": {"path": "/etc/containerd/conf.d/99-nvidia.toml", "line": 14},
        "evidence": [{"source": item.source, "text": item.text} for item in NOT_RESTARTED.evidence],
        "remedy": {
            "summary": "restart containerd; running containers go on",
            "commands": ["sudo systemctl restart containerd"],
            "edits": [],
        },
        "blocks": [],
    }
    assert node["inventory"] == INVENTORY


def test_roots_that_keep_no_required_route_are_there_and_name_none() -> None:
    roots = rendered(report())["nodes"][0]["root_causes"]
    assert [(root["check"], root["routes"]) for root in roots] == [("cdi.spec-present", [])]
    assert roots[0]["blocks"] == ["cdi.spec-valid"]
    assert roots[0]["where"] is None
    assert roots[0]["remedy"] is None


def test_a_remedy_keeps_its_commands_and_edits_verbatim() -> None:
    assert NO_HANDLER.remedy is not None
    roots = rendered(report(outcomes={"containerd.handler": NO_HANDLER}))["nodes"][0]["root_causes"]
    assert roots[0]["remedy"]["commands"] == list(NO_HANDLER.remedy.commands)
    assert roots[0]["remedy"]["edits"] == [dataclasses.asdict(edit) for edit in NO_HANDLER.remedy.edits]


def test_blocked_checks_name_their_roots_and_advisory_ones_say_so() -> None:
    node = rendered(report(outcomes={"driver.module-loaded": NO_MODULE}))["nodes"][0]
    checks = {check["check"]: check for check in node["checks"]}
    assert checks["driver.nvml-answers"]["blocked_by"] == ["driver.module-loaded"]
    assert checks["driver.nvml-answers"]["status"] == "blocked"
    assert checks["driver.persistence"]["advisory"] is True
    assert checks["containerd.handler"]["routes"] == ["cri-handler"]
    assert checks["containerd.handler"]["family"] == "containerd"


def test_an_advisory_warning_is_no_root_cause() -> None:
    node = rendered(report(outcomes={"driver.persistence": PERSISTENCE}))["nodes"][0]
    assert "driver.persistence" not in [root["check"] for root in node["root_causes"]]
    assert {check["check"]: check["status"] for check in node["checks"]}["driver.persistence"] == "warn"


def test_an_unreachable_node_has_every_key_and_its_blocked_checks_count_as_judged() -> None:
    node = rendered(unreachable())["nodes"][0]
    assert node["verdict"] == "unreachable"
    assert node["hostname"] is None
    assert (node["checks_expected"], node["checks_run"]) == (len(CHECKS), len(CHECKS))
    assert [root["check"] for root in node["root_causes"]] == ["node.reachable"]
    assert len(node["root_causes"][0]["blocks"]) == len(CHECKS) - 1
    assert set(node["inventory"].values()) == {None}


def test_an_interrupted_node_has_run_fewer_checks_than_expected() -> None:
    whole = report(verdict="incomplete", reason="interrupted")
    half = dataclasses.replace(whole, findings=dict(list(whole.findings.items())[:4]))
    node = rendered(half)["nodes"][0]
    assert (node["checks_expected"], node["checks_run"], node["reason"]) == (len(CHECKS), 4, "interrupted")


def test_live_checks_are_expected_of_a_live_run_only() -> None:
    checks = {
        **CHECKS,
        "live.image": make("live.image", title="The image is there", func=lambda: failed("", expected="")),
    }
    assert render(run(report()), checks=checks)["nodes"][0]["checks_expected"] == len(CHECKS)
    assert render(run(report(), live=True), checks=checks)["nodes"][0]["checks_expected"] == len(CHECKS) + 1


def test_a_sites_own_check_is_expected_too() -> None:
    own = make("site.gpus", title="Two GPUs", func=lambda: failed("", expected=""))
    node = report()
    finding = dataclasses.replace(node.findings["node.reachable"], check=own)
    node = dataclasses.replace(node, findings={**node.findings, own.id: finding})
    found = rendered(node)["nodes"][0]
    assert found["checks_expected"] == found["checks_run"] == len(CHECKS) + 1
    assert found["checks"][-1]["family"] == "site"


def test_nodes_stand_in_the_order_asked_for() -> None:
    found = rendered(report("ssh://b"), unreachable("ssh://a"), report("ssh://c"))
    assert [node["node"] for node in found["nodes"]] == ["ssh://b", "ssh://a", "ssh://c"]
    assert found["verdict"] == "unreachable"


def test_no_node_at_all_is_never_ready() -> None:
    assert rendered()["verdict"] == "unknown"


def test_what_dumps_writes_loads_to_what_render_says() -> None:
    of = run(report(outcomes={"containerd.handler": NO_HANDLER}), unreachable())
    written = dumps(of, checks=CHECKS)
    assert written.isascii()
    assert written.endswith("}\n")
    assert json.loads(written) == render(of, checks=CHECKS)


HOSTILE = 'a\x1b[31mb\x00\r\nc\udcff\ud800 \u202e"},{"\\u0000\u2028</script>'


def test_whatever_a_node_says_the_output_is_valid_and_only_text() -> None:
    said = unknown(
        HOSTILE,
        expected=HOSTILE,
        where=Where(HOSTILE, 1),
        evidence=(Evidence(HOSTILE, HOSTILE),),
        remedy=Remedy(HOSTILE, (HOSTILE,), (Edit(HOSTILE, HOSTILE),)),
    )
    node = report(
        HOSTILE,
        {"containerd.handler": said},
        hostname=HOSTILE,
        reason=HOSTILE,
        required=Required(BOTH.names, HOSTILE),
        inventory={"os": HOSTILE, "gpus": [{"name": HOSTILE, "uuid": None}], HOSTILE: object()},
    )
    of = run(dataclasses.replace(node, duration=math.nan))
    found = json.loads(dumps(of, checks=CHECKS))
    texts = "".join(_texts(found))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]", texts)
    assert found["nodes"][0]["hostname"] == found["nodes"][0]["reason"] == 'ab c "},{"\\u0000</script>'
    assert found["nodes"][0]["duration_s"] == 0.0
    texts.encode()


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in _texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    ("missing", "word"), [("deadline", "timeout"), ("timeout", "timeout"), ("no-tool", "no-tool"), (None, None)]
)
def test_why_an_unknown_is_unknown_is_a_word(missing: Missing | None, word: str | None) -> None:
    node = report(outcomes={"driver.nvml-answers": unknown("free wording", missing=missing)})
    assert rendered(node)["nodes"][0]["root_causes"][0]["missing"] == word
