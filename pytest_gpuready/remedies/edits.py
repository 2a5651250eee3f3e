"""Proposed edits of containerd's configuration, proven before they are shown.

A proposal is made on a copy of the gathered files, and the loader reads the copy: it is shown only if what was missing
is then there and nothing else that is loaded has changed. Each change is one targeted command, alike for GNU's and
busybox' sed; a unified diff explains it.
"""

from __future__ import annotations

import difflib
import errno
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_gpuready import budget
from pytest_gpuready.containerd.files import NotLooked, go_glob, names_in
from pytest_gpuready.containerd.load import load
from pytest_gpuready.model import Denied, Edit, Undetermined
from pytest_gpuready.quoting import append_by_sed, escape_sed_replacement, here_document, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_gpuready.containerd.files import Files
    from pytest_gpuready.containerd.model import Loaded

#: What is put behind the name of a file that is put aside.
ASIDE = ".disabled"
#: What may go wrong when a file is read that was not gathered, is not there, or cannot be read.
_UNREAD = (NotLooked, Undetermined, Denied, OSError)


#: Longest file that is edited, in bytes; containerd's own has some 10,000.
_LONGEST = 131_072


@dataclass
class Effort:
    """What the proofs of one node may still cost: a file that is read costs 20 and its size in units of 32 bytes.

    A proof of containerd's own configuration costs some 300, and a node needs 100 proofs at most.
    """

    left: int = 40_000


@dataclass(frozen=True)
class Change:
    """One file's new bytes (None: it is renamed to PATH.disabled), and the command that makes them (without sudo)."""

    path: str
    new: bytes | None
    command: str


class Overlay:
    """The gathered files with some of them changed; see `pytest_gpuready.containerd.files.Files`."""

    def __init__(self, base: Files, changed: dict[str, bytes | None], effort: Effort | None = None) -> None:
        self.base, self.changed, self.effort = base, changed, effort or Effort()

    def read(self, path: str) -> bytes:
        """The changed bytes, else the node's."""
        self.effort.left -= 20
        found = self.changed[path] if path in self.changed else self.base.read(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such file or directory", path)
        self.effort.left -= len(found) // 32
        return found

    def glob(self, pattern: str) -> list[str]:
        """The node's matches and those of new files, without those that are gone."""
        new = [path for path in self.changed if matches(pattern, path)]
        return sorted(path for path in {*self.base.glob(pattern), *new} if self.changed.get(path, b"") is not None)


def matches(pattern: str, path: str) -> bool:
    """Whether Go's filepath.Glob would bring this path, if it is there."""
    try:
        return path in go_glob(pattern, lambda folder: names_in([path], folder), lambda candidate: path == candidate)
    except ValueError:
        return False


@dataclass(frozen=True)
class Workshop:
    """Where proposals are tried: the files, the containerd that reads them, and what it loads now."""

    files: Files
    version: str | None
    path: str
    explicit: bool
    before: Loaded | None
    #: What a key must look like to be allowed to change, besides what the goal is about.
    allowed: Callable[[str], bool]
    #: Shared by all workshops of a node; without any left nothing more is proven.
    effort: Effort = field(default_factory=Effort)
    #: What was loaded from edited files, by what they hold: a proposal is tried for one goal after the other.
    _loaded: dict[frozenset[tuple[str, bytes | None]], Loaded | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def after(self, changes: Iterable[Change]) -> Loaded | None:
        """What would be loaded from the edited files; None where they name a file that was not gathered."""
        changed: dict[str, bytes | None] = {}
        for change in changes:
            changed[change.path] = change.new
            if change.new is None:
                changed[f"{change.path}{ASIDE}"] = self.text(change.path)
        key = frozenset(changed.items())
        if key not in self._loaded:
            self._loaded[key] = self._load(changed)
        return self._loaded[key]

    def _load(self, changed: dict[str, bytes | None]) -> Loaded | None:
        budget.check()
        if self.effort.left <= 0:
            return None
        try:
            return load(Overlay(self.files, changed, self.effort), self.version, self.path, explicit=self.explicit)
        except _UNREAD:
            return None

    def prove(self, changes: Iterable[Change], goal: Callable[[Loaded], bool]) -> bool:
        """The edited files reach the goal, and nothing else that is loaded has changed."""
        changes = list(changes)
        after = self.after(changes)
        if after is None or not after.loads or not goal(after):
            return False
        migrates = not (self.version or "").startswith("1.")
        if migrates and any(_two_names(change.new) and not _two_names(self.text(change.path)) for change in changes):
            return False
        return self.before is None or not self.before.loads or not list(self._others(self.before, after))

    def _others(self, before: Loaded, after: Loaded) -> Iterator[str]:
        left, right = dict(_flat(before.effective)), dict(_flat(after.effective))
        for key in sorted({*left, *right}):
            if _weight(key, left.get(key)) != _weight(key, right.get(key)) and not self.allowed(key):
                yield key

    def first(self, proposals: Iterable[list[Change]], goal: Callable[[Loaded], bool]) -> list[Change] | None:
        """The first proposal that is proven."""
        for changes in proposals:
            if changes and self.prove(changes, goal):
                return changes
            if self.effort.left <= 0:
                break
        return None

    def text(self, path: str) -> bytes | None:
        """A file's bytes; None where it is not there, cannot be read, or is too long to be edited."""
        try:
            found = self.files.read(path)
        except _UNREAD:
            return None
        return found if len(found) <= _LONGEST else None

    def absent(self, path: str) -> bool:
        """Whether a file is known not to be there, so that it may be made."""
        try:
            self.files.read(path)
        except FileNotFoundError:
            return True
        except _UNREAD:
            return False
        return False

    def edit(self, change: Change) -> Edit:
        """The change as a unified diff; a renamed file is not shown."""
        if change.new is None:
            return Edit(change.path, f"--- a{change.path}\n+++ b{change.path}{ASIDE}\n")
        old = (self.text(change.path) or b"").decode("utf-8", "replace").splitlines(keepends=True)
        new = change.new.decode("utf-8", "replace").splitlines(keepends=True)
        lines = difflib.unified_diff(old, new, f"a{change.path}", f"b{change.path}", n=2)
        return Edit(change.path, "".join(line if line.endswith("\n") else f"{line}\n" for line in lines))


def _two_names(text: bytes | None) -> bool:
    """Whether a file of version 1 has CRI's table by both its names.

    Which of them counts then differs from one start of containerd 2.1.9 to the next (seen in 47 of 395); 1.x reads the
    short one.
    """
    if text is None or re.search(rb"(?m)^[ \t]*version[ \t]*=[ \t]*[2-9]", text):
        return False
    names = (rb"cri|\"cri\"|'cri'", rb"\"io\.containerd\.grpc\.v1\.cri\"|'io\.containerd\.grpc\.v1\.cri'")
    return all(re.search(rb"(?m)^[ \t]*\[plugins\.(?:" + name + rb")[.\]]", text) for name in names)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaf settings by dotted key; an empty table is no setting."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _weight(key: str, value: Any) -> Any:
    """A setting as it counts: Go does not tell a zero value from one that is not there, nor CRI the default mode.

    ctd v1.7.34:pkg/cri/config/config.go: an empty sandbox_mode is podsandbox.
    """
    if key.endswith(".sandbox_mode") and value == "podsandbox":
        return None
    return value or None


def only(change: Change | None) -> list[Change]:
    """A proposal of one change; of none where there is no such change."""
    return [] if change is None else [change]


def aside(path: str) -> Change:
    """Put a file or a folder out of its readers' sight; its content is kept."""
    return Change(path, None, f"mv {quote(path)} {quote(f'{path}{ASIDE}')}")


def append(path: str, old: bytes | None, block: str) -> Change:
    """Add lines at the end of a file, which may be new. No line of the block may be the word that ends it, EOF."""
    start = old or b""
    gap = "" if not start or start.endswith(b"\n\n") else "\n" if start.endswith(b"\n") else "\n\n"
    body = f"{gap}{block}".rstrip("\n") + "\n"
    verb = "tee" if old is None else "tee -a"
    return Change(path, start + body.encode(), here_document(f"{verb} {quote(path)} >/dev/null", body))


def _lines(old: bytes) -> tuple[list[bytes], int]:
    """A file's lines as they are joined again, and how many of them sed counts."""
    lines = old.split(b"\n")
    return lines, len(lines) - (lines[-1] == b"")


def on_line(
    path: str, old: bytes, line: int, script: str, change: Callable[[str], str], *, extended: bool = False
) -> Change | None:
    """A sed command on one line (from 1); `change` does the same here. None where it does nothing or is not sure.

    `script` and `change` work on the line without its end; a CR before it is a part of the line.
    """
    lines, count = _lines(old)
    if not 1 <= line <= count or b"\0" in lines[line - 1]:
        return None
    try:
        text = lines[line - 1].decode()
    except UnicodeDecodeError:
        return None  # sed's `.` stops at such bytes in some locales and not in others
    changed = change(text)
    if changed == text:
        return None
    lines[line - 1] = changed.encode()
    sed = "sed -i -E" if extended else "sed -i"
    return Change(path, b"\n".join(lines), f"{sed} {quote(f'{line}{script}')} {quote(path)}")


def comment_out(path: str, old: bytes, first: int, last: int) -> Change | None:
    """Put `# ` before the lines first to last."""
    lines, count = _lines(old)
    if not 1 <= first <= last <= count:
        return None
    for number in range(first - 1, last):
        lines[number] = b"# " + lines[number]
    where = f"{first}" if first == last else f"{first},{last}"
    return Change(path, b"\n".join(lines), f"sed -i {quote(f'{where}s/^/# /')} {quote(path)}")


def set_value(path: str, old: bytes, line: int, value: str) -> Change | None:
    """Give the key on a line another value: everything after the first `=` is replaced."""
    if "|" in value or "\n" in value:
        return None  # the one mark that stands between sed's parts
    return on_line(
        path,
        old,
        line,
        f"s|=.*|= {escape_sed_replacement(value)}|",
        lambda text: re.sub(r"=.*", lambda _: f"= {value}", text, count=1),
    )


def insert_after(path: str, old: bytes, line: int, text: str) -> Change | None:
    """Add a line after another one."""
    lines, count = _lines(old)
    if not 1 <= line <= count or "\n" in text:
        return None
    if line == count == len(lines):
        lines.append(b"")  # sed ends a last line that had no end
    lines.insert(line, text.encode())
    return Change(path, b"\n".join(lines), f"sed -i {quote(append_by_sed(line, text))} {quote(path)}")


def table_end(old: bytes, line: int) -> int:
    """The last line of the table whose header (or a key of it) stands on a line: the one before the next header."""
    lines = old.decode("utf-8", "replace").split("\n")
    for number in range(line, len(lines)):
        if re.match(r"\s*\[", lines[number]):
            return number
    return len(lines) if lines[-1] else max(line, len(lines) - 1)


def toml_key(name: str) -> str:
    """A name as a bare or quoted key, in printable ASCII."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_string(name)


def toml_string(text: str) -> str:
    """A text as a TOML string in printable ASCII: neither a shell's here-document nor a terminal reads it otherwise."""
    out = []
    for char in text:
        code = ord(char)
        if char in '"\\':
            out.append(f"\\{char}")
        elif 0x20 <= code < 0x7F:
            out.append(char)
        elif code <= 0xFFFF:
            out.append(f"\\u{code:04x}")
        else:
            out.append(f"\\U{code:08x}")
    return f'"{"".join(out)}"'


def toml_value(value: str | bool) -> str:  # noqa: FBT001
    """A text or a boolean as TOML."""
    return str(value).lower() if isinstance(value, bool) else toml_string(value)
