"""Hand-made node reports over a tiny catalogue: what the judge would hand to a renderer.

They stand for judged nodes of every kind, so that a renderer's whole output can be compared. Blocking and routes follow
the judge's rules in their plainest form (one answer per check); they cannot show that the judge itself is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pytest_gpuready.checks.catalogue import Check, make
from pytest_gpuready.model import Edit, Evidence, Outcome, Remedy, Where, failed, passed, unknown, warned
from pytest_gpuready.node.facts import REACH, Fact, Facts
from pytest_gpuready.report.model import Finding, NodeReport, RouteReport, Run, Verdict, worst_verdict
from pytest_gpuready.routes import Required

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuready.model import Answer


def _never() -> Answer:
    raise AssertionError("a renderer runs no check")


def _check(check_id: str, title: str, *needs: str, advisory: bool = False) -> Check:
    return make(check_id, title=title, needs=needs, advisory=advisory, func=_never)


CHECKS: dict[str, Check] = {
    check.id: check
    for check in (
        _check("node.reachable", "The node answers with a POSIX shell"),
        _check("driver.module-loaded", "The nvidia kernel module is loaded"),
        _check("driver.nvml-answers", "NVML answers and lists a GPU", "driver.module-loaded"),
        _check("driver.persistence", "Persistence is on", "driver.nvml-answers", advisory=True),
        _check("toolkit.container-cli", "nvidia-container-cli is there"),
        _check("containerd.config-loads", "containerd would start with the files on disk"),
        _check("containerd.handler", "A handler runs the NVIDIA runtime", "containerd.config-loads"),
        _check("containerd.restarted", "The daemon has loaded what is on disk", "containerd.config-loads"),
        _check("cdi.spec-present", "A CDI spec is there"),
        _check("cdi.spec-valid", "The CDI spec is valid", "cdi.spec-present"),
    )
}

_DRIVER = ("node.reachable", "driver.module-loaded", "driver.nvml-answers")
CLOSURES: dict[str, tuple[str, ...]] = {
    "ctr-gpus": (*_DRIVER, "toolkit.container-cli"),
    "ctr-cdi": (*_DRIVER, "cdi.spec-present", "cdi.spec-valid"),
    "cri-handler": (*_DRIVER, "containerd.config-loads", "containerd.handler", "containerd.restarted"),
    "nerdctl": (*_DRIVER, "toolkit.container-cli"),
}

BOTH = Required(("ctr-gpus", "cri-handler"), "no evidence of another set-up")

INVENTORY: dict[str, object] = {
    "containerd": "2.1.9",
    "ctr": "2.1.9",
    "driver": "580.159.04",
    "toolkit": "1.20.0",
    "os": "Ubuntu 24.04.3 LTS",
    "kernel": "6.8.0-40-generic",
    "gpus": [{"name": "NVIDIA H100 80GB HBM3", "uuid": f"GPU-0000000{number}"} for number in range(2)],
}

NO_SPEC = failed("no file in /etc/cdi or /var/run/cdi", expected="a spec of kind nvidia.com/gpu")

NOT_RESTARTED = failed(
    "handler nvidia is on disk and not in the running daemon (pid 812), which was started before the file was written",
    expected="the daemon serves what is on disk",
    where=Where("/etc/containerd/conf.d/99-nvidia.toml", 14),
    evidence=(
        Evidence(
            "crictl --runtime-endpoint unix:///run/containerd/containerd.sock info",
            "runtimes:\n  runc: io.containerd.runc.v2\n  kata: io.containerd.kata.v2\ndefault: runc\nend\n",
        ),
        Evidence("/proc/812/stat", "started 2026-11-20T08:00:00Z"),
    ),
    remedy=Remedy("restart containerd; running containers go on", ("sudo systemctl restart containerd",)),
)

HEREDOC = """\
sudo tee /etc/containerd/conf.d/99-nvidia.toml <<'EOF'
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
  BinaryName = '/usr/bin/nvidia-container-runtime'
EOF"""

NO_HANDLER = failed(
    "no handler runs nvidia-container-runtime: runc is the only one",
    expected="a handler whose BinaryName is the NVIDIA runtime",
    where=Where("/etc/containerd/config.toml"),
    remedy=Remedy(
        "give containerd a handler nvidia, in a file of its own",
        (HEREDOC, "sudo systemctl restart containerd"),
        (
            Edit(
                "/etc/containerd/conf.d/99-nvidia.toml",
                "--- /dev/null\n+++ /etc/containerd/conf.d/99-nvidia.toml\n@@ -0,0 +1 @@\n+version = 3\n",
            ),
        ),
    ),
)

NO_MODULE = failed(
    "the module is not loaded: it was not built for the running kernel 6.8.0-40-generic",
    expected="nvidia in /proc/modules",
    where=Where("/proc/modules"),
    evidence=(Evidence("dkms status", "nvidia/580.159.04, 6.8.0-31-generic, x86_64: installed"),),
    remedy=Remedy(
        "build the module for this kernel, then load it",
        (
            "sudo apt-get install linux-headers-6.8.0-40-generic",
            "sudo dkms autoinstall -k 6.8.0-40-generic",
            "sudo modprobe nvidia",
        ),
    ),
)

NO_CLI = failed(
    "nvidia-container-cli is not on the PATH",
    expected="/usr/bin/nvidia-container-cli",
    remedy=Remedy("install the tools", ("sudo apt-get install libnvidia-container-tools",)),
)

NVML_HANGS = unknown(
    "nvidia-smi gave no answer within 5 s",
    expected="a list of GPUs",
    remedy=Remedy("see what the driver waits for", ("sudo dmesg --level=err | tail -n 20",)),
)

PERSISTENCE = warned(
    "persistence is off on 2 GPUs",
    expected="on",
    remedy=Remedy("let the daemon of the driver keep the GPUs", ("sudo systemctl enable --now nvidia-persistenced",)),
)

REFUSED = failed("ssh: connect to host n2 port 22: Connection refused", expected="a POSIX shell")


def report(
    label: str = "local",
    outcomes: dict[str, Outcome] | None = None,
    *,
    required: Required = BOTH,
    verdict: Verdict | None = None,
    reason: str | None = None,
    hostname: str | None = "gpu-node",
    inventory: dict[str, object] | None = None,
    live: tuple[str, ...] = (),
) -> NodeReport:
    """A node on which every check passed but those in `outcomes`; what needs a failed or unknown one is blocked."""
    said = {"cdi.spec-present": NO_SPEC, **(outcomes or {})}
    causes: dict[str, tuple[str, ...]] = {}
    findings: dict[str, Finding] = {}
    routes = {route: _route(route, said, required, live) for route in CLOSURES}
    for check in CHECKS.values():
        own = said.get(check.id, passed("as it should be"))
        roots = dict.fromkeys(root for need in check.needs for root in causes[need])
        concerned = tuple(route for route, closure in CLOSURES.items() if check.id in closure)
        causes[check.id] = tuple(roots) or ((check.id,) if own.status in ("fail", "unknown") else ())
        outcome = Outcome("blocked", f"blocked by {', '.join(roots)}") if roots else own
        keeps = tuple(route for route in required.names if check.id in routes[route].roots)
        findings[check.id] = Finding(check, outcome, tuple(roots), concerned, keeps)
    verdicts = [routes[route].verdict for route in required.names]
    if required.mode == "any" and "ready" in verdicts:
        verdicts = ["ready"]
    node_verdict = verdict or worst_verdict(verdicts)
    facts = Facts(label, [(REACH, Fact("cut" if node_verdict == "unreachable" else "ok"))])
    shown = INVENTORY if inventory is None else inventory
    return NodeReport(facts, required, findings, routes, node_verdict, reason, hostname, 0.4, dict(shown))


def _route(route: str, said: dict[str, Outcome], required: Required, live: tuple[str, ...]) -> RouteReport:
    wrong = [check for check in CLOSURES[route] if check in said and said[check].status in ("fail", "unknown")]
    roots = tuple(check for check in wrong if not set(_above(check)) & set(wrong))
    statuses = {said[check].status for check in roots}
    verdict: Verdict = "not-ready" if "fail" in statuses else "unknown" if roots else "ready"
    if route == "nerdctl":
        verdict, roots = "not-ready", ("containerd.supports-route",)
    proof: Literal["configured", "live"] = "live" if route in live else "configured"
    return RouteReport(route, verdict, proof, route in required.names, roots, offered=route != "nerdctl")


def _above(check_id: str) -> Iterable[str]:
    for need in CHECKS[check_id].needs:
        yield need
        yield from _above(need)


def unreachable(label: str = "ssh://root@n2", outcome: Outcome = REFUSED) -> NodeReport:
    """A node that nobody could log in to."""
    return report(
        label,
        {"node.reachable": outcome},
        required=Required(BOTH.names, "the node could not be asked"),
        verdict="unreachable",
        hostname=None,
        inventory={},
    )


def run(*nodes: NodeReport, live: bool = False, notes: tuple[str, ...] = ()) -> Run:
    """A run over these nodes."""
    return Run(nodes, "2026-11-22T09:00:00Z", 1.2345, "pytest-gpuready 0.1.0", "pytest --gpuready", live, notes)
