"""Configuration files as they were read: which facts are such, the lines around a place, and how nodes' files differ.

Pure. The texts are redacted already (`node/redact.py`); here they are cleaned and cut to what a report can hold.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import clean, one_line, shorten
from pytest_gpuready.node.facts import REACH, Fact, file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuready.model import Where
    from pytest_gpuready.node.facts import Request, State
    from pytest_gpuready.report.model import NodeReport

#: Most characters of a line and most lines of a file that a report shows.
LINE_LIMIT, LINES_LIMIT = 1000, 1500

#: What the kernel makes up is an answer, no configuration; programs and identity files are none either.
_NO_CONFIGURATION = re.compile(r"/(?:proc|sys|dev)/|.*/s?bin/|.*/os-release$|.*\.ko(?:\.[a-z0-9]+)?$")
#: What stands in the place of a secret that its quotes or its argument delimit. Letters and digits that were replaced
#: one for one cannot be told from others, so that nothing counts secrets.
REDACTED = re.compile(r"\[redacted\]\**|\*{4,}")

#: Lines before and after the one that is pointed to.
_AROUND = 3


@dataclass(frozen=True)
class Excerpt:
    """Lines of a file, `first` being the number of the first one (from 1), `marked` of the one that matters."""

    path: str
    first: int
    marked: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A file's text as some nodes have it; None: it could not be read there, and `why`."""

    nodes: tuple[NodeReport, ...]
    text: str | None
    why: str = ""

    @property
    def name(self) -> str:
        """A short name by which a reader tells versions apart."""
        if self.text is None:
            return f"unreadable ({self.why})"
        return f"version {hashlib.sha256(self.text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def shown_lines(text: str) -> list[str]:
    """The text as lines that a report can hold; what is left out is said in a line of its own."""
    lines = [shorten(line, LINE_LIMIT) for line in clean(text).rstrip("\n").split("\n")]
    if len(lines) > LINES_LIMIT:
        more = len(lines) - LINES_LIMIT
        lines = [*lines[:LINES_LIMIT], f"… ({more} more lines are left out)"]
    return lines


def excerpt(node: NodeReport, where: Where | None) -> Excerpt | None:
    """The lines around a place, if the file was read and has that line."""
    if where is None or where.line is None:
        return None
    fact = node.facts.peek(file(where.path))
    if fact is None or fact.state not in ("ok", "cut") or not fact.data:
        return None
    lines = fact.text.rstrip("\n").split("\n")
    if not 1 <= where.line <= len(lines):
        return None
    first = max(1, where.line - _AROUND)
    shown = tuple(shorten(line, LINE_LIMIT) for line in lines[first - 1 : where.line + _AROUND])
    return Excerpt(one_line(where.path), first, where.line, shown)


def shown_facts(node: NodeReport) -> list[tuple[Request, Fact]]:
    """All that reports read of a node's facts: whether it answered, its configuration files, and those pointed to."""
    pointed = {root.outcome.where.path for root in node.roots if root.outcome.where is not None}
    return [
        (request, fact)
        for request, fact in node.facts
        if request == REACH
        or (request.kind == "file" and (request.arg[0] in pointed or not _NO_CONFIGURATION.match(request.arg[0])))
    ]


def configuration(nodes: Sequence[NodeReport]) -> dict[str, list[Version]]:
    """Every configuration file that was read on some node, by path; its versions, the most common first."""
    having: dict[str, dict[tuple[State, bytes, str], list[NodeReport]]] = {}
    for node in nodes:
        for request, fact in node.facts:
            if request.kind == "file" and not _NO_CONFIGURATION.match(request.arg[0]):
                said = having.setdefault(request.arg[0], {})
                said.setdefault((fact.state, fact.data, fact.note), []).append(node)
    found: dict[str, dict[tuple[str | None, str], list[NodeReport]]] = {}
    for path, answers in having.items():
        for answer, alike in answers.items():
            key = _read_as(Fact(answer[0], answer[1], note=answer[2]))
            if key is not None:
                found.setdefault(one_line(path), {}).setdefault(key, []).extend(alike)
    return {
        path: sorted(
            (Version(tuple(having), text, why) for (text, why), having in found[path].items()),
            key=lambda version: -len(version.nodes),
        )
        for path in sorted(found)
    }


def _read_as(fact: Fact) -> tuple[str | None, str] | None:
    """The text of a configuration file and what is to be said of it; None: it is none."""
    if fact.state in ("ok", "cut") and b"\0" not in fact.data and not fact.data.startswith((b"#!", b"\x7fELF")):
        return fact.text, "only a part was read" if fact.state == "cut" else ""
    if fact.state in ("denied", "timeout", "odd", "refused"):
        why = {"denied": "permission denied"}.get(fact.state, fact.state)
        return None, one_line(fact.note, 200) or why
    return None


def difference(common: str, other: str) -> list[str]:
    """What another version of a file has in place of the most common one's lines: a unified diff without its head."""
    return list(difflib.unified_diff(shown_lines(common), shown_lines(other), n=1, lineterm=""))[2:]
