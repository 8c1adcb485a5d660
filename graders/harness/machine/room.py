"""Room for an exercise: memory and disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders.harness.machine.finding import Finding
from graders.harness.run.memory_watch import free_memory, machine_memory


@dataclass(frozen=True)
class Need:
    """What grading a notebook took: at most so many bytes of memory and of disk."""

    memory: int
    disk: int


NEEDS = {
    "ex1": Need(932 << 20, 1 << 20),
    "ex2": Need(1160 << 20, 42 << 20),
    "ex3": Need(1545 << 20, 3 << 20),
    "ex4": Need(1154 << 20, 2 << 20),
}
"""Of each reference solution, both its runs and the checks, on the CPU and two cores: what
`python -m tests.harness.machine.needs` printed with torch 2.13.0+cpu, diffusers 0.42.1 and Python 3.11. Exercises 3 and 4 ran
with `-p NUM_INFERENCE_STEPS=2`, and 3 with `-p STEPS=10`: it takes more time to do the same more often, and no more memory."""
TRUE_UNET = 4 * 859_520_964
"""Bytes of the U-Net of Stable Diffusion 1.5 alone: exercise 1 counts its parameters, and each has four bytes."""
TRUE_SIZE = 1 << 30
"""Bytes that the file of a U-Net's weights has at least if it is of true size; half precision makes it 1.7 GB."""
TRUE_NEED = Need(2 * TRUE_UNET, 0)
"""What a model of true size takes in addition: exercise 2 took 6.8 GiB with it, in float32 on the CPU, and as much without
it as in :data:`NEEDS`."""
_SHARE = 2
"""Less than this part of what was measured is clearly too little. Other builds of the libraries take less, but they are
most of what even the smallest notebook takes. Between that and all of it, there is a warning."""


def of_true_size(model: Any) -> bool:
    """Whether a model is a folder with a U-Net as large as that of Stable Diffusion 1.5."""
    weights = Path(str(model), "unet", "diffusion_pytorch_model.safetensors")
    return weights.is_file() and weights.stat().st_size >= TRUE_SIZE


def examine(folder: Path, exercise: str | None = None, model: Any = None) -> Iterator[Finding]:
    """Whether there is room for grading in ``folder``: one exercise, or the one that takes most, on a base model."""
    names = [exercise] if exercise else list(NEEDS)
    most = max(names, key=lambda name: NEEDS[name].memory)
    larger = TRUE_NEED.memory if most != "ex1" and of_true_size(model) else 0  # which builds it without weights
    yield _memory(NEEDS[most].memory + larger, most)
    most = max(names, key=lambda name: NEEDS[name].disk)
    yield _disk("this folder", folder, NEEDS[most].disk, most)
    try:
        yield _disk("temporary files", Path(tempfile.gettempdir()), NEEDS[most].disk, most)
    except FileNotFoundError:
        fix = "Free some space, or set TMPDIR to a folder on another disk."
        yield Finding("temporary files", "temporary files", "no folder for them can be written", fix)


def gib(size: int) -> str:
    """Such as 1.5 GiB, or 20 MiB."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 29 else f"{size / (1 << 20):.0f} MiB"


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
