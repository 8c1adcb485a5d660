"""One training step of a hand-in on the bench: each of its tensors is recomputed from those that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn, Missing, OptimizerState, TensorFacts
from graders.harness.rubric import CheckFailed, NotReached, fail
from graders.lora.measures import lora_gradients
from graders.lora.measures.adapted_unet import AdaptedUNet, has_gradient
from graders.lora.measures.causes import Cause
from graders.lora.measures.latents import LatentSpace
from graders.lora.measures.lora_gradients import Agreement
from graders.lora.measures.objectives import (
    Objective,
    divided_by,
    mistaken,
    noise_error,
    recognise,
    scaled_by,
)
from graders.lora.measures.precision import ROUNDINGS, is_float, name_of, relative_error, tolerance
from graders.lora.measures.step_models import StepModels
from graders.lora.sightings import lora_configs

if TYPE_CHECKING:
    pass

GRADIENT_ROUNDINGS = 16
"""Relative error in norm of gradients, in units of the arithmetic's epsilon: measured at most 3 in float32, 1 in bfloat16."""
VANISHING = 0.25
"""The same in float16, where gradients below 6e-8 vanish: measured 0.008, and up to 16 times as much is expected for a
latent with 16 times as many numbers, over which the loss is a mean. Gradients of another loss differ by more."""
_SECTIONS = {
    "z_0": "From pixels to the latent",
    "text_embeddings": "From the caption to its embeddings",
    "noise": "The forward process",
    "z_t": "The forward process",
    "unet": "The frozen U-Net and its adapter",
    "optimizer": "The frozen U-Net and its adapter",
    "noise_pred": "The step",
    "loss": "The step",
}
"""The headings under which the assignment asks for each variable."""
MOST_TIMES = 4
"""As many times the numbers that a latent should have are still computed with."""
LOOSEST = 0.5
"""The largest relative error of the gradients that anything can excuse: it still leaves a cosine of 0.87."""


UNetInputs = tuple[Tensor, int, Tensor]
"""What a U-Net is given: a latent [1, c, h, w], a timestep, and embeddings [1, tokens, width]."""


class TrainingStep(StepModels):
    """What a hand-in left of one training step, and the model that it was taken with, on the CPU in float32.

    A stage is always recomputed from the hand-in's own inputs to it, so that a mistake counts where it was made.
    """

    def __init__(self, hand_in: HandIn) -> None:
        super().__init__(hand_in.parameters)
        self.evidence = hand_in.evidence
        self.rank: int = hand_in.parameters["RANK"]

    # --- what was handed in ---------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Says of a variable that is missing why, or where in the notebook to begin."""
        try:
            yield
        except Missing as error:
            if self.evidence.run.ended != "completed":
                raise
            fix = f"Begin under “{_SECTIONS[error.name]}”."
            raise HandInError(error.problem, fix) from None

    def facts(self, name: str) -> TensorFacts:
        """What the run says of a tensor."""
        with self._reading():
            return self.evidence.tensor_facts(name)

    def _tensor(self, name: str) -> Tensor:
        with self._reading():
            return self.evidence.tensor(name)

    @cached_property
    def unet(self) -> AdaptedUNet:
        """The U-Net as it came back."""
        with self._reading():
            return AdaptedUNet(self.evidence.module("unet"), self.base)

    @property
    def optimizer(self) -> OptimizerState:
        """The optimizer as it came back."""
        with self._reading():
            return self.evidence.optimizer("optimizer")

    @property
    def optimizer_or_none(self) -> OptimizerState | None:
        """The optimizer as it came back, None without one that could be read."""
        try:
            return self.optimizer
        except HandInError:
            return None

    @cached_property
    def own_latents(self) -> LatentSpace:
        """The same at the size of the `z_0` handed in, which has cost its points if it is another one."""
        try:
            found = self._tensor("z_0").shape[-2:]
        except HandInError:
            return self.latents
        *_, height, width = self.latents.shape
        step = 2 ** (len(self.base.config["block_out_channels"]) - 1)  # what the U-Net can halve and double again
        right_or_strange = found == (height, width) or any(not side or side % step for side in found)
        if len(found) < 2 or right_or_strange or found.numel() > MOST_TIMES * height * width:
            return self.latents
        return self.latents_of(found[0] / height, found[1] / width)

    def latent(self, name: str) -> Tensor:
        """A tensor that must have the shape of the picture's latent, in float32; of another `z_0`, the shape of that."""
        return self._floats(name, self.own_latents.shape)

    def text_embeddings(self) -> Tensor:
        """What was handed in as the caption's embeddings, [1, tokens, width], in float32."""
        found = self._floats("text_embeddings", (1, None, self.caption.width))
        if found.shape[1] > self.caption.longest:
            fail(
                f"`text_embeddings` has {found.shape[1]} tokens.",
                expected=f"no more tokens than the text encoder reads: {self.caption.longest}",
                hint="What length did you give the tokenizer for padding and truncation?",
            )
        return found

    def loss(self) -> Tensor:
        """The loss as a tensor with one element, which may be NaN."""
        loss = self._tensor("loss")
        if loss.numel() != 1 or not is_float(loss):
            fail(
                f"`loss` is a tensor of type {name_of(loss)} and shape {_shape(loss)}.",
                expected="one number: a scalar tensor",
                hint="Everything that the prediction gets wrong is averaged into one number. Which reduction did you use?",
            )
        return loss.reshape(()).float()

    def has(self, name: str, check: str) -> Tensor:
        """A latent or the embeddings as inputs to a later stage; not reached, because of ``check``, without them."""
        try:
            return self.text_embeddings() if name == "text_embeddings" else self.latent(name)
        except (CheckFailed, HandInError):
            raise NotReached(check) from None

    def has_unet(self, check: str) -> AdaptedUNet:
        """The U-Net with LoRA in it; not reached, because of ``check``, without."""
        try:
            unet = self.unet
        except HandInError:
            raise NotReached(check) from None
        if not unet.pairs:
            raise NotReached(check)
        return unet

    @property
    def _unet_is_readable(self) -> bool:
        try:
            return bool(self.unet.base)
        except HandInError:
            return False

    def _dtypes(self, *names: str, with_unet: bool) -> list[str]:
        dtypes = [self.facts(name).dtype for name in names]
        if with_unet and self._unet_is_readable:
            dtypes += [name_of(parameter.state.value) for parameter in self.unet.base]
        return dtypes

    def tolerance(self, *names: str, with_unet: bool = False, roundings: float = ROUNDINGS) -> float:
        """How far off what was computed from these tensors may be, as a relative error in norm."""
        devices = [self.facts(name).device for name in names]
        device = next((device for device in devices if not device.startswith("cpu")), "cpu")
        return tolerance(self._dtypes(*names, with_unet=with_unet), device, roundings)

    def _shape_of(self, name: str) -> str | None:
        try:
            return _shape(self.evidence.tensor(name))
        except HandInError:
            return None

    def _floats(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        tensor = self._tensor(name)
        wanted = "[" + ", ".join("tokens" if length is None else str(length) for length in shape) + "]"
        if tensor.ndim == len(shape) - 1:  # a batch of one picture, without saying so
            tensor = tensor[None]
        fits = tensor.ndim == len(shape) and all(
            wished in (None, there) for wished, there in zip(shape, tensor.shape, strict=True)
        )
        if not fits or not tensor.numel():
            found = _shape(self._tensor(name))
            hint = "Print the shape after every operation on the way to it: where does it stop being what you meant?"
            if name not in ("z_0", "text_embeddings") and found == self._shape_of("z_0"):
                hint = "It has the shape of your `z_0`. Mend that first, and this will follow."
            elif name == "z_0" and tensor.ndim == 4:
                hint = "Print the picture's size before it goes into the VAE, beside vae.config.sample_size."
            fail(f"`{name}` has the shape {found}.", expected=f"the shape {wanted}", hint=hint)
        if not is_float(tensor):
            fail(
                f"`{name}` is of type {name_of(tensor)}.",
                expected="floating-point numbers",
                hint="Where on the way to it did you round, compare or convert?",
            )
        tensor = tensor.float()
        if not tensor.isfinite().all():
            fail(
                f"`{name}` holds {int((~tensor.isfinite()).sum())} values that are NaN or infinite.",
                expected="finite numbers",
                hint="Go back tensor by tensor with torch.isfinite(x).all() and find the first one that is not.",
            )
        return tensor

    # --- what the trusted process makes of it ---------------------------------------------------------------

    @torch.no_grad()
    def _predict(self, inputs: UNetInputs) -> Tensor:
        """The base model's prediction."""
        return self.base(*inputs).sample

    @cached_property
    def objective(self) -> Objective | None:
        """The loss that was handed in, as a function of the prediction; None if it is none that is known, or 0, as of nothing."""
        value = float(self.loss())
        if value == 0:
            return None
        prediction, noise = self.has("noise_pred", "prediction"), self.has("noise", "noise")
        limit = self.tolerance("loss", "noise_pred", "noise")
        right = noise_error(noise)
        if found := recognise(value, prediction, iter([right]), limit):
            return found
        latents = {}
        for name, check in {"z_0": "latent_encoded", "z_t": "forward_process"}.items():
            try:
                latents[name] = self.has(name, check)
            except NotReached:
                continue
        others = list(mistaken(noise, latents, self.forward_process, self.own_latents, self.caption.token_ids))
        if found := recognise(value, prediction, iter(others), limit):
            return found
        return self._multiple(value, prediction, [right, *others], limit)

    def _multiple(self, value: float, prediction: Tensor, losses: list[Objective], limit: float) -> Objective | None:
        """The first of ``losses`` that ``value`` is a multiple of, which its gradients show: any number is some multiple.

        The multiples that people take of the right loss, for micro-steps or for half precision, are known without them.
        """
        for objective in losses:
            mean = objective.value(prediction)
            factor = value / mean if mean > 0 else 0.0
            common = divided_by(factor, limit) or scaled_by(factor, limit)
            if factor == 0 or not (objective.right or (common and objective.misconception)):
                continue
            multiple = objective.times(factor, limit)
            seen = self._compare_if_possible(multiple)
            if (common and objective.right) or (seen and seen.holds):
                one = seen.times * factor if seen and seen.times is not None and not common else 0.0
                added = seen and abs(one - 1) <= seen.tolerance < abs(factor - 1)
                return objective.plus(value - mean) if added else multiple
        return None

    def _compare_if_possible(self, objective: Objective) -> Agreement | None:
        """How the gradients compare with those of ``objective``; None where that says nothing of the loss."""
        try:
            known = self.as_base or self.mistaken_inputs
            heard = all(has_gradient(pair.b) for pair in self.unet.pairs)
            return self.compare_gradients(objective) if known and heard else None
        except (NotReached, HandInError):
            return None

    def objective_or_not_reached(self) -> Objective:
        """The loss that was handed in, or the right one if that is not known but the gradients are those of the right one.

        Not reached if neither is so.
        """
        try:
            if (objective := self.objective) is not None:
                return objective
        except (CheckFailed, HandInError, NotReached):
            pass
        with suppress(CheckFailed, HandInError, NotReached):
            right = noise_error(self.has("noise", "noise"))
            seen = self._compare_if_possible(right)
            if seen and seen.holds and (seen.times is None or seen.times <= 1 + seen.tolerance):
                return right
        raise NotReached("loss")

    def compare_gradients(self, objective: Objective) -> Agreement:
        """The gradients of the B's beside those of ``objective``, for the hand-in's own A."""
        z_t, timestep, text = self.mistaken_inputs[1] if self.mistaken_inputs else self._inputs
        pairs = [pair for pair in self.unet.pairs if pair.b.value.shape[2:].numel() == 1]
        if not pairs:
            raise NotReached("lora_layers")
        if not all(state.value.isfinite().all() for pair in pairs for state in pair.states):
            raise NotReached("adapter_moved")
        weights = [self.base.get_submodule(pair.layer).get_parameter("weight") for pair in pairs]
        try:
            for weight in weights:
                weight.requires_grad_()
            loss = objective.loss(self.base(z_t, timestep, text).sample)
            gradients = torch.autograd.grad(loss, weights)
        finally:
            for weight in weights:
                weight.requires_grad_(False)
        scaling = lora_gradients.scaling(lora_configs(self.evidence), {pair.rank for pair in pairs})
        inputs = ("z_t", "text_embeddings", "noise_pred")
        limit = self.tolerance(*inputs, with_unet=True, roundings=GRADIENT_ROUNDINGS)
        if "float16" in self._dtypes(*inputs, with_unet=True):
            limit = max(limit, VANISHING)
        if self._decays:
            limit += lora_gradients.drift(pairs)
        # Dropout takes a share p of A's inputs out of each sum and weighs the others 1/(1 - p): a relative spread of
        # √(p/(1 - p)) for sums whose terms are independent.
        limit += 2 * (scaling.dropout / (1 - scaling.dropout)) ** 0.5
        return lora_gradients.agreement(pairs, gradients, scaling.scale, min(limit, LOOSEST))

    @property
    def _decays(self) -> bool:
        """Whether the optimizer has weight decay, or does not say."""
        optimizer = self.optimizer_or_none
        return optimizer is None or any(group.get("weight_decay") != 0 for group in optimizer.groups)

    @property
    def _inputs(self) -> UNetInputs:
        """What the U-Net should have been given."""
        z_t, text = self.has("z_t", "forward_process"), self.has("text_embeddings", "text_embeddings")
        return z_t, self.timestep, text

    @cached_property
    def prediction_limit(self) -> float:
        """How far off the prediction may be, as a relative error in norm."""
        return self.tolerance("noise_pred", "z_t", "text_embeddings", with_unet=True)

    @cached_property
    def prediction_error(self) -> float:
        """How far the prediction is from the base model's, as a relative error in norm."""
        found = self.latent("noise_pred")
        return relative_error(found, self._predict(self._inputs))

    @property
    def as_base(self) -> bool:
        """Whether the prediction is the base model's."""
        return self.prediction_error <= self.prediction_limit

    @cached_property
    def mistaken_inputs(self) -> tuple[Cause, UNetInputs] | None:
        """What else than z_t, TIMESTEP and the embeddings the U-Net was given; None if it was these, or nothing that is known."""
        if self.as_base:
            return None
        found, (z_t, _, text) = self.latent("noise_pred"), self._inputs
        nothing = self.caption.nothing
        causes = [
            (Cause("the U-Net was given an empty caption", "caption-ignored"), (z_t, self.timestep, nothing)),
            (Cause("the U-Net was given embeddings of zeros", "caption-ignored"), (z_t, self.timestep, 0 * text)),
        ]
        for name, check in (("z_0", "latent_encoded"), ("noise", "noise")):
            try:
                causes.append((Cause(f"the U-Net was given `{name}`"), (self.has(name, check), self.timestep, text)))
            except NotReached:
                continue
        for t in {0, 1, self.timestep - 1, self.timestep + 1} - {self.timestep}:
            causes.append((Cause(f"the U-Net was told timestep {t}"), (z_t, t, text)))
        for cause, inputs in causes:
            if relative_error(found, self._predict(inputs)) <= self.prediction_limit:
                return cause, inputs
        return None

    @property
    def began_elsewhere(self) -> bool:
        """Whether B was not zero at the start: A has a gradient, and the prediction is nothing that the base model gives."""
        try:
            known = self.as_base or self.mistaken_inputs
        except (CheckFailed, HandInError, NotReached):
            return False
        return not known and any(has_gradient(pair.a) for pair in self.unet.pairs)


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape)) if tensor.ndim <= 8 else f"with {tensor.ndim} dimensions"
