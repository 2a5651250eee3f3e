"""What a node is like, to compare before and after; and every system call of a login that could change something."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.node import Node

State = dict[str, dict[str, str]]

LOGIN = re.compile(
    r"/(var/log/(lastlog|wtmp|btmp|faillog|journal(/.*)?)|run/(utmp|motd\.dynamic(\.new)?|log/journal(/.*)?)"
    r"|run/sudo(/.*)?|var/lib/sudo(/.*)?|run|var/log)"
)
"""Files that sshd, PAM, sudo and the journal keep of a login; of /run and /var/log the times, for those."""

SPEAKERS = ("sshd", "sudo", "su", "sshd-session")
"""Who may say something in the journal because of a login."""

MOVING = re.compile(
    r"/proc/sys/(kernel/(random/|ns_last_pid|pty/nr|perf_event_max_sample_rate|sched_domain)|fs/(dentry-state|file-nr|inode-|aio-nr|"
    r"quota)|net/netfilter/nf_conntrack_count|net/.*/stat|fs/binfmt_misc/status|vm/stat|net/ipv4/tcp_mem)"
)
"""Counters of the whole machine, other people's too."""

FOLDERS = ("run", "dev", "tmp", "var/lib/containerd", "var/tmp", "dev/shm")
"""File systems of their own on a node; what else is there lies in its overlay."""


def state(node: Node) -> State:
    """Everything of a node that looking must leave as it is, by subject and name."""
    root = Path(f"/proc/{node.pid}/root")
    held = Path(f"/proc/{node.supervisor}/root{node.folder}/fs/upper")
    inside = node.run(
        'grep -rs "" /proc/sys 2>/dev/null; cat /proc/sysvipc/* | sed s,^,ipc:,; true'
    ).stdout.splitlines()
    return {
        "overlay": dict(_files(held, "")),
        "files": {name: what for folder in FOLDERS for name, what in _files(root / folder, f"/{folder}")},
        "processes": _processes(node),
        "listeners": _listeners(node),
        "mounts": _lines(root / "proc/1/mountinfo"),
        "modules": {path.name: "" for path in (root / "sys/module").iterdir()} | _lines(root / "proc/modules"),
        "devices": _lines(root / "proc/devices"),
        "driver": dict(_files(root / "proc/driver", "")),
        "routes": _lines(Path(f"/proc/{node.pid}/net/route")),
        "cgroups": {str(path): "" for group in node.groups() for path in group.rglob("*/")},
        "sysctl": {line: "" for line in inside if not MOVING.match(line)},
    }


def quiet(node: Node) -> tuple[State, list[str]]:
    """The node's state and journal, once a second has changed neither: what was done before has its echoes."""
    now = state(node), journal(node)
    for _ in range(20):
        time.sleep(1)
        before, now = now, (state(node), journal(node))
        if not differences(before[0], now[0]) and before[1] == now[1]:
            break
    return now


def differences(before: State, after: State) -> list[str]:
    """What is otherwise, but for what a login leaves; sorted, in words."""
    found = []
    for subject, old in before.items():
        new = after[subject]
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) == new.get(name) or (subject in ("overlay", "files") and LOGIN.fullmatch(name)):
                continue
            found.append(f"{subject}: {name}: {old.get(name, 'not there')} -> {new.get(name, 'gone')}")
    return found


def settled(node: Node, before: State) -> list[str]:
    """The differences once the login's own processes are gone."""
    end = time.monotonic() + 10
    while _processes(node) != before["processes"] and time.monotonic() < end:
        time.sleep(0.02)
    return differences(before, state(node))


def journal(node: Node) -> list[str]:
    """What the journal holds; its lines as `who[pid]: text`."""
    text = node.run("journalctl --no-pager -q -o short --no-hostname", check=True).stdout
    return [line[16:] for line in text.splitlines()]


def spoken(before: list[str], after: list[str]) -> list[str]:
    """The lines that are new in the journal and not a login's own."""
    return [line for line in after[len(before) :] if re.split(r"[\[:]", line)[0] not in SPEAKERS]


def _files(top: Path, name: str) -> Iterator[tuple[str, str]]:
    for folder, folders, files in os.walk(top):
        for path in [folder, *(os.path.join(folder, one) for one in (*files, *folders))]:  # noqa: PTH118
            with contextlib.suppress(OSError):
                seen = os.lstat(path)
                link = os.readlink(path) if stat.S_ISLNK(seen.st_mode) else ""  # noqa: PTH115
                what = (
                    f"{seen.st_mode:o} {seen.st_uid}:{seen.st_gid} {seen.st_rdev} {seen.st_mtime_ns} {seen.st_ctime_ns}"
                )
                size = "" if stat.S_ISDIR(seen.st_mode) else seen.st_size
                yield name + path[len(str(top)) :], f"{what} {size} {link}"


def _lines(path: Path) -> dict[str, str]:
    with contextlib.suppress(OSError):
        return dict.fromkeys(path.read_text().splitlines(), "")
    return {}


def _processes(node: Node) -> dict[str, str]:
    """The node's processes, by pid: their start and command line."""
    found = {}
    space = os.readlink(f"/proc/{node.pid}/ns/pid")  # noqa: PTH115
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(process / "ns/pid") == space:  # noqa: PTH115
                start = (process / "stat").read_text().rpartition(")")[2].split()[19]
                found[process.name] = f"{start} {(process / 'cmdline').read_text()}"
    return found


def _listeners(node: Node) -> dict[str, str]:
    """Sockets that wait for connections."""
    net = Path(f"/proc/{node.pid}/net")
    unix = [line.split() for line in (net / "unix").read_text().splitlines()[1:]]
    found = {" ".join(words[4:]): "" for words in unix if int(words[3], 16) & 0x10000}
    for family in ("tcp", "tcp6", "udp", "udp6"):
        lines = [line.split() for line in (net / family).read_text().splitlines()[1:]]
        found |= {f"{family} {words[1]}": "" for words in lines if words[3] in ("0A", "07")}
    return found


# ---------------------------------------------------------------------- system calls

PORT = 2222
WRITES = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,vmsplice,copy_file_range"
CHANGES = (
    "creat,unlink,unlinkat,rmdir,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mknod,mknodat,chmod,"
    "fchmod,fchmodat,chown,fchown,lchown,fchownat,truncate,ftruncate,fallocate,utime,utimes,utimensat,futimesat,setxattr,"
    "lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,mount,umount2,pivot_root,move_mount,fsmount,open_tree,"
    "mount_setattr,init_module,finit_module,delete_module,sethostname,setdomainname,settimeofday,clock_settime,adjtimex,"
    "clock_adjtime,reboot,swapon,swapoff,quotactl,add_key,acct,shmget,msgget,semget,mq_open"
)
TRACED = f"{WRITES},{CHANGES},open,openat,openat2,connect,bind,execve,execveat"

ASKED = re.compile(
    r"/run/(containerd/containerd|k3s/containerd/containerd|k0s/containerd|site/containerd)\.sock|/run/systemd/private"
    r"|/(var/)?run/dbus/system_bus_socket|/(var/)?run/nscd/socket|/run/systemd/userdb/.*"
)
"""Sockets that may be asked: containerd's, systemd's own, and those of the C library's look-up of names."""


@dataclass
class Trace:
    """What a login did, from strace's output.

    A process is *ours* from the login's shell on: that shell, and every process that is first seen after it started.
    Before it there are sshd, and what PAM starts; sudo itself is not ours either: they record the login.
    """

    programs: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    logins: int = 0

    @classmethod
    def read(cls, text: str) -> Trace:
        """Read it: every program that was ours, and every call of theirs that could change something."""
        trace = cls()
        running: dict[str, str | None] = {}  # by pid: the program; None is not ours
        halves: dict[str, str] = {}
        for line in text.splitlines():
            pid, _, call = line.partition(" ")
            call = call.strip()
            running.setdefault(pid, "a shell" if trace.logins else None)
            if call.endswith("<unfinished ...>"):
                halves[pid] = call.removesuffix("<unfinished ...>")
                continue
            if match := re.match(r"<\.\.\. \w+ resumed>", call):
                call = halves.pop(pid, "") + call[match.end() :]
            trace._call(running, pid, call)
        return trace

    def _call(self, running: dict[str, str | None], pid: str, call: str) -> None:
        name = call.partition("(")[0]
        program = running[pid]
        if name in ("execve", "execveat"):
            # sshd starts the user's shell with -c; PAM's message of the day comes through one as well.
            login = program is None and re.search(r'\["-?\w*sh", "-c"', call) and "update-motd" not in call
            if call.endswith(" = 0") and (program is not None or login):
                self.logins += bool(login)
                running[pid] = call.partition('"')[2].partition('"')[0]
                self.programs.append(str(running[pid]))
        elif program is not None and not program.endswith("/sudo") and (fault := _fault(name, call)):
            if program.endswith("/rpm") and call.endswith("= -1 EACCES (Permission denied)"):
                return  # it is run as nobody, so that it may not do what it tries
            self.faults.append(f"{program}: {fault}")


def _fault(name: str, call: str) -> str | None:
    """The call, if it could change the node."""
    if name in ("open", "openat", "openat2"):
        writes = re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)", call)
        return call if writes and not re.search(r'"/dev/(null|tty)"', call) else None
    if name in WRITES.split(","):
        target = re.match(r"\w+\(\d+<([^>]*)>", call)
        harmless = target and re.match(
            r"(pipe|socket|UNIX|TCP|NETLINK|anon_inode):|/dev/null|(UNIX|TCP|NETLINK)", target[1]
        )
        return None if harmless else call
    if name == "connect":
        path = re.search(r'sun_path="([^"]*)"', call)
        return call if "AF_UNIX" in call and not (path and ASKED.fullmatch(path[1])) else None
    if name == "bind":
        return call if 'sun_path="' in call or "AF_INET" in call else None
    return call if name in CHANGES.split(",") else None


@contextlib.contextmanager
def traced(node: Node, folder: Path, *, privileges: bool = False) -> Iterator[tuple[str, Path, Path]]:
    """A second sshd of the node's, every process of it under strace: yields its address:port, ssh_config and the trace.

    The trace is whole once the block has ended. With ``privileges`` programs can gain some, as sudo does: slower.
    """
    out = folder / "strace"
    config = folder / "ssh_config"
    config.write_text(f"{node.ssh_config.read_text()}  HostKeyAlias {node.address}\n")
    fast = () if privileges else ("--seccomp-bpf",)  # it sets the flag that keeps sudo from its work
    # Every call stops until strace has run: on a busy machine each would wait for its turn, and run into deadlines.
    sshd = subprocess.Popen(
        ["nice", "-n", "-10", "strace", "-f", *fast, "-qq", "-y", "-s", "200", "-e", f"trace={TRACED}", "-e",
         "signal=none", "-o", out, *node.enter(), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
         "/usr/sbin/sshd", "-D", "-p", str(PORT), "-o", "PidFile=none"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection((node.address, PORT), timeout=5) as link:
                if link.recv(4) == b"SSH-":
                    break
            assert time.monotonic() < end, "the traced sshd does not answer"
            assert sshd.poll() is None, sshd.stderr and sshd.stderr.read()
            time.sleep(0.02)
        yield f"{node.address}:{PORT}", config, out
    finally:
        _end_traced(sshd)


def _end_traced(strace: subprocess.Popen[bytes]) -> None:
    """End sshd, then strace, which ends with the last process that it follows."""
    for child in Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split():
        for below in Path(f"/proc/{child}/task/{child}/children").read_text().split() or [child]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(below), signal.SIGTERM)
    try:
        strace.wait(timeout=10)
    except subprocess.TimeoutExpired:
        strace.kill()
        strace.wait(timeout=10)
    if strace.stderr:
        strace.stderr.close()
