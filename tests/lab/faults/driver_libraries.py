"""The driver's libraries: there, found by the loader, of the module's version."""

from __future__ import annotations

from tests.lab.faults.model import NEWEST, Fault

FAULTS = (
    Fault(
        "library-missing",
        "libnvidia-ml is not on the node (catalogue row 2).",
        "rm $LIB/libnvidia-ml.so*; ldconfig",
        ("driver.library-present",),
        blocks=("driver.versions-match", "driver.nvml-answers"),
        says="libnvidia-ml.so.1 not found",
        person="Install the driver's libraries",
        fast=True,
    ),
    Fault(
        "cuda-library-missing",
        "libcuda is not on the node: nvidia-smi works in containers, nothing else does.",
        "rm $LIB/libcuda.so*; ldconfig",
        ("driver.library-present",),
        says="libcuda.so.1 not found",
        person="Install the driver's libraries",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "loader-cache-stale",
        "The libraries were copied in and ldconfig was not run.",
        "mkdir /root/aside; mv $LIB/libnvidia-ml.so* $LIB/libcuda.so* /root/aside; ldconfig; mv /root/aside/* $LIB/",
        ("driver.library-present",),
        spares=("cri-handler",),
        says="where this route does not look",
        fast=True,
    ),
    Fault(
        "library-link-broken",
        "libnvidia-ml.so.1 points to a version that is gone.",
        "ln -sf libnvidia-ml.so.535.1 $LIB/libnvidia-ml.so.1",
        ("driver.library-present",),
        where="$LIB/libnvidia-ml.so.1",
        generations=NEWEST,
    ),
    Fault(
        "library-link-missing",
        "The library is there, and the link libnvidia-ml.so.1 is not.",
        "rm $LIB/libnvidia-ml.so.1",
        ("driver.library-present",),
        says="libnvidia-ml.so.1",
        generations=NEWEST,
    ),
    Fault(
        "library-empty",
        "An interrupted installation left an empty file.",
        ": >$LIB/libnvidia-ml.so.580.159.04",
        ("driver.library-present",),
        where="$LIB/libnvidia-ml.so.1",
        person="Install the driver's libraries",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "library-in-a-folder-of-its-own",
        "The libraries lie where the loader does not search.",
        "mkdir -p /usr/local/nvidia/lib64; mv $LIB/libnvidia-ml.so* $LIB/libcuda.so* /usr/local/nvidia/lib64/; ldconfig",
        ("driver.library-present",),
        says="/usr/local/nvidia/lib64/libnvidia-ml.so.1 is there, where this route does not look",
        no_container="the image has no loader cache, and the stand-in of nvidia-smi looks in the usual folders",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "driver-updated-not-reloaded",
        "An unattended upgrade replaced libraries and modules; the old module is loaded (catalogue row 3).",
        "$DRIVER install 590.48.01",
        ("driver.versions-match",),
        blocks=("driver.nvml-answers", "driver.gpu-count"),
        says="libnvidia-ml.so.1 is 590.48.01, the loaded module is 580.159.04",
        person="Reboot",
        fast=True,
    ),
    Fault(
        "old-library-behind-the-link",
        "Two versions of the libraries, and the link points to the old one.",
        "cp $LIB/libnvidia-ml.so.580.159.04 $LIB/libnvidia-ml.so.570.86.15;"
        " ln -sf libnvidia-ml.so.570.86.15 $LIB/libnvidia-ml.so.1",
        ("driver.versions-match",),
        where="$LIB/libnvidia-ml.so.1",
        generations=NEWEST,
    ),
)
