"""Other plugins whose own settings make them fail, and the CRI plugin with them.

Sources: 1.x metadata/plugin and services/diff/local.go; 2.x plugins/metadata, plugins/services/diff/local.go,
plugins/transfer/plugin.go and plugins/snapshots/devmapper; the words in front are those of the daemons asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_gpuready.containerd._toml import quote
from pytest_gpuready.containerd.cri import ALWAYS_THERE
from pytest_gpuready.containerd.migrate import CRI, IMAGES
from pytest_gpuready.containerd.model import Deprecation, Refusal, Unknown
from pytest_gpuready.containerd.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.containerd.model import Where
    from pytest_gpuready.containerd.proxies import Proxied
    from pytest_gpuready.containerd.releases import Release

_TASKS = "io.containerd.runtime.v2.task"
_BOLT = "io.containerd.metadata.v1.bolt"
_DIFF = "io.containerd.service.v1.diff-service"
_TRANSFER = "io.containerd.transfer.v1.local"
_DEVMAPPER = "io.containerd.snapshotter.v1.devmapper"
_BLOCKFILE = "io.containerd.snapshotter.v1.blockfile"
_EROFS = "io.containerd.snapshotter.v1.erofs"
_SIZE = re.compile(r"\d+(\.\d+)* ?([kmgtpKMGTP][iI]?[bB]?|[bB])?")
_PLAIN = 2
"""The last go-toml that was built with a containerd/platforms without features."""
_PARTS = 3
"""Most parts of a platform: system, machine, variant."""
_SYSTEMS = ("linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "plan9", "android", "dragonfly",
            "illumos", "aix", "js", "wasip1", "ios")  # fmt: skip
_MACHINES = ("amd64", "x86_64", "x86-64", "386", "i386", "arm", "armhf", "armel", "arm64", "aarch64", "ppc64",
             "ppc64le", "riscv64", "s390x", "mips", "mipsle", "mips64", "mips64le", "loong64", "wasm")  # fmt: skip


class Others:
    """The plugins beside CRI."""

    def __init__(self, release: Release, tables: dict[str, Tree], disabled: set[str], proxied: Proxied) -> None:
        self.release, self.tables, self.disabled = release, tables, disabled
        self.snapshotters, self.differs = proxied.snapshotters, proxied.differs
        self.v1 = release.go_toml == 1
        self.unknown: list[Unknown] = []

    def table(self, uri: str) -> Tree:
        """A plugin's settings; none where it is disabled."""
        return Tree() if uri in self.disabled else self.tables.get(uri, Tree())

    def failure(self) -> Refusal | None:
        """How the CRI plugin fails for the first of them that fails."""
        for check in (self._metadata, self._tasks, self._differs, self._transfer, self._devmapper, self._images):
            found = check()
            if found is not None:
                text, where = found
                return Refusal(text, where.path if where else None, where.line if where else None)
        return None

    def _behind(self, words: str, service: str, newer: str = "") -> str:
        """The words in front, by release."""
        if self.release.minor == "1.6":
            return f"{CRI}: failed to get services: failed to get instance of service {quote(service)}: {words}"
        if self.v1:
            return f"{CRI}: failed to create containerd client: {newer}{words}"
        return f"{IMAGES}: {words}"

    def _metadata(self) -> tuple[str, Where | None] | None:
        table = self.table(_BOLT)
        policy = table.get("content_sharing_policy", "")
        if policy in ("", "shared", "isolated"):
            return None
        newer = 'failed to get "io.containerd.lease.v1" plugin: '
        text = self._behind(f"unknown policy: {policy}: invalid argument", "containers-service", newer)
        return text, table.at("content_sharing_policy")

    def _tasks(self) -> tuple[str, Where | None] | None:
        table = self.table(_TASKS)
        for platform in table.get("platforms") or []:
            words = platform_error(self.release, platform)
            if words:
                if not self.v1:
                    before = "unable to init client for cri image service: failed to get service plugin"
                    words = f"{before}: invalid platform {platform}: {words}"
                newer = 'failed to get "io.containerd.sandbox.controller.v1" plugin: '
                return self._behind(words, "tasks-service", newer), table.at("platforms")
        return None

    def _differs(self) -> tuple[str, Where | None] | None:
        table = self.table(_DIFF)
        for name in table.get("default", []):
            if not self._has_differ(name):
                words = f"needed differ not loaded: {name}"
                if not self.v1:
                    words = f"unable to init client for cri image service: failed to get service plugin: {words}"
                newer = 'failed to get instance of service "diff-service": '
                return self._behind(words, "diff-service", newer), table.at("default")
        return None

    def _transfer(self) -> tuple[str, Where | None] | None:
        """Since 2.1 CRI images needs the transfer service."""
        table = self.table(_TRANSFER)
        if self.v1 or self.release.minor == "2.0":
            return None
        for config in table.get("unpack_config") or []:
            platform, name, differ = (config.get(key, "") for key in ("platform", "snapshotter", "differ"))
            if platform_error(self.release, platform):
                text = f"io.containerd.transfer.v1: platform configuration {platform} invalid"
                return f"{IMAGES}: {text}", table.at("unpack_config")
            words = self._unpacked(platform, name, differ)
            if words and not config.get("optional"):
                return f"{IMAGES}: {words}", table.at("unpack_config")
            if not words and name not in (*ALWAYS_THERE, *self.snapshotters):
                self.unknown.append(Unknown("cri_state", f"whether the snapshotter {name} works on this node"))
        return None

    def _unpacked(self, platform: str, snapshotter: str, differ: str) -> str | None:
        """Why images of a platform cannot be unpacked as `unpack_config` says."""
        uri = f"io.containerd.snapshotter.v1.{snapshotter}"
        there = uri in self.release.schema.plugins and uri not in self.disabled
        there = there and not_started(self.release, uri, self.table(uri)) in (None, DEPENDS)
        if snapshotter not in self.snapshotters and not there:
            return f"snapshotter {quote(snapshotter)} not found: not found"
        if differ and not self._has_differ(differ):
            uri = f"io.containerd.differ.v1.{differ}"
            none = f"no plugins registered for {uri}: plugin: not found"
            return f"failed to get instance for diff plugin {quote(differ)}: {none}"
        system = platform.partition("/")[0].partition("(")[0].lower()
        ours = system == "linux" or (system in _MACHINES and "/" not in platform)
        return None if differ or ours else "no matching diff plugins: not found"

    def _has_differ(self, name: str) -> bool:
        """Whether a differ is there; erofs needs a program of the node."""
        uri = f"io.containerd.differ.v1.{name}"
        there = uri in self.release.schema.plugins and uri not in self.disabled
        if there and name == "erofs":
            self.unknown.append(Unknown("cri_state", "whether this node has mkfs.erofs"))
        return there or name in self.differs

    def _devmapper(self) -> tuple[str, Where | None] | None:
        """In 2.x CRI images fails with any snapshotter that fails; one that is not configured is skipped."""
        if not self.v1 and self.table(_BLOCKFILE).get("scratch_file"):
            self.unknown.append(Unknown("cri_state", "whether the snapshotter blockfile works on this node"))
        if not self.v1 and self.table(_EROFS).get("enable_fsverity"):
            self.unknown.append(Unknown("cri_state", "whether the snapshotter erofs works on this node"))
        table = self.table(_DEVMAPPER)
        if self.v1 or not table.get("pool_name"):
            return None
        size = table.get("base_image_size", "")
        if not _SIZE.fullmatch(size):
            text = f"failed to parse base image size: '{size}': invalid size: '{size}'"
            return f"{IMAGES}: {text}", table.at("base_image_size") or table.at("pool_name")
        system = table.get("fs_type", "")
        if system not in ("", "ext4", "xfs", "ext2"):  # devmapper's Config.Validate
            return f"{IMAGES}: unsupported Filesystem Type: {quote(system)}", table.at("fs_type")
        self.unknown.append(Unknown("cri_state", "whether the snapshotter devmapper works on this node"))
        return None

    def _images(self) -> tuple[str, Where | None] | None:
        """A platform for the images of one handler (2.x plugins/cri/images/plugin.go)."""
        platforms = Tree() if self.v1 else self.table(IMAGES).table("runtime_platforms")
        for name, settings in platforms.items():
            platform = settings.get("platform", "")
            words = platform and platform_error(self.release, platform)
            if words:
                where = platforms.at(name, "platform")
                return f"{IMAGES}: unable to parse platform {quote(platform)}: {words}", where
        return None


DEPENDS = "depends on the node"


def not_started(release: Release, uri: str, table: Tree) -> str | None:
    """Why a plugin does not start though nothing is wrong: its words, or `DEPENDS`; None where it starts.

    It matters where `required_plugins` names it: a plugin that is skipped is no better than one that failed.
    """
    kind, name = uri.removeprefix("io.containerd.").rsplit(".", 1)
    if kind in ("tracing.processor.v1", "internal.v1") and name in ("otlp", "tracing"):
        return "skip plugin: tracing endpoint not configured"
    if kind == "server.v1" and name in ("metrics", "debug", "grpc-tcp") and not table.get("address"):
        return "skip plugin"
    if name == "devmapper" and not table.get("pool_name"):
        return "devmapper not configured" + ("" if release.minor == "1.6" else ": skip plugin")
    if name == "blockfile" and not table.get("scratch_file"):
        return "no scratch file generator: skip plugin"
    return DEPENDS if name in ("aufs", "btrfs", "zfs", "erofs", "devmapper", "blockfile") else None


def platform_error(release: Release, text: str) -> str | None:
    """What Go's platforms.Parse refuses: since 1.7 an operating system may have a version behind it, later features."""
    if "*" in text:
        return f"{quote(text)}: wildcards not yet supported: invalid argument"
    rule, system = r"^[A-Za-z0-9_-]+$", r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?$"
    if release.go_toml > 1:
        rule = r"^[A-Za-z0-9_.-]+$"
    if release.go_toml > _PLAIN:
        system = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"
    parts = text.split("/")
    for at, part in enumerate(parts):
        named = release.minor != "1.6" and at == 0
        if not re.match(system if named else rule, part) or part.endswith("\n"):
            what, kind = ("OS component", "OSAndVersion") if named else ("component", "platform")
            must = f"{kind} specifier component must match {quote(system if named else rule)}: invalid argument"
            return f"{quote(part)} is an invalid {what} of {quote(text)}: {must}"
    if len(parts) == 1 and text.partition("(")[0].lower() not in (*_SYSTEMS, *_MACHINES):
        return f"{quote(text)}: unknown operating system or architecture: invalid argument"
    return f"{quote(text)}: cannot parse platform specifier: invalid argument" if len(parts) > _PARTS else None


_TRACING = {
    "io.containerd.tracing.processor.v1.otlp": "tracing-processor-config",
    "io.containerd.internal.v1.tracing": "tracing-service-config",
}


def tracing_deprecations(tables: dict[str, Tree]) -> Iterator[Deprecation]:
    """The tracing plugins' settings: the daemon wants them in its environment (tracing/plugin/otlp.go)."""
    for uri, name in _TRACING.items():
        table = tables.get(uri, Tree())
        key = next((key for key, value in table.items() if value), None)
        if key is not None:
            yield Deprecation(f"io.containerd.deprecation/{name}", table.at(key))
