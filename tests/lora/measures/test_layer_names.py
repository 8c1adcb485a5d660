"""Lists of layer names, compared with a U-Net's cross-attention projections."""

import functools

import pytest

from graders.harness.data.values import Opaque
from graders.harness.rubric import CheckFailed
from graders.lora import catalog
from graders.lora.fixtures import configs
from graders.lora.measures.architecture import MID_BLOCK, Architecture, projection_of
from graders.lora.measures.layer_names import LayerNames, read_names

ARCHITECTURES = sorted(configs.CONFIGS)


@functools.cache
def architecture(name: str = "stable-diffusion-v1-5") -> Architecture:
    return Architecture(str(catalog.ROOT / "configs" / name))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_true_names_are_right(name: str) -> None:
    """Each published architecture's own projections are a right list, in any order."""
    names = LayerNames(architecture(name).cross_attention[::-1], architecture(name))
    assert names.right
    assert not any(names.parts().values())
    assert names.misconception is None


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("stable-diffusion-v1-5", ["64×64 blocks", "32×32 blocks", "16×16 blocks", MID_BLOCK]),
        ("stable-diffusion-2-1", ["96×96 blocks", "48×48 blocks", "24×24 blocks", MID_BLOCK]),
        ("stable-diffusion-xl-base-1.0", ["64×64 blocks", "32×32 blocks", MID_BLOCK]),
        ("stable-diffusion-xl-refiner-1.0", ["64×64 blocks", "32×32 blocks", MID_BLOCK]),
    ],
)
def test_places(name: str, places: list[str]) -> None:
    """Cross-attention stands at these resolutions of the latent, and every projection has a place."""
    assert architecture(name).places == places
    assert all(architecture(name).place_of(layer) in places for layer in architecture(name).cross_attention)


ALL = -1


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    ("condition", "lost", "slug"),
    [
        ("n in asked and 'to_out' not in n", 1, "output-projection-missing"),
        ("n.endswith(('attn2.to_q', 'attn2.to_v'))", 2, "query-value-only"),
        ("n in asked and 'mid_block' not in n", 1, "mid-block-missing"),
        ("n in asked and place(n) not in (places[0], places[-1])", 2, "lesson-resolutions-only"),
        ("n in asked or '.attn1.' in n", ALL, "self-attention-targeted"),
        ("'.attn1.' in n", ALL, "self-attention-targeted"),
        ("n in asked or '.conv' in n", ALL, "convolution-targeted"),
        ("'.ff.net.' in n", ALL, "feed-forward-targeted"),
        ("True", ALL, "every-layer-targeted"),
        ("'attn2' in n", 1, "module-list-named"),
        ("n.endswith('attn2')", ALL, "module-list-named"),
        ("n in asked and 'down' in n", ALL, None),
        ("n in asked and n != asked[-1]", 1, None),
        ("False", ALL, None),
    ],
)
def test_wrong_lists(name: str, condition: str, lost: int, slug: str | None) -> None:
    """A list that is wrong in one way has that misconception and loses those parts, whatever the architecture."""
    its = architecture(name)
    scope = {"asked": its.cross_attention, "places": its.places, "place": its.place_of}
    names = LayerNames([n for n in its.modules if eval(condition, {**scope, "n": n})], its)
    parts = names.parts()
    assert names.misconception == slug
    assert sum(bool(part) for part in parts.values()) == (len(parts) if lost == ALL else lost)


def test_names_of_parameters() -> None:
    """The names of the projections' weights are told from those of layers."""
    names = LayerNames([n for n in architecture().parameter_names if ".attn2." in n], architecture())
    assert names.misconception == "parameters-not-modules"


def test_a_name_twice_is_not_right() -> None:
    """Whoever loops over a list with a layer twice, counts it twice."""
    names = LayerNames([*architecture().cross_attention, architecture().cross_attention[0]], architecture())
    assert not names.right
    assert sum(bool(part) for part in names.parts().values()) == 1


def test_a_summary_is_short() -> None:
    """However many kinds of names are on a list, its summary names a few of them and counts the rest."""
    summary = LayerNames(list(architecture().modules), architecture()).summary()
    assert "more are of other kinds" in summary
    assert len(summary) < 500


@pytest.mark.parametrize(
    "name", ["", "mid_block", "down_blocks.9.attn2", "up_blocks.99999999", "x" * 10_000, "attn2.to_q\n"]
)
def test_any_text_can_be_judged(name: str) -> None:
    """Names that no U-Net has are described, not stumbled over, and in one line."""
    names = LayerNames([name], architecture())
    assert not names.right
    assert "\n" not in names.summary()
    assert len(names.summary()) < 500
    assert names.hint


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "a.to_q",
        [Opaque("torch.nn.Linear")],
        [("a", Opaque("torch.nn.Linear"))],
        {4: "a"},
        [["a"]],
        [float("nan")],
    ],
)
def test_what_is_no_list_of_names(value: object) -> None:
    """Anything but texts is failed in words."""
    with pytest.raises(CheckFailed):
        read_names(value)


@pytest.mark.parametrize(
    "value", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}, ["base_model.model.a", "base_model.model.b"]]
)
def test_lists_of_names(value: object) -> None:
    """Any collection of names will do, also with what get_peft_model puts before each."""
    assert read_names(value) == ["a", "b"]
    assert sorted(read_names(frozenset({"a", "b"}))) == ["a", "b"]


def test_projections_are_read_off_names() -> None:
    """The part of the name that says to_q decides, in either attention and in whatever lies inside."""
    names = ["attn2.to_q", "attn1.to_k", "attn2.to_v.weight", "attn2.to_out.1", "attn2", "conv_in"]
    assert [projection_of(name) for name in names] == ["W_Q", "W_K", "W_V", "W_out", None, None]
