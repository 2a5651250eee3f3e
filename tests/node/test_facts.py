"""Facts: why an answer is missing, and why a node was not reached, as words of a closed set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import NotAsked, Undetermined
from pytest_gpuready.node.facts import (
    OVERDUE,
    UNREACHED,
    VOCABULARY,
    Cause,
    Fact,
    Facts,
    Recording,
    cause_of,
    file,
    missing,
    stat,
)

if TYPE_CHECKING:
    from pytest_gpuready.model import Missing

REQUEST = file("/x", limit=3)


@pytest.mark.parametrize(
    ("fact", "word"),
    [
        (None, "not-asked"),
        (Fact("timeout"), "timeout"),
        (Fact("timeout", note="it hangs"), "timeout"),
        (Fact("timeout", note=OVERDUE), "deadline"),
        (Fact("timeout", note=f"{UNREACHED}{OVERDUE}"), "not-asked"),
        (Fact("cut", note=f"{UNREACHED}the connection ended"), "not-asked"),
        (Fact("cut", note="too long"), "truncated"),
        (Fact("ok", b"long"), "truncated"),
    ],
)
def test_a_fact_that_is_no_answer_says_why_it_is_missing(fact: Fact | None, word: Missing) -> None:
    facts = Facts("n", [] if fact is None else [(REQUEST, fact)])
    with pytest.raises(Undetermined) as caught:
        facts.fact(REQUEST)
    assert caught.value.missing == word


@pytest.mark.parametrize(
    ("fact", "word"), [(Fact("ok"), None), (Fact("absent"), None), (Fact("odd"), None), (Fact("denied"), "denied")]
)
def test_an_answer_is_not_missing_and_a_denied_one_is(fact: Fact, word: Missing | None) -> None:
    assert missing(fact) == word


def test_a_node_without_stat_lacks_a_tool_and_one_that_says_nonsense_does_not() -> None:
    for data, word in ((b"", "no-tool"), (b"what?", None)):
        with pytest.raises(Undetermined) as caught:
            Facts("n", [(stat("/x"), Fact("ok", data))]).stat("/x")
        assert caught.value.missing == word


def test_what_is_newer_than_a_snapshot_was_not_asked() -> None:
    old = Facts("n", recording=Recording(None, VOCABULARY - 1))
    with pytest.raises(NotAsked) as caught:
        old.fact(file("/x", since=VOCABULARY))
    assert caught.value.missing == "not-asked"


def test_only_words_that_are_not_ssh_s_are_a_cause() -> None:
    assert cause_of(Fact("timeout", note=f"{OVERDUE} (ssh said so)")) is Cause.DEADLINE
    assert cause_of(Fact("cut", note="interrupted")) is Cause.INTERRUPTED
    assert cause_of(Fact("cut", note="Permission denied (publickey)")) is None
    assert cause_of(Fact("ok")) is None
