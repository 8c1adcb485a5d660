"""What a program wrote in its sandbox, copied out of it once everything in there has ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
from pathlib import Path

from graders.running.launch import FOLDERS
from graders.running.sandbox import Limits

LEFT_OUT = "left-out.json"
"""Written beside the folders: path of each entry that was not copied, with the reason."""
_CHUNK = 1 << 20
_MAX_DEPTH = 30
_MAX_PATH = 1000
"""Bytes of a path in the run folder: the whole of it must stay below the 4096 that Linux allows."""
_MAX_LEFT_OUT = 100


def gather(way_out: socket.socket, run_folder: Path, limits: Limits) -> None:
    """Copy the folders that :mod:`graders.running.launch` has handed to the socket's other end.

    Regular files with one name only, ``limits.files`` of them, as many bytes as the sandbox had room for; nothing at
    all if the launch did not come that far.
    """
    way_out.setblocking(False)
    try:
        _, descriptors, _, _ = socket.recv_fds(way_out, 100, len(FOLDERS))
    except BlockingIOError:
        return
    copying = _Copying(limits.files)
    for name, descriptor in zip(FOLDERS, descriptors, strict=False):
        try:
            copying.folder(descriptor, run_folder / name, name, 0)
        finally:
            os.close(descriptor)
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
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, opened)
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
