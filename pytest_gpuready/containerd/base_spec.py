"""A base runtime spec as containerd decodes it: Go's encoding/json into runtime-spec's specs.Spec.

Sources: 1.x pkg/cri/server/service_linux.go, 2.x plugins/cri/runtime/plugin.go (loadOCISpec), Go's encoding/json
(scanner.go, decode.go). The fields are those of runtime-spec as containerd 2.3.4 has it; the words were asked of
1.6.20, 1.7.24 and 2.1.9.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*')
_BITS = {"int": 64, "int64": 64, "int32": 32, "uint32": 32, "uint64": 64, "uint16": 16, "uint8": 8}
_DEEPEST = 10000


class _SyntaxError(Exception):
    """No JSON: Go's words."""


def spec_error(data: bytes, *, newer: bool = False) -> str | None:
    """What Go's JSON decoder says of a base runtime spec; only the first value counts.

    `newer`: the Go that Debian's 2.1.9 is built with, which words some of it in another way.
    """
    # It looks at bytes.
    text = data.decode("latin-1")
    if not _SPACE.sub("", text, count=1):
        return "EOF"
    try:
        end = _Scanner(text, newer=newer).value(_skip(text, 0))
    except _SyntaxError as error:
        return str(error)
    try:
        value = json.loads(data[:end].decode("utf-8", "replace"), parse_float=_Number, parse_int=_Number)
    except (ValueError, RecursionError):
        return None
    wrong = _Decoder(newer=newer).wrong(value, "specs.Spec", "", ())
    return f"json: cannot unmarshal {wrong}" if wrong else None


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Scanner:
    """Where a JSON value ends; nothing is kept of it."""

    def __init__(self, text: str, *, newer: bool) -> None:
        self.text, self.newer = text, newer

    def fail(self, at: int, what: str) -> _SyntaxError:
        """The error at `at`."""
        if at >= len(self.text):
            return _SyntaxError("unexpected EOF")
        c = self.text[at]
        if self.newer:  # it looks at runes
            c = self.text[at : at + 4].encode("latin-1").decode("utf-8", "replace")[0]
        shown = {"'": r"'\''", '"': "'\"'"}.get(c) or f"'{c}'"
        if not c.isprintable():
            known = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v", "\a": "\\a"}
            code = f"\\x{ord(c):02x}" if ord(c) < 0x80 else f"\\u{ord(c):04x}"
            shown = f"'{known.get(c, code)}'"
        return _SyntaxError(f"invalid character {shown} {what}")

    def value(self, at: int) -> int:
        """The end of the value at `at`, which no white space stands before."""
        open_: list[str] = []
        while True:
            at = self.opened(at, open_)
            if at >= 0:
                at = self.closed(at, open_)
                if not open_:
                    return at
            else:
                at = -at

    def opened(self, at: int, open_: list[str]) -> int:
        """Behind a scalar or an empty container; negative: behind what opens one that is not empty."""
        text, c = self.text, self.text[at : at + 1]
        if c and c in "{[":
            open_.append(c)
            if len(open_) > _DEEPEST:
                raise _SyntaxError("exceeded max depth")
            at = _skip(text, at + 1)
            if text[at : at + 1] == ("}" if c == "{" else "]"):
                open_.pop()
                return at + 1
            return -(self.key(at) if c == "{" else at)
        if c == '"':
            return self.string(at)
        for word in ("true", "false", "null"):
            if c == word[0]:
                for more, letter in enumerate(word):
                    if text[at + more : at + more + 1] != letter:
                        raise self.fail(at + more, f"in literal {word} (expecting '{letter}')")
                return at + len(word)
        found = _NUMBER.match(text, at)
        if found is None:
            raise self.fail(at + (c == "-"), "in numeric literal" if c == "-" else "looking for beginning of value")
        tail = text[found.end() : found.end() + 1]
        if tail == "." and "." not in found[0] and "e" not in found[0].lower():
            raise self.fail(found.end() + 1, "after decimal point in numeric literal")
        if tail and tail in "eE" and "e" not in found[0].lower():
            signed = text[found.end() + 1 : found.end() + 2] in ("+", "-")
            raise self.fail(found.end() + 1 + signed, "in exponent of numeric literal")
        return found.end()

    def closed(self, at: int, open_: list[str]) -> int:
        """Behind the ends of containers, and behind what separates the next value."""
        text = self.text
        while open_:
            at = _skip(text, at)
            c = text[at : at + 1]
            if c == ("}" if open_[-1] == "{" else "]"):
                open_.pop()
                at += 1
            elif c == ",":
                at = _skip(text, at + 1)
                return self.key(at) if open_[-1] == "{" else at
            else:
                raise self.fail(at, "after object key:value pair" if open_[-1] == "{" else "after array element")
        return at

    def key(self, at: int) -> int:
        """Behind ``"key":`` and white space."""
        if self.text[at : at + 1] != '"':
            raise self.fail(at, "looking for beginning of object key string")
        at = _skip(self.text, self.string(at))
        if self.text[at : at + 1] != ":":
            raise self.fail(at, "after object key")
        return _skip(self.text, at + 1)

    def string(self, at: int) -> int:
        """Behind a string."""
        found = _STRING.match(self.text, at)
        end = found.end() if found else at
        if self.text[end : end + 1] == '"':
            return end + 1
        if self.text[end : end + 1] != "\\":
            raise self.fail(end, "in string" if self.newer else "in string literal")
        if self.text[end + 1 : end + 2] != "u":
            raise self.fail(end + 1, "in string escape code")
        digits = re.compile("[0-9A-Fa-f]*").match(self.text, end + 2)
        raise self.fail(digits.end() if digits else end + 2, "in \\u hexadecimal character escape")


@cache
def _fields() -> dict[str, dict[str, str]]:
    """By Go type, the Go type of each of its fields; ``=`` stands before the type that a named one is."""
    text = resources.files(__package__).joinpath("runtime_spec.json").read_text("utf-8")
    return {name: dict(field.split(" ", 1) for field in fields) for name, fields in json.loads(text).items()}


class _Decoder:
    """The first value of a wrong type, in the document's order."""

    def __init__(self, *, newer: bool) -> None:
        self.newer = newer

    def wrong(self, value: Any, kind: str, struct: str, path: tuple[str, ...]) -> str | None:
        """Its words: what it is, the field, the type."""
        shown, _, base = kind.partition("=")
        base = kind if not base or kind.startswith(("[]", "map[")) else base
        if value is None or base == "any":
            return None
        if isinstance(value, dict) and (base in _fields() or base.startswith("map[")):
            return self.table(value, base, struct, path)
        if isinstance(value, list) and base.startswith("[]"):
            for at, item in enumerate(value):
                found = self.wrong(item, kind[2:], struct, (*path, str(at)) if self.newer else path)
                if found:
                    return found
            return None
        what = {dict: "object", list: "array", bool: "bool", _Number: "number"}.get(type(value), "string")
        fits = what == {"string": "string", "bool": "bool"}.get(base, "number" if base in (*_BITS, "float64") else "")
        if fits and base in _BITS and not _whole(value, base):
            what, fits = f"number {value}", False
        if fits:
            return None
        if not path:
            return f"{what} into Go value of type {shown}"
        owner = "Spec" if self.newer else struct.removeprefix("specs.")
        return f"{what} into Go struct field {owner}.{'.'.join(path)} of type {shown}"

    def table(self, value: dict[str, Any], kind: str, struct: str, path: tuple[str, ...]) -> str | None:
        """In an object."""
        fields = _fields().get(kind)
        folded = {name.lower(): name for name in fields or ()}
        for key, item in value.items():
            if fields is None:
                found = self.wrong(item, kind.removeprefix("map[string]"), struct, (*path, key) if self.newer else path)
            else:
                name = key if key in fields else folded.get(key.lower())
                if name is None:
                    continue
                found = self.wrong(item, fields[name], kind, (*path, key if self.newer else name))
            if found:
                return found
        return None


def _whole(text: str, kind: str) -> bool:
    """Whether a number fits an integer type."""
    if not re.fullmatch("-?[0-9]{1,20}", text):
        return False
    unsigned = kind.startswith("u")
    low, high = (0, 1 << _BITS[kind]) if unsigned else (-(1 << (_BITS[kind] - 1)), 1 << (_BITS[kind] - 1))
    return low <= int(text) < high and not (unsigned and text.startswith("-"))
