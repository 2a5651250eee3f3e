"""Logins that a server or a jump host turns away because too many begin: tried again, later and fewer at once."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.node import logins
from pytest_gpuready.node.facts import REACH, Facts, run
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.logins import LEAST, Logins, pause, turned_away
from pytest_gpuready.node.transport import Options, Shell
from tests.support.sshd import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = 40
ECHO = run("echo", "here")

CLOSED = "kex_exchange_identification: Connection closed by remote host\nConnection closed by 192.0.2.1 port 22\n"
RESET = (
    "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 192.0.2.1 port 22\n"
    "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535\n"
)


@pytest.mark.parametrize(
    "words",
    [
        CLOSED,
        RESET,
        "ssh_exchange_identification: Connection closed by remote host\n",
        "ssh_exchange_identification: read: Connection reset by peer\n",
        f"Warning: Permanently added '192.0.2.1' (ED25519) to the list of known hosts.\n{RESET}",
        "Error reading SSH protocol banner\n",
    ],
)
def test_a_connection_that_is_closed_before_a_word_is_turned_away(words: str) -> None:
    """As OpenSSH 9.2 says it of a server past its MaxStartups, alone and as a jump host; as 7.x and paramiko do."""
    assert turned_away(words, 1)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "ssh: connect to host 192.0.2.1 port 22: Connection refused\n",
        "ssh: connect to host 192.0.2.1 port 22: No route to host\n",
        "ssh: connect to host 192.0.2.1 port 22: Connection timed out\n",
        "root@192.0.2.1: Permission denied (publickey).\n",
        "Host key verification failed.\n",
        # The jump host cannot be reached, refuses the key, does not know the node, cannot reach it.
        f"ssh: connect to host jump port 22: Connection refused\n{CLOSED}",
        f"root@jump: Permission denied (publickey).\n{CLOSED}",
        f"ssh: Could not resolve hostname jump: Name or service not known\n{CLOSED}",
        f"channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n{CLOSED}",
        f"channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed\n{CLOSED}",
        f"Host key verification failed.\n{CLOSED}",
        # A ProxyCommand that is not there.
        f"/bin/sh: 1: exec: nc: not found\n{CLOSED}",
        "Connection closed by 192.0.2.1 port 22\n",  # after the key exchange
    ],
)
def test_any_other_end_is_an_answer(words: str) -> None:
    assert not turned_away(words, 1)


def test_a_server_that_stays_silent_is_none_that_turns_away() -> None:
    """Paramiko says the same of both."""
    assert not turned_away("Error reading SSH protocol banner\n", 10)


def test_pauses_grow_and_differ() -> None:
    first, fourth, tenth = ([pause(tries) for _ in range(50)] for tries in (1, 4, 10))
    assert 0.25 <= min(first) < max(first) <= 0.5
    assert 2 <= min(fourth) < max(fourth) <= 4
    assert max(tenth) <= 8
    assert len(set(first)) > 40


class TestTurns:
    def test_so_many_begin_at_once_and_the_next_when_one_has_greeted(self) -> None:
        turns = Logins(2)
        assert turns.enter("a")
        assert turns.enter("b")
        assert not turns.enter("c", time.monotonic() + 0.1)
        turns.leave("a", greeted=True)
        assert turns.enter("c", time.monotonic() + 0.1)
        turns.leave("nobody", refused=True)

    @pytest.mark.parametrize("width", [4.0, 1.0], ids=["wide", "narrow"])
    def test_a_login_that_waits_for_the_network_holds_no_turn(
        self, monkeypatch: pytest.MonkeyPatch, width: float
    ) -> None:
        """A black hole never greets. Where logins were turned away it counts for longer."""
        monkeypatch.setattr(logins, "NARROW_TURN", 1.5)
        turns = Logins(4)
        turns.width = width
        names = [f"hole{number}" for number in range(int(width))]
        assert all(turns.enter(name) for name in names)
        assert turns.enter("next", time.monotonic() + 1) is (width == 4)
        assert turns.enter("another", time.monotonic() + 5)

    def test_fewer_begin_when_several_are_turned_away_and_more_again_when_they_are_not(self) -> None:
        turns = Logins(8)
        names = [f"n{number}" for number in range(8)]
        assert all(turns.enter(name) for name in names)
        for name in names:
            turns.leave(name, refused=True)
        # Once: all of them were begun before it was known.
        assert turns.width == 4
        for _ in range(10):
            for name in names[: int(turns.width)]:
                assert turns.enter(name)
            for name in names:
                turns.leave(name, refused=True)
        assert turns.width == LEAST
        for _ in range(100):
            assert turns.enter("good")
            turns.leave("good", greeted=True)
        assert turns.width == 8

    def test_one_node_that_closes_every_connection_slows_no_other(self) -> None:
        turns = Logins(8)
        for _ in range(20):
            assert turns.enter("firewalled")
            turns.leave("firewalled", refused=True)
        assert turns.width == 8

    def test_whoever_waits_is_let_go_when_the_run_stops(self) -> None:
        turns = Logins(1)
        turns.enter("a")
        got: list[bool] = []
        thread = threading.Thread(target=lambda: got.append(turns.enter("b")))
        thread.start()
        turns.stop()
        thread.join(5)
        assert got == [False]
        assert not turns.enter("c")


def asked(names: list[str], config: Path, turns: Logins) -> list[Facts]:
    """All nodes at once, as a run asks them."""

    def one(name: str) -> Facts:
        with Shell(parse(f"ssh://{name}"), Options(ssh_config=str(config)), turns) as shell:
            shell.connect()
            return gather(shell, name, lambda _: [ECHO], 120)

    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(one, names))


@pytest.mark.slow
@pytest.mark.parametrize("jump", [False, True], ids=["direct", "ProxyJump"])
def test_all_nodes_of_a_server_that_lets_two_begin_are_reached(jump: bool) -> None:  # noqa: FBT001 - a parameter
    """40 at once through a real sshd with MaxStartups 2:100:4; each greets once."""
    with serving("MaxStartups 2:100:4") as narrow, serving() as wide:
        names = [f"n{number}" for number in range(NODES)]
        node = wide if jump else narrow
        if jump:
            wide.config.write_text(narrow.config.read_text().replace("Host node\n", "Host jump\n"))
        for name in names:
            node.add_alias(name, *(["ProxyJump jump"] if jump else []))
        turns = Logins(16)
        found = asked(names, node.config, turns)
        assert [facts.text(ECHO) for facts in found] == ["here\n"] * NODES
        assert "past MaxStartups" in narrow.text()
        assert node.logins() == NODES
        assert turns.width < 16


@pytest.fixture
def closing() -> Iterator[tuple[int, list[float]]]:
    """A port that closes every connection at once, and when it did: stands for a firewall."""
    times: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    times.append(time.monotonic())
                    connection.close()
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], times
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def one(port: int, timeout: float, scheme: str = "ssh") -> tuple[str, str, float]:
    """A node's first fact, and the seconds it took."""
    begun = time.monotonic()
    with Shell(parse(f"{scheme}://127.0.0.1:{port}"), Options(ssh_config="/dev/null")) as shell:
        fact = gather(shell, "n", lambda _: [ECHO], timeout).peek(REACH)
    assert fact is not None
    return fact.state, fact.note, time.monotonic() - begun


@pytest.mark.lab("ssh")
@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("ssh", "kex_exchange_identification"),
        pytest.param("paramiko", "Error reading SSH protocol banner", marks=pytest.mark.lab("paramiko")),
    ],
)
def test_a_port_that_closes_every_connection_is_told_within_the_deadline(
    closing: tuple[int, list[float]], scheme: str, words: str
) -> None:
    port, times = closing
    state, note, seconds = one(port, 8, scheme)
    assert state == "cut"
    assert words in note
    assert f"(turned away {len(times)} times before a login began)" in note
    assert len(times) > 1
    assert seconds < 8.5


@pytest.mark.lab("ssh")
def test_a_refused_port_is_told_at_once() -> None:
    state, note, seconds = one(free_port(), 60)
    assert (state, "Connection refused" in note) == ("cut", True)
    assert seconds < 30
    assert "turned away" not in note


@pytest.mark.lab("ssh")
def test_a_kill_ends_a_pause(closing: tuple[int, list[float]]) -> None:
    """As Ctrl-C, while a login that was turned away waits for its next try."""
    port, times = closing
    shell = Shell(parse(f"ssh://127.0.0.1:{port}"), Options(ssh_config="/dev/null"))
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(shell.send("", time.monotonic() + 60).trouble))
    thread.start()
    while len(times) < 3:
        time.sleep(0.02)
    shell.kill()
    thread.join(5)
    assert not thread.is_alive()
    assert found == ["interrupted"]
    shell.close()
