"""Plugins that `proxy_plugins` brings from other programs.

Sources: 1.x services/server/server.go, 2.x cmd/containerd/server/server.go (LoadPlugins).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.migrate import PanicError

if TYPE_CHECKING:
    from pytest_gpuready.containerd.model import Where
    from pytest_gpuready.containerd.releases import Release
    from pytest_gpuready.containerd.tree import Tree

_KINDS = {"snapshot": "snapshotter", "content": "content", "sandbox": "sandbox.controller", "diff": "differ"}


@dataclass(frozen=True)
class Proxied:
    """The names of the snapshotters and differs that are brought, and the place of a content store among them."""

    snapshotters: frozenset[str] = frozenset()
    differs: frozenset[str] = frozenset()
    content: Where | None = None


def proxy_uri(release: Release, name: str, proxy: Tree) -> str | None:
    """The plugin that a table of `proxy_plugins` makes; None where its type is none."""
    kind = proxy.get("type", "")
    for short in release.proxies:
        if kind in (short, f"io.containerd.{_KINDS[short]}.v1"):
            return f"io.containerd.{_KINDS[short]}.v1.{name}"
    return None


def proxied(release: Release, table: Tree, disabled: set[str]) -> Proxied:
    """What `proxy_plugins` brings.

    Raises:
        PanicError: a proxy plugin has no known type, or the name of a plugin that is there.
    """
    names: dict[str, set[str]] = {"snapshotter": set(), "differ": set()}
    content = None
    for name, proxy in table.items():
        uri = proxy_uri(release, name, proxy)
        if uri is None:
            raise PanicError("plugin: no type", table.wheres.get(name))
        if uri in release.schema.plugins:
            raise PanicError(f"{uri}: plugin: id already registered", table.wheres.get(name))
        if uri in disabled:
            continue
        kind = uri.split(".")[2]
        names.get(kind, set()).add(name)
        if kind == "content":
            content = table.wheres.get(name)
    return Proxied(frozenset(names["snapshotter"]), frozenset(names["differ"]), content)
