"""The JSON report's schema, as shipped: every report fits it, and what is closed or required is so."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.model import Missing, Status
from pytest_gpuready.report.json import render
from pytest_gpuready.report.model import Run, Verdict
from tests.report.sample import CHECKS, report, run
from tests.support.kubernetes import kubeadm
from tests.support.schema import SCHEMA, compared, faults, sample
from tests.support.simnode import SimNode


def test_a_report_beside_an_older_one_fits_and_without_one_has_no_such_keys() -> None:
    old, found = sample(), compared()
    assert faults(found) == []
    changes = {node["node"]: node["changes"] for node in found["nodes"]}
    assert [change["check"] for change in changes["ssh://root@n1"]["fixed"]] == [
        "containerd.handler",
        "containerd.restarted",
    ]
    assert changes["ssh://new"]["known"] is False
    assert changes["ssh://root@n3"]["newly_broken"] == [{"check": "containerd.handler", "was": "pass", "now": "fail"}]
    assert "local" in found["baseline"]["missing"]
    assert "baseline" not in old
    assert all("changes" not in node for node in old["nodes"])
    found["nodes"][0]["changes"]["fixed"] = [{"check": "x"}]
    assert faults(found) != []


def test_the_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_report_of_every_kind_of_node_fits() -> None:
    assert faults(sample()) == []


def test_a_run_over_no_node_fits() -> None:
    assert faults(render(run(), checks=CHECKS)) == []


@pytest.mark.parametrize(
    "node", [SimNode(), kubeadm(SimNode()), SimNode(uid=1000, systemd=False)], ids=["bare", "kubelet", "poor"]
)
def test_what_the_judge_says_of_a_node_fits(node: SimNode) -> None:
    """The whole catalogue as it is, on nodes where much fails."""
    made = render(Run((node.judge(),), "2026-11-22T09:00:00Z", 0.1, "pytest-gpuready"))
    assert made["nodes"][0]["root_causes"]
    assert faults(json.loads(json.dumps(made))) == []


def test_the_closed_words_are_those_of_the_code() -> None:
    assert set(SCHEMA["$defs"]["status"]["enum"]) == set(get_args(Status))
    assert set(SCHEMA["$defs"]["verdict"]["enum"]) == set(get_args(Verdict))
    assert SCHEMA["$defs"]["proof"]["enum"] == ["configured", "live"]
    missing = SCHEMA["$defs"]["root_cause"]["properties"]["missing"]["enum"]
    assert {*missing} == {*get_args(Missing), None} - {"deadline"}


def objects(document: Any) -> list[tuple[Any, ...]]:
    """The paths of a report's objects, one for each place that the schema has."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    waiting: list[tuple[Any, ...]] = [()]
    for path in waiting:
        value = at(document, path)
        if isinstance(value, dict):
            found.setdefault(tuple("*" if isinstance(key, int) or "-" in key else key for key in path), path)
        keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        waiting += [(*path, key) for key in keys]
    return list(found.values())


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def test_every_key_of_a_report_is_required_but_the_inventorys_own_and_the_names_of_routes() -> None:
    made = sample()
    free = []
    for path in objects(made):
        for key in at(made, path):
            less = copy.deepcopy(made)
            del at(less, path)[key]
            if not faults(less):
                free.append((*path, key))
    assert {path[-1] for path in free if path[-2] == "routes"} == set(made["nodes"][0]["routes"])
    assert {path[-1] for path in free if path[-2] != "routes"} <= {"kernel"}


def test_keys_may_be_added_everywhere() -> None:
    made = sample()
    for path in objects(made):
        more = copy.deepcopy(made)
        if path[-1:] != ("routes",):
            at(more, path)["added-later"] = {"a": 1}
        assert faults(more) == [], path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 2),
        (("verdict",), "broken"),
        (("started",), "yesterday"),
        (("duration_s",), -1),
        (("nodes", 1, "verdict"), "fail"),
        (("nodes", 1, "routes", "cri-handler", "verdict"), "unreachable"),
        (("nodes", 1, "routes", "cri-handler", "proof"), "guessed"),
        (("nodes", 1, "root_causes", 0, "status"), "pass"),
        (("nodes", 1, "root_causes", 0, "where"), {"path": "/etc", "line": 0}),
        (("nodes", 1, "root_causes", 0, "remedy", "commands"), "reboot"),
        (("nodes", 1, "checks", 0, "status"), "skipped"),
        (("nodes", 1, "inventory", "gpus"), [{"name": "H100"}]),
    ],
)
def test_a_word_or_shape_that_is_none_does_not_fit(path: tuple[Any, ...], value: object) -> None:
    made = sample()
    at(made, path[:-1])[path[-1]] = value
    assert faults(made) != []


def test_a_blocked_check_names_what_blocks_it() -> None:
    made = sample()
    blocked = next(check for check in made["nodes"][2]["checks"] if check["status"] == "blocked")
    blocked["blocked_by"] = []
    assert faults(made) != []


@given(st.text(max_size=60), st.text(max_size=60), st.floats())
def test_whatever_a_node_says_fits(word: str, other: str, number: float) -> None:
    node = report(f"ssh://{word}", hostname=other, reason=word, inventory={"os": other, word: number})
    assert faults(json.loads(json.dumps(render(run(node), checks=CHECKS)))) == []
