"""The form of a snapshot's facts, checked where a snapshot is read: everything after it relies on it."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, cast

from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.node.facts import KINDS, STATES, Fact, Request

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Kind, State

#: Most facts of a node; a large one has 400.
FACTS_LIMIT = 50_000

#: Longest node name, path, pattern or word of a command, in characters, and most words.
NAME_LIMIT, ARG_LIMIT, ARGS_LIMIT = 1000, 1_048_576, 4096

#: Longest note in characters, and most bytes of an answer (a round of questions has 64 MiB at most).
NOTE_LIMIT, DATA_LIMIT = 262_144, 64 * 1024 * 1024

#: Exit statuses; a program that a signal ended has a negative one where Python asked.
_STATUSES = range(-255, 256)

#: Kinds whose argument is one path, pattern or name.
_ONE = frozenset({"file", "stat", "glob", "files", "node"})


class FormError(ValueError):
    """Something that is not of the form; the message is the rest of a sentence about it."""


def node_name(said: Any) -> str:
    """Return the node's name, which may be missing."""
    if said is None:
        return ""
    if not isinstance(said, str) or len(said) > NAME_LIMIT:
        raise FormError(f"its node is not a name of at most {NAME_LIMIT} characters")
    return clean(said)


def entries(said: Any) -> list[Any]:
    """Return the list of facts."""
    if not isinstance(said, list):
        raise FormError("it holds no list of facts")
    if len(said) > FACTS_LIMIT:
        raise FormError(f"it holds {len(said)} facts, and a node has at most {FACTS_LIMIT}")
    return said


def fact(entry: Any) -> tuple[Request, Fact]:
    """Return a fact and its request."""
    if not isinstance(entry, dict):
        raise FormError("it is not an object")
    request = _request(entry.get("kind"), entry.get("arg"))
    state, rc, note = entry.get("state"), entry.get("rc"), entry.get("note", "")
    if not isinstance(state, str) or state not in STATES:
        raise FormError(f"its state is {_shown(state)}")
    if rc is not None and (type(rc) is not int or rc not in _STATUSES):
        raise FormError(f"its rc is {_shown(rc)}")
    if not isinstance(note, str) or len(note) > NOTE_LIMIT:
        raise FormError(f"its note is not a text of at most {NOTE_LIMIT} characters")
    return request, Fact(cast("State", state), _data(entry), rc, clean(note))


def _request(kind: Any, arg: Any) -> Request:
    if not isinstance(kind, str) or kind not in KINDS:
        raise FormError(f"its kind is {_shown(kind)}")
    if not isinstance(arg, list) or not all(isinstance(word, str) for word in arg):
        raise FormError("its arg is not a list of texts")
    if not arg or len(arg) > (1 if kind in _ONE else ARGS_LIMIT):
        raise FormError(f"its arg has {len(arg)} words, which is not what a {kind} has")
    for word in arg:
        if len(word) > ARG_LIMIT:
            raise FormError(f"a word of its arg is longer than {ARG_LIMIT} characters")
        _encoded(word, "arg")
    return Request(cast("Kind", kind), tuple(arg))


def _data(entry: dict[str, Any]) -> bytes:
    if "text" in entry:
        lines = entry["text"]
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise FormError("its text is not a list of lines")
        data = _encoded("\n".join(lines), "text")
    else:
        data = _decoded(entry.get("base64", ""))
    if len(data) > DATA_LIMIT:
        raise FormError(f"its answer is longer than {DATA_LIMIT // 1024 // 1024} MiB")
    return data


def _decoded(said: Any) -> bytes:
    if not isinstance(said, str):
        raise FormError("its base64 is not a text")
    try:
        return base64.b64decode(said, validate=True)
    except (binascii.Error, ValueError):
        raise FormError("its base64 cannot be decoded") from None


def _encoded(text: str, key: str) -> bytes:
    """Return the text's bytes; a byte that was not UTF-8 is half a character, other halves are no text."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise FormError(f"its {key} holds half a character") from None


def _shown(said: Any) -> str:
    return one_line(repr(said), 40)
