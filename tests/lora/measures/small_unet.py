"""A small U-Net with adapters of every kind, and the files that libraries write of them."""

import copy
import functools
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter, merged

CROSS_ATTENTION = r".*attn2\.(to_q|to_k|to_v|to_out\.0)"
EVERY_KIND = [
    "attn1.to_q", "attn2.to_k", "ff.net.0.proj", "proj_in", "conv1", "conv_shortcut", "downsamplers.0.conv", "linear_1"
]  # fmt: skip
BLOCK = "mid_block.attentions.0.transformer_blocks.0"
TO_Q, TO_K = f"{BLOCK}.attn2.to_q", f"{BLOCK}.attn2.to_k"

State = dict[str, Tensor]


def make_unet(cross_attention_dim: int = 16) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,
        norm_num_groups=8,
    ).eval()


@functools.cache
def _tiny_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(8,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=6,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def tiny_unet() -> UNet2DConditionModel:
    """A copy of an even smaller one."""
    return copy.deepcopy(_tiny_unet())


def randomise(unet: torch.nn.Module, seed: int = 1) -> None:
    """Give A and B values as training would; B starts at 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in unet.named_parameters():
        if "lora_" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def trained(**options: Any) -> UNet2DConditionModel:
    """A U-Net with an adapter that has moved away from its start."""
    unet = make_unet()
    unet.add_adapter(LoraConfig(**{"r": 4, "lora_alpha": 4, "target_modules": CROSS_ATTENTION, **options}))
    randomise(unet)
    return unet


def lora_state(**options: Any) -> State:
    return {name: tensor.contiguous() for name, tensor in get_peft_model_state_dict(trained(**options)).items()}


@torch.no_grad()
def output(unet: torch.nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    text = torch.randn(2, 3, 16, generator=generator)
    return unet(latents, torch.tensor([3, 700]), encoder_hidden_states=text).sample


def loaded_by_pipeline(folder: Path) -> Tensor:
    """What the U-Net gives once ``load_lora_weights`` has read the file (its two steps, without a whole pipeline)."""
    unet = make_unet()
    state, alphas, metadata = StableDiffusionPipeline.lora_state_dict(str(folder), return_lora_metadata=True)
    StableDiffusionPipeline.load_lora_into_unet(state, alphas, unet, metadata=metadata)
    return output(unet)


def assert_same_as(expected: Tensor, path: Path) -> Adapter:
    """The adapter at ``path``, merged, gives ``expected`` (which the base alone does not); the base comes back."""
    unet = make_unet()
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    base = output(unet)
    adapter = read_adapter(path, unet)
    with merged(unet, [(adapter, 1.0)]):
        torch.testing.assert_close(output(unet), expected, atol=1e-5, rtol=1e-5)
    assert (base - expected).abs().max() > 0.01
    assert_bits_equal(unet.state_dict(), before)
    return adapter


def assert_bits_equal(state: State, before: State) -> None:
    assert state.keys() == before.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor.view(torch.uint8), before[name].view(torch.uint8)), name


def kohya(state: State, alpha: float | None = None) -> State:
    """The same matrices under the names that kohya's trainer writes."""
    renamed: State = {}
    for key, tensor in state.items():
        module, _, matrix = key.partition(".lora_")
        name = "lora_unet_" + module.replace(".", "_")
        renamed[f"{name}.lora_down.weight" if matrix.startswith("A") else f"{name}.lora_up.weight"] = tensor
        if alpha is not None:
            renamed[f"{name}.alpha"] = torch.tensor(alpha)
    return renamed


def prefixed(state: State) -> State:
    return {f"unet.{name}": tensor for name, tensor in state.items()}
