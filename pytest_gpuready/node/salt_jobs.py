r"""A shell on a Salt minion as a program: each round of standard input is one job, its output goes to standard output.

Started by its path with one JSON argument (see `inside.by_salt`), on the machine of the master, by a Python that has
Salt's library. Stands alone: nothing of the package is imported. A round is one line, as `inside.salt_round` writes it:
the seconds that the job may take, and the script in base64. What goes wrong is one line on standard error, and
status 255.

As testinfra 10.2.2 (backend/salt.py) it asks for `cmd.run_all` by salt.client.LocalClient. Unlike it the script is
the job's standard input, and what goes in and comes out is base64: Salt reads arguments as YAML, turns `\n` in `stdin`
into newlines (salt v3007.15:salt/utils/timed_subprocess.py) and decodes what a command prints. It is packed where the
node has gzip, since minion and master cut what is longer than max_event_size (1 MiB) to one word.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import os
import re
import sys
import zlib
from pathlib import Path
from typing import Any

# Started by its path, this folder is where Python looks first: its modules are not the top-level ones of anybody.
sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]
try:
    import salt.client  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import salt.exceptions  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    sys.stderr.write("salt:// needs Salt's library on the master's machine: put its `salt` on PATH, or use ssh://\n")
    sys.exit(255)

#: What runs on the minion, around the command that reads the script.
_JOB = (
    "command -v base64 >/dev/null 2>&1 || "
    "{{ echo 'salt:// needs base64 on the node, which has none; use ssh://' >&2; exit 127; }}; "
    "z=cat; command -v gzip >/dev/null 2>&1 && z='gzip -c'; "
    "base64 -d | {command} | $z | base64"
)

#: What a script that ran to its end prints last.
_END = re.compile(rb"\n[0-9a-f]+ end\n")

#: What stands in the place of an answer above max_event_size (salt v3007.15:salt/utils/dicttrim.py).
_TRIMMED = "VALUE_TRIMMED"

#: Most that an answer is unpacked to, in bytes: a little more than the other end takes.
_LIMIT = 65 * 1024 * 1024


_DENIED = (
    salt.exceptions.AuthenticationError,
    salt.exceptions.AuthorizationError,
    salt.exceptions.EauthAuthenticationError,
)

_USER = " Run pytest as the user of the master (root as a rule), or as one that its publisher_acl names."


class _JobError(Exception):
    """One sentence for the user."""


def answer(client: Any, wanted: dict[str, Any], seconds: int, script: str) -> tuple[bytes, str]:
    """One job: what it printed, and its standard error. `_JobError` if there is no answer."""
    minion = wanted["minion"]
    options = {
        "stdin": script,
        "python_shell": True,
        "shell": "/bin/sh",
        "cwd": "/",
        "timeout": seconds,
        "output_loglevel": "quiet",
        "ignore_retcode": True,
    }
    command = _JOB.format(command=wanted["command"])
    line = {"arg": [command], "tgt_type": "list", "timeout": wanted["timeout"], "kwarg": options, "full_return": True}
    found = client.cmd([minion], "cmd.run_all", **line)
    if minion not in found:
        raise _JobError(f"no minion {minion} is known to the master (its key is not accepted, or it has another id)")
    if not found[minion]:
        raise _JobError(f"the minion {minion} did not answer; is it connected?")
    told = found[minion].get("ret")
    if told == _TRIMMED or (isinstance(told, dict) and told.get("stdout") == _TRIMMED):
        raise _JobError(f"the answer of the minion {minion} is longer than its or the master's max_event_size")
    if not isinstance(told, dict):
        last = (str(told).strip().splitlines() or ["nothing"])[-1]
        raise _JobError(f"the minion {minion} did not run the job: {last}")
    try:
        output = base64.b64decode("".join(str(told.get("stdout", "")).split()), validate=True)
        packed = output.startswith(b"\x1f\x8b")
        return zlib.decompressobj(31).decompress(output, _LIMIT) if packed else output, str(told.get("stderr", ""))
    except (ValueError, zlib.error):
        # Salt's own words stand where the output would: COMMAND : Timed out after 20 seconds
        words = str(told.get("stdout")).rpartition(" : ")[2][-200:]
        raise _JobError(f"the job on the minion {minion} ended: {words}") from None


def converse(wanted: dict[str, Any]) -> int:
    """A job for each round, until there are no more or one did not run to its end."""
    client = salt.client.LocalClient()
    for line in sys.stdin.buffer:
        seconds, script = line.decode("ascii").split()
        # Salt prints a word of its own now and then.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            output, errors = answer(client, wanted, int(seconds), script)
        _out(2, errors.encode("utf-8", "replace"))
        _out(1, output)
        if not _END.search(output):
            return 1
    return 0


def _out(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def main(argument: str) -> int:
    """The status; 255 with a line on standard error if there was no job."""
    wanted: dict[str, Any] = json.loads(argument)
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        return converse(wanted)
    except _DENIED as error:
        told = f"Permission denied by the Salt master ({error})"
    except salt.exceptions.SaltClientError as error:
        # The master's sockets are its user's, too.
        told = f"{error}{'' if os.geteuid() == 0 else _USER}"
    except (_JobError, salt.exceptions.SaltException, SystemExit, OSError, ValueError, LookupError) as error:
        told = str(error)
    sys.stderr.write(f"{' '.join(told.split())}\n")
    return 255


if __name__ == "__main__":
    status = main(sys.argv[1])
    # No waiting for threads of the library.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
