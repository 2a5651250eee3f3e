"""The driver's advice, which changes no verdict: Xids in the kernel log, and persistence."""

from __future__ import annotations

import pytest

from tests.support import driver as d
from tests.support.driver import commands, evidence, find, ubuntu
from tests.support.simnode import Proc, SimNode


class TestXid:
    LINE = "[ 99.1] NVRM: Xid (PCI:0000:00:06): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."

    def test_a_fatal_xid_warns_and_changes_no_verdict(self) -> None:
        before, report = ubuntu().judge(), d.log(ubuntu(), self.LINE).judge()
        assert report.findings["driver.xid"].status == "warn"
        assert "Xid 79 (GPU has fallen off the bus) on 0000:00:06" in report.findings["driver.xid"].outcome.found
        assert report.verdict == before.verdict

    @pytest.mark.parametrize("number", [13, 31, 43, 45, 63, 94])
    def test_an_xid_of_a_programs_own_making_passes(self, number: int) -> None:
        finding = find(d.log(ubuntu(), f"[ 5.0] NVRM: Xid (PCI:0000:00:06): {number}, pid=1, name=x"), "xid")
        assert finding.status == "pass"
        assert "1 others" in finding.outcome.found

    def test_a_log_that_lost_its_beginning_says_so(self) -> None:
        finding = find(d.log(ubuntu(), begins="[ 86400.000000]"), "xid")
        assert "reaches back to 86400 s after boot" in finding.outcome.found

    @pytest.mark.parametrize("number", [48, 62, 64, 74, 79, 95, 119, 120])
    def test_each_fatal_xid_warns_and_is_shown(self, number: int) -> None:
        line = f"[ 99.1] NVRM: Xid (PCI:0000:00:06): {number}, pid=1, name=x"
        node = d.log(ubuntu(), line, line, "[ 99.2] NVRM: Xid (PCI:0000:00:06): 13, pid=1")
        found = find(node, "xid")
        assert found.status == "warn"
        assert f"Xid {number} (" in found.outcome.found
        assert "on 0000:00:06, 2 times" in found.outcome.found
        assert evidence(node, "xid") == [("dmesg", f"{line}\n{line}")]
        assert found.outcome.remedy is not None

    def test_a_quiet_log_says_just_that(self) -> None:
        assert find(ubuntu(), "xid").outcome.found == "no fatal Xid in dmesg"
        for begins in ("[  100.000000]", ""):
            assert find(d.log(ubuntu(), begins=begins), "xid").outcome.found == "no fatal Xid in dmesg"


class TestPersistence:
    def test_persistence_off_warns(self) -> None:
        finding = find(d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, persistence="Disabled"))), "persistence")
        assert finding.status == "warn"
        assert commands(finding) == "sudo nvidia-smi -pm 1"
        made = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, persistence="Disabled"))).unit(
            "nvidia-persistenced.service", ActiveState="inactive"
        )
        assert commands(find(made, "persistence")) == "sudo systemctl enable --now nvidia-persistenced"

    def test_persistence_is_told_gpu_by_gpu(self) -> None:
        node = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0), d.gpu_xml(1, persistence="Disabled")))
        assert find(node, "persistence").outcome.found.startswith("off on GPU 1: ")
        unsaid = d.smi(ubuntu(), d.smi_xml(d.gpu_xml(0, persistence="N/A")))
        assert find(unsaid, "persistence").status == "unknown"
        some = d.smi(d.h100(SimNode(), 2), d.smi_xml(d.gpu_xml(0), d.gpu_xml(1, persistence="N/A")))
        assert find(some, "persistence").status == "pass"

    def test_a_socket_without_its_daemon_warns(self) -> None:
        finding = find(ubuntu().socket("/run/nvidia-persistenced/socket"), "persistence")
        assert finding.status == "warn"
        assert str(finding.outcome.where) == "/run/nvidia-persistenced/socket"
        assert finding.outcome.remedy is not None
        assert finding.outcome.remedy.commands

    def test_a_socket_with_its_daemon_passes(self) -> None:
        node = ubuntu().socket("/run/nvidia-persistenced/socket")
        node.process(Proc(700, "nvidia-persiste", ["nvidia-persistenced"], "/usr/bin/nvidia-persistenced"))
        assert find(node, "persistence").status == "pass"
