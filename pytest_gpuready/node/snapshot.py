"""Snapshots: one readable, versioned JSON file per node, judged again by today's checks.

Text is kept as a list of lines (a diff of two snapshots reads well), other bytes as base64.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pytest_gpuready import budget
from pytest_gpuready.node import snapshot_format, strict_json
from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.node.facts import Facts, Recording
from pytest_gpuready.node.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuready.node.facts import Fact, Request

#: The version this release writes, and the newest it reads.
VERSION = 1

#: A time as snapshots and reports write it: UTC, ISO 8601.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

#: Where the shipped ones are.
SHIPPED = Path(__file__).parents[1] / "snapshots"

#: Largest snapshot that is read, in bytes; a healthy node's has 100,000 to 600,000. JSON of that size takes 240 MB of
#: memory at most.
SIZE_LIMIT = 8 * 1024 * 1024

#: Most values of a snapshot; a large node's has 40,000.
VALUES_LIMIT = 2_000_000


class SnapshotError(ValueError):
    """A snapshot that cannot be used; the message is one clear sentence."""


def dumps(facts: Facts, meta: Mapping[str, Any]) -> str:
    """The snapshot's text: `meta` (generator, taken), the vocabulary that was asked, and every fact."""
    entries = [_entry(request, fact) for request, fact in facts]
    head = {"gpuready_snapshot": VERSION, **meta, "vocabulary": facts.vocabulary, "node": facts.node}
    body = ",\n".join(_json(entry) for entry in entries)
    return f'{_json(head)[:-2]},\n "facts": [\n{body}\n]}}\n'


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    # Bytes of a path that are no UTF-8 are half characters here; only escapes bring those through a file.
    return text if not _HALVES.search(text) else json.dumps(value, indent=1)


_HALVES = re.compile("[\ud800-\udfff]")


def _entry(request: Request, fact: Fact) -> dict[str, Any]:
    fact = redact(request, fact)
    entry: dict[str, Any] = {"kind": request.kind, "arg": list(request.arg), "state": fact.state}
    if fact.rc is not None:
        entry["rc"] = fact.rc
    if fact.note:
        entry["note"] = clean(fact.note)
    if fact.data:
        try:
            text = fact.data.decode("utf-8")
            readable = clean(text) == text
        except UnicodeDecodeError:
            readable = False
        if readable:
            entry["text"] = text.split("\n")
        else:
            entry["base64"] = base64.b64encode(fact.data).decode("ascii")
    return entry


def loads(text: str, name: str) -> tuple[Facts, dict[str, Any]]:
    """The facts of a snapshot and its other keys; `SnapshotError` says what is wrong with it, by `name`."""
    try:
        document = strict_json.loads(text, most=VALUES_LIMIT)
    except strict_json.JsonError as error:
        raise SnapshotError(f"{name} is no snapshot: {one_line(str(error), 200)}") from None
    return of(document, name)


def of(document: Any, name: str) -> tuple[Facts, dict[str, Any]]:
    """The same, of a snapshot's text as JSON holds it."""
    if not isinstance(document, dict) or "gpuready_snapshot" not in document:
        raise SnapshotError(f"{name} is no snapshot of pytest-gpuready")
    version = document["gpuready_snapshot"]
    if type(version) is not int or version < 1:
        raise SnapshotError(f"{name} is damaged: its version is {one_line(repr(version), 40)}")
    if version > VERSION:
        raise SnapshotError(
            f"{name} was written by a newer pytest-gpuready (snapshot version {version}, this one reads {VERSION})"
        )
    vocabulary = document.get("vocabulary", 1)
    if not isinstance(vocabulary, int) or isinstance(vocabulary, bool) or vocabulary < 1:
        raise SnapshotError(f"{name} is damaged: its vocabulary is {one_line(repr(vocabulary), 40)}")
    taken = document.get("taken")
    recording = Recording(taken if isinstance(taken, str) and TIME.fullmatch(taken) else None, vocabulary)
    try:
        facts = Facts(snapshot_format.node_name(document.get("node")) or name, recording=recording)
        entries = snapshot_format.entries(document.get("facts"))
    except snapshot_format.FormError as error:
        raise SnapshotError(f"{name} is damaged: {error}") from None
    with budget.limited(budget.REDACTING):
        for number, entry in enumerate(entries, 1):
            try:
                request, fact = snapshot_format.fact(entry)
            except snapshot_format.FormError as error:
                raise SnapshotError(f"{name} is damaged: fact {number} cannot be read: {error}") from None
            facts.add(request, redact(request, fact))
    return facts, {key: value for key, value in document.items() if key != "facts"}


def shipped() -> dict[str, Path]:
    """The snapshots that the package brings along, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.json"))}


def read(path: str) -> tuple[Facts, dict[str, Any]]:
    """The snapshot in a file, or a shipped one by its name; `SnapshotError` if it cannot be used."""
    name = clean(path)
    try:
        place = Path(path)
        if "/" not in path and not place.exists():
            place = shipped().get(path, place)
        with _open(place) as stream:
            raw = stream.read(SIZE_LIMIT + 1)
        text = raw.decode("utf-8") if len(raw) <= SIZE_LIMIT else None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and "/" not in path:
            names = ", ".join(shipped())
            raise SnapshotError(
                f"{name}: no such file, and no snapshot of that name is shipped ({names} are)"
            ) from None
        raise SnapshotError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SnapshotError(f"{name} is no snapshot: it is not UTF-8 text") from None
    except ValueError:
        raise SnapshotError(f"{name} cannot be read: no file has such a name") from None
    if text is None:
        raise SnapshotError(f"{name} is larger than {SIZE_LIMIT // 1024 // 1024} MiB: no snapshot")
    return loads(text, name)


def _open(place: Path) -> BinaryIO:
    # Nothing may ever be written to a FIFO. A shell's <(…) is an open pipe, which ends.
    if place.is_fifo() and not str(place).startswith("/dev/fd/"):
        raise OSError(errno.EINVAL, "it is a FIFO")
    return place.open("rb")


def file_name(label: str) -> str:
    """A file name for a node's label: nothing a node or spec says becomes a path, and no two labels share a file."""
    name = re.sub(r"[^A-Za-z0-9._@-]+", "-", label).strip("-.")[:150] or "node"
    plain = (
        re.fullmatch(r"(?:[a-z]+://)?[A-Za-z0-9._@-]+", label) and len(label) <= 150 and not label.endswith(("-", "."))
    )
    return name if plain else f"{name}-{hashlib.sha256(label.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"
