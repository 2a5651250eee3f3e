"""A site's own checks: tests marked `@pytest.mark.gpuready(id="site.gpus", needs=[…])` become findings of the report.

Their test runs as an ordinary item after the suite. What became of it travels on its test report, so that it arrives
from xdist's workers too; the controller adds the findings to the run when everything has been run. A need that is
another site's check of this kind is waited for without xdist only; with it the test may run in vain, and its finding is
blocked all the same.
"""

from __future__ import annotations

import dataclasses
import graphlib
import inspect
import re
from typing import TYPE_CHECKING, TypedDict

import pytest

from pytest_gpuready.checks.catalogue import REACHABLE, Check, catalogue
from pytest_gpuready.judge import clean_outcome
from pytest_gpuready.model import Denied, Evidence, Outcome, Remedy, Status, Undetermined, worst
from pytest_gpuready.report.model import Finding, NodeReport, Run, Verdict, worst_verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_gpuready.shown import Shown

_ID = re.compile(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_.-]*")


class OwnCheck(TypedDict):
    """What a marked test says of itself: plain values, for xdist and for test reports."""

    id: str
    title: str
    needs: list[str]
    node: str
    nodeid: str


class OwnResult(OwnCheck):
    """What became of it."""

    status: Status
    found: str
    text: str
    blocked_by: list[str]


#: What a marked item says of itself, and what blocked it before it ran.
OWN: pytest.StashKey[OwnCheck] = pytest.StashKey()
BLOCKED: pytest.StashKey[tuple[str, ...]] = pytest.StashKey()


def find(items: Iterable[pytest.Item], nodes: Sequence[str]) -> list[OwnCheck]:
    """The marked tests, each with the node that it is about; `UsageError` for a marker that cannot be understood.

    A test of a host that is none of the run's nodes stays an ordinary test.
    """
    found: list[OwnCheck] = []
    for item in items:
        marker = item.get_closest_marker("gpuready")
        if marker is None or not isinstance(item, pytest.Function):
            continue
        node = _node(item, nodes)
        if node is not None:
            own = _own(item, marker, node)
            item.stash[OWN] = own
            found.append(own)
    known = {*catalogue(), *(own["id"] for own in found)}
    for own in found:
        strange = [need for need in own["needs"] if need not in known]
        if strange:
            raise pytest.UsageError(f"{own['nodeid']}: the marker gpuready needs {', '.join(strange)}: no such check")
    try:
        graphlib.TopologicalSorter(_graph(found)).prepare()
    except graphlib.CycleError as error:
        raise pytest.UsageError(f"the gpuready checks {' <- '.join(error.args[1])} need one another") from None
    return found


def _own(item: pytest.Function, marker: pytest.Mark, node: str) -> OwnCheck:
    words = dict(zip(("id", "needs"), marker.args, strict=False)) | dict(marker.kwargs)
    check_id, needs = words.pop("id", None), words.pop("needs", ())
    if words or len(marker.args) > 2 or isinstance(needs, str) or not all(isinstance(need, str) for need in needs):
        raise pytest.UsageError(f'{item.nodeid}: the marker is gpuready(id="family.name", needs=["id", …])')
    if not isinstance(check_id, str) or not _ID.fullmatch(check_id):
        raise pytest.UsageError(
            f"{item.nodeid}: the marker gpuready has the id {check_id!r}; write one such as site.gpus"
        )
    if check_id in catalogue():
        raise pytest.UsageError(f"{item.nodeid}: the suite has a check {check_id} of its own; choose another id")
    title = (inspect.getdoc(item.function) or item.originalname.replace("_", " ")).partition("\n")[0]
    return OwnCheck(id=check_id, title=title, needs=list(needs), node=node, nodeid=item.nodeid)


def _node(item: pytest.Function, nodes: Sequence[str]) -> str | None:
    from pytest_gpuready.backends import node_spec  # noqa: PLC0415 - nothing is imported before a test asks
    from pytest_gpuready.node.hosts import SpecError  # noqa: PLC0415

    callspec = getattr(item, "callspec", None)
    host = callspec.params.get("_testinfra_host") if callspec is not None else None
    if host is None:
        if len(nodes) == 1:
            return nodes[0]
        raise pytest.UsageError(
            f"{item.nodeid}: a gpuready check asks for the fixture host, or one that derives from it: "
            "with several nodes nothing else says which it is about"
        )
    try:
        label = node_spec(host).label
    except SpecError:
        return None
    return label if label in nodes else None


def _graph(found: Sequence[OwnCheck]) -> dict[str, list[str]]:
    """What each check needs of the others; of a check with several parameters, what all its tests need."""
    graph: dict[str, list[str]] = {own["id"]: [] for own in found}
    for own in found:
        graph[own["id"]] += [need for need in own["needs"] if need in graph]
    return graph


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The same items, the marked ones first, each after what it needs."""
    marked = [item for item in items if OWN in item.stash]
    graph = _graph([item.stash[OWN] for item in marked])
    rank = {check_id: number for number, check_id in enumerate(graphlib.TopologicalSorter(graph).static_order())}
    marked.sort(key=lambda item: rank[item.stash[OWN]["id"]])
    return [*marked, *(item for item in items if OWN not in item.stash)]


def roots(needs: Iterable[str], known: Mapping[str, tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """What blocks a check with these needs; `known` has each check's status and what blocks it."""
    found: dict[str, None] = {}
    for need in (REACHABLE, *needs):
        status, above = known.get(need, ("pass", ()))
        if status == "blocked":
            found.update(dict.fromkeys(above))
        elif status in ("fail", "unknown"):
            found[need] = None
    return tuple(found)


def result(item: pytest.Item, report: pytest.TestReport, error: BaseException | None = None) -> OwnResult | None:
    """What a phase's report says of the item's check; None where it says nothing. `error` is what the test raised."""

    def said(status: Status, found: str, text: str = "", blocked_by: Sequence[str] = ()) -> OwnResult:
        return OwnResult(**item.stash[OWN], status=status, found=found, text=text, blocked_by=list(blocked_by))

    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        found = str(crash.message if crash is not None else report.longreprtext).strip().partition("\n")[0]
        found = found.removeprefix("Failed: ").removeprefix("pytest_gpuready.model.")
        # What goes wrong around a test says nothing of the node, nor does what could not be known.
        known = report.when == "call" and not isinstance(error, (Undetermined, Denied))
        return said("fail" if known else "unknown", found or "the test failed", report.longreprtext)
    if report.skipped:
        blocked_by = item.stash.get(BLOCKED, ())
        if blocked_by:
            return said("blocked", f"blocked by {', '.join(blocked_by)}", blocked_by=blocked_by)
        why = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
        return said("not-applicable", why.removeprefix("Skipped: ").removeprefix("reason: ") or "the test was skipped")
    return said("pass", "the test passed") if report.when == "call" else None


def add(run: Run, expected: Iterable[OwnCheck], results: Iterable[OwnResult]) -> Run:
    """The run with the findings of the site's own checks. One that was collected and not run is unknown."""
    by_node: dict[str, dict[str, list[OwnCheck]]] = {}
    for own in expected:
        by_node.setdefault(own["node"], {}).setdefault(own["id"], []).append(own)
    said: dict[tuple[str, str, str], list[OwnResult]] = {}
    for one in results:
        said.setdefault((one["node"], one["id"], one["nodeid"]), []).append(one)
        by_node.setdefault(one["node"], {}).setdefault(one["id"], [one])
    return dataclasses.replace(
        run, nodes=tuple(_with(node, by_node[node.node], said) if node.node in by_node else node for node in run.nodes)
    )


def _with(
    node: NodeReport,
    checks: Mapping[str, Sequence[OwnCheck]],
    said: Mapping[tuple[str, str, str], Sequence[OwnResult]],
) -> NodeReport:
    graph = _graph([own for tests in checks.values() for own in tests])
    for check_id in graphlib.TopologicalSorter(graph).static_order():
        tests = checks[check_id]
        needs = tuple(dict.fromkeys(need for own in tests for need in own["needs"]))
        check = Check(check_id, tests[0]["title"], _never, (REACHABLE, *needs))
        known = {finding.check.id: (finding.status, finding.blocked_by) for finding in node.findings.values()}
        blocked_by = roots(needs, known)
        if blocked_by:
            outcome = Outcome("blocked", f"blocked by {', '.join(blocked_by)}")
        else:
            outcome = _outcome([_one(own, said.get((own["node"], check_id, own["nodeid"]), ())) for own in tests])
        node = _counted(node, check, clean_outcome(outcome), blocked_by)
    return node


def _never() -> Outcome:
    raise AssertionError("a site's check is a test: it has been run")  # pragma: no cover - nothing calls it


def _one(own: OwnCheck, said: Sequence[OwnResult]) -> OwnResult:
    """The worst of a test's phases."""
    if not said:
        return OwnResult(**own, status="unknown", found="the test was not run", text="", blocked_by=[])
    status = worst([one["status"] for one in said])
    return next(one for one in said if one["status"] == status)


def _outcome(said: Sequence[OwnResult]) -> Outcome:
    """One answer of one test, or of a test's several parameters: the worst."""
    status = worst([one["status"] for one in said])
    chosen = [one for one in said if one["status"] == status]
    tests = ", ".join(one["nodeid"] for one in chosen)
    bad = status in ("fail", "unknown")
    return Outcome(
        status,
        "; ".join(dict.fromkeys(one["found"] for one in chosen)),
        evidence=tuple(Evidence(one["nodeid"], one["text"]) for one in chosen if one["text"]),
        remedy=Remedy(f"This is a check of your site's: see the test {tests}") if bad else None,
    )


def _counted(node: NodeReport, check: Check, outcome: Outcome, blocked_by: tuple[str, ...]) -> NodeReport:
    """The node with one more finding, which stands in the closure of every required route."""
    required = node.required.names
    findings = {**node.findings, check.id: Finding(check, outcome, blocked_by, required)}
    # What blocks a check of a route keeps the route from being ready, though the route itself asked nothing of it.
    culprits = blocked_by or ((check.id,) if outcome.status in ("fail", "unknown") else ())
    verdicts: list[Verdict] = []
    for culprit in culprits:
        finding = findings[culprit]
        verdicts.append("not-ready" if finding.status == "fail" else "unknown")
        keeps = tuple(dict.fromkeys((*finding.keeps, *required)))
        findings[culprit] = dataclasses.replace(finding, keeps=keeps)
    routes = dict(node.routes)
    for name in required:
        route = routes[name]
        routes[name] = dataclasses.replace(
            route,
            verdict=worst_verdict([route.verdict, *verdicts]),
            roots=tuple(dict.fromkeys((*route.roots, *culprits))),
        )
    return dataclasses.replace(node, findings=findings, routes=routes, verdict=worst_verdict([node.verdict, *verdicts]))


def blocked_now(
    item: pytest.Item, shown: Mapping[str, Mapping[str, Shown]], results: Iterable[OwnResult]
) -> tuple[str, ...]:
    """What is known to block this item before it runs: from the suite's findings, and from tests run so far here."""
    own = item.stash[OWN]
    known: dict[str, tuple[str, Sequence[str]]] = {
        check_id: (entry.status, entry.blocked_by) for check_id, entry in shown.get(own["node"], {}).items()
    }
    for one in results:
        if one["node"] == own["node"] and known.get(one["id"], ("pass",))[0] in ("pass", "not-applicable"):
            known[one["id"]] = (one["status"], one["blocked_by"])
    return roots(own["needs"], known)
