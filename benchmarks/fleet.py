"""A fleet: what gathering, judging and dead nodes cost beside clush, Ansible, testinfra and empty pytest items.

Run by hand as root on Linux with sshd, from an environment that holds the package, ClusterShell and ansible-core:
``python benchmarks/fleet.py [--nodes 1,10,50,200] [--rtt 0,50] [--runs 3] [--parts gather,plain,judge,dead,cost]``.
It makes the nodes itself (benchmarks/fleet_nodes.py says what they are and are not), and ends them whatever happens.

All tools of a row have the same fan-out, the same ssh_config and the same nodes, and take turns: a machine that is busy
is busy for all. Printed are medians with the least and the most, and ratios of one run. Controller and nodes share
these cores, so a ratio of seconds is one of CPU, mostly; of each tool the CPU of both sides is printed too.

* *gathering*: this suite's Runner without judging, in a Python of its own: every round, all facts. *clush* runs the
  very script of the first round, on standard input, its output into a file.
* *the whole*: `pytest --gpuready`, judged and reported, beside `ansible -m ping` and `-m setup` as they come (with
  their own ControlPersist; masters are ended between runs).
* *testinfra* (part `plain`): the 40 checks of benchmarks/one_node.py on ten nodes, without multiplexing, once per
  round-trip time; for other numbers that is extrapolated.
* *judging*: shipped snapshots under other names (tests/support/fleet.py) beside as many empty items as there are
  findings.
* *dead*: a tenth of the nodes is black-holed; beside the living alone, all tools with the same time to connect.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from fleet_nodes import PLACE, addresses, alone, dead_addresses, end, fleet
from fleet_tools import (
    CLUSH,
    GATHER,
    PING,
    PLAINLY,
    SETUP,
    WHOLE,
    Times,
    Tool,
    Watch,
    once,
    plain,
    program,
    shows,
    tools,
    turns,
)

from pytest_gpuready.runner import default_jobs
from tests.support.fleet import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleet_nodes import Fleet

# ---------------------------------------------------------------------------------------------------- the parts


def gathering(nodes: Fleet, number: int, asked: argparse.Namespace, plainly: Times) -> None:
    """One number of nodes, every tool; `plainly` is what testinfra took for one node, if it was tried."""
    living = addresses(number)
    table = turns(tools(living, [], asked.jobs, 10), asked.runs, nodes)
    if plainly.wall:
        table[PLAINLY] = plainly.of(number)
    print(f"\n{number} nodes, RTT {nodes.rtt} ms, {asked.jobs} at once, {_runs(asked)}")
    show(table)
    line = nodes.line_said()
    if line:
        print(
            f"  the delaying line: {line['cpu']:.1f} s of CPU for {line['packets']:.0f} packets in all these runs, "
            f"{line['cpu'] / sum(sum(one.cpu) + sum(one.nodes) for one in table.values()):.1%} of theirs; later than "
            f"due by {line.get('late', 0):.1f} ms (median), {line.get('late99', 0):.1f} ms (99 %)"
        )
    ratio(table, GATHER, CLUSH, "aim: at most 1.25")
    ratio(table, WHOLE, PING, "aim: below 1")
    ratio(table, WHOLE, SETUP)
    ratio(table, WHOLE, PLAINLY)


def dead(nodes: Fleet, number: int, asked: argparse.Namespace) -> None:
    """A tenth of the nodes drops what comes; beside the living alone."""
    gone = max(1, number // 10)
    living = addresses(number - gone)
    without = turns(tools(living, [], asked.jobs, asked.timeout), asked.runs, nodes)
    table = turns(tools(living, dead_addresses(gone), asked.jobs, asked.timeout), asked.runs, nodes)
    print(
        f"\n{number} nodes of which {gone} are dead, RTT {nodes.rtt} ms, {asked.jobs} at once, {asked.timeout} s to "
        f"connect, {_runs(asked)}; testinfra is not tried: it waits that long at every command"
    )
    show(table)
    for name, times in table.items():
        more = times.median - without[name].median
        aim = "   (aim: at most 1)" if name in (GATHER, WHOLE) else ""
        print(f"  the dead cost {name:32} {more:7.2f} s = {more / asked.timeout:5.2f} deadlines{aim}")
    nodes.line_said()


def judging(number: int, asked: argparse.Namespace) -> None:
    """Snapshots are judged and reported; as many empty items run."""
    folder = PLACE / "snapshots"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    spec = write(folder, number)
    report = PLACE / "judged.json"
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    (PLACE / "snapshot-hosts").write_text(spec.replace("snapshot://", f"snapshot://{folder}/") + "\n")
    ours = Tool(
        "judging and reporting",
        [*pytest, "--gpuready", f"--gpuready-hosts-file={PLACE}/snapshot-hosts", f"--gpuready-json={report}"],
        good=(0, 1),
    )
    once(ours, Times(), None)
    document = json.loads(report.read_text())
    checks = sum(len(node["checks"]) for node in document["nodes"])
    if len(document["nodes"]) != number:
        sys.exit(f"{number} snapshots were written, {len(document['nodes'])} were judged")
    (PLACE / "test_empty.py").write_text(
        f"import pytest\n@pytest.mark.parametrize('number', range({checks}))\ndef test_empty(number): pass\n"
    )
    empty = Tool(
        "empty items",
        [*pytest, "-p", "no:gpuready", "-c", os.devnull, str(PLACE / "test_empty.py")],
        shows=shows(b"%d passed" % checks, 1),
    )
    table = turns([ours, empty], asked.runs)
    print(f"\njudging {number} nodes = {checks} findings, {_runs(asked)}")
    show(table)
    ratio(table, ours.name, empty.name, "aim: at most 1.5")


def cost(nodes: Fleet, number: int, asked: argparse.Namespace) -> None:
    """What each tool takes of the controller, in a run of its own."""
    print(f"\nthe controller's side, {number} nodes, RTT {nodes.rtt} ms, {asked.jobs} at once, one run each")
    print(f"  {'':32} {'CPU':>8} {'memory, sum':>12} {'processes':>10} {'most open files of one':>23}")
    for tool in tools(addresses(number), [], asked.jobs, 10):
        times, watch = Times(), Watch()
        once(tool, times, nodes, watch)
        print(
            f"  {tool.name:32} {times.cpu[0]:6.1f} s {watch.rss_mb:9.0f} MB {watch.processes:10} {watch.most_files:23}"
        )
    nodes.line_said()


def show(table: dict[str, Times]) -> None:
    """The tools' times."""
    print(f"  {'':32} {'seconds':>9} {'least':>8} {'most':>8}   {'CPU here':>9} {'CPU there':>10}")
    for name, times in table.items():
        here, there = statistics.median(times.cpu), statistics.median(times.nodes)
        print(
            f"  {name:32} {times.median:9.2f} {min(times.wall):8.2f} {max(times.wall):8.2f}   {here:9.2f} {there:10.2f}"
        )


def ratio(table: dict[str, Times], one: str, other: str, aim: str = "") -> None:
    """One tool's seconds to another's, and their CPU."""
    if one in table and other in table:
        used = [statistics.median(table[name].cpu) + statistics.median(table[name].nodes) for name in (one, other)]
        print(
            f"  {f'{one} / {other}':66} {table[one].median / table[other].median:6.2f}"
            f"   of CPU {used[0] / used[1]:6.2f}{f'   ({aim})' if aim else ''}"
        )


def _runs(asked: argparse.Namespace) -> str:
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"medians of {asked.runs}, load {load}"


# ---------------------------------------------------------------------------------------------------- the run

PARTS: tuple[str, ...] = ("gather", "plain", "judge", "dead", "cost")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=_numbers, default=[1, 10, 50, 200])
    parser.add_argument("--rtt", type=_numbers, default=[0, 50], help="round-trip times to try, in milliseconds")
    parser.add_argument("--runs", type=int, default=3, help="of each tool, after one that does not count")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="nodes at once, for every tool (%(default)s)")
    parser.add_argument("--timeout", type=int, default=5, help="seconds to connect, where some are dead (%(default)s)")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    asked = parser.parse_args(argv)
    unknown = set(asked.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if "plain" in asked.parts and "gather" not in asked.parts:
        parser.error("plain is set beside what gather measures: name both")
    return asked


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.replace(",", " ").split()]


def main() -> None:
    """Make the fleet, measure, print."""
    asked = arguments(sys.argv[1:])
    # An installed program's modules are compiled once, and not at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    alone()
    try:
        (PLACE / "ansible.cfg").touch()
        for name in ("empty", "home", "cp", "ansible"):
            (PLACE / name).mkdir()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        versions = [shlex.join([*_version(name)]) for name in ("clush", "ansible", "ssh")]
        print(f"{os.cpu_count()} cores, {soft} open files, {'; '.join(filter(None, versions))}")
        for rtt in asked.rtt if {"gather", "dead", "cost"} & set(asked.parts) else ():
            with fleet(max(asked.nodes), rtt) as nodes:
                print(f"\n{nodes.number} nodes up in {nodes.started_s:.1f} s, idle with {nodes.idle_mb:.0f} MB")
                measure(nodes, asked)
        if "judge" in asked.parts:
            for number in asked.nodes:
                judging(number, asked)
    except KeyboardInterrupt:
        print("\ninterrupted: what is not printed was not measured")
        sys.exit(130)
    finally:
        end()


def measure(nodes: Fleet, asked: argparse.Namespace) -> None:
    """All that needs nodes, at one round-trip time."""
    plainly = Times()
    if "plain" in asked.parts:
        once(plain(addresses(min(10, nodes.number))), plainly, nodes)
    nodes.line_said()
    for number in asked.nodes if "gather" in asked.parts else ():
        gathering(nodes, number, asked, plainly)
    if "dead" in asked.parts and nodes.number > 1:
        dead(nodes, nodes.number, asked)
    if "cost" in asked.parts:
        cost(nodes, nodes.number, asked)


def _version(name: str) -> Iterable[str]:
    found = program(name)
    if found:
        done = subprocess.run([found, "-V" if name == "ssh" else "--version"], capture_output=True, check=False)
        yield from (done.stdout + done.stderr).decode().splitlines()[0].split()


if __name__ == "__main__":
    main()
