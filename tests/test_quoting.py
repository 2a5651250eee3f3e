"""What each language of a remedy is given, and what none of them can hold."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready import quoting
from pytest_gpuready.quoting import UNQUOTABLE
from pytest_gpuready.remedies.edits import append, aside, insert_after, set_value
from tests.support.shell import SEDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_gpuready.remedies.edits import Change

NAMES = ("a b", "$(touch X)", "`x`", "'", '"', "\\", "*", "~", "{a,b}", "!x", "é", "a;b", "a|b", "a&b", "%k", "#")


@pytest.mark.parametrize(
    ("quoted", "text"),
    [
        (quoting.quote, "/etc/a.toml"),
        (quoting.quote_unit, "snap.microk8s.daemon-containerd"),
        (quoting.quote_unit, "containerd@1.service"),
        (quoting.quote_package, "nvidia-fabricmanager-580"),
        (quoting.quote_path_entry, "/usr/local/nvidia/toolkit"),
        (quoting.loader_folder, "/usr/lib/wsl/lib"),
        (quoting.escape_sed_replacement, "/run/containerd/containerd.sock"),
    ],
)
def test_a_harmless_text_stays_as_it_is(quoted: Callable[[str], str], text: str) -> None:
    assert quoted(text) == text


@pytest.mark.parametrize(
    ("quoted", "texts"),
    [
        (quoting.quote, ("-x", "--now", "a\nb", "a\rb", "a\0b")),
        (quoting.quote_unit, ("-x", "", "*", "a/../b", "a b", "a?", "[a]", "a\nb")),
        (quoting.quote_package, ("-x", "containerd-", "a\nb")),
        (quoting.quote_path_entry, ("/a:/b", "bin", "", "/a\nb")),
        (quoting.loader_folder, ("/a b", "/a#b", "/a=b", "include /a", "/a\n/b", "/a\nEOF\ntouch X", "")),
        (quoting.escape_sed_pattern, ("a|b", "a\nb")),
        (quoting.escape_sed_replacement, ("a\nb",)),
        (lambda text: quoting.append_by_sed(1, text), ("a\nb",)),
        (quoting.echo, ("a\\nb", "-n", "a\nb")),
        (lambda text: quoting.here_document("cat", text), ("EOF", "a\nEOF\ntouch X")),
        (lambda text: quoting.udev_command(["/x", text]), ("a'b", 'a"b', "a\\b", "a\nb", "")),
        (lambda text: quoting.udev_command([text]), ("x", "", "-x")),
        (lambda text: quoting.unit_command(["/x", text]), ("a b", "$x", "%h", "a;b", "'", "a\nb", "")),
        (lambda text: quoting.unit_command([text]), ("+/bin/x", "@/bin/x", "x")),
    ],
)
def test_what_a_language_cannot_hold_takes_the_command_away(
    quoted: Callable[[str], str], texts: tuple[str, ...]
) -> None:
    for text in texts:
        assert UNQUOTABLE in quoted(text), text


def test_udev_reads_the_words_that_were_meant() -> None:
    """Its own reading (udev(7)): `$$` and `%%` stand for one of them, then blanks split but between single quotes."""
    meant = ["/opt/my $(touch X) `x` %k ;|&*~!/ctk", "system", "$kernel"]
    line = re.sub(r"\$\$|%%", lambda found: found[0][0], quoting.udev_command(meant))
    assert [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", line)] == meant


@pytest.mark.parametrize("sed", SEDS)
@pytest.mark.parametrize("name", NAMES)
def test_files_are_written_literally_whatever_they_and_their_lines_are_called(
    name: str, sed: str, tmp_path: Path
) -> None:
    """The commands of edits, run by a real shell on a file of that name with that text in it."""
    place = tmp_path / f"{name}.toml"
    path, old = str(place), f"a = 1 # {name}\nb = 2\n".encode()
    changes: tuple[Change | None, ...] = (
        append(path, old, f"[{name}]\n{name}\n"),
        set_value(path, old, 2, name),
        insert_after(path, old, 1, f"  {name}"),
        aside(path),
    )
    for change in changes:
        if change is None:
            assert "|" in name, "only a bar keeps an edit from being proposed"
            continue
        place.write_bytes(old)
        command = re.sub("^sed ", f"{sed} ", change.command)
        done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), command
        assert (place.read_bytes() if place.exists() else None) == change.new
        assert len(list(tmp_path.iterdir())) == 1
        (tmp_path / f"{place.name}.disabled").unlink(missing_ok=True)
