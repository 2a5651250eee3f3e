"""What starts every container in the end: runc, or what stands in its place."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.model import (
    Answer,
    Consequence,
    Denied,
    Evidence,
    NotApplicable,
    Outcome,
    Undetermined,
    Where,
    failed,
    passed,
)
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views.starters import SHIM
from pytest_gpuready.views.toolkit import RUNTIME_ROUTES

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.toolkit import Toolkit


@check("containerd.runc", title="containerd finds runc and its shim", needs=["containerd.running"])
def runc(
    toolkit: Toolkit, containerd_live: ContainerdLive, containerd_config: ContainerdConfig, mend: Remedies
) -> Answer:
    """The low-level runtime that starts the containers is on the daemon's PATH and runs; so is containerd's shim.

    What: containerd-shim-runc-v2 on the running daemon's PATH or beside its program; `runc` in the folders of that
    PATH, and what it says to `--version`. Routes through nvidia-container-runtime are content with
    whichever low-level runtime that finds; pods with CDI with what the default handler names.
    Why: containerd's shim looks it up at each container: without it no container starts, with a GPU or without, and the
    message is `exec: "runc": executable file not found in $PATH`.
    Fix: install runc, or the package of containerd that brings one.
    References: ctd v1.7.34:vendor/github.com/containerd/go-runc/runc.go (DefaultCommand); v2.2.7:docs/
    getting-started.md.
    """
    starters = containerd_live.starters
    if starters is not None and not starters.shim:
        return failed(
            f"{SHIM} is not in {containerd_live.daemon_path}, nor beside containerd",
            expected=f"{SHIM}, which starts every container",
            evidence=(Evidence("PATH of the daemon", containerd_live.daemon_path),),
            remedy=mend.containerd.again(SHIM),
        )
    if starters is not None and starters.broken:
        command = f"{starters.runc} --version"
        last = next((line for line in reversed(starters.said.splitlines()) if line.strip()), "it says nothing")
        return failed(
            f"{command} ends with {starters.rc}: {one_line(last, 200)}",
            expected="a runc that runs",
            where=Where(starters.runc),
            evidence=(Evidence(command, starters.said),),
            remedy=mend.toolkit.runc(broken=True),
        )
    folders = [folder for folder in containerd_live.daemon_path.split(":") if folder.startswith("/")]
    path = toolkit.locate("runc", folders)
    plain = (
        passed(path)
        if path is not None
        else failed(
            f"runc is not in {', '.join(folders)}",
            expected="runc on the daemon's PATH",
            evidence=(Evidence("PATH of the daemon", containerd_live.daemon_path),),
            remedy=mend.toolkit.runc(),
        )
    )
    answers = {route: _answer(route, plain, toolkit, containerd_config) for route in ROUTES}
    nobody = plain.status == "fail" and all(answer is plain for answer in answers.values())
    if nobody and not toolkit.elsewhere("runc") and toolkit.runtime_path and not _low_level(toolkit):
        raise Consequence("toolkit.low-level-runtime")  # the same, found by NVIDIA's runtime too
    return {route: answer for route, answer in answers.items() if answer is not None}


def _low_level(toolkit: Toolkit) -> str | None:
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        return toolkit.low_level("cri-handler")
    return "not known"


def _answer(route: str, plain: Outcome, toolkit: Toolkit, config: ContainerdConfig) -> Outcome | None:
    if plain.status == "pass":
        return plain
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        if route in RUNTIME_ROUTES:
            found = toolkit.low_level(route)
            if found is not None:
                return passed(f"nvidia-container-runtime starts {found}")
            if toolkit.elsewhere("runc"):
                return None  # toolkit.low-level-runtime says what to write where
        default = config.default_handler if route == "cri-cdi" else None
        if default is not None and default.binary_name and not default.is_nvidia:
            return passed(f"the default handler {default.name} starts {default.binary_name}")
    return plain
