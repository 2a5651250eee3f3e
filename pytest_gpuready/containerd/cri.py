"""The CRI plugin: whether it starts with these settings.

Sources: 1.x pkg/cri/config/config.go (ValidatePluginConfig), pkg/cri/server/service.go and helpers.go; 2.x
internal/cri/config/config.go (ValidateImageConfig, ValidateRuntimeConfig, ValidateServerConfig) and plugins/cri.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.containerd._toml import quote
from pytest_gpuready.containerd.base_spec import spec_error
from pytest_gpuready.containerd.config import go_error
from pytest_gpuready.containerd.files import exists
from pytest_gpuready.containerd.go_errors import duration_error, url_error
from pytest_gpuready.containerd.listeners import address_error, everywhere
from pytest_gpuready.containerd.migrate import CRI, IMAGES, RUNTIME
from pytest_gpuready.containerd.model import Deprecation, Refusal, Unknown, Where
from pytest_gpuready.containerd.tree import Tree, copy

if TYPE_CHECKING:
    from pytest_gpuready.containerd.files import Files
    from pytest_gpuready.containerd.releases import Release

_LINUX_V1 = "io.containerd.runtime.v1.linux"
_ID = "io.containerd.deprecation/"
_DEBIANS = 24
"""The go-toml of Debian's 2.1.9, which has the newest Go too."""
ALWAYS_THERE = ("overlayfs", "native")
"""Snapshotters taken to work on any node; the others depend on it."""


class Failed(Exception):  # noqa: N818 - what it carries is a refusal
    """The CRI plugin does not start: the plugin that failed, its words, and the place."""

    def __init__(self, uri: str, text: str, where: Where | None = None) -> None:
        super().__init__(text)
        self.uri = uri
        self.refusal = Refusal(f"{uri}: {text}", where.path if where else None, where.line if where else None)


class Cri:
    """Checks the decoded tables of one daemon's CRI plugins.

    `runtime`, `images` and `server` are the tables with the runtimes, the images and the streaming server; on 1.x all
    three are the same one.
    """

    def __init__(
        self,
        release: Release,
        tables: dict[str, Tree],
        files: Files,
        extra_snapshotters: frozenset[str],
        disabled: set[str],
    ) -> None:
        self.release, self.files, self.disabled = release, files, disabled
        self.v1 = release.go_toml == 1
        self.server = tables.get(CRI, Tree())
        self.runtime = self.server if self.v1 else tables.get(RUNTIME, Tree())
        self.images = self.server if self.v1 else tables.get(IMAGES, Tree())
        self.extra_snapshotters = extra_snapshotters
        self.tables = tables
        self.deprecations: list[Deprecation] = []
        self.unknown: list[Unknown] = []
        self.dies: Refusal | None = None
        self.runtimes: Tree = Tree()
        self.default_runtime = ""
        self.default_where: Where | None = None

    def warn(self, name: str, where: Where | None) -> None:
        """A deprecated setting is used."""
        if self.release.deprecations:
            self.deprecations.append(Deprecation(_ID + name, where))

    def warn_late(self, name: str, where: Where | None) -> None:
        """One that is recorded since 1.6.27 and 1.7.11 only."""
        if self.release.runtime_deprecations:
            self.warn(name, where)

    # What can fail, in containerd's order.

    def check_v1(self) -> None:
        """ValidatePluginConfig and NewCRIService of 1.x.

        Raises:
            Failed: CRI does not start.
        """
        try:
            self._validate_v1()
            self._registry()
            self._duration(self.server, "stream_idle_timeout", "invalid stream idle timeout: ")
            if self.release.minor == "1.7":
                self._duration(self.server, "image_pull_progress_timeout", "invalid image pull progress timeout: ")
            if self.release.validates_drain_timeout:
                self._duration(self.server, "drain_exec_sync_io_timeout", "invalid `drain_exec_sync_io_timeout`: ")
        except _InvalidError as error:
            self.deprecations.clear()
            raise Failed(CRI, f"invalid plugin config: {error}", error.where) from None
        self.stats()
        try:
            self._snapshotter(self.server.table("containerd"))
            self._streaming()
            self._base_specs("")
        except _InvalidError as error:
            raise Failed(CRI, f"failed to create CRI service: {error}", error.where) from None

    def check_images(self) -> None:
        """ValidateImageConfig of 2.x, and the snapshotter.

        Raises:
            Failed: CRI does not start.
        """
        self.stats()
        registry = self.images.table("registry")
        if self.release.default_config_path and not registry.get("config_path") and not registry.get("mirrors"):
            registry["config_path"] = "/etc/containerd/certs.d:/etc/docker/certs.d"
        before = len(self.deprecations)
        try:
            self._registry()
            self._duration(self.images, "image_pull_progress_timeout", "invalid image pull progress timeout: ")
        except _InvalidError as error:
            del self.deprecations[before:]
            raise Failed(IMAGES, f"invalid cri image config: {error}", error.where) from None
        try:
            self._snapshotter(self.images)
        except _InvalidError as error:
            raise Failed(IMAGES, str(error), error.where) from None

    def check_runtime(self) -> None:
        """ValidateRuntimeConfig of 2.x, and the base runtime specs.

        Raises:
            Failed: CRI does not start.
        """
        before = len(self.deprecations)
        try:
            self._validate_v2()
        except _InvalidError as error:
            del self.deprecations[before:]
            raise Failed(RUNTIME, f"invalid plugin config: {error}", error.where) from None
        try:
            self._base_specs("failed to create load basic oci spec: ")
        except _InvalidError as error:
            raise Failed(RUNTIME, str(error), error.where) from None

    def check_server(self) -> None:
        """ValidateServerConfig and StreamingConfig of 2.x.

        Raises:
            Failed: CRI does not start.
        """
        try:
            self._duration(
                self.server, "stream_idle_timeout", "invalid cri image config: invalid stream idle timeout: "
            )
            self._streaming()
        except _InvalidError as error:
            prefix = "" if str(error).startswith("invalid cri") else "failed to get streaming config: "
            raise Failed(CRI, f"{prefix}{error}", error.where) from None

    def _validate_v1(self) -> None:
        containerd = self.server.table("containerd")
        self.runtimes = copy(containerd.table("runtimes"))
        self.default_runtime = containerd.get("default_runtime_name", "")
        self.default_where = containerd.exact("default_runtime_name")
        untrusted = containerd.table("untrusted_workload_runtime")
        if untrusted.get("runtime_type"):
            where = containerd.at("untrusted_workload_runtime")
            if "untrusted" in self.runtimes:
                text = "conflicting definitions: configuration includes both `untrusted_workload_runtime` and "
                raise _InvalidError(text + '`runtimes["untrusted"]`', where)
            self.warn_late("cri-untrusted-workload-runtime", where)
            self.runtimes.put("untrusted", untrusted, where)
        default = containerd.table("default_runtime")
        if default.get("runtime_type"):
            where = containerd.at("default_runtime")
            self.warn_late("cri-default-runtime", where)
            self.default_runtime, self.default_where = "default", where
            self.runtimes.put("default", default, where)
        self._default_name()
        kind = self.runtimes.table(self.default_runtime).get("runtime_type")
        for key, table in (("systemd_cgroup", self.server), ("no_pivot", containerd)):
            if table.get(key):
                if kind != _LINUX_V1:
                    raise _InvalidError(f"`{key}` only works for runtime {_LINUX_V1}", table.at(key))
                if key == "systemd_cgroup":
                    self.warn_late("cri-systemd-cgroup-v1", table.at(key))
        for runtime in self.runtimes.values():
            for key, name in (("runtime_engine", "cri-runtime-engine"), ("runtime_root", "cri-runtime-root")):
                if runtime.get(key):
                    if runtime.get("runtime_type") != _LINUX_V1:
                        raise _InvalidError(f"`{key}` only works for runtime {_LINUX_V1}", runtime.at(key))
                    self.warn_late(name, runtime.at(key))
            self._all_devices(runtime)
            path = runtime.table("options").get("CriuPath")
            if isinstance(path, str) and path:
                self.warn_late("cri-criu-path", runtime.at("options", "CriuPath"))

    def _validate_v2(self) -> None:
        containerd = self.runtime.table("containerd")
        self.runtimes = copy(containerd.table("runtimes"))
        self.default_runtime = containerd.get("default_runtime_name", "")
        self.default_where = containerd.exact("default_runtime_name")
        self._default_name()
        cni = self.runtime.table("cni")
        if self.release.bin_dirs and cni.get("bin_dir"):
            self.warn("cri-cni-bin-dir", cni.at("bin_dir"))
            if cni.get("bin_dirs") not in ([*self.release.default_bin_dirs], []):
                raise _InvalidError(
                    "`cni.bin_dir` and `cni.bin_dirs` cannot be set at the same time", cni.at("bin_dir")
                )
        for name, runtime in self.runtimes.items():
            if runtime.get("cgroup_writable"):
                self.unknown.append(Unknown("cri_state", f"handler {name} has cgroup_writable, which needs cgroup v2"))
            self._all_devices(runtime)
            if runtime.get("io_type") not in ("", None, "fifo", "streaming"):
                raise _InvalidError("`io_type` can only be `streaming` or `named_pipe`", runtime.at("io_type"))
        self._duration(self.runtime, "drain_exec_sync_io_timeout", "invalid `drain_exec_sync_io_timeout`: ")
        if self.release.minor == "2.3":
            for key in ("stats_collect_period", "stats_retention_period"):
                self._duration(self.runtime, key, f"invalid `{key}`: ")
            if self.runtime.get("enable_cdi") is False:
                self.warn("enable-cdi", self.runtime.at("enable_cdi"))

    def _default_name(self) -> None:
        where = self.default_where or self.runtime.at("containerd", "runtimes")
        if not self.default_runtime:
            raise _InvalidError("`default_runtime_name` is empty", where)
        if self.default_runtime not in self.runtimes:
            text = "no corresponding runtime configured in `containerd.runtimes` for `containerd` "
            raise _InvalidError(f'{text}`default_runtime_name = "{self.default_runtime}"', where)

    @staticmethod
    def _all_devices(runtime: Tree) -> None:
        key = "privileged_without_host_devices"
        if runtime.get(f"{key}_all_devices_allowed") and not runtime.get(key):
            text = f"`{key}_all_devices_allowed` requires `{key}` to be enabled"
            raise _InvalidError(text, runtime.at(f"{key}_all_devices_allowed"))

    def _registry(self) -> None:
        registry = self.images.table("registry")
        path = bool(registry.get("config_path"))
        if registry.get("mirrors"):
            if path:
                raise _InvalidError("`mirrors` cannot be set when `config_path` is provided", registry.at("mirrors"))
            self.warn("cri-registry-mirrors", registry.at("mirrors"))
        configs = registry.table("configs")
        if self.v1 and path:
            for name, config in configs.items():
                if isinstance(config, Tree) and isinstance(config.get("tls"), Tree):
                    where = configs.at(name, "tls")
                    raise _InvalidError("`configs.tls` cannot be set when `config_path` is provided", where)
        if configs:
            self.warn("cri-registry-configs", registry.at("configs"))
        if registry.get("auths"):
            for url in registry.table("auths"):
                wrong = url_error(url)
                if wrong:
                    text = f"failed to parse registry url {quote(url)} from `registry.auths`: {wrong}"
                    raise _InvalidError(text, registry.at("auths", url))
            self.warn("cri-registry-auths", registry.at("auths"))

    @staticmethod
    def _duration(table: Tree, key: str, prefix: str) -> None:
        value = table.get(key)
        if isinstance(value, str) and value and (wrong := duration_error(value)):
            raise _InvalidError(prefix + wrong, table.at(key))

    def _snapshotter(self, table: Tree) -> None:
        name = table.get("snapshotter", "") or ("overlayfs" if self.v1 else "")
        uri = f"io.containerd.snapshotter.v1.{name}"
        if name in self.extra_snapshotters or (name in ALWAYS_THERE and uri not in self.disabled):
            return
        if uri not in self.release.schema.plugins or uri in self.disabled:
            raise _InvalidError(f"failed to find snapshotter {quote(name)}", table.at("snapshotter"))
        if name in ("devmapper", "blockfile") and not self._configured(uri):
            raise _InvalidError(f"failed to find snapshotter {quote(name)}", table.at("snapshotter"))
        self.unknown.append(Unknown("cri_state", f"whether the snapshotter {name} works on this node"))

    def _configured(self, uri: str) -> bool:
        table = self.tables.get(uri, Tree())
        return bool(table.get("pool_name") if uri.endswith("devmapper") else table.get("scratch_file"))

    def _streaming(self) -> None:
        tls = self.server.table("x509_key_pair_streaming")
        cert, key = tls.get("tls_cert_file", ""), tls.get("tls_key_file", "")
        prefix = "failed to create stream server: invalid stream server configuration: " if self.v1 else (
            "invalid stream server configuration: ")  # fmt: skip
        name = "X509KeyPairStreaming."
        if self.server.get("enable_tls_streaming"):
            if bool(cert) != bool(key):
                raise _InvalidError(f"{prefix}must set {name}{'TLSKeyFile' if cert else 'TLSCertFile'}", self.server.at(
                    "x509_key_pair_streaming"))  # fmt: skip
            for path in (cert, key) if cert else ():
                if not exists(self.files, path):
                    text = f"failed to load x509 key pair for stream server: open {path}: no such file or directory"
                    part = "failed to create stream server: " if self.v1 else ""
                    raise _InvalidError(part + text, self.server.at("x509_key_pair_streaming"))
            if cert:
                self.unknown.append(Unknown("cri_state", "whether the streaming certificate can be loaded"))
        elif cert or key:
            which = "TLSCertFile" if cert else "TLSKeyFile"
            where = tls.at("tls_cert_file" if cert else "tls_key_file")
            raise _InvalidError(f"{prefix}{name}{which} is set but EnableTLSStreaming is not set", where)
        self._listening()

    def _listening(self) -> None:
        """What the streaming server makes of its address once the daemon runs: where it cannot listen, all ends."""
        host, port = self.server.get("stream_server_address", ""), self.server.get("stream_server_port", "")
        wrong = address_error(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", old=self.release.minor == "1.6")
        if wrong:
            where = self.server.at("stream_server_port" if "port" in wrong else "stream_server_address")
            self.die(f"Failed to run CRI service: stream server error: {wrong}", where)
        elif not everywhere(host):
            self.unknown.append(
                Unknown("loads", f"whether the streaming server can listen on {quote(host)} on this node")
            )

    def die(self, text: str, where: Where | None) -> None:
        """The daemon starts, serves, and ends a moment later."""
        self.dies = self.dies or Refusal(text, where.path if where else None, where.line if where else None)

    def stats(self) -> None:
        """Up to 2.2 a ticker runs at this period (pkg/cri/server/snapshots.go): Go panics where it is not positive."""
        if self.release.minor != "2.3" and self.images.get("stats_collect_period", 1) <= 0:
            self.die("panic: non-positive interval for NewTicker", self.images.at("stats_collect_period"))

    def _base_specs(self, prefix: str) -> None:
        for runtime in self.runtimes.values():
            path = runtime.get("base_runtime_spec")
            if not path:
                continue
            text = f"{prefix}failed to load base OCI spec from file: {path}: "
            where = runtime.at("base_runtime_spec")
            try:
                data = self.files.read(path if path.startswith("/") else f"/{path}")
            except PermissionError:
                raise
            except OSError as error:
                if isinstance(error, IsADirectoryError):
                    text += "failed to parse base OCI spec file: "
                else:
                    text += f"failed to open base OCI spec: {path}: "
                raise _InvalidError(text + go_error(error, path), where) from None
            wrong = spec_error(data, newer=self.release.go_toml == _DEBIANS)
            if wrong:
                raise _InvalidError(f"{text}failed to parse base OCI spec file: {wrong}", where)


class _InvalidError(Exception):
    """A setting that CRI refuses."""

    def __init__(self, text: str, where: Where | None) -> None:
        super().__init__(text)
        self.where = where
