"""The numbers that divide right from wrong, with where each comes from.

They are derived from adapters whose nature is known, by `grade fixtures calibrate`, which writes them with their
derivation to ``fixtures/thresholds.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from graders.fixtures import catalog


@dataclass(frozen=True)
class Thresholds:
    """See ``fixtures/thresholds.json`` for how each was derived.

    ``style_shift``: fraction of the way to the style that the lower end of the interval must exceed.
    ``denoising_gain``: relative fall of the noise-prediction error that the lower end of the interval must exceed.
    ``prompt_kept``: share of the base model's recognition rate that must remain.
    ``memorisation``: how much better a training picture may be known than any held-out one.
    ``noise_learnt``: relative fall of the error on pictures of pure noise that gives away training on noise.
    ``copied``: similarity of weights that two adapters with trainings of their own do not reach.
    ``visible_change``: mean cosine distance between base and adapted pictures below which nothing has changed.
    ``picture``: mean difference, in levels of 255, up to which two pictures are the same one, painted in two ways.
    """

    style_shift: float
    denoising_gain: float
    prompt_kept: float
    memorisation: float
    noise_learnt: float
    visible_change: float
    copied: float
    picture: float


def load() -> Thresholds:
    """The thresholds as calibrated for the fixtures."""
    document = json.loads((catalog.ROOT / "thresholds.json").read_text(encoding="utf-8"))
    return Thresholds(**{name: entry["value"] for name, entry in document["thresholds"].items()})
