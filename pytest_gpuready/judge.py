"""The judge: facts in, a node report out. Pure; the verdict is made here and nowhere else.

Each route is judged on its own: a check that has one answer per route is seen by a route with that route's answer, and
so are the needs of others. A check is blocked where something it needs failed, is unknown, or is blocked itself; a root
is a failed or unknown check with no such need. Advisory checks warn at most, and block nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gpuready import budget
from pytest_gpuready.checks.catalogue import (
    LIVE,
    PRIVILEGES,
    REACHABLE,
    Check,
    catalogue,
    refuse_unknown,
    refuse_unknown_needs,
    suite,
)
from pytest_gpuready.model import (
    Answer,
    Consequence,
    Denied,
    NotApplicable,
    Outcome,
    Refused,
    Status,
    Undetermined,
    not_applicable,
    undetermined,
    unknown,
    worst,
)
from pytest_gpuready.node.clean import clean, one_line, shorten
from pytest_gpuready.node.facts import LATE, REACH, SUDO
from pytest_gpuready.quoting import can_be_pasted
from pytest_gpuready.report.model import Finding, NodeReport, Proof, RouteReport, Snapshot, Verdict, worst_verdict
from pytest_gpuready.routes import ROUTES, Required, live_checks, required
from pytest_gpuready.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuready.model import Settings
    from pytest_gpuready.node.facts import Facts
    from pytest_gpuready.remedies import Remedies

    #: A check as one route sees it: its answer, or None and the roots that block it.
    _Sight = tuple[Outcome | None, tuple[str, ...]]
    _Seen = dict[str, _Sight]

#: What keeps a check from meaning anything.
_HOLDS: frozenset[Status] = frozenset({"pass", "warn", "not-applicable"})


@dataclass
class _Answered:
    """A check's answers: one for all routes, and those of single routes.

    `denied` (what was refused) and `because` (another check's id) block it beside its needs.
    """

    common: Outcome | None = None
    own: dict[str, Outcome] = field(default_factory=dict)
    because: str | None = None
    denied: str | None = None

    def for_route(self, route: str) -> Outcome | None:
        return self.own.get(route, self.common)


def judge(facts: Facts, settings: Settings, *, checks: Mapping[str, Check] | None = None) -> NodeReport:
    """The report of one node."""
    return judge_views(Views(facts, settings), checks=checks)


def judge_views(views: Views, *, checks: Mapping[str, Check] | None = None) -> NodeReport:
    """The same, of views that their owner goes on with: what they have worked out is not worked out again."""
    with budget.limited():
        return Judge(views, dict(checks or suite(live=views.settings.live))).report()


class Judge:
    """One node being judged.

    Some of the suite's checks may be left out. A need, or what a route requires, that is no check at all is an error.

    Raises:
        ValueError: a check needs, or a route requires, an unknown check.
    """

    def __init__(self, views: Views, checks: dict[str, Check]) -> None:
        self.views = views
        self.checks = checks
        self.answers: dict[str, _Answered] = {}
        self.denials: dict[str, list[str]] = {}
        self._known = {*catalogue(), *checks}
        refuse_unknown_needs(checks, self._known)
        #: By route, what it requires without containers, and with them.
        self.configured = {route.id: self._closure(self._requires(route.id)) for route in ROUTES.values()}
        self.closures = {route: ids | self._closure(live_checks(route)) for route, ids in self.configured.items()}

    @functools.cached_property
    def mend(self) -> Remedies:
        """The remedies of this node, made once for all its checks."""
        from pytest_gpuready.remedies import Remedies  # noqa: PLC0415 - remedies know views, not the judge

        return Remedies(self.views)

    def _requires(self, route: str) -> frozenset[str]:
        required = ROUTES[route].requires(self.views)
        refuse_unknown(f"route {route} requires the unknown check", sorted(required), self._known)
        return required

    def _closure(self, ids: frozenset[str]) -> frozenset[str]:
        seen: set[str] = set()
        waiting = [check_id for check_id in ids if check_id in self.checks]
        while waiting:
            check_id = waiting.pop()
            if check_id not in seen:
                seen.add(check_id)
                waiting.extend(need for need in self.checks[check_id].needs if need in self.checks)
        return frozenset(seen)

    def answer(self, check: Check) -> _Answered:
        """What the check's function says, or why it says nothing."""
        if self._sudo_refused and check.id not in (REACHABLE, PRIVILEGES):
            return _Answered(denied="everything")  # nothing was read, and node.privileges says why
        try:
            arguments: dict[str, object] = {name: self._argument(name) for name in check.parameters}
            return _sorted(check, check.func(**arguments))
        except Denied as error:
            self.denials.setdefault(error.what, []).append(check.id)
            return _Answered(denied=error.what)
        except Refused as error:
            return _Answered(undetermined(error).but(remedy=self.mend.node.trust(error.reason)))
        except Undetermined as error:
            return _Answered(undetermined(error))
        except NotApplicable as error:
            return _Answered(not_applicable(error.why))
        except Consequence as error:
            return _Answered(because=error.check)
        except Exception as error:  # noqa: BLE001 - an error of ours is unknown, with its place, never a pass
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            said = f"{type(error).__name__}: {one_line(str(error), 200)}"
            return _Answered(unknown(f"pytest-gpuready itself failed at {place}: {said}"))

    def _argument(self, name: str) -> object:
        return self.mend if name == "mend" else self.denials if name == "denials" else self.views.named(name)

    @property
    def _sudo_refused(self) -> bool:
        fact = self.views.facts.peek(SUDO)
        return fact is not None and fact.state != "ok"

    @functools.cached_property
    def _late(self) -> bool:
        """The deadline passed before all was asked, or the time for judging was spent."""
        return self.views.facts.peek(LATE) is not None

    def report(self) -> NodeReport:
        """Judge every check, each route, and the node."""
        reach = self.views.facts.peek(REACH)
        reached = reach is not None and reach.state == "ok"
        wanted = required(self.views) if reached else Required(self._asked(), "the node could not be asked")
        wanted = dataclasses.replace(wanted, because=one_line(wanted.because))
        # The privileges are judged last: they fail by what others were refused.
        for check in sorted(self.checks.values(), key=lambda check: check.id == PRIVILEGES):
            answer = self.answer(check)
            # What was answered as the time ran out may lack what was left out: it counts for nothing.
            answer = _Answered(unknown(budget.WHY, missing="deadline")) if budget.spent() else answer
            self.answers[check.id] = _cleaned(answer, advisory=check.advisory)
        if budget.spent():
            self._late = True
            late = unknown(budget.WHY, expected="a node that is judged in that time", missing="deadline")
            self.answers[REACHABLE] = _Answered(late)
        by_route = {route: self._by_route(route) for route in ROUTES}
        routes = {route: self._route(route, wanted, by_route[route]) for route in ROUTES}
        findings = {check.id: self._finding(check, wanted, by_route, routes) for check in self.checks.values()}
        return NodeReport(
            facts=self.views.facts,
            required=wanted,
            findings=findings,
            routes=routes,
            verdict=_verdict(wanted, routes, reached=reached),
            snapshot=self._snapshot(wanted, by_route),
        )

    def _snapshot(self, wanted: Required, by_route: dict[str, _Seen]) -> Snapshot | None:
        """Where the facts come from, and how many checks of the required routes are newer than they."""
        recording = self.views.facts.recording
        if recording is None:
            return None
        newer = {
            check_id
            for route in wanted.names
            for check_id in self.closures[route]
            if not self.checks[check_id].advisory and _was_not_asked(by_route[route][check_id])
        }
        return Snapshot(recording.taken, len(newer))

    def _asked(self) -> tuple[str, ...]:
        asked = self.views.settings.routes
        return asked if asked and asked not in (("any",), ("all",)) else ("ctr-gpus", "cri-handler")

    def _by_route(self, route: str) -> _Seen:
        """Every check as this route sees it: its own answer, and the roots that block it (then the answer is None)."""
        seen: _Seen = {}

        def look(check_id: str) -> _Sight:
            if check_id not in seen:
                seen[check_id] = (None, ())  # needs form no cycle; a consequence that did would end here
                seen[check_id] = self._seen(check_id, route, look)
            return seen[check_id]

        for check_id in self.checks:
            look(check_id)
        return seen

    def _seen(self, check_id: str, route: str, look: Callable[[str], _Sight]) -> _Sight:
        answered = self.answers[check_id]
        needs = [need for need in self._needs(check_id, route) if not self.checks[need].advisory]
        if answered.because in self.checks:
            needs.append(str(answered.because))
        roots: dict[str, None] = {}
        for need in needs:
            outcome, above = look(need)
            if above:
                roots.update(dict.fromkeys(above))
            elif outcome is not None and outcome.status not in _HOLDS:
                roots[need] = None
        if answered.denied is not None and not roots and PRIVILEGES in self.checks and check_id != PRIVILEGES:
            roots[PRIVILEGES] = None
        if roots:
            return None, tuple(roots)
        if answered.because is not None:
            return unknown(f"{answered.because} explains it, and that check found nothing"), ()
        if answered.denied is not None:
            return unknown(f"{answered.denied}: permission denied", missing="denied"), ()
        outcome = answered.for_route(route)
        if self._late and check_id != REACHABLE and _lacks_answers(outcome):
            # One root says that the node was late, rather than every check that lacks what was to be asked after it.
            return None, (REACHABLE,)
        return outcome, ()

    def _needs(self, check_id: str, route: str) -> list[str]:
        """What a check needs, as a route sees it: a route's container means nothing until all else it needs holds."""
        needs = list(self.checks[check_id].needs)
        if self._late:  # what did come in time is judged
            needs = [need for need in needs if need != REACHABLE]
        if check_id == f"live.{route}":
            needs += sorted(self.configured[route])
        elif check_id in live_checks(route):
            needs.append(f"live.{route}")
        return [need for need in needs if need in self.checks]

    def _finding(
        self, check: Check, wanted: Required, by_route: dict[str, _Seen], routes: dict[str, RouteReport]
    ) -> Finding:
        """The check's result on the node: the worst over the required routes that it counts for, else over all."""
        concerned = tuple(route for route in ROUTES if check.id in self.closures[route])
        mine = [route for route in wanted.names if route in concerned] or list(concerned) or list(ROUTES)
        seen = {route: by_route[route][check.id] for route in mine}
        statuses: dict[str, Status] = {}
        for route, (outcome, roots) in seen.items():
            if roots:
                statuses[route] = "blocked"
            elif outcome is not None:
                statuses[route] = outcome.status
        status: Status = worst(list(statuses.values()))
        chosen = next((route for route in statuses if statuses[route] == status), None)
        blocked_by: tuple[str, ...] = ()
        if status == "blocked":
            blocked_by = tuple(dict.fromkeys(root for _, roots in seen.values() for root in roots))
            outcome = Outcome("blocked", f"blocked by {', '.join(blocked_by)}")
        else:
            outcome = (seen[chosen][0] if chosen else None) or not_applicable("no route of this node asks for it")
        per_route = {route: _status(by_route[route][check.id]) for route in ROUTES if self.answers[check.id].own}
        keeps = tuple(route for route in wanted.names if check.id in routes[route].roots)
        return Finding(check, outcome, blocked_by, concerned, keeps, per_route)

    def _route(self, route: str, wanted: Required, seen: _Seen) -> RouteReport:
        closure = [check for check in self.checks.values() if check.id in self.closures[route] and not check.advisory]
        roots = [check.id for check in closure if _is_root(seen[check.id])]
        # A root outside the closure (a consequence, privileges) blocks from there.
        for check in closure:
            roots.extend(root for root in seen[check.id][1] if root not in roots)
        statuses = {_status(seen[root]) for root in roots}
        # That a shell answers and may read says nothing yet of GPUs.
        looked = [check for check in closure if check.family != "node" and _status(seen[check.id]) == "pass"]
        verdict: Verdict
        if "fail" in statuses:
            verdict = "not-ready"
        elif roots or not looked:
            verdict = "unknown"
        else:
            verdict = "ready"
        offered = _status(seen.get("containerd.supports-route", (None, ()))) != "fail"
        proof: Proof = "live" if _status(seen.get(f"{LIVE}.{route}", (None, ()))) == "pass" else "configured"
        return RouteReport(route, verdict, proof, route in wanted.names, tuple(roots), offered)


def _verdict(wanted: Required, routes: dict[str, RouteReport], *, reached: bool) -> Verdict:
    if not reached:
        return "unreachable"
    verdicts = [routes[name].verdict for name in wanted.names]
    if wanted.mode == "any":
        return next((v for v in ("ready", "unknown", "not-ready") if v in verdicts), "unknown")
    return worst_verdict(verdicts)


def _status(seen: _Sight) -> Status:
    outcome, roots = seen
    if roots:
        return "blocked"
    return outcome.status if outcome is not None else "not-applicable"


def _lacks_answers(outcome: Outcome | None) -> bool:
    """Whether it is unknown because the node's time was spent, or because a question was not asked."""
    return outcome is not None and outcome.status == "unknown" and outcome.missing in ("deadline", "not-asked")


def _was_not_asked(seen: _Sight) -> bool:
    outcome, roots = seen
    return not roots and outcome is not None and (outcome.status, outcome.missing) == ("not-applicable", "not-asked")


def _is_root(seen: _Sight) -> bool:
    return _status(seen) in ("fail", "unknown")


def _sorted(check: Check, answer: Answer) -> _Answered:
    if isinstance(answer, Outcome):
        return _Answered(answer)
    refuse_unknown(f"check {check.id} answers for the unknown route", answer, ROUTES)
    return _Answered(None, dict(answer))


def _cleaned(answered: _Answered, *, advisory: bool) -> _Answered:
    """Whatever a node's words got into: no controls, no endless text. An advisory check's failure is a warning."""

    def tidy(outcome: Outcome) -> Outcome:
        tidied = clean_outcome(outcome)
        return tidied.but(status="warn") if advisory and tidied.status == "fail" else tidied

    if answered.common is not None:
        answered.common = tidy(answered.common)
    answered.own = {route: tidy(outcome) for route, outcome in answered.own.items()}
    return answered


def clean_outcome(outcome: Outcome) -> Outcome:
    """The outcome with every string cleaned and bounded.

    A remedy with a command that no terminal takes as it is loses its commands: a part of it could not be quoted
    (`pytest_gpuready.quoting`), or has characters that a terminal or a shell's prompt obeys.
    """
    remedy = outcome.remedy
    if remedy is not None and not all(map(can_be_pasted, remedy.commands)):
        told = "A name in it has characters that are not safe in a command: do it by hand."
        remedy = dataclasses.replace(remedy, summary=f"{remedy.summary} {told}", commands=())
    if remedy is not None:
        remedy = dataclasses.replace(
            remedy,
            summary=one_line(remedy.summary, 600),
            edits=tuple(
                dataclasses.replace(edit, path=one_line(edit.path), diff=clean(edit.diff)) for edit in remedy.edits
            ),
        )
    where = outcome.where
    return outcome.but(
        found=one_line(outcome.found, 800),
        expected=None if outcome.expected is None else one_line(outcome.expected, 800),
        where=None if where is None else dataclasses.replace(where, path=one_line(where.path)),
        evidence=tuple(
            dataclasses.replace(item, source=one_line(item.source), text=shorten(clean(item.text).rstrip("\n")))
            for item in outcome.evidence
        ),
        remedy=remedy,
    )
