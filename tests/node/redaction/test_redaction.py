"""No secret is found again, whatever text it stands in; what only looks alike stays; a broken file breaks as before."""

# ruff: noqa: E501 - pieces and values stand together

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.node.redact import redact, redact_bytes
from pytest_gpuready.node.snapshot import read, shipped
from tests.node.redaction.corpus import forms, harmless, planted, remains

if TYPE_CHECKING:
    from tests.node.redaction.corpus import Planted

CORPUS = planted()


def _lines(data: bytes) -> list[int]:
    return [place for place, byte in enumerate(data) if byte in b"\r\n"]


def test_the_corpus_plants_250_secrets_in_60_forms() -> None:
    assert len(forms()) >= 180
    assert len({secret for case in CORPUS for secret in case.secrets}) >= 500
    assert {case.kind for case in CORPUS} == {"toml", "yaml", "json", "env", "nul", "args", "run", "log", "note"}
    for case in CORPUS:
        assert remains(case.secrets, case.text) == list(case.secrets), f"{case.form} does not hold its secrets"


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.form)
def test_a_planted_secret_is_not_found_again(case: Planted) -> None:
    """As it is, in base64, or quoted for URLs. Length and lines stay, and a second pass changes nothing."""
    before = case.fact
    after = redact(case.request, before)
    assert remains(case.secrets, after.data.decode() + "\0" + after.note) == []
    assert len(after.data) == len(before.data)
    assert _lines(after.data) == _lines(before.data)
    assert redact(case.request, after) == after


def test_all_forms_in_one_text_lose_their_secrets() -> None:
    """What stands before and after a form must not hide it: a truncated line, an open quote, another value."""
    for kind in ("toml", "yaml", "log"):
        cases = [case for case in CORPUS if case.kind == kind and case.text.endswith("\n")]
        after = redact_bytes("\n".join(case.text for case in cases).encode()).decode()
        assert remains(tuple(secret for case in cases for secret in case.secrets), after) == []


@pytest.mark.parametrize("kind", ["toml", "yaml", "json", "run"])
def test_a_form_that_is_commented_out_loses_its_secrets(kind: str) -> None:
    for case in CORPUS:
        if case.kind == kind:
            text = "".join(f"  # {line}\n" for line in case.text.split("\n"))
            after = redact_bytes(text.encode()).decode()
            assert remains(case.secrets, after) == [], case.form
            assert all(line.startswith("  # ") for line in after.splitlines())


def test_all_162_lines_that_look_alike_stay_readable() -> None:
    lines = harmless()
    assert len(lines) == 162
    assert [line for line in lines if redact_bytes(line.encode()).decode() != line] == []
    together = "\n".join(line for line in lines if "\0" not in line)
    assert redact_bytes(together.encode()).decode() == together


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_snapshot_stays_as_it_is(name: str) -> None:
    facts, _ = read(str(shipped()[name]))
    changed = [str(request) for request, fact in facts if redact(request, fact) != fact]
    assert changed == []


#: More values that decide how a reader of TOML takes or refuses a line.
VALUES = (
    "0x1F", "007", "0123", "1e5", "2024-12-31", "08:30:00", "inf", "tru", "truex", "falseand", "nanx", "+", "-", "1_0__0", "12a4",
    ".5", "5.", "-0x5", "2024-1-1", "_a", "a.b.c", "\u00fcn\u00ef", '"\u00fcn\u00efcode"', '"abcdef\\u12G4abc"', '"abcdef\\u00e9bc"',
    '"a\x01bcdefghij"', "'a\x01b'", '"abc\\\n  def"', '"""abc\\q"""', '"""abc\ndef', "'''abc", '["a", b]', '[1, "a"]', '{a = "b"',
    '"a"b"c"d', '"abc" def', "'ab\rcd'", '"ab\rcd"', '"x\ty"', "\\", '"\\', "#abc", "= abc",
)  # fmt: skip
BROKEN = sorted({case.text for case in CORPUS if case.kind == "toml"} | {f"password = {value}\n" for value in VALUES})


@pytest.mark.parametrize("version", ["1.6.38", "1.7.27", "2.0.5", "2.1.4", "2.3.0"])
def test_containerd_reads_or_refuses_a_redacted_file_as_before(version: str) -> None:
    """The same error at the same place; where it quotes some of the value, it quotes what has replaced that."""
    refused = 0
    for text in BROKEN:
        for before in ("version = 2\n", 'root = "/r"\n[plugins."io.containerd.grpc.v1.cri".registry]\n  '):
            data = (before + text).encode()
            found = _refusal(data, version)
            assert _refusal(redact_bytes(data), version) == found, text
            refused += found[0] is not None
    assert refused >= 100


def _refusal(data: bytes, version: str) -> tuple[str | None, int | None]:
    """What containerd says of the file, letters and digits made alike, and the line."""
    path = "/etc/containerd/config.toml"
    error = load(MemoryFiles({path: data}), version).error
    if error is None:
        return None, None
    text = re.sub(r"U\+[0-9A-F]{4}", "U+0000", re.sub(r'"\\"[^"]*\\""', "a string", error.text))
    alike = re.sub("[A-Za-z]", "x", re.sub("[0-9]", "1", text))
    place = re.findall(r"\(\d+, \d+\)|row \d+ column \d+|line \d+", error.text)
    return alike + repr(place), error.line


_PIECES = [
    b"password", b"token", b"auth", b"key", b"DB_PASS", b"--token", b"-u", b"arg ", b"user", b"secret", b"x", b"S3cr3tVa1ue0", b"=", b": ",
    b":", b"=>", b" ", b"  ", b"\n", b"\r\n", b"\0", b'"', b"'", b'\\"', b"[", b"]", b"{", b"}", b",", b"- ", b"|\n", b"#", b"@", b"://",
    b"http", b"/", b"Bearer ", b"ghp_0123456789abcdefghijABCDEF", b"eyJhbGciOi.eyJhbGciOi.c2ln", b"\xff", b"\xc3\xa9", b"map[", b"&{",
    b"Name:", b"value", b"[redacted]***", b"-----BEGIN PRIVATE KEY-----", b"%22", b"\\", b"$", b"007", b"abcdef.0123456789abcdef",
    b"secrets: {", b"secrets:\n  a: ", b'passwords = { a = "', b"[secrets]\n", b"map[token:map[", b"value: x\nname: password", b"name: pw,",
    b"value:", b"password|", b"password\n", b"/password:", b"password\\=", b"password \\\n", b"\x01", b"\x1b[1m", b"pass\xe2\x80\x8bword=",
    b"echo ", b"echo x |", b"| -stdin ", b"-stdin <<< ", b"curl ", b"curl -u", b"htpasswd -b ", b"-n ", b"https://u:p@s/s@",
]  # fmt: skip
_TEXTS = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join))


@given(_TEXTS)
def test_any_text_keeps_its_length_lines_and_signs(data: bytes) -> None:
    after = redact_bytes(data)
    assert len(after) == len(data)
    assert _lines(after) == _lines(data)
    kept = [byte for byte in data if byte < 32 or byte > 126]
    assert [byte for byte in after if byte < 32 or byte > 126] == kept


@given(_TEXTS)
def test_a_second_pass_changes_nothing(data: bytes) -> None:
    after = redact_bytes(data)
    assert redact_bytes(after) == after


_HOSTILE = sorted({*_PIECES} | {first + second for first in _PIECES[:9] for second in _PIECES[12:34]})


@pytest.mark.parametrize("first", sorted({piece[:1] for piece in _HOSTILE}))
def test_four_times_the_text_costs_four_times_the_time(first: bytes) -> None:
    """The square of it, as an expression that goes back and forth takes, would cost sixteen times as much."""
    slow = {}
    for piece in (piece for piece in _HOSTILE if piece.startswith(first)):
        small, large = _seconds(piece, 1 << 13), _seconds(piece, 1 << 15)
        if large > 10 * small and large > 0.02:
            slow[piece] = min(large, _seconds(piece, 1 << 15)) / max(small, _seconds(piece, 1 << 13))
    assert {piece: factor for piece, factor in slow.items() if factor > 10} == {}


def _seconds(piece: bytes, size: int) -> float:
    text = (piece * (size // len(piece) + 1))[:size]
    begin = time.process_time()
    redact_bytes(text)
    return time.process_time() - begin
