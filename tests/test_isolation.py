"""The subcommands import nothing from the working directory, whatever Python module a file there is named after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gpuready.node.snapshot import SHIPPED

PYTHON = [sys.executable, "-W", "error"]
#: What Python has loaded by the time that it looks for the module of `-m`; pytest_gpuready cannot be before it.
FIRST = "import runpy, sys; print(*sys.modules)"

COMMANDS = {
    "usage": ("pytest_gpuready", "--help"),
    "merge": ("pytest_gpuready", "merge", "one", "--gpuready-json", "out.json"),
    "merge in processes": ("pytest_gpuready", "merge", "many", "--gpuready-json", "out.json"),
    "containerd": ("pytest_gpuready.containerd", "--root", "root", "--version", "2.1"),
    "sudoers": ("pytest_gpuready.sudoers", "admin"),
    "docs": ("pytest_gpuready.docs", "docs"),
}


def python(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    # Python that measures coverage imports modules of its own, before and after ours.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    return subprocess.run(
        [*PYTHON, *arguments],
        env={**environment, **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def hostile(folder: Path) -> None:
    """Every module of the standard library that Python has not loaded itself, and two that are installed."""
    loaded = set(python("-I", "-c", FIRST).stdout.split())
    for name in {*sys.stdlib_module_names, "yaml", "tomlkit"} - loaded:
        (folder / f"{name}.py").write_text(f"open('HOSTILE', 'a').write('{name} ')\nraise SystemExit(77)\n", "utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with such modules, and what the commands read."""
    hostile(tmp_path)
    for kind, number in (("one", 1), ("many", 40)):
        (tmp_path / kind).mkdir()
        for at in range(number):
            document = json.loads((SHIPPED / "ready.json").read_text("utf-8"))
            (tmp_path / kind / f"{at}.json").write_text(json.dumps({**document, "node": f"gpu{at}"}), "utf-8")
    (tmp_path / "root").mkdir()
    shutil.copytree(Path(__file__).parents[1] / "docs", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_subcommand_imports_nothing_from_the_working_directory(folder: Path, name: str) -> None:
    done = python("-m", *COMMANDS[name])
    assert not (folder / "HOSTILE").exists(), (folder / "HOSTILE").read_text("utf-8")
    assert done.returncode == 0, done.stderr
    if name.startswith("merge"):
        nodes = json.loads((folder / "out.json").read_text("utf-8"))["nodes"]
        assert {node["verdict"] for node in nodes} == {"ready"}


def test_the_modules_would_be_imported(folder: Path) -> None:
    """That the test above can fail: the same folder, by Python's own rules."""
    assert python("-m", "json.tool", "one/0.json").returncode == 77
    assert (folder / "HOSTILE").exists()


def test_a_path_that_the_user_gives_stays(folder: Path) -> None:
    """PYTHONPATH is the user's own, also where it names the working directory; -P puts nothing there to take off."""
    for flags in ([], ["-P"] if sys.version_info >= (3, 11) else []):
        assert python(*flags, "-m", "pytest_gpuready", "--help", PYTHONPATH=str(folder)).returncode == 77


def test_the_folder_of_the_package_itself_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(__file__).parents[1] / "pytest_gpuready", tmp_path / "pytest_gpuready")
    monkeypatch.chdir(tmp_path)
    shown = "import os; from pytest_gpuready import merge; open('WHERE', 'w').write(os.path.dirname(merge.__file__))"
    (tmp_path / "pytest_gpuready" / "where.py").write_text(shown, "utf-8")
    assert python("-m", "pytest_gpuready.where").returncode == 0
    assert (tmp_path / "WHERE").read_text("utf-8") == str(tmp_path / "pytest_gpuready" / "merge")


def test_a_working_directory_that_is_gone_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = python("-m", "pytest_gpuready", "--help")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("start", [(), ("-m", "pytest")], ids=["pytest", "python -m pytest"])
def test_the_safe_way_to_run_reads_nothing_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: tuple[str, ...]
) -> None:
    """As docs/security.md prints it; for `python -m pytest` no module of Python is shadowed here."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p evil --markers\npythonpath = .\n", "utf-8")
    for name in ("evil.py", "conftest.py"):
        (tmp_path / name).write_text("open('HOSTILE', 'a').write('x')\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text("utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("pytest -c")]
    program = list(start) or [str(Path(sys.executable).with_name("pytest"))]
    done = python(*program, *line.split()[1:], "--hosts", "snapshot://ready")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gpuready: snapshot://ready is READY" in done.stdout
    assert not (tmp_path / "HOSTILE").exists()
    assert not (tmp_path / ".pytest_cache").exists()
    assert not Path("/.pytest_cache").exists()
