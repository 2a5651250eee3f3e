"""What all nodes of a run may send together."""

from __future__ import annotations

import time

import pytest

from pytest_gpuready.node.facts import Facts, run
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import NodeSpec
from pytest_gpuready.node.memory import Memory
from pytest_gpuready.node.transport import Options, Shell

LOCAL = NodeSpec("local://", "local", "local")
BEFORE = run("echo", "before")
ENDLESS = run("sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", timeout=50, limit=1 << 30)


def ask(memory: Memory) -> tuple[Facts, int]:
    """A node that sends without end, and what it held when it was cut."""
    with Shell(LOCAL, Options(), memory=memory) as shell:
        facts = gather(shell, "local", lambda _: [BEFORE, ENDLESS], 20)
        return facts, memory.held


def test_output_without_end_is_cut_where_all_nodes_hold_too_much() -> None:
    memory = Memory(total=3 << 20, share=1 << 20)
    memory.take(2 << 20)  # of other nodes
    facts, held = ask(memory)
    fact = facts.peek(ENDLESS)
    assert fact is not None
    assert fact.state == "cut"
    assert facts.text(BEFORE) == "before\n"
    assert 3 << 20 < held < 5 << 20
    assert memory.held == 2 << 20


def test_every_node_has_its_share_whatever_the_others_hold() -> None:
    memory = Memory(total=100, share=1 << 20)
    memory.take(1000)
    with Shell(LOCAL, Options(), memory=memory) as shell:
        reply = shell.send(f"head -c 900000 /dev/zero; printf '\\n%s end\\n' {shell.nonce}\n", time.monotonic() + 20)
        assert (reply.complete, reply.trouble) == (True, "")


@pytest.mark.parametrize("rounds", [1, 3])
def test_what_was_read_is_given_back(rounds: int) -> None:
    memory = Memory()
    with Shell(LOCAL, Options(), memory=memory) as shell:
        for _ in range(rounds):
            shell.send(f"head -c 900000 /dev/zero; printf '\\n%s end\\n' {shell.nonce}\n", time.monotonic() + 20)
            assert 900_000 < memory.held < 1_000_000
    assert memory.held == 0
