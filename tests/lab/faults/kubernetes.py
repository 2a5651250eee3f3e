"""Between the kubelet and containerd: what stands for a kubelet is said in standins/kubelet.c."""

from __future__ import annotations

from tests.lab.faults.model import NEWEST, Fault

#: A joined node: the kubelet's configuration, its service, and a device plugin that has registered both GPUs.
JOINED = r"""
install -D $LAB/kubelet /usr/bin/kubelet
printf '[Service]\nExecStart=/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml\n[Install]\nWantedBy=multi-user.target\n' \
    >/etc/systemd/system/kubelet.service
mkdir -p /var/lib/kubelet/device-plugins /etc/kubernetes
printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: cgroupfs\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n' \
    >/var/lib/kubelet/config.yaml
first=$(sed -n 's/^gpu0.uuid=//p' $LAB/driver.txt) second=$(sed -n 's/^gpu1.uuid=//p' $LAB/driver.txt)
printf '{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{"nvidia.com/gpu":["%s","%s"]}},"Checksum":1}' \
    "$first" "$second" >/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
systemctl daemon-reload
systemctl enable --now kubelet
"""

FAULTS = (
    Fault(
        "kubelet-stopped",
        "The node is joined and its kubelet does not run.",
        "systemctl disable kubelet; systemctl enable kubelet; systemctl stop kubelet",
        ("kubernetes.allocatable",),
        before=JOINED,
        spares=("ctr-gpus",),
        says="the kubelet does not run",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "kubelet-uses-another-runtime",
        "The kubelet's endpoint is CRI-O's (catalogue row 44).",
        "sed -i 's|^containerRuntimeEndpoint: .*|containerRuntimeEndpoint: unix:///run/crio/crio.sock|'"
        " /var/lib/kubelet/config.yaml; systemctl restart kubelet",
        ("containerd.selected",),
        before=JOINED,
        spares=("ctr-gpus",),
        says="the kubelet uses /run/crio/crio.sock",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "device-plugin-not-registered",
        "No device plugin has registered (catalogue row 5).",
        'printf \'{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}\''
        " >/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint",
        ("kubernetes.allocatable",),
        before=JOINED,
        spares=("ctr-gpus",),
        says="no device plugin of NVIDIA's has registered",
        person="device plugin",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "device-plugin-offers-none",
        "nvidia.com/gpu is 0: the plugin ran without the nvidia runtime (catalogue row 5).",
        'printf \'{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{"nvidia.com/gpu":[]}},"Checksum":1}\''
        " >/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint",
        ("kubernetes.allocatable",),
        before=JOINED,
        spares=("ctr-gpus",),
        says="nvidia.com/gpu is 0",
        person="device plugin",
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "cgroup-driver-not-the-kubelets",
        "The kubelet has systemd; the sed that everybody types changed config.toml, and the drop-in's copy wins (toolkit 3.3 d).",
        "sed -i 's/^cgroupDriver: .*/cgroupDriver: systemd/' /var/lib/kubelet/config.yaml; systemctl restart kubelet;"
        " sed -i 's/SystemdCgroup = false/SystemdCgroup = true/' $CONFIG; restart",
        ("containerd.handler-cgroups",),
        before=JOINED,
        spares=("ctr-gpus",),
        where="/etc/containerd/conf.d/99-nvidia.toml:SystemdCgroup = false",
        shows=False,
        changes="SystemdCgroup",
        no_container="the lab's machine has no systemd cgroups for containers",
    ),
)
