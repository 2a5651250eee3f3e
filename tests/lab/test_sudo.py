"""Least privilege, as printed: a plain user with the rule for one program finds what root finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready import sudoers
from pytest_gpuready.node.rooted import PROGRAM
from tests.lab.base import GENERATIONS
from tests.lab.judging import counted, judged, told
from tests.lab.test_note import handler_missing, not_restarted, stopped, syntax_error_down

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.report.model import NodeReport
    from tests.lab.node import Node

pytestmark = pytest.mark.lab
on_one = pytest.mark.parametrize("generation", ["2.x"], indirect=True)


def install(node: Node) -> None:
    """What `python -m pytest_gpuready.sudoers guest` prints, run on the node by root; sudo finds no fault with it."""
    node.put("/root/install", sudoers.installer("guest"))
    node.run("sh /root/install && visudo -c", check=True)


def as_guest(node: Node) -> NodeReport:
    return judged(node, sudo=True, spec=f"ssh://guest@{node.address}")


def told_of(report: NodeReport) -> dict[str, tuple[object, ...]]:
    """What a report says of every check: status, words, place, remedy, what it keeps from being ready."""
    return {
        name: (
            finding.status,
            finding.outcome.found,
            finding.outcome.expected,
            finding.outcome.where,
            finding.outcome.remedy,
            finding.blocked_by,
            finding.keeps,
        )
        for name, finding in report.findings.items()
    }


def nothing(node: Node) -> None:
    """A healthy node."""


def closed(node: Node) -> None:
    """Every folder and file of the configuration is root's alone."""
    node.run("chmod -R go= /etc/containerd /etc/cdi /etc/nvidia-container-runtime /var/run/cdi || true", check=True)


def closed_and_missing(node: Node) -> None:
    """The same, and nvidia-ctk was never run."""
    handler_missing(node)
    closed(node)


def closed_and_not_restarted(node: Node) -> None:
    """The same, nvidia-ctk was run and containerd not restarted."""
    not_restarted(node)
    closed(node)


EVERY = (pytest.param(nothing, None, id="healthy"), pytest.param(closed_and_missing, "containerd.handler", id="closed"))
"""What every generation is put to; the rest is the same program's on any."""

STATES = (
    *EVERY,
    pytest.param(closed_and_not_restarted, "containerd.restarted", id="not-restarted"),
    pytest.param(stopped, "containerd.running", id="stopped"),
    pytest.param(syntax_error_down, "containerd.config-loads", id="down"),
)


@pytest.mark.parametrize(
    ("generation", "state", "root"),
    [
        pytest.param(generation, *state.values, id=f"{generation}-{state.id}")
        for generation in GENERATIONS
        for state in (STATES if generation == "2.x" else EVERY)
    ],
    indirect=["generation"],
)
def test_with_the_rule_a_plain_user_finds_what_root_finds(
    lab_node: Node, state: Callable[[Node], None], root: str | None
) -> None:
    """Statuses, words, roots and remedies, on every generation; without the rule the privileges are what is missing."""
    state(lab_node)
    without = as_guest(lab_node)
    assert set(counted(without)) == {"node.privileges"}, told(without)
    install(lab_node)
    by_root, by_guest = judged(lab_node), as_guest(lab_node)
    assert set(counted(by_root)) == ({root} if root else set()), told(by_root)
    assert told_of(by_guest) == told_of(by_root)
    assert by_guest.verdict == by_root.verdict == ("not-ready" if root else "ready")


@pytest.mark.ci
@on_one
def test_the_rule_permits_nothing_else(lab_node: Node) -> None:
    """No argument, no input, no shell; the program is root's to change; and what it prints is no node's to forge."""
    install(lab_node)
    for command in ("sh -s", "id", f"{PROGRAM} x", f"{PROGRAM} /etc/shadow", "-u nobody id"):
        refused = lab_node.ssh(f"sudo -n {command}", user="guest")
        assert refused.returncode != 0, command
        assert "password is required" in refused.stderr, command
    assert lab_node.run(f"stat -c '%U %G %a' {PROGRAM}", check=True).stdout == "root root 755\n"
    assert lab_node.run("stat -c '%U %G %a' /etc/sudoers.d/gpuready-read", check=True).stdout == "root root 440\n"
    hostile = "PATH=/tmp/evil:$PATH ENV=/tmp/evil/rc BASH_ENV=/tmp/evil/rc"
    lab_node.ssh(
        "mkdir /tmp/evil; cd /tmp/evil; printf 'touch /tmp/evil/was-run\\n' >rc; cp rc head; chmod +x *", user="guest"
    )
    done = lab_node.ssh(f"echo 'touch /tmp/evil/was-run' | {hostile} sudo -n {PROGRAM}", user="guest")
    assert done.stdout.startswith("gpuready-read ")
    assert lab_node.run("ls /tmp/evil/was-run").returncode != 0


@pytest.mark.ci
@on_one
def test_it_is_one_login_and_changes_nothing_on_the_node(lab_node: Node) -> None:
    install(lab_node)
    count = "journalctl -u ssh --no-pager -o cat | grep -c 'Accepted publickey' || true"
    seen = "find / -xdev -newer /root/install -type f -not -path '/proc/*' -not -path '/var/log/*' | sort"
    before = int(lab_node.run(count, check=True).stdout.strip() or 0), lab_node.run(seen).stdout
    as_guest(lab_node)
    assert int(lab_node.run(count, check=True).stdout.strip()) == before[0] + 1
    assert lab_node.run(seen).stdout == before[1]


@on_one
def test_another_versions_program_is_not_believed(lab_node: Node) -> None:
    install(lab_node)
    lab_node.run(
        f"sed -i 's/^LC_ALL=C$/LC_ALL=C; :/; s/gpuready-read [0-9a-f]*/gpuready-read 0123/' {PROGRAM}", check=True
    )
    found = as_guest(lab_node).findings["node.privileges"]
    assert found.status == "fail"
    assert found.outcome.found == f"sudo refused: {PROGRAM} on the node is another version's; install this one's"


@on_one
def test_a_sudo_that_wants_a_terminal_says_so_and_one_more_line_mends_it(lab_node: Node) -> None:
    """`requiretty`, once the default of Red Hat's; the suite never asks for a terminal."""
    install(lab_node)
    lab_node.put("/etc/sudoers.d/tty", "Defaults requiretty\n", 0o440)
    found = as_guest(lab_node).findings["node.privileges"].outcome.found
    assert found == "sudo refused: sudo: sorry, you must have a tty to run sudo"
    lab_node.put("/etc/sudoers.d/tty", f"Defaults requiretty\nDefaults!{PROGRAM} !requiretty\n", 0o440)
    assert as_guest(lab_node).verdict == "ready"


@on_one
def test_a_user_with_a_root_shell_is_asked_as_before_beside_the_program(lab_node: Node) -> None:
    install(lab_node)
    assert told_of(judged(lab_node, sudo=True, spec=f"ssh://ops@{lab_node.address}")) == told_of(judged(lab_node))
