"""Plugins beside CRI: the words are those of real daemons."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.containerd.model import DEFAULT_CONFIG, Loaded


def one(text: str, version: str) -> Loaded:
    return load(MemoryFiles({DEFAULT_CONFIG: f"version = 2\n{text}\n".encode()}), version)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.6", 'failed to get services: failed to get instance of service "containers-service": '),
        ("1.7", 'failed to create containerd client: failed to get "io.containerd.lease.v1" plugin: '),
    ],
)
def test_a_policy_that_bolt_does_not_know_fails_cri(version: str, words: str) -> None:
    loaded = one("[plugins.'io.containerd.metadata.v1.bolt']\ncontent_sharing_policy = 'x'", version)
    assert loaded.cri_error
    assert loaded.cri_error.text == f"io.containerd.grpc.v1.cri: {words}unknown policy: x: invalid argument"
    assert loaded.cri_error.line == 3


@pytest.mark.parametrize(
    ("platform", "valid"),
    [("linux", True), ("amd64", True), ("linux/amd64", True), ("linux(5)/arm/v7", True), ("x", False), ("", False),
     ("a/b/c/d", False), ("linux/", False)],
)  # fmt: skip
def test_a_platform_that_is_none_fails_the_transfer_service_and_cri(platform: str, valid: bool) -> None:  # noqa: FBT001
    text = f"[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\nplatform = '{platform}'\n"
    assert one(f"{text}snapshotter = 'overlayfs'", "2.2").cri_enabled == valid
    assert one(f"{text}snapshotter = 'overlayfs'", "2.0").cri_enabled


def test_a_snapshotter_of_the_transfer_service_that_depends_on_the_node_is_open() -> None:
    text = "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\nplatform = 'linux'\nsnapshotter = 'zfs'"
    assert one(text, "2.2").unknown == ("cri_state (whether the snapshotter zfs works on this node)",)


def test_2_x_fails_with_a_devmapper_that_is_badly_configured_and_1_x_does_not() -> None:
    text = "[plugins.'io.containerd.snapshotter.v1.devmapper']\npool_name = 'p'"
    loaded = one(text, "2.2")
    assert loaded.cri_error
    assert loaded.cri_error.text.endswith("failed to parse base image size: '': invalid size: ''")
    assert one(text, "1.7").cri_enabled
    assert one(f"{text}\nbase_image_size = '8GB'", "2.2").unknown
    assert one("[plugins.'io.containerd.snapshotter.v1.blockfile']\nscratch_file = '/s'", "2.2").unknown


@pytest.mark.parametrize(
    ("plugin", "version", "words"),
    [
        ("snapshotter.v1.devmapper", "1.6", "devmapper not configured"),
        ("snapshotter.v1.devmapper", "2.2", "devmapper not configured: skip plugin"),
        ("snapshotter.v1.blockfile", "1.7", "no scratch file generator: skip plugin"),
        ("tracing.processor.v1.otlp", "2.0", "skip plugin: tracing endpoint not configured"),
        ("internal.v1.tracing", "2.0", "skip plugin: tracing endpoint not configured"),
        ("server.v1.metrics", "2.3", "skip plugin"),
    ],
)
def test_a_required_plugin_that_skips_itself_ends_the_daemon(plugin: str, version: str, words: str) -> None:
    uri = f"io.containerd.{plugin}"
    loaded = one(f"required_plugins = ['{uri}']", version)
    assert loaded.error
    assert loaded.error.text == f"containerd: load required plugin {uri}: {words}"


def test_whether_a_required_plugin_starts_may_depend_on_the_node() -> None:
    loaded = one("required_plugins = ['io.containerd.snapshotter.v1.btrfs']", "2.2")
    assert loaded.unknown == ("loads (whether the plugin io.containerd.snapshotter.v1.btrfs starts on this node)",)


def test_debians_builds_lack_plugins() -> None:
    assert one("required_plugins = ['io.containerd.internal.v1.tracing']", "1.6.20~ds1").error is not None
    text = "[plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = 'zfs'\n"
    assert one(text + "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\nruntime_type='x'",
               "2.1.9+unknown").cri_state == "failed"  # fmt: skip


@pytest.mark.parametrize(
    ("version", "ids"),
    [
        ("1.6.31", []),
        ("1.6.32", ["tracing-processor-config", "tracing-service-config"]),
        ("1.7.15", []),
        ("2.0.0", ["tracing-processor-config", "tracing-service-config"]),
    ],
)
def test_settings_of_the_tracing_plugins_are_deprecated(version: str, ids: list[str]) -> None:
    loaded = one(
        "[plugins.'io.containerd.tracing.processor.v1.otlp']\nendpoint = 'x'\n"
        "[plugins.'io.containerd.internal.v1.tracing']\nsampling_ratio = 1.0\n",
        version,
    )
    assert [d.id.rsplit("/", 1)[1] for d in loaded.deprecations] == ids
    assert [d.where.line for d in loaded.deprecations if d.where] == [3, 5][: len(ids)]


UNPACK = "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n"
NO_DIFFER = (
    'failed to get instance for diff plugin "x": no plugins registered for io.containerd.differ.v1.x: plugin: not found'
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("platform = 'linux/amd64'\nsnapshotter = 'native'\ndiffer = 'walking'\n", None),
        ("platform = 'linux/amd64'\nsnapshotter = 'native'\ndiffer = 'x'\n", NO_DIFFER),
        ("platform = 'windows/amd64'\nsnapshotter = 'native'\n", "no matching diff plugins: not found"),
        ("platform = 'linux'\nsnapshotter = 'blockfile'\n", 'snapshotter "blockfile" not found: not found'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["2.1.9+unknown", "2.3"])
def test_what_the_transfer_service_cannot_unpack_fails_cri_images(version: str, text: str, words: str | None) -> None:
    error = one(UNPACK + text, version).cri_error
    assert (error and error.text) == (words and f"io.containerd.cri.v1.images: {words}")


def test_what_is_optional_fails_nothing_since_2_3() -> None:
    text = f"{UNPACK}platform = 'linux'\nsnapshotter = 'native'\ndiffer = 'x'\noptional = true\n"
    assert [one(text, version).cri_state for version in ("2.2", "2.3")] == ["failed", "serving"]


def test_a_platform_of_a_handlers_images_must_be_one() -> None:
    text = "[plugins.'io.containerd.cri.v1.images'.runtime_platforms.nvidia]\nplatform = 'x/y/z/w'\n"
    for version in ("2.0", "2.1.9+unknown", "2.3"):
        error = one(text, version).cri_error
        assert error
        before = 'io.containerd.cri.v1.images: unable to parse platform "x/y/z/w": "x/y/z/w": '
        assert (error.text, error.line) == (f"{before}cannot parse platform specifier: invalid argument", 3)


@pytest.mark.parametrize(
    "text",
    [
        "[plugins.'io.containerd.service.v1.diff-service']\ndefault = ['erofs']\n",
        "[plugins.'io.containerd.snapshotter.v1.erofs']\nenable_fsverity = true\n",
    ],
)
def test_erofs_depends_on_the_node(text: str) -> None:
    assert one(text, "2.1.9+unknown").unknown[0].startswith("cri_state (whether ")


def test_devmapper_makes_no_file_system_but_three() -> None:
    text = "[plugins.'io.containerd.snapshotter.v1.devmapper']\npool_name = 'p'\nbase_image_size = '1GB'\n"
    text += "fs_type = 'zfs'\n"
    error = one(text, "2.1.9+unknown").cri_error
    assert error
    assert (error.text, error.line) == ('io.containerd.cri.v1.images: unsupported Filesystem Type: "zfs"', 5)
