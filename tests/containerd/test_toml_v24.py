"""The newer reader of Debian's 2.1.9 beside the older one: what both take is the same, and nothing else is raised."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd.toml import Dialect, TomlError, loads

EVERYTHING = b"""# every kind of value
title = "a \\"quoted\\" text \\t \\u00e9 \\U0001F600"
literal = 'C:\\path'
many = \"\"\"
one \\
   two\"\"\"
raw = '''
no \\escape'''
dec = 1_000
hex = 0xdead_beef
oct = 0o755
bin = 0b1010
neg = -17
zero = 0
float = 6.626e-34
plain = 3.14
inf = inf
ninf = -inf
yes = true
no = false
odt = 1979-05-27T07:32:00Z
offset = 1979-05-27T00:32:00.999999-07:00
local = 1979-05-27T07:32:00
date = 1979-05-27
time = 07:32:00
list = [1, 2, 3,]
nested = [[1, 2], ["a", "b"]]
inline = { a = 1, b = { c = "x" } }
a.dotted.key = 1
"quoted key" = 2
[table]
x = 1
[table.sub]
y = 2
[[things]]
name = "one"
[[things]]
name = "two"
[things.part]
z = 3
"""

BROKEN = [
    b"a",
    b"a =",
    b"= 1",
    b"a = 1 b = 2",
    b"a = 1\na = 2",
    b"[a]\n[a]",
    b"[a",
    b"[[a]",
    b"a = [1, 2",
    b"a = {b = 1",
    b'a = "x',
    b"a = 'x",
    b'a = """x',
    b"a = '''x",
    b'a = "\\q"',
    b'a = "\\u12"',
    b"a = 01",
    b"a = 0x",
    b"a = 1_",
    b"a = 1__0",
    b"a = .5",
    b"a = 5.",
    b"a = 1e",
    b"a = tru",
    b"a = nul",
    b"a = 1979-13-01",
    b"a = 25:00:00",
    b"a = 99999999999999999999",
    b"a.b = 1\na = 2",
    b"a = 1\n[a.b]",
    b"[[a]]\n[a]",
    b"a = []\n[[a]]",
    b"a = {}\n[a.b]",
    b"\xff = 1",
    b'a = "\xff"',
    b"a = \x00",
    b"\xef\xbb\xbfa = 1",
    b"a = 1\r\nb = 2\r\n",
    b"a = 1\rb = 2",
    b"a = {b = 1,\n}",
    b'a = "\\e"',
    b"[a.b]\n[a]\nb = 1",
    b"a = +1",
    b"a = -nan",
    b"a.'b'.\"c\" = 1",
    b"[ a . b ]",
    b"a = [ # c\n 1 ]",
    b"a = 1979-05-27 07:32:00",
]


def test_a_document_with_every_kind_of_value_reads_alike() -> None:
    new, old = loads(EVERYTHING, dialect=Dialect.V24), loads(EVERYTHING, dialect=Dialect.V2)
    assert new.root == old.root
    assert new.root["things"][1]["part"] == {"z": 3}
    assert new.line_of(("table", "sub", "y")) == old.line_of(("table", "sub", "y"))


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("data", BROKEN)
def test_whatever_is_broken_is_a_document_or_an_error_with_words(data: bytes, dialect: Dialect) -> None:
    said: object
    try:
        said = loads(data, dialect=dialect).root
    except TomlError as error:
        said = str(error)
    assert said or data == b""


def test_an_array_tables_name_ends_with_both_brackets() -> None:
    with pytest.raises(TomlError) as caught:
        loads(b"[[a]\n", Dialect.V24)
    assert (caught.value.text, caught.value.column) == ("toml: expected ']]' to close array table name", 4)
