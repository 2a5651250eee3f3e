"""Remedies for what lies between the kubelet, containerd and the GPUs."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, Remedy, Undetermined
from pytest_gpuready.quoting import escape_sed_replacement, here_document, quote, quote_unit
from pytest_gpuready.views.containerd_live import DEFAULT_SOCKET, ContainerdLive
from pytest_gpuready.views.daemons import same_socket
from pytest_gpuready.views.kubernetes import CONFIG, FLAGS, Kubernetes
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from pytest_gpuready.views import Views

#: A socket's path that can stand in a sed expression as it is.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/-]{1,200}")

#: A handler's and a RuntimeClass's name (RFC 1123 label).
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")

#: Where the GPU operator puts the toolkit.
_OPERATOR = "/usr/local/nvidia/toolkit"


class KubernetesRemedies:
    """`mend.kubernetes`."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.kubernetes = views.get(Kubernetes)
        self.live = views.get(ContainerdLive)
        self.sudo = views.get(Platform).sudo_prefix

    def endpoint(self) -> Remedy:
        """The kubelet uses another runtime than the containerd that is judged."""
        setting = self.kubernetes.endpoint_setting
        endpoint = setting.value if setting else DEFAULT_SOCKET
        if any(same_socket(daemon.socket, endpoint) for daemon in self.live.daemons):
            return Remedy(
                "Judge the containerd that the kubelet uses.",
                (f"pytest --gpuready --gpuready-containerd={quote(endpoint)}{self._hosts()}",),
            )
        judged = (self.live.selected, *self.live.daemons)
        target = next((daemon.socket for daemon in judged if daemon is not None), DEFAULT_SOCKET)
        service = quote_unit(self.kubernetes.service)
        summary = "Point the kubelet at containerd. Drain the node first: no pod is taken over."
        path = setting.where.path if setting and setting.where else ""
        if path not in (FLAGS, CONFIG) or _PLAIN_PATH.fullmatch(target) is None:
            return Remedy(
                f"{summary} Its service says where its settings are.",
                (f"systemctl cat {service}",),
            )
        address = f"unix://{escape_sed_replacement(target)}"
        if path == FLAGS:
            edit = f's|--container-runtime-endpoint=[^ "]*|--container-runtime-endpoint={address}|'
        else:
            edit = f"s|^containerRuntimeEndpoint:.*|containerRuntimeEndpoint: {address}|"
        return Remedy(summary, (f"{self.sudo}sed -i {quote(edit)} {path}", f"{self.sudo}systemctl restart {service}"))

    def runtime_class(self, handler: str) -> Remedy:
        """No RuntimeClass points to the handler."""
        if _LABEL.fullmatch(handler) is None:
            return Remedy(
                "Give the handler a name of lower-case letters, digits and dashes: a RuntimeClass takes no other."
            )
        manifest = f"apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: {handler}\nhandler: {handler}"
        return Remedy(
            "Create the RuntimeClass, wherever kubectl reaches the cluster.",
            (here_document("kubectl apply -f -", manifest),),
        )

    def device_plugin(self) -> Remedy:
        """The kubelet offers no GPU, or not all of them."""
        node = "NODE"
        with contextlib.suppress(Undetermined, Denied):
            node = quote(self.kubernetes.node_name)
        look = f"kubectl get pods -A -o wide --field-selector spec.nodeName={node}"
        if self._operator:
            return Remedy(
                "The GPU operator brings the device plugin. When every other root is mended, start its pods anew.",
                (look, "kubectl -n gpu-operator rollout restart daemonset/nvidia-device-plugin-daemonset"),
            )
        if self.kubernetes.devices:
            return Remedy(
                "The device plugin has registered and offers too little. Read its log, and start its pod here anew.",
                (look,),
            )
        install = (
            "helm repo add nvdp https://nvidia.github.io/k8s-device-plugin && helm repo update && "
            "helm upgrade --install nvdp nvdp/nvidia-device-plugin --namespace nvidia-device-plugin --create-namespace "
            "--set runtimeClassName=nvidia"
        )
        return Remedy(
            "Install NVIDIA's device plugin, run by the nvidia runtime; if its pod is there already, read its log.",
            (look, install),
        )

    def start_kubelet(self) -> Remedy:
        """The kubelet is set up and does not run."""
        service = quote_unit(self.kubernetes.service)
        return Remedy(
            "Start the kubelet; if it ends again, its journal says why.",
            (f"{self.sudo}systemctl enable --now {service}", f"{self.sudo}journalctl -u {service} -n 50 --no-pager"),
        )

    @property
    def _operator(self) -> bool:
        with contextlib.suppress(Undetermined, Denied):
            return self.views.facts.exists(_OPERATOR)
        return False

    def _hosts(self) -> str:
        node = self.views.facts.node
        return f" --hosts={quote(node)}" if "://" in node else ""
