"""A service whose own command line does not run: what its ExecStart is to be instead."""

from __future__ import annotations

import pytest

from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.views import Views
from tests.support.containerd import healthy, stopped
from tests.support.simnode import SimNode

UNKNOWN = (
    "Incorrect Usage. flag provided but not defined: {0}\n\nNAME:\ncontainerd: flag provided but not defined: {0}\n"
)


def node(command: str, *, status: str = "1", said: str = "") -> SimNode:
    """A node with a service that fails: its command, its exit status, what the journal has."""
    found = stopped(healthy(SimNode(), "2.1.9"))
    line = f"{{ path={command.split(maxsplit=1)[0]} ; argv[]={command} ; ignore_errors=no ; pid=0 }}"
    found.units["containerd.service"] |= {
        "ActiveState": "activating", "Result": "exit-code", "ExecStart": line, "ExecMainStatus": status,
    }  # fmt: skip
    return found.answer(("journalctl",), said)


def start(found: SimNode) -> tuple[str, tuple[str, ...]]:
    remedy = ContainerdRemedies(Views(found.facts())).start()
    return remedy.summary, remedy.commands


def drop_in(line: str) -> tuple[str, ...]:
    folder = "/etc/systemd/system/containerd.service.d"
    return (
        f"sudo mkdir -p {folder}",
        f"sudo tee {folder}/zz-gpuready.conf <<'EOF'\n[Service]\nExecStart=\nExecStart={line}\nEOF",
        "sudo systemctl daemon-reload",
        "sudo systemctl restart containerd",
    )


@pytest.mark.parametrize(
    ("command", "flag", "mended"),
    [
        ("/usr/bin/containerd --confg /etc/c.toml", "-confg", "/usr/bin/containerd"),
        ("/usr/bin/containerd -confg=/etc/c.toml -l debug", "-confg", "/usr/bin/containerd -l debug"),
        ("/usr/bin/containerd --trace -c /etc/c.toml", "-trace", "/usr/bin/containerd -c /etc/c.toml"),
        ("/usr/bin/containerd -c /c.toml --trace a -l debug", "-trace", "/usr/bin/containerd -c /c.toml -l debug"),
        ("/usr/bin/containerd --trace --tracer a b", "-trace", "/usr/bin/containerd --tracer a b"),
        ("/usr/bin/containerd -l trace --trace", "-trace", "/usr/bin/containerd -l trace"),
    ],
)  # fmt: skip
def test_a_flag_that_containerd_has_not_is_left_out_with_its_value(command: str, flag: str, mended: str) -> None:
    summary, commands = start(node(command, said=UNKNOWN.format(flag)))
    assert summary == (
        f"containerd has no {flag}, or wants a value with it: give its service another command (or mend it where "
        "`systemctl cat containerd.service` shows it)."
    )
    assert commands == drop_in(mended)


def test_a_flag_without_its_value_is_left_out() -> None:
    said = "containerd: flag needs an argument: -config\n"
    assert start(node("/usr/bin/containerd --config", said=said))[1] == drop_in("/usr/bin/containerd")


def test_a_program_that_cannot_be_run_gives_way_to_the_one_that_is_there() -> None:
    summary, commands = start(node("/usr/local/bin/containerd -c /etc/c.toml", status="203"))
    assert summary.startswith("/usr/local/bin/containerd cannot be run: ")
    assert commands == drop_in("/usr/bin/containerd -c /etc/c.toml")


def test_where_the_one_that_is_there_cannot_be_run_or_there_is_none_its_package_is_installed_again() -> None:
    again = "Put containerd beside containerd again: it comes with containerd's own archive and packages."
    assert start(node("/usr/bin/containerd", status="203")) == (again, ())
    gone = node("/usr/local/bin/containerd", status="203").remove("/usr/bin/containerd")
    assert start(gone) == (again, ())


@pytest.mark.parametrize("word", ["$OPTIONS", "%i", "a\\x20b", "'a"])
def test_what_systemd_would_read_otherwise_is_for_a_person(word: str) -> None:
    summary, commands = start(node(f"/usr/bin/containerd --trace {word} {word}", said=UNKNOWN.format("-trace")))
    assert summary.endswith(": mend ExecStart (`systemctl cat containerd.service`), then restart it.")
    assert commands == ()


def test_a_service_that_ended_for_another_reason_is_started() -> None:
    found = node("/usr/bin/containerd", said="containerd: not a valid logrus Level\n")
    assert start(found)[1] == ("sudo systemctl enable --now containerd",)
    assert start(stopped(healthy(SimNode())))[1] == ("sudo systemctl enable --now containerd",)
