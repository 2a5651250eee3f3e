"""A run: nodes are gathered side by side, each is judged, and the reports come back in the order asked for.

Knows nothing of pytest. What one node does costs no other node anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from pytest_gpuready import sudoers
from pytest_gpuready.judge import judge_views
from pytest_gpuready.judged import incomplete, judged
from pytest_gpuready.node import kubeapi
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import EXHAUSTED, FAILED, INTERRUPTED, REACH, Fact, Facts
from pytest_gpuready.node.gather import ask, gather
from pytest_gpuready.node.logins import Logins
from pytest_gpuready.node.memory import Memory
from pytest_gpuready.node.snapshot import SnapshotError, dumps, file_name, read
from pytest_gpuready.node.transport import Options, Shell, is_exhaustion, kill_all
from pytest_gpuready.outputs import write
from pytest_gpuready.report.model import NodeReport, Run
from pytest_gpuready.views import Views
from pytest_gpuready.views.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from pytest_gpuready.model import Settings
    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.node.fleet import Engine, Login
    from pytest_gpuready.node.hosts import NodeSpec
    from pytest_gpuready.progress import Progress


#: Descriptors of a node in flight: 3 pipes and an epoll; while its program is started, 9. Beside them this process has
#: its own. Memory: 1.3 MB of ssh's own (twice that with ProxyJump, 8 MB each as `ps` counts what they share), and some
#: 0.5 MB of answers here.
PER_NODE = 9
OTHERS = 128

#: Most nodes in flight, unless more are asked for.
MOST = 512


def default_jobs() -> int:
    """Nodes in flight: mostly they are waited for, so many more than cores; as many as files may be opened."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(128 * (os.cpu_count() or 1), MOST, _room(hard)))


def _room(files: int) -> int:
    """The nodes in flight for which so many descriptors are enough."""
    return MOST * 20 if files == resource.RLIM_INFINITY else (files - OTHERS) // PER_NODE


@contextlib.contextmanager
def open_files(jobs: int) -> Iterator[None]:
    """Raise the soft limit of open files as far as so many nodes need it, for the time of a block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = jobs * PER_NODE + OTHERS
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        yield
        return
    with contextlib.suppress(OSError, ValueError):  # macOS has bounds of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def _quick_turns() -> Iterator[None]:
    """While one thread judges, those that talk to nodes get the interpreter after 1 ms, not 5.

    Round trips of 16 threads beside one that computes took a sixth of the time.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, 0.001))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@dataclass
class Runner:
    """One run over nodes. `save` is a folder for snapshots; `done` is called with each report as it comes."""

    nodes: Sequence[NodeSpec]
    settings: Settings
    options: Options
    timeout: float = 30
    jobs: int = 0
    save: Path | None = None
    command: str = ""
    notes: list[str] = field(default_factory=list)
    hosts_from: str = ""
    done: Callable[[NodeReport], None] | None = None
    progress: Progress | None = None
    #: Connections that were begun before, by label; what is used is taken out.
    begun: dict[str, Shell] = field(default_factory=dict)
    logins: Logins = field(default_factory=Logins)
    memory: Memory = field(default_factory=Memory)
    #: What asks the nodes that it takes in the place of a shell of each; None: threads do all.
    engine: Engine | None = None
    #: Nodes whose snapshot could not be written, by why.
    _unsaved: dict[str, list[str]] = field(default_factory=dict)
    _reports: dict[str, NodeReport] = field(default_factory=dict)
    #: A node's report, or why there is none.
    _came: SimpleQueue[tuple[NodeSpec, NodeReport | str]] = field(default_factory=SimpleQueue)
    _handed: list[Future[None]] = field(default_factory=list)
    _shells: set[Shell | Login] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _started: datetime | None = None
    _clock: float = 0.0
    _duration: float = 0.0

    def run(self) -> Run:
        """Ask and judge every node. Ctrl-C ends at once: what was not finished is `incomplete` in `result()`.

        Nodes are asked by many threads and judged by one: judging is pure computing, and several that compute would
        keep those that talk to nodes from the interpreter.
        """
        self._started = datetime.now(timezone.utc)
        self._clock = time.monotonic()
        jobs = self.in_flight
        with open_files(jobs), _quick_turns():
            judging = ThreadPoolExecutor(1, "gpuready-judge")
            asking: list[threading.Thread] = []
            try:
                self._start(jobs, asking, judging)
                left = len(self.nodes)
                while left and not self._at_rest(asking):
                    with contextlib.suppress(Empty):
                        self._take(*self._came.get(timeout=0.5))
                        left -= 1
                    if self.progress is not None:
                        self.progress.tick()
            except BaseException:
                self.stop()
                raise
            finally:
                for thread in asking:
                    thread.join()
                # What has been answered is judged, whatever ended the run.
                judging.shutdown(wait=True)
                if self.engine is not None:
                    self.engine.stop()
                while not self._came.empty():
                    self._keep(*self._came.get())
                self._duration = time.monotonic() - self._clock
                if self.progress is not None:
                    self.progress.end()
        return self.result()

    @property
    def in_flight(self) -> int:
        """Nodes at once: as asked for, as far as files may be opened, and no more than there are.

        Those that an engine asks side by side are nobody's descriptors here.
        """
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        jobs = min(self.jobs, _room(hard)) if self.jobs else default_jobs()
        return max(1, min(max(jobs, self.engine.at_once if self.engine is not None else 0), len(self.nodes)))

    def _at_rest(self, asking: Sequence[threading.Thread]) -> bool:
        """Whether nothing more comes: a thread without memory may end before it can say so."""
        threads = any(thread.is_alive() for thread in asking)
        return not threads and all(future.done() for future in list(self._handed)) and self._came.empty()

    def _keep(self, node: NodeSpec, came: NodeReport | str) -> NodeReport:
        report = self._incomplete(node, came) if isinstance(came, str) else came
        self._reports[node.label] = report
        return report

    def _take(self, node: NodeSpec, came: NodeReport | str) -> None:
        report = self._keep(node, came)
        if self.progress is not None:
            self.progress.done(node.label)
        if self.done is not None:
            self.done(report)

    def _start(self, jobs: int, asking: list[threading.Thread], judging: Executor) -> None:
        """Start the threads, as many as this machine lets run; without any, no node is asked.

        Where it lets fewer run than asked for, half of those end again: the programs and answers of the other half need
        room, too.
        """
        waiting: SimpleQueue[NodeSpec] = SimpleQueue()
        for node in self.nodes:
            waiting.put(node)
        gate, most = threading.Event(), [jobs]

        def ask_all(number: int) -> None:
            gate.wait()
            with contextlib.suppress(Empty):
                while number < most[0] and not self._stopped.is_set():
                    self._ask(waiting.get_nowait(), judging)

        try:
            # Its one thread is there before the others take what there is.
            judging.submit(int)
            for number in range(jobs):
                thread = threading.Thread(target=ask_all, args=(number,), name=f"gpuready_{number}")
                thread.start()
                asking.append(thread)
        except (RuntimeError, MemoryError) as error:
            most[0] = (len(asking) + 1) // 2
            if asking:
                self.notes.append(f"only {most[0]} nodes were asked at once: {_failed(error)}")
            while not asking and not waiting.empty():
                self._came.put((waiting.get(), _failed(error)))
        finally:
            gate.set()

    def _ask(self, node: NodeSpec, judging: Executor) -> None:
        """In a thread of many: the node's answers, which are then judged."""
        try:
            begun, facts = self._facts(node)
            self._handed.append(judging.submit(self._judged, node, facts, begun, time.monotonic()))
        except BaseException as error:  # noqa: BLE001 - an error of ours costs this node its verdict, and is waited for
            self._came.put((node, _failed(error)))

    def _judged(self, node: NodeSpec, facts: Facts | NodeReport, begun: float, answered: float) -> None:
        """In the thread that judges."""
        report: NodeReport | str
        try:
            at = time.monotonic()
            report = facts if isinstance(facts, NodeReport) else judged(facts, self.settings)
            spent = answered - begun + time.monotonic() - at
            report = dataclasses.replace(report, duration=spent)
        except BaseException as error:  # noqa: BLE001 - likewise
            report = _failed(error)
        self._came.put((node, report))

    def stop(self) -> None:
        """End every connection and its processes."""
        with self._lock:
            self._stopped.set()
            shells = list(self._shells)
        self.logins.stop()
        kill_all(shells)
        if self.engine is not None:
            self.engine.stop()

    def result(self) -> Run:
        """The run as far as it came: every node asked for, in that order."""
        from pytest_gpuready import __version__  # noqa: PLC0415 - it reads the installed distribution

        why = INTERRUPTED if self._stopped.is_set() else _failed(MemoryError())
        nodes = tuple(self._reports.get(node.label) or self._incomplete(node, why) for node in self.nodes)
        started = self._started or datetime.now(timezone.utc)
        return Run(
            nodes=nodes,
            started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            duration=self._duration,
            generator=f"pytest-gpuready {__version__}",
            command=self.command,
            live=self.settings.live,
            notes=tuple(self.notes),
            hosts_from=self.hosts_from,
        )

    def _incomplete(self, node: NodeSpec, reason: str) -> NodeReport:
        return incomplete(node.label, reason, self.settings)

    def _facts(self, node: NodeSpec) -> tuple[float, Facts | NodeReport]:
        """When the node was first asked (a time of the monotonic clock), and what it answered."""
        if node.scheme == "snapshot":
            begun = time.monotonic()
            try:
                facts, _ = read(node.path)
            except SnapshotError as error:
                facts = Facts(node.label, [(REACH, Fact("cut", note=str(error)))])
            return begun, Facts(node.label, facts, recording=facts.recording)
        shell = self.begun.pop(node.label, None) or self._login(node)
        shell.logins, shell.memory = self.logins, self.memory
        with self._lock:
            stopped = self._stopped.is_set()
            self._shells.add(shell)
        if stopped:
            shell.kill()
        try:
            with shell:
                # Its deadline includes its login, and not the wait for others to begin theirs.
                shell.connect()
                begun = time.monotonic()
                if self.progress is not None and not stopped:
                    self.progress.asked(node.label)
                rooted = (sudoers.requests(),) if shell.by_rule else ()
                facts = gather(shell, node.label, self._wants, self.timeout, *rooted)
                self.memory.take(sum(len(fact.data) for _, fact in facts))
                self._ask_api(facts, self.timeout - (time.monotonic() - begun))
                if self.settings.live:
                    self._run_containers(shell, facts)
        finally:
            with self._lock:
                self._shells.discard(shell)
        if self._stopped.is_set():
            return begun, self._incomplete(node, INTERRUPTED)
        if self.save is not None:
            self._save(facts)
        return begun, facts

    def _login(self, node: NodeSpec) -> Shell | Login:
        engine = self.engine
        return engine.login(node) if engine is not None and engine.takes(node) else Shell(node, self.options)

    def _ask_api(self, facts: Facts, left: float) -> None:
        """What the cluster's API says of the node, asked from here with the user's kubeconfig, if one is named."""
        if self.settings.kubeconfig:
            requests = Kubernetes.api_requests(Views(facts, self.settings))
            kubeapi.gather(facts, requests, self.settings.kubeconfig, max(left, 1.0))

    def _run_containers(self, shell: Shell | Login, facts: Facts) -> None:
        """Run what the checks so far found nothing against; in the same login, with a deadline of its own."""
        from pytest_gpuready.live import plan, script  # noqa: PLC0415 - only for live runs

        passive = Views(facts, dataclasses.replace(self.settings, live=False))
        planned = plan.make(passive, judge_views(passive))
        if not planned.empty:
            request = script.request(planned)
            ask(shell, facts, request, request.timeout + 10)

    def _wants(self, facts: Facts) -> Iterable[Request]:
        return Views(facts, self.settings).wants()

    def _save(self, facts: Facts) -> None:
        from pytest_gpuready import __version__  # noqa: PLC0415 - it reads the installed distribution

        taken = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert self.save is not None  # noqa: S101 - the caller looked
        try:
            write(
                self.save / f"{file_name(facts.node)}.json",
                dumps(facts, {"generator": f"pytest-gpuready {__version__}", "taken": taken}),
            )
        except OSError as error:
            with self._lock:
                self._unsaved.setdefault(error.strerror or type(error).__name__, []).append(facts.node)

    @property
    def unsaved(self) -> list[str]:
        """Sentences about the snapshots that could not be written, one for each reason."""
        return [
            f"the snapshot of {nodes[0]}{f' and {len(nodes) - 1} more' if len(nodes) > 1 else ''} "
            f"could not be written to {self.save}: {why}"
            for why, nodes in self._unsaved.items()
        ]


def _failed(error: BaseException) -> str:
    """Why a node was not asked or judged to its end."""
    if is_exhaustion(error):
        return f"{EXHAUSTED} (a limit of memory, processes or open files): lower --gpuready-jobs"
    return f"{FAILED}: {type(error).__name__}: {one_line(str(error), 200)}"
