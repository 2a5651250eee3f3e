"""What a node says reaches a terminal as text and as nothing else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.node.clean import FIELD_LIMIT, clean, one_line, shorten


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain ☃ Grüße 日本", "plain ☃ Grüße 日本"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nbc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1bPq#0\x1b\\", "q#0"),
        ("\x9b31mc1 control", "31mc1 control"),
        ("a\x00b\x07c\x08d\x7fe", "abcde"),
        ("abc\u202etxt.exe", "abctxt.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("line\u2028and\u2029paragraph", "lineandparagraph"),
        ("half\udcff", "half"),
        ("tag\U000e0041", "tag"),
        ("soft\xadhyphen", "softhyphen"),
        ("\x1b", ""),
        ("\x1b[", "["),
    ],
)
def test_what_is_shown(said: str, shown: str) -> None:
    assert clean(said) == shown


@given(st.text(max_size=200))
def test_nothing_controls_a_terminal_whatever_was_said(text: str) -> None:
    shown = clean(text)
    assert [char for char in shown if char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cs")] == []
    assert clean(shown) == shown
    shown.encode("utf-8")


@given(st.text(alphabet="\x1b[]0;mP\\\x07\r\na", max_size=40))
def test_a_sequence_taken_away_makes_no_new_one(text: str) -> None:
    assert "\x1b" not in clean(text)


def test_a_megabyte_of_escapes_is_cleaned() -> None:
    assert clean("\x1b]" * 100_000) == "]" * 100_000
    assert clean("\x1b[" + "1;" * 200_000) == "[" + "1;" * 200_000


def test_one_line_is_one_line() -> None:
    assert one_line("  a\n\n b\t\x1b[1mc  ") == "a b c"
    assert len(one_line("word " * 1000)) <= 400


def test_what_is_cut_says_so_and_keeps_within_its_limit() -> None:
    assert shorten("x" * FIELD_LIMIT) == "x" * FIELD_LIMIT
    cut = shorten("x" * 10_000)
    assert cut.endswith("… (10000 characters)")
    assert len(cut) <= FIELD_LIMIT + 10
