"""Known vulnerabilities of the toolkit and of containerd, and the upstream releases that fixed them.

Only rows whose fixed releases stand in the project's own release notes or NVIDIA's bulletins are here. The table is of
`DATE`: what was published later is not in it. Floors are upstream's; distributions that backport keep the old number.
"""

from __future__ import annotations

from dataclasses import dataclass

#: When this table was made (ISO date).
DATE = "2026-08-22"

Release = tuple[int, ...]


@dataclass(frozen=True)
class Advisory:
    """A vulnerability: what it allows, the fixed release of each release line, and where that is said.

    A release line that `fixed` does not name is not judged: it was not affected, or nobody fixed it there. One line
    with the name () stands for all of them. `needs` is a release from which on it was there at all.
    """

    id: str
    what: str
    fixed: tuple[tuple[Release, Release], ...]
    source: str
    since: Release = ()

    def hits(self, version: Release) -> bool:
        """The release is older than the fix in its line, and not older than the fault."""
        if version < self.since:
            return False
        return any(version[: len(line)] == line and version < floor for line, floor in self.fixed)


def _line(*floors: Release) -> tuple[tuple[Release, Release], ...]:
    """Fixed releases by their release line, which is the first two numbers of each."""
    return tuple((floor[:2], floor) for floor in floors)


#: nvidia-container-toolkit and libnvidia-container, which share versions and fixes.
TOOLKIT: tuple[Advisory, ...] = (
    Advisory(
        "CVE-2024-0132, CVE-2024-0133",
        "a container's files can be swapped while it is made, which opens the host (not in CDI mode)",
        (((), (1, 16, 2)),),
        "NVIDIA bulletin 5582",
    ),
    Advisory(
        "CVE-2024-0135, CVE-2024-0136, CVE-2024-0137",
        "an image can have host files mounted and the host's namespaces reached",
        (((), (1, 17, 1)),),
        "NVIDIA bulletin 5599; NVIDIA/k8s-device-plugin issue 1137",
    ),
    Advisory(
        "CVE-2025-23359",
        "the fix of CVE-2024-0132 can be bypassed",
        (((), (1, 17, 4)),),
        "NVIDIA bulletin 5616; toolkit CHANGELOG 1.17.4",
    ),
    Advisory(
        "CVE-2025-23266",
        "an image runs its own code as root on the host by the enable-cuda-compat hook (NVIDIAScape)",
        (((), (1, 17, 8)),),
        "NVIDIA bulletin 5659; microsoft/azurelinux pull request 14382",
    ),
    Advisory(
        "CVE-2025-23267",
        "an image can have the update-ldcache hook follow its links",
        (((), (1, 17, 8)),),
        "NVIDIA bulletin 5659",
    ),
)

#: The one that a setting keeps off: features.disable-cuda-compat-lib-hook.
MITIGATED_BY_HOOK = "CVE-2025-23266"

CONTAINERD: tuple[Advisory, ...] = (
    Advisory(
        "CVE-2022-23648",
        "an image's volumes can show any file of the host",
        _line((1, 4, 13), (1, 5, 10), (1, 6, 1)),
        "containerd GHSA-crp2-qrr5-8pq7",
    ),
    Advisory(
        "CVE-2024-40635",
        "a user number that overflows runs as root",
        _line((1, 7, 27), (2, 0, 4)),
        "containerd GHSA-265r-hfxg-fhmg",
    ),
    Advisory(
        "CVE-2024-25621, CVE-2025-64329",
        "its folders can be read by all users; attaching to containers leaks memory",
        _line((1, 7, 29), (2, 0, 7), (2, 1, 5)),
        "containerd release notes 1.7.29, 2.0.7, 2.1.5",
    ),
    Advisory(
        "CVE-2025-47290",
        "unpacking an image can change the host's files",
        _line((2, 1, 1)),
        "containerd release notes 2.1.1",
    ),
    Advisory(
        "CVE-2026-35469",
        "streams to containers can exhaust memory",
        _line((1, 7, 31), (2, 2, 3)),
        "containerd release notes 1.7.31, 2.2.3",
    ),
    Advisory(
        "CVE-2026-46680",
        "see the release notes",
        _line((1, 7, 32), (2, 2, 4), (2, 3, 1)),
        "containerd release notes 1.7.32, 2.2.4, 2.3.1",
    ),
    Advisory(
        "CVE-2026-47262, CVE-2026-53488",
        "see the release notes",
        _line((1, 7, 33), (2, 2, 5), (2, 3, 2)),
        "containerd release notes 1.7.33, 2.2.5, 2.3.2",
    ),
    Advisory(
        "CVE-2026-50195, CVE-2026-53489, CVE-2026-53492",
        "restoring a checkpoint can inject devices and more",
        _line((2, 2, 5), (2, 3, 2)),
        "containerd release notes 2.2.5, 2.3.2",
    ),
)


def hits(table: tuple[Advisory, ...], version: Release) -> list[Advisory]:
    """The advisories that a release is open to."""
    return [advisory for advisory in table if advisory.hits(version)]
