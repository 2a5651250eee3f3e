"""One fault on one node, from its cause to a container that has its GPUs: what was found, and what mended it."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd.toml import Dialect, loads
from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.runner import Runner
from tests.lab import cri, image
from tests.lab.faults.model import prelude
from tests.lab.judging import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.model import Remedy
    from pytest_gpuready.report.model import NodeReport
    from tests.lab.faults.model import Fault
    from tests.lab.node import Node

CONFIG = "/etc/containerd/config.toml"
TOOLKIT = "/etc/nvidia-container-runtime/config.toml"

#: What an administrator has set on the node, where remedies work.
SITE = r"""
sed -i "s/max_container_log_line_size = 16384/max_container_log_line_size = 32768/" $CONFIG
sed -i "1i # site: keep this line" $CONFIG
printf '\n# site: a runtime of our own\n[plugins."%s".containerd.runtimes.site]\n' "$PLUGIN" >>$CONFIG
printf '  runtime_type = "io.containerd.runc.v2"\n' >>$CONFIG
printf '[plugins."%s".containerd.runtimes.site.options]\n  BinaryName = "/usr/sbin/runc"\n' "$PLUGIN" >>$CONFIG
printf '[timeouts]\n  "io.containerd.timeout.shim.cleanup" = "7s"\n' >/etc/containerd/conf.d/20-site.toml
printf '# site\nserver = "https://mirror.example.invalid"\n' >/etc/containerd/hosts.toml
printf '[Service]\nEnvironment=SITE=kept\n' >/etc/systemd/system/containerd.service.d/20-site.conf
printf 'options loop max_loop=16\n' >/etc/modprobe.d/site.conf
sed -i "s/^log-level = .*/log-level = \"warning\" # site/" $TOOLKIT
nvidia-ctk runtime configure --runtime=containerd
systemctl daemon-reload
systemctl restart containerd
touch /root/.hushlogin
"""

#: Files that remedies of the toolkit's own make write without naming them.
CTK_WRITES = {CONFIG, "/etc/containerd/conf.d/99-nvidia.toml"}
#: What package managers and systemd write below /etc.
PACKAGES_WRITE = re.compile(
    r"/etc/(ld\.so\.cache|systemd/system/(multi-user\.target\.wants|[a-z-]*\.wants)/.*"
    r"|systemd/system/nvidia-cdi-refresh\..*|nvidia-container-runtime(/config\.toml)?|containerd/config\.toml"
    r"|rc\d\.d/.*|init\.d/.*|default/.*|alternatives/.*)"
)


@dataclass
class Trial:
    """What was seen. `rounds` are the judgements: first the fault's, then one after each round of remedies."""

    fault: Fault
    generation: str
    healthy: NodeReport
    rounds: list[NodeReport] = field(default_factory=list)
    #: Each command that was typed: itself, its exit status and the last of its output.
    typed: list[tuple[str, int, str]] = field(default_factory=list)
    #: Of the routes that the fault hits, those whose container had its GPUs all the same.
    ran: list[str] = field(default_factory=list)
    #: Of all routes asked, those whose container has no GPU afterwards, and why.
    fails: list[str] = field(default_factory=list)
    #: The administrator's settings and files that are others afterwards.
    lost: list[str] = field(default_factory=list)
    #: What does not stand on the line that the first finding names.
    elsewhere: str = ""

    @property
    def broken(self) -> NodeReport:
        """The judgement of the fault."""
        return self.rounds[0]

    @property
    def seen(self) -> bool:
        """The node was not called ready."""
        return self.broken.verdict != "ready"

    @property
    def exact(self) -> bool:
        """The roots are those of the fault and no others, in every round."""
        wanted = [set(self.fault.roots), *map(set, self.fault.then)]
        found = [set(counted(report)) for report in self.rounds if report.verdict != "ready"]
        return found == (wanted[:1] if self.fault.person else wanted)

    @property
    def mended(self) -> bool:
        """The node is ready by commands alone, all of which worked, and a container of each route has its GPUs."""
        return self.rounds[-1].verdict == "ready" and not any(rc for _, rc, _ in self.typed) and not self.fails


def look(node: Node, fault: Fault, *, user: str = "root", sudo: bool = False) -> NodeReport:
    """Judge the routes of this fault."""
    spec = node.ssh_spec.replace("root@", f"{user}@")
    options = Options(ssh_config=str(node.ssh_config), sudo=sudo)
    return Runner([parse(spec)], Settings(routes=fault.routes), options, timeout=60).run().nodes[0]


def prepare(node: Node, fault: Fault) -> None:
    """Make the healthy node on which the fault is caused: somebody's, with settings of their own."""
    node.run(prelude(node.generation) + SITE + fault.before, check=True, timeout=120)


def cause(node: Node, fault: Fault) -> None:
    """Cause the fault, typed as root."""
    node.run(prelude(node.generation) + fault.cause, check=True, timeout=120)


def trial(node: Node, fault: Fault, *, containers: bool = True) -> Trial:
    """Try a fault on a node that is as after `start`; the node is another one afterwards."""
    prepare(node, fault)
    before = state(node)
    seen = Trial(fault, node.generation, look(node, fault))
    cause(node, fault)
    caused = state(node)
    seen.rounds.append(look(node, fault, user=fault.user, sudo=fault.sudo))
    seen.elsewhere = _elsewhere(node, fault, seen.broken)
    if containers and fault.shows:
        hit = [route for route in fault.routes if route not in fault.spares]
        seen.ran = [route for route in hit if not runs(node, route)]
    if fault.person:
        return seen
    remedies: list[Remedy] = []
    for _ in range(1 + len(fault.then)):
        for root in counted(seen.rounds[-1]).values():
            if root.outcome.remedy is not None:
                remedies.append(root.outcome.remedy)
                seen.typed += type_remedy(node, root.outcome.remedy)
        seen.rounds.append(look(node, fault))
        if seen.rounds[-1].verdict == "ready":
            break
    if containers and not fault.no_container:
        seen.fails = [why for route in fault.routes if (why := runs(node, route))]
    seen.lost = sorted(lost(fault, before, caused, state(node), remedies))
    return seen


def type_remedy(node: Node, remedy: Remedy) -> list[tuple[str, int, str]]:
    """Type a remedy's commands as printed, each as one paste into a login shell over SSH; stop at one that fails."""
    typed: list[tuple[str, int, str]] = []
    for command in dict.fromkeys(remedy.commands):
        if typed and typed[-1][1]:
            break
        argv = ["ssh", "-T", "-F", str(node.ssh_config), f"root@{node.address}"]
        try:
            done = subprocess.run(
                argv, check=False, capture_output=True, text=True, errors="replace", input=f"{command}\n", timeout=120
            )
            typed.append((command, done.returncode, f"{done.stdout}{done.stderr}"[-600:]))
        except subprocess.TimeoutExpired:
            typed.append((command, -1, "it did not end"))
    return typed


def runs(node: Node, route: str) -> str:
    """Run a container of the route; say why it has no GPU, or nothing where it lists some."""
    try:
        if route == "cri-handler":
            env = {"NVIDIA_VISIBLE_DEVICES": "all"}
            code, text = cri.pod(node, ["/bin/sh", "-c", "nvidia-smi -L"], handler="nvidia", env=env)
        elif route == "cri-cdi":
            code, text = cri.pod(node, ["/bin/sh", "-c", "nvidia-smi -L"], devices=("nvidia.com/gpu=all",))
        else:
            how = {"ctr-gpus": "--gpus 0", "ctr-cdi": "--device nvidia.com/gpu=all"}[route]
            done = node.run(
                f"ctr run --rm {how} {image.NAME} trial-$$ nvidia-smi -L; code=$?;"
                " ctr containers ls -q | xargs -r ctr containers rm >/dev/null 2>&1; exit $code"
            )
            code, text = done.returncode, f"{done.stdout}{done.stderr}"
    except (cri.CriError, subprocess.TimeoutExpired) as error:
        return f"{route}: {str(error)[-400:]}"
    return "" if code == 0 and "UUID" in text else f"{route}: exit {code}: {text[-400:]}"


def state(node: Node) -> dict[str, str]:
    """The administrator's settings: every file below /etc by its sum, and what containerd makes of its own."""
    sums = node.run(
        "find /etc -xdev \\( -type f -o -type l \\) ! -name '*-' ! -name mtab -exec sha256sum {} + 2>/dev/null"
    ).stdout
    found = {line[66:]: line[:64] for line in sums.splitlines()}
    found["site lines"] = "\n".join(
        sorted(node.run("grep -rshF site /etc/containerd /etc/nvidia-container-runtime").stdout.splitlines())
    )
    arguments = node.run("systemctl show -P ExecStart containerd").stdout
    config = re.search(r"--config (\S+)", arguments)
    dump = node.run(
        f"containerd {f'--config {shlex.quote(config[1])} ' if config else ''}config dump 2>/dev/null"
    ).stdout
    if dump:
        for key, value in _leaves(loads(dump.encode(), Dialect.V1).root):
            found[f"setting {key}"] = value
    return found


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, repr(value)


def lost(
    fault: Fault, before: dict[str, str], caused: dict[str, str], after: dict[str, str], remedies: list[Remedy]
) -> Iterator[str]:
    """What is another thing afterwards, and neither what the fault took nor what the remedies say that they write."""
    said = "\n".join(command for remedy in remedies for command in remedy.commands)
    wrote = CTK_WRITES if "nvidia-ctk runtime configure" in said else set()
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        if name.startswith("setting "):
            key = name.removeprefix("setting ")
            ours = re.search(r"^(imports|version)$|[.]runtimes[.]nvidia[.]", key)
            if not ours and not (fault.changes and re.search(fault.changes, key)):
                yield f"{key}: {before.get(name)} -> {after.get(name)}"
        elif name == "site lines":
            missing = set(before[name].splitlines()) & set(caused[name].splitlines()) - {
                line.removeprefix("# ") for line in after[name].splitlines()
            } - set(after[name].splitlines())
            if missing:
                yield f"lines: {sorted(missing)}"
        elif after.get(name) != caused.get(name) and not (
            name in said or name in wrote or PACKAGES_WRITE.fullmatch(name)
        ):
            yield f"{name} was written"


def _elsewhere(node: Node, fault: Fault, report: NodeReport) -> str:
    """Compare the place that the first root names with the fault's."""
    finding = counted(report).get(fault.roots[0])
    if finding is None:
        return f"{fault.roots[0]} is no root"
    outcome = finding.outcome
    if fault.says:
        told = "\n".join([outcome.found, *(f"{one.source}\n{one.text}" for one in outcome.evidence)])
        if fault.says not in told:
            return f"{fault.says!r} is not said: {told}"
    if fault.where:
        path, _, words = fault.where.partition(":")
        path = path.replace("$LIB", node.read("/usr/share/gpuready-lab/libdir").strip())
        place = outcome.where
        # /lib is a link to /usr/lib on most nodes.
        if place is None or not place.path.removeprefix("/usr").startswith(path.removeprefix("/usr")):
            return f"{place} is named, not {fault.where}"
        if words:
            lines = node.read(place.path).splitlines()
            line = lines[place.line - 1] if place.line and place.line <= len(lines) else ""
            if words not in line:
                return f"{place} has {line!r}, not {words!r}"
    return ""
