"""What checks say: statuses, outcomes, remedies, and the three ways not to know.

Everything here is plain data. Views raise `Undetermined`, `NotApplicable` or `Denied`; checks return an `Outcome`
(or one per route); the judge turns both into findings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Status = Literal["pass", "fail", "warn", "blocked", "unknown", "not-applicable"]

#: Why an answer is missing. `timeout`: none came in the time of its question. `deadline`: the node's time was spent
#: first (reports call both `timeout`). `truncated`: only a part came. `no-tool`: the node lacks the program to ask.
Missing = Literal["timeout", "deadline", "not-asked", "denied", "truncated", "no-tool"]

#: Worst first: how several answers of one check become one status.
WORST_FIRST: tuple[Status, ...] = ("fail", "unknown", "blocked", "warn", "pass", "not-applicable")


class Undetermined(Exception):  # noqa: N818 - it is an answer, not an error
    """It could not be found out: a time-out, a missing tool, a cut answer. Never a pass.

    `missing` says which of these, where an answer is missing.
    """

    def __init__(self, why: str, missing: Missing | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.missing = missing


class NotAsked(Undetermined):
    """`what` is outside the vocabulary of an older snapshot: the check is not applicable, and reports count it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"this snapshot was taken before {what} was asked", "not-asked")


class Refused(Undetermined):
    """The suite did not look at `what`, since another user could decide what it is; `reason` is the node's."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} was refused: {reason}")
        self.reason = reason


class NotApplicable(Exception):  # noqa: N818 - it is an answer, not an error
    """The condition has no meaning on this node; the reason says why."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Denied(Exception):  # noqa: N818 - it is an answer, not an error
    """The node refused to let us read `what`; the check is blocked by `node.privileges`."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: permission denied")
        self.what = what


class Consequence(Exception):  # noqa: N818 - it is an answer, not an error
    """What is wrong here follows from another check (by id): this one is blocked by it.

    For the rare need that depends on what was found, such as a daemon that is down because its configuration does not
    load; needs that always hold are a check's `needs`.
    """

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check


@dataclass(frozen=True)
class Where:
    """A place on the node: an absolute path and, where it is known, a line (from 1)."""

    path: str
    line: int | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Evidence:
    """What was seen: `source` is a command or a file, `text` what it said."""

    source: str
    text: str


@dataclass(frozen=True)
class Edit:
    """A change to a file, explained as a unified diff; the remedy's commands make it."""

    path: str
    diff: str


@dataclass(frozen=True)
class Remedy:
    """What mends it on this node. One element of `commands` is one paste into a shell."""

    summary: str
    commands: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A check's answer: what was found, what should have been, where, by what evidence, and what mends it.

    `missing` says why it is unknown, where an answer is missing; `not-asked` of what is not applicable: the snapshot is
    older than a request that the check needs.
    """

    status: Status
    found: str
    expected: str | None = None
    where: Where | None = None
    evidence: tuple[Evidence, ...] = ()
    remedy: Remedy | None = None
    missing: Missing | None = None

    def but(self, **changes: object) -> Outcome:
        """The same answer with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]


#: What a check's function may return: one answer, or one per route id (routes left out have no answer of their own).
Answer = Outcome | dict[str, Outcome]


def passed(found: str, *, where: Where | None = None, evidence: tuple[Evidence, ...] = ()) -> Outcome:
    """The condition holds; `found` says what was seen to hold."""
    return Outcome("pass", found, where=where, evidence=evidence)


def failed(
    found: str,
    *,
    expected: str,
    where: Where | None = None,
    evidence: tuple[Evidence, ...] = (),
    remedy: Remedy | None = None,
) -> Outcome:
    """The condition does not hold."""
    return Outcome("fail", found, expected, where, evidence, remedy)


def warned(
    found: str,
    *,
    expected: str | None = None,
    where: Where | None = None,
    evidence: tuple[Evidence, ...] = (),
    remedy: Remedy | None = None,
) -> Outcome:
    """An advisory condition does not hold: shown, never counted."""
    return Outcome("warn", found, expected, where, evidence, remedy)


def unknown(
    found: str,
    *,
    expected: str | None = None,
    where: Where | None = None,
    evidence: tuple[Evidence, ...] = (),
    remedy: Remedy | None = None,
    missing: Missing | None = None,
) -> Outcome:
    """It could not be determined; `found` says why, `missing` too, `remedy` may say how to find out."""
    return Outcome("unknown", found, expected, where, evidence, remedy, missing)


def not_applicable(why: str) -> Outcome:
    """The condition has no meaning here, and why."""
    return Outcome("not-applicable", why)


def undetermined(error: Undetermined, found: str | None = None, *, expected: str | None = None) -> Outcome:
    """Return what a check answers that caught `error`: unknown, or not applicable where the snapshot is too old.

    `found` replaces the error's own words where the answer is unknown.
    """
    if isinstance(error, NotAsked):
        return Outcome("not-applicable", error.why, missing=error.missing)
    return unknown(found or error.why, expected=expected, missing=error.missing)


def worst(statuses: list[Status]) -> Status:
    """The worst of several statuses; nothing at all is `unknown`."""
    return min(statuses, key=WORST_FIRST.index) if statuses else "unknown"


@dataclass(frozen=True)
class Settings:
    """What the user asked for, as far as judging depends on it.

    `routes` is empty (by evidence), ("any",), ("all",) or route ids; `handler` and `socket` name the handler and
    the daemon that are judged, None: found out. `live`: containers are run, from `image`.
    """

    routes: tuple[str, ...] = ()
    handler: str | None = None
    socket: str | None = None
    kubeconfig: str | None = None
    live: bool = False
    live_idle_only: bool = False
    image: str = "builtin"
    sudo: bool = False
    sources: dict[str, str] = field(default_factory=dict)
