"""What a prediction can be compared with, and how: the loss of a diffusion model, and what is taken for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss as a function of the prediction; ``words`` continue "the loss is"."""

    words: str
    misconception: str | None
    loss: Callable[[Tensor], Tensor]
    right: bool = False


def noise_error(noise: Tensor) -> Objective:
    """What a U-Net is trained on: the mean squared error between its prediction and the noise."""
    words = "the mean squared error between prediction and noise"
    return Objective(words, None, lambda pred: F.mse_loss(pred, noise), right=True)


def mistaken(noise: Tensor, latents: dict[str, Tensor], signal: float, token_ids: Tensor) -> Iterator[Objective]:
    """Other losses, of which some are named misconceptions.

    ``latents`` holds z_0 and z_t by name, ``signal`` is ᾱ_t, ``token_ids`` [n] are those of the caption.
    """

    def plain(words: str, loss: Callable[[Tensor], Tensor], slug: str | None = None) -> Objective:
        return Objective(words, slug, loss)

    for name, latent in latents.items():
        yield plain(f"the mean squared error between prediction and {name}", _mse_to(latent), "target-is-latent")
    if {"z_0", "z_t"} <= set(latents):
        z_0, z_t = latents["z_0"], latents["z_t"]

        def image(pred: Tensor) -> Tensor:
            return (z_t - (1 - signal) ** 0.5 * pred) / signal**0.5

        words = "the mean squared error between z_0 and the image that the prediction leads to"
        yield plain(words, lambda pred: F.mse_loss(image(pred), z_0), "predicts-image")
        velocity = signal**0.5 * noise - (1 - signal) ** 0.5 * z_0
        yield plain("the mean squared error between prediction and velocity", _mse_to(velocity))
    yield plain("the sum of the squared errors, not their mean", lambda pred: F.mse_loss(pred, noise, reduction="sum"))
    yield plain("the root of the mean squared error", lambda pred: F.mse_loss(pred, noise).sqrt())
    yield plain("half of the mean squared error", lambda pred: F.mse_loss(pred, noise) / 2)
    yield plain("the mean absolute error", lambda pred: F.l1_loss(pred, noise))
    yield plain("Huber's error", lambda pred: F.smooth_l1_loss(pred, noise))
    words = "the mean squared error between the noise and a prediction of zeros"
    yield plain(words, lambda pred: F.mse_loss(0 * pred, noise))
    for loss in _cross_entropies([noise, *latents.values()], token_ids):
        yield plain("a cross-entropy", loss, "token-cross-entropy")


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
