"""The pieces that a training step is judged with: how exactly, and what is told from what."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from graders.harness.errors import HandInError
from graders.harness.run.states import ModuleState, ParameterState
from graders.lora import catalog
from graders.lora.measures.adapted_unet import AdaptedUNet
from graders.lora.measures.captions import Caption
from graders.lora.measures.latents import LatentSpace
from graders.lora.measures.layers import cross_attention_projections
from graders.lora.measures.noising import ForwardProcess
from graders.lora.measures.normality import is_standard_normal
from graders.lora.measures.precision import FLOOR, relative_error, tolerance
from graders.lora.measures.training_step import GRADIENT_ROUNDINGS, VANISHING

MODEL = str(catalog.TINY_SD)
PICTURE = catalog.dataset("watercolor/train") / "000.png"
CAPTION = "a cyan cat on the middle on a yellow background"


@pytest.fixture(scope="module")
def space() -> LatentSpace:
    vae = AutoencoderKL.from_pretrained(MODEL, subfolder="vae")
    return LatentSpace(vae, np.asarray(Image.open(PICTURE).convert("RGB")))


@pytest.fixture(scope="module")
def caption() -> Caption:
    tokenizer = CLIPTokenizer.from_pretrained(MODEL, subfolder="tokenizer")
    return Caption(tokenizer, CLIPTextModel.from_pretrained(MODEL, subfolder="text_encoder"), CAPTION)


def process(timestep: int) -> ForwardProcess:
    scheduler = DDPMScheduler.from_pretrained(MODEL, subfolder="scheduler")
    return ForwardProcess(scheduler.alphas_cumprod, timestep)


def test_arithmetic_is_within_its_tolerance_and_the_next_timestep_is_not(space: LatentSpace, caption: Caption) -> None:
    """The U-Net's prediction and its gradients in each arithmetic differ from float64's by less than they are given."""
    noise = torch.randn(space.shape, generator=torch.Generator().manual_seed(0))
    for timestep in (150, 400, 750):
        z_t = process(timestep).z_t(space.encodings[0].mean * space.scaling_factor, noise)

        def run(dtype: torch.dtype, t: int, z_t: Tensor = z_t) -> tuple[Tensor, Tensor]:
            unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet").to(dtype).requires_grad_(False)
            layers = cross_attention_projections(unet)
            weights = [unet.get_submodule(layer).get_parameter("weight").requires_grad_() for layer in layers]
            prediction = unet(z_t.to(dtype), t, caption.embeddings.to(dtype)).sample
            loss = (prediction.double() - noise).square().mean()
            return prediction.detach(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])

        exact, gradient = run(torch.float64, timestep)
        for name in ("float32", "bfloat16", "float16"):
            prediction, found = run(getattr(torch, name), timestep)
            assert relative_error(prediction, exact) < tolerance([name]) / 4
            limit = VANISHING if name == "float16" else tolerance([name], roundings=GRADIENT_ROUNDINGS)
            assert relative_error(found, gradient) < limit / 4
        assert relative_error(run(torch.float32, timestep + 1)[0], exact) > 5 * FLOOR


def test_coarsest_arithmetic_counts() -> None:
    """What was computed in half precision and converted is given the tolerance of half precision, on a GPU that of TF32."""
    assert tolerance(["float64", "float32"]) == FLOOR
    assert tolerance(["float32", "bfloat16"]) == 8 * 2**-7
    assert tolerance(["float32"], "cuda:0") == 8 * 2**-10
    assert tolerance(["no such type"]) == FLOOR


@pytest.mark.parametrize(
    ("sample", "normal"),
    [
        (lambda n, g: torch.randn(n, generator=g), True),
        (lambda n, g: torch.randn(n, generator=g).half(), True),
        (lambda n, g: torch.rand(n, generator=g), False),
        (lambda n, g: 2 * torch.rand(n, generator=g) - 1, False),
        (lambda n, g: torch.randn(n, generator=g).sign(), False),
        (lambda n, g: 1.5 * torch.randn(n, generator=g), False),
        (lambda n, g: torch.randn(n, generator=g) + 0.3, False),
        (lambda n, g: torch.zeros(n), False),
        (lambda n, g: torch.full((n,), math.nan), False),
        (lambda n, g: torch.zeros(0), False),
    ],
)
def test_normality(sample: Any, normal: bool) -> None:
    """Standard normal numbers pass for every one of a hundred seeds, and what is drawn otherwise for none."""
    for seed in range(100):
        assert is_standard_normal(sample(1024, torch.Generator().manual_seed(seed))) is normal


def test_latents_are_recognised(space: LatentSpace) -> None:
    """Mean and samples of the latent are told from a wrong range of pixels and from a missing factor, in half precision too."""
    right, wrong = space.encodings[0], next(e for e in space.encodings if not e.pixels.right)
    s = space.scaling_factor
    for seed in range(20):
        sample = right.mean + right.deviation * torch.randn(space.shape, generator=torch.Generator().manual_seed(seed))
        recognised = space.recognise(sample * s, FLOOR)
        assert recognised is not None
        assert recognised.encoding is right
        assert space.well_scaled(recognised, FLOOR)
    for latent, limit in ((right.mean * s, FLOOR), ((right.mean * s).bfloat16().float(), tolerance(["bfloat16"]))):
        recognised = space.recognise(latent, limit)
        assert recognised is not None
        assert recognised.encoding is right
        assert space.well_scaled(recognised, limit)
    unscaled, dull = space.recognise(right.mean, FLOOR), space.recognise(wrong.mean * s, FLOOR)
    assert unscaled is not None
    assert not space.well_scaled(unscaled, FLOOR)
    assert dull is not None
    assert dull.encoding is wrong
    assert space.recognise(torch.randn(space.shape), FLOOR) is None
    assert space.recognise(torch.zeros(space.shape), FLOOR) is None


def test_mixtures_are_explained() -> None:
    """A wrong z_t is explained by its two weights; what is no mixture is not."""
    forward, limit = process(400), 1e-3
    z_0, noise, other = torch.randn(3, 1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    signal = forward.signal

    def explain(z_t: Tensor) -> tuple[str, str]:
        mixture = forward.explain(z_t, z_0, noise, limit)
        assert mixture is not None
        return mixture.misconception, mixture.words

    assert explain(signal * z_0 + (1 - signal) * noise)[0] == "alpha-bar-not-square-rooted"
    assert "wrong way round" in explain((1 - signal) ** 0.5 * z_0 + signal**0.5 * noise)[1]
    assert "timestep 410" in explain(process(410).z_t(z_0, noise))[1]
    assert "without any weights" in explain(z_0 + noise)[1]
    alone = signal / process(399).signal
    assert "one step alone" in explain(alone**0.5 * z_0 + (1 - alone) ** 0.5 * noise)[1]
    assert forward.explain(other, z_0, noise, limit) is None
    assert forward.explain(z_0, z_0, 0 * noise, limit) is None


def test_padding_is_free_and_other_texts_are_not(caption: Caption) -> None:
    """A caption's embeddings agree with any padding; no text, a cut one, zeros and the pooled output are told apart."""
    full = caption.embeddings
    for length in range(caption.tokens, caption.longest + 1):
        assert caption.agrees(full[:, :length], FLOOR)
    cut, empty = caption.explain(full[:, :5], FLOOR), caption.explain(caption.nothing, FLOOR)
    assert cut is not None
    assert "5 tokens" in cut.words
    assert empty is not None
    assert empty.misconception == "caption-ignored"
    zeros, pooled = caption.explain(0 * full, FLOOR), caption.explain(caption._output.pooler_output[:, None], FLOOR)
    assert zeros is not None
    assert "zeros" in zeros.words
    assert pooled is not None
    assert "pooled" in pooled.words
    assert caption.explain(torch.randn_like(full), FLOOR) is None
    assert not caption.agrees(full[:, : caption.tokens - 1], FLOOR)


class Block(nn.Module):
    """As much of a U-Net as names need."""

    def __init__(self) -> None:
        super().__init__()
        self.attn2 = nn.Module()
        self.attn2.to_q, self.attn2.to_out = nn.Linear(6, 6, bias=False), nn.ModuleList([nn.Linear(6, 8)])
        self.conv = nn.Conv2d(4, 5, 3)


def state(*shape: int, value: Tensor | None = None, trainable: bool = True) -> ParameterState:
    numbers = torch.randn(*shape) if value is None else value
    return ParameterState(numbers, None, trainable, id(numbers))


def module(base: nn.Module, wrap: str, added: dict[str, ParameterState]) -> ModuleState:
    """The base's parameters, those of attn2 under ``wrap``, and others."""
    parameters = {}
    for name, parameter in base.named_parameters():
        layer, _, leaf = name.rpartition(".")
        wrapped = f"{layer}{wrap}.{leaf}" if "attn2" in layer else name
        parameters[wrapped] = state(value=parameter.detach(), trainable=False)
    return ModuleState("Block", False, parameters | added)


def names(prefix: str, a: str, b: str) -> Iterator[dict[str, ParameterState]]:
    """A and B of both layers as [r, in] and [out, r], and the other way round."""
    for flip in (False, True):

        def matrix(rows: int, columns: int, flip: bool = flip) -> ParameterState:
            return state(columns, rows) if flip else state(rows, columns)

        yield {
            f"{prefix}attn2.to_q.{a}": matrix(2, 6),
            f"{prefix}attn2.to_q.{b}": matrix(6, 2),
            f"{prefix}attn2.to_out.0.{a}": matrix(2, 6),
            f"{prefix}attn2.to_out.0.{b}": matrix(8, 2),
        }


@pytest.mark.parametrize(
    ("wrap", "prefix", "a", "b"),
    [
        (".base_layer", "", "lora_A.default.weight", "lora_B.default.weight"),
        (".base_layer", "base_model.model.", "lora_A.default.weight", "lora_B.default.weight"),
        (".original", "", "A", "B"),
        (".linear", "_orig_mod.", "lora_down.weight", "lora_up.weight"),
        ("", "", "lora_A_weight", "lora_B_weight"),
        (".W", "module.", "first", "second"),
        (".parametrizations.weight", "", "parametrizations.weight.0.a", "parametrizations.weight.0.b"),
    ],
)
def test_lora_is_found_under_any_name(wrap: str, prefix: str, a: str, b: str) -> None:
    """PEFT's, wrapped and hand-written LoRA all come out as the same pairs beside an untouched base."""
    base = Block()
    for added in names(prefix, a, b):
        unet = AdaptedUNet(module(base, wrap, added), base)
        assert unet.adapted_layers == ["attn2.to_q", "attn2.to_out.0"]
        assert {pair.rank for pair in unet.pairs} == {2}
        assert [tuple(pair.down.shape) for pair in unet.pairs] == [(2, 6), (2, 6)]
        assert not unet.strangers
        assert not unet.missing
        assert all(parameter.untouched for parameter in unet.base)


def test_what_is_no_pair_is_told() -> None:
    """A convolution's pair counts, a lone matrix is a stranger, a missing weight is missing, and a changed one is seen."""
    base = Block()
    added = {"conv.lora_A.x": state(2, 4, 3, 3), "conv.lora_B.x": state(5, 2, 1, 1), "attn2.to_q.lora_A": state(2, 6)}
    whole = module(base, "", added)
    del whole.parameters["attn2.to_out.0.bias"]
    changed = base.attn2.to_q.weight.detach() + 1e-6
    whole.parameters["attn2.to_q.weight"] = state(value=changed)
    unet = AdaptedUNet(whole, base)
    assert unet.adapted_layers == ["conv"]
    assert unet.strangers == ["attn2.to_q.lora_A"]
    assert unet.missing == ["attn2.to_out.0.bias"]
    assert [parameter.name for parameter in unet.base if not parameter.untouched] == ["attn2.to_q.weight"]


def test_half_precision_is_no_change() -> None:
    """A base model that was loaded in half precision is untouched, in that precision or converted back."""
    base = Block()
    for way in (torch.float16, torch.bfloat16):
        for back in (way, torch.float32):
            whole = module(base, "", {})
            for name, parameter in list(whole.parameters.items()):
                whole.parameters[name] = state(value=parameter.value.to(way).to(back))
            assert all(parameter.untouched for parameter in AdaptedUNet(whole, base).base)


def test_gradients_of_another_shape_are_refused() -> None:
    """A gradient that cannot be its parameter's is the hand-in's fault, in words."""
    base = Block()
    for added in names("", "A", "B"):
        key = next(iter(added))
        added[key] = ParameterState(added[key].value, torch.zeros(3), True, 1)
        with pytest.raises(HandInError, match=r"A or B of attn2\.to_q"):
            AdaptedUNet(module(base, "", added), base)
