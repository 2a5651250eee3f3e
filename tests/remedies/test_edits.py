"""Edits: what a command really does to a file, by GNU's and busybox' sed, is what was proven."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.containerd.toml import loads
from pytest_gpuready.remedies import edits
from pytest_gpuready.remedies.edits import (
    Change,
    Overlay,
    Workshop,
    append,
    comment_out,
    insert_after,
    matches,
    on_line,
    set_value,
    table_end,
    toml_key,
    toml_string,
)
from tests.support.shell import SEDS, apply

if TYPE_CHECKING:
    from pathlib import Path

OLD = b'version = 2\n\n[a]\n  key = "old" # why\n  x = 1\r\nlast'
FILE = "/etc/containerd/config.toml"


def changes(old: bytes) -> list[Change]:
    """Every kind of edit, at the beginning, in the middle, and at the end of a file."""
    made = [append(FILE, old, "[b]\n  x = 1\n")]
    count = old.count(b"\n") + 1
    for line in (1, 4, 5, count - 1, count):
        made += [
            change
            for change in (
                comment_out(FILE, old, line, line),
                comment_out(FILE, old, 1, line),
                insert_after(FILE, old, line, "  n = \"a\\\\b|c&d\" # 'q'"),
                set_value(FILE, old, line, '"C:\\\\x&y/z"'),
                on_line(FILE, old, line, "s/$/]/", "{}]".format),
            )
            if change is not None
        ]
    return made


@pytest.mark.parametrize("sed", SEDS)
@pytest.mark.parametrize("old", [OLD, OLD + b"\n", OLD + b"\n\n", b"a = 1", b"\n", b"a = '\xc3\xbc'\nb = 2\n"])
def test_commands_do_to_a_file_what_was_proven(tmp_path: Path, sed: str, old: bytes) -> None:
    made = changes(old)
    assert made
    for change in made:
        assert apply([change.command], {FILE: old}, tmp_path, sed)[FILE] == change.new, change.command


def test_a_new_file_is_made_with_tee(tmp_path: Path) -> None:
    change = append("/etc/it's new/$x.toml", None, "a = 1")
    assert apply([change.command], {}, tmp_path, "sed")[change.path] == change.new == b"a = 1\n"


@given(st.text(max_size=40))
def test_a_toml_string_is_printable_and_reads_back(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    written = toml_string(text)
    assert written.isascii()
    assert written.isprintable()
    assert loads(f"k = {written}\n".encode()).root["k"] == text


def test_a_key_is_quoted_only_where_it_must_be() -> None:
    assert (toml_key("nvidia-cdi"), toml_key("a.b"), toml_key('a"\n')) == ("nvidia-cdi", '"a.b"', '"a\\"\\u000a"')


def test_no_command_is_made_where_sed_and_we_might_differ() -> None:
    assert on_line(FILE, b"a = '\xff'\n", 1, "s/$/]/", "{}]".format) is None
    assert on_line(FILE, b"a\0\n", 1, "s/$/]/", "{}]".format) is None
    assert on_line(FILE, b"a\n", 2, "s/$/]/", "{}]".format) is None
    assert on_line(FILE, b"a\n", 1, "s/b/c/", lambda text: text) is None
    assert set_value(FILE, b"a = 1\n", 1, "'|'") is None
    assert insert_after(FILE, b"a\n", 1, "x\ny") is None
    assert insert_after(FILE, b"a\n", 7, "x") is None
    assert comment_out(FILE, b"a\n", 2, 2) is None


def test_a_table_ends_before_the_next_header() -> None:
    assert [table_end(b"[a]\nx = 1\n[b]\ny = 1\n", line) for line in (1, 2, 3)] == [2, 2, 4]
    assert table_end(b"[a]\nx = 1", 1) == 2


def workshop(text: bytes, **files: bytes) -> Workshop:
    held = MemoryFiles({FILE: text, **files})
    return Workshop(held, "2.1.9", FILE, explicit=False, before=load(held, "2.1.9", FILE), allowed=lambda _: False)


def test_an_edit_that_changes_anything_else_is_not_proven() -> None:
    shop = workshop(b"version = 3\noom_score = 1\n")
    changed = set_value(FILE, b"version = 3\noom_score = 1\n", 2, "2")
    assert changed is not None
    assert not shop.prove([changed], lambda _: True)
    assert shop.first([[], [changed]], lambda _: True) is None
    comment = append(FILE, b"version = 3\noom_score = 1\n", "# nothing")
    assert shop.first([[changed], [comment]], lambda _: True) == [comment]
    assert not shop.prove([comment], lambda _: False)
    assert not shop.prove([append(FILE, b"", "no toml")], lambda _: True)


def test_a_file_that_was_not_gathered_proves_nothing() -> None:
    held = MemoryFiles({FILE: b"version = 3\n"}, complete=False)
    shop = Workshop(held, "2.1.9", FILE, explicit=False, before=None, allowed=lambda _: False)
    importing = Change(FILE, b'version = 3\nimports = ["/x.toml"]\n', "")
    assert shop.after([importing]) is None
    assert not shop.prove([importing], lambda _: True)
    assert shop.text("/x.toml") is None
    assert not shop.absent("/x.toml")
    assert not shop.absent(FILE)
    assert workshop(b"").absent("/x.toml")


def test_an_overlay_shows_new_files_to_patterns() -> None:
    overlay = Overlay(MemoryFiles({"/d/a.toml": b"1"}), {"/d/b.toml": b"2"})
    assert overlay.glob("/d/*.toml") == ["/d/a.toml", "/d/b.toml"]
    assert (overlay.read("/d/a.toml"), overlay.read("/d/b.toml")) == (b"1", b"2")
    assert not matches("/d/[", "/d/b.toml")


def test_the_diff_shows_what_changes() -> None:
    old = b"version = 3\nlast = 1"
    change = insert_after(FILE, old, 2, "new = 1")
    assert change is not None
    assert "+new = 1\n" in workshop(old).edit(change).diff


def test_busybox_is_there_for_these_tests() -> None:
    assert shutil.which("busybox") is None or "busybox sed" in SEDS
    assert subprocess.run(["sh", "-c", "true"], check=False).returncode == 0
    assert edits.append(FILE, None, "x").command.startswith("tee ")
