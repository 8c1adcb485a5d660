"""Names of U-Net modules → kinds of layer."""

import pytest
from diffusers import UNet2DConditionModel
from torch import nn

from graders.lora.measures.layers import Kind, cross_attention_projections, kind_of

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=8,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{BLOCK}.attn2.to_q", Kind.CROSS_ATTENTION),
        (f"{BLOCK}.attn2.to_out.0", Kind.CROSS_ATTENTION),
        (f"{BLOCK}.attn2", Kind.CROSS_ATTENTION),
        (f"{BLOCK}.attn2.to_k.weight", Kind.CROSS_ATTENTION),
        (f"{BLOCK}.attn1.to_v", Kind.SELF_ATTENTION),
        (f"{BLOCK}.ff.net.0.proj", Kind.FEED_FORWARD),
        (f"{BLOCK}.ff.net.2", Kind.FEED_FORWARD),
        ("down_blocks.0.attentions.0.proj_in", Kind.TRANSFORMER_PROJECTION),
        ("mid_block.attentions.0.proj_out", Kind.TRANSFORMER_PROJECTION),
        ("conv_in", Kind.CONVOLUTION),
        ("conv_out", Kind.CONVOLUTION),
        ("up_blocks.0.resnets.0.conv1", Kind.CONVOLUTION),
        ("up_blocks.0.resnets.0.conv2", Kind.CONVOLUTION),
        ("up_blocks.0.resnets.0.conv_shortcut", Kind.CONVOLUTION),
        ("up_blocks.0.upsamplers.0.conv", Kind.CONVOLUTION),
        ("time_embedding.linear_1", Kind.TIME_EMBEDDING),
        ("mid_block.resnets.0.time_emb_proj", Kind.TIME_EMBEDDING),
        ("conv_norm_out", Kind.OTHER),
        (f"{BLOCK}.norm2", Kind.OTHER),
        ("to_q", Kind.OTHER),
        ("", Kind.OTHER),
    ],
)
def test_kind_is_read_off_the_name(name: str, kind: Kind) -> None:
    """The kind of a module follows from the parts of its name."""
    assert kind_of(name) is kind


def test_every_layer_with_a_weight_matrix_has_a_kind(unet: UNet2DConditionModel) -> None:
    """No linear layer and no convolution of a real U-Net is of the kind "other"."""
    names = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert [name for name in names if kind_of(name) is Kind.OTHER] == []


def test_each_cross_attention_block_has_four_projections(unet: UNet2DConditionModel) -> None:
    """The projections of all blocks are listed, four to a block, as named_modules() orders them."""
    names = cross_attention_projections(unet)
    blocks = [name for name, _ in unet.named_modules() if name.endswith(".attn2")]
    assert len(blocks) == 4
    assert sorted(names) == sorted(
        f"{block}.{part}" for block in blocks for part in ("to_q", "to_k", "to_v", "to_out.0")
    )
    assert names == [name for name, _ in unet.named_modules() if name in set(names)]


def test_adapter_on_the_unet_does_not_change_the_names(unet: UNet2DConditionModel) -> None:
    """A U-Net that already carries a LoRA lists the same projections as before."""
    from copy import deepcopy

    from peft import LoraConfig

    adapted = deepcopy(unet)
    adapted.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_out.0"]))
    assert cross_attention_projections(adapted) == cross_attention_projections(unet)
