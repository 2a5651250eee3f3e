"""What the toolkit's modes need: nvidia-container-cli, and hooks."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Where
from pytest_gpuready.views.toolkit import CONFIG
from tests.support.findings import commands, evidence
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    CLI,
    FOLDERS,
    MINE,
    MOST,
    OPERATOR,
    config,
    containerd,
    debian,
    healthy,
    legacy,
    named,
    one,
    operators,
    packages,
    record,
    says,
    toolkit,
)

HOOKS = "mode jit-cdi: /usr/bin/nvidia-ctk, and nvidia-cdi-hook for specs on disk"


class TestContainerCli:
    def test_ctr_up_to_2_2_needs_it_on_path(self) -> None:
        assert one(healthy(), "toolkit.container-cli", "ctr-gpus").status == "pass"
        node = containerd(toolkit(debian(SimNode()), names=MOST))
        outcome = one(node, "toolkit.container-cli", "ctr-gpus")
        assert outcome.status == "fail"
        assert "not on the node" in outcome.found

    def test_ctr_from_2_3_on_does_not(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=MOST), "2.3.4")
        assert one(node, "toolkit.container-cli", "ctr-gpus").status == "not-applicable"

    def test_the_operators_is_not_on_path_and_the_remedy_extends_it(self) -> None:
        outcome = one(operators(), "toolkit.container-cli", "ctr-gpus")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (
            f'sudo env PATH="$PATH:"{OPERATOR} ctr run --rm --gpus 0 IMAGE ID nvidia-smi',
        )

    def test_legacy_mode_alone_needs_it_on_the_daemons_path(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=MOST))
        assert one(node, "toolkit.container-cli", "cri-handler").status == "not-applicable"
        outcome = one(legacy(node), "toolkit.container-cli", "cri-handler")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert outcome.remedy.commands == ("sudo apt-get install -y --reinstall libnvidia-container-tools",)
        assert outcome.remedy.summary == (
            "libnvidia-container-tools should bring a nvidia-container-cli that works: install the package anew."
        )
        assert one(legacy(healthy()), "toolkit.container-cli", "cri-handler").status == "pass"
        assert one(operators(mode="legacy"), "toolkit.container-cli", "cri-handler").status == "pass"

    def test_a_path_in_the_configuration_is_the_one_that_counts(self) -> None:
        node = config(
            legacy(healthy()), '#path = "/usr/bin/nvidia-container-cli"', 'path = "/opt/nvidia-container-cli"'
        )
        outcome = one(node, "toolkit.container-cli", "cri-handler")
        assert outcome.status == "fail"
        assert outcome.where == Where(CONFIG, 14)
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (f"sudo sed -i '14s|=.*|= \"/usr/bin/nvidia-container-cli\"|' {CONFIG}",)

    def test_the_clis_version_is_told_where_it_says_one(self) -> None:
        assert one(healthy(), "toolkit.container-cli", "ctr-gpus").found == f"{CLI} 1.18.2"
        assert one(says(healthy()), "toolkit.container-cli", "ctr-gpus").found == CLI

    def test_each_client_has_its_own_words(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=MOST), "2.3.4")
        assert one(node, "toolkit.container-cli", "ctr-gpus").found == "this ctr gives GPUs by CDI"
        assert one(node, "toolkit.container-cli", "nerdctl").found == "this nerdctl gives GPUs by CDI"
        node.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.3.0\n")
        assert one(node, "toolkit.container-cli", "nerdctl").status == "not-applicable"
        node.answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
        found = one(node, "toolkit.container-cli", "nerdctl")
        assert (found.status, found.found) == ("fail", "nvidia-container-cli is not on the node")
        assert evidence(found) == [("PATH", FOLDERS.replace(", ", ":"))]
        assert any("libnvidia-container-tools" in command or "toolkit" in command for command in commands(found))

    def test_nerdctl_with_a_cli_off_path_gets_its_own_command(self) -> None:
        node = operators().program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
        found = one(node, "toolkit.container-cli", "nerdctl")
        assert found.found == f"{OPERATOR}/nvidia-container-cli is not on PATH"
        assert commands(found)[0].endswith("nerdctl run --rm --gpus all IMAGE nvidia-smi")

    def test_legacy_mode_says_where_it_looked(self) -> None:
        found = one(legacy(containerd(toolkit(debian(SimNode()), names=MOST))), "toolkit.container-cli", "cri-handler")
        assert (found.found, found.where) == (f"nvidia-container-cli is not in {FOLDERS}", None)
        assert commands(found)
        named = config(
            legacy(healthy()), '#path = "/usr/bin/nvidia-container-cli"', 'path = "/opt/nvidia-container-cli"'
        )
        assert one(named, "toolkit.container-cli", "cri-handler").found == "/opt/nvidia-container-cli is not there"
        jit = one(healthy(), "toolkit.container-cli", "cri-handler")
        assert jit.found == "mode jit-cdi does not use nvidia-container-cli"

    def test_1_17_7_fails_under_ctr_alone_and_is_upgraded(self) -> None:
        node = containerd(toolkit(debian(SimNode()), "1.17.7"))
        found = one(node, "toolkit.container-cli", "ctr-gpus")
        assert (found.status, found.found) == ("fail", f"{CLI} is 1.17.7, which fails when ctr calls it")
        assert evidence(found)[0][0] == f"{CLI} --version"
        assert any("nvidia-container-toolkit" in command for command in commands(found))
        assert one(legacy(node), "toolkit.container-cli", "cri-handler").status == "pass"

    @pytest.mark.parametrize(
        ("said", "names"),
        [
            ("error while loading shared libraries: libnvidia-container.so.1: cannot open", " libnvidia-container1"),
            ("error while loading shared libraries: libelf.so.1: cannot open", ""),
            ("libnvidia-container: boom", ""),
            (
                "nvidia-container-cli: error while loading shared libraries: libnvidia-container.so.1: cannot open",
                " libnvidia-container1",
            ),
        ],
    )
    def test_a_cli_that_does_not_run_is_installed_anew(self, said: str, names: str) -> None:
        """With its own library, where that is what it lacks."""
        found = one(says(healthy(), record(CLI, said, 127)), "toolkit.container-cli", "ctr-gpus")
        assert (found.status, found.found) == ("fail", f"{CLI} --version ends with 127: {said}")
        assert evidence(found) == [(f"{CLI} --version", said)]
        assert commands(found) == (f"sudo apt-get install -y --reinstall libnvidia-container-tools{names}",)

    @pytest.mark.parametrize("said", [record(CLI, "hello"), f"prog {CLI}\n> cli-version: 1.18.2\n"])
    def test_a_cli_without_version_or_exit_status_is_there(self, said: str) -> None:
        found = one(says(healthy(), said), "toolkit.container-cli", "ctr-gpus")
        assert (found.status, found.found) == ("pass", CLI)


class TestHook:
    def test_only_the_base_package_and_legacy_mode_fails(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=MOST))
        assert one(node, "toolkit.hook").status == "pass"
        outcome = one(legacy(node), "toolkit.hook")
        assert outcome.status == "fail"
        assert "nvidia-container-runtime-hook" in outcome.found
        assert outcome.remedy is not None
        assert "nvidia-container-toolkit" in outcome.remedy.commands[-1]

    def test_jit_cdi_needs_the_program_that_the_configuration_names(self) -> None:
        node = config(healthy(), '[nvidia-ctk]\npath = "nvidia-ctk"', '[nvidia-ctk]\npath = "/opt/nvidia-ctk"')
        outcome = one(node, "toolkit.hook")
        assert outcome.status == "fail"
        assert outcome.where == Where(CONFIG, 42)
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (f"sudo sed -i '42s|=.*|= \"nvidia-ctk\"|' {CONFIG}",)
        assert one(node.program("/opt/nvidia-ctk"), "toolkit.hook").status == "pass"

    def test_in_mode_cdi_the_specs_name_the_hooks(self) -> None:
        assert one(config(healthy(), 'mode = "auto"', 'mode = "cdi"'), "toolkit.hook").status == "pass"

    def test_the_hook_of_each_mode_is_named(self) -> None:
        assert one(legacy(healthy()), "toolkit.hook").found == "mode legacy: /usr/bin/nvidia-container-runtime-hook"
        assert one(healthy(), "toolkit.hook").found == (
            "mode jit-cdi: /usr/bin/nvidia-ctk, and nvidia-cdi-hook for specs on disk"
        )
        cdi = config(healthy(), 'mode = "auto"', 'mode = "cdi"').remove("/usr/bin/nvidia-ctk")
        assert one(cdi, "toolkit.hook").found == "mode cdi: the specs name their hooks (cdi.spec-current)"

    def test_without_nvidia_cdi_hook_specs_break_from_1_16_on(self) -> None:
        found = one(healthy().remove("/usr/bin/nvidia-cdi-hook"), "toolkit.hook")
        assert found.status == "warn"
        assert commands(found)
        own = config(healthy(), '[nvidia-ctk]\npath = "nvidia-ctk"', '[nvidia-ctk]\npath = "nvidia-cdi-hook2"')
        own.program("/usr/bin/nvidia-cdi-hook2").remove("/usr/bin/nvidia-cdi-hook")
        assert one(own, "toolkit.hook").status == "pass"
        old = containerd(toolkit(debian(SimNode()), "1.15.0", names=MOST)).remove("/usr/bin/nvidia-cdi-hook")
        node = config(old, 'mode = "auto"', 'mode = "csv"').put("/etc/nv_tegra_release", "# R36\n")
        assert one(node, "toolkit.hook").status == "pass"

    def test_a_missing_hook_is_shown_with_the_searched_folders(self) -> None:
        found = one(legacy(containerd(toolkit(debian(SimNode()), names=MOST))), "toolkit.hook")
        assert found.found == "mode legacy needs nvidia-container-runtime-hook, and it is not there"
        assert found.expected == f"nvidia-container-runtime-hook in {FOLDERS}"
        ctk = config(healthy(), '[nvidia-ctk]\npath = "nvidia-ctk"', '[nvidia-ctk]\npath = "/opt/nvidia-ctk"')
        assert one(ctk, "toolkit.hook").expected == "/opt/nvidia-ctk"
        bare = one(healthy().remove(CONFIG).remove("/usr/bin/nvidia-ctk"), "toolkit.hook")
        assert (bare.found, bare.where) == ("mode jit-cdi needs nvidia-ctk, and it is not there", None)

    def test_a_runtime_that_cannot_run_needs_no_hook(self) -> None:
        node = named(healthy(), MINE)
        gone = one(node, "toolkit.hook", "cri-handler")
        assert (gone.status, gone.found) == (
            "not-applicable",
            "the daemon cannot execute the handler's program: containerd.handler-binary says why",
        )
        assert one(node, "toolkit.hook", "ctr-runtime").found == HOOKS
        silent = one(packages(says(named(healthy(), MINE)), owners={}), "toolkit.hook", "ctr-runtime")
        assert silent.status == "unknown"
        there = one(node.program(MINE), "toolkit.hook", "cri-handler")
        assert (there.status, there.found) == (
            "unknown",
            "the toolkit's version cannot be had: none of its programs nor packages tells it",
        )

    def test_a_hook_is_searched_by_its_configured_or_usual_name(self) -> None:
        section = '[nvidia-container-runtime-hook]\npath = "'
        node = config(legacy(healthy()), f"{section}nvidia-container-runtime-hook", f"{section}my-hook")
        found = one(node, "toolkit.hook")
        assert found.found == "mode legacy needs my-hook, and it is not there"
        assert found.expected == f"my-hook in {FOLDERS}"
        bare = one(healthy().remove(CONFIG).remove("/usr/bin/nvidia-ctk"), "toolkit.hook")
        assert bare.expected == f"nvidia-ctk in {FOLDERS}"
