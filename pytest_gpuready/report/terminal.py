"""The terminal's report: root causes first, what to type last, one line to end on.

Pure: lines with a style each. The style only helps the eye; the text alone says everything. Prose keeps within the
width; commands, paths and diffs are never broken, since they are there to be copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.report.text import FIELD, Line, Page, columns, counted, cut, folded_hard, listed, node_set, wrapped
from pytest_gpuready.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from pytest_gpuready.model import Evidence, Remedy
    from pytest_gpuready.report.model import Finding, NodeReport, RouteReport, Run, Verdict
    from pytest_gpuready.report.text import Style

__all__ = ["LEAST_WIDTH", "Line", "lines"]

#: Narrower terminals are written to as if they had this many columns.
LEAST_WIDTH = 40

_WORDS: dict[Verdict, str] = {
    "ready": "ready",
    "unknown": "unknown",
    "not-ready": "not ready",
    "incomplete": "incomplete",
    "unreachable": "unreachable",
}
_STYLES: dict[Verdict, Style] = {
    "ready": "good",
    "unknown": "warn",
    "not-ready": "bad",
    "incomplete": "bad",
    "unreachable": "bad",
}
_PROOFS = {"configured": "configuration; no container was run", "live": "live: a container ran"}
_CHANGES: dict[str, Style] = {"+": "good", "-": "bad"}
#: Lines of evidence that are shown without -v.
_BRIEF = 3


def lines(run: Run, *, width: int = 80, verbosity: int = 0, own_failures: int = 0) -> list[Line]:
    """The report for a terminal of `width` columns.

    `verbosity` is pytest's: below 0 only the last line, and root causes with their first command; from 1 all evidence
    and every node that is not ready in full; from 2 the ready ones too. `own_failures`: people's own failing tests.
    """
    page = Page(max(width, LEAST_WIDTH), verbosity)
    if verbosity < 0:
        for nodes in _alike(run.nodes, fully=True):
            _quiet(page, nodes)
    else:
        if len(run.nodes) == 1:
            _node(page, list(run.nodes), full=True)
        elif run.nodes:
            _several(page, run)
        page.blank()
        for note in run.notes:
            page.prose(one_line(note), "dim", first="note: ")
        if run.notes:
            page.blank()
    if own_failures:
        text = f"{own_failures} of your own tests failed: this sets the exit status, not the verdict below."
        page.prose(text, "warn")
    _last(page, run)
    return page.lines


# ---------------------------------------------------------------------------------------------------- the last line


def _last(page: Page, run: Run) -> None:
    style = _STYLES[run.verdict]
    if not run.nodes:
        page.add("gpuready: UNKNOWN: no node was looked at", style)
        return
    if len(run.nodes) > 1:
        counts = [(sum(node.verdict == verdict for node in run.nodes), word) for verdict, word in _WORDS.items()]
        parts = ", ".join(f"{number} {word}" for number, word in counts if number)
        page.prose(f"gpuready: {counted(len(run.nodes), 'node')}: {parts}", style)
        return
    node = run.nodes[0]
    head = f"gpuready: {_label(node)} is {_WORDS[node.verdict].upper()}"
    if node.verdict == "ready":
        page.prose(f"{head} ({_proof(node)})", style)
    else:
        page.prose(f"{head}: {_why(node, page.width - columns(head) - 2)}", style)


def _why(node: NodeReport, width: int = 10_000) -> str:
    """In a few words why the node is not ready: its roots, else what else is known."""
    roots = [finding.check.id for finding in _counted(node)]
    if roots:
        return listed(roots, width)
    if node.verdict in ("unreachable", "incomplete"):
        return _reason(node)
    return "nothing looked at its routes" if node.required.names else "no route is required of it"


def _reason(node: NodeReport) -> str:
    """Why the node was not judged to the end: what was told, else what its first root found."""
    if node.reason:
        return one_line(node.reason, 800)
    if node.verdict == "unreachable":
        roots = _counted(node)
        return one_line(roots[0].outcome.found, 800) if roots else "the node could not be asked"
    return "judging did not come to its end"


def _proof(node: NodeReport) -> str:
    """How the node's readiness was proved: live only if a container ran on what is required."""
    ready = [route for route in node.routes.values() if route.required and route.verdict == "ready"]
    enough = any if node.required.quantity == "any" else all
    return _PROOFS["live" if ready and enough(route.proof == "live" for route in ready) else "configured"]


def _label(node: NodeReport) -> str:
    return one_line(node.node)


def _labels(nodes: Iterable[NodeReport]) -> str:
    return node_set(_label(node) for node in nodes)


def _counted(node: NodeReport) -> list[Finding]:
    """The roots that make the node's verdict. A node with one ready route of `any` is ready: none counts."""
    return [] if node.verdict == "ready" else [finding for finding in node.roots if finding.keeps]


def _uncounted(node: NodeReport) -> list[Finding]:
    counting = {finding.check.id for finding in _counted(node)}
    return [finding for finding in node.roots if finding.check.id not in counting]


# ---------------------------------------------------------------------------------------------------- one node


def _node(page: Page, nodes: list[NodeReport], *, full: bool) -> None:
    """One node, or several alike, shown as the first of them is. `full`: with routes, warnings and the rest."""
    node = nodes[0]
    hostname = one_line(node.hostname or "")
    head = f"{_labels(nodes)}  {_WORDS[node.verdict].upper()}"
    if len(nodes) > 1:
        head += f"  ({counted(len(nodes), 'node')}; as seen on {_label(node)})"
    elif hostname and hostname not in _label(node):
        head += f"  ({hostname})"
    page.prose(head, _STYLES[node.verdict], rest="  ")
    for line in _inventory(node, page.width):
        page.add(line, "dim")
    roots = _counted(node)
    if node.verdict in ("unreachable", "incomplete") and _reason(node) not in [root.outcome.found for root in roots]:
        page.prose(_reason(node))
    for finding in roots:
        _root(page, node, finding)
    asked = node.verdict != "unreachable"
    if full and asked:
        _routes(page, node)
    if asked:
        _hint(page, node)
    if full:
        _asides(page, "Warnings (advisory: they change no verdict)", node.warnings)
        _asides(page, "Also seen, not counted for a required route", _uncounted(node))
    _what_to_type(page, nodes, roots)
    if page.verbosity > 0:
        others = [finding for finding in [*_uncounted(node), *node.warnings] if finding.outcome.remedy]
        _remedies(page, "What else could be typed (it changes no verdict)", others)


def _inventory(node: NodeReport, width: int) -> list[str]:
    """What the node is made of, on one line or as few as it takes; what is not known is left out."""
    known = {key: one_line(str(value), 100) for key, value in node.inventory.items() if value is not None}
    items = [known["os"]] if known.get("os") else []
    items += [f"{name} {known[name]}" for name in ("containerd", "driver", "toolkit") if known.get(name)]
    gpus = node.inventory.get("gpus")
    if isinstance(gpus, list):
        names = [one_line(str((gpu.get("name") if isinstance(gpu, dict) else None) or "GPU"), 100) for gpu in gpus]
        items += [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)] or ["no GPU"]
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
    word = "any of" if node.required.quantity == "any" else "required"
    for route in routes:
        first = f"  {route.id.ljust(widest)}  {word if route.required else 'optional':8}  "
        page.prose(_standing(route), _STYLES[route.verdict] if route.required else "plain", first=first)
        if route.id in ROUTES and (route.required or route.offered):
            page.add(" " * len(first) + ROUTES[route.id].command, "dim")
    why = "Why required: " if node.required.names else "No route is required: "
    page.prose(one_line(node.required.because), first=f"  {why}", rest="    ")


def _standing(route: RouteReport) -> str:
    if route.verdict == "ready":
        return f"ready ({_PROOFS[route.proof]})"
    if not route.required and not route.offered:
        return "not offered by this node"
    return f"{_WORDS[route.verdict]}: {', '.join(route.roots) or 'nothing looked at it'}"


def _hint(page: Page, node: NodeReport) -> None:
    """Where `ctr run --gpus` is all that fails, many nodes are fine for their users: say how to leave it out."""
    required = [node.routes[name] for name in node.required.names if name in node.routes]
    others = [route.id for route in required if route.id != "ctr-gpus"]
    failing = [route.id for route in required if route.verdict != "ready"]
    if node.verdict != "ready" and others and failing == ["ctr-gpus"]:
        page.blank()
        alone = "the other alone" if len(others) == 1 else "the others alone"
        page.prose(f"Only ctr-gpus is not ready. Where nobody uses it, require {alone}:")
        page.verbatim(f"--gpuready-routes {','.join(others)}", "bold", "  ")


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
    _remedies(page, f"What to type{_there(nodes)}", [root for root in roots if root.outcome.remedy])
    helpless = [root.check.id for root in roots if not root.outcome.remedy]
    if helpless:
        page.blank()
        page.prose(f"No command is known for {', '.join(helpless)}. What it means, and why:")
        for check_id in helpless:
            page.verbatim(f"pytest --gpuready-explain {check_id}")
    causes = {root.check.id for root in roots}
    if nodes[0].verdict == "unreachable":
        return
    blocked = sum(not causes.isdisjoint(finding.blocked_by) for finding in nodes[0].findings.values())
    if blocked:
        page.blank()
        was = "blocked check has" if blocked == 1 else "blocked checks have"
        page.prose(f"Then run pytest again: {blocked} {was} not been judged yet.")


def _there(nodes: list[NodeReport]) -> str:
    label = _label(nodes[0])
    if len(nodes) > 1:
        return " on each of them"
    if label.startswith("snapshot://"):
        return f" on {one_line(nodes[0].hostname or 'that node')}"
    return "" if label == "local" else f" on {label}"


def _remedies(page: Page, heading: str, findings: list[Finding]) -> None:
    """Each remedy once, numbered: its summary, its commands at the margin, and as a diff what they change."""
    merged: dict[Hashable, tuple[Remedy, list[str]]] = {}
    for finding in findings:
        remedy = finding.outcome.remedy
        if remedy is not None:
            key = (remedy.commands, remedy.edits) if remedy.commands else finding.check.id
            merged.setdefault(key, (remedy, []))[1].append(finding.check.id)
    if merged:
        page.heading(heading)
    for number, (remedy, ids) in enumerate(merged.values(), 1):
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


def _alike(nodes: Iterable[NodeReport], *, fully: bool) -> list[list[NodeReport]]:
    """Nodes of one verdict and with the same roots together, in the order asked for.

    `fully`: only where the same required routes, reason and remedies go with it, so that one text serves all of them.
    """
    groups: dict[Hashable, list[NodeReport]] = {}
    for node in nodes:
        roots = _counted(node)
        key: tuple[Hashable, ...] = (node.verdict, _why(node), _proof(node) if node.verdict == "ready" else None)
        if fully:
            key = (*key, node.required, node.reason, tuple(root.outcome.remedy for root in roots))
        groups.setdefault(key, []).append(node)
    return list(groups.values())


def _several(page: Page, run: Run) -> None:
    _table(page, run)
    full = page.verbosity > 0
    groups = [[node] for node in run.nodes] if full else _alike(run.nodes, fully=True)
    groups = [group for group in groups if group[0].verdict != "ready" or page.verbosity > 1]
    for group in groups:
        page.blank()
        _node(page, group, full=full)
    told = {_label(node) for group in groups for node in group} if full else set()
    warnings: dict[str, list[NodeReport]] = {}
    for node in run.nodes:
        for finding in node.warnings if _label(node) not in told else []:
            warnings.setdefault(finding.check.id, []).append(node)
    if warnings:
        page.heading("Warnings (advisory: they change no verdict)")
        for check_id, nodes in warnings.items():
            page.prose(f"{check_id}  {_labels(nodes)}", first="  ", rest="    ")


def _table(page: Page, run: Run) -> None:
    """A row per kind of node: which, verdict, roots."""
    rows = [(_labels(group), group[0]) for group in _alike(run.nodes, fully=False)]
    middle = max(len(_WORDS[node.verdict]) for _, node in rows)
    left = min(max(columns(label) for label, _ in rows), page.width // 2)
    left = max(min(left, page.width - middle - 24), len("NODE"))  # 20 columns for the roots, 4 between
    page.add(f"{'NODE'.ljust(left)}  {'VERDICT'.ljust(middle)}  ROOTS", "bold")
    for label, node in rows:
        style = _STYLES[node.verdict]
        shown = label
        if columns(label) > left:
            page.prose(label, style)
            shown = ""
        start = shown + " " * (left - columns(shown) + 2)
        if node.verdict == "ready":
            page.prose(f"ready ({_proof(node)})", style, first=start)
        else:
            page.prose(_why(node), style, first=f"{start}{_WORDS[node.verdict].ljust(middle)}  ")


def _quiet(page: Page, nodes: list[NodeReport]) -> None:
    """For nodes that are not ready: each root with its first command."""
    node = nodes[0]
    if node.verdict == "ready":
        return
    head = f"{_labels(nodes)}  {_WORDS[node.verdict]}"
    roots = _counted(node)
    if not roots:
        page.prose(f"{head}  {_why(node)}", _STYLES[node.verdict], rest="  ")
    for root in roots:
        told = f": {_reason(node)}" if node.verdict in ("unreachable", "incomplete") and root is roots[0] else ""
        page.prose(f"{head}  {root.check.id}{told}", _STYLES[node.verdict], rest="  ")
        remedy = root.outcome.remedy
        if remedy and remedy.commands:
            page.verbatim(remedy.commands[0], "bold")
