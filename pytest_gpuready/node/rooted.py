"""One program that a plain user may run as root: it prints what is read as root, and does nothing else.

Where sudo permits it and no shell (`python -m pytest_gpuready.sudoers` prints both), the shell on the node is the plain
user's and this program's answers stand before the user's own. It takes no argument and no input, so a rule for it is a
rule for its text. It prints the frames of `script`, with a nonce that it makes itself, behind a first line:

    gpuready-read <version> <nonce>

The version is a digest of the text: another version's answers are not read.
"""

from __future__ import annotations

import hashlib
import shlex
from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import Fact, script
from pytest_gpuready.node.preamble import PREAMBLE
from pytest_gpuready.node.script import parse, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuready.node.facts import Request

#: Where it lies on a node, and the program's name.
PROGRAM = "/usr/local/sbin/gpuready-read"
NAME = PROGRAM.rpartition("/")[2]

#: The question that starts it. A shell that is root's needs it not.
ASK: Request = script(
    f"sudo {NAME}",
    f'[ "$(id -u)" -ne 0 ] || exit 0\nexec sudo -n -- {PROGRAM}',
    timeout=20,
    limit=32 * 1024 * 1024,
)

# The environment is the caller's where a site lets it through: the path is set before anything is started by name.
_HEAD = f"""#!/bin/sh
# {NAME} VERSION: what pytest-gpuready reads on this node as root, printed. No arguments, no input; it writes nothing.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export PATH
cd / && exec </dev/null || exit 1
read -r N </proc/sys/kernel/random/uuid && [ -n "$N" ] || exit 1
echo "{NAME} VERSION $N"
"""


def program(requests: Sequence[Request]) -> str:
    """The program's text: the same for the same requests."""
    lines = render(requests, "NONCE").replace("\\n%s end\\n' NONCE", '\\n%s end\\n\' "$N"')
    named = ""
    bodies = [request.body for request in requests if request.kind == "script"]
    for number, body in enumerate(body for body in dict.fromkeys(bodies) if bodies.count(body) > 1):
        # A script that is asked with several arguments stands there once.
        quoted = shlex.quote(body)
        named += f"B{number}={quoted}\n"
        lines = lines.replace(quoted, f'"$B{number}"')
    text = f"{_HEAD}{PREAMBLE}\n{named}{lines}"
    return text.replace("VERSION", hashlib.sha256(text.encode()).hexdigest()[:16], 2)


def version(requests: Sequence[Request]) -> str:
    """The version that the program of these requests prints."""
    return program(requests).splitlines()[1].split()[2].rstrip(":")


def read(fact: Fact, requests: Sequence[Request]) -> dict[Request, Fact] | Fact:
    """The answers of the program, none where the shell is root's; or, where there are none, what is said of sudo."""
    if fact.state == "timeout":
        return Fact("timeout", note=f"sudo {NAME}: {fact.note}")
    head, _, _ = fact.data.partition(b"\n")
    words = head.decode("ascii", "replace").split(" ")
    if len(words) == 3 and words[0] == NAME:
        if words[1] == version(requests):
            return parse(fact.data, requests, words[2])
        return Fact("denied", note=f"{PROGRAM} on the node is another version's; install this one's")
    if fact.state == "ok" and fact.rc == 0 and not fact.data:
        return {}
    return Fact("denied", note=one_line(fact.note) or f"{PROGRAM} did not answer (exit status {fact.rc})")
