"""Independent faults at once, and one hidden behind another."""

from __future__ import annotations

from tests.lab.faults.model import NEWEST, Fault

CONFIG = "/etc/containerd/config.toml"

FAULTS = (
    Fault(
        "pair-handler-and-device-nodes",
        "Two at once: nvidia-ctk was never run, and the device nodes are missing.",
        "never_configured; restart; rm /dev/nvidia0 /dev/nvidia1 /dev/nvidiactl",
        ("driver.device-nodes", "containerd.handler"),
        blocks=("driver.nvml-answers",),
        shows=False,
        fast=True,
    ),
    Fault(
        "pair-cli-and-handler",
        "Two at once, one for each route.",
        "rm /usr/bin/nvidia-container-cli; never_configured; restart",
        ("toolkit.container-cli", "containerd.handler"),
    ),
    Fault(
        "pair-module-and-toolkit-config",
        "Two at once: the module is not loaded, config.toml names a bogus mode.",
        "$DRIVER unload; sed -i 's/^mode = .*/mode = \"nvidia\"/' $TOOLKIT",
        ("driver.module-loaded", "toolkit.config-valid"),
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "pair-stopped-and-library-cache",
        "Two at once: the daemon is stopped, the loader's cache is stale.",
        "systemctl stop containerd; mkdir /root/aside; mv $LIB/libnvidia-ml.so* $LIB/libcuda.so* /root/aside; ldconfig;"
        " mv /root/aside/* $LIB/",
        ("containerd.running", "driver.library-present"),
        generations=NEWEST,
    ),
    Fault(
        "pair-runtime-type-and-cgroups",
        "Two settings of one handler are wrong.",
        "sed -i '/runtimes.nvidia\\]/,$ { /runtime_type/d; s/SystemdCgroup = false/SystemdCgroup = true/ }'"
        " /etc/containerd/conf.d/99-nvidia.toml; restart",
        ("containerd.handler-runtime-type", "containerd.handler-cgroups"),
        spares=("ctr-gpus",),
    ),
    Fault(
        "pair-spec-and-cdi-off",
        "Two at once: no spec, and enable_cdi is false.",
        "rm $SPEC; sed -i 's/enable_cdi = true/enable_cdi = false/' $CONFIG $DROPIN; restart",
        ("cdi.spec-present", "cdi.enabled"),
        routes=("ctr-cdi", "cri-cdi"),
        generations=NEWEST,
    ),
    Fault(
        "hidden-handler-behind-syntax-error",
        "A syntax error hides that the handler was never configured.",
        "never_configured; sed -i '3i this is no TOML' $CONFIG; try_restart",
        ("containerd.config-loads",),
        then=(("containerd.handler",),),
        blocks=("containerd.handler", "containerd.running"),
        where=f"{CONFIG}:this is no TOML",
        fast=True,
    ),
    Fault(
        "hidden-runtime-type-behind-a-missing-import",
        "The file that is not there hides that the handler has no runtime_type.",
        "sed -i '/runtimes.nvidia\\]/,$ { /runtime_type/d }' $DROPIN;"
        ' sed -i \'s|^imports = .*|imports = ["/etc/containerd/conf.d/*.toml", "/etc/containerd/gone.toml"]|\' $CONFIG;'
        " try_restart",
        ("containerd.config-loads",),
        then=(("containerd.handler-runtime-type",),),
        generations=NEWEST,
    ),
    Fault(
        "hidden-handler-behind-cri-disabled",
        "CRI is off, and behind it no handler.",
        "never_configured; sed -i '/^disabled_plugins/d' $CONFIG;"
        " sed -i '1i disabled_plugins = [\"io.containerd.grpc.v1.cri\"]' $CONFIG; restart",
        ("containerd.cri-enabled",),
        then=(("containerd.handler",),),
        spares=("ctr-gpus",),
    ),
    Fault(
        "two-lines-of-the-toolkits-file",
        "Two lines of config.toml are wrong: one remedy a time.",
        "sed -i 's/^mode = .*/mode = \"csv\"/; s/^runtimes = .*/runtimes = []/' $TOOLKIT",
        ("toolkit.config-valid",),
        then=(("toolkit.config-valid",),),
        spares=("ctr-gpus",),
        generations=NEWEST,
    ),
    Fault(
        "hidden-stale-spec-behind-missing-nodes",
        "The nodes are missing; behind that the spec lacks a GPU.",
        "rm /dev/nvidia1; nvidia-ctk cdi generate --output=$SPEC; rm /dev/nvidia0 /dev/nvidiactl",
        ("driver.device-nodes",),
        then=(("cdi.devices-complete",),),
        routes=("ctr-cdi", "cri-cdi"),
        generations=NEWEST,
        shows=False,
    ),
    Fault(
        "pair-toolkit-and-restart",
        "The toolkit was removed, and containerd was not restarted after nvidia-ctk.",
        "never_configured; restart; nvidia-ctk runtime configure --runtime=containerd;"
        " apt-get remove -y nvidia-container-toolkit-base",
        ("toolkit.installed", "containerd.restarted"),
        spares=("ctr-gpus",),
    ),
)
