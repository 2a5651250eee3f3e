"""What only warns: deprecated settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.model import Outcome, passed, warned

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive


@check(
    "containerd.deprecations",
    title="The configuration uses nothing that is deprecated",
    advisory=True,
    needs=["containerd.config-loads"],
)
def deprecations(containerd_config: ContainerdConfig, containerd_live: ContainerdLive, mend: Remedies) -> Outcome:
    """Nothing in the configuration is on its way out.

    What: the daemon's own list of deprecations, else what its release would list for these files.
    Why: the next upgrade may drop it silently, or refuse to start.
    Fix: as each warning says; `containerd config migrate` prints the files in the newest form.
    References: containerd RELEASES.md, "Deprecated features".
    """
    answer = containerd_live.answer_if_any
    said = [message or key for key, message in answer.server.deprecations] if answer and answer.server else []
    listed = said or [f"{item.id} at {item.where}" for item in containerd_config.loaded.deprecations]
    if not listed:
        return passed("none is known")
    return warned("; ".join(listed[:5]), expected="no deprecated setting", remedy=mend.containerd.migrate())
