"""The driver's checks of the user-space libraries: one answer per route, since routes look in different places."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.toolkit_config import bare_root
from pytest_gpuready.model import (
    Consequence,
    Denied,
    Evidence,
    NotApplicable,
    Outcome,
    Remedy,
    Undetermined,
    Where,
    failed,
    passed,
    unknown,
)
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views.driver_probe import NAMES
from pytest_gpuready.views.toolkit import RUNTIME_ROUTES

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.ctr import Ctr
    from pytest_gpuready.views.driver import Driver
    from pytest_gpuready.views.driver_probe import Library
    from pytest_gpuready.views.platform import Platform
    from pytest_gpuready.views.toolkit import Toolkit


def _kinds(driver: Driver, ctr: Ctr, toolkit: Toolkit) -> dict[str, tuple[str, ...]]:
    """By route, its kinds of places; without the routes whose driver root is gone: toolkit.config-valid says so."""
    return {route: _places(route, driver, ctr, toolkit) for route in ROUTES if not _root_is_gone(route, toolkit)}


def _places(route: str, driver: Driver, ctr: Ctr, toolkit: Toolkit) -> tuple[str, ...]:
    """The kinds of places in which this route finds the driver's libraries.

    nvidia-container-cli asks the loader's cache alone (libnvidia-container src/ldcache.c); a CDI spec names every file
    by its path; nvidia-container-runtime follows `nvidia-container-cli.root` of its configuration, the GPU operator's
    being /run/nvidia/driver.
    """
    special = ("wsl",) if driver.is_wsl else ("tegra",) if driver.is_tegra else ()
    anywhere = ("cache", "folder", "nixos", "root", "operator", *special)
    with contextlib.suppress(Undetermined, Denied, NotApplicable):
        if route == "ctr-gpus":
            return anywhere if ctr.gpus_by_cdi else ("cache", *special)
        if route == "nerdctl":
            return anywhere if ctr.nerdctl_gpus_by_cdi else ("cache", *special)
        if route in RUNTIME_ROUTES:
            return _places_of_runtime(route, toolkit, special)
        return anywhere
    return ("cache", *special) if route in ("ctr-gpus", "nerdctl") else anywhere


def _places_of_runtime(route: str, toolkit: Toolkit, special: tuple[str, ...]) -> tuple[str, ...]:
    root = toolkit.config_for(route).text("nvidia-container-cli", "root")
    if root.rstrip("/") == "/run/nvidia/driver":
        return ("operator",)
    if toolkit.mode_for(route) == "legacy":
        return ("cache", *special)
    return ("cache", "folder", "nixos", *special)


@check("driver.library-present", title="The driver's libraries are found")
def library_present(
    driver: Driver, platform: Platform, ctr: Ctr, toolkit: Toolkit, mend: Remedies
) -> dict[str, Outcome]:
    """libnvidia-ml.so.1 and libcuda.so.1 are where the route looks for them, whole and of this architecture.

    What: In the loader's cache for routes by nvidia-container-cli; for the runtime, in its configured driver root;
        for CDI routes anywhere, since the spec names paths. A broken link, an empty file, a cache entry without its
        file and a library of another architecture count as missing.
    Why: What injects the GPU copies these libraries into the container; nvidia-container-cli opens libnvidia-ml
        itself.
    Fix: Install the driver's libraries, or make the loader's cache anew.
    References: libnvidia-container issue 231, nvidia-container-toolkit issue 154, nvidia-docker issue 1711 ("load
        library failed: libnvidia-ml.so.1"); libnvidia-container src/nvc_info.c; ld.so.conf in ldconfig(8).
    """
    if not driver.libraries and _nothing_installed(driver):
        raise Consequence("driver.module-loaded")
    kinds = _kinds(driver, ctr, toolkit)
    answers = {places: _libraries_in(places, driver, platform, mend) for places in set(kinds.values())}
    return {route: answers[places] for route, places in kinds.items()}


def _nothing_installed(driver: Driver) -> bool:
    """Nothing of the driver is on the node: the module's check says so, and installing it brings the libraries."""
    with contextlib.suppress(Undetermined, Denied, NotApplicable):
        driver.only_on_pci("driver to install")
        disk = driver.on_disk
        return not driver.module_loaded and not disk.built and disk.version is None and not driver.driver_root
    return False


def _root_is_gone(route: str, toolkit: Toolkit) -> bool:
    """The runtime's configuration names a driver root that is not there, or has nothing in it."""
    with contextlib.suppress(Undetermined, Denied, NotApplicable):
        return route in RUNTIME_ROUTES and bool(bare_root(toolkit, toolkit.config_for(route)))
    return False


def _libraries_in(kinds: tuple[str, ...], driver: Driver, platform: Platform, mend: Remedies) -> Outcome:
    machine = platform.machine
    names = [name for name in NAMES if not (driver.is_tegra and name.startswith("libnvidia-ml"))]
    found = [driver.library(name, kinds) for name in names]
    if all(found):
        return passed("; ".join(map(_describe, filter(None, found))))
    missing = [name for name, library in zip(names, found, strict=True) if library is None]
    others = [library for library in driver.libraries if library.name in missing]
    faults = [f"{library.path} {library.trouble(machine)}" for library in others if library.trouble(machine)]
    usable = [library for library in others if library.fits(machine)]
    seen = [*faults, *[f"{library.path} is there, where this route does not look" for library in usable]]
    if kinds[:1] == ("cache",) and not driver.has_loader_cache:
        seen.append("the node has no ldconfig, so no loader cache")
    return failed(
        " and ".join(missing) + " not found" + (f": {'; '.join(seen)}" if seen else ""),
        expected=f"{' and '.join(missing)} in {_in_words(kinds)}",
        where=Where(others[0].path) if others else None,
        evidence=(
            Evidence("ldconfig -p and driver roots", "\n".join(map(_describe, driver.libraries)) or "none found"),
        ),
        remedy=_library_remedy(usable, mend),
    )


def _library_remedy(usable: list[Library], mend: Remedies) -> Remedy:
    for library in usable:
        folder = library.path.rpartition("/")[0]
        if library.kind == "folder":
            return mend.driver.ldconfig()
        if library.kind in ("root", "wsl", "tegra"):
            return mend.driver.loader_path(folder)
        if library.kind == "operator":
            return Remedy(
                "The GPU operator's driver container has the libraries, and this route looks for them on the host: use "
                "pods (cri-handler, cri-cdi), or install the driver on the host instead of by the operator."
            )
    return mend.driver.libraries()


def _in_words(kinds: tuple[str, ...]) -> str:
    words = {
        "cache": "the loader's cache",
        "folder": "the system's library folders",
        "nixos": "/run/opengl-driver/lib",
        "root": "/usr/local/nvidia/lib64",
        "operator": "/run/nvidia/driver",
        "wsl": "/usr/lib/wsl/lib",
        "tegra": "Tegra's library folder",
    }
    return " or ".join(words[kind] for kind in kinds)


def _describe(library: Library) -> str:
    real = "" if library.real == library.path else f" -> {library.real}"
    return f"{library.path}{real}{f' ({library.fault})' if library.fault else ''}"


@check(
    "driver.versions-match",
    title="Library and kernel module are of one version",
    needs=["driver.module-loaded", "driver.library-present"],
)
def versions_match(driver: Driver, ctr: Ctr, toolkit: Toolkit, mend: Remedies) -> Outcome | dict[str, Outcome]:
    """libnvidia-ml, libcuda and the loaded module are of one version.

    What: The version in the libraries' file names is the one of /sys/module/nvidia/version.
    Why: NVML and CUDA refuse a module of another version. An unattended upgrade replaces the libraries while the old
        module stays loaded, so that running containers go on and new ones fail.
    Fix: Reboot, or stop every user of the GPUs and reload the modules; then hold the packages.
    References: nvidia-container-toolkit issues 171 and 394 ("Driver/library version mismatch");
        NVML_ERROR_LIB_RM_VERSION_MISMATCH (18) in nvml.h.
    """
    driver.only_on_pci("kernel module nvidia")
    module = driver.module_version
    if module is None:
        return unknown("the loaded module does not say its version")
    return {
        route: _versions([driver.library(name, places) for name in NAMES], module, driver, mend)
        for route, places in _kinds(driver, ctr, toolkit).items()
    }


def _versions(pair: list[Library | None], module: str, driver: Driver, mend: Remedies) -> Outcome:
    found = list(filter(None, pair))
    if {library.version for library in found} == {module}:
        return passed(f"module and libraries are {module}")
    other = [library for library in found if library.version not in (None, module)]
    if other:
        library = other[0]
        disk = driver.on_disk.version
        return failed(
            f"{library.name} is {library.version}, the loaded module is {module}",
            expected=f"libraries of version {module}",
            where=Where(library.path),
            evidence=(
                Evidence("/sys/module/nvidia/version", module),
                Evidence(library.path, library.real),
                *((Evidence("modinfo nvidia", disk),) if disk else ()),
            ),
            remedy=mend.driver.reload(module, str(library.version)),
        )
    silent = ", ".join(library.real for library in found if library.version is None)
    return unknown(f"{silent}: no version in the name; the module is {module}")
