"""Loss curves as students record them."""

import math

import numpy as np
import pytest

from graders.harness.rubric import CheckFailed
from graders.lora.measures import losses

FALLING = list(np.linspace(0.3, 0.1, 300) + 0.01 * np.sin(np.arange(300)))


@pytest.mark.parametrize("curve", [FALLING, tuple(FALLING), [[value] for value in FALLING]])
def test_complete_curve(curve: object) -> None:
    """A finite loss for every step passes, in whatever sequence it is kept."""
    assert "300 finite losses" in losses.judge({4: curve}, 4, 300)


@pytest.mark.parametrize(
    ("curve", "misconception"),
    [
        ([*FALLING[:100], math.nan, *FALLING[101:]], "loss-not-finite"),
        ([*FALLING[:299], math.inf], "loss-not-finite"),
        (FALLING[:30], "too-few-steps"),
        (FALLING * 2, None),
        ([10 ** (i / 100) for i in range(300)], "loss-diverged"),
        ([0.1] * 300, "table-does-not-match"),
        ([0.3 * 0.99**i for i in range(300)], "table-does-not-match"),
        ([-value for value in FALLING], "table-does-not-match"),
        ([], None),
        (["0.1"] * 300, None),
        ([10**400] * 300, None),
        (None, None),
    ],
)
def test_wrong_curve(curve: object, misconception: str | None) -> None:
    """Each way in which a curve can be wrong is failed in words and named."""
    with pytest.raises(CheckFailed) as failed:
        losses.judge({4: curve}, 4, 300)
    assert failed.value.misconception == misconception


def test_noisy_curve_has_not_diverged() -> None:
    """Losses that spread as widely as their mean, as with batches of one, are not taken for a divergence."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        noisy = 0.15 * rng.lognormal(-0.35, 0.83, 300)
        losses.judge({4: noisy.tolist()}, 4, 300)
