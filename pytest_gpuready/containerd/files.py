"""The files of a node, as the loader sees them."""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_gpuready.containerd.toml import MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_HOPS = 40
"""Most symbolic links that Linux follows in one path."""


class NotLooked(Exception):  # noqa: N818 - nothing is wrong, it was not gathered (yet)
    """The file or pattern `what` was not gathered (yet)."""

    def __init__(self, what: str) -> None:
        super().__init__(f"not looked at: {what}")
        self.what = what


class BadPattern(ValueError):  # noqa: N818 - Go's name for it
    """Go's filepath.ErrBadPattern."""

    def __init__(self) -> None:
        super().__init__("syntax error in pattern")


class Files(Protocol):
    """Reads the node's files by their absolute paths."""

    def read(self, path: str) -> bytes:
        """The content of `path`, links followed.

        Raises:
            OSError: FileNotFoundError, IsADirectoryError, PermissionError, or one with another errno (ELOOP).
            NotLooked: the file was not gathered.
        """
        ...

    def glob(self, pattern: str) -> list[str]:
        """The paths that match, sorted, as Go's filepath.Glob gives them.

        Raises:
            BadPattern: the pattern is malformed.
            NotLooked: the pattern was not gathered.
        """
        ...


def exists(files: Files, path: str) -> bool:
    """Whether a file is there; its content is nobody's business. A relative path is taken from /."""
    return bool(re.search(r"[*?\[\\]", path) or files.glob(path if path.startswith("/") else f"/{path}"))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """One path element's pattern as a regular expression (Go path/filepath/match.go)."""
    out, i, size = [], 0, len(pattern)
    while i < size:
        c = pattern[i]
        i += 1
        if c == "*":
            out.append("[^/]*")
        elif c == "?":
            out.append("[^/]")
        elif c == "[":
            negated = pattern[i : i + 1] == "^"
            i += negated
            parts: list[str] = []
            while not (pattern[i : i + 1] == "]" and parts):
                low, i = _element(pattern, i)
                high = low
                if pattern[i : i + 1] == "-":
                    high, i = _element(pattern, i + 1)
                parts.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
            i += 1
            body = "".join(parts)
            out.append((f"[^{body}]" if negated else f"[{body}]") if body else ("[\\s\\S]" if negated else "(?!)"))
        elif c == "\\":
            if i >= size:
                raise BadPattern
            out.append(re.escape(pattern[i]))
            i += 1
        else:
            out.append(re.escape(c))
    return re.compile("".join(out), re.DOTALL)


def _element(pattern: str, i: int) -> tuple[str, int]:
    """One character of a character class."""
    c = pattern[i : i + 1]
    if c in ("", "-", "]"):
        raise BadPattern
    if c == "\\":
        i += 1
        c = pattern[i : i + 1]
        if not c:
            raise BadPattern
    if i + 1 >= len(pattern):
        raise BadPattern
    return c, i + 1


def go_glob(pattern: str, listed: Callable[[str], Iterable[str]], exists: Callable[[str], bool]) -> list[str]:
    """Go's filepath.Glob: `listed` gives the names in a directory (none if it cannot be read)."""
    _compiled(pattern)
    if not re.search(r"[*?\[\\]", pattern):
        return [pattern] if exists(pattern) else []
    directory, name = posixpath.split(pattern)
    directory = directory or "."
    if directory == pattern:
        raise BadPattern
    folders = go_glob(directory, listed, exists) if re.search(r"[*?\[\\]", directory) else [directory]
    match = _compiled(name).fullmatch
    return [
        entry if folder == "." else posixpath.join(folder, entry)
        for folder in folders
        for entry in sorted(listed(folder))
        if match(entry)
    ]


def names_in(paths: Iterable[str], folder: str) -> set[str]:
    """The names in a folder on the way to any of these paths."""
    inside = folder.rstrip("/") + "/"
    return {path[len(inside) :].split("/", 1)[0] for path in paths if path.startswith(inside)}


def names_by_folder(paths: Iterable[str]) -> defaultdict[str, set[str]]:
    """The names in every folder on the way to any of these absolute paths."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        while name and name not in names[folder or "/"]:
            names[folder or "/"].add(name)
            folder, _, name = folder.rpartition("/")
    return names


class MemoryFiles:
    """Files held in memory, for tests and for what was gathered.

    `content` maps absolute paths to bytes or to the OSError that reading raises. With `complete` everything else is
    missing; without, it is `NotLooked`, as are patterns that are not in `globs`.
    """

    def __init__(
        self,
        content: Mapping[str, bytes | OSError],
        *,
        complete: bool = True,
        globs: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.content, self.complete, self.globs = dict(content), complete, dict(globs or {})

    def read(self, path: str) -> bytes:
        """See `Files.read`."""
        found = self.content.get(path)
        if found is None:
            if not self.complete:
                raise NotLooked(path)
            if any(other.startswith(path.rstrip("/") + "/") for other in self.content):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if isinstance(found, OSError):
            raise found
        return found

    def glob(self, pattern: str) -> list[str]:
        """See `Files.glob`."""
        if pattern in self.globs:
            return sorted(self.globs[pattern])
        if not self.complete:
            raise NotLooked(pattern)
        return go_glob(pattern, self._listed, lambda path: path in self.content or bool(self._listed(path)))

    def _listed(self, folder: str) -> set[str]:
        return names_in(self.content, folder)


class RootFiles:
    """A directory that holds a node's files at their absolute paths. Links resolve inside it and never leave it."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.realpath(root))

    def _resolve(self, path: str) -> Path:
        """The file on this machine that `path` is on the node."""
        parts = path.split("/")
        parts.reverse()
        done: list[str] = []
        hops = 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if done:
                    done.pop()
                continue
            here = self.root.joinpath(*done, part)
            if not here.is_symlink():
                done.append(part)
                continue
            hops += 1
            if hops > _HOPS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = str(here.readlink())
            if target.startswith("/"):
                done = []
            parts.extend(reversed(target.split("/")))
        return self.root.joinpath(*done)

    def read(self, path: str) -> bytes:
        """See `Files.read`. What is no regular file (a pipe, a device) is not opened: PermissionError."""
        found = self._resolve(path)
        if found == self.root / "dev/null" and not os.path.lexists(found):
            return b""  # every node has it: a link to it puts a drop-in out of force
        if found.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if found.exists() and not found.is_file():
            raise PermissionError(errno.EACCES, "not a regular file", path)
        try:
            with found.open("rb") as file:
                return file.read(MOST)
        except OSError as error:
            code = error.errno or errno.EIO
            raise OSError(code, os.strerror(code), path) from None

    def glob(self, pattern: str) -> list[str]:
        """See `Files.glob`."""
        return go_glob(pattern, self._listed, self._exists)

    def _listed(self, folder: str) -> list[str]:
        try:
            return [entry.name for entry in self._resolve(folder).iterdir()]
        except OSError:
            return []

    def _exists(self, path: str) -> bool:
        folder, name = posixpath.split(path.rstrip("/"))
        try:
            return os.path.lexists(self._resolve(folder) / name)
        except OSError:
            return False
