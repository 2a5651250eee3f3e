"""Runtime handlers on disk and in the running daemon, and in what they differ."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Where
from pytest_gpuready.node.clean import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.containerd.model import Handler as LoadedHandler
    from pytest_gpuready.containerd_api.answers import LiveHandler

#: Programs of NVIDIA's that a handler may name begin so: the runtime, and its twins with a fixed mode.
RUNTIME_NAME = "nvidia-container-runtime"
#: The runtime type of old whose program is its option Runtime, not BinaryName (containerd 1.x).
LEGACY_TYPE = "io.containerd.runtime.v1.linux"


def is_nvidia(program: str | None) -> bool:
    """Whether a program that a handler names is NVIDIA's runtime; its hook is none, and fails as one."""
    name = posixpath.basename(program or "")
    return name.startswith(RUNTIME_NAME) and not name.startswith(f"{RUNTIME_NAME}-hook")


@dataclass(frozen=True)
class Handler:
    """A runtime handler on disk, as this containerd reads it. Places are None where the value is a built-in default.

    `binary_name` is the program that it is to start: BinaryName, for the runtime type of old Runtime; None is runc.
    """

    name: str
    runtime_type: str | None
    runtime_path: str | None
    binary_name: str | None
    systemd_cgroup: bool | None
    options_error: str | None
    where: Where | None
    type_where: Where | None
    binary_where: Where | None
    cgroup_where: Where | None
    #: The option Runtime, which the runtime type of old starts (and no other).
    legacy_program: str | None = None

    @property
    def is_nvidia(self) -> bool:
        """Whether it starts NVIDIA's runtime."""
        return is_nvidia(self.binary_name)

    @property
    def place(self) -> Where | None:
        """The best place to point at."""
        return self.binary_where or self.where


@dataclass(frozen=True)
class Difference:
    """A setting that the running daemon has otherwise than the files, and where they set it."""

    setting: str
    disk: str
    live: str
    where: Where | None = None

    def __str__(self) -> str:
        return f"{self.setting}: {self.disk} on disk, {self.live} in the running daemon"


def read_handler(found: LoadedHandler) -> Handler:
    """A handler as the loader has it."""
    return Handler(
        name=found.name,
        runtime_type=found.runtime_type,
        runtime_path=found.runtime_path,
        binary_name=found.runtime or found.binary_name,
        systemd_cgroup=found.systemd_cgroup,
        options_error=found.options_error,
        where=where_of(found.where),
        type_where=where_of(found.runtime_type_where),
        binary_where=where_of(found.runtime_where if found.runtime else found.binary_name_where),
        cgroup_where=where_of(found.systemd_cgroup_where),
        legacy_program=found.runtime,
    )


def where_of(place: object) -> Where | None:
    """A place of the loader's as a report's."""
    path = getattr(place, "path", None)
    return Where(path, getattr(place, "line", None)) if path else None


def handler_differences(name: str, disk: Handler | None, live: LiveHandler | None) -> Iterator[Difference]:
    """In what the running daemon's handler of a name is another than the one on disk."""
    if disk is None or live is None:
        yield Difference(
            f"handler {one_line(name, 60)}",
            "there" if disk else "missing",
            "there" if live else "missing",
            disk.place if disk else None,
        )
        return
    legacy = LEGACY_TYPE in (live.runtime_type, disk.runtime_type)
    ran = live.options.get("Runtime") if legacy else live.binary_name
    runs = disk.legacy_program if legacy else disk.binary_name
    pairs = (
        ("runtime_type", disk.runtime_type, live.runtime_type, disk.type_where),
        ("runtime_path", disk.runtime_path, live.runtime_path, disk.where),
        ("BinaryName", runs, ran, disk.binary_where),
        ("SystemdCgroup", disk.systemd_cgroup or False, live.systemd_cgroup or False, disk.cgroup_where),
    )
    for key, left, right, where in pairs:
        if (left or None) != (right or None):
            yield Difference(f"{key} of handler {one_line(name, 60)}", word(left), word(right), where or disk.where)


def word(value: object) -> str:
    """A setting's value as people write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return one_line(str(value), 200) if value else "not set"
