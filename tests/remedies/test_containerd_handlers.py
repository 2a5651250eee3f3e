"""Remedies for handlers: exactly what is typed, where in which file, and what is said where nothing can be typed."""

from __future__ import annotations

import pytest

from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.remedies.packages import PackageRemedies
from pytest_gpuready.views import Views
from tests.support.containerd import CONFIG, RUNTIME, V2, config, healthy, k0s, k3s, plain, rke2, simulated
from tests.support.remedies import remedy, table, tee
from tests.support.simnode import SimNode
from tests.support.toolkit import debian, toolkit


def asked(node: SimNode) -> ContainerdRemedies:
    return ContainerdRemedies(Views(node.facts()))


@pytest.mark.parametrize(("node", "name", "service"), [(k3s(SimNode()), "k3s", "k3s"), (rke2(), "RKE2", "rke2-agent")])
def test_k3s_and_rke2_register_the_handler_themselves(node: SimNode, name: str, service: str) -> None:
    mend, restart = asked(node), (f"sudo systemctl restart {service}",)
    said = f"Restart {name}: it registers the handler itself when it finds nvidia-container-runtime at its start."
    assert (mend.handler().summary, mend.handler().commands) == (said, restart)
    said = f"Start {name} with --default-runtime nvidia, or give pods runtimeClassName: nvidia."
    assert (mend.default_runtime().summary, mend.default_runtime().commands) == (said, restart)


def test_what_is_asked_for_without_a_handler_is_said_without_a_command() -> None:
    mend = asked(simulated("2.1.9", {CONFIG: "version = 3\n"}))
    for advice, setting in (
        (mend.runtime_type(), 'runtime_type = "io.containerd.runc.v2"'),
        (mend.cgroups(), "SystemdCgroup = false"),
    ):
        assert advice.summary == f"Set {setting} for the handler, then restart containerd."
        assert advice.commands == ()


# ------------------------------------------------------------------------------------------------------- its program


WRONG_MACHINE = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0\xb7\0"


def installed(binary: str = RUNTIME) -> SimNode:
    """A node with the toolkit's packages, whose handler runs a program."""
    return toolkit(debian(healthy(SimNode(), text=config("1.7.24", binary=binary))))


def test_the_handlers_program_is_made_to_run() -> None:
    advice = asked(installed().put(RUNTIME, WRONG_MACHINE, mode=0o644)).handler_binary()
    assert (advice.summary, advice.commands) == ("Let the daemon execute the program.", (f"sudo chmod a+rx {RUNTIME}",))
    advice = asked(installed().put("/proc/self/mounts", "/dev/vda1 / ext4 rw,noexec 0 0\n")).handler_binary()
    assert advice.summary == "Mount that file system without noexec, or install the toolkit on another one."
    assert advice.commands == ()
    # Another machine's program is not left for one that lies elsewhere: it is the package's place.
    other = asked(
        installed("/opt/nvidia-container-runtime").put("/opt/nvidia-container-runtime", WRONG_MACHINE, mode=0o755)
    )
    assert other.handler_binary().summary.startswith("Put the toolkit's own program in its place. ")


@pytest.mark.parametrize(
    "node",
    [installed(), simulated("2.1.9", {CONFIG: "version = 3\n"}), installed().remove(RUNTIME)],
    ids=["nothing is wrong", "no handler", "no program"],
)
def test_a_program_that_is_nowhere_else_comes_with_the_toolkit(node: SimNode) -> None:
    assert asked(node).handler_binary() == PackageRemedies(Views(node.facts())).toolkit()


# --------------------------------------------------------------------------------------------------------------- k0s

MANAGED = '# k0s_managed=true\nversion = 2\nimports = ["/run/k0s/containerd-cri.toml"]\n'


def test_k0s_merges_the_file_that_was_proven() -> None:
    advice = remedy(k0s(MANAGED, plain("1.7.24")), "handler")
    assert advice.summary == "Register the handler in a file of its own, which k0s merges when it starts."
    tables = table(V2, "nvidia", RUNTIME)
    assert advice.commands == (
        "sudo mkdir -p /etc/k0s/containerd.d",
        tee(tables, "/etc/k0s/containerd.d/nvidia.toml", option=""),
        "sudo systemctl restart k0sworker",
    )
    assert [edit.path for edit in advice.edits] == ["/etc/k0s/containerd.d/nvidia.toml"]
    assert advice.edits[0].diff.endswith("".join(f"+{line}\n" for line in tables.splitlines()))


@pytest.mark.parametrize(
    ("text", "cri"),
    [
        (MANAGED.partition("imports")[0] + plain("1.7.24").partition("\n")[2], ""),  # imports nothing
        (MANAGED, f"version = 2\n[{V2}.containerd]\nruntimes = {{ runc = {{ runtime_type = 'x' }} }}\n"),
    ],
)
def test_what_k0s_would_not_merge_is_left_to_a_person(text: str, cri: str) -> None:
    advice = remedy(k0s(text, cri), "handler")
    words = "k0s writes /etc/k0s/containerd.toml at every start: put it right in a file of /etc/k0s/containerd.d, then"
    assert (advice.summary, advice.commands) == (f"{words} restart k0s.", ("sudo systemctl restart k0sworker",))


def test_a_file_that_k0s_does_not_manage_is_edited() -> None:
    own = MANAGED.partition("\n")[2]
    advice = remedy(k0s(own, plain("1.7.24")), "handler")
    assert advice.commands[0] == tee(table(V2, "nvidia", RUNTIME), "/run/k0s/containerd-cri.toml")
    # Its mark in a file of a containerd that is no k0s's is a comment.
    assert remedy(simulated("2.1.9", {CONFIG: "# k0s_managed=true\nversion = 3\n"}), "handler").edits[0].path == CONFIG
    assert "k0s_managed" not in asked(k0s("", "").remove("/etc/k0s/containerd.toml")).handler().summary
