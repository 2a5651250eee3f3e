"""Kubernetes: the node's kubelet, its settings and the GPUs that it offers, from files on the node.

What only the API knows (RuntimeClasses, the Node object) is there with a kubeconfig that the user names; without one it
is `NotApplicable`, since its absence says nothing about the node.
"""

from __future__ import annotations

import contextlib
import functools
import json
import posixpath
import re
from typing import TYPE_CHECKING, Any

from pytest_gpuready.model import Denied, NotApplicable, Undetermined, Where
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import file, files, glob, script, stat
from pytest_gpuready.node.kubeapi import RUNTIME_CLASSES, node_request
from pytest_gpuready.node.trust import USE
from pytest_gpuready.views import View
from pytest_gpuready.views.cluster import Cluster, handlers
from pytest_gpuready.views.daemons import plain_socket
from pytest_gpuready.views.kubelet_files import Setting, documents, in_args, in_env, line_of, mapping
from pytest_gpuready.views.platform import Platform, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

#: Where kubeadm keeps the kubelet's configuration and flags (kubernetes: cmd/kubeadm/app/constants/constants.go).
CONFIG = "/var/lib/kubelet/config.yaml"
FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
ROOT = "/var/lib/kubelet"
#: k3s and RKE2 write their kubelet's defaults as drop-ins from v1.32 on (k3s-io/k3s pkg/daemons/agent/agent.go).
K3S_DROPINS = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d"
RKE2_DROPINS = "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d"
#: MicroK8s' flags, one a line (canonical/microk8s microk8s-resources/default-args/kubelet).
SNAP_ARGS = "/var/snap/microk8s/current/args/kubelet"
#: The RuntimeClasses that k3s creates itself, on its servers (k3s-io/k3s manifests/runtimes.yaml).
K3S_CLASSES = "/var/lib/rancher/k3s/server/manifests/runtimes.yaml"
#: What a person puts beside it so that k3s leaves it alone.
K3S_SKIP = f"{K3S_CLASSES}.skip"

#: Largest checkpoint that is read, in bytes: it holds an answer of the plugin for every container with a device.
CHECKPOINT_LIMIT = 4 * 1024 * 1024

#: The kubelet runs as "kubelet" or inside a distribution's own program.
_K3S = ("k3s", "k3s-server", "k3s-agent")
#: Services of Kubernetes distributions; where one is installed there is meant to be a kubelet.
_SERVICES = ("k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service", "k0sworker.service")

_VERSION = (
    f"""{USE}"""
    r"""
tx "$1"
exec "$1" --version
"""
)


def checkpoint(root: str) -> Request:
    """The device manager's checkpoint (kubernetes: pkg/kubelet/cm/devicemanager/checkpoint/checkpoint.go)."""
    return file(f"{root}/device-plugins/kubelet_internal_checkpoint", limit=CHECKPOINT_LIMIT)


def dra_sockets(root: str) -> Request:
    """NVIDIA's DRA driver as registered with the kubelet (k8s-dra-driver-gpu: gpu.nvidia.com-reg.sock)."""
    return glob(f"{root}/plugins_registry/gpu.nvidia.com*")


def version_script(program: str) -> Request:
    """The kubelet's own version, asked of a program that is root's."""
    return script("kubelet --version", _VERSION, program)


class Kubernetes(View):
    """The node's kubelet."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """First kubeadm's, k3s', RKE2's and MicroK8s' places, then those that the kubelet's command line names."""
        yield file(CONFIG)
        yield file(FLAGS)
        yield files(f"{K3S_DROPINS}/*.conf")
        yield files(f"{RKE2_DROPINS}/*.conf")
        yield file(SNAP_ARGS)
        yield checkpoint(ROOT)
        yield dra_sockets(ROOT)
        yield file(K3S_CLASSES)
        yield stat(K3S_SKIP)
        kubelet = views.get(cls)
        if kubelet.kubelet is None:
            return
        if kubelet.snap_args != SNAP_ARGS:
            yield file(kubelet.snap_args)
        for path in kubelet.config_paths:
            yield file(path)
        for folder in kubelet.dropin_folders:
            yield files(f"{folder}/*.conf")
        yield checkpoint(kubelet.root)
        yield dra_sockets(kubelet.root)
        if kubelet.kubelet.comm == "kubelet" and kubelet.kubelet.exe and kubelet.may_ask_for_driver:
            yield version_script(kubelet.kubelet.exe)

    @classmethod
    def api_requests(cls, views: Views) -> tuple[Request, ...]:
        """What is to be asked of the API, on the controller; nothing without a kubeconfig or without a kubelet."""
        view = views.get(cls)
        with contextlib.suppress(Undetermined, Denied):
            if views.settings.kubeconfig and view.has_kubelet:
                node = node_request(view.node_name)
                return (RUNTIME_CLASSES, node) if node else (RUNTIME_CLASSES,)
        return ()

    # ------------------------------------------------------------------ which kubelet

    @functools.cached_property
    def kubelet(self) -> Process | None:
        """The process that is or holds the node's kubelet; None if none runs."""
        return next((process for process in self.views.get(Platform).processes if _is_kubelet(process)), None)

    @property
    def has_kubelet(self) -> bool:
        """A kubelet runs here or should: kubeadm joined it and it is enabled, or a distribution brings it."""
        if self.kubelet is not None:
            return True
        platform = self.views.get(Platform)
        with contextlib.suppress(Undetermined):
            unit = platform.unit("kubelet.service")
            if (
                unit is not None
                and unit.file_state != "disabled"
                and any(self._there(path) for path in (CONFIG, FLAGS))
            ):
                return True
            return any(platform.unit(service) for service in _SERVICES)
        return False

    def _there(self, path: str) -> bool:
        fact = self.facts.peek(file(path))
        return fact is not None and fact.state != "absent"

    @property
    def is_k3s(self) -> bool:
        """The kubelet is k3s' own, inside its one process; k3s writes containerd's configuration to match."""
        return self.kubelet is not None and self.kubelet.comm in _K3S

    @property
    def is_microk8s(self) -> bool:
        """The kubelet is MicroK8s', inside kubelite."""
        return self.kubelet is not None and self.kubelet.comm == "kubelite"

    @property
    def service(self) -> str:
        """The systemd service that carries it, as people type it."""
        units = self.views.get(Platform)
        with contextlib.suppress(Undetermined):
            for name in ("kubelet.service", *_SERVICES):
                if units.unit(name):
                    return name.removesuffix(".service")
        return "snap.microk8s.daemon-kubelite" if self.is_microk8s else "kubelet"

    # ------------------------------------------------------------------ its settings

    @property
    def snap_args(self) -> str:
        """The file with MicroK8s' flags."""
        named = self.kubelet.option("--kubelet-args-file") if self.kubelet is not None else None
        # The snap's revision in use is `current`, too.
        own = (
            named is None or not named.startswith("/") or re.fullmatch(r"/var/snap/microk8s/[^/]+/args/kubelet", named)
        )
        return SNAP_ARGS if own else str(named)

    def flag(self, name: str) -> Setting | None:
        """A command-line flag without its dashes; the last one counts, and it overrides the files."""
        if self.kubelet is not None and self.kubelet.comm == "kubelet":
            value = self.kubelet.option(f"--{name}")
            if value is None:
                return None
            return Setting(value, f"pid {self.kubelet.pid}: --{name}", self._flag_place(name, value))
        if self.is_microk8s:
            return in_args(self.facts.text(file(self.snap_args)) or "", name, self.snap_args)
        if self.kubelet is None:
            return in_env(self.facts.text(file(FLAGS)) or "", name, FLAGS)
        return None

    def _flag_place(self, name: str, value: str) -> Where | None:
        """Where kubeadm has written the flag, if it has, and nothing (such as KUBELET_EXTRA_ARGS) overrides it."""
        with contextlib.suppress(Undetermined, Denied):
            found = in_env(self.facts.text(file(FLAGS)) or "", name, FLAGS)
            return found.where if found and found.value == value else None
        return None

    @property
    def root(self) -> str:
        """The kubelet's folder (--root-dir)."""
        named = self.flag("root-dir")
        return _plain(named.value) if named and named.value.startswith("/") else ROOT

    @property
    def config_paths(self) -> tuple[str, ...]:
        """Its configuration file (--config), as one or none; where no kubelet runs, kubeadm's."""
        if self.kubelet is None:
            return (CONFIG,)
        named = self.flag("config")
        return (_plain(named.value),) if named and named.value.startswith("/") else ()

    @property
    def dropin_folders(self) -> tuple[str, ...]:
        """The folder of its drop-ins (--config-dir), as one or none; k3s passes its own in-process."""
        named = self.flag("config-dir")
        if named and named.value.startswith("/"):
            return (_plain(named.value),)
        return (K3S_DROPINS,) if self.is_k3s else ()

    @functools.cached_property
    def documents(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Path, text and content of each configuration file, in the order in which later ones override earlier ones."""
        paths = list(self.config_paths)
        for folder in self.dropin_folders:
            paths += self._dropins(folder)
        found = []
        for path in paths:
            text = self.facts.text(file(path))
            if text is not None:
                found.append((path, text, mapping(path, text)))
        return found

    def _dropins(self, folder: str) -> list[str]:
        """The drop-ins of a folder in the order in which they are merged (kubernetes: cmd/kubelet/app/server.go)."""
        known = self.facts.glob(f"{folder}/*.conf", kind="files")
        return [path for path in known if posixpath.dirname(path) == folder]

    def setting(self, flag: str, key: str) -> Setting | None:
        """A setting by its flag and its key in the configuration; None where nothing sets it."""
        given = self.flag(flag)
        if given is not None and given.value:
            return given
        for path, text, document in reversed(self.documents):
            value = document.get(key)
            if isinstance(value, str) and value:
                return Setting(value, path, Where(path, line_of(text, key)))
        return None

    @functools.cached_property
    def endpoint_setting(self) -> Setting | None:
        """What sets the socket of its container runtime, as a plain path; None: nothing does."""
        if not self.has_kubelet:
            return None
        found = self.setting("container-runtime-endpoint", "containerRuntimeEndpoint")
        if found is None:
            return Setting("/run/k3s/containerd/containerd.sock", "k3s' default") if self.is_k3s else None
        return Setting(plain_socket(found.value), found.source, found.where)

    @property
    def endpoint(self) -> str | None:
        """The socket of its container runtime, a path; None: no kubelet, or its default.

        That is /run/containerd/containerd.sock, as of kubernetes 1.27 (pkg/kubelet/apis/config/v1beta1/defaults.go).
        """
        return self.endpoint_setting.value if self.endpoint_setting else None

    @property
    def runtime_tells_driver(self) -> bool:
        """This containerd can tell the kubelet its cgroup driver: 2.0 and later (containerd pull request 8722)."""
        from pytest_gpuready.views.containerd_live import ContainerdLive  # noqa: PLC0415 - it asks for the endpoint

        return self.views.get(ContainerdLive).disk_version >= (2, 0)

    @property
    def may_ask_for_driver(self) -> bool:
        """The kubelet's version may matter: this containerd can tell the driver, or is not known (yet)."""
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            return self.runtime_tells_driver
        return True

    @functools.cached_property
    def version(self) -> tuple[int, ...]:
        """The running kubelet's version. `Undetermined` where it cannot be asked."""
        if self.kubelet is None or not self.kubelet.exe or self.kubelet.comm != "kubelet":
            raise Undetermined("the kubelet's version cannot be had")
        text = self.facts.text(version_script(self.kubelet.exe)) or ""
        found = re.match(r"\s*Kubernetes v(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", text)
        if found is None:
            raise Undetermined(f"{self.kubelet.exe} does not tell its version")
        return tuple(int(part) for part in found.groups(default="0"))

    @functools.cached_property
    def cgroup_driver(self) -> str | None:
        """`systemd` or `cgroupfs` by the kubelet's own settings; None: no kubelet runs, or it asks containerd.

        A kubelet asks from 1.31 on (gate KubeletCgroupDriverFromCRI: 1.28 alpha, 1.31 beta and on, 1.34 locked), a
        containerd answers from 2.0 on. Else its own setting holds, `cgroupfs` by default. k3s writes both sides alike.
        """
        if self.kubelet is None or self.is_k3s:
            return None
        if not self.is_microk8s and self.runtime_tells_driver and self._asks_for_driver:
            return None
        found = self.setting("cgroup-driver", "cgroupDriver")
        word = found.value.lower() if found else "cgroupfs"
        if word not in ("systemd", "cgroupfs"):
            raise Undetermined(f"the kubelet has the unknown cgroup driver {one_line(word, 40)!r}")
        return word

    @property
    def _asks_for_driver(self) -> bool:
        gate = self._gate("KubeletCgroupDriverFromCRI")
        if self.version >= (1, 34):
            return True
        return gate is not False if self.version >= (1, 31) else self.version >= (1, 28) and gate is True

    def _gate(self, name: str) -> bool | None:
        """A feature gate as the flag or the configuration sets it; None: neither does."""
        flag = self.flag("feature-gates")
        words = dict(item.split("=", 1) for item in flag.value.split(",") if "=" in item) if flag else {}
        said = words.get(name)
        for _, _, document in reversed(self.documents):
            gates = document.get("featureGates")
            if said is None and isinstance(gates, dict):
                said = gates.get(name)
        return {"true": True, "false": False}.get(str(said).lower())

    @property
    def node_name(self) -> str:
        """The name of its Node object: --hostname-override, else the host's name in lower case."""
        named = self.flag("hostname-override")
        name = named.value if named and named.value else self.views.get(Platform).hostname
        if not name:
            raise Undetermined("the node's name in Kubernetes is not known")
        return name.strip().lower()

    # ------------------------------------------------------------------ what it offers

    @property
    def checkpoint_path(self) -> str:
        """The file in which the kubelet keeps what device plugins registered."""
        return checkpoint(self.root).arg[0]

    @functools.cached_property
    def devices(self) -> dict[str, tuple[str, ...]]:
        """The healthy devices that plugins have registered, by resource; NVIDIA's only, empty where there is none.

        The kubelet writes the file with every change; a plugin that is gone leaves it after five minutes
        (kubernetes: pkg/kubelet/cm/devicemanager/manager.go GetCapacity). No file: no plugin ever registered.
        """
        text = self.facts.text(checkpoint(self.root))
        if text is None:
            return {}
        try:
            registered = json.loads(text)["Data"]["RegisteredDevices"] or {}
            return {
                resource: tuple(str(device) for device in devices or ())
                for resource, devices in registered.items()
                if resource.startswith("nvidia.com/")
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Undetermined(f"{self.checkpoint_path} is no checkpoint of a kubelet's") from None

    @property
    def uses_dra(self) -> bool:
        """NVIDIA's driver for dynamic resource allocation is registered with the kubelet."""
        return bool(self.facts.glob(dra_sockets(self.root).arg[0]))

    # ------------------------------------------------------------------ what the API says

    @property
    def cluster(self) -> Cluster:
        """What the API says; each of it is `NotApplicable` without a kubeconfig."""
        return Cluster(self.views)

    @functools.cached_property
    def runtime_classes(self) -> dict[str, str]:
        """Handler by RuntimeClass: the API's, else those that k3s itself creates.

        `NotApplicable` where only the API knows and may not be asked.
        """
        try:
            return self.cluster.runtime_classes
        except NotApplicable:
            found = self._k3s_classes()
            if not found:
                raise
            return found

    @property
    def classes_source(self) -> str:
        """Where the RuntimeClasses were read."""
        return str(RUNTIME_CLASSES) if RUNTIME_CLASSES in self.facts else K3S_CLASSES

    def _k3s_classes(self) -> dict[str, str]:
        if not self.is_k3s or self.facts.exists(K3S_SKIP):
            return {}
        return handlers(documents(K3S_CLASSES, self.facts.text(file(K3S_CLASSES)) or ""))

    @property
    def runtime_class_handler(self) -> str | None:
        """The handler of the RuntimeClass `nvidia`, which pods name; None where it is not known or there is none."""
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            return self.runtime_classes.get("nvidia")
        return None

    @functools.cached_property
    def allocatable(self) -> dict[str, int]:
        """How much of NVIDIA's resources the Node object offers to pods. `NotApplicable` without a kubeconfig."""
        return self.cluster.allocatable(self.node_name)

    @property
    def labels(self) -> dict[str, str]:
        """The Node object's labels, such as nvidia.com/gpu.replicas and nvidia.com/mig.strategy."""
        return self.cluster.labels(self.node_name)


def _is_kubelet(process: Process) -> bool:
    if process.comm in ("kubelet", "kubelite"):
        return True
    # `k3s kubectl` and a server without agent have no kubelet.
    return (
        process.comm in _K3S
        and not {"kubectl", "--disable-agent"} & set(process.args)
        and any(word in ("server", "agent") for arg in process.args[:2] for word in arg.split())
    )


def _plain(path: str) -> str:
    return posixpath.normpath(path)
