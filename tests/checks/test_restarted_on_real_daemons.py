"""What happened to the files since the daemon was started, on real daemons: each is judged by content, not by times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.containerd import referee
from tests.remedies.wrong import CONFIG, DROP_IN, IMPORTS, handler, main, native, runc
from tests.support.private import PrivateNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuready.report.model import Finding

pytestmark = [
    pytest.mark.daemon,
    pytest.mark.skipif(referee.why_not() is not None, reason=referee.why_not() or ""),
]
VERSIONS = list(referee.binaries()) if referee.why_not() is None else []


def files(version: str) -> dict[str, str]:
    """A handler in the main file, and another one in a drop-in that has all of it (1.x replaces plugins as a whole)."""
    v = native(version)
    parts = [runc(v), handler(v)]
    return {CONFIG: main(v, *parts, head=IMPORTS), DROP_IN: main(v, *parts, handler(v, "kata", "kata-runtime"))}


@pytest.fixture(params=VERSIONS)
def node(request: pytest.FixtureRequest) -> Iterator[PrivateNode]:
    with PrivateNode(request.param, files(request.param)) as started:
        yield started


def restarted(node: PrivateNode) -> Finding:
    return node.finding("restarted")


def clock_passed(node: PrivateNode) -> None:
    """Times of files and starts are compared in whole seconds."""
    assert node
    time.sleep(1.1)


# What was done since the start, and is no difference.


def nothing(_: PrivateNode) -> None:
    """Not a thing."""


def touched(node: PrivateNode) -> None:
    """Every file has a new time."""
    node.run(f"touch {CONFIG} {DROP_IN}", check=True)


def commented(node: PrivateNode) -> None:
    """A comment and an empty line more."""
    node.run(f"printf '\\n# a note\\n' >>{CONFIG}", check=True)


def rewritten(node: PrivateNode) -> None:
    """The same settings in other words: quotes, blanks, the order of keys."""
    text = node.read(DROP_IN).decode().replace('"io.containerd', "'io.containerd").replace('v2"', "v2'")
    for name in ("grpc.v1.cri", "cri.v1.runtime", "cri.v1.images"):
        text = text.replace(f'{name}"', f"{name}'")
    node.write(DROP_IN, text.replace(" = ", "=").replace("  ", "\t"))


def another_restart(node: PrivateNode) -> None:
    """Edited and restarted."""
    node.run(f"sed -i 's/kata-runtime/kata-qemu/' {DROP_IN}", check=True)
    node.restart()


def reinstalled(node: PrivateNode) -> None:
    """The same program was installed again."""
    node.run(
        "cp /usr/bin/containerd /usr/bin/containerd.new && mv /usr/bin/containerd.new /usr/bin/containerd", check=True
    )


@pytest.mark.parametrize("change", [nothing, touched, commented, rewritten, another_restart, reinstalled])
def test_what_makes_no_difference_needs_no_restart(node: PrivateNode, change: Callable[[PrivateNode], None]) -> None:
    clock_passed(node)
    change(node)
    found = restarted(node)
    assert (found.status, "serves what is on disk" in found.outcome.found) == ("pass", True), found
    assert ("was replaced" in found.outcome.found) is (change is reinstalled)


# What was done since the start, and is a difference; what the finding says of it.


def edited(node: PrivateNode) -> str:
    """A setting was changed where it has effect."""
    node.run(f"sed -i 's/kata-runtime/kata-qemu/' {DROP_IN}", check=True)
    return "BinaryName of handler kata: kata-qemu on disk, kata-runtime in the running daemon"


def deleted(node: PrivateNode) -> str:
    """A drop-in is gone, and leaves nothing that has a time."""
    node.run(f"rm {DROP_IN}", check=True)
    return "handler kata: missing on disk, there in the running daemon"


def restored(node: PrivateNode) -> str:
    """The daemon was restarted after an edit; then the older file came back with its old times."""
    node.run(f"cp -p {DROP_IN} /root.toml && sed -i 's/kata-runtime/kata-qemu/' {DROP_IN}", check=True)
    node.restart()
    clock_passed(node)
    node.run(f"cp -p /root.toml {DROP_IN} && rm /root.toml", check=True)
    return "BinaryName of handler kata: kata-runtime on disk, kata-qemu in the running daemon"


def switched_off(node: PrivateNode) -> str:
    """CRI was disabled."""
    node.run(f"""sed -i '2a disabled_plugins = ["io.containerd.grpc.v1.cri"]' {CONFIG}""", check=True)
    return "the CRI plugin: not loaded on disk, served in the running daemon"


@pytest.mark.parametrize("change", [edited, deleted, restored, switched_off])
def test_what_makes_a_difference_needs_one_and_its_remedy_is_the_restart(
    node: PrivateNode, change: Callable[[PrivateNode], str]
) -> None:
    words = change(node)
    found = restarted(node)
    assert found.status == "fail", found
    assert words in found.outcome.found
    remedy = found.outcome.remedy
    assert remedy is not None
    assert remedy.commands[-1].endswith("systemctl restart containerd")
    node.type(remedy.commands)
    assert restarted(node).status == "pass"


def test_a_handler_that_is_gone_on_disk_is_not_restarted_away(node: PrivateNode) -> None:
    """The daemon still serves it: a restart would end that, so the file is what is wrong."""
    node.run(f"rm {DROP_IN}; sed -i 's/nvidia-container-runtime/runc/' {CONFIG}", check=True)
    report = node.judge()
    assert report.findings["containerd.handler"].status == "fail"
    assert report.findings["containerd.restarted"].blocked_by == ("containerd.handler",)


def nobody_asks(node: PrivateNode) -> None:
    """Without a program that could ask the daemon, only times tell."""
    node.run("rm -f /usr/bin/curl /usr/bin/python3* /usr/bin/crictl", check=True)


@pytest.mark.parametrize("change", [touched, deleted, restored])
def test_without_a_client_a_newer_time_is_unknown(node: PrivateNode, change: Callable[[PrivateNode], object]) -> None:
    """Also of a file with its old times, by its ctime, and of a drop-in that is gone, by its folder."""
    nobody_asks(node)
    # The start is known to a second (btime of /proc/stat): files of that very second would be in doubt.
    clock_passed(node)
    clock_passed(node)
    node.restart()
    clock_passed(node)
    assert restarted(node).outcome.found.startswith("by time: ")
    change(node)
    found = restarted(node)
    assert found.status == "unknown", found
    assert "was changed after pid" in found.outcome.found
    remedy = found.outcome.remedy
    assert remedy is not None
    clock_passed(node)
    clock_passed(node)
    node.type(remedy.commands)
    assert restarted(node).status == "pass"


@pytest.mark.parametrize(("old", "new"), [(old, new) for old in VERSIONS for new in VERSIONS if old != new])
def test_after_an_upgrade_files_are_read_as_the_new_program_does(old: str, new: str) -> None:
    """A difference is one that the restart would make: enable_cdi, which is on by default from 2.0."""
    with PrivateNode(old, {CONFIG: main(2, runc(2), handler(2))}) as node:
        node.install(new)
        found = restarted(node)
        assert f"it still is containerd {old}; {new} was installed since" in found.outcome.found
        # 1.6 does not tell whether CDI is on: it has none.
        differs = not old.startswith("1.6") and old[0] != new[0]
        assert found.status == ("fail" if differs else "pass"), found
        assert ("enable_cdi" in found.outcome.found) is differs
        node.restart()
        found = restarted(node)
        assert (found.status, "installed since" in found.outcome.found) == ("pass", False), found
