"""containerd's checks on simulated nodes: failing, passing, not known; for the generations where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.model import Settings
from tests.support import kubernetes
from tests.support.containerd import (
    CONFIG,
    K3S_CONFIG,
    K3S_SOCKET,
    RUNTIME,
    SOCKET,
    V2,
    V3,
    Live,
    config,
    healthy,
    k3s,
    loaded,
    programs,
    says,
    stopped,
)
from tests.support.simnode import Entry, Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuready.model import Outcome
    from pytest_gpuready.report.model import Finding, NodeReport

RELEASES = ("1.6.39", "1.7.24", "2.1.9")
NO_TOOL = b"via=none\nsocket=ok\n"
DENIED = b"via=none\nsocket=denied\n"


def mine(report: NodeReport) -> list[str]:
    """The roots of this family and the node's that keep a required route from being ready."""
    return [f.check.id for f in report.roots if f.check.family in ("containerd", "node") and f.keeps]


def finding(node: SimNode, name: str, settings: Settings | None = None) -> Finding:
    return node.judge(settings).findings[f"containerd.{name}"]


def outcome(node: SimNode, name: str, settings: Settings | None = None) -> Outcome:
    return finding(node, name, settings).outcome


def commands(node: SimNode, name: str, settings: Settings | None = None) -> Sequence[str]:
    remedy = outcome(node, name, settings).remedy
    assert remedy is not None
    return remedy.commands


def summary(node: SimNode, name: str, settings: Settings | None = None) -> str:
    remedy = outcome(node, name, settings).remedy
    assert remedy is not None
    return remedy.summary


RESTART = "sudo systemctl restart containerd"

# ------------------------------------------------------------------------------------------------------ whole nodes


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


def test_a_dead_table_is_named_with_its_line() -> None:
    text = config("2.1.9").replace(f"[{V3}.containerd.runtimes.nvidia", "[plugins.cri.containerd.runtimes.nvidia")
    found = outcome(healthy(SimNode(), "2.1.9", text=text), "handler")
    assert found.where is not None
    assert found.where.path == CONFIG


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
def test_issue_a_syntax_error_with_the_daemon_already_dead_is_the_root_of_both(release: str) -> None:
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


# ------------------------------------------------------------------------------------------------- installed, running


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


def test_a_daemon_that_was_started_by_hand_is_not_restarted_by_its_service() -> None:
    node = healthy(SimNode())
    node.units["containerd.service"] |= {"ActiveState": "inactive", "MainPID": "0"}
    says(node, Live("1.7.24"))
    assert commands(node, "restarted") == ()
    assert "pid 900" in summary(node, "restarted")


# ------------------------------------------------------------------------------------------------------------ selected


def several(node: SimNode) -> SimNode:
    node.process(
        Proc(901, "containerd", ["containerd", "-a", "/run/other.sock", "-c", "/etc/other.toml"], "/usr/bin/containerd")
    )
    return says(
        node.put("/etc/other.toml", "version = 2\n").socket("/run/other.sock"), Live("1.7.24"), "/run/other.sock"
    )


def test_of_several_daemons_the_one_at_the_usual_socket_is_judged_and_the_others_named() -> None:
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


def test_the_kubelets_daemon_is_judged_and_one_at_another_socket_is_a_root_of_pods_only() -> None:
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


# ----------------------------------------------------------------------------------------------------- ctr and routes


def test_ctr_off_path_is_found_and_path_extended() -> None:
    node = healthy(SimNode())
    node.remove("/usr/bin/ctr").program("/var/lib/k0s/bin/ctr")
    assert outcome(node, "ctr").found == "ctr is not on PATH, but at /var/lib/k0s/bin/ctr"
    assert commands(node, "ctr") == ('export PATH="$PATH":/var/lib/k0s/bin',)
    assert finding(node.remove("/var/lib/k0s/bin/ctr"), "ctr").status == "fail"


def test_up_to_ctr_2_2_the_program_containerd_must_be_on_path() -> None:
    node = healthy(SimNode(), "2.1.9").remove("/usr/bin/containerd").program("/var/lib/k0s/bin/containerd")
    node.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    assert finding(node, "ctr").per_route["ctr-gpus"] == "fail"
    assert finding(node, "ctr").per_route["nerdctl"] == "fail"
    assert finding(node, "ctr").per_route["ctr-runtime"] == "pass"
    node.answer(("ctr", "--version"), "ctr github.com/containerd/containerd/v2 v2.3.4\n")
    assert finding(node, "ctr").per_route["ctr-gpus"] == "pass"


def test_a_route_that_the_versions_do_not_offer_is_refused() -> None:
    settings = Settings(routes=("ctr-cdi", "cri-cdi", "nerdctl"))
    report = healthy(SimNode(), "1.6.39").judge(settings)
    found = report.findings["containerd.supports-route"]
    assert {route for route, status in found.per_route.items() if status == "fail"} == {"ctr-cdi", "cri-cdi", "nerdctl"}
    assert found.keeps == ("ctr-cdi", "cri-cdi", "nerdctl")


def test_a_ctr_that_does_not_tell_its_version_leaves_gpus_unknown() -> None:
    node = healthy(SimNode()).answer(("ctr", "--version"), "", state="timeout")
    report = node.judge()
    assert report.findings["containerd.supports-route"].per_route["ctr-gpus"] == "unknown"
    assert report.findings["containerd.ctr"].status == "pass"
    assert report.routes["ctr-gpus"].verdict != "ready"


# -------------------------------------------------------------------------------------------------------- config-loads


def test_without_a_file_the_built_in_defaults_count() -> None:
    node = healthy(SimNode(), "2.1.9").remove(CONFIG)
    assert "is not there: built-in defaults" in outcome(node, "config-loads").found


def test_a_file_that_the_command_line_names_must_be_there() -> None:
    node = healthy(SimNode())
    node.procs[0].args = ["containerd", "--config", CONFIG]
    node.remove(CONFIG)
    assert finding(node, "config-loads").status == "fail"


def test_containerd_1_5_gets_a_sentence() -> None:
    node = healthy(SimNode()).answer(("containerd", "--version"), "containerd containerd.io 1.5.11 abc\n")
    found = outcome(node, "config-loads")
    assert (found.status, "older than 1.6" in found.found) == ("unknown", True)


def test_an_unknown_version_is_unknown_where_releases_differ() -> None:
    for text, status in ((config("2.1.9"), "unknown"), (config("1.7.24"), "pass")):
        node = healthy(SimNode(), text=text).answer(("containerd", "--version"), "what?\n")
        assert finding(says(node, NO_TOOL), "config-loads").status == status
    node = healthy(SimNode(), text=config("2.1.9")).answer(("containerd", "--version"), "what?\n")
    assert "its version is not known: handlers" in outcome(says(node, NO_TOOL), "config-loads").found


@pytest.mark.parametrize("kind", ["folder", "loop", "big"])
def test_a_file_that_cannot_be_read_is_never_a_pass(kind: str) -> None:
    node = healthy(SimNode())
    if kind == "folder":
        node.tree[CONFIG] = Entry(mode=0o040755)
    elif kind == "loop":
        node.answer(
            lambda request: request.kind == "file" and request.arg == (CONFIG,),
            state="odd",
            note="too many levels of symbolic links",
        )
    else:
        node.put(CONFIG, b"#" * (8 * 1024 * 1024 + 1))
    report = node.judge()
    assert report.findings["containerd.config-loads"].status in ("fail", "unknown")
    assert mine(report)


def test_an_import_that_is_not_there_is_taken_out() -> None:
    text = config("2.1.9").replace(
        "\n\n", '\nimports = ["/etc/containerd/gone.toml", "/etc/containerd/conf.d/*.toml"]\n\n', 1
    )
    node = healthy(SimNode(), "2.1.9", text=text)
    assert summary(node, "config-loads").startswith("Import no file that is not there")


def test_a_file_of_a_newer_release_is_not_mended_by_hiding_its_version() -> None:
    node = healthy(SimNode(), "1.7.34", text=config("2.1.9"))
    # Its tables are renamed with it, so that the handler is there.
    assert "s|io[.]containerd[.]cri[.]v1[.]runtime|io.containerd.grpc.v1.cri|g" in commands(node, "config-loads")[0]
    mixed = config("1.7.34").replace("version = 2", "version = 3")
    assert summary(healthy(SimNode(), "1.7.34", text=mixed), "config-loads").startswith("Declare version 2 in")


def test_a_newer_release_than_is_modelled_is_read_as_the_newest_model() -> None:
    assert "(read as 2.3 would)" in outcome(healthy(SimNode(), "2.9.0"), "config-loads").found


# --------------------------------------------------------------------------------------------------------- cri-enabled


def test_on_1_x_a_file_that_names_only_nvidia_loses_runc_and_cri() -> None:
    text = config("1.7.24")
    start, end = text.index(f"[{V2}.containerd.runtimes.runc]"), text.index(f"[{V2}.containerd.runtimes.nvidia]")
    node = healthy(SimNode(), text=text[:start] + text[end:])
    assert mine(node.judge()) == ["containerd.cri-enabled"]
    assert "runtimes.runc]" in commands(node, "cri-enabled")[0]
    # 2.x keeps its own runc.
    assert mine(healthy(SimNode(), "2.1.9", text=(text[:start] + text[end:])).judge()) == []


def test_what_else_the_plugin_refuses_is_told() -> None:
    node = healthy(
        SimNode(),
        "2.1.9",
        text=config("2.1.9") + f'[{V3}]\n  stream_idle_timeout = "x"\n[{V3}.containerd]\ndefault_runtime_name = "no"\n',
    )
    assert finding(node, "cri-enabled").status == "fail"
    assert outcome(node, "cri-enabled").remedy is not None


# ------------------------------------------------------------------------------------------------------------ handlers


@pytest.mark.parametrize("release", RELEASES)
def test_the_only_handler_of_nvidias_may_have_another_name(release: str) -> None:
    node = healthy(SimNode(), release, text=config(release, name="gpu"))
    assert outcome(node, "handler").found == f"handler gpu runs {RUNTIME}"
    assert finding(node, "handler", Settings(handler="nope")).status == "fail"


def test_of_two_others_one_is_to_be_named() -> None:
    text = config("2.1.9", name="gpu-a") + config("2.1.9", name="gpu-b").partition("\n\n")[2].partition("\n\n")[2]
    node = healthy(SimNode(), "2.1.9", text=text)
    assert "name one with --gpuready-handler" in outcome(node, "handler").found
    assert finding(node, "handler", Settings(handler="gpu-b")).status == "pass"


def test_a_handler_that_runs_runc_is_told_and_mended() -> None:
    node = healthy(SimNode(), "2.1.9", text=config("2.1.9", binary="/usr/bin/runc"))
    assert outcome(node, "handler").found == "handler nvidia runs /usr/bin/runc"
    assert commands(node, "handler")[0].startswith("sudo sed -i '")
    misspelt = healthy(SimNode(), text=config("1.7.24").replace("BinaryName", "Binaryname"))
    assert "names no BinaryName, so it runs runc" in outcome(misspelt, "handler").found


def test_a_drop_in_that_nothing_imports_has_no_effect() -> None:
    node = healthy(SimNode(), "2.1.9", text="version = 3\n").put(
        "/etc/containerd/conf.d/99-nvidia.toml", config("2.1.9")
    )
    found = outcome(node, "handler")
    assert found.status == "fail"
    assert "imports = " in commands(node, "handler")[0]


def test_the_default_handler_decides_which_routes_are_required() -> None:
    text = config("2.1.9") + f'\n[{V3}.containerd]\n  default_runtime_name = "nvidia"\n'
    node = healthy(SimNode(), "2.1.9", text=text)
    report = node.judge()
    assert report.required.names == ("ctr-gpus", "cri-default")
    assert (
        report.findings["containerd.default-runtime"].outcome.found
        == f"default_runtime_name is nvidia, which runs {RUNTIME}"
    )


@pytest.mark.parametrize("release", RELEASES)
def test_another_default_is_a_root_where_that_route_is_required(release: str) -> None:
    node, settings = healthy(SimNode(), release), Settings(routes=("cri-default",))
    assert mine(node.judge(settings)) == ["containerd.default-runtime"]
    assert 'default_runtime_name = "nvidia"' in commands(node, "default-runtime", settings)[0]


def test_a_handler_without_runtime_type_gets_one() -> None:
    text = config("2.1.9").rpartition('  runtime_type = "io.containerd.runc.v2"\n')
    node = healthy(SimNode(), "2.1.9", text=text[0] + text[2])
    assert mine(node.judge()) == ["containerd.handler-runtime-type"]
    only = config("2.1.9").rpartition(f'[{V3}.containerd.runtimes.nvidia]\n  runtime_type = "io.containerd.runc.v2"\n')
    node = healthy(SimNode(), "2.1.9", text=only[0] + only[2])
    assert commands(node, "handler-runtime-type")[0].startswith("sudo tee -a ")


def test_the_old_runtime_types_are_those_of_1_x() -> None:
    old = 'runtime_type = "io.containerd.runc.v1"'
    for release, status in (("1.7.24", "pass"), ("2.1.9", "fail")):
        text = config(release).replace('runtime_type = "io.containerd.runc.v2"', old)
        assert finding(healthy(SimNode(), release, text=text), "handler-runtime-type").status == status


def test_cgroup_drivers_must_agree_with_runcs_and_the_kubelets() -> None:
    text = config("1.7.24", systemd=True).rpartition("SystemdCgroup = true")
    node = healthy(SimNode(), text=text[0] + "SystemdCgroup = false" + text[2])
    assert mine(node.judge()) == ["containerd.handler-cgroups"]
    assert (
        outcome(node, "handler-cgroups").found == "handler nvidia has SystemdCgroup = false, handler runc has systemd"
    )
    node = kubernetes.kubeadm(healthy(SimNode()))
    assert "the kubelet's cgroupDriver is systemd" in outcome(node, "handler-cgroups").found
    text = config("1.7.24").rpartition("SystemdCgroup = false")
    wrong = healthy(SimNode(), text=text[0] + 'SystemdCgroup = "no"' + text[2])
    assert mine(wrong.judge()) == ["containerd.handler"]
    assert "options that cannot be decoded" in outcome(wrong, "handler").found
    assert 's|"no"|false|\'' in commands(wrong, "handler")[0]


# ------------------------------------------------------------------------------------------------------ handler-binary


def binary(node: SimNode) -> Finding:
    """The finding by itself, whatever the toolkit's checks say."""
    from pytest_gpuready.checks.catalogue import catalogue  # noqa: PLC0415
    from pytest_gpuready.judge import judge  # noqa: PLC0415

    checks = {key: check for key, check in catalogue().items() if check.family in ("node", "containerd")}
    return judge(node.facts(), Settings(), checks=checks).findings["containerd.handler-binary"]


ARM = b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda node: node.remove(RUNTIME), "is not there"),
        (lambda node: node.put(RUNTIME, ARM, mode=0o755), "is a program for aarch64, the node is x86_64"),
        (lambda node: node.put(RUNTIME, ARM, mode=0o644), "is not executable (mode 0644)"),
        (lambda node: node.put(RUNTIME, b"", mode=0o755), "is empty"),
        (lambda node: node.remove(RUNTIME).folder(RUNTIME), "is a folder"),
        (lambda node: node.put("/proc/self/mounts", "a / x rw 0 0\nb /usr ext4 rw,noexec 0 0\n"), "mounted noexec"),
    ],
)
def test_why_the_daemon_cannot_execute_the_program(change: Any, words: str) -> None:
    node = healthy(SimNode())
    change(node)
    found = binary(node)
    assert found.status == "fail"
    assert words in found.outcome.found
    assert found.outcome.remedy is not None


def test_a_name_is_looked_for_on_the_daemons_path() -> None:
    node = healthy(SimNode(), text=config("1.7.24", binary="nvidia-container-runtime"))
    assert binary(node).outcome.found == f"{RUNTIME} is executable for the daemon"
    node.procs[0].path = "/opt/only"
    found = binary(node)
    assert "in no folder of the daemon's PATH (/opt/only)" in found.outcome.found
    assert found.outcome.remedy is not None
    assert RUNTIME in found.outcome.remedy.commands[0]


def test_a_mount_namespace_of_its_own_is_looked_into() -> None:
    node = healthy(SimNode())
    node.procs[0].mntns = "mnt:[1]"
    found = binary(node).outcome
    assert "in the daemon's own mount namespace" in found.found
    assert found.remedy is not None
    assert "namespace" in found.remedy.summary
    node.program(f"/proc/900/root{RUNTIME}")
    assert binary(node).status == "pass"


# ----------------------------------------------------------------------------------------------------------- restarted


def test_every_difference_is_told_with_where_it_is_set() -> None:
    node = healthy(SimNode(), "2.1.9", text=config("2.1.9", systemd=True))
    live = loaded(node, "2.1.9")
    live.handlers["nvidia"]["options"] = {"BinaryName": "/old", "SystemdCgroup": False}
    live.handlers["kata"] = {"runtimeType": "io.containerd.kata.v2"}
    live.default, live.cdi, live.dirs = "kata", False, ("/x",)
    found = outcome(says(node, live), "restarted").found
    for words in ("default_runtime_name", "BinaryName of handler nvidia: /usr", "SystemdCgroup", "and "):
        assert words in found


def test_cri_that_is_on_by_the_files_and_off_live_needs_a_restart() -> None:
    node = says(healthy(SimNode()), Live("1.7.24", served=False))
    assert outcome(node, "restarted").found == "the CRI plugin: served on disk, not served in the running daemon"


def test_a_daemon_that_starts_up_is_not_taken_for_one_without_handlers() -> None:
    node = says(healthy(SimNode()), Live("1.7.24", refusal=(14, "server is not initialized yet")))
    found = outcome(node, "restarted")
    assert found.status == "pass"
    assert "by time" in found.found


def test_a_handler_that_only_the_daemon_still_has_is_a_matter_of_the_file() -> None:
    node = healthy(SimNode())
    node.put(CONFIG, "version = 2\n")
    report = node.judge()
    assert mine(report) == ["containerd.handler"]
    assert report.findings["containerd.restarted"].blocked_by == ("containerd.handler",)


def test_where_nobody_can_ask_times_decide() -> None:
    node = says(healthy(SimNode()), NO_TOOL)
    assert outcome(node, "restarted").found.startswith("by time: pid 900 was started after the last change of")
    node.tree[CONFIG].ctime = 1_775_000_000
    found = outcome(node, "restarted")
    assert found.status == "unknown"
    assert found.where is not None
    assert found.where.path == CONFIG
    assert f"{CONFIG} changed 2026-" in found.evidence[0].text
    assert commands(node, "restarted") == (RESTART,)


def test_a_file_that_was_only_touched_is_no_difference() -> None:
    node = healthy(SimNode())
    node.tree[CONFIG].mtime = node.tree[CONFIG].ctime = 1_775_000_000
    assert finding(node, "restarted").status == "pass"


def test_a_drop_in_that_was_deleted_since_leaves_its_folders_time() -> None:
    text = 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + config("1.7.24")
    node = says(healthy(SimNode(), text=text), NO_TOOL).folder("/etc/containerd/conf.d", mtime=1_775_000_000)
    found = outcome(node, "restarted")
    assert (found.status, found.where and found.where.path) == ("unknown", "/etc/containerd/conf.d")


def test_when_the_start_is_not_known_nothing_is() -> None:
    node = says(healthy(SimNode()), NO_TOOL)
    node.boot = 1_800_000_000_000_000_000_000
    found = outcome(node, "restarted")
    assert (found.status, "is not known" in found.found) == ("unknown", True)


# ------------------------------------------------------------------------------------------------- what may not be read


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


# ------------------------------------------------------------------------------------------------------------ embedded


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


# -------------------------------------------------------------------------------------------------------------- advice


def test_deprecations_are_the_daemons_own_words_else_the_loaders() -> None:
    node = healthy(SimNode())
    assert finding(node, "deprecations").status == "pass"
    live = loaded(node, "1.7.24")
    live.deprecations = [("io.containerd.deprecation/x", "`x` is deprecated since 1.7")]
    found = outcome(says(node, live), "deprecations")
    assert (found.status, found.found) == ("warn", "`x` is deprecated since 1.7")
