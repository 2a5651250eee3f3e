"""containerd's configuration files as facts, and as the loader asks for them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.files import NotLooked, go_glob, names_by_folder
from pytest_gpuready.node.facts import Request, file, files

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Facts

#: Largest configuration file that is read, in bytes.
CONFIG_LIMIT = 8 * 1024 * 1024


class FactFiles:
    """The gathered files, as the loader asks for them."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        #: Every pattern that was asked for: where drop-ins are, or were.
        self.patterns: set[str] = set()

    def read(self, path: str) -> bytes:
        """The file's bytes; see `pytest_gpuready.containerd.files.Files`."""
        request = config_file(path)
        if request not in self.facts:
            raise NotLooked(path)
        fact = self.facts.fact(request)
        if fact.state == "absent":
            raise FileNotFoundError(errno.ENOENT, "no such file or directory", path)
        if fact.state == "odd":
            if "directory" in fact.note:
                raise IsADirectoryError(errno.EISDIR, "is a directory", path)
            if "symbolic" in fact.note:
                raise OSError(errno.ELOOP, "too many levels of symbolic links", path)
            raise OSError(errno.EIO, fact.note or "cannot be read", path)
        return fact.data

    def glob(self, pattern: str) -> list[str]:
        """The matching paths; see `pytest_gpuready.containerd.files.Files`."""
        request = config_glob(pattern)
        if request not in self.facts:
            raise NotLooked(pattern)
        self.patterns.add(pattern)
        # The shell's matches are a superset of Go's: they are matched again by Go's rules.
        found = set(self.facts.glob(pattern, kind="files"))
        return go_glob(pattern, names_by_folder(found).__getitem__, found.__contains__)


def config_file(path: str) -> Request:
    """A configuration file."""
    return file(path, limit=CONFIG_LIMIT)


def config_glob(pattern: str) -> Request:
    """The files that an import's pattern names."""
    return files(pattern, limit=CONFIG_LIMIT)
