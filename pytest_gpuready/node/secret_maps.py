"""Mappings below a secret's name: `secrets:` above indented lines, `auth = { … }`, `[passwords]`, Go's `map[…]`.

What a mapping holds is a secret, unless its key says that it is something else: a user, a file, a mode.
"""

from __future__ import annotations

import re

from pytest_gpuready.node.secret_names import tells_no_secret
from pytest_gpuready.node.secret_text import FAR, QUOTE, UNTIL_BREAK, Text, line_end, next_line

#: A key and its sign within braces, and on a line of its own.
_KEY = re.compile(
    rb"(?:(?P<quote>\\{0,7}[\"'])(?P<quoted>[^\"'\r\n\\]{1,256})(?P=quote)|(?P<key>[A-Za-z0-9_./@*-]{1,128}))"
    rb"[ \t]{0,16}[:=](?!//)\s{0,64}"
)
_KEY_ON_LINE = re.compile(
    rb"[ \t]*(?:-[ \t]+)?(?P<quote>[\"']?)(?P<key>[^\"'=:#\[{\s-][^\"'=:\r\n]{0,127}?)(?P=quote)[ \t]{0,16}"
    rb"(?::[ \t]+|=[ \t]*)(?=[^\s#])"
)
_BETWEEN = re.compile(rb"[\s,]+")
#: What goes on with a mapping after a line that no comma ends.
_GOES_ON = re.compile(rb"[}\]]|\\{0,7}[\"']")
_WORD = re.compile(rb"[^\s,{}\[\]]+")
#: The rest of a table's or section's header behind the name, and what is before it.
_HEADER_END = re.compile(rb"[\"']?\]{1,2}[ \t]*(?:#[^\r\n]*)?\r?\n")
_HEADER_BEGIN = re.compile(rb"[ \t#]*\[{1,2}[^\r\n\]]*\Z")
_HEADER = re.compile(rb"[ \t]*\[")


class Mappings(Text):
    """A text whose mappings are read too. What is read once as a mapping is not read again as one within it."""

    _read_to = 0
    #: The name that the mapping stands below.
    _above = b""

    def _braces(self, at: int) -> None:
        """The mapping behind an opening brace; one without an end ends with its line, as in a file that is cut off."""
        if at < self._read_to:
            return
        data, place, depth = self.data, at, 1
        end = min(len(data), at + FAR)
        while depth and place < end:
            between, key = _BETWEEN.match(data, place), _KEY.match(data, place)
            if between is not None:
                ended = b"\n" in between[0] and b"," not in between[0] and data[place - 1] not in b"{["
                place = between.end()
                if ended and not _GOES_ON.match(data, place):
                    break
            elif key is not None:
                place = self._leaf(key, end)
            elif data[place] in b"{[":
                depth, place = depth + 1, place + 1
            elif data[place] in b"}]":
                depth, place = depth - 1, place + 1
            else:
                word = _WORD.match(data, place)
                place = place + 1 if word is None else word.end()
        self._read_to = place

    def _leaf(self, key: re.Match[bytes], end: int) -> int:
        """The value behind a key within braces, unless it is a mapping; where to go on."""
        at, known = min(key.end(), end), len(self.spans)
        quote = QUOTE.match(self.data, at)
        if quote is not None:
            place = self._string(at, quote[0])
        elif self.data.startswith((b"{", b"&{", b"map["), at):
            return self.data.find(b"[" if self.data.startswith(b"m", at) else b"{", at)
        elif self.data.startswith(b"[", at) and not self.data.startswith(b"[redacted]", at):
            place = self._list(at + 1)
        else:
            place = self._until(UNTIL_BREAK, at)
        self._keep(key["quoted"] or key["key"], known)
        return max(place, at)

    def _keep(self, key: bytes, known: int) -> None:
        """Forget what was found behind a key that tells no secret."""
        if tells_no_secret(key, self._above):
            del self.spans[known:]

    def _table_behind(self, begin: int, end: int) -> bool:
        """Read the table or section whose header ends with the name that stands here."""
        close = _HEADER_END.match(self.data, end)
        if close is None:
            return False
        start = self.data.rfind(b"\n", max(0, begin - 512), begin) + 1
        if _HEADER_BEGIN.match(self.data, start, begin) is None:
            return False
        self._lines(close.end(), -1)
        return True

    def _lines(self, place: int, indent: int) -> None:
        """The mapping whose lines begin here: those that are further in; -1: up to the next table."""
        data, end = self.data, min(len(self.data), place + FAR)
        if place < self._read_to:
            return
        while place < end:
            stop = line_end(data, place)
            text = data[place:stop].lstrip(b" \t")
            if text and (stop - len(text) - place <= indent or (indent < 0 and _HEADER.match(data, place))):
                break
            key = _KEY_ON_LINE.match(data, place, stop)
            last = stop if key is None else max(stop, self._leaf_on_line(key))
            place = next_line(data, line_end(data, last))
        self._read_to = place

    def _leaf_on_line(self, key: re.Match[bytes]) -> int:
        at, known = key.end(), len(self.spans)
        quote = QUOTE.match(self.data, at)
        if quote is not None:
            place = self._string(at, quote[0])
        elif self.data.startswith(b"[", at) and not self.data.startswith(b"[redacted]", at):
            place = self._list(at + 1)
        elif self.data.startswith(b"{", at):
            self._braces(at + 1)
            place = max(at, self._read_to)
        else:
            place = self._block_or_line(key.start("key"), at)
        self._keep(key["key"], known)
        return place
