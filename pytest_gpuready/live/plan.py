"""Which routes are run on a node and how each is asked for its GPUs; and why the others are not. Pure.

Every route that the node offers and that the passive checks found nothing against is run. How a container asks is what
this node's toolkit takes: pods of one that was hardened (its environment variable refused to unprivileged containers)
ask by volume mounts, as the device plugin makes them do there; by CDI they ask on a route of its own.
"""

from __future__ import annotations

import contextlib
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_gpuready.live import image as images
from pytest_gpuready.live.cri import Pod
from pytest_gpuready.live.ctr import RUNTIME, Container, without_request
from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.routes import ROUTES, offer
from pytest_gpuready.views.cdi import GPU_KIND, Cdi
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.ctr import Ctr
from pytest_gpuready.views.nvml import Nvml
from pytest_gpuready.views.toolkit import Toolkit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gpuready.report.model import NodeReport
    from pytest_gpuready.views import Views

#: Seconds that one container, or one call of CRI, may take. Without persistence the driver first wakes every GPU.
SECONDS: Final = 30
#: Least and most seconds for all of a node's containers.
LEAST, MOST = 60, 300

POD_ROUTES: Final = ("cri-handler", "cri-default", "cri-cdi")

_ENVVAR: Final = "accept-nvidia-visible-devices-envvar-when-unprivileged"
_VOLUMES: Final = "accept-nvidia-visible-devices-as-volume-mounts"
#: Where the toolkit looks for devices that are asked for by mounts (toolkit internal/config/image/cuda_image.go).
_MOUNTS: Final = "/var/run/nvidia-container-devices"
_CAPABILITIES: Final = ("NVIDIA_DRIVER_CAPABILITIES", "compute,utility")


@dataclass(frozen=True)
class Plan:
    """What is run on a node. `reasons` say why a route is not, by route.

    `ctr` is the client's path, `socket` the daemon's, `pause` the name of the image that pods' sandboxes need. In
    `folders` the daemon and runc make an empty folder for every containerd namespace, and leave it there.
    `seconds` bounds one container, `deadline` all of them; `probe`: the node itself is asked too.
    """

    containers: tuple[Container, ...] = ()
    pods: tuple[Pod, ...] = ()
    reasons: Mapping[str, str] | None = None
    ctr: str | None = None
    socket: str = ""
    pause: str | None = None
    folders: tuple[str, ...] = ()
    image: str = images.BUILTIN
    idle_only: bool = False
    seconds: int = SECONDS
    deadline: int = LEAST
    probe: bool = True

    @property
    def builtin(self) -> bool:
        """The image is the one that is made on the node."""
        return self.image == images.BUILTIN

    @property
    def empty(self) -> bool:
        """Nothing is run."""
        return not self.containers and not self.pods


def make(views: Views, passive: NodeReport) -> Plan:
    """The plan for a node, from what was read there and how it was judged without containers."""
    reasons: dict[str, str] = {}
    containers: list[Container] = []
    pods: list[Pod] = []
    for route in ROUTES:
        why = _why_not(views, passive, route)
        if why is not None:
            reasons[route] = why
            continue
        try:
            if route in POD_ROUTES:
                pods.append(_pod(views, route))
            else:
                containers.append(_container(views, route))
        except (Undetermined, NotApplicable) as error:
            reasons[route] = error.why
        except Denied as error:
            reasons[route] = str(error)
    for route in [container.routes[0] for container in containers]:
        _add(containers, without_request(route))
    if containers:
        containers.append(Container("ctr.privileged", (), ("--privileged",)))
    live = views.get(ContainerdLive)
    settings = views.settings
    count = len(containers) + 2 * len(pods)
    return Plan(
        containers=tuple(containers),
        pods=tuple(pods),
        reasons=reasons,
        ctr=_ctr(views),
        socket=_socket(live, clients=bool(containers)),
        pause=pause_image(views) if pods else None,
        folders=namespace_folders(views) if containers else (),
        image=settings.image if settings.image == images.BUILTIN else images.full_reference(settings.image),
        idle_only=settings.live_idle_only,
        seconds=SECONDS,
        deadline=min(MOST, max(LEAST, 15 * count)),
    )


def _add(containers: list[Container], container: Container | None) -> None:
    """One container without a request speaks for every route that differs by its request alone."""
    if container is None:
        return
    for place, other in enumerate(containers):
        if other.section == container.section:
            containers[place] = Container(other.section, (*other.routes, *container.routes), other.flags, other.client)
            return
    containers.append(container)


def namespace_folders(views: Views) -> tuple[str, ...]:
    """The folders of tasks below the daemon's root and state, and the root that its shim gives to runc.

    ctd v2.1.9:core/runtime/v2/bundle.go (NewBundle) and cmd/containerd-shim-runc-v2/process/init.go (RuncRoot).
    """
    daemon, settings = None, {}
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        daemon = views.get(ContainerdLive).selected
        settings = views.get(ContainerdConfig).loaded.effective
    found = []
    for name, usual in (("root", "/var/lib/containerd"), ("state", "/run/containerd")):
        typed = daemon.process.option(f"--{name}", f"-{name}") if daemon is not None else None
        place = str(typed or settings.get(name) or usual)
        if place.startswith("/") and place.isprintable():
            found.append(f"{posixpath.normpath(place)}/io.containerd.runtime.v2.task")
    return (*found, "/run/containerd/runc")


def _why_not(views: Views, passive: NodeReport, route: str) -> str | None:
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        why = offer(views, route)
        if why is not None:
            return why
    report = passive.routes[route]
    if report.verdict != "ready":
        return f"blocked by {', '.join(report.roots) or 'what was not looked at'}"
    if not _ctr(views):
        return "ctr is not on the node, and the image is imported, or looked for, by it"
    live = views.get(ContainerdLive)
    if route in POD_ROUTES:
        both = not any(passive.routes[other].verdict == "ready" for other in ROUTES if other not in POD_ROUTES)
        if not both and live.for_clients is not None and live.for_clients.socket != live.socket:
            return f"pods are run by the containerd at {live.socket}, clients by another; one is asked in a run"
        if pause_image(views) is None:
            return "the name of the image for pods' sandboxes is not known, and nothing may be pulled"
    return None


def _ctr(views: Views) -> str | None:
    ctr = views.get(Ctr)
    return ctr.path or ctr.elsewhere


def _socket(live: ContainerdLive, *, clients: bool) -> str:
    daemon = live.for_clients if clients else None
    return daemon.socket if daemon is not None else live.socket


def pause_image(views: Views) -> str | None:
    """The image that the daemon wants for sandboxes: as it says itself (1.x), else as its files say."""
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        config = views.get(ContainerdLive).cri.config or {}
        told = config.get("sandboxImage")
        if isinstance(told, str) and images.is_reference(told):
            return told
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        found = views.get(ContainerdConfig).loaded.sandbox_image
        if isinstance(found, str) and images.is_reference(found):
            return found
    return None


# ---------------------------------------------------------------------------------------------------- how it asks


def _indexes(views: Views) -> list[int]:
    gpus = views.get(Nvml).devices
    if not gpus:
        raise Undetermined("NVML lists no GPU to ask for")
    return [gpu.index for gpu in gpus]


def cdi_devices(views: Views, route: str) -> tuple[str, ...]:
    """The names that ask for every GPU: `all` where the specs have it, else each GPU's index or UUID."""
    cdi = views.get(Cdi)
    names = cdi.registry(cdi.reader(route)).names((GPU_KIND,))
    if "all" in names:
        return (f"{GPU_KIND}=all",)
    found = []
    for gpu in views.get(Nvml).devices:
        name = next((name for name in (str(gpu.index), gpu.uuid) if name in names), None)
        if name is None:
            raise Undetermined(f"no CDI device is named all, {gpu.index} or {gpu.uuid}")
        found.append(f"{GPU_KIND}={name}")
    return tuple(found)


def by_mounts(views: Views, route: str) -> bool:
    """Whether this node's toolkit takes a request by volume mounts only.

    One that takes neither is what toolkit.config-valid fails; it can be asked by CDI, which is a route of its own.
    """
    config = views.get(Toolkit).config_for(route)
    return config.get(_ENVVAR) is False and config.get(_VOLUMES) is True


def _container(views: Views, route: str) -> Container:
    if route == "ctr-gpus":
        flags = tuple(f"--gpus={index}" for index in _indexes(views))
    elif route == "ctr-cdi":
        flags = tuple(f"--device={name}" for name in cdi_devices(views, route))
    elif route == "nerdctl":
        return Container(route, (route,), ("--gpus=all",), "nerdctl")
    else:
        flags = (*RUNTIME, "--env=NVIDIA_VISIBLE_DEVICES=all", f"--env={'='.join(_CAPABILITIES)}")
    return Container(route, (route,), flags)


def _pod(views: Views, route: str) -> Pod:
    config = views.get(ContainerdConfig)
    handler = config.default_handler if route in ("cri-default", "cri-cdi") else config.handler
    name = config.handler_name if route == "cri-handler" else ""
    by_systemd = bool(handler is not None and handler.systemd_cgroup)
    if route == "cri-cdi":
        return Pod(route, name, "", cdi=cdi_devices(views, route), slice=by_systemd)
    if by_mounts(views, route):
        asked = (("NVIDIA_VISIBLE_DEVICES", _MOUNTS), _CAPABILITIES)
        return Pod(route, name, "", asked, (("/dev/null", f"{_MOUNTS}/all"),), slice=by_systemd)
    return Pod(route, name, "", (("NVIDIA_VISIBLE_DEVICES", "all"), _CAPABILITIES), slice=by_systemd)
