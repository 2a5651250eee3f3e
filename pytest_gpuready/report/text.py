"""Text for people: how wide it is, how it is wrapped, how many node names become one, and a page of lines."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_gpuready.node.clean import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Style = Literal["plain", "bold", "good", "bad", "warn", "dim"]

#: Columns before the text of a page's field.
FIELD = 12

#: A word that is a path is never broken: it is there to be copied.
_PATH = re.compile(r"""['"(]*/""")
_NUMBER = re.compile(r"[0-9]+")
#: Where a line may end: at a single blank. Two blanks stand between columns and stay.
_BREAK = re.compile(r"(?<=\S) (?=\S)")


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def cut(text: str, width: int) -> str:
    """The text on at most `width` columns, an ellipsis at its end where it was longer."""
    if columns(text) <= width:
        return text
    return f"{text[: _fit(text, width - 1)].rstrip()}…"


def _fit(text: str, width: int, start: int = 0) -> int:
    """Where what fits into `width` columns from `start` on ends."""
    taken = 0
    for end in range(start, len(text)):
        taken += columns(text[end])
        if taken > width:
            return end
    return len(text)


def wrapped(text: str, width: int, *, first: str = "", rest: str | None = None) -> list[str]:
    """The words of the text in lines of at most `width` columns, indented by `first` and `rest` (default: as wide).

    A line ends at single blanks only: two of them hold a column apart. A word longer than a line is broken, unless it
    is a path. No words give the first indent alone.
    """
    indent = " " * columns(first) if rest is None else rest
    lines: list[str] = []
    line, empty = first, True
    for word in _pieces(text, max(width - max(columns(first), columns(indent)), 8)):
        if not empty and columns(line) + 1 + columns(word) > width:
            lines.append(line)
            line, empty = indent, True
        line += word if empty else f" {word}"
        empty = False
    return [*lines, line.rstrip()]


def folded_hard(text: str, width: int) -> list[str]:
    """One line of output cut into pieces of `width` columns, its blanks kept."""
    pieces: list[str] = []
    text, start = text.expandtabs(8), 0
    # A character that is wider than the line is alone on its own.
    while (end := max(_fit(text, width, start), start + 1)) < len(text):
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def _pieces(text: str, width: int) -> Iterator[str]:
    """The words, those that no line can hold in pieces: after a comma if there is one, else anywhere."""
    for word in _BREAK.split(text.strip()):
        start = 0
        while (end := _fit(word, width, start)) < len(word) and not _PATH.match(word, start):
            end = word.rfind(",", start, end) + 1 or end
            yield word[start:end]
            start = end
        if start < len(word):
            yield word[start:]


def listed(items: Iterable[str], width: int) -> str:
    """The items with commas, as many as `width` columns hold, then how many more there are. At least one is named."""
    names = list(items)
    for number in range(len(names), 1, -1):
        more = f" and {len(names) - number} more" if number < len(names) else ""
        if columns(text := ", ".join(names[:number]) + more) <= width:
            return text
    return (names[0] if names else "") + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def node_set(labels: Iterable[str]) -> str:
    """Names of nodes as one short text that `--hosts` expands again: `ssh://gpu[001-003,007]`.

    Names that differ in one number fold; those that hold brackets of their own stay as they are.
    """
    names = list(dict.fromkeys(labels))
    shapes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        for shape, number in _shapes(name):
            shapes[shape].append(number)
    folded: dict[str, None] = {}
    done: set[str] = set()
    for name in names:
        if name in done:
            continue
        # The number that most names differ in; the last one, where it makes no difference.
        best = max(reversed([*_shapes(name)]), key=lambda found: len(shapes[found[0]]), default=None)
        if best is None or len(shapes[best[0]]) == 1:
            folded[name] = None
            continue
        head, tail = best[0]
        numbers = [number for number in shapes[best[0]] if f"{head}{number}{tail}" not in done]
        done.update(f"{head}{number}{tail}" for number in numbers)
        folded[f"{head}[{_ranges(numbers)}]{tail}" if len(numbers) > 1 else name] = None
    return ",".join(folded)


def _shapes(name: str) -> Iterator[tuple[tuple[str, str], str]]:
    if "[" not in name and "," not in name:
        for match in _NUMBER.finditer(name):
            yield (name[: match.start()], name[match.end() :]), match[0]


def _ranges(numbers: list[str]) -> str:
    """Numbers as `001-003,007`; a range's end has the zeros that its beginning asks for."""
    runs: list[list[str]] = []
    for number in sorted(numbers, key=lambda text: (int(text), len(text))):
        if runs and number == str(int(runs[-1][-1]) + 1).zfill(len(runs[-1][0])):
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


class Line(NamedTuple):
    """One line without its newline, and how it may be painted."""

    text: str
    style: Style = "plain"


class Page:
    """The lines so far, and how wide and how detailed they are to be."""

    def __init__(self, width: int, verbosity: int) -> None:
        self.width = width
        self.verbosity = verbosity
        self.lines: list[Line] = []

    def add(self, text: str, style: Style = "plain") -> None:
        """One line as it is; whatever got into it, it stays one line of plain text."""
        self.lines.append(Line(clean(text).replace("\n", " ").rstrip(), style))

    def blank(self) -> None:
        """An empty line, unless one stands there already."""
        if self.lines and self.lines[-1].text:
            self.lines.append(Line(""))

    def heading(self, text: str) -> None:
        """A section's first line."""
        self.blank()
        self.prose(text, "bold")

    def prose(self, text: str, style: Style = "plain", *, first: str = "", rest: str | None = None) -> None:
        """Words, wrapped."""
        for line in wrapped(text, self.width, first=first, rest=rest):
            self.add(line, style)

    def field(self, name: str, text: str, style: Style = "plain") -> None:
        """A named line of a root cause."""
        self.prose(text, style, first=f"  {name}".ljust(FIELD))

    def verbatim(self, text: str, style: Style = "plain", indent: str = "") -> None:
        """Lines to be copied: never broken; tabs and trailing blanks stay."""
        for line in clean(text).strip("\n").split("\n"):
            self.lines.append(Line(f"{indent}{line}", style))
