"""What systemd keeps from the processes of a unit (systemd.exec(5)), as far as a containerd cannot do without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import SHORT, script

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Request

#: Settings that hide files or devices, and how each is taken back: an empty value clears a list.
HIDING: dict[str, str] = {
    "PrivateDevices": "no",
    "TemporaryFileSystem": "",
    "InaccessiblePaths": "",
    "RootDirectory": "",
}
#: Settings under which it does not start, or starts no container.
FORBIDDING: dict[str, str] = {
    "ProtectSystem": "no",
    "ProtectControlGroups": "no",
    "ReadOnlyPaths": "",
    "NoNewPrivileges": "no",
    "RestrictNamespaces": "no",
    "PrivateUsers": "no",
    "User": "",
    "DynamicUser": "no",
    "SystemCallFilter": "",
}
#: What undoes each of them in a drop-in.
UNDONE: dict[str, str] = {**HIDING, **FORBIDDING}
_NONE = frozenset({"", "no", "false", "[not set]", "~"})


def request(service: str) -> Request:
    """What systemd says of a unit's settings."""
    return script("systemctl show sandbox", f'exec systemctl show -p {",".join(UNDONE)} -- "$1"', service, limit=SHORT)


def settings(text: str) -> dict[str, str]:
    """The settings that are in force, and their values, in the order of `UNDONE`."""
    said = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return {key: said[key] for key in UNDONE if said.get(key, "").strip() not in _NONE}
