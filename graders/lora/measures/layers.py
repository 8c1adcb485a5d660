"""What kind of layer a module of Stable Diffusion's U-Net is, read off its name."""

from __future__ import annotations

from enum import StrEnum

from torch import nn


class Kind(StrEnum):
    """The kinds of layer that feedback tells apart; the value is how a sentence names the kind."""

    CROSS_ATTENTION = "cross-attention"
    SELF_ATTENTION = "self-attention"
    FEED_FORWARD = "feed-forward"
    CONVOLUTION = "convolution"
    TIME_EMBEDDING = "time embedding"
    TRANSFORMER_PROJECTION = "proj_in and proj_out"
    OTHER = "other"


_KIND_OF_PART = {
    "attn2": Kind.CROSS_ATTENTION,
    "attn1": Kind.SELF_ATTENTION,
    "ff": Kind.FEED_FORWARD,
    "proj_in": Kind.TRANSFORMER_PROJECTION,
    "proj_out": Kind.TRANSFORMER_PROJECTION,
    "conv": Kind.CONVOLUTION,  # of the down- and upsamplers
    "conv1": Kind.CONVOLUTION,
    "conv2": Kind.CONVOLUTION,
    "conv_in": Kind.CONVOLUTION,
    "conv_out": Kind.CONVOLUTION,
    "conv_shortcut": Kind.CONVOLUTION,
    "time_proj": Kind.TIME_EMBEDDING,
    "time_embedding": Kind.TIME_EMBEDDING,
    "time_emb_proj": Kind.TIME_EMBEDDING,
}

_PROJECTIONS = ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")
"""W_Q, W_K, W_V and W_out. To diffusers the attention to the text is ``attn2``, the picture's to itself ``attn1``."""


def kind_of(name: str) -> Kind:
    """The kind of the module called ``name`` in ``unet.named_modules()``.

    Whole dotted parts are compared, so that the normalisation ``conv_norm_out`` is no convolution. What lies inside
    a block is of the block's kind: ``attn2``, ``attn2.to_out`` and ``attn2.to_q.weight`` are cross-attention too.
    """
    return next((_KIND_OF_PART[part] for part in name.split(".") if part in _KIND_OF_PART), Kind.OTHER)


def cross_attention_projections(unet: nn.Module) -> list[str]:
    """The names of all cross-attention projections of ``unet``, in the order of ``named_modules()``."""
    endings = tuple(f".{projection}" for projection in _PROJECTIONS)
    return [name for name, _ in unet.named_modules() if name.endswith(endings)]
