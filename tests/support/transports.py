"""What tests of every way to a node share: both rounds answered, the same findings as locally, a stand-in program."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import REACH, Facts, run
from pytest_gpuready.node.hosts import NodeSpec, parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.runner import Runner

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport

#: A program that writes down its arguments and does what follows `sh`: the way of docker exec and the like.
STAND_IN = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done > "{log}"
while [ "$#" -gt 0 ] && [ "$1" != sh ]; do shift; done
exec "$@"
"""


def healthy(facts: Facts) -> bool:
    """Return whether both rounds were answered."""
    answers = [facts.peek(run("echo", word)) for word in ("one", "two")]
    return [fact.data for fact in answers if fact is not None] == [b"one\n", b"two\n"]


def why(facts: Facts) -> str:
    """Return why the node was not reached."""
    fact = facts.peek(REACH)
    assert fact is not None
    assert fact.state == "cut"
    return fact.note


def statuses(report: NodeReport) -> dict[str, str]:
    """Return what each check found."""
    return {name: found.status for name, found in report.findings.items()}


def same_as_local(node: NodeSpec, options: Options | None = None) -> None:
    """Assert that a way to this machine brings the statuses that local:// brings.

    Daemons of other tests that come and go change what is true in between: then both are asked again.
    """
    here: dict[str, set[str]] = {}
    others: dict[str, str] = {}
    for _ in range(8):
        nodes = [parse("local://"), dataclasses.replace(node, label=f"{node.label} here")]
        local, other = Runner(nodes, Settings(), options or Options(), timeout=60).run().nodes
        assert local.reached
        assert other.reached, other.reason
        for check, status in statuses(local).items():
            here.setdefault(check, set()).add(status)
        assert len(here) > 10
        assert set(here) == set(statuses(other))
        others = {check: status for check, status in statuses(other).items() if status not in here[check]}
        if not others:
            return
    assert others == {}
