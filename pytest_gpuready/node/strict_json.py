"""JSON that another machine wrote, read strictly: what one reader takes and the next one reads otherwise is refused.

Refused are duplicate keys, NaN and Infinity, numbers of more digits than a program writes, and nesting without end.
"""

from __future__ import annotations

import json
import math
from typing import Any

#: Most levels of lists and objects; reports have 7.
DEPTH_LIMIT = 64

_TOO_DEEP = f"lists or objects nested more than {DEPTH_LIMIT} deep"
_HOLDERS = (dict, list)

#: Most digits of a whole number; longer ones count in no file of this kind.
_DIGITS = 20


class JsonError(ValueError):
    """Text that is not strict JSON; the message says what is wrong and where."""


class _Wrong:
    """Stands in the document where something is refused."""

    def __init__(self, what: str) -> None:
        self.what = what


def loads(text: str, *, most: int) -> Any:
    """Return what the text holds; `most`: so many commas and opening brackets, counted before memory is taken for them.

    Raises:
        JsonError: It is not JSON, or not strictly; the message is one sentence that names the place.
    """
    if sum(text.count(mark) for mark in ",[{") > most:
        raise JsonError(f"more than {most} values")
    found: list[_Wrong] = []

    def wrong(what: str) -> _Wrong:
        found.append(_Wrong(what))
        return found[-1]

    def pairs(items: list[tuple[str, Any]]) -> Any:
        made = dict(items)
        if len(made) == len(items):
            return made
        names = [name for name, _ in items]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        return wrong(f"the key {json.dumps(twice[:80])} stands there twice")

    def whole(digits: str) -> Any:
        return int(digits) if len(digits) <= _DIGITS else wrong(f"a number of {len(digits)} digits")

    def real(digits: str) -> Any:
        value = float(digits)
        return value if math.isfinite(value) else wrong(f"the number {digits[:40]} is too large")

    try:
        document = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=whole,
            parse_float=real,
            parse_constant=lambda name: wrong(f"{name} is not JSON"),
        )
    except RecursionError:
        raise JsonError(_TOO_DEEP) from None
    except ValueError as error:
        raise JsonError(str(error)) from None
    if found:
        raise JsonError(_told(document, found))
    _check_depth(document)
    return document


def _told(document: Any, found: list[_Wrong]) -> str:
    """Say what is wrong first, and at which place of the document."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, _Wrong):
            return f"{place.lstrip('.')}: {value.what}" if place else value.what
        if len(place) > 400:
            continue
        if isinstance(value, dict):
            waiting += [(f"{place}.{name[:80]}", item) for name, item in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{place}[{number}]", item) for number, item in reversed(list(enumerate(value)))]
    return found[0].what  # within an object that is itself refused, or deep down


def _check_depth(document: Any) -> None:
    level = [document] if type(document) in _HOLDERS else []
    for _ in range(DEPTH_LIMIT):
        level = [
            item
            for holder in level
            for item in (holder.values() if type(holder) is dict else holder)
            if type(item) in _HOLDERS
        ]
        if not level:
            return
    raise JsonError(_TOO_DEEP)
