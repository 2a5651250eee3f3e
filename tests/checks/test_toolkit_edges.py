"""What the toolkit's checks show beside their words (place, evidence, command), and nodes at the edges of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Where
from pytest_gpuready.views.toolkit import CONFIG
from tests.checks.test_toolkit import CONTAINERD, MOST, OPERATOR, healthy, operators
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    FAMILY,
    NAMES,
    config,
    containerd,
    debian,
    fedora,
    legacy,
    one,
    packages,
    record,
    says,
    toolkit,
    words,
)

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome

RUNTIME = "/usr/bin/nvidia-container-runtime"
CLI = "/usr/bin/nvidia-container-cli"
FOLDERS = "/usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin"


def evidence(found: Outcome) -> list[tuple[str, str]]:
    assert found.status != "unknown"
    return [(item.source, item.text) for item in found.evidence]


def commands(found: Outcome) -> tuple[str, ...]:
    assert found.status != "unknown"
    assert found.remedy is not None
    return found.remedy.commands


# ---------------------------------------------------------------------- installed


def test_where_no_package_owns_the_runtime_it_is_said_and_without_a_manager_nothing_is() -> None:
    assert one(packages(healthy(), owners={}), "toolkit.installed").found == f"{RUNTIME} (of no package)"
    unknown = healthy().answer(("packages of the toolkit",), "", state="timeout")
    assert one(unknown, "toolkit.installed").found == RUNTIME
    assert one(operators(), "toolkit.installed").found == f"{OPERATOR}/nvidia-container-runtime (the GPU operator's)"


def test_a_runtime_that_cannot_be_executed_is_shown_by_its_file() -> None:
    found = one(healthy().put(RUNTIME, b"\x7fELF"), "toolkit.installed")
    assert (found.found, found.where) == (f"{RUNTIME} is there and not executable", Where(RUNTIME))


def test_what_there_is_of_the_family_is_named_and_other_packages_are_not() -> None:
    node = containerd(debian(SimNode()))
    assert one(node, "toolkit.installed").found == "nvidia-container-runtime is not on the node"
    packages(node, "libnvidia-container1 1.18.2-1", "containerd 1.7.24", owners={})
    found = one(node, "toolkit.installed")
    assert found.found == (
        "nvidia-container-runtime is not on the node; of its family there is only libnvidia-container1 1.18.2-1"
    )
    assert commands(found)


# ---------------------------------------------------------------------- versions-match


def test_packages_of_one_version_are_all_named() -> None:
    found = one(healthy(), "toolkit.versions-match").found
    assert found == ", ".join(f"{name} 1.18.2-1" for name in FAMILY)


def test_packages_of_two_versions_are_the_evidence_and_only_the_family_counts() -> None:
    node = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "libnvidia-container1 1.13.5-1", "x 1.0")
    found = one(node, "toolkit.versions-match")
    assert evidence(found) == [
        ("installed packages", "nvidia-container-toolkit 1.17.8-1\nlibnvidia-container1 1.13.5-1")
    ]
    same = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "nvidia-docker2 2.13.0-1")
    assert one(same, "toolkit.versions-match").status == "pass"


def test_from_1_6_on_the_parts_have_one_version() -> None:
    node = packages(healthy(), "nvidia-container-toolkit 1.6.0-1", "libnvidia-container1 1.5.0-1")
    assert one(node, "toolkit.versions-match").status == "fail"


def test_programs_of_two_versions_are_the_evidence_and_others_folders_do_not_count() -> None:
    node = packages(healthy(), owners={})
    found = one(node, "toolkit.versions-match")
    assert found.status == "pass"
    assert "libnvidia-container.so.1 1.18.2" in found.found
    other = record("/opt/nvidia-ctk", words("nvidia-ctk", "1.13.0"))
    says(node, *[record(f"/usr/bin/{name}", words(name)) for name in NAMES], other)
    assert one(node, "toolkit.versions-match").status == "pass"
    old = words("nvidia-ctk", "1.13.0")
    says(node, *[record(f"/usr/bin/{name}", old if name == "nvidia-ctk" else words(name)) for name in NAMES])
    found = one(node, "toolkit.versions-match")
    assert found.status == "fail"
    assert found.evidence[0].source == "--version of each program"
    assert "nvidia-ctk 1.13.0" in found.evidence[0].text.splitlines()
    assert commands(found)


def test_programs_that_tell_no_version_leave_it_unknown() -> None:
    node = says(packages(healthy(), owners={}))
    assert one(node, "toolkit.versions-match").status == "unknown"


# ---------------------------------------------------------------------- config-valid


def test_a_sound_file_is_named_with_the_mode_in_force() -> None:
    found = one(healthy(), "toolkit.config-valid")
    assert (found.found, found.where) == (f"{CONFIG} (mode jit-cdi)", Where(CONFIG))
    gone = one(healthy().remove(CONFIG), "toolkit.config-valid")
    assert gone.found == f"{CONFIG} is not there: the built-in defaults hold (mode jit-cdi)"


def test_several_faults_are_all_told_the_first_is_mended_and_the_rest_is_evidence() -> None:
    node = config(healthy(), 'ldconfig = "@/sbin/ldconfig"', 'ldconfig = "/sbin/ldconfig"')
    config(node, 'runtimes = ["runc", "crun"]', "runtimes = []")
    found = one(node, "toolkit.config-valid")
    assert found.where == Where(CONFIG, 11)
    assert evidence(found) == [(f"{CONFIG}:22", "runtimes = []")]
    assert found.expected == ('a path that begins with @, such as "@/sbin/ldconfig"; at least one low-level runtime')
    # What no program can read at all is told alone.
    assert evidence(one(config(node, 'mode = "auto"', 'mode = "bogus"'), "toolkit.config-valid")) == []


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ('mode = "auto"', 'mode = "bogus"', '"auto"'),
        ('mode = "auto"', 'mode = "csv"', '"auto"'),
        ('runtimes = ["runc", "crun"]', "runtimes = []", '["runc", "crun"]'),
        ('#root = "/run/nvidia/driver"', 'root = "/run/nvidia/driver"', '"/"'),
        ("#accept-nvidia-visible-devices-envvar-when-unprivileged = true",
         "accept-nvidia-visible-devices-envvar-when-unprivileged = false", "true"),
    ],
)  # fmt: skip
def test_the_value_that_mends_a_line_is_typed_out(old: str, new: str, value: str) -> None:
    found = one(config(healthy(), old, new), "toolkit.config-valid")
    assert f"s|=.*|= {value}|" in commands(found)[0]


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("#no-cgroups = false", "no-cgroups = true", "false"),
        ('ldconfig = "@/sbin/ldconfig"', 'ldconfig = "@/opt/ldconfig"', '"@/sbin/ldconfig"'),
        ("compat32,compute,display,graphics,ngx,utility,video", "compute", '"compute,utility"'),
        ("compat32,compute,display,graphics,ngx,utility,video", "compute,teleport",
         '"compat32,compute,display,graphics,ngx,utility,video"'),
    ],
)  # fmt: skip
def test_in_legacy_mode_too(old: str, new: str, value: str) -> None:
    found = one(config(legacy(healthy()), old, new), "toolkit.config-valid")
    assert f"s|=.*|= {value}|" in commands(found)[0]


def test_the_nodes_own_ldconfig_is_the_one_that_is_written() -> None:
    node = config(healthy(), '"@/sbin/ldconfig"', '"/sbin/ldconfig"').program("/sbin/ldconfig.real")
    assert 's|=.*|= "@/sbin/ldconfig.real"|' in commands(one(node, "toolkit.config-valid"))[0]


@pytest.mark.parametrize("said", ["@/sbin/ldconfig.real", "@ldconfig"])
def test_an_ldconfig_that_the_hook_finds_is_sound(said: str) -> None:
    node = config(legacy(healthy()), '"@/sbin/ldconfig"', f'"{said}"')
    assert one(node, "toolkit.config-valid").status == "pass"
    ubuntu = config(legacy(healthy()), '"@/sbin/ldconfig"', '"@/sbin/ldconfig.real"').remove("/sbin/ldconfig")
    assert one(ubuntu.program("/sbin/ldconfig.real"), "toolkit.config-valid").status == "pass"


def test_an_ldconfig_of_the_containers_is_taken_where_the_feature_allows_it() -> None:
    node = config(healthy(), '"@/sbin/ldconfig"', '"/sbin/ldconfig"')
    config(node, "disable-require = false", "disable-require = false\nfeatures.allow-ldconfig-from-container = true")
    assert one(node, "toolkit.config-valid").status == "pass"


@pytest.mark.parametrize(
    ("old", "new", "found", "expected"),
    [
        ("environment = []", "environment = [1]", "nvidia-container-cli.environment = [1]", "a list of strings"),
        ("environment = []", 'environment = ["A=b"]', None, None),
        ("disable-require = false", "disable-require = 0", "disable-require = 0", "true or false"),
        ('mode = "auto"', "mode = true", "nvidia-container-runtime.mode = true; mode = true", None),
        ('mode = "auto"', "mode = false", "nvidia-container-runtime.mode = false; mode = false", None),
        ('log-level = "info"', "log-level = 1", "nvidia-container-runtime.log-level = 1", "a string"),
        ('spec-dirs = ["/etc/cdi", "/var/run/cdi"]', 'spec-dirs = "/etc/cdi"',
         'nvidia-container-runtime.modes.cdi.spec-dirs = "/etc/cdi"', "a list of strings"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_told_with_the_kind_that_is_wanted(
    old: str, new: str, found: str | None, expected: str | None
) -> None:
    outcome = one(config(healthy(), old, new), "toolkit.config-valid")
    assert outcome.status == ("pass" if found is None else "fail")
    if found is not None:
        assert outcome.found == found
        assert (expected or "one of auto, ") in str(outcome.expected)


def test_jit_cdi_came_with_1_18() -> None:
    old = config(containerd(toolkit(debian(SimNode()), "1.17.8")), 'mode = "auto"', 'mode = "jit-cdi"')
    found = one(old, "toolkit.config-valid")
    assert found.found == 'mode = "jit-cdi", which came with toolkit 1.18'
    assert 's|=.*|= "auto"|' in commands(found)[0]
    assert one(config(healthy(), 'mode = "auto"', 'mode = "jit-cdi"'), "toolkit.config-valid").status == "pass"
    silent = says(config(healthy(), 'mode = "auto"', 'mode = "jit-cdi"'))
    assert one(packages(silent, owners={}), "toolkit.config-valid").status == "pass"


def test_csv_is_right_on_a_tegra() -> None:
    node = config(healthy(), 'mode = "auto"', 'mode = "csv"').put("/etc/nv_tegra_release", "# R36\n")
    assert one(node, "toolkit.config-valid").status == "pass"


def test_a_root_that_is_there_is_sound() -> None:
    node = config(healthy(), '#root = "/run/nvidia/driver"', 'root = "/run/nvidia/driver"')
    assert one(node.folder("/run/nvidia/driver"), "toolkit.config-valid").status == "pass"
    slash = config(healthy(), '#root = "/run/nvidia/driver"', 'root = "/"')
    assert one(slash, "toolkit.config-valid").status == "pass"


def test_an_unprivileged_container_without_the_key_is_a_persons_to_mend() -> None:
    node = legacy(healthy()).put("/proc/self/uid_map", "0 100000 65536\n")
    found = one(node, "toolkit.config-valid")
    assert found.status == "fail"
    assert found.remedy is not None
    assert found.remedy.summary
    said = config(node, "#no-cgroups = false", "no-cgroups = false")
    assert "s|=.*|= true|" in commands(one(said, "toolkit.config-valid"))[0]


def test_capabilities_that_are_not_named_are_the_default_ones() -> None:
    line = 'supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"'
    assert one(config(legacy(healthy()), line, ""), "toolkit.config-valid").status == "pass"


def test_all_capabilities_and_spaces_among_them_are_sound() -> None:
    for said in ("all", "compute, utility", "compute,utility,"):
        node = config(legacy(healthy()), "compat32,compute,display,graphics,ngx,utility,video", said)
        assert one(node, "toolkit.config-valid").status == "pass", said


# ---------------------------------------------------------------------- runtime-works


def test_the_last_word_that_is_not_blank_is_the_reason_and_all_words_are_the_evidence() -> None:
    node = says(healthy(), record(RUNTIME, "first\nsh: 1: Exec format error\n \n", 126))
    found = one(node, "toolkit.runtime-works")
    assert found.found == f"{RUNTIME} --version ends with 126: sh: 1: Exec format error"
    assert found.evidence[0].source == f"{RUNTIME} --version"
    silent = one(says(healthy(), record(RUNTIME, "", 1)), "toolkit.runtime-works")
    assert silent.found == f"{RUNTIME} --version ends with 1: it says nothing"
    mute = one(says(healthy(), record(RUNTIME, "\n", 0)), "toolkit.runtime-works")
    assert mute.found == f"{RUNTIME} is no nvidia-container-runtime: {RUNTIME} --version says nothing"
    nobody = packages(says(healthy(), record(RUNTIME, "\n", 0)), owners={})
    assert one(nobody, "toolkit.runtime-works").found == f"{RUNTIME}: exit status 0"


@pytest.mark.parametrize(("said", "own"), [("error loading config: x", True), ("a config", False), ("an error", False)])
def test_a_configuration_that_it_does_not_take_is_corrected_and_anything_else_reinstalled(said: str, own: bool) -> None:  # noqa: FBT001
    found = one(says(healthy(), record(RUNTIME, said, 1)), "toolkit.runtime-works")
    assert (commands(found) == (f"{RUNTIME} --version",)) is own
    assert found.remedy is not None
    assert (CONFIG in found.remedy.summary) is own


def test_a_debug_log_names_the_command_to_type() -> None:
    node = says(healthy(), f"prog {RUNTIME}\nlogs {CONFIG}\n")
    remedy = one(node, "toolkit.runtime-works").remedy
    assert remedy is not None
    assert remedy.commands == (f"{RUNTIME} --version",)


def test_a_runtime_that_the_handler_names_and_that_is_not_there_is_the_handlers_affair() -> None:
    node = config(healthy(), RUNTIME, "/opt/gone/nvidia-container-runtime", path="/etc/containerd/config.toml")
    assert one(node, "toolkit.runtime-works", "cri-handler").status == "not-applicable"
    assert one(node, "toolkit.runtime-works", "ctr-runtime").status == "pass"


# ---------------------------------------------------------------------- low-level-runtime


def test_the_runtime_that_is_found_is_named_among_those_that_are_looked_for() -> None:
    assert one(healthy(), "toolkit.low-level-runtime").found == "/usr/bin/runc (of runc, crun)"


def test_where_none_is_found_the_folders_and_the_daemons_path_are_shown() -> None:
    found = one(healthy().remove("/usr/bin/runc"), "toolkit.low-level-runtime")
    assert found.found == f"none of runc, crun is in {FOLDERS}"
    assert found.where == Where(CONFIG, 22)
    assert evidence(found) == [("PATH of the daemon", FOLDERS.replace(", ", ":"))]
    bare = one(healthy().remove("/usr/bin/runc").remove(CONFIG), "toolkit.low-level-runtime")
    assert bare.where is None


def test_a_crun_elsewhere_is_offered_by_its_path() -> None:
    node = healthy().remove("/usr/bin/runc").program("/var/lib/k0s/bin/crun")
    found = one(node, "toolkit.low-level-runtime")
    assert found.remedy is not None
    assert found.remedy.commands == (
        f"""sudo sed -i '22s|=.*|= ["/var/lib/k0s/bin/crun", "runc", "crun"]|' {CONFIG}""",
    )


# ---------------------------------------------------------------------- container-cli


def test_the_clis_version_is_told_where_it_says_one() -> None:
    assert one(healthy(), "toolkit.container-cli", "ctr-gpus").found == f"{CLI} 1.18.2"
    assert one(says(healthy()), "toolkit.container-cli", "ctr-gpus").found == CLI


def test_each_client_has_its_own_words() -> None:
    node = containerd(toolkit(debian(SimNode()), names=MOST), "2.3.4")
    assert one(node, "toolkit.container-cli", "ctr-gpus").found == "this ctr gives GPUs by CDI"
    assert one(node, "toolkit.container-cli", "nerdctl").found == "this nerdctl gives GPUs by CDI"
    node.program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.3.0\n")
    assert one(node, "toolkit.container-cli", "nerdctl").status == "not-applicable"
    node.answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    found = one(node, "toolkit.container-cli", "nerdctl")
    assert (found.status, found.found) == ("fail", "nvidia-container-cli is not on the node")
    assert evidence(found) == [("PATH", FOLDERS.replace(", ", ":"))]
    assert any("libnvidia-container-tools" in command or "toolkit" in command for command in commands(found))


def test_nerdctl_with_a_cli_off_path_gets_its_own_command() -> None:
    node = operators().program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    found = one(node, "toolkit.container-cli", "nerdctl")
    assert found.found == f"{OPERATOR}/nvidia-container-cli is not on PATH"
    assert commands(found)[0].endswith("nerdctl run --rm --gpus all IMAGE nvidia-smi")


def test_legacy_mode_says_where_it_looked() -> None:
    found = one(legacy(containerd(toolkit(debian(SimNode()), names=MOST))), "toolkit.container-cli", "cri-handler")
    assert (found.found, found.where) == (f"nvidia-container-cli is not in {FOLDERS}", None)
    assert commands(found)
    named = config(legacy(healthy()), '#path = "/usr/bin/nvidia-container-cli"', 'path = "/opt/nvidia-container-cli"')
    assert one(named, "toolkit.container-cli", "cri-handler").found == "/opt/nvidia-container-cli is not there"
    jit = one(healthy(), "toolkit.container-cli", "cri-handler")
    assert jit.found == "mode jit-cdi does not use nvidia-container-cli"


def test_what_the_cli_says_is_the_evidence_of_its_failure() -> None:
    found = one(says(healthy(), record(CLI, "boom", 127)), "toolkit.container-cli", "ctr-gpus")
    assert evidence(found) == [(f"{CLI} --version", "boom")]
    assert commands(found)


def test_1_17_7_fails_under_ctr_alone_and_is_upgraded() -> None:
    node = containerd(toolkit(debian(SimNode()), "1.17.7"))
    found = one(node, "toolkit.container-cli", "ctr-gpus")
    assert found.found == f"{CLI} is 1.17.7, which fails when ctr calls it"
    assert evidence(found)[0][0] == f"{CLI} --version"
    assert any("nvidia-container-toolkit" in command for command in commands(found))
    assert one(legacy(node), "toolkit.container-cli", "cri-handler").status == "pass"


# ---------------------------------------------------------------------- hook


def test_the_hook_of_each_mode_is_named() -> None:
    assert one(legacy(healthy()), "toolkit.hook").found == "mode legacy: /usr/bin/nvidia-container-runtime-hook"
    assert one(healthy(), "toolkit.hook").found == (
        "mode jit-cdi: /usr/bin/nvidia-ctk, and nvidia-cdi-hook for specs on disk"
    )
    cdi = config(healthy(), 'mode = "auto"', 'mode = "cdi"').remove("/usr/bin/nvidia-ctk")
    assert one(cdi, "toolkit.hook").found == "mode cdi: the specs name their hooks (cdi.spec-current)"


def test_without_nvidia_cdi_hook_specs_on_disk_are_in_danger_from_1_16_on() -> None:
    found = one(healthy().remove("/usr/bin/nvidia-cdi-hook"), "toolkit.hook")
    assert found.status == "warn"
    assert commands(found)
    own = config(healthy(), '[nvidia-ctk]\npath = "nvidia-ctk"', '[nvidia-ctk]\npath = "nvidia-cdi-hook2"')
    own.program("/usr/bin/nvidia-cdi-hook2").remove("/usr/bin/nvidia-cdi-hook")
    assert one(own, "toolkit.hook").status == "pass"
    old = containerd(toolkit(debian(SimNode()), "1.15.0", names=MOST)).remove("/usr/bin/nvidia-cdi-hook")
    node = config(old, 'mode = "auto"', 'mode = "csv"').put("/etc/nv_tegra_release", "# R36\n")
    assert one(node, "toolkit.hook").status == "pass"


def test_a_hook_that_is_not_there_is_shown_by_where_it_was_looked_for() -> None:
    found = one(legacy(containerd(toolkit(debian(SimNode()), names=MOST))), "toolkit.hook")
    assert found.found == "mode legacy needs nvidia-container-runtime-hook, and it is not there"
    assert found.expected == f"nvidia-container-runtime-hook in {FOLDERS}"
    ctk = config(healthy(), '[nvidia-ctk]\npath = "nvidia-ctk"', '[nvidia-ctk]\npath = "/opt/nvidia-ctk"')
    assert one(ctk, "toolkit.hook").expected == "/opt/nvidia-ctk"
    bare = one(healthy().remove(CONFIG).remove("/usr/bin/nvidia-ctk"), "toolkit.hook")
    assert (bare.found, bare.where) == ("mode jit-cdi needs nvidia-ctk, and it is not there", None)


# ---------------------------------------------------------------------- advice


def test_what_survives_a_reload_says_why() -> None:
    check = "toolkit.survives-daemon-reload"
    assert one(healthy(), check).found == "mode jit-cdi tells runc of every device"
    node = legacy(healthy()).link("/dev/char/195:0", "/dev/nvidia0")
    assert one(node, check).found == "1 links, such as /dev/char/195:0"
    plain = config(
        legacy(healthy()), "SystemdCgroup = true", "SystemdCgroup = false", path="/etc/containerd/config.toml"
    )
    assert one(plain, check).found == "the handler does not use systemd's cgroups"
    plain.put("/etc/containerd/config.toml", "version = 3\n")
    assert one(plain, check).found == "the handler does not use systemd's cgroups"
    bare = legacy(healthy()).remove("/usr/bin/nvidia-ctk")
    assert commands(one(bare, check))[0].startswith("sudo /usr/bin/nvidia-ctk system create-dev-char-symlinks")


@pytest.mark.parametrize(
    ("version", "daemon", "expected"),
    [
        ("1.13.5", "2.1.9", "1.14.0 or later"),
        ("1.14.6", "2.1.9", "1.17.4 or later"),
        ("1.18.0", "2.1.9", "1.18.1 or later"),
    ],
)
def test_the_toolkit_that_would_do_is_named_and_upgraded_to(version: str, daemon: str, expected: str) -> None:
    node = containerd(toolkit(debian(SimNode()), version), daemon)
    found = one(node, "toolkit.supports-containerd")
    assert found.expected == expected
    assert all(name in commands(found)[0] for name in FAMILY)
    packages(node, owners={})
    assert "nvidia-container-toolkit" in " ".join(commands(one(node, "toolkit.supports-containerd")))
    new = one(containerd(toolkit(debian(SimNode()), "1.18.1"), daemon), "toolkit.supports-containerd")
    assert new.found == "nvidia-ctk 1.18.1 knows containerd 2.1.9"


def test_an_open_toolkit_says_which_fixes_it_lacks() -> None:
    found = one(containerd(toolkit(debian(SimNode()), "1.17.7")), "toolkit.not-vulnerable")
    assert str(found.expected).startswith("the fixes of ")
    assert "1.17.8" in str(found.expected)
    assert "CVE-2025-23266: " in found.evidence[0].text
    loose = packages(containerd(toolkit(debian(SimNode()), "1.17.7")), owners={})
    assert commands(one(loose, "toolkit.not-vulnerable"))


@pytest.mark.parametrize(
    ("manager", "distribution", "how"),
    [("deb", debian, "apt-get changelog"), ("rpm", fedora, "dnf updateinfo list --security")],
)
def test_each_distribution_is_asked_in_its_own_way(manager: str, distribution: object, how: str) -> None:
    assert callable(distribution)
    node = containerd(toolkit(distribution(SimNode()), "1.17.7"))
    packages(node, *[f"{name} 1.17.7-3" for name in FAMILY], manager=manager, vendor="Somebody")
    assert how in one(node, "toolkit.not-vulnerable").found


def test_suse_is_asked_by_zypper() -> None:
    node = containerd(toolkit(SimNode().program("/usr/bin/zypper").put("/etc/os-release", "ID=sles\n"), "1.17.7"))
    packages(node, *[f"{name} 1.17.7-3" for name in FAMILY], manager="rpm", vendor="SUSE LLC")
    assert "zypper list-patches --cve" in one(node, "toolkit.not-vulnerable").found


def test_a_build_that_says_no_vendor_is_judged_by_its_number() -> None:
    node = containerd(toolkit(debian(SimNode()), "1.17.7"))
    packages(node, *[f"{name} 1.17.7-3" for name in FAMILY], vendor="")
    assert one(node, "toolkit.not-vulnerable").status == "warn"


def test_a_containerd_of_nobody_we_know_is_asked_of_its_builder() -> None:
    node = packages(containerd(toolkit(debian(SimNode())), "1.7.24"), owners={})
    node.answer(("containerd", "--version"), "containerd containerd 1.7.24~mine abc\n")
    found = one(node, CONTAINERD)
    assert (found.status, "ask who built it" in found.found) == ("not-applicable", True)


def test_an_open_containerd_is_upgraded_by_its_package_or_by_hand() -> None:
    node = containerd(toolkit(debian(SimNode())), "1.7.24")
    assert one(node, CONTAINERD).remedy is not None
    owners = {"/usr/bin/containerd": "containerd.io"}
    packages(node, "containerd.io 1.7.24-1", vendor="Containerd team", owners=owners)
    assert "containerd.io" in commands(one(node, CONTAINERD))[-1]
