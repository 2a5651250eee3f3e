"""What a route requires, by its client's version and the toolkit's mode: what each adds to an unknown one.

What a route requires beside that is shown by faults: see tests/checks/test_roots.py.
"""

from __future__ import annotations

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.model import Settings
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views import Views
from tests.support import nodes, toolkit

CLI = {"toolkit.container-cli"}
UVM = {"driver.uvm-node"}
#: All that is judged of CDI specs.
SPEC = UVM | {check.id for check in catalogue().values() if check.family == "cdi" and not check.advisory}

#: A mode of the toolkit, and what a container needs that its runtime starts so.
MODES = {"legacy": CLI, "cdi": SPEC, "jit-cdi": UVM, "csv": UVM}


def required(route: str, *, ctr: str = "?", nerdctl: str = "?", mode: str = "?") -> frozenset[str]:
    """Return what a route requires on a node with these clients and this mode."""
    node = toolkit.config(nodes.ready(), 'mode = "auto"', f'mode = "{mode}"').program("/usr/bin/nerdctl")
    node.answer(("ctr", "--version"), f"ctr github.com/containerd/containerd/v2 v{ctr}\n")
    node.answer(("nerdctl", "--version"), f"nerdctl version {nerdctl}\n")
    return ROUTES[route].requires(Views(node.facts(), Settings()))


@pytest.mark.parametrize(
    ("route", "said", "more"),
    [
        ("ctr-gpus", {"ctr": "1.7.24"}, CLI),
        ("ctr-gpus", {"ctr": "2.2.9"}, CLI),
        ("ctr-gpus", {"ctr": "2.3.0"}, SPEC),
        ("ctr-gpus", {"mode": "legacy"}, set()),
        ("nerdctl", {"nerdctl": "2.0.0"}, CLI | {"containerd.ctr"}),
        ("nerdctl", {"nerdctl": "2.3.0"}, SPEC),
        ("ctr-cdi", {"ctr": "2.3.0", "mode": "legacy"}, set()),
        ("cri-cdi", {"ctr": "2.3.0", "mode": "legacy"}, set()),
        *[
            (route, {"mode": mode}, more)
            for route in ("ctr-runtime", "cri-handler", "cri-default")
            for mode, more in MODES.items()
        ],
    ],
)
def test_versions_and_modes_add_to_what_an_unknown_one_requires(
    route: str, said: dict[str, str], more: set[str]
) -> None:
    unknown = required(route)
    assert not unknown & more
    assert required(route, **said) == unknown | more


@pytest.mark.parametrize("route", ROUTES)
def test_every_required_check_is_one_of_the_catalogue(route: str) -> None:
    for mode in MODES:
        for version in ("1.6.39", "2.3.4"):
            assert required(route, ctr=version, nerdctl=version, mode=mode) <= set(catalogue())
