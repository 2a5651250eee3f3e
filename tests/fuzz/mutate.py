"""Mutations of valid samples: of bytes, of lines, of the words that a format knows. Deterministic for a seed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

#: Longest example, in bytes: what is longer is cut. The limits of the parsers have tests of their own.
MOST = 65_536

#: What every format may trip over.
WORDS: tuple[bytes, ...] = (
    *(b"", b"\0", b"\n", b"\r\n", b"\r", b"\t", b" ", b"'", b'"', b"\\", b"/", b"..", b"%s", b"$(id)", b"`id`", b";"),
    *(b"-1", b"0", b"1", b"007", b"0x", b"1e999", b"99999999999999999999", b"9" * 5000, b"nan", b"-inf", b"1_0"),
    *(
        b"true",
        b"null",
        b"None",
        b"[]",
        b"{}",
        b"[[",
        b"]]",
        b"{{",
        b"}",
        b"=",
        b":",
        b",",
        b"#",
        b"|",
        b">",
        b"&a",
        b"*a",
    ),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", "\u202e\u2028\u0085".encode()),
    *(b"\x1b]0;x\x07", b"\x1b[2J", b"<script>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"<![CDATA[", b"\\u0000"),
    *("٣".encode(), "²".encode(), "ﬁ".encode(), "\U0001f600".encode(), b"ok", b"absent", b"denied"),
)


def mutated(random: random.Random, samples: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One example: at times bytes without any sense, mostly a sample with a few changes."""
    if not samples or random.random() < 0.08:
        return random.randbytes(random.choice((0, 1, 8, 64, 512)))
    data = random.choice(samples)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6, 20))):
        data = _CHANGES[random.randrange(len(_CHANGES))](random, data, samples, words)[:MOST]
    return data


def _place(random: random.Random, data: bytes) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 1, 2, 4, 16, 64, 1024)))


def _word(random: random.Random, words: Sequence[bytes]) -> bytes:
    return random.choice(words) if words and random.random() < 0.5 else random.choice(WORDS)


def _flip(random: random.Random, data: bytes, _: Sequence[bytes], __: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]


def _byte(random: random.Random, data: bytes, _: Sequence[bytes], __: Sequence[bytes]) -> bytes:
    place = random.randint(0, len(data))
    return data[:place] + random.randbytes(random.randint(1, 4)) + data[place + random.randint(0, 4) :]


def _drop(random: random.Random, data: bytes, _: Sequence[bytes], __: Sequence[bytes]) -> bytes:
    start, stop = _place(random, data)
    return data[:start] + data[stop:]


def _cut(random: random.Random, data: bytes, _: Sequence[bytes], __: Sequence[bytes]) -> bytes:
    place = random.randint(0, len(data))
    return data[:place] if random.random() < 0.7 else data[place:]


def _double(random: random.Random, data: bytes, _: Sequence[bytes], __: Sequence[bytes]) -> bytes:
    """A piece many times: depth, length, duplicates."""
    start, stop = _place(random, data)
    return data[:start] + data[start:stop] * random.choice((2, 2, 3, 50, 2000)) + data[stop:]


def _insert(random: random.Random, data: bytes, _: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    place = random.randint(0, len(data))
    return data[:place] + _word(random, words) * random.choice((1, 1, 1, 2, 200)) + data[place:]


def _splice(random: random.Random, data: bytes, samples: Sequence[bytes], __: Sequence[bytes]) -> bytes:
    """The head of one sample and the tail of another."""
    other = random.choice(samples)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _lines(random: random.Random, data: bytes, samples: Sequence[bytes], __: Sequence[bytes]) -> bytes:
    """A line less, twice, elsewhere, or one of another sample."""
    lines = data.split(b"\n")
    place = random.randrange(len(lines))
    line = lines[place]
    kind = random.randrange(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(random.randint(0, len(lines)), line)
    elif kind == 2:
        lines[place] = random.choice(random.choice(samples).split(b"\n"))
    else:
        lines[place] = line[::-1]
    return b"\n".join(lines)


def _token(random: random.Random, data: bytes, _: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A word or number of the sample becomes another word."""
    found = list(re.finditer(rb"[A-Za-z0-9_.-]+", data[:MOST]))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + _word(random, words) + data[match.end() :]


_CHANGES = (_flip, _byte, _drop, _cut, _double, _insert, _splice, _lines, _token, _token)
