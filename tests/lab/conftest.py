"""Fixtures: nodes to test against. Without root or nspawn, tests that ask for one are skipped, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import base
from tests.lab.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    NewNode = Callable[..., Node]


class Lab:
    """All nodes of a test run."""

    def __init__(self) -> None:
        self._shared: dict[str, Node] = {}
        self._changed: set[str] = set()

    def shared(self, generation: str, *, changes: bool, distribution: str = "debian") -> Node:
        """Return the run's node of this generation, as it is after a boot; say whether it will be changed."""
        key = f"{distribution} {generation}"
        if key not in self._shared:
            self._shared[key] = start(generation, distribution=distribution)
        elif key in self._changed:
            self._changed.discard(key)
            self._shared[key].reset()
        if changes:
            self._changed.add(key)
        return self._shared[key]

    def stop(self) -> None:
        """End the shared nodes."""
        for node in self._shared.values():
            node.stop()


def start(generation: str, *, ready: bool = True, hostname: str = "", distribution: str = "debian") -> Node:
    """Start a node, or skip the test where this generation cannot be had."""
    try:
        return Node(generation, ready=ready, hostname=hostname, distribution=distribution).start()
    except base.Unavailable as reason:
        pytest.skip(f"containerd {generation}: {reason}")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """All nodes of the run; ended with it."""
    if reason := base.why_not():
        pytest.skip(reason)
    nodes = Lab()
    yield nodes
    nodes.stop()


@pytest.fixture(scope="session", params=list(base.GENERATIONS))
def generation(request: pytest.FixtureRequest) -> str:
    """Each generation of containerd in turn.

    For one: ``@pytest.mark.parametrize("generation", ["2.x"], indirect=True)``.
    """
    return str(request.param)


@pytest.fixture
def lab_node(lab: Lab, generation: str) -> Node:
    """A healthy node, for a test that may change it: it is reset before the next test sees it."""
    return lab.shared(generation, changes=True)


@pytest.fixture
def healthy_node(lab: Lab, generation: str) -> Node:
    """A healthy node, for a test that only looks: shared without a reset."""
    return lab.shared(generation, changes=False)


@pytest.fixture
def new_node(lab: Lab) -> Iterator[NewNode]:
    """A factory for nodes of the test's own: ``new_node("2.x", ready=False)``; they end with the test."""
    assert lab
    made: list[Node] = []

    def make(generation: str, *, ready: bool = True, hostname: str = "", distribution: str = "debian") -> Node:
        made.append(start(generation, ready=ready, hostname=hostname, distribution=distribution))
        return made[-1]

    yield make
    for node in made:
        node.stop()
