"""What a check is, and the catalogue of all of them.

A check is an id, a title, what it needs, and one pure function of views whose docstring has the heads
What / Why / Fix / References. A function's parameters are views by name, and `mend` for the remedies of this node.
"""

from __future__ import annotations

import difflib
import functools
import graphlib
import importlib
import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gpuready.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pytest_gpuready.model import Answer

#: The families in the order in which reports show them; each is a module of this package.
FAMILIES: tuple[str, ...] = ("node", "driver", "toolkit", "containerd", "cdi", "kubernetes", "live")

#: The family of the live proof: its checks are there only where containers are run.
LIVE = "live"

#: The heads of every check's docstring, in this order.
HEADS: tuple[str, ...] = ("What", "Why", "Fix", "References")

#: The one check that everything else needs.
REACHABLE = "node.reachable"

#: The check that a denied read blocks others by.
PRIVILEGES = "node.privileges"

#: What a check may take beside views: the node's remedies, and what other checks were denied.
GIVEN: tuple[str, ...] = ("mend", "denials")


@dataclass(frozen=True)
class Check:
    """One condition. `needs` are the ids without which it means nothing; an advisory check warns and never counts."""

    id: str
    title: str
    func: Callable[..., Answer]
    needs: tuple[str, ...] = ()
    advisory: bool = False
    parameters: tuple[str, ...] = field(default=(), repr=False)

    @property
    def family(self) -> str:
        """The part of the id before the dot; a report that was read back may hold an id that begins with one."""
        return self.id.partition(".")[0] or self.id

    @property
    def name(self) -> str:
        """The part of the id after the dot, as a Python name."""
        return self.id.partition(".")[2].replace("-", "_")

    @property
    def page(self) -> dict[str, str]:
        """The docstring's sections by head."""
        text = inspect.getdoc(self.func) or ""
        parts = re.split(rf"^({'|'.join(HEADS)}):", text, flags=re.MULTILINE)
        return {head: _sentence(inspect.cleandoc(body)) for head, body in zip(parts[1::2], parts[2::2], strict=True)}


#: Names that stay as they are at the beginning of a sentence.
_NAMES = frozenset(
    {"containerd", "ctr", "ctd", "nerdctl", "runc", "crun", "systemd", "systemctl", "ssh", "nouveau", "sudo", "toolkit"}
)


def _sentence(text: str) -> str:
    """The text with a capital where a word, and no name or path, begins it."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    return text[:1].upper() + text[1:] if first.isalpha() and first not in _NAMES else text


def suite(*, live: bool) -> dict[str, Check]:
    """The checks of a run: those of the live proof only with it."""
    return {check.id: check for check in catalogue().values() if live or check.family != LIVE}


_registered: dict[str, Check] = {}


def check(
    id: str,  # noqa: A002 - the word of the design and of every report
    *,
    title: str,
    needs: Sequence[str] = (),
    advisory: bool = False,
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register a function as a check of this project's own suite."""

    def register(func: Callable[..., Answer]) -> Callable[..., Answer]:
        _registered[id] = make(id, title=title, needs=needs, advisory=advisory, func=func)
        return func

    return register


def make(
    id: str,  # noqa: A002
    *,
    title: str,
    func: Callable[..., Answer],
    needs: Sequence[str] = (),
    advisory: bool = False,
) -> Check:
    """Make a check that is in no catalogue (yet). All but `node.reachable` need `node.reachable`.

    Raises:
        ValueError: a parameter is neither a view nor in `GIVEN`.
    """
    all_needs = tuple(needs) if id == REACHABLE else (REACHABLE, *needs)
    parameters = tuple(inspect.signature(func).parameters)
    refuse_unknown(f"check {id} takes the unknown parameter", parameters, (*VIEWS, *GIVEN))
    return Check(id, title, func, all_needs, advisory, parameters)


def refuse_unknown(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise `ValueError` for the first name that is not known: `what`, the name, and a known one that is like it."""
    for name in names:
        if name not in known:
            like = difflib.get_close_matches(name, known, 1)
            raise ValueError(f"{what} {name!r}{f': did you mean {like[0]!r}?' if like else ''}")


def refuse_unknown_needs(checks: Mapping[str, Check], known: Collection[str]) -> None:
    """Raise `ValueError` for a check that needs one that is not known."""
    for item in checks.values():
        refuse_unknown(f"check {item.id} needs the unknown check", item.needs, known)


@functools.cache
def catalogue() -> dict[str, Check]:
    """All checks of the suite by id: families in order, within a family each after what it needs."""
    for family in FAMILIES:
        importlib.import_module(f"pytest_gpuready.checks.{family}")
    refuse_unknown_needs(_registered, _registered)
    return ordered(_registered)


def ordered(checks: dict[str, Check]) -> dict[str, Check]:
    """The same checks, family by family, each after what it needs of its own, then by id. `CycleError` on a cycle.

    The order does not depend on which module was imported first.
    """
    graph = {check.id: [need for need in check.needs if need in checks] for check in checks.values()}
    graphlib.TopologicalSorter(graph).prepare()
    families = {family: number for number, family in enumerate(FAMILIES)}

    def place(check: Check) -> tuple[int, int, str]:
        return families.get(check.family, len(families)), _depth(check.id, graph), check.id

    return {check.id: check for check in sorted(checks.values(), key=place)}


def _depth(check_id: str, graph: dict[str, list[str]]) -> int:
    """How many checks of its own family stand in a row before it."""
    family = check_id.partition(".")[0]
    own = [need for need in graph[check_id] if need.partition(".")[0] == family]
    return 1 + max((_depth(need, graph) for need in own), default=0)
