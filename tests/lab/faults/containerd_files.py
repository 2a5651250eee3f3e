"""containerd's configuration: it loads, its parts count, its versions fit."""

from __future__ import annotations

from tests.lab.faults.model import NEWEST, Fault

CONFIG = "/etc/containerd/config.toml"
DROPIN = "/etc/containerd/conf.d/99-nvidia.toml"
#: The lab's own sandbox setting is lost with the file.
OOM = "the lab's machine needs restrict_oom_score_adj, which stood in the file that the fault took away"

FAULTS = (
    Fault(
        "syntax-error-running",
        "A line that is no TOML; the daemon still runs with what it read before.",
        "sed -i '3i this is no TOML' $CONFIG",
        ("containerd.config-loads",),
        blocks=("containerd.cri-enabled", "containerd.handler"),
        spares=("ctr-gpus",),
        where=f"{CONFIG}:this is no TOML",
        shows=False,
    ),
    Fault(
        "syntax-error-down",
        "A line that is no TOML, and somebody restarted containerd.",
        "sed -i '3i this is no TOML' $CONFIG; try_restart",
        ("containerd.config-loads",),
        blocks=("containerd.running", "containerd.handler"),
        where=f"{CONFIG}:this is no TOML",
    ),
    Fault(
        "quote-not-closed",
        "A string without its end.",
        "sed -i 's|^imports = .*|imports = [\"/etc/containerd/conf.d/*.toml]|' $CONFIG; try_restart",
        ("containerd.config-loads",),
        where=f"{CONFIG}:imports",
    ),
    Fault(
        "snippet-pasted-twice",
        "The handler's table stands twice (catalogue row 47).",
        "in_place; handler $PLUGIN >>$CONFIG; try_restart",
        ("containerd.config-loads",),
        where=f"{CONFIG}:runtimes.nvidia",
        changes="timeouts",  # in_place takes the imports away, and with them a drop-in
        fast=True,
    ),
    Fault(
        "short-plugin-name",
        'disabled_plugins = ["cri"] in a file of version 2 or 3 (catalogue row 46).',
        "sed -i '/^disabled_plugins/d' $CONFIG; sed -i '1i disabled_plugins = [\"cri\"]' $CONFIG; try_restart",
        ("containerd.config-loads",),
        where=f"{CONFIG}:disabled_plugins",
    ),
    Fault(
        "literal-import-missing",
        "imports names a file that is not there (catalogue row 48).",
        'sed -i \'s|^imports = .*|imports = ["/etc/containerd/conf.d/*.toml", "/etc/containerd/mirrors.toml"]|\' $CONFIG;'
        " try_restart",
        ("containerd.config-loads",),
        where=f"{CONFIG}:imports",
    ),
    Fault(
        "drop-in-is-no-toml",
        "The drop-in was cut short.",
        "head -c 300 $DROPIN >$DROPIN.new; printf '\\n[plugins' >>$DROPIN.new; mv $DROPIN.new $DROPIN; try_restart",
        ("containerd.config-loads",),
        then=(("containerd.handler",),),
        where=DROPIN,
        changes="runtimes",
    ),
    Fault(
        "version-of-a-newer-containerd",
        "A configuration for a newer containerd (catalogue row 23).",
        "in_place; sed -i 's/^version = .*/version = 4/' $CONFIG; try_restart",
        ("containerd.config-loads",),
        changes="timeouts",  # the drop-in with them is imported no more
        where=f"{CONFIG}:version = 4",
        generations=("1.7", "2.x"),
    ),
    Fault(
        "wrong-table",
        "The handler stands in the table of another version of the configuration.",
        "never_configured; handler $WRONG >>$CONFIG; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        where=f"{CONFIG}:runtimes.nvidia",
        says="has no effect",
        changes="plugins[.]io[.]containerd[.](grpc[.]v1[.]cri|cri[.]v1[.]runtime)[.]containerd[.]runtimes",
    ),
    Fault(
        "drop-in-of-another-version",
        "A drop-in with the tables of another version beside the file (catalogue row 24).",
        "{ echo version = $OTHER; handler $WRONG; } >$DROPIN; try_restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        generations=("1.6", "2.x"),
        changes=".*",
    ),
    Fault(
        "drop-in-of-version-3-on-1.7",
        "A drop-in of containerd 2.x: 1.7 refuses to start (catalogue row 23).",
        "{ echo version = 3; handler $WRONG; } >$DROPIN; try_restart",
        ("containerd.config-loads",),
        where=f"{DROPIN}:version = 3",
        generations=("1.7",),
        changes=".*",
    ),
    Fault(
        "drop-in-not-imported",
        "The drop-in is there, and no imports line (conf.d is read by no release on its own).",
        "sed -i '/^imports/d' $CONFIG; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        where=DROPIN,
        says="imports",
        fast=True,
    ),
    Fault(
        "drop-in-in-another-folder",
        "The drop-in of toolkit 1.18.0 lies in config.d, and conf.d is imported.",
        "mkdir /etc/containerd/config.d; mv $DROPIN /etc/containerd/config.d/; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
    ),
    Fault(
        "drop-in-with-another-ending",
        "The drop-in does not end in .toml.",
        "mv $DROPIN $DROPIN.bak; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
    ),
    Fault(
        "later-drop-in-replaces-the-handler",
        "On 1.x a later drop-in replaces the whole CRI table (containerd#5837; catalogue row 25).",
        "printf 'version = 2\\n[plugins.\"%s\"]\\n  max_concurrent_downloads = 5\\n' $PLUGIN"
        " >/etc/containerd/conf.d/99-site.toml; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        generations=("1.6", "1.7"),
        changes=".*",
        no_container=OOM,
    ),
    Fault(
        "later-drop-in-empties-the-binary",
        "A later drop-in gives the handler an empty BinaryName.",
        "{ echo version = 3; handler $PLUGIN ''; } >/etc/containerd/conf.d/99-site.toml; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        where="/etc/containerd/conf.d/99-site.toml",
        generations=NEWEST,
    ),
    Fault(
        "only-nvidia-is-defined",
        "nvidia-ctk without a config.toml: 1.x forgets runc and CRI fails (catalogue row 10; toolkit 3.3 a).",
        "rm -r /etc/containerd; nvidia-ctk runtime configure --runtime=containerd; restart",
        ("containerd.cri-enabled",),
        blocks=("containerd.handler",),
        spares=("ctr-gpus",),
        says="runc",
        generations=("1.6", "1.7"),
        changes=".*",
        no_container=OOM,
        fast=True,
    ),
    Fault(
        "config-missing",
        "There is no config.toml at all: built-in defaults, no handler.",
        "rm -r /etc/containerd; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        changes=".*",
        no_container=OOM,
    ),
    Fault(
        "config-empty",
        "config.toml is empty.",
        "rm -r /etc/containerd/conf.d; : >$CONFIG; restart",
        ("containerd.handler",),
        spares=("ctr-gpus",),
        changes=".*",
        no_container=OOM,
    ),
    Fault(
        "dockers-stock-config",
        "containerd.io's config.toml: CRI is off, and no handler behind it (catalogue row 9).",
        "rm -r /etc/containerd/conf.d; printf 'disabled_plugins = [\"cri\"]\\n' >$CONFIG; restart",
        ("containerd.cri-enabled",),
        then=(("containerd.handler",),),
        blocks=("containerd.handler",),
        spares=("ctr-gpus",),
        where=f"{CONFIG}:disabled_plugins",
        changes=".*",
        no_container=OOM,
        fast=True,
    ),
    Fault(
        "dockers-stock-config-with-nvidia-ctk",
        "nvidia-ctk 1.18 on containerd.io's config.toml does nothing that counts (toolkit#1430; toolkit 3.3 b).",
        "rm -r /etc/containerd/conf.d; printf 'disabled_plugins = [\"cri\"]\\n' >$CONFIG;"
        " nvidia-ctk runtime configure --runtime=containerd; restart",
        ("containerd.cri-enabled",),
        then=(("containerd.handler",),),
        spares=("ctr-gpus",),
        where=f"{CONFIG}:disabled_plugins",
        changes=".*",
        no_container=OOM,
    ),
    Fault(
        "dockers-stock-config-edited-in-place",
        "nvidia-ctk up to 1.17 edits the version 1 file and leaves CRI off (toolkit 3.3 c).",
        "rm -r /etc/containerd/conf.d; { printf 'disabled_plugins = [\"cri\"]\\nversion = 1\\n';"
        " printf '[plugins.cri.containerd.runtimes.nvidia]\\n  runtime_type = \"io.containerd.runc.v2\"\\n';"
        " printf '[plugins.cri.containerd.runtimes.nvidia.options]\\n';"
        ' printf \'  BinaryName = "/usr/bin/nvidia-container-runtime"\\n'
        '  Runtime = "/usr/bin/nvidia-container-runtime"\\n\'; } >$CONFIG; restart',
        ("containerd.cri-enabled",),
        spares=("ctr-gpus",),
        where=f"{CONFIG}:disabled_plugins",
        changes=".*",
        no_container=OOM,
        generations=("1.6", "1.7"),
    ),
)
