"""Tables decoded into containerd's Go types: which spelling of a key counts, which value has the wrong type.

Sources: go-toml v1.9.5 marshal.go (valueFromTree, valueFromToml), go-toml v2.2.4 unmarshaler.go.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_gpuready.containerd._toml import Array, quote
from pytest_gpuready.containerd.go_errors import duration_error
from pytest_gpuready.containerd.toml import Moment, Unreadable
from pytest_gpuready.containerd.tree import Tree, copy, from_default

if TYPE_CHECKING:
    from pytest_gpuready.containerd.model import Where
    from pytest_gpuready.containerd.releases import Schema

_INTS = {"int": 64, "int64": 64, "int32": 32, "uint32": 32, "uint64": 64, "uint8": 8, "time.Duration": 64}
_DURATIONS = ("tomlext.Duration", "scheduler.duration", "monitor.duration")
_EMBEDDED = {
    ("config.PluginConfig", name) for name in ("containerd", "cni", "image_decryption", "x509_key_pair_streaming")
}
"""Embedded structs of 1.x's CRI plugin (pkg/cri/config/config.go): where their table is missing, go-toml v1 looks for
its keys in the table around it (marshal.go, "save the old behavior")."""


class DecodeError(ValueError):
    """A value has a type that containerd does not take: its words without a place, and the place.

    `shown` says whether containerd 2.x prints the place too.
    """

    def __init__(self, text: str, where: Where | None, column: int = 1, *, shown: bool = True) -> None:
        super().__init__(text)
        self.text, self.where, self.column, self.shown = text, where, column, shown

    def place(self, where: Where | None) -> tuple[int, int]:
        """Row and column as go-toml v1 prints them: in an inline table they are not those of the file."""
        return (where.line if where else 0, self.column) if self.column > 0 else (-self.column, 0)


def _go(value: Any) -> str:
    """A value as Go's %v prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isinf(value) or math.isnan(value):
            return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
        if value == int(value) and abs(value) < 1e21:
            return str(int(value))
        return re.sub(r"e([+-])(\d)$", r"e\g<1>0\2", repr(value))
    if isinstance(value, list):
        return f"[{' '.join(_go(item) for item in value)}]"
    if isinstance(value, Tree):
        plain = [f"{key} = {_literal(item)}\n" for key, item in sorted(value.items()) if not isinstance(item, Tree)]
        return "".join(plain) + "".join(f"\n[{key}]\n" for key, item in value.items() if isinstance(item, Tree))
    return str(value)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_literal(item) for item in value)}]"
    return quote(value) if isinstance(value, str) else _go(value)


def _go_type(value: Any) -> str:
    kinds = {bool: "bool", int: "int64", float: "float64", str: "string"}
    if isinstance(value, Moment):
        return "time.Time" if value.kind == "Time" else f"toml.{value.kind}"
    if isinstance(value, Tree):
        return "*toml.Tree"
    if isinstance(value, list):
        return "[]*toml.Tree" if value and all(isinstance(v, Tree) for v in value) else "[]interface {}"
    return "uint64" if isinstance(value, int) and value >= 1 << 63 else kinds.get(type(value), "string")


def _kind(kind: str) -> str:
    """The reflect.Kind of a Go type."""
    if kind.startswith("map["):
        return "map"
    if kind.startswith("[]"):
        return "slice"
    if kind.startswith("*"):
        return "ptr"
    if kind in _DURATIONS or kind == "time.Duration":
        return "int64"
    return kind if kind in _INTS or kind in ("string", "bool", "float64", "any") else "struct"


def _go_name(kind: str) -> str:
    return re.sub(r"#\d+", "", kind).replace("any", "interface {}")


class Decoder:
    """Decodes into the types of one release. `unknown` collects the keys that it has no field for, with their place."""

    def __init__(self, schema: Schema, go_toml: int) -> None:
        self.types, self.go_toml, self.newer = schema.types, go_toml, go_toml == 24
        self.dates = go_toml in (23, 24)
        self.unknown: list[tuple[tuple[str, ...], Where | None]] = []

    def decode(self, tree: Tree, kind: str, default: Tree | None = None, path: tuple[str, ...] = ()) -> Tree:
        """`tree` as the struct `kind`, over `default`: canonical keys, missing ones from the default.

        Raises:
            DecodeError: containerd refuses a value.
        """
        base = copy(default) if default is not None else Tree()
        base.where = tree.where
        return self._v1_struct(tree, kind, base, path) if self.go_toml == 1 else self._v2_struct(tree, kind, base, path)

    # go-toml v1: fields in their order, each by the first of four spellings; maps start empty.

    def _v1_struct(self, tree: Tree, kind: str, base: Tree, path: tuple[str, ...]) -> Tree:
        taken = self._v1_fields(tree, kind, base, path)
        self.unknown.extend(((*path, key), tree.wheres.get(key)) for key in tree if key not in taken)
        return base

    def _v1_fields(self, tree: Tree, kind: str, base: Tree, path: tuple[str, ...]) -> set[str]:
        """Fill `base`; the keys that counted."""
        taken = set()
        for name, _, type_ in self.types[kind]:
            for key in dict.fromkeys((name, name.lower(), name.upper(), name[0].lower() + name[1:])):
                if tree.get(key) is None:
                    continue
                taken.add(key)
                try:
                    value = self._v1_value(tree[key], type_, base.get(name), (*path, name))
                except DecodeError as error:
                    if error.where is None:
                        error.where, error.column = tree.wheres.get(key), tree.columns.get(key, 1)
                    raise
                base.put(name, value, tree.wheres.get(key), tree.columns.get(key, 1))
                break
            else:
                if (kind, name) in _EMBEDDED:
                    inner = base.get(name)
                    inner = inner if isinstance(inner, Tree) else self._zero(type_)
                    taken |= self._v1_fields(tree, type_, inner, (*path, name))
                    base[name] = inner
        return taken

    def _v1_value(self, value: Any, kind: str, default: Any, path: tuple[str, ...]) -> Any:
        kind = kind.removeprefix("*")
        if kind in ("any", "toml.Tree"):
            if kind == "toml.Tree" and isinstance(value, list):
                to = "trees" if value and all(isinstance(item, Tree) for item in value) else "a slice"
                raise DecodeError(f"Can't convert {_go(value)}({_go_type(value)}) to {to}", None)
            if kind == "toml.Tree" and not isinstance(value, Tree):
                raise DecodeError(f"Can't convert {_go(value)}({_go_type(value)}) to toml.Tree", None)
            return value
        if isinstance(value, Tree):
            return self._v1_table(value, kind, default, path)
        if isinstance(value, list):
            trees = bool(value) and all(isinstance(item, Tree) for item in value)
            inner = kind[2:] if kind.startswith("[]") else ""
            if not inner or trees != (_kind(inner) in ("struct", "map")):
                to = "trees" if trees else "a slice"
                raise DecodeError(f"Can't convert {_go(value)}({_go_type(value)}) to {to}", None)
            return [self._v1_value(item, inner, None, path) for item in value]
        return self._v1_scalar(value, kind)

    def _v1_table(self, value: Tree, kind: str, default: Any, path: tuple[str, ...]) -> Tree:
        if kind.startswith("map[string]"):
            out = Tree(value.where)
            for key, item in value.items():
                try:
                    inner = self._v1_value(item, kind[11:], None, (*path, key))
                except DecodeError as error:
                    if error.where is None:
                        error.where, error.column = value.wheres.get(key), value.columns.get(key, 1)
                    raise
                out.put(key, inner, value.wheres.get(key), value.columns.get(key, 1))
            return out
        if kind in self.types:
            base = copy(default) if isinstance(default, Tree) else self._zero(kind)
            base.where = value.where
            return self._v1_struct(value, kind, base, path)
        raise DecodeError(f"Can't convert {_go(value)}(*toml.Tree) to a tree", None)

    def _zero(self, kind: str) -> Tree:
        """A struct of zero values: what is not set."""
        tree = Tree()
        for name, _, type_ in self.types[kind]:
            zero: Any = {"string": "", "bool": False, "slice": [], "map": {}, "ptr": None, "any": None}.get(
                _kind(type_), self._zero(type_) if type_ in self.types else 0
            )
            tree[name] = from_default(zero)
        return tree

    def _v1_scalar(self, value: Any, kind: str) -> Any:
        if kind in _DURATIONS or (kind == "time.Duration" and isinstance(value, str)):
            wrong = duration_error(_go(value))
            if wrong and kind == "time.Duration":
                raise DecodeError(f"Can't convert {_go(value)}(string) to time.Duration. {wrong}", None)
            if wrong:
                raise DecodeError(f"unmarshal text: {wrong}", None)
            return _go(value)
        got = _go_type(value)
        base = _kind(kind)
        if got == "uint64" and base in ("string", "float64"):
            return "\ufffd" if base == "string" else float(value)  # Go converts it: no such rune
        fits = {"string": got == "string", "bool": got == "bool", "float64": got == "float64"}
        if not fits.get(base, got in ("int64", "uint64") and base in _INTS):
            extra = f"({base})" if base in ("slice", "map") else ""
            raise DecodeError(f"Can't convert {_go(value)}({got}) to {_go_name(kind)}{extra}", None)
        if base in _INTS:
            unsigned, bits = base.startswith("u"), _INTS[base]
            if unsigned and value < 0:
                raise DecodeError(f"{value}({got}) is negative so does not fit in {kind}", None)
            # Where it goes into a signed one it is converted before it is looked at.
            number = value - (1 << 64) * (got == "uint64" and not unsigned)
            if not -(1 << (bits - 1)) * (not unsigned) <= number < 1 << (bits - (not unsigned)):
                raise DecodeError(f"{value}({got}) would overflow {kind}", None)
            return number
        return value

    # go-toml v2: keys in the document's order, matched without regard to case; maps keep what they have.

    def _v2_struct(self, tree: Tree, kind: str, base: Tree, path: tuple[str, ...]) -> Tree:
        exact = {name: (name, go, type_) for name, go, type_ in self.types[kind]}
        folded = {name.lower(): field for name, field in exact.items()}
        for key, raw in tree.items():
            found = exact.get(key) or folded.get(key.lower())
            if found is None:
                self.unknown.append(((*path, key), tree.wheres.get(key)))
                continue
            name, go, type_ = found
            context = f"struct field {_go_name(kind)}.{go} of type {_go_name(type_)}"
            where, column = tree.wheres.get(key), tree.columns.get(key, 1)
            value = self._v2_value(raw, type_, base.get(name), context, where, column, (*path, name))
            base.put(name, value, where, column)
        return base

    def _v2_value(
        self, value: Any, kind: str, default: Any, context: str, where: Where | None, column: int, path: tuple[str, ...]
    ) -> Any:
        if kind.startswith("*"):
            return self._v2_value(value, kind[1:], default, context, where, column, path)
        nanoseconds = self.newer and isinstance(value, int) and not isinstance(value, bool)
        moment = self.newer and isinstance(value, Moment)
        if kind in _DURATIONS and not (nanoseconds or moment or isinstance(value, (Tree, list, Unreadable))):
            plain = self.newer and not isinstance(value, str)
            wrong = duration_error(repr(value) if plain and isinstance(value, float) else _go(value))
            if wrong:
                raise DecodeError(wrong if plain else f"toml: {wrong}", where, column)
            return _go(value)
        if isinstance(value, Unreadable):
            raise DecodeError(value.text, where, value.column)
        if isinstance(value, Tree):
            if column < 0 and _kind(kind) not in ("struct", "map", "any", "slice"):
                return self._v2_dotted(kind, context, where, -column)
            return self._v2_table(value, kind, default, context, where, abs(column), path)
        if isinstance(value, list):
            tables = bool(value) and all(isinstance(item, Tree) and not item.inline for item in value)
            if kind == "any" and (not tables or default is None or isinstance(default, list)):
                return [self._v2_value(item, "any", None, context, where, column, path) for item in value]
            if not kind.startswith("[]"):
                what = "array table" if tables else "array"
                text = f"toml: cannot decode TOML {what} into {context}"
                if self.newer and tables:
                    text = f"toml: cannot store an array table in a {_kind(kind)}"
                raise DecodeError(text, where, column, shown=self.newer)
            places = value.places if isinstance(value, Array) and where else ()
            spots: list[tuple[Where | None, int]] = [(where._replace(line=n), at) for n, at in places] if where else []
            spots = spots or [(where, column)] * len(value)
            if self.newer:  # what is nested has no place there
                spots = [(spot, 0 if isinstance(item, (Tree, list)) else at)
                         for item, (spot, at) in zip(value, spots, strict=True)]  # fmt: skip
            pairs = zip(value, spots, strict=True)
            context = context.replace(" of type []", " of type ") if self.newer else context
            return [self._v2_value(item, kind[2:], None, context, spot, at, path) for item, (spot, at) in pairs]
        if self.newer or (self.dates and isinstance(value, Moment)):
            self._v24_scalar(value, kind, context, where, column)
        return self._v2_scalar(value, kind, context, where, column)

    def _v2_dotted(self, kind: str, context: str, where: Where | None, column: int) -> NoReturn:
        """A dotted key goes on below a scalar."""
        if self.newer:
            raise DecodeError(f"toml: cannot decode TOML table into {context}", where, column)
        raise DecodeError(f"unhandled kv part: {_kind(kind)}", where, column, shown=False)

    def _v2_table(
        self,
        value: Tree,
        kind: str,
        default: Any,
        context: str,
        where: Where | None,
        column: int,
        path: tuple[str, ...],
    ) -> Any:
        if kind in self.types:
            base = copy(default) if isinstance(default, Tree) else self._zero(kind)
            base.where = value.where
            return self._v2_struct(value, kind, base, path)
        held = default is None or isinstance(default, Tree)
        if kind.startswith("map[string]") or (kind == "any" and (held or value.inline)):
            inner = kind[11:] if kind != "any" else "any"
            if self.newer:
                context = context.replace(" of type map[string]", " of type ") if value.inline else _go_name(inner)
            out = copy(default) if isinstance(default, Tree) else Tree()
            out.where = value.where
            for key, item in value.items():
                place, at = value.wheres.get(key), value.columns.get(key, 1)
                old = out.get(key) if isinstance(item, (Tree, list)) else None
                out.put(key, self._v2_value(item, inner, old, context, place, at, (*path, key)), place, at)
            return out
        if value.inline:
            text = f"toml: cannot store inline table in Go type {_kind(kind)}"
            if self.newer:
                text = f"toml: cannot decode TOML inline table into {context}"
            raise DecodeError(text, where, column)
        if kind.startswith("[]"):
            # The table's keys go to the last element that the list has.
            if not default:
                # Placed at the header's first key, which is one further than its bracket.
                kept, at = (_kind(kind[2:]), column) if self.newer else ("slice", column + 1)
                raise DecodeError(f"toml: cannot store a table in a {kept}", where, at)
            self._v2_table(value, kind[2:], default[-1], context, where, column, path)
            return default
        if self.newer:
            raise DecodeError(f"toml: cannot store a table in a {_kind(kind)}", where, column)
        shown = (
            _kind(kind) if kind != "any" else {bool: "bool", int: "int64", list: "slice"}.get(type(default), "string")
        )
        if any(not isinstance(item, Tree) for item in value.values()):
            raise DecodeError(f"unhandled kv part: {shown}", where, column, shown=False)
        if value:
            raise DecodeError(f"panic: unhandled part: {shown}", where, column, shown=False)
        return default

    @staticmethod
    def _v24_scalar(value: Any, kind: str, context: str, where: Where | None, column: int) -> None:
        """What go-toml v2.4 refuses, in its words."""
        base = _kind(kind)
        if kind == "any":
            return
        if isinstance(value, Moment):
            what = {"Time": "datetime", "LocalDateTime": "local datetime", "LocalDate": "local date"}
            raise DecodeError(
                f"toml: cannot decode TOML {what.get(value.kind, 'local time')} into {context}", where, column
            )
        if isinstance(value, bool) and base != "bool":
            raise DecodeError(f"toml: cannot decode TOML boolean into {context}", where, column)
        if isinstance(value, float) and base != "float64":
            raise DecodeError(f"toml: cannot decode TOML float into {context}", where, column)
        if isinstance(value, int) and base in _INTS:
            bits, unsigned = _INTS[base], base.startswith("u")
            if unsigned and value < 0:
                raise DecodeError(f"toml: negative integer value {value} cannot be stored in {kind}", where, column)
            if not -(1 << (bits - 1)) * (not unsigned) <= value < 1 << (bits - (not unsigned)):
                raise DecodeError(f"toml: integer value {value} cannot be stored in {kind}", where, column)

    @staticmethod
    def _v2_scalar(value: Any, kind: str, context: str, where: Where | None, column: int) -> Any:
        base = _kind(kind)
        if kind == "any":
            return value
        if isinstance(value, bool):
            if base == "bool":
                return value
            raise DecodeError(f"toml: cannot assign boolean to a {_go(value)}", where, column)
        if isinstance(value, str):
            if base == "string":
                return value
            raise DecodeError(f"toml: cannot decode TOML string into {context}", where, column)
        if isinstance(value, float):
            if base == "float64":
                return value
            raise DecodeError(f"toml: float cannot be assigned to {base}", where, column)
        if isinstance(value, int):
            if base == "float64":
                return float(value)
            if base not in _INTS:
                raise DecodeError(f"toml: cannot decode TOML integer into {context}", where, column)
            bits, unsigned = _INTS[base], base.startswith("u")
            if not -(1 << (bits - 1)) * (not unsigned) <= value < 1 << (bits - (not unsigned)):
                sign = "negative " if unsigned else ""
                article = "an" if base[0] in "iu" else "a"
                raise DecodeError(
                    f"toml: {sign}number {value} does not fit in {article} {base}", where, column, shown=False
                )
            return value
        # A date or time has no place in any of these types: reflect panics.
        raise DecodeError(f"panic: reflect.Set: value of type {_go_type(value)} is not assignable to type {kind}",
                          where, column, shown=False)  # fmt: skip
