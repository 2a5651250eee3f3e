"""Wrong configurations on real daemons: found, with the place; what is printed is typed; then the handler is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.containerd.toml import loads
from tests.containerd import referee
from tests.remedies import wrong
from tests.support.private import SOCKET, PrivateNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding, NodeReport
    from tests.remedies.wrong import Wrong

pytestmark = [
    pytest.mark.daemon,
    pytest.mark.skipif(referee.why_not() is not None, reason=referee.why_not() or ""),
]


def releases() -> dict[str, str]:
    """The daemons of this machine by generation: the reference's words hold for all of one."""
    found: dict[str, str] = {}
    for version in referee.binaries() if referee.why_not() is None else []:
        minor = ".".join(version.split(".")[:2])
        found[version] = {"2.0": "2.1", "2.2": "2.1"}.get(minor, minor)
    return found


def matrix() -> list[Any]:
    return [
        pytest.param(version, case, id=f"{version}-{case.kind}")
        for version, release in releases().items()
        for case in wrong.CASES
        if release in case.releases
    ]


def settings(value: Any) -> Any:
    """A configuration with what is set in it: Go does not tell zero values from absent ones."""
    if isinstance(value, dict):
        kept = {key: settings(item) for key, item in value.items()}
        # The sandbox mode that CRI takes for none (ctd v1.7.34:pkg/cri/config/config.go).
        return {key: item for key, item in kept.items() if item and (key, item) != ("sandbox_mode", "podsandbox")}
    return value


def others(served: dict[str, Any]) -> dict[str, Any]:
    """What CRI serves beside what the remedies are about."""
    kept: dict[str, Any] = settings(served)
    kept.pop("enableCDI", None)
    containerd = kept["containerd"]
    containerd.pop("defaultRuntimeName", None)
    containerd["runtimes"].pop("nvidia", None)
    return kept


KUBELET = """#!/bin/sh
# Stands for a kubelet: a process of that name with its flags. It tells no release.
while :; do sleep 60; done
"""


def root(report: NodeReport) -> Finding | None:
    """The first of containerd's checks that fails of itself."""
    checked = [f for f in report.roots if f.check.family == "containerd" or f.check.id == "cdi.enabled"]
    return next((finding for finding in checked if finding.keeps and finding.status == "fail"), None)


def dumped(node: PrivateNode) -> dict[str, Any]:
    """`containerd config dump`, as the daemon's own program reads the files now; empty where it would not load."""
    done = node.run("cd / && containerd config dump")
    found: dict[str, Any] = settings(loads(done.stdout).root) if done.returncode == 0 else {}
    for key in ("version", "imports", "disabled_plugins"):
        found.pop(key, None)
    for plugin in found.get("plugins", {}).values():
        containerd = plugin.get("containerd", {}) if isinstance(plugin, dict) else {}
        containerd.get("runtimes", {}).pop("nvidia", None)
    return found


@pytest.mark.parametrize(("version", "case"), matrix())
def test_it_is_found_and_what_is_printed_mends_it(version: str, case: Wrong) -> None:
    """The finding has the place; then CRI serves the handler, and every other setting is as before, or as was meant."""
    native = wrong.native(version)
    files = case.files(native)
    with PrivateNode(version, files, busybox=bool(case.kind.endswith("s"))) as node:
        if case.kubelet:
            node.write("/var/lib/kubelet/config.yaml", "cgroupDriver: systemd\n")
            node.write("/usr/bin/kubelet", KUBELET)
            flags = f"--config=/var/lib/kubelet/config.yaml --container-runtime-endpoint=unix://{SOCKET}"
            node.run(f"chmod +x /usr/bin/kubelet; setsid kubelet {flags} >/dev/null 2>&1 </dev/null &", check=True)
        before, dump = node.served(), dumped(node)
        seen: list[str] = []
        while (finding := root(node.judge(case.settings))) is not None and len(seen) < 4:
            outcome = finding.outcome
            if not seen and case.at:
                assert outcome.where is not None
                assert outcome.where.line is not None, outcome
                assert case.at in files[outcome.where.path].split("\n")[outcome.where.line - 1], outcome
            assert outcome.remedy is not None
            assert outcome.remedy.commands, outcome.remedy
            seen.append(finding.check.id.removeprefix("containerd."))
            node.type(outcome.remedy.commands)
        assert tuple(seen) == case.roots, (finding, node.log)
        after = node.served()
        assert after is not None, node.log
        assert after["containerd"]["runtimes"]["nvidia"]["options"]["BinaryName"] == wrong.RUNTIME
        assert after["containerd"]["runtimes"]["nvidia"]["runtimeType"] == "io.containerd.runc.v2"
        if before is not None:
            assert others(after) == others(before)
            # (1.x dumps nothing where there is no file.)
            if dump and "default" not in case.roots[0] and case.roots[0] != "cdi.enabled":
                assert dumped(node) == dump
        elif case.meant is not None:
            with PrivateNode(version, case.meant(native)) as healthy:
                meant = healthy.served()
            assert meant is not None
            assert others(after) == others(meant)
