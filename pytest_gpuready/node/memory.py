"""How much all nodes of a run may send: what one sends without end must not take the memory of all."""

from __future__ import annotations

import threading

#: Bytes of answers that a run holds at once, and what each node may send whatever the others do. A healthy node's
#: answers are 0.1 to 0.6 MB.
TOTAL = 256 * 1024 * 1024
SHARE = 2 * 1024 * 1024


class Memory:
    """The bytes of answers that are held, over all nodes of a run."""

    def __init__(self, total: int = TOTAL, share: int = SHARE) -> None:
        self.total = total
        self.share = share
        self.held = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """So many bytes more are held; negative: fewer."""
        with self._lock:
            self.held += size

    def too_much(self, mine: int) -> bool:
        """Whether a node that has sent so many bytes has to stop."""
        return mine > self.share and self.held > self.total
