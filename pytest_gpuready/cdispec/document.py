"""YAML (and JSON, its subset) as go-yaml gives it to CDI, with a line for every key; nothing hostile in it is followed.

Built from libyaml's events, so that neither depth nor aliases cost more than the file's own size. go-yaml is a port of
libyaml: both take the same documents. Differences of PyYAML's own resolver (sexagesimal integers, timestamps) do not
show, since scalars are resolved here. A duplicate key is an error, as in `yaml.UnmarshalStrict` (CDI's ParseSpec,
tags.cncf.io/container-device-interface v1.1.0:pkg/cdi/spec.go).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from pytest_gpuready import budget

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Deepest nesting that is looked at; CDI needs seven levels.
DEPTH = 50

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: value for value, words in ((True, "true True TRUE"), (False, "false False FALSE")) for word in words.split()
}


class Unparsable(ValueError):  # noqa: N818 - it is an answer, not an error
    """The parser refuses the document; `line` (from 1) is where, None where that is not known."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.text, self.line = text, line


class TooMuch(Unparsable):
    """The document has something that this reader does not look at (aliases, great depth): no fault of the document."""


class Map(dict[str, Any]):
    """A mapping. `line` is where it begins, `lines` where each key stands."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Seq(list[Any]):
    """A list. `line` is where it begins, `lines` where each element does."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def load(data: bytes) -> Any:
    """The first document: Map, Seq, str, int, float, bool or None.

    Raises:
        Unparsable: it is no YAML; `TooMuch` where this reader does not look.
    """
    try:
        return _build(yaml.parse(data, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unparsable(error.problem or "no YAML", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        if isinstance(error, Unparsable):
            raise
        raise Unparsable(f"no YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None


def _build(events: Iterator[Any]) -> Any:
    stack: list[Map | Seq] = []
    keys: list[tuple[str, int] | None] = []
    for event in events:
        budget.check()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise TooMuch("it has YAML aliases, which are not followed here", line)
        if isinstance(event, yaml.DocumentEndEvent):
            return None
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = stack.pop()
            keys.pop()
            if not stack:
                return done
            continue
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            value = Map(line)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = Seq(line)
        else:
            continue
        if stack and isinstance(stack[-1], Map) and keys[-1] is None:
            keys[-1] = (_key(value, stack[-1], line), line)
            continue
        if stack:
            _put(stack[-1], keys, value, line)
        elif not isinstance(value, (Map, Seq)):
            return value
        if isinstance(value, (Map, Seq)):
            if len(stack) >= DEPTH:
                raise TooMuch(f"it is nested deeper than {DEPTH} levels", line)
            stack.append(value)
            keys.append(None)
    return None


def _key(value: object, mapping: Map, line: int) -> str:
    if isinstance(value, (Map, Seq)):
        raise Unparsable("a key is no word", line)
    key = plain(value)
    if key == "<<":
        raise TooMuch("it has YAML merge keys, which are not followed here", line)
    if key in mapping:
        raise Unparsable(f"key {key!r} is there twice", line)
    return key


def _put(into: Map | Seq, keys: list[tuple[str, int] | None], value: object, line: int) -> None:
    if isinstance(into, Seq):
        into.append(value)
        into.lines.append(line)
        return
    key, at = keys[-1] or ("", line)
    into[key], into.lines[key] = value, at
    keys[-1] = None


def _scalar(event: Any) -> Any:
    """A plain scalar as go-yaml resolves it (no sexagesimals, no dates); a quoted one is a string."""
    text: str = event.value
    if event.tag in ("!!str", "tag:yaml.org,2002:str") or not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= 40 and _INT.match(text):
        word = text.replace("_", "")
        legacy = re.match(r"([-+]?)0([0-7]+)\Z", word)
        return int(f"{legacy[1]}0o{legacy[2]}" if legacy else word, 0)
    if len(text) <= 40 and _FLOAT.match(text):
        return float(text)
    return text


def plain(value: object) -> str:
    """A scalar where a string is wanted: sigs.k8s.io/yaml turns numbers and truth values into one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "" if value is None else str(value)
