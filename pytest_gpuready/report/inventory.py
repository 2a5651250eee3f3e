"""The inventory: the versions and GPUs that a report shows beside its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pytest_gpuready.node.clean import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.views import Views

T = TypeVar("T")

#: Key of the inventory → what says it, in the order of the report.
SOURCES: dict[str, Callable[[Views], str | None]] = {
    "containerd": lambda views: views.containerd_live.disk_version_text,
    "ctr": lambda views: views.ctr.version_text,
    "driver": lambda views: views.driver.module_version,
    "toolkit": lambda views: views.toolkit.version_text,
    "os": lambda views: views.platform.os_name,
    "kernel": lambda views: views.platform.kernel,
}

#: The keys, in the order of the report.
KEYS: tuple[str, ...] = (*SOURCES, "gpus")


def inventory(views: Views) -> dict[str, object]:
    """A text per key of `SOURCES`, and `gpus`: a list of {name, uuid}. What cannot be known is None."""
    found: dict[str, object] = {key: _text(_said(source, views)) for key, source in SOURCES.items()}
    devices = _said(lambda views: views.nvml.devices, views)
    found["gpus"] = (
        None if devices is None else [{"name": _text(device.name), "uuid": _text(device.uuid)} for device in devices]
    )
    return found


def _said(source: Callable[[Views], T], views: Views) -> T | None:
    """Return what a view says; None if it is unknown or unreadable.

    Any error of ours counts as "not known" too: an inventory only accompanies the verdict and must not cost it. The
    checks read the same attributes, and there the error is shown with its place.
    """
    try:
        return source(views)
    except Exception:  # noqa: BLE001 - see above
        return None


def _text(value: str | None) -> str | None:
    """A node's word as text for a report; nothing said is None."""
    return one_line(value, 200) or None if value is not None else None
