"""A training step by hand whose tensors and parameters hold anything."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from graders import ex2
from graders.harness.data import values
from graders.harness.hand_in import HandIn
from graders.harness.run.records import TYPES
from graders.harness.run.states import ModuleState, OptimizerState, ParameterState
from graders.lora.measures.training_step import TrainingStep
from tests.fuzz.strategies import NUMBERS, texts
from tests.fuzz.test_checks import Held, decoded, judge

SHARED = ("base", "latents", "caption", "forward_process", "wanted_layers")


@cache
def right() -> tuple[TrainingStep, dict[str, Any]]:
    """A step with the model it was taken with, and what is right for it."""
    step = TrainingStep(HandIn(Held({}), ex2.EXERCISE.parameters))
    generator = torch.Generator().manual_seed(1)
    z_0 = step.latents.encodings[0].mean * step.latents.scaling_factor
    noise = torch.randn(z_0.shape, generator=generator)
    z_t, text = step.forward_process.z_t(z_0, noise).float(), step.caption.embeddings
    parameters = {
        name: ParameterState(p.detach(), None, False, i) for i, (name, p) in enumerate(step.base.named_parameters())
    }
    weights = [step.base.get_submodule(name).get_parameter("weight").requires_grad_() for name in step.wanted_layers]
    prediction = step.base(z_t, step.timestep, text).sample
    loss = (prediction - noise).square().mean()
    for name, gradient in zip(step.wanted_layers, torch.autograd.grad(loss, weights), strict=True):
        a = torch.randn((step.rank, gradient.shape[1]), generator=generator)
        b = gradient @ a.T
        identity = len(parameters)
        parameters[f"{name}.lora_A.default.weight"] = ParameterState(a, 0 * a, True, identity)
        parameters[f"{name}.lora_B.default.weight"] = ParameterState(-1e-3 * b, b, True, identity + 1)
    for weight in weights:
        weight.requires_grad_(False)
    identities = tuple(state.identity for state in parameters.values() if state.trainable)
    return step, {
        "z_0": z_0, "noise": noise, "z_t": z_t, "text_embeddings": text, "noise_pred": prediction.detach(),
        "loss": loss.detach(), "unet": ModuleState("UNet2DConditionModel", True, parameters),
        "optimizer": OptimizerState("AdamW", identities, [{"lr": 1e-3, "weight_decay": 0}]),
    }  # fmt: skip


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": lambda t: 0 * t,
    "nan": lambda t: t * torch.nan if t.is_floating_point() else t,
    "infinite": lambda t: t / 0.0 if t.is_floating_point() else t,
    "huge": lambda t: t * 1e30,
    "vanishing": lambda t: t * 1e-40,
    "negative": lambda t: -1 * t,
    "one": lambda t: torch.ones_like(t),
    "empty": lambda t: t.flatten()[:0],
    "no rows": lambda t: t[:0] if t.ndim else t,
    "flat": lambda t: t.flatten(),
    "transposed": lambda t: t.mT if t.ndim > 1 else t,
    "more dimensions": lambda t: t.reshape(*[1] * (64 - t.ndim), *t.shape),
    "shuffled": lambda t: t.flatten().flip(0).reshape(t.shape),
    "shorter": lambda t: t[..., :-1] if t.ndim else t,
}
CHANGES |= {str(dtype): lambda t, dtype=dtype: t.to(dtype) for dtype in TYPES}
changes = st.sampled_from(list(CHANGES))
tensors = st.dictionaries(
    st.sampled_from(["z_0", "noise", "z_t", "text_embeddings", "noise_pred", "loss"]), changes, max_size=2
)
left_out = st.sets(st.sampled_from([*ex2.EXERCISE.hand_in]), max_size=1)
KINDS: dict[str, Callable[[str], bool]] = {
    "A": lambda name: "lora_A" in name,
    "B": lambda name: "lora_B" in name,
    "one A": lambda name: name.endswith("mid_block.attentions.0.transformer_blocks.0.attn2.to_q.lora_A.default.weight"),
    "one layer": lambda name: "mid_block.attentions.0.transformer_blocks.0.attn2.to_k." in name,
    "biases": lambda name: name.endswith(".bias"),
    "middle": lambda name: name.startswith("mid_block"),
    "all": lambda name: True,
}
WHAT = ["value", "gradient", "both", "no gradient", "freeze", "leave out", "rename", "rename all"]
parameters = st.lists(st.tuples(st.sampled_from(list(KINDS)), st.sampled_from(WHAT), changes, texts), max_size=2)


def changed(
    parameters: dict[str, ParameterState], kind: str, what: str, change: str, text: str
) -> dict[str, ParameterState]:
    """The parameters of a module with those of a kind changed in a way."""
    found = {}
    for name, state in parameters.items():
        if not KINDS[kind](name):
            found[name] = state
        elif what != "leave out":
            both = what == "both"
            value = CHANGES[change](state.value) if both or what == "value" else state.value
            gradient = None if what == "no gradient" else state.gradient
            if both or what == "gradient":
                gradient = CHANGES[change](state.value if gradient is None else gradient)
            renamed = {"rename": text + name, "rename all": name.replace("lora_", "")}
            name = values.one_line(renamed.get(what, name), 500)
            found[name] = ParameterState(value, gradient, state.trainable ^ (what == "freeze"), state.identity)
    return found


configs = st.lists(
    st.fixed_dictionaries(
        {"r": st.sampled_from([4, 4.0, True]) | st.sampled_from(NUMBERS)},
        optional={"lora_alpha": st.sampled_from(NUMBERS) | decoded(), "lora_dropout": st.sampled_from(NUMBERS) | decoded(),
                  "use_rslora": st.booleans()},
    ),
    max_size=2,
)  # fmt: skip


optimizers = st.none() | st.tuples(st.lists(st.integers(), max_size=3), st.integers(0, 400), decoded())


@settings(max_examples=max(1, settings().max_examples // 10), deadline=None)
@given(tensors, left_out, parameters, optimizers, configs)
@example({}, set(), [], None, [{"r": 4, "lora_alpha": 4}])
def test_ex2(
    tensors: dict[str, str],
    left_out: set[str],
    parameters: list[Any],
    optimizer: tuple[Any, ...] | None,
    configs: list[Any],
) -> None:
    """Every check of exercise 2 comes to a verdict, whatever becomes of the tensors and parameters of a right step."""
    right_step, right_values = right()
    held = {name: CHANGES[tensors[name]](value) if name in tensors else value for name, value in right_values.items()}
    for edit in parameters:
        held["unet"] = ModuleState("UNet", True, changed(held["unet"].parameters, *edit))
    if optimizer:
        more, start, options = optimizer
        held["optimizer"] = OptimizerState("SGD", (*more, *held["optimizer"].identities[start:]), options)
    hand_in = HandIn(
        Held({name: held[name] for name in held.keys() - left_out}, configs=configs), ex2.EXERCISE.parameters
    )
    step = TrainingStep(hand_in)
    step.__dict__.update({name: getattr(right_step, name) for name in SHARED})
    judge(ex2, hand_in=hand_in, step=step)
