"""Whether an exercise can be graded with a profile, asked before a notebook runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graders.harness.errors import ExplainedError
from graders.harness.lesson import Exercise, ProfileError
from graders.lora.measures import thresholds
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.architecture import empty_unet
from graders.lora.profile import PRECISIONS, STANDARD, Profile, precision_of


def ensure_gradable(profile: Profile, exercise: Exercise, parameters: Mapping[str, Any]) -> None:
    """:class:`ProfileError` or another :class:`ExplainedError` if it cannot; ``parameters`` are all that it runs with."""
    thresholds.load(profile)
    if (precision := precision_of(parameters)) not in PRECISIONS:
        raise ProfileError(f"There is no precision {precision!r}.", f"PRECISION is one of {', '.join(PRECISIONS)}.")
    own = profile.parameters.get(exercise.name, {})
    if "ADAPTERS" in exercise.parameters and "ADAPTERS" not in own and profile.model != STANDARD.model:
        raise ProfileError(
            f"{exercise.name} composes two adapters, and those that come with it fit its own model only.",
            "Name two that fit yours in a profile, under [adapters], and give it with --profile.",
        )
    for adapter, folder in own.get("ADAPTERS", {}).items():
        try:
            loader = read_adapter(Path(folder), empty_unet(Path(profile.model))).loader
        except ExplainedError as error:  # which would be held against every hand-in
            raise ProfileError(f"The profile's {adapter} adapter: {error.problem}", error.fix) from None
        if loader != "load_lora_weights":
            problem = (
                f"The profile's {adapter} adapter is a file for {loader}; notebooks load it with load_lora_weights."
            )
            raise ProfileError(problem, "Save it with StableDiffusionPipeline.save_lora_weights.")
