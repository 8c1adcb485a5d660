"""Exercise 1, inspect LoRA target layers: what is decided, and for how many points."""

from __future__ import annotations

import pytest

from graders.harness.errors import HandInError
from graders.harness.hand_in import Again, HandIn
from graders.harness.lesson import Exercise
from graders.harness.rubric import CheckFailed, NotReached, Verdict, fail
from graders.lora import catalog
from graders.lora.measures.causes import Cause
from graders.lora.measures.inspection import Inspection
from graders.lora.measures.layer_names import LayerNames, read_names
from graders.lora.measures.lora_counts import (
    RANKS,
    UNEXPLAINED,
    as_number,
    by_rank,
    explain_total,
    fraction_is,
    number_at,
    plain,
    unless_mixed_up,
)
from graders.lora.measures.review import await_person

EXERCISE = Exercise(
    name="ex1",
    title="Inspect LoRA target layers",
    hand_in={
        "cross_attention_layers": "value",
        "lora_param_counts": "value",
        "unet_param_count": "value",
        "lora_fraction": "value",
    },
    parameters={
        "MODEL": str(catalog.ROOT / "configs" / "stable-diffusion-v1-5"),
        "DEVICE": "cpu",  # nothing is computed, and two notebooks can run side by side
        "SEED": 1234,
    },
    # Names, widths and totals are all other ones there; Stable Diffusion 2.1 has the same names as 1.5.
    others=(
        {"MODEL": str(catalog.ROOT / "configs" / "stable-diffusion-xl-base-1.0")},
        {"MODEL": str(catalog.ROOT / "configs" / "stable-diffusion-xl-refiner-1.0")},
    ),
)


@pytest.fixture(scope="session")
def inspection(hand_in: HandIn) -> Inspection:
    """What the notebook found out, and the architecture that it inspected."""
    return Inspection(hand_in, EXERCISE.hand_in)


@pytest.mark.points(7)
def test_cross_attention_layers(inspection: Inspection, verdict: Verdict) -> None:
    """`cross_attention_layers` is complete, and nothing else is on it

    Cross-attention is where the prompt reaches the picture: W_Q reads the picture, W_K and W_V read the text, and W_out
    carries back what attention found. There are such blocks at several resolutions and in the middle of the U-Net. What the
    list leaves out, the adapter cannot adapt; self-attention and convolutions never see a word of the prompt.
    """
    value = inspection.value(
        "cross_attention_layers",
        begin="Begin under “Find the layers”: go through unet.named_modules() and keep the names of the projections.",
    )
    architecture = inspection.architecture
    names = LayerNames(read_names(value), architecture)
    if names.count:  # of nothing there is nothing to see, and where the layers are is for the student to find out
        verdict.measure(architecture.blocks.spread(architecture.cross_attention, names.names, architecture.layers))
    expected = "the four projections of every cross-attention block, at every resolution and in the middle of the U-Net"
    parts = names.parts()
    if all(parts.values()):
        fail(f"{names.summary()}.", expected=expected, hint=names.hint, misconception=names.misconception)
    for part, in_part in verdict.each("for", parts):
        with in_part:
            if wrong := parts[part]:
                fail(f"{names.describe(wrong)}.", expected=expected, hint=names.hint, misconception=names.misconception)
            verdict.found(f"{part}: right")


@pytest.mark.points(5)
def test_lora_param_counts(inspection: Inspection, verdict: Verdict) -> None:
    """`lora_param_counts` counts A and B, at both ranks

    Around a frozen W, LoRA adds B·A: r parameters for each input of the layer and r for each of its outputs. W_K and W_V
    read text embeddings, so they have as many inputs as an embedding has numbers, however wide the picture's features are.
    """
    value = inspection.value(
        "lora_param_counts",
        begin="Begin with a single layer under “Count the parameters of the detours”: what shapes do its A and B have?",
    )
    told = by_rank(value, "lora_param_counts")
    for rank, part in verdict.each("rank", RANKS):
        with part:
            count, counts = number_at(told, rank, "lora_param_counts"), inspection.counts
            if count != counts.count(rank) and counts.right_for_list(count, rank):
                listed = len(counts.listed)
                verdict.found(
                    f"rank {rank}: {plain(count)}, judged for the {listed} layers on your list, which is not right itself"
                )
            elif count != counts.count(rank):
                cause = unless_mixed_up(counts.explain(count, rank), told)
                if cause is None and count and all(told.get(other) == told[rank] for other in RANKS):
                    cause = Cause("Both ranks have the same number.", "rank-independent")
                fail(
                    f"{plain(count)} parameter{'s' if count != 1 else ''}. {cause.words if cause else UNEXPLAINED}",
                    expected="the parameters of A and of B, summed over every layer that was asked for",
                    hint=cause.hint
                    if cause and cause.hint
                    else "Take the first layer of your list and one to_k. Write down "
                    "the shapes of A and B around each, count by hand, and compare with what your code gives for these two.",
                    misconception=cause.misconception if cause else None,
                )
            else:
                verdict.found(f"rank {rank}: {plain(count)}, as counted")


@pytest.mark.points(1)
def test_rank_ratio(inspection: Inspection, hand_in: HandIn, verdict: Verdict) -> None:
    """Four times the rank costs four times the parameters

    The rank is the width of the detour, and what a detour costs is proportional to it. That makes the rank the one knob
    between a small file and a flexible adapter.
    """
    low, high = RANKS
    try:
        told = by_rank(hand_in.evidence.value("lora_param_counts"), "lora_param_counts")
        small, large = (number_at(told, rank, "lora_param_counts") for rank in RANKS)
    except (CheckFailed, HandInError):
        raise NotReached("lora_param_counts") from None
    known = [inspection.counts.known(number, rank) for number, rank in zip((small, large), RANKS, strict=True)]
    fourfold = small > 0 and large == high / low * small
    if not any(known):  # of numbers out of thin air, any two can be had that go with each other
        raise NotReached("lora_param_counts")
    if not fourfold and all(known):
        raise NotReached("lora_param_counts", costs=False)
    if not fourfold:
        fail(
            f"{plain(small)} at rank {low} and {plain(large)} at rank {high}.",
            expected=f"{high / low:g} times as many at rank {high} as at rank {low}",
            hint="Mend these numbers under `lora_param_counts`, and this will hold as well. A and B both grow in proportion to "
            "r: does r enter your number at each rank, and is anything else in it?",
        )
    verdict.found(f"{high / low:g} times as many")


@pytest.mark.points(2)
def test_unet_param_count(inspection: Inspection, verdict: Verdict) -> None:
    """`unet_param_count` counts the parameters of the U-Net

    It is what full fine-tuning would train, store and ship for every style, and so what an adapter is measured by.
    """
    value = inspection.value(
        "unet_param_count",
        begin="Under “Compare”: unet.parameters() gives every tensor of parameters, also on the meta device.",
    )
    told = as_number(value, "unet_param_count")
    if told != inspection.architecture.parameters:
        cause = explain_total(told, inspection.architecture)
        fail(
            f"{plain(told)} parameters. {cause.words if cause else UNEXPLAINED}",
            expected="the exact number of parameters of the U-Net as it was built, trainable or not",
            hint="Every tensor in unet.parameters() counts with all the numbers that it holds. Count before an adapter is added.",
            misconception=cause.misconception if cause else None,
        )
    verdict.found(f"{plain(told)} parameters")


@pytest.mark.points(2)
def test_lora_fraction(inspection: Inspection, verdict: Verdict) -> None:
    """`lora_fraction` compares each adapter with the U-Net

    This is why LoRA is cheap: what is trained, stored and shared is a tiny part of the U-Net, and the U-Net itself stays as
    it is.
    """
    value = inspection.value(
        "lora_fraction", begin="Under “Compare”: divide the adapter's parameters, at each rank, by the U-Net's."
    )
    told = by_rank(value, "lora_fraction")
    for rank, part in verdict.each("rank", RANKS):
        with part:
            fraction = number_at(told, rank, "lora_fraction")
            right, *own = inspection.fractions(rank)
            if fraction_is(fraction, right):
                verdict.found(f"rank {rank}: {fraction:.3g}")
            elif any(fraction_is(fraction, other) for other in own):
                verdict.found(f"rank {rank}: {fraction:.3g}, which follows from your own numbers")
            else:
                cause = unless_mixed_up(inspection.explain_fraction(fraction, rank), told)
                fail(
                    f"{fraction:.6g}. {cause.words if cause else 'This is not the quotient of the two numbers.'}",
                    expected="LoRA parameters of this rank / parameters of the U-Net, to three digits or more",
                    hint=cause.hint
                    if cause and cause.hint
                    else "Divide lora_param_counts[rank] by unet_param_count, and hand in the quotient as it is.",
                    misconception=cause.misconception if cause else None,
                )


@pytest.mark.points(3)
def test_other_input(again: Again, verdict: Verdict) -> None:
    """The same notebook gives the right answers for another U-Net

    Where the layers are and how large they are follows from the model. Code that asks the model works for the next one,
    too; a name or a number that was typed in does not.
    """
    # That one number is four times another can hold for numbers out of thin air as well.
    if not any(verdict.outcomes[name].holds() for name in EXERCISE.hand_in):
        raise NotReached("cross_attention_layers")
    again.compare(verdict)


@pytest.mark.points(0)
def test_written_answers(hand_in: HandIn, verdict: Verdict) -> None:
    """The written answer

    Your instructor reads it; no program does.
    """
    await_person(hand_in, verdict)
