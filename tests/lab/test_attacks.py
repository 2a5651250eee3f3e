"""A local user of a node, without any right, while the suite runs there as root: nothing of that user is used.

Each attack was one that worked, or is of the same kind. What the user owns is marked: programs write who runs them,
sockets write who connects, files hold a word. None of the marks may appear, and the real daemon is still found.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.node import transport
from pytest_gpuready.node.snapshot import dumps
from tests.lab.judging import counted, judged, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gpuready.report.model import NodeReport
    from tests.lab.node import Node

    Attack = Callable[[Node], Settings | None]

pytestmark = [pytest.mark.ci, pytest.mark.parametrize("generation", ["2.x"], indirect=True)]

HOME = "/home/guest/evil"
WORD = "a-word-of-the-strangers"
SECRET = "a-secret-of-roots"
#: What root would run: each under its own name in the user's folder.
PROGRAMS = (
    *(
        "containerd",
        "containerd-shim-runc-v2",
        "runc",
        "crun",
        "ctr",
        "nerdctl",
        "crictl",
        "kubelet",
        "curl",
        "python3",
    ),
    *("nvidia-smi", "nvidia-ctk", "nvidia-container-cli", "nvidia-container-runtime", "nvidia-cdi-hook", "ldconfig"),
    *("stat", "ls", "readlink", "head", "sed", "grep", "cat", "tr", "id", "uname", "systemctl", "dpkg-query", "sh"),
)
#: Names of folders that once made records, end in controls, or are as long as a name can be.
FOLDERS = (
    "x\nuid 0 0 0 0\nexe /home/guest/evil/bin/containerd\npath /home/guest/evil/bin",
    "x\\nuid 0\\nexe /home/guest/evil/bin/containerd",
    "tab\tand blank",
    "invalid \udcff\udcfe utf-8",
    "controls \x01\x1b]0;x\x07\u202e",
    "n" * 250,
)


def as_guest(node: Node, command: str) -> str:
    """Run a command as the user; raise if it fails."""
    return node.run(command, user="guest", check=True).stdout


def start(node: Node, program: str, *arguments: str, environment: str = "", count: int = 1) -> None:
    """Start processes of the user that outlive the command."""
    line = f"setsid env {environment} {shlex.join([program, *arguments])} </dev/null >/dev/null 2>&1 &"
    as_guest(node, f"for k in $(seq {count}); do {line}\ndone; sleep 0.2")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's program, which needs nothing of the node."""
    target = tmp_path_factory.mktemp("stranger") / "stranger"
    source = Path(__file__).with_name("standins") / "stranger.c"
    subprocess.run(["gcc", "-static", "-O1", "-o", target, source], check=True)
    return target


@pytest.fixture
def node(lab_node: Node, stranger: Path) -> Node:
    """A healthy node on which the user has made everything ready."""
    lab_node.put("/root/secret", SECRET, 0o600)
    lab_node.put("/tmp/stranger", stranger.read_bytes(), 0o755)
    as_guest(lab_node, f"mkdir -p {HOME}/bin {HOME}/conf.d && touch {HOME}/ran && chmod 666 {HOME}/ran")
    marker = f'#!/bin/dash\necho "ran: $0, uid $(/usr/bin/id -u)" >>{HOME}/ran\n'
    for name in PROGRAMS:
        as_guest(lab_node, f"printf %s {shlex.quote(marker)} >{HOME}/bin/{name}; chmod 755 {HOME}/bin/{name}")
    as_guest(lab_node, f"printf 'version = 3\\n# {WORD}\\n' >{HOME}/config.toml")
    as_guest(lab_node, f"mkdir -p {HOME}/real && cp /tmp/stranger {HOME}/real/containerd")
    as_guest(lab_node, f"cp /tmp/stranger {HOME}/real/kubelet; cp /tmp/stranger {HOME}/real/k3s-server")
    return lab_node


def touched(node: Node, report: NodeReport) -> list[str]:
    """What of the user's was used, and what of root's came into the facts through that."""
    ran = node.run(f"cat {HOME}/ran").stdout.splitlines()
    recorded = dumps(report.facts, {}) + "".join(str(finding) for finding in report.findings.values())
    return ran + [word for word in (WORD, SECRET, "root:$") if word in recorded]


# ---------------------------------------------------------------------------------------------------- the attacks


def forged_names(node: Node) -> None:
    """Processes called containerd and kubelet, from folders whose names hold records."""
    for folder in FOLDERS:
        place = f"{HOME}/{folder}"
        raw = place.encode("utf-8", "surrogateescape")
        octal = "".join(f"\\{byte:03o}" for byte in raw)
        as_guest(
            node,
            f'd=$(printf \'{octal}\'); mkdir -p "$d" && for n in containerd kubelet; do cp /tmp/stranger "$d/$n"; done'
            f' && cd "$d" && for n in containerd kubelet; do'
            f" setsid env PATH={HOME}/bin ./$n --config {HOME}/config.toml </dev/null >/dev/null 2>&1 &"
            " done; sleep 0.1",
        )


def first_by_pid(node: Node) -> None:
    """Processes whose pids sort before the real daemon's."""
    start(node, f"{HOME}/real/containerd", "--config", f"{HOME}/config.toml", environment=f"PATH={HOME}/bin", count=120)
    node.restart_containerd()
    pids = node.run("pgrep -x containerd", check=True).stdout.split()
    assert min(pids) != node.run("systemctl show -p MainPID --value containerd", check=True).stdout.strip()


def many(node: Node) -> None:
    """Two hundred processes called containerd."""
    start(node, f"{HOME}/real/containerd", "--config", "/root/secret", environment=f"PATH={HOME}/bin", count=200)


def arguments(node: Node) -> None:
    """Command lines that name root's files, blocking ones, and sockets."""
    start(node, "x", environment=f"LISTEN={HOME}/x.sock LOG={HOME}/ran {HOME}/real/containerd")
    as_guest(node, f"mkfifo {HOME}/fifo; ln -s /proc/kmsg {HOME}/kmsg; ln -s /root/secret {HOME}/link.toml")
    for path in ("/root/secret", "/etc/shadow", "/proc/kmsg", f"{HOME}/fifo", f"{HOME}/kmsg", f"{HOME}/link.toml"):
        start(node, f"{HOME}/real/containerd", "--config", path, "--address", f"{HOME}/x.sock")
        start(
            node,
            f"{HOME}/real/kubelet",
            f"--config={path}",
            f"--config-dir={HOME}",
            f"--root-dir={HOME}",
            f"--container-runtime-endpoint=unix://{HOME}/x.sock",
        )
    start(node, f"{HOME}/real/k3s-server", "server")


def environment(node: Node) -> None:
    """An environment that names programs and the toolkit's file, with lines in its values."""
    values = f"PATH={HOME}/bin NVIDIA_CTK_CONFIG_FILE_PATH=/root/secret XDG_CONFIG_HOME={HOME}"
    forged = shlex.quote(f"A=x\npid 1\ncomm containerd\nuid 0 0 0 0\npath {HOME}/bin")
    start(node, f"{HOME}/real/containerd", environment=f"{values} {forged}")


def the_users_socket(node: Node) -> Settings:
    """The option names the user's own daemon: root neither connects nor takes its PATH."""
    listen = f"LISTEN={HOME}/x.sock LOG={HOME}/ran PATH={HOME}/bin"
    start(node, f"{HOME}/real/containerd", "--address", f"{HOME}/x.sock", environment=listen)
    return Settings(socket=f"{HOME}/x.sock")


def set_user_id(node: Node) -> None:
    """A set-user-ID program of the system under a daemon's name: its user is root, its arguments are the user's."""
    as_guest(node, f"mkfifo {HOME}/in; ln -s /bin/su {HOME}/containerd; ln -s /bin/su {HOME}/kubelet")
    for name in ("containerd", "kubelet"):
        line = f"sleep 600 >{HOME}/in & exec {HOME}/{name} -c /root/secret root <{HOME}/in"
        as_guest(node, f"setsid sh -c '{line}' >/dev/null 2>&1 &")


def root_of_a_container(node: Node) -> None:
    """Root in a mount namespace of its own, in the node's process namespace, as in a tenant's pod with hostPID."""
    inside = f"exec env PATH={HOME}/bin {HOME}/real/containerd --config {HOME}/config.toml --address {HOME}/x.sock"
    for command in (f"unshare -m sh -c '{inside}'", f"unshare -m -p -f --mount-proc sh -c '{inside}'"):
        node.run(f"setsid systemd-run -q --scope -- {command} </dev/null >/dev/null 2>&1 & sleep 0.5")


def folders_of_the_user(node: Node) -> None:
    """Folders of the user on root's PATH, first."""
    node.put("/root/.ssh/environment", f"PATH={HOME}/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")
    node.put("/etc/ssh/sshd_config.d/environment.conf", "PermitUserEnvironment yes\n")
    node.run("systemctl restart ssh || systemctl restart sshd", check=True)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        forged_names,
        first_by_pid,
        many,
        arguments,
        environment,
        the_users_socket,
        set_user_id,
        root_of_a_container,
        folders_of_the_user,
    )
}


@contextlib.contextmanager
def shell(node: Node, name: str) -> Iterator[None]:
    """Let the node's sh be another one."""
    target = {"dash": "dash", "bash": "bash", "busybox": "busybox"}[name]
    node.run(f'ln -sfn "$(command -v {target})" /bin/sh.new && mv -T /bin/sh.new /bin/sh', check=True)
    try:
        yield
    finally:
        node.run("ln -sfn dash /bin/sh.new && mv -T /bin/sh.new /bin/sh", check=True)


def running(node: Node) -> int:
    """Count the user's processes with a daemon's name, and those of the container."""
    return len(node.run("pgrep -x 'containerd|kubelet|k3s-server'").stdout.split()) - 1


def nothing_is_used(node: Node, report: NodeReport, settings: Settings | None) -> None:
    """The node is judged as without the user, and nothing of the user was used."""
    assert touched(node, report) == [], told(report)
    if settings is not None and settings.socket is not None:
        assert report.verdict == "unknown", told(report)
        return
    assert report.verdict == "ready", told(report)
    assert counted(report) == {}
    real = node.run("systemctl show -p MainPID --value containerd").stdout.strip()
    assert f"pid {real}" in report.findings["containerd.running"].outcome.found


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_over_ssh_nothing_of_a_local_user_is_used(node: Node, attack: str) -> None:
    settings = ATTACKS[attack](node)
    assert running(node) > 0 or attack == "folders_of_the_user"
    nothing_is_used(node, judged(node, settings=settings), settings)


@pytest.mark.parametrize("name", ["bash", "busybox"])
def test_under_every_shell_nothing_of_a_local_user_is_used(node: Node, name: str) -> None:
    for attack in ("forged_names", "arguments", "environment", "set_user_id", "root_of_a_container"):
        ATTACKS[attack](node)
    with shell(node, name):
        nothing_is_used(node, judged(node), None)


def test_on_the_node_itself_from_the_users_folder_nothing_is_used(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local transport, entered by namespaces: the working directory and PATH are as the user would like them."""
    for attack in ("forged_names", "arguments", "environment"):
        ATTACKS[attack](node)
    inside = f"cd {HOME}/bin && PATH=.::{HOME}/bin:$PATH exec /bin/sh -c"
    real = transport.argv

    def entered(spec: object, options: object, command: str) -> tuple[list[str], dict[str, str]]:
        line, variables = real(spec, options, command)  # type: ignore[arg-type]
        return [*node.enter(), "/bin/dash", "-c", f"{inside} {shlex.quote(line[-1])}"], variables

    monkeypatch.setattr(transport, "argv", entered)
    nothing_is_used(node, judged(node, spec="local://"), None)


def test_a_live_run_uses_nothing_of_a_local_user(node: Node) -> None:
    for attack in ("forged_names", "arguments", "environment"):
        ATTACKS[attack](node)
    report = judged(node, settings=Settings(routes=("ctr-gpus", "cri-handler"), live=True))
    nothing_is_used(node, report, None)
    assert {route for route, found in report.routes.items() if found.proof == "live"} >= {"ctr-gpus", "cri-handler"}


# ---------------------------------------------------------------------------------------------------- refusals


def test_a_configuration_in_a_users_folder_makes_the_node_unknown_and_names_the_folder(node: Node) -> None:
    node.run(f"cp -r /etc/containerd {HOME}/containerd && chown -R root {HOME}/containerd", check=True)
    unit = f"[Service]\nExecStart=\nExecStart=/usr/bin/containerd --config {HOME}/containerd/config.toml\n"
    node.put("/etc/systemd/system/containerd.service.d/own.conf", unit)
    node.run("systemctl daemon-reload && systemctl restart containerd", check=True)
    report = judged(node)
    assert report.verdict == "unknown", told(report)
    assert any(
        "was refused: /home/guest" in finding.outcome.found and "belongs to uid" in finding.outcome.found
        for finding in report.roots
    ), told(report)


def test_a_program_of_a_user_is_not_asked_its_version(node: Node) -> None:
    for name in ("nvidia-container-cli", "nerdctl"):
        node.run(f"rm -f /usr/bin/{name}; ln -s {HOME}/bin/{name} /usr/bin/{name}", check=True)
    report = judged(node)
    assert touched(node, report) == []
    assert "was refused" in told(report)
