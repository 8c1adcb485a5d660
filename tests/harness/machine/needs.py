"""How much memory, disk and time each exercise takes: python -m tests.harness.machine.needs [EXERCISE] [OPTION OF GRADE]...

Grades every reference solution as a student would and prints the peaks, which the lesson keeps. Memory is
the sum of the proportional set sizes of `grade` and all that it started, so that what they share counts once; disk is what
lies in `.grade` and among the temporary files. Both are looked at twice a second.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from graders.lesson import LESSON

SOLUTIONS = Path(__file__).parents[3] / "reference_solutions"
INTERVAL = 0.5


def memory(process: psutil.Process) -> int:
    """Bytes that a process and all that it started hold now."""
    held = 0
    with contextlib.suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                held += one.memory_full_info().pss
    return held


def disk(folder: Path) -> int:
    """Bytes of the files below a folder."""
    held = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            held += path.lstat().st_size
    return held


def measure(name: str, folder: Path, options: list[str]) -> tuple[float, int, int, int]:
    """Seconds, the most bytes of memory and of disk, and the exit status."""
    started, most_memory, most_disk = time.monotonic(), 0, 0
    temporary = folder / "tmp"
    temporary.mkdir()
    command = [Path(sys.executable).with_name("grade"), name, SOLUTIONS / f"{name}.ipynb", *options]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as grading:
        while grading.poll() is None:
            most_memory = max(most_memory, memory(psutil.Process(grading.pid)))
            most_disk = max(most_disk, disk(folder))
            time.sleep(INTERVAL)
    return time.monotonic() - started, most_memory, most_disk, grading.returncode


def main() -> None:
    """Print a line for each exercise."""
    names = [name for name in LESSON.names if name in sys.argv[1:]] or LESSON.names
    for name in names:
        with TemporaryDirectory() as folder:
            options = [option for option in sys.argv[1:] if option not in LESSON.names]
            seconds, memory_peak, disk_peak, status = measure(name, Path(folder), options)
        sizes = f"{memory_peak / 2**20:.0f} MiB of memory, {disk_peak / 2**20:.1f} MiB of disk"
        print(f"{name}: {seconds:.0f} s, {sizes}, exit status {status}", flush=True)


if __name__ == "__main__":
    main()
