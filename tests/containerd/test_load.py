"""What containerd loads. Each fact was seen on a real daemon of that release; the 70 trees carry their own truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from pytest_gpuready.containerd import load as load_module
from pytest_gpuready.containerd.explain import as_json, in_words
from pytest_gpuready.containerd.files import MemoryFiles, NotLooked
from pytest_gpuready.containerd.load import load, wanted
from pytest_gpuready.containerd.model import Loaded, Where
from pytest_gpuready.containerd.releases import ALIASES, choose
from tests.containerd.trees import MAIN, Node, nodes
from tests.support.reference import DATA, reference

if TYPE_CHECKING:
    from pathlib import Path

CASES = DATA / "containerd-configs"
DROPIN = "/etc/containerd/conf.d/99-nvidia.toml"
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'
CRI = 'plugins."io.containerd.grpc.v1.cri"'
RUNTIME = 'plugins."io.containerd.cri.v1.runtime"'
RUNC = f'[{CRI}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
GRPC = "io.containerd.grpc.v1.cri"
NO_FILE = "/b.json: no such file or directory"
NO_MIRRORS = "`mirrors` cannot be set when `config_path` is provided"
NO_IMAGES = "io.containerd.cri.v1.images: plugin: not found"
NO_STRING = "toml: cannot decode TOML string into struct field "
NO_SPEC = "failed to create load basic oci spec: failed to load base OCI spec from file: /b.json: "
NVIDIA = f'[{CRI}.containerd.runtimes.nvidia]\nruntime_type = "io.containerd.runc.v2"\n'
OPTIONS = f"[{CRI}.containerd.runtimes.nvidia.options]\n"


def one(text: str, version: str = "2.2", **files: str) -> Loaded:
    content = {MAIN: text, **{f"/etc/containerd/{name}": data for name, data in files.items()}}
    return load(MemoryFiles({path: data.encode() for path, data in content.items()}), version)


def pair(main: str, dropin: str, version: str) -> Loaded:
    return load(MemoryFiles({MAIN: (IMPORTS + main).encode(), DROPIN: dropin.encode()}), version)


def case_files(case: Path) -> dict[str, bytes]:
    out = {}
    for folder, prefix in (("etc-containerd", "/etc/containerd"), ("rootfs", "")):
        for path in sorted((case / folder).rglob("*")):
            if path.is_file():
                out[f"{prefix}/{path.relative_to(case / folder)}"] = path.read_bytes()
    return out


def cases() -> list[Path]:
    return sorted(path.parent for path in CASES.glob("*/truth.json"))


@reference
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_real_configurations_load_as_the_real_daemons_loaded_them(case: Path) -> None:
    truth: dict[str, Any] = {}
    for name in ("truth.json", "truth-extra.json"):
        truth.update(json.loads((case / name).read_text()))
    path = json.loads((case / "case.json").read_text()).get("config_path") or MAIN
    files = MemoryFiles(case_files(case))
    for version, expected in truth.items():
        found = as_json(load(files, version, path, explicit=path != MAIN))
        assert found.pop("unknown") == [], version
        assert found == {key: expected[key] for key in found}, version


@pytest.mark.parametrize("version", ALIASES)
def test_without_a_file_the_built_in_defaults_are_served(version: str) -> None:
    loaded = load(MemoryFiles({}), version)
    assert (loaded.cri_state, list(loaded.handlers), loaded.default_runtime) == ("serving", ["runc"], "runc")
    assert loaded.imports == ()
    assert loaded.sandbox_image_where is None


def test_an_explicit_file_must_be_there() -> None:
    assert load(MemoryFiles({}), "1.7", "/x.toml", explicit=True).error is not None
    error = load(MemoryFiles({}), "2.1", "/x.toml", explicit=True).error
    assert error
    assert error.text == "containerd: open /x.toml: no such file or directory"


# Merging.


def test_1_x_replaces_the_whole_plugin_table_and_loses_runc() -> None:
    loaded = pair(f"version = 2\n[{CRI}]\nsandbox_image = 'p'\n{RUNC}", f"version = 2\n{NVIDIA}", "1.7")
    assert loaded.cri_state == "failed"
    assert loaded.cri_error
    assert "no corresponding runtime configured" in loaded.cri_error.text
    lost = {str(i) for i in loaded.ineffective}
    assert (
        f"{CRI}.sandbox_image set at {MAIN}:4, lost: an import replaces the whole plugin table, at {DROPIN}:2" in lost
    )
    assert {i.kind for i in loaded.ineffective} == {"table-replaced"}


def test_2_x_merges_key_by_key_and_says_what_was_replaced() -> None:
    main = f"version = 2\n[{CRI}]\nsandbox_image = 'p'\n{NVIDIA}{OPTIONS}BinaryName = 'a'\n"
    loaded = pair(main, f"version = 2\n{OPTIONS}BinaryName = 'b'\n", "2.2")
    nvidia = loaded.handlers["nvidia"]
    assert (nvidia.binary_name, nvidia.binary_name_where) == ("b", Where(DROPIN, 3))
    assert (loaded.sandbox_image, loaded.sandbox_image_where) == ("p", Where(MAIN, 4))
    key = f"{CRI}.containerd.runtimes.nvidia.options.BinaryName"
    assert [str(i) for i in loaded.ineffective] == [f"{key} set at {MAIN}:8, replaced by {DROPIN}:3"]
    assert [i.kind for i in loaded.ineffective] == ["replaced"]


@pytest.mark.parametrize(("version", "served"), [("2.0.1", True), ("2.0.2", False), ("2.2", False), ("2.3", True)])
def test_a_v2_dropin_beside_v3_runtimes(version: str, served: bool) -> None:  # noqa: FBT001
    main = f'version = 3\n[{RUNTIME}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
    loaded = pair(main, f"version = 2\n{NVIDIA}", version)
    assert ("nvidia" in loaded.handlers) is served
    assert any("lost in the migration" in i.reason and i.where.path == DROPIN for i in loaded.ineffective) is (
        version in ("2.0.2", "2.2")
    )
    assert {i.kind for i in loaded.ineffective if i.where.path == DROPIN} == (
        {"migrated"} if version in ("2.0.2", "2.2") else set()
    )


def test_2_3_refuses_a_dropin_of_a_newer_format() -> None:
    error = pair("version = 2\n", "version = 4\n", "2.3.4").error
    assert error
    assert error.text == "containerd: drop-in config version 4 higher than root config version 2"
    assert (error.path, error.line) == (DROPIN, 1)
    assert pair("version = 2\n", "version = 4\n", "2.4.0").loads


def test_2_2_panics_on_an_unversioned_dropin_after_a_v4_file() -> None:
    error = pair("version = 4\n", "[debug]\nlevel = 'info'\n", "2.2").error
    assert error
    assert error.text == "panic: runtime error: index out of range [3] with length 3"


# Versions.


@pytest.mark.parametrize(
    ("version", "loads"), [("1.6.31", True), ("1.6.32", False), ("1.7.16", True), ("1.7.17", False)]
)
def test_newer_formats_are_fatal_since_1_6_32_and_1_7_17(version: str, loads: bool) -> None:  # noqa: FBT001
    loaded = one("version = 3\n", version)
    assert loaded.loads is loads
    if loaded.error:
        assert loaded.error.text == f"containerd: failed to load TOML from {MAIN}: unsupported config version `3`"
        assert (loaded.error.path, loaded.error.line) == (MAIN, 1)


@pytest.mark.parametrize(
    ("version", "read"), [("1.6.28", 1), ("1.6.29", 2), ("1.7.15", 1), ("1.7.16", 2), ("2.0.0", 2)]
)
def test_relative_globs_are_the_importing_files_since_1_6_29_and_1_7_16(version: str, read: int) -> None:
    files = {MAIN: b'version = 2\nimports = ["conf.d/*.toml"]\n', DROPIN: b"version = 2\n"}
    loaded = load(MemoryFiles(files), version)
    assert len(loaded.imports) == read
    assert any("the daemon's working directory" in i.reason for i in loaded.ineffective) is (read == 1)


@pytest.mark.parametrize(
    ("version", "cri", "reason"),
    [
        ("1.7", ["nvidia", "runc"], None),
        ("2.2", ["runc"], "the files are read as format 3, in which io.containerd.grpc.v1.cri has only"),
        ("2.3", ["nvidia", "runc"], None),
    ],
)
def test_unversioned_files(version: str, cri: list[str], reason: str | None) -> None:
    loaded = one(f"{RUNC}{NVIDIA}".replace(CRI, "plugins.cri"), version)
    assert list(loaded.handlers) == cri
    assert [i.reason for i in loaded.ineffective if reason and i.reason.startswith(reason)] == (
        [i.reason for i in loaded.ineffective] if reason else []
    )


def test_a_v1_table_in_a_v2_file_is_fatal_on_1_x_and_dead_on_2_x() -> None:
    text = "version = 2\n[plugins.cri]\nsandbox_image = 'p'\n"
    error = one(text, "1.7").error
    assert error
    assert error.text.endswith('invalid plugin key URI "cri" expect io.containerd.x.vx')
    assert error.line == 2
    assert [i.reason for i in one(text, "2.1").ineffective] == [
        "a table of file format 1, but the files are read as format 2"
    ]


def test_an_unknown_version_is_read_by_the_newest_model_and_says_so() -> None:
    loaded = one(f"version = 2\n{NVIDIA}", "3.1.4")
    assert loaded.assumed
    assert loaded.version == "3.1.4"
    assert loaded.unknown[0] == "version 3.1.4 (read as 2.3)"
    assert {"cri_state", "handlers", "default_runtime"} <= set(loaded.unknown)
    assert load(MemoryFiles({}), None).unknown[0] == "version (taken as 2.3.4)"


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        ("1.6", (1, 6, 20)),
        ("v1.7.24~ds1-6+deb13u1", (1, 7, 24)),
        ("2.1.9+unknown", (2, 1, 9)),
        ("2.0.0-rc.1", (2, 0, 0)),
    ],
)
def test_versions_are_taken_as_packages_write_them(written: str, numbers: tuple[int, int, int]) -> None:
    release = choose(written)
    assert (release.version, release.assumed) == (numbers, False)


@pytest.mark.parametrize(
    ("text", "upstream", "debian"),
    [
        ("[nosuch]\na = 1\na = 2\n", True, False),
        ("[nosuch]\na = {b = 1,}\n", False, True),
        ('[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = 5\n', False, True),
        (f"[{RUNTIME}.enable_cdi]\n", True, False),
    ],
)
def test_debians_2_1_9_has_a_newer_go_toml(text: str, upstream: bool, debian: bool) -> None:  # noqa: FBT001
    for version, loads in (("2.1", upstream), ("2.1.9", upstream), ("2.1.9+unknown", debian), ("2.1.9+ds1-5", debian)):
        assert one(f"version = 3\n{text}", version).loads is loads, version
    assert choose("2.1.8+ds1-1") == choose("2.1.8")
    assert choose("1.7.24~ds1-6+deb13u1") == choose("1.7.24")


def test_1_x_quotes_the_texts_of_a_list_in_a_table_of_a_wrong_type() -> None:
    error = one('[[plugins]]\nimports = ["a", "b"]\n', "1.7").error
    assert error is not None
    assert 'imports = ["a", "b"]' in error.text


@pytest.mark.parametrize(("table", "fatal"), [("proxy_plugins.x", True), ("stream_processors.x", True),
                                              ("timeouts", True), ("nosuch.x", False),
                                              ("proxy_plugins.x.nosuch", False)])  # fmt: skip
def test_a_key_twice_is_noticed_in_every_table_that_2_x_has_a_place_for(table: str, fatal: bool) -> None:  # noqa: FBT001
    for version in ("2.0", "2.2", "2.3"):
        error = one(f"version = 2\n[{table}]\npath = 'a'\npath = 'b'\n[proxy_plugins.x]\ntype = 'snapshot'\n"[
            : None if table == "proxy_plugins.x.nosuch" else -36
        ], version).error  # fmt: skip
        assert bool(error and error.text.endswith("toml: key path is already defined")) is fatal, (version, error)


def test_debians_2_1_9_has_two_folders_of_cni_plugins_that_a_bin_dir_may_replace() -> None:
    text = f"version = 3\n[{RUNTIME}.cni]\nbin_dir = '/a'\nbin_dirs = "
    own, upstreams = "['/usr/lib/cni', '/opt/cni/bin']", "['/opt/cni/bin']"
    for version, fits, not_ in (("2.1.9+ds1", own, upstreams), ("v2.1.9", upstreams, own)):
        assert one(text + fits, version).cri_enabled
        error = one(text + not_, version).cri_error
        assert error
        assert "`cni.bin_dir` and `cni.bin_dirs` cannot be set" in error.text


def test_debians_2_1_9_names_what_is_no_table_and_has_no_place_for_what_is_nested() -> None:
    def error(text: str, version: str) -> str:
        found = one(f"version = 2\n{text}\n", version).error
        return found.text if found else ""

    text = "[plugins]\n'io.containerd.gc.v1.scheduler' = 'x'"
    assert error(text, "2.1.9+ds1") == "containerd: toml: cannot encode a string as a document root"
    assert error(text, "2.2") == "containerd: toml: expected = after a key, but the document ends there"
    assert error(text.replace("'x'", "[]"), "2.3") == "containerd: toml: invalid character at start of key: ]"
    assert "at row 1 column 1: toml: cannot decode TOML array into" in error("imports = [['a']]", "2.1.9+ds1")
    delay = "[plugins.'io.containerd.gc.v1.scheduler']\nstartup_delay = "
    assert error(f"{delay}1.5", "2.1.9+ds1") == 'containerd: time: missing unit in duration "1.5"'
    assert error(f"{delay}true", "2.1.9+ds1") == 'containerd: time: invalid duration "true"'
    assert "cannot decode TOML local date into" in error(f"{delay}2020-01-01", "2.1.9+ds1")


def test_1_7_takes_numbers_of_64_bits_without_a_sign_for_signed_ones() -> None:
    assert one("version = 9223372036854775808\n", "1.7").loads
    text = f"version = 2\noom_score = 18446744073709551615\n{RUNC}[{CRI}]\nsandbox_image = 18446744073709551615\n"
    loaded = one(text, "1.7")
    assert (loaded.effective["oom_score"], loaded.sandbox_image) == (-1, "\ufffd")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("debug = {level = 5}", "failed to unmarshal TOML: (1, 0): Can't convert 5(int64) to string"),
        ("grpc = {address = '/x', uid = 'x'}", "failed to unmarshal TOML: (2, 0): Can't convert x(string) to int"),
        (f"[{CRI}.containerd.runtimes]\nx = {{runtime_type = 1}}", "(1, 0): Can't convert 1(int64) to string"),
        (f"[{CRI}.containerd.runtimes]\nx = {{runtime_type = {{a = 1}}}}", "(0, 0): Can't convert a = 1"),
    ],
)
def test_1_x_counts_the_settings_of_an_inline_table_for_rows(text: str, words: str) -> None:
    for version in ("1.6", "1.7"):
        error = one(f"version = 2\n{text}\n", version).error
        assert error
        assert (error.text.split("\n")[0], error.line) == (f"containerd: {words}", 2 + text.count("\n"))


def test_a_timeouts_name_without_quotes_is_a_table() -> None:
    text = "version = 2\n[timeouts]\n  io.containerd.timeout.shim.load = '5s'\n"
    words = {
        "2.3": ": unhandled kv part: string",
        "2.1.9+ds1": " at row 3 column 6: toml: cannot decode TOML table into string",
    }
    for version, expected in words.items():
        error = one(text, version).error
        assert error
        assert (error.text, error.line) == (f"containerd: failed to unmarshal TOML{expected}", 3)


# Handlers.


@pytest.mark.parametrize(
    ("key", "v1", "v2"),
    [
        ("BinaryName", "x", "x"),
        ("binaryname", "x", "x"),
        ("BINARYNAME", "x", "x"),
        ("binaryName", "x", "x"),
        ("Binaryname", None, "x"),
        ("binary_name", None, None),
    ],
)
def test_which_spellings_of_an_option_count(key: str, v1: str | None, v2: str | None) -> None:
    text = f"version = 2\n{RUNC}{NVIDIA}{OPTIONS}{key} = 'x'\n"
    for version, expected in (("1.6", v1), ("1.7", v1), ("2.0", v2), ("2.3", v2)):
        loaded = one(text, version)
        assert loaded.handlers["nvidia"].binary_name == expected, version
        ignored = [i for i in loaded.ineffective if i.key.endswith(f".{key}")]
        assert [(i.where, i.reason) for i in ignored] == (
            [] if expected else [(Where(MAIN, 7), "no option of this containerd's runc")]
        )


def test_of_several_spellings_1_x_takes_the_exact_one_and_2_x_the_last_in_byte_order() -> None:
    text = f"version = 2\n{RUNC}{NVIDIA}{OPTIONS}binaryname = 'low'\nBinaryName = 'exact'\n"
    assert one(text, "1.7").handlers["nvidia"].binary_name == "exact"
    assert one(text, "2.2").handlers["nvidia"].binary_name == "low"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.7", "Can't convert true(string) to bool"),
        ("2.2", "toml: cannot decode TOML string into struct field options.Options.SystemdCgroup of type bool"),
    ],
)
def test_an_option_of_a_wrong_type_is_noticed_only_when_a_container_starts(version: str, words: str) -> None:
    loaded = one(f"version = 2\n{RUNC}{NVIDIA}{OPTIONS}SystemdCgroup = 'true'\nBinaryName = 'x'\n", version)
    handler = loaded.handlers["nvidia"]
    assert loaded.cri_enabled
    assert handler.options_error
    assert words in handler.options_error
    assert (handler.binary_name, handler.systemd_cgroup) == (None, None)


@pytest.mark.parametrize(
    ("version", "expected"), [("1.7", None), ("2.0.6", None), ("2.0.7", False), ("2.1.4", None), ("2.3", False)]
)
def test_the_built_in_runc_says_systemd_cgroup_since_2_0_7_and_2_1_5(version: str, expected: bool | None) -> None:  # noqa: FBT001
    assert one(f"version = 2\n{RUNC}", version).handlers["runc"].systemd_cgroup is expected


def test_the_old_default_runtime_table_is_a_handler_called_default() -> None:
    text = f"version = 2\n{RUNC}[{CRI}.containerd.default_runtime]\nruntime_type = 'io.containerd.runtime.v1.linux'\n"
    loaded = one(
        text + f"[{CRI}.containerd.default_runtime.options]\nRuntime = '/usr/bin/nvidia-container-runtime'\n", "1.7"
    )
    assert (loaded.default_runtime, loaded.default_runtime_where) == ("default", Where(MAIN, 4))
    handler = loaded.handlers["default"]
    assert (handler.runtime, handler.runtime_where) == ("/usr/bin/nvidia-container-runtime", Where(MAIN, 7))
    assert [d.id for d in loaded.deprecations] == ["io.containerd.deprecation/cri-default-runtime"]


# Refusals and failures.


@pytest.mark.parametrize(
    ("version", "text", "words", "line"),
    [
        ("1.7", "version = '2'\n", "failed to unmarshal TOML: (1, 1): Can't convert 2(string) to int", 1),
        ("2.2", "version = '2'\n",
         f"failed to unmarshal TOML at row 1 column 11: {NO_STRING}config.Config.Version of type int", 1),
        ("1.7", f"version = 2\n[{CRI}]\nenable_cdi = 'yes'\n", "(3, 1): Can't convert yes(string) to bool", 3),
        (
            "2.1",
            f"version = 2\n[{CRI}]\nenable_cdi = 'yes'\n",
            f"{NO_STRING}config.RuntimeConfig.EnableCDI of type bool",
            3,
        ),
        ("2.2", "[timeouts]\nx = '5'\n", "unable to parse 5 into a time duration", 2),
        ("1.7", "version = 2\nrequired_plugins = ['io.containerd.a.v1.b']\n",
         "required plugin [io.containerd.a.v1.b] not included", 2),
        ("2.2", "version = 2\ndisabled_plugins = ['cri']\n",
         f'failed to load TOML from {MAIN}: invalid disabled plugin URI "cri" expect io.containerd.x.vx', 2),
        ("2.2", 'version = 2\nimports = ["/none.toml"]\n', "open /none.toml: no such file or directory", 2),
        ("1.7", 'version = 2\nimports = ["/none.toml"]\n',
         "failed to load TOML: /none.toml: open /none.toml: no such file or directory", 2),
        ("2.2", "version = 2\nroot = '/run/containerd'\n", "root and state must be different paths", 2),
    ],
)  # fmt: skip
def test_what_keeps_the_daemon_from_starting(version: str, text: str, words: str, line: int) -> None:
    loaded = one(text, version)
    assert (loaded.loads, loaded.cri_state) == (False, "daemon exits")
    assert loaded.error
    assert loaded.error.text == f"containerd: {words}"
    assert loaded.error.line == line


@pytest.mark.parametrize(
    ("version", "text", "words"),
    [
        ("2.2", f"[{CRI}]\nstream_idle_timeout = '5'\n",
         f'{GRPC}: invalid cri image config: invalid stream idle timeout: time: missing unit in duration "5"'),
        ("2.2", f"[{CRI}.containerd]\nsnapshotter = 'nosuch'\n{RUNC}",
         'io.containerd.cri.v1.images: failed to find snapshotter "nosuch"'),
        ("1.7", f"[{CRI}.containerd]\nsnapshotter = 'nosuch'\n{RUNC}",
         f'{GRPC}: failed to create CRI service: failed to find snapshotter "nosuch"'),
        ("2.2", f"{RUNC}base_runtime_spec = '/b.json'\n",
         f"io.containerd.cri.v1.runtime: {NO_SPEC}failed to open base OCI spec: /b.json: open {NO_FILE}"),
        ("2.2", f"[{CRI}.registry]\nconfig_path = '/c'\n[{CRI}.registry.mirrors.x]\nendpoint = []\n",
         f"io.containerd.cri.v1.images: invalid cri image config: {NO_MIRRORS}"),
        ("2.2", "disabled_plugins = ['io.containerd.cri.v1.images']\n",
         f"{GRPC}: unable to load CRI image service plugin dependency: no plugins registered for {NO_IMAGES}"),
        ("1.7", "disabled_plugins = ['io.containerd.service.v1.tasks-service']\n",
         f'{GRPC}: failed to create containerd client: service "tasks-service" not found'),
        ("1.7", f"{RUNC}runtime_engine = '/x'\n",
         f"{GRPC}: invalid plugin config: `runtime_engine` only works for runtime io.containerd.runtime.v1.linux"),
    ],
)  # fmt: skip
def test_what_fails_cri_while_the_daemon_runs(version: str, text: str, words: str) -> None:
    loaded = one(f"version = 2\n{text}", version)
    assert (loaded.loads, loaded.cri_state, loaded.handlers) == (True, "failed", {})
    assert loaded.cri_error
    assert loaded.cri_error.text == words
    assert loaded.cri_error.line is not None


@pytest.mark.parametrize(
    "text", ["disabled_plugins = ['cri']\n", "version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n"]
)
@pytest.mark.parametrize("version", ALIASES)
def test_a_disabled_cri_is_not_loaded(version: str, text: str) -> None:
    loaded = one(text, version)
    assert (loaded.loads, loaded.cri_state, loaded.error, loaded.cri_error) == (True, "not loaded", None, None)


@pytest.mark.parametrize("name", ["zfs", "btrfs", "devmapper"])
def test_a_snapshotter_that_depends_on_the_node_leaves_the_state_open(name: str) -> None:
    pool = '[plugins."io.containerd.snapshotter.v1.devmapper"]\npool_name = "p"\n'
    loaded = one(f"version = 2\n[{CRI}.containerd]\nsnapshotter = '{name}'\n{RUNC}{pool}")
    assert [text.split(" ")[0] for text in loaded.unknown] == ["cri_state"]


# CDI, the socket, drop-ins, deprecations.


@pytest.mark.parametrize(
    ("version", "default", "off"),
    [("1.6", False, False), ("1.7", False, False), ("2.0", True, False), ("2.3", True, False)],
)
def test_cdi_is_on_by_default_since_2_0(version: str, default: bool, off: bool) -> None:  # noqa: FBT001
    assert one(f"version = 2\n{RUNC}", version).cdi_enabled is default
    loaded = one(f"version = 2\n{RUNC}[{CRI}]\nenable_cdi = false\ncdi_spec_dirs = ['/x']\n", version)
    assert loaded.cdi_enabled is off
    assert loaded.cdi_spec_dirs == (() if version == "1.6" else ("/x",))
    assert ("io.containerd.deprecation/enable-cdi" in [d.id for d in loaded.deprecations]) is (version == "2.3")


@pytest.mark.parametrize("version", ALIASES)
def test_the_socket_is_grpc_address(version: str) -> None:
    loaded = one("version = 2\n[grpc]\naddress = '/run/x.sock'\n", version)
    assert (loaded.address, loaded.address_where) == ("/run/x.sock", Where(MAIN, 3))


def test_in_format_4_the_socket_is_a_plugins() -> None:
    table = '[plugins."io.containerd.server.v1.grpc"]\naddress = "/run/y.sock"\n'
    loaded = one(f"version = 4\n{table}[grpc]\naddress = '/run/x.sock'\n", "2.3")
    assert (loaded.address, loaded.address_where) == ("/run/y.sock", Where(MAIN, 3))


def test_a_dropin_that_nothing_imports_is_reported() -> None:
    loaded = load(MemoryFiles({MAIN: b"version = 2\n", DROPIN: b"version = 2\n"}), "2.2")
    assert [(str(i.where), i.reason, i.kind) for i in loaded.ineffective] == [
        (f"{DROPIN}:1", "no imports line names this file", "not-imported")
    ]


def test_a_table_of_a_disabled_plugin_has_no_effect_for_that_reason() -> None:
    text = f"version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n[{CRI}]\nsandbox_image = 'p'\n"
    assert [(i.reason, i.kind) for i in one(text, "1.7").ineffective] == [("the plugin is disabled", "disabled")]


def test_deprecated_settings_are_listed_by_containerds_ids_with_their_lines() -> None:
    text = f"version = 2\n{RUNC}[{CRI}.registry.mirrors.x]\nendpoint = []\n[{CRI}.cni]\nbin_dir = '/b'\n"
    ids = {v: [(d.id.split("/")[1], d.where and d.where.line) for d in one(text, v).deprecations] for v in ALIASES}
    assert ids["1.6"] == []  # 1.6.20 records none
    assert ids["1.7"] == ids["2.0"] == [("cri-registry-mirrors", 4)]
    assert ids["2.1"] == [("cri-registry-mirrors", 4)]  # the migration makes bin_dirs of bin_dir
    v3 = f"version = 3\n[{RUNTIME}.cni]\nbin_dir = '/b'\n"
    assert [(d.id.split("/")[1], d.where and d.where.line) for d in one(v3, "2.1").deprecations] == [
        ("cri-cni-bin-dir", 3)
    ]


def test_unknown_keys_are_reported_with_their_line() -> None:
    loaded = one(f"version = 2\nnosuch = 1\n{RUNC}nokey = 1\n[plugins.'io.containerd.a.v1.b']\nx = 1\n")
    assert [(i.where.line, i.reason) for i in loaded.ineffective] == [
        (2, "unknown to this containerd"),
        (5, "unknown to this containerd"),
        (6, "this containerd reads no table io.containerd.a.v1.b"),
    ]


def test_two_loads_can_be_compared_in_everything_but_one_handler() -> None:
    before = one(f"version = 2\n{RUNC}[{CRI}]\nsandbox_image = 'p'\n")
    after = one(f"version = 2\n{RUNC}[{CRI}]\nsandbox_image = 'p'\n{NVIDIA}")
    uri = "io.containerd.cri.v1.runtime"
    table = after.plugin_table(uri)
    del table["containerd"]["runtimes"]["nvidia"]
    assert before.effective == after.effective
    assert before.plugin_table(uri)["max_container_log_line_size"] == 16384
    assert before.wheres['plugins."io.containerd.cri.v1.images".pinned_images.sandbox'] == Where(MAIN, 5)


# Gathering.


def test_wanted_names_what_load_still_needs_until_it_needs_nothing() -> None:
    there = {
        MAIN: f'version = 2\nimports = ["conf.d/*.toml", "/x.toml"]\n{RUNC}base_runtime_spec = "/b.json"\n'.encode(),
        "/x.toml": b"imports = ['/y.toml']\n",
        "/y.toml": b"",
        "/b.json": b"{}",
        DROPIN: b"version = 2\n",
    }
    full = MemoryFiles(there)
    known: dict[str, bytes | OSError] = {}
    globs: dict[str, list[str]] = {}
    rounds = []
    for _ in range(9):
        paths, patterns = wanted(MemoryFiles(known, complete=False, globs=globs), "2.2", MAIN, explicit=False)
        if not paths and not patterns:
            break
        rounds.append((sorted(paths), sorted(patterns)))
        known.update({path: there.get(path) or FileNotFoundError(2, "", path) for path in paths})
        known.update({path: there[path] for path in paths & set(there)})
        globs.update({pattern: full.glob(pattern) for pattern in patterns})
    assert rounds == [
        ([MAIN], ["/etc/containerd/*.d/*.toml"]),
        (["/x.toml"], ["/etc/containerd/conf.d/*.toml"]),
        ([DROPIN, "/y.toml"], []),
        (["/b.json"], []),
    ]
    assert load(MemoryFiles(known, complete=False, globs=globs), "2.2") == load(full, "2.2")


def test_what_was_not_looked_at_is_said_not_guessed() -> None:
    with pytest.raises(NotLooked, match=MAIN):
        load(MemoryFiles({}, complete=False), "2.2")


def test_a_denied_file_comes_out_as_such() -> None:
    with pytest.raises(PermissionError):
        load(MemoryFiles({MAIN: PermissionError(13, "denied", MAIN)}), "2.2")


def test_a_file_too_large_to_look_at_leaves_everything_open() -> None:
    loaded = load(MemoryFiles({MAIN: b"#" * (5 << 20)}), "2.2")
    assert loaded.error is None
    assert loaded.undecided
    assert [text.split(" ")[0] for text in loaded.unknown] == ["everything"]


def test_endless_imports_end() -> None:
    chain = {f"/{i}.toml": f"imports = ['/{i + 1}.toml']\n".encode() for i in range(1200)}
    loaded = load(MemoryFiles(chain), "2.2", "/0.toml")
    assert [text.split(" ")[0] for text in loaded.unknown] == ["everything"]
    assert load(MemoryFiles({"/a": b"imports = ['/a', '/b']\n", "/b": b"imports = ['/a']\n"}), "2.2", "/a").loads


@given(node=nodes())
def test_any_tree_is_answered_in_every_release(node: Node) -> None:
    for version in (*ALIASES, "2.0.0", None):
        loaded = load(MemoryFiles(node.files), version, node.explicit or MAIN, explicit=bool(node.explicit))
        assert loaded.loads is (loaded.error is None)
        assert json.dumps(as_json(loaded))
        assert json.dumps(loaded.effective)
        for line in in_words(loaded):
            assert line
        for path, lines in ((p, data.count(b"\n") + 1) for p, data in node.files.items()):
            for place in (i.where for i in loaded.ineffective):
                assert place.path != path or 1 <= place.line <= lines


def test_a_setting_that_a_later_patch_release_brought_is_unknown_before() -> None:
    text = f"version = 2\n{RUNC}[{CRI}]\ndrain_exec_sync_io_timeout = 5\n"
    early, late = one(text, "1.6.28"), one(text, "1.6.29")
    assert (early.loads, [i.where.line for i in early.ineffective]) == (True, [5])
    assert late.error
    assert late.error.text == "containerd: (5, 1): Can't convert 5(int64) to string"


def test_an_array_of_tables_in_the_place_of_a_built_in_option_keeps_2_x_from_starting() -> None:
    text = f"version = 2\n{RUNC}[{CRI}.containerd.runtimes.runc.options]\nRoot = [{{a = 1}}]\n"
    error = one(text, "2.2").error
    assert error
    context = "struct field config.Runtime.Options of type map[string]interface {}"
    assert error.text == f"containerd: toml: cannot decode TOML array table into {context}"


# ---------------------------------------------------------------------------------------------------- what is kept


def test_files_that_answer_the_same_are_loaded_once() -> None:
    """Nodes of a fleet are configured alike."""
    one, other = (MemoryFiles({MAIN: b"version = 2\n# kept\n"}) for _ in range(2))
    assert load(one, "2.1.9") is load(other, "2.1.9")
    assert load(one, "1.7.24").version != load(one, "2.1.9").version


def test_what_was_kept_is_not_taken_for_what_answers_otherwise() -> None:
    imports = b'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n'
    drop_in = "/etc/containerd/conf.d/a.toml"
    cri_off = b'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
    alone = load(MemoryFiles({MAIN: imports}), "1.7.24")
    both = load(MemoryFiles({MAIN: imports, drop_in: cri_off}), "1.7.24")
    assert alone.cri_enabled
    assert not both.cri_enabled
    assert load(MemoryFiles({MAIN: imports, drop_in: b"version = 2\n"}), "1.7.24").cri_enabled
    assert load(MemoryFiles({}), "1.7.24").imports != alone.imports


def test_what_may_not_be_read_is_asked_again() -> None:
    refused = MemoryFiles({MAIN: PermissionError(13, "Permission denied", MAIN)})
    for _ in range(2):
        with pytest.raises(PermissionError):
            load(refused, "2.1.9")
    with pytest.raises(NotLooked):
        load(MemoryFiles({}, complete=False), "2.1.9")


def test_little_is_kept() -> None:
    for number in range(40):
        load(MemoryFiles({MAIN: b"version = 2\n# %d\n" % number}), "2.1.9")
        load(MemoryFiles({f"/{number}": b"version = 2\n"}), "2.1.9", f"/{number}", explicit=True)
    assert len(load_module._known) <= load_module._MOST_KEYS
    assert max(map(len, load_module._known.values())) <= load_module._MOST_EACH
