"""The YAML reader: lines, go-yaml's scalars, and nothing hostile followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.cdispec.document import DEPTH, Map, Seq, TooMuch, Unparsable, load


def test_keys_and_elements_have_lines() -> None:
    found = load(b"---\na: 1\nb:\n  - x\n  - c: 2\n")
    assert isinstance(found, Map)
    assert found.lines == {"a": 2, "b": 3}
    assert isinstance(found["b"], Seq)
    assert found["b"].lines == [4, 5]
    assert found["b"][1].lines == {"c": 5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1:30", "1:30"),  # sexagesimal in YAML 1.1 as PyYAML has it, a string to go-yaml
        (b"0:1", "0:1"),
        (b"2026-11-22", "2026-11-22"),
        (b"438", 438),
        (b"0666", 438),
        (b"0o666", 438),
        (b"0x1b6", 438),
        (b"true", True),
        (b"yes", "yes"),
        (b"~", None),
        (b'"0"', "0"),
        (b"0.5.0", "0.5.0"),
        (b"1.5", 1.5),
        (b"!!str 5", "5"),
    ],
)
def test_scalars_are_what_go_yaml_makes_of_them(text: bytes, value: object) -> None:
    assert load(b"x: " + text) == {"x": value}


def test_json_is_read_too() -> None:
    assert load(b'{"a": [1, "b"], "c": {"d": null}}') == {"a": [1, "b"], "c": {"d": None}}


@pytest.mark.parametrize("text", [b"a: [", b"a: 1\na: 2\n", b"\x00", b"a: \xff\xfe", b"[a]: 1", b"a:\n\t- b"])
def test_what_go_yaml_refuses_is_unparsable(text: bytes) -> None:
    with pytest.raises(Unparsable):
        load(text)


@pytest.mark.parametrize("text", [b"a: &a [1]\nb: *a\n", b"[" * (DEPTH + 5), b"a: 1\n<<: {b: 2}\n"])
def test_what_could_grow_or_nest_without_end_is_not_looked_at(text: bytes) -> None:
    with pytest.raises(TooMuch):
        load(text)


def test_only_the_first_document_counts() -> None:
    assert load(b"a: 1\n---\nb: 2\n") == {"a": 1}


def test_nothing_at_all_is_none() -> None:
    assert load(b"") is None
    assert load(b"# a comment\n") is None


@given(st.binary(max_size=400))
def test_any_bytes_give_a_document_or_unparsable(data: bytes) -> None:
    try:
        found = load(data)
    except Unparsable:
        return
    assert found is None or isinstance(found, (Map, Seq, str, int, float))
