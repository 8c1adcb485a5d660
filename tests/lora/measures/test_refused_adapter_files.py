"""Adapters as nobody should write them: a test for each way to, and so over 400 lines."""

import json
import math
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor

from graders.lora.measures import adapter_files, adapter_places, adapter_refusals, recorded_config
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapter_refusals import AdapterError
from tests.lora.measures.small_unet import (
    CROSS_ATTENTION,
    TO_Q,
    State,
    kohya,
    loaded_by_pipeline,
    lora_state,
    make_unet,
    prefixed,
    trained,
)


def refusal(path: Path, unet: torch.nn.Module | None = None) -> AdapterError:
    """The error that reading ``path`` ends in; it must be one line and one line."""
    with pytest.raises(AdapterError) as caught:
        read_adapter(path, make_unet() if unet is None else unet)
    assert str(caught.value).splitlines() == [caught.value.problem, caught.value.fix]
    assert all(caught.value.args)
    return caught.value


def refusal_of(state: State, tmp_path: Path, metadata: dict[str, Any] | str | None = None) -> AdapterError:
    """The error that reading a file of these tensors, and of this recorded LoraConfig, ends in."""
    text = json.dumps(metadata) if isinstance(metadata, dict) else metadata
    file = tmp_path / adapter_places.DIFFUSERS_FILE
    save_file(state, file, None if text is None else {"format": "pt", recorded_config.METADATA_KEY: text})
    return refusal(tmp_path)


def test_missing_path_is_refused(tmp_path: Path) -> None:
    """A path where nothing is, or that cannot be a path, is refused."""
    assert "no 'rank4'" in refusal(tmp_path / "rank4").problem
    assert "There is no" in refusal(tmp_path / "a\0b").problem


@pytest.mark.parametrize("link", ["file", "folder", "file in the folder"])
def test_symbolic_links_are_refused(tmp_path: Path, link: str) -> None:
    """A link is refused, whether it is the file, the folder, or the file in the folder."""
    (tmp_path / "real").mkdir()
    save_file(lora_state(), tmp_path / "real" / "a.safetensors")
    (tmp_path / "folder").mkdir()
    path, link_at, target = {
        "file": (tmp_path / "b.safetensors", tmp_path / "b.safetensors", tmp_path / "real" / "a.safetensors"),
        "folder": (tmp_path / "to", tmp_path / "to", tmp_path / "real"),
        "file in the folder": (
            tmp_path / "folder",
            tmp_path / "folder" / adapter_places.DIFFUSERS_FILE,
            tmp_path / "real" / "a.safetensors",
        ),
    }[link]
    link_at.symlink_to(target)
    assert "symbolic link" in refusal(path).problem


def test_special_files_are_refused(tmp_path: Path) -> None:
    """A named pipe is refused without being opened, so that reading cannot hang."""
    os.mkfifo(tmp_path / "a.safetensors")
    assert "not a regular file" in refusal(tmp_path).problem


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt", "PT"])
def test_pickles_are_refused(tmp_path: Path, suffix: str) -> None:
    """A pickle is never opened: the student is told to save safetensors."""
    torch.save(lora_state(), tmp_path / f"pytorch_lora_weights.{suffix}")
    for path in (tmp_path, tmp_path / f"pytorch_lora_weights.{suffix}"):
        error = refusal(path)
        assert "pickle" in error.problem
        assert "save_lora_weights" in error.fix


def test_renamed_pickle_is_refused(tmp_path: Path) -> None:
    """A pickle under safetensors' name is called what it is, and not run."""
    torch.save(lora_state(), tmp_path / "a.safetensors")
    assert "pickle" in refusal(tmp_path).problem
    (tmp_path / "a.safetensors").write_bytes(pickle.dumps({"a": 1}))
    refusal(tmp_path)


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    """A file that is no .safetensors is refused by its name."""
    (tmp_path / "notes.txt").write_text("hello")
    assert "'notes.txt' is not a .safetensors file" in refusal(tmp_path / "notes.txt").problem


def test_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    """The refusal of a folder says what was found in it, on one line whatever the names are."""
    assert "nothing" in refusal(tmp_path).problem
    (tmp_path / "loss\n\x1b[31m.png").touch()
    assert r"'loss\n\x1b[31m.png'" in refusal(tmp_path).problem
    for name in ("a", "b"):
        save_file(lora_state(), tmp_path / f"{name}.safetensors")
    assert "2 safetensors files" in refusal(tmp_path).problem


def test_large_file_is_refused_unread(tmp_path: Path) -> None:
    """A file over the cap is refused by its size alone."""
    with (tmp_path / "a.safetensors").open("wb") as raw:
        raw.truncate(adapter_places.MAX_FILE_BYTES + 1)
    assert "512 MiB" in refusal(tmp_path).problem


def test_large_header_is_refused_unparsed(tmp_path: Path) -> None:
    """A header over the cap is refused by its stated length alone."""
    header = json.dumps({"__metadata__": {"x": "y" * adapter_files.MAX_HEADER_BYTES}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "header" in refusal(tmp_path).problem


def raw_file(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        bytes(8),
        bytes(64),
        raw_file(b"{}")[:-1],
        raw_file(b"null"),
        raw_file(b"[" * 10_000),
        raw_file(b"\xff\xfe{}"),
        raw_file(b'{"__metadata__": 3}'),
        raw_file(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', bytes(4)),
        raw_file(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', bytes(4)),
        raw_file(b'{"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
        raw_file(b'{"a": {"dtype": "F32", "shape": [4294967296, 4294967296, 4], "data_offsets": [0, 4]}}', bytes(4)),
        raw_file(b'{"unet.a.lora_A.weight": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]}}', bytes(2)),
        raw_file(b'{"unet.a.lora_A.weight": {"dtype": "F32", "shape": [0, 1099511627776], "data_offsets": [0, 0]}}'),
    ],
    ids=range(15),
)
def test_bad_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever bytes the file has, the answer is a sentence and no other exception."""
    (tmp_path / "a.safetensors").write_bytes(content)
    refusal(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A good file with bytes flipped or cut off is read or refused, and nothing else happens."""
    file = tmp_path / adapter_places.DIFFUSERS_FILE
    trained(r=1, target_modules=[TO_Q]).save_lora_adapter(tmp_path)
    good, unet = file.read_bytes(), make_unet()
    generator = torch.Generator().manual_seed(0)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(good)
        for position in torch.randint(len(good), (3,), generator=generator).tolist():
            damaged[position] = int(torch.randint(256, (), generator=generator))
        file.write_bytes(damaged[: int(torch.randint(len(good) // 2, 2 * len(good), (), generator=generator))])
        try:
            read_adapter(file, unet)
            outcomes.add("read")
        except AdapterError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_integer_tensors_are_refused(tmp_path: Path) -> None:
    """A matrix of integers is no LoRA matrix."""
    state = {key: tensor.to(torch.int8) for key, tensor in lora_state().items()}
    assert "type int8" in refusal_of(state, tmp_path).problem


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    """A layer needs its A and its B."""
    for missing in "AB":
        state = lora_state()
        del state[f"{TO_Q}.lora_{missing}.weight"]
        assert refusal_of(state, tmp_path).problem == f"The layer '{TO_Q}' has no {missing}."


def test_matrix_given_twice_is_refused(tmp_path: Path) -> None:
    """Two names for the same matrix leave open which is meant."""
    state = {key.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): t for key, t in lora_state().items()}
    state[f"{TO_Q.replace('to_q', 'processor.to_q')}.lora.down.weight"] = state[f"{TO_Q}.lora.down.weight"].clone()
    assert "twice" in refusal_of(state, tmp_path).problem


def test_ranks_of_a_and_b_must_agree(tmp_path: Path) -> None:
    """A and B of different rank do not make a product, and rank 0 makes none either."""
    state = lora_state()
    state[f"{TO_Q}.lora_A.weight"] = torch.ones(3, 32)
    assert "rank 3, its B has rank 4" in refusal_of(state, tmp_path).problem
    state[f"{TO_Q}.lora_A.weight"], state[f"{TO_Q}.lora_B.weight"] = torch.ones(0, 32), torch.ones(32, 0)
    assert "rank 0" in refusal_of(state, tmp_path).problem


def test_wrong_base_model_is_refused_with_both_numbers(tmp_path: Path) -> None:
    """An adapter for a wider text embedding is told the width it has and the width it needs."""
    unet = make_unet(cross_attention_dim=24)
    unet.add_adapter(LoraConfig(r=4, target_modules=CROSS_ATTENTION))
    unet.save_lora_adapter(tmp_path)
    error = refusal(tmp_path)
    assert "takes 24 inputs" in error.problem
    assert "takes 16" in error.problem
    assert "MODEL" in error.fix


def test_wrong_output_is_refused_with_both_numbers(tmp_path: Path) -> None:
    """A B that gives another number of outputs is told both numbers."""
    state = lora_state()
    state[f"{TO_Q}.lora_B.weight"] = torch.ones(64, 4)
    problem = refusal_of(state, tmp_path).problem
    assert "64 outputs" in problem
    assert "gives 32" in problem


@pytest.mark.parametrize(
    ("name", "down", "up"),
    [
        (TO_Q, (4, 32, 1, 1), (32, 4, 1, 1)),
        ("conv_in", (4, 4), (32, 4)),
        ("conv_in", (4, 4, 1, 1), (32, 4, 1, 1)),
        ("conv_in", (4, 4, 3, 3), (32, 4, 3, 3)),
        (TO_Q, (128,), (128,)),
        (TO_Q, (), ()),
    ],
)
def test_other_dimensions_are_refused(tmp_path: Path, name: str, down: tuple[int, ...], up: tuple[int, ...]) -> None:
    """A convolution's matrices do not fit a linear layer, nor another kernel a convolution."""
    state = {f"{name}.lora_A.weight": torch.ones(down), f"{name}.lora_B.weight": torch.ones(up)}
    assert "do not fit" in refusal_of(state, tmp_path).problem


def test_unknown_layer_is_refused(tmp_path: Path) -> None:
    """A layer that the base has not is named, in each way of naming."""
    state = {f"nowhere.to_q.lora_{matrix}.weight": torch.ones(4, 4) for matrix in "AB"}
    assert "'nowhere.to_q'" in refusal_of(state, tmp_path).problem
    assert "'nowhere_to_q'" in refusal_of(kohya(state), tmp_path).problem


def test_layer_of_another_type_is_refused(tmp_path: Path) -> None:
    """LoRA of a normalisation is refused."""
    state = {f"conv_norm_out.lora_{matrix}.weight": torch.ones(4, 4) for matrix in "AB"}
    assert "neither a linear layer nor a convolution" in refusal_of(state, tmp_path).problem


@pytest.mark.parametrize(
    ("key", "variant"),
    [
        (f"unet.{TO_Q}.lora_magnitude_vector.weight", "DoRA"),
        ("lora_unet_x_to_q.dora_scale", "DoRA"),
        ("lora_unet_x_to_q.hada_w1_a", "LoHa"),
        ("lora_unet_x_to_q.lokr_w1", "LoKr"),
        ("lora_unet_x_conv1.lora_mid.weight", "LoCon"),
    ],
)
def test_variants_are_refused_by_name(tmp_path: Path, key: str, variant: str) -> None:
    """A relative of LoRA is refused by its own name."""
    assert variant in refusal_of(prefixed(lora_state()) | {key: torch.ones(4, 4)}, tmp_path).problem


def test_dora_of_the_library_is_refused(tmp_path: Path) -> None:
    """What the library saves of a DoRA adapter is refused as DoRA."""
    trained(use_dora=True).save_lora_adapter(tmp_path)
    assert "DoRA" in refusal(tmp_path).problem


@pytest.mark.parametrize("options", [{"lora_bias": True, "target_modules": ["to_out.0"]}, {"bias": "all"}])
def test_biases_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    """An adapter that trained biases, its own or the base's, is refused."""
    trained(**options).save_lora_adapter(tmp_path)
    assert "biases" in refusal(tmp_path).problem


def test_whole_unet_is_refused(tmp_path: Path) -> None:
    """A U-Net saved in place of its adapter is recognised, with or without the LoRA layers inside."""
    assert "weights of the U-Net itself" in refusal_of(make_unet().state_dict(), tmp_path).problem
    assert "weights of the U-Net itself" in refusal_of(trained().state_dict(), tmp_path).problem
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=trained().state_dict())
    error = refusal(tmp_path)
    assert "weights of the U-Net itself" in error.problem
    assert "get_peft_model_state_dict" in error.fix
    make_unet().save_pretrained(tmp_path / "unet")
    assert "weights of the U-Net itself" in refusal(tmp_path / "unet").problem


def test_text_encoder_alone_is_refused(tmp_path: Path) -> None:
    """An adapter of the text encoder alone is none of the U-Net, and an empty file is none at all."""
    key = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    assert "text encoder" in refusal_of({key: torch.ones(4, 16)}, tmp_path).problem
    assert "no LoRA layers" in refusal_of({}, tmp_path).problem


def test_adapter_name_in_the_tensor_names_is_refused(tmp_path: Path) -> None:
    """Tensors taken from state_dict() carry the adapter's name, and diffusers would load none of them."""
    state = {key: tensor for key, tensor in trained().state_dict().items() if "lora_" in key}
    assert "'default'" in refusal_of(prefixed(state), tmp_path).problem


def test_wrapper_names_in_a_diffusers_file_are_refused(tmp_path: Path) -> None:
    """Names of PEFT's wrapper in a diffusers file are refused, as diffusers refuses them."""
    state = {f"unet.base_model.model.{key}": tensor for key, tensor in lora_state().items()}
    assert "add_adapter" in refusal_of(state, tmp_path).fix
    with pytest.raises(Exception, match="not found in the base model"):
        loaded_by_pipeline(tmp_path)


def test_mixed_names_are_refused(tmp_path: Path) -> None:
    """A file of two naming schemes is refused."""
    assert "mixes" in refusal_of(lora_state() | prefixed(lora_state()), tmp_path).problem


def test_stray_tensor_is_refused(tmp_path: Path) -> None:
    """A tensor that is no part of a LoRA layer is named."""
    problem = refusal_of(prefixed(lora_state()) | {"unet.note": torch.ones(1)}, tmp_path).problem
    assert "'unet.note'" in problem


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"unet.r": 4, "unet.lora_alpha": NaN}', "alpha is 'nan'"),
        ('{"unet.r": 4, "unet.lora_alpha": 1e999}', "alpha is 'inf'"),
        ('{"unet.r": 4, "unet.lora_alpha": 1' + "0" * 400 + "}", "not a finite number"),
        ('{"unet.r": 4, "unet.lora_alpha": 1' + "0" * 5000 + "}", "cannot be read as JSON"),
        ({"unet.r": 4, "unet.lora_alpha": "8"}, "alpha is '8'"),
        ({"unet.r": 4, "unet.lora_alpha": True}, "alpha is 'True'"),
        ({"unet.r": 4, "unet.alpha_pattern": [1]}, "not a mapping"),
        ({"unet.r": 4, "unet.alpha_pattern": {"(a+)+b": 1}}, "regular expression"),
        ({"unet.r": 4, "unet.alpha_pattern": {"attn2.to_q": None}}, "alpha is 'None'"),
        ({"unet.r": 5, "unet.lora_alpha": 5}, "says rank 5"),
        ({"unet.r": 4, "unet.use_dora": True}, "DoRA"),
        ({"unet.r": 4, "unet.peft_type": "LOHA"}, "LOHA"),
        ({"unet.r": 4, "unet.init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
    ],
)  # fmt: skip
def test_bad_metadata_is_refused(tmp_path: Path, config: dict[str, Any] | str, words: str) -> None:
    """A recorded LoraConfig that is malformed, not finite, or at odds with the tensors is refused in words."""
    assert words in refusal_of(prefixed(lora_state()), tmp_path, config).problem


def test_large_metadata_is_refused(tmp_path: Path) -> None:
    """JSON over the cap is not parsed."""
    config = '{"unet.r": 4}' + " " * recorded_config.MAX_JSON_BYTES
    assert "cannot be read as JSON" in refusal_of(prefixed(lora_state()), tmp_path, config).problem


def test_peft_folder_needs_its_config(tmp_path: Path) -> None:
    """Without adapter_config.json, or with a broken or oversized one, a PEFT adapter has no known strength."""
    wrapped = get_peft_model(make_unet(), LoraConfig(r=4, target_modules=CROSS_ATTENTION))
    wrapped.save_pretrained(tmp_path)
    config = tmp_path / adapter_refusals.PEFT_CONFIG
    config.write_text('{"r": 4, "lora_alpha": Infinity}')
    assert "alpha is 'inf'" in refusal(tmp_path).problem
    config.write_bytes(b"\xff\xfe")
    assert "JSON" in refusal(tmp_path).problem
    config.write_text(" " * (recorded_config.MAX_JSON_BYTES + 1))
    assert "at most" in refusal(tmp_path).problem
    config.unlink()
    assert "no 'adapter_config.json'" in refusal(tmp_path).problem
    config.symlink_to("/etc/hostname")
    assert "symbolic link" in refusal(tmp_path).problem


@pytest.mark.parametrize("alpha", [torch.tensor(math.nan), torch.tensor(math.inf), torch.ones(2), torch.tensor(True)])
def test_bad_alpha_tensor_is_refused(tmp_path: Path, alpha: Tensor) -> None:
    """kohya's alpha must be one finite number."""
    state = kohya(lora_state(), 4.0)
    state[f"lora_unet_{TO_Q.replace('.', '_')}.alpha"] = alpha
    assert "alpha" in refusal_of(state, tmp_path).problem


def test_alpha_for_some_layers_only_is_refused(tmp_path: Path) -> None:
    """Where only some layers record alpha, the libraries disagree about the others, so the file is refused."""
    state = kohya(lora_state(), 8.0)
    del state[f"lora_unet_{TO_Q.replace('.', '_')}.alpha"]
    assert "15 of its 16 layers" in refusal_of(state, tmp_path).problem


def test_long_names_are_cut(tmp_path: Path) -> None:
    """A name from the file cannot fill the feedback or break its line."""
    problem = refusal_of({"a\n" + "x" * 50_000 + ".lora_A.weight": torch.ones(1)}, tmp_path).problem
    assert len(problem) < 250
    assert "\n" not in problem
