"""The plugin is loaded in every pytest run of its environment: unused, it costs nothing and changes nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Pytest

FIXTURES = (
    "cdi", "containerd_config", "containerd_live", "ctr", "driver", "kubernetes", "node", "nvml", "platform", "toolkit",
)  # fmt: skip


def test_nothing_heavy_is_imported(run: Pytest) -> None:
    """Of this package the plugin and its fixtures, of others what they import themselves."""
    run.file(
        "test_theirs.py",
        "import sys\n"
        "def test_modules():\n"
        "    ours = {name for name in sys.modules if name.startswith('pytest_gpuready')}\n"
        "    assert ours == {'pytest_gpuready', 'pytest_gpuready.plugin', 'pytest_gpuready.fixtures'}\n"
        "    assert not {'tomlkit', 'pynvml', 'yaml', 'concurrent.futures.thread'} & set(sys.modules)\n",
    )
    result = run.raw("-p", "no:cov", "-p", "no:xdist", "-p", "no:hypothesispytest", process=True)
    assert "1 passed" in result.out
    assert result.ret == 0


def test_the_plugin_imports_nothing_of_the_views(run: Pytest) -> None:
    """Fixtures are declared for views that are imported when a test asks for one."""
    code = (
        "import sys, pytest_gpuready.plugin as p; print(sorted(m for m in sys.modules if m.startswith('pytest_gpu')))"
    )
    done = run.pytester.run(sys.executable, "-c", code)
    assert done.outlines == ["['pytest_gpuready', 'pytest_gpuready.fixtures', 'pytest_gpuready.plugin']"]


def test_options_are_one_group_of_the_help(run: Pytest) -> None:
    out = run.raw("--help").out
    assert "can these nodes run NVIDIA GPU containers on containerd?" in out
    for option in (
        "--gpuready-hosts-file=FILE",
        "--gpuready-routes=LIST",
        "--gpuready-json=PATH",
        "gpuready_routes (string)",
    ):
        assert option in out


def test_fixtures_have_their_page(run: Pytest) -> None:
    out = run.raw("--fixtures").out
    for name in FIXTURES:
        assert f"{name} [module scope]" in out
    assert "no docstring available" not in out.partition("fixtures defined from pytest_gpuready")[2].partition("---")[0]


def test_the_marker_is_registered(run: Pytest) -> None:
    assert "@pytest.mark.gpuready(id, needs)" in run.raw("--markers").out
    assert run.raw("--markers", "--strict-markers", "--gpuready").ret == 0


def test_other_runs_are_as_they_were(run: Pytest) -> None:
    """Without --gpuready a marked test is an ordinary test, and no node is asked."""
    run.file("test_theirs.py", "import pytest\n@pytest.mark.gpuready(id='site.x')\ndef test_one():\n    pass\n")
    result = run.raw("--strict-markers", "-p", "no:randomly")
    assert result.ret == 0
    assert "gpuready:" not in result.out.replace("plugins: ", "")
    assert "test_theirs.py .  " in result.out
    assert "test_theirs.py::test_one" in run.raw("--co", "-q").out
    assert result.report is None


@pytest.mark.parametrize("option", ["--gpuready-list", "--gpuready-explain=containerd.handler"])
def test_pages_are_printed_and_end_the_run(run: Pytest, option: str) -> None:
    result = run.raw(option)
    assert result.ret == 0
    assert "containerd.handler" in result.out
    assert "test session starts" not in result.out


def test_an_unknown_check_is_explained_in_one_sentence(run: Pytest) -> None:
    result = run.raw("--gpuready-explain", "containerd.handlr")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: there is no check 'containerd.handlr'; did you mean containerd.handler" in result.err


def test_the_suite_needs_testinfra(run: Pytest) -> None:
    result = run.raw("--gpuready", "-p", "no:pytest11.testinfra")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--gpuready needs pytest-testinfra's plugin" in result.err
