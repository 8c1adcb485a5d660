"""Things on the host that a hand-in must not reach: secrets, listeners, a bystander, a place for marker files."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

import graders
from graders.lora import catalog

CHECKOUT = Path(graders.__file__).parents[1]
COURSE = (
    CHECKOUT / "reference_solutions" / "ex1.ipynb",
    CHECKOUT / "tests" / "submissions" / "ex1.py",
    catalog.ROOT / "thresholds.json",
    catalog.ROOT / "manifest.json",
    catalog.ROOT / "judge" / "model.safetensors",
    catalog.ROOT / "adapters" / "style" / "pytorch_lora_weights.safetensors",
    catalog.dataset("watercolor/held-out") / "metadata.jsonl",
    *(Path(graders.__file__).parent / name for name in ("ex1.py", "ex3.py")),
    *(Path(graders.__file__).parent / "harness" / name for name in ("grade.py", "checking.py", "result.py")),
    Path(graders.__file__).parent / "lora" / "measures" / "lora_counts.py",
)
"""Files of the course that tell what is expected."""


class Outside:
    """Everything that lies in ``folder`` and around it. Secrets hold ``canary``, which no hand-in is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canary = f"canary-{secrets.token_hex(16)}"
        self.home = folder / "home"
        self.markers = folder / "markers"
        self.classmate = folder / "graded" / "classmate"
        self._selector = selectors.DefaultSelector()
        self._stack = contextlib.ExitStack()
        self.markers.mkdir(parents=True)
        self._plant()
        self._listen()
        self.bystander = subprocess.Popen([self.canary, "3600"], executable="/bin/sleep", env=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a grading process: with a secret, and a home with another."""
        return {**os.environ, "HOME": str(self.home), "GRADE_SECRET": self.canary}

    def facts(self, mark: str) -> dict[str, Any]:
        """What a hand-in is told, so that it need not search: every address and path, but no secret."""
        ssh = self.home / ".ssh" / "id_ed25519"
        files = [*COURSE, ssh, *self.secret_files, Path("/etc/shadow"), Path("/etc/passwd")]
        return {
            "mark": mark,
            "marker": str(self.markers / mark),
            "files": [str(path) for path in files if path.exists()],
            "folders": [str(path) for path in (self.folder, self.home, self.classmate, CHECKOUT, Path("/root"))],
            "processes": [self.bystander.pid, os.getpid()],
            "tcp": self.tcp,
            "udp": self.udp,
            "dns": self.dns,
            "unix": self.unix,
            "vsock": self.vsock,
        }

    def visitors(self) -> tuple[str, ...]:
        """The listeners that somebody has come to since this was asked last: whoever comes waits for this."""
        came = []
        while waiting := self._selector.select(timeout=0):
            for key, _ in waiting:
                server: Any = key.fileobj
                if server.type == socket.SOCK_STREAM:
                    server.accept()[0].close()
                else:
                    server.recv(1)
                came.append(key.data)
        return tuple(came)

    def close(self) -> None:
        """Take everything away."""
        self._stack.close()
        self.bystander.kill()
        self.bystander.wait()

    def _plant(self) -> None:
        self.secret_files = [
            self.folder / "secret",
            self.classmate / "ex1.ipynb",
            self.classmate / "graded" / "result.json",
            self.classmate / "graded" / "run" / "notebook.ipynb",
            self.classmate / "graded" / "run" / "evidence" / "variables" / "lora_fraction.json",
            self.home / ".ssh" / "id_ed25519",
        ]
        for path in self.secret_files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.canary)

    def _listen(self) -> None:
        """Listeners of every kind that this machine has."""
        tcp = [self._server(socket.AF_INET, ("0.0.0.0", 0), "tcp")]
        if socket.has_dualstack_ipv6():
            with contextlib.suppress(OSError):
                tcp.append(self._server(socket.AF_INET6, ("::1", 0), "tcp6"))
        addresses = {a.address for of in psutil.net_if_addrs().values() for a in of if a.family == socket.AF_INET}
        self.tcp = [(address, tcp[0].getsockname()[1]) for address in sorted({*addresses, "127.0.0.1"})]
        self.tcp += [("::1", server.getsockname()[1]) for server in tcp[1:]]
        udp = self._server(socket.AF_INET, ("0.0.0.0", 0), "udp", socket.SOCK_DGRAM)
        self.udp = ("127.0.0.1", udp.getsockname()[1])
        dns = self._server(socket.AF_INET, ("127.0.0.1", 0), "dns", socket.SOCK_DGRAM)
        self.dns = dns.getsockname()
        place = Path(tempfile.mkdtemp(prefix="hostile-", dir="/tmp"))
        self._stack.callback(shutil.rmtree, place)
        self.unix = ["\0" + place.name, str(place / "stream"), str(place / "datagram")]
        for name, address in zip(("abstract", "unix"), self.unix, strict=False):
            self._server(socket.AF_UNIX, address, name)
        self._server(socket.AF_UNIX, self.unix[2], "unix datagram", socket.SOCK_DGRAM)
        self.vsock = 0
        with contextlib.suppress(OSError):
            server = self._server(socket.AF_VSOCK, (socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY), "vsock")
            self.vsock = server.getsockname()[1]

    def _server(self, family: int, address: Any, name: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        server = self._stack.enter_context(socket.socket(family, kind))
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen()
        server.setblocking(False)
        self._selector.register(server, selectors.EVENT_READ, name)
        return server


@contextlib.contextmanager
def outside(folder: Path) -> Iterator[Outside]:
    """The outside for as long as the block lasts."""
    there = Outside(folder)
    try:
        yield there
    finally:
        there.close()
