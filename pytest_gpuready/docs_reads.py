"""docs/what-is-read.md: everything that is asked of a node, by whom, when and why.

`ROWS` say it in words; tests hold them against what the views ask of whole nodes, in both directions.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import Facts
from pytest_gpuready.node.gather import MOST_ROUNDS
from pytest_gpuready.node.redact import redact_bytes
from pytest_gpuready.views import Views, sandbox, starters
from pytest_gpuready.views.kubernetes import version_script
from pytest_gpuready.views.nvml import smi_request
from pytest_gpuready.views.toolkit_probe import INSTALLER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Kind, Request


@dataclass(frozen=True)
class Row:
    """A question: its kind, its words (`*`: any), the views that ask it, when (empty: of every node), and why."""

    kind: Kind
    what: str
    views: tuple[str, ...]
    why: str
    when: str = ""
    #: How people read it, where that is not `what`.
    shown: str = ""

    def covers(self, request: Request) -> bool:
        """Whether the request is this question."""
        text = str(request) if request.kind == "run" else request.arg[0]
        return request.kind == self.kind and fnmatch.fnmatchcase(text, self.what)


_CONTAINERD, _KUBE = ("containerd_config",), ("kubernetes",)
_DRIVER, _TOOLKIT = ("driver",), ("toolkit",)
_IMPORTS = "its configuration imports it, or its command line names it"
_CONFIG = "what containerd would load: handlers, default runtime, CDI"

ROWS: tuple[Row, ...] = (
    # platform
    Row("script", "uname, id, hostname, date", ("platform",), "kernel, user, boot time, clock, SELinux"),
    Row("script", "search for programs", ("platform",), "where containerd, its clients and NVIDIA's programs lie"),
    Row("script", "processes", ("platform",), "the running containerd and kubelet: command line, start, PATH"),
    Row(
        "script",
        "systemctl show",
        ("platform",),
        "the state of containerd's, the kubelet's and NVIDIA's services, and what they run",
    ),
    Row("file", "*/os-release", ("platform",), "the distribution, whose package manager remedies use"),
    Row("stat", "/run/ostree-booted", ("platform",), "whether packages are layered on an image"),
    # containerd
    Row("run", "containerd --version", ("containerd_live",), "the release on disk"),
    Row(
        "script",
        "containerd API",
        ("containerd_live",),
        "what the running daemon has loaded: Version, Server, CRI Status",
    ),
    Row(
        "run",
        "* --version",
        ("containerd_live", "toolkit"),
        "its release",
        "a daemon or runtime of its own path",
        "PROGRAM --version",
    ),
    Row(
        "script",
        "runc and its shim",
        ("containerd_live",),
        "what starts containers: there, and running",
        "containerd runs",
    ),
    Row("run", "journalctl *", ("containerd_live",), "its last thirty lines", "containerd's service does not run"),
    Row(
        "script",
        "systemctl show sandbox",
        ("containerd_live",),
        "what its service keeps from it",
        "it does not run, or lives in a mount namespace of its own",
    ),
    Row(
        "stat",
        "/proc/*/root/*",
        ("containerd_live",),
        "whether it sees its configuration and the driver's node",
        "it lives in a mount namespace of its own",
    ),
    Row("run", "ctr --version", ("ctr",), "how its --gpus works"),
    Row("run", "nerdctl --version", ("ctr",), "how its --gpus works", "nerdctl is installed"),
    Row("file", "/etc/containerd/config.toml", ("containerd_config", "containerd_live"), _CONFIG),
    *(
        Row("files", f"/etc/containerd/{folder}/*.toml", _CONTAINERD, _CONFIG)
        for folder in ("conf.d", "config.d", "*.d")
    ),
    *(
        Row("file", path, _CONTAINERD, "the configuration that k0s, k3s, RKE2 and MicroK8s give their containerd")
        for path in (
            "/etc/k0s/containerd.toml",
            "/var/lib/rancher/*/agent/etc/containerd/config.toml",
            "/var/snap/microk8s/*/args/containerd.toml",
        )
    ),
    Row("file", "*", ("containerd_config", "containerd_live"), _CONFIG, _IMPORTS, "CONFIGURATION"),
    Row("files", "*", _CONTAINERD, _CONFIG, _IMPORTS, "PATTERN"),
    Row("stat", "/etc/containerd*", _CONTAINERD, "whether files changed after the daemon started"),
    Row("stat", "/usr/bin/nodeadm", _CONTAINERD, "whether EKS writes the configuration at every boot"),
    Row("stat", "*", _CONTAINERD, "whether files changed after the daemon started", _IMPORTS, "CONFIGURATION"),
    Row(
        "file",
        "/sys/fs/selinux/booleans/container_use_devices",
        _CONTAINERD,
        "whether SELinux lets containers use devices",
    ),
    Row(
        "stat", "/usr/bin/nvidia-container-runtime", ("handler_binary",), "whether the handler's program can be started"
    ),
    Row(
        "file",
        "/usr/bin/nvidia-container-runtime",
        ("handler_binary",),
        "its first 64 bytes: a script or which machine's",
    ),
    Row("file", "/proc/self/mounts", ("handler_binary",), "whether it lies on a noexec mount"),
    *(
        Row(kind, "*", ("handler_binary",), "the same of it", "the handler names another program", "BINARY NAME")
        for kind in ("stat", "file")
    ),
    # toolkit
    Row("script", "versions of the toolkit's programs", _TOOLKIT, "that they start, and that they are of one release"),
    Row("script", "packages of the toolkit", _TOOLKIT, "which package owns them, and who built it"),
    Row("script", "package repositories of NVIDIA's", _TOOLKIT, "whether a remedy may name a package"),
    Row(
        "script", "toolkit installer of the GPU operator", _TOOLKIT, "what it set up", "the operator's folder is there"
    ),
    Row("file", "*/nvidia-container-runtime/config.toml", _TOOLKIT, "the mode in force, and the programs it names"),
    Row("stat", "/etc/nv_tegra_release", ("toolkit", "driver"), "whether this is a Jetson"),
    Row("file", "/sys/devices/soc0/family", ("toolkit", "driver"), "likewise"),
    Row("file", "/proc/self/uid_map", _TOOLKIT, "whether this is inside a user namespace"),
    Row("glob", "/dev/char/195:*", _TOOLKIT, "whether GPUs survive systemctl daemon-reload"),
    *(
        Row("stat", path, _TOOLKIT, "the usual ldconfig, and the operator's folders")
        for path in ("/sbin/ldconfig*", "/usr/local/nvidia/toolkit")
    ),
    Row("file", "*", _TOOLKIT, "mode and settings", "containerd's environment names it", "CONFIGURATION"),
    Row("glob", "*/libcuda.so.*", _TOOLKIT, "whether a driver is there", "the toolkit's configuration names a root"),
    Row("stat", "*", _TOOLKIT, "whether it is there", "the toolkit's configuration names it", "PATH"),
    # CDI
    Row("files", "*/cdi/*.json", ("cdi",), "the specs: devices, mounts, hooks"),
    Row("files", "*/cdi/*.yaml", ("cdi",), "likewise"),
    Row("stat", "*/cdi", ("cdi",), "whether the directory is there and may be read"),
    Row(
        "files", "*", ("cdi",), "the specs there", "containerd or the toolkit is told other directories", "DIRECTORY/*"
    ),
    Row("stat", "*", ("cdi",), "whether it is still there", "a spec of NVIDIA's names it, or a directory", "PATH"),
    # driver, NVML
    Row("script", "PCI devices of NVIDIA", _DRIVER, "the GPUs and NVSwitches on the bus, and their driver"),
    Row("script", "nvidia module on disk", _DRIVER, "for which kernels the module is built"),
    Row(
        "script", "ldconfig -p and driver roots", _DRIVER, "the driver's libraries: where, which version, 32 or 64 bits"
    ),
    Row("script", "kernel log", _DRIVER, "lines of NVRM, nouveau and the module's loading"),
    Row("file", "/proc/driver/nvidia/version", _DRIVER, "the loaded module's version and flavour"),
    Row("file", "/sys/module/nvidia/version", _DRIVER, "likewise"),
    Row("file", "/proc/driver/nvidia/params", _DRIVER, "who may open the device nodes"),
    Row("file", "/proc/devices", _DRIVER, "the numbers that device nodes must have"),
    Row("file", "/sys/firmware/efi/efivars/SecureBoot-*", _DRIVER, "whether modules must be signed"),
    Row("files", "/proc/driver/nvidia/gpus/*/information", _DRIVER, "model, UUID and minor of each GPU"),
    Row("glob", "/proc/driver/nvidia/capabilities/gpu*/mig/gi*", _DRIVER, "MIG instances"),
    Row("glob", "/var/lib/dkms/nvidia*/*/*", _DRIVER, "whether DKMS can build the module"),
    *(
        Row("stat", path, _DRIVER, "which modules are loaded")
        for path in ("/sys/module/nvidia*", "/sys/module/nouveau")
    ),
    *(
        Row("glob", path, _DRIVER, "the driver's libraries on disk, also where no link or cache leads to them")
        for path in ("/usr/lib/*/lib*.so.*", "/usr/lib64/lib*.so.*")
    ),
    *(
        Row("stat", f"*/{program}", _DRIVER, "what makes initial ramdisks, which hold modules and their options")
        for program in ("update-initramfs", "dracut", "mkinitcpio")
    ),
    Row("stat", "/dev/nvidia*", _DRIVER, "the device nodes: there, numbers, modes"),
    Row("stat", "/dev/dxg", _DRIVER, "whether this is WSL"),
    Row("stat", "/run/nvidia/driver", ("driver", "toolkit"), "whether a container holds the driver"),
    Row("stat", "/run/nvidia-persistenced/socket", _DRIVER, "whether the persistence daemon runs"),
    Row(
        "script",
        "nvidia-smi -q -x",
        ("nvml",),
        "what NVML says of each GPU",
        "the module is loaded and nvidia-smi there",
    ),
    Row("script", "NVML by python3", ("nvml",), "the same", "the module is loaded, no nvidia-smi, but python3"),
    Row("script", "NVML by pynvml", ("nvml",), "the same, to compare", "on this machine, not by a login"),
    Row("run", "nv-fabricmanager --version", ("nvml",), "that it is of the driver's version", "it is installed"),
    # Kubernetes
    Row("file", "/var/lib/kubelet/config.yaml", _KUBE, "endpoint and cgroup driver"),
    Row("file", "/var/lib/kubelet/kubeadm-flags.env", _KUBE, "likewise"),
    Row("files", "/var/lib/rancher/*/agent/etc/kubelet.conf.d/*.conf", _KUBE, "likewise, of k3s and RKE2"),
    Row("file", "/var/snap/microk8s/current/args/kubelet", _KUBE, "likewise, of MicroK8s"),
    Row(
        "file",
        "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint",
        _KUBE,
        "which GPUs the device plugin registered",
    ),
    Row("glob", "/var/lib/kubelet/plugins_registry/gpu.nvidia.com*", _KUBE, "whether the DRA driver is registered"),
    Row("file", "/var/lib/rancher/k3s/server/manifests/runtimes.yaml", _KUBE, "the RuntimeClasses that k3s makes"),
    Row("stat", "/var/lib/rancher/k3s/server/manifests/runtimes.yaml.skip", _KUBE, "whether it is told not to"),
    Row("script", "kubelet --version", _KUBE, "its release", "a kubelet runs", "kubelet --version"),
    *(
        Row(kind, "*", _KUBE, "the same at its own place", "the kubelet's command line names another", "PATH")
        for kind in ("file", "files", "glob")
    ),
)

_KINDS: dict[Kind, str] = {
    "file": "read",
    "files": "read all",
    "stat": "look at",
    "glob": "list",
    "run": "run",
    "script": "script",
}

#: What redaction is shown by on the page: made up.
_SECRETS = (
    '[plugins."io.containerd.grpc.v1.cri".registry.configs."registry.example".auth]\n'
    '  username = "ci"\n'
    '  password = "correct-horse-battery"\n'
    '  auth = "Y2k6Y29ycmVjdC1ob3JzZQ=="\n'
    "[Service]\n"
    "Environment=HTTPS_PROXY=http://ci:correct-horse@proxy.example:3128 GITHUB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ456789\n"
    "kubelet --bootstrap-token=abcdef.0123456789abcdef\n"
)


def first_round() -> list[Request]:
    """What every node is asked before anything is known of it."""
    return list(dict.fromkeys(Views(Facts("a node")).wants()))


def scripts() -> Iterator[Request]:
    """The small scripts, each once; without those that are a Python program."""
    later = (
        INSTALLER,
        smi_request("/usr/bin/nvidia-smi", ""),
        version_script("/usr/bin/kubelet"),
        starters.request("", ""),
        sandbox.request("containerd.service"),
    )
    known: dict[str, Request] = {}
    for request in (*first_round(), *later):
        if request.kind == "script":
            known.setdefault(request.arg[0], request)
    yield from known.values()


def _shown(row: Row) -> str:
    """The question as people read it: the very words, where a few are all that the row stands for."""
    words = list(dict.fromkeys(request.arg[0] for request in first_round() if row.covers(request)))
    few = not row.when and row.kind not in ("run", "script") and 0 < len(words) <= 4
    return ", ".join(f"`{word}`" for word in (words if few else [row.shown or row.what]))


def page() -> str:
    """The page, as Markdown."""
    lines = [
        "# What is read on a node",
        "",
        "A node is asked in one login, in rounds of one sh script on its standard input: the first round is the same for",
        f"every node, further ones (at most {MOST_ROUNDS} in all, two as a rule) ask what the first answers make worth asking.",
        "Each question has a deadline and a limit of bytes. `--gpuready-save DIR` writes down all that came back, which is all",
        "that a verdict rests on.",
        "",
        "## What is never done",
        "",
        "- Nothing is written, created, moved or removed on a node; the scripts have no file of their own there.",
        "- No module is loaded, no service is started, stopped or reloaded, no package is installed, no setting changed.",
        "- No image is pulled, and no container is run unless `--gpuready-live` asks for it ([live.md](live.md)).",
        "- NVML is not asked where the kernel module is not loaded: nvidia-smi would load it, and make device nodes.",
        "- Nothing is sent from a node to anywhere but the pytest that asked; nothing is looked up on the Internet.",
        "- What a node says never becomes shell, HTML, a terminal's control sequence, or a path where pytest runs.",
        "",
        "Remedies are printed for a person to type, never run.",
        "",
    ]
    for title, wanted in (("Asked of every node", False), ("Asked then, where", True)):
        lines += [f"## {title}", "", "| how | what | " + ("where | " if wanted else "") + "why | view |"]
        lines += ["| --- | --- | " + ("--- | " if wanted else "") + "--- | --- |"]
        for row in ROWS:
            if bool(row.when) == wanted:
                when = f"{row.when} | " if wanted else ""
                lines.append(f"| {_KINDS[row.kind]} | {_shown(row)} | {when}{row.why} | {', '.join(row.views)} |")
        lines.append("")
    lines += [
        "*read*: the contents of a file. *read all*: of those that a pattern names. *look at*: what lies there (mode, owner,",
        "size, times), links followed. *list*: names alone. *run*: a command. *script*: a few lines of sh, see below.",
        "",
        "With `--gpuready-kubeconfig FILE`, `kubectl get runtimeclasses` and `kubectl get nodes NAME` run where pytest runs.",
        "",
        "## What leaves the node, and what does not",
        "",
        "The answers, over the login, to the machine that runs pytest. Before anything is judged, shown or written there,",
        "secrets in them are overwritten, lengths and lines kept: in files, in the environment and arguments of processes, in",
        "URLs, in what containerd says of its registries. They are found by name, by shape and by place, in broken files too.",
        "Where no quotes, argument or URL delimit a value, its letters become `x` and its digits `1`. What it looks like:",
        "",
        "```",
        redact_bytes(_SECRETS.encode()).decode().rstrip(),
        "```",
        "",
        "Of a process's environment only PATH, NVIDIA_CTK_CONFIG_FILE_PATH and XDG_CONFIG_HOME are taken. GPUs' serial numbers and the processes that use them are cut out on the",
        "node itself. The kernel log is cut to lines of the driver there. User names and host names stay.",
        "",
        "## The scripts",
        "",
        "As they are sent; `$1` and so on are the arguments. Where NVML is asked by Python, it is by the package's",
        "[nvml_child.py](../pytest_gpuready/views/nvml_child.py).",
        "",
    ]
    for request in scripts():
        lines += [f"### {request.arg[0]}", "", "```sh", request.body.strip("\n"), "```", ""]
    return "\n".join(lines)
