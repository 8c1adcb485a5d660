"""One training step of a hand-in on the bench: each of its tensors is recomputed from those that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from graders.harness.errors import HandInError
from graders.harness.lesson import HandIn, Missing, OptimizerState, TensorFacts
from graders.harness.rubric import CheckFailed, NotReached, fail
from graders.lora.measures import lora_gradients
from graders.lora.measures.adapted_unet import AdaptedUNet
from graders.lora.measures.captions import Caption
from graders.lora.measures.causes import Cause
from graders.lora.measures.latents import LatentSpace
from graders.lora.measures.layers import cross_attention_projections
from graders.lora.measures.lora_gradients import Agreement
from graders.lora.measures.noising import ForwardProcess
from graders.lora.measures.objectives import Objective, mistaken, noise_error, recognise
from graders.lora.measures.precision import ROUNDINGS, is_float, name_of, relative_error, tolerance

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
LOOSEST = 0.5
"""The largest relative error of the gradients that anything can excuse: it still leaves a cosine of 0.87."""


class TrainingStep:
    """What a hand-in left of one training step, and the model that it was taken with, on the CPU in float32.

    A stage is always recomputed from the hand-in's own inputs to it, so that a mistake counts where it was made.
    """

    def __init__(self, hand_in: HandIn) -> None:
        self.evidence, self._parameters = hand_in.evidence, hand_in.parameters
        self.timestep: int = self._parameters["TIMESTEP"]
        self.rank: int = self._parameters["RANK"]

    # --- the model ------------------------------------------------------------------------------------------

    @cached_property
    def latents(self) -> LatentSpace:
        """The VAE, with the picture in IMAGE."""
        vae = AutoencoderKL.from_pretrained(self._parameters["MODEL"], subfolder="vae")
        side = int(vae.config.sample_size)
        picture = Image.open(self._parameters["IMAGE"]).convert("RGB")
        return LatentSpace(vae, np.asarray(picture.resize((side, side))))

    @cached_property
    def caption(self) -> Caption:
        """The text encoder, with CAPTION."""
        model = self._parameters["MODEL"]
        tokenizer = CLIPTokenizer.from_pretrained(model, subfolder="tokenizer")
        encoder = CLIPTextModel.from_pretrained(model, subfolder="text_encoder", dtype=torch.float32)
        return Caption(tokenizer, encoder, self._parameters["CAPTION"])

    @cached_property
    def forward_process(self) -> ForwardProcess:
        """The noise schedule at TIMESTEP."""
        scheduler = DDPMScheduler.from_pretrained(self._parameters["MODEL"], subfolder="scheduler")
        return ForwardProcess(scheduler.alphas_cumprod, self.timestep)

    @cached_property
    def base(self) -> UNet2DConditionModel:
        """The U-Net as it was before anyone adapted it."""
        unet = UNet2DConditionModel.from_pretrained(self._parameters["MODEL"], subfolder="unet")
        return unet.requires_grad_(False)

    @cached_property
    def wanted_layers(self) -> list[str]:
        """The names of the cross-attention projections."""
        return cross_attention_projections(self.base)

    # --- what was handed in ---------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Says of a variable that is missing why, or where in the notebook to begin."""
        try:
            yield
        except Missing as error:
            run = self.evidence.run
            if run.ended == "completed":
                fix = f"Begin under “{_SECTIONS[error.name]}”."
                raise HandInError(error.problem, fix) from None
            where = f" in code cell {run.cell}" if run.cell else ""
            raise HandInError(
                f"`{error.name}` has no value, because the notebook stopped{where}.",
                "Run the notebook from the top in a fresh kernel, and mend the first cell that stops.",
            ) from None

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

    def latent(self, name: str) -> Tensor:
        """A tensor that must have the shape of the picture's latent, in float32."""
        return self._floats(name, self.latents.shape)

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
    def predict(self, latent: Tensor, text: Tensor) -> Tensor:
        """The base model's prediction at TIMESTEP."""
        return self.base(latent, self.timestep, text).sample

    def objective(self) -> Objective | None:
        """The loss that was handed in, as a function of the prediction; None if it is none that is known."""
        value = float(self.loss())
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
        others = mistaken(noise, latents, self.forward_process, self.latents, self.caption.token_ids)
        return recognise(value, prediction, others, limit)

    def objective_or_not_reached(self) -> Objective:
        """The loss that was handed in; not reached if it is missing or unknown."""
        try:
            objective = self.objective()
        except (CheckFailed, HandInError):
            objective = None
        if objective is None:
            raise NotReached("loss")
        return objective

    def compare_gradients(self, objective: Objective) -> Agreement:
        """The gradients of the B's of all linear layers beside those of ``objective``, for the hand-in's own A."""
        z_t, text = self.has("z_t", "forward_process"), self.has("text_embeddings", "text_embeddings")
        pairs = [pair for pair in self.unet.pairs if pair.a.value.ndim == 2]
        if not pairs:
            raise NotReached("lora_layers")
        if not all(state.value.isfinite().all() for pair in pairs for state in pair.states):
            raise NotReached("adapter_moved")
        weights = [self.base.get_submodule(pair.layer).get_parameter("weight") for pair in pairs]
        try:
            for weight in weights:
                weight.requires_grad_()
            loss = objective.loss(self.base(z_t, self.timestep, text).sample)
            gradients = torch.autograd.grad(loss, weights)
        finally:
            for weight in weights:
                weight.requires_grad_(False)
        scaling = lora_gradients.scaling(self.evidence.lora_configs, {pair.rank for pair in pairs})
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
        try:
            options = self.optimizer.options
        except HandInError:
            return True
        groups = options if isinstance(options, list) else []
        return any(not isinstance(group, dict) or group.get("weight_decay") != 0 for group in groups)

    def explain_prediction(self, found: Tensor, limit: float) -> Cause | None:
        """What else than z_t, TIMESTEP and the embeddings the U-Net may have been given; None if nothing that is known."""
        z_t, text = self.has("z_t", "forward_process"), self.has("text_embeddings", "text_embeddings")
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
        with torch.no_grad():
            for cause, inputs in causes:
                if relative_error(found, self.base(*inputs).sample) <= limit:
                    return cause
        return None


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape)) if tensor.ndim <= 8 else f"with {tensor.ndim} dimensions"
