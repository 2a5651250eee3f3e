"""Which files are results, and what a hostile or broken one costs: itself."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.inputs import InputError
from pytest_gpuready.merge import find as module
from pytest_gpuready.merge.find import Place, UnreadableError, find, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return [place.shown.removeprefix(f"{folder}/") for place in find([str(folder)]).places]


def test_results_are_found_in_folders_below_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.json", "a/2.JSON", "a/10.json", "c/d/e.json", "slurm-1.out"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert names(tmp_path) == ["b.json", "a/10.json", "a/2.JSON", "c/d/e.json"]
    assert find([str(tmp_path)]).others == 1


def test_a_file_is_found_once_however_often_it_is_named(tmp_path: Path) -> None:
    result = tmp_path / "n1"
    result.write_text("{}")
    (tmp_path / "n1.json").hardlink_to(result)
    found = find([str(result), str(tmp_path), str(result)])
    assert [place.path for place in found.places] == [str(result)]


def test_a_link_out_of_the_folder_is_named_and_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "secret.json", tmp_path / "results"
    outside.write_text("{}")
    folder.mkdir()
    (folder / "n1.json").symlink_to(outside)
    (folder / "n2.json").symlink_to("/dev/zero")
    found = find([str(folder)])
    assert not found.places
    assert found.lost == [
        (f"{folder}/n1.json", "is a link that leads out of the folder"),
        (f"{folder}/n2.json", "is a link that leads out of the folder"),
    ]


def test_a_link_to_another_result_is_that_result(tmp_path: Path) -> None:
    (tmp_path / "day2.json").write_text("{}")
    (tmp_path / "latest.json").symlink_to("day2.json")
    found = find([str(tmp_path)])
    assert [place.shown for place in found.places] == [f"{tmp_path}/day2.json"]
    assert not found.lost


def test_a_folder_may_be_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "n1.json").write_text("{}")
    (tmp_path / "latest").symlink_to("run")
    assert names(tmp_path / "latest") == ["n1.json"]


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.json"))
        found = find([str(tmp_path)])
    assert not found.places
    assert found.lost == [(f"{tmp_path}/fifo.json", "is a FIFO"), (f"{tmp_path}/socket.json", "is a socket")]


def test_a_fifo_that_takes_a_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "n1.json")
    with pytest.raises(UnreadableError, match="is a FIFO, no file"):
        read(Place(str(tmp_path / "n1.json"), "n1.json"))


def test_a_link_that_takes_a_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("{}")
    (tmp_path / "n1.json").symlink_to("there")
    with pytest.raises(UnreadableError, match="cannot be read: Too many levels of symbolic links"):
        read(Place(str(tmp_path / "n1.json"), "n1.json"))
    assert read(Place(str(tmp_path / "n1.json"), "n1.json", named=True))[0] == b"{}"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """10 GB of nothing, as a hole: nothing of it is on the disk."""
    with (tmp_path / "n1.json").open("wb") as stream:
        stream.truncate(10 * 1024**3)
    with pytest.raises(UnreadableError, match="is larger than 256 MiB"):
        read(Place(str(tmp_path / "n1.json"), "n1.json"))


def test_a_large_file_begins_as_a_result_does(tmp_path: Path) -> None:
    with (tmp_path / "n1.json").open("wb") as stream:
        stream.truncate(module.LARGE + 1)
    with pytest.raises(UnreadableError, match="is large, and does not begin as a snapshot"):
        read(Place(str(tmp_path / "n1.json"), "n1.json"))
    with (tmp_path / "n2.json").open("r+b" if (tmp_path / "n2.json").exists() else "wb") as stream:
        stream.write(b'{"schema": 1,')
        stream.truncate(module.LARGE + 1)
    assert len(read(Place(str(tmp_path / "n2.json"), "n2.json"))[0]) == module.LARGE + 1


def test_a_file_that_grows_while_it_is_read_is_no_flood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "n1.json").write_bytes(b" " * 2000)
    monkeypatch.setattr(module, "SIZE_LIMIT", 1000)
    with pytest.raises(UnreadableError, match="is larger than 0 MiB"):
        read(Place(str(tmp_path / "n1.json"), "n1.json"))


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A result below as many folders as a path can name; `shutil.rmtree` recurses, and cannot remove them."""
    made = [tmp_path / "d"]
    while len(str(made[-1])) < 3899:
        made[-1].mkdir()
        made.append(made[-1] / "d")
    result = made[-2] / "n1.json"
    result.write_text("{}")
    yield result
    result.unlink()
    for folder in reversed(made[:-1]):
        folder.rmdir()


def test_folders_may_be_as_deep_as_paths_are_long(deep: Path, tmp_path: Path) -> None:
    assert [place.path for place in find([str(tmp_path)]).places] == [str(deep)]


@pytest.mark.skipif(os.geteuid() == 0, reason="lacks a user whom permissions bind: this is root")
def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    assert find([str(tmp_path)]).lost == [(f"{tmp_path}/closed", "cannot be listed: Permission denied")]


def test_a_folder_that_vanishes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("pytest_gpuready.merge.find.os.scandir", gone)
    assert find([str(tmp_path)]).lost == [(str(tmp_path), "cannot be listed: No such file or directory")]


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere", "No such file or directory"), ("a\0b", "no file has such a name")]
)
def test_an_argument_that_is_not_there_is_a_usage_error(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        find([str(tmp_path / name)])
