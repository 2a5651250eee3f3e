"""Configuration files as read, in the HTML report: each path once, the nodes' versions of it side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.report import markup, words
from pytest_gpuready.report.files import REDACTED, difference, shown_lines
from pytest_gpuready.report.markup import code, text
from pytest_gpuready.report.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gpuready.report.files import Version
    from pytest_gpuready.report.model import NodeReport

#: Characters of all files together, and versions of one file; what is left out is said.
SIZE_LIMIT, VERSIONS_LIMIT = 1_000_000, 8


def render(nodes: Sequence[NodeReport], files: Mapping[str, Sequence[Version]]) -> str:
    """Every configuration file, folded; lines that a cause points to are marked."""
    if not files:
        return ""
    pointed = _pointed(nodes)
    parts, size, left = [], 0, []
    for path, versions in files.items():
        if size > SIZE_LIMIT:
            left.append(path)
            continue
        parts.append(_file(path, versions, pointed.get(path, {}), several=len(nodes) > 1))
        size += len(parts[-1])
    told = f"<p>Left out for their size: {markup.codes(left)}.</p>" if left else ""
    return (
        '<section class="files" aria-label="Configuration files"><h2>Configuration files as read</h2>'
        '<p class="quiet">Secrets are removed; the lines are numbered as in the file.</p>'
        f"{''.join(parts)}{told}</section>\n"
    )


def _pointed(nodes: Sequence[NodeReport]) -> dict[str, dict[str, set[int]]]:
    """The lines that causes point to, by path and node."""
    found: dict[str, dict[str, set[int]]] = {}
    for node in nodes:
        for root in words.counting(node):
            where = root.outcome.where
            if where is not None and where.line is not None:
                found.setdefault(where.path, {}).setdefault(node.node, set()).add(where.line)
    return found


def _file(path: str, versions: Sequence[Version], pointed: Mapping[str, set[int]], *, several: bool) -> str:
    common = next((version.text for version in versions if version.text is not None), None)
    removed = any(REDACTED.search(version.text) for version in versions if version.text is not None)
    notes = [counted(len(versions), "version") if len(versions) > 1 else ""]
    if common is not None:
        notes.append(counted(len(shown_lines(common)), "line"))
    notes.append("secrets removed" if removed else "")
    summary = f"{code(path)} <small>{', '.join(note for note in notes if note)}</small>"
    parts = []
    for number, version in enumerate(versions[:VERSIONS_LIMIT]):
        marks: set[int] = set().union(*(pointed.get(node.node, set()) for node in version.nodes))
        if several:
            parts.append(f"<p>{text(version.name)} on {code(words.labels(version.nodes), 2000)}:</p>")
        if version.text is None:
            parts.append(f"<p>could not be read: {text(version.why)}</p>")
            continue
        diff = difference(common, version.text) if number and common is not None else []
        if diff and len(diff) < len(shown_lines(version.text)):
            parts.append(f"<pre>{markup.marked(chr(10).join(diff))}</pre>")
        else:
            parts.append(f'<pre class="lines">{_lines(version.text, marks)}</pre>')
        if version.why:
            parts.append(f"<p>{text(version.why)}</p>")
    if len(versions) > VERSIONS_LIMIT:
        parts.append(f"<p>{len(versions) - VERSIONS_LIMIT} further versions are left out.</p>")
    return markup.folded(summary, "".join(parts))


def _lines(content: str, marks: set[int]) -> str:
    """Lines whose numbers are the style sheet's, so that copying takes the file's text alone."""
    lines = []
    for number, line in enumerate(shown_lines(content), 1):
        said = markup.marked(line)
        lines.append(f"<span><mark>{said or ' '}</mark></span>" if number in marks else f"<span>{said}</span>")
    return "".join(lines)
