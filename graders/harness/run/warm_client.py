"""A warm process as the harness has it: started, kept for the runs to come, and asked to fork.

What it does is in :mod:`graders.harness.run.warm`. One serves the runs of one hand-in at a time.
"""

from __future__ import annotations

import atexit
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
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import Queue
from typing import Any

from graders.harness.data.scratch import Scratch
from graders.harness.data.values import one_line
from graders.harness.run.interpreter import Interpreter
from graders.harness.run.sandbox import IsolationError, launch

START_LIMIT = 120.0
"""Seconds within which everything has to be imported."""
ANSWER_LIMIT = 30.0
"""Seconds within which a forked child has to be there."""
_READ, _CREDENTIALS = 100, socket.CMSG_SPACE(12)


KEPT = 2
"""Warm processes that are kept, of different kinds. Each holds half a gigabyte."""
_kept: list[Warm] = []
_lock = threading.Lock()
_failed: dict[str, str] = {}
"""By the program that would start one, why there can be none: a sentence."""


@dataclass(frozen=True)
class Kind:
    """What a run must find in a warm process: the environment in which libraries were imported, what may be read, and the
    ``python`` that it is, if not this one.
    """

    environment: tuple[tuple[str, str], ...]
    readable: tuple[Path, ...] = ()
    python: Interpreter | None = None
    shared: tuple[tuple[str, Path], ...] = ()

    @property
    def command(self) -> list[str]:
        """What is started, but for the number of a socket."""
        return [str(self.python.program) if self.python else sys.executable, "-m", "graders.harness.run.warm"]

    @property
    def runner(self) -> dict[str, str]:
        """What to add to a request, so that the program does not run in the notebooks' Python but in this one."""
        return {"runner": sys.executable} if self.python else {}

    def serves(self, asked: Kind) -> bool:
        """Whether what is asked for is there."""
        found = all(any(path.is_relative_to(one) for one in self.readable) for path in asked.readable)
        return found and replace(self, readable=()) == replace(asked, readable=())


class Warm:
    """A warm process. It lasts as long as the process that started it, or until :meth:`close`."""

    def __init__(
        self,
        kind: Kind,
        command: Sequence[str],
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        home: Scratch | None = None,
    ) -> None:
        """Start it by a command that is to have a socket's number as its last argument; it is warm after :meth:`ready`.

        ``home`` is a folder that ends with it.
        """
        self.kind, self.program, self.home = kind, starts(command[0], kind.python), home
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._said: deque[bytes] = deque(maxlen=20)
        self._lock, self._readying, self._numbers = threading.Lock(), threading.Lock(), count(1)
        self._statuses: dict[int, int] = {}
        self._ready: bool | None = None
        self._closed = False
        self.served = False
        """Whether a program was started from it."""
        self.users = 0
        """How many runs have it now."""
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
            with process.stdout as printed:
                while line := printed.readline(4096):
                    self._said.append(line)
            process.wait()

        threading.Thread(target=keep, daemon=True).start()
        process = started.get()
        theirs.close()
        if isinstance(process, BaseException):
            raise IsolationError(f"No warm process can be started ({process}).", "")
        self.process = process

    def ready(self) -> bool:
        """Whether it is warm; waits until that is known."""
        with self._readying:
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
    def last_line(self) -> str:
        """What it has said last."""
        return one_line(self._said[-1].decode("utf-8", "replace").strip(), 200) if self._said else ""

    def unfit(self, because: str) -> str:
        """Why no child can be had of it, as a sentence; remembered if none ever was."""
        said = f"No run can be forked from a process with all libraries in it ({because})."
        if not self.served:
            _failed[self.program] = said
        return said

    @property
    def alive(self) -> bool:
        """Whether it can serve another run."""
        return not self._closed and self.process.poll() is None

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
            alive = self.alive  # if it ends after this, what it has said before is read the next time
            while not self._closed and _readable(self._control):
                said = b""
                with contextlib.suppress(ConnectionError):
                    said = self._control.recv(_READ)
                if not said:
                    break
                ended, status = map(int, said.split())
                self._statuses[ended] = status
            if number in self._statuses:
                return self._statuses[number]
            return None if alive else -signal.SIGKILL

    def release(self) -> int:
        """A run that had it from :func:`warm_of` needs it no more; how many still do."""
        with _lock:
            self.users -= 1
            return self.users

    def close(self) -> None:
        """End it and whatever runs in it."""
        self._closed = True
        self.process.kill()
        self.process.wait()
        with self._lock:
            self._control.close()
        if self.home:
            self.home.cleanup()


def _readable(one: socket.socket, seconds: float = 0.0) -> bool:
    """Whether there is something to read, or nothing will come any more, within so many seconds."""
    poll = select.poll()  # unlike select(), for any number of open files
    poll.register(one, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


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
            self.stdout.close()
            raise IsolationError(warm.unfit(f"{error}"), "") from None
        finally:
            os.close(write)

    def go(self) -> None:
        """Let it go on."""
        # Or there would be no room for what comes now
        self.way_out.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        self.way_out.sendall(b"!")

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


def _sender(ours: socket.socket) -> int:
    """The number, on this machine, of the process at the other end of a socket; it has said something."""
    said, ancillary, _, _ = ours.recvmsg(1, _CREDENTIALS)
    if not said:
        raise ValueError("it has ended")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int.from_bytes(data[:4], "little")
    raise ValueError("it has not said who it is")


def warm_of(asked: Kind, start: Callable[[], Warm]) -> Warm:
    """A warm process that serves, started unless there is one, to be given back by :meth:`Warm.release`.

    Raises :class:`IsolationError` if there can be none.
    """
    with _lock:
        warm = next((one for one in _kept if one.alive and one.kind.serves(asked)), None) or start()
        _kept[:] = [*(one for one in _kept if one is not warm), warm]
        warm.users += 1
        unused = [one for one in _kept if not one.users]
        spare = [one for one in unused if one.alive][: max(0, len(_kept) - KEPT)]
        closing = [one for one in unused if one in spare or not one.alive]
        _kept[:] = [one for one in _kept if one not in closing]
    for old in closing:
        old.close()
    if not warm.ready():
        warm.release()
        raise IsolationError(warm.unfit(warm.last_line or "it said nothing"), "")
    return warm


def warm_up(asked: Kind, start: Callable[[], Warm]) -> None:
    """Have a warm process that serves started, while this process does something else; no error if there can be none."""

    def wait() -> None:
        with contextlib.suppress(IsolationError):
            warm_of(asked, start).release()

    threading.Thread(target=wait, daemon=True).start()


@atexit.register
def close_all() -> None:
    """End all warm processes."""
    with _lock:
        ended, _kept[:] = list(_kept), []
    for warm in ended:
        warm.close()


def starts(program: str, python: Interpreter | None) -> str:
    """What starts a warm process: bubblewrap or Python, in the ``python`` of notebooks, if that is another one."""
    return f"{python.program} by {program}" if python else program


def cold_because(program: str, python: Interpreter | None = None) -> str:
    """Why runs are started anew here, as far as that is known: a sentence, or "" where they are forked.

    ``program`` is what would start the warm process: that of bubblewrap, or Python; ``python`` as in :func:`starts`.
    """
    if sys.platform != "linux":
        return "Only on Linux is it safe to fork a process with such libraries in it."
    if any(device.name.startswith(("nvidia", "dxg")) for device in Path("/dev").iterdir()):
        return "There is a GPU, and whether a forked process could use it is not known."
    return _failed.get(starts(program, python), "")
