"""What can have gone wrong when two adapters were composed."""

import pytest

from graders.lora.measures.composition_mistakes import Noise, drifting, explain, hypotheses, same, starts

GRID = [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.7, 0.4), (0.8, 1.0), (1.0, 0.5)]
SCALES = (2.0, 3.0)


def name(at_work, cell, merges=True):
    """What is said of a cell whose grid shows the weights ``at_work``, a pair for each cell."""
    shown = dict(zip(GRID, at_work, strict=True))
    mistake = explain(cell, GRID, lambda c, w: same(shown[c], w), hypotheses(GRID, SCALES, merges))
    return mistake.misconception if mistake else None


@pytest.mark.parametrize(
    ("misconception", "weights"),
    [
        ("lora-never-applied", lambda a, b: (0, 0)),
        ("weights-swapped", lambda a, b: (b, a)),
        ("weights-ignored", lambda a, b: (1, 1)),
        ("weights-ignored", lambda a, b: (float(a > 0), float(b > 0))),
        ("second-adapter-replaced-first", lambda a, b: (0, b)),
        ("second-adapter-replaced-first", lambda a, b: (a, 0) if a and b else (a, b)),
        ("one-adapter-only", lambda a, b: (a, 0)),
        ("alpha-over-rank-missing", lambda a, b: (a / 2, b / 3)),
        ("deltas-averaged", lambda a, b: (a / 2, b / 2)),
        ("fused-twice", lambda a, b: (2 * a, 2 * b)),
        (None, lambda a, b: (a + 0.123, b)),
    ],
)
def test_each_mistake_is_told_from_the_others(misconception, weights):
    """A grid that one mistake explains as a whole is given that mistake's name."""
    at_work = [weights(*cell) for cell in GRID]
    assert name(at_work, (0.7, 0.4)) == misconception


def test_what_is_merged_and_never_taken_out_adds_up():
    """Each cell shows its own weights and those of every cell before it."""
    sums = [(1, 0), (1, 1), (1, 1), (2, 2), (2.7, 2.4), (3.5, 3.4), (4.5, 3.9)]
    assert name(sums, (0.0, 0.0)) == "fused-twice"


def test_merging_again_what_is_merged_changes_nothing():
    """Every cell shows what was merged for the first one."""
    assert name([(1, 0)] * len(GRID), (0.7, 0.4)) == "fused-twice"


def test_without_a_merge_the_first_weights_were_kept():
    """Where nothing was merged, every cell shows the first one's weights because the others were ignored."""
    assert name([(1, 0)] * len(GRID), (0.7, 0.4), merges=False) == "weights-ignored"


def test_a_base_after_adapters_shows_the_last_cell():
    """Only the cell without adapters shows those of the cell before it."""
    assert name([(1, 0), (0, 1), (0, 1), *GRID[3:]], (0.0, 0.0)) == "adapters-left-over"


def test_one_wrong_cell_among_right_ones_gets_the_mistake_that_leaves_those_alone():
    """A subject that shows the style as well was generated after it; had the weights been ignored, all cells would say so."""
    assert name([(1, 0), (1, 1), *GRID[2:]], (0.0, 1.0)) == "adapters-left-over"


def test_a_right_cell_has_no_mistake():
    """No hypothesis that leaves a cell as it should be explains it."""
    assert name(GRID, (1.0, 1.0)) is None


def test_the_noise_as_asked_comes_first_and_is_the_only_one():
    """Each prompt has the first draw of SEED's generator."""
    asked, *others = starts(7, 3)
    assert asked.as_asked
    assert asked.noises == (Noise(7), Noise(7), Noise(7))
    assert not any(start.as_asked or start.noises == asked.noises for start in others)


def test_noise_that_goes_on_is_never_the_noise_as_asked():
    """The first picture of the first cell is the same in every order, so that nothing is told from it."""
    assert drifting(7, 0, 0, 3) == set()
    assert drifting(7, 2, 1, 3) == {Noise(9), Noise(14), Noise(7, 2), Noise(7, 7)}
