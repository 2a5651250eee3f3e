"""Ctrl-C while nodes are asked, and what is as good: SIGTERM (a scheduler, a CI that cancels), SIGHUP (a lost login).

The first ends the asking. What was found so far is then written, and a second one, which people send when nothing seems
to happen, must not cost them that: it is answered by a sentence. The third ends everything.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_PATIENCE = "gpuready: what was found so far is being written; Ctrl-C once more ends without it"


class Interrupts:
    """The handlers of one run: `watch`, then `forget`. Handlers that are somebody else's are left alone."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.caught = 0
        self._before: dict[int, object] = {}

    def watch(self) -> None:
        """The next one raises KeyboardInterrupt in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, usual in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
            (signal.SIGHUP, signal.SIG_DFL),
        ):
            if signal.getsignal(number) is usual or signal.getsignal(number) == usual:
                self._before[number] = signal.signal(number, self._caught)

    def forget(self) -> None:
        """Put back what was there."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.caught += 1
        if self.caught == 2:
            self.say(_PATIENCE)
            return
        if self.caught > 2:
            self.forget()
        # Not default_int_handler: its sentence is of Ctrl-C, and this may be another signal.
        del number, frame
        raise KeyboardInterrupt
