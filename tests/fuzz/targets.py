"""What is fuzzed: each reader of what a node or a user says, with valid samples and the words of its format."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock
from xml.sax.saxutils import escape

from pytest_gpuready.cdispec import document, registry, spec
from pytest_gpuready.cdispec.document import Unparsable
from pytest_gpuready.containerd.files import MemoryFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.containerd.releases import ALIASES
from pytest_gpuready.containerd.toml import Dialect, TomlError, loads
from pytest_gpuready.containerd_api import grpcwire, hpack
from pytest_gpuready.containerd_api.answers import parse_answer
from pytest_gpuready.model import Denied, Settings, Undetermined
from pytest_gpuready.node import facts, script, snapshot
from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import SpecError, parse_all
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.redact import redact_bytes
from pytest_gpuready.node.snapshot import SnapshotError, shipped
from pytest_gpuready.node.transport import Reply, complaint
from pytest_gpuready.report import json as as_json
from pytest_gpuready.report import readback
from pytest_gpuready.report import text as words
from pytest_gpuready.report.model import Run
from pytest_gpuready.views import driver_probe, kubelet_files, nvsmi, toolkit_probe
from pytest_gpuready.views.nvsmi import Garbled
from tests.fuzz import brought, pasted, whole
from tests.fuzz.engine import Target
from tests.fuzz.mutate import mutated
from tests.support import cdi as cdi_samples
from tests.support import containerd as containerd_samples
from tests.support import driver as driver_samples
from tests.support import nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_gpuready.node.facts import Fact, Request

NONCE = "0123456789abcdef01234567"

REQUESTS = [
    facts.file("/etc/os-release", limit=200),
    facts.file("/nowhere"),
    facts.file("/etc"),
    facts.stat("/etc/passwd"),
    facts.stat("/dev/null"),
    facts.stat("/proc/self/exe"),
    facts.stat("/nowhere/else"),
    facts.glob("/etc/host*"),
    facts.files("/proc/self/stat*", limit=40),
    facts.run("echo", "one"),
    facts.run("sh", "-c", "echo two; echo three >&2; exit 3"),
    facts.run("no-such-program"),
    facts.script("a script", 'echo "$1"', "x"),
]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@functools.cache
def _spoken() -> tuple[bytes, ...]:
    """What a real sh prints for the requests, and its answer to the second round."""
    first = preamble(NONCE) + script.render(REQUESTS, NONCE)
    second = preamble(NONCE) + script.render(REQUESTS[:2], NONCE)
    said = (subprocess.run(["sh"], input=text.encode(), capture_output=True, check=True) for text in (first, second))
    return tuple(b"\nhello\n" + done.stdout for done in said)


class _Says:
    """A transport that stands for a node which answers each round with bytes that were there before."""

    def __init__(self, data: bytes) -> None:
        self.nonce, self.data = NONCE, data
        self.greeted = b"hello" in data
        self.complaint = complaint(data[-200:]) if data[:1] > b"\x80" else ""
        self.sudo = data[:1] == b"s"
        self.by_rule = data[:1] == b"r"

    def send(self, script: str, deadline: float) -> Reply:
        del script, deadline
        return Reply(self.data, f"\n{NONCE} end\n".encode() in self.data, one_line(_text(self.data[:80])))

    def close(self) -> None:
        """Nothing to end."""


def _framing(data: bytes) -> None:
    answers = script.parse(data, REQUESTS, NONCE)
    for request, fact in answers.items():
        assert fact.state in facts.STATES
        assert request.kind in ("glob", "files") or len(fact.data) <= max(request.limit, 8192), request
        assert fact.text == clean(fact.text)


def _gather(data: bytes) -> None:
    asked: dict[Request, Fact] = {}

    def wants(known: facts.Facts) -> Iterable[Request]:
        asked.update(known)
        return REQUESTS

    found = gather(_Says(data), "n1", wants, 5)
    assert found.peek(facts.REACH) is not None
    for request, _ in found:
        if request.kind == "stat":
            _allowed(found.stat, request.arg[0])


def _allowed(function: Callable[[str], object], argument: str) -> None:
    """Call it; what is not known or may not be read is an answer."""
    try:
        function(argument)
    except (Undetermined, Denied):
        return


def _redaction(data: bytes) -> None:
    done = redact_bytes(data)
    assert len(done) == len(data)
    assert done.count(b"\n") == data.count(b"\n")
    assert redact_bytes(done).count(b"\n") == data.count(b"\n")


def _cleaning(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert "\x1b" not in cleaned
    assert "\n" not in one_line(text)
    for width in (1, 20, 80):
        assert all(words.columns(line) <= max(width, 2) for line in words.folded_hard(cleaned, width)), width
        words.wrapped(cleaned, width, first="  ", rest="    ")
        assert words.columns(words.cut(cleaned, width)) <= max(width, 2)
    words.node_set(cleaned[:2000].split(","))
    assert "\x1b" not in complaint(data)


def _snapshot(data: bytes) -> None:
    found, _ = snapshot.loads(data.decode("utf-8", "replace"), "a snapshot")
    again, _ = snapshot.loads(snapshot.dumps(found, {}), "again")
    assert len(again) == len(found)


def _reports(data: bytes) -> None:
    """A JSON report read back says the same as JSON again, and is ready for nothing but what was looked at."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    for entry in readback.entries(document) if isinstance(document, dict) else ():
        node = readback.node(entry, Settings())
        passed = [found for found in node.findings.values() if found.status == "pass" and found.check.family != "node"]
        assert node.verdict != "ready" or passed
        (written,) = json.loads(as_json.dumps(Run((node,), "", 0.0, "")))["nodes"]
        again = readback.node(written, Settings())
        assert as_json.render(Run((again,), "", 0.0, ""))["nodes"] == [written]


def _hosts(data: bytes) -> None:
    text = _text(data)
    if len(text) > 2000 or text.count("[") > 4 or any(len(part) > 6 for part in text.split("-")):
        text = text[:60]  # sets of many thousand nodes take the time that they take
    # What ClusterShell would say of a group is not tried here: that is a process each.
    with mock.patch("pytest_gpuready.node.hosts._ask_clustershell", lambda name: f"{name} is not known"):
        nodes = parse_all([text])
    for node in nodes:
        assert node.label
        assert "\n" not in node.label
        assert node.password is None or len(node.password) < 6 or node.password not in node.label


def _toml(dialect: Dialect, *, lazy: bool) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        found = loads(data, dialect, lazy=lazy)
        for key in found.root:
            assert found.line_of([key]) is not None

    return read


def _containerd(data: bytes) -> None:
    release = (*ALIASES.values(), None, "1.7.99", "3.0.0")[len(data) % (len(ALIASES) + 3)]
    dropin = data[len(data) // 2 :]
    held: dict[str, bytes | OSError] = {
        "/etc/containerd/config.toml": data,
        "/etc/containerd/conf.d/99-nvidia.toml": dropin,
    }
    if len(data) % 5 == 0:
        held["/etc/containerd/conf.d/50-x.toml"] = PermissionError(13, "Permission denied")
    try:
        loaded = load(MemoryFiles(held), release)
    except PermissionError:
        return
    assert all(handler.name == name for name, handler in loaded.handlers.items())


def _cdi_spec(data: bytes) -> None:
    one = spec.parse("/etc/cdi/a.yaml", data)
    other = spec.parse("/etc/cdi/b.yaml", data)
    assert registry.resolve([[one]]).devices.keys() >= registry.resolve([[one, other]]).devices.keys()
    assert one.version_text


def _smi(data: bytes) -> None:
    for gpu in nvsmi.parse(data.decode("utf-8", "replace")).gpus:
        assert gpu.mig_enabled in (True, False)


def _smi_values(data: bytes) -> None:
    """Well-formed XML whose values are anything."""
    rest = random.Random(data)
    xml = driver_samples.smi_xml(driver_samples.gpu_xml(0), driver_samples.gpu_xml(1))
    spoken = iter(lambda: escape(clean(mutated(rest, [b"81559 MiB", b"Enabled"], []).decode("utf-8", "replace"))), None)
    share = rest.choice((0.02, 0.2, 1))
    _smi(re.sub(r">([^<>]+)<", lambda found: f">{next(spoken)}<" if rest.random() < share else found[0], xml).encode())


def _probes(data: bytes) -> None:
    text = facts.Fact("ok", data).text
    for device in driver_probe.pci_devices(text) or ():
        assert str(device)
    for library in driver_probe.libraries(text)[1]:
        assert library.name is not None
        library.fits("x86_64")
        library.trouble("aarch64")
        str(library.version)
    str(driver_probe.module_on_disk(text).flavour)
    driver_probe.kernel_log(text)
    toolkit_probe.numbers(text)
    toolkit_probe.repositories(text)
    nvsmi.bus_id(text)


def _kubelet(data: bytes) -> None:
    text = facts.Fact("ok", data).text
    kubelet_files.in_env(text, "container-runtime-endpoint", "/x")
    kubelet_files.in_args(text, "root-dir", "/var/snap/microk8s/1/args/kubelet")
    kubelet_files.line_of(text, "containerRuntimeEndpoint")
    kubelet_files.mapping("/x", text)
    kubelet_files.documents("/x", text)


def _wire(data: bytes) -> None:
    with contextlib.suppress(grpcwire.DecodeError):
        data = grpcwire.take_unary(data)
    message = grpcwire.Message.decode(data)
    for number in (1, 2, 3):
        message.messages(number)
        message.string_map(number)
        message.text(number)
        message.integer(number)


def _outputs(prefix: str) -> list[bytes]:
    """The answers of the whole nodes to the scripts and commands whose name begins so."""
    return [
        fact.data
        for known in whole.nodes().values()
        for request, fact in known
        if request.kind in ("run", "script") and prefix in request.arg[0] and fact.data
    ]


def _files(*ends: str) -> list[bytes]:
    return [
        fact.data
        for known in whole.nodes().values()
        for request, fact in known
        if request.kind == "file" and request.arg[0].endswith(ends) and fact.data
    ]


_MUCH_TOML = b"""a.b."c d" = [1, 2.5e3, 0x1F, 0b1, true, {x = 1979-05-27T07:32:00Z}]
[[t]]
s = '''x
'''
l = 'x'
"""


@functools.cache
def targets() -> tuple[Target, ...]:
    """All of them."""
    configs = [containerd_samples.config(release).encode() for release in ALIASES.values()]
    tomls = [
        *configs,
        *_files(".toml"),
        _MUCH_TOML,
    ]
    toml_words = [
        b"version = 2\n",
        b"imports = ['*']\n",
        b"[plugins]\n",
        b"[[a]]\n",
        b'"""',
        b"'''",
        b"1979-05-27",
        b"+1",
    ]
    toml_words += [
        b'"io.containerd.grpc.v1.cri"',
        b"cri",
        b"options",
        b"runtimes",
        b"BinaryName",
        b"inf",
        b"\\U00110000",
    ]
    specs = [cdi_samples.spec(2).encode(), *_files(".yaml"), b'{"cdiVersion":"0.6.0","kind":"a/b","devices":[]}']
    spec_words = [
        b"cdiVersion",
        b"kind",
        b"devices",
        b"containerEdits",
        b"- ",
        b"hooks",
        b"!!python/object:os.x",
        b"<<: *a",
    ]
    live = [
        containerd_samples.Live(
            release, default="nvidia", handlers={"nvidia": {"runtimeType": "x", "options": {}}}
        ).answer()
        for release in ALIASES.values()
    ]
    live += [b"via=none\nsocket=absent\n", b"via=none\nsocket=denied\n", *_outputs("containerd API")]
    api_words = [b"via=curl\n", b"via=python3\n", b"via=crictl\n", b"socket=ok\n", b"grpc-status", b"HTTP/2 200"]
    message = grpcwire.encode([(1, "nvidia"), (2, 1), (3, grpcwire.encode([(1, "k"), (2, "v")]))])
    frames = [
        grpcwire.frame(message),
        message,
        b"\x88\x5f\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64",
        b"\x40\x01a\x01b",
    ]
    smi = [
        driver_samples.smi_xml(driver_samples.gpu_xml(0), driver_samples.gpu_xml(1)).encode(),
        *_outputs("nvidia-smi"),
    ]
    secrets = [b'[auth]\npassword = "hunter2hunter2"\ntoken: abc\n', b"https://u:p4ssw0rd@h/x?sig=abcdef&key=1\n"]
    secrets += [b"-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n", b"login me password x\n"]
    secret_words = [
        b"password",
        b"secret",
        b"token=",
        b'"auth": "',
        b"Bearer AbCdEf012345",
        b"://",
        b"@",
        b"BEGIN PRIVATE KEY",
    ]
    snapshots = [path.read_bytes() for path in shipped().values()]
    snapshot_words = [b'"text"', b'"base64"', b'"kind"', b'"state"', b'"rc"', b"[", b"{", b'"gpuready_snapshot": 1']
    sample = Path(__file__).parents[2] / "reports" / "sample.json"
    reports = [json.dumps(json.loads(sample.read_bytes())).encode()]
    report_words = [b'"ready"', b'"fail"', b'"roots": []', b'"checks": []', b"null", b"NaN", b"[", b"{", b"1e999"]
    hosts = [b"ssh://u:pw%2C@h[1-3]:22?timeout=3,local://", b"kubectl://p?namespace=n&container=c", b"chroot:///a%20b"]
    hosts += [
        b"snapshot://a[b].json",
        b"ansible://g[0:2]",
        b"ssh://[::1]:22",
        b"docker://1:1@x",
        b"lxc://r:c",
        b"paramiko://h",
    ]
    mark = NONCE.encode()
    frame_words = [
        b"\n%b " % mark,
        b"\n%b 0 b\n" % mark,
        b"\n%b 3 e ok\n" % mark,
        b"\n%b S0 b\n" % mark,
        b" m\n",
        b" e rc\n",
    ]
    frame_words += [b"%b-rc 0 1 1 \n" % mark, b"\n%b-out 9" % mark, b"\n%b end\n" % mark, b"8.0", b"hello", mark]
    probes = [
        *_outputs("pci"),
        *_outputs("librar"),
        *_outputs("module"),
        *_outputs("kernel"),
        *_outputs("repos"),
        b"x\n",
    ]
    kubelets = [*_files("config.yaml", "flags.env", "kubelet"), b'KUBELET_KUBEADM_ARGS="--a=b --c"\n', b'{"a":\t1}']
    seeds = [b"", *(name.encode() for name in whole.nodes())]
    made = [
        Target("framing", _spoken(), _framing, (), frame_words),
        Target("gather", _spoken(), _gather, (), frame_words),
        Target("redaction", [*secrets, *configs, *snapshots[:1]], _redaction, (), secret_words),
        Target("cleaning and layout", [*secrets, "gpu[1-3] \u202e é 漢字".encode()], _cleaning),
        Target("JSON reports", reports, _reports, (readback.ReportError,), report_words),
        Target("snapshot", snapshots, _snapshot, (SnapshotError,), snapshot_words),
        Target(
            "hosts",
            hosts,
            _hosts,
            (SpecError,),
            [b"ssh://", b"[1-9]", b"@", b"!", b"&", b"%2F", b"?sudo=true", b"snapshot://"],
        ),
    ]
    made += [
        Target(
            f"TOML {dialect.value}{' lazy' * lazy}",
            tomls,
            _toml(dialect, lazy=lazy),
            (TomlError,),
            toml_words,
            quotes=True,
        )
        for dialect in Dialect
        for lazy in (False, True)
        if not (lazy and dialect is Dialect.V1)
    ]
    made += [
        Target("containerd files", configs, _containerd, (), toml_words),
        Target("CDI document", specs, document.load, (Unparsable,), spec_words),
        Target("CDI spec", specs, _cdi_spec, (Unparsable,), spec_words),
        Target("containerd answers", live, parse_answer, (), api_words),
        Target("gRPC messages", frames, _wire, (grpcwire.DecodeError,)),
        Target("HPACK headers", frames, hpack.decode_headers, (grpcwire.DecodeError,)),
        Target("HPACK Huffman", frames, hpack.decode_huffman, (grpcwire.DecodeError,)),
        Target(
            "nvidia-smi", smi, _smi, (Garbled,), [b"<gpu id='0'>", b"</gpu>", b"[N/A]", b"Enabled", b"<mig_device>"]
        ),
        Target("nvidia-smi values", [b"1", b"2"], _smi_values, (Garbled,)),
        Target("driver probes", probes, _probes, (), [b"end", b"cache ", b"file ", b"10de", b"0x030200", b"elf "]),
        Target(
            "kubelet files", kubelets, _kubelet, (Undetermined,), [b"---\n", b"'", b'"', b"--root-dir=", b"KUBELET_"]
        ),
        Target(
            "views and judge", [b"", *(json.dumps(name).encode() for name in whole.nodes())], whole.judged, weight=5
        ),
        Target("every word of a view", [b"", *(name.encode() for name in whole.nodes())], whole.asked, weight=3),
        Target("snapshots judged", seeds, brought.taken, (SnapshotError,), weight=5),
        Target("reports merged", seeds, brought.merged, weight=5),
        Target("remedies", seeds, pasted.remedies, weight=5),
    ]
    assert nodes.SNAPSHOTS
    return tuple(made)
