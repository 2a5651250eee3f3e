"""The validator, by the cases of the reference implementation's own tests and one per rule of the specification."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.cdispec.document import Unparsable
from pytest_gpuready.cdispec.readers import CONTAINERD, TOOLKIT, newest
from pytest_gpuready.cdispec.spec import Invalid, parse
from tests.support.cdi import spec


def text(
    version: str = "0.3.0",
    *,
    kind: str = "vendor.com/device",
    edits: str = 'env: ["A=b"]',
    more: str = "",
    name: str = "dev1",
) -> bytes:
    devices = f'devices:\n- name: "{name}"\n  containerEdits:\n    {edits}\n'
    return f'cdiVersion: "{version}"\nkind: {kind}\n{more}{devices}'.encode()


def test_a_spec_is_read_whole() -> None:
    found = parse("/etc/cdi/nvidia.yaml", spec(2).encode())
    assert found.kind == "nvidia.com/gpu"
    assert found.version_text == "0.5.0"
    assert [device.name for device in found.devices][:2] == ["0", "1"]
    assert found.edits.hooks[0].path == "/usr/bin/nvidia-cdi-hook"
    assert found.edits.hooks[0].args[1] == "enable-cuda-compat"
    assert found.edits.nodes[0].major == 238
    assert found.edits.nodes[0].minor is None
    assert spec(2).splitlines()[found.edits.mounts[0].line - 1].strip().startswith("- hostPath")


@pytest.mark.parametrize(
    "data",
    [
        text(),
        text("v0.3.0"),
        text("1.1.0", edits="netDevices: [{hostInterfaceName: eth0, name: eth0}]"),
        text("0.4.0", edits="mounts: [{hostPath: /a, containerPath: /b, type: tmpfs}]"),
        text("0.7.0", edits="additionalGids: [44]"),
        text("0.6.0", more="annotations: {a.b/c: d}\n"),
        text("0.6.0", kind="vendor.com/de.vice"),
        text("0.5.0", name="0:1"),
        text("0.3.0", edits="deviceNodes: [{path: /dev/x, permissions: none}]"),
        text("0.7.0", edits="intelRdt: {closID: /}"),
        b'{"cdiVersion": "0.3.0", "kind": "v.com/c", "devices": [{"name": "d", "containerEdits": {"env": ["A=b"]}}]}',
    ],
)
def test_valid(data: bytes) -> None:
    assert parse("x", data).devices


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (text("0.0.0"), "invalid version"),
        (text("0.2.0"), "at least v0.3.0"),
        (text("0.4.0", name="0"), "at least v0.5.0"),
        (text("0.3.0", edits="mounts: [{hostPath: /a, containerPath: /b, type: tmpfs}]"), "at least v0.4.0"),
        (text("0.4.0", edits="deviceNodes: [{path: /dev/x, hostPath: /dev/y}]"), "at least v0.5.0"),
        (text("0.6.0", edits="additionalGids: [44]"), "at least v0.7.0"),
        (text("1.0.0", edits="intelRdt: {enableMonitoring: true}"), "at least v1.1.0"),
        (text("0.5.0", more="annotations: {a.b/c: d}\n"), "at least v0.6.0"),
        (text(kind="vendor.com-/device"), "invalid vendor"),
        (text(kind="vendor.com/device="), "invalid class"),
        (text(name="dev_"), "invalid device name"),
        (text(edits="{}"), "empty device edits"),
        (text(edits='env: ["=b"]'), "environment variable"),
        (text(edits="deviceNodes: [{path: ''}]"), "empty"),
        (text(edits="deviceNodes: [{path: /dev/x, type: z}]"), "invalid type"),
        (text(edits="deviceNodes: [{path: /dev/x, permissions: rwx}]"), "invalid permissions"),
        (text(edits="deviceNodes: [{path: /dev/x, major: c}]"), "whole number"),
        (text(edits="deviceNodes: [null]"), "is empty"),
        (text(edits="hooks: [{hookName: later, path: /a}]"), "invalid hook name"),
        (text(edits="hooks: [{hookName: prestart, path: ''}]"), "empty path"),
        (text(edits="mounts: [{hostPath: /a}]"), "empty containerPath"),
        (text(edits="mounts: {hostPath: /a}"), "must be a list"),
        (text("0.7.0", edits="intelRdt: {closID: a/b}"), "ClosID"),
        (text(more="devices2: []\n"), "unknown field"),
        (b"cdiVersion: 0.3.0\nkind: v.com/c\ndevices: []\n", "no devices"),
        (b"[]", "no mapping"),
    ],
)
def test_invalid(data: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        parse("x", data)
    assert caught.value.line is not None


def test_the_same_device_twice_is_invalid() -> None:
    with pytest.raises(Invalid, match="multiple device"):
        parse("x", text() + b"- name: dev1\n  containerEdits: {env: [A=b]}\n")


def test_numbers_are_taken_where_strings_are_wanted() -> None:
    """sigs.k8s.io/yaml turns a number into a string where the field is one."""
    assert parse("x", text("0.5.0").replace(b'"dev1"', b"7")).devices[0].name == "7"


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ((1, 6, 39), None),
        ((1, 7, 0), (0, 5, 0)),
        ((1, 7, 27), (0, 8, 0)),
        ((2, 0, 4), (0, 8, 0)),
        ((2, 1, 9), (1, 0, 0)),
        ((2, 3, 4), (1, 1, 0)),
    ],
)
def test_what_each_containerd_takes(release: tuple[int, ...], version: tuple[int, ...] | None) -> None:
    assert newest(CONTAINERD, release) == version
    assert newest(TOOLKIT, (1, 18, 2)) == (1, 1, 0)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "cdiVersion",
                        "kind",
                        "devices",
                        "name",
                        "containerEdits",
                        "deviceNodes",
                        "mounts",
                        "hooks",
                        "path",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_document_is_a_spec_or_unparsable(value: object) -> None:
    try:
        found = parse("x", json.dumps(value).encode())
    except Unparsable:
        return
    assert found.devices
