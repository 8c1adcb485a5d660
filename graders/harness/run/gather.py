"""What a program wrote in its sandbox, copied out of it once everything in there has ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import socket
import stat
from pathlib import Path

from graders.harness.run.launch import COUNTED, FOLDERS
from graders.harness.run.limits import Limits

LEFT_OUT = "left-out.json"
"""Written beside the folders: path of each entry that was not copied, with the reason."""
_CHUNK = 1 << 20
_MAX_DEPTH = 30
_MAX_PATH = 1000
"""Bytes of a path in the run folder: the whole of it must stay below the 4096 that Linux allows."""
_MAX_LEFT_OUT = 100
_OURS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)
"""Errors of this machine's, for which no hand-in can be blamed."""


class WayOut:
    """The folders of a sandbox, which :mod:`graders.harness.run.launch` hands to the other end of a socket."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._socket.setblocking(False)
        self._descriptors: list[int] = []

    @property
    def folders(self) -> list[int]:
        """Descriptors of :data:`FOLDERS` and :data:`COUNTED`, in this order; none before the launch has come that far."""
        if not self._descriptors:
            with contextlib.suppress(BlockingIOError, OSError):
                _, self._descriptors, _, _ = socket.recv_fds(self._socket, 100, len(FOLDERS) + len(COUNTED))
        return self._descriptors

    def wait(self, seconds: float) -> bool:
        """Whether they come within so many seconds; it is over earlier if they cannot come any more."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll(seconds * 1000)
        return bool(self.folders)

    def held_bytes(self) -> int:
        """Bytes of memory that files in these folders hold, also those without a name."""
        seen = [os.fstatvfs(descriptor) for descriptor in self.folders]
        return sum((system.f_blocks - system.f_bfree) * system.f_frsize for system in seen)

    def close(self) -> None:
        """Let go of them, and so of what is in them."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        self._socket.close()


def end_first(process: int) -> None:
    """Kill the first process of a sandbox, of which this is a descriptor that is closed: with it the Linux kernel kills all
    others, and it ends as the last one.
    """
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()
    os.close(process)


def gather(way_out: WayOut, run_folder: Path, limits: Limits) -> None:
    """Copy the sandbox's :data:`FOLDERS` in place of those that the run folder has.

    Regular files with one name only, ``limits.files`` of them, as many bytes as the sandbox had room for; nothing at
    all if the launch did not come that far. What cannot be copied is left out with its reason. Raises OSError where it is
    this machine that cannot keep it: for want of room on its disk, say.
    """
    copying = _Copying(limits.files)
    for name, descriptor in zip(FOLDERS, way_out.folders, strict=False):
        shutil.rmtree(run_folder / name, ignore_errors=True)  # as it was laid out, which need not be how it was left
        copying.folder(descriptor, run_folder / name, name, 0)
    if copying.left_out:
        (run_folder / LEFT_OUT).write_text(json.dumps(copying.left_out, indent=1), encoding="utf-8")


class _Copying:
    def __init__(self, files: int) -> None:
        self.files = files
        self.left_out: dict[str, str] = {}

    def folder(self, source: int, target: Path, shown: str, depth: int) -> None:
        """Copy what is in the open folder ``source``; links are never followed."""
        target.mkdir(exist_ok=True)
        with os.scandir(source) as entries:
            for entry in entries:
                name = f"{shown}/{entry.name}"
                self.files -= 1
                if self.files < 0:
                    self._leave(name, "there are too many files")
                    return
                reason = self._entry(source, entry.name, target, name, depth)
                if reason:
                    self._leave(name, reason)

    def _leave(self, name: str, reason: str) -> None:
        if len(self.left_out) < _MAX_LEFT_OUT:
            self.left_out[name.encode("utf-8", "backslashreplace").decode()] = reason

    def _entry(self, source: int, entry: str, target: Path, shown: str, depth: int) -> str | None:
        """Copy one file or folder; the reason if it is not copied."""
        if not entry.isprintable():
            return "its name cannot be printed"
        if len(os.fsencode(shown)) > _MAX_PATH:
            return "its path is too long"
        try:
            opened = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        except OSError as error:
            return "it is a link" if error.errno == errno.ELOOP else f"it cannot be opened ({error.strerror})"
        try:
            return self._copy(opened, entry, target, shown, depth)
        except OSError as error:
            if error.errno in _OURS:
                raise
            return f"it cannot be copied ({error.strerror})"
        finally:
            os.close(opened)

    def _copy(self, opened: int, entry: str, target: Path, shown: str, depth: int) -> str | None:
        facts = os.fstat(opened)
        if stat.S_ISDIR(facts.st_mode):
            if depth >= _MAX_DEPTH:
                return "it is nested too deeply"
            self.folder(opened, target / entry, shown, depth + 1)
            return None
        if not stat.S_ISREG(facts.st_mode):
            return "it is not a regular file"
        if facts.st_nlink != 1:
            return "it has several names (hard links)"
        if facts.st_blocks * 512 < facts.st_size:
            return "it claims to hold more than it does"
        with (target / entry).open("xb") as file:
            while chunk := os.read(opened, _CHUNK):
                file.write(chunk)
        return None
