"""Whatever a node's text is: in a command it is one argument, whole, and in a file it is literal."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_gpuready.checks.toolkit_config import Problem
from pytest_gpuready.judge import clean_outcome
from pytest_gpuready.model import Denied, NotApplicable, Remedy, Settings, Undetermined, Where, failed
from pytest_gpuready.node.clean import clean
from pytest_gpuready.node.facts import Fact
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.remedies.edits import toml_string
from pytest_gpuready.views import Views
from pytest_gpuready.views.driver import NodeFault
from pytest_gpuready.views.driver_probe import PciDevice
from pytest_gpuready.views.toolkit import CONFIG
from tests.support import containerd, driver, kubernetes
from tests.support import toolkit as tk
from tests.support.cdi import cdi, spec
from tests.support.paste import SHELLS, Desk
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BEGIN, END = "q1z", "z2q"
FRAGMENTS = (
    *("$(touch X)", "`touch X`", ";touch X;", "|touch X", "&&touch X", "&touch X&", "\ntouch X\n", "\nEOF\ntouch X\n"),
    *("'", '"', "\\", "\\n", "*", "?", "[a-z]", "~", "{a,b}", "!", "!!", " ", "\t", "#", "$HOME", "${PATH}", ">X"),
    *("<X", "%k", "$kernel", "-", "--", "=", ":", "(", ")", ",", "@", "+", "^", ".", "é", "\u202e", "\x1b[31m", "$'a'"),
)
#: All fragments that a command can hold, at once; then the ones that it cannot, each alone.
PRINTABLE = "".join(one for one in FRAGMENTS if one.isprintable() and ":" not in one)
WORDS = (PRINTABLE, "plain", "a b", ":", "\ntouch X\n", "\nEOF\ntouch X\nEOF\n", "\x1b[31m", "\u202e", "\t")
words = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=8).map("".join)


def encodings(text: str) -> list[str]:
    """The text as the languages of a remedy write it, longest first: TOML, the two sides of sed, udev."""
    toml = toml_string(text)[1:-1]
    found = {text, toml}
    for one in (text, toml):
        found |= {re.sub(r"([&\\|])", r"\\\1", one), one.replace("\\", "\\\\")}
        found.add(re.sub(r"([][\\.*^$])", r"\\\1", one))
    found.add(text.replace("%", "%%").replace("$", "$$"))
    return sorted(found, key=len, reverse=True)


def assert_whole(desk: Desk, commands: Sequence[str], *texts: str) -> None:
    """Every shell hands the texts on as a part of one argument or line, and runs nothing of them."""
    known = [encoded for text in texts for encoded in encodings(text)]
    for shell in SHELLS:
        for command, pasted in zip(commands, desk.paste(commands, shell), strict=True):
            assert "yntax" not in pasted.said, (shell, command, pasted)
            assert pasted.calls or "not found" in pasted.said or command.startswith("export "), (shell, command, pasted)
            assert ["touch", "X"] not in pasted.calls, (shell, command)
            for part in (*(word for call in pasted.calls for word in call), pasted.text, pasted.said):
                left = part
                for encoded in known:
                    left = left.replace(encoded, "")
                assert BEGIN not in left, (shell, command, part)
                assert END not in left, (shell, command, part)


def as_read(text: str) -> list[str]:
    """What views make of the text: a node's lists are lines, and some are cleaned as they are read."""
    return [clean(text), *text.split("\n"), *clean(text).split("\n")]


def shown(remedy: Remedy) -> Remedy:
    """The remedy as reports show it."""
    cleaned = clean_outcome(failed("", expected="", remedy=remedy)).remedy
    assert cleaned is not None
    assert not remedy.commands or cleaned.commands or "not safe in a command" in cleaned.summary
    return cleaned


# ------------------------------------------------------------------------------------------------ whole nodes


def handler_bodies(release: str, text: str) -> Iterator[str]:
    """Containerd's configuration with a handler that is named as the text says, with a fault each."""
    whole = containerd.config(release, name=toml_string(text))
    yield containerd.config(release).partition("[")[0]
    yield whole
    yield whole.replace('  runtime_type = "io.containerd.runc.v2"\n', "")
    yield whole.replace("/usr/bin/nvidia-container-runtime", "/usr/bin/none")
    yield whole.replace("SystemdCgroup = false", "SystemdCgroup = 3")
    yield f'disabled_plugins = ["io.containerd.grpc.v1.cri", "cri"]\n{whole}'
    yield f"{whole}\n[broken\n"
    yield f'{whole}\nkey = "open\n'
    yield f"imports = [{toml_string(f'/etc/{text}/conf.d/*.toml')}]\n{whole}"
    yield "version = 9\n"


def handler_nodes(text: str) -> Iterator[SimNode]:
    """Containerd's configuration lies, and its handler is named, as the text says.

    Two releases with the text of all fragments; the other texts, which are few characters, with one of them in turn.
    """
    place = f"/etc/{text}/config.toml"
    number = next((number for number, word in enumerate(WORDS) if text == f"{BEGIN}{word}{END}"), 0)
    for release in ("1.7.24", "2.1.9")[number % 2 :][: 1 if number else 2]:
        for body in handler_bodies(release, text):
            node = containerd.programs(tk.debian(SimNode()), release).put(place, body)
            node.put(f"/etc/{text}/conf.d/{text}.toml", "[broken\n")
            node.unit("containerd.service", Id="containerd.service", MainPID="900")
            args = ["/usr/bin/containerd", "--config", place]
            yield node.process(Proc(900, "containerd", args, "/usr/bin/containerd"))


def service_nodes(text: str) -> Iterator[SimNode]:
    """The daemon's command, its socket and the kubelet's endpoint are named as the text says."""
    socket, flag = f"/run/{text}/c.sock", "--container-runtime-endpoint="
    for status, program in (("203", f"/opt/{text}/containerd"), ("1", "/usr/bin/containerd")):
        node = containerd.programs(tk.debian(SimNode()), "2.1.9")
        command = (
            f"{{ path={program} ; argv[]={program} --config /etc/{text}.toml --{text} ; ignore_errors=no ; pid=0 }}"
        )
        state = {"ActiveState": "failed", "ExecStart": command, "ExecMainStatus": status}
        node.unit("containerd.service", Id="containerd.service", **state)
        yield node.answer(("journalctl",), f"containerd: flag provided but not defined: --{text}\n")
    for alone in (True, False):
        node = kubernetes.containerd(tk.debian(SimNode()))
        kubernetes.kubeadm(node).procs[-1].args[-1] = f"{flag}{socket}"
        node.put("/var/lib/kubelet/kubeadm-flags.env", f'KUBELET_KUBEADM_ARGS="{flag}{socket}"\n')
        yield node if alone else kubernetes.containerd(node, socket=socket, pid=601)


def toolkit_nodes(text: str) -> Iterator[SimNode]:
    """The toolkit lies in a folder, and reads a file, that is named as the text says."""
    folder = f"/opt/{text}"
    for mode in (0o755, 0o644):
        node = containerd.programs(tk.debian(SimNode()), "2.1.9")
        node.put(containerd.CONFIG, containerd.config("2.1.9", systemd=True, binary="BINARY").replace(
            '"BINARY"', toml_string(f"{folder}/nvidia-container-runtime")
        ))  # fmt: skip
        node.process(Proc(900, "containerd", ["/usr/bin/containerd"], "/usr/bin/containerd"))
        node.put(CONFIG, tk.DEFAULT_CONFIG.replace('"auto"', '"legacy"'))
        node.remove("/usr/bin/nvidia-container-runtime", "/usr/bin/nvidia-container-cli", "/usr/bin/runc")
        found = [f"x {folder}/{name}\n" for name in (*tk.NAMES, "runc")]
        for name in (*tk.NAMES, "runc"):
            node.put(f"{folder}/{name}", b"\x7fELF\x02\x01\x01", mode=mode)
        common = "x /usr/bin/apt-get\nx /usr/bin/sudo\nx /usr/bin/containerd\nx /usr/bin/curl\n"
        node.answer(("search for programs",), "".join((common, *found)))
        yield node
    for body in ("log-level info\n", tk.DEFAULT_CONFIG.replace('"auto"', '"none"'), tk.DEFAULT_CONFIG):
        node = tk.containerd(tk.toolkit(tk.debian(SimNode())))
        node.procs[-1].toolkit_config = f"{folder}/config.toml"
        yield node.put(f"{folder}/config.toml", body.replace("@/sbin/ldconfig", "@/sbin/none"))
    yield (
        tk.config(tk.legacy(tk.containerd(tk.toolkit(tk.debian(SimNode())))), '"runc", "crun"', '"none"')
        .remove("/usr/bin/runc")
        .program(f"{folder}/runc")
    )


def cdi_nodes(text: str) -> Iterator[SimNode]:
    """CDI specs are named as the text says: broken, stale, in conflict, a folder."""
    for body in ("kind: [", spec(), spec(version="1.2.3"), spec(uvm=None, listed="devices: []\n")):
        node = cdi(tk.containerd(tk.toolkit(driver.h100(tk.debian(SimNode())))))
        yield node.put(f"/etc/cdi/{text}.yaml", body).put(f"/var/run/cdi/{text}.json", body)
    directories = f"cdi_spec_dirs = [{toml_string(f'/var/{text}')}]\n"
    yield cdi(tk.containerd(tk.toolkit(driver.h100(tk.debian(SimNode()))), cri=directories))


def driver_nodes(text: str) -> Iterator[SimNode]:
    """The kernel's release, modprobe's files, libraries and keys are named as the text says."""
    node = driver.h100(tk.debian(SimNode(kernel=f"Linux {text} x86_64")))
    yield driver.on_disk(node, kernels=("other",), headers=False).remove("/proc/driver/nvidia/version")
    node = driver.h100(tk.debian(SimNode())).remove("/proc/driver/nvidia/version", "/sys/module/nvidia/version")
    yield driver.on_disk(node, more=(f"conf /etc/modprobe.d/{text}.conf 3 blacklist nvidia",))
    yield driver.libraries(driver.h100(tk.debian(SimNode())), *driver.both("root", f"/usr/{text}"))
    yield driver.h100(tk.debian(SimNode()), version=text)
    unreachable = SimNode(label=f"ssh://{text}@{text}")
    unreachable.reach = Fact("timeout", note=text)
    yield unreachable


NODES = {
    "handlers": handler_nodes,
    "services": service_nodes,
    "toolkit": toolkit_nodes,
    "cdi": cdi_nodes,
    "driver": driver_nodes,
}


#: What the user names beside: the handler by the text, a socket that is not the kubelet's.
ASKED: dict[Callable[[str], Iterator[SimNode]], Callable[[str], Settings]] = {
    handler_nodes: lambda text: Settings(handler=text),
    service_nodes: lambda _: Settings(socket=containerd.SOCKET),
}


def commands_of(nodes: Callable[[str], Iterator[SimNode]], text: str) -> list[str]:
    """All commands that the nodes' reports show."""
    found: list[str] = []
    for node in nodes(text):
        for finding in node.judge(ASKED[nodes](text) if nodes in ASKED else Settings()).findings.values():
            remedy = finding.outcome.remedy
            found += remedy.commands if remedy is not None else ()
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("kind", NODES)
def test_no_text_of_a_node_leaves_its_argument(kind: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for word in WORDS:
        text = f"{BEGIN}{word}{END}"
        commands = commands_of(NODES[kind], text)
        assert commands, "no remedy was reached"
        if word in ("plain", PRINTABLE):
            assert any(BEGIN in command for command in commands), "the text is in no command"
        # systemctl prints a unit's command without quotes: its words are split at blanks before they are read.
        unquoted = text.split() if kind == "services" else []
        assert_whole(desk, commands, text, *as_read(text), *unquoted)


# ------------------------------------------------------------------------------------------------ each remedy


def made(text: str) -> Iterator[tuple[str, Callable[[Any], Remedy]]]:
    """Every remedy that takes a node's text, called with it."""
    path, where = f"/opt/{text}/x", Where(f"/etc/{text}.toml", 1)
    problem = Problem("", "", Where(CONFIG, 3), ("disable-require",), toml_string(text))
    fault = {3: NodeFault(path, "", mode=0o666), 4: NodeFault(path, "", owner=text), 5: NodeFault(path, "")}
    device = PciDevice(text, 1, 0x030200, False, "vfio-pci")
    calls: dict[str, Callable[[Any], Remedy]] = {
        "live.pull": lambda mend: mend.live.pull(f"docker.io/{text}:1", text),
        "live.copy": lambda mend: mend.live.copy(f"docker.io/{text}:1", text, text),
        "node.reach": lambda mend: mend.node.reach(text),
        "node.trust": lambda mend: mend.node.trust(f"/opt/{text} belongs to uid 1000"),
        "gpus.missing": lambda mend: mend.gpus.missing(text),
        "gpus.none_driven": lambda mend: mend.gpus.none_driven([device]),
        "gpus.fabric_manager": lambda mend: mend.gpus.fabric_manager(installed=True, version=text, running=True),
        "packages.package": lambda mend: mend.packages.package(text),
        "packages.other": lambda mend: mend.packages.other(text),
        "packages.again": lambda mend: mend.packages.again(text),
        "packages.upgrade": lambda mend: mend.packages.upgrade(text),
        "packages.program": lambda mend: mend.packages.program("nvidia-ctk", text),
        "packages.by_hand": lambda mend: mend.packages.by_hand(text, text),
        "toolkit.setting": lambda mend: mend.toolkit.setting(problem),
        "toolkit.program": lambda mend: mend.toolkit.program(where, ("a",), path, "nvidia-ctk"),
        "toolkit.dev_char": lambda mend: mend.toolkit.dev_char(path),
        "toolkit.path_for": lambda mend: mend.toolkit.path_for(f"/opt/{text}", "ctr run IMAGE"),
        "cdi.generate": lambda mend: mend.cdi.generate(path, lacking=text),
        "cdi.move_aside": lambda mend: mend.cdi.move_aside(path, text),
        "kubernetes.runtime_class": lambda mend: mend.kubernetes.runtime_class(text),
        "driver.allow": lambda mend: mend.driver.allow(path, 3, text),
        "driver.allow_on_cmdline": lambda mend: mend.driver.allow_on_cmdline([text]),
        "driver.sign": lambda mend: mend.driver.sign(text),
        "driver.reload": lambda mend: mend.driver.reload(text, text),
        "driver.loader_path": lambda mend: mend.driver.loader_path(f"/opt/{text}"),
        "driver.nodes": lambda mend: mend.driver.nodes(fault),
        "driver.nouveau": lambda mend: mend.driver.nouveau(text),
        "driver.install": lambda mend: mend.driver.install(text),
        "containerd.on_path": lambda mend: mend.containerd.on_path("ctr"),
        "containerd.again": lambda mend: mend.containerd.again(text),
        "containerd.unhide": lambda mend: mend.containerd.unhide(text),
        "containerd.other_route": lambda mend: mend.containerd.other_route(text),
        "containerd.other_engine": lambda mend: mend.containerd.other_engine([text]),
    }
    yield from calls.items()


def remedies(text: str) -> Iterator[tuple[str, Remedy]]:
    """What they say on nodes of two distributions, the node's own name included."""
    for base in (tk.debian, tk.fedora):
        node = cdi(tk.containerd(tk.toolkit(driver.h100(base(SimNode(label=f"ssh://{text}"))))))
        mend = Remedies(Views(node.facts()))
        for name, call in made(text):
            with contextlib.suppress(Undetermined, Denied, NotApplicable):
                yield name, shown(call(mend))


def test_every_remedy_that_takes_a_text_is_tried() -> None:
    """A new remedy that takes a text joins the table above; the rest of its parameters are no text of a node."""
    tried = {name for name, _ in made("x")}
    mend = Remedies(Views(tk.debian(SimNode()).facts()))
    kinds = re.compile(r"str|Setting|Problem|Gpu|PciDevice|NodeFault|Where")
    for part in [name for name, member in vars(Remedies).items() if isinstance(member, functools.cached_property)]:
        for name, member in inspect.getmembers(getattr(mend, part), inspect.ismethod):
            kind = str(inspect.signature(member)).partition(" -> ")[0]
            if not name.startswith("_") and kinds.search(kind) and f"{part}.{name}" not in tried:
                # GPUs are named by number; a package manager and packages of the family are words of this program.
                assert f"{part}.{name}" in {
                    "gpus.reset", "gpus.mig", "gpus.mig_compute", "packages.repository_ready", "driver.install_command",
                }, f"{part}.{name}"  # fmt: skip


def test_no_remedys_argument_leaves_its_argument(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for word in WORDS:
        text = f"{BEGIN}{word}{END}"
        commands = [command for _, remedy in remedies(text) for command in remedy.commands]
        assert_whole(desk, list(dict.fromkeys(commands)), text)


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(word=words)
def test_no_random_text_leaves_its_argument(word: str) -> None:
    text = f"{BEGIN}{word}{END}"
    commands = [command for _, remedy in remedies(text) for command in remedy.commands]
    # What a newline does to a node's lists is no matter of remedies.
    commands += commands_of(toolkit_nodes, text) if "\n" not in word else []
    with tempfile.TemporaryDirectory() as folder:
        assert_whole(Desk(Path(folder)), list(dict.fromkeys(commands)), text, *as_read(text))


def test_a_text_that_begins_with_a_dash_is_never_an_option(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for text in ("-oProxyCommand=touch X", "--now", "-"):
        commands = [command for _, remedy in remedies(text) for command in remedy.commands]
        for pasted in desk.paste(list(dict.fromkeys(commands)), SHELLS[0]):
            assert not any(word == text for call in pasted.calls for word in call), pasted
