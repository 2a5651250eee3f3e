"""`python -m pytest_gpuready.sudoers USER`: least privilege for `--sudo`, printed.

A program that reads on a node what only root may, and the rule that lets a user run it and nothing else as root. The
program is made of the very requests that the views make, so that it reads what they read.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import Facts, stat
from pytest_gpuready.node.rooted import NAME, PROGRAM, program
from pytest_gpuready.views import Views, settled
from pytest_gpuready.views.cdi import Cdi
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live_probe import api, journal
from pytest_gpuready.views.driver_probe import KERNEL_LOG
from pytest_gpuready.views.fact_files import config_glob
from pytest_gpuready.views.flavours import EMBEDDED, STOCK
from pytest_gpuready.views.kubernetes import Kubernetes
from pytest_gpuready.views.platform_probe import IDENTITY, PROCESS_LIST, PROGRAM_SEARCH
from pytest_gpuready.views.toolkit_probe import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gpuready.node.facts import Request

#: The rule's place.
RULE_FILE = f"/etc/sudoers.d/{NAME}"

# useradd(8)'s names, and a directory service's: no character that sudoers(5) reads otherwise.
_USER = re.compile(r"%?[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# sudoers(5) reads a word of capitals as an alias, ALL as everybody, and these as the beginning of another entry.
_RESERVED = re.compile(r"[A-Z][A-Z0-9_]*|Defaults|(?:User|Runas|Host|Cmnd|Cmd)_Alias")


def requests() -> tuple[Request, ...]:
    """What is read as root: all that a distribution or a careful administrator closes to plain users.

    No program of NVIDIA's is among it, and no place that anyone but root may write to.
    """
    views = Views(Facts("any"))
    flavours = (STOCK, *EMBEDDED)
    wanted = [IDENTITY, PROGRAM_SEARCH, PROCESS_LIST, KERNEL_LOG]
    wanted += [api(flavour.socket) for flavour in flavours]
    wanted += [journal(service) for flavour in flavours for service in flavour.services]
    # What the views ask of any node, before anything is known.
    for view in (ContainerdConfig, Cdi, Kubernetes):
        wanted += [request for request in settled(view.requests(views)) if request.kind not in ("run", "script")]
    wanted += [config_glob("/etc/containerd/*.toml"), *CONFIGS, *(stat(request.arg[0]) for request in CONFIGS)]
    closed = ("/etc/", "/var/", "/usr/local/nvidia/")
    return tuple(
        request
        for request in dict.fromkeys(wanted)
        if request.kind in ("run", "script") or request.arg[0].startswith(closed)
    )


def rule(user: str) -> str:
    """The file for sudoers.d: one program, no arguments.

    Raises:
        ValueError: no name of a user (or, after `%`, of a group).
    """
    if _RESERVED.fullmatch(user):
        raise ValueError(
            f"no name of a user: {user!r}, which sudoers reads as everybody (ALL), an alias (capitals) or a keyword; "
            "name a login such as admin, or a group such as %admins"
        )
    if not _USER.fullmatch(user):
        raise ValueError(
            f"no name of a user: {user!r}; letters, digits and . _ - make the name of a login such as admin, "
            "or after % of a group such as %admins"
        )
    return f'{user} ALL=(root) NOPASSWD: {PROGRAM} ""\n'


def installer(user: str) -> str:
    """A sh script that installs both; to be run as root on the node. The rule is not left there unless it is valid.

    Raises:
        ValueError: as `rule`.
    """
    return f"""#!/bin/sh
# Lets {user} read what pytest-gpuready reads as root, and nothing else: {PROGRAM}, {RULE_FILE}.
# To take it back: rm {RULE_FILE} {PROGRAM}
set -eu
umask 022
cat >{PROGRAM}.new <<'{NAME}-ends'
{program(requests()).rstrip()}
{NAME}-ends
chown root:root {PROGRAM}.new
chmod 0755 {PROGRAM}.new
mv -f {PROGRAM}.new {PROGRAM}
umask 337
cat >{RULE_FILE}~ <<'{NAME}-ends'
{rule(user).rstrip()}
{NAME}-ends
visudo -c -f {RULE_FILE}~ >/dev/null || {{ rm -f {RULE_FILE}~; exit 1; }}
mv -f {RULE_FILE}~ {RULE_FILE}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_gpuready.sudoers",
        description="Print a script that lets a plain user of a node read what pytest-gpuready reads as root.",
    )
    parser.add_argument("user", metavar="USER", help="who logs in to the node; %%GROUP for all of a group")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--rule", action="store_true", help=f"the rule alone, {RULE_FILE}")
    only.add_argument("--program", action="store_true", help=f"the program alone, {PROGRAM}")
    asked = parser.parse_args(argv)
    try:
        line = rule(asked.user)
    except ValueError as error:
        parser.error(str(error))
    text = line if asked.rule else program(requests()) if asked.program else installer(asked.user)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
