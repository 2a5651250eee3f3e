"""A node in the HTML report, or several alike: the cause, its evidence, what to type, routes, what is blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.report import markup, words
from pytest_gpuready.report.baseline import summary as changes_of
from pytest_gpuready.report.files import excerpt
from pytest_gpuready.report.inventory import KEYS
from pytest_gpuready.report.markup import STATUS, VERDICT, badge, code, codes, text
from pytest_gpuready.report.text import counted
from pytest_gpuready.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuready.model import Edit, Evidence, Where
    from pytest_gpuready.report.baseline import Baseline
    from pytest_gpuready.report.model import Finding, NodeReport, RouteReport

#: More GPUs than this are folded in the inventory.
_GPUS_SHOWN = 16


def causes(node: NodeReport, level: int) -> str:
    """The roots that count, each with its evidence; `level` is that of the heading above them."""
    roots = words.counting(node)
    heading = {0: "No cause is known", 1: "The cause"}.get(len(roots), f"{len(roots)} causes")
    told = words.untold(node)
    if not roots:
        told = told or words.why(node)
    parts = [f"<h{level}>{heading}</h{level}>"]
    if told:
        parts.append(f"<p>{text(told)}</p>")
    parts += [_cause(node, root, level + 1) for root in roots]
    return f'<div class="causes">{"".join(parts)}</div>\n'


def _cause(node: NodeReport, finding: Finding, level: int) -> str:
    check, outcome = finding.check, finding.outcome
    blocks = node.blocks(check.id)
    every = len(blocks) > 1 and len(blocks) == len(node.findings) - 1
    facts = markup.definitions(
        [
            ("Found", f"<strong>{text(outcome.found)}</strong>"),
            ("Expected", text(outcome.expected) if outcome.expected else ""),
            ("Where", _where(outcome.where)),
            ("Routes it breaks", codes(finding.keeps)),
            ("Checks it blocks", "every other check" if every else codes(blocks)),
        ]
    )
    return (
        f'<article class="cause {STATUS[finding.status].tone}"><h{level}>{badge(STATUS[finding.status])} '
        f'{code(check.id)} <span class="title">{text(check.title)}</span></h{level}>\n{facts}'
        f"{_excerpt(node, outcome.where)}{''.join(_evidence(item) for item in outcome.evidence)}</article>\n"
    )


def _where(where: Where | None) -> str:
    return "" if where is None else code(str(where))


def _excerpt(node: NodeReport, where: Where | None) -> str:
    """The file around the place: its line is marked by an arrow and by name, not by colour alone."""
    found = excerpt(node, where)
    if found is None:
        return ""
    width = len(str(found.first + len(found.lines)))
    lines = []
    for number, line in enumerate(found.lines, found.first):
        said = markup.marked(line)
        if number == found.marked:
            lines.append(f'<mark><span class="n">→ {number:{width}} </span>{said}</mark>')
        else:
            lines.append(f'<span><span class="n">  {number:{width}} </span>{said}</span>')
    caption = f"{code(found.path)}, line {found.marked} marked by →"
    return f'<figure><figcaption>{caption}</figcaption><pre class="excerpt">{"".join(lines)}</pre></figure>\n'


def _evidence(item: Evidence) -> str:
    said = markup.block(item.text)
    shown = f"<pre>{said}</pre>" if said else "<p>(it printed nothing)</p>"
    return f"<figure><figcaption>{code(item.source)}</figcaption>{shown}</figure>\n"


def to_type(nodes: list[NodeReport], level: int) -> str:
    """The remedies of the roots that count, numbered; selectable as they are, without any script."""
    node = nodes[0]
    roots = words.counting(node)
    parts = [f"<h{level}>What to type {text(words.there(nodes))}</h{level}>"]
    found = words.remedies(roots)
    if found:
        parts.append(
            f"<ol>{''.join(_remedy(remedy.summary, ids, remedy.commands, remedy.edits) for remedy, ids in found)}</ol>"
        )
    helpless = [root.check.id for root in roots if not root.outcome.remedy]
    if helpless:
        explain = "\n".join(f"pytest --gpuready-explain {check_id}" for check_id in helpless)
        parts.append(
            f"<p>No command is known for {codes(helpless)}. What it means, and why:</p>"
            f"<pre><code>{markup.command(explain)}</code></pre>"
        )
    option = words.alone(node)
    if option is not None:
        parts.append(
            "<p>Only <code>ctr-gpus</code> is not ready. Where nobody uses it, leave it out:</p>"
            f"<pre><code>{markup.command(option)}</code></pre>"
        )
    rest = words.not_judged(node)
    if rest is not None:
        parts.append(f"<p>{text(rest)}</p>")
    return f'<div class="type">{"".join(parts)}</div>\n' if len(parts) > 1 else ""


def _remedy(summary: str, ids: Sequence[str], commands: Sequence[str], edits: Sequence[Edit]) -> str:
    typed = "".join(f"<pre><code>{markup.command(command)}</code></pre>" for command in commands)
    changes = "".join(
        markup.folded(f"The change to {code(edit.path)}", f'<pre class="diff">{_diff(edit.diff)}</pre>')
        for edit in edits
    )
    return f'<li><p>{text(summary)} <span class="for">Mends {codes(ids)}.</span></p>{typed}{changes}</li>'


def _diff(text_of: str) -> str:
    """A unified diff: its signs tell what is added and removed, colour only repeats it."""
    lines = []
    for line in markup.block(text_of).split("\n"):
        kind = {"+": "ins", "-": "del"}.get(line[:1])
        lines.append(f"<{kind}>{line}</{kind}>" if kind else line)
    return "\n".join(lines)


def routes(node: NodeReport, level: int) -> str:
    """Every route, the required ones first, with what its users type."""
    word = "any of these" if node.required.mode == "any" else "required"
    rows = [
        f"<li><span>{code(route.id)} <small>{word if route.required else 'optional'}</small></span>"
        f"<span>{_standing(route)}</span>{_command(route)}</li>"
        for route in sorted(node.routes.values(), key=lambda route: not route.required)
    ]
    why = "Why required: " if node.required.names else "No route is required: "
    return (
        f'<h{level}>Routes</h{level}><ul class="routes">{"".join(rows)}</ul>'
        f'<p class="quiet">{why}{text(node.required.because)}</p>\n'
    )


def _standing(route: RouteReport) -> str:
    if not route.required and not route.offered and route.verdict != "ready":
        return '<span class="badge quiet"><span aria-hidden="true">-</span> not offered by this node</span>'
    rest = f" ({words.PROOFS[route.proof]})" if route.verdict == "ready" else ""
    by = ": " + (codes(route.roots) or "nothing looked at it") if route.verdict != "ready" else ""
    return f"{badge(VERDICT[route.verdict])}{rest}{by}"


def _command(route: RouteReport) -> str:
    if route.id not in ROUTES or not (route.required or route.offered):
        return ""
    return f'<span class="typed">{code(ROUTES[route.id].command)}</span>'


def blocked(node: NodeReport, level: int) -> str:
    """What could not be judged, by root."""
    found = [finding for finding in node.findings.values() if finding.status == "blocked"]
    if not found or node.verdict == "unreachable":
        return ""
    by: dict[tuple[str, ...], list[str]] = {}
    for finding in found:
        by.setdefault(finding.blocked_by, []).append(finding.check.id)
    rows = "".join(f"<li>{badge(STATUS['blocked'])} by {codes(roots)}: {codes(ids)}</li>" for roots, ids in by.items())
    return f"<h{level}>Blocked: not judged until the cause is mended</h{level}><ul>{rows}</ul>\n"


def asides(node: NodeReport, level: int) -> str:
    """Warnings, and roots that do not count."""
    parts = []
    for heading, findings in (
        ("Warnings: advisory, they change no verdict", node.warnings),
        ("Also seen, not counted for a required route", words.not_counting(node)),
    ):
        rows = "".join(
            f"<li>{badge(STATUS[finding.status])} {code(finding.check.id)}: {text(finding.outcome.found, 800)}"
            f"{_aside_remedy(finding)}</li>"
            for finding in findings
        )
        if rows:
            parts.append(f'<h{level}>{heading}</h{level}><ul class="asides">{rows}</ul>\n')
    return "".join(parts)


def _aside_remedy(finding: Finding) -> str:
    remedy = finding.outcome.remedy
    if remedy is None or not remedy.commands:
        return ""
    typed = "".join(f"<pre><code>{markup.command(command)}</code></pre>" for command in remedy.commands)
    return markup.folded(text(remedy.summary), typed)


def changes(node: NodeReport, baseline: Baseline | None, level: int) -> str:
    """What changed since the older report, if there is one."""
    if baseline is None or node.node not in baseline.nodes:
        return ""
    said = changes_of(baseline.nodes[node.node]) or ["nothing"]
    rows = "".join(f"<li>{text(line)}</li>" for line in said)
    since = text(baseline.started) or "the older report"
    return f"<h{level}>Changed since {since}</h{level}><ul>{rows}</ul>\n"


def inventory(node: NodeReport, level: int) -> str:
    """Versions and GPUs; what could not be known is said to be so."""
    if not node.reached:
        return ""
    pairs = [
        (key, text(str(node.inventory[key])) if node.inventory.get(key) is not None else "not known")
        for key in KEYS
        if key != "gpus"
    ]
    gpus = node.inventory.get("gpus")
    if isinstance(gpus, list):
        rows = [
            f"<li>{text(str(gpu.get('name')))} {code(str(gpu.get('uuid')))}</li>"
            for gpu in gpus
            if isinstance(gpu, dict)
        ]
        shown = f"<ul>{''.join(rows)}</ul>" if rows else "none"
        pairs.append(("gpus", shown if len(rows) <= _GPUS_SHOWN else markup.folded(counted(len(rows), "GPU"), shown)))
    else:
        pairs.append(("gpus", "not known"))
    names = {"os": "operating system", "gpus": "GPUs"}
    said = markup.definitions((names.get(key, key), value) for key, value in pairs)
    return f'<h{level}>Inventory</h{level}><div class="inventory">{said}</div>\n'


def checks(node: NodeReport) -> str:
    """Every check with what was found."""
    caption = f"All checks on {words.label(node)}"
    rows = []
    for finding in node.findings.values():
        found = "" if finding.status == "blocked" else text(finding.outcome.found, 300)
        by = f"by {codes(finding.blocked_by)}" if finding.blocked_by else ""
        rows.append((code(finding.check.id), badge(STATUS[finding.status]), by or found))
    counts = {status: sum(finding.status == status for finding in node.findings.values()) for status in STATUS}
    told = ", ".join(f"{number} {STATUS[status].word}" for status, number in counts.items() if number)
    body = markup.table(caption, ("Check", "Status", "Found"), rows, sortable=True)
    return markup.folded(f"All {counted(len(rows), 'check')}: {told}", body)
