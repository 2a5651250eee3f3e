r"""Redaction: secrets in files, environments and command output are gone before anything is judged or recorded.

Secrets are found by name and position (`secret_names.py`, `secret_values.py`, `secret_maps.py`) and by shape
(`secret_shapes.py`), over the whole text, and as others read it (`secret_readings.py`): a file that no parser reads
loses its secrets like any other. As many bytes stand in a secret's place, on the same lines, so that syntax, columns
and the lengths inside binary answers stay. A value that its quotes, its argument or its URL delimits becomes
`[redacted]****`. In any other value each letter and digit is replaced alone (by `x` and `1`): quotes, signs, control
and non-ASCII characters stay, so that a reader fails at the same place. It costs time in proportion to the text,
whatever the text is.

No library does this. detect-secrets 1.5 reads line by line, wants an assignment, reports a secret without its place,
and depends on requests and PyYAML. gitleaks' rule file is written for Go's expressions, weighs a value's entropy, so
that a weak password passes, and each of its some two hundred rules reads the whole text. Both look for what must not
be committed, not for all that must not be shown: neither finds `password "x"`, or an argument's value in the next
record. The prefixes of tokens are those that they list.
"""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gpuready import budget
from pytest_gpuready.node.facts import Fact
from pytest_gpuready.node.secret_readings import other_spans
from pytest_gpuready.node.secret_shapes import find_shapes
from pytest_gpuready.node.secret_values import find_values

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Request

_MARK = b"[redacted]"
_MOST_PASSES = 4
_ALIKE = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz023456789", b"x" * 52 + b"1" * 9)
_ONES = bytes.maketrans(b"23456789", b"1" * 8)
#: What decides how a reader of TOML, JSON or YAML takes a value: an escape, a number's form, how a bare word begins.
_ESCAPE = re.compile(rb"\\(?:u[^\"\\]{4}|U[^\"\\]{8}|.)", re.DOTALL)
_NUMBER = re.compile(rb"[+-]?(?:0x[0-9A-Fa-f_]+|0b[01_]+|0o[0-7_]+|0[0-9]*|[0-9][0-9_]*[.:TtZeE+-][0-9_.:TtZeE+ -]*)\Z")
_BARE = re.compile(rb"t(?:r(?:ue?)?)?|f(?:a(?:l(?:se?)?)?)?|i(?:nf?)?|n(?:an?)?|e")
#: Lines that follow each other and are comments, and the mark of each.
_COMMENTS = re.compile(rb"(?m)(?:^[ \t]*#[^\n]*(?:\n|\Z)){2,}")
_COMMENT = re.compile(rb"(?m)^[ \t]*#")
_PLAIN = re.compile(rb"[ !#-\[\]-~]*\Z")


def redact(request: Request, fact: Fact) -> Fact:
    """The fact without secrets, lengths kept; without its data where the time for that is spent (`budget`)."""
    del request  # every kind of answer is treated alike: a secret may stand in any of them
    try:
        return _without_secrets(fact)
    except budget.OverBudget:
        return Fact("cut", note=f"removing secrets took more than {budget.REDACTING:g} s of CPU time")


def _without_secrets(fact: Fact) -> Fact:
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
    """Redact until nothing changes: what has replaced a secret may bring another one to light."""
    for _ in range(_MOST_PASSES):
        after = _pass(data)
        if after == data:
            break
        data = after
    return data


def _pass(data: bytes) -> bytes:
    if not data:
        return data
    budget.check()
    spans = [*_spans(data), *other_spans(data, _spans)]
    spans.sort(key=lambda span: (span[0], -span[1]))
    pieces, last = [], 0
    for begin, end, clean in _apart(spans):
        pieces += [data[last:begin], _blank(data, begin, end, clean=clean)]
        last = end
    return b"".join([*pieces, data[last:]]) if pieces else data


def _spans(data: bytes) -> list[tuple[int, int, bool]]:
    lower = data.lower()
    return [*find_shapes(data, lower), *find_values(data, lower), *_commented_out(data)]


_redacted_once = functools.lru_cache(maxsize=2048)(_redacted)


def _commented_out(data: bytes) -> list[tuple[int, int, bool]]:
    """Find what a list, a block or a pair holds that was commented out: read its lines without their marks."""
    spans = []
    for block in _COMMENTS.finditer(data) if b"#" in data else ():
        plain = _COMMENT.sub(lambda mark: b" " * len(mark[0]), block[0])
        found = find_values(plain, plain.lower())
        spans += [(begin + block.start(), end + block.start(), clean) for begin, end, clean in found]
    return spans


def _apart(spans: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    """Return the spans without overlaps: what lies within another is part of it; of two that cross, one is cut."""
    apart: list[tuple[int, int, bool]] = []
    for begin, end, clean in spans:
        start, stop, before = apart[-1] if apart else (0, 0, False)
        if begin >= stop:
            apart.append((begin, end, clean))
        elif end <= stop:
            apart[-1] = (start, stop, before or (clean and (begin, end) == (start, stop)))
        elif clean and not before:
            apart[-1:] = [(start, begin, False), (begin, end, True)]
        else:
            apart.append((stop, end, False))
    return apart


def _blank(data: bytes, begin: int, end: int, *, clean: bool) -> bytes:
    """As long as the value, on the same lines, and visibly removed."""
    value, before = data[begin:end], data[begin - 1 : begin] if begin else b""
    quoted = before in (b'"', b"'") and data[end : end + 1] == before and before not in value
    if value.isdigit() and (clean or quoted or not value.startswith(b"0")):
        return b"1" * len(value)
    if (clean or quoted) and _PLAIN.match(value):
        return _MARK.ljust(len(value), b"*") if len(value) >= len(_MARK) else b"*" * len(value)
    if _NUMBER.match(value):
        return (
            value[:2] + re.sub(rb"[a-fA-F]", b"a", value[2:].translate(_ONES))
            if b"x" in value
            else value.translate(_ONES)
        )
    bare = _BARE.match(value) if before not in (b'"', b"'") else None
    kept = b"" if bare is None else bare[0]
    pieces, last = [kept], len(kept)
    for escape in _ESCAPE.finditer(value) if b"\\" in value else ():
        pieces += [value[last : escape.start()].translate(_ALIKE), escape[0]]
        last = escape.end()
    return b"".join([*pieces, value[last:].translate(_ALIKE)])
