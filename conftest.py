"""Choose the tests of a run: the first lane, the lab lane, everything, or one shard of these."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]

settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("large", max_examples=400, deadline=None)
settings.load_profile("quick")  # --hypothesis-profile names another

#: Tests of nodes and of real GPUs: in the first lane they are not even imported.
LAB_PLACES = tuple(Path(__file__).parent / "tests" / name for name in ("lab", "gpu"))
#: A test that asks for one of these needs a daemon, a node or another user.
LAB_FIXTURES = {"sshd", "salt_master", "start_containerd", "lab", "plain_user"}
#: More workers than this spend their time on collecting.
MOST_WORKERS = 8


def shard(text: str) -> tuple[int, int]:
    """Parse ``K/N``: shard K of N, counted from 1."""
    number, _, count = text.partition("/")
    if number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise argparse.ArgumentTypeError(f"{text!r}: expected K/N, for example 2/6")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose a lane."""
    group = parser.getgroup("lanes", "lanes of this project's tests (neither --lab nor --all: the first lane)")
    group.addoption("--lab", action="store_true", help="run the lab lane: daemons, sshd, nodes; root on Debian")
    group.addoption("--all", action="store_true", help="run the tests of all lanes, the slow ones too")
    group.addoption("--shard", type=shard, metavar="K/N", help="run shard K of N, a part of each test module")
    parser.addoption("--update-cases", action="store_true", help="write the expected files of tests' cases anew")


def lane(config: pytest.Config) -> str:
    """Return the lane that the command line asks for."""
    return "all" if config.getoption("all") else "lab" if config.getoption("lab") else "first"


def named(config: pytest.Config) -> set[Path]:
    """Return the files that the command line names: their tests run, whatever their lane."""
    paths = {config.invocation_params.dir / argument.split("::")[0] for argument in config.args}
    return {path.resolve() for path in paths if path.is_file()}


def lacks_reference(item: pytest.Item) -> bool:
    """Return whether a test reads reference data that is not on this machine."""
    mark = item.get_closest_marker("reference")
    return mark is not None and not mark.args[0]


def lane_of(item: pytest.Item) -> str:
    """Return the lane that a test belongs to."""
    if item.get_closest_marker("slow"):
        return "all"
    return "lab" if item.get_closest_marker("lab") else "first"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole first lane in parallel, unless the command line says otherwise.

    pytest-cov looks for ``-n`` before this runs: with ``--cov`` it must be given.
    """
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and lane(config) == "first"
    distributes = config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput")
    measures = bool(config.getoption("cov_source", None))
    if whole and distributes and not measures and config.option.numprocesses is None:
        config.option.numprocesses = "auto"
        config.option.maxprocesses = config.option.maxprocesses or MOST_WORKERS
        config.option.dist = "worksteal"


def pytest_report_header(config: pytest.Config) -> str:
    """Name the lane."""
    part = config.getoption("shard")
    return f"lane: {lane(config)}" + (f", shard {part[0]} of {part[1]}" if part else "")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the modules of nodes and GPUs alone in the first lane: their import takes seconds."""
    placed = any(collection_path.is_relative_to(place) for place in LAB_PLACES)
    if lane(config) == "first" and placed:
        return not any(path.is_relative_to(collection_path) for path in named(config)) or None
    return None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what belongs to the lab lane by its place, by the daemon that it starts, or by a fixture that does so.

    What needs neither a node nor a GPU runs for every change.
    """
    fixtures = LAB_FIXTURES.intersection(getattr(item, "fixturenames", ()))
    placed = any(item.path.is_relative_to(place) for place in LAB_PLACES)
    if fixtures or placed or item.get_closest_marker("daemon"):
        item.add_marker("lab")
    if not placed and lane_of(item) == "lab":
        item.add_marker("ci")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test of the lab lane on a machine that lacks what its marker names."""
    needs = [need for mark in item.iter_markers("lab") for need in mark.args]
    if missing := [need for need in needs if not is_here(need)]:
        pytest.skip(f"lacks {', '.join(dict.fromkeys(missing))}")


def is_here(need: str) -> bool:
    """Return whether this machine has a program or a Python module, or this process the rights of root."""
    if need == "root":
        return os.geteuid() == 0
    places = (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", str(Path(sys.executable).parent))
    return shutil.which(need, path=os.pathsep.join(places)) is not None or importlib.util.find_spec(need) is not None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of other lanes and shards, and those without their reference data."""
    wanted, files = lane(config), named(config)
    kept = [item for item in items if wanted in ("all", lane_of(item)) or item.path in files]
    kept = [item for item in kept if not lacks_reference(item)]
    if part := config.getoption("shard"):
        kept = list(of_shard(kept, *part))
    if left_out := set(items).difference(kept):
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = kept


def of_shard(items: list[pytest.Item], number: int, count: int) -> Iterator[pytest.Item]:
    """Yield a connected part of each module: tests that share a node stay together, and modules are spread evenly."""
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    for turn, tests in enumerate(modules.values()):
        for place, item in enumerate(tests):
            if (place * count // len(tests) + turn) % count == number - 1:
                yield item
