"""Wrong configurations on real daemons: found, with the place; what is printed is typed; then the handler is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.containerd.toml import loads
from tests.containerd import referee
from tests.remedies import wrong
from tests.support.private import PrivateNode

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
        return {key: item for key, item in kept.items() if item}
    return value


def others(served: dict[str, Any]) -> dict[str, Any]:
    """What CRI serves beside what the remedies are about."""
    kept: dict[str, Any] = settings(served)
    kept.pop("enableCDI", None)
    containerd = kept["containerd"]
    containerd.pop("defaultRuntimeName", None)
    containerd["runtimes"].pop("nvidia", None)
    return kept


def root(report: NodeReport) -> Finding | None:
    """The first of containerd's checks that fails of itself."""
    checked = [f for f in report.roots if f.check.family == "containerd" or f.check.id == "cdi.enabled"]
    return next((finding for finding in checked if finding.keeps and finding.status == "fail"), None)


@pytest.mark.parametrize(("version", "case"), matrix())
def test_it_is_found_and_what_is_printed_mends_it(version: str, case: Wrong) -> None:
    native = wrong.native(version)
    files = case.files(native)
    with PrivateNode(version, files, args=case.args) as node:
        before = node.served()
        seen = []
        for expected in case.roots:
            finding = root(node.judge(case.settings))
            assert finding is not None, (expected, node.log)
            print(finding.check.id, "|", finding.outcome.found, "|", finding.outcome.where, "|", finding.outcome.remedy)
            node.type(finding.outcome.remedy.commands)
            print(node.log[-300:] if node.served() is None else "served")
        finding = root(node.judge(case.settings))
        if finding: print("LEFT", finding.check.id, "|", finding.outcome.found, "|", finding.outcome.where)
        after = node.served()
        assert finding is None
        assert after is not None
        assert after["containerd"]["runtimes"]["nvidia"]["options"]["BinaryName"] == wrong.RUNTIME
        if before is None and case.meant:
            with PrivateNode(version, case.meant(native)) as healthy:
                before = healthy.served()
        if before is not None:
            assert others(after) == others(before)
