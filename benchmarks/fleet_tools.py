"""The tools that benchmarks/fleet.py sets side by side, and the measuring of one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from fleet_nodes import ALONE, PLACE
from one_node import PLAIN

from pytest_gpuready.node.facts import Facts
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.script import render
from pytest_gpuready.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleet_nodes import Fleet


NONCE = "f" * 24
GATHERER = Path(__file__).with_name("fleet_gather.py")
GATHER, WHOLE, CLUSH, PING, SETUP, PLAINLY = (
    "gathering",
    "the whole: pytest --gpuready",
    "clush, the same script",
    "ansible -m ping",
    "ansible -m setup",
    "testinfra, 40 checks (from 10)",
)


@dataclass
class Tool:
    """A command to measure: exit codes that are good, and what its output must show so that nothing was skipped."""

    name: str
    argv: list[str]
    good: tuple[int, ...] = (0,)
    stdin: Path | None = None
    shows: Callable[[bytes], bool] = lambda _: True
    #: What its seconds are to be multiplied by.
    scale: float = 1


@dataclass
class Times:
    """What the runs of a tool took: seconds by the clock, and of CPU on this side and on the nodes'."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    nodes: list[float] = field(default_factory=list)

    def of(self, number: int) -> Times:
        """The same, so many times."""
        return Times(*([one * number for one in times] for times in (self.wall, self.cpu, self.nodes)))

    @property
    def median(self) -> float:
        """Of the clock."""
        return statistics.median(self.wall)


# ---------------------------------------------------------------------------------------------------- measuring


def once(tool: Tool, times: Times, nodes: Fleet | None, watch: Watch | None = None) -> None:
    """Run a tool and add what it took; ends the benchmark where it did not do what it is measured for."""
    output = PLACE / "output"
    before = nodes.cpu() if nodes else 0.0
    with output.open("wb") as out, (tool.stdin or Path(os.devnull)).open("rb") as given:
        begun = time.perf_counter()
        process = subprocess.Popen(tool.argv, stdin=given, stdout=out, stderr=out, cwd=PLACE / "empty", env=_env())
        if watch:
            watch.follow(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if watch:
            watch.stop()
    if nodes:
        nodes.settle()
    said = output.read_bytes()
    if process.returncode not in tool.good or not tool.shows(said):
        sys.exit(f"{tool.name} ended with {process.returncode}:\n{said[-3000:].decode('utf-8', 'replace')}")
    times.wall.append(wall * tool.scale)
    times.cpu.append((used.ru_utime + used.ru_stime) * tool.scale)
    times.nodes.append(((nodes.cpu() if nodes else 0.0) - before) * tool.scale)


def turns(tools: Sequence[Tool], runs: int, nodes: Fleet | None = None) -> dict[str, Times]:
    """The tools by turns, so many rounds, after one that fills caches and is dropped."""
    table = {tool.name: Times() for tool in tools}
    for number in range(runs + 1):
        for tool in tools:
            once(tool, table[tool.name] if number else Times(), nodes)
    return table


class Watch(threading.Thread):
    """Looks at a process and all below it, five times a second: memory and open files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.pid = 0
        self.over = threading.Event()
        self.rss_mb, self.most_files, self.processes = 0.0, 0, 0

    def follow(self, pid: int) -> None:
        """Begin."""
        self.pid = pid
        self.start()

    def stop(self) -> None:
        """Stop."""
        self.over.set()
        self.join()

    def run(self) -> None:
        """The sum of all processes' memory (what they share counts for each), the files of the one that has most."""
        while not self.over.wait(0.2):
            rss, pids = 0.0, [self.pid]
            for pid in pids:  # it grows as children are found
                with contextlib.suppress(OSError):
                    rss += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
                    files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names alone are wanted
                    self.most_files = max(self.most_files, files)
                    for task in Path(f"/proc/{pid}/task").iterdir():
                        pids += map(int, (task / "children").read_text().split())
            self.rss_mb, self.processes = max(self.rss_mb, rss), max(self.processes, len(pids))


_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def _env() -> dict[str, str]:
    """What the tools find: no settings of the user's, and nothing that is kept from one run for the next."""
    keep = {key: os.environ[key] for key in ("PATH", "LANG", "TERM", ALONE) if key in os.environ}
    return {
        **keep,
        "HOME": str(PLACE / "home"),
        "ANSIBLE_CONFIG": str(PLACE / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(PLACE / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(PLACE / "ansible-there"),
        "ANSIBLE_SSH_COMMON_ARGS": f"-F {PLACE}/ssh_config",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(PLACE / "cp"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


def program(name: str) -> str | None:
    """A peer's program: beside this Python, else on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


# ---------------------------------------------------------------------------------------------------- the tools


def shows(word: bytes, number: int) -> Callable[[bytes], bool]:
    """Whether the output holds the word so often."""
    return lambda said: said.count(word) == number


def tools(living: list[str], dead: list[str], jobs: int, seconds: int) -> list[Tool]:
    """Everything that is to ask these nodes; what is not installed is said and left out."""
    every = _mixed(living, dead)
    number = len(living)
    hosts = ",".join(f"ssh://{one}?timeout={seconds}" for one in every)
    config = PLACE / "ssh_config"
    (PLACE / "hosts").write_text("".join(f"ssh://{one}?timeout={seconds}\n" for one in every))
    # Told where Python is, Ansible need not search for it.
    (PLACE / "inventory").write_text("\n".join([*every, "[all:vars]", f"ansible_python_interpreter={_python()}", ""]))
    (PLACE / "script").write_text(preamble(NONCE) + _first_round())
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    made = [
        Tool(
            GATHER,
            [sys.executable, str(GATHERER), str(jobs), str(config), hosts],
            shows=shows(b"gathered %d\n" % number, 1),
        ),
        Tool(
            WHOLE,
            [
                *pytest,
                "--gpuready",
                f"--gpuready-hosts-file={PLACE}/hosts",
                f"--ssh-config={config}",
                f"--gpuready-jobs={jobs}",
                f"--gpuready-json={PLACE}/report.json",
            ],
            good=(0, 1),
            shows=lambda _: _reached() == number,
        ),
    ]
    clush, ansible = program("clush"), program("ansible")
    if clush:
        line = [clush, "-q", "-w", ",".join(every), "-f", str(jobs), "-t", str(seconds), "-o", f"-F {config}"]
        end_of_round = f": {NONCE} end\n".encode()
        made.append(Tool(CLUSH, [*line, "exec sh -s"], (0, 255), PLACE / "script", shows(end_of_round, number)))
    else:
        print("clush is not here (pip install ClusterShell): its rows are left out")
    if ansible:
        line = [ansible, "all", "-i", str(PLACE / "inventory"), "-f", str(jobs), "-T", str(seconds)]
        made.append(Tool(PING, [*line, "-m", "ping"], (0, 4), shows=shows(b"| SUCCESS", number)))
        made.append(Tool(SETUP, [*line, "-m", "setup"], (0, 4), shows=shows(b"| SUCCESS", number)))
    else:
        print("ansible is not here (pip install ansible-core): its rows are left out")
    return made


def plain(living: list[str]) -> Tool:
    """Plain testinfra on these nodes; its times are those of one."""
    (PLACE / "test_plain.py").write_text(PLAIN)
    hosts = ",".join(f"ssh://{one}" for one in living)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:gpuready", "-p", "no:cacheprovider", "-c", os.devnull]
    argv += [str(PLACE / "test_plain.py"), f"--hosts={hosts}", f"--ssh-config={PLACE}/ssh_config"]
    return Tool(PLAINLY, argv, shows=shows(b"%d passed" % (40 * len(living)), 1), scale=1 / len(living))


def _mixed(living: list[str], dead: list[str]) -> list[str]:
    """The dead evenly among the living."""
    every = list(living)
    for place, one in enumerate(dead):
        every.insert(place * (len(living) // len(dead) + 1), one)
    return every


def _python() -> str:
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def _first_round() -> str:
    return render(list(dict.fromkeys(Views(Facts("")).wants())), NONCE)


def _reached() -> int:
    document = json.loads((PLACE / "report.json").read_text())
    return sum(node["verdict"] not in ("unreachable", "incomplete") for node in document["nodes"])
