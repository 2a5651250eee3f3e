"""The Markdown report: three lines for a chat, then the details for an issue or a ticket.

Pure. Only what GitHub, GitLab and Jira's editor read alike is written: headings, lists, code; no HTML, no tables. What
a node said stands in code alone, whose fences are longer than any run of backticks in it, so that it stays what it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import clean, one_line, shorten
from pytest_gpuready.report import fleet, words
from pytest_gpuready.report.baseline import summary as changes_of
from pytest_gpuready.report.files import LINE_LIMIT, configuration, excerpt
from pytest_gpuready.report.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_gpuready.report.model import Finding, NodeReport, Run

#: What GitHub takes of one step's summary, in bytes; larger ones are refused whole.
STEP_LIMIT = 1024 * 1024

#: Room for the sentence that says what was left out.
_ROOM = 400


def dumps(run: Run, *, limit: int | None = None) -> str:
    """The report as text. Of `limit` bytes at most, cut between sections; what is left out is said."""
    kept, size = [], 0
    for part in _parts(run):
        length = len(part.encode("utf-8", "replace"))
        if limit is not None and size + length > limit - _ROOM:
            kept.append("\n_More than this place takes: the rest is in the report that `--gpuready-md` writes._\n")
            break
        kept.append(part)
        size += length
    return "".join(kept)


def _parts(run: Run) -> Iterator[str]:
    """The report in pieces, between which it may end."""
    yield "\n".join(chat(run)) + "\n"
    if len(run.nodes) == 1:
        yield from _node(run, list(run.nodes))
    else:
        yield from _several(run)
    yield from _about(run)


def chat(run: Run) -> list[str]:
    """Three lines: which node and what of it, what was found, what to type. Each is a paragraph's line."""
    if not run.nodes:
        return ["**UNKNOWN**: no node was looked at", "", ""]
    groups = sorted(words.alike(run.nodes, fully=True), key=lambda group: group[0].verdict == "ready")
    node = groups[0][0]
    from_file = f"; --hosts is from {_code(run.hosts_from)}" if run.hosts_from else ""
    if len(run.nodes) == 1:
        first = f"**{words.WORDS[node.verdict].upper()}{words.unasked(node)}**: {_code(words.name(node))}{from_file}"
    else:
        counts = [(sum(node.verdict == verdict for node in run.nodes), word) for verdict, word in words.WORDS.items()]
        told = ", ".join(f"{number} {word}" for number, word in counts if number)
        first = f"**{counted(len(run.nodes), 'node')}**: {told}{words.unasked_of(run.nodes)}{from_file}"
    if node.verdict == "ready":
        return [f"{first}  ", f"Proof: {words.proof(node)}  ", f"Made of: {_code(' · '.join(words.made_of(node)))}"]
    roots = words.counting(node)
    on = "" if len(run.nodes) == 1 else f" on {counted(len(groups[0]), 'node')}, as on {_code(words.label(node))}"
    if roots:
        more = f" and {len(roots) - 1} more" if len(roots) > 1 else ""
        second = f"Cause{on}: {_code(roots[0].check.id)}{more}: {_code(roots[0].outcome.found, 300)}"
    else:
        second = f"Cause{on}: {_code(words.why(node), 300)}"
    return [f"{first}  ", f"{second}  ", f"Type{_there(groups[0])}: {_first_command(roots)}"]


def _first_command(roots: list[Finding]) -> str:
    remedy = next((root.outcome.remedy for root in roots if root.outcome.remedy), None)
    if remedy is None or not remedy.commands:
        return _code(f"pytest --gpuready-explain {roots[0].check.id}") if roots else "see below"
    command = clean(remedy.commands[0]).strip("\n")
    if "\n" in command or len(command) > 300:
        return f"what stands below ({_code(remedy.summary, 200)})"
    more = f" and {len(remedy.commands) - 1} more below" if len(remedy.commands) > 1 else ""
    return _code(command, 400) + more


# ---------------------------------------------------------------------------------------------------- one node


def _node(run: Run, nodes: list[NodeReport], level: int = 2) -> Iterator[str]:
    """One node, or several alike as seen on the first of them."""
    node = nodes[0]
    head = "#" * level
    roots = words.counting(node)
    if node.verdict != "ready":
        told = words.untold(node) if roots else words.untold(node) or words.why(node)
        title = {0: "No cause is known", 1: "The cause"}.get(len(roots), f"{len(roots)} causes")
        yield f"\n{head} {title}\n" + (f"\n{_code(told, 800)}\n" if told else "")
        for root in roots:
            yield _cause(node, root)
        yield _to_type(nodes, head)
    if node.verdict != "unreachable":
        yield f"\n{head} Routes\n\n" + "".join(_route(node)) + f"\nWhy: {_code(node.required.because, 800)}\n"
    yield _blocked(node, head)
    for title, findings in (
        ("Warnings (advisory: they change no verdict)", node.warnings),
        ("Also seen, not counted for a required route", words.not_counting(node)),
    ):
        if findings:
            rows = (f"- {f.status.upper()} {_code(f.check.id)}: {_code(f.outcome.found, 800)}\n" for f in findings)
            yield f"\n{head} {title}\n\n{''.join(rows)}"
    if len(run.nodes) == 1:
        yield _changes(run, node, head)
        yield _inventory(node, head)


def _cause(node: NodeReport, finding: Finding) -> str:
    check, outcome = finding.check, finding.outcome
    lines = [
        f"\n**{finding.status.upper()}** {_code(check.id)}: {_plain(check.title)}\n",
        f"\n- found: {_code(outcome.found, 800)}\n",
    ]
    if outcome.expected:
        lines.append(f"- expected: {_code(outcome.expected, 800)}\n")
    if outcome.where:
        lines.append(f"- where: {_code(str(outcome.where))}\n")
    if finding.keeps:
        lines.append(f"- breaks: {_codes(finding.keeps)}\n")
    blocks = node.blocks(check.id)
    if blocks:
        lines.append(f"- blocks: {_codes(blocks)}\n")
    found = excerpt(node, outcome.where)
    if found is not None:
        shown = [
            f"{'>' if number == found.marked else ' '} {number:4}  {line}"
            for number, line in enumerate(found.lines, found.first)
        ]
        lines.append(f"\n{_code(found.path)}, line {found.marked}:\n\n{_fence(chr(10).join(shown))}")
    lines += [f"\n{_code(item.source)}:\n\n{_fence(item.text)}" for item in outcome.evidence]
    return "".join(lines)


def _to_type(nodes: list[NodeReport], head: str) -> str:
    node = nodes[0]
    roots = words.counting(node)
    lines = []
    for number, (remedy, ids) in enumerate(words.remedies(roots), 1):
        # A fence inside a list needs an indent that not all of the three agree on: a paragraph with a number, then.
        lines.append(f"\n{number}\\. {_plain(remedy.summary)} Mends {_codes(ids)}.\n")
        lines += [f"\n{_fence(command, 'sh', whole=True)}" for command in remedy.commands]
        lines += [f"\nThe change to {_code(edit.path)}:\n\n{_fence(edit.diff, 'diff')}" for edit in remedy.edits]
    helpless = [root.check.id for root in roots if not root.outcome.remedy]
    if helpless:
        lines.append("\nNo command is known for the following. What it means, and why:\n\n")
        lines.append(_fence("\n".join(f"pytest --gpuready-explain {check_id}" for check_id in helpless), "sh"))
    option = words.alone(node)
    if option is not None:
        lines.append(f"\nOnly `ctr-gpus` is not ready. Where nobody uses it, leave it out: {_code(option)}\n")
    rest = words.not_judged(node)
    if rest is not None:
        lines.append(f"\n{rest}\n")
    return f"\n{head} What to type{_there(nodes)}\n{''.join(lines)}" if lines else ""


def _there(nodes: list[NodeReport]) -> str:
    there = words.there(nodes).removeprefix(" on ")
    if len(nodes) > 1:
        return f" on {there}"
    return f" on {_code(there)}" if there else ""


def _route(node: NodeReport) -> Iterator[str]:
    word = "any of these" if node.required.mode == "any" else "required"
    for route in sorted(node.routes.values(), key=lambda route: not route.required):
        yield f"- {_code(route.id)} ({word if route.required else 'optional'}): {_plain(words.standing(route))}\n"


def _blocked(node: NodeReport, head: str) -> str:
    found: dict[tuple[str, ...], list[str]] = {}
    for finding in node.findings.values():
        if finding.status == "blocked":
            found.setdefault(finding.blocked_by, []).append(finding.check.id)
    if not found or node.verdict == "unreachable":
        return ""
    rows = (f"- by {_codes(roots)}: {_codes(ids)}\n" for roots, ids in found.items())
    return f"\n{head} Blocked\n\n{''.join(rows)}"


def _changes(run: Run, node: NodeReport, head: str) -> str:
    if run.baseline is None or node.node not in run.baseline.nodes:
        return ""
    rows = changes_of(run.baseline.nodes[node.node]) or ["nothing"]
    since = _code(run.baseline.started or "the older report")
    return f"\n{head} Changed since {since}\n\n" + "".join(f"- {_code(row, 800)}\n" for row in rows)


def _inventory(node: NodeReport, head: str) -> str:
    rows = "".join(f"- {_code(item)}\n" for item in words.made_of(node))
    return f"\n{head} Inventory\n\n{rows}" if rows and node.reached else ""


# ---------------------------------------------------------------------------------------------------- several nodes


def _several(run: Run) -> Iterator[str]:
    rows = []
    for row in fleet.matrix(run.nodes):
        told = ", ".join(f"{_code(root.check.id)}" for root in words.counting(row.nodes[0]))
        if row.verdict == "ready":
            told = words.proof(row.nodes[0]) + words.unasked_of(row.nodes)
        many = f"{counted(len(row.nodes), 'node')} " if len(row.nodes) > 1 else ""
        why = told or _code(words.why(row.nodes[0]), 800)
        rows.append(f"- **{words.WORDS[row.verdict]}**: {many}{_code(words.labels(row.nodes), 4000)}: {why}\n")
    yield f"\n## Nodes\n\n{''.join(rows)}"
    total = sum(node.reached for node in run.nodes)
    odd = fleet.odd_ones(run.nodes, configuration(run.nodes))
    if odd:
        yield "\n## What is odd\n\n" + "".join(f"- {_code(one.sentence(total), 4000)}\n" for one in odd)
    if run.baseline is not None:
        yield _all_changes(run)
    for group in words.alike(run.nodes, fully=True):
        node = group[0]
        if node.verdict == "ready":
            continue
        seen = f" ({counted(len(group), 'node')}, as seen on {_code(words.label(node))})" if len(group) > 1 else ""
        yield f"\n## {_code(words.labels(group), 300)}{seen}\n"
        yield from _node(run, group, 3)


def _all_changes(run: Run) -> str:
    assert run.baseline is not None  # noqa: S101 - the caller looked
    said: dict[str, list[NodeReport]] = {}
    for node in run.nodes:
        for line in changes_of(run.baseline.nodes[node.node]):
            said.setdefault(line, []).append(node)
    rows = [f"- {_code(line, 800)}: {_code(words.labels(nodes), 2000)}\n" for line, nodes in said.items()]
    if run.baseline.missing:
        rows.append(f"- in the older report and not asked now: {_codes(run.baseline.missing[:50])}\n")
    since = _code(run.baseline.started or "the older report")
    return f"\n## Changed since {since}\n\n{''.join(rows) or '- nothing' + chr(10)}"


def _about(run: Run) -> Iterator[str]:
    rows = [
        f"- judged {_plain(run.started)} in {run.duration:.1f} s by {_plain(run.generator)}\n",
        f"- {_code(run.command, 2000)}\n" if run.command else "",
        f"- proof: {'containers were run' if run.live else 'configuration; no container was run'}\n",
        *(f"- note: {_code(note)}\n" for note in run.notes),
    ]
    yield f"\n## About this report\n\n{''.join(rows)}"


# ---------------------------------------------------------------------------------------------------- text


def _plain(text: str) -> str:
    """Our own words. They may quote a name: what could be markup, a mention or a link is code."""
    said = one_line(text, 800)
    return _code(said, 800) if re.search(r"[\\`*_{}\[\]<>#|~!@&$]|\w:[^\s0-9]|www\.", said) else said


def _code(text: str, limit: int = 400) -> str:
    """Words of a node as inline code."""
    said = one_line(text, limit) or " "
    ticks = _ticks(said, 1)
    # One blank at each end is taken off again where both ends have one (CommonMark 0.31, 6.1).
    pad = " " if said.startswith(("`", " ")) or said.endswith(("`", " ")) else ""
    return f"{ticks}{pad}{said}{pad}{ticks}"


def _codes(texts: Iterable[str]) -> str:
    return ", ".join(_code(text) for text in texts)


def _fence(text: str, language: str = "", *, whole: bool = False) -> str:
    """Lines as a block of code. Those that are to be copied are `whole`; others are cut where they are overlong."""
    said = clean(text).strip("\n")
    if not whole:
        said = "\n".join(shorten(line, LINE_LIMIT) for line in said.split("\n"))
    ticks = _ticks(said, 3)
    return f"{ticks}{language}\n{said}\n{ticks}\n"


def _ticks(text: str, least: int) -> str:
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])
