"""For which values of its own a notebook of exercise 4 is judged."""

from typing import Any

import pytest

from graders.lora.compositions import CARRIED, GIVEN, OTHERS, PICTURES, SHAPES

CORNERS = [(0, 0), (1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize("values", [GIVEN, *OTHERS])
def test_what_the_exercise_itself_asks_for(values: dict[str, Any]) -> None:
    """Whatever the exercise gives its parameters, a notebook might give them, too."""
    assert [name for name, judged in CARRIED.items() if name in values and values[name] not in judged] == []


@pytest.mark.parametrize(
    ("grid", "judged"),
    [
        ([*CORNERS, (0.5, 0.5)], True),
        ([[1.5, 0], [0, 0.3], [0, 0], [1, 1], [0.7, 0.4]], True),
        (CORNERS, False),  # whether weights do anything cannot be seen in one blend
        ([*CORNERS[1:], (0.5, 0.5)], False),
        ([*CORNERS, (0.01, 0.5)], False),
        ([*CORNERS, (-1, 0.5)], False),
        ([*CORNERS, (0.5, float("nan"))], False),
        ([*CORNERS, ("0.5", 1)], False),
        ([*CORNERS, ([1], 1)], False),
        ([*CORNERS, 0.5], False),
        ([*CORNERS, (1, 1), (1, 1)], False),
        ([(x / 10, y / 10) for x in range(3, 10) for y in range(3, 10)], False),
        ("a grid", False),
    ],
)
def test_grids(grid: object, judged: bool) -> None:
    """A grid of one's own is judged if every kind of cell is there, with weights that can be seen, and not too many."""
    assert (grid in CARRIED["GRID"]) is judged


@pytest.mark.parametrize(
    ("prompts", "judged"),
    [(["a cat"], True), (("a", "b"), True), ([], False), ([""], False), ([1], False), (["a"] * 7, False), ("a", False)],
)
def test_prompts(prompts: object, judged: bool) -> None:
    """Prompts of one's own are judged, of any words, unless there are too many."""
    assert (prompts in CARRIED["PROMPTS"]) is judged


def test_every_parameter_shapes_something() -> None:
    """It is known of each parameter but the device what it decides."""
    assert {*SHAPES} == GIVEN.keys() - {"DEVICE"} == {*PICTURES, "GRID", "LAYER"}
