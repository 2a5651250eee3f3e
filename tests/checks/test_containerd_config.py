"""containerd's files: whether they load, whether the CRI plugin starts, what is deprecated in them."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Settings
from tests.support.containerd import (
    CONFIG,
    NO_TOOL,
    V2,
    V3,
    commands,
    config,
    finding,
    healthy,
    loaded,
    mine,
    outcome,
    says,
    stopped,
    summary,
)
from tests.support.findings import evidence
from tests.support.simnode import Entry, SimNode

GONE = "/etc/containerd/gone.toml"


def of_no_known_version(node: SimNode) -> SimNode:
    return node.answer(("containerd", "--version"), "what?\n")


# ---------------------------------------------------------------------- config-loads


def test_without_a_file_the_built_in_defaults_count() -> None:
    node = healthy(SimNode(), "2.1.9").remove(CONFIG)
    assert "is not there: built-in defaults" in outcome(node, "config-loads").found


def test_a_file_that_the_command_line_names_must_be_there() -> None:
    node = healthy(SimNode())
    node.procs[0].args = ["containerd", "--config", CONFIG]
    node.remove(CONFIG)
    assert finding(node, "config-loads").status == "fail"


def test_containerd_1_5_is_to_be_upgraded() -> None:
    node = healthy(SimNode()).answer(("containerd", "--version"), "containerd containerd.io 1.5.11 abc\n")
    found = outcome(node, "config-loads")
    assert (found.status, "older than 1.6" in found.found) == ("unknown", True)
    assert found.remedy is not None
    assert "upgrade" in found.remedy.summary.lower()


def test_an_unknown_version_is_unknown_where_releases_differ() -> None:
    for text, status in ((config("2.1.9"), "unknown"), (config("1.7.24"), "pass")):
        node = healthy(SimNode(), text=text).answer(("containerd", "--version"), "what?\n")
        assert finding(says(node, NO_TOOL), "config-loads").status == status
    node = healthy(SimNode(), text=config("2.1.9")).answer(("containerd", "--version"), "what?\n")
    assert "its version is not known: handlers" in outcome(says(node, NO_TOOL), "config-loads").found


@pytest.mark.parametrize("kind", ["folder", "loop", "big"])
def test_a_file_that_cannot_be_read_is_never_a_pass(kind: str) -> None:
    node = healthy(SimNode())
    if kind == "folder":
        node.tree[CONFIG] = Entry(mode=0o040755)
    elif kind == "loop":
        node.answer(
            lambda request: request.kind == "file" and request.arg == (CONFIG,),
            state="odd",
            note="too many levels of symbolic links",
        )
    else:
        node.put(CONFIG, b"#" * (8 * 1024 * 1024 + 1))
    report = node.judge()
    assert report.findings["containerd.config-loads"].status in ("fail", "unknown")
    assert mine(report)


def test_an_import_that_is_not_there_is_taken_out() -> None:
    text = config("2.1.9").replace(
        "\n\n", '\nimports = ["/etc/containerd/gone.toml", "/etc/containerd/conf.d/*.toml"]\n\n', 1
    )
    node = healthy(SimNode(), "2.1.9", text=text)
    assert summary(node, "config-loads").startswith("Import no file that is not there")


def test_a_file_of_a_newer_release_gets_its_tables_renamed() -> None:
    """Its version alone would hide them."""
    node = healthy(SimNode(), "1.7.34", text=config("2.1.9"))
    # Its tables are renamed with it, so that the handler is there.
    assert "s|io[.]containerd[.]cri[.]v1[.]runtime|io.containerd.grpc.v1.cri|g" in commands(node, "config-loads")[0]
    mixed = config("1.7.34").replace("version = 2", "version = 3")
    assert summary(healthy(SimNode(), "1.7.34", text=mixed), "config-loads").startswith("Declare version 2 in")


def test_a_newer_release_than_is_modelled_is_read_as_the_newest_model() -> None:
    assert "(read as 2.3 would)" in outcome(healthy(SimNode(), "2.9.0"), "config-loads").found


def test_what_does_not_load_is_shown_with_its_line() -> None:
    node = healthy(SimNode()).put(CONFIG, "version = 2\nno toml\n")
    found = outcome(node, "config-loads")
    assert str(found.where) == f"{CONFIG}:2"
    assert found.expected == f"containerd 1.7.24 starts with {CONFIG}"
    assert any("no toml" in text for _, text in evidence(found))


def test_the_files_that_were_read_are_named() -> None:
    assert outcome(healthy(SimNode()), "config-loads").found == CONFIG


@pytest.mark.parametrize(
    ("text", "found", "where"),
    [
        ('version = 2\nstate = "/var/lib/containerd"\n', "containerd: root and state must be different paths", CONFIG),
        (
            f'version = 2\nimports = ["{GONE}"]\n',
            f"containerd: failed to load TOML: {GONE}: open {GONE}: no such file or directory",
            f"{CONFIG}:2",
        ),
    ],
)
def test_a_daemon_that_would_not_start_says_why_and_where(text: str, found: str, where: str) -> None:
    said = outcome(healthy(SimNode(), text=text), "config-loads")
    assert (said.found, str(said.where)) == (found, where)


def test_files_beyond_the_model_are_told_from_an_unknown_version() -> None:
    deep = healthy(SimNode(), text=f"x = {'[' * 20_000}")
    assert outcome(deep, "config-loads").found.startswith("these files are beyond what is modelled: everything (")
    unknown = of_no_known_version(stopped(healthy(SimNode(), text="version = 7\n")))
    assert outcome(unknown, "config-loads").found.startswith("its version is not known: loads, ")


def test_a_stopped_daemon_is_a_root_where_loading_is_unknown() -> None:
    node = of_no_known_version(stopped(healthy(SimNode(), text="version = 7\n")))
    found = finding(node, "running")
    assert (found.status, found.blocked_by) == ("fail", ())


# ---------------------------------------------------------------------- cri-enabled


def test_on_1_x_a_file_with_nvidia_alone_loses_runc_and_cri() -> None:
    text = config("1.7.24")
    start, end = text.index(f"[{V2}.containerd.runtimes.runc]"), text.index(f"[{V2}.containerd.runtimes.nvidia]")
    node = healthy(SimNode(), text=text[:start] + text[end:])
    assert mine(node.judge()) == ["containerd.cri-enabled"]
    assert "runtimes.runc]" in commands(node, "cri-enabled")[0]
    # 2.x keeps its own runc.
    assert mine(healthy(SimNode(), "2.1.9", text=(text[:start] + text[end:])).judge()) == []


def test_what_else_the_plugin_refuses_is_told() -> None:
    node = healthy(
        SimNode(),
        "2.1.9",
        text=config("2.1.9") + f'[{V3}]\n  stream_idle_timeout = "x"\n[{V3}.containerd]\ndefault_runtime_name = "no"\n',
    )
    assert finding(node, "cri-enabled").status == "fail"
    assert outcome(node, "cri-enabled").remedy is not None


def test_a_default_that_is_no_handler_is_shown_with_its_place() -> None:
    text = config("2.1.9") + f'[{V3}.containerd]\n  default_runtime_name = "no"\n'
    found = outcome(healthy(SimNode(), "2.1.9", text=text), "cri-enabled")
    assert found.found.startswith("the CRI plugin would fail: ")
    assert found.where is not None
    assert found.where.path == CONFIG
    assert found.where.line is None or evidence(found)


@pytest.mark.parametrize(("table", "line"), [("", ""), ('[plugins.cri.containerd]\nsnapshotter = "overlayfs"\n', ":3")])
def test_a_failing_cri_plugin_says_why_and_where(table: str, line: str) -> None:
    node = healthy(SimNode(), text=f'disabled_plugins = ["overlayfs"]\n{table}')
    said = outcome(node, "cri-enabled")
    assert said.found == (
        "the CRI plugin would fail: io.containerd.grpc.v1.cri: failed to create CRI service: "
        'failed to find snapshotter "overlayfs"'
    )
    assert str(said.where) == f"{CONFIG}{line}"


# ---------------------------------------------------------------------- deprecations


def test_deprecations_are_the_daemons_own_words_else_the_loaders() -> None:
    node = healthy(SimNode())
    assert finding(node, "deprecations").status == "pass"
    live = loaded(node, "1.7.24")
    live.deprecations = [("io.containerd.deprecation/x", "`x` is deprecated since 1.7")]
    found = outcome(says(node, live), "deprecations")
    assert (found.status, found.found) == ("warn", "`x` is deprecated since 1.7")


def test_deprecations_of_the_files_are_told_where_the_daemon_says_none() -> None:
    text = config("1.7.24") + f'[{V2}.registry.mirrors."docker.io"]\n  endpoint = ["https://x"]\n'
    node = healthy(SimNode(), text=text)
    found = outcome(node, "deprecations")
    assert found.status == "warn"
    assert CONFIG in found.found
    assert found.remedy is not None
    assert outcome(node, "deprecations", Settings(socket="relative")).found == found.found
    assert outcome(says(node, NO_TOOL), "deprecations").found == found.found
    assert outcome(stopped(healthy(SimNode(), text=text)), "deprecations").found == found.found
    live = loaded(healthy(SimNode()), "1.7.24")
    live.deprecations = [("io.containerd.deprecation/x", "")]
    assert outcome(says(healthy(SimNode()), live), "deprecations").found == "io.containerd.deprecation/x"
    assert outcome(healthy(SimNode()), "deprecations").found == "none is known"
