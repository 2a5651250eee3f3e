"""Files of a node: Go's glob, and links that never leave the directory."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd.files import BadPattern, MemoryFiles, NotLooked, RootFiles

if TYPE_CHECKING:
    from pathlib import Path

FILES = MemoryFiles(
    {f"/etc/c/{name}": b"" for name in ("b.toml", "a.toml", ".h.toml", "x.txt", "d/e.toml", "[x].toml")}
)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/etc/c/*.toml", [".h.toml", "[x].toml", "a.toml", "b.toml"]),
        ("/etc/c/?.toml", ["a.toml", "b.toml"]),
        ("/etc/c/[a-a]*", ["a.toml"]),
        ("/etc/c/[^a]*.toml", [".h.toml", "[x].toml", "b.toml"]),
        ("/etc/*/e.toml", []),
        ("/etc/c/*/*.toml", ["d/e.toml"]),
        ("/etc/c/\\[x\\].toml", ["[x].toml"]),
        ("/etc/c/a.toml", ["a.toml"]),
        ("/none/*", []),
    ],
)
def test_globs_match_as_go_matches(pattern: str, found: list[str]) -> None:
    assert FILES.glob(pattern) == [f"/etc/c/{name}" for name in found]


@pytest.mark.parametrize("pattern", ["/etc/c/[", "/etc/c/[a", "/etc/c/[]a]*", "/etc/c/*\\"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match="syntax error in pattern"):
        FILES.glob(pattern)


def test_what_was_not_gathered_is_not_missing() -> None:
    files = MemoryFiles({"/a": b"x"}, complete=False, globs={"/d/*": ["/d/2", "/d/1"]})
    assert files.read("/a") == b"x"
    assert files.glob("/d/*") == ["/d/1", "/d/2"]
    with pytest.raises(NotLooked, match="/b"):
        files.read("/b")
    with pytest.raises(NotLooked, match=r"/e/\*"):
        files.glob("/e/*")


def test_links_resolve_inside_the_root(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("outside")
    root = tmp_path / "node"
    (root / "etc").mkdir(parents=True)
    (root / "secret").write_text("inside")
    (root / "etc/absolute").symlink_to("/secret")
    (root / "etc/climbing").symlink_to("../../../../../secret")
    (root / "etc/out").symlink_to(outside)
    (root / "etc/loop").symlink_to("loop")
    files = RootFiles(root)
    assert files.read("/etc/absolute") == files.read("/etc/climbing") == b"inside"
    assert files.read("/../../secret") == b"inside"
    with pytest.raises(FileNotFoundError):
        files.read("/etc/out")
    with pytest.raises(OSError, match="symbolic links") as caught:
        files.read("/etc/loop")
    assert caught.value.errno == errno.ELOOP
    assert caught.value.filename == "/etc/loop"
    assert files.glob("/etc/*") == ["/etc/absolute", "/etc/climbing", "/etc/loop", "/etc/out"]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PermissionError):
        RootFiles(tmp_path).read("/pipe")


def test_a_directory_is_one(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(IsADirectoryError):
        RootFiles(tmp_path).read("/d")
    with pytest.raises(IsADirectoryError):
        FILES.read("/etc/c/d")


def test_a_link_to_dev_null_is_an_empty_file_though_the_root_has_no_devices(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to("/dev/null")
    assert RootFiles(tmp_path).read("/a.toml") == RootFiles(tmp_path).read("/dev/null") == b""
