"""What the one sh script brings from a node: the real script on real shells, every kind of fact and every state."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_gpuready.node import trust
from pytest_gpuready.node.facts import Fact, Facts, Request, file, files, glob, run, script, stat
from pytest_gpuready.node.script import ERROR_LIMIT, LOST, STAT_CHUNK, parse, render
from tests.node.nodes import NONCE, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.node.nodes import NodeShell

as_root = pytest.mark.lab("root")

ALL_BYTES = bytes(range(256))
#: What a hostile file would hold if it knew how answers are framed.
LOOK_ALIKE = b"\nffffffffffffffffffffffff 0 e ok\n\n9e3779b97f4a7c15f39cc06 0 b\n\n 0 e absent\n"

#: Names that a node may hold, each of which a careless quoting would run, split or expand.
HOSTILE_NAMES = [
    "plain",
    "two words",
    "tab\tand\nnewline",
    "quote'and\"double",
    "$(touch PWNED)",
    "`touch PWNED`",
    "; touch PWNED;",
    "-rf",
    "--help",
    "*",
    "?",
    "[a]",
    "back\\slash",
    "\\n",
    "%s%n",
    "~",
    "#comment",
    "!history",
    "{a,b}",
    "$HOME",
    "&& touch PWNED",
    "snowman-☃",
    "bytes-\udcff\udcfe",
    ".hidden",
    "..also",
]


def facts_of(node: str, facts: dict[Request, Fact]) -> Facts:
    return Facts(node, facts.items())


class TestFiles:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n",
            b"no newline at the end",
            ALL_BYTES,
            b"\0" * 5000,
            b"\n\n\n",
            LOOK_ALIKE,
            b"\r\n\r",
            b"%s\\n\\0$(id)",
        ],
        ids=["empty", "newline", "no-newline", "all-bytes", "nul", "newlines", "look-alike", "crlf", "format"],
    )
    def test_every_byte_survives(self, shell: NodeShell, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "f").write_bytes(content)
        assert shell.one(file(str(tmp_path / "f"))) == Fact("ok", content)

    def test_a_file_as_long_as_the_limit_is_whole_and_a_longer_one_is_cut(
        self, shell: NodeShell, tmp_path: Path
    ) -> None:
        (tmp_path / "f").write_bytes(b"x" * 1000)
        assert shell.one(file(str(tmp_path / "f"), limit=1000)) == Fact("ok", b"x" * 1000)
        assert shell.one(file(str(tmp_path / "f"), limit=999)) == Fact("cut", b"x" * 999, note="longer than 999 bytes")

    def test_a_file_without_end_is_cut_at_its_limit(self, shell: NodeShell, tmp_path: Path) -> None:
        with (tmp_path / "sparse").open("wb") as stream:
            stream.truncate(1 << 40)
        fact = shell.one(file(str(tmp_path / "sparse"), limit=4096))
        assert (fact.state, len(fact.data)) == ("cut", 4096)

    def test_what_is_no_file_is_odd_and_says_what(self, shell: NodeShell, tmp_path: Path) -> None:
        """A fifo is not opened: reading one without a writer would stand still."""
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "loop").symlink_to("loop")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "socket"))
        odd = {name: file(str(tmp_path / name)) for name in ("fifo", "loop", "socket", "loop/below")}
        answers = shell.ask(file(str(tmp_path)), file("/dev/null"), *odd.values())
        listener.close()
        assert answers[file(str(tmp_path))] == Fact("odd", note="is a directory")
        assert answers[file("/dev/null")] == Fact("odd", note="is no regular file")
        assert answers[odd["fifo"]] == Fact("odd", note="is no regular file")
        assert answers[odd["socket"]] == Fact("odd", note="is no regular file")
        assert answers[odd["loop"]] == Fact("odd", note="too many levels of symbolic links")
        assert answers[odd["loop/below"]] == Fact("odd", note="too many levels of symbolic links")

    def test_what_is_not_there_is_absent_by_whatever_way(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
        (tmp_path / "dangling-dir").symlink_to("/nonexistent/deep")
        (tmp_path / "file").touch()
        paths = ["missing", "missing/below/deep", "dangling", "dangling-dir/x", "file/below", "Permission denied", ""]
        requests = [file(str(tmp_path / path)) for path in paths] + [file(""), file("/")]
        answers = shell.ask(*requests, cwd=tmp_path)
        assert answers.pop(file("/")) == Fact("odd", note="is a directory")
        assert answers.pop(file(str(tmp_path))) == Fact("odd", note="is a directory")
        assert {request.arg[0]: fact.state for request, fact in answers.items() if fact != Fact("absent")} == {}

    def test_bash_opens_no_connection_for_its_own_dev_tcp(self, shell: NodeShell) -> None:
        """Bash's redirections know /dev/tcp; nothing of ours opens a path that is not there."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.2)
        path = f"/dev/tcp/127.0.0.1/{listener.getsockname()[1]}"
        answers = shell.ask(file(path), stat(path), files(f"{path}/*"))
        with listener, pytest.raises(TimeoutError):
            listener.accept()
        assert answers[file(path)].state == "absent"

    def test_a_path_that_no_shell_can_be_given_is_absent(self, shell: NodeShell) -> None:
        """A NUL or half a character cannot stand in a path; a configuration that a node made up can hold both."""
        asked = [file("/etc/\0passwd"), stat("/etc/pass\ud800wd"), run("echo", "\0"), glob("/e\0tc/*"), run()]
        answers = shell.ask(*asked, file("/dev/null"))
        assert [answers[request].state for request in asked] == ["absent"] * len(asked)
        assert answers[file("/dev/null")].state == "odd"

    def test_a_node_without_head_says_so_and_denies_nothing(self, bare: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x")
        fact = bare.one(file(str(tmp_path / "f")))
        assert fact.state == "odd"
        assert "head" in fact.note
        assert "not found" in fact.note

    def test_a_read_that_fails_says_why(self, shell: NodeShell) -> None:
        """The first page of another process's memory opens, and reading it is an I/O error; or it is denied."""
        with mock.patch.object(trust, "unreadable", return_value=None):
            fact = shell.one(file("/proc/1/mem"))
        assert fact.state in ("odd", "denied")
        assert fact.state == "denied" or fact.note.startswith("cannot be read: ")

    def test_proc_and_sys_are_read_though_their_size_is_none(self, shell: NodeShell) -> None:
        assert b"proc /proc" in shell.one(file("/proc/self/mounts")).data


class TestDenied:
    """An unprivileged shell: what may not be seen is never taken for what is not there."""

    def test_a_file_that_may_not_be_read_is_denied(self, plain: NodeShell, open_path: Path) -> None:
        (open_path / "secret").write_text("x")
        (open_path / "secret").chmod(0o600)
        (open_path / "link").symlink_to("secret")
        answers = plain.ask(
            file(str(open_path / "secret")), file(str(open_path / "link")), file(str(open_path / "none"))
        )
        assert [fact.state for fact in answers.values()] == ["denied", "denied", "absent"]

    @pytest.mark.parametrize("below", ["x", "deep/er/x", "loop"])
    def test_what_lies_in_a_closed_folder_is_denied_there_or_not(
        self, plain: NodeShell, open_path: Path, below: str
    ) -> None:
        closed = open_path / "closed"
        closed.mkdir()
        (closed / "x").touch()
        (closed / "sub").mkdir()
        closed.chmod(0o700)
        (open_path / "way in").symlink_to(closed / "sub")
        (open_path / "leaf").symlink_to(closed / "x")
        paths = [str(closed / below), str(open_path / "way in" / below), str(open_path / "leaf")]
        requests = [kind(path) for path in paths for kind in (file, stat)]
        answers = plain.ask(*requests)
        assert {
            f"{request.kind} {request}": fact.state for request, fact in answers.items() if fact.state != "denied"
        } == {}

    def test_a_folder_that_may_not_be_listed_is_no_empty_folder(self, plain: NodeShell, open_path: Path) -> None:
        (open_path / "search-only" / "x").mkdir(parents=True)
        (open_path / "search-only").chmod(0o711)
        (open_path / "list-only" / "x").mkdir(parents=True)
        (open_path / "list-only").chmod(0o744)
        (open_path / "closed").mkdir(mode=0o700)
        asked = [
            kind(f"{open_path}/{pattern}")
            for kind in (glob, files)
            for pattern in ("search-only/*", "list-only/*", "closed/*", "closed/sub/*.toml")
        ]
        answers = plain.ask(*asked)
        assert [answers[request].state for request in asked] == ["denied"] * 8

    def test_a_closed_folder_that_a_wildcard_stands_for_makes_the_answer_denied(
        self, plain: NodeShell, open_path: Path
    ) -> None:
        """The matches that could be seen are kept: some is not all."""
        for name in ("a", "b"):
            (open_path / name / "information").mkdir(parents=True)
        (open_path / "b").chmod(0o700)
        fact = plain.one(glob(f"{open_path}/*/information"))
        assert fact == Fact("denied", f"{open_path}/a/information\0".encode())

    def test_a_file_whose_folder_is_open_to_all_is_read(self, plain: NodeShell, open_path: Path) -> None:
        (open_path / "f").write_text("x")
        assert plain.one(file(str(open_path / "f"))) == Fact("ok", b"x")

    def test_a_program_that_may_not_be_run_is_there(self, plain: NodeShell, open_path: Path) -> None:
        (open_path / "program").write_text("#!/bin/sh\n")
        fact = plain.one(run(str(open_path / "program")))
        assert (fact.state, fact.rc) == ("ok", 126)


class TestStats:
    def test_what_lies_at_a_path_is_told_as_the_kernel_tells_it(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"12345")
        (tmp_path / "f").chmod(0o4751)
        os.utime(tmp_path / "f", (1_000_000_000, 1_234_567_890))
        (tmp_path / "link").symlink_to("f")
        paths = [str(tmp_path), str(tmp_path / "f"), str(tmp_path / "link"), "/dev/null", "/dev/tty"]
        facts = facts_of("n", shell.ask(*[stat(path) for path in paths]))
        for path in paths:
            seen, real = facts.stat(path), Path(path).stat()
            assert seen is not None
            assert (seen.mode, seen.uid, seen.gid, seen.size) == (real.st_mode, real.st_uid, real.st_gid, real.st_size)
            assert (seen.mtime, seen.ctime) == (int(real.st_mtime), int(real.st_ctime))
            assert (seen.major, seen.minor) == (os.major(real.st_rdev), os.minor(real.st_rdev))
            assert seen.target == (str((tmp_path / "f").resolve()) if path.endswith("link") else None)
        null, link = facts.stat("/dev/null"), facts.stat(str(tmp_path / "link"))
        assert null is not None
        assert link is not None
        assert null.is_char_device
        assert link.executable
        assert link.is_file

    def test_what_is_not_there_is_absent_and_a_loop_is_odd(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "dangling").symlink_to("nowhere")
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "f").touch()
        names = ["missing", "dangling", "f/below", "loop", "f"]
        requests = [stat(str(tmp_path / name)) for name in names]
        answers = shell.ask(*requests)
        assert [answers[request].state for request in requests] == ["absent", "absent", "absent", "odd", "ok"]
        facts = facts_of("n", answers)
        assert [facts.exists(str(tmp_path / name)) for name in names] == [False, False, False, False, True]

    def test_more_paths_than_one_process_takes_are_all_told(self, shell: NodeShell, tmp_path: Path) -> None:
        paths = [tmp_path / f"f{number}" for number in range(2 * STAT_CHUNK + 3)]
        for number, path in enumerate(paths):
            if number % 7:
                path.write_bytes(b"x" * number)
        facts = facts_of("n", shell.ask(*[stat(str(path)) for path in paths]))
        seen = [facts.stat(str(path)) for path in paths]
        assert [one.size if one else 0 for one in seen] == [number if number % 7 else 0 for number in range(len(paths))]

    def test_a_path_that_is_gone_when_stat_comes_costs_the_others_nothing(
        self, dash: NodeShell, tmp_path: Path
    ) -> None:
        """A program `stat` that first takes one of the files away: the race, made certain."""
        real = shutil.which("stat")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "stat").write_text(f'#!/bin/sh\nrm -f {shlex.quote(str(tmp_path))}/b\nexec {real} "$@"\n')
        (tmp_path / "bin" / "stat").chmod(0o755)
        for name, size in (("a", 1), ("b", 2), ("c", 3)):
            (tmp_path / name).write_bytes(b"x" * size)
        dash.environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
        facts = facts_of("n", dash.ask(*[stat(str(tmp_path / name)) for name in "abc"]))
        assert [one.size if (one := facts.stat(str(tmp_path / name))) else None for name in "abc"] == [1, None, 3]

    def test_a_node_without_stat_still_tells_what_is_there(self, bare: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        (tmp_path / "link").symlink_to("f")
        names = ("f", "link", "none")
        facts = facts_of("n", bare.ask(*[stat(str(tmp_path / name)) for name in names]))
        assert [facts.exists(str(tmp_path / name)) for name in names] == [True, True, False]
        with pytest.raises(Exception, match="no stat program"):
            facts.stat(str(tmp_path / "f"))


class TestGlobs:
    def test_matches_are_those_of_go_dotfiles_among_them(self, shell: NodeShell, tmp_path: Path) -> None:
        """As containerd's filepath.Glob: `*` and `?` match a leading dot."""
        for name in ("a.toml", ".b.toml", "c.conf", ".toml", "..toml", "xtoml", ".a.b"):
            (tmp_path / name).touch()
        (tmp_path / "dangling.toml").symlink_to("nowhere")
        facts = facts_of("n", shell.ask(glob(f"{tmp_path}/*.toml"), glob(f"{tmp_path}/?toml"), glob(f"{tmp_path}/*")))
        assert facts.glob(f"{tmp_path}/*.toml") == [
            f"{tmp_path}/{name}" for name in ("..toml", ".b.toml", ".toml", "a.toml", "dangling.toml")
        ]
        assert facts.glob(f"{tmp_path}/?toml") == [f"{tmp_path}/.toml", f"{tmp_path}/xtoml"]
        assert len(facts.glob(f"{tmp_path}/*")) == 8

    def test_hostile_names_come_back_as_they_are(self, shell: NodeShell, tmp_path: Path) -> None:
        for name in HOSTILE_NAMES:
            (tmp_path / name).write_bytes(name.encode("utf-8", "surrogateescape"))
        pattern = f"{tmp_path}/*"
        answers = shell.ask(files(pattern), cwd=tmp_path)
        facts = facts_of("n", answers)
        assert facts.glob(pattern, kind="files") == sorted(f"{tmp_path}/{name}" for name in HOSTILE_NAMES)
        for name in HOSTILE_NAMES:
            assert answers[file(f"{tmp_path}/{name}")] == Fact("ok", name.encode("utf-8", "surrogateescape"))
        assert {path.name for path in tmp_path.iterdir()} == set(HOSTILE_NAMES)

    def test_a_class_matches_any_character_and_the_caller_chooses(self, shell: NodeShell, tmp_path: Path) -> None:
        for name in ("a1", "b1", "ab1", "[a]1"):
            (tmp_path / name).touch()
        facts = facts_of("n", shell.ask(glob(f"{tmp_path}/[a-c]1"), glob(f"{tmp_path}/[!x]1"), glob(f"{tmp_path}/[a")))
        assert facts.glob(f"{tmp_path}/[a-c]1") == [f"{tmp_path}/a1", f"{tmp_path}/b1"]
        assert facts.glob(f"{tmp_path}/[!x]1") == [f"{tmp_path}/a1", f"{tmp_path}/b1"]
        assert facts.glob(f"{tmp_path}/[a") == []

    def test_a_wildcard_in_the_middle_never_stands_for_dot_or_dot_dot(self, shell: NodeShell, tmp_path: Path) -> None:
        """A shell lets `.*` stand for them, and the folder above would be read."""
        (tmp_path / "in" / "one").mkdir(parents=True)
        (tmp_path / "in" / ".two").mkdir()
        for place in ("in/one/x", "in/.two/x", "in/x", "x"):
            (tmp_path / place).write_text(place)
        pattern = f"{tmp_path}/in/*/x"
        answers = shell.ask(files(pattern))
        assert facts_of("n", answers).glob(pattern, kind="files") == [f"{tmp_path}/in/.two/x", f"{tmp_path}/in/one/x"]
        members = {request.arg[0]: fact.data for request, fact in answers.items() if request.kind == "file"}
        assert members == {f"{tmp_path}/in/.two/x": b"in/.two/x", f"{tmp_path}/in/one/x": b"in/one/x"}

    def test_dot_dot_that_is_asked_for_is_followed(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "x.toml").touch()
        pattern = f"{tmp_path}/in/../*.toml"
        assert facts_of("n", shell.ask(glob(pattern))).glob(pattern) == [f"{tmp_path}/in/../x.toml"]

    def test_no_folder_no_match_and_a_pattern_without_wildcards(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        patterns = [f"{tmp_path}/none/*.toml", f"{tmp_path}/*.none", f"{tmp_path}/f", f"{tmp_path}/f/*", "/*.none"]
        answers = shell.ask(*[glob(pattern) for pattern in patterns])
        assert [fact.state for fact in answers.values()] == ["ok"] * len(patterns)
        assert [facts_of("n", answers).glob(pattern) for pattern in patterns] == [[], [], [f"{tmp_path}/f"], [], []]

    def test_files_brings_what_cannot_be_read_too(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").symlink_to("nowhere")
        (tmp_path / "c").write_bytes(ALL_BYTES)
        (tmp_path / "d").write_bytes(b"x" * 300)
        answers = shell.ask(files(f"{tmp_path}/*", limit=256))
        assert [answers[file(f"{tmp_path}/{name}")].state for name in "abcd"] == ["odd", "absent", "ok", "cut"]
        assert answers[file(f"{tmp_path}/c")].data == ALL_BYTES


class TestCommands:
    def test_output_errors_and_status_come_apart(self, shell: NodeShell) -> None:
        fact = shell.one(run("sh", "-c", "printf 'out\\n\\n'; printf 'first\\nsecond\\n' >&2; exit 3"))
        assert fact == Fact("ok", b"out\n\n", 3, "first\nsecond")

    def test_output_may_hold_any_bytes(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(ALL_BYTES + LOOK_ALIKE)
        assert shell.one(run("cat", str(tmp_path / "f"))) == Fact("ok", ALL_BYTES + LOOK_ALIKE, 0)

    def test_errors_may_hold_any_bytes(self, shell: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"nul \0 and \xff" + LOOK_ALIKE)
        fact = shell.one(run("sh", "-c", f"cat {shlex.quote(str(tmp_path / 'f'))} >&2; echo out; exit 4"))
        assert (fact.state, fact.data, fact.rc) == ("ok", b"out\n", 4)
        assert "�" in fact.note
        assert shell.errors == b""

    def test_a_program_that_is_not_there_is_absent(self, shell: NodeShell) -> None:
        answers = shell.ask(
            run("no-such-program", "-x"), run("/no/such/program"), script("s", 'exec no-such-program "$1"', "a")
        )
        assert [(fact.state, fact.rc) for fact in answers.values()] == [("absent", 127)] * 3

    def test_a_program_that_lacks_its_interpreter_is_there(self, shell: NodeShell, tmp_path: Path) -> None:
        """The kernel says "No such file" for it as well."""
        (tmp_path / "program").write_text("#!/no/such/interpreter\n")
        (tmp_path / "program").chmod(0o755)
        fact = shell.one(run(str(tmp_path / "program")))
        assert (fact.state, fact.rc) == ("ok", 127)

    @pytest.mark.parametrize(
        "words",
        [
            "error while loading shared libraries: libnvidia-ml.so.1: cannot open shared object file",
            "Error loading shared library libnvidia-ml.so.1: No such file or directory (needed by /x)",
        ],
    )
    @pytest.mark.parametrize("kind", ["run", "script"])
    def test_a_program_that_lacks_a_library_is_there(
        self, shell: NodeShell, tmp_path: Path, words: str, kind: str
    ) -> None:
        """Both loaders end with 127, as a shell does for a program that is not there."""
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{program}: {words}' >&2\nexit 127\n")
        program.chmod(0o755)
        fact = shell.one(run(str(program)) if kind == "run" else script("s", f"exec {shlex.quote(str(program))}"))
        assert (fact.state, fact.rc) == ("ok", 127)
        assert "libnvidia-ml.so.1" in fact.note

    def test_a_command_reads_nothing(self, shell: NodeShell) -> None:
        """Its standard input is empty: it can neither wait for words nor eat the script."""
        answers = shell.ask(run("cat"), run("sh", "-c", 'read x; echo "<$x>"'), run("echo", "after"))
        assert [fact.data for fact in answers.values()] == [b"", b"<>\n", b"after\n"]

    def test_a_script_has_its_arguments_and_its_name(self, shell: NodeShell) -> None:
        fact = shell.one(script("name of it", 'printf "%s|" "$0" "$@"', "a b", "$(id)", "", "*"))
        assert fact.data == b"name of it|a b|$(id)||*|"

    def test_output_over_the_limit_is_cut_and_the_round_goes_on(self, shell: NodeShell) -> None:
        answers = shell.ask(
            run("sh", "-c", "while :; do echo xxxxxxxxxxxxxxxx; done", limit=1000), run("echo", "after")
        )
        first, second = answers.values()
        assert (first.state, len(first.data)) == ("cut", 1000)
        assert second == Fact("ok", b"after\n", 0)

    def test_errors_without_end_are_cut_and_many_errors_are_no_harm(self, shell: NodeShell) -> None:
        answers = shell.ask(
            run("sh", "-c", "while :; do echo xxxxxxxxxxxxxxxx >&2; done"),
            run("sh", "-c", f"head -c {ERROR_LIMIT - 10} /dev/zero | tr '\\0' x >&2; echo out"),
        )
        first, second = answers.values()
        assert first.state == "cut"
        assert (second.state, second.data, second.rc) == ("ok", b"out\n", 0)

    def test_nothing_of_the_arguments_is_shell(self, shell: NodeShell, tmp_path: Path) -> None:
        words = [name for name in HOSTILE_NAMES if "\udcff" not in name]
        everywhere = [kind(f"{tmp_path}/{word}") for word in HOSTILE_NAMES for kind in (file, stat, glob, files)]
        answers = shell.ask(
            *everywhere,
            run("printf", "%s\\0", *words),
            *[run(word) for word in words if "/" not in word],
            *[script(word, "touch ./ran", word) for word in ("a; touch PWNED",)],
            cwd=tmp_path,
        )
        assert answers[run("printf", "%s\\0", *words)].data == "\0".join([*words, ""]).encode()
        assert {path.name for path in tmp_path.iterdir()} == {"ran"}

    def test_a_variable_assignment_is_no_command(self, shell: NodeShell) -> None:
        answers = shell.ask(run("A=b"), run("exit"), run("F", "1", "2", "/etc/passwd"), run("echo", "still here"))
        assert [fact.state for fact in answers.values()] == ["absent", "absent", "absent", "ok"]

    def test_an_exit_status_is_not_taken_for_a_deadline(self, shell: NodeShell) -> None:
        answers = shell.ask(
            *[run("sh", "-c", f"echo out; exit {status}", timeout=5) for status in (124, 125, 126, 143, 255)]
        )
        assert [(fact.state, fact.rc) for fact in answers.values()] == [("ok", rc) for rc in (124, 125, 126, 143, 255)]

    def test_what_was_killed_from_outside_is_no_answer_and_no_deadline(self, shell: NodeShell) -> None:
        """The kernel's OOM killer sends signal 9."""
        fact = shell.one(run("sh", "-c", "echo part; kill -9 $$", timeout=30))
        assert (fact.state, fact.data, fact.rc) == ("cut", b"part\n", 137)
        assert "signal 9" in fact.note

    def test_a_crash_is_an_answer(self, shell: NodeShell) -> None:
        fact = shell.one(run("sh", "-c", "kill -SEGV $$"))
        assert (fact.state, fact.rc) == ("ok", 139)


@pytest.fixture
def word() -> Iterator[str]:
    """A word that nothing else on this machine's command lines holds; at the end nothing may hold it."""
    mark = f"gpuready-{uuid.uuid4().hex}"
    yield mark
    for _ in range(50):
        if not running(mark):
            return
        time.sleep(0.1)
    assert running(mark) == []


class TestDeadlines:
    def test_a_hung_command_is_ended_with_its_children_and_what_it_said_stays(
        self, shell: NodeShell, word: str
    ) -> None:
        answers = shell.ask(
            run("sh", "-c", f"echo before; sh -c 'sleep 300; : {word}' & sleep 300; : {word}", timeout=1),
            run("echo", "after"),
        )
        first, second = answers.values()
        assert (first.state, first.data) == ("timeout", b"before\n")
        assert "no answer within 1 s" in first.note
        assert second == Fact("ok", b"after\n", 0)
        if shell.name.endswith("no-setsid"):
            # Without setsid the script can end the command alone.
            for line in _pids(word):
                os.kill(line, 9)

    def test_a_command_that_ignores_term_is_killed(self, shell: NodeShell, word: str) -> None:
        body = f"trap '' TERM; : {word}; while :; do sleep 1; done"
        fact = shell.one(run("sh", "-c", body, timeout=1))
        assert fact.state == "timeout"

    def test_less_than_a_second_is_a_second(self, shell: NodeShell) -> None:
        """POSIX's sleep knows whole seconds only."""
        assert shell.one(run("echo", "quick", timeout=0.1)) == Fact("ok", b"quick\n", 0)

    def test_what_a_command_leaves_behind_does_not_hold_the_round(self, shell: NodeShell, word: str) -> None:
        """A daemon that keeps the pipe open: nobody can say that all output was seen."""
        answers = shell.ask(
            run("sh", "-c", f"setsid sh -c 'sleep 8; : {word}' & echo started", timeout=1)
            if shutil.which("setsid") and not shell.alone
            else run("sh", "-c", f"sh -c 'sleep 8; : {word}' & echo started", timeout=1),
            run("echo", "after"),
        )
        first, second = answers.values()
        assert first.state == "timeout"
        assert "keeps its output open" in first.note
        assert second == Fact("ok", b"after\n", 0)
        for line in _pids(word):
            os.kill(line, 9)

    @as_root
    def test_a_process_that_cannot_be_killed_costs_only_its_own_answer(self, shell: NodeShell, word: str) -> None:
        """State D, as of nvidia-smi over a wedged driver.

        A frozen process of cgroup v1 stands in for it: it takes no signal either until it is thawed. It cannot show a
        wedged driver.
        """
        group = Path("/sys/fs/cgroup/freezer") / word
        try:
            group.mkdir()
        except OSError:
            pytest.skip("no freezer of cgroup v1 here")
        try:
            freeze = f"echo out; echo $$ >{group}/cgroup.procs; echo FROZEN >{group}/freezer.state; : {word}"
            answers = shell.ask(run("sh", "-c", freeze, timeout=1), run("echo", "after"))
            first, second = answers.values()
            assert first.state == "timeout"
            assert second == Fact("ok", b"after\n", 0)
        finally:
            (group / "freezer.state").write_text("THAWED")
            for _ in range(100):
                try:
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)

    def test_a_node_without_a_clock_of_its_own_still_knows_a_deadline(self) -> None:
        """Where /proc/uptime cannot be read, a command ended by a signal is taken for late."""
        request = run("x", timeout=1)
        for rc in (124, 137, 143):
            assert parse(_round(rc, "0", "0", "0"), [request], NONCE)[request].state == "timeout"
        assert parse(_round(0, "0", "0", "0"), [request], NONCE)[request].state == "ok"


def _pids(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _round(rc: int, began: str, ended: str, done: str) -> bytes:
    """What a round with one command prints."""
    lines = [
        f"{NONCE} 0 b",
        "",
        f"{NONCE} 0 m",
        "",
        f"{NONCE}-rc {rc} {began} {ended} ",
        f"{NONCE}-out {done}",
        f"{NONCE} 0 e rc",
        "",
    ]
    return "\n".join(["", *lines]).encode()


class TestTheNodesOwnWays:
    def test_an_environment_made_to_disturb_does_not(self, dash: NodeShell, tmp_path: Path) -> None:
        (tmp_path / "rc").write_text("echo noise; exit 7\n")
        dash.environment = {
            "PATH": os.environ["PATH"],
            "ENV": str(tmp_path / "rc"),
            "BASH_ENV": str(tmp_path / "rc"),
            "IFS": "e0",
            "LC_ALL": "de_DE.UTF-8",
            "CDPATH": "/",
        }
        (tmp_path / "f").write_text("x")
        answers = dash.ask(file(str(tmp_path / "f")), stat(str(tmp_path / "f")), run("sh", "-c", "echo $LC_ALL"))
        assert answers[file(str(tmp_path / "f"))] == Fact("ok", b"x")
        assert answers[run("sh", "-c", "echo $LC_ALL")].data == b"C\n"

    def test_exported_options_of_bash_do_not_end_the_round(self, tmp_path: Path) -> None:
        from tests.node.conftest import make_shell  # noqa: PLC0415 - a helper of this folder

        bash = make_shell("bash", tmp_path)
        bash.environment = {"PATH": os.environ["PATH"], "SHELLOPTS": "errexit:nounset:noglob"}
        (tmp_path / "f").write_text("x")
        answers = bash.ask(file("/none"), glob(f"{tmp_path}/f*"), run("sh", "-c", "exit 3"))
        assert [fact.state for fact in answers.values()] == ["absent", "ok", "ok"]
        assert answers[glob(f"{tmp_path}/f*")].data == f"{tmp_path}/f\0".encode()

    def test_the_standard_folders_are_on_path_at_its_end(self, dash: NodeShell) -> None:
        dash.environment = {"PATH": "/first"}
        fact = dash.one(run("/bin/sh", "-c", "echo $PATH"))
        assert fact.data.startswith(b"/first:/usr/local/sbin:")

    def test_the_shell_says_nothing_of_its_own(self, shell: NodeShell, tmp_path: Path) -> None:
        shell.ask(
            file("/none"),
            stat("/none"),
            glob(f"{tmp_path}/*"),
            run("none"),
            run("sh", "-c", "kill -9 $$"),
            file("/etc"),
        )
        assert shell.errors == b""

    @pytest.mark.lab("strace")
    def test_nothing_is_written_to_the_node(self, shell: NodeShell, tmp_path: Path) -> None:
        """As strace counts: no file is opened for writing, made, removed or renamed by the shell and what it starts."""
        strace = shutil.which("strace")
        assert strace is not None
        log = tmp_path / "log"
        calls = "open,openat,creat,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,mknod,mknodat,truncate"
        shell.argv = [strace, "-f", "-qq", "-e", f"trace={calls}", "-o", str(log), *shell.argv]
        try:
            shell.ask(file("/etc/passwd"), stat("/etc"), stat("/bin"), files("/etc/*.conf"), run("echo", "x"))
        except AssertionError:
            pytest.skip("strace may not trace here")
        changing = [
            line
            for line in log.read_text("utf-8", "replace").splitlines()
            if "/dev/null" not in line
            and "/dev/tty" not in line
            and ("O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line or "open" not in line)
        ]
        assert [line for line in changing if "(" in line] == []


class TestRandom:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(contents=st.lists(st.binary(max_size=400), min_size=1, max_size=8))
    @example(contents=[f"\n{NONCE[:-1]}".encode(), f"{NONCE[:-1]} 0 b\n".encode(), b"\n", b""])
    def test_random_contents_survive(self, dash: NodeShell, tmp_path: Path, contents: list[bytes]) -> None:
        """All but the nonce itself, which no file can know."""
        paths = [tmp_path / str(number) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        asked = [file(str(path)) for path in paths] + [run("cat", str(path)) for path in paths]
        answers = dash.ask(*asked)
        assert [answers[request].data for request in asked] == contents * 2

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        names=st.sets(
            st.binary(min_size=1, max_size=40).filter(
                lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")
            ),
            min_size=1,
            max_size=6,
        )
    )
    def test_random_names_survive(
        self, dash: NodeShell, tmp_path_factory: pytest.TempPathFactory, names: set[bytes]
    ) -> None:
        folder = tmp_path_factory.mktemp("names")
        for name in names:
            (folder / os.fsdecode(name)).write_bytes(name)
        paths = sorted(f"{folder}/{name.decode('utf-8', 'surrogateescape')}" for name in names)
        answers = dash.ask(files(f"{folder}/*"), *[stat(path) for path in paths])
        facts = facts_of("n", answers)
        assert facts.glob(f"{folder}/*", kind="files") == paths
        for path in paths:
            assert answers[file(path)].data == path.rpartition("/")[2].encode("utf-8", "surrogateescape")
            seen = facts.stat(path)
            assert seen is not None
            assert seen.size == len(answers[file(path)].data)

    @given(
        output=st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from(
                    [
                        f"\n{NONCE} ".encode(),
                        b"0 b\n",
                        b"S0 b\n",
                        b"1 m\n",
                        b"e ok\n",
                        b"3.0 e ok\n",
                        b"99999999999999999999 1\n",
                    ]
                ),
            )
        ).map(b"".join)
    )
    @example(output=f"\n{NONCE} S0 b\nx -1 99\n1 2\n\n{NONCE} S0 e ok\n".encode())
    @example(output=f"\n{NONCE} 4 b\n\n{NONCE} 4 m\n\n{NONCE}-rc {'9' * 5000} 1 1 \n{NONCE} 4 e rc\n".encode())
    def test_no_output_makes_the_reading_fail(self, output: bytes) -> None:
        asked = [file("/a"), stat("/b"), glob("/c/*"), files("/d/*"), run("e"), script("f", "g")]
        for fact in parse(output, asked, NONCE).values():
            assert fact.state in ("ok", "absent", "denied", "timeout", "cut", "odd")


class TestCutOff:
    def test_every_place_at_which_a_round_can_be_cut(self, dash: NodeShell, tmp_path: Path) -> None:
        """What stands before the cut is what it was; the rest is cut or missing, never another answer."""
        (tmp_path / "a.toml").write_bytes(b"one\n" + ALL_BYTES)
        (tmp_path / "b.toml").write_bytes(b"two")
        (tmp_path / "long.toml").write_bytes(b"x" * 101)
        (tmp_path / "link").symlink_to("a.toml")
        asked = [
            file(str(tmp_path / "a.toml")),
            file("/none"),
            stat(str(tmp_path / "a.toml")),
            stat(str(tmp_path / "link")),
            stat("/dev/null"),
            glob(f"{tmp_path}/*"),
            files(f"{tmp_path}/*.toml", limit=100),
            run("sh", "-c", "echo out; echo error >&2; exit 3"),
            script("s", 'echo "$1"', "argument"),
        ]
        whole = dash.output(*asked)
        expected = parse(whole, asked, NONCE)
        assert {fact.state for fact in expected.values()} == {"ok", "absent", "cut"}
        for length in range(len(whole)):
            for request, fact in parse(whole[:length], asked, NONCE).items():
                assert request in expected, (length, request)
                if fact != expected[request]:
                    assert fact.state == "cut", (length, request, fact)
                    assert expected[request].data.startswith(fact.data.rstrip(b"\n")) or expected[request].state in (
                        "odd",
                        "absent",
                    )
                    assert NONCE[:4].encode() not in fact.data

    def test_a_path_cut_in_two_is_no_path(self) -> None:
        output = f"\n{NONCE} 0 b\n/etc/a\0/etc/contai".encode()
        answers = parse(output, [files("/etc/*")], NONCE)
        assert answers == {files("/etc/*"): Fact("cut", b"/etc/a\0", note=LOST), file("/etc/a"): Fact("cut", note=LOST)}


def test_commands_come_last() -> None:
    """What may hang costs nothing that stands before it."""
    text = render([run("nvidia-smi"), file("/a"), run("ctr"), stat("/b"), glob("/c/*")], NONCE)
    others = [text.index(word) for word in ("/a", "/c", "/b")]
    assert max(others) < min(text.index("R 0 "), text.index("R 2 "))


def test_three_hundred_files_and_stats(dash: NodeShell, tmp_path: Path) -> None:
    """A figure for people, by -s: how long a large round takes here."""
    paths = [tmp_path / f"f{number}" for number in range(300)]
    for path in paths:
        path.write_bytes(b"x" * 500)
    asked = [kind(str(path)) for path in paths for kind in (file, stat)] + [run("true")]
    begun = time.perf_counter()
    answers = dash.ask(*asked)
    print(f"\n300 files, 300 stats, one command: {(time.perf_counter() - begun) * 1000:.0f} ms")  # noqa: T201
    assert [fact.state for fact in answers.values()] == ["ok"] * 601
