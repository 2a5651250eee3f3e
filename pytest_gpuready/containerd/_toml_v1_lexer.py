"""go-toml v1.9.5: its tokens (pelletier/go-toml lexer.go)."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from pytest_gpuready.containerd._toml import Parser

if TYPE_CHECKING:
    from collections.abc import Iterator


def _runes(error: UnicodeError) -> tuple[str, int]:
    """Go's bytes.Runes: U+FFFD for every byte that is no UTF-8."""
    if not isinstance(error, UnicodeDecodeError):  # pragma: no cover - only ever used to decode
        raise error
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("gpuready-go-runes", _runes)


Token = tuple[str, str, int]  # type, value, offset
_KEY1 = re.compile(r"[A-Za-z0-9_.-]+")
_PLAIN1 = re.compile(r'[^"\\\x00-\x08\x0a-\x1f]+')
_MOMENT1 = re.compile("[0-9]{2}:|[0-9]{4}-")
_FRACTION1 = re.compile(r"\.[0-9]+")
_DAY1 = (
    *(("0", "invalid month digit in date: "),) * 2,
    ("-", "expected - to separate month of a date, not "),
    *(("0", "invalid day digit in date: "),) * 2,
)
_HOUR1 = (*(("0", "invalid hour digit in time: "),) * 2, (":", "time hour/minute separator should be :, not "))
_CLOCK1 = (
    *(("0", "invalid minute digit in time: "),) * 2,
    (":", "time minute/second separator should be :, not "),
    *(("0", "invalid second digit in time: "),) * 2,
)
_ZONE1 = (
    *(("0", "invalid hour digit in time offset: "),) * 2,
    (":", "time offset hour/minute separator should be :, not "),
    *(("0", "invalid minute digit in time offset: "),) * 2,
)
_WORDS1 = (("true", "True"), ("false", "False"), ("inf", "Inf"), ("nan", "NaN"))
_ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class V1Lexer(Parser):
    """Tokens one after the other, the last one of type Error where the text is no good."""

    def __init__(self, data: bytes) -> None:
        for mark in (b"\0\0\xfe\xff", b"\xff\xfe\0\0", b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe"):
            if data.startswith(mark):
                data = data[len(mark) :]
                break
        super().__init__(data.decode("utf-8", "gpuready-go-runes"))
        self.brackets: list[str] = []

    # In a value ("r") or between values ("v"), as lexRvalue and lexVoid.

    def lex(self) -> Iterator[Token]:
        text, state = self.text, "v"
        while True:
            start = self.at
            if start >= self.end:
                yield "EOF", "", start
                return
            c = text[start]
            if c in " \t\r\n":
                self.at += 1
                if c in "\r\n" and state == "r" and not (self.brackets and self.brackets[-1] == "["):
                    state = "v"
            elif c == "#":
                stop = text.find("\n", start)
                self.at = self.end if stop < 0 else stop
            elif c == "=" or (state == "r" and c == ","):
                self.at += 1
                yield c, c, start
                state = "v" if c == "," and self.brackets and self.brackets[-1] == "{" else "r"
            elif c == "}" or (state == "r" and c == "]"):
                self.at += 1
                yield c, c, start
                if not self.brackets or self.brackets[-1] != ("{" if c == "}" else "["):
                    yield "Error", f"cannot have '{c}' here", self.at
                    return
                self.brackets.pop()
                state = "r"
            elif state == "v":
                yield from self.lex_header() if c == "[" else self.lex_key()
            elif c in "[{":
                self.at += 1
                self.brackets.append(c)
                self.deep(len(self.brackets))
                yield c, c, start
                state = "r" if c == "[" else "v"
            else:
                yield from self.lex_value(c)

    def lex_header(self) -> Iterator[Token]:
        double = self.text.startswith("[[", self.at)
        opened, self.at = self.at, self.at + 1 + double
        yield "[[" if double else "[", "[[" if double else "[", opened
        start, what = self.at, "table array key" if double else "table key"
        while True:
            stop = re.compile(r"[\[\]]").search(self.text, self.at)
            if stop is None:
                yield "Error", f"unclosed {what}", start
            elif stop[0] == "[":
                yield "Error", f"{what} cannot contain ']'", start
            if stop is None or stop[0] == "[":
                self.at = self.end
                return
            if stop.start() > start:
                yield "KeyGroupArray" if double else "KeyGroup", self.text[start : stop.start()], start
            self.at = stop.start() + 1
            if not double or self.text.startswith("]", self.at):
                self.at += double
                yield "]]" if double else "]", "]]" if double else "]", stop.start()
                return
            start = stop.start()

    def lex_key(self) -> Iterator[Token]:
        text, start, out = self.text, self.at, ""
        while self.at < self.end and (c := text[self.at]) != "=":
            if bare := _KEY1.match(text, self.at):
                out, self.at = out + bare[0], bare.end()
            elif c in "\"'":
                self.at += 1
                value, wrong = self.basic('"', lines=True) if c == '"' else self.literal("'")
                if wrong:
                    yield "Error", wrong, start
                    self.at = self.end
                    return
                out, self.at = f"{out}{c}{value}{c}", self.at + 1
            elif c in " \t":
                gap = re.compile(r"([ \t]+)(\.?)([ \t]*)").match(text, self.at)
                assert gap is not None  # noqa: S101 - c is a space
                self.at = gap.end() if gap[2] else gap.end(1)
                if not gap[2]:
                    break
                out += gap[0]
            else:
                yield (
                    "Error",
                    "keys cannot contain new lines" if c == "\n" else f"keys cannot contain {c} character",
                    start,
                )
                self.at = self.end
                return
        yield "Key", out, start

    def lex_value(self, c: str) -> Iterator[Token]:
        text, start = self.text, self.at
        if c in "\"'":
            triple = text.startswith(c * 3, start)
            self.at = start = start + (3 if triple else 1)
            if triple:
                self.at += 2 if text.startswith("\r\n", start) else text.startswith("\n", start)
                start = self.at
            mark = c * 3 if triple else c
            value, wrong = self.basic(mark, lines=triple) if c == '"' else self.literal(mark)
            self.at += len(mark)
            if wrong:
                self.at = self.end
            yield ("Error", wrong, start) if wrong else ("String", value, start)
            return
        for word, kind in _WORDS1:
            if text.startswith(word, start):
                self.at += len(word)
                yield kind, word, start
                return
        if c.isascii() and (c.isdigit() or c in "+-"):
            if _MOMENT1.match(text, start):
                yield from self.lex_moment()
            else:
                yield self.number(start)
        else:
            self.at = self.end
            yield "Error", "cannot start float with a dot" if c == "." else f"no value can start with {c}", start

    def lex_moment(self) -> Iterator[Token]:
        """A time, a date, or both, as lexer.go's lexDateTimeOrTime walks it: a date ends at a blank, a T or the end."""
        text, start = self.text, self.at
        if text[start + 2] == ":":
            yield self.walk(start, start + 3, _CLOCK1, "LocalTime")
            return
        yield (date := self.walk(start, start + 5, _DAY1, "LocalDate"))
        if date[0] == "Error" or self.at >= self.end:
            return
        at = self.at
        if text[at] not in " T":
            self.at = self.end
            yield "Error", f"incorrect date/time separation character: {text[at]}", at
        elif text[at] == "T" or re.compile("[0-9]{2}").match(text, at + 1):
            yield (time := self.walk(at + 1, at + 1, _HOUR1 + _CLOCK1, "LocalTime"))
            if time[0] != "Error" and self.at < self.end and text[self.at] in "Z+-":
                steps = _ZONE1 if text[self.at] != "Z" else ()
                yield self.walk(self.at, self.at + 1, steps, "TimeOffset")

    def walk(self, start: int, at: int, steps: tuple[tuple[str, str], ...], kind: str) -> Token:
        """The token from `start`, whose text from `at` takes these steps: a digit (0) or a mark, and the words else."""
        text = self.text
        for want, words in steps:
            c = text[at] if at < self.end else "\ufffd"
            if c != want and not (want == "0" <= c <= "9"):
                self.at = self.end
                return "Error", words + c, start
            at += 1
        if kind == "LocalTime" and text.startswith(".", at):
            fraction = _FRACTION1.match(text, at)
            if not fraction:
                self.at = self.end
                c = text[at + 1] if at + 1 < self.end else "\ufffd"
                return "Error", f"expected at least one digit in time's fraction, not {c}", start
            at = fraction.end()
        self.at = at
        return kind, text[start:at], start

    def number(self, start: int) -> Token:
        text = self.text
        follow = text[start + 1 : start + 2]
        if text[start] == "0" and follow.isascii() and follow.isalpha():
            digits = {"x": r"[0-9A-Fa-f_]*", "o": r"[0-7_]*", "b": r"[01_]*"}.get(follow)
            body = re.compile(digits).match(text, start + 2) if digits else None
            self.at = self.end
            if body is None:
                options = "possible options are x (hex) o (octal) b (binary)"
                return "Error", f"unknown number base: {follow}. {options}", start
            if not body[0]:
                return "Error", "number needs at least one digit", start
            self.at = body.end()
            return "Integer", text[start : self.at], start
        i = start + (text[start] in "+-")
        for word, kind in _WORDS1[2:]:
            if i > start and text.startswith(word, i):
                self.at = i + 3
                return kind, text[start : self.at], start
        point = exponent = digit = False
        wrong = ""
        while i < self.end and not wrong:
            c = text[i]
            if c == ".":
                wrong = "cannot have two dots in one float" if point else ""
                i += 1
                if not wrong and not ("0" <= text[i : i + 1] <= "9"):
                    wrong = "float cannot end with a dot"
                point = True
            elif c in "eE":
                exponent = True
                i += 2 if text[i + 1 : i + 2] in ("+", "-") else 1
            elif "0" <= c <= "9" or c == "_":
                digit = digit or c != "_"
                i += 1
            else:
                break
            if point and not digit and not wrong:
                wrong = "cannot start float with a dot"
        if not wrong and not digit:
            wrong = "no digit in that number"
        self.at = self.end if wrong else i
        if wrong:
            return "Error", wrong, start
        return "Float" if point or exponent else "Integer", text[start:i], start

    def literal(self, mark: str) -> tuple[str, str]:
        stop = self.text.find(mark, self.at)
        if stop < 0:
            return "", "unclosed string"
        value, self.at = self.text[self.at : stop], stop
        return value, ""

    def basic(self, mark: str, *, lines: bool) -> tuple[str, str]:
        text = self.text
        out: list[str] = []
        while self.at < self.end:
            if text.startswith(mark, self.at):
                return "".join(out), ""
            if plain := _PLAIN1.match(text, self.at):
                out.append(plain[0])
                self.at = plain.end()
                continue
            c = text[self.at]
            if c == "\\":
                wrong = self.escape(out)
                if wrong:
                    return "", wrong
                continue
            if c < " " and c != "\t" and not (lines and c in "\r\n"):
                return "", f"unescaped control character U+{ord(c):04X}"
            out.append(c)
            self.at += 1
        return "", "unclosed string"

    def escape(self, out: list[str]) -> str:
        c = self.text[self.at + 1 : self.at + 2]
        self.at += 2
        if c and c in "\r\n\t ":
            while self.at < self.end and self.text[self.at] in "\r\n\t ":
                self.at += 1
        elif c in ("u", "U"):
            size = 4 if c == "u" else 8
            code = self.text[self.at : self.at + size]
            if not re.fullmatch(f"[0-9A-Fa-f]{{{size}}}", code):
                return "unfinished unicode escape"
            self.at += size
            rune = int(code, 16)
            out.append("\ufffd" if rune > 0x10FFFF or 0xD800 <= rune < 0xE000 else chr(rune))
        elif c in _ESCAPES or c == "/":
            out.append(_ESCAPES.get(c, c))
        else:
            return f"invalid escape sequence: \\{c or chr(0xFFFD)}"
        return ""
