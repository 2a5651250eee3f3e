"""The note's containerd conditions, each alone, on a real containerd: the only root; the remedy, typed, mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.judging import counted, judged, mend, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.node import Node

pytestmark = pytest.mark.lab

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/99-nvidia.toml"
ROUTES = ("ctr-gpus", "cri-handler")


def handler_missing(node: Node) -> None:
    """nvidia-ctk was never run."""
    node.run(f"rm -f {DROP_IN}; sed -i '/^imports/d' {CONFIG}", check=True)
    node.restart_containerd()


def wrong_table(node: Node) -> None:
    """The handler stands in the table of another version of the configuration."""
    wrong = "io.containerd.cri.v1.runtime" if node.generation != "2.x" else "io.containerd.grpc.v1.cri"
    handler_missing(node)
    table = f'[plugins."{wrong}".containerd.runtimes.nvidia]'
    node.run(
        f"printf '%s\\n' '' '{table}' '  runtime_type = \"io.containerd.runc.v2\"' '{table[:-1]}.options]' "
        f"'  BinaryName = \"/usr/bin/nvidia-container-runtime\"' >> {CONFIG}",
        check=True,
    )
    node.restart_containerd()


def not_restarted(node: Node) -> None:
    """nvidia-ctk was run and containerd was not restarted."""
    handler_missing(node)
    node.run("nvidia-ctk runtime configure --runtime=containerd", check=True)


def runtime_missing(node: Node) -> None:
    """The handler is there, and what it runs is not."""
    node.run("DEBIAN_FRONTEND=noninteractive apt-get remove -y nvidia-container-toolkit-base", check=True)
    node.run("test ! -e /usr/bin/nvidia-container-runtime", check=True)


def cri_disabled(node: Node) -> None:
    """CRI is among the disabled plugins, as in Docker's package."""
    line = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
    node.run(f"sed -i '/^disabled_plugins/d' {CONFIG} && sed -i '1i {line}' {CONFIG}", check=True)
    node.restart_containerd()


def cli_missing(node: Node) -> None:
    """nvidia-container-cli is not there; only `ctr run --gpus` up to 2.2 asks for it."""
    node.run("rm /usr/bin/nvidia-container-cli", check=True)


def syntax_error_running(node: Node) -> None:
    """A line that is no TOML; the daemon still runs with what it read before."""
    node.run(f"sed -i '3i this is no TOML' {CONFIG}", check=True)


def syntax_error_down(node: Node) -> None:
    """A line that is no TOML, and somebody restarted containerd."""
    syntax_error_running(node)
    node.run("systemctl restart containerd || true; sleep 0.5; systemctl stop containerd || true", check=True)


def stopped(node: Node) -> None:
    """Somebody stopped the daemon."""
    node.run("systemctl stop containerd", check=True)


@pytest.mark.parametrize(
    ("fault", "root"),
    [
        pytest.param(handler_missing, "containerd.handler", id="handler-missing"),
        pytest.param(wrong_table, "containerd.handler", id="wrong-table"),
        pytest.param(not_restarted, "containerd.restarted", id="not-restarted"),
        pytest.param(runtime_missing, "toolkit.installed", id="runtime-missing"),
        pytest.param(cri_disabled, "containerd.cri-enabled", id="cri-disabled"),
        pytest.param(cli_missing, "toolkit.container-cli", id="cli-missing"),
        pytest.param(syntax_error_running, "containerd.config-loads", id="syntax-error-running"),
        pytest.param(syntax_error_down, "containerd.config-loads", id="syntax-error-down"),
        pytest.param(stopped, "containerd.running", id="stopped"),
    ],
)
def test_each_fault_is_the_only_root_and_its_remedy_typed_mends_it(
    lab_node: Node, fault: Callable[[Node], None], root: str
) -> None:
    """Found, nothing else blamed, mended by what is printed: on every generation of containerd."""
    before = judged(lab_node, routes=ROUTES)
    assert before.verdict == "ready", told(before)
    fault(lab_node)
    broken = judged(lab_node, routes=ROUTES)
    assert broken.verdict == "not-ready", told(broken)
    assert set(counted(broken)) == {root}, told(broken)
    mend(lab_node, counted(broken)[root])
    after = judged(lab_node, routes=ROUTES)
    assert after.verdict == "ready", told(after)


def test_a_running_daemon_with_broken_files_on_disk_is_not_called_stopped(lab_node: Node) -> None:
    """The check of the daemon passes while only the files are wrong."""
    syntax_error_running(lab_node)
    report = judged(lab_node, routes=ROUTES)
    assert report.findings["containerd.running"].status == "pass", told(report)


def test_a_dead_daemon_with_broken_files_is_blocked_by_the_files(lab_node: Node) -> None:
    """What keeps the daemon down is the root, and starting it is no remedy."""
    syntax_error_down(lab_node)
    report = judged(lab_node, routes=ROUTES)
    assert report.findings["containerd.running"].blocked_by == ("containerd.config-loads",), told(report)


def test_a_dead_daemon_is_judged_by_the_file_that_a_drop_in_of_its_unit_names(lab_node: Node) -> None:
    """As systemd itself prints ExecStart; the usual file is healthy, and the remedy is typed."""
    site = "/etc/containerd-site.toml"
    node = lab_node
    node.put(site, node.run(f"cat {CONFIG}", check=True).stdout + "\nthis is no TOML\n")
    text = f"[Service]\nExecStart=\nExecStart=/usr/bin/containerd --config {site}\n"
    node.put("/etc/systemd/system/containerd.service.d/site.conf", text)
    node.run("systemctl daemon-reload; systemctl restart containerd || true; systemctl stop containerd", check=True)
    report = judged(node, routes=ROUTES)
    found = counted(report)["containerd.config-loads"]
    assert found.outcome.where is not None, told(report)
    assert found.outcome.where.path == site
    mend(node, found)
    after = judged(node, routes=ROUTES)
    assert after.verdict == "ready", told(after)


def test_looking_once_is_one_login(healthy_node: Node) -> None:
    """The journal of sshd counts the logins of one judgement."""
    count = "journalctl -u ssh --no-pager -o cat | grep -c 'Accepted publickey' || true"
    before = int(healthy_node.run(count, check=True).stdout.strip() or 0)
    judged(healthy_node)
    assert int(healthy_node.run(count, check=True).stdout.strip()) == before + 1
