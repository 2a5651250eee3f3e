"""What the views' scripts find in their environment when a test runs them alone."""

from __future__ import annotations

import pytest

from pytest_gpuready.node import trust


@pytest.fixture(autouse=True)
def _trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give scripts the functions that a round's preamble exports."""
    monkeypatch.setenv("GPUREADY_TRUST", trust.SHELL)
