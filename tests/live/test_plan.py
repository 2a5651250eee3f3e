"""Which containers a node is asked to run, and how; and the script that comes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.judge import judge_views
from pytest_gpuready.live import cri, ctr, image, plan, script, shell
from pytest_gpuready.live.ctr import Container
from pytest_gpuready.model import Settings
from pytest_gpuready.views import Views
from tests.support import nodes
from tests.support.containerd import CONFIG as MAIN
from tests.support.shell import shells

if TYPE_CHECKING:
    from tests.support.simnode import SimNode

CONFIG = "/etc/nvidia-container-runtime/config.toml"
SHELLS = {
    name: [shutil.which(name) or name, *words]
    for name, words in (("dash", []), ("bash", ["--posix"]), ("busybox", ["sh"]))
}


def planned(node: SimNode, settings: Settings | None = None) -> plan.Plan:
    views = Views(node.facts(settings), settings or Settings())
    return plan.make(views, judge_views(views))


def hardened(node: SimNode, *, volumes: bool) -> SimNode:
    text = node.tree[CONFIG].data.decode() if CONFIG in node.tree else ""
    keys = "accept-nvidia-visible-devices-envvar-when-unprivileged = false\n"
    keys += f"accept-nvidia-visible-devices-as-volume-mounts = {str(volumes).lower()}\n"
    kept = "\n".join(line for line in text.splitlines() if not line.startswith(("accept-", "#accept-")))
    return node.put(CONFIG, keys + kept)


def test_every_route_that_is_ready_is_run_with_one_that_asks_for_nothing() -> None:
    found = planned(nodes.ready("2.1.9"))
    assert [one.section for one in found.containers] == [
        "ctr-gpus",
        "ctr-runtime",
        "ctr-cdi",
        "ctr.none",
        "ctr-runtime.none",
        "ctr.privileged",
    ]
    assert found.containers[0].flags == ("--gpus=0", "--gpus=1")
    assert found.containers[2].flags == ("--device=nvidia.com/gpu=all",)
    assert found.containers[3].routes == ("ctr-gpus", "ctr-cdi")
    assert [(pod.route, pod.handler) for pod in found.pods] == [("cri-handler", "nvidia"), ("cri-cdi", "")]
    assert found.pods[0].env[0] == ("NVIDIA_VISIBLE_DEVICES", "all")
    assert found.pods[1].cdi == ("nvidia.com/gpu=all",)
    assert found.pause
    assert found.reasons is not None
    assert "containerd.default-runtime" in found.reasons["cri-default"]
    assert found.reasons["nerdctl"] == "nerdctl is not on PATH"


def test_what_is_broken_is_not_run_and_says_by_what() -> None:
    found = planned(nodes.not_restarted())
    assert not any(pod.route == "cri-handler" for pod in found.pods)
    assert found.reasons is not None
    assert found.reasons["cri-handler"] == "blocked by containerd.restarted"
    assert any(one.section == "ctr-gpus" for one in found.containers)


def test_a_node_without_a_driver_runs_nothing() -> None:
    node = nodes.ready()
    node.remove("/sys/module/nvidia", "/proc/driver/nvidia", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl")
    assert planned(node).empty


def test_pods_of_a_hardened_toolkit_ask_by_volume_mounts() -> None:
    found = planned(hardened(nodes.ready(), volumes=True))
    assert found.pods[0].env[0] == ("NVIDIA_VISIBLE_DEVICES", "/var/run/nvidia-container-devices")
    assert found.pods[0].mounts == (("/dev/null", "/var/run/nvidia-container-devices/all"),)
    assert found.reasons is not None
    assert found.reasons["ctr-runtime"] == "blocked by toolkit.config-valid"


def test_one_that_takes_neither_is_asked_by_cdi() -> None:
    found = planned(hardened(nodes.ready(), volumes=False))
    assert [pod.route for pod in found.pods] == ["cri-cdi"]
    assert any(one.section == "ctr-cdi" for one in found.containers)


def test_the_settings_reach_the_plan() -> None:
    asked = Settings(live=True, live_idle_only=True, image="nvidia/cuda:12.8.1-base-ubuntu24.04")
    found = planned(nodes.ready(), asked)
    assert found.idle_only
    assert not found.builtin
    assert found.image == "docker.io/nvidia/cuda:12.8.1-base-ubuntu24.04"


def test_a_clients_container_is_named_labelled_and_bounded() -> None:
    words = ctr.argv(Container("ctr-gpus", ("ctr-gpus",), ("--gpus=0",)), "/s", "space", "image:1", "gpuready-x", "x")
    assert words[:4] == ["--address=/s", "--namespace=space", "run", "--rm"]
    assert {"--label=gpuready.run=x", f"--memory-limit={1 << 30}", "--cgroup=/gpuready-x/gpuready-x-ctr-gpus"} < set(
        words
    )
    assert words[words.index("image:1") + 1] == "gpuready-x-ctr-gpus"
    by_nerdctl = ctr.argv(
        Container("nerdctl", ("nerdctl",), client="nerdctl"), "/s", "space", "image:1", "gpuready-x", "x"
    )
    assert {"--pull=never", "--pids-limit=256", "--name=gpuready-x-nerdctl"} < set(by_nerdctl)


@pytest.mark.parametrize("route", ["ctr-gpus", "ctr-runtime", "ctr-cdi", "nerdctl"])
def test_each_route_of_a_client_has_a_container_without_its_request(route: str) -> None:
    found = ctr.without_request(route)
    assert found is not None
    assert not any("gpu" in flag.lower() or "NVIDIA_VISIBLE" in flag for flag in found.flags)
    assert ctr.without_request("cri-handler") is None


@pytest.mark.parametrize("shell", shells(*SHELLS))
@pytest.mark.parametrize("image", ["builtin", "busybox"])
def test_the_script_is_sh_for_every_shell_and_small_enough_for_one_argument(shell: str, image: str) -> None:
    """Linux takes 128 KiB in one argument (execve(2)); quoting it twice makes it longer."""
    found = planned(nodes.ready(), Settings(live=True, live_idle_only=True, image=image))
    text = script.guarded(found, "0123456789ab")
    done = subprocess.run([*SHELLS[shell], "-n"], input=text.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(script.body(found, "0123456789ab")) < 100_000


def test_the_recorded_question_outlives_its_text() -> None:
    found = planned(nodes.ready())
    assert script.request(found) == script.request(found, key="0" * 12) == script.REQUEST


def test_without_setsid_it_says_so() -> None:
    body = script.body(plan.Plan(containers=(Container("x", ()),), socket="/s"), "0123456789ab")
    done = subprocess.run(["/bin/sh", "-c", body], capture_output=True, check=False, env={"PATH": "/nowhere"})
    assert (done.returncode, done.stdout) == (3, b"the node has no setsid\n")


def test_the_folders_of_a_namespace_are_below_the_daemons_own_root_and_state() -> None:
    node = nodes.ready()
    tasks, runc = "io.containerd.runtime.v2.task", "/run/containerd/runc"
    assert planned(node).folders == (f"/var/lib/containerd/{tasks}", f"/run/containerd/{tasks}", runc)
    node.tree[MAIN].data = b'root = "/data/containerd"\n' + node.tree[MAIN].data
    assert planned(node).folders == (f"/data/containerd/{tasks}", f"/run/containerd/{tasks}", runc)
    daemon = next(proc for proc in node.procs if proc.comm == "containerd")
    daemon.args += ["--state", "/run/k3s/containerd", "--root=relative"]
    assert planned(node).folders == (f"/run/k3s/containerd/{tasks}", runc)


def test_no_two_functions_of_the_script_have_one_name() -> None:
    """Its parts share one shell: a second function of a name would take the first one's place."""
    parts = (shell.TOOLS, shell.CLEAN, shell.GUARD, cri.SHELL, image.BUILD, "folders() {", "work() {")
    names = re.findall(r"^([A-Za-z_]+)\(\)", "\n".join(parts), re.MULTILINE)
    assert {"clean", "Q", "B", "running"} < set(names)
    assert sorted(names) == sorted(set(names))
