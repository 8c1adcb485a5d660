"""What measurements use of diffusers and transformers, imported at once: it takes seconds, and there are moments that have them.

Modules of measurements import these names where they use them, so that an exercise is known without them.
"""

from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPModel, CLIPProcessor, CLIPTextModel, CLIPTokenizer

__all__ = [
    "AutoencoderKL", "CLIPModel", "CLIPProcessor", "CLIPTextModel", "CLIPTokenizer", "DDPMScheduler",
    "StableDiffusionPipeline", "UNet2DConditionModel",
]  # fmt: skip
