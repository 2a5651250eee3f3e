"""A fleet on one machine, for benchmarks/fleet.py: a network namespace with an address and an sshd per node.

The nodes answer on this machine's real files and on the /proc of the fleet (each sees the processes of all). What they
are not: machines of their own (all share these cores, with the controller too) with a kernel, disks and GPUs of their
own. Dead nodes are addresses that drop what comes.

Everything lives in namespaces that end with this process (see `alone`): whatever becomes of the benchmark, the kernel
takes links, processes and files away.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: 198.18.0.0/15 is set aside for benchmarks (RFC 2544): the lower half answers, of the upper one a part drops.
NODES, DEAD, LINK = "198.18", "198.19", "198.19.255"

#: By this the processes of a fleet know where its files are.
ALONE = "GPUREADY_FLEET"

#: Where the fleet's files are: a tmpfs that only these namespaces see.
PLACE = Path(f"/run/gpuready-fleet-{os.environ.get(ALONE, '')}")

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def alone() -> None:
    """Become process 1 of namespaces of one's own: networks, processes, mounts. Returns within them."""
    if os.environ.get(ALONE) and os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        PLACE.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(PLACE))
        _run("ip", "link", "set", "lo", "up")
        return
    lacking = [name for name in ("unshare", "nsenter", "ip", "mount", "ssh", "ssh-keygen") if not shutil.which(name)]
    lacking += [] if sshd_program() else ["sshd"]
    if os.geteuid() != 0 or lacking:
        sys.exit(f"benchmarks/fleet.py needs {', '.join(lacking) or 'root'}")
    os.environ[ALONE] = secrets.token_hex(4)
    within = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "--"]
    os.execvp(within[0], [*within, sys.executable, *sys.argv])  # noqa: S606 - no shell is wanted


def end() -> None:
    """End every process of these namespaces, and take the folder away."""
    assert os.getpid() == 1, "only in a process namespace of one's own may all be ended"
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    subprocess.run(["umount", "-l", str(PLACE)], check=False)
    with contextlib.suppress(OSError):
        PLACE.rmdir()


def sshd_program() -> str | None:
    """The server's program; it must be started by its full path."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: {done.stderr.strip()}")


def addresses(number: int, *, half: str = NODES) -> list[str]:
    """So many addresses of nodes, in order."""
    return [f"{half}.{one // 250}.{one % 250 + 1}" for one in range(number)]


def dead_addresses(number: int) -> list[str]:
    """So many addresses that drop what comes."""
    return addresses(number, half=DEAD)


@dataclass
class Fleet:
    """Running nodes. `config` is the ssh_config that reaches all, by their addresses."""

    number: int
    rtt: int
    config: Path = PLACE / "ssh_config"
    #: Seconds that it took to start them, and MB that they take while nobody is logged in (proportional set sizes).
    started_s: float = 0.0
    idle_mb: float = 0.0
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    holder: subprocess.Popen[bytes] | None = None
    line: subprocess.Popen[bytes] | None = None

    def cpu(self) -> float:
        """Seconds of CPU that all sessions used which are over."""
        ticks = 0
        for server in self.servers:
            # utime, stime, and those of children that were waited for: fields 14 to 17 of proc(5).
            words = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, words[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def settle(self) -> None:
        """Wait until no session is left, so that the next tool begins with none and CPU is counted."""
        self.end_strays()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if not any(_children(server.pid) for server in self.servers):
                return
            time.sleep(0.05)

    def end_strays(self) -> None:
        """End what a tool left behind (ansible's ssh masters): in this namespace orphans become our children."""
        own = {one.pid for one in (*self.servers, self.holder, self.line) if one is not None}
        for pid in set(_children(os.getpid())) - own:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def line_said(self) -> dict[str, float] | None:
        """What the delaying line cost since it was last asked: CPU seconds, packets, lateness in ms."""
        if self.line is None:
            return None
        assert self.line.stdin is not None
        assert self.line.stdout is not None
        self.line.stdin.write(b"\n")
        self.line.stdin.flush()
        said: dict[str, float] = json.loads(self.line.stdout.readline())
        return said


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@contextlib.contextmanager
def fleet(number: int, rtt: int) -> Iterator[Fleet]:
    """So many nodes behind a line of this round-trip time in ms; 0: a plain veth pair."""
    begun = time.monotonic()
    nodes = Fleet(number, rtt)
    # The nodes' network is that of a process which does nothing else.
    nodes.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        while _network(nodes.holder.pid) == _network(os.getpid()):
            time.sleep(0.01)
        nodes.line = _link(nodes.holder.pid, rtt)
        _keys(nodes.config)
        _serve(nodes)
        nodes.started_s = time.monotonic() - begun
        nodes.idle_mb = sum(_proportional(server.pid) for server in nodes.servers)
        yield nodes
    finally:
        for process in (*nodes.servers, nodes.line, nodes.holder):
            if process is not None:
                process.kill()
                process.wait()
        nodes.servers = []
        nodes.end_strays()


def _network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _inside(holder: int, *argv: str) -> list[str]:
    return ["nsenter", "-t", str(holder), "-n", "--", *argv]


def _link(holder: int, rtt: int) -> subprocess.Popen[bytes] | None:
    """Join the two networks: by a veth pair with netem or without delay, else by two tun devices and a process."""
    here, there = f"{LINK}.1", f"{LINK}.2"
    line = None
    if not rtt or _netem():
        _run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
        _run("ip", "link", "set", "there", "netns", str(holder))
        if rtt:
            delay = ["root", "netem", "delay", f"{rtt / 2}ms", "limit", "100000"]
            _run("tc", "qdisc", "add", "dev", "here", *delay)
            _run(*_inside(holder, "tc", "qdisc", "add", "dev", "there", *delay))
    else:
        ends = [_tun("here"), _tun("there")]
        _run("ip", "link", "set", "there", "netns", str(holder))
        line = subprocess.Popen(
            [sys.executable, __file__, str(rtt), *map(str, ends)],
            pass_fds=ends,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for descriptor in ends:
            os.close(descriptor)
    for name, address, run in (("here", here, []), ("there", there, _inside(holder))):
        _run(*run, "ip", "address", "add", f"{address}/30", "dev", name)
        _run(*run, "ip", "link", "set", name, "up", "txqueuelen", "10000")
    _run("ip", "route", "add", f"{NODES}.0.0/15", "via", there)
    _run(*_inside(holder, "ip", "link", "set", "lo", "up"))
    # Every address of the lower half is local there: none has to be added.
    _run(*_inside(holder, "ip", "route", "add", "local", f"{NODES}.0.0/16", "dev", "lo"))
    _run(*_inside(holder, "ip", "route", "add", "blackhole", f"{DEAD}.0.0/17"))
    return line


def _netem() -> bool:
    """Whether the kernel can delay packets itself."""
    if shutil.which("tc") is None:
        return False
    done = subprocess.run(
        ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], check=False, capture_output=True
    )
    if done.returncode == 0:
        _run("tc", "qdisc", "del", "dev", "lo", "root")
    return done.returncode == 0


def _tun(name: str) -> int:
    """A tun device; what is read from the descriptor was sent into it, what is written comes out of it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def _keys(config: Path) -> None:
    for name in ("key", "host"):
        if not (PLACE / name).exists():
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(PLACE / name))
    (PLACE / "known_hosts").write_text(f"{NODES}.* {(PLACE / 'host.pub').read_text()}")
    config.write_text(
        textwrap.dedent(f"""\
            User root
            IdentityFile {PLACE}/key
            IdentitiesOnly yes
            StrictHostKeyChecking yes
            UserKnownHostsFile {PLACE}/known_hosts
            GlobalKnownHostsFile /dev/null
            LogLevel ERROR
            """)
    )


def _serve(nodes: Fleet) -> None:
    """An sshd per node, at its own address."""
    assert nodes.holder is not None
    Path("/run/sshd").mkdir(exist_ok=True)
    (PLACE / "sshd_config").write_text(
        textwrap.dedent(f"""\
            Port 22
            HostKey {PLACE}/host
            AuthorizedKeysFile {PLACE}/key.pub
            PidFile none
            StrictModes no
            UsePAM no
            PermitRootLogin yes
            UseDNS no
            PrintMotd no
            LogLevel ERROR
            MaxStartups 100
            SetEnv HOME={PLACE}/home
            """)
    )
    program = sshd_program()
    assert program is not None
    with (PLACE / "sshd.log").open("wb") as log:
        for address in addresses(nodes.number):
            argv = _inside(nodes.holder.pid, program, "-D", "-e", "-f", str(PLACE / "sshd_config"))
            server = subprocess.Popen(
                [*argv, "-o", f"ListenAddress={address}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            nodes.servers.append(server)
    until = time.monotonic() + 60 + nodes.number / 4
    listening = _inside(nodes.holder.pid, "sh", "-c", "grep -c ' 0A ' /proc/net/tcp")
    while time.monotonic() < until:
        # /proc/net is that of whoever reads it.
        if int(subprocess.run(listening, capture_output=True, check=False).stdout or 0) >= nodes.number:
            return
        if any(server.poll() is not None for server in nodes.servers):
            break
        time.sleep(0.05)
    sys.exit(f"an sshd did not start: {(PLACE / 'sshd.log').read_text()[-500:]}")


def _proportional(pid: int) -> float:
    """MB of memory, what is shared counted in shares."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def delay(rtt: int, here: int, there: int) -> None:
    """Carry packets between two tun devices, each way half a round trip late: netem without its kernel module.

    It goes before all others for a core (nice -20): its packets are late when it is not run in time. A line on standard
    input is answered with what it cost since the last one.
    """
    with contextlib.suppress(OSError):
        os.nice(-20)
    poller = select.poll()
    queues: dict[int, collections.deque[tuple[float, bytes]]] = {here: collections.deque(), there: collections.deque()}
    for descriptor in (0, here, there):
        poller.register(descriptor, select.POLLIN)
    late: list[float] = []
    cpu = time.process_time()
    while True:
        now = time.monotonic()
        due = min((queue[0][0] for queue in queues.values() if queue), default=now + 1)
        # poll's unit is a millisecond: what is due within half of one goes now.
        for descriptor, _ in poller.poll(max(0, round((due - now) * 1000))):
            if descriptor == 0:
                if not os.read(0, 64):
                    return
                late.sort()
                said: dict[str, Any] = {"cpu": time.process_time() - cpu, "packets": len(late)}
                said |= (
                    {"late": late[len(late) // 2] * 1000, "late99": late[len(late) * 99 // 100] * 1000} if late else {}
                )
                print(json.dumps(said), flush=True)
                late, cpu = [], time.process_time()
                continue
            _take(descriptor, queues[there if descriptor == here else here], rtt / 2000)
        now = time.monotonic()
        for descriptor, queue in queues.items():
            while queue and queue[0][0] <= now + 0.0005:
                when, packet = queue.popleft()
                late.append(now - when)
                with contextlib.suppress(OSError):  # a device that is full drops, as a network does
                    os.write(descriptor, packet)


def _take(descriptor: int, queue: collections.deque[tuple[float, bytes]], later: float) -> None:
    """All packets that wait at a device."""
    when = time.monotonic() + later
    with contextlib.suppress(BlockingIOError):
        while True:
            queue.append((when, os.read(descriptor, 65536)))


if __name__ == "__main__":
    delay(*map(int, sys.argv[1:4]))
