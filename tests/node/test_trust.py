"""Trust: what the node's functions say of paths, what a fix is for each, and which processes are followed."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.node import trust
from pytest_gpuready.node.trust import FOREIGN_NAMESPACE, Credentials, Login, refusal, unreadable, way_out
from pytest_gpuready.views.fact_files import config_file
from tests.support import nodes
from tests.support.shell import shells

if TYPE_CHECKING:
    from pathlib import Path

ROOT = Login(0, 1, 2, 2)


def reasons(shell: str, *paths: object) -> list[str]:
    """The reason for each path, "" where it is trusted, by the real functions."""
    script = f'{trust.SHELL}\nfor f do ty "$f"; printf \'%s\\0\' "$y"; done'
    line = ["busybox", "sh"] if shell == "busybox" else [shell]
    words = [str(path) for path in paths]
    done = subprocess.run([*line, "-c", script, "x", *words], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("shell", shells("dash", "bash", "busybox"))
class TestPaths:
    """The functions that run on the node."""

    def test_a_folder_that_everybody_writes_to_refuses_what_is_below(self, shell: str, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        (tmp_path / "open" / "f").touch()
        (tmp_path / "link").symlink_to("open")
        why = f"every user may write to {tmp_path}/open"
        below = (tmp_path / "open" / "f", tmp_path / "open" / "none", tmp_path / "link" / "f", tmp_path / "link")
        assert reasons(shell, *below) == [why] * 4
        assert reasons(shell, tmp_path, tmp_path / "none", "/etc/passwd", "/") == [""] * 4

    def test_links_are_judged_by_where_they_lead_in_any_order(self, shell: str, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to(tmp_path / "open" / "x")
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "kernel").symlink_to("/proc/kmsg")
        why = f"every user may write to {tmp_path}/open"
        found = reasons(shell, tmp_path / "a", tmp_path / "b", tmp_path / "loop", tmp_path / "kernel")
        assert found == [why, why, "", "it leads to /proc/kmsg"]

    def test_a_sticky_folder_is_trusted_and_a_relative_path_is_not(self, shell: str, tmp_path: Path) -> None:
        (tmp_path / "sticky").mkdir()
        (tmp_path / "sticky").chmod(0o1777)
        assert reasons(shell, tmp_path / "sticky" / "f", "etc/passwd") == ["", "it is no absolute path"]

    def test_a_name_with_a_line_break_is_judged_by_itself(self, shell: str, tmp_path: Path) -> None:
        (tmp_path / "a\nb").touch()
        (tmp_path / "a\nc").touch()
        (tmp_path / "a\nc").chmod(0o666)
        found = reasons(shell, tmp_path / "a\nb", tmp_path / "a\nc")
        assert found == ["", f"every user may write to {tmp_path}/a\nc"]


@pytest.mark.lab("root")
def test_what_another_user_owns_is_refused_and_the_fix_makes_it_trusted(tmp_path: Path) -> None:
    """Typed as it is told; a group without login users is no stranger."""
    owned, group = tmp_path / "owned", tmp_path / "group"
    for folder in (owned, group):
        folder.mkdir()
    os.chown(owned, 1000, 1000)
    os.chown(group, 0, 0)
    group.chmod(0o775)
    (reason,) = reasons("sh", owned / "f")
    assert reason == f"{owned} belongs to uid 1000"
    assert reasons("sh", group / "f") == [""]
    way = way_out(reason)
    assert way == ("chown root:", str(owned))
    subprocess.run([*way[0].split(), way[1]], check=True)
    assert reasons("sh", owned / "f") == [""]


@pytest.mark.parametrize(
    ("reason", "way"),
    [
        ("/opt/x belongs to uid 1000", ("chown root:", "/opt/x")),
        ("/opt/x/bin/ctr: /opt/x belongs to uid 1000", ("chown root:", "/opt/x")),
        ("every user may write to /opt/x y", ("chmod o-w", "/opt/x y")),
        ("group 50 may write to /usr/local/bin", ("chmod g-w", "/usr/local/bin")),
        ("an access control list lets others write to /srv", ("setfacl -b", "/srv")),
        ("it leads to /proc/kmsg", None),
        ("nothing on the node tells who owns it", None),
    ],
)
def test_each_reason_has_its_fix(reason: str, way: tuple[str, str] | None) -> None:
    assert way_out(reason) == way


def test_a_refused_file_leaves_its_checks_unknown_with_the_command_that_fixes_it() -> None:
    node = nodes.ready().answer(
        lambda request: request == config_file("/etc/containerd/config.toml"),
        state="refused",
        note="/etc/containerd belongs to uid 1001",
    )
    report = node.judge(Settings(routes=("cri-handler",)))
    found = report.findings["containerd.config-loads"]
    assert report.verdict == "unknown"
    assert found.outcome.found == "/etc/containerd/config.toml was refused: /etc/containerd belongs to uid 1001"
    assert found.outcome.remedy is not None
    assert found.outcome.remedy.commands == ("sudo chown root: /etc/containerd",)


@pytest.mark.parametrize(
    ("process", "login", "why"),
    [
        (Credentials((0, 0, 0, 0), 1, 2), ROOT, None),
        (Credentials((0, 0, 0, 0), None, None), ROOT, None),
        (Credentials((1000, 0, 0, 0), 1, 2), ROOT, "runs as uid 1000"),
        (Credentials((), 1, 2), ROOT, "hides its user"),
        (Credentials((0, 0, 0, 0), 1, 2, set_uid=True), ROOT, "was started from a set-user-ID program"),
        (Credentials((0, 0, 0, 0), 9, 2), ROOT, "runs in a container"),
        (Credentials((0, 0, 0, 0), 1, 9), ROOT, FOREIGN_NAMESPACE),
        (Credentials((0, 0, 0, 0), 1, 7), ROOT, None),
        (Credentials((0, 0, 0, 0), 1, 3), Login(0, 1, 2, 3), None),
        (Credentials((1000, 1000, 1000, 1000), 1, 9), Login(1000, 1, 2, 2), None),
        (Credentials((1001, 1001, 1001, 1001), 1, 2), Login(1000, 1, 2, 2), "runs as uid 1001"),
    ],
)
def test_a_process_is_followed_only_by_what_the_kernel_says(
    process: Credentials, login: Login, why: str | None
) -> None:
    """7 is the mount namespace of a service's main process, 3 init's."""
    assert refusal(process, login, {7}) == why


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/1/mem", "/sys/kernel/tracing/trace_pipe", "/proc/../proc/kmsg"])
def test_a_file_of_the_kernel_that_may_block_is_never_opened(path: str) -> None:
    assert unreadable(path) is not None


@pytest.mark.parametrize(
    "path", ["/proc/devices", "/sys/module/nvidia/version", "/etc/x", "/proc/driver/nvidia/params"]
)
def test_the_files_of_the_kernel_that_are_needed_are_read(path: str) -> None:
    assert unreadable(path) is None


def test_without_the_functions_a_script_ends_before_it_does_anything() -> None:
    sh = shutil.which("sh")
    assert sh is not None
    done = subprocess.run([sh, "-c", f"{trust.USE}echo on"], capture_output=True, text=True, check=False, env={})
    assert done.returncode != 0
    assert done.stdout == ""
