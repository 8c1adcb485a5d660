"""Reading a LoRA adapter that somebody else wrote.

The file comes from a hand-in, so every byte of it may be wrong or hostile. Only safetensors is read, never a pickle;
sizes are checked before anything is parsed; whatever is wrong ends in an :class:`AdapterError`, a sentence for the
student and not a stack trace. What is accepted is what the libraries load, with the same strength: see
:attr:`LoraLayer.scale`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from graders.harness.data.values import one_line, shown
from graders.lora.measures import adapter_names, adapter_places, recorded_config
from graders.lora.measures.adapter_refusals import (
    SAVE,
    SAVE_CONFIG,
    SAVE_LORA_ONLY,
    TRAIN_ON_MODEL,
    TRAIN_PLAIN,
    AdapterError,
    BaseWeightsError,
)
from graders.lora.measures.adapters import Adapter, LoraLayer
from graders.lora.measures.recorded_config import RecordedConfig, finite

MAX_HEADER_BYTES = 8 * 2**20

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.int32, torch.int64)
_OTHER_MODELS = ("text_encoder.", "text_encoder_2.", "lora_te_", "lora_te1_", "lora_te2_")
_VARIANTS = {
    "lora_magnitude_vector": "DoRA",
    "dora_scale": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "lora_mid": "LoCon with a core tensor",
    "lora_embedding_": "LoRA on embeddings",
}
"""A part of a tensor's name → the relative of LoRA that it belongs to."""


def read_adapter(path: Path, unet: nn.Module) -> Adapter:
    """The adapter in the file or folder ``path``, checked against the plain base ``unet`` it is meant for.

    ``unet`` gives names and shapes alone, so it may live on the meta device. Raises AdapterError and nothing else.
    """
    file = adapter_places.find(Path(path))
    with _opened(file) as stored:
        every_key = stored.keys()
        ignored = tuple(key for key in every_key if key.startswith(_OTHER_MODELS))
        keys = [key for key in every_key if not key.startswith(_OTHER_MODELS)]
        _refuse_other_contents(keys, ignored, unet)
        _refuse_too_much(stored, keys, unet)
        scheme = adapter_names.scheme_of(keys)
        parts = adapter_names.parts(scheme, keys)
        config = recorded_config.read(file, scheme, stored.metadata() or {})
        tensors = {key: _tensor(stored, key) for key in keys}

    modules = dict(unet.named_modules())
    # kohya writes every dot as an underscore, so its names can only be looked up, not translated.
    names = {name.replace(".", scheme.joint): name for name in modules}
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, part = parts[key].module, parts[key].part
        if module not in names:
            adapter_names.refuse_unknown(module, scheme, names)
        if found.setdefault(names[module], {}).setdefault(part, tensor) is not tensor:
            raise AdapterError(f"The layer {shown(names[module])} has its {part} twice.", SAVE)

    if config is not None and any("alpha" in its for its in found.values()):
        raise AdapterError("The file records α twice: with each layer, and in a LoraConfig in its header.", SAVE)
    layers = {name: _layer(name, found[name], module, config) for name, module in modules.items() if name in found}
    if config is not None:
        config.refuse_without_targets(layers, scheme)
    elif scheme.format == "kohya":
        _refuse_alphas_that_do_not_load(layers)
    loader = scheme.loader + (" under its own name" if adapter_names.carries_adapter(keys) else "")
    return Adapter(layers, scheme.format, ignored, loader)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The open safetensors file, with whatever its bytes make the library raise turned into an AdapterError."""
    try:
        with file.open("rb") as raw:
            size_of_header = raw.read(8)
        if size_of_header.startswith(b"PK\x03\x04"):  # a zip archive, as torch.save writes
            raise AdapterError(f"{shown(file.name)} is a pickle under another name.", SAVE)
        if int.from_bytes(size_of_header, "little") > MAX_HEADER_BYTES:
            raise AdapterError(f"{shown(file.name)} is no safetensors file: its header would be too large.", SAVE)
        with safe_open(file, framework="pt", device="cpu") as stored:
            yield stored
    except (SafetensorError, OSError, RuntimeError) as error:
        raise AdapterError(f"{shown(file.name)} is damaged: it cannot be read as safetensors.", SAVE) from error


def _tensor(stored: Any, key: str) -> Tensor:
    """One tensor in float32; an alpha may be stored as an integer, as kohya's trainer does."""
    tensor: Tensor = stored.get_tensor(key)
    if tensor.dtype not in _FLOATS and not (key.endswith(".alpha") and tensor.dtype in _INTEGERS):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise AdapterError(f"The tensor {shown(key)} is of type {kind}, not a floating-point one.", SAVE)
    # A copy: safetensors may hand out views of the mapped file, which would change, or vanish, with the file.
    return tensor.to(torch.float32, copy=True)


def _refuse_other_contents(keys: list[str], ignored: tuple[str, ...], unet: nn.Module) -> None:
    """Refuse by name, and before a tensor is loaded, whatever is not a plain LoRA of the U-Net."""
    for key in keys:
        for part, variant in _VARIANTS.items():
            if part in key:
                raise AdapterError(f"The adapter is {variant}, not plain LoRA: it holds {shown(key)}.", TRAIN_PLAIN)
    base = {name for name, _ in unet.named_parameters()}
    for key in keys:
        name = key.removeprefix("unet.").removeprefix("base_model.model.").replace(".base_layer.", ".")
        if name in base and name.endswith(".weight"):
            raise BaseWeightsError(f"The file holds weights of the U-Net itself, such as {shown(key)}.", SAVE_LORA_ONLY)
    for key in keys:
        if key.endswith(".bias"):
            raise AdapterError(f"The adapter trains biases too: it holds {shown(key)}.", TRAIN_PLAIN)
    if not any(map(adapter_names.is_matrix, keys)):
        held = "only LoRA layers of the text encoder" if ignored else "no LoRA layers"
        raise AdapterError(f"The file holds {held}, none of the U-Net.", SAVE_LORA_ONLY)


def _refuse_too_much(stored: Any, keys: list[str], unet: nn.Module) -> None:
    """Refuse, before a tensor is loaded, what has more numbers than the whole base model: no adapter does."""
    held = sum(math.prod(stored.get_slice(key).get_shape()) for key in keys)
    base = sum(parameter.numel() for parameter in unet.parameters())
    if held > base:
        raise AdapterError(f"The file holds {held:,} numbers for the U-Net, which has {base:,} itself.", SAVE_LORA_ONLY)


def _refuse_alphas_that_do_not_load(layers: Mapping[str, LoraLayer]) -> None:
    """Refuse the α of kohya's layers where diffusers does not apply them as they are recorded.

    It takes the commonest α of the file for every layer without one, and for every attention layer whatever its own is.
    """
    recorded = {name: layer.alpha for name, layer in layers.items() if layer.alpha is not None}
    if recorded and len(recorded) < len(layers):
        problem = f"The adapter records alpha for {len(recorded)} of its {len(layers)} layers."
        raise AdapterError(problem, "Save an alpha for every layer, or for none.")
    counted = Counter(recorded.values()).most_common()
    commonest = {alpha for alpha, often in counted if often == counted[0][1]}
    passed_over = [name for name, alpha in recorded.items() if _in_attention(name) and {alpha} != commonest]
    if len(counted) > 1 and passed_over:
        name = passed_over[0]
        problem = f"The layers record different α ({shown(name)} has {recorded[name]:g}), and load_lora_weights gives "
        problem += "every attention layer the commonest."
        raise AdapterError(problem, SAVE_CONFIG)


def _in_attention(name: str) -> bool:
    return ".attn1." in name or ".attn2." in name


def _layer(name: str, parts: Mapping[str, Tensor], module: nn.Module, config: RecordedConfig | None) -> LoraLayer:
    """The layer built of ``parts``, once they fit each other, the base's ``module`` and the recorded ``config``."""
    if missing := {"A", "B"} - parts.keys():
        raise AdapterError(f"The layer {shown(name)} has no {' and no '.join(sorted(missing))}.", SAVE_LORA_ONLY)
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise AdapterError(f"{shown(name)} is neither a linear layer nor a convolution.", TRAIN_PLAIN)
    down, up = parts["A"], parts["B"]
    _refuse_other_shapes(name, down, up, module.weight)
    if config is None:
        recorded = parts.get("alpha")
        if recorded is not None and recorded.numel() != 1:
            raise AdapterError(f"The alpha of {shown(name)} is not one number.", SAVE)
        return LoraLayer(name, down, up, None if recorded is None else finite(recorded.item(), "alpha"))
    rank = config.rank(name)
    if rank != down.shape[0]:
        problem = f"The adapter's LoraConfig says rank {rank:g} for {shown(name)}, but its A has rank {down.shape[0]}."
        raise AdapterError(problem, SAVE_CONFIG)
    return LoraLayer(name, down, up, config.alpha(name), rslora=config.rslora)


def _refuse_other_shapes(name: str, down: Tensor, up: Tensor, weight: Tensor) -> None:
    """A must be [r, in] and B [out, r] for a weight [out, in]; a convolution adds [kh, kw] to A and [1, 1] to B."""
    a, b, base = list(down.shape), list(up.shape), list(weight.shape)
    if len(a) != len(base) or len(b) != len(base) or a[2:] != base[2:] or any(side != 1 for side in b[2:]):
        problem = f"A {one_line(str(a), 60)} and B {one_line(str(b), 60)} of {shown(name)} do not fit the base model's "
        problem += f"weight {base}."
    elif a[0] != b[1] or a[0] == 0:
        problem = f"A of {shown(name)} has rank {a[0]}, its B has rank {b[1]}."
    elif a[1] != base[1]:
        problem = f"A of {shown(name)} takes {a[1]} inputs, the base model's layer takes {base[1]}."
    elif b[0] != base[0]:
        problem = f"B of {shown(name)} gives {b[0]} outputs, the base model's layer gives {base[0]}."
    else:
        return
    raise AdapterError(problem, TRAIN_ON_MODEL)
