"""The numbers that divide right from wrong, with where each comes from.

They are derived from adapters whose nature is known, by `grade fixtures calibrate`, which writes them with their
derivation to ``fixtures/thresholds.json``.
"""

from __future__ import annotations

import filecmp
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from graders.harness.errors import ExplainedError
from graders.harness.hand_in import HandIn
from graders.harness.rubric import LeftToPerson
from graders.lora.profile import STANDARD, Profile, precision_of

UNKNOWN = "From where on this is right is not known for this model and judge: your instructor decides, and it has no points here."
_Value = TypeVar("_Value")
_WEIGHTS = {"MODEL": "unet/diffusion_pytorch_model.safetensors", "JUDGE": "model.safetensors"}


class ThresholdsError(ExplainedError):
    """There are no thresholds, or they cannot be read."""


@dataclass(frozen=True)
class Thresholds:
    """See ``fixtures/thresholds.json`` for how each was derived.

    ``style_shift``: fraction of the way to the style that the lower end of the interval must exceed.
    ``denoising_gain``: relative fall of the noise-prediction error that the lower end of the interval must exceed.
    ``prompt_kept``: share of the base model's recognition rate that must remain.
    ``memorisation``: how much better a training picture may be known than any held-out one.
    ``noise_learnt``: relative fall of the error on pictures of pure noise that gives away training on noise.
    ``copied_rank4`` and ``copied_rank16``: likeness to a known adapter that one of up to this rank does not reach by a
    training of its own; ``fingerprint_rank4`` and ``fingerprint_rank16``: the same for the likeness to its fingerprint.
    ``visible_change``: mean cosine distance between base and adapted pictures below which nothing has changed.
    """

    style_shift: float
    denoising_gain: float
    prompt_kept: float
    memorisation: float
    noise_learnt: float
    visible_change: float
    copied_rank4: float
    copied_rank16: float
    fingerprint_rank4: float
    fingerprint_rank16: float


def load(profile: Profile = STANDARD) -> Thresholds | None:
    """The thresholds of adapters as calibrated for a profile; None where they were not."""
    values = _values(profile)
    names = [field.name for field in fields(Thresholds)]
    return Thresholds(**{name: values[name] for name in names}) if values.keys() >= set(names) else None


def picture(profile: Profile = STANDARD) -> float | None:
    """The mean difference, in levels of 255, up to which two pictures are the same one, generated in two ways."""
    return _values(profile).get("picture")


def ensure(profile: Profile, exercises: Collection[str]) -> None:
    """:class:`ThresholdsError` if not everything that grading these exercises needs is here and was derived for a profile."""
    ensure_decides(profile, exercises)
    adapters, pictures = load(profile), picture(profile)
    if ("ex3" in exercises and adapters is None) or ("ex4" in exercises and pictures is None):
        raise ThresholdsError(
            "What divides right from wrong is not known for the models of this profile.",
            'Name a file in it, thresholds = "thresholds.json", for exercise 4 also two adapters, and make it: '
            "grade fixtures calibrate --profile FILE",
        )


def ensure_decides(profile: Profile, exercises: Collection[str]) -> None:
    """:class:`ThresholdsError` where these exercises can only be practised, for want of the instructors' package."""
    if "ex3" in exercises and profile.for_practice:
        raise ThresholdsError(
            "The pictures and adapters that decide exercise 3 are not installed here.",
            "Install the instructors' package beside the graders: lora_graders_instructors-….whl, which make wheel makes.",
        )


def known(value: _Value | None, hand_in: HandIn) -> _Value:
    """The thresholds of the hand-in's profile, for a verdict; :class:`graders.harness.rubric.LeftToPerson` if there are none.

    They count for nothing but the model, the CLIP model and the precision that they were derived with.
    """
    if value is None or not _as_calibrated(hand_in):
        raise LeftToPerson(UNKNOWN)
    return value


def _as_calibrated(hand_in: HandIn) -> bool:
    profile, parameters = hand_in.profile, hand_in.parameters
    same = _same(profile.model, parameters["MODEL"], _WEIGHTS["MODEL"])
    same = same and _same(profile.judge, parameters.get("JUDGE", profile.judge), _WEIGHTS["JUDGE"])
    return same and profile.precision == precision_of(parameters)


@lru_cache
def _same(first: str, second: str, weights: str) -> bool:
    """Whether two models are one, perhaps in two places, as that of a course that was begun in a folder of its own."""
    files = Path(first, weights), Path(second, weights)
    return first == second or (all(file.is_file() for file in files) and filecmp.cmp(*files, shallow=False))


def origin(profile: Profile) -> dict[str, str]:
    """What thresholds are derived with; of a model from the Hub its folder's name tells the version."""
    return {
        "model": Path(profile.model).name,
        "judge": Path(profile.judge).name,
        "precision": profile.precision,
        "style": Path(profile.held_out).name,
    }


@lru_cache
def _values(profile: Profile) -> Mapping[str, float]:
    if profile.thresholds is None:
        return {}
    try:
        document = json.loads(Path(profile.thresholds).read_text(encoding="utf-8"))
        if document.get("derived_with", origin(profile)) != origin(profile):
            raise ThresholdsError(
                f"{profile.thresholds} was derived with other models, or in another precision.",
                "Derive it again: grade fixtures calibrate --profile FILE",
            )
        return {name: float(entry["value"]) for name, entry in document["thresholds"].items()}
    except OSError as error:
        problem = f"{profile.thresholds} cannot be read: {error.strerror}."
    except (ValueError, LookupError, TypeError, AttributeError):
        problem = f"{profile.thresholds} holds no thresholds."
    fix = "Make it with grade fixtures calibrate --profile FILE, or leave it out of the profile."
    raise ThresholdsError(problem, fix)
