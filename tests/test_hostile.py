"""Hostile nodes: each is judged with few parses, or is unknown with the reason; none costs another one anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready import budget
from pytest_gpuready.containerd import load as load_module
from pytest_gpuready.containerd import parsed as parsed_module
from pytest_gpuready.containerd._toml import SETTINGS
from pytest_gpuready.containerd.files import names_by_folder, names_in
from pytest_gpuready.containerd.toml import Dialect, TooLarge, loads
from pytest_gpuready.judged import judged
from pytest_gpuready.kept import Kept
from pytest_gpuready.model import Settings, Undetermined
from pytest_gpuready.node import snapshot
from pytest_gpuready.node.facts import MOST_PATHS, Fact, Facts, file, glob
from pytest_gpuready.remedies.edits import Effort, Workshop, append
from pytest_gpuready.remedies.tomledit import settings
from pytest_gpuready.views import Views
from pytest_gpuready.views.fact_files import FactFiles
from tests.support import containerd, nodes
from tests.support.hostile import CASES

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.containerd.releases import Release
    from pytest_gpuready.report.model import NodeReport


def words(report: NodeReport) -> list[str]:
    """What the report says of checks that it does not know."""
    return [found.outcome.found for found in report.findings.values() if found.status == "unknown"]


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every document that is parsed, as it happens."""
    seen: list[bytes] = []
    original = parsed_module._parse

    def noted(data: bytes, release: Release) -> parsed_module.Parsed:
        seen.append(data)
        return original(data, release)

    monkeypatch.setattr(parsed_module, "_parse", noted)
    monkeypatch.setattr(parsed_module, "_kept", Kept(16 << 20))
    monkeypatch.setattr(load_module, "_known", {})
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_hostile_node_is_judged_or_unknown_with_the_reason(name: str, parses: list[bytes]) -> None:
    case = CASES[name]
    facts = case.facts()
    list(Views(facts, Settings()).wants())
    report = judged(facts, Settings())
    said = words(report)
    assert not any(budget.WHY in one for one in said)
    assert len(parses) <= 1000 + len(facts)
    assert any(case.why in one for one in said) if case.why else report.verdict == "ready"


@pytest.mark.parametrize("name", ["few drop-ins", "handlers", "tables", "keys", "arrays of tables"])
def test_each_file_is_parsed_once(name: str, parses: list[bytes]) -> None:
    """Beside the files, those that a remedy has edited are parsed: their number does not grow with the node."""
    for size in (60, 120):
        parses.clear()
        facts = CASES[name].facts(size)
        list(Views(facts, Settings()).wants())
        judged(facts, Settings())
        assert len(parses) == len(set(parses))
        on_disk = {fact.data for request, fact in facts if request.kind == "file"}
        assert len(set(parses) - on_disk) < 5


def test_a_node_over_its_time_is_unknown_by_one_root_and_never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = nodes.ready().facts()
    monkeypatch.setattr(budget, "SECONDS", 0.0)
    report = judged(facts, Settings())
    assert report.verdict == "unknown"
    assert words(report) == [budget.WHY]
    assert report.findings["node.reachable"].status == "unknown"
    assert not any(found.status == "pass" for found in report.findings.values())
    monkeypatch.undo()
    assert judged(facts, Settings()).verdict == "ready"


def test_what_was_judged_before_the_time_ran_out_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = nodes.handler_in_wrong_table().facts()
    answers = len(judged(facts, Settings()).findings)
    passed = iter([False] * (answers - 3))
    monkeypatch.setattr(budget, "spent", lambda: next(passed, True))
    monkeypatch.setattr(budget, "check", lambda: None)
    report = judged(facts, Settings())
    assert report.verdict == "not-ready"
    assert "containerd.handler" in [found.check.id for found in report.roots]
    assert budget.WHY in words(report)


def test_the_budget_counts_for_the_outermost_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    budget.check()
    monkeypatch.setattr(budget, "SECONDS", 0.005)
    with budget.limited():
        end = time.thread_time() + 0.006
        while time.thread_time() < end:
            pass
        with budget.limited(), pytest.raises(budget.OverBudget, match="judging took more than"):
            budget.check()
        assert budget.spent()
    assert not budget.spent()


def test_requests_end_where_the_time_does(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = nodes.ready().facts()
    every = len(list(Views(facts).wants()))
    monkeypatch.setattr(budget, "SECONDS", 0.0)
    assert len(list(Views(facts).wants())) < every


def test_an_answer_longer_than_its_limit_says_nothing() -> None:
    request = file("/x", limit=10)
    assert Facts("n", [(request, Fact("ok", b"x" * 10))]).fact(request).data
    with pytest.raises(Undetermined, match="/x: longer than 10 bytes"):
        Facts("n", [(request, Fact("ok", b"x" * 11))]).fact(request)


def test_a_pattern_with_too_many_matches_says_nothing() -> None:
    for size in (MOST_PATHS, MOST_PATHS + 1):
        facts = Facts("n", [(glob("/d/*"), Fact("ok", b"".join(b"/d/%d\0" % n for n in range(size))))])
        if size == MOST_PATHS:
            assert len(facts.glob("/d/*")) == size
        else:
            with pytest.raises(Undetermined, match=f"more than {MOST_PATHS} paths match"):
                facts.glob("/d/*")


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("unit", [b"[[a]]\n", b"'%d' = 1\n", b"a = [%s]\n"], ids=["tables", "keys", "elements"])
def test_a_document_has_so_many_settings_and_no_more(dialect: Dialect, unit: bytes) -> None:
    def text(size: int) -> bytes:
        if unit.endswith(b"[%s]\n"):
            return unit % b",".join([b"1"] * (size - 1))
        return b"".join(unit % n if b"%" in unit else unit for n in range(size))

    assert loads(text(SETTINGS), dialect).size == SETTINGS
    with pytest.raises(TooLarge, match=str(SETTINGS)):
        loads(text(SETTINGS + 1), dialect)


def test_the_names_of_every_folder_are_those_of_one_after_the_other() -> None:
    paths = ["/etc/c/a.toml", "/etc/c/b.toml", "/etc/d/e/f", "/g"]
    found = names_by_folder(paths)
    assert {folder: found[folder] for folder in ("/", "/etc", "/etc/c", "/etc/d", "/etc/d/e", "/nosuch")} == {
        folder: names_in(paths, folder) for folder in ("/", "/etc", "/etc/c", "/etc/d", "/etc/d/e", "/nosuch")
    }


def test_what_is_kept_is_bounded_by_its_cost() -> None:
    kept: Kept[int] = Kept(10)
    made: list[int] = []

    def ask(key: int, cost: int) -> int:
        def make() -> int:
            made.append(key)
            return key

        return kept.get(key, make, lambda _: cost)

    assert [ask(1, 4), ask(2, 4), ask(1, 4)] == [1, 2, 1]
    assert made == [1, 2]
    ask(3, 4)  # 2 was used longest ago
    assert kept.held == 8
    ask(2, 4)
    assert made == [1, 2, 3, 2]
    ask(4, 11)  # alone too much
    assert kept.held == 0


def test_proofs_end_where_the_effort_does() -> None:
    facts = nodes.ready().facts()
    files = FactFiles(facts)
    old = files.read(containerd.CONFIG)
    changes = [append(containerd.CONFIG, old, "oom_score = 1")]
    for left, proven in ((40_000, True), (0, False)):
        shop = Workshop(
            files, "2.1.9", containerd.CONFIG, explicit=False, before=None, allowed=bool, effort=Effort(left)
        )
        assert shop.prove(changes, lambda after: after.loads) is proven
        asked = iter([changes] * 3)
        assert (shop.first(asked, lambda _: False), len(list(asked))) == (None, 0 if proven else 2)


def test_tomlkit_is_not_given_files_of_very_many_lines() -> None:
    table = "[plugins.'io.containerd.cri.v1.runtime']\nenable_cdi = false\n"
    keys = ["plugins", "io.containerd.cri.v1.runtime"]
    assert list(settings("/x", table.encode(), keys, "enable_cdi", value=True))
    assert not list(settings("/x", (table + "[[a]]\n" * 1000).encode(), keys, "enable_cdi", value=True))


def test_a_snapshot_of_unusual_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.json"
    text = nodes.text("ready")
    path.write_text(text)
    snapshot.read(str(path))
    monkeypatch.setattr(snapshot, "SIZE_LIMIT", len(text) - 1)
    with pytest.raises(snapshot.SnapshotError, match="is larger than"):
        snapshot.read(str(path))
