"""What containers end with: each text leads to its cause, and none that is not known does."""

from __future__ import annotations

import re

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.live.messages import ENDINGS, cause_of
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views import Views
from tests.support import nodes

#: Texts as containerd 1.6 to 2.3, NVIDIA's toolkit and nvidia-smi print them.
TEXTS = {
    (
        'rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for "nvidia" is configured'
    ): "containerd.restarted",
    "unknown service runtime.v1.RuntimeService": "containerd.cri-enabled",
    (
        'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x" instead'
    ): "containerd.handler-cgroups",
    "container.Runtime.Name must be set: invalid argument": "containerd.handler-runtime-type",
    "hook #0: fork/exec /usr/bin/nvidia-container-runtime-hook: no such file or directory": "toolkit.hook",
    "error running hook #0: fork/exec /usr/bin/nvidia-cdi-hook: no such file or directory": "cdi.spec-current",
    (
        "OCI runtime create failed: unable to retrieve OCI runtime error (open /run/x/log.json: no "
        "such file or directory): fork/exec /usr/bin/nvidia-container-runtime: no such file or directory"
    ): "containerd.handler-binary",
    'exec: "nvidia-container-runtime": executable file not found in $PATH': "containerd.handler-binary",
    (
        "(open /x/log.json: no such file or directory): nvidia-container-runtime did not terminate "
        "successfully: exit status 1"
    ): "toolkit.runtime-works",
    'failed to construct OCI spec modifier: invalid mode "bogus"': "toolkit.config-valid",
    "no runtime binary found from candidate list: [docker-runc]": "toolkit.low-level-runtime",
    'ctr: exec: "nvidia-container-cli": executable file not found in $PATH': "toolkit.container-cli",
    'ctr: exec: "containerd": executable file not found in $PATH': "containerd.ctr",
    "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch": "driver.versions-match",
    (
        "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: "
        "cannot open shared object file"
    ): "driver.library-present",
    "failed to generate CDI spec: failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND": "driver.library-present",
    "nvidia-container-cli: initialization error: nvml error: driver not loaded": "driver.module-loaded",
    "ctr: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=1": "cdi.devices-complete",
    "ctr: detect GPU vendor failed: no known GPU vendor detected in CDI specs": "cdi.devices-complete",
    "CDI devices (nvidia.com/gpu=0) requested but CDI support is explicitly disabled": "cdi.enabled",
    (
        'error mounting "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14" to rootfs at "/x": no such file or directory'
    ): "cdi.spec-current",
    'inject devices: failed to stat CDI host device "/dev/nvidia0": no such file or directory': "cdi.spec-current",
    "mount error: file creation failed: /x/usr/lib/libnvidia-ml.so.1: file exists": "live.image",
    "requirement error: unsatisfied condition: cuda>=12.8, please update your driver": "live.image",
    "nvidia-container-cli: device error: 7: unknown device": "driver.gpu-count",
    "bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted": "toolkit.config-valid",
    "Failed to initialize NVML: Unknown Error": "toolkit.config-valid",
    "Failed to initialize NVML: Insufficient Permissions": "node.selinux",
    "mount error: stat failed: /run/nvidia-persistenced/socket: no such device or address": "driver.persistence",
    'ctr: failed to dial "/run/x.sock": dial unix /run/x.sock: connect: permission denied': "node.privileges",
    'ctr: failed to dial "/run/x.sock": dial unix /run/x.sock: connect: connection refused': "containerd.running",
    'exec: "sh": executable file not found in $PATH: unknown': "live.image",
    "failed to get sandbox image 'registry.k8s.io/pause:3.8': failed to pull image": "live.image",
    "mkdir /var/lib/containerd/x: no space left on device": "containerd.running",
}


@pytest.mark.parametrize(("text", "check"), TEXTS.items(), ids=lambda word: re.sub(r"\W+", "-", word)[:40])
def test_each_text_leads_to_its_cause(text: str, check: str) -> None:
    ending = cause_of(text)
    assert ending is not None
    assert ending.check == check


@pytest.mark.parametrize("text", ["", "exit status 1", "everything is fine", "GPU 0: NVIDIA H100"])
def test_what_is_not_known_has_no_cause(text: str) -> None:
    assert cause_of(text) is None


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: re.sub(r"\W+", "-", ending.pattern)[:30])
def test_every_cause_names_a_check_and_says_what_to_do(ending: object) -> None:
    assert ending in ENDINGS
    found = next(one for one in ENDINGS if one == ending)
    assert found.check in catalogue()
    remedy = found.remedy(Remedies(Views(nodes.ready().facts())))
    assert remedy is not None
    assert remedy.summary
