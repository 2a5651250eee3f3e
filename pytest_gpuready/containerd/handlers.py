"""Runtime handlers: their options decoded as when a container starts.

Sources: 1.x pkg/cri/server/helpers.go (generateRuntimeOptions), 2.x internal/cri/config/config.go
(GenerateRuntimeOptions). 1.x decodes the options as they stand, 2.x writes them out again, keys in byte order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.containerd.decode import DecodeError, Decoder
from pytest_gpuready.containerd.migrate import CRI, RUNTIME
from pytest_gpuready.containerd.model import Handler, Where
from pytest_gpuready.containerd.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.containerd.releases import Release

    Note = Callable[[tuple[str, ...], Where | None, str], None]

_LINUX_V1 = "io.containerd.runtime.v1.linux"
_RUNC = ("io.containerd.runc.v1", "io.containerd.runc.v2")


def handlers(release: Release, runtimes: Tree, note: Note) -> dict[str, Handler]:
    """All handlers; `note` is told of options that have no effect."""
    return {name: _handler(release, name, runtime, note) for name, runtime in sorted(runtimes.items())}


def _handler(release: Release, name: str, runtime: Tree, note: Note) -> Handler:
    v1 = release.go_toml == 1
    kind = runtime.get("runtime_type") or None
    options = runtime.table("options")
    ordered = Tree(options.where)
    for key in options if v1 else sorted(options, key=lambda key: key.encode("utf-8", "surrogatepass")):
        ordered.put(key, options[key], options.wheres.get(key), options.columns.get(key, 1))
    decoder = Decoder(release.schema, release.go_toml)
    decoded, wrong = Tree(), None
    try:
        decoded = decoder.decode(ordered, "options.Options")
    except DecodeError as error:
        wrong = error.text
        if v1:
            # The options went through a map: nothing has a place any more.
            wrong = f"(0, 0): {error.text}"
    if kind in _RUNC:
        uri = CRI if v1 else RUNTIME
        for path, where in decoder.unknown:
            note(("plugins", uri, "containerd", "runtimes", name, "options", *path), where, _NO_OPTION)
    legacy = (options.get("Runtime") or runtime.get("runtime_engine")) if kind == _LINUX_V1 else None
    legacy_where = options.wheres.get("Runtime") or runtime.wheres.get("runtime_engine")
    return Handler(
        name,
        kind,
        binary_name=None if wrong else decoded.get("BinaryName") or None,
        systemd_cgroup=None if wrong else decoded.get("SystemdCgroup"),
        runtime_path=runtime.get("runtime_path") or None,
        runtime=legacy if isinstance(legacy, str) else None,
        options_error=wrong,
        where=runtime.where,
        runtime_type_where=runtime.exact("runtime_type"),
        binary_name_where=decoded.wheres.get("BinaryName"),
        systemd_cgroup_where=decoded.wheres.get("SystemdCgroup"),
        runtime_path_where=runtime.exact("runtime_path"),
        runtime_where=legacy_where if legacy else None,
    )


_NO_OPTION = "no option of this containerd's runc"
