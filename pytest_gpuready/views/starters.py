"""What containerd starts containers by: its shim, and the runc that the shim finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import SHORT, script
from pytest_gpuready.node.trust import USE

if TYPE_CHECKING:
    from pytest_gpuready.node.facts import Request

#: The program behind the runtime type io.containerd.runc.v2.
SHIM = "containerd-shim-runc-v2"

# containerd looks on its PATH, then beside its own program (ctd v1.7.34:runtime/v2/manager.go resolveRuntimePath).
_BODY = (
    f"""{USE}"""
    r"""
find() {
  IFS=:
  for d in $2; do
    case $d in /*) ;; *) continue ;; esac
    if [ -f "$d/$1" ] && [ -x "$d/$1" ]; then printf '%s\n' "$d/$1"; return; fi
  done
}
t=
if timeout 1 true 2>/dev/null; then t='timeout 4'; fi
printf 'shim %s\n' "$(find "$3" "$1:$2")"
r=$(find runc "$1")
printf 'runc %s\n' "$r"
if [ -n "$r" ]; then
  tx "$r"
  o=$($t "$r" --version 2>&1 </dev/null)
  c=$?
  printf '%s\n' "$o" | sed 's/^/> /'
  echo "rc $c"
fi
"""
)


@dataclass(frozen=True)
class Starters:
    """The paths that are found, "" for none; and what runc answered to `--version`, with its exit status."""

    shim: str
    runc: str
    said: str
    rc: int | None

    @property
    def broken(self) -> bool:
        """There is a runc that does not run: every runc says its version, an empty file says nothing."""
        return bool(self.runc) and self.rc is not None and (self.rc != 0 or not self.said.strip())


def request(path: str, folder: str) -> Request:
    """Look on the daemon's PATH, for the shim in the folder of its program too."""
    return script("runc and its shim", _BODY, path, folder, SHIM, limit=SHORT)


def read(text: str) -> Starters | None:
    """The answer; None where it is none."""
    lines = text.splitlines()
    fields = dict(line.partition(" ")[::2] for line in lines if not line.startswith(">"))
    if "shim" not in fields:
        return None
    said = "\n".join(line[2:] for line in lines if line.startswith(">"))
    rc = fields.get("rc", "")
    return Starters(fields["shim"], fields.get("runc", ""), said, int(rc) if rc.isdigit() and len(rc) < 5 else None)
