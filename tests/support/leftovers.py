"""What a machine has of containers: taken before and after, so that what a run left behind is the difference.

And many live runs in a row, some of them killed at a random moment, for that comparison.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    #: Runs a script as root there, and returns what it printed.
    Run = Callable[[str], str]

_STATE = r"""
for space in $(ctr namespaces ls -q); do
  echo "namespace $space"
  for what in containers tasks images leases content; do
    ctr -n "$space" $what ls -q | sed "s|^|$space $what |"
  done
  ctr -n "$space" snapshots ls | sed -n "2,\$s|^\([^ ]*\).*|$space snapshot \1|p"
done
sed 's/^[^ ]* \([^ ]*\) .*/mount \1/' /proc/self/mounts
find /sys/fs/cgroup -type d \( -name '*gpuready-*' -o -path '*/k8s.io/*' \) | grep -v gpuready-lab | sed 's/^/group /'
ls -d /run/gpuready-* /tmp/gpuready-* /run/containerd/io.containerd.*/*/* /run/containerd/fifo/* \
  /run/containerd/*/gpuready-* /var/lib/containerd/*/gpuready-* 2>/dev/null |
  grep -v 'gpuready-lab' | sed 's/^/path /'
find /var/lib/containerd -type f ! -name '*.db' | wc -l | sed 's/^/files below containerd /'
for pid in /proc/[0-9]*; do
  tr '\0' ' ' <"$pid/cmdline" 2>/dev/null | cut -c1-4000 |
    grep -oE 'gpuready-[0-9a-f]{12}|containerd-shim[^ ]*|runc --[^ ]*' | head -n 1 | sed "s|^|process |"
done
true
"""

#: The guard of a live run, anywhere on the machine.
_GUARD = (
    "for pid in /proc/[0-9]*; do tr '\\0' ' ' <$pid/cmdline 2>/dev/null | grep -qE 'gpuready-[0-9a-f]{12}' && "
    "echo $pid; done; true"
)


def state(run: Run) -> set[str]:
    """Every container, task, snapshot, image, lease, blob, mount, control group, folder and process, a line each.

    The databases' files are left out: they keep the size that they once had.
    """
    return set(run(_STATE).splitlines())


def size(run: Run) -> int:
    """Kilobytes below /var/lib/containerd."""
    return int(run("du -sk /var/lib/containerd").split()[0])


def settled(run: Run, seconds: float = 120) -> bool:
    """Wait until no guard runs any more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not run(_GUARD).strip():
            return True
        time.sleep(0.3)
    return False


@dataclass
class Soak:
    """What many runs came to: how many ended by themselves, which were ready, how the others were ended."""

    ready: int = 0
    ended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def soak(arguments: Sequence[str], run: Run, *, runs: int, kills: int, folder: Path, seed: int, longest: float) -> Soak:
    """`runs` live runs in a row, `kills` of them ended by a signal within `longest` seconds of their beginning.

    After each that was ended, the node must be as it was before, once its guard is gone.
    """
    chance = random.Random(seed)  # noqa: S311 - moments, no secrets
    doomed = set(chance.sample(range(runs), kills))
    before = state(run)
    done = Soak()
    for number in range(runs):
        begun = time.monotonic()
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--gpuready", "--gpuready-live", *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                start_new_session=True,
            )
            if number in doomed:
                how = chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
                time.sleep(chance.uniform(0.1, longest))
                whole = chance.random() < 0.5
                (os.killpg if whole else os.kill)(process.pid, how)
                done.ended.append(f"{how.name}{' to all' if whole else ''} after {time.monotonic() - begun:.1f} s")
            code = process.wait()
        if number not in doomed:
            done.seconds.append(time.monotonic() - begun)
            done.ready += code == 0
        else:
            assert settled(run), "a guard is still there"
            extra = state(run) - before
            done.left += [f"{done.ended[-1]}: {line}" for line in sorted(extra)]
    return done
