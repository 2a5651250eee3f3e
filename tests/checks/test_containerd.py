"""containerd on whole nodes: healthy, with the usual faults, partly unreadable, brought by another program."""

from __future__ import annotations

import pytest

from tests.support import kubernetes
from tests.support.containerd import (
    CONFIG,
    K3S_CONFIG,
    K3S_SOCKET,
    RELEASES,
    RESTART,
    RUNTIME,
    SOCKET,
    V2,
    V3,
    Live,
    commands,
    config,
    finding,
    healthy,
    k3s,
    loaded,
    mine,
    outcome,
    says,
    stopped,
    summary,
)
from tests.support.findings import evidence
from tests.support.simnode import Proc, SimNode

DENIED = b"via=none\nsocket=denied\n"


# ---------------------------------------------------------------------- healthy, and the usual faults


@pytest.mark.parametrize("release", ["1.6.20~ds1", *RELEASES, "2.3.4", "2.4.0"])
def test_a_healthy_node_has_no_root_here(release: str) -> None:
    report = healthy(SimNode(), release).judge()
    assert mine(report) == []
    for name in ("installed", "running", "selected", "config-loads", "cri-enabled", "handler", "handler-runtime-type"):
        assert report.findings[f"containerd.{name}"].status == "pass", name
    assert report.findings["containerd.restarted"].outcome.found == "pid 900 serves what is on disk"
    assert report.findings["containerd.handler-cgroups"].status == "pass"
    assert report.findings["containerd.ctr"].status == "pass"
    assert report.findings["containerd.supports-route"].status == "pass"


@pytest.mark.parametrize("release", RELEASES)
def test_issue_the_handler_is_missing(release: str) -> None:
    node = healthy(SimNode(), release, text=f"version = {2 if release[0] == '1' else 3}\n")
    assert mine(node.judge()) == ["containerd.handler"]
    found = outcome(node, "handler")
    assert found.found.startswith(f"containerd {release} would load no handler nvidia (handlers: runc)")
    assert found.where is not None
    assert found.where.path == CONFIG
    assert f'BinaryName = "{RUNTIME}"' in commands(node, "handler")[0]
    assert commands(node, "handler")[-1] == RESTART


@pytest.mark.parametrize(("release", "wrong"), [("1.6.20~ds1", V3), ("1.7.24", V3), ("2.1.9", V2)])
def test_issue_the_handler_is_in_the_wrong_table_for_this_version(release: str, wrong: str) -> None:
    right = V2 if release[0] == "1" else V3
    text = config(release).replace(f"[{right}.containerd.runtimes.nvidia", f"[{wrong}.containerd.runtimes.nvidia")
    if release[0] == "1":
        text = text.replace("version = 3", "version = 2")
    node = healthy(SimNode(), release, text=text)
    assert mine(node.judge()) == ["containerd.handler"]
    assert right in commands(node, "handler")[0]


@pytest.mark.parametrize("release", RELEASES)
def test_issue_configured_and_not_restarted(release: str) -> None:
    node = healthy(SimNode(), release)
    live = loaded(node, release)
    del live.handlers["nvidia"]
    says(node, live)
    assert mine(node.judge()) == ["containerd.restarted"]
    found = outcome(node, "restarted")
    assert found.found == "handler nvidia: there on disk, missing in the running daemon"
    assert found.where is not None
    assert found.where.line
    assert commands(node, "restarted") == (RESTART,)


def test_issue_the_runtime_binary_is_missing() -> None:
    node = healthy(SimNode())
    node.remove(RUNTIME)
    report = node.judge()
    assert [root for root in mine(report) if root != "containerd.handler-binary"] == []
    assert report.findings["containerd.handler-binary"].status in ("fail", "blocked")


@pytest.mark.parametrize(
    ("release", "entry"),
    [("1.6.39", "cri"), ("1.7.24", "io.containerd.grpc.v1.cri"), ("2.1.9", "io.containerd.grpc.v1.cri")],
)
def test_issue_the_cri_plugin_is_disabled(release: str, entry: str) -> None:
    head = "" if entry == "cri" else f"version = {2 if release[0] == '1' else 3}\n"
    node = healthy(SimNode(), release, text=f'{head}disabled_plugins = ["{entry}"]\n')
    assert mine(node.judge()) == ["containerd.cri-enabled"]
    found = outcome(node, "cri-enabled")
    assert found.found == "the CRI plugin is disabled (disabled_plugins)"
    assert any("disabled_plugins" in text for _, text in evidence(found))
    assert found.where is not None
    assert found.where.line == (1 if entry == "cri" else 2)
    assert commands(node, "cri-enabled")[0].startswith(f"sudo sed -i '{found.where.line}s|")
    assert commands(node, "cri-enabled")[-1] == RESTART
    assert finding(node, "handler").blocked_by == ("containerd.cri-enabled",)
    # CRI off by the files and off live is equal content.
    assert finding(node, "restarted").status == "pass"


@pytest.mark.parametrize("release", RELEASES)
def test_issue_a_syntax_error_while_the_daemon_still_runs(release: str) -> None:
    node = healthy(SimNode(), release)
    node.put(CONFIG, config(release) + "this is no toml\n")
    assert mine(node.judge()) == ["containerd.config-loads"]
    assert finding(node, "running").status == "pass"
    found = outcome(node, "config-loads")
    assert found.where is not None
    assert found.where.line == len(config(release).splitlines()) + 1
    assert commands(node, "config-loads")[0] == f"sudo sed -i '{found.where.line}s/^/# /' {CONFIG}"


@pytest.mark.parametrize("release", RELEASES)
def test_issue_a_syntax_error_is_the_root_of_a_dead_daemon(release: str) -> None:
    node = healthy(SimNode(), release)
    stopped(node).put(CONFIG, config(release) + "this is no toml\n")
    report = node.judge()
    assert mine(report) == ["containerd.config-loads"]
    assert report.findings["containerd.running"].blocked_by == ("containerd.config-loads",)


@pytest.mark.parametrize("release", RELEASES)
def test_issue_the_daemon_is_stopped(release: str) -> None:
    node = stopped(healthy(SimNode(), release))
    node.answer(("journalctl",), "noise\ncontainerd: boom\n")
    assert mine(node.judge()) == ["containerd.running"]
    assert commands(node, "running") == ("sudo systemctl enable --now containerd",)
    assert "containerd: boom" in [item.text for item in outcome(node, "running").evidence]
    assert finding(node, "restarted").blocked_by == ("containerd.running",)


def test_a_dead_table_is_named_with_its_line() -> None:
    text = config("2.1.9").replace(f"[{V3}.containerd.runtimes.nvidia", "[plugins.cri.containerd.runtimes.nvidia")
    found = outcome(healthy(SimNode(), "2.1.9", text=text), "handler")
    assert found.where is not None
    assert found.where.path == CONFIG


# ---------------------------------------------------------------------- what may not be read


def test_without_root_only_privileges_is_a_root() -> None:
    node = says(healthy(SimNode(uid=1000)), DENIED)
    assert mine(node.judge()) == ["node.privileges"]
    assert SOCKET in node.judge().findings["node.privileges"].outcome.found


def test_an_unreadable_configuration_is_privileges() -> None:
    node = healthy(SimNode(uid=1000)).deny(CONFIG)
    assert mine(node.judge()) == ["node.privileges"]


def test_with_hidepid_nothing_is_taken_for_not_running() -> None:
    node = healthy(SimNode(uid=1000))
    node.procs.clear()
    text = node._identity() + "hidden processes\n"
    node.answer(("uname, id, hostname, date",), text)
    assert mine(node.judge()) == ["node.privileges"]


# ---------------------------------------------------------------------- embedded


def test_k3s_is_judged_by_its_own_file_and_socket() -> None:
    report = kubernetes.k3s(k3s(SimNode())).judge()
    assert report.required.names == ("cri-handler",)
    assert mine(report) == []
    assert K3S_SOCKET in report.findings["containerd.selected"].outcome.found
    assert report.findings["containerd.config-loads"].outcome.found == K3S_CONFIG


def test_k3s_registers_the_handler_itself_and_its_file_is_never_edited() -> None:
    node = k3s(SimNode()).put(K3S_CONFIG, "version = 3\n")
    says(node, loaded(node, "2.1.4"), K3S_SOCKET)
    assert commands(node, "handler") == ("sudo systemctl restart k3s",)
    node.put(K3S_CONFIG, config("2.1.9").replace("SystemdCgroup = false", "SystemdCgroup = true", 1))
    assert commands(node, "handler-cgroups") == ("sudo systemctl restart k3s",)
    assert "config-v3.toml.tmpl" in summary(node, "handler-cgroups")
    assert "--default-runtime nvidia" in summary(node, "default-runtime")


@pytest.mark.parametrize(
    ("path", "socket", "service", "name"),
    [
        ("/var/lib/rancher/rke2/agent/etc/containerd/config.toml", K3S_SOCKET, "rke2-agent.service", "RKE2"),
        ("/data/k3s/agent/etc/containerd/config.toml", K3S_SOCKET, "k3s-agent.service", "k3s"),
        ("/var/snap/microk8s/current/args/containerd.toml", "/var/snap/microk8s/common/run/containerd.sock",
         "snap.microk8s.daemon-containerd.service", "MicroK8s"),
        ("/etc/k0s/containerd.toml", "/run/k0s/containerd.sock", "k0sworker.service", "k0s"),
    ],
)  # fmt: skip
def test_embedded_daemons_are_known_by_their_command_line(path: str, socket: str, service: str, name: str) -> None:
    node = SimNode().program("/usr/bin/sudo").program("/opt/x/containerd").unit(service, Id=service)
    node.process(Proc(9, "containerd", ["containerd", "--config", path, "--address", socket], "/opt/x/containerd"))
    node.answer(("/opt/x/containerd", "--version"), "containerd github.com/containerd/containerd/v2 v2.1.9 x\n")
    node.put(path, ("# k0s_managed=true\n" if name == "k0s" else "") + "not toml\n").socket(socket)
    says(node, Live("2.1.9"), socket)
    report = node.judge()
    assert report.findings["containerd.selected"].outcome.found.startswith(f"{name}, pid 9 at {socket}")
    remedy = report.findings["containerd.config-loads"].outcome.remedy
    assert remedy is not None
    assert remedy.commands == (f"sudo systemctl restart {service.removesuffix('.service')}",)
