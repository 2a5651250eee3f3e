"""Files that a run writes: whole or not at all, readable by their owner only, and never through a link.

Loaded by every pytest run: nothing heavy is imported here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NULL = "/dev/null"
#: Streams that have a name as a file.
_STREAMS = {"/dev/stdout": "stdout", "/dev/stderr": "stderr"}

#: Folders whose entries the kernel makes. /dev/shm is a disk like others.
_NO_DISK = re.compile(r"/dev(?:/fd)?|/(?:proc|sys)(?:/.*)?")

_KINDS = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISFIFO, "is a FIFO"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)


def place(typed: str) -> str:
    """Return where a report for programs or chats goes; standard output is `-` under each of its names."""
    return "-" if typed == "/dev/stdout" else typed


def is_stream(path: Path) -> bool:
    """Return whether a path names no file of a folder: /dev/null, or a standard stream."""
    return str(path) == _NULL or str(path) in _STREAMS


def refusal(path: Path) -> str | None:
    """Return why no report can be written at a path, as the rest of a sentence; None: one can."""
    if is_stream(path):
        return None
    try:
        if path.is_dir():
            return "is a directory"
        if _NO_DISK.fullmatch(os.path.realpath(path.parent)):
            return "is no place for a file"
        mode = path.lstat().st_mode
    except OSError:
        return None  # nothing lies there yet; what else is wrong, writing says
    except ValueError:
        return "cannot be the name of a file"
    return None if stat.S_ISLNK(mode) else _kind(mode)


def _kind(mode: int) -> str | None:
    return next((words for test, words in _KINDS if test(mode)), None)


def write(path: Path, text: str | Iterable[str]) -> None:
    """Write a file whole or not at all, readable by its owner only; a link at its place is replaced, never followed.

    The text may come in pieces. /dev/stdout and /dev/stderr are this process's streams, /dev/null takes everything.

    Raises:
        OSError: It could not be written; `strerror` says why.
    """
    pieces = [text] if isinstance(text, str) else text
    if _to_stream(path, pieces):
        return
    if why := refusal(path):
        raise OSError(errno.EINVAL, f"it {why}")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".gpuready-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(pieces)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def append(path: Path, make: Callable[[int], str]) -> None:
    """Add a text to the end of another program's file, whole or not at all; `make` is given the file's size.

    Raises:
        OSError: It could not be added; `strerror` says why.
    """
    if str(path) == _NULL or str(path) in _STREAMS:
        _to_stream(path, [make(0)])
        return
    # Without O_NONBLOCK a FIFO would be waited for, without an end.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link") from None
        raise
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, f"it {_kind(about.st_mode)}")
        rest = make(about.st_size).encode("utf-8", "backslashreplace")
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            os.ftruncate(descriptor, about.st_size)
            raise
    finally:
        os.close(descriptor)


def _to_stream(path: Path, pieces: Iterable[str]) -> bool:
    """Write to the stream that the path names; False: it names a file."""
    if str(path) == _NULL:
        return True
    if str(path) not in _STREAMS:
        return False
    stream = getattr(sys, _STREAMS[str(path)])
    encoding = stream.encoding or "utf-8"
    for piece in pieces:
        stream.write(piece.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
    return True
