"""Which files are results, as far as names tell, and the bytes of one: no link out of the folder, no FIFO, no flood."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuready.inputs import InputError
from pytest_gpuready.node.clean import one_line

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence

#: The largest file that is read, in bytes: a report of some thousand nodes. As text of JSON it may hold far less than
#: it takes in memory (`[[],[],…` takes twenty times its size).
SIZE_LIMIT = 256 * 1024 * 1024

#: A file larger than this must say at its beginning that it is one of ours.
LARGE = 8 * 1024 * 1024
_BEGINNING = 65_536
_MARKS = (b'"gpuready_snapshot"', b'"schema"')

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(ValueError):
    """A file that cannot be read; the message is the rest of a sentence about it."""


@dataclass(frozen=True)
class Place:
    """A file that may hold a result: where it is, how reports call it, and whether it was named itself."""

    path: str
    shown: str
    size: int = 0
    named: bool = False


@dataclass
class Found:
    """What was found: results in the order of their names, what cannot be one and why, and the number of others."""

    places: list[Place] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    others: int = 0


def find(arguments: Sequence[str]) -> Found:
    """Every `*.json` below the folders, and every file that is named itself, each once.

    Links are not followed, but for those that are named. `InputError` for an argument that is not there.
    """
    found = Found()
    seen: set[tuple[int, int]] = set()
    abouts = {argument: _about(argument) for argument in arguments}
    roots = [os.path.realpath(argument) for argument in abouts]
    for argument, about in abouts.items():
        if stat.S_ISDIR(about.st_mode):
            _walk(argument, roots, found, seen)
        elif (about.st_dev, about.st_ino) not in seen:
            seen.add((about.st_dev, about.st_ino))
            found.places.append(Place(argument, one_line(argument), about.st_size, named=True))
    return found


def _about(argument: str) -> os.stat_result:
    try:
        return os.stat(argument)  # noqa: PTH116 - a Path drops the ./ that was typed
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file has such a name"
        raise InputError(f"{one_line(argument)}: {why}") from None


def _walk(folder: str, roots: Sequence[str], found: Found, seen: set[tuple[int, int]]) -> None:
    """Without recursion: a folder's depth is bounded by nothing but the length of its path."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        below = []
        for entry in _entries(here, found):
            try:
                about = entry.stat(follow_symlinks=False)
            except OSError as error:
                found.lost.append((one_line(entry.path), f"cannot be looked at: {error.strerror}"))
                continue
            if stat.S_ISDIR(about.st_mode):
                below.append(entry.path)
            elif not entry.name.lower().endswith(".json"):
                found.others += 1
            elif stat.S_ISLNK(about.st_mode):
                if not _inside(entry.path, roots):
                    found.lost.append((one_line(entry.path), "is a link that leads out of the folder"))
            elif not stat.S_ISREG(about.st_mode):
                found.lost.append((one_line(entry.path), f"is {kind(about.st_mode)}"))
            elif (about.st_dev, about.st_ino) not in seen:
                seen.add((about.st_dev, about.st_ino))
                found.places.append(Place(entry.path, one_line(entry.path), about.st_size))
        waiting += reversed(below)


def _entries(folder: str, found: Found) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.lost.append((one_line(folder), f"cannot be listed: {error.strerror}"))
        return []


def _inside(link: str, roots: Sequence[str]) -> bool:
    """Whether a link leads to what is found anyway."""
    target = os.path.realpath(link)
    return Path(target).is_file() and any(target.startswith(f"{root.rstrip('/')}/") for root in roots)


def kind(mode: int) -> str:
    """What something is that is no file."""
    return next((words for test, words in _KINDS if test(mode)), "no file")


def read(place: Place) -> tuple[bytes, float]:
    """The file's bytes and when it was written, seconds since 1970. `UnreadableError` says why there are none."""
    # Without O_NONBLOCK a FIFO that was put there meanwhile would be waited for, for ever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if place.named else os.O_NOFOLLOW)
    try:
        descriptor = os.open(place.path, flags)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise UnreadableError(f"is {kind(about.st_mode)}, no file")
        if about.st_size > SIZE_LIMIT:
            raise UnreadableError(f"is larger than {SIZE_LIMIT // 1024 // 1024} MiB")
        try:
            return b"".join(_pieces(stream, about.st_size)), about.st_mtime
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None


def _pieces(stream: io.FileIO, size: int) -> Iterator[bytes]:
    """The bytes piece by piece; a file may grow while it is read."""
    total = 0
    while piece := stream.read(1024 * 1024):
        if not total and size > LARGE and not any(mark in piece[:_BEGINNING] for mark in _MARKS):
            raise UnreadableError("is large, and does not begin as a snapshot or a JSON report does")
        total += len(piece)
        if total > SIZE_LIMIT:
            raise UnreadableError(f"is larger than {SIZE_LIMIT // 1024 // 1024} MiB")
        yield piece
