"""The routes: what each requires, which are offered, and which are required by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import FAMILIES, catalogue
from pytest_gpuready.model import Settings
from pytest_gpuready.routes import ROUTES, by_evidence, offer, offered, refused, required
from pytest_gpuready.views import Views
from tests.support.containerd import V3, config, healthy, k3s
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Callable


def views(node: SimNode, **settings: tuple[str, ...]) -> Views:
    asked = Settings(**settings)  # type: ignore[arg-type]
    return Views(node.facts(asked), asked)


def test_every_required_check_is_one_of_the_catalogue() -> None:
    for release in ("1.6.39", "1.7.24", "2.1.9", "2.3.4"):
        known = views(healthy(SimNode(), release))
        for route in ROUTES.values():
            missing = {name for name in route.requires(known) if name not in catalogue()}
            assert {name for name in missing if name.partition(".")[0] in FAMILIES} == set(), route.id


def test_ctr_gpus_needs_the_cli_up_to_2_2_and_cdi_from_2_3() -> None:
    old = ROUTES["ctr-gpus"].requires(views(healthy(SimNode(), "2.1.9")))
    new = ROUTES["ctr-gpus"].requires(views(healthy(SimNode(), "2.3.4")))
    assert "toolkit.container-cli" in old - new
    assert "cdi.spec-present" in new - old
    assert "containerd.handler" not in old | new


def test_nerdctl_needs_the_cli_below_2_3() -> None:
    for version, name in (("2.0.0", "toolkit.container-cli"), ("2.3.0", "cdi.spec-present")):
        node = (
            healthy(SimNode())
            .program("/usr/bin/nerdctl")
            .answer(("nerdctl", "--version"), f"nerdctl version {version}\n")
        )
        assert name in ROUTES["nerdctl"].requires(views(node))


def test_without_a_version_nothing_is_taken_for_granted() -> None:
    node = healthy(SimNode()).answer(("ctr", "--version"), "", state="timeout")
    assert "toolkit.container-cli" not in ROUTES["ctr-gpus"].requires(views(node))
    assert not refused(views(node), "ctr-gpus")
    assert "ctr-gpus" in offered(views(node))


def test_pods_need_the_handler_and_a_daemon_that_has_loaded_it() -> None:
    known = views(healthy(SimNode()))
    assert {"containerd.handler", "containerd.restarted"} <= ROUTES["cri-handler"].requires(known)
    assert "containerd.default-runtime" in ROUTES["cri-default"].requires(known)
    assert "containerd.handler" not in ROUTES["cri-cdi"].requires(known)


@pytest.mark.parametrize(
    ("mode", "present", "absent"),
    [
        ("legacy", "toolkit.container-cli", "driver.uvm-node"),
        ("cdi", "cdi.spec-present", "toolkit.container-cli"),
        ("csv", "driver.uvm-node", "cdi.spec-present"),
        ("jit-cdi", "driver.uvm-node", "cdi.spec-present"),
    ],
)
def test_the_runtimes_mode_decides_what_it_needs(mode: str, present: str, absent: str) -> None:
    node = healthy(SimNode()).put(
        "/etc/nvidia-container-runtime/config.toml", f'[nvidia-container-runtime]\nmode = "{mode}"\n'
    )
    needed = ROUTES["cri-handler"].requires(views(node))
    assert present in needed
    assert absent not in needed


def test_what_the_versions_offer() -> None:
    old, new = views(healthy(SimNode(), "1.6.39")), views(healthy(SimNode(), "2.1.9"))
    assert offered(old) == ("ctr-gpus", "ctr-runtime", "cri-handler", "cri-default")
    assert offered(new) == ("ctr-gpus", "ctr-runtime", "ctr-cdi", "cri-handler", "cri-default", "cri-cdi")
    assert offer(old, "cri-cdi") == "containerd 1.6.39 has no CDI; it came with 1.7"
    assert offer(views(healthy(SimNode()).remove("/usr/bin/ctr")), "ctr-gpus") == "ctr is not on PATH"


def test_the_users_word_comes_first() -> None:
    node = healthy(SimNode(), "2.1.9")
    assert required(views(node, routes=("nerdctl",))).names == ("nerdctl",)
    every = required(views(node, routes=("all",)))
    assert (every.names, every.mode) == (offered(views(node)), "every")
    some = required(views(node, routes=("any",)))
    assert (some.names, some.mode) == (offered(views(node)), "any")
    named = Settings(routes=("ctr-cdi",), sources={"routes": "pytest.ini"})
    assert required(Views(node.facts(), named)).because == "pytest.ini"


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


@pytest.mark.parametrize(("make", "names", "because"), EVIDENCE)
def test_by_default_evidence_that_is_there_decides(
    make: Callable[[], SimNode], names: tuple[str, ...], because: str
) -> None:
    found = by_evidence(views(make()))
    assert found.names == names
    assert because in found.because
