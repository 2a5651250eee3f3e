"""`python -m pytest_gpuready merge`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_gpuready.__main__ import main
from pytest_gpuready.docs_reference import schema
from pytest_gpuready.merge import command, work
from tests.merge.support import json_report, merge, snapshot, verdicts
from tests.report.sample import NO_HANDLER, report, run


def fleet(folder: Path) -> Path:
    """Two nodes that judged themselves, one of them broken, and one that another run judged."""
    snapshot(folder / "gpu001" / "local.json", hostname="gpu001", gpus="00000001")
    snapshot(folder / "gpu002" / "local.json", "not-restarted", hostname="gpu002", gpus="00000002")
    json_report(folder / "gpu003.json", report("ssh://root@gpu003", hostname="gpu003"))
    return folder


def test_one_report_of_all_that_was_brought(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rc, out, err = merge(capsys, fleet(tmp_path))
    assert (rc, err) == (1, "")
    assert out.splitlines()[-1] == "gpuready: 3 nodes: 2 ready, 1 not ready"
    assert "sudo systemctl restart containerd" in out
    assert (
        "2 snapshots judged now and 1 node as JSON reports tell of them; found at 2026-11-22 09:00:00 UTC"
        in " ".join(out.split())
    )


def test_all_forms_are_written_and_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, forms = fleet(tmp_path / "r"), [tmp_path / name for name in ("o.json", "o.md", "o.html")]
    rc, _, _ = merge(
        capsys,
        folder,
        "--gpuready-json",
        forms[0],
        "--gpuready-md",
        forms[1],
        "--html",
        forms[2],
        "--hosts",
        "gpu[001-004]",
    )
    assert rc == 1
    made = json.loads(forms[0].read_text())
    jsonschema.validate(made, schema())
    assert {node["node"]: node["verdict"] for node in made["nodes"]} == {
        "local://gpu001": "ready",
        "local://gpu002": "not-ready",
        "ssh://root@gpu003": "ready",
        "gpu004": "incomplete",
    }
    assert made["nodes"][3]["reason"] == "no result was brought"
    assert forms[1].read_text().startswith("**4 nodes**: 2 ready, 1 not ready, 1 incomplete")
    page = forms[2].read_text()
    assert "2 of 4 nodes are not ready" in page
    assert "no result was brought" in page
    assert "python -m pytest_gpuready merge" in page
    assert all(form.stat().st_mode & 0o777 == 0o600 for form in forms)


def test_what_it_wrote_can_be_merged_again(tmp_path: Path) -> None:
    first = verdicts(fleet(tmp_path / "r"))
    (tmp_path / "again").mkdir()
    (tmp_path / "merged.json").rename(tmp_path / "again" / "rack1.json")
    snapshot(tmp_path / "again" / "rack2" / "gpu101.json", hostname="gpu101")
    assert verdicts(tmp_path / "again") == {**first, "local://gpu101": "ready"} | {"local://gpu101": "ready"}


def test_the_exit_code_is_the_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tmp_path / "good"
    snapshot(good / "a.json", hostname="a", gpus="0000000a")
    assert merge(capsys, good, "-q")[:2] == (0, "gpuready: local://a is READY (configuration; no container was run)\n")
    assert merge(capsys, good, "--hosts", "a")[0] == 0
    assert merge(capsys, good, "--hosts", "a,b")[0] == 1
    (good / "b.json").write_text('{"gpuready_snapshot": 1, "facts": [{"ki')
    rc, out, _ = merge(capsys, good)
    assert rc == 1, "a result that was cut may have been a broken node's"
    assert "the file is no JSON" in out


def test_json_reports_of_interrupted_or_empty_runs_are_never_ready(tmp_path: Path) -> None:
    json_report(tmp_path / "r" / "a.json", nodes=[], verdict="ready")
    json_report(tmp_path / "r" / "b.json", report("ssh://n1", verdict="incomplete", reason="interrupted"))
    assert verdicts(tmp_path / "r") == {"ssh://n1": "incomplete"}


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "no file there is called *.json, so there is no result to merge"),
        ({"a.txt": "{}"}, "no file there is called *.json"),
        ({"a.json": "{}"}, "nothing to merge: no results, and left aside"),
        ({"a.json": '{"schema": 1, "nodes": []}'}, "nothing to merge"),
    ],
)
def test_a_folder_without_a_result_is_no_report_and_never_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], why: str
) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    rc, out, err = merge(capsys, folder, "--gpuready-json", tmp_path / "o.json")
    assert (rc, out) == (4, "")
    assert why in err
    assert not (tmp_path / "o.json").exists()
    assert merge(capsys, folder, "--hosts", "gpu[1-2]")[0] == 1, "those that were expected are incomplete"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere"], "nowhere: No such file or directory"),
        ([], "the following arguments are required: DIR|FILE"),
        ([".", "--gpuready-route", "x"], "unrecognized arguments"),
        ([".", "--gpuready-routes", "cri"], "--gpuready-routes cri: cri: no such route"),
        ([".", "--gpuready-containerd", "x"], "not an absolute path of a socket"),
        ([".", "--gpuready-json", "-", "--gpuready-md", "-"], "only one report can be standard output"),
        ([".", "--gpuready-json", "."], "--gpuready-json . is a directory"),
        ([".", "--html", "a.json/o.html"], "cannot be written"),
        ([".", "--gpuready-baseline", "nowhere"], "--gpuready-baseline nowhere: No such file or directory"),
        ([".", "--gpuready-jobs", "0"], "not a whole number above 0"),
        ([".", "--gpuready-jobs", "²"], "not a whole number above 0"),
        ([".", "--hosts", ","], "--hosts names no node"),
        ([".", "--hosts", "root:secret@gpu1"], "is neither a host name nor a host spec"),
        ([".", "--gpuready-hosts-file", "nowhere"], "--gpuready-hosts-file nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence_and_exit_4(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    snapshot(tmp_path / "a.json")
    rc, out, err = merge(capsys, *arguments)
    assert (rc, out) == (4, "")
    assert why in err
    assert "secret" not in err
    assert "Traceback" not in err


def test_the_expected_nodes_may_stand_in_a_file_or_come_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(tmp_path / "r" / "a.json", hostname="gpu1")
    hosts = tmp_path / "hosts"
    hosts.write_text("# our nodes\ngpu[1-2]  # the first rack\n")
    assert "1 ready, 1 incomplete" in merge(capsys, tmp_path / "r", "--gpuready-hosts-file", hosts)[1]
    monkeypatch.setattr("sys.stdin", StringIO("gpu1\n"))
    assert merge(capsys, tmp_path / "r", "--gpuready-hosts-file", "-")[0] == 0


def test_routes_handler_and_daemon_are_judged_as_asked(tmp_path: Path) -> None:
    snapshot(tmp_path / "r" / "a.json", "not-restarted", hostname="a")
    json_report(tmp_path / "r" / "b.json", report("ssh://b", {"containerd.handler": NO_HANDLER}))
    assert verdicts(tmp_path / "r") == {"local://a": "not-ready", "ssh://b": "not-ready"}
    ready = {"local://a": "ready", "ssh://b": "ready"}
    assert verdicts(tmp_path / "r", "--gpuready-routes", "ctr-gpus") == ready
    assert verdicts(tmp_path / "r", "--gpuready-handler", "other")["local://a"] == "not-ready"


def test_what_changed_since_an_older_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "r"
    snapshot(folder / "a.json", hostname="a")
    merge(capsys, folder, "--gpuready-json", tmp_path / "old.json")
    snapshot(folder / "a.json", "not-restarted", hostname="a")
    _, out, _ = merge(capsys, folder, "--gpuready-baseline", tmp_path / "old.json")
    assert "verdict: ready, now not-ready" in out


def test_a_report_to_standard_output_is_all_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot(tmp_path / "a.json", hostname="a")
    _, out, err = merge(capsys, tmp_path, "--gpuready-json", "-")
    assert json.loads(out)["verdict"] == "ready"
    assert "local://a is READY" in err


HOSTILE = {
    "empty arg": b'{"gpuready_snapshot": 1, "facts": [{"kind": "file", "arg": [], "state": "ok", "text": ["x"]}]}',
    "empty script": b'{"gpuready_snapshot": 1, "facts": [{"kind": "script", "arg": [], "state": "ok"}]}',
    "a fact twice": b'{"gpuready_snapshot": 1, "facts": [], "facts": []}',
    "infinity": b'{"gpuready_snapshot": 1, "facts": [{"kind": "file", "arg": ["/a"], "state": "ok", "rc": Infinity}]}',
    "a node of lists": b'{"gpuready_snapshot": 1, "node": [[[]]], "facts": []}',
    "deep": b'{"gpuready_snapshot": 1, "node": ' + b"[" * 500 + b"]" * 500 + b', "facts": []}',
    "half a character": b'{"gpuready_snapshot": 1, "facts": [{"kind": "file", "arg": ["/\\ud800"], "state": "ok"}]}',
    "a report with NaN": b'{"schema": 1, "nodes": [{"node": "n", "checks": [], "routes": {}, "duration_s": NaN}]}',
    "a report with a key twice": b'{"schema": 1, "nodes": [{"node": "n", "node": "good", "checks": [], "routes": {}}]}',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_costs_itself_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """The report of all others is there, in every form, and one sentence names the file."""
    folder = tmp_path / "r"
    snapshot(folder / "good.json", node="ssh://good")
    (folder / "bad.json").write_bytes(HOSTILE[kind])
    forms = ("--gpuready-json", tmp_path / "o.json", "--gpuready-md", tmp_path / "o.md", "--html", tmp_path / "o.html")
    rc, out, err = merge(capsys, folder, *forms)
    assert rc == 1
    assert "Traceback" not in out + err
    assert "itself failed" not in out + err
    made = json.loads((tmp_path / "o.json").read_text("utf-8"))
    assert {node["node"]: node["verdict"] for node in made["nodes"]} == {
        "ssh://good": "ready",
        str(folder / "bad.json"): "incomplete",
    }
    (bad,) = [node for node in made["nodes"] if node["verdict"] == "incomplete"]
    assert bad["reason"].startswith(("the file is damaged: ", "the file is no JSON: "))
    assert (tmp_path / "o.html").exists()
    assert (tmp_path / "o.md").exists()


def test_a_hostile_older_report_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot(tmp_path / "r" / "good.json", node="ssh://good")
    old = tmp_path / "old.json"
    old.write_bytes(HOSTILE["a report with NaN"])
    rc, _, err = merge(capsys, tmp_path / "r", "--gpuready-baseline", old)
    assert rc == 4
    assert f"{old} is no JSON report: nodes[0].duration_s: NaN is not JSON" in err


@pytest.mark.parametrize("option", ["--gpuready-json", "--gpuready-md", "--html"])
def test_reports_replace_links_and_nothing_that_is_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    snapshot(tmp_path / "r" / "a.json")
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("precious", "utf-8")
    link.symlink_to(victim)
    assert merge(capsys, tmp_path / "r", option, link)[0] == 0
    assert victim.read_text("utf-8") == "precious"
    assert link.lstat().st_mode == 0o100600
    rc, _, err = merge(capsys, tmp_path / "r", option, "/dev/zero")
    assert (rc, "/dev/zero is no place for a file" in err) == (4, True)
    assert merge(capsys, tmp_path / "r", option, "/dev/null")[0] == 0
    assert merge(capsys, tmp_path / "r", option, "/dev/stdout")[1].count("gpu01")


def test_a_report_that_cannot_be_written_costs_no_other_and_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    snapshot(tmp_path / "r" / "a.json", hostname="a")
    monkeypatch.setattr("pytest_gpuready.report.json.parts", full)
    monkeypatch.setattr("pytest_gpuready.report.markdown.dumps", lambda _: 1 / 0)
    rc, out, _ = merge(
        capsys, tmp_path / "r", "--gpuready-json", tmp_path / "o.json", "--gpuready-md", tmp_path / "o.md", "--html",
        tmp_path / "o.html",
    )  # fmt: skip
    assert rc == 1
    assert "the JSON report could not be written to" in out
    assert "the Markdown report: pytest-gpuready itself failed: ZeroDivisionError" in out
    assert (tmp_path / "o.html").exists()


def test_colour_is_for_terminals_and_those_who_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot(tmp_path / "a.json", hostname="a")
    assert "\x1b" not in merge(capsys, tmp_path)[1]
    assert "\x1b[32m" in merge(capsys, tmp_path, "--color", "yes")[1]


def test_progress_is_told_where_somebody_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    options = command.parser().parse_args(["."])
    tell = command._progress(64, options)
    tell(32)
    tell(64)
    assert screen.getvalue() == "\rgpuready: 32 of 64 files judged\rgpuready: 64 of 64 files judged\r\033[K"
    command._progress(64, command.parser().parse_args([".", "-q"]))(64)
    assert screen.getvalue().count("64 of") == 1


def test_ctrl_c_reports_what_it_has_and_names_what_it_has_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        snapshot(tmp_path / "r" / f"{name}.json", hostname=name)

    def interrupted(places: Any, settings: Any, _: int) -> Any:
        yield 1, work.look(places[:1], settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "results", interrupted)
    rc, out, _ = merge(capsys, tmp_path / "r", "--gpuready-json", tmp_path / "o.json")
    assert rc == 2
    assert "the file was not read: interrupted" in out
    made = json.loads((tmp_path / "o.json").read_text())
    assert [node["verdict"] for node in made["nodes"]] == ["ready", "incomplete"]


@pytest.mark.slow
def test_ctrl_c_while_processes_judge_ends_without_a_traceback(tmp_path: Path) -> None:
    for number in range(200):
        snapshot(tmp_path / f"n{number}.json", hostname=f"n{number}", gpus=f"{number:08x}")
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_gpuready", "merge", str(tmp_path), "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _children(process.pid):
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert "Traceback" not in out + err
    assert "incomplete" in out or "interrupted" in err


def _children(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:  # noqa: PTH123
        return stream.read().split()


def test_what_the_module_can_do_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "merge DIR" in capsys.readouterr().out
    assert main([]) == 4
    assert "merge DIR" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["merge", "--help"])
    assert ended.value.code == 0


def test_pytest_is_not_imported(tmp_path: Path) -> None:
    snapshot(tmp_path / "a.json", hostname="a")
    script = (
        "import sys; from pytest_gpuready.__main__ import main\n"
        f"rc = main(['merge', {str(tmp_path)!r}, '--html', {str(tmp_path / 'o.html')!r}])\n"
        "assert not {'pytest', '_pytest', 'testinfra', 'pytest_html'} & set(sys.modules); sys.exit(rc)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_report_in_pieces_is_the_report() -> None:
    """Written a node at a time, as thousands are, it is what json.dumps makes of it whole."""
    from pytest_gpuready.report.json import dumps, render  # noqa: PLC0415 - beside the command that needs it

    for nodes in ((), (report("a"),), (report("a"), report("b\n\x1b"))):
        made = run(*nodes)
        assert dumps(made) == json.dumps(render(made), indent=2) + "\n"


def test_the_page_has_every_option_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "merge.md").read_text("utf-8")
    rows = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    known = {option for action in command.parser()._actions for option in action.option_strings}
    shown = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rows))
    assert shown <= known
    assert {option for option in known if option.startswith("--")} - shown == {"--help", "--verbose", "--quiet"}
