"""How containerd 2.x turns older files into its newest format, and what gets lost on the way.

Sources: cmd/containerd/server/config/config.go (v1Migrate, serviceMigrate), plugins/cri/{cri.go,images,runtime},
core/runtime/v2/shim_manager.go, core/metrics/cgroups, plugins/restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd.tree import Tree, copy, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from pytest_gpuready.containerd.model import Where
    from pytest_gpuready.containerd.releases import Release

CRI = "io.containerd.grpc.v1.cri"
RUNTIME = "io.containerd.cri.v1.runtime"
IMAGES = "io.containerd.cri.v1.images"

_CORE = {
    "cri": CRI,
    "cgroups": "io.containerd.monitor.v1.cgroups",
    "linux": "io.containerd.runtime.v1.linux",
    "scheduler": "io.containerd.gc.v1.scheduler",
    "bolt": "io.containerd.metadata.v1.bolt",
    "task": "io.containerd.runtime.v2.task",
    "opt": "io.containerd.internal.v1.opt",
    "restart": "io.containerd.internal.v1.restart",
    "tracing": "io.containerd.internal.v1.tracing",
    "otlp": "io.containerd.tracing.processor.v1.otlp",
    **{name: f"io.containerd.snapshotter.v1.{name}" for name in
       ("aufs", "btrfs", "devmapper", "native", "overlayfs", "zfs", "windows", "windows-lcow")},
}  # fmt: skip
_SERVER_KEYS = (
    "disable_tcp_service",
    "stream_server_address",
    "stream_server_port",
    "stream_idle_timeout",
    "enable_tls_streaming",
    "x509_key_pair_streaming",
)
_IMAGE_KEYS = (
    "registry",
    "image_decryption",
    "max_concurrent_downloads",
    "image_pull_progress_timeout",
    "image_pull_with_sync_fs",
    "stats_collect_period",
)
_IMAGE_CONTAINERD_KEYS = ("snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers")
_PLAIN_MOVES = (
    ("io.containerd.monitor.v1.cgroups", "io.containerd.monitor.task.v1.cgroups"),
    ("io.containerd.internal.v1.restart", "io.containerd.monitor.container.v1.restart"),
)


class PanicError(Exception):
    """containerd would panic: Go's words, and the place of what it trips over."""

    def __init__(self, text: str, where: Where | None) -> None:
        super().__init__(text)
        self.text, self.where = f"panic: {text}", where


def v1_name(name: str) -> str:
    """The URI that a plugin's short name of format 1 stands for (v1MigratePluginName)."""
    if "." in name:
        return name
    service = "service" if name.endswith("-service") else "grpc"
    return _CORE.get(name, f"io.containerd.{service}.v1.{name}")


def v1_names(plugins: Tree, lost: Lost) -> Tree:
    """All plugin tables under their URIs. Where two names mean one plugin, one is taken at random; here the last."""
    out = Tree(plugins.where)
    for name, table in plugins.items():
        uri = v1_name(name)
        if uri in out:
            lost((uri,), out.wheres.get(uri), "a second table for the same plugin, taken at random:", None)
        out.put(uri, table, plugins.wheres.get(name), plugins.columns.get(name, 1))
    return out


class Lost:
    """Told of settings that the migration drops: path below ``plugins``, place, reason, what took their place."""

    def __init__(self, tell: Callable[[tuple[str, ...], Where | None, str, Where | None], None]) -> None:
        self.tell = tell

    def __call__(self, path: tuple[str, ...], where: Where | None, reason: str, by: Where | None) -> None:
        """One setting."""
        self.tell(path, where, reason, by)

    def all(self, path: tuple[str, ...], value: Any, where: Where | None, reason: str, by: Where | None) -> None:
        """One setting, or all in a table."""
        if isinstance(value, Tree) and value:
            for below, _, place in leaves(value, path):
                self.tell(below, place or where, reason, by)
        else:
            self.tell(path, where, reason, by)


def _map(value: Any, where: Where | None) -> Tree:
    """Go's type assertion ``value.(map[string]any)``."""
    if isinstance(value, Tree):
        return value
    text = f"interface conversion: interface {{}} is {go_kind(value)}, not map[string]interface {{}}"
    raise PanicError(text, where)


def go_kind(value: Any) -> str:
    """The Go type of a decoded value."""
    if isinstance(value, Tree):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return {bool: "bool", int: "int64", float: "float64"}.get(type(value), "string")


def step(plugins: Tree, release: Release, disabled: Container[str], lost: Lost) -> None:
    """One round of every plugin's ConfigMigration. Plugins in `disabled` do not migrate."""
    for old, new in _PLAIN_MOVES:
        if old in plugins and new not in disabled:
            if new in plugins:
                lost.all((new,), plugins[new], plugins.wheres.get(new), "replaced in the migration by", plugins.at(old))
            plugins.put(new, plugins.pop(old), plugins.wheres.pop(old, None))
    task, shim = "io.containerd.runtime.v2.task", "io.containerd.shim.v1.manager"
    if task in plugins and shim not in disabled:
        source = _map(plugins[task], plugins.at(task))
        target = Tree(source.where)
        if source.get("sched_core") is True:
            target.put("env", ["SCHED_CORE=1"], source.wheres.get("sched_core"))
        source.pop("sched_core", None)
        if shim in plugins:
            lost.all((shim,), plugins[shim], plugins.wheres.get(shim), "replaced in the migration by", source.where)
        plugins.put(shim, target, source.where)
    if CRI in plugins:
        if IMAGES not in disabled:
            _images(plugins, lost)
        if RUNTIME not in disabled:
            if release.overwrites:
                _runtime_whole(plugins, lost)
            elif isinstance(plugins[CRI], Tree):
                _runtime(plugins, release, lost)
        if CRI not in disabled and isinstance(plugins[CRI], Tree):
            _server(plugins, release)


def _take(target: Tree, key: str, source: Tree, path: tuple[str, ...], lost: Lost) -> None:
    """Copy `key`; what `target` had is lost."""
    if key in target:
        reason = "replaced in the migration by"
        lost.all((*path, key), target[key], target.wheres.get(key), reason, source.wheres.get(key))
    target.put(key, copy(source[key]), source.wheres.get(key), source.columns.get(key, 1))


def _keep(target: Tree, key: str, source: Tree, path: tuple[str, ...], lost: Lost) -> None:
    """Copy `key` unless `target` has it; then the source's is lost."""
    if key in target:
        reason = "lost in the migration, which keeps"
        lost.all((CRI, *path, key), source[key], source.wheres.get(key), reason, target.wheres.get(key))
    else:
        target.put(key, copy(source[key]), source.wheres.get(key), source.columns.get(key, 1))


def _images(plugins: Tree, lost: Lost) -> None:
    source = _map(plugins[CRI], plugins.at(CRI))
    target = _map(plugins.get(IMAGES, Tree(source.where)), plugins.at(IMAGES))
    plugins.put(IMAGES, target, target.where)
    pinned = _map(target.get("pinned_images", Tree(source.where)), target.at("pinned_images"))
    if "sandbox_image" in source:
        place = source.wheres.get("sandbox_image")
        if "sandbox" in pinned:
            path = (IMAGES, "pinned_images", "sandbox")
            lost(path, pinned.wheres.get("sandbox"), "replaced in the migration by", place)
        pinned.put("sandbox", source["sandbox_image"], place)
    if pinned:
        target.put("pinned_images", pinned, pinned.where)
    for key in _IMAGE_KEYS:
        if key in source:
            _take(target, key, source, (IMAGES,), lost)
    if "containerd" not in source:
        return
    containerd = _map(source["containerd"], source.at("containerd"))
    if "runtimes" not in containerd:
        # The migration returns early: these keys stay behind.
        for key in _IMAGE_CONTAINERD_KEYS:
            if key in containerd:
                reason = "lost in the migration: it needs a runtimes table beside it"
                lost((CRI, "containerd", key), containerd.wheres.get(key), reason, None)
        return
    runtimes = _map(containerd["runtimes"], containerd.at("runtimes"))
    for name, runtime in runtimes.items():
        _map(runtime, runtimes.wheres.get(name))
    for key in _IMAGE_CONTAINERD_KEYS:
        if key in containerd:
            _take(target, key, containerd, (IMAGES,), lost)


def _runtime(plugins: Tree, release: Release, lost: Lost) -> None:
    source: Tree = plugins[CRI]
    old = plugins.get(RUNTIME)
    target = old if isinstance(old, Tree) else Tree(source.where)
    plugins.put(RUNTIME, target, target.where)
    special = ("containerd", "sandbox_image", *_IMAGE_KEYS, *_SERVER_KEYS, *(("cni",) if release.bin_dirs else ()))
    for key in source:
        if key not in special:
            _keep(target, key, source, (), lost)
    cni = source.get("cni")
    if release.bin_dirs and isinstance(cni, Tree):
        new = target.get("cni")
        new = new if isinstance(new, Tree) else Tree(cni.where)
        for key, value in cni.items():
            if key == "bin_dir":
                if not isinstance(value, str):
                    text = f"interface conversion: interface {{}} is {go_kind(value)}, not string"
                    raise PanicError(text, cni.wheres.get(key))
                # A list that a file sets is []any, never the []string that the migration looks for: it is replaced.
                if "bin_dirs" in new:
                    path = (RUNTIME, "cni", "bin_dirs")
                    lost(path, new.wheres.get("bin_dirs"), "replaced in the migration by", cni.wheres.get(key))
                new.put("bin_dirs", [value], cni.wheres.get(key))
            elif key != "bin_dirs" or "bin_dir" not in cni:
                _keep(new, key, cni, ("cni",), lost)
        target.put("cni", new, new.where)
    containerd = source.get("containerd")
    if not isinstance(containerd, Tree):
        return
    new = target.get("containerd")
    new = new if isinstance(new, Tree) else Tree(containerd.where)
    for key in containerd:
        if key not in _IMAGE_CONTAINERD_KEYS:
            _keep(new, key, containerd, ("containerd",), lost)
    target.put("containerd", new, new.where)
    if "runtimes" in new:
        _sandboxers(_map(new["runtimes"], new.at("runtimes")), drop=True)


def _sandboxers(runtimes: Tree, *, drop: bool) -> None:
    for name, value in runtimes.items():
        runtime = _map(value, runtimes.wheres.get(name))
        if "sandbox_mode" in runtime and "sandboxer" not in runtime:
            runtime.put("sandboxer", runtime["sandbox_mode"], runtime.wheres.get("sandbox_mode"))
            if drop:
                del runtime["sandbox_mode"]


def _runtime_whole(plugins: Tree, lost: Lost) -> None:
    """2.0.0 and 2.0.1: the whole table moves, and replaces the one that is there (468079c5c mended it)."""
    source = _map(plugins[CRI], plugins.at(CRI))
    if RUNTIME in plugins:
        reason = "replaced in the migration by"
        lost.all((RUNTIME,), plugins[RUNTIME], plugins.wheres.get(RUNTIME), reason, source.where)
    target = copy(source)
    if "containerd" in target:
        containerd = _map(target["containerd"], target.at("containerd"))
        if "runtimes" in containerd:
            _sandboxers(_map(containerd["runtimes"], containerd.at("runtimes")), drop=False)
    plugins.put(RUNTIME, target, source.where)


def _server(plugins: Tree, release: Release) -> None:
    source: Tree = plugins[CRI]
    keys = _SERVER_KEYS if release.keeps_stream_keys else _SERVER_KEYS[:1]
    if not release.keeps_stream_keys and keys[0] not in source:
        del plugins[CRI]
        return
    target = Tree(source.where)
    for key in keys:
        if key in source:
            target.put(key, source[key], source.wheres.get(key), source.columns.get(key, 1))
    plugins.put(CRI, target, source.where)


def services(config: Tree, lost: Lost) -> None:
    """ServiceMigrate of 2.3: ``[grpc]``, ``[ttrpc]``, ``[debug]`` and ``[metrics]`` become plugin tables."""
    plugins = config.get("plugins")
    if not isinstance(plugins, Tree):
        plugins = Tree()
        config["plugins"] = plugins
    debug, grpc, ttrpc, metrics = (config.table(name) for name in ("debug", "grpc", "ttrpc", "metrics"))
    server = "io.containerd.server.v1."
    legacy = {key: grpc.get(key) for key in ("address", "uid", "gid", "max_recv_message_size", "max_send_message_size")}

    def move(uri: str, table: Tree, keys: dict[str, str], *, always: tuple[str, ...] = ()) -> None:
        if uri in plugins:
            for old, new in keys.items():
                if table.get(old):
                    reason = f"lost in the migration, which keeps [plugins.'{uri}']"
                    lost((uri, new), table.wheres.get(old), reason, plugins.wheres.get(uri))
            return
        made = Tree(table.where)
        for old, new in keys.items():
            if table.get(old) or old in always:
                made.put(new, table.get(old) or 0, table.wheres.get(old))
        plugins.put(uri, made, table.where)

    if debug.get("address"):
        move(server + "debug", debug, {key: key for key in ("address", "uid", "gid")}, always=("uid", "gid"))
    if any(legacy.values()):
        always = ("uid", "gid") if grpc.get("address") else ()
        move(server + "grpc", grpc, {key: key for key in legacy}, always=always)
    if grpc.get("tcp_address"):
        names = {"tcp_address": "address", "tcp_tls_ca": "tls_ca", "tcp_tls_cert": "tls_cert", "tcp_tls_key": "tls_key"}
        sizes = {key: key for key in ("max_recv_message_size", "max_send_message_size")}
        move(server + "grpc-tcp", grpc, {**names, "tcp_tls_common_name": "tls_common_name", **sizes})
    if server + "ttrpc" not in plugins and (any(ttrpc.values()) or legacy["address"]):
        made = Tree(ttrpc.where)
        derived = not ttrpc.get("address") and legacy["address"]
        made.put("address", f"{legacy['address']}.ttrpc" if derived else ttrpc.get("address", ""), None)
        for key in ("uid", "gid"):
            made.put(key, ttrpc.get(key) or (legacy[key] if derived else 0) or 0, ttrpc.wheres.get(key))
        if "address" in ttrpc.wheres:
            made.wheres["address"] = ttrpc.wheres["address"]
        plugins.put(server + "ttrpc", made, ttrpc.where or grpc.where)
    if metrics.get("grpc_histogram"):
        move("io.containerd.metrics.v1.grpc-prometheus", metrics, {"grpc_histogram": "grpc_histogram"})
    if metrics.get("address"):
        move(server + "metrics", metrics, {"address": "address"})
    config.pop("grpc", None)
    config.pop("ttrpc", None)
    config.pop("metrics", None)
    for key in ("address", "uid", "gid"):
        debug.pop(key, None)
