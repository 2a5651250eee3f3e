"""Remedies for the way to a node."""

from __future__ import annotations

import pytest

from pytest_gpuready.node.facts import EXHAUSTED, FAILED, INTERRUPTED, OVERDUE, Cause, Fact, Facts, cause_of
from pytest_gpuready.remedies.node import NodeRemedies
from pytest_gpuready.views import Views
from tests.support.simnode import SimNode


def mend(label: str) -> NodeRemedies:
    return NodeRemedies(Views(SimNode(label=label).facts()))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Host key verification failed.", "fingerprint"),
        ("root@n1: Permission denied (publickey).", "ssh-copy-id"),
        ("ssh: Could not resolve hostname n1", "not known here"),
        ("Connection timed out", "firewall"),
        ("This account is currently not available.", "nologin"),
        ("something else", "by hand first"),
    ],
)
def test_what_ssh_says_has_an_answer(said: str, words: str) -> None:
    assert words in mend("ssh://n1").reach(said).summary


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (Fact("timeout", note=OVERDUE), "did not answer"),
        (Fact("timeout", note=f"{OVERDUE} (Permission denied (publickey).)"), "ssh-copy-id"),
        (Fact("cut", note=f"{EXHAUSTED} (a limit)"), "Lower --gpuready-jobs"),
        (Fact("cut", note=INTERRUPTED), "Run it again"),
        (Fact("cut", note=f"{FAILED}: KeyError: 'x'"), "a fault of pytest-gpuready"),
        (Fact("cut", note="some words"), "by hand first"),
    ],
)
def test_a_cause_that_ssh_does_not_say_has_an_answer(fact: Fact, words: str) -> None:
    assert words in mend("ssh://n1").reach(fact.note, cause_of(fact)).summary


def test_answers_that_broke_off_have_one_and_their_words_alone_have_none() -> None:
    assert "Ask again." in mend("ssh://n1").reach("", Cause.BROKE_OFF).summary
    assert "by hand first" in mend("ssh://n1").reach("the answers broke off").summary


@pytest.mark.parametrize(
    ("label", "command"),
    [
        ("ssh://n1", "ssh -o BatchMode=yes n1 true"),
        ("ssh://root@n1:22", "ssh -o BatchMode=yes -p 22 root@n1 true"),
        ("ssh://root@[fe80::1]:22", "ssh -o BatchMode=yes -p 22 root@fe80::1 true"),
        ("ssh://[fe80::1]", "ssh -o BatchMode=yes fe80::1 true"),
        ("ssh://fe80::1", "ssh -o BatchMode=yes fe80::1 true"),
        ("ssh://4711", "ssh -o BatchMode=yes 4711 true"),
        ("ssh://$(reboot)", "ssh -o BatchMode=yes '$(reboot)' true"),
        ("ssh://n1:$(reboot)", "ssh -o BatchMode=yes 'n1:$(reboot)' true"),
    ],
)
def test_the_login_to_try_is_typed_out_and_quoted(label: str, command: str) -> None:
    assert mend(label).reach("").commands == (command,)


def test_other_transports_have_no_login_to_try() -> None:
    assert mend("docker://x").reach("").commands == ()


def test_privileges_are_had_as_the_transport_allows() -> None:
    assert mend("local").privileges().commands == ("pytest --gpuready --sudo",)
    assert mend("ssh://n1").privileges().commands == ("pytest --gpuready --sudo --hosts=ssh://n1",)
    assert mend("snapshot://a").privileges().commands == ()


def test_sudo_gets_a_rule_and_the_rule_is_checked() -> None:
    assert "visudo -c" in NodeRemedies(Views(Facts("local"))).sudo().commands[-1]
