"""Exercise 3, train a style LoRA: what is decided, and for how many points.

Over 400 lines, because a rubric has a function for each of its lines, with all that students are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import pytest

from graders.harness.data import values
from graders.harness.hand_in import Again, HandIn
from graders.harness.lesson import Exercise
from graders.harness.rubric import NotReached, Verdict, fail
from graders.lora import catalog
from graders.lora.measures import losses as loss_curves
from graders.lora.measures import rank_table, starting_noise, training_mistakes
from graders.lora.measures.adapter_refusals import BaseWeightsError
from graders.lora.measures.adapters import Adapter
from graders.lora.measures.handed_in import picture_list, pictures_by_rank
from graders.lora.measures.layers import Kind
from graders.lora.measures.repeated_pictures import refuse_repeated
from graders.lora.measures.review import await_person
from graders.lora.measures.style_measurements import Adapters, CopiedAdapter, StyleMeasurements
from graders.lora.measures.substance import refuse_empty
from graders.lora.measures.tables import close, number, rows_by_rank
from graders.lora.measures.training_history import Strength

EXERCISE = Exercise(
    name="ex3",
    title="Train a style LoRA",
    hand_in={"losses": "value", "base_images": "pictures", "lora_images": "pictures", "rank_table": "value"},
    parameters={
        "MODEL": str(catalog.TINY_SD),
        "DATASET": str(catalog.dataset("watercolor/train")),
        "STYLE_REFERENCE": str(catalog.dataset("watercolor/reference")),
        "JUDGE": str(catalog.CLIP),
        "DEVICE": "auto",
        "SEED": 1234,
        "STEPS": 300,
        "RANKS": [4, 16],
        "PROMPTS": [
            "a green boat on a yellow background",
            "a purple cat on a yellow background",
            "a cyan house on a red background",
            "a red mushroom on a blue background",
        ],
        "NUM_INFERENCE_STEPS": 20,
        "GUIDANCE_SCALE": 3.0,
    },
    carried={"STEPS": range(1, 10_001)},
    # Too short to learn a style, and long enough to show whether the adapters come out of this training. There are as many
    # ranks and prompts as before, for notebooks that lay out a grid.
    others=[
        {
            "RANKS": [2, 8],
            "STEPS": 12,
            "SEED": 77,
            "NUM_INFERENCE_STEPS": 2,
            "PROMPTS": [f"a blue {subject} on a red background" for subject in ("tree", "fish", "star", "flower")],
        }
    ],
    checked_again=[
        "adapter_loads",
        "cross_attention_only",
        "rank_as_asked",
        "adapter_trained",
        "alpha_recorded",
        "losses_recorded",
        "rank_ratio",
        "rank_table",
    ],
    seeds=catalog.TRIAL_SEEDS,
)

WRONG_KINDS = {
    Kind.CONVOLUTION: "convolution-targeted",
    Kind.SELF_ATTENTION: "self-attention-targeted",
}


NEXT = {
    "convolution-targeted": "Move the adapter to the cross-attention layers first, then train and look again.",
    "self-attention-targeted": "Move the adapter to the cross-attention layers first, then train and look again.",
    "too-few-steps": "Train each rank for all STEPS steps.",
    "base-trained": "Which parameters did you hand to the optimizer? Only the adapter's should have requires_grad.",
    "memorised": "Does your loop draw from the whole data set, and stop after STEPS steps?",
    "trained-on-noise": "Look at what your loop encodes: show one batch as pictures. Are they those of DATASET?",
    "trained-on-other-data": "Show one batch of what your loop trains on as pictures. Are they those of DATASET, in their own "
    "colours, and scaled to [-1, 1]?",
}
"""What to look at next, for a cause that was recognised."""


PRACTICE_PICTURES = "On this machine it is measured with practice pictures."
"""Where the held-out pictures are missing."""


@pytest.fixture(scope="session")
def ranks(hand_in: HandIn) -> list[int]:
    """The ranks that the notebook was asked to train."""
    return hand_in.parameters["RANKS"]


@pytest.fixture(scope="session")
def measured(hand_in: HandIn) -> StyleMeasurements:
    """The base model, the judge and the held-out pictures, for measuring adapters."""
    return StyleMeasurements(hand_in)


@pytest.fixture(scope="session")
def adapters(measured: StyleMeasurements, ranks: list[int]) -> Adapters:
    """The adapter of each rank."""
    return Adapters(measured, ranks)


@pytest.mark.points(2)
def test_adapter_loads(adapters: Adapters, ranks: list[int], verdict: Verdict) -> None:
    """Each rank's adapter was saved, and loads on the base model

    A LoRA adapter is worth what its file holds: a few small matrices per layer that anyone can add to the same
    base model. What is only in your notebook's memory is gone when the notebook ends.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            if rank in adapters.errors:
                error = adapters.errors[rank]
                slugs = {BaseWeightsError: "base-trained", CopiedAdapter: "copied-adapter"}
                fail(
                    error.problem,
                    expected=f"LoRA matrices for the base model's layers, made by your training, in OUTPUT_DIR/rank{rank}/",
                    hint=error.fix,
                    misconception=slugs.get(type(error)),
                )
            verdict.found(f"rank {rank}: {len(adapters[rank].layers)} layers, {adapters[rank].format} format")


@pytest.mark.points(4)
@pytest.mark.needs("adapter_loads")
def test_cross_attention_only(
    adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict
) -> None:
    """The adapter sits on cross-attention projections, and nowhere else

    Cross-attention is where text meets picture: its queries come from the picture, its keys and values from the
    prompt. A style is a new way of turning words into pictures, so that is where the detour belongs. Convolutions and
    self-attention never see the prompt.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            verdict.measure(measured.spread(adapters[rank]), f"rank {rank}")
            if adapters[rank].ignored:
                fail(
                    f"The file also holds {len(adapters[rank].ignored)} matrices for the text encoder.",
                    expected="an adapter for the U-Net alone",
                    hint="Which models did you add an adapter to? This exercise leaves the text encoder as it is.",
                )
            kinds = adapters[rank].names_by_kind()
            wrong = {kind: names for kind, names in kinds.items() if kind is not Kind.CROSS_ATTENTION}
            if wrong:
                listed = " and ".join(f"{len(names)} {kind.value}" for kind, names in kinds.items())
                example = next(iter(wrong.values()))[0]
                worst = max(wrong, key=lambda kind: (kind in WRONG_KINDS, len(wrong[kind])))
                everywhere = len(wrong) > 2
                fail(
                    f"The adapter changes {listed} layers, for example {example}.",
                    expected="only the query, key, value and output projections of the cross-attention blocks",
                    hint="Print the names that your target_modules match. In diffusers' U-Net, which of attn1 and attn2 "
                    "reads the text embeddings?",
                    misconception="every-layer-targeted" if everywhere else WRONG_KINDS.get(worst),
                )
            adapted, available = len(kinds[Kind.CROSS_ATTENTION]), len(measured.cross_attention_layers)
            verdict.found(f"rank {rank}: {adapted} of the {available} cross-attention projections")


@pytest.mark.points(2)
@pytest.mark.needs("adapter_loads")
def test_rank_as_asked(adapters: Adapters, ranks: list[int], verdict: Verdict) -> None:
    """Each adapter has the rank that its folder promises

    The rank is the inner dimension of the product B·A: how many independent directions the adapter may change in
    every layer. Comparing ranks only means something if the files really differ in it.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            found = sorted(adapters[rank].ranks)
            if found != [rank]:
                loaded = [tuple(sorted(adapter.ranks)) for adapter in adapters.values()]
                fail(
                    f"The adapter in rank{rank}/ has rank {', '.join(map(str, found))}.",
                    expected=f"rank {rank} in every layer",
                    hint="Follow the loop variable from RANKS to LoraConfig: is it what arrives as r?",
                    misconception="same-rank-twice" if len(loaded) > 1 and len(set(loaded)) == 1 else None,
                )
            verdict.found(f"rank {rank}: as asked")


@pytest.mark.points(2)
@pytest.mark.practice("Whether your own training made it, or somebody else's, cannot be told here.")
@pytest.mark.needs("adapter_loads")
def test_adapter_trained(adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict) -> None:
    """Your training has moved the adapter, and its numbers are finite

    An adapter begins as no change at all: B·A is zero, most often because B is. If its matrices are at the end what they
    were when it was made, no gradient ever arrived there or no optimizer ever used it.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            broken = adapters[rank].non_finite()
            if broken:
                fail(
                    f"{len(broken)} layers hold NaN or infinite numbers, for example {broken[0]}.",
                    expected="finite numbers in every matrix",
                    hint="Look at the first step whose loss is not finite. A learning rate that is far too large, or half "
                    "precision without loss scaling, are the usual causes.",
                    misconception="loss-not-finite",
                )
            unmoved = measured.as_made(adapters[rank])
            if adapters[rank].changes_nothing or unmoved:
                fail(
                    "Every matrix is what it was when the adapter was made."
                    if unmoved
                    else "B·A is zero in every layer: the adapter changes nothing.",
                    expected="matrices that training has moved away from where they began",
                    hint="Which parameters did you hand to the optimizer, did you call step(), and did you save the adapter "
                    "after training rather than before?",
                    misconception="untrained",
                )
            verdict.found(f"rank {rank}: every number is finite and the adapter has moved")


def lost_strength(off: Mapping[str, Strength], layers: int) -> str:
    """What a loader applies beside what was trained: α/r, or α/√r for rank-stabilised LoRA."""
    name, first = next(iter(off.items()))
    alike = len(off) == layers and len({(f"{one.applied:.2g}", f"{one.trained:.2g}") for one in off.values()}) == 1
    where = "" if alike else f" {len(off)} of {layers} layers, such as {name},"
    said = f"Your notebook trained{where} with B·A times {first.trained:.3g}; "
    if not first.is_folded:
        return f"{said}whoever loads the file gets B·A times {first.applied:.3g}."
    return (
        f"{said}whoever loads the file gets it times {first.applied:.3g}: the saved matrices are {first.folded:.3g} times the "
        f"trained ones, and a loader multiplies them by {first.scale:.3g}."
    )


@pytest.mark.points(2)
@pytest.mark.needs("adapter_loads", "adapter_trained")
def test_alpha_recorded(adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict) -> None:
    """Whoever loads the file applies the adapter at the strength it was trained at

    A layer computes W·x + (α/r)·B·A·x, with rank-stabilised LoRA α/√r. The file holds A and B; if it does not say α, a loader
    takes α/r = 1. An adapter that was trained at α = 2r then generates at half its strength, without any error.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            known = measured.strengths(adapters[rank])
            off = {name: one for name, one in (known or {}).items() if not one.kept}
            if off:
                twice = all(one.twice for one in off.values())
                folded = any(one.is_folded for one in off.values())
                recorded = adapters[rank].alpha_recorded
                fail(
                    lost_strength(off, len(adapters[rank].layers)),
                    expected="a file that a loader applies at the strength of the training, in every layer",
                    hint="The factor of the training is in the file twice: in the matrices, and as α. Keep it in one place."
                    if twice
                    else "By what did you multiply the matrices before you saved them? Together with the factor that a loader "
                    "applies it has to give that of the training."
                    if folded
                    else "The file does hold an α. What does a loader make of it, and what did the training multiply B·A by?"
                    if recorded
                    else "Look at the parameters of the function that saves: which of them could carry the adapter's "
                    "configuration?",
                    misconception="strength-applied-twice" if twice else "alpha-not-saved",
                )
            holding = next((one for one in (known or {}).values() if one.is_folded), None)
            if holding:
                verdict.found(
                    f"rank {rank}: the saved matrices are {holding.folded:.3g} times the trained ones and a loader applies "
                    f"{holding.scale:.3g}, which is the strength of the training"
                )
            elif adapters[rank].alpha_recorded:
                verdict.found(f"rank {rank}: α is recorded in the file")
            else:
                said = "which is what it was trained with" if known else f"and nothing says that it was not {rank}"
                verdict.found(f"rank {rank}: no α in the file, so a loader takes α = r, {said}")


@pytest.mark.points(2)
def test_losses_recorded(hand_in: HandIn, adapters: Adapters, ranks: list[int], verdict: Verdict) -> None:
    """`losses` holds one finite loss for every training step of each rank

    The curve is the only witness of what happened in training: it tells a loss that fell from one that was never
    finite, and 300 steps from 30.
    """
    curves = loss_curves.by_rank(hand_in.evidence.value("losses"))
    steps = hand_in.parameters["STEPS"]
    for rank, part in verdict.each("rank", ranks):
        with part:
            verdict.found(f"rank {rank}: {loss_curves.judge(curves, rank, steps)}")
            if rank not in adapters and (hand_in.evidence.backward_passes or 0) < steps:
                raise NotReached("adapter_loads")  # numbers without the training that they are of


def as_trained(adapter: Adapter, measured: StyleMeasurements, rank: int, verdict: Verdict) -> Adapter:
    """The adapter at the strength of its training: that its file has lost it costs once, and is said where it is passed over."""
    trained = measured.as_trained(adapter)
    if trained is not adapter:
        verdict.found(f"rank {rank}: measured at the strength of the training, which the file does not give")
    return trained


@pytest.mark.points(4)
@pytest.mark.practice(PRACTICE_PICTURES)
@pytest.mark.needs("adapter_loads", "adapter_trained")
def test_denoises_the_style(
    adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict
) -> None:
    """With the adapter, the model predicts the noise in unseen pictures of the style better than without

    This is the training objective itself, on pictures that no one trained on, with the same noise and timesteps for
    base and adapter. An adapter that learned the style, and not just forty pictures, must be better here.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            adapter = as_trained(adapters[rank], measured, rank, verdict)
            gain = measured.denoising_gain(adapter)
            verdict.measure(asdict(measured.timestep_profile(adapter)), f"rank {rank}")
            said = f"The noise-prediction error on unseen pictures of the style changes by {(-1 * gain.mean):+.1%}"
            said += f" (95 % interval {-gain.high:+.1%} to {-gain.low:+.1%})"
            verdict.found(f"rank {rank}: {said}")
            if not gain.low > measured.thresholds.denoising_gain:
                cause = training_mistakes.seen_in_denoising(measured, rank, adapter)
                fail(
                    f"{said}.",
                    expected=f"surely more than {measured.thresholds.denoising_gain:.0%} below the error of the base model",
                    hint=NEXT.get(
                        cause or "",
                        "Check what the loop trains on: the pictures of DATASET, scaled to [-1, 1], encoded and multiplied by "
                        "the VAE's scaling factor, with the noise as the target.",
                    ),
                    misconception=cause,
                )


@pytest.mark.points(6)
@pytest.mark.practice(PRACTICE_PICTURES)
@pytest.mark.needs("adapter_loads", "adapter_trained")
def test_style_shift(adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict) -> None:
    """Pictures generated with the adapter move towards the style, as CLIP sees it

    The grader generates prompts that no adapter was trained on, from the same noise with and without yours, and asks a CLIP
    model how much nearer they come to real pictures of the style: 0 % is the base model, 100 % a real picture.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            adapter = as_trained(adapters[rank], measured, rank, verdict)
            shift = measured.style_shift(adapter)
            verdict.found(f"rank {rank}: {shift.fraction.percent()} of the way to the style")
            if not shift.fraction.low > measured.thresholds.style_shift:
                cause = training_mistakes.seen_in_pictures(measured, rank, adapter)
                fail(
                    f"The pictures move {shift.fraction.percent()} of the way to the style.",
                    expected=f"surely more than {measured.thresholds.style_shift:.0%}, which no adapter reaches that "
                    "has not learned this style",
                    hint=NEXT.get(
                        cause or "",
                        "Look at base_images beside lora_images. If nothing has changed: is the adapter on the layers that "
                        "read the prompt, and was it trained for long enough? If something else has: what was it trained on?",
                    ),
                    misconception=cause,
                )
            gain = measured.denoising_gain(adapter)
            if gain.high < 0:
                fail(
                    f"CLIP sees the style ({shift.fraction.percent()} of the way), but it was not learned from pictures: "
                    f"with it the noise in unseen ones is predicted {-gain.mean:.0%} worse than without.",
                    expected="pictures of the style because the model has learned to denoise such pictures",
                    hint="Train on the objective, the error of the predicted noise. What is tuned until one CLIP model likes it "
                    "pleases that model, and not people.",
                )


@pytest.mark.points(2)
@pytest.mark.practice(PRACTICE_PICTURES)
@pytest.mark.needs("adapter_loads", "adapter_trained")
def test_prompt_kept(adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict) -> None:
    """The pictures still show what the prompt asks for

    Fine-tuning is a refinement: a style adapter should change how things are painted, not what. When subjects and
    colours get lost, the adapter has overwritten what the base model knew.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            adapter = as_trained(adapters[rank], measured, rank, verdict)
            kept = measured.prompt_kept(adapter)
            said = f"the judge recognises {kept.adapted:.0%} of subjects and colours (base model: {kept.base:.0%})"
            verdict.found(f"rank {rank}: {said}")
            if not kept.adapted >= measured.thresholds.prompt_kept * kept.base:
                fail(
                    said[0].upper() + said[1:] + ".",
                    expected=f"at least {measured.thresholds.prompt_kept:.0%} of what the base model gets right",
                    hint=NEXT.get(
                        training_mistakes.seen_in_denoising(measured, rank, adapter) or "",
                        "Was every picture trained with its own caption? If so, the change is too strong: a lower learning rate, "
                        "fewer steps or a smaller α leave the prompt alone.",
                    ),
                    misconception="prompt-forgotten",
                )


@pytest.mark.points(2)
@pytest.mark.practice(PRACTICE_PICTURES)
@pytest.mark.needs("adapter_loads", "adapter_trained")
def test_not_memorised(adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict) -> None:
    """The adapter has learned a style, not its training pictures by heart

    With a few dozen pictures, copying is a greater danger than learning too little. The grader compares how well the
    adapter knows the pictures it was trained on with how well it knows others in the style.
    """
    for rank, part in verdict.each("rank", ranks):
        with part:
            adapter = as_trained(adapters[rank], measured, rank, verdict)
            memory = measured.memorisation(adapter)
            verdict.found(f"rank {rank}: {memory}")
            if not memory.gap <= measured.thresholds.memorisation:
                fail(
                    f"Some training pictures are known by heart: {memory}.",
                    expected="training pictures known no better than other pictures of the style",
                    hint="Fewer steps, a lower rank, a lower learning rate or more varied pictures. Does your loop draw from "
                    "the whole data set?",
                    misconception="memorised",
                )


@pytest.mark.points(1)
@pytest.mark.needs("adapter_loads")
@pytest.mark.sees("rank_as_asked")
def test_rank_ratio(adapters: Adapters, ranks: list[int], verdict: Verdict) -> None:
    """Adapter size grows in proportion to the rank

    Each layer costs r·(in + out) parameters, so on the same layers four times the rank is four times the size.
    """
    low, high = min(ranks), max(ranks)
    small, large = adapters[low].parameters, adapters[high].parameters
    own_low, own_high = adapters[low].rank, adapters[high].rank
    if own_low and own_high and (own_low, own_high) != (low, high) and large * own_low == small * own_high:
        raise NotReached("rank_as_asked", costs=False)
    if large * low != small * high:
        fail(
            f"Rank {high} has {large:,} parameters, rank {low} has {small:,}: {large / small:.2f} times as many.",
            expected=f"{high / low:g} times as many",
            hint="Do both adapters sit on the same layers, and does each have the rank of its folder?",
        )
    verdict.found(f"rank {low}: {small:,} parameters, rank {high}: {large:,}")


@pytest.mark.points(2)
def test_pictures_compared(
    hand_in: HandIn, adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict
) -> None:
    """`base_images` and `lora_images` show every prompt without and with each adapter

    Only from the same prompt and the same starting noise does the difference between two pictures show what the
    adapter does, and nothing else.
    """
    prompts = hand_in.parameters["PROMPTS"]
    base = picture_list(hand_in, hand_in.evidence.pictures("base_images"), "base_images", len(prompts))
    refuse_repeated(base, "base_images", prompts)
    refuse_empty(base, "base_images")
    lora = pictures_by_rank(hand_in, "lora_images")
    for rank, part in verdict.each("rank", ranks):
        with part:
            generated = picture_list(hand_in, lora.get(rank), f"lora_images[{rank}]", len(prompts))
            refuse_repeated(generated, f"lora_images[{rank}]", prompts)
            refuse_empty(generated, f"lora_images[{rank}]")
            if rank in adapters and adapters[rank].changes_nothing:
                raise NotReached("adapter_trained")
            own = rank in adapters or starting_noise.all_known(hand_in.evidence, [*base, *generated])
            if not own or isinstance(adapters.errors.get(rank), CopiedAdapter):  # pictures of anything
                raise NotReached("adapter_loads")
            same = sum(a.shape == b.shape and bool((a == b).all()) for a, b in zip(base, generated, strict=True))
            if same:
                fail(
                    f"{same} of the {len(prompts)} pictures are pixel by pixel those without an adapter.",
                    expected="pictures that the adapter has changed",
                    hint="Was the adapter loaded into the pipeline that generated them, and was it active? "
                    "pipe.get_active_adapters() tells.",
                    misconception="lora-never-applied",
                )
            if other := starting_noise.apart(hand_in.evidence, base, generated):
                fail(
                    f"{len(other)} of the {len(prompts)} pictures start from other noise than those without an adapter.",
                    expected="for each prompt the same noise without an adapter and with each",
                    hint="Where does each picture's noise come from? A generator goes on from where the last picture left "
                    "it; whoever wants the same noise again has to begin again.",
                    misconception="seed-changed",
                )
            learned = rank in adapters and measured.has_style(adapters[rank])
            if learned and measured.similarity_to_reference(generated) <= measured.similarity_to_reference(base):
                fail(
                    "The pictures come no nearer to the style than those without an adapter, though your adapter has it.",
                    expected="pictures generated with the adapter, from the same noise as those without",
                    hint="Was the adapter loaded into the pipeline that generated them, and was it active? "
                    "pipe.get_active_adapters() tells. Does every picture have a generator of its own?",
                    misconception="lora-never-applied",
                )
            verdict.found(f"rank {rank}: {len(prompts)} pictures, each different from the one without adapter")


@pytest.mark.points(2)
@pytest.mark.sees("rank_as_asked")
def test_rank_table(
    hand_in: HandIn, adapters: Adapters, measured: StyleMeasurements, ranks: list[int], verdict: Verdict
) -> None:
    """`rank_table` says what the grader measures

    A comparison is only as good as its numbers: each row must follow from your own files, losses and pictures.
    """
    table = rows_by_rank(hand_in.evidence.value("rank_table"))
    for rank, part in verdict.each("rank", ranks):
        with part:
            if rank not in table:
                fail(
                    f"`rank_table` has no row for rank {rank}.",
                    expected="one row for each rank in RANKS",
                    hint="Append a dictionary with rank, lora_parameters, final_loss and style_similarity for each rank.",
                )
            row = table[rank]
            if measured.counts_base(row):
                fail(
                    f"The row counts {number(row['lora_parameters']):,.0f} parameters, as many as the whole base model has.",
                    expected="the parameters of the adapter alone: A and B of every adapted layer",
                    hint="Which parameters did you train? requires_grad tells; only the adapter's should have it.",
                    misconception="base-trained",
                )
            figures = {"lora_parameters": adapters[rank].parameters, **rank_table.row(hand_in, measured, rank)}
            wrong = [name for name, value in figures.items() if not close(row.get(name), value, name)]
            # A count that is right for the rank that the adapter should have follows from the one that it has
            own = adapters[rank].rank or rank
            as_asked = close(row.get("lora_parameters"), adapters[rank].parameters * rank / own, "lora_parameters")
            if wrong == ["lora_parameters"] and as_asked:
                raise NotReached("rank_as_asked", costs=False)
            if wrong:
                told = ", ".join(f"{name} {values.one_line(str(row.get(name, 'missing')), 40)}" for name in wrong)
                fail(
                    f"The row says {told}. That does not follow from what you handed in.",
                    expected="numbers that follow from your adapter files, from losses and from lora_images",
                    hint="lora_parameters counts A and B of every adapted layer, final_loss is the mean of the last 20 losses, "
                    "style_similarity is the mean cosine similarity of lora_images[rank] to STYLE_REFERENCE. Compute each "
                    "from the variable itself.",
                    misconception="table-does-not-match",
                )
            verdict.found(f"rank {rank}: {', '.join(figures)} agree{'s' * (len(figures) == 1)}")


@pytest.mark.points(2)
@pytest.mark.needs("adapter_loads")  # that losses come out again says nothing of adapters
def test_other_input(again: Again, verdict: Verdict) -> None:
    """The same notebook trains adapters of other ranks, for another number of steps

    The grader runs your notebook a second time, with other values in its first cell and only a dozen steps. Adapters and
    losses that come out of your loop change with them; those that come from elsewhere do not.
    """
    again.compare(verdict)


@pytest.mark.points(0)
def test_written_answers(hand_in: HandIn, verdict: Verdict) -> None:
    """The written answers

    Your instructor reads them; no program does.
    """
    await_person(hand_in, verdict)
