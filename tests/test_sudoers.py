"""Least privilege, as printed and as documented. tests/lab/test_sudo.py installs it on a node."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gpuready import sudoers
from pytest_gpuready.node.facts import file
from pytest_gpuready.node.rooted import PROGRAM, program
from tests.support.shell import shells

PAGE = Path(__file__).parents[1] / "docs" / "sudo.md"


def test_what_is_read_is_what_plain_users_are_refused() -> None:
    asked = sudoers.requests()
    paths = {request.arg[0] for request in asked if request.kind not in ("run", "script")}
    assert {file("/etc/containerd/config.toml"), file("/var/lib/kubelet/config.yaml")} <= set(asked)
    assert "/etc/cdi/*.yaml" in paths
    assert "processes" in {request.arg[0] for request in asked}
    assert len(asked) == len(set(asked))


def test_the_rule_names_no_program_that_others_may_change() -> None:
    for request in sudoers.requests():
        if request.kind in ("run", "script"):
            assert "nvidia" not in request.arg[0]
        else:
            assert re.match(r"/etc/|/var/(lib|run|snap)/|/usr/local/nvidia/toolkit/", request.arg[0]), request
            assert ".." not in request.arg[0]


@pytest.mark.lab("visudo")
def test_the_rule_is_one_that_sudo_takes(tmp_path: Path) -> None:
    visudo = shutil.which("visudo", path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin")
    assert visudo is not None
    for name in ("gpu", "%gpu-admins", "svc_gpu.1", "Admin", "%ALL", "1000"):
        (tmp_path / "rule").write_text(sudoers.rule(name))
        (tmp_path / "rule").chmod(0o440)
        subprocess.run([visudo, "-c", "-s", "-f", str(tmp_path / "rule")], check=True, capture_output=True)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "a b",
            "ALL, x",
            "x\ny",
            "../x",
            "a=b",
            "#0",
            "x:y",
            "%",
            "%#0",
            "%:x",
            "+netgroup",
            "!x",
            "a,b",
            "a\\b",
            '"a"',
        ),
        *(
            "ALL",
            "A",
            "ADMINS",
            "USER_1",
            "Defaults",
            "User_Alias",
            "Runas_Alias",
            "Host_Alias",
            "Cmnd_Alias",
            "Cmd_Alias",
        ),
    ],
)
def test_what_sudo_would_read_otherwise_is_no_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no name of a user"):
        sudoers.rule(name)
    with pytest.raises(SystemExit) as end:
        sudoers.main(["--", name])
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert "no name of a user" in said[-1]
    assert "%admins" in said[-1]


@pytest.mark.parametrize("shell", shells("dash", "bash", "busybox"))
def test_both_scripts_are_sh(shell: str) -> None:
    line = ["busybox", "sh", "-n"] if shell == "busybox" else [shell, "-n"]
    for text in (program(sudoers.requests()), sudoers.installer("gpu")):
        subprocess.run(line, input=text.encode(), check=True, capture_output=True)


def test_the_installer_holds_program_and_rule_as_printed_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {}
    for flag in ("--program", "--rule", ""):
        assert sudoers.main(["gpu", *([flag] if flag else [])]) == 0
        told[flag] = capsys.readouterr().out
    assert told["--program"] == program(sudoers.requests())
    assert told["--rule"] == 'gpu ALL=(root) NOPASSWD: /usr/local/sbin/gpuready-read ""\n'
    assert told["--program"].rstrip() in told[""]
    assert told["--rule"].rstrip() in told[""]
    # What ends a here-document stands in none of them.
    assert "gpuready-read-ends" not in told["--program"] + told["--rule"]


def test_the_command_is_a_command() -> None:
    line = [sys.executable, "-m", "pytest_gpuready.sudoers", "gpu", "--rule"]
    assert PROGRAM in subprocess.run(line, capture_output=True, check=True, text=True).stdout


def test_the_page_names_all_that_is_read_and_the_rule_as_printed() -> None:
    text = PAGE.read_text("utf-8")
    assert sudoers.rule("user").rstrip().replace("user", "USER", 1) in text
    for request in sudoers.requests():
        assert f"`{request.arg[0] if request.kind != 'run' else ' '.join(request.arg[:3])}`" in text, request
