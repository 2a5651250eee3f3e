"""Addresses and levels that end the daemon; the words are those of real daemons and of Go's net package."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.listeners import address_error, everywhere, port_error
from pytest_gpuready.containerd.load import load
from pytest_gpuready.containerd.model import DEFAULT_CONFIG, Loaded

_LISTEN = "containerd: failed to get listener for"


def one(text: str, version: str) -> Loaded:
    return load(MemoryFiles({DEFAULT_CONFIG: text.encode()}), version)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:0", None),
        (":1338", None),
        ("[::1]:1338", None),
        ("127.0.0.1", "address 127.0.0.1: missing port in address"),
        ("::1:1338", "address ::1:1338: too many colons in address"),
        ("[::1", "address [::1: missing port in address"),
        ("[:1", "address [:1: missing ']' in address"),
        ("[::1]", "address [::1]: missing port in address"),
        ("[::1]x:1", "address [::1]x:1: missing port in address"),
        ("a]:1", "address a]:1: unexpected ']' in address"),
        ("a[:1", "address a[:1: unexpected '[' in address"),
        (":99999", "address 99999: invalid port"),
        (":-1", "address -1: invalid port"),
        (":abc", "lookup tcp/abc: unknown port"),
        (":http", None),
        ("*:1338", "lookup *: no such host"),
        ("127.1:1338", "lookup 127.1: no such host"),
        ("256.0.0.1:1338", "lookup 256.0.0.1: no such host"),
        (" 127.0.0.1:1338", "lookup  127.0.0.1: no such host"),
        ("a..b:1", "lookup a..b: no such host"),
        ("-a:1", "lookup -a: no such host"),
        (f"{'a' * 64}:1", f"lookup {'a' * 64}: no such host"),
        ("node_1.example.:1", None),
    ],
)
def test_what_go_says_of_an_address(address: str, words: str | None) -> None:
    found = address_error(address)
    if address in ("[::1", "[:1"):
        assert found
        assert found.startswith("listen tcp: address ")
    else:
        assert found == (f"listen tcp: {words}" if words else None)


def test_an_empty_port_is_any() -> None:
    assert port_error("") is None


@pytest.mark.parametrize(("version", "word"), [("1.6", "address"), ("1.7", "lookup"), ("2.3", "lookup")])
def test_the_go_of_1_6_has_another_word_for_a_port_without_a_number(version: str, word: str) -> None:
    error = one("version = 2\n[metrics]\naddress = ':foo'\n", version).error
    assert error
    assert error.text == f"{_LISTEN} metrics endpoint: listen tcp: {word} tcp/foo: unknown port"


@pytest.mark.parametrize(
    ("host", "words"),
    [("[::1]", "address [[::1]]:0: missing port in address"), ("*", "lookup *: no such host"), ("::1", None)],
)
@pytest.mark.parametrize("version", ["1.6", "1.7", "2.1", "2.3"])
def test_a_streaming_address_that_is_none_ends_the_daemon(version: str, host: str, words: str | None) -> None:
    error = one(f"{CRI2}stream_server_address = '{host}'\n", version).error
    assert (error.text if error else None) == (
        f"Failed to run CRI service: stream server error: listen tcp: {words}" if words else None
    )


@pytest.mark.parametrize(("host", "own"), [("", True), ("localhost", True), ("127.0.1.1", True), ("[::]", True),
                                           ("0.0.0.0", True),  # noqa: S104
                                           ("10.1.2.3", False), ("node", False)])  # fmt: skip
def test_which_hosts_every_machine_has(host: str, own: bool) -> None:  # noqa: FBT001
    assert everywhere(host) == own


@pytest.mark.parametrize("version", ["1.6", "1.7", "2.2", "2.3"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[debug]\nlevel = 'loud'", 'containerd: not a valid logrus Level: "loud"'),
        ("[debug]\nformat = 'xml'", "containerd: unknown log format: xml"),
        ("[debug]\naddress = 'x'", f"{_LISTEN} debug endpoint: listen tcp: address x: missing port in address"),
        ("[metrics]\naddress = 'x'", f"{_LISTEN} metrics endpoint: listen tcp: address x: missing port in address"),
    ],
)  # fmt: skip
def test_what_ends_the_daemon(version: str, text: str, words: str) -> None:
    loaded = one(f"version = 2\n{text}\n", version)
    assert loaded.error
    assert (loaded.loads, loaded.error.text, loaded.error.line) == (False, words, 3)


def test_2_3_makes_a_plugin_of_the_tcp_address_and_does_not_end() -> None:
    text = "version = 2\n[grpc]\ntcp_address = '127.0.0.1'\n"
    assert [one(text, version).loads for version in ("1.7", "2.2", "2.3")] == [False, False, True]


def test_an_address_of_this_node_only_is_open() -> None:
    assert one("version = 2\n[metrics]\naddress = '10.1.2.3:1338'\n", "2.2").unknown == (
        "loads (whether the metrics endpoint can listen on 10.1.2.3:1338 on this node)",
    )


CRI2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n'


@pytest.mark.parametrize(("version", "ends"), [("1.6", True), ("1.7", True), ("2.2", True), ("2.3", False)])
def test_a_period_of_no_seconds_panics_once_the_daemon_runs(version: str, ends: bool) -> None:  # noqa: FBT001
    loaded = one(f"{CRI2}stats_collect_period = 0\n", version)
    assert loaded.loads is not ends
    if ends:
        assert loaded.error
        assert (loaded.error.text, loaded.error.line) == ("panic: non-positive interval for NewTicker", 3)


@pytest.mark.parametrize("version", ["1.6", "2.3"])
def test_a_streaming_port_that_is_none_ends_the_daemon(version: str) -> None:
    loaded = one(f"{CRI2}stream_server_port = '99999'\n", version)
    assert loaded.error
    assert loaded.error.text == (
        "Failed to run CRI service: stream server error: listen tcp: address 99999: invalid port"
    )
    loaded = one(f"{CRI2}stream_server_address = '10.1.2.3'\n", version)
    assert loaded.unknown[0].startswith("loads (whether the streaming server can listen on")


@pytest.mark.parametrize("version", ["1.6", "2.3"])
def test_a_streaming_certificate_that_is_not_there_fails_cri(version: str) -> None:
    text = f"{CRI2}enable_tls_streaming = true\n[plugins.'io.containerd.grpc.v1.cri'.x509_key_pair_streaming]\n"
    text += "tls_cert_file = '/c'\ntls_key_file = '/k'\n"
    loaded = one(text, version)
    assert loaded.cri_error
    assert loaded.cri_error.text.endswith(
        "failed to load x509 key pair for stream server: open /c: no such file or directory"
    )
    both = MemoryFiles({DEFAULT_CONFIG: text.encode(), "/c": b"", "/k": b""})
    assert load(both, version).unknown == ("cri_state (whether the streaming certificate can be loaded)",)


@pytest.mark.parametrize("version", ["1.6", "1.7.24", "2.2.7"])
def test_the_certificates_of_the_tcp_endpoint_are_loaded_before_2_3_with_an_address_or_without(version: str) -> None:
    text = "version = 2\n[grpc]\ntcp_tls_cert = '/c'\ntcp_tls_key = '/k'\ntcp_tls_ca = '/a'\n"

    def of(**there: bytes) -> tuple[str | None, int | None, tuple[str, ...]]:
        files = MemoryFiles({DEFAULT_CONFIG: text.encode(), **{f"/{name}": data for name, data in there.items()}})
        loaded = load(files, version)
        if loaded.error is None:
            return None, None, loaded.unknown
        return loaded.error.text, loaded.error.line, loaded.unknown

    assert of() == ("containerd: open /c: no such file or directory", 3, ())
    assert of(c=b"") == ("containerd: open /k: no such file or directory", 4, ())
    missing = "containerd: failed to load CA file: open /a: no such file or directory"
    assert of(c=b"", k=b"") == (missing, 5, ())
    unknown = ("loads (whether the TLS certificate of the TCP endpoint can be loaded)",)
    assert of(c=b"", k=b"", a=b"") == (None, None, unknown)


def test_2_3_serves_without_its_tcp_endpoint() -> None:
    text = "version = 2\n[grpc]\ntcp_address = '127.0.0.1:0'\ntcp_tls_cert = '/c'\n"
    assert load(MemoryFiles({DEFAULT_CONFIG: text.encode()}), "2.3").cri_enabled
