"""The warm process: ``python -m graders.harness.run.warm SOCKET`` imports what notebooks import, and forks for each run.

It runs in the Python that notebooks run in. Where that is not the graders' own, it needs nothing but the standard library and
what notebooks import: who runs a notebook is then started anew, in the graders' Python, and finds the kernel forked already.

It executes nothing of any hand-in's, and cannot be looked into. In the outer sandbox, each run is a child in a sandbox of its
own (:mod:`graders.harness.run.nesting`); without a sandbox, which is for one's own notebooks, a child like any other. Through
the socket, whose messages keep their bounds, comes the number of a request with three open files: what is asked for, as JSON;
where the program's output goes; and a socket for the run's folders. Back goes ``ready``, once, and each program's number with
its exit status.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import random
import select
import signal
import socket
import sys
import types
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, NoReturn

from graders.harness.run import kernel, nesting, pages

IMPORTED = (
    "matplotlib.pyplot", "matplotlib.backends.backend_agg",
    "numpy", "PIL.Image", "PIL.PngImagePlugin", "pandas", "torch", "torch.utils.data", "safetensors.torch", "transformers",
    "accelerate", "peft", "datasets", "tqdm.auto", "ipywidgets",
    "nbclient", "ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.completerlib", "IPython.core.debugger",
    "IPython.core.logger", "IPython.core.oinspect", "IPython.extensions.storemagic", "tornado.platform.asyncio", "tornado.queues",
    "sqlite3", "graders.harness.run.execution",
)  # fmt: skip
"""What notebooks import, and what runs them. matplotlib makes its list of fonts here, once for all runs."""
HANDED = "GRADE_KERNEL"
"""In this variable a program finds the process of a kernel that was forked for it, and the pipe through which to tell it."""
LAZY = {
    "diffusers": (
        "AutoencoderKL", "DDPMScheduler", "StableDiffusionPipeline", "UNet2DConditionModel", "DEISMultistepScheduler",
        "DPMSolverSinglestepScheduler", "EDMEulerScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler",
        "UniPCMultistepScheduler",
    ),
    "transformers": ("CLIPModel", "CLIPProcessor", "CLIPTextModel", "CLIPTokenizer"),
    "peft": ("LoraConfig", "get_peft_model_state_dict"),
    "peft.utils": ("get_peft_model_state_dict",),
    "diffusers.utils": ("convert_state_dict_to_diffusers",),
    "datasets": ("load_dataset",),
}  # fmt: skip
"""Of packages that import a part of theirs when it is first asked for."""

WORTH_IT = 5
"""Forks from which on there will be many: a hand-in takes two, and so does putting a sandbox to the test."""


def import_all() -> None:
    """Import all of it that is installed, and works."""
    for name in (*IMPORTED, *LAZY):
        with contextlib.suppress(Exception):  # a notebook that needs it will say what is wrong with it
            module = importlib.import_module(name)
            for part in LAZY.get(name, ()):
                with contextlib.suppress(Exception):
                    getattr(module, part)


@cache
def _ours() -> list[str]:
    """The modules of this package that are imported before the first fork: to look through all of them would copy their names."""
    return [name for name in sys.modules if name.partition(".")[0] == "graders"]


def rehearse() -> None:
    """Have made what is made when it is first used, which takes 150 ms of each run: nbformat's schemas, the collector, and of
    transformers a thousand patterns of names of weights.
    """
    kernel.compiled()
    _ours()
    if find_spec("nbformat") is None:  # in the notebooks' own Python, who runs them is another one
        return
    from nbformat.v4 import new_code_cell, new_notebook, writes

    from graders.harness.run import notebook

    cell = new_code_cell("a = 1", metadata={"tags": [notebook.PARAMETERS]})
    notebook.inject(notebook.parse(writes(new_notebook(cells=[cell])).encode()), {"a": 1})
    with contextlib.suppress(ImportError, AttributeError):  # not in all versions
        from transformers import conversion_mapping

        conversion_mapping.get_checkpoint_conversion_mapping("")


def main(descriptor: int) -> None:
    """Serve until the other end of the socket is closed."""
    nesting.end_with_parent()
    sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]
    gc.disable()  # next to nothing of what is imported is garbage, and looking for it takes a fifth of the time
    import_all()
    rehearse()
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    assert cuda is None or not cuda.is_initialized(), "a child could not use the GPU any more"
    gc.collect()
    gc.freeze()  # no child goes through all of these objects again and again, and copies the pages they are in
    gc.enable()
    nesting.set_dumpable(False)
    nesting.adopt_orphans()
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    children: dict[int, bytes] = {}
    forks = 0
    with socket.socket(fileno=descriptor) as control:
        control.send(b"ready")
        while True:
            readable = select.select([control.fileno(), woken], [], [])[0]
            if woken in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                _bury(children, control)
            if control.fileno() in readable:
                number, descriptors, _, _ = socket.recv_fds(control, 100, 3)
                if not number:
                    return
                forks += 1
                if forks == WORTH_IT:
                    pages.make_huge()
                child = -1
                with contextlib.suppress(OSError):  # where none is to be had, the other side sees all its ends closed
                    child = os.fork()
                if child == 0:
                    _be((control.fileno(), woken, wake), *descriptors)
                if child > 0:
                    children[child] = number
                for one in descriptors:
                    os.close(one)


def _bury(children: dict[int, bytes], control: socket.socket) -> None:
    """Tell what has become of the children that have ended, and let go of those that were adopted."""
    with contextlib.suppress(ChildProcessError):
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            if child in children:
                control.send(b"%s %d" % (children.pop(child), os.waitstatus_to_exitcode(status)))


def _be(close: Sequence[int], request: int, output: int, way_out: int) -> NoReturn:
    """Be the program that is asked for, without the warm process's own descriptors."""
    _leave_with(lambda: _run(close, request, output, way_out))


def _run(close: Sequence[int], request: int, output: int, way_out: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in close:
        os.close(descriptor)
    with os.fdopen(request, "rb") as file:
        asked = json.load(file)
    with socket.socket(fileno=way_out) as folders:
        (nesting.enter if "sizes" in asked else nesting.stay)(asked, folders)
    nesting.become(asked["argv"], asked["environment"], output)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.default_generator.seed()
        if threads := asked["environment"].get("OMP_NUM_THREADS"):
            with contextlib.suppress(ValueError):
                torch.set_num_threads(int(threads.partition(",")[0]))
    if runner := asked.get("runner"):
        handed = Kernel.fork().hand_over()
        os.execve(runner, [runner, "-m", *asked["argv"]], {**os.environ, HANDED: handed})
    importlib.import_module(asked["argv"][0]).main()


def _leave_with(program: Callable[[], object]) -> NoReturn:
    """End this process as a Python that has run the program would, but tidy up nothing."""
    status = 1
    try:
        program()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


class Kernel:
    """A kernel that was forked from a process with all libraries in it, and waits to be told where it is to be reached.

    It is forked before its parent has a loop of events or a socket, which no fork could share. Like
    :class:`subprocess.Popen` for those who only wait for it and signal it.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, tell: int) -> None:
        """It is the process ``pid``, a child of this one, and learns what it is to be through the pipe ``tell``."""
        self.pid, self._tell = pid, tell
        self.returncode: int | None = None

    @classmethod
    def fork(cls) -> Kernel:
        """One that is forked from this process."""
        read, tell = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(tell)
            _leave_with(lambda: _be_kernel(read))
        os.close(read)
        return cls(pid, tell)

    @classmethod
    def of_this_run(cls) -> Kernel | None:
        """The one that is forked for the program that this process is; None if it is to start one anew."""
        if handed := os.environ.pop(HANDED, ""):
            return cls(*map(int, handed.split()))
        return cls.fork() if nesting.forked else None

    def hand_over(self) -> str:
        """What :data:`HANDED` is to say to the program that this process is about to become."""
        os.set_inheritable(self._tell, True)
        return f"{self.pid} {self._tell}"

    def launch(self, cmd: list[str], environment: dict[str, str], folder: str) -> None:
        """Let it become the kernel that a command line (``PYTHON -m ipykernel_launcher ARGUMENT...``) asks for."""
        with os.fdopen(self._tell, "w") as file:
            json.dump({"argv": cmd[2:], "environment": environment, "folder": folder}, file)

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._ended(os.WNOHANG)

    def wait(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._ended(0)

    def _ended(self, options: int) -> int | None:
        if self.returncode is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, options)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """End it."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _be_kernel(told: int) -> None:
    """Ends this process with the kernel."""
    nesting.end_with_parent()
    os.setsid()
    with os.fdopen(told) as file:
        asked: dict[str, Any] = json.load(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    sys.argv[:] = asked["argv"]
    # A notebook that asks for what is offered of them imports it, as anywhere else; to take them apart would take time
    kept = [sys.modules.pop(name) for name in _ours()]
    kernel.load(kernel.PACKAGE, kernel.compiled())
    from ipykernel import ipkernel
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    class App(IPKernelApp):
        def parse_command_line(self, argv: list[str] | None = None) -> None:
            """It is ``-f FILE``, and that the history is not to be written."""
            self.connection_file = sys.argv[2]

        def _configure_logging(self) -> None:
            """For this one, and with no look at all loggers that there are."""
            logging.getLogger(type(self).__name__).addHandler(logging.StreamHandler())

    app = App.instance(config=Config(HistoryManager={"hist_file": ":memory:"}))
    # Its debugger would be told the files of thousands of modules, and whoever looks at a module copies the page it is in
    ipkernel.sys = types.SimpleNamespace(**{**vars(sys), "modules": {}})
    try:
        app.initialize()
    finally:
        ipkernel.sys = sys
    app.start()
    del kept


if __name__ == "__main__":
    # Under the name by which the others know it, and what it has made
    importlib.import_module("graders.harness.run.warm").main(int(sys.argv[1]))
