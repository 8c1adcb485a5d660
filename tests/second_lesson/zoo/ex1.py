"""Hand-ins for exercise 1: wrong in different ways, and right in others."""

from graders.harness.zoo import Submission, replace, strip_solutions

KEPT = "scheduler.timesteps[NUM_INFERENCE_STEPS - kept :]"

RIGHT = (
    Submission(
        "counted from where it begins",
        (replace("timesteps", KEPT, "scheduler.timesteps[-kept:]"),),
        sampled=True,
    ),
)
WRONG = (
    Submission(
        "the strength says what stays",
        (replace("timesteps", KEPT, "scheduler.timesteps[kept:]"),),
        fails={"timesteps": "strength-turned-round"},
        sampled=True,
    ),
    Submission(
        "the first timesteps",
        (replace("timesteps", KEPT, "scheduler.timesteps[:kept]"),),
        fails={"timesteps": "first-timesteps"},
        sampled=True,
    ),
    Submission(
        "weights without roots",
        (replace("start", "alpha_bar.sqrt() * z_0 + (1 - alpha_bar).sqrt()", "alpha_bar * z_0 + (1 - alpha_bar)"),),
        fails={"z_start": "alpha-bar-not-square-rooted"},
        sampled=True,
    ),
    Submission(
        "a strength that was typed in",
        (replace("timesteps", "int(NUM_INFERENCE_STEPS * STRENGTH)", "12"),),
        fails={"other_input": "hard-coded"},
        sampled=True,
    ),
    Submission(
        "nothing done",
        (strip_solutions,),
        fails={"timesteps": None, "latent": None},
        not_reached=("z_start", "other_input"),
        sampled=True,
    ),
)
