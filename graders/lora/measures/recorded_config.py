"""The ``LoraConfig`` that was recorded with an adapter: in PEFT's file beside it, or in the header of diffusers' file."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from graders.harness.data.values import shown
from graders.lora.measures.adapter_names import Scheme
from graders.lora.measures.adapter_places import status_of
from graders.lora.measures.adapter_refusals import PEFT_CONFIG, SAVE_CONFIG, SAVE_PEFT, TRAIN_PLAIN, AdapterError

MAX_JSON_BYTES = 2**20
MAX_PATTERNS = 5000
"""One for each module of a large U-Net is fewer; every layer is compared with all of them."""
METADATA_KEY = "lora_adapter_metadata"
"""Under this key of the safetensors header diffusers keeps the ``LoraConfig``, as JSON."""
PEFT_DEFAULT = 8
"""What PEFT's ``LoraConfig`` takes for ``r`` and for ``lora_alpha`` where they are not given."""

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


class RecordedConfig:
    """Rank and α of each layer, as a loader takes them from the recorded configuration."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """:class:`AdapterError` if ``fields`` ask for something other than plain LoRA."""
        self._fields = fields
        variants = [variant for option, variant in _OPTIONS.items() if fields.get(option)]
        if fields.get("peft_type", "LORA") != "LORA":
            variants.append(shown(str(fields["peft_type"])))
        if variants:
            raise AdapterError(f"The adapter's LoraConfig asks for {variants[0]}, not plain LoRA.", TRAIN_PLAIN)
        if str(fields.get("init_lora_weights")).lower().startswith(_BASE_CHANGING_INITS):
            init = shown(str(fields["init_lora_weights"]))
            problem = f"init_lora_weights={init} changes the base weights, which stay frozen here."
            raise AdapterError(problem, TRAIN_PLAIN)

    @property
    def rslora(self) -> bool:
        """Whether the adapter is applied at α/√r."""
        return bool(self._fields.get("use_rslora"))

    def rank(self, layer: str) -> float:
        """The rank that the configuration gives a layer."""
        return self._setting(layer, "r", "rank_pattern")

    def alpha(self, layer: str) -> float:
        """The α that the configuration gives a layer."""
        return self._setting(layer, "lora_alpha", "alpha_pattern")

    def refuse_without_targets(self, layers: Iterable[str], scheme: Scheme) -> None:
        """Refuse a configuration with which a loader stops, or passes layers over that the file holds."""
        targets = self._fields.get("target_modules")
        if not targets:
            problem = (
                "The LoraConfig recorded with the adapter names no target_modules, so a loader stops with an error."
            )
            raise AdapterError(problem, SAVE_CONFIG)
        if scheme.format != "peft" or not isinstance(targets, list):
            return  # diffusers goes by the tensors; a regular expression of a stranger's is not run
        names = {target for target in targets if isinstance(target, str)}
        for layer in layers:
            if not any(layer == name or layer.endswith(f".{name}") for name in names):
                problem = (
                    f"target_modules in {PEFT_CONFIG} leaves out {shown(layer)}, so PEFT does not load that layer."
                )
                raise AdapterError(problem, SAVE_PEFT)

    def _setting(self, layer: str, option: str, patterns: str) -> float:
        """The number that a layer gets: by the first of ``patterns`` that matches its name, or ``option``."""
        chosen = self._fields.get(option, PEFT_DEFAULT)
        by_pattern = self._fields.get(patterns) or {}
        if not isinstance(by_pattern, dict) or len(by_pattern) > MAX_PATTERNS:
            problem = f"{patterns} of the adapter's LoraConfig is not a mapping of at most {MAX_PATTERNS} names."
            raise AdapterError(problem, SAVE_CONFIG)
        for pattern, value in by_pattern.items():
            # PEFT matches regular expressions. Of those only names are read, for a hostile expression can run for years.
            plain = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
            if not re.fullmatch(r"[\w.]+", plain):
                fix = f"Write names of modules in {patterns}, such as 'attn2.to_q'."
                raise AdapterError(f"{patterns} has the regular expression {shown(pattern)}.", fix)
            if layer == plain or (layer.endswith(f".{plain}") and not pattern.startswith("^")):
                chosen = value
                break
        return finite(chosen, option)


def read(file: Path, scheme: Scheme, metadata: Mapping[str, str]) -> RecordedConfig | None:
    """The configuration recorded with the adapter in ``file``, or in the ``metadata`` of its header; None if there is none."""
    text: str | bytes | None
    if scheme.format == "peft":
        beside = file.with_name(PEFT_CONFIG)
        status = status_of(beside)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_JSON_BYTES:
            raise AdapterError(f"{PEFT_CONFIG} is not a regular file of at most {MAX_JSON_BYTES} bytes.", SAVE_PEFT)
        text = beside.read_bytes()
    else:
        text = metadata.get(METADATA_KEY)
    if not text:
        return None
    try:
        config = json.loads(text) if len(text) <= MAX_JSON_BYTES else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise AdapterError("The LoraConfig recorded with the adapter cannot be read as JSON.", SAVE_CONFIG)
    if scheme.format == "peft":
        return RecordedConfig(config)
    # The pipeline keeps one configuration for each of its models, and gives their fields the model's name
    prefix = "unet." if scheme.prefix else ""
    fields = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    if not fields or (not prefix and any(key.startswith("unet.") for key in config)):
        wanted = "begin with 'unet.', as" if prefix else "have no 'unet.' before them, like"
        problem = f"The fields of the LoraConfig in the file's header have to {wanted} the names of its tensors do."
        raise AdapterError(problem, SAVE_CONFIG)
    return RecordedConfig(fields)


def finite(value: object, what: str) -> float:
    """A number of an adapter, or :class:`AdapterError` naming ``what`` it should be."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise AdapterError(f"The adapter's {what} is {shown(str(value)[:20])}, not a finite number.", SAVE_CONFIG)
    return number
