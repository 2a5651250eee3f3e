"""How far a run over several nodes has come: one line that is rewritten on a terminal, now and then a line in a log.

Labels come from users and their files: they are cleaned, and a line is cut to the terminal's width.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import one_line
from pytest_gpuready.report.text import columns, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Seconds after which a node that has not answered is named, and how many are.
SLOW = 5.0
NAMED = 3

#: Seconds between two lines on a terminal, and in a log.
TERMINAL = 0.1
LOG = 10.0


def line(total: int, done: int, elapsed: float, waiting: Iterable[tuple[str, float]], width: int = 0) -> str:
    """`done / total`, the seconds so far, and the nodes that are waited for (label, seconds), longest first.

    Cut to `width` columns; 0: not cut.
    """
    said = f"gpuready: {done} of {total} nodes done, {elapsed:.0f} s"
    slow = sorted(((label, since) for label, since in waiting if since >= SLOW), key=lambda one: -one[1])
    if slow:
        named = [f"{one_line(label, 80)} ({since:.0f} s)" for label, since in slow[:NAMED]]
        more = f" and {len(slow) - NAMED} more" if len(slow) > NAMED else ""
        said += f"; waiting for {', '.join(named)}{more}"
    return cut(said, width) if width else said


class Progress:
    """One run's. `asked` may come from any thread, all else from one. `write` takes a line of a log."""

    every = LOG

    def __init__(self, total: int, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.write = write
        self.clock = clock
        self.count = 0
        self.since: dict[str, float] = {}
        self.began = self.last = clock()
        self.ended = False

    def begin(self, at_once: int) -> None:
        """The run begins."""
        most = f", up to {at_once} at once" if at_once < self.total else ""
        self.write(f"gpuready: asking {self.total} nodes{most}")

    def asked(self, label: str) -> None:
        """A node's login has begun."""
        self.since[label] = self.clock()

    def done(self, label: str) -> None:
        """A node is judged."""
        self.since.pop(label, None)
        self.count += 1

    def tick(self) -> None:
        """Say how far it is, if it was not said just now; to be called often."""
        now = self.clock()
        if self.count < self.total and now - self.last >= self.every:
            self.last = now
            self.say(now)

    def end(self) -> None:
        """The run is over, or was ended."""
        if not self.ended:
            self.ended = True
            self.since.clear()
            self.say(self.clock())

    def say(self, now: float) -> None:
        """A line of the log."""
        self.write(self.text(now))

    def text(self, now: float, width: int = 0) -> str:
        """See `line`."""
        # A copy at once: others may be asked meanwhile.
        waiting = [(label, now - since) for label, since in self.since.copy().items()]
        return line(self.total, self.count, now - self.began, waiting, width)


class OnTerminal(Progress):
    """The same on a terminal: `write` takes the text that the line is rewritten to, `width` gives its columns."""

    every = TERMINAL

    def __init__(
        self,
        total: int,
        write: Callable[[str], None],
        width: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(total, write, clock)
        self.width = width
        self.drawn = 0

    def begin(self, at_once: int) -> None:
        """See `Progress.begin`."""
        del at_once
        self.say(self.began)

    def end(self) -> None:
        """Leave the line."""
        if not self.ended:
            super().end()
            self.write("\n")

    def say(self, now: float) -> None:
        """The line, over the one before it; the last column stays free, so that no terminal begins another line."""
        room = max(self.width() - 1, 1)
        text = self.text(now, room)
        drawn = columns(text)
        self.write(f"\r{text}{' ' * (min(self.drawn, room) - drawn)}")
        self.drawn = drawn
