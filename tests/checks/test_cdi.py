"""The checks of CDI specs: enabled, present, valid, without conflicts, kept after a reboot."""

from __future__ import annotations

import json

import pytest
import yaml

from pytest_gpuready.model import NotApplicable, Outcome, Where, passed
from tests.support import driver
from tests.support.cdi import GENERATE, SPEC, STATIC, devices, healthy, outcome, spec
from tests.support.driver import unloaded
from tests.support.reference import DATA, reference
from tests.support.simnode import SimNode
from tests.support.toolkit import ask, config, containerd, debian, one


@pytest.mark.parametrize(
    "name", ["enabled", "spec-present", "spec-valid", "no-conflicts", "spec-current", "devices-complete"]
)
def test_a_healthy_node_passes_for_every_reader(name: str) -> None:
    answer = ask(healthy(2), f"cdi.{name}")
    assert isinstance(answer, dict)
    assert {route: one_.status for route, one_ in answer.items()} == {
        "ctr-gpus": "pass",
        "ctr-cdi": "pass",
        "cri-cdi": "pass",
    }


def test_ctr_reads_specs_from_2_0_and_for_gpus_from_2_3() -> None:
    answer = ask(healthy(release="2.1.9"), "cdi.spec-present")
    assert isinstance(answer, dict)
    assert set(answer) == {"ctr-cdi", "cri-cdi"}
    answer = ask(healthy(release="1.7.24", cri="enable_cdi = true\n"), "cdi.spec-present")
    assert isinstance(answer, dict)
    assert set(answer) == {"cri-cdi"}
    assert isinstance(ask(healthy(release="1.6.20"), "cdi.spec-present"), Outcome)


@pytest.mark.parametrize(("version", "by_cdi"), [("2.2.0", False), ("2.3.0", True)])
def test_nerdctl_goes_through_cdi_from_2_3_on(version: str, *, by_cdi: bool) -> None:
    node = healthy(release="2.1.9").program("/usr/bin/nerdctl").remove(SPEC)
    node.answer(("nerdctl", "--version"), f"nerdctl version {version}\n")
    answer = ask(node, "cdi.spec-present")
    assert isinstance(answer, dict)
    assert ("nerdctl" in answer) == by_cdi
    assert one(node, "toolkit.container-cli", "nerdctl").status == ("not-applicable" if by_cdi else "pass")
    node.remove("/usr/bin/nvidia-container-cli")
    assert one(node, "toolkit.container-cli", "nerdctl").status == ("not-applicable" if by_cdi else "fail")


def test_no_route_by_cdi_is_no_answer() -> None:
    from pytest_gpuready.views.cdi import Cdi  # noqa: PLC0415 - only here
    from tests.support.toolkit import views  # noqa: PLC0415 - only here

    with pytest.raises(NotApplicable, match="mode jit-cdi"):
        views(healthy()).get(Cdi).reader("cri-handler")
    assert devices(1).count("name:") == 3


class TestEnabled:
    def test_containerd_1_7_has_cdi_off_and_gets_the_line(self) -> None:
        found = outcome(healthy(release="1.7.24"), "enabled", "cri-cdi")
        assert found.status == "fail"
        assert found.where == Where("/etc/containerd/config.toml")
        assert found.remedy is not None
        assert found.remedy.commands[-1] == "sudo systemctl restart containerd"
        assert "enable_cdi = true" in found.remedy.commands[0]

    def test_off_by_a_line_is_fixed_at_that_line(self) -> None:
        found = outcome(healthy(cri="enable_cdi = false\n"), "enabled", "cri-cdi")
        assert found.status == "fail"
        assert found.where == Where("/etc/containerd/config.toml", 3)
        assert found.remedy is not None
        assert found.remedy.commands[0] == "sudo sed -i '3s|false|true|' /etc/containerd/config.toml"

    def test_the_setting_alone_is_judged_where_there_is_no_spec(self) -> None:
        assert outcome(healthy().remove(SPEC), "enabled", "cri-cdi").status == "pass"
        assert outcome(healthy(cri="enable_cdi = false\n").remove(SPEC), "enabled", "cri-cdi").status == "fail"

    def test_a_spec_where_the_reader_does_not_look_is_one_root(self) -> None:
        node = healthy(cri='cdi_spec_dirs = ["/opt/cdi"]\n').remove(SPEC).put("/opt/cdi/nvidia.yaml", spec())
        assert outcome(node, "enabled", "ctr-gpus").status == "fail"
        assert outcome(node, "enabled", "cri-cdi").status == "pass"
        assert outcome(node, "spec-present", "ctr-gpus").status == "pass"
        answer = ask(node, "cdi.spec-valid")
        assert isinstance(answer, dict)
        assert set(answer) == {"cri-cdi"}

    def test_the_runtime_in_mode_cdi_reads_the_directories_of_its_configuration(self) -> None:
        node = config(healthy(), 'mode = "auto"', 'mode = "cdi"')
        assert outcome(node, "enabled", "cri-handler").status == "pass"
        config(node, 'spec-dirs = ["/etc/cdi", "/var/run/cdi"]', 'spec-dirs = ["/etc/cdi"]')
        found = outcome(node, "enabled", "cri-handler")
        assert found.status == "fail"
        assert found.remedy is not None
        assert found.remedy.commands == ("sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",)

    def test_off_by_default_is_told_from_off_by_a_line(self) -> None:
        assert outcome(healthy(release="1.7.24"), "enabled", "cri-cdi").found.endswith(
            "(enable_cdi = false, its default)"
        )
        said = outcome(healthy(cri="enable_cdi = false\n"), "enabled", "cri-cdi")
        assert said.found.endswith("(enable_cdi = false)")

    def test_the_readers_directories_are_told_and_an_unseen_spec_is_shown(self) -> None:
        assert outcome(healthy(), "enabled").found.endswith(" reads /etc/cdi and /var/run/cdi")
        node = healthy(cri='cdi_spec_dirs = ["/opt/cdi"]\n').remove(SPEC).put("/opt/cdi/nvidia.yaml", spec())
        found = outcome(node, "enabled")
        assert found.where == Where("/opt/cdi/nvidia.yaml")
        assert found.remedy is not None
        assert found.remedy.commands == GENERATE
        present = outcome(node, "spec-present")
        assert present.found.startswith("/opt/cdi/nvidia.yaml (which ")


class TestPresent:
    def test_none_fails_with_the_command_that_makes_one(self) -> None:
        found = outcome(healthy().remove(SPEC), "spec-present")
        assert found.status == "fail"
        assert found.remedy is not None
        assert found.remedy.commands == ("sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",)

    def test_without_nvidia_ctk_the_toolkit_is_installed_first(self) -> None:
        node = containerd(driver.h100(debian(SimNode())), "2.3.4")
        found = outcome(node, "spec-present")
        assert found.remedy is not None
        assert "apt-get install -y nvidia-container-toolkit" in found.remedy.commands[-2]
        assert found.remedy.commands[-1].startswith("sudo nvidia-ctk cdi generate")

    def test_a_spec_of_another_vendor_or_kind_does_not_count(self) -> None:
        node = (
            healthy()
            .put(SPEC, spec(kind="management.nvidia.com/gpu"))
            .put("/etc/cdi/amd.json", json.dumps({"kind": "amd.com/gpu"}))
        )
        found = outcome(node, "spec-present")
        assert found.status == "fail"
        assert "management.nvidia.com/gpu" in found.found

    def test_the_device_plugins_spec_counts_for_pods(self) -> None:
        node = healthy().remove(SPEC)
        node.put(
            "/var/run/cdi/k8s.device-plugin.nvidia.com-gpu.json",
            json.dumps(yaml.safe_load(spec(kind="k8s.device-plugin.nvidia.com/gpu"))),
        )
        assert outcome(node, "spec-present", "cri-cdi").status == "pass"
        assert outcome(node, "spec-present", "ctr-gpus").status == "fail"

    def test_a_yml_file_does_not_count(self) -> None:
        node = healthy().remove(SPEC).put("/etc/cdi/nvidia.yml", spec())
        assert outcome(node, "spec-present").status == "fail"

    def test_one_that_may_not_be_read_is_present(self) -> None:
        node = healthy().deny(SPEC)
        assert outcome(node, "spec-present").status == "pass"
        found = node.judge().findings["cdi.spec-valid"]
        assert found.status == "blocked"
        assert found.blocked_by == ("node.privileges",)

    def test_a_spec_of_another_vendor_is_told_apart(self) -> None:
        found = outcome(healthy(), "spec-present")
        assert (found.found, found.where) == (SPEC, Where(SPEC))
        none = outcome(healthy().remove(SPEC), "spec-present")
        assert "; there is" not in none.found
        other = outcome(healthy().put(SPEC, spec(kind="management.nvidia.com/gpu")), "spec-present")
        assert other.found.endswith(f"; there is {SPEC} (management.nvidia.com/gpu)")

    def test_a_reader_of_one_directory_of_its_own_gets_the_spec_there(self) -> None:
        node = healthy(cri='cdi_spec_dirs = ["/opt/cdi"]\n').remove(SPEC)
        found = outcome(node, "spec-present", "cri-cdi")
        assert found.remedy is not None
        assert found.remedy.commands == ("sudo nvidia-ctk cdi generate --output=/opt/cdi/nvidia.yaml",)
        both = healthy(cri='cdi_spec_dirs = ["/var/run/cdi", "/opt/cdi"]\n').remove(SPEC)
        usual = outcome(both, "spec-present", "cri-cdi").remedy
        assert usual is not None
        assert usual.commands == GENERATE


class TestValid:
    @pytest.mark.parametrize(
        ("text", "words", "line"),
        [
            (spec(cdi="0.4.0"), "at least v0.5.0", 5),
            (spec(cdi="9.9.9"), "invalid version", 2),
            (spec(kind="nvidia.com"), "vendor/class", 3),
            (spec(listed='  - name: "0"\n    containerEdits: {}\n'), "empty device edits", 6),
            ("kind: nvidia.com/gpu\ncdiVersion: 0.5.0\ndevices: none\n", "must be a list", 3),
            (spec() + "extra: 1\n", "unknown field 'extra'", len(spec().splitlines()) + 1),
            (spec().replace("  mounts:", " mounts:"), "", None),
            ("", "no spec", 1),
        ],
    )
    def test_what_a_reader_refuses_fails_at_its_line(self, text: str, words: str, line: int | None) -> None:
        found = outcome(healthy().put(SPEC, text), "spec-valid")
        assert found.status == "fail", found
        assert words in found.found
        assert found.where is not None
        assert found.where.path == SPEC
        assert line is None or found.where.line == line
        assert found.remedy is not None
        assert found.remedy.commands == (f"sudo nvidia-ctk cdi generate --output={SPEC}",)

    @pytest.mark.parametrize(
        ("release", "version", "status"),
        [
            ("2.1.9", "1.0.0", "pass"),
            ("2.1.9", "1.1.0", "fail"),
            ("2.2.1", "1.1.0", "pass"),
            ("2.0.4", "1.0.0", "fail"),
        ],
    )
    def test_a_spec_of_a_version_newer_than_the_reader_fails(self, release: str, version: str, status: str) -> None:
        node = healthy(release=release).put(SPEC, spec(cdi=version))
        assert outcome(node, "spec-valid", "ctr-cdi").status == status
        assert outcome(node, "spec-valid", "cri-cdi").status == status

    def test_containerd_1_7_knows_less_the_older_it_is(self) -> None:
        on = "enable_cdi = true\n"
        assert (
            outcome(healthy(release="1.7.27", cri=on).put(SPEC, spec(cdi="0.8.0")), "spec-valid", "cri-cdi").status
            == "pass"
        )
        found = outcome(healthy(release="1.7.11", cri=on).put(SPEC, spec(cdi="0.8.0")), "spec-valid", "cri-cdi")
        assert found.status == "fail"
        assert "knows CDI up to 0.5.0" in found.found

    def test_a_bad_file_beside_a_good_one_is_a_warning(self) -> None:
        found = outcome(healthy().put("/etc/cdi/nvidia-old.yaml", "kind: [nvidia.com/gpu\n"), "spec-valid")
        assert found.status == "warn"
        assert found.remedy is not None
        assert found.remedy.commands == ("sudo mv /etc/cdi/nvidia-old.yaml /etc/cdi/nvidia-old.yaml.disabled",)

    def test_another_vendors_bad_file_is_left_out(self) -> None:
        assert outcome(healthy().put("/etc/cdi/amd.yaml", "kind: [amd.com/gpu\n"), "spec-valid").status == "pass"

    def test_a_spec_with_aliases_is_not_judged(self) -> None:
        bomb = "a: &a [x, x]\nb: &b [*a, *a]\nkind: nvidia.com/gpu\n"
        found = outcome(healthy().put(SPEC, bomb), "spec-valid")
        assert found.status == "unknown"
        assert "aliases" in found.found

    def test_a_good_spec_is_counted(self) -> None:
        assert outcome(healthy(), "spec-valid").found == f"{SPEC}: nvidia.com/gpu, 3 devices, CDI 0.5.0"

    def test_of_several_bad_files_one_is_fixed_and_others_are_evidence(self) -> None:
        node = (
            healthy()
            .remove(SPEC)
            .put(STATIC, spec(cdi="9.9.9"))
            .put("/etc/cdi/nvidia-b.yaml", "kind: [nvidia.com/gpu\n")
        )
        found = outcome(node, "spec-valid")
        assert found.status == "fail"
        assert len(found.evidence) == 1
        paths = {found.where.path if found.where else "", found.evidence[0].source.partition(":")[0]}
        assert paths == {STATIC, "/etc/cdi/nvidia-b.yaml"}

    def test_a_bad_file_beside_a_good_one_is_shown(self) -> None:
        found = outcome(healthy().put("/etc/cdi/nvidia-old.yaml", spec(cdi="9.9.9")), "spec-valid")
        assert found.status == "warn"
        assert found.found.endswith("; left out: /etc/cdi/nvidia-old.yaml")
        assert found.where == Where("/etc/cdi/nvidia-old.yaml", 2)
        assert "invalid version '9.9.9'" in found.evidence[0].text

    def test_an_unjudged_file_beside_a_good_one_is_left_out(self) -> None:
        bomb = "a: &a [x, x]\nb: &b [*a, *a]\nkind: nvidia.com/gpu\n"
        assert outcome(healthy().put("/etc/cdi/nvidia-z.yaml", bomb), "spec-valid").status == "pass"

    def test_files_with_aliases_leave_every_other_check_unknown(self) -> None:
        """Where a good one lies beside them, spec-valid leaves them out; whether they conflict stays open."""
        bomb = "a: &a [x, x]\nb: &b [*a, *a]\nkind: nvidia.com/gpu\n"
        alone = outcome(healthy().put(SPEC, bomb), "spec-valid")
        beside = healthy().put("/etc/cdi/nvidia-z.yaml", bomb)
        words = "it has YAML aliases, which are not followed here"
        assert (alone.status, alone.found) == ("unknown", f"{SPEC}: {words}")
        for name in ("no-conflicts", "spec-current", "devices-complete"):
            found = outcome(beside, name)
            assert (found.status, found.found) == ("unknown", f"/etc/cdi/nvidia-z.yaml: {words}"), name

    def test_an_unknown_version_is_shown_at_its_line(self) -> None:
        node = healthy(release="2.1.9").put(SPEC, spec(cdi="1.1.0"))
        found = outcome(node, "spec-valid", "cri-cdi")
        assert (found.where, found.evidence) == (Where(SPEC, 2), ())
        assert found.found.endswith("invalid version '1.1.0' to containerd's CRI plugin, which knows CDI up to 1.0.0")

    def test_where_no_spec_is_to_be_read_there_is_no_further_answer(self) -> None:
        node = healthy(cri='cdi_spec_dirs = ["/opt/cdi"]\n').remove(SPEC).put("/opt/cdi/nvidia.yaml", spec())
        bad = healthy().put(SPEC, "kind: [nvidia.com/gpu\n")
        for name in ("no-conflicts", "spec-current", "devices-complete"):
            answer = ask(node, f"cdi.{name}")
            assert isinstance(answer, dict)
            assert set(answer) == {"cri-cdi"}, name
        for name in ("spec-current", "devices-complete"):
            nowhere = one(bad, f"cdi.{name}")
            assert (nowhere.status, nowhere.found) == ("not-applicable", "no route of this node goes through CDI specs")


class TestConflicts:
    def test_one_device_in_two_files_of_a_directory_fails(self) -> None:
        node = healthy().remove(SPEC).put(STATIC, spec()).put("/etc/cdi/nvidia-container-toolkit.yaml", spec())
        found = outcome(node, "no-conflicts")
        assert found.status == "fail"
        files = '(specs "/etc/cdi/nvidia.yaml", "/etc/cdi/nvidia-container-toolkit.yaml")'
        assert found.evidence[0].text == f'conflicting device "nvidia.com/gpu=0" {files}'
        assert found.remedy is not None
        assert found.remedy.commands == (
            "sudo mv /etc/cdi/nvidia-container-toolkit.yaml /etc/cdi/nvidia-container-toolkit.yaml.disabled",
        )

    def test_the_one_of_another_driver_is_taken_away(self) -> None:
        node = healthy().remove(SPEC).put(STATIC, spec(version="550.54.14")).put("/etc/cdi/gpu.yaml", spec())
        assert outcome(node, "no-conflicts").where == Where(STATIC)

    def test_in_two_directories_the_later_one_wins(self) -> None:
        assert outcome(healthy().put(STATIC, spec(version="550.54.14")), "no-conflicts").status == "pass"
        assert outcome(healthy().put(STATIC, spec(version="550.54.14")), "spec-current").status == "pass"

    def test_a_conflict_in_the_earlier_directory_is_not_healed_by_the_later(self) -> None:
        """pkg/cdi/cache.go deletes every name that ever conflicted."""
        node = healthy().put(STATIC, spec()).put("/etc/cdi/second.yaml", spec())
        assert outcome(node, "no-conflicts").status == "fail"

    def test_devices_that_each_stand_in_one_file_are_counted(self) -> None:
        assert outcome(healthy(), "no-conflicts").found == "3 devices, each in one file"

    def test_conflicts_of_other_kinds_pass(self) -> None:
        text = spec(kind="management.nvidia.com/gpu")
        node = healthy().put("/etc/cdi/a.yaml", text).put("/etc/cdi/b.yaml", text)
        assert outcome(node, "no-conflicts").status == "pass"

    def test_many_conflicts_are_named_up_to_six(self) -> None:
        node = healthy(3).remove(SPEC).put(STATIC, spec(3)).put("/etc/cdi/x.yaml", spec(3))
        found = outcome(node, "no-conflicts")
        assert " and more in " in found.found
        assert len(found.evidence) == 3
        assert found.evidence[0].source == "as the registry says"
        assert found.remedy is not None
        few = healthy().remove(SPEC).put(STATIC, spec()).put("/etc/cdi/x.yaml", spec())
        assert " and more" not in outcome(few, "no-conflicts").found

    def test_of_two_alike_the_one_that_is_not_usually_written_goes(self) -> None:
        node = healthy().remove(SPEC).put("/etc/cdi/a.yaml", spec()).put("/etc/cdi/b.yaml", spec())
        assert outcome(node, "no-conflicts").where == Where("/etc/cdi/b.yaml")
        old = spec(version="550.54.14")
        both = healthy().remove(SPEC).put(STATIC, old).put("/etc/cdi/b.yaml", old)
        assert outcome(both, "no-conflicts").where == Where("/etc/cdi/b.yaml")

    def test_without_a_loaded_driver_no_spec_is_stale(self) -> None:
        bare = spec().replace(f".so.{driver.VERSION}", ".so.1").replace(f"--host-driver-version={driver.VERSION}", "x")
        node = unloaded(healthy()).remove(SPEC).put(STATIC, spec()).put("/etc/cdi/b.yaml", bare)
        assert outcome(node, "no-conflicts").where == Where("/etc/cdi/b.yaml")


class TestRefresh:
    def test_neither_is_a_warning(self) -> None:
        node = healthy()
        for unit in ("nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path"):
            node.units[unit]["UnitFileState"] = "disabled"
        found = one(node, "cdi.refresh")
        assert found.status == "warn"
        assert found.remedy is not None
        assert found.remedy.commands == (
            "sudo systemctl enable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service",
        )

    def test_without_a_spec_there_is_nothing_to_keep(self) -> None:
        assert one(healthy().remove(SPEC), "cdi.refresh").status == "not-applicable"

    def test_what_brings_the_spec_back_is_named(self) -> None:
        enabled = one(healthy(), "cdi.refresh")
        words = "nvidia-cdi-refresh.service and nvidia-cdi-refresh.path enabled"
        assert (enabled.status, enabled.found) == ("pass", words)
        node = healthy()
        node.units.clear()
        bare = one(node, "cdi.refresh")
        assert bare.status == "warn"
        assert bare.found.startswith(f"{SPEC} is gone after a reboot")
        assert bare.remedy is not None
        assert bare.remedy.summary
        node.put("/etc/os-release", "ID=nixos\n")
        assert one(node, "cdi.refresh") == passed("NixOS generates it at each boot")
        for kept in (healthy().put(STATIC, spec()), healthy().remove(SPEC).put(STATIC, spec())):
            kept.units.clear()
            found = one(kept, "cdi.refresh")
            assert (found.status, found.found) == ("pass", f"{STATIC} is not below /var/run")

    def test_an_enabled_unit_that_failed_is_a_warning(self) -> None:
        node = healthy()
        node.units["nvidia-cdi-refresh.service"].update(ActiveState="failed", Result="exit-code")
        found = one(node, "cdi.refresh")
        assert (found.status, found.found) == ("warn", "nvidia-cdi-refresh.service failed (exit-code)")
        assert found.remedy is not None
        assert found.remedy.commands

    def test_specs_below_run_or_var_run_are_gone_after_a_reboot(self) -> None:
        """A bad file too."""
        for node in (
            healthy(cri='cdi_spec_dirs = ["/run/cdi"]\n').remove(SPEC).put("/run/cdi/nvidia.yaml", spec()),
            healthy().put(SPEC, "kind: [nvidia.com/gpu\n"),
        ):
            node.units.clear()
            assert one(node, "cdi.refresh").status == "warn"

    def test_only_nvidias_gpu_specs_are_to_be_kept(self) -> None:
        node = healthy().put(SPEC, spec(kind="management.nvidia.com/gpu"))
        assert one(node, "cdi.refresh").status == "not-applicable"
        assert devices(2).count("name:") == 5


@reference
@pytest.mark.parametrize(("folder", "name", "gpus"), [("h100", "cdi-nvidia.yaml", 1), ("h100x4", "cdi.yaml", 4)])
def test_real_specs_are_valid_complete_and_current(folder: str, name: str, gpus: int) -> None:
    text = (DATA / folder / name).read_text()
    node = healthy(gpus).put(SPEC, text)
    for line in text.splitlines():
        key, _, value = line.strip().removeprefix("- ").partition(": ")
        if key == "hostPath" or (key == "path" and not value.startswith("/dev/")):
            node.program(value)
    for check in ("spec-present", "spec-valid", "no-conflicts", "spec-current", "devices-complete"):
        for route in ("ctr-gpus", "ctr-cdi", "cri-cdi"):
            found = outcome(node, check, route)
            # The names by UUID are the real machine's; the simulated GPUs are found by their index.
            assert found.status == "pass", (check, route, found)


@reference
@pytest.mark.parametrize(
    ("case", "files", "check"),
    [
        ("44-ctk-cdi-list", {STATIC: spec(2)}, None),
        ("45-ctk-cdi-list-none", {}, "spec-present"),
        (
            "46-ctk-cdi-list-conflict",
            {STATIC: spec(), "/etc/cdi/nvidia-container-toolkit.yaml": spec()},
            "no-conflicts",
        ),
        (
            "47-ctk-cdi-list-bad-spec",
            {STATIC: 'cdiVersion: "0.5.0"\nkind: nvidia.com/gpu\ndevices: [oops]\n'},
            "spec-valid",
        ),
    ],
)
def test_what_nvidia_ctk_makes_of_such_files_is_what_the_checks_say(
    case: str, files: dict[str, str], check: str | None
) -> None:
    """nvidia-ctk cdi list resolves by the same registry; truth.json says what it found wrong."""
    says = json.loads((DATA / "nvsmi" / case / "truth.json").read_text())["says"]
    node = healthy(2).remove(SPEC)
    for path, text in files.items():
        node.put(path, text)
    failing = None
    for name in ("spec-present", "spec-valid", "no-conflicts"):
        answer = ask(node, f"cdi.{name}")
        if failing is None and isinstance(answer, dict) and "ctr-cdi" in answer and answer["ctr-cdi"].status == "fail":
            failing = name
    assert failing == check
    assert ("problem" in says) == (check is not None)
