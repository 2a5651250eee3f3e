"""The sh scripts that look at a node's driver, and the reading of what they print.

Each is one process on the node. They read sysfs, procfs, the loader's cache and modprobe's configuration; none of them
opens a device, loads a module, or calls a program of NVIDIA's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.model import Refused
from pytest_gpuready.node.facts import SHORT, script
from pytest_gpuready.node.trust import USE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request

# readlink runs for NVIDIA's functions alone.
_PCI = r"""
[ -d /sys/bus/pci/devices ] || { echo "nobus"; exit 0; }
echo "bus"
for d in /sys/bus/pci/devices/*; do
  { read -r v <"$d/vendor"; } 2>/dev/null || continue
  [ "$v" = 0x10de ] || continue
  i=; c=
  { read -r i <"$d/device"; read -r c <"$d/class"; } 2>/dev/null
  l=$(readlink "$d/driver" 2>/dev/null)
  f=pf; [ ! -e "$d/physfn" ] || f=vf
  echo "pci ${d##*/} $i $c $f ${l##*/}"
done
"""

#: NVIDIA's PCI functions: address, device id, class, physical or virtual, driver.
PCI: Request = script("PCI devices of NVIDIA", _PCI, limit=SHORT)

_MODULE = r"""
k=$(uname -r)
set --
for f in /lib/modules/*/modules.dep /run/booted-system/kernel-modules/lib/modules/*/modules.dep; do
  [ ! -r "$f" ] || set -- "$@" "$f"
done
[ $# -eq 0 ] || grep -oE '^[^: ]*nvidia[^/: ]*[.]ko[.a-z0-9]*:' "$@" /dev/null | sed 's/^/dep /'
[ ! -e "/lib/modules/$k/build/Makefile" ] || echo "headers"
{ modinfo nvidia || modinfo nvidia-current; } 2>/dev/null |
  sed -nE 's/^(version|license|signer):[[:space:]]*/info \1 /p'
s='[[:space:]]'
grep -EnsH "^$s*(blacklist$s+nvidia|install$s+nvidia$s+(/usr)?/bin/(false|true))$s*(#.*)?\$" \
  /etc/modprobe.d/*.conf /run/modprobe.d/*.conf /usr/local/lib/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf \
  /lib/modprobe.d/*.conf /dev/null | sed 's/^/deny /'
set -f
{ read -r s </proc/cmdline; } 2>/dev/null && for w in $s; do
  case $w in modprobe.blacklist=*|module_blacklist=*|rd.driver.blacklist=*) echo "cmdline $w" ;; esac
done
{ read -r s </sys/module/module/parameters/sig_enforce; } 2>/dev/null && echo "enforce $s"
for f in /var/lib/shim-signed/mok/MOK.der /var/lib/dkms/mok.pub /etc/pki/akmods/certs/public_key.der; do
  [ ! -e "$f" ] || echo "mok $f"
done
exit 0
"""

#: The module on disk: for which kernels, which version, signed by whom, denied by what.
MODULE: Request = script("nvidia module on disk", _MODULE, limit=2 * SHORT)

#: Where the libraries lie beside the loader's cache: kind of place, folder.
PLACES: tuple[tuple[str, str], ...] = (
    ("folder", "/usr/lib/x86_64-linux-gnu"),
    ("folder", "/usr/lib/aarch64-linux-gnu"),
    ("folder", "/usr/lib64"),
    ("folder", "/usr/lib"),
    ("operator", "/run/nvidia/driver/usr/lib/x86_64-linux-gnu"),
    ("operator", "/run/nvidia/driver/usr/lib/aarch64-linux-gnu"),
    ("operator", "/run/nvidia/driver/usr/lib64"),
    ("operator", "/run/nvidia/driver/usr/lib"),
    ("root", "/usr/local/nvidia/lib64"),
    ("root", "/home/kubernetes/bin/nvidia/lib64"),
    ("nixos", "/run/opengl-driver/lib"),
    ("wsl", "/usr/lib/wsl/lib"),
    ("tegra", "/usr/lib/aarch64-linux-gnu/tegra"),
    ("tegra", "/usr/lib/aarch64-linux-gnu/nvidia"),
)

#: The two libraries without which nothing runs: NVML and CUDA.
NAMES: tuple[str, ...] = ("libnvidia-ml.so.1", "libcuda.so.1")

_LIBRARIES = (
    f"""{USE}"""
    r"""
look() {
  tw "$2"
  [ -z "$y" ] || { printf 'refused %s: %s\n' "$2" "$y"; return 0; }
  printf 'lib %s %s\n' "$1" "$2"
  if [ -d "$2" ]; then echo "folder"
  elif [ -e "$2" ]; then
    echo "real $(readlink -f -- "$2" 2>/dev/null)"
    [ -s "$2" ] || { echo "empty"; return 0; }
    [ -r "$2" ] || { echo "unreadable"; return 0; }
    set -- $(od -An -v -tx1 -N20 <"$2" 2>/dev/null | tr '\n' ' ')
    echo "head $*"
  elif [ -L "$2" ]; then echo "broken $(readlink -- "$2" 2>/dev/null)"
  else echo "gone"
  fi
}
c=$(ldconfig -p 2>/dev/null | sed -nE 's/^[[:space:]]*(libnvidia-ml|libcuda)[.]so[.]1 [^>]*=> (.*)$/\2/p')
[ -z "$(command -v ldconfig)" ] || echo "cache"
f=
IFS=' '
for e in $1; do
  case $c in *"${e#*:}/"*) continue ;; esac
  for n in $2; do
    p=${e#*:}/$n
    if [ -e "$p" ] || [ -L "$p" ]; then f="$f${e%%:*} $p$tJ"; fi
  done
done
IFS=$tJ
set -f
set -- $c
for p in $f; do set -- "$@" "${p#* }"; done
tV "$@"
for p in $c; do IFS=' '; look cache "$p"; done
IFS=$tJ
for p in $f; do IFS=' '; look "${p%% *}" "${p#* }"; done
"""
)

#: libnvidia-ml and libcuda: in the loader's cache and in every place of `PLACES`.
LIBRARIES: Request = script(
    "ldconfig -p and driver roots",
    _LIBRARIES,
    " ".join(f"{kind}:{folder}" for kind, folder in PLACES),
    " ".join(NAMES),
    limit=SHORT,
)

# dmesg first: it needs no journal. Where the kernel hides it from this user, systemd's journal may not.
_LOG = r"""
p='NVRM|[Nn]vidia|nouveau|SXid|unsigned module|Key was rejected|module verification failed'
if o=$(dmesg 2>/dev/null); then
  echo "source dmesg"
  printf '%s\n' "$o" | sed -n '1s/^\(\[[^]]*\]\).*/begins \1/p'
  printf '%s\n' "$o" | grep -E "$p" | tail -n 400 | sed 's/^/line /'
elif o=$(journalctl -k -b -q --no-pager -o short-monotonic 2>/dev/null) && [ -n "$o" ]; then
  echo "source journalctl -k -b"
  printf '%s\n' "$o" | sed -n '1s/^\(\[[^]]*\]\).*/begins \1/p'
  printf '%s\n' "$o" | grep -E "$p" | tail -n 400 | sed 's/^/line /'
elif [ -n "$(command -v dmesg)" ]; then echo "denied"
fi
exit 0
"""

#: What the kernel said of the driver since boot.
KERNEL_LOG: Request = script("kernel log", _LOG, timeout=5)


@dataclass(frozen=True)
class PciDevice:
    """A PCI function of NVIDIA's: `driver` is empty where none is bound, `virtual` an SR-IOV function."""

    address: str
    device: int
    kind: int
    virtual: bool
    driver: str

    @property
    def is_gpu(self) -> bool:
        """A display controller: VGA (0x0300) or 3D (0x0302)."""
        return self.kind >> 8 in (0x0300, 0x0302)

    @property
    def is_nvswitch(self) -> bool:
        """An NVSwitch: a bridge of class 0x0680; chipsets of NVIDIA's from before 2010 have ids below 0x1000."""
        return self.kind >> 8 == 0x0680 and self.device >= 0x1000

    def __str__(self) -> str:
        return f"{self.address} 10de:{self.device:04x} ({self.driver or 'no driver'})"


@dataclass(frozen=True)
class Library:
    """A shared library: the place it was found in, its path, what it resolves to, what is wrong with it (or None)."""

    kind: str
    path: str
    real: str
    fault: str | None
    #: The ELF machine (62 x86-64, 183 aarch64) and class (32 or 64), where it is an ELF file.
    machine: int | None = None
    bits: int | None = None

    @property
    def name(self) -> str:
        """`libcuda.so.1` or `libnvidia-ml.so.1`."""
        return self.path.rpartition("/")[2]

    @property
    def version(self) -> str | None:
        """The version its real file's name ends in: `libcuda.so.580.159.04`."""
        match = re.search(r"\.so\.(\d+\.\d+(?:\.\d+)?)$", self.real)
        return match[1] if match else None

    def fits(self, machine: str) -> bool:
        """It is whole and of the node's architecture (`uname -m`)."""
        wanted = {"x86_64": 62, "aarch64": 183}.get(machine)
        return self.fault is None and self.bits == 64 and (wanted is None or self.machine == wanted)

    def trouble(self, machine: str) -> str | None:
        """What is wrong with it on a node of this architecture, in words; None if nothing is."""
        if self.fault is not None:
            return self.fault
        return None if self.fits(machine) else f"is no {machine} library (ELF {self.bits} bit, machine {self.machine})"


@dataclass(frozen=True)
class ModuleOnDisk:
    """What the module's files say. `built`: kernel release → its nvidia.ko; `denied`: (path, line, text).

    `cmdline` are the kernel's command line's words that keep modules from being loaded.
    """

    built: dict[str, str]
    headers: bool
    version: str | None
    license: str | None
    signer: str | None
    denied: tuple[tuple[str, int, str], ...]
    cmdline: tuple[str, ...]
    enforced: bool
    keys: tuple[str, ...]

    @property
    def flavour(self) -> str | None:
        """`open` (Dual MIT/GPL) or `proprietary` (NVIDIA), by the licence that the module declares."""
        if self.license is None:
            return None
        return "open" if "MIT" in self.license or "GPL" in self.license else "proprietary"


@dataclass(frozen=True)
class KernelLog:
    """The kernel's words on the driver: which program gave them, how far back it reaches, the lines."""

    source: str
    begins: float | None
    lines: tuple[str, ...]


def pci_devices(text: str) -> list[PciDevice] | None:
    """What `PCI` prints; None where the node has no PCI bus in sysfs."""
    if not text.startswith("bus"):
        return None
    found = []
    for line in text.splitlines():
        match = re.fullmatch(
            r"pci ([0-9a-f]+:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) 0x([0-9a-f]{1,4}) 0x([0-9a-f]{1,6}) ([pv]f) ?(\S*)", line
        )
        if match:
            found.append(PciDevice(match[1], int(match[2], 16), int(match[3], 16), match[4] == "vf", match[5]))
    return found


def libraries(text: str) -> tuple[bool, list[Library]]:
    """Parse `LIBRARIES`: whether the node has a loader cache that can be listed, and each library in order.

    Raises:
        Undetermined: an untrusted library is among them; which one a program gets is not known then.
    """
    lines = text.splitlines()
    refused = next((line for line in lines if line.startswith("refused ")), None)
    if refused is not None:
        raise Refused("a library", refused.removeprefix("refused "))
    return "cache" in lines, [library for library in map(_library, _records(lines)) if library is not None]


def _records(lines: list[str]) -> Iterator[list[str]]:
    record: list[str] = []
    for line in lines:
        if line.startswith("lib "):
            if record:
                yield record
            record = [line]
        elif record:
            record.append(line)
    if record:
        yield record


def _library(record: list[str]) -> Library | None:
    _, kind, path = [*record[0].split(" ", 2), "", ""][:3]
    if not path.startswith("/") or path.rpartition("/")[2] not in NAMES:
        return None
    said = dict((line.split(" ", 1) + [""])[:2] for line in record[1:])  # noqa: RUF005 - a pair either way
    real = said.get("real") or path
    for word, fault in (
        ("gone", "is listed in the loader's cache and is not there"),
        ("folder", "is a folder"),
        ("empty", "is an empty file"),
        ("unreadable", "cannot be read"),
    ):
        if word in said:
            return Library(kind, path, real, fault)
    if "broken" in said:
        return Library(
            kind, path, said["broken"] or path, f"is a link to {said['broken'] or 'nothing'}, which is not there"
        )
    head = said.get("head", "").split()
    if (
        head[:4] != ["7f", "45", "4c", "46"]
        or len(head) < 20
        or not all(re.fullmatch("[0-9a-f]{2}", byte) for byte in head)
    ):
        return Library(kind, path, real, "is no ELF file")
    return Library(kind, path, real, None, int(head[19] + head[18], 16), {"01": 32, "02": 64}.get(head[4], 0))


#: nvidia.ko as distributions name it (Debian: nvidia-current.ko); not its companions (nvidia-uvm.ko …).
_MODULE_FILE = re.compile(r"nvidia(?:-(?:current|tesla|legacy|open|\d)[-a-z0-9.]*)?\.ko(?:\.[a-z0-9]+)?")
_COMPANION = re.compile(r"-(?:uvm|drm|modeset|peermem)\.ko")


def module_on_disk(text: str) -> ModuleOnDisk:
    """What `MODULE` prints."""
    built: dict[str, str] = {}
    info: dict[str, str] = {}
    denied: dict[tuple[str, str], tuple[str, int, str]] = {}
    lines = text.splitlines()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "dep" and (match := re.fullmatch(r"(.*/modules/([^/]+))/modules\.dep:(.+):", rest)):
            name = match[3].rpartition("/")[2]
            if _MODULE_FILE.fullmatch(name) and not _COMPANION.search(name):
                built.setdefault(match[2], match[3] if match[3].startswith("/") else f"{match[1]}/{match[3]}")
        elif word == "info":
            key, _, value = rest.partition(" ")
            info.setdefault(key, value.strip())
        elif word == "deny" and (match := re.fullmatch(r"(/[^:]+):(\d{1,9}):(.*)", rest)):
            # A file of the same name in an earlier folder stands for the later ones (modprobe.d(5)).
            denied.setdefault((match[1].rpartition("/")[2], match[3]), (match[1], int(match[2]), match[3].strip()))
    return ModuleOnDisk(
        built=built,
        headers="headers" in lines,
        version=info.get("version") or None,
        license=info.get("license") or None,
        signer=info.get("signer") or None,
        denied=tuple(denied.values()),
        cmdline=tuple(line[8:] for line in lines if line.startswith("cmdline ")),
        enforced="enforce Y" in lines or "enforce 1" in lines,
        keys=tuple(line[4:] for line in lines if line.startswith("mok /")),
    )


def kernel_log(text: str) -> KernelLog | None:
    """What `KERNEL_LOG` prints; None where the kernel showed this user nothing."""
    lines = text.splitlines()
    source = next((line[7:] for line in lines if line.startswith("source ")), None)
    if source is None:
        return None
    begins = next((re.search(r"(\d{1,12}\.\d+)", line) for line in lines if line.startswith("begins ")), None)
    return KernelLog(
        source, float(begins[1]) if begins else None, tuple(line[5:] for line in lines if line.startswith("line "))
    )
