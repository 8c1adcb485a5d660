"""Models of the true architectures, with random weights: as large as the real ones, and good for nothing else."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

from graders.lora import catalog
from graders.lora.fixtures.text import tokenizer

JUDGES = {
    "openai/clip-vit-base-patch32": {
        "projection_dim": 512,
        "patch_size": 32,
        "width": 768,
        "layers": 12,
        "heads": 12,
        "text": 512,
    },
    "openai/clip-vit-large-patch14": {
        "projection_dim": 768,
        "patch_size": 14,
        "width": 1024,
        "layers": 24,
        "heads": 16,
        "text": 768,
    },
}
"""What sets the two apart: widths, depths and patches of their config.json."""


def stable_diffusion(folder: Path) -> None:
    """A pipeline with the configurations of stable-diffusion-v1-5, but for the tokenizer. Its files hold half precision."""
    torch.manual_seed(0)
    config = UNet2DConditionModel.load_config(catalog.ROOT / "configs" / "stable-diffusion-v1-5", subfolder="unet")
    names = _tokenizer()
    channels = [128, 256, 512, 512]
    blocks = len(channels)
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=channels,
            down_block_types=["DownEncoderBlock2D"] * blocks,
            up_block_types=["UpDecoderBlock2D"] * blocks,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        ).half(),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_attention_heads=12,
                num_hidden_layers=12,
                projection_dim=768,
                bos_token_id=names.bos_token_id,
                eos_token_id=names.eos_token_id,
            )
        ).half(),
        tokenizer=names,
        unet=UNet2DConditionModel.from_config(config).half(),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=CLIPImageProcessor(),
        requires_safety_checker=False,
    ).save_pretrained(folder)


def clip(folder: Path, name: str) -> None:
    """A CLIPModel with the configuration of one of :data:`JUDGES`, and its processor."""
    torch.manual_seed(0)
    width = JUDGES[name]
    names = _tokenizer()
    ends = {"bos_token_id": names.bos_token_id, "eos_token_id": names.eos_token_id}
    config = CLIPConfig(
        text_config={
            "hidden_size": width["text"],
            "intermediate_size": 4 * width["text"],
            "num_attention_heads": width["text"] // 64,
            "num_hidden_layers": 12,
            **ends,
        },
        vision_config={
            "hidden_size": width["width"],
            "intermediate_size": 4 * width["width"],
            "num_attention_heads": width["heads"],
            "num_hidden_layers": width["layers"],
            "patch_size": width["patch_size"],
        },
        projection_dim=width["projection_dim"],
    )
    CLIPModel(config).half().save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(), names).save_pretrained(folder)


def _tokenizer() -> CLIPTokenizer:
    """Of fewer words than the true one, and with prompts as long."""
    names = tokenizer()
    names.model_max_length = 77
    return names
