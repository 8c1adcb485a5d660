"""Whether something was done at all, where what was not done looks like what was done rightly: nothing earns nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from graders.harness.errors import HandInError
from graders.harness.rubric import CheckFailed, NotReached, fail
from graders.lora.measures.adapted_unet import has_gradient
from graders.lora.measures.training_step import TrainingStep

_SIGMAS = 6
"""The correlation of n pairs of independent pixels is 0 with a standard deviation of 1/√n; it is this many of them off in two
of a thousand million pictures. In a picture of anything, neighbours are alike."""


def noise_is_used(step: TrainingStep) -> bool:
    """Whether there is a picture for the noise, or it went into z_t or into the loss: any standard normal numbers are noise."""
    with suppress(CheckFailed, HandInError, NotReached):
        z_0, noise = step.has("z_0", "latent_encoded"), step.has("noise", "noise")
        if step.own_latents.recognise(z_0, step.tolerance("z_0")) is not None:
            return True
        limit = step.forward_process.tolerance(step.tolerance("z_t", "z_0", "noise"))
        mixture = step.forward_process.explain(step.has("z_t", "forward_process"), z_0, noise, limit)
        return mixture is not None or step.objective is not None
    return False


def encoded(step: TrainingStep) -> list[str]:
    """Those of z_0 and text_embeddings that come out of the VAE and of the text encoder, rightly or not."""
    names = []
    with suppress(CheckFailed, HandInError):
        if step.own_latents.recognise(step.latent("z_0"), step.tolerance("z_0")) is not None:
            names.append("z_0")
    with suppress(CheckFailed, HandInError):
        text, limit = step.text_embeddings(), step.tolerance("text_embeddings")
        if text.any() and (step.caption.agrees(text, limit) or step.caption.explain(text, limit)):
            names.append("text_embeddings")
    return names


def loss_was_computed(step: TrainingStep) -> bool:
    """Whether the loss is one that is known, or the adapter has learned of it: any number can be made to need a gradient."""
    with suppress(CheckFailed, HandInError, NotReached):
        if step.objective is not None:
            return True
    with suppress(HandInError):
        return any(has_gradient(pair.b) for pair in step.unet.pairs)
    return False


def refuse_empty(pictures: Sequence[np.ndarray], name: str) -> None:
    """Fail for pictures (uint8 [h, w, 3]) of which none shows anything."""
    if all((picture == picture[0, 0]).all() for picture in pictures):
        what = "of one colour throughout"
    elif all(_is_noise(picture) for picture in pictures):
        what = "random pixels"
    else:
        return
    fail(
        f"`{name}` holds pictures that are {what}.",
        expected="for each prompt the picture that the pipeline generates for it",
        hint="Look at one of them. Is it what the pipeline returned? Black pictures come from half precision that overflows, or "
        "from a safety checker.",
    )


def _is_noise(picture: np.ndarray) -> bool:
    pixels = picture.astype(np.float64)
    return _uncorrelated(pixels[:-1], pixels[1:]) and _uncorrelated(pixels[:, :-1], pixels[:, 1:])


def _uncorrelated(ones: np.ndarray, others: np.ndarray) -> bool:
    if ones.size < 2 or ones.std() == 0 or others.std() == 0:
        return False
    return abs(float(np.corrcoef(ones.ravel(), others.ravel())[0, 1])) <= _SIGMAS / ones.size**0.5
