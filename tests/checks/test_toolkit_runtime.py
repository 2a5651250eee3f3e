"""NVIDIA's runtime, which must run, and the low-level runtime that it starts."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Consequence, Where
from pytest_gpuready.views.toolkit import CONFIG, OPERATOR_CONFIG
from tests.support.findings import commands, evidence
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    DEFAULT_CONFIG,
    FAMILY,
    FOLDERS,
    MINE,
    OPERATOR,
    RUNTIME,
    ask,
    config,
    containerd,
    debian,
    healthy,
    named,
    one,
    operators,
    packages,
    record,
    says,
    toolkit,
    words,
)

WORKS = "toolkit.runtime-works"
ARM = b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0"
LOW_LEVEL = "toolkit.low-level-runtime"


def statuses(node: SimNode, check_id: str) -> dict[str, str]:
    answer = ask(node, check_id)
    assert isinstance(answer, dict)
    return {route: outcome.status for route, outcome in answer.items()}


class TestRuntimeWorks:
    def test_a_pass_shows_what_it_said(self) -> None:
        outcome = one(healthy(), "toolkit.runtime-works")
        assert "NVIDIA Container Runtime version 1.18.2" in outcome.found
        assert outcome.evidence[0].source == "/usr/bin/nvidia-container-runtime --version"

    def test_its_own_words_are_the_evidence_of_a_failure(self) -> None:
        text = (
            words("nvidia-container-runtime").split("\n\n", maxsplit=1)[0]
            + "\n"
            + ('time="2026-01-01T00:00:00Z" level=error msg="error loading config: unable to read \\"x\\""')
        )
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", text, 1))
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "fail"
        assert 'error loading config: unable to read "x"' in outcome.found
        assert outcome.evidence[0].text == text

    def test_a_program_of_another_architecture_is_to_be_reinstalled(self) -> None:
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", "sh: 1: Exec format error", 126))
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert any("nvidia-container-toolkit" in command for command in outcome.remedy.commands)

    @pytest.mark.parametrize(
        ("text", "said"),
        [("runc version 1.3.6\ncommit: v1.3.6-0-g\nspec: 1.2.1", "'runc version 1.3.6'"), ("", "nothing")],
    )
    def test_another_program_under_its_name_brings_no_gpu(self, text: str, said: str) -> None:
        """A link to runc, or to true: containers start without a GPU, and without an error."""
        path = "/usr/bin/nvidia-container-runtime"
        outcome = one(says(healthy(), record(path, text), record("/usr/bin/nvidia-ctk", words("nvidia-ctk"))), WORKS)
        assert outcome.status == "fail"
        assert outcome.found == f"{path} is no nvidia-container-runtime: {path} --version says {said}"
        assert outcome.where == Where(path)
        assert outcome.remedy is not None
        assert "--reinstall nvidia-container-toolkit-base" in outcome.remedy.commands[0]

    def test_up_to_1_9_it_says_no_words_of_its_own(self) -> None:
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", "runc version 1.0.3\nspec: 1.0.2"))
        packages(node, *(f"{name} 1.9.0-1" for name in FAMILY))
        assert one(node, WORKS).status == "pass"

    def test_a_missing_runc_is_the_low_level_runtimes_affair(self) -> None:
        text = words("nvidia-container-runtime") + "\nno runtime binary found from candidate list: [runc crun]"
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", text, 1)).remove("/usr/bin/runc")
        with pytest.raises(Consequence, match=r"toolkit\.low-level-runtime"):
            # by_route lets what is no answer of a single route pass through
            ask(node, "toolkit.runtime-works")
        assert one(node, "toolkit.low-level-runtime").status == "fail"

    def test_the_operators_wrapper_without_a_driver_says_nothing_of_the_toolkit(self) -> None:
        node = operators()
        text = "nvidia driver modules are not yet loaded, invoking runc directly\nrunc version 1.3.6"
        says(node, record(f"{OPERATOR}/nvidia-container-runtime", text))
        with pytest.raises(Consequence, match=r"driver\.module-loaded"):
            ask(node, "toolkit.runtime-works")

    def test_a_debug_log_keeps_an_old_runtime_from_being_asked(self) -> None:
        node = says(healthy(), f"prog /usr/bin/nvidia-container-runtime\nlogs {CONFIG}\n")
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "unknown"
        assert "debug log" in outcome.found

    def test_silence_is_unknown(self) -> None:
        node = healthy().answer(("versions of the toolkit's programs",), "", state="timeout")
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "unknown"

    def test_the_last_line_is_the_reason_and_all_are_evidence(self) -> None:
        node = says(healthy(), record(RUNTIME, "first\nsh: 1: Exec format error\n \n", 126))
        found = one(node, "toolkit.runtime-works")
        assert found.found == f"{RUNTIME} --version ends with 126: sh: 1: Exec format error"
        assert found.evidence[0].source == f"{RUNTIME} --version"
        silent = one(says(healthy(), record(RUNTIME, "", 1)), "toolkit.runtime-works")
        assert silent.found == f"{RUNTIME} --version ends with 1: it says nothing"
        mute = one(says(healthy(), record(RUNTIME, "\n", 0)), "toolkit.runtime-works")
        assert mute.found == f"{RUNTIME} is no nvidia-container-runtime: {RUNTIME} --version says nothing"
        nobody = packages(says(healthy(), record(RUNTIME, "\n", 0)), owners={})
        assert one(nobody, "toolkit.runtime-works").found == f"{RUNTIME}: exit status 0"

    @pytest.mark.parametrize(
        ("said", "own"), [("error loading config: x", True), ("a config", False), ("an error", False)]
    )
    def test_a_refused_configuration_is_corrected_and_anything_else_reinstalled(self, said: str, *, own: bool) -> None:
        found = one(says(healthy(), record(RUNTIME, said, 1)), "toolkit.runtime-works")
        assert (commands(found) == (f"{RUNTIME} --version",)) is own
        assert found.remedy is not None
        assert (CONFIG in found.remedy.summary) is own

    def test_a_debug_log_names_the_command_to_type(self) -> None:
        node = says(healthy(), f"prog {RUNTIME}\nlogs {CONFIG}\n")
        remedy = one(node, "toolkit.runtime-works").remedy
        assert remedy is not None
        assert remedy.commands == (f"{RUNTIME} --version",)

    def test_a_missing_runtime_that_the_handler_names_is_the_handlers_affair(self) -> None:
        node = config(healthy(), RUNTIME, "/opt/gone/nvidia-container-runtime", path="/etc/containerd/config.toml")
        assert one(node, "toolkit.runtime-works", "cri-handler").status == "not-applicable"
        assert one(node, "toolkit.runtime-works", "ctr-runtime").status == "pass"

    def test_a_runtime_that_no_daemon_can_execute_is_the_handlers_root(self) -> None:
        """Routes without the handler have a root of their own."""
        node = says(healthy().put(RUNTIME, ARM, mode=0o755), record(RUNTIME, "Exec format error", 126))
        pods = one(node, WORKS, "cri-handler")
        assert (pods.status, pods.found) == (
            "not-applicable",
            "the daemon cannot execute it: containerd.handler-binary says why",
        )
        assert one(node, WORKS, "ctr-runtime").status == "fail"

    def test_a_runtime_that_runs_passes_unseen_by_the_daemon(self) -> None:
        node = healthy()
        node.procs[0].mntns = "mnt:[1]"
        assert one(node, WORKS).status == "pass"

    def test_a_missing_runtime_is_told_from_one_that_was_not_run(self) -> None:
        gone = one(named(healthy(), MINE), WORKS, "cri-handler")
        assert (gone.status, gone.found) == ("not-applicable", f"{MINE} is not there")
        node = healthy().remove(RUNTIME).program("/usr/local/bin/nvidia-container-runtime")
        quiet = one(says(node.put("/etc/containerd/config.toml", "version = 3\n")), WORKS)
        assert quiet.status == "unknown"
        assert quiet.found == "/usr/local/bin/nvidia-container-runtime --version was not run"

    def test_without_a_runtime_the_toolkit_is_the_root(self) -> None:
        with pytest.raises(Consequence, match=r"toolkit\.installed"):
            ask(packages(containerd(debian(SimNode())), owners={}), WORKS)

    def test_the_first_line_that_is_not_blank_is_its_word(self) -> None:
        node = says(healthy(), record(RUNTIME, " \n" + words("nvidia-container-runtime")))
        assert one(node, WORKS).found == f"{RUNTIME}: NVIDIA Container Runtime version 1.18.2"


class TestLowLevelRuntime:
    def test_crun_alone_suffices(self) -> None:
        assert (
            one(healthy().remove("/usr/bin/runc").program("/usr/bin/crun"), "toolkit.low-level-runtime").status
            == "pass"
        )

    def test_none_fails_and_installs_runc(self) -> None:
        node = healthy().remove("/usr/bin/runc")
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert "apt-get install -y runc" in outcome.remedy.commands[0]

    def test_a_list_that_has_only_what_is_not_there_is_set_right(self) -> None:
        node = config(healthy(), 'runtimes = ["runc", "crun"]', 'runtimes = ["docker-runc"]')
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.remedy is not None
        assert "runc" in outcome.remedy.commands[0]
        assert one(node, "containerd.runc", "cri-handler").status == "pass"

    def test_only_the_daemons_path_counts(self) -> None:
        node = containerd(toolkit(debian(SimNode())).remove("/usr/bin/runc").program("/var/lib/k0s/bin/runc"))
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert "/var/lib/k0s/bin/runc" in outcome.remedy.summary
        node = containerd(
            toolkit(debian(SimNode())).remove("/usr/bin/runc").program("/data/k3s/bin/runc"),
            path="/data/k3s/bin:/usr/bin",
        )
        assert one(node, "toolkit.low-level-runtime").found.startswith("/data/k3s/bin/runc")

    def test_a_name_of_ones_own_is_looked_for(self) -> None:
        node = config(healthy(), 'runtimes = ["runc", "crun"]', 'runtimes = ["youki"]')
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.status == "fail"
        assert outcome.where == Where(CONFIG, 22)
        assert one(node.program("/usr/local/bin/youki"), "toolkit.low-level-runtime").status == "pass"

    def test_the_runtime_that_is_found_is_named_among_the_candidates(self) -> None:
        assert one(healthy(), "toolkit.low-level-runtime").found == "/usr/bin/runc (of runc, crun)"

    def test_where_none_is_found_the_folders_and_the_daemons_path_are_shown(self) -> None:
        found = one(healthy().remove("/usr/bin/runc"), "toolkit.low-level-runtime")
        assert found.found == f"none of runc, crun is in {FOLDERS}"
        assert found.where == Where(CONFIG, 22)
        assert evidence(found) == [("PATH of the daemon", FOLDERS.replace(", ", ":"))]
        bare = one(healthy().remove("/usr/bin/runc").remove(CONFIG), "toolkit.low-level-runtime")
        assert bare.where is None

    def test_a_crun_elsewhere_is_offered_by_its_path(self) -> None:
        node = healthy().remove("/usr/bin/runc").program("/var/lib/k0s/bin/crun")
        found = one(node, "toolkit.low-level-runtime")
        assert found.remedy is not None
        assert found.remedy.commands == (
            f"""sudo sed -i '22s|=.*|= ["/var/lib/k0s/bin/crun", "runc", "crun"]|' {CONFIG}""",
        )

    @pytest.mark.parametrize("name", ["runc", "crun"])
    def test_either_low_level_runtime_is_one_without_the_toolkit_too(self, name: str) -> None:
        node = packages(containerd(debian(SimNode())), owners={}).program(f"/usr/bin/{name}")
        assert one(node, LOW_LEVEL).found == f"/usr/bin/{name} (of runc, crun)"

    def test_with_runc_only_routes_of_nvidias_runtime_are_judged(self) -> None:
        """Without any runc every route is."""
        node = operators().program(RUNTIME).put(CONFIG, DEFAULT_CONFIG)
        config(node, 'runtimes = ["runc", "crun"]', 'runtimes = ["youki"]', path=OPERATOR_CONFIG)
        assert statuses(node, LOW_LEVEL) == {"ctr-runtime": "pass", "cri-handler": "fail", "cri-default": "pass"}
        found = statuses(node.remove("/usr/bin/runc").program("/usr/bin/youki"), LOW_LEVEL)
        assert {route for route, status in found.items() if status == "pass"} == {"cri-handler", "cri-cdi"}
        assert {route for route, status in found.items() if status == "fail"} == {
            "ctr-gpus",
            "ctr-runtime",
            "ctr-cdi",
            "cri-default",
            "nerdctl",
        }
