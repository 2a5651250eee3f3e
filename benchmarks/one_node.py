"""One node, one login: what this suite costs beside a bare login and beside plain testinfra.

Run by hand on Linux with sshd, from an environment that holds the package alone (other plugins' start-up time is not
ours): ``python benchmarks/one_node.py [--runs N] [--rtt 0 50]``. It starts an sshd of its own on loopback, behind a
line that delays each direction, and prints medians and ratios of one run; absolute times belong to the machine. The
node is this machine, so the suite finds on it what is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuready.node.gather import gather
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options, Shell
from pytest_gpuready.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: 40 checks as people write them with testinfra: 10 files, 6 packages, 4 sysctls, 4 services, 6 commands, 10 others.
PLAIN = """
import pytest
FILES = ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/fstab", "/etc/os-release", "/etc/shells", "/bin/sh",
    "/usr/bin/env", "/etc", "/tmp"]
PACKAGES = ["bash", "coreutils", "containerd", "runc", "curl", "nvidia-container-toolkit"]
@pytest.mark.parametrize("path", FILES)
def test_file(host, path): assert host.file(path).exists
@pytest.mark.parametrize("name", PACKAGES)
def test_package(host, name): host.package(name).is_installed
@pytest.mark.parametrize("key", ["kernel.osrelease", "kernel.ostype", "vm.swappiness", "fs.file-max"])
def test_sysctl(host, key): assert host.sysctl(key)
@pytest.mark.parametrize("name", ["containerd", "ssh", "cron", "kubelet"])
def test_service(host, name): host.file(f"/lib/systemd/system/{name}.service").exists
@pytest.mark.parametrize("command", ["true", "uname -a", "id", "date", "containerd --version", "ls /dev"])
def test_command(host, command): host.run(command)
@pytest.mark.parametrize("name", ["sh", "env", "ls", "cat", "ctr"])
def test_exists(host, name): host.exists(name)
@pytest.mark.parametrize("name", ["root", "nobody", "daemon", "bin", "sys"])
def test_user(host, name): assert host.user(name).exists
"""


@contextlib.contextmanager
def node(folder: Path, rtt: int) -> Iterator[Path]:
    """An sshd on loopback behind a line of this round-trip time; yields an ssh_config with `node` and `node-mux`."""
    key, host_key = folder / "key", folder / "host"
    if not key.exists():
        for path in (key, host_key):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    sshd_port, port = free_port(), free_port()
    (folder / "sshd_config").write_text(
        textwrap.dedent(f"""\
            Port {sshd_port}
            ListenAddress 127.0.0.1
            HostKey {host_key}
            AuthorizedKeysFile {key}.pub
            PidFile {folder}/pid
            StrictModes no
            UsePAM no
            MaxStartups 100
            """)
    )
    config = folder / "ssh_config"
    config.write_text(
        textwrap.dedent(f"""\
            Host node node-mux
              HostName 127.0.0.1
              Port {port}
              IdentityFile {key}
              IdentitiesOnly yes
              StrictHostKeyChecking no
              UserKnownHostsFile {folder}/known
              LogLevel ERROR
            Host node-mux
              ControlMaster auto
              ControlPath {folder}/mux-{port}
              ControlPersist 60
            """)
    )
    with contextlib.suppress(PermissionError):
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks itself up as root
    sshd = subprocess.Popen([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-f", str(folder / "sshd_config")])
    line = subprocess.Popen([sys.executable, __file__, "--line", str(port), str(sshd_port), str(rtt)])
    try:
        for _ in range(50):
            if (
                subprocess.run(["ssh", "-F", str(config), "node", "true"], capture_output=True, check=False).returncode
                == 0
            ):
                break
            time.sleep(0.1)
        yield config
    finally:
        subprocess.run(["ssh", "-F", str(config), "-O", "exit", "node-mux"], capture_output=True, check=False)
        for process in (line, sshd):
            process.terminate()
            process.wait()


def free_port() -> int:
    """A port of loopback's that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def delayed_line(port: int, target: int, rtt: int) -> None:
    """Carry TCP from a port to another, each way half a round trip late: netem without its kernel module."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()

        task = asyncio.ensure_future(deliver())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                queue.put_nowait((time.monotonic() + rtt / 2000, data))
        queue.put_nowait((time.monotonic() + rtt / 2000, b""))
        with contextlib.suppress(ConnectionError):
            await task

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))

    async def serve() -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


def run(*argv: str) -> None:
    """A command that must succeed."""
    subprocess.run(argv, check=True, capture_output=True)


def seconds(action: Callable[[], object], runs: int) -> float:
    """The median of several runs, after one that does not count."""
    times = []
    for number in range(runs + 1):
        begun = time.perf_counter()
        action()
        if number:
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def command(*argv: str, cwd: str, good: tuple[int, ...] = (0,)) -> Callable[[], None]:
    """A command whose exit status is one of those that are good."""

    def once() -> None:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, check=False, text=True)
        if done.returncode not in good:
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    return once


def gathered(spec: str, config: Path) -> Callable[[], None]:
    """Gathering alone: the login, all rounds, and working out what to ask; no judging."""

    def once() -> None:
        with Shell(parse(spec), Options(str(config))) as shell:
            facts = gather(shell, spec, lambda known: Views(known).wants(), 60)
        if len(facts) < 20:
            sys.exit(f"{spec} could not be asked")

    return once


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rtt", type=int, nargs="*", default=[0, 50], help="round-trip times to try, in milliseconds")
    parser.add_argument("--line", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.line:
        delayed_line(*options.line)
        return
    # Compiled modules are kept by default; where a shell says otherwise, every run would compile them anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as empty:
        folder = Path(work)
        (folder / "test_plain.py").write_text(PLAIN)
        pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
        for rtt in options.rtt:
            with node(folder, rtt) as config:
                measure(rtt, options.runs, config, pytest, folder, empty)


def measure(rtt: int, runs: int, config: Path, pytest: list[str], folder: Path, empty: str) -> None:
    """All rows at one round-trip time."""
    plain = [*pytest, str(folder / "test_plain.py"), "-c", os.devnull, f"--ssh-config={config}"]
    judged = (0, 1)  # whether this machine is ready does not matter here
    rows = {
        "ssh node true": seconds(command("ssh", "-F", str(config), "node", "true", cwd=empty), runs),
        'python -c "import pytest"': seconds(command(sys.executable, "-c", "import pytest", cwd=empty), runs),
        "gathering alone": seconds(gathered("ssh://node", config), runs),
        "the suite over SSH": seconds(
            command(*pytest, "--gpuready", "--hosts=ssh://node", f"--ssh-config={config}", cwd=empty, good=judged), runs
        ),
        "the suite locally": seconds(command(*pytest, "--gpuready", cwd=empty, good=judged), runs),
        "40 testinfra checks, as it comes": seconds(command(*plain, "--hosts=ssh://node", cwd=empty), 1),
        "40 testinfra checks, ControlPath": seconds(
            command(*plain, "--hosts=ssh://node-mux", cwd=empty), max(1, runs // 2)
        ),
    }
    print(f"\nRTT {rtt} ms, medians of {runs} (testinfra as it comes: 1)")
    for name, value in rows.items():
        print(f"  {name:36} {value:7.3f} s")
    peer, whole = rows["40 testinfra checks, as it comes"], rows["the suite over SSH"]
    floor = rows["ssh node true"] + rows['python -c "import pytest"']
    print(f"  testinfra as it comes / gathering alone      {peer / rows['gathering alone']:6.1f}   (aim: at least 40)")
    print(f"  testinfra as it comes / the whole run        {peer / whole:6.1f}   (aim: at least 12)")
    print(f"  testinfra, ControlPath / the whole run       {rows['40 testinfra checks, ControlPath'] / whole:6.1f}")
    print(f"  the whole run / (ssh true + import pytest)   {whole / floor:6.2f}   (aim: at most 2.5)")


if __name__ == "__main__":
    main()
