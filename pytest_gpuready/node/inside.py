"""Programs other than ssh that give a shell on a node: argument lists for `transport.argv`, never a shell's words.

Names and users were checked by `hosts.parse`; values that could begin with a dash stand behind `=`. Unlike testinfra's
(10.2.2, backend/*.py) the lines keep standard input open (-i), since the rounds come through it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.node.hosts import NodeSpec

#: The program that logs in by paramiko.
PARAMIKO = Path(__file__).with_name("paramiko_login.py")


def _engine(node: NodeSpec, command: str) -> list[str]:
    """As docker and podman take it."""
    return [node.scheme, "exec", "-i", *(["-u", node.user] if node.user else []), node.host, "sh", "-c", command]


def _pod(node: NodeSpec, command: str) -> list[str]:
    """As kubectl and oc take it."""
    asked = dict(node.options)
    line = ["oc" if node.scheme == "openshift" else "kubectl"]
    if asked.get("kubeconfig"):
        line.append(f"--kubeconfig={Path(asked['kubeconfig']).expanduser()}")
    line += [f"--{key}={asked[key]}" for key in ("context", "namespace") if asked.get(key)]
    line += ["exec", "-i", node.host]
    if asked.get("container"):
        line.append(f"--container={asked['container']}")
    return [*line, "--", "sh", "-c", command]


def _lxc(node: NodeSpec, command: str) -> list[str]:
    return ["lxc", "exec", node.host, "--mode=non-interactive", "--", "sh", "-c", command]


def _chroot(node: NodeSpec, command: str) -> list[str]:
    # By its path: chroot would look for sh along this machine's PATH.
    return ["chroot", node.path, "/bin/sh", "-c", command]


#: By scheme.
INSIDE: dict[str, Callable[[NodeSpec, str], list[str]]] = {
    "docker": _engine,
    "podman": _engine,
    "kubectl": _pod,
    "openshift": _pod,
    "lxc": _lxc,
    "chroot": _chroot,
}


def by_paramiko(
    node: NodeSpec, config: str | None, identity: str | None, command: str
) -> tuple[list[str], dict[str, str]]:
    """A Python of its own with the library in it: ended as ssh is, and its threads are no matter of ours."""
    asked = {
        "host": node.host,
        "user": node.user,
        "port": node.port,
        "config": config,
        "identity": identity,
        "timeout": int(dict(node.options).get("timeout") or 10),
        "command": command,
    }
    # By environment: a password among the arguments is everybody's to read.
    environment = {} if node.password is None else {"GPUREADY_PASSWORD": node.password}
    return [sys.executable, "-W", "ignore", str(PARAMIKO), json.dumps(asked)], environment
