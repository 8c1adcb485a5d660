"""Which installed packages notebooks see in a sandbox: what they are made with, and nothing that was installed beside it."""

from __future__ import annotations

import re
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

_NOTEBOOKS = (
    "accelerate", "av", "bitsandbytes", "clip-anytorch", "compel", "controlnet-aux", "datasets", "diffusers",
    "einops", "ema-pytorch", "evaluate", "ftfy", "gradio", "imageio", "invisible-watermark", "ipykernel", "ipympl",
    "ipython", "ipywidgets", "jupyterlab-widgets", "k-diffusion", "kornia", "lightning", "lpips", "matplotlib",
    "nbclient", "nbformat", "nltk", "numpy", "omegaconf", "open-clip-torch", "opencv-python",
    "opencv-python-headless", "optimum", "packaging", "pandas", "peft", "pillow", "pip", "plotly", "prodigyopt",
    "protobuf", "psutil", "pytorch-lightning", "pyyaml", "requests", "rich", "safetensors", "scikit-image",
    "scikit-learn", "scipy", "seaborn", "sentencepiece", "setuptools", "sympy", "tensorboard", "timm", "tokenizers",
    "torch", "torchaudio", "torchdata", "torchmetrics", "torchvision", "tqdm", "transformers", "triton",
    "typeguard", "wheel", "xformers",
)  # fmt: skip
"""What notebooks about diffusion models import, where it is installed; what these need comes with them."""


@cache
def seen() -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The folders in which packages are installed, of which nothing is to be seen, and what in them is, after all."""
    folders = _folders()
    there = {_normal(found.name): found for found in distributions() if found.name}
    wanted, waiting = dict[str, Distribution](), [_normal(name) for name in _NOTEBOOKS]
    while waiting:
        name = waiting.pop()
        if name in there and name not in wanted:
            wanted[name] = there[name]
            waiting += _needs(there[name])
    entries = {entry for found in wanted.values() for entry in _entries(found) if entry.parent in folders}
    return folders, tuple(sorted(entry for entry in entries if entry.exists()))


def _folders() -> tuple[Path, ...]:
    """Where this Python, and the one that a virtual environment was made with, have packages."""
    named = [*site.getsitepackages(), *site.getsitepackages([sys.base_prefix])]
    named += [sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")]
    found = {Path(name) for name in named} | {Path(name).resolve() for name in named}
    found |= {Path(name) for name in sys.path if Path(name).name in ("site-packages", "dist-packages")}
    return tuple(sorted(folder for folder in found if folder.is_dir()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needs(found: Distribution) -> Iterator[str]:
    """The packages that one requires on this machine, without its extras."""
    for line in found.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _normal(requirement.name)


def _entries(found: Distribution) -> set[Path]:
    """What a distribution has put into its folder: packages, modules, and what says so."""
    home = Path(str(found.locate_file("")))
    record = (found.read_text("RECORD") or "").splitlines()
    names = {line.lstrip('"').partition("/")[0].partition(",")[0] for line in record}
    if not record:  # as systems' own packages have it
        names = {*(found.read_text("top_level.txt") or _normal(found.name).replace("-", "_")).split()}
        names |= {f"{name}.py" for name in names}
    return {home / name for name in names if name not in ("", "..", "__pycache__")}
