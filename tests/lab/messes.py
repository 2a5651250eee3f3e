"""What may be wrong with a node itself, each as somebody in the field makes it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.hardware import describe
from tests.lab.test_note import CONFIG

if TYPE_CHECKING:
    from tests.lab.node import Node

SMI = "/usr/bin/nvidia-smi"


def no_timeout(node: Node) -> None:
    """As on a small image: no base64, no timeout, no setsid."""
    node.run("rm -f /usr/bin/base64 /usr/bin/timeout /usr/bin/setsid", check=True)


def busybox(node: Node) -> None:
    """Every tool that busybox has is busybox's; sh too."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not on this machine")
    node.put("/usr/local/bin/busybox", Path(program).read_bytes(), 0o755)
    node.run(
        "cd /usr/local/bin && ./busybox --install -s . && rm -f timeout setsid base64 /usr/bin/timeout", check=True
    )
    if "BusyBox" not in node.run("stat --help 2>&1; head --help 2>&1", check=False).stdout:
        pytest.skip("this busybox does not run on the node")


def full_disk(node: Node) -> None:
    """No byte can be written anywhere: the root file system, /tmp and /run are full."""
    full = "mount -o remount,size=$(df -k --output=used {0} | tail -n 1)k {0}; cat /dev/zero 2>/dev/null >{0}/full; :"
    # What lies below the node's root is mounted where its supervisor lives.
    supervisor = ["nsenter", "-t", str(node.supervisor), "-m", "--", "sh", "-c", full.format(node.folder / "fs")]
    subprocess.run(supervisor, check=True, capture_output=True)
    node.run(f"mount -t tmpfs -o size=64k tmpfs /tmp; {full.format('/tmp')}; {full.format('/run')}", check=True)
    node.run("for d in /root /tmp /run /var/tmp; do ! echo x >$d/x || exit 1; done", check=True)


def noexec_tmp(node: Node) -> None:
    node.run("mount -t tmpfs -o noexec,nosuid,nodev tmpfs /tmp", check=True)


def read_only(node: Node) -> None:
    node.run("mount -o remount,ro /; ! touch /etc/x 2>/dev/null", check=True)


def hung_smi(node: Node) -> None:
    describe(node, hang="60")


def stubborn_smi(node: Node) -> None:
    """It takes no signal but KILL, as much as a process in state D can be had where no disk hangs."""
    node.put(SMI, "#!/bin/sh\ntrap '' TERM HUP INT USR1\nwhile :; do sleep 5; done\n", 0o755)


def endless_smi(node: Node) -> None:
    node.put(SMI, "#!/bin/sh\nhead -c 104857600 /dev/zero | tr '\\0' x\n", 0o755)


def endless_version(node: Node) -> None:
    """The program on disk goes mad; the daemon that runs is what it was."""
    node.put("/usr/local/bin/ctr", "#!/bin/sh\nhead -c 104857600 /dev/zero | tr '\\0' x\n", 0o755)


def bytes_from_smi(node: Node) -> None:
    node.put(SMI, "#!/bin/sh\nprintf 'NVRM \\377\\376\\033[31m\\200 \\342\\200\\256broken\\n'; exit 9\n", 0o755)


def bytes_in_config(node: Node) -> None:
    """A name in Latin-1, in a comment; TOML wants UTF-8 everywhere."""
    node.run(f"printf '# by J. M\\374ller\\n' >>{CONFIG}", check=True)


def bytes_everywhere(node: Node) -> None:
    """In every file and name that nothing depends on."""
    node.put("/etc/containerd/conf.d/\udcff\udcfe.md", b"\xff\xfe")
    node.put("/etc/cdi/\udcff.txt", b"\xff\xfe\x00")
    node.run("mkdir -p /etc/systemd/system /etc/cdi; printf '# \\377\\376\\n' >>/etc/os-release", check=True)
    node.run("printf '# \\377\\376\\200\\n' >>/etc/nvidia-container-runtime/config.toml", check=True)


def config_folder(node: Node) -> None:
    node.run(f"rm {CONFIG}; mkdir {CONFIG}", check=True)


def config_loop(node: Node) -> None:
    node.run(f"ln -sf config.toml {CONFIG}.2; ln -sf config.toml.2 {CONFIG}", check=True)


def config_huge(node: Node) -> None:
    """50 MB of comments behind what is right."""
    node.run(
        f"yes '# padding, a comment of a good many bytes, again and again' | head -c 52428800 >>{CONFIG}", check=True
    )


def config_closed(node: Node) -> None:
    """Root's alone, and the user is not root."""
    node.run(f"chmod 600 {CONFIG}", check=True)


def sudo_password(node: Node) -> None:
    """Sudo knows the user, and wants a password."""
    node.put("/etc/sudoers.d/guest", "guest ALL=(ALL) ALL\n", 0o440)


def sudo_tty(node: Node) -> None:
    """Once the default of Red Hat's."""
    node.put("/etc/sudoers.d/guest", "Defaults requiretty\nguest ALL=(ALL) NOPASSWD: ALL\n", 0o440)


def sudo_stranger(node: Node) -> None:
    """Sudo knows no such user; with -n it says so as it asks for a password."""
    node.run("rm -f /etc/sudoers.d/guest", check=True)


def sudo_missing(node: Node) -> None:
    node.run("mv /usr/bin/sudo /usr/bin/sudo.away", check=True)


def sudo_other_version(node: Node) -> None:
    """The program for the rule is not the one that this version prints."""
    node.run("true", check=True)
