"""What has to be installed: which versions there are, whether they go together, and whether they can be imported.

With the standard library alone as far as it can, since whatever else it would use may be what is missing.
"""

from __future__ import annotations

import importlib
import json
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graders.harness import DISTRIBUTION
from graders.harness.errors import MachineError
from graders.harness.finding import Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from graders.harness.run.interpreter import Interpreter

MODULES = {"pillow": "PIL", "pyyaml": "yaml"}
"""Distributions whose module has another name."""
COMPANIONS = ("torchvision", "torchaudio", "accelerate", "xformers", "torchao", "bitsandbytes", "triton")
"""Nothing here needs them, but transformers, diffusers and peft import them where they are installed."""
IMPORTS = {
    "torch": "import torch",
    "numpy": "import numpy",
    "transformers": "from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer",
    "diffusers": "from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel",
    "peft": "from peft import LoraConfig, get_peft_model_state_dict",
    "datasets": "from datasets import load_dataset",
    "ipykernel": "import ipykernel.kernelapp",
    "nbclient": "import nbclient",
    "nbformat": "import nbformat",
    "safetensors": "import safetensors.torch",
    "pillow": "import PIL.Image",
}
"""What notebooks and graders import of a distribution; some import next to nothing until they are asked for a name."""
_NEW_PYTHON = "Make a virtual environment with such a Python, and install the graders in it."
PATIENCE = 600.0
"""Seconds that all imports may take together: eight, and more than a hundred where others kept disk and cores busy."""

_TRY = """
import gc, json, sys
gc.disable()  # and so that Python ends at once, below
out, sys.stdout = sys.stdout, sys.stderr
for name, statement in json.loads(sys.argv[1]).items():
    try:
        exec(statement, {})
        broken = None
    except BaseException as error:
        broken = f"{type(error).__name__}: {error}"
    print(json.dumps([name, broken]), file=out, flush=True)
gc.freeze()
"""


def python() -> Finding:
    """The version of Python."""
    from packaging.specifiers import SpecifierSet

    have, found = platform.python_version(), _distribution(DISTRIBUTION)
    wanted = str(found.metadata.json.get("requires_python", "")) if found else ""
    holds = SpecifierSet(wanted).contains(have, prereleases=True)
    words = f"Python {have} in {sys.prefix}"
    return Finding("python", words, None if holds else f"the graders need {wanted}", _NEW_PYTHON)


def versions() -> Iterator[Finding]:
    """Is every distribution that the graders need there, in a version that they work with? The good ones in one finding."""
    if _distribution(DISTRIBUTION) is None:
        yield Finding(
            DISTRIBUTION,
            DISTRIBUTION,
            f"not installed in {sys.prefix}",
            f"In their folder: {sys.executable} -m pip install .",
        )
        return
    good = []
    for requirement in _requirements(DISTRIBUTION):
        name = _normal(requirement.name)
        found = _distribution(name)
        if found is None:
            yield Finding(name, name, f"not installed in {sys.prefix}", f"Run: {install(name)}")
            continue
        words = f"{name} {found.version}"
        if not requirement.specifier.contains(found.version, prereleases=True):
            yield Finding(name, words, f"the graders need {requirement.specifier}", f"Run: {install(name)}")
        elif wrong := _displaced(found, name):
            yield Finding(name, words, *wrong)
        else:
            good.append(words)
    if good:
        yield Finding("versions", ", ".join(good))


def conflicts() -> Iterator[Finding]:
    """What the installed distributions need of each other and do not have: it may work, and often does not."""
    seen, todo = {DISTRIBUTION}, [_normal(r.name) for r in _requirements(DISTRIBUTION)]
    todo += [name for name in COMPANIONS if _distribution(name) is not None]
    while todo:
        name = todo.pop()
        if name in seen or _distribution(name) is None:
            continue
        seen.add(name)
        for requirement in _requirements(name):
            needed = _normal(requirement.name)
            todo.append(needed)
            found = _distribution(needed)
            have = "missing" if found is None else f"version {found.version}"
            if found is None or not requirement.specifier.contains(found.version, prereleases=True):
                wanted = f"{needed}{requirement.specifier}"
                fix = f"Run: {sys.executable} -m pip install '{wanted}'"
                yield Finding(f"{name} and {needed}", f"{name} needs {wanted}", f"it is {have}", fix, essential=False)


def for_notebooks(python: Interpreter | None = None) -> Iterator[Finding]:
    """What course notebooks find to import beside what the exercises need, in the Python that they run in."""
    wanted = [_normal(requirement.name) for requirement in _requirements(DISTRIBUTION, "notebooks")]
    there = {_normal(name): version for name, version in python.packages} if python else {}
    if python is None:
        there = {name: found.version for name in wanted if (found := _distribution(name)) is not None}
    where = f" ({python.named})" if python else ""
    if good := [f"{name} {there[name]}" for name in wanted if name in there]:
        yield Finding("notebooks", f"notebooks find {', '.join(good)}{where}")
    program = python.program if python else sys.executable
    for name in wanted:
        if name not in there:
            fix = f"Run: {program} -m pip install {name}"
            yield Finding(name, f"{name}, which course notebooks import{where}", "not installed", fix, essential=False)


def imports(python: Interpreter | None = None) -> Iterator[Finding]:
    """Whether what is installed can be imported, tried in a process of its own, which a bad build may crash.

    In the Python that notebooks run in, if it is another one than this.
    """
    good = []
    there = {_normal(name) for name, _ in python.packages} if python else {n for n in IMPORTS if _distribution(n)}
    untried = {name: statement for name, statement in IMPORTS.items() if name in there}
    program = str(python.program) if python else sys.executable
    while untried:
        command = [program, "-c", _TRY, json.dumps(untried)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            yield Finding(
                "imports", "the libraries can be imported", f"not within {PATIENCE:.0f} s", "Try it once more."
            )
            return
        for line in done.stdout.splitlines():
            name, broken = json.loads(line)
            del untried[name]
            if broken is None:
                good.append(name)
            else:
                yield _import_finding(name, broken, python)
        if untried:  # Python ended at the first of those that are left
            name = next(iter(untried))
            del untried[name]
            yield _import_finding(name, f"Python ended ({_signal(done.returncode)})", python)
    if good:
        yield Finding("imports", f"what notebooks use of them can be imported: {', '.join(good)}")


def torch() -> Iterator[Finding]:
    """Whether torch, which is needed at once, can be imported here; nothing if it can."""
    try:
        importlib.import_module("torch")
    except Exception as error:
        yield _import_finding("torch", f"{type(error).__name__}: {error}")


def blame(ename: str, evalue: str, python: Interpreter | None = None) -> None:
    """:class:`MachineError` if an import that failed in a notebook fails without it, too, in the Python that it runs in."""
    if ename in ("ImportError", "ModuleNotFoundError") or "import" in evalue:
        for finding in imports(python):
            if finding.broken is not None:
                raise MachineError(f"{finding.words}: {finding.broken}.", finding.fix)


def explained(error: ImportError) -> MachineError | None:
    """What to do about an import that failed here; None if it is the graders' own fault."""
    module = (error.name or "").partition(".")[0]
    if module in ("", "graders"):
        return None
    name = next((known for known, theirs in MODULES.items() if theirs == module), _normal(module))
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        return MachineError(f"{name}: not installed in {sys.prefix}.", f"Run: {install(name)}")
    return MachineError(f"{name}: the import fails ({error}).", f"Run: {install(name, again=True)}")


def install(name: str, again: bool = False) -> str:
    """The command that installs a distribution in the version that the graders need."""
    found = _distribution(DISTRIBUTION)
    needed = [text.partition(";")[0].strip() for text in (found.requires if found else None) or ()]
    wanted = next((text for text in needed if _normal(re.split(r"[^\w.-]", text)[0]) == name), name)
    return f"{sys.executable} -m pip install {'--force-reinstall' if again else '--upgrade'} '{wanted}'"


def _import_finding(name: str, broken: str, python: Interpreter | None = None) -> Finding:
    if python:
        fix = f"Run: {python.program} -m pip install --force-reinstall {name}"
        return Finding(name, f"{name} ({python.named})", f"the import fails: {_line(broken)}", fix)
    spec = find_spec(_module(name))
    where = f" (from {spec.origin})" if spec and spec.origin else ""
    return Finding(name, name, f"the import fails{where}: {_line(broken)}", f"Run: {install(name, again=True)}")


def _line(text: str) -> str:
    """The beginning of a message, on one line, without its full stop."""
    return " ".join(text.split())[:300].rstrip(".")


def _signal(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"


@cache
def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _requirements(name: str, extra: str = "") -> list[Requirement]:
    """What a distribution needs here: without its extras, or for one of them alone."""
    from packaging.requirements import InvalidRequirement, Requirement

    needed = []
    found = _distribution(name)
    for text in (found.requires if found else None) or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # of an old distribution, which pip takes no notice of either
            continue
        always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if always if not extra else not always and requirement.marker and requirement.marker.evaluate({"extra": extra}):
            needed.append(requirement)
    return needed


def _module(name: str) -> str:
    return MODULES.get(name, name.replace("-", "_"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _displaced(found: Distribution, name: str) -> tuple[str, str] | tuple[()]:
    """What is wrong, and what helps, where a distribution's module is gone or hidden by something of the same name."""
    try:
        spec = find_spec(_module(name))
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return "its files are gone", f"Run: {install(name, again=True)}"
    if spec.origin is None or _editable(found):
        return ()
    origin, home = Path(spec.origin), Path(str(found.locate_file("")))
    if origin.is_relative_to(home) or origin.resolve().is_relative_to(home.resolve()):  # either may be a link
        return ()
    return f"{origin} would be imported in its place", "Rename that, or take its folder out of PYTHONPATH."


def _editable(found: Distribution) -> bool:
    """Whether it is imported from its sources, wherever they are."""
    try:
        about: dict[str, Any] = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(about.get("dir_info", {}).get("editable"))
