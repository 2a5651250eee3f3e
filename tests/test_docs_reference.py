"""docs/options.md and docs/json-keys.md: what the parser takes and what reports hold."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import testinfra.plugin

from pytest_gpuready import docs_reference, plugin
from pytest_gpuready.docs_reference import json_keys_page, keys, options, options_page, schema
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import SCHEMES, SpecError, keys_of, parse
from pytest_gpuready.node.snapshot import read, shipped
from pytest_gpuready.report.json import render
from pytest_gpuready.report.model import Run
from tests.support.schema import compared, faults, sample


def test_the_page_has_every_option_of_pytests_own_help(pytester: pytest.Pytester) -> None:
    """With the same words."""
    out = " ".join(
        pytester.runpytest_inprocess("--help", "-p", "no:cov", "-p", "no:hypothesispytest").stdout.str().split()
    )
    text = options_page()
    for name, words in options().options:
        assert name in out
        assert words["help"] in out
        assert f"`{name}" in text
    assert set(re.findall(r"--gpuready[\w-]*", out)) <= set(re.findall(r"--gpuready[\w-]*", text))


def test_every_ini_key_stands_beside_its_option() -> None:
    text = options_page()
    for name, _ in plugin.INI:
        assert re.search(rf"^\| `--{name.replace('_', '-')} [^|]*\| [^|]+ \| `{name}` \|$", text, re.MULTILINE)


def test_testinfras_options_are_its_own() -> None:
    """None that it does not have."""
    found = docs_reference._Options()
    testinfra.plugin.pytest_addoption(found)
    assert {*docs_reference._THEIRS} <= {name for name, _ in found.options}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_keys_of_a_spec_are_those_that_it_takes(scheme: str) -> None:
    place = {"local": "", "chroot": "/x", "snapshot": "x"}.get(scheme, "name")
    taken = []
    for key in {
        *keys_of("ssh"),
        *keys_of("kubectl"),
        *keys_of("ansible"),
        "no",
    }:
        try:
            if parse(f"{scheme}://{place}?{key}=1").options:
                taken.append(key)
        except SpecError:  # noqa: PERF203 - one key at a time is what is asked
            continue
    assert sorted(taken) == sorted(keys_of(scheme))
    row = next(line for line in options_page().splitlines() if line.startswith(f"| `{scheme}://` |"))
    assert all(f"`{key}`" in row for key in taken)


@pytest.mark.parametrize(
    ("code", "args"),
    [(0, ["--hosts=snapshot://ready"]), (1, ["--hosts=snapshot://wrong-table"]), (4, ["--hosts=nothing"])],
)
def test_exit_codes_are_those_of_the_page(pytester: pytest.Pytester, code: int, args: list[str]) -> None:
    done = pytester.runpytest_inprocess("--gpuready", "-p", "no:cov", "-p", "no:hypothesispytest", *args)
    assert done.ret == code
    assert re.search(rf"^\| {code} \| ", options_page(), re.MULTILINE)


def held(value: Any, path: str = "") -> set[str]:
    """The keys of a report, as the page writes them."""
    found: set[str] = set()
    if isinstance(value, list):
        for one in value:
            found |= held(one, f"{path}[]")
    elif isinstance(value, dict):
        for key, one in value.items():
            name = "NAME" if path.endswith("].routes") else key
            place = f"{path}.{name}" if path else name
            found |= ({place} if name != "NAME" else set()) | held(one, place)
    return found


def test_every_key_of_a_report_is_on_the_page_and_no_other() -> None:
    shown = {path for path, _, _ in keys(schema(), schema(), "")}
    there = held(json.loads(json.dumps(sample()))) | held(json.loads(json.dumps(compared())))
    assert there - shown - {"nodes[].inventory.kernel"} == set()
    assert shown - there <= {
        path for path in shown if ".remedy.edits[]" in path or ".where." in path or "waived" in path
    }
    text = json_keys_page()
    assert all(f"| `{path}` | " in text for path in shown)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_the_report_on_a_shipped_snapshot_fits_the_schema(name: str) -> None:
    report = judge(read(name)[0], Settings())
    assert faults(json.loads(json.dumps(render(Run((report,), "2026-11-22T09:00:00Z", 0.1, "x"))))) == []
