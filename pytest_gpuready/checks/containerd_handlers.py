"""The runtime handlers in containerd's configuration: there, the default, and one that can be started."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.containerd import version
from pytest_gpuready.model import Evidence, Outcome, Undetermined, Where, failed, passed
from pytest_gpuready.views.flavours import DEFAULT_CONFIG
from pytest_gpuready.views.handlers import RUNTIME_NAME

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.handler_binary import HandlerBinary
    from pytest_gpuready.views.handlers import Handler


@check(
    "containerd.handler",
    title="A runtime handler starts NVIDIA's runtime",
    needs=["containerd.config-loads", "containerd.cri-enabled"],
)
def handler(containerd_config: ContainerdConfig, containerd_live: ContainerdLive, mend: Remedies) -> Outcome:
    """On disk, as this containerd reads it, the judged handler's BinaryName is nvidia-container-runtime.

    What: the effective table of handlers after imports, merging and migration; the handler that --gpuready-handler or
    the RuntimeClass names, else `nvidia`, else the only one that runs NVIDIA's runtime.
    Why: without it pods with the RuntimeClass end in `no runtime for "nvidia" is configured`. A table of the wrong
    version, a drop-in that nothing imports, or a misspelt option is there to see and has no effect.
    Fix: register the handler in the file and table that this containerd reads, then restart it.
    References: ctd v1.7.34:pkg/cri/server/sandbox_run.go:766; v2.3.4:internal/cri/server/sandbox_run.go:119;
    gpu-operator issues 413, 432.
    """
    config, name = containerd_config, containerd_config.handler_name
    found = config.handler
    if found is not None and found.is_nvidia:
        return passed(f"handler {name} runs {found.binary_name}", where=found.place)
    dead = config.without_effect(name)
    where = Where(dead[0].where.path, dead[0].where.line) if dead else Where(config.path)
    if found is not None:
        if found.options_error:
            text = f"handler {name} has options that cannot be decoded: {found.options_error}"
        elif found.binary_name:
            text = f"handler {name} runs {found.binary_name}"
        else:
            text = f"handler {name} names no BinaryName, so it runs runc"
        where = found.place or where
    else:
        reads = f"containerd {version(containerd_live)}".rstrip()
        text = f"{reads} would load no handler {name} (handlers: {', '.join(config.handlers)})"
        others = [other.name for other in config.nvidia_handlers]
        if dead:
            text += f"; {dead[0].key} has no effect: {dead[0].why}"
            if dead[0].key == dead[0].where.path and config.path != DEFAULT_CONFIG:
                text += f" (this daemon reads {config.path})"
        elif others:
            text += f"; {' and '.join(others)} run NVIDIA's runtime: name one with --gpuready-handler"
    lost = [Evidence(str(item.where), f"{item.key}: {item.why}") for item in dead[:3]]
    return failed(
        text,
        expected=f"a handler {name} whose BinaryName is {RUNTIME_NAME}",
        where=where,
        evidence=(*lost, *config.excerpt(where)),
        remedy=mend.containerd.handler(),
    )


@check("containerd.default-runtime", title="The default handler starts NVIDIA's runtime", needs=["containerd.handler"])
def default_runtime(containerd_config: ContainerdConfig, mend: Remedies) -> Outcome:
    """Pods without runtimeClassName go through NVIDIA's runtime.

    What: default_runtime_name, and what that handler runs.
    Why: otherwise such pods run on runc: no error, no GPU. The device plugin then logs `Incompatible strategy
    detected auto`.
    Fix: make it the default, or give pods the RuntimeClass.
    References: k8s-device-plugin issues 444, 478, 1134.
    """
    found, name = _there(containerd_config.default_handler), containerd_config.default_runtime
    where = containerd_config.default_where
    if found.is_nvidia:
        return passed(f"default_runtime_name is {name}, which runs {found.binary_name}", where=where)
    return failed(
        f"the default handler is {name}, which runs {found.binary_name or 'runc'}",
        expected=f"default_runtime_name names a handler that runs {RUNTIME_NAME}",
        where=where or Where(containerd_config.path),
        evidence=containerd_config.excerpt(where),
        remedy=mend.containerd.default_runtime(),
    )


@check(
    "containerd.handler-binary",
    title="The daemon can execute the handler's program",
    needs=["containerd.handler", "containerd.running", "toolkit.installed"],
)
def handler_binary(containerd_config: ContainerdConfig, handler_binary: HandlerBinary, mend: Remedies) -> Outcome:
    """The handler's BinaryName is there for the daemon: in its mount namespace and PATH, executable, of this machine.

    What: the file as the daemon sees it: its mode, its ELF machine, the mount it lies on.
    Why: `fork/exec /usr/bin/nvidia-container-runtime: no such file or directory` when a pod starts. It is looked up at
    every container, so once it is there no restart is needed.
    Fix: install the toolkit, or write the path where it lies.
    References: ctd v1.7.34:runtime/v2/runc/options/oci.proto (binary_name); messages as containerd 1.6 to 2.3 gives
    them.
    """
    trouble = handler_binary.trouble
    where = _there(containerd_config.handler).place
    if trouble is None:
        return passed(f"{handler_binary.path} is executable for the daemon", where=where)
    return failed(
        trouble.text,
        expected=f"the daemon can execute {handler_binary.name}",
        where=where,
        evidence=containerd_config.excerpt(where),
        remedy=mend.containerd.handler_binary(),
    )


@check(
    "containerd.handler-runtime-type",
    title="The handler's runtime_type is one containerd has",
    needs=["containerd.handler"],
)
def handler_runtime_type(
    containerd_config: ContainerdConfig, containerd_live: ContainerdLive, mend: Remedies
) -> Outcome:
    """The handler has a runtime_type, and this containerd has a shim for it.

    What: `io.containerd.runc.v2`; on 1.x `io.containerd.runc.v1` too (`io.containerd.runtime.v1.linux` starts nothing
    on cgroup v2: ctd v1.6.20:runtime/v1/linux/task.go).
    Why: without one pods end in `container.Runtime.Name must be set: invalid argument`.
    Fix: set runtime_type = "io.containerd.runc.v2" in the handler's table, restart.
    References: ctd v2.3.4:core/metadata/containers.go:342; nvidia-container-toolkit issue 1956.
    """
    found = _there(containerd_config.handler)
    good = {"io.containerd.runc.v2"}
    with contextlib.suppress(Undetermined):
        if containerd_live.disk_version < (2, 0):
            good |= {"io.containerd.runc.v1"}
    where = found.type_where or found.where
    if found.runtime_type in good:
        return passed(f"runtime_type is {found.runtime_type}", where=where)
    return failed(
        f"runtime_type is {found.runtime_type}" if found.runtime_type else f"handler {found.name} has no runtime_type",
        expected='runtime_type = "io.containerd.runc.v2"',
        where=where,
        evidence=containerd_config.excerpt(where),
        remedy=mend.containerd.runtime_type(),
    )


@check(
    "containerd.handler-cgroups",
    title="The handler's cgroup driver is runc's and the kubelet's",
    needs=["containerd.handler"],
)
def handler_cgroups(containerd_config: ContainerdConfig, mend: Remedies) -> Outcome:
    """SystemdCgroup of the NVIDIA handler agrees with runc's and with the kubelet's cgroupDriver.

    What: each handler's own option; the kubelet's configuration where there is one.
    Why: `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/…"`.
    Fix: set SystemdCgroup alike in every handler, in the file that has the last word.
    References: libnvidia-container issue 119; nvidia-docker issue 1788.
    """
    found = _there(containerd_config.handler)
    mine = bool(found.systemd_cgroup)
    where = found.cgroup_where or found.where
    others = containerd_config.cgroup_drivers
    wrong = {who: value for who, value in others.items() if value != mine}
    if wrong:
        said = ", ".join(f"{who} {'systemd' if value else 'cgroupfs'}" for who, value in wrong.items())
        text = f"handler {found.name} has SystemdCgroup = {str(mine).lower()}, {said}"
        expected = "one cgroup driver for all"
    else:
        alike = f", as {', '.join(who.rpartition(' ')[0] for who in others)}" if others else ""
        return passed(f"SystemdCgroup = {str(mine).lower()}{alike}", where=where)
    return failed(
        text,
        expected=expected,
        where=where,
        evidence=containerd_config.excerpt(where),
        remedy=mend.containerd.cgroups(),
    )


def _there(found: Handler | None) -> Handler:
    if found is None:
        raise Undetermined("the handler is not known")
    return found
