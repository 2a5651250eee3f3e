"""A CDI spec, read and validated by the rules of the public specification and its reference implementation.

Source: github.com/cncf-tags/container-device-interface v1.1.0: SPEC.md, specs-go/config.go (fields),
specs-go/version.go (versions and what each brought), pkg/parser/parser.go (names), and pkg/cdi: spec.go, device.go,
container-edits.go (what makes a spec invalid). containerd, nerdctl, ctr and nvidia-container-runtime all read specs by
that code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pytest_gpuready.cdispec.document import Map, Seq, Unparsable, load, plain
from pytest_gpuready.kept import Kept

#: Versions that there are (0.1.0 and 0.2.0 are accepted as words, and then refused for being older than 0.3.0).
VERSIONS: tuple[tuple[int, ...], ...] = (
    (0, 1, 0),
    (0, 2, 0),
    (0, 3, 0),
    (0, 4, 0),
    (0, 5, 0),
    (0, 6, 0),
    (0, 7, 0),
    (0, 8, 0),
    (1, 0, 0),
    (1, 1, 0),
)
_HOOKS = frozenset({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})
_TYPES = frozenset({"", "b", "c", "u", "p"})

# Fields by kind of value: s string, i integer, b truth value, m mapping of strings, S list of strings, I list of
# integers, or the name of a table (a trailing * is a list of such).
_TABLES: dict[str, dict[str, str]] = {
    "spec": {"cdiVersion": "s", "kind": "s", "annotations": "m", "devices": "device*", "containerEdits": "edits"},
    "device": {"name": "s", "annotations": "m", "containerEdits": "edits"},
    "edits": {
        "env": "S",
        "deviceNodes": "node*",
        "netDevices": "net*",
        "hooks": "hook*",
        "mounts": "mount*",
        "intelRdt": "rdt",
        "additionalGids": "I",
    },
    "node": {
        "path": "s",
        "hostPath": "s",
        "type": "s",
        "major": "i",
        "minor": "i",
        "fileMode": "i",
        "permissions": "s",
        "uid": "i",
        "gid": "i",
    },
    "mount": {"hostPath": "s", "containerPath": "s", "options": "S", "type": "s"},
    "hook": {"hookName": "s", "path": "s", "args": "S", "env": "S", "timeout": "i"},
    "rdt": {"closID": "s", "l3CacheSchema": "s", "memBwSchema": "s", "schemata": "S", "enableMonitoring": "b"},
    "net": {"hostInterfaceName": "s", "name": "s"},
}
# encoding/json takes a field's name in any case.
_FIELDS = {table: {name.lower(): (name, kind) for name, kind in fields.items()} for table, fields in _TABLES.items()}


class Invalid(Unparsable):
    """The file is no valid CDI spec."""


@dataclass(frozen=True)
class DeviceNode:
    """A device node that a container gets: `host` is its path on the node; numbers left out are None."""

    path: str
    host: str
    type: str
    major: int | None
    minor: int | None
    line: int


@dataclass(frozen=True)
class Mount:
    """A mount that a container gets."""

    host: str
    container: str
    type: str
    options: tuple[str, ...]
    line: int

    @property
    def is_bind(self) -> bool:
        """`host` is a path on the node."""
        return self.type in ("", "bind", "none") or any(word in ("bind", "rbind") for word in self.options)


@dataclass(frozen=True)
class Hook:
    """A program that runs while a container is created."""

    path: str
    args: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Edits:
    """What a device or the whole spec adds to a container."""

    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()


@dataclass(frozen=True)
class Device:
    """A device by its name in the spec."""

    name: str
    edits: Edits
    line: int


@dataclass(frozen=True)
class Spec:
    """A valid CDI spec."""

    path: str
    version: tuple[int, ...]
    version_line: int | None
    kind: str
    devices: tuple[Device, ...]
    edits: Edits

    @property
    def version_text(self) -> str:
        """The version of the specification that it claims."""
        return ".".join(map(str, self.version))

    @property
    def all_edits(self) -> tuple[Edits, ...]:
        """Those of the spec, then those of each device."""
        return (self.edits, *(device.edits for device in self.devices))


#: Equal nodes have equal specs, and YAML is slow to read.
_kept: Kept[Spec] = Kept(80 << 20)
#: What a spec takes, about, in units of its size.
_WEIGHT = 40


def parse(path: str, data: bytes) -> Spec:
    """The spec in a file's bytes.

    Raises:
        Invalid: it is none. `TooMuch`: this reader does not look that far.
    """
    return _kept.get((path, data), lambda: _parse(path, data), lambda _: len(data) * _WEIGHT)


def _parse(path: str, data: bytes) -> Spec:
    root = load(data)
    if not isinstance(root, Map):
        raise Invalid("it holds no spec" if root is None else "its top level is no mapping", 1)
    top = _table("spec", root, "the spec")
    version, kind, devices = plain(top.get("cdiVersion")), plain(top.get("kind")), top.get("devices") or []
    numbers = _version(version, top.line("cdiVersion"))
    least, why, line = _least(top)
    if numbers < least:
        needed = ".".join(map(str, least))
        raise Invalid(f"the spec version must be at least v{needed}, since it has {why}; it says {version}", line)
    vendor, _, of_class = kind.partition("/")
    if not vendor or not of_class:
        raise Invalid(f"kind {kind!r} is not of the form vendor/class", top.line("kind"))
    for word, what in ((vendor, "vendor"), (of_class, "class")):
        if not re.fullmatch(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?", word):
            raise Invalid(f"invalid {what} {word!r} in kind {kind!r}", top.line("kind"))
    common = _edits(top.get("containerEdits"))
    found: dict[str, Device] = {}
    for device in devices:
        one = _device(device)
        if one.name in found:
            raise Invalid(f"invalid spec, multiple device {one.name!r}", device.place)
        found[one.name] = one
    if not found:
        raise Invalid("invalid spec, no devices", top.line("devices"))
    return Spec(path, numbers, top.line("cdiVersion"), kind, tuple(found.values()), common)


class _Row(dict[str, Any]):
    """A decoded table: values by the specification's own names, with the place of each."""

    def __init__(self, mapping: Map) -> None:
        super().__init__()
        self.place = mapping.line
        self.places: dict[str, int] = {}

    def line(self, name: str) -> int:
        """Where a field stands, or the table if it is not there."""
        return self.places.get(name, self.place)


def _table(table: str, mapping: Map, what: str) -> _Row:
    row = _Row(mapping)
    for key, value in mapping.items():
        line = mapping.lines[key]
        known = _FIELDS[table].get(key.lower())
        if known is None:
            raise Invalid(f"unknown field {key!r} in {what}", line)
        name, kind = known
        row[name] = _value(kind, value, f"{name} of {what}", line)
        row.places[name] = line
    return row


def _value(kind: str, value: Any, what: str, line: int) -> Any:
    if value is None:
        return None
    if kind == "s":
        if isinstance(value, (Map, Seq)):
            raise Invalid(f"{what} must be a string", line)
        return plain(value)
    if kind == "i":
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid(f"{what} must be a whole number", line)
        return value
    if kind == "b":
        if not isinstance(value, bool):
            raise Invalid(f"{what} must be true or false", line)
        return value
    if kind == "m":
        if not isinstance(value, Map) or any(isinstance(one, (Map, Seq)) for one in value.values()):
            raise Invalid(f"{what} must be a mapping of strings", line)
        return dict(value)
    if kind in ("S", "I") or kind.endswith("*"):
        if not isinstance(value, Seq):
            raise Invalid(f"{what} must be a list", line)
        inner = {"S": "s", "I": "i"}.get(kind, kind.removesuffix("*"))
        return [_element(inner, one, f"an entry in {what}", at) for one, at in zip(value, value.lines, strict=True)]
    if not isinstance(value, Map):
        raise Invalid(f"{what} must be a mapping", line)
    return _table(kind, value, what)


def _element(kind: str, value: Any, what: str, line: int) -> Any:
    found = _value(kind, value, what, line)
    if found is None and kind not in ("s", "i"):
        raise Invalid(f"{what} is empty", line)
    return found


def _version(text: str, line: int) -> tuple[int, ...]:
    for known in VERSIONS:
        if text.removeprefix("v") == ".".join(map(str, known)):
            return known
    raise Invalid(f"invalid version {text!r}: cdiVersion must be one of 0.3.0 to 1.1.0", line)


def _least(top: _Row) -> tuple[tuple[int, ...], str, int]:
    """The lowest version that has everything the spec uses, what that is, and where (specs-go/version.go)."""
    wants: list[tuple[tuple[int, ...], str, int]] = [((0, 3, 0), "", top.place)]
    if top.get("annotations"):
        wants.append(((0, 6, 0), "annotations", top.line("annotations")))
    if "." in plain(top.get("kind")).partition("/")[2]:
        wants.append(((0, 6, 0), "a dot in the class of its kind", top.line("kind")))
    parts: list[_Row | None] = [top.get("containerEdits")]
    for device in top.get("devices") or []:
        parts.append(device.get("containerEdits"))
        if plain(device.get("name"))[:1].isdigit():
            wants.append(((0, 5, 0), "a device whose name begins with a digit", device.line("name")))
        if device.get("annotations"):
            wants.append(((0, 6, 0), "annotations", device.line("annotations")))
    for edits in parts:
        if edits is not None:
            wants.extend(_edits_want(edits))
    # The highest one, and of that the first place.
    return max(wants, key=lambda want: want[0])


def _edits_want(edits: _Row) -> list[tuple[tuple[int, ...], str, int]]:
    wants: list[tuple[tuple[int, ...], str, int]] = [
        ((0, 4, 0), "a mount with a type", mount.line("type"))
        for mount in edits.get("mounts") or []
        if mount.get("type")
    ]
    wants += [
        ((0, 5, 0), "a device node with a hostPath", node.line("hostPath"))
        for node in edits.get("deviceNodes") or []
        if node.get("hostPath")
    ]
    if edits.get("additionalGids"):
        wants.append(((0, 7, 0), "additionalGids", edits.line("additionalGids")))
    if edits.get("netDevices"):
        wants.append(((1, 1, 0), "netDevices", edits.line("netDevices")))
    rdt = edits.get("intelRdt")
    if rdt is not None:
        newer = rdt.get("schemata") is not None or rdt.get("enableMonitoring")
        wants.append(((1, 1, 0) if newer else (0, 7, 0), "intelRdt", edits.line("intelRdt")))
    return wants


def _device(row: _Row) -> Device:
    name = plain(row.get("name"))
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?", name):
        raise Invalid(f"invalid device name {name!r}", row.line("name"))
    edits = row.get("containerEdits")
    if edits is None or (
        not any(edits.get(field) for field in _TABLES["edits"] if field != "intelRdt") and edits.get("intelRdt") is None
    ):
        raise Invalid(f"invalid device {name!r}, empty device edits", row.line("containerEdits"))
    return Device(name, _edits(edits), row.place)


def _edits(row: _Row | None) -> Edits:
    if row is None:
        return Edits()
    _env(row, "containerEdits")
    hooks = []
    for hook in row.get("hooks") or []:
        if plain(hook.get("hookName")) not in _HOOKS:
            raise Invalid(f"invalid hook name {plain(hook.get('hookName'))!r}", hook.line("hookName"))
        if not hook.get("path"):
            raise Invalid(f"invalid hook {hook['hookName']!r} with empty path", hook.place)
        _env(hook, f"hook {hook['hookName']!r}")
        hooks.append(Hook(hook["path"], tuple(hook.get("args") or ()), hook.line("path")))
    mounts = []
    for mount in row.get("mounts") or []:
        for field in ("hostPath", "containerPath"):
            if not mount.get(field):
                raise Invalid(f"invalid mount, empty {field}", mount.place)
        options = tuple(plain(option) for option in mount.get("options") or ())
        mounts.append(
            Mount(mount["hostPath"], mount["containerPath"], mount.get("type") or "", options, mount.line("hostPath"))
        )
    for net in row.get("netDevices") or []:
        if not net.get("hostInterfaceName") or not net.get("name"):
            raise Invalid("invalid linux net device, empty name", net.place)
    rdt = row.get("intelRdt")
    clos = plain(rdt.get("closID")) if rdt is not None else ""
    if clos != "/" and (len(clos) >= 4096 or clos in (".", "..") or "/" in clos or "\n" in clos):
        raise Invalid("invalid ClosID", row.line("intelRdt"))
    return Edits(tuple(_node(node) for node in row.get("deviceNodes") or []), tuple(mounts), tuple(hooks))


def _node(row: _Row) -> DeviceNode:
    path, kind, permissions = (plain(row.get(field)) for field in ("path", "type", "permissions"))
    if not path:
        raise Invalid("invalid (empty) device path", row.place)
    if kind not in _TYPES:
        raise Invalid(f"device {path!r}: invalid type {kind!r}", row.line("type"))
    if permissions != "none" and permissions.strip("rwm"):
        raise Invalid(f"device {path!r}: invalid permissions {permissions!r}", row.line("permissions"))
    return DeviceNode(path, row.get("hostPath") or path, kind, row.get("major"), row.get("minor"), row.line("path"))


def _env(row: _Row, what: str) -> None:
    for entry in row.get("env") or []:
        if plain(entry).find("=") <= 0:
            raise Invalid(f"invalid environment variable {plain(entry)!r} in {what}", row.line("env"))
