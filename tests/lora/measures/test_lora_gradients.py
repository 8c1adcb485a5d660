"""The gradients of an adapter → their norms, layer by layer, and how they compare with the recomputed ones."""

import math

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

from graders.harness.rubric import CheckFailed
from graders.harness.run.states import ModuleState, ParameterState
from graders.lora import catalog
from graders.lora.measures.adapted_unet import AdaptedUNet, LoraPair
from graders.lora.measures.blocks import Blocks
from graders.lora.measures.lora_gradients import MAX_PAIRS, agreement, judge_recomputed, norms

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


def pairs_with(gradients: list[torch.Tensor]) -> list[LoraPair]:
    """Pairs of A = 1 whose B's have these gradients [out, r]."""
    return [
        LoraPair(
            f"layer{i}",
            ParameterState(torch.eye(2), torch.zeros(2, 2), True, 2 * i),
            ParameterState(torch.zeros_like(gradient), gradient, True, 2 * i + 1),
            (False, False),
        )
        for i, gradient in enumerate(gradients)
    ]


TRUE = list(torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ("found", "micro_steps", "passes", "said"),
    [
        (TRUE, 1, 1, "agree within"),
        ([g / 3 for g in TRUE], 1, 1, "scaled by 0.333"),
        ([4 * g for g in TRUE], 4, 4, "over 4 micro-steps"),
        ([g / g.norm() for g in TRUE], 1, 1, "layer by layer"),
        ([g.clamp(-0.3, 0.3) for g in TRUE], 1, 1, "number by number"),
    ],
    ids=["plain", "clipped", "accumulated", "clipped by layer", "clipped by number"],
)
def test_what_people_do_to_gradients_is_right(
    found: list[torch.Tensor], micro_steps: int, passes: int, said: str
) -> None:
    """Clipping of any kind, and adding up as many parts of a loss as it was divided into, leave the gradients right."""
    assert said in judge_recomputed(agreement(pairs_with(found), TRUE, 1.0, 1e-4), micro_steps, passes)


@pytest.mark.parametrize(
    ("found", "passes", "said"),
    [
        ([2 * g for g in TRUE], 2, r"2 times as large.*called 2 times"),
        ([2.0**16 * g for g in TRUE], 1, "loss scaling was not taken out"),
        ([-g for g in TRUE], 1, "point the other way"),
        ([-g / g.norm() for g in TRUE], 1, "differ"),
        ([g.flip(0) for g in TRUE], 1, "differ"),
        ([g.flip(0).sign() for g in TRUE], 1, "differ"),
        ([g + h for g, h in zip(TRUE, TRUE[1:] + TRUE[:1], strict=True)], 4, "called 4 times"),
        ([0 * g for g in TRUE], 1, "differ"),
    ],
)
def test_other_gradients_are_wrong(found: list[torch.Tensor], passes: int, said: str) -> None:
    """Gradients of another loss, of several passes or with a factor left in them are told, each in its own words."""
    with pytest.raises(CheckFailed, match=said):
        judge_recomputed(agreement(pairs_with(found), TRUE, 1.0, 1e-4), 1, passes)
