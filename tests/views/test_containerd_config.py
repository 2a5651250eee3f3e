"""containerd's configuration as the node's containerd reads it, and held against the live daemon."""

from __future__ import annotations

import pytest

from pytest_gpuready.containerd.files import NotLooked
from pytest_gpuready.model import Denied, Undetermined, Where
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.views import Views
from pytest_gpuready.views.containerd_config import ContainerdConfig, FactFiles
from tests.support.containerd import CONFIG, RUNTIME, V2, Live, config, healthy, loaded, says
from tests.support.simnode import Entry, SimNode


def view(node: SimNode) -> ContainerdConfig:
    return Views(node.facts()).get(ContainerdConfig)


@pytest.mark.parametrize("release", ["1.6.39", "1.7.24", "2.1.9"])
def test_handlers_with_their_places(release: str) -> None:
    found = view(healthy(SimNode(), release)).handler
    assert found is not None
    assert (found.is_nvidia, found.binary_name, found.runtime_type) == (True, RUNTIME, "io.containerd.runc.v2")
    assert found.place is not None
    assert config(release).splitlines()[(found.place.line or 0) - 1].strip() == f'BinaryName = "{RUNTIME}"'


def test_the_old_runtime_types_program_is_its_option_runtime() -> None:
    runtimes = f"{V2}.containerd.runtimes"
    text = config("1.7.24") + f'[{runtimes}.old]\nruntime_type = "io.containerd.runtime.v1.linux"\n'
    text += f'[{runtimes}.old.options]\nRuntime = "{RUNTIME}"\n'
    node = healthy(SimNode(), text=text)
    old = view(node).handlers["old"]
    assert (old.binary_name, old.is_nvidia) == (RUNTIME, True)
    live = loaded(node, "1.7.24")
    live.handlers["old"]["options"] = {"Runtime": RUNTIME}
    assert view(says(node, live)).differences() == []


def test_settings_of_the_plugin_and_where_they_are() -> None:
    text = config("1.7.24") + f"[{V2}]\n  enable_selinux = true\n"
    found = view(healthy(SimNode(), text=text))
    assert found.selinux_enabled
    assert found.selinux_where == Where(CONFIG, len(text.splitlines()))
    assert found.cri_setting("no_such_key") == (None, None)
    assert found.cdi_spec_dirs == ("/etc/cdi", "/var/run/cdi")


def test_an_excerpt_marks_its_line() -> None:
    found = view(healthy(SimNode()))
    assert found.excerpt(Where(CONFIG, 3))[0].text.splitlines()[2].startswith(">    3 [")
    assert found.excerpt(Where(CONFIG)) == found.excerpt(None) == found.excerpt(Where("/nowhere", 1)) == ()


def test_what_the_files_set_otherwise_than_the_daemon_has() -> None:
    node = healthy(SimNode())
    live = loaded(node, "1.7.24")
    live.handlers["nvidia"]["options"]["BinaryName"] = ""
    (difference,) = view(says(node, live)).differences()
    assert str(difference) == f"BinaryName of handler nvidia: {RUNTIME} on disk, not set in the running daemon"


def test_a_daemon_that_starts_up_tells_nothing() -> None:
    with pytest.raises(Undetermined):
        view(says(healthy(SimNode()), Live("1.7.24", refusal=(14, "not initialized")))).differences()


def test_facts_as_files() -> None:
    node = healthy(SimNode())
    node.tree["/etc/containerd/conf.d"] = Entry(mode=0o040755)
    files = FactFiles(node.facts())
    assert files.read(CONFIG) == config("1.7.24").encode()
    with pytest.raises(NotLooked):
        files.read("/never")
    with pytest.raises(NotLooked):
        files.glob("/never/*")
    with pytest.raises(FileNotFoundError):
        FactFiles(SimNode().facts()).read(CONFIG)


@pytest.mark.parametrize(
    ("note", "error"),
    [("is a directory", IsADirectoryError), ("too many levels of symbolic links", OSError), ("I/O", OSError)],
)
def test_what_cannot_be_read_is_an_error_as_containerd_meets_it(note: str, error: type[OSError]) -> None:
    node = SimNode().answer(lambda request: request.arg == (CONFIG,) and request.kind == "file", state="odd", note=note)
    with pytest.raises(error):
        FactFiles(node.facts()).read(CONFIG)


def test_what_was_refused_or_never_looked_at_is_said_so() -> None:
    with pytest.raises(Denied):
        _ = view(healthy(SimNode()).deny(CONFIG)).loaded
    with pytest.raises(Undetermined):
        _ = Views(Facts("x")).get(ContainerdConfig).loaded


def test_a_file_is_had_as_it_is_written_comments_kept() -> None:
    """For people's own tests of what stands in it."""
    written = "# ours\n" + config("1.7.24")
    document = view(healthy(SimNode(), text=written)).document()
    assert document.as_string() == written
    assert document["version"] == 2


@pytest.mark.parametrize(("text", "why"), [(None, "is not there"), ("no TOML", "tomlkit cannot read it")])
def test_a_file_that_is_not_there_or_no_toml_is_undetermined(text: str | None, why: str) -> None:
    node = SimNode() if text is None else SimNode().put(CONFIG, text)
    with pytest.raises(Undetermined, match=why):
        view(node).document()
