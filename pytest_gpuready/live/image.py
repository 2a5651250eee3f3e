"""The builtin image: the node's own libc, loader, sh and sleep, put together on the node; and other images' names.

It needs more than a loader: without /etc and a writable root NVIDIA's hooks fail ("Error updating ldcache: … open
/etc/ld.so.conf"), and libnvidia-container chooses a container's library folder by /etc/debian_version
(libnvidia-container src/nvc_container.c). nvidia-smi and the driver's libraries are what the route must bring.
"""

from __future__ import annotations

import re
from typing import Final

BUILTIN: Final = "builtin"

REPOSITORY: Final = "gpuready.invalid/builtin"
"""`.invalid` is no registry's (RFC 2606): nobody can be asked for this name."""

#: `B`: build the image as docker's archive (manifest.json, config.json, layer.tar) in /run/$R or /tmp/$R, whose path
#: is then $d; its status says whether it could. $T is the image's name.
BUILD: Final = r"""
deps() { LD_TRACE_LOADED_OBJECTS=1 t 5 "$1" </dev/null 2>/dev/null 7<&- 8>&- |
  sed -n 's/^.*=> \(\/[^ ]*\) (0x.*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (0x.*/\1/p'; }
put() { [ -e "$o$2" ] || { mkdir -p "$o${2%/*}" && cp -L "$1" "$o$2" && chmod 755 "$o$2"; }; }
B() {
  d=
  for x in "/run/$R" "/tmp/$R"; do if (umask 077; mkdir "$x"); then d=$x; break; fi; done
  [ -n "$d" ] || return 1
  o=$d/root
  for l in usr etc/ld.so.conf.d tmp var/tmp proc sys dev run root; do mkdir -p "$o/$l" || return 1; done
  for l in usr/lib usr/lib64 usr/sbin usr/bin lib lib64 bin sbin; do
    g=$(readlink "/$l" 2>/dev/null)
    case $g in ''|/*|*..*) mkdir -p "$o/$l" ;; *) ln -s "$g" "$o/$l" ;; esac
  done
  chmod 1777 "$o/tmp" "$o/var/tmp"
  sleep=$(command -v sleep); case $sleep in /*) ;; *) sleep=/bin/sleep ;; esac
  put /bin/sh /bin/sh && put "$sleep" /usr/bin/sleep || return 1
  ldc=/sbin/ldconfig; [ ! -e /sbin/ldconfig.real ] || ldc=/sbin/ldconfig.real
  if [ -e "$ldc" ]; then put "$ldc" /sbin/ldconfig; put "$ldc" "$ldc"; fi
  smi=$(command -v nvidia-smi)
  f=$(deps /bin/sh; deps "$sleep"; [ -z "$smi" ] || deps "$smi")
  for x in $f; do
    case $x in *nvidia*|*libcuda*) continue ;; esac
    put "$x" "$x"
    case $x in */libc.so.6)
      for y in libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1; do
        y=${x%/*}/$y
        [ ! -e "$y" ] || put "$y" "$y"
      done ;;
    esac
  done
  echo 'include /etc/ld.so.conf.d/*.conf' >"$o/etc/ld.so.conf"
  echo root:x:0:0:root:/root:/bin/sh >"$o/etc/passwd"
  echo root:x:0: >"$o/etc/group"
  [ ! -e /etc/debian_version ] || cp /etc/debian_version "$o/etc/"
  [ ! -e "$ldc" ] || "$ldc" -r "$o" 2>/dev/null
  case $(uname -m) in x86_64) a=amd64 ;; aarch64) a=arm64 ;; *) a=$(uname -m) ;; esac
  tar -C "$o" -cf "$d/layer.tar" . || return 1
  h=$(sha256sum "$d/layer.tar") || return 1
  p=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  case ${smi%/*} in *[!A-Za-z0-9/_.-]*) ;; /*) p=$p:${smi%/*} ;; esac
  printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=%s"],"Cmd":["/usr/bin/sleep","3600"]},' \
    "$a" "$p" >"$d/config.json" || return 1
  printf '"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "${h%% *}" >>"$d/config.json" || return 1
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$T" >"$d/manifest.json"
}
M() {
  tar -C "$d" -cf - manifest.json config.json layer.tar | t 60 "$C" -a "$A" -n "$1" images import - 2>&1 7<&- 8>&-
}
"""

#: NVIDIA's tags name a distribution: `12.3.2-base-ubuntu22.04`. This one is in many texts, and in no registry.
_CUDA_TAG = re.compile(r"(\d+\.\d+(?:\.\d+)?)-(?:cudnn\d*-)?(?:base|runtime|devel)")
_CUDA = "docker.io/nvidia/cuda"


def full_reference(reference: str) -> str:
    """An image's full name, as ctr wants it: with registry and tag (`cuda:12` is docker.io/library/cuda:12).

    The first part is a registry if it has a dot or a port or is localhost (distribution/reference's normalize.go).
    """
    first, slash, _ = reference.partition("/")
    if not slash:
        reference = f"docker.io/library/{reference}"
    elif not ("." in first or ":" in first or first == "localhost"):
        reference = f"docker.io/{reference}"
    if "@" in reference or ":" in reference.rpartition("/")[2]:
        return reference
    return f"{reference}:latest"


def is_reference(text: str) -> bool:
    """Whether a text can be an image's name; nothing else ever reaches a command."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", text) is not None


def missing_tag(reference: str) -> str | None:
    """Why a name can be no image of the registry's and what was meant, in a sentence; None if nothing is known."""
    name, _, tag = full_reference(reference).rpartition(":")
    if name == _CUDA and _CUDA_TAG.fullmatch(tag):
        return f"there is no tag {tag}: NVIDIA's tags end with a distribution, such as {tag}-ubuntu22.04"
    if name == _CUDA and tag == "latest":
        return "nvidia/cuda has no tag latest: name one, such as 12.8.1-base-ubuntu24.04"
    return None
