"""A hand-in's grid of pictures, read from whatever was handed in."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn
from graders.lora import catalog
from graders.lora.measures import grid as grids
from graders.lora.measures.arrangements import CROSSED
from graders.lora.measures.composition import Settings, shared
from graders.lora.measures.composition_mistakes import Noise
from graders.lora.measures.grid import Cell, Grid

PICTURE = np.zeros((64, 64, 3), dtype=np.uint8)
ROW = [PICTURE] * 3
PARAMETERS = {
    "MODEL": str(catalog.TINY_SD),
    "ADAPTERS": {name: str(catalog.adapter(name)) for name in ("style", "subject")},
    "DEVICE": "cpu",
    "SEED": 1,
    "PROMPTS": [
        "a sks cat on a blue background",
        "a red boat on a yellow background",
        "a green tree on a red background",
    ],
    "GRID": [(1.0, 0.0), (0.0, 0.0), (0.7, 0.4)],
    "NUM_INFERENCE_STEPS": 2,
    "GUIDANCE_SCALE": 3.0,
}


SMALL = PARAMETERS | {
    "PROMPTS": PARAMETERS["PROMPTS"][:1],
    "GRID": [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.7, 0.4)],
}


def grid(images, merges=0, noise=None, parameters=PARAMETERS, **settings):
    """The grid of a hand-in whose `images` are these, and what the run was seen to do when it generated them."""
    seen = {"paintings": SimpleNamespace(get=lambda digest: (noise, settings))}
    evidence = SimpleNamespace(
        pictures=lambda name: images, count=lambda what: merges, seen=lambda what, read: seen[what]
    )
    return Grid(HandIn(evidence, parameters))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """The pipeline's own number of steps is one of the causes that are looked for, and takes long."""
    monkeypatch.setattr(grids, "DEFAULT_STEPS", 3)


COMPOSED = shared(SMALL)
NOISES = [Noise(1)]
CELLS = [Cell(weights) for weights in SMALL["GRID"]]
small = functools.partial(grid, parameters=SMALL)
SUBJECT_ALONE, BASE, BLEND = Cell((0.0, 1.0)), Cell((0.0, 0.0)), Cell((0.7, 0.4))


def pictures_of(composed=COMPOSED, noises=NOISES):
    """Pictures of a whole grid, put together in some way."""
    return {tuple(cell): composed.pictures(cell, noises) for cell in CELLS}


@pytest.mark.parametrize("key", [(1, 0), (1.0, 0.0), (1 + 1e-9, -1e-9)])
def test_a_cell_is_found_whatever_rounding_did_to_its_weights(key):
    """Integers, floats and floats that arithmetic has touched name the same cell."""
    assert grid({key: ROW}).pictures(Cell((1.0, 0.0))) == ROW


@pytest.mark.parametrize(
    "key", ["(1, 0)", 1, None, (1,), (1, 0, 0), ("1", "0"), ((), 0), (10**400, 0), (float("nan"), 0)]
)
def test_a_key_that_is_no_pair_of_weights_names_no_cell(key):
    """Strange keys are passed over, and the cell is missing; where there are no others, they are what is wrong."""
    with pytest.raises(HandInError, match="no such key"):
        grid({key: ROW, (0, 0): ROW}).pictures(Cell((1.0, 0.0)))
    with pytest.raises(HandInError, match="No key of `images` is a pair of weights in GRID"):
        grid({key: ROW}).pictures(Cell((1.0, 0.0)))


@pytest.mark.parametrize("images", [[], ROW, {(1, 0): {0: ROW}}, {(1, 0): ROW[:2]}, {(1, 0): [PICTURE[:32]] * 3}])
def test_what_is_no_grid_is_said_to_be_none(images):
    """Lists, nested mappings, too few pictures and pictures of another size each end in a sentence."""
    with pytest.raises(HandInError):
        grid(images).pictures(Cell((1.0, 0.0)))


def test_pictures_of_nothing_are_explained_by_nothing():
    """Black pictures are those of no weights, no noise and no settings."""
    black = grid(dict.fromkeys(PARAMETERS["GRID"], ROW))
    assert not black.right(Cell((0.0, 0.0)))
    assert black.explain(Cell((0.0, 0.0))) is None


def test_right_pictures_are_right():
    """The grader's own pictures are right in every cell, also where each is rounded the other way or shaken a little."""
    shaken = np.random.default_rng(0).integers(-2, 3, (64, 64, 3))
    for change in (lambda p: p, lambda p: np.maximum(p, 1) - 1, lambda p: np.clip(p + shaken, 0, 255).astype(np.uint8)):
        handed_in = small({cell: list(map(change, row)) for cell, row in pictures_of().items()})
        assert all(handed_in.right(cell) for cell in CELLS)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_part_that_was_left_in_full_is_not_hidden_by_the_tolerance(monkeypatch, hidden):
    """A part of the U-Net without a weight of its own is found in the blends, however little it changes them."""
    if hidden:
        monkeypatch.setattr(Grid, "tolerance", 60.0)
    for part, careless in COMPOSED.careless.items():
        handed_in = small(pictures_of() | {tuple(BLEND): careless.pictures(BLEND, NOISES)})
        assert (max(handed_in.differences(BLEND)) < handed_in.tolerance) or not hidden
        assert not handed_in.right(BLEND)
        explanation = handed_in.explain(BLEND)
        assert f"in {part}, which are there in full" in explanation.found
        assert explanation.misconception == ("mid-block-missing" if part == "mid_block" else None)


@pytest.mark.parametrize(
    ("shown", "merges", "slug"),
    [
        ((1.0, 0.0), 0, "weights-ignored"),
        ((1.0, 0.0), 5, "fused-twice"),
        ((1.0, 0.0), None, "fused-twice"),
        ((1.0, 1.0), 0, "weights-ignored"),
        ((0.7, 0.4), 0, "weights-ignored"),
        ((0.0, 1.0), 0, "second-adapter-replaced-first"),
    ],
)
def test_the_same_pictures_in_every_cell(shown, merges, slug):
    """Pictures of one cell in all of them are weights that made no difference, or a merge if there was one."""
    handed_in = small(dict.fromkeys(pictures_of(), COMPOSED.pictures(shown, NOISES)), merges)
    for cell in CELLS:
        assert handed_in.right(cell) == (cell == shown)
        if cell != shown:
            assert handed_in.explain(cell).misconception == slug
            assert f"those of weights {Cell(shown)}, and all cells hold the same" in handed_in.explain(cell).found


def test_the_base_in_every_cell_is_an_adapter_that_was_never_applied():
    """Where every cell shows the base model, that is said, and not that the weights were ignored."""
    handed_in = small(dict.fromkeys(pictures_of(), COMPOSED.pictures(BASE, NOISES)))
    assert {handed_in.explain(cell).misconception for cell in CELLS if any(cell)} == {"lora-never-applied"}


def test_noise_of_no_seed():
    """Pictures that were seen to start from noise that no known seed gives have another noise than SEED's."""
    own = [Noise(1000)]
    elsewhere = np.random.default_rng(0).normal(size=128)
    handed_in = small(pictures_of(noises=own), noise=elsewhere)
    assert {handed_in.explain(cell).misconception for cell in CELLS} == {"seed-changed"}
    assert small(pictures_of(noises=own)).explain(BASE) is None
    theirs = COMPOSED.base_model.start(1, 0).flatten()[:128].numpy()
    assert small(pictures_of(noises=own), noise=theirs).explain(BASE) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scheduler": "EulerDiscreteScheduler"}, "with EulerDiscreteScheduler in place of"),
        ({"scheduler": "DPMSolverMultistepScheduler", "scheduler_config": "0"}, "other settings of the scheduler"),
        ({"negative_prompt": True}, "a negative prompt"),
        ({"num_inference_steps": 7}, "num_inference_steps = 7"),
        ({"clip_skip": 1}, "clip_skip = 1"),
        ({"eta": 0.5}, "eta = 0.5"),
        ({"precision": "float16"}, "in float16"),
        ({"guidance_scale": "\x1b" * 900}, "guidance_scale = "),
    ],
)
def test_settings_of_another_kind_are_named(settings, said):
    """Where pictures are wrong, and were seen to be made with other settings than asked for, those are named."""
    other = {tuple(cell): [COMPOSED.picture(cell, 0, Noise(1), Settings(4, 2.0))] for cell in CELLS}
    explanation = small(other, **settings).explain(BASE)
    assert said in explanation.found
    assert "\x1b" not in explanation.found
    assert small(pictures_of(), **settings).right(BASE)  # whatever has no effect is no mistake
    assert small(other, num_inference_steps=2, guidance_scale=3.0).explain(BASE) is None


@pytest.mark.parametrize("number", range(len(CROSSED)))
def test_matrices_that_were_added_up_before_they_were_multiplied(number):
    """(B₁ + B₂)(A₁ + A₂) is named in each of its forms, whatever the ranks of the two."""
    handed_in = small(pictures_of(COMPOSED.arranged(CROSSED[number])))
    assert handed_in.explain(BLEND).misconception == "cross-terms"
