"""Programs other than ssh that give a shell on a node: argument lists for `transport.argv`, never a shell's words.

Names and users were checked by `hosts.parse`; values that could begin with a dash stand behind `=`. Unlike testinfra's
(10.2.2, backend/*.py) the lines keep standard input open (-i), since the rounds come through it.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.node.hosts import NodeSpec

#: The program that logs in by paramiko.
PARAMIKO = Path(__file__).with_name("paramiko_login.py")

#: The program that asks Salt's master for jobs.
SALT = Path(__file__).with_name("salt_jobs.py")


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


def by_salt(node: NodeSpec, command: str) -> list[str]:
    """A Python that has Salt's library: this one, else the one of the program `salt` on PATH."""
    asked = {
        "minion": node.host,
        "timeout": int(dict(node.options).get("timeout") or 0) or None,
        "command": command,
    }
    return [salt_python(), "-W", "ignore", str(SALT), json.dumps(asked)]


def salt_python() -> str:
    """Where Salt's library is: its own packages bring a Python, /opt/saltstack/salt/bin/python3.

    /usr/bin/salt is a link to /opt/saltstack/salt/salt then.
    """
    # A folder of states may be called salt, too: as a package it has no origin.
    found = find_spec("salt")
    program = shutil.which("salt")
    if (found is not None and found.origin) or program is None:
        return sys.executable
    folder = Path(program).resolve().parent
    beside = (path / "python3" for path in (folder, folder / "bin"))
    return next((str(path) for path in beside if path.is_file()), sys.executable)


def salt_round(script: bytes, seconds: float) -> bytes:
    """A round as the program takes it: what the job may take, and its whole script."""
    return b"%d %s\n" % (max(1, math.ceil(seconds)), base64.b64encode(script))
