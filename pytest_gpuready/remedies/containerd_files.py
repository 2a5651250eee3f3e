"""Remedies for containerd's configuration as a whole: it does not load, or CRI is off."""

from __future__ import annotations

import functools
import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.model import Remedy
from pytest_gpuready.quoting import quote
from pytest_gpuready.remedies.containerd_service import ServiceRemedies, known
from pytest_gpuready.remedies.edits import (
    Change,
    Effort,
    Workshop,
    append,
    aside,
    on_line,
    toml_key,
    toml_string,
)
from pytest_gpuready.remedies.repairs import alive, other_versions, repairs
from pytest_gpuready.remedies.tomledit import keep, settings
from pytest_gpuready.views.containerd_config import NODEADM, FactFiles
from pytest_gpuready.views.fact_files import config_file
from pytest_gpuready.views.handlers import RUNTIME_NAME, is_nvidia
from pytest_gpuready.views.toolkit import Toolkit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuready.containerd.model import Loaded
    from pytest_gpuready.remedies.repairs import Proposal

USUAL_RUNTIME = f"/usr/bin/{RUNTIME_NAME}"
#: Table of the CRI plugin by the version that a file declares (ctd RELEASES.md, "Configuration versions").
PLUGIN_TABLES: dict[int, str] = {
    2: 'plugins."io.containerd.grpc.v1.cri"',
    3: 'plugins."io.containerd.cri.v1.runtime"',
    1: "plugins.cri",
    4: 'plugins."io.containerd.cri.v1.runtime"',
}
#: The same tables' names, the newest first.
PLUGINS: tuple[str, ...] = ("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "cri")
#: CRI's entries in disabled_plugins, as sed -E and Python read them: short names in version 1, URIs later.
_CRI_NAMES = re.compile(r"(io\.containerd\.grpc\.v1\.|io\.containerd\.cri\.v1\.)?(cri|runtime|images)", re.ASCII)
_CRI_ENTRY = (
    r"""["'](io\.containerd\.grpc\.v1\.|io\.containerd\.cri\.v1\.)?(cri|runtime|images)["']"""
    r"[[:space:]]*,?[[:space:]]*"
)
#: Most drop-ins that edits are tried in.
_MOST_FILES = 50
#: The CRI plugins' own settings, which come back with them.
_CRI_SETTINGS = ("disabled_plugins", "plugins.io.containerd.grpc.v1.cri.", "plugins.io.containerd.cri.v1.")


class FileRemedies(ServiceRemedies):
    """The configuration as a whole, and what all edits of it need."""

    def _workshop(self, allowed: Callable[[str], bool] = lambda _: False) -> Workshop:
        before: Loaded | None = known(lambda: self.config.loaded, None)
        version = known(lambda: self.live.disk_version_text, None)
        return Workshop(
            FactFiles(self.views.facts),
            version,
            self.config.path,
            self.live.config_explicit,
            before,
            allowed,
            self._effort,
        )

    @functools.cached_property
    def _effort(self) -> Effort:
        """What all proofs of this node may cost."""
        return Effort()

    def _remedy(self, shop: Workshop, changes: list[Change], summary: str) -> Remedy:
        """Proven changes as commands, the restart with them."""
        commands = [f"{self._sudo}{self._command(change)}" for change in changes]
        for folder in {posixpath.dirname(change.path) for change in changes if shop.absent(change.path)}:
            if not self._is_there(folder):
                commands.insert(0, f"{self._sudo}mkdir -p {quote(folder)}")
        if self._is_there(NODEADM):
            summary += (
                " On EKS nodeadm writes these files anew when the node boots: say the same in its NodeConfig "
                "(spec.containerd.config)."
            )
        return Remedy(summary, (*commands, *self._restart_only()), tuple(shop.edit(change) for change in changes))

    def _is_there(self, path: str) -> bool:
        return known(lambda: self.views.facts.exists(path), otherwise=False)

    def _command(self, change: Change) -> str:
        """The command; sed would put a file in the place of a link, so it is given what the link leads to."""
        found = known(lambda: self.views.facts.stat(change.path), None)
        if found is None or found.target is None or not change.command.startswith("sed "):
            return change.command
        return change.command.removesuffix(quote(change.path)) + quote(found.target)

    def _texts(self, shop: Workshop) -> list[tuple[str, bytes]]:
        """The files that are read and there, the one that has the last word first; of many the last and the main."""
        main, *others = self.config.files
        texts = [(path, shop.text(path)) for path in [*reversed(others[-_MOST_FILES:]), main]]
        return [(path, text) for path, text in texts if text is not None]

    def _versions(self, path: str) -> list[int]:
        """The table layouts to try in a file: the one that it declares first, else the one that it is read as."""
        own = self.config.loaded.config_versions.get(path) or self.config.loaded.config_version
        return sorted(PLUGIN_TABLES, key=lambda version: version != own)

    @functools.cached_property
    def _systemd_cgroup(self) -> bool:
        """The cgroup driver a new handler should have: the kubelet's, else runc's, else what the files say of any."""
        nobody: dict[str, bool] = {}
        told = next(iter(known(lambda: self.config.cgroup_drivers, nobody).values()), None)
        serves: bool = known(lambda: self.config.loaded.cri_enabled, otherwise=True)
        if told is not None or serves:
            return bool(told)
        texts = [text for _, text in self._texts(self._workshop())]
        return any(re.search(rb"(?im)^[^#\n]*\bSystemdCgroup\s*=\s*true", text) for text in texts)

    @property
    def _binary(self) -> str:
        """NVIDIA's runtime where it lies on this node, else where its package puts it."""
        return known(lambda: self.views.get(Toolkit).runtime_path, None) or USUAL_RUNTIME

    @property
    def _handler_name(self) -> str:
        return known(lambda: self.config.handler_name, "nvidia")

    def _goal(self, after: Loaded) -> bool:
        """The judged handler is served, and runs NVIDIA's runtime."""
        found = after.handlers.get(self._handler_name)
        return found is not None and is_nvidia(found.binary_name)

    # ------------------------------------------------------------------ files that are somebody's

    def _generated(self) -> Remedy | None:
        """Where something writes the file anew, an edit of it is lost: what to do instead."""
        flavour, path = self._flavour, self.config.path
        if self._k0s_manages:
            return self._managed_by_k0s()
        if flavour.name == "k0s":
            return None
        if flavour.name in ("k3s", "RKE2"):
            folder, old = posixpath.dirname(path), known(lambda: self.live.disk_version < (2, 0), otherwise=False)
            template = f"{folder}/{'config' if old else 'config-v3'}.toml.tmpl"
            return Remedy(
                f"{flavour.name} writes {path} at every start: put it right in {template} (a template begins with "
                f"'{{{{ template \"base\" . }}}}'), then restart {flavour.name}.",
                self._restart_only(),
            )
        if flavour.embedded:
            return Remedy(
                f"{flavour.name} writes {path} at every start: put it right in {flavour.template}, then restart "
                f"{flavour.name}.",
                self._restart_only(),
            )
        if self._os_id == "nixos":
            return Remedy(
                "NixOS writes the file: set it in virtualisation.containerd.settings, then rebuild.",
                (f"{self._sudo}nixos-rebuild switch",),
            )
        if self._os_id == "cos":
            return Remedy(
                f"Google manages {path}, and it is written anew at each boot. Pods of GKE need no handler: its device "
                "plugin mounts the driver.",
            )
        if self._os_id in ("bottlerocket", "talos"):
            return Remedy(f"{self.platform.os_name} writes {path}: set it in the machine's own settings.")
        return None

    @property
    def _k0s_manages(self) -> bool:
        """Whether k0s owns the file: its first line says so (docs.k0sproject.io, runtime)."""
        text: str = known(lambda: self.views.facts.text(config_file(self.config.path)) or "", "")
        return self._flavour.name == "k0s" and text.lstrip().startswith("# k0s_managed=true")

    def _managed_by_k0s(self) -> Remedy:
        return Remedy(
            f"k0s writes {self.config.path} at every start: put it right in a file of /etc/k0s/containerd.d, then "
            "restart k0s.",
            self._restart_only(),
        )

    # ------------------------------------------------------------------ it does not load

    def config_error(self) -> Remedy:
        """The daemon would not start: the smallest edit that makes it start, else a fresh configuration."""
        generated = self._generated()
        if generated is not None:
            return generated
        shop, error = self._workshop(), self.config.loaded.error
        said = error.text if error is not None else ""
        goals = (self._goal, lambda after: after.cri_enabled and alive(after), alive)
        for goal in goals:
            # Several tables are taken out only where the handler is still there afterwards.
            for words, changes in self._repairs(shop, several=goal == self._goal):
                if shop.prove(changes, goal):
                    return self._remedy(shop, changes, f"{words}, then restart containerd.")
        return self._fresh(said)

    def _repairs(self, shop: Workshop, *, several: bool) -> Iterator[Proposal]:
        """For the line that is refused; where none is named, as in a panic, in any file; for a drop-in, without it."""
        error, main = self.config.loaded.error, self.config.path
        if error is None:
            return
        if not error.path:
            yield from other_versions(shop, self.config.files)
            return
        # On 1.x what is left of a drop-in's table replaces the main file's as a whole: better without it.
        old_release = known(lambda: self.live.disk_version < (2, 0), otherwise=False)
        if error.path != main and not several and old_release:
            yield f"Put {error.path} aside", [aside(error.path)]
        yield from repairs(shop, error.path, error.line or 0, error.text, several=several)
        if error.path != main:
            for version in (2, 3) if self._names_handler(shop.text(error.path)) else ():
                yield (
                    f"Put {error.path} aside and register the handler in {main}",
                    [aside(error.path), append(main, shop.text(main), self._handler_tables(version))],
                )
            yield f"Put {error.path} aside", [aside(error.path)]

    def _names_handler(self, text: bytes | None) -> bool:
        """Whether a file has the judged handler's table, in whichever version."""
        header = rf"(?m)^[ \t]*\[.*\bruntimes\.[\"']?{re.escape(self._handler_name)}[\"']?\s*\]"
        return re.search(header, (text or b"").decode("utf-8", "replace")) is not None

    def _handler_tables(self, version: int) -> str:
        """The judged handler's tables for a file of a version."""
        plugin, name = PLUGIN_TABLES[version], self._handler_name
        return handler_table(plugin, name, self._binary, systemd=self._systemd_cgroup)

    def _fresh(self, why: str) -> Remedy:
        """Nothing small mends it: containerd's own default, the old file kept beside it."""
        path = quote(self.config.path)
        default = f"containerd config default | {self._sudo}tee {path} >/dev/null"
        if not known(lambda: self.config.exists, otherwise=True):
            # The command line names it: a daemon that is told nothing starts without one.
            folder = quote(posixpath.dirname(self.config.path))
            return Remedy(
                f"No small edit mends it ({why}): begin with containerd's default.",
                (f"{self._sudo}mkdir -p {folder}", default, *self._restart_only()),
            )
        return Remedy(
            f"No small edit mends it ({why}). Mend it by hand, or begin again from containerd's default; the old file "
            f"is kept as {self.config.path}.broken, and what it set is to be set again.",
            (f"{self._sudo}mv {path} {path}.broken", default, *self._restart_only()),
        )

    # ------------------------------------------------------------------ CRI is off

    def enable_cri(self) -> Remedy:
        """CRI is among disabled_plugins."""
        generated = self._generated()
        if generated is not None:
            return generated
        shop = self._workshop(lambda key: key.startswith(_CRI_SETTINGS))
        pattern = re.compile(_CRI_ENTRY.replace("[[:space:]]", r"\s"), re.ASCII)
        changes: list[Change] = []
        for path, text in self._texts(shop):
            change = keep(path, text, "disabled_plugins", lambda name: None if _CRI_NAMES.fullmatch(name) else name)
            if change is not None:
                changes.append(change)
                continue
            old = text
            for number in _disabled_lines(old):
                change = on_line(path, old, number, f"s/{_CRI_ENTRY}//g", lambda t: pattern.sub("", t), extended=True)
                if change is not None:
                    old = change.new or b""
                    changes.append(change)
        final = {change.path: change for change in changes}
        summary = "Take CRI out of disabled_plugins, then restart containerd."
        tries = [(more, lambda after: after.cri_enabled) for more in self._and_runc(shop, final)]
        # Else what the plugin refuses once it is on shows then, as a root of its own.
        for more, goal in [*tries, ([], lambda after: after.cri_state != "not loaded")] if changes else ():
            last = {**final, **{change.path: change for change in more}}
            if shop.prove(last.values(), goal):
                commands = [f"{self._sudo}{self._command(change)}" for change in [*changes, *more]]
                edits = tuple(shop.edit(change) for change in last.values())
                if more:
                    summary = f"Take CRI out of disabled_plugins, define runc, {summary.partition(', ')[2]}"
                return Remedy(summary, (*commands, *self._restart_only()), edits)
        return Remedy(
            "Take CRI out of disabled_plugins by hand (no edit of single lines does it), then restart containerd.",
            self._restart_only(),
        )

    def _and_runc(self, shop: Workshop, final: dict[str, Change]) -> Iterator[list[Change]]:
        """Nothing more, else runc's tables with it, which 1.x forgets where a file names any handler."""
        yield []
        for path, text in self._texts(shop):
            old = final[path].new if path in final else text
            for version in self._versions(path):
                table = handler_table(PLUGIN_TABLES[version], "runc", None, systemd=self._systemd_cgroup)
                yield [append(path, old, table)]

    def cri_error(self) -> Remedy:
        """The CRI plugin would fail: on 1.x most often because `runtimes` names nvidia and not runc."""
        generated = self._generated()
        if generated is not None:
            return generated
        enabled = self.enable_cri()
        if enabled.edits:
            return enabled
        # What CRI would have been told counts for nothing while it fails: the main file's own settings may come back.
        shop = self._workshop(lambda key: key.startswith(_CRI_SETTINGS))
        for words, changes in self._cri_repairs(shop):
            if shop.prove(changes, lambda after: after.cri_enabled):
                return self._remedy(shop, changes, f"{words}, then restart containerd.")
        error = self.config.loaded.cri_error
        told = f": {error.text}" if error is not None else "."
        return Remedy(f"Put right what the CRI plugin refuses, then restart containerd{told}", self._restart_only())

    def _cri_repairs(self, shop: Workshop) -> Iterator[Proposal]:
        """Without the drop-in that replaced the main file's tables on 1.x; another default; runc defined again."""
        loaded, main = self.config.loaded, self.config.path
        error = loaded.cri_error.text if loaded.cri_error is not None else ""
        texts = dict(self._texts(shop))
        culprits = {item.by.path for item in loaded.ineffective if item.by and item.kind == "table-replaced"}
        mine = all(self._only_handlers(path) for path in culprits)
        if culprits and mine:
            names = ", ".join(sorted(culprits))
            words = (
                f"Register the handler in {main} itself: on containerd 1.x {names} replaces all that {main} sets of "
                "CRI, and is put aside"
            )
            for version in self._versions(main):
                tables = [append(main, texts[main], self._handler_tables(version))]
                yield (
                    words,
                    [aside(path) for path in sorted(culprits)] + tables,
                )
        named = re.search(r'default_runtime_name = "([^"]*)"', error)
        if named and named[1] != "runc":
            for name in dict.fromkeys([*([self._handler_name] if "nvidia" in named[1] else []), "runc"]):
                for path, old in texts.items():
                    for plugin in PLUGINS:
                        for change in settings(
                            path, old, ["plugins", plugin, "containerd"], "default_runtime_name", name
                        ):
                            yield f"Make {name} the default handler: there is no {named[1]}", [change]
            return
        for path, old in texts.items():
            for version in self._versions(path):
                table = handler_table(PLUGIN_TABLES[version], "runc", None, systemd=self._systemd_cgroup)
                yield "Define the default handler runc again, which these files leave out", [append(path, old, table)]

    def _only_handlers(self, path: str) -> bool:
        """Whether a file sets nothing but handlers."""
        set_there = [key for key, where in self.config.loaded.wheres.items() if where.path == path]
        return all(".containerd.runtimes." in key or key == "version" for key in set_there)


def handler_table(plugin: str, name: str, binary: str | None, *, systemd: bool) -> str:
    """A handler's tables; without a binary it runs runc."""
    table = f"{plugin}.containerd.runtimes.{toml_key(name)}"
    lines = [f"[{table}]", '  runtime_type = "io.containerd.runc.v2"', f"[{table}.options]"]
    lines += [f"  BinaryName = {toml_string(binary)}"] if binary else []
    return "\n".join([*lines, f"  SystemdCgroup = {str(systemd).lower()}", ""])


def _disabled_lines(old: bytes) -> list[int]:
    """The lines of the disabled_plugins array."""
    lines = old.decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines, 1):
        if re.match(r"\s*[\"']?disabled_plugins[\"']?\s*=", line):
            last = next((n for n in range(number, len(lines) + 1) if "]" in lines[n - 1].partition("#")[0]), number)
            return list(range(number, last + 1))
    return []
