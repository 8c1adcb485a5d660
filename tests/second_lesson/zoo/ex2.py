"""Hand-ins for exercise 2: wrong in different ways."""

from graders.harness.zoo import Submission, replace, rewrite, strip_solutions

RIGHT = ()
WRONG = (
    Submission(
        "the strength says what stays",
        (replace("pictures", "strength=strength", "strength=1 - strength"),),
        fails={"pictures": "strength-turned-round"},
        not_reached=("other_input",),
        sampled=True,
    ),
    Submission(
        "the picture itself",
        (rewrite("pictures", "pictures = {strength: [image] for strength in STRENGTHS}"),),
        fails={"pictures": "input-returned"},
        not_reached=("other_input",),
        sampled=True,
    ),
    Submission(
        "nothing done", (strip_solutions,), fails={"pictures": None}, not_reached=("other_input",), sampled=True
    ),
)
