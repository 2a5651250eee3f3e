"""Known vulnerabilities: advisory, since a number alone says little of what a distribution has backported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready import advisories
from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.model import Evidence, Outcome, Undetermined, not_applicable, passed, warned
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.views.toolkit import numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.model import Remedy
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.platform import Platform
    from pytest_gpuready.views.toolkit import Package, Toolkit

#: Packages of containerd that carry upstream's releases as they are.
_UPSTREAM_PACKAGES = frozenset({"containerd.io"})


@check("toolkit.not-vulnerable", title="The toolkit has the known fixes", needs=["toolkit.installed"], advisory=True)
def toolkit_not_vulnerable(toolkit: Toolkit, platform: Platform, mend: Remedies) -> Outcome:
    """The toolkit is not older than the releases that fixed published vulnerabilities.

    What: its version against a table of NVIDIA's bulletins, which carries its date. A setting that keeps one off
    (features.disable-cuda-compat-lib-hook) counts. For a package that NVIDIA did not build, the distribution is to be
    asked.
    Why: several of them let an image take over the host.
    Fix: bring the toolkit up to date; with the GPU operator, the operator.
    References: nvidia.com/security, bulletins 5582, 5599, 5616, 5659.
    """
    path = toolkit.runtime_path
    text = toolkit.version_text_of(path)
    version = numbers(text)
    found = advisories.hits(advisories.TOOLKIT, version[:3])
    if toolkit.config_for("cri-handler").get("features", "disable-cuda-compat-lib-hook") is True:
        found = [advisory for advisory in found if advisory.id != advisories.MITIGATED_BY_HOOK]
    package = toolkit.owner(path)
    if found and package is not None and package.vendor and not package.is_nvidias:
        return not_applicable(_ask(package, platform))
    names = [name for name in toolkit.packages if "nvidia-container" in name]
    return _said(f"toolkit {text}", found, lambda: mend.packages.upgrade(*names) if names else mend.packages.toolkit())


@check(
    "containerd.not-vulnerable", title="containerd has the known fixes", needs=["containerd.installed"], advisory=True
)
def containerd_not_vulnerable(
    toolkit: Toolkit, containerd_live: ContainerdLive, platform: Platform, mend: Remedies
) -> Outcome:
    """Containerd is not older than the releases that fixed published vulnerabilities.

    What: the version on disk against a table of upstream's releases by release line, which carries its date.
    Distributions keep an old number and backport: for their packages they are to be asked, and the command is shown.
    Why: several of them let a container or an image reach the host.
    Fix: bring containerd up to date, then restart it.
    References: github.com/containerd/containerd/security/advisories and the release notes named in the evidence.
    """
    text = containerd_live.disk_version_text
    found = advisories.hits(advisories.CONTAINERD, numbers(text)[:3])
    package = toolkit.owner(containerd_live.executable)
    if package is not None:
        if found and package.name not in _UPSTREAM_PACKAGES:
            return not_applicable(_ask(package, platform))
        return _said(f"containerd {text}", found, lambda: mend.packages.upgrade(package.name))
    if found and not containerd_live.upstream_build and not containerd_live.flavour.embedded:
        return not_applicable(f"containerd {text} is no build of upstream's: ask who built it what it has backported")
    return _said(f"containerd {text}", found, lambda: mend.packages.by_hand("containerd", containerd_live.flavour.name))


def _said(what: str, found: list[advisories.Advisory], remedy: Callable[[], Remedy]) -> Outcome:
    if not found:
        return passed(f"{what}: nothing known against it on {advisories.DATE}")
    lines = "\n".join(f"{one.id}: {one.what} ({one.source})" for one in found)
    floor = ", ".join(sorted({_fixed(one) for one in found}))
    return warned(
        f"{what} is open to {', '.join(one.id for one in found)} (known on {advisories.DATE})",
        expected=f"the fixes of {floor}",
        evidence=(Evidence(f"advisories known on {advisories.DATE}", lines),),
        remedy=remedy(),
    )


def _fixed(advisory: advisories.Advisory) -> str:
    return " / ".join(".".join(map(str, floor)) for _, floor in advisory.fixed)


def _ask(package: Package, platform: Platform) -> str:
    """How to ask the distribution what it has backported."""
    name = one_line(package.name, 60)
    try:
        manager = platform.package_manager
    except Undetermined:
        manager = None
    if package.manager == "deb":
        how = f"apt-get changelog {name} | grep -o 'CVE-[0-9-]*' | sort -u"
    elif manager == "zypper":
        how = f"zypper list-patches --cve; rpm -q --changelog {name} | grep CVE"
    elif package.manager == "rpm":
        how = f"dnf updateinfo list --security {name}; rpm -q --changelog {name} | grep CVE"
    else:
        how = f"the security tracker of the distribution, for {name}"
    return f"{package} is the distribution's own build, which may have fixes that its number does not show: {how}"
