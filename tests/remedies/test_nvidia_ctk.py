"""NVIDIA's own command registers the handler where it works, and is not advised where it does harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.views.toolkit_probe import VERSIONS
from tests.support import kubernetes
from tests.support.containerd import CONFIG, DROP_IN, IMPORTS, RUNC, RUNTIME, V2, V3, config, plain, simulated
from tests.support.remedies import RESTART, remedy, table, tee

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Request
    from tests.support.simnode import SimNode


def with_ctk(release: str, toolkit: str, text: str | None = None, **files: str) -> SimNode:
    """Return a node with nvidia-ctk of a release of the toolkit."""
    node = simulated(release, {CONFIG: plain(release) if text is None else text, **files}).program(
        "/usr/bin/nvidia-ctk"
    )

    def asked(request: Request) -> bool:
        return request == VERSIONS

    return node.program("/usr/bin/nvidia-ctk").answer(
        asked, f"prog {RUNTIME}\n> NVIDIA Container Runtime version {toolkit}\nrc 0\n"
    )


def uses_ctk(node: SimNode) -> bool:
    """Return whether the remedy is NVIDIA's own command."""
    return any("nvidia-ctk runtime configure" in command for command in remedy(node, "handler").commands)


@pytest.mark.parametrize(
    ("release", "toolkit"),
    [("1.6.39", "1.14.6"), ("1.7.24", "1.17.8"), ("1.7.24", "1.18.2"), ("2.1.9", "1.17.4"), ("2.3.4", "1.20.0")],
)
def test_nvidias_own_command_is_advised_where_it_works(release: str, toolkit: str) -> None:
    assert uses_ctk(with_ctk(release, toolkit))


TRAPS: dict[str, SimNode] = {
    "a: no file on 1.x": with_ctk("1.6.39", "1.20.0").remove(CONFIG),
    "a: an empty file": with_ctk("1.7.24", "1.20.0", ""),
    "runc is not spelt out": with_ctk("2.1.9", "1.20.0", "version = 3\n"),
    "older than 1.14": with_ctk("1.7.24", "1.13.5"),
    "k: 1.18.0 overwrites imports": with_ctk("1.7.24", "1.18.0"),
    "version 3 before 1.17.4": with_ctk("2.1.9", "1.17.3"),
    "g: runc without runtime_type": with_ctk("2.1.9", "1.18.2", f"version = 3\n[{V3}.containerd.runtimes.runc]\n"),
    "drop-ins on 1.x": with_ctk(
        "1.7.24",
        "1.20.0",
        IMPORTS + config("1.7.24").partition(f"[{V2}.containerd.runtimes.nvidia]")[0],
        **{DROP_IN: "version = 2\n"},
    ),
    "the runtime lies elsewhere": with_ctk("1.7.24", "1.20.0")
    .remove(RUNTIME)
    .program("/usr/local/nvidia/toolkit/nvidia-container-runtime"),
    "the version is not known": with_ctk("1.7.24", "what"),
    "i: runc's cgroup driver is not the kubelet's, and is copied": kubernetes.kubeadm(with_ctk("1.7.24", "1.20.0")),
    "another default handler, which is taken away": with_ctk(
        "2.1.9",
        "1.20.0",
        f'version = 3\n[{V3}.containerd]\ndefault_runtime_name = "kata"\n[{V3}.containerd.runtimes.runc]\n{RUNC}'
        f"[{V3}.containerd.runtimes.kata]\n{RUNC}",
    ),
    "h, b: a main file of version 1": with_ctk(
        "1.7.24", "1.20.0", 'oom_score = 0\n[plugins.cri]\nsandbox_image = "x"\n'
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_nvidias_own_command_is_not_advised_into_its_traps(trap: str) -> None:
    assert not uses_ctk(TRAPS[trap])


def test_nvidias_own_command_is_followed_by_the_restart() -> None:
    advice = remedy(with_ctk("1.7.24", "1.17.8"), "handler")
    assert advice.summary == "Register the handler with NVIDIA's own command, then restart containerd."
    assert advice.commands == ("sudo nvidia-ctk runtime configure --runtime=containerd", RESTART)
    assert uses_ctk(with_ctk("2.1.9", "1.20.0", IMPORTS + plain("2.1.9"), **{DROP_IN: "version = 3\n"}))


def elsewhere(path: str) -> SimNode:
    """A daemon that is told another file."""
    node = with_ctk("2.1.9", "1.20.0").put(path, plain("2.1.9"))
    node.procs[0].args += ["--config", path]
    return node


def test_nvidias_own_command_is_for_the_usual_handler_in_the_usual_file() -> None:
    assert not uses_ctk(with_ctk("2.1.9", "1.20.0", config("2.1.9", binary="/usr/bin/runc")))
    assert not uses_ctk(elsewhere("/etc/other/config.toml"))
    assert not uses_ctk(with_ctk("2.1.9", "1.20.0").remove("/usr/bin/nvidia-ctk"))
    assert not uses_ctk(
        with_ctk("1.7.24", "1.20.0", plain("1.7.24").replace("version = 2\n", "").replace(V2, "plugins.cri"))
    )
    place = "/usr/local/nvidia/toolkit/nvidia-container-runtime"
    moved = with_ctk("2.1.9", "1.20.0").remove(RUNTIME).program(place)
    moved.answer(lambda asks: asks == VERSIONS, f"prog {place}\n> NVIDIA Container Runtime version 1.20.0\nrc 0\n")
    assert not uses_ctk(moved)
    named = remedy(with_ctk("2.1.9", "1.20.0"), "handler", Settings(handler="gpu"))
    assert named.commands[0] == tee(f"\n{table(V3, 'gpu', RUNTIME)}".removeprefix("\n"))
    # It copies runc's options from the main file alone, and on 1.x there may be no runc.
    other = {CONFIG: f"version = 3\n{IMPORTS}", DROP_IN: plain("2.1.9")}
    assert not uses_ctk(with_ctk("2.1.9", "1.20.0", other[CONFIG], **{DROP_IN: other[DROP_IN]}))
    kata = f'version = 2\n[{V2}.containerd]\n  default_runtime_name = "kata"\n[{V2}.containerd.runtimes.kata]\n{RUNC}'
    assert not uses_ctk(with_ctk("1.7.24", "1.20.0", kata))
