"""Proposals for files that containerd refuses: a line put right or taken out, another version, a drop-in put aside.

Each is a sentence and its changes; none is shown before the loader has proven it (`edits.Workshop`).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, TypeAlias

from pytest_gpuready.quoting import quote
from pytest_gpuready.remedies.edits import Change, comment_out, on_line, only, set_value, table_end
from pytest_gpuready.remedies.tomledit import by_tomlkit, keep, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_gpuready.containerd.model import Loaded
    from pytest_gpuready.remedies.edits import Workshop

#: A sentence without its end, and the changes that it is about.
Proposal: TypeAlias = "tuple[str, list[Change]]"

#: The CRI plugin's id by the version of the file, from the newest that a root file may declare everywhere on.
_IDS = {3: "io.containerd.cri.v1.runtime", 2: "io.containerd.grpc.v1.cri"}
_VERSION = re.compile(r"\s*[\"']?version[\"']?\s*=")


def alive(after: Loaded) -> bool:
    """Neither CRI's table nor one by a short name is without effect as a whole.

    A file of another version would load, and do nothing; a plugin that this release has not is no such sign.
    """
    whole = re.compile(r'plugins\.("?[^".]+"?|"?io\.containerd\.(grpc\.v1\.cri|cri\.v1\.(runtime|images))"?)')
    return not any(whole.fullmatch(item.key) and item.kind != "disabled" for item in after.ineffective)


def repairs(shop: Workshop, path: str, line: int, said: str, *, several: bool) -> Iterator[Proposal]:
    """What a refused line may want: its end, another version, an entry less; else lines out.

    A table goes as a whole where its header is refused (`several`: a snippet of tables that was pasted twice). Where a
    line in it is, what else the table sets goes with it only if nothing smaller helps; what stands before all tables,
    such as `root`, never does.
    """
    old = shop.text(path)
    if old is None:
        return
    yield from _endings(path, old, line)
    text = old.decode("utf-8", "replace").split("\n")
    if any(map(_VERSION.match, text[line - 1 : line])):
        for version in (3, 2):
            yield from _declared(path, old, version, line)
    if "invalid plugin key URI" in said:
        yield from _declared(path, old, 1)
    yield from _entries(path, old, said)
    ends = [table_end(old, line)]
    for _ in range(5 if several else 0):
        ends.append(table_end(old, ends[-1] + 1))
    tables = [(line, end) for end in ends]
    header = _is_header(old, line)
    yield from _lines_out(path, old, [(line, line), *(tables if header else ()), (line - 1, line), (line, line + 1)])
    yield from _translated(path, old)
    yield f"Comment out what does not load in {path}", _line_after_line(shop, path, old, line)
    if any(_is_header(old, above) for above in range(1, line)):
        yield from _lines_out(path, old, tables)


def _is_header(text: bytes, line: int) -> bool:
    """Whether a table begins on a line."""
    return any(re.match(rb"\s*\[", found) for found in text.split(b"\n")[line - 1 : line])


def _endings(path: str, old: bytes, line: int) -> Iterator[Proposal]:
    for mark in ('"', "'"):
        change = on_line(path, old, line, f"s/][[:space:]]*$/{mark}]/", _closing(mark))
        yield f"Close the string in line {line} of {path}", only(change)
    for ending in ("]", '"', "'", '"]', "']", "]]"):
        # Before a comment, then at the end of the line.
        before = on_line(
            path,
            old,
            line,
            rf"s/^([^#]*[^#[:space:]])([[:space:]]*#.*)$/\1{ending}\2/",
            lambda text, ending=ending: re.sub(r"^([^#]*[^#\s])(\s*#.*)$", rf"\1{ending}\2", text),  # type: ignore[misc]
            extended=True,
        )
        last = on_line(path, old, line, f"s/$/{ending}/", f"{{}}{ending}".format)
        for change in (before, last):
            yield f"Close what line {line} of {path} leaves open", only(change)


def _closing(mark: str) -> Callable[[str], str]:
    """Puts a quotation mark before the bracket that ends a line."""
    return lambda text: re.sub(r"\][ \t\r]*$", f"{mark}]", text)


def _declared(path: str, old: bytes, version: int, line: int | None = None) -> Iterator[Proposal]:
    change = by_tomlkit(path, old, lambda document: put(document, ["version"], version))
    if change is None and line is not None:
        change = set_value(path, old, line, str(version))
    yield f"Declare version {version} in {path}", only(change)


def other_versions(shop: Workshop, paths: list[str]) -> Iterator[Proposal]:
    """Another version in one of the files: for a daemon that panics, and says no place."""
    for path in paths:
        old = shop.text(path)
        if old is not None and re.search(rb"(?m)^[ \t]*version[ \t]*=", old):
            for version in (3, 2):
                yield from _declared(path, old, version)


def _entries(path: str, old: bytes, said: str) -> Iterator[Proposal]:
    """Entries of arrays that containerd stumbles over: a folder or a missing file that is imported, a short name."""

    def resolved(entry: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), entry))

    folder = re.search(r"read (/[^:]+): is a directory", said)
    if folder:
        change = keep(path, old, "imports", lambda e: f"{folder[1]}/*.toml" if resolved(e) == folder[1] else e)
        yield f"Import the files of {folder[1]}, not the folder", only(change)
        change = keep(path, old, "imports", lambda e: None if resolved(e) == folder[1] else e)
        yield f"Import no folder ({folder[1]})", only(change)
    missing = re.search(r"open (/[^:]+): no such file", said)
    if missing:
        change = keep(path, old, "imports", lambda e: None if resolved(e) == missing[1] else e)
        yield f"Import no file that is not there ({missing[1]})", only(change)
    required = re.search(r"required plugin \[([^\]]*)\] not included", said)
    if required:
        gone = required[1].split()
        change = keep(path, old, "required_plugins", lambda e: None if e in gone else e)
        yield f"Take {', '.join(gone)} out of required_plugins", only(change)
    short = re.search(r'invalid (disabled|required) plugin URI "([^"]*)"', said)
    if short:
        change = keep(path, old, f"{short[1]}_plugins", lambda e: None if e == short[2] else e)
        yield f'Take "{short[2]}" out of {short[1]}_plugins', only(change)


def _lines_out(path: str, old: bytes, spans: Iterable[tuple[int, int]]) -> Iterator[Proposal]:
    for first, last in spans:
        span = f"line {first}" if first == last else f"lines {first} to {last}"
        yield f"Comment out {span} of {path}", only(comment_out(path, old, first, last))


def _line_after_line(shop: Workshop, path: str, old: bytes, line: int) -> list[Change]:
    """Up to six lines that do not load, each found when those before it are out; of a header its whole table."""
    new, script = old, []
    for _ in range(6):
        last = table_end(new, line) if _is_header(new, line) else line
        change = comment_out(path, new, line, last)
        if change is None:
            break
        new = change.new or b""
        script.append(f"-e {quote(f'{line}s/^/# /' if last == line else f'{line},{last}s/^/# /')}")
        whole = Change(path, new, f"sed -i {' '.join(script)} {quote(path)}")
        after = shop.after([whole])
        if after is None or after.error is None:
            return [whole]
        if after.error.path != path:
            break
        line = after.error.line or 0
    return []


def _translated(path: str, old: bytes) -> Iterator[Proposal]:
    """The same file in another version: its number, and the CRI plugin's id in its tables."""
    lines = old.split(b"\n")
    number = next((n for n, line in enumerate(lines, 1) if _VERSION.match(line.decode("utf-8", "replace"))), None)
    for version, plugin in _IDS.items():
        other = _IDS[5 - version]
        new, script = old, []
        if number is not None:
            changed = set_value(path, old, number, str(version))
            if changed is not None and changed.new is not None:
                new = changed.new
                script.append(f"{number}s|=.*|= {version}|")
        if other.encode() in new:
            new = new.replace(other.encode(), plugin.encode())
            script.append(f"s|{other.replace('.', '[.]')}|{plugin}|g")
            words = " ".join(f"-e {quote(one)}" for one in script)
            change = Change(path, new, f"sed -i {words} {quote(path)}")
            yield f"Turn {path} into a file of version {version}", [change]
