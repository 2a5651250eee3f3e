"""Redaction: secrets in files, environments and command output are gone before anything is judged or recorded.

A secret is replaced by as many characters as it had (`[redacted]****`; a number by ones), so that lines, syntax and the
lengths inside binary answers stay as they were. It costs time in proportion to the text, whatever the text is.
"""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Fact, Request

_MARK = b"[redacted]"

#: What the name of a secret holds, in TOML, JSON, YAML, INI, environments, headers and command lines. `username` stays:
#: it tells two registries apart and opens nothing by itself.
_STEM = re.compile(
    rb"(?i)passw(?:or)?d|passphrase|secret|token|credential|authorization|bearer|signature|cookie|"
    rb"(?:api|access|private|account|shared|signing|(?:en|de)cryption)[_-]?key|client[_-]key[_-]data|"
    rb"auth|dsn|_pat|conn(?:ection)?[_-]?string"
)
#: These count at the end of a name only: `author`, `authentication` and `dsnap` are no secrets.
_AT_THE_END = re.compile(rb"(?i)^(?:auth|dsn|_pat|conn(?:ection)?[_-]?string)$")
#: Names that only sound so: paths, switches, kinds.
_NO_SECRET = re.compile(
    rb"(?i)(?:[_.-]?(?:file|path|dir|paths|files|name|names|type|kind|mode|ttl|url|uri|expiration|keychain|max|count|"
    rb"enabled|lookup|timeout|interval|namespace|provider|plugins?|secretref))$|"
    rb"^(?:ContainerdHas.*|tokenization|author|no-?auth|.*SecretName|.*webhook.*|.*-mode)$"
)
_WORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_WORD_AFTER = re.compile(rb"[A-Za-z0-9_.-]{0,64}")
#: How far a name reaches to each side of its stem, and how far the end of a list or string is looked for, in bytes.
_REACH, _FAR = 64, 65536

_SEPARATOR = re.compile(rb"(?P<quote>\\{0,7}[\"'])?(?P<sep>[ \t]{0,64}[:=][ \t]{0,64})")
_QUOTE_OR_END = re.compile(rb"\\{0,7}[\"']|\]")
_QUOTE = re.compile(rb"\\{0,7}[\"']")
_BLOCK = re.compile(rb"[|>][0-9+-]{0,2}[ \t]*\r?\n")
_FIRST_ON_LINE = re.compile(rb"(?:^|\n)[ \t>#*-]*$")
_UNTIL_SPACE = re.compile(rb"[^\s\0\"']*")
_UNTIL_BREAK = re.compile(rb"[^\s\0\"',}\]]*")
_NEXT_WORD = re.compile(rb"[ \t\0]+(?!--)(?P<value>[^\s\0\"'\[{|>&;][^\s\0\"']*)")
_ELEMENT = re.compile(rb"[^\s,]+")

_URL = re.compile(rb"(?P<head>://)(?P<value>[^\s/@\"'<>\0\\]+)(?=@)")
_QUERY = re.compile(
    rb"(?i)(?P<head>[?&](?:x-amz-signature|x-amz-security-token|x-amz-credential|sig|signature|token|access_token|key|"
    rb"api_key|password)=)(?P<value>[^&\s\"'<>\0]+)"
)
_SCHEME = re.compile(
    rb"(?P<head>\b(?i:bearer|basic|digest|negotiate)[ \t]{1,8})"
    # Not a word of prose: with a capital or a digit, or long.
    rb"(?P<value>(?=[^\sA-Z0-9]{0,64}[A-Z0-9]|\S{24})[A-Za-z0-9+/_=.~-]{8,})"
)
_PEM = re.compile(
    rb"(?P<head>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----)"
    rb"(?P<value>.*?)(?=-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
#: Tokens that are known by their shape, wherever they stand.
_SHAPES = re.compile(
    rb"(?P<head>(?<![A-Za-z0-9_-]))(?P<value>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|"
    rb"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|"
    rb"A[KS]IA[0-9A-Z]{16}|nvapi-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{30,}|"
    rb"dckr_pat_[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,})"
)
#: netrc(5): a password without any sign between.
_NETRC = re.compile(rb"(?P<head>\blogin[ \t]{1,8}\S{1,256}[ \t\r\n]{1,8}password[ \t]{1,8})(?P<value>\S+)")


def redact(request: Request, fact: Fact) -> Fact:
    """The fact without secrets, lengths kept."""
    del request  # every kind of answer is treated alike: a secret may stand in any of them
    data = redact_bytes(fact.data)
    note = (
        redact_bytes(fact.note.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
        if fact.note
        else fact.note
    )
    return fact if data == fact.data and note == fact.note else replace(fact, data=data, note=note)


def redact_bytes(data: bytes) -> bytes:
    """The bytes without secrets; same length, same lines."""
    # Nodes of a fleet say much that is the same; what is kept of it is 16 MiB at most.
    return _redacted_once(data) if len(data) <= 4096 else _redacted(data)


def _redacted(data: bytes) -> bytes:
    if not data:
        return data
    for pattern in (_PEM, _URL, _QUERY, _SCHEME, _NETRC, _SHAPES):
        data = pattern.sub(_blanked, data)
    return _Named(data).redacted()


_redacted_once = functools.lru_cache(maxsize=2048)(_redacted)


def _blanked(match: re.Match[bytes]) -> bytes:
    value = match["value"]
    if match["head"] == b"://" and b":" not in value and len(value) < 16:
        # A user without a password: ssh://root@n1.
        return match[0]
    return match["head"] + _blank(value)


class _Named:
    """The values that stand behind a secret's name, found in one pass from left to right."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.spans: list[tuple[int, int]] = []

    def redacted(self) -> bytes:
        """The data without them."""
        position = 0
        while match := _STEM.search(self.data, position):
            position = max(match.end(), self._value(match))
        pieces, last = [], 0
        for begin, end in self.spans:
            pieces += [self.data[last:begin], _blank(self.data[begin:end])]
            last = end
        return b"".join([*pieces, self.data[last:]])

    def _value(self, stem: re.Match[bytes]) -> int:
        """Note the value behind the name that the stem belongs to, if it is one; where to go on."""
        data = self.data
        before = data[max(0, stem.start() - _REACH) : stem.start()]
        after = _WORD_AFTER.match(data, stem.end())
        assert after is not None  # noqa: S101 - it matches nothing too
        begin, end = stem.start() - len(before) + len(before.rstrip(_WORD)), after.end()
        name = data[begin:end]
        key = name.lstrip(b"-.")
        if end != stem.end() and _AT_THE_END.match(stem[0]):
            return stem.end()
        if _NO_SECRET.search(key):
            return end
        sign = _SEPARATOR.match(data, end)
        if sign is None:
            word = _NEXT_WORD.match(data, end) if name.startswith(b"--") else None
            return end if word is None else self._take(word.start("value"), word.end("value"))
        return self._after_sign(begin, sign)

    def _after_sign(self, begin: int, sign: re.Match[bytes]) -> int:
        data, at = self.data, sign.end()
        quote = _QUOTE.match(data, at)
        if quote is not None:
            return self._string(at, quote[0])
        first = data[at : at + 1]
        if first == b"[" and not data.startswith(_MARK, at):
            return self._list(at + 1)
        if first in (b"{", b"", b"\n", b"\r", b"\0"):
            return at
        # Unquoted. A name in quotes is JSON's; `name:` without a space behind is an address or a time.
        if sign["quote"] is not None:
            bare = _UNTIL_BREAK.match(data, at)
        elif b"=" in sign["sep"]:
            return self._assigned(begin, at)
        elif sign["sep"].endswith((b" ", b"\t")):
            if _FIRST_ON_LINE.search(data[max(0, begin - _REACH) : begin]):
                return self._line(begin, at)
            bare = _UNTIL_BREAK.match(data, at)
        else:
            return at
        assert bare is not None  # noqa: S101 - it matches nothing too
        return self._take(at, bare.end())

    def _string(self, at: int, quote: bytes) -> int:
        r"""A string in quotes; three of them hold lines. In `\"…\"` the escape of the quotes is the string's own."""
        data = self.data
        if data.startswith(quote * 3, at):
            close = data.find(quote * 3, at + 3)
            return self._take(at + 3, close if close >= 0 else len(data)) + 3
        begin = at + len(quote)
        end = _line_end(data, begin)
        close = data.find(quote, begin, end)
        while quote == b'"' and close > begin and _backslashes(data, begin, close) % 2:
            close = data.find(quote, close + 1, end)
        return self._take(begin, close if close >= 0 else end) + len(quote)

    def _list(self, at: int) -> int:
        """The strings of a list, which may stand on lines of their own; without quotes, its elements."""
        data = self.data
        quoted = False
        place, end = at, min(len(data), at + _FAR)
        while quote := _QUOTE_OR_END.search(data, place, end):
            if quote[0] == b"]":
                end = quote.start()
                break
            quoted = True
            place = self._string(quote.start(), quote[0])
        if not quoted:
            end = min(end, _line_end(data, at))
            for element in _ELEMENT.finditer(data, at, end):
                self._take(element.start(), element.end())
        return max(at, end, place if quoted else at)

    def _assigned(self, begin: int, at: int) -> int:
        """NAME=value: to the next space; in a list of strings or among NULs (an environment) to that string's end."""
        data = self.data
        opened = re.search(rb"\\{0,7}[\"']$", data[max(0, begin - 8) : begin])
        if opened is not None:
            close = data.find(opened[0], at, _line_end(data, at))
            if close >= 0:
                return self._take(at, close)
        nul = data.find(b"\0", at, at + _FAR)
        if nul >= 0 and (begin == 0 or data[begin - 1 : begin] in (b"\0", b"\n")):
            return self._take(at, nul)
        bare = _UNTIL_SPACE.match(data, at)
        assert bare is not None  # noqa: S101 - it matches nothing too
        return self._take(at, bare.end())

    def _line(self, begin: int, at: int) -> int:
        """`name: value` on a line of its own: YAML or a header. A block's lines are those that are further in."""
        data = self.data
        block = _BLOCK.match(data, at)
        if block is None:
            return self._take(at, _line_end(data, at))
        start = data.rfind(b"\n", 0, begin) + 1
        indent = begin - start
        place = block.end()
        while place < len(data):
            end = _line_end(data, place)
            line = data[place:end]
            inside = len(line) - len(line.lstrip(b" "))
            if line.strip() and inside <= indent:
                break
            self._take(place + inside, end)
            place = end + 1 if data[end : end + 1] != b"\r" else end + 2
        return place

    def _take(self, begin: int, end: int) -> int:
        """Note a span to be blanked, unless it is harmless; its end."""
        if end > begin and not _harmless(self.data[begin:end]):
            self.spans.append((begin, end))
        return max(begin, end)


def _line_end(data: bytes, at: int) -> int:
    ends = [place for place in (data.find(b"\n", at, at + _FAR), data.find(b"\r", at, at + _FAR)) if place >= 0]
    return min(ends, default=min(len(data), at + _FAR))


def _backslashes(data: bytes, begin: int, at: int) -> int:
    run = data[max(begin, at - 64) : at]
    return len(run) - len(run.rstrip(b"\\"))


def _harmless(value: bytes) -> bool:
    """Switches and paths are no secrets, and readers need them."""
    word = value.strip()
    return (
        word.lower() in (b"true", b"false", b"null", b"none", b"")
        or word.startswith((b"/", _MARK))
        or not word.strip(b"*")
    )


def _blank(value: bytes) -> bytes:
    """As long as the value, on the same lines, and visibly removed."""
    if value.isdigit():
        return b"1" * len(value)
    blank = re.sub(rb"[^\r\n]", b"*", value)
    if len(value) >= len(_MARK) and not re.search(rb"[\r\n]", value[: len(_MARK)]):
        return _MARK + blank[len(_MARK) :]
    return blank
