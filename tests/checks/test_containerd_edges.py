"""What containerd's checks show beside their words (place, evidence, command), and nodes at the edges of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd_api.ask import VERSION_PATH
from pytest_gpuready.model import Settings
from tests.checks.test_containerd import NO_TOOL, RESTART, binary, commands, finding, outcome, several
from tests.containerd_api.support import curl_call, curl_output
from tests.support import kubernetes
from tests.support.containerd import CONFIG, RUNTIME, SOCKET, V2, V3, Live, config, healthy, k3s, loaded, says, stopped
from tests.support.nodes import ready
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome


def evidence(found: Outcome) -> list[tuple[str, str]]:
    assert found.status != "unknown"
    return [(item.source, item.text) for item in found.evidence]


# ------------------------------------------------------------------------------------------------- installed, running


def test_a_daemon_that_runs_from_a_place_of_its_own_is_installed() -> None:
    node = SimNode().process(Proc(9, "containerd", ["containerd"], "/opt/x/containerd"))
    assert outcome(node, "installed").found == "pid 9 runs /opt/x/containerd"
    assert outcome(node.program("/var/lib/k0s/bin/containerd"), "installed").found == "pid 9 runs /opt/x/containerd"
    node.procs[0].exe = ""
    assert outcome(node, "installed").found == "pid 9 runs from a place that it does not show"


def test_no_containerd_at_all_names_no_engine_and_two_engines_are_both_named() -> None:
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


def test_a_version_that_cannot_be_had_is_left_out_of_what_is_there() -> None:
    node = healthy(SimNode()).answer(("containerd", "--version"), "", state="timeout")
    says(node, NO_TOOL)
    assert outcome(node, "installed").found == "/usr/bin/containerd"
    assert outcome(healthy(SimNode()), "installed").found == "/usr/bin/containerd 1.7.24"


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


def test_what_systemd_says_of_a_program_that_it_could_not_run_is_shown() -> None:
    said = "containerd.service: Failed at step EXEC spawning /opt/containerd: No such file or directory"
    journal = f"{said}\ncontainerd.service: Failed with result 'exit-code'.\n"
    found = outcome(stopped(healthy(SimNode())).answer(("journalctl",), journal), "running")
    assert evidence(found)[1:] == [("journalctl -u containerd", said)]


def test_without_a_unit_nothing_is_said_of_one() -> None:
    found = outcome(stopped(healthy(SimNode(systemd=False))), "running")
    assert (found.found, evidence(found)) == ("no containerd runs", [])


def test_a_users_own_daemon_beside_a_stopped_one_is_named_for_what_it_is() -> None:
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


# ------------------------------------------------------------------------------------------------------------ selected


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


def test_without_a_daemon_there_is_none_to_choose() -> None:
    assert outcome(stopped(healthy(SimNode())), "selected").status == "not-applicable"


def test_a_socket_that_nobody_has_is_a_root_of_every_route_where_the_user_named_it() -> None:
    gone = Settings(socket="/run/nothing.sock", routes=("ctr-gpus", "cri-handler"))
    found = finding(healthy(SimNode()), "selected", gone)
    assert found.outcome.found == (
        f"--gpuready-containerd names /run/nothing.sock, and no containerd runs there (running: pid 900 at {SOCKET})"
    )
    assert found.per_route == {}
    assert found.keeps == ("ctr-gpus", "cri-handler")
    assert finding(healthy(SimNode()), "running", gone).blocked_by == ("containerd.selected",)


def test_the_kubelets_socket_that_no_containerd_has_leaves_the_clients_theirs() -> None:
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


# ----------------------------------------------------------------------------------------------------- ctr and routes


def test_ctr_says_which_it_is_and_which_version_where_that_is_known() -> None:
    assert outcome(healthy(SimNode()), "ctr").found == "/usr/bin/ctr 1.7.24"
    silent = healthy(SimNode()).answer(("ctr", "--version"), "", state="timeout")
    assert outcome(silent, "ctr").found == "/usr/bin/ctr"


def test_without_ctr_all_of_its_routes_fail_and_the_others_are_not_asked() -> None:
    node = healthy(SimNode()).remove("/usr/bin/ctr")
    found = finding(node, "ctr")
    assert found.per_route == {"ctr-gpus": "fail", "ctr-runtime": "fail", "ctr-cdi": "fail"} | dict.fromkeys(
        ("cri-handler", "cri-default", "cri-cdi", "nerdctl"), "not-applicable"
    )
    assert found.outcome.found == "ctr is not on PATH"
    node.remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    assert outcome(node, "ctr").found == "ctr is not on PATH"
    offered = finding(node, "supports-route").per_route
    assert {route: offered[route] for route in ("ctr-gpus", "ctr-runtime", "ctr-cdi")} == dict.fromkeys(
        ("ctr-gpus", "ctr-runtime", "ctr-cdi"), "not-applicable"
    )


def test_containerd_off_path_is_no_matter_to_clients_that_hook_nothing() -> None:
    node = healthy(SimNode(), "2.3.4").remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    node.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.3.0\n")
    per_route = finding(node, "ctr").per_route
    assert (per_route["ctr-gpus"], per_route["nerdctl"]) == ("pass", "not-applicable")
    bare = healthy(SimNode(), "2.3.4").remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    assert finding(bare, "ctr").per_route["nerdctl"] == "not-applicable"
    node.answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    assert finding(node, "ctr").per_route["nerdctl"] == "fail"
    assert commands(node, "ctr", Settings(routes=("nerdctl",))) == ('export PATH="$PATH":/var/lib/k0s/bin',)


def test_a_route_that_is_not_offered_says_what_to_use() -> None:
    settings = Settings(routes=("nerdctl",))
    found = outcome(healthy(SimNode()), "supports-route", settings)
    assert (found.found, found.expected) == ("nerdctl is not on PATH", "a version that offers nerdctl")
    assert found.remedy is not None
    assert found.remedy.summary


# -------------------------------------------------------------------------------------------------------- config-loads


def test_what_does_not_load_is_shown_with_its_line() -> None:
    node = healthy(SimNode()).put(CONFIG, "version = 2\nno toml\n")
    found = outcome(node, "config-loads")
    assert str(found.where) == f"{CONFIG}:2"
    assert found.expected == f"containerd 1.7.24 starts with {CONFIG}"
    assert any("no toml" in text for _, text in evidence(found))


def test_a_release_that_is_not_modelled_is_to_be_upgraded() -> None:
    node = healthy(SimNode()).answer(("containerd", "--version"), "containerd containerd.io 1.5.11 abc\n")
    assert "upgrade" in (outcome(node, "config-loads").remedy or pytest.fail("no remedy")).summary.lower()


def test_the_files_that_were_read_are_named() -> None:
    assert outcome(healthy(SimNode()), "config-loads").found == CONFIG


def test_disabled_cri_is_shown_with_its_line() -> None:
    text = 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
    found = outcome(healthy(SimNode(), text=text), "cri-enabled")
    assert found.found == "the CRI plugin is disabled (disabled_plugins)"
    assert any("disabled_plugins" in text for _, text in evidence(found))


def test_a_default_that_is_no_handler_is_shown_with_its_place() -> None:
    text = config("2.1.9") + f'[{V3}.containerd]\n  default_runtime_name = "no"\n'
    found = outcome(healthy(SimNode(), "2.1.9", text=text), "cri-enabled")
    assert found.found.startswith("the CRI plugin would fail: ")
    assert found.where is not None
    assert found.where.path == CONFIG
    assert found.where.line is None or evidence(found)


# ----------------------------------------------------------------------------------------------------------- restarted


def test_four_differences_are_told_and_the_rest_counted() -> None:
    node = healthy(SimNode(), "2.1.9")
    live = loaded(node, "2.1.9")
    for number in range(4):
        live.handlers[f"x{number}"] = {"runtimeType": "io.containerd.kata.v2"}
    found = outcome(says(node, live), "restarted")
    assert found.found.count("; ") == 3
    assert "more" not in found.found
    live.handlers["x4"] = {"runtimeType": "io.containerd.kata.v2"}
    found = outcome(says(node, live), "restarted")
    assert found.found.endswith("; and 1 more")
    assert str(found.where) == CONFIG


def test_when_each_happened_is_the_evidence() -> None:
    node = healthy(SimNode())
    live = loaded(node, "1.7.24")
    del live.handlers["nvidia"]
    found = outcome(says(node, live), "restarted")
    assert evidence(found) == [
        ("times", f"pid 900 started 2026-02-02 02:40:00 UTC\n{CONFIG} changed 2025-10-09 08:53:20 UTC")
    ]


def test_a_handler_that_only_the_daemon_has_is_the_files_matter_only_where_it_is_nvidias() -> None:
    node = healthy(SimNode())
    live = loaded(node, "1.7.24")
    live.handlers["nvidia"]["options"] = {"BinaryName": "/usr/bin/runc"}
    assert finding(says(node, live), "restarted").status == "fail"
    node.put(CONFIG, "version = 2\n")
    assert finding(node, "restarted").status == "fail"
    off = healthy(SimNode())
    off.put(CONFIG, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    assert outcome(off, "restarted").found == "the CRI plugin: not loaded on disk, served in the running daemon"


def test_when_the_start_is_not_known_a_restart_settles_it() -> None:
    node = says(healthy(SimNode()), NO_TOOL)
    node.boot = 1_800_000_000_000_000_000_000
    assert commands(node, "restarted") == (RESTART,)


def with_a_dev_of_its_own(*, private: str = "yes", sees: bool = False) -> SimNode:
    node = ready()
    node.procs[0].mntns = "mnt:[4026532999]"
    node.answer(("systemctl show sandbox",), f"PrivateDevices={private}\nProtectSystem=full\nUser=\n")
    node.put(f"/proc/{node.procs[0].pid}/root{CONFIG}", "")
    root = f"/proc/{node.procs[0].pid}/root"
    node.program(f"{root}{RUNTIME}")
    return node.device(f"{root}/dev/nvidiactl", 195, 255) if sees else node


def test_a_daemon_that_does_not_see_the_device_nodes_gives_nobody_a_gpu() -> None:
    report = with_a_dev_of_its_own().judge()
    found = report.findings["driver.device-nodes"]
    assert found.status == "fail"
    assert "not for containerd" in found.outcome.found
    assert report.verdict == "not-ready"
    assert found.outcome.remedy is not None
    assert found.outcome.remedy.commands == (
        "sudo mkdir -p /etc/systemd/system/containerd.service.d",
        "sudo tee /etc/systemd/system/containerd.service.d/zz-gpuready.conf <<'EOF'\n[Service]\nPrivateDevices=no\nEOF",
        "sudo systemctl daemon-reload",
        RESTART,
    )
    other = with_a_dev_of_its_own(private="no").judge().findings["driver.device-nodes"]
    assert other.outcome.remedy is not None
    assert other.outcome.remedy.commands == ()
    assert "systemctl cat containerd" in other.outcome.remedy.summary


def test_faults_of_the_device_nodes_come_before_what_the_daemon_sees() -> None:
    found = with_a_dev_of_its_own().remove("/dev/nvidia1").judge().findings["driver.device-nodes"]
    assert "not for containerd" not in found.outcome.found
    assert "/dev/nvidia1" in found.outcome.found


def test_a_daemon_with_a_dev_of_its_own_that_no_service_started_is_a_persons_to_mend() -> None:
    """Facts of the first vocabulary; a node that is asked now has such a daemon refused."""
    node = with_a_dev_of_its_own()
    node.units.clear()
    node.vocabulary = 1
    found = node.judge().findings["driver.device-nodes"].outcome.remedy
    assert found is not None
    assert (found.summary, found.commands) == (
        "Let containerd have the node's /dev. What starts it gives it a mount namespace of its own; then restart it.",
        (),
    )


def test_a_daemon_of_root_that_is_not_followed_leaves_it_unknown_whether_one_runs() -> None:
    node = with_a_dev_of_its_own()
    node.units.clear()
    found = node.judge().findings["containerd.running"]
    assert (found.status, found.outcome.found) == (
        "unknown",
        "not followed: pid 900, called containerd, which runs in a mount namespace that is not a service's",
    )


def test_a_daemon_that_does_not_see_its_configuration_needs_more_than_a_restart() -> None:
    node = with_a_dev_of_its_own(private="no", sees=True).remove("/proc/900/root/etc/containerd/config.toml")
    node.answer(("systemctl show sandbox",), "TemporaryFileSystem=/etc/containerd\nPrivateDevices=no\n")
    found = node.judge().findings["containerd.restarted"]
    assert found.status == "fail"
    assert evidence(found.outcome) == [("systemctl show containerd", "TemporaryFileSystem=/etc/containerd")]
    assert found.outcome.remedy is not None
    assert "TemporaryFileSystem=\nEOF" in found.outcome.remedy.commands[1]
    neither = node.remove(CONFIG).judge().findings["containerd.restarted"]
    assert "mount namespace" not in neither.outcome.found


def test_a_unit_that_lets_containerd_not_start_is_named_and_mended() -> None:
    node = stopped(ready())
    node.answer(("systemctl show sandbox",), "ProtectSystem=strict\nUser=nobody\nNoNewPrivileges=no\n")
    found = node.judge().findings["containerd.running"].outcome
    assert "its unit has ProtectSystem=strict, User=nobody" in found.found
    assert found.remedy is not None
    assert "[Service]\nProtectSystem=no\nUser=\nEOF" in found.remedy.commands[1]
    assert found.remedy.commands[-1] == RESTART


@pytest.mark.parametrize("gone", [False, True])
def test_a_program_that_is_hidden_from_the_daemon_is_not_made_executable(*, gone: bool) -> None:
    node = with_a_dev_of_its_own(private="no", sees=True).put("/proc/900/root/usr/bin/nvidia-container-runtime", "")
    if gone:
        node.remove("/proc/900/root/usr/bin/nvidia-container-runtime")
    node.answer(("systemctl show sandbox",), f"InaccessiblePaths={RUNTIME}\n")
    found = node.judge().findings["containerd.handler-binary"].outcome
    assert found.remedy is not None
    assert "InaccessiblePaths=\nEOF" in found.remedy.commands[1]


def test_a_program_that_the_daemon_sees_and_that_is_empty_is_brought_anew() -> None:
    node = with_a_dev_of_its_own(private="yes", sees=True)
    node.put(f"/proc/900/root{RUNTIME}", b"", mode=0o755)
    found = node.judge().findings["containerd.handler-binary"].outcome
    assert "is empty" in found.found
    assert found.remedy is not None
    assert found.remedy.commands == ("sudo apt-get install -y --reinstall nvidia-container-toolkit-base",)


def test_a_mount_namespace_with_the_nodes_in_it_is_none_of_the_drivers_affair() -> None:
    assert with_a_dev_of_its_own(sees=True).judge().verdict == "ready"


# ------------------------------------------------------------------------------------------------------------ handlers


def test_handlers_are_named_where_they_stand_and_their_lines_shown() -> None:
    node = healthy(SimNode())
    assert outcome(node, "handler").where is not None
    assert str(binary(node).outcome.where).startswith(f"{CONFIG}:")
    runc = healthy(SimNode(), text=config("1.7.24", binary="/usr/bin/runc"))
    found = outcome(runc, "handler")
    assert found.where is not None
    assert found.where.line
    assert evidence(found)


def test_nvidias_hook_is_no_runtime() -> None:
    """Its name begins like the runtime's; as one it fails at every pod."""
    node = healthy(SimNode(), text=config("1.7.24", binary=f"{RUNTIME}-hook"))
    node.program(f"{RUNTIME}-hook")
    assert finding(node, "handler").status == "fail"
    assert f"runs {RUNTIME}-hook" in outcome(node, "handler").found
    for twin in (".cdi", ".legacy", "-experimental"):
        assert finding(healthy(SimNode(), text=config("1.7.24", binary=f"{RUNTIME}{twin}")), "handler").status == "pass"


def test_a_node_with_no_handler_at_all_says_none_and_dead_tables_say_why() -> None:
    path, table = "/etc/containerd/conf.d/99-runc.toml", f"{V2}.containerd.runtimes.runc"
    text = 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + config("1.7.24")
    last = f'version = 2\n[{table}]\n  runtime_type = "io.containerd.runc.v2"\n'
    found = outcome(healthy(SimNode(), text=text).put(path, last), "handler")
    assert "runtimes.nvidia" in found.found
    assert " has no effect: " in found.found
    assert found.where is not None
    assert found.where.path == CONFIG
    assert found.where.line
    assert any(source.startswith(f"{CONFIG}:") and "runtimes.nvidia" in text for source, text in evidence(found))
    plain = outcome(healthy(SimNode(), "2.1.9", text="version = 3\n"), "handler")
    assert plain.found == "containerd 2.1.9 would load no handler nvidia (handlers: runc)"
    assert str(plain.where) == CONFIG


def test_another_default_says_what_it_runs_and_where() -> None:
    settings = Settings(routes=("cri-default",))
    found = outcome(healthy(SimNode()), "default-runtime", settings)
    assert found.found == "the default handler is runc, which runs runc"
    assert str(found.where) == CONFIG
    text = config("1.7.24") + f'\n[{V2}.containerd]\n  default_runtime_name = "runc"\n'
    node = healthy(SimNode(), text=text.replace(f"[{V2}.containerd.runtimes.runc.options]\n",
        f'[{V2}.containerd.runtimes.runc.options]\n  BinaryName = "/usr/bin/crun"\n'))  # fmt: skip
    found = outcome(node, "default-runtime", settings)
    assert found.found == "the default handler is runc, which runs /usr/bin/crun"
    assert found.where is not None
    assert found.where.line == len(text.splitlines()) + 1
    assert any("default_runtime_name" in text for _, text in evidence(found))


def test_a_program_that_cannot_be_executed_is_shown_by_the_line_that_names_it() -> None:
    node = healthy(SimNode())
    node.tree[RUNTIME].mode = 0o100644
    found = binary(node).outcome
    assert found.status == "fail"
    assert found.where is not None
    assert found.where.line
    assert any("nvidia" in text for _, text in evidence(found))
    assert found.remedy is not None


def test_a_runtime_type_that_is_wrong_or_missing_is_told_apart_with_its_line() -> None:
    text = config("2.1.9").replace('runtime_type = "io.containerd.runc.v2"', 'runtime_type = "io.containerd.runc.v1"')
    found = outcome(healthy(SimNode(), "2.1.9", text=text), "handler-runtime-type")
    assert found.found == "runtime_type is io.containerd.runc.v1"
    assert found.where is not None
    assert any("io.containerd.runc.v1" in text for _, text in evidence(found))
    head, _, tail = config("2.1.9").rpartition('  runtime_type = "io.containerd.runc.v2"\n')
    found = outcome(healthy(SimNode(), "2.1.9", text=head + tail), "handler-runtime-type")
    assert found.found == "handler nvidia has no runtime_type"
    assert found.where is not None
    assert outcome(healthy(SimNode()), "handler-runtime-type").where is not None


def test_cgroup_drivers_that_agree_are_named_and_those_that_do_not_are_shown() -> None:
    assert outcome(healthy(SimNode()), "handler-cgroups").found == "SystemdCgroup = false, as handler runc"
    assert outcome(healthy(SimNode()), "handler-cgroups").where is not None
    text = config("1.7.24", systemd=True).rpartition("SystemdCgroup = true")
    found = outcome(healthy(SimNode(), text=text[0] + "SystemdCgroup = false" + text[2]), "handler-cgroups")
    assert found.expected == "one cgroup driver for all"
    assert found.where is not None
    assert any("SystemdCgroup = false" in text for _, text in evidence(found))
    text = config("1.7.24").rpartition("SystemdCgroup = false")
    found = outcome(healthy(SimNode(), text=text[0] + "SystemdCgroup = true" + text[2]), "handler-cgroups")
    assert found.found == "handler nvidia has SystemdCgroup = true, handler runc has cgroupfs"


# -------------------------------------------------------------------------------------------------------------- advice


def test_deprecations_of_the_files_are_told_where_the_daemon_says_none() -> None:
    text = config("1.7.24") + f'[{V2}.registry.mirrors."docker.io"]\n  endpoint = ["https://x"]\n'
    node = healthy(SimNode(), text=text)
    found = outcome(node, "deprecations")
    assert found.status == "warn"
    assert CONFIG in found.found
    assert found.remedy is not None
    assert outcome(node, "deprecations", Settings(socket="relative")).found == found.found
    assert outcome(says(node, NO_TOOL), "deprecations").found == found.found
    assert outcome(stopped(healthy(SimNode(), text=text)), "deprecations").found == found.found
    live = loaded(healthy(SimNode()), "1.7.24")
    live.deprecations = [("io.containerd.deprecation/x", "")]
    assert outcome(says(healthy(SimNode()), live), "deprecations").found == "io.containerd.deprecation/x"
    assert outcome(healthy(SimNode()), "deprecations").found == "none is known"


@pytest.mark.parametrize(("release", "status"), [("1.7.24", "warn"), ("2.3.4", "pass")])
def test_an_open_release_warns_and_is_no_root(release: str, status: str) -> None:
    found = ready(release).judge().findings["containerd.not-vulnerable"]
    assert (found.status, found.keeps) == (status, ())
