"""The one program that sudo may permit instead of a shell: what it prints, and what is taken of it.

Here it is run by whoever runs the tests; with a real sudo, a real rule and a plain user it is run in tests/lab.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.node.facts import SUDO, Fact, file, files, run, script, stat
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.rooted import ASK, PROGRAM, program, read, version
from pytest_gpuready.node.transport import Options, Reply, by_rule, shell_command
from tests.support.scripted import NONCE, Scripted, framed
from tests.support.shell import shells

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.node.facts import Request

BODY = 'echo "$1 said"; id -u'


def asked(folder: Path) -> list[Request]:
    """One request of each kind; one script twice."""
    path = str(folder / "a")
    return [file(path), stat(path), files(f"{folder}/*.toml"), script("s", BODY, "x"), script("s", BODY, "y")]


def ran(folder: Path, requests: list[Request], shell: str = "sh", **environment: str) -> bytes:
    """What the program prints, run from a file as sudo runs it."""
    place = folder / "gpuready-read"
    place.write_text(program(requests))
    line = ["busybox", "sh"] if shell == "busybox" else [shell]
    done = subprocess.run(
        [*line, str(place)], input=b"touch PWNED\n", capture_output=True, check=True, env={**os.environ, **environment}
    )
    assert done.stderr == b""
    return done.stdout


@pytest.mark.parametrize("shell", shells("dash", "bash", "busybox"))
def test_it_answers_what_the_plain_shell_would_answer(tmp_path: Path, shell: str) -> None:
    (tmp_path / "a").write_bytes(b"\0\xff\nforged")
    (tmp_path / "b.toml").write_text("version = 3\n")
    requests = asked(tmp_path)
    answers = read(Fact("ok", ran(tmp_path, requests, shell), 0), requests)
    assert isinstance(answers, dict)
    assert answers[requests[0]].data == b"\0\xff\nforged"
    assert answers[file(str(tmp_path / "b.toml"))].text == "version = 3\n"
    assert answers[requests[3]].text.startswith("x said")
    assert answers[requests[4]].text.startswith("y said")
    assert answers[requests[1]].state == "ok"


def test_its_nonce_is_new_every_time_and_its_text_is_not(tmp_path: Path) -> None:
    requests = asked(tmp_path)
    first, second = (ran(tmp_path, requests).split(b"\n", 1)[0].split() for _ in range(2))
    assert first[:2] == second[:2] == [b"gpuready-read", version(requests).encode()]
    assert first[2] != second[2]
    assert program(requests) == program(requests)
    assert version(requests) != version(requests[:-1])
    assert program(requests).count(BODY) == 1


def test_neither_its_input_nor_the_callers_path_and_folder_reach_it(tmp_path: Path) -> None:
    """Where a site lets sudo keep the environment."""
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("head", "stat", "sh", "id", "timeout", "sleep"):
        (evil / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/PWNED\n")
        (evil / name).chmod(0o755)
    (tmp_path / "rc").write_text(f"touch {tmp_path}/PWNED\n")
    ran(tmp_path, asked(tmp_path), "/bin/sh", PATH=f"{evil}:{os.environ['PATH']}", ENV=str(tmp_path / "rc"))
    assert not (tmp_path / "PWNED").exists()


def test_what_is_said_of_sudo_where_there_are_no_answers(tmp_path: Path) -> None:
    requests = asked(tmp_path)
    assert read(Fact("ok", b"", 0), requests) == {}
    assert read(Fact("ok", b"", 1, "sudo: a password is required"), requests) == Fact(
        "denied", note="sudo: a password is required"
    )
    assert read(Fact("ok", b"", 3), requests) == Fact("denied", note=f"{PROGRAM} did not answer (exit status 3)")
    assert read(Fact("timeout", note="no answer within 20 s"), requests) == Fact(
        "timeout", note="sudo gpuready-read: no answer within 20 s"
    )
    other = Fact("ok", b"gpuready-read 0123 n\n", 0)
    assert read(other, requests) == Fact(
        "denied", note=f"{PROGRAM} on the node is another version's; install this one's"
    )


def reply_of(output: bytes, rc: int, note: str, *rest: bytes) -> bytes:
    """A round that begins with the program's answer, and goes on with files."""
    head = f"\n{NONCE} 0 b\n".encode() + output + f"\n{NONCE} 0 m\n{note}\n{NONCE}-rc {rc} 1.0 1.1 \n".encode()
    files = framed(*rest).replace(f"{NONCE} 0 ".encode(), f"{NONCE} 1 ".encode())
    return head + f"\n{NONCE}-out 1.2\n{NONCE} 0 e rc\n".encode() + files


def test_its_answers_stand_before_the_plain_users_and_it_is_no_fact_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("token = 'hush-hush-hush'\nroot's")
    requests = asked(tmp_path)
    reply = Reply(reply_of(ran(tmp_path, requests), 0, "", b"the user's"), complete=True)
    transport = Scripted([reply], sudo=True, by_rule=True)
    facts = gather(transport, "n", lambda _: [requests[0]], 5, requests)
    assert "root's" in str(facts.text(requests[0]))
    assert "hush-hush" not in str(facts.text(requests[0]))
    assert facts.peek(SUDO) == Fact("ok")
    assert ASK not in facts
    assert PROGRAM in transport.scripts[0]


def test_a_refusal_ends_the_asking(tmp_path: Path) -> None:
    requests = asked(tmp_path)
    reply = Reply(reply_of(b"", 1, "sudo: a password is required", b"the user's"), complete=True)
    facts = gather(Scripted([reply], sudo=True, by_rule=True), "n", lambda _: [requests[0]], 5, requests)
    assert facts.peek(SUDO) == Fact("denied", note="sudo: a password is required")
    assert requests[0] not in facts


@pytest.mark.parametrize("rooted", [True, False])
def test_a_shell_that_is_roots_is_asked_itself(tmp_path: Path, rooted: bool) -> None:  # noqa: FBT001
    """The program says nothing there; without a sudo it is not even asked."""
    requests = asked(tmp_path)
    reply = Reply(reply_of(b"", 0, "", b"root's") if rooted else framed(b"root's"), complete=True)
    facts = gather(Scripted([reply], sudo=rooted, by_rule=rooted), "n", lambda _: [requests[0]], 5, requests)
    assert facts.text(requests[0]) == "root's"
    assert facts.peek(SUDO) == Fact("ok")


def test_only_where_root_is_asked_for_may_the_program_stand_for_a_shell() -> None:
    node = parse("ssh://n1")
    assert by_rule(node, Options(sudo=True))
    assert not by_rule(node, Options())
    assert not by_rule(node, Options(sudo=True, sudo_user="gpu"))
    assert not by_rule(parse("ssh://n1?sudo_user=gpu"), Options(sudo=True))
    assert PROGRAM in shell_command("g", Options(sudo=True), node)
    assert PROGRAM not in shell_command("g", Options(sudo=True, sudo_user="gpu"), node)


@pytest.mark.parametrize(("there", "refused", "sudos"), [(False, False, 1), (True, False, 2), (True, True, 1)])
def test_without_the_program_sudo_is_called_once_as_ever(
    tmp_path: Path, *, there: bool, refused: bool, sudos: int
) -> None:
    """The sudo is a stand-in: it runs or refuses what it is given and counts; it cannot show a rule."""
    (tmp_path / "sudo").write_text(
        f'#!/bin/sh\necho x >>{tmp_path}/calls\n{"exit 1" if refused else "shift 2"}\nexec "$@"\n'
    )
    (tmp_path / "sudo").chmod(0o755)
    command = shell_command("g", Options(sudo=True), parse("local://"))
    place = tmp_path / "gpuready-read"
    if there:
        place.write_text("#!/bin/sh\n")
        place.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", command.replace(PROGRAM, str(place))],
        input=b"echo in a shell\n",
        capture_output=True,
        check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout.decode().split("\n") == ["", "g", "in a shell", ""]
    assert len((tmp_path / "calls").read_text().splitlines()) == sudos


def test_the_question_is_a_question_of_ours() -> None:
    """Root has nothing to ask sudo for."""
    done = subprocess.run(["sh", "-c", ASK.body], capture_output=True, check=False)
    if os.geteuid() == 0:
        assert (done.returncode, done.stdout) == (0, b"")
    assert run("x") != ASK
