"""The files followed and merged: containerd's LoadConfig.

Sources: 1.x services/server/config/config.go, 2.x cmd/containerd/server/config/config.go (LoadConfig, loadConfigFile,
resolveImports, mergeConfig, ValidateV2, ValidateVersion).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gpuready import budget
from pytest_gpuready.containerd import migrate
from pytest_gpuready.containerd._toml import SETTINGS, quote
from pytest_gpuready.containerd.decode import DecodeError, Decoder
from pytest_gpuready.containerd.files import BadPattern, NotLooked
from pytest_gpuready.containerd.model import Ineffective, Refusal, Where
from pytest_gpuready.containerd.parsed import parsed
from pytest_gpuready.containerd.toml import TooLarge
from pytest_gpuready.containerd.tree import Tree, from_table, leaves, merge

if TYPE_CHECKING:
    from pytest_gpuready.containerd.files import Files
    from pytest_gpuready.containerd.model import IneffectiveKind
    from pytest_gpuready.containerd.releases import Release

MAX_FILES = 1000
"""No more files than this are followed."""


class Refused(Exception):  # noqa: N818 - what it carries is a refusal
    """The daemon does not start."""

    def __init__(self, text: str, where: Where | None = None, path: str | None = None) -> None:
        super().__init__(text)
        self.refusal = Refusal(text, where.path if where else path, where.line if where else None)


class Undecided(Exception):  # noqa: N818 - what it carries is a reason
    """This reader cannot say what containerd does."""


def clean(path: str) -> str:
    """Go's filepath.Clean."""
    out = posixpath.normpath(path) if path else "."
    return "/" + out.lstrip("/") if out.startswith("/") else out


def go_error(error: OSError, path: str) -> str:
    """An error of os.Open as Go prints it."""
    text = (os.strerror(error.errno) if error.errno else "input/output error").lower()
    return f"{'read' if isinstance(error, IsADirectoryError) else 'open'} {path}: {text}"


@dataclass
class Walked:
    """The merged files. `tree` has the top level under canonical names; ``plugins`` in it is as the files have it."""

    tree: Tree
    version: int
    files: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    notes: list[Ineffective] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    missing_globs: set[str] = field(default_factory=set)
    written: dict[tuple[Where, str], tuple[str, ...]] = field(default_factory=dict)

    def remember(self, tree: Tree, path: tuple[str, ...] = ()) -> None:
        """Note under which keys a file has its settings: a migration moves them."""
        for key, value in tree.items():
            self.written.setdefault((tree.wheres[key], key.lower()), (*path, key))
            if isinstance(value, Tree):
                self.remember(value, (*path, key))

    def note(
        self,
        path: tuple[str, ...],
        where: Where | None,
        reason: str,
        by: Where | None = None,
        kind: IneffectiveKind = "unread",
    ) -> None:
        """A setting without effect, under the key that the file has; built-in defaults are none."""
        if where is not None:
            path = self.written.get((where, path[-1].lower()), path)
            self.notes.append(Ineffective(where, dotted(path), reason, by, kind))


def dotted(path: tuple[str, ...]) -> str:
    """A key as TOML writes it."""
    return ".".join(part if re.fullmatch("[A-Za-z0-9_-]+", part) else quote(part) for part in path)


class Walk:
    """One LoadConfig. With `ask`, files that were not looked at are noted in `Walked.missing` and passed over."""

    def __init__(self, files: Files, release: Release, *, ask: bool = False) -> None:
        self.files, self.release, self.ask = files, release, ask
        self.out = Walked(Tree(), 1 if release.go_toml == 1 else release.config_version)
        self.out.tree["plugins"] = Tree()
        self.imported: dict[str, Where] = {}
        self.settings = 0

    def run(self, path: str, *, explicit: bool) -> Walked:
        """Follow `path` and its imports.

        Raises:
            Refused, Undecided, migrate.PanicError, NotLooked, PermissionError.
        """
        out, pending, root = self.out, deque([path]), 0
        last = path
        while pending:
            budget.check()
            last = pending.popleft()
            if last in out.versions:
                continue
            try:
                data = self.files.read(last)
            except NotLooked:
                if not self.ask:
                    raise
                out.missing.add(last)
                continue
            except PermissionError:
                raise
            except FileNotFoundError as error:
                if last == path and not out.files and not explicit:
                    return out
                self.unreadable(error, last)
            except OSError as error:
                self.unreadable(error, last)
            tree = self.parse(data, last)
            version = tree.get("version", 0)
            root = root or version
            if self.release.refuses_newer_dropin and version > root:
                text = f"containerd: drop-in config version {version} higher than root config version {root}"
                raise Refused(text, tree.at("version"))
            self.migrate_file(tree, version)
            self.merge(tree)
            out.versions[last] = version
            out.files.append(last)
            if len(out.files) > MAX_FILES:
                raise Undecided(f"more than {MAX_FILES} files are imported")
            pending.extend(self.imports(last, tree))
        self.validate(last)
        return out

    def unreadable(self, error: OSError, path: str) -> None:
        """Refuse: the file at `path` cannot be read."""
        text = go_error(error, path)
        if self.release.go_toml == 1:
            text = f"failed to load TOML: {path}: {text}"
        elif isinstance(error, IsADirectoryError):
            text = f"failed to unmarshal TOML: toml: {text}"
        raise Refused(f"containerd: {text}", self.importer(path), path)

    def importer(self, path: str) -> Where | None:
        """The line that imports `path`."""
        return self.imported.get(path)

    def parse(self, data: bytes, path: str) -> Tree:
        """One file as containerd decodes it: the top level under canonical names."""
        release = self.release
        v1 = release.go_toml == 1
        decoder = Decoder(release.schema, release.go_toml)
        document, failed = parsed(data, release)
        if isinstance(failed, TooLarge):
            raise Undecided(f"{path}: {failed.text}")
        self.settings += document.size
        if self.settings > SETTINGS:
            raise Undecided(f"more than {SETTINGS} settings in the files up to {path}")
        raw = from_table(document.root, path)
        self.out.remember(raw)
        if failed is not None and v1:
            place = f"({failed.line}, {failed.column}): " if failed.shown else ""
            text = f"containerd: failed to load TOML: {path}: {place}{failed.text}"
            text = failed.text if failed.text.startswith("panic: ") else text
            raise Refused(text, _where(path, failed.line))
        try:
            tree = decoder.decode(raw, "config.Config")
        except DecodeError as error:
            # A value is decoded before what follows it on its line is looked at.
            late = failed is not None and failed.text.startswith("toml: expected newline")
            if failed is None or (error.where and failed.line and error.where.line < failed.line + late):
                raise Refused(self.unmarshal(error), error.where, path) from None
        if failed is not None:
            place = f" at row {failed.line} column {failed.column}" if failed.shown else ""
            raise Refused(f"containerd: failed to unmarshal TOML{place}: {failed.text}", _where(path, failed.line))
        for key, where in decoder.unknown:
            self.out.note(key, where, "unknown to this containerd")
        return tree

    def unmarshal(self, error: DecodeError) -> str:
        """The words for a value of a wrong type."""
        line = error.where.line if error.where else 0
        if error.text.startswith("panic: "):
            return error.text
        if self.release.go_toml == 1:
            place = error.place(error.where)
            return f"containerd: failed to unmarshal TOML: ({place[0]}, {place[1]}): {error.text}"
        if not error.column or (self.release.go_toml == 23 and "cannot decode TOML local " in error.text):
            line = error.column = 1  # v2.4 has no place for what is nested, v2.3 none for a date
        place_text = f" at row {line} column {error.column}" if error.shown else ""
        return f"containerd: failed to unmarshal TOML{place_text}: {error.text}"

    def migrate_file(self, tree: Tree, version: int) -> None:
        """Bring one file to the format that the others have, where the release does that before it merges."""
        release, target = self.release, self.out.version
        if release.go_toml == 1 or (version >= target if release.migrates_files else version not in (0, 1)):
            return
        lost = migrate.Lost(
            lambda path, where, reason, by: self.out.note(("plugins", *path), where, reason, by, "migrated")
        )
        for at in range(version, target):
            if at < 0:
                raise migrate.PanicError(f"runtime error: index out of range [{at}]", tree.at("version"))
            if at > (3 if release.migrates_files else 2):
                last = 4 if release.migrates_files else 3
                raise migrate.PanicError(f"runtime error: index out of range [{at}] with length {last}", None)
            if at == 1:
                tree["plugins"] = migrate.v1_names(tree.table("plugins"), lost)
                for key in ("disabled_plugins", "required_plugins"):
                    if key in tree:
                        tree[key] = [migrate.v1_name(name) for name in tree[key]]
            if at == 3:
                migrate.services(tree, lost)
            if release.migrates_files:
                migrate.step(tree.table("plugins"), release, (), lost)
        tree["version"] = target

    def merge(self, new: Tree) -> None:
        """Merge as mergeConfig does: later values win unless they are empty, lists grow."""
        out, to = self.out, self.out.tree
        for key, value in new.items():
            where = new.wheres.get(key)
            if key == "plugins":
                self.merge_plugins(to["plugins"], value)
            elif key in ("proxy_plugins", "stream_processors", "timeouts"):
                mine = to.setdefault(key, Tree())
                for name, item in value.items():
                    if name in mine:
                        self.replaced((key, name), mine.wheres.get(name), value.wheres.get(name))
                    mine.put(name, item, value.wheres.get(name))
            elif isinstance(value, list):
                old = to.get(key, [])
                there = {item for item in old if isinstance(item, str)} if self.release.deep_merge else set()
                deep = [] if not self.release.deep_merge else old
                new_ones = [item for item in value if item not in (there if isinstance(item, str) else deep)]
                to.put(key, old + new_ones, where)
            elif isinstance(value, Tree):
                mine = to.setdefault(key, Tree(where))
                for name, item in value.items():
                    if item:
                        if mine.get(name) and mine[name] != item:
                            self.replaced((key, name), mine.wheres.get(name), value.wheres.get(name))
                        mine.put(name, item, value.wheres.get(name))
            elif value:
                if to.get(key) and key != "version" and to[key] != value:
                    self.replaced((key,), to.wheres.get(key), where)
                to.put(key, value, where)
        if new.get("version"):
            out.version = new["version"]

    def replaced(self, path: tuple[str, ...], old: Where | None, new: Where | None) -> None:
        """A setting that a later file takes the place of."""
        self.out.note(path, old, "replaced by", new, "replaced")

    def merge_plugins(self, to: Tree, new: Tree) -> None:
        """The plugin tables: key by key in 2.x, whole tables in 1.x."""
        if self.release.deep_merge:
            merge(to, new, lambda path, old, place: self.replaced(("plugins", *path), old, place))
            return
        for uri, table in new.items():
            if isinstance(to.get(uri), Tree):
                kept = {path: place for path, _, place in leaves(table)}
                for path, _, place in leaves(to[uri]):
                    if path in kept:
                        self.replaced(("plugins", uri, *path), place, kept[path] or table.where)
                    else:
                        reason = "lost: an import replaces the whole plugin table, at"
                        self.out.note(("plugins", uri, *path), place, reason, new.wheres.get(uri), "table-replaced")
            to.put(uri, table, new.wheres.get(uri))

    def imports(self, parent: str, tree: Tree) -> list[str]:
        """The files that this one names (resolveImports), in order."""
        out: list[str] = []
        where = tree.wheres.get("imports")
        for written in tree.get("imports", []):
            path = written
            if self.release.relative_glob or "*" not in path:
                path = clean(path)
                if not path.startswith("/"):
                    path = clean(posixpath.join(posixpath.dirname(parent), path))
            if "*" not in path:
                out.append(path)
            else:
                pattern = path if path.startswith("/") else "/" + path
                found = self.glob(pattern)
                if not found and where and not self.out.missing_globs:
                    base = "" if path.startswith("/") else " in the daemon's working directory, taken as /"
                    self.out.note(("imports",), where, f"nothing matches {quote(written)}{base}")
                out.extend(found)
        for path in out:
            if where:
                self.imported.setdefault(path, where)
        return out

    def glob(self, pattern: str) -> list[str]:
        """The files that match; none for a pattern that was not looked at, where that is asked for."""
        try:
            return self.files.glob(pattern)
        except BadPattern:
            raise Refused("containerd: syntax error in pattern") from None
        except NotLooked:
            if not self.ask:
                raise
            self.out.missing_globs.add(pattern)
            return []

    def validate(self, last: str) -> None:
        """ValidateV2 and ValidateVersion: the message names the file that was followed last."""
        out, release = self.out, self.release
        tree, version = out.tree, out.version
        prefix = f"containerd: failed to load TOML from {last}: "
        if release.go_toml == 1 and version < 2:
            return
        if version > release.config_version and release.refuses_newer:
            text = f"unsupported config version `{version}`"
            if release.go_toml != 1:
                text = (
                    "expected containerd config version equal to or less than "
                    f"`{release.config_version}`, got `{version}`"
                )
            raise Refused(prefix + text, tree.at("version"))
        for kind in ("disabled", "required"):
            for name in tree.get(f"{kind}_plugins", []):
                if not self.is_uri(name):
                    text = f"invalid {kind} plugin URI {quote(name)} expect io.containerd.x.vx"
                    raise Refused(prefix + text, tree.at(f"{kind}_plugins"))
        if release.go_toml == 1:
            for name in tree["plugins"]:
                if not self.is_uri(name):
                    text = f"invalid plugin key URI {quote(name)} expect io.containerd.x.vx"
                    raise Refused(prefix + text, tree["plugins"].wheres.get(name))

    def is_uri(self, name: str) -> bool:
        """Whether a name may stand in a file of format 2 or later."""
        if self.release.go_toml != 1:
            return "." in name
        return name.count(".") >= 3 and (not self.release.strict_uri or name.startswith("io.containerd."))


def _where(path: str, line: int | None) -> Where | None:
    return Where(path, line) if line else None
