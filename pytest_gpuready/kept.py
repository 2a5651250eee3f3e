"""What was worked out of a file's bytes, kept for the next one who asks: the nodes of a fleet hold equal files.

What is kept is bounded by its memory, not by its number: a node with huge files takes nothing from the others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

V = TypeVar("V")


class Kept(Generic[V]):
    """Values by their keys, those used last; `cost` says what a value takes with its key, `most` bounds the sum.

    What is kept must not be changed. Threads may share it.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._values: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], V], cost: Callable[[V], int]) -> V:
        """The value of this key, made where it is not kept. What `make` raises is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value = make()
        size = cost(value)
        with self._lock:
            if key not in self._values:
                self._values[key] = value, size
                self.held += size
            while self.held > self.most:
                _, (_, gone) = self._values.popitem(last=False)
                self.held -= gone
        return value
