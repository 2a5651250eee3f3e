"""What a check is given is typed: a misspelt view or remedy is found by mypy, and when it is asked for."""

from __future__ import annotations

import pytest

from pytest_gpuready.node.facts import Facts
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views import VIEWS, Views


def test_mypy_finds_a_misspelt_view_and_attribute() -> None:
    """Mypy reports a superfluous `type: ignore`: these lines are errors that it finds."""
    views = Views(Facts("n"))
    with pytest.raises(AttributeError):
        _ = views.contanerd_live  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = views.ctr.versoin  # type: ignore[attr-defined]


def test_mypy_finds_a_misspelt_family_and_remedy() -> None:
    mend = Remedies(Views(Facts("n")))
    with pytest.raises(AttributeError):
        _ = mend.contanerd  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        mend.live.pul()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_made_once_by_its_name(name: str) -> None:
    views = Views(Facts("n"))
    assert views.named(name) is getattr(views, name)
    assert type(views.named(name)).__name__.lower() == name.replace("_", "")


def test_a_family_of_remedies_is_made_once() -> None:
    mend = Remedies(Views(Facts("n")))
    assert mend.gpus is mend.gpus
