"""What is gone when a notebook has run, noted while it runs: training's passes and steps, and what a lesson watches for."""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import sys
import types
from typing import Any

from . import stand_ins, tools

FAILED = "watchers_failed"
"""What :func:`seen` calls what they raised, "" if nothing."""
_lesson: Any = None
"""The lesson's own watchers, a module; None if it has none, or before :func:`begin`."""

_failed = ""
"""What they raised first, and where."""


def begin(text: str) -> None:
    """Watch from here on, for the lesson as well: ``text`` is the code of its watchers, "" if it has none.

    :class:`graders.harness.lesson.Lesson` says what is called there. Who begins again goes on with what was noted.
    """
    global _lesson
    if text and _lesson is None:
        _lesson = types.ModuleType(f"{__package__}.lesson")
        exec(compile(text, "watchers.py", "exec", dont_inherit=True), vars(_lesson))
    watch()


def _call(name: str, *arguments: Any) -> Any:
    """What a function of the lesson's watchers gives; None if they do not have it.

    It may meet anything of a notebook's. What it raises ends nothing, and the first is noted, for authors.
    """
    global _failed
    try:
        if function := getattr(_lesson, name, None):
            return function(*arguments)
    except Exception as error:
        _failed = _failed or f"{name}(): {type(error).__name__}: {error}"[:300]
    return None


def after_cell() -> None:
    """Tell the lesson's watchers that a cell has run."""
    _call("after_cell")


def device() -> Any:
    """``cuda`` once PyTorch has touched a GPU, else ``cpu``."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return "cuda" if cuda is not None and cuda.is_initialized() else "cpu"


def peak_gpu_memory() -> int:
    """Bytes that PyTorch has held of a GPU at most, whatever the notebook had of them in use."""
    return int(sys.modules["torch"].cuda.max_memory_reserved()) if device() == "cuda" else 0


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
        _call("after_backward")
        return done

    autograd.backward, autograd._noted = count, True


_steps = [0, 0]


def watch_steps() -> None:
    """From now on, count the steps of all optimizers, and those with a learning rate other than 0, if PyTorch is imported.

    A schedule changes the rate as soon as the step is made, and then nobody can tell what it was.
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

    before(count)
    after(lambda optimizer, *arguments: _call("after_step", optimizer))
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
    return {**(_call("seen", tools) or {}), "backward_passes": _passes, "optimizer_steps": _steps, FAILED: _failed}


def watch() -> None:
    """Note from here on what is gone when the notebook has run, of the libraries that were imported so far."""
    watch_training()
    watch_steps()
    stand_ins.excuse_logins()
    _call("watch", tools)


class Imports:
    """Finds nothing itself, but has :func:`watch` called as soon as a module that is watched has been imported.

    A cell may import a pipeline and generate with it at once.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """What the other finders know of the module; its loader calls :func:`watch` once, and is then as it was."""
        if name not in ("torch", stand_ins.LOGIN, *getattr(_lesson, "MODULES", ())):
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
