"""CDI: the specs on the node, who reads them, and what each reader resolves."""

from __future__ import annotations

import contextlib
import functools
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.cdispec import readers
from pytest_gpuready.cdispec.document import TooMuch, Unparsable
from pytest_gpuready.cdispec.registry import Registry, resolve
from pytest_gpuready.cdispec.spec import Device, Spec, parse
from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.facts import file, files, stat
from pytest_gpuready.views import View
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.ctr import Ctr, version_tuple
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.toolkit import RUNTIME, RUNTIME_ROUTES, Toolkit, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

#: Where ctr and nerdctl look, always, and everybody else by default (CDI pkg/cdi/spec-dirs.go).
DEFAULT_DIRECTORIES: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
#: Files that are specs by their name (spec-dirs.go: `.yml` is none).
SUFFIXES: tuple[str, ...] = (".json", ".yaml")
#: Largest spec that is looked at, in bytes: some 300 times a GPU's share of a real one.
LIMIT = 1024 * 1024
#: Most bytes of specs in a directory: a node's own spec has some 50,000, a pod's claim 4,000.
MOST_BYTES = 2 * LIMIT
#: Most paths of specs that are looked at.
MOST_PATHS = 4000

GPU_KIND = "nvidia.com/gpu"
#: What the NVIDIA device plugin writes for pods (k8s-device-plugin internal/cdi; strategy cdi-annotations, cdi-cri).
PLUGIN_KIND = "k8s.device-plugin.nvidia.com/gpu"

#: The routes that may go through CDI, in the order of reports.
CDI_ROUTES: tuple[str, ...] = ("ctr-gpus", "ctr-cdi", "nerdctl", "cri-cdi", *RUNTIME_ROUTES)


@dataclass(frozen=True)
class Reader:
    """Who resolves a route's CDI devices: name, directories in rising priority, and the newest version that it takes.

    `kinds` are the kinds whose devices the route asks for; `enabled` is None for a reader that has no such setting.
    """

    route: str
    name: str
    directories: tuple[str, ...]
    newest: tuple[int, ...] | None
    kinds: tuple[str, ...] = (GPU_KIND,)
    enabled: bool | None = None


@dataclass(frozen=True)
class SpecFile:
    """A file in a CDI directory: the spec, or why it is none (`fault`, `line`), or why it cannot be said (`unread`).

    `denied` is its path where it may not be read. `nvidia` says that it is, or names, a spec of NVIDIA's.
    """

    path: str
    spec: Spec | None = None
    fault: str | None = None
    line: int | None = None
    unread: Undetermined | None = None
    denied: bool = False
    nvidia: bool = False

    @property
    def kind(self) -> str | None:
        """The spec's kind, None for what is none."""
        return self.spec.kind if self.spec is not None else None


class Cdi(View):
    """Specs, readers and what they resolve."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """What is asked of the node."""
        for directory in DEFAULT_DIRECTORIES:
            for suffix in SUFFIXES:
                yield files(f"{directory}/*{suffix}", limit=LIMIT)
            yield stat(directory)
        cdi = views.get(cls)
        for directory in cdi.directories:
            yield stat(directory)
            for suffix in SUFFIXES:
                yield files(f"{directory}/*{suffix}", limit=LIMIT)
        for directory in cdi.directories:
            with contextlib.suppress(Undetermined, Denied):
                for found in cdi.files_in(directory):
                    if found.fault is not None:
                        yield stat(found.path)
                    if found.spec is not None and found.nvidia:
                        for path in cdi.paths(found.spec)[:MOST_PATHS]:
                            yield stat(path)

    # ------------------------------------------------------------------ readers

    def reader(self, route: str) -> Reader:
        """Who resolves this route's devices. `NotApplicable` where the route does not go through CDI."""
        if route in ("ctr-gpus", "ctr-cdi"):
            return self._ctr(route)
        if route == "nerdctl":
            return self._nerdctl()
        if route == "cri-cdi":
            return self._daemon()
        return self._runtime(route)

    def _ctr(self, route: str) -> Reader:
        ctr = self.views.get(Ctr)
        if ctr.path is None:
            raise NotApplicable("ctr is not installed")
        if route == "ctr-gpus" and not ctr.gpus_by_cdi:
            raise NotApplicable(f"ctr {ctr.version_text} gives GPUs by nvidia-container-cli; from 2.3 on by CDI")
        if ctr.version < (2, 0):
            raise NotApplicable(f"ctr {ctr.version_text} has no CDI; it came with 2.0")
        newest = readers.newest(readers.CONTAINERD, ctr.version)
        return Reader(route, f"ctr {ctr.version_text}", DEFAULT_DIRECTORIES, newest)

    def _nerdctl(self) -> Reader:
        ctr = self.views.get(Ctr)
        if ctr.nerdctl is None:
            raise NotApplicable("nerdctl is not installed")
        if not ctr.nerdctl_gpus_by_cdi:
            raise NotApplicable("this nerdctl gives GPUs by nvidia-container-cli; from 2.3 on by CDI")
        return Reader("nerdctl", "nerdctl", DEFAULT_DIRECTORIES, (1, 1, 0))

    def _daemon(self) -> Reader:
        live = self.views.get(ContainerdLive)
        if live.executable is None and live.selected is None:
            raise NotApplicable("containerd is not on the node")
        version = live.disk_version
        with contextlib.suppress(Undetermined):
            version = version_tuple(live.live_version_text) if live.live_version_text else version
        if version < (1, 7):
            raise NotApplicable(f"containerd {live.disk_version_text} has no CDI; it came with 1.7")
        config = self.views.get(ContainerdConfig)
        if not config.loaded.loads:
            raise NotApplicable("containerd's configuration does not load (containerd.config-loads)")
        return Reader(
            "cri-cdi",
            "containerd's CRI plugin",
            tuple(posixpath.normpath(directory) for directory in config.cdi_spec_dirs) or DEFAULT_DIRECTORIES,
            readers.newest(readers.CONTAINERD, version),
            (GPU_KIND, PLUGIN_KIND),
            config.cdi_enabled,
        )

    def _runtime(self, route: str) -> Reader:
        toolkit = self.views.get(Toolkit)
        try:
            mode = toolkit.mode_for(route)
        except Undetermined as error:
            # Routes ask for specs only where the mode is known to be cdi.
            raise NotApplicable(error.why) from None
        if mode != "cdi":
            raise NotApplicable(f"{RUNTIME} is in mode {mode}, which needs no CDI spec on disk")
        config = toolkit.config_for(route)
        said = config.get(RUNTIME, "modes", "cdi", "spec-dirs")
        directories = [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
        kind = config.text(RUNTIME, "modes", "cdi", "default-kind") or GPU_KIND
        release = numbers(toolkit.version_text_of(toolkit.runtime_for(route)))
        return Reader(
            route,
            f"{RUNTIME} in mode cdi",
            tuple(posixpath.normpath(directory) for directory in directories) or DEFAULT_DIRECTORIES,
            readers.newest(readers.TOOLKIT, release),
            (kind,) if kind == GPU_KIND else (kind, GPU_KIND),
        )

    @functools.cached_property
    def directories(self) -> tuple[str, ...]:
        """Every directory that somebody reads specs from; those that cannot be said are left out."""
        known = list(DEFAULT_DIRECTORIES)
        for route in CDI_ROUTES:
            with contextlib.suppress(Undetermined, NotApplicable, Denied):
                known += [one for one in self.reader(route).directories if posixpath.isabs(one)]
        return tuple(dict.fromkeys(known))

    # ------------------------------------------------------------------ specs

    def files_in(self, directory: str) -> list[SpecFile]:
        """The files in a directory that are specs by their name, in the order in which they are read."""
        if directory not in self._listed:
            self._listed[directory] = self._list(directory)
        return self._listed[directory]

    @functools.cached_property
    def _listed(self) -> dict[str, list[SpecFile]]:
        return {}

    def _list(self, directory: str) -> list[SpecFile]:
        there = self.facts.stat(directory)
        if there is not None and not there.mode & 0o004 and self.views.get(Platform).uid not in (0, there.uid):
            raise Denied(directory)
        paths = [path for suffix in SUFFIXES for path in self.facts.glob(f"{directory}/*{suffix}", kind="files")]
        found = [self.facts.peek(file(path)) for path in paths]
        if sum(len(fact.data) for fact in found if fact is not None) > MOST_BYTES:
            raise Undetermined(f"{directory}: more than {MOST_BYTES // 1024 // 1024} MiB of CDI specs")
        return [self.at(path) for path in sorted(set(paths))]

    def at(self, path: str) -> SpecFile:
        """The spec file at a path."""
        if path not in self._read:
            self._read[path] = self._look(path)
        return self._read[path]

    @functools.cached_property
    def _read(self) -> dict[str, SpecFile]:
        return {}

    def _look(self, path: str) -> SpecFile:
        named = "nvidia" in posixpath.basename(path).lower()
        try:
            fact = self.facts.fact(file(path, limit=LIMIT))
        except Denied:
            # What cannot be read may be NVIDIA's whatever its name.
            return SpecFile(path, denied=True, nvidia=True)
        except Undetermined as error:
            return SpecFile(path, unread=error, nvidia=True)
        if fact.state != "ok":
            # A link that leads nowhere or a folder: CDI says that it cannot read it.
            why = "it leads nowhere" if fact.state == "absent" else fact.note or "it cannot be read"
            return SpecFile(path, fault=why, nvidia=named)
        mentioned = named or b"nvidia.com/" in fact.data
        try:
            spec = parse(path, fact.data)
        except TooMuch as error:
            return SpecFile(path, unread=Undetermined(f"{path}: {error.text}"), line=error.line, nvidia=mentioned)
        except Unparsable as error:
            return SpecFile(path, fault=error.text, line=error.line, nvidia=mentioned)
        return SpecFile(path, spec=spec, nvidia=is_nvidias(spec.kind))

    def everywhere(self) -> list[SpecFile]:
        """NVIDIA's spec files in all directories that somebody reads."""
        return [found for directory in self.directories for found in self.files_in(directory) if found.nvidia]

    def of(self, reader: Reader) -> list[SpecFile]:
        """NVIDIA's spec files that a reader looks at."""
        return [found for directory in reader.directories for found in self.files_in(directory) if found.nvidia]

    def registry(self, reader: Reader) -> Registry:
        """What the reader resolves; files that are no specs to it are left out, as it leaves them out.

        `Denied` and `Undetermined` where a file could not be read.
        """
        levels: list[list[Spec]] = []
        for directory in reader.directories:
            level = []
            for found in self.files_in(directory):
                if found.denied and found.nvidia:
                    raise Denied(found.path)
                if found.unread is not None and found.nvidia:
                    raise found.unread
                if found.spec is not None and not too_new(found.spec, reader):
                    level.append(found.spec)
            levels.append(level)
        return resolve(levels)

    @functools.cached_property
    def devices(self) -> dict[str, Device]:
        """The devices that containerd resolves, by names such as `nvidia.com/gpu=0`, whatever their kind.

        Where containerd has no CDI: those of the default directories. `Denied`, `Undetermined` as `registry`.
        """
        try:
            reader = self._daemon()
        except NotApplicable:
            reader = Reader("", "CDI", DEFAULT_DIRECTORIES, None)
        return {name: device for name, (_, device) in self.registry(reader).devices.items()}

    @staticmethod
    def paths(spec: Spec) -> list[str]:
        """Every path on the node that a spec names."""
        found: dict[str, None] = {}
        for edits in spec.all_edits:
            found.update(dict.fromkeys(node.host for node in edits.nodes))
            found.update(dict.fromkeys(hook.path for hook in edits.hooks))
            found.update(dict.fromkeys(mount.host for mount in edits.mounts if mount.is_bind))
        return [path for path in found if posixpath.isabs(path)]


def is_nvidias(kind: str) -> bool:
    """A kind of NVIDIA's: its vendor is nvidia.com or below it."""
    vendor = kind.partition("/")[0]
    return vendor == "nvidia.com" or vendor.endswith(".nvidia.com")


def too_new(spec: Spec, reader: Reader) -> bool:
    """The reader does not know this version: `invalid version` to it."""
    return reader.newest is not None and spec.version > reader.newest
