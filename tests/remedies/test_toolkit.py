"""What corrects the runtime's configuration: one line, proven on a copy, or words."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from pytest_gpuready.checks.toolkit_config import Problem
from pytest_gpuready.model import Remedy, Where
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views.toolkit import CONFIG
from tests.support.simnode import SimNode
from tests.support.toolkit import DEFAULT_CONFIG, config, debian, toolkit, views

if TYPE_CHECKING:
    from pathlib import Path


def setting(node: SimNode, line: int, key: tuple[str, ...], mend: str | None) -> Remedy:
    found: Remedy = Remedies(views(node)).toolkit.setting(Problem("found", "expected", Where(CONFIG, line), key, mend))
    return found


def test_the_command_does_what_the_diff_says(tmp_path: Path) -> None:
    node = config(toolkit(debian(SimNode())), 'mode = "auto"', 'mode = "bogus"')
    remedy = setting(node, 21, ("nvidia-container-runtime", "mode"), '"auto"')
    copy = tmp_path / "config.toml"
    copy.write_bytes(node.tree[CONFIG].data)
    command = remedy.commands[0].removeprefix("sudo ").replace(CONFIG, str(copy))
    subprocess.run(["sh", "-c", command], check=True)
    assert copy.read_text() == DEFAULT_CONFIG
    assert '-mode = "bogus"' in remedy.edits[0].diff
    assert '+mode = "auto"' in remedy.edits[0].diff


def test_what_one_line_does_not_mend_is_said_in_words() -> None:
    node = config(toolkit(debian(SimNode())), 'runtimes = ["runc", "crun"]', 'runtimes = [\n  "docker-runc",\n]')
    assert setting(node, 22, ("nvidia-container-runtime", "runtimes"), '["runc"]').commands == ()
    assert setting(node, 21, ("nvidia-container-runtime", "mode"), None).commands == ()
    assert setting(node, 900, ("nvidia-container-runtime", "mode"), '"auto"').commands == ()


def test_links_below_dev_char_are_made_now_and_by_a_rule() -> None:
    remedy: Remedy = Remedies(views(toolkit(debian(SimNode())))).toolkit.dev_char("/usr/bin/nvidia-ctk")
    assert remedy.commands[0] == "sudo /usr/bin/nvidia-ctk system create-dev-char-symlinks --create-all"
    assert remedy.commands[1].endswith("\nEOF")
