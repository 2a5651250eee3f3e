"""What an outcome shows beside its words: evidence, and the commands to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome


def evidence(outcome: Outcome) -> list[tuple[str, str]]:
    """Return source and text of each piece of evidence; the outcome must be known."""
    assert outcome.status != "unknown"
    return [(item.source, item.text) for item in outcome.evidence]


def commands(outcome: Outcome) -> tuple[str, ...]:
    """Return the remedy's commands; the outcome must be known and have a remedy."""
    assert outcome.status != "unknown"
    assert outcome.remedy is not None
    return outcome.remedy.commands
