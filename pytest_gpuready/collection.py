"""The suite as pytest sees it: collectors and items of our own, beyond the reach of conftests, ini keys and fixtures.

An item shows a finding that was made before; it looks at nothing itself. Ids are the same in every directory:
`gpuready/containerd.py::restarted[ssh://root@n1]`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.checks.catalogue import FAMILIES, Check, catalogue, suite
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = "gpuready"

#: Where the checks lie. pytest looks up conftests and times of change by it, and there are none of a user's.
_CHECKS = Path(__file__).parent / "checks"

#: What items show: by node's label, by check id, `shown.Shown` as plain values.
SHOWN: pytest.StashKey[dict[str, dict[str, dict[str, Any]]]] = pytest.StashKey()


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
        known |= {base, *(f"{base}[{word}]" for word in words)}
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
        self.select = [plain_id(wanted) for wanted in select]
        # A user's `-W error` is about the user's code.
        self.add_marker(pytest.mark.filterwarnings("default"))
        self.add_marker(pytest.mark.gpuready)

    def collect(self) -> Iterator[pytest.Collector]:
        """One collector per family."""
        for family in FAMILIES:
            if any(check.family == family for check in suite(live=is_live(self.config)).values()):
                path = _CHECKS / f"{family}.py"
                yield Family.from_parent(self, name=path.name, path=path, nodeid=family_id(family), suite=self)

    def chosen(self, nodeid: str) -> bool:
        """Whether the command line names this id, or something above it, or nothing at all."""
        plain = plain_id(nodeid)
        return not self.select or any(
            wanted in (plain, ROOT) or plain.startswith((f"{wanted}::", f"{wanted}[")) for wanted in self.select
        )


class Family(_Ours, pytest.Collector):
    """A family of checks."""

    def __init__(self, *, suite: Suite, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite = suite

    def collect(self) -> Iterator[pytest.Item]:
        """One item per node and check: node after node, on each the checks in their order."""
        family = self.name.removesuffix(".py")
        checks = [check for check in catalogue().values() if check.family == family]
        for node, word in self.suite.nodes.items():
            for check in checks:
                name = f"{check.name}[{word}]"
                # Given as text: pytest 9.2 then finds it again in what --lf remembers.
                nodeid = f"{self.nodeid}::{name}"
                if self.suite.chosen(nodeid):
                    yield CheckItem.from_parent(self, name=name, nodeid=nodeid, check=check, node=node)


class CheckItem(_Ours, pytest.Item):
    """One check on one node."""

    def __init__(self, *, check: Check, node: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check
        self.node = node

    @property
    def shown(self) -> Shown:
        """The finding to show; where the run was cut before it was made, that it is not known."""
        entry: Mapping[str, Any] | None = self.config.stash.get(SHOWN, {}).get(self.node, {}).get(self.check.id)
        if entry is None:
            why = f"{self.check.id} was not judged on {self.node}"
            return Shown("unknown", "failed", why, why)
        return Shown(**{**entry, "blocked_by": tuple(entry["blocked_by"]), "remedy": tuple(entry["remedy"])})

    def runtest(self) -> None:
        """Show the finding: pass, raise, or skip."""
        shown = self.shown
        self.user_properties[:] = [
            ("check_id", self.check.id),
            ("node", self.node),
            ("status", shown.status),
            *(("blocked_by", root) for root in shown.blocked_by),
            *zip(("remedy", *("command" for _ in shown.remedy)), shown.remedy, strict=False),
        ]
        if shown.outcome == "skipped":
            pytest.skip(shown.reason)
        if shown.outcome == "failed":
            raise NotReady(shown.text)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where reports say that it stands."""
        return Path(family_id(self.check.family)), None, self.name

    @property
    def location(self) -> tuple[str, int | None, str]:
        """The same, in every directory."""
        return family_id(self.check.family), None, self.name


def order(items: Sequence[pytest.Item], nodes: Sequence[str]) -> list[pytest.Item]:
    """The suite first, node after node, on each the checks in their order, whatever shuffled them; then the others."""
    rank = {node: number for number, node in enumerate(nodes)}
    place = {check_id: number for number, check_id in enumerate(catalogue())}
    mine = [item for item in items if isinstance(item, CheckItem)]
    mine.sort(key=lambda item: (rank[item.node], place[item.check.id]))
    return [*mine, *(item for item in items if not isinstance(item, CheckItem))]


def make_suite(session: pytest.Session, nodes: Sequence[str], select: Sequence[str]) -> Suite:
    """The suite's root below a session."""
    suite: Suite = Suite.from_parent(session, name=ROOT, nodeid=ROOT, path=_CHECKS, nodes=nodes, select=select)
    return suite
