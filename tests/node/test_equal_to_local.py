"""Transport by transport: the whole JSON report on this machine is what it is by `local://`.

Each test prints how many checks were equal (`pytest -rP`). Which of them is the real program and which a stand-in is
said in the id; see test_other_transports for what a stand-in can show.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.backends import Inventory, resolved
from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import NodeSpec, parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.report.json import render
from pytest_gpuready.runner import Runner
from tests.support.sshd import Sshd, sshd
from tests.support.transports import STAND_IN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.salt import Master

__all__ = ["sshd"]

as_root = pytest.mark.lab("root")

#: How often both are asked: daemons of other tests come and go, and change what is true in between.
TRIES = 6


def findings(nodes: list[NodeSpec], options: Options) -> list[dict[str, str]]:
    """Of each node, every check's entry of the JSON report with its root cause's, as text, every node called local."""
    run = Runner(nodes, Settings(), options, timeout=60).run()
    made: list[dict[str, str]] = []
    for node in render(run)["nodes"]:
        assert node["verdict"] not in ("unreachable", "incomplete"), node["reason"]
        roots: Mapping[str, Any] = {root["check"]: root for root in node["root_causes"]}
        entries = {check["check"]: [check, roots.get(check["check"])] for check in node["checks"]}
        entries["the verdict and its routes"] = [node["verdict"], node["routes"]]
        made.append({name: json.dumps(entry).replace(node["node"], "local") for name, entry in entries.items()})
    return made


def compare(node: NodeSpec, options: Options | None = None) -> None:
    """Every entry of the report is equal to what `local://` says, in one of the tries."""
    equal: set[str] = set()
    every: set[str] = set()
    differ: dict[str, tuple[str, str]] = {}
    for _ in range(TRIES):
        both = [parse("local://"), dataclasses.replace(node, label=f"{node.label} here")]
        here, there = findings(both, options or Options())
        assert here.keys() == there.keys()
        every |= here.keys()
        equal |= {name for name in here if here[name] == there[name]}
        differ = {name: (here[name], there[name]) for name in every - equal}
        if not differ:
            break
    checks = every - {"the verdict and its routes"}
    sys.stdout.write(
        f"{node.label.partition('://')[0]}: {len(equal & checks)} of {len(checks)} checks equal to local\n"
    )
    assert differ == {}
    assert len(checks) > 50


@pytest.fixture
def as_logged_in(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's PATH is the one that a login gets: bash reads ~/.bashrc under sshd, and reports show the PATH."""
    command = ["ssh", "-F", str(sshd.config), sshd.alias, 'printf %s "$PATH"']
    monkeypatch.setenv("PATH", subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.usefixtures("as_logged_in")
def test_real_ssh(sshd: Sshd) -> None:
    compare(parse(sshd.spec), Options(ssh_config=str(sshd.config)))


@pytest.mark.lab("paramiko")
@pytest.mark.usefixtures("as_logged_in")
def test_real_paramiko(sshd: Sshd) -> None:
    compare(parse(f"paramiko://{sshd.alias}"), Options(ssh_config=str(sshd.config)))


@pytest.mark.lab("ansible-inventory")
@pytest.mark.usefixtures("as_logged_in")
def test_real_ansible_inventory(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path))
    (tmp_path / "hosts.ini").write_text(f"[g]\n{sshd.alias} ansible_user={sshd.user}\n")
    found = Inventory(str(tmp_path / "hosts.ini"), ssh_config=str(sshd.config))
    (node,) = resolved([parse("ansible://g")], found)
    compare(node)


@as_root
def test_real_chroot() -> None:
    compare(parse("chroot:///"))


@as_root
def test_real_snapshot(tmp_path: Path) -> None:
    """What was recorded of this machine says what the machine said when it was recorded."""
    run = Runner([parse("local://")], Settings(), Options(), timeout=60, save=tmp_path).run()
    (saved,) = tmp_path.glob("*.json")
    again = Runner([parse(f"snapshot://{saved}")], Settings(), Options()).run()
    first, second = ({name: found.outcome for name, found in one.nodes[0].findings.items()} for one in (run, again))
    # The bindings of NVML are asked on this machine alone, and are in its record.
    equal = [name for name in first if first[name] == second[name]]
    sys.stdout.write(f"snapshot: {len(equal)} of {len(first)} checks equal to local\n")
    assert second == first


@as_root
@pytest.mark.parametrize(
    ("scheme", "program"),
    [("docker", "docker"), ("podman", "podman"), ("lxc", "lxc"), ("kubectl", "kubectl"), ("openshift", "oc")],
)
def test_stand_in(
    scheme: str,
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / program
    path.write_text(STAND_IN.format(log=tmp_path / "log"))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    compare(parse(f"{scheme}://box"))


@as_root
@pytest.mark.usefixtures("stand_in")
def test_stand_in_salt() -> None:
    compare(parse("salt://box"))


@pytest.mark.slow
def test_real_salt(salt_master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in salt_master.environment.items():
        monkeypatch.setenv(name, value)
    compare(parse(f"salt://{salt_master.minion}"))
