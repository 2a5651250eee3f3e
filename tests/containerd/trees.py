"""Configurations as people and tools write and break them: strategies for whole /etc/containerd trees."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

MAIN = "/etc/containerd/config.toml"
_ROOTS = {1: "cri", 2: '"io.containerd.grpc.v1.cri"', 3: '"io.containerd.cri.v1.runtime"'}
_IMAGES = {1: "cri", 2: '"io.containerd.grpc.v1.cri"', 3: '"io.containerd.cri.v1.images"'}
_NAMES = ("runc", "nvidia", "nvidia-cdi", "kata", "default", "untrusted", "Runc", "a.b")
_TYPES = ('"io.containerd.runc.v2"', '"io.containerd.runc.v1"', '"io.containerd.runtime.v1.linux"',
          '"io.containerd.kata.v2"', '""')  # fmt: skip
_BOOLS = ("true", "false")
_DIRS = st.sampled_from(('["/a"]', "[]", '["/etc/cdi", "/b"]'))
_SNAPSHOTTERS = st.sampled_from(('"overlayfs"', '"native"', '"nosuch"'))
_WRONG = ("1", "true", '"x"', "[]", "[1]", '["a"]', "1.5", "{}", "{a = 1}", "-1", "[{a = 1}]")


@dataclass(frozen=True)
class Node:
    """The files of /etc/containerd, and the daemon's --config."""

    files: dict[str, bytes]
    explicit: str | None = None

    def __repr__(self) -> str:
        shown = "\n".join(f"--- {path}\n{data.decode('utf-8', 'replace')}" for path, data in self.files.items())
        return f"Node(explicit={self.explicit})\n{shown}"


def _options() -> st.SearchStrategy[list[str]]:
    binary = st.sampled_from(("BinaryName", "binaryname", "BINARYNAME", "binaryName", "Binaryname", "binary_name"))
    cgroup = st.sampled_from(("SystemdCgroup", "systemdcgroup", "SYSTEMDCGROUP", "Systemdcgroup"))
    path = st.sampled_from(('"/usr/bin/nvidia-container-runtime"', '"runc"', '""'))
    switch = st.sampled_from(("true", "false"))
    other = st.sampled_from(
        (
            'Root = "/x"',
            "IoUid = 5",
            "NoPivotRoot = true",
            'Runtime = "/r"',
            'CriuPath = "/c"',
            'Zzz = "y"',
            "Deep = {a = 1}",
        )
    )
    return st.lists(
        st.one_of(st.builds("{} = {}".format, binary, path), st.builds("{} = {}".format, cgroup, switch), other),
        max_size=3,
        unique_by=lambda line: line.split(" = ")[0],
    )


@st.composite
def _runtime(draw: st.DrawFn, root: str) -> list[str]:
    name = draw(st.sampled_from(_NAMES[:2] * 4 + _NAMES))
    quoted = name if name.replace("-", "").isalnum() else f'"{name}"'
    head = f"plugins.{root}.containerd.runtimes.{quoted}"
    lines = [f"[{head}]"]
    if draw(st.integers(0, 4)):
        lines.append(f"runtime_type = {draw(st.sampled_from(_TYPES[:1] * 6 + _TYPES))}")
    lines += (
        draw(
            st.lists(
                st.sampled_from(
                    (
                        'runtime_path = "/opt/shim"',
                        'runtime_engine = ""',
                        'runtime_root = ""',
                        'runtime_engine = "/x"',
                        "privileged_without_host_devices = true",
                        "privileged_without_host_devices_all_devices_allowed = true",
                        'pod_annotations = ["a"]',
                        'sandbox_mode = "podsandbox"',
                        'io_type = "streaming"',
                        'io_type = "pipe"',
                        'base_runtime_spec = "/etc/containerd/none.json"',
                        'base_runtime_spec = "/etc/containerd/base.json"',
                        'RUNTIME_PATH = "/opt/upper"',
                        "nosuchkey = 1",
                    )
                ),
                max_size=1 if draw(st.booleans()) else 2,
                unique_by=lambda line: line.split(" = ")[0],
            )
        )
        if draw(st.integers(0, 2)) == 0
        else []
    )
    if draw(st.integers(0, 3)):
        lines += [f"[{head}.options]", *draw(_options())]
    return lines


@st.composite
def _cri(draw: st.DrawFn, style: int) -> list[str]:
    root, images = _ROOTS[style], _IMAGES[style]
    tables: dict[str, list[str]] = {}

    def maybe(table: str, line: str, odds: int) -> None:
        if draw(st.integers(0, odds)) == 0:
            tables.setdefault(table, []).append(line)

    top, containerd = f"plugins.{root}", f"plugins.{root}.containerd"
    maybe(top, f"enable_cdi = {draw(st.sampled_from(_BOOLS))}", 4)
    maybe(top, f"cdi_spec_dirs = {draw(_DIRS)}", 6)
    maybe(top, "max_container_log_line_size = 5", 9)
    maybe(top, "systemd_cgroup = true", 20)
    maybe(top, 'drain_exec_sync_io_timeout = "x"', 30)
    maybe(top, 'stream_idle_timeout = "5"', 30)
    maybe(top, "ENABLE_SELINUX = true", 15)
    if style == 3:
        maybe(f"plugins.{images}.pinned_images", 'sandbox = "p:3"', 4)
        maybe(f"plugins.{images}", 'snapshotter = "native"', 15)
    else:
        maybe(top, 'sandbox_image = "p:1"', 2)
        maybe(containerd, f"snapshotter = {draw(_SNAPSHOTTERS)}", 9)
    default = draw(st.sampled_from(('"nvidia"', '"runc"', '"nvidia"', '""')))
    maybe(containerd, f"default_runtime_name = {default}", 2)
    maybe(containerd, "no_pivot = true", 30)
    maybe(f"plugins.{images}.registry", 'config_path = "/etc/containerd/certs.d"', 6)
    maybe(f'plugins.{images}.registry.mirrors."docker.io"', 'endpoint = ["https://m"]', 9)
    maybe(f'plugins.{images}.registry.configs."r".auth', 'username = "u"', 20)
    maybe(f'plugins.{images}.registry.auths."https://r"', 'username = "u"', 25)
    # In a table too high: 1.x looks there where the right table is missing.
    maybe(top, f"default_runtime_name = {default}", 20)
    maybe(top, f"snapshotter = {draw(_SNAPSHOTTERS)}", 25)
    maybe(f"{top}.runtimes.nvidia", 'runtime_type = "io.containerd.runc.v2"', 20)
    maybe(f"plugins.{root}.cni", 'bin_dir = "/opt/cni/b"', 8)
    maybe(f"plugins.{root}.cni", 'conf_dir = "/etc/cni/net.d"', 8)
    maybe(f"plugins.{containerd[8:]}.default_runtime", 'runtime_type = "io.containerd.runc.v2"', 20)
    maybe(f"plugins.{containerd[8:]}.untrusted_workload_runtime", 'runtime_type = "io.containerd.runc.v2"', 25)
    lines: list[str] = []
    order = list(tables)
    if draw(st.booleans()):
        order.reverse()
    for name in order:
        lines += [f"[{name}]", *tables[name]]
    seen = set()
    for runtime in draw(st.lists(_runtime(root), max_size=3)):
        if runtime[0] not in seen:
            lines += runtime
        seen.add(runtime[0])
    return lines


_TOP = st.sampled_from(
    (
        'disabled_plugins = ["cri"]',
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
        'disabled_plugins = ["io.containerd.internal.v1.opt"]',
        'disabled_plugins = ["io.containerd.cri.v1.images"]',
        "disabled_plugins = []",
        'required_plugins = ["io.containerd.grpc.v1.cri"]',
        'required_plugins = ["cri"]',
        'required_plugins = ["io.containerd.nosuch.v1.x"]',
        "oom_score = -999",
        "nosuch = 1",
        'temp = ""',
        "Oom_Score = 5",
        "OOM_SCORE = 5",
        'plugin_dir = "/opt/x"',
        'root = "/var/lib/other"',
        'required_plugins = ["io.containerd.snapshotter.v1.blockfile"]',
        'required_plugins = ["io.containerd.tracing.processor.v1.otlp"]',
        'disabled_plugins = ["io.containerd.snapshotter.v1.overlayfs"]',
    )
)
_TABLES = st.sampled_from(
    (
        "[debug]\nlevel = 'info'",
        "[debug]\nlevel = 'loud'",
        "[debug]\nformat = 'xml'",
        "[debug]\naddress = 'debug.sock'",
        "[metrics]\naddress = '127.0.0.1'",
        "[metrics]\naddress = '127.0.0.1:0'",
        "[metrics]\naddress = '::1:1338'",
        "[metrics]\naddress = ':99999'",
        "[metrics]\naddress = '*:1338'",
        "[metrics]\naddress = '127.1:1338'",
        "[grpc]\ntcp_address = '127.0.0.1'",
        "[grpc]\nuid = 'root'",
        "[grpc]\nmax_recv_message_size = 1.5",
        '[proxy_plugins.more]\ntype = "content"\naddress = "/run/none.sock"',
        '[proxy_plugins.more]\ntype = "sandbox"\naddress = "/run/none.sock"',
        '[proxy_plugins.more]\ntype = "diff"\naddress = "/run/none.sock"',
        '[proxy_plugins.overlayfs]\ntype = "snapshot"\naddress = "/run/none.sock"',
        '[plugins."io.containerd.service.v1.diff-service"]\ndefault = ["none"]',
        '[plugins."io.containerd.transfer.v1.local"]\nunpack_config = []',
        '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "linux"\nsnapshotter = "none"',
        '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nsnapshotter = "overlayfs"',
        '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "linux"\ndiffer = "x"',
        '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "windows"\nsnapshotter = "overlayfs"',
        '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "linux"\nsnapshotter = "blockfile"',
        '[plugins."io.containerd.cri.v1.images".runtime_platforms.nvidia]\nplatform = "a b"',
        '[plugins."io.containerd.cri.v1.runtime".cni]\nbin_dir = "/a"\nbin_dirs = ["/opt/cni/bin"]',
        "[plugins.bolt]\ncontent_sharing_policy = 'isolated'",
        '[timeouts]\n"io.containerd.timeout.shim.load" = "5s"',
        '[timeouts]\n"io.containerd.timeout.shim.load" = "5"',
        '[timeouts]\nx = "9999999h"',
        "[timeouts]\nx = '1s'\nx = '2s'",
        '[proxy_plugins.more]\ntype = "snapshot"\naddress = "/a"\naddress = "/b"',
        "[nosuch]\na = 1\na = 2",
        "[nosuch]\na = 1",
        '[proxy_plugins.stargz]\ntype = "snapshot"\naddress = "/run/none.sock"',
        '[proxy_plugins.odd]\ntype = "odd"\naddress = "/run/none.sock"',
        '[cgroup]\npath = ""',
        '[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = "100ms"',
        '[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = 5',
        '[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = 1.5',
        "[plugins.scheduler]\npause_threshold = 0.5",
        "[plugins.scheduler]\npause_threshold = 1",
        "[plugins.nosuch]\na = 1",
        '[plugins."io.containerd.nosuch.v1.x"]\na = 1',
        '[plugins."io.containerd.internal.v1.opt"]\npath = "/opt/x"',
        '[plugins."io.containerd.runtime.v2.task"]\nsched_core = true',
        '[plugins."io.containerd.monitor.v1.cgroups"]\nno_prometheus = true',
    )
)
_IMPORTS = st.sampled_from(
    (
        '["/etc/containerd/conf.d/*.toml"]',
        '["/etc/containerd/conf.d/*.toml"]',
        '["/etc/containerd/conf.d/*.toml"]',
        '["conf.d/*.toml"]',
        '["conf.d/99-nvidia.toml"]',
        '["./conf.d/../conf.d/10-a.toml", "/etc/containerd/conf.d/*.toml"]',
        '["/etc/containerd/none.toml"]',
        '["/etc/containerd/conf.d"]',
        '["/etc/containerd/none.d/*.toml"]',
        '["/etc/containerd/config.toml"]',
        '["/etc/containerd/conf.d/[1-9]*.toml"]',
        '["/etc/containerd/conf.d/[*.toml"]',
        '[""]',
        '"conf.d/99-nvidia.toml"',
    )
)
_BROKEN = st.sampled_from(
    (
        "x = ",
        "x = 1 y = 2",
        "[plugins",
        "[]",
        'x = "a',
        "x = [1, 2",
        "x = {a = 1,}",
        "x = {a = 1,\nb = 2}",
        "version = 2\nversion = 2",
        "[debug]\n[debug]",
        'x = "\\q"',
        "x = 99999999999999999999",
        "x = 1__0",
        "x = 012",
        "= 1",
        "x y = 1",
        '"" = 1',
        "x.y = 1\nx.z = 2",
        "# plain \u00e9",
        "\ufeffx = 1",
        "x = 1979-05-27T07:32:00Z",
        "x = 'it''s'",
        "x = nope",
        "[[plugins]]",
        "[plugins.x]\n[plugins.x.y]\n[plugins.x]",
        "plugins.x.y = 1\n[plugins.x]\nz = 1",
        "x = 0xZZ",
        "x = 18446744073709551615",
        "oom_score = 18446744073709551615",
        "imports = [['a']]",
        "[[plugins.x]",
        "x = 2023-02-30",
        "x = 07:32",
        "x = [1,, 2]",
        "root = 1979-05-27",
    )
)
_SPECS = (b"{}", b'{"ociVersion": "1.0.2"}', b"[]", b"{", b'{"process": {"args": "sh"}}', b'{"mounts": [],}')


def _dressed(draw: st.DrawFn, text: str) -> str:
    """The same file as another hand would write it: quotes, indents, comments, line ends."""
    way = draw(st.integers(0, 9))
    if way == 0:
        return text.replace('"io.containerd.grpc.v1.cri"', "'io.containerd.grpc.v1.cri'")
    if way == 1:
        return text.replace("\n[", "\n\n    [ ").replace("\nruntime_type", "\n\truntime_type")
    if way == 2:
        return text.replace("\n", "\r\n")
    if way == 3:
        return text.replace("]\n", "] # yes\n")
    if way == 4:
        return text.replace(".options]\nBinaryName = ", "]\noptions.BinaryName = ")
    if way == 5:
        return text.replace(".options]\nBinaryName = ", "]\noptions = {SystemdCgroup = true}\nRUNTIME_PATH = ")
    return text


@st.composite
def _file(draw: st.DrawFn, *, main: bool, style: int) -> bytes:
    version = draw(st.sampled_from((style, style, style, style, None, 1, 2, 3, 4)))
    lines = [f"version = {version}"] if version is not None else []
    if main and draw(st.integers(0, 3)):
        lines.append(f"imports = {draw(_IMPORTS)}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(draw(_TOP))
    used = style if draw(st.integers(0, 4)) else draw(st.sampled_from((1, 2, 3)))
    if draw(st.integers(0, 15)):
        lines += draw(_cri(used))
    if draw(st.integers(0, 7)) == 0:
        lines += [line for line in draw(_cri(draw(st.sampled_from((2, 3))))) if f"[plugins.{_ROOTS[used]}" not in line]
    if draw(st.integers(0, 4)) == 0:
        lines.append(draw(_TABLES))
    if draw(st.integers(0, 14)) == 0 and len(lines) > 1:
        at = draw(st.integers(0, len(lines) - 1))
        if " = " in lines[at]:
            lines[at] = f"{lines[at].split(' = ')[0]} = {draw(st.sampled_from(_WRONG))}"
    if draw(st.integers(0, 24)) == 0:
        lines.insert(draw(st.integers(0, len(lines))), draw(_BROKEN))
    return _dressed(draw, "\n".join(lines) + "\n" * draw(st.integers(0, 1))).encode()


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """A node's /etc/containerd."""
    style = draw(st.sampled_from((2, 2, 2, 3, 3, 1)))
    files = {}
    if draw(st.integers(0, 40)):
        files[MAIN] = draw(_file(main=True, style=style))
    for name in ("10-a.toml", "99-nvidia.toml"):
        if draw(st.booleans()):
            same = style if draw(st.integers(0, 2)) else draw(st.sampled_from((1, 2, 3)))
            files[f"/etc/containerd/conf.d/{name}"] = draw(_file(main=draw(st.integers(0, 9)) == 0, style=same))
    if draw(st.booleans()):
        files["/etc/containerd/base.json"] = draw(st.sampled_from(_SPECS))
    return Node(files, MAIN if draw(st.integers(0, 6)) == 0 else None)
