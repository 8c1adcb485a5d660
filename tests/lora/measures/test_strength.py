"""The strength of an adapter in a grid of pictures."""

from graders.lora.measures.strength import Strength


def test_only_pairs_that_differ_in_one_weight_are_compared():
    """A rise is measured between cells that have the other adapter at the same weight."""
    cells = dict.fromkeys([(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.7, 0.4), (0.8, 1.0)], 0.0)
    assert Strength(0, cells, 1.0).rises() == [((0.0, 0.0), (1.0, 0.0)), ((0.0, 1.0), (1.0, 1.0))]
    assert Strength(1, cells, 1.0).rises() == [((0.0, 0.0), (0.0, 1.0)), ((1.0, 0.0), (1.0, 1.0))]


def test_the_blend_curve_reads_from_weak_to_strong():
    """The curve names the other adapter's weight and goes up with its own."""
    curve = Strength(0, {(1.0, 1.0): 0.9, (0.0, 1.0): 0.1, (0.8, 1.0): 0.5}, 1.0)
    assert str(curve) == "with the subject at 1: 10% at 0, 50% at 0.8, 90% at 1"
