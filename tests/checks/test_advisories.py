"""Known vulnerabilities: whose builds are judged by their numbers, what is asked of others, and what mends them."""

from __future__ import annotations

import pytest

from pytest_gpuready.advisories import DATE
from tests.support.containerd import k3s
from tests.support.simnode import SimNode
from tests.support.toolkit import FAMILY, containerd, debian, fedora, one, packages, toolkit

TOOLKIT, CONTAINERD = "toolkit.not-vulnerable", "containerd.not-vulnerable"


def toolkits(version: str = "1.17.7") -> SimNode:
    return containerd(toolkit(debian(SimNode()), version))


def daemons(version: str, words: str = "", path: str = "/usr/bin/containerd") -> SimNode:
    """A node whose containerd says that it is this, of no package."""
    node = packages(containerd(toolkit(debian(SimNode())), version), owners={})
    node.answer((path, "--version"), f"containerd {words or f'github.com/containerd/containerd v{version}'} abc\n")
    return node.answer(
        ("containerd", "--version"), f"containerd {words or f'github.com/containerd/containerd v{version}'} abc\n"
    )


def test_only_the_toolkits_own_packages_are_upgraded_and_where_there_are_none_it_is_installed() -> None:
    node = packages(toolkits(), *[f"{name} 1.17.7-1" for name in FAMILY], "containerd.io 1.7.34-1")
    found = one(node, TOOLKIT).remedy
    assert found is not None
    assert found.summary == f"Bring {', '.join(FAMILY)} up to date."
    loose = one(packages(toolkits(), owners={}), TOOLKIT).remedy
    assert loose is not None
    assert loose.summary.startswith("Install nvidia-container-toolkit")


def test_a_distributions_build_that_is_new_enough_is_not_asked_about() -> None:
    node = packages(toolkits("1.18.2"), *[f"{name} 1.18.2-3" for name in FAMILY], vendor="Somebody")
    found = one(node, TOOLKIT)
    assert (found.status, found.found) == ("pass", f"toolkit 1.18.2: nothing known against it on {DATE}")
    node = daemons("1.7.34")
    packages(node, "containerd 1.7.34~ds1-1", vendor="Debian Go", owners={"/usr/bin/containerd": "containerd"})
    assert one(node, CONTAINERD).status == "pass"


def test_where_neither_apt_nor_rpm_is_the_distributions_tracker_is_asked() -> None:
    node = packages(toolkits(), *[f"{name} 1.17.7-3" for name in FAMILY], manager="pacman", vendor="Arch Linux")
    assert one(node, TOOLKIT).found == (
        "nvidia-container-toolkit-base 1.17.7-3 is the distribution's own build, which may have fixes that its number "
        "does not show: the security tracker of the distribution, for nvidia-container-toolkit-base"
    )


@pytest.mark.parametrize(("version", "status"), [("1.7.24", "not-applicable"), ("1.7.34", "pass")])
def test_a_build_of_ones_own_is_its_builders_affair_where_something_is_known_against_its_number(
    version: str, status: str
) -> None:
    assert one(daemons(version, f"containerd {version}~mine"), CONTAINERD).status == status


def test_the_package_of_the_program_that_runs_is_asked_and_not_of_the_usual_one() -> None:
    node = daemons("1.7.24")
    node.procs[0].exe = "/opt/bin/containerd"
    node.program("/opt/bin/containerd").answer(
        ("/opt/bin/containerd", "--version"), "containerd github.com/containerd/containerd v1.7.24 abc\n"
    )
    owners = {"/usr/bin/containerd": "containerd.io", "/opt/bin/containerd": "moby-containerd"}
    packages(node, "containerd.io 1.7.34-1", "moby-containerd 1.7.24-1", vendor="Somebody", owners=owners)
    found = one(node, CONTAINERD)
    assert found.status == "not-applicable"
    assert found.found.startswith("moby-containerd 1.7.24-1 is the distribution's own build")


def test_dockers_package_is_judged_by_its_number_whatever_its_program_calls_itself() -> None:
    node = daemons("1.7.24", "containerd.io 1.7.24~rc.1")
    packages(node, "containerd.io 1.7.24-1", vendor="Containerd team", owners={"/usr/bin/containerd": "containerd.io"})
    found = one(node, CONTAINERD)
    assert found.status == "warn"
    assert found.remedy is not None
    assert found.remedy.summary == "Bring containerd.io up to date."


def test_the_containerd_that_k3s_brings_is_judged_by_its_number_and_mended_by_k3s() -> None:
    found = one(k3s(fedora(SimNode()), "1.7.24").answer(("packages of the toolkit",), "manager rpm\n"), CONTAINERD)
    assert found.status == "warn"
    assert found.remedy is not None
    assert found.remedy.summary == (
        "No package owns containerd here (k3s): bring it up to date by the means that put it there."
    )
