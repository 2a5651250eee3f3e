"""Where each route finds the driver's libraries, what then is shown, and nodes at the edges of it."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Where
from pytest_gpuready.routes import ROUTES
from tests.checks.test_driver import unloaded
from tests.checks.test_driver_edges import evidence
from tests.checks.test_driver_libraries import CUDA, ML, OPERATOR, find, node, operators_root
from tests.support import driver as d
from tests.support import toolkit as t
from tests.support.simnode import SimNode

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


def asked(made: SimNode, *, ctr: str = "2.2.7", nerdctl: str = "2.2.0", mode: str = "jit-cdi") -> SimNode:
    """A node with both clients and the toolkit: their versions, and its mode."""
    made.program("/usr/bin/ctr").answer(("ctr", "--version"), f"ctr github.com/containerd/containerd/v2 {ctr}\n")
    made.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), f"nerdctl version {nerdctl}\n")
    return t.config(t.toolkit(made), 'mode = "auto"', f'mode = "{mode}"')


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
    made: SimNode, ctr: set[str], nerdctl: set[str], runtime: set[str], spec: set[str]
) -> None:
    """A client that tells no version is taken for an old one, a runtime that tells no mode for one that finds all."""
    runtimes = dict.fromkeys(("ctr-runtime", "cri-handler", "cri-default"), runtime)
    by_spec = dict.fromkeys(("ctr-cdi", "cri-cdi"), spec)
    assert found_in(made) == {"ctr-gpus": ctr, "nerdctl": nerdctl, **runtimes, **by_spec}


@pytest.mark.parametrize(("ctr", "nerdctl", "mode"), [("2.2.7", "?", "legacy"), ("2.3.4", "2.2.0", "jit-cdi")])
def test_on_wsl_every_route_finds_windows_libraries_too(ctr: str, nerdctl: str, mode: str) -> None:
    made = {"ctr": ctr, "nerdctl": nerdctl, "mode": mode}
    on_wsl = found_in(asked(d.pci(SimNode(kernel=WSL).device("/dev/dxg", 10, 125)), **made))
    assert on_wsl == {route: kinds | {"wsl"} for route, kinds in found_in(asked(node(), **made)).items()}


def test_on_tegra_every_route_finds_the_chips_libraries_too() -> None:
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
    kind: str, commands: tuple[str, ...]
) -> None:
    remedy = find(node(*d.both(kind, FOLDERS[kind]))).outcome.remedy
    assert remedy is not None
    assert remedy.commands == commands
    words = "The GPU operator's driver container has the libraries"
    assert remedy.summary.startswith(words) == (kind == "operator")


# ---------------------------------------------------------------------- nothing installed


def nothing() -> SimNode:
    """A node with a GPU and nothing of a driver; containers are asked for by ctr."""
    return d.libraries(d.on_disk(unloaded(node()), kernels=[]))


def test_where_nothing_of_a_driver_is_there_its_libraries_are_no_fault_of_their_own() -> None:
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
def test_where_something_of_a_driver_is_there_its_libraries_are_missing(made: SimNode) -> None:
    assert find(made).status == "fail"


def test_libraries_without_a_module_are_there() -> None:
    assert find(d.libraries(nothing(), *d.both())).status == "pass"


# ---------------------------------------------------------------------- what is shown


def test_the_libraries_that_are_found_are_described() -> None:
    found = find(node(*d.both())).outcome.found
    assert found == f"{ML} -> {d.LIBS}/libnvidia-ml.so.{d.VERSION}; {CUDA} -> {d.LIBS}/libcuda.so.{d.VERSION}"


def test_what_is_missing_is_told_with_where_it_lies_instead() -> None:
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


def test_a_library_with_a_fault_is_described_with_it() -> None:
    made = node(d.library("cache", ML, fault="empty"), d.library("cache", CUDA))
    assert "(" in find(made).outcome.evidence[0].text.splitlines()[0]


def test_a_library_that_is_no_link_is_described_by_its_path() -> None:
    assert find(node(*d.both(version=None))).outcome.found == f"{ML}; {CUDA}"


def test_only_what_is_missing_is_told_with_its_faults_or_where_it_lies() -> None:
    other = "/usr/local/nvidia/lib64/libcuda.so.1"
    made = node(d.library("cache", ML), d.library("cache", CUDA, fault="empty"), d.library("root", other))
    assert find(made).outcome.found == (
        f"libcuda.so.1 not found: {CUDA} is an empty file; {other} is there, where this route does not look"
    )


def test_a_loaders_cache_is_missed_where_the_route_looks_into_it() -> None:
    made, words = operators_root(node(cache=False)), "libnvidia-ml.so.1 and libcuda.so.1 not found"
    assert t.one(made, "driver.library-present", "cri-handler").found == words
    cached = t.one(made, "driver.library-present", "ctr-gpus").found
    assert cached == f"{words}: the node has no ldconfig, so no loader cache"


# ---------------------------------------------------------------------- versions


def test_versions_that_differ_are_shown_from_all_sides() -> None:
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


def test_a_library_whose_name_tells_no_version_is_the_one_that_is_named() -> None:
    found = find(node(d.library("cache", ML), d.library("cache", CUDA, version=None)), "versions-match").outcome
    assert (found.status, found.found) == ("unknown", f"{CUDA}: no version in the name; the module is {d.VERSION}")


def test_a_route_whose_driver_root_is_gone_has_no_versions_to_compare() -> None:
    made = t.config(
        t.toolkit(node(*d.both())), "[nvidia-container-cli]", '[nvidia-container-cli]\nroot = "/opt/driver"'
    )
    per_route = find(made, "versions-match").per_route
    assert (per_route["cri-handler"], per_route["ctr-gpus"]) == ("not-applicable", "pass")
