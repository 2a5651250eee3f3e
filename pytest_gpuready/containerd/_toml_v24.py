r"""go-toml v2.4.3: what it does otherwise than v2.3 (pelletier/go-toml unstable/parser.go, internal/tracker/seen.go).

TOML 1.1: new lines, comments and a last comma in inline tables, the escape ``\x``, times without seconds. A number is
looked at where it stands, a duplicate is noticed wherever it is, and an error about keys has a place.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, NoReturn

from pytest_gpuready.containerd._toml import Array, Table, TomlError, Unreadable
from pytest_gpuready.containerd._toml_v2 import V2Parser
from pytest_gpuready.containerd._toml_v2_values import shown_rune

_WORDS = {
    "array is incomplete": "array is incomplete",
    'basic string not terminated by "': "unterminated basic string",
    "expected key but found none": "expected key but reached end of input",
    "expected value, not eof": "expected value, not end of input",
    "expected 'true'": 'expected keyword "true"',
    "expected 'false'": 'expected keyword "false"',
    "windows new line expected": "expected newline but got U+000D",
    r"windows new line should be \r\n": "expected newline but got U+000D",
    r"need a \n after \r": "carriage returns must be followed by a newline character",
    "expected = after a key, but the document ends there": "expected '=' after key",
}
_DIGITS = {"x": "[0-9A-Fa-f]", "o": "[0-7]", "b": "[01]"}
_NAMES = {"x": "hexadecimal", "o": "octal", "b": "binary"}


class V24Parser(V2Parser):
    """V2Parser with its successor's ways."""

    POINTS = True
    TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?$")
    RUNES: ClassVar[dict[str, int]] = {"u": 4, "U": 8, "x": 2}

    def __init__(self, data: bytes, *, lazy: bool) -> None:
        super().__init__(data, lazy=lazy, skipped=None, end_is_start=False)
        self.spot, self.heading = 0, False

    def stop(self, offset: int, text: str) -> TomlError:
        """The error at `offset`; at the end it is placed on the last byte."""
        c = self.text[offset : offset + 1]
        text = _WORDS.get(text, text)
        if text.startswith("invalid character at start of key: "):
            text = f"invalid character at start of key: {shown_rune(c)}"
        elif text.startswith("invalid escaped character "):
            text, offset = f"invalid escape character {shown_rune(c)}", offset - 1
        return super().stop(min(offset, self.end - 1) if self.end else 0, text)

    def headed(self) -> int:
        """The column of the header's first key."""
        return self.place(self.spot)[1]

    def twice(self, line: int, text: str) -> TomlError:
        """An error about keys: placed at the first key of the line."""
        del line
        if found := re.fullmatch(r"expected (.*) to be a table, not a.*", text, re.DOTALL):
            text = f"key {found[1]} already exists as a value" if self.heading else f"key {found[1]} is already defined"
        elif found := re.fullmatch(r"cannot redefine table (.*) that has already been .*", text, re.DOTALL):
            text = f"key {found[1]} is already defined"
        elif found := re.fullmatch(
            r"key (array table|table|value) already exists as a (.*),  but (.*)", text, re.DOTALL
        ):
            text = f"key {found[2]} already exists as a {found[1]}, but {found[3]}"
        elif found := re.fullmatch(r"key (.*) should be a table, not a array table", text, re.DOTALL):
            text = f"table {found[1]} already exists as an array of tables"
        return TomlError(f"toml: {text}", *self.place(self.spot))

    def comment(self) -> None:
        try:
            super().comment()
        except TomlError:
            c = self.text[self.at]
            text = "carriage returns are not allowed in comments" if c == "\r" else (
                "control characters are not allowed in comments" if c < "\x80" else "invalid UTF-8 character in comment"
            )  # fmt: skip
            raise self.stop(self.at, text) from None

    def newline(self) -> None:
        if self.text[self.at] == "\r" and self.text[self.at + 1 : self.at + 2] != "\n":
            raise self.stop(self.at, "expected newline but got U+000D")
        super().newline()

    def finish(self) -> None:
        if self.space() == "#":
            self.comment()
        if self.at < self.end:
            self.newline()

    def run(self) -> None:
        while True:
            c = self.space()
            if not c:
                return
            if c in "\r\n":
                self.newline()
            elif c == "#":
                self.finish()
            elif c == "[":
                self.heading = True
                self.spot = self.at + 1 + self.text.startswith("[[", self.at)
                while self.text[self.spot : self.spot + 1] in (" ", "\t"):
                    self.spot += 1
                self.header()
            else:
                self.spot, self.heading = self.at, False
                self.assign(self.table, loose=False, depth=0)
                if self.pending is not None:
                    raise self.pending

    def closing(self, *, double: bool) -> None:
        if double and not self.text.startswith("]]", self.at):
            raise self.stop(self.at, "expected ']]' to close array table name")
        super().closing(double=double)

    def need(self, c: str) -> None:
        if self.text[self.at : self.at + 1] != c:
            words = {"]": "expected ']' to close table name", "=": "expected '=' after key"}
            raise self.stop(self.at, words.get(c, f"expected '{c}'"))
        self.at += 1

    def array(self, depth: int) -> list[Any]:
        out = Array()
        self.at += 1
        filled = False
        while True:
            self.blank()
            c = self.text[self.at : self.at + 1]
            if not c:
                raise self.stop(self.at, "array is incomplete")
            if c == "]":
                self.at += 1
                return out
            if c == ",":
                if not filled:
                    raise self.stop(self.at, f"expected value but got {shown_rune(c)}")
                filled = False
                self.at += 1
                continue
            if filled:
                raise self.stop(self.at, "expected ',' or ']' after array value")
            out.places.append(self.place(self.at))
            out.append(self.value(depth + 1))
            filled = True

    def inline(self, depth: int) -> Table:
        table = Table(self.place(self.at)[0])
        self.at += 1
        filled = False
        while True:
            self.blank()
            c = self.text[self.at : self.at + 1]
            if not c:
                raise self.stop(self.at, "inline table is incomplete")
            if c == "}":
                self.at += 1
                table.inline = True
                return table
            if c == ",":
                if not filled:
                    raise self.stop(self.at, "unexpected comma in inline table")
                filled = False
                self.at += 1
                continue
            if filled:
                raise self.stop(self.at, "expected ',' or '}' after inline table key-value")
            self.assign(table, loose=False, depth=depth + 1)
            filled = True

    def rune(self, start: int, stop: int, size: int) -> str:  # noqa: ARG002 - it reads past the closing quote
        code = self.text[start : start + size]
        if len(code) < size:
            raise self.stop(start - 2, "unicode escape sequence is too short")
        bad = re.search("[^0-9A-Fa-f]", code)
        if bad:
            raise self.stop(start + bad.start(), "invalid hexadecimal digit in unicode escape sequence")
        value = int(code, 16)
        if value > 0x10FFFF or 0xD800 <= value < 0xE000:
            raise self.stop(start - 2, "escape sequence is not a valid unicode code point")
        return chr(value)

    def number(self, c: str) -> Any:
        text, start = self.text, self.at
        if c not in "0123456789+-" and not (c in "in" and text.startswith(("inf", "nan"), start)):
            word = {"i": "inf", "n": "nan"}.get(c)
            raise self.stop(start, f'expected keyword "{word}"' if word else (
                f"unexpected character {shown_rune(c)} at start of value"))  # fmt: skip
        if re.compile(r"\d\d:|\d{4}-").match(text, start):
            return self.moment(start)
        self.at += c in "+-"
        first = text[self.at : self.at + 1]
        if not first:
            raise self.stop(start, "expected number after sign")
        if first in "in":
            word = "inf" if first == "i" else "nan"
            if not text.startswith(word, self.at):
                raise self.stop(self.at, f'expected "{word}"')
            self.at += 3
            return float(text[start : self.at])
        if first not in "0123456789":
            raise self.stop(self.at, f"expected digit but got {shown_rune(first)}")
        radix = text[self.at + 1 : self.at + 2]
        if first == "0" and radix and radix in "xob":
            return self.based(start, radix)
        return self.decimal(start)

    def based(self, start: int, radix: str) -> int | Unreadable:
        """A number with a prefix, at most 64 bits with its sign."""
        if self.at != start:
            raise self.stop(start, "sign is not allowed on numbers with a radix prefix")
        self.at += 2
        if not re.match(_DIGITS[radix], self.text[self.at : self.at + 1]):
            raise self.stop(start, "radix prefix must be followed by at least one digit")
        self.digits(_DIGITS[radix])
        value = int(self.text[start + 2 : self.at].replace("_", ""), {"x": 16, "o": 8, "b": 2}[radix])
        if value >= 1 << 63:
            return self.unreadable(
                start, f"{_NAMES[radix]} number is too large to fit in a 64-bit signed integer", "integer"
            )
        return value

    def decimal(self, start: int) -> int | float | Unreadable:
        """A decimal number; `at` is behind its sign."""
        text, first = self.text, self.at
        self.digits("[0-9]")
        if text[first] == "0" and self.at > first + 1:
            raise self.stop(first, "integers cannot have leading zeroes")
        whole = True
        if text[self.at : self.at + 1] == ".":
            self.at += 1
            self.some_digits("decimal point must be followed by a digit")
            whole = False
        if text[self.at : self.at + 1] in ("e", "E"):
            self.at += 1 + (text[self.at + 1 : self.at + 2] in ("+", "-"))
            self.some_digits("exponent must contain at least one digit")
            whole = False
        if re.match("[A-Za-z]", text[self.at : self.at + 1]):
            raise self.stop(self.at, "strings must be quoted")
        raw = text[start : self.at].replace("_", "")
        if not whole:
            value = float(raw)
            if value in (float("inf"), float("-inf")):
                wrong = f'unable to parse float: strconv.ParseFloat: parsing "{raw}": value out of range'
                return self.unreadable(start, wrong, "float")
            return value
        if len(raw) > 30 or not -(1 << 63) <= int(raw) < 1 << 63:
            return self.unreadable(start, "decimal number is too large to fit in a 64-bit signed integer", "integer")
        return int(raw)

    def some_digits(self, text: str) -> None:
        """At least one digit, or `text`."""
        if not re.match("[0-9]", self.text[self.at : self.at + 1]):
            raise self.stop(self.at, text)
        self.digits("[0-9]")

    def digits(self, kind: str) -> None:
        """Digits of one kind with single underscores between them."""
        found = re.compile(rf"{kind}+(?:_{kind}+)*").match(self.text, self.at)
        self.at = found.end() if found else self.at
        if self.text[self.at : self.at + 1] == "_":
            raise self.stop(self.at, "number must have at least one digit between underscores")

    def literal(self) -> str:
        try:
            return super().literal()
        except TomlError as error:
            self.named(error, "literal strings", "literal string")

    def literals(self) -> str:
        try:
            return super().literals()
        except TomlError as error:
            self.named(error, "multiline literal strings", "multiline literal string")

    def basic(self) -> str:
        try:
            return super().basic()
        except TomlError as error:
            self.named(error, "basic strings", "basic string")

    def basics(self) -> str:
        try:
            return super().basics()
        except TomlError as error:
            self.named(error, "multiline basic strings", "multiline basic string")

    def named(self, error: TomlError, many: str, one: str) -> NoReturn:
        """The error with the kind of string named."""
        if "not allowed in multiline" in error.text:
            # It is placed at the first of the last three; the other parser at the last.
            column = error.column and error.column - 2
            raise TomlError(f"toml: too many quotes at the end of a {one}", error.line, column)
        if re.match(r"toml: invalid (character|UTF-8)", error.text) and error.line and error.column:
            line = self.newlines[error.line - 2] + 1 if error.line > 1 else 0
            wide = self.text[line + error.column - 1] >= "\x80"
            text = f"invalid UTF-8 character in {one}" if wide else f"{many} cannot have control characters"
            raise TomlError(f"toml: {text}", error.line, error.column)
        raise error
