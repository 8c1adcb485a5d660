"""A loss and its multiples."""

import pytest
import torch
from torch.nn import functional as F

from graders.lora.measures.objectives import divided_by, noise_error, scaled_by
from graders.lora.measures.precision import FLOOR, tolerance

PREDICTION, NOISE = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("factor", "words", "micro_steps"),
    [
        (1 / 4, "1/4 of the mean", 4),
        (1 / 3, "1/3 of the mean", 3),
        (2.0**16, "65,536 times the mean", 1),
        (3.7, "3.7 times the mean", 1),
        (0.26, "0.26 times the mean", 1),
        (-1.0, "-1 times the mean", 1),
    ],
)
def test_a_multiple_is_told_by_its_factor(factor: float, words: str, micro_steps: int) -> None:
    """A factor is named as the share of a micro-step, as loss scaling, or as the number that it is; the loss is not right."""
    multiple = noise_error(NOISE).times(factor, FLOOR)
    assert multiple.words.startswith(words)
    assert multiple.micro_steps == micro_steps
    assert not multiple.right
    assert multiple.value(PREDICTION) == pytest.approx(factor * float(F.mse_loss(PREDICTION, NOISE)))


def test_a_coarse_arithmetic_names_no_share_that_it_cannot_tell() -> None:
    """In bfloat16 a half is told from a third, but a 20th not from a 21st; what is near a power of two is not taken for it."""
    coarse = tolerance(["bfloat16"])
    assert divided_by(0.51, coarse) == 2
    assert divided_by(1 / 20, coarse) is None
    assert divided_by(1 / 20, FLOOR) == 20
    assert divided_by(1.0, FLOOR) is None
    assert scaled_by(2.0**16, FLOOR) == 2**16
    assert scaled_by(70_000.0, FLOOR) is None
    assert scaled_by(4.0, FLOOR) is None
