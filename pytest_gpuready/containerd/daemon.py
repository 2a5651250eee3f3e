"""The daemon after its files are read: plugins migrated and decoded, the CRI plugin tried, the answer put together.

Sources: 1.x services/server/server.go, 2.x cmd/containerd/server/server.go (New, LoadPlugins).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd import migrate
from pytest_gpuready.containerd.config import Refused, Walked, clean, dotted
from pytest_gpuready.containerd.cri import Cri, Failed
from pytest_gpuready.containerd.decode import DecodeError, Decoder
from pytest_gpuready.containerd.go_errors import duration_error
from pytest_gpuready.containerd.handlers import handlers
from pytest_gpuready.containerd.listeners import listener_error, logging_error, tls_error
from pytest_gpuready.containerd.migrate import CRI, IMAGES, RUNTIME, PanicError
from pytest_gpuready.containerd.model import DEFAULT_ADDRESS, Deprecation, Ineffective, Loaded, Refusal, Unknown, Where
from pytest_gpuready.containerd.plugins import DEPENDS, Others, not_started, tracing_deprecations
from pytest_gpuready.containerd.proxies import Proxied, proxied, proxy_uri
from pytest_gpuready.containerd.tree import Tree, document_error, from_default, leaves, marshalled, plain

if TYPE_CHECKING:
    from pytest_gpuready.containerd.files import Files
    from pytest_gpuready.containerd.model import IneffectiveKind
    from pytest_gpuready.containerd.releases import Release

_SERVER = "io.containerd.server.v1.grpc"
_WORDY = 24
"""The go-toml that names what is no table."""
_NO_SNAPSHOTTER = "failed to find snapshotter"


def clean_path(path: str) -> str:
    """The daemon's -c as an absolute path; a relative one is taken from /."""
    return clean(path if path.startswith("/") else "/" + path)


def dropin_patterns(config_path: str) -> list[str]:
    """Return where people put drop-ins; containerd reads them only where an `imports` line names them.

    A folder whose name holds wildcards is left out: no pattern means it alone.
    """
    folder = posixpath.dirname(clean_path(config_path))
    return [] if re.search(r"[*?\[\\]", folder) else [posixpath.join(folder, "*.d", "*.toml")]


class Daemon:
    """server.New: the plugins' settings decoded, the CRI plugin tried."""

    def __init__(self, files: Files, release: Release, walked: Walked) -> None:
        self.files, self.release, self.walked = files, release, walked
        self.v1 = release.go_toml == 1
        self.error: Refusal | None = None
        self.cri_error: Refusal | None = None
        self.cri_state: Any = "daemon exits"
        self.unknown: list[Unknown] = []
        self.deprecations: list[Deprecation] = []
        self.tables: dict[str, Tree] = {}
        self.result: dict[str, Any] = {}
        self.disabled: set[str] = set()
        self.cri_failed: dict[str, Refusal] = {}
        self.proxied = Proxied()
        self.dies: Refusal | None = None

    def note(
        self,
        path: tuple[str, ...],
        where: Where | None,
        reason: str,
        by: Where | None = None,
        kind: IneffectiveKind = "unread",
    ) -> None:
        """A setting without effect."""
        self.walked.note(path, where, reason, by, kind)

    @property
    def short_names(self) -> bool:
        """1.x with a file of format 1: plugins go by their short names."""
        return self.v1 and self.walked.version == 1

    def key(self, uri: str) -> str:
        """The name of a plugin's table in the merged files."""
        return uri.rsplit(".", 1)[1] if self.short_names else uri

    def start(self) -> None:
        """Raises: Refused, Undecided, PanicError."""
        tree, release = self.walked.tree, self.release
        self.refuse(logging_error(tree.table("debug")))
        if tree.get("plugin_dir") and release.deprecations and release.minor in ("1.6", "1.7", "2.0"):
            self.deprecations.append(Deprecation("io.containerd.deprecation/go-plugin-library", tree.at("plugin_dir")))
        self.find_disabled()
        if not self.v1 and not release.migrates_files:
            self.migrate()
        root, state = tree.get("root", "/var/lib/containerd"), tree.get("state", "/run/containerd")
        if root == state:
            raise Refused("containerd: root and state must be different paths", tree.at("root"))
        for name, value in tree.table("timeouts").items():
            if duration_error(value):
                text = f"containerd: unable to parse {value} into a time duration"
                raise Refused(text, tree.table("timeouts").wheres.get(name))
        self.proxied = proxied(release, tree.table("proxy_plugins"), self.disabled)
        if release.config_version < 4:
            self.refuse(tls_error(tree.table("grpc"), self.files, self.unknown.append))
        self.decode()
        if release.tracing_deprecations:
            self.deprecations.extend(tracing_deprecations(self.tables))
        self.check_cri()
        self.check_required()
        self.refuse(listener_error(release, tree, self.tables, self.unknown.append))
        if self.dies is not None:
            self.error = self.dies

    @staticmethod
    def refuse(wrong: tuple[str, Where | None] | None) -> None:
        """Raises: Refused, where something is wrong."""
        if wrong is not None:
            raise Refused(*wrong)

    def find_disabled(self) -> None:
        """Which plugins `disabled_plugins` names."""
        tree = self.walked.tree
        names = tree.get("disabled_plugins", [])
        known = set(self.release.schema.plugins)
        proxies = {
            uri for name, proxy in tree.table("proxy_plugins").items() if (uri := proxy_uri(self.release, name, proxy))
        }
        by_key: dict[str, set[str]] = {}
        for uri in known | proxies:
            by_key.setdefault(self.key(uri), set()).add(uri)
        for name in names:
            hit = by_key.get(name, set())
            self.disabled |= hit
            if not hit:
                where = tree.at("disabled_plugins")
                self.note(("disabled_plugins",), where, f"{name} names no plugin of this containerd")

    def migrate(self) -> None:
        """2.0 to 2.2: the merged result is migrated."""
        version, target = self.walked.version, self.release.config_version
        tree = self.walked.tree
        lost = migrate.Lost(
            lambda path, where, reason, by: self.note(("plugins", *path), where, reason, by, "migrated")
        )
        if version < 0:
            raise PanicError(f"runtime error: index out of range [{version}]", tree.at("version"))
        if version == 1 < target:
            tree["plugins"] = migrate.v1_names(tree["plugins"], lost)
        for _ in range(version, target):
            migrate.step(tree["plugins"], self.release, self.disabled, lost)

    def decode(self) -> None:
        """Every plugin's table into its type.

        Raises:
            Refused: a value has a wrong type.
        """
        raw = self.walked.tree["plugins"]
        plugins = self.release.schema.plugins
        used = set()
        for uri, (kind, default) in plugins.items():
            key = self.key(uri)
            if uri in self.disabled:
                if key in raw:
                    used.add(key)
                    self.note(
                        ("plugins", key), raw.wheres.get(key), "the plugin is disabled", self.why_disabled(), "disabled"
                    )
                continue
            if kind is None:
                continue
            base = self.default(uri, from_default(default))
            if key in raw:
                used.add(key)
                base = self.decode_one(uri, key, raw, kind, base)
            self.tables[uri] = base
        for key in raw:
            if key not in used:
                self.note(("plugins", key), raw.wheres.get(key), self.dead(key))

    def decode_one(self, uri: str, key: str, raw: Tree, kind: str, base: Tree) -> Tree:
        """One plugin's table into its type."""
        table = raw[key]
        where = raw.wheres.get(key)
        if not isinstance(table, Tree):
            wrong = document_error(table)
            if self.release.go_toml == _WORDY:
                wrong = f"toml: cannot encode a {migrate.go_kind(table)} as a document root"
            if wrong:
                raise Refused(f"containerd: {wrong}", where)
            self.note(("plugins", key), where, "no table")
            return base
        decoder = Decoder(self.release.schema, self.release.go_toml)
        try:
            out = decoder.decode(table if self.v1 else marshalled(table), kind, base)
        except DecodeError as error:
            place = error.where or where
            if error.text.startswith("panic: "):
                raise PanicError(error.text.removeprefix("panic: "), place) from None
            position = error.place(place)
            text = f"({position[0]}, {position[1]}): {error.text}" if self.v1 else error.text
            raise Refused(f"containerd: {text}", place) from None
        for path, place in decoder.unknown:
            self.note(("plugins", key, *path), place, self.unknown_key(uri, path))
        return out

    def default(self, uri: str, table: Tree) -> Tree:
        """The built-in defaults of this very version."""
        if uri == CRI and self.v1:
            table["sandbox_image"] = self.release.sandbox_image
        if uri == IMAGES:
            table.table("pinned_images")["sandbox"] = self.release.sandbox_image
        if uri == RUNTIME and self.release.bin_dirs:
            table.table("cni")["bin_dirs"] = [*self.release.default_bin_dirs]
        if uri == RUNTIME and not self.release.systemd_cgroup_default:
            table.table("containerd", "runtimes", "runc", "options").pop("SystemdCgroup", None)
        return table

    def why_disabled(self) -> Where | None:
        """The line of `disabled_plugins`."""
        return self.walked.tree.wheres.get("disabled_plugins")

    def dead(self, key: str) -> str:
        """Why nothing reads a plugin table."""
        effective = self.walked.version
        if key in (RUNTIME, IMAGES, "io.containerd.cri.v1"):
            return f"this containerd has no plugin {key}"
        if "." not in key and not self.short_names:
            return f"a table of file format 1, but the files are read as format {effective}"
        if self.short_names and "." in key:
            return "a table of file format 2 or later, but the files are read as format 1"
        return f"this containerd reads no table {key}"

    def unknown_key(self, uri: str, path: tuple[str, ...]) -> str:
        """Why a key of a plugin's table has no effect."""
        if uri == CRI and not self.v1:
            return f"the files are read as format {self.walked.version}, in which {CRI} has only the streaming server"
        if path[-1:] == ("enable_cdi",) and len(path) > 1:
            return "enable_cdi belongs to the CRI plugin's own table, not here"
        return "unknown to this containerd"

    def check_cri(self) -> None:
        """The CRI plugin, as far as files tell."""
        cri = Cri(self.release, self.tables, self.files, self.proxied.snapshotters, self.disabled)
        self.cri_state = "serving"
        stages = [(CRI, cri.check_v1)] if self.v1 else [
            (IMAGES, cri.check_images), (RUNTIME, cri.check_runtime), (CRI, cri.check_server)]  # fmt: skip
        failed: dict[str, Refusal] = {}
        for uri, check in stages:
            if uri in self.disabled:
                continue
            try:
                check()
            except Failed as error:
                failed[uri] = error.refusal
        self.cri_failed = failed
        others = Others(self.release, self.tables, self.disabled, self.proxied)
        self.cri_error = self.first_failure(failed, others.failure())
        cri.unknown.extend(others.unknown)
        self.deprecations.extend(cri.deprecations)
        if CRI in self.disabled or _SERVER in self.disabled:
            self.cri_state, self.cri_error = "not loaded", None
            return
        self.unknown.extend(cri.unknown)
        if self.cri_error is not None:
            self.cri_state = "failed"
            return
        self.dies = cri.dies
        found = handlers(self.release, cri.runtimes, self.note)
        for handler in found.values():
            # 2.x decodes the options of every handler as it starts (introspectRuntimeHandler); an error is only logged.
            wrong = handler.options_error or ""
            if not self.v1 and handler.runtime_type == "io.containerd.runc.v2" and wrong.startswith("panic: "):
                raise PanicError(wrong.removeprefix("panic: "), handler.where)
        images = cri.images if self.v1 else cri.images.table("pinned_images")
        sandbox = "sandbox_image" if self.v1 else "sandbox"
        cdi = self.release.cdi
        self.result = {
            "handlers": found,
            "default_runtime": cri.default_runtime,
            "default_runtime_where": cri.default_where,
            "cdi_enabled": bool(cdi and cri.runtime.get("enable_cdi")),
            "cdi_enabled_where": cri.runtime.exact("enable_cdi") if cdi else None,
            "cdi_spec_dirs": tuple(cri.runtime.get("cdi_spec_dirs", ())) if cdi else (),
            "cdi_spec_dirs_where": cri.runtime.exact("cdi_spec_dirs") if cdi else None,
            "sandbox_image": images.get(sandbox),
            "sandbox_image_where": images.exact(sandbox),
        }

    def first_failure(self, failed: dict[str, Refusal], others: Refusal | None) -> Refusal | None:
        """What to show where CRI does not start: the first of the plugins that it is made of."""
        own = next((failed[uri] for uri in (RUNTIME, IMAGES, CRI) if uri in failed), None)
        early = own is not None and (not own.text.startswith(f"{CRI}: ") or ": invalid plugin config: " in own.text)
        if own is not None and early and _NO_SNAPSHOTTER not in own.text:
            return own
        no_images = not self.v1 and IMAGES in self.disabled  # then nothing fails that would fail in CRI images
        if self.proxied.content is not None and not self.v1 and not no_images:
            text = "multiple plugins registered for io.containerd.content.v1: plugin: multiple instances"
            return Refusal(f"{IMAGES}: {text}", self.proxied.content.path, self.proxied.content.line)
        if others is not None and not no_images:
            return others
        for uri, text in self.release.schema.needed.items():
            if no_images and text.startswith(f"{IMAGES}: "):
                continue
            if uri in self.disabled and (self.release.deprecations or ".warning." not in uri):
                where = self.why_disabled()
                return Refusal(text, where.path if where else None, where.line if where else None)
        return own

    def check_required(self) -> None:
        """Raises: Refused, where a required plugin is missing or failed."""
        tree = self.walked.tree
        names = tree.get("required_plugins", [])
        where = tree.at("required_plugins")
        available = {self.key(uri) for uri in self.release.schema.plugins if uri not in self.disabled}
        available |= {self.key(f"io.containerd.snapshotter.v1.{name}") for name in self.proxied.snapshotters}
        for uri in (IMAGES, RUNTIME, CRI):
            failure = self.failed(uri)
            if failure and uri not in self.disabled and self.key(uri) in names:
                raise Refused(f"containerd: load required plugin {uri}: {failure}", where)
        for uri in self.release.schema.plugins:
            if uri not in self.disabled and self.key(uri) in names:
                words = not_started(self.release, uri, self.tables.get(uri, Tree()))
                if words == DEPENDS:
                    self.unknown.append(Unknown("loads", f"whether the plugin {uri} starts on this node"))
                elif words:
                    raise Refused(f"containerd: load required plugin {uri}: {words}", where)
        missing = [name for name in dict.fromkeys(names) if name not in available]
        if missing:
            raise Refused(f"containerd: required plugin [{' '.join(missing)}] not included", where)

    def failed(self, uri: str) -> str | None:
        """The words of one of CRI's plugins that failed; the last of them fails with the others."""
        refusal = self.cri_failed.get(uri)
        if uri == CRI and not self.v1:
            for part, what in ((RUNTIME, "runtime"), (IMAGES, "image")):
                failure = self.cri_failed.get(part)
                if failure:
                    text = failure.text.removeprefix(f"{part}: ")
                    return f"unable to load CRI {what} service plugin dependency: {text}"
        if uri == CRI:
            refusal = refusal or self.cri_error
        return refusal.text.removeprefix(f"{uri}: ") if refusal else None

    def unimported(self, config_path: str) -> None:
        """Drop-ins beside the configuration that no `imports` line names."""
        followed = set(self.walked.versions)
        for pattern in dropin_patterns(config_path):
            for path in self.files.glob(pattern):
                if path not in followed and "/certs.d/" not in path and self.error is None:
                    reason = "no imports line names this file"
                    self.walked.notes.append(Ineffective(Where(path, 1), path, reason, kind="not-imported"))

    def address(self) -> tuple[str, Where | None]:
        """The address of the main socket."""
        tree = self.walked.tree
        if self.release.config_version >= 4:
            table = self.tables.get(_SERVER, Tree())
            return table.get("address") or DEFAULT_ADDRESS, table.exact("address")
        return tree.table("grpc").get("address") or DEFAULT_ADDRESS, tree.table("grpc").exact("address")

    def loaded(self) -> Loaded:
        """The answer."""
        walked, tree = self.walked, self.walked.tree
        address, address_where = self.address()
        exits = self.error is not None or any(item.field == "everything" for item in self.unknown)
        wheres = {}
        top = {key: value for key, value in tree.items() if key not in ("plugins", "imports")}
        for key, value in top.items():
            below = leaves(value, (key,)) if isinstance(value, Tree) else iter([((key,), value, tree.wheres.get(key))])
            wheres.update({dotted(path): place for path, _, place in below if place})
        for uri, table in self.tables.items():
            wheres.update({dotted(path): place for path, _, place in leaves(table, ("plugins", uri)) if place})
        effective = {**plain(top), "plugins": {uri: plain(table) for uri, table in self.tables.items()}}
        result = {} if exits else self.result
        return Loaded(
            version=self.release.name,
            release=self.release.minor,
            assumed=self.release.assumed,
            loads=not exits,
            cri_state="daemon exits" if exits else self.cri_state,
            error=self.error,
            cri_error=None if exits else self.cri_error,
            address=address,
            address_where=address_where,
            config_version=walked.version if walked.files else None,
            config_versions=dict(walked.versions),
            imports=tuple(walked.files),
            disabled_plugins=tuple(tree.get("disabled_plugins", ())),
            required_plugins=tuple(tree.get("required_plugins", ())),
            ineffective=tuple(dict.fromkeys(walked.notes)),
            deprecations=() if exits else tuple(self.deprecations),
            unknown=tuple(map(str, self.unknown)),
            by_node=tuple(self.unknown),
            effective=effective,
            wheres=wheres,
            **result,
        )
