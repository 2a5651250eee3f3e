"""containerd's program and service: what installs, starts and restarts it on each kind of node, and what finds it."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Remedy, Settings
from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.views import Views
from tests.support import kubernetes
from tests.support.containerd import healthy, stopped
from tests.support.simnode import SimNode
from tests.support.toolkit import debian

ENABLE = "sudo systemctl enable --now containerd"
OWN_ARCHIVE = "it comes with containerd's own archive and packages."
CRIO = "unix:///run/crio/crio.sock"


def mend(node: SimNode, settings: Settings | None = None) -> ContainerdRemedies:
    return ContainerdRemedies(Views(node.facts(settings), settings))


def said(remedy: Remedy) -> tuple[str, tuple[str, ...]]:
    assert remedy.edits == ()
    return remedy.summary, remedy.commands


# ---------------------------------------------------------------------------------------------------- restart, start


def test_restart_command_is_known_where_a_service_of_systemd_carries_the_daemon() -> None:
    carried = "Restart containerd; running containers survive it."
    assert said(mend(healthy(SimNode())).restart()) == (carried, ("sudo systemctl restart containerd",))
    by_hand = healthy(SimNode())
    by_hand.units["containerd.service"] |= {"ActiveState": "inactive", "MainPID": "0"}
    words = "Restart containerd by what started it: no service of systemd carries it (pid 900)."
    assert said(mend(by_hand).restart()) == (words, ())
    words = "Restart containerd by what started it: this node has no systemd (pid 900)."
    assert said(mend(healthy(SimNode(systemd=False))).restart()) == (words, ())
    hidden = healthy(SimNode(systemd=False)).answer(("processes",), "", state="timeout")
    assert said(mend(hidden).restart()) == (words.replace(" (pid 900)", ""), ())


def test_start_unmasks_the_unit_first_and_without_systemd_is_what_supervises_it() -> None:
    node = stopped(healthy(SimNode()))
    assert said(mend(node).start()) == ("Start containerd, now and at every boot.", (ENABLE,))
    node.units["containerd.service"] |= {"LoadState": "masked"}
    assert mend(node).start().commands == ("sudo systemctl unmask containerd", ENABLE)
    node.answer(("systemctl show",), "", state="timeout")
    assert mend(node).start().commands == (ENABLE,)
    words = "Start containerd by what supervises it here: this node has no systemd."
    assert said(mend(stopped(healthy(SimNode(systemd=False)))).start()) == (words, ())


def test_start_without_a_unit_installs_what_brings_one() -> None:
    node = stopped(healthy(debian(SimNode())))
    node.units.clear()
    words = "No unit of systemd starts containerd: install it as a service."
    commands = ("sudo apt-get update && sudo apt-get install -y containerd", ENABLE)
    assert said(mend(node).start()) == (words, commands)


@pytest.mark.parametrize(("names", "option"), [(["CRI-O"], "crio"), (["Docker's engine"], "docker")])
def test_other_engine_is_set_up_by_nvidias_own_command(names: list[str], option: str) -> None:
    summary, commands = said(mend(SimNode()).other_engine(names))
    assert f"(nvidia-ctk runtime configure --runtime={option});" in summary
    assert commands == ()


# ------------------------------------------------------------------------------------------- which one, and its client


def test_select_names_the_sockets_that_there_are_where_the_user_named_another() -> None:
    summary, commands = said(mend(healthy(SimNode()), Settings(socket="/run/no.sock")).select())
    assert (
        summary
        == "Name a socket of a containerd that runs with --gpuready-containerd (/run/containerd/containerd.sock)."
    )
    assert commands == ()


def test_select_edits_the_kubelets_flags_where_they_stand_in_kubeadms_file_alone() -> None:
    flags = "/var/lib/kubelet/kubeadm-flags.env"
    node = kubernetes.kubeadm(healthy(SimNode(), systemd=True), flags=[f"--container-runtime-endpoint={CRIO}"])
    words = (
        "Point the kubelet (--container-runtime-endpoint) at a containerd that runs, or start the one that it names. "
        "Running: /run/containerd/containerd.sock."
    )
    assert said(mend(node).select()) == (words, ())
    node.put(flags, f'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint={CRIO}"\n')
    option = "--container-runtime-endpoint="
    assert said(mend(node).select()) == (
        words,
        (
            f"""sudo sed -i 's|{option}[^ "]*|{option}unix:///run/containerd/containerd.sock|' {flags}""",
            "sudo systemctl restart kubelet",
        ),
    )


def test_on_path_a_client_that_is_nowhere_comes_with_containerd() -> None:
    node = healthy(debian(SimNode())).remove("/usr/bin/ctr")
    assert said(mend(node).on_path("ctr")) == (f"ctr is not on this node: {OWN_ARCHIVE}", ())
    bare = debian(SimNode())
    assert mend(bare).on_path("ctr") == mend(bare).install()
    assert said(mend(node.program("/opt/a b/ctr")).on_path("ctr"))[1] == ()
    found = said(mend(node.program("/var/lib/k0s/bin/ctr")).on_path("ctr"))
    words = "ctr is in /var/lib/k0s/bin: extend PATH where the command is typed."
    assert found == (words, ('export PATH="$PATH":/var/lib/k0s/bin',))
