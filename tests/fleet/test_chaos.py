"""Fifty nodes, of which many are dead, slow or lie, mixed by a seed: each is reported, and each rightly.

All are logins to a real sshd. Those whose verdict is to be known are simulated nodes whose answers come through that
login (tests/support/replay.py), and most of what goes wrong goes wrong there: with the sshd that serves them, in the
middle of what they say. `this machine` and `full disk` are this machine by the real script, the latter with /tmp
and the home folder full; they must be judged as this machine is alone.

What stands for what: a reboot is an sshd that is killed, or stops without a word, in the middle of a round; the machine
below it goes on. nvidia-smi that hangs in the kernel is a program in a frozen control group: as in state D no signal
ends it, KILL neither (where there is no freezer of cgroup v1, one that takes no signal but KILL). A wrong clock is that
of a simulated node. On a machine that is busy a node may be late: then it must be said to be late, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from tests.bad_input.support import findings, suite
from tests.node.nodes import running
from tests.support import replay
from tests.support.nodes import handler_in_wrong_table, not_restarted, ready
from tests.support.sshd import Sshd, descendants, free_port, keygen, serving, silent_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.replay import Recording
    from tests.support.simnode import SimNode

NODES = 50
#: Seconds per node: more than nvidia-smi's own and what is added to it (10 + 3), and than ssh waits for a server that
#: says nothing (10 to 15).
DEADLINE = 22
#: Seconds for all else that is no node's: fifty logins begun at once, reading and judging what they brought. A machine
#: that is busy takes longer in proportion.
MARGIN = 15

FREEZER = Path("/sys/fs/cgroup/freezer")


def clock_of_1970() -> SimNode:
    """Nobody has set it: the boot was ten minutes ago, at 0."""
    node = ready()
    node.now, node.boot = 600, 0
    for process in node.procs:
        process.started = 20
    return node


def clock_of_2038() -> SimNode:
    """It is years ahead."""
    node = ready()
    ahead = 2_147_483_000 - node.now
    node.now, node.boot = node.now + ahead, node.boot + ahead
    for process in node.procs:
        process.started += ahead
    return node


#: Simulated nodes that answer to the end.
ANSWERING: dict[str, Callable[[], SimNode]] = {
    "healthy": ready,
    "healthy, containerd 1.7": lambda: ready("1.7.24"),
    "not restarted": not_restarted,
    "wrong table": handler_in_wrong_table,
    "no handler program": lambda: ready().remove("/usr/bin/nvidia-container-runtime"),
    "a clock of 1970": clock_of_1970,
    "a clock of 2038": clock_of_2038,
}

#: What becomes of a healthy one in the middle of its answers, and how the report puts it: one of these.
BROKEN_OFF: dict[str, tuple[str, ...]] = {
    "ends": ("the answers broke off: the connection ended",),
    "killed": ("the answers broke off: the connection ended (exit status 255)",),
    "vanishes": ("the answers broke off: the connection ended (exit status 255): Timeout, server 127.0.0.1 not",),
    "raves": ("the answers broke off: the connection ended",),
    "babbles": ("the answers broke off: output without end, cut at ",),
}
#: The same, but all that is seen of it is that time passes.
SILENT = ("hangs", "trickles")

#: No shell is reached: what the report says of it.
UNREACHABLE: dict[str, tuple[str, ...]] = {
    "refused": ("Connection refused",),
    "black hole": ("Connection timed out",),
    "host key changed": ("REMOTE HOST IDENTIFICATION HAS CHANGED!",),
    "a shell that never answers": ("no answer within the deadline (waiting for /home)",),
    "a banner without end": ("output without end, cut at ",),
    "no shell": ("Router>",),
}

#: This machine, by the real script.
REAL = ("this machine", "full disk")
HUNG_SMI = "nvidia-smi hangs in the kernel"

EVERY = (*ANSWERING, *BROKEN_OFF, *SILENT, *UNREACHABLE, *REAL, HUNG_SMI)
#: What a fleet has once: 32 MB come from each.
COSTLY = ("babbles", "a banner without end")
#: What it has more of, what answers most.
MORE = (*ANSWERING, *(kind for kind in EVERY if kind not in COSTLY))


@dataclass
class Bench:
    """A server, its aliases by kind of node, and what is known of those that answer."""

    server: Sshd
    folder: Path
    recordings: dict[str, Recording]
    alone: dict[str, Any]
    aliases: int = 0

    def alias(self, *lines: str, shell: str | None = None, setup: str | None = None) -> str:
        """One more host of the server."""
        self.aliases += 1
        return self.server.add_alias(f"n{self.aliases}", *lines, shell=shell, setup=setup)

    def file(self, text: str) -> str:
        """A file that a login reads first."""
        path = self.server.folder / f"rc-{secrets.token_hex(4)}"
        path.write_text(text)
        return str(path)


def run_alone(server: Sshd, folder: Path) -> dict[str, Any]:
    """This machine's report, where it is the only node."""
    result = suite(folder, server.spec, f"--ssh-config={server.config}", "--gpuready-timeout=120")
    (node,) = result.document["nodes"]
    return dict(node)


@pytest.fixture(scope="module")
def frozen() -> Iterator[Path]:
    """A program that hangs in the kernel from its first moment on."""
    folder = Path("/run") / f"gpuready-chaos-{secrets.token_hex(4)}"
    folder.mkdir()
    program = folder / "nvidia-smi"
    group = FREEZER / folder.name
    if FREEZER.is_dir() and os.access(FREEZER, os.W_OK):
        group.mkdir()
        (group / "freezer.state").write_text("FROZEN")
        program.write_text(f"#!/bin/sh\necho 0 >{group}/cgroup.procs\nsleep 600\n")
    else:
        program.write_text("#!/bin/sh\ntrap '' TERM HUP INT\nwhile :; do sleep 5; done\n")
    program.chmod(0o755)
    yield program
    program.unlink()
    folder.rmdir()
    if group.is_dir():
        (group / "freezer.state").write_text("THAWED")
        for _ in range(100):
            pids = (group / "cgroup.procs").read_text().split()
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            time.sleep(0.1)
        group.rmdir()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, frozen: Path) -> Iterator[Bench]:
    """The server has a list of processes of its own: what else runs on this machine comes and goes."""
    within = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    folder = tmp_path_factory.mktemp("chaos")
    # And no profile of anybody's: what that says on standard error is no node's.
    with serving(f"SetEnv HOME={tmp_path_factory.mktemp('home')}", within=within) as server:
        recordings = {kind: replay.record(make()) for kind, make in ANSWERING.items()}
        recordings[HUNG_SMI] = replay.record(ready(), really={"/usr/bin/nvidia-smi": str(frozen)})
        yield Bench(server, folder, recordings, run_alone(server, folder))
        if (FREEZER / frozen.parent.name).is_dir():
            # The server's namespace ends when its last process does; what is frozen does not.
            (FREEZER / frozen.parent.name / "freezer.state").write_text("THAWED")


@pytest.fixture(scope="module")
def black_hole() -> Iterator[int]:
    with silent_port() as port:
        yield port


FULL = r"""#!/bin/sh
# No byte can be written where this login writes.
exec unshare -m -- sh -c '
  for d in /tmp /var/tmp /dev/shm "$HOME"; do
    mount -t tmpfs -o size=4k tmpfs "$d" && head -c 9999 /dev/zero >"$d/full" 2>/dev/null
  done
  exec /bin/sh -c "$1"' sh "$2"
"""


def make(bench: Bench, kind: str, black_hole: int, chance: random.Random) -> str:
    """A node of this kind; its spec."""
    folder, shell = bench.server.folder, str(replay.shell(bench.server.folder))
    healthy = bench.recordings["healthy"]
    if kind in bench.recordings:
        alias = bench.alias(shell=shell, setup=str(bench.recordings[kind].write(folder, f"r{bench.aliases}")))
    elif kind in BROKEN_OFF or kind in SILENT:
        # Past the first answer, so that it is known to be a node with a shell.
        after = chance.randrange(400, healthy.length - 1)
        setup = healthy.write(folder, f"r{bench.aliases}", then=kind, after=after)
        alias = bench.alias(shell=shell, setup=str(setup))
    elif kind == "refused":
        alias = bench.alias(f"Port {free_port()}")
    elif kind == "black hole":
        return f"ssh://{bench.alias(f'Port {black_hole}')}?timeout=3"
    elif kind == "host key changed":
        other = folder / f"other-{bench.aliases}"
        known = folder / f"known-{bench.aliases}"
        known.write_text(f"gpuready-test {keygen(other).with_suffix('.pub').read_text()}")
        alias = bench.alias(f"UserKnownHostsFile {known}")
    elif kind == "full disk":
        program = folder / "full"
        program.write_text(FULL)
        program.chmod(0o755)
        alias = bench.alias(shell=str(program))
    elif kind == "this machine":
        alias = bench.alias()
    else:
        lines = {
            "a shell that never answers": "echo 'waiting for /home'; sleep 300\n",
            "a banner without end": "exec yes yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n",
            "no shell": "echo 'Router>'; exit 0\n",
        }
        alias = bench.alias(setup=bench.file(lines[kind]))
    return f"ssh://{alias}"


def late(node: dict[str, Any]) -> bool:
    """Whether time ran out, and it is said."""
    said = [check["found"] or "" for check in node["checks"]]
    return node["duration_s"] > DEADLINE - 1 and any("no answer within the deadline" in words for words in said)


def false_of_a_late_one(bench: Bench, kind: str, node: dict[str, Any]) -> str | None:
    """What is said of a node that was late, and is not so: what it had not said yet is unknown, the rest stands."""
    if kind not in bench.recordings and kind not in SILENT:
        return None
    expected = judge(bench.recordings["healthy" if kind in SILENT else kind].facts, Settings())
    true = {name: {finding.status, "unknown", "blocked"} for name, finding in expected.findings.items()}
    true["node.reachable"].add("fail")
    false = {check["check"]: check["status"] for check in node["checks"] if check["status"] not in true[check["check"]]}
    verdicts = {expected.verdict, "unknown", "unreachable"} - {"ready"}
    return f"{node['verdict']}, though late: {false}" if false or node["verdict"] not in verdicts else None


def problem(bench: Bench, kind: str, node: dict[str, Any]) -> str | None:
    """What is wrong with a node's report; None if it is what its kind must bring."""
    roots = {root["check"]: root for root in node["root_causes"]}
    got = {check["check"]: check["status"] for check in node["checks"]}
    reach = roots.get("node.reachable", {"status": "", "found": ""})
    said = f"{reach['status']}: {reach['found']}"
    if kind in ANSWERING:
        expected = judge(bench.recordings[kind].facts, Settings())
        statuses = {name: finding.status for name, finding in expected.findings.items()}
        other = {name: (status, got.get(name)) for name, status in statuses.items() if got.get(name) != status}
        return f"{expected.verdict} was to be; {other}" if other or node["verdict"] != expected.verdict else None
    if kind in REAL:
        same = findings(node) == findings(bench.alone) and node["verdict"] == bench.alone["verdict"]
        return None if same else f"judged otherwise than alone: {differences(node, bench.alone)}"
    if kind == HUNG_SMI:
        smi = roots.get("driver.nvml-answers", {"status": "", "found": ""})
        good = smi["status"] == "fail" and "did not end within 10 s" in smi["found"] and node["verdict"] == "not-ready"
        return None if good else f"driver.nvml-answers {smi['status']}: {smi['found']}; {said}; {list(roots)}"
    if kind in UNREACHABLE:
        good = node["verdict"] == "unreachable" and any(word in reach["found"] for word in UNREACHABLE[kind])
        return None if good else said
    told = {name: status for name, status in got.items() if status not in ("blocked", "unknown")}
    if kind == "killed" and node["verdict"] == "unreachable" and not set(got.values()) - {"fail", "blocked"}:
        # What that sshd had not sent yet was lost with it, it may be all.
        return None if "closed by remote host" in reach["found"] else said
    if kind in SILENT:
        # What it said before stands; of the rest nothing is known.
        false = false_of_a_late_one(bench, kind, node)
        return None if late(node) and not false else f"{node['duration_s']} s; {false}; {said}"
    good = node["verdict"] == "unknown" and any(reach["found"].startswith(word) for word in BROKEN_OFF[kind])
    return None if good and not told else f"{said}; {told}"


def differences(node: dict[str, Any], alone: dict[str, Any]) -> list[str]:
    """What is found otherwise than alone, check by check."""
    found = {check["check"]: f"{check['status']}: {check['found']}" for check in alone["checks"]}
    now = {check["check"]: f"{check['status']}: {check['found']}" for check in node["checks"]}
    return [f"{name}: {now.get(name)} instead of {found[name]}" for name in found if now.get(name) != found[name]]


def kinds(seed: int) -> list[str]:
    """Every kind, and more of most, in any order."""
    chance = random.Random(seed)  # noqa: S311 - which nodes, no secrets
    drawn = [*EVERY, *chance.choices(MORE, k=NODES - len(EVERY))]
    chance.shuffle(drawn)
    return drawn


@pytest.mark.lab("root", "sshd")
@pytest.mark.parametrize("seed", [0, 1, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20)]])
def test_every_node_of_a_bad_fleet_is_reported_rightly(
    bench: Bench, black_hole: int, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - where it breaks, no secrets
    drawn = kinds(seed)
    specs = [make(bench, kind, black_hole, chance) for kind in drawn]
    options = (
        f"--ssh-config={bench.server.config}",
        f"--gpuready-timeout={DEADLINE}",
        f"--gpuready-jobs={NODES}",
        "-q",
    )
    result = suite(tmp_path, ",".join(specs), *options)
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert result.document["duration_s"] < DEADLINE + MARGIN * busy
    nodes = result.document["nodes"]
    assert [node["node"] for node in nodes] == [spec.partition("?")[0] for spec in specs]
    wrong = {
        f"{node['node']} ({kind})": f"{node['verdict']}, {said}"
        for kind, node in zip(drawn, nodes, strict=True)
        if (said := (false_of_a_late_one if late(node) else problem)(bench, kind, node))
    }
    assert not wrong, json.dumps(wrong, indent=1)
    assert result.code == 1
    in_time = [kind for kind, node in zip(drawn, nodes, strict=True) if not late(node)]
    assert len(in_time) > len(SILENT), "nothing was judged in time: this machine is too busy to try it"
    assert_nothing_runs(bench)


def assert_nothing_runs(bench: Bench) -> None:
    """No ssh of ours is left here. On the nodes every command of the script ends by its own deadline at the latest."""
    assert running(str(bench.server.config)) == []
    assert bench.server.process is not None
    end = time.monotonic() + 40
    while left := [pid for pid in descendants(bench.server.process.pid) if under_a_deadline(pid)]:
        assert time.monotonic() < end, left
        time.sleep(0.2)


def under_a_deadline(pid: int) -> bool:
    """Whether it is the `timeout` around a command of the script."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"timeout\0-")
    except OSError:
        return False
