"""`pytest --gpuready` is exactly the suite, with the same findings, in any directory and whatever its ini file says."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.checks.catalogue import suite
from tests.plugin.conftest import Result, exactly_the_suite

if TYPE_CHECKING:
    from tests.plugin.conftest import Pytest

HOSTILE = """
import pathlib
raise RuntimeError("the conftest was loaded")
"""


def test_an_empty_directory(run: Pytest, plain: dict[str, Any]) -> None:
    """Every check of the catalogue is an item, and there is no other."""
    result = run.suite("-v")
    exactly_the_suite(result, plain)
    shown = {line.partition(" ")[0] for line in result.lines("gpuready/")}
    assert len(shown) == len(suite(live=False))
    assert f"collected {len(suite(live=False))} items" in result.out


def test_the_root_directory(run: Pytest, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    exactly_the_suite(run.suite("-p", "no:cacheprovider"), plain)


CONFTESTS = {
    "raises": HOSTILE,
    "autouse skip": "import pytest\n@pytest.fixture(autouse=True)\ndef no():\n    pytest.skip('not here')\n",
    "fake host": "import pytest\n@pytest.fixture\ndef host():\n    return object()\n",
    "monkeypatching": "import subprocess\nimport pytest_gpuready.judge as j\nj.judge = None\nsubprocess.Popen = None\n",
    "drops items": "def pytest_collection_modifyitems(items):\n    items.clear()\n",
}


@pytest.mark.parametrize("conftest", CONFTESTS)
def test_a_directory_with_a_conftest_of_any_kind(run: Pytest, plain: dict[str, Any], conftest: str) -> None:
    """With no path of the user's no conftest is loaded."""
    run.file("conftest.py", CONFTESTS[conftest])
    run.file("test_theirs.py", "def test_theirs():\n    assert False\n")
    result = run.suite()
    exactly_the_suite(result, plain)
    assert "test_theirs" not in result.text


@pytest.mark.parametrize(
    "ini",
    [
        "testpaths = tests",
        "addopts = -k nothing",
        "addopts = -m nothing",
        "addopts = --import-mode=importlib --strict-markers --strict-config",
        "addopts = -x",
        "addopts = -n 2",
        "addopts = tests -v",
        "addopts = -p no:cacheprovider",
        "addopts = --tb=no -q",
        "addopts = -W error",
        "addopts = --doctest-modules --ignore=gpuready --deselect=gpuready/node.py",
        "python_files = check_*.py\npython_functions = check_*\npython_classes = Check*",
        "filterwarnings = error",
        "usefixtures = no_such_fixture",
        "xfail_strict = true\nnorecursedirs = *",
    ],
    ids=lambda ini: ini.partition("\n")[0].replace(" ", ""),
)
def test_an_ini_file_changes_no_finding(run: Pytest, plain: dict[str, Any], ini: str) -> None:
    run.file("pytest.ini", f"[pytest]\n{ini}\n")
    run.file("tests/test_theirs.py", HOSTILE)
    exactly_the_suite(run.suite(), plain)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "-k nothing"\ngpuready_routes = ["ctr-gpus"]\n'),
        ("tox.ini", "[pytest]\naddopts = -k nothing\ngpuready_routes = ctr-gpus\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -k nothing\ngpuready_routes = ctr-gpus\n"),
        pytest.param(
            "pytest.toml",
            '[pytest]\naddopts = ["-k", "nothing"]\ngpuready_routes = ["ctr-gpus"]\ngpuready_timeout = 60\n',
            marks=pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="pytest.toml came with pytest 9"),
        ),
    ],
)
def test_the_keys_of_any_ini_file_are_read_and_named(run: Pytest, plain: dict[str, Any], name: str, text: str) -> None:
    """Only keys of ours change what is required, and the report names the file."""
    run.file(name, text)
    result = run.suite()
    assert result.report is not None
    required = result.report["nodes"][0]["required_routes"]
    because = f"gpuready_routes = ctr-gpus in {run.path / name}"
    assert required == {"names": ["ctr-gpus"], "mode": "every", "because": because}
    assert f"gpuready_routes = ctr-gpus in {run.path / name}" in result.out.replace("\n", " ") or name in result.out
    assert result.ret == 1
    (node,) = result.judged.values()
    (reference,) = plain.values()
    assert node["checks"].keys() == reference["checks"].keys()


def test_a_package_above_and_another_rootdir(
    run: Pytest, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.file("__init__.py", HOSTILE)
    run.file("below/__init__.py", HOSTILE)
    monkeypatch.chdir(run.path / "below")
    exactly_the_suite(run.suite(f"--rootdir={tempfile.gettempdir()}"), plain)


def test_a_cache_that_cannot_be_written_is_no_fault(run: Pytest, plain: dict[str, Any]) -> None:
    """Not even where warnings are errors: a file stands where the cache's folder should be."""
    run.file(".pytest_cache", "")
    result = run.suite("-W", "error")
    exactly_the_suite(result, plain)
    assert "PytestCacheWarning" not in result.text


@pytest.mark.lab("root", "setpriv")
def test_a_read_only_directory(run: Pytest, plain: dict[str, Any]) -> None:
    """Somebody who may not write there has the same findings and no warning, under -W error too."""
    run.path.chmod(0o555)
    rights = "-dac_override,-dac_read_search,-fowner"
    suite = ["--gpuready", f"--hosts={run.spec}", f"--gpuready-json={run.json}", "-W", "error", "-p", "no:randomly"]
    done = subprocess.run(
        ["setpriv", f"--bounding-set={rights}", sys.executable, "-m", "pytest", *suite],
        capture_output=True,
        text=True,
        check=False,
    )
    run.path.chmod(0o755)
    exactly_the_suite(Result(done.returncode, done.stdout, done.stderr, json.loads(run.json.read_text("utf-8"))), plain)
    assert "Warning" not in done.stdout + done.stderr
    assert not list(run.path.iterdir())


@pytest.mark.parametrize(
    ("variables", "args"),
    [({"PYTHONOPTIMIZE": "1"}, ["--assert=plain"]), ({"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"}, [])],
    ids=["O", "OO"],
)
def test_python_without_assertions(
    run: Pytest, plain: dict[str, Any], variables: dict[str, str], args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No verdict hangs on an assert statement or a docstring."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    exactly_the_suite(run.suite(*args, process=True), plain)


def test_plugins_loaded_by_name_only(run: Pytest, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    exactly_the_suite(run.suite("-p", "testinfra.plugin", "-p", "pytest_gpuready.plugin"), plain)
