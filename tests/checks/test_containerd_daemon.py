"""The daemon: installed, running, and which one is judged where several are there."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd_api.ask import VERSION_PATH
from pytest_gpuready.model import Settings
from tests.containerd_api.support import curl_call, curl_output
from tests.support import kubernetes
from tests.support.containerd import (
    NO_TOOL,
    RESTART,
    SOCKET,
    Live,
    commands,
    config,
    finding,
    healthy,
    k3s,
    loaded,
    mine,
    outcome,
    programs,
    says,
    several,
    stopped,
    summary,
)
from tests.support.findings import evidence
from tests.support.simnode import Proc, SimNode

# ---------------------------------------------------------------------- installed


def test_a_node_without_containerd_is_told_how_to_install_it() -> None:
    node = SimNode().program("/usr/bin/apt-get").put("/etc/os-release", "ID=debian\n")
    assert mine(node.judge()) == ["containerd.installed"]
    assert "install -y containerd" in commands(node, "installed")[0]


@pytest.mark.parametrize(("comm", "words"), [("crio", "CRI-O"), ("dockerd", "Docker's engine")])
def test_a_node_with_another_engine_gets_a_sentence(comm: str, words: str) -> None:
    node = SimNode().process(Proc(5, comm, [comm], f"/usr/bin/{comm}"))
    node.program("/usr/bin/apt-get").put("/etc/os-release", "ID=debian\n")
    found = outcome(node, "installed")
    assert words in found.found
    assert found.remedy is not None
    # Whose node it is to be is a person's to say: nothing is installed beside another engine on a guess.
    assert (found.remedy.commands, words in found.remedy.summary) == ((), True)
    assert mine(node.judge()) == ["containerd.installed"]


def test_containerd_off_path_is_installed() -> None:
    assert "not on PATH" in outcome(SimNode().program("/var/lib/k0s/bin/containerd"), "installed").found


def test_a_daemon_that_runs_from_a_place_of_its_own_is_installed() -> None:
    node = SimNode().process(Proc(9, "containerd", ["containerd"], "/opt/x/containerd"))
    assert outcome(node, "installed").found == "pid 9 runs /opt/x/containerd"
    assert outcome(node.program("/var/lib/k0s/bin/containerd"), "installed").found == "pid 9 runs /opt/x/containerd"
    node.procs[0].exe = ""
    assert outcome(node, "installed").found == "pid 9 runs from a place that it does not show"


def test_two_other_engines_are_both_named() -> None:
    node = SimNode()
    assert outcome(node, "installed").found == "no containerd on PATH, and none runs"
    assert finding(node, "installed").status == "fail"
    node.process(Proc(5, "crio", ["crio"], "/usr/bin/crio")).process(
        Proc(6, "dockerd", ["dockerd"], "/usr/bin/dockerd")
    )
    node.process(Proc(7, "sh", ["sh"], "/bin/sh"))
    assert outcome(node, "installed").found == (
        "no containerd on PATH, and none runs: this node runs CRI-O and Docker's engine, "
        "and this suite judges containerd"
    )


def test_an_unknown_version_is_left_out() -> None:
    node = healthy(SimNode()).answer(("containerd", "--version"), "", state="timeout")
    says(node, NO_TOOL)
    assert outcome(node, "installed").found == "/usr/bin/containerd"
    assert outcome(healthy(SimNode()), "installed").found == "/usr/bin/containerd 1.7.24"


# ---------------------------------------------------------------------- running


def test_dockers_own_containerd_is_not_the_nodes() -> None:
    node = programs(SimNode(), "1.7.24")
    args = ["containerd", "--config", "/var/run/docker/containerd/containerd.toml"]
    node.process(Proc(7, "containerd", args, "/usr/bin/containerd"))
    assert "Docker's own" in outcome(node, "running").found


def test_a_users_own_containerd_is_not_the_nodes() -> None:
    node = healthy(SimNode())
    node.procs.insert(0, Proc(5, "containerd", ["containerd"], "/tmp/evil", uid=1000))
    assert "pid 900" in outcome(node, "selected").found
    facts = node.facts()
    assert not [request for request, _ in facts if "/tmp/evil" in request.arg]


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"via=none\nsocket=stale\n", "fail", "nobody listens"),
        (b"via=none\nsocket=absent\n", "fail", "is not there"),
        (b"via=none\nsocket=other\n", "fail", "is no socket"),
        (b"via=none\nsocket=busy\n", "unknown", "no answer"),
        (b"garbage", "unknown", ""),
        (NO_TOOL, "pass", "it was not asked"),
    ],
)
def test_what_the_socket_says_decides_whether_it_runs(answer: bytes, status: str, words: str) -> None:
    node = says(healthy(SimNode()), answer)
    found = outcome(node, "running")
    assert found.status == status
    assert words in found.found


def test_a_masked_unit_is_unmasked_first() -> None:
    node = stopped(healthy(SimNode()))
    node.units["containerd.service"] |= {"LoadState": "masked"}
    assert commands(node, "running") == ("sudo systemctl unmask containerd", "sudo systemctl enable --now containerd")


def test_without_systemd_no_command_is_made_up() -> None:
    node = stopped(healthy(SimNode(systemd=False)))
    assert commands(node, "running") == ()
    assert "no systemd" in summary(node, "running")


def test_a_daemon_started_by_hand_is_not_restarted_by_its_service() -> None:
    node = healthy(SimNode())
    node.units["containerd.service"] |= {"ActiveState": "inactive", "MainPID": "0"}
    says(node, Live("1.7.24"))
    assert commands(node, "restarted") == ()
    assert "pid 900" in summary(node, "restarted")


def test_a_stopped_daemon_says_what_its_unit_is_and_its_last_words() -> None:
    node = stopped(healthy(SimNode())).answer(("journalctl",), "containerd: boom\n")
    found = outcome(node, "running")
    assert found.found == "no containerd runs: containerd.service is inactive"
    assert found.expected == f"containerd runs and answers at {SOCKET}"
    assert evidence(found) == [
        ("systemctl show containerd.service", "inactive (dead), result success"),
        ("journalctl -u containerd", "containerd: boom"),
    ]
    node.units["containerd.service"] |= {"LoadState": "masked"}
    assert outcome(node, "running").found == "no containerd runs: containerd.service is masked"


def test_systemds_own_failure_to_run_the_program_is_shown() -> None:
    said = "containerd.service: Failed at step EXEC spawning /opt/containerd: No such file or directory"
    journal = f"{said}\ncontainerd.service: Failed with result 'exit-code'.\n"
    found = outcome(stopped(healthy(SimNode())).answer(("journalctl",), journal), "running")
    assert evidence(found)[1:] == [("journalctl -u containerd", said)]


def test_without_a_unit_nothing_is_said_of_one() -> None:
    found = outcome(stopped(healthy(SimNode(systemd=False))), "running")
    assert (found.found, evidence(found)) == ("no containerd runs", [])


def test_a_users_own_daemon_beside_a_stopped_one_is_named() -> None:
    node = stopped(healthy(SimNode()))
    node.process(Proc(5, "containerd", ["containerd"], "/tmp/mine", uid=1000))
    assert outcome(node, "running").found == (
        "no containerd runs: containerd.service is inactive; "
        "not followed: pid 5, called containerd, which runs as uid 1000"
    )


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Live("1.7.24"), f"containerd v1.7.24, pid 900, answers at {SOCKET}"),
        (curl_output(curl_call(VERSION_PATH, b"", status=12)), f"containerd, pid 900, answers at {SOCKET}"),
        (b"via=none\nsocket=stale\n", "pid 900 runs, but "),
        (b"via=none\nsocket=busy\n", "pid 900 runs, but "),
    ],
)
def test_a_daemon_that_runs_and_does_not_answer_is_restarted(answer: Live | bytes, found: str) -> None:
    node = says(healthy(SimNode()), answer)
    said = outcome(node, "running")
    assert said.found.startswith(found)
    if said.status != "pass":
        assert commands(node, "running") == (RESTART,)


def test_where_two_daemons_are_asked_each_is_told_by_its_own_socket() -> None:
    flags = ["--container-runtime-endpoint=unix:///run/other.sock"]
    node = kubernetes.kubeadm(several(healthy(SimNode(), systemd=True)), flags=flags)
    report = node.judge(Settings(routes=("ctr-gpus",)))
    assert report.findings["containerd.running"].outcome.found == f"containerd v1.7.24, pid 900, answers at {SOCKET}"
    report = node.judge(Settings(routes=("cri-handler",)))
    found = report.findings["containerd.running"]
    assert found.outcome.found == "containerd v1.7.24, pid 901, answers at /run/other.sock"
    assert set(found.per_route.values()) == {"pass"}
    assert len(found.per_route) == 7


def test_one_daemon_for_all_has_one_answer() -> None:
    assert finding(healthy(SimNode()), "running").per_route == {}
    assert finding(several(healthy(SimNode())), "running").per_route == {}
    assert finding(kubernetes.k3s(k3s(SimNode())), "running").per_route == {}


# ---------------------------------------------------------------------- selected


def test_of_several_daemons_the_one_at_the_usual_socket_is_judged() -> None:
    """The others are named."""
    found = outcome(several(healthy(SimNode())), "selected").found
    assert (
        found
        == f"containerd, pid 900 at {SOCKET}: the one at the usual socket; also running: pid 901 at /run/other.sock"
    )


def test_the_user_may_name_another_daemon() -> None:
    settings = Settings(socket="/run/other.sock")
    node = several(healthy(SimNode()))
    assert "named by --gpuready-containerd" in outcome(node, "selected", settings).found
    assert finding(node, "handler", settings).status == "fail"
    gone = Settings(socket="/run/nothing.sock")
    assert outcome(node, "selected", gone).found.startswith("--gpuready-containerd names /run/nothing.sock, and no")
    assert "--gpuready-containerd" in summary(node, "selected", gone)


def test_a_socket_that_is_no_path_is_said_to_be_none() -> None:
    assert finding(healthy(SimNode()), "running", Settings(socket="relative")).status in ("blocked", "unknown")


def test_the_kubelets_daemon_is_judged() -> None:
    """A kubelet at another socket is a root of pods only."""
    node = kubernetes.kubeadm(healthy(SimNode(), systemd=True))
    assert "the kubelet's" in outcome(node, "selected").found
    other = kubernetes.kubeadm(
        healthy(SimNode(), systemd=True), flags=["--container-runtime-endpoint=unix:///run/crio/crio.sock"]
    )
    report = other.judge()
    assert "containerd.selected" in mine(report)
    assert "CRI-O" not in outcome(other, "selected").found
    other.process(Proc(77, "crio", ["crio"], "/usr/bin/crio"))
    assert "CRI-O runs here, which this suite does not judge" in outcome(other, "selected").found
    assert report.findings["containerd.selected"].keeps == ("cri-handler",)
    assert not [root for root in report.routes["ctr-gpus"].roots if root.startswith("containerd.")]
    assert report.findings["containerd.restarted"].blocked_by == ("containerd.selected",)


def test_the_clients_daemon_and_the_kubelets_are_judged_each_for_its_routes() -> None:
    node = kubernetes.kubeadm(
        several(healthy(SimNode(), systemd=True)), flags=["--container-runtime-endpoint=unix:///run/other.sock"]
    )
    says(node, b"via=none\nsocket=stale\n")
    report = node.judge()
    assert report.findings["containerd.running"].per_route["cri-handler"] == "pass"
    assert report.findings["containerd.running"].per_route["ctr-gpus"] == "fail"


def test_the_socket_may_be_set_in_the_file() -> None:
    text = config("1.7.24") + '[grpc]\n  address = "/run/mine.sock"\n'
    node = healthy(SimNode(), text=text)
    says(node, Live("1.7.24"), "/run/mine.sock")
    assert "at /run/mine.sock" in outcome(node, "selected").found
    four = config("2.3.4").replace("version = 3", "version = 4")
    four += '[plugins."io.containerd.server.v1.grpc"]\n  address = "/run/four.sock"\n'
    assert "at /run/four.sock" in outcome(healthy(SimNode(), "2.3.4", text=four), "selected").found


def test_the_only_daemon_is_called_that() -> None:
    assert outcome(healthy(SimNode()), "selected").found == f"containerd, pid 900 at {SOCKET}: the only one"
    settings = Settings(socket=SOCKET)
    found = outcome(healthy(SimNode()), "selected", settings).found
    assert found == f"containerd, pid 900 at {SOCKET}: named by --gpuready-containerd"


def test_the_socket_is_told_as_the_user_spelt_it() -> None:
    node = healthy(SimNode())
    says(node, loaded(node, "1.7.24"), "/var/run/containerd/containerd.sock")
    found = outcome(node, "running", Settings(socket="unix:///var/run/containerd/containerd.sock"))
    assert found.found.endswith("answers at /var/run/containerd/containerd.sock")


def test_without_a_daemon_selected_is_not_applicable() -> None:
    assert outcome(stopped(healthy(SimNode())), "selected").status == "not-applicable"


def test_a_named_socket_without_a_daemon_is_every_routes_root() -> None:
    gone = Settings(socket="/run/nothing.sock", routes=("ctr-gpus", "cri-handler"))
    found = finding(healthy(SimNode()), "selected", gone)
    assert found.outcome.found == (
        f"--gpuready-containerd names /run/nothing.sock, and no containerd runs there (running: pid 900 at {SOCKET})"
    )
    assert found.per_route == {}
    assert found.keeps == ("ctr-gpus", "cri-handler")
    assert finding(healthy(SimNode()), "running", gone).blocked_by == ("containerd.selected",)


def test_a_kubelet_at_another_socket_leaves_the_clients_routes() -> None:
    flags = ["--container-runtime-endpoint=unix:///run/crio/crio.sock"]
    node = kubernetes.kubeadm(healthy(SimNode(), systemd=True), flags=flags)
    found = finding(node, "selected")
    assert found.outcome.found == (
        f"the kubelet uses /run/crio/crio.sock, and no containerd runs there (running: pid 900 at {SOCKET})"
    )
    clients = {route for route, status in found.per_route.items() if status == "pass"}
    assert clients == {"ctr-gpus", "ctr-runtime", "ctr-cdi", "nerdctl"}
    assert {status for route, status in found.per_route.items() if route not in clients} == {"fail"}
    running = finding(node, "running")
    assert {route for route, status in running.per_route.items() if status == "pass"} == clients
    said = outcome(node, "selected", Settings(routes=("ctr-cdi",)))
    assert said.found == f"ctr and nerdctl talk to pid 900 at {SOCKET}"
