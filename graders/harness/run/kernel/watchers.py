"""What is gone when a notebook has run, noted while it runs: configurations, noise, backward passes, U-Nets in memory."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.machinery
import sys
from typing import Any

from .encoding import Encoder
from .pictures import digest, pixels_of

MAX_CONFIGS = 100
MAX_GENERATED = 500
NOISE = 128
"""Numbers that are kept of the noise that a picture starts from."""


def device() -> Any:
    """``cuda`` once PyTorch has touched a GPU, else ``cpu``."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return "cuda" if cuda is not None and cuda.is_initialized() else "cpu"


def peak_gpu_memory() -> int:
    """Bytes that PyTorch has held of a GPU at most, whatever the notebook had of them in use."""
    return int(sys.modules["torch"].cuda.max_memory_reserved()) if device() == "cuda" else 0


def unets() -> int:
    """How many U-Nets there are with numbers in them; those of which only the architecture was built take no memory."""

    wanted = getattr(sys.modules.get(_UNETS), "UNet2DConditionModel", None)
    if not isinstance(wanted, type):
        return 0
    kinds = {wanted, *wanted.__subclasses__()}

    def living() -> int:
        return sum(_has_numbers(item) for item in gc.get_objects() if type(item) in kinds)

    if living() > 1:
        gc.collect()  # what only refers to itself is gone the next time that memory is wanted
    return living()


def _has_numbers(unet: Any) -> bool:
    try:
        return not next(iter(unet.parameters())).is_meta
    except Exception:  # one without parameters, half built, or not what its class says
        return False


_UNETS = "diffusers.models.unets.unet_2d_condition"
_CONFIGS = "peft.tuners.lora.config"
_FIELDS = ("r", "lora_alpha", "target_modules", "lora_dropout", "use_rslora")
_built: list[dict[str, Any]] = []


def watch_lora_configs() -> None:
    """From now on, note every LoRA configuration that is made, if PEFT is imported.

    A configuration is often gone when its cell ends, and with it the α that an adapter was trained with.
    """
    wanted = getattr(sys.modules.get(_CONFIGS), "LoraConfig", None)
    if not isinstance(wanted, type) or hasattr(wanted, "_noted"):
        return
    config_class: Any = wanted
    finish = config_class.__post_init__

    def note(config: Any) -> None:
        finish(config)
        if len(_built) < MAX_CONFIGS:
            _built.append({field: getattr(config, field, None) for field in _FIELDS})

    config_class.__post_init__, config_class._noted = note, True


def _lora_configs() -> list[Any]:
    """Rank, alpha and targets of every LoRA configuration that was seen being made or is alive, in that order."""
    wanted = getattr(sys.modules.get(_CONFIGS), "LoraConfig", None)
    if not isinstance(wanted, type):
        return []
    living = [item for item in gc.get_objects() if issubclass(type(item), wanted)][:MAX_CONFIGS]
    alive = [{field: getattr(config, field, None) for field in _FIELDS} for config in living]
    return [Encoder().encode(fields) for fields in _built + alive]


_PIPELINE = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"
_generated: list[tuple[str, list[float]]] = []


def watch_generation() -> None:
    """From now on, note which noise each picture of a pipeline starts from, if the pipeline is imported.

    Kept are the SHA-256 of the picture's pixels and the first numbers of its noise.
    """
    wanted = getattr(sys.modules.get(_PIPELINE), "StableDiffusionPipeline", None)
    if not isinstance(wanted, type) or hasattr(wanted, "_noted"):
        return
    pipeline_class: Any = wanted
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
        with contextlib.suppress(Exception):  # of what is no picture nothing is noted
            for picture, noise in zip(output[0], noises, strict=True):
                if len(_generated) < MAX_GENERATED:
                    _generated.append((digest(*pixels_of(picture)), [round(number, 3) for number in noise]))
        return output

    pipeline_class.prepare_latents, pipeline_class.__call__ = note_noise, note_pictures
    pipeline_class._noted = True


_passes = 0


def watch_training() -> None:
    """From now on, count the backward passes, if PyTorch is imported."""
    autograd: Any = getattr(sys.modules.get("torch"), "autograd", None)
    backward = getattr(autograd, "backward", None)  # Tensor.backward calls it
    if not callable(backward) or hasattr(autograd, "_noted"):
        return

    @functools.wraps(backward)
    def count(*arguments: Any, **options: Any) -> Any:
        global _passes
        _passes += 1
        return backward(*arguments, **options)

    autograd.backward, autograd._noted = count, True


def seen() -> dict[str, Any]:
    """What was noted until now."""
    return {"lora_configs": _lora_configs(), "paintings": _generated, "backward_passes": _passes}


def watch() -> None:
    """Note from here on what is gone when the notebook has run, of the libraries that were imported so far."""
    watch_lora_configs()
    watch_generation()
    watch_training()


class Imports:
    """Finds nothing itself, but has :func:`watch` called as soon as a module that is watched has been imported.

    A cell may import a pipeline and generate with it at once.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """What the other finders know of the module; its loader calls :func:`watch` once, and is then as it was."""
        if name not in ("torch", _CONFIGS, _PIPELINE):
            return None
        others = (getattr(finder, "find_spec", None) for finder in list(sys.meta_path) if finder is not self)
        found = next((spec for find in others if find is not None and (spec := find(name, path, target))), None)
        if found is not None:
            with contextlib.suppress(Exception):  # a loader of the notebook's own may be anything
                self._add_watch(found.loader)
        return found

    @staticmethod
    def _add_watch(loader: Any) -> None:
        load = loader.exec_module

        def load_and_watch(module: Any) -> None:
            with contextlib.suppress(AttributeError):
                del loader.exec_module
            load(module)
            with contextlib.suppress(Exception):  # the import is the notebook's, and goes on
                watch()

        loader.exec_module = load_and_watch
