"""Files become results; what one of them does costs no other."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.merge import work
from pytest_gpuready.merge.find import Place, find
from pytest_gpuready.merge.work import Lost, Result, look, results
from pytest_gpuready.model import Settings
from pytest_gpuready.report.json import render
from tests.merge.support import json_report, snapshot
from tests.report.sample import report, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GOOD = Settings()


def place(path: Path) -> Place:
    return Place(str(path), path.name)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"gpuready_snapshot": 1, "facts": [{"kind": "fi', "is no JSON: Unterminated string"),
        (b"\x7fELF\x02\x01\xff\xfe", "is not UTF-8 text"),
        (b"[" * 200_000, "is no JSON: lists or objects nested more than 64 deep"),
        (b"gpuready: asking 3 nodes\n{}", "is no JSON: Expecting value"),
        (b"1" * 5000, "is no JSON: a number of 5000 digits"),
        (b'{"gpuready_snapshot": 2}', "was written by a newer pytest-gpuready"),
        (b'{"gpuready_snapshot": 1, "facts": [NaN]}', "is no JSON: facts[0]: NaN is not JSON"),
        (b'{"gpuready_snapshot": 1, "facts": {}}', "is damaged: it holds no list of facts"),
        (b'{"schema": 2, "nodes": []}', "has schema 2; this pytest-gpuready reads 1"),
        (b'{"schema": true, "nodes": []}', "has schema True"),
        (b'{"schema": 1, "nodes": {}}', "is damaged: it holds no list of nodes"),
        (b'{"schema": 1, "nodes": [7]}', "is damaged: its node 1 names no node"),
        (b'{"schema": 1, "nodes": [{"node": "n1"}]}', "is damaged: its node 1 says nothing of the checks of n1"),
    ],
    ids=range(15),
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, raw: bytes, why: str) -> None:
    (tmp_path / "n1.json").write_bytes(raw)
    snapshot(tmp_path / "n2.json")
    lost, good = look([place(tmp_path / "n1.json"), place(tmp_path / "n2.json")], GOOD)
    assert isinstance(lost, Lost)
    assert lost.why.startswith(why)
    assert lost.ours
    assert "\n" not in lost.why
    assert isinstance(good, Result)
    assert good.report.verdict == "ready"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"null", b'{"schema": 1}', b'{"plays": [], "stats": {}}'])
def test_json_of_others_is_no_lost_result(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "facts.json").write_bytes(raw)
    (lost,) = look([place(tmp_path / "facts.json")], GOOD)
    assert lost == Lost("facts.json", "is neither a snapshot nor a JSON report of pytest-gpuready", ours=False)


def test_a_damaged_node_of_a_report_costs_no_other_node_of_it(tmp_path: Path) -> None:
    path = json_report(tmp_path / "r.json", report("ssh://n1"), report("ssh://n2"), report("ssh://n3"))
    document = json.loads(path.read_text())
    document["nodes"][1] = {"node": "ssh://n2", "checks": None}
    path.write_text(json.dumps(document))
    first, lost, third = look([place(path)], GOOD)
    assert isinstance(first, Result)
    assert isinstance(third, Result)
    assert (first.report.node, third.report.node) == ("ssh://n1", "ssh://n3")
    assert lost == Lost("r.json", "is damaged: its node 2 says nothing of the checks of ssh://n2")


def test_an_error_of_ours_is_a_sentence_and_costs_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(tmp_path / "n1.json")
    json_report(tmp_path / "n2.json")

    def broken(*_: object) -> None:
        raise ZeroDivisionError("\x1b[31mwhat")

    monkeypatch.setattr(work, "judged", broken)
    lost, good = look([place(tmp_path / "n1.json"), place(tmp_path / "n2.json")], GOOD)
    assert isinstance(lost, Lost)
    assert lost.why == "could not be judged: pytest-gpuready itself failed: ZeroDivisionError: what"
    assert isinstance(good, Result)


def test_what_takes_too_much_memory_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot(tmp_path / "n1.json")

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(work, "judged", full)
    assert look([place(tmp_path / "n1.json")], GOOD) == [Lost("n1.json", "takes more memory than one file may")]


def test_a_time_that_is_none_says_less_than_when_the_file_was_written(tmp_path: Path) -> None:
    for number, taken in enumerate(("2026-11-22T09:00:00Z", "2026-13-99T09:00:00Z", "yesterday", 7, None)):
        path = snapshot(tmp_path / f"{number}.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "taken": taken}))
        os.utime(path, (1, 1))
    found = look([place(tmp_path / f"{number}.json") for number in range(5)], GOOD)
    assert [one.began for one in found if isinstance(one, Result)] == [1795338000.0, 1, 1, 1, 1]


def test_a_snapshot_of_a_live_run_is_judged_with_its_containers(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "n1.json")
    document = json.loads(path.read_text())
    document["facts"].append({"kind": "script", "arg": ["live containers"], "state": "ok", "rc": 0})
    path.write_text(json.dumps(document))
    (found,) = look([place(path)], GOOD)
    assert isinstance(found, Result)
    assert found.live
    assert "live.ctr-gpus" in found.report.findings
    assert found.report.verdict == "unknown", "the run left nothing that says that a container ran"


# ---------------------------------------------------------------------------------------------------- processes


def told(places: Sequence[Place], jobs: int) -> list[object]:
    said = [one for _, found in results(places, GOOD, jobs) for one in found]
    return [one if isinstance(one, Lost) else (one.shown, one.began, render(run(one.report))["nodes"]) for one in said]


@pytest.mark.slow
def test_results_and_their_order_are_the_same_with_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("ready", "not-restarted", "wrong-table", "h200")
    for number in range(9):
        snapshot(tmp_path / f"n{number}.json", kinds[number % 4], hostname=f"n{number}", gpus=f"{number:08x}")
    (tmp_path / "n3.json").write_text("{")
    places = find([str(tmp_path)]).places
    alone = told(places, 1)
    assert len(alone) == 9
    monkeypatch.setattr(work, "BATCH", 2)
    assert told(places, 1) == alone
    assert told(places, 3) == alone


@pytest.mark.slow
def test_a_file_that_kills_its_process_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that ends its process where it meets the word: as the kernel ends one that takes all memory."""
    for number in range(6):
        snapshot(tmp_path / f"n{number}.json", hostname=f"n{number}")
    sitecustomize = tmp_path / "site" / "sitecustomize.py"
    sitecustomize.parent.mkdir()
    sitecustomize.write_text(
        "import os\n"
        "import pytest_gpuready.merge.find as find\n"
        "old = find.read\n"
        "def read(place):\n"
        "    if place.shown.endswith('n3.json'):\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return old(place)\n"
        "find.read = read\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{sitecustomize.parent}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(work, "BATCH", 2)
    found = [one for _, said in results(find([str(tmp_path)]).places, GOOD, 2) for one in said]
    assert [one.shown.rpartition("/")[2] for one in found] == [f"n{number}.json" for number in range(6)]
    assert [one.why for one in found if isinstance(one, Lost)] == [
        "could not be judged: the process that did so was killed"
    ]
