"""containerd: the daemon, its client, the runtime handlers."""

from __future__ import annotations

from tests.lab.faults.model import NEWEST, Fault

CONFIG = "/etc/containerd/config.toml"
DROPIN = "/etc/containerd/conf.d/99-nvidia.toml"
#: What a cause does to the judged handler's settings, wherever they stand.
BINARY = "sed -i 's|/usr/bin/nvidia-container-runtime|{}|' $DROPIN; restart"

#: A drop-in of the service, and a restart under it.
UNIT = (
    "printf '[Service]\\n{}\\n' >/etc/systemd/system/containerd.service.d/60-hardening.conf; systemctl daemon-reload;"
    " try_restart"
)

FAULTS = (
    Fault(
        "handler-never-configured",
        "nvidia-ctk was never run (catalogue row 1).",
        "never_configured; restart",
        ("containerd.handler",),
        blocks=("containerd.handler-binary", "containerd.handler-runtime-type"),
        spares=("ctr-gpus",),
        says="no handler nvidia",
    ),
    Fault(
        "not-restarted",
        "nvidia-ctk was run and containerd was not restarted (catalogue row 13).",
        "never_configured; restart; nvidia-ctk runtime configure --runtime=containerd",
        ("containerd.restarted",),
        spares=("ctr-gpus",),
        says="nvidia",
    ),
    Fault(
        "not-restarted-after-an-edit-in-place",
        "A handler written into config.toml, as nvidia-ctk up to 1.17 does, and no restart.",
        "never_configured; restart; handler $PLUGIN >>$CONFIG",
        ("containerd.restarted",),
        changes="timeouts",  # the drop-in with them is imported no more
        spares=("ctr-gpus",),
    ),
    Fault(
        "removed-and-not-restarted",
        "The handler was taken from the files; the daemon still has it, until it is restarted.",
        "never_configured",
        ("containerd.handler",),
        blocks=("containerd.restarted",),
        spares=("ctr-gpus",),
        shows=False,
    ),
    Fault(
        "cri-disabled",
        "CRI is among the disabled plugins (catalogue row 9; gpud: Healthy).",
        "sed -i '/^disabled_plugins/d' $CONFIG; sed -i '1i disabled_plugins = [\"io.containerd.grpc.v1.cri\"]' $CONFIG; restart",
        ("containerd.cri-enabled",),
        blocks=("containerd.handler",),
        spares=("ctr-gpus",),
        where=f"{CONFIG}:disabled_plugins",
    ),
    Fault(
        "default-runtime-unknown",
        "default_runtime_name points to a handler that is not there: the CRI plugin fails.",
        "sed -i -E \"s/(default_runtime_name = )[\\\"'].*/\\1'kata'/\" $CONFIG $DROPIN; restart",
        ("containerd.cri-enabled",),
        blocks=("containerd.handler",),
        spares=("ctr-gpus",),
        says="kata",
        changes="default_runtime_name|runtimes[.]kata[.]",
    ),
    Fault(
        "handler-runs-runc",
        "The handler's BinaryName is runc.",
        BINARY.format("/usr/sbin/runc"),
        ("containerd.handler",),
        blocks=("containerd.handler-binary",),
        spares=("ctr-gpus",),
        where=f"{DROPIN}:/usr/sbin/runc",
        says="runs /usr/sbin/runc",
    ),
    Fault(
        "handler-runs-nvidias-hook",
        "The handler's BinaryName is NVIDIA's hook, whose name begins like the runtime's.",
        "nvidia-ctk runtime configure --runtime=containerd"
        " --nvidia-runtime-path=/usr/bin/nvidia-container-runtime-hook; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        where=f"{DROPIN}:nvidia-container-runtime-hook",
        generations=NEWEST,
    ),
    Fault(
        "handler-without-binary",
        "The handler names no BinaryName: it runs runc, without an error (catalogue row 7).",
        "sed -i '\\|/usr/bin/nvidia-container-runtime|d' $DROPIN; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        says="names no BinaryName",
    ),
    Fault(
        "handler-misspelt-option",
        "Binaryname: 1.x takes no such spelling and runs runc (catalogue row 49).",
        "sed -i 's|BinaryName = \"/usr|Binaryname = \"/usr|' $DROPIN; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        says="Binaryname",
        generations=("1.6", "1.7"),
        changes="Binaryname",
    ),
    Fault(
        "handler-option-with-underscore",
        "binary_name counts nowhere.",
        "sed -i 's|BinaryName = \"/usr|binary_name = \"/usr|' $DROPIN; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        says="binary_name",
        changes="binary_name",
    ),
    Fault(
        "handler-binary-elsewhere",
        "BinaryName names a path where nothing is.",
        BINARY.format("/usr/local/bin/nvidia-container-runtime"),
        ("containerd.handler-binary",),
        spares=("ctr-gpus",),
        where=f"{DROPIN}:/usr/local/bin/nvidia-container-runtime",
        fast=True,
    ),
    Fault(
        "handler-binary-not-executable",
        "BinaryName names a copy that may not be executed.",
        "cp /usr/bin/nvidia-container-runtime /opt/nvidia-container-runtime; chmod 644 /opt/nvidia-container-runtime;"
        + BINARY.format("/opt/nvidia-container-runtime"),
        ("containerd.handler-binary",),
        spares=("ctr-gpus",),
        generations=NEWEST,
    ),
    Fault(
        "handler-binary-on-noexec",
        "BinaryName names a copy on a file system that is mounted noexec.",
        "mkdir -p /mnt/nv; mount -t tmpfs -o noexec tmpfs /mnt/nv; cp /usr/bin/nvidia-container-runtime /mnt/nv/; "
        + BINARY.format("/mnt/nv/nvidia-container-runtime"),
        ("containerd.handler-binary",),
        spares=("ctr-gpus",),
        says="noexec",
        person="noexec",
        generations=NEWEST,
    ),
    Fault(
        "runtime-type-missing",
        "The handler has no runtime_type (catalogue row 21; toolkit#1956).",
        "sed -i '/runtimes.nvidia\\]/,$ { /runtime_type/d }' $DROPIN; restart",
        ("containerd.handler-runtime-type",),
        spares=("ctr-gpus",),
        says="has no runtime_type",
        fast=True,
    ),
    Fault(
        "runtime-type-misspelt",
        "The handler's runtime_type is the binary's name.",
        "sed -i '/runtimes.nvidia\\]/,$ { s|runtime_type = .*|runtime_type = \"nvidia-container-runtime\"| }' $DROPIN; restart",
        ("containerd.handler-runtime-type",),
        spares=("ctr-gpus",),
        where=f"{DROPIN}:runtime_type",
    ),
    Fault(
        "runtime-type-of-old",
        "io.containerd.runtime.v1.linux, which containerd 2 no longer has.",
        "sed -i '/runtimes.nvidia\\]/,$ { s|runtime_type = .*|runtime_type = \"io.containerd.runtime.v1.linux\"| }' $DROPIN;"
        " restart",
        ("containerd.handler-runtime-type",),
        spares=("ctr-gpus",),
        generations=NEWEST,
    ),
    Fault(
        "cgroup-driver-differs",
        "SystemdCgroup of nvidia is not runc's (catalogue row 11).",
        "sed -i '/runtimes.nvidia.options\\]/,$ { s/SystemdCgroup = false/SystemdCgroup = true/ }' $DROPIN; restart",
        ("containerd.handler-cgroups",),
        spares=("ctr-gpus",),
        where=f"{DROPIN}:SystemdCgroup = true",
        fast=True,
    ),
    Fault(
        "daemon-stopped",
        "Somebody stopped the daemon (gpud: Healthy for four checks of five).",
        "systemctl stop containerd",
        ("containerd.running",),
        blocks=("containerd.restarted",),
        says="no containerd runs",
    ),
    Fault(
        "daemon-disabled",
        "The daemon was stopped and disabled.",
        "systemctl disable --now containerd",
        ("containerd.running",),
        says="no containerd runs",
        generations=NEWEST,
    ),
    Fault(
        "daemon-masked",
        "The service was masked.",
        "systemctl mask --now containerd",
        ("containerd.running",),
        says="masked",
        generations=NEWEST,
    ),
    Fault(
        "daemon-killed",
        "The daemon died, and its service does not bring it back.",
        "printf '[Service]\\nRestart=no\\n' >/etc/systemd/system/containerd.service.d/60-restart.conf;"
        " systemctl daemon-reload; systemctl kill -s KILL containerd; sleep 0.3",
        ("containerd.running",),
        says="no containerd runs",
        generations=NEWEST,
    ),
    Fault(
        "socket-deleted",
        "The daemon runs and its socket was deleted.",
        "rm /run/containerd/containerd.sock",
        ("containerd.running",),
        says="/run/containerd/containerd.sock",
        fast=True,
    ),
    Fault(
        "unit-with-private-devices",
        "PrivateDevices in the unit: containerd has a /dev of its own, and everything else on the node is right.",
        UNIT.format("PrivateDevices=yes"),
        ("driver.device-nodes",),
        blocks=("driver.nvml-answers",),
        says="not for containerd",
        generations=("1.6", "2.x"),
    ),
    Fault(
        "unit-with-a-read-only-system",
        "ProtectSystem=strict: containerd cannot write what it must, and does not start.",
        UNIT.format("ProtectSystem=strict"),
        ("containerd.running",),
        says="ProtectSystem=strict",
        generations=NEWEST,
    ),
    Fault(
        "unit-that-hides-the-configuration",
        "TemporaryFileSystem=/etc/containerd: what is on disk is right, and a restart does not bring it.",
        UNIT.format("TemporaryFileSystem=/etc/containerd"),
        ("containerd.restarted",),
        spares=("ctr-gpus",),
        says="TemporaryFileSystem=/etc/containerd",
        generations=NEWEST,
    ),
    Fault(
        "unit-that-hides-the-runtime",
        "InaccessiblePaths: the program is there and executable, and not for the daemon.",
        UNIT.format("InaccessiblePaths=/usr/bin/nvidia-container-runtime"),
        ("containerd.handler-binary",),
        spares=("ctr-gpus",),
        generations=NEWEST,
    ),
    Fault(
        "shim-missing",
        "containerd's shim is gone: no container starts, with a GPU or without.",
        "rm /usr/bin/containerd-shim-runc-v2",
        ("containerd.runc",),
        says="containerd-shim-runc-v2 is not in",
    ),
    Fault(
        "ctr-missing",
        "ctr is not there.",
        "rm /usr/bin/ctr",
        ("containerd.ctr",),
        spares=("cri-handler",),
        person="comes with containerd's own archive",
        says="ctr is not on PATH",
    ),
    Fault(
        "ctr-not-on-path",
        "ctr is where an archive was unpacked, and not on PATH.",
        "mkdir -p /opt/containerd/bin; mv /usr/bin/ctr /opt/containerd/bin/",
        ("containerd.ctr",),
        spares=("cri-handler",),
        person="comes with containerd's own archive",
        generations=NEWEST,
    ),
    Fault(
        "containerd-removed",
        "The package was removed; its configuration stays (gpud: Healthy).",
        "apt-get remove -y containerd",
        ("containerd.installed",),
        blocks=("containerd.running", "containerd.config-loads"),
        says="no containerd on PATH",
        fast=True,
    ),
    Fault(
        "containerd-purged",
        "The package was purged with its configuration: after the installation the handler is missing.",
        "apt-get purge -y containerd; rm -rf /etc/containerd",
        ("containerd.installed",),
        then=(("containerd.handler",),),
        says="no containerd on PATH",
        changes=".*",  # the configuration itself was taken away
        no_container="the CRI plugin's sandbox needs restrict_oom_score_adj on the lab's machine",
    ),
    Fault(
        "daemon-reads-another-file",
        "The service starts containerd with another file; nvidia-ctk wrote to the usual one (toolkit#982).",
        "never_configured; cp $CONFIG /etc/containerd/site.toml; nvidia-ctk runtime configure --runtime=containerd;"
        " printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/containerd --config /etc/containerd/site.toml\\n'"
        " >/etc/systemd/system/containerd.service.d/60-config.conf; systemctl daemon-reload; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        where="/etc/containerd/site.toml",
        changes=".*",  # what the daemon reads is another file
    ),
)
