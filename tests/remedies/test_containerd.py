"""containerd's remedies: what is typed really mends it, and is advised only where it works."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.model import Settings
from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.views import Views
from tests.support.containerd import (
    CONFIG,
    RUNTIME,
    V2,
    config,
    healthy,
    k0s,
    k3s,
    simulated,
    stopped,
)
from tests.support.remedies import remedy
from tests.support.shell import apply
from tests.support.simnode import SimNode
from tests.support.toolkit import debian, toolkit

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.node.facts import Request


@pytest.mark.parametrize("name", ["it's", "a b", '"', "$(reboot)", "ü", "a\nEOF\nb", "x`y`", "back\\slash"])
def test_a_hostile_name_stays_a_name(name: str, tmp_path: Path) -> None:
    settings = Settings(handler=name)
    advice = remedy(simulated("2.1.9", {CONFIG: "version = 3\n"}), "handler", settings)
    done = apply(advice.commands, {CONFIG: b"version = 3\n"}, tmp_path, "sed")
    found = load(MemoryFiles(done), "2.1.9").handlers.get(name)
    assert found is not None
    assert found.binary_name == RUNTIME


def test_a_hostile_path_is_quoted() -> None:
    path = "/etc/con tain'erd;reboot/config.toml"
    node = simulated("2.1.9", {path: config("2.1.9", binary="/x")})
    node.procs[0].args = ["containerd", "--config", path]
    command = remedy(node, "handler").commands[0]
    assert shlex.split(command)[-1] == path


def test_sed_gets_what_a_link_leads_to() -> None:
    node = simulated("2.1.9", {"/opt/real.toml": config("2.1.9", binary="/x")}).link(CONFIG, "/opt/real.toml")
    assert remedy(node, "handler").commands[0].endswith(" /opt/real.toml")


def test_where_no_small_edit_mends_it_the_old_file_is_kept() -> None:
    advice = remedy(simulated("1.7.34", {CONFIG: "this is no TOML\n" * 9 + config("1.7.34")}), "config-loads")
    assert advice.commands[:2] == (
        f"sudo mv {CONFIG} {CONFIG}.broken",
        f"containerd config default | sudo tee {CONFIG} >/dev/null",
    )


def test_a_program_of_another_machine_is_installed_anew() -> None:
    """`apt-get install` alone says that it is the newest already."""
    wrong = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0\xb7\0"
    node = toolkit(debian(healthy(SimNode()))).put(RUNTIME, wrong, mode=0o755)
    assert "--reinstall nvidia-container-toolkit-base" in remedy(node, "handler-binary").commands[0]


def test_a_handler_is_led_to_the_program_where_it_lies() -> None:
    node = toolkit(debian(healthy(SimNode(), text=config("1.7.24", binary="/opt/nvidia-container-runtime"))))
    advice = remedy(node, "handler-binary")
    assert advice.commands[0].startswith("sudo sed -i")
    assert f'\n+  BinaryName = "{RUNTIME}"\n' in advice.edits[0].diff


def test_where_the_file_that_is_named_is_not_there_nothing_is_moved() -> None:
    node = simulated("1.7.34", {})
    node.procs[0].args += ["--config", CONFIG]
    advice = remedy(node, "config-loads")
    assert advice.commands[:2] == (
        "sudo mkdir -p /etc/containerd",
        f"containerd config default | sudo tee {CONFIG} >/dev/null",
    )


# ---------------------------------------------------------------------------------------------- programs and services


def test_containerd_that_is_missing_is_installed() -> None:
    node = debian(SimNode())
    assert remedy(node, "installed") == ContainerdRemedies(Views(node.facts())).install()


def test_a_node_whose_answers_were_cut_still_gets_a_remedy() -> None:
    def cut(request: Request) -> bool:
        return request.kind == "script" and request.arg[0] in ("systemctl show", "search for programs")

    mend = ContainerdRemedies(Views(healthy(SimNode()).answer(cut, "", state="timeout").facts()))
    assert mend.restart().commands == ("sudo systemctl restart containerd",)
    assert mend.start().commands == ("sudo systemctl enable --now containerd",)
    assert mend.install().summary
    assert mend.on_path("ctr").summary


def test_advice_without_commands_still_says_what_to_do() -> None:
    mend = ContainerdRemedies(Views(healthy(SimNode(), "2.1.9").facts()))
    assert mend.upgrade().summary.startswith("Upgrade containerd")
    assert "require another route" in mend.other_route("ctr-cdi").summary
    assert mend.migrate().commands == ("sudo containerd config migrate",)
    assert ContainerdRemedies(Views(healthy(SimNode()).facts())).migrate().commands == ()
    assert "own archive" in mend.on_path("nerdctl").summary


def test_a_node_without_a_unit_is_told_so() -> None:
    node = stopped(healthy(SimNode()))
    node.units.clear()
    assert "No unit" in remedy(node, "running").summary


# ------------------------------------------------------------------------------------------------ files of somebody's


def test_k0s_gets_a_file_of_its_own_and_the_managed_one_is_not_edited() -> None:
    plain = config("1.7.24")
    managed = '# k0s_managed=true\nversion = 2\nimports = ["/run/k0s/containerd-cri.toml"]\n'
    cri = plain[: plain.index(f"[{V2}.containerd.runtimes.nvidia]")]
    advice = remedy(k0s(managed, cri), "handler")
    assert advice.commands[0] == "sudo mkdir -p /etc/k0s/containerd.d"
    assert advice.commands[1].startswith("sudo tee /etc/k0s/containerd.d/nvidia.toml >/dev/null <<'EOF'\n")
    assert advice.commands[-1] == "sudo systemctl restart k0sworker"
    whole = k0s(managed, plain)
    assert "/etc/k0s/containerd.d" in remedy(whole, "default-runtime").summary
    assert not remedy(whole, "default-runtime").edits
    own = remedy(k0s(managed.replace("# k0s_managed=true\n", ""), cri), "handler")
    assert any(
        "/run/k0s/containerd-cri.toml" in command or "/etc/k0s/containerd.toml" in command for command in own.commands
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nixos", "virtualisation.containerd.settings"),
        ("bottlerocket", "own settings"),
        ("talos", "own settings"),
        ("cos", "device plugin mounts the driver"),
    ],
)
def test_a_file_that_the_system_writes_is_not_edited(name: str, words: str) -> None:
    node = simulated("2.1.9", {CONFIG: "version = 3\n"}).put("/etc/os-release", f'ID={name}\nPRETTY_NAME="X"\n')
    advice = remedy(node, "handler")
    assert words in advice.summary
    assert not advice.edits


def test_on_eks_the_edit_is_also_to_be_said_to_nodeadm() -> None:
    node = simulated("2.1.9", {CONFIG: "version = 3\n"}).program("/usr/bin/nodeadm")
    advice = remedy(node, "handler")
    assert "NodeConfig" in advice.summary
    assert advice.edits


def test_rke2_and_k3s_before_containerd_2_have_another_template() -> None:
    node = k3s(SimNode(), "1.7.24")
    path = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
    node.put(path, config("1.7.24").replace("SystemdCgroup = false", "SystemdCgroup = true", 1))
    summary = remedy(node, "handler-cgroups").summary
    assert "/config.toml.tmpl" in summary


def test_every_remedy_can_be_asked_for_on_any_node() -> None:
    """Also where nothing is known: no remedy fails for what it would like to know."""
    empty: Any = SimNode(reach=SimNode().reach)
    for node in (healthy(SimNode()), k3s(SimNode()), empty):
        mend = ContainerdRemedies(Views(node.facts()))
        for ask in (mend.restart, mend.start, mend.install, mend.upgrade, mend.select, mend.migrate):
            assert ask().summary
