"""One answer per route of nvidia-container-runtime, for the toolkit's checks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.model import Answer, Denied, NotApplicable, Outcome, Undetermined, undetermined
from pytest_gpuready.views.toolkit import RUNTIME_ROUTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.views.handler_binary import HandlerBinary


def by_route(judge: Callable[[str], Outcome], routes: tuple[str, ...] = RUNTIME_ROUTES) -> Answer:
    """The answer for each route; one answer where all are the same."""
    answers = {route: _answer(judge, route) for route in routes}
    outcomes = list(answers.values())
    return outcomes[0] if all(outcome == outcomes[0] for outcome in outcomes) else answers


def handlers_trouble(handler_binary: HandlerBinary) -> bool:
    """The handler names a program that the daemon cannot execute, which containerd.handler-binary finds."""
    with contextlib.suppress(Undetermined, Denied, NotApplicable):
        return handler_binary.trouble is not None
    return False


def _answer(judge: Callable[[str], Outcome], route: str) -> Outcome:
    try:
        return judge(route)
    except Undetermined as error:
        return undetermined(error)
