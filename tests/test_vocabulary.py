"""Snapshots of older releases: judged without what those releases did not ask, and the verdict says so.

`vocabulary/1.txt` holds what cd17f98 asked of two simulated nodes, an empty and a ready one. A request that is not in
it needs `since=2`. When a simulated node changes and an old request names another path there, that line is added to
the list. When a release freezes a vocabulary, its list becomes `vocabulary/N.txt` and `VOCABULARY` is N + 1.
`python -m tests.test_vocabulary` prints today's list.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.checks.catalogue import Check, make
from pytest_gpuready.judge import judge
from pytest_gpuready.model import NotAsked, Outcome, Settings, Undetermined, failed, passed, undetermined, unknown
from pytest_gpuready.node.facts import (
    REACH,
    SUDO,
    VOCABULARY,
    Fact,
    Facts,
    Recording,
    Request,
    file,
    files,
    glob,
    run,
    script,
    stat,
)
from pytest_gpuready.node.snapshot import SnapshotError, dumps, loads
from pytest_gpuready.report import html, markdown, readback, terminal
from pytest_gpuready.report.baseline import compare
from pytest_gpuready.report.json import render
from pytest_gpuready.views import VIEWS, View, Views
from tests.report.sample import run as run_of
from tests.support import nodes
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_gpuready.report.model import NodeReport
    from pytest_gpuready.views.platform import Platform

LISTS = Path(__file__).parent / "vocabulary"
ROUTE = Settings(routes=("cri-handler",))

NEW = file("/etc/new", since=VOCABULARY)
NEW_LIST = script("list, framed", "echo new", since=VOCABULARY)
OLD_LIST = script("list", "echo old")


# ---------------------------------------------------------------------------------------------------- the vocabulary


def asked_now() -> dict[str, Request]:
    """What an empty and a ready simulated node are asked, each with the line that stands for it in a list."""
    requests = [*Views(Facts("empty")).wants(), *(request for request, _ in nodes.ready().facts())]
    return {json.dumps([request.kind, *request.arg]): request for request in requests if request.kind != "node"}


def frozen() -> dict[int, set[str]]:
    return {int(path.stem): set(path.read_text("utf-8").splitlines()) for path in LISTS.glob("*.txt")}


def test_every_request_names_the_vocabulary_that_first_has_it() -> None:
    known = frozen()
    assert sorted(known) == list(range(1, VOCABULARY)), "VOCABULARY is one more than the newest list"
    first = {line: number for number in sorted(known, reverse=True) for line in known[number]}
    wrong = [
        f"{line} has since={request.since}, needs since={first.get(line, VOCABULARY)}"
        for line, request in asked_now().items()
        if request.since != first.get(line, VOCABULARY)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("make_request", [file, stat, glob, files, run, lambda a, **k: script(a, "body", **k)])
def test_since_is_no_part_of_a_requests_identity(make_request: Callable[..., Request]) -> None:
    newer = make_request("/a", since=7)
    assert (newer.since, make_request("/a").since) == (7, 1)
    assert newer == make_request("/a")
    assert hash(newer) == hash(make_request("/a"))


# ---------------------------------------------------------------------------------------------------- facts


def old(*facts: tuple[Request, Fact], taken: str | None = None) -> Facts:
    return Facts("n", facts, recording=Recording(taken, 1))


def test_a_newer_request_is_unasked_in_an_old_snapshot() -> None:
    """On a node it is missing."""
    with pytest.raises(NotAsked, match=r"^this snapshot was taken before /etc/new was asked$"):
        old().fact(NEW)
    for recording in (None, Recording(None, VOCABULARY)):
        with pytest.raises(Undetermined, match="/etc/new was not looked at") as caught:
            Facts("n", recording=recording).fact(NEW)
        assert not isinstance(caught.value, NotAsked)


def test_an_old_request_that_an_old_snapshot_lacks_stays_undetermined() -> None:
    with pytest.raises(Undetermined, match="was not looked at") as caught:
        old().fact(file("/etc/old"))
    assert not isinstance(caught.value, NotAsked)


def test_a_newer_fact_that_an_old_snapshot_holds_is_read() -> None:
    assert old((NEW, Fact("ok", b"there"))).text(NEW) == "there"


def test_paths_are_asked_with_since_too() -> None:
    facts = old()
    for read in (facts.exists, facts.stat, facts.glob):
        with pytest.raises(NotAsked):
            read("/etc/new", since=VOCABULARY)
        with pytest.raises(Undetermined, match="was not looked at"):
            read("/etc/new")


def test_the_newest_request_that_the_snapshot_knew_is_chosen() -> None:
    assert old().newest(NEW_LIST, OLD_LIST) is OLD_LIST
    assert Facts("n").newest(NEW_LIST, OLD_LIST) is NEW_LIST
    assert Facts("n", recording=Recording(None, VOCABULARY)).newest(NEW_LIST, OLD_LIST) is NEW_LIST


class Toy(View):
    """A view whose second request is newer, and whose list has a newer form."""

    @classmethod
    def requests(cls, views: Views) -> Iterable[Request]:
        yield file("/etc/old")
        yield NEW
        yield views.facts.newest(NEW_LIST, OLD_LIST)


def test_an_old_snapshot_is_asked_nothing_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Views, "toy", property(Toy), raising=False)
    monkeypatch.setattr("pytest_gpuready.views.VIEWS", (*VIEWS, "toy"))
    assert {NEW, NEW_LIST} <= set(Views(Facts("n")).wants())
    wants = set(Views(old()).wants())
    assert OLD_LIST in wants
    assert not {NEW, NEW_LIST} & wants


# ---------------------------------------------------------------------------------------------------- the verdict


def as_snapshot(node: SimNode, vocabulary: int = 1) -> Facts:
    """The facts of a snapshot of this node, as a release of that vocabulary wrote it."""
    meta = {"generator": "g", "taken": "2026-11-22T09:00:00Z"}
    node.vocabulary = vocabulary
    document = json.loads(dumps(node.facts(), meta))
    document["vocabulary"] = vocabulary
    document["facts"] = [entry for entry in document["facts"] if entry["arg"] != ["/etc/new"]]
    if vocabulary == 1:
        del document["vocabulary"]
    return loads(json.dumps(document), "n.json")[0]


def needs_new(platform: Platform) -> Outcome:
    """Read what is newer."""
    return passed("there") if platform.facts.text(NEW) else failed("not there", expected="there")


def needs_new_by_route(platform: Platform) -> dict[str, Outcome]:
    """Answer by route, as checks do that catch what cannot be known."""
    try:
        return {"cri-handler": needs_new(platform), "ctr-gpus": passed("there")}
    except Undetermined as error:
        return {"cri-handler": undetermined(error), "ctr-gpus": passed("there")}


def good() -> Outcome:
    """Hold."""
    return passed("ok")


def checks(
    *newer: str, func: Callable[..., Any] = needs_new, advisory: bool = False, held: bool = True
) -> dict[str, Check]:
    made = [make("node.reachable", title="x", func=good)]
    made += [make("containerd.running", title="x", func=good)] if held else []
    made += [make(check_id, title=check_id, func=func, advisory=advisory) for check_id in newer]
    return {check.id: check for check in made}


def judged(facts: Facts, *newer: str, settings: Settings = ROUTE, **more: Any) -> NodeReport:
    return judge(facts, settings, checks=checks(*newer, **more))


@pytest.mark.parametrize("func", [needs_new, needs_new_by_route])
def test_a_check_newer_than_the_snapshot_is_not_applicable(
    func: Callable[..., Any],
) -> None:
    report = judged(as_snapshot(nodes.ready()), "containerd.handler", "containerd.restarted", func=func)
    found = report.findings["containerd.handler"]
    assert found.status == "not-applicable"
    assert found.outcome.found == "this snapshot was taken before /etc/new was asked"
    assert report.verdict == "ready"
    assert report.snapshot is not None
    assert dataclasses.astuple(report.snapshot) == ("2026-11-22T09:00:00Z", 2)


def test_on_a_node_and_in_a_new_snapshot_it_is_unknown() -> None:
    for facts in (SimNode().facts(), as_snapshot(nodes.ready(), VOCABULARY)):
        report = judged(facts, "containerd.handler")
        assert report.findings["containerd.handler"].status == "unknown"
        assert report.verdict == "unknown"
    assert report.snapshot is not None
    assert report.snapshot.newer_checks == 0
    assert judged(SimNode().facts()).snapshot is None


def test_a_newer_check_outside_the_verdict_is_not_counted() -> None:
    facts = as_snapshot(nodes.ready())
    for report in (judged(facts, "cdi.enabled"), judged(facts, "containerd.handler", advisory=True)):
        assert report.verdict == "ready"
        assert report.snapshot is not None
        assert report.snapshot.newer_checks == 0


def test_a_route_of_which_nothing_but_newer_checks_is_known_is_unknown() -> None:
    report = judged(as_snapshot(nodes.ready()), "containerd.handler", held=False)
    assert report.verdict == "unknown"


def test_what_needs_a_newer_check_is_judged() -> None:
    catalogue = checks("containerd.handler")
    after = make(
        "containerd.restarted", title="x", func=lambda: failed("x", expected="y"), needs=["containerd.handler"]
    )
    report = judge(as_snapshot(nodes.ready()), ROUTE, checks={**catalogue, after.id: after})
    assert report.verdict == "not-ready"
    assert report.routes["cri-handler"].roots == ("containerd.restarted",)


def test_the_suite_finds_the_same_in_the_first_vocabulary() -> None:
    for make_node in nodes.SNAPSHOTS.values():
        then, now = judge(as_snapshot(make_node()), Settings()), judge(make_node().facts(), Settings())
        assert then.verdict == now.verdict
        assert {i: f.status for i, f in then.findings.items()} == {i: f.status for i, f in now.findings.items()}


def test_another_answer_than_unknown_keeps_the_checks_own_words() -> None:
    assert undetermined(Undetermined("why"), "found", expected="e") == unknown("found", expected="e")
    assert undetermined(NotAsked("X"), "found").found == "this snapshot was taken before X was asked"


# ---------------------------------------------------------------------------------------------------- files


def test_a_snapshot_keeps_its_vocabulary_and_time() -> None:
    now = loads(dumps(Facts("n"), {"taken": "2026-11-22T09:00:00Z"}), "x")[0]
    assert now.recording == Recording("2026-11-22T09:00:00Z", VOCABULARY)
    assert loads(dumps(old(), {}), "x")[0].recording == Recording(None, 1)


@pytest.mark.parametrize("said", [0, -1, True, "2", None, 1.5, [2]])
def test_a_vocabulary_that_is_no_number_is_refused(said: object) -> None:
    with pytest.raises(SnapshotError, match=r"x\.json is damaged: its vocabulary is "):
        loads(json.dumps({"gpuready_snapshot": 1, "vocabulary": said, "facts": []}), "x.json")


@pytest.mark.parametrize("said", [3, None, "yesterday", "2026-11-22T09:00:00Z\n"])
def test_a_time_that_is_none_is_left_out(said: object) -> None:
    facts, _ = loads(json.dumps({"gpuready_snapshot": 1, "taken": said, "facts": []}), "x")
    assert facts.recording == Recording(None, 1)


# ---------------------------------------------------------------------------------------------------- reports

ONE = "; 1 newer check not asked"


def one(label: str = "n") -> NodeReport:
    facts = as_snapshot(nodes.ready())
    return judged(Facts(label, facts, recording=facts.recording), "containerd.handler")


def text(*reports: NodeReport, **more: Any) -> list[str]:
    return [line.text for line in terminal.lines(run_of(*reports), width=200, **more)]


def test_every_report_says_it_beside_the_verdict() -> None:
    for verbosity in (-1, 0, 1):
        assert (
            text(one(), verbosity=verbosity)[-1] == f"gpuready: n is READY{ONE} (configuration; no container was run)"
        )
    assert markdown.chat(run_of(one()))[0] == f"**READY{ONE}**: `n`  "
    page = html.page(run_of(one()))
    assert f"READY<small>{ONE} (configuration" in page
    assert f"<title>n is ready{ONE}</title>" in page


def test_several_nodes_are_kept_apart_by_it() -> None:
    several = (one("a"), judged(SimNode(label="b").facts()))
    lines = text(*several)
    assert lines[-1] == "gpuready: 2 nodes: 2 ready; newer checks not asked of 1 node"
    assert any(line.startswith("a ") and f"ready{ONE} (" in line for line in lines)
    assert any(line.startswith("b ") and "ready (" in line for line in lines)
    assert markdown.chat(run_of(*several))[0] == "**2 nodes**: 2 ready; newer checks not asked of 1 node  "
    page = html.page(run_of(*several))
    assert "All 2 nodes are ready; newer checks not asked of 1 node" in page
    assert f"Ready{ONE}: configuration" in page


def test_a_node_that_is_not_ready_omits_it() -> None:
    catalogue = checks("containerd.handler")
    bad = make("containerd.restarted", title="x", func=lambda: failed("x", expected="y"))
    report = judge(as_snapshot(nodes.ready()), ROUTE, checks={**catalogue, bad.id: bad})
    assert "newer" not in text(report)[-1]
    assert render(run_of(report))["nodes"][0]["snapshot"]["newer_checks"] == 1


def test_json_holds_it_and_is_read_back_as_it_was() -> None:
    (entry,) = render(run_of(one()))["nodes"]
    assert entry["snapshot"] == {"taken": "2026-11-22T09:00:00Z", "newer_checks": 1}
    again = readback.node(entry, Settings())
    assert again.snapshot == one().snapshot
    assert text(again) == text(one())
    assert render(run_of(judged(SimNode().facts())))["nodes"][0]["snapshot"] is None


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (None, None),
        ("x", None),
        ([], None),
        ({}, (None, 0)),
        ({"taken": 1, "newer_checks": "3"}, (None, 0)),
        ({"taken": "2026-11-22T09:00:00Z", "newer_checks": -1}, ("2026-11-22T09:00:00Z", 0)),
    ],
)
def test_what_a_report_says_amiss_of_its_snapshot_is_left_out(said: object, read: tuple[object, ...] | None) -> None:
    (entry,) = render(run_of(one()))["nodes"]
    found = readback.node({**entry, "snapshot": said}, Settings()).snapshot
    assert (None if found is None else dataclasses.astuple(found)) == read


def test_a_check_that_was_not_asked_is_not_mended() -> None:
    (entry,) = render(run_of(one()))["nodes"]
    for check in entry["checks"]:
        check["status"] = "fail"
    changes = compare(run_of(one()), {"nodes": [entry]}).nodes["n"]
    assert [change.what for change in changes.fixed] == ["node.reachable", "containerd.running"]


def test_a_vocabulary_from_the_future_knows_everything() -> None:
    facts = Facts("n", [(REACH, Fact("ok")), (SUDO, Fact("ok"))], recording=Recording(None, VOCABULARY + 5))
    assert facts.knows(NEW)
    assert judged(facts, "containerd.handler").verdict == "unknown"


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in sorted(asked_now())))
