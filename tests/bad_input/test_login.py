"""The way to the node, in every mess, all in one run: each has its own sentence, and the healthy one is as alone."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.bad_input.rows import LOGIN
from tests.bad_input.support import Result, assert_says, findings, suite
from tests.support.sshd import Sshd, free_port, keygen, serving, silent_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.lab("root", "unshare", "useradd", "nologin", "sshd", "ssh", "ssh-keygen")
SHELLS = ("fish", "csh", "tcsh", "zsh", "ksh")
BANNER = "printf 'Welcome!\\nno newline'; echo hi >&2; head -c 9000 /dev/urandom\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    """A server that takes passwords too, so that one can be wanted.

    It has a list of processes of its own: what else runs on this machine comes and goes.
    """
    within = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with serving("PasswordAuthentication yes", within=within) as running:
        yield running


@pytest.fixture(scope="module")
def nobody_home() -> Iterator[str]:
    """A user whose login shell is nologin: made for these tests, removed after them."""
    nologin = shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin")
    assert nologin is not None
    name = f"gpuready{secrets.token_hex(3)}"
    subprocess.run(["useradd", "-M", "-d", "/", "-s", nologin, name], check=True, capture_output=True)
    # An account that is not locked: of a locked one sshd says nothing.
    subprocess.run(["chpasswd"], input=f"{name}:{secrets.token_hex(8)}".encode(), check=True, capture_output=True)
    yield name
    subprocess.run(["userdel", "-f", name], check=True, capture_output=True)


@pytest.fixture(scope="module")
def black_hole() -> Iterator[int]:
    with silent_port() as port:
        yield port


@pytest.fixture(scope="module")
def closing() -> Iterator[int]:
    """A port that closes every connection at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def rc(server: Sshd, name: str, text: str) -> str:
    """A file that the login reads before anything else."""
    path = server.folder / f"rc-{name}"
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def cut(server: Sshd) -> str:
    """In the middle of the answers a program of the node's ends the sshd that serves them."""
    programs = server.folder / "cut"
    programs.mkdir()
    (programs / "ctr").write_text("#!/bin/sh\nkill -9 $GPUREADY_SERVED_BY\nsleep 3\n")
    (programs / "ctr").chmod(0o755)
    return f"export GPUREADY_SERVED_BY=$PPID PATH={programs}:$PATH\n"


@pytest.fixture(scope="module")
def specs(server: Sshd, nobody_home: str, black_hole: int, closing: int) -> dict[str, str]:
    """A host spec per row."""
    other = keygen(server.folder / "other").with_suffix(".pub").read_text()
    (server.folder / "changed").write_text(f"gpuready-test {other}")
    wrong = keygen(server.folder / "wrong")
    add = server.add_alias
    made = {
        "refused": add("refused", f"Port {free_port()}"),
        "black-hole": add("black-hole", f"Port {black_hole}"),
        "changed-key": add("changed-key", f"UserKnownHostsFile {server.folder}/changed"),
        "unknown-key": add("unknown-key", f"UserKnownHostsFile {server.folder}/none", "StrictHostKeyChecking ask"),
        "password": add("password", f"IdentityFile {wrong}", user=nobody_home),
        "nologin": add("nologin", user=nobody_home),
        "no-shell": add("no-shell", setup=rc(server, "no-shell", "echo 'Router>'; exit 0\n")),
        "hung": add("hung", setup=rc(server, "hung", "echo 'waiting for /home'; sleep 60\n")),
        "endless": add("endless", setup=rc(server, "endless", "yes still mounting\n")),
        "closing": add("closing", f"Port {closing}"),
        "cut": add("cut", setup=rc(server, "cut", cut(server))),
        "banner": add("banner", setup=rc(server, "banner", BANNER)),
        **{shell: add(shell, shell=found) for shell in SHELLS if (found := shutil.which(shell)) is not None},
    }
    return {name: f"ssh://{alias}{'?timeout=2' if name == 'black-hole' else ''}" for name, alias in made.items()}


@pytest.fixture(scope="module")
def alone(server: Sshd, folder: Path) -> Result:
    """The healthy node by itself."""
    return suite(folder, server.spec, f"--ssh-config={server.config}")


@pytest.fixture(scope="module")
def together(server: Sshd, specs: dict[str, str], folder: Path) -> Result:
    """All of them at once, the healthy one in the middle."""
    hosts = list(specs.values())
    hosts.insert(len(hosts) // 2, server.spec)
    return suite(folder, ",".join(hosts), f"--ssh-config={server.config}", "--gpuready-timeout=20")


@pytest.mark.parametrize("name", [name for name, row in LOGIN.items() if row.check])
def test_it_is_a_finding_in_words(together: Result, specs: dict[str, str], name: str) -> None:
    node = together.node(specs[name].partition("?")[0])
    assert_says(node, LOGIN[name], together.out)
    assert node["verdict"] == ("unknown" if name == "cut" else "unreachable")


@pytest.mark.parametrize("name", [name for name, row in LOGIN.items() if not row.check])
def test_it_changes_no_finding(together: Result, alone: Result, server: Sshd, specs: dict[str, str], name: str) -> None:
    if name not in specs:
        pytest.skip(f"{name} is not on this machine")
    assert findings(together.node(specs[name])) == findings(alone.node(server.spec))


def test_the_healthy_node_of_the_run_is_judged_as_if_alone(together: Result, alone: Result, server: Sshd) -> None:
    assert findings(together.node(server.spec)) == findings(alone.node(server.spec))
    assert together.node(server.spec)["routes"] == alone.node(server.spec)["routes"]
    assert together.code == 1
    assert [node["node"] for node in together.document["nodes"]].index(server.spec) > 0


def test_of_a_connection_that_was_cut_nothing_is_said_but_that(together: Result, specs: dict[str, str]) -> None:
    """Half of the answers is no ground for a finding: neither a pass nor a fault."""
    statuses = {check["check"]: check["status"] for check in together.node(specs["cut"])["checks"]}
    assert statuses.pop("node.reachable") == "unknown"
    assert set(statuses.values()) == {"blocked"}
