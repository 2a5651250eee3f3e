"""containerd's configuration on disk, read as the node's containerd would read it, and held against the live daemon."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import posixpath
import re
import time
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.files import NotLooked
from pytest_gpuready.containerd.load import load, wanted
from pytest_gpuready.model import Denied, Evidence, NotApplicable, Undetermined, Where
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import file, stat
from pytest_gpuready.views import View
from pytest_gpuready.views.containerd_live import DEFAULT_CONFIG, EMBEDDED, ContainerdLive
from pytest_gpuready.views.fact_files import FactFiles, config_file, config_glob
from pytest_gpuready.views.handlers import (
    RUNTIME_NAME,
    Difference,
    Handler,
    handler_differences,
    read_handler,
    where_of,
    word,
)
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tomlkit import TOMLDocument

    from pytest_gpuready.containerd.model import Ineffective, Loaded
    from pytest_gpuready.containerd_api.answers import CriStatus
    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

__all__ = ["CRI_PLUGINS", "RUNTIME_NAME", "ContainerdConfig", "Difference", "FactFiles", "Handler"]

#: What was changed before containerd was, 2015-12-01, was changed under a wrong clock; a clock may be a day off.
FIRST_CONTAINERD, DAY = 1_448_928_000, 86_400

#: Where drop-ins usually are; looked at in the first round, so that a healthy node needs no other.
DROP_INS = ("/etc/containerd/conf.d/*.toml", "/etc/containerd/config.d/*.toml", "/etc/containerd/*.d/*.toml")
#: Their folders, and the main file's.
FOLDERS = ("/etc/containerd", "/etc/containerd/conf.d", "/etc/containerd/config.d")
#: What writes containerd's configuration on EKS's AL2023 (awslabs/amazon-eks-ami, nodeadm).
NODEADM = "/usr/bin/nodeadm"
#: The policy's switch that lets containers use devices (container-selinux).
USE_DEVICES = file("/sys/fs/selinux/booleans/container_use_devices")
#: The CRI plugin's ids, the newest first: where its settings stand (containerd 2.x; 1.x).
CRI_PLUGINS = ("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri")


class ContainerdConfig(View):
    """What the containerd on disk would load from the files on disk, and whether the running one has it."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """The usual files at once; others, and when files were changed, as it becomes known what is read."""
        yield config_file(DEFAULT_CONFIG)
        for pattern in DROP_INS:
            yield config_glob(pattern)
        for flavour in EMBEDDED:
            yield config_file(flavour.config)
        for path in (DEFAULT_CONFIG, *FOLDERS, NODEADM):
            yield stat(path)
        yield USE_DEVICES
        live = views.get(ContainerdLive)
        yield config_file(live.config_path)
        paths, patterns = wanted(
            FactFiles(views.facts), cls._version(views), live.config_path, explicit=live.config_explicit
        )
        for path in sorted(paths):
            yield config_file(path)
        for pattern in sorted(patterns):
            yield config_glob(pattern)
        config = views.get(cls)
        # When files were changed is asked only where content cannot tell whether the daemon has them.
        if not config.comparable:
            for path in config.dated:
                yield stat(path)

    @staticmethod
    def _version(views: Views) -> str | None:
        with contextlib.suppress(Undetermined, Denied):
            return views.get(ContainerdLive).disk_version_text
        return None

    @functools.cached_property
    def live(self) -> ContainerdLive:
        """The daemon that is judged."""
        return self.views.get(ContainerdLive)

    @property
    def path(self) -> str:
        """The main file."""
        return self.live.config_path

    @functools.cached_property
    def _files(self) -> FactFiles:
        return FactFiles(self.facts)

    @functools.cached_property
    def loaded(self) -> Loaded:
        """What this containerd would load. `Denied` or `Undetermined` where a file was not to be had."""
        if self.live.config_unclear:
            raise Undetermined(self.live.config_unclear)
        try:
            return load(self._files, self._version(self.views), self.path, explicit=self.live.config_explicit)
        except NotLooked as error:
            raise Undetermined(f"{error} was not looked at", "not-asked") from None
        except PermissionError as error:
            raise Denied(str(error.filename)) from None

    @property
    def assumed(self) -> bool:
        """Whether this release is not modelled, or its version not known: then the newest model that fits was taken."""
        return self.loaded.assumed

    @property
    def undecided(self) -> tuple[str, ...]:
        """What cannot be said: releases differ in it and the version is not known, or the files are beyond the model.

        A version that is told and newer than the models is read as the newest of them.
        """
        told = self._version(self.views) is not None
        names = ("loads", "cri_state", "handlers", "default_runtime")
        beyond = [str(item) for item in self.loaded.by_node if item.field == "everything"]
        return (*beyond, *(name for name in self.loaded.unknown if not told and name in names))

    @property
    def comparable(self) -> bool:
        """Whether the running daemon tells what it loaded."""
        with contextlib.suppress(Undetermined, Denied):
            return self.live.selected is None or self._told is not None
        return False

    @property
    def _told(self) -> CriStatus:
        """The running daemon's CRI status, with what it loaded. `Undetermined` while it starts up."""
        cri = self.live.cri
        if cri.served and cri.config is None:
            raise Undetermined(f"the daemon does not tell what it loaded: {one_line(cri.refusal, 200) or 'no config'}")
        return cri

    @functools.cached_property
    def files(self) -> list[str]:
        """Every file that is read, the main one first."""
        return list(dict.fromkeys([self.path, *self.loaded.imports]))

    @property
    def exists(self) -> bool:
        """Whether the main file is there."""
        return self.facts.fact(config_file(self.path)).state != "absent"

    # ------------------------------------------------------------------ handlers

    @functools.cached_property
    def handlers(self) -> dict[str, Handler]:
        """Every runtime handler by name."""
        return {name: read_handler(found) for name, found in self.loaded.handlers.items()}

    @property
    def default_runtime(self) -> str | None:
        """The default handler's name."""
        return self.loaded.default_runtime

    @property
    def default_handler(self) -> Handler | None:
        """The default handler; None where the files name one that is not there."""
        return self.handlers.get(self.default_runtime or "")

    @property
    def nvidia_handlers(self) -> list[Handler]:
        """The handlers that start NVIDIA's runtime."""
        return [handler for handler in self.handlers.values() if handler.is_nvidia]

    @functools.cached_property
    def handler_name(self) -> str:
        """The handler that is judged.

        The user's, the RuntimeClass's, `nvidia`, else the only one that runs NVIDIA's runtime.
        """
        if self.views.settings.handler:
            return self.views.settings.handler
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            named = self.views.kubernetes.runtime_class_handler
            if named:
                return named
        if "nvidia" in self.handlers:
            return "nvidia"
        mine = self.nvidia_handlers
        return mine[0].name if len(mine) == 1 else "nvidia"

    @property
    def handler(self) -> Handler | None:
        """The handler that is judged; None where there is none of that name."""
        return self.handlers.get(self.handler_name)

    def without_effect(self, name: str) -> list[Ineffective]:
        """The settings of a handler that are written somewhere and have no effect.

        Of a file or a plugin's table that has none as a whole, the handler's own line is pointed at.
        """
        parts = (f"runtimes.{name}", f'runtimes."{name}"', f"runtimes.'{name}'")
        found = [item for item in self.loaded.ineffective if any(part in item.key for part in parts)]
        if found:
            return found
        header = re.compile(rf"\s*\[.*\bruntimes\.([\"']?){re.escape(name)}\1\s*\]")
        headers: dict[str, list[tuple[int, str]]] = {}
        for item in self.loaded.ineffective:
            path = item.where.path
            fact = self.facts.peek(config_file(path))
            plugin = re.match(r"plugins\.(\"[^\"]*\"|[^.\"]+)", item.key)
            if fact is None or not (plugin or item.key == path):
                continue
            if path not in headers:
                lines = enumerate(fact.text.splitlines(), 1)
                headers[path] = [(number, line) for number, line in lines if header.match(line)]
            for number, line in headers[path]:
                if not plugin or plugin[1].strip('"') in line:
                    found.append(dataclasses.replace(item, where=type(item.where)(item.where.path, number)))
                    break
        return found[:1]

    @property
    def default_where(self) -> Where | None:
        """Where the default handler is named; None for the built-in one."""
        return where_of(self.loaded.default_runtime_where)

    @property
    def disabled_where(self) -> Where:
        """Where plugins are disabled."""
        return where_of(self.loaded.wheres.get("disabled_plugins")) or Where(self.path)

    @property
    def cgroup_drivers(self) -> dict[str, bool]:
        """Who else names a cgroup driver, and whether it is systemd: the kubelet, else plain runc's handler."""
        with contextlib.suppress(Undetermined, NotApplicable):
            driver = self.views.kubernetes.cgroup_driver
            if driver is not None:
                return {"the kubelet's cgroupDriver is": driver == "systemd"}
        plain = self.handlers.get("runc") or self.default_handler
        if plain is None or plain.is_nvidia or plain.name == self.handler_name:
            return {}
        return {f"handler {one_line(plain.name, 40)} has": bool(plain.systemd_cgroup)}

    def cri_setting(self, key: str) -> tuple[object, Where | None]:
        """A setting of the CRI plugin as it is in force, and where it is set."""
        for plugin in CRI_PLUGINS:
            table = self.loaded.plugin_table(plugin)
            if key in table:
                wheres = self.loaded.wheres.items()
                place = next((where for name, where in wheres if plugin in name and name.endswith(f".{key}")), None)
                return table[key], where_of(place)
        return None, None

    @property
    def selinux_enabled(self) -> bool:
        """Whether containerd labels its containers."""
        return self.cri_setting("enable_selinux")[0] is True

    @property
    def selinux_where(self) -> Where | None:
        """Where that is set."""
        return self.cri_setting("enable_selinux")[1]

    @property
    def container_use_devices(self) -> bool | None:
        """The policy's switch; None where the policy has none."""
        text = self.facts.text(USE_DEVICES)
        return None if text is None else text.startswith("1")

    def excerpt(self, where: Where | None, around: int = 2) -> tuple[Evidence, ...]:
        """The lines around a place, the one that is meant marked; nothing where the place has no line."""
        if where is None or where.line is None:
            return ()
        fact = self.facts.peek(config_file(where.path))
        lines = fact.text.splitlines() if fact is not None and fact.state == "ok" else []
        first = max(1, where.line - around)
        shown = [
            f"{'>' if number == where.line else ' '} {number:4} {line[:160]}"
            for number, line in enumerate(lines[first - 1 : where.line + around], first)
        ]
        return (Evidence(str(where), "\n".join(shown)),) if shown else ()

    def document(self, path: str | None = None) -> TOMLDocument:
        """The main file, or another that is read, as it is written: a tomlkit document, comments kept.

        For tests of what stands in a file; what containerd makes of it is `loaded`. `Undetermined` where the file is
        not there or tomlkit cannot read it (it refuses some that containerd takes: tomlkit issue 571).
        """
        import tomlkit  # noqa: PLC0415 - 30 ms that only this needs
        from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

        place = path or self.path
        text = self.facts.text(config_file(place))
        if text is None:
            raise Undetermined(f"{place} is not there")
        try:
            return tomlkit.parse(text)
        except TOMLKitError as error:
            raise Undetermined(f"{place}: tomlkit cannot read it: {one_line(str(error), 200)}") from None

    @property
    def cdi_enabled(self) -> bool:
        """Whether the CRI plugin resolves CDI devices."""
        return bool(self.loaded.cdi_enabled)

    @property
    def cdi_spec_dirs(self) -> tuple[str, ...]:
        """Where it looks for CDI specs."""
        return tuple(self.loaded.cdi_spec_dirs)

    # ------------------------------------------------------------------ disk against live

    def differences(self) -> list[Difference]:
        """What the running daemon has otherwise than what is on disk; `Undetermined` or `Denied` if it will not tell.

        Compared is what decides how a container starts: CRI on or off, the default handler, each handler's type, shim,
        BinaryName and SystemdCgroup, CDI and its directories. CRI off by the files and off live is equal.
        """
        disk, cri = self.loaded, self._told
        serves = disk.cri_state == "serving"
        if serves != cri.served:
            return [
                Difference(
                    "the CRI plugin", "served" if serves else disk.cri_state, "served" if cri.served else "not served"
                )
            ]
        if not serves:
            return []
        found = []
        if cri.default_runtime is not None and cri.default_runtime != disk.default_runtime:
            where = where_of(disk.default_runtime_where)
            found.append(Difference("default_runtime_name", str(disk.default_runtime), str(cri.default_runtime), where))
        for name in [*self.handlers, *(live for live in cri.handlers if live not in self.handlers)]:
            found.extend(handler_differences(name, self.handlers.get(name), cri.handlers.get(name)))
        if cri.cdi_enabled is not None and cri.cdi_enabled != self.cdi_enabled:
            found.append(
                Difference(
                    "enable_cdi", word(self.cdi_enabled), word(cri.cdi_enabled), where_of(disk.cdi_enabled_where)
                )
            )
        dirs = cri.cdi_spec_dirs
        if dirs is not None and self.cdi_enabled and tuple(dirs) != self.cdi_spec_dirs:
            where = where_of(disk.cdi_spec_dirs_where)
            found.append(Difference("cdi_spec_dirs", ", ".join(self.cdi_spec_dirs), ", ".join(dirs), where))
        return found

    @property
    def dated(self) -> list[str]:
        """What a change of the configuration leaves a time on: the files, and the folders of theirs and of drop-ins.

        A deleted drop-in leaves only its folder's.
        """
        files = self.files  # loads them, after which the patterns are known
        folders = [posixpath.dirname(path) for path in [*files, *sorted(self._files.patterns)]]
        return list(dict.fromkeys([*files, *(folder for folder in folders if "*" not in folder)]))

    def newest_change(self) -> tuple[int, str]:
        """When the newest of the files and their folders was changed (seconds since 1970), and which it is.

        The later of mtime and ctime: `cp -p`, rsync and dpkg keep the first.
        """
        return max(self.changes(), key=lambda change: change[0], default=(0, self.path))

    def changes(self) -> list[tuple[int, str]]:
        """When each of the files and folders was changed, those that are there."""
        found = [(self.facts.stat(place), place) for place in self.dated]
        return [(max(lies.mtime, lies.ctime), place) for lies, place in found if lies is not None]

    def clock_doubt(self) -> str | None:
        """Why times tell nothing on this node: its clock was not set when a file was changed, or is not set now."""
        now = None
        with contextlib.suppress(Undetermined, Denied):
            now = self.views.get(Platform).now
        for changed, place in self.changes():
            # 0 and 1 are the stamps of images that are built to be the same every time.
            if 1 < changed < FIRST_CONTAINERD:
                return f"{place} was changed under a clock that said {utc(changed)}"
            if now is not None and changed > now + DAY:
                return f"the node's clock says {utc(now)}, and {place} was changed {utc(changed)}"
        return None


def utc(seconds: float) -> str:
    """A time as people read it."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"
