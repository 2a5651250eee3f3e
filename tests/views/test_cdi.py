"""The CDI view: readers by route, directories, and garbage in specs."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.views.cdi import CDI_ROUTES, DEFAULT_DIRECTORIES, Cdi
from tests.support.cdi import SPEC, cdi, spec
from tests.support.nodes import ready
from tests.support.simnode import SimNode
from tests.support.toolkit import config, containerd, debian, toolkit, views


def node(release: str = "2.3.4", cri: str = "") -> SimNode:
    return cdi(containerd(toolkit(debian(SimNode())), release, cri=cri))


def seen(nodes: SimNode) -> Cdi:
    return views(nodes).get(Cdi)


def test_clients_read_fixed_directories_whatever_the_daemon_is_told() -> None:
    view = seen(node(cri='cdi_spec_dirs = ["/opt/cdi", "/srv/cdi/"]\n'))
    assert view.reader("ctr-gpus").directories == DEFAULT_DIRECTORIES
    assert view.reader("cri-cdi").directories == ("/opt/cdi", "/srv/cdi")
    assert view.directories == (*DEFAULT_DIRECTORIES, "/opt/cdi", "/srv/cdi")


def test_specs_in_directories_that_a_configuration_names_are_gathered() -> None:
    nodes = node(cri='cdi_spec_dirs = ["/opt/cdi"]\n').put("/opt/cdi/nvidia.yaml", spec())
    view = seen(nodes)
    assert [found.path for found in view.of(view.reader("cri-cdi"))] == ["/opt/cdi/nvidia.yaml"]
    assert "0" in view.registry(view.reader("cri-cdi")).names(["nvidia.com/gpu"])


def test_the_runtime_reads_specs_in_mode_cdi_only() -> None:
    with pytest.raises(NotApplicable):
        seen(node()).reader("cri-handler")
    nodes = config(node(), 'mode = "auto"', 'mode = "cdi"')
    config(nodes, 'default-kind = "nvidia.com/gpu"', 'default-kind = "example.com/gpu"')
    reader = seen(nodes).reader("cri-handler")
    assert reader.kinds == ("example.com/gpu", "nvidia.com/gpu")
    assert reader.newest == (1, 1, 0)


def test_a_directory_that_may_not_be_listed_is_denied_and_not_empty() -> None:
    nodes = node()
    nodes.uid = 1000
    nodes.folder("/etc/cdi").tree["/etc/cdi"].mode = 0o040700
    view = seen(nodes)
    with pytest.raises(Denied):
        view.of(view.reader("ctr-gpus"))


def test_every_path_of_a_spec_is_looked_at_once() -> None:
    facts = node().facts()
    asked = [request.arg[0] for request, _ in facts if request.kind == "stat"]
    assert "/usr/bin/nvidia-cdi-hook" in asked
    assert len(asked) == len(set(asked))


def test_a_file_that_is_too_long_is_not_known() -> None:
    nodes = node().put(SPEC, spec() + "# " + "x" * (1024 * 1024))
    view = seen(nodes)
    with pytest.raises(Undetermined):
        view.registry(view.reader("ctr-gpus"))


def test_a_link_that_leads_nowhere_is_a_bad_spec() -> None:
    found = seen(node().link("/etc/cdi/nvidia.yaml", "/nowhere")).at("/etc/cdi/nvidia.yaml")
    assert found.fault == "it leads nowhere"


@given(
    st.binary(max_size=300),
    st.sampled_from(["/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.json", "/etc/cdi/\u202ex.yaml"]),
)
def test_garbage_raises_nothing_but_what_views_may_raise(data: bytes, path: str) -> None:
    view = seen(node().put(path, data))
    for route in CDI_ROUTES:
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            reader = view.reader(route)
            view.of(reader)
            view.registry(reader)


def test_a_file_that_may_not_be_read_may_be_nvidias_whatever_its_name() -> None:
    nodes = node().remove(SPEC).put("/etc/cdi/gpu.yaml", spec(), denied=True)
    view = seen(nodes)
    assert [found.path for found in view.of(view.reader("ctr-gpus"))] == ["/etc/cdi/gpu.yaml"]
    with pytest.raises(Denied):
        view.registry(view.reader("ctr-gpus"))


def test_devices_are_named_in_full_as_containerd_resolves_them() -> None:
    nodes = ready()
    assert set(seen(nodes).devices) >= {f"nvidia.com/gpu={name}" for name in ("0", "1", "all")}
    # A containerd without CDI: those of the default directories.
    assert "nvidia.com/gpu=0" in seen(ready("1.6.20")).devices
    assert seen(nodes.remove("/etc/cdi", "/var/run/cdi")).devices == {}
