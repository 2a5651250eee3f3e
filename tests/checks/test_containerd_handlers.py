"""Handlers in containerd's files: the place that is shown, and nodes with another handler, or another's default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from tests.checks.test_containerd import commands, finding, outcome
from tests.support.containerd import CONFIG, V2, V3, config, healthy
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome

NVIDIA = f"{V2}.containerd.runtimes.nvidia"


def shown(found: Outcome) -> list[tuple[str, str]]:
    """The evidence: its source, and the first line or the one that is marked."""
    assert found.status == "fail"
    lines = [(item.source, item.text.splitlines()) for item in found.evidence]
    return [(source, next((line for line in text if line.startswith(">")), text[0])) for source, text in lines]


def test_what_took_the_place_of_a_handler_is_named_with_every_line_that_is_lost() -> None:
    other = "/etc/containerd/conf.d/99-runc.toml"
    text = config("1.7.24").replace("\n", '\nimports = ["/etc/containerd/conf.d/*.toml"]\n', 1)
    node = healthy(SimNode(), text=text)
    node.put(other, f'version = 2\n[{V2}.containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n')
    lost = f"lost: an import replaces the whole plugin table, at {other}:2"
    found = outcome(node, "handler")
    assert found.found == (
        f"containerd 1.7.24 would load no handler nvidia (handlers: runc); {NVIDIA}.runtime_type has no effect: {lost}"
    )
    assert str(found.where) == f"{CONFIG}:10"
    assert shown(found) == [
        (f"{CONFIG}:10", f"{NVIDIA}.runtime_type: {lost}"),
        (f"{CONFIG}:12", f"{NVIDIA}.options.BinaryName: {lost}"),
        (f"{CONFIG}:13", f"{NVIDIA}.options.SystemdCgroup: {lost}"),
        (f"{CONFIG}:10", '>   10   runtime_type = "io.containerd.runc.v2"'),
    ]


@pytest.mark.parametrize(
    ("path", "told"), [("/etc/containerd/site.toml", " (this daemon reads /etc/containerd/site.toml)"), (CONFIG, "")]
)
def test_a_drop_in_that_is_not_imported_is_shown_and_another_file_that_is_read_is_named(path: str, told: str) -> None:
    other = "/etc/containerd/conf.d/99-nvidia.toml"
    node = healthy(SimNode(), "2.1.9", text="version = 3\n").put(path, "version = 3\n").put(other, config("2.1.9"))
    node.procs[0].args = ["/usr/bin/containerd", "--config", path]
    found = outcome(node, "handler")
    assert found.found == (
        "containerd 2.1.9 would load no handler nvidia (handlers: runc); "
        f"{other} has no effect: no imports line names this file{told}"
    )
    assert str(found.where) == f"{other}:8"


def test_a_misspelt_option_is_shown_beside_the_handler_that_lacks_the_right_one() -> None:
    found = outcome(healthy(SimNode(), text=config("1.7.24").replace("BinaryName", "Binaryname")), "handler")
    assert found.found == "handler nvidia names no BinaryName, so it runs runc"
    assert str(found.where) == f"{CONFIG}:8"
    assert shown(found) == [
        (f"{CONFIG}:11", f"{NVIDIA}.options.Binaryname: no option of this containerd's runc"),
        (f"{CONFIG}:8", f">    8 [{NVIDIA}]"),
    ]


def test_a_built_in_handler_has_no_line_so_the_file_is_shown() -> None:
    found = outcome(healthy(SimNode(), "2.1.9", text="version = 3\n"), "handler", Settings(handler="runc"))
    assert found.found == "handler runc names no BinaryName, so it runs runc"
    assert (str(found.where), shown(found)) == (CONFIG, [])


@pytest.mark.parametrize("option", ["BinaryName", "Runtime"])
@pytest.mark.parametrize("release", ["1.7.24", "2.1.9"])
def test_the_legacy_type_is_refused_whichever_option_names_the_program(release: str, option: str) -> None:
    """Of containerd 2 no shim is for it, and that of 1.x knows cgroup v1 alone."""
    head, kind, tail = config(release).rpartition("io.containerd.runc.v2")
    assert kind
    text = f"{head}io.containerd.runtime.v1.linux{tail}".replace("BinaryName", option)
    node = healthy(SimNode(), release, text=text)
    assert finding(node, "handler").status == "pass"
    found = outcome(node, "handler-runtime-type")
    assert found.found == "runtime_type is io.containerd.runtime.v1.linux"
    assert str(found.where) == f"{CONFIG}:9"
    assert shown(found) == [(f"{CONFIG}:9", '>    9   runtime_type = "io.containerd.runtime.v1.linux"')]
    assert commands(node, "handler-runtime-type")


def test_what_has_no_line_of_its_own_is_shown_by_the_handlers() -> None:
    head, _, tail = config("2.1.9").rpartition('  runtime_type = "io.containerd.runc.v2"\n')
    node = healthy(SimNode(), "2.1.9", text=(head + tail).replace("  SystemdCgroup = false\n", ""))
    found = outcome(node, "handler-runtime-type")
    assert str(found.where) == f"{CONFIG}:7"
    assert shown(found) == [(f"{CONFIG}:7", f">    7 [{V3}.containerd.runtimes.nvidia]")]
    assert str(outcome(node, "handler-cgroups").where) == f"{CONFIG}:7"


def test_where_runc_itself_is_nvidias_there_is_nobody_to_agree_with() -> None:
    head, _, _ = config("1.7.24").rpartition(f"[{NVIDIA}]")
    runc = f"[{V2}.containerd.runtimes.runc.options]\n"
    text = head.replace(runc, f'{runc}  BinaryName = "/usr/bin/nvidia-container-runtime"\n')
    found = outcome(healthy(SimNode(), text=text), "handler-cgroups")
    assert (found.status, found.found) == ("pass", "SystemdCgroup = false")
