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
    aside,
    comment_out,
    insert_after,
    matches,
    on_line,
    only,
    set_value,
    table_end,
    toml_key,
    toml_string,
    toml_value,
)
from tests.support.shell import SEDS, apply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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


@pytest.mark.parametrize(
    ("make", "command", "new"),
    [
        (
            lambda: append(FILE, b"a = 1\n", "x = 1\n"),
            f"tee -a {FILE} >/dev/null <<'EOF'\n\nx = 1\nEOF",
            "a = 1\n\nx = 1\n",
        ),
        (
            lambda: append(FILE, b"a = 1", "x = 1\n"),
            f"tee -a {FILE} >/dev/null <<'EOF'\n\n\nx = 1\nEOF",
            "a = 1\n\nx = 1\n",
        ),
        (
            lambda: append(FILE, b"a = 1\n\n", "x = 1"),
            f"tee -a {FILE} >/dev/null <<'EOF'\nx = 1\nEOF",
            "a = 1\n\nx = 1\n",
        ),
        (lambda: append(FILE, b"", "x = 1"), f"tee -a {FILE} >/dev/null <<'EOF'\nx = 1\nEOF", "x = 1\n"),
        (lambda: append(FILE, None, "x = 1"), f"tee {FILE} >/dev/null <<'EOF'\nx = 1\nEOF", "x = 1\n"),
        (lambda: comment_out(FILE, b"a\nb\nc\n", 2, 2), f"sed -i '2s/^/# /' {FILE}", "a\n# b\nc\n"),
        (lambda: comment_out(FILE, b"a\nb\nc\n", 1, 2), f"sed -i '1,2s/^/# /' {FILE}", "# a\n# b\nc\n"),
        (lambda: set_value(FILE, b"a = 1 # x\n", 1, "2"), f"sed -i '1s|=.*|= 2|' {FILE}", "a = 2\n"),
        (lambda: insert_after(FILE, b"a\nb\n", 1, "  c"), f"sed -i '1a\\  c' {FILE}", "a\n  c\nb\n"),
        (lambda: on_line(FILE, b"a\n", 1, "s/$/]/", "{}]".format), f"sed -i '1s/$/]/' {FILE}", "a]\n"),
        (
            lambda: on_line(FILE, b"a\n", 1, "s/$/]/", "{}]".format, extended=True),
            f"sed -i -E '1s/$/]/' {FILE}",
            "a]\n",
        ),
    ],
)
def test_a_change_is_one_command_and_what_it_makes(make: Callable[[], Change | None], command: str, new: str) -> None:
    made = make()
    assert made is not None
    assert (made.path, made.command, made.new) == (FILE, command, new.encode())
    assert only(made) == [made]
    assert only(None) == []


@given(st.text(max_size=40))
def test_a_toml_string_is_printable_and_reads_back(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    written = toml_string(text)
    assert written.isascii()
    assert written.isprintable()
    assert loads(f"k = {written}\n".encode()).root["k"] == text


def test_values_are_written_as_toml() -> None:
    assert [toml_value(value) for value in (True, False, "x", "\u00fc\U0001f600")] == [
        *("true", "false", '"x"', '"\\u00fc\\U0001f600"'),
    ]


def test_a_key_is_quoted_only_where_it_must_be() -> None:
    assert (toml_key("nvidia-cdi"), toml_key("a.b"), toml_key('a"\n')) == ("nvidia-cdi", '"a.b"', '"a\\"\\u000a"')


def test_no_command_is_made_where_sed_and_we_might_differ() -> None:
    assert on_line(FILE, b"a = '\xff'\n", 1, "s/$/]/", "{}]".format) is None
    assert on_line(FILE, b"a\0\n", 1, "s/$/]/", "{}]".format) is None
    assert on_line(FILE, b"a\n", 2, "s/$/]/", "{}]".format) is None
    assert on_line(FILE, b"a\n", 1, "s/b/c/", lambda text: text) is None
    assert set_value(FILE, b"a = 1\n", 1, "'|'") is None
    assert set_value(FILE, b"a = 1\n", 1, "'\n'") is None
    assert insert_after(FILE, b"a\n", 1, "x\ny") is None
    assert insert_after(FILE, b"a\n", 7, "x") is None
    assert comment_out(FILE, b"a\n", 2, 2) is None


def test_a_table_ends_before_the_next_header() -> None:
    assert [table_end(b"[a]\nx = 1\n[b]\ny = 1\n", line) for line in (1, 2, 3)] == [2, 2, 4]
    assert table_end(b"[a]\nx = 1", 1) == 2


def workshop(
    text: bytes,
    version: str | None = "2.1.9",
    allowed: Callable[[str], bool] = lambda _: False,
    more: Mapping[str, bytes] | None = None,
) -> Workshop:
    held = MemoryFiles({FILE: text, **(more or {})})
    return Workshop(held, version, FILE, explicit=False, before=load(held, version, FILE), allowed=allowed)


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


def test_keys_that_go_or_come_are_changes_too_unless_they_are_allowed() -> None:
    old, new = b"version = 3\n", b"version = 3\n[grpc]\n  gid = 7\n"
    for before, after in ((old, new), (new, old)):
        change = Change(FILE, after, "")
        assert not workshop(before).prove([change], lambda _: True)
        assert workshop(before, allowed=lambda key: key == "grpc.gid").prove([change], lambda _: True)
        assert not workshop(before, allowed=lambda key: key == "grpc").prove([change], lambda _: True)


@pytest.mark.parametrize(
    ("line", "proven"),
    [
        ('sandbox_mode = "podsandbox"', True),  # what it is without the line
        ('sandbox_mode = "shim"', False),
        ('snapshotter = "podsandbox"', False),
        ("privileged_without_host_devices = false", True),  # Go does not tell it from none
        ("privileged_without_host_devices = true", False),
    ],
)
def test_what_counts_as_nothing_is_no_change(line: str, proven: bool) -> None:  # noqa: FBT001
    runc = b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\n  runtime_type = "x"\n'
    change = Change(FILE, runc + f"  {line}\n".encode(), "")
    assert workshop(runc, "1.7.24").prove([change], lambda _: True) is proven


def test_what_does_not_load_proves_nothing_and_has_nothing_to_lose() -> None:
    broken, good = b"version = 3\nno toml\n", b"version = 3\noom_score = 1\n"
    shop = workshop(broken)
    assert shop.prove([Change(FILE, good, "")], lambda _: True)
    assert not shop.prove([Change(FILE, b"no toml either\n", "")], lambda _: True)
    unread = Workshop(shop.files, None, FILE, explicit=False, before=None, allowed=lambda _: False)
    assert unread.prove([Change(FILE, good, "")], lambda _: True)


SHORT, LONG = b"[plugins.cri]\n", b'[plugins."io.containerd.grpc.v1.cri"]\n'


@pytest.mark.parametrize(
    ("version", "old", "new", "proven"),
    [
        ("2.1.9", LONG, LONG + SHORT, False),
        (None, LONG, LONG + SHORT, False),
        ("1.7.24", LONG, LONG + SHORT, True),  # reads the short one
        ("2.1.9", LONG + SHORT, LONG + SHORT + b"# more\n", True),  # it was so before
        ("2.1.9", LONG, LONG + b"# more\n", True),
        ("2.1.9", b"", SHORT, True),
        ("2.1.9", b"", LONG, True),
        ("2.1.9", b"version = 2\n" + LONG, b"version = 2\n" + LONG + SHORT, True),  # no name of version 2
    ],
)
def test_no_edit_gives_cri_a_second_name_where_chance_would_choose(
    version: str | None,
    old: bytes,
    new: bytes,
    proven: bool,  # noqa: FBT001
) -> None:
    assert workshop(old, version, lambda _: True).prove([Change(FILE, new, "")], lambda _: True) is proven


DROP_IN = "/etc/containerd/conf.d/x.toml"


def test_a_file_put_aside_keeps_its_content(tmp_path: Path) -> None:
    change = aside("/etc/it's/x.toml")
    assert apply([change.command], {change.path: b"a"}, tmp_path, "sed") == {f"{change.path}.disabled": b"a"}


def test_a_file_put_aside_is_read_where_an_import_matches_its_new_name() -> None:
    text = b'version = 3\nimports = ["/etc/containerd/conf.d/%s"]\n'
    files = {DROP_IN: b"version = 3\noom_score = 7\n"}
    for pattern, left in ((b"*.toml", ()), (b"*", (f"{DROP_IN}.disabled",))):
        shop = workshop(text % pattern, allowed=lambda _: True, more=files)
        after = shop.after([aside(DROP_IN)])
        assert after is not None
        assert after.imports == (FILE, *left)
        assert shop.prove([aside(DROP_IN)], lambda _: True)
        changed = shop.after([append(DROP_IN, files[DROP_IN], "# more")])
        assert changed is not None
        assert changed.imports == (FILE, DROP_IN)
    assert shop.edit(aside(DROP_IN)).diff == f"--- a{DROP_IN}\n+++ b{DROP_IN}.disabled\n"


def test_what_was_tried_for_one_goal_is_not_loaded_again_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, change = workshop(b"version = 3\n"), Change(FILE, b"version = 3\n# new\n", "")
    assert shop.prove([change], lambda _: True)
    monkeypatch.delattr(edits, "load")
    assert not shop.prove([change], lambda _: False)


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
    gone = Overlay(MemoryFiles({"/d/a.toml": b"1"}), {"/d/a.toml": None, "/d/b.toml": b"2", "/e/c.toml": b"3"})
    assert [gone.glob(pattern) for pattern in ("/d/*.toml", "/d/b.toml", "/d/c.toml")] == [
        *(["/d/b.toml"], ["/d/b.toml"], []),
    ]
    with pytest.raises(FileNotFoundError):
        gone.read("/d/a.toml")


def test_the_diff_shows_what_changes() -> None:
    old = b"version = 3\nlast = 1"
    change = insert_after(FILE, old, 2, "new = 1")
    assert change is not None
    head = f"--- a{FILE}\n+++ b{FILE}\n"
    assert workshop(old).edit(change).diff == f"{head}@@ -1,2 +1,3 @@\n version = 3\n-last = 1\n+last = 1\n+new = 1\n"
    assert workshop(b"").edit(append("/new", None, "x = 1")).diff == "--- a/new\n+++ b/new\n@@ -0,0 +1 @@\n+x = 1\n"


def test_busybox_is_there_for_these_tests() -> None:
    assert shutil.which("busybox") is None or "busybox sed" in SEDS
    assert subprocess.run(["sh", "-c", "true"], check=False).returncode == 0
    assert edits.append(FILE, None, "x").command.startswith("tee ")
