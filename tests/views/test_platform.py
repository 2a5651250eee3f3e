"""The platform: distributions, package managers, users, processes and services, and garbage in their places."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.facts import Fact
from pytest_gpuready.views import VIEWS, Views
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.containerd_live_probe import PATH_VERSION, api
from pytest_gpuready.views.ctr import CTR_VERSION, NERDCTL_VERSION, Ctr
from pytest_gpuready.views.flavours import DEFAULT_SOCKET
from pytest_gpuready.views.handler_binary import HandlerBinary
from pytest_gpuready.views.platform import (
    IDENTITY,
    OS_RELEASE,
    PROCESS_LIST,
    PROGRAM_SEARCH,
    UNIT_STATES,
    Platform,
)
from pytest_gpuready.views.processes import number
from tests.support.containerd import healthy
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.node.facts import Request


def platform(node: SimNode) -> Platform:
    return Views(node.facts()).get(Platform)


@pytest.mark.parametrize(
    ("text", "os_id", "family", "name"),
    [
        (
            'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
            "debian",
            ("debian",),
            "Debian GNU/Linux 12 (bookworm)",
        ),
        (
            'ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME="Ubuntu 24.04 LTS"\n',
            "ubuntu",
            ("ubuntu", "debian"),
            "Ubuntu 24.04 LTS",
        ),
        ('NAME="Fedora Linux"\nID=fedora\n', "fedora", ("fedora",), "Fedora Linux"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "rhel", ("rhel", "fedora"), "an unnamed Linux"),
        (
            'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n',
            "opensuse-leap",
            ("opensuse-leap", "suse", "opensuse"),
            "an unnamed Linux",
        ),
        ('ID="amzn"\nID_LIKE="centos rhel fedora"\n', "amzn", ("amzn", "centos", "rhel", "fedora"), "an unnamed Linux"),
        ("ID=arch\n", "arch", ("arch",), "an unnamed Linux"),
        ("ID=flatcar\nID_LIKE=coreos\n", "flatcar", ("flatcar", "coreos"), "an unnamed Linux"),
        ('ID="talos"\n', "talos", ("talos",), "an unnamed Linux"),
        ("ID=bottlerocket\n", "bottlerocket", ("bottlerocket",), "an unnamed Linux"),
        ("ID=cos\n", "cos", ("cos",), "an unnamed Linux"),
        ("ID=nixos\n# c = d\n\nNAME='it\"s\n", "nixos", ("nixos",), 'it"s'),
        ("", "", ("",), "an unnamed Linux"),
    ],
)
def test_a_distribution_by_its_os_release(text: str, os_id: str, family: tuple[str, ...], name: str) -> None:
    found = platform(SimNode().put("/etc/os-release", text))
    assert (found.os_id, found.os_family, found.os_name) == (os_id, family, name)


def test_the_other_place_of_os_release_counts_where_the_first_is_not() -> None:
    assert platform(SimNode().put("/usr/lib/os-release", "ID=cos\n")).os_id == "cos"
    assert platform(SimNode()).os_release == {}


@pytest.mark.parametrize(
    ("release", "programs", "manager"),
    [
        ("ID=debian", ("apt-get", "dnf"), "apt"),
        ("ID=ubuntu\nID_LIKE=debian", ("apt-get",), "apt"),
        ("ID=fedora", ("dnf", "apt-get"), "dnf"),
        ("ID=amzn", ("yum",), "yum"),
        ("ID=photon", ("tdnf",), "tdnf"),
        ("ID=ubi", ("microdnf",), "microdnf"),
        ("ID=sles", ("zypper",), "zypper"),
        ("ID=opensuse-microos", ("zypper", "transactional-update"), "transactional-update"),
        ("ID=arch", ("pacman",), "pacman"),
        ("ID=alpine", ("apk",), "apk"),
        ("ID=flatcar", (), None),
        ("ID=x", ("apt-get",), "apt"),
    ],
)
def test_the_package_manager(release: str, programs: tuple[str, ...], manager: str | None) -> None:
    node = SimNode().put("/etc/os-release", release)
    for name in programs:
        node.program(f"/usr/bin/{name}")
    assert platform(node).package_manager == manager


def test_on_ostree_systems_packages_are_layered() -> None:
    node = SimNode().put("/run/ostree-booted").program("/usr/bin/rpm-ostree").program("/usr/bin/dnf")
    assert platform(node).package_manager == "rpm-ostree"


def test_commands_begin_with_sudo_but_for_a_root_without_it() -> None:
    assert platform(SimNode()).sudo_prefix == ""
    assert platform(SimNode(uid=1000)).sudo_prefix == "sudo "
    assert platform(SimNode().program("/usr/bin/sudo")).sudo_prefix == "sudo "
    cut = SimNode().answer(("search for programs",), "", state="timeout")
    assert platform(cut).sudo_prefix == "sudo "


def test_who_and_what_the_node_is() -> None:
    found = platform(SimNode(selinux="1"))
    assert (found.hostname, found.kernel, found.machine) == ("gpu-node", "6.8.0-40-generic", "x86_64")
    assert (found.uid, found.user, found.now, found.boot_time) == (0, "root", 1_780_000_000, 1_769_000_000)
    assert (found.selinux_enforcing, found.has_systemd, found.sudo_trouble) == (True, True, None)
    assert platform(SimNode(sudo=Fact("denied"))).sudo_trouble == "sudo did not answer"


def test_a_program_is_found_as_typing_its_name_finds_it() -> None:
    node = SimNode().program("/usr/local/bin/ctr").program("/usr/bin/ctr").put("/usr/bin/runc", "x")
    found = platform(node.program("/opt/bin/crun"))
    assert found.program("ctr") == "/usr/local/bin/ctr"
    assert found.program("ctr", folders=("/usr/bin/",)) == "/usr/bin/ctr"
    assert (found.program("runc"), found.anywhere("runc")) == (None, None)
    assert (found.program("crun"), found.anywhere("crun")) == (None, "/opt/bin/crun")


def test_a_process_with_its_options_start_and_path() -> None:
    node = SimNode().process(
        Proc(5, "containerd", ["containerd", "-c", "/a", "--config=/b"], "/usr/bin/containerd", deleted=True)
    )
    process = platform(node).processes[0]
    assert process.option("--config", "-c") == "/b"
    assert process.option("-a") is None
    assert (process.started, process.deleted, process.exe, process.uid) == (
        1_770_000_000,
        True,
        "/usr/bin/containerd",
        0,
    )
    assert process.path is not None


#: The list's first line: root, its PID and mount namespace, init's mount namespace.
LOGIN = "login 0 4026531836 4026531832 4026531832\n"


def test_a_process_of_a_container_is_not_the_nodes() -> None:
    text = f"{LOGIN}pid 5\ncomm containerd\nuid 0 0 0 0\nns 1 2\npid 6\ncomm containerd\nuid 0 0 0 0\nexe?\nenviron?\n"
    found = platform(SimNode().answer(("processes",), text)).processes
    assert [(process.pid, process.exe, process.environ_denied, process.started) for process in found] == [
        (6, None, True, None)
    ]


def test_hidden_processes_are_denied_and_no_list_is_undetermined() -> None:
    node = SimNode()
    with pytest.raises(Denied):
        _ = platform(node.answer(("uname, id, hostname, date",), node._identity() + "hidden processes\n")).processes
    with pytest.raises(Undetermined):
        _ = platform(SimNode().answer(("processes",), "", state="absent")).processes


def test_units_as_systemctl_shows_them() -> None:
    found = platform(
        SimNode().unit("a.service", MainPID="7", NeedDaemonReload="yes").unit("b.service", LoadState="masked")
    )
    unit = found.unit("a.service")
    assert unit is not None
    assert (unit.main_pid, unit.needs_reload, unit.loaded, unit.masked) == (7, True, True, False)
    assert found.unit("b.service") is None
    assert found.units["b.service"].masked
    assert platform(SimNode(systemd=False)).units == {}


@pytest.mark.parametrize("prop", ["kernel", "uid", "user", "now"])
def test_what_the_node_does_not_say_is_undetermined(prop: str) -> None:
    for text in ("", "kernel \nuser \nnow \n", "kernel a\nuser ² x\nnow ²\n"):
        if (prop, text[:8]) == ("user", "kernel a"):
            continue
        with pytest.raises(Undetermined):
            getattr(platform(SimNode().answer(("uname, id, hostname, date",), text)), prop)
    with pytest.raises(Undetermined):
        getattr(platform(SimNode().answer(("uname, id, hostname, date",), "", state="absent")), prop)


def test_a_number_is_ascii_digits_and_not_endless() -> None:
    assert [number(word) for word in ("7", "²", "-1", "9" * 5000, "", None)] == [7, None, None, None, None, None]


ASKED: list[Request] = [
    IDENTITY,
    *OS_RELEASE,
    PROGRAM_SEARCH,
    PROCESS_LIST,
    UNIT_STATES,
    PATH_VERSION,
    CTR_VERSION,
    NERDCTL_VERSION,
    api(DEFAULT_SOCKET),
]
_WORDS = [b"kernel ", b"user ", b"now ", b"clk ", b"btime ", b"pid 1\n", b"comm containerd\n", b"arg -c\n", b"arg a\n"]
_WORDS += [b"stat 1 (x) ", b"0 ", b"x /usr/bin/ctr\n", b"Id=", b"MainPID=", b"\n", b"\n\n", b"ID=", b"containerd "]
_WORDS += [b"1.", b"9" * 5000, b"\xc2\xb2", b"\0"]
WORDS = st.sampled_from(_WORDS)
GARBAGE = st.one_of(st.binary(max_size=60), st.lists(WORDS, max_size=12).map(b"".join))


@given(st.dictionaries(st.integers(0, len(ASKED) - 1), GARBAGE, min_size=1))
def test_garbage_raises_nothing_but_the_three(garbage: dict[int, bytes]) -> None:
    node = healthy(SimNode().program("/usr/bin/nerdctl"))
    for place, data in garbage.items():
        node.answer(ASKED[place].__eq__, data)
    views = Views(node.facts())
    for kind in (Platform, Ctr, ContainerdLive, ContainerdConfig, HandlerBinary):
        view: Any = views.get(kind)
        for name in dir(kind):
            if not name.startswith("_"):
                with contextlib.suppress(Undetermined, Denied, NotApplicable):
                    getattr(view, name)


def test_every_view_has_its_name() -> None:
    assert {"platform", "ctr", "containerd_live", "containerd_config", "handler_binary"} <= set(VIEWS)


def test_a_process_that_ended_while_it_was_looked_at_is_not_there() -> None:
    """Its environment could not be read, and that is no refusal."""
    node = SimNode()
    node.answer(("processes",), f"{LOGIN}pid 608\ncomm containerd\nexe?\nenviron?\ngone\npid 9\ncomm kubelet\nuid 0\n")
    assert [process.pid for process in platform(node).processes] == [9]


def test_the_script_tells_processes_that_have_ended_from_those_that_run(tmp_path: Path) -> None:
    """A zombie called containerd: it has a place in /proc, and nobody reads its environment."""
    program = tmp_path / "containerd"
    shutil.copy("/bin/sleep", program)
    running = subprocess.Popen([program, "60"])
    ended = subprocess.Popen([program, "0"])
    try:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        done = subprocess.run(["sh", "-c", PROCESS_LIST.body, "sh"], capture_output=True, text=True, check=True)
    finally:
        running.kill()
        running.wait()
        ended.wait()
    blocks = {block.split("\n", 1)[0]: block.splitlines() for block in done.stdout.split("pid ")[1:]}
    assert "gone" in blocks[str(ended.pid)]
    assert "gone" not in blocks[str(running.pid)]
