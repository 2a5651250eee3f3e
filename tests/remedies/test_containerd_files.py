"""Remedies for files that do not load and for CRI that is off: exactly what is typed, and what is said."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.views import Views
from tests.remedies.test_containerd import DROP_IN, IMPORTS, k0s, remedy, simulated
from tests.remedies.test_containerd_handlers import ODD, RESTART, plain, rke2, sed, table, tee
from tests.support.containerd import CONFIG, RUNTIME, V2, V3, config, healthy, k3s
from tests.support.kubernetes import kubeadm
from tests.support.simnode import Proc, SimNode

EARLY = "/etc/containerd/conf.d/10-site.toml"
ASIDE = f"sudo mv {DROP_IN} {DROP_IN}.disabled"
#: A main file of runc's that imports drop-ins.
MAIN = {release: plain(release).replace("\n", f"\n{IMPORTS}", 1) for release in ("1.6.20", "1.7.24", "2.1.9")}
KATA = {
    "1.6.20": f"version = 2\n{table(V2, 'runc')}{table(V2, 'kata')}",
    "2.1.9": f"version = 3\n{table(V3, 'runc')}{table(V3, 'kata')}",
}
BOTH = f"Put {DROP_IN} aside and register the handler in {CONFIG}"

#: Release, files, sentence and commands before the restart.
Case: TypeAlias = tuple[str, dict[str, str], str, tuple[str, ...]]


def mended(case: Case, check: str) -> None:
    """A check's remedy says and types exactly that, and shows every file that it changes."""
    release, files, words, commands = case
    advice = remedy(simulated(release, files), check)
    assert (advice.summary, advice.commands) == (f"{words}, then restart containerd.", (*commands, RESTART))
    assert {edit.path for edit in advice.edits} == {
        path for path in files if any(path in command for command in commands)
    }


LOADED: dict[str, Case] = {
    # What is left of a drop-in's table replaces the main file's on 1.x.
    "a drop-in of another handler, 1.6": (
        "1.6.20", {CONFIG: MAIN["1.6.20"], DROP_IN: KATA["1.6.20"].replace("kata.options]", "kata.options")},
        f"Put {DROP_IN} aside", (ASIDE,),
    ),
    "a drop-in of another handler, 2.1": (
        "2.1.9", {CONFIG: MAIN["2.1.9"], DROP_IN: KATA["2.1.9"].replace("kata.options]", "kata.options")},
        f"Close what line 8 of {DROP_IN} leaves open", (sed("'8s/$/]/'", DROP_IN),),
    ),
    "a drop-in with the handler that the main file has too": (
        "1.6.20",
        {CONFIG: MAIN["1.6.20"] + table(V2, "nvidia", RUNTIME),
         DROP_IN: config("1.6.20").replace("nvidia.options]", "nvidia.options")},
        f"Close what line 10 of {DROP_IN} leaves open", (sed("'10s/$/]/'", DROP_IN),),
    ),
    "a drop-in with the handler, too much is wrong": (
        "1.7.24", {CONFIG: MAIN["1.7.24"], DROP_IN: "version = 2\n" + "x y\n" * 8 + table(V2, "nvidia", RUNTIME)},
        BOTH, (ASIDE, tee(table(V2, "nvidia", RUNTIME))),
    ),
    "a drop-in with the handler, too much is wrong, 2.1": (
        "2.1.9", {CONFIG: MAIN["2.1.9"], DROP_IN: "version = 3\n" + "x y\n" * 8 + table(V3, "nvidia", RUNTIME)},
        BOTH, (ASIDE, tee(table(V3, "nvidia", RUNTIME))),
    ),
    "a drop-in without the handler, too much is wrong": (
        "2.1.9", {CONFIG: MAIN["2.1.9"], DROP_IN: "version = 3\n" + "x y\n" * 8}, f"Put {DROP_IN} aside", (ASIDE,),
    ),
    "two lines of the main file": (
        "2.1.9", {CONFIG: 'version = 3\nx y\nroot = "/data"\nx y\n' + config("2.1.9").partition("\n")[2]},
        f"Comment out what does not load in {CONFIG}", (sed("-e '2s/^/# /' -e '4s/^/# /'"),),
    ),
    "a required plugin that is not there": (
        "2.1.9", {CONFIG: 'version = 3\nrequired_plugins = ["io.containerd.none.v1.x"]\n'},
        "Take io.containerd.none.v1.x out of required_plugins",
        (sed("""'2s|"io\\.containerd\\.none\\.v1\\.x"||'"""),),
    ),
    "a daemon that panics": (
        "2.1.9", {CONFIG: f"version = 4\n{IMPORTS}", DROP_IN: table(V3, "nvidia", RUNTIME)},
        f"Declare version 3 in {CONFIG}", (sed("'1s|4|3|'"),),
    ),
    "a line of the main file of 1.x": (
        "1.7.24", {CONFIG: plain("1.7.24") + "x y\n"}, f"Comment out line 8 of {CONFIG}", (sed("'8s/^/# /'"),),
    ),
    "a file of another version, its tables with it": (
        "1.7.24", {CONFIG: plain("2.1.9")}, f"Turn {CONFIG} into a file of version 2",
        (sed(f"-e '1s|=.*|= 2|' -e 's|{V3[9:-1].replace('.', '[.]')}|{V2[9:-1]}|g'"),),
    ),
    "beside the line that disables CRI": (
        "2.1.9", {CONFIG: 'version = 3\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\nx y\n[grpc]\n'},
        f"Comment out lines 2 to 3 of {CONFIG}", (sed("'2,3s/^/# /'"),),
    ),
    "CRI stays off": (
        "2.1.9", {CONFIG: 'version = 3\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\noom_score = 7\nx y\n'},
        f"Comment out line 4 of {CONFIG}", (sed("'4s/^/# /'"),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LOADED)
def test_a_file_that_does_not_load_is_mended_with_the_least_loss(case: str) -> None:
    mended(LOADED[case], "config-loads")


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
DISABLED = 'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"] # off\n'
ENTRIES = (
    """s/["'"'"'](io\\.containerd\\.grpc\\.v1\\.|io\\.containerd\\.cri\\.v1\\.)?(cri|runtime|images)["'"'"']"""
    "[[:space:]]*,?[[:space:]]*//g'"
)
TAKEN = '"io\\.containerd\\.grpc\\.v1\\.cri", "io\\.containerd\\.internal\\.v1\\.opt"|"io.containerd.internal.v1.opt"|'
ONE = 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
ONE_TAKEN = sed("""'2s|"io\\.containerd\\.grpc\\.v1\\.cri"||'""")
ONLY = f"version = 2\n\n{table(V2, 'nvidia', RUNTIME)}"
AGAIN = "Define the default handler runc again, which these files leave out"
MOVED = f"Register the handler in {CONFIG} itself: on containerd 1.x {DROP_IN} replaces all that {CONFIG} sets of CRI"
MOVED += ", and is put aside"

ENABLED: dict[str, Case] = {
    "disabled in two files": (
        "2.1.9", {CONFIG: f"version = 3\n{DISABLED}{IMPORTS}", DROP_IN: f"version = 3\n{DISABLED}"},
        OFF, (sed(f"'2s|{TAKEN}'", DROP_IN), sed(f"'2s|{TAKEN}'")),
    ),
    "disabled, by lines": ("2.1.9", {CONFIG: f"version = 3\n{DISABLED}{ODD}"}, OFF, (sed(f"-E '2{ENTRIES}"),)),
    "disabled in lines, by lines": (
        "2.1.9",
        {CONFIG: "version = 3\n'disabled_plugins' = [ # ]\n  'io.containerd.cri.v1.runtime', # a\n"
         f'  "io.containerd.cri.v1.images",\n]\noom_score = 0\nx = ["cri"]\n{ODD}'},
        OFF, (sed(f"-E '3{ENTRIES}"), sed(f"-E '4{ENTRIES}")),
    ),
    "disabled, and runc forgotten": (
        "1.7.24", {CONFIG: ONE + table(V2, "nvidia", RUNTIME)},
        f"{OFF}, define runc", (ONE_TAKEN, tee(f"\n{table(V2, 'runc')}")),
    ),
    "disabled, and runc forgotten in another file": (
        "1.7.24", {CONFIG: ONE + IMPORTS, DROP_IN: ONLY},
        f"{OFF}, define runc", (ONE_TAKEN, tee(f"\n{table(V2, 'runc')}", DROP_IN)),
    ),
    "disabled, and the next root is the default handler": (
        "1.7.24", {CONFIG: f'{ONE}{table(V2, "nvidia", RUNTIME)}[{V2}.containerd]\ndefault_runtime_name = "gone"\n'},
        OFF, (ONE_TAKEN,),
    ),
    "only nvidia": ("1.7.24", {CONFIG: ONLY}, AGAIN, (tee(f"\n{table(V2, 'runc')}"),)),
    "only nvidia, by systemd": (
        "1.7.24", {CONFIG: ONLY.replace("false", "true")}, AGAIN, (tee(f"\n{table(V2, 'runc', cgroup='true')}"),),
    ),
    "only nvidia, systemd in a comment": (
        "1.7.24", {CONFIG: f"{ONLY}# SystemdCgroup = true\n\n"}, AGAIN, (tee(table(V2, "runc")),),
    ),
    "only nvidia in a file of version 1": (
        "1.7.24", {CONFIG: table("plugins.cri", "nvidia", RUNTIME)}, AGAIN, (tee(f"\n{table('plugins.cri', 'runc')}"),),
    ),
    "a drop-in of one handler": (
        "1.7.24", {CONFIG: MAIN["1.7.24"], DROP_IN: ONLY}, MOVED, (ASIDE, tee(table(V2, "nvidia", RUNTIME))),
    ),
    "a drop-in of one handler beside settings of the main file": (
        "1.7.24", {CONFIG: f"{MAIN['1.7.24']}[{V2}]\n  max_container_log_line_size = 9\n\n", DROP_IN: ONLY},
        MOVED, (ASIDE, tee(table(V2, "nvidia", RUNTIME))),
    ),
    "a drop-in that sets more": (
        "1.7.24", {CONFIG: MAIN["1.7.24"], DROP_IN: f"{ONLY}[{V2}]\n  max_container_log_line_size = 9\n\n"},
        AGAIN, (tee(table(V2, "runc"), DROP_IN),),
    ),
    "a drop-in of a version in a main file without one": (
        "1.7.24", {CONFIG: IMPORTS, DROP_IN: ONLY}, AGAIN, (tee(f"\n{table(V2, 'runc')}", DROP_IN),),
    ),
    "a drop-in of one handler, which CRI refuses": (
        "1.7.24", {CONFIG: MAIN["1.7.24"], DROP_IN: ONLY.replace("  runtime", '  runtime_engine = "x"\n  runtime')},
        MOVED, (ASIDE, tee(table(V2, "nvidia", RUNTIME))),
    ),
    "a drop-in that puts another setting first": (
        "1.7.24",
        {CONFIG: f"oom_score = 1\n{MAIN['1.7.24']}", EARLY: "version = 2\noom_score = 7\n", DROP_IN: ONLY},
        MOVED, (ASIDE, tee(table(V2, "nvidia", RUNTIME))),
    ),
    "a default of NVIDIA's that is not there": (
        "2.1.9", {CONFIG: f'{config("2.1.9")}[{V3}.containerd]\n  default_runtime_name = "nvidia-x"\n'},
        "Make nvidia the default handler: there is no nvidia-x", (sed("""'14s|"nvidia-x"|"nvidia"|'"""),),
    ),
    "a default of NVIDIA's, and no handler of NVIDIA's": (
        "2.1.9", {CONFIG: f'{plain("2.1.9")}[{V3}.containerd]\n  default_runtime_name = "nvidia-x"\n'},
        "Make runc the default handler: there is no nvidia-x", (sed("""'9s|"nvidia-x"|"runc"|'"""),),
    ),
    "another default that is not there": (
        "2.1.9", {CONFIG: f'{config("2.1.9")}[{V3}.containerd]\n  default_runtime_name = "kata"\n'},
        "Make runc the default handler: there is no kata", (sed("""'14s|"kata"|"runc"|'"""),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENABLED)
def test_cri_is_let_in_again(case: str) -> None:
    mended(ENABLED[case], "cri-enabled")


def test_a_new_runc_has_the_kubelets_cgroup_driver() -> None:
    node = kubeadm(simulated("1.7.24", {CONFIG: ONLY.replace("false", "true")}))
    node.put("/var/lib/kubelet/config.yaml", "cgroupDriver: cgroupfs\n")
    assert remedy(node, "cri-enabled").commands == (tee(f"\n{table(V2, 'runc')}"), RESTART)


def test_the_handler_runc_may_be_the_judged_one() -> None:
    node = simulated("1.7.24", {CONFIG: f"version = 2\n\n{table(V2, 'kata')}"})
    assert remedy(node, "cri-enabled", Settings(handler="runc")).summary == f"{AGAIN}, then restart containerd."


def test_what_no_edit_lets_in_is_said() -> None:
    escaped = f'version = 3\ndisabled_plugins = ["io.containerd.grpc.v1.\\u0063ri"]\n{ODD}'
    advice = remedy(simulated("2.1.9", {CONFIG: escaped}), "cri-enabled")
    assert (advice.summary, advice.commands, advice.edits) == (
        f"{OFF} by hand (no edit of single lines does it), then restart containerd.",
        (RESTART,),
        (),
    )
    refused = f'{config("2.1.9")}[{V3}]\n  drain_exec_sync_io_timeout = "x"\n'
    advice = remedy(simulated("2.1.9", {CONFIG: refused}), "cri-enabled")
    why = 'invalid plugin config: invalid `drain_exec_sync_io_timeout`: time: invalid duration "x"'
    words = "Put right what the CRI plugin refuses, then restart containerd: io.containerd.cri.v1.runtime"
    assert (advice.summary, advice.commands, advice.edits) == (f"{words}: {why}", (RESTART,), ())


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


def microk8s() -> SimNode:
    """MicroK8s' containerd, whose template is the user's."""
    folder = "/var/snap/microk8s/current/args"
    node = SimNode().program("/usr/bin/sudo").program("/snap/microk8s/current/bin/containerd")
    node.put(f"{folder}/containerd.toml", config("1.7.24"))
    unit = "snap.microk8s.daemon-containerd.service"
    args = ["containerd", "--config", f"{folder}/containerd.toml"]
    return node.unit(unit, Id=unit, MainPID="9").process(
        Proc(9, "containerd", args, "/snap/microk8s/current/bin/containerd")
    )


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
