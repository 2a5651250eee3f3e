"""The commands, run without a containerd: what lies at the socket's path, and which program is taken."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd_api import ask
from pytest_gpuready.containerd_api.answers import parse_answer
from pytest_gpuready.containerd_api.transcript import parse_transcript
from tests.containerd_api.support import NOBODY, SHELLS, run
from tests.support.shell import shells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

needs_root = pytest.mark.lab("root")
needs_curl = pytest.mark.lab("curl")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, with a short path: a socket's has at most 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="gpuready-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=shells(*SHELLS))
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[pytest.param("curl", marks=pytest.mark.lab("curl")), "python3"])
def program(request: pytest.FixtureRequest, programs: Path) -> Path:
    """The folder with the one program on PATH that can ask."""
    return programs / str(request.param)


def _bound(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


def test_a_socket_that_is_not_there_is_absent(folder: Path, program: Path, shell: str) -> None:
    answer = parse_answer(run(ask.ask_command(f"{folder}/none/s.sock"), program, shell).stdout)
    assert (answer.state, answer.via, answer.cri, answer.server, answer.version) == ("absent", "none", None, None, None)


def test_a_dangling_link_is_absent(folder: Path, program: Path, shell: str) -> None:
    (folder / "s.sock").symlink_to(folder / "gone")
    assert parse_answer(run(ask.ask_command(f"{folder}/s.sock"), program, shell).stdout).state == "absent"


@needs_root
def test_a_socket_in_a_folder_that_may_not_be_entered_is_denied(folder: Path, program: Path, shell: str) -> None:
    (folder / "private").mkdir(mode=0o700)
    with _bound(folder / "private/s.sock"):
        done = run(ask.ask_command(f"{folder}/private/s.sock"), program, shell, user=NOBODY, group=NOBODY)
    assert parse_answer(done.stdout).state == "denied"


@needs_root
def test_a_socket_that_may_not_be_written_is_denied(folder: Path, program: Path, shell: str) -> None:
    with _bound(folder / "s.sock") as server:
        server.listen()
        (folder / "s.sock").chmod(0o660)
        done = run(ask.ask_command(f"{folder}/s.sock"), program, shell, user=NOBODY, group=NOBODY)
    assert parse_answer(done.stdout).state == "denied"


@pytest.mark.parametrize("kind", ["file", "folder", "fifo"])
def test_what_is_no_socket_is_said_and_not_opened(folder: Path, program: Path, shell: str, kind: str) -> None:
    """Opening a FIFO would wait for a writer."""
    path = folder / "s.sock"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
    assert parse_answer(run(ask.ask_command(str(path)), program, shell).stdout).state == "not-a-socket"


def test_a_socket_that_nobody_listens_at_is_stale(folder: Path, program: Path, shell: str) -> None:
    _bound(folder / "s.sock").close()
    answer = parse_answer(run(ask.ask_command(f"{folder}/s.sock"), program, shell).stdout)
    assert (answer.state, answer.via) == ("stale", program.name)


@pytest.mark.slow
def test_a_socket_where_nobody_answers_is_a_time_out(folder: Path, program: Path) -> None:
    with _bound(folder / "s.sock") as server:
        server.listen()
        answer = parse_answer(run(ask.ask_command(f"{folder}/s.sock"), program).stdout)
    assert (answer.state, answer.cri, answer.server) == ("timeout", None, None)
    assert {call.outcome for call in answer.calls} == {"timeout"}


@pytest.mark.slow
def test_a_queue_of_connections_that_nobody_takes_is_a_time_out(folder: Path, program: Path) -> None:
    """A connect is refused with EAGAIN once the queue of a listener that hangs is full."""
    with _bound(folder / "s.sock") as server:
        server.listen(0)
        waiting = []
        try:
            while True:
                client = socket.socket(socket.AF_UNIX)
                waiting.append(client)
                client.setblocking(False)
                client.connect(f"{folder}/s.sock")
        except BlockingIOError:
            pass
        answer = parse_answer(run(ask.version_command(f"{folder}/s.sock"), program).stdout)
        for client in waiting:
            client.close()
    assert answer.state == "timeout"


def test_a_peer_that_hangs_up_is_broken(folder: Path, program: Path) -> None:
    """It stands for a server that closes when it is spoken to; containerd's own closing says GOAWAY first."""

    def hang_up() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(10)

    with _bound(folder / "s.sock") as server:
        server.listen()
        thread = threading.Thread(target=hang_up)
        thread.start()
        answer = parse_answer(run(ask.version_command(f"{folder}/s.sock"), program).stdout)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (answer.state, answer.via, answer.version) == ("broken", program.name, None)
    assert answer.detail


@pytest.mark.parametrize("make", [ask.ask_command, ask.status_command, ask.server_command, ask.version_command])
def test_without_a_program_the_command_says_so(
    folder: Path, programs: Path, shell: str, make: Callable[[str], tuple[str, ...]]
) -> None:
    with _bound(folder / "s.sock") as server:
        server.listen()
        done = run(make(f"{folder}/s.sock"), programs / "nothing", shell)
    assert done.stdout == b"via=none\nsocket=ok\n"
    assert parse_answer(done.stdout).state == "no-tool"


def test_crictl_is_not_asked_what_it_cannot_tell(folder: Path, programs: Path) -> None:
    with _bound(folder / "s.sock") as server:
        server.listen()
        done = run(ask.server_command(f"{folder}/s.sock"), programs / "crictl")
    assert done.stdout == b"via=none\nsocket=ok\n"


@pytest.mark.parametrize("code", [1, 2, 4, 16, 127])
def test_a_curl_that_cannot_do_it_gives_way_to_python3(folder: Path, programs: Path, shell: str, code: int) -> None:
    """A stand-in for a curl without HTTP/2 (exit 1, 2 or 4), with a faulty one (16) or that cannot start (127)."""
    (folder / "bin").mkdir()
    (folder / "bin/curl").write_text(f"#!/bin/sh\nexit {code}\n")
    (folder / "bin/curl").chmod(0o755)
    _bound(folder / "s.sock").close()
    answer = parse_answer(run(ask.ask_command(f"{folder}/s.sock"), f"{folder}/bin:{programs}/python3", shell).stdout)
    assert (answer.state, answer.via) == ("stale", "python3")


def test_a_python3_that_cannot_run_counts_as_none(folder: Path, shell: str) -> None:
    (folder / "python3").write_text("#!/bin/sh\necho 'pyenv: no such version' >&2\nexit 127\n")
    (folder / "python3").chmod(0o755)
    _bound(folder / "s.sock").close()
    done = run(ask.version_command(f"{folder}/s.sock"), folder, shell)
    # A node that has RHEL's platform-python would answer by that.
    assert parse_answer(done.stdout).state in ("no-tool", "stale")


@pytest.mark.parametrize(
    "name", ["$(touch x)", "`touch x`", "a'; touch x; '", 'a"; touch x; "', "a b", "-K", "*", "a\nvia=curl", "ü\\n%s"]
)
def test_a_hostile_name_stays_a_name(folder: Path, program: Path, shell: str, name: str) -> None:
    _bound(folder / name).close()
    before = sorted(folder.rglob("*"))
    done = run(ask.ask_command(f"{folder}/{name}"), program, shell, cwd=folder)
    assert parse_answer(done.stdout).state == "stale"
    assert sorted(folder.rglob("*")) == before


@needs_curl
def test_the_users_curlrc_and_proxies_do_not_count(folder: Path, programs: Path) -> None:
    (folder / ".curlrc").write_text(f'output = "{folder}/taken"\nproxy = "http://127.0.0.1:1"\n')
    _bound(folder / "s.sock").close()
    environment = {"HOME": str(folder), "http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
    answer = parse_answer(run(ask.ask_command(f"{folder}/s.sock"), programs / "curl", env=environment).stdout)
    assert answer.state == "stale"
    assert not (folder / "taken").exists()


def test_the_python3_client_is_small_enough_to_send_each_time() -> None:
    assert len(ask.CLIENT) < 3000


def test_what_came_from_a_node_is_never_part_of_a_program() -> None:
    command = ask.ask_command("/run/$(x)")
    assert command[:6] == ("sh", "-c", ask.SNIPPET, "sh", ask.CLIENT, "/run/$(x)")
    assert "$(x)" not in ask.SNIPPET + ask.CLIENT


@pytest.mark.parametrize("path", ["run/containerd.sock", "", "@abstract", "/run/a\0b"])
def test_only_absolute_paths_are_sockets(path: str) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        ask.ask_command(path)


@pytest.mark.parametrize("path", ["", "/", "a.B/C", "/a.B", "/a/b/c", "/a/b?c", "/a b/c", "/a/b\n", f"/{'a' * 125}/b"])
def test_only_grpc_paths_are_called(path: str) -> None:
    with pytest.raises(ValueError, match="not the path of a gRPC method"):
        ask.unary("/s", path)


@pytest.mark.parametrize("body", ["0", "zz", "00" * (ask.MAX_BODY + 1)])
def test_a_body_is_hex_and_fits_in_a_frame(body: str) -> None:
    with pytest.raises(ValueError, match=r"hex|more than"):
        ask.unary("/s", "/a.B/C", body)


def test_a_head_alone_is_read() -> None:
    assert parse_transcript(b"via=none\nsocket=denied\n").socket == "denied"


def test_server_is_asked_only_where_the_daemon_has_its_uuid(tmp_path: Path) -> None:
    """Asked for the first time, containerd writes the file: looking would change the node."""

    def calls(socket: str) -> list[str]:
        text = ask.ONLY_WITH_UUID.replace("/var/lib/containerd", str(tmp_path)) + 'printf "%s\\n" "$@"'
        arguments = ask.ask_command(socket)[5:]
        done = subprocess.run(["sh", "-c", text, "sh", *arguments], check=True, capture_output=True, text=True)
        told = done.stdout.splitlines()
        assert told[:2] == list(arguments[:2])
        return told[2::3]

    usual = "/run/containerd/containerd.sock"
    rest = [ask.VERSION_PATH, ask.STATUS_PATH]
    assert calls(usual) == rest
    (tmp_path / "io.containerd.grpc.v1.introspection").mkdir()
    (tmp_path / "io.containerd.grpc.v1.introspection/uuid").touch()
    assert calls(usual) == [ask.VERSION_PATH, ask.SERVER_PATH, ask.STATUS_PATH]
    assert calls("/run/site/containerd.sock") == rest
    assert calls("/run/k3s/containerd/containerd.sock") == rest
