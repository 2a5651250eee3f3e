"""The programs of a node's NVIDIA Container Toolkit: where they lie, which a route starts, packages and versions."""

from __future__ import annotations

import contextlib
import functools
import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.toml import Dialect, TomlError, loads
from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import file, run, stat
from pytest_gpuready.views import View
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.platform_probe import FURTHER_PLACES, PLACES
from pytest_gpuready.views.toolkit_probe import (
    CONFIG,
    FAMILY,
    OPERATOR_CONFIG,
    OPERATOR_ROOT,
    PACKAGES,
    PROGRAMS,
    RUNTIME,
    VERSIONS,
    Config,
    Package,
    Said,
    numbers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request

#: Programs that the search for programs tells about wherever it looks.
SEARCHED = frozenset({*PROGRAMS, "runc", "crun"})


class ToolkitPrograms(View):
    """What of the toolkit is installed; its configuration and mode are the next layer's (`Toolkit`)."""

    @property
    def runtime_paths(self) -> list[str]:
        """Every place in which nvidia-container-runtime lies: as programs are searched, then where handlers name it."""
        found = self.views.get(Platform).programs.get(RUNTIME, [])
        paths = [program.path for program in found if program.executable]
        for route in ("cri-handler", "cri-default"):
            path = self._handler_binary(route)
            if path is not None and path not in paths and posixpath.isabs(path) and self._is_there(path):
                paths.append(path)
        return paths

    @property
    def runtime_path(self) -> str | None:
        """nvidia-container-runtime wherever it is: first on PATH."""
        return self.views.get(Platform).anywhere(RUNTIME) or next(iter(self.runtime_paths), None)

    @property
    def cli_path(self) -> str | None:
        """nvidia-container-cli as typing its name finds it."""
        return self.views.get(Platform).program("nvidia-container-cli")

    def elsewhere(self, name: str) -> str | None:
        """A program wherever it lies, PATH first."""
        return self.views.get(Platform).anywhere(name)

    def _handler_binary(self, route: str) -> str | None:
        """The BinaryName of the handler of a CRI route if that is NVIDIA's runtime."""
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            config = self.views.get(ContainerdConfig)
            handler = config.default_handler if route == "cri-default" else config.handler
            if handler is not None and handler.is_nvidia:
                return handler.binary_name
        return None

    def _is_there(self, path: str) -> bool:
        with contextlib.suppress(Undetermined, Denied):
            found = self.facts.stat(path)
            return found is not None and found.is_file and found.executable
        return False

    def runtime_for(self, route: str) -> str | None:
        """The path of the runtime that a route starts: the handler's, the one on the daemon's PATH, else wherever."""
        if route not in self._runtimes:
            self._runtimes[route] = self._find_runtime(route)
        return self._runtimes[route]

    @functools.cached_property
    def _runtimes(self) -> dict[str, str | None]:
        """By route: each is searched once, whoever asks."""
        return {}

    def _find_runtime(self, route: str) -> str | None:
        named = self._handler_binary(route) if route.startswith("cri-") else RUNTIME
        if named is not None and posixpath.isabs(named):
            return named
        with contextlib.suppress(Undetermined, Denied):
            folders = self.views.get(ContainerdLive).daemon_path.split(":")
            found = self.locate(posixpath.basename(named or RUNTIME), folders)
            if found is not None:
                return found
        return self.runtime_path

    def folders(self, route: str) -> list[str]:
        """Where a route's runtime finds programs: the daemon's PATH and the usual six (toolkit pkg/lookup/path.go).

        The operator's wrappers put their own folder first.
        """
        own = [OPERATOR_ROOT] if (self.runtime_for(route) or "").startswith(f"{OPERATOR_ROOT}/") else []
        daemon = [folder for folder in self.views.get(ContainerdLive).daemon_path.split(":") if folder.startswith("/")]
        return list(dict.fromkeys([*own, *(folder.rstrip("/") or "/" for folder in daemon), *PLACES]))

    def locate(self, name: str, folders: list[str]) -> str | None:
        """The executable that a name finds in folders, or the path itself if it is one; None if it is not there."""
        paths = (
            [name] if "/" in name else [f"{folder.rstrip('/')}/{name}" for folder in folders if folder.startswith("/")]
        )
        for path in paths:
            if self._searched(path):
                programs = self.views.get(Platform).programs.get(posixpath.basename(path), [])
                if any(program.path == path and program.executable for program in programs):
                    return path
                continue
            found = self.facts.stat(path)
            if found is not None and found.is_file and found.executable:
                return path
        return None

    def _searched(self, path: str) -> bool:
        """The search for programs tells whether this path is there."""
        folder, _, name = path.rpartition("/")
        platform = self.views.get(Platform)
        return name in SEARCHED and folder in {*platform.path, *PLACES, *FURTHER_PLACES}

    def stats_of(self, name: str, folders: list[str]) -> Iterator[Request]:
        """Looks for a program in folders in which the search for programs did not look."""
        paths = [name] if "/" in name else [f"{folder.rstrip('/')}/{name}" for folder in folders[:24]]
        for path in paths:
            if posixpath.isabs(path) and not self._searched(path):
                yield stat(path)

    @functools.cached_property
    def said(self) -> dict[str, Said]:
        """What each program answered to `--version`, by path."""
        text = self.facts.text(VERSIONS) or ""
        answers: dict[str, Said] = {}
        for block in re.split(r"^prog ", text, flags=re.MULTILINE)[1:]:
            path, *lines = block.splitlines() or [""]
            words = "\n".join(line[2:] for line in lines if line.startswith("> ")).strip("\n")
            rc = next((int(line[3:]) for line in lines if re.fullmatch(r"rc [0-9]{1,4}", line)), None)
            logs = next((line[5:] for line in lines if line.startswith("logs ")), None)
            answers[path] = Said(path, words, rc, logs)
        return answers

    def saying(self, path: str) -> Said | None:
        """What the program at a path answered to `--version`; None if it was not asked."""
        if path in self.said:
            return self.said[path]
        fact = self.facts.peek(run(path, "--version"))
        if fact is None:
            config = self._config(OPERATOR_CONFIG if path.startswith(f"{OPERATOR_ROOT}/") else CONFIG)
            return Said(path, "", None, logs=config.path) if config.text(RUNTIME, "debug") else None
        fact = self.facts.fact(run(path, "--version"))
        return Said(
            path, f"{fact.text}\n{one_line(fact.note, 2000)}".strip(), 127 if fact.state == "absent" else fact.rc
        )

    # ------------------------------------------------------------------ packages and versions

    @functools.cached_property
    def _package_lines(self) -> list[list[str]]:
        return [line.split("|") for line in (self.facts.text(PACKAGES) or "").splitlines()]

    @functools.cached_property
    def packages(self) -> dict[str, Package]:
        """The installed packages of the family and its neighbours, by name."""
        found: dict[str, Package] = {}
        for parts in self._package_lines:
            if len(parts) >= 6 and parts[0] == "pkg" and parts[4] == "installed":
                found[parts[2]] = Package(parts[1], parts[2], parts[3], parts[5])
        return found

    @property
    def half_installed(self) -> set[str]:
        """Packages whose installation dpkg began and did not finish (dpkg-query(1), db:Status-Status)."""
        states = ("half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending")
        return {
            parts[2] for parts in self._package_lines if len(parts) >= 6 and parts[0] == "pkg" and parts[4] in states
        }

    @property
    def held(self) -> set[str]:
        """Packages that are on hold: apt changes them only when it is told so."""
        return {
            parts[2] for parts in self._package_lines if len(parts) >= 7 and parts[0] == "pkg" and parts[6] == "hold"
        }

    def owner(self, path: str | None) -> Package | None:
        """The package that a file is of; None where none is known to own it."""
        for parts in self._package_lines:
            if len(parts) >= 3 and parts[0] == "own" and parts[1] == path:
                name = parts[2].partition(":")[0]
                return self.packages.get(name) or Package(self.manager or "", name, "")
        return None

    @property
    def manager(self) -> str | None:
        """How packages are told on this node: `deb`, `rpm`, `pacman`; None where nobody could be asked."""
        return next(
            (parts[0].partition(" ")[2] for parts in self._package_lines if parts[0].startswith("manager ")), None
        )

    def version_text_of(self, path: str | None) -> str:
        """The version of the toolkit that a runtime is of: its own word, its neighbours', its package's."""
        folder = posixpath.dirname(path) if path else None
        order = [path] if path else []
        order += [other for other in self.said if other not in order and folder in (None, posixpath.dirname(other))]
        for candidate in order:
            answer = self.saying(candidate)
            if answer is not None and answer.version_text:
                return answer.version_text
        package = self.owner(path)
        if package is not None and package.version:
            return package.version
        for name in FAMILY if folder in (None, "/usr/bin", "/bin") else ():
            if name in self.packages:
                return self.packages[name].version
        raise Undetermined("the toolkit's version cannot be had: none of its programs nor packages tells it")

    @property
    def version_text(self) -> str:
        """The version of the toolkit that is judged."""
        return self.version_text_of(self.runtime_for("cri-handler"))

    @property
    def version(self) -> tuple[int, ...]:
        """That version as numbers."""
        return numbers(self.version_text)

    def version_for(self, route: str) -> tuple[int, ...]:
        """The version of the runtime that a route starts."""
        return numbers(self.version_text_of(self.runtime_for(route)))

    # ------------------------------------------------------------------ configuration files

    @functools.cached_property
    def _configs(self) -> dict[str, Config]:
        """By path: each is read once, whoever asks."""
        return {}

    def _config(self, path: str) -> Config:
        if path not in self._configs:
            self._configs[path] = self._read_config(path)
        return self._configs[path]

    def _read_config(self, path: str) -> Config:
        fact = self.facts.fact(file(path))
        if fact.state == "absent":
            return Config(path, None)
        if fact.state == "odd" and fact.note == "is a directory":
            return Config(path, None, TomlError("it is a folder"))
        if fact.state == "odd":
            raise Undetermined(f"{path}: {fact.note or 'cannot be read'}")
        try:
            # The toolkit has go-toml v1 (toolkit v1.20.0:api/config/v1/toml.go:26).
            return Config(path, loads(fact.data, Dialect.V1))
        except TomlError as error:
            return Config(path, None, error)
