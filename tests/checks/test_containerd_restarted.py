"""What the daemon has loaded against what is on disk, told by the daemon, or by time."""

from __future__ import annotations

import pytest

from tests.support.containerd import (
    CONFIG,
    NO_TOOL,
    RESTART,
    Live,
    commands,
    config,
    finding,
    healthy,
    loaded,
    mine,
    outcome,
    says,
)
from tests.support.findings import evidence
from tests.support.simnode import SimNode

UPGRADED = " (it still is containerd 1.7.24; 1.7.34 was installed since)"
TIMES = f"pid 900 started 2026-02-02 02:40:00 UTC\n{CONFIG} changed 2025-10-09 08:53:20 UTC"


def with_kata(node: SimNode) -> Live:
    """The daemon has loaded a handler more than there is on disk."""
    live = loaded(node, "1.7.24")
    live.handlers["kata"] = {"runtimeType": "io.containerd.kata.v2"}
    return live


# ---------------------------------------------------------------------- what the daemon tells


def test_every_difference_is_told_with_where_it_is_set() -> None:
    node = healthy(SimNode(), "2.1.9", text=config("2.1.9", systemd=True))
    live = loaded(node, "2.1.9")
    live.handlers["nvidia"]["options"] = {"BinaryName": "/old", "SystemdCgroup": False}
    live.handlers["kata"] = {"runtimeType": "io.containerd.kata.v2"}
    live.default, live.cdi, live.dirs = "kata", False, ("/x",)
    found = outcome(says(node, live), "restarted").found
    for words in ("default_runtime_name", "BinaryName of handler nvidia: /usr", "SystemdCgroup", "and "):
        assert words in found


def test_cri_on_by_the_files_and_off_live_needs_a_restart() -> None:
    node = says(healthy(SimNode()), Live("1.7.24", served=False))
    assert outcome(node, "restarted").found == "the CRI plugin: served on disk, not served in the running daemon"


def test_a_daemon_that_starts_up_is_not_taken_for_one_without_handlers() -> None:
    node = says(healthy(SimNode()), Live("1.7.24", refusal=(14, "server is not initialized yet")))
    found = outcome(node, "restarted")
    assert found.status == "pass"
    assert "by time" in found.found


def test_a_handler_missing_on_disk_alone_is_the_files_fault() -> None:
    node = healthy(SimNode())
    node.put(CONFIG, "version = 2\n")
    report = node.judge()
    assert mine(report) == ["containerd.handler"]
    assert report.findings["containerd.restarted"].blocked_by == ("containerd.handler",)


def test_four_differences_are_told_and_the_rest_counted() -> None:
    node = healthy(SimNode(), "2.1.9")
    live = loaded(node, "2.1.9")
    for number in range(4):
        live.handlers[f"x{number}"] = {"runtimeType": "io.containerd.kata.v2"}
    found = outcome(says(node, live), "restarted")
    assert found.found.count("; ") == 3
    assert "more" not in found.found
    live.handlers["x4"] = {"runtimeType": "io.containerd.kata.v2"}
    found = outcome(says(node, live), "restarted")
    assert found.found.endswith("; and 1 more")
    assert str(found.where) == CONFIG


def test_a_live_handler_without_nvidias_runtime_is_no_fault_of_the_file() -> None:
    node = healthy(SimNode())
    live = loaded(node, "1.7.24")
    live.handlers["nvidia"]["options"] = {"BinaryName": "/usr/bin/runc"}
    assert finding(says(node, live), "restarted").status == "fail"
    node.put(CONFIG, "version = 2\n")
    assert finding(node, "restarted").status == "fail"
    off = healthy(SimNode())
    off.put(CONFIG, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    assert outcome(off, "restarted").found == "the CRI plugin: not loaded on disk, served in the running daemon"


def test_an_upgrade_without_a_restart_is_told_whether_it_matters_or_not() -> None:
    node = healthy(SimNode())
    node.answer(("containerd", "--version"), "containerd github.com/containerd/containerd v1.7.34 0123abc\n")
    assert outcome(node, "restarted").found == f"pid 900 serves what is on disk{UPGRADED}"
    found = outcome(says(node, with_kata(node)), "restarted")
    assert found.found == f"handler kata: missing on disk, there in the running daemon{UPGRADED}"


def test_a_handler_that_lost_its_runtime_on_disk_is_the_files_fault() -> None:
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


# ---------------------------------------------------------------------- times


def test_without_a_client_on_the_node_times_decide() -> None:
    node = says(healthy(SimNode()), NO_TOOL)
    assert outcome(node, "restarted").found.startswith("by time: pid 900 was started after the last change of")
    node.tree[CONFIG].ctime = 1_775_000_000
    found = outcome(node, "restarted")
    assert found.status == "unknown"
    assert found.where is not None
    assert found.where.path == CONFIG
    assert f"{CONFIG} changed 2026-" in found.evidence[0].text
    assert commands(node, "restarted") == (RESTART,)


def test_a_file_that_was_only_touched_is_no_difference() -> None:
    node = healthy(SimNode())
    node.tree[CONFIG].mtime = node.tree[CONFIG].ctime = 1_775_000_000
    assert finding(node, "restarted").status == "pass"


def test_a_drop_in_that_was_deleted_since_leaves_its_folders_time() -> None:
    text = 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + config("1.7.24")
    node = says(healthy(SimNode(), text=text), NO_TOOL).folder("/etc/containerd/conf.d", mtime=1_775_000_000)
    found = outcome(node, "restarted")
    assert (found.status, found.where and found.where.path) == ("unknown", "/etc/containerd/conf.d")


def test_an_unknown_start_is_settled_by_a_restart() -> None:
    node = says(healthy(SimNode()), NO_TOOL)
    node.boot = 1_800_000_000_000_000_000_000
    found = outcome(node, "restarted")
    assert (found.status, "is not known" in found.found) == ("unknown", True)
    assert commands(node, "restarted") == (RESTART,)


def test_when_each_happened_is_the_evidence() -> None:
    node = healthy(SimNode())
    live = loaded(node, "1.7.24")
    del live.handlers["nvidia"]
    found = outcome(says(node, live), "restarted")
    assert evidence(found) == [
        ("times", f"pid 900 started 2026-02-02 02:40:00 UTC\n{CONFIG} changed 2025-10-09 08:53:20 UTC")
    ]


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
