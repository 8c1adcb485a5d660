"""The LoRA adapters of a notebook while it runs: what they were made as, the strength they are trained at, and what the last
step made of them.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import weakref
from typing import Any

MAX_LAYERS = 4000
"""Adapted layers that are noted, of all adapters together."""
FIRST = 4
"""Numbers that are kept of A and of B, as they were when the adapter was made and after its last step."""

_made: list[dict[str, Any]] = []
_waiting: list[tuple[dict[str, Any], dict[str, Any]]] = []
"""Adapters that no gradient has reached yet: the record, and by name a weak reference to each layer."""
_training: list[tuple[dict[str, Any], dict[str, Any]]] = []
"""Those that gradients have reached, in the same way."""


def note_made(model: Any, adapter: str) -> None:
    """Note an adapter that was just added to a model."""
    layers = {name: layer for name, layer in model.named_modules() if adapter in getattr(layer, "lora_A", ())}
    noted = sum(len(record["layers"]) for record in _made)
    if (
        not layers
        or noted + len(layers) > MAX_LAYERS
        or any(_pair(layer, adapter)[0].is_meta for layer in layers.values())
    ):
        return
    numbers = {
        name: [[float(n) for n in _first(matrix)] for matrix in _pair(layer, adapter)] for name, layer in layers.items()
    }
    record = {
        "trained": False,
        "last": None,
        "layers": {name: [*_strength(layer, adapter), *numbers[name]] for name, layer in layers.items()},
    }
    _made.append(record)
    _waiting.append((record, {name: (weakref.ref(layer), adapter) for name, layer in layers.items()}))


def _pair(layer: Any, adapter: str) -> tuple[Any, Any]:
    return layer.lora_A[adapter].weight, layer.lora_B[adapter].weight


def _first(matrix: Any) -> list[float]:
    return matrix.detach().flatten()[:FIRST].float().cpu().tolist()


def _strength(layer: Any, adapter: str) -> tuple[int, float]:
    """The rank, and the factor before B·A."""
    return int(layer.r[adapter]), float(layer.scaling[adapter])


def note_reached() -> None:
    """Of the adapters that gradients have reached by now, note the strength that they are trained at."""
    for waiting in list(_waiting):
        record, references = waiting
        layers = _living(references)
        reached = any(matrix.grad is not None for layer, adapter in layers.values() for matrix in _pair(layer, adapter))
        if reached:
            record["trained"] = True
            for name, (layer, adapter) in layers.items():
                record["layers"][name][:2] = _strength(layer, adapter)
            _training.append(waiting)
        if reached or not layers:
            _waiting.remove(waiting)


def _living(references: dict[str, Any]) -> dict[str, Any]:
    return {name: (layer, adapter) for name, (ref, adapter) in references.items() if (layer := ref()) is not None}


def note_step(optimizer: Any) -> None:
    """Of the adapters that an optimizer trains, note what its step has made of them.

    What is saved may be a multiple of that: α/r, multiplied into a matrix. The numbers stay where they are until they are
    asked for, or each step would have to wait for the GPU.
    """
    if not _training:
        return
    stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for training in list(_training):
        record, references = training
        matrices = [matrix for layer, adapter in _living(references).values() for matrix in _pair(layer, adapter)]
        if len(matrices) < 2 * len(references):
            _training.remove(training)
        elif any(id(matrix) in stepped for matrix in matrices):
            record["last"] = sys.modules["torch"].cat([matrix.detach().flatten()[:FIRST] for matrix in matrices])


def _told(record: dict[str, Any]) -> dict[str, Any]:
    """The record of an adapter, with plain numbers for what its last step made of A and of B, layer by layer."""
    last: list[float] = []
    with contextlib.suppress(Exception):  # after some errors a GPU gives nothing back any more
        last = [] if record["last"] is None else record["last"].float().cpu().tolist()
    numbers = iter(last)
    layers = {
        name: [*fields, *([*itertools.islice(numbers, len(made))] for made in fields[2:])]
        for name, fields in record["layers"].items()
    }
    return {"trained": record["trained"], "layers": layers}


def seen() -> list[dict[str, Any]]:
    """The adapters that were made until now, in that order, as plain values."""
    return list(map(_told, _made))
