"""The toolkit's checks, each on nodes that pass it and on nodes that fail it."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Consequence, Where
from pytest_gpuready.views.toolkit import CONFIG, OPERATOR_CONFIG
from tests.support import cdi
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    DEFAULT_CONFIG,
    FAMILY,
    NAMES,
    ask,
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

OPERATOR = "/usr/local/nvidia/toolkit"
WORKS = "toolkit.runtime-works"
MOST = ("nvidia-container-runtime", "nvidia-ctk", "nvidia-cdi-hook")


def healthy() -> SimNode:
    return containerd(toolkit(debian(SimNode())))


def operators(version: str = "1.18.2", mode: str = "auto") -> SimNode:
    """A node on which the GPU operator has installed the toolkit."""
    node = toolkit(debian(SimNode()), version, folder=OPERATOR).remove(CONFIG)
    packages(node, owners={})
    node.put(OPERATOR_CONFIG, DEFAULT_CONFIG.replace('mode = "auto"', f'mode = "{mode}"'))
    containerd(node)
    return config(
        node,
        "/usr/bin/nvidia-container-runtime",
        f"{OPERATOR}/nvidia-container-runtime",
        path="/etc/containerd/config.toml",
    )


def test_every_check_of_the_family_passes_on_a_healthy_node() -> None:
    for name in ("installed", "versions-match", "config-valid", "runtime-works", "low-level-runtime", "hook"):
        outcome = one(healthy(), f"toolkit.{name}")
        assert outcome.status == "pass", (name, outcome)


class TestInstalled:
    def test_a_pass_names_the_file_and_its_package(self) -> None:
        found = one(healthy(), "toolkit.installed").found
        assert found == "/usr/bin/nvidia-container-runtime (package nvidia-container-toolkit-base 1.18.2-1)"

    def test_the_operators_folder_counts(self) -> None:
        assert "operator" in one(operators(), "toolkit.installed").found

    def test_a_runtime_where_only_the_handler_knows_of_it_counts(self) -> None:
        node = healthy().remove("/usr/bin/nvidia-container-runtime").program("/srv/nv/nvidia-container-runtime")
        config(
            node,
            "/usr/bin/nvidia-container-runtime",
            "/srv/nv/nvidia-container-runtime",
            path="/etc/containerd/config.toml",
        )
        assert one(node, "toolkit.installed").found.startswith("/srv/nv/nvidia-container-runtime")

    def test_a_missing_runtime_fails_with_the_command_that_installs_it(self) -> None:
        node = containerd(fedora(SimNode()))
        packages(node, "libnvidia-container1 1.18.2-1", manager="rpm", owners={})
        outcome = one(node, "toolkit.installed")
        assert outcome.status == "fail"
        assert "libnvidia-container1" in outcome.found
        assert outcome.remedy is not None
        assert outcome.remedy.commands == ("sudo dnf install -y nvidia-container-toolkit",)

    def test_a_runtime_that_is_not_executable_fails_with_chmod(self) -> None:
        outcome = one(healthy().put("/usr/bin/nvidia-container-runtime", b"\x7fELF"), "toolkit.installed")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert outcome.remedy.commands == ("sudo chmod 0755 /usr/bin/nvidia-container-runtime",)

    def test_absence_of_nvidia_ctk_is_no_fault(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=("nvidia-container-runtime",)))
        assert one(node, "toolkit.installed").status == "pass"


class TestVersionsMatch:
    def test_an_old_library_beside_a_new_toolkit_fails(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "libnvidia-container1 1.13.5-1")
        outcome = one(node, "toolkit.versions-match")
        assert outcome.status == "fail"
        assert "1.13.5" in outcome.found
        assert outcome.remedy is not None
        assert "--only-upgrade" in outcome.remedy.commands[0]

    def test_releases_of_one_version_that_differ_in_their_packaging_match(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.17.8-1", "libnvidia-container1 1:1.17.8-2")
        assert one(node, "toolkit.versions-match").status == "pass"

    def test_before_1_6_the_parts_had_versions_of_their_own(self) -> None:
        node = packages(healthy(), "nvidia-container-toolkit 1.5.1-1", "libnvidia-container1 1.4.0-1")
        assert one(node, "toolkit.versions-match").status == "pass"

    def test_files_of_no_package_are_asked_themselves(self) -> None:
        node = packages(healthy(), owners={})
        assert "no package" in one(node, "toolkit.versions-match").found
        cli = words("nvidia-container-cli").replace("lib-version: 1.18.2", "lib-version: 1.13.5")
        says(node, *[record(f"/usr/bin/{n}", cli if n == "nvidia-container-cli" else words(n)) for n in NAMES])
        outcome = one(node, "toolkit.versions-match")
        assert outcome.status == "fail"
        assert "libnvidia-container.so.1 1.13.5" in outcome.found


class TestConfigValid:
    @pytest.mark.parametrize(
        ("old", "new", "line", "words_"),
        [
            ('mode = "auto"', 'mode = "bogus"', 21, "bogus"),
            ('mode = "auto"', 'mode = ""', 21, 'mode = ""'),
            ('mode = "auto"', 'mode = "csv"', 21, "no Tegra"),
            ('ldconfig = "@/sbin/ldconfig"', 'ldconfig = "/sbin/ldconfig"', 11, "not host-relative"),
            ('runtimes = ["runc", "crun"]', "runtimes = []", 22, "runtimes = []"),
            ('#root = "/run/nvidia/driver"', 'root = "/run/nvidia/driver"', 15, "no driver is there"),
            ("load-kmods = true", 'load-kmods = "true"', 12, "load-kmods"),
            ('log-level = "info"', "log-level = info", 20, "no TOML"),
        ],
    )
    def test_a_bad_line_fails_and_is_shown(self, old: str, new: str, line: int, words_: str) -> None:
        outcome = one(config(healthy(), old, new), "toolkit.config-valid")
        assert outcome.status == "fail"
        assert words_ in outcome.found
        assert outcome.where == Where(CONFIG, line)

    @pytest.mark.parametrize(
        ("old", "new", "words_"),
        [
            ("#no-cgroups = false", "no-cgroups = true", "no-cgroups"),
            ('ldconfig = "@/sbin/ldconfig"', 'ldconfig = "@/opt/ldconfig"', "not there"),
            (
                'supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"',
                'supported-driver-capabilities = "compute"',
                "without utility",
            ),
            (
                'supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"',
                'supported-driver-capabilities = "compute,utility,teleport"',
                "teleport",
            ),
        ],
    )
    def test_what_only_breaks_legacy_mode_fails_there_alone(self, old: str, new: str, words_: str) -> None:
        assert one(config(healthy(), old, new), "toolkit.config-valid").status == "pass"
        outcome = one(config(legacy(healthy()), old, new), "toolkit.config-valid")
        assert outcome.status == "fail"
        assert words_ in outcome.found

    def test_no_cgroups_is_right_in_an_unprivileged_container(self) -> None:
        node = config(legacy(healthy()), "#no-cgroups = false", "no-cgroups = true").put(
            "/proc/self/uid_map", "0 100000 65536\n"
        )
        assert one(node, "toolkit.config-valid").status == "pass"
        outcome = one(config(node, "no-cgroups = true", "no-cgroups = false"), "toolkit.config-valid")
        assert outcome.status == "fail"
        assert "unprivileged container" in outcome.found

    def test_refusing_the_variable_breaks_ctr_and_not_pods_that_use_volume_mounts(self) -> None:
        node = config(
            healthy(),
            "#accept-nvidia-visible-devices-envvar-when-unprivileged = true",
            "accept-nvidia-visible-devices-envvar-when-unprivileged = false",
        )
        assert one(node, "toolkit.config-valid").status == "fail"
        config(
            node,
            "#accept-nvidia-visible-devices-as-volume-mounts = false",
            "accept-nvidia-visible-devices-as-volume-mounts = true",
        )
        assert one(node, "toolkit.config-valid", "ctr-runtime").status == "fail"
        assert one(node, "toolkit.config-valid", "cri-handler").status == "pass"

    def test_the_remedy_is_one_sed_command_that_was_tried_on_a_copy(self) -> None:
        outcome = one(config(healthy(), '"@/sbin/ldconfig"', '"/sbin/ldconfig"'), "toolkit.config-valid")
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (f"sudo sed -i '11s|=.*|= \"@/sbin/ldconfig\"|' {CONFIG}",)
        assert '+ldconfig = "@/sbin/ldconfig"' in outcome.remedy.edits[0].diff

    def test_ldconfig_without_at_was_taken_before_1_17_3(self) -> None:
        node = containerd(toolkit(debian(SimNode()), "1.17.2"))
        assert one(config(node, '"@/sbin/ldconfig"', '"/sbin/ldconfig"'), "toolkit.config-valid").status == "pass"

    def test_no_file_means_the_defaults_and_passes(self) -> None:
        outcome = one(healthy().remove(CONFIG), "toolkit.config-valid")
        assert outcome.status == "pass"
        assert "defaults" in outcome.found

    def test_the_operators_runtime_has_a_file_of_its_own(self) -> None:
        outcome = one(operators(mode="bogus"), "toolkit.config-valid", "cri-handler")
        assert outcome.where == Where(OPERATOR_CONFIG, 21)

    def test_a_folder_in_its_place_is_put_aside(self) -> None:
        node = healthy().remove(CONFIG).folder(CONFIG)
        outcome = one(node, "toolkit.config-valid")
        assert outcome.status == "fail"
        assert "folder" in outcome.found
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (f"sudo mv {CONFIG} {CONFIG}.disabled",)

    def test_legacy_mode_opens_the_loaders_cache_that_is_named(self) -> None:
        node = config(healthy(), '#ldcache = "/etc/ld.so.cache"', 'ldcache = "/opt/ld.so.cache"')
        assert one(node, "toolkit.config-valid").status == "pass"
        legacy(node)
        outcome = one(node, "toolkit.config-valid")
        assert outcome.found == 'ldcache = "/opt/ld.so.cache", and that file is not there'
        assert outcome.where == Where(CONFIG, 10)
        assert one(node.put("/opt/ld.so.cache", ""), "toolkit.config-valid").status == "pass"

    def test_a_default_kind_of_which_there_is_no_spec(self) -> None:
        """NVIDIA_VISIBLE_DEVICES=all means a device of that kind, in mode cdi alone."""
        node = config(cdi.cdi(healthy()), 'default-kind = "nvidia.com/gpu"', 'default-kind = "example.com/gpu"')
        assert one(node, "toolkit.config-valid").status == "pass"
        config(node, 'mode = "auto"', 'mode = "cdi"')
        outcome = one(node, "toolkit.config-valid")
        assert outcome.status == "fail"
        assert outcome.where == Where(CONFIG, 28)
        assert outcome.remedy is not None
        assert 'default-kind = "nvidia.com/gpu"' in outcome.remedy.summary
        node.put("/etc/cdi/odd.yaml", "no spec")
        assert one(node, "toolkit.config-valid").status == "fail"
        node.put("/etc/cdi/other.yaml", cdi.spec().replace("nvidia.com/gpu", "example.com/gpu"))
        assert one(node, "toolkit.config-valid").status == "pass"
        bare = config(healthy(), 'default-kind = "nvidia.com/gpu"', 'default-kind = "example.com/gpu"')
        assert one(config(bare, 'mode = "auto"', 'mode = "cdi"'), "toolkit.config-valid").status == "pass"

    @pytest.mark.parametrize("line", ["", 'default-kind = "nvidia.com/gpu"'])
    def test_the_default_kind_of_the_specs_that_are_there_is_sound(self, line: str) -> None:
        node = config(cdi.cdi(healthy()), 'default-kind = "nvidia.com/gpu"', line)
        assert one(config(node, 'mode = "auto"', 'mode = "cdi"'), "toolkit.config-valid").status == "pass"

    def test_a_runtime_that_would_start_itself(self) -> None:
        node = config(
            healthy(), 'runtimes = ["runc", "crun"]', 'runtimes = ["/usr/bin/nvidia-container-runtime", "runc"]'
        )
        outcome = one(node, "toolkit.config-valid")
        assert outcome.status == "fail"
        assert "starts itself" in outcome.found
        assert outcome.where == Where(CONFIG, 22)
        assert outcome.remedy is not None
        assert 'runtimes = ["runc", "crun"]' in outcome.remedy.summary
        node = config(
            healthy(), 'runtimes = ["runc", "crun"]', 'runtimes = ["runc", "/usr/bin/nvidia-container-runtime"]'
        )
        assert one(node, "toolkit.config-valid").status == "pass"

    @pytest.mark.parametrize(
        ("variable", "value", "path"),
        [
            ("toolkit_config", "/opt/nvidia.toml", "/opt/nvidia.toml"),
            ("config_home", "/opt", "/opt/nvidia-container-runtime/config.toml"),
        ],
    )
    def test_the_daemons_environment_names_another_file(self, variable: str, value: str, path: str) -> None:
        """The runtime inherits it; what is in /etc is read by nobody."""
        node = healthy().put(path, DEFAULT_CONFIG.replace('"auto"', '"bogus"'))
        setattr(node.procs[0], variable, value)
        outcome = one(node, "toolkit.config-valid", "cri-handler")
        assert outcome.where == Where(path, 21)
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (f"sudo sed -i '21s|=.*|= \"auto\"|' {path}",)

    def test_before_1_18_only_the_folder_can_be_another(self) -> None:
        node = containerd(toolkit(debian(SimNode()), "1.17.8"))
        node.procs[0].toolkit_config = "/opt/nvidia.toml"
        assert one(node, "toolkit.config-valid", "cri-handler").where == Where(CONFIG)
        node.procs[0].toolkit_config, node.procs[0].config_home = "relative.toml", "relative"
        assert one(node, "toolkit.config-valid", "cri-handler").where == Where(CONFIG)


class TestRuntimeWorks:
    def test_a_pass_shows_what_it_said(self) -> None:
        outcome = one(healthy(), "toolkit.runtime-works")
        assert "NVIDIA Container Runtime version 1.18.2" in outcome.found
        assert outcome.evidence[0].source == "/usr/bin/nvidia-container-runtime --version"

    def test_its_own_words_are_the_evidence_of_a_failure(self) -> None:
        text = (
            words("nvidia-container-runtime").split("\n\n", maxsplit=1)[0]
            + "\n"
            + ('time="2026-01-01T00:00:00Z" level=error msg="error loading config: unable to read \\"x\\""')
        )
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", text, 1))
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "fail"
        assert 'error loading config: unable to read "x"' in outcome.found
        assert outcome.evidence[0].text == text

    def test_a_program_of_another_architecture_is_to_be_reinstalled(self) -> None:
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", "sh: 1: Exec format error", 126))
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert any("nvidia-container-toolkit" in command for command in outcome.remedy.commands)

    @pytest.mark.parametrize(
        ("text", "said"),
        [("runc version 1.3.6\ncommit: v1.3.6-0-g\nspec: 1.2.1", "'runc version 1.3.6'"), ("", "nothing")],
    )
    def test_another_program_under_its_name_brings_no_gpu(self, text: str, said: str) -> None:
        """A link to runc, or to true: containers start without a GPU, and without an error."""
        path = "/usr/bin/nvidia-container-runtime"
        outcome = one(says(healthy(), record(path, text), record("/usr/bin/nvidia-ctk", words("nvidia-ctk"))), WORKS)
        assert outcome.status == "fail"
        assert outcome.found == f"{path} is no nvidia-container-runtime: {path} --version says {said}"
        assert outcome.where == Where(path)
        assert outcome.remedy is not None
        assert "--reinstall nvidia-container-toolkit-base" in outcome.remedy.commands[0]

    def test_up_to_1_9_it_says_no_words_of_its_own(self) -> None:
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", "runc version 1.0.3\nspec: 1.0.2"))
        packages(node, *(f"{name} 1.9.0-1" for name in FAMILY))
        assert one(node, WORKS).status == "pass"

    def test_a_missing_runc_is_the_low_level_runtimes_affair(self) -> None:
        text = words("nvidia-container-runtime") + "\nno runtime binary found from candidate list: [runc crun]"
        node = says(healthy(), record("/usr/bin/nvidia-container-runtime", text, 1)).remove("/usr/bin/runc")
        with pytest.raises(Consequence, match=r"toolkit\.low-level-runtime"):
            # by_route lets what is no answer of a single route pass through
            ask(node, "toolkit.runtime-works")
        assert one(node, "toolkit.low-level-runtime").status == "fail"

    def test_the_operators_wrapper_without_a_driver_says_nothing_of_the_toolkit(self) -> None:
        node = operators()
        text = "nvidia driver modules are not yet loaded, invoking runc directly\nrunc version 1.3.6"
        says(node, record(f"{OPERATOR}/nvidia-container-runtime", text))
        with pytest.raises(Consequence, match=r"driver\.module-loaded"):
            ask(node, "toolkit.runtime-works")

    def test_a_debug_log_keeps_an_old_runtime_from_being_asked(self) -> None:
        node = says(healthy(), f"prog /usr/bin/nvidia-container-runtime\nlogs {CONFIG}\n")
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "unknown"
        assert "debug log" in outcome.found

    def test_silence_is_unknown(self) -> None:
        node = healthy().answer(("versions of the toolkit's programs",), "", state="timeout")
        outcome = one(node, "toolkit.runtime-works")
        assert outcome.status == "unknown"


class TestLowLevelRuntime:
    def test_crun_alone_suffices(self) -> None:
        assert (
            one(healthy().remove("/usr/bin/runc").program("/usr/bin/crun"), "toolkit.low-level-runtime").status
            == "pass"
        )

    def test_none_fails_and_installs_runc(self) -> None:
        node = healthy().remove("/usr/bin/runc")
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert "apt-get install -y runc" in outcome.remedy.commands[0]

    def test_a_list_that_has_only_what_is_not_there_is_set_right(self) -> None:
        node = config(healthy(), 'runtimes = ["runc", "crun"]', 'runtimes = ["docker-runc"]')
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.remedy is not None
        assert "runc" in outcome.remedy.commands[0]
        assert one(node, "containerd.runc", "cri-handler").status == "pass"

    def test_only_the_daemons_path_counts(self) -> None:
        node = containerd(toolkit(debian(SimNode())).remove("/usr/bin/runc").program("/var/lib/k0s/bin/runc"))
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert "/var/lib/k0s/bin/runc" in outcome.remedy.summary
        node = containerd(
            toolkit(debian(SimNode())).remove("/usr/bin/runc").program("/data/k3s/bin/runc"),
            path="/data/k3s/bin:/usr/bin",
        )
        assert one(node, "toolkit.low-level-runtime").found.startswith("/data/k3s/bin/runc")

    def test_a_name_of_ones_own_is_looked_for(self) -> None:
        node = config(healthy(), 'runtimes = ["runc", "crun"]', 'runtimes = ["youki"]')
        outcome = one(node, "toolkit.low-level-runtime")
        assert outcome.status == "fail"
        assert outcome.where == Where(CONFIG, 22)
        assert one(node.program("/usr/local/bin/youki"), "toolkit.low-level-runtime").status == "pass"


class TestContainerCli:
    def test_ctr_up_to_2_2_needs_it_on_path(self) -> None:
        assert one(healthy(), "toolkit.container-cli", "ctr-gpus").status == "pass"
        node = containerd(toolkit(debian(SimNode()), names=MOST))
        outcome = one(node, "toolkit.container-cli", "ctr-gpus")
        assert outcome.status == "fail"
        assert "not on the node" in outcome.found

    def test_ctr_from_2_3_on_does_not(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=MOST), "2.3.4")
        assert one(node, "toolkit.container-cli", "ctr-gpus").status == "not-applicable"

    def test_the_operators_is_not_on_path_and_the_remedy_extends_it(self) -> None:
        outcome = one(operators(), "toolkit.container-cli", "ctr-gpus")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (
            f'sudo env PATH="$PATH:"{OPERATOR} ctr run --rm --gpus 0 IMAGE ID nvidia-smi',
        )

    def test_legacy_mode_needs_it_on_the_daemons_path_and_jit_cdi_does_not(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=MOST))
        assert one(node, "toolkit.container-cli", "cri-handler").status == "not-applicable"
        outcome = one(legacy(node), "toolkit.container-cli", "cri-handler")
        assert outcome.status == "fail"
        assert outcome.remedy is not None
        assert outcome.remedy.commands == ("sudo apt-get install -y --reinstall libnvidia-container-tools",)
        assert one(legacy(healthy()), "toolkit.container-cli", "cri-handler").status == "pass"
        assert one(operators(mode="legacy"), "toolkit.container-cli", "cri-handler").status == "pass"

    def test_a_path_in_the_configuration_is_the_one_that_counts(self) -> None:
        node = config(
            legacy(healthy()), '#path = "/usr/bin/nvidia-container-cli"', 'path = "/opt/nvidia-container-cli"'
        )
        outcome = one(node, "toolkit.container-cli", "cri-handler")
        assert outcome.status == "fail"
        assert outcome.where == Where(CONFIG, 14)
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (f"sudo sed -i '14s|=.*|= \"/usr/bin/nvidia-container-cli\"|' {CONFIG}",)

    def test_1_17_7_fails_under_ctr(self) -> None:
        assert (
            one(containerd(toolkit(debian(SimNode()), "1.17.7")), "toolkit.container-cli", "ctr-gpus").status == "fail"
        )

    def test_one_that_does_not_run_fails_with_its_words(self) -> None:
        text = "nvidia-container-cli: error while loading shared libraries: libnvidia-container.so.1: cannot open"
        node = says(healthy(), record("/usr/bin/nvidia-container-cli", text, 127))
        outcome = one(node, "toolkit.container-cli", "ctr-gpus")
        assert outcome.status == "fail"
        assert "libnvidia-container.so.1" in outcome.found


class TestHook:
    def test_only_the_base_package_and_legacy_mode_fails(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=MOST))
        assert one(node, "toolkit.hook").status == "pass"
        outcome = one(legacy(node), "toolkit.hook")
        assert outcome.status == "fail"
        assert "nvidia-container-runtime-hook" in outcome.found
        assert outcome.remedy is not None
        assert "nvidia-container-toolkit" in outcome.remedy.commands[-1]

    def test_jit_cdi_needs_the_program_that_the_configuration_names(self) -> None:
        node = config(healthy(), '[nvidia-ctk]\npath = "nvidia-ctk"', '[nvidia-ctk]\npath = "/opt/nvidia-ctk"')
        outcome = one(node, "toolkit.hook")
        assert outcome.status == "fail"
        assert outcome.where == Where(CONFIG, 42)
        assert outcome.remedy is not None
        assert outcome.remedy.commands == (f"sudo sed -i '42s|=.*|= \"nvidia-ctk\"|' {CONFIG}",)
        assert one(node.program("/opt/nvidia-ctk"), "toolkit.hook").status == "pass"

    def test_in_mode_cdi_the_specs_name_the_hooks(self) -> None:
        assert one(config(healthy(), 'mode = "auto"', 'mode = "cdi"'), "toolkit.hook").status == "pass"


class TestAdvisory:
    def test_legacy_mode_with_systemd_cgroups_wants_links_below_dev_char(self) -> None:
        assert one(healthy(), "toolkit.survives-daemon-reload").status == "pass"
        node = legacy(healthy())
        outcome = one(node, "toolkit.survives-daemon-reload")
        assert outcome.status == "warn"
        assert outcome.remedy is not None
        assert "create-dev-char-symlinks" in outcome.remedy.commands[0]
        assert "tee /etc/udev/rules.d/" in outcome.remedy.commands[1]
        assert one(node.link("/dev/char/195:0", "/dev/nvidia0"), "toolkit.survives-daemon-reload").status == "pass"

    def test_without_systemd_cgroups_there_is_nothing_to_survive(self) -> None:
        node = config(
            legacy(healthy()), "SystemdCgroup = true", "SystemdCgroup = false", path="/etc/containerd/config.toml"
        )
        assert one(node, "toolkit.survives-daemon-reload").status == "pass"

    @pytest.mark.parametrize(
        ("version", "daemon", "status"),
        [
            ("1.13.5", "1.7.24", "warn"),
            ("1.14.6", "1.7.24", "pass"),
            ("1.14.6", "2.1.9", "warn"),
            ("1.17.4", "2.1.9", "pass"),
            ("1.18.0", "1.7.24", "warn"),
            ("1.20.0", "2.3.4", "pass"),
        ],
    )
    def test_which_toolkit_writes_which_containerds_configuration(self, version: str, daemon: str, status: str) -> None:
        assert (
            one(containerd(toolkit(debian(SimNode()), version), daemon), "toolkit.supports-containerd").status == status
        )

    def test_without_nvidia_ctk_nothing_is_written(self) -> None:
        node = containerd(toolkit(debian(SimNode()), names=("nvidia-container-runtime",)))
        assert one(node, "toolkit.supports-containerd").status == "not-applicable"


CONTAINERD = "containerd.not-vulnerable"


class TestNotVulnerable:
    def test_an_old_toolkit_warns_with_the_advisories_and_their_date(self) -> None:
        outcome = one(containerd(toolkit(debian(SimNode()), "1.17.7")), "toolkit.not-vulnerable")
        assert outcome.status == "warn"
        assert "CVE-2025-23266" in outcome.found
        assert "CVE-2024-0132" not in outcome.found
        assert "2026" in outcome.evidence[0].source
        assert outcome.remedy is not None
        assert "nvidia-container-toolkit" in outcome.remedy.commands[0]

    def test_a_new_one_passes(self) -> None:
        assert one(healthy(), "toolkit.not-vulnerable").status == "pass"

    def test_the_setting_that_keeps_one_off_counts(self) -> None:
        node = containerd(toolkit(debian(SimNode()), "1.17.7"))
        config(node, "disable-require = false", "disable-require = false\nfeatures.disable-cuda-compat-lib-hook = true")
        assert "CVE-2025-23266" not in one(node, "toolkit.not-vulnerable").found

    def test_a_distributions_build_is_not_judged_by_its_number(self) -> None:
        node = containerd(toolkit(fedora(SimNode()), "1.17.7"))
        packages(node, *[f"{name} 1.17.7-3.azl3" for name in FAMILY], manager="rpm", vendor="Microsoft Corporation")
        outcome = one(node, "toolkit.not-vulnerable")
        assert outcome.status == "not-applicable"
        assert "rpm -q --changelog nvidia-container-toolkit-base" in outcome.found

    def test_upstreams_containerd_is_judged_by_its_release_line(self) -> None:
        outcome = one(containerd(toolkit(debian(SimNode())), "1.7.24"), CONTAINERD)
        assert outcome.status == "warn"
        assert "CVE-2024-40635" in outcome.found
        assert one(containerd(toolkit(debian(SimNode())), "1.7.34"), CONTAINERD).status == "pass"

    def test_debians_containerd_is_to_be_asked_of_debian(self) -> None:
        node = containerd(toolkit(debian(SimNode())), "1.6.0")
        packages(
            node, "containerd 1.6.0~ds1-1+deb12u2", vendor="Debian Go", owners={"/usr/bin/containerd": "containerd"}
        )
        outcome = one(node, CONTAINERD)
        assert outcome.status == "not-applicable"
        assert "apt-get changelog containerd" in outcome.found

    def test_dockers_package_carries_upstreams_releases(self) -> None:
        node = containerd(toolkit(debian(SimNode())), "1.7.24")
        packages(
            node, "containerd.io 1.7.24-1", vendor="Containerd team", owners={"/usr/bin/containerd": "containerd.io"}
        )
        assert one(node, CONTAINERD).status == "warn"


def test_a_node_without_the_toolkit_has_one_root_of_this_family_for_pods() -> None:
    """What asks for parts of a runtime that is not there is no fault of its own."""
    node = packages(containerd(debian(SimNode())), owners={}).put(CONFIG, DEFAULT_CONFIG).program("/usr/bin/runc")
    says(node)
    assert one(node, "toolkit.installed").status == "fail"
    for name in ("versions-match", "config-valid", "survives-daemon-reload", "supports-containerd"):
        assert one(node, f"toolkit.{name}").status == "not-applicable", name
    assert one(node, "toolkit.container-cli", "cri-handler").status == "not-applicable"
    assert one(node, "toolkit.container-cli", "ctr-gpus").status == "fail"
    with pytest.raises(Consequence, match=r"toolkit\.installed"):
        ask(node, "toolkit.hook")
    report = node.judge()
    roots = [root for root in report.routes["cri-handler"].roots if root.startswith("toolkit.")]
    assert roots == ["toolkit.installed"]
