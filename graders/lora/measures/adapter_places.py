"""Where an adapter lies: the one safetensors file that a hand-in's file or folder means.

Nothing is opened here; links, special files, pickles and what is too large are refused by their looks.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from graders.harness.data.values import shown
from graders.lora.measures.adapter_refusals import SAVE, SAVE_LORA_ONLY, AdapterError

MAX_FILE_BYTES = 512 * 2**20
"""Rank 128 on every layer of Stable Diffusion 1.5 fits; a whole U-Net in float32 or float16 does not."""
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE = "adapter_model.safetensors"

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def status_of(path: Path) -> os.stat_result:
    """What ``path`` is, or :class:`AdapterError` if nothing is there or a link."""
    try:
        status = path.lstat()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise AdapterError(f"There is no {shown(path.name)}.", SAVE) from error
    if stat.S_ISLNK(status.st_mode):
        raise AdapterError(f"{shown(path.name)} is a symbolic link.", "Hand in the file itself.")
    return status


def find(path: Path) -> Path:
    """The safetensors file that ``path`` is or, for a folder, holds."""
    if stat.S_ISDIR(status_of(path).st_mode):
        path = _choose(path)
    status, name = status_of(path), shown(path.name)
    if not stat.S_ISREG(status.st_mode):
        raise AdapterError(f"{name} is not a regular file.", SAVE)
    if path.suffix.lower() in _PICKLES:
        raise AdapterError(f"{name} is a pickle, which can run code when it is loaded.", SAVE)
    if path.suffix.lower() != ".safetensors":
        raise AdapterError(f"{name} is not a .safetensors file.", SAVE)
    if status.st_size > MAX_FILE_BYTES:
        problem = f"{name} has {status.st_size / 2**20:.0f} MiB; at most {MAX_FILE_BYTES / 2**20:.0f} MiB are read."
        raise AdapterError(problem, SAVE_LORA_ONLY)
    return path


def _choose(folder: Path) -> Path:
    """The file of ``folder`` that holds the adapter."""
    if known := _saved_in(folder):
        return known
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        names = [entry.name for entry in entries]
        # PEFT's save_pretrained gives every adapter that is not named "default" a folder of its own
        inner = [saved for entry in entries if entry.is_dir(follow_symlinks=False) and (saved := _saved_in(entry))]
    except OSError as error:
        raise AdapterError(f"The folder {shown(folder.name)} cannot be read.", SAVE) from error
    candidates = [name for name in names if name.endswith(".safetensors")]
    if len(candidates) == 1:
        return folder / candidates[0]
    found_there = ", ".join(map(shown, names[:8])) + (", …" if len(names) > 8 else "")
    if candidates:
        problem = f"The folder {shown(folder.name)} holds {len(candidates)} safetensors files: {found_there}."
        raise AdapterError(problem, f"Keep one of them, named {DIFFUSERS_FILE}.")
    if len(inner) == 1:
        return inner[0]
    if inner:
        several = " and ".join(shown(saved.parent.name) for saved in inner[:8]) + (
            " and more" if len(inner) > 8 else ""
        )
        problem = f"The folder {shown(folder.name)} holds {len(inner)} adapters, in {several}."
        raise AdapterError(problem, "Keep the one that you trained for this rank.")
    problem = f"The folder {shown(folder.name)} holds no {DIFFUSERS_FILE}; it holds {found_there or 'nothing'}."
    if any(name.lower().endswith(_PICKLES) for name in names):
        problem += " A pickle is not read: it can run code when it is loaded."
    raise AdapterError(problem, SAVE)


def _saved_in(folder: os.PathLike[str]) -> Path | None:
    """The file in ``folder`` under a name that a library gives it."""
    places = (Path(folder) / name for name in (DIFFUSERS_FILE, PEFT_FILE))
    return next((place for place in places if os.path.lexists(place)), None)
