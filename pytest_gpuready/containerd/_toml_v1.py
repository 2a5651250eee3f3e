"""go-toml v1.9.5, and Debian's v1.9.4: tables and refusals (pelletier/go-toml parser.go, keysparsing.go)."""

from __future__ import annotations

import calendar
import itertools
import math
import re
from typing import Any, NoReturn

from pytest_gpuready.containerd._toml import DEPTH, Moment, Table, TableArray, TomlError, quote
from pytest_gpuready.containerd._toml_v1_lexer import Token, V1Lexer

_BARE1 = re.compile(r"[A-Za-z0-9_-]+")
_SPACE1 = re.compile(r"[ \t]*")
_RANGE = "value out of range"


class V1Parser(V1Lexer):
    """Tables out of tokens."""

    def __init__(self, data: bytes, *, older: bool = False) -> None:
        super().__init__(data)
        self.older = older
        self.seen: set[str] = set()
        self.below: dict[str, list[str]] = {}
        self.prefix: list[str] = []
        self.tokens = self.lex()
        self.ahead: Token | None = None

    def peek(self) -> Token:
        if self.ahead is None:
            self.ahead = next(self.tokens, ("EOF", "", self.end))
        return self.ahead

    def take(self) -> Token:
        token, self.ahead = self.peek(), None
        return token

    def expect(self, kind: str) -> None:
        token = self.take()
        if token[0] != kind:
            self.fail(token[2], f"was expecting token {_name(kind)}, but got {_shown(token)} instead")

    def run(self) -> None:
        while True:
            kind, value, at = token = self.take()
            if kind == "EOF":
                return
            if kind == "Error":
                self.fail(at, f"parsing error: {value}")
            elif kind in ("[", "[["):
                self.header(double=kind == "[[", line=self.place(at)[0], column=self.place(at)[1])
            elif kind == "Key":
                self.assign(token)
            else:
                self.fail(at, f"unexpected token {_name(kind)}")

    def header(self, *, double: bool, line: int, column: int) -> None:
        self.count()
        kind, value, at = token = self.take()
        if kind != ("KeyGroupArray" if double else "KeyGroup"):
            self.fail(at, f"unexpected token {_shown(token)}, was expecting a table {'array ' * double}key")
        if not double and value in self.seen:
            self.fail(at, "duplicated tables")
        keys = self.split(value, at, "invalid table array key")
        self.deep(len(keys))
        self.seen.add(value)
        for dot in itertools.islice(re.finditer(r"\.", value), DEPTH):
            self.below.setdefault(value[: dot.start()], []).append(value)
        node = self.descend(keys[:-1] if double else keys, (line, column), at, header=True)
        if double:
            self.seen.difference_update(self.below.pop(value, ()))
            tables = node.get(keys[-1])
            if tables is None:
                tables = TableArray()
                node.put(keys[-1], tables, line, column)
            elif not isinstance(tables, TableArray):
                self.fail(at, f"key {quote(value)} is already assigned and not of type table array")
            tables.append(Table(line))
        elif node.inline:
            self.fail(at, f"could not re-define exist inline table or its sub-table : {'.'.join(keys)}")
        self.expect("]]" if double else "]")
        self.prefix = keys

    def descend(self, keys: list[str], place: tuple[int, int], at: int, *, header: bool) -> Table:
        """createSubTree: the table at `keys`, created where it is not; the last element of arrays of tables."""
        node = self.root
        for key in keys:
            value = node.get(key)
            if value is None:
                value = Table(place[0], inline=node.inline)
                node.put(key, value, *place)
            if isinstance(value, list) and value and isinstance(value[-1], Table):
                value = value[-1]
            if not isinstance(value, Table):
                shown = f"unknown type for path {'.'.join(keys)} ({key}): {_go_value(node, key)}"
                self.fail(at, shown if header else f"Unknown table type for path: {'.'.join(keys)}")
            node = value
        return node

    def assign(self, token: Token) -> None:
        _, raw, at = token
        self.expect("=")
        keys = self.split(raw, at, "invalid key")
        self.deep(len(keys))
        value = self.value()
        line, column = self.place(at)
        path = self.prefix + keys[:-1]
        node = self.descend(path, (line, column), at, header=False)
        if node.inline:
            shown = f"could not add key or sub-table to exist inline table or its sub-table : {'.'.join(path)}"
            self.fail(at, shown)
        if node.get(keys[-1]) is not None:
            self.fail(at, f"The following key was defined twice: {'.'.join([*path, keys[-1]])}")
        # Inline tables have no place of their own: messages about them say (0, 0).
        placeless = isinstance(value, Table) or (isinstance(value, list) and value and isinstance(value[0], Table))
        node.put(keys[-1], value, line, 0 if placeless else column)

    def value(self) -> Any:
        self.count()
        kind, raw, at = token = self.take()
        if kind == "String":
            return raw
        if kind in ("True", "False"):
            return kind == "True"
        if kind == "Inf":
            return -math.inf if raw[0] == "-" else math.inf
        if kind == "NaN":
            return math.nan
        if kind == "Integer":
            return self.integer(raw, at)
        if kind == "Float":
            return self.real(raw, at)
        if kind in ("LocalTime", "LocalDate"):
            return self.moment(kind, raw, at)
        if kind == "[":
            return self.array()
        if kind == "{":
            return self.inline(self.place(at)[0])
        if kind == "EOF":
            self.fail(at, "expecting a value")
        if kind == "=":
            self.fail(at, "cannot have multiple equals for the same key")
        if kind == "Error":
            self.fail(at, raw)
        text = f"unhandled token: {_shown(token)}"
        raise TomlError(f"panic: {text} [recovered]" if self.older else text, *self.place(at), shown=False)

    def integer(self, raw: str, at: int) -> int:
        digits = raw.replace("_", "")
        base = {"x": 16, "o": 8, "b": 2}.get(digits[1:2], 10) if digits[0] == "0" and len(digits) >= 3 else 10
        if base == 10 and digits[0] == "0" and len(digits) >= 3:
            raise TomlError("invalid base", *self.place(at), shown=False)
        if re.search("(?<![0-9A-Fa-f])_|_$" if base == 16 else "(?<![0-9])_|_$", raw):
            self.fail(at, f"invalid use of _ in {'hex ' * (base == 16)}number")
        body = digits if base == 10 else digits[2:]
        value = int(body, base) if len(body) < 100 else 1 << 100
        if not -(1 << 63) <= value < 1 << (63 if self.older else 64):
            signed = self.older or body[0] == "-"
            wrong = "invalid syntax" if body[0] == "+" and not signed else _RANGE
            self.fail(at, f"strconv.Parse{'Int' if signed else 'Uint'}: parsing {quote(body)}: {wrong}")
        return value

    def real(self, raw: str, at: int) -> float:
        digits = raw.replace("_", "")
        if re.search("(?<![0-9])_|_$", raw):
            self.fail(at, "invalid use of _ in number")
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", digits):
            self.fail(at, f"strconv.ParseFloat: parsing {quote(digits)}: invalid syntax")
        value = float(digits)
        if math.isinf(value):
            self.fail(at, f"strconv.ParseFloat: parsing {quote(digits)}: {_RANGE}")
        return value

    def moment(self, kind: str, raw: str, at: int) -> Moment:
        if kind == "LocalDate" and self.peek()[0] == "LocalTime":
            raw, kind = f"{raw}T{self.take()[1]}", "LocalDateTime"
            if self.peek()[0] == "TimeOffset":
                raw, kind = raw + self.take()[1], "Time"
        if kind == "LocalDate":
            year, month, day = map(int, raw.split("-"))
            if not 1 <= month <= 12:
                self.fail(at, f"parsing time {quote(raw)}: month out of range")
            if not 1 <= day <= calendar.monthrange(max(year, 4), month)[1]:
                self.fail(at, f"parsing time {quote(raw)}: day out of range")
        return Moment(raw, kind)

    def array(self) -> list[Any]:
        out: list[Any] = []
        while True:
            kind, _, at = self.peek()
            if kind == "EOF":
                self.fail(at, "unterminated array")
            if kind == "]":
                self.take()
                tables = bool(out) and all(isinstance(item, Table) for item in out)
                return TableArray(out) if tables else out
            out.append(self.value())
            kind, _, at = self.peek()
            if kind == "EOF":
                self.fail(at, "unterminated array")
            if kind not in ("]", ","):
                self.fail(at, "missing comma")
            if kind == ",":
                self.take()

    def inline(self, line: int) -> Table:
        table, previous, at = Table(line), "", self.at
        while True:
            kind, raw, here = token = self.peek()
            if kind == "EOF":
                self.fail(here, "unterminated inline table")
            if kind == "}":
                self.take()
                break
            if kind in ("Key", "Integer", "String"):
                if previous not in (",", ""):
                    self.fail(here, "comma expected between fields in inline table")
                self.take()
                self.expect("=")
                keys = self.split(raw, here, "invalid key")
                self.deep(len(keys))
                self.put_inline(table, keys, self.value(), self.place(here)[0])
            elif kind == ",":
                if previous == ",":
                    self.fail(here, "need field between two commas in inline table")
                self.take()
            else:
                self.fail(here, f"unexpected token type in inline table: {_shown(token)}")
            previous, at = kind, here
        if previous == ",":
            self.fail(at, "trailing comma at the end of inline table")
        table.inline = True
        return table

    @staticmethod
    def put_inline(table: Table, keys: list[str], value: object, line: int) -> None:
        """Tree.SetPath: later keys replace earlier ones, and a value in the way is passed over.

        The parser places a value in the row of its number in the table, and a table nowhere: a column below 1.
        """
        for key in keys[:-1]:
            node = table.setdefault(key, Table(line))
            table.lines.setdefault(key, line)
            if isinstance(node, list) and node and isinstance(node[-1], Table):
                node = node[-1]
            table = node if isinstance(node, Table) else table
        tables = isinstance(value, Table) or (isinstance(value, list) and value and isinstance(value[0], Table))
        table.put(keys[-1], value, line, 0 if tables else -1 - len(table))

    def split(self, raw: str, at: int, what: str) -> list[str]:
        """parseKey: the parts of a key; quoted parts were unescaped before."""
        keys, i, size = [], 0, len(raw)

        def wrong(text: str) -> NoReturn:
            self.fail(at, f"{what}: {text}")

        while i < size:
            c = raw[i]
            if c in " \t":
                i += 1
            elif bare := _BARE1.match(raw, i):
                keys.append(bare[0])
                i = bare.end()
                if i < size and raw[i] in " \t":
                    i = _SPACE1.match(raw, i).end()  # type: ignore[union-attr]
                    if i < size and raw[i] != ".":
                        wrong(f"invalid key character after whitespace: {raw[i]}")
                elif i < size and raw[i] != ".":
                    wrong(f"invalid bare key character: {raw[i]}")
            elif c in "\"'":
                stop = raw.find(c, i + 1)
                if stop < 0:
                    wrong(f"unclosed {'double' if c == chr(34) else 'single'}-quoted key")
                keys.append(raw[i + 1 : stop])
                i = stop + 1
            elif c == ".":
                i += 1
                if i >= size:
                    wrong("unexpected end of key")
                if not (_BARE1.match(raw, i) or raw[i] in "'\" "):
                    wrong("expecting key part after dot")
            else:
                wrong(f"invalid key character: {c}")
        if not keys:
            wrong("empty key")
        return keys


def _name(kind: str) -> str:
    """A token type as go-toml calls it: it has these two names the wrong way round."""
    return {"]]": "[[", "[[": "]]"}.get(kind, kind)


def _go_value(table: Table, key: str) -> str:
    """A value that is in the way, as go-toml shows it (%T and %#v)."""
    value: Any = table[key]
    value = quote(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else value
    line, column = table.lines[key], table.columns[key]
    line, column = (line, column) if column > 0 else (-column, 0)
    place = f"toml.Position{{Line:{line}, Col:{column}}}"
    flags = "commented:false, multiline:false, literal:false"
    return f'*toml.tomlValue (&toml.tomlValue{{value:{value}, comment:"", {flags}, position:{place}}})'


def _shown(token: Token) -> str:
    return "EOF" if token[0] == "EOF" else token[1] if token[0] == "Error" else quote(token[1])
