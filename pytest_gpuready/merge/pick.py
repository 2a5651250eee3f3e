"""Which result counts for which node, which nodes brought none, and what is to be said of both.

A node is known by its label. Where pytest ran on the node itself (`local://`, or `chroot://` in a pod) every node's
label is the same one: these are told apart by host name, and where that is not enough by their GPUs or their files. No
result is ever taken for another node's; of a node's several results the newest counts.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import REACHABLE
from pytest_gpuready.inputs import InputError, hidden
from pytest_gpuready.judged import incomplete
from pytest_gpuready.merge.share import Sharing
from pytest_gpuready.model import Remedy, unknown
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.hosts import SpecError, expand, parse_all, split
from pytest_gpuready.node.snapshot import file_name
from pytest_gpuready.report.text import counted, listed, node_set

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuready.merge.work import Lost, Result
    from pytest_gpuready.model import Settings
    from pytest_gpuready.report.model import NodeReport

NO_RESULT = "no result was brought"

#: Seconds by which a snapshot may be younger than the end of its run, as the report of that run has it.
_SLACK = 2.0

#: The last second that a date can name.
_LAST = 253_402_300_799

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_HOST = re.compile(r"[a-z]+://(?:[^@/]*@)?\[?([^\]/:?]+)")


@dataclass(frozen=True)
class Wanted:
    """A node that should have brought a result: its name in reports, the host's name, and whether that alone is it."""

    label: str
    name: str
    bare: bool


def wanted(texts: Iterable[str]) -> list[Wanted]:
    """The nodes that `--hosts` names: as for pytest, or by host name alone, since nobody is logged in to here.

    `InputError` for what cannot be understood.
    """
    found: dict[str, Wanted] = {}
    try:
        for part in (part for text in texts for part in split(text)):
            for one in _wanted(part):
                found.setdefault(one.label, one)
    except SpecError as error:
        raise InputError(hidden(str(error))) from None
    return list(found.values())


def _wanted(part: str) -> Iterable[Wanted]:
    scheme, mark, rest = part.partition("://")
    if mark and (scheme != "local" or not rest):
        return [Wanted(node.label, node.host or node.label, bare=False) for node in parse_all([part])]
    names = expand(rest if mark else part)
    for name in names:
        if not _NAME.fullmatch(name):
            raise SpecError(f"{hidden(one_line(name, 100))!r} is neither a host name nor a host spec")
    return [Wanted(f"local://{name}" if mark else name, name, bare=True) for name in names]


@dataclass
class Picking:
    """The results so far, the newest of each node alone."""

    sharing: Sharing = field(default_factory=Sharing)
    lost: list[Lost] = field(default_factory=list)
    #: Files whose results are older than others of the same nodes.
    older: list[str] = field(default_factory=list)
    _groups: dict[str, list[Result]] = field(default_factory=dict)
    #: By group and GPU, where in the group.
    _gpus: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """One more result."""
        report = self.sharing.report(result.report)
        label, relative = _label(report)
        facts = report.facts
        facts.node = label
        result = dataclasses.replace(result, report=report)
        group = self._groups.setdefault(label, [])
        at = self._same(label, result) if relative else 0 if group else None
        if at is None:
            at = len(group)
            group.append(result)
        else:
            group[at], older = _newer(result, group[at])
            self.older.append(older.shown)
        for gpu in _gpus(group[at].report) if relative else ():
            self._gpus[label, gpu] = at

    def _same(self, label: str, result: Result) -> int | None:
        """Where the group holds this very machine; None: nothing tells."""
        gpus = _gpus(result.report)
        for gpu in gpus:
            if (label, gpu) in self._gpus:
                return self._gpus[label, gpu]
        folder = PurePath(result.shown).parent
        for at, other in enumerate(self._groups[label]):
            if PurePath(other.shown).parent == folder and _one_run(result, other) and _gpus(other.report) == gpus:
                return at
        return None

    def nodes(self) -> dict[str, Result]:
        """The result that counts for each node, by the node's name."""
        found: dict[str, Result] = {}
        for label, group in self._groups.items():
            for result in group:
                name = label if len(group) == 1 and label != "local" else f"{label} ({result.shown})"
                name = _unused(name, found)
                result.report.facts.node = name
                found[name] = result
        return found

    def namesakes(self) -> dict[str, int]:
        """Names that several results have, and nothing tells whether they are one node."""
        return {label: len(group) for label, group in self._groups.items() if len(group) > 1}


def _label(report: NodeReport) -> tuple[str, bool]:
    """The node's name in the merged report; whether its label was the name of any node that judges itself."""
    if report.node == "local":
        return (f"local://{report.hostname}" if report.hostname else "local"), True
    if report.node.startswith("chroot://"):
        return f"chroot://{report.hostname or ''}{report.node.removeprefix('chroot://')}", True
    return report.node, False


def _unused(name: str, taken: Iterable[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _gpus(report: NodeReport) -> frozenset[str]:
    gpus = report.inventory.get("gpus")
    return frozenset(
        gpu["uuid"] for gpu in (gpus if isinstance(gpus, list) else ()) if isinstance(gpu, dict) and gpu.get("uuid")
    )


def _one_run(one: Result, other: Result) -> bool:
    """Whether one is the snapshot and the other the report of the same run."""
    if one.judged_here == other.judged_here:
        return False
    taken, told = (one, other) if one.judged_here else (other, one)
    return told.began <= taken.began <= told.ended + _SLACK


def _newer(one: Result, other: Result) -> tuple[Result, Result]:
    """The result that counts, and the other.

    Of one run the snapshot does, since today's checks judge it; but it does not hold what a site's own checks found.
    """
    if _one_run(one, other):
        taken, told = (one, other) if one.judged_here else (other, one)
        return (told, taken) if told.own else (taken, told)
    older, newer = sorted((one, other), key=lambda result: (result.began, result.judged_here, result.shown))
    return newer, older


# ---------------------------------------------------------------------------------------------------- the whole


@dataclass(frozen=True)
class Merged:
    """Every node in its order, and sentences about how that came to be."""

    nodes: tuple[NodeReport, ...]
    notes: tuple[str, ...]
    live: bool


def merged(picking: Picking, names: list[Wanted] | None, settings: Settings) -> Merged:
    """The nodes asked for in the order asked for (None: nobody said which), then the others by name."""
    there = picking.nodes()
    order: dict[str, NodeReport] = {}
    lost = [one for one in picking.lost if one.ours]
    index = _Index(there)
    missing = 0
    for one in names or ():
        for label in (found := index.find(one)):
            order.setdefault(label, there[label].report)
        if not found:
            why = _file_of(one, lost)
            missing += why is None
            label = _unused(one.label, there)
            order[label] = picking.sharing.report(_without(label, why or NO_RESULT, settings))
    others = sorted((label for label in there if label not in order), key=_natural)
    order.update((label, there[label].report) for label in others)
    for damaged in lost:
        label = _unused(damaged.shown, order)
        order[label] = picking.sharing.report(_without(label, f"the file {damaged.why}", settings))
    return Merged(
        tuple(order.values()),
        tuple(_notes(picking, there, None if names is None else others, settings)),
        any(result.live for result in there.values()),
    )


def _without(label: str, why: str, settings: Settings) -> NodeReport:
    """A node without a result: nobody knows whether it could be logged in to, and that is not what is to be mended."""
    report = incomplete(label, why, settings)
    said = unknown(
        why,
        expected="a snapshot or a JSON report of it",
        missing="not-asked",
        remedy=Remedy("Bring its result again; the log of what ran there says why there is none."),
    )
    reach = dataclasses.replace(report.findings[REACHABLE], outcome=said)
    routes = {name: dataclasses.replace(route, verdict="unknown") for name, route in report.routes.items()}
    return dataclasses.replace(report, findings={**report.findings, REACHABLE: reach}, routes=routes)


class _Index:
    """Results by every name that their node may be meant by."""

    def __init__(self, there: dict[str, Result]) -> None:
        self.there = there
        self.any: dict[str, list[str]] = defaultdict(list)
        self.own: dict[str, list[str]] = defaultdict(list)
        for label, result in there.items():
            host = _HOST.match(label)
            said = {result.report.hostname or "", host[1] if host else ""}
            plain = {name.partition(".")[0] for name in said if not name.replace(".", "").isdigit()}
            own = label.startswith(("local", "chroot://"))
            path = PurePath(result.shown)
            # Who brought it may have named its file or folder as the node is called there.
            brought = {path.stem, path.parent.name} if own else set()
            for name in sorted((said | plain | brought) - {""}):
                self.any[name].append(label)
                if own:
                    self.own[name].append(label)

    def find(self, one: Wanted) -> list[str]:
        """The results of a node; several where nothing tells which of them is its."""
        if one.label in self.there:
            return [one.label]
        names = self.any if one.bare else self.own
        if one.name in names:
            return names[one.name]
        # Asked for by its whole name, and its own word is the short one.
        short = one.name.partition(".")[0]
        return [label for label in names.get(short, ()) if "." not in (self.there[label].report.hostname or ".")]


def _file_of(one: Wanted, lost: list[Lost]) -> str | None:
    """Why the file that is named as the node is says nothing; it is taken out of the lost ones."""
    for damaged in lost:
        path = PurePath(damaged.shown)
        if {one.name, file_name(one.label)} & {path.stem, path.parent.name}:
            lost.remove(damaged)
            return f"{damaged.shown} {damaged.why}"
    return None


def _natural(label: str) -> list[tuple[int, int, str]]:
    """Names in the order of the numbers in them."""
    parts = re.split(r"([0-9]{1,18})", label)
    return [(1, int(part), part) if at % 2 else (0, 0, part) for at, part in enumerate(parts)]


def _notes(picking: Picking, there: dict[str, Result], others: list[str] | None, settings: Settings) -> Iterable[str]:
    judged = [result for result in there.values() if result.judged_here]
    read = [result for result in there.values() if not result.judged_here]
    said = [f"{counted(len(judged), 'snapshot')} judged now"] if judged else []
    said += [f"{counted(len(read), 'node')} as JSON reports tell of them"] if read else []
    if there:
        first, last = (_time(choose(result.began for result in there.values())) for choose in (min, max))
        yield f"{' and '.join(said)}; found {f'at {first}' if first == last else f'from {first} to {last}'}"
    if picking.older:
        files = listed(sorted(set(picking.older)), 300)
        yield f"{counted(len(picking.older), 'result')} not counted, there being newer ones of the same nodes: {files}"
    for label, number in sorted(picking.namesakes().items(), key=lambda item: _natural(item[0]))[:20]:
        yield f"{number} results are called {label}, and nothing tells whether of one node: each is shown by its file"
    aside = [one.shown for one in picking.lost if not one.ours]
    if aside:
        yield f"no results, and left aside: {listed(aside, 300)}"
    if read and (settings.handler or settings.socket):
        options = [settings.sources[key] for key in ("handler", "containerd") if key in settings.sources]
        yield f"{' and '.join(options)}: not for what JSON reports tell, which was judged before"
    if others is None:
        yield "a node that brought no result is not known of: --hosts or --gpuready-hosts-file name those expected"
    elif others:
        yield f"not among those expected: {listed(split(node_set(others)), 300)}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), _LAST), timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
