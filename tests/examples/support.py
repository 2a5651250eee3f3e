"""Programs in the place of those that are not here, on a PATH of the test's own; tests say what theirs cannot show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

#: A pytest that brings in the shipped snapshot of the kind that the file `kinds/NODE` names, and ends as pytest would.
#: It takes the same options as the real one, and refuses others.
PYTEST = f"""\
#!{sys.executable}
import argparse, json, os, subprocess, sys, time
from pathlib import Path
made = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--gpuready", "-q"):
    made.add_argument(flag, action="store_true")
for option in ("-p", "--gpuready-save", "--gpuready-json", "--gpuready-timeout", "--gpuready-routes", "--hosts"):
    made.add_argument(option)
asked = made.parse_args()
assert asked.gpuready
node = os.environ["SLURMD_NODENAME"]
kind = (Path(os.environ["KINDS"]) / node).read_text().strip()
if kind == "dead":
    sys.exit(137)
if kind == "slow":
    time.sleep(60)
from tests.merge.support import snapshot
from tests.support.fleet import SHIPPED
host = (asked.hosts or "local").replace("local://", "local")
place = Path(asked.gpuready_save or os.environ["TMPDIR"]) / "local.json"
snapshot(place, kind, node=host, hostname=node, gpus=f"{{abs(hash(node)) % 2**32:08x}}")
merge = [sys.executable, "-m", "pytest_gpuready", "merge", "-q", str(place)]
if asked.gpuready_json:
    merge += ["--gpuready-json", asked.gpuready_json]
sys.exit(subprocess.run(merge).returncode)
"""


def program(folder: Path, name: str, text: str) -> Path:
    """A program in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


def kinds(folder: Path, **nodes: str) -> Path:
    """What each node is like."""
    folder.mkdir(parents=True, exist_ok=True)
    for node, kind in nodes.items():
        (folder / node).write_text(kind, "utf-8")
    return folder


def run(
    *argv: object, bins: Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program with the stand-ins first on its PATH."""
    root = Path(__file__).parents[2]
    return subprocess.run(
        [str(part) for part in argv],
        cwd=cwd,
        env={
            "PATH": f"{bins}:{os.environ['PATH']}",
            "PYTHONPATH": str(root),
            "TMPDIR": str(cwd),
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
