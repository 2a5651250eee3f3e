"""GPUs behind NVSwitches: the fabric that they join, and its manager."""

from __future__ import annotations

from tests.support import driver as d
from tests.support.driver import UBUNTU, commands, evidence, failed, find, ubuntu
from tests.support.simnode import Proc, SimNode


def fabric(made: SimNode, state: str, status: str = "N/A", health: str = "N/A", gpus: int = 2) -> SimNode:
    """Every GPU says this of its fabric."""
    each = [d.gpu_xml(n, fabric_state=state, fabric_status=status, fabric_health=health) for n in range(gpus)]
    return d.smi(made, d.smi_xml(*each))


def switches(made: SimNode) -> SimNode:
    """Two H100s and an NVSwitch."""
    gpus = [(d.address(n), d.H100, 0x030200, "nvidia") for n in range(2)]
    return d.pci(made, *gpus, ("0000:40:00.0", 0x22A3, 0x068000, "nvidia-nvswitch"))


class TestFabric:
    def test_completed_without_a_manager_passes(self) -> None:
        """A virtual machine: the manager runs on its host."""
        assert find(fabric(ubuntu(2), "Completed", "Success"), "fabric-manager").status == "pass"

    def test_in_progress_on_a_machine_with_switches_installs_the_drivers_version(self) -> None:
        finding = find(fabric(switches(ubuntu(2)), "In Progress"), "fabric-manager")
        assert finding.status == "fail"
        assert "GPU 0: fabric state In Progress" in finding.outcome.found
        assert commands(finding).splitlines() == [
            "sudo apt-get install -y nvidia-fabricmanager-580",
            "sudo systemctl enable --now nvidia-fabricmanager",
        ]

    def test_a_manager_of_another_version_is_named(self) -> None:
        made = fabric(switches(ubuntu(2)), "In Progress").program("/usr/bin/nv-fabricmanager")
        made.answer(("nv-fabricmanager", "--version"), "Fabric Manager version is : 580.126.20\n")
        made.unit("nvidia-fabricmanager.service", ActiveState="failed")
        finding = find(made, "fabric-manager")
        assert finding.outcome.remedy is not None
        assert "is 580.126.20, the driver 580.159.04" in finding.outcome.remedy.summary

    def test_a_manager_that_is_stopped_is_started(self) -> None:
        made = fabric(switches(ubuntu(2)), "Not Started").program("/usr/bin/nv-fabricmanager")
        made.answer(("nv-fabricmanager", "--version"), f"Fabric Manager version is : {d.VERSION}\n")
        assert (
            commands(find(made, "fabric-manager")).splitlines()[0] == "sudo systemctl enable --now nvidia-fabricmanager"
        )

    def test_unhealthy_without_switches_is_fixed_outside_this_machine(self) -> None:
        finding = find(fabric(ubuntu(2), "Completed", "Success", "Unhealthy"), "fabric-manager")
        assert finding.status == "fail"
        assert finding.outcome.remedy is not None
        assert "outside this machine" in finding.outcome.remedy.summary

    def test_a_completed_fabric_with_an_error_fails(self) -> None:
        assert (
            "fabric status Insufficient"
            in find(fabric(ubuntu(2), "Completed", "Insufficient Resources"), "fabric-manager").outcome.found
        )

    def test_a100s_are_judged_by_their_manager(self) -> None:
        made = switches(ubuntu(2))
        assert find(made, "fabric-manager").status == "fail"
        made.process(Proc(900, "nv-fabricmanage", ["nv-fabricmanager"], "/usr/bin/nv-fabricmanager"))
        assert find(made, "fabric-manager").status == "pass"

    def test_no_fabric_at_all_is_not_applicable(self) -> None:
        assert find(ubuntu(2), "fabric-manager").status == "not-applicable"

    def test_gpus_that_joined_are_counted(self) -> None:
        found = find(fabric(d.h100(SimNode(), 2), "Completed", "Success"), "fabric-manager").outcome
        assert found.found == "2 GPUs: Completed, Success"

    def test_the_manager_is_told_by_what_it_does(self) -> None:
        made = fabric(switches(d.h100(SimNode().put("/etc/os-release", UBUNTU), 2)), "In Progress")
        assert failed(made, "fabric-manager").endswith("; the manager is not installed")
        assert evidence(made, "fabric-manager") == []
        made.program("/usr/bin/nv-fabricmanager")
        made.answer(("nv-fabricmanager", "--version"), f"Fabric Manager version is : {d.VERSION}\n")
        assert failed(made, "fabric-manager").endswith("; the manager does not run")
        assert evidence(made, "fabric-manager") == [
            ("nv-fabricmanager --version", d.VERSION),
            ("/sys/module/nvidia/version", d.VERSION),
        ]
        for state, does in (("failed", "does not run"), ("active", "runs")):
            made.unit("nvidia-fabricmanager.service", ActiveState=state)
            assert failed(made, "fabric-manager").endswith(f"; the manager {does}")

    def test_without_switches_the_manager_is_elsewhere_unless_it_is_installed(self) -> None:
        made = fabric(d.h100(SimNode(), 2), "In Progress")
        assert failed(made, "fabric-manager").endswith("; no NVSwitch on this machine")
        made.program("/usr/bin/nv-fabricmanager")
        assert failed(made, "fabric-manager").endswith("; the manager does not run")

    def test_a_process_without_a_unit_runs_too(self) -> None:
        made = fabric(switches(d.h100(SimNode(systemd=False), 2)), "In Progress")
        made.process(Proc(900, "nv-fabricmanage", ["nv-fabricmanager"], "/usr/bin/nv-fabricmanager"))
        assert failed(made, "fabric-manager").endswith("; the manager runs")
        assert commands(find(made, "fabric-manager")).startswith("systemctl restart nvidia-fabricmanager\n")
        old = switches(d.h100(SimNode(systemd=False), 2))
        old.process(Proc(900, "nv-fabricmanage", ["nv-fabricmanager"], "/opt/nvidia/nv-fabricmanager"))
        assert find(old, "fabric-manager").outcome.found == "1 NVSwitches, the fabric manager runs"

    def test_a_healthy_or_unsaid_status_passes(self) -> None:
        for status, health in (("Success", "Healthy"), ("N/A", "N/A")):
            made = fabric(d.h100(SimNode(), 2), "Completed", status, health)
            assert find(made, "fabric-manager").status == "pass"

    def test_older_gpus_are_judged_by_a_manager_of_the_drivers_version(self) -> None:
        made = switches(d.h100(SimNode().put("/etc/os-release", UBUNTU), 2))
        assert failed(made, "fabric-manager") == "1 NVSwitches on the bus, and the fabric manager is not installed"
        made.program("/usr/bin/nv-fabricmanager")
        assert failed(made, "fabric-manager").endswith("the fabric manager does not run")
        assert commands(find(made, "fabric-manager"))
        made.answer(("nv-fabricmanager", "--version"), "Fabric Manager version is : 570.1.1\n")
        assert failed(made, "fabric-manager").endswith(f"the fabric manager is 570.1.1, the driver {d.VERSION}")
        made.unit("nvidia-fabricmanager.service", Id="nvidia-fabricmanager.service")
        assert find(made, "fabric-manager").status == "fail"
        made.answer(("nv-fabricmanager", "--version"), f"Fabric Manager version is : {d.VERSION}\n")
        assert find(made, "fabric-manager").outcome.found == f"1 NVSwitches, the fabric manager {d.VERSION} runs"
