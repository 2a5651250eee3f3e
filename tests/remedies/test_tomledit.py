"""tomlkit's edits: comments are kept, and the command makes the very bytes that tomlkit made."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit

from pytest_gpuready.remedies import tomledit
from pytest_gpuready.remedies.tomledit import by_tomlkit, keep, put, sed, settings, targeted
from tests.support.shell import SEDS, apply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "/etc/containerd/config.toml"
CRI = "io.containerd.grpc.v1.cri"
RUNTIMES = ["plugins", CRI, "containerd", "runtimes"]
TEXT = f"""\
version = 2 # the format
disabled_plugins = ["cri", "a.b"] # off
imports = [
  "/x.toml", # one
  "/y/*.toml",
]

[plugins."{CRI}"]
  sandbox_image = "pause:3.8" # ours

  [plugins."{CRI}".containerd.runtimes.runc]
    runtime_type="io.containerd.runc.v2"   # as it was
    # nothing more

  [plugins."{CRI}".containerd.runtimes.nvidia]
    options = {{ BinaryName = "/x", SystemdCgroup = true }} # in line
"""

EDITS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a number": (lambda d: put(d, ["version"], 3), "1s|2|3|"),
    "a text, blanks and comment kept": (
        lambda d: put(d, [*RUNTIMES, "runc", "runtime_type"], "a&b\\c"),
        '12s|"io\\.containerd\\.runc\\.v2"|"a\\&b\\\\\\\\c"|',
    ),
    "in an inline table": (lambda d: put(d, [*RUNTIMES, "nvidia", "options", "BinaryName"], "/y"), '16s|"/x"|"/y"|'),
    "a boolean": (lambda d: put(d, [*RUNTIMES, "nvidia", "options", "SystemdCgroup"], value=False), "16s|true|false|"),
    "a new key": (lambda d: put(d, [*RUNTIMES, "runc", "runtime_path"], "/z"), '13a\\  runtime_path = "/z"'),
    "the first of an array": (lambda d: d["disabled_plugins"].remove("cri"), '2s|"cri", "a\\.b"|"a.b"|'),
    "a line of an array": (lambda d: d["imports"].remove("/x.toml"), "4d"),
    "one more in an array": (lambda d: d["imports"].append("/z/*.toml"), '5a\\  "/z/*.toml",'),
}


@pytest.mark.parametrize("tool", SEDS)
@pytest.mark.parametrize("ends", ["\n", ""])
@pytest.mark.parametrize("edit", EDITS)
def test_the_command_makes_what_tomlkit_made(edit: str, ends: str, tool: str, tmp_path: Path) -> None:
    old = TEXT.rstrip("\n") + ends
    change, script = EDITS[edit]
    made = by_tomlkit(FILE, old.encode(), change)
    assert made is not None
    assert made.command == f"sed -i {shlex.quote(script)} {FILE}"
    assert made.new is not None
    assert apply([f"sudo {made.command}"], {FILE: old.encode()}, tmp_path, tool)[FILE] == made.new
    for comment in ("# the format", "# off", "# ours", "# as it was", "# nothing more", "# in line"):
        assert comment in made.new.decode()
    document = tomlkit.parse(old)
    change(document)
    assert tomlkit.parse(made.new.decode()).unwrap() == document.unwrap()


@pytest.mark.parametrize("tool", SEDS)
def test_a_table_of_options_is_made_where_there_is_none(tool: str, tmp_path: Path) -> None:
    (change, *_) = settings(FILE, TEXT.encode(), [*RUNTIMES, "runc", "options"], "SystemdCgroup", value=True)
    assert change.new is not None
    runtimes = tomlkit.parse(change.new.decode()).unwrap()["plugins"][CRI]["containerd"]["runtimes"]
    assert runtimes["runc"]["options"] == {"SystemdCgroup": True}
    assert apply([change.command], {FILE: TEXT.encode()}, tmp_path, tool)[FILE] == change.new
    # Only lines were added: tomlkit's new indents of others are not taken.
    assert [line for line in change.new.decode().split("\n") if line in TEXT.split("\n")] == TEXT.split("\n")


def test_a_key_is_set_as_it_is_spelt_and_then_as_it_should_be() -> None:
    text = TEXT.replace("BinaryName", "binaryname")
    made = [
        change.new for change in settings(FILE, text.encode(), [*RUNTIMES, "nvidia", "options"], "BinaryName", "/y")
    ]
    assert [b'BinaryName = "/y"' in (new or b"") for new in made] == [True, False]
    assert b'binaryname = "/y"' in (made[1] or b"")


def test_options_are_made_also_where_the_file_names_none() -> None:
    text = TEXT.replace('options = { BinaryName = "/x", SystemdCgroup = true }', 'runtime_type = "x"')
    (change,) = settings(FILE, text.encode(), [*RUNTIMES, "runc", "options"], "BinaryName", "/y")
    runtimes = tomlkit.parse((change.new or b"").decode()).unwrap()["plugins"][CRI]["containerd"]["runtimes"]
    assert runtimes["runc"]["options"] == {"BinaryName": "/y"}
    with pytest.raises(LookupError):
        put(tomlkit.parse(text), [*RUNTIMES, "kata", "runtime_type"], "x")


def test_a_file_that_does_not_name_the_table_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a dozen proposals most are of tables that are not there, and tomlkit takes its time."""
    monkeypatch.setattr(tomlkit, "parse", lambda _: pytest.fail("parsed"))
    assert list(settings(FILE, TEXT.encode(), [*RUNTIMES, "kata"], "runtime_type", "x")) == []
    monkeypatch.undo()
    assert list(settings(FILE, TEXT.encode(), [*RUNTIMES, "runc"], "runtime_type", "\u00fc")) == []


REFUSED: dict[str, tuple[str, Callable[[Any], None]]] = {
    "nothing changes": (TEXT, lambda d: put(d, ["version"], 2)),
    "no such table": (TEXT, lambda d: put(d, [*RUNTIMES, "kata", "runtime_type"], "x")),
    "no table": (TEXT, lambda d: put(d, ["version", "x"], "x")),
    "no array": (TEXT, lambda d: d["version"].remove("x")),
    "no TOML": ("version = ", lambda d: put(d, ["version"], 2)),
    "a byte order mark": ("\ufeffversion = 3\n", lambda d: put(d, ["version"], 2)),
    "what stands between sed's parts": (TEXT, lambda d: put(d, [*RUNTIMES, "runc", "runtime_type"], "a|b")),
    "what is not ASCII": (TEXT, lambda d: put(d, [*RUNTIMES, "runc", "runtime_type"], "\u00fc")),
    # tomlkit would move them together: lines are counted otherwise then.
    "arrays of tables with another between": (
        "[[a]]\n  x = 1\n[b]\n  x = 1\n[[a]]\n  x = 1\n", lambda d: d["a"][1].update({"x": 2}),
    ),
    "several lines in the place of one": ("a = 1\nb = 2\n", lambda d: d.update({"a": 5, "b": [1, 2], "c": {"x": 1}})),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_targeted_command_can_do_is_not_proposed(case: str) -> None:
    text, edit = REFUSED[case]
    assert by_tomlkit(FILE, text.encode(), edit) is None


def test_what_is_no_text_or_has_no_such_array_is_not_edited() -> None:
    assert by_tomlkit(FILE, b"a = '\xff'\n", lambda d: put(d, ["a"], "x")) is None
    assert keep(FILE, b"version = 2\n", "imports", lambda entry: entry) is None


def test_entries_are_changed_or_taken_out() -> None:
    made = keep(FILE, TEXT.encode(), "imports", lambda entry: entry.replace("y", "z"))
    assert made is not None
    assert tomlkit.parse((made.new or b"").decode()).unwrap()["imports"] == ["/x.toml", "/z/*.toml"]
    # What stays, stays as it is written.
    text = b"imports = ['/x.toml', '/y.toml'] # two\n"
    made = keep(FILE, text, "imports", lambda entry: entry.replace("y", "z"))
    assert made is not None
    assert made.new == b"imports = ['/x.toml', \"/z.toml\"] # two\n"
    made = keep(FILE, TEXT.encode(), "disabled_plugins", lambda entry: None if entry == "cri" else entry)
    assert made is not None
    assert tomlkit.parse((made.new or b"").decode()).unwrap()["disabled_plugins"] == ["a.b"]


@pytest.mark.parametrize(
    ("old", "new", "script"),
    [
        ("a = 1\n", "a = 12\n", "1s|1|12|"),
        ("a = 12\n", "a = 1\n", "1s|12|1|"),
        ("ab = 1\n", "xb = 1\n", "1s|ab|xb|"),
        ("a = 'b.c' # b.c\n", "a = 'b.d' # b.c\n", "1s|'b\\.c'|'b.d'|"),
        ("a = []\n", "a = [1]\n", "1s|\\[|[1|"),
        ("]]\n", "]\n", "1s|\\]\\]|]|"),
        ("a = 1, 1\n", "a = 1, 2\n", "1s|, 1|, 2|"),
        ("a\nb\nc\nd\n", "a\nd\n", "2,3d"),
        ("a\nb\nc\n", "a\nc\n", "2d"),
        ("a\nb\n", "a\nx\n  y\nb\n", "1a\\x 1a\\  y"),
    ],
)
@pytest.mark.parametrize("tool", SEDS)
def test_a_command_names_lines_and_whole_words(old: str, new: str, script: str, tool: str, tmp_path: Path) -> None:
    made = targeted(old, new)
    assert made is not None
    assert " ".join(made) == script
    command = f"sed -i {' '.join(f'-e {shlex.quote(one)}' for one in made)} {FILE}"
    assert apply([command], {FILE: old.encode()}, tmp_path, tool)[FILE].decode() == sed(old, made) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a = 1\n  b = 2\n", "a = 1\nb = 2\n"),  # lines are compared without their indents
        ("a = 1\n", "a = 1\n\n"),
        ("a = 1\nb = 1\n", "a = 1\n\nb = 1\n"),  # sed's `a` adds no empty line
        ("b = 1\n", "a = 1\nb = 1\n"),  # nor one before the first
        ("a = 1\nb = 1\n", "c = 2\nd = 3\ne = 4\n"),
        ("a = 1\nb = 1\n", "c = 2\n"),
        ("a = 1\nb = 1\n", "a = 1"),
        ("a = 1\n", "a = 1\nb = '\u00fc'\n"),
        ("a = 1\n", "a = 1\nb = '\t'\n"),
        ("]\n", "x]\n"),  # no text to put another in the place of
        (f"a = '{'x' * 199}'\n", f"a = '{'y' * 199}'\n"),  # a command that nobody would read
    ],
)
def test_what_sed_cannot_say_in_words_and_lines_has_no_command(old: str, new: str) -> None:
    assert targeted(old, new) is None


def test_what_sed_does_is_known_also_at_a_last_line_without_an_end() -> None:
    assert sed("a\nb", ["2a\\  c\\\\"]) == "a\nb\n  c\\\n"
    assert sed("a\nb\nc\n", ["1,2d"]) == "c\n"
    assert sed("a\nb\nc\n", ["2,9d"]) == "a\n"
    assert sed("a\n", ["7a\\x"]) == "a\n"
    assert sed("a\n", ["0a\\x"]) == "a\n"


@pytest.mark.parametrize(("more", "kept"), [("", 1), (f"# {'x' * 65_536}\n", 0)], ids=["usual", "long"])
def test_what_was_made_of_a_file_is_made_once_for_a_fleet_unless_the_file_is_long(more: str, kept: int) -> None:
    tomledit._spelt.cache_clear()
    tomledit._set.cache_clear()
    for _ in range(2):
        text = f"{TEXT}{more}".encode()
        [change] = settings(FILE, text, [*RUNTIMES, "runc"], "runtime_type", "/z")
        assert change.new != text
    for cache in (tomledit._spelt, tomledit._set):
        assert (cache.cache_info().currsize, cache.cache_info().hits) == (kept, kept)
