"""Remedies for files that do not load and for CRI that is off: exactly what is typed, and what is said."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.views import Views
from tests.support.containerd import CONFIG, RUNTIME, V2, V3, config, healthy, k0s, k3s, microk8s, rke2, simulated
from tests.support.kubernetes import kubeadm
from tests.support.remedies import RESTART, remedy, table, tee
from tests.support.simnode import SimNode


def test_a_file_that_no_small_edit_mends_is_kept_beside_containerds_default() -> None:
    broken = simulated("2.1.9", {CONFIG: "x y\n" * 9 + config("2.1.9")})
    advice = remedy(broken, "config-loads")
    default = f"containerd config default | sudo tee {CONFIG} >/dev/null"
    assert advice.summary.startswith("No small edit mends it (containerd: failed to ")
    assert advice.summary.endswith(
        "). Mend it by hand, or begin again from containerd's default; the old file is kept as "
        f"{CONFIG}.broken, and what it set is to be set again."
    )
    assert advice.commands == (f"sudo mv {CONFIG} {CONFIG}.broken", default, RESTART)
    # A pattern that is none: containerd does not say whose.
    for release in ("1.7.24", "2.1.9"):
        advice = remedy(simulated(release, {CONFIG: 'imports = ["/etc/[/*.toml"]\n'}), "config-loads")
        assert advice.summary.startswith("No small edit mends it (containerd: syntax error in pattern). ")
    gone = simulated("2.1.9", {})
    gone.procs[0].args += ["--config", CONFIG]
    advice = remedy(gone, "config-loads")
    assert advice.summary.endswith("): begin with containerd's default.")
    assert advice.commands == ("sudo mkdir -p /etc/containerd", default, RESTART)


# -------------------------------------------------------------------------------------------------------- CRI is off

OFF = "Take CRI out of disabled_plugins"
ONLY = f"version = 2\n\n{table(V2, 'nvidia', RUNTIME)}"
AGAIN = "Define the default handler runc again, which these files leave out"


def test_a_new_runc_has_the_kubelets_cgroup_driver() -> None:
    node = kubeadm(simulated("1.7.24", {CONFIG: ONLY.replace("false", "true")}))
    node.put("/var/lib/kubelet/config.yaml", "cgroupDriver: cgroupfs\n")
    assert remedy(node, "cri-enabled").commands == (tee(f"\n{table(V2, 'runc')}"), RESTART)


def test_the_handler_runc_may_be_the_judged_one() -> None:
    node = simulated("1.7.24", {CONFIG: f"version = 2\n\n{table(V2, 'kata')}"})
    assert remedy(node, "cri-enabled", Settings(handler="runc")).summary == f"{AGAIN}, then restart containerd."


def asked(node: SimNode) -> ContainerdRemedies:
    return ContainerdRemedies(Views(node.facts()))


def test_where_nothing_is_wrong_nothing_is_edited() -> None:
    """No check asks then; whoever does gets a sentence."""
    mend = asked(healthy(SimNode(), "2.1.9"))
    assert mend.config_error().summary.startswith("No small edit mends it (). ")
    assert mend.enable_cri().summary.startswith(f"{OFF} by hand")
    assert not mend.config_error().edits + mend.enable_cri().edits
    inline = asked(simulated("2.1.9", {CONFIG: "plugins = {}\n"}))
    assert inline.cri_error().summary == "Put right what the CRI plugin refuses, then restart containerd."


# ----------------------------------------------------------------------------------------------- where a file lies


def test_a_folder_is_made_only_where_it_is_not_known_to_be_there() -> None:
    made = "sudo mkdir -p /etc/containerd"
    assert remedy(simulated("2.1.9", {}), "handler").commands[0] == made
    assert made not in remedy(simulated("2.1.9", {"/etc/containerd/readme": ""}), "handler").commands
    path = "/opt/site/config.toml"
    node = simulated("2.1.9", {path: "version = 3\n"})
    node.procs[0].args += ["--config", path]
    assert remedy(node, "handler").commands == (tee(f"\n{table(V3, 'nvidia', RUNTIME)}", path), RESTART)
    # A daemon that tells what it loaded is not asked when files were changed: the folder's stat is not known.
    node = healthy(SimNode(), "2.1.9").put(path, "version = 3\n")
    node.procs[0].args += ["--config", path]
    assert asked(node).handler().commands == (tee(f"\n{table(V3, 'nvidia', RUNTIME)}", path), RESTART)


def test_only_sed_needs_what_a_link_leads_to() -> None:
    node = simulated("2.1.9", {"/opt/real.toml": "version = 3\n"}).link(CONFIG, "/opt/real.toml")
    assert remedy(node, "handler").commands == (tee(f"\n{table(V3, 'nvidia', RUNTIME)}"), RESTART)


def test_a_handler_runs_the_program_where_it_lies_or_will_lie() -> None:
    def text(node: SimNode) -> str:
        return remedy(node, "handler").commands[0]

    node = simulated("2.1.9", {CONFIG: "version = 3\n"}).remove(RUNTIME)
    assert text(node) == tee(f"\n{table(V3, 'nvidia', RUNTIME)}")
    place = "/usr/local/nvidia/toolkit/nvidia-container-runtime"
    assert text(node.program(place)) == tee(f"\n{table(V3, 'nvidia', place)}")


def test_where_no_one_tells_a_cgroup_driver_it_is_cgroupfs() -> None:
    runtimes = f"{V2}.containerd.runtimes"
    text = (
        f'version = 2\n[{V2}.containerd]\n  default_runtime_name = "nvidia"\n[{runtimes}.nvidia]\n  runtime_type = '
        f'"io.containerd.runc.v2"\n\n{table(V2, "kata", cgroup="true")}\n'
    )
    command = remedy(simulated("1.7.24", {CONFIG: text}), "handler").commands[0]
    assert f'BinaryName = "{RUNTIME}"' in command
    assert "SystemdCgroup" not in command


# ------------------------------------------------------------------------------------------ files that are somebody's

GKE = "Pods of GKE need no handler: its device plugin mounts the driver."
DOCKERS = {CONFIG: "version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n"}


@pytest.mark.parametrize(
    ("release_file", "words", "commands"),
    [
        (
            "ID=nixos",
            "NixOS writes the file: set it in virtualisation.containerd.settings, then rebuild.",
            ("sudo nixos-rebuild switch",),
        ),
        (
            "ID=cos",
            f"Google manages {CONFIG}, and it is written anew at each boot. {GKE}",
            (),
        ),
        ("ID=bottlerocket\nPRETTY_NAME=B", f"B writes {CONFIG}: set it in the machine's own settings.", ()),
        ("ID=talos\nPRETTY_NAME=T", f"T writes {CONFIG}: set it in the machine's own settings.", ()),
    ],
)
@pytest.mark.parametrize(
    ("release", "files", "name"),
    [
        ("2.1.9", DOCKERS, "cri-enabled"),
        ("1.7.24", {CONFIG: ONLY}, "cri-enabled"),
        ("2.1.9", {CONFIG: "x y\n"}, "config-loads"),
        ("2.1.9", {CONFIG: "version = 3\n"}, "handler"),
        ("2.1.9", {CONFIG: config("2.1.9")}, "default-runtime"),
        ("2.1.9", {CONFIG: config("2.1.9").replace("runc.v2", "runc.v1")}, "handler-runtime-type"),
    ],
)
def test_what_the_system_writes_is_set_where_the_system_reads_it(
    release: str, files: dict[str, str], name: str, release_file: str, words: str, commands: tuple[str, ...]
) -> None:
    advice = remedy(simulated(release, files).put("/etc/os-release", f"{release_file}\n"), name)
    assert (advice.summary, advice.commands, advice.edits) == (words, commands, ())


TEMPLATE = "config-v3.toml.tmpl (a template begins with '{{ template \"base\" . }}')"
RANCHER = "/var/lib/rancher"
SNAP = "/var/snap/microk8s/current/args"
#: Node, the file that is written anew, where it is put right, and the service.
WRITTEN = {
    "k3s": (k3s(SimNode()), f"{RANCHER}/k3s/agent/etc/containerd/", "config.toml", TEMPLATE, "k3s"),
    "RKE2": (rke2(), f"{RANCHER}/rke2/agent/etc/containerd/", "config.toml", TEMPLATE, "rke2-agent"),
    "MicroK8s": (
        microk8s(), f"{SNAP}/", "containerd.toml", "containerd-template.toml", "snap.microk8s.daemon-containerd",
    ),
    "k0s": (k0s("# k0s_managed=true\n", ""), "/etc/k0s/", "containerd.toml", "containerd.d", "k0sworker"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_distribution_writes_at_its_start_is_set_in_its_template(name: str) -> None:
    node, folder, file, template, service = WRITTEN[name]
    place = f"a file of {folder}{template}" if name == "k0s" else f"{folder}{template}"
    advice = asked(node).cgroups()
    words = f"{name} writes {folder}{file} at every start: put it right in {place}, then restart {name}."
    assert (advice.summary, advice.commands) == (words, (f"sudo systemctl restart {service}",))
