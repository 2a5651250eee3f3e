"""The routes by which a container gets its GPU, what each requires, and which are required of a node by default.

`requires` is the table of what each link is needed for (reference: containerd release notes and sources named there):
legacy hooks up to ctr 2.2, CDI in the client from ctr 2.3 (ctd v2.3.4:cmd/ctr/commands/run/run_unix.go:378,515), the
runtime handler for CRI, and so on. It names check ids; their needs are added by the judge.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.ctr import Ctr
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.toolkit import Toolkit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.model import Settings
    from pytest_gpuready.views import Views

#: `every`: each required route must hold. `any`: one of them is enough.
Mode = Literal["every", "any"]

#: The driver, without which no route works (device nodes: until they are there nothing can look).
DRIVER = frozenset(
    {
        "driver.gpu-on-bus",
        "driver.nouveau-absent",
        "driver.module-loaded",
        "driver.kernel-flavour",
        "driver.library-present",
        "driver.versions-match",
        "driver.device-nodes",
        "driver.nvml-answers",
        "driver.gpu-count",
        "driver.gpu-health",
        "driver.mig-instances",
        "driver.fabric-manager",
    }
)
_NODE = frozenset({"node.reachable", "node.selinux"})
_DAEMON = frozenset(
    {
        "containerd.installed",
        "containerd.running",
        "containerd.selected",
        "containerd.supports-route",
        "containerd.runc",
    }
)
_CDI = frozenset(
    {
        "cdi.enabled",
        "cdi.spec-present",
        "cdi.spec-valid",
        "cdi.no-conflicts",
        "cdi.spec-current",
        "cdi.devices-complete",
        "driver.uvm-node",
    }
)
_CRI = frozenset(
    {"containerd.config-loads", "containerd.cri-enabled", "containerd.restarted", "kubernetes.runtime-endpoint"}
)
_HANDLER = frozenset(
    {
        "containerd.handler",
        "containerd.handler-binary",
        "containerd.handler-runtime-type",
        "containerd.handler-cgroups",
        "kubernetes.allocatable",
    }
)
_RUNTIME = frozenset(
    {
        "toolkit.installed",
        "toolkit.versions-match",
        "toolkit.config-valid",
        "toolkit.runtime-works",
        "toolkit.low-level-runtime",
    }
)
_COMMON = _NODE | DRIVER | _DAEMON


def _runtime(views: Views, route: str) -> frozenset[str]:
    """What a container needs that nvidia-container-runtime starts, in its mode in force.

    Where the mode cannot be told, `toolkit.config-valid` or `toolkit.installed` says why, and both are required.
    """
    mode = None
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        mode = views.get(Toolkit).mode_for(route)
    if mode == "legacy":
        return _RUNTIME | {"toolkit.container-cli", "toolkit.hook"}
    if mode == "cdi":
        return _RUNTIME | {"toolkit.hook"} | _CDI
    if mode in ("jit-cdi", "csv"):
        return _RUNTIME | {"toolkit.hook", "driver.uvm-node"}
    return _RUNTIME | {"toolkit.hook"}


def _by_client(views: Views) -> frozenset[str]:
    """What ctr --gpus needs: nvidia-container-cli up to ctr 2.2, a CDI spec from 2.3.

    Where ctr's version cannot be told, `containerd.supports-route` is unknown.
    """
    try:
        cdi = views.get(Ctr).gpus_by_cdi
    except (Undetermined, NotApplicable, Denied):
        return frozenset()
    return _CDI if cdi else frozenset({"toolkit.container-cli"})


def _nerdctl(views: Views) -> frozenset[str]:
    try:
        cdi = views.get(Ctr).nerdctl_gpus_by_cdi
    except (Undetermined, NotApplicable, Denied):
        return frozenset()
    return _CDI if cdi else frozenset({"toolkit.container-cli", "containerd.ctr"})


def live_checks(route: str) -> frozenset[str]:
    """What a route requires besides where containers are run."""
    return frozenset({f"live.{route}", "live.same-gpus", "live.isolation"})


@dataclass(frozen=True)
class Route:
    """A way in which a container gets its GPU: what a user types, and the checks that must hold for it."""

    id: str
    command: str
    requires: Callable[[Views], frozenset[str]]


ROUTES: dict[str, Route] = {
    route.id: route
    for route in (
        Route(
            "ctr-gpus",
            "ctr run --rm --gpus 0 IMAGE ID nvidia-smi",
            lambda views: _COMMON | {"containerd.ctr"} | _by_client(views),
        ),
        Route(
            "ctr-runtime",
            "ctr run --rm --runtime io.containerd.runc.v2 --runc-binary nvidia-container-runtime "
            "--env NVIDIA_VISIBLE_DEVICES=all IMAGE ID nvidia-smi",
            lambda views: _COMMON | {"containerd.ctr"} | _runtime(views, "ctr-runtime"),
        ),
        Route(
            "ctr-cdi",
            "ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi",
            lambda _: _COMMON | {"containerd.ctr"} | _CDI,
        ),
        Route(
            "cri-handler",
            "a pod with runtimeClassName: nvidia",
            lambda views: _COMMON | _CRI | _HANDLER | _runtime(views, "cri-handler") | {"kubernetes.runtimeclass"},
        ),
        Route(
            "cri-default",
            "a pod without runtimeClassName",
            lambda views: _COMMON | _CRI | _HANDLER | _runtime(views, "cri-default") | {"containerd.default-runtime"},
        ),
        Route(
            "cri-cdi",
            "a pod with a CDI device",
            lambda _: _COMMON | _CRI | _CDI | {"kubernetes.allocatable"},
        ),
        Route("nerdctl", "nerdctl run --gpus all IMAGE nvidia-smi", lambda views: _COMMON | _nerdctl(views)),
    )
}


@dataclass(frozen=True)
class Required:
    """The routes that must hold on a node, why, and whether each of them must.

    No route at all means that nothing of ours is required, and `because` says so: the verdict is unknown.
    """

    names: tuple[str, ...]
    because: str
    mode: Mode = "every"


def offered(views: Views) -> tuple[str, ...]:
    """The routes that this node's containerd, ctr and nerdctl offer; one of which it cannot be told is among them."""
    return tuple(route for route in ROUTES if not refused(views, route))


def refused(views: Views, route: str) -> bool:
    """Whether the node is known not to offer a route."""
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        return offer(views, route) is not None
    return False


def offer(views: Views, route: str) -> str | None:
    """None if the node offers the route, else why not, in words. `Undetermined` or `Denied` if it cannot be said."""
    ctr, live = views.get(Ctr), views.get(ContainerdLive)
    if route in ("ctr-gpus", "ctr-runtime", "ctr-cdi"):
        if not ctr.path:
            return "ctr is not on PATH"
        if route == "ctr-cdi" and ctr.version < (2, 0):
            return f"ctr {ctr.version_text} takes --device for a path; CDI names need ctr 2.0"
        if route == "ctr-gpus":
            _ = ctr.gpus_by_cdi  # what it needs depends on the version, so that must be known
        return None
    if route == "nerdctl":
        if not ctr.nerdctl:
            return "nerdctl is not on PATH"
        _ = ctr.nerdctl_gpus_by_cdi
        return None
    if route == "cri-cdi" and live.disk_version < (1, 7):
        return f"containerd {live.disk_version_text} has no CDI; it came with 1.7"
    return None


def required(views: Views) -> Required:
    """The routes required of this node: as the user says, else the first row of evidence that fits."""
    return asked_for(views.settings, lambda: offered(views)) or by_evidence(views)


def asked_for(settings: Settings, offered: Callable[[], tuple[str, ...]]) -> Required | None:
    """Return the routes that the user asked for, with the option or ini key that did; None without such a wish."""
    asked, source = settings.routes, settings.sources.get("routes")
    if asked == ("all",):
        return Required(offered(), f"{source or '--gpuready-routes all'}: every route that this node offers")
    if asked == ("any",):
        why = f"{source or '--gpuready-routes any'}: at least one of those that this node offers"
        return Required(offered(), why, "any")
    return Required(asked, source or "--gpuready-routes") if asked else None


def by_evidence(views: Views) -> Required:
    """The default: evidence that is there decides, never the absence of what a check looks for."""
    platform = views.get(Platform)
    for rule in (_cos, _operator_cdi, _nixos, _operator, _embedded, _default_handler):
        try:
            found = rule(views, platform)
        except (Undetermined, NotApplicable, Denied):
            continue
        if found is not None:
            return found
    return Required(("ctr-gpus", "cri-handler"), "no evidence of another set-up")


def _cos(_: Views, platform: Platform) -> Required | None:
    if platform.os_id == "cos":
        why = "GKE's Container-Optimized OS: Google's device plugin mounts the driver; none of our routes is used there"
        return Required((), why)
    return None


def _operator_cdi(views: Views, _: Platform) -> Required | None:
    why = views.get(Toolkit).operator_cdi
    return Required(("cri-cdi",), why) if why else None


def _nixos(_: Views, platform: Platform) -> Required | None:
    return Required(("ctr-cdi",), "NixOS gives containers their GPU by CDI") if platform.os_id == "nixos" else None


def _operator(_: Views, platform: Platform) -> Required | None:
    for path in ("/usr/local/nvidia/toolkit", "/run/nvidia/driver"):
        if platform.facts.exists(path):
            return Required(("cri-handler",), f"{path} is there: the GPU operator's layout")
    return None


def _embedded(views: Views, _: Platform) -> Required | None:
    flavour = views.get(ContainerdLive).flavour
    return Required(("cri-handler",), f"{flavour.name} runs its own containerd") if flavour.embedded else None


def _default_handler(views: Views, _: Platform) -> Required | None:
    from pytest_gpuready.views.containerd_config import ContainerdConfig  # noqa: PLC0415 - it imports the loader

    handler = views.get(ContainerdConfig).default_handler
    if handler is not None and handler.is_nvidia:
        return Required(("ctr-gpus", "cri-default"), f"the default handler {handler.name} runs the NVIDIA runtime")
    return None
