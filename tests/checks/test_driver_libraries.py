"""The driver's libraries, route by route: where each looks, what counts as missing, what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Where
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views.toolkit import CONFIG
from tests.support import driver as d
from tests.support import toolkit as t
from tests.support.driver import evidence, unloaded
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding

UBUNTU = "ID=ubuntu\nID_LIKE=debian\n"
CUDA = f"{d.LIBS}/libcuda.so.1"
ML = f"{d.LIBS}/libnvidia-ml.so.1"
OPERATOR = "/run/nvidia/driver/usr/lib64"
#: The kinds of places, and a folder of each.
FOLDERS = {
    "cache": d.LIBS,
    "folder": d.LIBS,
    "nixos": "/run/opengl-driver/lib",
    "root": "/usr/local/nvidia/lib64",
    "operator": OPERATOR,
    "wsl": "/usr/lib/wsl/lib",
    "tegra": "/usr/lib/aarch64-linux-gnu/nvidia",
}
CLI, RUNTIME = {"cache"}, {"cache", "folder", "nixos"}
SPEC = {*RUNTIME, "root", "operator"}
WSL, TEGRA = "Linux 5.15.167.4-microsoft-standard-WSL2 x86_64", "Linux 5.15.148-tegra aarch64"


def find(made: SimNode, check: str = "library-present") -> Finding:
    """The finding of one check."""
    return made.judge().findings[f"driver.{check}"]


def node(*records: str, cache: bool = True) -> SimNode:
    """A healthy node whose libraries are these; ctr 2.2, so that `ctr run --gpus` means nvidia-container-cli."""
    made = d.h100(SimNode().put("/etc/os-release", UBUNTU).program("/usr/bin/apt-get").program("/usr/bin/sudo"))
    made.program("/usr/bin/ctr").answer(("ctr", "--version"), "ctr github.com/containerd/containerd/v2 2.2.7\n")
    return d.libraries(made, *records, cache=cache)


def operators_root(made: SimNode, root: str = "/run/nvidia/driver") -> SimNode:
    """The runtime is configured for the driver container's root, and a driver is there."""
    made.put(f"{OPERATOR}/libcuda.so.{d.VERSION}", b"")
    return made.put(CONFIG, f'[nvidia-container-cli]\nroot = "{root}"\n')


def found_in(made: SimNode, head: str = d.ELF64) -> dict[str, set[str]]:
    """By route, the kinds of places in which it finds both libraries."""
    found: dict[str, set[str]] = {route: set() for route in ROUTES}
    for kind, folder in FOLDERS.items():
        d.libraries(made, *[d.library(kind, f"{folder}/{path.rpartition('/')[2]}", head=head) for path in (ML, CUDA)])
        answers = t.ask(made, "driver.library-present")
        assert isinstance(answers, dict)
        for route, outcome in answers.items():
            found[route] |= {kind} if outcome.status == "pass" else set()
    return found


def asked(made: SimNode, *, ctr: str = "2.2.7", nerdctl: str = "2.2.0", mode: str = "jit-cdi") -> SimNode:
    """A node with both clients and the toolkit: their versions, and its mode."""
    made.program("/usr/bin/ctr").answer(("ctr", "--version"), f"ctr github.com/containerd/containerd/v2 {ctr}\n")
    made.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), f"nerdctl version {nerdctl}\n")
    return t.config(t.toolkit(made), 'mode = "auto"', f'mode = "{mode}"')


def nothing() -> SimNode:
    """A node with a GPU and nothing of a driver; containers are asked for by ctr."""
    return d.libraries(d.on_disk(unloaded(node()), kernels=[]))


class TestPresent:
    def test_in_the_loaders_cache_is_good_for_every_route(self) -> None:
        assert set(find(node(*d.both())).per_route.values()) == {"pass"}

    @pytest.mark.parametrize(
        ("record", "words"),
        [
            (d.library("cache", ML, fault="empty"), "is an empty file"),
            (d.library("cache", ML, fault="gone"), "is listed in the loader's cache and is not there"),
            (
                d.library("cache", ML, fault="broken libnvidia-ml.so.550.1"),
                "is a link to libnvidia-ml.so.550.1, which is not there",
            ),
            (d.library("cache", ML, fault="folder"), "is a folder"),
            (d.library("cache", ML, fault="unreadable"), "cannot be read"),
            (d.library("cache", ML, head=d.ELF32), "is no x86_64 library (ELF 32 bit"),
            (
                d.library("cache", ML, head=d.ELF64.replace("3e 00", "b7 00")),
                "is no x86_64 library (ELF 64 bit, machine 183)",
            ),
            (d.library("cache", ML, head="23 21 2f 62 69 6e 2f 73 68 0a"), "is no ELF file"),
            (d.library("cache", ML, fault="head "), "is no ELF file"),
        ],
    )
    def test_what_cannot_be_loaded_counts_as_missing(self, record: str, words: str) -> None:
        finding = find(node(record, d.library("cache", CUDA)))
        assert finding.status == "fail"
        assert words in finding.outcome.found
        assert set(finding.per_route.values()) == {"fail"}

    def test_a_32_bit_library_beside_the_right_one_is_no_fault(self) -> None:
        other = d.library("cache", "/usr/lib/i386-linux-gnu/libcuda.so.1", head=d.ELF32)
        assert find(node(other, *d.both())).status == "pass"

    def test_one_of_the_two_missing_fails_and_is_named(self) -> None:
        finding = find(node(d.library("cache", ML)))
        assert finding.outcome.found.startswith("libcuda.so.1 not found")

    def test_a_library_outside_the_cache_gets_ldconfig(self) -> None:
        finding = find(node(*d.both("folder")))
        assert finding.status == "fail"
        assert finding.per_route["ctr-gpus"] == "fail"
        assert finding.per_route["ctr-cdi"] == "pass"
        assert finding.outcome.remedy is not None
        assert finding.outcome.remedy.commands == ("sudo ldconfig",)

    def test_in_a_folder_that_the_loader_does_not_search(self) -> None:
        finding = find(node(*d.both("root", "/usr/local/nvidia/lib64")))
        assert finding.per_route["ctr-gpus"] == "fail"
        assert finding.per_route["cri-cdi"] == "pass"
        assert finding.outcome.remedy is not None
        assert "/usr/local/nvidia/lib64" in finding.outcome.remedy.commands[0]

    def test_the_operators_driver_root_serves_the_runtime_that_is_configured_for_it(self) -> None:
        finding = find(operators_root(node(*d.both("operator", OPERATOR))))
        assert finding.per_route["cri-handler"] == "pass"
        assert finding.per_route["ctr-gpus"] == "fail"

    def test_a_toolkit_that_points_at_a_driver_container_that_is_not_there(self) -> None:
        """gpu-operator issue 425: lstat /run/nvidia/driver/dev/nvidiactl."""
        made = t.toolkit(node(*d.both()))
        made.put("/etc/nvidia-container-runtime/config.toml", '[nvidia-container-cli]\nroot = "/run/nvidia/driver"\n')
        finding = find(made)
        assert finding.per_route["cri-handler"] == "not-applicable"
        assert finding.status == "pass"
        assert made.judge().findings["toolkit.config-valid"].status == "fail"

    @pytest.mark.parametrize("root", ["/run/nvidia/driver", "/opt/driver"])
    def test_a_driver_root_with_nothing_in_it_is_the_toolkits_affair(self, root: str) -> None:
        """The folder is there, empty, and the node itself has the driver."""
        made = t.toolkit(node(*d.both())).folder(root)
        made.put("/etc/nvidia-container-runtime/config.toml", f'[nvidia-container-cli]\nroot = "{root}"\n')
        assert find(made).per_route["cri-handler"] == "not-applicable"
        found = made.judge().findings["toolkit.config-valid"]
        assert found.status == "fail"
        assert found.outcome.found == f'root = "{root}", and no driver is there'
        assert find(made).per_route["ctr-gpus"] == "pass"
        made.put(f"{root}/usr/lib64/libcuda.so.580.159.04", b"")
        assert made.judge().findings["toolkit.config-valid"].status == "pass"

    @pytest.mark.parametrize(
        ("libraries", "status"),
        [
            (d.both("folder", "/usr/lib64"), "fail"),
            (d.both("root", "/opt/other/lib64"), "pass"),
            ([d.library("cache", CUDA, head=d.ELF32)], "pass"),
            ([], "pass"),
        ],
        ids=["in a usual folder", "elsewhere", "of another machine", "none"],
    )
    def test_an_empty_driver_root_beside_the_nodes_driver_fails(self, libraries: list[str], status: str) -> None:
        made = t.toolkit(node(*libraries)).folder("/opt/driver")
        made.put("/etc/nvidia-container-runtime/config.toml", '[nvidia-container-cli]\nroot = "/opt/driver"\n')
        assert made.judge().findings["toolkit.config-valid"].status == status

    @pytest.mark.parametrize("text", ["", '[nvidia-container-cli]\nroot = "/"\n'])
    def test_the_nodes_own_root_is_the_usual_one(self, text: str) -> None:
        made = t.toolkit(node(*d.both())).put("/etc/nvidia-container-runtime/config.toml", text)
        assert find(made).per_route["cri-handler"] == "pass"
        assert made.judge().findings["toolkit.config-valid"].status == "pass"

    def test_nothing_found_installs_the_modules_version(self) -> None:
        finding = find(node())
        assert finding.outcome.remedy is not None
        assert finding.outcome.remedy.commands == (
            "sudo apt-get install -y --reinstall libnvidia-compute-580 nvidia-utils-580",
            "sudo ldconfig",
        )

    def test_a_node_without_ldconfig_is_told_so(self) -> None:
        assert "no ldconfig" in find(node(cache=False)).outcome.found

    def test_nixos_finds_them_in_its_own_place(self) -> None:
        finding = find(node(*d.both("nixos", "/run/opengl-driver/lib"), cache=False))
        assert finding.per_route["ctr-cdi"] == "pass"


class TestPlaces:
    @pytest.mark.parametrize(
        ("made", "ctr", "nerdctl", "runtime", "spec"),
        [
            (asked(node(), mode="legacy"), CLI, CLI, CLI, SPEC),
            (asked(node(), ctr="2.3.4"), SPEC, CLI, RUNTIME, SPEC),
            (asked(node(), nerdctl="2.3.0"), CLI, SPEC, RUNTIME, SPEC),
            (asked(node(), ctr="?", nerdctl="?", mode="sideways"), CLI, CLI, SPEC, SPEC),
            (operators_root(asked(node()), "/run/nvidia/driver/"), CLI, CLI, {"operator"}, SPEC),
        ],
        ids=["legacy", "new ctr", "new nerdctl", "unsaid", "the operator's root"],
    )
    def test_where_each_route_finds_the_libraries(
        self, made: SimNode, ctr: set[str], nerdctl: set[str], runtime: set[str], spec: set[str]
    ) -> None:
        """A client without a version is taken for an old one, a runtime without a mode for one that finds all."""
        runtimes = dict.fromkeys(("ctr-runtime", "cri-handler", "cri-default"), runtime)
        by_spec = dict.fromkeys(("ctr-cdi", "cri-cdi"), spec)
        assert found_in(made) == {"ctr-gpus": ctr, "nerdctl": nerdctl, **runtimes, **by_spec}

    @pytest.mark.parametrize(("ctr", "nerdctl", "mode"), [("2.2.7", "?", "legacy"), ("2.3.4", "2.2.0", "jit-cdi")])
    def test_on_wsl_every_route_finds_windows_libraries_too(self, ctr: str, nerdctl: str, mode: str) -> None:
        made = {"ctr": ctr, "nerdctl": nerdctl, "mode": mode}
        on_wsl = found_in(asked(d.pci(SimNode(kernel=WSL).device("/dev/dxg", 10, 125)), **made))
        assert on_wsl == {route: kinds | {"wsl"} for route, kinds in found_in(asked(node(), **made)).items()}

    def test_on_tegra_every_route_finds_the_chips_libraries_too(self) -> None:
        made = d.pci(SimNode(kernel=TEGRA).put("/etc/nv_tegra_release", "# R36\n"))
        on_tegra = found_in(asked(made), d.ELF64.replace("3e 00", "b7 00"))
        assert on_tegra == {route: kinds | {"tegra"} for route, kinds in found_in(asked(node())).items()}
        missing = find(d.libraries(made))
        assert (missing.status, missing.outcome.found) == ("fail", "libcuda.so.1 not found")

    @pytest.mark.parametrize(
        ("kind", "commands"),
        [
            ("folder", ("sudo ldconfig",)),
            *[
                (
                    kind,
                    (f"sudo tee /etc/ld.so.conf.d/nvidia.conf <<'EOF'\n{FOLDERS[kind]}\nEOF", "sudo ldconfig"),
                )
                for kind in ("root", "wsl", "tegra")
            ],
            (
                "nixos",
                ("sudo apt-get install -y --reinstall libnvidia-compute-580 nvidia-utils-580", "sudo ldconfig"),
            ),
            ("operator", ()),
        ],
    )
    def test_libraries_that_lie_elsewhere_are_brought_to_where_the_route_looks(
        self, kind: str, commands: tuple[str, ...]
    ) -> None:
        remedy = find(node(*d.both(kind, FOLDERS[kind]))).outcome.remedy
        assert remedy is not None
        assert remedy.commands == commands
        words = "The GPU operator's driver container has the libraries"
        assert remedy.summary.startswith(words) == (kind == "operator")


class TestNothingInstalled:
    def test_without_any_driver_missing_libraries_follow_from_the_module(self) -> None:
        assert find(nothing()).blocked_by == ("driver.module-loaded",)

    @pytest.mark.parametrize(
        "made",
        [
            nothing().folder("/sys/module/nvidia"),
            nothing().folder("/run/nvidia/driver"),
            d.on_disk(nothing(), kernels=["6.8.0-39-generic"]),
            d.on_disk(nothing(), kernels=[], more=[f"info version {d.VERSION}"]),
            d.libraries(nothing(), d.library("cache", ML)),
        ],
        ids=["a loaded module", "a driver container", "a module for another kernel", "a module", "a library"],
    )
    def test_where_something_of_a_driver_is_there_its_libraries_are_missing(self, made: SimNode) -> None:
        assert find(made).status == "fail"

    def test_libraries_without_a_module_are_there(self) -> None:
        assert find(d.libraries(nothing(), *d.both())).status == "pass"


class TestShown:
    def test_the_libraries_that_are_found_are_described(self) -> None:
        found = find(node(*d.both())).outcome.found
        assert found == f"{ML} -> {d.LIBS}/libnvidia-ml.so.{d.VERSION}; {CUDA} -> {d.LIBS}/libcuda.so.{d.VERSION}"

    def test_what_is_missing_is_told_with_where_it_lies_instead(self) -> None:
        found = find(node(*d.both("folder"))).outcome
        assert found.found == (
            "libnvidia-ml.so.1 and libcuda.so.1 not found: "
            f"{ML} is there, where this route does not look; {CUDA} is there, where this route does not look"
        )
        assert found.expected == "libnvidia-ml.so.1 and libcuda.so.1 in the loader's cache"
        assert found.where == Where(ML)
        assert found.evidence[0].source == "ldconfig -p and driver roots"
        assert found.evidence[0].text.splitlines()[1] == f"{CUDA} -> {d.LIBS}/libcuda.so.{d.VERSION}"
        none = find(node()).outcome
        assert none.found == "libnvidia-ml.so.1 and libcuda.so.1 not found"
        assert none.evidence[0].text == "none found"
        assert none.where is None

    def test_a_library_with_a_fault_is_described_with_it(self) -> None:
        made = node(d.library("cache", ML, fault="empty"), d.library("cache", CUDA))
        assert "(" in find(made).outcome.evidence[0].text.splitlines()[0]

    def test_a_library_that_is_no_link_is_described_by_its_path(self) -> None:
        assert find(node(*d.both(version=None))).outcome.found == f"{ML}; {CUDA}"

    def test_only_a_missing_library_is_told_with_fault_or_place(self) -> None:
        other = "/usr/local/nvidia/lib64/libcuda.so.1"
        made = node(d.library("cache", ML), d.library("cache", CUDA, fault="empty"), d.library("root", other))
        assert find(made).outcome.found == (
            f"libcuda.so.1 not found: {CUDA} is an empty file; {other} is there, where this route does not look"
        )

    def test_a_loaders_cache_is_missed_where_the_route_looks_into_it(self) -> None:
        made, words = operators_root(node(cache=False)), "libnvidia-ml.so.1 and libcuda.so.1 not found"
        assert t.one(made, "driver.library-present", "cri-handler").found == words
        cached = t.one(made, "driver.library-present", "ctr-gpus").found
        assert cached == f"{words}: the node has no ldconfig, so no loader cache"


class TestVersions:
    def test_libraries_newer_than_the_module_fail_and_say_both(self) -> None:
        made = d.on_disk(node(*d.both(version="580.173.02")), version="580.173.02")
        finding = find(made, "versions-match")
        assert finding.status == "fail"
        assert finding.outcome.found == "libnvidia-ml.so.1 is 580.173.02, the loaded module is 580.159.04"
        assert finding.outcome.remedy is not None
        assert finding.outcome.remedy.commands == ("sudo reboot",)
        assert "modprobe -r nvidia_uvm" in finding.outcome.remedy.summary

    def test_a_third_version_on_disk_needs_more_than_a_reboot(self) -> None:
        finding = find(d.on_disk(node(*d.both(version="580.173.02")), version="570.1.1"), "versions-match")
        assert finding.outcome.remedy is not None
        assert "570.1.1" in finding.outcome.remedy.summary

    def test_nvml_is_then_blocked_by_it(self) -> None:
        report = node(*d.both(version="580.173.02")).judge()
        assert report.findings["driver.nvml-answers"].blocked_by == ("driver.versions-match",)

    def test_a_version_that_nothing_says_is_unknown(self) -> None:
        assert find(node(*d.both(version=None)), "versions-match").status == "unknown"
        made = node(*d.both()).put("/sys/module/nvidia/version", "").put("/proc/driver/nvidia/version", "?\n")
        assert find(made, "versions-match").status == "unknown"

    def test_routes_by_the_operators_root_are_compared_with_its_libraries(self) -> None:
        made = operators_root(node(*d.both(version="550.1.1"), *d.both("operator", OPERATOR)))
        finding = find(made, "versions-match")
        assert finding.per_route["cri-handler"] == "pass"
        assert finding.per_route["ctr-gpus"] == "fail"

    def test_versions_that_differ_are_shown_from_all_sides(self) -> None:
        made = d.on_disk(node(*d.both(version="580.173.02")), version="580.173.02")
        assert evidence(made, "versions-match") == [
            ("/sys/module/nvidia/version", d.VERSION),
            (ML, f"{d.LIBS}/libnvidia-ml.so.580.173.02"),
            ("modinfo nvidia", "580.173.02"),
        ]
        assert find(made, "versions-match").outcome.where == Where(ML)
        nothing = d.on_disk(node(*d.both(version="580.173.02")), version=None)
        assert [source for source, _ in evidence(nothing, "versions-match")] == ["/sys/module/nvidia/version", ML]
        assert find(node(*d.both()), "versions-match").outcome.found == f"module and libraries are {d.VERSION}"

    def test_a_library_without_a_version_in_its_name_is_named(self) -> None:
        found = find(node(d.library("cache", ML), d.library("cache", CUDA, version=None)), "versions-match").outcome
        assert (found.status, found.found) == ("unknown", f"{CUDA}: no version in the name; the module is {d.VERSION}")

    def test_a_route_whose_driver_root_is_gone_has_no_versions_to_compare(self) -> None:
        made = t.config(
            t.toolkit(node(*d.both())), "[nvidia-container-cli]", '[nvidia-container-cli]\nroot = "/opt/driver"'
        )
        per_route = find(made, "versions-match").per_route
        assert (per_route["cri-handler"], per_route["ctr-gpus"]) == ("not-applicable", "pass")
