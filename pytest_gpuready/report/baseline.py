"""What changed since an older report: what broke, what was fixed, what the inventory says now.

Pure but for `read`. The older report is a JSON report of schema 1, of whatever release wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuready.node import strict_json
from pytest_gpuready.node.clean import one_line, shorten
from pytest_gpuready.report.inventory import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuready.report.model import NodeReport, Run

#: Largest report that is read, in bytes.
SIZE_LIMIT = 512 * 1024 * 1024

#: Most values of a report; one of ten thousand nodes has as many.
VALUES_LIMIT = 20_000_000

#: Most GPUs of a node that are told.
_GPUS = 1024

_BROKEN = ("fail", "unknown")
_HOLDS = ("pass", "warn", "not-applicable")


class BaselineError(ValueError):
    """An older report that cannot be used; the message is one clear sentence."""


@dataclass(frozen=True)
class Change:
    """A check id, inventory key or verdict, and what was said of it then and now."""

    what: str
    was: str
    now: str


@dataclass(frozen=True)
class NodeChanges:
    """What changed on a node. `verdict` is None where it is the same; `known`: the older report holds the node.

    `newly_broken` are checks that are a root cause now and neither failed nor were unknown then; `fixed` those that
    failed or were unknown and now hold.
    """

    known: bool = True
    verdict: Change | None = None
    newly_broken: tuple[Change, ...] = ()
    fixed: tuple[Change, ...] = ()
    inventory: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.verdict or self.newly_broken or self.fixed or self.inventory or not self.known)


@dataclass(frozen=True)
class Baseline:
    """A run beside an older report: when that one was made, the changes by node's label, and nodes not asked now."""

    started: str
    generator: str
    nodes: Mapping[str, NodeChanges]
    missing: tuple[str, ...] = ()


def read(path: str) -> dict[str, Any]:
    """The older report; `BaselineError` says in one sentence what is wrong with it."""
    name = one_line(path)
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise BaselineError(f"{name}: {error.strerror}") from None
    except ValueError:
        raise BaselineError(f"{name}: no file has such a name") from None
    if len(raw) > SIZE_LIMIT:
        raise BaselineError(f"{name} is larger than {SIZE_LIMIT // 1024 // 1024} MiB: no report")
    try:
        document = strict_json.loads(raw.decode("utf-8"), most=VALUES_LIMIT)
    except UnicodeDecodeError:
        raise BaselineError(f"{name} is no JSON report: it is not UTF-8 text") from None
    except strict_json.JsonError as error:
        raise BaselineError(f"{name} is no JSON report: {one_line(str(error), 200)}") from None
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
        raise BaselineError(f"{name} is no JSON report of pytest-gpuready")
    if type(document.get("schema")) is not int or document["schema"] != 1:
        said = one_line(repr(document.get("schema")), 40)
        raise BaselineError(f"{name} has schema {said}; this pytest-gpuready reads 1")
    return document


def compare(run: Run, old: Mapping[str, Any]) -> Baseline:
    """The run beside the older report. What that says amiss is left out: it only accompanies the verdict."""
    before: dict[str, Mapping[str, Any]] = {}
    for node in old["nodes"]:
        if isinstance(node, dict) and isinstance(node.get("node"), str):
            before.setdefault(one_line(node["node"]), node)
    labels = {one_line(node.node) for node in run.nodes}
    return Baseline(
        one_line(str(old.get("started", "")), 40),
        one_line(str(old.get("generator", "")), 80),
        {node.node: _changes(node, before.get(one_line(node.node))) for node in run.nodes},
        tuple(label for label in before if label not in labels),
    )


def _changes(node: NodeReport, old: Mapping[str, Any] | None) -> NodeChanges:
    if old is None:
        return NodeChanges(known=False)
    then = _statuses(old)
    broken, fixed = [], []
    for finding in node.findings.values():
        was = then.get(finding.check.id, "not judged")
        change = Change(finding.check.id, was, finding.status)
        if finding.is_root and was not in _BROKEN:
            broken.append(change)
        elif was in _BROKEN and finding.status in _HOLDS and finding.outcome.missing is None:
            fixed.append(change)
    verdict = one_line(str(old.get("verdict")), 40)
    return NodeChanges(
        verdict=None if verdict == node.verdict else Change("verdict", verdict, node.verdict),
        newly_broken=tuple(broken),
        fixed=tuple(fixed),
        # A node that did not answer has no inventory, which is no change of it.
        inventory=tuple(_inventory(node, old)) if node.reached and old.get("verdict") != "unreachable" else (),
    )


def _statuses(old: Mapping[str, Any]) -> dict[str, str]:
    checks = old.get("checks")
    return {
        one_line(str(check["check"]), 200): one_line(str(check.get("status")), 40)
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict) and "check" in check
    }


def _inventory(node: NodeReport, old: Mapping[str, Any]) -> list[Change]:
    known = old.get("inventory")
    before = known if isinstance(known, dict) else {}
    changes = []
    for key in KEYS:
        was, now = _said(key, before.get(key)), _said(key, node.inventory.get(key))
        if was != now and key in before:
            changes.append(Change(key, was, now))
    return changes


def _said(key: str, value: object) -> str:
    if value is None:
        return "not known"
    if key != "gpus":
        return one_line(str(value), 200)
    gpus = [gpu if isinstance(gpu, dict) else {} for gpu in (value[:_GPUS] if isinstance(value, list) else [])]
    said = [f"{one_line(str(gpu.get('name')), 100)} {one_line(str(gpu.get('uuid')), 100)}" for gpu in gpus]
    return shorten(", ".join(said)) or "none"


def summary(changes: NodeChanges) -> list[str]:
    """The changes in words, a line each; nothing where nothing changed."""
    if not changes.known:
        return ["not in the older report"]
    lines = [f"verdict: {changes.verdict.was}, now {changes.verdict.now}"] if changes.verdict else []
    lines += [f"newly broken: {change.what} (was {change.was}, now {change.now})" for change in changes.newly_broken]
    lines += [f"mended: {change.what} (was {change.was}, now {change.now})" for change in changes.fixed]
    return lines + [f"changed: {change.what} {change.was}, now {change.now}" for change in changes.inventory]
