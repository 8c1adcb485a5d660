"""What is seen of a notebook while it runs, because it may be gone when it has run."""

import numpy as np

from graders.lora import catalog


def test_unets_in_memory(run_cells):
    """The U-Nets that a notebook holds at once are counted: not those that are gone, nor those without weights."""
    one = "UNet2DConditionModel(8, block_out_channels=(32,), down_block_types=('DownBlock2D',), up_block_types=('UpBlock2D',))"
    build = f"""
import torch
from diffusers import UNet2DConditionModel
with torch.device("meta"): empty = [{one}, {one}]
"""
    assert run_cells(build, f"a = {one}", "del a", f"a = {one}", hand_in={}).run.unets_at_once == 1
    assert run_cells(build, f"a, b = {one}, {one}; c = a", "del a, b, c", hand_in={}).run.unets_at_once == 2


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
    settings = list(map(evidence.settings_of, evidence.pictures("images")))
    assert [its.get("guidance_scale") for its in settings] == [1.0, 5.0, 1.0, None, None, None]
    assert (settings[0]["scheduler"], settings[0]["precision"]) == ("DPMSolverMultistepScheduler", "float32")
    assert evidence.merges == 0
    first, stronger, other, red, *black = map(evidence.noise_of, evidence.pictures("images"))
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
    counted, trained = run_cells(train, hand_in={}).lora_adapters
    assert (counted.trained, trained.trained) == (False, True)
    assert (counted.layers["0"].rank, counted.layers["0"].scale) == (2, 3.0)
    assert (trained.layers["0"].rank, trained.layers["0"].scale) == (4, 2.0)
    assert any(trained.layers["0"].down)
    assert not any(trained.layers["0"].up)


def test_backward_passes(run_cells):
    """The backward passes of a run are counted, however they are begun, also in the cell that imports PyTorch."""
    cell = """
import torch
x = torch.ones(3, requires_grad=True)
for _ in range(4):
    (x * x).sum().backward()
torch.autograd.backward((x * x).sum())
"""
    assert run_cells(cell, "x.sum().backward()", hand_in={}).backward_passes == 6
    assert run_cells("x = 1", hand_in={}).backward_passes == 0
