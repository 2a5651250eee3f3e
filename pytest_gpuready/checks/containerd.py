"""containerd the program: there, running, the right one, and its client offers what is asked of it.

Its configuration is judged in `containerd_files` and `containerd_handlers`; `containerd_advice` only warns.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.messages import Message
from pytest_gpuready.model import (
    Answer,
    Consequence,
    Denied,
    Evidence,
    NotApplicable,
    Outcome,
    Undetermined,
    failed,
    not_applicable,
    passed,
    undetermined,
    unknown,
)
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.trust import FOREIGN_NAMESPACE
from pytest_gpuready.routes import ROUTES, offer
from pytest_gpuready.views.daemons import why_silent
from pytest_gpuready.views.platform import Platform as PlatformView

if TYPE_CHECKING:
    from pytest_gpuready.model import Missing
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.ctr import Ctr
    from pytest_gpuready.views.daemons import Daemon
    from pytest_gpuready.views.platform import Platform

#: The routes whose client talks to a daemon by itself, and those that go through the kubelet's.
CLIENT_ROUTES: tuple[str, ...] = ("ctr-gpus", "ctr-runtime", "ctr-cdi", "nerdctl")

#: Engines that are not judged, by their process.
ENGINES = {"crio": "CRI-O", "dockerd": "Docker's engine", "cri-dockerd": "Docker's engine (cri-dockerd)"}

MESSAGES: tuple[Message, ...] = (
    Message("ctr: command not found", "containerd.ctr"),
    Message(
        'ctr: exec: "containerd": executable file not found in $PATH',
        "containerd.ctr",
        "ctr run --gpus up to 2.2 runs containerd as a hook",
    ),
    Message(
        'ctr: failed to dial "/run/containerd/containerd.sock": connection error: dial unix '
        "/run/containerd/containerd.sock: connect: no such file or directory",
        "containerd.running",
    ),
    Message("dial unix /run/containerd/containerd.sock: connect: connection refused", "containerd.running"),
    Message(
        "dial unix /run/containerd/containerd.sock: connect: permission denied",
        "node.privileges",
        "ctr and crictl need root; so do most checks",
    ),
    Message(
        "ctr: error stating device path: stat nvidia.com/gpu=all: no such file or directory",
        "containerd.supports-route",
        "ctr below 2.0 takes a CDI device for a path",
    ),
    Message(
        'no runtime for "nvidia" is configured',
        "containerd.handler",
        "the handler is missing on disk; where it is there, containerd.restarted",
    ),
    Message('no runtime for "nvidia" is configured', "containerd.restarted", "the handler is on disk, and not loaded"),
    Message(
        "rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService", "containerd.cri-enabled"
    ),
    Message(
        "invalid plugin config: no corresponding runtime configured in `containerd.runtimes` for `containerd` "
        '`default_runtime_name = "runc"',
        "containerd.cri-enabled",
        "1.x forgets its own runc where a file names only nvidia",
    ),
    Message("containerd: failed to load TOML: …: duplicated tables", "containerd.config-loads", "1.x"),
    Message("failed to unmarshal TOML at row 6 column 2: toml: table nvidia already exists", "containerd.config-loads"),
    Message('invalid disabled plugin URI "cri" expect io.containerd.x.vx', "containerd.config-loads"),
    Message("unsupported config version `3`", "containerd.config-loads", "a file of containerd 2.x, read by 1.x"),
    Message("containerd: drop-in config version 4 higher than root config version 2", "containerd.config-loads", "2.3"),
    Message(
        "OCI runtime create failed: … fork/exec /usr/bin/nvidia-container-runtime: no such file or directory",
        "containerd.handler-binary",
    ),
    Message(
        "containerd config version `3` is not supported, the max version is `2`, use `containerd config default` to "
        "generate a new config or manually revert to version `2`",
        "containerd.config-loads",
        "1.6.32, 1.7.17 and later",
    ),
    Message(
        "containerd: failed to load TOML: …: no such file or directory", "containerd.config-loads", "a missing import"
    ),
    Message(
        "invalid plugin config: no corresponding runtime configured in `containerd.runtimes` for `containerd` "
        '`default_runtime_name = "…"',
        "containerd.cri-enabled",
        "default_runtime_name points to a handler that is not there",
    ),
    Message(
        "Ignoring unknown key in TOML for plugin",
        "containerd.handler",
        "containerd 2.x, in its log: the table of another version of the configuration",
    ),
    Message(
        "invalid runtime name nvidia, correct runtime name should be either format like `io.containerd.runc.v2` or a "
        "full path to the binary",
        "containerd.handler",
        "ctr and nerdctl know no handlers: --runc-binary nvidia-container-runtime",
    ),
    Message(
        "unknown or invalid runtime name: nvidia", "containerd.handler", "Docker's words: nvidia-ctk --runtime=docker"
    ),
    Message("fork/exec /usr/bin/nvidia-container-runtime: exec format error", "containerd.handler-binary"),
    Message("fork/exec …/nvidia-container-runtime: permission denied", "containerd.handler-binary", "mode or noexec"),
    Message(
        'runtime "io.containerd.runtime.v1.linux" binary not installed "containerd-shim-v1-linux": file does not exist',
        "containerd.handler-runtime-type",
        "containerd 2.x",
    ),
    Message("Incompatible strategy detected auto", "containerd.default-runtime", "in the device plugin's log"),
    Message(
        "could not load NVML library: libnvidia-ml.so.1: cannot open shared object file: No such file or directory",
        "containerd.default-runtime",
        "in the device plugin's log: its pod runs on plain runc",
    ),
    Message('exec: "runc": executable file not found in $PATH', "containerd.runc"),
    Message(
        'runtime "io.containerd.runc.v2" binary not installed "containerd-shim-runc-v2": file does not exist',
        "containerd.runc",
        "the shim is gone",
    ),
    Message("container.Runtime.Name must be set: invalid argument", "containerd.handler-runtime-type"),
    Message(
        'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/…"',
        "containerd.handler-cgroups",
    ),
    Message(
        'exec: "nvidia-smi": executable file not found in $PATH',
        "containerd.default-runtime",
        "in a pod without runtimeClassName: it ran on plain runc",
    ),
)


@check("containerd.installed", title="containerd is on the node")
def installed(platform: Platform, containerd_live: ContainerdLive, mend: Remedies) -> Outcome:
    """A containerd is on the node: on PATH, or running from wherever a Kubernetes distribution keeps it.

    What: the program `containerd` on PATH or in a known folder, or a running process of that name.
    Why: every route ends in it. A node that runs CRI-O or Docker's engine alone is not judged by this suite.
    Fix: install the distribution's containerd, or Docker's containerd.io.
    References: containerd docs/getting-started.md.
    """
    path = platform.program("containerd")
    if path is not None:
        return passed(f"{path} {version(containerd_live)}".rstrip())
    with contextlib.suppress(Denied):
        for daemon in containerd_live.daemons:
            return passed(f"pid {daemon.process.pid} runs {daemon.process.exe or 'from a place that it does not show'}")
    other = platform.anywhere("containerd")
    if other:
        return passed(f"{other}, which is not on PATH")
    found = other_engines(platform)
    runs = f": this node runs {' and '.join(found)}, and this suite judges containerd" if found else ""
    return failed(
        f"no containerd on PATH, and none runs{runs}",
        expected="containerd on PATH or running",
        remedy=mend.containerd.other_engine(found) if found else mend.containerd.install(),
    )


def other_engines(platform: Platform) -> list[str]:
    """The container engines that run here and are not judged, by the names people know."""
    return sorted({ENGINES[process.comm] for process in platform.processes if process.comm in ENGINES})


def version(live: ContainerdLive) -> str:
    """The version of the containerd on disk, "" where it cannot be had."""
    with contextlib.suppress(Undetermined, Denied):
        return live.disk_version_text
    return ""


@check("containerd.running", title="containerd runs and answers", needs=["containerd.installed"])
def running(
    platform: Platform, containerd_live: ContainerdLive, containerd_config: ContainerdConfig, mend: Remedies
) -> Answer:
    """The containerd that is judged runs, and answers at its socket.

    What: a process, and an answer of its version service at the socket; for ctr and nerdctl of the daemon at the usual
    socket, for pods of the one that the kubelet uses. Where it is down because its configuration does not load,
    `containerd.config-loads` is the root and this check is blocked by it.
    Why: without it no container starts: "connect: no such file or directory" or "connection refused" at the socket.
    Fix: start its service, and enable it so that it comes back after a reboot.
    References: containerd.service of the release; systemctl(1).
    """
    also = platform.not_followed("containerd")
    if containerd_live.selected is None and any(
        process.comm == "containerd" and process.refused == FOREIGN_NAMESPACE for process in platform.refused_processes
    ):
        # It may be the node's own, and nothing that it names is followed.
        return unknown(also, expected=f"a containerd that can be followed answers at {containerd_live.socket}")
    answer = _running(containerd_live, containerd_config, mend)
    if not also:
        return answer
    if isinstance(answer, Outcome):
        return answer.but(found=f"{answer.found}; {also}")
    return {route: outcome.but(found=f"{outcome.found}; {also}") for route, outcome in answer.items()}


def _running(live: ContainerdLive, containerd_config: ContainerdConfig, mend: Remedies) -> Answer:
    if live.selected is None:
        if live.for_clients is not None:
            # The kubelet's is another: containerd.selected keeps the CRI routes from being ready.
            return dict.fromkeys(CLIENT_ROUTES, _answers(live, live.for_clients, mend))
        if live.daemons:
            raise Consequence("containerd.selected")
        with contextlib.suppress(Undetermined, Denied):
            if not containerd_config.loaded.loads and not containerd_config.undecided:
                raise Consequence("containerd.config-loads")
        return _down(live, mend)
    judged = _answers(live, live.selected, mend)
    if live.for_clients is None or live.for_clients is live.selected:
        return judged
    return {**dict.fromkeys(ROUTES, judged), **dict.fromkeys(CLIENT_ROUTES, _answers(live, live.for_clients, mend))}


def _down(live: ContainerdLive, mend: Remedies) -> Outcome:
    """No process is there."""
    unit = live.unit
    state = f": {unit.id} is {'masked' if unit.masked else unit.active}" if unit else ""
    foreign = live.every_daemon  # were one of them not, it would be judged
    others = f" (pid {foreign[0].process.pid} is Docker's own or a user's)" if foreign else ""
    evidence = (
        [Evidence(f"systemctl show {unit.id}", f"{unit.active} ({unit.sub}), result {unit.result}")] if unit else []
    )
    evidence += [Evidence(f"journalctl -u {live.service}", line) for line in live.last_words]
    evidence += sandboxed(live)
    kept = ", ".join(f"{key}={value}" for key, value in live.sandbox.items())
    return failed(
        f"no containerd runs{others}{state}{f', and its unit has {one_line(kept, 200)}' if kept else ''}",
        expected=f"containerd runs and answers at {live.socket}",
        evidence=tuple(evidence),
        remedy=mend.containerd.start(),
    )


def sandboxed(live: ContainerdLive) -> tuple[Evidence, ...]:
    """What systemd keeps from the daemon, in its own words."""
    lines = "\n".join(f"{key}={value}" for key, value in live.sandbox.items())
    return (Evidence(f"systemctl show {live.service}", lines),) if lines else ()


def _answers(live: ContainerdLive, daemon: Daemon, mend: Remedies) -> Outcome:
    """Whether a daemon that runs answers."""
    name, judged = f"pid {daemon.process.pid}", daemon is live.selected
    socket = live.socket if judged else daemon.socket
    answer = live.answer_at(socket)
    if answer.state == "denied":
        raise Denied(socket)
    if answer.state == "answered":
        told = f"containerd {answer.version.version}" if answer.version else "containerd"
        return passed(f"{told}, {name}, answers at {socket}")
    why = one_line(why_silent(answer, socket), 300)
    if answer.state == "no-tool":
        return passed(f"{name} runs (it was not asked: {why})")
    remedy = mend.containerd.restart()
    if answer.state in ("timeout", "broken"):
        missing: Missing | None = "timeout" if answer.state == "timeout" else None
        expected = f"containerd answers at {socket}"
        return unknown(f"{name} runs, but {why}", expected=expected, remedy=remedy, missing=missing)
    return failed(f"{name} runs, but {why}", expected=f"containerd answers at {socket}", remedy=remedy)


@check("containerd.selected", title="It is clear which containerd is judged")
def selected(containerd_live: ContainerdLive, mend: Remedies) -> Answer:
    """One daemon is meant, and it is the one that the kubelet uses.

    What: the daemon at the socket that `--gpuready-containerd` or the kubelet names, else the one at the usual socket.
    Why: a node can have several (Docker's, k3s', the distribution's). Configuring one while the kubelet uses another
    changes nothing for pods.
    Fix: point the kubelet at the daemon that is meant, or name the daemon with --gpuready-containerd.
    References: nvidia-container-toolkit issue 982.
    """
    live = containerd_live
    mine = live.views.settings.socket
    asked = mine or live.kubelet_socket
    judged = live.selected
    others = [daemon for daemon in live.every_daemon if judged is None or daemon.process.pid != judged.process.pid]
    also = ", ".join(f"pid {daemon.process.pid} at {daemon.socket}" for daemon in others[:5])
    if judged is None:
        if not live.daemons:
            return not_applicable("no containerd runs, so there is none to choose")
        if asked is not None and (refused := live.refusal_at(asked)):
            return unknown(
                f"{asked} was refused: {refused}",
                expected="a socket that root alone decides about",
                remedy=mend.node.trust(refused),
            )
        who = "--gpuready-containerd names" if mine else "the kubelet uses"
        engines = other_engines(live.views.get(PlatformView))
        meant = f"; {' and '.join(engines)} runs here, which this suite does not judge" if engines else ""
        outcome = failed(
            f"{who} {asked}, and no containerd runs there (running: {also}){meant}",
            expected="a containerd at the socket that is used",
            remedy=mend.containerd.select(),
        )
        if live.for_clients is None:
            return outcome
        clients = passed(f"ctr and nerdctl talk to pid {live.for_clients.process.pid} at {live.for_clients.socket}")
        return {route: clients if route in CLIENT_ROUTES else outcome for route in ROUTES}
    how = "the one at the usual socket" if others else "the only one"
    if asked:
        how = "named by --gpuready-containerd" if mine else "the kubelet's"
    rest = f"; also running: {also}" if others else ""
    return passed(f"{live.flavour.name}, pid {judged.process.pid} at {live.socket}: {how}{rest}")


@check("containerd.ctr", title="ctr is on PATH", needs=["containerd.installed"])
def ctr_on_path(ctr: Ctr, mend: Remedies) -> Answer:
    """`ctr` is found by its name; for `ctr run --gpus` up to 2.2 (and nerdctl below 2.3) `containerd` is, too.

    What: the folders of the login's PATH and the standard ones.
    Why: up to ctr 2.2 the client writes an OCI hook that runs `containerd oci-hook`, and looks both up on its own PATH:
    `exec: "containerd": executable file not found in $PATH`.
    Fix: extend PATH by the folder of an embedded containerd, or install containerd.
    References: ctd v2.2.7:contrib/nvidia/nvidia.go:33; v2.3.4:cmd/ctr/commands/run/run_unix.go:378.
    """
    answers: dict[str, Outcome] = {}
    for route in ("ctr-gpus", "ctr-runtime", "ctr-cdi"):
        if ctr.path is None:
            found = f"ctr is not on PATH, but at {ctr.elsewhere}" if ctr.elsewhere else "ctr is not on PATH"
            answers[route] = failed(found, expected="ctr on PATH", remedy=mend.containerd.on_path("ctr"))
        else:
            answers[route] = passed(f"{ctr.path} {_told(ctr)}".rstrip())
    if ctr.containerd_on_path is None:
        missing = failed(
            "the program containerd is not on PATH, and this client runs it as a hook",
            expected="containerd on PATH",
            remedy=mend.containerd.on_path("containerd"),
        )
        # Where a version cannot be told, containerd.supports-route is unknown; a nerdctl that is not there tells none.
        with contextlib.suppress(Undetermined):
            if ctr.path is not None and not ctr.gpus_by_cdi:
                answers["ctr-gpus"] = missing
        with contextlib.suppress(Undetermined):
            if not ctr.nerdctl_gpus_by_cdi:
                answers["nerdctl"] = missing
    return answers


def _told(ctr: Ctr) -> str:
    with contextlib.suppress(Undetermined, Denied):
        return ctr.version_text
    return ""


@check("containerd.supports-route", title="These versions offer the route")
def supports_route(containerd_live: ContainerdLive, ctr: Ctr, mend: Remedies) -> Answer:
    """The versions on the node offer the way in which the container is to get its GPU.

    What: `ctr run --device vendor/class=name` needs ctr 2.0, CDI in pods needs containerd 1.7, nerdctl must be there.
    What `--gpus` needs depends on the client's version, so that must be known.
    Why: an older ctr takes a CDI name for a path: `error stating device path: stat nvidia.com/gpu=all`.
    Fix: use another route, or upgrade containerd.
    References: containerd commit d3887b2e6 (2.0.0); ctd v1.7.34:pkg/cri/config/config_unix.go:108.
    """
    answers: dict[str, Outcome] = {}
    for route in ROUTES:
        if route.startswith("ctr-") and ctr.path is None:
            continue  # containerd.ctr says so
        try:
            why = offer(containerd_live.views, route)
        except Undetermined as error:
            answers[route] = undetermined(error, expected=f"a version that offers {route}")
            continue
        except NotApplicable:
            continue
        answers[route] = (
            passed("offered")
            if why is None
            else failed(why, expected=f"a version that offers {route}", remedy=mend.containerd.other_route(route))
        )
    return answers


from pytest_gpuready.checks import containerd_advice, containerd_files, containerd_handlers, containerd_runc  # noqa: E402, F401 - the rest
