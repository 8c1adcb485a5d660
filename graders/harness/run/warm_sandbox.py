"""Warm processes, which have imported everything, and from which runs are forked; in bubblewrap, or without a sandbox.

One serves the runs of one hand-in at a time.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from queue import Queue
from typing import Any

from graders.harness.data.values import one_line
from graders.harness.run import cgroup
from graders.harness.run.gather import WayOut, gather
from graders.harness.run.launch import FOLDERS
from graders.harness.run.memory import MemoryWatch
from graders.harness.run.sandbox import IsolationError, Limits, Usage, launch, used

START_LIMIT = 120.0
"""Seconds within which everything has to be imported."""
ANSWER_LIMIT = 30.0
"""Seconds within which a forked child has to be there."""
_READ, _CREDENTIALS = 100, socket.CMSG_SPACE(12)


class Warm:
    """A warm process. It lasts as long as the process that started it, or until :meth:`close`."""

    def __init__(
        self, command: Sequence[str], descriptors: Sequence[int] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it by a command that is to have a socket's number as its last argument; it is warm after :meth:`ready`."""
        self.program = command[0]
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.said: deque[bytes] = deque(maxlen=20)
        """What it has printed last, for whoever looks for the reason of a failure."""
        self._lock, self._numbers = threading.Lock(), count(1)
        self._statuses: dict[int, int] = {}
        self._ready: bool | None = None
        self.served = False
        """Whether a program was started from it."""
        started: Queue[subprocess.Popen[bytes] | BaseException] = Queue()
        passed = [*descriptors, theirs.fileno()]

        def keep() -> None:
            # It ends with the thread that started it: this one, which stays
            try:
                process = launch([*command, str(theirs.fileno())], Path("/"), environment or {}, passed)
            except BaseException as error:
                started.put(error)
                return
            started.put(process)
            assert process.stdout is not None
            while line := process.stdout.readline(4096):
                self.said.append(line)
            process.wait()

        threading.Thread(target=keep, daemon=True).start()
        process = started.get()
        theirs.close()
        if isinstance(process, BaseException):
            raise IsolationError(f"No warm process can be started ({process}).", "")
        self.process = process

    def ready(self) -> bool:
        """Whether it is warm; waits until that is known."""
        with self._lock:
            if self._ready is None:
                self._control.settimeout(START_LIMIT)
                said = b""
                with contextlib.suppress(OSError):
                    said = self._control.recv(_READ)
                self._ready = said == b"ready"
                if not self._ready:
                    self.close()
        return self._ready

    @property
    def alive(self) -> bool:
        """Whether it can serve another run."""
        return self.process.poll() is None and self._control.fileno() >= 0

    def fork(self, request: Mapping[str, Any], output: int, way_out: socket.socket) -> int:
        """Have a program started; see :mod:`graders.harness.run.warm`. Its number."""
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(request).encode())
            file.seek(0)
            number = next(self._numbers)
            socket.send_fds(self._control, [b"%d" % number], [file.fileno(), output, way_out.fileno()])
        return number

    def ended(self, number: int) -> int | None:
        """The exit status of a program that was started; None while it runs. -9 if the warm process has ended."""
        with self._lock:
            while self._control.fileno() >= 0 and select.select([self._control], [], [], 0.0)[0]:
                said = b""
                with contextlib.suppress(ConnectionError):
                    said = self._control.recv(_READ)
                if not said:
                    break
                ended, status = map(int, said.split())
                self._statuses[ended] = status
            if number in self._statuses:
                return self._statuses[number]
            return None if self.alive else -signal.SIGKILL

    def close(self) -> None:
        """End it and whatever runs in it."""
        self._control.close()
        self.process.kill()
        self.process.wait()


class Child:
    """A program that was forked: as much of :class:`subprocess.Popen` as whoever waits for one needs."""

    def __init__(self, warm: Warm, request: Mapping[str, Any]) -> None:
        """Raises :class:`IsolationError` if it cannot be had. It goes on after :meth:`go`; ``pid`` is its number here."""
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.settimeout(ANSWER_LIMIT)
        read, write = os.pipe()
        self._warm, self.stdout, self.way_out = warm, os.fdopen(read, "rb"), ours
        self.returncode: int | None = None
        try:
            with theirs:
                self._number = warm.fork(request, write, theirs)
            self.pid = _sender(ours)
        except (OSError, ValueError) as error:
            ours.close()
            if not warm.served:  # nor will it ever
                _failed[warm.program] = f"No process can be forked here that has a sandbox of its own ({error})."
            raise IsolationError(f"No child of a warm process can be had ({error}).", "") from None
        finally:
            os.close(write)

    def go(self) -> None:
        """Let it go on."""
        self.way_out.setsockopt(
            socket.SOL_SOCKET, socket.SO_PASSCRED, 0
        )  # or there would be no room for what comes now
        self.way_out.sendall(b"!")
        self._warm.served = True

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        if self.returncode is None:
            self.returncode = self._warm.ended(self._number)
        return self.returncode

    def wait(self, seconds: float = ANSWER_LIMIT) -> int | None:
        """Its exit status, if it ends within so many seconds."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return self.returncode


class Forked:
    """A run in a warm sandbox; a :class:`graders.harness.run.sandbox.Program`."""

    def __init__(
        self,
        warm: Warm,
        request: Mapping[str, Any],
        run_folder: Path,
        limits: Limits,
        group: cgroup.ControlGroup | None,
    ) -> None:
        """Raises :class:`IsolationError` if the child cannot be had."""
        self.warm, self.run_folder, self.limits = warm, run_folder, limits
        self.process = Child(warm, request)
        try:
            self.first = os.pidfd_open(self.process.pid)
            for entrance in group.entrance if group else ():
                entrance.write_text(str(self.process.pid))
            self.process.go()
        except OSError as error:
            self.process.way_out.close()
            raise IsolationError(f"No child of a warm process can be confined ({error}).", "") from None
        self.way_out = WayOut(self.process.way_out)
        self.counted = group or MemoryWatch(
            self.process.pid, limits.memory, limits.processes, self.way_out.held_bytes, forked=True
        )

    def end(self) -> Usage:
        """Kill the first process of the inner sandbox, and with it the Linux kernel kills all others; copy what they wrote."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.first, signal.SIGKILL)
        select.select([self.first], [], [])  # it ends as the last one
        os.close(self.first)
        if self.process.wait() is None:
            self.warm.close()
        usage = used(self.counted, None)
        try:
            gather(self.way_out, self.run_folder, self.limits)
        finally:
            self.way_out.close()
        return usage


def _sender(ours: socket.socket) -> int:
    """The number, on this machine, of the process at the other end of a socket; it has said something."""
    said, ancillary, _, _ = ours.recvmsg(1, _CREDENTIALS)
    if not said:
        raise ValueError("it has ended")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int.from_bytes(data[:4], "little")
    raise ValueError("it has not said who it is")


def request_for(
    argv: Sequence[str],
    run_folder: Path,
    limits: Limits,
    environment: Mapping[str, str],
    sizes: Mapping[str, int],
    seen: Sequence[Path],
    masked: Sequence[str],
    program: bytes,
) -> dict[str, Any]:
    """What a warm process is asked for: the module ``argv[0]`` as a program, with what is in the run folder."""
    files = {path.name: path.read_bytes() for path in run_folder.iterdir() if path.is_file()}
    inner = [path for folder in FOLDERS for path in sorted((run_folder / folder).rglob("*"))]
    return {
        "argv": list(argv),
        "environment": dict(environment),
        "sizes": dict(sizes),
        "files": {name: base64.b64encode(content).decode() for name, content in files.items()},
        "folders": [str(path.relative_to(run_folder)) for path in inner],
        "seen": [str(path) for path in seen],
        "masked": list(masked),
        "processes": limits.processes,
        "file_size": limits.disk,
        "filter": base64.b64encode(program).decode(),
    }


_kept: dict[Any, Warm] = {}
_lock = threading.Lock()
KEPT = 2
"""Warm processes that are kept, of different kinds. Each holds half a gigabyte."""
_failed: dict[str, str] = {}
"""By the program that would start one, why there can be none: a sentence."""


def warm_of(kind: Any, start: Callable[[], Warm]) -> Warm:
    """The warm process of a kind, which is started unless there is one; it need not be warm yet.

    Raises :class:`IsolationError` if it cannot be started.
    """
    with _lock:
        warm = _kept.pop(kind, None)
        if warm is None or not warm.alive:
            warm = start()
        _kept[kind] = warm
        for old in list(_kept)[:-KEPT]:
            _kept.pop(old).close()
        return warm


def ensure_ready(warm: Warm) -> None:
    """:class:`IsolationError` if it does not get warm; wait until it is."""
    if not warm.ready():
        said = warm.said[-1].decode("utf-8", "replace").strip() if warm.said else "it said nothing"
        _failed[warm.program] = f"No process with everything imported can be kept here ({one_line(said, 200)})."
        raise IsolationError(_failed[warm.program], "")


def cold_because(program: str) -> str:
    """Why runs are started anew here, as far as that is known: a sentence, or "" where they are forked.

    ``program`` is what would start the warm process: that of bubblewrap, or Python.
    """
    if sys.platform != "linux":
        return "Only on Linux is it safe to fork a process with such libraries in it."
    if any(device.name.startswith(("nvidia", "dxg")) for device in Path("/dev").iterdir()):
        return "There is a GPU, and whether a forked process could use it is not known."
    return _failed.get(program, "")
