"""A login shell that gives a simulated node's answers through a real login, and what may become of it on the way.

It stands for sh on a node with the files and programs of a `SimNode`: sshd starts it as the login shell, it is sent the
script of each round as every node is, and prints what the script would have printed there, byte for byte as the
functions of the script frame it. It answers only the very script that it was recorded for. What it cannot show: that
the script works (tests/node does), and how long it takes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import REACH, SUDO, Fact, Facts, Request
from pytest_gpuready.node.gather import MOST_ROUNDS
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.redact import redact
from pytest_gpuready.node.script import parse, render
from pytest_gpuready.views import Views

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.simnode import SimNode

#: Stands for the nonce in what is recorded; as long as one.
NONCE = "0123456789abcdef01234567"

#: The login shell: SHELL -c COMMAND. The recording is named by the environment; Python's own library is all it needs.
_PROGRAM = r'''
import hashlib, json, os, re, signal, subprocess, sys, time

with open(os.environ["GPUREADY_REPLAY"], encoding="utf-8") as stream:
    recorded = json.load(stream)
then, left = recorded["then"], recorded["after"]
out = sys.stdout.buffer


def say(data):
    """Print, up to where something else becomes of the node."""
    global left
    if then:
        out.write(data[:left])
        out.flush()
        if len(data) >= left:
            happen()
        left -= len(data)
    else:
        out.write(data)
        out.flush()


def happen():
    if then == "ends":
        os._exit(0)
    if then == "killed":
        time.sleep(0.5)  # sshd sends what it was given
        os.kill(os.getppid(), signal.SIGKILL)
    if then == "vanishes":
        time.sleep(0.5)
        os.kill(os.getppid(), signal.SIGSTOP)
    if then == "babbles":
        while True:
            out.write(b"x" * 65536)
    if then == "trickles":
        while True:
            out.write(b"x\n")
            out.flush()
            time.sleep(0.2)
    if then == "raves":
        out.write(os.urandom(20000))
        os._exit(0)
    time.sleep(600)


def round_of(stream):
    """The script of a round, up to its last line."""
    lines = []
    for line in stream:
        lines.append(line)
        if re.match(rb"printf '\\n%s end\\n' [0-9a-f]+\n", line):
            return b"".join(lines)
    return b""


# A node that dies while it answers would be given up by Python at the first write: say nothing of it.
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
greeting = re.search(r"echo (hello-[0-9a-f]+)", sys.argv[2])
out.write(f"\n{greeting[1]}\n".encode())
out.flush()
first = True
for answer in recorded["rounds"]:
    script = round_of(sys.stdin.buffer)
    if not script:
        break
    if first:
        nonce = re.match(rb"N=([0-9a-f]+)\n", script)[1]
        functions = script[: script.index(b"\n}\n", script.index(b"\nR() {")) + 3]
        first = False
    plain = script.replace(nonce, recorded["nonce"].encode())
    if hashlib.sha256(plain).hexdigest() != answer["asks"]:
        sys.exit("replay: these are other questions than were recorded")
    say(answer["says"].encode("latin-1").replace(recorded["nonce"].encode(), nonce))
    if answer["runs"]:
        # One command is run for real, by the script's own functions.
        line = answer["runs"].encode("latin-1").replace(recorded["nonce"].encode(), nonce)
        subprocess.run(["sh", "-s"], input=functions + line, check=False)
    say(b"\n" + nonce + b" end\n")
sys.stdin.buffer.read()
'''


@dataclass
class Recording:
    """A node's answers: per round, the digest of the script that asks, and what is said; the facts that come of it."""

    facts: Facts
    rounds: list[dict[str, str]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Bytes of the first round's answers."""
        return len(self.rounds[0]["says"])

    def write(self, folder: Path, name: str, *, then: str = "", after: int = 0) -> Path:
        """A file to be read before the login shell (`Sshd.add_alias`, setup), which names the recording to it.

        `then` is what becomes of the node after so many bytes of its answers: it `ends`, is `killed` (the sshd that
        serves it is), `vanishes` (without a word: that sshd stops), `hangs`, `babbles` or `trickles` for ever, `raves`.
        """
        document = {"nonce": NONCE, "rounds": self.rounds, "then": then, "after": after}
        (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
        setup = folder / f"{name}.rc"
        setup.write_text(f"export GPUREADY_REPLAY={folder}/{name}.json\n")
        return setup


def shell(folder: Path) -> Path:
    """The login shell's program, in a folder that every user may read."""
    path = folder / "replay"
    path.write_text(f"#!{sys.executable} -IS\n{_PROGRAM}")
    path.chmod(0o755)
    return path


def record(node: SimNode, *, really: dict[str, str] | None = None) -> Recording:
    """What a simulated node says in every round of a gathering.

    `really` names programs of the node and those of this machine that stand for them: a command that runs one is run
    when the node is asked, and the facts leave it out.
    """
    facts = Facts(node.label, [(REACH, Fact("ok")), (SUDO, Fact("ok"))])
    recording = Recording(facts)
    for number in range(MOST_ROUNDS):
        requests = [one for one in dict.fromkeys(Views(facts).wants()) if one not in facts]
        if not requests:
            break
        script = (preamble(NONCE) if number == 0 else "") + render(requests, NONCE)
        said, runs = b"", ""
        for index, request in enumerate(requests):
            if really and request.kind in ("run", "script") and set(request.arg) & set(really):
                runs = re.sub(r"(?m)^R 0 ", f"R {index} ", render([request], "")).rpartition("\nprintf")[0] + "\n"
                for there, here in really.items():
                    runs = runs.replace(there, here)
            else:
                said += answer(node, index, request)
        recording.rounds.append(
            {
                "asks": hashlib.sha256(script.encode("utf-8", "surrogateescape")).hexdigest(),
                "says": said.decode("latin-1"),
                "runs": runs,
            }
        )
        answers = parse(said, requests, NONCE)
        for request, fact in answers.items():
            facts.add(request, redact(request, fact))
        for request in requests:
            facts.add(request, Fact("cut", note="it is run for real"))
    return recording


def answer(node: SimNode, index: int, request: Request) -> bytes:
    """The frames that the script's functions print for one request."""
    fact = node._fact(request)
    if request.kind in ("run", "script"):
        rc = 127 if fact.state == "absent" else fact.rc or 0
        words = f"{NONCE}-rc {rc} 100.00 100.10 \n{fact.note}\n{NONCE}-out 100.20"
        return _frame(index, "b", fact.data) + _frame(index, "m", words.encode()) + _end(index, "rc")
    if request.kind in ("glob", "files"):
        paths = [path for path in fact.data.split(b"\0") if path]
        frames = _frame(index, "b", b"".join(path + b"\0" for path in paths)) + _end(index, fact.state)
        for number, path in enumerate(paths if request.kind == "files" else ()):
            member = Request("file", (path.decode("utf-8", "surrogateescape"),), limit=request.limit)
            frames += _one(f"{index}.{number}", node._fact(member))
        return frames
    return _one(index, fact)


def _one(index: int | str, fact: Fact) -> bytes:
    """A file or what lies at a path."""
    longer = b"+" if fact.state == "cut" else b""
    data = fact.note.encode() if fact.state == "odd" else fact.data + longer
    return _frame(index, "b", data) + _end(index, "ok" if longer else fact.state)


def _frame(index: int | str, letter: str, data: bytes) -> bytes:
    return f"\n{NONCE} {index} {letter}\n".encode() + data


def _end(index: int | str, word: str) -> bytes:
    return f"\n{NONCE} {index} e {word}\n".encode()
