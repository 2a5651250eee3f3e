"""What a report costs: its size, how long it takes to make beside the run, and how long a browser takes to draw it.

Run by hand, with the extra `test` and Chromium: ``python benchmarks/report.py [--nodes 1000]``. Nodes are shipped
snapshots under other names (tests/support/fleet.py). It prints figures of one run: seconds of CPU, and of the clock for
drawing; they belong to the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import expand, parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.report import html, markdown
from pytest_gpuready.report.json import dumps
from pytest_gpuready.runner import Runner
from tests.support.fleet import write


def suite(hosts: str, page: Path, folder: Path) -> float:
    """Seconds of CPU that `pytest --gpuready --html` takes."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("GITHUB_STEP_SUMMARY", None)
    begun = _cpu()
    command = [sys.executable, "-m", "pytest", "--gpuready", f"--hosts={hosts}", f"--html={page}", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=folder, env=environment, capture_output=True, check=False
    )
    if done.returncode != 1:
        sys.exit(done.stdout.decode() + done.stderr.decode())
    return _cpu() - begun


def _cpu() -> float:
    """Seconds of CPU that this process and its children have used: a shared machine's clock says little."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def rendered(specs: list[str], folder: Path) -> dict[str, float]:
    """Seconds of CPU of judging, and of each renderer, in this process."""
    os.chdir(folder)
    begun = _cpu()
    run = Runner([parse(spec) for spec in specs], Settings(), Options()).run()
    times = {"judging": _cpu() - begun}
    for name, render in (("HTML", html.render), ("Markdown", markdown.dumps), ("JSON", dumps)):
        begun = _cpu()
        size = len(render(run).encode("utf-8", "replace"))
        times[f"{name} ({size / 1000:.0f} kB)"] = _cpu() - begun
    return times


def drawn(page: Path) -> float:
    """Seconds from opening the file until the browser has drawn it and its scripts are done."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not everybody has it

    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        visit = browser.new_page(viewport={"width": 1280, "height": 800})
        best = float("inf")
        for _ in range(3):
            begun = time.perf_counter()
            visit.goto(page.as_uri(), wait_until="load")
            visit.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            best = min(best, time.perf_counter() - begun)
        browser.close()
    return best


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    number = parser.parse_args().nodes
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for name in ("not-restarted", "wrong-table", "h200"):
            page = folder / f"{name}.html"
            suite(f"snapshot://{name}", page, folder)
            print(f"one node, {name}: {page.stat().st_size / 1000:.0f} kB   (aim: below 150)", flush=True)
        hosts = write(folder, number)
        specs = expand(hosts)
        times = rendered(specs, folder)
        page = folder / "fleet.html"
        whole = suite(hosts, page, folder)
        size = page.stat().st_size / 1e6
        print(f"{number} nodes: {size:.2f} MB (aim: below 5), drawn in {drawn(page):.2f} s (aim: within 2)")
        print(f"  pytest --gpuready --html  {whole:8.2f} s")
        for what, seconds in times.items():
            print(f"  {what:26}{seconds:8.2f} s  {seconds / whole:6.1%} of the run")


if __name__ == "__main__":
    main()
