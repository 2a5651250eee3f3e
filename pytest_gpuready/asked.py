"""What the command line and the ini file ask for, checked before anything runs. `UsageError` is exit code 4."""

from __future__ import annotations

import math
import os
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest

from pytest_gpuready import addopts, inputs
from pytest_gpuready.early import options
from pytest_gpuready.inputs import InputError, hidden
from pytest_gpuready.model import Settings
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.hosts import NodeSpec, SpecError, expand, parse_all, split
from pytest_gpuready.plugin import INI, STDIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_gpuready.node.fleet import Engine
    from pytest_gpuready.node.transport import Options

#: Longest deadline that is taken, in seconds.
_DAY = 86_400.0


@dataclass(frozen=True)
class Asked:
    """Everything that a run of the suite depends on. `notes` name what an ini file says, and which file.

    `hosts_from` is the ini file whose addopts named the nodes, if one did.
    """

    nodes: tuple[NodeSpec, ...]
    settings: Settings
    options: Options
    timeout: float
    jobs: int
    engine: Engine | None
    save: Path | None
    json: str | None
    markdown: str | None
    baseline: dict[str, Any] | None
    notes: tuple[str, ...]
    hosts_from: str


def read(config: pytest.Config) -> Asked:
    """Everything asked for; one sentence as `UsageError` for the first thing that cannot be understood."""
    option = config.option
    wanted = specs(config)
    try:
        nodes = tuple(_looked_up(config, parse_all(wanted or ["local://"])))
    except SpecError as error:
        raise pytest.UsageError(hidden(str(error))) from None
    if not nodes:
        raise pytest.UsageError("--hosts names no node")
    unknown = sorted(key for key in _unknown_keys(config) if key.startswith("gpuready"))
    if unknown:
        known = ", ".join(name for name, _ in INI)
        raise pytest.UsageError(f"{', '.join(unknown)} in {config.inipath}: no such key; there are {known}")
    asked = Asked(
        nodes=nodes,
        settings=read_settings(config),
        options=options(config),
        timeout=timeout(config),
        jobs=_jobs(config),
        engine=_engine(config, nodes),
        save=Path(option.gpuready_save) if option.gpuready_save else None,
        json=option.gpuready_json,
        markdown=option.gpuready_md,
        baseline=_baseline(option.gpuready_baseline),
        notes=tuple(_notes(config)),
        hosts_from=addopts.of(config).hosts,
    )
    if asked.json == asked.markdown == "-":
        raise pytest.UsageError("--gpuready-json - and --gpuready-md -: only one report can be standard output")
    if asked.save is not None:
        _check_writable("--gpuready-save", asked.save / "snapshot.json")
    for name, path in (
        ("--gpuready-json", asked.json),
        ("--gpuready-md", asked.markdown),
        ("--html", _expanded(getattr(option, "htmlpath", None))),
        ("--junitxml", _expanded(getattr(option, "xmlpath", None))),
    ):
        if path and path != "-":
            _check_writable(name, Path(path))
    share_hosts(config, wanted)
    return asked


# ---------------------------------------------------------------------------------------------------- nodes


def _baseline(path: str | None) -> dict[str, Any] | None:
    """The older report, read before anything runs: this run's own may be written to the same place."""
    if not path:
        return None
    from pytest_gpuready.report.baseline import BaselineError, read  # noqa: PLC0415 - only where it is asked for

    try:
        return read(path)
    except BaselineError as error:
        raise pytest.UsageError(f"--gpuready-baseline {error}") from None


def specs(config: pytest.Config) -> list[str]:
    """The specs that `--hosts` and then the file of hosts name, sets not yet expanded; none: this machine."""
    found = [option] if (option := getattr(config.option, "hosts", None)) else []
    path = config.option.gpuready_hosts_file
    if path:
        lines = list(_lines(config, path))
        if not lines:
            raise pytest.UsageError(f"--gpuready-hosts-file {path} names no node")
        found += lines
    return found


def _lines(config: pytest.Config, path: str) -> Iterable[str]:
    name = "standard input" if path == "-" else path
    try:
        text = config.stash.get(STDIN, "") if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise pytest.UsageError(f"--gpuready-hosts-file {path}: {why}") from None
    try:
        yield from inputs.spec_lines(text, name)
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


def _looked_up(config: pytest.Config, nodes: list[NodeSpec]) -> list[NodeSpec]:
    """The nodes with what stands in an inventory found there."""
    if all(node.scheme != "ansible" for node in nodes):
        return nodes
    from pytest_gpuready.backends import Inventory, resolved  # noqa: PLC0415 - it reads testinfra's

    option = config.option
    return resolved(
        nodes,
        Inventory(
            option.ansible_inventory, option.ssh_config, option.ssh_identity_file, force=bool(option.force_ansible)
        ),
    )


def share_hosts(config: pytest.Config, wanted: Sequence[str]) -> None:
    """Let testinfra's `host` fixture know the same nodes: sets expanded, the file's, and snapshots.

    testinfra splits `--hosts` at every comma and takes a spec's place up to the first slash, hence the quoting.
    """
    if not wanted:
        return
    singles: dict[str, None] = {}
    try:
        for text in wanted:
            for part in split(text):
                # In ansible's own patterns brackets mean something else.
                singles.update(dict.fromkeys([part] if part.startswith("ansible://") else expand(part)))
    except SpecError as error:
        raise pytest.UsageError(hidden(str(error))) from None
    give_hosts(config, ",".join(_quoted(single) for single in singles))


def _quoted(single: str) -> str:
    """A spec whose place testinfra takes whole: it ends a place at the first slash."""
    scheme, mark, rest = single.partition("://")
    if scheme == "snapshot":
        return f"{scheme}{mark}{quote(rest, safe='')}"
    if scheme == "chroot":
        path, query, options = rest.partition("?")
        return f"{scheme}{mark}{quote(unquote(path), safe='')}{query}{options}"
    return single


def give_hosts(config: pytest.Config, hosts: str) -> None:
    """What testinfra reads as `--hosts` from now on; an xdist worker is given what the controller read."""
    import testinfra.backend  # type: ignore[import-untyped,unused-ignore] # noqa: PLC0415 - its plugin has it loaded

    testinfra.backend.BACKENDS.setdefault("snapshot", "pytest_gpuready.snapshot_backend.SnapshotBackend")
    if "chroot://" in hosts:
        testinfra.backend.BACKENDS["chroot"] = "pytest_gpuready.chroot_backend.ChrootBackend"
    config.option.hosts = hosts


# ---------------------------------------------------------------------------------------------------- options, ini keys


def _ini(config: pytest.Config, name: str) -> str:
    """An ini key's value as text, whichever way it was written: text, a TOML number, a TOML list."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pytest 9 warns of a list where text is expected; here it is welcome
        try:
            value = config.getini(name)
        except (pytest.UsageError, TypeError, ValueError):
            # pytest 9 takes a native TOML value for text only. It knows no other way to the value.
            entry = config._inicfg[name]  # noqa: SLF001
            value = getattr(entry, "value", entry)
    return (",".join(str(item) for item in value) if isinstance(value, list) else str(value or "")).strip()


def _notes(config: pytest.Config) -> Iterable[str]:
    """What an ini file changes about this run, and what it was kept from changing."""
    settled = addopts.of(config)
    if settled.ignored:
        yield settled.ignored
    for name, _ in INI:
        source = _asked(config, name)[1]
        if source and not source.startswith("--"):
            yield source


def _asked(config: pytest.Config, name: str) -> tuple[str | None, str]:
    """An option's value, else its ini key's, and where it is from (an option: from `--`)."""
    value = getattr(config.option, name, None)
    if value:
        source = f"--{name.replace('_', '-')} {value}"
        if name in addopts.of(config).options:
            source = f"addopts = {one_line(source)} in {config.inipath}"
        return str(value), source
    ini = _ini(config, name)
    if not ini:
        return None, ""
    override = next((entry for entry in config.option.override_ini or () if entry.startswith(f"{name}=")), None)
    return ini, f"-o {override}" if override else f"{name} = {one_line(ini)} in {config.inipath}"


def _unknown_keys(config: pytest.Config) -> set[str]:
    """The ini file's keys that no plugin knows. A warning is too little: a misspelt route would require nothing."""
    find = getattr(config, "_get_unknown_ini_keys", None)
    return set(find()) if find else set()


def _number(config: pytest.Config, name: str, default: float, most: float) -> float:
    value, source = _asked(config, name)
    if value is None:
        return default
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise pytest.UsageError(f"{source}: not a number above 0 and up to {most:g}")
    return number


def timeout(config: pytest.Config) -> float:
    """Seconds until a node has answered everything."""
    return _number(config, "gpuready_timeout", 30.0, _DAY)


def _jobs(config: pytest.Config) -> int:
    """Nodes at once; 0: as many as the machine takes."""
    number = _number(config, "gpuready_jobs", 0.0, 10_000)
    if number != int(number):
        raise pytest.UsageError(f"{_asked(config, 'gpuready_jobs')[1]}: not a whole number")
    return int(number)


def _engine(config: pytest.Config, nodes: tuple[NodeSpec, ...]) -> Engine | None:
    """What asks the nodes, if not threads do."""
    name, source = _asked(config, "gpuready_engine")
    if name in (None, "threads"):
        return None
    if name != "clustershell":
        raise pytest.UsageError(f"{source}: no such engine; there are threads, clustershell")
    from pytest_gpuready.node import fleet  # noqa: PLC0415 - only where it is asked for
    from pytest_gpuready.runner import default_jobs  # noqa: PLC0415 - likewise

    if not fleet.installed():
        raise pytest.UsageError(f"{source} needs ClusterShell: {fleet.INSTALL}")
    if _live(config):
        raise pytest.UsageError(
            f"{source}: --gpuready-live runs containers in one login that watches over them, which threads have and "
            "ClusterShell has not: leave one of the two out"
        )
    taken = [node for node in nodes if fleet.takes(node)]
    secret = next((node for node in taken if node.password is not None), None)
    if secret is not None:
        raise pytest.UsageError(
            f"{source}: {secret.label} has a password, which ClusterShell cannot give to ssh unseen: use a key"
        )
    try:
        routes = fleet.routes() if taken else []
    except fleet.FleetError as error:
        raise pytest.UsageError(f"{source}: topology.conf cannot be used: {error}") from None
    return fleet.Engine(taken, options(config), _jobs(config) or default_jobs(), routes)


def read_settings(config: pytest.Config) -> Settings:
    """What judging depends on, from options and ini keys. `UsageError` for what cannot be understood."""
    sources: dict[str, str] = {}
    found: dict[str, str | None] = {}
    for name in ("routes", "handler", "containerd"):
        value, source = _asked(config, f"gpuready_{name}")
        found[name] = value
        if value is not None:
            sources[name] = source
    try:
        routes = inputs.routes(found["routes"], sources.get("routes", ""))
        socket = inputs.socket(found["containerd"], sources.get("containerd", ""))
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
    kubeconfig = config.option.gpuready_kubeconfig
    if kubeconfig and not Path(kubeconfig).is_file():
        raise pytest.UsageError(f"--gpuready-kubeconfig {kubeconfig}: no such file")
    return Settings(
        routes=routes,
        handler=found["handler"],
        socket=socket,
        kubeconfig=kubeconfig,
        live=_live(config),
        live_idle_only=bool(config.option.gpuready_live_idle_only),
        image=_image(config),
        sudo=bool(getattr(config.option, "sudo", False)),
        sources=sources,
    )


def _live(config: pytest.Config) -> bool:
    """Whether containers are run. What says how they are run says nothing alone."""
    option = config.option
    if option.gpuready_live_idle_only:
        option.gpuready_live = True
    if option.gpuready_image and not option.gpuready_live:
        raise pytest.UsageError("--gpuready-image names the image of containers, which are run with --gpuready-live")
    return bool(option.gpuready_live)


def _image(config: pytest.Config) -> str:
    """The image for containers: `builtin`, or a name that ctr can take."""
    from pytest_gpuready.live.image import BUILTIN, is_reference  # noqa: PLC0415 - only where it is asked for

    image = config.option.gpuready_image or BUILTIN
    if not is_reference(image):
        raise pytest.UsageError(f"--gpuready-image {one_line(image, 100)}: that is no name of an image")
    return str(image)


# ---------------------------------------------------------------------------------------------------- the controller


def command(args: Iterable[str]) -> str:
    """The command line that made this run, to be typed again; passwords left out."""
    return shlex.join(["pytest", *(hidden(str(arg)) for arg in args)])


def _expanded(path: str | None) -> str | None:
    """A path as pytest and pytest-html read it."""
    return path and os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 - pytest takes a `~` that no user has


def _check_writable(option: str, path: Path) -> None:
    try:
        inputs.check_writable(option, path)
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
