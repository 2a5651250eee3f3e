"""Wrong configurations on booted nodes: what is printed is typed over SSH, systemd restarts the daemon, pods run.

Every kind is in tests/remedies/wrong.py, and tried on bare daemons there; here it is systemd's restart, and containers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import base, cri, image
from tests.lab.judging import judged, mend, told
from tests.remedies import wrong

if TYPE_CHECKING:
    from tests.lab.node import Node
    from tests.remedies.wrong import Wrong

pytestmark = pytest.mark.lab

#: Those that are not slow; the first runs for every change.
COMMON = (
    "1.2 a drop-in of one handler replaces the plugin",
    "1.4 version 3, tables of 2",
    "1.9 pasted twice",
)


def marks(case: Wrong) -> Any:
    """Return the mark of a case."""
    return pytest.mark.ci if case.kind == COMMON[0] else () if case.kind in COMMON else pytest.mark.slow


def matrix() -> list[Any]:
    """Kinds by generation; those that need a kubelet or another route stay with the bare daemons."""
    return [
        pytest.param(generation, case, id=f"{generation}-{case.kind}", marks=marks(case))
        for generation in base.GENERATIONS
        for case in wrong.CASES
        if generation.replace("x", "1") in case.releases
        and not case.kubelet
        and not case.settings.routes
        and "cgroup driver" not in case.kind
        and "f: the dump's" not in case.kind
    ]


def on_node(text: str) -> str:
    """The file for a node of the lab: its own pause image; a machine that may not lower OOM scores; cgroupfs."""
    text = text.replace("registry.k8s.io/pause:9", image.NAME).replace("SystemdCgroup = true", "SystemdCgroup = false")
    return re.sub(
        r"^( *max_container_log_line_size.*)$", r"\1\n  restrict_oom_score_adj = true", text, flags=re.MULTILINE
    )


@pytest.mark.parametrize(("generation", "case"), matrix(), indirect=["generation"])
def test_what_is_printed_is_typed_and_pods_run_again(lab_node: Node, generation: str, case: Wrong) -> None:
    files = {path: on_node(text) for path, text in case.files(2 if generation.startswith("1.") else 3).items()}
    lab_node.run("rm -rf /etc/containerd/*", check=True)
    for path, text in files.items():
        lab_node.put(path, text)
    lab_node.run("systemctl restart containerd")
    seen: list[str] = []
    while len(seen) < 4:
        report = judged(lab_node, routes=("cri-handler",))
        found = next((root for root in report.roots if root.check.family == "containerd" and root.keeps), None)
        if found is None:
            break
        seen.append(found.check.id.removeprefix("containerd."))
        mend(lab_node, found)
    assert tuple(seen) == case.roots, told(report)
    assert report.verdict == "ready", told(report)
    loaded = cri.status(lab_node)
    assert loaded["containerd"]["runtimes"]["nvidia"]["options"]["BinaryName"] == wrong.RUNTIME
    assert lab_node.run(f"ctr run --rm {image.NAME} plain true").returncode == 0
    spared = any(value for key, value in loaded.items() if key.lower() == "restrictoomscoreadj")
    if spared and image.NAME in lab_node.run("cat /etc/containerd/config.toml").stdout:
        # Where the file was begun anew the pause image is another that only a registry has; and where the tables that
        # spare this machine's OOM scores had no effect they still have none.
        everything = {"NVIDIA_VISIBLE_DEVICES": "all"}
        assert cri.pod(lab_node, ["nvidia-smi", "-L"], handler="nvidia", env=everything)[0] == 0
        assert cri.pod(lab_node, ["true"])[0] == 0
