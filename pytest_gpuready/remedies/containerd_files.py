"""Remedies for containerd's configuration as a whole: it does not load, or CRI is off."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.model import Remedy, Where
from pytest_gpuready.remedies import quote
from pytest_gpuready.remedies.containerd_service import ServiceRemedies, known
from pytest_gpuready.remedies.edits import (
    Change,
    Workshop,
    append,
    comment_out,
    flat,
    on_line,
    set_value,
    table_end,
    toml_key,
    toml_string,
)
from pytest_gpuready.views.containerd_config import FactFiles
from pytest_gpuready.views.fact_files import config_file
from pytest_gpuready.views.handlers import is_nvidia

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuready.containerd.model import Loaded

#: Table of the CRI plugin by the version that a file declares (ctd RELEASES.md, "Configuration versions").
PLUGIN_TABLES: dict[int, str] = {
    1: "plugins.cri",
    2: 'plugins."io.containerd.grpc.v1.cri"',
    3: 'plugins."io.containerd.cri.v1.runtime"',
    4: 'plugins."io.containerd.cri.v1.runtime"',
}
#: CRI's entries in disabled_plugins, as sed -E and Python read them: short names in version 1, URIs later.
_CRI_ENTRY = (
    r"""["'](io\.containerd\.grpc\.v1\.|io\.containerd\.cri\.v1\.)?(cri|runtime|images)["']"""
    r"[[:space:]]*,?[[:space:]]*"
)
_DEFAULT = ".containerd.default_runtime_name"
#: The CRI plugins' own settings, which come back with them.
_CRI_SETTINGS = ("disabled_plugins", "plugins.io.containerd.grpc.v1.cri.", "plugins.io.containerd.cri.v1.")


class FileRemedies(ServiceRemedies):
    """The configuration as a whole, and what all edits of it need."""

    def _workshop(self, allowed: Callable[[str], bool] = lambda _: False) -> Workshop:
        before: Loaded | None = known(lambda: self.config.loaded, None)
        version = known(lambda: self.live.disk_version_text, None)
        return Workshop(
            FactFiles(self.views.facts), version, self.config.path, self.live.config_explicit, before, allowed
        )

    def _remedy(self, shop: Workshop, changes: list[Change], summary: str) -> Remedy:
        """Proven changes as commands, the restart with them."""
        commands = [f"{self._sudo}{self._command(change)}" for change in changes]
        for folder in {posixpath.dirname(change.path) for change in changes if shop.absent(change.path)}:
            if not self._is_there(folder):
                commands.insert(0, f"{self._sudo}mkdir -p {quote(folder)}")
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
        """The files that are read and there, the one that has the last word first."""
        texts = [(path, shop.text(path)) for path in reversed(self.config.files)]
        return [(path, text) for path, text in texts if text is not None]

    def _versions(self, path: str) -> list[int]:
        """The table layouts to try in a file: the one that it declares first."""
        declared = self.config.loaded.config_versions.get(path) or self.config.loaded.config_version or 0
        return [version for version in dict.fromkeys([declared, 2, 3, 1]) if version in PLUGIN_TABLES]

    @property
    def _systemd_cgroup(self) -> bool:
        """The cgroup driver a new handler should have: the kubelet's, else runc's."""
        nobody: dict[str, bool] = {}
        return next(iter(known(lambda: self.config.cgroup_drivers, nobody).values()), False)

    @property
    def _handler_name(self) -> str:
        return known(lambda: self.config.handler_name, "nvidia")

    def _goal(self, after: Loaded) -> bool:
        """CRI is served, and the judged handler runs NVIDIA's runtime."""
        found = after.handlers.get(self._handler_name)
        return after.cri_enabled and found is not None and is_nvidia(found.binary_name)

    # ------------------------------------------------------------------ files that are somebody's

    def _generated(self) -> Remedy | None:
        """Where something writes the file anew, an edit of it is lost: what to do instead."""
        flavour, path = self._flavour, self.config.path
        if flavour.name == "k0s":
            return self._managed_by_k0s() if self._k0s_manages else None
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
        if self._os_id in ("bottlerocket", "talos"):
            return Remedy(f"{self.platform.os_name} writes {path}: set it in the machine's own settings.")
        return None

    @property
    def _k0s_manages(self) -> bool:
        """Whether k0s owns the file: its first line says so (docs.k0sproject.io, runtime)."""
        fact = self.views.facts.peek(config_file(self.config.path))
        return fact is not None and fact.data.lstrip().startswith(b"# k0s_managed=true")

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
        if error is not None and error.path and error.line:
            where = Where(error.path, error.line)
            goals = (self._goal, lambda after: after.cri_enabled and _alive(after), _alive)
            aside = Change(where.path, b"", f"mv {quote(where.path)} {quote(f'{where.path}.broken')}")
            words = f"Take {where.path} out of the way, which does not load (it is kept as .broken)"
            dropin = where.path != self.config.path
            # On 1.x what is left of a drop-in's table replaces the main file's as a whole: better without it.
            first = dropin and known(lambda: self.live.disk_version < (2, 0), otherwise=False)
            for goal in goals:
                if first and goal != self._goal and shop.prove([aside], goal):
                    return self._remedy(shop, [aside], f"{words}, then restart containerd.")
                # Several tables are taken out only where the handler is still there afterwards.
                for said, changes in self._error_proposals(shop, where, error.text, several=goal == self._goal):
                    if shop.prove(changes, goal):
                        return self._remedy(shop, changes, f"{said}, then restart containerd.")
                changes = self._line_after_line(shop, where)
                if changes and shop.prove(changes[-1:], goal):
                    commands = [f"{self._sudo}{self._command(change)}" for change in changes]
                    said = f"Comment out what does not load in {where.path}, then restart containerd."
                    return Remedy(said, (*commands, *self._restart_only()), (shop.edit(changes[-1]),))
                if dropin and shop.prove([aside], goal):
                    return self._remedy(shop, [aside], f"{words}, then restart containerd.")
        return self._fresh(error.text if error is not None else "")

    def _error_proposals(
        self, shop: Workshop, where: Where, said: str, *, several: bool
    ) -> Iterator[tuple[str, list[Change]]]:
        """Close what the line leaves open; another version; no import of what is not there; else take lines out."""
        path, line, old = where.path, where.line or 1, shop.text(where.path)
        if old is None:
            return
        lines = old.decode("utf-8", "replace").split("\n")
        text = lines[line - 1] if line <= len(lines) else ""
        for mark in ('"', "'"):
            script = f"s/][[:space:]]*$/{mark}]/"
            change = on_line(path, old, line, script, _closing(mark))
            if change is not None:
                yield f"Close the string in line {line} of {path}", [change]
        for ending in ("]", '"', "'", '"]', "']", "]]"):
            change = on_line(path, old, line, f"s/$/{ending}/", f"{{}}{ending}".format)
            if change is not None:
                yield f"Close what line {line} of {path} leaves open", [change]
        if re.match(r"\s*[\"']?version[\"']?\s*=", text):
            for version in ("2", "3"):
                change = set_value(path, old, line, version)
                if change is not None:
                    yield f"Declare version {version} in {path}", [change]
        missing = re.search(r"open (/[A-Za-z0-9_./+-]+): no such file", said)
        if missing:
            escaped = re.sub(r"([.+])", r"[\1]", missing[1])
            entry = re.compile(rf"[\"']{escaped}[\"']\s*,?\s*", re.ASCII)
            script = f"s|[\"']{escaped}[\"'][[:space:]]*,?[[:space:]]*||"
            for number in range(line, min(line + 50, len(lines)) + 1):
                change = on_line(path, old, number, script, lambda t: entry.sub("", t, count=1), extended=True)
                if change is not None:
                    yield f"Import no file that is not there ({missing[1]})", [change]
        # A table by itself, or several in a row: a snippet that was pasted twice.
        ends = [table_end(old, line)]
        for _ in range(5):
            ends.append(table_end(old, ends[-1] + 1))
        spans = [
            (line, line),
            (line, ends[0]),
            (line - 1, line),
            (line, line + 1),
            *((line, end) for end in ends[1:] if several),
        ]
        for first, last in spans:
            change = comment_out(path, old, first, last)
            if change is not None:
                span = f"line {first}" if first == last else f"lines {first} to {last}"
                yield f"Comment out {span} of {path}", [change]

    def _line_after_line(self, shop: Workshop, where: Where) -> list[Change]:
        """Comment out line after line that does not load, up to six; the last change has it all."""
        path, line, text = where.path, where.line, shop.text(where.path)
        changes: list[Change] = []
        while text is not None and line is not None and len(changes) < 6:
            lines = text.decode("utf-8", "replace").split("\n")
            header = 1 <= line <= len(lines) and re.match(r"\s*\[", lines[line - 1])
            change = comment_out(path, text, line, table_end(text, line) if header else line)
            if change is None:
                break
            changes.append(change)
            after, text = shop.after([change]), change.new
            if after is None or after.loads or after.error is None or after.error.path != path:
                return changes
            line = after.error.line
        return []

    def _fresh(self, why: str) -> Remedy:
        """Nothing small mends it: containerd's own default, the old file kept beside it."""
        path = quote(self.config.path)
        return Remedy(
            f"No small edit mends it ({why}). Mend it by hand, or begin again from containerd's default; the old file "
            f"is kept as {self.config.path}.broken, and what it set is to be set again.",
            (
                f"{self._sudo}mv {path} {path}.broken",
                f"containerd config default | {self._sudo}tee {path} >/dev/null",
                *self._restart_only(),
            ),
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
            old = text
            for number in _disabled_lines(old):
                change = on_line(path, old, number, f"s/{_CRI_ENTRY}//g", lambda t: pattern.sub("", t), extended=True)
                if change is not None:
                    old = change.new
                    changes.append(change)
        final = {change.path: change for change in changes}
        # What the plugin refuses once it is on shows then, as a root of its own.
        goals = (lambda after: after.cri_enabled, lambda after: after.cri_state != "not loaded")
        if changes and any(shop.prove(final.values(), goal) for goal in goals):
            commands = [f"{self._sudo}{self._command(change)}" for change in changes]
            edits = tuple(shop.edit(change) for change in final.values())
            summary = "Take CRI out of disabled_plugins, then restart containerd."
            return Remedy(summary, (*commands, *self._restart_only()), edits)
        return Remedy(
            "Take CRI out of disabled_plugins by hand (no edit of single lines does it), then restart containerd.",
            self._restart_only(),
        )

    def cri_error(self) -> Remedy:
        """The CRI plugin would fail: on 1.x most often because `runtimes` names nvidia and not runc."""
        generated = self._generated()
        if generated is not None:
            return generated
        loaded = self.config.loaded
        # The settings of a plugin that fails are not there before; what is there is not to change.
        gone = not any(key.startswith(_CRI_SETTINGS[1:]) for key, _ in flat(loaded.effective))
        shop = self._workshop(lambda key: _about_runtimes(key) or (gone and key.startswith(_CRI_SETTINGS[1:])))
        settings = dict(flat(loaded.effective))
        default = next((str(settings[key]) for key in settings if key.endswith(_DEFAULT) and settings[key]), "runc")
        if default != "runc":
            back = [
                [change]
                for path, old in self._texts(shop)
                for number, line in enumerate(old.decode("utf-8", "replace").split("\n"), 1)
                if re.match(r"\s*[\"']?default_runtime_name[\"']?\s*=", line)
                and (change := set_value(path, old, number, toml_string("runc"))) is not None
            ]
            found = shop.first(back, lambda after: after.cri_enabled and after.default_runtime == "runc")
            if found is not None:
                words = f"No handler is called {default}: make runc the default handler again, then restart containerd."
                return self._remedy(shop, found, words)
        proposals = [
            [append(path, old, handler_table(PLUGIN_TABLES[version], default, None, systemd=self._systemd_cgroup))]
            for path, old in self._texts(shop)
            for version in self._versions(path)
        ]
        found = shop.first(proposals, lambda after: after.cri_enabled)
        if found is not None:
            words = f"Define the default handler {default} again, which these files leave out, then restart containerd."
            return self._remedy(shop, found, words)
        error = self.config.loaded.cri_error
        told = f": {error.text}" if error is not None else "."
        return Remedy(f"Put right what the CRI plugin refuses, then restart containerd{told}", self._restart_only())


def _closing(mark: str) -> Callable[[str], str]:
    """Puts a quotation mark before the bracket that ends a line."""
    return lambda text: re.sub(r"\][ \t\r]*$", f"{mark}]", text)


def _alive(after: Loaded) -> bool:
    """CRI's own table is not without effect as a whole: a file of another version would load, and do nothing."""
    whole = re.compile(r'plugins\.(cri|"?io\.containerd\.(grpc\.v1\.cri|cri\.v1\.(runtime|images))"?)')
    return not any(whole.fullmatch(item.key) and "disabled" not in item.reason for item in after.ineffective)


def handler_table(plugin: str, name: str, binary: str | None, *, systemd: bool) -> str:
    """A handler's tables; without a binary it runs runc."""
    table = f"{plugin}.containerd.runtimes.{toml_key(name)}"
    lines = [f"[{table}]", '  runtime_type = "io.containerd.runc.v2"', f"[{table}.options]"]
    lines += [f"  BinaryName = {toml_string(binary)}"] if binary else []
    return "\n".join([*lines, f"  SystemdCgroup = {str(systemd).lower()}", ""])


def _about_runtimes(key: str) -> bool:
    return ".runtimes." in key or key == "version" or key.endswith(".default_runtime_name")


def _disabled_lines(old: bytes) -> list[int]:
    """The lines of the disabled_plugins array."""
    lines = old.decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines, 1):
        if re.match(r"\s*[\"']?disabled_plugins[\"']?\s*=", line):
            last = next((n for n in range(number, len(lines) + 1) if "]" in lines[n - 1].partition("#")[0]), number)
            return list(range(number, last + 1))
    return []
