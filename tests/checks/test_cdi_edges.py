"""What the CDI checks show beside their words (place, evidence, command), and specs at the edges of them."""

from __future__ import annotations

from pytest_gpuready.model import Where, passed
from tests.checks.test_cdi import STATIC, healthy, outcome
from tests.checks.test_driver import unloaded
from tests.support import driver
from tests.support.cdi import LIBS, SPEC, device, devices, spec
from tests.support.toolkit import ask, one

GENERATE = (f"sudo nvidia-ctk cdi generate --output={SPEC}",)
CUDA = f"{LIBS}/libcuda.so.{driver.VERSION}"


def found_of(text: str, name: str = "spec-current", route: str = "ctr-gpus", *, gpus: int = 1) -> str:
    """What the check says of a spec that fails it."""
    found = outcome(healthy(gpus).put(SPEC, text), name, route)
    assert found.status == "fail"
    return found.found


# ---------------------------------------------------------------------- enabled, spec-present


def test_a_default_that_is_off_is_told_from_a_line_that_says_so() -> None:
    assert outcome(healthy(release="1.7.24"), "enabled", "cri-cdi").found.endswith("(enable_cdi = false, its default)")
    said = outcome(healthy(cri="enable_cdi = false\n"), "enabled", "cri-cdi")
    assert said.found.endswith("(enable_cdi = false)")


def test_where_a_reader_looks_is_told_and_the_spec_that_it_does_not_see_is_shown() -> None:
    assert outcome(healthy(), "enabled").found.endswith(" reads /etc/cdi and /var/run/cdi")
    node = healthy(cri='cdi_spec_dirs = ["/opt/cdi"]\n').remove(SPEC).put("/opt/cdi/nvidia.yaml", spec())
    found = outcome(node, "enabled")
    assert found.where == Where("/opt/cdi/nvidia.yaml")
    assert found.remedy is not None
    assert found.remedy.commands == GENERATE
    present = outcome(node, "spec-present")
    assert present.found.startswith("/opt/cdi/nvidia.yaml (which ")


def test_a_spec_that_is_there_and_one_of_another_vendor_are_told_apart() -> None:
    found = outcome(healthy(), "spec-present")
    assert (found.found, found.where) == (SPEC, Where(SPEC))
    none = outcome(healthy().remove(SPEC), "spec-present")
    assert "; there is" not in none.found
    other = outcome(healthy().put(SPEC, spec(kind="management.nvidia.com/gpu")), "spec-present")
    assert other.found.endswith(f"; there is {SPEC} (management.nvidia.com/gpu)")


def test_a_reader_of_one_directory_of_its_own_gets_the_spec_there() -> None:
    node = healthy(cri='cdi_spec_dirs = ["/opt/cdi"]\n').remove(SPEC)
    found = outcome(node, "spec-present", "cri-cdi")
    assert found.remedy is not None
    assert found.remedy.commands == ("sudo nvidia-ctk cdi generate --output=/opt/cdi/nvidia.yaml",)
    both = healthy(cri='cdi_spec_dirs = ["/var/run/cdi", "/opt/cdi"]\n').remove(SPEC)
    usual = outcome(both, "spec-present", "cri-cdi").remedy
    assert usual is not None
    assert usual.commands == GENERATE


# ---------------------------------------------------------------------- spec-valid


def test_a_good_spec_is_counted() -> None:
    assert outcome(healthy(), "spec-valid").found == f"{SPEC}: nvidia.com/gpu, 3 devices, CDI 0.5.0"


def test_of_several_bad_files_the_first_is_mended_and_the_others_are_evidence() -> None:
    node = (
        healthy().remove(SPEC).put(STATIC, spec(cdi="9.9.9")).put("/etc/cdi/nvidia-b.yaml", "kind: [nvidia.com/gpu\n")
    )
    found = outcome(node, "spec-valid")
    assert found.status == "fail"
    assert len(found.evidence) == 1
    paths = {found.where.path if found.where else "", found.evidence[0].source.partition(":")[0]}
    assert paths == {STATIC, "/etc/cdi/nvidia-b.yaml"}


def test_a_bad_file_beside_a_good_one_is_shown() -> None:
    found = outcome(healthy().put("/etc/cdi/nvidia-old.yaml", spec(cdi="9.9.9")), "spec-valid")
    assert found.status == "warn"
    assert found.found.endswith("; left out: /etc/cdi/nvidia-old.yaml")
    assert found.where == Where("/etc/cdi/nvidia-old.yaml", 2)
    assert "invalid version '9.9.9'" in found.evidence[0].text


def test_a_file_that_was_not_judged_beside_a_good_one_is_no_matter() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nkind: nvidia.com/gpu\n"
    assert outcome(healthy().put("/etc/cdi/nvidia-z.yaml", bomb), "spec-valid").status == "pass"


def test_files_that_are_too_much_to_read_are_not_judged_whatever_is_asked_of_them() -> None:
    """Where a good one lies beside them, spec-valid leaves them out; whether they conflict stays open."""
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nkind: nvidia.com/gpu\n"
    alone = outcome(healthy().put(SPEC, bomb), "spec-valid")
    beside = healthy().put("/etc/cdi/nvidia-z.yaml", bomb)
    words = "it has YAML aliases, which are not followed here"
    assert (alone.status, alone.found) == ("unknown", f"{SPEC}: {words}")
    for name in ("no-conflicts", "spec-current", "devices-complete"):
        found = outcome(beside, name)
        assert (found.status, found.found) == ("unknown", f"/etc/cdi/nvidia-z.yaml: {words}"), name


def test_a_version_that_the_reader_does_not_know_is_shown_at_its_line() -> None:
    node = healthy(release="2.1.9").put(SPEC, spec(cdi="1.1.0"))
    found = outcome(node, "spec-valid", "cri-cdi")
    assert (found.where, found.evidence) == (Where(SPEC, 2), ())
    assert found.found.endswith("invalid version '1.1.0' to containerd's CRI plugin, which knows CDI up to 1.0.0")


def test_where_no_spec_is_to_be_read_there_is_no_further_answer() -> None:
    node = healthy(cri='cdi_spec_dirs = ["/opt/cdi"]\n').remove(SPEC).put("/opt/cdi/nvidia.yaml", spec())
    bad = healthy().put(SPEC, "kind: [nvidia.com/gpu\n")
    for name in ("no-conflicts", "spec-current", "devices-complete"):
        answer = ask(node, f"cdi.{name}")
        assert isinstance(answer, dict)
        assert set(answer) == {"cri-cdi"}, name
    for name in ("spec-current", "devices-complete"):
        nowhere = one(bad, f"cdi.{name}")
        assert (nowhere.status, nowhere.found) == ("not-applicable", "no route of this node goes through CDI specs")


# ---------------------------------------------------------------------- no-conflicts


def test_devices_that_each_stand_in_one_file_are_counted() -> None:
    assert outcome(healthy(), "no-conflicts").found == "3 devices, each in one file"


def test_conflicts_of_other_kinds_are_not_ours() -> None:
    text = spec(kind="management.nvidia.com/gpu")
    node = healthy().put("/etc/cdi/a.yaml", text).put("/etc/cdi/b.yaml", text)
    assert outcome(node, "no-conflicts").status == "pass"


def test_many_conflicts_are_named_up_to_six() -> None:
    node = healthy(3).remove(SPEC).put(STATIC, spec(3)).put("/etc/cdi/x.yaml", spec(3))
    found = outcome(node, "no-conflicts")
    assert " and more in " in found.found
    assert len(found.evidence) == 3
    assert found.evidence[0].source == "as the registry says"
    assert found.remedy is not None
    few = healthy().remove(SPEC).put(STATIC, spec()).put("/etc/cdi/x.yaml", spec())
    assert " and more" not in outcome(few, "no-conflicts").found


def test_of_two_alike_the_one_that_is_not_usually_written_goes() -> None:
    node = healthy().remove(SPEC).put("/etc/cdi/a.yaml", spec()).put("/etc/cdi/b.yaml", spec())
    assert outcome(node, "no-conflicts").where == Where("/etc/cdi/b.yaml")
    old = spec(version="550.54.14")
    both = healthy().remove(SPEC).put(STATIC, old).put("/etc/cdi/b.yaml", old)
    assert outcome(both, "no-conflicts").where == Where("/etc/cdi/b.yaml")


def test_where_no_driver_is_loaded_a_spec_that_names_one_is_not_taken_for_stale() -> None:
    bare = spec().replace(f".so.{driver.VERSION}", ".so.1").replace(f"--host-driver-version={driver.VERSION}", "x")
    node = unloaded(healthy()).remove(SPEC).put(STATIC, spec()).put("/etc/cdi/b.yaml", bare)
    assert outcome(node, "no-conflicts").where == Where("/etc/cdi/b.yaml")


# ---------------------------------------------------------------------- spec-current


def test_a_spec_of_today_names_its_driver() -> None:
    assert outcome(healthy(), "spec-current").found == f"{SPEC}: every path is there, driver {driver.VERSION}"


def test_what_is_stale_is_told_at_its_line_the_rest_as_evidence_and_mended_by_a_new_one() -> None:
    node = healthy().put(SPEC, spec(version="550.54.14"))
    found = outcome(node, "spec-current")
    lines = spec(version="550.54.14").splitlines()
    assert found.where is not None
    assert "550.54.14" in lines[(found.where.line or 0) - 1]
    assert found.found.startswith(f"{SPEC}: it is of driver 550.54.14, and {driver.VERSION} is loaded; ")
    assert [item.text.endswith("is not there") for item in found.evidence] == [True] * 3
    assert all(item.source.startswith(f"{SPEC}:") for item in found.evidence)
    assert found.remedy is not None
    assert found.remedy.commands == GENERATE
    assert "more" not in found.found


def test_more_than_four_faults_are_counted() -> None:
    text = spec(version="550.54.14").replace("/usr/bin/nvidia-smi", "/usr/bin/gone")
    assert found_of(text).endswith(" and 1 more")


def test_the_version_in_a_hook_counts_by_itself() -> None:
    text = spec().replace(f"--host-driver-version={driver.VERSION}", "--host-driver-version=550.54.14")
    assert found_of(text) == f"{SPEC}: it is of driver 550.54.14, and {driver.VERSION} is loaded"


def test_relative_paths_are_no_paths() -> None:
    assert "smi is no absolute path" in found_of(spec().replace("hostPath: /usr/bin/nvidia-smi", "hostPath: bin/smi"))
    node = "    - path: /dev/nvidiactl\n      hostPath: dev/x\n"
    assert "dev/x is no absolute path" in found_of(spec().replace("    - path: /dev/nvidiactl\n", node))


def test_a_folder_is_no_hook_and_a_mount_may_be_one() -> None:
    node = healthy().remove("/usr/bin/nvidia-cdi-hook").folder("/usr/bin/nvidia-cdi-hook")
    assert "/usr/bin/nvidia-cdi-hook is no program" in outcome(node, "spec-current").found
    assert (
        outcome(healthy().remove("/usr/bin/nvidia-smi").folder("/usr/bin/nvidia-smi"), "spec-current").status == "pass"
    )
    assert outcome(healthy().put(CUDA, b"x", mode=0o644), "spec-current").status == "pass"


def test_what_is_no_bind_mount_is_not_looked_for() -> None:
    mount = "    - hostPath: tmpfs\n      containerPath: /run/x\n      type: tmpfs\n"
    assert outcome(healthy().put(SPEC, spec() + mount), "spec-current").status == "pass"


def test_the_package_of_a_hook_that_is_gone_is_brought_whatever_else_is() -> None:
    command = "sudo apt-get install -y --reinstall nvidia-container-toolkit-base"
    for node in (healthy(), healthy().remove(CUDA)):
        found = outcome(node.remove("/usr/bin/nvidia-cdi-hook"), "spec-current").remedy
        assert found is not None
        assert found.commands == (command, *GENERATE)


def test_a_spec_that_names_no_version_is_of_no_driver() -> None:
    text = spec().replace(f".so.{driver.VERSION}", ".so.1").replace(f"--host-driver-version={driver.VERSION}", "x")
    node = healthy().put(SPEC, text)
    for path in [path for path in node.tree if path.endswith(f".so.{driver.VERSION}")]:
        node.put(path.replace(driver.VERSION, "1"), b"x")
    assert outcome(node, "spec-current").found == f"{SPEC}: every path is there"


def test_what_a_module_that_is_not_loaded_does_not_make_is_its_own_affair() -> None:
    node = unloaded(healthy())
    assert outcome(node, "spec-current").status == "pass"
    node.put(SPEC, spec().replace("/dev/nvidia0", "/dev/dri/card0"))
    assert "/dev/dri/card0 is not there" in outcome(node, "spec-current").found


def test_a_path_that_is_named_twice_is_told_once() -> None:
    mount = "    - hostPath: /gone\n      containerPath: /x\n      options: [ro, rbind]\n"
    assert found_of(spec() + mount + mount).count("/gone is not there") == 1
    hook = "    - hookName: createContainer\n      path: /gone-hook\n"
    assert found_of(spec().replace("  mounts:", f"{hook}{hook}  mounts:")).count("/gone-hook is not there") == 1
    node = "    - path: /dev/nvidia-gone\n      major: 1\n"
    assert found_of(spec().replace("  hooks:", f"{node}{node}  hooks:")).count("/dev/nvidia-gone is not there") == 1


def test_a_file_or_a_folder_where_a_device_node_should_be_is_none() -> None:
    for change in ("file", "folder"):
        node = healthy().remove("/dev/nvidiactl")
        node = node.put("/dev/nvidiactl") if change == "file" else node.folder("/dev/nvidiactl")
        assert "/dev/nvidiactl is no device node" in outcome(node, "spec-current").found


def test_a_node_without_numbers_is_taken_as_it_is_and_one_with_wrong_ones_is_not() -> None:
    bare = spec().replace("      major: 195\n      minor: 255\n", "")
    assert outcome(healthy().put(SPEC, bare), "spec-current").status == "pass"
    wrong = found_of(spec().replace("      major: 195\n      minor: 255\n", "      major: 195\n      minor: 254\n"))
    assert "/dev/nvidiactl has the numbers 195,254 in it, and is 195,255 today" in wrong


def test_the_uvm_node_is_measured_by_the_kernels_number_and_not_by_a_node_left_over() -> None:
    node = healthy().remove("/dev/nvidia-uvm").device("/dev/nvidia-uvm", 237, 0)
    assert outcome(node, "spec-current").status == "pass"


def test_a_spec_of_no_control_node_needs_no_uvm() -> None:
    text = spec(uvm=None)
    start, end = text.index("    - path: /dev/nvidiactl"), text.index("  hooks:")
    assert (
        outcome(healthy().put(SPEC, text[:start].rpartition("  deviceNodes:\n")[0] + text[end:]), "spec-current").status
        == "pass"
    )


def test_nodes_that_the_driver_should_have_are_its_affair_and_others_are_not() -> None:
    for path in ("/dev/nvidiactl", "/dev/nvidia-uvm"):
        assert outcome(healthy().remove(path), "spec-current").status == "pass", path


# ---------------------------------------------------------------------- devices-complete


def test_every_device_is_listed() -> None:
    found = outcome(healthy(), "devices-complete")
    assert found.found.startswith("1 of 1 GPUs and MIG devices: ")
    assert driver.uuid(0) in found.found


def test_what_is_missing_is_told_with_what_there_is_and_the_spec_to_make_anew() -> None:
    found = outcome(healthy(2).put(SPEC, spec(1)), "devices-complete")
    assert found.found.startswith("no device for GPU 1 by its index; there is 0, ")
    assert found.expected == "a device for every GPU, by its index"
    assert found.where == Where(SPEC)
    assert found.remedy is not None
    assert found.remedy.commands == GENERATE
    pods = outcome(healthy(2).put(SPEC, spec(1)), "devices-complete", "cri-cdi")
    assert pods.found.startswith("no device for GPU 1; ")
    assert pods.expected == "a device for every GPU, by its index or UUID"


def test_devices_named_as_older_generators_did_count_for_pods() -> None:
    node = healthy().put(SPEC, spec(listed=device("gpu0", 0)))
    assert outcome(node, "devices-complete", "cri-cdi").status == "pass"
    assert outcome(node, "devices-complete").status == "fail"


def test_mig_devices_count_by_any_of_their_names() -> None:
    node = healthy()
    driver.smi(node, driver.smi_xml(driver.gpu_xml(0, mig="Enabled", mig_devices=driver.mig_xml(0, 1))))
    for name in ("0:0", "mig0:0"):
        node.put(SPEC, spec(listed=device(name, 0)))
        assert outcome(node, "devices-complete").status == "pass", name
    node.put(SPEC, spec(listed=device("0", 0)))
    assert outcome(node, "devices-complete").status == "fail"


def test_mig_devices_count_by_their_uuid_or_their_place() -> None:
    node = healthy()
    mig = "MIG-00000000-0000-0000-0000-000000000009"
    xml = driver.smi_xml(driver.gpu_xml(0, mig="Enabled", mig_devices=driver.mig_xml(0, 1)))
    driver.smi(node, f"{xml}GPU 0: NVIDIA H100 (UUID: {driver.uuid(0)})\n  MIG 1g.10gb Device 0: (UUID: {mig})\n")
    for name in (mig, "0:0", "mig0:0"):
        node.put(SPEC, spec(listed=device(name, 0)))
        assert outcome(node, "devices-complete", "cri-cdi").status == "pass", name


def test_a_gpu_that_is_lost_is_not_asked_for_and_none_at_all_is_unknown() -> None:
    node = healthy(2).put(SPEC, spec(1))
    lost = driver.gpu_xml(1, name="GPU is lost", uuid="GPU is lost")
    assert outcome(driver.smi(node, driver.smi_xml(driver.gpu_xml(), lost)), "devices-complete").status == "pass"
    none = outcome(driver.smi(node, "No devices were found\n", rc=6), "devices-complete")
    assert (none.status, none.found) == ("unknown", "NVML lists no GPU")


# ---------------------------------------------------------------------- refresh


def test_what_brings_the_spec_back_is_named() -> None:
    assert one(healthy(), "cdi.refresh").found == "nvidia-cdi-refresh.service and nvidia-cdi-refresh.path enabled"
    node = healthy()
    node.units.clear()
    bare = one(node, "cdi.refresh")
    assert bare.status == "warn"
    assert bare.found.startswith(f"{SPEC} is gone after a reboot")
    assert bare.remedy is not None
    assert bare.remedy.summary
    node.put("/etc/os-release", "ID=nixos\n")
    assert one(node, "cdi.refresh") == passed("NixOS generates it at each boot")
    kept = healthy().put(STATIC, spec())
    kept.units.clear()
    assert one(kept, "cdi.refresh").found == f"{STATIC} is not below /var/run"


def test_a_unit_that_failed_is_looked_at_even_where_it_is_enabled() -> None:
    node = healthy()
    node.units["nvidia-cdi-refresh.service"].update(ActiveState="failed", Result="exit-code")
    found = one(node, "cdi.refresh")
    assert (found.status, found.found) == ("warn", "nvidia-cdi-refresh.service failed (exit-code)")
    assert found.remedy is not None
    assert found.remedy.commands


def test_what_is_below_run_by_either_name_is_gone_after_a_reboot_a_bad_file_too() -> None:
    for node in (
        healthy(cri='cdi_spec_dirs = ["/run/cdi"]\n').remove(SPEC).put("/run/cdi/nvidia.yaml", spec()),
        healthy().put(SPEC, "kind: [nvidia.com/gpu\n"),
    ):
        node.units.clear()
        assert one(node, "cdi.refresh").status == "warn"


def test_only_nvidias_gpu_specs_are_to_be_kept() -> None:
    node = healthy().put(SPEC, spec(kind="management.nvidia.com/gpu"))
    assert one(node, "cdi.refresh").status == "not-applicable"
    assert devices(2).count("name:") == 5
