"""The live proof: a container of each route ran, and saw the GPUs that the node has; one that asks for none sees none.

What a container needs is judged before (the routes' own checks); here is what it did. A text that is known names its
cause; one that is not is shown whole and called unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.live import messages, probe
from pytest_gpuready.live.image import BUILTIN, full_reference, missing_tag
from pytest_gpuready.live.plan import POD_ROUTES
from pytest_gpuready.model import (
    Answer,
    Evidence,
    Outcome,
    Remedy,
    failed,
    not_applicable,
    passed,
    unknown,
)
from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.live.probe import Seen
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.live import Live, Ran


def _namespace(route: str) -> str:
    return "k8s.io" if route in POD_ROUTES else "default"


@check("live.image", title="The image for containers is there", needs=["containerd.running"])
def image(live: Live, mend: Remedies) -> Answer:
    """The image that containers are run from is on the node, in the namespace that the route looks in.

    What: `builtin` was made of the node's own libc, loader and sh, and imported under a name of this run's; or the
    image that --gpuready-image names is among `ctr images ls` (for pods: `ctr -n k8s.io images ls`).
    Why: nothing is downloaded for a test. An image that was pulled in one namespace is not there in the other: that of
    ctr is `default`, the kubelet's `k8s.io`.
    Fix: pull or copy it into that namespace by its full name, or leave the option out.
    References: containerd docs/namespaces.md; hub.docker.com/r/nvidia/cuda/tags (NVIDIA's tags end with a
    distribution: there is no `12.3.0-base`).
    """
    section = live.section("image")
    if section is None:
        return not_applicable("no image was looked for")
    if section.rc is None:
        return unknown("the run broke off while the image was made or looked for", missing="truncated")
    reference = live.views.settings.image
    said = clean(section.data.decode("utf-8", "replace")).strip()
    if reference == BUILTIN:
        if section.rc == 0:
            return passed("built of the node's own libc, loader and sh, and imported")
        how = "could not be built" if section.rc == 1 else "could not be imported"
        evidence = (Evidence("the image's building", said),) if said else ()
        named = Remedy("Name an image that is on the node with --gpuready-image.")
        return unknown(f"the builtin image {how}: {one_line(said, 300) or 'nothing was said'}", evidence=evidence,
                       remedy=named)  # fmt: skip
    there = said.split()
    answers: dict[str, Outcome] = {}
    for route in ROUTES:
        namespace = _namespace(route)
        full = full_reference(reference)
        if namespace in there:
            answers[route] = passed(f"{full} is in the namespace {namespace}")
            continue
        wrong = missing_tag(full)
        remedy = mend.live.copy(reference, namespace, there[0]) if there else mend.live.pull(reference, namespace)
        where = f", only in {there[0]}" if there else f": {wrong}" if wrong else ""
        answers[route] = unknown(
            f"{full} is not in the namespace {namespace}{where}",
            expected=f"{full} among the images of the namespace {namespace}",
            remedy=remedy,
        )
    return answers


def _ran(live: Live, route: str, mend: Remedies) -> Outcome:
    """How a route's container ended."""
    busy = live.busy
    if busy is not None:
        return unknown(f"the GPUs were left alone (--gpuready-live-idle-only); {busy}")
    ran = live.container(route)
    expected = f"{ROUTES[route].command}: it runs and lists GPUs"
    evidence = (Evidence(ROUTES[route].command, ran.text or "(nothing was said)"),)
    if ran.state == "cut":
        seen = evidence if ran.text else ()
        return unknown("its container was not run, or its end was not seen", evidence=seen, missing="truncated")
    if ran.state == "timeout":
        said = f": {one_line(ran.text, 200)}" if ran.text else ""
        return failed(f"it did not come to its end within its deadline{said}", expected=expected, evidence=evidence)
    if ran.state == "vanished":
        return unknown(
            "removed by the kubelet: the pod was gone before its container had answered, three times in a row",
            evidence=evidence if ran.text else (),
            remedy=Remedy(
                "Let the kubelet rest meanwhile (systemctl stop kubelet; start it again afterwards), or run a pod."
            ),
        )
    if ran.seen is None:
        return _ended(ran, expected, evidence, mend)
    if ran.seen.uuids and ran.seen.smi == 0:
        return _opened(live, ran.seen, ran.seconds, evidence, mend)
    return _listed_none(ran.seen, expected, evidence, mend)


def _ended(ran: Ran, expected: str, evidence: tuple[Evidence, ...], mend: Remedies) -> Outcome:
    ending = messages.cause_of(ran.text)
    if ending is None:
        code = "" if ran.rc is None else f" (exit status {ran.rc})"
        return unknown(
            f"its container did not run{code}, for a reason that is not known here: {ran.text or 'nothing was said'}",
            expected=expected,
            evidence=evidence,
        )
    return failed(
        f"its container did not run: {ending.cause} ({ending.check})",
        expected=expected,
        evidence=evidence,
        remedy=ending.remedy(mend),
    )


def _opened(live: Live, seen: Seen, seconds: float, evidence: tuple[Evidence, ...], mend: Remedies) -> Outcome:
    """nvidia-smi lists GPUs: what CUDA opens first opens too, or as little as outside."""
    outside = live.outside
    if seen.refused(probe.UVM) and outside is not None and not outside.refused(probe.UVM):
        anew = mend.cdi.generate()
        return failed(
            f"nvidia-smi lists {_count(seen.uuids)}, but opening {probe.UVM} is refused inside "
            f"({seen.opens[probe.UVM]}), and not outside ({outside.opens.get(probe.UVM)}): CUDA will not start",
            expected=f"{probe.UVM} opens inside as outside",
            evidence=evidence,
            remedy=Remedy(
                "The container's device rules name another device than the node has now: the driver's dynamic major "
                f"changed after the CDI spec was made, or the rules were rewritten. {anew.summary}",
                anew.commands,
            ),
        )
    return passed(f"{_count(seen.uuids)} listed by nvidia-smi inside, after {seconds:.1f} s", evidence=evidence)


def _listed_none(seen: Seen, expected: str, evidence: tuple[Evidence, ...], mend: Remedies) -> Outcome:
    if seen.smi == 127:
        return failed(
            "the container ran and got no nvidia-smi: it was started without the driver's files",
            expected=expected,
            evidence=evidence,
            remedy=Remedy(
                "The request was not acted upon: see whether the runtime's mode fits (pytest --gpuready-explain "
                "toolkit.config-valid), and whether `utility` is among the driver capabilities that it supports."
            ),
        )
    ending = messages.cause_of(seen.listing)
    if ending is not None:
        return failed(
            f"nvidia-smi fails inside: {ending.cause} ({ending.check})",
            expected=expected,
            evidence=evidence,
            remedy=ending.remedy(mend),
        )
    if "No devices were found" in seen.listing or (seen.smi == 0 and not seen.listing):
        return failed("nvidia-smi runs inside and finds no GPU", expected=expected, evidence=evidence)
    return unknown(
        f"nvidia-smi ended with {seen.smi} inside: {seen.listing or 'nothing was said'}",
        expected=expected,
        evidence=evidence,
    )


def _count(uuids: tuple[str, ...]) -> str:
    gpus = sum(uuid.startswith("GPU-") for uuid in uuids)
    migs = len(uuids) - gpus
    return f"{gpus} GPU{'s' if gpus != 1 else ''}" + (f" and {migs} MIG devices" if migs else "")


def _route_check(route: str, what: str, why: str, references: str) -> Callable[..., Answer]:
    def container(live: Live, mend: Remedies) -> Outcome:
        return _ran(live, route, mend)

    container.__name__ = route.replace("-", "_")
    container.__doc__ = f"""A container of the route {route} runs, and lists GPUs inside.

    What: `{ROUTES[route].command}`, with names, labels and limits of this run's, from the image that live.image is
    about. {what} Inside, `nvidia-smi -L` lists GPUs, and opening /dev/nvidia-uvm answers as it does outside.
    Why: {why}
    Fix: by what the container ended with: the finding names the cause, and the check that usually finds it. A text that
    is not known is shown whole, and the finding is unknown.
    References: {references}
    """
    return check(f"live.{route}", title=f"A container of {route} ran and listed GPUs", needs=["live.image"])(container)


_route_check(
    "ctr-gpus",
    "Every GPU is asked for by its index.",
    "configuration that looks right is not proof; the client decides here (nvidia-container-cli up to ctr 2.2, a CDI "
    "spec from 2.3), so this says nothing of pods.",
    "ctd v2.2.7:cmd/ctr/commands/run/run_unix.go:353, v2.3.4:378,515; contrib/nvidia/nvidia.go:94.",
)
_route_check(
    "ctr-runtime",
    "It asks by NVIDIA_VISIBLE_DEVICES, as in that command.",
    "it runs the same program as a pod with the handler does, without the handler.",
    "toolkit internal/config/image/cuda_image.go; containerd contrib/ctr (--runc-binary).",
)
_route_check(
    "ctr-cdi",
    "The device is `all`, or each GPU by its index or UUID where the spec has no `all`.",
    "it shows what a CDI spec on disk brings into a container, by the client's own reading.",
    "containerd commit d3887b2e6 (ctr run --device takes CDI names from 2.0 on).",
)
_route_check(
    "cri-handler",
    "A pod on the host's network is made by CRI calls to the daemon's socket, and its container is asked by ExecSync. "
    "A pod that vanishes is made again, twice.",
    "it is what the kubelet does for a pod with that RuntimeClass, without a cluster.",
    "k8s.io/cri-api pkg/apis/runtime/v1/api.proto; ctd v2.3.4:internal/cri/server/sandbox_run.go.",
)
_route_check(
    "cri-default",
    "The pod names no handler, so that the default one runs it.",
    "it is what the kubelet does for a pod without a RuntimeClass.",
    "ctd v2.3.4:internal/cri/server/sandbox_run.go; k8s-device-plugin README (nvidia as the default runtime).",
)
_route_check(
    "cri-cdi",
    "The container names CDI devices, in the field and in the annotation that 1.7.0 reads.",
    "it is what the kubelet does for a device plugin that hands out CDI devices.",
    "ctd v1.7.34:pkg/cri/server/container_create_linux.go; containerd docs/cri/config.md (enable_cdi).",
)
_route_check(
    "nerdctl",
    "It runs on the host's network, without CNI.",
    "nerdctl has its own way to the GPU: nvidia-container-cli up to 2.2, a CDI spec from 2.3.",
    "nerdctl docs/gpu.md; commits d312a5da, 4649baae.",
)


@check("live.same-gpus", title="Containers see the GPUs that the node has", needs=["live.image"])
def same_gpus(live: Live) -> Answer:
    """The GPUs inside are those outside: the same UUIDs, none missing, none more.

    What: the UUIDs that `nvidia-smi -L` lists in each route's container, against those that it lists on the node at the
    same time (else those of NVML); MIG devices too.
    Why: a container that lists some GPU may still lack one: a stale CDI spec, a device plugin's leftovers.
    Fix: make the CDI spec anew, or see how many GPUs the request names.
    References: toolkit pkg/nvcdi; NVIDIA's `nvidia-smi -L`.
    """
    outside = set(live.uuids)
    answers: dict[str, Outcome] = {}
    for route in ROUTES:
        seen = live.container(route).seen
        if seen is None:
            continue
        inside = set(seen.uuids)
        if inside == outside:
            answers[route] = passed(f"{len(inside)} inside and outside: {', '.join(sorted(inside))}")
            continue
        missing, more = sorted(outside - inside), sorted(inside - outside)
        parts = [f"missing inside: {', '.join(missing)}"] if missing else []
        parts += [f"inside only: {', '.join(more)}"] if more else []
        answers[route] = failed(
            "; ".join(parts),
            expected=f"the node's GPUs: {', '.join(sorted(outside))}",
            evidence=(
                Evidence("nvidia-smi -L, inside", seen.listing),
                Evidence("nvidia-smi -L, outside", live.outside.listing if live.outside is not None else ""),
            ),
            remedy=Remedy("What the request brings is not what the node has: make the CDI spec anew, then run again."),
        )
    return answers


@check("live.isolation", title="A container that asks for no GPU sees none", needs=["live.image"])
def isolation(live: Live) -> Answer:
    """The same container without its request gets no GPU, by NVIDIA's runtime too.

    What: the route's command or pod without the request; inside no GPU's device node can be opened, and nvidia-smi
    lists none. A privileged container sees every device of the node by containerd's own rule: that is reported, and
    no fault.
    Why: where every container gets every GPU, requests mean nothing: an image that sets NVIDIA_VISIBLE_DEVICES, a
    runtime that treats an unset variable as `all`, or a CDI annotation for everybody.
    Fix: let the runtime's configuration give GPUs on request alone.
    References: NVIDIA's docs on NVIDIA_VISIBLE_DEVICES (unset or void: no GPU); containerd
    privileged_without_host_devices (docs/cri/config.md).
    """
    answers: dict[str, Outcome] = {}
    for route in ROUTES:
        ran = live.without_request(route)
        command = f"{ROUTES[route].command}, without the request"
        if ran.seen is None:
            answers[route] = unknown(
                f"the container without a request did not come to its end: {one_line(ran.text, 300) or ran.state}",
                evidence=(Evidence(command, ran.text or "(nothing was said)"),),
            )
        elif ran.seen.sees_gpus:
            what = [*ran.seen.uuids, *ran.seen.gpu_nodes]
            answers[route] = failed(
                f"a container that asks for no GPU sees {', '.join(what)}",
                expected="no GPU without a request",
                evidence=(Evidence(command, ran.text),),
                remedy=Remedy(
                    "Something gives every container its GPUs: look for NVIDIA_VISIBLE_DEVICES in the image and in the "
                    "handler's base_runtime_spec, and for CDI devices that are added for all."
                ),
            )
        else:
            answers[route] = passed(f"no GPU without a request{_privileged(live)}")
    return answers


def _privileged(live: Live) -> str:
    section = live.section("ctr.privileged")
    seen = probe.parse(section.data) if section is not None else None
    if seen is None:
        return ""
    return f"; a privileged container sees {', '.join(seen.gpu_nodes) or 'none'}, as it may"
