"""The cluster: what the Kubernetes API says, where the user has named a kubeconfig.

The answers are facts of the node that the controller has asked for (`pytest_gpuready.node.kubeapi`).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pytest_gpuready.model import NotApplicable, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.kubeapi import RUNTIME_CLASSES, node_request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

#: What a check says that only the API could answer.
NEEDS_KUBECONFIG = "only the Kubernetes API knows: needs --gpuready-kubeconfig"


class Cluster:
    """RuntimeClasses and one Node. `NotApplicable` without a kubeconfig, `Undetermined` where the API would not say."""

    def __init__(self, views: Views) -> None:
        self.facts = views.facts
        self.asked = bool(views.settings.kubeconfig)

    def _answer(self, request: Request) -> dict[str, Any]:
        fact = self.facts.peek(request)
        if fact is None:
            if not self.asked:
                raise NotApplicable(NEEDS_KUBECONFIG)
            raise Undetermined("the Kubernetes API was not asked", "not-asked")
        text = self.facts.text(request)
        if text is None:
            raise Undetermined(fact.note or "kubectl is not installed where pytest runs", "no-tool")
        if fact.rc:
            raise Undetermined(f"{request}: {one_line(fact.note, 300) or f'exit status {fact.rc}'}")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            raise Undetermined(f"{request}: the answer is no JSON") from None
        if not isinstance(answer, dict):
            raise Undetermined(f"{request}: the answer is no object")
        return answer

    @property
    def runtime_classes(self) -> dict[str, str]:
        """Handler by RuntimeClass."""
        items = self._answer(RUNTIME_CLASSES).get("items")
        if not isinstance(items, list):
            raise Undetermined(f"{RUNTIME_CLASSES}: the answer is no list")
        return handlers(items)

    def _node(self, name: str) -> dict[str, Any]:
        request = node_request(name)
        if request is None:
            raise Undetermined(f"{one_line(name, 80)!r} cannot be a node's name in Kubernetes")
        return self._answer(request)

    def allocatable(self, name: str) -> dict[str, int]:
        """How much of each of NVIDIA's resources the Node of this name offers to pods."""
        said = _member(self._node(name), "status", "allocatable")
        if said is None:
            raise Undetermined("the Node object says nothing of what is allocatable")
        return {
            resource: int(str(count))
            for resource, count in said.items()
            if resource.startswith("nvidia.com/") and re.fullmatch(r"[0-9]{1,9}", str(count))
        }

    def labels(self, name: str) -> dict[str, str]:
        """The labels of the Node of this name."""
        said = _member(self._node(name), "metadata", "labels") or {}
        return {label: str(value) for label, value in said.items()}


def _member(document: dict[str, Any], *keys: str) -> dict[str, Any] | None:
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def handlers(items: Iterable[Any]) -> dict[str, str]:
    """Handler by name of the RuntimeClass objects among `items`; what is none is left out."""
    found = {}
    for item in items:
        if isinstance(item, dict) and item.get("kind", "RuntimeClass") == "RuntimeClass":
            name, handler = (_member(item, "metadata") or {}).get("name"), item.get("handler")
            if isinstance(name, str) and isinstance(handler, str):
                found[name] = handler
    return found
