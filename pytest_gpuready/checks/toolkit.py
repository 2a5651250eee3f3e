"""The NVIDIA Container Toolkit: there, of one piece, configured, and with everything that each route needs of it."""

from __future__ import annotations

import contextlib
import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.messages import Message
from pytest_gpuready.checks.toolkit_config import problems
from pytest_gpuready.checks.toolkit_routes import by_route, handlers_trouble
from pytest_gpuready.model import (
    Answer,
    Consequence,
    Evidence,
    Outcome,
    Remedy,
    Undetermined,
    Where,
    failed,
    not_applicable,
    passed,
    unknown,
)
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.quoting import quote
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views.containerd_live import ContainerdLive as ContainerdLiveView
from pytest_gpuready.views.toolkit import FAMILY, OPERATOR_ROOT, RUNTIME, RUNTIME_ROUTES, numbers

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.handler_binary import HandlerBinary
    from pytest_gpuready.views.platform import Platform
    from pytest_gpuready.views.toolkit import Said, Toolkit

#: How its answer to --version begins, since 1.10.
_OWN_WORDS = "NVIDIA Container Runtime version"

MESSAGES: tuple[Message, ...] = (
    Message("fork/exec /usr/bin/nvidia-container-runtime: no such file or directory", "toolkit.installed"),
    Message('exec: "nvidia-container-runtime": executable file not found in $PATH', "toolkit.installed"),
    Message(
        "error running hook #0: fork/exec /usr/bin/nvidia-container-runtime-hook: no such file or directory",
        "toolkit.hook",
        "legacy mode with only nvidia-container-toolkit-base installed",
    ),
    Message(
        'ctr: exec: "nvidia-container-cli": executable file not found in $PATH',
        "toolkit.container-cli",
        "ctr up to 2.2",
    ),
    Message(
        "OCI runtime create failed: unable to retrieve OCI runtime error (open …/log.json: no such file or directory): "
        "…nvidia-container-runtime did not terminate successfully: exit status 1",
        "toolkit.config-valid",
    ),
    Message(
        "nvidia-container-cli.ldconfig value \"/sbin/ldconfig\" is not host-relative (does not start with a '@')",
        "toolkit.config-valid",
    ),
    Message(
        "nvidia-container-cli: error while loading shared libraries: libnvidia-container.so.1: cannot open shared "
        "object file: No such file or directory",
        "toolkit.container-cli",
    ),
    Message(
        "nvidia-container-cli: container error: cgroup subsystem devices not found",
        "toolkit.versions-match",
        "an old libnvidia-container on cgroup v2",
    ),
    Message(
        "invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not "
        "supported.",
        "toolkit.config-valid",
        "the mode is not legacy",
    ),
    Message('invalid mode "…"', "toolkit.config-valid"),
    Message(
        "Failed to initialize NVML: Unknown Error",
        "toolkit.config-valid",
        "from the start, as root: no-cgroups = true left over",
    ),
    Message(
        "Failed to initialize NVML: Unknown Error",
        "toolkit.survives-daemon-reload",
        "in a container that worked: legacy mode and a systemd daemon-reload",
    ),
    Message(
        "bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted",
        "toolkit.config-valid",
        "in an unprivileged container (LXC): no-cgroups must be true",
    ),
    Message("no runtime binary found from candidate list: […]", "toolkit.low-level-runtime"),
    Message(
        "unsupported config version: 3", "toolkit.supports-containerd", "nvidia-ctk before 1.17.4 with containerd 2"
    ),
    Message("lstat /run/nvidia/driver/dev/nvidiactl: no such file or directory", "toolkit.config-valid"),
    Message("a container starts and has no GPU, without an error", "toolkit.config-valid", 'mode = "csv" on a PC'),
    Message(
        "change root failed: /run/nvidia/driver: no such file or directory",
        "toolkit.config-valid",
        "the driver container is gone",
    ),
)


@check("toolkit.installed", title="nvidia-container-runtime is on the node")
def installed(toolkit: Toolkit, platform: Platform, mend: Remedies) -> Outcome:
    """The OCI runtime that gives containers their GPU is on the node, wherever it lies.

    What: an executable nvidia-container-runtime on PATH, in the GPU operator's folder and the other known places, or
    where a runtime handler names it; with the package that owns it. nvidia-ctk's absence is no fault.
    Why: handlers name it as their BinaryName, and `ctr run --runc-binary` starts it. Without it every such container
    fails with `fork/exec …/nvidia-container-runtime: no such file or directory`.
    Fix: install nvidia-container-toolkit (its -base package has this program). No restart is needed: containerd's shim
    looks for it at each container start. k3s and RKE2 look for it when they start.
    References: docs.nvidia.com, Installing the NVIDIA Container Toolkit; toolkit packaging/debian/control;
    gpu-operator.
    """
    paths = toolkit.runtime_paths
    if paths:
        return passed("; ".join(f"{path}{_owned(toolkit, path)}" for path in paths))
    broken = next(iter(platform.programs.get(RUNTIME, [])), None)
    if broken is not None:
        mode = f"{platform.sudo_prefix}chmod 0755 {quote(broken.path)}"
        return failed(
            f"{broken.path} is there and not executable",
            expected=f"an executable {RUNTIME}",
            where=Where(broken.path),
            remedy=Remedy("Make it executable.", (mode,)),
        )
    parts = [str(package) for name, package in toolkit.packages.items() if name in FAMILY]
    there = f"; of its family there is only {', '.join(parts)}" if parts else ""
    return failed(
        f"{RUNTIME} is not on the node{there}",
        expected=f"{RUNTIME} on PATH, in {OPERATOR_ROOT}, or where a handler names it",
        remedy=mend.packages.program(RUNTIME),
    )


def _owned(toolkit: Toolkit, path: str) -> str:
    try:
        package = toolkit.owner(path)
    except Undetermined:
        return ""
    if package is not None:
        return f" (package {package})"
    if path.startswith(f"{OPERATOR_ROOT}/"):
        return " (the GPU operator's)"
    return " (of no package)" if toolkit.manager else ""


@check("toolkit.versions-match", title="The toolkit's parts are of one version")
def versions_match(toolkit: Toolkit, mend: Remedies) -> Outcome:
    """The packages of the family are of one version; so are programs that no package owns.

    What: nvidia-container-toolkit, -base, libnvidia-container-tools and libnvidia-container1 as the package manager has
    them; for a toolkit that no package owns, what its programs say to `--version`, libnvidia-container included.
    Why: they are released and tested together (since 1.6; exact dependencies since 1.18). An old libnvidia-container
    with a new hook fails on options it does not know, and keeps faults that the new version no longer has.
    Fix: bring all of them to one version.
    References: toolkit packaging/debian/control; NVIDIA/nvidia-docker issues 1447, 1549.
    """
    packages = {name: package.version for name, package in toolkit.packages.items() if name in FAMILY}
    if packages:
        by_version = {name: ".".join(map(str, numbers(version)[:3])) for name, version in packages.items()}
        said = ", ".join(f"{name} {version}" for name, version in packages.items())
        newest = max(numbers(version) for version in packages.values())
        if len(set(by_version.values())) > 1 and newest >= (1, 6):
            return failed(
                said,
                expected="all of one version",
                evidence=(Evidence("installed packages", "\n".join(f"{n} {v}" for n, v in packages.items())),),
                remedy=mend.packages.upgrade(*packages),
            )
        return passed(said)
    if not toolkit.runtime_paths:
        return not_applicable("the toolkit is not on the node")
    named = toolkit.runtime_for("cri-handler")
    path = named if named in toolkit.runtime_paths else toolkit.runtime_paths[0]
    found: dict[str, str] = {}
    for answer in toolkit.said.values():
        if posixpath.dirname(answer.path) == posixpath.dirname(path) and answer.version_text:
            found[posixpath.basename(answer.path)] = answer.version_text
            if answer.library_version_text:
                found["libnvidia-container.so.1"] = answer.library_version_text
    if not found:
        return unknown("neither packages nor programs tell the toolkit's version")
    said = ", ".join(f"{name} {version}" for name, version in found.items())
    if len({numbers(version)[:3] for version in found.values()}) > 1:
        return failed(
            said,
            expected="all of one version",
            evidence=(Evidence("--version of each program", said.replace(", ", "\n")),),
            remedy=mend.packages.toolkit(),
        )
    return passed(f"{said} (of no package)")


@check("toolkit.config-valid", title="The runtime's config.toml is sound for the mode in force")
def config_valid(toolkit: Toolkit, mend: Remedies) -> Answer:
    """The runtime takes its configuration, and nothing in it keeps GPUs from containers.

    What: /etc/nvidia-container-runtime/config.toml, for the GPU operator's runtime its own below
    /usr/local/nvidia/toolkit: TOML, kinds of values, mode, ldconfig, runtimes, root, the acceptance of
    NVIDIA_VISIBLE_DEVICES, and for legacy mode no-cgroups and supported-driver-capabilities. No file at all means the
    built-in defaults, and is sound.
    Why: a file that is rejected makes every container fail with an opaque `log.json: no such file or directory … exit
    status 1`; some values let containers start without a GPU and without an error.
    Fix: correct the line that is shown. It is read at each container start: nothing has to be restarted.
    References: toolkit v1.20.0:api/config/v1/config.go and cli.go; toolkit issues 580, 139; gpu-operator issues 350,
    425.
    """

    def judge(route: str) -> Outcome:
        config = toolkit.config_for(route)
        if not toolkit.runtime_paths:
            return not_applicable(f"no {RUNTIME} is on the node to read {config.path}")
        mode = ""
        with contextlib.suppress(Undetermined):
            mode = f" (mode {toolkit.mode_for(route)})"
        if config.document is None and config.error is None:
            return passed(f"{config.path} is not there: the built-in defaults hold{mode}")
        found = problems(toolkit, config, route)
        if not found:
            return passed(f"{config.path}{mode}", where=Where(config.path))
        first = found[0]
        return failed(
            "; ".join(problem.found for problem in found),
            expected="; ".join(dict.fromkeys(problem.expected for problem in found)),
            where=first.where,
            evidence=tuple(Evidence(str(problem.where), problem.found) for problem in found[1:]),
            remedy=mend.toolkit.setting(first),
        )

    return by_route(judge)


@check(
    "toolkit.runtime-works", title="nvidia-container-runtime runs", needs=["toolkit.installed", "toolkit.config-valid"]
)
def runtime_works(toolkit: Toolkit, handler_binary: HandlerBinary, mend: Remedies) -> Answer:
    """`nvidia-container-runtime --version` succeeds: the program runs here, reads its configuration and finds runc.

    What: its exit status and words, which must be its own: runc under this name runs too, and brings no GPU. No
    container is started. Where the configuration sets a debug log, a toolkit before 1.18 is not asked, because it would
    write to that log.
    Why: what it says here is what containerd hides behind `log.json: no such file or directory`.
    Fix: as its words say; reinstall the toolkit where the program itself does not run (wrong architecture, missing
    libc).
    References: toolkit v1.20.0:internal/runtime/runtime.go; measured on 1.17.8, 1.18.2, 1.20.0.
    """

    def judge(route: str) -> Outcome:
        outcome = _works(toolkit, route, mend)
        if outcome.status == "fail" and route.startswith("cri-") and handlers_trouble(handler_binary):
            return not_applicable("the daemon cannot execute it: containerd.handler-binary says why")
        return outcome

    return by_route(judge)


def _works(toolkit: Toolkit, route: str, mend: Remedies) -> Outcome:
    path = toolkit.runtime_for(route)
    if path is None:
        raise Consequence("toolkit.installed")
    answer = toolkit.saying(path)
    command = f"{quote(path)} --version"
    if answer is None:
        if path not in toolkit.runtime_paths:
            # A handler that names a file which is not there has a check of its own (containerd.handler-binary).
            return not_applicable(f"{path} is not there")
        return unknown(f"{command} was not run", missing="not-asked")
    if answer.logs is not None:
        return unknown(
            f"{command} was not run: it would write to the debug log that {answer.logs} sets",
            remedy=Remedy("Run it by hand, or take the debug line out of the configuration.", (command,)),
        )
    said = (Evidence(command, answer.text),)
    if answer.without_driver:
        raise Consequence("driver.module-loaded")
    if answer.rc == 0 and _is_another(toolkit, answer):
        return failed(
            f"{path} is no {RUNTIME}: {command} says {repr(_first(answer)) if answer.text.strip() else 'nothing'}",
            expected=f"{_OWN_WORDS} …, then what the low-level runtime says",
            where=Where(path),
            evidence=said,
            remedy=mend.packages.program(RUNTIME),
        )
    if answer.rc == 0:
        return passed(f"{path}: {_first(answer)}", evidence=said)
    if "no runtime binary found" in answer.text:
        raise Consequence("toolkit.low-level-runtime")
    low_level = toolkit.views.get(ContainerdLiveView).starters
    if low_level is not None and low_level.broken and low_level.runc in answer.text:
        raise Consequence("containerd.runc")
    last = next((line for line in reversed(answer.text.splitlines()) if line.strip()), "it says nothing")
    return failed(
        f"{command} ends with {answer.rc}: {one_line(_message(last), 300)}",
        expected="exit status 0",
        evidence=said,
        remedy=_reinstall(toolkit, path, answer, mend),
    )


def _is_another(toolkit: Toolkit, answer: Said) -> bool:
    """Another program lies under the name, such as runc: containers start without a GPU, and without an error.

    Up to 1.9 NVIDIA's runtime passed the option on and said no more (toolkit v1.10.0:cmd/nvidia-container-runtime).
    """
    with contextlib.suppress(Undetermined):
        return _OWN_WORDS not in answer.text and numbers(toolkit.version_text_of(answer.path)) >= (1, 10)
    return False


def _first(answer: Said) -> str:
    return next((one_line(line, 120) for line in answer.text.splitlines() if line.strip()), "exit status 0")


def _message(line: str) -> str:
    """The msg of a logfmt line, or the line."""
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    return found[1].replace('\\"', '"') if found else line


def _reinstall(toolkit: Toolkit, path: str, answer: Said, mend: Remedies) -> Remedy:
    words = answer.text.lower()
    if "config" in words and "error" in words:
        return Remedy(
            f"Correct {toolkit.config_path_for('cri-handler')} as its words say, then run it again.",
            (f"{quote(path)} --version",),
        )
    return mend.packages.program(RUNTIME)


@check(
    "toolkit.low-level-runtime",
    title="The runtime finds runc or crun",
    needs=["containerd.running", "toolkit.config-valid"],
)
def low_level_runtime(toolkit: Toolkit, containerd_live: ContainerdLive, mend: Remedies) -> Answer:
    """One of the low-level runtimes that the configuration lists is on the daemon's PATH.

    What: the list `runtimes` of config.toml (default runc, crun), looked for on the PATH of the running containerd and
    in the six usual folders, as the toolkit does; entries that are paths are taken as they are.
    Why: nvidia-container-runtime only edits the container's specification; runc or crun starts it. Kubernetes
    distributions keep theirs where only their own PATH leads.
    Fix: install runc, or name the path of the one that is there in `runtimes`.
    References: toolkit v1.20.0:internal/oci/runtime_low_level.go:54, pkg/lookup/path.go.
    """

    def judge(route: str) -> Outcome:
        names = toolkit.candidates(route)
        found = toolkit.low_level(route)
        if found is not None:
            return passed(f"{found} (of {', '.join(names)})")
        config = toolkit.config_for(route)
        folders = ", ".join(toolkit.folders(route))
        return failed(
            f"none of {', '.join(names)} is in {folders}",
            expected="one of them on the daemon's PATH",
            where=config.where(RUNTIME, "runtimes") if config.get(RUNTIME, "runtimes") is not None else None,
            evidence=(Evidence("PATH of the daemon", containerd_live.daemon_path),),
            remedy=mend.toolkit.low_level(),
        )

    if not toolkit.elsewhere("runc") and not toolkit.runtime_path and not toolkit.elsewhere("crun"):
        raise Consequence("containerd.runc")
    # Where there is no runc at all, no route starts a container, whoever looks for it.
    return by_route(judge, RUNTIME_ROUTES if toolkit.elsewhere("runc") else tuple(ROUTES))


# The rest of the family registers itself here, after the checks above.
from pytest_gpuready.checks import advisories, toolkit_parts  # noqa: E402, F401
