"""How many logins begin at once, and which are tried again.

A server and a jump host bound how many logins they let begin (sshd_config(5), MaxStartups: 10 to 100 by default) and
close what is too much before a word is said. Such a login is tried again, later, and all of the run begins fewer at
once. Nodes in flight are another matter: one that is waited for costs a process and no server's turn.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time

#: Seconds after which a login that was begun no longer counts as beginning: it waits for a network that is silent, not
#: for a turn. (A server's part of a login takes some round trips and a few ms of its CPU.) While nobody is turned away
#: it is this machine alone that is spared: 512 dead nodes have all begun after 8 s where 32 begin at once.
TURN = 0.5
NARROW_TURN = 2.0

#: Fewest that begin at once, however many are turned away.
LEAST = 2

#: What ssh says of a connection that was closed before the server named itself, and no more than that. paramiko's words
#: are those of `paramiko_login`, which are the same for a server that stays silent.
_CLOSED = re.compile(
    r"(?:kex|ssh)_exchange_identification: (?:read: )?(?:Connection (?:closed|reset)|Broken pipe)"
    r"|Error reading SSH protocol banner"
)

#: What else it may say then: the other lines of the same event, also of the ssh that ProxyJump starts. Any other line
#: (`connect failed`, `Permission denied`, `Could not resolve hostname`) is the reason itself.
_BESIDE = re.compile(
    r"Connection (?:closed|reset) by \S+(?: port \d+)?"
    r"|Connection to \S+ closed by remote host\."
    r"|stdio forwarding failed"
    r"|Warning: Permanently added .*"
    r"|Killed by signal \d+\."
    r"|debug\d: .*"
    r"|Exceeded MaxStartups|Not allowed at this time"
)


def default_width() -> int:
    """Logins that begin at once: each costs this machine some 10 ms of a core, and a jump host more."""
    return max(16, min(16 * (os.cpu_count() or 1), 128))


def turned_away(words: str, seconds: float) -> bool:
    """Whether a login ended because too many were beginning, by the lines on standard error and how long it took."""
    lines = [line for line in (line.strip() for line in words.splitlines()) if line]
    closed = [line for line in lines if _CLOSED.match(line)]
    if any("banner" in line for line in closed) and seconds > 5:
        return False
    return bool(closed) and all(line in closed or _BESIDE.fullmatch(line) for line in lines)


def pause(tries: int) -> float:
    """Seconds before the next try, after so many: doubling up to 8, each time a random half to the whole of it."""
    return random.uniform(0.5, 1.0) * min(8.0, 0.25 * 2.0**tries)  # noqa: S311 - no secret


class Logins:
    """The turns of one run. A login enters before it begins, and leaves when its shell greets, or it has ended.

    The width is halved when two nodes were turned away since it last was (one alone may have reasons of its own), and
    grows by a half with each login that succeeds.
    """

    def __init__(self, width: int = 0) -> None:
        self.most = width or default_width()
        self.width = float(self.most)
        self._begun: dict[object, float] = {}
        self._refused: set[object] = set()
        self._narrowed = 0.0
        self._stopped = False
        self._changed = threading.Condition()

    def enter(self, who: object, until: float | None = None) -> bool:
        """Wait for a turn, until a time of the monotonic clock; False if none came or the run has stopped."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                if until is not None and now >= until:
                    return False
                turn = TURN if self.width >= self.most else NARROW_TURN
                recent = sorted(at for at in self._begun.values() if now - at < turn)
                if len(recent) < int(self.width):
                    self._begun[who] = now
                    return True
                free = recent[len(recent) - int(self.width)] + turn - now
                self._changed.wait(free if until is None else min(free, until - now))
        return False

    def leave(self, who: object, *, greeted: bool = False, refused: bool = False) -> None:
        """The login has succeeded, or failed, or was turned away."""
        with self._changed:
            begun = self._begun.pop(who, None)
            if begun is None:
                return
            if greeted:
                self.width = min(self.width + 0.5, self.most)
            if refused and begun > self._narrowed:
                self._refused.add(who)
                if len(self._refused) > 1:
                    self.width = max(self.width / 2, LEAST)
                    self._narrowed = time.monotonic()
                    self._refused.clear()
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody gets a turn any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
