"""Trees are made once, whole or not at all, and say why they cannot be had."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab import base

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPUREADY_LAB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.lab
@pytest.mark.usefixtures("lab")
def test_a_layer_that_failed_is_not_there_and_the_next_try_makes_it(tmp_path: Path) -> None:
    with base.locked():
        lowest = base._base()
    final = tmp_path / "layer-1"
    with pytest.raises(base.Unavailable, match="ended with 3"):
        base._layer(final, (lowest,), "touch /etc/half; exit 3")
    assert not final.exists()
    base._layer(final, (lowest,), "touch /etc/whole; rm /etc/issue")
    assert not (final / "etc/half").exists()
    assert (final / "etc/whole").is_file()
    assert (final / "etc/issue").is_char_device()  # overlay's mark of a file that is gone
    assert (lowest / "etc/issue").is_file()


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.usefixtures("lab")
def test_a_generation_that_debian_does_not_have_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian bookworm has no containerd 9.9; what was fetched on the way is not kept."""
    monkeypatch.setitem(base.GENERATIONS, "9.9", "bookworm")
    with pytest.raises(base.Unavailable, match=r"Debian bookworm has containerd 1\.6\..*, not 9\.9"):
        base.tree("9.9")
    assert [path.name for path in base.cache().iterdir() if "9.9" in path.name] == []


def test_two_runs_make_trees_one_after_the_other(private_cache: Path) -> None:
    with (private_cache / ".lock").open("w") as other:
        with base.locked() as folder, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert folder == private_cache


def test_layers_that_nobody_used_for_long_are_forgotten(private_cache: Path) -> None:
    for name in ("ready-2.x-0", "ready-2.x-1"):
        (private_cache / name).mkdir()
    os.utime(private_cache / "ready-2.x-0", (0, 0))
    base._forget_old()
    assert [path.name for path in private_cache.iterdir()] == ["ready-2.x-1"]


def test_a_machine_without_the_programs_is_told_which_packages_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in {"systemd-nspawn", "gcc"} else f"/usr/bin/{name}")
    assert base.why_not() == "the lab needs these Debian packages: gcc systemd-container"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert base.why_not() == "the lab boots nodes by systemd-nspawn: it needs root"


def test_the_hosts_own_mirror_is_used_and_else_the_public_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(text: str) -> str:
        base.mirror.cache_clear()
        done = subprocess.CompletedProcess([], 0, text)
        monkeypatch.setattr(base, "run", lambda *_argv, check: done if not check else None)
        return base.mirror()

    assert answer("Ubuntu|http://u.example/ubuntu/\nDebian|http://d.example/debian/\n") == "http://d.example/debian"
    assert answer("Ubuntu|http://u.example/ubuntu/\n") == base.PUBLIC_MIRROR
    base.mirror.cache_clear()
