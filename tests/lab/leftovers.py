"""What a node has of containers: taken before and after, so that what a run left behind is the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.node import Node

_STATE = r"""
for space in $(ctr namespaces ls -q); do
  echo "namespace $space"
  for what in containers tasks images leases content; do
    ctr -n "$space" $what ls -q | sed "s|^|$space $what |"
  done
  ctr -n "$space" snapshots ls | sed -n "2,\$s|^\([^ ]*\).*|$space snapshot \1|p"
done
sed 's/^[^ ]* \([^ ]*\) .*/mount \1/' /proc/self/mounts
find /sys/fs/cgroup -type d \( -name '*gpuready*' -o -path '*/k8s.io/*' \) | sed 's/^/group /'
ls -d /run/gpuready-* /tmp/gpuready-* /run/containerd/io.containerd.*/*/* /run/containerd/fifo/* 2>/dev/null |
  grep -v '^/run/gpuready-lab' | sed 's/^/path /'
find /var/lib/containerd -type f ! -name meta.db ! -name metadata.db | wc -l | sed 's/^/files below containerd /'
ps -e -o comm= -o args= | grep -E 'gpuready-[0-9a-f]{12}|containerd-shim|[r]unc ' | grep -v 'ps -e' | sed 's/^/process /'
"""


def state(node: Node) -> set[str]:
    """Every container, task, snapshot, image, lease, blob, mount, control group, file and process, a line each.

    Two files are left out: containerd's own databases keep the size that they once had.
    """
    return set(node.run(f"{_STATE}true", check=True, timeout=120).stdout.splitlines())


def size(node: Node) -> int:
    """Kilobytes below /var/lib/containerd."""
    return int(node.run("du -sk /var/lib/containerd", check=True).stdout.split()[0])
