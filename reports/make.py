"""Make the samples of this folder from the shipped snapshots: ``python reports/make.py``.

A healthy node, a broken one and a fleet of 200 (the shipped nodes under other names, tests/support/fleet.py) as HTML,
and the other forms.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.support.fleet import write  # noqa: E402 - it is found by the line above

#: Lines of pytest's that name this machine's places.
_PLACES = ("rootdir:", "plugins:", "platform ", "-----")

#: Arguments that do not belong to what a sample is to show.
QUIET = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:cov")


def suite(folder: Path, *args: str) -> str:
    """Run the suite in a folder; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "COLUMNS": "80", "PYTEST_ADDOPTS": " ".join(QUIET)}
    environment.pop("GITHUB_STEP_SUMMARY", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--gpuready", *args],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def main() -> None:
    """All samples, in a folder of their own first, so that no path of this machine is in them."""
    with tempfile.TemporaryDirectory(prefix="samples-") as name:
        work = Path(name)
        hosts = write(work, 200)
        suite(work, "--hosts=snapshot://ready", "--html=ready.html")
        suite(work, "--hosts=snapshot://not-restarted", "--html=broken.html", "--gpuready-md=broken.md")
        suite(work, f"--hosts={hosts}", "--html=fleet.html", "--gpuready-md=fleet.md")
        both = "--hosts=snapshot://not-restarted,snapshot://ready"
        text = suite(work, both, "--gpuready-json=sample.json", "--junitxml=sample.xml")
        lines = [line for line in text.splitlines() if not line.startswith(_PLACES)]
        (work / "sample.txt").write_text("\n".join(lines) + "\n", "utf-8")
        for made in ("ready.html", "broken.html", "fleet.html", "broken.md", "fleet.md", "sample.json", "sample.xml"):
            (HERE / made).write_text((work / made).read_text("utf-8"), "utf-8")
        (HERE / "sample.txt").write_text((work / "sample.txt").read_text("utf-8"), "utf-8")


if __name__ == "__main__":
    main()
