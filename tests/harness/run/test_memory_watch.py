"""Limits on memory and processes that are kept by watching."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from graders.harness.run.memory_watch import MemoryWatch, watch_gpu
from tests.patience import PATIENCE

HOLD = "x = b'x' * (200 << 20); import time; time.sleep(60)"


def ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(timeout=PATIENCE)


def test_memory() -> None:
    """A process that holds too much is killed, and one that does not goes on."""
    with subprocess.Popen([sys.executable, "-c", HOLD]) as greedy, subprocess.Popen(["sleep", "60"]) as modest:
        watches = [MemoryWatch(greedy.pid, 100 << 20, 100), MemoryWatch(modest.pid, 100 << 20, 100)]
        assert ended(greedy) == -9
        assert modest.poll() is None
        modest.kill()
    assert watches[0].out_of_memory
    assert watches[0].peak_memory_bytes > 100 << 20
    for watch in watches:
        watch.end()


AGAIN = """
import subprocess, sys, time
def one(): return subprocess.Popen([sys.executable, "-c", "x = b'x' * (80 << 20); import time; time.sleep(20)"])
several = [one(), one()]
while True:
    several = [p if p.poll() is None else one() for p in several]
    time.sleep(0.05)
"""


def test_second_excess() -> None:
    """Where the largest process was killed and too much is held again, all are: small ones may be too many."""
    with subprocess.Popen([sys.executable, "-c", AGAIN]) as respawning:
        watch = MemoryWatch(respawning.pid, 120 << 20, 1000)
        assert ended(respawning) == -9
    watch.end()
    assert watch.out_of_memory


def test_files_in_memory() -> None:
    """Memory that files hold counts as that of the processes."""
    with subprocess.Popen(["sleep", "60"]) as modest:
        watch = MemoryWatch(modest.pid, 100 << 20, 100, files=lambda: 200 << 20)
        assert ended(modest) == -9
    watch.end()
    assert watch.out_of_memory


def test_processes() -> None:
    """Who starts too many processes is killed with all of them."""
    fork = "import subprocess\nfor _ in range(20): subprocess.Popen(['sleep', '603.5'])\nimport time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", fork]) as forking:
        watch = MemoryWatch(forking.pid, None, 10)
        assert ended(forking) == -9
    watch.end()
    assert watch.too_many_processes
    assert not [p for p in psutil.process_iter(["cmdline"]) if "603.5" in (p.info["cmdline"] or ())]


@pytest.mark.parametrize("taken", [500, 1500])
def test_gpu_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    """Who holds too much of a GPU's memory, by the driver's word, is killed, and nobody else."""
    with subprocess.Popen(["sleep", "60"]) as ours, subprocess.Popen(["sleep", "60"]) as another:
        driver = tmp_path / "nvidia-smi"
        driver.write_text(f"#!/bin/sh\necho '{ours.pid}, {taken}'\necho '{another.pid}, 9000'\necho '[N/A], [N/A]'\n")
        driver.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        watch = watch_gpu(ours.pid, 1000 << 20)
        assert watch
        try:
            if taken > 1000:
                assert ended(ours) == -9
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    ours.wait(timeout=3)
            assert watch.out_of_memory == (taken > 1000)
            assert another.poll() is None
        finally:
            watch.end()
            ours.kill()
            another.kill()
