"""What a live run printed, as sections: each a name, bytes, a status and its time. Pure; it raises for nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.live.script import FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = re.compile(rb"(?:^|\n)" + FIRST.encode() + rb" ([0-9a-f]{24})\n")
_END = re.compile(rb"e (\S+) (\d{1,3}) (\d{1,12}(?:\.\d{1,6})?) (\d{1,12}(?:\.\d{1,6})?)$")


@dataclass(frozen=True)
class Section:
    """A part of the run. `rc` is None where it did not come to its end; `seconds` as long as it took."""

    name: str
    data: bytes
    rc: int | None
    seconds: float = 0.0

    @property
    def timed_out(self) -> bool:
        """Its deadline ended it: timeout's own status, or that of the signal."""
        return self.rc in (124, 137, 143)


def sections(data: bytes) -> Mapping[str, Section] | None:
    """The sections by name, in their order; None if this is no live run's answer."""
    head = _HEAD.search(data)
    if head is None:
        return None
    mark = b"\n" + head[1] + b" "
    found: dict[str, Section] = {}
    name = ""
    # The nonce is the run's own: nothing that a container prints can begin or end a section.
    for piece in data[head.end() - 1 :].split(mark)[1:]:
        line, _, rest = piece.partition(b"\n")
        if line.startswith(b"b "):
            name = line[2:].decode("ascii", "replace")
            found[name] = Section(name, rest, None)
            continue
        end = _END.match(line)
        if end is not None and name == end[1].decode("ascii", "replace"):
            began, ended = float(end[3]), float(end[4])
            found[name] = Section(name, found[name].data, int(end[2]), max(0.0, ended - began))
            name = ""
    return found
