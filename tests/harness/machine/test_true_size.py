"""Models of the true architectures, in the Hub's cache: they are found, loaded and graded with as the small ones are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from graders.harness.result import load
from graders.lora import catalog
from graders.lora.measures.clip import Clip
from graders.lora.measures.generation import BaseModel
from graders.lora.measures.pictures import read_pictures
from tests.harness.machine import true_size
from tests.lora.hub import into_cache

MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SOLUTIONS = Path("reference_solutions").absolute()
COLAB = 12.7e9
"""Bytes of memory of the machine that Colab lends for nothing."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An HF_HOME with Stable Diffusion and both judges in it."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("made")
    true_size.stable_diffusion(folder / "sd")
    into_cache(folder / "sd", MODEL, home)
    for name in true_size.JUDGES:
        true_size.clip(folder / name, name)
        into_cache(folder / name, name, home)
    return home


def snapshot(home: Path, name: str) -> Path:
    [found] = (home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots").iterdir()
    return found


@pytest.mark.campaign
@pytest.mark.parametrize(("exercise", "points"), [("ex1", 20), ("ex2", 25)])
def test_full_marks(grade, home, tmp_path, exercise, points):
    """The reference solutions get full marks with a model from the cache, in the sandbox and without a network."""
    written = tmp_path / "result.json"
    status, said = grade(
        *(exercise, SOLUTIONS / f"{exercise}.ipynb", "--model", MODEL, "--isolation", "bubblewrap", "--json", written),
        HF_HOME=str(home),
        HF_HUB_OFFLINE="1",
    )
    assert status == 0, said
    result = load(written)
    assert (result.score, result.max_score) == (points, points)
    assert result.run["unets_at_once"] <= 1
    assert result.run["peak_memory_bytes"] < COLAB


@pytest.mark.campaign
def test_base_model(home):
    """The graders generate with it in half precision, a few pictures at a time, at the size that its U-Net was trained on."""
    base_model = BaseModel(snapshot(home, MODEL), "cpu", "bfloat16")
    assert {str(p.dtype) for p in base_model.unet.parameters()} == {"torch.bfloat16"}
    assert (base_model.side, base_model.batch, base_model.pipeline.vae.use_slicing) == (512, 4, True)


def test_half_precision():
    """In half precision pictures come out, and latents; with the small model, for some CPUs take minutes for the large one."""
    base_model = BaseModel(catalog.TINY_SD, "cpu", "bfloat16")
    pictures = base_model.generate(["a red boat"], [1], steps=1, guidance=1.0)
    assert (pictures.shape, pictures.dtype) == ((1, 64, 64, 3), np.uint8)
    assert pictures.std() > 0
    latents = base_model.encode(read_pictures(catalog.dataset("watercolor/reference")).images[:1])
    assert latents.shape[0] == 1
    assert latents.dtype == torch.float32
    assert latents.isfinite().all()


@pytest.mark.campaign
@pytest.mark.parametrize("name", true_size.JUDGES)
def test_judge(home, name):
    """Both judges see pictures and read captions, as embeddings of the size of each."""
    clip = Clip(snapshot(home, name), "cpu")
    style = read_pictures(catalog.dataset("watercolor/reference"))
    seen, read = clip.see(style.images[:2]), clip.read(style.captions[:3])
    width = true_size.JUDGES[name]["projection_dim"]
    assert (seen.shape, read.shape) == ((2, width), (3, width))
    assert (seen.norm(dim=1) - 1).abs().max() < 1e-5
