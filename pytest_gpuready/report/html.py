"""The HTML report: one static part that holds the whole verdict, without script, of one node or of a thousand.

Pure: a run becomes markup. `markup.py` escapes, `html_nodes.py` shows a node, `html_files.py` the files; the frame
around it is pytest-html's, and `pytest_gpuready/html_frame.py` puts this into it.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from pytest_gpuready.report import fleet, html_files, html_nodes, html_page, markup, words
from pytest_gpuready.report.baseline import summary as changes_of
from pytest_gpuready.report.files import configuration
from pytest_gpuready.report.markup import VERDICT, badge, code, codes, text
from pytest_gpuready.report.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gpuready.report.files import Version
    from pytest_gpuready.report.fleet import Row
    from pytest_gpuready.report.model import NodeReport, Run

#: Characters of nodes' sections; what comes after is told in a line each.
SECTIONS_LIMIT = 2_000_000

#: A node set longer than this is folded away.
_LONG = 90


def style() -> str:
    """The style sheet, to stand after the frame's."""
    return resources.files("pytest_gpuready.report").joinpath("html.css").read_text("utf-8")


def script() -> str:
    """What filters and sorts where script runs; nothing is missing without it."""
    return resources.files("pytest_gpuready.report").joinpath("html.js").read_text("utf-8")


def title(run: Run) -> str:
    """The page's title, plain text."""
    if len(run.nodes) == 1:
        return f"{words.name(run.nodes[0])} is {words.WORDS[run.verdict]}{words.unasked(run.nodes[0])}"
    return _headline(run)


def page(run: Run) -> str:
    """The whole page where no test was run whose rows could be shown."""
    return html_page.alone(render(run), title=title(run), style=style(), script=script())


def render(run: Run) -> str:
    """The report's own part: a `main` element."""
    files = configuration(run.nodes)
    if not run.nodes:
        inner = '<header class="top warn"><p class="verdict">? UNKNOWN</p><h1>No node was looked at</h1></header>'
    elif len(run.nodes) == 1:
        inner = _one(run, run.nodes[0])
    else:
        inner = _several(run, files)
    return f'<main class="gpuready">\n{inner}{html_files.render(run.nodes, files)}{_about(run)}</main>\n'


# ---------------------------------------------------------------------------------------------------- one node


def _one(run: Run, node: NodeReport) -> str:
    sign = VERDICT[node.verdict]
    told = f"{words.unasked(node)} ({words.proof(node)})" if node.verdict == "ready" else ""
    label = "" if words.name(node) == words.label(node) else f"{code(node.node)} · "
    made = " · ".join(words.made_of(node))
    head = (
        f'<header class="top {sign.tone}"><p class="verdict"><span aria-hidden="true">{sign.sign}</span> '
        f"{sign.word.upper()}<small>{told}</small></p><h1>{text(words.name(node))}</h1>"
        f"{f'<p>{text(made)}</p>' if made else ''}"
        f'<p class="quiet">{label}{_when(run)}</p></header>\n'
    )
    return head + _body(run, [node], 2)


def _body(run: Run, nodes: list[NodeReport], level: int) -> str:
    """Everything about one node, or several alike as seen on the first of them."""
    node = nodes[0]
    parts = []
    if node.verdict != "ready":
        parts.append(f'<div class="two">{html_nodes.causes(node, level)}{html_nodes.to_type(nodes, level)}</div>\n')
    if node.verdict != "unreachable":
        parts.append(html_nodes.routes(node, level))
    parts += [html_nodes.blocked(node, level), html_nodes.asides(node, level)]
    if len(run.nodes) == 1:
        parts += [html_nodes.changes(node, run.baseline, level), html_nodes.inventory(node, level)]
    if node.reached:
        parts.append(html_nodes.checks(node))
    return "".join(parts)


# ---------------------------------------------------------------------------------------------------- several nodes


def _headline(run: Run) -> str:
    bad = sum(node.verdict != "ready" for node in run.nodes)
    if not run.nodes:
        return "No node was looked at"
    if not bad:
        return f"All {len(run.nodes)} nodes are ready{words.unasked_of(run.nodes)}"
    verb = "is" if bad == 1 else "are"
    return f"{bad} of {len(run.nodes)} nodes {verb} not ready{words.unasked_of(run.nodes)}"


def _several(run: Run, files: Mapping[str, Sequence[Version]]) -> str:
    sign = VERDICT[run.verdict]
    counts = [(sum(node.verdict == verdict for node in run.nodes), verdict) for verdict in VERDICT]
    chips = " ".join(f"<li>{badge(VERDICT[verdict])} {number}</li>" for number, verdict in counts if number)
    groups = sorted(words.alike(run.nodes, fully=True), key=lambda group: group[0].verdict == "ready")
    idents = {node.node: f"g{number}" for number, group in enumerate(groups, 1) for node in group}
    return (
        f'<header class="top {sign.tone}"><p class="verdict"><span aria-hidden="true">{sign.sign}</span> '
        f'{sign.word.upper()}</p><h1>{_headline(run)}</h1><ul class="chips">{chips}</ul>'
        f'<p class="quiet">{_when(run)}</p></header>\n'
        f"{_matrix(run, idents)}{_odd(run, files)}{_changes(run)}{_sections(run, groups)}{_all(run, idents)}"
    )


def _matrix(run: Run, idents: Mapping[str, str]) -> str:
    """Nodes and families; equal nodes are one row."""
    columns = fleet.families(run.nodes)
    rows = fleet.matrix(run.nodes)
    heads = ("Nodes", "Verdict", *columns)
    shown = markup.table("Nodes and families of checks", heads, [_row(row, idents) for row in rows], sortable=True)
    return f"<h2>At a glance</h2>{shown}"


def _row(row: Row, idents: Mapping[str, str]) -> list[str]:
    links = dict.fromkeys(idents[node.node] for node in row.nodes)
    many = f"<b>{counted(len(row.nodes), 'node')}</b> " if len(row.nodes) > 1 else ""
    to = " ".join(f'<a href="#{ident}">details {ident[1:]}</a>' for ident in list(links)[:8])
    cells = [f"{many}{_set(row.nodes)} <small>{to}</small>", badge(VERDICT[row.verdict])]
    for cell in row.cells:
        if cell.status is None:
            cells.append(f'<span class="quiet">{text(cell.text)}</span>')
        elif cell.status in ("fail", "unknown"):
            cells.append(f"{badge(markup.STATUS[cell.status])} {code(cell.text)}")
        else:
            sign = markup.STATUS[cell.status]
            shown = f'<span aria-hidden="true">{sign.sign}</span> {text(cell.text)}'
            cells.append(f'<span class="{sign.tone}">{shown}</span>')
    return cells


def _set(nodes: Sequence[NodeReport]) -> str:
    """The nodes as one node set, folded where it is long."""
    labels = words.labels(nodes)
    if len(labels) <= _LONG:
        return code(labels)
    return markup.folded(f"{code(words.label(nodes[0]))} and {len(nodes) - 1} more", code(labels, 1_000_000))


def _odd(run: Run, files: Mapping[str, Sequence[Version]]) -> str:
    """In what nodes differ. None of them is the golden one."""
    odd = fleet.odd_ones(run.nodes, files)
    total = sum(node.reached for node in run.nodes)
    rows = []
    for one in odd:
        said = "; ".join(
            f"<b>{len(nodes)} of {total}</b>: {text(one.what)} {code(value)} ({_set(nodes)})"
            for value, nodes in one.others
        )
        more = f"; {one.more} further values" if one.more else ""
        rest = f"; all others {code(one.most)}" if one.most is not None else ""
        rows.append(f"<li>{said}{more}{rest}</li>")
    if not rows:
        return "<h2>What is odd</h2><p>Nothing: the nodes agree in inventory and configuration files.</p>\n"
    return f'<h2>What is odd</h2><ul class="odd">{"".join(rows)}</ul>\n'


def _changes(run: Run) -> str:
    """What changed since the older report, equal changes of several nodes once."""
    if run.baseline is None:
        return ""
    said: dict[str, list[NodeReport]] = {}
    for node in run.nodes:
        for line in changes_of(run.baseline.nodes[node.node]):
            said.setdefault(line, []).append(node)
    rows = "".join(f"<li>{text(line)}: {_set(nodes)}</li>" for line, nodes in said.items())
    if run.baseline.missing:
        rows += f"<li>in the older report and not asked now: {codes(run.baseline.missing[:20])}"
        rows += f" and {len(run.baseline.missing) - 20} more</li>" if len(run.baseline.missing) > 20 else "</li>"
    since = text(run.baseline.started) or "the older report"
    return f"<h2>Changed since {since}</h2><ul>{rows or '<li>nothing</li>'}</ul>\n"


def _sections(run: Run, groups: Sequence[list[NodeReport]]) -> str:
    """Each kind of node in full, as seen on its first one, as long as there is room."""
    parts, size = [], 0
    for number, group in enumerate(groups, 1):
        node = group[0]
        seen = f" <small>as seen on {code(words.label(node))}</small>" if len(group) > 1 else ""
        heading = f"<b>{counted(len(group), 'node')}</b> " if len(group) > 1 else ""
        head = (
            f'<h2 id="g{number}">{badge(VERDICT[node.verdict])} {heading}{_named(group)}{seen}</h2>{_folded_set(group)}'
        )
        if size < SECTIONS_LIMIT:
            made = " · ".join(words.made_of(node))
            body = (f'<p class="quiet">{text(made)}</p>' if made else "") + _body(run, group, 3)
        else:
            body = f"<p>{text(words.why(node))} <small>(told in full in the JSON report)</small></p>"
        if node.verdict == "ready":
            body = markup.folded(f"Ready{words.unasked(node)}: {words.proof(node)}", body)
        parts.append(f'<section class="node {VERDICT[node.verdict].tone}">{head}{body}</section>\n')
        size += len(parts[-1])
    return "".join(parts)


def _named(group: Sequence[NodeReport]) -> str:
    labels = words.labels(group)
    if len(labels) <= _LONG:
        return code(labels)
    return f"{code(words.label(group[0]))} and {len(group) - 1} more" if len(group) > 1 else code(labels)


def _folded_set(group: Sequence[NodeReport]) -> str:
    labels = words.labels(group)
    return markup.folded("Which nodes", code(labels, 1_000_000)) if len(group) > 1 and len(labels) > _LONG else ""


def _all(run: Run, idents: Mapping[str, str]) -> str:
    """Every node in a row of its own, to be filtered and sorted."""
    rows = []
    for node in run.nodes:
        known = [text(str(node.inventory.get(key) or "")) for key in ("containerd", "driver", "toolkit", "os")]
        link = f'<a href="#{idents[node.node]}">{code(node.node)}</a>'
        roots = codes(root.check.id for root in words.counting(node))
        gpus = text(", ".join(words.gpu_names(node) or ()))
        rows.append((link, text(node.hostname or ""), badge(VERDICT[node.verdict]), roots, gpus, *known))
    heads = ("Node", "Host name", "Verdict", "Causes", "GPUs", "containerd", "driver", "toolkit", "Operating system")
    shown = markup.table("All nodes", heads, rows, sortable=True)
    return f"<h2>All nodes</h2>{markup.folded(counted(len(rows), 'node'), shown)}"


# ---------------------------------------------------------------------------------------------------- the end


def _when(run: Run) -> str:
    shown = run.started.replace("T", " ").replace("Z", " UTC")
    return f'judged <time datetime="{text(run.started)}">{text(shown)}</time>{text(words.hosts_from(run))}'


def _about(run: Run) -> str:
    said = markup.definitions(
        [
            ("Judged", f"{_when(run).removeprefix('judged ')}, in {run.duration:.1f} s"),
            ("By", text(run.generator)),
            ("Command", code(run.command) if run.command else ""),
            ("Proof", "containers were run" if run.live else "configuration; no container was run"),
            ("Notes", "".join(f"<p>{text(note)}</p>" for note in run.notes)),
        ]
    )
    return (
        f"<h2>About this report</h2>{said}"
        '<p class="quiet">Not proven: what was not looked at. Unknown is never a pass. Secrets in files and output '
        'were removed as they arrived and show as <span class="cut">[redacted]***</span>, or, where nothing delimits '
        "them, with x for each letter and 1 for each digit.</p>\n"
    )
