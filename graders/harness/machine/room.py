"""Room for an exercise: memory and disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graders.harness.data.sizes import gib
from graders.harness.finding import Finding
from graders.harness.lesson import Lesson
from graders.harness.run.memory_watch import free_memory, machine_memory

_SHARE = 2
"""Less than this part of what was measured is clearly too little. Other builds of the libraries take less, but they are
most of what even the smallest notebook takes. Between that and all of it, there is a warning."""


def examine(
    folder: Path, lesson: Lesson, exercise: str | None = None, parameters: Mapping[str, Any] | None = None
) -> Iterator[Finding]:
    """Whether there is room for grading in ``folder``: one exercise, or the one that takes most, with ``parameters``."""
    names = [exercise] if exercise else list(lesson.names)
    memory = {name: lesson.outlines[name].memory + lesson.extra_memory(name, parameters or {}) for name in names}
    most = max(names, key=lambda name: memory[name])
    yield _memory(memory[most], most)
    most = max(names, key=lambda name: lesson.outlines[name].disk)
    disk = lesson.outlines[most].disk
    yield _disk("this folder", folder, disk, most)
    try:
        yield _disk("temporary files", Path(tempfile.gettempdir()), disk, most)
    except FileNotFoundError:
        fix = "Free some space, or set TMPDIR to a folder on another disk."
        yield Finding("temporary files", "temporary files", "no folder for them can be written", fix)


def _memory(need: int, exercise: str) -> Finding:
    free = free_memory()
    words = f"memory: {gib(free)} free of {gib(machine_memory())}; {exercise} takes up to {gib(need)}"
    if free >= need:
        return Finding("memory", words)
    fix = "Close other programs and notebooks that are open, or use a machine with more memory."
    if free_memory(swap=True) < need // _SHARE:
        return Finding("memory", words, "that is too little", fix)
    return Finding("memory", words, "it may not be enough", fix, essential=False)


def _disk(what: str, folder: Path, need: int, exercise: str) -> Finding:
    elsewhere = f"{'set TMPDIR to' if what == 'temporary files' else 'grade in'} a folder elsewhere."
    fix = f"Free some space, or {elsewhere}"
    name = f"disk, {what}"
    if not os.access(folder, os.W_OK):
        return Finding(name, f"{what} ({folder})", "it cannot be written", f"Mend its permissions, or {elsewhere}")
    free = shutil.disk_usage(folder).free
    words = f"{what} ({folder}): {gib(free)} free; {exercise} takes up to {gib(need)}"
    if free >= need:
        return Finding(name, words)
    if free < need // _SHARE:
        return Finding(name, words, "that is too little", fix)
    return Finding(name, words, "it may not be enough", fix, essential=False)
