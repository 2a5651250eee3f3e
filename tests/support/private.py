"""A private node: a real containerd, looked at and typed at for real, in namespaces of its own on this machine.

It has its own /etc, /usr/bin, /run, /var/lib, processes and (empty) network; its files end with it. `systemctl` is a
stand-in of a few lines that starts and restarts the daemon and says of its unit what systemd would; it cannot show what
systemd itself does (tests/lab does). NVIDIA's runtime is a script that only is there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd_api.answers import parse_answer
from pytest_gpuready.containerd_api.ask import STATUS_PATH, status_command
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.preamble import preamble
from pytest_gpuready.node.transport import Reply
from pytest_gpuready.views import Views
from tests.containerd import referee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from pytest_gpuready.node.facts import Facts
    from pytest_gpuready.report.model import Finding, NodeReport

SOCKET = "/run/containerd/containerd.sock"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RUNTIME = "/usr/bin/nvidia-container-runtime"

_INIT = r"""
set -e
place=$1; shift
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs "$place/ns"
cd "$place/ns"
mkdir -p .up/usr/bin
cp "$@" "$place/bin"/* .up/usr/bin
for folder in /etc /usr/bin /usr/local /var/lib; do
  mkdir -p ".up$folder" ".work$folder"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$PWD/.up$folder,workdir=$PWD/.work$folder" "$folder"
done
rm -rf /etc/containerd /etc/cni /etc/cdi /etc/kubernetes /etc/nvidia-container-runtime /etc/rancher /etc/k0s
rm -rf /usr/local/nvidia /var/lib/containerd /var/lib/rancher /var/lib/kubelet
cp -a "$place/etc" /etc/containerd
mkdir run opt containerd
mount --bind run /run
mount --bind opt /opt
mkdir -p /run/netns /run/systemd/system /run/lock /var/lib/containerd
mount --bind containerd /var/lib/containerd
ip link set lo up 2>/dev/null || true
cd /
echo up >"$place/up"
while :; do sleep 60; done
"""

_SYSTEMCTL = r"""#!/bin/sh
# Stands for systemctl with one service, containerd, that is started when it says it has booted (Type=notify).
log=/run/containerd.log
alive() { [ -s /run/containerd.pid ] && kill -0 "$(cat /run/containerd.pid)" 2>/dev/null; }
stop() {
  alive || return 0
  kill "$(cat /run/containerd.pid)"
  for _ in $(seq 500); do alive || break; sleep 0.02; done
  rm -f /run/containerd.pid
}
start() {
  alive && return 0
  : >$log
  cd /
  setsid containerd $(cat /etc/containerd.args 2>/dev/null) </dev/null >>$log 2>&1 &
  echo $! >/run/containerd.pid
  for _ in $(seq 1000); do
    grep -q 'containerd successfully booted' $log && return 0
    alive || { echo 'Job for containerd.service failed.' >&2; rm -f /run/containerd.pid; return 1; }
    sleep 0.02
  done
}
action=$1; shift
case $action in
show)
  while [ "$1" != -- ]; do shift; done; shift
  for unit; do
    echo "Id=$unit"
    if [ "$unit" = containerd.service ]; then
      printf 'LoadState=loaded\nUnitFileState=enabled\nNeedDaemonReload=no\nConditionResult=yes\n'
      printf 'FragmentPath=/lib/systemd/system/containerd.service\n'
      line="/usr/bin/containerd $(cat /etc/containerd.args 2>/dev/null)"
      printf 'ExecStart={ path=/usr/bin/containerd ; argv[]=%s ; ignore_errors=no ; pid=0 }\n' "$line"
      if alive; then
        printf 'ActiveState=active\nSubState=running\nResult=success\nMainPID=%s\n' "$(cat /run/containerd.pid)"
      else printf 'ActiveState=failed\nSubState=failed\nResult=exit-code\nMainPID=0\n'; fi
    else
      printf 'LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n'
    fi
    echo
  done ;;
stop) stop ;;
start|enable) start ;;
restart) stop; start ;;
*) echo "systemctl (stand-in): $action?" >&2; exit 1 ;;
esac
"""


@dataclass
class PrivateNode:
    """A containerd of a version of `referee.binaries` with these files below /etc/containerd; a context manager."""

    version: str
    files: dict[str, str] = field(default_factory=dict)
    args: str = ""
    #: Let busybox' sed and tee be the node's.
    busybox: bool = False
    _place: str = ""
    _holder: subprocess.Popen[bytes] | None = None
    _init: int = 0

    def __enter__(self) -> Self:
        self._place = tempfile.mkdtemp(prefix="gpuready-")
        place = Path(self._place)
        for name in ("ns", "etc", "bin"):
            (place / name).mkdir()
        programs = {"systemctl": _SYSTEMCTL, "nvidia-container-runtime": '#!/bin/sh\nexec runc "$@"\n'}
        for name, text in programs.items():
            (place / "bin" / name).write_text(text)
            (place / "bin" / name).chmod(0o755)
        home = Path(referee.binaries()[self.version]).parent
        copied = [
            str(home / name) for name in ("containerd", "ctr", "containerd-shim-runc-v2") if (home / name).exists()
        ]
        argv = ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "sh", "-c", _INIT, "sh", self._place, *copied]
        log = (place / "log").open("wb")
        with log:
            self._holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not (place / "up").exists():
            assert self._holder.poll() is None, (place / "log").read_text()
            assert time.monotonic() < end, (place / "log").read_text()
            time.sleep(0.01)
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self._init = int(children[0])
        if self.busybox:
            self.run("for tool in sed tee mkdir mv; do ln -sf $(command -v busybox) /usr/bin/$tool; done", check=True)
        if self.args:
            self.write("/etc/containerd.args", self.args)
        for path, data in self.files.items():
            self.write(path, data)
        self.run("systemctl start containerd")
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.send_signal(signal.SIGKILL)
            self._holder.wait()
        shutil.rmtree(self._place, ignore_errors=True)

    # ------------------------------------------------------------------ its shell and files

    def _enter(self, *argv: str) -> list[str]:
        inside = ["nsenter", "-t", str(self._init), "-m", "-n", "-p", "--", "env", "-i", f"PATH={PATH}", "HOME=/root"]
        return [*inside, *argv]

    def run(self, command: str, *, check: bool = False, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Type a line."""
        done = subprocess.run(
            self._enter("sh", "-c", command), input=stdin, capture_output=True, check=False, timeout=120
        )
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done

    def write(self, path: str, data: str | bytes) -> None:
        """Write a file of the node's."""
        raw = data.encode() if isinstance(data, str) else data
        self.run(f"mkdir -p '{os.path.dirname(path)}' && cat >'{path}'", check=True, stdin=raw)  # noqa: PTH120

    def read(self, path: str) -> bytes:
        """A file of the node's."""
        return self.run(f"cat '{path}'", check=True).stdout

    def type(self, commands: Sequence[str]) -> None:
        """Type a remedy's commands as they are printed, each as one paste."""
        for command in commands:
            self.run(command, check=True)
        self.settle()

    def install(self, version: str) -> None:
        """Put another version's programs in the place of those there; the daemon runs on."""
        home = Path(referee.binaries()[version]).parent
        for name in ("containerd", "ctr", "containerd-shim-runc-v2"):
            if (home / name).exists():
                self.write(f"/usr/bin/{name}.new", (home / name).read_bytes())
                self.run(f"chmod +x /usr/bin/{name}.new && mv /usr/bin/{name}.new /usr/bin/{name}", check=True)

    def restart(self) -> None:
        """Restart the daemon as its service; it may fail to come up."""
        self.run("systemctl restart containerd")
        self.settle()

    @property
    def log(self) -> str:
        """What the daemon said since its last start."""
        return self.run("cat /run/containerd.log").stdout.decode("utf-8", "replace")

    # ------------------------------------------------------------------ what its daemon says

    def _status(self) -> Any:
        return parse_answer(
            subprocess.run(self._enter(*status_command(SOCKET)), capture_output=True, check=False).stdout
        )

    def settle(self) -> None:
        """Wait until CRI is up or known not to come: it says that it is not initialized for a moment."""
        for _ in range(200):
            answer = self._status()
            starting = answer.cri is not None and "not initialized" in (answer.cri.refusal or "")
            if answer.state not in ("timeout", "broken") and not starting:
                return
            time.sleep(0.02)

    def served(self) -> dict[str, Any] | None:
        """The configuration that CRI has loaded (`info.config` of its Status); None where CRI is not served."""
        self.settle()
        call = self._status().call(STATUS_PATH)
        if call is None or not call.message:
            return None
        entries = [dict(referee._message(entry)) for number, entry in referee._message(call.message) if number == 2]
        info = {entry.get(1, b"").decode(): entry.get(2, b"") for entry in entries}
        loaded: dict[str, Any] = json.loads(info["config"])
        return loaded

    # ------------------------------------------------------------------ judging it

    def facts(self, settings: Settings | None = None) -> Facts:
        """What the product gathers from it, by the script that it sends to every node."""
        return gather(_Inside(self), "private", lambda facts: Views(facts, settings or Settings()).wants(), 60)

    def judge(self, settings: Settings | None = None) -> NodeReport:
        """The report on it."""
        for _ in range(5):
            report = judge(self.facts(settings), settings or Settings())
            # On a machine that is short of time the daemon is late: that is not what is tried here.
            if report.findings["containerd.running"].status != "unknown":
                break
        return report

    def finding(self, check: str, settings: Settings | None = None) -> Finding:
        """One check's."""
        return self.judge(settings).findings[f"containerd.{check}"]


class _Inside:
    """A shell in the node's namespaces; see `pytest_gpuready.node.transport.Transport`."""

    nonce = "9e3779b97f4a7c15f39cc060"
    greeted = True
    complaint = ""
    sudo = by_rule = False

    def __init__(self, node: PrivateNode) -> None:
        self.node = node

    def send(self, script: str, deadline: float) -> Reply:
        """Each round is a shell of its own."""
        functions = preamble(self.nonce)
        whole = script if script.startswith(functions) else functions + script
        done = subprocess.run(
            self.node._enter("sh", "-s"),
            input=whole.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
            timeout=max(1, deadline - time.monotonic()),
        )
        return Reply(done.stdout, complete=done.returncode == 0)

    def close(self) -> None:
        """Nothing is open."""
