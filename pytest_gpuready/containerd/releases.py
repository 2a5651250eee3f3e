"""How the releases of containerd differ in reading their configuration: one frozen record per version.

A record is the minor release's with the changes of its patch releases applied; sources are at each change.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import resources
from typing import Any

ALIASES = {"1.6": "1.6.20", "1.7": "1.7.24", "2.0": "2.0.11", "2.1": "2.1.9", "2.2": "2.2.7", "2.3": "2.3.4"}
"""What a version without a patch release stands for."""
NEWEST = ALIASES["2.3"]

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Release:
    """One version's ways.

    minor: the modelled minor release. version: the version itself. assumed: no such release is modelled.
    config_version: the newest file format it knows. go_toml: 1, 2 (v2.2.3, v2.2.4), 23 (v2.3.0) or
        24 (v2.4.3, Debian's).
    deep_merge: an import is merged key by key; else whole plugin tables are replaced.
    relative_glob: a relative glob in `imports` is taken from the importing file; else from the working directory.
    refuses_newer: a newer file format is fatal; else it is read and its tables are not found.
    strict_uri: plugin names must begin with io.containerd.
    migrates_files: every file is migrated before it is merged; else the result is, after.
    overwrites: a v2 CRI table replaces the whole v3 runtime table when it is migrated; else existing keys win.
    keeps_stream_keys: the migration keeps all streaming keys under io.containerd.grpc.v1.cri.
    bin_dirs: cni.bin_dir is migrated to cni.bin_dirs. default_bin_dirs: what that is where it is not set.
    refuses_newer_dropin: an import of a newer format than the main file is fatal.
    deprecations: ids of deprecated settings are recorded (the introspection service lists them).
    runtime_deprecations: the ids for runtimes, default_runtime, systemd_cgroup too.
    tracing_deprecations: the ids for the tracing plugins too.
    validates_drain_timeout: CRI checks drain_exec_sync_io_timeout.
    default_config_path: CRI images falls back to certs.d when nothing about registries is set.
    systemd_cgroup_default: the built-in runc handler has SystemdCgroup = false, else it is not set.
    cdi, cdi_field: CRI knows CDI; also by the field of the CRI API.
    sandbox_image: the built-in pause image.
    snapshotter_first: CRI looks for its snapshotter before everything else.
    go_toml_194: go-toml is v1.9.4, not v1.9.5.
    absent: plugins of the minor release that this version or build does not have.
    proxies: the types of proxy plugins that it knows, by their short names.
    """

    minor: str
    version: Version
    assumed: bool
    config_version: int
    go_toml: int
    deep_merge: bool = False
    relative_glob: bool = False
    refuses_newer: bool = False
    strict_uri: bool = False
    migrates_files: bool = False
    overwrites: bool = False
    keeps_stream_keys: bool = True
    bin_dirs: bool = False
    default_bin_dirs: tuple[str, ...] = ("/opt/cni/bin",)
    refuses_newer_dropin: bool = False
    deprecations: bool = True
    runtime_deprecations: bool = True
    tracing_deprecations: bool = True
    validates_drain_timeout: bool = True
    default_config_path: bool = True
    systemd_cgroup_default: bool = True
    cdi_field: bool = True
    cdi: bool = False
    sandbox_image: str = ""
    snapshotter_first: bool = False
    go_toml_194: bool = False
    absent: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ("snapshot", "content", "diff", "sandbox")

    @property
    def name(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))

    @property
    def schema(self) -> Schema:
        """Its plugins and their settings."""
        return _schema_at(self.minor, self.version[2] if not self.assumed else 1 << 20, self.absent)


_WARNING = "io.containerd.warning.v1.deprecations"
_BASE: dict[str, Release] = {
    "1.6": Release("1.6", (1, 6, 0), False, 2, 1, deprecations=False, runtime_deprecations=False, cdi_field=False,
                   tracing_deprecations=False,
                   validates_drain_timeout=False, default_config_path=False, sandbox_image="k8s.gcr.io/pause:3.6",
                   proxies=("snapshot", "content"), absent=(_WARNING,)),
    "1.7": Release("1.7", (1, 7, 0), False, 2, 1, strict_uri=True, deprecations=False, runtime_deprecations=False,
                   tracing_deprecations=False, cdi_field=False, cdi=True, validates_drain_timeout=True,
                   default_config_path=False,
                   snapshotter_first=True, sandbox_image="registry.k8s.io/pause:3.8",
                   proxies=("snapshot", "content", "diff"), absent=(_WARNING,)),
    "2.0": Release("2.0", (2, 0, 0), False, 3, 2, deep_merge=True, relative_glob=True, refuses_newer=True, cdi=True,
                   overwrites=True, keeps_stream_keys=False, default_config_path=False, systemd_cgroup_default=False,
                   sandbox_image="registry.k8s.io/pause:3.10"),
    "2.1": Release("2.1", (2, 1, 0), False, 3, 2, deep_merge=True, relative_glob=True, refuses_newer=True, cdi=True,
                   bin_dirs=True, default_config_path=False, systemd_cgroup_default=False,
                   sandbox_image="registry.k8s.io/pause:3.10"),
    "2.2": Release("2.2", (2, 2, 0), False, 3, 2, deep_merge=True, relative_glob=True, refuses_newer=True, cdi=True,
                   bin_dirs=True, default_config_path=False, sandbox_image="registry.k8s.io/pause:3.10.1"),
    "2.3": Release("2.3", (2, 3, 0), False, 4, 23, deep_merge=True, relative_glob=True, refuses_newer=True, cdi=True,
                   bin_dirs=True, migrates_files=True, refuses_newer_dropin=True,
                   sandbox_image="registry.k8s.io/pause:3.10.2"),
}  # fmt: skip

_CHANGES: tuple[tuple[Version, dict[str, Any]], ...] = (
    ((1, 6, 9), {"sandbox_image": "registry.k8s.io/pause:3.6"}),  # b66eb726a
    ((1, 6, 25), {"deprecations": True, "absent": ()}),  # 878823f4d: mirrors, auths, configs
    ((1, 6, 27), {"runtime_deprecations": True}),  # 833b94149 and others
    ((1, 6, 29), {"relative_glob": True, "validates_drain_timeout": True}),  # 0f2068a70, 85bed5863
    ((1, 6, 32), {"tracing_deprecations": True}),
    ((1, 6, 32), {"refuses_newer": True}),  # 38607b59c
    ((1, 7, 2), {"cdi_field": True}),
    ((1, 7, 9), {"deprecations": True, "absent": ()}),
    ((1, 7, 11), {"runtime_deprecations": True}),
    ((1, 7, 16), {"tracing_deprecations": True}),
    ((1, 7, 16), {"relative_glob": True}),  # 62e9535f2
    ((1, 7, 17), {"refuses_newer": True}),  # 00347b7fa
    ((2, 0, 1), {"keeps_stream_keys": True}),  # be5eda069
    ((2, 0, 2), {"overwrites": False}),  # 468079c5c
    ((2, 0, 7), {"systemd_cgroup_default": True}),  # 427cdd06c
    ((2, 1, 5), {"systemd_cgroup_default": True}),  # f13f8c431
    ((2, 2, 2), {"default_config_path": True}),  # a20dead7c
    ((2, 4, 0), {"refuses_newer_dropin": False}),  # a8ed54668, on main only
)


_DEBIAN: dict[Version, dict[str, Any]] = {
    (1, 6, 20): {
        "go_toml_194": True,
        "absent": (_WARNING, "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"),
    },
    (2, 1, 9): {
        "go_toml": 24,
        "absent": ("io.containerd.snapshotter.v1.zfs",),
        "default_bin_dirs": ("/usr/lib/cni", "/opt/cni/bin"),
    },
}
"""What Debian's builds change: 1.6.20~ds1-1 has golang-github-pelletier-go-toml 1.9.4-1, 2.1.9+ds1-5 has
golang-github-pelletier-go-toml.v2 2.4.3-2. The one has no tracing, the other no zfs, and Debian's folder of CNI plugins
(``containerd config default``)."""
_DEBIANS = re.compile(r"[+~]ds|\+unknown")
"""How they are told: the package's version, and ``containerd --version``.

``+unknown`` is what every build of 2.x says that does not set its version; upstream's own and Docker's set it.
"""


def parse(version: str) -> Version | None:
    """The numbers of a version as people and packages write it: ``v1.7.24~ds1-6``, ``2.1.9+unknown``, ``1.6``."""
    text = ALIASES.get(version, version)
    found = re.match(r"\s*v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def choose(version: str | None) -> Release:
    """The record for `version`; the newest that fits, marked `assumed`, where it is unknown or not modelled."""
    numbers = parse(version) if version else None
    if numbers is None:
        return replace(choose(NEWEST), assumed=True)
    minor = f"{numbers[0]}.{numbers[1]}"
    base = _BASE.get(minor)
    if base is None:
        fits = [m for m in _BASE if tuple(map(int, m.split("."))) <= numbers[:2]]
        base = replace(_BASE[fits[-1] if fits else "1.6"], assumed=True)
    changes: dict[str, Any] = {"version": numbers}
    low = (*map(int, base.minor.split(".")), 0)
    for since, change in _CHANGES:
        if low <= since <= numbers:
            changes.update(change)
    if version and _DEBIANS.search(version):
        changes.update(_DEBIAN.get(numbers, {}))
    return replace(base, **changes)


@dataclass(frozen=True)
class Schema:
    """What the plugins of a minor release are called and what settings they take.

    `types` has, by Go type, its fields as (key, Go field, Go type); `plugins` by URI the Go type of their
    configuration (None: takes none) and its built-in defaults; `needed` by URI how CRI fails where that plugin is
    disabled. Read off the plugin registry and the configuration structs of 1.6.39, 1.7.34, 2.0.11, 2.1.9, 2.2.7 and
    2.3.4; `needed` was asked of those daemons, one disabled plugin at a time.
    """

    types: dict[str, tuple[tuple[str, str, str], ...]]
    plugins: dict[str, tuple[str | None, dict[str, Any]]]
    needed: dict[str, str]

    @cached_property
    def _folded(self) -> dict[str, dict[str, str]]:
        """By Go type, the Go types of its fields by their keys in small letters; of equal ones the first counts."""
        return {name: {key.lower(): kind for key, _, kind in reversed(fields)} for name, fields in self.types.items()}

    def skips(self, keys: list[str]) -> bool:
        """Whether go-toml v2 has no place for a table of this name."""
        kind = "config.Config"
        for key in keys:
            if kind.startswith("map[string]"):
                kind = kind.removeprefix("map[string]")
                continue
            if kind not in self._folded:
                return False
            found = self._folded[kind].get(key.lower())
            if found is None:
                return True
            kind = found
        return False


_SINCE: dict[str, dict[tuple[str, str], int]] = {
    "1.6": {
        ("overlay.Config", "mount_options"): 24,
        ("overlay.Config", "sync_remove"): 24,
        ("config.PluginConfig", "drain_exec_sync_io_timeout"): 29,
        ("config.PluginConfig", "ignore_deprecation_warnings"): 29,
        ("config.ProxyPlugin", "exports"): 32,
        ("config.ProxyPlugin", "platform"): 32,
    },
    "1.7": {
        ("transfer.transferConfig", "max_concurrent_downloads"): 1,
        ("transfer.transferConfig", "max_concurrent_uploaded_layers"): 1,
        ("transfer.transferConfig", "unpack_config"): 1,
        ("transfer.transferConfig", "config_path"): 1,
        ("overlay.Config", "mount_options"): 4,
        ("overlay.Config", "sync_remove"): 4,
        ("config.PluginConfig", "ignore_deprecation_warnings"): 14,
        ("config.PluginConfig", "image_pull_with_sync_fs"): 14,
        ("config.ProxyPlugin", "exports"): 16,
        ("config.ProxyPlugin", "platform"): 16,
        ("config.ProxyPlugin", "capabilities"): 23,
        ("diff.config", "sync_fs"): 26,
    },
    "2.1": {("plugin.Config#3", "set_immutable"): 4},
    "2.2": {
        ("config.RuntimeConfig", "enable_criu"): 7,
        ("config.RuntimeConfig", "enable_experimental_restore_via_create"): 7,
    },
    "2.3": {
        ("config.RuntimeConfig", "enable_criu"): 4,
        ("config.RuntimeConfig", "enable_experimental_restore_via_create"): 4,
    },
}
"""The patch release that brought a setting, where it was not the first of its minor release."""


@cache
def _schema_at(minor: str, patch: int, absent: tuple[str, ...]) -> Schema:
    schema = _schema(minor)
    if absent:
        kept = {uri: plugin for uri, plugin in schema.plugins.items() if uri not in absent}
        schema = Schema(schema.types, kept, schema.needed)
    late = {field for field, since in _SINCE.get(minor, {}).items() if since > patch}
    if not late:
        return schema
    types = {
        name: tuple(field for field in fields if (name, field[0]) not in late) for name, fields in schema.types.items()
    }
    plugins = {
        uri: (kind, {key: value for key, value in default.items() if (kind, key) not in late})
        for uri, (kind, default) in schema.plugins.items()
    }
    return Schema(types, plugins, schema.needed)


@cache
def _schema(minor: str) -> Schema:
    text = resources.files(__package__).joinpath("schema.json").read_text("utf-8")
    types: dict[str, list[str]] = {}
    plugins: dict[str, dict[str, Any]] = {}
    needed: dict[str, str] = {}
    for name, part in json.loads(text).items():
        types.update(part["types"])
        plugins.update(part["plugins"])
        needed = part["needed"]
        if name == minor:
            break
    return Schema(
        {
            name: tuple((key, go, kind) for key, go, kind in (field.split(" ", 2) for field in fields))
            for name, fields in types.items()
            if fields is not None
        },
        {uri: (p.get("config"), p.get("default", {})) for uri, p in plugins.items() if p is not None},
        needed,
    )
