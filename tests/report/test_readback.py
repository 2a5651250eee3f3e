"""A JSON report read back is the report that it was made of, and no better than the routes that it shows."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from pytest_gpuready.checks.catalogue import FAMILIES, catalogue
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings, failed
from pytest_gpuready.node.snapshot import read, shipped
from pytest_gpuready.report import html, markdown, readback, terminal
from pytest_gpuready.report.json import dumps, render
from pytest_gpuready.routes import Required
from tests.fuzz.whole import validate
from tests.report.hostile import CONTROLS, PAYLOADS, hostile_node
from tests.report.sample import NO_HANDLER, NVML_HANGS, PERSISTENCE, report, run, unreachable

ANY = Settings()


def written(*nodes: Any) -> list[dict[str, Any]]:
    """The nodes of the JSON report of a run."""
    loaded: list[dict[str, Any]] = json.loads(dumps(run(*nodes)))["nodes"]
    return loaded


def back(entry: Any, settings: Settings = ANY) -> Any:
    return readback.node(entry, settings)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_is_read_back_says_the_same_as_json_again(name: str) -> None:
    node = dataclasses.replace(judge(read(name)[0], ANY), hostname="gpu01", duration=0.4)
    (entry,) = written(node)
    assert written(back(entry)) == [entry]


@pytest.mark.parametrize(
    "node",
    [
        report(outcomes={"containerd.handler": NO_HANDLER, "driver.persistence": PERSISTENCE}),
        report(outcomes={"driver.nvml-answers": NVML_HANGS}),
        unreachable(),
    ],
    ids=["not-ready", "unknown", "unreachable"],
)
def test_people_read_of_it_what_they_read_of_the_run(node: Any) -> None:
    (entry,) = written(node)
    read, told = run(back(entry)), run(node)
    assert terminal.lines(read) == terminal.lines(told)
    assert markdown.dumps(read) == markdown.dumps(told)


def test_the_html_page_of_it_holds_cause_and_remedy() -> None:
    (entry,) = written(report(outcomes={"containerd.handler": NO_HANDLER}))
    page = html.page(run(back(entry)))
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "no handler runs nvidia-container-runtime" in page
    assert "sudo systemctl restart containerd" in page
    assert "script-src 'sha256-" in page


def test_checks_and_keys_of_a_newer_release_or_a_site_stay_as_they_are() -> None:
    (entry,) = written(report())
    new = {
        "check": "site.gpus",
        "family": "site",
        "status": "fail",
        "advisory": False,
        "routes": ["ctr-gpus"],
        "found": "6 GPUs",
        "new key": {},
    }
    entry["checks"].append(new)
    entry["root_causes"].append({**new, "title": "eight GPUs", "evidence": [{"source": "test_x", "text": "E"}]})
    entry["routes"]["ctr-gpus"].update(verdict="not-ready", roots=["site.gpus"])
    entry.update(verdict="not-ready", another="key")
    node = back(entry)
    found = node.findings["site.gpus"]
    assert (found.check.title, found.status, found.keeps) == ("eight GPUs", "fail", ("ctr-gpus",))
    assert found.outcome.evidence[0].text == "E"
    assert found.check.family not in FAMILIES
    assert node.verdict == "not-ready"


def test_a_route_of_a_newer_release_is_judged_as_the_report_has_it() -> None:
    (entry,) = written(report())
    entry["routes"]["nri"] = {"verdict": "unknown", "proof": "configured", "required": True, "roots": ["x.y"]}
    entry["required_routes"]["names"].append("nri")
    node = back(entry)
    assert node.verdict == "unknown"
    assert node.findings["x.y"].outcome.found.startswith("it keeps nri from being ready")
    assert terminal.lines(run(node))


@pytest.mark.parametrize(
    "change",
    [
        {"routes": {}},
        {"routes": {"ctr-gpus": {"verdict": "ready", "required": True}}},
        {"checks": []},
        {"checks": [{"check": "node.reachable", "status": "pass"}]},
        {"required_routes": {"names": [], "because": ""}},
        {"required_routes": None},
        {"verdict": "perfect"},
        {"verdict": None},
        {"verdict": "unknown"},
    ],
)
def test_a_report_that_calls_a_node_ready_and_does_not_bear_it_out_is_not_believed(change: dict[str, Any]) -> None:
    (entry,) = written(report())
    assert back(entry).verdict == "ready"
    assert back({**entry, **change}).verdict == "unknown"


@pytest.mark.parametrize("verdict", ["not-ready", "incomplete", "unreachable"])
def test_a_verdict_that_is_worse_than_its_routes_stays(verdict: str) -> None:
    (entry,) = written(report())
    assert back({**entry, "verdict": verdict}).verdict == verdict


def test_routes_that_are_asked_for_replace_those_that_were_required() -> None:
    (entry,) = written(report(outcomes={"containerd.handler": NO_HANDLER}))
    asked = Settings(routes=("ctr-gpus",), sources={"routes": "--gpuready-routes ctr-gpus"})
    node = back(entry, asked)
    assert (node.verdict, node.required.because) == ("ready", "--gpuready-routes ctr-gpus")
    assert node.findings["containerd.handler"].keeps == ()
    node = back(entry, Settings(routes=("cri-handler",)))
    assert node.verdict == "not-ready"
    assert node.findings["containerd.handler"].keeps == ("cri-handler",)
    assert back(entry, Settings(routes=("any",))).verdict == "ready"
    assert back(entry, Settings(routes=("all",))).verdict == "not-ready"
    assert back(entry, Settings(routes=("cri-default",))).verdict == "unknown", "the report says nothing of it"


def test_a_sites_own_failure_counts_whatever_routes_are_asked_for() -> None:
    (entry,) = written(report())
    entry["checks"].append({"check": "site.gpus", "status": "fail", "found": "6", "routes": []})
    assert back(entry, Settings(routes=("ctr-gpus",))).verdict == "not-ready"


def test_a_root_that_the_report_does_not_tell_of_is_said_to_be_untold() -> None:
    (entry,) = written(report())
    assert entry["routes"]["ctr-cdi"]["verdict"] == "not-ready"
    for check in entry["checks"]:
        check["status"] = "pass"
    node = back({**entry, "root_causes": []}, Settings(routes=("ctr-cdi",)))
    assert node.verdict == "not-ready"
    assert [root.check.id for root in node.roots if root.keeps] == ["cdi.spec-present"]


def test_of_several_routes_of_any_one_is_enough() -> None:
    (entry,) = written(report(outcomes={"containerd.handler": NO_HANDLER}))
    entry["required_routes"]["mode"] = "any"
    assert back({**entry, "verdict": "ready"}).verdict == "ready"


def test_a_sentence_about_any_does_not_make_one_route_enough() -> None:
    (entry,) = written(report(outcomes={"containerd.handler": NO_HANDLER}))
    entry["required_routes"]["because"] = "--gpuready-routes any: at least one of those that this node offers"
    assert back({**entry, "verdict": "ready"}).verdict == "not-ready"


@pytest.mark.parametrize(("said", "read"), [("truncated", "truncated"), ("no such word", None), (["timeout"], None)])
def test_why_an_unknown_is_unknown_is_read_where_it_is_a_word_of_the_schema(said: Any, read: str | None) -> None:
    (entry,) = written(report(outcomes={"driver.nvml-answers": NVML_HANGS}))
    entry["root_causes"][0]["missing"] = said
    assert back(entry).findings["driver.nvml-answers"].outcome.missing == read


def test_mode_and_offered_are_read_as_they_stand() -> None:
    some = Required(("ctr-gpus", "cri-handler"), "pytest.ini", "any")
    (entry,) = written(report(required=some))
    node = back(entry)
    assert node.required == some
    assert {name: route.offered for name, route in node.routes.items()} == {
        "ctr-gpus": True,
        "ctr-cdi": True,
        "cri-handler": True,
        "nerdctl": False,
    }
    asked = back(entry, Settings(routes=("all",), sources={"routes": "gpuready_routes = all in tox.ini"}))
    assert asked.required.names == ("ctr-gpus", "ctr-cdi", "cri-handler")
    assert asked.required.because == "gpuready_routes = all in tox.ini: every route that this node offers"


def test_how_many_checks_were_expected_is_what_its_own_run_expected() -> None:
    old, new = written(report("ssh://a"), report("ssh://b"))
    del old["checks"][-1]
    old.update(checks_expected=9, checks_run=9)
    made = render(run(back(old), back(new)))["nodes"]
    assert [(node["checks_expected"], node["checks_run"]) for node in made] == [(9, 9), (new["checks_expected"], 10)]


@pytest.mark.parametrize("payload", PAYLOADS[:-1], ids=range(len(PAYLOADS) - 1))
def test_words_of_a_hostile_report_get_nowhere(payload: str) -> None:
    (entry,) = written(hostile_node(payload))
    raw: dict[str, Any] = entry
    for check in (*raw["checks"], *raw["root_causes"]):
        check.update(found=payload, expected=payload, title=payload)
        check["where"] = {"path": payload, "line": 2}
    raw.update(node=f"ssh://{payload}x", hostname=payload, reason=payload, inventory={"os": payload, payload: payload})
    raw["checks"].append({"check": payload or "x", "status": payload, "found": payload, "blocked_by": [payload]})
    raw["routes"][payload] = {"verdict": payload, "roots": [payload], "required": payload}
    node = back(raw)
    made = run(node)
    texts = [
        "\n".join(line.text for line in terminal.lines(made, verbosity=2)),
        markdown.dumps(made),
        html.page(made),
        dumps(made),
    ]
    assert not [control for control in CONTROLS for text in texts if control in text]
    assert "<script>window.pwned" not in texts[2]
    assert "onerror=window" not in texts[2].replace("&lt;img src=x onerror=window", "")


@pytest.mark.parametrize(
    "entry",
    [None, 7, [], {}, {"node": ""}, {"node": 7}, {"node": "\x1b[0m"}, {"node": "n", "checks": {}, "routes": {}},
     {"node": "n", "checks": [], "routes": []}, {"node": "n", "checks": [{}] * 5000, "routes": {}}],
    ids=range(10),
)  # fmt: skip
def test_a_node_that_cannot_be_made_out_is_an_error(entry: Any) -> None:
    with pytest.raises(readback.ReportError):
        back(entry)


def test_values_of_other_kinds_than_the_schemas_are_no_error() -> None:
    entry: dict[str, Any] = {
        "node": "n1",
        "verdict": ["ready"],
        "reason": 7,
        "hostname": {},
        "duration_s": float("nan"),
        "required_routes": {"names": "ctr-gpus", "because": None},
        "checks_expected": -3,
        "routes": {"ctr-gpus": None, "ctr-cdi": {"verdict": {}, "proof": [], "roots": {"a": 1}, "required": "yes"}},
        "root_causes": {"x": 1},
        "checks": [
            None,
            {"check": None},
            {"check": "a.b", "status": [], "found": None, "where": {"path": "/x", "line": True}, "routes": [1, None]},
            {"check": "a.c", "status": "fail", "where": 7, "remedy": "none", "evidence": {"a": "b"}},
        ],
        "inventory": {"gpus": [None, {"name": 1, "uuid": "u"}], "os": 7},
    }
    node = back(entry)
    assert node.verdict == "unknown"
    assert node.findings["a.b"].status == "unknown"
    assert node.inventory["gpus"] == [{"name": None, "uuid": "u"}]
    assert (node.duration, node.expected) == (0.0, 2)
    assert dumps(run(node))
    for duration in (True, "1", -1, 10**400, float("inf")):
        assert back({**entry, "duration_s": duration}).duration == 0.0


def test_a_command_that_cleaning_would_change_is_none() -> None:
    (entry,) = written(report(outcomes={"containerd.handler": NO_HANDLER}))
    for cause in entry["root_causes"]:
        if cause["remedy"]:
            cause["remedy"]["commands"] = ["rm -rf /tmp/x\u202e/"]
    assert back(entry).findings["containerd.handler"].outcome.remedy.commands == ()


def test_what_a_report_tells_of_a_node_is_bounded() -> None:
    (entry,) = written(report(outcomes={"containerd.handler": NO_HANDLER}))
    (cause,) = [cause for cause in entry["root_causes"] if cause["check"] == "containerd.handler"]

    def told(**remedy: Any) -> Any:
        cause["remedy"] = {"summary": "s", "commands": ["true"], "edits": [], **remedy}
        return back(entry).findings["containerd.handler"].outcome

    assert told().remedy.commands == ("true",)
    assert told(commands=["true"] * 65).remedy.commands == ()
    assert told(commands=["true", "x" * 300_000]).remedy.commands == (), "a part of the commands is not the remedy"
    assert told(edits=[{"path": "/a", "diff": "x"}] * 65).remedy.edits == ()
    assert len(told(edits=[{"path": "/a", "diff": "x" * 300_000}]).remedy.edits[0].diff) < 270_000
    cause["evidence"] = [{"source": "a", "text": "b"}] * 100
    assert len(told().evidence) == 64
    with pytest.raises(readback.ReportError):
        back({**entry, "routes": {f"r{number}": {} for number in range(300)}})


def test_texts_that_are_missing_or_empty_do_not_break_the_schema() -> None:
    """The title of the check stands in for an empty one; an empty command and a family without a name are none."""
    (entry,) = written(report(outcomes={"containerd.handler": NO_HANDLER}))
    (cause,) = [cause for cause in entry["root_causes"] if cause["check"] == "containerd.handler"]
    cause["remedy"]["commands"] = ["", "true"]
    entry["checks"].append({"check": ".x", "status": "fail", "found": "bad"})
    for empty in ("", " ", "\x1b[1m"):
        cause["title"] = empty
        node = back(entry)
        validate(json.loads(dumps(run(node))))
        assert node.findings["containerd.handler"].check.title == catalogue()["containerd.handler"].title
        assert node.findings["containerd.handler"].outcome.remedy.commands == ("true",)


def test_a_route_without_a_name_is_left_out() -> None:
    (entry,) = written(report())
    (made,) = written(back({**entry, "routes": {**entry["routes"], "": {}, "\x1b[1m": {"verdict": "ready"}}}))
    assert made["routes"] == entry["routes"]


@pytest.mark.parametrize("blocked_by", [[], None, "node.reachable", [7], [""]])
def test_a_check_that_nothing_blocks_is_not_blocked(blocked_by: Any) -> None:
    (entry,) = written(report())
    entry["checks"].append({"check": "site.gpus", "status": "blocked", "found": "", "blocked_by": blocked_by})
    assert back(entry).findings["site.gpus"].status == "unknown"


def test_an_advisory_check_stays_what_its_report_says() -> None:
    (entry,) = written(report(outcomes={"toolkit.container-cli": failed("x", expected="y")}))
    for check in entry["checks"]:
        check["advisory"] = True
    assert back(entry).findings["toolkit.container-cli"].check.advisory
