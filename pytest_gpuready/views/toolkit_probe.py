"""What the node is asked about the NVIDIA Container Toolkit, and the shapes of the answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gpuready.model import Where
from pytest_gpuready.node.facts import SHORT, file, glob, script
from pytest_gpuready.node.trust import USE
from pytest_gpuready.views.platform_probe import FURTHER_PLACES

if TYPE_CHECKING:
    from pytest_gpuready.containerd.toml import Document, TomlError
    from pytest_gpuready.node.facts import Request

#: The packages of the family, of one version each (toolkit packaging/debian/control, packaging/rpm/SPECS).
FAMILY: tuple[str, ...] = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
#: Names that some distributions and older releases have beside them (Arch has one package for the library and the CLI).
OTHERS: tuple[str, ...] = ("nvidia-container-runtime", "nvidia-docker2", "libnvidia-container")
#: Whose origin decides how advisories are read.
DAEMONS: tuple[str, ...] = ("containerd", "containerd.io", "moby-containerd", "moby-runc", "runc", "crun")

#: The programs of the family that tell their version without touching the driver.
PROGRAMS: tuple[str, ...] = (
    "nvidia-container-runtime",
    "nvidia-container-runtime-hook",
    "nvidia-container-cli",
    "nvidia-cdi-hook",
    "nvidia-ctk",
)
RUNTIME = "nvidia-container-runtime"

OPERATOR_ROOT = "/usr/local/nvidia/toolkit"
CONFIG = "/etc/nvidia-container-runtime/config.toml"
OPERATOR_CONFIG = f"{OPERATOR_ROOT}/.config/nvidia-container-runtime/config.toml"
CONFIGS: tuple[Request, ...] = (file(CONFIG), file(OPERATOR_CONFIG))

#: The routes on which nvidia-container-runtime starts the container.
RUNTIME_ROUTES: tuple[str, ...] = ("ctr-runtime", "cri-handler", "cri-default")

MODES: tuple[str, ...] = ("auto", "legacy", "cdi", "csv", "jit-cdi")

# With `debug` set, the runtime writes to that log even for --version: looking changes nothing, so from 1.18 on it is
# given its configuration without that line (NVIDIA_CTK_CONFIG_FILE_PATH), and before it is not run (`logs`).
_VERSIONS = (
    f"""{USE}"""
    r"""
section='/^[[:space:]]*\[nvidia-container-runtime\]/,/^[[:space:]]*\[/'
logs() {
  sed -n "$section"'{/^[[:space:]]*debug[[:space:]]*=/p;}' "$1" 2>/dev/null | grep -v '"/dev/null"' | grep -q .
}
# One that does not end, such as a runtime that starts itself, must not keep the others from answering.
t=
if timeout 1 true 2>/dev/null; then t='timeout 4'; fi
w=
tf "$1" "$PATH:$2"
set -f
# nvidia-container-runtime starts the runc that it finds on PATH.
g=$PATH
IFS=:
tV $2
for d in $2; do tw "$d"; [ -n "$y" ] || g=$g:$d; done
IFS=$tJ
for p in $tF; do
  IFS=' '
  tw "$p"
  [ -x "$p" ] && [ -z "$y" ] || continue
  d=${p%/*} n=${p##*/}
  printf 'prog %s\n' "$p"
  case $n in
  nvidia-container-runtime)
    c=/etc/nvidia-container-runtime/config.toml
    case $d in /usr/local/nvidia/toolkit) c=$d/.config/nvidia-container-runtime/config.toml ;; esac
    ty "$c"
    if [ -n "$y" ] || logs "$c"; then
      m=0
      case $d in
        /usr/local/nvidia/toolkit) ;;
        *)
          w=$y
          tw "$d/nvidia-ctk"
          [ -n "$y$w" ] ||
            m=$("$d/nvidia-ctk" --version 2>/dev/null </dev/null | sed -n 's/.*version 1\.\([0-9]*\).*/\1/p')
          ;;
      esac
      if [ "${m:-0}" -lt 18 ]; then printf 'logs %s\n' "$c"; continue; fi
      o=$(sed "$section"'{/^[[:space:]]*debug[[:space:]]*=/d;}' "$c" |
        PATH=$g NVIDIA_CTK_CONFIG_FILE_PATH=/dev/stdin $t "$p" --version 2>&1)
      r=$?
    else
      o=$(PATH=$g $t "$p" --version 2>&1 </dev/null)
      r=$?
    fi
    ;;
  *)
    o=$($t "$p" --version 2>&1 </dev/null)
    r=$?
    ;;
  esac
  printf '%s\n' "$o" | head -n 40 | sed 's/^/> /'
  echo "rc $r"
done
"""
)

_PACKAGES = r"""
n="$1"
f=
for p in $2; do [ ! -e "$p" ] || f="$f $p"; done
if command -v dpkg-query >/dev/null 2>&1; then
  echo manager deb
  dpkg-query -W -f='pkg|deb|${Package}|${Version}|${db:Status-Status}|${Maintainer}|${db:Status-Want}\n' $n 2>/dev/null
  set --
  for p in $f; do set -- "$@" -e "$p"; done
  [ $# -eq 0 ] || ! cd /var/lib/dpkg/info ||
    grep -FxH "$@" -- *nvidia*.list *containerd*.list runc*.list moby*.list 2>/dev/null |
    sed 's#^\(.*\)\.list:\(/.*\)$#own|\2|\1#'
fi
if command -v rpm >/dev/null 2>&1; then
  echo manager rpm
  # As root rpm writes beside its database even to read it (sqlite's -shm, Berkeley DB's __db.*); nobody may read too.
  q='setpriv --reuid=65534 --regid=65534 --clear-groups rpm'
  if [ "$(id -u)" != 0 ]; then q=rpm; fi
  case $($q -q rpm 2>&1) in *rror*|*"not found"*|*denied*) q=rpm ;; esac
  $q -q --qf 'pkg|rpm|%{NAME}|%{VERSION}-%{RELEASE}|installed|%{VENDOR}\n' $n 2>/dev/null | grep '^pkg|'
  for p in $f; do $q -qf --qf "own|$p|%{NAME}\\n" "$p" 2>/dev/null | grep '^own|'; done
fi
if command -v pacman >/dev/null 2>&1; then
  echo manager pacman
  pacman -Q $n 2>/dev/null | sed 's/^\([^ ]*\) \(.*\)$/pkg|pacman|\1|\2|installed|Arch Linux/'
  for p in $f; do o=$(pacman -Qoq "$p" 2>/dev/null) && echo "own|$p|$o"; done
fi
exit 0
"""
#: Files whose owning package is asked for.
OWNED: tuple[str, ...] = (
    "/usr/bin/nvidia-container-runtime",
    "/usr/bin/nvidia-container-cli",
    "/usr/bin/containerd",
    "/usr/bin/runc",
    "/usr/sbin/runc",
)

VERSIONS: Request = script(
    "versions of the toolkit's programs",
    _VERSIONS,
    " ".join(PROGRAMS),
    ":".join(FURTHER_PLACES),
    timeout=10,
    limit=SHORT,
)
PACKAGES: Request = script(
    "packages of the toolkit",
    _PACKAGES,
    " ".join([*FAMILY, *OTHERS, *DAEMONS]),
    " ".join(OWNED),
    timeout=10,
    limit=SHORT,
)
# The operator's installer, in the toolkit's pod (toolkit v1.20.0:cmd/nvidia-ctk-installer/main.go:130).
_INSTALLER = r"""
for d in /proc/[0-9]*; do
  { read -r c <"$d/comm"; } 2>/dev/null || continue
  case $c in nvidia-ctk-inst*|nvidia-toolkit) ;; *) continue ;; esac
  u=
  { while read -r k l; do [ "$k" != Uid: ] || u=$l; done <"$d/status"; } 2>/dev/null
  case $u in *[!0[:space:]]*|'') continue ;; esac
  echo "pid ${d#/proc/}"
  if [ -r "$d/environ" ]; then tr '\0' '\n' 2>/dev/null <"$d/environ" | grep -E '^(ENABLE_NRI_PLUGIN|NRI_SOCKET)='; fi
done
exit 0
"""
INSTALLER: Request = script("toolkit installer of the GPU operator", _INSTALLER)
# Repositories that name NVIDIA, without what else stands in their files (user names, passwords).
_REPOSITORIES = r"""
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
  /etc/yum.repos.d/*.repo /etc/zypp/repos.d/*.repo; do
  case ${f##*/} in *nvidia*) [ -f "$f" ] ;; *) grep -qsi nvidia "$f" ;; esac || continue
  echo "file $f"
  grep -iE '^[[:space:]]*(\[|baseurl|mirrorlist|metalink|enabled|deb[[:space:]]|uris|$)' "$f" | sed 's/^/> /'
done
exit 0
"""
REPOSITORIES: Request = script("package repositories of NVIDIA's", _REPOSITORIES)
TEGRA_RELEASE = "/etc/nv_tegra_release"
SOC_FAMILY = file("/sys/devices/soc0/family")
UID_MAP = file("/proc/self/uid_map")
#: 195 is the major of the driver's own nodes.
CHAR_LINKS = glob("/dev/char/195:*")
GUESSES: tuple[str, ...] = ("/sbin/ldconfig", "/sbin/ldconfig.real", OPERATOR_ROOT, "/run/nvidia/driver")


def numbers(text: str) -> tuple[int, ...]:
    """The leading dotted numbers of a version; a Debian epoch is dropped: `1:1.17.8~rc.1-1` is (1, 17, 8)."""
    found = re.match(r"(?:\d+:)?v?(\d{1,18}(?:\.\d{1,18}){0,3})", text.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else ()


@dataclass(frozen=True)
class Package:
    """An installed package: its manager's word (deb, rpm, pacman), name, version with release, and who made it."""

    manager: str
    name: str
    version: str
    vendor: str = ""

    @property
    def is_nvidias(self) -> bool:
        """NVIDIA built it: its version is upstream's."""
        return "nvidia" in self.vendor.lower()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Said:
    """What a program answered to `--version`: its words and exit status.

    `logs` names the configuration that kept us from asking (the runtime would write to the log that it sets).
    """

    path: str
    text: str
    rc: int | None
    logs: str | None = None

    @property
    def version_text(self) -> str | None:
        """The version in its words: `version 1.17.8`, `cli-version: 1.17.8`."""
        found = re.search(
            r"^(?:NVIDIA [A-Za-z ]+ version|cli-version:|version:)\s+v?(\d+\.\d+\S*)", self.text, re.MULTILINE
        )
        return found[1] if found else None

    @property
    def library_version_text(self) -> str | None:
        """nvidia-container-cli tells the version of libnvidia-container.so.1 too."""
        found = re.search(r"^lib-version:\s+(\d+\.\d+\S*)", self.text, re.MULTILINE)
        return found[1] if found else None

    @property
    def without_driver(self) -> bool:
        """The operator's wrapper went straight to runc, since the driver's module is not loaded."""
        return "nvidia driver modules are not yet loaded" in self.text


@dataclass(frozen=True)
class Config:
    """A configuration file of the runtime: None for a document means that there is no file (the defaults hold)."""

    path: str
    document: Document | None
    error: TomlError | None = None

    def get(self, *keys: str) -> Any:
        """The value at a path of keys; None where it is not set."""
        node: Any = self.document.root if self.document is not None else {}
        for key in keys:
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        return node

    def text(self, *keys: str) -> str:
        """The string at a path of keys; "" where it is not set or no string."""
        value = self.get(*keys)
        return value if isinstance(value, str) else ""

    def where(self, *keys: str) -> Where:
        """The place of a key."""
        line = self.document.line_of(keys) if self.document is not None else None
        return Where(self.path, line)


#: What a repository with the toolkit has in its address: NVIDIA's own two, and Amazon's.
_CARRIERS = re.compile(
    r"libnvidia-container|/compute/cuda/repos|amazonlinux.*nvidia|nvidia-container-toolkit", re.IGNORECASE
)


_ADDRESS = re.compile(r"(deb\s|uris\s*:|baseurl\s*=)", re.IGNORECASE)


def repositories(text: str) -> list[str]:
    """The files of enabled package repositories that carry the toolkit, from the answer to `REPOSITORIES`."""
    found: list[str] = []
    for block in re.split(r"^file ", text, flags=re.MULTILINE)[1:]:
        path, *lines = block.splitlines() or [""]
        # Sections of a .repo begin with [name], stanzas of .sources end with an empty line; a .list has a line each.
        section: list[str] = []
        sections = [section]
        for line in (line[2:].strip() for line in lines if line.startswith("> ")):
            if not line or line.startswith("[") or path.endswith(".list"):
                section = []
                sections.append(section)
            section.append(line)
        for one in sections:
            # A file that is named after the packages is of a mirror, whatever its address.
            named = _CARRIERS.search(path) and any(_ADDRESS.match(line) for line in one)
            carries = named or any(_CARRIERS.search(line) for line in one)
            off = any(re.match(r"enabled\s*[=:]\s*(?:0|no|false)\b", line, re.IGNORECASE) for line in one)
            if carries and not off and path not in found:
                found.append(path)
    return found
