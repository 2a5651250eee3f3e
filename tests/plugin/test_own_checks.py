"""A site's own checks: tests marked `gpuready(id, needs)` are findings of the report and count in the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready import judge
from pytest_gpuready.model import failed, passed
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest, Result

FILE = "test_site.py"


def site(*tests: str) -> str:
    """A module of marked tests: `ID NEEDS|BODY`."""
    found = ["import pytest"]
    for number, test in enumerate(tests):
        head, _, body = test.partition("|")
        check_id, *needs = head.split()
        found.append(
            f"@pytest.mark.gpuready(id={check_id!r}, needs={needs!r})\n"
            f"def test_{number}(platform):\n    '''What {check_id} asks.'''\n    {body}\n"
        )
    return "\n".join(found)


def finding(result: Result, check_id: str) -> dict[str, Any]:
    """The check's entry in the only node's report."""
    assert result.report is not None, result.text
    (node,) = result.report["nodes"]
    (check,) = [check for check in node["checks"] if check["check"] == check_id]
    return dict(check)


def root(result: Result, check_id: str) -> dict[str, Any]:
    """The root cause's entry."""
    assert result.report is not None
    return dict(next(one for one in result.report["nodes"][0]["root_causes"] if one["check"] == check_id))


def test_a_marked_test_that_passes_is_a_finding(run: Pytest, all_pass: None) -> None:
    assert all_pass is None
    run.file(FILE, site("site.gpus node.reachable|assert platform"))
    result = run.suite(FILE)
    assert result.ret == 0
    assert finding(result, "site.gpus") == {
        "check": "site.gpus",
        "family": "site",
        "status": "pass",
        "advisory": False,
        "routes": ["ctr-gpus", "cri-handler"],
        "found": "the test passed",
        "expected": None,
        "where": None,
        "blocked_by": [],
    }
    assert result.report is not None
    node = result.report["nodes"][0]
    assert node["checks_run"] == node["checks_expected"] == len(node["checks"])


def test_one_that_fails_is_a_root_and_no_failure_beside_the_verdict(run: Pytest, all_pass: None) -> None:
    assert all_pass is None
    run.file(FILE, site("site.gpus|assert platform.hostname == 'other', 'not our node'"))
    result = run.suite(FILE)
    assert result.ret == 1
    assert result.report is not None
    assert result.report["verdict"] == "not-ready"
    assert finding(result, "site.gpus")["status"] == "fail"
    cause = root(result, "site.gpus")
    assert cause["title"] == "What site.gpus asks."
    assert cause["routes"] == ["ctr-gpus", "cri-handler"]
    assert cause["found"].startswith("AssertionError: not our node")
    assert "assert 'gpu-node' == 'other'" in cause["evidence"][0]["text"]
    assert cause["remedy"]["summary"] == f"This is a check of your site's: see the test {FILE}::test_0[{run.spec}]"
    assert all(
        route["verdict"] == "not-ready" for route in result.report["nodes"][0]["routes"].values() if route["required"]
    )
    assert "FAIL  site.gpus  What site.gpus asks." in result.out
    assert "of your own tests failed" not in result.out


def test_the_suites_failures_block_it(run: Pytest, plain: dict[str, Any]) -> None:
    """By its roots, through the chain; the test is not run."""
    (node,) = plain.values()
    blocked = next(check_id for check_id, (status, _) in node["checks"].items() if status == "blocked")
    roots = node["checks"][blocked][1]
    run.file(
        FILE,
        site(f"site.gpus {blocked}|raise SystemError('it ran')", "site.more site.gpus|raise SystemError('it ran')"),
    )
    result = run.suite(FILE, "-v")
    for check_id in ("site.gpus", "site.more"):
        assert finding(result, check_id)["status"] == "blocked"
        assert finding(result, check_id)["blocked_by"] == roots
    assert "it ran" not in result.out
    assert result.out.count("BLOCKED") >= 2
    assert f"{FILE}::test_0[{run.spec}] BLOCKED" in result.out
    assert result.report is not None
    assert {
        name: dict(route, roots=[])
        for name, route in result.report["nodes"][0]["routes"].items()
        if not route["required"]
    } == {name: dict(route, roots=[]) for name, route in node["routes"].items() if not route["required"]}


def test_they_run_after_the_suite_each_after_what_it_needs(run: Pytest, all_pass: None) -> None:
    assert all_pass is None
    run.file("test_a.py", "def test_plain():\n    pass\n")
    run.file(FILE, site("site.c site.b|pass", "site.b site.a|pass", "site.a|pass"))
    result = run.suite("test_a.py", FILE, "-v", "-p", "no:randomly")
    shown = [
        line.partition("[")[0].partition(" ")[0]
        for line in result.out.splitlines()
        if line.startswith(("gpuready/", "test_"))
    ]
    assert shown[-4:] == [f"{FILE}::test_2", f"{FILE}::test_1", f"{FILE}::test_0", "test_a.py::test_plain"]


@pytest.mark.parametrize("xdist", [(), ("-n2",)], ids=["alone", "xdist"])
def test_one_blocks_another(
    run: Pytest, all_pass: None, xdist: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With xdist the other may have been run in vain, on another worker: its finding is blocked all the same."""
    assert all_pass is None
    run.file(FILE, site("site.a|assert 0", "site.b site.a|assert 0", "site.c site.b|pass", "site.d|pass"))
    result = run.suite(FILE, *xdist)
    assert [finding(result, f"site.{name}")["status"] for name in "abcd"] == ["fail", "blocked", "blocked", "pass"]
    assert finding(result, "site.c")["blocked_by"] == ["site.a"]
    assert root(result, "site.a")["blocks"] == ["site.b", "site.c"]
    assert result.ret == 1
    del monkeypatch


def test_what_is_not_run_is_unknown(run: Pytest, all_pass: None) -> None:
    """-k, -x and their like take no check out of the verdict: nothing looked at is not ready."""
    assert all_pass is None
    run.file(FILE, site("site.a|pass", "site.b|pass"))
    for more in (("-k", "not test_1"), ("--deselect", f"{FILE}::test_1"), ("-n1", "-k", "not test_1")):
        result = run.suite(FILE, *more)
        assert finding(result, "site.a")["status"] == "pass"
        assert finding(result, "site.b")["status"] == "unknown"
        assert finding(result, "site.b")["found"] == "the test was not run"
        assert result.report is not None
        assert (result.ret, result.report["verdict"]) == (1, "unknown")


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [
        ("pytest.skip('no MIG here')", "not-applicable", "no MIG here"),
        ("pytest.xfail('known')", "not-applicable", "known"),
        ("pytest.fail('said so', pytrace=False)", "fail", "said so"),
        ("pytest.fail('\\x1b[31mred\\u202e', pytrace=False)", "fail", "red"),
    ],
)
def test_what_a_test_says_is_what_the_finding_says(
    run: Pytest, all_pass: None, body: str, status: str, found: str
) -> None:
    """In words; no terminal sequence gets through."""
    assert all_pass is None
    run.file(FILE, site(f"site.a|{body}"))
    result = run.suite(FILE)
    assert finding(result, "site.a")["status"] == status
    assert finding(result, "site.a")["found"] == found
    assert result.ret == (1 if status == "fail" else 0)


def test_an_error_around_a_test_is_unknown(run: Pytest, all_pass: None) -> None:
    """In a fixture before it, or in one after it: it says nothing of the node, and is no pass."""
    assert all_pass is None
    run.file(
        FILE,
        site("site.a|pass", "site.b|pass") + "\n@pytest.fixture(autouse=True)\ndef around(request):\n"
        "    assert request.function.__name__ != 'test_0'\n    yield\n    assert 0, 'later'\n",
    )
    result = run.suite(FILE)
    assert finding(result, "site.a")["status"] == "unknown"
    assert finding(result, "site.b")["status"] == "unknown"
    assert finding(result, "site.b")["found"].startswith("AssertionError: later")
    assert result.ret == 1


def test_one_check_of_several_parameters_is_the_worst_of_them(run: Pytest, all_pass: None) -> None:
    assert all_pass is None
    run.file(
        FILE,
        "import pytest\n@pytest.mark.gpuready('site.a', ['node.reachable'])\n"
        "@pytest.mark.parametrize('n', [1, 2, 3])\ndef test_n(platform, n):\n    assert n < 2\n",
    )
    result = run.suite(FILE)
    assert finding(result, "site.a")["status"] == "fail"
    assert root(result, "site.a")["title"] == "test n"
    assert len(root(result, "site.a")["evidence"]) == 2


def test_each_node_has_its_own(run: Pytest, nodes: Nodes, all_pass: None) -> None:
    assert all_pass is None
    other = nodes.write("other", SimNode(hostname="other"))
    run.file(FILE, site("site.name|assert platform.hostname == 'other'"))
    result = run.suite(FILE, hosts=f"{nodes.bare},{other},{nodes.silent}")
    assert {name: entry["checks"]["site.name"] for name, entry in result.judged.items()} == {
        nodes.bare: ("fail", []),
        other: ("pass", []),
        nodes.silent: ("unknown", []),
    }
    assert [entry["verdict"] for entry in result.judged.values()] == ["not-ready", "ready", "unreachable"]


def test_a_host_of_the_modules_own_is_no_node_of_the_run(run: Pytest, all_pass: None) -> None:
    """A test of another host stays an ordinary test."""
    assert all_pass is None
    run.file(FILE, site("site.a|assert 0"))
    run.file("conftest.py", "def pytest_configure(config):\n    config.option.hosts = 'chroot:///srv'\n")
    result = run.suite(FILE)
    assert result.report is not None
    assert "site.a" not in {check["check"] for check in result.report["nodes"][0]["checks"]}


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        ("()", "the id None; write one such as site.gpus"),
        ("(id='gpus')", "the id 'gpus'; write one such as site.gpus"),
        ("(id='site.<b>')", "write one such as site.gpus"),
        ("(id='node.reachable')", "the suite has a check node.reachable of its own; choose another id"),
        ("(id='site.a', needs=['site.b'])", "the marker gpuready needs site.b: no such check"),
        ("(id='site.a', needs='node.reachable')", 'the marker is gpuready(id="family.name", needs=["id", …])'),
        ("(id='site.a', advisory=True)", 'the marker is gpuready(id="family.name", needs=["id", …])'),
        ("(id='site.a', needs=['site.a'])", "site.a <- site.a need one another"),
    ],
)
def test_a_marker_that_makes_no_sense_is_a_usage_error(run: Pytest, marker: str, sentence: str) -> None:
    run.file(FILE, f"import pytest\n@pytest.mark.gpuready{marker}\ndef test_one(platform):\n    pass\n")
    result = run.suite(FILE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in result.text
    assert result.report is None
    assert run.raw(FILE, "--hosts", run.spec).ret == 0  # without the suite it is an ordinary test


def test_with_several_nodes_a_check_says_which_it_is_about(run: Pytest, nodes: Nodes, all_pass: None) -> None:
    """By the fixture host, or one that derives from it; with one node it goes without saying."""
    assert all_pass is None
    run.file(FILE, "import pytest\n@pytest.mark.gpuready(id='site.a')\ndef test_one():\n    pass\n")
    assert finding(run.suite(FILE), "site.a")["status"] == "pass"
    result = run.suite(FILE, hosts=f"{nodes.bare},{nodes.containerd}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "a gpuready check asks for the fixture host" in result.text


def test_what_blocks_it_counts_though_no_route_asks_for_it(
    run: Pytest, nodes: Nodes, all_pass: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site's check stands in every required route, and so does what keeps it from being judged."""
    assert all_pass is None
    bad = {"containerd.default-runtime": failed("runc", expected="nvidia")}
    monkeypatch.setattr(judge.Judge, "answer", lambda _, check: judge._Answered(bad.get(check.id, passed("fine"))))
    assert run.suite().ret == 0
    run.file(FILE, site("site.a containerd.default-runtime|pass"))
    result = run.suite(FILE)
    assert finding(result, "site.a")["blocked_by"] == ["containerd.default-runtime"]
    assert root(result, "containerd.default-runtime")["routes"] == ["ctr-gpus", "cri-handler"]
    assert result.report is not None
    assert (result.ret, result.report["verdict"]) == (1, "not-ready")
    del nodes
