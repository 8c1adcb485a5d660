"""Numbers of LoRA parameters and the mistakes behind wrong ones."""

import functools
import math

import pytest

from graders.harness.rubric import CheckFailed
from graders.lora import catalog
from graders.lora.fixtures import configs
from graders.lora.measures.architecture import Architecture
from graders.lora.measures.layer_names import LayerNames
from graders.lora.measures.lora_counts import (
    FRACTION_TOLERANCE,
    RANKS,
    LoraCounts,
    by_rank,
    explain_fraction,
    explain_total,
    fraction_is,
    number_at,
    unless_mixed_up,
)

ARCHITECTURES = sorted(configs.CONFIGS)


@functools.cache
def architecture(name: str = "stable-diffusion-v1-5") -> Architecture:
    return Architecture(str(catalog.ROOT / "configs" / name))


def counts(name: str = "stable-diffusion-v1-5") -> LoraCounts:
    return LoraCounts(architecture(name), LayerNames(architecture(name).cross_attention, architecture(name)))


def test_stable_diffusion_1_5() -> None:
    """The published architecture has 64 projections, 397,824 LoRA parameters at rank 4 and 1,591,296 at rank 16."""
    assert len(architecture().cross_attention) == 64
    assert [counts().count(rank) for rank in RANKS] == [397_824, 1_591_296]
    assert counts().explain(797_184, 4).misconception == "self-attention-targeted"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_count_is_what_peft_adds(name: str) -> None:
    """The right number is that of the parameters which PEFT adds to the projections."""
    import torch
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(configs.CONFIGS[name])
    unet.add_adapter(LoraConfig(r=4, target_modules=list(architecture(name).cross_attention)))
    assert counts(name).count(4) == sum(p.numel() for n, p in unet.named_parameters() if ".lora_" in n)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("rank", RANKS)
def test_causes_are_told_apart(name: str, rank: int) -> None:
    """On each architecture no wrong number has two causes, and none is the right number."""
    its = counts(name)
    causes: dict[int, set[str | None]] = {}
    for count, cause in its.candidates(rank):
        causes.setdefault(count, set()).add(cause.misconception)
    assert its.count(rank) not in causes
    assert {count: slugs for count, slugs in causes.items() if len(slugs) > 1} == {}
    assert all(its.explain(count, rank).misconception in slugs for count, slugs in causes.items())  # type: ignore[union-attr]


def test_self_attention_alone_is_as_large_as_square_keys_and_values() -> None:
    """A number with two causes is right for the list it goes with, and explained by neither cause if there is no list."""
    self_attention = [n for n in architecture().layers if ".attn1." in n]
    assert LoraCounts(architecture()).explain(399_360, 4) is None
    assert counts().explain(399_360, 4).misconception == "square-key-value"  # type: ignore[union-attr]
    own = LoraCounts(architecture(), LayerNames(self_attention, architecture()))
    assert own.right_for_list(399_360, 4)
    assert not counts().right_for_list(397_824, 4)  # a right list is nobody's mistake


def test_numbers_out_of_thin_air_are_not_known() -> None:
    """A number is known if it comes from the architecture, by whatever mistake, and 1 and 4 do not."""
    assert all(counts().known(told, 4) for told in (397_824, 1_591_296, 797_184, 859_520_964, 2 * 397_824))
    assert not any(counts().known(told, 4) for told in (0, 1, 4, 400_000))


def test_ranks_that_were_swapped_are_no_missing_rank() -> None:
    """That the rank plays no part is said where both ranks have the same number, and nowhere else."""
    low, high = (counts().count(rank) for rank in RANKS)
    cause = counts().explain(high, 4)
    assert unless_mixed_up(cause, {4: high, 16: high}) is cause
    swapped = unless_mixed_up(cause, {4: high, 16: low})
    assert swapped is not None
    assert swapped.misconception is None


@pytest.mark.parametrize("told", [0.0, -1.0, 1.5, 1e300])
def test_other_numbers_have_no_cause(told: float) -> None:
    """A number that no known mistake gives is not explained."""
    assert counts().explain(told, 4) is None


def test_wrong_totals() -> None:
    """A U-Net with an adapter is told from one that is counted in other ways."""
    right = architecture().parameters
    assert explain_total(right + 397_824, architecture()).misconception == "adapter-counted"  # type: ignore[union-attr]
    for told, word in [(0, "gradient"), (686, "tensors"), (4 * right, "bytes"), (860, "rounded"), (397_824, "adapter")]:
        assert word in explain_total(told, architecture()).words  # type: ignore[union-attr]
    assert explain_total(12_345.0, architecture()) is None


FRACTION = 397_824 / 859_520_964


@pytest.mark.parametrize("told", [FRACTION, round(FRACTION, 6), round(FRACTION, 5), 397_824 / (859_520_964 + 397_824)])
def test_right_fractions(told: float) -> None:
    """A fraction may be rounded to two digits, and be taken of U-Net and adapter together, as PEFT does."""
    assert fraction_is(told, FRACTION)


@pytest.mark.parametrize(
    ("told", "slug"),
    [
        (100 * FRACTION, "percent-not-fraction"),
        (0.05, "percent-not-fraction"),
        (4 * FRACTION, "rank-independent"),
        (round(FRACTION, 4), None),
        (1 / FRACTION, None),
        (580.0, None),
        (1 - FRACTION, None),
        (0.02, None),
    ],
)
def test_wrong_fractions(told: float, slug: str | None) -> None:
    """A wrong fraction is explained where it can be."""
    assert not fraction_is(told, FRACTION)
    assert explain_fraction(told, FRACTION, [4 * FRACTION], 0.02).misconception == slug  # type: ignore[union-attr]


def test_fraction_tolerance_is_less_than_one_layer() -> None:
    """Leaving out any layer of Stable Diffusion 1.5 makes the fraction wrong."""
    layers = counts().layers
    smallest = min(layer.inputs + layer.outputs for layer in layers)
    assert smallest / sum(layer.inputs + layer.outputs for layer in layers) > FRACTION_TOLERANCE


@pytest.mark.parametrize("value", [None, 3, [397_824], {"4": 1, "16": 4}])
def test_what_is_no_mapping_from_rank(value: object) -> None:
    """Anything but a dictionary with numbers as keys is failed in words."""
    with pytest.raises(CheckFailed):
        by_rank(value, "lora_param_counts")


@pytest.mark.parametrize("value", [None, "397,824", True, math.nan, math.inf, 10**400, [1, 2], {}])
def test_what_is_no_number(value: object) -> None:
    """Anything but a finite number is failed in words, and so is a missing rank."""
    with pytest.raises(CheckFailed):
        number_at({4: value}, 4, "lora_param_counts")
    with pytest.raises(CheckFailed):
        number_at({4: value}, 16, "lora_param_counts")
