"""The driver's libraries, route by route: where each looks, what counts as missing, what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.views.toolkit import CONFIG
from tests.support import driver as d
from tests.support import toolkit as t
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding

UBUNTU = "ID=ubuntu\nID_LIKE=debian\n"


def node(*records: str, cache: bool = True) -> SimNode:
    """A healthy node whose libraries are these; ctr 2.2, so that `ctr run --gpus` means nvidia-container-cli."""
    made = d.h100(SimNode().put("/etc/os-release", UBUNTU).program("/usr/bin/apt-get").program("/usr/bin/sudo"))
    made.program("/usr/bin/ctr").answer(("ctr", "--version"), "ctr github.com/containerd/containerd/v2 2.2.7\n")
    return d.libraries(made, *records, cache=cache)


def find(made: SimNode, check: str = "library-present") -> Finding:
    """The finding of one check."""
    return made.judge().findings[f"driver.{check}"]


ML = f"{d.LIBS}/libnvidia-ml.so.1"
CUDA = f"{d.LIBS}/libcuda.so.1"
OPERATOR = "/run/nvidia/driver/usr/lib64"


def operators_root(made: SimNode, root: str = "/run/nvidia/driver") -> SimNode:
    """The runtime is configured for the driver container's root, and a driver is there."""
    made.put(f"{OPERATOR}/libcuda.so.{d.VERSION}", b"")
    return made.put(CONFIG, f'[nvidia-container-cli]\nroot = "{root}"\n')


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

    def test_not_in_the_cache_is_mended_by_ldconfig(self) -> None:
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
    def test_an_empty_driver_root_is_a_fault_where_the_node_has_the_driver_itself(
        self, libraries: list[str], status: str
    ) -> None:
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


class TestVersions:
    def test_libraries_newer_than_the_module_fail_and_say_both(self) -> None:
        made = d.on_disk(node(*d.both(version="580.173.02")), version="580.173.02")
        finding = find(made, "versions-match")
        assert finding.status == "fail"
        assert finding.outcome.found == "libnvidia-ml.so.1 is 580.173.02, the loaded module is 580.159.04"
        assert finding.outcome.remedy is not None
        assert finding.outcome.remedy.commands == ("sudo reboot",)
        assert "modprobe -r nvidia_uvm" in finding.outcome.remedy.summary

    def test_a_module_on_disk_of_a_third_version_is_not_mended_by_a_reboot_alone(self) -> None:
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
