"""go-toml v2.2.3 to v2.3.0: strings, numbers, dates (pelletier/go-toml unstable/parser.go, scanner.go, decode.go)."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, ClassVar

from pytest_gpuready.containerd._toml import Moment, Parser, TomlError, Unreadable, quote

UTF8 = (
    r"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    r"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_LITERAL = re.compile(rf"'(?:[\t\x20-\x26\x28-\x7e]+|{UTF8})*")
_LITERALS = re.compile(rf"'''(?:[\t\n\x20-\x26\x28-\x7e]+|\r\n|{UTF8}|'(?!''))*")
_BASIC = re.compile(r'"(?:[^"\\\r\n]+|\\[\s\S])*')
_BASICS = re.compile(r'"""(?:[^"\\\r]+|\\[\s\S]|\r\n|"(?!""))*')
_TEXT = re.compile(rf"(?:[\t\x20-\x7e]+|{UTF8})*")
_TEXTS = re.compile(rf"(?:[\t\n\r\x20-\x7e]+|{UTF8})*")
_BASED = re.compile(r"0(?:x[0-9A-Fa-f_]*|o[0-7_]*|b[01_]*)")
_NUMBER = re.compile(r"[0-9+\-_.eE]*")
_MOMENT = re.compile(r"[0-9T:tZz.+-]*")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)$")
_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.\d+)?$")
_ZONE = re.compile(r"(?:[zZ]|[+-](\d\d):(\d\d))$")
_ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "e": "\x1b"}
_BASES = {"x": (16, "hexadecimal"), "o": (8, "octal"), "b": (2, "binary")}


def shown_rune(c: str) -> str:
    """A byte as Go's %#U prints it."""
    return f"U+{ord(c):04X}" + (f" '{c}'" if c.isprintable() else "")


def _text(raw: str) -> str:
    return raw.encode("latin-1").decode("utf-8", "replace")


class V2Values(Parser):
    """The scalars of a document; one character of `text` per byte."""

    TIME = _TIME
    POINTS = False
    """Whether an impossible date is placed at its month or day."""
    RUNES: ClassVar[dict[str, int]] = {"u": 4, "U": 8}

    def __init__(self, data: bytes, *, lazy: bool, end_is_start: bool) -> None:
        super().__init__(data.decode("latin-1"))
        self.lazy, self.end_is_start = lazy, end_is_start
        self.pending: TomlError | None = None

    def stop(self, offset: int, text: str) -> TomlError:
        """The error at `offset`; where nothing is left to point at, v2.3 points at the start."""
        place = (1, 1) if offset >= self.end and self.end_is_start else self.place(offset)
        return TomlError(f"toml: {text}", *place)

    # Strings.

    def literal(self) -> str:
        found = _LITERAL.match(self.text, self.at)
        stop = found.end() if found else self.at
        c = self.text[stop : stop + 1]
        if c != "'":
            wrong = "literal strings cannot have new lines" if c in ("\n", "\r") else "invalid character"
            raise self.stop(stop, wrong if c else "unterminated literal string")
        raw, self.at = self.text[self.at + 1 : stop], stop + 1
        return _text(raw)

    def literals(self) -> str:
        start = self.at
        found = _LITERALS.match(self.text, start)
        stop = found.end() if found else start
        if not self.text.startswith("'''", stop):
            c = self.text[stop : stop + 1]
            wrong = r"need a \n after \r" if c == "\r" else "invalid character"
            stop = self.end if c == "\r" and stop + 1 == self.end else stop
            raise self.stop(stop, wrong if c else "multiline literal string not terminated by '''")
        return _text(self.close(start, stop, "'"))

    def close(self, start: int, stop: int, mark: str) -> str:
        """The body of a multiline string whose closing marks begin at `stop`: up to two more belong to it."""
        extra = 0
        while extra < 2 and self.text.startswith(mark, stop + 3 + extra):
            extra += 1
        self.at = stop + 3 + extra
        if extra == 2 and self.text.startswith(mark, self.at):
            what = "literal" if mark == "'" else "basic"
            raise self.stop(self.at - 3, f"{mark * 3} not allowed in multiline {what} string")
        body = self.text[start + 3 : stop + extra]
        return body[1 if body.startswith("\n") else 2 if body.startswith("\r\n") else 0 :]

    def basic(self) -> str:
        start = self.at
        found = _BASIC.match(self.text, start)
        stop = found.end() if found else start
        c = self.text[stop : stop + 1]
        if c != '"':
            if c == "\\":
                raise self.stop(stop, "need a character after \\")
            wrong = "basic strings cannot have new lines" if c else 'basic string not terminated by "'
            raise self.stop(stop, wrong)
        self.at = stop + 1
        return self.unescape(start + 1, stop, lines=False)

    def basics(self) -> str:
        start = self.at
        found = _BASICS.match(self.text, start)
        stop = found.end() if found else start
        if not self.text.startswith('"""', stop):
            c = self.text[stop : stop + 1]
            if c == "\\":
                raise self.stop(self.end, "need a character after \\")
            wrong = r"need a \n after \r" if c else 'multiline basic string not terminated by """'
            raise self.stop(self.end if stop + 1 == self.end else stop, wrong)
        body = self.close(start, stop, '"')
        last = self.at - 3
        return self.unescape(last - len(body), last, lines=True)

    def unescape(self, start: int, stop: int, *, lines: bool) -> str:
        text, out, at = self.text, [], start
        plain = _TEXTS if lines else _TEXT
        escaped = text.find("\\", start, stop) >= 0
        while at < stop:
            slash = text.find("\\", at, stop)
            good = plain.match(text, at, stop if slash < 0 else slash)
            out.append(_text(good[0]) if good else "")
            at = good.end() if good else at
            if at >= stop:
                break
            if text[at] != "\\":
                raise self.stop(at, f"invalid character {shown_rune(text[at])}" if escaped else "invalid UTF-8")
            if lines and (gap := re.compile(r"\\[ \t]*\r?\n[ \t\r\n]*").match(text, at, stop)):
                at = gap.end()
                continue
            c = text[at + 1]
            if c in self.RUNES:
                out.append(self.rune(at + 2, stop, self.RUNES[c]))
                at += 2 + self.RUNES[c]
            elif c in _ESCAPES:
                out.append(_ESCAPES[c])
                at += 2
            else:
                raise self.stop(at + 1, f"invalid escaped character {shown_rune(c)}")
        return "".join(out)

    def rune(self, start: int, stop: int, size: int) -> str:
        code = self.text[start : min(start + size, stop)]
        if len(code) < size:
            raise self.stop(start, f"unicode point needs {size} character, not {len(code)}")
        bad = re.search("[^0-9A-Fa-f]", code)
        if bad:
            raise self.stop(start + bad.start(), "non-hex character")
        rune = int(code, 16)
        if rune > 0x10FFFF or 0xD800 <= rune < 0xE000:
            raise self.stop(start, "escape sequence is invalid Unicode code point")
        return chr(rune)

    # Numbers, dates and times: found now, looked at when they are decoded.

    def number(self, c: str) -> Any:
        text, start = self.text, self.at
        for word in ("inf", "nan"):
            if c == word[0]:
                if not text.startswith(word, start):
                    raise self.stop(start, f"expected '{word}'")
                self.at += 3
                return math.inf if c == "i" else math.nan
        if re.compile(r"\d\d:|\d{4}-").match(text, start):
            return self.moment(start)
        if c == "0" and self.end - start > 2 and text[start + 1] not in ".eE":
            based = _BASED.match(text, start)
            self.at = based.end() if based else start + 1
            return self.integer(start, self.at)
        found = _NUMBER.match(text, start)
        stop = found.end() if found else start
        for word in ("inf", "nan"):
            if text.startswith(word[0], stop):
                if not text.startswith(word, stop):
                    raise self.stop(stop, f"unexpected character '{word[0]}' while scanning for a number")
                self.at = stop + 3
                raw = text[start : self.at]
                if raw in ("+inf", "-inf", "+nan", "-nan"):
                    return float(raw)
                return self.unreadable(
                    start, f"unable to parse float: {_syntax('ParseFloat', raw.replace('_', ''))}", "float"
                )
        if stop == start:
            raise self.stop(start, "incomplete number")
        self.at = stop
        return self.real(start, stop) if re.search("[.eE]", text[start:stop]) else self.integer(start, stop)

    def unreadable(self, at: int, text: str, kind: str) -> Unreadable:
        if not self.lazy and self.pending is None:
            self.pending = self.stop(at, text)
        return Unreadable(f"toml: {text}", *self.place(at), kind)

    def integer(self, start: int, stop: int) -> int | Unreadable:
        raw = self.text[start:stop]
        base, name = _BASES.get(raw[1:2], (10, "decimal")) if raw[0] == "0" and len(raw) > 2 else (10, "decimal")
        digits = raw if base == 10 else raw[2:]
        sign = digits[:1] in ("+", "-")
        wrong, offset = _underscores(digits, sign=sign)
        offset += len(raw) - len(digits) if wrong else 0
        digits = digits.replace("_", "")
        if not wrong and base == 10 and len(digits) > sign + 1 and digits[sign] == "0":
            wrong = "leading zero not allowed on decimal number"
        prefix = re.match(r"[+-]?\d{1,99}", digits) if base == 10 else None
        if not wrong and prefix and abs(int(prefix[0])) >= 1 << 64:
            wrong = f"couldn't parse {name} number: strconv.ParseInt: parsing {quote(digits)}: value out of range"
        if not wrong and not re.fullmatch(r"[0-9A-Fa-f]+" if base != 10 else r"[+-]?\d+", digits):
            wrong = f"couldn't parse {name} number: {_syntax('ParseInt', digits)}"
        if wrong:
            return self.unreadable(start + offset, wrong, "integer")
        value = int(digits, base) if len(digits) < 100 else 1 << 100
        if not -(1 << 63) <= value < 1 << 63:
            text = f"couldn't parse {name} number: strconv.ParseInt: parsing {quote(digits)}: value out of range"
            return self.unreadable(start, text, "integer")
        return value

    def real(self, start: int, stop: int) -> float | Unreadable:
        raw = self.text[start:stop]
        digits = raw.replace("_", "")
        wrong, offset = _underscores(raw, sign=False)
        if not wrong and digits[0] == ".":
            wrong = "float cannot start with a dot"
        elif not wrong and digits[-1] == ".":
            wrong = "float cannot end with a dot"
        elif not wrong and digits.count(".") > 1:
            wrong = "float can have at most one decimal point"
        elif not wrong and (bad := re.search(r"(?<!\d)\.|\.(?!\d)", digits)):
            where = "preceded" if not digits[bad.start() - 1].isdigit() else "followed"
            wrong = f"float decimal point must be {where} by a digit"
        elif not wrong and re.match(r"[+-]?0\d", digits):
            wrong = "float integer part cannot have leading zeroes"
        elif not wrong and not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", digits):
            wrong = f"unable to parse float: {_syntax('ParseFloat', digits)}"
        if wrong:
            return self.unreadable(start + offset, wrong, "float")
        value = float(digits)
        if math.isinf(value):
            text = f"unable to parse float: strconv.ParseFloat: parsing {quote(digits)}: value out of range"
            return self.unreadable(start, text, "float")
        return value

    def moment(self, start: int) -> Moment | Unreadable:
        text = self.text
        stop = _MOMENT.match(text, start).end()  # type: ignore[union-attr]
        if text[stop : stop + 1] == " " and text[stop + 1 : stop + 2].isdigit():
            stop = _MOMENT.match(text, stop + 1).end()  # type: ignore[union-attr]
        self.at = stop
        raw = text[start:stop]
        zone = re.search(r"(?<=\d)(?:[zZ]|[+-]\d\d:\d\d)$", raw[8:])
        body = raw[: len(raw) - len(zone[0])] if zone else raw
        parts = re.split("[Tt ]", body)
        date = _DATE.match(parts[0])
        time = self.TIME.match(parts[-1]) if len(parts) == 2 or date is None else None
        wrong = (date is None and (zone is not None or len(parts) > 1)) or (len(parts) > 1 and time is None)
        wrong = wrong or len(parts) > 2 or (date is None and time is None) or (zone is not None and len(parts) < 2)
        if date and not wrong:
            try:
                dt.date(max(int(date[1]), 4), int(date[2]), int(date[3]))
            except ValueError:
                month = 1 <= int(date[2]) <= 12
                return self.unreadable(start + (8 if month else 5) * self.POINTS, "impossible date", "date")
        if time and (int(time[1]) > 23 or int(time[2]) > 59 or int(time[3] or 0) > 60):
            wrong = True
        if wrong and re.fullmatch(r"\d\d:\d\d", raw):
            return self.unreadable(start, "times are expected to have the format HH:MM:SS[.NNNNNN]", "date")
        if wrong:
            return self.unreadable(start, "dates are expected to have the format YYYY-MM-DD", "date")
        kind = "LocalTime" if date is None else "LocalDate" if len(parts) == 1 else "Time" if zone else "LocalDateTime"
        return Moment(raw, kind)


def _underscores(digits: str, *, sign: bool) -> tuple[str, int]:
    """What is wrong with the underscores of a number, and at which byte of it."""
    if digits[sign : sign + 1] == "_":
        return "number cannot start with underscore", int(sign)
    if digits.endswith("_"):
        return "number cannot end with underscore", len(digits) - 1
    if (twice := digits.find("__")) >= 0:
        return "number must have at least one digit between underscores", twice
    if bad := re.search(r"_[eE.]|[eE.]_", digits):
        return f"cannot have underscore {'before' if bad[0][0] == '_' else 'after'} exponent", bad.start() + 1
    return "", 0


def _syntax(function: str, digits: str) -> str:
    return f"strconv.{function}: parsing {quote(digits)}: invalid syntax"
