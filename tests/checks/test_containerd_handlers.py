"""Handlers in containerd's files: where they stand, what they run, their runtime type, cgroups and default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from tests.support import kubernetes
from tests.support.containerd import (
    CONFIG,
    RELEASES,
    RUNTIME,
    V2,
    V3,
    binary,
    commands,
    config,
    finding,
    healthy,
    mine,
    outcome,
)
from tests.support.findings import evidence
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome

NVIDIA = f"{V2}.containerd.runtimes.nvidia"


def shown(found: Outcome) -> list[tuple[str, str]]:
    """The evidence: its source, and the first line or the one that is marked."""
    assert found.status == "fail"
    lines = [(item.source, item.text.splitlines()) for item in found.evidence]
    return [(source, next((line for line in text if line.startswith(">")), text[0])) for source, text in lines]


# ---------------------------------------------------------------------- handler


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


def test_a_handler_that_runs_runc_gets_the_edit() -> None:
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


def test_handlers_are_named_where_they_stand_and_their_lines_shown() -> None:
    node = healthy(SimNode())
    assert outcome(node, "handler").where is not None
    assert str(binary(node).outcome.where).startswith(f"{CONFIG}:")
    runc = healthy(SimNode(), text=config("1.7.24", binary="/usr/bin/runc"))
    found = outcome(runc, "handler")
    assert found.where is not None
    assert found.where.line
    assert evidence(found)


def test_nvidias_hook_is_no_runtime() -> None:
    """Its name begins like the runtime's; as one it fails at every pod."""
    node = healthy(SimNode(), text=config("1.7.24", binary=f"{RUNTIME}-hook"))
    node.program(f"{RUNTIME}-hook")
    assert finding(node, "handler").status == "fail"
    assert f"runs {RUNTIME}-hook" in outcome(node, "handler").found
    for twin in (".cdi", ".legacy", "-experimental"):
        assert finding(healthy(SimNode(), text=config("1.7.24", binary=f"{RUNTIME}{twin}")), "handler").status == "pass"


def test_a_handlers_dead_table_says_why() -> None:
    path, table = "/etc/containerd/conf.d/99-runc.toml", f"{V2}.containerd.runtimes.runc"
    text = 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + config("1.7.24")
    last = f'version = 2\n[{table}]\n  runtime_type = "io.containerd.runc.v2"\n'
    found = outcome(healthy(SimNode(), text=text).put(path, last), "handler")
    assert "runtimes.nvidia" in found.found
    assert " has no effect: " in found.found
    assert found.where is not None
    assert found.where.path == CONFIG
    assert found.where.line
    assert any(source.startswith(f"{CONFIG}:") and "runtimes.nvidia" in text for source, text in evidence(found))
    plain = outcome(healthy(SimNode(), "2.1.9", text="version = 3\n"), "handler")
    assert plain.found == "containerd 2.1.9 would load no handler nvidia (handlers: runc)"
    assert str(plain.where) == CONFIG


def test_an_import_that_replaces_a_handler_is_named_with_lost_lines() -> None:
    other = "/etc/containerd/conf.d/99-runc.toml"
    text = config("1.7.24").replace("\n", '\nimports = ["/etc/containerd/conf.d/*.toml"]\n', 1)
    node = healthy(SimNode(), text=text)
    node.put(other, f'version = 2\n[{V2}.containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n')
    lost = f"lost: an import replaces the whole plugin table, at {other}:2"
    found = outcome(node, "handler")
    assert found.found == (
        f"containerd 1.7.24 would load no handler nvidia (handlers: runc); {NVIDIA}.runtime_type has no effect: {lost}"
    )
    assert str(found.where) == f"{CONFIG}:10"
    assert shown(found) == [
        (f"{CONFIG}:10", f"{NVIDIA}.runtime_type: {lost}"),
        (f"{CONFIG}:12", f"{NVIDIA}.options.BinaryName: {lost}"),
        (f"{CONFIG}:13", f"{NVIDIA}.options.SystemdCgroup: {lost}"),
        (f"{CONFIG}:10", '>   10   runtime_type = "io.containerd.runc.v2"'),
    ]


@pytest.mark.parametrize(
    ("path", "told"), [("/etc/containerd/site.toml", " (this daemon reads /etc/containerd/site.toml)"), (CONFIG, "")]
)
def test_a_drop_in_without_import_is_shown(path: str, told: str) -> None:
    """Another file that the daemon reads is named."""
    other = "/etc/containerd/conf.d/99-nvidia.toml"
    node = healthy(SimNode(), "2.1.9", text="version = 3\n").put(path, "version = 3\n").put(other, config("2.1.9"))
    node.procs[0].args = ["/usr/bin/containerd", "--config", path]
    found = outcome(node, "handler")
    assert found.found == (
        "containerd 2.1.9 would load no handler nvidia (handlers: runc); "
        f"{other} has no effect: no imports line names this file{told}"
    )
    assert str(found.where) == f"{other}:8"


def test_a_misspelt_option_is_shown_beside_its_handler() -> None:
    found = outcome(healthy(SimNode(), text=config("1.7.24").replace("BinaryName", "Binaryname")), "handler")
    assert found.found == "handler nvidia names no BinaryName, so it runs runc"
    assert str(found.where) == f"{CONFIG}:8"
    assert shown(found) == [
        (f"{CONFIG}:11", f"{NVIDIA}.options.Binaryname: no option of this containerd's runc"),
        (f"{CONFIG}:8", f">    8 [{NVIDIA}]"),
    ]


def test_a_built_in_handler_has_no_line_so_the_file_is_shown() -> None:
    found = outcome(healthy(SimNode(), "2.1.9", text="version = 3\n"), "handler", Settings(handler="runc"))
    assert found.found == "handler runc names no BinaryName, so it runs runc"
    assert (str(found.where), shown(found)) == (CONFIG, [])


# ---------------------------------------------------------------------- default-runtime


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


def test_another_default_says_what_it_runs_and_where() -> None:
    settings = Settings(routes=("cri-default",))
    found = outcome(healthy(SimNode()), "default-runtime", settings)
    assert found.found == "the default handler is runc, which runs runc"
    assert str(found.where) == CONFIG
    text = config("1.7.24") + f'\n[{V2}.containerd]\n  default_runtime_name = "runc"\n'
    node = healthy(SimNode(), text=text.replace(f"[{V2}.containerd.runtimes.runc.options]\n",
        f'[{V2}.containerd.runtimes.runc.options]\n  BinaryName = "/usr/bin/crun"\n'))  # fmt: skip
    found = outcome(node, "default-runtime", settings)
    assert found.found == "the default handler is runc, which runs /usr/bin/crun"
    assert found.where is not None
    assert found.where.line == len(text.splitlines()) + 1
    assert any("default_runtime_name" in text for _, text in evidence(found))


# ---------------------------------------------------------------------- handler-runtime-type


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


def test_a_wrong_runtime_type_is_told_from_a_missing_one() -> None:
    text = config("2.1.9").replace('runtime_type = "io.containerd.runc.v2"', 'runtime_type = "io.containerd.runc.v1"')
    found = outcome(healthy(SimNode(), "2.1.9", text=text), "handler-runtime-type")
    assert found.found == "runtime_type is io.containerd.runc.v1"
    assert found.where is not None
    assert any("io.containerd.runc.v1" in text for _, text in evidence(found))
    head, _, tail = config("2.1.9").rpartition('  runtime_type = "io.containerd.runc.v2"\n')
    found = outcome(healthy(SimNode(), "2.1.9", text=head + tail), "handler-runtime-type")
    assert found.found == "handler nvidia has no runtime_type"
    assert found.where is not None
    assert outcome(healthy(SimNode()), "handler-runtime-type").where is not None


@pytest.mark.parametrize("option", ["BinaryName", "Runtime"])
@pytest.mark.parametrize("release", ["1.7.24", "2.1.9"])
def test_the_legacy_type_is_refused_whichever_option_names_the_program(release: str, option: str) -> None:
    """Of containerd 2 no shim is for it, and that of 1.x knows cgroup v1 alone."""
    head, kind, tail = config(release).rpartition("io.containerd.runc.v2")
    assert kind
    text = f"{head}io.containerd.runtime.v1.linux{tail}".replace("BinaryName", option)
    node = healthy(SimNode(), release, text=text)
    assert finding(node, "handler").status == "pass"
    found = outcome(node, "handler-runtime-type")
    assert found.found == "runtime_type is io.containerd.runtime.v1.linux"
    assert str(found.where) == f"{CONFIG}:9"
    assert shown(found) == [(f"{CONFIG}:9", '>    9   runtime_type = "io.containerd.runtime.v1.linux"')]
    assert commands(node, "handler-runtime-type")


def test_what_has_no_line_of_its_own_is_shown_by_the_handlers() -> None:
    head, _, tail = config("2.1.9").rpartition('  runtime_type = "io.containerd.runc.v2"\n')
    node = healthy(SimNode(), "2.1.9", text=(head + tail).replace("  SystemdCgroup = false\n", ""))
    found = outcome(node, "handler-runtime-type")
    assert str(found.where) == f"{CONFIG}:7"
    assert shown(found) == [(f"{CONFIG}:7", f">    7 [{V3}.containerd.runtimes.nvidia]")]
    assert str(outcome(node, "handler-cgroups").where) == f"{CONFIG}:7"


# ---------------------------------------------------------------------- handler-cgroups


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


def test_cgroup_drivers_are_named_and_differences_shown() -> None:
    assert outcome(healthy(SimNode()), "handler-cgroups").found == "SystemdCgroup = false, as handler runc"
    assert outcome(healthy(SimNode()), "handler-cgroups").where is not None
    text = config("1.7.24", systemd=True).rpartition("SystemdCgroup = true")
    found = outcome(healthy(SimNode(), text=text[0] + "SystemdCgroup = false" + text[2]), "handler-cgroups")
    assert found.expected == "one cgroup driver for all"
    assert found.where is not None
    assert any("SystemdCgroup = false" in text for _, text in evidence(found))
    text = config("1.7.24").rpartition("SystemdCgroup = false")
    found = outcome(healthy(SimNode(), text=text[0] + "SystemdCgroup = true" + text[2]), "handler-cgroups")
    assert found.found == "handler nvidia has SystemdCgroup = true, handler runc has cgroupfs"


def test_where_runc_is_nvidias_no_cgroup_driver_is_compared() -> None:
    head, _, _ = config("1.7.24").rpartition(f"[{NVIDIA}]")
    runc = f"[{V2}.containerd.runtimes.runc.options]\n"
    text = head.replace(runc, f'{runc}  BinaryName = "/usr/bin/nvidia-container-runtime"\n')
    found = outcome(healthy(SimNode(), text=text), "handler-cgroups")
    assert (found.status, found.found) == ("pass", "SystemdCgroup = false")
