"""What a node may answer, and what the report says of it: the table of docs/troubleshooting.md, and of its tests.

A sentence's `…` stands for what differs from node to node.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A mess: in words, the check that is its root (empty: none, every finding is as without it), its sentence."""

    mess: str
    check: str = ""
    status: str = "fail"
    says: str = ""
    #: Whether a remedy comes with it.
    advised: bool = True
    #: Whether it is met with `--sudo`.
    sudo: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the finding's words must match as a whole."""
        return re.compile(".*".join(map(re.escape, self.says.split("…"))), re.DOTALL)


#: The way there.
LOGIN: dict[str, Row] = {
    "refused": Row(
        "nothing listens at the port",
        "node.reachable",
        says="ssh: connect to host … port …: Connection refused",
    ),
    "black-hole": Row(
        "the address takes every packet and answers none",
        "node.reachable",
        says="ssh: connect to host … port …: Connection timed out",
    ),
    "changed-key": Row(
        "its host key is another than the known one",
        "node.reachable",
        says="REMOTE HOST IDENTIFICATION HAS CHANGED! … Host key verification failed.",
    ),
    "unknown-key": Row("its host key is not known", "node.reachable", says="Host key verification failed."),
    "password": Row(
        "it wants a password; nobody is asked for one",
        "node.reachable",
        says="…: Permission denied (publickey,password).",
    ),
    "nologin": Row("the user's shell is nologin", "node.reachable", says="This account is currently not available."),
    "no-shell": Row("the login is no POSIX shell, such as a router's", "node.reachable", says="Router>"),
    "hung": Row(
        "the login never comes to an end",
        "node.reachable",
        says="no answer within the deadline (waiting for /home)",
    ),
    "endless": Row(
        "the login prints without end and never comes to a shell",
        "node.reachable",
        says="output without end, cut at … MB",
    ),
    "closing": Row(
        "the port closes every connection, as one past its MaxStartups does",
        "node.reachable",
        says="kex_exchange_identification: … (turned away … times before a login began)",
    ),
    "cut": Row(
        "the connection ends in the middle of the answers",
        "node.reachable",
        "unknown",
        "the answers broke off: the connection ended (exit status 255): Connection to … closed by remote host.",
    ),
    "banner": Row("the login prints banners, control characters among them"),
    "fish": Row("the login shell is fish"),
    "csh": Row("the login shell is csh"),
    "tcsh": Row("the login shell is tcsh"),
    "zsh": Row("the login shell is zsh"),
    "ksh": Row("the login shell is ksh"),
}

#: The node itself, by what tests/lab/messes.py does to it.
NODE: dict[str, Row] = {
    "no_timeout": Row("no base64, timeout or setsid"),
    "busybox": Row("all its tools are busybox's"),
    "full_disk": Row("a full disk: nothing can be written anywhere"),
    "noexec_tmp": Row("/tmp is mounted noexec"),
    "read_only": Row("the root file system is read-only"),
    "hung_smi": Row(
        "nvidia-smi hangs",
        "driver.nvml-answers",
        says="/usr/bin/nvidia-smi -q -x did not end within 10 s",
    ),
    "stubborn_smi": Row(
        "nvidia-smi hangs and takes no signal",
        "driver.nvml-answers",
        says="/usr/bin/nvidia-smi -q -x did not end within 10 s",
    ),
    "endless_smi": Row(
        "nvidia-smi prints 100 MB",
        "driver.nvml-answers",
        "unknown",
        "nvidia-smi -q -x: only a part of the answer came (longer than 4194304 bytes)",
        advised=False,
    ),
    "endless_version": Row(
        "ctr --version prints 100 MB",
        "containerd.supports-route",
        "unknown",
        "ctr --version: only a part of the answer came (longer than 12288 bytes)",
        advised=False,
    ),
    "bytes_from_smi": Row(
        "nvidia-smi fails in bytes that are no UTF-8 and control the terminal",
        "driver.nvml-answers",
        says="/usr/bin/nvidia-smi -q -x failed with exit status 9: NVRM … broken",
    ),
    "bytes_everywhere": Row("bytes that are no UTF-8 in file names, os-release, comments"),
    "bytes_in_config": Row(
        "containerd's configuration is no UTF-8",
        "containerd.config-loads",
        says="containerd: failed to unmarshal TOML at row …: toml: invalid …character in comment",
    ),
    "config_folder": Row(
        "containerd's configuration is a directory",
        "containerd.config-loads",
        says="containerd: failed to unmarshal TOML: toml: read /etc/containerd/config.toml: is a directory",
    ),
    "config_loop": Row(
        "containerd's configuration is a loop of links",
        "containerd.config-loads",
        says="containerd: open /etc/containerd/config.toml: too many levels of symbolic links",
    ),
    "config_huge": Row(
        "containerd's configuration is 50 MB",
        "containerd.config-loads",
        "unknown",
        "/etc/containerd/config.toml: only a part of the answer came (longer than 8388608 bytes)",
        advised=False,
    ),
    "config_closed": Row(
        "only root may read it, and the user is not root",
        "node.privileges",
        says="permission denied: …/etc/containerd/config.toml…",
    ),
    "sudo_password": Row(
        "sudo wants a password", "node.privileges", says="sudo refused: sudo: a password is required", sudo=True
    ),
    "sudo_stranger": Row(
        "sudo does not know the user", "node.privileges", says="sudo refused: sudo: a password is required", sudo=True
    ),
    "sudo_tty": Row(
        "sudo wants a terminal",
        "node.privileges",
        says="sudo refused: sudo: sorry, you must have a tty to run sudo",
        sudo=True,
    ),
    "sudo_missing": Row("there is no sudo", "node.privileges", says="sudo refused: …sudo: not found", sudo=True),
    "sudo_other_version": Row(
        "the program for sudo (sudo.md) is another version's",
        "node.privileges",
        says="sudo refused: /usr/local/sbin/gpuready-read on the node is another version's; install this one's",
        sudo=True,
    ),
}


def table(rows: dict[str, Row]) -> str:
    """The rows in Markdown."""
    lines = ["| the node | the root | status | what the report says |", "| --- | --- | --- | --- |"]
    for row in rows.values():
        link = f"[{row.check}](checks/{row.check}.md)" if row.check else "none"
        said = f"`{row.says}`" if row.check else "what it would say without that: nothing depends on it"
        lines.append(f"| {row.mess} | {link} | {row.status if row.check else ''} | {said} |")
    return "\n".join(lines) + "\n"
