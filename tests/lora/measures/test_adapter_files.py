"""Adapters as the real libraries write them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from graders.lora.measures import adapter_places, recorded_config
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.layers import Kind, cross_attention_projections
from tests.lora.measures.small_unet import (
    BLOCK,
    CROSS_ATTENTION,
    EVERY_KIND,
    TO_Q,
    State,
    assert_same_as,
    kohya,
    loaded_by_pipeline,
    lora_state,
    make_unet,
    output,
    prefixed,
    randomise,
    trained,
)


@pytest.mark.parametrize(
    ("targets", "convert"),
    [(CROSS_ATTENTION, convert_state_dict_to_diffusers), (CROSS_ATTENTION, dict), (EVERY_KIND, dict)],
    ids=["diffusers names", "PEFT names", "every kind"],
)
def test_save_lora_weights(tmp_path: Path, targets: Any, convert: Callable[[State], State]) -> None:
    """A file of save_lora_weights generates as diffusers loads it, convolutions included."""
    state = convert(lora_state(target_modules=targets))
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=state)
    adapter = assert_same_as(loaded_by_pipeline(tmp_path), tmp_path)
    assert adapter.format == "diffusers"
    assert adapter.rank == 4
    assert adapter.parameters == sum(tensor.numel() for tensor in state.values())


def test_alpha_that_was_not_saved_is_taken_as_the_rank(tmp_path: Path) -> None:
    """Without metadata an adapter trained at alpha = 2r comes back at half its strength, here as in diffusers."""
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=lora_state(lora_alpha=8))
    adapter = assert_same_as(loaded_by_pipeline(tmp_path), tmp_path)
    assert not adapter.alpha_recorded
    assert {(layer.alpha, layer.scale) for layer in adapter.layers.values()} == {(None, 1.0)}


@pytest.mark.parametrize(
    "options",
    [
        {"lora_alpha": 8},
        {"lora_alpha": 8, "use_rslora": True},
        {"lora_alpha": 3.5},
        {"lora_alpha": 8, "alpha_pattern": {"attn2.to_k": 1, f"^{TO_Q}": 20}},
        {"lora_alpha": 8, "alpha_pattern": {r"attn2\.to_q$": 1, "to_q": 5}},
        {"lora_alpha": 8, "alpha_pattern": {"^attn2.to_q": 1}},
        {"lora_alpha": 8, "rank_pattern": {"attn2.to_v": 2, f"^{TO_Q}": 6}},
    ],
    ids=["alpha", "rslora", "fraction", "alpha pattern", "first pattern wins", "anchored pattern", "rank pattern"],
)
def test_metadata_of_save_lora_weights(tmp_path: Path, options: dict[str, Any]) -> None:
    """Alpha, its patterns and the rank-stabilised scale come back from the metadata as diffusers reads them."""
    unet = trained(**options)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
    )
    expected = loaded_by_pipeline(tmp_path)
    torch.testing.assert_close(expected, output(unet))
    adapter = assert_same_as(expected, tmp_path)
    assert adapter.alpha_recorded
    assert adapter.rank == (None if "rank_pattern" in options else 4)
    assert adapter.ranks == ({2, 4, 6} if "rank_pattern" in options else {4})


def test_metadata_without_alpha_means_the_default_of_peft(tmp_path: Path) -> None:
    """Where the recorded LoraConfig leaves lora_alpha out, it is 8, as PEFT has it."""
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=lora_state(),
        unet_lora_adapter_metadata={"r": 4, "target_modules": ["attn2.to_q", "to_k", "to_v", "to_out.0"]},
    )
    adapter = assert_same_as(loaded_by_pipeline(tmp_path), tmp_path)
    assert {layer.alpha for layer in adapter.layers.values()} == {8.0}


def test_save_lora_adapter(tmp_path: Path) -> None:
    """A file of unet.save_lora_adapter, whose names have no prefix, generates as load_lora_adapter loads it."""
    trained(lora_alpha=8).save_lora_adapter(tmp_path)
    unet = make_unet()
    unet.load_lora_adapter(str(tmp_path), prefix=None, weight_name=adapter_places.DIFFUSERS_FILE)
    adapter = assert_same_as(output(unet), tmp_path)
    assert adapter.format == "diffusers"
    assert adapter.alpha_recorded


def test_names_of_old_diffusers(tmp_path: Path) -> None:
    """The attention processors' names of early diffusers are the projections' matrices."""
    state = {
        "unet." + key.replace(".to_out.0", ".to_out").replace("attn2.", "attn2.processor.")
        .replace(".lora_A", "_lora.down").replace(".lora_B", "_lora.up"): tensor
        for key, tensor in lora_state().items()
    }  # fmt: skip
    assert f"unet.{BLOCK}.attn2.processor.to_out_lora.down.weight" in state
    save_file(state, tmp_path / adapter_places.DIFFUSERS_FILE)
    adapter = assert_same_as(loaded_by_pipeline(tmp_path), tmp_path)
    assert list(adapter.layers) == cross_attention_projections(make_unet())


def test_peft_folder(tmp_path: Path) -> None:
    """A folder of PEFT's save_pretrained generates as PEFT loads it, given as a folder or as the file in it."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=EVERY_KIND, alpha_pattern={"attn1.to_q": 2})
    wrapped = get_peft_model(make_unet(), config)
    randomise(wrapped)
    wrapped.save_pretrained(tmp_path)
    expected = output(PeftModel.from_pretrained(make_unet(), str(tmp_path)))
    adapter = assert_same_as(expected, tmp_path)
    assert adapter.format == "peft"
    assert adapter.layers[f"{BLOCK}.attn1.to_q"].alpha == 2
    assert_same_as(expected, tmp_path / adapter_places.PEFT_FILE)


@pytest.mark.parametrize("alpha", [None, 2, 8.0], ids=["no alpha", "integer alpha", "alpha"])
def test_kohya_names(tmp_path: Path, alpha: float | None) -> None:
    """kohya's underscored names find their modules, and its alpha tensors the strength."""
    save_file(kohya(lora_state(target_modules=EVERY_KIND), alpha), tmp_path / "style.safetensors")
    adapter = read_adapter(tmp_path, make_unet())
    assert adapter.format == "kohya"
    assert {layer.alpha for layer in adapter.layers.values()} == {alpha}
    assert set(adapter.names_by_kind()) == set(Kind) - {Kind.OTHER}


@pytest.mark.parametrize("targets", [CROSS_ATTENTION, EVERY_KIND], ids=["cross-attention", "every kind"])
def test_kohya_generates_as_diffusers_loads_it(tmp_path: Path, targets: Any) -> None:
    """A kohya file generates as load_lora_weights loads it, convolutions included."""
    save_file(kohya(lora_state(target_modules=targets), 8.0), tmp_path / adapter_places.DIFFUSERS_FILE)
    assert_same_as(loaded_by_pipeline(tmp_path), tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """A tensor of any usual float type is read, as float32 on the CPU."""
    state = {key: tensor.to(dtype) for key, tensor in prefixed(lora_state()).items()}
    save_file(state, tmp_path / adapter_places.DIFFUSERS_FILE)
    layer = read_adapter(tmp_path, make_unet()).layers[TO_Q]
    assert layer.down.dtype == layer.up.dtype == torch.float32
    assert torch.equal(layer.down, state[f"unet.{TO_Q}.lora_A.weight"].float())


def test_base_on_the_meta_device_is_enough(tmp_path: Path) -> None:
    """Reading needs the base's names and shapes, not its weights."""
    save_file(lora_state(), tmp_path / "a.safetensors")
    with torch.device("meta"):
        unet = make_unet()
    assert read_adapter(tmp_path / "a.safetensors", unet).rank == 4


def test_text_encoder_is_ignored_and_listed(tmp_path: Path) -> None:
    """Tensors of the text encoder are left out and reported by name."""
    key = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    save_file(prefixed(lora_state()) | {key: torch.ones(4, 16)}, tmp_path / "a.safetensors")
    adapter = read_adapter(tmp_path, make_unet())
    assert adapter.ignored == (key,)
    assert len(adapter.layers) == 16


def test_the_file_may_go_once_it_is_read(tmp_path: Path) -> None:
    """An adapter does not change when its file is overwritten."""
    file = tmp_path / "a.safetensors"
    save_file(lora_state(), file)
    layer = read_adapter(file, make_unet()).layers[TO_Q]
    before = layer.down.clone()
    with file.open("r+b") as raw:
        raw.write(bytes(file.stat().st_size))
    assert torch.equal(layer.down, before)


def test_diffusers_file_is_preferred_to_others(tmp_path: Path) -> None:
    """Of several files in a folder the one under diffusers' name is read."""
    save_file(lora_state(r=2), tmp_path / "a.safetensors")
    save_file(lora_state(r=3), tmp_path / adapter_places.PEFT_FILE)
    save_file(lora_state(r=5), tmp_path / adapter_places.DIFFUSERS_FILE)
    assert read_adapter(tmp_path, make_unet()).rank == 5


def test_metadata_key_is_the_one_that_diffusers_writes(tmp_path: Path) -> None:
    """The header of a file that diffusers saved holds the LoraConfig under the name that is read here."""
    trained().save_lora_adapter(tmp_path)
    assert load_file(tmp_path / adapter_places.DIFFUSERS_FILE)
    with safe_open(tmp_path / adapter_places.DIFFUSERS_FILE, "pt") as stored:
        assert json.loads(stored.metadata()[recorded_config.METADATA_KEY])["lora_alpha"] == 4
