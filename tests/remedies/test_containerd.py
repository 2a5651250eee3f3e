# ruff: noqa: E501 - a table of cases reads best with one case a line
"""containerd's remedies: what is typed really mends it, and is advised only where it works."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.model import Remedy, Settings
from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.views import Views
from pytest_gpuready.views.toolkit_probe import VERSIONS
from tests.support import kubernetes
from tests.support.containerd import CONFIG, RUNTIME, V2, V3, config, healthy, k3s, programs, stopped
from tests.support.shell import SEDS, apply
from tests.support.simnode import Proc, SimNode
from tests.support.toolkit import debian, toolkit

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.node.facts import Request

RUNC = '  runtime_type = "io.containerd.runc.v2"\n'
DROP_IN = "/etc/containerd/conf.d/99-nvidia.toml"
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'


def without(text: str, part: str) -> str:
    head, found, tail = text.rpartition(part)
    assert found
    return head + tail


def handler_only(text: str) -> str:
    """The file without runc's tables."""
    start, end = text.index("[plugins"), text.index("nvidia]")
    return text[:start] + text[text.rindex("[", 0, end) :]


def swapped(text: str) -> str:
    """SystemdCgroup of the last handler the other way."""
    head, _, tail = text.rpartition("SystemdCgroup = true")
    return f"{head}SystemdCgroup = false{tail}"


#: Case: release, files, and the check whose remedy is typed.
CASES: dict[str, tuple[str, dict[str, str], str]] = {
    "no file, 1.6": ("1.6.39", {}, "handler"),
    "no file, 1.7": ("1.7.24", {}, "handler"),
    "no file, 2.1": ("2.1.9", {}, "handler"),
    "no handler, 1.6": ("1.6.39", {CONFIG: "version = 2\n"}, "handler"),
    "no handler, 1.7, no end of line": ("1.7.24", {CONFIG: "version = 2"}, "handler"),
    "no handler, 2.1": ("2.1.9", {CONFIG: "version = 3\n"}, "handler"),
    "no handler, 2.3, version 2": ("2.3.4", {CONFIG: "version = 2\n"}, "handler"),
    "wrong table, 1.6": ("1.6.39", {CONFIG: config("2.1.9").replace("version = 3", "version = 2")}, "handler"),
    "wrong table, 2.1": ("2.1.9", {CONFIG: config("1.7.24").replace("version = 2", "version = 3")}, "handler"),
    "a drop-in that is not imported": ("2.1.9", {CONFIG: "version = 3\n", DROP_IN: config("2.1.9")}, "handler"),
    "an imports line that names others": (
        "1.7.24",
        {CONFIG: 'version = 2\nimports = ["/etc/containerd/config.d/*.toml"]\n', DROP_IN: config("1.7.24")},
        "handler",
    ),
    "misspelt BinaryName": ("1.7.24", {CONFIG: config("1.7.24").replace("BinaryName", "Binaryname")}, "handler"),
    "BinaryName is runc": ("2.1.9", {CONFIG: config("2.1.9", binary="/usr/bin/runc")}, "handler"),
    "no options": ("2.1.9", {CONFIG: config("2.1.9").rpartition(f"[{V3}.containerd.runtimes.nvidia.options]")[0]}, "handler"),
    "CRI disabled, short": ("1.6.39", {CONFIG: 'disabled_plugins = ["cri"]\n'}, "cri-enabled"),
    "CRI disabled, long": (
        "1.7.24",
        {CONFIG: 'version = 2\ndisabled_plugins = [\n  "io.containerd.internal.v1.opt",\n  "io.containerd.grpc.v1.cri",\n]\n'},
        "cri-enabled",
    ),
    "CRI disabled, 2.1": (
        "2.1.9",
        {CONFIG: "version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.runtime']\n"},
        "cri-enabled",
    ),
    "only nvidia on 1.x": ("1.7.24", {CONFIG: handler_only(config("1.7.24"))}, "cri-enabled"),
    "garbage": ("1.7.24", {CONFIG: config("1.7.24") + "this is no toml\n"}, "config-loads"),
    "garbage, 2.1": ("2.1.9", {CONFIG: "oops\n" + config("2.1.9")}, "config-loads"),
    "a bracket is missing": ("2.1.9", {CONFIG: config("2.1.9").replace("nvidia.options]", "nvidia.options", 1)}, "config-loads"),
    "a quote is missing": ("1.7.24", {CONFIG: config("1.7.24").replace('runtime"\n', "runtime\n", 1)}, "config-loads"),
    "a quote is missing in an array": (
        "1.7.24",
        {CONFIG: 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml]\n', DROP_IN: config("1.7.24")},
        "config-loads",
    ),
    "two lines of garbage": ("1.7.24", {CONFIG: "oops\n" + config("1.7.24") + "this is no toml\n"}, "config-loads"),
    "the default is unknown": (
        "1.7.24", {CONFIG: config("1.7.24") + f'[{V2}.containerd]\n  default_runtime_name = "kata"\n'}, "cri-enabled",
    ),
    "the default is unknown, 2.1": (
        "2.1.9", {CONFIG: config("2.1.9") + f"[{V3}.containerd]\n  default_runtime_name = 'kata'\n"}, "cri-enabled",
    ),
    "pasted twice": ("1.7.24", {CONFIG: config("1.7.24") + config("1.7.24").partition("\n\n")[2]}, "config-loads"),
    "an import is not there": (
        "2.1.9", {CONFIG: 'imports = ["/etc/containerd/gone.toml"]\n' + config("2.1.9")}, "config-loads",
    ),
    "a version too new": ("1.7.34", {CONFIG: config("1.7.34").replace("version = 2", "version = 3")}, "config-loads"),
    "a file of 2.x": ("1.7.34", {CONFIG: config("2.1.9")}, "config-loads"),
    "a drop-in newer than the root": (
        "2.3.4",
        {CONFIG: "version = 3\n" + IMPORTS, DROP_IN: config("2.3.4").replace("version = 3", "version = 4")},
        "config-loads",
    ),
    "no runtime_type": ("2.1.9", {CONFIG: without(config("2.1.9"), RUNC)}, "handler-runtime-type"),
    "only options": (
        "2.1.9", {CONFIG: without(config("2.1.9"), f"[{V3}.containerd.runtimes.nvidia]\n{RUNC}")}, "handler-runtime-type",
    ),
    "an old runtime_type": ("2.1.9", {CONFIG: config("2.1.9").replace("runc.v2", "runc.v1")}, "handler-runtime-type"),
    "another cgroup driver": ("1.7.24", {CONFIG: swapped(config("1.7.24", systemd=True))}, "handler-cgroups"),
    "another cgroup driver, CRLF": (
        "2.1.9", {CONFIG: swapped(config("2.1.9", systemd=True)).replace("\n", "\r\n")}, "handler-cgroups",
    ),
    "no cgroup driver": ("2.1.9", {CONFIG: without(config("2.1.9", systemd=True), "  SystemdCgroup = true\n")}, "handler-cgroups"),
    "another default": ("1.7.24", {CONFIG: config("1.7.24")}, "default-runtime"),
    "another default, named": (
        "2.1.9", {CONFIG: config("2.1.9") + f'[{V3}.containerd]\n  default_runtime_name = "runc"\n'}, "default-runtime",
    ),
    "another default, with its table": ("1.6.39", {CONFIG: config("1.6.39") + f"[{V2}.containerd]\n"}, "default-runtime"),
}  # fmt: skip


def simulated(release: str, files: dict[str, str]) -> SimNode:
    node = programs(SimNode(), release)
    node.unit("containerd.service", Id="containerd.service", MainPID="900")
    node.process(Proc(900, "containerd", ["/usr/bin/containerd"], "/usr/bin/containerd"))
    for path, text in files.items():
        node.put(path, text)
    return node


def remedy(node: SimNode, name: str, settings: Settings | None = None) -> Remedy:
    found = node.judge(settings).findings[f"containerd.{name}"].outcome.remedy
    assert found is not None, node.judge(settings).findings[f"containerd.{name}"].outcome
    return found


@pytest.mark.parametrize("sed", SEDS)
@pytest.mark.parametrize("case", CASES)
def test_what_is_typed_mends_it(case: str, sed: str, tmp_path: Path) -> None:
    release, files, name = CASES[case]
    advice = remedy(simulated(release, files), name)
    assert advice.edits, advice.summary
    assert advice.commands[-1] == "sudo systemctl restart containerd"
    done = apply(advice.commands, {path: text.encode() for path, text in files.items()}, tmp_path, sed)
    # The loader, on the files as the commands left them, and the check on a node that has them.
    loaded = load(MemoryFiles(done), release)
    assert loaded.loads
    assert loaded.cri_enabled
    after = simulated(release, {path: data.decode() for path, data in done.items()})
    assert after.judge().findings[f"containerd.{name}"].status == "pass"
    for edit in advice.edits:
        assert edit.path in done
        assert any(line.startswith(("+", "-")) for line in edit.diff.splitlines()[2:])


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


@pytest.mark.parametrize("release", ["2.1.9", "1.6.20"])
def test_a_drop_in_that_does_not_load_is_taken_out_of_the_way_and_the_rest_stays(release: str) -> None:
    """Its own lines cannot be mended; the main file, which is somebody's, is not to be written anew."""
    broken = "\n".join(f"[unclosed{number}" for number in range(9))
    main = {
        "2.1.9": f"version = 3\n{IMPORTS}",
        "1.6.20": f'version = 2\n{IMPORTS}[plugins."io.containerd.gone.v1.x"]\n  gone = 1\n',
    }
    node = simulated(release, {CONFIG: main[release], DROP_IN: broken})
    advice = remedy(node, "config-loads")
    assert advice.commands == (f"sudo mv {DROP_IN} {DROP_IN}.disabled", "sudo systemctl restart containerd")


def test_cri_is_let_in_again_though_it_would_fail_then() -> None:
    """What it refuses is the next root: one remedy a time."""
    text = handler_only(config("1.7.24")).replace(
        "version = 2", "version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']"
    )
    advice = remedy(simulated("1.7.24", {CONFIG: text}), "cri-enabled")
    assert advice.commands[0].startswith("sudo sed -i")
    assert "disabled_plugins" in advice.summary


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


def test_where_nothing_can_be_proven_a_person_is_told_what_to_do() -> None:
    # The bar stands between sed's parts, so no command names it; an inline table takes no line and no table more.
    text = f'version = 3\n[{V3}.containerd.runtimes]\nnvidia = {{ runtime_type = "|", options = {{ BinaryName = "/|" }} }}\n'
    node = simulated("2.1.9", {CONFIG: text})
    assert "by hand" in remedy(node, "handler").summary
    fixed = simulated("2.1.9", {CONFIG: text.replace('"/|"', f'"{RUNTIME}"')})
    assert "by hand" in remedy(fixed, "handler-runtime-type").summary
    # Not one line of the array can be taken out alone.
    odd = simulated("2.1.9", {CONFIG: 'version = 3\n"disabled_plugins" = ["io.containerd.grpc.v1.cri"] # ]\n'})
    assert remedy(odd, "cri-enabled").summary
    refused = simulated("2.1.9", {CONFIG: f'version = 3\n[{V3}.containerd]\ndefault_runtime_name = "x y"\n'})
    assert remedy(refused, "cri-enabled").summary


def test_where_the_file_that_is_named_is_not_there_nothing_is_moved() -> None:
    node = simulated("1.7.34", {})
    node.procs[0].args += ["--config", CONFIG]
    advice = remedy(node, "config-loads")
    assert advice.commands[:2] == (
        "sudo mkdir -p /etc/containerd",
        f"containerd config default | sudo tee {CONFIG} >/dev/null",
    )


# ------------------------------------------------------------------------------------------------------- nvidia-ctk


def with_ctk(release: str, toolkit: str, text: str | None = None, **files: str) -> SimNode:
    plain = config(release)
    plain = plain[: plain.index(f"[{V2 if release[0] == '1' else V3}.containerd.runtimes.nvidia]")]
    node = simulated(release, {CONFIG: plain if text is None else text, **files}).program("/usr/bin/nvidia-ctk")

    def asked(request: Request) -> bool:
        return request == VERSIONS

    return node.answer(asked, f"prog {RUNTIME}\n> NVIDIA Container Runtime version {toolkit}\nrc 0\n")


def uses_ctk(node: SimNode) -> bool:
    return any("nvidia-ctk runtime configure" in command for command in remedy(node, "handler").commands)


@pytest.mark.parametrize(
    ("release", "toolkit"),
    [("1.6.39", "1.14.6"), ("1.7.24", "1.17.8"), ("1.7.24", "1.18.2"), ("2.1.9", "1.17.4"), ("2.3.4", "1.20.0")],
)
def test_nvidias_own_command_is_advised_where_it_works(release: str, toolkit: str) -> None:
    assert uses_ctk(with_ctk(release, toolkit))


TRAPS: dict[str, SimNode] = {
    "a: no file on 1.x": with_ctk("1.6.39", "1.20.0").remove(CONFIG),
    "a: an empty file": with_ctk("1.7.24", "1.20.0", ""),
    "runc is not spelt out": with_ctk("2.1.9", "1.20.0", "version = 3\n"),
    "older than 1.14": with_ctk("1.7.24", "1.13.5"),
    "k: 1.18.0 overwrites imports": with_ctk("1.7.24", "1.18.0"),
    "version 3 before 1.17.4": with_ctk("2.1.9", "1.17.3"),
    "g: runc without runtime_type": with_ctk("2.1.9", "1.18.2", f"version = 3\n[{V3}.containerd.runtimes.runc]\n"),
    "drop-ins on 1.x": with_ctk(
        "1.7.24",
        "1.20.0",
        IMPORTS + config("1.7.24").partition(f"[{V2}.containerd.runtimes.nvidia]")[0],
        **{DROP_IN: "version = 2\n"},
    ),
    "the runtime lies elsewhere": with_ctk("1.7.24", "1.20.0")
    .remove(RUNTIME)
    .program("/usr/local/nvidia/toolkit/nvidia-container-runtime"),
    "the version is not known": with_ctk("1.7.24", "what"),
    "i: runc's cgroup driver is not the kubelet's, and is copied": kubernetes.kubeadm(with_ctk("1.7.24", "1.20.0")),
    "another default handler, which is taken away": with_ctk(
        "2.1.9",
        "1.20.0",
        f'version = 3\n[{V3}.containerd]\ndefault_runtime_name = "kata"\n[{V3}.containerd.runtimes.runc]\n{RUNC}'
        f"[{V3}.containerd.runtimes.kata]\n{RUNC}",
    ),
    "h, b: a main file of version 1": with_ctk(
        "1.7.24", "1.20.0", 'oom_score = 0\n[plugins.cri]\nsandbox_image = "x"\n'
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_nvidias_own_command_is_not_advised_into_its_traps(trap: str) -> None:
    assert not uses_ctk(TRAPS[trap])


# ---------------------------------------------------------------------------------------------- programs and services


@pytest.mark.parametrize(
    ("release_file", "program", "first"),
    [
        ("ID=debian", "apt-get", "sudo apt-get update && sudo apt-get install -y containerd"),
        ("ID=fedora", "dnf", "sudo dnf install -y containerd"),
        ("ID=amzn", "yum", "sudo yum install -y containerd"),
        ("ID=azurelinux", "tdnf", "sudo tdnf install -y containerd"),
        ("ID=opensuse-leap", "zypper", "sudo zypper --non-interactive install containerd"),
        ("ID=arch", "pacman", "sudo pacman -S --needed --noconfirm containerd"),
        ("ID=alpine", "apk", "sudo apk add containerd"),
        ("ID=opensuse-microos", "transactional-update",
         "sudo transactional-update --non-interactive pkg install containerd"),
        ("ID=rhel", "dnf", "curl -fsSL https://download.docker.com/linux/rhel/docker-ce.repo | sudo tee /etc/yum.repos.d/docker-ce.repo >/dev/null"),
        ("ID=rocky", "dnf", "curl -fsSL https://download.docker.com/linux/centos/docker-ce.repo | sudo tee /etc/yum.repos.d/docker-ce.repo >/dev/null"),
    ],
)  # fmt: skip
def test_containerd_is_installed_by_the_nodes_own_means(release_file: str, program: str, first: str) -> None:
    node = SimNode().put("/etc/os-release", f"{release_file}\n").program(f"/usr/bin/{program}").program("/usr/bin/sudo")
    advice = remedy(node, "installed")
    assert advice.commands[0] == first
    if "rhel" in release_file:
        assert advice.commands[1:] == ("sudo dnf install -y containerd.io", "sudo systemctl enable --now containerd")


@pytest.mark.parametrize(
    ("name", "words"),
    [("flatcar", "its image"), ("nixos", "virtualisation.containerd.enable"), ("x", "no package manager")],
)
def test_systems_without_packages_get_a_sentence(name: str, words: str) -> None:
    assert words in remedy(SimNode().put("/etc/os-release", f"ID={name}\n"), "installed").summary


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


def k0s(text: str, cri: str) -> SimNode:
    node = SimNode().program("/usr/bin/sudo").program(RUNTIME).unit("k0sworker.service", Id="k0sworker.service")
    args = ["containerd", "--config=/etc/k0s/containerd.toml", "--address=/run/k0s/containerd.sock"]
    node.program("/var/lib/k0s/bin/containerd").process(Proc(9, "containerd", args, "/var/lib/k0s/bin/containerd"))
    node.answer(("/var/lib/k0s/bin/containerd", "--version"), "containerd github.com/containerd/containerd v1.7.24 x\n")
    return node.put("/etc/k0s/containerd.toml", text).put("/run/k0s/containerd-cri.toml", cri)


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
