"""The fixtures for people's own tests: on the same nodes as the suite, asked once, and never a guess."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import testinfra.backend

from pytest_gpuready.asked import share_hosts
from pytest_gpuready.node.snapshot import read
from tests.plugin.conftest import QUICK, spied

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest

ALL = """
import pytest

NAMES = ["cdi", "containerd_config", "containerd_live", "ctr", "driver", "kubernetes", "nvml", "platform", "toolkit"]

def test_each(cdi, containerd_config, containerd_live, ctr, driver, kubernetes, nvml, platform, toolkit, node):
    given = dict(locals())
    for name in NAMES:
        assert getattr(given[name], "view", given[name]) is node.named(name)

def test_what_they_say(containerd_config, platform):
    assert platform.hostname == "gpu-node"
    assert "nvidia" in {handler.name for handler in containerd_config.handlers.values()}
"""


@pytest.mark.parametrize("suite", [False, True], ids=["alone", "with the suite"])
def test_every_view_is_a_fixture(run: Pytest, suite: bool) -> None:  # noqa: FBT001
    """On a snapshot, for which testinfra has no backend of its own."""
    run.file("test_theirs.py", ALL)
    args = ("--hosts", run.spec, "test_theirs.py", "-v")
    result = run.suite(*args) if suite else run.raw(*args)
    assert f"test_theirs.py::test_each[{run.spec}] PASSED" in result.out
    assert f"test_theirs.py::test_what_they_say[{run.spec}] PASSED" in result.out


def test_a_test_runs_on_every_node(run: Pytest, nodes: Nodes) -> None:
    """Of `--hosts` with sets and of the file of hosts, as the suite does, without --gpuready too."""
    for number in (1, 2):
        (nodes.folder / f"g{number}.json").write_bytes((nodes.folder / "bare.json").read_bytes())
    run.file("hosts", f"# more\n{nodes.containerd}\n")
    run.file("test_theirs.py", "def test_name(platform):\n    assert platform.hostname == 'gpu-node'\n")
    args = ["--gpuready-hosts-file", "hosts", "--hosts", f"snapshot://{nodes.folder}/g[1,2].json"]
    result = run.raw("test_theirs.py", "-v", *args)
    assert result.ret == 0
    assert "3 passed" in result.out
    assert f"test_name[snapshot://{nodes.folder}/g1.json] PASSED" in result.out


def test_workers_of_xdist_know_the_hosts_of_standard_input(run: Pytest, nodes: Nodes) -> None:
    run.file("test_theirs.py", "def test_name(platform):\n    assert platform.hostname == 'gpu-node'\n")
    args = ["-m", "pytest", *QUICK, "--gpuready-hosts-file=-", "-n1", "-v", "test_theirs.py"]
    done = run.pytester.run(sys.executable, *args, stdin=f"{nodes.bare}\n{nodes.containerd}\n".encode())
    assert done.ret == 0
    assert "2 passed" in done.stdout.str()


def test_a_node_is_asked_once(run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a run of several modules; and with --gpuready not once more than the suite does."""
    asked: list[str] = []
    monkeypatch.setattr("pytest_gpuready.runner.read", lambda path: spied(asked, read, path))
    for name in ("test_a.py", "test_b.py"):
        run.file(name, "def test_one(ctr, platform):\n    pass\n\ndef test_two(node):\n    pass\n")
    spec = f"{nodes.bare},{nodes.containerd}"
    assert "8 passed" in run.raw("--hosts", spec).out
    assert len(asked) == 2
    asked.clear()
    result = run.suite("test_a.py", "test_b.py", hosts=spec)
    assert result.out.count("test_a.py") >= 1
    assert len(asked) == 2


def test_with_sudo_it_is_another_asking(run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root sees is not what somebody sees: a host that a test makes itself is asked for itself."""
    asked: list[str] = []
    monkeypatch.setattr("pytest_gpuready.runner.read", lambda path: spied(asked, read, path))
    run.file(
        "test_theirs.py",
        "import testinfra\n"
        "from pytest_gpuready.fixtures import _views\n"
        "def test_one(node, host, pytestconfig):\n"
        "    host.backend.sudo = True\n"
        "    assert _views(host, pytestconfig) is not node\n",
    )
    assert "1 passed" in run.raw("--hosts", nodes.bare).out
    assert len(asked) == 2


def test_a_node_that_cannot_be_asked_is_one_sentence(run: Pytest, nodes: Nodes) -> None:
    """For every test that wants it, without a traceback."""
    run.file("test_theirs.py", "def test_one(ctr):\n    pass\ndef test_two(platform):\n    pass\n")
    result = run.raw("--hosts", nodes.silent)
    assert result.ret == 1
    sentence = f"{nodes.silent} could not be asked: ssh: connect to host n1 port 22: Connection refused"
    assert [line for line in result.out.splitlines() if line == sentence] == [sentence, sentence]
    assert "fixtures.py" not in result.out


def test_testinfras_host_can_run_nothing_on_a_snapshot(run: Pytest) -> None:
    """The test is skipped with a sentence that says why; fixtures of ours may stand beside it."""
    run.file(
        "test_theirs.py",
        "def test_one(host, platform):\n    assert platform\n    assert host.file('/etc/passwd').exists\n",
    )
    result = run.raw("--hosts", run.spec, "-rs")
    assert result.ret == 0
    assert "1 skipped" in result.out
    text = " ".join(result.out.split())
    assert "is a recorded node: testinfra's `host` can run nothing there" in text


def test_a_transport_that_we_have_not_is_a_sentence(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that somebody has added to testinfra: its tests go on as they did, and ours say what they cannot do."""
    monkeypatch.setitem(testinfra.backend.BACKENDS, "telnet", "test_theirs.Telnet")
    run.file(
        "test_theirs.py",
        "from testinfra.backend.local import LocalBackend\n"
        "class Telnet(LocalBackend):\n    NAME = 'telnet'\n"
        "    def __init__(self, name, **kw):\n        super().__init__(name, **kw)\n        self.hostname = name\n"
        "def test_one(host):\n    pass\ndef test_two(platform):\n    pass\n",
    )
    result = run.raw("--hosts", "telnet://srv")
    assert "1 passed, 1 error" in result.out
    assert "unknown transport 'telnet'" in result.out


@pytest.mark.lab("root")
def test_a_transport_that_leads_nowhere_is_a_sentence(run: Pytest) -> None:
    run.file("test_theirs.py", "def test_one(host):\n    pass\ndef test_two(platform):\n    pass\n")
    result = run.raw("--hosts", "chroot:///nowhere")
    assert "1 passed, 1 error" in result.out
    assert "chroot:///nowhere could not be asked: chroot: " in result.out


def test_this_machine_is_asked_without_hosts(run: Pytest) -> None:
    run.file(
        "test_theirs.py",
        "import platform as here\n"
        "def test_one(platform, node):\n"
        "    assert node.facts.node == 'local'\n"
        "    assert platform.hostname == here.node()\n",
    )
    result = run.raw("-v")
    assert result.ret == 0, result.out
    assert "test_theirs.py::test_one[local] PASSED" in result.out


def test_settings_hold_for_fixtures_too(run: Pytest) -> None:
    """The handler, socket and routes asked for; what cannot be understood is a sentence."""
    run.file("pytest.ini", "[pytest]\ngpuready_handler = gpu\n")
    run.file("test_theirs.py", "def test_one(node):\n    assert node.settings.handler == 'gpu'\n")
    assert run.raw("--hosts", run.spec).ret == 0


def test_sets_that_make_no_sense_are_usage_errors_without_the_suite(run: Pytest) -> None:
    result = run.raw("--hosts", "snapshot://x[9-1].json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "runs backwards" in result.err


def test_ansibles_own_patterns_are_left_alone(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets mean something else there, and testinfra reads them."""

    class Config:
        class option:  # noqa: N801 - pytest's name
            hosts = ""

    config: Any = Config()
    share_hosts(config, ["ansible://web[0]", "ssh://n[1-2],ssh://[::1]:22"])
    assert config.option.hosts == "ansible://web[0],ssh://n1,ssh://n2,ssh://[::1]:22"
    share_hosts(config, [])
    assert config.option.hosts.startswith("ansible://")
    del run, monkeypatch
