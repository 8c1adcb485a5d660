"""The forward process of diffusion, and what is taken for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graders.lora.measures.precision import relative_error


@dataclass(frozen=True)
class Mixture:
    """z_t as a·z_0 + b·ε, and in words what such an a and b are."""

    a: float
    b: float
    words: str
    hint: str
    misconception: str = "forward-process-wrong"


_SQUARES = "Square your two weights and add them up. What should come out?"
_LOST = "Which of the two terms is lost, or overwritten, on the way to `z_t`?"


class ForwardProcess:
    """z_t = √ᾱ_t · z_0 + √(1 − ᾱ_t) · ε, for the ᾱ [steps] of a model's schedule."""

    def __init__(self, alpha_bar: Tensor, timestep: int) -> None:
        self._alpha_bar = alpha_bar.double().cpu()
        before = float(self._alpha_bar[timestep - 1]) if timestep else 1.0
        self._of_one_step = float(self._alpha_bar[timestep]) / before
        self.timestep = timestep
        self.signal = float(self._alpha_bar[timestep])
        """ᾱ_t, the share of the variance that is still the picture's."""

    def tolerance(self, rounding: float) -> float:
        """How far off z_t may be where ``rounding`` is the relative error that its arithmetic is given.

        The noise's coefficient suffers most: 1 - ᾱ cancels, so an error of ᾱ weighs 1/√(1 - ᾱ) times as much.
        """
        return float(rounding / (1 - self.signal) ** 0.5)

    def z_t(self, z_0: Tensor, noise: Tensor) -> Tensor:
        """The closed form, in float64."""
        return self.signal**0.5 * z_0.double() + (1 - self.signal) ** 0.5 * noise.double()

    def z_0(self, z_t: Tensor, noise: Tensor) -> Tensor:
        """The latent that ``z_t`` is made of, if ``noise`` is what was added."""
        return (z_t - (1 - self.signal) ** 0.5 * noise) / self.signal**0.5

    def velocity(self, z_0: Tensor, noise: Tensor) -> Tensor:
        """What other models predict in place of the noise (Salimans and Ho 2022): √ᾱ·ε - √(1 - ᾱ)·z_0."""
        return self.signal**0.5 * noise - (1 - self.signal) ** 0.5 * z_0

    def explain(self, z_t: Tensor, z_0: Tensor, noise: Tensor, tolerance: float) -> Mixture | None:
        """What a wrong ``z_t`` is made of, if it is a mixture of ``z_0`` and ``noise`` at all."""
        parts = torch.stack([z_0.double().flatten(), noise.double().flatten()], dim=1)
        gram, moment = parts.T @ parts, parts.T @ z_t.double().flatten()
        # Least squares for two unknowns; z_0 and noise that are multiples of each other have no unique answer.
        if float(gram.det()) <= 1e-9 * float(gram[0, 0] * gram[1, 1]):
            return None
        a, b = torch.linalg.solve(gram, moment).tolist()
        if relative_error(a * z_0.double() + b * noise.double(), z_t) > tolerance:
            return None
        return self._name(a, b, tolerance)

    def _name(self, a: float, b: float, tolerance: float) -> Mixture:
        signal, beside = self.signal, 1 - self.signal

        def is_near(first: float, second: float) -> bool:
            return abs(a - first) + abs(b - second) <= 2 * tolerance

        if is_near(signal, beside):
            return Mixture(a, b, "the weights are ᾱ and 1 - ᾱ themselves", _SQUARES, "alpha-bar-not-square-rooted")
        if is_near(1, 1):
            return Mixture(a, b, "the noise was added to the latent as it is, without any weights", _SQUARES)
        if is_near(beside**0.5, signal**0.5):
            hint = "The later the timestep, the more noise: which of your two weights grows with it?"
            return Mixture(a, b, "the two weights are the wrong way round", hint)
        if is_near(1, 0):
            return Mixture(a, b, "that is z_0 itself, without any noise", _LOST)
        if is_near(0, 1):
            return Mixture(a, b, "that is the noise alone", _LOST)
        nearest = int((self._alpha_bar - a * a).abs().argmin())
        there = float(self._alpha_bar[nearest])
        if is_near(there**0.5, (1 - there) ** 0.5):
            hint = "Which entry of alphas_cumprod do you take? Print the index beside TIMESTEP."
            return Mixture(a, b, f"those are the weights of timestep {nearest}", hint)
        if is_near(self._of_one_step**0.5, (1 - self._of_one_step) ** 0.5):
            hint = "The scheduler has a product over all steps up to a timestep, too. Which of its tensors is that?"
            return Mixture(a, b, "those are the weights of one step alone, not of all steps up to TIMESTEP", hint)
        return Mixture(a, b, "no timestep of the schedule has such weights", _SQUARES)
