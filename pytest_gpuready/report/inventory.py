"""The inventory: the versions and GPUs that a report shows beside its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_gpuready.node.clean import one_line
from pytest_gpuready.views import VIEWS

if TYPE_CHECKING:
    from pytest_gpuready.views import Views

#: Key of the inventory → the view and its attribute that say it, in the order of the report.
SOURCES: dict[str, tuple[str, str]] = {
    "containerd": ("containerd_live", "disk_version_text"),
    "ctr": ("ctr", "version_text"),
    "driver": ("driver", "module_version"),
    "toolkit": ("toolkit", "version_text"),
    "os": ("platform", "os_name"),
    "kernel": ("platform", "kernel"),
}

#: The keys, in the order of the report.
KEYS: tuple[str, ...] = (*SOURCES, "gpus")


def inventory(views: Views) -> dict[str, object]:
    """A text per key of `SOURCES`, and `gpus`: a list of {name, uuid}. What cannot be known is None."""
    found: dict[str, object] = {key: _text(_said(views, *source)) for key, source in SOURCES.items()}
    devices = _said(views, "nvml", "devices")
    found["gpus"] = None if devices is None else [_gpu(device) for device in devices]
    return found


def _said(views: Views, view: str, attribute: str) -> Any:
    """What the view says; None if there is no such view, or it cannot or may not say.

    Any error of ours counts as "not known" too: an inventory only accompanies the verdict and must not cost it. The
    checks read the same attributes, and there the error is shown with its place.
    """
    if view not in VIEWS:
        return None
    try:
        return getattr(views.named(view), attribute, None)
    except Exception:  # noqa: BLE001 - see above
        return None


def _gpu(device: object) -> dict[str, str | None]:
    return {key: _text(getattr(device, key, None)) for key in ("name", "uuid")}


def _text(value: object) -> str | None:
    """A node's word as text for a report; nothing said is None."""
    return one_line(str(value), 200) or None if value is not None else None
