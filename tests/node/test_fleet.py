"""Nodes asked through ClusterShell, by a real sshd: what they answer, and what becomes of those that do not."""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.node import fleet, packed
from pytest_gpuready.node.facts import BROKE_OFF, REACH, SUDO, Facts, file, run, script
from pytest_gpuready.node.fleet import Engine, FleetError, takes
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options, Shell
from tests.support.sshd import Sshd, descendants, free_port, sshd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gpuready.node.facts import Request

__all__ = ["sshd"]


@pytest.fixture
def options(sshd: Sshd) -> Options:
    return Options(ssh_config=str(sshd.config))


@pytest.fixture
def engine(options: Options) -> Iterator[Engine]:
    made = Engine([], options, 16, [])
    yield made
    made.stop()


def wants(requests: Sequence[Request], later: Sequence[Request] = ()) -> object:
    """Two rounds where `later` is given."""

    def wanted(facts: Facts) -> list[Request]:
        return [*requests, *(later if all(request in facts for request in requests) else ())]

    return wanted


def asked(engine: Engine, names: Sequence[str], *requests: Request, timeout: float = 20, **more: object) -> list[Facts]:
    """The facts of nodes that are asked side by side."""

    def one(name: str) -> Facts:
        with engine.login(parse(f"ssh://{name}")) as login:
            return gather(login, name, wants(requests, **more), timeout)  # type: ignore[arg-type]

    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(one, names))


def notes(facts: Facts) -> str:
    fact = facts.peek(REACH)
    assert fact is not None
    return fact.note


def setup(sshd: Sshd, folder: Path, name: str, text: str) -> str:
    """A node whose login begins with these lines of sh."""
    path = folder / f"{name}.sh"
    path.write_text(text)
    return sshd.add_alias(f"{name}-{folder.name}", setup=str(path))


def mine(sshd: Sshd) -> set[int]:
    """The processes below this one, but for the server and what it serves."""
    assert sshd.process is not None
    return set(descendants(os.getpid())) - {sshd.process.pid, *descendants(sshd.process.pid)}


def test_bytes_of_every_kind_come_as_by_a_shell(engine: Engine, sshd: Sshd, tmp_path: Path, options: Options) -> None:
    """ClusterShell hands on lines; a file, a command and its errors come whole all the same."""
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(range(256)) * 300 + b"\r\n\r\r\nend")
    requests = [file(str(raw)), file("/no/such"), script("x", "printf 'a\\rb'; printf c >&2; exit 3"), run("no-such")]
    (through,) = asked(engine, [sshd.alias], *requests)
    with Shell(parse(sshd.spec), options) as shell:
        direct = gather(shell, sshd.alias, lambda _: requests, 20)
    assert dict(through) == dict(direct)
    assert through.fact(requests[0]).data == raw.read_bytes()


def test_nodes_that_are_asked_the_same_get_it_at_once_and_a_login_a_round(engine: Engine, sshd: Sshd) -> None:
    names = [sshd.add_alias(f"same{number}") for number in range(6)]
    before = sshd.logins()
    threads = threading.active_count()
    later = [run("echo", "again")]
    found = asked(engine, names, run("echo", "first"), later=later)
    assert [facts.text(later[0]) for facts in found] == ["again\n"] * 6
    assert sshd.logins() - before == 12
    assert threading.active_count() <= threads + 3


def test_two_names_of_one_host_are_asked_both(engine: Engine, sshd: Sshd) -> None:
    """As an inventory may have them."""
    logins = [engine.login(parse(sshd.spec)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda login: gather(login, "x", lambda _: [run("echo", "it")], 20), logins))
    assert [facts.text(run("echo", "it")) for facts in found] == ["it\n"] * 2


@pytest.mark.parametrize("shell", ["csh", "fish"])
def test_login_shells_that_are_no_sh(engine: Engine, sshd: Sshd, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not on this machine")
    (facts,) = asked(engine, [sshd.add_alias(f"engine-{shell}", shell=program)], run("echo", "it"))
    assert facts.text(run("echo", "it")) == "it\n"


def test_every_kind_of_broken_node_is_named_and_harms_no_other(
    engine: Engine, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run over all of them, with one deadline; the healthy ones among them answer."""
    monkeypatch.setattr(packed, "LIMIT", 4 << 20)
    kinds = {
        "hang": ("sleep 300", "no answer within the deadline"),
        "refused": ("", "Connection refused"),
        "denied": ("", "Permission denied"),
        "lines": ("yes flood", "flood flood"),
        "zeros": ("cat /dev/zero", "more than 4 MiB of output"),
        "gone": ("echo no shell here; exit 7", "no shell here"),
        "silent": ("exit 7", "exit status 7"),
    }
    names = {}
    for kind, (text, _) in kinds.items():
        names[kind] = setup(sshd, tmp_path, kind, text)
    names["refused"] = sshd.add_alias(f"port-{tmp_path.name}", f"Port {free_port()}")
    names["denied"] = sshd.add_alias(f"key-{tmp_path.name}", f"IdentityFile {tmp_path}/none")
    good = [sshd.add_alias(f"good{number}-{tmp_path.name}") for number in range(2)]
    good.append(setup(sshd, tmp_path, "noise", "head -c 100000 /dev/urandom; echo; printf 'a\\rb'"))
    found = dict(
        zip([*names, *good], asked(engine, [*names.values(), *good], run("echo", "it"), timeout=8), strict=True)
    )
    for kind, (_, words) in kinds.items():
        assert words in notes(found[kind]), kind
        assert "\n" not in notes(found[kind])
        assert "Traceback" not in notes(found[kind])
    for name in good:
        assert found[name].text(run("echo", "it")) == "it\n"
    (state,) = {fact.state for _, fact in found["hang"] if fact is found["hang"].peek(REACH)}
    assert state == "timeout"


def test_a_command_that_hangs_leaves_what_was_answered(engine: Engine, sshd: Sshd, tmp_path: Path) -> None:
    """The round is not bounded by the command's own deadline here: the node sends what it has before it is ended."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    slow = script("slow", f"read -r x <{fifo}", timeout=60)
    (facts,) = asked(engine, [sshd.alias], file("/etc/passwd"), slow, timeout=8)
    assert b"root" in facts.fact(file("/etc/passwd")).data
    fact = facts.peek(slow)
    assert fact is not None
    assert fact.state == "timeout"


def test_sudo_that_is_not_there_is_said(sshd: Sshd) -> None:
    config = Options(ssh_config=str(sshd.config), sudo=True, sudo_user="no-such-user")
    engine = Engine([], config, 4, [])
    try:
        (facts,) = asked(engine, [sshd.alias], run("echo", "it"))
        with Shell(parse(sshd.spec), config) as shell:
            direct = gather(shell, sshd.alias, lambda _: [run("echo", "it")], 20)
    finally:
        engine.stop()
    assert facts.peek(SUDO) == direct.peek(SUDO)
    assert facts.peek(REACH) == direct.peek(REACH)
    assert facts.peek(BROKE_OFF) == direct.peek(BROKE_OFF)


def test_an_end_ends_every_login_and_whoever_waits(engine: Engine, sshd: Sshd, tmp_path: Path) -> None:
    """As Ctrl-C: the runner dooms each login and stops the engine."""
    before = mine(sshd)
    names = [setup(sshd, tmp_path, f"hang{number}", "sleep 300") for number in range(3)]
    logins = [engine.login(parse(f"ssh://{name}")) for name in names]
    with ThreadPoolExecutor(3) as pool:
        came = [pool.submit(login.send, "echo\n", time.monotonic() + 200) for login in logins]
        for _ in range(100):
            if len(mine(sshd) - before) >= 4:
                break
            time.sleep(0.1)
        begun = time.monotonic()
        for login in logins:
            login.kill()
        engine.stop()
        assert [future.result(5).trouble for future in came] == ["interrupted"] * 3
    assert time.monotonic() - begun < 5
    left = mine(sshd) - before
    assert {Path(f"/proc/{pid}/cmdline").read_text() for pid in left if Path(f"/proc/{pid}/exe").exists()} == set()
    assert engine.login(parse("ssh://n")).send("echo\n", time.monotonic() + 5).trouble == "interrupted"
    assert logins[0].send("echo\n", time.monotonic() + 5).trouble == "interrupted"


def test_a_program_that_ends_is_a_sentence(
    engine: Engine, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes that are asked afterwards are told the same."""
    broken = tmp_path / "broken.py"
    broken.write_text("import sys\nsys.stdin.readline()\nsys.exit('it broke\\nhere')\n")
    monkeypatch.setattr(fleet, "TASKS", broken)
    for _ in range(2):
        (facts,) = asked(engine, [sshd.alias], run("echo"))
        assert notes(facts) == "ClusterShell ended: it broke here"


def test_a_program_that_cannot_be_started_is_a_sentence(
    engine: Engine, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    (facts,) = asked(engine, [sshd.alias], run("echo"))
    assert notes(facts) == "ClusterShell cannot be started: No such file or directory"


def test_a_program_that_never_answers_costs_no_more_than_a_limit(
    engine: Engine, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = tmp_path / "mute.py"
    mute.write_text("import sys\nsys.stdin.read()\n")
    monkeypatch.setattr(fleet, "TASKS", mute)
    monkeypatch.setattr(Engine, "longest", lambda _, left: 0.5 * min(left, 1))
    (facts,) = asked(engine, [sshd.alias], run("echo"))
    assert notes(facts) == "no answer within the deadline"


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        ("ssh://root@gpu-01.example:22", True),
        ("ssh://10.0.0.1", True),
        ("ssh://[fe80::1%eth0]", False),
        ("paramiko://gpu01", False),
        ("docker://gpu01", False),
        ("local://", False),
    ],
)
def test_what_it_takes_is_what_a_node_set_can_hold(spec: str, taken: bool) -> None:  # noqa: FBT001 - a row
    assert takes(parse(spec)) is taken


def test_without_clustershell_it_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "find_spec", lambda _: None)
    with pytest.raises(FleetError, match=r"pip install 'pytest-gpuready\[fleet\]'"):
        fleet.routes()
