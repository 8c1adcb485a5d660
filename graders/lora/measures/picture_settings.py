"""With which settings a picture was generated, beside those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graders.harness.data.values import one_line

TELLING = (
    "scheduler", "scheduler_config", "num_inference_steps", "guidance_scale", "guidance_rescale", "negative_prompt", "clip_skip",
)  # fmt: skip
"""Settings of a pipeline's call without which every picture is another one."""
FAINT = ("eta", "precision")
"""Settings that some schedulers ignore, or that are seen as rounding."""
HINT = (
    "Which settings of the pipeline, and of the call that generates, do the parameters and the model give? Leave all others as "
    "they are."
)
_IN_WORDS = {
    "scheduler": "with {} in place of the model's own scheduler",
    "scheduler_config": "with other settings of the scheduler than the model's",
    "negative_prompt": "with a negative prompt",
    "precision": "in {}",
}


def difference(found: Mapping[str, Any], due: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of ``names`` that was other than due, in words that end a sentence; None if none was, or nothing is known."""
    name = next((name for name in names if name in found and found[name] != due[name]), None)
    if name is None:
        return None
    value = one_line(str(found[name]), 60)
    return "generated " + _IN_WORDS.get(name, f"with {name} = {{}}").format(value)
