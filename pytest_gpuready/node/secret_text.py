"""A text that holds secrets: its lines, strings, lists and blocks, and the spans that are to be blanked."""

from __future__ import annotations

import re

from pytest_gpuready.node.secret_names import is_harmless

#: How far back a line's beginning, and how far on the end of a value is looked for, in bytes.
REACH, FAR = 64, 65536
#: How many lines a string that its own line does not close may take.
_MOST_LINES = 16

_BREAK = re.compile(rb"[\r\n]")
QUOTE = re.compile(rb"\\{0,7}[\"']")
_OPENED = re.compile(rb"\\{0,7}[\"']$")
_BLOCK = re.compile(rb"(?:[!&][^\s]{0,64}[ \t]+)?[|>][0-9+-]{0,2}[ \t]*(?:#[^\r\n]*)?\r?\n")
UNTIL_BREAK = re.compile(rb"(?:[^\s\0\"',}\]]|[\"'}\]](?=[A-Za-z0-9]))*")
_BETWEEN = re.compile(rb"[\s,]*")
_ELEMENT = re.compile(rb"[^\s,\]\"']+")
_ELEMENT_ALONE = re.compile(rb"[^\s,\]\"']+(?=[ \t]*(?:[,\]]|\r?\n[ \t]*\]))")
#: What may follow a string that ends as it should: in a file, and within a line of a log.
_CLEAN_END = re.compile(
    rb"[ \t]{0,64}(?:[\r\n\0,}\])#;:|&<>\\]|[ \t]\\{0,7}[\"']|[ \t]-|[ \t][A-Za-z0-9_.-]{1,64}=|"
    rb"[\"']{1,3}(?![A-Za-z0-9])|\Z)"
)
_CLEAN_END_IN_LINE = re.compile(rb"[^A-Za-z0-9]|\Z")
#: The next line has a name of its own.
KEY_LINE = re.compile(
    rb"[ \t]*(?:-[ \t]+)?(?:[\"']?[A-Za-z0-9_./-]{1,128}[\"']?(?:[ \t]*:(?=\s|\Z)|[ \t]*=[ \t]*[\"'\[{A-Za-z0-9]|"
    rb"[\"'][ \t]*[:=])|[\[{}\]#])"
)


class Text:
    """A text, and the spans of secrets that were found in it."""

    def __init__(self, data: bytes, lower: bytes) -> None:
        self.data, self.lower = data, lower
        self.spans: list[tuple[int, int, bool]] = []
        #: Whether the name is a secret's less surely: behind it, counts and addresses are none.
        self.weak = False
        self._line = (0, -1)

    def _before(self, begin: int, most: int = REACH) -> bytes:
        return self.data[max(0, begin - most) : begin]

    def _until(self, pattern: re.Pattern[bytes], at: int) -> int:
        """Take what the pattern matches here."""
        value = pattern.match(self.data, at)
        assert value is not None  # noqa: S101 - such a pattern matches nothing too
        return self._take(at, value.end())

    def _opened(self, begin: int, at: int) -> int:
        """Where the string ends that begins with the name; -1: no string does."""
        opened = _OPENED.search(self._before(begin, 8))
        return -1 if opened is None else self.data.find(opened[0], at, self._line_end(at))

    def _string(self, at: int, quote: bytes, *, strict: bool = True) -> int:
        r"""A string in quotes; three of them hold lines. In `\"…\"` the escape of the quotes is the string's own.

        Where another text than a string's end follows the quote, it was one of the secret's own.
        """
        data = self.data
        if data.startswith(quote * 3, at):
            close = data.find(quote * 3, at + 3)
            return self._take(at + 3, close if close >= 0 else len(data), clean=close >= 0) + 3
        begin = at + len(quote)
        end = self._line_end(begin)
        ending = _CLEAN_END if strict else _CLEAN_END_IN_LINE
        close = self._close(quote, begin, end)
        broken = False
        while close >= 0 and not ending.match(data, close + len(quote)):
            broken = True
            close = self._close(quote, close + 1, end)
        if close >= 0:
            return self._take(begin, close, clean=not broken) + len(quote)
        return self._unclosed(quote, begin, end)

    def _close(self, quote: bytes, begin: int, end: int) -> int:
        close = self.data.find(quote, begin, end)
        while quote == b'"' and close > begin and _backslashes(self.data, begin, close) % 2:
            close = self.data.find(quote, close + 1, end)
        return close

    def _unclosed(self, quote: bytes, begin: int, end: int) -> int:
        """A string that its line does not close: that line, and those up to its end if it has one."""
        data, place = self.data, next_line(self.data, end)
        for _ in range(_MOST_LINES):
            if place >= len(data) or KEY_LINE.match(data, place):
                break
            stop = line_end(data, place)
            close = self._close(quote, place, stop)
            if close >= 0:
                if _CLEAN_END.match(data, close + len(quote)) and b"=" not in data[place:close].rstrip(b"="):
                    return self._take(begin, close)
                break
            place = next_line(data, stop)
        return self._take(begin, end)

    def _list(self, at: int) -> int:
        """The elements of a list, which may stand on lines of their own. Without an end it ends at the next name."""
        data, place, end = self.data, at, min(len(self.data), at + FAR)
        while place < end:
            between = _BETWEEN.match(data, place)
            assert between is not None  # noqa: S101 - it matches nothing too
            place = between.end()
            fresh = b"\n" in between[0]
            if data[place : place + 1] == b"]" or (fresh and KEY_LINE.match(data, place)):
                break
            quote = QUOTE.match(data, place)
            if quote is not None:
                place = self._string(place, quote[0])
                continue
            element = (_ELEMENT_ALONE if fresh else _ELEMENT).match(data, place)
            if element is None:
                break
            place = self._take(place, element.end())
        return max(at, place)

    def _block_or_line(self, begin: int, at: int) -> int:
        """`name: value` on a line of its own: YAML or a header. A block's lines are those that are further in."""
        data = self.data
        start = data.rfind(b"\n", 0, begin) + 1
        indent = begin - start
        block = _BLOCK.match(data, at)
        if block is None:
            end = self._take(at, self._line_end(at))
            place = next_line(data, end)
        else:
            place = end = block.end()
        while place < min(len(data), at + FAR):
            stop = line_end(data, place)
            line = data[place:stop]
            inside = len(line) - len(line.lstrip(b" "))
            if (line.strip() and inside <= indent) or (block is None and (not line.strip() or KEY_LINE.match(line))):
                break
            end = self._take(place + inside, stop)
            place = next_line(data, stop)
        return max(end, at)

    def _line_end(self, at: int) -> int:
        begin, end = self._line
        if not begin <= at <= end:
            self._line = (at, line_end(self.data, at))
        return self._line[1]

    def _take(self, begin: int, end: int, *, clean: bool = False) -> int:
        """Note a span to be blanked, unless it is harmless; its end."""
        if end > begin and not is_harmless(self.data[begin:end], weak=self.weak):
            self.spans.append((begin, end, clean))
        return max(begin, end)


def line_end(data: bytes, at: int) -> int:
    """Return where the line ends that this place is in."""
    found = _BREAK.search(data, at)
    return len(data) if found is None else found.start()


def next_line(data: bytes, end: int) -> int:
    """Return where the line begins behind a line's end."""
    return end + 2 if data[end : end + 2] == b"\r\n" else end + 1


def _backslashes(data: bytes, begin: int, at: int) -> int:
    run = data[max(begin, at - 64) : at]
    return len(run) - len(run.rstrip(b"\\"))
