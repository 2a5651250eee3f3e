"""Configuration tables that know which file and line each of their keys comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd._toml import Array
from pytest_gpuready.containerd.model import Where
from pytest_gpuready.containerd.toml import Moment, Table, TomlError, Unreadable, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Tree(dict[str, Any]):
    """A table. `where` is its own place, `wheres` that of its keys; a built-in default has none.

    `columns` has the column of each key's value as the Go parser counts it. `inline` says that it was written ``{}``.
    """

    __slots__ = ("columns", "inline", "where", "wheres")

    def __init__(self, where: Where | None = None, *, inline: bool = False) -> None:
        super().__init__()
        self.where, self.inline = where, inline
        self.wheres: dict[str, Where] = {}
        self.columns: dict[str, int] = {}

    def put(self, key: str, value: object, where: Where | None, column: int = 1) -> None:
        """Set `key`."""
        self[key] = value
        if where is None:
            self.wheres.pop(key, None)
        else:
            self.wheres[key], self.columns[key] = where, column

    def at(self, *path: str) -> Where | None:
        """The place of the key at `path`, or of the nearest table above it that has one."""
        node: Any = self
        found = self.where
        for key in path:
            if not isinstance(node, Tree) or key not in node:
                return found
            found = node.wheres.get(key, found)
            node = node[key]
        return found

    def exact(self, *path: str) -> Where | None:
        """The place of the key at `path` if a file sets it; None for a built-in default."""
        node: Any = self
        for key in path[:-1]:
            node = node.get(key)
            if not isinstance(node, Tree):
                return None
        return node.wheres.get(path[-1]) if isinstance(node, Tree) else None

    def table(self, *path: str) -> Tree:
        """The table at `path`; an empty one if there is none."""
        node: Any = self
        for key in path:
            node = node.get(key)
            if not isinstance(node, Tree):
                return Tree()
        return node  # type: ignore[no-any-return]


def from_table(table: Table, path: str) -> Tree:
    """A parsed file's table with its places."""
    tree = Tree(Where(path, table.line), inline=table.inline)
    for key, value in table.items():
        tree.put(key, _convert(value, path), Where(path, table.lines[key]), table.columns.get(key, 1))
    return tree


def _convert(value: object, path: str) -> object:
    if isinstance(value, Table):
        return from_table(value, path)
    if isinstance(value, list):
        out: list[Any] = [_convert(item, path) for item in value]
        if isinstance(value, Array):
            placed = Array()
            placed.extend(out)
            placed.places = value.places
            return placed
        return out
    return value


def from_default(value: Any) -> Any:
    """A built-in default as a tree: nothing in it has a place."""
    if isinstance(value, dict):
        tree = Tree()
        for key, item in value.items():
            tree[key] = from_default(item)
        return tree
    return [from_default(item) for item in value] if isinstance(value, list) else value


def copy(value: Any) -> Any:
    """A deep copy."""
    if isinstance(value, Tree):
        out = Tree(value.where, inline=value.inline)
        for key, item in value.items():
            out[key] = copy(item)
        out.wheres, out.columns = dict(value.wheres), dict(value.columns)
        return out
    return [copy(item) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Plain dicts and lists, without places."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.text if isinstance(value, (Moment, Unreadable)) else value


def leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Where | None]]:
    """Every setting below `tree` that is no table (an empty table counts as one), with its place."""
    for key, value in tree.items():
        here = tree.wheres.get(key)
        if isinstance(value, Tree) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value, here


Replaced = "Callable[[tuple[str, ...], Where | None, Where | None], None]"


def merge(
    to: Tree,
    new: Tree,
    replaced: Callable[[tuple[str, ...], Where | None, Where | None], None],
    path: tuple[str, ...] = (),
) -> None:
    """Merge `new` into `to` key by key, as mergo with override does for nested maps: lists are replaced.

    `replaced` is told of every setting that another one takes the place of: its path, place, and the new place.
    """
    for key, value in new.items():
        old, where = to.get(key), new.wheres.get(key)
        if isinstance(old, Tree) and isinstance(value, Tree):
            merge(old, value, replaced, (*path, key))
            continue
        if key in to:
            if isinstance(old, Tree) and old:
                for below, _, place in leaves(old, (*path, key)):
                    replaced(below, place, where)
            else:
                replaced((*path, key), to.wheres.get(key), where)
        to.put(key, value, where, new.columns.get(key, 1))


def marshalled(table: Tree) -> Tree:
    """The table as containerd 2.x writes it out before it decodes it: values before tables, each in byte order."""
    out = Tree(table.where)

    def order(key: str) -> tuple[bool, bytes]:
        value = table[key]
        tables = isinstance(value, Tree) or (
            isinstance(value, list) and bool(value) and all(isinstance(item, Tree) for item in value)
        )
        return tables, key.encode("utf-8", "surrogatepass")

    for key in sorted(table, key=order):
        value = table[key]
        new: Any = marshalled(value) if isinstance(value, Tree) else value
        if isinstance(value, list) and value and all(isinstance(item, Tree) for item in value):
            new = [marshalled(item) for item in value]
        out.put(key, new, table.wheres.get(key), table.columns.get(key, 1))
    return out


def document_error(value: object) -> str | None:
    """What go-toml v2 says of a value that it has written out as a document: text, a number, a list.

    A list of one is the name of a table: nothing is wrong with it.
    """
    if isinstance(value, list) and value and all(isinstance(item, Tree) for item in value):
        text = "[[]]"
    elif isinstance(value, list):
        text = f"[{', '.join(_written(item) for item in value)}]"
    else:
        text = _written(value)
    try:
        loads(text.encode("utf-8", "replace"))
    except TomlError as error:
        return error.text
    return None


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_written(item) for item in value)}]"
    if isinstance(value, Tree):
        return "{}"
    return repr(value) if isinstance(value, (int, float)) else "'x'"
