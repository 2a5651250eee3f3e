"""The time that judging one node may take: what a node says never keeps a run from its other nodes.

Sizes are limited where facts are read, so that this limit is reached by no input that is known. It counts the thread's
own CPU time: other nodes and other programs cost a node nothing. Long loops call `check`; no thread is ever killed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from pytest_gpuready.model import Undetermined

if TYPE_CHECKING:
    from collections.abc import Iterator

#: CPU time for judging one node, in seconds, and for removing secrets from a round of its answers, or from its
#: snapshot. A healthy node takes 0.1 for both together.
SECONDS, REDACTING = 2.0, 1.0


class OverBudget(Undetermined):
    """The time for this node is spent; until its judging ends, every further check of the budget says so."""


class _State(threading.local):
    end: float | None = None


_state = _State()


@contextlib.contextmanager
def limited(seconds: float | None = None) -> Iterator[None]:
    """Limit the CPU time of a block in this thread; a block inside another one has no time of its own."""
    if _state.end is not None:
        yield
        return
    _state.end = time.thread_time() + (SECONDS if seconds is None else seconds)
    try:
        yield
    finally:
        _state.end = None


def spent() -> bool:
    """Whether the time of the block around this call is spent."""
    return _state.end is not None and time.thread_time() > _state.end


def check() -> None:
    """Raise `OverBudget` where the time is spent."""
    if spent():
        raise OverBudget(WHY, "deadline")


#: What is said of a node that is not judged to the end.
WHY = f"judging took more than {SECONDS:g} s of CPU time: the node says too much, and the rest of it was not judged"
