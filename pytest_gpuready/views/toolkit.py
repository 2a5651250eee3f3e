"""The NVIDIA Container Toolkit of a node: its programs, packages, versions and configuration, and the mode in force."""

from __future__ import annotations

import contextlib
import functools
import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.toml import Dialect, TomlError, loads
from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import file, glob, run, stat
from pytest_gpuready.views import View
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.platform_probe import FURTHER_PLACES, PLACES
from pytest_gpuready.views.toolkit_probe import (
    CHAR_LINKS,
    CONFIG,
    CONFIGS,
    FAMILY,
    GUESSES,
    INSTALLER,
    MODES,
    OPERATOR_CONFIG,
    OPERATOR_ROOT,
    PACKAGES,
    PROGRAMS,
    REPOSITORIES,
    RUNTIME,
    RUNTIME_ROUTES,
    SOC_FAMILY,
    TEGRA_RELEASE,
    UID_MAP,
    VERSIONS,
    Config,
    Package,
    Said,
    numbers,
    repositories,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

__all__ = [
    "CONFIG",
    "FAMILY",
    "MODES",
    "OPERATOR_CONFIG",
    "OPERATOR_ROOT",
    "RUNTIME",
    "RUNTIME_ROUTES",
    "Package",
    "Said",
    "Toolkit",
    "numbers",
]


class Toolkit(View):
    """Programs, packages, versions, configuration, and the mode in force."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """What is asked of the node."""
        yield VERSIONS
        yield PACKAGES
        yield REPOSITORIES
        yield from CONFIGS
        yield stat(TEGRA_RELEASE)
        yield SOC_FAMILY
        yield UID_MAP
        yield CHAR_LINKS
        for path in GUESSES:
            yield stat(path)
        toolkit = views.get(cls)
        with contextlib.suppress(Undetermined, Denied):
            if views.facts.exists(OPERATOR_ROOT):
                yield INSTALLER
        for route in RUNTIME_ROUTES:
            with contextlib.suppress(Undetermined, NotApplicable, Denied):
                yield from toolkit.wanted(route)
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            yield from toolkit.stats_of("runc", views.get(ContainerdLive).daemon_path.split(":"))

    def wanted(self, route: str) -> Iterator[Request]:
        """What a route's runtime and its configuration name, where the search for programs did not look."""
        path = self.runtime_for(route)
        yield file(self.config_path_for(route))
        config = self.config_for(route)
        if path is not None and path not in self.said and self._is_there(path) and not config.text(RUNTIME, "debug"):
            yield run(path, "--version")
        places = [
            config.text(RUNTIME + "-hook", "path"),
            config.text("nvidia-ctk", "path"),
            config.text("nvidia-container-cli", "path"),
        ]
        ldconfig = config.text("nvidia-container-cli", "ldconfig").removeprefix("@")
        root = config.text("nvidia-container-cli", "root")
        ldcache = config.text("nvidia-container-cli", "ldcache")
        for place in (ldconfig, f"{ldconfig.removesuffix('.real')}.real", ldcache, root):
            if place.startswith("/"):
                yield stat(place)
        yield from _below(root)
        folders = self.folders(route)
        for place in places:
            yield from self.stats_of(place, folders) if place else ()
        for name in PROGRAMS:
            yield from self.stats_of(name, folders)
        with contextlib.suppress(Undetermined):
            if self.low_level(route) is not None:
                return
        for name in self.candidates(route):
            yield from self.stats_of(name, folders)

    # ------------------------------------------------------------------ programs

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

    @property
    def char_links(self) -> list[str]:
        """The links below /dev/char to the GPUs' device nodes."""
        return self.facts.glob(CHAR_LINKS.arg[0])

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
        return name in _SEARCHED and folder in {*platform.path, *PLACES, *FURTHER_PLACES}

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

    def owner(self, path: str) -> Package | None:
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
        package = self.owner(path) if path else None
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

    # ------------------------------------------------------------------ configuration

    @functools.cached_property
    def _configs(self) -> dict[str, Config]:
        """By path: each is read once, whoever asks."""
        return {}

    def config_path_for(self, route: str) -> str:
        """The file that a route's runtime reads: the operator's for the operator's, else what the daemon hands down.

        The runtime inherits containerd's environment: NVIDIA_CTK_CONFIG_FILE_PATH (from 1.18 on) and XDG_CONFIG_HOME;
        without them it is the one in /etc (toolkit v1.20.0:api/config/v1/config.go:78).
        """
        if (self.runtime_for(route) or "").startswith(f"{OPERATOR_ROOT}/"):
            return OPERATOR_CONFIG
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            selected = self.views.get(ContainerdLive).selected
            named, home = (selected.process.toolkit_config, selected.process.config_home) if selected else (None, None)
            if named and posixpath.isabs(named) and self._takes_variable(route):
                return named
            if home and posixpath.isabs(home):
                return posixpath.join(home, posixpath.relpath(CONFIG, "/etc"))
        return CONFIG

    def _takes_variable(self, route: str) -> bool:
        with contextlib.suppress(Undetermined):
            return self.version_for(route) >= (1, 18)
        return True

    def config_for(self, route: str) -> Config:
        """The configuration that a route's runtime reads."""
        return self._config(self.config_path_for(route))

    @property
    def config_path(self) -> str:
        """The file that the judged handler's runtime reads."""
        return self.config_path_for("cri-handler")

    @property
    def config(self) -> Config:
        """The configuration that the judged handler's runtime reads."""
        return self.config_for("cri-handler")

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

    @property
    def is_tegra(self) -> bool:
        """A Tegra system (Jetson): go-nvlib's IsTegraSystem."""
        if self.facts.exists(TEGRA_RELEASE):
            return True
        return (self.facts.text(SOC_FAMILY) or "").lower().startswith("tegra")

    @property
    def in_user_namespace(self) -> bool:
        """We are root of a user namespace only (an unprivileged LXC container): device cgroups cannot be set there."""
        words = (self.facts.text(UID_MAP) or "").split()
        return words[:3] != ["0", "0", "4294967295"] if len(words) >= 3 else False

    def has_driver_below(self, root: str) -> bool:
        """The driver's libraries may be found below a driver root other than /; where that cannot be said, they may."""
        lookups = list(_below(root))
        return not lookups or any(
            self.facts.glob(one.arg[0]) if one.kind == "glob" else self.facts.exists(one.arg[0]) for one in lookups
        )

    @property
    def mode(self) -> str:
        """The mode in force for the judged handler: legacy, jit-cdi, cdi, csv; `auto` as this version resolves it."""
        return self.mode_for("cri-handler")

    def mode_for(self, route: str) -> str:
        """The mode in force for a route.

        Up to 1.17 `auto` is legacy, from 1.18 jit-cdi, on Tegra csv (toolkit v1.20.0:internal/info/auto.go:89,111). The
        operator's nvidia-container-runtime.cdi and .legacy have theirs in their name.
        """
        if route not in self._modes:
            try:
                self._modes[route] = self._mode_for(route)
            except (Undetermined, Denied) as error:
                self._modes[route] = error
        found = self._modes[route]
        if isinstance(found, str):
            return found
        raise found

    @functools.cached_property
    def _modes(self) -> dict[str, str | Undetermined | Denied]:
        """By route, the mode or why it cannot be said: every check asks."""
        return {}

    def _mode_for(self, route: str) -> str:
        path = self.runtime_for(route)
        for suffix in ("cdi", "legacy"):
            if (path or "").endswith(f".{suffix}"):
                return suffix
        config = self.config_for(route)
        if config.error is not None:
            raise Undetermined(f"{config.path} cannot be read: {config.error.text}")
        said = config.get(RUNTIME, "mode")
        if said is None or said == "auto":
            if self.is_tegra:
                return "csv"
            if path is None:
                raise Undetermined(
                    f"{RUNTIME} is not on the node, and what its mode `auto` means is its version's affair"
                )
            return "jit-cdi" if self.version_for(route) >= (1, 18) else "legacy"
        if said not in MODES:
            raise Undetermined(f"{config.path} says mode {one_line(str(said), 60)!r}, which {RUNTIME} does not know")
        return str(said)

    def candidates(self, route: str) -> list[str]:
        """The low-level runtimes that a route's runtime looks for, in order (toolkit api/config/v1/config.go)."""
        said = self.config_for(route).get(RUNTIME, "runtimes")
        if isinstance(said, list):
            return [name for name in said[:MOST_CANDIDATES] if isinstance(name, str) and name]
        with contextlib.suppress(Undetermined):
            if self.version_for(route) < (1, 18):
                return ["docker-runc", "runc", "crun"]
        return ["runc", "crun"]

    def low_level(self, route: str) -> str | None:
        """The low-level runtime that a route's runtime finds; None if there is none.

        A name that is none of the usual ones counts only where none of those is found: what is usual was looked for.
        """
        folders, names = self.folders(route), self.candidates(route)
        known = [name for name in names if posixpath.basename(name) in _SEARCHED]
        for name in [*known, *(name for name in names if name not in known)]:
            found = self.locate(name, folders)
            if found is not None:
                return found
        return None

    # ------------------------------------------------------------------ repositories and the GPU operator

    @property
    def repositories(self) -> list[str]:
        """The files of enabled package repositories that carry the toolkit."""
        return repositories(self.facts.text(REPOSITORIES) or "")

    @property
    def operator_cdi(self) -> str | None:
        """Evidence that the GPU operator gives containers their GPU by NRI or native CDI, else None.

        From operator 25.10 (toolkit 1.18) on, mode `cdi` comes with native CDI; before, it was the handler's
        (NVIDIA/gpu-operator controllers/object_controls.go; toolkit v1.20.0:cmd/nvidia-ctk-installer/main.go:130).
        """
        if not self.facts.exists(OPERATOR_ROOT):
            return None
        with contextlib.suppress(Undetermined, Denied):
            for line in (self.facts.text(INSTALLER) or "").splitlines():
                if line.strip() in ("ENABLE_NRI_PLUGIN=true", "ENABLE_NRI_PLUGIN=1"):
                    return "the GPU operator's toolkit serves containers by NRI: its process has ENABLE_NRI_PLUGIN=true"
        config = self._config(OPERATOR_CONFIG)
        if config.text(RUNTIME, "mode") == "cdi":
            version = self.version_text_of(f"{OPERATOR_ROOT}/{RUNTIME}")
            if numbers(version) >= (1, 18):
                return f'the GPU operator runs with native CDI: mode = "cdi" in {OPERATOR_CONFIG}, toolkit {version}'
        return None


def _below(root: str) -> Iterator[Request]:
    """Where the runtime looks for libcuda below a driver root (toolkit v1.20.0:pkg/lookup/library.go, factory.go)."""
    if re.fullmatch(r"/[\w./+-]*[\w+-]/?", root, re.ASCII):
        yield stat(f"{root.rstrip('/')}/etc/ld.so.cache")
        for folder in ("usr/lib64", "usr/lib", "usr/lib/*", "lib64", "lib", "lib/*"):
            yield glob(f"{root.rstrip('/')}/{folder}/libcuda.so.*")


#: More low-level runtimes than anybody lists; each is looked for in every folder of PATH.
MOST_CANDIDATES = 16
#: Programs that the search for programs tells about wherever it looks.
_SEARCHED = frozenset({*PROGRAMS, "runc", "crun"})
