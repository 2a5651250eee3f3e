"""What is proposed for a file that containerd refuses, in this order; the loader then proves the first that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.model import Ineffective, Loaded, Where
from pytest_gpuready.remedies.edits import Workshop
from pytest_gpuready.remedies.repairs import alive, other_versions, repairs
from tests.support.shell import apply

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_gpuready.containerd.model import IneffectiveKind
    from pytest_gpuready.remedies.repairs import Proposal

FILE, OTHER = "/etc/containerd/config.toml", "/etc/containerd/conf.d/x.toml"
V2, V3 = '[plugins."io.containerd.grpc.v1.cri"]\n', '[plugins."io.containerd.cri.v1.runtime"]\n'


def shop(**files: str) -> Workshop:
    held = MemoryFiles({path: text.encode() for path, text in files.items()})
    return Workshop(held, "2.1.9", FILE, explicit=False, before=None, allowed=lambda _: False)


def made(proposals: Iterable[Proposal], place: Path, **files: str) -> list[tuple[str, str]]:
    """Each sentence without the file's name, and what sh makes of the file; proposals of no change are left out."""
    found = []
    for words, changes in proposals:
        for change in changes:
            done = apply([change.command], {path: text.encode() for path, text in files.items()}, place, "sed")
            assert done[change.path] == change.new, change.command
            found.append((words.replace(f" {change.path}", " F"), done[change.path].decode()))
    return found


def proposed(text: str, line: int, place: Path, said: str = "", *, several: bool = False) -> list[tuple[str, str]]:
    return made(repairs(shop(**{FILE: text}), FILE, line, said, several=several), place, **{FILE: text})


def test_what_a_line_leaves_open_is_closed_before_its_comment_or_at_its_end(tmp_path: Path) -> None:
    found = proposed("[a]\nb = ['x # y\n", 2, tmp_path)
    assert [text.split("\n")[1] for words, text in found if words == "Close what line 2 of F leaves open"] == [
        *("b = ['x] # y", "b = ['x # y]", "b = ['x\" # y", "b = ['x # y\"", "b = ['x' # y", "b = ['x # y'"),
        *("b = ['x\"] # y", "b = ['x # y\"]", "b = ['x'] # y", "b = ['x # y']", "b = ['x]] # y", "b = ['x # y]]"),
    ]
    assert [text for _, text in proposed('a = ["x] \n', 1, tmp_path)][:4] == [
        *('a = ["x"]\n', "a = [\"x']\n", 'a = ["x] ]\n', 'a = ["x] "\n'),
    ]
    assert proposed('a = ["x]\n', 1, tmp_path)[0][0] == "Close the string in line 1 of F"


def test_then_the_line_is_commented_out_or_its_table_or_a_neighbour_with_it(tmp_path: Path) -> None:
    text = "[a]\nb\nc = 1\n[d]\n[e]\n[f]\n[g]\n[h]\n[i]\n"

    def lines(line: int, *, several: bool) -> list[str]:
        found = [entry for entry in proposed(text, line, tmp_path, several=several) if entry[0].startswith("Comment")]
        spans = []
        for words, after in found:
            gone = [number for number, line in enumerate(after.split("\n"), 1) if line.startswith("# ")]
            spans.append(f"line {gone[0]}" if len(gone) == 1 else f"lines {gone[0]} to {gone[-1]}")
            assert words in (f"Comment out {spans[-1]} of F", "Comment out what does not load in F")
        return spans

    near = ["line 2", "lines 1 to 2", "lines 2 to 3"]
    assert lines(2, several=False) == [*near, "line 2", "lines 2 to 3"]
    assert lines(2, several=True) == [*near, "line 2", *(f"lines 2 to {last}" for last in (3, 4, 5, 6, 7, 8))]
    text, near = text.replace("\nb\n", "\nb = 1\n"), ["lines 3 to 4", "lines 4 to 5"]
    tables = ["line 4", *(f"lines 4 to {last}" for last in (5, 6, 7, 8, 9))]
    assert lines(4, several=False) == ["line 4", "line 4", *near, "line 4", "line 4"]
    assert lines(4, several=True) == ["line 4", *tables, *near, "line 4", *tables]


def test_what_stands_between_lines_that_do_not_load_is_kept(tmp_path: Path) -> None:
    """With `root` in a comment containerd would begin with an empty store."""
    text = 'version = 3\nx y\nroot = "/data"\nx y\n\n[grpc]\n  gid = 0\nx y\n  uid = 0\n[grpc]\n  x = 1\n[debug]\n'
    found = [after for words, after in proposed(text, 2, tmp_path) if words == "Comment out what does not load in F"]
    kept = text.replace("x y", "# x y").replace("[grpc]\n  x", "# [grpc]\n#   x")
    assert found == [kept]
    assert "Comment out lines 2 to 5 of F" not in [words for words, _ in proposed(text, 2, tmp_path)]
    six = "version = 3\n" + "x y\n" * 6
    for more, mended in (("", ["# x y"] * 6), ("x y\n", [])):
        found = [after for words, after in proposed(six + more, 2, tmp_path) if words.endswith("not load in F")]
        assert [line for after in found for line in after.split("\n") if line.startswith("# ")] == mended
    # Whether the rest loads is not known: it imports what was not gathered.
    text = 'version = 3\nx y\nimports = ["/gone.toml"]\n'
    held = Workshop(
        MemoryFiles({FILE: text.encode()}, complete=False),
        "2.1.9",
        FILE,
        explicit=False,
        before=None,
        allowed=lambda _: False,
    )
    tried = made(repairs(held, FILE, 2, "", several=False), tmp_path, **{FILE: text})
    assert ("Comment out what does not load in F", text.replace("x y", "# x y")) in tried
    # The next refusal is of another file: that is its own root.
    broken = {FILE: f'version = 3\nimports = ["{OTHER}"]\nx y\n', OTHER: "version = 3\nx y\n"}
    spans = [words for words, changes in repairs(shop(**broken), FILE, 3, "", several=False) if len(changes) == 1]
    assert "Comment out line 3 of /etc/containerd/config.toml" in spans
    assert "Comment out what does not load in /etc/containerd/config.toml" not in spans


VERSIONS = ["Declare version 3 in F", "Declare version 2 in F"]


def test_another_version_is_declared_where_the_line_declares_one(tmp_path: Path) -> None:
    text = '# one\nversion = 9 # two\n[a]\nb = "c"\n'
    found = [entry for entry in proposed(text, 2, tmp_path) if "version" in entry[0]]
    assert found == [(words, text.replace("9", words[16])) for words in VERSIONS]
    assert not [words for words, _ in proposed(text, 4, tmp_path) if "version" in words]
    # tomlkit does not take the file: the line's own comment is the price.
    found = [entry for entry in proposed(f"{text}x =\n", 2, tmp_path) if "version" in entry[0]]
    assert found == [(words, f"{text.replace('9 # two', words[16])}x =\n") for words in VERSIONS]


def test_short_names_of_plugins_are_those_of_version_1(tmp_path: Path) -> None:
    said = 'invalid plugin key URI "cri" expect io.containerd.x.vx'
    assert ("Declare version 1 in F", "version = 1\nx = 1\n") in proposed("version = 2\nx = 1\n", 0, tmp_path, said)
    assert not repairs_of("x =\n", said, tmp_path)


def repairs_of(text: str, said: str, place: Path) -> list[tuple[str, str]]:
    """What is proposed for no line."""
    return proposed(text, 0, place, said)


@pytest.mark.parametrize(
    ("said", "old", "wanted"),
    [
        (
            "read /etc/containerd/conf.d: is a directory",
            'imports = ["conf.d", "/x.toml"]\n',
            [
                (
                    "Import the files of /etc/containerd/conf.d, not the folder",
                    '["/etc/containerd/conf.d/*.toml", "/x.toml"]',
                ),
                ("Import no folder (/etc/containerd/conf.d)", '["/x.toml"]'),
            ],
        ),
        (
            "open /etc/containerd/gone.toml: no such file or directory",
            'imports = ["/x.toml", "./gone.toml"]\n',
            [("Import no file that is not there (/etc/containerd/gone.toml)", '["/x.toml"]')],
        ),
        (
            "load required plugin a: required plugin [a b] not included",
            'required_plugins = ["a", "b", "c"]\n',
            [("Take a, b out of required_plugins", '["c"]')],
        ),
        (
            'invalid disabled plugin URI "cri" expect io.containerd.x.vx',
            'disabled_plugins = ["cri", "x"]\n',
            [('Take "cri" out of disabled_plugins', '["x"]')],
        ),
        (
            'invalid required plugin URI "cri" expect io.containerd.x.vx',
            'required_plugins = ["x", "cri"]\n',
            [('Take "cri" out of required_plugins', '["x"]')],
        ),
    ],
)
def test_the_entry_that_containerd_stumbles_over_is_taken_out(
    said: str, old: str, wanted: list[tuple[str, str]], tmp_path: Path
) -> None:
    key = old.partition(" ")[0]
    assert repairs_of(old, said, tmp_path) == [(words, f"{key} = {left}\n") for words, left in wanted]
    assert repairs_of("y = 1\n", said, tmp_path) == []


def test_a_file_is_turned_into_another_version_with_its_tables(tmp_path: Path) -> None:
    def turned(text: str) -> list[tuple[str, str]]:
        return [entry for entry in proposed(text, 0, tmp_path) if entry[0].startswith("Turn")]

    to_2, to_3 = "Turn F into a file of version 2", "Turn F into a file of version 3"
    assert turned(f"# ours\nversion = 3\n{V3}x = 1\n{V3}") == [(to_2, f"# ours\nversion = 2\n{V2}x = 1\n{V2}")]
    assert turned(f"version = 3\n{V2}") == [(to_3, f"version = 3\n{V3}")]
    assert turned(V2) == [(to_3, V3)]
    assert turned(f"version = 2\n{V2}") == [(to_3, f"version = 3\n{V3}")]
    assert turned("version = 3\n") == []


def test_no_line_and_no_file_get_no_proposal(tmp_path: Path) -> None:
    """A refusal may name the end of the file, one line past the last."""
    assert [words for words, _ in proposed("version = 9", 5, tmp_path)] == []
    assert [words for words, _ in proposed("version = 9", 0, tmp_path)] == []
    assert list(repairs(shop(), FILE, 1, "", several=True)) == []


def test_a_daemon_that_panics_is_given_other_versions_of_the_files_that_declare_one(tmp_path: Path) -> None:
    files = {FILE: "x = 1\n", OTHER: " version = 4\n"}
    found = made(other_versions(shop(**files), ["/gone.toml", *files]), tmp_path, **files)
    assert found == [("Declare version 3 in F", " version = 3\n"), ("Declare version 2 in F", " version = 2\n")]
    broken = {OTHER: "version = 4\nx =\n"}
    assert made(other_versions(shop(**broken), [OTHER]), tmp_path, **broken) == []


@pytest.mark.parametrize(
    ("key", "kind", "lives"),
    [
        ('plugins."io.containerd.grpc.v1.cri"', "unread", False),
        ("plugins.io.containerd.cri.v1.images", "unread", False),
        ("plugins.cri", "unread", False),
        ("plugins.cri", "disabled", True),
        ('plugins."io.containerd.grpc.v1.cri".sandbox_image', "unread", True),
        ('plugins."io.containerd.gone.v1.x"', "unread", True),
        (OTHER, "unread", True),
    ],
)
def test_a_file_whose_tables_of_cri_do_nothing_is_not_mended(key: str, kind: IneffectiveKind, lives: bool) -> None:  # noqa: FBT001
    one = Ineffective(Where(FILE, 1), key, "why", kind=kind)
    assert alive(Loaded("2.1.9", "2.1", assumed=False, loads=True, cri_state="serving", ineffective=(one,))) is lives
