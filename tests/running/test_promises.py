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
from graders.running import cgroup
from graders.running.bubblewrap import Bubblewrap
from graders.running.promises import PROMISES, PromiseError, examine, insist
from graders.running.sandbox import IsolationError, NoIsolation

CHECKOUT = Path(graders.__file__).parents[1]
NOBODY = 65534
LISTED = """
import json
from graders.running.bubblewrap import Bubblewrap
from graders.running.promises import examine
print(json.dumps({finding.name: finding.broken for finding in examine(Bubblewrap())}))
"""
RUN = """
import sys
from pathlib import Path
from graders.running.bubblewrap import Bubblewrap
from graders.running.run import run
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
    """Every promise of the sandbox holds; without control groups that on memory held by files does not."""
    assert broken(bubblewrap) == {} if control_groups() else {*broken(bubblewrap)} == {"memory files"}
    assert {*broken(Bubblewrap(control_groups=False))} == {"memory files"}
    insist(bubblewrap)


def test_no_isolation():
    """Without a sandbox the same attempts succeed, so that they are known to be able to."""
    assert {*broken(NoIsolation())} >= {promise.name for promise in PROMISES} - {"fork", "memory", "privileges"}
    with pytest.raises(PromiseError, match="no network"):
        insist(NoIsolation())


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
