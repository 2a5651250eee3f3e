"""The toolkit's advice, which changes no verdict: a daemon-reload, and the containerd that it writes for."""

from __future__ import annotations

import pytest

from tests.support.findings import commands
from tests.support.simnode import SimNode
from tests.support.toolkit import FAMILY, config, containerd, debian, healthy, legacy, one, packages, toolkit


class TestSurvivesDaemonReload:
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

    def test_what_survives_a_reload_says_why(self) -> None:
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

    def test_links_are_made_by_the_nvidia_ctk_that_is_there(self) -> None:
        node = legacy(healthy()).remove("/usr/bin/nvidia-ctk").program("/usr/local/bin/nvidia-ctk")
        found = commands(one(node, "toolkit.survives-daemon-reload"))
        assert found[0] == "sudo /usr/local/bin/nvidia-ctk system create-dev-char-symlinks --create-all"
        assert found[1].count("/usr/local/bin/nvidia-ctk") == 1


class TestSupportsContainerd:
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

    @pytest.mark.parametrize(
        ("version", "daemon", "expected"),
        [
            ("1.13.5", "2.1.9", "1.14.0 or later"),
            ("1.14.6", "2.1.9", "1.17.4 or later"),
            ("1.18.0", "2.1.9", "1.18.1 or later"),
        ],
    )
    def test_the_toolkit_that_would_do_is_named_and_upgraded_to(self, version: str, daemon: str, expected: str) -> None:
        node = containerd(toolkit(debian(SimNode()), version), daemon)
        found = one(node, "toolkit.supports-containerd")
        assert found.expected == expected
        assert all(name in commands(found)[0] for name in FAMILY)
        packages(node, owners={})
        assert "nvidia-container-toolkit" in " ".join(commands(one(node, "toolkit.supports-containerd")))
        new = one(containerd(toolkit(debian(SimNode()), "1.18.1"), daemon), "toolkit.supports-containerd")
        assert new.found == "nvidia-ctk 1.18.1 knows containerd 2.1.9"

    @pytest.mark.parametrize(
        ("names", "upgraded"),
        [(("nvidia-container-toolkit-base",), "nvidia-container-toolkit-base"), ((), "nvidia-container-toolkit")],
    )
    def test_what_is_installed_of_the_family_is_upgraded_or_else_the_toolkit(
        self, names: tuple[str, ...], upgraded: str
    ) -> None:
        node = containerd(toolkit(debian(SimNode()), "1.13.5"))
        packages(node, *(f"{name} 1.13.5-1" for name in names), owners={})
        found = commands(one(node, "toolkit.supports-containerd"))
        assert found == (f"sudo apt-get update && sudo apt-get install -y --only-upgrade {upgraded}",)

    def test_any_nvidia_ctk_writes_the_file_that_is_not_there_yet(self) -> None:
        node = containerd(toolkit(debian(SimNode()), "1.14.6")).remove("/etc/containerd/config.toml")
        assert one(node, "toolkit.supports-containerd").found == "nvidia-ctk 1.14.6 knows containerd 2.1.9"
