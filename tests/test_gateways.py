"""ClusterShell's tree mode for real: a controller, two gateways, and leaves that nobody but the gateways reaches."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.netns import GATEWAYS, LEAVES, Cluster, cluster
from tests.support.sshd import descendants

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = socket.gethostname().split(".")[0]
EACH_ITS_OWN = (f"{ROOT}: gw[1-2]", "gw1: leaf[1-2]", "gw2: leaf[3-4]")
EITHER = (f"{ROOT}: gw[1-2]", "gw[1-2]: leaf[1-4]")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    with cluster() as one:
        yield one


def suite(made: Cluster, place: str, folder: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """The JSON report of the suite over all leaves, run on a machine of the cluster."""
    report = folder / "report.json"
    done = subprocess.run(
        [*made.within(place), *command(made, report), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, **environment},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def command(made: Cluster, report: Path) -> list[str]:
    hosts = f"--hosts=ssh://{LEAVES[0][:-1]}[1-{len(LEAVES)}]"
    words = [sys.executable, "-m", "pytest", "-q", "--gpuready", hosts, f"--ssh-config={made.config}"]
    return [*words, "--gpuready-timeout=60", f"--gpuready-json={report}"]


def through(made: Cluster, *routes: str) -> dict[str, str]:
    """The environment in which ClusterShell finds the routes; gateways run this Python."""
    return {"CLUSTERSHELL_CFGDIR": str(made.topology(*routes)), "CLUSTERSHELL_GW_PYTHON_EXECUTABLE": sys.executable}


ENGINE = "--gpuready-engine=clustershell"


def bare(node: dict[str, Any]) -> dict[str, Any]:
    """A node's part of the report without times, and without what names processes of the moment."""
    return {key: value for key, value in node.items() if key != "duration_s"}


def test_every_leaf_is_found_as_by_a_direct_login(made: Cluster, tmp_path: Path) -> None:
    """From a gateway each leaf is logged in to by threads; from the controller no leaf has a route."""
    ssh = ["ssh", "-F", str(made.config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "leaf1", "true"]
    cannot = subprocess.run([*made.within("ctl"), *ssh], capture_output=True, text=True, check=False)
    assert "unreachable" in cannot.stderr
    direct = suite(made, "gw1", tmp_path)
    before = {name: server.logins() for name, server in made.servers.items()}
    tree = suite(made, "ctl", tmp_path, ENGINE, **through(made, *EACH_ITS_OWN))
    assert [node["node"] for node in tree["nodes"]] == [f"ssh://{leaf}" for leaf in LEAVES]
    assert [bare(node) for node in tree["nodes"]] == [bare(node) for node in direct["nodes"]]
    logins = {name: server.logins() - before[name] for name, server in made.servers.items()}
    assert all(logins[gateway] in (1, 2) for gateway in GATEWAYS)
    assert all(logins[leaf] in (1, 2) for leaf in LEAVES)


def test_the_leaves_of_a_dead_gateway_are_named_and_the_others_judged(made: Cluster, tmp_path: Path) -> None:
    with gone(made, "gw1"):
        report = suite(made, "ctl", tmp_path, ENGINE, **through(made, *EACH_ITS_OWN))
    verdicts = [node["verdict"] for node in report["nodes"]]
    assert verdicts[:2] == ["unreachable"] * 2
    assert "unreachable" not in verdicts[2:]
    for node in report["nodes"][:2]:
        assert node["reason"].startswith("through the gateway gw1: ssh: connect to host 10.78.1.2 port 22: ")


def test_another_gateway_takes_over_where_there_is_one(made: Cluster, tmp_path: Path) -> None:
    """ClusterShell gives the leaves to the other gateway; the script goes with them."""
    with gone(made, "gw1"):
        report = suite(made, "ctl", tmp_path, ENGINE, **through(made, *EITHER))
    assert all(node["hostname"] for node in report["nodes"])


def test_a_dead_leaf_behind_a_gateway_is_named(made: Cluster, tmp_path: Path) -> None:
    with gone(made, "leaf2"):
        report = suite(made, "ctl", tmp_path, ENGINE, **through(made, *EACH_ITS_OWN))
    reasons = {node["node"]: node["reason"] for node in report["nodes"]}
    assert reasons.pop("ssh://leaf2") == "ssh: connect to host 10.77.0.4 port 22: Connection refused"
    assert set(reasons.values()) == {None}


def test_a_leaf_that_hangs_behind_a_gateway_costs_its_deadline(made: Cluster, tmp_path: Path) -> None:
    """Its login shell never answers."""
    (tmp_path / "login").write_text("sleep 300\n")
    tmp_path.chmod(0o755)
    hung = made.folder / "one_hung_config"
    hung.write_text(f"{made.config.read_text()}Host leaf2\n  SetEnv GPUREADY_SETUP={tmp_path / 'login'}\n")
    options = [ENGINE, f"--ssh-config={hung}", "--gpuready-timeout=20"]
    report = suite(made, "ctl", tmp_path, *options, **through(made, *EACH_ITS_OWN))
    reasons = {node["node"]: node["reason"] for node in report["nodes"]}
    assert reasons.pop("ssh://leaf2").startswith("no answer within the deadline")
    assert set(reasons.values()) == {None}


def test_a_gateway_without_clustershell_is_named(made: Cluster, tmp_path: Path) -> None:
    """Its Python is one that looks nowhere for packages."""
    python = tmp_path / "python-alone"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    environment = through(made, *EACH_ITS_OWN) | {"CLUSTERSHELL_GW_PYTHON_EXECUTABLE": str(python)}
    report = suite(made, "ctl", tmp_path, ENGINE, **environment)
    for node, gateway in zip(report["nodes"], ("gw1", "gw1", "gw2", "gw2"), strict=True):
        assert node["verdict"] == "unreachable"
        assert node["reason"].startswith(f"through the gateway {gateway}: ")
        assert "No module named" in node["reason"]


def test_a_gateways_false_answers_cost_its_own_leaves_alone(made: Cluster, tmp_path: Path) -> None:
    """One answers with a pickle that would run a command here: it is not run, and the other's leaves are judged."""
    mark = tmp_path / "ran"
    evil = tmp_path / "evil.py"
    evil.write_text(
        "import base64, os, pickle, re, subprocess, sys, time\n"
        "if '10.78.1.' not in os.environ.get('SSH_CONNECTION', ''):\n"
        f"    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
        "class Evil:\n"
        f"    def __reduce__(self): return os.system, ('touch {mark}',)\n"
        "payload = base64.b64encode(pickle.dumps(Evil(), 4)).decode()\n"
        'print(\'<?xml version="1.0" encoding="utf-8"?><channel version="1.10.1">\', flush=True)\n'
        "for line in sys.stdin:\n"
        "    if 'type=\"CFG\"' in line:\n"
        "        number = re.search('msgid=\"([0-9]+)\"', line)[1]\n"
        '        print(f\'<message type="ACK" msgid="1" ack="{number}"></message>\', flush=True)\n'
        "    found = re.search('srcid=\"([0-9]+)\"', line)\n"
        "    if found:\n"
        '        head = f\'<message type="OUT" msgid="2" srcid="{found[1]}" nodes="leaf1">\'\n'
        "        print(f'{head}{payload}</message>', flush=True)\n"
        "time.sleep(100)\n"
    )
    python = tmp_path / "python-evil"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {evil} "$@"\n')
    python.chmod(0o755)
    environment = through(made, *EACH_ITS_OWN) | {"CLUSTERSHELL_GW_PYTHON_EXECUTABLE": str(python)}
    report = suite(made, "ctl", tmp_path, ENGINE, **environment)
    assert not mark.exists()
    for node in report["nodes"][:2]:
        assert node["reason"].startswith("through the gateway gw1: ")
        assert "is not expected from a gateway" in node["reason"]
    assert [node["reason"] for node in report["nodes"][2:]] == [None, None]


def test_a_gateway_that_never_answers_costs_a_limit(made: Cluster, tmp_path: Path) -> None:
    python = tmp_path / "python-mute"
    python.write_text(f'#!/bin/sh\ncase $SSH_CONNECTION in *10.78.1.*) sleep 600;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    environment = through(made, *EACH_ITS_OWN) | {"CLUSTERSHELL_GW_PYTHON_EXECUTABLE": str(python)}
    report = suite(made, "ctl", tmp_path, ENGINE, **environment)
    reasons = [node["reason"] for node in report["nodes"]]
    assert reasons == ["through the gateway gw1: no answer within 15 s"] * 2 + [None, None]


def test_an_interrupt_ends_everything_here_and_on_the_gateways(made: Cluster, tmp_path: Path) -> None:
    """Every leaf hangs. What was begun is gone soon after, gateways' logins to leaves included."""
    (tmp_path / "login").write_text("sleep 3600\n")
    tmp_path.chmod(0o755)
    report = tmp_path / "report.json"
    environment = through(made, *EACH_ITS_OWN)
    hung = made.folder / "hung_config"
    hung.write_text(f"{made.config.read_text()}Host leaf*\n  SetEnv GPUREADY_SETUP={tmp_path / 'login'}\n")
    before = sum(made.servers[leaf].logins() for leaf in LEAVES)
    words = [word.replace(str(made.config), str(hung)) for word in command(made, report)]
    process = subprocess.Popen(
        [*made.within("ctl"), *words, ENGINE],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        for _ in range(300):
            if sum(made.servers[leaf].logins() for leaf in LEAVES) == before + len(LEAVES):
                break
            time.sleep(0.1)
        begun = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2, out
    assert "Traceback" not in out
    verdicts = {node["verdict"] for node in json.loads(report.read_text())["nodes"]}
    assert verdicts == {"incomplete"}
    assert begun
    for _ in range(100):
        left = [pid for pid in begun if Path(f"/proc/{pid}/exe").exists()]
        served = [pid for gateway in GATEWAYS for pid in made.servers[gateway].sessions()]
        if not left and not served:
            break
        time.sleep(0.1)
    assert left == []
    assert served == []


class gone:  # noqa: N801 - read as a word
    """A machine whose sshd is down for the time of a block."""

    def __init__(self, made: Cluster, name: str) -> None:
        self.made, self.name = made, name

    def __enter__(self) -> None:
        self.made.servers[self.name].stop()

    def __exit__(self, *_: object) -> None:
        self.made.restart(self.name)
