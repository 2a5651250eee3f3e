"""Faults as data: how each is caused on a node of the lab, and what the suite has to say of it.

One module per family holds a table ``FAULTS``; `ALL_FAULTS` is all of them. Rows of the catalogue of failures that a
node without a GPU cannot show are left to recorded facts (tests/checks).
"""

from __future__ import annotations

import importlib

from tests.lab.faults.model import GENERATIONS, ROUTES, Fault

__all__ = ["ALL_FAULTS", "GENERATIONS", "ROUTES", "Fault", "cases", "named"]

FAMILIES = (
    "node",
    "driver",
    "driver_libraries",
    "toolkit",
    "containerd",
    "containerd_files",
    "cdi",
    "kubernetes",
    "pairs",
)

ALL_FAULTS: tuple[Fault, ...] = tuple(
    fault for family in FAMILIES for fault in importlib.import_module(f"tests.lab.faults.{family}").FAULTS
)


def cases() -> list[tuple[Fault, str]]:
    """Each fault with each generation on which its path differs."""
    return [(fault, generation) for fault in ALL_FAULTS for generation in fault.generations]


def named(name: str) -> Fault:
    """The fault of this name."""
    return next(fault for fault in ALL_FAULTS if fault.name == name)
