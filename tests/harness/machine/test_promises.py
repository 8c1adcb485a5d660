"""What each isolation promises, put to the test on this machine, as whoever runs the tests and as an ordinary user."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import graders
from graders.harness.machine.promises import PROMISES, PromiseError, examine, insist
from graders.harness.run import cgroup
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.limits import Limits
from graders.harness.run.sandbox import IsolationError
from graders.harness.run.unconfined import NoIsolation
from tests.patience import PATIENCE

CHECKOUT = Path(graders.__file__).parents[1]
NOBODY = 65534
LISTED = """
import json
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.machine.promises import examine
print(json.dumps({finding.name: finding.broken for finding in examine(Bubblewrap())}))
"""
RUN = """
import sys
from pathlib import Path
from graders.harness.run.bubblewrap import Bubblewrap
from graders.harness.run.run import run
here = Path(sys.argv[1])
run(here / "ex1.ipynb", parameters={}, hand_in={}, run_folder=here / "run", time_limit=600, isolation=Bubblewrap())
"""


def broken(isolation) -> dict[str, str]:
    return {finding.name: finding.broken for finding in examine(isolation) if finding.broken}


def control_groups() -> bool:
    try:
        cgroup.create(None, 10).end()
    except cgroup.NoControlGroup:
        return False
    return True


def test_bubblewrap(bubblewrap):
    """Every promise of the sandbox holds, with control groups and without, for what is started in it and what is forked."""
    assert [way.warm for way in bubblewrap.ways] == [False, True]
    assert broken(bubblewrap) == {}
    assert broken(Bubblewrap(control_groups=False)) == {}
    insist(Bubblewrap(warm=False))


def test_no_isolation():
    """Without a sandbox the same attempts succeed, so that they are known to be able to."""
    assert {*broken(NoIsolation())} >= {promise.name for promise in PROMISES} - {"fork", "memory", "privileges"}
    with pytest.raises(PromiseError, match="no network"):
        insist(NoIsolation(warm=False))


def interpreter_for(user: int) -> str:
    """A Python like this one that an ordinary user can run."""
    for python in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        try:
            subprocess.run([python, "-c", ""], user=user, group=user, extra_groups=[], check=True, cwd="/")
            os.stat(CHECKOUT)
            return python
        except (OSError, subprocess.CalledProcessError):
            continue
    pytest.skip("an ordinary user can run no Python like this one here")


@pytest.mark.skipif(os.getuid() != 0, reason="only the superuser can become another user")
def test_ordinary_user(bubblewrap):
    """An ordinary user gets the same sandbox, with limits by watching where no control group is delegated."""
    python = interpreter_for(NOBODY)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join([str(CHECKOUT), *packages])}
    done = subprocess.run(
        [python, "-c", LISTED],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
    )
    found = json.loads(done.stdout)
    assert {*found} >= {promise.name for promise in PROMISES}
    assert {name for name, possible in found.items() if possible} <= {"memory files"}


def commands() -> list[str]:
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


def test_killed_harness(bubblewrap, tmp_path, notebook_of):
    """A harness that is killed leaves no process, no mount and, once another has run, no control group."""
    notebook_of(tmp_path, ["import subprocess, time", "subprocess.Popen(['/bin/sleep', '600.5'])\ntime.sleep(600)"])
    mounts = Path("/proc/self/mounts").read_text()
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)]) as harness:
        until(lambda: "/bin/sleep 600.5" in commands())
        started = psutil.Process(harness.pid).children(recursive=True)
        os.kill(harness.pid, signal.SIGKILL)
    until(lambda: not any(process.is_running() for process in started))
    assert "/bin/sleep 600.5" not in commands()
    assert Path("/proc/self/mounts").read_text() == mounts
    if control_groups():
        groups = cgroup.create(None, 10)
        assert not [path for folder in groups.folders for path in folder.parent.glob(f"grade-{harness.pid}-*")]
        groups.end()


SMALL = """
import subprocess, sys, time
def one(): return subprocess.Popen([sys.executable, "-I", "-S", "-c", "x = b'x' * (16 << 20); import time; time.sleep(600)"])
several = []
for _ in range(150):  # no faster than a busy machine can look at them
    several.append(one())
    time.sleep(0.03)
while True:
    several = [p if p.poll() is None else one() for p in several]
    time.sleep(0.01)
"""
NAMED = """
import time
for n in range(8):
    with open(f"/tmp/{n}", "wb") as file:
        for _ in range(64): file.write(bytes(1 << 20))
time.sleep(600)
"""
NAMELESS = """
import ctypes, os, time
held = []
for n in range(8):
    path = f"/dev/shm/{n}"
    held.append(os.open(path, os.O_RDWR | os.O_CREAT))
    os.unlink(path)
    for _ in range(64): os.write(held[-1], bytes(1 << 20))
if ctypes.CDLL(None).memfd_create(b"x", 0) >= 0: print("memfd", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    "source", [SMALL, NAMED, NAMELESS], ids=["small processes", "named files", "files without a name"]
)
def test_memory_without_control_groups(bubblewrap, tmp_path, source):
    """Whatever holds too much memory is ended where no control group does it: within seconds, and with everything else."""
    for name in ("work", "evidence"):
        (tmp_path / name).mkdir()
    limits = Limits(memory=256 << 20, processes=1000)
    program = Bubblewrap(control_groups=False).start([sys.executable, "-I", "-S", "-c", source], tmp_path, limits, {})
    try:
        said, _ = program.process.communicate(timeout=PATIENCE)
    finally:
        usage = program.end()
    assert usage.out_of_memory
    assert b"memfd" not in said
    assert usage.peak_memory_bytes < 2 << 30


def test_what_a_killed_harness_left(bubblewrap):
    """The next sandbox ends what goes on in the control group of a harness that is gone, even where its number is another's."""
    if not control_groups():
        pytest.skip("no control groups here")
    made = "import subprocess, sys\nfrom graders.harness.run import cgroup\ngroup = cgroup.create(None, 10)\n" + (
        "sleeper = subprocess.Popen(['sleep', '605.5'], stdout=subprocess.DEVNULL)\n"
        "for entrance in group.entrance: entrance.write_text(str(sleeper.pid))\nprint(group.folders[0], sleeper.pid)"
    )
    said = subprocess.run(
        [sys.executable, "-c", made], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    folder, sleeper = said.split()
    assert psutil.Process(int(sleeper)).status() != psutil.STATUS_ZOMBIE
    another = Path(folder).with_name(f"grade-{os.getpid()}-1-0123abcd")  # of a process with this number, long ago
    another.mkdir()
    cgroup.create(None, 10).end()
    until(lambda: not psutil.pid_exists(int(sleeper)) or psutil.Process(int(sleeper)).status() == psutil.STATUS_ZOMBIE)
    assert not Path(folder).exists()
    assert not another.exists()


def until(condition) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < 60
        time.sleep(0.1)


def test_no_user_namespaces(monkeypatch, tmp_path):
    """Where bubblewrap cannot do its work, what it says is passed on, and what helps."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(IsolationError, match="No permissions to create new namespace") as error:
        insist(Bubblewrap())
    assert "user namespaces" in error.value.fix


def test_not_installed(monkeypatch, tmp_path):
    """Where bubblewrap is missing, the sandbox says so and how to get it."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Exception, match="bubblewrap is not installed") as error:
        insist(Bubblewrap())
    assert "apt-get install bubblewrap" in error.value.fix
