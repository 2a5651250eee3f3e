"""The toolkit as a whole: installed, and its parts of one version."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Consequence, Where
from pytest_gpuready.views.toolkit import CONFIG
from tests.support.findings import commands, evidence
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    DEFAULT_CONFIG,
    FAMILY,
    MINE,
    NAMES,
    OPERATOR,
    RUNTIME,
    ask,
    config,
    containerd,
    debian,
    fedora,
    healthy,
    named,
    one,
    operators,
    packages,
    record,
    says,
    toolkit,
    words,
)


def test_every_check_of_the_family_passes_on_a_healthy_node() -> None:
    for name in ("installed", "versions-match", "config-valid", "runtime-works", "low-level-runtime", "hook"):
        outcome = one(healthy(), f"toolkit.{name}")
        assert outcome.status == "pass", (name, outcome)


def test_without_the_toolkit_pods_have_one_root_of_this_family() -> None:
    """What asks for parts of a runtime that is not there is no fault of its own."""
    node = packages(containerd(debian(SimNode())), owners={}).put(CONFIG, DEFAULT_CONFIG).program("/usr/bin/runc")
    says(node)
    assert one(node, "toolkit.installed").status == "fail"
    for name in ("versions-match", "config-valid", "survives-daemon-reload", "supports-containerd"):
        assert one(node, f"toolkit.{name}").status == "not-applicable", name
    assert one(node, "toolkit.container-cli", "cri-handler").status == "not-applicable"
    assert one(node, "toolkit.container-cli", "ctr-gpus").status == "fail"
    with pytest.raises(Consequence, match=r"toolkit\.installed"):
        ask(node, "toolkit.hook")
    report = node.judge()
    roots = [root for root in report.routes["cri-handler"].roots if root.startswith("toolkit.")]
    assert roots == ["toolkit.installed"]


class TestInstalled:
    def test_a_pass_names_the_file_and_its_package(self) -> None:
        found = one(healthy(), "toolkit.installed").found
        assert found == "/usr/bin/nvidia-container-runtime (package nvidia-container-toolkit-base 1.18.2-1)"

    def test_the_operators_folder_counts(self) -> None:
        assert "operator" in one(operators(), "toolkit.installed").found

    def test_a_runtime_where_only_the_handler_knows_of_it_counts(self) -> None:
        node = healthy().remove("/usr/bin/nvidia-container-runtime").program("/srv/nv/nvidia-container-runtime")
        config(
            node,
            "/usr/bin/nvidia-container-runtime",
            "/srv/nv/nvidia-container-runtime",
            path="/etc/containerd/config.toml",
        )
        assert one(node, "toolkit.installed").found.startswith("/srv/nv/nvidia-container-runtime")

    def test_a_missing_runtime_fails_with_the_command_that_installs_it(self) -> None:
        node = containerd(fedora(SimNode()))
        packages(node, "libnvidia-container1 1.18.2-1", manager="rpm", owners={})
        outcome = one(node, "toolkit.installed")
        assert outcome.status == "fail"
        assert "libnvidia-container1" in outcome.found
        assert outcome.remedy is not None
        assert outcome.remedy.commands == ("sudo dnf install -y nvidia-container-toolkit",)

    def test_a_runtime_that_is_not_executable_fails_with_chmod(self) -> None:
        outcome = one(healthy().put(RUNTIME, b"\x7fELF"), "toolkit.installed")
        assert outcome.status == "fail"
        assert (outcome.found, outcome.where) == (f"{RUNTIME} is there and not executable", Where(RUNTIME))
        assert commands(outcome) == (f"sudo chmod 0755 {RUNTIME}",)

    def test_absence_of_nvidia_ctk_is_no_fault(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=("nvidia-container-runtime",)))
        assert one(node, "toolkit.installed").status == "pass"

    def test_a_runtime_of_no_package_is_told(self) -> None:
        """Without a package manager nothing is told of packages."""
        assert one(packages(healthy(), owners={}), "toolkit.installed").found == f"{RUNTIME} (of no package)"
        unknown = healthy().answer(("packages of the toolkit",), "", state="timeout")
        assert one(unknown, "toolkit.installed").found == RUNTIME
        assert (
            one(operators(), "toolkit.installed").found == f"{OPERATOR}/nvidia-container-runtime (the GPU operator's)"
        )

    def test_only_packages_of_the_family_are_named(self) -> None:
        node = containerd(debian(SimNode()))
        assert one(node, "toolkit.installed").found == "nvidia-container-runtime is not on the node"
        packages(node, "libnvidia-container1 1.18.2-1", "containerd 1.7.24", owners={})
        found = one(node, "toolkit.installed")
        assert found.found == (
            "nvidia-container-runtime is not on the node; of its family there is only libnvidia-container1 1.18.2-1"
        )
        assert commands(found)

    def test_where_there_is_no_package_manager_nothing_is_said_of_packages(self) -> None:
        node = healthy().answer(("packages of the toolkit",), "")
        assert one(node, "toolkit.installed").found == RUNTIME


class TestVersionsMatch:
    def test_an_old_library_beside_a_new_toolkit_fails(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "libnvidia-container1 1.13.5-1")
        outcome = one(node, "toolkit.versions-match")
        assert outcome.status == "fail"
        assert "1.13.5" in outcome.found
        assert outcome.remedy is not None
        assert "--only-upgrade" in outcome.remedy.commands[0]

    def test_releases_of_one_version_that_differ_in_their_packaging_match(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "libnvidia-container1 1:1.17.8-2")
        assert one(node, "toolkit.versions-match").status == "pass"

    def test_before_1_6_the_parts_had_versions_of_their_own(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.5.1-1", "libnvidia-container1 1.4.0-1")
        assert one(node, "toolkit.versions-match").status == "pass"

    def test_files_of_no_package_are_asked_themselves(self) -> None:
        node = packages(healthy(), owners={})
        assert "no package" in one(node, "toolkit.versions-match").found
        cli = words("nvidia-container-cli").replace("lib-version: 1.18.2", "lib-version: 1.13.5")
        says(node, *[record(f"/usr/bin/{n}", cli if n == "nvidia-container-cli" else words(n)) for n in NAMES])
        outcome = one(node, "toolkit.versions-match")
        assert outcome.status == "fail"
        assert "libnvidia-container.so.1 1.13.5" in outcome.found

    def test_packages_of_one_version_are_all_named(self) -> None:
        found = one(healthy(), "toolkit.versions-match").found
        assert found == ", ".join(f"{name} 1.18.2-1" for name in FAMILY)

    def test_packages_of_two_versions_are_the_evidence_and_only_the_family_counts(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "libnvidia-container1 1.13.5-1", "x 1.0")
        found = one(node, "toolkit.versions-match")
        assert evidence(found) == [
            ("installed packages", "nvidia-container-toolkit 1.17.8-1\nlibnvidia-container1 1.13.5-1")
        ]
        same = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "nvidia-docker2 2.13.0-1")
        assert one(same, "toolkit.versions-match").status == "pass"

    def test_from_1_6_on_the_parts_have_one_version(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.6.0-1", "libnvidia-container1 1.5.0-1")
        assert one(node, "toolkit.versions-match").status == "fail"

    def test_programs_of_two_versions_in_one_folder_are_the_evidence(self) -> None:
        """Programs of other folders do not count."""
        node = packages(healthy(), owners={})
        found = one(node, "toolkit.versions-match")
        assert found.status == "pass"
        assert "libnvidia-container.so.1 1.18.2" in found.found
        other = record("/opt/nvidia-ctk", words("nvidia-ctk", "1.13.0"))
        says(node, *[record(f"/usr/bin/{name}", words(name)) for name in NAMES], other)
        assert one(node, "toolkit.versions-match").status == "pass"
        old = words("nvidia-ctk", "1.13.0")
        says(node, *[record(f"/usr/bin/{name}", old if name == "nvidia-ctk" else words(name)) for name in NAMES])
        found = one(node, "toolkit.versions-match")
        assert found.status == "fail"
        assert found.evidence[0].source == "--version of each program"
        assert "nvidia-ctk 1.13.0" in found.evidence[0].text.splitlines()
        assert commands(found)

    def test_programs_that_tell_no_version_leave_it_unknown(self) -> None:
        node = says(packages(healthy(), owners={}))
        assert one(node, "toolkit.versions-match").status == "unknown"

    def test_of_two_toolkits_the_handlers_own_is_judged(self) -> None:
        node = named(packages(healthy(), owners={}), MINE)
        usual = [record(f"/usr/bin/{name}", words(name)) for name in NAMES]
        says(node, *usual, record(MINE, words("nvidia-container-runtime", "1.17.8")))
        assert one(node, "toolkit.versions-match").found.startswith("nvidia-container-runtime 1.18.2, ")
        node.program(MINE)
        assert one(node, "toolkit.versions-match").found == "nvidia-container-runtime 1.17.8 (of no package)"

    def test_a_program_that_tells_no_version_is_not_compared(self) -> None:
        node = packages(healthy(), owners={})
        said = [record(f"/usr/bin/{name}", "odd" if name == "nvidia-ctk" else words(name)) for name in NAMES]
        found = one(says(node, *said), "toolkit.versions-match")
        assert found.status == "pass"
        assert "nvidia-ctk" not in found.found
