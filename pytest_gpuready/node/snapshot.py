"""Snapshots: one readable, versioned JSON file per node, judged again by today's checks.

Text is kept as a list of lines (a diff of two snapshots reads well), other bytes as base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.node.facts import KINDS, STATES, Fact, Facts, Kind, Request, State
from pytest_gpuready.node.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The version this release writes, and the newest it reads.
VERSION = 1

#: Where the shipped ones are.
SHIPPED = Path(__file__).parents[1] / "snapshots"

#: Largest snapshot that is read, in bytes; a healthy node's has 100,000 to 600,000. JSON of that size takes 240 MB of
#: memory at most.
SIZE_LIMIT = 8 * 1024 * 1024


class SnapshotError(ValueError):
    """A snapshot that cannot be used; the message is one clear sentence."""


def dumps(facts: Facts, meta: Mapping[str, Any]) -> str:
    """The snapshot's text: `meta` (generator, taken) and every fact."""
    entries = [_entry(request, fact) for request, fact in facts]
    head = {"gpuready_snapshot": VERSION, **meta, "node": facts.node}
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
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"{name} is no snapshot: {one_line(str(error), 120)}") from None
    return of(document, name)


def of(document: Any, name: str) -> tuple[Facts, dict[str, Any]]:
    """The same, of a snapshot's text as JSON holds it."""
    if not isinstance(document, dict) or "gpuready_snapshot" not in document:
        raise SnapshotError(f"{name} is no snapshot of pytest-gpuready")
    version = document["gpuready_snapshot"]
    if not isinstance(version, int) or version < 1:
        raise SnapshotError(f"{name} is damaged: its version is {one_line(repr(version), 40)}")
    if version > VERSION:
        raise SnapshotError(
            f"{name} was written by a newer pytest-gpuready (snapshot version {version}, this one reads {VERSION})"
        )
    entries = document.get("facts")
    if not isinstance(entries, list):
        raise SnapshotError(f"{name} is damaged: it holds no list of facts")
    facts = Facts(clean(str(document.get("node", ""))) or name)
    for number, entry in enumerate(entries, 1):
        try:
            request, fact = _fact(entry)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise SnapshotError(f"{name} is damaged: fact {number} cannot be read") from None
        facts.add(request, redact(request, fact))
    return facts, {key: value for key, value in document.items() if key != "facts"}


def _fact(entry: Any) -> tuple[Request, Fact]:
    kind, arg, state = entry["kind"], entry["arg"], entry["state"]
    if (
        kind not in KINDS
        or state not in STATES
        or not isinstance(arg, list)
        or not all(isinstance(a, str) for a in arg)
    ):
        raise ValueError(kind)
    if "text" in entry:
        lines = entry["text"]
        if not isinstance(lines, list):
            raise TypeError(lines)
        data = "\n".join(lines).encode("utf-8", "surrogateescape")
    else:
        data = base64.b64decode(entry.get("base64", ""), validate=True)
    rc, note = entry.get("rc"), entry.get("note", "")
    if not (rc is None or isinstance(rc, int)) or not isinstance(note, str):
        raise ValueError(rc)
    return Request(cast("Kind", kind), tuple(arg)), Fact(cast("State", state), data, rc, clean(note))


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
        with place.open("rb") as stream:
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


def file_name(label: str) -> str:
    """A file name for a node's label: nothing a node or spec says becomes a path, and no two labels share a file."""
    name = re.sub(r"[^A-Za-z0-9._@-]+", "-", label).strip("-.")[:150] or "node"
    plain = (
        re.fullmatch(r"(?:[a-z]+://)?[A-Za-z0-9._@-]+", label) and len(label) <= 150 and not label.endswith(("-", "."))
    )
    return name if plain else f"{name}-{hashlib.sha256(label.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def write(path: Path, text: str | Iterable[str]) -> None:
    """Write a file whole or not at all, readable by its owner only; a link at its place is replaced, never followed.

    The text may come in pieces.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".gpuready-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines([text] if isinstance(text, str) else text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
