"""containerd's files against the daemon that they are of: why it does not start, and what a restart would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.checks.test_containerd import commands, finding, outcome
from tests.support.containerd import CONFIG, config, healthy, loaded, says, stopped
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from tests.support.containerd import Live

GONE = "/etc/containerd/gone.toml"
UPGRADED = " (it still is containerd 1.7.24; 1.7.34 was installed since)"
TIMES = f"pid 900 started 2026-02-02 02:40:00 UTC\n{CONFIG} changed 2025-10-09 08:53:20 UTC"


def of_no_known_version(node: SimNode) -> SimNode:
    return node.answer(("containerd", "--version"), "what?\n")


def with_kata(node: SimNode) -> Live:
    """The daemon has loaded a handler more than there is on disk."""
    live = loaded(node, "1.7.24")
    live.handlers["kata"] = {"runtimeType": "io.containerd.kata.v2"}
    return live


# ------------------------------------------------------------------------------------------ config-loads, cri-enabled


@pytest.mark.parametrize(
    ("text", "found", "where"),
    [
        ('version = 2\nstate = "/var/lib/containerd"\n', "containerd: root and state must be different paths", CONFIG),
        (
            f'version = 2\nimports = ["{GONE}"]\n',
            f"containerd: failed to load TOML: {GONE}: open {GONE}: no such file or directory",
            f"{CONFIG}:2",
        ),
    ],
)
def test_a_daemon_that_would_not_start_says_why_at_the_line_or_else_the_file(text: str, found: str, where: str) -> None:
    said = outcome(healthy(SimNode(), text=text), "config-loads")
    assert (said.found, str(said.where)) == (found, where)


@pytest.mark.parametrize(("table", "line"), [("", ""), ('[plugins.cri.containerd]\nsnapshotter = "overlayfs"\n', ":3")])
def test_a_cri_plugin_that_would_fail_says_why_at_the_line_or_else_the_file(table: str, line: str) -> None:
    node = healthy(SimNode(), text=f'disabled_plugins = ["overlayfs"]\n{table}')
    said = outcome(node, "cri-enabled")
    assert said.found == (
        "the CRI plugin would fail: io.containerd.grpc.v1.cri: failed to create CRI service: "
        'failed to find snapshotter "overlayfs"'
    )
    assert str(said.where) == f"{CONFIG}{line}"


def test_files_beyond_what_is_modelled_are_told_from_a_version_that_is_not_known() -> None:
    deep = healthy(SimNode(), text=f"x = {'[' * 20_000}")
    assert outcome(deep, "config-loads").found.startswith("these files are beyond what is modelled: everything (")
    unknown = of_no_known_version(stopped(healthy(SimNode(), text="version = 7\n")))
    assert outcome(unknown, "config-loads").found.startswith("its version is not known: loads, ")


def test_a_daemon_that_is_down_is_a_root_where_nobody_can_say_whether_its_files_load() -> None:
    node = of_no_known_version(stopped(healthy(SimNode(), text="version = 7\n")))
    found = finding(node, "running")
    assert (found.status, found.blocked_by) == ("fail", ())


# ----------------------------------------------------------------------------------------------------------- restarted


def test_an_upgrade_without_a_restart_is_told_whether_it_matters_or_not() -> None:
    node = healthy(SimNode())
    node.answer(("containerd", "--version"), "containerd github.com/containerd/containerd v1.7.34 0123abc\n")
    assert outcome(node, "restarted").found == f"pid 900 serves what is on disk{UPGRADED}"
    found = outcome(says(node, with_kata(node)), "restarted")
    assert found.found == f"handler kata: missing on disk, there in the running daemon{UPGRADED}"


def test_a_handler_that_runs_runc_on_disk_and_nvidias_runtime_live_is_the_files_matter() -> None:
    """A restart would break what works."""
    node = healthy(SimNode(), text=config("1.7.24", binary="/usr/bin/runc"))
    says(node, loaded(healthy(SimNode()), "1.7.24"))
    assert finding(node, "restarted").blocked_by == ("containerd.handler",)


def test_a_handler_that_neither_has_keeps_no_other_difference_from_being_told() -> None:
    node = healthy(SimNode(), text="version = 2\n")
    live = loaded(node, "1.7.24")
    live.default = "kata"
    found = finding(says(node, live), "restarted")
    assert found.outcome.found == "default_runtime_name: runc on disk, kata in the running daemon"
    assert found.blocked_by == ()


@pytest.mark.parametrize("unknown", ["", "start", "change"])
def test_the_times_are_the_evidence_where_both_are_known(unknown: str) -> None:
    node = healthy(SimNode())
    if unknown == "start":
        node.boot = 1_800_000_000_000_000_000_000
    if unknown == "change":
        node.remove("/etc/containerd")
    says(node, with_kata(node))
    found = outcome(node, "restarted")
    assert found.status == "fail"
    assert [(item.source, item.text) for item in found.evidence] == ([] if unknown else [("times", TIMES)])
    assert commands(node, "restarted") == ("sudo systemctl restart containerd",)
