"""Reports on bad ground: links, devices and FIFOs at their place, full disks, folders that nobody may write to."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.judge import judge_views
from pytest_gpuready.node.snapshot import read
from tests.plugin.conftest import QUICK

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest

READY = "snapshot://ready"

#: Every report that is a file, by its option.
REPORTS = {
    "--gpuready-json": "out.json",
    "--gpuready-md": "out.md",
    "--html": "out.html",
    "--junitxml": "out.xml",
}
NAMES = {"--gpuready-json": "JSON", "--gpuready-md": "Markdown", "--html": "HTML", "--junitxml": "JUnit"}

mounting = pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("unshare") is None
    or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="lacks root, or the right to mount",
)


def arguments(folder: Path | str) -> list[str]:
    """The options for every report, each a file in the folder."""
    return [f"{option}={folder}/{name}" for option, name in REPORTS.items()]


@pytest.mark.parametrize("more", [[], ["-n1"]], ids=["alone", "xdist"])
def test_every_report_replaces_a_link_and_is_for_its_owner_only(run: Pytest, tmp_path: Path, more: list[str]) -> None:
    """What the link leads to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("precious", "utf-8")
    for name in REPORTS.values():
        (run.path / name).symlink_to(victim)
    old = os.umask(0)
    try:
        result = run.raw("--gpuready", "--hosts", READY, *arguments(run.path), *more)
    finally:
        os.umask(old)
    assert result.ret == 0
    assert victim.read_text("utf-8") == "precious"
    for name in REPORTS.values():
        about = (run.path / name).lstat()
        assert stat.S_ISREG(about.st_mode), name
        assert stat.S_IMODE(about.st_mode) == 0o600, name
        assert about.st_size > 1000
    assert len(ET.parse(run.path / "out.xml").getroot().findall(".//testcase")) > 40  # noqa: S314 - our own file
    assert f"generated xml file: {run.path}/out.xml" in result.out
    assert f"Generated html report: file://{run.path}/out.html" in result.out
    assert not [path.name for path in run.path.iterdir() if path.name.startswith((".gpuready", "gpuready-"))]


def test_a_report_replaces_a_file_that_others_may_read(run: Pytest) -> None:
    for name in REPORTS.values():
        run.file(name, "old").chmod(0o644)
    assert run.raw("--gpuready", "--hosts", READY, *arguments(run.path)).ret == 0
    for name in REPORTS.values():
        assert stat.S_IMODE((run.path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("option", REPORTS)
def test_what_is_no_file_is_refused_before_anything_runs(run: Pytest, option: str) -> None:
    folder, fifo = run.path / "folder", run.path / "fifo"
    folder.mkdir()
    os.mkfifo(fifo)
    (run.path / "link").symlink_to(folder)
    cases = {
        str(folder): "is a directory",
        str(run.path / "link"): "is a directory",
        str(fifo): "is a FIFO",
        "/dev/zero": "is no place for a file",
        "/dev/fd/1": "is no place for a file",
        "/proc/self/fd/2": "is no place for a file",
    }
    for path, why in cases.items():
        result = run.raw("--gpuready", "--hosts", READY, f"{option}={path}")
        assert result.ret == 4
        if option == "--junitxml" and path.endswith(("folder", "link")):
            assert "must be a filename" in result.err  # pytest's own sentence
        else:
            assert f"{option} {path} {why}: name a file that can be replaced" in result.err
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_dev_null_takes_every_report_and_stays(run: Pytest) -> None:
    before = Path("/dev/null").stat()
    result = run.raw("--gpuready", "--hosts", READY, *(f"{option}=/dev/null" for option in REPORTS))
    assert result.ret == 0, result.text
    after = Path("/dev/null").stat()
    assert (after.st_mode, after.st_rdev, after.st_ino) == (before.st_mode, before.st_rdev, before.st_ino)


def test_dev_stdout_is_standard_output(run: Pytest) -> None:
    """For JSON and Markdown it is `-`, so that nothing else is there; JUnit stands among pytest's own lines."""
    suite = [sys.executable, "-m", "pytest", *QUICK, "--gpuready", "--hosts", READY]
    done = subprocess.run([*suite, "--gpuready-json=/dev/stdout"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["verdict"] == "ready"
    done = subprocess.run([*suite, "--junitxml=/dev/stdout"], capture_output=True, text=True, check=False)
    assert '<?xml version="1.0"' in done.stdout
    assert done.returncode == 0
    del run


FULL = """
mount -t tmpfs -o size=32k tmpfs "$1" || exit 99
dd if=/dev/zero of="$1/filler" bs=1k 2>/dev/null
cd "$1"; shift
exec "$@"
"""


def on_full_disk(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder whose disk is full; TMPDIR is there too."""
    folder.mkdir(exist_ok=True)
    command = ["unshare", "-m", "sh", "-c", FULL, "sh", str(folder), sys.executable, "-m", "pytest", *QUICK, *args]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


@mounting
@pytest.mark.parametrize("more", [[], ["-q"], ["-n1"]], ids=["alone", "quiet", "xdist"])
def test_a_full_disk_costs_a_sentence_for_each_report(tmp_path: Path, more: list[str]) -> None:
    full = tmp_path / "full"
    args = [f"{option}={name}" for option, name in REPORTS.items()]
    done = on_full_disk(full, "--gpuready", "--hosts", READY, *args, *more)
    assert done.returncode == 1, done.stdout + done.stderr
    text = " ".join(done.stdout.split())
    for option, name in REPORTS.items():
        sentence = f"gpuready: the {NAMES[option]} report could not be written to"
        assert text.count(sentence) == 1, option
        assert f"{name}: No space left on device" in text
    assert "is READY" in text
    assert "Traceback" not in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert "Generated html report" not in text


@mounting
@pytest.mark.parametrize("option", REPORTS)
def test_a_full_disk_costs_no_report_elsewhere(run: Pytest, tmp_path: Path, option: str) -> None:
    full = tmp_path / "full"
    args = [f"{one}={full if one == option else run.path}/{name}" for one, name in REPORTS.items()]
    done = on_full_disk(full, "--gpuready", "--hosts", READY, *args)
    assert done.returncode == 1
    assert " ".join(done.stdout.split()).count("could not be written") == 1
    for one, name in REPORTS.items():
        assert (run.path / name).exists() == (one != option)


@mounting
def test_a_full_disk_under_the_steps_summary_leaves_what_was_there(run: Pytest, tmp_path: Path) -> None:
    """The exit status stays; a convenience of the runner's decides about nothing."""
    before = "x" * 4096  # a whole page of the file system
    script = FULL.replace("dd if", f'printf {before} >"$1/summary"; dd if')
    full = tmp_path / "full"
    full.mkdir()
    command = ["sh", str(full), sys.executable, "-m", "pytest", *QUICK, "--gpuready", "--hosts", READY, "-q"]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script.replace("exec", "").rstrip() + "; echo rc $?; cat summary", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GITHUB_STEP_SUMMARY": f"{full}/summary"},
    )
    assert "gpuready: the step summary could not be written: No space left on device" in done.stdout
    assert done.stdout.endswith(f"rc 0\n{before}"), done.stdout[-500:]
    del run


def test_a_steps_summary_that_is_a_link_is_not_followed(
    run: Pytest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, link, fifo = tmp_path / "victim", tmp_path / "link", tmp_path / "fifo"
    victim.write_text("precious", "utf-8")
    link.symlink_to(victim)
    os.mkfifo(fifo)
    for path, why in ((link, "it is a link"), (fifo, "No such device or address")):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
        result = run.suite(hosts=READY)
        assert result.ret == 0
        assert f"the step summary could not be written: {why}" in result.text
    assert victim.read_text("utf-8") == "precious"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/dev/stdout")
    assert "**READY**" in run.suite(hosts=READY).out


def test_snapshots_that_cannot_be_written_are_one_sentence_also_when_quiet(
    run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run did not do what it was asked to: its status is 1, whatever the verdict."""

    def full(path: Path, _: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    facts, _ = read(nodes.containerd.removeprefix("snapshot://"))
    monkeypatch.setattr("pytest_gpuready.runner.gather", lambda *_: facts)
    monkeypatch.setattr("pytest_gpuready.runner.write", full)
    result = run.suite("--gpuready-save=saved", "-q", hosts="local://,chroot:///")
    text = " ".join(result.out.split())
    assert text.count("could not be written to saved: No space left on device") == 1
    assert "gpuready: the snapshot of " in text
    assert " and 1 more could" in text
    assert result.ret == 1


READ_ONLY = """
mount -t tmpfs -o size=1m tmpfs "$1" && mount -o remount,ro "$1" || exit 99
cd "$1"; shift
exec "$@"
"""


@mounting
@pytest.mark.parametrize("more", [[], ["-n1"], ["-W", "error"]], ids=["alone", "xdist", "warnings are errors"])
def test_a_whole_run_in_a_read_only_working_directory(run: Pytest, tmp_path: Path, more: list[str]) -> None:
    """Every report goes elsewhere; pytest's cache has no place, which is no fault."""
    place = tmp_path / "ro"
    place.mkdir()
    command = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(place), sys.executable, "-m", "pytest", *QUICK]
    args = ["--gpuready", "--hosts", READY, *arguments(run.path), *more]
    done = subprocess.run([*command, *args], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    assert all((run.path / name).exists() for name in REPORTS.values())


@mounting
@pytest.mark.parametrize("option", REPORTS)
def test_a_report_in_a_read_only_directory_is_a_sentence_before_anything_runs(tmp_path: Path, option: str) -> None:
    command = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(tmp_path), sys.executable, "-m", "pytest", *QUICK]
    args = ["--gpuready", "--hosts", READY, f"{option}=here"]
    done = subprocess.run([*command, *args], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 4
    assert f"{option} here cannot be written: . is not a directory that may be written to" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_an_error_within_another_plugins_report_costs_that_report_alone(
    run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("_pytest.junitxml.LogXML._get_global_properties_node", lambda _: 1 / 0)
    result = run.suite("--junitxml=out.xml", "--html=out.html", hosts=READY)
    assert result.ret == 1
    text = " ".join(result.out.split())
    assert "the JUnit report could not be written to" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "is READY" in text
    assert (run.path / "out.html").exists()
    assert not (run.path / "out.xml").exists()


def test_without_files_in_memory_a_private_folder_serves(
    run: Pytest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run.suite("--junitxml=out.xml", "--html=out.html", hosts=READY).ret == 0
    assert (run.path / "out.xml").exists()
    assert (run.path / "out.html").exists()
    assert list(tmp_path.iterdir()) == []


def test_without_a_private_file_those_reports_are_lost_in_words(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_gpuready.report_guard._private_file", full)
    result = run.suite("--junitxml=out.xml", "--html=out.html", hosts=READY)
    assert result.ret == 1
    assert result.report is not None
    assert " ".join(result.out.split()).count("could not be written to") == 2
    assert not (run.path / "out.xml").exists()


def test_reports_written_after_each_test_are_private_too(run: Pytest, tmp_path: Path) -> None:
    """pytest-html's `generate_report_on_test` writes its page again and again."""
    run.file("pytest.ini", "[pytest]\ngenerate_report_on_test = true\n")
    victim = tmp_path / "victim"
    victim.write_text("precious", "utf-8")
    (run.path / "out.html").symlink_to(victim)
    assert run.suite("--html=out.html", hosts=READY).ret == 0
    assert victim.read_text("utf-8") == "precious"
    assert not (run.path / "out.html").is_symlink()


def test_a_home_in_the_path_of_a_report_is_read_as_pytest_reads_it(
    run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(run.path))
    monkeypatch.setenv("PLACE", "here")
    assert run.suite("--html=~/$PLACE/a.html", "--junitxml=~/$PLACE/a.xml", hosts=READY).ret == 0
    assert sorted(path.name for path in (run.path / "here").iterdir()) == ["a.html", "a.xml"]


@pytest.mark.parametrize("jump", [-3600, 172_800], ids=["back", "forth"])
def test_a_wall_clock_that_jumps_changes_no_verdict_and_no_duration(
    run: Pytest, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """It is set while nodes are judged. Deadlines and durations are by the monotonic clock."""
    now = time.time

    def judged(*args: Any) -> Any:
        for place in ("time.time", "_pytest.timing.time"):
            monkeypatch.setattr(place, lambda: now() + jump)
        return really(*args)

    really = judge_views
    monkeypatch.setattr("pytest_gpuready.judged.judge_views", judged)
    result = run.suite("--html=out.html", "--junitxml=out.xml", "--gpuready-md=out.md", hosts=READY)
    assert abs(time.time() - now() - jump) < 60
    monkeypatch.undo()
    assert result.ret == 0
    report: dict[str, Any] = result.report or {}
    assert 0 <= report["duration_s"] < 60
    assert all(0 <= node["duration_s"] < 60 for node in report["nodes"])
    page = (run.path / "out.html").read_text("utf-8")
    assert re.search(r"tests? took (?:\d+ ms|00:00:\d\d)\.<", page), re.findall("took.*", page)[:1]
    suite = ET.parse(run.path / "out.xml").getroot().find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    assert 0 <= float(suite.attrib["time"]) < 60
