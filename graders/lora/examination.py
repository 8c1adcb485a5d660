"""What is asked of a machine for this lesson: that models and data are there, and what a base model of true size needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from graders.harness.errors import ExplainedError
from graders.harness.finding import Finding
from graders.lora import catalog
from graders.lora.fixtures import digests
from graders.lora.true_size import TRUE_MEMORY, of_true_size

_GENERATING = ("ex3", "ex4")


def before_run(exercise: str | None, parameters: Mapping[str, Any], isolation: str) -> Iterator[Finding]:
    """Whether the MODEL that was asked for can be had, and an exercise that generates is worth the time with it."""
    if exercise and "MODEL" in parameters:
        from graders.lora import models  # which needs a package that may be missing

        yield models.asked(parameters["MODEL"], exercise, isolation)
    if exercise in _GENERATING and of_true_size(parameters.get("MODEL")):
        yield _worth_it(parameters.get("DEVICE"), exercise)


def _worth_it(device: str | None, exercise: str) -> Finding:
    """Whether a model of true size generates and is trained in minutes: on the CPU each prediction takes seconds."""
    broken = "on the CPU that takes hours" if device == "cpu" or not shutil.which("nvidia-smi") else None
    fix = "Use a machine with a GPU, or the model that comes with the exercises, which needs none."
    return Finding("time", f"{exercise} with a model of true size", broken, fix, essential=False)


def extra_memory(exercise: str, parameters: Mapping[str, Any]) -> int:
    """Bytes that a base model of true size takes in addition; exercise 1 builds it without weights."""
    return TRUE_MEMORY if exercise != "ex1" and of_true_size(parameters.get("MODEL")) else 0


def examine(*, network: bool) -> Iterator[tuple[str, Iterator[Finding]]]:
    """The fixtures, and the cache of other models."""
    yield "Models and data of the exercises", _fixtures()
    yield "Other models, from the Hugging Face Hub", _models(network)


def _models(network: bool) -> Iterator[Finding]:
    from graders.lora import models

    yield from models.cache(network)


def _fixtures() -> Iterator[Finding]:
    which = "all files" if catalog.INSTRUCTORS else "all files that students install"
    words = f"{which} are as they were made ({catalog.ROOT})"
    fix = "Install the package again; in a checkout: git checkout fixtures"
    try:
        damaged = digests.changed_files(catalog.ROOT, additional=False)
    except ExplainedError as error:
        yield Finding("fixtures", words, error.problem.rstrip("."), fix)
        return
    more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    broken = f"{damaged[0]}{more} {'are' if more else 'is'} missing or damaged" if damaged else None
    yield Finding("fixtures", words, broken, fix)
