"""The toolkit's programs where several lie about, where one says little, and where the daemon cannot have it."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Consequence
from pytest_gpuready.views.toolkit import CONFIG, OPERATOR_CONFIG
from tests.checks.test_toolkit import healthy, operators
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    DEFAULT_CONFIG,
    NAMES,
    ask,
    config,
    containerd,
    debian,
    one,
    packages,
    record,
    says,
    words,
)

RUNTIME = "/usr/bin/nvidia-container-runtime"
MINE = "/opt/nv/nvidia-container-runtime"
WORKS = "toolkit.runtime-works"
LOW_LEVEL = "toolkit.low-level-runtime"
ARM = b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0"


def named(node: SimNode, path: str) -> SimNode:
    """The handler names the runtime at another path."""
    return config(node, RUNTIME, path, path="/etc/containerd/config.toml")


def statuses(node: SimNode, check_id: str) -> dict[str, str]:
    answer = ask(node, check_id)
    assert isinstance(answer, dict)
    return {route: outcome.status for route, outcome in answer.items()}


# ---------------------------------------------------------------------- installed, versions-match


def test_where_there_is_no_package_manager_nothing_is_said_of_packages() -> None:
    node = healthy().answer(("packages of the toolkit",), "")
    assert one(node, "toolkit.installed").found == RUNTIME


def test_of_two_toolkits_without_packages_the_handlers_own_is_judged_where_it_is_there() -> None:
    node = named(packages(healthy(), owners={}), MINE)
    usual = [record(f"/usr/bin/{name}", words(name)) for name in NAMES]
    says(node, *usual, record(MINE, words("nvidia-container-runtime", "1.17.8")))
    assert one(node, "toolkit.versions-match").found.startswith("nvidia-container-runtime 1.18.2, ")
    node.program(MINE)
    assert one(node, "toolkit.versions-match").found == "nvidia-container-runtime 1.17.8 (of no package)"


def test_a_program_that_tells_no_version_is_not_compared() -> None:
    node = packages(healthy(), owners={})
    said = [record(f"/usr/bin/{name}", "odd" if name == "nvidia-ctk" else words(name)) for name in NAMES]
    found = one(says(node, *said), "toolkit.versions-match")
    assert found.status == "pass"
    assert "nvidia-ctk" not in found.found


# ---------------------------------------------------------------------- runtime-works


def test_a_runtime_that_the_daemon_cannot_execute_either_is_the_handlers_root_and_others_own() -> None:
    node = says(healthy().put(RUNTIME, ARM, mode=0o755), record(RUNTIME, "Exec format error", 126))
    pods = one(node, WORKS, "cri-handler")
    assert (pods.status, pods.found) == (
        "not-applicable",
        "the daemon cannot execute it: containerd.handler-binary says why",
    )
    assert one(node, WORKS, "ctr-runtime").status == "fail"


def test_a_runtime_that_runs_here_passes_though_the_daemon_does_not_see_it() -> None:
    node = healthy()
    node.procs[0].mntns = "mnt:[1]"
    assert one(node, WORKS).status == "pass"


def test_one_that_is_not_there_is_told_from_one_that_nobody_ran() -> None:
    gone = one(named(healthy(), MINE), WORKS, "cri-handler")
    assert (gone.status, gone.found) == ("not-applicable", f"{MINE} is not there")
    node = healthy().remove(RUNTIME).program("/usr/local/bin/nvidia-container-runtime")
    quiet = one(says(node.put("/etc/containerd/config.toml", "version = 3\n")), WORKS)
    assert quiet.status == "unknown"
    assert quiet.found == "/usr/local/bin/nvidia-container-runtime --version was not run"


def test_where_there_is_none_that_is_no_fault_of_a_program() -> None:
    with pytest.raises(Consequence, match=r"toolkit\.installed"):
        ask(packages(containerd(debian(SimNode())), owners={}), WORKS)


def test_the_first_line_that_is_not_blank_is_its_word() -> None:
    node = says(healthy(), record(RUNTIME, " \n" + words("nvidia-container-runtime")))
    assert one(node, WORKS).found == f"{RUNTIME}: NVIDIA Container Runtime version 1.18.2"


# ---------------------------------------------------------------------- low-level-runtime


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_either_low_level_runtime_is_one_without_the_toolkit_too(name: str) -> None:
    node = packages(containerd(debian(SimNode())), owners={}).program(f"/usr/bin/{name}")
    assert one(node, LOW_LEVEL).found == f"/usr/bin/{name} (of runc, crun)"


def test_without_any_runc_every_route_is_judged_and_with_one_those_of_nvidias_runtime() -> None:
    node = operators().program(RUNTIME).put(CONFIG, DEFAULT_CONFIG)
    config(node, 'runtimes = ["runc", "crun"]', 'runtimes = ["youki"]', path=OPERATOR_CONFIG)
    assert statuses(node, LOW_LEVEL) == {"ctr-runtime": "pass", "cri-handler": "fail", "cri-default": "pass"}
    found = statuses(node.remove("/usr/bin/runc").program("/usr/bin/youki"), LOW_LEVEL)
    assert {route for route, status in found.items() if status == "pass"} == {"cri-handler", "cri-cdi"}
    assert {route for route, status in found.items() if status == "fail"} == {
        "ctr-gpus",
        "ctr-runtime",
        "ctr-cdi",
        "cri-default",
        "nerdctl",
    }
