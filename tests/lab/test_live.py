"""The live proof on real nodes: every route, each way it breaks, and nothing left behind.

The toolkit, the driver and nerdctl are stand-ins (see tests/lab/standins); containerd, runc, the pods and what cleans
up are real.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.live import plan
from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.runner import Runner
from pytest_gpuready.views import Views
from pytest_gpuready.views.live import Live
from tests.lab import cri, hardware, image
from tests.support.leftovers import settled, soak, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_gpuready.report.model import NodeReport
    from tests.lab.node import Node
    from tests.support.leftovers import Run

pytestmark = pytest.mark.lab

#: The routes that a healthy node of the lab offers and has configured.
READY = {
    "1.6": {"ctr-gpus", "ctr-runtime", "cri-handler"},
    "1.7": {"ctr-gpus", "ctr-runtime", "cri-handler"},
    "2.x": {"ctr-gpus", "ctr-runtime", "ctr-cdi", "cri-handler", "cri-cdi"},
}
RUNTIME = "/usr/bin/nvidia-container-runtime"
NERDCTL = """#!/bin/sh
# Stands for: nerdctl 2.0: run --gpus all by way of ctr. Cannot show: its own networks, logs and limits.
case ${1:-} in --version | version) echo "nerdctl version 2.0.0"; exit 0 ;; esac
gpus="" name="" label=""
while [ $# -gt 0 ]; do
    case $1 in
    --address=*) address=${1#*=} ;;
    --namespace=*) space=${1#*=} ;;
    --gpus=all) gpus="--gpus=0 --gpus=1" ;;
    --name=*) name=${1#*=} ;;
    --label=*) label=$1 ;;
    run | --*) ;;
    *) break ;;
    esac
    shift
done
image=$1
shift
exec ctr -a "$address" -n "$space" run --rm "$label" $gpus "$image" "$name" "$@"
"""


def root(node: Node) -> Run:
    """Scripts on a node, without SSH."""
    return lambda script: node.run(script, timeout=120).stdout


def live(node: Node, *routes: str, image: str = "builtin", idle: bool = False) -> NodeReport:
    settings = Settings(routes=routes, live=True, live_idle_only=idle, image=image)
    runner = Runner([parse(node.ssh_spec)], settings, Options(ssh_config=str(node.ssh_config)), timeout=60)
    return runner.run().nodes[0]


def told(report: NodeReport) -> str:
    return "\n".join(f"{one.check.id} {one.status}: {one.outcome.found}" for one in report.roots)


def proven(report: NodeReport) -> set[str]:
    return {route for route, found in report.routes.items() if found.proof == "live" and found.verdict == "ready"}


def later(node: Node, before: set[str]) -> set[str]:
    """What is there more than before; shims end a moment after their containers."""
    end = time.monotonic() + 30
    while (extra := state(root(node)) - before) and time.monotonic() < end:
        time.sleep(1)
    return extra


@pytest.fixture
def tidy(healthy_node: Node) -> Iterator[Node]:
    """A node that must be as it was when the test is over."""
    live(healthy_node, "ctr-gpus")  # what stays from a first run: folders of the daemon's
    before = state(root(healthy_node))
    yield healthy_node
    assert settled(root(healthy_node))
    assert later(healthy_node, before) == set()


@pytest.mark.ci
def test_every_route_runs_and_nothing_is_left(tidy: Node, generation: str) -> None:
    report = live(tidy, "ctr-gpus", "cri-handler")
    assert report.verdict == "ready", told(report)
    assert proven(report) == READY[generation], told(report)
    view = Views(report.facts, Settings(live=True)).get(Live)
    assert view.left == ""
    seen = view.container("cri-handler").seen
    assert seen is not None
    assert seen.opens["/dev/nvidia-uvm"] == "No such device or address"  # simulated: no driver answers, on both sides


def test_a_live_run_is_one_login(healthy_node: Node) -> None:
    count = "journalctl -u ssh --no-pager -o cat | grep -c 'Accepted publickey' || true"
    before = int(healthy_node.run(count, check=True).stdout.strip() or 0)
    live(healthy_node, "ctr-gpus")
    assert int(healthy_node.run(count, check=True).stdout.strip()) == before + 1


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_the_default_handler_and_nerdctl_run_too(lab_node: Node) -> None:
    """The nerdctl is a stand-in that calls ctr."""
    lab_node.run("nvidia-ctk runtime configure --runtime=containerd --set-as-default", check=True)
    lab_node.restart_containerd()
    lab_node.put("/usr/bin/nerdctl", NERDCTL, 0o755)
    report = live(lab_node, "all")
    assert proven(report) >= {"cri-default", "nerdctl"}, told(report)


WRAPPER = """#!/bin/sh
case $* in *--version*) echo "NVIDIA Container Runtime version 1.18.2" ;; esac
log="" before="" create=""
for word in "$@"; do
    [ "$before" != --log ] || log=$word
    [ "$word" != create ] || create=yes
    before=$word
done
WHAT
exec runc "$@"
"""


def changed(node: Node, old: str, new: str) -> None:
    """Change the stand-in of the runtime; real ones cannot be changed so."""
    text = node.read(RUNTIME)
    assert old in text
    node.put(RUNTIME, text.replace(old, new), 0o755)


def no_request_is_acted_upon(node: Node) -> None:
    """The runtime is a program that passes everything on to runc."""
    node.put(RUNTIME, WRAPPER.replace("WHAT", ""), 0o755)


def it_ends_in_words_that_nobody_knows(node: Node) -> None:
    said = """if [ -n "$create" ]; then
    echo '{"level":"error","msg":"the moon is in the way","time":"2026-11-22T09:00:00Z"}' >>"$log"
    exit 1
fi"""
    node.put(RUNTIME, WRAPPER.replace("WHAT", said), 0o755)


def it_hangs(node: Node) -> None:
    node.put(RUNTIME, WRAPPER.replace("WHAT", '[ -z "$create" ] || exec sleep 600'), 0o755)


def every_container_gets_all(node: Node) -> None:
    """The runtime takes an unset variable for `all`."""
    changed(node, "case $wanted in '' | void | none)", "wanted=${wanted:-all}; case $wanted in void | none)")


def uvm_is_forbidden(node: Node) -> None:
    """The rules leave /dev/nvidia-uvm out."""
    changed(node, '    rules="$rules,', '    [ $node = /dev/nvidia-uvm ] || rules="$rules,')


def one_gpu_is_missing(node: Node) -> None:
    """The runtime brings the first GPU only."""
    changed(node, 'gpus=$(chosen_gpus "$wanted")', "gpus=$(chosen_gpus 0)")


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
@pytest.mark.parametrize(
    ("fault", "check", "status", "words"),
    [
        pytest.param(no_request_is_acted_upon, "live.ctr-runtime", "fail", "no nvidia-smi", marks=pytest.mark.ci),
        (every_container_gets_all, "live.isolation", "fail", "asks for no GPU sees"),
        (uvm_is_forbidden, "live.ctr-runtime", "fail", "CUDA will not start"),
        (one_gpu_is_missing, "live.same-gpus", "fail", "missing inside"),
        (it_ends_in_words_that_nobody_knows, "live.ctr-runtime", "unknown", "the moon is in the way"),
    ],
)
def test_what_only_a_container_shows_is_the_root(
    lab_node: Node, fault: Callable[[Node], None], check: str, status: str, words: str
) -> None:
    fault(lab_node)
    report = live(lab_node, "ctr-runtime")
    assert report.routes["ctr-runtime"].roots == (check,), told(report)
    assert (report.findings[check].status, words in report.findings[check].outcome.found) == (status, True), told(
        report
    )
    assert Views(report.facts, Settings(live=True)).get(Live).left == ""


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_what_the_passive_checks_find_is_the_root_and_no_container_is_run_for_it(lab_node: Node) -> None:
    hardware.break_handler(lab_node)
    report = live(lab_node, "ctr-gpus", "cri-handler")
    assert report.findings["live.cri-handler"].blocked_by == ("containerd.handler",), told(report)
    view = Views(report.facts, Settings(live=True)).get(Live)
    assert not [name for name in view.sections if name.startswith("cri-handler")]
    assert "ctr-gpus" in proven(report), told(report)


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_a_container_that_hangs_is_ended_and_removed(lab_node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    live(lab_node, "ctr-gpus")
    before = state(root(lab_node))
    it_hangs(lab_node)
    monkeypatch.setattr(plan, "SECONDS", 5)
    report = live(lab_node, "ctr-runtime")
    assert "deadline" in report.findings["live.ctr-runtime"].outcome.found, told(report)
    assert settled(root(lab_node))
    assert later(lab_node, before) == set()


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_an_image_of_the_users_is_looked_for_where_each_route_looks(tidy: Node) -> None:
    report = live(tidy, "ctr-gpus", image=image.NAME)
    assert report.findings["live.image"].per_route["ctr-gpus"] == "pass", told(report)
    assert "ctr-gpus" in proven(report), told(report)
    missing = live(tidy, "ctr-gpus", image="nvidia/cuda:12.8.1-base-ubuntu24.04")
    assert missing.findings["live.image"].status == "unknown"
    remedy = missing.findings["live.image"].outcome.remedy
    assert remedy is not None
    assert remedy.commands == ("sudo ctr images pull docker.io/nvidia/cuda:12.8.1-base-ubuntu24.04",)


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_a_busy_gpu_is_left_alone(tidy: Node) -> None:
    assert "ctr-gpus" in proven(live(tidy, "ctr-gpus", idle=True))
    hardware.describe(tidy, apps="GPU-6f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c40, 4711")
    try:
        report = live(tidy, "ctr-gpus", idle=True)
    finally:
        hardware.describe(tidy, apps="")
    assert report.verdict == "unknown"
    assert "4711" in report.findings["live.ctr-gpus"].outcome.found, told(report)


@contextlib.contextmanager
def kubelet(node: Node, every: float) -> Iterator[None]:
    """Stands for: a kubelet's housekeeping, which removes sandboxes that it does not know, every two seconds.

    Cannot show: what a kubelet does to images and cgroups.
    """
    over = threading.Event()

    def keep() -> None:
        while not over.wait(every):
            with contextlib.suppress(cri.CriError):
                for one in cri.call(node, "ListPodSandbox").get(1, []):
                    identity = cri.encode((1, bytes(cri.decode(one)[1][0]).decode()))
                    cri.call(node, "StopPodSandbox", identity)
                    cri.call(node, "RemovePodSandbox", identity)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_pods_live_through_a_kubelet_that_removes_unknown_sandboxes(tidy: Node) -> None:
    """Every two seconds, as it does: a pod is done by then, or begun again; at worst unknown, and by whom."""
    with kubelet(tidy, 2):
        report = live(tidy, "cri-handler")
    finding = report.findings["live.cri-handler"]
    assert finding.status == "pass" or finding.outcome.found.startswith("removed by the kubelet"), told(report)


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_a_pod_that_is_always_removed_is_unknown_and_says_by_whom(tidy: Node) -> None:
    """Far oftener than any kubelet. containerd 2.1.9 keeps a shim of a pod that is removed while a container starts.

    The run ends it.
    """
    with kubelet(tidy, 0.02):
        report = live(tidy, "cri-handler")
    finding = report.findings["live.cri-handler"]
    assert finding.status == "pass" or finding.outcome.found.startswith("removed by the kubelet"), told(report)


def command(node: Node) -> list[str]:
    return [f"--hosts={node.ssh_spec}", f"--ssh-config={node.ssh_config}", "--gpuready-routes=ctr-gpus,cri-handler"]


@pytest.mark.parametrize("generation", ["1.6", "2.x"], indirect=True)
@pytest.mark.parametrize("how", [pytest.param("SIGKILL", marks=pytest.mark.ci), "SIGINT", "the connection"])
def test_the_node_cleans_itself_when_the_run_is_ended(tidy: Node, tmp_path: Path, how: str) -> None:
    """As soon as the first container is there, pytest is killed, or sshd's process for this login."""
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--gpuready", "--gpuready-live", *command(tidy)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    ) as process:
        end = time.monotonic() + 120
        while "gpuready-" not in tidy.run("ctr namespaces ls -q").stdout and time.monotonic() < end:
            time.sleep(0.05)
        if how == "the connection":
            tidy.run("for p in $(pgrep -f 'sshd: root@notty'); do kill -KILL $p; done")
        else:
            os.kill(process.pid, getattr(signal, how))
        process.wait(120)
    assert settled(root(tidy))


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_the_ctr_fixture_runs_imports_and_cleans_up(tidy: Node, tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(f"""
import pytest
from pytest_gpuready.live.client import CtrError

def test_run(ctr):
    assert ctr.version >= (2, 0)
    done = ctr.run({image.NAME!r}, "nvidia-smi", "-L", gpus=[0])
    assert (done.rc, done.output.count("UUID")) == (0, 1)
    assert ctr.run("builtin", "sh", "-c", "exit 7").rc == 7
    assert ctr.run("builtin", "sleep", "60", seconds=2).rc in (124, 137)

def test_images(ctr):
    assert {image.NAME!r} in ctr.images()
    assert {{"default", "k8s.io"}} <= set(ctr.namespaces())
    assert ctr.import_image("/usr/share/gpuready-lab/image.tar", namespace="theirs") == [{image.NAME!r}]

def test_refusals(ctr):
    with pytest.raises(CtrError, match="not in the namespace default"):
        ctr.run("no/such:image", "true")
    with pytest.raises(CtrError, match="no name of an image"):
        ctr.run("a b", "true")
    with pytest.raises(CtrError, match="seconds"):
        ctr.run("builtin", "true", seconds=0)
    with pytest.raises(CtrError):
        ctr.import_image("/no/such/archive.tar")
""")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hosts={tidy.ssh_spec}",
         f"--ssh-config={tidy.ssh_config}", "test_theirs.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert tidy.run("ctr -n theirs images ls -q").stdout == ""
    tidy.run("ctr namespaces rm theirs", check=True)


@pytest.mark.slow
@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_a_hundred_runs_twenty_of_them_killed_leave_nothing(tidy: Node, tmp_path: Path) -> None:
    done = soak(command(tidy), root(tidy), runs=100, kills=20, folder=tmp_path, seed=9, longest=8)
    assert done.left == []
    assert done.ready == 80
