"""The handler's program as the daemon sees it."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Denied, Undetermined
from pytest_gpuready.views import Views
from pytest_gpuready.views.handler_binary import HandlerBinary
from tests.support.containerd import RUNTIME, config, healthy
from tests.support.simnode import SimNode


def view(node: SimNode) -> HandlerBinary:
    return Views(node.facts()).get(HandlerBinary)


def test_a_program_that_can_be_executed_is_no_trouble() -> None:
    assert (view(healthy(SimNode())).trouble, view(healthy(SimNode())).path) == (None, RUNTIME)


def test_a_script_and_a_link_are_programs_too() -> None:
    assert view(healthy(SimNode()).put(RUNTIME, "#! /bin/sh\nexec x\n", mode=0o755)).trouble is None
    assert view(healthy(SimNode()).remove(RUNTIME).program("/opt/n").link(RUNTIME, "/opt/n")).trouble is None


def test_the_mount_that_counts_is_the_deepest_and_the_last() -> None:
    for mounts, kind in (
        ("a / x rw 0 0\nb /usr x rw,noexec 0 0\nc /usr x rw 0 0\n", None),
        ("a / x noexec 0 0\nb /usr x rw 0 0\n", None),
        ("a / x rw 0 0\nb /usr/b\\040in x noexec 0 0\nc\n", None),
        ("a / x rw,noexec 0 0\n", "noexec"),
    ):
        trouble = view(healthy(SimNode()).put("/proc/self/mounts", mounts)).trouble
        assert (trouble.kind if trouble else None) == kind


def test_a_beginning_that_was_refused_is_denied_and_one_not_read_undetermined() -> None:
    with pytest.raises(Denied):
        _ = view(healthy(SimNode()).deny(RUNTIME)).trouble
    with pytest.raises(Undetermined):
        _ = view(healthy(SimNode()).answer(lambda r: r.kind == "file" and r.arg == (RUNTIME,), state="timeout")).trouble


def test_a_relative_path_and_no_name_are_undetermined() -> None:
    for binary in ("bin/nvidia-container-runtime", ""):
        with pytest.raises(Undetermined):
            _ = view(healthy(SimNode(), text=config("1.7.24", binary=binary))).path


def test_without_a_daemon_our_own_namespace_is_meant() -> None:
    node = healthy(SimNode())
    node.procs.clear()
    assert view(node).root == ""
