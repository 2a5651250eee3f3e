"""Parsed files, kept by their content: a judging parses each file once for every Go parser that it asks about.

The loader reads a node's files again for every release in question and for every edit that a remedy tries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuready.containerd.toml import Dialect, Document, TomlError, loads
from pytest_gpuready.kept import Kept

if TYPE_CHECKING:
    from pytest_gpuready.containerd.releases import Release

_DIALECTS = {1: Dialect.V1, 2: Dialect.V2, 23: Dialect.V2, 24: Dialect.V24}
_PER_SETTING = 1000
"""What a table or a value takes, about, in bytes."""


class Parsed(NamedTuple):
    """A file's document as far as it was read, and the refusal that ended it, if any."""

    document: Document
    error: TomlError | None


_kept: Kept[Parsed] = Kept(16 << 20)


def parsed(data: bytes, release: Release) -> Parsed:
    """The file as the Go parser of this release reads it; numbers and dates are decoded later."""
    return _kept.get(
        (data, release),
        lambda: _parse(data, release),
        lambda found: len(data) + found.document.size * _PER_SETTING,
    )


def _parse(data: bytes, release: Release) -> Parsed:
    try:
        document = loads(
            data,
            Dialect.V194 if release.go_toml_194 else _DIALECTS[release.go_toml],
            lazy=True,
            skipped=release.schema.skips,
            end_is_start=release.go_toml == 23,
        )
    except TomlError as error:
        return Parsed(Document(error.partial, error.size), error)
    return Parsed(document, None)
