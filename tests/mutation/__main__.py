"""`python -m tests.mutation [--family F] [--jobs N] [--only PATTERN]`: which changes of our code no fact test notices.

Prints every mutant that lives, and how many there are. What each test runs, and which test noticed a mutant last, is
kept below --keep: a later run is faster, and `--again` tries only those that lived.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.code import ROOT
from tests.mutation.engine import FACT_TESTS, Engine, family, mutants, timed
from tests.mutation.equivalent import reason


def main() -> int:
    """Run, print, and exit with 1 if anything lived that is not known to be the same program."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--family", action="append", metavar="F", help="a family of checks, routes, judge, remedies …")
    parser.add_argument("--only", metavar="PATTERN", help="a regular expression that the mutant's words match")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at a time (default: 1)")
    parser.add_argument("--again", action="store_true", help="only those that were not killed by the last run")
    parser.add_argument("--tests", action="append", metavar="PATH", help="only these tests (default: the fact tests)")
    parser.add_argument("--list", action="store_true", help="say which mutants there are, and run none")
    parser.add_argument("--most", type=float, default=600, metavar="S", help="seconds of tests for a mutant, at most")
    parser.add_argument("--keep", type=Path, default=ROOT / ".mutation", help="folder for what a later run uses")
    asked = parser.parse_args()
    last = asked.keep / "results.jsonl"
    before = kept(last)
    wanted = [
        mutant
        for mutant in mutants()
        if (not asked.family or family(mutant) in asked.family)
        and (not asked.only or re.search(asked.only, mutant.id))
        and not (asked.again and before.get(mutant.id, {}).get("state") == "killed")
    ]
    if asked.list:
        print("\n".join(mutant.id for mutant in wanted))
        print(f"{len(wanted)} mutants")
        return 0
    equal = {mutant.id: why for mutant in wanted if (why := reason(mutant.id))}
    engine = Engine(
        [mutant for mutant in wanted if mutant.id not in equal],
        asked.keep,
        asked.jobs,
        asked.most,
        {name: result["by"] for name, result in before.items() if result["by"]},
    )
    since = timed()
    tests = [str(ROOT / name) for name in asked.tests or FACT_TESTS]
    quiet = ["-s", "-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", str(ROOT)]
    words = [*tests, *quiet, "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main(words, plugins=[engine])
    states = Counter(result.state for result in engine.results)
    print(
        f"{len(wanted)} mutants: {states['killed']} killed, {len(equal)} the same program, "
        f"{states['survived']} survived, {states['unreached']} unreached, {states['idle']} idle; {since():.0f} s"
    )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and not engine.results:
        print(f"pytest ended with {code}: run it on {' '.join(tests)}")
        return 2
    return 1 if states["survived"] or states["unreached"] else 0


def kept(last: Path) -> dict[str, dict[str, str]]:
    """What became of each mutant when it was last run."""
    lines = last.read_text().splitlines() if last.exists() else []
    return {result["mutant"]: result for result in map(json.loads, lines)}


if __name__ == "__main__":
    sys.exit(main())
