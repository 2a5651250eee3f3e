"""The NVIDIA Container Toolkit of a node: what is asked, its configuration, and the mode in force."""

from __future__ import annotations

import contextlib
import functools
import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import file, glob, run, stat
from pytest_gpuready.views.containerd_live import ContainerdLive
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
from pytest_gpuready.views.toolkit_programs import SEARCHED, ToolkitPrograms

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


class Toolkit(ToolkitPrograms):
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

    # ------------------------------------------------------------------ configuration

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

    @property
    def char_links(self) -> list[str]:
        """The links below /dev/char to the GPUs' device nodes."""
        return self.facts.glob(CHAR_LINKS.arg[0])

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
        known = [name for name in names if posixpath.basename(name) in SEARCHED]
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
