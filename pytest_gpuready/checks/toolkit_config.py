"""What can be wrong with the runtime's config.toml, rule by rule; `toolkit.config-valid` puts it together.

Sources: toolkit v1.20.0:api/config/v1/config.go (keys, defaults, assertValid), cli.go (ldconfig),
internal/modifier/factory.go:90 (modes), v1.17.8:cmd/nvidia-container-runtime-hook/hook_config.go (capabilities).
"""

from __future__ import annotations

import contextlib
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.views.cdi import GPU_KIND, Cdi
from pytest_gpuready.views.driver import Driver
from pytest_gpuready.views.handlers import is_nvidia
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.toolkit import MODES, RUNTIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.model import Where
    from pytest_gpuready.views.toolkit import Toolkit
    from pytest_gpuready.views.toolkit_probe import Config

CLI = "nvidia-container-cli"
CAPABILITIES: tuple[str, ...] = ("compat32", "compute", "display", "graphics", "ngx", "utility", "video")
_LOW_LEVEL = '["runc", "crun"]'
_ENVVAR = "accept-nvidia-visible-devices-envvar-when-unprivileged"
_VOLUMES = "accept-nvidia-visible-devices-as-volume-mounts"

# What Go decodes each key into; a value of another kind makes the whole file unusable.
_KINDS: dict[tuple[str, ...], tuple[type | tuple[type, ...], str]] = {
    ("disable-require",): (bool, "true or false"),
    (_ENVVAR,): (bool, "true or false"),
    (_VOLUMES,): (bool, "true or false"),
    ("supported-driver-capabilities",): (str, "a string"),
    (CLI,): (dict, "a table"),
    (CLI, "ldconfig"): (str, "a string"),
    (CLI, "load-kmods"): (bool, "true or false"),
    (CLI, "no-cgroups"): (bool, "true or false"),
    (CLI, "root"): (str, "a string"),
    (CLI, "ldcache"): (str, "a string"),
    (CLI, "path"): (str, "a string"),
    (CLI, "user"): (str, "a string"),
    (CLI, "environment"): (list, "a list of strings"),
    (RUNTIME,): (dict, "a table"),
    (RUNTIME, "mode"): (str, "a string"),
    (RUNTIME, "runtimes"): (list, "a list of strings"),
    (RUNTIME, "log-level"): (str, "a string"),
    (RUNTIME, "debug"): (str, "a string"),
    (RUNTIME, "modes", "cdi", "spec-dirs"): (list, "a list of strings"),
    (RUNTIME, "modes", "cdi", "default-kind"): (str, "a string"),
    (RUNTIME, "modes", "cdi", "annotation-prefixes"): (list, "a list of strings"),
    (f"{RUNTIME}-hook", "path"): (str, "a string"),
    (f"{RUNTIME}-hook", "skip-mode-detection"): (bool, "true or false"),
    ("nvidia-ctk", "path"): (str, "a string"),
    ("features", "allow-ldconfig-from-container"): (bool, "true or false"),
    ("features", "disable-cuda-compat-lib-hook"): (bool, "true or false"),
}


@dataclass(frozen=True)
class Problem:
    """A setting that breaks containers: what is there, what should be, where, and the value that mends it.

    `mend` is TOML for the key's value; None where a person has to decide.
    """

    found: str
    expected: str
    where: Where
    key: tuple[str, ...] = ()
    mend: str | None = None
    #: The line is no TOML at all.
    syntax: bool = False


def problems(toolkit: Toolkit, config: Config, route: str) -> list[Problem]:
    """What is wrong with the configuration for a route, the worst first."""
    if config.error is not None:
        line = config.error.line
        where = type(config.where())(config.path, line)
        said = f"it is no TOML: {one_line(config.error.text, 200)}"
        return [Problem(said, "TOML that the toolkit can read", where, syntax=True)]
    found = [*_kinds(config), *_mode(toolkit, config, route)]
    if found:
        return found
    mode = ""
    with contextlib.suppress(Undetermined):
        mode = toolkit.mode_for(route)
    found += _ldconfig(toolkit, config, route, mode)
    found += _runtimes(toolkit, config, route)
    found += _root(toolkit, config)
    found += _selection(config, route)
    if mode == "cdi":
        found += _default_kind(toolkit, config)
    if mode == "legacy":
        found += [*_cgroups(toolkit, config), *_capabilities(config), *_ldcache(toolkit, config)]
    return found


def _at_least(toolkit: Toolkit, route: str, version: tuple[int, ...]) -> bool:
    """The route's runtime is of this version or later; one that does not tell is taken for a new one."""
    try:
        return toolkit.version_for(route) >= version
    except Undetermined:
        return True


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return one_line(f'"{value}"' if isinstance(value, str) else str(value), 120)


def _kinds(config: Config) -> Iterator[Problem]:
    for keys, (kind, words) in _KINDS.items():
        value: Any = config.get(*keys)
        wrong = value is not None and not isinstance(value, kind)
        if isinstance(value, list) and any(not isinstance(one, str) for one in value):
            wrong = True
        if wrong:
            name = ".".join(keys)
            yield Problem(f"{name} = {_value(value)}", f"{name} is {words}", config.where(*keys), keys)


def _mode(toolkit: Toolkit, config: Config, route: str) -> Iterator[Problem]:
    said = config.get(RUNTIME, "mode")
    keys = (RUNTIME, "mode")
    where = config.where(*keys)
    if said is None:
        return
    if said not in MODES:
        yield Problem(f"mode = {_value(said)}", f"one of {', '.join(MODES)}", where, keys, '"auto"')
    elif said == "csv" and not toolkit.is_tegra:
        yield Problem(
            'mode = "csv" on a machine that is no Tegra: containers start without a GPU and without an error',
            'mode = "auto"',
            where,
            keys,
            '"auto"',
        )
    elif said == "jit-cdi" and not _at_least(toolkit, route, (1, 18)):
        yield Problem('mode = "jit-cdi", which came with toolkit 1.18', 'mode = "auto"', where, keys, '"auto"')


def _ldconfig(toolkit: Toolkit, config: Config, route: str, mode: str) -> Iterator[Problem]:
    keys = (CLI, "ldconfig")
    said = config.get(*keys)
    if said is None:
        return
    where = config.where(*keys)
    if not said.startswith("@"):
        allowed = config.get("features", "allow-ldconfig-from-container") is True
        if not allowed and _at_least(toolkit, route, (1, 17, 3)):
            yield Problem(
                f"ldconfig = {_value(said)} is not host-relative: the whole file is rejected",
                'a path that begins with @, such as "@/sbin/ldconfig"',
                where,
                keys,
                f'"@{_host_ldconfig(toolkit)}"',
            )
        return
    path = said[1:].removesuffix(".real")
    if mode != "legacy" or not posixpath.isabs(path):
        return
    if not toolkit.facts.exists(path) and not toolkit.facts.exists(f"{path}.real"):
        yield Problem(
            f"ldconfig = {_value(said)}, and that file is not there",
            "an ldconfig that is on this node",
            where,
            keys,
            f'"@{_host_ldconfig(toolkit)}"',
        )


def _ldcache(toolkit: Toolkit, config: Config) -> Iterator[Problem]:
    """nvidia-container-cli opens the cache that it is told of (libnvidia-container src/ldcache.c)."""
    keys = (CLI, "ldcache")
    said = config.text(*keys)
    if posixpath.isabs(said) and not toolkit.facts.exists(said):
        found = f"ldcache = {_value(said)}, and that file is not there"
        yield Problem(found, "the loader's cache of this node", config.where(*keys), keys, '"/etc/ld.so.cache"')


def _host_ldconfig(toolkit: Toolkit) -> str:
    return "/sbin/ldconfig.real" if toolkit.facts.exists("/sbin/ldconfig.real") else "/sbin/ldconfig"


def _runtimes(toolkit: Toolkit, config: Config, route: str) -> Iterator[Problem]:
    keys = (RUNTIME, "runtimes")
    said = config.get(*keys)
    if said == []:
        yield Problem("runtimes = []", "at least one low-level runtime", config.where(*keys), keys, _LOW_LEVEL)
    with contextlib.suppress(Undetermined, Denied):
        found = toolkit.low_level(route)
        if is_nvidia(found):
            words = f"runtimes = {_value(said)} leads to {found}: {RUNTIME} starts itself, without end"
            yield Problem(words, "low-level runtimes only", config.where(*keys), keys, _LOW_LEVEL)


def _root(toolkit: Toolkit, config: Config) -> Iterator[Problem]:
    keys = (CLI, "root")
    root = bare_root(toolkit, config)
    if root:
        yield Problem(
            f"root = {_value(root)}, and no driver is there",
            "root is where the driver's user space is (/ if the node has it itself)",
            config.where(*keys),
            keys,
            '"/"',
        )


def bare_root(toolkit: Toolkit, config: Config) -> str:
    """The driver root that the configuration names, if it is not there or has nothing in it; else ""."""
    root = config.text(CLI, "root")
    if root in ("", "/"):
        return ""
    return root if not toolkit.facts.exists(root) or _no_driver_below(toolkit, root) else ""


def _no_driver_below(toolkit: Toolkit, root: str) -> bool:
    """A driver root is there and has no driver, and the node itself has one."""
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        driver, machine = toolkit.views.get(Driver), toolkit.views.get(Platform).machine
        own = any(one.kind in ("cache", "folder") and one.fits(machine) for one in driver.libraries)
        return own and not toolkit.has_driver_below(root)
    return False


def _selection(config: Config, route: str) -> Iterator[Problem]:
    keys = (_ENVVAR,)
    if config.get(*keys) is not False:
        return
    if route != "ctr-runtime" and config.get(_VOLUMES) is True:
        return
    yield Problem(
        f"{_ENVVAR} = false: containers that ask by NVIDIA_VISIBLE_DEVICES get no GPU, and no error",
        "true, or for pods GPUs that are named by volume mounts",
        config.where(*keys),
        keys,
        "true",
    )


def _default_kind(toolkit: Toolkit, config: Config) -> Iterator[Problem]:
    keys = (RUNTIME, "modes", "cdi", "default-kind")
    said = config.text(*keys)
    kinds: set[str] = set()
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        cdi = toolkit.views.get(Cdi)
        files = [found for folder in cdi.directories for found in cdi.files_in(folder)]
        kinds = {found.spec.kind for found in files if found.spec is not None}
    if said and GPU_KIND in kinds and said not in kinds:
        yield Problem(
            f"default-kind = {_value(said)}, and no CDI spec is of that kind: what containers ask for is unresolvable",
            f"the kind of a spec that is there, {GPU_KIND}",
            config.where(*keys),
            keys,
            f'"{GPU_KIND}"',
        )


def _cgroups(toolkit: Toolkit, config: Config) -> Iterator[Problem]:
    keys = (CLI, "no-cgroups")
    said = config.get(*keys)
    if said is True and not toolkit.in_user_namespace:
        yield Problem(
            "no-cgroups = true: containers may not open the GPU (Failed to initialize NVML: Unknown Error)",
            "no-cgroups = false where root starts the containers",
            config.where(*keys),
            keys,
            "false",
        )
    elif said is not True and toolkit.in_user_namespace:
        yield Problem(
            "no-cgroups is not true, and this node is an unprivileged container, which cannot set device cgroups",
            "no-cgroups = true",
            config.where(*keys),
            keys,
            "true" if said is False else None,
        )


def _capabilities(config: Config) -> Iterator[Problem]:
    keys = ("supported-driver-capabilities",)
    said = config.get(*keys)
    if said is None or said == "all":
        return
    listed = {word.strip() for word in said.split(",") if word.strip()}
    where = config.where(*keys)
    if listed - set(CAPABILITIES):
        strange = ", ".join(sorted(listed - set(CAPABILITIES)))
        yield Problem(
            f"supported-driver-capabilities has {one_line(strange, 100)}, which the hook rejects",
            f"some of {','.join(CAPABILITIES)}",
            where,
            keys,
            f'"{",".join(CAPABILITIES)}"',
        )
    elif "utility" not in listed:
        yield Problem(
            f"supported-driver-capabilities = {_value(said)} is without utility: containers get no nvidia-smi",
            "a list that has utility",
            where,
            keys,
            f'"{",".join(name for name in CAPABILITIES if name in listed or name == "utility")}"',
        )
