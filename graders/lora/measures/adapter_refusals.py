"""How an adapter that cannot be used is refused, and the ways out that several refusals name."""

from __future__ import annotations

from graders.harness.errors import HandInError

PEFT_CONFIG = "adapter_config.json"

SAVE = "Save it with StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=...)."
SAVE_LORA_ONLY = (
    "Save the LoRA layers alone: StableDiffusionPipeline.save_lora_weights(folder, "
    "unet_lora_layers=get_peft_model_state_dict(unet))."
)
SAVE_PEFT = f"Hand in the whole folder that save_pretrained wrote, with {PEFT_CONFIG}."
SAVE_CONFIG = (
    'Save the true one: save_lora_weights(..., unet_lora_adapter_metadata=unet.peft_config["default"].to_dict()).'
)
TRAIN_PLAIN = "Train a plain LoRA: LoraConfig(r=..., lora_alpha=..., target_modules=[...])."
TRAIN_ON_MODEL = "Train the adapter on the U-Net of the model that the notebook's MODEL names."


class AdapterError(HandInError):
    """An adapter that cannot be used: one line that says what is wrong, one that says what to do about it."""


class BaseWeightsError(AdapterError):
    """The base model's own weights, where an adapter should be."""
