"""A hand-in gets its share of the machine's cores, however many processes it has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graders.harness.run import cgroup
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.limits import Limits
from graders.harness.run.sandbox import WRITABLE

SWARM = """
import os, time
os.sched_setaffinity(0, {CORE})
for _ in range(100):
    if not os.fork():
        os.setsid()
        end = time.monotonic() + 60
        while time.monotonic() < end: pass
        os._exit(0)
print("there", flush=True)
time.sleep(60)
"""
BYSTANDER = """
import os, time
os.setsid()
os.sched_setaffinity(0, {CORE})
started, spent = time.monotonic(), time.process_time()
while time.monotonic() < started + 4: pass
print((time.process_time() - spent) / 4)
"""


def shares_cores() -> bool:
    try:
        group = cgroup.create(None, 10)
    except cgroup.NoControlGroup:
        return False
    try:
        return any((folder / "cpu.weight").exists() or (folder / "cpu.shares").exists() for folder in group.folders)
    finally:
        group.end()


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.skipif(not shares_cores(), reason="no control group for cores can be made here")
def test_swarm(tmp_path: Path) -> None:
    """A hundred processes that each are a session of their own, on one core, leave a fair part of it to another one."""
    for name in WRITABLE:
        (tmp_path / name).mkdir()
    core = str(sorted(os.sched_getaffinity(0))[0])
    program = Bubblewrap().start([sys.executable, "-c", SWARM.replace("CORE", core)], tmp_path, Limits(), {})
    try:
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == b"there\n"
        done = subprocess.run([sys.executable, "-c", BYSTANDER.replace("CORE", core)], capture_output=True, check=True)
    finally:
        program.end()
    assert float(done.stdout) > 0.04  # of a hundred and one equals it would have had 0.01
