"""Remedies for runtime handlers: register one, make it the default, put its settings right."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from pytest_gpuready.model import Remedy, Where
from pytest_gpuready.quoting import quote
from pytest_gpuready.remedies.containerd_files import PLUGIN_TABLES, PLUGINS, USUAL_RUNTIME, FileRemedies, handler_table
from pytest_gpuready.remedies.containerd_service import known
from pytest_gpuready.remedies.edits import (
    Change,
    Workshop,
    append,
    insert_after,
    only,
    set_value,
    toml_key,
    toml_string,
    toml_value,
)
from pytest_gpuready.remedies.packages import PackageRemedies
from pytest_gpuready.remedies.tomledit import by_tomlkit, put, settings
from pytest_gpuready.views.containerd_live import DEFAULT_CONFIG
from pytest_gpuready.views.handler_binary import HandlerBinary
from pytest_gpuready.views.handlers import RUNTIME_NAME
from pytest_gpuready.views.toolkit import Toolkit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tomlkit import TOMLDocument

    from pytest_gpuready.views.handlers import Handler

#: Where k0s takes people's settings from (from 1.27.1; docs.k0sproject.io, runtime), and what it makes of them.
K0S_DROP_IN = "/etc/k0s/containerd.d/nvidia.toml"


class HandlerRemedies(FileRemedies):
    """Runtime handlers."""

    def handler(self) -> Remedy:
        """No handler runs NVIDIA's runtime."""
        flavour, name = self._flavour, self.config.handler_name
        if flavour.name in ("k3s", "RKE2"):
            return Remedy(
                f"Restart {flavour.name}: it registers the handler itself when it finds {RUNTIME_NAME} at its start.",
                self._restart_only(),
            )
        if self._k0s_manages:
            return self._k0s_handler(name)
        generated = self._generated()
        if generated is not None:
            return generated
        if self._ctk_works(name):
            command = f"{self._sudo}nvidia-ctk runtime configure --runtime=containerd"
            words = "Register the handler with NVIDIA's own command, then restart containerd."
            return Remedy(words, (command, *self._restart_only()))
        shop = self._workshop(lambda key: _about_handler(key, name))
        found = shop.first(self._handler_proposals(shop, name), self._goal)
        if found is not None:
            words = f"Register the handler {name} where this containerd reads it, then restart it."
            return self._remedy(shop, found, words)
        return Remedy(
            f"Add a handler {name} with BinaryName {self._binary} to {self.config.path} by hand (no edit could be "
            "proven to change nothing else), then restart containerd.",
            self._restart_only(),
        )

    def _tables(self, version: int, name: str, *, runc: bool) -> str:
        """The handler's tables; with runc's, which containerd 1.x forgets as soon as a file names any handler."""
        plugin, systemd = PLUGIN_TABLES[version], self._systemd_cgroup
        mine = handler_table(plugin, name, self._binary, systemd=systemd)
        return f"{handler_table(plugin, 'runc', None, systemd=systemd)}\n{mine}" if runc else mine

    def _handler_proposals(self, shop: Workshop, name: str) -> Iterator[list[Change]]:
        """Put BinaryName right; import the drop-in that has it; else add its tables to the file with the last word."""
        present = self.config.handler
        if present is not None:
            if present.cgroup_where is None and self._systemd_cgroup:
                yield from self._options(shop, present)
            yield from self._settings(shop, present, "BinaryName", self._binary, present.binary_where)
            yield from self._decodable(shop, present)
            return
        yield from self._imports(shop)
        texts = dict(self._texts(shop))
        # On 1.x the last file that sets runtimes decides: it replaces the whole plugin. Then the main file.
        owners = [where.path for key, where in self.config.loaded.wheres.items() if ".runtimes." in key]
        for path in dict.fromkeys([*reversed(owners), self.config.path, *texts]):
            for version in self._versions(path) if path in texts else ():
                for runc in (False, True):
                    yield [append(path, texts[path], self._tables(version, name, runc=runc))]
        if not texts:
            for version in (3, 2):
                for runc in (False, True):
                    tables = self._tables(version, name, runc=runc)
                    yield [append(self.config.path, None, f"version = {version}\n\n{tables}")]

    def _options(self, shop: Workshop, present: Handler) -> Iterator[list[Change]]:
        """BinaryName and SystemdCgroup at once, for a handler that has neither."""
        values: dict[str, str | bool] = {"BinaryName": self._binary, "SystemdCgroup": True}
        for path, old in self._texts(shop):
            for plugin in PLUGINS:

                def edit(document: TOMLDocument, plugin: str = plugin) -> None:
                    for key, value in values.items():
                        put(document, ["plugins", plugin, *_options_of(present), key], value)

                change = by_tomlkit(path, old, edit)
                yield only(change)
            for version in self._versions(path):
                table = f"{PLUGIN_TABLES[version]}.containerd.runtimes.{toml_key(present.name)}.options"
                lines = [f"[{table}]", *(f"  {key} = {toml_value(value)}" for key, value in values.items())]
                yield [append(path, old, "\n".join(lines))]

    def _decodable(self, shop: Workshop, present: Handler) -> Iterator[list[Change]]:
        """Make a SystemdCgroup that is no boolean one."""
        wanted, place = self._systemd_cgroup, present.cgroup_where
        yield from self._by_tomlkit(shop, _options_of(present), "SystemdCgroup", wanted, place)
        for path, old in self._texts(shop):
            for number, line in enumerate(_lines(old), 1):
                if re.match(r"\s*[\"']?SystemdCgroup[\"']?\s*=", line, re.IGNORECASE):
                    yield only(set_value(path, old, number, toml_value(wanted)))

    def _imports(self, shop: Workshop) -> Iterator[list[Change]]:
        """Import the folder of a drop-in that no imports line names: it may have the handler."""
        main = shop.text(self.config.path)
        if main is None:
            return
        lost = [item.where.path for item in self.config.loaded.ineffective if item.kind == "not-imported"]
        for folder in dict.fromkeys(map(posixpath.dirname, lost)):
            pattern = f"{folder}/*.toml"

            def add(document: TOMLDocument, pattern: str = pattern) -> None:
                present: Any = document.get("imports")
                if present is None:
                    document["imports"] = [pattern]
                else:
                    present.append(pattern)

            edited = by_tomlkit(self.config.path, main, add)
            yield only(edited)
            value = f"[{toml_string(pattern)}]"
            for number, line in enumerate(_lines(main), 1):
                if re.match(r"\s*imports\s*=", line):
                    change = set_value(self.config.path, main, number, value)
                elif re.match(r"\s*version\s*=", line):
                    change = insert_after(self.config.path, main, number, f"imports = {value}")
                else:
                    continue
                yield only(change)

    def _k0s_handler(self, name: str) -> Remedy:
        """A file of its own in the folder that k0s merges; proven as if k0s had merged it into what it imports."""
        shop = self._workshop(lambda key: _about_handler(key, name))
        for path in [path for path in reversed(self.config.files) if path != self.config.path]:
            for version in self._versions(path):
                tables = self._tables(version, name, runc=False)
                if shop.prove([append(path, shop.text(path), tables)], self._goal):
                    change = append(K0S_DROP_IN, None, tables)
                    words = "Register the handler in a file of its own, which k0s merges when it starts."
                    return Remedy(
                        words,
                        (
                            f"{self._sudo}mkdir -p {posixpath.dirname(K0S_DROP_IN)}",
                            f"{self._sudo}{change.command}",
                            *self._restart_only(),
                        ),
                        (shop.edit(change),),
                    )
        return self._managed_by_k0s()

    def _ctk_works(self, name: str) -> bool:
        """Whether `nvidia-ctk runtime configure` does it here: present, and none of its known traps is.

        Traps (measured with 1.14 to 1.20): no or an empty main file on containerd 1.x; a main file without `version`;
        1.18.0 and older than 1.14; version 3 before 1.17.4; runc without runtime_type before 1.20; a runc whose cgroup
        driver is not the kubelet's, since its options are copied; files beside the main one that set CRI on 1.x, where
        the last one replaces the others; a default handler other than runc.
        """
        config, loaded = self.config, self.config.loaded
        usual = name == "nvidia" and config.handler is None and self._binary == USUAL_RUNTIME
        if not usual or config.path != DEFAULT_CONFIG:
            return False
        if known(lambda: self.platform.program("nvidia-ctk"), None) is None:
            return False
        nothing: tuple[int, ...] = ()
        toolkit = known(lambda: self.views.get(Toolkit).version, nothing)
        declared = loaded.config_versions.get(config.path, 0)
        if toolkit < (1, 14) or toolkit[:3] == (1, 18, 0) or declared < 2 or (declared > 2 and toolkit < (1, 17, 4)):
            return False
        if len(config.files) > 1 and known(lambda: self.live.disk_version < (2, 0), otherwise=True):
            return False
        plain = loaded.handlers.get("runc")
        # What it copies for the new handler is what the main file itself says of runc.
        if plain is None or plain.runtime_type_where is None or plain.runtime_type_where.path != config.path:
            return False
        return loaded.default_runtime == "runc" and bool(plain.systemd_cgroup) == self._systemd_cgroup

    # ------------------------------------------------------------------ one setting of a handler

    def _by_tomlkit(
        self,
        shop: Workshop,
        tail: Sequence[str],
        key: str,
        value: str | bool,  # noqa: FBT001
        place: Where | None,
    ) -> Iterator[list[Change]]:
        """Set a key of a CRI plugin's table: where it stands first, then in the files, the last word first."""
        texts = sorted(self._texts(shop), key=lambda found: place is None or found[0] != place.path)
        for path, old in texts:
            for plugin in PLUGINS:
                for change in settings(path, old, ["plugins", plugin, *tail], key, value):
                    yield [change]

    def _settings(
        self,
        shop: Workshop,
        present: Handler,
        key: str,
        value: str | bool,  # noqa: FBT001
        place: Where | None,
        *,
        options: bool = True,
    ) -> Iterator[list[Change]]:
        """Set a key of a handler: by tomlkit; else on its line, in its table, in a table of its own."""
        yield from self._by_tomlkit(shop, _options_of(present, options=options), key, value, place)
        written = toml_value(value)
        yield _at(shop, place, written)
        tail = ".options" if options else ""
        header = re.compile(rf"\s*\[.*\bruntimes\.[\"']?{re.escape(present.name)}[\"']?{re.escape(tail)}\s*\]")
        texts = self._texts(shop)
        for path, old in texts:
            for number, line in enumerate(_lines(old), 1):
                if header.match(line):
                    change = insert_after(path, old, number, f"{_indent(line)}  {key} = {written}")
                    yield only(change)
        for path, old in texts:
            for version in self._versions(path):
                table = f"{PLUGIN_TABLES[version]}.containerd.runtimes.{toml_key(present.name)}{tail}"
                yield [append(path, old, f"[{table}]\n  {key} = {written}\n")]

    def _set(
        self,
        key: str,
        value: str | bool,  # noqa: FBT001
        place: Where | None,
        good: Callable[..., bool],
        *,
        options: bool = True,
    ) -> Remedy:
        present = self.config.handler
        generated = self._generated()
        written = toml_value(value)
        if generated is not None or present is None:
            return generated or Remedy(f"Set {key} = {written} for the handler, then restart containerd.")
        name = present.name
        shop = self._workshop(lambda entry: _about_handler(entry, name))
        proposals = self._settings(shop, present, key, value, place, options=options)
        found = shop.first(proposals, lambda after: name in after.handlers and good(after.handlers[name]))
        if found is None:
            words = f"Set {key} = {written} for handler {name} by hand, then restart containerd."
            return Remedy(words, self._restart_only())
        return self._remedy(shop, found, f"Set {key} = {written} for handler {name}, then restart containerd.")

    def runtime_type(self) -> Remedy:
        """The handler has no runtime_type, or one of old."""
        wanted = "io.containerd.runc.v2"
        place = self.config.handler.type_where if self.config.handler else None
        return self._set("runtime_type", wanted, place, lambda found: found.runtime_type == wanted, options=False)

    def cgroups(self) -> Remedy:
        """The handler's cgroup driver is not the others'."""
        wanted = self._systemd_cgroup
        place = self.config.handler.cgroup_where if self.config.handler else None

        def good(found: Handler) -> bool:
            return bool(found.systemd_cgroup) == wanted

        return self._set("SystemdCgroup", wanted, place, good)

    def default_runtime(self) -> Remedy:
        """Another handler is the default."""
        name, flavour = self.config.handler_name, self._flavour
        if flavour.name in ("k3s", "RKE2"):
            words = f"Start {flavour.name} with --default-runtime {quote(name)}, or give pods runtimeClassName: {name}."
            return Remedy(words, self._restart_only())
        generated = self._generated()
        if generated is not None:
            return generated
        shop = self._workshop(lambda key: key.endswith(".default_runtime_name"))
        found = shop.first(self._defaults(shop, name), lambda after: after.default_runtime == name)
        if found is None:
            words = f"Set default_runtime_name to {name} by hand, or give pods runtimeClassName: {name}."
            return Remedy(words, self._restart_only())
        return self._remedy(shop, found, f"Make {name} the default handler, then restart containerd.")

    def _defaults(self, shop: Workshop, name: str) -> Iterator[list[Change]]:
        place, value = self.config.default_where, toml_string(name)
        yield from self._by_tomlkit(shop, ["containerd"], "default_runtime_name", name, place)
        yield _at(shop, place, value)
        for path, old in self._texts(shop):
            for version in self._versions(path):
                table = f"{PLUGIN_TABLES[version]}.containerd"
                for number, line in enumerate(_lines(old), 1):
                    if re.sub(r"[\s\"']", "", line) == re.sub(r"[\"']", "", f"[{table}]"):
                        change = insert_after(path, old, number, f"{_indent(line)}  default_runtime_name = {value}")
                        yield only(change)
                yield [append(path, old, f"[{table}]\n  default_runtime_name = {value}\n")]

    # ------------------------------------------------------------------ its program

    def handler_binary(self) -> Remedy:
        """The program is not there for the daemon, or cannot be executed."""
        view = self.views.get(HandlerBinary)
        trouble, present = known(lambda: view.trouble, None), self.config.handler
        there = known(lambda: self.views.get(Toolkit).runtime_path, None)
        kind = trouble.kind if trouble is not None else "missing"
        if kind in ("missing", "mode") and known(lambda: view.root, ""):
            return self.unhide(known(lambda: view.name, RUNTIME_NAME))
        if kind == "mode" and view.path is not None:
            return Remedy("Let the daemon execute the program.", (f"{self._sudo}chmod a+rx {quote(view.path)}",))
        if kind == "noexec":
            return Remedy("Mount that file system without noexec, or install the toolkit on another one.")
        if kind == "missing" and there is not None and present is not None and there != present.binary_name:
            return self._set("BinaryName", there, present.binary_where, lambda found: found.binary_name == there)
        if kind == "missing":
            return PackageRemedies(self.views).toolkit()
        install = PackageRemedies(self.views).program(RUNTIME_NAME)
        return Remedy(f"Put the toolkit's own program in its place. {install.summary}", install.commands)


def _at(shop: Workshop, place: Where | None, value: str) -> list[Change]:
    """Another value for the key at a place."""
    if place is None or place.line is None:
        return []
    return only(set_value(place.path, shop.text(place.path) or b"", place.line, value))


def _lines(old: bytes) -> list[str]:
    return old.decode("utf-8", "replace").split("\n")


def _options_of(present: Handler, *, options: bool = True) -> list[str]:
    """The keys of a handler's table below the plugin's, or of its options."""
    return ["containerd", "runtimes", present.name, *(["options"] if options else [])]


def _about_handler(key: str, name: str) -> bool:
    return f".runtimes.{name}." in key or key == "version"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
