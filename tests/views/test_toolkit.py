"""The toolkit's view: modes by version, configurations by runtime, and its scripts on a real shell."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node import trust
from pytest_gpuready.node.facts import Fact, Facts, Request
from pytest_gpuready.views import Views
from pytest_gpuready.views.toolkit import CONFIG, OPERATOR_CONFIG, RUNTIME_ROUTES, Toolkit
from pytest_gpuready.views.toolkit_probe import PACKAGES, VERSIONS, numbers, repositories
from tests.support import driver
from tests.support.cdi import cdi
from tests.support.shell import shells
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    DEFAULT_CONFIG,
    NVIDIA_REPO,
    config,
    containerd,
    debian,
    packages,
    record,
    says,
    toolkit,
    views,
    words,
)

if TYPE_CHECKING:
    from pathlib import Path


def seen(node: SimNode) -> Toolkit:
    return views(node).get(Toolkit)


def node(version: str = "1.18.2") -> SimNode:
    return containerd(toolkit(debian(SimNode()), version))


class TestMode:
    @pytest.mark.parametrize(
        ("version", "mode"), [("1.14.6", "legacy"), ("1.17.9", "legacy"), ("1.18.0", "jit-cdi"), ("1.20.0", "jit-cdi")]
    )
    def test_auto_is_what_the_version_makes_of_it(self, version: str, mode: str) -> None:
        assert seen(node(version)).mode == mode

    def test_auto_on_tegra_is_csv(self) -> None:
        assert seen(node().put("/etc/nv_tegra_release", "# R36")).mode == "csv"
        assert seen(node().put("/sys/devices/soc0/family", "Tegra\n")).mode == "csv"

    @pytest.mark.parametrize("mode", ["legacy", "cdi", "csv", "jit-cdi"])
    def test_a_word_is_taken_as_it_is(self, mode: str) -> None:
        assert seen(config(node(), 'mode = "auto"', f'mode = "{mode}"')).mode == mode

    def test_no_file_means_auto(self) -> None:
        assert seen(node().remove(CONFIG)).mode == "jit-cdi"

    def test_a_word_that_is_none_is_not_known(self) -> None:
        with pytest.raises(Undetermined, match="bogus"):
            _ = seen(config(node(), 'mode = "auto"', 'mode = "bogus"')).mode

    def test_the_operators_runtimes_have_their_mode_in_their_name(self) -> None:
        nodes = node()
        config(nodes, "nvidia-container-runtime", "nvidia-container-runtime.cdi", path="/etc/containerd/config.toml")
        nodes.program("/usr/bin/nvidia-container-runtime.cdi")
        assert seen(nodes).mode_for("cri-handler") == "cdi"
        assert seen(nodes).mode_for("ctr-runtime") == "jit-cdi"

    def test_without_a_runtime_auto_is_not_known(self) -> None:
        with pytest.raises(Undetermined, match="not on the node"):
            _ = seen(SimNode()).mode


class TestOperator:
    @staticmethod
    def operator(version: str, mode: str) -> SimNode:
        folder = "/usr/local/nvidia/toolkit"
        return toolkit(SimNode(), version, folder=folder).put(
            OPERATOR_CONFIG, DEFAULT_CONFIG.replace('mode = "auto"', f'mode = "{mode}"')
        )

    def test_native_cdi_is_mode_cdi_from_toolkit_1_18_on(self) -> None:
        assert "native CDI" in (seen(self.operator("1.18.0", "cdi")).operator_cdi or "")
        assert seen(self.operator("1.17.0", "cdi")).operator_cdi is None
        assert seen(self.operator("1.18.0", "auto")).operator_cdi is None
        assert seen(node()).operator_cdi is None

    def test_nri_is_seen_by_the_toolkit_pods_environment(self) -> None:
        nodes = self.operator("1.19.0", "auto").answer(
            ("toolkit installer of the GPU operator",), "pid 9\nENABLE_NRI_PLUGIN=true\n"
        )
        assert "NRI" in (seen(nodes).operator_cdi or "")

    def test_its_runtime_reads_its_own_configuration(self) -> None:
        assert seen(self.operator("1.18.0", "cdi")).config_path == OPERATOR_CONFIG
        assert seen(self.operator("1.18.0", "cdi")).mode == "cdi"
        assert seen(node()).config_path == CONFIG


class TestVersions:
    def test_numbers(self) -> None:
        assert numbers("1:1.17.8~rc.1-1") == (1, 17, 8)
        assert numbers("v1.18.0-rc.2") == (1, 18, 0)
        assert numbers("none") == ()

    def test_the_programs_word_goes_before_the_packages(self) -> None:
        assert seen(packages(node(), "nvidia-container-toolkit 9.9.9-1")).version == (1, 18, 2)

    def test_a_runtime_that_says_nothing_is_of_its_neighbours_version_then_its_packages(self) -> None:
        silent = record("/usr/bin/nvidia-container-runtime", "sh: Exec format error", 126)
        nodes = says(node(), silent, record("/usr/bin/nvidia-ctk", words("nvidia-ctk", "1.17.8")))
        assert seen(nodes).version == (1, 17, 8)
        assert seen(says(node(), silent)).version == (1, 18, 2)
        with pytest.raises(Undetermined):
            _ = seen(packages(says(node(), silent), owners={})).version


class TestRepositories:
    def test_nvidias_repository_counts_when_it_is_enabled(self) -> None:
        assert repositories(NVIDIA_REPO) == ["/etc/yum.repos.d/nvidia-container-toolkit.repo"]
        assert repositories(NVIDIA_REPO.replace("enabled=1", "enabled=0")) == []

    def test_a_line_of_a_list_counts_by_itself(self) -> None:
        address = "https://nvidia.github.io/libnvidia-container/stable/deb/amd64"
        assert repositories(f"file /etc/apt/sources.list.d/x.list\n> deb {address} /\n")
        assert repositories(f"file /etc/apt/sources.list.d/x.sources\n> URIs: {address}\n> Enabled: no\n") == []

    def test_a_driver_repository_has_no_toolkit(self) -> None:
        assert repositories("file /etc/yum.repos.d/r.repo\n> [rpmfusion-nonfree-nvidia-driver]\n> enabled=1\n") == []


def test_a_healthy_node_is_asked_twice_at_most() -> None:
    nodes = cdi(containerd(toolkit(driver.h100(debian(SimNode())))))
    facts = Facts("local")
    for request, fact in nodes.facts():
        if request.kind == "node":
            facts.add(request, fact)
    rounds: list[list[Request]] = []
    while wanted := [request for request in Views(facts).wants() if request not in facts]:
        rounds.append(wanted)
        for request in wanted:
            nodes._answer_into(facts, request)
    assert len(rounds) <= 2, [str(request) for request in rounds[-1]]


def shell(request: Request, path: Path, *arguments: str) -> str:
    """What a script of ours prints on this machine's sh with nothing but `path` and the usual tools on PATH."""
    done = subprocess.run(
        ["sh", "-c", request.body, *(arguments or request.arg)],
        env={**os.environ, "PATH": f"{path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.stdout


def test_the_versions_script_runs_every_program_once_and_keeps_its_words_and_status(tmp_path: Path) -> None:
    for name, body in (("nvidia-container-runtime", "echo words; echo more >&2; exit 3"), ("nvidia-ctk", "echo ctk")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "nvidia-cdi-hook").write_text("not executable")
    text = shell(VERSIONS, tmp_path, VERSIONS.arg[0], VERSIONS.arg[1], str(tmp_path))
    answers = Toolkit(Views(Facts("x", [(VERSIONS, Fact("ok", text.encode(), 0))]))).said
    runtime = answers[f"{tmp_path}/nvidia-container-runtime"]
    assert (runtime.rc, runtime.text) == (3, "words\nmore")
    assert answers[f"{tmp_path}/nvidia-ctk"].text == "ctk"
    assert f"{tmp_path}/nvidia-cdi-hook" not in answers


@pytest.mark.parametrize("program", shells("dash", "bash", "busybox"))
@pytest.mark.parametrize(("release", "asked"), [("1.17.8", False), ("1.18.2", True)])
def test_a_debug_log_is_not_written_to(tmp_path: Path, program: str, release: str, *, asked: bool) -> None:
    """The stand-in for the runtime logs wherever its configuration says, as the real one does even for --version."""
    configuration, log = tmp_path / "config.toml", tmp_path / "runtime.log"
    configuration.write_text(f'[nvidia-container-runtime]\ndebug = "{log}"\n[nvidia-container-cli]\ndebug = "/x"\n')
    take = "cat ${NVIDIA_CTK_CONFIG_FILE_PATH:-" + str(configuration) + "}"
    for name, body in (
        (
            "nvidia-container-runtime",
            f"{take} | grep -q runtime.log && echo seen >{log}; echo 'NVIDIA Container Runtime version 1'",
        ),
        ("nvidia-ctk", f"echo 'NVIDIA Container Toolkit CLI version {release}'"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    body = VERSIONS.body.replace(CONFIG, str(configuration))
    start = [program, "sh"] if program == "busybox" else [program]
    done = subprocess.run(
        [*start, "-c", body, "x", VERSIONS.arg[1], str(tmp_path)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GPUREADY_TRUST": trust.SHELL},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    said = Toolkit(Views(Facts("x", [(VERSIONS, Fact("ok", done.stdout.encode(), 0))]))).said
    assert not log.exists(), done.stdout
    assert (said[f"{tmp_path}/nvidia-container-runtime"].logs is None) == asked


def test_the_packages_script_runs_here_and_says_who_manages() -> None:
    done = subprocess.run(
        ["sh", "-c", PACKAGES.body, *PACKAGES.arg], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0
    assert all(line.split("|")[0] in ("pkg", "own") or line.startswith("manager ") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("complaint", "asked"),
    [("", "nobody"), ("error: cannot open Packages database in /var/lib/rpm", "itself")],
)
def test_rpm_is_asked_as_nobody_where_nobody_may_read(tmp_path: Path, complaint: str, asked: str) -> None:
    """As root it writes beside its database even to read it."""
    programs = {
        "id": "echo 0",
        "setpriv": '[ "$1$2" = --reuid=65534--regid=65534 ] || exit 1\nshift 3\nWHO=nobody exec "$@"',
        "rpm": f'[ "${{WHO:-itself}}" = itself ] || echo "{complaint}" >&2\n'
        'echo "pkg|rpm|${WHO:-itself}|1.18.2-1|installed|NVIDIA CORPORATION"',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("sh", "grep", "sed"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        ["sh", "-c", PACKAGES.body, *PACKAGES.arg],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"pkg|rpm|{asked}|1.18.2-1|installed|NVIDIA CORPORATION" in done.stdout.splitlines()


@given(st.data())
def test_garbage_raises_nothing_but_what_views_may_raise(data: st.DataObject) -> None:
    nodes = node()
    junk = st.binary(max_size=120) | st.sampled_from(
        [b"prog \n> \nrc 99999999999\n", b"pkg|||||\nown|\n", b"prog /x\nrc -1\nlogs\n"]
    )
    nodes.put(CONFIG, data.draw(junk))
    for name in ("versions of the toolkit's programs", "packages of the toolkit", "package repositories of NVIDIA's"):
        nodes.answer((name,), data.draw(junk))
    toolkit_ = seen(nodes)
    for name in ("mode", "version", "packages", "repositories", "runtime_paths", "operator_cdi", "is_tegra"):
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            getattr(toolkit_, name)
    for route in RUNTIME_ROUTES:
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            toolkit_.low_level(route)
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        toolkit_.owner("/usr/bin/nvidia-container-runtime")


def test_an_endless_list_of_runtimes_is_not_looked_for_to_its_end() -> None:
    names = ", ".join(f'"r{number}"' for number in range(500))
    nodes = config(node(), 'runtimes = ["runc", "crun"]', f"runtimes = [{names}]")
    asked = [request for request, _ in nodes.facts() if request.kind == "stat" and "/r4" in request.arg[0]]
    assert 0 < len(asked) < 200
