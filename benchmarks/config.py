"""containerd's configuration: what `load` costs, beside the standard library's parse of the same files.

Run by hand: ``python benchmarks/config.py [--runs N]``. Prints best and median of N for each release, and how many
times tomllib's parse that is, taken in the same run; absolute times belong to the machine. The second tree is what
``containerd config default`` prints where a containerd is installed, else the first one many times as long.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuready.containerd.files import Files, MemoryFiles, RootFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.containerd.model import DEFAULT_CONFIG
from pytest_gpuready.containerd.releases import ALIASES

if TYPE_CHECKING:
    from collections.abc import Callable

DROPIN = "/etc/containerd/conf.d/99-nvidia.toml"
#: As a kubeadm node has it.
KUBEADM = b"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
imports = ["/etc/containerd/conf.d/*.toml"]

[grpc]
  address = "/run/containerd/containerd.sock"
  max_recv_message_size = 16777216
  max_send_message_size = 16777216

[debug]
  level = "info"

[metrics]
  address = ""
  grpc_histogram = false

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.10"
    max_container_log_line_size = 16384
    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      snapshotter = "overlayfs"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
          SystemdCgroup = true
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
"""
#: As nvidia-ctk writes it.
NVIDIA = b"""version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "nvidia"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
    BinaryName = "/usr/bin/nvidia-container-runtime"
    SystemdCgroup = true
"""
RUNTIME = b"""[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.r%d]
  runtime_type = "io.containerd.runc.v2"
  privileged_without_host_devices = false
  pod_annotations = ["a.b/c"]
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.r%d.options]
    SystemdCgroup = true
"""


def timed(what: Callable[[], object], runs: int) -> tuple[float, float]:
    """Best and median of `runs`, in seconds, after one that does not count."""
    what()
    took = []
    for _ in range(runs):
        start = time.perf_counter()
        what()
        took.append(time.perf_counter() - start)
    return min(took), statistics.median(took)


def default_config() -> tuple[str, bytes]:
    """What it is, and a configuration of some 250 lines."""
    program = shutil.which("containerd")
    if program is not None:
        done = subprocess.run([program, "config", "default"], capture_output=True, check=False)
        if done.returncode == 0 and done.stdout:
            return "containerd config default", done.stdout
    return "36 more handlers", KUBEADM + b"".join(RUNTIME % (n, n) for n in range(36))


def compare(name: str, files: dict[str, bytes], runs: int) -> None:
    """One line per release."""
    lines = sum(len(data.splitlines()) for data in files.values())
    print(f"{name}: {len(files)} files, {lines} lines")
    parse = None
    if sys.version_info >= (3, 11):
        tomllib = importlib.import_module("tomllib")
        texts = [data.decode() for data in files.values()]
        parse = timed(lambda: [tomllib.loads(text) for text in texts], runs)
        print(f"  tomllib     best {parse[0] * 1e3:7.2f} ms  median {parse[1] * 1e3:7.2f} ms")
    held = MemoryFiles(files)
    for version in [*ALIASES.values(), None]:
        took = timed(lambda version=version: load(held, version), runs)  # type: ignore[misc]
        ratio = f"  {took[0] / parse[0]:5.1f} x tomllib" if parse else ""
        print(f"  {version or 'not known':11s} best {took[0] * 1e3:7.2f} ms  median {took[1] * 1e3:7.2f} ms{ratio}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs: int = parser.parse_args().runs
    compare("kubeadm and a drop-in", {DEFAULT_CONFIG: KUBEADM, DROPIN: NVIDIA}, runs)
    name, data = default_config()
    compare(name, {DEFAULT_CONFIG: data}, runs)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        main_file = root / DEFAULT_CONFIG.lstrip("/")
        (root / DROPIN.lstrip("/")).parent.mkdir(parents=True)
        main_file.write_bytes(KUBEADM)
        (root / DROPIN.lstrip("/")).write_bytes(NVIDIA)
        command = [sys.executable, "-m", "pytest_gpuready.containerd", "--root", folder]
        for version in ALIASES:
            command += ["--version", version]
        took = timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True), min(runs, 10))
        print(f"the command, six versions: best {took[0] * 1e3:.0f} ms  median {took[1] * 1e3:.0f} ms")
        main_file.write_bytes(b"# fifty megabytes\n" * (50_000_000 // 18))
        files: Files = RootFiles(root)
        took = timed(lambda: load(files, ALIASES["2.2"]), min(runs, 5))
        print(f"a file of 50 MB, refused as too large: best {took[0] * 1e3:.0f} ms  median {took[1] * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
