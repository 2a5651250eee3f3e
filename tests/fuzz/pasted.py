"""What people paste: the remedies of nodes with hostile names in their files, answers and paths."""

from __future__ import annotations

import functools
import random
import re
import subprocess
from typing import TYPE_CHECKING

from pytest_gpuready.judge import judge_views
from pytest_gpuready.model import Settings
from pytest_gpuready.node.clean import clean
from pytest_gpuready.node.facts import Fact, Facts, Request
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views import Views
from tests.fuzz import whole
from tests.support import nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.simnode import SimNode

#: Text that a shell, sed, a udev rule, TOML or a terminal reads otherwise than as a name.
HOSTILE = (
    *("$(touch PASTED)", "`id`", "${HOME}", "a b", "'", '"', "'\"'", ";id;", "&&id", "|id", "\\", "\\n", "*", "?"),
    *("~", "!!", "#x", "-rf", "--", "{a,b}", "<(id)", ">x", "&", "/", "//", "..", "%s", "%k", "$1", "\\1", "=", ","),
    *("é", "漢字", "\u202e", "\u200b", "\x1b[2J", "\x07", "\r", "\n", "\t", "x" * 3000, "]]>", '"""', "'''"),
)

_NAME = re.compile(rb"/[A-Za-z0-9._/-]{2,}|[A-Za-z][A-Za-z0-9._-]{2,}")


@functools.cache
def _nodes() -> tuple[Facts, ...]:
    made: tuple[Callable[[], SimNode], ...] = (
        nodes.not_restarted,
        nodes.handler_in_wrong_table,
        lambda: nodes.ready().remove("/usr/bin/nvidia-container-runtime"),
        lambda: nodes.ready().remove("/usr/bin/nvidia-ctk"),
        lambda: nodes.ready().remove("/etc/cdi"),
        lambda: nodes.ready("1.7.24").remove("/etc/containerd/config.toml"),
    )
    return (*whole.nodes().values(), *(make().facts() for make in made))


def _hostile(data: bytes) -> Views:
    """A node in which a few names are others, everywhere: in requests as in answers; and a few facts are not had."""
    rest = random.Random(data)
    facts = rest.choice(_nodes())
    known = dict(facts)
    for _ in range(rest.choice((1, 1, 2, 4))) if data else ():
        texts = [fact.data for fact in known.values() if fact.data]
        found = _NAME.findall(rest.choice(texts)[:65_536]) if texts else []
        if not found:
            continue
        name = rest.choice(found)
        at = rest.randint(1, len(name))
        known = _renamed(known, name, name[:at] + rest.choice(HOSTILE).encode() + name[at:])
    requests = [request for request in known if request.kind != "node"]
    for request in rest.sample(requests, min(len(requests), rest.choice((0, 0, 1, 3)))) if data else ():
        known[request] = Fact(rest.choice(("absent", "odd", "denied")), note="is a directory")
    settings = Settings(
        routes=rest.choice(((), ("all",), tuple(ROUTES))),
        handler=rest.choice((None, None, "nvidia", rest.choice(HOSTILE))),
        socket=rest.choice((None, None, f"/run/{rest.choice(HOSTILE)}.sock")),
        sudo=rest.random() < 0.3,
    )
    return Views(Facts(facts.node, known.items()), settings)


def _renamed(known: dict[Request, Fact], name: bytes, other: bytes) -> dict[Request, Fact]:
    old, new = name.decode(), other.decode("utf-8", "surrogateescape")
    return {
        Request(request.kind, (request.arg[0].replace(old, new), *request.arg[1:]))
        if request.kind in ("file", "stat", "glob", "files")
        else request: Fact(fact.state, fact.data.replace(name, other), fact.rc, fact.note.replace(old, new))
        for request, fact in known.items()
    }


def remedies(data: bytes) -> None:
    """Every command of every remedy is one that a shell can read, without control characters but newline."""
    for check_id, found in judge_views(_hostile(data)).findings.items():
        remedy = found.outcome.remedy
        for command in remedy.commands if remedy is not None else ():
            assert clean(command) == command, (check_id, command)
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", command), (check_id, command)
            assert not _complaint(command), (check_id, command, _complaint(command))


@functools.lru_cache(100_000)
def _complaint(command: str) -> str:
    """Return what sh says of a command that it is to read and not to run; bytes that no argument holds end it."""
    done = subprocess.run(
        ["sh", "-n"], input=command.encode("utf-8", "surrogateescape"), capture_output=True, check=False
    )
    return done.stderr.decode("utf-8", "replace").strip() or ("exit status" if done.returncode else "")
