"""The command ``python -m pytest_gpuready.containerd``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

KEYS = [
    "loads",
    "error",
    "cri_enabled",
    "cri_state",
    "handlers",
    "default_runtime",
    "cdi_enabled",
    "cdi_spec_dirs",
    "unknown",
]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(list(arguments)) == 0
    out: dict[str, Any] = json.loads(capsys.readouterr().out)
    return out


def test_an_entry_per_version_as_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "--root", str(tmp_path), "--version", "1.6", "--version", "2.3.4", "--version", "nonsense")
    assert list(out) == ["1.6", "2.3.4", "nonsense"]
    assert all(list(entry) == KEYS for entry in out.values())
    assert out["1.6"]["unknown"] == []
    assert out["nonsense"]["unknown"][0] == "version nonsense (read as 2.3)"


def test_a_daemon_that_would_not_start_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc/containerd").mkdir(parents=True)
    (tmp_path / "etc/containerd/config.toml").write_text("version = 9\n")
    entry = run(capsys, "--root", str(tmp_path), "--version", "2.2")["2.2"]
    assert (entry["loads"], entry["cri_state"], entry["cdi_enabled"]) == (False, "daemon exits", None)
    missing = run(capsys, "--root", str(tmp_path), "--config", "/none.toml", "--version", "2.2")["2.2"]
    assert missing["error"] == "containerd: open /none.toml: no such file or directory"


def test_explain_says_where_values_come_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc/containerd").mkdir(parents=True)
    text = 'version = 3\n[plugins."io.containerd.cri.v1.runtime".containerd]\ndefault_runtime_name = "runc"\n'
    (tmp_path / "etc/containerd/config.toml").write_text(text)
    words = run(capsys, "--root", str(tmp_path), "--version", "2.2", "--explain")["2.2"]["explain"]
    assert "default handler runc: from /etc/containerd/config.toml:3" in words
    assert "CDI enabled: built-in default" in words


def test_a_root_that_is_not_there_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path / "none"), "--version", "2.2"]) == 2
    assert "no such directory" in capsys.readouterr().err


def test_it_runs_as_a_module_without_importing_pytest(tmp_path: Path) -> None:
    code = (
        "import sys; from pytest_gpuready.containerd.__main__ import main; "
        f"main(['--root', {str(tmp_path)!r}, '--version', '2.2']); sys.exit('pytest' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["2.2"]["loads"] is True


def test_a_version_that_is_not_modelled_is_an_answer_with_what_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = ["2.2.7-1~deb", "v2.1.9", "2.4", "1.5.18", "3.0", "garbage", ""]
    out = run(capsys, "--root", str(tmp_path), *(word for v in versions for word in ("--version", v)))
    assert {version: entry["unknown"][:1] for version, entry in out.items()} == {
        "2.2.7-1~deb": [],
        "v2.1.9": [],
        "2.4": ["version 2.4 (read as 2.3)"],
        "1.5.18": ["version 1.5.18 (read as 1.6)"],
        "3.0": ["version 3.0 (read as 2.3)"],
        "garbage": ["version garbage (read as 2.3)"],
        "": ["version (taken as 2.3.4)"],
    }


def test_a_plain_version_is_debians_build_and_one_with_a_v_upstreams(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "etc/containerd").mkdir(parents=True)
    (tmp_path / "etc/containerd/config.toml").write_text("version = 3\nx = {a = 1,}\n")
    out = run(capsys, "--root", str(tmp_path), "--version", "2.1", "--version", "2.1.9", "--version", "v2.1.9")
    assert {version: entry["loads"] for version, entry in out.items()} == {"2.1": True, "2.1.9": True, "v2.1.9": False}


def test_explain_names_a_file_that_nothing_imports_and_what_a_release_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "etc/containerd/conf.d").mkdir(parents=True)
    (tmp_path / "etc/containerd/config.toml").write_text("version = 2\n")
    (tmp_path / "etc/containerd/conf.d/a.toml").write_text("version = 2\n")
    words = run(capsys, "--root", str(tmp_path), "--version", "1.6", "--explain")["1.6"]["explain"]
    assert "no effect: /etc/containerd/conf.d/a.toml: no imports line names this file" in words
    assert "CDI disabled: this release has none" in words
