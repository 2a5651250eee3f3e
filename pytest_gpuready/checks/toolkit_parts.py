"""The toolkit's parts that only some routes and modes need, and what it can do with this containerd."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.toolkit_config import CLI
from pytest_gpuready.checks.toolkit_routes import by_route, handlers_trouble
from pytest_gpuready.model import (
    Answer,
    Consequence,
    Evidence,
    Outcome,
    Undetermined,
    failed,
    not_applicable,
    passed,
    warned,
)
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.views.toolkit import FAMILY, RUNTIME, RUNTIME_ROUTES, numbers

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.ctr import Ctr
    from pytest_gpuready.views.handler_binary import HandlerBinary
    from pytest_gpuready.views.platform import Platform
    from pytest_gpuready.views.toolkit import Toolkit

HOOK = f"{RUNTIME}-hook"


def _library(said: str) -> bool:
    """A program says that it does not find its own library."""
    return "libnvidia-container" in said and "shared librar" in said


@check("toolkit.container-cli", title="nvidia-container-cli is where the route looks for it")
def container_cli(toolkit: Toolkit, platform: Platform, ctr: Ctr, mend: Remedies) -> Answer:
    """nvidia-container-cli is on the PATH that `ctr run --gpus` is typed under, and where legacy mode's hook looks.

    What: for ctr and nerdctl before 2.3 the typed PATH; for legacy mode `path` in config.toml, else the daemon's PATH;
    that it runs. Other modes and ctr from 2.3 on do not use it. Version 1.17.7 does not work when called by ctr.
    Why: it is what puts the driver into the container. ctr says `exec: "nvidia-container-cli": executable file not
    found in $PATH`.
    Fix: install nvidia-container-toolkit, which brings libnvidia-container-tools; where the GPU operator has it in
    /usr/local/nvidia/toolkit, extend PATH for the command.
    References: ctd v2.2.7:contrib/nvidia/nvidia.go:33; toolkit CHANGELOG 1.17.8; containerd issue 5583.
    """

    def judge(route: str) -> Outcome:
        if route in ("ctr-gpus", "nerdctl"):
            return _typed(route)
        if not toolkit.runtime_paths:
            return not_applicable(f"no {RUNTIME} is on the node to use it")
        mode = toolkit.mode_for(route)
        if mode != "legacy":
            return not_applicable(f"mode {mode} does not use nvidia-container-cli")
        config = toolkit.config_for(route)
        named = config.text(CLI, "path")
        path = toolkit.locate(named or CLI, toolkit.folders(route))
        if path is not None:
            return _runs(path)
        return failed(
            f"{named} is not there" if named else f"{CLI} is not in {', '.join(toolkit.folders(route))}",
            expected=f"{CLI} where the hook of legacy mode looks for it",
            where=config.where(CLI, "path") if named else None,
            remedy=mend.toolkit.program(config.where(CLI, "path") if named else None, (CLI, "path"), named, CLI),
        )

    def _typed(route: str) -> Outcome:
        by_cdi = ctr.gpus_by_cdi if route == "ctr-gpus" else ctr.nerdctl is None or ctr.nerdctl_gpus_by_cdi
        if by_cdi:
            return not_applicable(f"this {'ctr' if route == 'ctr-gpus' else 'nerdctl'} gives GPUs by CDI")
        if toolkit.cli_path is not None:
            return _runs(toolkit.cli_path, typed=True)
        other = platform.anywhere(CLI)
        command = (
            "ctr run --rm --gpus 0 IMAGE ID nvidia-smi"
            if route == "ctr-gpus"
            else "nerdctl run --rm --gpus all IMAGE nvidia-smi"
        )
        remedy = mend.toolkit.path_for(posixpath.dirname(other), command) if other else mend.packages.program(CLI)
        return failed(
            f"{other} is not on PATH" if other else f"{CLI} is not on the node",
            expected=f"{CLI} on the PATH that the command is typed under",
            evidence=(Evidence("PATH", ":".join(platform.path)),),
            remedy=remedy,
        )

    def _runs(path: str, *, typed: bool = False) -> Outcome:
        answer = toolkit.said.get(path)
        if answer is None or answer.rc is None:
            return passed(path)
        said = (Evidence(f"{path} --version", answer.text),)
        if answer.rc != 0:
            found = f"{path} --version ends with {answer.rc}: {one_line(answer.text, 200)}"
            return failed(
                found,
                expected="a program that runs",
                evidence=said,
                remedy=mend.packages.program(CLI, *(("libnvidia-container1",) if _library(answer.text) else ())),
            )
        if typed and numbers(answer.version_text or "") == (1, 17, 7):
            return failed(
                f"{path} is 1.17.7, which fails when ctr calls it",
                expected="another version than 1.17.7",
                evidence=said,
                remedy=mend.packages.upgrade(*FAMILY),
            )
        return passed(f"{path} {answer.version_text or ''}".rstrip())

    return by_route(judge, ("ctr-gpus", "nerdctl", *RUNTIME_ROUTES))


@check("toolkit.hook", title="The hook of the mode in force is there", needs=["toolkit.config-valid"])
def hook(toolkit: Toolkit, handler_binary: HandlerBinary, mend: Remedies) -> Answer:
    """The program that the runtime puts into the container as a hook is there.

    What: legacy mode: nvidia-container-runtime-hook, as config.toml names it or on the daemon's PATH. jit-cdi and csv:
    the program at `nvidia-ctk.path` (default nvidia-ctk), which the runtime names in the specification that it makes.
    cdi: the hooks stand in the specs, and cdi.spec-current looks at them.
    Why: nvidia-container-toolkit-base has the runtime and not the hook of legacy mode: containers then fail with
    `fork/exec /usr/bin/nvidia-container-runtime-hook: no such file or directory`.
    Fix: install nvidia-container-toolkit (not only its -base package).
    References: toolkit v1.20.0:internal/runtime/runtime.go:70, api/config/v1/config.go resolveWithDefault.
    """

    def judge(route: str) -> Outcome:
        try:
            return _hook(toolkit, route, mend)
        except Undetermined:
            if route.startswith("cri-") and handlers_trouble(handler_binary):
                return not_applicable(
                    "the daemon cannot execute the handler's program: containerd.handler-binary says why"
                )
            raise

    return by_route(judge)


def _hook(toolkit: Toolkit, route: str, mend: Remedies) -> Outcome:
    if not toolkit.runtime_paths:
        raise Consequence("toolkit.installed")
    mode = toolkit.mode_for(route)
    config = toolkit.config_for(route)
    if mode == "cdi":
        return passed("mode cdi: the specs name their hooks (cdi.spec-current)")
    section, usual = (HOOK, HOOK) if mode == "legacy" else ("nvidia-ctk", "nvidia-ctk")
    named = config.text(section, "path")
    path = toolkit.locate(named or usual, toolkit.folders(route))
    if path is not None:
        if posixpath.basename(path) != "nvidia-ctk" or toolkit.version_for(route) < (1, 16):
            return passed(f"mode {mode}: {path}")
        if toolkit.locate("nvidia-cdi-hook", toolkit.folders(route)) is not None:
            return passed(f"mode {mode}: {path}, and nvidia-cdi-hook for specs on disk")
        return warned(
            f"mode {mode} has {path}; nvidia-cdi-hook, which specs on disk name, is not there",
            expected="nvidia-cdi-hook beside it, as the package has it",
            remedy=mend.packages.program("nvidia-cdi-hook"),
        )
    where = config.where(section, "path") if named else None
    looked = named if named.startswith("/") else f"{named or usual} in {', '.join(toolkit.folders(route))}"
    return failed(
        f"mode {mode} needs {named or usual}, and it is not there",
        expected=looked,
        where=where,
        remedy=mend.toolkit.program(where, (section, "path"), named, usual),
    )


@check("toolkit.survives-daemon-reload", title="Containers keep their GPU over a systemd daemon-reload", advisory=True)
def survives_daemon_reload(toolkit: Toolkit, containerd_config: ContainerdConfig, mend: Remedies) -> Outcome:
    """In legacy mode with systemd cgroups, /dev/char has the links that let systemd keep the GPU's permissions.

    What: /dev/char/195:* where the mode in force is legacy and the handler has SystemdCgroup.
    Why: a `systemctl daemon-reload` makes systemd write the device rules of every container anew, from what it knows;
    it finds devices by /dev/char. Without the links a container that worked says `Failed to initialize NVML: Unknown
    Error`.
    Fix: make the links, and a udev rule that makes them at each load of the driver; or use mode jit-cdi (toolkit 1.18).
    References: toolkit issues 48, 251, 1227; gpu-operator issue 485.
    """
    if not toolkit.runtime_paths:
        return not_applicable(f"no {RUNTIME} is on the node")
    mode = toolkit.mode_for("cri-handler")
    if mode != "legacy":
        return passed(f"mode {mode} tells runc of every device")
    handler = containerd_config.handler
    if handler is None or not handler.systemd_cgroup:
        return passed("the handler does not use systemd's cgroups")
    links = toolkit.char_links
    if links:
        return passed(f"{len(links)} links, such as {links[0]}")
    program = toolkit.elsewhere("nvidia-ctk") or "/usr/bin/nvidia-ctk"
    return warned(
        "legacy mode, SystemdCgroup, and no link /dev/char/195:*",
        expected="links to the GPU's device nodes below /dev/char",
        remedy=mend.toolkit.dev_char(program),
    )


@check("toolkit.supports-containerd", title="This toolkit can write this containerd's configuration", advisory=True)
def supports_containerd(
    toolkit: Toolkit, containerd_live: ContainerdLive, containerd_config: ContainerdConfig, mend: Remedies
) -> Outcome:
    """nvidia-ctk of this version knows the configuration that this containerd has.

    What: the version of nvidia-ctk against containerd's: `runtime configure` for containerd came with 1.14.0,
    configuration version 3 (containerd 2) with 1.17.4; 1.18.0 wrote its drop-in into config.d and replaced other
    imports.
    Why: it decides whether `nvidia-ctk runtime configure --runtime=containerd` is the way to mend a missing handler. An
    older one says `unsupported config version: 3`.
    Fix: bring the toolkit up to date.
    References: toolkit CHANGELOG; gpu-operator issue 2060; toolkit issue 803.
    """
    program = toolkit.elsewhere("nvidia-ctk")
    if program is None:
        return not_applicable("no nvidia-ctk is on the node")
    version = numbers(toolkit.version_text_of(program))
    told = f"nvidia-ctk {'.'.join(map(str, version))}"
    remedy = mend.packages.upgrade(*[name for name in FAMILY if name in toolkit.packages] or FAMILY[:1])
    if version < (1, 14):
        return warned(f"{told} cannot configure containerd", expected="1.14.0 or later", remedy=remedy)
    newest = max([0, *containerd_config.loaded.config_versions.values()])
    if version < (1, 17, 4) and newest >= 3:
        return warned(
            f"{told} does not know configuration version {newest}, which {containerd_config.path} has",
            expected="1.17.4 or later",
            remedy=remedy,
        )
    if version == (1, 18, 0):
        return warned(
            f"{told} writes its drop-in to config.d and replaces other imports",
            expected="1.18.1 or later",
            remedy=remedy,
        )
    return passed(f"{told} knows containerd {containerd_live.disk_version_text}")
