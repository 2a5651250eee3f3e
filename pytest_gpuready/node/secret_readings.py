"""How else a text can be read: without what no reader sees, and with the line breaks that arguments hold.

A coloured match (`pass` ESC `[1mword=`) and a name copied from a web page hold signs between letters, which cleaning
drops: the report would show the name and its value. In the list of processes a byte 1 is a line break of an argument.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Span = tuple[int, int, bool]

#: Terminal sequences and the UTF-8 of invisible characters that `clean` drops.
_UNSEEN = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\r\n]{0,4096}(?:\x07|\x1b\\)|[@-Z\\^_])|\xc2\xad|\xd8\x9c|"
    rb"\xe1\xa0\x8e|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)


def other_spans(data: bytes, find: Callable[[bytes], list[Span]]) -> Iterator[Span]:
    """Find spans in each other reading of the text; they are places of the text itself."""
    text = data
    if b"\x01" in data and b"\0" not in data:
        text = data.replace(b"\x01", b"\n")
        yield from find(text)
    if b"\x1b" in text or not text.isascii():
        yield from _without_unseen(text, find)


def _without_unseen(data: bytes, find: Callable[[bytes], list[Span]]) -> Iterator[Span]:
    pieces, plain, ends = [], [0], []
    last = 0
    for unseen in _UNSEEN.finditer(data):
        pieces.append(data[last : unseen.start()])
        plain.append(plain[-1] + len(pieces[-1]))
        ends.append(unseen.end())
        last = unseen.end()
    if not pieces:
        return
    starts = [0, *ends]
    for span_begin, span_end, clean in find(b"".join([*pieces, data[last:]])):
        part, begin = bisect.bisect_right(plain, span_begin) - 1, span_begin
        while begin < span_end:
            # Each part of a value that stands between two of them is a span of its own.
            end = min(span_end, plain[part + 1]) if part + 1 < len(plain) else span_end
            shift = starts[part] - plain[part]
            if end > begin:
                yield begin + shift, end + shift, clean and (begin, end) == (span_begin, span_end)
            begin, part = end, part + 1
