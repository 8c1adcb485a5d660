"""The same picture where there should be different ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graders.harness.rubric import fail


def refuse_repeated(pictures: Sequence[np.ndarray], name: str, prompts: Sequence[str]) -> None:
    """One picture cannot show two prompts, unless it shows nothing: safety checkers of pipelines generate such pictures black."""
    shown: dict[tuple[tuple[int, ...], bytes], set[str]] = {}
    for picture, prompt in zip(pictures, prompts, strict=True):
        shown.setdefault((picture.shape, picture.tobytes()), set()).add(prompt)
    plain = all((picture == picture[0, 0]).all() for picture in pictures)
    several = [
        those
        for (shape, pixels), those in shown.items()
        if len(those) > 1 and (plain or pixels != pixels[:3] * shape[0] * shape[1])
    ]
    if several:
        fail(
            f"`{name}` holds the same picture for {max(map(len, several))} different prompts.",
            expected="for each prompt the picture that the pipeline generates for it",
            hint="Does the list get a new picture for each prompt, or one of them several times? Print which prompt each "
            "picture was generated from.",
        )
