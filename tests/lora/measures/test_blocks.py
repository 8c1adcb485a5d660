"""Layers → the blocks of the U-Net in which they stand."""

import pytest

from graders.lora import catalog
from graders.lora.measures.architecture import Architecture
from graders.lora.measures.blocks import Blocks


@pytest.fixture(scope="module")
def sd15() -> Architecture:
    return Architecture(str(catalog.ROOT / "configs" / "stable-diffusion-v1-5"))


def test_cross_attention_of_stable_diffusion(sd15: Architecture) -> None:
    """The 64 projections stand in the blocks that the model card says, at their widths, and nothing else is counted."""
    columns = sd15.blocks.spread(sd15.cross_attention, sd15.cross_attention, sd15.layers)
    assert columns["asked"] == columns["right"] == [8, 8, 8, 0, 4, 0, 12, 12, 12, 0]
    assert columns["width"] == [64, 32, 16, 8, 8, 8, 16, 32, 64, None]
    assert not any(sum(columns[kind]) for kind in ("self-attention", "feed-forward", "convolution", "other"))


def test_every_layer_is_counted_once(sd15: Architecture) -> None:
    """All layers together are right or of one kind, and those that stand in no block are told apart."""
    columns = sd15.blocks.spread(sd15.cross_attention, sd15.layers, sd15.layers)
    assert sum(sum(counts) for name, counts in columns.items() if name not in ("width", "asked")) == len(sd15.layers)
    assert columns["self-attention"] == columns["asked"]
    assert columns["convolution"][-1] == 2
    assert columns["other"][-1] == 2


def test_what_is_no_layer_is_other(sd15: Architecture) -> None:
    """Parameters, modules around layers and names out of thin air are none of the kinds, wherever they claim to stand."""
    first = sd15.cross_attention[0]
    odd = [
        first + ".weight",
        first.rpartition(".")[0],
        "up_blocks.1.attn1.nothing",
        "mid_block",
        "",
        "down_blocks.99.x",
    ]
    odd += ["down_blocks.0000.x", "middle_block.attn1", "💥" * 9]
    columns = sd15.blocks.spread(sd15.cross_attention, odd, sd15.layers)
    assert columns["other"] == [2, 0, 0, 0, 1, 0, 1, 0, 0, 5]
    assert not any(sum(columns[kind]) for kind in ("right", "self-attention", "convolution"))


def test_a_configuration_without_a_size() -> None:
    """Where nobody knows the width of the latent, none is told."""
    blocks = Blocks.of({"down_block_types": ["a", "b"], "sample_size": [64, 32]})
    assert blocks.spread([], [], [])["width"] == [None] * 6
    assert [blocks.level(number) for number in range(5)] == [0, 1, 1, 1, 0]
