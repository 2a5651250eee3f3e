"""The suite and people's own tests on nodes by other transports: `host` and the fixtures are one node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Pytest

OWN = """
def test_own(host, platform):
    assert host.check_output("cat /proc/sys/kernel/hostname") == platform.hostname
"""


@pytest.mark.lab("root")
def test_a_chroot_is_testinfras_host_too(run: Pytest) -> None:
    """Testinfra alone takes no path from a spec."""
    run.file("test_own.py", OWN)
    result = run.raw("--hosts", "chroot:///", "test_own.py", "-v")
    assert result.ret == 0, result.out
    assert "1 passed" in result.out


@pytest.mark.lab("ansible-inventory")
def test_an_inventorys_host_is_one_node_to_the_suite_and_to_own_tests(
    run: Pytest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path))
    run.file("hosts.ini", "[g]\nme ansible_connection=local\nw ansible_connection=winrm\n")
    run.file("test_own.py", OWN)
    given = ("--ansible-inventory", "hosts.ini", "test_own.py", "-v")
    result = run.suite(*given, hosts="ansible://me")
    assert "test_own.py::test_own[ansible://me] PASSED" in result.out
    assert "[ansible://me]" in result.out
    refused = run.suite(*given, hosts="ansible://w")
    assert refused.ret == 4
    assert "connection plugin 'winrm'" in refused.err + refused.out


@pytest.mark.parametrize("spec", ["salt://gpu*", "docker://--privileged"])
def test_what_there_is_no_way_to_is_a_usage_error(run: Pytest, spec: str) -> None:
    result = run.suite(hosts=spec)
    assert result.ret == 4
    assert spec in result.err + result.out
