"""What corrects the runtime's configuration: one line, proven on a copy, or words."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

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


def test_a_program_that_is_named_elsewhere_is_named_where_it_lies() -> None:
    """No package brings it to that place."""
    node, where = toolkit(debian(SimNode())), Where(CONFIG, 42)
    node = config(node, '[nvidia-ctk]\npath = "nvidia-ctk"', '[nvidia-ctk]\npath = "/opt/nvidia-ctk"')
    key, named = ("nvidia-ctk", "path"), "/opt/nvidia-ctk"
    set_it = (f"sudo sed -i '42s|=.*|= \"nvidia-ctk\"|' {CONFIG}",)
    found: Remedy = Remedies(views(node)).toolkit.program(where, key, named, "nvidia-ctk")
    assert found.commands == set_it
    again: Remedy = Remedies(views(node.remove("/usr/bin/nvidia-ctk"))).toolkit.program(where, key, named, "nvidia-ctk")
    assert again.commands == ("sudo apt-get install -y --reinstall nvidia-container-toolkit-base", *set_it)
    assert '+path = "nvidia-ctk"' in again.edits[0].diff
    misnamed: Remedy = Remedies(views(node)).toolkit.program(where, key, "/usr/bin/nvidia-ctl", "nvidia-ctk")
    assert misnamed.commands[-1:] == set_it
    for usual in ("nvidia-ctk", "/usr/bin/nvidia-ctk"):
        brought: Remedy = Remedies(views(node)).toolkit.program(where, key, usual, "nvidia-ctk")
        assert brought.commands == ("sudo apt-get install -y --reinstall nvidia-container-toolkit-base",)


def test_the_hook_needs_a_path_of_nvidia_container_cli() -> None:
    line = '#path = "/usr/bin/nvidia-container-cli"'
    node = config(toolkit(debian(SimNode())), line, 'path = "/opt/nvidia-container-cli"')
    where, key = Where(CONFIG, 14), ("nvidia-container-cli", "path")
    for made in (node, node.remove("/usr/bin/nvidia-container-cli")):
        found: Remedy = Remedies(views(made)).toolkit.program(where, key, "/opt/nvidia-container-cli", key[0])
        assert found.commands[-1] == f"sudo sed -i '14s|=.*|= \"/usr/bin/nvidia-container-cli\"|' {CONFIG}"
    node.program("/usr/local/bin/nvidia-container-cli")
    lying: Remedy = Remedies(views(node)).toolkit.program(where, key, "/opt/nvidia-container-cli", key[0])
    assert lying.commands == (f"sudo sed -i '14s|=.*|= \"/usr/local/bin/nvidia-container-cli\"|' {CONFIG}",)


def test_what_one_line_does_not_mend_is_said_in_words() -> None:
    node = config(toolkit(debian(SimNode())), 'runtimes = ["runc", "crun"]', 'runtimes = [\n  "docker-runc",\n]')
    assert setting(node, 22, ("nvidia-container-runtime", "runtimes"), '["runc"]').commands == ()
    assert setting(node, 21, ("nvidia-container-runtime", "mode"), None).commands == ()
    assert setting(node, 900, ("nvidia-container-runtime", "mode"), '"auto"').commands == ()
    for key in (("nvidia-ctk", "mode"), ("nvidia-container-runtime", "mode", "a"), ("gone", "mode")):
        assert setting(node, 21, key, '"auto"').commands == ()
    for syntax in (True, False):
        nowhere = Problem("found", "expected", Where(CONFIG), ("nvidia-ctk", "path"), '"x"', syntax=syntax)
        assert Remedies(views(node)).toolkit.setting(nowhere).commands == ()


def test_a_line_that_is_no_toml_is_commented_out_also_where_the_next_one_is_blamed() -> None:
    node = config(toolkit(debian(SimNode())), 'log-level = "info"', "log-level = info")
    toolkits = Remedies(views(node)).toolkit
    for line in (20, 21):
        found = toolkits.setting(Problem("found", "expected", Where(CONFIG, line), syntax=True))
        assert found.summary.startswith(f"Comment out line 20 of {CONFIG}")
        assert found.commands
        assert "+#log-level = info" in found.edits[0].diff.replace("# ", "#")
    for line in (10, 900):
        words = toolkits.setting(Problem("found", "expected", Where(CONFIG, line), syntax=True))
        said = f"Correct the file in {CONFIG}:{line}; it is read at each container start."
        assert (words.summary, words.commands) == (said, ())


def test_a_key_that_a_person_decides_is_named() -> None:
    found = setting(toolkit(debian(SimNode())), 21, ("nvidia-container-runtime", "mode"), None)
    assert found.summary.startswith(f"Correct nvidia-container-runtime.mode in {CONFIG}:21;")


def low_level(lying: str, line: str) -> Remedy:
    node = toolkit(debian(SimNode())).remove("/usr/bin/runc").program(lying)
    found: Remedy = Remedies(views(config(node, 'runtimes = ["runc", "crun"]', line))).toolkit.low_level()
    return found


@pytest.mark.parametrize(
    ("lying", "value"),
    [
        ("/usr/bin/runc", '["runc", "crun"]'),
        ("/opt/bin/runc", '["/opt/bin/runc", "runc", "crun"]'),
        ("/opt/bin/crun", '["/opt/bin/crun", "runc", "crun"]'),
    ],
)
def test_a_low_level_runtime_is_named_where_it_lies(lying: str, value: str) -> None:
    found = low_level(lying, 'runtimes = ["youki"]')
    assert found.commands == (f"sudo sed -i '22s|=.*|= {value}|' {CONFIG}",)
    assert f"+runtimes = {value}\n" in found.edits[0].diff
    unset = low_level(lying, "")
    assert unset.commands == ()
    assert unset.summary.startswith(f"{lying} is there: put it first in `runtimes` of {CONFIG}")


def test_a_file_that_nobody_read_is_a_persons_to_correct() -> None:
    toolkits = Remedies(views(toolkit(debian(SimNode())))).toolkit
    for syntax in (True, False):
        problem = Problem("found", "expected", Where("/opt/config.toml", 3), ("a", "b"), '"x"', syntax=syntax)
        assert toolkits.setting(problem).commands == ()


def test_links_below_dev_char_are_made_now_and_by_a_rule() -> None:
    remedy: Remedy = Remedies(views(toolkit(debian(SimNode())))).toolkit.dev_char("/usr/bin/nvidia-ctk")
    assert remedy.commands[0] == "sudo /usr/bin/nvidia-ctk system create-dev-char-symlinks --create-all"
    assert remedy.commands[1].endswith("\nEOF")
