"""The GPU: is there one, how much memory has it, and can the installed torch use it?

Torch is not imported here but in a process of its own: to ask it takes seconds and starts CUDA.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from graders.harness.data.sizes import gib
from graders.harness.finding import Finding

_DEVICE = "/dev/nvidiactl"
"""What the driver shows on Linux, also in a container without nvidia-smi."""
_QUERY = ("--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")
_BUILD = "Choose your CUDA version at https://pytorch.org/get-started/locally and run the command that it gives."
_DRIVER = "Install NVIDIA's driver until nvidia-smi shows the GPU; in Colab: Runtime, Change runtime type."
_ASK = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    broken = None
    try:
        import torch
        assert torch.cuda.is_available(), "torch.cuda.is_available() is False"
        (torch.ones(8, 8, device="cuda") @ torch.ones(8, 8, device="cuda")).sum().item()
    except Exception as error:
        broken = next((str(w.message) for w in said if "CUDA" in str(w.message)), f"{error}")
print(json.dumps(broken))
"""
PATIENCE = 120.0
"""Seconds that torch may take to answer. Three were seen."""


@dataclass(frozen=True)
class Card:
    """A GPU as its driver describes it; memory in bytes."""

    name: str
    total: int
    free: int


@cache
def cards() -> tuple[Card, ...]:
    """The NVIDIA GPUs that the driver tells of."""
    try:
        done = subprocess.run(("nvidia-smi", *_QUERY), capture_output=True, text=True, errors="replace", timeout=10.0)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = [[part.strip() for part in line.rsplit(",", 2)] for line in done.stdout.splitlines()]
    return tuple(
        Card(name, int(total) << 20, int(free) << 20)
        for name, total, free in (line for line in lines if len(line) == 3)
        if total.isdigit() and free.isdigit()
    )


def examine(slowest: str, minutes: int) -> Iterator[Finding]:
    """What is to be said of the GPU, or of its absence; nothing of it keeps anyone from grading on the CPU,
    where the ``slowest`` exercise takes so many ``minutes``.
    """
    found = cards()
    for card in found:
        yield Finding("gpu", f"{card.name}: {gib(card.free)} free of {gib(card.total)}")
    if found or _driver() or _rocm():
        broken, fix = cuda()
        yield Finding("cuda", "torch can use the GPU", broken, fix, essential=False)
        if broken is None:
            return
    why = "no NVIDIA driver answers" if not found else "until then"
    words = f"{why}: notebooks run on the CPU, {slowest} in less than {minutes} minutes on two cores"
    yield Finding("cpu", words if not _build("cuda") or found else f"{words}; if there is a GPU, install its driver")


def asked(device: object) -> Iterator[Finding]:
    """Whether notebooks can run on the device that was asked for; seconds only if it is a GPU that seems to be there."""
    if isinstance(device, str) and device.startswith("cuda"):
        broken, fix = cuda()
        yield Finding("cuda", f"`{device}` was asked for", broken, f"Leave out --device to run on the CPU. {fix}")


def cuda() -> tuple[str | None, str]:
    """Why torch cannot use a GPU, None if it can, and what helps."""
    if find_spec("torch") is None:
        return "torch is not installed", _BUILD
    if not _build("cuda") and not _rocm():
        return "the installed torch is built for the CPU only", _BUILD
    if not _rocm() and not _driver():
        return "no NVIDIA driver answers here", _DRIVER
    try:
        done = subprocess.run((sys.executable, "-c", _ASK), capture_output=True, text=True, timeout=PATIENCE)
        broken: str | None = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        broken = "torch ended when it was asked to compute on it"
    if broken is None:
        return None, ""
    reason = " ".join(broken.split())[:300].rstrip(".")
    if "no kernel image" in reason or "not compatible" in reason:
        return f"this build of torch is not made for its compute capability ({reason})", _BUILD
    return f"torch says: {reason}", f"Update NVIDIA's driver. If that does not help: {_BUILD}"


def _driver() -> bool:
    return os.path.exists(_DEVICE) or bool(cards())


def _rocm() -> bool:
    """Whether torch is built for AMD's GPUs, which it calls CUDA, too."""
    return _build("hip") is not None


@cache
def _build(what: str) -> str | None:
    """The version of "cuda" or "hip" that torch is built for, read where torch has written it down."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(rf"^{what}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return match[1] if match else None
