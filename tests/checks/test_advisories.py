"""Known vulnerabilities: whose builds are judged by their numbers, what is asked of others, and what mends them."""

from __future__ import annotations

import pytest

from pytest_gpuready.advisories import DATE
from tests.support.containerd import k3s
from tests.support.findings import commands
from tests.support.nodes import ready
from tests.support.simnode import SimNode
from tests.support.toolkit import FAMILY, config, containerd, debian, fedora, healthy, one, packages, toolkit

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


def test_only_the_toolkits_own_packages_are_upgraded() -> None:
    """Without any of them the toolkit is installed."""
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
def test_own_builds_with_a_vulnerable_number_are_their_builders_affair(version: str, status: str) -> None:
    assert one(daemons(version, f"containerd {version}~mine"), CONTAINERD).status == status


def test_the_package_of_the_program_that_runs_is_asked() -> None:
    """Not that of the usual program."""
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


def test_containerd_of_k3s_is_judged_by_number_and_upgraded_with_k3s() -> None:
    found = one(k3s(fedora(SimNode()), "1.7.24").answer(("packages of the toolkit",), "manager rpm\n"), CONTAINERD)
    assert found.status == "warn"
    assert found.remedy is not None
    assert found.remedy.summary == (
        "No package owns containerd here (k3s): bring it up to date by the means that put it there."
    )


def test_an_old_toolkit_warns_with_the_advisories_and_their_date() -> None:
    outcome = one(containerd(toolkit(debian(SimNode()), "1.17.7")), TOOLKIT)
    assert outcome.status == "warn"
    assert "CVE-2025-23266" in outcome.found
    assert "CVE-2024-0132" not in outcome.found
    assert "2026" in outcome.evidence[0].source
    assert outcome.remedy is not None
    assert "nvidia-container-toolkit" in outcome.remedy.commands[0]


def test_a_new_one_passes() -> None:
    assert one(healthy(), TOOLKIT).status == "pass"


def test_the_setting_that_keeps_one_off_counts() -> None:
    node = containerd(toolkit(debian(SimNode()), "1.17.7"))
    config(node, "disable-require = false", "disable-require = false\nfeatures.disable-cuda-compat-lib-hook = true")
    assert "CVE-2025-23266" not in one(node, TOOLKIT).found


def test_a_distributions_build_is_not_judged_by_its_number() -> None:
    node = containerd(toolkit(fedora(SimNode()), "1.17.7"))
    packages(node, *[f"{name} 1.17.7-3.azl3" for name in FAMILY], manager="rpm", vendor="Microsoft Corporation")
    outcome = one(node, TOOLKIT)
    assert outcome.status == "not-applicable"
    assert "rpm -q --changelog nvidia-container-toolkit-base" in outcome.found


def test_upstreams_containerd_is_judged_by_its_release_line() -> None:
    outcome = one(containerd(toolkit(debian(SimNode())), "1.7.24"), CONTAINERD)
    assert outcome.status == "warn"
    assert "CVE-2024-40635" in outcome.found
    assert one(containerd(toolkit(debian(SimNode())), "1.7.34"), CONTAINERD).status == "pass"


def test_debians_containerd_is_to_be_asked_of_debian() -> None:
    node = containerd(toolkit(debian(SimNode())), "1.6.0")
    packages(node, "containerd 1.6.0~ds1-1+deb12u2", vendor="Debian Go", owners={"/usr/bin/containerd": "containerd"})
    outcome = one(node, CONTAINERD)
    assert outcome.status == "not-applicable"
    assert "apt-get changelog containerd" in outcome.found


def test_dockers_package_carries_upstreams_releases() -> None:
    node = containerd(toolkit(debian(SimNode())), "1.7.24")
    packages(node, "containerd.io 1.7.24-1", vendor="Containerd team", owners={"/usr/bin/containerd": "containerd.io"})
    assert one(node, CONTAINERD).status == "warn"


def test_an_open_toolkit_says_which_fixes_it_lacks() -> None:
    found = one(containerd(toolkit(debian(SimNode()), "1.17.7")), TOOLKIT)
    assert str(found.expected).startswith("the fixes of ")
    assert "1.17.8" in str(found.expected)
    assert "CVE-2025-23266: " in found.evidence[0].text
    loose = packages(containerd(toolkit(debian(SimNode()), "1.17.7")), owners={})
    assert commands(one(loose, TOOLKIT))


@pytest.mark.parametrize(
    ("manager", "distribution", "how"),
    [("deb", debian, "apt-get changelog"), ("rpm", fedora, "dnf updateinfo list --security")],
)
def test_each_distribution_is_asked_in_its_own_way(manager: str, distribution: object, how: str) -> None:
    assert callable(distribution)
    node = containerd(toolkit(distribution(SimNode()), "1.17.7"))
    packages(node, *[f"{name} 1.17.7-3" for name in FAMILY], manager=manager, vendor="Somebody")
    assert how in one(node, TOOLKIT).found


def test_suse_is_asked_by_zypper() -> None:
    node = containerd(toolkit(SimNode().program("/usr/bin/zypper").put("/etc/os-release", "ID=sles\n"), "1.17.7"))
    packages(node, *[f"{name} 1.17.7-3" for name in FAMILY], manager="rpm", vendor="SUSE LLC")
    assert "zypper list-patches --cve" in one(node, TOOLKIT).found


def test_a_build_that_says_no_vendor_is_judged_by_its_number() -> None:
    node = containerd(toolkit(debian(SimNode()), "1.17.7"))
    packages(node, *[f"{name} 1.17.7-3" for name in FAMILY], vendor="")
    assert one(node, TOOLKIT).status == "warn"


def test_a_containerd_of_unknown_origin_is_asked_of_its_builder() -> None:
    node = packages(containerd(toolkit(debian(SimNode())), "1.7.24"), owners={})
    node.answer(("containerd", "--version"), "containerd containerd 1.7.24~mine abc\n")
    found = one(node, CONTAINERD)
    assert (found.status, "ask who built it" in found.found) == ("not-applicable", True)


def test_an_open_containerd_is_upgraded_by_its_package_or_by_hand() -> None:
    node = containerd(toolkit(debian(SimNode())), "1.7.24")
    assert one(node, CONTAINERD).remedy is not None
    owners = {"/usr/bin/containerd": "containerd.io"}
    packages(node, "containerd.io 1.7.24-1", vendor="Containerd team", owners=owners)
    assert "containerd.io" in commands(one(node, CONTAINERD))[-1]


@pytest.mark.parametrize(("release", "status"), [("1.7.24", "warn"), ("2.3.4", "pass")])
def test_an_open_release_warns_and_is_no_root(release: str, status: str) -> None:
    found = ready(release).judge().findings["containerd.not-vulnerable"]
    assert (found.status, found.keeps) == (status, ())
