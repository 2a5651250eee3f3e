"""A daemon that is down is judged by the file that its service names, its drop-ins counted in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings, Undetermined
from pytest_gpuready.node.facts import run
from pytest_gpuready.views import Views
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.containerd_live_probe import api
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.platform_probe import UNIT_STATES
from tests.containerd import referee
from tests.remedies.wrong import main, native, runc
from tests.support.containerd import CONFIG, SOCKET, config, healthy, k3s, stopped
from tests.support.private import PrivateNode
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding

SITE = "/srv/containerd/site.toml"
PROGRAM = "/usr/bin/containerd"


def line(command: str) -> str:
    """ExecStart as `systemctl show` of systemd 252 prints it."""
    program = command.split(maxsplit=1)[0]
    rest = "start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0"
    return f"{{ path={program} ; argv[]={command} ; ignore_errors=no ; {rest} }}"


def down(command: str, release: str = "1.7.24", *, state: str = "inactive") -> SimNode:
    """A node whose containerd is down, by a service of this command."""
    node = stopped(healthy(SimNode(), release))
    node.units["containerd.service"] |= {"ExecStart": line(command), "ActiveState": state}
    return node


def live(node: SimNode, settings: Settings | None = None) -> ContainerdLive:
    return Views(node.facts(settings), settings).get(ContainerdLive)


def finding(node: SimNode | PrivateNode, name: str) -> Finding:
    return node.judge().findings[f"containerd.{name}"]


@pytest.mark.parametrize(
    "command",
    [
        f"{PROGRAM} --config {SITE}",
        f"{PROGRAM} --config={SITE}",
        f"{PROGRAM} -c {SITE} --log-level debug",
        f"{PROGRAM} -c /srv/other.toml -c={SITE}",
        f"{PROGRAM} --config srv/containerd/site.toml",
        f"{PROGRAM} --config {SITE} -a /run/containerd/containerd.sock $CONTAINERD_OPTS",
    ],
)
@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_the_file_that_the_service_names_is_judged(command: str, state: str) -> None:
    found = live(down(command, state=state))
    assert (found.config_path, found.config_explicit, found.socket) == (SITE, True, SOCKET)


@pytest.mark.parametrize(
    "command",
    [
        PROGRAM,
        f"{PROGRAM} --log-level debug $CONTAINERD_OPTS",
        f"/bin/sh -c exec {PROGRAM} --config {SITE}",
        f"/usr/bin/k0s worker --config {SITE}",
    ],
)
def test_where_it_names_none_or_another_program_is_started_the_usual_one_is(command: str) -> None:
    found = live(down(command))
    assert (found.config_path, found.config_explicit, found.socket) == (CONFIG, False, SOCKET)


def test_a_running_daemons_own_command_line_goes_before() -> None:
    """As after a drop-in of the unit that was written since: the process is what serves."""
    node = healthy(SimNode())
    node.units["containerd.service"] |= {"ExecStart": line(f"{PROGRAM} --config {SITE}")}
    assert live(node).config_path == CONFIG
    assert live(node).to_start is None


def test_a_service_of_another_daemon_that_runs_is_not_the_judged_ones() -> None:
    """Nobody is at the socket that was named, and containerd.service runs at its own."""
    node = healthy(SimNode())
    node.units["containerd.service"] |= {"ExecStart": line(f"{PROGRAM} --config {SITE}")}
    assert live(node, Settings(socket="/run/other.sock")).config_path == CONFIG


def test_k3s_own_words_are_not_containerds() -> None:
    node = k3s(SimNode())
    node.procs = []
    node.units["k3s.service"] |= {
        "ActiveState": "failed",
        "ExecStart": line("/usr/local/bin/k3s server --config /etc/k3s.yaml"),
    }
    assert live(node).config_path == "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"


def test_the_socket_is_the_services_or_its_files() -> None:
    assert live(down(f"{PROGRAM} -a /run/a.sock")).socket == "/run/a.sock"
    node = down(f"{PROGRAM} --config {SITE}").put(SITE, 'version = 2\n[grpc]\naddress = "/run/b.sock"\n')
    assert live(node).socket == "/run/b.sock"
    assert api("/run/b.sock") in node.facts()
    assert live(node, Settings(socket="/run/c.sock")).socket == "/run/c.sock"


def test_its_own_program_is_asked_for_its_version() -> None:
    node = down("/opt/new/containerd").answer(("/opt/new/containerd", "--version"), "containerd x v2.1.9 abc\n")
    assert run("/opt/new/containerd", "--version") in node.facts()
    assert live(node).disk_version_text == "2.1.9"
    assert live(down("/opt/gone/containerd")).disk_version_text == "1.7.24"
    assert live(down("containerd --log-level debug")).disk_version_text == "1.7.24"


def test_a_variable_in_its_place_is_unknown_and_not_the_usual_file() -> None:
    node = down(f"{PROGRAM} --config ${{CONTAINERD_CONFIG}}")
    with pytest.raises(Undetermined, match=r"containerd\.service names its configuration by a variable"):
        _ = Views(node.facts()).get(ContainerdConfig).loaded
    for name in ("config-loads", "handler"):
        assert finding(node, name).status in ("unknown", "blocked"), name
    assert finding(node, "running").status == "fail"


def test_a_unit_says_no_command_in_older_snapshots() -> None:
    """The fact's key is as before ExecStart was asked for."""
    assert "ExecStart" not in " ".join(UNIT_STATES.arg)
    assert "ExecStart" in UNIT_STATES.body
    unit = Views(stopped(healthy(SimNode())).facts()).get(Platform).units["containerd.service"]
    assert unit.command == ()


@pytest.mark.parametrize("said", ["", "{", "{ path= ; argv[]= ; ignore_errors=no }", "{ argv[]=", "\x00\x1b[2J"])
def test_what_is_no_command_is_none(said: str) -> None:
    node = stopped(healthy(SimNode()))
    node.units["containerd.service"] |= {"ExecStart": said}
    assert live(node).config_path == CONFIG
    assert Views(node.facts()).get(Platform).units["containerd.service"].command == ()


def test_secrets_of_a_command_line_are_overwritten() -> None:
    node = healthy(SimNode()).unit("k3s.service", Id="k3s.service", ExecStart=line("/usr/bin/k3s --token K10secret::x"))
    assert b"K10secret" not in node.facts().fact(UNIT_STATES).data


# ------------------------------------------------------------------------------------------------------ what is said


@pytest.mark.parametrize("release", ["1.6.20", "1.7.24", "2.1.9"])
def test_a_syntax_error_in_it_is_the_root_and_not_the_healthy_usual_file(release: str) -> None:
    node = down(f"{PROGRAM} --config {SITE}", release, state="failed").put(SITE, config(release) + "this is no toml\n")
    found = finding(node, "config-loads")
    assert found.status == "fail"
    assert found.outcome.where is not None
    assert found.outcome.where.path == SITE
    assert finding(node, "running").status == "blocked"
    assert finding(node.put(SITE, config(release)), "config-loads").status == "pass"


@pytest.mark.parametrize("release", ["1.6.20", "1.7.24", "2.1.9"])
def test_the_handler_is_looked_for_in_it_and_put_into_it(release: str) -> None:
    bare = f"version = {2 if release[0] == '1' else 3}\n"
    node = down(f"{PROGRAM} --config {SITE}", release).put(SITE, bare)
    found = finding(node, "handler")
    assert found.status == "fail"
    assert found.outcome.remedy is not None
    assert SITE in found.outcome.remedy.commands[0]
    assert CONFIG not in " ".join(found.outcome.remedy.commands)
    assert finding(node.put(SITE, config(release)).put(CONFIG, bare), "handler").status == "pass"


def test_it_must_be_there_once_it_is_named() -> None:
    found = finding(down(f"{PROGRAM} --config {SITE}", state="failed"), "config-loads")
    assert found.status == "fail"
    assert SITE in found.outcome.found


# ---------------------------------------------------------------------------------------------------- on real daemons

VERSIONS = list(referee.binaries()) if referee.why_not() is None else []


@pytest.mark.daemon
@pytest.mark.skipif(referee.why_not() is not None, reason=referee.why_not() or "")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_daemon_that_fails_on_its_own_file_is_mended_there(version: str) -> None:
    """What is printed is typed, the handler put into that file, and the daemon serves it."""
    site, v = "/etc/containerd/site/main.toml", native(version)
    files = {CONFIG: main(v, runc(v)), site: main(v, runc(v)) + "\n[[[\n"}
    with PrivateNode(version, files, args=f"--config {site}") as node:
        assert node.served() is None
        seen = []
        for _ in range(4):
            report = node.judge()
            broken = next((found for found in report.roots if found.check.id.startswith("containerd.")), None)
            if broken is None or broken.status != "fail":
                break
            assert broken.outcome.remedy is not None
            assert CONFIG not in " ".join(broken.outcome.remedy.commands)
            seen.append(broken.check.id.removeprefix("containerd."))
            node.type(broken.outcome.remedy.commands)
        served = node.served()
        assert seen[0] == "config-loads", node.log
        assert served is not None, (seen, node.log)
        assert "nvidia" in served["containerd"]["runtimes"], seen
        assert node.read(CONFIG).decode() == files[CONFIG]
