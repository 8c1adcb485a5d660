"""What a prediction can be compared with, and how: the loss of a diffusion model, and what is taken for it."""

from __future__ import annotations

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
        "half of the mean squared error": lambda pred: F.mse_loss(pred, noise) / 2,
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
        with torch.no_grad():
            loss = float(objective.loss(prediction))
        if abs(loss - value) <= tolerance * abs(loss):
            return objective
    return None
