"""Trees as the loader's tests make them up: what is printed is typed until the handler is there, or a finding says why.

Two ways: on the loader alone, and with the real daemon as referee. A few trees by default;
GPUREADY_MENDED_EXAMPLES=300 for more. Counts are printed (-s).
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.containerd import referee
from tests.containerd.trees import nodes
from tests.remedies.mending import first_failure, mend

if TYPE_CHECKING:
    from tests.containerd.trees import Node

EXAMPLES = int(os.environ.get("GPUREADY_MENDED_EXAMPLES", "0"))
RUNTIME = "/usr/bin/nvidia-container-runtime"


def made_up(version: str, examples: int, default: bytes, *, daemon: bool) -> Counter[str]:
    """Mend made-up trees on which the handler is missing; how many went which way."""
    counts: Counter[str] = Counter()

    @seed(20261122)
    @settings(
        max_examples=examples, deadline=None, database=None, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(node=nodes())
    def one(node: Node) -> None:
        if first_failure(version, node.files, node.explicit) is None:
            counts["has the handler"] += 1
            return
        done = mend(version, node.files, node.explicit, default)
        counts[done.how] += 1
        if daemon:
            confirmed(version, node, done.files, how=done.how)

    one()
    return counts


#: Where a daemon is put, which is another place each time.
PLACES = ("stateDir", "rootDir", "containerdRootDir", "containerdEndpoint")


def others(config: dict[str, Any]) -> Any:
    """What CRI has loaded beside the handler; zero values are not told from absent ones."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept for key, item in value.items() if (kept := plain(item)) and key != "nvidia"}
        return value

    return {key: value for key, value in plain(config).items() if key not in PLACES}


def binaries(options: dict[str, Any]) -> set[Any]:
    """What the releases take for BinaryName: 1.x the exact spelling, 2.x the last one."""
    spelt = sorted(key for key in options if key.lower() == "binaryname")
    return {options.get("BinaryName"), options[spelt[-1]] if spelt else None}


def confirmed(version: str, node: Node, files: dict[str, bytes], *, how: str) -> None:
    """The daemon serves the handler from the files as they are now, and nothing else otherwise than before."""
    if how == "told":
        return
    after = referee.ask(version, files, explicit=node.explicit)
    assert after.cri_state == "serving", (node, files, after)
    # Whatever its name: a drop-in that is imported again may have had one of its own.
    handlers = after.config["containerd"]["runtimes"].values()
    assert RUNTIME in {binary for handler in handlers for binary in binaries(handler.get("options") or {})}, (
        node,
        files,
    )
    before = referee.ask(version, node.files, explicit=node.explicit)
    if before.cri_state == "serving":
        assert others(after.config) == others(before.config), (node, files)


@pytest.mark.parametrize("version", ["1.6.20", "1.7.24", "2.1.9", "2.3.4"])
def test_every_tree_gets_an_edit_or_a_sentence(version: str) -> None:
    """As the loader reads the edited files; the default that a node begins anew with is a plain one here."""
    default = f"version = {2 if version.startswith('1.') else 3}\n".encode()
    counts = made_up(version, max(5, EXAMPLES), default, daemon=False)
    assert sum(counts.values()) >= min(5, EXAMPLES or 5)
    print(f"\n{version}: {dict(counts)}")  # noqa: T201 - the counts are what a long run is for


@pytest.mark.daemon
@pytest.mark.slow
@pytest.mark.skipif(referee.why_not() is not None, reason=referee.why_not() or "")
@pytest.mark.parametrize("version", referee.binaries() if referee.why_not() is None else [])
def test_the_real_daemon_confirms_every_edit(version: str) -> None:
    program = referee.binaries()[version]
    default = subprocess.run([program, "config", "default"], capture_output=True, check=True).stdout
    counts = made_up(version, EXAMPLES or 30, default, daemon=True)
    assert counts["edited"] > 0
    print(f"\n{version}: {dict(counts)}")  # noqa: T201 - the counts are what a long run is for
