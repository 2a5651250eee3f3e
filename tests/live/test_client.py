"""The guard's script and the fixture's client, run for real on this machine with a stand-in for ctr.

The stand-in answers what is asked of it and keeps what it is told in a file. It cannot show that containers run:
tests/lab/test_live.py does.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.live import plan, script
from pytest_gpuready.live.client import CtrClient, CtrError
from pytest_gpuready.live.ctr import Container
from pytest_gpuready.live.transcript import sections
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.node.gather import ask, gather
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options, Shell
from pytest_gpuready.runner import Runner
from pytest_gpuready.views import Views
from tests.support import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CTR = """#!/bin/sh
echo "$*" >>"$0.log"
case "$*" in
*" images import "*missing*) echo "ctr: open missing: no such file" >&2; exit 1 ;;
*" images import "*) echo theirs:1 >>"$0.images"; cat >/dev/null ;;
*" images ls -q") cat "$0.images" 2>/dev/null ;;
*" images ls -q name=="*) echo there ;;
*" images rm "*) rm -f "$0.images" ;;
*" namespaces ls -q") echo default ;;
*" run "*hang*) exec sleep 60 ;;
*" run "*) echo ran; exit 7 ;;
esac
exit 0
"""


@pytest.fixture
def ctr(tmp_path: Path) -> Path:
    """The stand-in."""
    if not shutil.which("setsid"):
        pytest.skip("no setsid here")
    path = tmp_path / "ctr"
    path.write_text(CTR)
    path.chmod(0o755)
    return path


@pytest.fixture
def client(ctr: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CtrClient]:
    monkeypatch.setattr(CtrClient, "_path", str(ctr))
    made = CtrClient(Views(nodes.ready().facts()), lambda: Shell(parse("local://"), Options()))
    yield made
    made.close()


def asked(planned: plan.Plan) -> dict[str, tuple[bytes, int | None]]:
    """What a plan's script prints here, as sections."""
    facts = Facts("local")
    with Shell(parse("local://"), Options()) as shell:
        gather(shell, "local", lambda _: (), 30)
        request = script.request(planned)
        ask(shell, facts, request, 120)
    fact = facts.peek(script.REQUEST)
    assert fact is not None
    return {name: (one.data, one.rc) for name, one in (sections(fact.data) or {}).items()}


def test_the_builtin_image_is_built_imported_and_everything_is_taken_away(ctr: Path) -> None:
    found = asked(plan.Plan(containers=(Container("x", ("ctr-gpus",)),), ctr=str(ctr), socket="/s"))
    assert found["image"][1] == 0, found["image"]
    assert found["x"] == (b"ran\n", 7)
    assert found["host"][1] == 0
    assert found["left"] == (b"", 0)
    log = ctr.with_name("ctr.log").read_text()
    assert "images import -" in log
    assert "tasks rm -f gpuready-" in log  # it ended with 7, so that whatever is left of it goes
    assert "namespaces rm gpuready-" in log


def test_a_container_that_hangs_is_ended_at_its_deadline(ctr: Path) -> None:
    planned = plan.Plan(
        containers=(Container("x", (), ("--hang",)),), ctr=str(ctr), socket="/s", image="x:1", seconds=1, probe=False
    )
    assert asked(planned)["x"][1] in (124, 137, 143)


def test_the_guard_stops_at_its_deadline_and_cleans_up(ctr: Path) -> None:
    hanging = (Container("x", (), ("--hang",)), Container("y", ()))
    planned = plan.Plan(containers=hanging, ctr=str(ctr), socket="/s", image="x:1", seconds=6, deadline=2, probe=False)
    found = asked(planned)
    assert "y" not in found
    assert found["clean"][1] == 0


def test_the_end_of_the_login_ends_the_run(ctr: Path) -> None:
    """The transport is killed meanwhile; the guard is still there, ends what runs and cleans up."""
    planned = plan.Plan(
        containers=(Container("x", (), ("--hang",)), Container("y", ())),
        ctr=str(ctr), socket="/s", image="x:1", seconds=8, probe=False,
    )  # fmt: skip
    facts = Facts("local")
    with Shell(parse("local://"), Options()) as shell:
        gather(shell, "local", lambda _: (), 30)
        ask(shell, facts, script.request(planned), 2)  # no answer by then: the login is ended
    log = ctr.with_name("ctr.log")
    end = os.times().elapsed + 60
    while "containers ls -q" not in log.read_text() and os.times().elapsed < end:
        os.sched_yield()
    assert "containers ls -q" in log.read_text()
    assert "gpuready-" in log.read_text()
    assert log.read_text().count(" run ") == 1


def test_run_brings_status_and_output(client: CtrClient) -> None:
    done = client.run("builtin", "sh", "-c", "true", gpus=[0])
    assert (done.rc, done.output) == (7, "ran\n")
    assert client.version_text  # the view's own attributes are there too
    assert client.namespaces() == ["default"]


def test_what_is_imported_is_removed_at_the_end(client: CtrClient, ctr: Path) -> None:
    assert client.import_image("/tmp/x.tar") == ["theirs:1"]
    client.close()
    assert "images rm --sync theirs:1" in ctr.with_name("ctr.log").read_text()


@pytest.mark.parametrize(
    ("image", "seconds", "words"),
    [("a b", 30, "no name of an image"), ("busybox", 0, "seconds"), ("x", 1e9, "seconds")],
)
def test_what_cannot_be_run_is_refused_before(client: CtrClient, image: str, seconds: float, words: str) -> None:
    with pytest.raises(CtrError, match=words):
        client.run(image, "true", seconds=seconds)


def test_ctrs_own_words_are_the_errors(client: CtrClient) -> None:
    with pytest.raises(CtrError, match="no such file"):
        client.import_image("/missing.tar")


def test_a_node_that_does_not_answer_is_told(ctr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CtrClient, "_path", str(ctr))
    spec = parse("ssh://nobody@127.0.0.1:1")
    client = CtrClient(Views(nodes.ready().facts()), lambda: Shell(spec, Options()))
    with pytest.raises(CtrError, match="does not answer"):
        client.images()
    client.close()


def test_a_snapshot_runs_nothing() -> None:
    node = nodes.ready()
    node.label = "snapshot://x.json"
    client = CtrClient(Views(node.facts()), lambda: Shell(parse("local://"), Options()))
    with pytest.raises(CtrError, match="snapshot"):
        client.namespaces()


def test_the_runner_runs_what_is_planned_in_the_same_login(ctr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan.Plan(containers=(Container("ctr-gpus", ("ctr-gpus",)),), ctr=str(ctr), socket="/s", image="x:1")
    monkeypatch.setattr(plan, "make", lambda *_: planned)
    run = Runner([parse("local://")], Settings(live=True), Options(), timeout=60).run()
    assert run.live
    fact = run.nodes[0].facts.peek(script.REQUEST)
    assert fact is not None
    assert "ctr-gpus" in (sections(fact.data) or {})
    assert "live.ctr-gpus" in run.nodes[0].findings


def asked_with(ctr: Path, folders: list[Path], left: str) -> bytes:
    """What is told to be left by a run whose client does this as it starts a container; `$space` is its namespace."""
    first, _, rest = CTR.partition("\n")
    words = "space=; for word do case $word in --namespace=*) space=${word#*=} ;; esac; done"
    ctr.write_text(f'{first}\n{words}\n[ -z "$space" ] || {{ {left}; }}\n{rest}')
    container = Container("x", ("ctr-gpus",))
    planned = plan.Plan(containers=(container,), ctr=str(ctr), socket="/s", folders=tuple(map(str, folders)))
    return asked(planned)["left"][0]


def test_the_empty_folders_of_the_runs_own_namespace_go_with_it(ctr: Path, tmp_path: Path) -> None:
    """As the daemon and runc leave them; another namespace's stays."""
    folders = [tmp_path / name for name in ("a root", "state", "runc")]
    make = "; ".join(f"mkdir -p '{folder}'/$space '{folder}'/default" for folder in folders)
    assert asked_with(ctr, folders, make) == b""
    assert [[place.name for place in folder.iterdir()] for folder in folders] == [["default"]] * 3


def test_a_folder_that_is_not_empty_stays_and_is_named(ctr: Path, tmp_path: Path) -> None:
    left = asked_with(ctr, [tmp_path / "state"], f"mkdir -p {tmp_path}/state/$space/held")
    (kept,) = (tmp_path / "state").iterdir()
    assert (kept / "held").is_dir()
    assert left == f"{kept}\n".encode()


def test_a_link_in_their_place_is_neither_followed_nor_removed(ctr: Path, tmp_path: Path) -> None:
    (tmp_path / "aim").mkdir()
    make = f"mkdir -p {tmp_path}/state; ln -s {tmp_path}/aim {tmp_path}/state/$space"
    assert asked_with(ctr, [tmp_path / "state"], make) == b""
    assert (tmp_path / "aim").is_dir()
