"""What merging costs: CPU seconds and memory per 1,000 nodes, from 500 to 5,000 simulated snapshots.

Run by hand: ``python benchmarks/merge.py [--nodes 500,1000,2500,5000] [--jobs N]``. Snapshots are shipped ones under
other names, with GPUs, versions and faults of their own (tests/support/fleet.py); all forms of report are written. The
peers, in the same run: json.load of the same files with an empty pytest item for each node, and with one for each
finding (those of 100 nodes, multiplied). Seconds are of CPU, all processes together, since the clock of a shared
machine says little; memory is the peak of the process that merges, and of the largest of those that judge.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pytest_gpuready.checks.catalogue import suite
from tests.support.fleet import write

ROOT = Path(__file__).parents[1]

#: Runs the command in a process of its own, and says what that took.
_DRIVER = """\
import json, resource, sys
from pytest_gpuready.__main__ import main
if __name__ == "__main__":
    rc = main(sys.argv[2:])
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    used = {"cpu": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime, "own": own.ru_maxrss / 1024,
            "cpu_own": own.ru_utime + own.ru_stime, "others": others.ru_maxrss / 1024, "rc": rc}
    open(sys.argv[1], "w").write(json.dumps(used))
"""


def merge(work: Path, folder: Path, *options: str) -> dict[str, float]:
    """Seconds and MiB of one merge."""
    driver, told = work / "driver.py", work / "used.json"
    driver.write_text(_DRIVER, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(driver), str(told), "merge", str(folder), *options]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, check=False)
    wall = time.monotonic() - begun
    if done.returncode:
        sys.exit(done.stdout.decode() + done.stderr.decode())
    used: dict[str, float] = {**json.loads(told.read_text("utf-8")), "wall": wall}
    assert used["rc"] == 1, "some of the fleet is broken"
    return used


def loaded(folder: Path) -> float:
    """CPU seconds of json.load of the same files, and of reading them."""
    begun = time.process_time()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            json.load(stream)
    return time.process_time() - begun


def items(work: Path, number: int) -> float:
    """CPU seconds of a pytest run over so many empty tests."""
    test = work / "test_empty.py"
    test.write_text(
        f"import pytest\n@pytest.mark.parametrize('n', range({number}))\ndef test_nothing(n):\n    pass\n", "utf-8"
    )
    plain = ["-p", "no:cacheprovider", "-p", "no:gpuready", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plain, str(test)], cwd=work, capture_output=True, check=False
    )
    after = os.times()
    if done.returncode:
        sys.exit(done.stdout.decode() + done.stderr.decode())
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="500,1000,2500,5000")
    parser.add_argument("--jobs", default=str(os.cpu_count() or 1))
    asked = parser.parse_args()
    forms = {"JSON": "o.json", "Markdown": "o.md", "HTML": "o.html"}
    options = [f"--gpuready-json={forms['JSON']}", f"--gpuready-md={forms['Markdown']}", f"--html={forms['HTML']}"]
    checks = len(suite(live=False))
    for number in (int(one) for one in asked.nodes.split(",")):
        with tempfile.TemporaryDirectory(prefix="merge-") as name:
            work = Path(name)
            folder = work / "results"
            folder.mkdir()
            write(folder, number)
            used = merge(work, folder, "--gpuready-jobs", asked.jobs, *options)
            read = loaded(folder)
            nodes, findings = read + items(work, number), read + items(work, 100 * checks) * number / 100
            per = 1000 / number
            sizes = ", ".join(f"{form} {(work / path).stat().st_size / 1e6:.2f} MB" for form, path in forms.items())
            print(
                f"{number:5} nodes: per 1,000 {used['cpu'] * per:5.1f} s of CPU, {used['cpu_own'] * per:4.1f} of them "
                f"in the merging process, {used['own'] * per:5.1f} MiB\n"
                f"       whole: {used['wall']:.0f} s, {used['own']:.0f} MiB, a judge {used['others']:.0f} MiB; "
                f"{sizes}\n"
                f"       {used['cpu'] / nodes:5.2f} x json.load and an empty item per node, "
                f"{used['cpu'] / findings:5.2f} x json.load and an empty item per finding",
                flush=True,
            )


if __name__ == "__main__":
    main()
