"""Write a CDI spec for this machine's GPUs where NVIDIA's toolkit is not there to do it: ``python cdi.py FILE``.

It brings what nvidia-smi and CUDA's driver API need: the device nodes, the two libraries under the names that the
loader looks for, nvidia-smi. It has no hooks, so nothing of the toolkit is needed to use it. Only for tests: NVIDIA's
``nvidia-ctk cdi generate`` knows far more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Where the loader of a container looks without a cache.
FOLDERS = {"x86_64": "/usr/lib/x86_64-linux-gnu", "aarch64": "/usr/lib/aarch64-linux-gnu"}


def node(path: str) -> dict[str, Any]:
    """A device node as a spec names it."""
    found = Path(path).stat()
    return {
        "path": path,
        "type": "c",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "permissions": "rwm",
    }


def library(name: str) -> Path:
    """The file behind a library's name, by the loader's cache or the driver's own folders."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    paths = re.findall(rf"^\s*{re.escape(name)} \(.*x86-64.*\) => (\S+)$", listed, re.MULTILINE)
    paths += [f"{folder}/{name}" for folder in ("/usr/local/nvidia/lib64", "/usr/lib64", *FOLDERS.values())]
    return next(Path(path).resolve() for path in paths if Path(path).exists())


def spec() -> dict[str, Any]:
    """The spec, as JSON."""
    smi = shutil.which("nvidia-smi") or "/usr/local/nvidia/bin/nvidia-smi"
    asked = [smi, "--query-gpu=index,uuid", "--format=csv,noheader"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    gpus = [tuple(word.strip() for word in line.split(",")) for line in listed.splitlines() if "," in line]
    minors = sorted(Path("/dev").glob("nvidia[0-9]*"), key=lambda path: int(path.name[6:]))
    folder = FOLDERS[os.uname().machine]
    mounts = [(smi, "/usr/bin/nvidia-smi")]
    for name in ("libnvidia-ml.so.1", "libcuda.so.1"):
        real = library(name)
        mounts += [(str(real), f"{folder}/{name}"), (str(real), f"{folder}/{real.name}")]
    devices = []
    for (index, uuid), path in zip(gpus, minors, strict=True):
        devices += [{"name": name, "containerEdits": {"deviceNodes": [node(str(path))]}} for name in (index, uuid)]
    devices.append({"name": "all", "containerEdits": {"deviceNodes": [node(str(path)) for path in minors]}})
    common = [f"/dev/{name}" for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")]
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": devices,
        "containerEdits": {
            "deviceNodes": [node(path) for path in common if Path(path).exists()],
            "mounts": [
                {"hostPath": host, "containerPath": inside, "options": ["ro", "nosuid", "nodev", "bind"]}
                for host, inside in mounts
            ],
        },
    }


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(spec(), indent=1))
