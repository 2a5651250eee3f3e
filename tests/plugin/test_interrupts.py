"""Ctrl-C, and what is as good, in the middle of many logins: the run ends at once, and what is known is reported."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.interrupts import Interrupts
from tests.node.nodes import running
from tests.support.sshd import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.plugin.conftest import Nodes, Pytest

#: Of each kind that hangs.
EACH = 18


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Path]]:
    """Specs of 54 nodes and the ssh_config for them.

    Some are black holes (a port whose queue of connections is full: the kernel drops what comes), some never say who
    they are, some log in and hang there.
    """
    folder = tmp_path_factory.mktemp("hanging")
    with socket.socket() as hole, socket.socket() as silent, serving() as sshd:
        held = []
        for listener, backlog in ((hole, 0), (silent, 100)):
            listener.bind(("127.0.0.1", 0))
            listener.listen(backlog)
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
            held.append(one)
        setup = sshd.folder / "hang"
        setup.write_text("sleep 300\n")
        setup.chmod(0o644)
        names = []
        for number in range(EACH):
            names += [f"hole{number}", f"silent{number}", f"hung{number}"]
            sshd.add_alias(names[-3], f"Port {hole.getsockname()[1]}")
            sshd.add_alias(names[-2], f"Port {silent.getsockname()[1]}")
            sshd.add_alias(names[-1], setup=str(setup))
        (folder / "ssh_config").write_bytes(sshd.config.read_bytes())
        yield [f"ssh://{name}" for name in names], folder / "ssh_config"
        for one in held:
            one.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]], ids=["Ctrl-C", "twice", "SIGTERM"]
)
def test_a_run_of_many_ends_at_once_with_what_it_has(
    run: Pytest, nodes: Nodes, hanging: tuple[list[str], Path], signals: list[signal.Signals]
) -> None:
    """54 nodes hang in three ways and one has answered: every report is written, and no process is left."""
    specs, config = hanging
    args = [
        "--gpuready", f"--hosts={nodes.bare},{','.join(specs)}", f"--ssh-config={config}", "--gpuready-timeout=300",
        f"--gpuready-json={run.json}", "--gpuready-md=r.md", "--html=r.html", "-p", "no:cacheprovider",
    ]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=run.path,
        start_new_session=True,
        # Whoever starts the tests in the background of a script hands down a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        until = time.monotonic() + 60
        while len(running(str(config))) < 20 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(1)
        begun = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.2)
        out, _ = process.communicate(timeout=120)
        seconds = time.monotonic() - begun
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert "Traceback" not in out
    assert "INTERNALERROR" not in out
    # Far from the deadline, and from 55 times anything; how fast is the machine's affair.
    assert seconds < 60
    assert running(str(config)) == []
    report = json.loads(run.json.read_text("utf-8"))
    verdicts = {node["node"]: (node["verdict"], node["reason"]) for node in report["nodes"]}
    assert list(verdicts) == [nodes.bare, *specs]
    assert verdicts[nodes.bare][0] == "not-ready"
    assert {verdicts[spec] for spec in specs} == {("incomplete", "interrupted")}
    assert "interrupted" in (run.path / "r.md").read_text("utf-8")
    assert "interrupted" in (run.path / "r.html").read_text("utf-8")
    assert "1 of 55 nodes done" in out


class TestInterrupts:
    def test_the_first_ends_the_second_is_answered_and_the_third_ends(self) -> None:
        said: list[str] = []
        interrupts = Interrupts(said.append)
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        interrupts.watch()
        try:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            assert len(said) == 1
            assert "Ctrl-C once more" in said[0]
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        finally:
            interrupts.forget()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before

    def test_a_handler_of_somebody_elses_is_left_alone(self) -> None:
        def theirs(*_: object) -> None:
            pass

        before = signal.signal(signal.SIGTERM, theirs)
        try:
            interrupts = Interrupts(lambda _: None)
            interrupts.watch()
            assert signal.getsignal(signal.SIGTERM) is theirs
            interrupts.forget()
            assert signal.getsignal(signal.SIGTERM) is theirs
        finally:
            signal.signal(signal.SIGTERM, before)
