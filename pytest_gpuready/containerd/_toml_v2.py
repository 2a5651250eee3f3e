"""go-toml v2.2.3 to v2.3.0: tables (pelletier/go-toml unstable/parser.go, internal/tracker/seen.go)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd._toml import Array, Table, TableArray, TomlError
from pytest_gpuready.containerd._toml_v2_values import UTF8, V2Values, shown_rune

if TYPE_CHECKING:
    from collections.abc import Callable

_WS = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_COMMENT = re.compile(rf"#(?:[\t\x20-\x7e]+|{UTF8})*")


class V2Parser(V2Values):
    """One expression after the other: parsed, checked for duplicates, stored."""

    def __init__(
        self, data: bytes, *, lazy: bool, skipped: Callable[[list[str]], bool] | None, end_is_start: bool
    ) -> None:
        super().__init__(data, lazy=lazy, end_is_start=end_is_start)
        self.skipped = skipped
        self.table = self.root
        self.loose = False
        self.dotted: list[Table] = []

    def space(self) -> str:
        """Skip blanks; the next byte or ""."""
        self.at = _WS.match(self.text, self.at).end()  # type: ignore[union-attr]
        return self.text[self.at : self.at + 1]

    def need(self, c: str) -> None:
        if self.at >= self.end:
            raise self.stop(self.at, f"expected character {c} but the document ended here")
        if self.text[self.at] != c:
            raise self.stop(self.at, f"expected character {c}")
        self.at += 1

    def newline(self) -> None:
        c = self.text[self.at]
        if c == "\r":
            if self.at + 1 >= self.end:
                raise self.stop(self.at, "windows new line expected")
            if self.text[self.at + 1] != "\n":
                raise self.stop(self.at, r"windows new line should be \r\n")
            self.at += 1
        elif c != "\n":
            raise self.stop(self.at, f"expected newline but got {shown_rune(c)}")
        self.at += 1

    def comment(self) -> None:
        found = _COMMENT.match(self.text, self.at)
        self.at = found.end() if found else self.at
        rest = self.text[self.at : self.at + 2]
        if rest and rest[0] != "\n" and rest != "\r\n":
            raise self.stop(self.at, "invalid character in comment")

    def run(self) -> None:
        first = True
        while self.at < self.end:
            if not first:
                self.newline()
            first = False
            c = self.space()
            if c == "[":
                self.header()
            elif c not in ("", "#", "\r", "\n"):
                self.assign(self.table, loose=self.loose, depth=0)
                if self.pending is not None and not self.loose:
                    raise self.pending
                self.pending = None
            if self.space() == "#":
                self.comment()

    def finish(self) -> None:
        """Read on to the end of the line, before the keys are looked at: v2.4."""

    def key(self) -> tuple[list[str], int]:
        """A dotted key and the offset of its last part; `parts` has the offsets of all."""
        keys: list[str] = []
        self.parts: list[int] = []
        while True:
            start, c = self.at, self.text[self.at : self.at + 1]
            self.parts.append(start)
            if c == "'":
                keys.append(self.literal())
            elif c == '"':
                keys.append(self.basic())
            elif bare := _BARE.match(self.text, self.at):
                keys.append(bare[0])
                self.at = bare.end()
            elif c:
                raise self.stop(self.at, f"invalid character at start of key: {c}")
            else:
                raise self.stop(self.at, "expected key but found none")
            if self.space() != ".":
                self.deep(len(keys))
                return keys, start
            self.at += 1
            self.space()

    def header(self) -> None:
        self.count()
        start = self.at
        double = self.text.startswith("[[", start)
        self.at += 1 + double
        self.space()
        keys, _ = self.key()
        self.closing(double=double)
        self.finish()
        line = self.place(start)[0]
        for table in self.dotted:
            table.explicit, table.dotted = True, False
        self.dotted = []
        node = self.root
        for key in keys[:-1]:
            value = node.get(key)
            if value is None:
                value = Table(line)
                node.put(key, value, line, self.headed())
            if isinstance(value, TableArray):
                value = value[-1]
            if not isinstance(value, Table) or value.inline:
                raise self.twice(line, f"expected {key} to be a table, not a value")
            node = value
        self.table = self.open(node, keys[-1], line, double=double)
        self.loose = self.skipped is not None and self.skipped(keys)

    def closing(self, *, double: bool) -> None:
        """The end of a header's name."""
        for _ in range(1 + double):
            self.need("]")

    def open(self, node: Table, key: str, line: int, *, double: bool) -> Table:
        value = node.get(key)
        kind = "array table" if isinstance(value, TableArray) else "table"
        kind = kind if isinstance(value, (TableArray, Table)) and not getattr(value, "inline", False) else "value"
        if double:
            if value is None:
                value = TableArray()
                node.put(key, value, line, self.headed())
            elif kind != "array table":
                raise self.twice(line, f"key {kind} already exists as a {key},  but should be an array table")
            value.append(Table(line, explicit=True))
            return value[-1]
        if value is None:
            value = Table(line, explicit=True)
            node.put(key, value, line, self.headed())
        elif kind != "table":
            raise self.twice(line, f"key {key} should be a table, not a {kind}")
        elif value.explicit:
            raise self.twice(line, f"table {key} already exists")
        else:
            value.explicit, value.line, node.lines[key] = True, line, line
        return value

    def headed(self) -> int:
        """The column at which a header's table is said to stand."""
        return 1

    def twice(self, line: int, text: str) -> TomlError:
        """An error of the tracker of seen keys: v2 names no place."""
        return TomlError(f"toml: {text}", line, None, shown=False)

    def assign(self, table: Table, *, loose: bool, depth: int) -> None:
        start = self.at
        keys, _ = self.key()
        parts = self.parts
        if self.at >= self.end:
            at = start if self.end_is_start else self.at
            raise self.stop(at, "expected = after a key, but the document ends there")
        self.need("=")
        self.space()
        line, column = self.place(self.at)
        value = self.value(depth)
        if depth == 0:
            self.finish()
        for at, key in enumerate(keys[:-1], 1):
            node = table.get(key)
            if node is None or (loose and not isinstance(node, Table)):
                node = Table(line, dotted=True)
                self.dotted.append(node)
                # Below 1: a dotted key, whose next part stands there.
                table.put(key, node, line, -self.place(parts[at])[1])
            elif not loose:
                if not isinstance(node, Table) or node.inline:
                    kind = "array table" if isinstance(node, TableArray) else "value"
                    raise self.twice(self.place(start)[0], f"expected {key} to be a table, not a {kind}")
                if node.explicit:
                    text = f"cannot redefine table {key} that has already been explicitly defined"
                    raise self.twice(self.place(start)[0], text)
            table = node
        if keys[-1] in table and not loose:
            raise self.twice(self.place(start)[0], f"key {keys[-1]} is already defined")
        table.put(keys[-1], value, line, column)

    def value(self, depth: int) -> Any:
        self.count()
        self.deep(depth)
        text, start = self.text, self.at
        c = text[start : start + 1]
        if not c:
            raise self.stop(start, "expected value, not eof")
        if c == '"':
            return self.basics() if text.startswith('"""', start) else self.basic()
        if c == "'":
            return self.literals() if text.startswith("'''", start) else self.literal()
        if c in "tf":
            word = "true" if c == "t" else "false"
            if not text.startswith(word, start):
                raise self.stop(start, f"expected '{word}'")
            self.at += len(word)
            return c == "t"
        if c == "[":
            return self.array(depth)
        if c == "{":
            return self.inline(depth)
        return self.number(c)

    def array(self, depth: int) -> list[Any]:
        start = self.at
        out = Array()
        self.at += 1
        while self.at < self.end:
            self.blank()
            if self.at >= self.end:
                raise self.stop(start, "array is incomplete")
            c = self.text[self.at]
            if c == "]":
                break
            if c == ",":
                if not out:
                    raise self.stop(self.at, "array cannot start with comma")
                self.at += 1
                self.blank()
            elif out:
                raise self.stop(self.at, "array elements must be separated by commas")
            if self.text.startswith("]", self.at):
                break
            out.places.append(self.place(self.at))
            out.append(self.value(depth + 1))
            self.blank()
        self.need("]")
        return out

    def blank(self) -> None:
        while True:
            if self.space() == "#":
                self.comment()
            if self.text[self.at : self.at + 1] not in ("\n", "\r"):
                return
            self.newline()

    def inline(self, depth: int) -> Table:
        table = Table(self.place(self.at)[0])
        self.at += 1
        first = True
        while self.at < self.end:
            before = self.at
            c = self.space()
            if not c:
                raise self.stop(before, "inline table is incomplete")
            if c == "}":
                break
            if not first:
                self.need(",")
                self.space()
            self.assign(table, loose=False, depth=depth + 1)
            first = False
        self.need("}")
        table.inline = True
        return table
