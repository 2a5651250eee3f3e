"""File trees that lab nodes boot from: made once, kept in a cache, never changed.

A node's root file system is an overlay over a stack of read-only layers::

    base          Debian bookworm, minimal: systemd, sshd, runc, curl; one debootstrap for all generations
    containerd-G  Debian's containerd of generation G, installed on top
    lab           the lab's own: users, keys, masked units, the package repository with the toolkit stand-ins
    ready-G       what a healthy node has: the toolkit installed and configured, the driver's files

A node that is like Fedora has a base tree of its own, with rpm and dnf, and its layer ``lab`` is without apt and dpkg.

Only Debian's archive is needed. The host's apt configuration is read for the mirror, never written; downloads use
private apt directories. A layer's directory name holds a digest of what it was made from, so a changed recipe makes a
new one. Layers are made under a lock, in a directory of another name, and renamed when whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import packages, rpms

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERATIONS = {"1.6": "bookworm", "1.7": "trixie", "2.x": "sid"}
"""Each generation of containerd and the Debian suite that has it. bookworm's libc serves all three."""

PACKAGES = (
    *("ca-certificates", "curl", "dbus", "iproute2", "kmod", "openssh-server", "pciutils", "procps", "runc", "sudo"),
    *("systemd", "systemd-sysv", "busybox-static"),
)
"""In the base tree. No python: a node needs none."""

DISTRIBUTIONS: dict[str, tuple[str, ...]] = {"debian": (), "fedora": ("dnf", "rpm", "createrepo-c")}
"""What a node is like, and what its base tree has more. dnf needs python, as it does on Fedora."""

PROGRAMS = {
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "gcc": "gcc",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
"""Programs the lab starts on the host, and the Debian packages that have them."""

HERE = Path(__file__).parent
PUBLIC_MIRROR = "http://deb.debian.org/debian"


class Unavailable(Exception):  # noqa: N818 - it is a reason to skip, no error
    """The lab, or one generation of it, cannot be had here; the text says why."""


@dataclass(frozen=True)
class Tree:
    """The layers of one kind of node, lowest first, and the version of the containerd package in it."""

    generation: str
    layers: tuple[Path, ...]
    containerd: str


def why_not() -> str | None:
    """Say why this machine cannot run nodes, or None where it can."""
    if os.geteuid() != 0:
        return "the lab boots nodes by systemd-nspawn: it needs root"
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if shutil.which("mmdebstrap") and "debootstrap" in missing:
        missing.remove("debootstrap")  # _base prefers the other
    if missing:
        return f"the lab needs these Debian packages: {' '.join(missing)}"
    if (
        "\toverlay\n" not in Path("/proc/filesystems").read_text()
        and run("modprobe", "overlay", check=False).returncode
    ):
        return "the kernel has no overlay file system"
    return None


def run(*argv: str | Path, check: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of the host, its output captured; ``Unavailable`` with its last lines if it fails."""
    done = subprocess.run(
        [str(a) for a in argv],
        check=False,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {}), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if check and done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise Unavailable(f"{' '.join(map(str, argv[:3]))} … ended with {done.returncode}:\n{tail}")
    return done


def cache() -> Path:
    """Return the folder that keeps layers, from GPUREADY_LAB_CACHE or the default; made if missing."""
    path = Path(os.environ.get("GPUREADY_LAB_CACHE") or "/var/cache/gpuready-lab").resolve()
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)  # sshd of a node reads keys through it
    return path


@contextlib.contextmanager
def locked() -> Iterator[Path]:
    """Hold the cache's lock: two runs at once make each layer once."""
    folder = cache()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@functools.cache
def mirror() -> str:
    """Return the Debian archive that the host itself uses, else the public one."""
    fields = "$(LABEL)|$(REPO_URI)"
    listed = run("apt-get", "indextargets", "--format", fields, "Created-By: Packages", check=False).stdout
    for line in listed.splitlines():
        label, _, uri = line.partition("|")
        if label == "Debian" and uri.startswith(("http://", "https://", "file:", "copy:")):
            return uri.rstrip("/")
    return PUBLIC_MIRROR


def digest(*parts: object) -> str:
    """Return twelve hex digits that name what a layer was made from."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]


def tree(generation: str, *, ready: bool = True, distribution: str = "debian") -> Tree:
    """Return the layers for a node of this generation, making what the cache lacks.

    Raises:
        Unavailable: a package could not be had, or a step failed; the text has the step's last lines.
    """
    with locked():
        base = _base(distribution)
        containerd = _containerd(base, generation)
        layers: tuple[Path, ...] = (base, containerd)
        layers += (_lab(layers, generation, distribution),)
        if ready:
            layers += (_ready(layers, generation),)
        for layer in layers:
            os.utime(layer)
        _forget_old()
    return Tree(generation, layers, (containerd / "usr/share/gpuready-lab/containerd").read_text().strip())


def _forget_old() -> None:
    """Remove layers that no run has used for two weeks: recipes change."""
    for layer in cache().glob("*-*"):
        if layer.is_dir() and time.time() - layer.stat().st_mtime > 14 * 86400:
            shutil.rmtree(layer, ignore_errors=True)


def identity() -> Path:
    """Return the private key that opens every node; made on first use."""
    key = cache() / "id_ed25519"
    if not key.exists():
        new = key.with_suffix(f".{os.getpid()}")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gpuready-lab", "-f", new)
        new.with_name(new.name + ".pub").rename(key.with_suffix(".pub"))
        new.rename(key)
    return key


def _half_made(final: Path) -> Path:
    """Return the place to make a layer in, emptied of what a run that died left there."""
    place = final.with_name(f".half-made-{final.name}")
    shutil.rmtree(place, ignore_errors=True)
    return place


@contextlib.contextmanager
def _staged(final: Path) -> Iterator[Path]:
    """Lend a folder for the files of a layer."""
    place = _half_made(final.with_name(f"{final.name}.files"))
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _base(distribution: str = "debian") -> Path:
    """Bootstrap the base tree: the slow step, done once for all generations."""
    wanted_packages = (*PACKAGES, *DISTRIBUTIONS[distribution])
    key = digest("base 1", mirror(), os.uname().machine, *wanted_packages)
    final = cache() / f"base-{key}"
    if final.exists():
        return final
    place = _half_made(final)
    wanted = f"--include={','.join(wanted_packages)}"
    if shutil.which("mmdebstrap"):  # the same tree in two thirds of the time
        source = f"deb {mirror()} bookworm main"
        how = ("--mode=root", "--variant=apt", "--dpkgopt=force-unsafe-io", wanted)
        run("mmdebstrap", *how, "bookworm", place, source)
    else:
        run("debootstrap", "--variant=minbase", wanted, "bookworm", place, mirror())
    for cached in (*place.glob("var/cache/apt/archives/*.deb"), *place.glob("var/lib/apt/lists/*_*")):
        cached.unlink()
    place.rename(final)
    return final


def _layer(final: Path, lowers: tuple[Path, ...], script: str, files: Path | None = None) -> Path:
    """Make one layer: lay ``files`` over ``lowers``, run ``script`` in a chroot of that, keep what changed."""
    if final.exists():
        return final
    place = _half_made(final)
    for name in ("upper", "work", "root"):
        (place / name).mkdir(parents=True)
    if files:
        run("cp", "-a", f"{files}/.", place / "upper")
    (place / "upper").chmod(0o755)
    # In a mount namespace of its own: whatever happens, the host is left without a mount.
    run("unshare", "--mount", "--propagation", "private", "sh", HERE / "chroot.sh", place,
        ":".join(map(str, reversed(lowers))), script)  # fmt: skip
    (place / "upper").rename(final)
    shutil.rmtree(place, ignore_errors=True)
    return final


@functools.cache
def _private_apt() -> tuple[str, ...]:
    """Return apt options for directories of our own that know the three suites; fetches their indexes."""
    home = cache() / "apt"
    for name in ("lists/partial", "archives/partial"):
        (home / name).mkdir(parents=True, exist_ok=True)
    suites = "".join(f"deb {mirror()} {suite} main\n" for suite in GENERATIONS.values())
    (home / "sources.list").write_text(suites)
    options = (
        f"Dir::Etc::SourceList={home}/sources.list",
        "Dir::Etc::SourceParts=/dev/null",
        "Dir::Etc::Preferences=/dev/null",
        "Dir::Etc::PreferencesParts=/dev/null",
        f"Dir::State::Lists={home}/lists",
        "Dir::State::status=/dev/null",
        f"Dir::Cache={home}",
        "Acquire::Languages=none",
        "APT::Sandbox::User=root",
        "APT::Update::Post-Invoke-Success=",
    )
    flags = tuple(word for option in options for word in ("-o", option))
    run("apt-get", *flags, "update")
    return flags


def _containerd(base: Path, generation: str) -> Path:
    """Install Debian's containerd of one generation over the base tree; its package stays in the node's repository."""
    final = cache() / f"containerd-{generation}-{digest('containerd 1', base.name)}"
    if final.exists():
        return final
    suite = GENERATIONS[generation]
    with _staged(final) as files:
        repository = files / packages.SHARE / "debian"
        repository.mkdir(parents=True)
        fetch = ("download", f"containerd/{suite}", "runc/bookworm")
        here = ("sh", "-c", 'cd "$1" && shift && exec apt-get "$@"', "sh", repository)
        download = run(*here, *_private_apt(), *fetch, check=False)
        found = list(repository.glob("containerd_*.deb"))
        if download.returncode or not found:
            raise Unavailable(f"Debian {suite} gave no containerd: {download.stdout.strip()[-300:]}")
        version = run("dpkg-deb", "-f", found[0], "Version").stdout.strip()
        if not version.startswith(generation.removesuffix("x")):
            raise Unavailable(f"Debian {suite} has containerd {version}, not {generation}")
        (repository.parent / "containerd").write_text(f"{version}\n")
        packages.index(repository)
        script = f"dpkg --force-unsafe-io -i /{packages.SHARE}/debian/containerd_*.deb"
        return _layer(final, (base,), script, files)


def _lab(lowers: tuple[Path, ...], generation: str, distribution: str) -> Path:
    """Make the lab's own layer: users, keys, units, the repository of stand-in packages."""
    public = identity().with_suffix(".pub").read_text()
    script = (HERE / "prepare.sh").read_text()
    if distribution == "fedora":
        script += (HERE / "fedora.sh").read_text()
    key = digest("lab 1", *(layer.name for layer in lowers), public, script, packages.fingerprint())
    final = cache() / f"lab-{generation}-{key}"
    if final.exists():
        return final
    with _staged(final) as files:
        try:
            packages.lay_out(files, base=lowers[0])
            if distribution == "fedora":
                rpms.lay_out(files)
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"the stand-ins could not be made: {error}\n{error.stderr}") from error
        (files / packages.SHARE / "authorized_keys").write_text(public)
        return _layer(final, lowers, script, files)


def _ready(lowers: tuple[Path, ...], generation: str) -> Path:
    """Install and configure what a healthy node has, as a user would type it."""
    script = (HERE / "ready.sh").read_text()
    real = os.environ.get("GPUREADY_LAB_TOOLKIT")
    programs = sorted(Path(real).iterdir()) if real else []
    stamp = [(path.name, path.stat().st_mtime_ns) for path in programs]
    # The driver's modules lie in a folder named after the kernel.
    key = digest("ready 1", *(layer.name for layer in lowers), script, stamp, os.uname().release)
    final = cache() / f"ready-{generation}-{key}"
    if final.exists():
        return final
    with _staged(final) as files:
        if programs:
            (files / packages.SHARE / "real").mkdir(parents=True)
        for path in programs:
            shutil.copy2(path, files / packages.SHARE / "real")
        return _layer(final, lowers, script, files)
