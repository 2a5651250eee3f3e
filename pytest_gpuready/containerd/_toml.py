"""What the two TOML readers share: tables with lines, errors with places (see `toml`)."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, NoReturn

from pytest_gpuready import budget

DEPTH = 100
"""Deepest nesting of arrays, inline tables and table names that is read."""
SETTINGS = 5000
"""Most tables and values of a document that are read. containerd's own configuration has some 300."""


class TomlError(ValueError):
    """The parser refuses the document.

    `text` is its message, `line` and `column` (from 1) where it stands, or None where nothing is known. `shown` says
    whether the parser prints that place itself; `partial` is what was read before it.
    """

    def __init__(self, text: str, line: int | None = None, column: int | None = None, *, shown: bool = True) -> None:
        super().__init__(text)
        self.text, self.line, self.column, self.shown = text, line, column, shown
        self.partial, self.size = Table(1), 0


class TooLarge(TomlError):  # noqa: N818 - it is no refusal
    """The document exceeds `toml.LIMIT`, `SETTINGS` or `DEPTH` of this reader: no word of containerd's."""


@dataclass(frozen=True)
class Moment:
    """A date or a time: its text and the Go type that it has (``LocalDate``, ``LocalTime``, ...)."""

    text: str
    kind: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Unreadable:
    """A scalar that go-toml v2 refuses only when it decodes it into something: its error."""

    text: str
    line: int
    column: int
    kind: str


class Table(dict[str, Any]):
    """A TOML table. `line` is where it was opened; `lines` has the line of each key, `columns` that of its value."""

    __slots__ = ("columns", "dotted", "explicit", "inline", "line", "lines")

    def __init__(self, line: int, *, explicit: bool = False, dotted: bool = False, inline: bool = False) -> None:
        super().__init__()
        self.line, self.explicit, self.dotted, self.inline = line, explicit, dotted, inline
        self.lines: dict[str, int] = {}
        self.columns: dict[str, int] = {}

    def put(self, key: str, value: object, line: int, column: int = 1) -> None:
        """Set `key`, which stands at `line`; its value stands at `column` (go-toml v1: the key)."""
        self[key] = value
        self.lines[key], self.columns[key] = line, column


class Array(list[Any]):
    """An array of go-toml v2; `places` has the line and column of each element."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[tuple[int, int]] = []


class TableArray(list[Table]):
    """An array of tables written with ``[[name]]``."""


def quote(text: str) -> str:
    """Text as Go's %q prints it."""
    marks = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f"}
    return f'"{"".join(marks.get(c) or (c if c.isprintable() else _escaped(ord(c))) for c in text)}"'


def _escaped(code: int) -> str:
    if code < 0x80:
        return "\\v" if code == 0xB else f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Parser:
    """The place of an offset, and the failing. `text` has one character per column that the Go parser counts."""

    def __init__(self, text: str) -> None:
        self.text, self.end, self.at = text, len(text), 0
        self.newlines = [m.start() for m in re.finditer("\n", text)]
        self.root = Table(1, explicit=True)
        #: Tables and values read so far.
        self.size = 0

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        line = bisect_left(self.newlines, offset)
        return line + 1, offset - (self.newlines[line - 1] if line else -1)

    def fail(self, offset: int, text: str, *, shown: bool = True) -> NoReturn:
        """Refuse the document at `offset`."""
        raise TomlError(text, *self.place(offset), shown=shown)

    def deep(self, depth: int) -> None:
        """Give up where recursion would."""
        if depth > DEPTH:
            raise TooLarge(f"too deeply nested to be looked at: the limit is {DEPTH} levels", *self.place(self.at))

    def count(self) -> None:
        """Count one table or value; give up where there are more than is ever needed."""
        budget.check()
        self.size += 1
        if self.size > SETTINGS:
            raise TooLarge(f"too many settings: the limit is {SETTINGS} tables and values", *self.place(self.at))

    def run(self) -> None:
        """Read the whole document into `root`."""
        raise NotImplementedError
