"""The toolkit's stand-ins as Debian packages in a repository, the driver's as files, and the image.

Packages are split and named as NVIDIA's (see each stand-in for what it cannot show), so that what a user types,
``apt-get install -y nvidia-container-toolkit``, is what installs them.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import image

if TYPE_CHECKING:
    import os

HERE = Path(__file__).parent / "standins"
VERSION = "1.18.2-1"
SHARE = Path("usr/share/gpuready-lab")


@dataclass(frozen=True)
class Package:
    """One package: its files (path on the node: stand-in), its relations, its postinst."""

    name: str
    files: dict[str, str]
    depends: str = ""
    links: dict[str, str] = field(default_factory=dict)
    postinst: str = ""
    relations: str = ""

    def lay_out(self, root: Path) -> list[str]:
        """Write the package's files below ``root``; return their paths, without the first slash."""
        for target, source in self.files.items():
            _copy(HERE / source, root / target, 0o755 if "/bin/" in target else 0o644)
        for target, source in self.links.items():
            (root / target).symlink_to(source)
        if self.name == "libnvidia-container1":
            folder = root / "usr/lib" / _output("gcc", "-print-multiarch")
            folder.mkdir(parents=True)
            empty = ("-shared", "-x", "c", "/dev/null", "-Wl,-soname,libnvidia-container.so.1")
            _output("gcc", *empty, "-o", folder / "libnvidia-container.so.1.18.2")
            (folder / "libnvidia-container.so.1").symlink_to("libnvidia-container.so.1.18.2")
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


BASE_POSTINST = """#!/bin/sh
set -e
if [ ! -e /etc/nvidia-container-runtime/config.toml ]; then
    mkdir -p /etc/nvidia-container-runtime
    cp /usr/share/gpuready-lab/config.toml /etc/nvidia-container-runtime/config.toml
fi
systemctl enable nvidia-cdi-refresh.service nvidia-cdi-refresh.path
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl start nvidia-cdi-refresh.path
fi
"""

PACKAGES = (
    Package(
        "nvidia-container-toolkit-base",
        {
            "usr/bin/nvidia-container-runtime": "nvidia-container-runtime",
            "usr/bin/nvidia-ctk": "nvidia-ctk",
            "usr/bin/nvidia-cdi-hook": "nvidia-cdi-hook",
            "etc/systemd/system/nvidia-cdi-refresh.service": "nvidia-cdi-refresh.service",
            "etc/systemd/system/nvidia-cdi-refresh.path": "nvidia-cdi-refresh.path",
        },
        postinst=BASE_POSTINST,
        relations="Provides: nvidia-container-runtime\nBreaks: nvidia-container-runtime (<= 3.5.0-1)\n",
    ),
    Package(
        "nvidia-container-toolkit",
        {"usr/bin/nvidia-container-runtime-hook": "nvidia-container-runtime-hook"},
        depends=f"nvidia-container-toolkit-base (= {VERSION}), libnvidia-container-tools (= {VERSION})",
        links={"usr/bin/nvidia-container-toolkit": "nvidia-container-runtime-hook"},
    ),
    Package(
        "libnvidia-container-tools",
        {"usr/bin/nvidia-container-cli": "nvidia-container-cli"},
        depends=f"libnvidia-container1 (= {VERSION})",
    ),
    Package("libnvidia-container1", {}),
)


def fingerprint() -> str:
    """Return a digest of all that `lay_out` works from."""
    files = [path for folder in (HERE, HERE.parent) for path in sorted(folder.glob("*")) if path.is_file()]
    ours = [path for path in files if path.parent == HERE or path.name in {"packages.py", "image.py", "rpms.py"}]
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in ours)).hexdigest()


def lay_out(root: Path, base: Path) -> None:
    """Write the stand-ins below ``root`` as they lie on a node; ``base`` is the tree that gives busybox."""
    share = root / SHARE
    driver = share / "driver-files"
    driver.mkdir(parents=True)
    for name in ("nvidia-smi", "nvidia-modprobe", "modprobe"):
        _copy(HERE / name, driver / name, 0o755)
    for name in ("functions.sh", "config.toml", "driver.txt", "drop-in.awk", "imports.awk"):
        _copy(HERE / name, share / name, 0o644)
    _copy(HERE / "driver.sh", share / "driver", 0o755)
    (share / "libdir").write_text(f"/usr/lib/{_output('gcc', '-print-multiarch')}\n")
    library = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror")
    _output("gcc", *library, "-Wl,-soname,libnvidia-ml.so.1", "-o", driver / "libnvidia-ml.so", HERE / "nvml.c")
    _output("gcc", *library, "-Wl,-soname,libcuda.so.1", "-o", driver / "libcuda.so", HERE / "cuda.c")
    _output("gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", share / "kubelet", HERE / "kubelet.c")
    for name in ("nvidia", "nvidia-uvm", "nvidia-modeset"):
        _output("gcc", "-c", f'-DNAME="{name}"', "-o", driver / f"{name}.ko", HERE / "module.c")
    repository = share / "toolkit"
    repository.mkdir()
    for package in PACKAGES:
        _build(package, repository)
    index(repository)
    image.write(share / "image.tar", base / "bin/busybox")


def index(repository: Path) -> None:
    """Write the index that apt reads of a folder of packages."""
    stanzas = []
    for path in sorted(repository.glob("*.deb")):
        control = _output("dpkg-deb", "-f", path)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        stanzas.append(f"{control}\nFilename: ./{path.name}\nSize: {len(content)}\nSHA256: {digest}\n")
    (repository / "Packages").write_text("\n".join(stanzas))


@functools.cache
def _architecture() -> str:
    return _output("dpkg", "--print-architecture")


def _build(package: Package, repository: Path) -> None:
    """Make one .deb."""
    root = repository / f".{package.name}"
    control = root / "DEBIAN"
    package.lay_out(root)
    control.mkdir(parents=True)
    (control / "control").write_text(
        f"Package: {package.name}\nVersion: {VERSION}\nArchitecture: {_architecture()}\n"
        "Maintainer: pytest-gpuready's lab <lab@example.invalid>\nSection: utils\nPriority: optional\n"
        + (f"Depends: {package.depends}\n" if package.depends else "")
        + package.relations
        + "Description: stand-in for NVIDIA's package of this name\n"
    )
    if package.postinst:
        (control / "postinst").write_text(package.postinst)
        (control / "postinst").chmod(0o755)
    _output("dpkg-deb", "--root-owner-group", "-Znone", "--build", root, repository / f"{package.name}_{VERSION}.deb")
    shutil.rmtree(root)


def _copy(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _output(*argv: str | os.PathLike[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
