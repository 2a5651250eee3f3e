"""The node itself: can it be asked, may everything be read, does SELinux let containers use GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.messages import Message
from pytest_gpuready.model import Answer, Evidence, Outcome, Undetermined, Where, failed, passed, undetermined, unknown
from pytest_gpuready.node.facts import BROKE_OFF, LATE, REACH, SUDO, Cause, cause_of

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.platform import Platform

MESSAGES: tuple[Message, ...] = (
    Message("Permission denied (publickey).", "node.reachable", "ssh"),
    Message("Host key verification failed.", "node.reachable", "ssh"),
    Message("sudo: a password is required", "node.privileges"),
    Message("sudo: sorry, you must have a tty to run sudo", "node.privileges"),
    Message("Insufficient Permissions", "node.selinux", "NVML in a container, while nvidia-smi works on the node"),
)


@check("node.reachable", title="The node answers, with a working POSIX shell")
def reachable(platform: Platform, mend: Remedies) -> Outcome:
    """The transport connects and a POSIX shell answers.

    What: one login, without any prompt (BatchMode), in which `sh` prints a word that only this run knows; and the
    connection lasts until all is answered.
    Why: everything else is read through that shell; where it is not there, nothing is known.
    Fix: mend the login as the message says: the address, the key (`ssh-copy-id`), the known host key, the login shell.
    References: ssh(1), ssh_config(5): BatchMode, StrictHostKeyChecking.
    """
    fact, broken = platform.facts.peek(REACH), platform.facts.peek(BROKE_OFF)
    if broken is not None:
        # What did come is half of it: one root says so, rather than every check that lacks the other half.
        return unknown(
            f"the answers broke off: {broken.note}",
            expected="a connection that lasts until every question is answered",
            remedy=mend.node.reach("", Cause.BROKE_OFF),
            missing="truncated",
        )
    late = platform.facts.peek(LATE)
    if late is not None:
        return unknown(
            f"not everything was asked: {late.note}",
            expected="every question is answered before the node's deadline",
            remedy=mend.node.late(),
            missing="deadline",
        )
    if fact is not None and fact.state == "ok":
        return passed("a POSIX shell answered")
    why = (fact.note if fact is not None else "") or "nothing answered"
    cause = cause_of(fact) if fact is not None else None
    remedy = mend.node.reach(why, cause)
    if cause is Cause.EXHAUSTED:
        return unknown(why, expected="a thread and a process for this node", remedy=remedy, missing="not-asked")
    return failed(
        why,
        expected="a login without a prompt, and a POSIX shell",
        evidence=(Evidence(platform.facts.node, why),),
        remedy=remedy,
    )


@check("node.privileges", title="What must be read can be read")
def privileges(platform: Platform, denials: dict[str, list[str]], mend: Remedies) -> Outcome:
    """Nothing that a check needs is refused: by root, or by a sudo that works.

    What: fails when a check needed something that the node refused to show, and names it. Reads that nothing needs do
    not count.
    Why: the daemon's socket and processes are root's. A check that was refused its facts is blocked by this one;
    "permission denied" is never taken for "not there".
    Fix: run as root, or add `--sudo` and a sudo rule that needs no password.
    References: sudoers(5): NOPASSWD, requiretty. pytest-testinfra 10.2.2 takes a failing sudo for "no such file"; this
    suite does not.
    """
    sudo = platform.facts.peek(SUDO)
    if sudo is not None and sudo.state == "timeout":
        return unknown(
            "sudo did not answer within the deadline",
            expected="a sudo that answers",
            remedy=mend.node.sudo(),
            missing="timeout",
        )
    if platform.sudo_trouble is not None:
        return failed(
            f"sudo refused: {platform.sudo_trouble}",
            expected="a sudo that works without a password or terminal",
            evidence=(Evidence("sudo -n sh -s", platform.sudo_trouble),),
            remedy=mend.node.sudo(),
        )
    if denials:
        names = sorted(denials)
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        return failed(
            f"permission denied: {', '.join(names[:6])}{more}",
            expected="what the checks need is readable",
            where=next((Where(name) for name in names if name.startswith("/") and " " not in name), None),
            evidence=tuple(Evidence(name, f"needed by {', '.join(sorted(denials[name]))}") for name in names[:12]),
            remedy=mend.node.privileges(),
        )
    return passed(f"read as {platform.user}, nothing was refused")


#: The routes whose client labels no container, and those through the CRI plugin, which may.
_UNLABELLED = ("ctr-gpus", "ctr-runtime", "ctr-cdi", "nerdctl")
_LABELLED = ("cri-handler", "cri-default", "cri-cdi")


@check("node.selinux", title="SELinux lets containers use the GPU's devices")
def selinux(platform: Platform, containerd_config: ContainerdConfig, mend: Remedies) -> Answer:
    """Where SELinux is enforcing and containerd labels its containers, they may use the GPU's devices.

    What: /sys/fs/selinux/enforce, `enable_selinux` as containerd reads it, and the boolean container_use_devices.
    Why: a labelled container may not open /dev/nvidia0 and reports "Insufficient Permissions" though modes and
    ownership are right. containerd leaves labelling off unless `enable_selinux = true`; ctr and nerdctl do not label.
    Fix: allow containers to use devices, or install a policy for NVIDIA's.
    References: nvidia-container-toolkit issues 33 and 210, containerd issue 6042; container-selinux:
    container_use_devices.
    """
    if not platform.selinux_enforcing:
        return passed("SELinux does not enforce")
    clients = passed("SELinux enforces; this client labels no container")
    return {**dict.fromkeys(_UNLABELLED, clients), **dict.fromkeys(_LABELLED, _labelled(containerd_config, mend))}


def _labelled(config: ContainerdConfig, mend: Remedies) -> Outcome:
    try:
        enabled, devices = config.selinux_enabled, config.container_use_devices
    except Undetermined as error:
        found = f"SELinux enforces, and whether containerd labels containers is not known: {error.why}"
        return undetermined(error, found)
    if not enabled:
        return passed("SELinux enforces; containerd labels no container (enable_selinux is off)")
    if devices:
        return passed("SELinux enforces; container_use_devices is on")
    if devices is None:
        return unknown(
            "SELinux enforces, and its policy has no boolean container_use_devices",
            expected="the policy lets containers use the GPU's devices",
            where=config.selinux_where,
            remedy=mend.node.selinux(),
        )
    return failed(
        "SELinux enforces, containerd labels its containers, and container_use_devices is off",
        expected="the policy lets containers use the GPU's devices",
        where=config.selinux_where,
        evidence=(Evidence("/sys/fs/selinux/booleans/container_use_devices", "off"),),
        remedy=mend.node.selinux(),
    )
