"""What every report for people says in the same words: why a node is not ready, which nodes are alike, what mends them.

Pure, and without a form of its own: plain text that each renderer escapes in its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import one_line
from pytest_gpuready.report.text import counted, listed, node_set

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from pytest_gpuready.model import Remedy
    from pytest_gpuready.report.model import Finding, NodeReport, RouteReport, Run, Verdict

WORDS: dict[Verdict, str] = {
    "ready": "ready",
    "unknown": "unknown",
    "not-ready": "not ready",
    "incomplete": "incomplete",
    "unreachable": "unreachable",
}
PROOFS = {"configured": "configuration; no container was run", "live": "live: a container ran"}


def label(node: NodeReport) -> str:
    """The node's label on one line."""
    return one_line(node.node)


def labels(nodes: Iterable[NodeReport]) -> str:
    """The labels of several nodes as one node set."""
    return node_set(label(node) for node in nodes)


def name(node: NodeReport) -> str:
    """What people call the node: its host name where the label does not hold it, else the label."""
    hostname = one_line(node.hostname or "")
    return hostname if hostname and label(node).startswith(("snapshot://", "local")) else label(node)


def there(nodes: list[NodeReport]) -> str:
    """Where to type what is said: ` on gpu01`; nothing for this machine."""
    if len(nodes) > 1:
        return " on each of them"
    if label(nodes[0]).startswith(("snapshot://", "local://")):
        return f" on {one_line(nodes[0].hostname or 'that node')}"
    return "" if label(nodes[0]) == "local" else f" on {label(nodes[0])}"


def counting(node: NodeReport) -> list[Finding]:
    """The roots that make the node's verdict. A node with one ready route of `any` is ready: none counts."""
    return [] if node.verdict == "ready" else [finding for finding in node.roots if finding.keeps]


def not_counting(node: NodeReport) -> list[Finding]:
    """The other roots: shown, without a say in the verdict."""
    ids = {finding.check.id for finding in counting(node)}
    return [finding for finding in node.roots if finding.check.id not in ids]


def why(node: NodeReport, width: int = 10_000) -> str:
    """In a few words why the node is not ready: its roots, else what else is known."""
    roots = [finding.check.id for finding in counting(node)]
    if roots:
        return listed(roots, width)
    if node.verdict in ("unreachable", "incomplete"):
        return reason(node)
    return "nothing looked at its routes" if node.required.names else "no route is required of it"


def reason(node: NodeReport) -> str:
    """Why the node was not judged to the end: what was told, else what its first root found."""
    if node.reason:
        return one_line(node.reason, 800)
    if node.verdict == "unreachable":
        roots = counting(node)
        return one_line(roots[0].outcome.found, 800) if roots else "the node could not be asked"
    return "judging did not come to its end"


def untold(node: NodeReport) -> str | None:
    """Why the node was not judged to the end, where none of its roots says so already."""
    said = [root.outcome.found for root in counting(node)]
    return reason(node) if node.verdict in ("unreachable", "incomplete") and reason(node) not in said else None


def proof(node: NodeReport) -> str:
    """How the node's readiness was proved: live only if a container ran on what is required."""
    ready = [route for route in node.routes.values() if route.required and route.verdict == "ready"]
    enough = any if node.required.mode == "any" else all
    return PROOFS["live" if ready and enough(route.proof == "live" for route in ready) else "configured"]


def unasked(node: NodeReport) -> str:
    """Return what stands after `ready` where the node's snapshot is older than checks that count."""
    newer = node.snapshot.newer_checks if node.snapshot and node.verdict == "ready" else 0
    return f"; {counted(newer, 'newer check')} not asked" if newer else ""


def unasked_of(nodes: Iterable[NodeReport]) -> str:
    """Return the same for a line that counts nodes."""
    number = sum(bool(unasked(node)) for node in nodes)
    return f"; newer checks not asked of {counted(number, 'node')}" if number else ""


def hosts_from(run: Run) -> str:
    """Return what stands after the verdict where an ini file named the nodes."""
    return f"; --hosts is from {one_line(run.hosts_from)}" if run.hosts_from else ""


def standing(route: RouteReport) -> str:
    """How a route stands, and what keeps it."""
    if route.verdict == "ready":
        return f"ready ({PROOFS[route.proof]})"
    if not route.required and not route.offered:
        return "not offered by this node"
    return f"{WORDS[route.verdict]}: {', '.join(route.roots) or 'nothing looked at it'}"


def alone(node: NodeReport) -> str | None:
    """The option that leaves `ctr-gpus` out, where that is all that fails: many nodes are fine for their users."""
    required = [node.routes[route] for route in node.required.names if route in node.routes]
    others = [route.id for route in required if route.id != "ctr-gpus"]
    failing = [route.id for route in required if route.verdict != "ready"]
    if node.verdict != "ready" and others and failing == ["ctr-gpus"]:
        return f"--gpuready-routes {','.join(others)}"
    return None


def made_of(node: NodeReport) -> list[str]:
    """What the node is made of: operating system, versions, GPUs; what is not known is left out."""
    known = {key: one_line(str(value), 100) for key, value in node.inventory.items() if value is not None}
    items = [known["os"]] if known.get("os") else []
    items += [f"{part} {known[part]}" for part in ("containerd", "driver", "toolkit") if known.get(part)]
    gpus = gpu_names(node)
    return items if gpus is None else items + (gpus or ["no GPU"])


def gpu_names(node: NodeReport) -> list[str] | None:
    """The GPUs by kind, `2 x NVIDIA H100`; None where they are not known."""
    gpus = node.inventory.get("gpus")
    if not isinstance(gpus, list):
        return None
    names = [one_line(str((gpu.get("name") if isinstance(gpu, dict) else None) or "GPU"), 100) for gpu in gpus]
    return [f"{names.count(kind)} x {kind}" for kind in dict.fromkeys(names)]


def remedies(findings: Iterable[Finding]) -> list[tuple[Remedy, list[str]]]:
    """Each remedy once, with the ids of all checks that it mends."""
    merged: dict[Hashable, tuple[Remedy, list[str]]] = {}
    for finding in findings:
        remedy = finding.outcome.remedy
        if remedy is not None:
            key = (remedy.commands, remedy.edits) if remedy.commands else finding.check.id
            merged.setdefault(key, (remedy, []))[1].append(finding.check.id)
    return list(merged.values())


def not_judged(node: NodeReport) -> str | None:
    """What remains to be seen once the roots that count are mended."""
    causes = {root.check.id for root in counting(node)}
    blocked = sum(not causes.isdisjoint(finding.blocked_by) for finding in node.findings.values())
    if not blocked or node.verdict == "unreachable":
        return None
    was = "blocked check has" if blocked == 1 else "blocked checks have"
    return f"Then run pytest again: {blocked} {was} not been judged yet."


def alike(nodes: Iterable[NodeReport], *, fully: bool) -> list[list[NodeReport]]:
    """Nodes of one verdict and with the same roots together, in the order asked for.

    `fully`: only where the same required routes, reason and remedies go with it, so that one text serves all of them.
    """
    groups: dict[Hashable, list[NodeReport]] = {}
    for node in nodes:
        roots = counting(node)
        ready = (proof(node), unasked(node)) if node.verdict == "ready" else None
        key: tuple[Hashable, ...] = (node.verdict, why(node), ready)
        if fully:
            key = (*key, node.required, node.reason, tuple(root.outcome.remedy for root in roots))
        groups.setdefault(key, []).append(node)
    return list(groups.values())
