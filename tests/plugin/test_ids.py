"""Ids: the same in every directory, and each can be pasted back as an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import testinfra

from pytest_gpuready.backends import node_spec
from pytest_gpuready.checks.catalogue import suite
from pytest_gpuready.collection import item_label, labels
from pytest_gpuready.node.hosts import parse

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest


def ids(run: Pytest, *args: str) -> list[str]:
    """The ids that pytest would run, in their order."""
    return [line for line in run.raw("--gpuready", "--co", "-q", *args).out.splitlines() if "::" in line]


def test_an_id_is_family_check_and_node(run: Pytest, nodes: Nodes) -> None:
    found = ids(run, "--hosts", nodes.bare)
    assert found == [f"gpuready/{check.family}.py::{check.name}[{nodes.bare}]" for check in suite(live=False).values()]


def test_ids_are_the_same_in_every_directory(run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    here = ids(run, "--hosts", nodes.bare)
    run.file("pytest.ini", "[pytest]\n")
    run.file("deep/er/x", "")
    monkeypatch.chdir(run.path / "deep" / "er")
    assert ids(run, "--hosts", nodes.bare) == here


@pytest.mark.parametrize("also", [(), ("test_theirs.py",), ("-n1",), ("-n1", "test_theirs.py")], ids=" ".join)
def test_an_id_can_be_pasted_back(run: Pytest, plain: dict[str, Any], also: tuple[str, ...]) -> None:
    """It chooses what is shown; the verdict is that of all checks."""
    run.file("test_theirs.py", "def test_theirs():\n    pass\n")
    wanted = f"gpuready/containerd.py::handler[{run.spec}]"
    result = run.suite(wanted, "-v", *also)
    assert result.judged == plain
    assert ("test_theirs.py::test_theirs" in result.out) is ("test_theirs.py" in also)
    assert wanted in result.out
    assert "gpuready/node.py" not in result.out


def test_an_id_as_shown_from_another_directory(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest shows ids relative to the current directory, with `../` where the rootdir is above it."""
    run.file("pytest.ini", "[pytest]\n")
    run.file("below/x", "")
    monkeypatch.chdir(run.path / "below")
    result = run.suite("-v", "-rA")
    shown = next(line for line in result.out.splitlines() if "node.py::reachable" in line and " PASSED" in line)
    pasted = shown.partition(" ")[0]
    assert pasted.startswith("../gpuready/")
    again = run.suite(pasted, "-v")
    assert "collected 1 item" in again.out


@pytest.mark.parametrize(
    "selected", ["gpuready", "gpuready/", "gpuready/node.py", "gpuready/containerd.py::handler", "gpuready/node.py/"]
)
def test_a_part_of_an_id_chooses_all_below_it(run: Pytest, nodes: Nodes, selected: str) -> None:
    everything = ids(run, "--hosts", f"{nodes.bare},{nodes.silent}")
    chosen = ids(run, "--hosts", f"{nodes.bare},{nodes.silent}", selected)
    part = selected.rstrip("/")
    assert chosen == [one for one in everything if one.startswith((f"{part}/", f"{part}::", f"{part}["))]
    assert chosen


def test_several_ids_and_an_unknown_one(run: Pytest, nodes: Nodes) -> None:
    one, two = "gpuready/node.py::reachable", f"gpuready/containerd.py::running[{nodes.bare}]"
    assert ids(run, "--hosts", nodes.bare, two, one) == [f"{one}[{nodes.bare}]", two]
    result = run.suite(one, "gpuready/node.py::reachabel")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: no such check or node: gpuready/node.py::reachabel (" in result.err


def test_a_folder_of_theirs_may_be_called_gpuready(run: Pytest) -> None:
    """What exists is theirs; it is collected beside the suite, and its failure is theirs."""
    run.file("gpuready/test_theirs.py", "def test_theirs():\n    assert False\n")
    result = run.suite("gpuready/test_theirs.py", "-v")
    assert "gpuready/test_theirs.py::test_theirs FAILED" in result.out
    assert "gpuready/node.py::reachable" in result.out
    assert "1 of your own tests failed" in result.out


def test_nodes_come_in_the_order_asked_for(run: Pytest, nodes: Nodes) -> None:
    """Family after family, in each node after node: pytest begins a line wherever the family changes."""
    result = run.raw("--gpuready", "--hosts", f"{nodes.silent},{nodes.bare}", "-v", "-p", "no:randomly")
    shown = [line.partition(" ")[0] for line in result.lines("gpuready/")]
    checks = list(suite(live=False).values())
    assert shown == [
        f"gpuready/{family}.py::{check.name}[{node}]"
        for family in dict.fromkeys(check.family for check in checks)
        for node in (nodes.silent, nodes.bare)
        for check in checks
        if check.family == family
    ]


def test_labels_that_look_alike_get_numbers() -> None:
    assert labels(["a b", "a_b", "a_b-2", "a&b", "ssh://n"]) == {
        "a b": "a_b",
        "a_b": "a_b-2",
        "a_b-2": "a_b-2-2",
        "a&b": "a_b-3",
        "ssh://n": "ssh://n",
    }


def test_nodes_that_look_alike_are_told_apart(run: Pytest, nodes: Nodes) -> None:
    """Their ids differ, each finds its own node's findings, and the suite's order holds."""
    for name, source in (("n 1", "bare"), ("n&1", "silent")):
        (nodes.folder / f"{name}.json").write_bytes((nodes.folder / f"{source}.json").read_bytes())
    spec = f"snapshot://{nodes.folder}/n 1.json,snapshot://{nodes.folder}/n&1.json"
    result = run.suite("-v", "gpuready/node.py::reachable", hosts=spec)
    place = f"gpuready/node.py::reachable[snapshot://{nodes.folder}/n_1.json"
    assert any(line.startswith(f"{place}] PASSED") for line in result.lines(place))
    assert any(line.startswith(f"{place}-2] FAILED") for line in result.lines(place))


@pytest.mark.parametrize("label", ["<img src=x>", "a\"b'c", "a\x1b[31mb", "n;rm -rf ~", "ü&|$(x)"])
def test_a_label_in_an_id_is_safe_everywhere(label: str) -> None:
    """No shell, markup, or terminal sees more in it than letters."""
    assert set(item_label(label)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@%[]-")


class _Backend:
    """Stands for a testinfra backend: the attributes that are read of it."""

    def __init__(self, name: str, hostname: str = "", **more: Any) -> None:
        self.NAME = name
        self.hostname = hostname
        self.__dict__.update(more)


class _Host:
    def __init__(self, backend: _Backend) -> None:
        self.backend = backend


@pytest.mark.parametrize(
    "spec", ["local://", "ssh://root@n1:2222", "ssh://n1", "ssh://[fe80::1]:22", "ssh://root:pass%40word@n1?timeout=3",
     pytest.param("paramiko://root@n1:22", marks=pytest.mark.lab("paramiko")), "docker://u@c", "podman://c", "lxc://c",
     "kubectl://p?namespace=n&container=c&context=x", "openshift://p?kubeconfig=/k%20x"],
)  # fmt: skip
def test_testinfras_host_is_the_node_of_the_same_spec(spec: str) -> None:
    """What a test's `host` is and what the suite judges have one label, one password, one place."""
    found, meant = node_spec(testinfra.get_host(spec)), parse(spec)
    assert (found.label, found.user, found.host, found.port, found.password) == (
        meant.label, meant.user, meant.host, meant.port, meant.password,
    )  # fmt: skip


def test_a_host_by_salt_is_the_minion() -> None:
    """Testinfra's own backend is not asked for: it cannot be imported without Salt's library."""
    assert node_spec(_Host(_Backend("salt", "n1", host="n1"))).label == "salt://n1"


def test_a_host_by_safe_ssh_is_asked_by_ssh() -> None:
    class Place:
        name, user, port, password = "n1", "root", "22", None

    found = node_spec(_Host(_Backend("safe-ssh", "n1", host=Place())))
    assert found.label == "ssh://root@n1:22"
