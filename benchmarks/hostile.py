"""What hostile nodes cost: CPU seconds and memory of each input of tests/support/hostile.py, and of a fleet with one.

Run by hand: ``python benchmarks/hostile.py [--only WORD] [--fleet]``. Every input is judged at its size (where it once
took minutes), at a half and at a quarter of it, from a snapshot, in a process of its own: printed are the seconds for
reading the snapshot and for judging it, the peak of memory, and the ratio to half the size.
The fleet is 20 snapshots of the ready node in one run of
pytest, with and without one hostile node in the place of one of them: the ratio is that of wall clocks of pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pytest_gpuready.node.snapshot import dumps
from tests.support import nodes
from tests.support.hostile import CASES

ROOT = Path(__file__).parents[1]
META = {"generator": "benchmark", "taken": "2026-11-22T09:00:00Z"}
#: Inputs of the fleet: cheap and dear ones.
FLEET = ("handlers", "drop-ins", "few drop-ins", "imports of each other", "a CDI spec", "escapes")

_ONE = """\
import json, resource, sys, time
from pytest_gpuready.judged import judged
from pytest_gpuready.model import Settings
from pytest_gpuready.node import snapshot
from pytest_gpuready.views import Views
begun = time.process_time()
try:
    facts, _ = snapshot.read(sys.argv[1])
except snapshot.SnapshotError as error:
    verdict, read = "refused", time.process_time() - begun
    used = 0.0
else:
    read = time.process_time() - begun
    begun = time.process_time()
    list(Views(facts).wants())
    verdict = judged(facts, Settings()).verdict
    used = time.process_time() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"read": read, "judge": used, "peak": peak, "verdict": verdict}))
"""


def judge(path: Path) -> dict[str, float | str]:
    """What reading and judging a snapshot takes in a process of its own."""
    command = [sys.executable, "-c", _ONE, str(path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def write(path: Path, name: str | None, size: int | None = None) -> Path:
    """A snapshot of the ready node, or of one with this input."""
    facts = CASES[name].facts(size) if name else nodes.ready().facts()
    path.write_text(dumps(facts, META), "utf-8")
    return path


def inputs(work: Path, only: str) -> None:
    """Every input at three sizes."""
    sys.stdout.write(f"{'input':24}{'size':>9}{'MB':>7}{'read s':>8}{'judge s':>9}{'MiB':>6}{'ratio':>7}  verdict\n")
    for name, case in CASES.items():
        if only not in name:
            continue
        before = 0.0
        for size in (case.size // 4, case.size // 2, case.size):
            path = write(work / "n.json", name, size)
            used = judge(path)
            total = float(used["read"]) + float(used["judge"])
            ratio = f"{total / before:7.2f}" if before else " " * 7
            before = total
            sys.stdout.write(
                f"{name:24}{size:9}{path.stat().st_size / 1e6:7.1f}{used['read']:8.2f}{used['judge']:9.2f}"
                f"{used['peak']:6.0f}{ratio}  {used['verdict']}\n"
            )
            sys.stdout.flush()


def run(paths: list[Path], work: Path) -> float:
    """Seconds of one run of pytest over these snapshots."""
    hosts = ",".join(f"snapshot://{path}" for path in paths)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--gpuready", f"--hosts={hosts}"]
    begun = time.monotonic()
    subprocess.run(command, cwd=work, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    return time.monotonic() - begun


def fleet(work: Path, pairs: int) -> None:
    """20 nodes with one hostile among them, against 20 ready ones."""
    ready = [write(work / f"ready{number}.json", None) for number in range(20)]
    for name in FLEET:
        hostile = write(work / "hostile.json", name)
        ratios = [run([*ready[:10], hostile, *ready[11:]], work) / run(ready, work) for _ in range(pairs)]
        sys.stdout.write(f"fleet of 20 with {name:24} {statistics.median(ratios):5.2f} times as long as without\n")
        sys.stdout.flush()


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="inputs with this word in their name")
    parser.add_argument("--fleet", action="store_true", help="only the fleet")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs of the fleet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if not options.fleet:
            inputs(Path(name), options.only)
        if not options.only:
            fleet(Path(name), options.pairs)


if __name__ == "__main__":
    main()
