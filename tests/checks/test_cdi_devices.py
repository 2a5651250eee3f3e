"""What CDI specs name: paths and device nodes that are there today, and a device for every GPU."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Where
from tests.support import driver
from tests.support.cdi import GENERATE, LIBS, SPEC, device, healthy, libraries, outcome, spec
from tests.support.driver import unloaded

CUDA = f"{LIBS}/libcuda.so.{driver.VERSION}"


def found_of(text: str, name: str = "spec-current", route: str = "ctr-gpus", *, gpus: int = 1) -> str:
    """What the check says of a spec that fails it."""
    found = outcome(healthy(gpus).put(SPEC, text), name, route)
    assert found.status == "fail"
    return found.found


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

    def test_a_link_is_no_device_node_to_cdi(self) -> None:
        node = healthy().remove("/dev/nvidia0").device("/dev/real", 195, 0).link("/dev/nvidia0", "/dev/real")
        assert "no device node" in outcome(node, "spec-current").found

    def test_a_spec_of_today_names_its_driver(self) -> None:
        assert outcome(healthy(), "spec-current").found == f"{SPEC}: every path is there, driver {driver.VERSION}"

    def test_the_first_stale_path_is_told_at_its_line(self) -> None:
        """The others are evidence; a new spec replaces it."""
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

    def test_more_than_four_faults_are_counted(self) -> None:
        text = spec(version="550.54.14").replace("/usr/bin/nvidia-smi", "/usr/bin/gone")
        assert found_of(text).endswith(" and 1 more")

    def test_the_version_in_a_hook_counts_by_itself(self) -> None:
        text = spec().replace(f"--host-driver-version={driver.VERSION}", "--host-driver-version=550.54.14")
        assert found_of(text) == f"{SPEC}: it is of driver 550.54.14, and {driver.VERSION} is loaded"

    def test_relative_paths_are_no_paths(self) -> None:
        assert "smi is no absolute path" in found_of(
            spec().replace("hostPath: /usr/bin/nvidia-smi", "hostPath: bin/smi")
        )
        node = "    - path: /dev/nvidiactl\n      hostPath: dev/x\n"
        assert "dev/x is no absolute path" in found_of(spec().replace("    - path: /dev/nvidiactl\n", node))

    def test_a_folder_is_no_hook_and_a_mount_may_be_one(self) -> None:
        node = healthy().remove("/usr/bin/nvidia-cdi-hook").folder("/usr/bin/nvidia-cdi-hook")
        assert "/usr/bin/nvidia-cdi-hook is no program" in outcome(node, "spec-current").found
        assert (
            outcome(healthy().remove("/usr/bin/nvidia-smi").folder("/usr/bin/nvidia-smi"), "spec-current").status
            == "pass"
        )
        assert outcome(healthy().put(CUDA, b"x", mode=0o644), "spec-current").status == "pass"

    def test_what_is_no_bind_mount_is_not_looked_for(self) -> None:
        mount = "    - hostPath: tmpfs\n      containerPath: /run/x\n      type: tmpfs\n"
        assert outcome(healthy().put(SPEC, spec() + mount), "spec-current").status == "pass"

    def test_a_missing_hooks_package_is_installed_whatever_else_is_missing(self) -> None:
        command = "sudo apt-get install -y --reinstall nvidia-container-toolkit-base"
        for node in (healthy(), healthy().remove(CUDA)):
            found = outcome(node.remove("/usr/bin/nvidia-cdi-hook"), "spec-current").remedy
            assert found is not None
            assert found.commands == (command, *GENERATE)

    def test_a_spec_that_names_no_version_is_of_no_driver(self) -> None:
        text = spec().replace(f".so.{driver.VERSION}", ".so.1").replace(f"--host-driver-version={driver.VERSION}", "x")
        node = healthy().put(SPEC, text)
        for path in [path for path in node.tree if path.endswith(f".so.{driver.VERSION}")]:
            node.put(path.replace(driver.VERSION, "1"), b"x")
        assert outcome(node, "spec-current").found == f"{SPEC}: every path is there"

    def test_device_nodes_of_an_unloaded_module_are_its_own_affair(self) -> None:
        node = unloaded(healthy())
        assert outcome(node, "spec-current").status == "pass"
        node.put(SPEC, spec().replace("/dev/nvidia0", "/dev/dri/card0"))
        assert "/dev/dri/card0 is not there" in outcome(node, "spec-current").found

    def test_a_path_that_is_named_twice_is_told_once(self) -> None:
        mount = "    - hostPath: /gone\n      containerPath: /x\n      options: [ro, rbind]\n"
        assert found_of(spec() + mount + mount).count("/gone is not there") == 1
        hook = "    - hookName: createContainer\n      path: /gone-hook\n"
        assert found_of(spec().replace("  mounts:", f"{hook}{hook}  mounts:")).count("/gone-hook is not there") == 1
        node = "    - path: /dev/nvidia-gone\n      major: 1\n"
        assert found_of(spec().replace("  hooks:", f"{node}{node}  hooks:")).count("/dev/nvidia-gone is not there") == 1

    def test_a_file_or_folder_at_its_path_is_no_device_node(self) -> None:
        for change in ("file", "folder"):
            node = healthy().remove("/dev/nvidiactl")
            node = node.put("/dev/nvidiactl") if change == "file" else node.folder("/dev/nvidiactl")
            assert "/dev/nvidiactl is no device node" in outcome(node, "spec-current").found

    def test_a_device_node_without_numbers_passes_and_wrong_ones_fail(self) -> None:
        bare = spec().replace("      major: 195\n      minor: 255\n", "")
        assert outcome(healthy().put(SPEC, bare), "spec-current").status == "pass"
        wrong = found_of(spec().replace("      major: 195\n      minor: 255\n", "      major: 195\n      minor: 254\n"))
        assert "/dev/nvidiactl has the numbers 195,254 in it, and is 195,255 today" in wrong

    def test_the_uvm_node_is_compared_with_the_kernels_major(self) -> None:
        """Not with a device node left over."""
        node = healthy().remove("/dev/nvidia-uvm").device("/dev/nvidia-uvm", 237, 0)
        assert outcome(node, "spec-current").status == "pass"

    def test_a_spec_of_no_control_node_needs_no_uvm(self) -> None:
        text = spec(uvm=None)
        start, end = text.index("    - path: /dev/nvidiactl"), text.index("  hooks:")
        assert (
            outcome(
                healthy().put(SPEC, text[:start].rpartition("  deviceNodes:\n")[0] + text[end:]), "spec-current"
            ).status
            == "pass"
        )

    def test_the_drivers_own_nodes_are_its_affair(self) -> None:
        for path in ("/dev/nvidiactl", "/dev/nvidia-uvm"):
            assert outcome(healthy().remove(path), "spec-current").status == "pass", path


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

    def test_every_device_is_listed(self) -> None:
        found = outcome(healthy(), "devices-complete")
        assert found.found.startswith("1 of 1 GPUs and MIG devices: ")
        assert driver.uuid(0) in found.found

    def test_a_missing_device_is_told_with_those_there_and_the_command(self) -> None:
        found = outcome(healthy(2).put(SPEC, spec(1)), "devices-complete")
        assert found.found.startswith("no device for GPU 1 by its index; there is 0, ")
        assert found.expected == "a device for every GPU, by its index"
        assert found.where == Where(SPEC)
        assert found.remedy is not None
        assert found.remedy.commands == GENERATE
        pods = outcome(healthy(2).put(SPEC, spec(1)), "devices-complete", "cri-cdi")
        assert pods.found.startswith("no device for GPU 1; ")
        assert pods.expected == "a device for every GPU, by its index or UUID"

    def test_devices_named_as_older_generators_did_count_for_pods(self) -> None:
        node = healthy().put(SPEC, spec(listed=device("gpu0", 0)))
        assert outcome(node, "devices-complete", "cri-cdi").status == "pass"
        assert outcome(node, "devices-complete").status == "fail"

    def test_mig_devices_count_by_any_of_their_names(self) -> None:
        node = healthy()
        driver.smi(node, driver.smi_xml(driver.gpu_xml(0, mig="Enabled", mig_devices=driver.mig_xml(0, 1))))
        for name in ("0:0", "mig0:0"):
            node.put(SPEC, spec(listed=device(name, 0)))
            assert outcome(node, "devices-complete").status == "pass", name
        node.put(SPEC, spec(listed=device("0", 0)))
        assert outcome(node, "devices-complete").status == "fail"

    def test_mig_devices_count_by_their_uuid_or_their_place(self) -> None:
        node = healthy()
        mig = "MIG-00000000-0000-0000-0000-000000000009"
        xml = driver.smi_xml(driver.gpu_xml(0, mig="Enabled", mig_devices=driver.mig_xml(0, 1)))
        driver.smi(node, f"{xml}GPU 0: NVIDIA H100 (UUID: {driver.uuid(0)})\n  MIG 1g.10gb Device 0: (UUID: {mig})\n")
        for name in (mig, "0:0", "mig0:0"):
            node.put(SPEC, spec(listed=device(name, 0)))
            assert outcome(node, "devices-complete", "cri-cdi").status == "pass", name

    def test_a_lost_gpu_needs_no_device(self) -> None:
        """Without any GPU the answer is unknown."""
        node = healthy(2).put(SPEC, spec(1))
        lost = driver.gpu_xml(1, name="GPU is lost", uuid="GPU is lost")
        assert outcome(driver.smi(node, driver.smi_xml(driver.gpu_xml(), lost)), "devices-complete").status == "pass"
        none = outcome(driver.smi(node, "No devices were found\n", rc=6), "devices-complete")
        assert (none.status, none.found) == ("unknown", "NVML lists no GPU")
