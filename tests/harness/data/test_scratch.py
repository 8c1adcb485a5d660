"""Temporary folders: they end with who made them, or with the next one who makes one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graders.harness.data.scratch import Scratch

HOLD = """
import os, sys
from graders.harness.data.scratch import Scratch
held = Scratch("test")
print(held.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def old(folder: Path) -> None:
    """Make a folder look a minute old."""
    os.utime(folder, (0, 0))


def test_killed(temporary: Path) -> None:
    """What a killed process had is removed when the next one makes a folder, and not while it lives."""
    command = [sys.executable, "-c", HOLD]
    held = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)}
    )
    with held:
        assert held.stdout
        folder = Path(held.stdout.readline().strip())
        (folder / "file").write_text("something")
        old(folder)
        Scratch("test").cleanup()
        assert (folder / "file").exists()
        held.send_signal(signal.SIGKILL)
        held.wait()
        Scratch("test").cleanup()
        assert not folder.exists()


def test_others(temporary: Path) -> None:
    """Nothing else is removed: no young folder, which is about to be locked, and none behind a link."""
    elsewhere = temporary / "mine"
    (elsewhere / "work").mkdir(parents=True)
    (temporary / "grade-link").symlink_to(elsewhere)
    (temporary / "grade-file").write_text("a file")
    (temporary / "grade-young").mkdir()
    old(elsewhere)
    os.utime(temporary / "grade-link", (0, 0), follow_symlinks=False)
    os.utime(temporary / "grade-file", (0, 0))
    Scratch("test").cleanup()
    assert {path.name for path in temporary.iterdir()} == {"mine", "grade-link", "grade-file", "grade-young"}
    assert (elsewhere / "work").is_dir()


def test_emptied() -> None:
    """Whatever was left in one is removed, and the folder stays, and stays locked."""
    with Scratch("test") as name:
        place = Path(name)
    assert not place.exists()
    scratch = Scratch("test")
    (Path(scratch.name) / "a" / "b").mkdir(parents=True)
    (Path(scratch.name) / "link").symlink_to("a")
    scratch.empty()
    old(Path(scratch.name))
    Scratch("test").cleanup()
    assert list(Path(scratch.name).iterdir()) == []
    scratch.cleanup()
    scratch.cleanup()
    assert not Path(scratch.name).exists()


def test_removed_by_two_threads(monkeypatch):
    """Whoever removes a folder while another thread is about to leaves it alone, and closes nobody else's file."""
    folder, close = Scratch("home"), os.close

    def meanwhile(descriptor: int) -> None:
        monkeypatch.undo()
        folder.cleanup()
        close(descriptor)

    monkeypatch.setattr(os, "close", meanwhile)
    folder.cleanup()
    assert not Path(folder.name).exists()
