"""The live daemon: which one is judged, what may be run to ask it, and what it says."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Denied, Settings, Undetermined
from pytest_gpuready.node.facts import run
from pytest_gpuready.views import Views
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.containerd_live_probe import api
from pytest_gpuready.views.daemons import same_socket, why_silent
from pytest_gpuready.views.flavours import flavour_of
from tests.support.containerd import K3S_SOCKET, SOCKET, Live, healthy, k3s, programs, says, stopped
from tests.support.simnode import Proc, SimNode

OTHER = "/opt/x/containerd"


def live(node: SimNode, settings: Settings | None = None) -> ContainerdLive:
    return Views(node.facts(settings), settings).get(ContainerdLive)


def test_a_stock_daemon() -> None:
    found = live(healthy(SimNode()))
    assert (found.pid, found.socket, found.config_path, found.config_explicit) == (
        900,
        SOCKET,
        "/etc/containerd/config.toml",
        False,
    )
    assert (found.service, found.disk_version_text, found.disk_version) == ("containerd", "1.7.24", (1, 7, 24))
    assert (found.live_version_text, found.started) == ("1.7.24", 1_770_000_000)


def test_k3s_has_its_own_socket_and_program() -> None:
    found = live(k3s(SimNode()))
    assert (found.flavour.name, found.socket, found.service) == ("k3s", K3S_SOCKET, "k3s")
    assert found.disk_version_text == "2.1.4-k3s1"


@pytest.mark.parametrize(
    ("uid", "mntns", "asked"), [(0, "mnt:[4026531832]", True), (1000, "mnt:[4026531832]", False), (0, "mnt:[7]", False)]
)
def test_only_roots_own_program_of_our_mount_namespace_is_run(uid: int, mntns: str, asked: bool) -> None:  # noqa: FBT001
    settings = Settings(socket="/run/x.sock")
    node = SimNode().process(Proc(9, "containerd", ["containerd", "-a", "/run/x.sock"], OTHER, uid=uid, mntns=mntns))
    assert (run(OTHER, "--version") in node.facts(settings)) is asked


def test_a_program_that_may_not_be_run_leaves_the_daemons_own_word() -> None:
    node = healthy(SimNode())
    node.procs[0].exe, node.procs[0].mntns = OTHER, "mnt:[7]"
    assert live(node).disk_version_text == "1.7.24"
    with pytest.raises(Undetermined):
        _ = live(stopped(node).answer(("containerd", "--version"), "", state="absent")).disk_version_text


@pytest.mark.parametrize("words", [["--version"], ["-v"], ["config", "default"], ["help"]])
def test_a_containerd_that_is_only_asked_something_is_no_daemon(words: list[str]) -> None:
    """The suite's own `containerd --version` runs beside the list of processes."""
    node = healthy(SimNode())
    assert len(live(node.process(Proc(901, "containerd", ["containerd", *words], "/usr/bin/containerd"))).daemons) == 1
    node.process(Proc(903, "containerd", [], "/usr/bin/containerd"))
    named = Proc(902, "containerd", ["containerd", "--config", "config", "-l", "debug"], "/usr/bin/containerd")
    assert [daemon.process.pid for daemon in live(node.process(named)).daemons] == [900, 902]


def test_a_socket_that_is_no_path_is_never_asked() -> None:
    settings = Settings(socket="npipe:x")
    node = healthy(SimNode())
    assert not [request for request, _ in node.facts(settings) if "npipe:x" in request.arg]
    with pytest.raises(Undetermined):
        _ = live(node, settings).answer


def test_what_refuses_is_denied_and_what_is_silent_undetermined() -> None:
    with pytest.raises(Denied):
        _ = live(says(healthy(SimNode()), b"via=none\nsocket=denied\n")).cri
    with pytest.raises(Undetermined):
        _ = live(says(healthy(SimNode()), b"via=none\nsocket=stale\n")).cri
    gone = healthy(SimNode()).answer(lambda request: request == api(SOCKET), state="absent")
    with pytest.raises(Undetermined):
        _ = live(gone).answer
    assert live(gone).answer_if_any is None


def test_the_daemons_path_and_what_hides_it() -> None:
    assert live(stopped(healthy(SimNode()))).daemon_path.startswith("/usr/local/sbin:")
    base = "login 0 1 2 2\npid 9\ncomm containerd\nuid 0\nexe /usr/bin/containerd\narg /usr/bin/containerd\n"
    with pytest.raises(Denied):
        _ = live(healthy(SimNode()).answer(("processes",), f"{base}environ?\n")).daemon_path
    with pytest.raises(Undetermined):
        _ = live(healthy(SimNode()).answer(("processes",), base)).daemon_path


def test_sockets_are_one_under_var_run_and_run() -> None:
    assert same_socket("unix:///var/run/containerd/containerd.sock", SOCKET)
    assert not same_socket("/run/a", "/run/b")


def test_flavours_by_configuration_and_by_socket() -> None:
    assert flavour_of(None, None).name == "containerd"
    assert flavour_of(None, "/run/k0s/containerd.sock").name == "k0s"
    assert flavour_of("/srv/rke2/agent/etc/containerd/config.toml", K3S_SOCKET).name == "RKE2"


def test_installed_services_tell_the_flavour_of_a_daemon_that_is_down() -> None:
    found = live(SimNode().unit("k0sworker.service", Id="k0sworker.service"))
    assert (found.flavour.name, found.socket) == ("k0s", "/run/k0s/containerd.sock")


def test_a_file_that_is_no_toml_sets_no_socket() -> None:
    node = healthy(SimNode())
    node.put("/etc/containerd/config.toml", "address = [")
    assert live(node).socket == SOCKET


def test_silence_has_words() -> None:
    for answer in (b"via=none\nsocket=absent\n", b"via=none\nsocket=busy\n", b"?"):
        found = live(says(healthy(SimNode()), answer))
        assert why_silent(found.answer, SOCKET)


@pytest.mark.parametrize(
    ("said", "upstream"),
    [
        ("containerd github.com/containerd/containerd/v2 v2.1.9 abc\n", True),
        ("containerd containerd.io 1.7.27 abc\n", True),
        ("containerd github.com/containerd/containerd 1.7.24 \n", False),
        ("containerd github.com/k3s-io/containerd/v2 v2.1.4-k3s1 abc\n", False),
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n", False),
    ],
)
def test_upstreams_builds_are_told_from_distributions(said: str, upstream: bool) -> None:  # noqa: FBT001
    assert live(healthy(SimNode()).answer(("containerd", "--version"), said)).upstream_build is upstream


def test_a_program_that_was_replaced_since_the_start_is_told() -> None:
    """By the versions that the daemon and the program on disk tell, else by the link to its file."""
    node = healthy(SimNode(), "1.7.24")
    assert live(node).replaced is None
    node.procs[0].deleted = True
    assert live(node).replaced == "its program was replaced since it was started"
    upgraded = says(programs(healthy(SimNode(), "1.7.24"), "2.1.9"), Live("1.7.24"))
    assert live(upgraded).replaced == "it still is containerd 1.7.24; 2.1.9 was installed since"
