r"""Salt for tests: a real master and minion on this machine, and a stand-in of the library where there is none.

`serving` starts the real programs, on the loopback, with folders and keys of their own: those of the folder that
GPUREADY_SALT_BIN names, else those on PATH.

`stand_in` is a module salt.client whose LocalClient writes down what it was asked and runs the job on this machine, as
salt 3007.15 was seen to do it: `\n` in `stdin` becomes a newline, output is decoded and stripped, a job that takes too
long has words in the place of its output, an answer of more than 1 MiB is one word. By the minion's id it fails as
salt was seen to fail. It cannot show that Salt takes the arguments, nor how long a master or a minion takes.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sshd import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAMS = ("salt", "salt-master", "salt-minion")

_CLIENT = """
import json, os, subprocess
from salt.exceptions import AuthenticationError, SaltClientError

class LocalClient:
    def cmd(self, tgt, fun, arg=(), timeout=None, tgt_type="glob", ret="", jid="", full_return=False, kwarg=None):
        with open({log!r}, "a") as log:
            asked = dict(tgt=tgt, fun=fun, arg=arg, timeout=timeout, tgt_type=tgt_type, kwarg=kwarg)
            log.write(json.dumps(asked) + "\\n")
        print("a word of the library's own")
        minion, = tgt
        if minion == "down":
            raise SaltClientError("The salt master could not be contacted. Is master running?")
        if minion == "denied":
            raise AuthenticationError("Authentication error occurred.")
        if minion == "nobody":
            return {{}}
        if minion == "silent":
            return {{minion: False}}
        if minion == "without":
            return {{minion: {{"ret": "'cmd.run_all' is not available.", "retcode": 254}}}}
        environment = {{**os.environ, "PATH": {bare!r}}} if minion == "bare" else None
        try:
            done = subprocess.run(
                arg[0], shell=kwarg["python_shell"], executable=kwarg["shell"], cwd=kwarg["cwd"], env=environment,
                input=kwarg["stdin"].replace("\\\\n", "\\n").encode(), capture_output=True, timeout=kwarg["timeout"],
            )
            told = [done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")]
        except subprocess.TimeoutExpired:
            told = [1, f"{{arg[0]}} : Timed out after {{kwarg['timeout']}} seconds", ""]
        result = dict(zip(("retcode", "stdout", "stderr"), told))
        for name in ("stdout", "stderr"):
            text = result[name].rstrip()
            result[name] = text if len(text) < 1048576 else "VALUE_TRIMMED"
        return {{minion: {{"ret": result, "retcode": result["retcode"], "jid": "1"}}}}
"""

_EXCEPTIONS = """
class SaltException(Exception): pass
class SaltClientError(SaltException): pass
class AuthenticationError(SaltException): pass
class AuthorizationError(SaltException): pass
class EauthAuthenticationError(SaltException): pass
"""


@dataclass
class StandIn:
    """The stand-in, found as Salt's own packages are: by the program `salt` on PATH."""

    folder: Path

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """What LocalClient.cmd was given, job by job."""
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The library for the time of a test, in a Python beside a program `salt`, which is the one on PATH."""
    folder = tmp_path / "a salt"
    library, programs, bare = folder / "lib" / "salt", folder / "opt" / "bin", folder / "bare"
    for path in (library, programs, bare):
        path.mkdir(parents=True)
    # No base64 and no gzip, as a node may be.
    (bare / "sh").symlink_to("/bin/sh")
    (library / "__init__.py").write_text("")
    (library / "exceptions.py").write_text(_EXCEPTIONS)
    (library / "client.py").write_text(_CLIENT.format(log=str(folder / "log"), bare=str(bare)))
    for path, text in (
        (programs.parent / "salt", "exit 1"),
        (programs / "python3", f'PYTHONPATH="{library.parent}" exec "{sys.executable}" "$@"'),
    ):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs.parent), prepend=":")
    # Wherever a real one is installed beside pytest, the stand-in is what is meant.
    monkeypatch.setattr("pytest_gpuready.node.inside.find_spec", lambda _: None)
    return StandIn(folder)


@dataclass
class Master:
    """A running master with one minion: what the environment of its users must hold."""

    folder: Path
    minion: str
    environment: dict[str, str]


def place() -> Path | None:
    """The folder of Salt's programs."""
    named = os.environ.get("GPUREADY_SALT_BIN")
    found = shutil.which("salt-master", path=named or None)
    if found is None or any(not (Path(found).parent / program).exists() for program in _PROGRAMS):
        return None
    return Path(found).parent


@contextlib.contextmanager
def serving() -> Iterator[Master]:
    """A master and a minion for the time of a block; skips the test where there are none."""
    programs = place()
    if programs is None:
        pytest.skip("salt, salt-master and salt-minion are not on this machine (GPUREADY_SALT_BIN names their folder)")
    folder = Path(tempfile.mkdtemp(prefix="gpuready-salt-"))
    environment = {"PATH": f"{os.environ['PATH']}{os.pathsep}{programs}", "SALT_CONFIG_DIR": str(folder)}
    publish, back, user = free_port(), free_port(), getpass.getuser()
    common = f"user: {user}\nroot_dir: {folder}/root\npublish_port: {publish}\nlog_level: error\n"
    (folder / "root").mkdir()
    (folder / "master").write_text(
        f"{common}interface: 127.0.0.1\nret_port: {back}\npki_dir: {folder}/root/master-keys\nauto_accept: true\n"
    )
    (folder / "minion").write_text(
        f"{common}master: 127.0.0.1\nmaster_port: {back}\npki_dir: {folder}/root/minion-keys\nid: here.1\n"
    )
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "out").open("wb") as out:
            for program in ("salt-master", "salt-minion"):
                line = [str(programs / program), "-c", str(folder)]
                started.append(
                    subprocess.Popen(
                        line,
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=out,
                        env={**os.environ, **environment},
                        start_new_session=True,
                    )
                )
        master = Master(folder, "here.1", environment)
        _wait(master, programs, started)
        yield master
    finally:
        _stop(started)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(master: Master, programs: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """Until the minion answers."""
    line = [str(programs / "salt"), "-c", str(master.folder), "--out=json", "--static", master.minion, "test.ping"]
    end = time.monotonic() + 180
    while time.monotonic() < end and all(process.poll() is None for process in started):
        done = subprocess.run(line, check=False, capture_output=True, timeout=120)
        if b"true" in done.stdout:
            return
        time.sleep(1)
    raise RuntimeError(f"the minion did not answer: {(master.folder / 'out').read_text('utf-8', 'replace')[-500:]}")


def _stop(started: list[subprocess.Popen[bytes]]) -> None:
    """End the programs and their processes: each has a session of its own."""
    sessions = {process.pid for process in started}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(entry.name)) in sessions:
                os.kill(int(entry.name), signal.SIGKILL)
    for process in started:
        process.wait()


@pytest.fixture(scope="session")
def salt_master() -> Iterator[Master]:
    """One for all tests."""
    with serving() as master:
        yield master
