"""A run over several nodes, side by side: what one does costs no other anything, and all are reported."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready import runner as module
from pytest_gpuready.judge import judge_views as judge_really
from pytest_gpuready.judged import incomplete
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import REACH, Fact, Facts
from pytest_gpuready.node.hosts import NodeSpec, parse
from pytest_gpuready.node.memory import Memory
from pytest_gpuready.node.snapshot import dumps, read
from pytest_gpuready.node.transport import Options, Shell
from pytest_gpuready.runner import Runner, default_jobs
from tests.support.simnode import SimNode
from tests.support.sshd import Sshd, descendants, free_port, sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.node.transport import Transport
    from pytest_gpuready.report.model import NodeReport
    from pytest_gpuready.views import Views

__all__ = ["sshd"]


def saved(folder: Path, name: str, node: SimNode | None = None) -> NodeSpec:
    """A snapshot of a simulated node, as a node of a run."""
    facts = (node or SimNode()).facts()
    path = folder / f"{name}.json"
    path.write_text(dumps(facts, {}), "utf-8")
    return parse(f"snapshot://{path}")


def a_run(*nodes: NodeSpec, options: Options | None = None, timeout: float = 20, **more: object) -> Runner:
    return Runner(nodes, Settings(), options or Options(), timeout=timeout, **more)  # type: ignore[arg-type]


def test_every_node_is_reported_in_the_order_asked_and_as_it_comes(tmp_path: Path) -> None:
    nodes = [saved(tmp_path, name) for name in ("c", "a", "b")]
    came: list[str] = []
    run = a_run(*nodes, done=lambda report: came.append(report.node))
    result = run.run()
    assert [report.node for report in result.nodes] == [node.label for node in nodes]
    assert sorted(came) == sorted(node.label for node in nodes)
    assert {report.verdict for report in result.nodes} <= {"not-ready", "unknown", "ready"}
    assert {report.hostname for report in result.nodes} == {"gpu-node"}


def test_a_dead_node_and_a_damaged_snapshot_harm_no_other(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    nodes = [
        parse(f"ssh://127.0.0.1:{free_port()}"),
        parse(f"snapshot://{tmp_path}/bad.json"),
        parse("local://"),
        parse(sshd.spec),
    ]
    result = a_run(*nodes, options=Options(ssh_config=str(sshd.config)), timeout=60).run()
    dead, damaged, local, remote = result.nodes
    assert (dead.verdict, damaged.verdict) == ("unreachable", "unreachable")
    assert "Connection refused" in (dead.reason or "")
    assert "is no snapshot" in (damaged.reason or "")
    assert local.reached
    assert remote.reached
    assert remote.hostname == local.hostname
    assert local.reason is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"gpuready_snapshot": 1, "facts": [{"kind": "file", "arg": [], "state": "ok"}]}', "fact 1 cannot be read"),
        ('{"gpuready_snapshot": 1, "facts": [NaN]}', "facts[0]: NaN is not JSON"),
        ('{"gpuready_snapshot": 1, "node": ["n"], "facts": []}', "is damaged: its node is not a name"),
        ('{"gpuready_snapshot": 1, "facts": [' + "[]," * 2_000_000 + "[]]}", "more than 2000000 values"),
    ],
    ids=["empty arg", "NaN", "node", "values"],
)  # fmt: skip
def test_a_hostile_snapshot_costs_itself_alone(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    bad, good = a_run(parse(f"snapshot://{tmp_path}/bad.json"), saved(tmp_path, "good")).run().nodes
    assert bad.verdict == "unreachable"
    assert f"{tmp_path}/bad.json" in (bad.reason or "")
    assert why in (bad.reason or "")
    assert good.reached


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_ends_no_node_and_makes_no_duration(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """It is set a day back or forth at each look: deadlines and durations are by the monotonic clock."""
    now, looks = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now() + jump * (next(looks) % 2))
    run = a_run(parse("local://"), timeout=60).run()
    assert run.nodes[0].reached
    assert run.nodes[0].reason is None
    assert 0 <= run.nodes[0].duration < 60
    assert 0 <= run.duration < 60


def test_an_error_of_ours_costs_one_node_its_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [saved(tmp_path, name) for name in ("good", "bad")]
    real: Callable[[Views], NodeReport] = judge_really

    def judge_views(views: Views) -> NodeReport:
        if views.facts.node.endswith("bad.json") and len(views.facts) > 1:
            raise RuntimeError("a fault\nof ours")
        return real(views)

    monkeypatch.setattr("pytest_gpuready.judged.judge_views", judge_views)
    good, bad = a_run(*nodes).run().nodes
    assert good.reached
    assert (bad.verdict, bad.reason) == ("incomplete", "pytest-gpuready itself failed: RuntimeError: a fault of ours")


def test_a_thread_that_ends_in_any_way_costs_one_node_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it not told, the run would wait for that node for ever."""

    def leave(*_: object) -> Facts:
        raise SystemExit(3)

    monkeypatch.setattr(module, "gather", leave)
    local, good = a_run(parse("local://"), saved(tmp_path, "good")).run().nodes
    assert (local.verdict, local.reason) == ("incomplete", "pytest-gpuready itself failed: SystemExit: 3")
    assert good.reached


def test_nodes_that_send_without_end_take_no_memory_from_the_others(sshd: Sshd) -> None:
    """Three at once, of which together no more than 6 MB are held."""
    setup = sshd.folder / "endless"
    setup.write_text("yes still mounting\n")
    setup.chmod(0o644)
    names = [sshd.add_alias(f"endless{number}", setup=str(setup)) for number in range(3)]
    nodes = [*(parse(f"ssh://{name}") for name in names), parse(sshd.spec)]
    memory = Memory(total=6 << 20, share=1 << 20)
    options = Options(ssh_config=str(sshd.config))
    *endless, healthy = a_run(*nodes, options=options, timeout=120, memory=memory).run().nodes
    for report in endless:
        assert report.verdict == "unreachable"
        assert (report.reason or "").startswith("output without end, cut at ")
        assert report.duration < 100
    assert healthy.reached
    assert 0 < memory.held < 6 << 20


def test_an_interrupted_run_ends_at_once_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C: raised in the thread that waits, while one node is done and two still hang."""
    hanging = threading.Barrier(3, timeout=20)

    def hang(shell: Transport, label: str, wants: Callable[[Facts], Iterable[Request]], timeout: float) -> Facts:
        del wants
        threading.Timer(0.3, hanging.wait).start()
        reply = shell.send("exec sleep 300\n", time.monotonic() + timeout)
        return Facts(label, [(REACH, Fact("cut", note=reply.trouble))])

    def interrupt(report: NodeReport) -> None:
        came.append(report.node)
        hanging.wait()
        raise KeyboardInterrupt

    came: list[str] = []
    before = set(descendants(os.getpid()))
    monkeypatch.setattr(module, "gather", hang)
    nodes = [NodeSpec("local://", f"local-{number}", "local") for number in (1, 2)]
    run = a_run(*nodes, saved(tmp_path, "done"), timeout=200, jobs=3, done=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert set(descendants(os.getpid())) - before == set()
    result = run.result()
    assert [(report.verdict, report.reason) for report in result.nodes[:2]] == [("incomplete", "interrupted")] * 2
    assert [report.node for report in result.nodes if report.reached] == came


def test_a_node_not_begun_when_the_run_stops_is_never_asked() -> None:
    run = a_run(parse("local://"))
    run.stop()
    (report,) = run.run().nodes
    assert (report.verdict, report.reason) == ("incomplete", "interrupted")


def test_a_run_over_no_node_is_not_ready() -> None:
    assert a_run().run().verdict != "ready"


class TestSaving:
    def test_each_node_asked_is_saved_and_judged_the_same_again(self, tmp_path: Path) -> None:
        (report,) = a_run(parse("local://"), save=tmp_path / "out", timeout=60).run().nodes
        (file,) = (tmp_path / "out").iterdir()
        assert file.name == "local.json"
        facts, meta = read(str(file))
        assert facts.node == "local"
        assert meta["generator"].startswith("pytest-gpuready ")
        (again,) = a_run(parse(f"snapshot://{file}")).run().nodes
        assert again.verdict == report.verdict
        statuses = [{name: found.status for name, found in one.findings.items()} for one in (report, again)]
        assert statuses[0] == statuses[1]

    def test_a_folder_that_cannot_be_written_costs_no_node(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        run = a_run(parse("local://"), save=tmp_path / "file", timeout=60)
        (report,) = run.run().nodes
        assert report.reached
        (sentence,) = run.unsaved
        assert sentence.startswith("the snapshot of local could not be written to ")

    def test_a_snapshot_is_not_saved_again(self, tmp_path: Path) -> None:
        a_run(saved(tmp_path, "a"), save=tmp_path / "out").run()
        assert not (tmp_path / "out").exists()


def test_nodes_at_once_leave_room_for_file_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the hard limit allows, which a run raises its own to; and a number that somebody names is bounded."""
    for cores, hard, jobs in (
        (64, 256, 14),
        (64, 1 << 20, 512),
        (2, 1 << 20, 256),
        (64, 32, 1),
        (64, resource.RLIM_INFINITY, 512),
    ):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr("resource.getrlimit", lambda _, hard=hard: (min(hard, 32), hard))
        assert default_jobs() == jobs
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    many = [NodeSpec("local://", f"local-{number}", "local") for number in range(1000)]
    assert a_run(*many, jobs=900).in_flight == 14
    assert a_run(*many[:5]).in_flight == 5
    assert a_run(*many, jobs=7).in_flight == 7


def test_the_limit_of_open_files_is_raised_for_the_run_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2048:
        pytest.skip(f"the hard limit of open files is {before[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        with module.open_files(50):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 50 * module.PER_NODE + module.OTHERS
        with module.open_files(1):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 512
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_one_login_per_node_and_run(sshd: Sshd) -> None:
    before = sshd.logins()
    a_run(parse(sshd.spec), options=Options(ssh_config=str(sshd.config)), timeout=60).run()
    assert sshd.logins() - before == 1


def test_a_shell_is_forgotten_when_its_node_is_done() -> None:
    run = a_run(parse("local://"), timeout=60)
    run.run()
    assert run._shells == set()
    assert isinstance(Shell(parse("local://"), Options()), Shell)


# ------------------------------------------------------------------------------ limits of this machine


def refuse_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let so many threads that ask start, as under `ulimit -v` or `-u`."""
    real, started = threading.Thread.start, [0]

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("gpuready_"):
            started[0] += 1
            if started[0] > most:
                raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


def test_fewer_threads_than_asked_for_cost_no_node_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch, 3)
    run = a_run(*(saved(tmp_path, f"n{number}") for number in range(8)), jobs=8).run()
    assert all(report.reached for report in run.nodes)
    note = next(note for note in run.notes if note.startswith("only 2 nodes were asked at once: "))
    assert "--gpuready-jobs" in note


def test_without_a_thread_no_node_is_asked_and_the_limit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_threads(monkeypatch, 0)
    for report in a_run(parse("ssh://root@n1"), saved(tmp_path, "n2")).run().nodes:
        assert report.verdict == "incomplete"
        assert (report.reason or "").startswith("this machine could not start another thread or process (")
        finding = report.findings["node.reachable"]
        assert finding.status == "unknown"
        assert finding.outcome.remedy is not None
        assert "Lower --gpuready-jobs" in finding.outcome.remedy.summary
        assert finding.outcome.remedy.commands == ()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_process_that_cannot_be_started_costs_its_own_node_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "no room")

    monkeypatch.setattr("pytest_gpuready.node.transport.subprocess.Popen", refuse)
    remote, good = a_run(parse("ssh://root@n1"), saved(tmp_path, "good")).run().nodes
    assert good.reached
    assert remote.verdict == "incomplete"
    assert "could not start another thread or process" in (remote.reason or "")


def test_a_thread_that_ends_without_a_word_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that finds no memory to say that it found none."""
    monkeypatch.setattr(Runner, "_ask", lambda *_: None)
    (report,) = a_run(saved(tmp_path, "n1")).run().nodes
    assert report.verdict == "incomplete"
    assert "could not start another thread or process" in (report.reason or "")


@pytest.mark.parametrize("why", ["interrupted", "pytest-gpuready itself failed: RuntimeError: x"])
def test_what_went_wrong_here_suggests_no_login(why: str) -> None:
    outcome = incomplete("ssh://root@n1", why, Settings()).findings["node.reachable"].outcome
    assert outcome.remedy is not None
    assert outcome.remedy.commands == ()
    assert "login" not in outcome.remedy.summary
