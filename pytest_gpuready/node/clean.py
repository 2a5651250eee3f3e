"""Cleaning: what a node says never becomes terminal control, nor reorders the text around it."""

from __future__ import annotations

import re

# C0 and C1 controls but newline and tab, DEL, zero-width and bidi controls, line and paragraph separators, surrogates,
# the byte-order mark, interlinear and tag characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\^_])")

#: Longest text that one finding's field may hold, in characters.
FIELD_LIMIT = 4000


def clean(text: str) -> str:
    """The text without terminal sequences, controls (newline and tab stay), bidi and invisible characters."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _UNSAFE.sub("", text.replace("\r\n", "\n"))


def shorten(text: str, limit: int = FIELD_LIMIT) -> str:
    """The text cut to `limit` characters, and visibly so."""
    return text if len(text) <= limit else f"{text[: limit - 20]} … ({len(text)} characters)"


def one_line(text: str, limit: int = 400) -> str:
    """The text cleaned, on one line, cut to `limit` characters."""
    return shorten(" ".join(clean(text).split()), limit)
