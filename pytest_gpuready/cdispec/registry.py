"""How the devices of all specs resolve, as CDI's cache does it (pkg/cdi/cache.go refresh, v0.5.4 to v1.1.0 alike).

Directories are of rising priority. A device in two files of one directory is a conflict and resolves to nothing, even
where a later directory has it too; otherwise the later directory's wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuready.cdispec.spec import Device, Spec


@dataclass(frozen=True)
class Conflict:
    """A device (`vendor/class=name`) that two files of one directory define."""

    name: str
    specs: tuple[Spec, Spec]


@dataclass(frozen=True)
class Registry:
    """What a reader resolves: devices by qualified name, and what it cannot for their conflicts."""

    devices: dict[str, tuple[Spec, Device]]
    conflicts: tuple[Conflict, ...]

    def of_kinds(self, kinds: Sequence[str]) -> dict[str, tuple[Spec, Device]]:
        """The devices of these kinds, by their unqualified names."""
        return {device.name: (spec, device) for spec, device in self.devices.values() if spec.kind in kinds}

    def names(self, kinds: Sequence[str]) -> set[str]:
        """The unqualified names of the devices of these kinds."""
        return set(self.of_kinds(kinds))


def resolve(directories: Sequence[Sequence[Spec]]) -> Registry:
    """The registry of directories in the order of their priority, each with its valid specs in the order of names."""
    devices: dict[str, tuple[int, Spec, Device]] = {}
    conflicts: dict[str, Conflict] = {}
    for priority, specs in enumerate(directories):
        for spec in specs:
            for device in spec.devices:
                name = f"{spec.kind}={device.name}"
                other = devices.get(name)
                if other is not None and other[0] == priority:
                    conflicts.setdefault(name, Conflict(name, (spec, other[1])))
                else:
                    devices[name] = (priority, spec, device)
    resolved = {name: (spec, device) for name, (_, spec, device) in devices.items() if name not in conflicts}
    return Registry(resolved, tuple(conflicts.values()))
