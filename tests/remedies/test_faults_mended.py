"""Remedies that real nodes showed to be too little, each on a simulated one."""

from __future__ import annotations

from pytest_gpuready.checks.toolkit_config import Problem
from pytest_gpuready.model import Where
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views.toolkit import CONFIG, Toolkit
from tests.support import driver as d
from tests.support.cdi import cdi
from tests.support.simnode import SimNode
from tests.support.toolkit import config, containerd, debian, toolkit, views

FOLDER = "/usr/lib/x86_64-linux-gnu"


def whole() -> SimNode:
    return cdi(containerd(toolkit(debian(SimNode()))))


def test_a_spec_whose_hook_is_gone_gets_the_hooks_package_first() -> None:
    remedy = Remedies(views(whole())).cdi.generate("/var/run/cdi/nvidia.yaml", lacking="nvidia-cdi-hook")
    assert remedy.commands == (
        "sudo apt-get install -y --reinstall nvidia-container-toolkit-base",
        "sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",
    )


def test_a_program_without_its_library_gets_both_packages_anew() -> None:
    remedy = Remedies(views(whole())).packages.program("nvidia-container-cli", "libnvidia-container1")
    assert remedy.commands == ("sudo apt-get install -y --reinstall libnvidia-container-tools libnvidia-container1",)


def test_a_line_of_the_toolkits_file_that_is_no_toml_is_commented_out() -> None:
    node = config(toolkit(debian(SimNode())), 'log-level = "info"', "log-level info")
    text = node.tree[CONFIG].data.decode().splitlines()
    line = text.index("log-level info") + 1
    problem = Problem("no TOML", "TOML", Where(CONFIG, line), syntax=True)
    remedy = Remedies(views(node)).toolkit.setting(problem)
    assert remedy.commands == (f"sudo sed -i '{line}s/^/# /' {CONFIG}",)
    assert "+# log-level info" in remedy.edits[0].diff


def test_links_to_libraries_that_are_there_are_made_by_ldconfig_alone() -> None:
    node = d.h100(SimNode())
    for name in ("libnvidia-ml", "libcuda"):
        node.program(f"{FOLDER}/{name}.so.{d.VERSION}")
    driver = Remedies(views(node)).driver
    assert driver.libraries().commands[-1].endswith("ldconfig")
    assert len(driver.libraries().commands) == 1
    assert len(driver.reload(d.VERSION, "570.1.1").commands) == 1
    node.program(f"{FOLDER}/libcuda.so.999.1.1")
    assert Remedies(views(node)).driver.reload(d.VERSION, "570.1.1").commands[-1].endswith("reboot")


def test_a_repository_that_is_named_after_the_packages_counts_whatever_its_address() -> None:
    node = toolkit(debian(SimNode()))
    node.answer(
        ("package repositories of NVIDIA's",),
        "file /etc/apt/sources.list.d/nvidia-container-toolkit.list\n> deb [trusted=yes] https://mirror.example/x ./\n",
    )

    assert views(node).get(Toolkit).repositories == ["/etc/apt/sources.list.d/nvidia-container-toolkit.list"]
