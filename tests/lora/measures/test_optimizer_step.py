"""Why B has not moved though it has gradients."""

import pytest
import torch

from graders.harness.hand_in import OptimizerState, ParameterState, StepsSeen
from graders.harness.rubric import CheckFailed
from graders.lora.measures.adapted_unet import LoraPair
from graders.lora.measures.optimizer_step import refuse_idle


def pair(b: torch.Tensor, gradient: torch.Tensor | None) -> LoraPair:
    a = ParameterState(torch.ones(2, 3), torch.zeros(2, 3), True, 1)
    return LoraPair("layer", a, ParameterState(b, gradient, True, 2), (False, False))


IDLE = [pair(torch.zeros(4, 2), torch.ones(4, 2))]
ADAM, WAITING = (OptimizerState(name, (1, 2), [{"lr": 1e-4}]) for name in ("Adam", "AcceleratedOptimizer"))
AT_ZERO = OptimizerState("Adam", (1, 2), [{"lr": 0.0}])


@pytest.mark.parametrize(
    ("seen", "optimizer", "words"),
    [
        (StepsSeen(1, 0), ADAM, "learning rate of this step was 0"),
        (None, AT_ZERO, "learning rate of this step was 0"),
        (StepsSeen(0, 0), WAITING, "a micro-step"),
    ],
    ids=["a warm-up that is over", "nothing seen", "accelerate"],
)
def test_an_idle_step_has_its_cause(seen: StepsSeen | None, optimizer: OptimizerState, words: str) -> None:
    """A step at a learning rate of 0, and a micro-step, are named for what they are and for no misconception."""
    with pytest.raises(CheckFailed, match=words) as failed:
        refuse_idle(IDLE, seen, optimizer)
    assert failed.value.misconception is None


@pytest.mark.parametrize("seen", [None, StepsSeen(0, 0), StepsSeen(2, 1), StepsSeen(1, 1)])
def test_what_is_not_known_is_not_claimed(seen: StepsSeen | None) -> None:
    """Where the rate was not 0, or nobody knows it, nothing is said of it; nor where B has moved or has no gradient."""
    refuse_idle(IDLE, seen, ADAM)
    refuse_idle(IDLE, seen, None)
    refuse_idle([pair(torch.ones(4, 2), torch.ones(4, 2))], StepsSeen(1, 0), AT_ZERO)
    refuse_idle([pair(torch.zeros(4, 2), None)], StepsSeen(1, 0), AT_ZERO)
