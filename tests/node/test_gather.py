"""Rounds of questions over one transport, and what is recorded when they end early."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import pytest

from pytest_gpuready.model import Denied, Undetermined
from pytest_gpuready.node.facts import BROKE_OFF, LATE, REACH, SUDO, Fact, Facts, Request, file, files, glob, run, stat
from pytest_gpuready.node.gather import MOST_ROUNDS, gather
from pytest_gpuready.node.hosts import NodeSpec
from pytest_gpuready.node.transport import Options, Reply, Shell
from tests.support.scripted import NONCE, Scripted, framed


class TestRounds:
    def test_what_was_answered_is_not_asked_again_and_nothing_more_ends_it(self) -> None:
        transport = Scripted([Reply(framed(b"one", b"two"), complete=True), Reply(framed(b"three"), complete=True)])

        def wants(facts: Facts) -> list[Request]:
            return [file("/1"), file("/2"), file("/1"), *([file("/3")] if file("/1") in facts else [])]

        facts = gather(transport, "n", wants, 5)
        assert len(transport.scripts) == 2
        assert [facts.text(file(f"/{number}")) for number in (1, 2, 3)] == ["one", "two", "three"]
        assert "R() {" in transport.scripts[0]
        assert "R() {" not in transport.scripts[1]

    def test_a_node_is_asked_even_if_nothing_is_wanted(self) -> None:
        transport = Scripted([Reply(framed(), complete=True)])
        facts = gather(transport, "n", lambda _: [], 5)
        assert (facts.peek(REACH), facts.peek(SUDO)) == (Fact("ok"), Fact("ok"))

    def test_wants_without_end_end(self) -> None:
        transport = Scripted([Reply(framed(b"x"), complete=True)])
        facts = gather(transport, "n", lambda known: [file(f"/{len(known)}")], 5)
        assert len(transport.scripts) == MOST_ROUNDS
        assert len(facts) == MOST_ROUNDS + 2

    def test_the_first_answer_stays(self) -> None:
        facts = Facts("n")
        facts.add(file("/a"), Fact("ok", b"first"))
        facts.add(file("/a"), Fact("ok", b"second"))
        assert (facts.text(file("/a")), facts.generation) == ("first", 1)

    def test_secrets_are_gone_before_anybody_sees_them(self) -> None:
        transport = Scripted([Reply(framed(b'password = "canary-0123456"'), complete=True)])
        facts = gather(transport, "n", lambda _: [file("/a")], 5)
        assert "canary" not in (facts.text(file("/a")) or "")


class TestEndedEarly:
    def test_a_deadline_in_the_middle(self) -> None:
        output = framed(b"one", end=False) + f"\n{NONCE} 1 b\npart".encode()
        transport = Scripted([Reply(output, trouble="no answer within the deadline", timed_out=True)])
        facts = gather(transport, "n", lambda _: [file("/1"), file("/2"), file("/3")], 5)
        assert [facts.peek(file(f"/{number}")) for number in (1, 2, 3)] == [
            Fact("ok", b"one"),
            Fact("timeout", b"part", note="no answer within the deadline"),
            Fact("timeout", note="not reached: no answer within the deadline"),
        ]
        assert facts.peek(LATE) == Fact("timeout", note="no answer within the deadline: it was at /2")
        assert len(transport.scripts) == 1

    def test_a_deadline_in_the_last_answer_is_that_answers_own(self) -> None:
        output = framed(b"one", end=False) + f"\n{NONCE} 1 b\npart".encode()
        transport = Scripted([Reply(output, trouble="no answer within the deadline", timed_out=True)])
        facts = gather(transport, "n", lambda _: [file("/1"), file("/2")], 5)
        assert facts.peek(file("/2")) == Fact("timeout", b"part", note="no answer within the deadline")
        assert LATE not in facts

    def test_what_a_late_node_would_have_been_asked_next_was_not_reached(self) -> None:
        reply = Reply(framed(b"one", end=False), timed_out=True, trouble="no answer within the deadline")
        transport = Scripted([reply])
        facts = gather(transport, "n", lambda known: [file("/1"), *([file("/2")] if file("/1") in known else [])], 5)
        assert facts.peek(file("/2")) == Fact("timeout", note="not reached: no answer within the deadline")
        assert facts.peek(LATE) == Fact("timeout", note="no answer within the deadline")
        assert len(transport.scripts) == 1

    def test_a_connection_lost_in_the_middle(self) -> None:
        transport = Scripted([Reply(framed(b"one", end=False), trouble="the connection ended (exit status 255)")])
        facts = gather(transport, "n", lambda _: [file("/1"), file("/2")], 5)
        assert facts.text(file("/1")) == "one"
        assert facts.peek(file("/2")) == Fact("cut", note="not reached: the connection ended (exit status 255)")
        assert facts.peek(BROKE_OFF) == Fact("cut", note="the connection ended (exit status 255)")

    def test_what_the_transport_says_of_it_is_kept(self) -> None:
        transport = Scripted(
            [Reply(framed(b"one", end=False), trouble="the connection ended")], complaint="not responding"
        )
        facts = gather(transport, "n", lambda _: [file("/1"), file("/2")], 5)
        assert facts.peek(BROKE_OFF) == Fact("cut", note="the connection ended: not responding")

    def test_a_node_that_ends_a_later_round(self) -> None:
        transport = Scripted([Reply(framed(b"one"), complete=True), Reply(b"", trouble="the connection ended")])
        facts = gather(transport, "n", lambda known: [file("/1"), *([file("/2")] if file("/1") in known else [])], 5)
        assert facts.peek(REACH) == Fact("ok")
        assert facts.peek(file("/2")) == Fact("cut", note="not reached: the connection ended")


class TestBeginnings:
    @pytest.mark.parametrize(
        ("transport", "reach", "sudo"),
        [
            (Scripted([Reply(trouble="the connection ended")], greeted=False, complaint="Connection refused"), Fact("cut", note="Connection refused"), None),
            (Scripted([Reply(b"nologin says\n", trouble="the connection ended")], greeted=False), Fact("cut", note="nologin says"), None),
            (Scripted([Reply(trouble="the connection ended")], greeted=False), Fact("cut", note="the connection ended"), None),
            (Scripted([Reply()], greeted=False), Fact("cut", note="no POSIX shell answered"), None),
            (Scripted([Reply(timed_out=True)], greeted=False), Fact("timeout", note="no answer within the deadline"), None),
            (Scripted([Reply(timed_out=True)], greeted=False, complaint="x"), Fact("timeout", note="no answer within the deadline (x)"), None),
            (Scripted([Reply(trouble="the connection ended")]), Fact("cut", note="sh ended at once: the connection ended"), None),
            (Scripted([Reply(timed_out=True)]), Fact("timeout", note="no answer within the deadline"), None),
            (Scripted([Reply()], sudo=True, complaint="sudo: no"), Fact("ok"), Fact("denied", note="sudo: no")),
            (Scripted([Reply(trouble="gone")], sudo=True), Fact("ok"), Fact("denied", note="gone")),
            (Scripted([Reply(trouble="gone")], sudo=True, complaint="Connection reset"), Fact("ok"), Fact("cut", note="Connection reset")),
            (Scripted([Reply(timed_out=True)], sudo=True), Fact("ok"), Fact("timeout", note="no answer within the deadline")),
        ],
    )  # fmt: skip
    def test_what_is_said_of_the_way_there(self, transport: Scripted, reach: Fact, sudo: Fact | None) -> None:
        facts = gather(transport, "n", lambda _: [file("/1")], 5)
        assert (facts.peek(REACH), facts.peek(SUDO)) == (reach, sudo)
        assert facts.peek(file("/1")) is None


class TestReaders:
    """What a view gets of a fact: never "not known" taken for "no"."""

    def test_what_was_not_had_is_raised(self) -> None:
        facts = Facts("n", [
            (file("/denied"), Fact("denied")),
            (run("slow"), Fact("timeout", note="no answer within 5 s (err)")),
            (run("mute"), Fact("timeout")),
            (file("/cut"), Fact("cut", b"x", note="longer than 1 bytes")),
            (file("/dir"), Fact("odd", note="is a directory")),
            (file("/absent"), Fact("absent")),
        ])  # fmt: skip
        with pytest.raises(Denied, match="/denied"):
            facts.text(file("/denied"))
        for request, words in [
            (run("slow"), r"slow: no answer within 5 s \(err\)"),
            (run("mute"), "mute: no answer within 5 s"),
            (file("/cut"), r"/cut: only a part of the answer came \(longer than 1 bytes\)"),
            (file("/dir"), "/dir: is a directory"),
            (file("/other"), "/other was not looked at"),
        ]:
            with pytest.raises(Undetermined, match=words):
                facts.text(request)
        assert facts.text(file("/absent")) is None
        assert len(facts) == 6
        assert str(Request("script", ("name", "arg"))) == "name"

    def test_stats(self) -> None:
        facts = Facts("n", [
            (stat("/dev/nvidia0"), Fact("ok", b"21b6 0 44 0 7 8 c3 0")),
            (stat("/link"), Fact("ok", b"41ed 0 0 0 0 0 0 0\n/a\nb")),
            (stat("/sock"), Fact("ok", b"c1ed 0 0 0 0 0 0 0")),
            (stat("/odd"), Fact("ok", b"what is this")),
            (stat("/bare"), Fact("ok")),
            (stat("/none"), Fact("absent")),
        ])  # fmt: skip
        device, link, sock = facts.stat("/dev/nvidia0"), facts.stat("/link"), facts.stat("/sock")
        assert device is not None
        assert link is not None
        assert sock is not None
        assert (device.major, device.gid, device.is_char_device, device.is_file, device.executable) == (
            195,
            44,
            True,
            False,
            False,
        )
        assert (link.target, link.is_dir) == ("/a\nb", True)
        assert sock.is_socket
        assert facts.stat("/none") is None
        with pytest.raises(Undetermined, match="makes no sense"):
            facts.stat("/odd")
        with pytest.raises(Undetermined, match="no stat program"):
            facts.stat("/bare")

    def test_globs(self) -> None:
        facts = Facts("n", [(glob("/a/*"), Fact("ok", b"/a/b\0/a/a\0")), (files("/a/*"), Fact("denied"))])
        assert facts.glob("/a/*") == ["/a/a", "/a/b"]
        with pytest.raises(Denied):
            facts.glob("/a/*", kind="files")


def test_a_real_shell_answers_in_two_rounds() -> None:
    with Shell(NodeSpec("local://", "local", "local"), Options()) as shell:
        facts = gather(
            shell, "local", lambda known: [stat("/"), *([run("echo", "x")] if stat("/") in known else [])], 20
        )
    assert facts.exists("/")
    assert facts.text(run("echo", "x")) == "x\n"
