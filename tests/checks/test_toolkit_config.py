"""The toolkit's configuration: each line that the runtime or its hook refuses."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Where
from pytest_gpuready.views.toolkit import CONFIG, OPERATOR_CONFIG
from tests.support import cdi
from tests.support.findings import commands, evidence
from tests.support.simnode import SimNode
from tests.support.toolkit import (
    DEFAULT_CONFIG,
    config,
    containerd,
    debian,
    healthy,
    legacy,
    one,
    operators,
    packages,
    says,
    toolkit,
)


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

    def test_a_sound_file_is_named_with_the_mode_in_force(self) -> None:
        found = one(healthy(), "toolkit.config-valid")
        assert (found.found, found.where) == (f"{CONFIG} (mode jit-cdi)", Where(CONFIG))
        gone = one(healthy().remove(CONFIG), "toolkit.config-valid")
        assert gone.found == f"{CONFIG} is not there: the built-in defaults hold (mode jit-cdi)"

    def test_several_faults_are_told_and_the_first_is_fixed(self) -> None:
        """The rest is evidence."""
        node = config(healthy(), 'ldconfig = "@/sbin/ldconfig"', 'ldconfig = "/sbin/ldconfig"')
        config(node, 'runtimes = ["runc", "crun"]', "runtimes = []")
        found = one(node, "toolkit.config-valid")
        assert found.where == Where(CONFIG, 11)
        assert evidence(found) == [(f"{CONFIG}:22", "runtimes = []")]
        assert found.expected == (
            'a path that begins with @, such as "@/sbin/ldconfig"; at least one low-level runtime'
        )
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
    def test_the_right_value_of_a_line_is_typed_out(self, old: str, new: str, value: str) -> None:
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
    def test_in_legacy_mode_too(self, old: str, new: str, value: str) -> None:
        found = one(config(legacy(healthy()), old, new), "toolkit.config-valid")
        assert f"s|=.*|= {value}|" in commands(found)[0]

    def test_the_nodes_own_ldconfig_is_the_one_that_is_written(self) -> None:
        node = config(healthy(), '"@/sbin/ldconfig"', '"/sbin/ldconfig"').program("/sbin/ldconfig.real")
        assert 's|=.*|= "@/sbin/ldconfig.real"|' in commands(one(node, "toolkit.config-valid"))[0]

    @pytest.mark.parametrize("said", ["@/sbin/ldconfig.real", "@ldconfig"])
    def test_an_ldconfig_that_the_hook_finds_is_sound(self, said: str) -> None:
        node = config(legacy(healthy()), '"@/sbin/ldconfig"', f'"{said}"')
        assert one(node, "toolkit.config-valid").status == "pass"
        ubuntu = config(legacy(healthy()), '"@/sbin/ldconfig"', '"@/sbin/ldconfig.real"').remove("/sbin/ldconfig")
        assert one(ubuntu.program("/sbin/ldconfig.real"), "toolkit.config-valid").status == "pass"

    def test_an_ldconfig_of_the_containers_is_taken_where_the_feature_allows_it(self) -> None:
        node = config(healthy(), '"@/sbin/ldconfig"', '"/sbin/ldconfig"')
        config(
            node, "disable-require = false", "disable-require = false\nfeatures.allow-ldconfig-from-container = true"
        )
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
    def test_a_value_of_another_type_is_told_with_the_right_one(
        self, old: str, new: str, found: str | None, expected: str | None
    ) -> None:
        outcome = one(config(healthy(), old, new), "toolkit.config-valid")
        assert outcome.status == ("pass" if found is None else "fail")
        if found is not None:
            assert outcome.found == found
            assert (expected or "one of auto, ") in str(outcome.expected)

    def test_jit_cdi_came_with_1_18(self) -> None:
        old = config(containerd(toolkit(debian(SimNode()), "1.17.8")), 'mode = "auto"', 'mode = "jit-cdi"')
        found = one(old, "toolkit.config-valid")
        assert found.found == 'mode = "jit-cdi", which came with toolkit 1.18'
        assert 's|=.*|= "auto"|' in commands(found)[0]
        assert one(config(healthy(), 'mode = "auto"', 'mode = "jit-cdi"'), "toolkit.config-valid").status == "pass"
        silent = says(config(healthy(), 'mode = "auto"', 'mode = "jit-cdi"'))
        assert one(packages(silent, owners={}), "toolkit.config-valid").status == "pass"

    def test_csv_is_right_on_a_tegra(self) -> None:
        node = config(healthy(), 'mode = "auto"', 'mode = "csv"').put("/etc/nv_tegra_release", "# R36\n")
        assert one(node, "toolkit.config-valid").status == "pass"

    def test_a_root_that_is_there_is_sound(self) -> None:
        node = config(healthy(), '#root = "/run/nvidia/driver"', 'root = "/run/nvidia/driver"')
        assert one(node.folder("/run/nvidia/driver"), "toolkit.config-valid").status == "pass"
        slash = config(healthy(), '#root = "/run/nvidia/driver"', 'root = "/"')
        assert one(slash, "toolkit.config-valid").status == "pass"

    def test_an_unprivileged_container_without_the_key_gets_words(self) -> None:
        node = legacy(healthy()).put("/proc/self/uid_map", "0 100000 65536\n")
        found = one(node, "toolkit.config-valid")
        assert found.status == "fail"
        assert found.remedy is not None
        assert found.remedy.summary
        said = config(node, "#no-cgroups = false", "no-cgroups = false")
        assert "s|=.*|= true|" in commands(one(said, "toolkit.config-valid"))[0]

    def test_capabilities_that_are_not_named_are_the_default_ones(self) -> None:
        line = 'supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"'
        assert one(config(legacy(healthy()), line, ""), "toolkit.config-valid").status == "pass"

    def test_all_capabilities_and_spaces_among_them_are_sound(self) -> None:
        for said in ("all", "compute, utility", "compute,utility,"):
            node = config(legacy(healthy()), "compat32,compute,display,graphics,ngx,utility,video", said)
            assert one(node, "toolkit.config-valid").status == "pass", said
