"""What a fault is."""

from __future__ import annotations

from dataclasses import dataclass

GENERATIONS = ("1.6", "1.7", "2.x")
NEWEST = ("2.x",)
ROUTES = ("ctr-gpus", "cri-handler")


@dataclass(frozen=True)
class Fault:
    """One fault, or several at once.

    `cause` and `before` are sh, typed as root after `PRELUDE`. `before` makes another healthy node of the usual one.
    """

    name: str
    #: What happened, as one would tell it; with the row of the catalogue, the issue or the peer where there is one.
    about: str
    cause: str
    #: The roots that count, exactly. `where` and `says` are of the first.
    roots: tuple[str, ...]
    #: What shows once the remedies of the first roots are typed, and so on until the node is ready.
    then: tuple[tuple[str, ...], ...] = ()
    generations: tuple[str, ...] = GENERATIONS
    before: str = ""
    routes: tuple[str, ...] = ROUTES
    #: Of `routes`, those that the fault leaves ready.
    spares: tuple[str, ...] = ()
    #: ``PATH`` or ``PATH:words`` that stand on the line which the finding names.
    where: str = ""
    #: Words of what was found, or of the evidence.
    says: str = ""
    #: Checks that the first root blocks (some of them).
    blocks: tuple[str, ...] = ()
    #: Only a person can act, or packages that the lab does not have: words of the remedy's summary.
    person: str = ""
    #: A settings' key (a regular expression) that is another one afterwards: what the fault itself took away.
    changes: str = ""
    #: Whether a container of a route that is hit fails on the node. False: the stand-ins cannot show it.
    shows: bool = True
    #: A container of these routes does not run afterwards either, on the lab's machine: why.
    no_container: str = ""
    #: Who logs in, and with sudo or not.
    user: str = "root"
    sudo: bool = False
    #: Run for every change; the others are slow.
    fast: bool = False


#: Words that causes use, beside what `prelude` sets per generation.
PRELUDE = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
CONFIG=/etc/containerd/config.toml DROPIN=/etc/containerd/conf.d/99-nvidia.toml
TOOLKIT=/etc/nvidia-container-runtime/config.toml SPEC=/var/run/cdi/nvidia.yaml
LAB=/usr/share/gpuready-lab DRIVER=/usr/share/gpuready-lab/driver
LIB=$(cat $LAB/libdir) KERNEL=$(uname -r)
restart() { systemctl restart containerd; }
try_restart() { systemctl restart containerd || true; sleep 0.3; }
never_configured() { rm -f $DROPIN; sed -i '/^imports/d' $CONFIG; }
toolkit_set() { nvidia-ctk config --in-place --set "$1"; }
# As nvidia-ctk up to 1.17 leaves it: the handler in config.toml itself.
in_place() { never_configured; handler "$PLUGIN" >>$CONFIG; }
handler() { # PLUGIN [BINARY [TYPE]]
    printf '\n[plugins."%s".containerd.runtimes.nvidia]\n' "$1"
    printf '  runtime_type = "%s"\n' "${3:-io.containerd.runc.v2}"
    printf '[plugins."%s".containerd.runtimes.nvidia.options]\n  BinaryName = "%s"\n' "$1" "${2-/usr/bin/nvidia-container-runtime}"
}
remount() { mount -o remount,"$1" /sys; }
"""


def prelude(generation: str) -> str:
    """The shell words that causes use on a node of this generation."""
    two = generation == "2.x"
    plugin, wrong = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"
    if two:
        plugin, wrong = wrong, plugin
    return f"{PRELUDE}PLUGIN={plugin} WRONG={wrong} VERSION={3 if two else 2} OTHER={2 if two else 3}\n"
