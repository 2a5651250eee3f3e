"""A transport that answers with what a test says, and the output of a round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gpuready.node.transport import Reply

NONCE = "f" * 24


@dataclass
class Scripted:
    """A transport that answers with `replies`: it stands for a shell and cannot show that one works."""

    replies: list[Reply]
    nonce: str = NONCE
    greeted: bool = True
    complaint: str = ""
    sudo: bool = False
    by_rule: bool = False
    scripts: list[str] = field(default_factory=list)

    def send(self, script: str, deadline: float) -> Reply:
        assert deadline > 0
        self.scripts.append(script)
        return self.replies[min(len(self.scripts), len(self.replies)) - 1]

    def close(self) -> None:
        """Nothing to end."""


def framed(*answers: bytes, end: bool = True) -> bytes:
    """Return what a round prints: one file's bytes per answer."""
    frames = [
        f"\n{NONCE} {number} b\n".encode() + answer + f"\n{NONCE} {number} e ok\n".encode()
        for number, answer in enumerate(answers)
    ]
    return b"".join(frames) + (f"\n{NONCE} end\n".encode() if end else b"")
