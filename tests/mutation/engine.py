"""Runs the mutants: each in a child of a process that has collected the tests, against the tests that reach it.

The tests are the fact tests: no daemon, no login, no lab. A mutant is `killed` when one of them fails (or does not
end), `survived` when all of them pass, `unreached` when none runs its place, `idle` when none of those that run it sees
an answer that differs from what it would have been.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import json
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from _pytest.runner import runtestprotocol

from pytest_gpuready.checks.catalogue import catalogue
from tests.mutation import code, data
from tests.mutation.seen import chosen, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from tests.mutation.seen import Seen

FACT_TESTS: tuple[str, ...] = (
    "tests/checks",
    "tests/remedies",
    "tests/test_judge.py",
    "tests/test_routes.py",
    "tests/test_requires.py",
    "tests/test_never_vacuous.py",
)

Mutant = code.CodeMutant | data.DataMutant

#: Modules whose tests decide on the tables of needs and of routes.
_STATED = ("tests/checks/test_roots.py", "tests/test_requires.py")

#: A child's words: nothing was seen to differ.
_IDLE = 3
_KILLED = 1

#: CPU seconds that a child may take beyond its tests' own.
_SLACK = 15


@dataclass(frozen=True)
class Result:
    """What became of a mutant: the state, the test that noticed, how many tests ran."""

    mutant: str
    state: str
    by: str = ""
    tests: int = 0


def mutants() -> Iterator[Mutant]:
    """Every one, tables first."""
    yield from data.data_mutants()
    for path in code.subjects():
        yield from code.code_mutants(path)


def family(mutant: Mutant) -> str:
    """The family by which it is chosen: a check's, `routes`, `judge`, `catalogue`, or `remedies`."""
    if isinstance(mutant, data.DataMutant) and mutant.kind != "remedy":
        return "routes" if mutant.kind == "route" else mutant.name.partition(".")[0]
    folder, _, name = mutant.file.rpartition("/")
    return "remedies" if folder == "remedies" else name.removesuffix(".py").partition("_")[0]


class Engine:
    """A plugin in whose test loop the mutants run."""

    def __init__(self, mutants: list[Mutant], cache: Path, jobs: int, most: float, first: dict[str, str]) -> None:
        self.mutants = mutants
        self.cache = cache
        self.jobs = jobs
        self.most = most
        self.first = first
        self.results: list[Result] = []
        self.items: dict[str, pytest.Item] = {}
        self.seconds: dict[str, float] = {}
        self.seen: dict[str, Seen] = {}
        self.broken: list[str] = []
        self.words: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what needs more than facts, and random examples."""
        items[:] = [
            item
            for item in items
            if not any(item.get_closest_marker(name) for name in ("lab", "daemon", "slow"))
            and not hasattr(getattr(item, "obj", None), "hypothesis")
        ]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Watch the tests once, then try every mutant."""
        self.items = {item.nodeid: item for item in session.items}
        self.words = {item.nodeid: _source(item) for item in session.items}
        self.seen = seen(session.items, self.cache, self._tell)
        for module in self.seen.values():
            self.seconds.update(zip(module.tests, module.seconds, strict=True))
            self.broken += module.broken
        for name in self.broken:
            self._tell(f"does not pass without any mutant, and is left out: {name}")
        gc.collect()
        gc.freeze()
        running: dict[int, tuple[Mutant, int, int]] = {}
        for mutant in self.mutants:
            tests = self._tests(mutant)
            if not tests:
                self._done(Result(mutant.id, "unreached"))
                continue
            while len(running) >= self.jobs:
                self._reap(running)
            pid, pipe = self._start(mutant, tests)
            running[pid] = (mutant, pipe, len(tests))
        while running:
            self._reap(running)
        return True

    def _done(self, result: Result) -> None:
        self.results.append(result)
        with (self.cache / "results.jsonl").open("a") as file:
            file.write(json.dumps({"mutant": result.mutant, "state": result.state, "by": result.by}) + "\n")
        if result.state != "killed":
            self._tell(f"{result.state:9} {result.mutant}" + (f" ({result.tests} tests)" if result.tests else ""))

    def _tell(self, line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    # ------------------------------------------------------------------ which tests

    def _tests(self, mutant: Mutant) -> list[str]:
        """Those that reach it: the one that noticed it last time, those of its family, then the fastest."""
        found: list[str] = []
        for module in self.seen.values():
            mask = self._mask(mutant, module)
            found += [module.tests[number] for number in chosen(mask, module.tests)]
        first, mine, said = self.first.get(mutant.id), family(mutant), _hint(mutant)
        found = sorted(
            (name for name in found if name not in self.broken),
            key=lambda name: (
                name != first,
                not name.startswith(_STATED),
                not (said and said in self.words[name]),
                mine not in name.partition("::")[0],
                self.seconds[name],
            ),
        )
        spent = itertools.accumulate(0 if name.startswith(_STATED) else self.seconds[name] for name in found)
        return [name for name, seconds in zip(found, spent, strict=True) if seconds <= self.most] or found[:1]

    def _mask(self, mutant: Mutant, module: Seen) -> int:
        mask = 0
        if isinstance(mutant, data.DataMutant):
            if mutant.kind == "need":
                return module.needs.get((mutant.name, mutant.what), 0) | _all(module, _STATED[0])
            if mutant.kind == "route":
                return _all(module, _STATED[1]) | module.routes.get((mutant.name, mutant.what), 0)
            if mutant.kind == "answer":
                for (check, status), tests in module.statuses.items():
                    if check == mutant.name and status != data.ANSWERS[mutant.what].status:
                        mask |= tests
                if mask:
                    return mask
            start, end = code.body_of(mutant.file, mutant.function)
            for (file, _, after), tests in module.arcs.items():
                if file == mutant.file and start <= after <= end:
                    mask |= tests
            return mask
        start, end = mutant.lines
        for (file, before, after), tests in module.arcs.items():
            if file != mutant.file:
                continue
            if mutant.unless is None and mutant.unless_not is None:
                if start <= after <= end:
                    mask |= tests
            elif start <= before <= end and not start <= after <= end:
                goes_in = after in (mutant.unless, mutant.unless_not)
                if goes_in == (mutant.unless_not is not None):
                    mask |= tests
        return mask

    # ------------------------------------------------------------------ a child for each

    def _start(self, mutant: Mutant, tests: list[str]) -> tuple[int, int]:
        reads, writes = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(writes)
            return pid, reads
        try:
            os.close(reads)
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            limit = int(_SLACK + 5 * sum(self.seconds[name] for name in tests))
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            os._exit(self._try(mutant, tests, lambda name: _write(writes, name)))
        finally:
            os._exit(_KILLED)

    def _try(self, mutant: Mutant, tests: list[str], tell: Callable[[str], None]) -> int:
        differs: list[bool] = []
        if isinstance(mutant, data.DataMutant):
            data.apply(mutant, lambda: differs.append(True))
        else:
            differs.append(True)
            code.apply(mutant, code.function_of(mutant.file, mutant.function))
        for name in tests:
            tell(name)
            if not all(report.passed for report in runtestprotocol(self.items[name], log=False, nextitem=None)):
                return _KILLED
        return 0 if differs else _IDLE

    def _reap(self, running: dict[int, tuple[Mutant, int, int]]) -> None:
        pid, status = os.wait()
        mutant, pipe, tests = running.pop(pid)
        said = b""
        while chunk := os.read(pipe, 65536):
            said += chunk
        os.close(pipe)
        names = said.decode().splitlines()
        state = "killed"
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != _KILLED:
            state = "idle" if os.WEXITSTATUS(status) == _IDLE else "survived"
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) not in (signal.SIGXCPU, signal.SIGKILL):
            state = "killed"
        self._done(Result(mutant.id, state, names[-1] if names and state == "killed" else "", tests))


def _source(item: pytest.Item) -> str:
    """A test's own text and id."""
    return item.nodeid + inspect.getsource(getattr(item, "obj", type(item)))


def _hint(mutant: Mutant) -> str:
    """What a test that is about it is likely to say: the check's name, or the remedy's."""
    if isinstance(mutant, data.DataMutant):
        return mutant.name.rpartition(".")[2]
    for check in catalogue().values():
        module = mutant.file.removesuffix(".py").rpartition("/")[2]
        if check.func.__module__.endswith(f".{module}") and check.func.__name__ == mutant.function:
            return check.id.partition(".")[2]
    return mutant.function.rpartition(".")[2].strip("_")


def _all(module: Seen, name: str) -> int:
    """All tests of a module that decides on a table, no test of another."""
    return (1 << len(module.tests)) - 1 if module.tests and module.tests[0].startswith(name) else 0


def _write(pipe: int, name: str) -> None:
    os.write(pipe, f"{name}\n".encode())


def timed() -> Callable[[], float]:
    """Seconds since now."""
    started = time.monotonic()
    return lambda: time.monotonic() - started
