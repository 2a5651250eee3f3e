"""The toolkit gets onto a node by what people type, and by what the report tells them to type."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.lab import base, cri, hardware, image, packages
from tests.lab.judging import counted, judged, mend, told
from tests.lab.node import Node
from tests.lab.site import Signer, Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.lab

NOTE = (
    "sudo dnf install -y nvidia-container-toolkit",
    "sudo nvidia-ctk runtime configure --runtime=containerd",
    "sudo systemctl restart containerd",
)
"""As the note has them."""
PURGE = {
    "debian": "DEBIAN_FRONTEND=noninteractive apt-get purge -y nvidia-container-toolkit-base libnvidia-container1",
    "fedora": "dnf remove -y nvidia-container-toolkit-base libnvidia-container1",
}


@pytest.mark.parametrize(
    "generation", [pytest.param(one, marks=() if one == "2.x" else pytest.mark.slow) for one in base.GENERATIONS]
)
def test_the_notes_commands_as_they_stand_make_a_node_like_fedora_ready(
    new_node: Callable[..., Node], generation: str
) -> None:
    """From a driver and a containerd that Debian configured, by three commands; typed by a user with sudo."""
    node = new_node(generation, ready=False, distribution="fedora")
    node.run(f"{hardware.DRIVER} install", check=True)
    node.run("containerd config default >/etc/containerd/config.toml && systemctl restart containerd", check=True)
    hardware.bring_up(node)
    before = judged(node)
    assert {"toolkit.installed", "toolkit.container-cli", "containerd.handler"} & set(counted(before)), told(before)
    for command in NOTE:
        done = node.ssh(command, user="ops", timeout=180)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    node.run("systemctl start nvidia-cdi-refresh.service", check=True)
    after = judged(node)
    assert after.verdict == "ready", told(after)
    assert after.required.names == ("ctr-gpus", "cri-handler")
    assert node.run(f"ctr run --rm --gpus 0 {image.NAME} gpu nvidia-smi -L").stdout.count("GPU-") == 1
    assert node.run("rpm -qf /usr/bin/nvidia-container-runtime", check=True).stdout.startswith(
        f"nvidia-container-toolkit-base-{packages.VERSION}."
    )
    assert "nvidia" in cri.status(node)["containerd"]["runtimes"]


@pytest.mark.parametrize("generation", ["2.x"])
@pytest.mark.parametrize("distribution", list(base.DISTRIBUTIONS))
@pytest.mark.skipif(Signer.missing(), reason="gpg and gpg-agent are not installed")
def test_without_nvidias_repository_the_remedy_sets_it_up(
    new_node: Callable[..., Node], generation: str, distribution: str, tmp_path: Path
) -> None:
    """Every command is typed as printed: the site's key, its repository and its packages come over https."""
    node = new_node(generation, distribution=distribution)
    node.run(PURGE[distribution], check=True)
    hardware.forget_repository(node)
    broken = judged(node)
    roots = counted(broken)
    assert broken.verdict == "not-ready", told(broken)
    remedy = roots["toolkit.installed"].outcome.remedy
    assert remedy is not None
    assert "from NVIDIA's repository, which is set up first" in remedy.summary
    with Site(node, tmp_path) as site:
        mend(node, roots["toolkit.installed"])
    wanted = {
        "debian": ("/gpgkey", ".list", "InRelease", ".deb"),
        "fedora": (".repo", "/gpgkey", "repomd.xml.asc", ".rpm"),
    }
    for end in wanted[distribution]:
        assert any(path.endswith(end) for path in site.asked), (end, site.asked)
    node.run("systemctl start nvidia-cdi-refresh.service", check=True)
    after = judged(node)
    assert "toolkit.installed" not in counted(after), told(after)
    assert after.verdict == "ready", told(after)


@pytest.mark.slow
@pytest.mark.usefixtures("lab")
def test_real_programs_take_the_stand_ins_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUREADY_LAB_TOOLKIT names a folder of programs; here they are the stand-ins, marked."""
    for name in ("nvidia-container-runtime", "nvidia-ctk"):
        shutil.copy(packages.HERE / name, tmp_path / name)
        with (tmp_path / name).open("a") as program:
            program.write("\n# real\n")
    monkeypatch.setenv("GPUREADY_LAB_TOOLKIT", str(tmp_path))
    with Node("2.x") as node:
        for name in ("nvidia-container-runtime", "nvidia-ctk"):
            assert node.read(f"/usr/bin/{name}").endswith("# real\n")
        assert 'mode = "cdi"' in node.read("/etc/nvidia-container-runtime/config.toml")
        report = judged(node)
        assert report.verdict == "ready", told(report)
        code, log = cri.pod(node, ["nvidia-smi", "-L"], handler="nvidia", env={"NVIDIA_VISIBLE_DEVICES": "all"})
        assert (code, log.count("GPU-")) == (0, 2)
