"""What an optimizer was given, and what its step did to the adapter."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graders.harness.hand_in import OptimizerState, StepsSeen
from graders.harness.rubric import NotReached, fail
from graders.lora.measures.adapted_unet import AdaptedUNet, LoraPair, has_gradient
from graders.lora.measures.tables import number

_ACCELERATED = "AcceleratedOptimizer"
"""What accelerate makes of an optimizer: its step() is one only after the last micro-step."""


def judge_held(held: Collection[int], unet: AdaptedUNet) -> str:
    """Fail unless the parameters of these identities are A and B of every layer, and no others."""
    expected = "the adapter's parameters, all of them and no others"
    lora = unet.lora_identities & set(held)
    base = unet.base_identities & set(held)
    unfrozen = {parameter.state.identity for parameter in unet.base if parameter.state.trainable}
    if (
        base and base == unfrozen and set(held) == base | unet.lora_identities
    ):  # all that requires a gradient, as it should
        raise NotReached("base_frozen", costs=False)
    foreign = set(held) - unet.identities
    if base:
        fail(
            f"The optimizer holds {len(base)} parameters of the base model, and {len(lora)} of the adapter.",
            expected=expected,
            hint="Hand over only those of unet.parameters() that require a gradient, once the base model is frozen.",
            misconception="optimizer-holds-base",
        )
    if foreign and lora:
        fail(
            f"Besides the adapter, the optimizer holds {len(foreign)} parameters that are not in `unet`.",
            expected=expected,
            hint="Which other models' parameters did you hand to it?",
            misconception="vae-or-text-encoder-unfrozen",
        )
    missing = len(unet.lora_identities) - len(lora)
    if missing:
        of_a = len({pair.a.identity for pair in unet.pairs} - lora)
        counts = {"A": of_a, "B": missing - of_a}
        which = " and ".join(f"{count} of {len(unet.pairs)} {matrix}'s" for matrix, count in counts.items() if count)
        which = f"{which} are not in the optimizer"
        if not lora:
            which = "None of the adapter's matrices is in the optimizer"
        elsewhere = f", which holds {len(foreign)} parameters that are not in `unet`" if foreign else ""
        fail(
            f"{which}{elsewhere}.",
            expected=expected,
            hint="Print the names of all parameters that require a gradient. Which of them did you not hand over?"
            if lora
            else "When did you make the optimizer, and from which U-Net? It must be the one that you train, with its adapter.",
        )
    return f"the optimizer holds the {len(lora)} matrices of the adapter"


def driven_but_still(pairs: Sequence[LoraPair]) -> bool:
    """Whether some B has a gradient, and none of these has moved."""
    driven = [pair for pair in pairs if has_gradient(pair.b)]
    return bool(driven) and not any(bool(pair.b.value.any()) for pair in driven)


def refuse_idle(pairs: Sequence[LoraPair], seen: StepsSeen | None, optimizer: OptimizerState | None) -> None:
    """Fail where B has gradients and is still zero for a reason that is known, although the step was made or asked for.

    Not reached where the step was made on other parameters.
    """
    if not driven_but_still(pairs):
        return
    driven = [pair for pair in pairs if has_gradient(pair.b)]
    expected = "B's that one step of the optimizer has moved"
    taken = seen.taken if seen else 0
    if optimizer and not {pair.b.identity for pair in driven} & set(optimizer.identities) and (taken or seen is None):
        raise NotReached("optimizer_holds_lora")
    rates = [number(group.get("lr")) for group in optimizer.groups] if optimizer else []
    if (seen and taken and not seen.moving) or (not taken and rates and not any(rates)):
        fail(
            "B is still exactly zero, because the learning rate of this step was 0.",
            expected=expected,
            hint="Print optimizer.param_groups[0]['lr'] before the step. A schedule with a warm-up begins at 0: leave it out "
            "for one single step, or have it begin higher.",
        )
    if seen and not taken and optimizer and optimizer.class_name == _ACCELERATED:
        fail(
            "B is still exactly zero: under gradient accumulation this was a micro-step, after which accelerate's optimizer "
            "waits for more.",
            expected=expected,
            hint="Which value of gradient_accumulation_steps makes this one backward pass a whole step?",
        )


def judge_move(pairs: Sequence[LoraPair]) -> str:
    """Fail unless every B that has a gradient has left zero, against that gradient; not reached if none moved or has one."""
    if not all(bool(state.value.isfinite().all()) for pair in pairs for state in pair.states):
        fail(
            "A or B holds NaN or infinite numbers after the step.",
            expected="finite numbers",
            hint="Look at the gradients before the step and at the learning rate. In float16, the squares of small gradients "
            "and Adam's eps vanish, and it divides by zero: keep the adapter in float32.",
            misconception="loss-not-finite",
        )
    driven = [pair for pair in pairs if has_gradient(pair.b)]
    still = [pair.layer for pair in (driven or pairs) if not pair.b.value.any()]
    if still and not driven:
        raise NotReached("gradients")
    if still:
        fail(
            f"{len(still)} of {len(pairs)} B's are still exactly zero, though they have gradients.",
            expected="B's that one step of the optimizer has moved",
            hint="Gradients alone change nothing. Which call applies them, and which parameters does it know?",
            misconception="no-step",
        )
    # For every optimizer in use, the first step has the gradient's sign in each number, or at least points against it.
    along = sum(
        float((pair.b.value.double() * pair.b.gradient).sum()) for pair in driven if pair.b.gradient is not None
    )
    if driven and not along < 0 and any(has_gradient(pair.a) for pair in pairs):
        fail(
            "B does not lie against its gradient, but it was not zero before the step either.",
            expected="a B that holds the step and nothing else, and a step that makes the loss smaller",
            hint="Mend the start of B first, and this will follow.",
        )
    if driven and not along < 0:
        fail(
            "B does not lie against its gradient: along this step the loss rises.",
            expected="a step that makes the loss smaller",
            hint="Has anything else written into B? Does your optimizer maximise?",
        )
    return f"all {len(pairs)} B's have moved" + (", against their gradients" if driven else "")
