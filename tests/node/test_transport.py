"""A shell on a node: the real sh here, the real ssh to a real sshd, and everything that can go wrong on the way."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import testinfra

from pytest_gpuready.node import transport
from pytest_gpuready.node.facts import REACH, SUDO, Fact, Facts, Request, file, run, script, stat
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import NodeSpec, parse
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.script import render
from pytest_gpuready.node.snapshot import dumps
from pytest_gpuready.node.transport import Options, Reply, Shell, argv, complaint, shell_command
from tests.node.nodes import programs, running
from tests.support.sshd import Sshd, descendants, free_port, keygen, serving, sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["sshd"]

as_root = pytest.mark.lab("root")

LOGIN_SHELLS = [
    pytest.param(name, marks=pytest.mark.lab(name))
    for name in ("sh", "dash", "bash", "fish", "csh", "tcsh", "zsh", "ksh", "mksh", "busybox")
]
LOCAL = NodeSpec("local://", "local", "local")
TWO = run("echo", "two")


def needs(*names: str) -> None:
    """Skip where a program is missing."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not on this machine")


def ask(spec: str | NodeSpec, *requests: Request, options: Options | None = None, timeout: float = 20) -> Facts:
    """The facts of a node after two rounds."""
    node = parse(spec) if isinstance(spec, str) else spec
    first = requests or (run("echo", "one"),)
    with Shell(node, options or Options()) as shell:
        return gather(shell, node.label, lambda facts: [*first, TWO] if first[0] in facts else first, timeout)


def reach(facts: Facts) -> tuple[str, str]:
    """What the node's first fact says."""
    fact = facts.peek(REACH)
    assert fact is not None
    return fact.state, fact.note


def healthy(facts: Facts) -> bool:
    """Whether both rounds were answered."""
    fact = facts.peek(TWO)
    return fact is not None and (fact.state, fact.data) == ("ok", b"two\n")


@pytest.fixture
def word() -> Iterator[str]:
    """A word for command lines; at the end no process may hold it."""
    mark = f"gpuready-{uuid.uuid4().hex}"
    yield mark
    for _ in range(100):
        if not running(mark):
            return
        time.sleep(0.1)
    assert running(mark) == []


@pytest.fixture
def plain_user() -> Iterator[tuple[str, str]]:
    """A user without rights, and a password that logs it in: made for one test, removed after it."""
    if os.geteuid() != 0:
        pytest.skip("making a user needs root")
    needs("useradd", "userdel", "chpasswd")
    name, password = f"gpuready{secrets.token_hex(3)}", f"pw-{secrets.token_hex(8)}"
    subprocess.run(["useradd", "-M", "-d", "/", "-s", "/bin/sh", name], check=True, capture_output=True)
    try:
        subprocess.run(["chpasswd"], input=f"{name}:{password}".encode(), check=True, capture_output=True)
        yield name, password
    finally:
        # By force: a login that is just ending would keep it.
        subprocess.run(["userdel", "-f", name], check=True, capture_output=True)


class TestLocal:
    def test_rounds_share_one_shell(self) -> None:
        pids: list[bytes] = []
        with Shell(LOCAL, Options()) as shell:
            for number in range(3):
                text = (
                    preamble(shell.nonce) if not number else ""
                ) + f"echo pid $$; printf '\\n%s end\\n' {shell.nonce}\n"
                reply = shell.send(text, time.monotonic() + 10)
                assert (reply.complete, reply.trouble) == (True, "")
                pids.append(reply.output.split(b"pid ")[1].split()[0])
        assert len(set(pids)) == 1
        assert not os.path.exists(f"/proc/{int(pids[0])}")  # noqa: PTH110 - a pid's folder

    def test_a_script_of_thousands_of_requests_passes_the_pipe(self, tmp_path: Path) -> None:
        """A pipe holds 64 KiB; answers come while the script is still being written."""
        (tmp_path / "f").write_bytes(b"x" * 100)
        asked = [file(f"{tmp_path}/./{'/' * number}f") for number in range(300)]
        asked += [stat(f"{tmp_path}/none/{number}") for number in range(4000)]
        assert len(render(asked, "n")) > 4 * 65536
        facts = ask("local://", *asked, timeout=60)
        assert healthy(facts)
        assert {fact.state for request, fact in facts if request.kind == "file"} == {"ok"}
        assert {fact.state for request, fact in facts if request.kind == "stat"} == {"absent"}

    def test_a_hung_command_costs_the_deadline_and_nothing_that_came_before(self, word: str) -> None:
        hung = run("sh", "-c", f"echo part; sleep 60; : {word}", timeout=50)
        facts = ask("local://", run("echo", "before"), hung, run("echo", "after"), timeout=1.5)
        assert facts.text(run("echo", "before")) == "before\n"
        fact, after = facts.peek(hung), facts.peek(run("echo", "after"))
        assert fact is not None
        assert after is not None
        assert (fact.state, fact.note) == ("timeout", "no answer within the deadline")
        assert after.state == "timeout"
        # What would have been asked next.
        assert facts.peek(TWO) == Fact("timeout", note="not reached: no answer within the deadline")

    def test_a_fact_that_is_cut_by_its_limit_stays_so_when_the_deadline_comes_later(
        self, word: str, tmp_path: Path
    ) -> None:
        (tmp_path / "f").write_bytes(b"x" * 100)
        cut = file(str(tmp_path / "f"), limit=10)
        facts = ask("local://", cut, run("sh", "-c", f"sleep 60; : {word}", timeout=50), timeout=1)
        fact = facts.peek(cut)
        assert fact is not None
        assert (fact.state, fact.note) == ("cut", "longer than 10 bytes")

    def test_output_without_end_is_cut(self, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
        monkeypatch.setattr(transport, "OUTPUT_LIMIT", 1 << 20)
        endless = run(
            "sh", "-c", f": {word}; while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", timeout=50, limit=1 << 30
        )
        facts = ask("local://", run("echo", "before"), endless, timeout=20)
        fact = facts.peek(endless)
        assert fact is not None
        assert fact.state == "cut"
        assert facts.text(run("echo", "before")) == "before\n"

    def test_the_end_of_a_round_is_seen_under_any_noise_after_it(self) -> None:
        """What a round left behind may still print: the end is where it is."""
        with Shell(LOCAL, Options()) as shell:
            noise = f"printf '\\n%s end\\n' {shell.nonce}; head -c 3000000 /dev/zero; sleep 60\n"
            reply = shell.send(preamble(shell.nonce) + noise, time.monotonic() + 10)
            assert reply.complete

    def test_kill_from_another_thread_ends_everything_at_once(self, word: str) -> None:
        """As Ctrl-C does. A command under the node's `timeout` has a process group of its own and is ended too."""
        shell = Shell(LOCAL, Options())
        results: list[Facts] = []
        hung = run("sh", "-c", f"trap '' TERM HUP INT; : {word}; sleep 60; :", timeout=50)
        thread = threading.Thread(target=lambda: results.append(gather(shell, "local", lambda _: [hung], 60)))
        thread.start()
        while not running(word):
            time.sleep(0.02)
        shell.kill()
        thread.join(10)
        assert not thread.is_alive()
        fact = results[0].peek(hung)
        assert fact is not None
        assert (fact.state, "interrupted" in fact.note or "connection ended" in fact.note) == ("cut", True)
        shell.close()

    def test_a_shell_that_was_killed_before_it_began_never_begins(self) -> None:
        shell = Shell(LOCAL, Options())
        shell.kill()
        assert shell.send("echo\n", time.monotonic() + 5) == Reply(trouble="interrupted")

    def test_closing_twice_and_killing_after_it_is_no_harm(self) -> None:
        shell = Shell(LOCAL, Options())
        shell.send("", time.monotonic() + 0.1)
        shell.close()
        shell.close()
        shell.kill()

    def test_a_program_that_is_not_here_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert reach(ask("ssh://n1")) == ("cut", "ssh cannot be started here: No such file or directory")
        assert reach(ask("ssh://root:secret@n1")) == (
            "cut",
            "sshpass cannot be started here: No such file or directory",
        )

    def test_the_clock_of_the_node_plays_no_part(self) -> None:
        """Not even to know a deadline: a node whose clock says 1970 is asked like any other."""
        assert "date" not in preamble("n")


class TestArguments:
    @pytest.mark.parametrize(
        "spec",
        [
            "ssh://n1",
            "ssh://Root@N1:2222",
            "ssh://u@10.0.0.1?timeout=3",
            "ssh://n1?ssh_config=~/cfg&ssh_identity_file=/k",
            "ssh://u:p%40ss@n1:22",
        ],
    )
    @pytest.mark.parametrize("options", [Options(), Options(ssh_config="/etc/cfg", ssh_identity_file="~/id")])
    def test_a_spec_means_what_it_means_to_testinfra(self, spec: str, options: Options) -> None:
        given = {"ssh_config": options.ssh_config, "ssh_identity_file": options.ssh_identity_file}
        backend = testinfra.get_host(spec, **{key: value for key, value in given.items() if value}).backend
        line, environment = argv(parse(spec), options, "COMMAND")
        pairs = dict(itertools.pairwise(line))
        said = dict(word.split("=", 1) for word in line if "=" in word)
        assert line[-3:] == ["--", backend.host.name, "COMMAND"]
        assert pairs.get("-F") == (os.path.expanduser(backend.ssh_config) if backend.ssh_config else None)  # noqa: PTH111
        identity = backend.ssh_identity_file
        assert pairs.get("-i") == (os.path.expanduser(identity) if identity else None)  # noqa: PTH111
        assert said.get("User") == backend.host.user
        assert said.get("Port") == backend.host.port
        assert said["ConnectTimeout"] == str(backend.timeout)
        assert environment.get("SSHPASS") == backend.host.password
        assert ("BatchMode" in said) == (backend.host.password is None)

    def test_the_nonce_stands_in_no_process_list(self) -> None:
        """Who could read it there could forge answers in a file that is read."""
        shell = Shell(LOCAL, Options())
        command = shell_command(shell._greeting, Options(), LOCAL)
        assert shell.nonce not in command
        assert shell.nonce not in shell._greeting

    def test_sudo_is_asked_for_by_option_or_by_spec(self, tmp_path: Path) -> None:
        assert "sudo" not in shell_command("g", Options(), parse("ssh://n1"))
        assert "exec sudo -n -- sh -s" in shell_command("g", Options(sudo=True), parse("ssh://n1"))
        assert "exec sudo -n -- sh -s" in shell_command("g", Options(), parse("ssh://n1?sudo=true"))
        assert "exec sudo -n -u gpu -- sh -s" in shell_command(
            "g", Options(), parse("local://?sudo=true&sudo_user=gpu")
        )
        hostile = shell_command("g", Options(sudo=True, sudo_user="x; touch PWNED"), LOCAL)
        (tmp_path / "sudo").write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
        (tmp_path / "sudo").chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        printed = subprocess.run(
            ["sh", "-c", hostile], capture_output=True, check=True, env={"PATH": path}, cwd=tmp_path
        )
        assert b"<-n><-u><x; touch PWNED><--><sh><-s>" in printed.stdout
        assert not (tmp_path / "PWNED").exists()

    def test_long_complaints_keep_their_last_words(self) -> None:
        banner = b"\n".join(b"This system is for authorised use only, line %d." % number for number in range(60))
        said = complaint(banner + b"\nroot@n1: Permission denied (publickey).\n")
        assert len(said) <= 400
        assert said.endswith("root@n1: Permission denied (publickey).")
        assert complaint(b"\x1b[31mred\x1b[0m\r\n@@@@@\n  two  words \n") == "red two words"


class TestSsh:
    def test_all_rounds_are_one_login(self, sshd: Sshd) -> None:
        before = sshd.logins()
        facts = ask(sshd.spec, run("echo", "one"), file("/etc/passwd"), options=Options(ssh_config=str(sshd.config)))
        assert healthy(facts)
        assert facts.text(file("/etc/passwd"))
        assert sshd.logins() - before == 1

    def test_user_port_and_identity_of_the_spec_and_the_options_are_used(self, sshd: Sshd, tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.write_text(
            f"Host *\nUserKnownHostsFile {sshd.known_hosts}\nHostKeyAlias gpuready-test\n"
            "IdentitiesOnly yes\nIdentityFile none\n"
        )
        spec = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}?ssh_config={config}&ssh_identity_file={sshd.key}"
        assert healthy(ask(spec))
        other = keygen(tmp_path / "other")
        state, note = reach(
            ask(f"{spec.partition('?')[0]}?ssh_config={config}", options=Options(ssh_identity_file=str(other)))
        )
        assert state == "cut"
        assert "Permission denied (publickey)" in note

    def test_a_command_a_tunnel_or_a_terminal_in_the_configuration_is_no_hindrance(self, sshd: Sshd) -> None:
        """People's ssh_config is for their own logins."""
        taken = socket.create_server(("127.0.0.1", 0))
        lines = [
            "RemoteCommand tmux attach",
            "RequestTTY force",
            f"LocalForward {taken.getsockname()[1]} 127.0.0.1:1",
            "ExitOnForwardFailure yes",
        ]
        alias = sshd.add_alias("people", *lines)
        with taken:
            assert healthy(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config))))

    def test_a_connection_that_ssh_keeps_for_later_does_not_hold_the_end(self, sshd: Sshd) -> None:
        """ControlPersist's master keeps our standard error open."""
        control = f"/tmp/gpuready-{uuid.uuid4().hex[:8]}"
        alias = sshd.add_alias("kept", "ControlMaster auto", "ControlPersist 20", f"ControlPath {control}")
        try:
            for _ in range(2):
                assert healthy(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config))))
        finally:
            subprocess.run(["ssh", "-F", str(sshd.config), "-O", "exit", alias], check=False, capture_output=True)

    @pytest.mark.parametrize("shell", LOGIN_SHELLS)
    def test_any_login_shell_leads_to_sh(self, sshd: Sshd, shell: str, open_path: Path) -> None:
        found = shutil.which(shell)
        assert found is not None
        if shell == "busybox":
            (open_path / "ash").symlink_to(found)
            found = str(open_path / "ash")
        alias = sshd.add_alias(f"shell-{shell}", shell=found)
        facts = ask(f"ssh://{alias}?sudo_user=gpu'user", options=Options(ssh_config=str(sshd.config)))
        assert healthy(facts)

    def test_a_noisy_login_changes_no_fact(self, sshd: Sshd, open_path: Path) -> None:
        setup = open_path / "rc"
        setup.write_text("printf 'Welcome!\\nno newline at the end'; echo warning >&2; head -c 5000 /dev/urandom\n")
        alias = sshd.add_alias("noisy", setup=str(setup))
        facts = ask(f"ssh://{alias}", run("printf", "x"), options=Options(ssh_config=str(sshd.config)))
        assert healthy(facts)
        assert facts.text(run("printf", "x")) == "x"

    def test_a_login_that_says_nothing_but_no_is_quoted(self, sshd: Sshd, open_path: Path) -> None:
        """As nologin does: it speaks on standard output."""
        setup = open_path / "rc"
        setup.write_text("echo 'This account is currently not available.'; exit 1\n")
        alias = sshd.add_alias("nologin", setup=str(setup))
        assert reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config)))) == (
            "cut",
            "This account is currently not available.",
        )

    def test_a_login_without_a_posix_shell_is_not_reached(self, sshd: Sshd, open_path: Path) -> None:
        setup = open_path / "rc"
        setup.write_text("echo 'Router>'; exit 0\n")
        alias = sshd.add_alias("router", setup=str(setup))
        assert reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config)))) == ("cut", "Router>")

    def test_a_shell_that_ends_behind_its_greeting_is_not_reached(self, sshd: Sshd, open_path: Path) -> None:
        """Without sudo it is not sudo's fault."""
        setup = open_path / "rc"
        # What the login's shell is told to run ends where it would begin the second shell.
        setup.write_text(
            'SSH_ORIGINAL_COMMAND=$(printf %s "$SSH_ORIGINAL_COMMAND" | sed "s#exec /bin/sh -s#exit 3#")\n'
        )
        alias = sshd.add_alias("broken", setup=str(setup))
        facts = ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config)))
        assert reach(facts) == ("cut", "sh ended at once: the connection ended (exit status 3)")
        assert SUDO not in facts

    @pytest.mark.lab("ssh", "sshd")
    @pytest.mark.parametrize("killed", ["session", "server"])
    def test_a_connection_cut_in_the_middle_keeps_what_came(self, word: str, killed: str) -> None:
        hung = run("sh", "-c", f"echo part; : {word}; sleep 5", timeout=3)
        results: list[Facts] = []
        with serving() as own:
            options = Options(ssh_config=str(own.config))
            thread = threading.Thread(
                target=lambda: results.append(ask(own.spec, run("echo", "before"), hung, options=options, timeout=30))
            )
            thread.start()
            while not running(word):
                time.sleep(0.05)
            if killed == "server":
                own.stop()
            else:
                for pid in own.sessions():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
            thread.join(20)
        assert not thread.is_alive()
        facts = results[0]
        fact = facts.peek(hung)
        assert reach(facts)[0] == "ok"
        assert facts.text(run("echo", "before")) == "before\n"
        assert fact is not None
        assert fact.state == "cut"

    def test_a_hung_login_ends_with_the_deadline(self, sshd: Sshd, open_path: Path) -> None:
        setup = open_path / "rc"
        setup.write_text("echo 'waiting for the home directory'; sleep 3; exit 1\n")
        alias = sshd.add_alias("hung", setup=str(setup))
        state, note = reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config)), timeout=1.5))
        assert state == "timeout"
        assert note == "no answer within the deadline (waiting for the home directory)"


@pytest.mark.lab("ssh")
class TestUnreachable:
    """Each within its deadline, without any prompt, in ssh's own words."""

    def test_a_refused_port(self) -> None:
        state, note = reach(ask(f"ssh://127.0.0.1:{free_port()}", options=Options(ssh_config="/dev/null")))
        assert state == "cut"
        assert "Connection refused" in note

    def test_a_name_that_nobody_knows(self) -> None:
        state, note = reach(ask("ssh://no-such-host.invalid", options=Options(ssh_config="/dev/null")))
        assert state == "cut"
        assert "Could not resolve hostname" in note

    def test_a_port_that_takes_the_connection_and_never_answers(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            spec = f"ssh://127.0.0.1:{listener.getsockname()[1]}"
            state, note = reach(ask(spec, options=Options(ssh_config="/dev/null"), timeout=1))
            assert (state, note) == ("timeout", "no answer within the deadline")
            state, note = reach(ask(f"{spec}?timeout=1", options=Options(ssh_config="/dev/null"), timeout=20))
            assert state == "cut"
            assert "timed out" in note

    def test_an_unknown_host_key_asks_nobody(self, sshd: Sshd, tmp_path: Path) -> None:
        alias = sshd.add_alias("unknown-key", f"UserKnownHostsFile {tmp_path / 'none'}", "StrictHostKeyChecking ask")
        state, note = reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config))))
        assert state == "cut"
        assert "Host key verification failed" in note
        assert not (tmp_path / "none").exists()

    def test_a_changed_host_key_is_named_so(self, sshd: Sshd, tmp_path: Path) -> None:
        other = keygen(tmp_path / "other").with_suffix(".pub").read_text()
        (tmp_path / "known").write_text(f"gpuready-test {other}")
        alias = sshd.add_alias("changed-key", f"UserKnownHostsFile {tmp_path / 'known'}")
        state, note = reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config))))
        assert state == "cut"
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in note
        assert "Host key verification failed" in note

    def test_a_key_that_is_not_accepted(self, sshd: Sshd, tmp_path: Path) -> None:
        alias = sshd.add_alias("wrong-key", f"IdentityFile {keygen(tmp_path / 'wrong')}")
        state, note = reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config))))
        assert state == "cut"
        assert "Permission denied (publickey)" in note

    def test_a_key_with_a_passphrase_asks_nobody(self, sshd: Sshd, tmp_path: Path) -> None:
        key = tmp_path / "locked"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "words", "-f", str(key)], check=True)
        alias = sshd.add_alias("locked-key", f"IdentityFile {key}", "IdentityAgent none")
        state, note = reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config))))
        assert state == "cut"
        assert "Permission denied" in note

    def test_a_wanted_password_asks_nobody(self, plain_user: tuple[str, str], tmp_path: Path) -> None:
        with serving("PasswordAuthentication yes") as own:
            alias = own.add_alias("password", f"IdentityFile {keygen(tmp_path / 'none')}", user=plain_user[0])
            state, note = reach(ask(f"ssh://{alias}", options=Options(ssh_config=str(own.config))))
        assert state == "cut"
        assert "Permission denied" in note


class TestSudo:
    @as_root
    def test_sudo_that_works(self, sshd: Sshd) -> None:
        needs("sudo")
        who = run("sh", "-c", "echo $SUDO_USER; id -u")
        for spec in ("local://", sshd.spec):
            facts = ask(spec, who, options=Options(ssh_config=str(sshd.config), sudo=True))
            if "sudo" not in reach(facts)[1] and (fact := facts.peek(SUDO)) is not None and fact.state != "ok":
                pytest.skip(f"root may not use sudo here: {fact.note}")
            assert healthy(facts)
            assert facts.text(who) == "root\n0\n"

    @as_root
    def test_a_spec_may_ask_for_another_user(self) -> None:
        needs("sudo")
        facts = ask("local://?sudo=true&sudo_user=nobody", run("id", "-un"))
        assert facts.text(run("id", "-un")) == "nobody\n"

    def test_sudo_that_wants_a_password_is_denied_and_nothing_is_absent(
        self, plain_user: tuple[str, str], sshd: Sshd
    ) -> None:
        needs("sudo")
        alias = sshd.add_alias("plain", user=plain_user[0])
        asked = [file("/etc/passwd"), stat("/none"), run("none")]
        facts = ask(f"ssh://{alias}", *asked, options=Options(ssh_config=str(sshd.config), sudo=True))
        assert reach(facts) == ("ok", "")
        fact = facts.peek(SUDO)
        assert fact is not None
        assert fact.state == "denied"
        assert "password is required" in fact.note
        assert [facts.peek(request) for request in asked] == [None] * 3

    def test_a_node_without_sudo_is_denied_in_the_shells_words(self, sshd: Sshd, open_path: Path) -> None:
        needs("dash")
        setup = open_path / "rc"
        setup.write_text(f"PATH={programs(open_path / 'bin', 'sh', 'head', 'cat')}\n")
        alias = sshd.add_alias("no-sudo", setup=str(setup), shell=shutil.which("dash"))
        facts = ask(f"ssh://{alias}", file("/etc/passwd"), options=Options(ssh_config=str(sshd.config), sudo=True))
        assert reach(facts) == ("ok", "")
        fact = facts.peek(SUDO)
        assert fact is not None
        assert fact.state == "denied"
        assert "sudo: not found" in fact.note
        assert file("/etc/passwd") not in facts

    def test_a_sudo_that_hangs_ends_with_the_deadline(self, sshd: Sshd, open_path: Path) -> None:
        """As it does where its directory service does not answer.

        The sudo is a stand-in: it cannot show the real one's words.
        """
        (open_path / "sudo").write_text("#!/bin/sh\necho 'sudo: ldap' >&2\nexec sleep 4\n")
        (open_path / "sudo").chmod(0o755)
        setup = open_path / "rc"
        setup.write_text(f"PATH={open_path}:$PATH\n")
        alias = sshd.add_alias("slow-sudo", setup=str(setup))
        facts = ask(f"ssh://{alias}", options=Options(ssh_config=str(sshd.config), sudo=True), timeout=2)
        fact = facts.peek(SUDO)
        assert fact is not None
        assert (fact.state, fact.note) == ("timeout", "no answer within the deadline (sudo: ldap)")

    @pytest.mark.lab("ssh", "sshd")
    def test_a_connection_that_is_lost_before_sudo_answers_is_no_refusal(self, open_path: Path, word: str) -> None:
        (open_path / "sudo").write_text(f"#!/bin/sh\n: {word}\nsleep 4\n")
        (open_path / "sudo").chmod(0o755)
        (open_path / "rc").write_text(f"PATH={open_path}:$PATH\n")
        results: list[Facts] = []
        with serving() as own:
            alias = own.add_alias("lost", setup=str(open_path / "rc"))
            options = Options(ssh_config=str(own.config), sudo=True)
            thread = threading.Thread(target=lambda: results.append(ask(f"ssh://{alias}", options=options)))
            thread.start()
            while not running(f"{open_path}/sudo"):
                time.sleep(0.05)
            time.sleep(0.3)
            for pid in own.sessions():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            thread.join(20)
        fact = results[0].peek(SUDO)
        assert fact is not None
        assert fact.state == "cut"


class TestPasswords:
    def test_a_password_in_a_spec_logs_in_and_is_seen_nowhere(
        self, plain_user: tuple[str, str], tmp_path: Path
    ) -> None:
        needs("sshpass")
        name, password = plain_user
        seen: list[str] = []
        busy = threading.Event()

        def look() -> None:
            while not busy.is_set():
                seen.extend(running(password))

        watcher = threading.Thread(target=look)
        with serving("PasswordAuthentication yes") as own:
            config = tmp_path / "config"
            config.write_text(
                f"Host *\nUserKnownHostsFile {own.known_hosts}\nHostKeyAlias gpuready-test\n"
                "IdentitiesOnly yes\nIdentityFile none\n"
            )
            node = parse(f"ssh://{name}:{password}@127.0.0.1:{own.port}")
            watcher.start()
            facts = ask(node, run("id", "-un"), run("sleep", "1"), options=Options(ssh_config=str(config)))
            wrong = parse(f"ssh://{name}:wrong-{password}@127.0.0.1:{own.port}")
            refused = ask(wrong, options=Options(ssh_config=str(config)))
        busy.set()
        watcher.join()
        assert facts.text(run("id", "-un")) == f"{name}\n"
        assert reach(refused)[0] == "cut"
        assert "Permission denied" in reach(refused)[1]
        assert seen == []
        everything = [node.label, repr(node), dumps(facts, {}), dumps(refused, {}), repr(wrong)]
        assert [text for text in everything if password in text] == []

    def test_an_unknown_host_key_under_a_password_asks_nobody(
        self, plain_user: tuple[str, str], tmp_path: Path
    ) -> None:
        needs("sshpass")
        name, password = plain_user
        (tmp_path / "config").write_text(
            f"Host *\nUserKnownHostsFile {tmp_path / 'none'}\nGlobalKnownHostsFile /dev/null\n"
        )
        with serving("PasswordAuthentication yes") as own:
            spec = f"ssh://{name}:{password}@127.0.0.1:{own.port}"
            state, note = reach(ask(spec, options=Options(ssh_config=str(tmp_path / "config"))))
        assert state == "cut"
        assert "Host key verification failed" in note

    def test_a_killed_login_by_password_leaves_no_ssh_behind(self, plain_user: tuple[str, str]) -> None:
        """For sshpass gives ssh a session of its own."""
        needs("sshpass")
        name, password = plain_user
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            shell = Shell(parse(f"ssh://{name}:{password}@127.0.0.1:{port}"), Options(ssh_config="/dev/null"))
            thread = threading.Thread(target=lambda: shell.send("", time.monotonic() + 30))
            thread.start()
            while not running(f"Port={port}"):
                time.sleep(0.02)
            time.sleep(0.2)
            shell.kill()
            thread.join(10)
            assert not thread.is_alive()
            for _ in range(50):
                if not running(f"Port={port}"):
                    break
                time.sleep(0.1)
            assert running(f"Port={port}") == []


@pytest.mark.parametrize("where", ["local", "ssh"])
def test_a_gathering_that_ends_early_leaves_no_process_here(where: str, sshd: Sshd, word: str) -> None:
    """On the node a command ends by its own deadline; here nothing stays even so long."""
    spec = "local://" if where == "local" else sshd.spec
    hung = script("hang", f": {word}; sleep 30", timeout=2 if where == "ssh" else 30)
    before = set(descendants(os.getpid()))
    ask(spec, hung, options=Options(ssh_config=str(sshd.config)), timeout=1)
    assert sshd.process is not None
    # The server is a child of ours too; what it serves is the node.
    there = descendants(sshd.process.pid)
    assert set(descendants(os.getpid())) - before - set(there) == set()


def test_a_process_that_cannot_be_killed_does_not_hold_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of another user, by sudo. The kill is taken away; the process ends by itself later."""
    monkeypatch.setattr(transport, "_end_session", lambda _: None)
    shell = Shell(LOCAL, Options())
    monkeypatch.setattr(transport, "argv", lambda *_: ([sys.executable, "-c", "import time; time.sleep(6)"], {}))
    reply = shell.send("", time.monotonic() + 0.2)
    assert reply.timed_out
