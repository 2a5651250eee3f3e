"""ctr and nerdctl: on PATH, of a version that gives GPUs, and the routes that they offer."""

from __future__ import annotations

from pytest_gpuready.model import Settings
from tests.support.containerd import commands, finding, healthy, outcome
from tests.support.simnode import SimNode


def test_ctr_off_path_is_found_and_path_extended() -> None:
    node = healthy(SimNode())
    node.remove("/usr/bin/ctr").program("/var/lib/k0s/bin/ctr")
    assert outcome(node, "ctr").found == "ctr is not on PATH, but at /var/lib/k0s/bin/ctr"
    assert commands(node, "ctr") == ('export PATH="$PATH":/var/lib/k0s/bin',)
    assert finding(node.remove("/var/lib/k0s/bin/ctr"), "ctr").status == "fail"


def test_up_to_ctr_2_2_the_program_containerd_must_be_on_path() -> None:
    node = healthy(SimNode(), "2.1.9").remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    node.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    assert finding(node, "ctr").per_route["ctr-gpus"] == "fail"
    assert finding(node, "ctr").per_route["nerdctl"] == "fail"
    assert finding(node, "ctr").per_route["ctr-runtime"] == "pass"
    node.answer(("ctr", "--version"), "ctr github.com/containerd/containerd/v2 v2.3.4\n")
    assert finding(node, "ctr").per_route["ctr-gpus"] == "pass"


def test_a_route_that_the_versions_do_not_offer_is_refused() -> None:
    settings = Settings(routes=("ctr-cdi", "cri-cdi", "nerdctl"))
    report = healthy(SimNode(), "1.6.39").judge(settings)
    found = report.findings["containerd.supports-route"]
    assert {route for route, status in found.per_route.items() if status == "fail"} == {"ctr-cdi", "cri-cdi", "nerdctl"}
    assert found.keeps == ("ctr-cdi", "cri-cdi", "nerdctl")


def test_a_ctr_that_does_not_tell_its_version_leaves_gpus_unknown() -> None:
    node = healthy(SimNode()).answer(("ctr", "--version"), "", state="timeout")
    report = node.judge()
    assert report.findings["containerd.supports-route"].per_route["ctr-gpus"] == "unknown"
    assert report.findings["containerd.ctr"].status == "pass"
    assert report.routes["ctr-gpus"].verdict != "ready"


def test_ctr_says_which_it_is_and_which_version_where_that_is_known() -> None:
    assert outcome(healthy(SimNode()), "ctr").found == "/usr/bin/ctr 1.7.24"
    silent = healthy(SimNode()).answer(("ctr", "--version"), "", state="timeout")
    assert outcome(silent, "ctr").found == "/usr/bin/ctr"


def test_without_ctr_its_routes_fail_and_no_other() -> None:
    node = healthy(SimNode()).remove("/usr/bin/ctr")
    found = finding(node, "ctr")
    assert found.per_route == {"ctr-gpus": "fail", "ctr-runtime": "fail", "ctr-cdi": "fail"} | dict.fromkeys(
        ("cri-handler", "cri-default", "cri-cdi", "nerdctl"), "not-applicable"
    )
    assert found.outcome.found == "ctr is not on PATH"
    node.remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    assert outcome(node, "ctr").found == "ctr is not on PATH"
    offered = finding(node, "supports-route").per_route
    assert {route: offered[route] for route in ("ctr-gpus", "ctr-runtime", "ctr-cdi")} == dict.fromkeys(
        ("ctr-gpus", "ctr-runtime", "ctr-cdi"), "not-applicable"
    )


def test_clients_without_hooks_need_no_containerd_on_path() -> None:
    node = healthy(SimNode(), "2.3.4").remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    node.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.3.0\n")
    per_route = finding(node, "ctr").per_route
    assert (per_route["ctr-gpus"], per_route["nerdctl"]) == ("pass", "not-applicable")
    bare = healthy(SimNode(), "2.3.4").remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    assert finding(bare, "ctr").per_route["nerdctl"] == "not-applicable"
    node.answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    assert finding(node, "ctr").per_route["nerdctl"] == "fail"
    assert commands(node, "ctr", Settings(routes=("nerdctl",))) == ('export PATH="$PATH":/var/lib/k0s/bin',)


def test_a_route_that_is_not_offered_says_what_to_use() -> None:
    settings = Settings(routes=("nerdctl",))
    found = outcome(healthy(SimNode()), "supports-route", settings)
    assert (found.found, found.expected) == ("nerdctl is not on PATH", "a version that offers nerdctl")
    assert found.remedy is not None
    assert found.remedy.summary
