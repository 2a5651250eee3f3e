"""Remedies for handlers: exactly what is typed, where in which file, and what is said where nothing can be typed."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.remedies.containerd import ContainerdRemedies
from pytest_gpuready.remedies.packages import PackageRemedies
from pytest_gpuready.views import Views
from pytest_gpuready.views.toolkit_probe import VERSIONS
from tests.remedies.test_containerd import DROP_IN, IMPORTS, RUNC, k0s, remedy, simulated, uses_ctk, with_ctk
from tests.support.containerd import CONFIG, RUNTIME, V2, V3, config, healthy, k3s
from tests.support.simnode import SimNode
from tests.support.toolkit import debian, toolkit

RESTART = "sudo systemctl restart containerd"
REGISTER = "Register the handler nvidia where this containerd reads it, then restart it."
#: Tables that tomlkit would put together: it is not used on such a file, and lines are edited one by one.
ODD = "[[a]]\n[b]\n[[a]]\n"
NVIDIA3 = f"{V3}.containerd.runtimes.nvidia"


def table(plugin: str, name: str, binary: str = "", cgroup: str = "false") -> str:
    """A handler's tables as a remedy writes them."""
    lines = [f"[{plugin}.containerd.runtimes.{name}]", '  runtime_type = "io.containerd.runc.v2"']
    lines += [f"[{plugin}.containerd.runtimes.{name}.options]", *([f'  BinaryName = "{binary}"'] if binary else [])]
    return "\n".join([*lines, f"  SystemdCgroup = {cgroup}\n"])


def sed(script: str, path: str = CONFIG) -> str:
    return f"sudo sed -i {script} {path}"


def tee(text: str, path: str = CONFIG, option: str = "-a ") -> str:
    return f"sudo tee {option}{path} >/dev/null <<'EOF'\n{text}EOF"


def plain(release: str, more: str = "") -> str:
    """Runc's tables alone."""
    text = config(release)
    return text[: text.index(f"[{V2 if release.startswith('1.') else V3}.containerd.runtimes.nvidia]")] + more


def only_cri(text: str) -> str:
    """A handler's BinaryName is runc."""
    return text.replace(RUNTIME, "/usr/bin/runc")


#: The handler's tables in one line, with what no command of sed's names.
INLINE = f"""\
version = 3
[{V3}.containerd.runtimes]
nvidia = {{ runtime_type = "|", options = {{ BinaryName = "/|" }} }}
"""
#: Case: release, files, and the command before the restart.
REGISTERED: dict[str, tuple[str, dict[str, str], str]] = {
    "a new file": (
        "2.1.9", {"/etc/containerd/readme": ""},
        tee(f"version = 3\n\n{table(V3, 'nvidia', RUNTIME)}", option=""),
    ),
    "a new file of 1.x, with runc": (
        "1.7.24", {"/etc/containerd/readme": ""},
        tee(f"version = 2\n\n{table(V2, 'runc')}\n{table(V2, 'nvidia', RUNTIME)}", option=""),
    ),
    "the end of a file": ("2.1.9", {CONFIG: "version = 3\n"}, tee(f"\n{table(V3, 'nvidia', RUNTIME)}")),
    "the end of a file of another version": (
        "2.1.9", {CONFIG: "version = 2\n"}, tee(f"\n{table(V2, 'nvidia', RUNTIME)}"),
    ),
    "a file without a version": ("2.1.9", {CONFIG: "oom_score = 1\n"}, tee(f"\n{table(V3, 'nvidia', RUNTIME)}")),
    "an empty file, which 2.3 reads as its own": ("2.3.4", {CONFIG: ""}, tee(table(V3, "nvidia", RUNTIME))),
    "a file of version 2, which 2.3 turns into its own": (
        "2.3.4", {CONFIG: "version = 2\n"}, tee(f"\n{table(V2, 'nvidia', RUNTIME)}"),
    ),
    "a drop-in that has runtimes": (
        "2.1.9", {CONFIG: f"version = 3\n{IMPORTS}", DROP_IN: plain("2.1.9")},
        tee(table(V3, "nvidia", RUNTIME), DROP_IN),
    ),
    "a drop-in of version 2 that has runtimes": (
        "2.1.9", {CONFIG: f"version = 3\n{IMPORTS}", DROP_IN: plain("1.7.24")},
        tee(table(V2, "nvidia", RUNTIME), DROP_IN),
    ),
    "the main file, where the drop-in has none": (
        "2.1.9", {CONFIG: plain("2.1.9").replace("\n", f"\n{IMPORTS}", 1), DROP_IN: "version = 3\noom_score = 7\n"},
        tee(table(V3, "nvidia", RUNTIME)),
    ),
    "the main file, where nothing has any": (
        "2.1.9", {CONFIG: f"version = 3\n{IMPORTS}", DROP_IN: "version = 3\noom_score = 7\n"},
        tee(f"\n{table(V3, 'nvidia', RUNTIME)}"),
    ),
    "a drop-in of 1.x that replaces CRI's table": (
        "1.7.24",
        {CONFIG: f"version = 2\n{IMPORTS}", DROP_IN: f"version = 2\n[{V2}]\n  max_container_log_line_size = 9\n"},
        tee(f"\n{table(V2, 'runc')}\n{table(V2, 'nvidia', RUNTIME)}", DROP_IN),
    ),
    "an imports line": (
        "2.1.9", {CONFIG: "version = 3\noom_score = 1\n\n[grpc]\n", DROP_IN: config("2.1.9")},
        sed("""'2a\\imports = ["/etc/containerd/conf.d/*.toml"]'"""),
    ),
    "a drop-in in one line": (
        "2.1.9",
        {CONFIG: "version = 3\n", DROP_IN: INLINE.replace('"/|"', f'"{RUNTIME}"')},
        sed("""'1a\\imports = ["/etc/containerd/conf.d/*.toml"]'"""),
    ),
    "a new file beside a drop-in that nothing can import": (
        "2.1.9", {DROP_IN: config("2.1.9")}, tee(f"version = 3\n\n{table(V3, 'nvidia', RUNTIME)}", option=""),
    ),
    "one more import": (
        "2.1.9", {CONFIG: 'version = 3\nimports = ["/etc/x.d/*.toml"]\n', DROP_IN: config("2.1.9")},
        sed("""'2s|\\.toml"|.toml", "/etc/containerd/conf.d/*.toml"|'"""),
    ),
    "an imports line, by lines": (
        "2.1.9", {CONFIG: f"# ours\nversion = 3\n[grpc]\n{ODD}", DROP_IN: config("2.1.9")},
        sed("""'2a\\imports = ["/etc/containerd/conf.d/*.toml"]'"""),
    ),
    "another import, by lines": (
        "2.1.9", {CONFIG: f'# ours\nversion = 3\nimports = ["/etc/x.d/*.toml"]\n{ODD}', DROP_IN: config("2.1.9")},
        sed("""'3s|=.*|= ["/etc/containerd/conf.d/*.toml"]|'"""),
    ),
    "no import of a drop-in that has it wrong": (
        "2.1.9", {CONFIG: "version = 3\n", DROP_IN: only_cri(config("2.1.9"))},
        tee(f"\n{table(V3, 'nvidia', RUNTIME)}"),
    ),
    "no import of a drop-in that has none": (
        "2.1.9", {CONFIG: "version = 3\n", DROP_IN: plain("2.1.9")}, tee(f"\n{table(V3, 'nvidia', RUNTIME)}"),
    ),
    "another program": ("2.1.9", {CONFIG: only_cri(config("2.1.9"))}, sed(f"""'11s|"/usr/bin/runc"|"{RUNTIME}"|'""")),
    "another program, by lines": (
        "2.1.9", {CONFIG: only_cri(config("2.1.9")) + ODD}, sed(f"""'11s|=.*|= "{RUNTIME}"|'"""),
    ),
    "another program, where it stands and not where it may": (
        "2.1.9",
        {
            CONFIG: only_cri(config("2.1.9")).replace("version = 3\n", f"version = 3\n{IMPORTS}"),
            DROP_IN: f"version = 3\n[{NVIDIA3}.options]\n  SystemdCgroup = false\n",
        },
        sed(f"""'12s|"/usr/bin/runc"|"{RUNTIME}"|'"""),
    ),
    "another program, and its cgroup driver is the next root": (
        "2.1.9", {CONFIG: only_cri(config("2.1.9", systemd=True)).replace("true", "false").replace("false", "true", 1)},
        sed(f"""'11s|"/usr/bin/runc"|"{RUNTIME}"|'"""),
    ),
    "no options": (
        "2.1.9", {CONFIG: config("2.1.9").partition(f"[{NVIDIA3}.options]")[0]},
        tee(f'\n[{NVIDIA3}.options]\n  BinaryName = "{RUNTIME}"\n'),
    ),
    "no options beside a runc of systemd's": (
        "2.1.9", {CONFIG: config("2.1.9", systemd=True).partition(f"[{NVIDIA3}.options]")[0]},
        tee(f'\n[{NVIDIA3}.options]\n  BinaryName = "{RUNTIME}"\n  SystemdCgroup = true\n'),
    ),
    "empty options beside a runc of systemd's": (
        "2.1.9", {CONFIG: config("2.1.9", systemd=True).rpartition("  BinaryName")[0] + "[grpc]\n"},
        sed(f"""-e '10a\\BinaryName = "{RUNTIME}"' -e '10a\\SystemdCgroup = true'"""),
    ),
    "empty options, by lines": (
        "2.1.9", {CONFIG: config("2.1.9").rpartition("  BinaryName")[0] + ODD},
        sed(f"""'10a\\  BinaryName = "{RUNTIME}"'"""),
    ),
    "a cgroup driver that is no boolean": (
        "2.1.9", {CONFIG: config("2.1.9", systemd=True).replace("= true", '= "true"').replace('= "true"', "= true", 1)},
        sed("""'12s|"true"|true|'"""),
    ),
    "a cgroup driver that is no boolean, by lines": (
        "2.1.9", {CONFIG: config("2.1.9").replace("= false", '= "no"').replace('= "no"', "= false", 1) + ODD},
        sed("'12s|=.*|= false|'"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REGISTERED)
def test_the_handler_is_registered_by_one_command(case: str) -> None:
    release, files, command = REGISTERED[case]
    advice = remedy(simulated(release, files), "handler")
    assert (advice.summary, advice.commands) == (REGISTER, (command, RESTART))


#: Case: files, check, sentence and command.
SET: dict[str, tuple[dict[str, str], str, str, str]] = {
    "a runtime_type": (
        {CONFIG: config("2.1.9").replace("runc.v2", "runc.v1")}, "handler-runtime-type",
        'Set runtime_type = "io.containerd.runc.v2" for handler nvidia',
        sed("""'9s|"io\\.containerd\\.runc\\.v1"|"io.containerd.runc.v2"|'"""),
    ),
    "a runtime_type, by lines": (
        {CONFIG: config("2.1.9").replace("runc.v2", "runc.v1") + ODD}, "handler-runtime-type",
        'Set runtime_type = "io.containerd.runc.v2" for handler nvidia', sed("""'9s|=.*|= "io.containerd.runc.v2"|'"""),
    ),
    "a runtime_type that is not there, by lines": (
        {CONFIG: config("2.1.9").replace(f"nvidia]\n{RUNC}", "nvidia]\n") + ODD}, "handler-runtime-type",
        'Set runtime_type = "io.containerd.runc.v2" for handler nvidia',
        sed("""'8a\\  runtime_type = "io.containerd.runc.v2"'"""),
    ),
    "a cgroup driver": (
        {CONFIG: config("2.1.9").replace("false", "true", 1)}, "handler-cgroups",
        "Set SystemdCgroup = true for handler nvidia", sed("'12s|false|true|'"),
    ),
    "a cgroup driver, by lines": (
        {CONFIG: config("2.1.9").replace("false", "true", 1) + ODD}, "handler-cgroups",
        "Set SystemdCgroup = true for handler nvidia", sed("'12s|=.*|= true|'"),
    ),
    "the spelling that counts": (
        {CONFIG: config("2.1.9").replace("false", "true", 1) + "  systemdcgroup = false\n"}, "handler-cgroups",
        "Set SystemdCgroup = true for handler nvidia", sed("'13s|false|true|'"),
    ),
    "the default": (
        {CONFIG: config("2.1.9") + f'[{V3}.containerd]\n  default_runtime_name = "runc"\n'}, "default-runtime",
        "Make nvidia the default handler", sed("""'14s|"runc"|"nvidia"|'"""),
    ),
    "the default, by lines": (
        {CONFIG: config("2.1.9") + f'[{V3}.containerd]\n  default_runtime_name = "runc" # x\n{ODD}'}, "default-runtime",
        "Make nvidia the default handler", sed("""'14s|=.*|= "nvidia"|'"""),
    ),
    "the default of a table that has none, by lines": (
        {CONFIG: config("2.1.9") + f"  [{V3}.containerd]\n{ODD}"}, "default-runtime",
        "Make nvidia the default handler", sed("""'13a\\    default_runtime_name = "nvidia"'"""),
    ),
    "the default of no table": (
        {CONFIG: config("2.1.9")}, "default-runtime", "Make nvidia the default handler",
        tee(f'\n[{V3}.containerd]\n  default_runtime_name = "nvidia"\n'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SET)
def test_a_setting_of_the_handler_is_set_by_one_command(case: str) -> None:
    files, name, words, command = SET[case]
    advice = remedy(simulated("2.1.9", files), name)
    assert (advice.summary, advice.commands) == (f"{words}, then restart containerd.", (command, RESTART))


def test_the_default_is_named_in_the_table_that_counts() -> None:
    text = config("1.7.24") + f"[{V3}.containerd]\n  x = 1\n[{V2}.containerd]\n"
    advice = remedy(simulated("1.7.24", {CONFIG: text}), "default-runtime")
    assert advice.commands == (sed("""'15a\\  default_runtime_name = "nvidia"'"""), RESTART)


DEFAULT = f"""\
version = 3
[{V3}]
containerd = {{ runtimes = {{ nvidia = {{ options = {{ BinaryName = "{RUNTIME}" }} }} }} }} # |
{ODD}"""
TYPE = 'runtime_type = "io.containerd.runc.v2"'
ADD = f"Add a handler nvidia with BinaryName {RUNTIME} to {CONFIG} by hand"
BY_HAND = [
    (INLINE, "handler", f"{ADD} (no edit could be proven to change nothing else), then restart containerd."),
    ("plugins = {}\n", "handler", f"{ADD} (no edit could be proven to change nothing else), then restart containerd."),
    (
        INLINE.replace('"/|"', f'"{RUNTIME}"'),
        "handler-runtime-type",
        f"Set {TYPE} for handler nvidia by hand, then restart containerd.",
    ),
    (DEFAULT, "default-runtime", "Set default_runtime_name to nvidia by hand, or give pods runtimeClassName: nvidia."),
]


@pytest.mark.parametrize(("text", "name", "words"), BY_HAND)
def test_where_no_edit_is_proven_a_person_is_told_what_to_write(text: str, name: str, words: str) -> None:
    advice = remedy(simulated("2.1.9", {CONFIG: text}), name)
    assert (advice.summary, advice.commands, advice.edits) == (words, (RESTART,), ())


def test_a_drop_in_that_would_replace_cris_table_is_left_alone() -> None:
    table_of_1 = f'[{V2}.containerd.runtimes . nvidia]\noptions = {{ BinaryName = "{RUNTIME}" }}\n{ODD}'
    files = {CONFIG: f"version = 2\n{IMPORTS}{table(V2, 'runc')}\n{table_of_1}", DROP_IN: "version = 2\n"}
    advice = remedy(simulated("1.7.24", files), "handler-runtime-type")
    assert advice.commands == (tee(f"\n[{V2}.containerd.runtimes.nvidia]\n  {TYPE}\n"), RESTART)


def rke2() -> SimNode:
    """The containerd that RKE2 runs."""
    node = k3s(SimNode())
    for path in [path for path in node.tree if "/k3s/" in path]:
        node.tree[path.replace("/rancher/k3s/", "/rancher/rke2/")] = node.tree[path]
    node.procs[0].args = [word.replace("/rancher/k3s/", "/rancher/rke2/") for word in node.procs[0].args]
    node.units["rke2-agent.service"] = node.units.pop("k3s.service") | {"Id": "rke2-agent.service"}
    return node


def asked(node: SimNode) -> ContainerdRemedies:
    return ContainerdRemedies(Views(node.facts()))


@pytest.mark.parametrize(("node", "name", "service"), [(k3s(SimNode()), "k3s", "k3s"), (rke2(), "RKE2", "rke2-agent")])
def test_k3s_and_rke2_register_the_handler_themselves(node: SimNode, name: str, service: str) -> None:
    mend, restart = asked(node), (f"sudo systemctl restart {service}",)
    said = f"Restart {name}: it registers the handler itself when it finds nvidia-container-runtime at its start."
    assert (mend.handler().summary, mend.handler().commands) == (said, restart)
    said = f"Start {name} with --default-runtime nvidia, or give pods runtimeClassName: nvidia."
    assert (mend.default_runtime().summary, mend.default_runtime().commands) == (said, restart)


def test_what_is_asked_for_without_a_handler_is_said_without_a_command() -> None:
    mend = asked(simulated("2.1.9", {CONFIG: "version = 3\n"}))
    for advice, setting in (
        (mend.runtime_type(), 'runtime_type = "io.containerd.runc.v2"'),
        (mend.cgroups(), "SystemdCgroup = false"),
    ):
        assert advice.summary == f"Set {setting} for the handler, then restart containerd."
        assert advice.commands == ()


# ------------------------------------------------------------------------------------------------ NVIDIA's own command


def test_nvidias_own_command_is_followed_by_the_restart() -> None:
    advice = remedy(with_ctk("1.7.24", "1.17.8"), "handler")
    assert advice.summary == "Register the handler with NVIDIA's own command, then restart containerd."
    assert advice.commands == ("sudo nvidia-ctk runtime configure --runtime=containerd", RESTART)
    assert uses_ctk(with_ctk("2.1.9", "1.20.0", IMPORTS + plain("2.1.9"), **{DROP_IN: "version = 3\n"}))


def elsewhere(path: str) -> SimNode:
    """A daemon that is told another file."""
    node = with_ctk("2.1.9", "1.20.0").put(path, plain("2.1.9"))
    node.procs[0].args += ["--config", path]
    return node


def test_nvidias_own_command_is_for_the_usual_handler_in_the_usual_file() -> None:
    assert not uses_ctk(with_ctk("2.1.9", "1.20.0", only_cri(config("2.1.9"))))
    assert not uses_ctk(elsewhere("/etc/other/config.toml"))
    assert not uses_ctk(with_ctk("2.1.9", "1.20.0").remove("/usr/bin/nvidia-ctk"))
    assert not uses_ctk(
        with_ctk("1.7.24", "1.20.0", plain("1.7.24").replace("version = 2\n", "").replace(V2, "plugins.cri"))
    )
    place = "/usr/local/nvidia/toolkit/nvidia-container-runtime"
    moved = with_ctk("2.1.9", "1.20.0").remove(RUNTIME).program(place)
    moved.answer(lambda asks: asks == VERSIONS, f"prog {place}\n> NVIDIA Container Runtime version 1.20.0\nrc 0\n")
    assert not uses_ctk(moved)
    named = remedy(with_ctk("2.1.9", "1.20.0"), "handler", Settings(handler="gpu"))
    assert named.commands[0] == tee(f"\n{table(V3, 'gpu', RUNTIME)}".removeprefix("\n"))
    # It copies runc's options from the main file alone, and on 1.x there may be no runc.
    other = {CONFIG: f"version = 3\n{IMPORTS}", DROP_IN: plain("2.1.9")}
    assert not uses_ctk(with_ctk("2.1.9", "1.20.0", other[CONFIG], **{DROP_IN: other[DROP_IN]}))
    kata = f'version = 2\n[{V2}.containerd]\n  default_runtime_name = "kata"\n[{V2}.containerd.runtimes.kata]\n{RUNC}'
    assert not uses_ctk(with_ctk("1.7.24", "1.20.0", kata))


# ------------------------------------------------------------------------------------------------------- its program


WRONG_MACHINE = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0\xb7\0"


def installed(binary: str = RUNTIME) -> SimNode:
    """A node with the toolkit's packages, whose handler runs a program."""
    return toolkit(debian(healthy(SimNode(), text=config("1.7.24", binary=binary))))


def test_the_handlers_program_is_made_to_run() -> None:
    advice = asked(installed().put(RUNTIME, WRONG_MACHINE, mode=0o644)).handler_binary()
    assert (advice.summary, advice.commands) == ("Let the daemon execute the program.", (f"sudo chmod a+rx {RUNTIME}",))
    advice = asked(installed().put("/proc/self/mounts", "/dev/vda1 / ext4 rw,noexec 0 0\n")).handler_binary()
    assert advice.summary == "Mount that file system without noexec, or install the toolkit on another one."
    assert advice.commands == ()
    # Another machine's program is not left for one that lies elsewhere: it is the package's place.
    other = asked(
        installed("/opt/nvidia-container-runtime").put("/opt/nvidia-container-runtime", WRONG_MACHINE, mode=0o755)
    )
    assert other.handler_binary().summary.startswith("Put the toolkit's own program in its place. ")


@pytest.mark.parametrize(
    "node",
    [installed(), simulated("2.1.9", {CONFIG: "version = 3\n"}), installed().remove(RUNTIME)],
    ids=["nothing is wrong", "no handler", "no program"],
)
def test_a_program_that_is_nowhere_else_comes_with_the_toolkit(node: SimNode) -> None:
    assert asked(node).handler_binary() == PackageRemedies(Views(node.facts())).toolkit()


# --------------------------------------------------------------------------------------------------------------- k0s

MANAGED = '# k0s_managed=true\nversion = 2\nimports = ["/run/k0s/containerd-cri.toml"]\n'


def test_k0s_merges_the_file_that_was_proven() -> None:
    advice = remedy(k0s(MANAGED, plain("1.7.24")), "handler")
    assert advice.summary == "Register the handler in a file of its own, which k0s merges when it starts."
    tables = table(V2, "nvidia", RUNTIME)
    assert advice.commands == (
        "sudo mkdir -p /etc/k0s/containerd.d",
        tee(tables, "/etc/k0s/containerd.d/nvidia.toml", option=""),
        "sudo systemctl restart k0sworker",
    )
    assert [edit.path for edit in advice.edits] == ["/etc/k0s/containerd.d/nvidia.toml"]
    assert advice.edits[0].diff.endswith("".join(f"+{line}\n" for line in tables.splitlines()))


@pytest.mark.parametrize(
    ("text", "cri"),
    [
        (MANAGED.partition("imports")[0] + plain("1.7.24").partition("\n")[2], ""),  # imports nothing
        (MANAGED, f"version = 2\n[{V2}.containerd]\nruntimes = {{ runc = {{ runtime_type = 'x' }} }}\n"),
    ],
)
def test_what_k0s_would_not_merge_is_left_to_a_person(text: str, cri: str) -> None:
    advice = remedy(k0s(text, cri), "handler")
    words = "k0s writes /etc/k0s/containerd.toml at every start: put it right in a file of /etc/k0s/containerd.d, then"
    assert (advice.summary, advice.commands) == (f"{words} restart k0s.", ("sudo systemctl restart k0sworker",))


def test_a_file_that_k0s_does_not_manage_is_edited() -> None:
    own = MANAGED.partition("\n")[2]
    advice = remedy(k0s(own, plain("1.7.24")), "handler")
    assert advice.commands[0] == tee(table(V2, "nvidia", RUNTIME), "/run/k0s/containerd-cri.toml")
    # Its mark in a file of a containerd that is no k0s's is a comment.
    assert remedy(simulated("2.1.9", {CONFIG: "# k0s_managed=true\nversion = 3\n"}), "handler").edits[0].path == CONFIG
    assert "k0s_managed" not in asked(k0s("", "").remove("/etc/k0s/containerd.toml")).handler().summary
