"""CDI: each reader finds NVIDIA's spec, can read it, and resolves every GPU by it to what is there today."""

from __future__ import annotations

import contextlib
import posixpath
from typing import TYPE_CHECKING

from pytest_gpuready.cdispec.spec import VERSIONS
from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.cdi_stale import of_driver, stale_parts, versions
from pytest_gpuready.checks.messages import Message
from pytest_gpuready.model import (
    Answer,
    Denied,
    Evidence,
    NotApplicable,
    Outcome,
    Undetermined,
    Where,
    failed,
    not_applicable,
    passed,
    undetermined,
    warned,
)
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.remedies.cdi import REFRESH_PATH, REFRESH_SERVICE
from pytest_gpuready.views.cdi import CDI_ROUTES, GPU_KIND, too_new

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.cdispec.spec import Spec
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.cdi import Cdi, Reader, SpecFile
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.driver import Driver
    from pytest_gpuready.views.nvml import Nvml
    from pytest_gpuready.views.nvsmi import Gpu
    from pytest_gpuready.views.platform import Platform

MESSAGES: tuple[Message, ...] = (
    Message(
        "a pod with a CDI device starts and has no GPU, without an error",
        "cdi.enabled",
        "containerd 1.7, enable_cdi = false",
    ),
    Message(
        "CDI devices (nvidia.com/gpu=0) requested but CDI support is explicitly disabled",
        "cdi.enabled",
        "containerd 2.3",
    ),
    Message(
        "ctr: detect GPU vendor failed: no known GPU vendor detected in CDI specs, only AMD and NVIDIA are supported",
        "cdi.spec-present",
        "ctr 2.3 and later",
    ),
    Message("no known GPU vendor found in CDI specs", "cdi.spec-present", "nerdctl 2.3 and later"),
    Message("unresolvable CDI devices nvidia.com/gpu=all", "cdi.spec-present", "after a reboot: /var/run/cdi is empty"),
    Message(
        "unresolvable CDI devices management.nvidia.com/gpu=all",
        "cdi.spec-present",
        "the GPU operator's toolkit pod has not written its spec",
    ),
    Message("invalid CDI Spec: invalid version", "cdi.spec-valid"),
    Message("the spec version must be at least v0.5.0", "cdi.spec-valid"),
    Message("CDI registry refresh failed: failed to load CDI Spec …", "cdi.spec-valid"),
    Message('conflicting device "nvidia.com/gpu=0" (specs "…", "…")', "cdi.no-conflicts"),
    Message('failed to stat CDI host device "/dev/nvidia0": no such file or directory', "cdi.spec-current"),
    Message('error mounting "…/libcuda.so.550.54.14" to rootfs at …: no such file or directory', "cdi.spec-current"),
    Message("error running hook #0: fork/exec /usr/bin/nvidia-cdi-hook: no such file or directory", "cdi.spec-current"),
    Message(
        "CUDA error 999: unknown error",
        "cdi.spec-current",
        "nvidia-smi is fine: nvidia-uvm's number changed at a reboot",
    ),
    Message(
        "unresolvable CDI devices nvidia.com/gpu=1",
        "cdi.devices-complete",
        "a GPU was added, or specs name by UUID only",
    ),
    Message(
        "unresolvable CDI devices nvidia.com/gpu=0:1", "cdi.devices-complete", "MIG was changed after the spec was made"
    ),
    Message("nvidia-cdi-refresh.service: Failed with result 'exit-code'", "cdi.refresh"),
)


def by_reader(cdi: Cdi, judge: Callable[[Reader], Outcome | None]) -> Answer:
    """The answer for each route that goes through CDI; None leaves a route out."""
    answers: dict[str, Outcome] = {}
    for route in CDI_ROUTES:
        with contextlib.suppress(NotApplicable):
            try:
                outcome = judge(cdi.reader(route))
            except Undetermined as error:
                outcome = undetermined(error)
            if outcome is not None:
                answers[route] = outcome
    return answers or not_applicable("no route of this node goes through CDI specs")


def _relevant(files: list[SpecFile], reader: Reader) -> list[SpecFile]:
    """Files that are, or may be meant to be, specs of the kinds that the reader's route asks for."""
    return [found for found in files if found.kind in (None, *reader.kinds)]


def _in(reader: Reader) -> str:
    return " and ".join(reader.directories)


@check("cdi.enabled", title="CDI devices are resolved from where the specs lie")
def enabled(cdi: Cdi, containerd_config: ContainerdConfig, mend: Remedies) -> Answer:
    """Whoever resolves the route's CDI devices does so, and reads the directories that hold the specs.

    What: for pods containerd's enable_cdi and cdi_spec_dirs; for nvidia-container-runtime in mode cdi its spec-dirs;
    ctr and nerdctl always read /etc/cdi and /var/run/cdi. Where there is no spec, the setting alone is judged.
    Why: containerd 1.7 has CDI off by default, and then starts the container without a GPU and without an error.
    Fix: set enable_cdi = true in the CRI plugin's table and restart containerd; put the spec where it is read.
    References: ctd v1.7.34:pkg/cri/config/config_unix.go:108, v2.3.4:internal/cri/server/container_create_linux.go:104.
    """

    def judge(reader: Reader) -> Outcome:
        if reader.enabled is False:
            place = containerd_config.loaded.cdi_enabled_where
            return failed(
                f"{reader.name} ignores CDI devices (enable_cdi = false{'' if place else ', its default'})",
                expected="enable_cdi = true",
                where=Where(place.path, place.line) if place else Where(containerd_config.path),
                remedy=mend.cdi.enable(),
            )
        here = _relevant(cdi.of(reader), reader)
        others = [found.path for found in _relevant(cdi.everywhere(), reader)]
        if not here and others:
            return failed(
                f"{reader.name} reads {_in(reader)}; the spec is {others[0]}",
                expected="a spec in a directory that it reads",
                where=Where(others[0]),
                remedy=mend.cdi.generate(f"{reader.directories[-1]}/nvidia.yaml"),
            )
        return passed(f"{reader.name} reads {_in(reader)}")

    return by_reader(cdi, judge)


@check("cdi.spec-present", title="There is a CDI spec of NVIDIA's")
def spec_present(cdi: Cdi, mend: Remedies) -> Answer:
    """A CDI spec of NVIDIA's is in a directory that the route's reader reads, readable to us or not.

    What: files named *.yaml or *.json (no .yml) in the reader's directories whose kind, name or text is NVIDIA's; for
    pods the one that NVIDIA's device plugin writes counts too.
    Why: a spec says which nodes, libraries and hooks a GPU brings. /var/run/cdi is empty after each reboot until
    something writes it. ctr 2.3 says `no known GPU vendor detected in CDI specs`.
    Fix: generate it by nvidia-ctk, and let nvidia-cdi-refresh do so at each boot.
    References: CDI v1.1.0:pkg/cdi/spec-dirs.go; ctd v2.3.4:cmd/ctr/commands/run/run_unix.go:515.
    """

    def judge(reader: Reader) -> Outcome:
        here = _relevant(cdi.of(reader), reader)
        if here:
            return passed(", ".join(found.path for found in here), where=Where(here[-1].path))
        elsewhere = _relevant(cdi.everywhere(), reader)
        if elsewhere:
            return passed(f"{elsewhere[0].path} (which {reader.name} does not read: cdi.enabled)")
        others = ", ".join(f"{found.path} ({found.kind})" for found in cdi.of(reader))
        return failed(
            f"no spec of {' or '.join(reader.kinds)} in {_in(reader)}{f'; there is {others}' if others else ''}",
            expected=f"a CDI spec of {GPU_KIND} that {reader.name} reads",
            remedy=mend.cdi.generate(_target(reader)),
        )

    return by_reader(cdi, judge)


def _target(reader: Reader) -> str | None:
    """Where a new spec goes: None for the usual place, if the reader reads that."""
    return None if "/var/run/cdi" in reader.directories else f"{reader.directories[-1]}/nvidia.yaml"


@check("cdi.spec-valid", title="The CDI spec is one that its reader takes", needs=["cdi.spec-present"])
def spec_valid(cdi: Cdi, mend: Remedies) -> Answer:
    """NVIDIA's specs follow the CDI specification, in a version that the reader's release knows.

    What: YAML or JSON without unknown fields or double keys; cdiVersion, and that it is high enough for what the spec
    uses and not too new for the reader; kind, device names, and the edits. A bad file beside a good one is a warning:
    readers leave it out and go on.
    Why: a spec that does not validate is left out with a warning in a log, and its devices are unresolvable.
    Fix: generate it anew; where the reader is too old for it, with the toolkit that belongs to it, or take a newer
    containerd.
    References: CDI v1.1.0:SPEC.md, specs-go/version.go, pkg/cdi/spec.go; go.mod of each containerd and toolkit release.
    """

    def judge(reader: Reader) -> Outcome | None:
        here = _relevant(cdi.of(reader), reader)
        for found in here:
            if found.denied:
                raise Denied(found.path)
        bad = [(found, fault) for found in here if (fault := _fault(found, reader))]
        good = [found.spec for found in here if found.spec is not None and not too_new(found.spec, reader)]
        if not here:
            return None
        said = tuple(Evidence(str(Where(found.path, _line(found))), fault) for found, fault in bad)
        if bad and not good:
            found, fault = bad[0]
            return failed(
                f"{found.path}: {one_line(fault, 300)}",
                expected=f"a CDI spec that {reader.name} takes",
                where=Where(found.path, _line(found)),
                evidence=said[1:],
                remedy=mend.cdi.generate(found.path),
            )
        if not good:
            # What is neither bad nor good was not judged.
            return undetermined(next(found.unread for found in here if found.unread is not None))
        names = ", ".join(
            f"{spec.path}: {spec.kind}, {len(spec.devices)} devices, CDI {spec.version_text}" for spec in good
        )
        if bad:
            return warned(
                f"{names}; left out: {', '.join(found.path for found, _ in bad)}",
                expected="no file that is no spec",
                where=Where(bad[0][0].path, _line(bad[0][0])),
                evidence=said,
                remedy=mend.cdi.move_aside(bad[0][0].path, "Take the bad one out of the readers' sight."),
            )
        return passed(names)

    return by_reader(cdi, judge)


def _fault(found: SpecFile, reader: Reader) -> str | None:
    if found.spec is not None and too_new(found.spec, reader):
        known = ".".join(map(str, reader.newest or VERSIONS[-1]))
        return f"invalid version {found.spec.version_text!r} to {reader.name}, which knows CDI up to {known}"
    return found.fault


def _line(found: SpecFile) -> int | None:
    return found.spec.version_line if found.spec is not None else found.line


@check("cdi.no-conflicts", title="No device is defined twice", needs=["cdi.spec-valid"])
def no_conflicts(cdi: Cdi, driver: Driver, mend: Remedies) -> Answer:
    """No device of NVIDIA's is defined in two files of one directory.

    What: as CDI's registry resolves: in one directory twice is a conflict, and the device is unresolvable; in two
    directories the later one's (/var/run/cdi) is taken.
    Why: after a change of the generator an old file stays beside the new one, and then neither counts.
    Fix: take one of them away: the older one.
    References: CDI v1.1.0:pkg/cdi/cache.go refresh.
    """
    version = None
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        version = driver.module_version

    def judge(reader: Reader) -> Outcome | None:
        if not _relevant(cdi.of(reader), reader):
            return None
        registry = cdi.registry(reader)
        conflicts = [one for one in registry.conflicts if one.name.partition("=")[0] in reader.kinds]
        if not conflicts:
            return passed(f"{len(registry.names(reader.kinds))} devices, each in one file")
        specs = conflicts[0].specs
        names = ", ".join(one.name for one in conflicts[:6])
        victim = _victim(specs, version)
        return failed(
            f"{names}{' and more' if len(conflicts) > 6 else ''} in {specs[0].path} and {specs[1].path}: "
            "none of them resolves",
            expected="each device in one file of a directory",
            where=Where(victim),
            evidence=tuple(
                Evidence(
                    "as the registry says",
                    f'conflicting device "{one.name}" (specs "{one.specs[0].path}", "{one.specs[1].path}")',
                )
                for one in conflicts[:3]
            ),
            remedy=mend.cdi.move_aside(victim, "Take one of the two out of the readers' sight."),
        )

    return by_reader(cdi, judge)


def _victim(specs: tuple[Spec, Spec], version: str | None) -> str:
    """Which of two conflicting files is one too many: that of another driver, else the one not usually written."""
    stale = [spec for spec in specs if version and versions(spec) - {version}]
    if len(stale) == 1:
        return stale[0].path
    return min(specs, key=lambda spec: posixpath.basename(spec.path) == "nvidia.yaml").path


@check("cdi.spec-current", title="What the CDI spec names is there today", needs=["cdi.spec-valid"])
def spec_current(cdi: Cdi, driver: Driver, mend: Remedies) -> Answer:
    """Every path and hook of the specs in force exists, and driver version and device numbers are today's.

    What: each mount's and device node's path on the node, each hook's program; the driver's version in the names of
    libraries and in --host-driver-version against the loaded module; major and minor of device nodes against the nodes
    and /proc/devices; nvidia-uvm is in it. Nodes that the driver should have and has not are the driver's checks'
    affair.
    Why: a spec is a snapshot. After a driver update its mounts fail; after a reboot nvidia-uvm may have another major,
    and CUDA says 999 while nvidia-smi is fine; made before nvidia-uvm was loaded, it leaves that out.
    Fix: generate it anew, and let nvidia-cdi-refresh do so.
    References: toolkit v1.20.0:internal/edits/device.go:100; toolkit issues 1934, 1967, 50, 972; containers/podman
    issue 23935.
    """

    def judge(reader: Reader) -> Outcome | None:
        in_force = {spec.path: spec for spec, _ in cdi.registry(reader).of_kinds(reader.kinds).values()}
        if not in_force:
            return None
        for spec in in_force.values():
            stale = stale_parts(cdi, spec, driver)
            if stale:
                more = f" and {len(stale) - 4} more" if len(stale) > 4 else ""
                return failed(
                    f"{spec.path}: {'; '.join(one.text for one in stale[:4])}{more}",
                    expected="a spec of today's driver, files and devices",
                    where=Where(spec.path, stale[0].line),
                    evidence=tuple(Evidence(str(Where(spec.path, one.line)), one.text) for one in stale[1:8]),
                    remedy=mend.cdi.generate(
                        spec.path, lacking=next((one.program for one in stale if one.program), None)
                    ),
                )
        return passed(f"{', '.join(in_force)}: every path is there{of_driver(list(in_force.values()))}")

    return by_reader(cdi, judge)


@check("cdi.devices-complete", title="Every GPU has a CDI device", needs=["cdi.no-conflicts", "driver.nvml-answers"])
def devices_complete(cdi: Cdi, nvml: Nvml, mend: Remedies) -> Answer:
    """Every GPU that NVML lists, and every MIG device of a GPU with MIG on, has a device named by its index or UUID.

    What: the devices that the reader resolves, against NVML's list. `all` alone does not suffice. `ctr run --gpus N`
    asks for the index and nothing else.
    Why: a GPU that was added, or MIG devices that were made after the spec, are `unresolvable CDI devices`.
    Fix: generate the spec anew.
    References: ctd v2.3.4:cmd/ctr/commands/run/run_unix.go:529; toolkit issue 1895; k8s-device-plugin internal/cdi.
    """

    def judge(reader: Reader) -> Outcome | None:
        devices = cdi.registry(reader).of_kinds(reader.kinds)
        if not devices:
            return None  # the checks that this one needs say why
        wanted = [
            want for gpu in nvml.devices if not gpu.lost for want in _wanted(gpu, by_index=reader.route == "ctr-gpus")
        ]
        missing = [title for title, names in wanted if not names & devices.keys()]
        if not wanted:
            raise Undetermined("NVML lists no GPU")
        if not missing:
            return passed(f"{len(wanted)} of {len(wanted)} GPUs and MIG devices: {', '.join(sorted(devices)[:12])}")
        path = list(dict.fromkeys(spec.path for spec, _ in devices.values()))[-1]
        return failed(
            f"no device for {', '.join(missing[:8])}; there is {', '.join(sorted(devices)[:12])}",
            expected="a device for every GPU, by its index" + ("" if reader.route == "ctr-gpus" else " or UUID"),
            where=Where(path),
            remedy=mend.cdi.generate(path),
        )

    return by_reader(cdi, judge)


def _wanted(gpu: Gpu, *, by_index: bool) -> list[tuple[str, set[str | None]]]:
    """What a GPU asks for: a title, and the names of which one must be there."""
    if gpu.mig_enabled:
        found = []
        for mig in gpu.mig_devices:
            place = f"{gpu.index}:{mig.index}"
            found.append((f"MIG device {place}", {place, f"mig{place}", mig.uuid}))
        return found
    if by_index:
        return [(f"GPU {gpu.index} by its index", {str(gpu.index)})]
    return [(f"GPU {gpu.index}", {str(gpu.index), f"gpu{gpu.index}", gpu.uuid})]


@check("cdi.refresh", title="The CDI spec survives a reboot", advisory=True)
def refresh(cdi: Cdi, platform: Platform, mend: Remedies) -> Outcome:
    """Something brings the spec back after a reboot.

    What: a spec outside /var/run, or nvidia-cdi-refresh enabled and not failed; the GPU operator, the device plugin and
    NixOS write theirs anew at each start.
    Why: /var/run/cdi is empty after a reboot: what works today is `unresolvable CDI devices` tomorrow.
    Fix: enable nvidia-cdi-refresh (toolkit 1.18), or keep the spec in /etc/cdi.
    References: toolkit v1.20.0:deployments/systemd/nvidia-cdi-refresh.service and .path; toolkit issue 1611.
    """
    specs = [found for found in cdi.everywhere() if found.kind in (None, GPU_KIND)]
    if not specs:
        return not_applicable("there is no CDI spec of NVIDIA's")
    service, path = platform.unit(REFRESH_SERVICE), platform.unit(REFRESH_PATH)
    kept = [found.path for found in specs if not found.path.startswith(("/var/run/", "/run/"))]
    if service is not None and service.active == "failed":
        return warned(
            f"{REFRESH_SERVICE} failed ({service.result})",
            expected="it runs at each boot",
            remedy=mend.cdi.refresh(has_unit=True, failed=True),
        )
    enabled_units = [unit.id for unit in (service, path) if unit is not None and unit.file_state.startswith("enabled")]
    if enabled_units:
        return passed(f"{' and '.join(enabled_units)} enabled")
    if kept:
        return passed(f"{kept[0]} is not below /var/run")
    if platform.os_id == "nixos":
        return passed("NixOS generates it at each boot")
    return warned(
        f"{specs[0].path} is gone after a reboot, and nothing is known to write it anew",
        expected=f"{REFRESH_SERVICE} enabled, or a spec in /etc/cdi",
        remedy=mend.cdi.refresh(has_unit=service is not None),
    )
