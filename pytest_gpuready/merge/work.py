"""Files become results: read, and judged if they are snapshots, in processes side by side.

What one file does costs no other file anything, also where it takes its process along.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import signal
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuready.checks.catalogue import FAMILIES, LIVE
from pytest_gpuready.judged import judged
from pytest_gpuready.live.script import NAME as LIVE_SCRIPT
from pytest_gpuready.merge.find import LARGE, UnreadableError, read
from pytest_gpuready.merge.share import Sharing
from pytest_gpuready.node import snapshot, strict_json
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.report import readback
from pytest_gpuready.report.baseline import VALUES_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gpuready.merge.find import Place
    from pytest_gpuready.model import Settings
    from pytest_gpuready.report.model import NodeReport

#: Files that a process is handed at once.
BATCH = 32

#: Memory that a process may use to read and judge, in bytes.
_MEMORY = 4 * 1024**3


@dataclass(frozen=True)
class Result:
    """What a file says of a node. It was found between `began` and `ended`, seconds since 1970.

    `judged_here` tells a snapshot from what another run judged; `own`: a site's own checks are among the findings;
    `live`: containers were run.
    """

    report: NodeReport
    shown: str
    began: float
    ended: float
    judged_here: bool
    own: bool
    live: bool


@dataclass(frozen=True)
class Lost:
    """A file, or a node of one, that says nothing: `why` is the rest of a sentence. `ours`: it may be a result."""

    shown: str
    why: str
    ours: bool = True


def default_jobs() -> int:
    """As many processes as cores that this one may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def results(places: Sequence[Place], settings: Settings, jobs: int) -> Iterator[tuple[int, list[Result | Lost]]]:
    """What the files say, in their order, so many files at a time; the same with any number of processes."""
    batches = [places[at : at + BATCH] for at in range(0, len(places), BATCH)]
    if len(batches) <= 1 and all(place.size <= LARGE for place in places):
        # Too little to start a process for.
        for batch in batches:
            yield len(batch), look(batch, settings)
        return
    waiting = deque(batches)
    while waiting:
        said = _side_by_side(waiting, settings, min(jobs, len(waiting)))
        while waiting and (found := _next(said)) is not None:
            yield len(waiting.popleft()), found
        if waiting:
            # One of the files under way has cost its process its life. Which of them it was shows one at a time.
            for place in waiting.popleft():
                yield 1, _alone(place, settings)


def _side_by_side(
    batches: Sequence[Sequence[Place]] | deque[Sequence[Place]], settings: Settings, jobs: int
) -> Iterator[list[Result | Lost]]:
    here = Path.cwd()
    with _started_at_root(here):
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (here,))
    try:
        # Ctrl-C is this process's affair: the others never see it.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _started_at_root(here):
                futures = deque(pool.submit(look, batch, settings) for batch in batches)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _started_at_root(here: Path) -> Iterator[None]:
    """Stay in / while Python starts processes: each would first import what lies in its working directory."""
    os.chdir("/")
    try:
        yield
    finally:
        os.chdir(here)


def _next(said: Iterator[list[Result | Lost]]) -> list[Result | Lost] | None:
    """What is said next; None where a process is dead."""
    try:
        return next(said)
    except BrokenProcessPool:
        return None


def _alone(place: Place, settings: Settings) -> list[Result | Lost]:
    found = _next(_side_by_side([[place]], settings, 1))
    return [Lost(place.shown, "could not be judged: the process that did so was killed")] if found is None else found


def _begin(here: Path) -> None:
    """Begin a process: in the working directory of the command, with no more memory than one file may cost."""
    os.chdir(here)
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def look(places: Sequence[Place], settings: Settings) -> list[Result | Lost]:
    """What these files say."""
    sharing = Sharing()
    return [one for place in places for one in _of(place, settings, sharing)]


def _of(place: Place, settings: Settings, sharing: Sharing) -> list[Result | Lost]:
    try:
        return [
            one if isinstance(one, Lost) else dataclasses.replace(one, report=sharing.report(one.report))
            for one in _in_file(place, settings)
        ]
    except (UnreadableError, readback.ReportError) as error:
        return [Lost(place.shown, str(error))]
    except MemoryError:
        return [Lost(place.shown, "takes more memory than one file may")]
    except Exception as error:  # noqa: BLE001 - an error of ours costs this file its say and no other
        said = f"{type(error).__name__}: {one_line(str(error), 200)}"
        return [Lost(place.shown, f"could not be judged: pytest-gpuready itself failed: {said}")]


def _in_file(place: Place, settings: Settings) -> Iterator[Result | Lost]:
    raw, written = read(place)
    if not raw.strip():
        raise UnreadableError("is empty")
    try:
        document = strict_json.loads(raw.decode("utf-8-sig"), most=VALUES_LIMIT)
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8 text") from None
    except strict_json.JsonError as error:
        raise UnreadableError(f"is no JSON: {one_line(str(error), 200)}") from None
    size = len(raw)
    del raw
    if isinstance(document, dict) and "gpuready_snapshot" in document:
        if size > snapshot.SIZE_LIMIT:
            raise UnreadableError(f"is larger than {snapshot.SIZE_LIMIT // 1024 // 1024} MiB: no snapshot")
        yield _of_snapshot(place, document, written, settings)
    elif isinstance(document, dict) and "schema" in document and "nodes" in document:
        yield from _of_report(place, document, written, settings)
    else:
        yield Lost(place.shown, "is neither a snapshot nor a JSON report of pytest-gpuready", ours=False)


def _of_snapshot(place: Place, document: dict[str, Any], written: float, settings: Settings) -> Result:
    try:
        facts, meta = snapshot.of(document, place.shown)
    except snapshot.SnapshotError as error:
        raise UnreadableError(str(error).removeprefix(f"{place.shown} ")) from None
    live = any(request.kind == "script" and request.arg[0] == LIVE_SCRIPT for request, _ in facts)
    report = judged(facts, dataclasses.replace(settings, live=live))
    taken = _seconds(meta.get("taken"), written)
    return Result(
        dataclasses.replace(report, expected=len(report.findings)), place.shown, taken, taken, True, False, live
    )


def _of_report(place: Place, document: dict[str, Any], written: float, settings: Settings) -> Iterator[Result | Lost]:
    began = _seconds(document.get("started"), written)
    for number, entry in enumerate(readback.entries(document), 1):
        try:
            report = readback.node(entry, settings)
        except readback.ReportError as error:
            yield Lost(place.shown, f"is damaged: its node {number} {error}")
            continue
        families = {finding.check.family for finding in report.findings.values()}
        yield Result(
            report,
            place.shown,
            began,
            began + readback.seconds(document.get("duration_s")),
            judged_here=False,
            own=not families <= set(FAMILIES),
            live=document.get("live") is True or LIVE in families,
        )


def _seconds(said: Any, otherwise: float) -> float:
    """A time as the files have it, in seconds since 1970; what is none says less than when the file was written."""
    if isinstance(said, str) and snapshot.TIME.fullmatch(said):
        with contextlib.suppress(ValueError, OverflowError):
            return datetime.strptime(said, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    return otherwise
