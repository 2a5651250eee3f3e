"""What people see when something is broken, and the check that finds its cause.

Each family's module may have a table `MESSAGES`; the page symptom → root → remedy is made of all of them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """An error as people see it, and the id of the check that finds its cause; `note` says when it is that one."""

    text: str
    check: str
    note: str = ""


def messages() -> tuple[Message, ...]:
    """The messages of all families, in their order."""
    from pytest_gpuready.checks.catalogue import FAMILIES  # noqa: PLC0415 - families import this module

    modules = [importlib.import_module(f"pytest_gpuready.checks.{family}") for family in FAMILIES]
    return tuple(message for module in modules for message in getattr(module, "MESSAGES", ()))
