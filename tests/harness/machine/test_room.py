"""Too little memory or disk is said before a run, and what merely may be too little only as a warning."""

import shutil
from pathlib import Path

import pytest

from graders.harness.finding import Finding
from graders.harness.machine import room
from graders.harness.run import memory_watch
from graders.lesson import LESSON


def sizes(monkeypatch, *, free: int, swap: int = 0, disk: int = 1 << 40) -> dict[str, Finding]:
    """What is found where so many bytes are free."""
    monkeypatch.setattr(room, "free_memory", lambda **given: free + (swap if given else 0))
    usage = shutil.disk_usage("/")._replace(free=disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    return {finding.name: finding for finding in room.examine(Path.cwd(), LESSON, "ex3")}


def test_memory(monkeypatch):
    """Half of what was measured is refused, a little less than all of it a warning; swap keeps from refusing."""
    need = LESSON.outlines["ex3"].memory
    assert sizes(monkeypatch, free=need)["memory"].broken is None
    tight = sizes(monkeypatch, free=need - 1)["memory"]
    assert (tight.broken, tight.fatal) == ("it may not be enough", False)
    assert sizes(monkeypatch, free=need // 2 - 1)["memory"].fatal
    assert not sizes(monkeypatch, free=need // 2 - 1, swap=need)["memory"].fatal


def test_disk(monkeypatch):
    """The same holds for the disk of the folder and that of temporary files."""
    need = LESSON.outlines["ex3"].disk
    for name in ("disk, this folder", "disk, temporary files"):
        assert sizes(monkeypatch, free=1 << 40, disk=need)[name].broken is None
        assert not sizes(monkeypatch, free=1 << 40, disk=need - 1)[name].fatal
        assert sizes(monkeypatch, free=1 << 40, disk=need // 2 - 1)[name].fatal


def test_limited_memory(grade, refused):
    """A process that may have no more than half a gigabyte (`ulimit -v`) is refused before it meets the limit."""
    refused(grade("ex3", before="ulimit -v 450000"), "memory:", "that is too little", "Close other programs")


def test_container(monkeypatch, tmp_path):
    """In a container its own limit counts, and files that are only kept for reading count as free."""
    for name, text in {"memory.max": "1000", "memory.current": "900"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "memory.stat").write_text("anon 300\nactive_file 200\ninactive_file 400\n")
    monkeypatch.setattr(memory_watch, "Path", lambda place: tmp_path)
    assert memory_watch.free_memory() == 700


def in_a_small_folder(*command: str, size: int, place: str) -> list[str]:
    return [
        *("bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--size", str(size), "--tmpfs", place),
        *("--chdir", place, *command),
    ]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="a small file system is made with bubblewrap")
def test_full_disk(grade, refused, tmp_path):
    """On a disk of a megabyte exercise 3 is refused, with what helps."""
    (tmp_path / "small").mkdir()
    before = " ".join(in_a_small_folder('"$@"', size=1 << 20, place=str(tmp_path / "small")))
    answer = grade("ex3", before=f"exec {before}; true")
    refused(answer, f"this folder ({tmp_path}/small): 1 MiB free", "that is too little", "Free some space")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="a folder is made unwritable with bubblewrap")
def test_folder_that_cannot_be_written(grade, refused, tmp_path):
    """So is a folder that cannot be written, by the superuser either."""
    (tmp_path / "fixed").mkdir()
    fixed = str(tmp_path / "fixed")
    before = f'exec bwrap --dev-bind / / --ro-bind {fixed} {fixed} --chdir {fixed} "$@"; true'
    refused(grade("ex3", before=before), f"this folder ({fixed}): it cannot be written", "Mend its permissions")
