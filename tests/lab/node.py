"""A node: a booted systemd with its own sshd, containerd and network, on this machine.

Its root is an overlay of cached layers (see base.py) under a tmpfs; it is reached over SSH at an address that exists
between this machine and the node only, and, without SSH, by entering its namespaces. A supervisor (boot.sh) holds
each node: when the owner is gone, however it went, so is the node. What is left in the lab's run folder after a crash
of the supervisor too is cleaned away by `reap`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tests.lab import base, hardware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

RUN = Path("/run/gpuready-lab")
"""One folder per node; its name is the node's, and claims its address."""

NETWORK = "198.18.213"
"""From the range that RFC 2544 sets aside for tests. .1 is this machine, .N is node N."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BootError(Exception):
    """A node did not come up; the text has the last lines of its console."""


@dataclass(frozen=True)
class Owner:
    """A process, told from a later one of the same pid by its start."""

    pid: int
    start: str

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return who has this pid now; the start is empty where nobody does."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return cls(pid, "")
        return cls(pid, stat.rpartition(")")[2].split()[19])

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return bool(self.start) and Owner.of(self.pid) == self


class Node:
    """One node. `start` it, use it, `stop` it; or use it as a context manager.

    Args:
        generation: containerd's: "1.6", "1.7" or "2.x".
        ready: with a driver, GPUs and a configured toolkit; else a machine with containerd as Debian configures it.
        detached: it outlives this process, until `stop` or ``python -m tests.lab down``.
        hostname: what the node calls itself; default: its name in the lab.
        distribution: what its packages are like: "debian" (apt) or "fedora" (dnf, an rpm database).
    """

    def __init__(
        self,
        generation: str,
        *,
        ready: bool = True,
        detached: bool = False,
        hostname: str = "",
        distribution: str = "debian",
    ) -> None:
        self.generation, self.ready, self.detached = generation, ready, detached
        self.distribution = distribution
        self.tree = base.tree(generation, ready=ready, distribution=distribution)
        self.number, self.folder = _claim()
        self.name = self.folder.name
        self.hostname = hostname or self.name
        self.address = f"{NETWORK}.{self.number}"
        self.identity = base.identity()
        self.ssh_config = self.folder / "ssh_config"
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        """Start the node."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the node."""
        self.stop()

    @property
    def containerd_version(self) -> str:
        """The version of Debian's containerd package on the node, such as ``1.7.24~ds1-6+deb13u1``."""
        return self.tree.containerd

    @property
    def ssh_spec(self) -> str:
        """The node as a testinfra host spec, for root; use it with `ssh_config` or `identity`."""
        return f"ssh://root@{self.address}"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the node's key."""
        return self.folder / "known_hosts"

    @property
    def supervisor(self) -> int:
        """The pid of the process that holds the node: it sees the overlay's layers; 0 where the node is down."""
        return self._supervisor.pid if self._supervisor else 0

    def groups(self) -> list[Path]:
        """The control groups that all of the node's processes are in."""
        return _groups(self.folder)

    @property
    def pid(self) -> int:
        """The pid, on this machine, of the node's first process."""
        return self._init

    def start(self) -> Self:
        """Boot the node and wait until SSH and containerd answer; with ``ready``, the hardware is there too.

        Raises:
            BootError: it did not come up.
        """
        try:
            self._boot()
            hardware.settle(self)
            if self.ready:
                hardware.attach(self)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the node and whatever runs on it; nothing of it is left on this machine."""
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reset(self) -> Self:
        """Put the node back as it was after `start`: booted anew over the untouched layers, at the same address."""
        self._end()
        self.folder.mkdir(exist_ok=True)
        return self.start()

    def run(
        self, command: str, *, check: bool = False, timeout: float = 60, user: str = "root", stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the node, not over SSH: by entering its namespaces. Output is captured as text.

        Raises:
            subprocess.CalledProcessError: with ``check``, it did not end with 0.
            subprocess.TimeoutExpired: it ran longer than ``timeout`` seconds.
        """
        environment = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb"]
        shell = ["sh", "-c", command]
        if user != "root":
            shell = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *shell]
        done = subprocess.run(
            [*self.enter(), *environment, *shell],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            input=stdin,
            timeout=timeout,
        )
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done

    def ssh(self, command: str, *, user: str = "root", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH as root, ``ops`` (who may use sudo) or ``guest`` (who may not)."""
        argv = ["ssh", "-F", str(self.ssh_config), f"{user}@{self.address}", "--", command]
        return subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file of the node, making the folders above it."""
        quoted = shlex.quote(path)
        folder = shlex.quote(str(PurePosixPath(path).parent))
        script = f"mkdir -p {folder} && cat >{quoted} && chmod {mode:o} {quoted}"
        raw = content.encode() if isinstance(content, str) else content
        subprocess.run([*self._enter("-m"), "env", "-i", f"PATH={PATH}", "sh", "-c", script], input=raw, check=True)

    def read(self, path: str) -> str:
        """Return the text of a file of the node."""
        return self.run(f"cat {shlex.quote(path)}", check=True).stdout

    def restart_containerd(self) -> None:
        """Restart the daemon as a user would, and wait until it serves."""
        self.run("systemctl restart containerd", check=True)

    def shape(self, netem: str) -> None:
        """Shape what this machine sends to the node, such as ``delay 25ms`` or ``loss 3%``; ``""`` ends it."""
        device = f"ve-{self.name}"
        subprocess.run(["tc", "qdisc", "del", "dev", device, "root"], check=False, capture_output=True)
        if netem:
            base.run("tc", "qdisc", "add", "dev", device, "root", "netem", *netem.split())

    def console(self) -> str:
        """Return the last lines of the node's console."""
        with contextlib.suppress(OSError):
            return "\n".join((self.folder / "console").read_text(errors="replace").splitlines()[-20:])
        return ""

    def enter(self) -> list[str]:
        """The words before a command that make it run on the node."""
        return self._enter("-m", "-u", "-i", "-n", "-p", "-C")

    def _enter(self, *namespaces: str) -> list[str]:
        return ["nsenter", "-t", str(self._init), *namespaces, "--"]

    def _boot(self) -> None:
        (self.folder / "fs").mkdir(exist_ok=True)
        self._describe()
        lowers = ":".join(map(str, reversed(self.tree.layers)))
        how = "detached" if self.detached else "attached"
        with (self.folder / "console").open("wb") as console:
            self._supervisor = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", str(base.HERE / "boot.sh"), self.name,
                 str(self.folder), lowers, self.hostname, how],
                stdin=subprocess.DEVNULL if self.detached else subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,  # Ctrl-C is for the owner, who then stops the node
            )  # fmt: skip
        self._describe()
        self._connect()
        for late in _until(60):
            if self._answers() and self.run("systemctl is-system-running --wait").stdout in {"running\n", "degraded\n"}:
                break
            if late or self._supervisor.poll() is not None:
                raise BootError(f"{self.name} did not come up:\n{self.console()}")

    def _connect(self) -> None:
        """Find the node's first process and give both ends of its link an address; the link goes with the node."""
        device = f"ve-{self.name}"
        for late in _until(60):
            self._init = _init_of(self.folder)
            if (
                self._init
                and Path("/sys/class/net", device).exists()
                and not subprocess.run(
                    [*self._enter("-n"), "ip", "link", "show", "host0"], check=False, capture_output=True
                ).returncode
            ):
                break
            if late or (self._supervisor and self._supervisor.poll() is not None):
                raise BootError(f"{self.name} did not start:\n{self.console()}")
        # Routes, not a bridge: nothing is shared between nodes, and nothing is left when one goes.
        ours = (
            f"addr add {NETWORK}.1/32 dev {device}\nlink set {device} up\n"
            f"route add {self.address}/32 dev {device} src {NETWORK}.1\n"
        )
        theirs = (
            f"addr add {self.address}/32 dev host0\nlink set lo up\nlink set host0 up\n"
            f"route add {NETWORK}.1/32 dev host0\nroute add {NETWORK}.0/24 via {NETWORK}.1 dev host0\n"
        )
        for prefix, batch in (([], ours), (self._enter("-n"), theirs)):
            subprocess.run([*prefix, "ip", "-batch", "-"], input=batch, text=True, check=True, capture_output=True)
        Path(f"/proc/sys/net/ipv4/conf/{device}/forwarding").write_text("1")  # from this node to other nodes

    def _answers(self) -> bool:
        """Whether sshd greets at the node's address."""
        with contextlib.suppress(OSError), socket.create_connection((self.address, 22), timeout=2) as link:
            link.settimeout(5)
            return link.recv(4) == b"SSH-"
        return False

    def _describe(self) -> None:
        """Write what others need to know of the node: how to log in, whose it is."""
        public = (self.tree.layers[0] / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"{self.address} {' '.join(public)}\n")
        self.ssh_config.write_text(
            f"Host {self.address} {self.name}\n  HostName {self.address}\n  User root\n  IdentityFile {self.identity}\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n  StrictHostKeyChecking yes\n"
            "  PasswordAuthentication no\n  ConnectTimeout 10\n  LogLevel ERROR\n"
        )
        holder = self._supervisor.pid if self.detached and self._supervisor else os.getpid()
        about = {
            "owner": asdict(Owner.of(holder)),
            "generation": self.generation,
            "containerd": self.tree.containerd,
            "address": self.address,
            "ready": self.ready,
            "detached": self.detached,
        }
        new = self.folder / "about.new"
        new.write_text(json.dumps(about))
        new.rename(self.folder / "about.json")

    def _end(self) -> None:
        supervisor, self._supervisor, self._init = self._supervisor, None, 0
        if supervisor is None:
            return
        if supervisor.stdin:
            supervisor.stdin.close()
        else:
            _take_down(self.folder)
        try:
            supervisor.wait(timeout=20)
        except subprocess.TimeoutExpired:
            _take_down(self.folder)
            supervisor.wait(timeout=20)


def _claim() -> tuple[int, Path]:
    """Take the lowest free number: a folder can be made by one only."""
    RUN.mkdir(mode=0o755, parents=True, exist_ok=True)
    reap()
    for number in range(2, 255):
        folder = RUN / f"gpuready{number}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return number, folder
    raise base.Unavailable(f"all addresses of the lab are taken: see {RUN}")


def about(folder: Path) -> dict[str, object]:
    """Return what `Node` wrote of itself in its folder, or nothing."""
    try:
        found = json.loads((folder / "about.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def nodes() -> Iterator[Path]:
    """Yield the folders of all nodes on this machine, whoever started them."""
    yield from sorted(RUN.glob("gpuready*"), key=lambda path: int(path.name.removeprefix("gpuready")))


def reap() -> list[str]:
    """Clean away nodes whose owner is gone; return their names."""
    gone = []
    for folder in nodes():
        owner = about(folder).get("owner")
        if isinstance(owner, dict):
            if Owner(int(owner["pid"]), str(owner["start"])).alive:
                continue
        elif time.time() - folder.stat().st_mtime < 60:
            continue  # it is being made
        take_down(folder)
        gone.append(folder.name)
    return gone


def take_down(folder: Path) -> None:
    """End a node that this process has no handle of, by its folder, and clean up after it."""
    _take_down(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _take_down(folder: Path) -> None:
    """Do what boot.sh does at its end, for one that could not: end all that is in the node's control groups."""
    for group in _groups(folder):
        for late in _until(10):
            pids = [pid for procs in group.rglob("cgroup.procs") for pid in procs.read_text().split()]
            if late or not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for below, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(below)  # noqa: PTH106
    subprocess.run(["ip", "link", "delete", f"ve-{folder.name}"], check=False, capture_output=True)


def _groups(folder: Path) -> list[Path]:
    return [
        group for pattern in ("", "*/") for group in Path("/sys/fs/cgroup").glob(f"{pattern}gpuready-lab.{folder.name}")
    ]


def _init_of(folder: Path) -> int:
    """Return the pid of the node's first process: the child of its nspawn; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int((folder / "nspawn").read_text())
        if f"--directory={folder}/fs/root" in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return 0


def _until(seconds: float) -> Iterator[bool]:
    """Yield False every 10 ms, and True at last."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield False
        time.sleep(0.01)
    yield True
