"""The files for Kubernetes: parsed, and the shell in them run with a stand-in of kubectl.

It answers the two questions of `collect` and prints a pod's log from a file. It cannot show that an API server takes
the manifests. A mount namespace with the node's root below a folder of it stands for a pod; it cannot show what a
container's device cgroup or seccomp profile forbids.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_gpuready.node.hosts import parse
from tests.examples.support import EXAMPLES, program, run
from tests.merge.support import snapshot

FILES = EXAMPLES / "kubernetes"

KUBECTL = """\
#!/bin/sh
set -eu
case "$1 $2" in
  "get pods") cat pods ;;
  "get nodes") cat nodes ;;
  logs\\ *) [ "$3 $4" = "-c gpuready" ] && cat "logs/$2" ;;
  *) exit 1 ;;
esac
"""


def pod(name: str) -> dict[str, Any]:
    """The pod of a file, its containers' parts beside its own."""
    document = yaml.safe_load((FILES / name).read_text("utf-8"))
    if name == "sonobuoy.yaml":
        return {**document["podSpec"], "containers": [document["spec"]]}
    spec: dict[str, Any] = document["spec"]["template"]["spec"]
    assert (
        document["spec"]["selector"]["matchLabels"].items()
        <= document["spec"]["template"]["metadata"]["labels"].items()
    )
    return spec


@pytest.mark.parametrize("name", ["daemonset.yaml", "sonobuoy.yaml"])
def test_the_pod_sees_the_node_and_can_change_nothing_below_its_root(name: str) -> None:
    spec = pod(name)
    (container,) = spec["containers"]
    assert spec["hostPID"]
    assert spec["hostNetwork"]
    assert container["securityContext"] == {"privileged": True}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert volumes["host"]["hostPath"] == {"path": "/", "type": "Directory"}
    assert mounts["host"] == {
        "name": "host",
        "mountPath": "/host",
        "readOnly": True,
        "mountPropagation": "HostToContainer",
    }
    assert "--hosts chroot:///host " in container["args"][0]
    assert parse("chroot:///host").path == mounts["host"]["mountPath"]


def shell(name: str, folder: Path, body: str) -> Any:
    """Run a container's shell where its /tmp is a folder of the test's, and sleeping is left out."""
    bins = folder / "bin"
    program(bins, "sleep", "#!/bin/sh\n")
    program(bins, "pytest", f"#!/bin/sh\n{body}\n")
    (text,) = pod(name)["containers"][0]["args"]
    text = text.replace("/tmp/", f"{folder}/").replace("/dev/termination-log", f"{folder}/termination-log")
    return run("sh", "-c", text, bins=bins, cwd=folder, environment={"SONOBUOY_RESULTS_DIR": str(folder)})


def test_the_log_is_the_report_and_nothing_else(tmp_path: Path) -> None:
    body = (
        f'echo "gpuready: summary"; for a; do case $a in {tmp_path}/report.json) echo "{{}}" >$a ;; esac; done; exit 1'
    )
    done = shell("daemonset.yaml", tmp_path, body)
    assert (done.returncode, done.stdout) == (0, "{}\n")
    assert (tmp_path / "termination-log").read_text() == "gpuready: summary\n"
    assert (tmp_path / "done").exists()


def test_where_there_is_no_report_the_log_says_why(tmp_path: Path) -> None:
    assert shell("daemonset.yaml", tmp_path, "echo ERROR; exit 4").stdout == "ERROR\n"


def test_sonobuoy_is_told_where_the_junit_is(tmp_path: Path) -> None:
    body = 'while [ "$1" != --junitxml ]; do shift; done; echo "<testsuites/>" >"$2"; exit 1'
    assert shell("sonobuoy.yaml", tmp_path, body).returncode == 0
    told = (tmp_path / "done").read_text()
    assert told == f"{tmp_path}/gpuready.xml"
    assert Path(told).read_text() == "<testsuites/>\n"
    document = yaml.safe_load((FILES / "sonobuoy.yaml").read_text("utf-8"))
    assert document["sonobuoy-config"]["result-format"] == "junit"


def test_logs_become_one_report_of_all_nodes_that_should_be_there(tmp_path: Path) -> None:
    program(tmp_path / "bin", "kubectl", KUBECTL)
    python = shutil.which("python3")
    assert python is not None
    logs = tmp_path / "logs"
    for number, kind in ((1, "ready"), (2, "not-restarted")):
        snapshot(
            logs / f"gpuready-{number}", kind, node="chroot:///host", hostname=f"gpu{number}", gpus=f"{number:08x}"
        )
    (logs / "gpuready-3").write_text("ERROR: no such option\n")
    (tmp_path / "pods").write_text("".join(f"gpuready-{n} gpu{n}.example.org\n" for n in (1, 2, 3)) + "gpuready-9 \n")
    (tmp_path / "nodes").write_text("".join(f"gpu{n}.example.org\n" for n in (1, 2, 3, 4)))
    done = run("sh", FILES / "collect", "results", bins=tmp_path / "bin", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    made = json.loads((tmp_path / "gpuready.json").read_text())
    assert [(node["node"], node["verdict"]) for node in made["nodes"]] == [
        ("chroot://gpu1/host", "ready"),
        ("chroot://gpu2/host", "not-ready"),
        ("gpu3.example.org", "incomplete"),
        ("gpu4.example.org", "incomplete"),
    ]
    assert made["nodes"][2]["reason"].startswith("results/gpu3.example.org.json is no JSON")


def judged(folder: Path, name: str, hosts: str, *before: str) -> dict[str, Any]:
    """The one node of a run of the real suite."""
    command = [*before, sys.executable, "-m", "pytest", "--gpuready", "-q", "-p", "no:cacheprovider", "--hosts", hosts]
    report = folder / f"{name}.json"
    done = subprocess.run(
        [*command, f"--gpuready-json={report}", "--gpuready-timeout=120"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    (node,) = json.loads(report.read_text())["nodes"]
    return dict(node)


@pytest.mark.slow
@pytest.mark.lab("root", "unshare")
def test_from_a_mount_namespace_of_its_own_a_node_is_judged_as_from_itself(tmp_path: Path) -> None:
    """/ is bound below a folder of that namespace, as hostPath is in a pod's."""
    here = judged(tmp_path, "here", "local://")
    host = tmp_path / "host"
    host.mkdir()
    bound = f'mount --rbind / {host} && mount -o remount,bind,ro {host} && exec "$@"'
    inside = judged(tmp_path, "inside", f"chroot://{host}", "unshare", "-m", "sh", "-c", bound, "sh")
    assert inside["hostname"] == here["hostname"]
    assert inside["inventory"]["os"] == here["inventory"]["os"]
    assert told(inside) == told(here)


def told(node: dict[str, Any]) -> dict[str, str]:
    """The checks that ask no daemon: other tests may start one here at any time."""
    return {check["check"]: check["status"] for check in node["checks"] if check["family"] in ("node", "driver")}
