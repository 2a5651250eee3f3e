"""Pages about checks and routes, made from the code: for the terminal, and what docs/ is made of."""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pytest_gpuready.checks.catalogue import FAMILIES, HEADS, REACHABLE, Check, catalogue
from pytest_gpuready.checks.messages import Message, messages
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.report.text import wrapped
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views.ctr import Ctr
from pytest_gpuready.views.toolkit import MODES, Toolkit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuready.routes import Route
    from pytest_gpuready.views import View, Views

#: Columns of a page in a terminal.
WIDTH = 80


class UnknownCheck(LookupError):  # noqa: N818 - it is the user's word, not an error of ours
    """There is no check of that id; the message is one sentence and names those that are meant, perhaps."""


def find(check_id: str) -> Check:
    """The check of this id. `UnknownCheck` with the nearest ids if there is none."""
    checks = catalogue()
    if check_id in checks:
        return checks[check_id]
    wanted = check_id.strip().lower()
    # A node id's name, or the part after the dot alone, is as good as the id for finding what is meant.
    names = {known: known for known in checks} | {known.partition(".")[2]: known for known in checks}
    names |= {check.name: check.id for check in checks.values()}
    near = dict.fromkeys(names[name] for name in difflib.get_close_matches(wanted, names, n=3, cutoff=0.6))
    hint = f"; did you mean {' or '.join(near)}?" if near else "; --gpuready-list shows them all"
    raise UnknownCheck(f"there is no check {one_line(check_id, 60)!r}{hint}")


def families(checks: Iterable[Check]) -> dict[str, list[Check]]:
    """The checks by family, families in their order."""
    grouped: dict[str, list[Check]] = {}
    for check in checks:
        grouped.setdefault(check.family, []).append(check)
    order = {family: number for number, family in enumerate(FAMILIES)}
    return dict(sorted(grouped.items(), key=lambda item: order.get(item[0], len(order))))


# ---------------------------------------------------------------------- what a docstring says


def summary(check: Check) -> str:
    """The docstring's text before the first head, on one line; "" if there is none."""
    text = inspect.getdoc(check.func) or ""
    return " ".join(re.split(rf"^(?:{'|'.join(HEADS)}):", text, maxsplit=1, flags=re.MULTILINE)[0].split())


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a section, each on one line; an item of a list ("- …") is one of its own."""
    found: list[str] = []
    fresh = True
    for line in text.splitlines():
        words = " ".join(line.split())
        if words and (fresh or words.startswith("- ")):
            found.append(words)
        elif words:
            found[-1] += f" {words}"
        fresh = not words
    return found


def own_needs(check: Check) -> tuple[str, ...]:
    """What it needs beside `node.reachable`, which everything needs."""
    return tuple(need for need in check.needs if need != REACHABLE)


def seen_as(check_id: str) -> list[Message]:
    """The messages that people see when this check's condition does not hold."""
    return [message for message in messages() if message.check == check_id]


# ---------------------------------------------------------------------- what a route requires


@dataclass(frozen=True)
class Requirement:
    """The ids that a route requires on every node (`always`), and those on top of them by condition, in words."""

    always: frozenset[str]
    when: dict[str, frozenset[str]]


class _Case:
    """Views of a made-up node, of which only what decides a route's requirements is known."""

    def __init__(self, mode: str, *, ctr: bool, nerdctl: bool) -> None:
        self._known: dict[type[View], object] = {
            Toolkit: SimpleNamespace(mode=mode, mode_for=lambda _route: mode),
            Ctr: SimpleNamespace(gpus_by_cdi=ctr, nerdctl_gpus_by_cdi=nerdctl),
        }

    def get(self, kind: type[View]) -> Any:
        return self._known[kind]


#: What a route's requirements depend on: each axis a list of (value, its words).
_AXES: tuple[tuple[tuple[Any, str], ...], ...] = (
    tuple((mode, f"nvidia-container-runtime in mode {mode}") for mode in MODES if mode != "auto"),
    ((False, "ctr up to 2.2"), (True, "ctr 2.3 and later")),
    ((False, "nerdctl up to 2.2"), (True, "nerdctl 2.3 and later")),
)


@functools.cache
def requirement(route_id: str) -> Requirement:
    """What a route requires, asked of the route itself for every kind of node that it distinguishes."""
    route = ROUTES[route_id]
    cases = {
        case: _requires(route, case) for case in itertools.product(*([value for value, _ in axis] for axis in _AXES))
    }
    always = frozenset.intersection(*cases.values())
    when: dict[str, frozenset[str]] = {}
    for place, axis in enumerate(_AXES):
        # What a value requires wherever it is met, whatever the other axes say.
        by_value = {
            value: frozenset.intersection(*(ids for case, ids in cases.items() if case[place] == value)) - always
            for value, _ in axis
        }
        if len(set(by_value.values())) > 1:
            when |= {words: by_value[value] for value, words in axis if by_value[value]}
    return Requirement(always, when)


def _requires(route: Route, case: tuple[Any, ...]) -> frozenset[str]:
    mode, ctr, nerdctl = case
    return route.requires(cast("Views", _Case(mode, ctr=ctr, nerdctl=nerdctl)))


def closure(ids: Iterable[str]) -> frozenset[str]:
    """The checks of these ids and all that they need, as far as the catalogue has them."""
    checks, seen = catalogue(), set[str]()
    waiting = [check_id for check_id in ids if check_id in checks]
    while waiting:
        check_id = waiting.pop()
        if check_id not in seen:
            seen.add(check_id)
            waiting += [need for need in checks[check_id].needs if need in checks]
    return frozenset(seen)


def routes_of(check: Check) -> dict[str, tuple[str, ...]]:
    """The routes in which the check counts; the value names the conditions, none: on every node."""
    found: dict[str, tuple[str, ...]] = {}
    for route_id in ROUTES:
        needed = requirement(route_id)
        if check.id in closure(needed.always):
            found[route_id] = ()
        else:
            conditions = tuple(words for words, ids in needed.when.items() if check.id in closure(ids))
            if conditions:
                found[route_id] = conditions
    return {} if check.advisory else found


def either(conditions: Iterable[str]) -> str:
    """Several conditions as one, what they begin with said once: "ctr in mode a or b"."""
    grouped: dict[str, list[str]] = {}
    for condition in conditions:
        head, _, last = condition.rpartition(" in mode ")
        grouped.setdefault(f"{head} in mode " if head else "", []).append(last)
    return ", or ".join(
        head + " or ".join(filter(None, (", ".join(lasts[:-1]), lasts[-1]))) for head, lasts in grouped.items()
    )


# ---------------------------------------------------------------------- for a terminal


#: The id of one of the suite's items: of a check, or of all checks of a family; without its node too.
_ITEM = re.compile(r"(?:\.\./)*gpuready/([a-z]+)\.py(?:::([a-z0-9_-]+)(?:\[.*\])?)?", re.DOTALL)


def explain(wanted: str) -> str:
    """A check's page as plain text of at most 80 columns; of an item of a whole family, its checks.

    By a check's id, or that of one of pytest's items. `UnknownCheck` if there is no such check.
    """
    item = _ITEM.fullmatch(wanted)
    if item and item[1] in FAMILIES and item[2] in (None, "checks"):
        return listing(item[1])
    check = find(next((c.id for c in catalogue().values() if item and (c.family, c.name) == item.groups()), wanted))
    lines = [check.id + (" (advisory: warns at most)" if check.advisory else ""), *wrapped(check.title, WIDTH), ""]
    if summary(check):
        lines += [*wrapped(summary(check), WIDTH), ""]
    for head, body in check.page.items():
        lines += [head]
        for paragraph in paragraphs(body):
            lines += wrapped(paragraph, WIDTH, first="  ", rest="    " if paragraph.startswith("- ") else "  ")
        lines += [""]
    lines += ["Needs", *wrapped(", ".join(check.needs) or "nothing", WIDTH, first="  "), ""]
    lines += ["Required by", *_required_by(check)]
    shown = seen_as(check.id)
    if shown:
        lines += ["", "Seen as"]
    for message in shown:
        lines += wrapped(message.text, WIDTH, first="  ", rest="    ")
        lines += wrapped(f"({message.note})", WIDTH, first="    ") if message.note else []
    return "\n".join(lines) + "\n"


def _required_by(check: Check) -> list[str]:
    lines = []
    for route_id, conditions in routes_of(check).items():
        words = f"{route_id}, with {either(conditions)}" if conditions else route_id
        lines += wrapped(words, WIDTH, first="  ", rest="    ")
    return lines or ["  no route"]


def listing(alone: str | None = None) -> str:
    """All checks by family with their titles and needs, then all routes, as plain text of at most 80 columns.

    Of one family alone, its checks.
    """
    lines = ["Checks (a: advisory, warns at most; every check but node.reachable needs it)"]
    for family, members in families(catalogue().values()).items():
        if alone not in (None, family):
            continue
        lines += ["", family]
        for check in members:
            lines += wrapped(f"{check.id}{' (a)' if check.advisory else ''}", WIDTH, first="  ")
            lines += wrapped(check.title, WIDTH, first="      ")
            if own_needs(check):
                lines += wrapped(f"needs {', '.join(own_needs(check))}", WIDTH, first="      ", rest="        ")
    if alone is not None:
        return "\n".join([*lines, "", f"One of them: pytest --gpuready-explain {alone}.…"]) + "\n"
    lines += ["", "Routes (--gpuready-routes; also any, all)", ""]
    for route in ROUTES.values():
        lines += [f"  {route.id}", *wrapped(route.command, WIDTH, first="      ")]
    return "\n".join(lines) + "\n"
