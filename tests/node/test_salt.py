"""A Salt minion as a node: each round is a job, and the answers are those of a shell that is kept.

`TestRealSalt` needs Salt on this machine and skips without it; the stand-in is a module that runs the job here. See
tests/support/salt.py for what it can show.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.node.facts import SUDO, Facts, run
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.inside import SALT, salt_python, salt_round
from pytest_gpuready.node.transport import Options, Shell, argv
from tests.support.transports import healthy, same_as_local, why

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Request
    from tests.support.salt import Master, StandIn

#: Bytes that Salt would change on their way: what is no UTF-8, a NUL, a backslash before an n, blanks at the end.
ODD = b"a\xff\\n\0b \n\n"


def rounds(spec: str, *requests: Request, seconds: float = 60) -> Facts:
    """The facts after a round for each request."""
    with Shell(parse(spec), Options()) as shell:
        return gather(shell, spec, lambda facts: requests[: 1 + sum(request in facts for request in requests)], seconds)


def ask(spec: str, seconds: float = 60) -> Facts:
    """The facts of two rounds."""
    return rounds(spec, run("echo", "one"), run("echo", "two"), seconds=seconds)


def odd_bytes_survive(spec: str, folder: Path) -> None:
    """In what a command prints in the first round, and in a path of the second."""
    file = os.fsdecode(os.fsencode(folder) + b"/x\xff\\n")
    Path(file).write_bytes(ODD)
    first, second = run("printf", r"a\377\\n\000b \n\n"), run("cat", file)
    facts = rounds(spec, first, second)
    assert (facts.fact(first).data, facts.fact(second).data) == (ODD, ODD)


class TestStandIn:
    def test_each_round_is_one_job_with_the_whole_script(self, stand_in: StandIn) -> None:
        assert healthy(ask("salt://box.1"))
        jobs = stand_in.jobs
        assert len(jobs) == 2
        for job in jobs:
            assert (job["tgt"], job["tgt_type"], job["fun"]) == (["box.1"], "list", "cmd.run_all")
            assert 1 <= job["kwarg"]["timeout"] <= 60
            script = base64.b64decode(job["kwarg"]["stdin"]).decode()
            assert script.startswith("N=")
            assert script.count("\nexec 4>&1\n") == 1

    def test_bytes_survive(self, stand_in: StandIn, tmp_path: Path) -> None:
        odd_bytes_survive("salt://box", tmp_path)
        assert len(stand_in.jobs) == 2

    @pytest.mark.usefixtures("stand_in")
    def test_checks_say_what_they_say_locally(self) -> None:
        same_as_local(parse("salt://box"))

    @pytest.mark.usefixtures("stand_in")
    @pytest.mark.parametrize(
        ("minion", "words"),
        [
            ("nobody", "no minion nobody is known to the master (its key is not accepted, or it has another id)"),
            ("silent", "the minion silent did not answer; is it connected?"),
            ("denied", "Permission denied by the Salt master (Authentication error occurred.)"),
            ("down", "The salt master could not be contacted. Is master running?"),
            ("without", "the minion without did not run the job: 'cmd.run_all' is not available."),
            ("bare", "salt:// needs base64 on the node, which has none; use ssh://"),
        ],
    )
    def test_what_goes_wrong_is_one_sentence(self, minion: str, words: str) -> None:
        told = why(ask(f"salt://{minion}"))
        assert told.startswith(words)
        assert "Traceback" not in told

    @pytest.mark.usefixtures("stand_in")
    def test_an_answer_that_salt_cuts_is_no_answer(self) -> None:
        """What gzip makes small enough is one: the limit is for what travels."""
        small = run("head", "-c", "3000000", "/dev/zero", limit=4_000_000)
        large = run("head", "-c", "2000000", "/dev/urandom", limit=4_000_000)
        facts = rounds("salt://box", small, large)
        assert len(facts.fact(small).data) == 3_000_000
        cut = facts.peek(large)
        assert cut is not None
        assert cut.state == "cut"
        with Shell(parse("salt://box"), Options()) as shell:
            gather(shell, "box", lambda _: [large], 60)
            assert shell.complaint.endswith("is longer than its or the master's max_event_size")

    @pytest.mark.usefixtures("stand_in")
    def test_a_job_that_takes_too_long_is_ended_on_the_minion(self) -> None:
        line, _ = argv(parse("salt://box"), Options(), "sh -s")
        done = subprocess.run(line, input=salt_round(b"sleep 3", 1), capture_output=True, check=False)
        assert done.stderr == b"the job on the minion box ended: Timed out after 1 seconds\n"
        assert done.returncode == 255

    def test_sudo_is_meant_on_the_minion(self, stand_in: StandIn) -> None:
        facts = ask("salt://box?sudo=true&sudo_user=no-such-user-here")
        fact = facts.peek(SUDO)
        assert fact is not None
        assert fact.state == "denied"
        assert "sudo" in fact.note
        assert "sudo -n -u no-such-user-here -- sh -s" in stand_in.jobs[0]["arg"][0]


class TestPython:
    """Which Python is asked for the library."""

    def test_the_one_beside_the_program(self, stand_in: StandIn) -> None:
        """Salt's packages put a link to the program on PATH; their Python is in bin beside it."""
        assert salt_python() == str(stand_in.folder / "opt" / "bin" / "python3")
        line, environment = argv(parse("salt://m?timeout=7"), Options(), "command")
        assert line[1:4] == ["-W", "ignore", str(SALT)]
        assert line[4] == '{"minion": "m", "timeout": 7, "command": "command"}'
        assert environment == {}

    @pytest.mark.usefixtures("stand_in")
    def test_this_one_if_it_has_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder of states that is called salt is no library."""
        for origin, meant in (("salt/__init__.py", True), (None, False)):
            found = SimpleNamespace(origin=origin)
            monkeypatch.setattr("pytest_gpuready.node.inside.find_spec", lambda _, found=found: found)
            assert (salt_python() == sys.executable) == meant

    def test_without_the_library_it_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A module of its name that cannot be imported stands for a library that is not there."""
        (tmp_path / "salt.py").write_text("raise ImportError('none')\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        monkeypatch.setattr("pytest_gpuready.node.inside.shutil.which", lambda _: None)
        told = why(ask("salt://m"))
        assert told == "salt:// needs Salt's library on the master's machine: put its `salt` on PATH, or use ssh://"


def test_a_round_is_one_line_of_seconds_and_script() -> None:
    assert salt_round(b"\xff\n", 0.2) == b"1 /wo=\n"
    assert salt_round(b"", 59.1) == b"60 \n"


@pytest.mark.slow
class TestRealSalt:
    """A real master and a real minion, on this machine."""

    @pytest.fixture(autouse=True)
    def _environment(self, salt_master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in salt_master.environment.items():
            monkeypatch.setenv(name, value)

    def test_checks_say_what_they_say_locally(self, salt_master: Master) -> None:
        same_as_local(parse(f"salt://{salt_master.minion}"))

    def test_bytes_survive(self, salt_master: Master, tmp_path: Path) -> None:
        odd_bytes_survive(f"salt://{salt_master.minion}", tmp_path)

    def test_a_minion_that_is_not_known_is_one_sentence(self) -> None:
        assert why(ask("salt://nobody")).startswith("no minion nobody is known to the master")

    def test_a_minion_that_is_not_connected_is_one_sentence(self, salt_master: Master) -> None:
        """Another id with an accepted key, as one that is switched off has."""
        keys = salt_master.folder / "root" / "master-keys" / "minions"
        shutil.copy(keys / salt_master.minion, keys / "off")
        assert why(ask("salt://off", seconds=90)) == "the minion off did not answer; is it connected?"

    def test_a_master_that_does_not_run_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "master").write_text(f"root_dir: {tmp_path}\n")
        monkeypatch.setenv("SALT_CONFIG_DIR", str(tmp_path))
        assert why(ask("salt://nobody")).startswith("The salt master could not be contacted. Is master running?")

    def test_an_answer_that_salt_cuts_is_no_answer(self, salt_master: Master) -> None:
        large = run("head", "-c", "2000000", "/dev/urandom", limit=4_000_000)
        with Shell(parse(f"salt://{salt_master.minion}"), Options()) as shell:
            gather(shell, "here", lambda _: [large], 60)
            assert shell.complaint.endswith("is longer than its or the master's max_event_size")
