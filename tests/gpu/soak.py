"""Many live runs on this machine, some killed: ``python -m tests.gpu.soak RUNS KILLS SEED FOLDER [ARGUMENT…]``.

It prints what was left behind, and fails if anything was.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from tests.support.leftovers import settled, size, soak, state


def run(script: str) -> str:
    """Run a script here."""
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, errors="replace").stdout


def main(argv: list[str]) -> int:
    """The runs, and their figures."""
    runs, kills, seed, folder = int(argv[0]), int(argv[1]), int(argv[2]), Path(argv[3])
    arguments = ["--gpuready-routes", "ctr-cdi,cri-cdi", *argv[4:]]
    folder.mkdir(parents=True, exist_ok=True)
    soak(
        arguments, run, runs=1, kills=0, folder=folder, seed=0, longest=1
    )  # what stays from a first run, such as pages
    before, kilobytes = state(run), size(run)
    done = soak(arguments, run, runs=runs, kills=kills, folder=folder, seed=seed, longest=4)
    assert settled(run)
    extra = sorted(state(run) - before)
    lines = [
        f"{runs} runs, {kills} killed: {done.ready} of {runs - kills} others ready",
        f"median {statistics.median(done.seconds):.2f} s",
        f"/var/lib/containerd: {kilobytes} KB before, {size(run)} KB after",
        f"left right after a kill: {done.left or 'nothing'}",
        f"left at the end: {extra or 'nothing'}",
        f"ended: {', '.join(done.ended)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if extra or done.left or done.ready != runs - kills else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
