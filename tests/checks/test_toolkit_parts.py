"""The toolkit's parts at their edges: what nvidia-container-cli says, and hooks of a runtime that is not there."""

from __future__ import annotations

import pytest

from pytest_gpuready.views.toolkit import CONFIG
from tests.checks.test_toolkit import healthy
from tests.checks.test_toolkit_edges import CLI, FOLDERS, commands
from tests.checks.test_toolkit_programs import MINE, named
from tests.support.simnode import SimNode
from tests.support.toolkit import config, containerd, debian, legacy, one, packages, record, says, toolkit

HOOKS = "mode jit-cdi: /usr/bin/nvidia-ctk, and nvidia-cdi-hook for specs on disk"


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("error while loading shared libraries: libnvidia-container.so.1: cannot open", " libnvidia-container1"),
        ("error while loading shared libraries: libelf.so.1: cannot open", ""),
        ("libnvidia-container: boom", ""),
    ],
)
def test_a_cli_without_its_own_library_is_installed_anew_with_it(said: str, names: str) -> None:
    found = one(says(healthy(), record(CLI, said, 127)), "toolkit.container-cli", "ctr-gpus")
    assert found.found == f"{CLI} --version ends with 127: {said}"
    assert commands(found) == (f"sudo apt-get install -y --reinstall libnvidia-container-tools{names}",)


@pytest.mark.parametrize("said", [record(CLI, "hello"), f"prog {CLI}\n> cli-version: 1.18.2\n"])
def test_a_cli_of_which_no_version_or_no_end_is_known_is_there(said: str) -> None:
    found = one(says(healthy(), said), "toolkit.container-cli", "ctr-gpus")
    assert (found.status, found.found) == ("pass", CLI)


def test_the_hook_of_a_runtime_that_the_daemon_cannot_execute_is_not_asked_for() -> None:
    node = named(healthy(), MINE)
    gone = one(node, "toolkit.hook", "cri-handler")
    assert (gone.status, gone.found) == (
        "not-applicable",
        "the daemon cannot execute the handler's program: containerd.handler-binary says why",
    )
    assert one(node, "toolkit.hook", "ctr-runtime").found == HOOKS
    silent = one(packages(says(named(healthy(), MINE)), owners={}), "toolkit.hook", "ctr-runtime")
    assert silent.status == "unknown"
    there = one(node.program(MINE), "toolkit.hook", "cri-handler")
    assert (there.status, there.found) == (
        "unknown",
        "the toolkit's version cannot be had: none of its programs nor packages tells it",
    )


def test_a_hook_is_looked_for_by_the_name_that_the_file_gives_or_else_the_usual_one() -> None:
    section = '[nvidia-container-runtime-hook]\npath = "'
    node = config(legacy(healthy()), f"{section}nvidia-container-runtime-hook", f"{section}my-hook")
    found = one(node, "toolkit.hook")
    assert found.found == "mode legacy needs my-hook, and it is not there"
    assert found.expected == f"my-hook in {FOLDERS}"
    bare = one(healthy().remove(CONFIG).remove("/usr/bin/nvidia-ctk"), "toolkit.hook")
    assert bare.expected == f"nvidia-ctk in {FOLDERS}"


@pytest.mark.parametrize(
    ("names", "upgraded"),
    [(("nvidia-container-toolkit-base",), "nvidia-container-toolkit-base"), ((), "nvidia-container-toolkit")],
)
def test_what_is_installed_of_the_family_is_upgraded_or_else_the_toolkit(names: tuple[str, ...], upgraded: str) -> None:
    node = containerd(toolkit(debian(SimNode()), "1.13.5"))
    packages(node, *(f"{name} 1.13.5-1" for name in names), owners={})
    found = commands(one(node, "toolkit.supports-containerd"))
    assert found == (f"sudo apt-get update && sudo apt-get install -y --only-upgrade {upgraded}",)


def test_any_nvidia_ctk_writes_the_file_that_is_not_there_yet() -> None:
    node = containerd(toolkit(debian(SimNode()), "1.14.6")).remove("/etc/containerd/config.toml")
    assert one(node, "toolkit.supports-containerd").found == "nvidia-ctk 1.14.6 knows containerd 2.1.9"


def test_links_are_made_by_the_nvidia_ctk_that_is_there() -> None:
    node = legacy(healthy()).remove("/usr/bin/nvidia-ctk").program("/usr/local/bin/nvidia-ctk")
    found = commands(one(node, "toolkit.survives-daemon-reload"))
    assert found[0] == "sudo /usr/local/bin/nvidia-ctk system create-dev-char-symlinks --create-all"
    assert found[1].count("/usr/local/bin/nvidia-ctk") == 1
