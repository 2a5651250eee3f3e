"""CDI specs as nvidia-ctk 1.18 to 1.20 generate them, cut to a few libraries, and the pieces to break them with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import driver
from tests.support.simnode import SimNode
from tests.support.toolkit import containerd, debian, one, toolkit

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome

SPEC = "/var/run/cdi/nvidia.yaml"
STATIC = "/etc/cdi/nvidia.yaml"
GENERATE = (f"sudo nvidia-ctk cdi generate --output={SPEC}",)
LIBS = driver.LIBS
NAMES = ("libcuda.so", "libnvidia-ml.so", "libnvidia-ptxjitcompiler.so")


def device(name: str, *numbers: int) -> str:
    """One device of the spec, with the nodes of these GPUs."""
    nodes = "".join(
        f"        - path: /dev/nvidia{number}\n          major: 195\n          minor: {number}\n"
        "          fileMode: 438\n          permissions: rwm\n"
        for number in numbers
    )
    return f'  - name: "{name}"\n    containerEdits:\n      deviceNodes:\n{nodes}'


def devices(gpus: int = 1) -> str:
    """All devices of so many GPUs: by index, by UUID, and all."""
    every = [device(str(n), n) for n in range(gpus)] + [device(driver.uuid(n), n) for n in range(gpus)]
    return "".join([*every, device("all", *range(gpus))])


def spec(
    gpus: int = 1,
    *,
    version: str = driver.VERSION,
    cdi: str = "0.5.0",
    kind: str = "nvidia.com/gpu",
    uvm: int | None = 238,
    listed: str | None = None,
) -> str:
    """A whole spec; `uvm` is nvidia-uvm's major in it (None: made without), `listed` replaces its devices."""
    node = (
        f"    - path: /dev/nvidia-uvm\n      major: {uvm}\n      fileMode: 438\n      permissions: rwm\n" if uvm else ""
    )
    mounts = "".join(
        f"    - hostPath: {LIBS}/{name}.{version}\n      containerPath: {LIBS}/{name}.{version}\n"
        "      options: [ro, nosuid, nodev, rbind]\n"
        for name in NAMES
    )
    return f"""---
cdiVersion: {cdi}
kind: {kind}
devices:
{devices(gpus) if listed is None else listed}containerEdits:
  env:
    - NVIDIA_VISIBLE_DEVICES=void
  deviceNodes:
{node}    - path: /dev/nvidiactl
      major: 195
      minor: 255
      fileMode: 438
      permissions: rwm
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args:
        - nvidia-cdi-hook
        - enable-cuda-compat
        - --host-driver-version={version}
  mounts:
{mounts}    - hostPath: /usr/bin/nvidia-smi
      containerPath: /usr/bin/nvidia-smi
      options: [ro, nosuid, nodev, rbind]
"""


def libraries(node: SimNode, version: str = driver.VERSION) -> SimNode:
    """The library files that the spec mounts."""
    for name in NAMES:
        node.put(f"{LIBS}/{name}.{version}", b"\x7fELF", mode=0o755)
    return node


def cdi(node: SimNode, gpus: int = 1, *, path: str = SPEC) -> SimNode:
    """A healthy spec of so many GPUs, everything it names, and nvidia-cdi-refresh enabled."""
    libraries(node).program("/usr/bin/nvidia-cdi-hook").program("/usr/bin/nvidia-smi")
    node.unit("nvidia-cdi-refresh.service", ActiveState="inactive", SubState="dead", UnitFileState="enabled")
    node.unit("nvidia-cdi-refresh.path", UnitFileState="enabled")
    return node.put(path, spec(gpus))


def healthy(gpus: int = 1, *, release: str = "2.3.4", cri: str = "") -> SimNode:
    """Return a node whose ctr gives GPUs by CDI, with a spec that is right."""
    return cdi(containerd(toolkit(driver.h100(debian(SimNode()), gpus)), release, cri=cri), gpus)


def outcome(node: SimNode, name: str, route: str = "ctr-gpus") -> Outcome:
    """Return what a check of the CDI family answers for a route."""
    return one(node, f"cdi.{name}", route)
