"""What an adapter tells of itself, and what merging it does."""

import math
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

from graders.lora.measures import adapter_places
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter, LoraLayer, merged
from tests.lora.measures.small_unet import (
    CROSS_ATTENTION,
    TO_K,
    TO_Q,
    assert_bits_equal,
    lora_state,
    make_unet,
    output,
    randomise,
    trained,
)


def test_delta_is_the_scaled_product() -> None:
    """The change of a linear layer is weight · alpha/rank · B A, and with rslora alpha/√rank."""
    down, up = torch.randn(4, 6), torch.randn(5, 4)
    torch.testing.assert_close(LoraLayer("x", down, up, 8.0).delta(0.5), 0.5 * 2 * up @ down)
    assert LoraLayer("x", down, up, 8.0, rslora=True).scale == 8 / math.sqrt(4)
    assert LoraLayer("x", down, up, None).scale == 1
    assert LoraLayer("x", down, up, None).parameters == 4 * 6 + 5 * 4


def test_delta_of_a_convolution_has_its_shape() -> None:
    """The change of a convolution, applied at once, is A's convolution followed by B's."""
    down, up, picture = torch.randn(2, 3, 3, 3), torch.randn(5, 2, 1, 1), torch.randn(1, 3, 8, 8)
    delta = LoraLayer("conv_in", down, up, None).delta()
    assert delta.shape == (5, 3, 3, 3)
    twice = torch.conv2d(torch.conv2d(picture, down), up)
    torch.testing.assert_close(torch.conv2d(picture, delta), twice, atol=1e-5, rtol=1e-5)


def test_untrained_adapter_is_recognised(tmp_path: Path) -> None:
    """An adapter before its first step has B = 0 everywhere, and one number in one B ends that."""
    unet = make_unet()
    unet.add_adapter(LoraConfig(r=4, target_modules=CROSS_ATTENTION))
    unet.save_lora_adapter(tmp_path)
    adapter = read_adapter(tmp_path, make_unet())
    assert adapter.changes_nothing
    adapter.layers[TO_Q].up[0, 0] = 1e-9
    assert not adapter.changes_nothing


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("matrix", ["A", "B"])
def test_layers_that_are_not_finite_are_named(tmp_path: Path, value: float, matrix: str) -> None:
    """A NaN or an infinity in A or in B is read, and its layer named."""
    state = lora_state()
    state[f"{TO_Q}.lora_{matrix}.weight"][0, 0] = value
    save_file(state, tmp_path / "a.safetensors")
    adapter = read_adapter(tmp_path, make_unet())
    assert adapter.non_finite() == [TO_Q]


# merged()


def test_two_adapters_add_up_with_their_weights(tmp_path: Path) -> None:
    """Two weighted adapters give what set_adapters gives with the same weights."""
    for name, seed in (("style", 1), ("subject", 5)):
        unet = trained(lora_alpha=8)
        randomise(unet, seed)
        unet.save_lora_adapter(tmp_path / name)
    both = make_unet()
    for name in ("style", "subject"):
        both.load_lora_adapter(
            str(tmp_path / name), prefix=None, weight_name=adapter_places.DIFFUSERS_FILE, adapter_name=name
        )
    both.set_adapters(["style", "subject"], [0.7, -0.4])
    unet = make_unet()
    style, subject = (read_adapter(tmp_path / name, unet) for name in ("style", "subject"))
    with merged(unet, [(style, 0.7), (subject, -0.4)]) as inside:
        assert inside is unet
        torch.testing.assert_close(output(unet), output(both), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_return_to_the_bit_after_an_error(tmp_path: Path, dtype: torch.dtype) -> None:
    """Every bit of the weights is as before, in any dtype, also when the block inside raises."""
    trained().save_lora_adapter(tmp_path)
    unet = make_unet().to(dtype)
    adapter = read_adapter(tmp_path, unet)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    with pytest.raises(ZeroDivisionError), merged(unet, [(adapter, 0.37), (adapter, 1.1)]):
        assert not torch.equal(unet.state_dict()[f"{TO_Q}.weight"], before[f"{TO_Q}.weight"])
        raise ZeroDivisionError
    assert_bits_equal(unet.state_dict(), before)


def test_weights_return_when_merging_fails_halfway(tmp_path: Path) -> None:
    """An adapter that fits only in part leaves the weights as they were."""
    trained().save_lora_adapter(tmp_path)
    unet = make_unet()
    adapter = read_adapter(tmp_path, unet)
    misfit = Adapter({**adapter.layers, "conv_in": adapter.layers[TO_Q]}, adapter.format)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    with pytest.raises(RuntimeError), merged(unet, [(misfit, 1.0)]):
        pass
    assert_bits_equal(unet.state_dict(), before)


def test_weight_zero_leaves_the_base_alone(tmp_path: Path) -> None:
    """An adapter of weight 0 changes no bit, not even with NaN in it."""
    trained().save_lora_adapter(tmp_path)
    unet = make_unet()
    unet.get_submodule(TO_Q).weight.data[0, 0] = -0.0
    adapter = read_adapter(tmp_path, unet)
    adapter.layers[TO_K].up[0, 0] = math.nan
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    with merged(unet, [(adapter, 0.0)]):
        assert_bits_equal(unet.state_dict(), before)
