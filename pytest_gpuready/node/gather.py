"""Gathering: views say what they need, the node is asked in rounds until they need no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_gpuready import budget
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import BROKE_OFF, LATE, OVERDUE, REACH, SUDO, UNREACHED, Fact, Facts, Request
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.redact import redact
from pytest_gpuready.node.rooted import ASK
from pytest_gpuready.node.rooted import read as rooted_answers
from pytest_gpuready.node.script import LOST, parse, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_gpuready.node.facts import State
    from pytest_gpuready.node.transport import Reply, Transport

#: More rounds than any healthy node needs (one or two); what is still wanted then stays unknown.
MOST_ROUNDS = 6


def gather(
    transport: Transport,
    label: str,
    wants: Callable[[Facts], Iterable[Request]],
    timeout: float,
    rooted: Sequence[Request] = (),
) -> Facts:
    """The facts of one node, in one login, within `timeout` seconds. Never raises for what the node does.

    `wants` is given the facts so far and names everything that is wanted, also what is there already. `rooted` is what
    the one program reads that sudo may permit instead of a shell.
    """
    facts = Facts(label)
    deadline = time.monotonic() + timeout
    for number in range(MOST_ROUNDS):
        requests = [request for request in dict.fromkeys(wants(facts)) if request not in facts]
        if number and not requests:
            break
        if number == 0 and rooted and transport.by_rule:
            requests.insert(0, ASK)
        script = (preamble(transport.nonce) if number == 0 else "") + render(requests, transport.nonce)
        reply = transport.send(script, deadline)
        if number == 0 and not _begin(facts, transport, reply):
            break
        answers = parse(reply.output, requests, transport.nonce)
        if ASK in requests and not _as_root(facts, answers.pop(ASK, None), rooted):
            break
        _record(facts, [request for request in requests if request is not ASK], answers, reply)
        if not reply.complete:
            if reply.timed_out:
                # What would have been asked next is known to be missing, and why.
                more = [request for request in dict.fromkeys(wants(facts)) if request not in facts]
                _record(facts, more, {}, reply)
                at = next((request for request in requests if request in answers and _stopped(answers[request])), None)
                if more or any(request not in answers for request in requests if request is not ASK):
                    words = f"{_late(transport.complaint)}{f': it was at {at}' if at is not None else ''}"
                    facts.add(LATE, Fact("timeout", note=one_line(words, 300)))
            else:
                # ssh's own words tell a node that fell silent from one that closed the connection.
                said = f": {transport.complaint}" if transport.complaint else ""
                facts.add(BROKE_OFF, Fact("cut", note=f"{reply.trouble}{said}"))
            break
    return facts


def ask(transport: Transport, facts: Facts, request: Request, timeout: float) -> None:
    """One more question, in the same login, with its own deadline of `timeout` seconds.

    While it runs its descriptor 7 is the login's standard input, which ends when the login does; whoever reads it there
    must leave it before it ends. All of the round stands in braces: a shell that reads its script byte by byte has read
    it to the end before that begins.
    """
    script = f"{{\nexec 7<&0\n{render([request], transport.nonce)}exec 7<&-\n}}\n"
    reply = transport.send(script, time.monotonic() + timeout)
    _record(facts, [request], parse(reply.output, [request], transport.nonce), reply)


def _begin(facts: Facts, transport: Transport, reply: Reply) -> bool:
    """Record whether the node was reached and sudo worked; False if nothing more can be asked."""
    # A login shell may say on standard output why there is no shell (nologin does).
    words = transport.complaint or one_line(reply.output[:4096].decode("utf-8", "replace"), 400)
    if not transport.greeted:
        told = reply.trouble if reply.endless else words
        ended = Fact("cut", note=told or reply.trouble or "no POSIX shell answered")
        facts.add(REACH, Fact("timeout", note=_late(words)) if reply.timed_out else ended)
        return False
    if f"\n{transport.nonce} ".encode() in reply.output:
        facts.add(REACH, Fact("ok"))
        return True
    # The login shell greeted, and the shell that was to follow it did not run.
    said = transport.complaint or reply.trouble
    if not transport.sudo:
        ended = Fact("cut", note=f"sh ended at once: {said}")
        facts.add(REACH, Fact("timeout", note=_late(transport.complaint)) if reply.timed_out else ended)
        return False
    facts.add(REACH, Fact("ok"))
    refused = "sudo" in said.lower() or not transport.complaint
    state: State = "timeout" if reply.timed_out else "denied" if refused else "cut"
    facts.add(SUDO, Fact(state, note=_late(transport.complaint) if reply.timed_out else said))
    return False


def _as_root(facts: Facts, asked: Fact | None, rooted: Sequence[Request]) -> bool:
    """Record what the program for sudo read, before the user's own answers; False if sudo refused it."""
    read = rooted_answers(asked, rooted) if asked is not None else {}
    if isinstance(read, Fact):
        facts.add(SUDO, read)
        return False
    with budget.limited(budget.REDACTING):
        for request, fact in read.items():
            facts.add(request, redact(request, fact))
    return True


def _record(facts: Facts, requests: list[Request], answers: dict[Request, Fact], reply: Reply) -> None:
    facts.add(SUDO, Fact("ok"))
    with budget.limited(budget.REDACTING):
        for request, fact in answers.items():
            stopped = reply.timed_out and _stopped(fact)
            taken = Fact("timeout", fact.data, fact.rc, OVERDUE) if stopped else fact
            facts.add(request, redact(request, taken))
    for request in requests:
        if request not in answers:
            state: State = "timeout" if reply.timed_out else "cut"
            facts.add(request, Fact(state, note=f"{UNREACHED}{reply.trouble or 'the answer is missing'}"))


def _stopped(fact: Fact) -> bool:
    """Its answer began and has no end."""
    return fact.state == "cut" and fact.note == LOST


def _late(words: str) -> str:
    return f"{OVERDUE}{f' ({words})' if words else ''}"
