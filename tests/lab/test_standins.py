"""The stand-ins behave as the programs they stand for, where a check or a remedy depends on it."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
import tomlkit

from tests.lab import base, cri, hardware, image, packages
from tests.support.reference import DATA, reference

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.node import Node

pytestmark = pytest.mark.lab

REAL = DATA / "h100"
RUNTIME = f"ctr run --rm --runc-binary nvidia-container-runtime --env NVIDIA_VISIBLE_DEVICES=all {image.NAME}"
CONFIG = "/etc/nvidia-container-runtime/config.toml"

one_generation = pytest.mark.parametrize("generation", ["2.x"], indirect=True)


def set_mode(node: Node, mode: str) -> None:
    """Set the runtime's mode as a user would."""
    node.run(f"nvidia-ctk config --in-place --set nvidia-container-runtime.mode={mode}", check=True)


@one_generation
def test_nvidia_smi_as_root_loads_the_module_and_makes_nodes(lab_node: Node) -> None:
    """As NVIDIA's does: whoever runs it to look has changed the node."""
    lab_node.run(f"{hardware.DRIVER} unload; rm -r /dev/nvidia*", check=True)
    assert lab_node.run("ls -d /sys/module/nvidia /proc/driver/nvidia /dev/nvidia0").stdout == ""
    assert lab_node.run("nvidia-smi -L", user="guest").returncode == 9
    assert lab_node.run("nvidia-smi -L").returncode == 0
    assert len(lab_node.run("ls -d /sys/module/nvidia /proc/driver/nvidia /dev/nvidia0").stdout.split()) == 3
    assert "GPU UUID" in lab_node.read("/proc/driver/nvidia/gpus/0000:17:00.0/information")


@one_generation
def test_modprobe_loads_the_simulated_modules_and_passes_others_on(lab_node: Node) -> None:
    lab_node.run("rmmod nvidia", check=True)
    assert "nvidia" not in lab_node.read("/proc/devices")
    lab_node.run("sudo modprobe nvidia-uvm", check=True)
    assert "511 nvidia-uvm" in lab_node.read("/proc/devices")
    assert lab_node.run("modinfo -F version nvidia").stdout == lab_node.read("/sys/module/nvidia/version")
    assert "no-such-module" in lab_node.run("modprobe no-such-module").stderr


@one_generation
def test_an_updated_driver_mismatches_until_it_is_loaded_anew(lab_node: Node) -> None:
    lab_node.run(f"{hardware.DRIVER} install 590.10", check=True)
    smi = lab_node.run("nvidia-smi")
    assert (smi.returncode, "Driver/library version mismatch" in smi.stdout) == (18, True)
    assert "mismatch" in lab_node.run("nvidia-container-cli info").stderr
    assert lab_node.run("modinfo -F version nvidia").stdout == "590.10\n"
    lab_node.run("rmmod nvidia && modprobe nvidia", check=True)
    assert "590.10" in lab_node.run("nvidia-smi --query-gpu=driver_version --format=csv,noheader", check=True).stdout


@one_generation
def test_nvidia_smi_queries(healthy_node: Node) -> None:
    ask = "nvidia-smi --query-gpu=index,name,memory.total --format=csv"
    assert healthy_node.run(f"{ask},noheader,nounits").stdout.splitlines()[1] == "1, NVIDIA H100 80GB HBM3, 81559"
    assert healthy_node.run(ask).stdout.splitlines()[0] == "index, name, memory.total"
    assert healthy_node.run("nvidia-smi --query-gpu=nonsense --format=csv").returncode == 2


@reference
@one_generation
def test_the_xml_has_the_shape_of_a_real_one(healthy_node: Node) -> None:
    """Every path of tags in it occurs in a real node's."""

    def paths(text: str) -> set[str]:
        found: set[str] = set()

        def walk(element: ET.Element, above: str) -> None:
            found.add(f"{above}/{element.tag}")
            for child in element:
                walk(child, f"{above}/{element.tag}")

        walk(ET.fromstring(text), "")  # noqa: S314
        return found

    ours = paths(healthy_node.run("nvidia-smi -q -x", check=True).stdout)
    assert ours - paths((REAL / "nvidia-smi-q-x.xml").read_text()) == set()
    assert "/nvidia_smi_log/gpu/remapped_rows/remapped_row_failure" in ours


@one_generation
def test_the_hardware_says_what_a_test_wants(lab_node: Node) -> None:
    hardware.describe(lab_node, gpu0__remapped_row_failure="Yes", gpu1__product_name="NVIDIA A100 & more")
    xml = lab_node.run("nvidia-smi -q -x", check=True).stdout
    assert xml.count("<remapped_row_failure>Yes<") == xml.count("<remapped_row_failure>No<") == 1
    assert "NVIDIA A100 & more" in lab_node.run("nvidia-smi -L").stdout


PROBE = r"""
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *lib = dlopen("libnvidia-ml.so.1", RTLD_NOW), *gpu;
    if (!lib) return puts(dlerror()), 1;
    int (*init)(void) = dlsym(lib, "nvmlInit_v2"), (*count)(unsigned *) = dlsym(lib, "nvmlDeviceGetCount_v2");
    int (*get)(unsigned, void **) = dlsym(lib, "nvmlDeviceGetHandleByIndex_v2");
    int (*name)(void *, char *, unsigned) = dlsym(lib, "nvmlDeviceGetName");
    int (*uuid)(void *, char *, unsigned) = dlsym(lib, "nvmlDeviceGetUUID"), code = init();
    unsigned n = 0;
    char a[96], b[96];
    count(&n);
    printf("%d %u\n", code, n);
    for (unsigned i = 0; i < n; i++)
        if (!get(i, &gpu) && !name(gpu, a, sizeof a) && !uuid(gpu, b, sizeof b))
            printf("GPU %u: %s (UUID: %s)\n", i, a, b);
}
"""


@one_generation
def test_nvml_agrees_with_nvidia_smi_and_tells_its_errors_apart(lab_node: Node, tmp_path: Path) -> None:
    (tmp_path / "probe.c").write_text(PROBE)
    base.run("gcc", "-static-libgcc", "-o", tmp_path / "probe", tmp_path / "probe.c")
    lab_node.put("/usr/local/bin/probe", (tmp_path / "probe").read_bytes(), 0o755)
    assert lab_node.run("probe").stdout == "0 2\n" + lab_node.run("nvidia-smi -L").stdout
    # It would make the spec anew after an update, and load the module for it.
    lab_node.run("systemctl stop nvidia-cdi-refresh.path nvidia-cdi-refresh.service", check=True)
    lab_node.run(f"{hardware.DRIVER} install 590.10", check=True)
    assert lab_node.run("probe").stdout == "18 0\n"
    lab_node.run("rmmod nvidia", check=True)
    assert lab_node.run("probe").stdout == "9 0\n"
    lab_node.run(f"{hardware.DRIVER} remove", check=True)
    assert "libnvidia-ml.so.1: cannot open shared object file" in lab_node.run("probe").stdout


@one_generation
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("s|@/sbin/ldconfig|/sbin/ldconfig|", 'ldconfig value "/sbin/ldconfig" is not host-relative'),
        ("s|^mode = .*|mode auto|", "failed to load config"),
        ('s|"runc", "crun"|"docker-runc"|', "no runtime binary found from candidate list: [docker-runc]"),
    ],
)
def test_the_runtime_refuses_a_broken_config(lab_node: Node, edit: str, message: str) -> None:
    """``--version`` says why; containerd sees an exit status only (toolkit 1.18 to 1.20)."""
    lab_node.run(f"sed -i '{edit}' {CONFIG}", check=True)
    version = lab_node.run("nvidia-container-runtime --version")
    assert version.returncode == 1
    assert version.stdout.startswith("NVIDIA Container Runtime version 1.18.2\n")
    assert message in version.stderr.replace("\\", "")
    opaque = lab_node.run(f"{RUNTIME} opaque true").stderr
    assert "log.json: no such file or directory" in opaque
    assert message not in opaque


@one_generation
def test_modes_of_the_runtime(lab_node: Node) -> None:
    """Mode legacy needs the hook, cdi a spec, csv gives nothing, a bogus one is named; --version accepts them all."""

    def gpus() -> subprocess.CompletedProcess[str]:
        return lab_node.run(f"{RUNTIME} mode nvidia-smi -L; ctr containers rm mode 2>/dev/null; true")

    for mode in ("legacy", "cdi", "jit-cdi"):
        set_mode(lab_node, mode)
        assert gpus().stdout.count("UUID") == 2, mode
    set_mode(lab_node, "cdi")
    lab_node.run("rm /var/run/cdi/nvidia.yaml", check=True)
    assert "unresolvable CDI devices nvidia.com/gpu=all" in gpus().stderr
    set_mode(lab_node, "legacy")
    lab_node.run("rm /usr/bin/nvidia-container-runtime-hook", check=True)
    assert "fork/exec /usr/bin/nvidia-container-runtime-hook: no such file" in gpus().stderr
    set_mode(lab_node, "csv")
    assert "nvidia-smi" in gpus().stderr
    set_mode(lab_node, "bogus")
    assert 'invalid mode "bogus"' in gpus().stderr
    assert lab_node.run("nvidia-container-runtime --version").returncode == 0


@one_generation
def test_without_a_driver_each_path_fails_in_its_own_words(lab_node: Node) -> None:
    lab_node.run(f"{hardware.DRIVER} unload; {hardware.DRIVER} remove", check=True)
    assert "failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND" in lab_node.run(f"{RUNTIME} none true").stderr
    cli = lab_node.run("nvidia-container-cli --load-kmods configure --device=0 --pid=1 /").stderr
    assert "load library failed: libnvidia-ml.so.1: cannot open shared object file" in cli
    assert "ERROR_LIBRARY_NOT_FOUND" in lab_node.run("nvidia-ctk cdi generate").stderr


def test_nvidia_ctk_can_make_a_handler_the_default(lab_node: Node) -> None:
    lab_node.run("nvidia-ctk runtime configure --runtime=containerd --set-as-default --cdi.enabled", check=True)
    lab_node.restart_containerd()
    assert cri.status(lab_node)["containerd"]["defaultRuntimeName"] == "nvidia"
    lab_node.run("nvidia-ctk runtime configure --runtime=containerd", check=True)
    lab_node.restart_containerd()
    assert cri.status(lab_node)["containerd"]["defaultRuntimeName"] == "runc"


@one_generation
def test_nvidia_ctk_with_no_config_writes_one_that_has_only_nvidia(lab_node: Node) -> None:
    lab_node.run("rm -r /etc/containerd/config.toml /etc/containerd/conf.d", check=True)
    done = lab_node.run("nvidia-ctk runtime configure --runtime=containerd", check=True)
    assert "It is recommended that containerd daemon be restarted." in done.stderr
    drop_in = tomlkit.parse(lab_node.read("/etc/containerd/conf.d/99-nvidia.toml")).unwrap()
    runtimes = drop_in["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    assert (drop_in["version"], list(runtimes)) == (2, ["nvidia"])


@one_generation
def test_nvidia_ctk_with_dockers_stock_config_does_nothing_that_counts(lab_node: Node) -> None:
    """A version 1 file goes into the drop-in whole, and no imports line leads there (toolkit#1430)."""
    stock = 'disabled_plugins = ["cri"]\n'
    lab_node.run("rm -r /etc/containerd/conf.d", check=True)
    lab_node.put("/etc/containerd/config.toml", stock)
    lab_node.run("nvidia-ctk runtime configure --runtime=containerd", check=True)
    assert lab_node.read("/etc/containerd/config.toml") == stock
    drop_in = tomlkit.parse(lab_node.read("/etc/containerd/conf.d/99-nvidia.toml")).unwrap()
    assert (drop_in["version"], drop_in["disabled_plugins"]) == (1, ["cri"])
    assert "nvidia" in drop_in["plugins"]["cri"]["containerd"]["runtimes"]


@one_generation
def test_nvidia_ctk_keeps_imports_that_are_there(lab_node: Node) -> None:
    lab_node.run("rm -r /etc/containerd/conf.d", check=True)
    lab_node.put(
        "/etc/containerd/config.toml", 'version = 3\nimports = [\n  "/etc/containerd/site/*.toml",\n]\n[plugins]\n'
    )
    for _ in range(2):
        lab_node.run("nvidia-ctk runtime configure --runtime=containerd", check=True)
    imports = tomlkit.parse(lab_node.read("/etc/containerd/config.toml")).unwrap()["imports"]
    assert imports == ["/etc/containerd/site/*.toml", "/etc/containerd/conf.d/*.toml"]


@reference
def test_the_drop_in_is_what_the_real_tool_wrote() -> None:
    """From a real node's configuration, the drop-in that the real nvidia-ctk made there (as TOML)."""
    variables = ("version=3", "name=nvidia", "path=/usr/bin/nvidia-container-runtime")
    ours = subprocess.run(
        ["awk", *(word for one in variables for word in ("-v", one)), "-f", packages.HERE / "drop-in.awk",
         REAL / "containerd-2.1.9-config-default.toml"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    real = tomlkit.parse((REAL / "99-nvidia.toml").read_text()).unwrap()
    assert tomlkit.parse(ours).unwrap() == real


def test_every_stand_in_says_what_it_stands_for_and_cannot_show() -> None:
    programs = [path for path in packages.HERE.iterdir() if path.suffix in {"", ".c", ".sh"}]
    assert programs
    for path in programs:
        assert re.search(r"Stands for: [\s\S]*Cannot show: ", path.read_text()), path.name
