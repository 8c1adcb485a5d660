"""What can have gone wrong when two adapters were composed: each mistake says which weights or which noise it leads to.

A grid is a sequence of cells, pairs of (style weight, subject weight), in the order in which they are generated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

Weights = tuple[float, float]


def same(first: Weights, second: Weights) -> bool:
    """Whether two pairs of weights are equal but for rounding."""
    return all(abs(a - b) < 1e-6 for a, b in zip(first, second, strict=True))


@dataclass(frozen=True)
class Hypothesis:
    """A mistake, and the weights that it puts to work in each cell of a grid."""

    misconception: str
    hint: str
    at_work: tuple[Weights, ...]


_WEIGHTS = "Right before each picture, print pipe.get_active_adapters() and the weights that you set."
HINTS = {
    "lora-never-applied": "Are the adapters loaded into the pipeline that generates, active, and not disabled? "
    "pipe.get_active_adapters() tells.",
    "weights-swapped": f"{_WEIGHTS} Which entry of a cell belongs to which adapter?",
    "weights-ignored": f"{_WEIGHTS} Does the cell's pair of numbers reach the pipeline at all?",
    "second-adapter-replaced-first": "Give each adapter a name when you load it, and look at "
    "pipe.get_active_adapters() after every call that changes it: how many names are there?",
    "one-adapter-only": "Do the pictures change when you change one weight alone? Try it for each of the two.",
    "adapters-left-over": f"{_WEIGHTS} What would a picture look like if the cells came in another order?",
    "fused-twice": "What do the base model's own weights hold after a cell is generated? Whatever was merged into them stays "
    "there until it is taken out again, also when the adapter itself is unloaded.",
    "alpha-over-rank-missing": "Compare with how strongly the library applies one adapter alone. Its file holds more than A "
    "and B: open its metadata.",
    "deltas-averaged": "How do two detours around the same highway join it: does each carry its own traffic, or half of it?",
}


def hypotheses(grid: Sequence[Weights], scales: Weights, merges: bool = True) -> list[Hypothesis]:
    """The mistakes that are known, the more specific first; ``scales`` are the adapters' own α/r.

    Where both α/r are 2, leaving it out looks exactly like taking the mean of two changes; the former comes first.
    ``merges`` says whether the pipeline may have merged adapters into the base model's weights.
    """

    def each(slug: str, weights: Callable[[float, float], Weights]) -> Hypothesis:
        return Hypothesis(slug, HINTS[slug], tuple(weights(*cell) for cell in grid))

    def whole(slug: str, at_work: Iterable[Weights]) -> Hypothesis:
        return Hypothesis(slug, HINTS[slug], tuple(at_work))

    return [
        each("lora-never-applied", lambda a, b: (0.0, 0.0)),
        each("weights-swapped", lambda a, b: (b, a)),
        each("weights-ignored", lambda a, b: (float(a != 0), float(b != 0))),
        each("weights-ignored", lambda a, b: (1.0, 1.0) if a or b else (0.0, 0.0)),
        each("weights-ignored", lambda a, b: (1.0, 1.0)),
        # The second of the two files is the subject's; who loads them the other way round is left with the style.
        each("second-adapter-replaced-first", lambda a, b: (0.0, b) if a and b else (a, b)),
        each("second-adapter-replaced-first", lambda a, b: (0.0, 1.0) if a and b else (a, b)),
        each("second-adapter-replaced-first", lambda a, b: (0.0, 1.0) if a or b else (0.0, 0.0)),
        each("second-adapter-replaced-first", lambda a, b: (0.0, 1.0)),
        each("second-adapter-replaced-first", lambda a, b: (0.0, b)),
        each("second-adapter-replaced-first", lambda a, b: (a, 0.0) if a and b else (a, b)),
        each("second-adapter-replaced-first", lambda a, b: (1.0, 0.0) if a and b else (a, b)),
        each("one-adapter-only", lambda a, b: (a, 0.0)),
        each("one-adapter-only", lambda a, b: (1.0, 0.0) if a else (0.0, 0.0)),
        each("alpha-over-rank-missing", lambda a, b: (a / scales[0], b / scales[1])),
        each("deltas-averaged", lambda a, b: (a / 2, b / 2) if a and b else (a, b)),
        each("deltas-averaged", lambda a, b: (a / 2, b / 2)),
        whole("fused-twice", accumulate(grid, lambda sum_, cell: (sum_[0] + cell[0], sum_[1] + cell[1]))),
        each("fused-twice", lambda a, b: (2 * a, 2 * b)),
        whole("fused-twice" if merges else "weights-ignored", _stuck(grid)),
        whole("adapters-left-over", _kept(grid)),
        whole("adapters-left-over", _left(grid)),
        whole("adapters-left-over", _ever(grid)),
    ]


def _stuck(grid: Sequence[Weights]) -> Iterator[Weights]:
    """What came first stays: PEFT merges an adapter that is merged already no second time."""
    first = (0.0, 0.0)
    for cell in grid:
        first = first if any(first) else cell
        yield first


def _kept(grid: Sequence[Weights]) -> Iterator[Weights]:
    """A cell without adapters shows those of the cell before it."""
    last = (0.0, 0.0)
    for cell in grid:
        last = cell if any(cell) else last
        yield last


def _left(grid: Sequence[Weights]) -> Iterator[Weights]:
    """An adapter whose weight should be 0 keeps the weight that it had."""
    style = subject = 0.0
    for a, b in grid:
        style, subject = a or style, b or subject
        yield style, subject


def _ever(grid: Sequence[Weights]) -> Iterator[Weights]:
    """An adapter whose weight should be 0 is there in full once it has been used."""
    seen_style = seen_subject = False
    for a, b in grid:
        seen_style, seen_subject = seen_style or a != 0, seen_subject or b != 0
        yield a or float(seen_style), b or float(seen_subject)


def explain(
    cell: Weights, grid: Sequence[Weights], shows: Callable[[Weights, Weights], bool], known: Sequence[Hypothesis]
) -> Hypothesis | None:
    """The mistake that explains what one cell of a grid shows and, of those, explains most of the other cells as well.

    ``shows(cell, weights)`` says whether a cell's pictures are those of these weights.
    """
    here = grid.index(cell)
    fitting = [h for h in known if not same(h.at_work[here], cell) and shows(cell, h.at_work[here])]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    return max(fitting, key=lambda h: sum(shows(other, h.at_work[i]) for i, other in enumerate(grid)))


@dataclass(frozen=True, order=True)
class Noise:
    """z_T of a picture: what a generator with this seed draws after ``draw`` other pictures have drawn from it."""

    seed: int
    draw: int = 0


@dataclass(frozen=True)
class Start:
    """A way to choose the noise of each prompt's picture, the same for all cells; ``text`` ends a sentence."""

    text: str
    noises: tuple[Noise, ...]
    as_asked: bool = False


def starts(seed: int, prompts: int) -> list[Start]:
    """The noise as asked, and then other noise that at least is the same in every cell."""
    own = [
        Start("the noise of SEED", (Noise(seed),) * prompts, as_asked=True),
        Start("seeds that count on from one prompt to the next", tuple(Noise(seed + i) for i in range(prompts))),
        Start(
            "one generator that all prompts of a cell draw from in turn", tuple(Noise(seed, i) for i in range(prompts))
        ),
    ]
    typed = [Start(f"the noise of the seed {other}", (Noise(other),) * prompts) for other in (0, 42) if other != seed]
    return own + typed


def drifting(seed: int, cell: int, prompt: int, prompts: int) -> set[Noise]:
    """The noise of one picture if a seed or a generator goes on from cell to cell; cells and prompts count from 0."""
    position = cell * prompts + prompt
    return {Noise(seed + cell), Noise(seed + position), Noise(seed, cell), Noise(seed, position)} - {Noise(seed)}
