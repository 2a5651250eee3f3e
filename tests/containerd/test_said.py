"""What real daemons said to hand-written trees (said.json), so that machines without them check it, too.

Each answer was asked of the daemon itself: cri_state, the first line of its error, and where CRI was served the
handlers with their types, the default handler and CDI. Debian's packages are ``1.6.20~ds1``, ``1.7.24`` and
``2.1.9+unknown``; the others are the releases of those versions. Recorded on one machine: nothing in the trees depends
on the node.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load

SAID: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("said.json").read_text("utf-8"))


@pytest.mark.parametrize("name", SAID)
def test_a_tree_is_read_as_the_daemons_read_it(name: str) -> None:
    tree = SAID[name]
    files = MemoryFiles({f"/etc/containerd/{path}": text.encode() for path, text in tree["files"].items()})
    for answer in tree["answers"]:
        for version in answer["versions"]:
            loaded = load(files, version)
            error = loaded.error or loaded.cri_error
            found: dict[str, Any] = {"cri_state": loaded.cri_state}
            if error:
                found["error"] = error.text.split("\n", 1)[0]
            if loaded.cri_enabled:
                found["handlers"] = {handler.name: handler.runtime_type or "" for handler in loaded.handlers.values()}
                found["default"] = loaded.default_runtime
                found["cdi"] = [loaded.cdi_enabled, list(loaded.cdi_spec_dirs)]
            expected = {key: value for key, value in answer.items() if key != "versions"}
            assert (version, found) == (version, expected)
