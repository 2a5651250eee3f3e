"""The routes: which a node offers, and which are required by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings, Undetermined
from pytest_gpuready.routes import by_evidence, offer, offered, refused, required
from pytest_gpuready.views import Views
from pytest_gpuready.views.toolkit import OPERATOR_ROOT
from pytest_gpuready.views.toolkit_probe import INSTALLER
from tests.support import nodes
from tests.support.containerd import CONFIG, V3, config, healthy, k3s
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Callable

EVIDENCE: list[tuple[Callable[[], SimNode], tuple[str, ...], str]] = [
    (lambda: healthy(SimNode()).put("/etc/os-release", "ID=cos\n"), (), "Container-Optimized OS"),
    (lambda: healthy(SimNode()).put("/etc/os-release", "ID=nixos\n"), ("ctr-cdi",), "NixOS"),
    (lambda: healthy(SimNode()).folder("/run/nvidia/driver"), ("cri-handler",), "/run/nvidia/driver is there"),
    (lambda: k3s(SimNode()), ("cri-handler",), "k3s runs its own containerd"),
    (
        lambda: healthy(
            SimNode(), "2.1.9", text=config("2.1.9") + f'[{V3}.containerd]\ndefault_runtime_name = "nvidia"\n'
        ),
        ("ctr-gpus", "cri-default"),
        "the default handler nvidia runs the NVIDIA runtime",
    ),
    (lambda: healthy(SimNode()), ("ctr-gpus", "cri-handler"), "no evidence of another set-up"),
    (SimNode, ("ctr-gpus", "cri-handler"), "no evidence of another set-up"),
]


def views(node: SimNode, **settings: tuple[str, ...]) -> Views:
    asked = Settings(**settings)  # type: ignore[arg-type]
    return Views(node.facts(asked), asked)


def nerdctl(version: str | None) -> SimNode:
    node = nodes.ready().program("/usr/bin/nerdctl")
    return node if version is None else node.answer(("nerdctl", "--version"), f"nerdctl version {version}\n")


# ---------------------------------------------------------------------- offered


def test_what_the_versions_offer() -> None:
    old, new = views(healthy(SimNode(), "1.6.39")), views(healthy(SimNode(), "2.1.9"))
    assert offered(old) == ("ctr-gpus", "ctr-runtime", "cri-handler", "cri-default")
    assert offered(new) == ("ctr-gpus", "ctr-runtime", "ctr-cdi", "cri-handler", "cri-default", "cri-cdi")
    assert offer(old, "cri-cdi") == "containerd 1.6.39 has no CDI; it came with 1.7"
    assert offer(views(healthy(SimNode()).remove("/usr/bin/ctr")), "ctr-gpus") == "ctr is not on PATH"


@pytest.mark.parametrize("route", ["ctr-gpus", "ctr-runtime", "ctr-cdi"])
def test_without_ctr_none_of_its_routes_is_offered(route: str) -> None:
    assert offer(views(healthy(SimNode(), "2.1.9").remove("/usr/bin/ctr")), route) == "ctr is not on PATH"


def test_cdi_by_ctr_came_with_2_0() -> None:
    assert offer(views(healthy(SimNode(), "1.7.24")), "ctr-cdi") == (
        "ctr 1.7.24 takes --device for a path; CDI names need ctr 2.0"
    )
    assert offer(views(healthy(SimNode(), "2.0.0")), "ctr-cdi") is None
    assert offer(views(healthy(SimNode(), "1.7.24")), "ctr-gpus") is None


def test_a_route_of_unknown_version_is_offered() -> None:
    node = healthy(SimNode()).answer(("ctr", "--version"), "", state="timeout")
    assert not refused(views(node), "ctr-gpus")
    assert "ctr-gpus" in offered(views(node))


def test_nerdctl_is_offered_where_it_is_there_and_tells_its_version() -> None:
    assert offer(views(nodes.ready()), "nerdctl") == "nerdctl is not on PATH"
    assert offer(views(nerdctl("2.0.0")), "nerdctl") is None
    with pytest.raises(Undetermined):
        offer(views(nerdctl(None)), "nerdctl")
    assert not refused(views(nerdctl(None)), "nerdctl")
    with pytest.raises(Undetermined):
        offer(views(healthy(SimNode()).answer(("ctr", "--version"), "?\n")), "ctr-gpus")
    assert offer(views(healthy(SimNode()).answer(("ctr", "--version"), "?\n")), "ctr-runtime") is None


def test_pods_with_cdi_came_with_containerd_1_7() -> None:
    assert offer(views(healthy(SimNode(), "1.7.0")), "cri-cdi") is None
    assert refused(views(healthy(SimNode(), "1.6.39")), "cri-cdi")
    assert not refused(views(healthy(SimNode(), "1.6.39")), "cri-handler")
    assert "cri-cdi" not in offered(views(healthy(SimNode(), "1.6.39")))


# ---------------------------------------------------------------------- asked for


def test_the_users_word_comes_first() -> None:
    node = healthy(SimNode(), "2.1.9")
    assert required(views(node, routes=("nerdctl",))).names == ("nerdctl",)
    every = required(views(node, routes=("all",)))
    assert (every.names, every.mode) == (offered(views(node)), "every")
    some = required(views(node, routes=("any",)))
    assert (some.names, some.mode) == (offered(views(node)), "any")
    named = Settings(routes=("ctr-cdi",), sources={"routes": "pytest.ini"})
    assert required(Views(node.facts(), named)).because == "pytest.ini"


def test_what_the_user_says_is_told_by_where_it_was_said() -> None:
    node = healthy(SimNode(), "2.1.9")
    assert required(views(node, routes=("nerdctl",))).because == "--gpuready-routes"
    assert "all" in required(views(node, routes=("all",))).because
    assert "any" in required(views(node, routes=("any",))).because
    assert required(views(node)).names == ("ctr-gpus", "cri-handler")


# ---------------------------------------------------------------------- by evidence


@pytest.mark.parametrize(("make", "names", "because"), EVIDENCE)
def test_by_default_evidence_that_is_there_decides(
    make: Callable[[], SimNode], names: tuple[str, ...], because: str
) -> None:
    found = by_evidence(views(make()))
    assert found.names == names
    assert because in found.because


@pytest.mark.parametrize("path", ["/usr/local/nvidia/toolkit", "/run/nvidia/driver"])
def test_each_folder_of_the_operators_is_evidence(path: str) -> None:
    found = by_evidence(views(healthy(SimNode()).folder(path)))
    assert (found.names, found.because) == (("cri-handler",), f"{path} is there: the GPU operator's layout")
    assert found.mode == "every"


def test_what_cannot_be_told_is_passed_over() -> None:
    node = k3s(SimNode()).answer(lambda request: request.arg == ("/etc/os-release",), state="timeout")
    assert by_evidence(views(node)).names == ("cri-handler",)


def test_a_default_handler_that_runs_runc_is_no_evidence() -> None:
    assert by_evidence(views(healthy(SimNode(), text=config("1.7.24")))).names == ("ctr-gpus", "cri-handler")
    assert by_evidence(views(healthy(SimNode(), text="version = 2\n"))).names == ("ctr-gpus", "cri-handler")


def test_a_default_that_is_no_handler_is_no_evidence() -> None:
    node = healthy(SimNode(), "2.1.9")
    node.put(CONFIG, config("2.1.9") + f'[{V3}.containerd]\n  default_runtime_name = "no"\n')
    assert by_evidence(views(node)).names == ("ctr-gpus", "cri-handler")
    off = 'version = 3\ndisabled_plugins = ["io.containerd.cri.v1.runtime"]\n'
    assert by_evidence(views(healthy(SimNode(), "2.1.9", text=off))).names == ("ctr-gpus", "cri-handler")


@pytest.mark.parametrize(("said", "names"), [("true", ("cri-cdi",)), ("1", ("cri-cdi",)), ("false", ("cri-handler",))])
def test_an_operator_that_serves_by_nri_asks_for_pods_by_cdi(said: str, names: tuple[str, ...]) -> None:
    node = nodes.ready().folder(OPERATOR_ROOT).answer(INSTALLER.arg, f"ENABLE_NRI_PLUGIN={said}\n")
    assert by_evidence(Views(node.facts(), Settings())).names == names
