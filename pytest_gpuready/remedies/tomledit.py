"""Edits of existing TOML made by tomlkit, comments kept, and the one targeted command that makes the very same bytes.

tomlkit only proposes. Of what it makes of a file, the words and lines that were asked for are taken, and not that it
indents tables anew; the loader then proves the result like any other. Where it cannot help (it refuses files that
containerd takes, tomlkit issue 571, and those with a byte order mark; it moves keys, issues 556 and 588), a remedy goes
on to its next proposal: a line by `edits.set_value` or `edits.insert_after`. New tables at the end of a file are never
tomlkit's (`edits.append`): it would put them amid others, and the file is longer by them and else the same as it is.
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING, Any

from pytest_gpuready.quoting import append_by_sed, escape_sed_pattern, escape_sed_replacement, quote
from pytest_gpuready.remedies.edits import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tomlkit import TOMLDocument

#: What a word of TOML is made of: a command names whole words, not the letters in which two of them differ.
_WORD = re.compile(r"[A-Za-z0-9_./\"'+-]")
#: Longest text of the file that a command names, in characters.
_LONGEST = 200
#: Longest file of which what was made is kept, in bytes.
_KEPT = 65_536
#: Most lines that tomlkit is given: its time grows with the square of arrays of tables. containerd's own has some 300.
_MOST_LINES = 1000


def by_tomlkit(path: str, old: bytes, edit: Callable[[TOMLDocument], None]) -> Change | None:
    """The change that `edit` makes of a file; None where tomlkit does not take it or no targeted command does the same.

    `edit` may raise LookupError, TypeError or ValueError where the document is not shaped as it thought.
    """
    if old.count(b"\n") > _MOST_LINES:
        return None
    import tomlkit  # noqa: PLC0415 - 30 ms that only a remedy needs
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        text = old.decode()
        document = tomlkit.parse(text)
        before = tomlkit.dumps(document)
        edit(document)
        new = tomlkit.dumps(document)
    except (TOMLKitError, LookupError, TypeError, ValueError, AttributeError, AssertionError, RecursionError):
        # Beside its own errors tomlkit 0.12 to 0.15 has let all of these out.
        return None
    if _bare(before) != _bare(text):
        return None
    script = targeted(before, new)
    if script is None:
        return None
    words = quote(script[0]) if len(script) == 1 else " ".join(f"-e {quote(one)}" for one in script)
    return Change(path, sed(text, script).encode(), f"sed -i {words} {quote(path)}")


def put(document: Any, keys: Sequence[str], value: str | bool | int) -> None:  # noqa: FBT001
    """Set a key of a table that is there; the key may be new, and so may a handler's table of options.

    Raise LookupError where a table is missing, where the last one has no header of its own, and for a new key of a
    table in several parts. Releases of tomlkit place such headers and keys differently; a remedy must be the same.
    """
    import tomlkit  # noqa: PLC0415 - see by_tomlkit
    from tomlkit.container import OutOfOrderTableProxy  # noqa: PLC0415
    from tomlkit.items import Table  # noqa: PLC0415

    table = document
    for key in keys[:-1]:
        if key == "options" and key not in table:
            table[key] = tomlkit.table()
        table = table[key]
    implicit = isinstance(table, Table) and table.is_super_table()
    if implicit or (isinstance(table, OutOfOrderTableProxy) and keys[-1] not in table):
        raise LookupError(keys[-1])
    table[keys[-1]] = value


def settings(path: str, old: bytes, table: Sequence[str], key: str, value: str | bool) -> Iterator[Change]:  # noqa: FBT001
    """The ways to set a key of a table: as it is spelt there (options are read in several cases), else as a new key."""
    if any(part.encode() not in old for part in table if part != "options"):
        return
    # The nodes of a fleet have equal files: what was made of one is made of all. A file of unusual size is not kept.
    spelt, put_into = (_spelt, _set) if len(old) <= _KEPT else (_spelt.__wrapped__, _set.__wrapped__)
    # containerd 2.x takes the spelling that is the last in byte order.
    for name in [key, *sorted(spelt(old, tuple(table), key), reverse=True)]:
        change = put_into(path, old, (*table, name), value)
        if change is not None:
            yield change


@functools.lru_cache(maxsize=64)
def _spelt(old: bytes, table: tuple[str, ...], key: str) -> tuple[str, ...]:
    """How else the key is spelt in the table."""
    found: list[str] = []

    def look(document: TOMLDocument) -> None:
        place: Any = document
        for part in table:
            place = place[part]
        found.extend(name for name in place if name != key and name.lower() == key.lower())

    by_tomlkit("", old, look)
    return tuple(found)


@functools.lru_cache(maxsize=64)
def _set(path: str, old: bytes, keys: tuple[str, ...], value: str | bool) -> Change | None:  # noqa: FBT001
    return by_tomlkit(path, old, lambda document: put(document, keys, value))


def keep(path: str, old: bytes, key: str, wanted: Callable[[str], str | None]) -> Change | None:
    """Change the texts of an array at the top: what `wanted` makes None of is taken out."""

    def edit(document: TOMLDocument) -> None:
        array: Any = document[key]
        for at in reversed(range(len(array))):
            text = str(array[at])
            new = wanted(text)
            if new is None:
                del array[at]
            elif new != text:
                array[at] = new

    return by_tomlkit(path, old, edit)


def targeted(old: str, new: str) -> list[str] | None:
    """The commands of sed that make `new` of `old` but for indents; None where other than words and lines changed."""
    before, after = _bare(old), _bare(new)
    inside = new.split("\n")
    script: list[str] = []
    for kind, i, j, m, n in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "delete":
            script.append(f"{i + 1}d" if j == i + 1 else f"{i + 1},{j}d")
        elif kind == "insert":
            script.extend(_insertions(i, inside[m:n]))
        elif kind == "replace":
            lines = zip(range(i + 1, j + 1), before[i:j], after[m:n], strict=False)
            script.extend(_word(*line) for line in lines)
    # Where one line took the place of two, that is none of these.
    if not script or "" in script or _bare(sed(old, script)) != after:
        return None
    return script


def _bare(text: str) -> list[str]:
    return [line.lstrip(" \t") for line in text.split("\n")]


def _insertions(line: int, texts: list[str]) -> Iterator[str]:
    for text in texts:
        # sed has no line before the first to add after, and adds none that is empty.
        yield append_by_sed(line, text) if text.strip() and _plain(text) else ""


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _word(number: int, old: str, new: str) -> str:
    """`s|old|new|` of the words in which two lines differ; "" where that is not sure."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    while start and _WORD.match(old[start - 1]):
        start -= 1
    while end and _WORD.match(old[len(old) - end]):
        end -= 1
    # sed changes the first that fits, so what stands before it must not; nor is nothing a text to change.
    while old.find(old[start : len(old) - end]) != start:
        start -= 1
    gone, come = old[start : len(old) - end], new[start : len(new) - end]
    if not gone or "|" in gone + come or len(gone) > _LONGEST or not _plain(gone + come):
        return ""
    return f"{number}s|{escape_sed_pattern(gone)}|{escape_sed_replacement(come)}|"


_COMMAND = re.compile(r"(?P<first>[0-9]+)(,(?P<last>[0-9]+))?(?P<verb>[das])(?P<rest>.*)", re.DOTALL)


def sed(old: str, script: list[str]) -> str:
    """What these commands make of a text, as GNU's and busybox' sed do."""
    ended = old.endswith("\n")
    lines: list[list[str]] = [[line] for line in (old[:-1] if ended else old).split("\n")]
    for command in script:
        found = _COMMAND.fullmatch(command)
        assert found is not None  # noqa: S101 - made above
        first, last = int(found["first"]), int(found["last"] or found["first"])
        if not 1 <= first <= len(lines):
            return old
        if found["verb"] == "d":
            for group in lines[first - 1 : last]:
                del group[0]
        elif found["verb"] == "a":
            lines[first - 1].append(re.sub(r"\\(.)", r"\1", found["rest"][1:]))
            ended = ended or first == len(lines)  # sed ends a last line that had no end
        else:
            _, gone, come, _ = found["rest"].split("|")
            plain = [re.sub(r"\\(.)", r"\1", part) for part in (gone, come)]
            lines[first - 1][0] = lines[first - 1][0].replace(plain[0], plain[1], 1)
    return "\n".join(line for group in lines for line in group) + ("\n" if ended else "")
