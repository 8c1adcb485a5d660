"""What a prediction can be compared with, and how: the loss of a diffusion model, and what is taken for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from graders.lora.measures.latents import LatentSpace
from graders.lora.measures.noising import ForwardProcess


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss as a function of the prediction; ``words`` continue "the loss is"."""

    words: str
    misconception: str | None
    loss: Callable[[Tensor], Tensor]
    right: bool = False
    hint: str = (
        "What kind of thing does this U-Net predict? The target is the tensor of that kind with which z_t was made."
    )
    micro_steps: int = 1
    """Of how many micro-steps it is the mean, if it is a loss divided by their number."""

    def value(self, prediction: Tensor) -> float:
        """The loss of a prediction."""
        with torch.no_grad():
            return float(self.loss(prediction))

    def times(self, factor: float, tolerance: float) -> Objective:
        """The same loss times a factor that is known within a relative ``tolerance``."""
        parts, scale = divided_by(factor, tolerance), scaled_by(factor, tolerance)
        hint = "Which weight stands before the mean? This U-Net was trained with the same weight for every timestep."
        if factor < 0:
            hint = "A better prediction must make the loss smaller, not larger."
        elif parts:
            hint = f"Dividing by {parts} is for gradient accumulation over {parts} micro-steps, and this is one step with one "
            hint += "picture. Hand in the loss itself."
        elif scale:
            hint = "A GradScaler multiplies the loss, so that small gradients survive in half precision. Call backward() on "
            hint += "the scaled loss, and hand in the loss itself."
        said = f"1/{parts} of" if parts else f"{scale:,} times" if scale else f"{factor:.4g} times"
        hint = self.hint if self.misconception else hint
        words = f"{said} {self.words}"
        return Objective(
            words, self.misconception, lambda pred: factor * self.loss(pred), hint=hint, micro_steps=parts or 1
        )

    def plus(self, constant: float) -> Objective:
        """The same loss and something beside it that no gradient comes from."""
        words = f"{self.words} plus {constant:.3g}, and no gradient comes from what is added"
        return Objective(words, None, self.loss, hint="What is added to the mean squared error, and what for?")


MAX_PARTS = 64
"""Micro-steps that gradients are accumulated over: 64 are many."""
SMALLEST_SCALE, LARGEST_SCALE = 7, 40
"""Loss scaling multiplies by a power of two, of which a GradScaler takes the 16th at first and then larger or smaller ones."""


def divided_by(factor: float, tolerance: float) -> int | None:
    """The n if ``factor`` is 1/n, and so exactly that its neighbours would be told apart."""
    n = round(1 / factor) if factor > 1 / (2 * MAX_PARTS) else 0
    return n if 1 < n <= MAX_PARTS and 4 * n * tolerance < 1 and abs(factor * n - 1) <= tolerance else None


def scaled_by(factor: float, tolerance: float) -> int | None:
    """The power of two that ``factor`` is, if it can be that of a GradScaler."""
    power = round(math.log2(factor)) if 1 < factor < math.inf else 0
    near = SMALLEST_SCALE <= power <= LARGEST_SCALE and abs(factor / 2.0**power - 1) <= tolerance
    return 2**power if near else None


def noise_error(noise: Tensor) -> Objective:
    """What a U-Net is trained on: the mean squared error between its prediction and the noise."""
    words = "the mean squared error between prediction and noise"
    return Objective(words, None, lambda pred: F.mse_loss(pred, noise), right=True)


def mistaken(
    noise: Tensor, latents: dict[str, Tensor], process: ForwardProcess, space: LatentSpace, token_ids: Tensor
) -> Iterator[Objective]:
    """Other losses, of which some are named misconceptions.

    ``latents`` holds z_0 and z_t by name, as far as they are there; ``token_ids`` [n] are those of the caption.
    """
    for name, latent in latents.items():
        yield Objective(f"the mean squared error between prediction and {name}", "target-is-latent", _mse_to(latent))
    estimates: list[Callable[[Tensor], Tensor]] = [lambda pred: pred, lambda pred: pred / space.scaling_factor]
    if {"z_0", "z_t"} <= set(latents):
        z_0, z_t = latents["z_0"], latents["z_t"]

        def estimate(pred: Tensor) -> Tensor:
            return process.z_0(z_t, pred)

        words = "the mean squared error between z_0 and the one that the prediction leads to"
        yield Objective(words, "predicts-image", lambda pred: F.mse_loss(estimate(pred), z_0))
        yield Objective(
            "the mean squared error between prediction and velocity", None, _mse_to(process.velocity(z_0, noise))
        )
        estimates.append(lambda pred: estimate(pred) / space.scaling_factor)
    for latent_of in estimates:
        words = "the mean squared error between the picture and one decoded from the prediction"
        yield Objective(words, "predicts-image", _decoded(space, latent_of))
    others: dict[str, Callable[[Tensor], Tensor]] = {
        "the sum of the squared errors, not their mean": lambda pred: F.mse_loss(pred, noise, reduction="sum"),
        "the root of the mean squared error": lambda pred: F.mse_loss(pred, noise).sqrt(),
        "the mean absolute error": lambda pred: F.l1_loss(pred, noise),
        "Huber's error": lambda pred: F.smooth_l1_loss(pred, noise),
    }
    for words, loss in others.items():
        yield Objective(
            words, None, loss, hint="The target is right. How are all its errors made into one number in DDPM?"
        )
    for loss in _cross_entropies([noise, *latents.values()], token_ids):
        yield Objective("a cross-entropy", "token-cross-entropy", loss)


def _decoded(space: LatentSpace, latent_of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda pred: F.mse_loss(space.decode(latent_of(pred)), space.encodings[0].pixels.scaled(space.pixels))


def _mse_to(target: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda pred: F.mse_loss(pred, target)


def _cross_entropies(targets: list[Tensor], token_ids: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
    """Cross-entropies over channels, or over everything, against tensors like the prediction or against token ids."""
    shapes: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x,
        lambda x: x.flatten(1),
        lambda x: x.flatten(2),
        lambda x: x.flatten(2).transpose(1, 2),
        lambda x: x.flatten(2)[0],
        lambda x: x.movedim(1, -1).flatten(0, -2),
        lambda x: x.flatten(),
    )
    for shape in shapes:
        for target in targets:
            flat = shape(target)
            classes = min(1, flat.ndim - 1)  # cross_entropy takes dimension 1 for classes, or the only one
            for wanted in (flat, flat.softmax(classes), flat.argmax(classes)):
                yield _cross_entropy(shape, wanted)

        def against_tokens(pred: Tensor, shape: Callable[[Tensor], Tensor] = shape) -> Tensor:
            logits = shape(pred)
            if logits.ndim != 2:
                logits = logits.reshape(-1, logits.shape[-1])
            n = min(len(logits), len(token_ids)) if len(logits) > 1 else len(token_ids)
            logits = logits[:n] if len(logits) > 1 else logits.expand(n, -1)
            return F.cross_entropy(logits, token_ids[:n] % logits.shape[1])

        yield against_tokens


def _cross_entropy(shape: Callable[[Tensor], Tensor], wanted: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda pred: F.cross_entropy(shape(pred), wanted)


def recognise(value: float, prediction: Tensor, objectives: Iterator[Objective], tolerance: float) -> Objective | None:
    """The first of ``objectives`` whose loss of ``prediction`` is ``value``, within a relative tolerance."""
    for objective in objectives:
        loss = objective.value(prediction)
        if abs(loss - value) <= tolerance * abs(loss):
            return objective
    return None
