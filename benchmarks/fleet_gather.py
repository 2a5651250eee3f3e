"""Gathering alone, for benchmarks/fleet.py: the suite's own runner without judging, in a Python that loads no more.

``fleet_gather.py JOBS SSH_CONFIG SPECS`` prints how many nodes answered, and why the others did not.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import REACH, Facts
from pytest_gpuready.node.hosts import parse_all
from pytest_gpuready.node.transport import Options
from pytest_gpuready.report.model import NodeReport
from pytest_gpuready.routes import Required
from pytest_gpuready.runner import Runner


class Gathering(Runner):
    """With gathering as its only work."""

    def _report(self, facts: Facts) -> NodeReport:
        return NodeReport(facts, Required((), ""), {}, {}, "unknown")


def main() -> None:
    """Gather."""
    jobs, config, specs = sys.argv[1:]
    run = Gathering(parse_all([specs]), Settings(), Options(config), jobs=int(jobs)).run()
    missing = [f"{node.node}: {node.reason or node.facts.peek(REACH)}" for node in run.nodes if not node.reached]
    print("\n".join([*missing, f"gathered {len(run.nodes) - len(missing)}"]))


if __name__ == "__main__":
    main()
