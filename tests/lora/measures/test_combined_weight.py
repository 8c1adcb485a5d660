"""The weight of a layer with two adapters at work."""

import pytest
import torch

from graders.lora.measures.adapters import LoraLayer
from graders.lora.measures.combined_weight import agrees, combined, mixture, with_cross_terms, wrong_forms

WEIGHTS = (0.7, 0.4)


@pytest.fixture
def layer():
    """W of a layer that is not square, and two adapters of different rank and α/r."""
    numbers = torch.Generator().manual_seed(0)

    def pair(rank, alpha):
        down, up = torch.randn(rank, 24, generator=numbers), torch.randn(16, rank, generator=numbers)
        return LoraLayer("attn2.to_k", 0.1 * down, 0.1 * up, alpha)

    return torch.randn(16, 24, generator=numbers), pair(4, 8), pair(2, 6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_sum_agrees_in_any_precision(layer, dtype):
    """The sum may be formed in any floating type and any order."""
    weight, style, subject = layer
    own = (
        (subject.up.to(dtype) @ subject.down.to(dtype)) * (0.4 * 3)
        + weight.to(dtype)
        + 0.7 * 2 * (style.up.to(dtype) @ style.down.to(dtype))
    )
    assert agrees(own, combined(weight, style, subject, WEIGHTS), [str(dtype).removeprefix("torch.")], "cpu")


def test_no_wrong_form_is_taken_for_the_sum_or_for_another(layer):
    """Every known mistake leads to a tensor of its own, in half precision as well, where α/r is not 2."""
    right = combined(*layer, WEIGHTS)
    forms = list(wrong_forms(*layer, WEIGHTS, [(1.0, 0.5)]))
    for i, (slug, _, tensor) in enumerate(forms):
        assert not agrees(tensor, right, ["float16"], "cpu")
        for other_slug, _, other in forms[:i]:
            assert slug == other_slug or not agrees(tensor, other, ["float16"], "cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_wildcard_is_wrong(layer, value):
    """Numbers that are no numbers agree with nothing."""
    right = combined(*layer, WEIGHTS)
    assert not agrees(torch.full_like(right, value), right, ["float32"], "cpu")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_any_sum_is_taken_apart(layer, dtype):
    """Of any sum of the three it is known how often each is in it; of another matrix that it is no such sum."""
    weight, style, subject = layer
    found = (0.5 * weight + 0.35 * style.delta() - 2 * subject.delta()).to(dtype)
    factors, nearest = mixture(found, *layer)
    assert factors == pytest.approx((0.5, 0.35, -2), abs=1e-2)
    assert agrees(found, nearest, [str(dtype).removeprefix("torch.")], "cpu")
    other = found + 0.01 * torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert not agrees(other, mixture(other, *layer)[1], ["float32"], "cpu")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_cross_terms_are_recognised(layer, dtype):
    """The product of summed matrices is known as one in any precision, and at any weights; neither the sum nor noise is."""
    weight, style, subject = layer
    for a, b in ((1.0, 1.0), (0.7 * 2, 0.4 * 3), (0.7**0.5, 0.4**0.5)):
        down = a * style.down + torch.nn.functional.pad(b * subject.down, (0, 0, 0, 2))
        up = style.up + torch.nn.functional.pad(subject.up, (0, 2))
        found = (weight + up @ down).to(dtype)
        name = [str(dtype).removeprefix("torch.")]
        assert not agrees(found, mixture(found, *layer)[1], name, "cpu")
        assert agrees(found, with_cross_terms(found, *layer), name, "cpu")
        noisy = found + 0.01 * torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        assert not agrees(noisy, with_cross_terms(noisy, *layer), ["float32"], "cpu")


def test_averaging_is_told_from_a_forgotten_scale(layer):
    """Both changes halved are the mean of two, and no forgotten α/r, whatever both α/r are but 2."""
    weight, style, subject = layer
    halved = combined(weight, style, subject, (0.35, 0.2))
    [slug, *_] = [slug for slug, _, form in wrong_forms(*layer, WEIGHTS) if agrees(halved, form, ["float32"], "cpu")]
    assert slug == "deltas-averaged"
