"""A hand-in's grid of pictures, read from whatever was handed in."""

from types import SimpleNamespace

import numpy as np
import pytest

from graders.harness.errors import HandInError
from graders.harness.lesson import HandIn
from graders.lora import catalog
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


def grid(images):
    """The grid of a hand-in whose `images` are these."""
    evidence = SimpleNamespace(pictures=lambda name: images)
    return Grid(HandIn(evidence, PARAMETERS))


@pytest.mark.parametrize("key", [(1, 0), (1.0, 0.0), (1 + 1e-9, -1e-9)])
def test_a_cell_is_found_whatever_rounding_did_to_its_weights(key):
    """Integers, floats and floats that arithmetic has touched name the same cell."""
    assert grid({key: ROW}).pictures(Cell((1.0, 0.0))) == ROW


@pytest.mark.parametrize(
    "key", ["(1, 0)", 1, None, (1,), (1, 0, 0), ("1", "0"), ((), 0), (10**400, 0), (float("nan"), 0)]
)
def test_a_key_that_is_no_pair_of_weights_names_no_cell(key):
    """Strange keys are passed over, and the cell is missing; where there are no others, they are what is wrong."""
    with pytest.raises(HandInError, match="is missing"):
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
