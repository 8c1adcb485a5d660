"""The gradients of an adapter → their norms, layer by layer."""

import math

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

from graders.harness.run.states import ModuleState, ParameterState
from graders.lora import catalog
from graders.lora.measures.adapted_unet import AdaptedUNet
from graders.lora.measures.blocks import Blocks
from graders.lora.measures.lora_gradients import MAX_PAIRS, norms

ATTENTION = ["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]


def model() -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(catalog.TINY_SD, subfolder="unet").requires_grad_(False)


@pytest.fixture(scope="module")
def base() -> UNet2DConditionModel:
    return model()


@pytest.fixture(scope="module")
def stepped() -> UNet2DConditionModel:
    """The model with an adapter, and what one backward has left."""
    unet = model()
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=ATTENTION))
    generator = torch.Generator().manual_seed(0)
    noisy, text = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 7, 96, generator=generator)
    unet(noisy, 500, text).sample.square().mean().backward()
    return unet


def state(unet: UNet2DConditionModel) -> dict[str, ParameterState]:
    return {
        name: ParameterState(p.detach(), p.grad, p.requires_grad, i)
        for i, (name, p) in enumerate(unet.named_parameters())
    }


def measured(parameters: dict[str, ParameterState], base: UNet2DConditionModel) -> dict[str, list]:
    return norms(AdaptedUNet(ModuleState("UNet", True, parameters), base), Blocks.of(base.config))


def test_the_first_step(stepped: UNet2DConditionModel, base: UNet2DConditionModel) -> None:
    """After one real backward every A is at exactly 0, every B is not, W has none; layers stand in the latent's order."""
    found = measured(state(stepped), base)
    assert found["block"] == [0] * 4 + [1] * 4 + [3] * 4 + [5] * 8 + [6] * 8
    assert found["a"] == [0.0] * 28
    assert found["w"] == [None] * 28
    gradients = dict(stepped.named_parameters())
    first = gradients["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q.lora_B.default.weight"].grad
    assert found["b"][0] == pytest.approx(float(first.norm()))
    assert all(norm > 0 for norm in found["b"])
    assert (found["depth"], found["pairs"], found["broken"]) == ([3], [28], [0, 0, 0])


def test_gradients_that_are_tiny_huge_or_broken(stepped: UNet2DConditionModel, base: UNet2DConditionModel) -> None:
    """The smallest number is not 0, the largest not infinite, and NaN is counted as broken."""
    parameters = state(stepped)
    bs = [name for name in parameters if "lora_B" in name and name.startswith("down_blocks.0")]
    for name, value in zip(bs, (1e-45, 1e38, math.nan, -math.inf), strict=True):
        old = parameters[name]
        parameters[name] = ParameterState(old.value, torch.full_like(old.value, value), True, old.identity)
    found = measured(parameters, base)
    assert 0 < found["b"][0] < 1e-43
    assert 1e38 < found["b"][1] < math.inf
    assert not any(math.isfinite(norm) for norm in found["b"][2:4])
    assert found["broken"] == [0, 2, 0]


def test_more_pairs_than_a_figure_shows(stepped: UNet2DConditionModel, base: UNet2DConditionModel) -> None:
    """Of any number of adapters on top of each other, some pairs are measured and all are counted."""
    parameters = state(stepped)
    for name, old in list(parameters.items()):
        if "lora_" in name:
            parameters |= {name.replace("default", f"x{i}"): old for i in range(19)}
    found = measured(parameters, base)
    assert found["pairs"] == [20 * 28]
    assert len(found["a"]) == len(found["b"]) == len(found["w"]) == len(found["block"]) == MAX_PAIRS
