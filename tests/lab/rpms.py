"""The same packages as RPMs, for nodes that are like Fedora: specs that rpmbuild of the node's own tree builds.

What such a node has of Fedora is its package manager (dnf 4, from Debian), its database of packages, its os-release and
NVIDIA's repository. Not Fedora's: the kernel, the libraries' place, SELinux, dnf 5, and how containerd was built; the
packages ``containerd`` and ``runc`` own Debian's programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab import packages

if TYPE_CHECKING:
    from pathlib import Path

#: Where the specs lie on a node, each beside a folder of its files; `fedora.sh` builds them.
SPECS = packages.SHARE / "rpm"

_HEAD = """Name: {name}
Version: {version}
Release: {release}
Summary: stand-in for the package of this name
License: none
Vendor: {vendor}
AutoReqProv: no
{relations}
%description
A stand-in.

%install
mkdir -p %{{buildroot}}
cp -a /{specs}/{name}/. %{{buildroot}}/
"""

#: What `dnf` and the checks ask the database of, beside the toolkit: what Debian's dpkg brought in truth.
_SYSTEM = {
    "fedora-release": ("42", "30", "Fedora Project", ("/etc/fedora-release",), "Provides: system-release = 42"),
    "bash": ("5.2.37", "1.fc42", "Fedora Project", ("/bin/bash",), "Provides: /bin/sh"),
    "containerd": ("@CONTAINERD@", "1.fc42", "Fedora Project", ("/usr/bin/containerd", "/usr/bin/ctr"), ""),
    "runc": ("@RUNC@", "1.fc42", "Fedora Project", ("/usr/sbin/runc",), ""),
}


def lay_out(root: Path) -> None:
    """Write specs and files below ``root``, where `packages.lay_out` has written the Debian packages."""
    folder = root / SPECS
    folder.mkdir(parents=True)
    version, _, release = packages.VERSION.partition("-")
    for package in packages.PACKAGES:
        files = package.lay_out(folder / package.name)
        wanted = [part.strip(" )").replace("(=", "=") for part in package.depends.split(",") if part]
        relations = "".join(f"Requires: {part}\n" for part in wanted)
        head = _HEAD.format(name=package.name, version=version, release=release, vendor="NVIDIA CORPORATION",
                            relations=relations, specs=SPECS)  # fmt: skip
        post = f"\n%post\n{package.postinst.partition('set -e')[2]}" if package.postinst else ""
        (folder / f"{package.name}.spec").write_text(head + post + "\n%files\n" + "".join(f"/{one}\n" for one in files))
    system = folder / "system"
    system.mkdir()
    for name, (version, release, vendor, owned, relations) in _SYSTEM.items():
        head = _HEAD.format(
            name=name, version=version, release=release, vendor=vendor, relations=relations, specs=SPECS
        )
        copied = "".join(f"install -D {one} %{{buildroot}}{one}\n" for one in owned)
        head = head.replace(f"cp -a /{SPECS}/{name}/. %{{buildroot}}/\n", copied)
        (system / f"{name}.spec").write_text(head + "\n%files\n" + "".join(f"{one}\n" for one in owned))
