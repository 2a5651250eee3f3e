"""The newest CDI version that each reader's release takes, from the go.mod of every tag.

A release reads what its copy of specs-go knows; a newer `cdiVersion` is `invalid version` to it.
"""

from __future__ import annotations

#: containerd and its ctr: from this release on (within its minor line), this is the newest version.
CONTAINERD: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((1, 7, 0), (0, 5, 0)),
    ((1, 7, 12), (0, 6, 0)),
    ((1, 7, 16), (0, 7, 0)),
    ((1, 7, 27), (0, 8, 0)),
    ((2, 0, 0), (0, 8, 0)),
    ((2, 0, 5), (1, 0, 0)),
    ((2, 2, 1), (1, 1, 0)),
)

#: nvidia-container-toolkit likewise.
TOOLKIT: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((1, 10, 0), (0, 3, 0)),
    ((1, 11, 0), (0, 4, 0)),
    ((1, 12, 0), (0, 5, 0)),
    ((1, 14, 0), (0, 6, 0)),
    ((1, 15, 0), (0, 7, 0)),
    ((1, 16, 0), (0, 8, 0)),
    ((1, 18, 0), (1, 0, 0)),
    ((1, 18, 2), (1, 1, 0)),
)


def newest(
    table: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...], release: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The newest CDI version that a release takes; None for one older than the table."""
    found = None
    for first, version in table:
        if release >= first:
            found = version
    return found
