"""Mutants of tables: what a check answers, what it needs, what a route requires, what a remedy brings."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.model import Answer, Outcome, Remedy, failed, passed, unknown
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_gpuready.routes import Route

ANSWERS: dict[str, Outcome] = {
    "pass": passed("says so"),
    "fail": failed("says so", expected="otherwise"),
    "unknown": unknown("says so"),
}


@dataclasses.dataclass(frozen=True)
class DataMutant:
    """An entry changed: `kind` is `answer`, `need`, `route` or `remedy`; `name` its owner, `what` the change."""

    kind: str
    name: str
    what: str
    file: str = ""
    function: str = ""

    @property
    def id(self) -> str:
        """The words by which it is chosen and listed."""
        return f"{self.kind} {self.name}: {self.what}"


def data_mutants() -> Iterator[DataMutant]:
    """All of them."""
    for check in catalogue().values():
        module = check.func.__module__.removeprefix("pytest_gpuready.").replace(".", "/") + ".py"
        for status in ANSWERS:
            yield DataMutant("answer", check.id, status, module, check.func.__name__)
        for need in check.needs:
            if need in _needed(check.needs):
                continue  # it comes with what else is needed
            yield DataMutant("need", check.id, need)
    for route in ROUTES.values():
        names = required(route)
        for name in names:
            if name in _needed(names):
                continue  # it comes with what else is required
            yield DataMutant("route", route.id, name)
    yield from _remedies()


def _needed(names: Iterable[str]) -> set[str]:
    """Return all checks that these need, and what those need."""
    found: set[str] = set()
    left = list(names)
    while left:
        more = [need for need in catalogue()[left.pop()].needs if need not in found]
        found.update(more)
        left += more
    return found


class _Said:
    """Stands for the views that a route asks: a mode of the toolkit, and clients of one age."""

    def __init__(self, mode: str, *, cdi: bool) -> None:
        self.mode = mode
        self.gpus_by_cdi = self.nerdctl_gpus_by_cdi = cdi

    def get(self, _: type) -> _Said:
        return self

    def mode_for(self, _: str) -> str:
        return self.mode


def required(route: Route) -> list[str]:
    """Every check that a route requires in some mode or release."""
    said: list[Any] = [_Said(mode, cdi=cdi) for mode in ("legacy", "cdi", "jit-cdi", "csv") for cdi in (True, False)]
    return sorted(frozenset().union(*(route.requires(views) for views in said)))


def _remedies() -> Iterator[DataMutant]:
    mend = Remedies(Views(Facts("none")))
    parts = [name for name, member in vars(Remedies).items() if isinstance(member, functools.cached_property)]
    for part in parts:
        for attribute, function in inspect.getmembers(type(getattr(mend, part)), inspect.isfunction):
            if attribute.startswith("_") or function.__annotations__.get("return") not in ("Remedy", "Remedy | None"):
                continue
            file = function.__module__.removeprefix("pytest_gpuready.").replace(".", "/") + ".py"
            for what in ("no commands", "no edits", "first command dropped", "last command dropped"):
                yield DataMutant("remedy", f"{function.__qualname__}", what, file, function.__qualname__)


def apply(mutant: DataMutant, changed: Callable[[], None]) -> None:
    """Change the table in its place, for good: a process of its own does this.

    `changed` is called whenever an answer differs from what it would have been.
    """
    if mutant.kind == "answer":
        check = catalogue()[mutant.name]
        object.__setattr__(check, "func", _answering(check.func, mutant.what, changed))
    elif mutant.kind == "need":
        check = catalogue()[mutant.name]
        needs = tuple(need for need in check.needs if need != mutant.what)
        object.__setattr__(check, "needs", needs)
        changed()
    elif mutant.kind == "route":
        route = ROUTES[mutant.name]
        ROUTES[mutant.name] = dataclasses.replace(route, requires=_requiring(route.requires, mutant.what, changed))
    else:
        owner, _, name = mutant.function.rpartition(".")
        module = importlib.import_module("pytest_gpuready." + mutant.file.removesuffix(".py").replace("/", "."))
        found = getattr(module, owner)
        setattr(found, name, _mending(vars(found)[name], mutant.what, changed))


def _answering(func: Callable[..., Answer], status: str, changed: Callable[[], None]) -> Callable[..., Answer]:
    said = ANSWERS[status]

    @functools.wraps(func)
    def answer(*args: Any, **kwargs: Any) -> Answer:
        answer: Answer | None = None
        try:
            answer = func(*args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it would have been, it now answers
            changed()
            return said
        own = list(answer.values()) if isinstance(answer, dict) else [answer]
        if any(outcome.status != said.status for outcome in own):
            changed()
        return dict.fromkeys(answer, said) if isinstance(answer, dict) else said

    return answer


def _requiring(
    requires: Callable[..., frozenset[str]], dropped: str, changed: Callable[[], None]
) -> Callable[..., frozenset[str]]:
    def less(views: Any) -> frozenset[str]:
        all_of_it = requires(views)
        if dropped in all_of_it:
            changed()
        return all_of_it - {dropped}

    return less


def _mending(
    method: Callable[..., Remedy | None], what: str, changed: Callable[[], None]
) -> Callable[..., Remedy | None]:
    @functools.wraps(method)
    def mend(*args: Any, **kwargs: Any) -> Remedy | None:
        remedy = method(*args, **kwargs)
        if remedy is None:
            return None
        less = {
            "no commands": dataclasses.replace(remedy, commands=()),
            "no edits": dataclasses.replace(remedy, edits=()),
            "first command dropped": dataclasses.replace(remedy, commands=remedy.commands[1:]),
            "last command dropped": dataclasses.replace(remedy, commands=remedy.commands[:-1]),
        }[what]
        if less != remedy:
            changed()
        return less

    return mend
