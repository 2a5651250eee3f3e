"""What pytest's items show: a finding, a family's findings as one, and what a worker is handed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import FAMILIES
from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import parse_all
from pytest_gpuready.node.transport import Options
from pytest_gpuready.runner import Runner
from pytest_gpuready.shown import Shown, pack, shown, together, unpack
from tests.support.fleet import write

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.report.model import Run

PASS = Shown("pass", "passed")
FAIL = Shown("fail", "failed", "it is missing", "a.one: it is missing\nremedy    install it", (), ("install it", "apt"))
UNKNOWN = Shown("unknown", "failed", "no answer", "a.two: no answer")
BLOCKED = Shown("blocked", "skipped", "blocked by x.root", "", ("x.root",))
OTHER = Shown("fail", "skipped", "fail, not counted (advisory): odd", "odd")
WARN = Shown("warn", "passed")
NONE = Shown("not-applicable", "skipped", "not applicable: no such thing", "")


def test_a_family_is_as_its_worst_finding() -> None:
    """What counts, what follows, what asks for attention, what passed, what does not count, what does not apply."""
    order = [FAIL, UNKNOWN, BLOCKED, WARN, PASS, OTHER, NONE]
    for worse, better in itertools.combinations(order, 2):
        for entries in ({"a.one": worse, "a.two": better}, {"a.one": better, "a.two": worse}):
            whole = together(entries)
            assert (whole.status, whole.outcome) == (worse.status, worse.outcome)


def test_a_family_that_fails_names_every_finding_that_counts_in_full() -> None:
    whole = together({"a.zero": PASS, "a.one": FAIL, "a.two": UNKNOWN, "a.three": BLOCKED, "a.four": OTHER})
    assert whole.text == f"{FAIL.text}\n\n{UNKNOWN.text}"
    assert whole.reason == "a.one: it is missing (and 1 more)"
    assert whole.blocked_by == ("x.root",)


def test_a_family_that_is_blocked_or_does_not_apply_says_by_what() -> None:
    assert together({"a.one": PASS, "a.two": BLOCKED, "a.three": BLOCKED}).reason == (
        "a.two: blocked by x.root (and 1 more)"
    )
    assert together({"a.one": NONE}).reason == "a.one: not applicable: no such thing"
    assert together({"a.one": PASS, "a.two": NONE}).reason == ""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """60 nodes of mixed kinds."""
    folder: Path = tmp_path_factory.mktemp("fleet")
    spec = write(folder, 60).replace("snapshot://", f"snapshot://{folder}/")
    return Runner(parse_all([spec]), Settings(), Options()).run()


def test_what_a_worker_is_handed_is_what_was_shown(fleet: Run) -> None:
    nodes = [node.node for node in fleet.nodes]
    found = shown(fleet)
    assert unpack(pack(nodes, found)) == (nodes, found)


def test_a_run_that_was_cut_can_be_handed_on(fleet: Run) -> None:
    """Nothing is known of some nodes, nothing of some checks."""
    nodes = [node.node for node in fleet.nodes]
    found = shown(fleet)
    del found[nodes[3]], found[nodes[5]]["node.reachable"]
    assert unpack(pack(nodes, found)) == (nodes, found)
    assert unpack(pack(nodes, {})) == (nodes, {})


def test_what_a_worker_is_handed_grows_little_with_the_nodes(fleet: Run) -> None:
    """Equal nodes are there once: 4,800 take less than a hundredth of their findings as JSON, 250 bytes each."""
    found = shown(fleet)
    many = {f"{node} {copy}": entries for copy in range(80) for node, entries in found.items()}
    packed = pack(list(many), many)
    assert len(packed) < 60 * 54 * 250 * 80 / 100
    assert {status for entries in found.values() for status in entries} >= {f"{f}.reachable" for f in FAMILIES[:1]}
