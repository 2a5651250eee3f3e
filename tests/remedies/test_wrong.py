"""Wrong configurations on simulated nodes: found with the place, and what is printed, typed by sh, mends the files.

As the loader reads them, for the releases that no daemon on this machine may be of; test_on_real_daemons asks daemons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from tests.remedies import wrong
from tests.support.containerd import simulated
from tests.support.shell import SEDS, apply

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.report.model import Finding
    from tests.remedies.wrong import Wrong

RELEASES = {"1.6": "1.6.20", "1.7": "1.7.24", "2.1": "2.1.9", "2.3": "2.3.4"}
FRESH = "containerd config default | "


def matrix() -> list[Any]:
    """Each kind on the newest release on which it is one, and on the oldest."""
    return [
        pytest.param(release, case, id=f"{release}-{case.kind}")
        for case in wrong.CASES
        if not case.kubelet and "program" not in case.kind
        for release in sorted({case.releases[0], case.releases[-1]})
    ]


def root(release: str, files: dict[str, str], case: Wrong) -> Finding | None:
    report = simulated(release, files).judge(case.settings)
    checked = [f for f in report.roots if f.check.family == "containerd" or f.check.id == "cdi.enabled"]
    return next((f for f in checked if f.keeps and f.status == "fail" and f.check.id != "containerd.running"), None)


@pytest.mark.parametrize(("release", "case"), matrix())
def test_what_is_typed_mends_every_kind(release: str, case: Wrong, tmp_path: Path) -> None:
    version, files = RELEASES[release], case.files(wrong.native(release))
    seen: list[str] = []
    while (finding := root(version, files, case)) is not None and len(seen) < 4:
        outcome = finding.outcome
        if not seen and case.at:
            assert outcome.where is not None
            assert case.at in files[outcome.where.path].split("\n")[(outcome.where.line or 1) - 1], outcome
        assert outcome.remedy is not None
        seen.append(finding.check.id.removeprefix("containerd."))
        if any(command.startswith(FRESH) for command in outcome.remedy.commands):
            files = {**files, wrong.CONFIG: f"version = {wrong.native(release)}\n"}
            continue
        assert outcome.remedy.edits, outcome.remedy
        raw = {path: text.encode() for path, text in files.items()}
        done = apply(outcome.remedy.commands, raw, tmp_path, SEDS[len(case.kind) % len(SEDS)])
        files = {path: data.decode() for path, data in done.items()}
    assert tuple(seen) == case.roots, finding
    loaded = load(MemoryFiles({path: text.encode() for path, text in files.items()}), version)
    assert loaded.cri_enabled
    assert loaded.handlers["nvidia"].binary_name == wrong.RUNTIME
