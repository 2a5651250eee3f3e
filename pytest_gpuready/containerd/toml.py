r"""TOML as the two Go parsers of containerd read it, with a line for every key and table.

containerd 1.x has pelletier/go-toml v1.9.5 (`Dialect.V1`), containerd 2.x has go-toml v2.2.3 to v2.3.0 (`Dialect.V2`).
They differ from TOML 1.0 and from each other: v1 takes a byte order mark, invalid UTF-8, unsigned 64-bit integers and
new lines in inline tables; v2 takes the escape ``\e`` and looks at a number only where it decodes it. Debian builds
containerd 2.1.9 with go-toml v2.4.3 (`Dialect.V24`): TOML 1.1, and duplicates are noticed everywhere; and 1.6.20 with
v1.9.4 (`Dialect.V194`): no unsigned 64-bit integers, and a word where a value belongs is a panic.

The error text is the parser's own. Positions are those that containerd prints: v1 counts runes, v2 counts bytes.
"""

from __future__ import annotations

import enum
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd._toml import (
    DEPTH,
    Array,
    Moment,
    Parser,
    Table,
    TableArray,
    TomlError,
    TooLarge,
    Unreadable,
)
from pytest_gpuready.containerd._toml_v1 import V1Parser
from pytest_gpuready.containerd._toml_v2 import V2Parser
from pytest_gpuready.containerd._toml_v24 import V24Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "DEPTH",
    "LIMIT",
    "MOST",
    "Dialect",
    "Document",
    "Moment",
    "Table",
    "TableArray",
    "TomlError",
    "TooLarge",
    "Unreadable",
    "loads",
]

LIMIT = 512 << 10
"""Most bytes of settings that are read. containerd has no limit: a larger file is `TooLarge`, not refused."""
MOST = 64 << 20
"""A file of this size is `TooLarge` whatever it holds: nobody reads further."""
_IDLE = re.compile(rb"^(?:\n{2,}|[ \t]*(?:#[\t -~]*)?\r?\n){1,1000}", re.MULTILINE)
"""Lines without a setting; what is not ASCII in a comment may be an error, and stays."""


class Dialect(enum.Enum):
    """Which Go parser to be."""

    V1 = "go-toml v1"
    V194 = "go-toml v1.9.4"
    V2 = "go-toml v2"
    V24 = "go-toml v2.4"


@dataclass(frozen=True)
class Document:
    """A parsed file: `root` is plain Python (dict, list, str, int, float, bool; dates and times are `Moment`).

    `size` counts its tables and values.
    """

    root: Table
    size: int = 0

    def line_of(self, path: Sequence[str | int]) -> int | None:
        """Line (from 1) of the key or table at `path`; None if it is not there."""
        node: Any = self.root
        line: int | None = 1
        for step in path:
            if isinstance(node, Table) and isinstance(step, str) and step in node:
                line, node = node.lines.get(step, node.line), node[step]
            elif isinstance(node, list) and isinstance(step, int) and 0 <= step < len(node):
                node = node[step]
                line = node.line if isinstance(node, Table) else line
            else:
                return None
        return line


def _large(data: bytes, dialect: Dialect, **more: Any) -> Document:
    """A large file without the lines that hold no setting."""
    wrong = TooLarge(f"too large to be looked at: {len(data)} bytes, the limit is {LIMIT} bytes of settings")
    if len(data) >= MOST or b'"""' in data or b"'''" in data:
        raise wrong
    kept: list[bytes] = []
    size = at = dropped = line = 0
    firsts, offsets = [0], [0]
    for idle in _IDLE.finditer(data):
        kept.append(data[at : idle.start()])
        size += len(kept[-1])
        if size > LIMIT:
            raise wrong
        line += kept[-1].count(b"\n")
        dropped += data.count(b"\n", idle.start(), idle.end())
        firsts.append(line + 1)
        offsets.append(dropped)
        at = idle.end()
    if size + len(data) - at > LIMIT:
        raise wrong

    def place(number: int) -> int:
        return number + offsets[bisect_right(firsts, number) - 1]

    try:
        document = loads(b"".join([*kept, data[at:]]), dialect, **more)
    except TomlError as error:
        error.line = place(error.line) if error.line else None
        _moved(error.partial, place)
        raise
    _moved(document.root, place)
    return document


def _moved(node: object, place: Callable[[int], int]) -> None:
    """Put every line back to where it was."""
    if isinstance(node, Table):
        node.line = place(node.line)
        node.lines = {key: place(line) for key, line in node.lines.items()}
    if isinstance(node, Array):
        node.places = [(place(line), column) for line, column in node.places]
    for value in node.values() if isinstance(node, Table) else node if isinstance(node, list) else ():
        _moved(value, place)


def loads(
    data: bytes,
    dialect: Dialect = Dialect.V2,
    *,
    lazy: bool = False,
    skipped: Callable[[list[str]], bool] | None = None,
    end_is_start: bool = False,
) -> Document:
    """Parse `data`.

    The last three are about go-toml v2 only, the last two not about v2.4. `lazy`: numbers and dates that it refuses
    only when they are decoded stay in the document as `Unreadable`. `skipped`: says of a table's name whether
    the decoder has no place for it; duplicate keys in it are not noticed. `end_is_start`: v2.3 places errors
    at the end at row 1 column 1.

    Raises:
        TomlError: the parser refuses it; `TooLarge` where this reader gives up.
    """
    if len(data) > LIMIT:
        return _large(data, dialect, lazy=lazy, skipped=skipped, end_is_start=end_is_start)
    parser: Parser
    if dialect in (Dialect.V1, Dialect.V194):
        parser = V1Parser(data, older=dialect is Dialect.V194)
    elif dialect is Dialect.V24:
        parser = V24Parser(data, lazy=lazy)
    else:
        parser = V2Parser(data, lazy=lazy, skipped=skipped, end_is_start=end_is_start)
    try:
        parser.run()
    except TomlError as error:
        error.partial, error.size = parser.root, parser.size
        raise
    return Document(parser.root, parser.size)
