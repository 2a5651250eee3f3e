"""Views: typed knowledge worked out of a node's facts by pure functions.

A view says what it asks of the node (`requests`, given what is known so far), and reads the answers lazily: a property
raises `Undetermined`, `NotApplicable` or `Denied` rather than take "not known" for "no". The table `VIEWS` gives each
its name: the parameter of a check, and the fixture of a test.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, TypeVar, cast

from pytest_gpuready import budget
from pytest_gpuready.model import Denied, NotApplicable, Settings, Undetermined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_gpuready.node.facts import Facts, Request

#: Name of each view, and where its class is; imported when first asked for.
VIEWS: dict[str, str] = {
    "platform": "pytest_gpuready.views.platform:Platform",
    "containerd_live": "pytest_gpuready.views.containerd_live:ContainerdLive",
    "containerd_config": "pytest_gpuready.views.containerd_config:ContainerdConfig",
    "handler_binary": "pytest_gpuready.views.handler_binary:HandlerBinary",
    "ctr": "pytest_gpuready.views.ctr:Ctr",
    "toolkit": "pytest_gpuready.views.toolkit:Toolkit",
    "cdi": "pytest_gpuready.views.cdi:Cdi",
    "driver": "pytest_gpuready.views.driver:Driver",
    "nvml": "pytest_gpuready.views.nvml:Nvml",
    "kubernetes": "pytest_gpuready.views.kubernetes:Kubernetes",
    "live": "pytest_gpuready.views.live:Live",
}

V = TypeVar("V", bound="View")


class View:
    """Base of all views. `views` gives the others, `facts` the node's answers, `views.settings` what the user asked."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.facts = views.facts

    @classmethod
    def requests(cls, views: Views) -> Iterable[Request]:
        """What this view asks, given the facts so far; asked again after each round, so it may grow."""
        del views
        raise TypeError(f"{cls.__name__} says nothing of what it asks")


def view_class(name: str) -> type[View]:
    """The class of a view by its name in `VIEWS`."""
    module, _, attribute = VIEWS[name].partition(":")
    return cast("type[View]", getattr(importlib.import_module(module), attribute))


class Views:
    """All views of one node, made when first asked for and made anew when facts were added."""

    def __init__(self, facts: Facts, settings: Settings | None = None) -> None:
        self.facts = facts
        self.settings = settings or Settings()
        self._made: dict[type[View], View] = {}
        self._generation = facts.generation

    def get(self, kind: type[V]) -> V:
        """The view of this class."""
        if self._generation != self.facts.generation:
            self._made.clear()
            self._generation = self.facts.generation
        if kind not in self._made:
            self._made[kind] = kind(self)
        return cast("V", self._made[kind])

    def named(self, name: str) -> View:
        """The view of this name."""
        return self.get(view_class(name))

    def wants(self) -> Iterator[Request]:
        """Everything all views ask, given the facts so far; of a snapshot what its release could ask."""
        with budget.limited():
            wanted = [request for name in VIEWS for request in settled(view_class(name).requests(self))]
        yield from filter(self.facts.knows, wanted)


def settled(requests: Iterable[Request]) -> Iterator[Request]:
    """The requests up to where a view needs to know more first."""
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        yield from requests
