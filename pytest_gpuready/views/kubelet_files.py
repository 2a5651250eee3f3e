"""The files that a kubelet is configured by: YAML, JSON, kubeadm's environment file and MicroK8s' arguments."""

from __future__ import annotations

import contextlib
import posixpath
import re
import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from pytest_gpuready.model import Undetermined, Where
from pytest_gpuready.views.platform import Process


@dataclass(frozen=True)
class Setting:
    """A setting of the kubelet: its value, and the place or the process that says it."""

    value: str
    source: str
    where: Where | None = None


def in_env(text: str, name: str, path: str) -> Setting | None:
    """A flag in KUBELET_KUBEADM_ARGS="--a=b --c=d" of kubeadm-flags.env."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("KUBELET_KUBEADM_ARGS="):
            with contextlib.suppress(ValueError):
                words = shlex.split(" ".join(shlex.split(line.partition("=")[2])))
                value = Process(0, "kubelet", None, tuple(words), None, None).option(f"--{name}")
                if value is not None:
                    return Setting(value, path, Where(path, number))
    return None


def in_args(text: str, name: str, path: str) -> Setting | None:
    """A flag in MicroK8s' file of arguments; the snap's own folders are written as variables there."""
    revision = posixpath.dirname(posixpath.dirname(path))
    found = None
    for number, line in enumerate(text.splitlines(), 1):
        flag, _, value = line.strip().partition("=")
        if flag == f"--{name}":
            plain = value.strip("\"'")
            for variable, folder in (("SNAP_DATA", revision), ("SNAP_COMMON", "/var/snap/microk8s/common")):
                plain = plain.replace(f"${{{variable}}}", folder).replace(f"${variable}", folder)
            found = Setting(plain, path, Where(path, number))
    return found


class _Loader(yaml.BaseLoader):
    """Plain texts, lists and mappings: nothing is constructed, and an alias, which can grow without end, is refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node of the document that is no alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def documents(path: str, text: str) -> list[Any]:
    """The documents of a YAML or JSON file, every scalar as text. `Undetermined` where it is neither."""
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Undetermined(f"{path} cannot be read: it is no plain YAML") from None


def mapping(path: str, text: str) -> dict[str, Any]:
    """A kubelet's configuration; an empty file says nothing."""
    # JSON may be indented by tabs, which YAML forbids.
    found = documents(path, text.replace("\t", "  ") if text.lstrip().startswith("{") else text)
    if not found or found[0] in (None, ""):
        return {}
    if not isinstance(found[0], dict):
        raise Undetermined(f"{path} is no configuration of a kubelet's")
    return found[0]


def line_of(text: str, key: str) -> int | None:
    """The line (from 1) that sets a top-level key."""
    pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*:")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), None)
