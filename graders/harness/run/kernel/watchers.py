"""What is gone when a notebook has run, noted while it runs: configurations, adapters, noise and settings of pictures,
training's passes and steps, U-Nets in memory.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib.machinery
import inspect
import sys
from typing import Any

from . import adapters, stand_ins
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
    kinds = _family(wanted)

    def living() -> int:
        return sum(_has_numbers(item) for item in gc.get_objects() if type(item) in kinds)

    if living() > 1:
        gc.collect()  # what only refers to itself is gone the next time that memory is wanted
    return living()


def _family(wanted: type) -> set[type]:
    """A class and all that derive from it: to look for a type in a set is faster than to ask each object."""
    found, waiting = {wanted}, [wanted]
    while waiting:
        derived: set[type] = set(type.__subclasses__(waiting.pop())) - found
        found |= derived
        waiting += derived
    return found


def _has_numbers(unet: Any) -> bool:
    try:
        return not next(iter(unet.parameters())).is_meta
    except Exception:  # one without parameters, half built, or not what its class says
        return False


def _unwatched(module: str, name: str) -> Any:
    """A class that has been imported and is not watched yet; None if there is none."""
    wanted = getattr(sys.modules.get(module), name, None)
    return wanted if isinstance(wanted, type) and not hasattr(wanted, "_noted") else None


_UNETS = "diffusers.models.unets.unet_2d_condition"
_CONFIGS = "peft.tuners.lora.config"
_FIELDS = ("r", "lora_alpha", "target_modules", "lora_dropout", "use_rslora")
_built: list[dict[str, Any]] = []


def watch_lora_configs() -> None:
    """From now on, note every LoRA configuration that is made, if PEFT is imported.

    A configuration is often gone when its cell ends, and with it the α that an adapter was trained with.
    """
    config_class = _unwatched(_CONFIGS, "LoraConfig")
    if config_class is None:
        return
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
    kinds = _family(wanted)
    living = [item for item in gc.get_objects() if type(item) in kinds][:MAX_CONFIGS]
    alive = [{field: getattr(config, field, None) for field in _FIELDS} for config in living]
    return [Encoder().encode(fields) for fields in _built + alive]


_TUNERS = "peft.tuners.tuners_utils"


def watch_adapters() -> None:
    """From now on, note the layers of every LoRA adapter that PEFT adds to a model, if PEFT is imported.

    An adapter that is only counted, or loaded, is told from one that is trained by the gradients that reach it.
    """
    tuner_class = _unwatched(_TUNERS, "BaseTuner")
    if tuner_class is None:
        return
    inject = tuner_class.inject_adapter

    @functools.wraps(inject)
    def note(tuner: Any, model: Any, adapter_name: str, *arguments: Any, **options: Any) -> Any:
        added = inject(tuner, model, adapter_name, *arguments, **options)
        with contextlib.suppress(Exception):  # of another kind of adapter nothing is noted
            adapters.note_made(model, adapter_name)
        return added

    tuner_class.inject_adapter, tuner_class._noted = note, True


_PIPELINE = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"
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


def watch_generation() -> None:
    """From now on, note which noise each picture of a pipeline starts from, if the pipeline is imported.

    Kept are the SHA-256 of the picture's pixels, the first numbers of its noise, and the settings that it was made with.
    """
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
                    _generated.append((digest(*pixels_of(picture)), [round(number, 3) for number in noise], settings))
        return output

    pipeline_class.prepare_latents, pipeline_class.__call__ = note_noise, note_pictures
    pipeline_class._noted = True


_LAYERS = "peft.tuners.lora.layer"
_merges = 0


def watch_merging() -> None:
    """From now on, count how often PEFT merges an adapter into a linear layer, if PEFT is imported."""
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
        done = backward(*arguments, **options)
        with contextlib.suppress(Exception):  # layers of the notebook's own may be anything
            adapters.note_reached()
        return done

    autograd.backward, autograd._noted = count, True


_steps = [0, 0]


def watch_steps() -> None:
    """From now on, count the steps of all optimizers, and those with a learning rate other than 0, if PyTorch is imported.

    What a step makes of an adapter is noted as well. A schedule changes the rate as soon as the step is made, and then
    nobody can tell what it was.
    """
    module: Any = sys.modules.get("torch.optim.optimizer")
    before = getattr(module, "register_optimizer_step_pre_hook", None)
    after = getattr(module, "register_optimizer_step_post_hook", None)
    if not callable(before) or not callable(after) or hasattr(module, "_noted"):
        return

    def count(optimizer: Any, *arguments: Any) -> None:
        _steps[0] += 1
        moving = True
        with contextlib.suppress(Exception):  # an optimizer of the notebook's own may keep its rate elsewhere
            moving = any(group["lr"] != 0 for group in optimizer.param_groups)
        _steps[1] += bool(moving)

    def note(optimizer: Any, *arguments: Any) -> None:
        with contextlib.suppress(Exception):  # layers of the notebook's own may be anything
            adapters.note_step(optimizer)

    before(count)
    after(note)
    module._noted = True


def raised() -> dict[str, Any]:
    """The name of the last exception that was shown, and the number of the line of a cell that it came from, from 1."""
    error = getattr(sys, "last_value", None)
    trace = getattr(error, "__traceback__", None)
    found: dict[str, Any] = {}
    while trace is not None:
        code, number = trace.tb_frame.f_code, trace.tb_lineno
        if code.co_name.startswith("<") and ("ipykernel_" in code.co_filename or code.co_filename.startswith(_CELLS)):
            found = {"name": type(error).__name__, "number": number}
        trace = trace.tb_next
    return found


_CELLS = ("<ipython-input", "<timed exec>")
"""What the code of cells is compiled as, besides files of ipykernel's; `%%time` compiles its cell's anew."""


def tell_of_shutdown() -> None:
    """Answer as `quit()` does where the notebook has asked its kernel to shut down, which happens a moment later."""
    find: Any = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell: Any = find() if callable(find) else None
    if getattr(shell, "exit_now", False):
        shell.payload_manager.write_payload({"source": "ask_exit", "keepkernel": False})


def seen() -> dict[str, Any]:
    """What was noted until now."""
    return {
        "lora_configs": _lora_configs(),
        "lora_adapters": adapters.seen(),
        "paintings": _generated,
        "backward_passes": _passes,
        "optimizer_steps": _steps,
        "merges": _merges,
    }


def watch() -> None:
    """Note from here on what is gone when the notebook has run, of the libraries that were imported so far."""
    watch_lora_configs()
    watch_adapters()
    watch_generation()
    watch_merging()
    watch_training()
    watch_steps()
    stand_ins.excuse_logins()


class Imports:
    """Finds nothing itself, but has :func:`watch` called as soon as a module that is watched has been imported.

    A cell may import a pipeline and generate with it at once.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """What the other finders know of the module; its loader calls :func:`watch` once, and is then as it was."""
        if name not in ("torch", _CONFIGS, _TUNERS, _LAYERS, _PIPELINE, stand_ins.LOGIN):
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
