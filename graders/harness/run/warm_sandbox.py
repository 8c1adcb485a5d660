"""A run that is forked from a warm process in bubblewrap, into a sandbox within that sandbox."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graders.harness.data.values import one_line
from graders.harness.run import cgroup
from graders.harness.run.gather import WayOut, end_first, gather
from graders.harness.run.launch import FOLDERS
from graders.harness.run.limits import Limits
from graders.harness.run.memory_watch import MemoryWatch
from graders.harness.run.sandbox import IsolationError, Usage, used
from graders.harness.run.warm_client import ANSWER_LIMIT, Child, Warm


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
        self.way_out = WayOut(self.process.way_out)
        self.first: int | None = None
        try:
            self.first = os.pidfd_open(self.process.pid)
            for entrance in group.entrance if group else ():
                entrance.write_text(str(self.process.pid))
            self.process.go()
            if not self.way_out.wait(ANSWER_LIMIT):
                raise OSError(_said(self.process))
        except OSError as error:
            self._kill()
            self.way_out.close()
            raise IsolationError(warm.unfit(f"{error}"), "") from None
        warm.served = True
        self.counted = group or MemoryWatch(
            self.process.pid, limits.memory, limits.processes, self.way_out.held_bytes, forked=True
        )

    def end(self) -> Usage:
        """Kill the first process of the inner sandbox, and with it the Linux kernel kills all others; copy what they wrote.

        Raises :class:`IsolationError` if the warm process had ended, and the run with it.
        """
        lost = self.process.poll() is not None and not self.warm.alive and self.process.returncode == -signal.SIGKILL
        self._kill()
        if self.process.wait() is None:
            self.warm.close()
        self.warm.release()
        usage = used(self.counted, None)
        try:
            if lost:
                raise IsolationError(
                    "The process that the run was forked from has ended, and the run with it.", "Run it again."
                )
            gather(self.way_out, self.run_folder, self.limits)
        finally:
            self.way_out.close()
        return usage

    def _kill(self) -> None:
        if self.first is not None:
            end_first(self.first)
            self.first = None


def _said(child: Child) -> str:
    """The last line that a child has printed, whose other end is closed."""
    said = child.stdout.read(10_000).decode("utf-8", "replace").strip()
    return one_line(said.splitlines()[-1], 200) if said else "it said nothing"


def request_for(
    argv: Sequence[str],
    run_folder: Path,
    limits: Limits,
    environment: Mapping[str, str],
    sizes: Mapping[str, int],
    hidden: Sequence[Path],
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
        "hidden": [str(path) for path in hidden],
        "seen": [str(path) for path in seen],
        "masked": list(masked),
        "processes": limits.processes,
        "file_size": limits.disk,
        "filter": base64.b64encode(program).decode(),
    }
