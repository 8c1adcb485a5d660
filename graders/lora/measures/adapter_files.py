"""Reading a LoRA adapter that somebody else wrote.

The file comes from a hand-in, so every byte of it may be wrong or hostile. Only safetensors is read, never a pickle;
sizes are checked before anything is parsed; whatever is wrong ends in an :class:`AdapterError`, a sentence for the
student and not a stack trace. What is accepted is what the libraries load, with the same strength: see
:attr:`LoraLayer.scale`.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from graders.harness.data.values import one_line, shown
from graders.harness.errors import HandInError
from graders.lora.measures.adapters import Adapter, LoraLayer

MAX_FILE_BYTES = 512 * 2**20
"""Rank 128 on every layer of Stable Diffusion 1.5 fits; a whole U-Net in float32 or float16 does not."""
MAX_HEADER_BYTES = 8 * 2**20
MAX_JSON_BYTES = 2**20
MAX_PATTERNS = 5000
"""One for each module of a large U-Net is fewer; every layer is compared with all of them."""

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
PEFT_FILE = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
METADATA_KEY = "lora_adapter_metadata"
"""Under this key of the safetensors header diffusers keeps the ``LoraConfig``, as JSON."""
PEFT_DEFAULT = 8
"""What PEFT's ``LoraConfig`` takes for ``r`` and for ``lora_alpha`` where they are not given."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.int32, torch.int64)

_FORMATS = {"unet.": "diffusers", "base_model.model.": "peft", "lora_unet_": "kohya"}
_OTHER_MODELS = ("text_encoder.", "text_encoder_2.", "lora_te_", "lora_te1_", "lora_te2_")
# .lora_A.weight (PEFT), .lora.down.weight (diffusers), .processor.to_q_lora.down.weight (before diffusers 0.22),
# .lora_down.weight (kohya).
_MATRIX = re.compile(r"(?P<module>.+)[._]lora[._](?P<matrix>A|B|down|up)\.weight", re.DOTALL)
_MATRIX_WITH_ADAPTER = re.compile(r".+\.lora_[AB]\.(?P<adapter>[^.]+)\.weight", re.DOTALL)

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
_OPTIONS = {
    "use_dora": "DoRA",
    "use_qalora": "QA-LoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "arrow_config": "Arrow",
    "alora_invocation_tokens": "activated LoRA",
}
"""Options of ``LoraConfig`` with which a layer computes something other than W + scale · B A."""
_BASE_CHANGING_INITS = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""These initialisations move a part of W into the adapter, so the adapter does not fit the base model as it was."""

_SAVE = "Save it with StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=...)."
_SAVE_LORA_ONLY = (
    "Save the LoRA layers alone: StableDiffusionPipeline.save_lora_weights(folder, "
    "unet_lora_layers=get_peft_model_state_dict(unet))."
)
_SAVE_PEFT = f"Hand in the whole folder that save_pretrained wrote, with {PEFT_CONFIG}."
_SAVE_CONFIG = (
    'Save the true one: save_lora_weights(..., unet_lora_adapter_metadata=unet.peft_config["default"].to_dict()).'
)
_TRAIN_PLAIN = "Train a plain LoRA: LoraConfig(r=..., lora_alpha=..., target_modules=[...])."
_TRAIN_ON_MODEL = "Train the adapter on the U-Net of the model that the notebook's MODEL names."


class AdapterError(HandInError):
    """An adapter that cannot be used: one line that says what is wrong, one that says what to do about it."""


class BaseWeightsError(AdapterError):
    """The base model's own weights, where an adapter should be."""


def read_adapter(path: Path, unet: nn.Module) -> Adapter:
    """The adapter in the file or folder ``path``, checked against the plain base ``unet`` it is meant for.

    ``unet`` gives names and shapes alone, so it may live on the meta device. Raises AdapterError and nothing else.
    """
    file = _find(Path(path))
    with _opened(file) as stored:
        every_key = stored.keys()
        ignored = tuple(key for key in every_key if key.startswith(_OTHER_MODELS))
        keys = [key for key in every_key if not key.startswith(_OTHER_MODELS)]
        _refuse_other_contents(keys, ignored, unet)
        _refuse_too_much(stored, keys, unet)
        prefix = _prefix(keys)
        config = _config(file, prefix, stored.metadata() or {})
        tensors = {key: _tensor(stored, key) for key in keys}

    modules = dict(unet.named_modules())
    # kohya writes every dot as an underscore, so its names can only be looked up, not translated.
    names = {(name.replace(".", "_") if prefix == "lora_unet_" else name): name for name in modules}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, part = _split(key, prefix)
        if module not in names:
            raise AdapterError(f"The base U-Net has no layer {shown(module)}.", _TRAIN_ON_MODEL)
        if parts.setdefault(names[module], {}).setdefault(part, tensor) is not tensor:
            raise AdapterError(f"The layer {shown(names[module])} has its {part} twice.", _SAVE)

    layers = {name: _layer(name, parts[name], module, config) for name, module in modules.items() if name in parts}
    with_alpha = sum(layer.alpha is not None for layer in layers.values())
    if with_alpha not in (0, len(layers)):
        # For the rest kohya takes alpha = rank and diffusers the commonest alpha: neither strength can be called right.
        problem = f"The adapter records alpha for {with_alpha} of its {len(layers)} layers."
        raise AdapterError(problem, "Save an alpha for every layer, or for none.")
    return Adapter(layers, _FORMATS.get(prefix, "diffusers"), ignored)


def _status(path: Path) -> os.stat_result:
    try:
        status = path.lstat()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise AdapterError(f"There is no {shown(path.name)}.", _SAVE) from error
    if stat.S_ISLNK(status.st_mode):
        raise AdapterError(f"{shown(path.name)} is a symbolic link.", "Hand in the file itself.")
    return status


def _find(path: Path) -> Path:
    """The safetensors file that ``path`` is or, for a folder, holds."""
    if stat.S_ISDIR(_status(path).st_mode):
        path = _choose(path)
    status, name = _status(path), shown(path.name)
    if not stat.S_ISREG(status.st_mode):
        raise AdapterError(f"{name} is not a regular file.", _SAVE)
    if path.suffix.lower() in _PICKLES:
        raise AdapterError(f"{name} is a pickle, which can run code when it is loaded.", _SAVE)
    if path.suffix.lower() != ".safetensors":
        raise AdapterError(f"{name} is not a .safetensors file.", _SAVE)
    if status.st_size > MAX_FILE_BYTES:
        problem = f"{name} has {status.st_size / 2**20:.0f} MiB; at most {MAX_FILE_BYTES / 2**20:.0f} MiB are read."
        raise AdapterError(problem, _SAVE_LORA_ONLY)
    return path


def _choose(folder: Path) -> Path:
    """The file of ``folder`` that holds the adapter."""
    for name in (DIFFUSERS_FILE, PEFT_FILE):
        if os.path.lexists(folder / name):
            return folder / name
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise AdapterError(f"The folder {shown(folder.name)} cannot be read.", _SAVE) from error
    candidates = [name for name in names if name.endswith(".safetensors")]
    if len(candidates) == 1:
        return folder / candidates[0]
    found = ", ".join(map(shown, names[:8])) + (", …" if len(names) > 8 else "")
    if candidates:
        problem = f"The folder {shown(folder.name)} holds {len(candidates)} safetensors files: {found}."
        raise AdapterError(problem, f"Keep one of them, named {DIFFUSERS_FILE}.")
    problem = f"The folder {shown(folder.name)} holds no {DIFFUSERS_FILE}; it holds {found or 'nothing'}."
    if any(name.lower().endswith(_PICKLES) for name in names):
        problem += " A pickle is not read: it can run code when it is loaded."
    raise AdapterError(problem, _SAVE)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The open safetensors file, with whatever its bytes make the library raise turned into an AdapterError."""
    try:
        with file.open("rb") as raw:
            size_of_header = raw.read(8)
        if size_of_header.startswith(b"PK\x03\x04"):  # a zip archive, as torch.save writes
            raise AdapterError(f"{shown(file.name)} is a pickle under another name.", _SAVE)
        if int.from_bytes(size_of_header, "little") > MAX_HEADER_BYTES:
            raise AdapterError(f"{shown(file.name)} is no safetensors file: its header would be too large.", _SAVE)
        with safe_open(file, framework="pt", device="cpu") as stored:
            yield stored
    except (SafetensorError, OSError, RuntimeError) as error:
        raise AdapterError(f"{shown(file.name)} is damaged: it cannot be read as safetensors.", _SAVE) from error


def _tensor(stored: Any, key: str) -> Tensor:
    """One tensor in float32; an alpha may be stored as an integer, as kohya's trainer does."""
    tensor: Tensor = stored.get_tensor(key)
    if tensor.dtype not in _FLOATS and not (key.endswith(".alpha") and tensor.dtype in _INTEGERS):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise AdapterError(f"The tensor {shown(key)} is of type {kind}, not a floating-point one.", _SAVE)
    # A copy: safetensors may hand out views of the mapped file, which would change, or vanish, with the file.
    return tensor.to(torch.float32, copy=True)


def _refuse_other_contents(keys: list[str], ignored: tuple[str, ...], unet: nn.Module) -> None:
    """Refuse by name, and before a tensor is loaded, whatever is not a plain LoRA of the U-Net."""
    for key in keys:
        for part, variant in _VARIANTS.items():
            if part in key:
                raise AdapterError(f"The adapter is {variant}, not plain LoRA: it holds {shown(key)}.", _TRAIN_PLAIN)
    base = {name for name, _ in unet.named_parameters()}
    for key in keys:
        name = key.removeprefix("unet.").removeprefix("base_model.model.").replace(".base_layer.", ".")
        if name in base and name.endswith(".weight"):
            raise BaseWeightsError(
                f"The file holds weights of the U-Net itself, such as {shown(key)}.", _SAVE_LORA_ONLY
            )
    for key in keys:
        if key.endswith(".bias"):
            raise AdapterError(f"The adapter trains biases too: it holds {shown(key)}.", _TRAIN_PLAIN)
        if match := _MATRIX_WITH_ADAPTER.fullmatch(key):
            problem = f"{shown(key)} carries the adapter's name {shown(match['adapter'])}; diffusers cannot load it."
            raise AdapterError(problem, _SAVE_LORA_ONLY)
    if not any(_MATRIX.fullmatch(key) for key in keys):
        held = "only LoRA layers of the text encoder" if ignored else "no LoRA layers"
        raise AdapterError(f"The file holds {held}, none of the U-Net.", _SAVE_LORA_ONLY)


def _refuse_too_much(stored: Any, keys: list[str], unet: nn.Module) -> None:
    """Refuse, before a tensor is loaded, what has more numbers than the whole base model: no adapter does."""
    held = sum(math.prod(stored.get_slice(key).get_shape()) for key in keys)
    base = sum(parameter.numel() for parameter in unet.parameters())
    if held > base:
        raise AdapterError(
            f"The file holds {held:,} numbers for the U-Net, which has {base:,} itself.", _SAVE_LORA_ONLY
        )


def _prefix(keys: list[str]) -> str:
    """What stands before the module's name in all of ``keys``; it tells the format."""
    if all(key.startswith("unet.base_model.model.") for key in keys):
        raise AdapterError(
            "The names of its tensors begin with 'unet.base_model.model.'; diffusers cannot load those.",
            "Use unet.add_adapter(config) in place of get_peft_model(unet, config), then save_lora_weights.",
        )
    found = {next((prefix for prefix in _FORMATS if key.startswith(prefix)), "") for key in keys}
    if len(found) > 1:
        schemes = " and ".join(sorted(repr(prefix) if prefix else "no prefix" for prefix in found))
        raise AdapterError(f"The file mixes ways to name a tensor: {schemes}.", _SAVE)
    return found.pop()


def _split(key: str, prefix: str) -> tuple[str, str]:
    """The module's name as the file writes it and the part (``"A"``, ``"B"``, ``"alpha"``) that ``key`` stands for."""
    if match := _MATRIX.fullmatch(key):
        module, part = match["module"], "A" if match["matrix"] in ("A", "down") else "B"
    elif prefix == "lora_unet_" and key.endswith(".alpha"):
        module, part = key.removesuffix(".alpha"), "alpha"
    else:
        raise AdapterError(f"The tensor {shown(key)} is no part of a LoRA layer.", _SAVE_LORA_ONLY)
    module = module.removeprefix(prefix).replace(".processor.", ".")
    return (f"{module}.0" if module.endswith(".to_out") else module), part


def _config(file: Path, prefix: str, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """The ``LoraConfig`` recorded with the adapter: in PEFT's file beside it, or in the header of diffusers' file."""
    text: str | bytes | None
    if prefix == "base_model.model.":
        beside = file.with_name(PEFT_CONFIG)
        status = _status(beside)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_JSON_BYTES:
            raise AdapterError(f"{PEFT_CONFIG} is not a regular file of at most {MAX_JSON_BYTES} bytes.", _SAVE_PEFT)
        text = beside.read_bytes()
    else:
        text = metadata.get(METADATA_KEY)
    if not text or prefix == "lora_unet_":
        return None
    try:
        config = json.loads(text) if len(text) <= MAX_JSON_BYTES else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise AdapterError("The LoraConfig recorded with the adapter cannot be read as JSON.", _SAVE_CONFIG)
    if prefix == "unet.":
        config = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    variants = [variant for option, variant in _OPTIONS.items() if config.get(option)]
    if config.get("peft_type", "LORA") != "LORA":
        variants.append(shown(str(config["peft_type"])))
    if variants:
        raise AdapterError(f"The adapter's LoraConfig asks for {variants[0]}, not plain LoRA.", _TRAIN_PLAIN)
    if str(config.get("init_lora_weights")).lower().startswith(_BASE_CHANGING_INITS):
        init = shown(str(config["init_lora_weights"]))
        raise AdapterError(f"init_lora_weights={init} changes the base weights, which stay frozen here.", _TRAIN_PLAIN)
    return config or None


def _setting(config: dict[str, Any], name: str, option: str, patterns: str) -> float:
    """The number that ``config`` gives the layer ``name``: by the first of ``patterns`` that matches, or ``option``."""
    chosen = config.get(option, PEFT_DEFAULT)
    by_pattern = config.get(patterns) or {}
    if not isinstance(by_pattern, dict) or len(by_pattern) > MAX_PATTERNS:
        problem = f"{patterns} of the adapter's LoraConfig is not a mapping of at most {MAX_PATTERNS} names."
        raise AdapterError(problem, _SAVE_CONFIG)
    for pattern, value in by_pattern.items():
        # PEFT matches regular expressions. Of those only names are read, for a hostile expression can run for years.
        plain = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if not re.fullmatch(r"[\w.]+", plain):
            fix = f"Write names of modules in {patterns}, such as 'attn2.to_q'."
            raise AdapterError(f"{patterns} has the regular expression {shown(pattern)}.", fix)
        if name == plain or (name.endswith(f".{plain}") and not pattern.startswith("^")):
            chosen = value
            break
    return _number(chosen, option)


def _number(value: object, what: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise AdapterError(f"The adapter's {what} is {shown(str(value)[:20])}, not a finite number.", _SAVE_CONFIG)
    return number


def _layer(name: str, parts: Mapping[str, Tensor], module: nn.Module, config: dict[str, Any] | None) -> LoraLayer:
    """The layer built of ``parts``, once they fit each other, the base's ``module`` and the recorded ``config``."""
    if missing := {"A", "B"} - parts.keys():
        raise AdapterError(f"The layer {shown(name)} has no {' and no '.join(sorted(missing))}.", _SAVE_LORA_ONLY)
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise AdapterError(f"{shown(name)} is neither a linear layer nor a convolution.", _TRAIN_PLAIN)
    down, up = parts["A"], parts["B"]
    _refuse_other_shapes(name, down, up, module.weight)
    if config is None:
        recorded = parts.get("alpha")
        if recorded is not None and recorded.numel() != 1:
            raise AdapterError(f"The alpha of {shown(name)} is not one number.", _SAVE)
        return LoraLayer(name, down, up, None if recorded is None else _number(recorded.item(), "alpha"))
    rank = _setting(config, name, "r", "rank_pattern")
    if rank != down.shape[0]:
        problem = f"The adapter's LoraConfig says rank {rank:g} for {shown(name)}, but its A has rank {down.shape[0]}."
        raise AdapterError(problem, _SAVE_CONFIG)
    alpha = _setting(config, name, "lora_alpha", "alpha_pattern")
    return LoraLayer(name, down, up, alpha, rslora=bool(config.get("use_rslora")))


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
    raise AdapterError(problem, _TRAIN_ON_MODEL)
