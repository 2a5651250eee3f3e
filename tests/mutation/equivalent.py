"""Mutants that are the same program, and why each is."""

from __future__ import annotations

import re

#: What a mutant's words match, and why nothing can notice it.
EQUIVALENT: tuple[tuple[str, str], ...] = ()


def reason(mutant: str) -> str | None:
    """Why this one is the same program, None if it is not known to be."""
    return next((why for pattern, why in EQUIVALENT if re.search(pattern, mutant)), None)
