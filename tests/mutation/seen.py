"""What each test runs of the subjects: lines and the lines that follow them, needs that block, routes that miss."""

from __future__ import annotations

import hashlib
import pickle
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import coverage
from _pytest.runner import runtestprotocol

from pytest_gpuready.judge import Judge
from tests.mutation.code import PACKAGE, ROOT, subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import pytest

    from pytest_gpuready.model import Outcome

#: (file, line, the line that follows); a negative one is the function's beginning or end
Arc = tuple[str, int, int]


@dataclass
class Seen:
    """What the tests of one module ran; the sets are bit masks over `tests`."""

    tests: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    arcs: dict[Arc, int] = field(default_factory=dict)
    needs: dict[tuple[str, str], int] = field(default_factory=dict)
    routes: dict[tuple[str, str], int] = field(default_factory=dict)
    statuses: dict[tuple[str, str], int] = field(default_factory=dict)


class Spy:
    """Records while a test runs."""

    def __init__(self) -> None:
        self.files = {str(path): str(path.relative_to(PACKAGE)) for path in subjects()}
        self.coverage = coverage.Coverage(branch=True, include=list(self.files), data_file=None, config_file=False)
        self.coverage.set_option("run:disable_warnings", ["no-data-collected"])
        self.arcs: set[Arc] = set()
        self.needs: set[tuple[str, str]] = set()
        self.routes: set[tuple[str, str]] = set()
        self.statuses: set[tuple[str, str]] = set()
        self.seen_as = Judge._seen

    def watch(self, item: pytest.Item) -> tuple[bool, float]:
        """Whether the test passes, and its CPU seconds; what it ran is in the sets."""
        self.arcs, self.needs, self.routes, self.statuses = set(), set(), set(), set()
        spy, seen_as = self, self.seen_as

        def _seen(
            judge: Judge, check_id: str, route: str, look: Callable[[str], tuple[Outcome | None, tuple[str, ...]]]
        ) -> tuple[Outcome | None, tuple[str, ...]]:
            found = seen_as(judge, check_id, route, look)
            by: dict[str, set[str]] = {}
            for need in judge.checks[check_id].needs:
                if need in judge.checks and not judge.checks[need].advisory:
                    outcome, above = look(need)
                    bad = outcome is not None and outcome.status in ("fail", "unknown")
                    by[need] = set(above) or ({need} if bad else set())
            for need, roots in by.items():
                if roots - set().union(*(other for name, other in by.items() if name != need)):
                    spy.needs.add((check_id, need))
            if found[0] is not None:
                spy.statuses.add((check_id, found[0].status))
            if found[1] or (found[0] is not None and found[0].status in ("fail", "unknown")):
                spy.routes.add((route, check_id))
            return found

        Judge._seen = _seen  # type: ignore[method-assign,assignment]
        started = time.process_time()
        self.coverage.erase()
        self.coverage.start()
        try:
            reports = runtestprotocol(item, log=False, nextitem=None)
        finally:
            self.coverage.stop()
            Judge._seen = seen_as  # type: ignore[method-assign]
        said = self.coverage.get_data()
        for path in said.measured_files():
            self.arcs |= {(self.files[path], before, after) for before, after in said.arcs(path) or ()}
        return all(report.passed for report in reports), time.process_time() - started


def module_of(item: pytest.Item) -> str:
    """The test module's path in the repository."""
    return item.nodeid.partition("::")[0]


def _mark(masks: dict[Any, int], keys: Iterable[Any], bit: int) -> None:
    for key in keys:
        masks[key] = masks.get(key, 0) | bit


def seen(items: Sequence[pytest.Item], cache: Path, tell: Callable[[str], None]) -> dict[str, Seen]:
    """What each module's tests ran: from the cache where nothing has changed, else by running them once."""
    spy = Spy()
    common = _digest([*sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "tests" / "support").glob("*.py"))])
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(module_of(item), []).append(item)
    found: dict[str, Seen] = {}
    cache.mkdir(parents=True, exist_ok=True)
    for name, tests in modules.items():
        kept = cache / f"{name.replace('/', '.')}.pickle"
        key = f"{common} {_digest([ROOT / name])} {len(tests)}"
        if kept.exists():
            was, module = pickle.loads(kept.read_bytes())  # noqa: S301 - our own file
            if was == key:
                found[name] = module
                continue
        module = found[name] = Seen()
        for number, item in enumerate(tests):
            passed, seconds = spy.watch(item)
            module.tests.append(item.nodeid)
            module.seconds.append(seconds)
            if not passed:
                module.broken.append(item.nodeid)
                continue
            _mark(module.arcs, spy.arcs, 1 << number)
            _mark(module.needs, spy.needs, 1 << number)
            _mark(module.routes, spy.routes, 1 << number)
            _mark(module.statuses, spy.statuses, 1 << number)
        kept.write_bytes(pickle.dumps((key, module)))
        tell(f"{name}: {len(tests)} tests, {sum(module.seconds):.1f} s, {len(module.broken)} do not pass")
    return found


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def chosen(mask: int, tests: Sequence[str]) -> list[int]:
    """The numbers of the tests of a mask."""
    return [number for number in range(len(tests)) if mask >> number & 1]
