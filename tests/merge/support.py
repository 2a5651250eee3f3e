"""Results as nodes bring them: shipped snapshots under other names, and JSON reports of hand-made runs.

They stand for what `--gpuready-save` and `--gpuready-json` wrote on many machines; that they do is shown by the
tests of the plugin.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from pytest_gpuready.__main__ import main
from pytest_gpuready.report.json import dumps
from tests.report.sample import report, run
from tests.support.fleet import SHIPPED

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_gpuready.report.model import NodeReport

TAKEN = "2026-11-22T09:00:00Z"


def snapshot(
    path: Path,
    kind: str = "ready",
    *,
    node: str = "local",
    hostname: str = "gpu01",
    taken: str = TAKEN,
    gpus: str | None = None,
) -> Path:
    """A shipped snapshot as another node's; `gpus` tells its GPUs from those of others (8 hexadecimal digits)."""
    text = (SHIPPED / f"{kind}.json").read_text("utf-8")
    text = text.replace("hostname gpu01", f"hostname {hostname}")
    if gpus is not None:
        text = text.replace("GPU-00000000-0000", f"GPU-{gpus}-0000")
    document = {**json.loads(text), "node": node, "taken": taken}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
    return path


def json_report(path: Path, *nodes: NodeReport, started: str = TAKEN, **changes: Any) -> Path:
    """The JSON report of a run over these nodes, with keys of it replaced."""
    made = dataclasses.replace(run(*(nodes or (report("ssh://root@n1", hostname="n1"),))), started=started)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**json.loads(dumps(made)), **changes}), "utf-8")
    return path


def merge(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The command's exit code, standard output and standard error."""
    rc = main(["merge", *(str(argument) for argument in arguments)])
    said = capsys.readouterr()
    return rc, said.out, said.err


def verdicts(folder: Path, *arguments: object) -> dict[str, str]:
    """The verdict of each node of a merged report, by its name, in order."""
    target = folder.parent / "merged.json"
    assert main(["merge", "-q", str(folder), "--gpuready-json", str(target), *map(str, arguments)]) in (0, 1)
    return {node["node"]: node["verdict"] for node in json.loads(target.read_text("utf-8"))["nodes"]}
