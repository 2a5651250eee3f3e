"""TOML as containerd's two Go parsers read it. The messages are those of containerd 1.7.34, 2.0.11, 2.2.7 and 2.3.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.containerd.toml import (
    DEPTH,
    LIMIT,
    MOST,
    Dialect,
    Document,
    TomlError,
    TooLarge,
    Unreadable,
    loads,
)

if TYPE_CHECKING:
    from collections.abc import Callable

V1, V2, V24 = Dialect.V1, Dialect.V2, Dialect.V24
BOTH = pytest.mark.parametrize("dialect", [V1, V2])


def refusal(text: bytes, dialect: Dialect, **more: Any) -> tuple[int | None, int | None, str]:
    with pytest.raises(TomlError) as caught:
        loads(text, dialect, **more)
    return caught.value.line, caught.value.column, caught.value.text


@BOTH
def test_plain_values_come_out_as_plain_python(dialect: Dialect) -> None:
    text = b"""
s = "a\\tb\\u00e9"
l = 'c:\\d'
i = 0x10
n = -7
f = 1.5e3
t = true
a = [1, 2, # two
  3,
]
d.e = 1
x = {y = {z = 2}}
[t1]
[t1.u]
k = '''
q'''
[[many]]
v = 1
[[many]]
v = 2
"""
    assert loads(text, dialect).root == {
        "s": "a\tbé",
        "l": "c:\\d",
        "i": 16,
        "n": -7,
        "f": 1500.0,
        "t": True,
        "a": [1, 2, 3],
        "d": {"e": 1},
        "x": {"y": {"z": 2}},
        "t1": {"u": {"k": "q"}},
        "many": [{"v": 1}, {"v": 2}],
    }


@BOTH
def test_every_key_and_table_knows_its_line(dialect: Dialect) -> None:
    doc = loads(b'a = 1\n\n[b."c.d"]\n# x\ne = [\n1]\n[[f]]\ng = 2\n[[f]]\ng = 3\n', dialect)
    paths: list[list[str | int]] = [["a"], ["b", "c.d"], ["b", "c.d", "e"], ["f", 0, "g"], ["f", 1]]
    assert [doc.line_of(path) for path in paths] == [
        1, 3, 5, 8, 9,
    ]  # fmt: skip
    assert doc.line_of(["b", "none"]) is None


def test_a_table_named_before_its_parent_is_one_table() -> None:
    text = b"[a.b]\nx = 1\n[a]\ny = 2\n[a.c]\nz = 3\n"
    assert loads(text, V1).root == loads(text, V2).root == {"a": {"b": {"x": 1}, "y": 2, "c": {"z": 3}}}


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (b"[a]\nb=1\n[a]\n", 3, 2, "duplicated tables"),
        (b"a=1\na=2\n", 2, 1, "The following key was defined twice: a"),
        (b"[a.b]\n[a]\nb=1\n", 3, 1, "The following key was defined twice: a.b"),
        (b"a={b=1,}\n", 1, 7, "trailing comma at the end of inline table"),
        (b"a=1 b=2\n", 1, 5, "parsing error: no value can start with b"),
        (b'a="b', 1, 4, "unclosed string"),
        (b"a=", 1, 3, "expecting a value"),
        (b"a=[1\n", 2, 1, "unterminated array"),
        (b"=1", 1, 1, "unexpected token ="),
        (b"a b=1", 1, 3, 'was expecting token =, but got "b" instead'),
        (b"[]\n", 1, 2, 'unexpected token "]", was expecting a table key'),
        (b"[a\n", 1, 2, "unexpected token unclosed table key, was expecting a table key"),
        (b"a=99999999999999999999\n", 1, 3, 'strconv.ParseUint: parsing "99999999999999999999": value out of range'),
        (b"a= 1979-05-27\n", 1, 14, "parsing error: incorrect date/time separation character: \n"),
        (b'"a"=\n', 2, 1, "expecting a value"),
        (b'a = "\\q"', 1, 6, "invalid escape sequence: \\q"),
        (b'[a]\nb."c = 1', 2, 1, "parsing error: unclosed string"),
    ],
)
def test_go_toml_v1_refuses_with_its_own_words_and_place(text: bytes, line: int, column: int, message: str) -> None:
    assert refusal(text, V1) == (line, column, message)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (b"a={b=1,}\n", 1, 8, "toml: invalid character at start of key: }"),
        (b"\xef\xbb\xbfversion=2\n", 1, 1, "toml: invalid character at start of key: \u00ef"),
        (b'a="\xff"\n', 1, 4, "toml: invalid UTF-8"),
        (b"a = 1 b = 2", 1, 7, "toml: expected newline but got U+0062 'b'"),
        (b"a=[1\n", 2, 1, "toml: expected character ] but the document ended here"),
        (b"[a]\nb=1\n[a]\n", 3, None, "toml: table a already exists"),
        (b"a=1\na=2\n", 2, None, "toml: key a is already defined"),
        (b"[a.b]\n[a]\nb=1\n", 3, None, "toml: key b is already defined"),
        (b"a=1\n[a]\n", 2, None, "toml: key a should be a table, not a value"),
        (b"a={}\n[a.b]\n", 2, None, "toml: expected a to be a table, not a value"),
        (b"[a]\nb.c=1\n[a.b]\n", 3, None, "toml: table b already exists"),
        (b"a = tru", 1, 5, "toml: expected 'true'"),
        (b'a = "\\q"', 1, 7, "toml: invalid escaped character U+0071 'q'"),
    ],
)
def test_go_toml_v2_refuses_with_its_own_words_and_place(
    text: bytes, line: int, column: int | None, message: str
) -> None:
    assert refusal(text, V2) == (line, column, message)


def test_v2_4_takes_toml_1_1() -> None:
    text = b'a = {b = 1, # one\n c = "\\x41",\n}\nd = 07:32\n'
    root = loads(text, V24).root
    assert root["a"] == {"b": 1, "c": "A"}
    assert str(root["d"]) == "07:32"
    with pytest.raises(TomlError):
        loads(text, V2)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (b"a = \n", 1, 5, "toml: unexpected character U+000A at start of value"),
        (b"a = nope", 1, 5, 'toml: expected keyword "nan"'),
        (b"a = [1 2]", 1, 8, "toml: expected ',' or ']' after array value"),
        (b"[a\nb=1", 1, 3, "toml: expected ']' to close table name"),
        (b"a b = 1", 1, 3, "toml: expected '=' after key"),
        (b"a = 1__0", 1, 6, "toml: number must have at least one digit between underscores"),
        (b"a = 012", 1, 5, "toml: integers cannot have leading zeroes"),
        (b"a = 1\n[b]\na=1\na=2\n", 4, 1, "toml: key a is already defined"),
        (b"[a]\n[a]\n", 2, 2, "toml: table a already exists"),
        (b"a = 1\n[[a]]\n", 2, 3, "toml: key a already exists as a value, but should be an array table"),
        (b'a = "\\q"', 1, 6, "toml: invalid escape character U+0071 'q'"),
    ],
)
def test_go_toml_v2_4_refuses_with_its_own_words_and_place(text: bytes, line: int, column: int, message: str) -> None:
    assert refusal(text, V24) == (line, column, message)


def test_v2_3_places_errors_at_the_end_at_the_start() -> None:
    assert refusal(b"\na=", V2)[:2] == (2, 3)
    assert refusal(b"\na=", V2, end_is_start=True)[:2] == (1, 1)


def test_what_only_v1_takes() -> None:
    text = b'\xef\xbb\xbfa = {b = 1,\nc = "\xff"}\nd = 18446744073709551615\n'
    assert loads(text, V1).root == {"a": {"b": 1, "c": "\ufffd"}, "d": (1 << 64) - 1}
    with pytest.raises(TomlError):
        loads(text, V2)


def test_what_only_v2_takes() -> None:
    assert loads(b'a = "\\e"', V2).root == {"a": "\x1b"}
    assert refusal(b'a = "\\e"', V1)[2] == "invalid escape sequence: \\e"


def test_v2_looks_at_a_number_only_where_it_decodes_it() -> None:
    text = b"a = 99999999999999999999\n"
    value = loads(text, V2, lazy=True).root["a"]
    assert isinstance(value, Unreadable)
    assert (value.line, value.column) == (1, 5)
    assert refusal(text, V2)[2] == value.text


def test_v2_does_not_see_duplicates_in_tables_that_it_skips() -> None:
    text = b"[nosuch]\na = 1\na = 2\n"
    assert refusal(text, V2)[0] == 3
    assert loads(text, V2, skipped=lambda keys: keys == ["nosuch"]).root == {"nosuch": {"a": 2}}


@BOTH
def test_a_file_over_the_limit_is_too_large_not_refused(dialect: Dialect) -> None:
    with pytest.raises(TooLarge, match=str(LIMIT)):
        loads(b"#" * (50 << 20), dialect)


@BOTH
@pytest.mark.parametrize("text", [b"a = " + b"[" * 2000, b"a = " + b"{a = " * 2000, b"[" + b"a." * 2000 + b"a]"])
def test_deep_nesting_is_given_up_not_recursed_into(dialect: Dialect, text: bytes) -> None:
    with pytest.raises(TooLarge, match=str(DEPTH)):
        loads(text, dialect)


def _work(text: bytes, dialect: Dialect) -> int:
    """How many Python calls reading `text` takes: a measure of work that no other process disturbs."""
    import sys  # noqa: PLC0415 - only here

    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        loads(text, dialect)
    finally:
        sys.setprofile(None)
    return calls


@BOTH
@pytest.mark.parametrize(
    "shape",
    [
        lambda n: b"".join(b"[a%d.b]\nc = %d\n" % (i, i) for i in range(n)),
        lambda n: b"".join(b"[[a]]\n[a.b%d]\n" % i for i in range(n)),
        lambda n: b"a = [" + b'"x", ' * n + b"]",
        lambda n: b"a = '''" + b"x\n" * n + b"'''",
        lambda n: b"".join(b"k%d.x = {y = 1}\n" % i for i in range(n)),
    ],
)
def test_twice_the_text_is_about_twice_the_work(dialect: Dialect, shape: Callable[[int], bytes]) -> None:
    assert _work(shape(800), dialect) <= 2.2 * _work(shape(400), dialect) + 100


_PIECES = st.sampled_from(
    [
        *(bytes([c]) for c in b"ab= \n\r[]{},.\"'#\\1-_ex+Z\xff"),
        *(b"'''", b'"""', b"u00e9", b"true", b"inf", b"nan", b"1979-05-27", b"07:32:00", b"\xc3\xa9", b"[[", b"]]"),
    ]
)


@BOTH
@given(data=st.one_of(st.binary(max_size=80), st.lists(_PIECES, max_size=40).map(b"".join)))
def test_any_bytes_give_a_document_or_a_toml_error(dialect: Dialect, data: bytes) -> None:
    for lazy in (False, True):
        doc, text, line = read(data, dialect, lazy=lazy)
        assert (doc is None) is bool(text)
        assert line is None or 1 <= line <= data.count(b"\n") + 1
        for key in doc.root if doc else ():
            place = doc.line_of([key]) if doc else None
            assert place is not None
            assert 1 <= place <= data.count(b"\n") + 1


def read(data: bytes, dialect: Dialect, *, lazy: bool) -> tuple[Document | None, str, int | None]:
    """The document, or what is said instead of it."""
    try:
        return loads(data, dialect, lazy=lazy), "", None
    except TomlError as error:
        return None, error.text, error.line


@BOTH
def test_a_large_file_is_read_without_the_lines_that_hold_nothing_and_keeps_its_line_numbers(dialect: Dialect) -> None:
    text = b"a = 1\n" + b"# x\n\n" * (LIMIT // 4) + b"b = [\n  2]\n\n[c]\nd = 3\n"
    document = loads(text, dialect)
    first = 2 + 2 * (LIMIT // 4)
    assert document.root == {"a": 1, "b": [2], "c": {"d": 3}}
    assert [document.line_of(path) for path in (["a"], ["b"], ["c"], ["c", "d"])] == [1, first, first + 3, first + 4]
    assert refusal(text + b"x y\n", dialect)[0] == first + 5


@BOTH
def test_a_large_file_of_settings_or_with_long_strings_is_too_large(dialect: Dialect) -> None:
    idle = b"# x\n" * (LIMIT // 4)
    for text in (b"a = 1\n" * (LIMIT // 4), idle + b'a = """\n"""\n', idle + b"a = '" + b"x" * LIMIT, b"\n" * MOST,
                 b"a = 1\n\n" * (LIMIT // 4)):  # fmt: skip
        with pytest.raises(TooLarge):
            loads(text, dialect)
