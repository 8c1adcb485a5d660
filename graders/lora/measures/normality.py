"""Whether numbers look drawn from the standard normal distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

FALSE_ALARM = 1e-6
"""How often each test says no to what was drawn from the standard normal distribution."""
_SIGMAS = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)


def is_standard_normal(sample: Tensor) -> bool:
    """Whether mean, mean square and distribution of all elements are those of independent standard normal numbers.

    The mean is normal itself, the mean square is chi-square (Wilson and Hilferty 1931: its cube root is close to normal),
    and the largest distance of the distribution functions has Kolmogorov's bound (Massart 1990).
    """
    values = sample.double().flatten()
    n = len(values)
    if n == 0 or not values.isfinite().all():
        return False
    mean = float(values.mean()) * math.sqrt(n)
    square = (float(values.square().mean()) ** (1 / 3) - (1 - 2 / (9 * n))) / math.sqrt(2 / (9 * n))
    expected = 0.5 * (1 + torch.erf(values.sort().values / math.sqrt(2)))
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    distance = float(torch.maximum((expected - steps[:-1]).abs(), (expected - steps[1:]).abs()).max())
    return (
        abs(mean) <= _SIGMAS and abs(square) <= _SIGMAS and distance <= math.sqrt(math.log(2 / FALSE_ALARM) / (2 * n))
    )
