"""What is seen of adapters, U-Nets and pictures while a notebook runs, because it may be gone when it has run."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from graders.harness.run.evidence import Evidence
from graders.harness.run.run import run
from graders.lesson import LESSON
from graders.lora import catalog
from graders.lora.sightings import lora_adapters, lora_configs, made_with, merges, noise_of, read
from tests.harness.conftest import write_notebook

Runner = Callable[..., Evidence]


@pytest.fixture
def run_cells(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Runs code cells in a kernel and gives the evidence."""

    def runner(*cells: str, **options: Any) -> Evidence:
        folder = tmp_path_factory.mktemp("run")
        path = write_notebook(folder / "hand-in", list(cells), ())
        options = {"parameters": {}, "hand_in": {}, "time_limit": 60.0, "grace": 12.0, **options}
        return run(path, run_folder=folder / "run", watchers=LESSON.watching, **options)

    return runner


def test_unets_in_memory(run_cells):
    """The U-Nets that a notebook holds at once are counted: not those that are gone, nor those without weights."""
    one = "UNet2DConditionModel(8, block_out_channels=(32,), down_block_types=('DownBlock2D',), up_block_types=('UpBlock2D',))"
    build = f"""
import torch
from diffusers import UNet2DConditionModel
with torch.device("meta"): empty = [{one}, {one}]
"""
    assert read(run_cells(build, f"a = {one}", "del a", f"a = {one}"))["unets_at_once"] == 1
    assert read(run_cells(build, f"a, b = {one}, {one}; c = a", "del a, b, c"))["unets_at_once"] == 2
    more = """
import copy, pickle
class Mine(UNet2DConditionModel): pass
b, c = copy.deepcopy(a), pickle.loads(pickle.dumps(a))
"""
    assert read(run_cells(build, f"a = {one}{more}d = Mine(**a.config)"))["unets_at_once"] == 4


def test_noises_of_pictures(run_cells):
    """From which noise a pipeline generated a picture is known; not of one that came from several, or from elsewhere.

    It makes no difference that one cell imports the pipeline and generates with it.
    """
    generate = """
import torch
from PIL import Image
pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None)
def paint(seed, guidance):
    noise = torch.Generator().manual_seed(seed)
    return pipe("a cat", num_inference_steps=1, generator=noise, guidance_scale=guidance).images[0]
images = [paint(0, 1.0), paint(0, 5.0), paint(1, 1.0), Image.new("RGB", (64, 64), "red")]
pipe.image_processor.postprocess = lambda *given, **options: [Image.new("RGB", (64, 64))]
images += [paint(0, 1.0), paint(1, 1.0)]
"""
    evidence = run_cells(
        "from diffusers import StableDiffusionPipeline" + generate, hand_in={"images": "pictures"},
        parameters={"MODEL": str(catalog.TINY_SD)}, readable=[catalog.TINY_SD],
    )  # fmt: skip
    settings = list(map(partial(made_with, evidence), evidence.pictures("images")))
    assert [its.get("guidance_scale") for its in settings] == [1.0, 5.0, 1.0, None, None, None]
    assert (settings[0]["scheduler"], settings[0]["precision"]) == ("DPMSolverMultistepScheduler", "float32")
    assert merges(evidence) == 0
    first, stronger, other, red, *black = map(partial(noise_of, evidence), evidence.pictures("images"))
    np.testing.assert_array_equal(first, stronger)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.5
    assert [red, *black] == [None] * 3


def test_lora_adapters(run_cells):
    """Of the adapters that PEFT adds it is on record which were trained, and at which strength, also when they are gone."""
    train = """
import torch
from peft import LoraConfig, get_peft_model
def adapted(device="cpu", **options):
    with torch.device(device):
        model = torch.nn.Sequential(torch.nn.Linear(5, 7))
    return get_peft_model(model, LoraConfig(target_modules=["0"], **options))
adapted("meta", r=2, lora_alpha=2)
adapted(r=2, lora_alpha=6)
model = adapted(r=4, lora_alpha=4, use_rslora=True)
model(torch.ones(1, 5)).sum().backward()
del model
"""
    counted, trained = lora_adapters(run_cells(train))
    assert (counted.trained, trained.trained) == (False, True)
    assert (counted.layers["0"].rank, counted.layers["0"].scale) == (2, 3.0)
    assert (trained.layers["0"].rank, trained.layers["0"].scale) == (4, 2.0)
    assert any(trained.layers["0"].down)
    assert not any(trained.layers["0"].up)


def test_lora_configs(run_cells):
    """Every LoRA configuration that was made is on record in the order of making, also one that is gone since."""
    build = """
from peft import LoraConfig
config = LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_k"])
gone = LoraConfig(r=16, lora_alpha=32)
del gone
import copy
copied = copy.copy(config)
copied.r = 2
"""
    config, gone, *alive = lora_configs(run_cells(build))
    assert [one["r"] for one in alive] == [4, 2]
    assert (config["r"], config["lora_alpha"], set(config["target_modules"])) == (4, 8, {"to_q", "to_k"})
    assert (gone["r"], gone["lora_alpha"]) == (16, 32)
