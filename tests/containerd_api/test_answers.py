"""What a daemon said, typed: recorded answers, odd ones, and any bytes at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.containerd_api.answers import (
    Condition,
    CriStatus,
    LiveAnswer,
    ServerInfo,
    VersionInfo,
    parse_answer,
)
from pytest_gpuready.containerd_api.ask import SERVER_PATH, STATUS_PATH, VERSION_PATH
from pytest_gpuready.containerd_api.grpcwire import encode, take_unary
from tests.containerd_api.support import curl_call, curl_output
from tests.support.reference import DATA, reference

if TYPE_CHECKING:
    from pathlib import Path

RUNTIMES = {"nvidia": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "/usr/bin/nvidia"}}}


def status_message(config: Any = None, *, handlers: tuple[tuple[str, bool], ...] = (), raw: str | None = None) -> bytes:
    """A CRI StatusResponse: one condition, ``info.config`` and runtime_handlers as (name, has features)."""
    text = raw if raw is not None else json.dumps(config)
    return encode(
        [
            (1, encode([(1, encode([(1, "RuntimeReady"), (2, 1)]))])),
            (2, encode([(1, "config"), (2, text)])),
            *((3, encode([(1, name), *([(2, b"")] if known else [])])) for name, known in handlers),
        ]
    )


def ask(message: bytes, version: str = "v1.7.34") -> LiveAnswer:
    told = encode([(1, version), (2, "abc")])
    return parse_answer(curl_output(curl_call(VERSION_PATH, told), curl_call(STATUS_PATH, message)))


def cri(message: bytes, version: str = "v1.7.34") -> CriStatus:
    status = ask(message, version).cri
    assert status is not None
    return status


def binary_name(options: dict[str, Any], version: str) -> str | None:
    config = {"containerd": {"runtimes": {"nvidia": {"options": options}}}}
    return cri(status_message(config), version).handlers["nvidia"].binary_name


# ------------------------------------------------------------------------------------------------------------ recorded


@reference
def test_an_h100_nodes_status_as_it_came_off_the_socket_equals_what_crictl_printed() -> None:
    message = take_unary((DATA / "h100/cri-status.bin").read_bytes())
    by_curl = cri(message, "2.1.9+unknown")
    by_crictl = parse_answer(b"via=crictl\nsocket=ok\n" + (DATA / "h100/crictl-info.json").read_bytes() + b"\nrc=0\n")
    assert by_crictl.cri == by_curl
    assert (by_curl.via, by_crictl.via) == ("curl", "crictl")
    nvidia = by_curl.handlers["nvidia"]
    assert nvidia.binary_name == "/usr/bin/nvidia-container-runtime"
    assert (nvidia.runtime_type, nvidia.systemd_cgroup) == ("io.containerd.runc.v2", False)
    assert (nvidia.pod_annotations, nvidia.features_known) == ((), True)
    assert (by_curl.default_runtime, by_curl.cdi_enabled) == ("runc", True)
    assert by_curl.cdi_spec_dirs == ("/etc/cdi", "/var/run/cdi")
    network = by_curl.condition("NetworkReady")
    assert network is not None
    assert (network.status, network.reason) == (False, "NetworkPluginNotReady")


CASES = sorted(DATA.glob("nvsmi/*-crictl-info-*"))


@reference
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_of_the_real_crictl(case: Path) -> None:
    truth = json.loads((case / "truth.json").read_text())
    output = b"".join(path.read_bytes() for path in (case / "stderr.txt", case / "stdout.json") if path.is_file())
    answer = parse_answer(b"via=crictl\nsocket=ok\n" + output + f"\nrc={truth['exit_code']}\n".encode())
    status, says = answer.cri, truth["says"]
    assert answer.state == "answered"
    assert status is not None
    assert status.served is says.get("ok", True)
    if not status.served:
        assert status.refusal in says["problem"]
        return
    assert status.default_runtime == says["default_runtime"]
    assert {name: handler.binary_name or None for name, handler in status.handlers.items()} == says["handlers"]
    assert status.cdi_enabled is says["cdi"] or (status.cdi_enabled is None and not says["cdi"])


@reference
def test_a_handler_that_could_not_be_introspected_is_told() -> None:
    output = (DATA / "nvsmi/50-crictl-info-2.1/stdout.json").read_bytes()
    status = parse_answer(b"via=crictl\nsocket=ok\n" + output + b"\nrc=0\n").cri
    assert status is not None
    assert {name: handler.features_known for name, handler in status.handlers.items()} == {
        "nvidia": False,
        "runc": True,
    }


# ------------------------------------------------------------------------------------------------------ option spelling


@pytest.mark.parametrize("spelling", ["BinaryName", "binaryname", "BINARYNAME", "binaryName"])
@pytest.mark.parametrize("version", ["1.6.20~ds1", "v1.7.34", "v2.1.9", "2.3.4-k3s1"])
def test_every_release_reads_four_spellings(spelling: str, version: str) -> None:
    assert binary_name({spelling: "/x"}, version) == "/x"


def test_1_x_ignores_other_spellings_and_2_x_takes_any_case() -> None:
    assert [binary_name({"Binaryname": "/x"}, version) for version in ("1.7.34", "2.0.11")] == [None, "/x"]
    assert [binary_name({"binary_name": "/x"}, version) for version in ("1.7.34", "2.0.11")] == [None, None]


def test_of_several_spellings_1_x_takes_the_exact_one_and_2_x_the_last_in_byte_order() -> None:
    both = {"BinaryName": "/exact", "binaryname": "/small"}
    assert [binary_name(both, version) for version in ("1.7.34", "2.0.11")] == ["/exact", "/small"]


def test_an_unknown_release_gets_a_value_only_where_both_would_read_the_same() -> None:
    assert binary_name({"BinaryName": "/x"}, "301026e58.m") == "/x"
    assert binary_name({"Binaryname": "/x"}, "301026e58.m") is None
    assert binary_name({"BinaryName": "/a", "binaryname": "/b"}, "301026e58.m") is None


def test_without_a_version_the_shape_tells_the_release() -> None:
    config: dict[str, Any] = {"containerd": {"runtimes": {"nvidia": {"options": {"Binaryname": "/x"}}}}}
    message = status_message(config, handlers=(("nvidia", True),))
    newer = parse_answer(curl_output(curl_call(STATUS_PATH, message))).cri
    older = parse_answer(curl_output(curl_call(STATUS_PATH, status_message({**config, "sandboxImage": "pause"})))).cri
    assert newer is not None
    assert older is not None
    assert (newer.handlers["nvidia"].binary_name, older.handlers["nvidia"].binary_name) == ("/x", None)


# -------------------------------------------------------------------------------------------------------------- parts


def test_annotations_are_found_in_either_spelling_and_null_is_empty() -> None:
    entry = {"PodAnnotations": ["a.*"], "container_annotations": None}
    handler = cri(status_message({"containerd": {"runtimes": {"n": entry}}})).handlers["n"]
    assert (handler.pod_annotations, handler.container_annotations) == (("a.*",), ())


def test_a_handler_that_only_runtime_handlers_names_is_kept_and_the_unnamed_one_is_the_default() -> None:
    config = {"containerd": {"runtimes": RUNTIMES}}
    status = cri(status_message(config, handlers=(("", True), ("other", False))), "2.1.9")
    assert sorted(status.handlers) == ["nvidia", "other"]
    assert (status.handlers["other"].features_known, status.handlers["nvidia"].features_known) == (False, None)


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        {},
        {"containerd": None},
        {"containerd": {"runtimes": []}},
        {"containerd": {"runtimes": {"nvidia": "x"}, "defaultRuntimeName": 5}, "enableCDI": "yes", "cdiSpecDirs": [1]},
    ],
)
def test_odd_fields_are_not_guessed(config: Any) -> None:
    status = cri(status_message(config))
    assert status.served
    assert (status.handlers, status.default_runtime) == ({}, None)
    assert (status.cdi_enabled, status.cdi_spec_dirs) == (None, None)


def test_an_odd_handler_is_kept_with_nothing_known() -> None:
    entry = {"runtimeType": 1, "runtimePath": [], "options": {"BinaryName": 5, "SystemdCgroup": "true"}}
    handler = cri(status_message({"containerd": {"runtimes": {"n": entry}}})).handlers["n"]
    assert (handler.runtime_type, handler.runtime_path, handler.binary_name, handler.systemd_cgroup) == (None,) * 4
    assert handler.pod_annotations is None


@pytest.mark.parametrize("raw", ["", "{", '{"a": NaN}', "[" * 100_000, '{"a": ' * 50_000, '{"a": ' + "1" * 9999 + "}"])
def test_a_configuration_that_is_no_json_is_none_and_the_rest_stands(raw: str) -> None:
    status = cri(status_message(raw=raw))
    assert (status.served, status.config) == (True, None)
    assert status.condition("RuntimeReady") == Condition("RuntimeReady", status=True)


def test_redacted_values_do_not_matter() -> None:
    """Secrets are blanked in place before anything is decoded; the lengths stay."""
    config = {
        "registry": {"configs": {"r.example": {"auth": {"username": "u", "password": "hunter2"}}}},
        "containerd": {"runtimes": RUNTIMES},
    }
    output = curl_output(curl_call(STATUS_PATH, status_message(config)))
    plain, blanked = parse_answer(output).cri, parse_answer(output.replace(b"hunter2", b"*******")).cri
    assert plain is not None
    assert blanked is not None
    assert plain.handlers == blanked.handlers
    assert plain.handlers["nvidia"].binary_name == "/usr/bin/nvidia"


def test_the_server_answer() -> None:
    warning = encode([(1, "io.containerd.deprecation/x"), (2, "gone in 3.0"), (3, b"")])
    told = encode([(1, "u-u-i-d"), (2, 4711), (3, 4026531836), (4, warning)])
    server = parse_answer(curl_output(curl_call(SERVER_PATH, told))).server
    assert server == ServerInfo("u-u-i-d", 4711, 4026531836, (("io.containerd.deprecation/x", "gone in 3.0"),))


def test_a_server_answer_without_pid_has_none() -> None:
    assert parse_answer(curl_output(curl_call(SERVER_PATH, encode([(1, "u")])))).server == ServerInfo("u", None, None)


def test_a_server_call_that_is_not_offered_is_no_error() -> None:
    output = curl_output(
        curl_call(VERSION_PATH, encode([(1, "1.6.20")])), curl_call(SERVER_PATH, b"", status=12, text="unknown method")
    )
    answer = parse_answer(output)
    server = answer.call(SERVER_PATH)
    assert server is not None
    assert (answer.state, answer.server, server.grpc_status) == ("answered", None, 12)
    assert answer.version == VersionInfo("1.6.20", "")


def test_parts_that_are_no_protobuf_are_none() -> None:
    calls = [curl_call(path, b"\x0b") for path in (VERSION_PATH, SERVER_PATH, STATUS_PATH)]
    answer = parse_answer(curl_output(*calls))
    assert (answer.state, answer.version, answer.server, answer.cri) == ("answered", None, None, None)
    assert "cannot be read" in answer.detail


def test_a_cri_that_refuses_while_it_starts_is_served() -> None:
    status = parse_answer(curl_output(curl_call(STATUS_PATH, b"", status=2, text="server is not initialized yet"))).cri
    assert status == CriStatus(served=True, refusal="server is not initialized yet")


@pytest.mark.parametrize(
    ("version", "served"), [("1.5.18", None), ("v1.4.0", None), ("1.6.20", False), ("2.1.9", False)]
)
def test_unimplemented_says_cri_is_off_unless_the_release_speaks_v1alpha2_only(version: str, served: object) -> None:
    refused = curl_call(STATUS_PATH, b"", status=12, text="unknown service runtime.v1.RuntimeService")
    answer = parse_answer(curl_output(curl_call(VERSION_PATH, encode([(1, version)])), refused))
    assert (answer.cri.served if answer.cri else None) is served


def test_a_status_that_timed_out_is_not_known_and_the_rest_is() -> None:
    output = curl_output(curl_call(VERSION_PATH, encode([(1, "1.7.34")])), f"rpc={STATUS_PATH}\n\nrc=28\n".encode())
    answer = parse_answer(output)
    assert (answer.state, answer.cri, answer.version) == ("answered", None, VersionInfo("1.7.34", ""))
    assert "deadline" in answer.detail


# -------------------------------------------------------------------------------------------------------------- crictl


@pytest.mark.parametrize(
    ("text", "state", "served"),
    [
        ('level=fatal msg="rpc error: code = Unknown desc = server is not initialized yet"', "answered", True),
        ('msg="code = Unavailable desc = connection error: dial unix /s: connect: connection refused"', "stale", None),
        ('msg="rpc error: code = Unavailable desc = dial unix /s: connect: permission denied"', "denied", None),
        ('level=fatal msg="connect: rpc error: code = DeadlineExceeded desc = context"', "timeout", None),
        ('level=fatal msg="failed to connect: context deadline exceeded"', "timeout", None),
        ('level=fatal msg="unknown flag"', "broken", None),
        ("", "broken", None),
        ("{not json}", "broken", None),
    ],
)
def test_what_crictl_says_when_it_fails(text: str, state: str, served: object) -> None:
    """Made up after gRPC's forms of these messages, but for the first of test_outputs_of_the_real_crictl's kind."""
    answer = parse_answer(b"via=crictl\nsocket=ok\n" + text.encode() + b"\nrc=1\n")
    assert (answer.state, answer.cri.served if answer.cri else None) == (state, served)
    assert answer.detail


def test_log_lines_around_crictls_json_do_not_matter() -> None:
    output = b'via=crictl\nsocket=ok\nWARN[0000] no {config}\n{\n "config": {"enableCDI": true}\n}\n\nrc=0\n'
    status = parse_answer(output).cri
    assert status is not None
    assert status.cdi_enabled is True


def test_a_cut_output_of_crictl_is_broken() -> None:
    assert parse_answer(b'via=crictl\nsocket=ok\n{\n "config": {').state == "broken"


# ------------------------------------------------------------------------------------------------------------- hostile

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["containerd", "runtimes", "options", "BinaryName", "binaryname", "PodAnnotations"])
        | st.text(max_size=5), inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON, st.sampled_from(["1.6.20", "2.1.9", "", "x"]))
def test_no_configuration_raises(config: Any, version: str) -> None:
    for key in ("containerd", "runtimes", "options"):
        assert cri(
            status_message({"containerd": {"runtimes": {"n": {"options": config}, key: config}}}), version
        ).served


def test_a_lone_surrogate_in_a_key_does_not_raise() -> None:
    raw = '{"containerd": {"runtimes": {"n": {"options": {"\\ud800": 1, "BinaryName": "/x", "binaryname": "/y"}}}}}'
    assert cri(status_message(raw=raw), "2.1.9").handlers["n"].binary_name == "/y"


@given(st.binary(max_size=200), st.sampled_from([b"", b"via=curl\nsocket=ok\n", b"via=crictl\nsocket=ok\n{"]))
def test_no_bytes_raise(data: bytes, head: bytes) -> None:
    assert parse_answer(head + data).state


@given(st.binary(max_size=100), st.sampled_from([VERSION_PATH, SERVER_PATH, STATUS_PATH]))
def test_no_message_raises(message: bytes, path: str) -> None:
    assert parse_answer(curl_output(curl_call(path, message))).state == "answered"
