"""What a containerd would load: the answer of `load.load`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

CriState = Literal["serving", "failed", "not loaded", "daemon exits"]

#: Why a setting has no effect. `replaced`: a later file or table has it. `table-replaced`: an import replaces the whole
#: table of the plugin. `migrated`: containerd drops it in its migration. `disabled`: its plugin is. `not-imported`: no
#: `imports` names its file. `unread`: containerd reads nothing there.
IneffectiveKind = Literal["replaced", "table-replaced", "migrated", "disabled", "not-imported", "unread"]

DEFAULT_CONFIG = "/etc/containerd/config.toml"
DEFAULT_ADDRESS = "/run/containerd/containerd.sock"


class Where(NamedTuple):
    """A place in a file of the node; `line` counts from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Refusal:
    """Why a daemon, or its CRI plugin, does not start: containerd's words, and where what it stumbles over stands."""

    text: str
    path: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Handler:
    """A runtime handler as the CRI plugin has it.

    `binary_name` and `systemd_cgroup` are what containerd's decoder makes of the options when a container starts; None
    is "not set", for `binary_name` also the empty string. `options_error` is its message where it cannot decode them.
    `runtime` is what the legacy type ``io.containerd.runtime.v1.linux`` runs instead of `binary_name`. A `where` of
    None is a built-in default.
    """

    name: str
    runtime_type: str | None
    binary_name: str | None = None
    systemd_cgroup: bool | None = None
    runtime_path: str | None = None
    runtime: str | None = None
    options_error: str | None = None
    where: Where | None = None
    runtime_type_where: Where | None = None
    binary_name_where: Where | None = None
    systemd_cgroup_where: Where | None = None
    runtime_path_where: Where | None = None
    runtime_where: Where | None = None


@dataclass(frozen=True)
class Ineffective:
    """A setting without effect: where it stands, its dotted key, why (`reason` for people), and what took its place."""

    where: Where
    key: str
    reason: str
    by: Where | None = None
    kind: IneffectiveKind = "unread"

    @property
    def why(self) -> str:
        """The reason, with what took its place."""
        return f"{self.reason} {self.by}" if self.by else self.reason

    def __str__(self) -> str:
        if self.key == self.where.path:
            return f"{self.key}: {self.reason}"
        return f"{self.key} set at {self.where}, {self.why}"


class Unknown(NamedTuple):
    """A field of `Loaded` that files alone do not decide, and why; `everything` is beyond what is modelled."""

    field: Literal["everything", "loads", "cri_state"]
    why: str

    def __str__(self) -> str:
        return f"{self.field} ({self.why})"


@dataclass(frozen=True)
class Deprecation:
    """Something this configuration uses that containerd would list as deprecated, by its id."""

    id: str
    where: Where | None


@dataclass(frozen=True)
class Loaded:
    """What the daemon of `version` makes of the files.

    `version` is the version used, `assumed` says that it was not given or is not modelled. `config_versions` has the
    ``version`` that each file declares (0: none), `config_version` the one that counts. `imports` are the files read,
    in order, the main file first. `effective` has every setting that the daemon and its plugins end up with, built-in
    defaults included, by plugin; `wheres` the place of each that a file sets, by dotted key. `unknown` lists what could
    not be decided, in words, and `by_node` what of it files alone do not decide.
    """

    version: str
    release: str
    assumed: bool
    loads: bool
    cri_state: CriState
    error: Refusal | None = None
    cri_error: Refusal | None = None
    handlers: dict[str, Handler] = field(default_factory=dict)
    default_runtime: str | None = None
    default_runtime_where: Where | None = None
    cdi_enabled: bool | None = None
    cdi_enabled_where: Where | None = None
    cdi_spec_dirs: tuple[str, ...] = ()
    cdi_spec_dirs_where: Where | None = None
    sandbox_image: str | None = None
    sandbox_image_where: Where | None = None
    address: str = DEFAULT_ADDRESS
    address_where: Where | None = None
    config_version: int | None = None
    config_versions: dict[str, int] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    disabled_plugins: tuple[str, ...] = ()
    required_plugins: tuple[str, ...] = ()
    ineffective: tuple[Ineffective, ...] = ()
    deprecations: tuple[Deprecation, ...] = ()
    unknown: tuple[str, ...] = ()
    by_node: tuple[Unknown, ...] = ()
    effective: dict[str, Any] = field(default_factory=dict)
    wheres: dict[str, Where] = field(default_factory=dict)

    @property
    def cri_enabled(self) -> bool:
        """The CRI service answers."""
        return self.cri_state == "serving"

    @property
    def undecided(self) -> bool:
        """These files are beyond what is modelled: no field says anything."""
        return any(item.field == "everything" for item in self.by_node)

    def plugin_table(self, uri: str) -> dict[str, Any]:
        """All settings of one plugin as it has them, built-in defaults included; empty where it is not loaded."""
        table: dict[str, Any] = self.effective.get("plugins", {}).get(uri, {})
        return table
