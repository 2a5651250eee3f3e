"""Views: typed knowledge worked out of a node's facts by pure functions.

A view says what it asks of the node (`requests`, given what is known so far), and reads the answers lazily: a property
raises `Undetermined`, `NotApplicable` or `Denied` rather than take "not known" for "no". A view's name is its property
of `Views`, the parameter of a check, and the fixture of a test.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar, cast

from pytest_gpuready import budget
from pytest_gpuready.model import Denied, NotApplicable, Settings, Undetermined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_gpuready.node.facts import Facts, Request
    from pytest_gpuready.views.cdi import Cdi
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.ctr import Ctr
    from pytest_gpuready.views.driver import Driver
    from pytest_gpuready.views.handler_binary import HandlerBinary
    from pytest_gpuready.views.kubernetes import Kubernetes
    from pytest_gpuready.views.live import Live
    from pytest_gpuready.views.nvml import Nvml
    from pytest_gpuready.views.platform import Platform
    from pytest_gpuready.views.toolkit import Toolkit

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


class Views:
    """All views of one node: made when first asked for, and again after facts were added. Each property is a view."""

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

    @property
    def platform(self) -> Platform:
        """Distribution, package manager, kernel, programs, processes and services."""
        from pytest_gpuready.views.platform import Platform

        return self.get(Platform)

    @property
    def containerd_live(self) -> ContainerdLive:
        """The running containerd: pid, start, version, CRI status."""
        from pytest_gpuready.views.containerd_live import ContainerdLive

        return self.get(ContainerdLive)

    @property
    def containerd_config(self) -> ContainerdConfig:
        """The configuration of containerd on disk, as this node's containerd reads it."""
        from pytest_gpuready.views.containerd_config import ContainerdConfig

        return self.get(ContainerdConfig)

    @property
    def handler_binary(self) -> HandlerBinary:
        """The program that the checked handler starts."""
        from pytest_gpuready.views.handler_binary import HandlerBinary

        return self.get(HandlerBinary)

    @property
    def ctr(self) -> Ctr:
        """The clients ctr and nerdctl."""
        from pytest_gpuready.views.ctr import Ctr

        return self.get(Ctr)

    @property
    def toolkit(self) -> Toolkit:
        """The NVIDIA Container Toolkit: programs, packages, configuration, mode."""
        from pytest_gpuready.views.toolkit import Toolkit

        return self.get(Toolkit)

    @property
    def cdi(self) -> Cdi:
        """The CDI specs and the programs that read them."""
        from pytest_gpuready.views.cdi import Cdi

        return self.get(Cdi)

    @property
    def driver(self) -> Driver:
        """The NVIDIA driver: GPUs on the bus, kernel module, libraries, device nodes."""
        from pytest_gpuready.views.driver import Driver

        return self.get(Driver)

    @property
    def nvml(self) -> Nvml:
        """NVML's answer: GPUs with names, UUIDs, memory, MIG."""
        from pytest_gpuready.views.nvml import Nvml

        return self.get(Nvml)

    @property
    def kubernetes(self) -> Kubernetes:
        """The kubelet, the RuntimeClass, and what pods may request."""
        from pytest_gpuready.views.kubernetes import Kubernetes

        return self.get(Kubernetes)

    @property
    def live(self) -> Live:
        """The containers that were run on the node."""
        from pytest_gpuready.views.live import Live

        return self.get(Live)

    def named(self, name: str) -> View:
        """Return the view of this name, one of `VIEWS`."""
        view: View = getattr(self, name)
        return view

    def wants(self) -> Iterator[Request]:
        """Everything all views ask, given the facts so far; of a snapshot what its release could ask."""
        with budget.limited():
            wanted = [request for name in VIEWS for request in settled(self.named(name).requests(self))]
        yield from filter(self.facts.knows, wanted)


#: The names of all views, in the order in which nodes are asked.
VIEWS: tuple[str, ...] = tuple(name for name, member in vars(Views).items() if isinstance(member, property))


def settled(requests: Iterable[Request]) -> Iterator[Request]:
    """The requests up to where a view needs to know more first."""
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        yield from requests
