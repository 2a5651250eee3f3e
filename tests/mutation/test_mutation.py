"""The mutation run itself, on a few lines and a few mutants: places are found, changed, and the change is noticed."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.model import Settings
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views import Views
from tests.mutation import code, data
from tests.mutation.engine import family, mutants
from tests.support import nodes

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''
def check(a: int, b: int) -> object:
    """Say it."""
    if a > 1 and b:
        return passed("yes")
    names = [name for name in ("x", "y") if name != a]
    return failed("no", expected=a == b, remedy=Remedy("do", (f"{a}", "b")))
'''


def changed(mutant: code.CodeMutant) -> str:
    node = ast.parse(SOURCE).body[0]
    assert isinstance(node, ast.FunctionDef)
    code.change(node, mutant)
    return ast.unparse(ast.fix_missing_locations(node))


@pytest.mark.parametrize(
    ("what", "becomes"),
    [
        ("if a > 1 and b → if True", "if True:"),
        ("if a > 1 and b → if False", "if False:"),
        ("and: b dropped", "if a > 1 and True:"),
        ("passed('yes') → fail", "return passed('yes').but(status='fail')"),
        ("'x' dropped from ('x', 'y')", "for name in ('y',) if"),
        ("for … if name != a → all", "for name in ('x', 'y') if True]"),
        ("a == b inverted", "expected=a != b"),
        (": no remedy", "remedy=None)"),
        ("Remedy: no commands", "Remedy('do', ())"),
        ("'b' dropped from (f'{a}', 'b')", "Remedy('do', (f'{a}',))"),
    ],
)
def test_each_kind_of_place_is_found_and_changed_once(what: str, becomes: str) -> None:
    found = [mutant for mutant in code.mutants_of(SOURCE, "checks/x.py") if mutant.what.endswith(what)]
    assert len(found) == 1
    assert becomes in changed(found[0])


def test_where_a_branch_goes_is_told_so_that_only_tests_that_take_the_other_run() -> None:
    true, false = [mutant for mutant in code.mutants_of(SOURCE, "checks/x.py") if mutant.what.startswith("if ")]
    assert (true.lines, true.unless, false.unless_not) == ((4, 4), 5, 5)


def test_every_mutant_has_a_name_of_its_own_family_and_all_kinds_are_there() -> None:
    every = list(mutants())
    assert {mutant.kind for mutant in every if isinstance(mutant, data.DataMutant)} == {
        "answer",
        "need",
        "route",
        "remedy",
    }
    assert {"node", "driver", "toolkit", "containerd", "cdi", "kubernetes", "routes", "judge", "remedies"} <= {
        family(mutant) for mutant in every
    }


def test_a_needed_or_required_check_is_dropped_from_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue(), "containerd.ctr", dataclasses.replace(catalogue()["containerd.ctr"]))
    monkeypatch.setitem(ROUTES, "cri-cdi", ROUTES["cri-cdi"])
    differs: list[bool] = []
    data.apply(data.DataMutant("need", "containerd.ctr", "containerd.installed"), lambda: differs.append(True))
    assert catalogue()["containerd.ctr"].needs == ("node.reachable",)
    data.apply(data.DataMutant("route", "cri-cdi", "cdi.enabled"), lambda: differs.append(True))
    assert "cdi.enabled" not in ROUTES["cri-cdi"].requires(Views(nodes.ready().facts(), Settings()))
    assert len(differs) == 2


@pytest.mark.slow
def test_a_run_kills_what_the_tests_notice_and_names_what_they_do_not(tmp_path: Path) -> None:
    words = ["--only", "^need node.|_ssh_words: if", "--tests", "tests/remedies/test_node.py", "--keep", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutation", *words], check=False, capture_output=True, text=True, cwd=code.ROOT
    )
    assert run.returncode == 1
    assert "unreached need node.selinux: node.reachable" in run.stdout
    assert "4 mutants: 2 killed, 0 the same program, 0 survived, 2 unreached, 0 idle" in run.stdout
