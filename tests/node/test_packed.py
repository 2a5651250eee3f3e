"""A round that travels as lines: whatever the node's shell and tools, what arrives is what was printed."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import time
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.node import packed
from pytest_gpuready.node.facts import file, glob, run, script
from pytest_gpuready.node.preamble import PREAMBLE, preamble
from pytest_gpuready.node.script import parse, render
from tests.node.nodes import alone

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_gpuready.node.facts import Fact, Request
    from tests.node.nodes import NodeShell

MARK = "5bd1e995c2b2ae3d27d4eb2f"


def printed(shell: NodeShell, text: str, environment: dict[str, str] | None = None) -> bytes:
    """What a node's shell makes of a script."""
    if shell.alone:
        # With the tools of its own alone, as tests of the plain script do.
        text = text.replace(PREAMBLE, alone(PREAMBLE))
    done = subprocess.run(
        shell.argv,
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        check=False,
        env=environment or shell.environment,
        timeout=60,
    )
    return b"\n" + done.stdout


def asked(shell: NodeShell, *requests: Request, seconds: float = 30) -> dict[Request, Fact]:
    """The facts of a packed round."""
    found = packed.unpack(printed(shell, packed.pack(render(requests, packed.NONCE), MARK, seconds)), MARK)
    assert found is not None
    assert found.ended
    return parse(found.output, requests, found.nonce)


def test_bytes_of_every_kind_arrive(shell: NodeShell, tmp_path: Path) -> None:
    """Carriage returns, NULs, a last line without its end: all that a carrier of lines would lose."""
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(range(256)) * 3 + b"a\rb\r\n\r\r\nend")
    (tmp_path / "x.conf").touch()
    requests = [file(str(raw)), glob(f"{tmp_path}/*.conf"), script("both", "printf 'a\\rb'; printf 'c\\r' >&2; exit 3")]
    facts = asked(shell, *requests)
    assert facts[requests[0]].data == raw.read_bytes()
    assert facts[requests[1]].data == f"{tmp_path}/x.conf\0".encode()
    assert (facts[requests[2]].data, facts[requests[2]].rc) == (b"a\rb", 3)


def test_a_node_without_gzip_sends_hexadecimal_digits(dash: NodeShell, tmp_path: Path) -> None:
    for name in ("od", "head", "sleep", "cat", "timeout", "readlink"):
        (tmp_path / name).symlink_to(subprocess.check_output(["which", name], text=True).strip())
    text = packed.pack(render([run("cat", "/etc/hostname")], packed.NONCE), MARK, 30)
    text = text.replace(PREAMBLE, PREAMBLE.replace(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ""))
    raw = printed(dash, text, {"PATH": str(tmp_path)})
    assert b" od\n" in raw
    found = packed.unpack(raw, MARK)
    assert found is not None
    assert b"cat" not in found.output
    assert f"\n{found.nonce} end\n".encode() in found.output


def test_two_nodes_mark_the_same_round_by_marks_of_their_own(dash: NodeShell) -> None:
    """Who has read the script on one node cannot forge an answer in a file that another reads."""
    text = packed.pack(render([run("true")], packed.NONCE), MARK, 30)
    nonces = {found.nonce for _ in range(2) if (found := packed.unpack(printed(dash, text), MARK)) is not None}
    assert len(nonces) == 2
    assert all(len(nonce) > len(MARK) + 30 for nonce in nonces)
    assert not any(nonce in text for nonce in nonces)


def test_a_node_that_hangs_sends_what_it_has_before_the_deadline(shell: NodeShell) -> None:
    """A read that never returns is tried as a command that the round does not bound: nothing after it is reached."""
    begun = time.monotonic()
    body = render([run("echo", "first")], packed.NONCE).replace("printf '\\n%s end", "sleep 20; printf '\\n%s end")
    process = subprocess.Popen(shell.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=shell.environment)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(packed.pack(body, MARK, 8).encode())
        process.stdin.close()
        raw = b"\n"
        while b"packed\n" not in raw and (piece := os.read(process.stdout.fileno(), 65536)):
            raw += piece
        assert time.monotonic() - begun < 15
        found = packed.unpack(raw, MARK)
        process.kill()
    assert found is not None
    assert found.ended
    assert b"first" in found.output
    assert f"\n{found.nonce} end\n".encode() not in found.output


def test_what_is_cut_is_read_as_far_as_it_came() -> None:
    plain = b"\n".join(b"%d" % number for number in range(100_000))
    text = base64.encodebytes(gzip.compress(plain))
    raw = b"\n%s %s-0 gz\n%s" % (MARK.encode(), MARK.encode(), text[: len(text) // 2])
    found = packed.unpack(raw, MARK)
    assert found is not None
    assert not found.ended
    assert 1000 < len(found.output) < len(plain)
    assert plain.startswith(found.output)


def test_what_unpacks_to_more_than_the_limit_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LIMIT", 1 << 20)
    text = base64.encodebytes(gzip.compress(b"\0" * (50 << 20)))
    found = packed.unpack(b"\n%s %s-0 gz\n%s" % (MARK.encode(), MARK.encode(), text), MARK)
    assert found is not None
    assert 1 << 20 < len(found.output) <= 3 << 20


@given(st.binary(), st.sampled_from(["gz", "od"]))
def test_no_output_is_a_traceback(text: bytes, kind: str) -> None:
    raw = b"\n%s %s-0 %s\n%s" % (MARK.encode(), MARK.encode(), kind.encode(), text)
    found = packed.unpack(raw, MARK)
    assert found is not None
    assert packed.unpack(text, MARK) is None
    assert isinstance(found.output, bytes)


def test_the_round_brings_the_functions_of_a_first_round() -> None:
    """What is sent by way of a login that stays is the same text, so no answer can differ."""
    assert PREAMBLE in packed.pack("", MARK, 30)
    assert PREAMBLE in preamble("x")
