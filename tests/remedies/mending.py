"""Doing what the findings say until a node's files have the handler, or a finding says why no edit is proposed."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from tests.support.containerd import programs
from tests.support.shell import apply
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding

#: The checks between a file and a handler, in the order in which they need each other.
CHECKS = ("containerd.config-loads", "containerd.cri-enabled", "containerd.handler")
_FRESH = "containerd config default | "


@dataclass
class Mended:
    """How it went: `edited`, `begun anew` (from containerd's default), or `told` (a sentence and no edit)."""

    how: str
    files: dict[str, bytes]
    steps: list[Finding] = field(default_factory=list)

    @property
    def words(self) -> str:
        """What the last finding says is to be done."""
        remedy = self.steps[-1].outcome.remedy if self.steps else None
        return remedy.summary if remedy is not None else ""


def first_failure(version: str, files: dict[str, bytes], explicit: str | None) -> Finding | None:
    """The first of the checks that fails, on a simulated node with these files."""
    node = programs(SimNode(), version)
    node.unit("containerd.service", Id="containerd.service", MainPID="900")
    args = ["/usr/bin/containerd", *(["--config", explicit] if explicit else [])]
    node.process(Proc(900, "containerd", args, "/usr/bin/containerd"))
    for path, data in files.items():
        node.put(path, data)
    wanted = {name: check for name, check in catalogue().items() if check.family in ("node", "containerd")}
    findings = judge(node.facts(), Settings(), checks=wanted).findings
    return next((findings[name] for name in CHECKS if findings[name].status in ("fail", "unknown")), None)


def mend(version: str, files: dict[str, bytes], explicit: str | None, default: bytes) -> Mended:
    """Type what is printed, for real, by sh in a folder; `default` is what `containerd config default` prints."""
    done = Mended("edited", dict(files))
    while len(done.steps) < 6:
        finding = first_failure(version, done.files, explicit)
        if finding is None:
            return done
        done.steps.append(finding)
        remedy = finding.outcome.remedy
        assert remedy is not None, finding
        assert len(remedy.summary) > 20, remedy
        if any(command.startswith(_FRESH) for command in remedy.commands):
            done.how = "begun anew"
            path = explicit or "/etc/containerd/config.toml"
            if path in done.files:
                done.files[f"{path}.broken"] = done.files[path]
            done.files[path] = default
        elif remedy.edits:
            with tempfile.TemporaryDirectory() as place:
                done.files = apply(remedy.commands, done.files, Path(place) / "root", "sed")
        else:
            assert re.search(r"by hand|[Pp]ut right|refuses", remedy.summary), remedy
            done.how = "told"
            return done
    raise AssertionError([(one.check.id, one.outcome.found, one.outcome.remedy) for one in done.steps])
