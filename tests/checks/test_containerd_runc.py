"""runc: on the daemon's PATH, for every route; what the routes through NVIDIA's runtime are content with."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views.toolkit import CONFIG
from tests.support.containerd import healthy, k3s, loaded, says
from tests.support.nodes import ready
from tests.support.simnode import SimNode
from tests.support.toolkit import ask, config, containerd, debian, one, packages, record, toolkit
from tests.support.toolkit import says as toolkit_says


def node(*, path: str = "/usr/sbin:/usr/bin") -> SimNode:
    return containerd(toolkit(debian(SimNode())), path=path)


def test_it_is_found_on_the_daemons_path_for_every_route() -> None:
    for route in ROUTES:
        assert one(node(), "containerd.runc", route).found == "/usr/bin/runc"


def without_toolkit() -> SimNode:
    """A running containerd, and nothing of NVIDIA's toolkit nor runc."""
    return debian(healthy(SimNode())).remove("/usr/bin/runc").remove("/usr/bin/nvidia-container-runtime")


def test_without_it_no_route_is_ready_and_there_is_one_root() -> None:
    """NVIDIA's runtime looks for it too: what it finds is the root, of the routes that are not through it as well."""
    made = toolkit(debian(healthy(SimNode()))).remove("/usr/bin/runc")
    report = made.judge(Settings(routes=("ctr-gpus", "cri-handler")))
    assert report.findings["containerd.runc"].blocked_by == ("toolkit.low-level-runtime",)
    for route in ("ctr-gpus", "cri-handler"):
        assert "toolkit.low-level-runtime" in report.routes[route].roots
        assert "containerd.runc" not in report.routes[route].roots


def test_without_the_toolkit_it_is_a_root_of_its_own() -> None:
    outcome = one(without_toolkit(), "containerd.runc", "ctr-gpus")
    assert outcome.status == "fail"
    assert outcome.remedy is not None
    assert outcome.remedy.commands == ("sudo apt-get update && sudo apt-get install -y runc",)
    assert without_toolkit().judge().findings["toolkit.low-level-runtime"].blocked_by == ("containerd.runc",)


def test_only_absolute_folders_of_the_daemons_path_are_searched() -> None:
    made = node(path="bin:/usr/sbin:/usr/bin").remove("/usr/bin/runc")
    packages(made, "runc 1.1.5-1", owners={})
    config(made, 'runtimes = ["runc", "crun"]', 'runtimes = ["/opt/youki"]').program("/opt/youki")
    outcome = one(made, "containerd.runc", "ctr-gpus")
    assert outcome.found == "runc is not in /usr/sbin, /usr/bin"
    shown = [(item.source, item.text) for item in outcome.evidence]
    assert shown == [("PATH of the daemon", "bin:/usr/sbin:/usr/bin")]


def test_what_nvidias_runtime_lacks_does_not_matter_where_containerd_finds_runc() -> None:
    made = node(path="/opt/x:/usr/bin").remove("/usr/bin/runc").program("/opt/x/runc")
    config(made, 'runtimes = ["runc", "crun"]', 'runtimes = ["crun"]')
    assert one(made, "containerd.runc", "ctr-gpus").found == "/opt/x/runc"


def test_runc_is_a_root_where_the_runtimes_view_is_unknown() -> None:
    made = toolkit(debian(healthy(SimNode()))).remove("/usr/bin/runc").deny(CONFIG)
    assert made.judge().findings["containerd.runc"].status == "fail"


def test_one_that_lies_elsewhere_is_for_nvidias_runtime_to_be_told() -> None:
    made = node(path="/usr/sbin:/usr/bin").remove("/usr/bin/runc").program("/opt/bin/runc")
    answer = ask(made, "containerd.runc")
    assert isinstance(answer, dict)
    assert answer["ctr-gpus"].status == "fail"
    assert "cri-handler" not in answer


def test_a_package_that_lost_its_file_is_installed_anew() -> None:
    made = without_toolkit()
    text = "manager deb\npkg|deb|runc|1.1.5-1|installed|Debian\n"
    made.answer(("packages of the toolkit",), text)
    found = one(made, "containerd.runc", "ctr-gpus").remedy
    assert found is not None
    assert found.commands


def test_routes_through_nvidias_runtime_are_content_with_crun() -> None:
    made = node().remove("/usr/bin/runc").program("/usr/bin/crun")
    assert one(made, "containerd.runc", "cri-handler").status == "pass"
    assert one(made, "containerd.runc", "ctr-gpus").status == "fail"


def looked(
    made: SimNode, shim: str, runc: str = "/usr/bin/runc", said: str = "runc version 1.1.5", rc: int = 0
) -> SimNode:
    return made.answer(("runc and its shim",), f"shim {shim}\nrunc {runc}\n> {said}\nrc {rc}\n")


def test_without_the_shim_no_container_starts() -> None:
    outcome = one(looked(node(), ""), "containerd.runc", "ctr-gpus")
    assert outcome.status == "fail"
    assert outcome.found == "containerd-shim-runc-v2 is not in /usr/sbin:/usr/bin, nor beside containerd"
    assert [(item.source, item.text) for item in outcome.evidence] == [("PATH of the daemon", "/usr/sbin:/usr/bin")]
    assert outcome.remedy is not None
    assert "containerd's own archive" in outcome.remedy.summary


@pytest.mark.parametrize("package", ["containerd", "containerd.io", "moby-containerd"])
def test_the_package_that_brings_the_shim_is_installed_anew(package: str) -> None:
    made = looked(node(), "")
    made.answer(("packages of the toolkit",), f"manager deb\npkg|deb|{package}|1.7.24|installed|Debian\n")
    remedy = one(made, "containerd.runc", "ctr-gpus").remedy
    assert remedy is not None
    assert remedy.commands == (f"sudo apt-get install -y --reinstall {package}",)


@pytest.mark.parametrize("package", ["containerd.io", "moby-runc", "runc"])
def test_the_package_that_brings_a_broken_runc_is_installed_anew(package: str) -> None:
    made = looked(node(), "/usr/bin/containerd-shim-runc-v2", said="Exec format error", rc=126)
    made.answer(("packages of the toolkit",), f"manager deb\npkg|deb|{package}|1.1.5|installed|Debian\n")
    remedy = one(made, "containerd.runc", "ctr-gpus").remedy
    assert remedy is not None
    assert remedy.commands == (f"sudo apt-get install -y --reinstall {package}",)


def test_k3s_brings_a_runc_of_its_own() -> None:
    made = looked(k3s(SimNode()), "/usr/bin/containerd-shim-runc-v2", said="Exec format error", rc=126)
    remedy = one(made, "containerd.runc", "cri-handler").remedy
    assert remedy is not None
    said = "k3s brings its own runc: reinstall it, or install runc beside it."
    assert (remedy.summary, remedy.commands) == (said, ())


def test_k3s_brings_a_shim_of_its_own() -> None:
    made = looked(k3s(SimNode()), "")
    remedy = one(made, "containerd.runc", "cri-handler").remedy
    assert remedy is not None
    assert (remedy.summary, remedy.commands) == ("k3s brings its own containerd-shim-runc-v2: reinstall it.", ())


@pytest.mark.parametrize(("said", "rc"), [("", 0), ("sh: 1: /usr/bin/runc: Exec format error", 126)])
def test_a_runc_that_does_not_run_is_the_root_of_every_route(said: str, rc: int) -> None:
    made = looked(ready(), "/usr/bin/containerd-shim-runc-v2", said=said, rc=rc)
    report = made.judge(Settings(routes=("ctr-gpus", "cri-handler")))
    found = report.findings["containerd.runc"]
    assert found.status == "fail"
    assert str(found.outcome.where) == "/usr/bin/runc"
    assert found.outcome.remedy is not None
    assert "ln -s" not in "".join(found.outcome.remedy.commands)
    for route in ("ctr-gpus", "cri-handler"):
        assert report.routes[route].roots == ("containerd.runc",)


def test_a_broken_runcs_last_line_is_told_and_all_are_evidence() -> None:
    made = looked(ready(), "/usr/bin/containerd-shim-runc-v2", said="sh: 1:\n> Exec format error\n>  ", rc=126)
    outcome = one(made, "containerd.runc", "ctr-gpus")
    assert outcome.found == "/usr/bin/runc --version ends with 126: Exec format error"
    assert [item.source for item in outcome.evidence] == ["/usr/bin/runc --version"]
    assert outcome.evidence[0].text.startswith("sh: 1:\nExec format error")
    silent = looked(ready(), "/usr/bin/containerd-shim-runc-v2", said="")
    assert one(silent, "containerd.runc", "ctr-gpus").found.endswith("ends with 0: it says nothing")


@pytest.mark.parametrize(
    ("runc", "said", "rc"), [("runc version 1.1.5", "could not exec '/usr/bin/runc'", 0), ("", "no such device", 126)]
)
def test_what_nvidias_runtime_says_of_something_else_is_its_own_failure(runc: str, said: str, rc: int) -> None:
    """A runc that runs is not to blame, nor is a broken one of which it says nothing."""
    made = looked(ready(), "/usr/bin/containerd-shim-runc-v2", said=runc, rc=rc)
    toolkit_says(made, record("/usr/bin/nvidia-container-runtime", said, 1))
    found = made.judge().findings["toolkit.runtime-works"]
    assert (found.status, found.blocked_by) == ("fail", ())


def test_what_nvidias_runtime_says_of_a_broken_runc_follows_from_it() -> None:
    made = looked(ready(), "/usr/bin/containerd-shim-runc-v2", said="Exec format error", rc=126)
    program = "/usr/bin/nvidia-container-runtime"
    toolkit_says(made, record(program, "could not exec '/usr/bin/runc': exec format error", 1))
    assert made.judge().findings["toolkit.runtime-works"].blocked_by == ("containerd.runc",)


def test_a_shim_beside_containerd_and_a_runc_that_runs() -> None:
    assert looked(ready(), "/usr/bin/containerd-shim-runc-v2").judge().verdict == "ready"


def test_one_that_lies_elsewhere_is_linked_to_the_daemons_path() -> None:
    made = node(path="/usr/local/bin:/usr/bin").remove("/usr/bin/runc").program("/opt/bin/runc")
    remedy = one(made, "containerd.runc", "ctr-gpus").remedy
    assert remedy is not None
    assert remedy.commands == ("sudo ln -s /opt/bin/runc /usr/local/bin/runc",)


def test_a_link_where_the_daemon_does_not_look_would_not_help() -> None:
    made = node(path="/usr/sbin:/usr/bin").remove("/usr/bin/runc").program("/opt/bin/runc")
    remedy = one(made, "containerd.runc", "ctr-gpus").remedy
    assert remedy is not None
    assert remedy.commands == ("sudo apt-get update && sudo apt-get install -y runc",)


def test_pods_with_cdi_need_what_the_default_handler_starts() -> None:
    made = healthy(SimNode())
    text = made.tree["/etc/containerd/config.toml"].data.decode()
    kind = "runtimes.runc.options]\n"
    made.put("/etc/containerd/config.toml", text.replace(kind, kind + '  BinaryName = "/usr/bin/youki"\n'))
    made = says(made, loaded(made, "1.7.24")).remove("/usr/bin/runc")
    per_route = made.judge().findings["containerd.runc"].per_route
    assert (per_route["cri-cdi"], per_route["ctr-gpus"]) == ("pass", "fail")


def test_pods_with_cdi_need_runc_where_the_default_handler_is_nvidias() -> None:
    made = healthy(SimNode())
    text = made.tree["/etc/containerd/config.toml"].data.decode()
    kind = "runtimes.runc.options]\n"
    named = '  BinaryName = "/usr/bin/nvidia-container-runtime"\n'
    made.put("/etc/containerd/config.toml", text.replace(kind, kind + named)).remove("/usr/bin/runc")
    assert says(made, loaded(made, "1.7.24")).judge().findings["containerd.runc"].per_route.get("cri-cdi") != "pass"
