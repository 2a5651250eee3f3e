"""The node: the way to it, and what may be read there."""

from __future__ import annotations

from tests.lab.faults.model import NEWEST, Fault

FAULTS = (
    Fault(
        "login-refused",
        "The key is not accepted any more.",
        "rm /root/.ssh/authorized_keys",
        ("node.reachable",),
        says="Permission denied",
        person="No key of yours is accepted",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "sshd-stopped",
        "Nothing listens at the node's port.",
        "systemctl stop ssh.socket ssh.service",
        ("node.reachable",),
        says="Connection refused",
        person="start sshd",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "user-without-rights",
        "The login is not root's, and sudo is not asked for.",
        "true",
        ("node.privileges",),
        blocks=("containerd.restarted",),
        user="guest",
        says="permission denied",
        person="Log in as root",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "sudo-asks-for-a-password",
        "The rule without a password is gone: `sudo: a password is required`.",
        "rm /etc/sudoers.d/ops",
        ("node.privileges",),
        user="ops",
        sudo=True,
        says="sudo refused",
        person="without a password",
        generations=NEWEST,
        shows=False,
    ),
)
