"""NVIDIA's package site for one node: https, with a certificate that the node trusts, and signed repositories.

Stands for: https://nvidia.github.io/libnvidia-container, as far as the set-up of the repositories goes: the key, the
`.list` and `.repo` files, a repository for apt and one for dnf with the lab's stand-in packages.
Cannot show: NVIDIA's real keys, packages and their signatures.

The server is a thread of the test's process whose socket is in the node's network namespace: it goes with the process,
and nobody but the node sees it.
"""

from __future__ import annotations

import ctypes
import hashlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from tests.lab.node import Node

HOST = "nvidia.github.io"
TOP = "/libnvidia-container"
LIST = f"deb https://{HOST}{TOP}/stable/deb/$(ARCH) /\n#deb https://{HOST}{TOP}/experimental/deb/$(ARCH) /\n"
REPO = f"""[nvidia-container-toolkit]
name=nvidia-container-toolkit
baseurl=https://{HOST}{TOP}/stable/rpm/$basearch
repo_gpgcheck=1
gpgcheck=0
enabled=1
gpgkey=https://{HOST}{TOP}/gpgkey
sslverify=1
sslcacert=/etc/pki/tls/certs/ca-bundle.crt
"""
MACHINE = os.uname().machine
RPMS = f"/stable/rpm/{MACHINE}"
DEBS = "/stable/deb/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(MACHINE, MACHINE)
_NETWORK = 0x40000000  # CLONE_NEWNET


class Site:
    """Use it as a context manager: while it is open, the node reaches the site by its name."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.asked: list[str] = []

    def __enter__(self) -> Self:
        """Make keys and repositories, and serve."""
        gpg = Signer(self.folder / "gpg")
        files = {
            "/gpgkey": gpg.public,
            "/stable/deb/nvidia-container-toolkit.list": LIST.encode(),
            "/stable/rpm/nvidia-container-toolkit.repo": REPO.encode(),
        }
        share = self.node.run("ls -d /usr/share/gpuready-lab/toolkit*/", check=True).stdout.split()
        for top in share:
            kind = RPMS if "rpms" in top else DEBS
            names = self.node.run(f"cd {top} && find . -type f", check=True).stdout.split()
            files |= {f"{kind}/{name[2:]}": self._bytes(f"{top}{name[2:]}") for name in names}
        packages = files.get(f"{DEBS}/Packages")
        if packages is not None:
            files[f"{DEBS}/InRelease"] = gpg.release(packages)
        metadata = files.get(f"{RPMS}/repodata/repomd.xml")
        if metadata is not None:
            files[f"{RPMS}/repodata/repomd.xml.asc"] = gpg.sign(metadata)
        self._serve(files)
        self.node.run(f"echo 127.0.0.1 {HOST} >>/etc/hosts", check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _bytes(self, path: str) -> bytes:
        done = subprocess.run([*self.node.enter(), "cat", path], check=True, capture_output=True)
        return done.stdout

    def _certificate(self) -> Path:
        """A key and a certificate for the site's name; the node trusts it from now on."""
        place = "/usr/local/share/ca-certificates/lab.crt"
        self.node.run(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={HOST} "
            f"-addext subjectAltName=DNS:{HOST} -keyout /run/lab.key -out {place} && update-ca-certificates",
            check=True,
        )
        pem = self.folder / "site.pem"
        pem.write_text(self.node.read("/run/lab.key") + self.node.read(place))
        return pem

    def _serve(self, files: dict[str, bytes]) -> None:
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                content = files.get(self.path.removeprefix(TOP).replace("/./", "/"))
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate())
        self._server.socket = context.wrap_socket(self._listening(), server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def _listening(self) -> socket.socket:
        """A socket of the node's network, made by a thread that has moved there."""
        made: list[socket.socket] = []

        def move_and_make() -> None:
            with Path(f"/proc/{self.node.pid}/ns/net").open() as space:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(space.fileno(), _NETWORK):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(socket.create_server(("127.0.0.1", 443)))

        thread = threading.Thread(target=move_and_make)
        thread.start()
        thread.join()
        return made[0]


class Signer:
    """A key of its own that signs repositories."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self._gpg = ["gpg", "--homedir", str(home), "--batch", "--yes", "--quiet", "--armor"]
        self._gpg += ["--pinentry-mode", "loopback", "--passphrase", ""]
        self._run("--quick-generate-key", "lab <lab@example.invalid>", "rsa2048", "sign", "never")
        self.public = self._run("--export")
        # Nothing is left running.
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
        self._home = home

    @staticmethod
    def missing() -> bool:
        """Whether this machine cannot sign."""
        return not (shutil.which("gpg") and shutil.which("gpg-agent"))

    def sign(self, content: bytes) -> bytes:
        """A detached signature."""
        return self._ended(self._run("--detach-sign", stdin=content))

    def release(self, packages: bytes) -> bytes:
        """The signed InRelease of a flat repository with that index."""
        digest = hashlib.sha256(packages).hexdigest()
        text = f"Origin: lab\nDate: Sat, 01 Nov 2025 00:00:00 UTC\nSHA256:\n {digest} {len(packages)} Packages\n"
        return self._ended(self._run("--clearsign", stdin=text.encode()))

    def _ended(self, signed: bytes) -> bytes:
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True)
        return signed

    def _run(self, *words: str, stdin: bytes = b"") -> bytes:
        return subprocess.run([*self._gpg, *words], check=True, input=stdin, capture_output=True).stdout
