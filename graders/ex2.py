"""Exercise 2, one LoRA training step by hand: what is decided, and for how many points.

Over 400 lines, because a rubric has a function for each of its lines, with all that students are told.
"""

from __future__ import annotations

import pytest

from graders.harness.errors import HandInError
from graders.harness.hand_in import Again, HandIn, NotRead, Unreadable
from graders.harness.lesson import Exercise, Texts
from graders.harness.rubric import NotReached, Verdict, fail
from graders.lora import catalog
from graders.lora.measures import lora_gradients, optimizer_step, placement, substance
from graders.lora.measures.adapted_unet import AdaptedUNet
from graders.lora.measures.blocks import Blocks
from graders.lora.measures.normality import is_standard_normal
from graders.lora.measures.precision import relative_error
from graders.lora.measures.review import await_person
from graders.lora.measures.training_step import TrainingStep

EXERCISE = Exercise(
    name="ex2",
    title="One LoRA training step by hand",
    hand_in={
        "z_0": "tensor",
        "noise": "tensor",
        "z_t": "tensor",
        "text_embeddings": "tensor",
        "noise_pred": "tensor",
        "loss": "tensor",
        "unet": "module",
        "optimizer": "optimizer",
    },
    parameters={
        "MODEL": str(catalog.TINY_SD),
        "IMAGE": str(catalog.dataset("watercolor/train") / "004.png"),
        "CAPTION": "a yellow house on the right on a red background",
        "TIMESTEP": 320,
        "RANK": 4,
        "DEVICE": "auto",
        "SEED": 1234,
    },
    carried={"CAPTION": Texts(1000), "TIMESTEP": range(1000), "RANK": range(1, 129), "SEED": range(1 << 63)},
    others=(
        {
            "IMAGE": str(catalog.dataset("watercolor/reference") / "000.png"),
            "CAPTION": "a purple flower on the left on a cyan background",
            "TIMESTEP": 610,
            "RANK": 6,
            "SEED": 77,
        },
        {
            "IMAGE": str(catalog.dataset("watercolor/reference") / "003.png"),
            "CAPTION": "a green star on the middle on a purple background",
            "TIMESTEP": 175,
            "RANK": 3,
            "SEED": 4321,
        },
        {
            "IMAGE": str(catalog.dataset("watercolor/train") / "002.png"),
            "CAPTION": "a red fish on the middle on a green background",
            "TIMESTEP": 455,
            "RANK": 8,
            "SEED": 2,
        },
    ),
)


@pytest.fixture(scope="session")
def step(hand_in: HandIn) -> TrainingStep:
    """The training step that was handed in, next to the model that it was taken with."""
    return TrainingStep(hand_in)


@pytest.mark.points(2)
def test_latent_encoded(step: TrainingStep, verdict: Verdict) -> None:
    """`z_0` is what the VAE makes of the picture

    The U-Net works on the VAE's latents, and the VAE knows pixels in one range only. Given any other it still returns a
    latent, of a picture that is far too bright or too dull, and nothing downstream complains.
    """
    z_0, wanted = step.latent("z_0"), step.latents.shape
    if z_0.shape != wanted:
        fail(
            f"`z_0` has the shape {list(z_0.shape)}. What follows from it is judged for a picture of that size.",
            expected=f"the shape {list(wanted)}",
            hint="Print the picture's size before it goes into the VAE, beside vae.config.sample_size.",
        )
    recognised = step.latents.recognise(z_0, step.tolerance("z_0"))
    if recognised is None:
        fail(
            "`z_0` is not the latent of the picture in IMAGE, neither the mean of the distribution nor a sample of it.",
            expected="the VAE's latent of this picture, at the size that the VAE was trained on",
            hint="Undo the scaling, decode it with the VAE and look: which picture is it, and what has happened to it? Colours "
            "come last in a picture and first in a tensor; permute moves them, reshape does not.",
        )
    if not recognised.encoding.pixels.right:
        fail(
            f"`z_0` is the latent of the picture, but the pixels were {recognised.encoding.pixels.words}.",
            expected="pixels in the range that the VAE was trained on",
            hint="Print pixels.min() and pixels.max() before you encode. What does the pipeline's image processor do to a "
            "picture before the VAE sees it?",
            misconception="image-not-normalised",
        )
    verdict.found("the latent of the picture")


@pytest.mark.points(1)
def test_latent_scaled(step: TrainingStep, verdict: Verdict) -> None:
    """`z_0` is scaled as the U-Net was trained on it

    The forward process assumes latents of about unit variance, so that timestep t means the same amount of noise for
    every model. The VAE's scaling factor makes them so. Without it, the U-Net meets mixtures that it has never seen.
    """
    z_0, limit = step.has("z_0", "latent_encoded"), step.tolerance("z_0")
    recognised = step.own_latents.recognise(z_0, limit)
    if recognised is None:
        raise NotReached("latent_encoded")
    if not step.own_latents.well_scaled(recognised, limit):
        factor, wanted = recognised.factor, step.own_latents.scaling_factor
        missing = any(abs(factor / other - 1) < 0.02 for other in (1, 1 / wanted))
        times = "the VAE's latent as it is" if abs(factor - 1) < 0.02 else f"{factor:.4g} times the VAE's latent"
        fail(
            f"`z_0` is {times}; its standard deviation is {z_0.std():.3g}.",
            expected="the latent times the factor that this VAE's configuration names",
            hint="Look through vae.config for this VAE's own factor. Do you use that number, and in the right direction?",
            misconception="scaling-factor-missing" if missing else None,
        )
    verdict.found(f"scaled to a standard deviation of {z_0.std():.3g}")


@pytest.mark.points(1)
def test_noise(step: TrainingStep, verdict: Verdict) -> None:
    """`noise` is standard normal, one number for each of the latent's

    The noise is what the U-Net has to find again. Its distribution is the one thing that the model may rely on: at the end
    of the forward process nothing else is left, and sampling starts from it.
    """
    noise = step.latent("noise")
    if not is_standard_normal(noise):
        fail(
            f"`noise` does not look standard normal: mean {noise.mean():.3g}, standard deviation {noise.std():.3g}, from "
            f"{noise.min():.3g} to {noise.max():.3g}.",
            expected="independent numbers from the normal distribution with mean 0 and standard deviation 1",
            hint="Is it drawn at random, and from which distribution? Two of torch's random functions differ in one "
            "letter of their names.",
        )
    if not substance.noise_is_used(step):
        raise NotReached("latent_encoded")
    verdict.found(f"mean {noise.mean():.2f}, standard deviation {noise.std():.2f}")


@pytest.mark.points(2)
def test_forward_process(step: TrainingStep, verdict: Verdict) -> None:
    """`z_t` follows from `z_0` and `noise` by the forward process's closed form

    Picture and noise are weighted so that their variances add up to one, whatever the timestep. That is why training can
    jump to any timestep at once, and why the U-Net can trust the timestep that it is told.
    """
    z_t = step.latent("z_t")
    z_0, noise = step.has("z_0", "latent_encoded"), step.has("noise", "noise")
    if not (z_0.any() or noise.any()):  # of nothing, every mixture is nothing
        raise NotReached("noise")
    process = step.forward_process
    limit = process.tolerance(step.tolerance("z_t", "z_0", "noise"))
    error = relative_error(z_t, process.z_t(z_0, noise))
    if not error <= limit:
        mixture = process.explain(z_t, z_0, noise, limit)
        found = (
            f"`z_t` is {mixture.a:.3f}·z_0 + {mixture.b:.3f}·noise: {mixture.words}."
            if mixture
            else "`z_t` is no mixture of the `z_0` and the `noise` that you hand in."
        )
        fail(
            found,
            expected="the closed form of the forward process, at TIMESTEP and with this model's noise schedule",
            hint=mixture.hint
            if mixture
            else "Is `noise` drawn once and used both here and as the target, or drawn anew? Has one of the three been "
            "changed after `z_t` was computed?",
            misconception=mixture.misconception if mixture else "forward-process-wrong",
        )
    verdict.found(f"as the closed form says at timestep {step.timestep}")


@pytest.mark.points(2)
def test_text_embeddings(step: TrainingStep, verdict: Verdict) -> None:
    """`text_embeddings` is the text encoder's last hidden state for the caption

    Every token becomes a vector, and cross-attention reads them all: W_K and W_V turn them into keys and values. This is
    the only way in which the caption reaches the picture.
    """
    text, limit, caption = step.text_embeddings(), step.tolerance("text_embeddings"), step.caption
    if caption.agrees(text, limit):
        verdict.found(f"{text.shape[1]} tokens of width {text.shape[2]}")
        return
    cause = caption.explain(text, limit)
    fail(
        f"`text_embeddings` {cause.words if cause else 'is not what this text encoder makes of CAPTION'}.",
        expected="the last hidden state for all tokens of CAPTION, with or without padding",
        hint=cause.hint
        if cause and cause.hint
        else "Decode your token ids with the tokenizer: do you read the caption? Then print what the text encoder returns.",
        misconception=cause.misconception if cause else None,
    )


@pytest.mark.points(1)
def test_encoders_frozen(step: TrainingStep, verdict: Verdict) -> None:
    """VAE and text encoder are frozen: no gradient can flow into them

    Both were trained before, and the U-Net relies on them as they are. Frozen, they need no gradients, no optimizer state
    and no activations in memory, and each picture has to pass through them only once.
    """
    models = {"z_0": "the VAE", "text_embeddings": "the text encoder"}
    encoded = substance.encoded(step)
    if not encoded:  # what no model made can carry no gradient into one
        raise NotReached("latent_encoded")
    tracked = [(name, models[name]) for name in encoded if step.facts(name).in_graph]
    if tracked:
        names, tracking = (" and ".join(words) for words in zip(*[(f"`{n}`", m) for n, m in tracked], strict=True))
        fail(
            f"{names} can still carry gradients back into {tracking}.",
            expected="tensors that depend on no parameter that requires a gradient",
            hint="Print requires_grad of both tensors. Freeze a model with requires_grad_(False), or do not record what it "
            "computes: torch.no_grad().",
            misconception="vae-or-text-encoder-unfrozen",
        )
    verdict.found(f"{' and '.join(f'`{name}`' for name in encoded)}: no gradient is required")


@pytest.mark.points(2)
def test_lora_layers(step: TrainingStep, verdict: Verdict) -> None:
    """LoRA sits on every cross-attention projection, and nowhere else

    Cross-attention is where text meets picture, and all four projections take part in it. In a language model LoRA goes to
    self-attention, because that is where the text is; here self-attention, like the convolutions, never sees the caption.
    """
    verdict.found(placement.judge(step.unet, step.wanted_layers))


@pytest.mark.points(1)
def test_rank_as_asked(step: TrainingStep, verdict: Verdict) -> None:
    """The adapter has the rank that was asked for

    The rank is the inner dimension of B·A: how many independent directions the adapter may change in a layer.
    """
    ranks = sorted({pair.rank for pair in step.has_unet("lora_layers").pairs})
    if ranks != [step.rank]:
        fail(
            f"The adapter has rank {', '.join(map(str, ranks))}; RANK is {step.rank}.",
            expected="matrices A of RANK rows and B of RANK columns",
            hint="Follow RANK to the adapter's configuration: is it what arrives as r?",
            misconception="rank-ignored",
        )
    verdict.found(f"rank {step.rank} in every layer")


@pytest.mark.points(1)
def test_base_frozen(step: TrainingStep, verdict: Verdict) -> None:
    """No parameter of the base model trains or has a gradient

    LoRA leaves the base model alone. That is what makes it cheap, since frozen parameters need neither gradients nor
    optimizer state, and what makes an adapter a small file that can be taken out again.
    """
    base = base_of(step).base
    if not base:
        fail(
            "`unet` holds no parameter of the base model.",
            expected="the base model's U-Net, with the adapter in it",
            hint="Assign the module that you trained to `unet`, not a part of it.",
        )
    training = [parameter.name for parameter in base if parameter.state.trainable]
    hearing = [p.name for p in base if p.state.gradient is not None and bool((p.state.gradient != 0).any())]
    if training or hearing:
        found = f"{len(training)} of the base model's {len(base)} parameters require a gradient"
        fail(
            f"{found} and {len(hearing)} have one, for example {(training or hearing)[0]}.",
            expected="a base model whose parameters require no gradient and have none",
            hint="When you load a model, all of it can be trained. Freeze it before you add the adapter, and leave it so.",
            misconception="base-unfrozen",
        )
    if not step.unet.pairs:  # where nothing trains at all, that the base does not is no merit
        raise NotReached("lora_layers")
    verdict.found(f"all {len(base)} parameters of the base model are frozen")


@pytest.mark.points(1)
@pytest.mark.sees("base_frozen")
def test_base_untouched(step: TrainingStep, verdict: Verdict) -> None:
    """After the step, the base model is bit for bit what it was

    The adapter is a difference to exactly these weights. Beside any others, even slightly other ones, it means something
    else.
    """
    unet = base_of(step)
    # Whoever writes LoRA by hand may keep the frozen weight as a buffer, which is no parameter and cannot train.
    missing = [name for name in unet.missing if name.rpartition(".")[0] not in unet.adapted_layers]
    if missing:
        fail(
            f"{len(missing)} of the base model's parameters are not in `unet`, for example {missing[0]}.",
            expected="the U-Net of MODEL, with an adapter added to it",
            hint="Which model did you load, and did you keep it as a whole?",
        )
    changed = [parameter for parameter in unet.base if not parameter.untouched]
    if changed and all(parameter.state.trainable for parameter in changed):
        raise NotReached("base_frozen", costs=False)
    if changed:
        fail(
            f"{len(changed)} of the base model's {len(unet.base)} parameters differ from those of MODEL, for example "
            f"{changed[0].name}.",
            expected="the weights that were loaded, to the last bit",
            hint="Did the optimizer get any of them? Was anything merged into the weights, or loaded from elsewhere?",
        )
    if not unet.pairs:
        raise NotReached("lora_layers")
    verdict.found(f"all {len(unet.base)} parameters are the original ones")


def base_of(step: TrainingStep) -> AdaptedUNet:
    """The U-Net that was handed in, with an adapter or without; not reached if there is none."""
    try:
        return step.unet
    except HandInError:
        raise NotReached("lora_layers") from None


@pytest.mark.points(1)
@pytest.mark.sees("base_frozen")
def test_optimizer_holds_lora(step: TrainingStep, verdict: Verdict) -> None:
    """The optimizer holds A and B of every layer, and nothing else

    An optimizer keeps statistics of every parameter that it is given, Adam two numbers for each, and may move any of them:
    weight decay does so even without a gradient. Only what is to be trained belongs in it, and all of that.
    """
    verdict.found(optimizer_step.judge_held(step.optimizer.identities, step.has_unet("lora_layers")))


@pytest.mark.points(2)
def test_prediction(step: TrainingStep, verdict: Verdict) -> None:
    """At the first step, `noise_pred` is what the base model predicts

    B starts at zero, so B·A is zero and the detour adds nothing: for the same z_t, timestep and caption, an adapted model
    begins by predicting exactly what the base model does. Training only ever moves it away from there.
    """
    error = step.prediction_error
    if not step.as_base:
        cause, _ = step.mistaken_inputs or (None, None)
        fail(
            f"`noise_pred` differs by {error:.2%} from what the base model predicts for your `z_t` and `text_embeddings`"
            + (f": {cause.words}." if cause else "."),
            expected="the base model's own prediction for z_t, at TIMESTEP, with the caption's embeddings",
            hint="Look at the line that calls the U-Net: of its three inputs, which is not the one that you hand in?"
            if cause
            else "Is B zero before the first step, and was `noise_pred` computed before that step?",
            misconception=cause.misconception if cause else None,
        )
    verdict.found("the base model's prediction")


@pytest.mark.points(2)
def test_loss(step: TrainingStep, verdict: Verdict) -> None:
    """`loss` compares the prediction with what the U-Net is there to predict

    This is where fine-tuning a diffusion model and a language model part ways. There is no vocabulary to choose a next token
    from: the U-Net predicts, number by number, the noise that was added. Compared with anything else, it would unlearn that.
    """
    try:
        loss = step.loss()
    except Unreadable as error:
        fail(
            error.problem,
            expected="a scalar tensor that backward() can start from",
            hint="Everything that the prediction gets wrong is averaged into one number. Keep the tensor that holds it.",
        )
    if not loss.isfinite():
        fail(
            f"`loss` is {loss.item()}.",
            expected="a finite number",
            hint="Go back from the loss: are prediction, z_t, embeddings and weights all finite?",
            misconception="loss-not-finite",
        )
    if loss == 0 and not step.as_base:  # a prediction of the noise itself, which no U-Net makes
        raise NotReached("prediction")
    objective = step.objective
    if objective is None or not objective.right:
        fail(
            f"`loss` is {loss.item():.4g}, "
            + (
                f"and that is {objective.words}."
                if objective
                else "and that does not follow from `noise_pred` and `noise`."
            ),
            expected="the loss that this U-Net was trained with: `noise_pred` compared with what it should have been",
            hint=objective.hint
            if objective
            else "Compute it once more, by hand, from the `noise_pred` and the target that you hand in. What else is in it?",
            misconception=objective.misconception if objective else None,
        )
    verdict.found(f"a mean squared error of {loss.item():.4g}")


@pytest.mark.points(1)
def test_loss_in_graph(step: TrainingStep, verdict: Verdict) -> None:
    """`loss` is part of the graph that backward follows

    A loss is more than a number: it remembers how it was computed, down to the adapter's parameters. Cut off from that
    memory it can be printed, but nothing can be learned from it.
    """
    try:
        in_graph = step.facts("loss").in_graph
    except HandInError:
        raise NotReached("loss") from None
    if not in_graph:
        fail(
            "`loss` is a number without a history: it does not require a gradient.",
            expected="the tensor that backward() was called on",
            hint="Look for detach(), item(), float() and torch.no_grad() between the U-Net and the loss. Does any parameter "
            "require a gradient?",
        )
    if not substance.loss_was_computed(step):
        raise NotReached("loss")
    verdict.found("the loss knows how it was computed")


@pytest.mark.points(1)
@pytest.mark.sees("prediction")
def test_gradients(step: TrainingStep, verdict: Verdict) -> None:
    """After the first backward, the gradient of every A is exactly zero, and that of every B is not

    The detour adds (α/r)·B·A·x. A's gradient is multiplied by B, which is still zero, so it is zero to the last bit. B's
    gradient is multiplied by A·x, and A is random: B has a gradient, and moves first. These zeros show that training started
    from the base model, and that the gradient flowed where it should.
    """
    unet = step.has_unet("lora_layers")
    verdict.measure(lora_gradients.norms(unet, Blocks.of(step.base.config)))
    pairs = unet.pairs
    if lora_gradients.silent(pairs):  # as they must be where the U-Net has nothing to read, or never predicted
        ensure_reached(step, "the adapter's gradients")
        if not step.has("text_embeddings", "text_embeddings").any():
            raise NotReached("text_embeddings")
        if not verdict.outcomes["prediction"].holds():
            raise NotReached("prediction")
    if step.began_elsewhere:
        raise NotReached("prediction", costs=False)
    verdict.found(lora_gradients.judge_first(pairs, called=bool(step.evidence.backward_passes)))


def ensure_reached(step: TrainingStep, what: str) -> None:
    """:class:`NotRead` for a notebook that stopped: ``what`` is not in the U-Net may have come later, or may be lost."""
    run = step.evidence.run
    if run.ended != "completed":
        said = f"The notebook stopped in {run.place or 'a cell'} before {what} could be read."
        raise NotRead("unet", said, "Mend that cell, then restart the kernel and run all cells.")


@pytest.mark.points(1)
@pytest.mark.needs("gradients")
@pytest.mark.sees("prediction")
def test_gradients_recomputed(step: TrainingStep, verdict: Verdict) -> None:
    """The gradients of B are those that the grader computes

    They show whether B learns from this loss, and from nothing else. No LoRA is needed to know them: with G the gradient
    for a layer's own weight, B's is (α/r)·G·Aᵀ. The grader computes G for the base model, with your z_t, embeddings and loss,
    and multiplies by your A.
    """
    objective = step.objective_or_not_reached()
    comparison = step.compare_gradients(objective)
    if not comparison.holds and not verdict.outcomes["prediction"].holds():
        raise NotReached("prediction")
    if step.mistaken_inputs:
        verdict.found(f"judged for what the prediction shows: {step.mistaken_inputs[0].words}")
    passes = step.evidence.backward_passes or 0
    verdict.found(lora_gradients.judge_recomputed(comparison, objective.micro_steps, passes))


@pytest.mark.points(1)
def test_adapter_moved(step: TrainingStep, verdict: Verdict) -> None:
    """The optimizer's step has moved B, against its gradient

    B was zero before the step, so whatever it holds now is the step itself. It must lead downhill: against the gradient.
    """
    pairs = step.has_unet("lora_layers").pairs
    seen = step.evidence.optimizer_steps
    if optimizer_step.driven_but_still(pairs) and not (seen and seen.taken):
        ensure_reached(step, "the optimizer's step")
    optimizer_step.refuse_idle(pairs, seen, step.optimizer_or_none)
    if step.began_elsewhere:  # what B holds is not the step alone, and against a gradient that it had no part in
        raise NotReached("prediction", costs=False)
    verdict.found(optimizer_step.judge_move(pairs))


@pytest.mark.points(2)
def test_other_input(again: Again, verdict: Verdict) -> None:
    """What is right here is right for another picture, caption, timestep, seed and rank, too

    A training loop takes this step with other input every time. What was written down for one input is no training step.
    """
    again.compare(verdict)


@pytest.mark.points(0)
def test_written_answers(hand_in: HandIn, verdict: Verdict) -> None:
    """The written answers

    Your instructor reads them; no program does.
    """
    await_person(hand_in, verdict)
