"""The CDI checks, each on nodes that pass it and on nodes that fail it."""

from __future__ import annotations

import json

import pytest
import yaml

from pytest_gpuready.model import NotApplicable, Outcome, Where
from tests.support import driver
from tests.support.cdi import LIBS, SPEC, cdi, device, devices, libraries, spec
from tests.support.reference import DATA, reference
from tests.support.simnode import SimNode
from tests.support.toolkit import ask, config, containerd, debian, one, toolkit

STATIC = "/etc/cdi/nvidia.yaml"


def healthy(gpus: int = 1, *, release: str = "2.3.4", cri: str = "") -> SimNode:
    """A node whose ctr gives GPUs by CDI, with a spec that is right."""
    return cdi(containerd(toolkit(driver.h100(debian(SimNode()), gpus)), release, cri=cri), gpus)


def outcome(node: SimNode, name: str, route: str = "ctr-gpus") -> Outcome:
    return one(node, f"cdi.{name}", route)


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


def test_ctr_before_2_3_reads_no_spec_for_gpus_and_before_2_0_none_at_all() -> None:
    answer = ask(healthy(release="2.1.9"), "cdi.spec-present")
    assert isinstance(answer, dict)
    assert set(answer) == {"ctr-cdi", "cri-cdi"}
    answer = ask(healthy(release="1.7.24", cri="enable_cdi = true\n"), "cdi.spec-present")
    assert isinstance(answer, dict)
    assert set(answer) == {"cri-cdi"}
    assert isinstance(ask(healthy(release="1.6.20"), "cdi.spec-present"), Outcome)


class TestEnabled:
    def test_containerd_1_7_has_it_off_by_default_and_is_told_to_turn_it_on(self) -> None:
        found = outcome(healthy(release="1.7.24"), "enabled", "cri-cdi")
        assert found.status == "fail"
        assert found.where == Where("/etc/containerd/config.toml")
        assert found.remedy is not None
        assert found.remedy.commands[-1] == "sudo systemctl restart containerd"
        assert "enable_cdi = true" in found.remedy.commands[0]

    def test_it_off_by_a_line_is_mended_at_that_line(self) -> None:
        found = outcome(healthy(cri="enable_cdi = false\n"), "enabled", "cri-cdi")
        assert found.status == "fail"
        assert found.where == Where("/etc/containerd/config.toml", 3)
        assert found.remedy is not None
        assert found.remedy.commands[0] == "sudo sed -i '3s|false|true|' /etc/containerd/config.toml"

    def test_the_setting_alone_is_judged_where_there_is_no_spec(self) -> None:
        assert outcome(healthy().remove(SPEC), "enabled", "cri-cdi").status == "pass"
        assert outcome(healthy(cri="enable_cdi = false\n").remove(SPEC), "enabled", "cri-cdi").status == "fail"

    def test_a_spec_where_the_reader_does_not_look_fails_and_has_no_second_root(self) -> None:
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

    def test_another_vendors_or_another_kind_is_none(self) -> None:
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

    def test_a_yml_file_is_none(self) -> None:
        node = healthy().remove(SPEC).put("/etc/cdi/nvidia.yml", spec())
        assert outcome(node, "spec-present").status == "fail"

    def test_one_that_may_not_be_read_is_present(self) -> None:
        node = healthy().deny(SPEC)
        assert outcome(node, "spec-present").status == "pass"
        found = node.judge().findings["cdi.spec-valid"]
        assert found.status == "blocked"
        assert found.blocked_by == ("node.privileges",)


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

    def test_another_vendors_bad_file_is_nothing_to_us(self) -> None:
        assert outcome(healthy().put("/etc/cdi/amd.yaml", "kind: [amd.com/gpu\n"), "spec-valid").status == "pass"

    def test_a_spec_with_aliases_is_not_judged(self) -> None:
        bomb = "a: &a [x, x]\nb: &b [*a, *a]\nkind: nvidia.com/gpu\n"
        found = outcome(healthy().put(SPEC, bomb), "spec-valid")
        assert found.status == "unknown"
        assert "aliases" in found.found


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


class TestCurrent:
    def test_a_driver_update_fails_with_both_versions(self) -> None:
        found = outcome(healthy().put(SPEC, spec(version="550.54.14")), "spec-current")
        assert found.status == "fail"
        assert "550.54.14" in found.found
        assert driver.VERSION in found.found

    def test_an_old_driver_whose_libraries_linger_fails_too(self) -> None:
        node = libraries(healthy().put(SPEC, spec(version="550.54.14")), "550.54.14")
        assert outcome(node, "spec-current").status == "fail"

    @pytest.mark.parametrize(
        "path", ["/usr/bin/nvidia-cdi-hook", f"{LIBS}/libcuda.so.{driver.VERSION}", "/usr/bin/nvidia-smi"]
    )
    def test_a_path_that_is_gone_fails_at_its_line(self, path: str) -> None:
        found = outcome(healthy().remove(path), "spec-current")
        assert found.status == "fail"
        assert path in found.found
        assert found.where is not None
        assert path in spec().splitlines()[(found.where.line or 0) - 1]

    def test_a_hook_that_is_not_executable_fails(self) -> None:
        assert "no program" in outcome(healthy().put("/usr/bin/nvidia-cdi-hook", b""), "spec-current").found

    def test_another_major_after_a_reboot_fails(self) -> None:
        found = outcome(healthy().put(SPEC, spec(uvm=237)), "spec-current")
        assert found.status == "fail"
        assert "237,0" in found.found
        assert "238,0" in found.found

    def test_a_spec_without_uvm_fails(self) -> None:
        assert "no /dev/nvidia-uvm" in outcome(healthy().put(SPEC, spec(uvm=None)), "spec-current").found

    def test_a_gpu_that_was_taken_out_fails(self) -> None:
        found = outcome(healthy().put(SPEC, spec(2)), "spec-current")
        assert found.status == "fail"
        assert "/dev/nvidia1 is not there" in found.found

    def test_a_node_that_the_driver_should_have_is_the_drivers_affair(self) -> None:
        assert outcome(healthy().remove("/dev/nvidia0"), "spec-current").status == "pass"

    def test_a_device_node_that_is_a_link_is_none_to_cdi(self) -> None:
        node = healthy().remove("/dev/nvidia0").device("/dev/real", 195, 0).link("/dev/nvidia0", "/dev/real")
        assert "no device node" in outcome(node, "spec-current").found


class TestComplete:
    def test_a_gpu_that_was_added_fails(self) -> None:
        found = outcome(healthy(2).put(SPEC, spec(1)), "devices-complete")
        assert found.status == "fail"
        assert "GPU 1" in found.found

    def test_all_alone_does_not_suffice(self) -> None:
        assert (
            outcome(healthy().put(SPEC, spec(listed=device("all", 0))), "devices-complete", "cri-cdi").status == "fail"
        )

    def test_names_by_uuid_alone_suffice_for_pods_and_not_for_ctr_gpus(self) -> None:
        node = healthy().put(SPEC, spec(listed=device(driver.uuid(0), 0)))
        assert outcome(node, "devices-complete", "cri-cdi").status == "pass"
        assert outcome(node, "devices-complete", "ctr-cdi").status == "pass"
        found = outcome(node, "devices-complete", "ctr-gpus")
        assert found.status == "fail"
        assert "by its index" in found.found

    def test_every_mig_device_counts(self) -> None:
        node = healthy()
        xml = driver.gpu_xml(0, mig="Enabled", mig_devices=driver.mig_xml(0, 1) + driver.mig_xml(1, 2))
        driver.smi(node, driver.smi_xml(xml))
        assert "MIG device 0:0" in outcome(node, "devices-complete").found
        node.put(SPEC, spec(listed=device("0:0", 0) + device("0:1", 0) + device("all", 0)))
        assert outcome(node, "devices-complete").status == "pass"
        node.put(SPEC, spec(listed=device("0:0", 0) + device("all", 0)))
        assert "MIG device 0:1" in outcome(node, "devices-complete").found

    def test_where_nvml_does_not_answer_nothing_is_known(self) -> None:
        found = driver.smi(healthy(), "", rc=9).judge().findings["cdi.devices-complete"]
        assert found.status == "blocked"
        assert found.blocked_by == ("driver.nvml-answers",)


class TestRefresh:
    def test_the_units_suffice_and_so_does_a_spec_in_etc(self) -> None:
        assert one(healthy(), "cdi.refresh").status == "pass"
        node = healthy().remove(SPEC).put(STATIC, spec())
        node.units.clear()
        assert one(node, "cdi.refresh").status == "pass"

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

    def test_a_unit_that_failed_is_a_warning(self) -> None:
        node = healthy()
        node.units["nvidia-cdi-refresh.service"].update(ActiveState="failed", Result="exit-code")
        assert "exit-code" in one(node, "cdi.refresh").found

    def test_without_a_spec_there_is_nothing_to_keep(self) -> None:
        assert one(healthy().remove(SPEC), "cdi.refresh").status == "not-applicable"


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


def test_no_route_by_cdi_is_no_answer() -> None:
    from pytest_gpuready.views.cdi import Cdi  # noqa: PLC0415 - only here
    from tests.support.toolkit import views  # noqa: PLC0415 - only here

    with pytest.raises(NotApplicable, match="mode jit-cdi"):
        views(healthy()).get(Cdi).reader("cri-handler")
    assert devices(1).count("name:") == 3


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
