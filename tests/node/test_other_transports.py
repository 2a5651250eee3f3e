"""The other ways to a node: each asks the same questions and brings the same answers as the local shell does.

chroot, paramiko and Ansible's inventory are the real thing, podman where it can run a container. docker, kubectl, oc
and lxc are stand-ins: a program of that name which records its arguments and then runs what stands where the real one
takes the command. They show the argument list and that rounds pass standard input; they cannot show that the real
program takes that list.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.backends import Inventory, resolved
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import Facts, run
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import NodeSpec, SpecError, parse
from pytest_gpuready.node.transport import Options, Shell, argv
from pytest_gpuready.runner import Runner
from tests.support.sshd import Sshd, free_port, keygen, sshd
from tests.support.transports import STAND_IN, healthy, same_as_local, why

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_gpuready.report.model import NodeReport

__all__ = ["sshd"]

as_root = pytest.mark.lab("root")


def ask(node: NodeSpec, options: Options | None = None) -> Facts:
    """The facts of a node after two rounds."""
    one, two = run("echo", "one"), run("echo", "two")
    with Shell(node, options or Options()) as shell:
        return gather(shell, node.label, lambda facts: [one, two] if one in facts else [one], 30)


def judged(node: NodeSpec, options: Options | None = None) -> NodeReport:
    """The whole suite's word on a node."""
    (report,) = Runner([node], Settings(), options or Options(), timeout=60).run().nodes
    return report


STAND_INS = [
    ("docker://box", "docker", ["exec", "-i", "box"]),
    ("docker://1000:1000@box", "docker", ["exec", "-i", "-u", "1000:1000", "box"]),
    ("podman://root@box", "podman", ["exec", "-i", "-u", "root", "box"]),
    ("lxc://far:box", "lxc", ["exec", "far:box", "--mode=non-interactive", "--"]),
    ("kubectl://pod", "kubectl", ["exec", "-i", "pod", "--"]),
    (
        "kubectl://pod?container=c&namespace=-n&kubeconfig=/k%20x&context=a%20b",
        "kubectl",
        ["--kubeconfig=/k x", "--context=a b", "--namespace=-n", "exec", "-i", "pod", "--container=c", "--"],
    ),
    ("openshift://pod?namespace=n", "oc", ["--namespace=n", "exec", "-i", "pod", "--"]),
]


class TestStandIns:
    """Programs that are not here, stood for by one that runs the command on this machine."""

    @pytest.mark.parametrize(("spec", "program", "words"), STAND_INS)
    def test_arguments_and_rounds(
        self, spec: str, program: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(program, tmp_path, monkeypatch)
        assert healthy(ask(parse(spec)))
        said = (tmp_path / "log").read_text().splitlines()
        assert said[: len(words)] == words
        assert said[len(words) : len(words) + 2] == ["sh", "-c"]

    @pytest.mark.parametrize("scheme", ["docker", "podman", "lxc", "kubectl", "openshift"])
    def test_checks_say_what_they_say_locally(
        self, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put("oc" if scheme == "openshift" else scheme, tmp_path, monkeypatch)
        same_as_local(parse(f"{scheme}://box"))

    def put(self, program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The stand-in on PATH, before any other."""
        (folder / "bin").mkdir()
        path = folder / "bin" / program
        path.write_text(STAND_IN.format(log=folder / "log"))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    def test_sudo_is_meant_inside(self) -> None:
        node = parse("docker://box?sudo=true&sudo_user=admin")
        line, _ = argv(node, Options(), "command")
        assert line == ["docker", "exec", "-i", "box", "sh", "-c", "command"]
        assert Shell(node, Options()).sudo

    def test_a_program_that_is_missing_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        assert why(ask(parse("docker://box"))) == "docker cannot be started here: No such file or directory"

    def test_what_the_program_says_is_the_reason(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.put("docker", tmp_path, monkeypatch)
        (tmp_path / "bin" / "docker").write_text("#!/bin/sh\necho 'Error: No such container: box' >&2; exit 1\n")
        assert why(ask(parse("docker://box"))) == "Error: No such container: box"


@as_root
class TestChroot:
    def test_checks_say_what_they_say_locally(self) -> None:
        """The whole machine as the root: all that differs is the way."""
        same_as_local(parse("chroot:///"))

    @pytest.mark.lab("busybox")
    def test_a_folder_with_a_busybox_is_a_node(self, tmp_path: Path) -> None:
        found = shutil.which("busybox")
        assert found is not None
        root = tmp_path / "a root"
        (root / "bin").mkdir(parents=True)
        for name in ("etc", "proc", "dev", "tmp"):
            (root / name).mkdir()
        shutil.copy(found, root / "bin" / "busybox")
        started = subprocess.run(["chroot", root, "/bin/busybox", "true"], check=False, capture_output=True)
        if started.returncode:
            pytest.skip("this machine's busybox is not static")
        subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
        (root / "etc" / "hostname").write_text("in-a-root\n")
        node = parse(f"chroot://{root}")
        assert healthy(ask(node))
        report = judged(node)
        assert report.reached
        # Nothing is there: what this machine has must not be seen from inside.
        assert report.inventory["os"] == "an unnamed Linux"

    def test_a_folder_that_is_none_is_one_sentence(self, tmp_path: Path) -> None:
        words = why(ask(parse(f"chroot://{tmp_path}/none")))
        assert "cannot change root directory" in words
        assert "No such file or directory" in words


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running podman container of busybox alone; skips where none can run."""
    found, podman = shutil.which("busybox"), shutil.which("podman")
    assert found is not None
    assert podman is not None
    folder = tmp_path_factory.mktemp("image")
    for path in ("bin", "etc", "proc", "dev", "tmp", "sys"):
        (folder / path).mkdir()
    shutil.copy(found, folder / "bin" / "busybox")
    for name in ("sh", "sleep"):
        (folder / "bin" / name).symlink_to("busybox")
    name = f"gpuready-{uuid.uuid4().hex[:12]}"
    tar = subprocess.run(["tar", "-C", folder, "-cf", "-", "."], check=True, capture_output=True).stdout
    made = subprocess.run([podman, "import", "-", name], input=tar, check=False, capture_output=True, timeout=60)
    try:
        # Limits that a machine inside another may set too.
        limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
        line = [podman, "run", "-d", "--name", name, "--network=host", *limits, name, "/bin/sleep", "600"]
        if made.returncode == 0:
            made = subprocess.run(line, check=False, capture_output=True, timeout=60)
        if made.returncode:
            pytest.skip(f"podman runs no container here: {made.stderr.decode(errors='replace')[-200:]}")
        yield name
    finally:
        for command in (["rm", "-f", "-t", "0", name], ["rmi", "-f", name]):
            subprocess.run([podman, *command], check=False, capture_output=True, timeout=60)


@pytest.mark.lab("root", "podman", "busybox")
class TestPodman:
    @pytest.mark.parametrize("user", ["", "0:0@"])
    def test_a_real_container_answers(self, container: str, user: str) -> None:
        facts = ask(parse(f"podman://{user}{container}"))
        assert healthy(facts), why(facts)

    def test_a_container_is_judged_by_what_is_in_it(self, container: str) -> None:
        report = judged(parse(f"podman://{container}"))
        assert report.reached
        assert report.inventory["os"] == "an unnamed Linux"

    def test_a_container_that_is_not_there_is_one_sentence(self, container: str) -> None:
        assert "no such container" in why(ask(parse(f"podman://{container}-not"))).lower()


@pytest.mark.lab("paramiko")
class TestParamiko:
    """The real library against a real sshd."""

    def options(self, sshd: Sshd, **more: str) -> Options:
        return Options(ssh_config=str(sshd.config), **more)  # type: ignore[arg-type]

    def test_checks_say_what_they_say_locally_and_it_is_one_login(self, sshd: Sshd) -> None:
        same_as_local(parse(f"paramiko://{sshd.alias}"), self.options(sshd))
        before = sshd.logins()
        assert judged(parse(f"paramiko://{sshd.alias}"), self.options(sshd)).reached
        assert sshd.logins() - before == 1

    def test_a_proxy_command_a_user_and_an_included_file(self, sshd: Sshd, tmp_path: Path) -> None:
        inner = tmp_path / "inner"
        inner.write_text(f"Host other\n  Port 1\nHost far\n  Port {sshd.port}\n  IdentityFile {sshd.key}\n")
        relay = tmp_path / "relay.py"
        relay.write_text(_RELAY)
        config = tmp_path / "config"
        config.write_text(
            f"Include {inner}\nHostName 127.0.0.1\nIdentitiesOnly yes\nHostKeyAlias gpuready-test\n"
            f"UserKnownHostsFile {sshd.known_hosts}\nProxyCommand {sys.executable} {relay} %h %p {tmp_path}/log\n"
        )
        assert healthy(ask(parse(f"paramiko://{sshd.user}@far"), Options(ssh_config=str(config))))
        assert (tmp_path / "log").read_text() == f"127.0.0.1 {sshd.port}"

    def test_identity_and_port_of_the_spec_count(self, sshd: Sshd, tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.write_text(
            f"Host n\nHostName 127.0.0.1\nPort 1\nUser {sshd.user}\nHostKeyAlias gpuready-test\n"
            f"UserKnownHostsFile {sshd.known_hosts}\nIdentitiesOnly yes\nIdentityFile {tmp_path}/none\n"
        )
        options = Options(ssh_config=str(config), ssh_identity_file=str(sshd.key))
        assert healthy(ask(parse(f"paramiko://n:{sshd.port}"), options))
        spec = f"paramiko://n:{sshd.port}?ssh_config={config}&ssh_identity_file={sshd.key}"
        assert healthy(ask(parse(spec)))

    def test_a_key_that_is_not_known_is_refused_unless_the_configuration_says_otherwise(
        self, sshd: Sshd, tmp_path: Path
    ) -> None:
        lines = ("UserKnownHostsFile /dev/null",)
        strict = sshd.add_alias(f"n{uuid.uuid4().hex}", *lines)
        loose = sshd.add_alias(f"n{uuid.uuid4().hex}", *lines, "StrictHostKeyChecking no")
        assert "Host key verification failed" in why(ask(parse(f"paramiko://{strict}"), self.options(sshd)))
        assert healthy(ask(parse(f"paramiko://{loose}"), self.options(sshd)))
        # A key that changed is refused even so.
        (tmp_path / "known").write_text(f"gpuready-test {keygen(tmp_path / 'k').with_suffix('.pub').read_text()}")
        changed = sshd.add_alias(
            f"n{uuid.uuid4().hex}", f"UserKnownHostsFile {tmp_path}/known", "StrictHostKeyChecking no"
        )
        assert "HAS CHANGED" in why(ask(parse(f"paramiko://{changed}"), self.options(sshd)))

    def test_what_goes_wrong_is_one_sentence_in_sshs_words(self, sshd: Sshd, tmp_path: Path) -> None:
        refused = sshd.add_alias(f"n{uuid.uuid4().hex}", f"IdentityFile {keygen(tmp_path / 'k')}")
        jump = sshd.add_alias(f"n{uuid.uuid4().hex}", "ProxyJump other")
        for spec, words in [
            (f"paramiko://{refused}", "Permission denied"),
            (f"paramiko://{jump}", "paramiko knows no ProxyJump"),
            (f"paramiko://127.0.0.1:{free_port()}", "Connection refused"),
            ("paramiko://no-such-host.invalid", "Could not resolve hostname"),
            (f"paramiko://n?ssh_config={tmp_path}/none", "Can't open user config file"),
        ]:
            told = why(ask(parse(spec), self.options(sshd)))
            assert words in told
            assert "Traceback" not in told

    def test_without_the_library_it_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A module of its name that cannot be imported stands for a library that is not there."""
        (tmp_path / "paramiko.py").write_text("raise ImportError('none')\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        told = why(ask(parse("paramiko://n1")))
        assert told == "paramiko:// needs a library: install paramiko, or use ssh://"

    def test_a_password_is_no_argument(self) -> None:
        line, environment = argv(parse("paramiko://u:canary-pw@n1"), Options(), "command")
        assert "canary-pw" not in "".join(line)
        assert environment == {"GPUREADY_PASSWORD": "canary-pw"}


#: A ProxyCommand: connects and copies, and writes down where to.
_RELAY = """
import os, socket, sys, threading
host, port, log = sys.argv[1:]
open(log, "w").write(f"{host} {port}")
there = socket.create_connection((host, int(port)))
def up():
    while data := os.read(0, 65536):
        there.sendall(data)
threading.Thread(target=up, daemon=True).start()
while data := there.recv(65536):
    os.write(1, data)
os._exit(0)
"""


@pytest.mark.lab("ansible-inventory")
class TestAnsible:
    """The real ansible-inventory on a real file."""

    @pytest.fixture(autouse=True)
    def _program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "ansible.cfg").write_text("[defaults]\n")
        monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "ansible.cfg"))
        monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path / "home"))

    def inventory(self, folder: Path, text: str) -> Inventory:
        (folder / "hosts.ini").write_text(text)
        return Inventory(str(folder / "hosts.ini"))

    def test_a_host_by_ssh_says_what_this_machine_says(self, sshd: Sshd, tmp_path: Path) -> None:
        """Address, port, user, key and ssh's further arguments are the inventory's."""
        found = self.inventory(
            tmp_path,
            f"[gpus]\ng1 ansible_host=127.0.0.1 ansible_port={sshd.port} ansible_user={sshd.user} "
            f"ansible_ssh_private_key_file={sshd.key} "
            f"ansible_ssh_common_args='-o HostKeyAlias=gpuready-test -o UserKnownHostsFile={sshd.known_hosts}'\n"
            f"g2 ansible_connection=paramiko_ssh ansible_host=127.0.0.1\n"
            "g3 ansible_connection=docker ansible_host=box ansible_user=root\n[other]\nme ansible_connection=local\n",
        )
        g1, g2, g3 = resolved([parse("ansible://gpus"), parse("ansible://g1")], found)
        assert [(node.label, node.scheme, node.host) for node in (g1, g2, g3)] == [
            ("ansible://g1", "ssh", "127.0.0.1"),
            ("ansible://g2", "paramiko", "127.0.0.1"),
            ("ansible://g3", "docker", "box"),
        ]
        same_as_local(g1)
        (me,) = resolved([parse("ansible://me")], found)
        assert me.scheme == "local"
        same_as_local(me)

    def test_become_is_sudo(self, tmp_path: Path) -> None:
        found = self.inventory(tmp_path, "[all:vars]\nansible_become=true\nansible_become_user=root\n[g]\nn1\n")
        (node,) = resolved([parse("ansible://n*?timeout=3")], found)
        assert dict(node.options) == {"timeout": "3", "sudo": "true", "sudo_user": "root"}
        assert Shell(node, Options()).sudo

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ("ansible://w", "ansible://w: the inventory reaches it by the connection plugin 'winrm', which is not"),
            ("ansible://none", "the inventory holds no such host or group"),
            ("ansible://ok?force_ansible=true", "--force-ansible runs each command by a module of Ansible's"),
            ("ansible://odd", "ansible://odd: "),
        ],
    )
    def test_what_cannot_be_used_is_one_sentence(self, spec: str, words: str, tmp_path: Path) -> None:
        found = self.inventory(tmp_path, "[g]\nok\nw ansible_connection=winrm\nodd ansible_host='-oProxyCommand=x'\n")
        with pytest.raises(SpecError) as caught:
            resolved([parse(spec)], found)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_the_one_beside_this_python_is_found_where_none_is_on_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A virtual environment that is not activated, or pipx. PATH stays what it was."""
        beside = tmp_path / "venv" / "bin"
        beside.mkdir(parents=True)
        program = beside / "ansible-inventory"
        program.write_text('#!/bin/sh\necho \'{"_meta": {"hostvars": {}}, "all": {"hosts": ["n7"]}}\'\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(beside / "python"))
        for path in ("/usr/nowhere:/bin", None):
            if path is None:
                monkeypatch.delenv("PATH")
            else:
                monkeypatch.setenv("PATH", path)
            found = Inventory(str(tmp_path / f"{path is None}.ini"))
            assert [node.label for node in found.nodes("all")] == ["ansible://n7"]
            assert os.environ.get("PATH") == path

    def test_without_ansible_it_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/usr/nowhere:/bin")
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(SpecError, match=r"ansible-inventory is not on this machine"):
            resolved([parse("ansible://n")], Inventory(str(tmp_path / "missing.ini")))
