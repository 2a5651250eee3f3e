"""Nodes by way of testinfra: what one of its hosts is as a node of ours, and what an Ansible inventory names.

testinfra makes an ssh, paramiko, docker, lxc or local backend of an inventory's host where it can
(10.2.2, utils/ansible_runner.py, get_ansible_host); such a node is asked over that transport.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.hosts import CONTAINERS, POD, NodeSpec, SpecError, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: testinfra's names for what is one transport to us.
_SAME = {"safe-ssh": "ssh"}


def node_spec(host: Any) -> NodeSpec:
    """The node that testinfra's host is. `SpecError` if there is no way of ours to it."""
    backend = host.backend
    place = getattr(backend, "host", None)
    if backend.NAME == "local":
        return parse("local://")
    if backend.NAME == "ansible":
        asked = Inventory(
            backend.ansible_inventory, backend.ssh_config, backend.ssh_identity_file, force=bool(backend.force_ansible)
        )
        return asked.node(str(place))
    if backend.NAME == "chroot":
        return parse(f"chroot://{quote(backend.name)}")
    if backend.NAME in CONTAINERS:
        user = f"{backend.user}@" if getattr(backend, "user", None) else ""
        options = [(key, str(value)) for key in POD if (value := getattr(backend, key, None))]
        return parse(f"{backend.NAME}://{user}{backend.name}{f'?{urlencode(options)}' if options else ''}")
    if place is None or isinstance(place, str):
        return parse(f"{backend.NAME}://{backend.hostname}")
    name = f"[{place.name}]" if ":" in place.name else place.name
    spec = f"{_SAME.get(backend.NAME, backend.NAME)}://{f'{quote(place.user)}@' if place.user else ''}{name}"
    spec += f":{place.port}" if place.port else ""
    if getattr(backend, "timeout", None):
        spec += f"?timeout={backend.timeout}"
    return dataclasses.replace(parse(spec), password=place.password)


@dataclasses.dataclass(frozen=True)
class Inventory:
    """An Ansible inventory as testinfra reads it, by the program ansible-inventory; None: the one of ansible.cfg."""

    path: str | None = None
    ssh_config: str | None = None
    ssh_identity_file: str | None = None
    force: bool = False

    def nodes(self, pattern: str) -> list[NodeSpec]:
        """The nodes that a host, group or pattern names. `SpecError` if there is none, or no way of ours to one."""
        found: list[str] = self._ask("get_hosts", pattern)
        if not found:
            raise SpecError(f"ansible://{pattern}: the inventory holds no such host or group")
        return [self.node(name) for name in found]

    def node(self, name: str) -> NodeSpec:
        """One host of the inventory, named so in reports, reached as the inventory says."""
        label = f"ansible://{name}"
        if self.force:
            raise SpecError(
                f"{label}: --force-ansible runs each command by a module of Ansible's, without a shell to keep; "
                "leave it out, or name the node by ssh://"
            )
        host = self._ask("get_host", name, ssh_config=self.ssh_config, ssh_identity_file=self.ssh_identity_file)
        if host is None:
            variables = self._ask("get_variables", name)
            plugin = one_line(str(variables.get("ansible_connection", "ssh")), 60)
            raise SpecError(
                f"{label}: the inventory reaches it by the connection plugin {plugin!r}, which is not supported; "
                "there are ssh, paramiko_ssh, docker, lxc, local"
            )
        backend = host.backend
        try:
            node = node_spec(host)
        except SpecError as error:
            raise SpecError(f"{label}: {error}") from None
        extra = {
            "ssh_config": getattr(backend, "ssh_config", None),
            "ssh_identity_file": getattr(backend, "ssh_identity_file", None),
            "ssh_extra_args": getattr(backend, "ssh_extra_args", None),
            "sudo": "true" if backend.sudo else None,
            "sudo_user": backend.sudo_user,
        }
        options = (*node.options, *((key, str(value)) for key, value in extra.items() if value))
        return dataclasses.replace(node, label=label, options=options)

    def _ask(self, method: str, name: str, **more: Any) -> Any:
        """A question to testinfra's reader, whose failures become one sentence."""
        from testinfra.utils.ansible_runner import (  # type: ignore[import-untyped,unused-ignore] # noqa: PLC0415
            AnsibleRunner,
        )

        try:
            with _beside_python("ansible-inventory"):
                return getattr(AnsibleRunner.get_runner(self.path), method)(name, **more)
        except AssertionError as error:
            # testinfra asserts the exit status of ansible-inventory.
            absent = "exit_status=127" in str(error) or "not found" in str(error)
            why = "ansible-inventory is not on this machine" if absent else "ansible-inventory could not read it"
            raise SpecError(f"ansible://{name}: {why}") from None
        except (RuntimeError, ValueError, KeyError, OSError, ImportError) as error:
            raise SpecError(f"ansible://{name}: the inventory cannot be used: {one_line(str(error), 200)}") from None


@contextlib.contextmanager
def _beside_python(program: str) -> Iterator[None]:
    """Let a program of this Python's own environment be found where that is not activated (a venv, pipx)."""
    folder = Path(sys.executable).parent
    if shutil.which(program) is not None or shutil.which(program, path=str(folder)) is None:
        yield
        return
    path = os.environ.get("PATH")
    os.environ["PATH"] = f"{path}{os.pathsep}{folder}" if path else str(folder)
    try:
        yield
    finally:
        if path is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = path


def resolved(nodes: Iterable[NodeSpec], inventory: Inventory) -> list[NodeSpec]:
    """The nodes with each `ansible://` replaced by what it names in the inventory, each once."""
    found: dict[str, NodeSpec] = {}
    for node in nodes:
        if node.scheme != "ansible":
            found.setdefault(node.label, node)
            continue
        asked = dict(node.options)
        own = Inventory(
            asked.get("ansible_inventory") or inventory.path,
            asked.get("ssh_config") or inventory.ssh_config,
            asked.get("ssh_identity_file") or inventory.ssh_identity_file,
            force=inventory.force or asked.get("force_ansible", "").lower() == "true",
        )
        for single in own.nodes(node.host):
            # What the spec itself asks for (sudo, a time-out) comes last and counts.
            own_words = tuple((key, value) for key, value in node.options if key in ("sudo", "sudo_user", "timeout"))
            found.setdefault(single.label, dataclasses.replace(single, options=(*single.options, *own_words)))
    return list(found.values())
