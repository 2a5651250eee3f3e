"""The model against the real daemons: trees are made up, both are asked.

A few trees by default; GPUREADY_DAEMON_EXAMPLES=500 for more. Daemons: /usr/bin/containerd and those in the directories
that GPUREADY_CONTAINERD_BINARIES names (DIR/containerd, DIR/*/usr/bin/containerd).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from tests.containerd import referee
from tests.containerd.trees import MAIN, Node, nodes

if TYPE_CHECKING:
    from pytest_gpuready.containerd.model import Loaded

EXAMPLES = int(os.environ.get("GPUREADY_DAEMON_EXAMPLES", "3"))
pytestmark = [
    pytest.mark.daemon,
    pytest.mark.skipif(referee.why_not() is not None, reason=referee.why_not() or ""),
]


def expected(loaded: Loaded) -> dict[str, Any]:
    error = loaded.error or loaded.cri_error
    out: dict[str, Any] = {
        "loads": loaded.loads,
        "cri_state": loaded.cri_state,
        "error": error.text.split("\n", 1)[0] if error else None,
        "deprecations": sorted({d.id.rsplit("/", 1)[1] for d in loaded.deprecations}),
    }
    if loaded.cri_enabled:
        v1 = loaded.release.startswith("1.")
        table = loaded.plugin_table(f"io.containerd.{'grpc.v1.cri' if v1 else 'cri.v1.runtime'}")
        runtimes = dict(table["containerd"]["runtimes"])
        deprecated = table["containerd"].get("default_runtime") or {}
        if "default" in runtimes and deprecated.get("runtime_type"):
            runtimes["default"] = deprecated  # it takes the place of the handler of that name
        out["options"] = {n: r["options"] or None for n, r in runtimes.items()}
        out["handlers"] = {h.name: (h.runtime_type or "", h.runtime_path or "") for h in loaded.handlers.values()}
        out["default"] = loaded.default_runtime
        out["cdi"] = (loaded.cdi_enabled, list(loaded.cdi_spec_dirs))
        out["sandbox"] = loaded.sandbox_image if v1 else None
    return out


def found(verdict: referee.Verdict, like: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "loads": verdict.loads,
        "cri_state": verdict.cri_state,
        "error": verdict.error,
        "deprecations": sorted(verdict.deprecations - {"cgroup-v1"}),  # the machine's, not the configuration's
    }
    config = verdict.config
    if config:
        runtimes = config["containerd"]["runtimes"]
        # The deprecated tables of 1.x become handlers only after decoding.
        out["options"] = {
            n: r.get("options") or None for n, r in runtimes.items() if n in like.get("options", runtimes)
        }
        out["handlers"] = {n: (r["runtimeType"], r["runtimePath"]) for n, r in runtimes.items()}
        out["default"] = config["containerd"]["defaultRuntimeName"]
        out["cdi"] = (bool(config.get("enableCDI")), config.get("cdiSpecDirs") or [])
        out["sandbox"] = config.get("sandboxImage")
    return out


@pytest.mark.parametrize("version", referee.binaries() if referee.why_not() is None else [])
def test_the_model_says_what_the_daemon_does(version: str) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, report_multiple_bugs=False,
        derandomize=EXAMPLES < 10, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(node=nodes())
    def compare(node: Node) -> None:
        files = MemoryFiles(node.files)
        model = expected(load(files, version, node.explicit or MAIN, explicit=bool(node.explicit)))
        # Where several things are wrong, Go picks the first by chance: ask again before calling it a difference.
        for _ in range(5):
            real = found(referee.ask(version, node.files, explicit=node.explicit), model)
            if real == model:
                return
        assert real == model

    compare()


TRAPS = {
    "only-nvidia": {MAIN: b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]\n'
                          b'runtime_type = "io.containerd.runc.v2"\n'},
    "docker-stock": {MAIN: b'disabled_plugins = ["cri"]\n'},
    "pasted-twice": {MAIN: b"version = 2\n[debug]\nlevel = 'info'\n[debug]\n"},
    "no-file": {},
    "missing-import": {MAIN: b'version = 2\nimports = ["/etc/containerd/none.toml"]\n'},
    "imports-a-directory": {MAIN: b'version = 2\nimports = ["/etc/containerd/conf.d"]\n',
                            "/etc/containerd/conf.d/a.toml": b""},
    "v4-dropin": {MAIN: b'version = 2\nimports = ["conf.d/*.toml"]\n',
                  "/etc/containerd/conf.d/a.toml": b"version = 4\n"},
    "wrong-type": {MAIN: b'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nenable_selinux = "true"\n'},
}  # fmt: skip


@pytest.mark.parametrize("version", referee.binaries() if referee.why_not() is None else [])
@pytest.mark.parametrize("trap", TRAPS)
def test_the_traps_that_users_fall_into(version: str, trap: str) -> None:
    model = expected(load(MemoryFiles(TRAPS[trap]), version))
    real = found(referee.ask(version, TRAPS[trap]), model)
    assert real == model
