"""The form of a snapshot's facts: what was read has the types and sizes that all else relies on."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_gpuready.node import snapshot_format
from pytest_gpuready.node.facts import Fact, Request
from pytest_gpuready.node.snapshot_format import FormError, entries, fact, node_name

GOOD: dict[str, Any] = {"kind": "file", "arg": ["/a"], "state": "ok"}
HUGE = "x" * (snapshot_format.ARG_LIMIT + 1)

BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": None}, "its kind is None"),
    ({"kind": "dance"}, "its kind is 'dance'"),
    ({"kind": []}, "its kind is []"),
    ({"arg": []}, "its arg has 0 words, which is not what a file has"),
    ({"arg": ["/a", "/b"]}, "its arg has 2 words, which is not what a file has"),
    ({"kind": "stat", "arg": ["/a", "/b"]}, "its arg has 2 words, which is not what a stat has"),
    ({"kind": "glob", "arg": []}, "its arg has 0 words, which is not what a glob has"),
    ({"kind": "node", "arg": []}, "its arg has 0 words, which is not what a node has"),
    ({"kind": "run", "arg": []}, "its arg has 0 words, which is not what a run has"),
    ({"kind": "script", "arg": []}, "its arg has 0 words, which is not what a script has"),
    ({"kind": "run", "arg": ["a"] * 5000}, "its arg has 5000 words, which is not what a run has"),
    ({"arg": "/a"}, "its arg is not a list of texts"),
    ({"arg": [1]}, "its arg is not a list of texts"),
    ({"arg": ["\ud800"]}, "its arg holds half a character"),
    ({"arg": [HUGE]}, "a word of its arg is longer than 1048576 characters"),
    ({"state": "fine"}, "its state is 'fine'"),
    ({"state": ["ok"]}, "its state is ['ok']"),
    ({"rc": True}, "its rc is True"),
    ({"rc": 256}, "its rc is 256"),
    ({"rc": -300}, "its rc is -300"),
    ({"rc": 0.0}, "its rc is 0.0"),
    ({"note": 3}, "its note is not a text of at most 262144 characters"),
    ({"note": "x" * 262_145}, "its note is not a text of at most 262144 characters"),
    ({"text": None}, "its text is not a list of lines"),
    ({"text": [1]}, "its text is not a list of lines"),
    ({"text": ["a\udc7f"]}, "its text holds half a character"),
    ({"base64": 3}, "its base64 is not a text"),
    ({"base64": "%%%"}, "its base64 cannot be decoded"),
    ({"base64": "é"}, "its base64 cannot be decoded"),
]


def test_a_good_one_is_as_it_was_written() -> None:
    entry = {**GOOD, "text": ["one", "two\udcff"], "rc": 0, "note": "a\x1b[1mb"}
    assert fact(entry) == (Request("file", ("/a",)), Fact("ok", b"one\ntwo\xff", 0, "ab"))


@pytest.mark.parametrize(("change", "why"), BAD, ids=[why[:60] for _, why in BAD])
def test_a_fact_of_another_form_is_one_sentence(change: dict[str, Any], why: str) -> None:
    with pytest.raises(FormError) as caught:
        fact({**GOOD, **change})
    assert str(caught.value) == why


@pytest.mark.parametrize("entry", [None, 7, "x", [], [GOOD]])
def test_a_fact_that_is_not_an_object(entry: Any) -> None:
    with pytest.raises(FormError, match="it is not an object"):
        fact(entry)


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_format, "DATA_LIMIT", 1024 * 1024)
    with pytest.raises(FormError, match="its answer is longer than 1 MiB"):
        fact({**GOOD, "text": ["x" * (1024 * 1024 + 1)]})
    monkeypatch.setattr(snapshot_format, "FACTS_LIMIT", 2)
    assert entries([1, 2]) == [1, 2]
    with pytest.raises(FormError, match="it holds 3 facts, and a node has at most 2"):
        entries([1, 2, 3])


@pytest.mark.parametrize("said", [7, [], {}, "x" * 1001, True])
def test_a_name_that_is_none(said: Any) -> None:
    with pytest.raises(FormError, match="its node is not a name"):
        node_name(said)
    assert node_name(None) == ""
    assert node_name("ssh://n1\x1b[2J") == "ssh://n1"
