"""The playbook, run by the real ansible-playbook: on this machine, and over a real sshd on the loopback."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.examples.support import EXAMPLES, run
from tests.support.sshd import Sshd, sshd

if TYPE_CHECKING:
    import subprocess

__all__ = ["sshd"]

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
needs_ansible = pytest.mark.lab("ansible-playbook")


def play(tmp_path: Path, inventory: str, *options: str) -> subprocess.CompletedProcess[str]:
    book = tmp_path / "gpuready.yml"
    shutil.copy(EXAMPLES / "ansible" / "gpuready.yml", book)
    (tmp_path / "hosts.ini").write_text(inventory)
    bins = Path(sys.executable).parent
    given = {"gpuready_bin": str(bins), "gpuready_here": sys.executable, "gpuready_become": False}
    return run(
        ANSIBLE, "-i", "hosts.ini", "-e", json.dumps(given), *options, book, bins=bins, cwd=tmp_path,
        environment={"HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOST_KEY_CHECKING": "0"},
    )  # fmt: skip


@needs_ansible
@pytest.mark.slow
def test_every_node_judges_itself_and_one_report_comes_of_it(tmp_path: Path) -> None:
    """This machine under the inventory's name for it, and one that nobody answers for."""
    inventory = (
        f"[gpus]\nrack1-a ansible_connection=local ansible_python_interpreter={sys.executable}\n"
        "rack1-b ansible_host=127.0.0.1 ansible_port=1\n"
    )
    done = play(tmp_path, inventory)
    made = json.loads((tmp_path / "gpuready.json").read_text())
    verdicts = {node["node"]: node["verdict"] for node in made["nodes"]}
    assert verdicts.pop("rack1-b") == "incomplete"
    ((label, verdict),) = verdicts.items()
    assert label.startswith("local://")
    assert verdict in ("ready", "not-ready", "unknown"), "this machine, whatever it is like"
    assert done.returncode != 0, "the verdict is not ready"
    assert (tmp_path / "gpuready.html").exists()
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["rack1-a.json"]
    assert not list(tmp_path.glob("gpuready-*")), "nothing is left behind"


@needs_ansible
@pytest.mark.slow
def test_the_same_over_ssh(tmp_path: Path, sshd: Sshd) -> None:
    inventory = (
        f"[gpus]\nrack1-a ansible_host={sshd.alias} ansible_ssh_common_args='-F {sshd.config}' "
        f"ansible_python_interpreter={sys.executable}\n"
    )
    done = play(tmp_path, inventory)
    made = json.loads((tmp_path / "gpuready.json").read_text())
    assert len(made["nodes"]) == 1, done.stdout
    assert made["nodes"][0]["node"].startswith("local://")
    assert made["nodes"][0]["verdict"] != "incomplete"
    assert sshd.logins() >= 1


def test_the_playbook_is_yaml_of_two_plays() -> None:
    nodes, here = yaml.safe_load((EXAMPLES / "ansible" / "gpuready.yml").read_text("utf-8"))
    assert "gpuready_hosts" in nodes["hosts"]
    assert here["hosts"] == "localhost"
