"""Who finds a broken node, and who says why: this suite beside the doctors that people have.

Run by hand, as root, from the root of the repository: ``python -m benchmarks.diagnosis [--generation G] [--only REGEX]
[--jobs N]``. It boots the lab's nodes (tests/lab), causes every fault of tests/lab/faults, and asks each doctor; then
it asks them about every kind of healthy node. Printed are, over all of them, in one run:

* recall: of the broken nodes, the share that the doctor calls broken;
* precision: of the nodes that it calls broken, the share that is;
* cause accuracy: of the broken nodes, the share for which it names the cause and nothing else (only this suite does);
* mended share: of the faults that commands can mend, the share that the printed commands do mend, with a container run.

A fault that keeps every doctor out of the node (`node.reachable`, `node.privileges`) is left out of the comparison.
The doctors are written here as people use them; none is made worse. What they do not look at is their finding.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.lab import base, healthy, image
from tests.lab.faults import GENERATIONS, Fault, cases
from tests.lab.healthy import KINDS
from tests.lab.judging import counted, judged
from tests.lab.node import Node
from tests.lab.trial import cause, look, prepare, trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.healthy import Kind

OURS = "pytest --gpuready"

#: gpud's components/containerd/component.go, asked once (`gpud scan`): not installed is healthy; a socket that is not
#: there is healthy until the fifth look; a CRI that is switched off is healthy; then the service must be active. The
#: text search for NVIDIA's runtime runs only where a pod of the GPU operator's toolkit is ready, which none of these
#: nodes has. An error of CRI other than "unimplemented" is unhealthy.
GPUD = r"""
command -v containerd >/dev/null || exit 0
[ -S /run/containerd/containerd.sock ] || exit 0
socket=/run/containerd/containerd.sock
answer=$(printf '\000\000\000\000\000' | curl -sS -m 5 --http2-prior-knowledge --unix-socket $socket -X POST \
    http://localhost/runtime.v1.RuntimeService/Version -H 'content-type: application/grpc' -H 'te: trailers' \
    --data-binary @- -D - -o /dev/null | tr -d '\r' | sed -n 's/^grpc-status: //p')
case $answer in 0 | 12) ;; *) exit 1 ;; esac
systemctl -q is-active containerd
"""

#: Doctors as people have them: a command on the node that ends with 0 where all is well.
DOCTORS: dict[str, str] = {
    "grep nvidia config.toml": "grep -q nvidia /etc/containerd/config.toml",
    "ctr run --gpus": f"ctr run --rm --gpus 0 {image.NAME} doctor-$$ nvidia-smi",
    "nvidia-smi": "nvidia-smi",
    "gpud (containerd)": GPUD,
    "nvidia-ctk cdi list": "nvidia-ctk cdi list",
}


@dataclass
class Score:
    """What a doctor said of broken and of healthy nodes."""

    found: int = 0
    missed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def add(self, name: str, *, broken: bool, called_broken: bool) -> None:
        """Count one node."""
        if broken:
            self.found += called_broken
            if not called_broken:
                self.missed.append(name)
        elif called_broken:
            self.alarms.append(name)

    def row(self, broken: int) -> str:
        """Recall and precision, as shares."""
        called = self.found + len(self.alarms)
        return f"{_share(self.found, broken)} {_share(self.found, called)}"


@dataclass
class Tally:
    """All that was counted."""

    scores: dict[str, Score] = field(default_factory=lambda: {name: Score() for name in (OURS, *DOCTORS)})
    broken: int = 0
    exact: int = 0
    mendable: int = 0
    mended: int = 0
    lines: list[str] = field(default_factory=list)


def ask(node: Node) -> dict[str, bool]:
    """What each doctor says: True where it calls the node broken, or does not end. nvidia-smi, which mends, is last."""
    said: dict[str, bool] = {}
    order = sorted(DOCTORS, key=["gpud (containerd)", "grep nvidia config.toml", "nvidia-ctk cdi list"].__contains__)
    for name in reversed(order):
        command = f"timeout -k 5 40 sh -c '{DOCTORS[name].replace(chr(39), _QUOTE)}' >/dev/null 2>&1"
        done = node.run(command, timeout=60)
        said[name] = done.returncode != 0
    return said


_QUOTE = "'\\''"


def one_fault(node: Node, fault: Fault, tally: Tally) -> None:
    """Cause a fault, ask everybody; cause it anew, and type what is printed."""
    name = f"{fault.name} {node.generation}"
    prepare(node, fault)
    cause(node, fault)
    report = look(node, fault)
    doctors = {} if {"node.reachable", "node.privileges"} & set(fault.roots) else ask(node)
    node.reset()
    seen = trial(node, fault)
    if doctors:
        tally.broken += 1
        tally.exact += set(counted(report)) == set(fault.roots)
        for doctor, called in {OURS: report.verdict != "ready", **doctors}.items():
            tally.scores[doctor].add(name, broken=True, called_broken=called)
    if not fault.person:
        tally.mendable += 1
        tally.mended += seen.mended
    mended = "a person's" if fault.person else "mended" if seen.mended else "NOT MENDED"
    found = "found" if seen.seen else "NOT FOUND"
    tally.lines.append(
        f"{fault.name:44} {node.generation:4} {found:9} {'exact' if seen.exact else 'NOT EXACT':9} {mended}"
    )


def one_kind(node: Node, kind: Kind, tally: Tally) -> None:
    """Ask everybody about a healthy node."""
    kind.prepare(node)
    healthy.prove(node, kind)
    routes = kind.routes if kind.asked else ()
    spec = node.ssh_spec.replace("root@", f"{kind.user}@")
    from pytest_gpuready.model import Settings  # noqa: PLC0415 - beside its use

    settings = Settings(routes=routes, socket=kind.socket if kind.told else None)
    report = judged(node, spec=spec, settings=settings, sudo=kind.user != "root")
    for doctor, called in {OURS: report.verdict != "ready", **ask(node)}.items():
        tally.scores[doctor].add(f"{kind.name} {node.generation}", broken=False, called_broken=called)


def main(argv: list[str] | None = None) -> int:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generation", action="append", choices=GENERATIONS, help="of containerd; default: all")
    parser.add_argument("--only", default="", metavar="REGEX", help="faults and kinds whose name it finds")
    parser.add_argument("--jobs", type=int, default=2, help="nodes at once")
    options = parser.parse_args(argv)
    if reason := base.why_not():
        sys.stderr.write(f"{reason}\n")
        return 1
    wanted = options.generation or list(GENERATIONS)
    tally = Tally()
    work: list[tuple[str, str, Callable[[Node], None]]] = [
        (fault.name, generation, partial(one_fault, fault=fault, tally=tally))
        for fault, generation in cases()
        if generation in wanted and re.search(options.only, fault.name)
    ]
    work += [
        (kind.name, generation, partial(one_kind, kind=kind, tally=tally))
        for kind in KINDS.values()
        for generation in kind.generations
        if generation in wanted and kind.distribution == "debian" and re.search(options.only, kind.name)
    ]
    started = time.monotonic()
    faulty = len([name for name, _, _ in work if name not in KINDS])

    def share(number: int) -> None:
        for name, generation, job in sorted(work[number :: options.jobs], key=lambda one: one[1]):
            with Node(generation) as node:
                try:
                    job(node)
                except Exception as error:  # noqa: BLE001 - one that could not be tried is said, and is not counted
                    tally.lines.append(f"{name} {generation}: not tried: {str(error)[:200]}")

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(share, range(options.jobs)))
    print(f"{faulty} faults on nodes, {len(work) - faulty} healthy nodes, {time.monotonic() - started:.0f} s\n")
    print("\n".join(sorted(tally.lines)))
    print(f"\n{'doctor':26} recall precision cause mended")
    for name, score in tally.scores.items():
        tail = (
            f"{_share(tally.exact, tally.broken)} {_share(tally.mended, tally.mendable)}"
            if name == OURS
            else "    -     -"
        )
        print(f"{name:26} {score.row(tally.broken)}     {tail}")
    for name, score in tally.scores.items():
        print(f"\n{name}: missed {len(score.missed)}, false alarms {len(score.alarms)}")
        if name == OURS:
            print("\n".join([*score.missed, *score.alarms]))
    return 0


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:5.1f}" if whole else "    -"


if __name__ == "__main__":
    raise SystemExit(main())
