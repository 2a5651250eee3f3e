"""What `--hosts` means, and what it refuses before anything runs."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.node import hosts
from pytest_gpuready.node.hosts import SET_LIMIT, NodeSpec, SpecError, expand, parse, parse_all, split
from pytest_gpuready.report.text import node_set
from tests.support.sshd import descendants

if TYPE_CHECKING:
    from pathlib import Path


class TestSplit:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("a,b", ["a", "b"]),
            (" a , ,b,", ["a", "b"]),
            ("ssh://n[1,3-5],ssh://m", ["ssh://n[1,3-5]", "ssh://m"]),
            ("ssh://[::1],ssh://[fe80::1%eth0]:22", ["ssh://[::1]", "ssh://[fe80::1%eth0]:22"]),
            ("", []),
            ("a],b", ["a]", "b"]),
        ],
    )
    def test_commas_inside_brackets_do_not_split(self, text: str, parts: list[str]) -> None:
        assert split(text) == parts


class TestExpand:
    @pytest.mark.parametrize(
        ("text", "all_of_them"),
        [
            ("ssh://n", ["ssh://n"]),
            ("ssh://gpu[001-003]", ["ssh://gpu001", "ssh://gpu002", "ssh://gpu003"]),
            ("ssh://r@n[9-11]:22", ["ssh://r@n9:22", "ssh://r@n10:22", "ssh://r@n11:22"]),
            ("ssh://n[1,3-4, 7]", ["ssh://n1", "ssh://n3", "ssh://n4", "ssh://n7"]),
            ("ssh://n[0-10/5]", ["ssh://n0", "ssh://n5", "ssh://n10"]),
            ("ssh://r[1-2]n[1-2]", ["ssh://r1n1", "ssh://r1n2", "ssh://r2n1", "ssh://r2n2"]),
            ("ssh://[::1]", ["ssh://[::1]"]),
            ("ssh://[2001:db8::1]:22", ["ssh://[2001:db8::1]:22"]),
            ("ssh://u:p[1-2]w@n[1-2]", ["ssh://u:p[1-2]w@n1", "ssh://u:p[1-2]w@n2"]),
            ("snapshot:///tmp/run[a].json", ["snapshot:///tmp/run[a].json"]),
            ("snapshot:///tmp/[x]/gpu[1-2].json", ["snapshot:///tmp/[x]/gpu1.json", "snapshot:///tmp/[x]/gpu2.json"]),
        ],
    )
    def test_sets(self, text: str, all_of_them: list[str]) -> None:
        assert expand(text) == all_of_them

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("ssh://n[5-1]", "runs backwards"),
            ("ssh://n[1-5/0]", "runs backwards"),
            ("ssh://n[a-c]", "no number or range"),
            ("ssh://n[]", "no number or range"),
            ("ssh://n[1-]", "no number or range"),
            ("ssh://n[\u0661-\u0662]", "no number or range"),
            (f"ssh://n[1-{SET_LIMIT + 1}]", "more than"),
            ("ssh://n[1-1000][1-1000]", "more than"),
            (f"ssh://n[1-{'9' * 18}]", "more than"),
            (f"ssh://n[{'9' * 5000}]", "no number or range"),
        ],
    )
    def test_what_is_no_set_is_one_sentence(self, text: str, words: str) -> None:
        with pytest.raises(SpecError, match=words):
            expand(text)


GROUPS = """[Main]
default: cluster
autodir: $CFGDIR/groups.d
[slurm]
map: case $GROUP in idle) echo "gpu[01-03]" ;; esac
list: echo idle down
[hang]
map: sleep 300
[bad]
map: echo oops >&2; exit 3
"""

NODES = """cluster:
  gpus: 'gpu[01-05]'
  broken: 'gpu[03,05]'
  none: ''
  one: '@two'
  two: '@one'
  racks/1: 'r1n[1-2]'
  rack1: 'r1n[1-2]'
  rack2: 'r2n[1-2]'
  all: 'gpu[01-05],login'
"""


clustershell = pytest.mark.lab("clush")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A groups.conf, as ClusterShell finds it; nothing is remembered of another."""
    (tmp_path / "groups.d").mkdir()
    (tmp_path / "groups.conf").write_text(GROUPS)
    (tmp_path / "groups.d" / "cluster.yaml").write_text(NODES)
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(tmp_path))
    monkeypatch.setattr(hosts, "_KNOWN", {})
    return tmp_path


class TestSets:
    @pytest.mark.parametrize(
        ("text", "all_of_them"),
        [
            ("ssh://root@gpu[1-4]!gpu[2-3]:22", ["ssh://root@gpu1:22", "ssh://root@gpu4:22"]),
            ("ssh://gpu[1-4]&gpu[3-9]?timeout=3", ["ssh://gpu3?timeout=3", "ssh://gpu4?timeout=3"]),
            ("ssh://gpu[1-2]^gpu[2-3]", ["ssh://gpu1", "ssh://gpu3"]),
            ("ssh://gpu[1-9]!gpu[1-7]!gpu8", ["ssh://gpu9"]),
            ("ssh://gpu[01-02]!gpu1", ["ssh://gpu01", "ssh://gpu02"]),
            ("paramiko://a[1-2]!a1", ["paramiko://a2"]),
            # A password's own.
            ("ssh://u:p!w&^*@h", ["ssh://u:p!w&^*@h"]),
            ("ssh://u:p@@gpus", ["ssh://u:p@@gpus"]),
            ("ssh://me@realm@h", ["ssh://me@realm@h"]),
            ("docker://a[1-2]", ["docker://a1", "docker://a2"]),
        ],
    )
    def test_sets_of_sets_need_no_clustershell(
        self, text: str, all_of_them: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pytest_gpuready.node.fleet.find_spec", lambda _: None)
        assert expand(text) == all_of_them

    @clustershell
    @pytest.mark.parametrize(
        ("text", "nodes"),
        [
            ("ssh://@gpus", "gpu[01-05]"),
            ("ssh://root@@gpus!@broken", "gpu[01-02,04]"),
            ("ssh://me@realm@@gpus&gpu[01-02]", "gpu[01-02]"),
            ("ssh://gpu[04-06]&@gpus", "gpu[04-05]"),
            ("ssh://@rack[1-2]", "r[1-2]n[1-2]"),
            ("ssh://@racks/1", "r1n[1-2]"),
            ("ssh://@slurm:idle", "gpu[01-03]"),
            ("ssh://root@@slurm:idle:2222", "gpu[01-03]"),
            ("ssh://@gpus!@none", "gpu[01-05]"),
            ("ssh://@*", "gpu[01-05],login"),
            ("ssh://log*", "login"),
        ],
    )
    def test_groups_mean_what_clush_takes_them_for(self, groups: Path, text: str, nodes: str) -> None:
        assert groups.is_dir()
        expected = [node.host for node in parse_all([",".join(f"ssh://{part}" for part in split(nodes))])]
        found = parse_all([text])
        assert sorted(node.host for node in found) == sorted(expected)
        assert {node.port for node in found} == {2222 if ":2222" in text else None}
        # What a report calls them together is a spec again.
        labels = node_set(node.label for node in found)
        assert sorted(node.label for node in parse_all([labels])) == sorted(node.label for node in found)

    @clustershell
    def test_our_sets_are_those_of_clustershell(self) -> None:
        """Steps, leading zeros, several brackets."""
        from ClusterShell.NodeSet import NodeSet  # noqa: PLC0415 - of the extra `lab`

        for text in ("gpu[001-012]", "n[1-10/3]", "r[1-2]n[08-11]x", "a[1,3-5,007]"):
            ours = [single.removeprefix("ssh://") for single in expand(f"ssh://{text}")]
            assert set(ours) == set(NodeSet(text))

    @clustershell
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("ssh://@nosuch", "the group @nosuch is not known to ClusterShell, or names no node"),
            ("ssh://gpu1!@nosuch", "the group @nosuch is not known"),
            ("ssh://@none", "names no node"),
            ("ssh://gpu1!gpu1", "names no node"),
            ("ssh://@nosource:x", "there is no group source 'nosource'"),
            ("ssh://@bad:x", r"ClusterShell: .*exit 3"),
            ("ssh://@one", "holds itself"),
            ("ssh://nosuch*", r"nosuch\* is not known"),
            ("ssh://@@gpus", "'@@gpus' is no set and no group"),
            ("ssh://gpu1!", "lacks a set"),
            ("ssh://!gpu1", "lacks a set"),
            ("ssh://gpu[1-2]&&gpu1", "lacks a set"),
            ("ssh://gpu[a-b]!gpu1", "no number or range"),
            (f"ssh://gpu[1-{SET_LIMIT + 1}]!gpu1", "more than"),
            ("ssh://gpu[1-2]!gpu1:x", "'gpu1:x' is no set of names; a port follows the last one"),
            ("ssh://gpu1:22!gpu2", "'gpu1:22' is no set of names"),
            ("ssh://[::1]!gpu2", "is no set of names"),
        ],
    )
    def test_what_is_no_set_is_one_sentence(self, groups: Path, text: str, words: str) -> None:
        assert groups.is_dir()
        with pytest.raises(SpecError, match=words) as caught:
            parse_all([text])
        assert "\n" not in str(caught.value)

    @clustershell
    def test_a_command_of_groups_conf_that_hangs_is_ended(self, groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With all that it started."""
        assert groups.is_dir()
        monkeypatch.setattr("pytest_gpuready.node.fleet.RESOLVE", 2.0)
        before = set(descendants(os.getpid()))
        with pytest.raises(SpecError, match=r"no answer within 2 s; a command of groups\.conf hangs"):
            expand("ssh://@hang:x")
        assert set(descendants(os.getpid())) <= before

    @clustershell
    def test_a_group_is_asked_for_once(self, groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert groups.is_dir()
        first = expand("ssh://@gpus")
        monkeypatch.setattr("pytest_gpuready.node.fleet.resolve", lambda **_: pytest.fail("asked again"))
        assert expand("ssh://@gpus") == first

    @clustershell
    def test_a_group_that_names_too_many_is_refused(self, groups: Path) -> None:
        (groups / "groups.d" / "big.yaml").write_text(f"big:\n  x: 'n[1-{SET_LIMIT + 1}]'\n")
        with pytest.raises(SpecError, match=f"more than {SET_LIMIT} nodes"):
            expand("ssh://@big:x")


class TestParse:
    @pytest.mark.parametrize(
        ("text", "label", "host", "user", "port"),
        [
            ("ssh://n1", "ssh://n1", "n1", None, None),
            ("ssh://Root@GPU-1.Example:2222", "ssh://Root@GPU-1.Example:2222", "GPU-1.Example", "Root", 2222),
            ("ssh://u@[::1]:22", "ssh://u@[::1]:22", "::1", "u", 22),
            ("ssh://[fe80::1%eth0]", "ssh://[fe80::1%eth0]", "fe80::1%eth0", None, None),
            ("ssh://[2001:DB8::1]", "ssh://[2001:DB8::1]", "2001:DB8::1", None, None),
            ("ssh://u@n1/", "ssh://u@n1", "n1", "u", None),
            ("ssh://u:secret@n1", "ssh://u@n1", "n1", "u", None),
            ("ssh://dom%5Cu@n1", "ssh://dom\\u@n1", "n1", "dom\\u", None),
            ("ssh://host_with_underscore", "ssh://host_with_underscore", "host_with_underscore", None, None),
            ("ssh://n1:", "ssh://n1", "n1", None, None),
        ],
    )
    def test_ssh(self, text: str, label: str, host: str, user: str | None, port: int | None) -> None:
        node = parse(text)
        assert (node.label, node.scheme, node.host, node.user, node.port) == (label, "ssh", host, user, port)

    def test_local_and_its_options(self) -> None:
        assert parse("local://") == NodeSpec("local://", "local", "local")
        assert parse("local://?sudo=true").options == (("sudo", "true"),)

    @pytest.mark.parametrize(
        ("text", "label", "host", "user"),
        [
            ("docker://box", "docker://box", "box", None),
            ("docker://1000:1000@box?sudo=true", "docker://1000:1000@box", "box", "1000:1000"),
            ("podman://Web.1", "podman://Web.1", "Web.1", None),
            ("lxc://far:box", "lxc://far:box", "far:box", None),
            ("kubectl://p?container=c&namespace=n", "kubectl://p?namespace=n&container=c", "p", None),
            ("kubectl://p?kubeconfig=~/k&sudo=true", "kubectl://p?kubeconfig=~/k", "p", None),
            ("openshift://p/", "openshift://p", "p", None),
            ("chroot:///srv/a b[x]?sudo=true", "chroot:///srv/a b[x]", "/srv/a b[x]", None),
            ("chroot://%2Fsrv", "chroot:///srv", "/srv", None),
            ("ansible://", "ansible://all", "all", None),
            ("ansible://gpu[12]*", "ansible://gpu[12]*", "gpu[12]*", None),
            ("paramiko://u@N1:22", "paramiko://u@N1:22", "N1", "u"),
            ("salt://Gpu_1.example?sudo=true&timeout=9", "salt://Gpu_1.example", "Gpu_1.example", None),
        ],
    )
    def test_other_transports(self, text: str, label: str, host: str, user: str | None) -> None:
        """Two containers of one pod are two nodes; a label is a spec again."""
        (node,) = parse_all([text])
        assert (node.label, node.host, node.user) == (label, host, user)
        assert parse_all([label])[0].label == label

    def test_a_snapshot_is_a_file(self) -> None:
        node = parse("snapshot:///tmp/a b?.json")
        assert (node.label, node.path) == ("snapshot:///tmp/a b?.json", "/tmp/a b?.json")

    def test_options_of_a_spec(self) -> None:
        node = parse("ssh://n1?timeout=3&sudo=true&sudo_user=&ssh_config=~/c")
        assert dict(node.options) == {"timeout": "3", "sudo": "true", "sudo_user": "", "ssh_config": "~/c"}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("gpu001", "write ssh://gpu001"),
            ("shh://n1", "unknown transport 'shh'"),
            ("telnet://c", "unknown transport 'telnet'"),
            ("salt://", "no id of a minion"),
            ("salt://gpu*", "no id of a minion"),
            ("salt://-L", "no id of a minion"),
            ("salt://G@os:Debian", "takes no user, and compound targets are not supported"),
            ("salt://m?ssh_config=x", "unknown option 'ssh_config'"),
            ("winrm://w", "winrm:// is not supported"),
            ("docker://", "no name of a container"),
            ("docker://--privileged", "no name of a container"),
            ("docker://-u@c", "no user name"),
            ("docker://u:canary@c", "no user name or UID:GID"),
            ("docker://a/b", "no name of a container"),
            ("podman://c?namespace=x", "unknown option 'namespace'"),
            ("kubectl://-p", "no name of a pod"),
            ("kubectl://u@p", "takes no user"),
            ("kubectl://p?namespace=%00", "holds a NUL"),
            ("openshift://p;id", "no name of a pod"),
            ("lxc://-r:c", "no name of a container"),
            ("chroot://srv", "no absolute path"),
            ("chroot:///a%00b", "no absolute path"),
            ("ansible://-x", "no name or pattern"),
            ("ansible://$(id)", "no name or pattern"),
            ("snapshot://", "names no file"),
            ("ssh://", "names no host"),
            ("ssh://u@", "names no host"),
            ("ssh://n1:99999", "no port from 1 to 65535"),
            ("ssh://n1:0", "0 is no port"),
            ("ssh://n1:ssh", "no port"),
            ("ssh://::1", "no port"),
            ("ssh://-oProxyCommand=x", "no host name"),
            ("ssh://n 1", "no host name"),
            ("ssh://n1;reboot", "no host name"),
            ("ssh://$(id)", "no host name"),
            ("ssh://-l@n1", "no user name"),
            ("ssh://a b@n1", "no user name"),
            ("ssh://n1/path", "has no path"),
            ("ssh://n1#x", "has no path"),
            ("ssh://[::1", "no port"),
            ("ssh://n1?tiemout=3", "unknown option 'tiemout'"),
            ("ssh://n1?timeout=soon", "wants a number"),
            ("ssh://n1?timeout=0", "wants a number"),
            ("local://?become=true", "unknown option 'become'"),
        ],
    )
    def test_what_cannot_be_understood_is_one_sentence(self, text: str, words: str) -> None:
        with pytest.raises(SpecError, match=words.replace("(", r"\(")) as caught:
            parse(text)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            "ssh://u:canary-pw@n1:port",
            "ssh://u:canary-pw@n1:0",
            "ssh://u:canary-pw@n 1",
            "ssh://u:canary-pw@",
            "ssh://u:x@canary-pw@n1/p",
            "ssh://u:x/canary-pw@n1",
            "ssh://u:x#canary-pw@n1",
            "ssh://u:x?canary-pw@n1",
            "ssh://a b:canary-pw@n1",
            "ssh://u:canary-pw@n1/path",
            "ssh://u:canary-pw@n1?foo=1",
            "ssh://u:canary-pw@n[x]",
            "ssh://u:canary-pw@n[5-1]",
            "shh://u:canary-pw@n1",
            "u:canary-pw@n1/://",
            "u:canary-pw@n1",
        ],
    )
    def test_no_message_holds_a_password(self, text: str) -> None:
        with pytest.raises(SpecError) as caught:
            parse_all([text])
        assert "canary-pw" not in str(caught.value)

    def test_no_password_in_label_or_repr(self) -> None:
        node = parse("ssh://u:p%40%2F%3Aw@n1")
        assert node.password == "p@/:w"
        assert "p%40" not in repr(node)
        assert "p@/" not in repr(node)
        assert node.label == "ssh://u@n1"

    @given(st.text(max_size=60).map(lambda text: f"ssh://{text}"))
    def test_any_text_is_a_node_or_one_sentence(self, text: str) -> None:
        nodes: list[NodeSpec] = []
        # What ClusterShell would say of a group is not tried here: that is a process each.
        with contextlib.suppress(SpecError), pytest.MonkeyPatch.context() as patch:
            patch.setattr(hosts, "_ask_clustershell", lambda name: f"{name} is not known")
            nodes = parse_all([text])
        for node in nodes:
            assert not node.host.startswith("-")
            assert not (node.user or "").startswith("-")


def test_every_node_once_in_the_order_asked() -> None:
    nodes = parse_all(["ssh://b,ssh://a[1-2]", "local://", "ssh://a1", "ssh://b:22"])
    assert [node.label for node in nodes] == ["ssh://b", "ssh://a1", "ssh://a2", "local", "ssh://b:22"]
