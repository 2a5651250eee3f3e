"""No secret that a node holds is in anything that a run writes or prints; what was removed can be seen to be."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.node.snapshot import dumps
from tests.node.redaction.corpus import planted, remains
from tests.support.nodes import not_restarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.conftest import Pytest, Result
    from tests.support.simnode import SimNode

SNAPSHOTS = Path(__file__).parents[2] / "pytest_gpuready" / "snapshots"

#: What every seeded secret begins with, after what its kind asks for.
CANARY = "S3cr3tCanary"

#: How secrets stand in files and output; the kinds that are known by their shape bring it along.
FORMS: tuple[str, ...] = (
    'password = "{}"',
    "password: {}",
    '  identitytoken = "{}"',
    'auth = {{ username = "u", password = "{}" }}',
    'endpoint = ["https://user:{}@mirror.example/v2"]',
    "Authorization: Bearer {}",
    '"auth": "{}",',
    "token: {}",
    "REGISTRY_PASSWORD={}",
    "HTTPS_PROXY=http://proxy:{}@10.0.0.1:3128",
    "/usr/bin/x --token={} --quiet",
    "/usr/bin/x --password {} --quiet",
    'level=error msg="login failed" password="{}"',
    "https://s3.example/x?X-Amz-Signature={}&a=b",
    "machine r.example login u password {}",
    "x-api-key: {}",
    "client_secret = '{}'",
    "AccountKey={};EndpointSuffix=x",
    'msg="{{\\"password\\":\\"{}\\"}}"',
    "ghp_{}0123456789",
    "glpat-{}0123456789",
    "nvapi-{}0123456789",
    "hf_{}0123456789",
    "xoxb-{}0123456789",
)

#: A test of the site's own that fails with everything it can show.
THEIRS = """
import logging

def test_own(node, containerd_config, containerd_live, toolkit, driver, cdi):
    everything = {str(request): (fact.data, fact.note) for request, fact in node.facts}
    logging.getLogger("site").warning("%s", everything)
    print(everything)
    assert everything == containerd_config.handlers
"""


class Seeds:
    """Secrets, each of its own, and how many were sown."""

    def __init__(self) -> None:
        self.number = itertools.count()
        self.sown = 0

    def lines(self, before: str = "") -> list[str]:
        """A line for every form."""
        self.sown += len(FORMS)
        return [before + form.format(f"{CANARY}{next(self.number):05}x") for form in FORMS]


def seeded(path: Path, seeds: Seeds, *, comments: bool) -> str:
    """A shipped node whose every file and answer holds secrets: in comments, or as lines that break what holds them."""
    document = json.loads((SNAPSHOTS / "not-restarted.json").read_text("utf-8"))
    for fact in document["facts"]:
        kind, name = fact["kind"], fact["arg"][0]
        if "text" in fact and kind in ("file", "script", "run"):
            if not comments:
                fact["text"] += seeds.lines()
            elif name.endswith((".toml", ".yaml")):
                fact["text"] = [*seeds.lines("# "), *fact["text"]]
        if not comments and kind in ("script", "run"):
            fact["note"] = "\n".join([fact.get("note", ""), *seeds.lines()])
    path.write_text(json.dumps(document), "utf-8")
    return f"snapshot://{path}"


def written(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file below a folder, its bytes as text, and what base64 in snapshots stands for."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            yield str(path.relative_to(folder)), text
            for found in re.findall(r'"base64": "([^"]+)"', text):
                yield f"{path.relative_to(folder)}, base64", base64.b64decode(found).decode("utf-8", "replace")


def everything(run: Pytest, hosts: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> Result:
    """A run that writes and prints all that it can."""
    out = run.path / "out"
    out.mkdir()
    run.file("test_own.py", THEIRS)
    run.json = out / "report.json"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(out / "step.md"))
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(out))
    args = ["-vv", "-rA", "--tb=long", "--showlocals", "--junitxml=out/junit.xml", "--html=out/report.html"]
    args += ["--gpuready-md=out/report.md", "--log-file=out/log.txt", "--log-level=DEBUG", "-o", "junit_logging=all"]
    result = run.suite(*args, *more, "test_own.py", hosts=hosts)
    assert result.ret == 1
    (out / "terminal.txt").write_text(result.text, "utf-8")
    return result


def leaks(run: Pytest) -> dict[str, str]:
    """Where a secret shows: everything written but the nodes and the test themselves."""
    return {
        name: text[max(0, text.index(CANARY) - 60) : text.index(CANARY) + 30]
        for name, text in written(run.path)
        if CANARY in text and not name.startswith("seeded")
    }


def test_no_secret_of_a_recorded_node_is_in_anything_that_a_run_leaves(
    run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTML, Markdown, JSON, JUnit, the step's summary, terminal, log, tracebacks with locals, pytest's cache."""
    seeds = Seeds()
    specs = [
        seeded(run.path / f"seeded-{how}.json", seeds, comments=how == "comments") for how in ("comments", "lines")
    ]
    everything(run, ",".join(specs), monkeypatch)
    assert seeds.sown >= 60
    names = {name for name, _ in written(run.path)}
    assert {
        f"out/{name}" for name in ("report.json", "report.html", "report.md", "junit.xml", "step.md", "log.txt")
    } <= names
    assert any(name.startswith(".pytest_cache/") for name in names)
    assert leaks(run) == {}
    page = (run.path / "out" / "report.html").read_text("utf-8")
    assert 'password = &quot;<span class="cut">[redacted]' in page
    assert ", secrets removed" in page
    assert "[redacted]" in (run.path / "out" / "terminal.txt").read_text("utf-8")
    assert "[redacted]" in (run.path / "out" / "junit.xml").read_text("utf-8")


def sown(*, comments: bool) -> tuple[SimNode, tuple[str, ...]]:
    """A node that holds the whole corpus, each form in what it occurs in, and the secrets.

    With `comments` the containerd configuration reads as before; without, it breaks where the forms break it.
    """
    cases = [case for case in planted() if case.kind not in ("env", "nul")]
    texts: dict[str, str] = {}
    for case in cases:
        before = texts.get(case.kind, "")
        texts[case.kind] = before + ("\n" if before and not before.endswith("\n") else "") + case.text
    node = not_restarted()
    config = node.tree["/etc/containerd/config.toml"].data.decode()
    seeds = "".join(f"# {line}\n" for line in texts["toml"].splitlines()) if comments else texts["toml"]
    node.put("/etc/containerd/config.toml", config + "\n" + seeds)
    node.put("/etc/cdi/site.yaml", texts["yaml"]).put("/etc/cdi/site.json", texts["json"])
    node.procs[0].args += [arg for case in cases if case.kind == "args" for arg in case.text.split("\n")]
    for what in (("journalctl",), ("kernel log",)):
        node.answer(what, texts["log"], note=texts["note"])
    node.answer(("package repositories of NVIDIA's",), texts["run"])
    node.answer(("ctr", "--version"), "ctr github.com/containerd/containerd v2.1.9\n", note=texts["note"])
    return node, tuple(secret for case in cases for secret in case.secrets)


@pytest.mark.parametrize("comments", [True, False], ids=["comments", "broken"])
def test_no_secret_of_the_corpus_is_in_any_artefact(
    run: Pytest, monkeypatch: pytest.MonkeyPatch, *, comments: bool
) -> None:
    """In the snapshot too, which is what the suite then judges."""
    node, secrets = sown(comments=comments)
    facts = node.facts()
    asked = {str(request) for request, fact in facts if fact.data or fact.note}
    assert {"/etc/containerd/config.toml", "/etc/cdi/site.yaml", "/etc/cdi/site.json", "processes"} <= asked
    assert {"package repositories of NVIDIA's", "ctr --version"} <= asked
    path = run.file("sown.json", dumps(facts, {"generator": "a test"}))
    everything(run, f"snapshot://{path}", monkeypatch)
    assert len(set(secrets)) >= 400
    texts = dict(written(run.path))
    assert {"sown.json", "out/report.json", "out/report.html", "out/report.md", "out/junit.xml"} <= set(texts)
    assert {name: found for name, text in texts.items() if (found := remains(secrets, text))} == {}


PROGRAM = """#!/bin/sh
cat /seeds
cat /seeds >&2
echo "containerd github.com/containerd/containerd v2.1.9 abc"
"""


@pytest.mark.lab("root", "busybox")
def test_no_secret_of_a_real_root_is_in_its_snapshot_or_any_report(
    run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked live, in a chroot of busybox whose files and programs all hold secrets; the saved snapshot too."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    seeds = Seeds()
    root = run.path / "seeded-root"
    for name in ("bin", "etc", "proc", "dev", "tmp", "usr/bin", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    if subprocess.run(["chroot", root, "/bin/busybox", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine's busybox is not static")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    (root / "seeds").write_text("\n".join(seeds.lines()) + "\n", "utf-8")
    for path in ("etc/containerd/config.toml", "etc/nvidia-container-runtime/config.toml", "etc/cdi/nvidia.yaml"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("\n".join(["version = 2", *seeds.lines("# "), *seeds.lines()]) + "\n", "utf-8")
    for path in ("etc/os-release", "etc/cdi/other.json"):
        (root / path).write_text("\n".join(seeds.lines()) + "\n", "utf-8")
    for name in ("containerd", "ctr", "nvidia-ctk", "nvidia-container-cli", "nvidia-container-runtime", "dpkg-query"):
        (root / "usr/bin" / name).write_text(PROGRAM, "utf-8")
        (root / "usr/bin" / name).chmod(0o755)
    everything(run, f"chroot://{root}", monkeypatch, "--gpuready-save=out/saved")
    (saved,) = (run.path / "out" / "saved").iterdir()
    facts: list[dict[str, Any]] = json.loads(saved.read_text("utf-8"))["facts"]
    assert sum("[redacted]" in json.dumps(fact) for fact in facts) >= 5
    assert leaks(run) == {}
