"""A node's facts as a whole report: judged, named, with its inventory. Pure; what runs nodes and what merges them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_gpuready import budget
from pytest_gpuready.judge import judge, judge_views
from pytest_gpuready.model import Denied, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import REACH, Fact, Facts
from pytest_gpuready.report.inventory import inventory
from pytest_gpuready.views import Views
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from pytest_gpuready.model import Settings
    from pytest_gpuready.report.model import NodeReport


def judged(facts: Facts, settings: Settings) -> NodeReport:
    """The report of these facts; its duration is for who asked the node to say."""
    views = Views(facts, settings)
    report = judge_views(views)
    if not report.reached:
        return dataclasses.replace(report, reason=_reason(facts))
    with budget.limited():
        return dataclasses.replace(report, hostname=_hostname(views), inventory=inventory(views))


def incomplete(label: str, reason: str, settings: Settings) -> NodeReport:
    """The report of a node of which nothing is known but why."""
    report = judge(Facts(label, [(REACH, Fact("cut", note=reason))]), settings)
    return dataclasses.replace(report, verdict="incomplete", reason=reason)


def _reason(facts: Facts) -> str:
    fact = facts.peek(REACH)
    return one_line(fact.note if fact is not None and fact.note else "no shell answered")


def _hostname(views: Views) -> str | None:
    try:
        return one_line(views.get(Platform).hostname or "", 80) or None
    except (Undetermined, Denied):
        return None
