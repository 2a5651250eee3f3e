"""Reports on nodes that cannot be asked fit the JSON Schema like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.schema import faults

if TYPE_CHECKING:
    from tests.plugin.conftest import Pytest


@pytest.mark.parametrize("what", ["no file", "no snapshot", "refused", "no such program"])
def test_the_report_on_bad_input_fits_the_schema(run: Pytest, what: str) -> None:
    """A node that cannot be asked is in the report like any other."""
    run.file("broken.json", '{"gpuready_snapshot": 1, "facts": [{}]}')
    hosts = {
        "no file": f"snapshot://{run.path}/none.json",
        "no snapshot": f"snapshot://{run.path}/broken.json",
        "refused": "ssh://127.0.0.1:1",
        "no such program": "chroot:///nowhere",
    }
    result = run.suite(hosts=hosts[what])
    assert result.ret == 1
    assert result.report is not None
    assert result.report["verdict"] == "unreachable"
    assert faults(result.report) == []
