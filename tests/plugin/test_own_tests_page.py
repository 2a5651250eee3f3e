"""docs/own-tests.md: each file of the page, run as it is printed, on nodes where it passes and where it fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready import plugin
from tests.support import containerd, driver, toolkit
from tests.support import nodes as whole
from tests.support.kubernetes import kubeadm
from tests.support.sshd import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Nodes, Pytest, Result
    from tests.support.simnode import SimNode

PAGE = (Path(__file__).parents[2] / "docs" / "own-tests.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"^## (\d+)\. .*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def good() -> SimNode:
    """A node of a Kubernetes cluster that all ten are content with; systemd cgroups as its kubelet has them."""
    node = kubeadm(whole.ready())
    node.put("/etc/containerd/config.toml", containerd.config("2.1.9", systemd=True))
    return containerd.says(node, containerd.loaded(node, "2.1.9"))


def one_gpu() -> SimNode:
    node = good()
    return driver.smi(node, driver.smi_xml(driver.gpu_xml(0)))


def old_driver() -> SimNode:
    return good().put("/sys/module/nvidia/version", "570.124.06\n")


def upgraded() -> SimNode:
    """Containerd's package is newer than what runs."""
    return good().answer(("containerd", "--version"), "containerd github.com/containerd/containerd/v2 v2.2.7 abc\n")


def nvidia_by_default() -> SimNode:
    text = containerd.config("2.1.9", systemd=True)
    table = f"[{containerd.table('2.1.9')}.containerd]\n  default_runtime_name = 'nvidia'\n"
    return good().put("/etc/containerd/config.toml", text + table)


def no_spec() -> SimNode:
    return good().remove("/etc/cdi").remove("/var/run/cdi")


def distributions_toolkit() -> SimNode:
    return toolkit.packages(good(), "nvidia-container-toolkit 1.18.2-1", vendor="Somebody <x@example.org>")


def cgroupfs() -> SimNode:
    node = kubeadm(whole.ready())
    node.put("/etc/containerd/config.toml", containerd.config("2.1.9"))
    return containerd.says(node, containerd.loaded(node, "2.1.9"))


def no_smi() -> SimNode:
    return good().remove("/usr/bin/nvidia-smi")


def other_ctr() -> SimNode:
    return good().answer(("ctr", "--version"), "ctr github.com/containerd/containerd v1.7.24\n")


#: By its number on the page: a node on which the test fails, and what the failure says. The last one asks `host`.
BROKEN: dict[str, tuple[Callable[[], SimNode], str]] = {
    "1": (one_gpu, "Right contains one more item: 'NVIDIA H100 80GB HBM3'"),
    "2": (old_driver, "the fleet is on 580, this node on 570.124.06"),
    "3": (upgraded, "restart containerd after the upgrade"),
    "4": (nvidia_by_default, "'nvidia' == 'runc'"),
    "5": (no_spec, "not in any CDI spec: nvidia.com/gpu=0, nvidia.com/gpu=1"),
    "6": (distributions_toolkit, "nvidia-container-toolkit 1.18.2-1 was not built by NVIDIA"),
    "7": (cgroupfs, "the kubelet uses systemd"),
    "8": (no_smi, "nvidia-smi is not on the PATH of gpu01"),
    "9": (other_ctr, "ctr is 1.7.24"),
}


@pytest.fixture
def files(run: Pytest) -> dict[str, str]:
    """The files of the page, as they are printed."""
    names = {number: f"test_{int(number):02}.py" for number in BLOCKS}
    for number, text in BLOCKS.items():
        run.file(names[number], text)
    return names


def test_there_are_ten_and_they_use_every_fixture() -> None:
    assert list(BLOCKS) == [str(number) for number in range(1, 11)]
    heads = ", ".join(re.findall(r"def test\w+\((.*?)\)", "".join(BLOCKS.values())))
    asked = set(heads.split(", "))
    assert asked - {"program"} == {*plugin.__all__, "host"}
    assert all(f"| `{name}` |" in PAGE for name in plugin.__all__)
    assert max(len(text.splitlines()) for text in BLOCKS.values()) <= 10


def test_all_pass_on_a_node_as_it_should_be(run: Pytest, files: dict[str, str], nodes: Nodes) -> None:
    result = run.raw("--hosts", nodes.write("own-good", good()), *files.values())
    assert result.ret == 0, result.out
    assert "12 passed, 1 skipped" in result.out  # the eighth has four parameters; host asks no recorded node


@pytest.mark.parametrize("number", BROKEN)
def test_each_fails_in_words_where_it_should(run: Pytest, files: dict[str, str], nodes: Nodes, number: str) -> None:
    make, words = BROKEN[number]
    result = run.raw("--hosts", nodes.write(f"own-{number}", make()), files[number])
    assert result.ret == 1, result.out
    assert words in " ".join(result.out.split()), result.out


def test_with_the_suite_the_marked_ones_are_checks(run: Pytest, files: dict[str, str], nodes: Nodes) -> None:
    """On a node that is not as it should be: failed, passed, and not applicable where a recorded node has no `host`."""
    result = run.suite(*files.values(), hosts=nodes.write("own-old", old_driver()))
    assert result.report is not None, result.text
    checks = result.report["nodes"][0]["checks"]
    found = {check["check"]: check for check in checks if check["family"] == "site"}
    assert {name: check["status"] for name, check in found.items()} == {
        "site.driver-branch": "fail",
        "site.containerd-release": "pass",
        "site.toolkit": "pass",
        "site.room": "not-applicable",
    }
    assert "this node on 570.124.06" in found["site.driver-branch"]["found"]


def test_what_cannot_be_known_is_unknown_to_the_report(run: Pytest, files: dict[str, str], nodes: Nodes) -> None:
    """Nobody on the node can ask containerd: the test fails, and the check says that it does not know."""
    node = good()
    node.answer(("containerd API", containerd.SOCKET), b"via=none\nsocket=ok\n")
    result = run.suite(files["3"], hosts=nodes.write("own-mute", node))
    assert result.report is not None, result.text
    (found,) = (check for check in result.report["nodes"][0]["checks"] if check["check"] == "site.containerd-release")
    assert (found["status"], found["found"]) == (
        "unknown",
        "Undetermined: the running containerd does not say its version",
    )


@pytest.mark.parametrize(("free", "passes"), [(200, True), (3, False)])
def test_the_one_that_runs_a_command_counts_here(
    run: Pytest,
    files: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    passes: bool,  # noqa: FBT001
) -> None:
    """By a `df` that stands for a disk with so much room; that of this machine is nobody's to say."""
    folder = run.path / "bin"
    program = run.file("bin/df", f"#!/bin/sh\necho Filesystem\necho /dev/x 1 1 {free * 2**20} 1% /\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    result = run.raw(files["10"])
    assert result.ret == (0 if passes else 1), result.out
    assert passes or f"{free} GiB are free below /var/lib on local; CUDA images want 20" in result.out


@pytest.mark.lab("ssh", "ssh-keygen", "sshd")
def test_over_ssh_they_say_what_they_say_here(
    run: Pytest, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine, by its own shell and by a real sshd: each test ends in the same way and the same words."""

    def ends(result: Result, label: str) -> dict[str, str]:
        lines = re.findall(r"^(PASSED|FAILED|ERROR) (\S+)(?: - (.*))?$", result.out, re.MULTILINE)
        return {name.replace(label, "node"): f"{end} {why}".replace(label, "node") for end, name, why in lines}

    monkeypatch.setenv("COLUMNS", "400")  # a summary's line is cut at the terminal's width
    given = ("-rA", *files.values())
    here = run.raw(*given)
    with serving() as sshd:
        there = run.raw(f"--hosts={sshd.spec}", f"--ssh-config={sshd.config}", *given)
    assert len(ends(here, "local")) == 13, here.out
    assert ends(there, sshd.spec) == ends(here, "local")


def test_every_fixture_is_described(run: Pytest) -> None:
    """By `pytest --fixtures`, with more than its name."""
    out = run.raw("--fixtures").out
    for name in plugin.__all__:
        match = re.search(rf"^{name} \[module scope\] -- .*\n((?:    .+\n)+)", out, re.MULTILINE)
        assert match, name
        assert len(match[1].split()) >= 8, match[0]
        assert "no docstring" not in match[1]
    assert "@pytest.mark.gpuready(id, needs): a readiness check of your own" in run.raw("--markers").out
