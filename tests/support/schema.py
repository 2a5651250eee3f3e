"""The JSON report's schema as shipped, and reports that together have every part of it."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

import jsonschema

from pytest_gpuready.report.baseline import compare
from pytest_gpuready.report.json import render
from pytest_gpuready.report.model import Snapshot
from tests.report.sample import (
    CHECKS,
    NO_HANDLER,
    NO_MODULE,
    NOT_RESTARTED,
    NVML_HANGS,
    PERSISTENCE,
    report,
    run,
    unreachable,
)

SCHEMA: dict[str, Any] = json.loads(
    resources.files("pytest_gpuready.report").joinpath("schema.json").read_text("utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def faults(document: object) -> list[str]:
    """Return where and why a document does not fit the schema."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]


def sample() -> dict[str, Any]:
    """Return a report with every kind of node: ready in an old snapshot, with roots and remedies, unreachable, live."""
    broken = {
        "containerd.restarted": NOT_RESTARTED,
        "containerd.handler": NO_HANDLER,
        "driver.persistence": PERSISTENCE,
    }
    nodes = (
        dataclasses.replace(report(), snapshot=Snapshot("2026-11-22T09:00:00Z", 1)),
        report("ssh://root@n1", broken),
        report("ssh://root@n3", {"driver.module-loaded": NO_MODULE}),
        report("ssh://root@n4", {"driver.nvml-answers": NVML_HANGS}, live=("ctr-gpus",)),
        unreachable(),
    )
    return render(run(*nodes, live=True, notes=("a note",)), checks=CHECKS)


def compared() -> dict[str, Any]:
    """Return a report beside an older one: a node that was fixed, one that is new, one that broke, another driver."""
    now = run(report("ssh://root@n1"), report("ssh://new"), report("ssh://root@n3", {"containerd.handler": NO_HANDLER}))
    old = sample()
    old["nodes"][1]["inventory"]["driver"] = "550.54"
    return render(dataclasses.replace(now, baseline=compare(now, old)), checks=CHECKS)
