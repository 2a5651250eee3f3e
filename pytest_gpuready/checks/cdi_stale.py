"""What in a CDI spec is not of today: paths, hooks, the driver's version, device numbers."""

from __future__ import annotations

import contextlib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.clean import one_line

if TYPE_CHECKING:
    from pytest_gpuready.cdispec.spec import DeviceNode, Spec
    from pytest_gpuready.views.cdi import Cdi
    from pytest_gpuready.views.driver import Driver

#: Paths of libraries that have the driver's version in their names.
_LIBRARY = re.compile(r"/lib(?:cuda|nvidia-ml|nvidia-ptxjitcompiler|nvcuvid)\.so\.(\d{3,4}\.\d+(?:\.\d+)?)$")
_HOOK_VERSION = re.compile(r"^--host-driver-version=(\d{3,4}\.\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Stale:
    """A part of a spec that is not of today."""

    text: str
    line: int | None
    #: The name of the hook's program that is not there, or cannot be executed.
    program: str | None = None


def of_driver(specs: list[Spec]) -> str:
    """The driver's version in specs, as the end of a sentence."""
    found = sorted({version for spec in specs for version in versions(spec)})
    return f", driver {', '.join(found)}" if found else ""


def versions(spec: Spec) -> set[str]:
    """The driver versions that a spec names."""
    return set(_version_lines(spec))


def _version_lines(spec: Spec) -> dict[str, int]:
    found: dict[str, int] = {}
    for edits in spec.all_edits:
        for mount in edits.mounts:
            match = _LIBRARY.search(mount.host)
            if match:
                found.setdefault(match[1], mount.line)
        for hook in edits.hooks:
            for arg in hook.args:
                match = _HOOK_VERSION.match(arg)
                if match:
                    found.setdefault(match[1], hook.line)
    return found


def stale_parts(cdi: Cdi, spec: Spec, driver: Driver) -> list[Stale]:
    """Everything in a spec that is not of today, the driver's version first."""
    found: list[Stale] = []
    version = None
    with contextlib.suppress(Undetermined, NotApplicable):
        version = driver.module_version
    for named, line in _version_lines(spec).items():
        if version is not None and named != version:
            found.append(Stale(f"it is of driver {named}, and {version} is loaded", line))
    seen: set[str] = set()
    for edits in spec.all_edits:
        for mount in edits.mounts:
            if mount.is_bind and mount.host not in seen:
                seen.add(mount.host)
                found += _path(cdi, mount.host, mount.line, program=False)
        for hook in edits.hooks:
            if hook.path not in seen:
                seen.add(hook.path)
                found += _path(cdi, hook.path, hook.line, program=True)
        for node in edits.nodes:
            if node.path not in seen:
                seen.add(node.path)
                found += _node(cdi, node, driver)
    has = {node.path for edits in spec.all_edits for node in edits.nodes}
    if "/dev/nvidiactl" in has and "/dev/nvidia-uvm" not in has:
        found.append(
            Stale("it has no /dev/nvidia-uvm: it was made before that module was loaded, and CUDA needs it", None)
        )
    return found


def _path(cdi: Cdi, path: str, line: int, *, program: bool) -> list[Stale]:
    if not posixpath.isabs(path):
        return [Stale(f"{one_line(path, 120)} is no absolute path", line)]
    there = cdi.facts.stat(path)
    if there is None:
        return [Stale(f"{one_line(path, 160)} is not there", line, posixpath.basename(path) if program else None)]
    if program and not (there.is_file and there.executable):
        return [Stale(f"{one_line(path, 160)} is no program", line, posixpath.basename(path))]
    return []


def _node(cdi: Cdi, node: DeviceNode, driver: Driver) -> list[Stale]:
    """CDI's rule (container-edits_unix.go fillMissingInfo): a node is looked at unless type and major are given."""
    if not posixpath.isabs(node.host):
        return [Stale(f"{one_line(node.host, 120)} is no absolute path", node.line)]
    there = cdi.facts.stat(node.host)
    if there is None:
        if node.host in _drivers_own(driver):
            return []
        return [Stale(f"{one_line(node.host, 160)} is not there", node.line)]
    if there.target is not None or there.is_dir or there.is_file:
        return [Stale(f"{one_line(node.host, 160)} is no device node", node.line)]
    if not node.major:
        return []
    major, minor = there.major, there.minor
    with contextlib.suppress(Undetermined, NotApplicable):
        if posixpath.basename(node.host).startswith("nvidia-uvm"):
            major = driver.majors.get("nvidia-uvm", major)
    said = f"{node.major},{node.minor or 0}"
    if said != f"{major},{minor}":
        return [Stale(f"{node.host} has the numbers {said} in it, and is {major},{minor} today", node.line)]
    return []


def _drivers_own(driver: Driver) -> set[str]:
    """Nodes whose absence driver.device-nodes and driver.uvm-node find."""
    own = {"/dev/nvidiactl", "/dev/nvidia-uvm"}
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        if not driver.module_loaded:
            return own | {f"/dev/nvidia{minor}" for minor in range(64)}
        own |= {f"/dev/nvidia{minor}" for minor in driver.gpu_minors}
    return own
