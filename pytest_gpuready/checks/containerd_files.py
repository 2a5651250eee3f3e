"""containerd's configuration on disk: it loads, CRI is on, and the running daemon has it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.containerd import sandboxed
from pytest_gpuready.model import (
    Consequence,
    Denied,
    Evidence,
    Outcome,
    Undetermined,
    Where,
    failed,
    passed,
    unknown,
)
from pytest_gpuready.views.containerd_config import utc
from pytest_gpuready.views.handlers import is_nvidia

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive

#: Oldest containerd that is modelled.
OLDEST = (1, 6)


@check("containerd.config-loads", title="containerd starts with the files on disk", needs=["containerd.installed"])
def config_loads(containerd_config: ContainerdConfig, containerd_live: ContainerdLive, mend: Remedies) -> Outcome:
    """The configuration on disk is one that this containerd starts with: syntax, imports, versions.

    What: the main file and everything it imports, read by the rules of this release.
    Why: a daemon that runs may have been started before the mistake was made; it will not come back after a restart.
    Fix: mend the line that is named.
    References: ctd v1.7.34:services/server/config/config.go:99,197; v2.2.7:cmd/containerd/server/config/config.go:289.
    """
    with contextlib.suppress(Undetermined):
        if containerd_live.disk_version < OLDEST:
            return unknown(
                f"containerd {containerd_live.disk_version_text} is older than 1.6: its configuration is not modelled",
                expected="containerd 1.6 or newer",
                remedy=mend.containerd.upgrade(),
            )
    config, loaded = containerd_config, containerd_config.loaded
    if config.undecided:
        why = ", ".join(config.undecided)
        told = "these files are beyond what is modelled" if loaded.undecided else "its version is not known"
        return unknown(f"{told}: {why} cannot be said", expected="containerd starts with the files on disk")
    if not loaded.loads:
        error = loaded.error
        where = Where(error.path, error.line) if error is not None and error.path else Where(config.path)
        return failed(
            error.text if error is not None else "containerd would not start",
            expected=f"containerd {loaded.version} starts with {config.path}",
            where=where,
            evidence=config.excerpt(where),
            remedy=mend.containerd.config_error(),
        )
    read = ", ".join(config.files) if config.exists else f"{config.path} is not there: built-in defaults"
    return passed(f"{read}{f' (read as {loaded.release} would)' if config.assumed else ''}")


@check("containerd.cri-enabled", title="The CRI plugin is on and would load", needs=["containerd.config-loads"])
def cri_enabled(containerd_config: ContainerdConfig, mend: Remedies) -> Outcome:
    """The CRI plugin is not disabled, and nothing in the configuration makes it fail.

    What: disabled_plugins, and what the plugin itself refuses, such as a default handler that is not defined.
    Why: the daemon runs on without it, and the kubelet sees `unknown service runtime.v1.RuntimeService`. Docker's
    containerd.io package ships a config.toml that disables CRI.
    Fix: take it out of disabled_plugins, or mend what the plugin refuses; then restart containerd.
    References: nvidia-container-toolkit issue 1430; ctd v1.7.34:pkg/cri/config/config.go:459.
    """
    loaded = containerd_config.loaded
    if loaded.cri_state == "serving":
        return passed("the CRI plugin is on")
    if loaded.cri_state == "not loaded":
        where = containerd_config.disabled_where
        return failed(
            "the CRI plugin is disabled (disabled_plugins)",
            expected="CRI is not among disabled_plugins",
            where=where,
            evidence=containerd_config.excerpt(where),
            remedy=mend.containerd.enable_cri(),
        )
    error = loaded.cri_error
    where = Where(error.path, error.line) if error is not None and error.path else Where(containerd_config.path)
    return failed(
        f"the CRI plugin would fail: {error.text if error is not None else 'no reason known'}",
        expected="the CRI plugin loads",
        where=where,
        evidence=containerd_config.excerpt(where),
        remedy=mend.containerd.cri_error(),
    )


@check(
    "containerd.restarted",
    title="The daemon has loaded what is on disk",
    needs=["containerd.running", "containerd.config-loads"],
)
def restarted(containerd_config: ContainerdConfig, containerd_live: ContainerdLive, mend: Remedies) -> Outcome:
    """The running daemon has what is on disk: handlers, default, CDI, CRI itself.

    What: the daemon's own CRI status against the files as it would read them now. Where it will not tell, time: files
    older than its start pass (and the finding says so), newer ones are unknown. CRI off in both is equal. After an
    upgrade the files are read as the new containerd reads them: a restart is needed only where that makes a difference.
    Why: containerd reads its configuration once; there is no reload, and SIGHUP ends it. What was edited since has no
    effect.
    Fix: restart its service; running containers survive that.
    References: ctd v2.2.7:cmd/containerd/command/main_unix.go:31 (signals); containerd.service: KillMode=process.
    """
    config, live = containerd_config, containerd_live
    if live.selected is None:
        raise Consequence("containerd.selected")  # where none runs at all, containerd.running is needed anyway
    if config.exists and live.hides(config.path):
        return failed(
            f"{config.path} is there, and not for pid {live.pid}: it lives in a mount namespace of its own",
            expected="the daemon sees the file that it is to read",
            where=Where(f"{live.root}{config.path}"),
            evidence=sandboxed(live),
            remedy=mend.containerd.unhide(config.path),
        )
    try:
        differences = config.differences()
    except Undetermined as error:
        return _by_time(config, live, error, mend)
    replaced = f" ({live.replaced})" if live.replaced else ""
    if not differences:
        return passed(f"pid {live.pid} serves what is on disk{replaced}")
    if _handler_was_lost(config, live):
        # On disk the handler is gone, live it is not: a restart would break what works.
        raise Consequence("containerd.handler")
    shown = "; ".join(str(item) for item in differences[:4])
    more = f"; and {len(differences) - 4} more" if len(differences) > 4 else ""
    return failed(
        f"{shown}{more}{replaced}",
        expected="the daemon serves what is on disk",
        where=next((item.where for item in differences if item.where), Where(config.path)),
        evidence=_times(config, live),
        remedy=mend.containerd.restart(),
    )


def _handler_was_lost(config: ContainerdConfig, live: ContainerdLive) -> bool:
    """The judged handler runs NVIDIA's runtime in the daemon, and not on disk: then that is what is wrong."""
    if config.loaded.cri_state != "serving":
        return False
    on_disk, loaded = config.handler, live.cri.handlers.get(config.handler_name)
    return not (on_disk is not None and on_disk.is_nvidia) and loaded is not None and is_nvidia(loaded.binary_name)


def _by_time(config: ContainerdConfig, live: ContainerdLive, error: Undetermined, mend: Remedies) -> Outcome:
    why = error.why
    changed, which = config.newest_change()
    expected = "the daemon was started after the last change"
    if live.started is None:
        return unknown(
            f"{why}; and when pid {live.pid} was started is not known",
            expected=expected,
            remedy=mend.containerd.restart(),
            missing=error.missing,
        )
    doubt = config.clock_doubt()
    if doubt:
        why = f"{doubt}, so times tell nothing; and {why}"
        return unknown(why, expected=expected, remedy=mend.containerd.restart(), missing=error.missing)
    if changed < live.started:
        return passed(f"by time: pid {live.pid} was started after the last change of {which} ({why})")
    return unknown(
        f"{which} was changed after pid {live.pid} was started, and {why}",
        expected=expected,
        where=Where(which),
        evidence=_times(config, live),
        remedy=mend.containerd.restart(),
        missing=error.missing,
    )


def _times(config: ContainerdConfig, live: ContainerdLive) -> tuple[Evidence, ...]:
    with contextlib.suppress(Undetermined, Denied):
        changed, which = config.newest_change()
        if live.started is not None and changed:
            text = f"pid {live.pid} started {utc(live.started)}\n{which} changed {utc(changed)}"
            return (Evidence("times", text),)
    return ()
