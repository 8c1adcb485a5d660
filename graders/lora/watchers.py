"""What a notebook's kernel is watched for: LoRA configurations, adapters, and how pictures were generated.

Each may be gone when the notebook has run. An adapter is noted as it was made, at the strength it is trained at, and what the
last step made of it.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import inspect
import itertools
import sys
import weakref
from collections.abc import Iterator
from typing import Any

MAX_CONFIGS = 100
MAX_GENERATED = 500
NOISE = 128
"""Numbers that are kept of the noise that a picture starts from."""
MAX_LAYERS = 4000
"""Adapted layers that are noted, of all adapters together."""
FIRST = 4
"""Numbers that are kept of A and of B, as they were when the adapter was made and after its last step."""

_UNETS = "diffusers.models.unets.unet_2d_condition"
_CONFIGS = "peft.tuners.lora.config"
_TUNERS = "peft.tuners.tuners_utils"
_LAYERS = "peft.tuners.lora.layer"
_PIPELINE = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"
MODULES = (_UNETS, _CONFIGS, _TUNERS, _LAYERS, _PIPELINE)


def watch(tools: Any) -> None:
    """Note from here on what will be gone, of the libraries that were imported so far."""
    _watch_unets()
    _watch_configs()
    _watch_adapters()
    _watch_generation(tools)
    _watch_merging()


def seen(tools: Any) -> dict[str, Any]:
    """What was noted until now."""
    return {
        "unets_at_once": _unets_at_once,
        "lora_configs": [tools.encode(fields) for fields in _lora_configs()],
        "lora_adapters": list(map(_told, _made)),
        "paintings": _generated,
        "merges": _merges,
    }


def _unwatched(module: str, name: str) -> Any:
    """A class that has been imported and is not watched yet; None if there is none."""
    wanted = getattr(sys.modules.get(module), name, None)
    return wanted if isinstance(wanted, type) and not hasattr(wanted, "_noted") else None


class _Living:
    """The objects of a class that are alive; to go through all that is in memory for them would take long after each cell."""

    def __init__(self) -> None:
        self._references: list[weakref.ref[Any]] = []

    def follow(self, wanted: type) -> None:
        """Know those that there are, and all that are made, copied or loaded from here on."""
        kinds = _family(wanted)
        self._references += [weakref.ref(item) for item in gc.get_objects() if type(item) in kinds]
        for name in ("__init__", "__setstate__"):
            setattr(wanted, name, self._noting(getattr(wanted, name, _fill)))

    def _noting(self, enter: Any) -> Any:
        @functools.wraps(enter)
        def note(item: Any, *arguments: Any, **options: Any) -> None:
            self._references.append(weakref.ref(item))
            enter(item, *arguments, **options)

        return note

    def __iter__(self) -> Iterator[Any]:
        there = {id(item): item for reference in self._references if (item := reference()) is not None}
        self._references = [*map(weakref.ref, there.values())]
        return iter(there.values())


def _family(wanted: type) -> set[type]:
    """A class and all that derive from it: to look for a type in a set is faster than to ask each object."""
    found, waiting = {wanted}, [wanted]
    while waiting:
        derived: set[type] = set(type.__subclasses__(waiting.pop())) - found
        found |= derived
        waiting += derived
    return found


def _fill(item: Any, state: dict[str, Any]) -> None:
    """What copying does where a class does not say it."""
    vars(item).update(state)


_unets = _Living()
_unets_at_once = 0


def _watch_unets() -> None:
    unet_class = _unwatched(_UNETS, "UNet2DConditionModel")
    if unet_class is not None:
        _unets.follow(unet_class)
        unet_class._noted = True


def after_cell() -> None:
    """Count the U-Nets in memory: they may be gone when the next cell has run.

    Those of which only the architecture was built take none.
    """
    global _unets_at_once
    count = sum(map(_has_numbers, _unets))
    if count > max(1, _unets_at_once):
        gc.collect()  # what only refers to itself is gone the next time that memory is wanted
        count = sum(map(_has_numbers, _unets))
    _unets_at_once = max(_unets_at_once, count)


def _has_numbers(unet: Any) -> bool:
    try:
        return not next(iter(unet.parameters())).is_meta
    except Exception:  # one without parameters, half built, or not what its class says
        return False


_FIELDS = ("r", "lora_alpha", "target_modules", "lora_dropout", "use_rslora")
_built: list[dict[str, Any]] = []
_configs = _Living()


def _watch_configs() -> None:
    # A configuration is often gone when its cell ends, and with it the α that an adapter was trained with
    config_class = _unwatched(_CONFIGS, "LoraConfig")
    if config_class is None:
        return
    finish = config_class.__post_init__

    def note(config: Any) -> None:
        finish(config)
        if len(_built) < MAX_CONFIGS:
            _built.append(_fields_of(config))

    _configs.follow(config_class)
    config_class.__post_init__, config_class._noted = note, True


def _lora_configs() -> list[dict[str, Any]]:
    """Rank, alpha and targets of every LoRA configuration that was seen being made or is alive, in that order."""
    return _built + [*map(_fields_of, itertools.islice(_configs, MAX_CONFIGS))]


def _fields_of(config: Any) -> dict[str, Any]:
    return {field: getattr(config, field, None) for field in _FIELDS}


def _watch_adapters() -> None:
    tuner_class = _unwatched(_TUNERS, "BaseTuner")
    if tuner_class is None:
        return
    inject = tuner_class.inject_adapter

    @functools.wraps(inject)
    def note(tuner: Any, model: Any, adapter_name: str, *arguments: Any, **options: Any) -> Any:
        added = inject(tuner, model, adapter_name, *arguments, **options)
        with contextlib.suppress(Exception):  # of another kind of adapter nothing is noted
            _note_made(model, adapter_name)
        return added

    tuner_class.inject_adapter, tuner_class._noted = note, True


_made: list[dict[str, Any]] = []
_waiting: list[tuple[dict[str, Any], dict[str, Any]]] = []
"""Adapters that no gradient has reached yet: the record, and by name a weak reference to each layer."""
_training: list[tuple[dict[str, Any], dict[str, Any]]] = []
"""Those that gradients have reached, in the same way."""


def _note_made(model: Any, adapter: str) -> None:
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


def after_backward() -> None:
    """Of the adapters that gradients have reached by now, note the strength that they are trained at.

    An adapter that is only counted, or loaded, is told from one that is trained by these gradients.
    """
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


def after_step(optimizer: Any) -> None:
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


_generated: list[tuple[str, list[float], dict[str, Any]]] = []
_SETTINGS = ("num_inference_steps", "guidance_scale", "guidance_rescale", "eta", "clip_skip")


def settings_of(pipeline: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    """What a call of a pipeline is asked for that shapes its pictures, beside prompts and noise: plain values by name."""
    bound = inspect.signature(type(pipeline).__call__).bind_partial(pipeline, *arguments, **options)
    bound.apply_defaults()
    config = {name: item for name, item in pipeline.scheduler.config.items() if not name.startswith("_")}
    found = {name: bound.arguments.get(name) for name in _SETTINGS}
    found |= {
        "negative_prompt": bool(bound.arguments.get("negative_prompt")),
        "precision": str(pipeline.unet.dtype).removeprefix("torch."),
        "scheduler": type(pipeline.scheduler).__name__[:100],
        "scheduler_config": hashlib.sha256(repr(sorted(config.items())).encode()).hexdigest()[:16],
    }
    return {name: item if isinstance(item, str | bool | int | None) else float(item) for name, item in found.items()}


def _watch_generation(tools: Any) -> None:
    """Have the digest of each picture noted, the first numbers of its noise, and the settings that it was made with."""
    pipeline_class = _unwatched(_PIPELINE, "StableDiffusionPipeline")
    if pipeline_class is None:
        return
    draw, generate = pipeline_class.prepare_latents, pipeline_class.__call__
    noises: list[Any] = []

    @functools.wraps(draw)
    def note_noise(*arguments: Any, **options: Any) -> Any:
        drawn = draw(*arguments, **options)
        with contextlib.suppress(Exception):  # a pipeline of the notebook's own may draw whatever it likes
            noises[:] = [noise.detach().flatten()[:NOISE].float().cpu().tolist() for noise in drawn]
        return drawn

    @functools.wraps(generate)
    def note_pictures(*arguments: Any, **options: Any) -> Any:
        noises.clear()
        output = generate(*arguments, **options)
        settings: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # a pipeline of the notebook's own may be called with anything
            settings = settings_of(*arguments, **options)
        with contextlib.suppress(Exception):  # of what is no picture nothing is noted
            for picture, noise in zip(output[0], noises, strict=True):
                if len(_generated) < MAX_GENERATED:
                    _generated.append((tools.digest_of(picture), [round(number, 3) for number in noise], settings))
        return output

    pipeline_class.prepare_latents, pipeline_class.__call__ = note_noise, note_pictures
    pipeline_class._noted = True


_merges = 0


def _watch_merging() -> None:
    layer_class = _unwatched(_LAYERS, "Linear")
    if layer_class is None:
        return
    merge = layer_class.merge

    @functools.wraps(merge)
    def count(*arguments: Any, **options: Any) -> Any:
        global _merges
        _merges += 1
        return merge(*arguments, **options)

    layer_class.merge, layer_class._noted = count, True
