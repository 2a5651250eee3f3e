"""The terminal's report: root causes first, what to type last, one line to end on.

Pure: lines with a style each. The style only helps the eye; the text alone says everything. Prose keeps within the
width; commands, paths and diffs are never broken, since they are there to be copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.report.baseline import summary as changes_of
from pytest_gpuready.report.files import configuration
from pytest_gpuready.report.fleet import odd_ones
from pytest_gpuready.report.text import FIELD, Line, Page, columns, counted, cut, folded_hard, listed, wrapped
from pytest_gpuready.report.words import (
    WORDS,
    alike,
    alone,
    counting,
    hosts_from,
    label,
    labels,
    made_of,
    not_counting,
    not_judged,
    proof,
    reason,
    remedies,
    standing,
    there,
    unasked,
    unasked_of,
    untold,
    why,
)
from pytest_gpuready.routes import ROUTES

if TYPE_CHECKING:
    from pytest_gpuready.model import Evidence
    from pytest_gpuready.report.model import Finding, NodeReport, Run, Verdict
    from pytest_gpuready.report.text import Style

__all__ = ["LEAST_WIDTH", "Line", "lines"]

#: Narrower terminals are written to as if they had this many columns.
LEAST_WIDTH = 40

_STYLES: dict[Verdict, Style] = {
    "ready": "good",
    "unknown": "warn",
    "not-ready": "bad",
    "incomplete": "bad",
    "unreachable": "bad",
}
_CHANGES: dict[str, Style] = {"+": "good", "-": "bad"}
#: Lines of evidence that are shown without -v.
_BRIEF = 3
#: Of fewer nodes none is odd.
_MANY = 3


def lines(run: Run, *, width: int = 80, verbosity: int = 0, own_failures: int = 0) -> list[Line]:
    """The report for a terminal of `width` columns.

    `verbosity` is pytest's: below 0 only the last line, and root causes with their first command; from 1 all evidence
    and every node that is not ready in full; from 2 the ready ones too. `own_failures`: people's own failing tests.
    """
    page = Page(max(width, LEAST_WIDTH), verbosity)
    if verbosity < 0:
        for nodes in alike(run.nodes, fully=True):
            _quiet(page, nodes)
    else:
        if len(run.nodes) == 1:
            _node(page, list(run.nodes), full=True)
        elif run.nodes:
            _several(page, run)
        page.blank()
        _changed(page, run)
        for note in run.notes:
            page.prose(one_line(note), "dim", first="note: ")
        if run.notes:
            page.blank()
    if own_failures:
        text = f"{own_failures} of your own tests failed: this sets the exit status, not the verdict below."
        page.prose(text, "warn")
    _last(page, run)
    return page.lines


def _changed(page: Page, run: Run) -> None:
    """What changed since the older report, if one was named; equal changes of several nodes once."""
    if run.baseline is None:
        return
    page.heading(f"Changed since {run.baseline.started or 'the older report'}")
    said: dict[str, list[NodeReport]] = {}
    for node in run.nodes:
        for line in changes_of(run.baseline.nodes[node.node]):
            said.setdefault(line, []).append(node)
    for line, nodes in said.items():
        page.prose(line if len(run.nodes) == 1 else f"{line}: {labels(nodes)}", first="  ", rest="    ")
    if run.baseline.missing:
        page.prose(f"not asked now: {listed(run.baseline.missing, 200)}", first="  ", rest="    ")
    if not said and not run.baseline.missing:
        page.prose("nothing", first="  ")
    page.blank()


# ---------------------------------------------------------------------------------------------------- the last line


def _last(page: Page, run: Run) -> None:
    style = _STYLES[run.verdict]
    if not run.nodes:
        page.add("gpuready: UNKNOWN: no node was looked at", style)
        return
    if len(run.nodes) > 1:
        counts = [(sum(node.verdict == verdict for node in run.nodes), word) for verdict, word in WORDS.items()]
        parts = ", ".join(f"{number} {word}" for number, word in counts if number)
        page.prose(
            f"gpuready: {counted(len(run.nodes), 'node')}: {parts}{unasked_of(run.nodes)}{hosts_from(run)}", style
        )
        return
    node = run.nodes[0]
    head = f"gpuready: {label(node)} is {WORDS[node.verdict].upper()}"
    if node.verdict == "ready":
        page.prose(f"{head}{unasked(node)} ({proof(node)}){hosts_from(run)}", style)
    else:
        page.prose(f"{head}: {why(node, page.width - columns(head) - 2)}{hosts_from(run)}", style)


# ---------------------------------------------------------------------------------------------------- one node


def _node(page: Page, nodes: list[NodeReport], *, full: bool) -> None:
    """One node, or several alike, shown as the first of them is. `full`: with routes, warnings and the rest."""
    node = nodes[0]
    hostname = one_line(node.hostname or "")
    head = f"{labels(nodes)}  {WORDS[node.verdict].upper()}{unasked(node)}"
    if len(nodes) > 1:
        head += f"  ({counted(len(nodes), 'node')}; as seen on {label(node)})"
    elif hostname and hostname not in label(node):
        head += f"  ({hostname})"
    page.prose(head, _STYLES[node.verdict], rest="  ")
    for line in _in_lines(made_of(node), page.width):
        page.add(line, "dim")
    roots = counting(node)
    told = untold(node)
    if told is not None:
        page.prose(told)
    for finding in roots:
        _root(page, node, finding)
    asked = node.verdict != "unreachable"
    if full and asked:
        _routes(page, node)
    if asked:
        _hint(page, node)
    if full:
        _asides(page, "Warnings (advisory: they change no verdict)", node.warnings)
        _asides(page, "Also seen, not counted for a required route", not_counting(node))
    _what_to_type(page, nodes, roots)
    if page.verbosity > 0:
        others = [finding for finding in [*not_counting(node), *node.warnings] if finding.outcome.remedy]
        _remedies(page, "What else could be typed (it changes no verdict)", others)


def _in_lines(items: list[str], width: int) -> list[str]:
    """The items on as few lines as it takes."""
    lines: list[str] = []
    for item in items:
        if lines and columns(f"{lines[-1]} · {item}") <= width:
            lines[-1] += f" · {item}"
        else:
            lines += wrapped(item, width)
    return lines


def _root(page: Page, node: NodeReport, finding: Finding) -> None:
    check, outcome = finding.check, finding.outcome
    page.blank()
    style: Style = "bad" if finding.status == "fail" else "warn"
    page.prose(f"{check.id}  {one_line(check.title)}", style, first=f"{finding.status.upper()}  ", rest="  ")
    page.field("found", one_line(outcome.found, 800))
    if outcome.expected:
        page.field("expected", one_line(outcome.expected, 800))
    if outcome.where:
        page.add("  where".ljust(FIELD) + one_line(str(outcome.where)))
    if finding.keeps:
        page.field("keeps", f"{', '.join(finding.keeps)} from being ready")
    blocks = node.blocks(check.id)
    if len(blocks) > 1 and len(blocks) == len(node.findings) - 1:
        page.field("blocks", "every other check", "dim")
    elif blocks:
        room = page.width - FIELD if page.verbosity < 1 else 100_000
        page.field("blocks", listed(blocks, room), "dim")
    _evidence(page, outcome.evidence)


def _evidence(page: Page, evidence: tuple[Evidence, ...]) -> None:
    """What was seen: its beginning, or with -v all of it."""
    indent = " " * FIELD + "| "
    room = page.width - len(indent)
    shown, hidden = evidence, 0
    if page.verbosity < 1:
        shown = evidence[:1]
        hidden = sum(len(_said(item)) for item in evidence[1:])
    for item in shown:
        page.add("  evidence".ljust(FIELD) + one_line(item.source), "dim")
        said = _said(item)
        if page.verbosity < 1:
            hidden += len(said[_BRIEF:])
            said = [cut(line.expandtabs(8), room) for line in said[:_BRIEF]]
        for line in said:
            for piece in folded_hard(line, room):
                page.add(indent + piece, "dim")
    if hidden:
        page.add(" " * FIELD + f"({counted(hidden, 'more line')}: -v)", "dim")


def _said(item: Evidence) -> list[str]:
    text = clean(item.text).strip("\n")
    return text.split("\n") if text else []


def _routes(page: Page, node: NodeReport) -> None:
    page.heading("Routes")
    routes = sorted(node.routes.values(), key=lambda route: not route.required)
    widest = max((len(route.id) for route in routes), default=0)
    word = "any of" if node.required.mode == "any" else "required"
    for route in routes:
        first = f"  {route.id.ljust(widest)}  {word if route.required else 'optional':8}  "
        page.prose(standing(route), _STYLES[route.verdict] if route.required else "plain", first=first)
        if route.id in ROUTES and (route.required or route.offered):
            page.add(" " * len(first) + ROUTES[route.id].command, "dim")
    why = "Why required: " if node.required.names else "No route is required: "
    page.prose(one_line(node.required.because), first=f"  {why}", rest="    ")


def _hint(page: Page, node: NodeReport) -> None:
    """Where `ctr run --gpus` is all that fails, many nodes are fine for their users: say how to leave it out."""
    option = alone(node)
    if option is not None:
        page.blank()
        others = "the others alone" if "," in option else "the other alone"
        page.prose(f"Only ctr-gpus is not ready. Where nobody uses it, require {others}:")
        page.verbatim(option, "bold", "  ")


def _asides(page: Page, heading: str, findings: list[Finding]) -> None:
    """Findings that do not count, one short entry each."""
    if not findings:
        return
    page.heading(heading)
    for finding in findings:
        text = f"{finding.check.id}  {one_line(finding.outcome.found, 800)}"
        page.prose(text, first=f"  {finding.status.upper()}  ", rest="    ")


# ---------------------------------------------------------------------------------------------------- what to type


def _what_to_type(page: Page, nodes: list[NodeReport], roots: list[Finding]) -> None:
    """The remedies of the roots that count, numbered; then what is not known yet."""
    _remedies(page, f"What to type{there(nodes)}", [root for root in roots if root.outcome.remedy])
    helpless = [root.check.id for root in roots if not root.outcome.remedy]
    if helpless:
        page.blank()
        page.prose(f"No command is known for {', '.join(helpless)}. What it means, and why:")
        for check_id in helpless:
            page.verbatim(f"pytest --gpuready-explain {check_id}")
    rest = not_judged(nodes[0])
    if rest is not None:
        page.blank()
        page.prose(rest)


def _remedies(page: Page, heading: str, findings: list[Finding]) -> None:
    """Each remedy once, numbered: its summary, its commands at the margin, and as a diff what they change."""
    merged = remedies(findings)
    if merged:
        page.heading(heading)
    for number, (remedy, ids) in enumerate(merged, 1):
        page.blank()
        page.prose(f"{', '.join(ids)}: {one_line(remedy.summary, 600)}", first=f"{number}. ")
        for command in remedy.commands:
            page.verbatim(command, "bold")
        for edit in remedy.edits:
            page.blank()
            page.add(f"   The change to {one_line(edit.path)}:")
            for line in clean(edit.diff).strip("\n").split("\n"):
                page.verbatim(line, _CHANGES.get(line[:1], "dim"), "     ")


# ---------------------------------------------------------------------------------------------------- several nodes


def _several(page: Page, run: Run) -> None:
    _table(page, run)
    _odd(page, run)
    full = page.verbosity > 0
    groups = [[node] for node in run.nodes] if full else alike(run.nodes, fully=True)
    groups = [group for group in groups if group[0].verdict != "ready" or page.verbosity > 1]
    for group in groups:
        page.blank()
        _node(page, group, full=full)
    told = {label(node) for group in groups for node in group} if full else set()
    warnings: dict[str, list[NodeReport]] = {}
    for node in run.nodes:
        for finding in node.warnings if label(node) not in told else []:
            warnings.setdefault(finding.check.id, []).append(node)
    if warnings:
        page.heading("Warnings (advisory: they change no verdict)")
        for check_id, nodes in warnings.items():
            page.prose(f"{check_id}  {labels(nodes)}", first="  ", rest="    ")


def _odd(page: Page, run: Run) -> None:
    """Where most nodes agree and some do not: in the inventory, and with -v in configuration files too."""
    if len(run.nodes) < _MANY:
        return
    files = configuration(run.nodes) if page.verbosity > 0 else {}
    odd = [one for one in odd_ones(run.nodes, files) if one.most is not None]
    if odd:
        total = sum(node.reached for node in run.nodes)
        page.blank()
        page.heading("Odd ones (this changes no verdict)")
        for one in odd:
            page.prose(one_line(one.sentence(total), 400), first="  ", rest="    ")


def _table(page: Page, run: Run) -> None:
    """A row per kind of node: which, verdict, roots."""
    rows = [(labels(group), group[0]) for group in alike(run.nodes, fully=False)]
    middle = max(len(WORDS[node.verdict]) for _, node in rows)
    left = min(max(columns(names) for names, _ in rows), page.width // 2)
    left = max(min(left, page.width - middle - 24), len("NODE"))  # 20 columns for the roots, 4 between
    page.add(f"{'NODE'.ljust(left)}  {'VERDICT'.ljust(middle)}  ROOTS", "bold")
    for names, node in rows:
        style = _STYLES[node.verdict]
        shown = names
        if columns(names) > left:
            page.prose(names, style)
            shown = ""
        start = shown + " " * (left - columns(shown) + 2)
        if node.verdict == "ready":
            page.prose(f"ready{unasked(node)} ({proof(node)})", style, first=start)
        else:
            page.prose(why(node), style, first=f"{start}{WORDS[node.verdict].ljust(middle)}  ")


def _quiet(page: Page, nodes: list[NodeReport]) -> None:
    """For nodes that are not ready: each root with its first command."""
    node = nodes[0]
    if node.verdict == "ready":
        return
    head = f"{labels(nodes)}  {WORDS[node.verdict]}"
    roots = counting(node)
    if not roots:
        page.prose(f"{head}  {why(node)}", _STYLES[node.verdict], rest="  ")
    for root in roots:
        told = f": {reason(node)}" if node.verdict in ("unreachable", "incomplete") and root is roots[0] else ""
        page.prose(f"{head}  {root.check.id}{told}", _STYLES[node.verdict], rest="  ")
        remedy = root.outcome.remedy
        if remedy and remedy.commands:
            page.verbatim(remedy.commands[0], "bold")
