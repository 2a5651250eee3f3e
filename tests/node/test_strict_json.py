"""JSON of other machines: what two readers take for two things is refused, with its place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.node import strict_json
from pytest_gpuready.node.strict_json import DEPTH_LIMIT, JsonError

PLAIN = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text()
ANY = st.recursive(
    PLAIN | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def loads(text: str, most: int = 1_000_000) -> object:
    return strict_json.loads(text, most=most)


@given(ANY)
def test_what_json_writes_is_read_as_json_reads_it(value: object) -> None:
    assert loads(json.dumps(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": {"b": [1, NaN]}}', "a.b[1]: NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ('[{"a": 1, "b": 2, "a": 3}]', '[0]: the key "a" stands there twice'),
        ('{"x": {"a": 1, "a": NaN}}', 'x: the key "a" stands there twice'),
        ('{"n": 1' + "0" * 30 + "}", "n: a number of 31 digits"),
        ('{"n": 1e999}', "n: the number 1e999 is too large"),
        ("[" * 100 + "]" * 100, f"lists or objects nested more than {DEPTH_LIMIT} deep"),
        ("[" * 100_000, f"lists or objects nested more than {DEPTH_LIMIT} deep"),
        ('{"a":' * 70 + "1" + "}" * 70, f"lists or objects nested more than {DEPTH_LIMIT} deep"),
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ('{"a": 1} x', "Extra data: line 1 column 10 (char 9)"),
    ],
    ids=range(11),
)
def test_what_is_not_strict_is_one_sentence_with_its_place(text: str, said: str) -> None:
    with pytest.raises(JsonError) as caught:
        loads(text)
    assert str(caught.value) == said


def test_as_many_levels_as_are_allowed() -> None:
    assert loads("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT)
    with pytest.raises(JsonError):
        loads("[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1))


def test_a_fault_far_below_names_no_place_without_end() -> None:
    deep = '{"' + "k" * 70 + '": '
    with pytest.raises(JsonError) as caught:
        loads(deep * 30 + "NaN" + "}" * 30)
    assert len(str(caught.value)) < 600


def test_values_are_counted_before_memory_is_taken_for_them() -> None:
    assert loads('[1, {"a": [2]}]', most=4) == [1, {"a": [2]}]
    with pytest.raises(JsonError, match="more than 3 values"):
        loads('[1, {"a": [2]}]', most=3)
