"""Exercise 4, compose two LoRAs: what is decided, and for how many points."""

from __future__ import annotations

import pytest

from graders.harness.data.values import shown
from graders.harness.hand_in import Again, HandIn
from graders.harness.lesson import Exercise
from graders.harness.rubric import NotReached, Verdict, fail
from graders.lora import compositions
from graders.lora.measures import combined_weight, strength
from graders.lora.measures.grid import TAKE_OUT, Cell, Grid
from graders.lora.measures.precision import name_of, relative_error
from graders.lora.measures.review import await_person
from graders.lora.measures.substance import refuse_empty

EXERCISE = Exercise(
    name="ex4",
    title="Compose two LoRAs",
    hand_in={"images": "pictures", "combined_weight": "tensor"},
    parameters=compositions.GIVEN,
    carried=compositions.CARRIED,
    shapes=compositions.SHAPES,
    others=compositions.OTHERS,
    checked_again=("grid_complete", "base", "alone", "blends", "same_noise", "combined_weight"),
)
BLEND = (0.7, 0.4)
"""The weights of style and subject that `combined_weight` is for."""


@pytest.fixture(scope="session")
def grid(hand_in: HandIn) -> Grid:
    """The hand-in's pictures, and those that the grader generates for the same cells."""
    return Grid(hand_in)


@pytest.mark.points(1)
def test_grid_complete(grid: Grid, verdict: Verdict) -> None:
    """`images` has one picture per prompt for every pair of weights in GRID

    A grid shows how two adapters share a picture: along each side one of them fades in, and the corners say what each
    does alone. A missing corner leaves nothing to compare the rest with.
    """
    grid.images  # noqa: B018 - what holds no cell at all fails as a whole
    for cell, part in verdict.each("cell", grid.cells):
        with part:
            refuse_empty(grid.pictures(cell), f"images[{cell}]")
    verdict.found(f"{len(grid.cells)} cells with {len(grid.composition.prompts)} pictures each")


def judge_cells(grid: Grid, cells: list[Cell], verdict: Verdict, expected: str, hint: str) -> None:
    """Each cell's pictures must be those that the grader generates with the adapters merged at the cell's weights."""
    if not cells:
        verdict.found("GRID has no such cell")
    for cell, part in verdict.each("cell", cells):
        with part:
            difference = max(grid.differences(cell))
            verdict.found(f"cell {cell}: {difference:.2f} levels of 255 from the grader's pictures")
            if not grid.right(cell):
                explanation = grid.explain(cell)
                off = f"up to {difference:.1f} levels of 255 off"
                fail(
                    f"These pictures are {explanation.found if explanation else off}.",
                    expected=f"{expected} (up to {grid.tolerance:.1f} levels may be rounding)",
                    hint=explanation.hint if explanation else hint,
                    misconception=explanation.misconception if explanation else None,
                )


GENERATE_BY_HAND = (
    "Generate one of these pictures in a fresh pipeline and compare. The prompt, the number of steps, the guidance scale and the "
    "generator on the CPU have to be those of the parameters; the scheduler and the precision, the model's own; and no negative "
    "prompt, eta or clip_skip may be added."
)


@pytest.mark.points(2)
@pytest.mark.needs("grid_complete")
def test_base(grid: Grid, verdict: Verdict) -> None:
    """With both weights 0 the pictures are the base model's

    A detour with nothing on it changes nothing: adapters leave the base weights as they are. Whatever else is different
    here is different in every other picture, too, be it an adapter that is still in the model or another setting.
    """
    judge_cells(
        grid, grid.base, verdict, "the pictures that the base model generates without adapters", GENERATE_BY_HAND
    )


@pytest.mark.points(4)
@pytest.mark.needs("grid_complete")
def test_alone(grid: Grid, verdict: Verdict) -> None:
    """With one weight 0 the pictures are those of the other adapter alone

    Before two adapters are mixed you have to know what each of them does: what is seen in a blend and in neither
    corner is interference.
    """
    judge_cells(
        grid, grid.alone, verdict, "the pictures that this adapter generates without the other", GENERATE_BY_HAND
    )


@pytest.mark.points(5)
@pytest.mark.needs("grid_complete")
def test_blends(grid: Grid, verdict: Verdict) -> None:
    """With two weights the pictures are those of both adapters, each at its own

    Adapters share a layer like two detours around one highway: what arrives is the sum of all three. The grader merges
    both detours into the highway, your pipeline may keep them apart: as it is the same sum, the pictures must agree but
    for rounding.
    """
    judge_cells(grid, grid.blends, verdict, "the pictures of both adapters, each at its weight", GENERATE_BY_HAND)


@pytest.mark.points(2)
@pytest.mark.needs("grid_complete")
def test_same_noise(hand_in: HandIn, grid: Grid, verdict: Verdict) -> None:
    """Every picture starts from the noise that SEED gives

    From the same z_T the only difference between two pictures is what the adapters do. From another, the subject may
    move, grow or change colour all by itself.
    """
    expected = "each picture generated by itself, from a generator with the seed SEED on the CPU"
    if because := hand_in.because("SEED"):
        fail(because, expected=expected, hint=TAKE_OUT)
    told = {cell: grid.explain(cell) for cell in grid.complete if not grid.right(cell)}
    drifting = [
        cell for cell, explanation in told.items() if explanation and explanation.misconception == "seed-changed"
    ]
    hint = "Where is the generator made, and who draws from it before this picture does? Each picture needs one of its own."
    if drifting:
        fail(
            f"The pictures of {len(drifting)} cells, for example {drifting[0]}, start from other noise than SEED gives.",
            expected=expected,
            hint=hint,
            misconception="seed-changed",
        )
    if not grid.start.as_asked:
        fail(
            f"The pictures start from {grid.start.text}. That is the same for all cells, so the other checks compare "
            "them from there.",
            expected=expected,
            hint=hint,
            misconception="seed-changed",
        )
    unknown = [cell for cell, explanation in told.items() if explanation is None]
    if len(unknown) == len(grid.complete):
        raise NotReached("base")
    verdict.found(f"{len(grid.complete) - len(unknown)} of {len(grid.complete)} cells start from the noise of SEED")


@pytest.mark.points(2)
@pytest.mark.needs("grid_complete")
def test_strength(grid: Grid, verdict: Verdict) -> None:
    """The style grows with its weight, and the subject with its own, as CLIP sees it

    The grader asks a CLIP model how near your pictures come to the style and to the subject: 0 % is the base model, 100 %
    the adapter alone in full. That one adapter weakens the other is no fault of yours: both write to the same
    projections, and where they want different things neither gets all of it.
    """
    scales = grid.scales
    for axis, name in enumerate(strength.NAMES):
        for _, part in verdict.each("adapter", [name]):
            with part:
                true, found = (
                    grid.strength(axis, scales, generated_by_grader) for generated_by_grader in (True, False)
                )
                verdict.found(f"{name} {found}")
                if (1.0, 1.0) in found.cells:
                    verdict.found(f"{name} beside the other in full: {found.cells[1.0, 1.0]:z.0%} of what it is alone")
                noticeable = grid.noticeable
                for low, high in true.rises():
                    due, seen = (s.cells[high] - s.cells[low] for s in (true, found))
                    if due > 0 and not seen > noticeable * due:
                        fail(
                            f"From {Cell(low)} to {Cell(high)} the {name} changes by {seen:+z.0%}.",
                            expected=f"pictures in which the {name} grows with its weight",
                            hint="Put the pictures of these two cells side by side. What should the difference be?",
                        )


@pytest.mark.points(3)
def test_combined_weight(hand_in: HandIn, grid: Grid, verdict: Verdict) -> None:
    """`combined_weight` is the weight that LAYER has with the style at 0.7 and the subject at 0.4

    An adapter is nothing but a change of weights, stored in a small form. Who can write down the one matrix that stands
    for base and both adapters has understood why merging costs nothing, and why adapters can be added.
    """
    found, device = hand_in.evidence.tensor("combined_weight"), hand_in.evidence.run.device
    name = hand_in.parameters["LAYER"]
    if "LAYER" in hand_in.own and name not in grid.composition.layers:
        fail(
            f"Your notebook sets LAYER to {shown(name)}, which is no layer that both adapters change.",
            expected="the weight of the layer that LAYER names",
            hint=TAKE_OUT,
        )
    layer = grid.composition.layer(name)
    true = combined_weight.combined(*layer, BLEND)
    dtypes = name_of(found), name_of(layer[0])
    if combined_weight.agrees(found, true, dtypes, device):
        verdict.found(f"the right matrix of {true.shape[0]} × {true.shape[1]} numbers")
        return
    expected = "the matrix, in the layer's own shape, that base and adapters together multiply with"
    if because := hand_in.because("MODEL", "ADAPTERS", "LAYER"):
        fail(because, expected=expected, hint=TAKE_OUT)
    for misconception, what, wrong in combined_weight.wrong_forms(*layer, BLEND, grid.cells):
        if combined_weight.agrees(found, wrong, dtypes, device):
            fail(
                f"It is {what}.",
                expected=expected,
                hint="Write down how the layer's output comes about with both adapters active, and take x out of the sum. "
                "Which factors stand before each product of B and A?",
                misconception=misconception,
            )
    if found.shape != true.shape:
        fail(
            f"Its shape is {list(found.shape)}; the weight of {name} is {list(true.shape)}.",
            expected=expected,
            hint="Look at the shapes of W, A and B: in which order can B and A be multiplied at all?",
        )
    if not found.isfinite().all():
        fail(
            "It holds numbers that are not finite.",
            expected=expected,
            hint="Print the matrices that go into the sum one by one. Which is the first that is not finite?",
        )
    factors, mixed = combined_weight.mixture(found, *layer)
    if combined_weight.agrees(found, mixed, dtypes, device):
        base, style, subject = (f"{round(factor, 3) + 0.0:g}" for factor in factors)  # + 0.0: no minus before a zero
        fail(
            f"It is {base} × the base model's weight + {style} × the whole change of the style adapter + {subject} × that of the "
            "subject adapter.",
            expected=expected,
            hint="How often does each of the three go into the sum? If you read the changes from a pipeline: which weights were "
            "set at that moment?",
        )
    if combined_weight.agrees(found, combined_weight.with_cross_terms(found, *layer), dtypes, device):
        fail(
            "It holds products of one adapter's B with the other adapter's A.",
            expected=expected,
            hint="Write out (B₁ + B₂)(A₁ + A₂). Which of its products does the layer compute when both adapters are active?",
            misconception="cross-terms",
        )
    error = relative_error(found, true)
    fail(
        f"It differs from the expected matrix by {error:.1%} of its norm.",
        expected=expected,
        hint="Is it the layer that LAYER names, in the base model as MODEL has it? If you read it from a pipeline: which "
        "weights were set, and what was merged, at that moment?",
    )


@pytest.mark.points(1)
def test_other_input(again: Again, verdict: Verdict) -> None:
    """The notebook gives the right answers for other prompts, weights and another layer, too

    A notebook that computes its answers from the parameters works for any of them. Yours is run a second time.
    """
    # That there is a picture in every cell can hold for pictures of anything
    answers = ("base", "alone", "blends", "combined_weight")
    if not any(verdict.outcomes[name].any_holds() for name in answers):
        raise NotReached("blends" if verdict.outcomes["grid_complete"].any_holds() else "grid_complete")
    again.compare(verdict)


@pytest.mark.points(0)
def test_written_answers(hand_in: HandIn, verdict: Verdict) -> None:
    """The written answers

    Your instructor reads them; no program does.
    """
    await_person(hand_in, verdict)
