"""How the tensors of a LoRA adapter are named, and which loader finds a layer under such a name.

A loader goes by the prefix, and after each prefix it knows some spellings of A and B alone. Where it does not know one it
stops with an error, or loads nothing without a word. ``tests/lora/measures/test_loaders.py`` holds this table against the
installed libraries.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from graders.harness.data.values import shown
from graders.lora.measures.adapter_refusals import SAVE, SAVE_LORA_ONLY, TRAIN_ON_MODEL, AdapterError

_PEFT = re.compile(r"(?P<module>.+)\.lora_(?P<matrix>A|B)(?:\.(?P<adapter>[^.]+))?\.weight", re.DOTALL)
_DIFFUSERS = re.compile(r"(?P<module>.+)\.lora\.(?P<matrix>down|up)\.weight", re.DOTALL)
_PROCESSOR = re.compile(r"(?P<module>.+\.to_(?:q|k|v|out))_lora\.(?P<matrix>down|up)\.weight", re.DOTALL)
"""As the attention processors of diffusers before 0.22 had them."""
_KOHYA = re.compile(r"(?P<module>[^.]+)\.lora_(?P<matrix>down|up)\.weight")
_ANY = re.compile(r".+[._]lora[._](A|B|down|up)(\.[^.]+)?\.weight", re.DOTALL)
_LONGEST = 500
"""Characters of a name in which a wrapper's is looked for."""

LOAD_LORA_WEIGHTS = "load_lora_weights"


@dataclass(frozen=True)
class Scheme:
    """What stands before a layer's name, the loader that reads such names, and the spellings of A and B that it knows."""

    prefix: str
    format: str
    loader: str
    spellings: tuple[re.Pattern[str], ...]
    known: str
    adapter: str | None = None
    """The name that the loader gives an adapter by itself: a tensor's name may carry this one, and no other."""

    @property
    def joint(self) -> str:
        """What stands between the parts of a module's name."""
        return "_" if self.spellings == (_KOHYA,) else "."


_OF_DIFFUSERS = (_PEFT, _DIFFUSERS, _PROCESSOR)
_KNOWN = "lora_A and lora_B, or lora.down and lora.up"
SCHEMES = (
    Scheme("unet.", "diffusers", LOAD_LORA_WEIGHTS, _OF_DIFFUSERS, _KNOWN, "default_0"),
    Scheme("base_model.model.", "peft", "PeftModel.from_pretrained", (_PEFT,), "lora_A and lora_B", "default"),
    Scheme("lora_unet_", "kohya", LOAD_LORA_WEIGHTS, (_KOHYA,), "lora_down and lora_up"),
    Scheme("", "diffusers", "load_lora_adapter", _OF_DIFFUSERS, _KNOWN, "default_0"),
)

_UNWRAP = "Save the LoRA layers of {}: get_peft_model_state_dict({}), and then save_lora_weights."
_WRAPPERS = {
    "_orig_mod": ("which torch.compile adds", _UNWRAP.format("the U-Net inside the compiled one", "unet._orig_mod")),
    "_fsdp_wrapped_module": (
        "which FullyShardedDataParallel adds",
        _UNWRAP.format("the plain U-Net", "accelerator.unwrap_model(unet)"),
    ),
    "module": ("which DataParallel adds", _UNWRAP.format("the U-Net inside it", "unet.module")),
    "base_model": (
        "which PEFT's get_peft_model adds",
        "Use unet.add_adapter(config) in place of get_peft_model(unet, config), then save_lora_weights.",
    ),
    "diffusion_model": ("as other programs name the U-Net", _UNWRAP.format("diffusers' U-Net", "unet")),
    "unet": (
        "which is there once too often, or comes from a module that holds the U-Net",
        _UNWRAP.format("the U-Net itself", "unet"),
    ),
}
"""Parts that something around a U-Net adds to its layers' names: in words, and the way out."""


@dataclass(frozen=True)
class Part:
    """What a tensor is: ``"A"``, ``"B"`` or ``"alpha"`` of a module, which is named as the file writes it."""

    module: str
    part: str


def is_matrix(key: str) -> bool:
    """Whether a tensor's name is that of an A or a B, in whatever spelling."""
    return bool(_ANY.fullmatch(key))


def scheme_of(keys: Sequence[str]) -> Scheme:
    """The scheme that all ``keys`` follow, or :class:`AdapterError`."""
    found = {next(scheme for scheme in SCHEMES if key.startswith(scheme.prefix)) for key in keys}
    if len(found) > 1:
        prefixes = " and ".join(sorted(repr(one.prefix) if one.prefix else "no prefix" for one in found))
        raise AdapterError(f"The file mixes ways to name a tensor: {prefixes}.", SAVE)
    return found.pop()


def parts(scheme: Scheme, keys: Sequence[str]) -> dict[str, Part]:
    """What each of ``keys`` is, in the order of the file, or :class:`AdapterError` for the first that no loader finds."""
    # diffusers looks at the first name alone to decide whether the others are of its own spelling
    translated = bool(keys) and "lora_A" not in keys[0]
    return {key: _part(scheme, key, translated) for key in keys}


def _part(scheme: Scheme, key: str, translated: bool) -> Part:
    if scheme.format == "kohya" and key.endswith(".alpha"):
        return Part(key.removeprefix(scheme.prefix).removesuffix(".alpha"), "alpha")
    spelling, match = next(((s, m) for s in scheme.spellings if (m := s.fullmatch(key))), (None, None))
    if spelling is None or match is None:
        if not is_matrix(key):
            raise AdapterError(f"The tensor {shown(key)} is no part of a LoRA layer.", SAVE_LORA_ONLY)
        after = f"After {scheme.prefix!r} a loader" if scheme.prefix else "A loader"
        raise AdapterError(f"{after} looks for {scheme.known}; it does not find {shown(key)}.", SAVE_LORA_ONLY)
    adapter = match.groupdict().get("adapter")
    if adapter and adapter != scheme.adapter:
        problem = f"{shown(key)} carries the adapter's name: a loader finds it under the name {shown(adapter)} alone."
        raise AdapterError(problem, SAVE_LORA_ONLY)
    if spelling is not _PEFT and scheme.format == "diffusers" and not translated:
        problem = (
            f"diffusers does not find {shown(key)}: the first name in the file has lora_A, so it expects that of all."
        )
        raise AdapterError(problem, SAVE_LORA_ONLY)
    module = match["module"].removeprefix(scheme.prefix)
    if scheme.format == "diffusers" and translated:
        module = module.replace(".processor.", ".")
    if spelling is _PROCESSOR and module.endswith(".to_out"):
        module += ".0"
    return Part(module, "A" if match["matrix"] in ("A", "down") else "B")


def carries_adapter(keys: Collection[str]) -> bool:
    """Whether the names carry an adapter's, so that a loader finds them only if it gives the adapter that name."""
    return any(match["adapter"] for key in keys if (match := _PEFT.fullmatch(key)))


def refuse_unknown(module: str, scheme: Scheme, layers: Collection[str]) -> None:
    """Say what is wrong with a module's name that is none of ``layers``, as the scheme writes them."""
    wrapper = _wrapper(module, scheme.joint, layers)
    if wrapper is None:
        raise AdapterError(f"The base U-Net has no layer {shown(module)}.", TRAIN_ON_MODEL)
    whence, fix = next(
        (said for name, said in _WRAPPERS.items() if re.search(rf"(?:^|[._]){name}[._]", wrapper)),
        ("which no layer of the U-Net has", _UNWRAP.format("the plain U-Net", "unet")),
    )
    problem = (
        f"The tensors' names carry {shown(wrapper)}, {whence}: a loader does not find the plain U-Net's layers so."
    )
    raise AdapterError(problem, fix)


def _wrapper(module: str, joint: str, layers: Collection[str]) -> str | None:
    """What was added to a layer's name, before it or within, to make it ``module``."""
    if len(module) > _LONGEST:
        return None
    pieces = module.split(joint)
    for i in range(1, len(pieces)):
        if joint.join(pieces[i:]) in layers:
            return joint.join(pieces[:i]) + joint
    return next((f"{name}{joint}" for name in _WRAPPERS if module.replace(f"{name}{joint}", "") in layers), None)
