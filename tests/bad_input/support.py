"""A run as a user types it, over a node in some mess and a healthy one beside it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bad_input.rows import Row

#: What changes from one run to the next by itself.
_PASSING = re.compile(r"\b\d+(?:\.\d+)? s\b|pid \d+")


@dataclass
class Result:
    """What a run left: its exit code, what it printed, its nodes by label."""

    code: int
    out: str
    document: dict[str, Any]

    def node(self, label: str) -> dict[str, Any]:
        """One node of the JSON report."""
        return next(node for node in self.document["nodes"] if node["node"] == label)


def suite(folder: Path, hosts: str, *arguments: str, timeout: float = 300) -> Result:
    """`pytest --gpuready` in an empty folder. Nothing that it prints is a traceback or an error of ours."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--gpuready",
        f"--gpuready-json={report}",
        f"--hosts={hosts}",
        *arguments,
    ]
    # Nobody is there to type a password, and a terminal that could be asked is not ours to give.
    done = subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
    )
    out = (done.stdout + done.stderr).decode("utf-8")
    for word in ("Traceback", "INTERNALERROR", "itself failed", "error of pytest-gpuready"):
        assert word not in out, out
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", out.replace("\x1b[", "")), out
    return Result(done.returncode, out, json.loads(report.read_text("utf-8")) if report.is_file() else {})


def findings(node: dict[str, Any]) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Status, words (without what passes with time) and what blocks it, by check."""
    return {
        check["check"]: (check["status"], _PASSING.sub("…", check["found"] or ""), tuple(check["blocked_by"]))
        for check in node["checks"]
    }


def assert_says(node: dict[str, Any], row: Row, out: str) -> None:
    """The row's check is a root with the row's status and sentence, there is advice, and the terminal shows it."""
    roots = {root["check"]: root for root in node["root_causes"]}
    assert row.check in roots, {name: root["found"] for name, root in roots.items()}
    root = roots[row.check]
    assert (root["status"], bool(row.pattern.fullmatch(root["found"]))) == (row.status, True), root["found"]
    assert row.check in out
    if row.advised:
        assert root["remedy"]["summary"], root
