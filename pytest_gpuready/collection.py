"""The suite as pytest sees it: collectors and items of our own, beyond the reach of conftests, ini keys and fixtures.

An item shows a finding that was made before; it looks at nothing itself. Ids are the same in every directory:
`gpuready/containerd.py::restarted[ssh://root@n1]`. Of many nodes it shows a family's findings on a node, by the worst:
`gpuready/containerd.py::checks[ssh://root@n1]`.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.checks.catalogue import FAMILIES, Check, catalogue, suite
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.shown import Shown, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_gpuready.shown import Findings

ROOT = "gpuready"

#: Where the checks lie. pytest looks up conftests and times of change by it, and there are none of a user's.
_CHECKS = Path(__file__).parent / "checks"

#: Above so many nodes an item is a family on a node: pytest takes some 0.5 ms and 5 kB for each of its items, and
#: nobody reads ten thousands of them. Reports hold every check.
FAMILY_ABOVE = 200

#: What stands for the check in such an item's id; no check has this name.
WHOLE = "checks"

#: What items show.
SHOWN: pytest.StashKey[Findings] = pytest.StashKey()


def by_family(nodes: Sequence[str]) -> bool:
    """Whether there are so many nodes that an item is a family."""
    return len(nodes) > FAMILY_ABOVE


def item_label(label: str) -> str:
    """A node's label inside an id: what shells, XML and HTML leave alone."""
    return re.sub(r"[^A-Za-z0-9._:/@%\[\]-]", "_", label)


def labels(nodes: Sequence[str]) -> dict[str, str]:
    """The label inside ids of every node; two that look alike get a number."""
    taken: set[str] = set()
    found: dict[str, str] = {}
    for node in nodes:
        word = base = item_label(node)
        number = 1
        while word in taken:
            number += 1
            word = f"{base}-{number}"
        taken.add(word)
        found[node] = word
    return found


def family_id(family: str) -> str:
    """The id of a family's collector."""
    return f"{ROOT}/{family}.py"


def plain_id(text: str) -> str:
    """An id as it is compared: without the slash that a shell's completion adds, and with single slashes.

    Up to 8.0 pytest shows `ssh://n1` as `ssh:/n1` where the rootdir is not the current directory.
    """
    return re.sub(r"/+", "/", text).rstrip("/")


def misspelt(select: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """The ids named on the command line that are none of the suite's on these nodes."""
    if not select:
        return []
    known = {ROOT, *(family_id(family) for family in FAMILIES)}
    words = [plain_id(word) for word in labels(nodes).values()]
    for check in catalogue().values():
        base = f"{family_id(check.family)}::{check.name}"
        whole = f"{family_id(check.family)}::{WHOLE}"
        known |= {base, whole, *(f"{one}[{word}]" for one in (base, whole) for word in words)}
    return [wanted for wanted in select if plain_id(wanted) not in known]


def mishap(error: BaseException) -> str:
    """An error of ours as one sentence, with its place."""
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"pytest-gpuready itself failed{place}: {type(error).__name__}: {one_line(str(error), 200)}"


def is_live(config: pytest.Config) -> bool:
    """Whether containers are run: then their checks are there."""
    return bool(getattr(config.option, "gpuready_live", False))


class NotReady(Exception):  # noqa: N818 - what a failing finding is shown by
    """A finding that keeps a node from being ready; its text is what people read."""


class _Ours:
    """What all of the suite's nodes have in common: an error of ours is one sentence, never a traceback."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """The finding, or what went wrong, in words."""
        del style
        return str(excinfo.value) if isinstance(excinfo.value, NotReady) else mishap(excinfo.value)


class Suite(_Ours, pytest.Collector):
    """The root of the suite; `nodes` are labels, `select` ids that were named on the command line."""

    def __init__(self, *, nodes: Sequence[str], select: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nodes = labels(nodes)
        self.by_family = by_family(nodes)
        self.select = {plain_id(wanted) for wanted in select}
        # A user's `-W error` is about the user's code.
        self.add_marker(pytest.mark.filterwarnings("default"))
        self.add_marker(pytest.mark.gpuready)

    def collect(self) -> Iterator[pytest.Collector]:
        """One collector per family."""
        for family in FAMILIES:
            if any(check.family == family for check in suite(live=is_live(self.config)).values()):
                path = _CHECKS / f"{family}.py"
                yield Family.from_parent(self, name=path.name, path=path, nodeid=family_id(family), suite=self)

    def chosen(self, family: str, names: Iterable[str], word: str) -> bool:
        """Whether the command line names one of these items, or something above it, or nothing at all."""
        if not self.select:
            return True
        base, word = family_id(family), plain_id(f"[{word}]")
        ids = (f"{base}::{name}" for name in names)
        return bool(self.select & {ROOT, base, *(wanted for one in ids for wanted in (one, f"{one}{word}"))})


class Family(_Ours, pytest.Collector):
    """A family of checks."""

    def __init__(self, *, suite: Suite, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite = suite

    def collect(self) -> Iterator[pytest.Item]:
        """One item per node and check, or one per node: node after node, on each the checks in their order.

        Where checks are one item, the id of a check chooses that item; where they are not, the item's id chooses them.
        """
        family = self.name.removesuffix(".py")
        checks = [check for check in catalogue().values() if check.family == family]
        for node, word in self.suite.nodes.items():
            if self.suite.by_family:
                if self.suite.chosen(family, (WHOLE, *(check.name for check in checks)), word):
                    yield self._item(FamilyItem, WHOLE, node, word, checks)
                continue
            for check in checks:
                if self.suite.chosen(family, (WHOLE, check.name), word):
                    yield self._item(CheckItem, check.name, node, word, [check])

    def _item(self, kind: type[SuiteItem], base: str, node: str, word: str, checks: list[Check]) -> pytest.Item:
        name = f"{base}[{word}]"
        # Given as text: pytest 9.2 then finds it again in what --lf remembers.
        item: pytest.Item = kind.from_parent(self, name=name, nodeid=f"{self.nodeid}::{name}", checks=checks, node=node)
        return item


class SuiteItem(_Ours, pytest.Item):
    """What one node shows of some checks of a family."""

    def __init__(self, *, checks: list[Check], node: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.checks = checks
        self.node = node

    @property
    def family(self) -> str:
        """The checks' family."""
        return self.checks[0].family

    @functools.cached_property
    def entries(self) -> dict[str, Shown]:
        """What each check shows; where the run was cut before it was made, that it is not known."""
        known = self.config.stash.get(SHOWN, {}).get(self.node, {})
        return {check.id: known.get(check.id) or self._missing(check) for check in self.checks}

    def _missing(self, check: Check) -> Shown:
        why = f"{check.id} was not judged on {self.node}"
        return Shown("unknown", "failed", why, why)

    @functools.cached_property
    def shown(self) -> Shown:
        """The finding to show."""
        raise NotImplementedError

    def properties(self) -> Iterator[tuple[str, str]]:
        """What the item is about, for JUnit."""
        raise NotImplementedError

    def runtest(self) -> None:
        """Show the finding: pass, raise, or skip."""
        shown = self.shown
        self.user_properties[:] = [
            *self.properties(),
            ("node", self.node),
            ("status", shown.status),
            *(("blocked_by", root) for root in shown.blocked_by),
            *(
                pair
                for one in self.entries.values()
                for pair in zip(("remedy", *("command" for _ in one.remedy)), one.remedy, strict=False)
            ),
        ]
        if shown.outcome == "skipped":
            pytest.skip(shown.reason)
        if shown.outcome == "failed":
            raise NotReady(shown.text)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where reports say that it stands."""
        return Path(family_id(self.family)), None, self.name

    @property
    def location(self) -> tuple[str, int | None, str]:
        """The same, in every directory."""
        return family_id(self.family), None, self.name


class CheckItem(SuiteItem):
    """One check on one node."""

    @functools.cached_property
    def shown(self) -> Shown:
        """Its finding."""
        return self.entries[self.checks[0].id]

    def properties(self) -> Iterator[tuple[str, str]]:
        """The check."""
        yield "check_id", self.checks[0].id


class FamilyItem(SuiteItem):
    """All checks of a family on one node. `-k` finds it by each of their names."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for check in self.checks:
            self.extra_keyword_matches.update((check.name, check.id))

    @functools.cached_property
    def shown(self) -> Shown:
        """The worst of its findings."""
        return together(self.entries)

    def properties(self) -> Iterator[tuple[str, str]]:
        """The family, and the checks that count against the node."""
        yield "family", self.family
        for check_id, one in self.entries.items():
            if one.outcome == "failed":
                yield "check_id", check_id


def order(items: Sequence[pytest.Item], nodes: Sequence[str]) -> list[pytest.Item]:
    """The suite first, family after family, each node after node, whatever shuffled them; then the others.

    pytest begins a line wherever the family changes: many nodes are a few lines of dots, and not six lines each.
    """
    rank = {node: number for number, node in enumerate(nodes)}
    place = {check_id: number for number, check_id in enumerate(catalogue())}
    mine = [item for item in items if isinstance(item, SuiteItem)]
    mine.sort(key=lambda item: (FAMILIES.index(item.family), rank[item.node], place[item.checks[0].id]))
    return [*mine, *(item for item in items if not isinstance(item, SuiteItem))]


def statuses(found: Findings) -> Counter[str]:
    """How many items of each status there are, were all of them shown."""
    if not by_family(list(found)):
        return Counter(one.status for entries in found.values() for one in entries.values())
    counts: Counter[str] = Counter()
    for entries in found.values():
        for family in FAMILIES:
            mine = {check_id: one for check_id, one in entries.items() if check_id.partition(".")[0] == family}
            if mine:
                counts[together(mine).status] += 1
    return counts


def make_suite(session: pytest.Session, nodes: Sequence[str], select: Sequence[str]) -> Suite:
    """The suite's root below a session."""
    suite: Suite = Suite.from_parent(session, name=ROOT, nodeid=ROOT, path=_CHECKS, nodes=nodes, select=select)
    return suite
