"""Files with several mistakes: one remedy mends them one after the other, and the rest of the file stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.remedies.mending import first_failure, mend
from tests.remedies.wrong import CONFIG, handler, main, native, runc

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = b"version = 2\n"


def two_lines(v: int) -> dict[str, str]:
    """Two lines that are no TOML."""
    return {CONFIG: main(v, runc(v), handler(v)).replace("[plugins", "x = \n[plugins", 1) + "\nsome words\n"}


def three_lines(v: int) -> dict[str, str]:
    """Three of them, one a setting without its value."""
    text = main(v, runc(v), "this is no TOML", handler(v)).replace("[plugins", "x = \n[plugins", 1)
    return {CONFIG: f"{text}\nsome words\n"}


@pytest.mark.parametrize("files", [two_lines, three_lines])
@pytest.mark.parametrize("version", ["2.1.9", "2.3.4"])
def test_one_remedy_mends_them_all(version: str, files: Callable[[int], dict[str, str]]) -> None:
    tree = {path: text.encode() for path, text in files(native(version)).items()}
    done = mend(version, tree, None, DEFAULT)
    assert done.how == "edited"
    assert first_failure(version, done.files, None) is None
    remedy = done.steps[0].outcome.remedy
    assert remedy is not None
    assert len(done.steps) == 1, remedy
    assert remedy.commands[-1].endswith("systemctl restart containerd")
    assert {edit.path for edit in remedy.edits} == set(tree)
    assert b"max_container_log_line_size = 4096 # ours" in done.files[CONFIG]


def test_no_edit_gives_cris_table_a_second_name() -> None:
    """In a file of version 1 the daemon of 2.x takes the one or the other, by chance."""
    name = "[plugins.'io.containerd.grpc.v1.cri'"
    text = f'version = 1\ndisabled_plugins = ["cri"]\n{name}]\nenable_cdi = true\n'
    text += f'{name}.containerd.runtimes.kata]\nruntime_type = "io.containerd.runc.v2"\n'
    for version, has in (("1.7.24", True), ("2.1.9", False)):
        done = mend(version, {CONFIG: text.encode()}, None, DEFAULT)
        assert done.steps
        assert (b"[plugins.cri" in done.files[CONFIG]) is has
