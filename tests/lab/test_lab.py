"""The lab's nodes are what they say: healthy where they should be, whole after a reset, gone after a stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import testinfra

from tests.lab import __main__ as command
from tests.lab import base, cri, hardware, image, node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.node import Node

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
GPUS = 2


def processes(name: str) -> dict[int, list[str]]:
    """What runs on this machine for a node, by pid: the words of each command line."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            if {str(node.RUN / name), f"--machine={name}"} & set(words):
                found[int(process.name)] = words
    return found


def traces(name: str) -> list[str]:
    """What this machine still has of a node: processes, mounts, links, control groups, its folder."""
    found = [" ".join(words) for words in processes(name).values()]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if name in line.split()[1]]
    found += [str(path) for path in Path("/sys/class/net").glob(f"ve-{name}")]
    found += [
        str(path) for pattern in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{pattern}gpuready-lab.{name}")
    ]
    return found + [str(path) for path in node.RUN.glob(name)]


def listed(done: subprocess.CompletedProcess[str]) -> int:
    """How many GPUs a finished nvidia-smi -L listed; its complaint fails the test."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.count("(UUID: GPU-")


def test_the_daemon_serves_the_handler_nvidia(healthy_node: Node) -> None:
    runtimes = cri.status(healthy_node)["containerd"]["runtimes"]
    assert set(runtimes) == {"runc", "nvidia"}
    assert runtimes["nvidia"]["options"]["BinaryName"] == "/usr/bin/nvidia-container-runtime"


def test_containerd_is_of_the_generation_asked_for(healthy_node: Node, generation: str) -> None:
    running = healthy_node.run("ctr version", check=True).stdout
    assert running.count(f"Version:  {generation.removesuffix('x')}") == len(("client", "server"))


def test_nvidia_container_runtime_gives_a_container_its_gpus(healthy_node: Node) -> None:
    """``all`` brings every GPU, an index brings that one, nothing brings none."""
    runtime = "ctr run --rm --runc-binary nvidia-container-runtime"
    every = healthy_node.run(f"{runtime} --env NVIDIA_VISIBLE_DEVICES=all {image.NAME} every nvidia-smi -L")
    assert listed(every) == GPUS
    one = healthy_node.run(f"{runtime} --env NVIDIA_VISIBLE_DEVICES=1 {image.NAME} one nvidia-smi -L")
    assert listed(one) == 1
    assert "GPU 1:" in one.stdout
    none = healthy_node.run(f"{runtime} {image.NAME} none nvidia-smi -L")
    assert none.returncode != 0
    assert "nvidia-smi" in none.stderr


def test_ctr_gpus_gives_a_container_one_gpu(healthy_node: Node) -> None:
    assert healthy_node.run(f"ctr run --rm --gpus 0 {image.NAME} plain true").returncode == 0
    assert listed(healthy_node.run(f"ctr run --rm --gpus 0 {image.NAME} gpu nvidia-smi -L")) == 1
    unknown = healthy_node.run(f"ctr run --rm --gpus 7 {image.NAME} unknown true")
    assert unknown.returncode != 0


def test_ctr_device_needs_containerd_2(healthy_node: Node, generation: str) -> None:
    done = healthy_node.run(f"ctr run --rm --device nvidia.com/gpu=all {image.NAME} cdi nvidia-smi -L")
    if generation == "2.x":
        assert listed(done) == GPUS
    else:
        assert "error stating device path: stat nvidia.com/gpu=all" in done.stderr


def test_a_pod_of_the_handler_sees_the_gpus_and_another_does_not(healthy_node: Node) -> None:
    everything = {"NVIDIA_VISIBLE_DEVICES": "all"}
    code, log = cri.pod(healthy_node, ["nvidia-smi", "-L"], handler="nvidia", env=everything)
    assert (code, log.count("UUID")) == (0, GPUS)
    code, _ = cri.pod(healthy_node, ["sh", "-c", "nvidia-smi -L"], env=everything)
    assert code == 127  # the shell's: command not found


def test_an_unknown_handler_is_refused_in_containerds_words(healthy_node: Node) -> None:
    with pytest.raises(cri.CriError, match='no runtime for "nvidia-cdi" is configured'):
        cri.pod(healthy_node, ["true"], handler="nvidia-cdi")


def test_nothing_on_a_healthy_node_has_failed(healthy_node: Node) -> None:
    assert healthy_node.run("systemctl is-system-running").stdout.strip() == "running"
    assert healthy_node.run("command -v python3").returncode != 0
    assert healthy_node.run("dpkg --audit && apt-get check").returncode == 0


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
@pytest.mark.parametrize(("user", "root"), [("root", True), ("ops", True), ("guest", False)])
def test_three_users_log_in_and_two_become_root(healthy_node: Node, user: str, *, root: bool) -> None:
    assert healthy_node.ssh("id -un", user=user).stdout.strip() == user
    done = healthy_node.ssh("sudo -n id -u", user=user)
    assert (done.stdout.strip() == "0") is root
    assert healthy_node.run("id -un", user=user).stdout.strip() == user


@pytest.mark.parametrize("generation", ["2.x"], indirect=True)
def test_testinfra_reaches_a_node_before_and_after_a_reset(lab_node: Node) -> None:
    """Its persistent connection, which a reset cuts, does not hang the next command."""
    host = testinfra.get_host(lab_node.ssh_spec, ssh_config=str(lab_node.ssh_config))
    assert host.run("cat /proc/sys/kernel/hostname").stdout.strip() == lab_node.hostname
    lab_node.reset()
    assert host.run("true").rc == 0


def test_a_reset_undoes_whatever_was_done(lab_node: Node) -> None:
    before = lab_node.run("cat /proc/sys/kernel/random/boot_id", check=True).stdout
    lab_node.put("/etc/containerd/conf.d/00-broken.toml", "this is no toml")
    lab_node.run("apt-get purge -y nvidia-container-toolkit libnvidia-container1; rm -r /dev/nvidia*", check=True)
    lab_node.run("rmmod nvidia; umount /sys/bus/pci/devices; rm -rf /run/cdi; systemctl stop containerd", check=True)
    lab_node.run("nohup sleep 1234 >/dev/null 2>&1 &", check=True)
    lab_node.reset()
    assert lab_node.run("cat /proc/sys/kernel/random/boot_id", check=True).stdout != before
    assert lab_node.run("ls /etc/containerd/conf.d").stdout.split() == ["99-nvidia.toml"]
    assert lab_node.run("pgrep -f 'sleep 123[4]'").returncode != 0
    assert listed(lab_node.run("nvidia-smi -L")) == GPUS
    assert listed(lab_node.run(f"ctr run --rm --gpus 0 {image.NAME} again nvidia-smi -L")) == 1
    code, _ = cri.pod(lab_node, ["nvidia-smi"], handler="nvidia", env={"NVIDIA_VISIBLE_DEVICES": "all"})
    assert code == 0


@pytest.mark.parametrize("generation", list(base.GENERATIONS))
def test_a_bare_node_becomes_healthy_by_what_a_user_types(new_node: Callable[..., Node], generation: str) -> None:
    bare = new_node(generation, ready=False)
    assert bare.run("command -v nvidia-ctk nvidia-smi nvidia-container-cli").stdout == ""
    assert bare.run("grep -l 0x10de /sys/bus/pci/devices/*/vendor").stdout == ""
    before = cri.status(bare)["containerd"]["runtimes"]
    hardware.make_ready(bare)
    after = cri.status(bare)["containerd"]["runtimes"]
    assert ("nvidia" in before, "nvidia" in after) == (False, True)
    assert listed(bare.run(f"ctr run --rm --gpus 1 {image.NAME} gpu nvidia-smi -L")) == 1
    owner = bare.run("dpkg-query -S /usr/bin/nvidia-container-runtime", check=True).stdout
    assert owner.startswith("nvidia-container-toolkit-base:")


@pytest.mark.parametrize("ready", [True, False])
def test_nothing_is_left_of_a_node_that_was_stopped(new_node: Callable[..., Node], *, ready: bool) -> None:
    one = new_node("1.6", ready=ready)
    one.run(f"ctr run -d {image.NAME} left sleep infinity", check=True)
    assert traces(one.name)
    one.stop()
    assert traces(one.name) == []


def owner_of_a_node(then: str = "pass") -> tuple[subprocess.Popen[str], str]:
    """Another process that has started a node and done something with it, and the node's name."""
    start = "from tests.lab.node import Node; import time; one = Node('1.6').start()"
    program = f"{start}; {then}; print(one.name, flush=True); time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    return owner, owner.stdout.readline().strip()


def gone(name: str, *, but: str) -> bool:
    """Wait until the only trace of a node is the one named."""
    end = time.monotonic() + 20
    while time.monotonic() < end and (traces(name) != [but]):
        time.sleep(0.05)
    return traces(name) == [but]


@pytest.mark.usefixtures("lab")
def test_a_node_ends_with_its_owner_however_that_ends() -> None:
    """After SIGKILL the supervisor ends the node; the reaper takes its folder away."""
    owner, name = owner_of_a_node()
    with owner:
        assert traces(name)
        owner.send_signal(signal.SIGKILL)
    assert gone(name, but=str(node.RUN / name))
    assert name in node.reap()
    assert traces(name) == []


@pytest.mark.slow
@pytest.mark.usefixtures("lab")
def test_a_kind_with_daemons_and_mounts_of_its_own_and_a_traced_login_leaves_nothing_either(tmp_path: Path) -> None:
    """SIGKILL while a second sshd runs under strace on a node like k3s: all of it goes with the node."""
    kind = "from tests.lab import healthy, unchanged; from pathlib import Path; healthy.KINDS['k3s'].prepare(one)"
    login = f"trace = unchanged.traced(one, Path({str(tmp_path)!r})); trace.__enter__()"
    owner, name = owner_of_a_node(f"{kind}; {login}")
    with owner:
        assert straces(tmp_path)
        owner.send_signal(signal.SIGKILL)
    assert gone(name, but=str(node.RUN / name))
    assert name in node.reap()
    assert traces(name) == []
    end = time.monotonic() + 10
    while straces(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert straces(tmp_path) == []


def straces(folder: Path) -> list[int]:
    """The straces that write below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/strace" in (process / "cmdline").read_text().split("\0"):
                found.append(int(process.name))
    return found


@pytest.mark.usefixtures("lab")
def test_the_reaper_ends_a_node_whose_supervisor_died_too() -> None:
    owner, name = owner_of_a_node()
    with owner:
        supervisors = [pid for pid, words in processes(name).items() if words[0] == "sh"]
        assert len(supervisors) == 1
        os.kill(supervisors[0], signal.SIGKILL)
        owner.send_signal(signal.SIGKILL)
    assert len(traces(name)) > 1
    assert name in node.reap()
    assert traces(name) == []


@pytest.mark.usefixtures("lab")
def test_the_command_brings_up_a_node_that_stays_and_takes_it_down(capsys: pytest.CaptureFixture[str]) -> None:
    def lab_command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.lab", *words], cwd=REPOSITORY, check=True, capture_output=True, text=True
        )
        return done.stdout

    name, _, login, *_ = (
        line.strip() for line in lab_command("up", "2.x", "--broken").replace("  ", "\n").splitlines()
    )
    try:
        assert name in lab_command("list")
        folder = node.RUN / name
        found = subprocess.run(
            ["ssh", "-F", folder / "ssh_config", name, "crictl info; ls /etc/containerd/conf.d; ls /dev/nvidia0"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert login.startswith("ssh://root@")
        assert found.stdout.split() == ["/dev/nvidia0"]
    finally:
        lab_command("down", name)
    assert traces(name) == []
    assert command.main(["down", "no-such-node"]) == 1
    assert "no node is called no-such-node" in capsys.readouterr().err
