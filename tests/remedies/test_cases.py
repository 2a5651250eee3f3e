"""Remedies for containerd's files, a folder of `cases` each: what is printed, and what the files are after it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.containerd.toml import loads
from tests.support.containerd import simulated
from tests.support.remedies import as_text
from tests.support.shell import SEDS, apply

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.model import Remedy
    from pytest_gpuready.report.model import NodeReport

FOLDER = Path(__file__).parent / "cases"
CONFIGURATION = "/etc/containerd/"


@dataclass(frozen=True)
class Case:
    """A folder of `cases`; the folder above it names the check."""

    folder: Path

    @cached_property
    def settings(self) -> dict[str, str]:
        """`node.toml`."""
        return dict(loads((self.folder / "node.toml").read_bytes()).root)

    @property
    def check(self) -> str:
        """The check that fails."""
        return self.folder.parent.name

    def tree(self, name: str) -> dict[str, bytes]:
        """Return the files of `before` or `after` by their paths on the node."""
        folder = self.folder / name
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {f"{CONFIGURATION}{path.relative_to(folder)}": path.read_bytes() for path in files}

    def write(self, name: str, files: dict[str, bytes]) -> None:
        """Write `before` or `after` anew."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        for path, data in files.items():
            place = folder / path.removeprefix(CONFIGURATION)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def judge(self, files: dict[str, bytes]) -> NodeReport:
        """Judge a node with these files."""
        return simulated(self.settings["containerd"], files).judge()

    @property
    def remedy(self) -> Remedy:
        """The remedy for the node as it is in `before`."""
        found = self.judge(self.tree("before")).findings[self.check].outcome.remedy
        assert found is not None
        return found


CASES = [Case(path.parent) for path in sorted(FOLDER.glob("containerd.*/*/node.toml"))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}/{case.folder.name}")
def test_remedy_of_a_case(
    case: Case, expect: Callable[[Path, str], None], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It reads as expected, its commands make the files after it with each sed, and the check passes then."""
    remedy, before = case.remedy, case.tree("before")
    expect(case.folder / "expected.txt", as_text(remedy))
    if request.config.getoption("update_cases"):
        case.write("after", apply(remedy.commands, before, tmp_path, SEDS[0]))
    after = case.tree("after")
    for sed in SEDS:
        assert apply(remedy.commands, before, tmp_path, sed) == after, sed
    # Every file that changes is shown, with its change where it stays.
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {edit.path for edit in remedy.edits} == {path for path in changed if not path.endswith(".disabled")}
    for edit in remedy.edits:
        assert edit.path not in after or any(line[:1] in "+-" for line in edit.diff.splitlines()[2:])
    loaded = load(MemoryFiles(after), case.settings["containerd"])
    assert loaded.loads
    assert loaded.cri_enabled == (case.settings.get("next") != "containerd.cri-enabled")
    still = case.settings.get("next") == case.check
    assert case.judge(after).findings[case.check].status == ("fail" if still else "pass")
