"""The files for Slurm, run with stand-ins of srun and scontrol.

They take the arguments that Slurm's manual pages name (22.05), start one task per node with SLURMD_NODENAME set, and
print and keep a node's State and Reason in scontrol's form. They cannot show that a Slurm takes the files, what its
cgroups hide from a job, nor when slurmd runs the health check.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.examples.support import EXAMPLES, PYTEST, kinds, program, run

if TYPE_CHECKING:
    from pathlib import Path

SRUN = """\
#!/bin/sh
set -eu
while :; do
  case $1 in
    --kill-on-bad-exit=0 | --wait=0) shift ;;
    -*) echo "srun: unrecognized option $1" >&2; exit 1 ;;
    *) break ;;
  esac
done
worst=0
for node in $(ls "$KINDS"); do
  SLURMD_NODENAME=$node "$@" || worst=$?
done
exit $worst
"""

SCONTROL = """\
#!/bin/sh
set -eu
echo "$*" >>"$STATE.log"
. "$STATE"
case $1 in
  show)
    [ "$2 $3" = "node gpu001" ] || { echo "Node $3 not found" >&2; exit 1; }
    echo "NodeName=gpu001 Arch=x86_64 CoresPerSocket=64"
    echo "   State=$state ThreadsPerCore=2 TmpDisk=0 Weight=1"
    [ -z "$reason" ] || echo "   Reason=$reason [root@2026-11-22T09:00:00]" ;;
  update)
    shift
    for word; do
      case $word in
        NodeName=gpu001) ;;
        State=DRAIN) state=IDLE+DRAIN ;;
        State=RESUME) state=IDLE reason='' ;;
        Reason=*) reason=${word#Reason=} ;;
        *) echo "invalid: $word" >&2; exit 1 ;;
      esac
    done
    printf "state='%s' reason='%s'\\n" "$state" "$reason" >"$STATE" ;;
  *) exit 1 ;;
esac
"""


def test_the_job_makes_one_report_of_all_its_nodes(tmp_path: Path) -> None:
    bins = tmp_path / "bin"
    program(bins, "srun", SRUN)
    program(bins, "pytest", PYTEST)
    (bins / "python").symlink_to(sys.executable)
    there = kinds(tmp_path / "kinds", gpu001="ready", gpu002="not-restarted", gpu003="dead")
    done = run(
        "bash",
        EXAMPLES / "slurm" / "gpuready.sbatch",
        bins=bins,
        cwd=tmp_path,
        environment={
            "GPUREADY_BIN": str(bins),
            "SLURM_JOB_ID": "7",
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_NODELIST": "gpu[001-003]",
            "KINDS": str(there),
        },
    )
    assert done.returncode == 1, done.stderr
    made = json.loads((tmp_path / "gpuready-7.json").read_text())
    assert [(node["node"], node["verdict"]) for node in made["nodes"]] == [
        ("local://gpu001", "ready"),
        ("local://gpu002", "not-ready"),
        ("gpu003", "incomplete"),
    ]
    assert "sudo systemctl restart containerd" in done.stdout
    assert (tmp_path / "gpuready-7.html").exists()
    assert (tmp_path / "gpuready-7.md").exists()
    assert "READY" in (tmp_path / "gpuready-7" / "gpu001.txt").read_text()


@dataclass
class Check:
    """The health check of a node, and what Slurm says of that."""

    folder: Path

    def __call__(self, kind: str, *, state: str = "IDLE", reason: str = "", conf: str = "DRAIN=yes") -> str:
        """Run it on a node of this kind; Slurm's state and reason afterwards."""
        kept = self.folder / "state"
        kept.write_text(f"state='{state}' reason='{reason}'\n")
        (self.folder / "hc.conf").write_text(f"BIN={self.folder / 'bin'}\nNODE=gpu001\n{conf}\n")
        kinds(self.folder / "kinds", gpu001=kind)
        done = run(
            "sh",
            EXAMPLES / "slurm" / "gpuready-hc",
            bins=self.folder / "bin",
            cwd=self.folder,
            environment={
                "GPUREADY_HC_CONF": str(self.folder / "hc.conf"),
                "STATE": str(kept),
                "KINDS": str(self.folder / "kinds"),
                "SLURMD_NODENAME": "gpu001",
            },
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        assert not list(self.folder.glob("tmp.*")), "its folder is gone"
        self.said = done.stdout
        found = re.fullmatch(r"state='(.*)' reason='(.*)'\n", kept.read_text())
        assert found is not None
        return f"{found[1]} {found[2]}".strip()

    @property
    def asked(self) -> str:
        """What scontrol was asked so far."""
        log = self.folder / "state.log"
        return log.read_text() if log.exists() else ""


@pytest.fixture
def check(tmp_path: Path) -> Check:
    program(tmp_path / "bin", "pytest", PYTEST)
    program(tmp_path / "bin", "scontrol", SCONTROL)
    program(tmp_path / "bin", "logger", "#!/bin/sh\n")
    return Check(tmp_path)


WHY = "gpuready: NOT READY: containerd.restarted"


def test_a_node_that_is_not_ready_is_drained_where_that_is_asked_for(check: Check) -> None:
    assert check("not-restarted") == f"IDLE+DRAIN {WHY}"
    assert f"drained gpu001: {WHY}" in check.said


def test_without_being_asked_it_only_says_so(check: Check) -> None:
    assert check("not-restarted", conf="") == "IDLE"
    assert "NOT READY: containerd.restarted (exit code 1)" in check.said
    assert not check.asked


@pytest.mark.parametrize("reason", ["bad DIMM, ticket 4711", "NHC: gpuready: no", "Not responding", "x [y] z"])
@pytest.mark.parametrize("kind", ["ready", "not-restarted"])
def test_another_ones_reason_is_never_overwritten_and_never_resumed_from(check: Check, reason: str, kind: str) -> None:
    assert check(kind, state="IDLE+DRAIN", reason=reason) == f"IDLE+DRAIN {reason}"
    assert "update" not in check.asked


def test_its_own_reason_is_brought_up_to_date_and_no_newer_than_need_be(check: Check) -> None:
    assert check("not-restarted", state="IDLE+DRAIN", reason="gpuready: NOT READY: x.y") == f"IDLE+DRAIN {WHY}"
    check.folder.joinpath("state.log").unlink()
    assert check("not-restarted", state="IDLE+DRAIN", reason=WHY) == f"IDLE+DRAIN {WHY}"
    assert "update" not in check.asked


def test_what_it_drained_it_resumes_when_the_node_is_ready(check: Check) -> None:
    assert check("ready", state="IDLE+DRAIN", reason=WHY) == "IDLE"
    assert check("ready", state="DOWN", reason=WHY) == f"DOWN {WHY}", "down is not drained"
    assert check("ready") == "IDLE"


def test_what_could_not_be_found_out_changes_nothing(check: Check) -> None:
    for state, reason in (("IDLE", ""), ("IDLE+DRAIN", WHY)):
        assert check("dead", state=state, reason=reason) == f"{state} {reason}".strip()
    assert "(exit code 137)" in check.said
    assert not check.asked


@pytest.mark.slow
def test_it_ends_within_slurms_minute_whatever_pytest_does(check: Check) -> None:
    assert check("slow") == "IDLE"
    assert "(exit code 124)" in check.said


def test_a_node_that_slurm_does_not_know_is_said_to_be_so(check: Check) -> None:
    assert check("not-restarted", conf="DRAIN=yes\nNODE=other") == "IDLE"
    assert "scontrol knows no node other" in check.said


@pytest.mark.parametrize("name", ["gpuready.sbatch", "gpuready-hc"])
def test_the_files_are_shell(name: str) -> None:
    shell = "bash" if name.endswith(".sbatch") else "sh"
    subprocess.run([shell, "-n", str(EXAMPLES / "slurm" / name)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(EXAMPLES / "slurm" / name)], check=True)
