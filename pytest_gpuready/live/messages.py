"""What a container that did not run ends with: the cause in words, the check that usually finds it, and what mends it.

Texts are matched by their inner words: containerd 1.x appends `: unknown` to most task errors, 2.x does not, and the
toolkit's prefixes differ by release. What no row knows is no failure of a known kind: it is shown whole, as unknown.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, NotApplicable, Remedy, Undetermined

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies

Mend = Callable[["Remedies"], Remedy]


@dataclass(frozen=True)
class Ending:
    """A kind of end: what its text holds, what that means, and the check by which the same is found without it."""

    pattern: str
    cause: str
    check: str
    mend: Mend | None = None

    def remedy(self, mend: Remedies) -> Remedy | None:
        """What mends it on this node; where the node does not say enough for commands, where to read on."""
        if self.mend is not None:
            with contextlib.suppress(Undetermined, Denied, NotApplicable):
                return self.mend(mend)
        return Remedy(f"See what {self.check} says: pytest --gpuready-explain {self.check}")


ENDINGS: tuple[Ending, ...] = (
    Ending(
        r"no runtime for \"?[\w.-]+\"? is configured",
        "the daemon knows no such handler",
        "containerd.restarted",
        lambda mend: mend.containerd.restart(),
    ),
    Ending(
        r"unknown service runtime\.v1\.RuntimeService",
        "the daemon serves no CRI",
        "containerd.cri-enabled",
        lambda mend: mend.containerd.enable_cri(),
    ),
    Ending(
        r"expected cgroupsPath to be of format .slice:prefix:name.|not of the format \"?slice:prefix:name",
        "the handler makes control groups by systemd, and the pod's are named for cgroupfs, or the reverse",
        "containerd.handler-cgroups",
        lambda mend: mend.containerd.cgroups(),
    ),
    Ending(
        r"container\.Runtime\.Name must be set",
        "the handler has no runtime_type",
        "containerd.handler-runtime-type",
        lambda mend: mend.containerd.runtime_type(),
    ),
    Ending(
        r"(?:fork/exec|exec:) \S*nvidia-container-runtime-hook\S*: (?:no such file|executable file not found|stat )",
        "the toolkit's hook is not there",
        "toolkit.hook",
        lambda mend: mend.packages.toolkit(),
    ),
    Ending(
        r"(?:fork/exec \S*nvidia-(?:cdi-hook|ctk)|nvidia-(?:cdi-hook|ctk)\S*: no such file)",
        "the CDI spec names a hook that is not there",
        "cdi.spec-current",
        lambda mend: mend.packages.toolkit(),
    ),
    Ending(
        r"(?:fork/exec|exec:|open) \S*nvidia-container-runtime\S*: "
        r"(?:no such file|executable file not found|permission)",
        "NVIDIA's runtime cannot be started",
        "containerd.handler-binary",
        lambda mend: mend.packages.toolkit(),
    ),
    Ending(
        r"nvidia-container-runtime did not terminate successfully|log\.json: no such file or directory",
        "NVIDIA's runtime ended before it could say why: it refuses its config.toml, or cannot be run",
        "toolkit.runtime-works",
    ),
    Ending(r"invalid mode \"", "the toolkit's mode is none that it knows", "toolkit.config-valid"),
    Ending(
        r"no runtime binary found from candidate list", "NVIDIA's runtime finds no runc", "toolkit.low-level-runtime"
    ),
    Ending(
        r"exec: \"nvidia-container-cli\": executable file not found",
        "ctr finds no nvidia-container-cli on its PATH",
        "toolkit.container-cli",
        lambda mend: mend.packages.toolkit(),
    ),
    Ending(
        r"exec: \"containerd\": executable file not found",
        "ctr finds no containerd on its PATH, which is its hook",
        "containerd.ctr",
        lambda mend: mend.containerd.on_path("containerd"),
    ),
    Ending(
        r"driver/library version mismatch",
        "the driver's libraries are of another version than the loaded module",
        "driver.versions-match",
        lambda mend: mend.driver.reboot_for_version(),
    ),
    Ending(
        r"load library failed: libnvidia-ml\.so\.1|ERROR_LIBRARY_NOT_FOUND|couldn't find libnvidia-ml",
        "the driver's library libnvidia-ml.so.1 is not found",
        "driver.library-present",
        lambda mend: mend.driver.libraries(),
    ),
    Ending(
        r"nvml error: driver not loaded|ERROR_DRIVER_NOT_LOADED|couldn't communicate with the NVIDIA driver",
        "the driver is not loaded",
        "driver.module-loaded",
        lambda mend: mend.driver.load(),
    ),
    Ending(
        r"unresolvable CDI devices? |detect GPU vendor failed|no known GPU vendor",
        "no CDI spec that is read here has the device",
        "cdi.devices-complete",
        lambda mend: mend.cdi.generate(),
    ),
    Ending(
        r"CDI support is explicitly disabled",
        "CDI is switched off in the daemon's configuration",
        "cdi.enabled",
        lambda mend: mend.cdi.enable(),
    ),
    Ending(
        r"error mounting \\?\"[^\"]*(?:nvidia|cuda)[^\"]*\\?\" to rootfs|failed to stat CDI host device|"
        r"(?:mount|stat)[^\n]*(?:libcuda|libnvidia)[^\n]*no such file",
        "the CDI spec names what is no longer there: it was made for another driver",
        "cdi.spec-current",
        lambda mend: mend.cdi.generate(),
    ),
    Ending(
        r"file creation failed: \S*: file exists",
        "the image ships the driver's libraries, and the toolkit cannot put the node's there",
        "live.image",
        lambda _: Remedy("Use an image without the driver's libraries (it was made on a machine with a GPU)."),
    ),
    Ending(
        r"requirement error: unsatisfied condition: [^\n]*",
        "the image asks for a newer driver than this one",
        "live.image",
        lambda _: Remedy("Use an older image, update the driver, or set NVIDIA_DISABLE_REQUIRE=1 for it."),
    ),
    Ending(r"device error: \S+: unknown device", "there is no GPU of that index", "driver.gpu-count"),
    Ending(
        r"bpf_prog_query\(BPF_CGROUP_DEVICE\) failed|devices\.allow: permission denied",
        "device rules cannot be set here: this is a container or a user namespace, and no-cgroups is not set",
        "toolkit.config-valid",
    ),
    Ending(
        r"Failed to initialize NVML: Unknown Error",
        "the container's device rules forbid the GPU: no-cgroups was left on, or the rules were rewritten",
        "toolkit.config-valid",
    ),
    Ending(
        r"Failed to initialize NVML: Insufficient Permissions",
        "opening the GPU is forbidden: SELinux, or the mode of the device nodes",
        "node.selinux",
        lambda mend: mend.node.selinux(),
    ),
    Ending(
        r"nvidia-persistenced/socket: no such device or address",
        "nvidia-persistenced's socket is there and nobody listens",
        "driver.persistence",
        lambda mend: mend.gpus.stale_socket(),
    ),
    Ending(
        r"dial unix \S+: connect: permission denied|permission denied while trying to connect",
        "the socket of containerd refuses this user",
        "node.privileges",
        lambda mend: mend.node.privileges(),
    ),
    Ending(
        r"dial unix \S+: connect: (?:connection refused|no such file)",
        "containerd does not answer at its socket any more",
        "containerd.running",
        lambda mend: mend.containerd.start(),
    ),
    Ending(
        r"failed to (?:get|pull|resolve) (?:sandbox )?image|failed to pull image",
        "the image for the pod's sandbox is not there, and nothing is pulled for a test",
        "live.image",
    ),
    Ending(
        r"exec: \\?\"sh\\?\": executable file not found|exec: \\?\"sleep\\?\": executable file not found",
        "the image has no sh (for pods: no sleep), which the container is asked by",
        "live.image",
        lambda _: Remedy("Name an image that has sh and sleep with --gpuready-image, or leave the option out."),
    ),
    Ending(
        r"no space left on device",
        "the node's disk is full",
        "containerd.running",
        lambda _: Remedy("Make room below containerd's root (df /var/lib/containerd)."),
    ),
    Ending(
        r"error setting cgroup config[^\n]*|failed to write \S*memory\S*: [^\n]*",
        "the container's limits cannot be set in this node's control groups",
        "containerd.handler-cgroups",
    ),
)


def cause_of(text: str) -> Ending | None:
    """The first row that a text fits."""
    return next((ending for ending in ENDINGS if re.search(ending.pattern, text)), None)
