"""Remedies for the way to the node and what may be read there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_gpuready.model import Remedy
from pytest_gpuready.node.facts import Cause
from pytest_gpuready.node.trust import way_out
from pytest_gpuready.quoting import quote
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from pytest_gpuready.views import Views

#: What ssh says, or why the answers ended → what to do about it. The first that occurs counts.
_REACH: tuple[tuple[str | Cause, str], ...] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "The host's key is not the one that is known: find out why, then `ssh-keygen -R HOST` and log in once by hand.",
    ),
    ("Host key verification failed", "The host's key is not known: log in once by hand and compare its fingerprint."),
    (
        "Permission denied",
        "No key of yours is accepted: `ssh-copy-id` it, or name the right one with --ssh-identity-file.",
    ),
    (
        "Connection refused",
        "Nothing listens at that port: start sshd on the node, or name its port in the spec (ssh://HOST:PORT).",
    ),
    ("Could not resolve hostname", "The name is not known here: correct it, or give it an address in ~/.ssh/config."),
    (
        Cause.BROKE_OFF,
        "Ask again. If it happens again, see what sshd on the node says (`journalctl -u ssh`): it may have been ended.",
    ),
    ("No route to host", "The node is off or not routed to from here."),
    ("timed out", "Nothing answers at that address: the node is off, or a firewall drops the connection."),
    (
        Cause.DEADLINE,
        "The node took the connection and did not answer: look at it by its console, or raise --gpuready-timeout.",
    ),
    (
        "This account is currently not available",
        "The user's login shell is nologin: name another user in the spec (ssh://USER@HOST).",
    ),
    (
        "kex_exchange_identification",
        "sshd closed the connection before the login: it may be overloaded (MaxStartups) or refuse this address.",
    ),
)

#: A cause on this side → what to do about it. No login by hand finds out more.
_HERE: dict[Cause, str] = {
    Cause.EXHAUSTED: "Lower --gpuready-jobs, or raise this machine's limits (ulimit -v, -u and -n).",
    Cause.INTERRUPTED: "Run it again: it was ended before this node had answered.",
    Cause.FAILED: "Report it with the words above: it is a fault of pytest-gpuready, not of the node.",
}


class NodeRemedies:
    """`mend.node`."""

    def __init__(self, views: Views) -> None:
        self.platform = views.get(Platform)
        self.node = views.facts.node

    def reach(self, why: str, cause: Cause | None = None) -> Remedy:
        """The login does not work, or was not tried to its end; `why` is what ssh or the node says."""
        if cause is not None and cause in _HERE:
            return Remedy(_HERE[cause])
        advice = next(
            (advice for sign, advice in _REACH if (sign is cause if isinstance(sign, Cause) else sign in why)),
            "Make this login work by hand first, without a prompt.",
        )
        target = self.node.partition("://")[2]
        commands = (f"ssh -o BatchMode=yes {_ssh_words(target)} true",) if self.node.startswith("ssh://") else ()
        return Remedy(advice, commands)

    def late(self) -> Remedy:
        """The deadline passed before all was asked."""
        return Remedy(
            "Look at the node: what it was at does not end (a dead mount, a program that hangs in the kernel). "
            "Where it is only slow, raise --gpuready-timeout."
        )

    def sudo(self) -> Remedy:
        """Sudo asks or refuses. The rule is what `--sudo` runs: a root shell, no less."""
        return Remedy(
            "Let the user run sh as root without a password (this is root; on the node, by an administrator); or only "
            "what the suite reads, by what `python -m pytest_gpuready.sudoers USER` prints.",
            (
                'echo "$USER ALL=(root) NOPASSWD: $(command -v sh) -s" | sudo tee /etc/sudoers.d/gpuready >/dev/null',
                "sudo chmod 0440 /etc/sudoers.d/gpuready && sudo visudo -c",
            ),
        )

    def privileges(self) -> Remedy:
        """Something was refused."""
        if self.node == "local":
            return Remedy("Run it as root, or through sudo.", ("pytest --gpuready --sudo",))
        if self.node.startswith("ssh://"):
            return Remedy(
                "Log in as root, or let the suite use sudo on the node.",
                (f"pytest --gpuready --sudo --hosts={quote(self.node)}",),
            )
        return Remedy("Take the snapshot as root, or with --sudo.")

    def trust(self, reason: str) -> Remedy:
        """Another user could decide what a file, program or socket is; `reason` names the entry that lets them."""
        way = way_out(reason)
        prefix = self.platform.sudo_prefix
        return Remedy(
            "Let root alone decide about it. First see what lies there: another user could have changed it.",
            (f"{prefix}{way[0]} {quote(way[1])}",) if way is not None else (),
        )

    def selinux(self) -> Remedy:
        """Containers may not use devices."""
        return Remedy(
            "Let containers use devices.", (f"{self.platform.sudo_prefix}setsebool -P container_use_devices on",)
        )


def _ssh_words(target: str) -> str:
    """Return `user@host:port` as ssh's arguments; an IPv6 address loses its brackets."""
    place, colon, port = target.rpartition(":")
    if colon and re.fullmatch("[0-9]+", port) and (":" not in place or place.endswith("]")):
        return f"-p {port} {_ssh_words(place)}"
    return quote(re.sub(r"(^|@)\[([^][]*)\]$", r"\1\2", target))
