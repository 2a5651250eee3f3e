"""A node's facts in a file: what is written is read again, and what is no snapshot is one sentence."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat as modes
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.node import snapshot
from pytest_gpuready.node.facts import (
    KINDS,
    REACH,
    STATES,
    SUDO,
    VOCABULARY,
    Fact,
    Facts,
    Request,
    file,
    files,
    glob,
    run,
    script,
    stat,
)
from pytest_gpuready.node.snapshot import VERSION, SnapshotError, dumps, file_name, loads, read
from pytest_gpuready.outputs import write

if TYPE_CHECKING:
    from pathlib import Path

EVERY_KIND: list[tuple[Request, Fact]] = [
    (REACH, Fact("ok")),
    (SUDO, Fact("denied", note="sudo: a password is required")),
    (file("/etc/text"), Fact("ok", "one\ntwo ☃\n".encode())),
    (file("/etc/empty"), Fact("ok")),
    (file("/etc/newline"), Fact("ok", b"\n")),
    (file("/etc/binary"), Fact("ok", bytes(range(256)))),
    (file("/etc/crlf"), Fact("ok", b"a\r\nb")),
    (file("/etc/bidi"), Fact("ok", "a\u202eb".encode())),
    (file("/etc/cut"), Fact("cut", b"part", note="longer than 4 bytes")),
    (file("/etc/none"), Fact("absent")),
    (file("/etc/bytes-\udcff"), Fact("odd", note="is a directory")),
    (file("/home/u/config.toml"), Fact("refused", note="/home/u belongs to uid 1000")),
    (stat("/dev/null"), Fact("ok", b"21b6 0 0 0 1 2 1 3")),
    (glob("/etc/*"), Fact("ok", b"/etc/a\0/etc/b\0")),
    (files("/etc/*"), Fact("denied", b"/etc/a\xff\0")),
    (run("cmd", "a b", "", "ü"), Fact("ok", b"out", 3, "some\nerror")),
    (run("late"), Fact("timeout", b"", 124, "no answer within 5 s")),
    (script("list", "echo body", "x"), Fact("ok", b"out", 0)),
]


def refused(text: str) -> str:
    """The sentence with which a snapshot is refused."""
    with pytest.raises(SnapshotError) as caught:
        loads(text, "x.json")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("x.json ")
    return str(caught.value)


def test_every_kind_and_state_survives(tmp_path: Path) -> None:
    assert {request.kind for request, _ in EVERY_KIND} == KINDS
    assert {fact.state for _, fact in EVERY_KIND} == STATES
    write(tmp_path / "n.json", dumps(Facts("ssh://n1", EVERY_KIND), {"generator": "g", "taken": "t"}))
    facts, meta = read(str(tmp_path / "n.json"))
    assert list(facts) == EVERY_KIND
    assert facts.node == "ssh://n1"
    assert meta == {
        "gpuready_snapshot": VERSION,
        "generator": "g",
        "taken": "t",
        "vocabulary": VOCABULARY,
        "node": "ssh://n1",
    }


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=60))))
def test_any_name_and_bytes_survive(pairs: list[tuple[str, bytes]]) -> None:
    """Half characters that no UTF-8 holds come through too, and no text breaks the file."""
    made = {file(name): Fact("ok", data) for name, data in pairs}
    facts, _ = loads(dumps(Facts("n", made.items()), {}), "x")
    assert {request.arg: len(fact.data) for request, fact in facts} == {r.arg: len(f.data) for r, f in made.items()}


def test_it_reads_well() -> None:
    """Text is a list of lines, so that a diff of two snapshots shows the line that changed."""
    text = dumps(Facts("n", [(file("/a"), Fact("ok", b"one\ntwo\n"))]), {})
    assert '"one",\n' in text
    assert json.loads(text)["facts"][0]["text"] == ["one", "two", ""]


def test_a_snapshot_of_yesterday_answers_todays_script() -> None:
    """A script is known by its name and arguments: its text, deadline and limit may change."""
    yesterday = script("processes", "ps", "a", timeout=5, limit=10)
    facts, _ = loads(dumps(Facts("n", [(yesterday, Fact("ok", b"out", 0))]), {}), "x")
    assert facts.text(script("processes", "cat /proc/*/comm", "a", timeout=9, limit=99)) == "out"
    assert script("processes", "ps", "b") not in facts


def test_secrets_are_gone_on_writing_and_on_reading() -> None:
    secret = "canary-0123456789"
    made = Facts("n", [(file("/a"), Fact("ok", f'password = "{secret}"\n'.encode(), note=f"token={secret}"))])
    assert secret not in dumps(made, {})
    by_hand = {"kind": "file", "arg": ["/a"], "state": "ok", "text": [f"password: {secret}"]}
    facts, _ = loads(json.dumps({"gpuready_snapshot": 1, "facts": [by_hand]}), "x")
    assert secret not in (facts.text(file("/a")) or "")


class TestDamaged:
    def test_what_is_no_snapshot(self) -> None:
        assert "is no snapshot" in refused("")
        assert "is no snapshot" in refused("{")
        assert "is no snapshot of pytest-gpuready" in refused("[]")
        assert "is no snapshot of pytest-gpuready" in refused('{"a": 1}')
        assert "is no snapshot" in refused("[" * 100_000)
        assert "is no snapshot" in refused('{"gpuready_snapshot": ' + "9" * 5000 + "}")

    def test_a_newer_one_names_both_versions(self) -> None:
        assert refused('{"gpuready_snapshot": 2, "facts": []}').endswith("(snapshot version 2, this one reads 1)")

    @pytest.mark.parametrize("version", ["0", "-1", '"1"', "null", "1.5"])
    def test_a_version_that_is_none(self, version: str) -> None:
        assert "its version is" in refused(f'{{"gpuready_snapshot": {version}, "facts": []}}')

    @pytest.mark.parametrize("given", ["null", "{}", '"x"', "3"])
    def test_facts_that_are_no_list(self, given: str) -> None:
        assert "holds no list of facts" in refused(f'{{"gpuready_snapshot": 1, "facts": {given}}}')

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "dance"}, {"kind": []}, {"state": "fine"}, {"state": None}, {"arg": "/a"}, {"arg": [1]}, {"arg": None},
            {"text": "one"}, {"text": [1]}, {"text": ["\ud800"]}, {"base64": "%%%"}, {"base64": 3}, {"rc": "0"}, {"note": 3},
        ],
        ids=str,
    )  # fmt: skip
    def test_a_fact_that_cannot_be_read_is_named_by_its_number(self, change: dict[str, object]) -> None:
        good = {"kind": "file", "arg": ["/a"], "state": "ok"}
        text = json.dumps({"gpuready_snapshot": 1, "facts": [good, {**good, **change}]})
        assert refused(text).startswith("x.json is damaged: fact 2 cannot be read: it")

    @pytest.mark.parametrize("entry", ["3", "null", "[]", "{}", '"x"'])
    def test_a_fact_of_another_shape(self, entry: str) -> None:
        assert "fact 1 cannot be read" in refused(f'{{"gpuready_snapshot": 1, "facts": [{entry}]}}')

    def test_every_place_at_which_it_can_be_cut(self) -> None:
        text = dumps(Facts("n", EVERY_KIND[:6]), {})
        for length in range(len(text.rstrip())):
            assert "is no snapshot" in refused(text[:length])

    @given(
        st.dictionaries(
            st.sampled_from(["kind", "arg", "state", "text", "base64", "rc", "note"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=2),
                max_leaves=4,
            ),
        )
    )
    def test_no_shape_makes_it_fail_otherwise(self, entry: dict[str, object]) -> None:
        with contextlib.suppress(SnapshotError):
            loads(json.dumps({"gpuready_snapshot": 1, "facts": [entry]}), "x")


class TestFilesOfIt:
    def test_what_cannot_be_read_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "latin").write_bytes(b'{"a": "\xe9"}')
        os.mkfifo(tmp_path / "fifo")
        cases = {
            str(tmp_path / "none"): "cannot be read: No such file or directory",
            str(tmp_path): "cannot be read: Is a directory",
            "/tmp/\0": "no file has such a name",
            "/tmp/half-\ud800": "no file has such a name",
            str(tmp_path / "latin"): "is not UTF-8 text",
            str(tmp_path / "fifo"): "cannot be read: it is a FIFO",
        }
        for path, words in cases.items():
            with pytest.raises(SnapshotError, match=words):
                read(path)

    def test_what_is_too_large_is_not_read_to_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(snapshot, "SIZE_LIMIT", 1 << 20)
        with pytest.raises(SnapshotError, match="larger than 1 MiB"):
            read("/dev/zero")

    def test_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            write(tmp_path / "deep" / "n.json", "x")
        finally:
            os.umask(old)
        assert modes.S_IMODE((tmp_path / "deep" / "n.json").stat().st_mode) == 0o600

    def test_a_link_at_its_place_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("keep")
        (tmp_path / "n.json").symlink_to("precious")
        write(tmp_path / "n.json", "new")
        assert (tmp_path / "precious").read_text() == "keep"
        assert (tmp_path / "n.json").read_text() == "new"
        assert not (tmp_path / "n.json").is_symlink()

    def test_a_write_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "n.json").mkdir()
        with pytest.raises(OSError, match="directory"):
            write(tmp_path / "n.json", "x")
        assert [path.name for path in tmp_path.iterdir()] == ["n.json"]

    @pytest.mark.parametrize(
        ("label", "name"),
        [("local", "local"), ("ssh://root@n1", "ssh-root@n1"), ("ssh://gpu-001.example", "ssh-gpu-001.example")],
    )
    def test_its_name_is_the_nodes(self, label: str, name: str) -> None:
        assert file_name(label) == name

    def test_hostile_labels_are_no_paths_and_share_no_file(self) -> None:
        labels = ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a/b", "a b", "a\0b", "a\nb", "-rf", "x" * 300, "x" * 301, "\ud800",
                  "ssh://n1:22", "ssh://n1-22", "ssh://[::1]", "ssh://d\\u@n1", "ssh://d-u@n1"]  # fmt: skip
        names = [file_name(label) for label in labels]
        assert len(set(names)) == len(labels)
        for name in names:
            assert name == os.path.basename(name)  # noqa: PTH119 - the string's last part is what is meant
            assert name not in ("", ".", "..")
            assert not name.startswith(("-", "."))
            assert len(name.encode()) < 200

    @given(st.binary(max_size=40))
    def test_base64_is_used_for_what_is_not_readable(self, data: bytes) -> None:
        entry = json.loads(dumps(Facts("n", [(file("/a"), Fact("ok", data + b"\x00"))]), {}))["facts"][0]
        assert len(base64.b64decode(entry["base64"])) == len(data) + 1
