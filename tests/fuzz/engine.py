"""Running a target: examples in their order by a seed, each under a guard of time, each fault once."""

from __future__ import annotations

import random
import signal
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from tests.fuzz.mutate import mutated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

#: Seconds that one example may take; nothing that is 64 KiB long needs a tenth of it.
GUARD = 10.0


class TooLong(BaseException):
    """The guard. No `except Exception` of the code under test may take it."""


@dataclass(frozen=True)
class Target:
    """What is run: `run` is given bytes and raises only `refusals`; it asserts what must hold whatever they are."""

    name: str
    samples: Sequence[bytes]
    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()
    words: Sequence[bytes] = ()
    #: Its share of the time.
    weight: int = 1
    #: Whether a refusal is in a daemon's own words, which repeat what was written, line ends too.
    quotes: bool = False


@dataclass(frozen=True)
class Trouble:
    """An example that went wrong, with its traceback."""

    target: str
    number: int
    data: bytes
    text: str
    place: str


@dataclass
class Result:
    """Counts of a session."""

    examples: int = 0
    refused: int = 0
    slowest: float = 0.0
    troubles: list[Trouble] = field(default_factory=list)


@contextmanager
def guarded(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the midst of what computes longer, however busy the machine is.

    Signals come to the main thread only; in another thread there is no guard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def once(target: Target, data: bytes, number: int = 0) -> tuple[Trouble | None, bool]:
    """What went wrong with one example, and whether it was refused in words."""
    try:
        with guarded(GUARD):
            target.run(data)
    except target.refusals as error:
        said = str(error)
        if not said.strip() or ("\n" in said.strip() and not target.quotes):
            return Trouble(target.name, number, data, f"a refusal of no or many lines: {said!r}", "refusal"), True
        return None, True
    except (Exception, TooLong) as error:  # noqa: BLE001 - whatever it is, it is what we are after
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} {frame.filename}:{frame.lineno}"
        return Trouble(target.name, number, data, traceback.format_exc(), place), False
    return None, False


def session(target: Target, seed: int, *, seconds: float | None = None, examples: int | None = None) -> Result:
    """The samples as they are, then their mutations, until the time is over or there were so many examples."""
    result = Result()
    rest = random.Random(f"{target.name} {seed}")
    seen: set[str] = set()
    end = None if seconds is None else time.monotonic() + seconds
    for number in count():
        if (examples is not None and number >= examples) or (end is not None and time.monotonic() > end):
            return result
        data = target.samples[number] if number < len(target.samples) else mutated(rest, target.samples, target.words)
        begun = time.monotonic()
        trouble, refused = once(target, data, number)
        result.slowest = max(result.slowest, time.monotonic() - begun)
        result.examples += 1
        result.refused += refused
        if trouble is not None and trouble.place not in seen:
            seen.add(trouble.place)
            result.troubles.append(trouble)
    raise AssertionError("count() has no end")
