"""The terminal's report, whole outputs compared."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import make
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Edit, Evidence, Remedy, Settings, Where, failed, passed, unknown
from pytest_gpuready.node.facts import Fact
from pytest_gpuready.report.terminal import lines
from pytest_gpuready.report.text import columns
from pytest_gpuready.routes import ROUTES, Required
from tests.report.sample import (
    BOTH,
    HEREDOC,
    INVENTORY,
    NO_CLI,
    NO_HANDLER,
    NO_MODULE,
    NOT_RESTARTED,
    NVML_HANGS,
    PERSISTENCE,
    report,
    run,
    unreachable,
)
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome
    from pytest_gpuready.report.model import Run
    from pytest_gpuready.views.platform import Platform

ANY = Required(
    ("ctr-gpus", "ctr-cdi", "cri-handler"), "--gpuready-routes any: at least one of those that this node offers", "any"
)
ALL = Required(("ctr-gpus", "ctr-cdi", "cri-handler"), "--gpuready-routes all: every route that this node offers")
TWO_ROOTS: dict[str, Outcome] = {
    "containerd.handler": NO_HANDLER,
    "containerd.restarted": NOT_RESTARTED,
    "driver.persistence": PERSISTENCE,
}


def fleet() -> Run:
    """Fourteen ready nodes, two alike that are not, one that does not answer."""
    broken = {"containerd.restarted": NOT_RESTARTED, "driver.persistence": PERSISTENCE}
    return run(
        *[report(f"ssh://gpu{number:03}") for number in range(1, 15)],
        report("ssh://gpu015", broken),
        unreachable("ssh://gpu016"),
        report("ssh://gpu017", broken),
    )


def text(of: Run, *, width: int = 80, verbosity: int = 0, own_failures: int = 0) -> str:
    found = lines(of, width=width, verbosity=verbosity, own_failures=own_failures)
    assert not any("\n" in line.text for line in found)
    return "".join(f"{line.text}\n" for line in found)


def last(of: Run, **options: int) -> str:
    return text(of, **options).splitlines()[-1]


def test_a_healthy_node() -> None:
    assert (
        text(run(report()))
        == """\
local  READY  (gpu-node)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

Routes
  ctr-gpus     required  ready (configuration; no container was run)
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  cri-handler  required  ready (configuration; no container was run)
                         a pod with runtimeClassName: nvidia
  ctr-cdi      optional  not ready: cdi.spec-present
                         ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi
  nerdctl      optional  not offered by this node
  Why required: no evidence of another set-up

Also seen, not counted for a required route
  FAIL  cdi.spec-present  no file in /etc/cdi or /var/run/cdi

gpuready: local is READY (configuration; no container was run)
"""
    )


def test_one_root_with_what_it_blocks() -> None:
    node = report("ssh://root@n1", {"driver.module-loaded": NO_MODULE}, hostname="gpu-a")
    assert (
        text(run(node))
        == """\
ssh://root@n1  NOT READY  (gpu-a)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

FAIL  driver.module-loaded  The nvidia kernel module is loaded
  found     the module is not loaded: it was not built for the running kernel
            6.8.0-40-generic
  expected  nvidia in /proc/modules
  where     /proc/modules
  keeps     ctr-gpus, cri-handler from being ready
  blocks    driver.nvml-answers, driver.persistence
  evidence  dkms status
            | nvidia/580.159.04, 6.8.0-31-generic, x86_64: installed

Routes
  ctr-gpus     required  not ready: driver.module-loaded
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  cri-handler  required  not ready: driver.module-loaded
                         a pod with runtimeClassName: nvidia
  ctr-cdi      optional  not ready: driver.module-loaded, cdi.spec-present
                         ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi
  nerdctl      optional  not offered by this node
  Why required: no evidence of another set-up

Also seen, not counted for a required route
  FAIL  cdi.spec-present  no file in /etc/cdi or /var/run/cdi

What to type on ssh://root@n1

1. driver.module-loaded: build the module for this kernel, then load it
sudo apt-get install linux-headers-6.8.0-40-generic
sudo dkms autoinstall -k 6.8.0-40-generic
sudo modprobe nvidia

Then run pytest again: 2 blocked checks have not been judged yet.

gpuready: ssh://root@n1 is NOT READY: driver.module-loaded
"""
    )


def test_two_roots() -> None:
    assert (
        text(run(report(outcomes=TWO_ROOTS)))
        == """\
local  NOT READY  (gpu-node)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

FAIL  containerd.handler  A handler runs the NVIDIA runtime
  found     no handler runs nvidia-container-runtime: runc is the only one
  expected  a handler whose BinaryName is the NVIDIA runtime
  where     /etc/containerd/config.toml
  keeps     cri-handler from being ready

FAIL  containerd.restarted  The daemon has loaded what is on disk
  found     handler nvidia is on disk and not in the running daemon (pid 812),
            which was started before the file was written
  expected  the daemon serves what is on disk
  where     /etc/containerd/conf.d/99-nvidia.toml:14
  keeps     cri-handler from being ready
  evidence  crictl --runtime-endpoint unix:///run/containerd/containerd.sock info
            | runtimes:
            |   runc: io.containerd.runc.v2
            |   kata: io.containerd.kata.v2
            (3 more lines: -v)

Routes
  ctr-gpus     required  ready (configuration; no container was run)
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  cri-handler  required  not ready: containerd.handler, containerd.restarted
                         a pod with runtimeClassName: nvidia
  ctr-cdi      optional  not ready: cdi.spec-present
                         ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi
  nerdctl      optional  not offered by this node
  Why required: no evidence of another set-up

Warnings (advisory: they change no verdict)
  WARN  driver.persistence  persistence is off on 2 GPUs

Also seen, not counted for a required route
  FAIL  cdi.spec-present  no file in /etc/cdi or /var/run/cdi

What to type

1. containerd.handler: give containerd a handler nvidia, in a file of its own
sudo tee /etc/containerd/conf.d/99-nvidia.toml <<'EOF'
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
  BinaryName = '/usr/bin/nvidia-container-runtime'
EOF
sudo systemctl restart containerd

   The change to /etc/containerd/conf.d/99-nvidia.toml:
     --- /dev/null
     +++ /etc/containerd/conf.d/99-nvidia.toml
     @@ -0,0 +1 @@
     +version = 3

2. containerd.restarted: restart containerd; running containers go on
sudo systemctl restart containerd

gpuready: local is NOT READY: containerd.handler, containerd.restarted
"""
    )


def test_verbose_shows_all_evidence_and_the_remedies_that_change_no_verdict() -> None:
    assert (
        text(run(report(outcomes=TWO_ROOTS)), verbosity=1)
        == """\
local  NOT READY  (gpu-node)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

FAIL  containerd.handler  A handler runs the NVIDIA runtime
  found     no handler runs nvidia-container-runtime: runc is the only one
  expected  a handler whose BinaryName is the NVIDIA runtime
  where     /etc/containerd/config.toml
  keeps     cri-handler from being ready

FAIL  containerd.restarted  The daemon has loaded what is on disk
  found     handler nvidia is on disk and not in the running daemon (pid 812),
            which was started before the file was written
  expected  the daemon serves what is on disk
  where     /etc/containerd/conf.d/99-nvidia.toml:14
  keeps     cri-handler from being ready
  evidence  crictl --runtime-endpoint unix:///run/containerd/containerd.sock info
            | runtimes:
            |   runc: io.containerd.runc.v2
            |   kata: io.containerd.kata.v2
            | default: runc
            | end
  evidence  /proc/812/stat
            | started 2026-11-20T08:00:00Z

Routes
  ctr-gpus     required  ready (configuration; no container was run)
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  cri-handler  required  not ready: containerd.handler, containerd.restarted
                         a pod with runtimeClassName: nvidia
  ctr-cdi      optional  not ready: cdi.spec-present
                         ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi
  nerdctl      optional  not offered by this node
  Why required: no evidence of another set-up

Warnings (advisory: they change no verdict)
  WARN  driver.persistence  persistence is off on 2 GPUs

Also seen, not counted for a required route
  FAIL  cdi.spec-present  no file in /etc/cdi or /var/run/cdi

What to type

1. containerd.handler: give containerd a handler nvidia, in a file of its own
sudo tee /etc/containerd/conf.d/99-nvidia.toml <<'EOF'
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
  BinaryName = '/usr/bin/nvidia-container-runtime'
EOF
sudo systemctl restart containerd

   The change to /etc/containerd/conf.d/99-nvidia.toml:
     --- /dev/null
     +++ /etc/containerd/conf.d/99-nvidia.toml
     @@ -0,0 +1 @@
     +version = 3

2. containerd.restarted: restart containerd; running containers go on
sudo systemctl restart containerd

What else could be typed (it changes no verdict)

1. driver.persistence: let the daemon of the driver keep the GPUs
sudo systemctl enable --now nvidia-persistenced

gpuready: local is NOT READY: containerd.handler, containerd.restarted
"""
    )


def test_quiet_shows_roots_their_first_command_and_the_last_line() -> None:
    found = text(run(report(outcomes=TWO_ROOTS)), verbosity=-1, own_failures=2)
    assert (
        found
        == """\
local  not ready  containerd.handler
sudo tee /etc/containerd/conf.d/99-nvidia.toml <<'EOF'
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
  BinaryName = '/usr/bin/nvidia-container-runtime'
EOF
local  not ready  containerd.restarted
sudo systemctl restart containerd
2 of your own tests failed: this sets the exit status, not the verdict below.
gpuready: local is NOT READY: containerd.handler, containerd.restarted
"""
    )


def test_an_unknown_is_no_pass() -> None:
    assert (
        text(run(report(outcomes={"driver.nvml-answers": NVML_HANGS})))
        == """\
local  UNKNOWN  (gpu-node)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

UNKNOWN  driver.nvml-answers  NVML answers and lists a GPU
  found     nvidia-smi gave no answer within 5 s
  expected  a list of GPUs
  keeps     ctr-gpus, cri-handler from being ready
  blocks    driver.persistence

Routes
  ctr-gpus     required  unknown: driver.nvml-answers
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  cri-handler  required  unknown: driver.nvml-answers
                         a pod with runtimeClassName: nvidia
  ctr-cdi      optional  not ready: driver.nvml-answers, cdi.spec-present
                         ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi
  nerdctl      optional  not offered by this node
  Why required: no evidence of another set-up

Also seen, not counted for a required route
  FAIL  cdi.spec-present  no file in /etc/cdi or /var/run/cdi

What to type

1. driver.nvml-answers: see what the driver waits for
sudo dmesg --level=err | tail -n 20

Then run pytest again: 1 blocked check has not been judged yet.

gpuready: local is UNKNOWN: driver.nvml-answers
"""
    )


def test_an_unreachable_node() -> None:
    assert (
        text(run(unreachable()))
        == """\
ssh://root@n2  UNREACHABLE

FAIL  node.reachable  The node answers with a POSIX shell
  found     ssh: connect to host n2 port 22: Connection refused
  expected  a POSIX shell
  keeps     ctr-gpus, cri-handler from being ready
  blocks    every other check

No command is known for node.reachable. What it means, and why:
pytest --gpuready-explain node.reachable

gpuready: ssh://root@n2 is UNREACHABLE: node.reachable
"""
    )


def test_any_route_is_enough_and_what_fails_on_the_others_does_not_count() -> None:
    assert (
        text(run(report(outcomes={"toolkit.container-cli": NO_CLI}, required=ANY)))
        == """\
local  READY  (gpu-node)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

Routes
  ctr-gpus     any of    not ready: toolkit.container-cli
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  ctr-cdi      any of    not ready: cdi.spec-present
                         ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi
  cri-handler  any of    ready (configuration; no container was run)
                         a pod with runtimeClassName: nvidia
  nerdctl      optional  not offered by this node
  Why required: --gpuready-routes any: at least one of those that this node
    offers

Also seen, not counted for a required route
  FAIL  toolkit.container-cli  nvidia-container-cli is not on the PATH
  FAIL  cdi.spec-present  no file in /etc/cdi or /var/run/cdi

gpuready: local is READY (configuration; no container was run)
"""
    )


def test_all_routes_are_required() -> None:
    assert (
        text(run(report(outcomes={"toolkit.container-cli": NO_CLI}, required=ALL)))
        == """\
local  NOT READY  (gpu-node)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

FAIL  toolkit.container-cli  nvidia-container-cli is there
  found     nvidia-container-cli is not on the PATH
  expected  /usr/bin/nvidia-container-cli
  keeps     ctr-gpus from being ready

FAIL  cdi.spec-present  A CDI spec is there
  found     no file in /etc/cdi or /var/run/cdi
  expected  a spec of kind nvidia.com/gpu
  keeps     ctr-cdi from being ready
  blocks    cdi.spec-valid

Routes
  ctr-gpus     required  not ready: toolkit.container-cli
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  ctr-cdi      required  not ready: cdi.spec-present
                         ctr run --rm --device nvidia.com/gpu=all IMAGE ID nvidia-smi
  cri-handler  required  ready (configuration; no container was run)
                         a pod with runtimeClassName: nvidia
  nerdctl      optional  not offered by this node
  Why required: --gpuready-routes all: every route that this node offers

What to type

1. toolkit.container-cli: install the tools
sudo apt-get install libnvidia-container-tools

No command is known for cdi.spec-present. What it means, and why:
pytest --gpuready-explain cdi.spec-present

Then run pytest again: 1 blocked check has not been judged yet.

gpuready: local is NOT READY: toolkit.container-cli, cdi.spec-present
"""
    )


def test_several_nodes_fold_and_each_kind_of_trouble_is_told_once() -> None:
    assert (
        text(fleet())
        == """\
NODE                VERDICT      ROOTS
ssh://gpu[001-014]  ready (configuration; no container was run)
ssh://gpu[015,017]  not ready    containerd.restarted
ssh://gpu016        unreachable  node.reachable

ssh://gpu[015,017]  NOT READY  (2 nodes; as seen on ssh://gpu015)
Ubuntu 24.04.3 LTS · containerd 2.1.9 · driver 580.159.04 · toolkit 1.20.0
2 x NVIDIA H100 80GB HBM3

FAIL  containerd.restarted  The daemon has loaded what is on disk
  found     handler nvidia is on disk and not in the running daemon (pid 812),
            which was started before the file was written
  expected  the daemon serves what is on disk
  where     /etc/containerd/conf.d/99-nvidia.toml:14
  keeps     cri-handler from being ready
  evidence  crictl --runtime-endpoint unix:///run/containerd/containerd.sock info
            | runtimes:
            |   runc: io.containerd.runc.v2
            |   kata: io.containerd.kata.v2
            (3 more lines: -v)

What to type on each of them

1. containerd.restarted: restart containerd; running containers go on
sudo systemctl restart containerd

ssh://gpu016  UNREACHABLE

FAIL  node.reachable  The node answers with a POSIX shell
  found     ssh: connect to host n2 port 22: Connection refused
  expected  a POSIX shell
  keeps     ctr-gpus, cri-handler from being ready
  blocks    every other check

No command is known for node.reachable. What it means, and why:
pytest --gpuready-explain node.reachable

Warnings (advisory: they change no verdict)
  driver.persistence  ssh://gpu[015,017]

gpuready: 17 nodes: 14 ready, 2 not ready, 1 unreachable
"""
    )


def test_the_odd_ones_are_named_where_most_agree() -> None:
    """Of two nodes none is odd."""
    nodes = [report(f"ssh://n{number}") for number in range(1, 5)]
    nodes[2] = report("ssh://n3", inventory={**INVENTORY, "driver": "570.86"})
    shown = text(run(*nodes), width=100)
    assert "Odd ones (this changes no verdict)\n  1 of 4: driver 570.86 (ssh://n3); all others 580.159.04\n" in shown
    assert "Odd ones" not in text(run(*nodes[1:3]), width=100)
    assert "Odd ones" not in text(run(*nodes[:2]), width=100)


def test_several_nodes_quietly() -> None:
    assert (
        text(fleet(), verbosity=-1)
        == """\
ssh://gpu[015,017]  not ready  containerd.restarted
sudo systemctl restart containerd
ssh://gpu016  unreachable  node.reachable: ssh: connect to host n2 port 22:
  Connection refused
gpuready: 17 nodes: 14 ready, 2 not ready, 1 unreachable
"""
    )


def test_verbose_unfolds_what_is_not_ready_and_very_verbose_all() -> None:
    assert text(fleet(), verbosity=1).count("\nRoutes\n") == 2
    assert text(fleet(), verbosity=2).count("\nRoutes\n") == 16
    assert "as seen on" not in text(fleet(), verbosity=1)


def test_nodes_with_the_same_roots_and_other_remedies_are_told_apart() -> None:
    """What is typed on one distribution must not be printed for another."""
    assert NO_CLI.remedy is not None
    other = NO_CLI.but(remedy=Remedy("install the tools", ("sudo dnf install libnvidia-container-tools",)))
    of = run(
        report("ssh://a1", {"toolkit.container-cli": NO_CLI}),
        report("ssh://a2", {"toolkit.container-cli": other}),
    )
    found = text(of)
    assert "ssh://a[1-2]  not ready  toolkit.container-cli\n" in found
    assert "What to type on ssh://a1\n\n1. toolkit.container-cli: install the tools\nsudo apt-get install" in found
    assert "What to type on ssh://a2\n\n1. toolkit.container-cli: install the tools\nsudo dnf install" in found


# ---------------------------------------------------------------------------------------------------- single rules


def test_when_only_ctr_gpus_fails_the_other_route_can_be_required_alone() -> None:
    found = text(run(report(outcomes={"toolkit.container-cli": NO_CLI})))
    assert (
        "Only ctr-gpus is not ready. Where nobody uses it, require the other alone:\n  --gpuready-routes cri-handler\n"
        in found
    )


@pytest.mark.parametrize(
    "of",
    [
        run(report()),
        run(report(outcomes={"driver.module-loaded": NO_MODULE})),
        run(report(outcomes={"containerd.restarted": NOT_RESTARTED})),
        run(report(outcomes={"toolkit.container-cli": NO_CLI}, required=Required(("ctr-gpus",), "--gpuready-routes"))),
        run(unreachable()),
    ],
)
def test_no_such_hint_where_it_would_not_help(of: Run) -> None:
    assert "Only ctr-gpus" not in text(of)


def test_a_live_proof_is_said() -> None:
    live = run(report(live=("ctr-gpus", "cri-handler")), live=True)
    assert "ctr-gpus     required  ready (live: a container ran)\n" in text(live)
    assert last(live) == "gpuready: local is READY (live: a container ran)"


def test_one_required_route_without_a_container_makes_no_live_proof() -> None:
    assert last(run(report(live=("ctr-gpus",)), live=True)) == (
        "gpuready: local is READY (configuration; no container was run)"
    )


def test_no_route_required_is_unknown_with_the_reason() -> None:
    of = run(report(required=Required((), "GKE's device plugin mounts the driver"), verdict="unknown"))
    assert "  No route is required: GKE's device plugin mounts the driver\n" in text(of)
    assert last(of) == "gpuready: local is UNKNOWN: no route is required of it"


def test_no_node_at_all_is_unknown() -> None:
    assert text(run()) == "gpuready: UNKNOWN: no node was looked at\n"


def test_an_incomplete_node_says_its_reason() -> None:
    of = run(report(verdict="incomplete", reason="interrupted after 12 of 53 checks"))
    assert text(of).splitlines()[3] == "interrupted after 12 of 53 checks"
    assert last(of) == "gpuready: local is INCOMPLETE: interrupted after 12 of 53 checks"


def test_an_incomplete_node_without_a_reason_says_so_too() -> None:
    assert last(run(report(verdict="incomplete"))) == "gpuready: local is INCOMPLETE: judging did not come to its end"


def test_the_reason_of_an_unreachable_node_is_told_once() -> None:
    said = "ssh: connect to host n2 port 22: Connection refused"
    assert text(run(dataclasses.replace(unreachable(), reason=said))).count(said) == 1
    assert "\nno login within 30 s\n" in text(run(dataclasses.replace(unreachable(), reason="no login within 30 s")))


def test_a_root_without_a_remedy_points_to_its_page() -> None:
    found = text(run(report(outcomes={"driver.nvml-answers": unknown("no answer")})))
    assert "No command is known for driver.nvml-answers." in found
    assert "\npytest --gpuready-explain driver.nvml-answers\n" in found
    assert "What to type" not in found


def test_the_same_remedy_of_two_roots_is_typed_once() -> None:
    outcomes = {"containerd.handler": NOT_RESTARTED, "containerd.restarted": NOT_RESTARTED}
    found = text(run(report(outcomes=outcomes)))
    assert "1. containerd.handler, containerd.restarted: restart containerd" in found
    assert found.count("\nsudo systemctl restart containerd\n") == 1


def test_own_failures_are_kept_apart_from_the_verdict() -> None:
    found = text(run(report()), own_failures=1).splitlines()
    assert found[-2:] == [
        "1 of your own tests failed: this sets the exit status, not the verdict below.",
        "gpuready: local is READY (configuration; no container was run)",
    ]


def test_notes_of_the_run_are_shown() -> None:
    assert "\nnote: pytest.ini sets gpuready_routes = any\n" in text(
        run(report(), notes=("pytest.ini sets gpuready_routes = any",))
    )


def test_a_snapshot_is_mended_on_the_node_it_was_taken_from() -> None:
    node = report("snapshot:///srv/n7.json", {"toolkit.container-cli": NO_CLI}, hostname="n7")
    assert "\nWhat to type on n7\n" in text(run(node))


def test_many_roots_do_not_burst_the_last_line() -> None:
    outcomes = dict.fromkeys(("driver.module-loaded", "toolkit.container-cli", "containerd.config-loads"), NO_CLI)
    assert last(run(report(outcomes=outcomes))) == ("gpuready: local is NOT READY: driver.module-loaded and 2 more")


def test_what_is_blocked_is_one_line_unless_verbose() -> None:
    node = report(outcomes={"driver.module-loaded": NO_MODULE})
    checks = {f"driver.further-{number}": node.findings["driver.nvml-answers"] for number in range(20)}
    findings = {
        **node.findings,
        **{name: dataclasses.replace(f, check=dataclasses.replace(f.check, id=name)) for name, f in checks.items()},
    }
    node = dataclasses.replace(node, findings=findings)
    brief = text(run(node)).splitlines()
    (number,) = [number for number, line in enumerate(brief) if line.startswith("  blocks ")]
    assert re.fullmatch(r"  blocks    driver\.nvml-answers, .* and \d+ more", brief[number])
    assert brief[number + 1].startswith("  evidence")
    assert "driver.further-19" in text(run(node), verbosity=1)


# ---------------------------------------------------------------------------------------------------- width

_EVERYTHING = {
    "healthy": run(report()),
    "one root": run(report("ssh://root@n1", {"driver.module-loaded": NO_MODULE})),
    "two roots": run(report(outcomes=TWO_ROOTS)),
    "unknown": run(report(outcomes={"driver.nvml-answers": NVML_HANGS})),
    "unreachable": run(unreachable()),
    "any": run(report(outcomes={"toolkit.container-cli": NO_CLI}, required=ANY)),
    "fleet": fleet(),
    "odd names": run(*[report(f"ssh://somebody@node-{'x' * 3 * n}.cluster{n}.example.org") for n in range(1, 40, 3)]),
    "long words": run(
        report(
            outcomes={
                "containerd.handler": failed("x" * 300, expected="語" * 200, evidence=(Evidence("cat", "y" * 500),))
            }
        )
    ),
}


@pytest.mark.parametrize("width", [40, 60, 80, 132])
@pytest.mark.parametrize("verbosity", [-1, 0, 1, 2])
@pytest.mark.parametrize("of", _EVERYTHING.values(), ids=_EVERYTHING)
def test_nothing_but_commands_paths_and_diffs_is_wider_than_the_terminal(of: Run, verbosity: int, width: int) -> None:
    remedies = [finding.outcome.remedy for node in of.nodes for finding in node.findings.values()]
    kept = {line for remedy in remedies if remedy for command in remedy.commands for line in command.split("\n")}
    kept |= {line for remedy in remedies if remedy for edit in remedy.edits for line in edit.diff.split("\n")}
    kept |= {route.command for route in ROUTES.values()}
    kept |= {f"pytest --gpuready-explain {check}" for node in of.nodes for check in node.findings}
    kept |= {
        item.source for node in of.nodes for finding in node.findings.values() for item in finding.outcome.evidence
    }
    for line in text(of, verbosity=verbosity, width=width).splitlines():
        if columns(line) > width:
            words = re.sub(r"^ *(where|evidence|The change to) +", "", line).strip()
            assert line in kept or words.rstrip(":") in kept or words.startswith("/"), line


def test_commands_are_lines_of_their_own_at_the_margin_verbatim() -> None:
    found = text(run(report(outcomes=TWO_ROOTS)), width=40)
    assert f"\n{HEREDOC}\nsudo systemctl restart containerd\n" in found


# ---------------------------------------------------------------------------------------------------- hostile nodes

HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\n\u202egnp.exe\u2066\u200b\udcff <b>&amp;"


def test_what_a_hostile_node_says_is_only_text() -> None:
    said = failed(
        HOSTILE,
        expected=HOSTILE,
        where=Where(f"/etc/{HOSTILE}", 3),
        evidence=(Evidence(HOSTILE, f"{HOSTILE}\n{HOSTILE}"),),
        remedy=Remedy(HOSTILE, (f"echo {HOSTILE}",), (Edit(HOSTILE, f"+{HOSTILE}"),)),
    )
    node = report(
        f"ssh://n{HOSTILE}",
        {"containerd.handler": said},
        hostname=HOSTILE,
        inventory={"os": HOSTILE, "containerd": HOSTILE, "gpus": [{"name": HOSTILE, "uuid": HOSTILE}, HOSTILE]},
        required=Required(BOTH.names, HOSTILE),
        verdict="incomplete",
        reason=HOSTILE,
    )
    for nodes in ((node,), (node, node)):
        for verbosity in (-1, 0, 1):
            found = text(run(*nodes, notes=(HOSTILE,)), verbosity=verbosity)
            assert not re.search(
                "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]", found
            )
            found.encode()


def test_a_newline_in_a_host_name_makes_no_line_of_its_own() -> None:
    node = report(hostname="n1\ngpuready: local is READY")
    assert text(run(node)).splitlines()[0] == "local  READY  (n1 gpuready: local is READY)"


def test_a_hostile_verdict_line_in_evidence_stays_inside_its_box() -> None:
    outcome = NOT_RESTARTED.but(evidence=(Evidence("cat /x", "gpuready: local is READY"),))
    found = text(run(report(outcomes={"containerd.restarted": outcome})))
    assert "            | gpuready: local is READY\n" in found
    assert "\ngpuready: local is READY" not in found


# ---------------------------------------------------------------------------------------------------- the judge's own


def _reachable() -> Outcome:
    return passed("it answers")


def _kernel(platform: Platform) -> Outcome:
    return failed(f"Linux {platform.kernel}", expected="another", where=Where("/proc/version"))


def _after() -> Outcome:
    return passed("never seen")


def test_what_the_judge_makes_of_a_node_reads_the_same() -> None:
    """The judge's own report on a simulated node, with three checks: the sample's rules are the judge's."""
    checks = [
        make("node.reachable", title="The node answers", func=_reachable),
        make("driver.module-loaded", title="The module is loaded", func=_kernel),
        make("driver.nvml-answers", title="NVML answers", func=_after, needs=["driver.module-loaded"]),
    ]
    settings = Settings(routes=("ctr-gpus", "cri-handler"))
    node = judge(SimNode().facts(settings), settings, checks={check.id: check for check in checks})
    found = text(run(dataclasses.replace(node, hostname="gpu-node")))
    assert found.startswith(
        """\
local  NOT READY  (gpu-node)

FAIL  driver.module-loaded  The module is loaded
  found     Linux 6.8.0-40-generic
  expected  another
  where     /proc/version
  keeps     ctr-gpus, cri-handler from being ready
  blocks    driver.nvml-answers

Routes
  ctr-gpus     required  not ready: driver.module-loaded
                         ctr run --rm --gpus 0 IMAGE ID nvidia-smi
  cri-handler  required  not ready: driver.module-loaded
                         a pod with runtimeClassName: nvidia
  ctr-runtime  optional  not ready: driver.module-loaded
"""
    )
    assert found.endswith("\ngpuready: local is NOT READY: driver.module-loaded\n")


def test_a_node_that_the_judge_could_not_reach() -> None:
    node = SimNode(label="ssh://n1", reach=Fact("timeout", note="no answer within the deadline"))
    checks = {"node.reachable": make("node.reachable", title="The node answers", func=_unreachable)}
    found = text(run(judge(node.facts(), Settings(), checks=checks)))
    assert found.startswith("ssh://n1  UNREACHABLE\n\nFAIL  node.reachable  The node answers\n")
    assert found.endswith("\ngpuready: ssh://n1 is UNREACHABLE: node.reachable\n")


def _unreachable() -> Outcome:
    return failed("no answer within the deadline", expected="a POSIX shell")


# ---------------------------------------------------------------------------------------------------- styles


def test_styles_mark_verdicts_and_commands_and_carry_no_meaning_alone() -> None:
    styled = {line.text: line.style for line in lines(run(report(outcomes=TWO_ROOTS)))}
    assert styled["local  NOT READY  (gpu-node)"] == "bad"
    assert styled["FAIL  containerd.handler  A handler runs the NVIDIA runtime"] == "bad"
    assert styled["sudo systemctl restart containerd"] == "bold"
    assert styled["     +version = 3"] == "good"
    assert styled["What to type"] == "bold"
    assert lines(run(report()))[-1].style == "good"
    assert lines(run(report(outcomes={"driver.nvml-answers": NVML_HANGS})))[-1].style == "warn"
