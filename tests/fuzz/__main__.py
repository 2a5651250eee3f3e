"""`python -m tests.fuzz [SECONDS]`: every parser under mutated and random input, for as long as is said.

Prints a line per target: examples, those that its reader refused in words, and what went wrong. What goes wrong is
written below --keep to be run again by `python -m tests.fuzz --again FILE --target NAME`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.engine import Trouble, once, session
from tests.fuzz.targets import targets


def main() -> int:
    """Run, print, and exit with 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("seconds", nargs="?", type=float, default=60.0, help="for all targets together (default: 60)")
    parser.add_argument("--target", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: by the clock)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"), help="folder for what went wrong")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run the bytes of a file through the target once")
    asked = parser.parse_args()
    known = {target.name: target for target in targets()}
    strange = [name for name in asked.target or () if name not in known]
    if strange:
        parser.error(f"{', '.join(strange)}: no such target; there are {', '.join(known)}")
    chosen = [known[name] for name in asked.target or known]
    if asked.again is not None:
        found = [trouble for target in chosen if (trouble := once(target, asked.again.read_bytes())[0])]
        for trouble in found:
            print(trouble.text)
        return 1 if found else 0
    seed = int(time.time()) if asked.seed is None else asked.seed
    print(f"{len(chosen)} targets, {asked.seconds:g} s in all, seed {seed}")
    wrong: list[Trouble] = []
    total = 0
    share = asked.seconds / sum(target.weight for target in chosen)
    for target in chosen:
        result = session(target, seed, seconds=share * target.weight)
        total += result.examples
        print(
            f"{target.name:24} {result.examples:9} examples, {result.refused:9} refused in words, "
            f"slowest {result.slowest * 1000:6.0f} ms, {len(result.troubles)} went wrong",
            flush=True,
        )
        wrong += result.troubles
    for trouble in wrong:
        asked.keep.mkdir(parents=True, exist_ok=True)
        path = asked.keep / f"{trouble.target}-{trouble.number}"
        path.write_bytes(trouble.data)
        print(f"\n{path} ({len(trouble.data)} bytes)\n{trouble.text}")
    print(f"{total} examples; {len(wrong)} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
