"""Several nodes at a glance: a matrix of nodes and families in which equal nodes are one row, and what is odd.

No node is the golden one: what most nodes say is the measure of the others, and only where most of them do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import FAMILIES
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.report.inventory import KEYS
from pytest_gpuready.report.model import VERDICTS
from pytest_gpuready.report.text import counted
from pytest_gpuready.report.words import counting, gpu_names, labels

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from pytest_gpuready.model import Status
    from pytest_gpuready.report.files import Version
    from pytest_gpuready.report.model import NodeReport, Verdict

_NAMES = {"os": "operating system", "gpus": "GPUs"}

#: More values than this of one thing are counted, not listed.
_LISTED = 6


@dataclass(frozen=True)
class Cell:
    """How a family stands on a node: its worst status that counts, and in words what is behind it."""

    status: Status | None
    text: str


@dataclass(frozen=True)
class Row:
    """Nodes of one verdict whose families all stand alike."""

    nodes: tuple[NodeReport, ...]
    verdict: Verdict
    cells: tuple[Cell, ...]


def families(nodes: Iterable[NodeReport]) -> list[str]:
    """The families that have a finding somewhere, in the catalogue's order; a site's own last."""
    there = {finding.check.family for node in nodes for finding in node.findings.values()}
    known = [family for family in FAMILIES if family in there]
    return [*known, *sorted(there - set(known))]


def matrix(nodes: Sequence[NodeReport]) -> list[Row]:
    """The rows, those with the worst verdict first; in the order asked for where that is the same."""
    columns = families(nodes)
    rows: dict[Hashable, list[NodeReport]] = {}
    for node in nodes:
        rows.setdefault((node.verdict, tuple(_cells(node, columns))), []).append(node)
    made = [Row(tuple(alike), alike[0].verdict, tuple(_cells(alike[0], columns))) for alike in rows.values()]
    return sorted(made, key=lambda row: VERDICTS.index(row.verdict))


def _cells(node: NodeReport, columns: Sequence[str]) -> Iterable[Cell]:
    causes = {finding.check.id for finding in counting(node)}
    for family in columns:
        found = [finding for finding in node.findings.values() if finding.check.family == family]
        roots = [finding for finding in found if finding.check.id in causes]
        counts = Counter(finding.status for finding in found)
        if roots:
            status: Status = "fail" if any(root.status == "fail" for root in roots) else "unknown"
            yield Cell(status, ", ".join(root.check.id.partition(".")[2] for root in roots))
        elif not found:
            yield Cell(None, "not judged")
        elif counts["blocked"]:
            yield Cell("blocked", f"{counts['blocked']} blocked")
        elif counts["warn"]:
            yield Cell("warn", counted(counts["warn"], "warning"))
        elif counts["pass"]:
            yield Cell("pass", f"{counts['pass']} passed")
        else:
            yield Cell("not-applicable", "not applicable")


@dataclass(frozen=True)
class Odd:
    """One thing in which nodes differ: the value of most (None: no value has a majority) and the others' values.

    `others` holds value and nodes; `more` is how many further values were left out.
    """

    what: str
    most: str | None
    number: int
    others: tuple[tuple[str, tuple[NodeReport, ...]], ...]
    more: int = 0

    def sentence(self, total: int) -> str:
        """`3 of 512: driver 570.86 (ssh://gpu[007-009]); all others 580.159`."""
        parts = [f"{len(nodes)} of {total}: {self.what} {value} ({labels(nodes)})" for value, nodes in self.others]
        if self.more:
            parts.append(f"{self.more} further values")
        if self.most is not None:
            parts.append(f"all others {self.most}")
        return "; ".join(parts)


def odd_ones(nodes: Sequence[NodeReport], files: Mapping[str, Sequence[Version]]) -> list[Odd]:
    """In what the nodes that were reached differ: each key of the inventory, and each configuration file."""
    reached = [node for node in nodes if node.reached]
    found = [_odd(_NAMES.get(key, key), [(_value(node, key), node) for node in reached]) for key in KEYS]
    for path, versions in files.items():
        said: dict[str, str] = {}
        for version in versions:
            said.update(dict.fromkeys((node.node for node in version.nodes), version.name))
        found.append(_odd(path, [(said.get(node.node, "absent"), node) for node in reached]))
    return [odd for odd in found if odd is not None]


def _value(node: NodeReport, key: str) -> str:
    if key == "gpus":
        gpus = gpu_names(node)
        return "not known" if gpus is None else ", ".join(gpus) or "none"
    value = node.inventory.get(key)
    return "not known" if value is None else one_line(str(value), 100)


def _odd(what: str, said: Sequence[tuple[str, NodeReport]]) -> Odd | None:
    values: dict[str, list[NodeReport]] = {}
    for value, node in said:
        values.setdefault(value, []).append(node)
    if len(values) < 2:
        return None
    ordered = sorted(values.items(), key=lambda item: -len(item[1]))
    most, having = ordered[0]
    majority = len(having) * 2 > len(said)
    if not majority and len(values) * 2 > len(said) > 3:
        return None  # nearly every node says something of its own, such as its GPUs' UUIDs: nothing is odd in that
    others = ordered[1:] if majority else ordered
    shown = tuple((value, tuple(nodes)) for value, nodes in others[:_LISTED])
    return Odd(what, most if majority else None, len(having) if majority else 0, shown, max(0, len(others) - _LISTED))
