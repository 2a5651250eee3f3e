"""A run: nodes are gathered side by side, each is judged, and the reports come back in the order asked for.

Knows nothing of pytest. What one node does costs no other node anything.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pytest_gpuready import sudoers
from pytest_gpuready.judge import judge_views
from pytest_gpuready.judged import incomplete, judged
from pytest_gpuready.node import kubeapi
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import REACH, Fact, Facts
from pytest_gpuready.node.gather import ask, gather
from pytest_gpuready.node.snapshot import SnapshotError, dumps, file_name, read, write
from pytest_gpuready.node.transport import Options, Shell
from pytest_gpuready.report.model import NodeReport, Run
from pytest_gpuready.views import Views
from pytest_gpuready.views.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pytest_gpuready.model import Settings
    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.node.hosts import NodeSpec


def default_jobs() -> int:
    """Nodes at once: a login costs some of a core for a moment, and seven file descriptors while it lasts."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(16 * (os.cpu_count() or 1), 128, (soft - 64) // 8))


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
    done: Callable[[NodeReport], None] | None = None
    #: Connections that were begun before, by label; what is used is taken out.
    begun: dict[str, Shell] = field(default_factory=dict)
    _reports: dict[str, NodeReport] = field(default_factory=dict)
    _shells: set[Shell] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _started: datetime | None = None
    _clock: float = 0.0
    _duration: float = 0.0

    def run(self) -> Run:
        """Ask and judge every node. Ctrl-C ends at once: what was not finished is `incomplete` in `result()`."""
        self._started = datetime.now(timezone.utc)
        self._clock = time.monotonic()
        pool = ThreadPoolExecutor(max_workers=self.jobs or default_jobs(), thread_name_prefix="gpuready")
        futures: dict[Future[NodeReport], NodeSpec] = {}
        try:
            for node in self.nodes:
                futures[pool.submit(self._one, node)] = node
            waiting = set(futures)
            while waiting:
                finished, waiting = wait(waiting, timeout=0.5, return_when="FIRST_COMPLETED")
                for future in finished:
                    self._take(futures[future], future)
        except BaseException:
            # What has come is taken, and what is under way is ended.
            for future, node in futures.items():
                if future.done() and not future.cancelled() and node.label not in self._reports:
                    self._take(node, future)
            self.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._duration = time.monotonic() - self._clock
        return self.result()

    def _take(self, node: NodeSpec, future: Future[NodeReport]) -> None:
        try:
            report = future.result()
        except Exception as error:  # noqa: BLE001 - an error of ours costs this node its verdict and no other
            report = self._incomplete(
                node, f"pytest-gpuready itself failed: {type(error).__name__}: {one_line(str(error), 200)}"
            )
        self._reports[node.label] = report
        if self.done is not None:
            self.done(report)

    def stop(self) -> None:
        """End every connection and its processes."""
        with self._lock:
            self._stopped.set()
            shells = list(self._shells)
        for shell in shells:
            shell.kill()

    def result(self) -> Run:
        """The run as far as it came: every node asked for, in that order."""
        from pytest_gpuready import __version__  # noqa: PLC0415 - it reads the installed distribution

        nodes = tuple(self._reports.get(node.label) or self._incomplete(node, "interrupted") for node in self.nodes)
        started = self._started or datetime.now(timezone.utc)
        return Run(
            nodes=nodes,
            started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            duration=self._duration,
            generator=f"pytest-gpuready {__version__}",
            command=self.command,
            live=self.settings.live,
            notes=tuple(self.notes),
        )

    def _incomplete(self, node: NodeSpec, reason: str) -> NodeReport:
        return incomplete(node.label, reason, self.settings)

    def _one(self, node: NodeSpec) -> NodeReport:
        begun = time.monotonic()
        facts = self._facts(node)
        if isinstance(facts, NodeReport):
            return facts
        return dataclasses.replace(judged(facts, self.settings), duration=time.monotonic() - begun)

    def _facts(self, node: NodeSpec) -> Facts | NodeReport:
        if node.scheme == "snapshot":
            try:
                facts, _ = read(node.path)
            except SnapshotError as error:
                facts = Facts(node.label, [(REACH, Fact("cut", note=str(error)))])
            return Facts(node.label, facts)
        shell = self.begun.pop(node.label, None) or Shell(node, self.options)
        with self._lock:
            stopped = self._stopped.is_set()
            self._shells.add(shell)
        if stopped:
            shell.kill()
        try:
            with shell:
                begun = time.monotonic()
                rooted = (sudoers.requests(),) if shell.by_rule else ()
                facts = gather(shell, node.label, self._wants, self.timeout, *rooted)
                self._ask_api(facts, self.timeout - (time.monotonic() - begun))
                if self.settings.live:
                    self._run_containers(shell, facts)
        finally:
            with self._lock:
                self._shells.discard(shell)
        if self._stopped.is_set():
            return self._incomplete(node, "interrupted")
        if self.save is not None:
            self._save(facts)
        return facts

    def _ask_api(self, facts: Facts, left: float) -> None:
        """What the cluster's API says of the node, asked from here with the user's kubeconfig, if one is named."""
        if self.settings.kubeconfig:
            requests = Kubernetes.api_requests(Views(facts, self.settings))
            kubeapi.gather(facts, requests, self.settings.kubeconfig, max(left, 1.0))

    def _run_containers(self, shell: Shell, facts: Facts) -> None:
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
            self.notes.append(f"the snapshot of {facts.node} could not be written to {self.save}: {error.strerror}")
