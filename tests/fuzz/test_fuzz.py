"""The fuzz run in short: the same examples at every run. `python -m tests.fuzz 600` is the long one, by hand."""

from __future__ import annotations

import pytest

from tests.fuzz import engine
from tests.fuzz.engine import Target, once, session
from tests.fuzz.targets import targets


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_nothing_raises_and_nothing_loops(target: Target) -> None:
    result = session(target, 4, examples=len(target.samples) + 40)
    assert [trouble.text for trouble in result.troubles] == []
    assert result.examples > 40


def test_what_raises_is_seen_once_for_each_place() -> None:
    def broken(data: bytes) -> None:
        assert len(data) < 5

    result = session(Target("broken", [b"1234567", b"1"], broken), 1, examples=30)
    (trouble,) = result.troubles
    assert trouble.data == b"1234567"
    assert "AssertionError" in trouble.text


def test_what_loops_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GUARD", 0.05)

    def endless(_: bytes) -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:  # noqa: BLE001, PERF203, S112 - such a handler must not keep the guard off
                continue

    trouble, _ = once(Target("endless", [], endless), b"")
    assert trouble is not None
    assert "TooLong" in trouble.place


def test_a_refusal_is_one_sentence() -> None:
    def refusing(data: bytes) -> None:
        raise ValueError(data.decode())

    target = Target("refusing", [], refusing, (ValueError,))
    assert once(target, b"in words") == (None, True)
    assert once(target, b"")[0] is not None
    assert once(target, b"in\nlines")[0] is not None


def test_the_same_seed_makes_the_same_examples() -> None:
    def examples(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        session(Target("same", [b"a = 1\nb = 'c'\n"], seen.append), seed, examples=50)
        return seen

    assert examples(1) == examples(1)
    assert examples(1) != examples(2)
    assert len(set(examples(1))) > 40
