"""At which strength an adapter is measured."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from graders.lora.measures.adapters import Adapter, LoraLayer
from graders.lora.measures.style_measurements import StyleMeasurements
from graders.lora.profile import STANDARD
from graders.lora.sightings import SeenAdapter, SeenLayer

NAMES = "attn2.to_q", "attn2.to_v"


def adapter(alpha: float | None = None) -> Adapter:
    layers = {name: LoraLayer(name, torch.ones(4, 3), torch.ones(5, 4), alpha) for name in NAMES}
    return Adapter(layers, "diffusers")


def seen(*scales: float) -> SeenAdapter:
    """An adapter that a run has trained with these factors, a layer each."""
    layers = {name: SeenLayer(4, scale, (), ()) for name, scale in zip(NAMES, scales, strict=True)}
    return SeenAdapter(trained=True, layers=layers)


def measurements(*trained: SeenAdapter) -> StyleMeasurements:
    evidence = SimpleNamespace(seen=lambda what, read: list(trained))
    hand_in: Any = SimpleNamespace(profile=STANDARD, evidence=evidence, for_practice=False)
    return StyleMeasurements(hand_in)


@pytest.mark.parametrize("scales", [(2.0, 2.0), (4.0, 1.0)])
def test_an_adapter_that_lost_its_strength_is_measured_as_it_was_trained(scales: tuple[float, float]) -> None:
    """Trained at other strengths than its file is loaded with, an adapter is measured at those, layer by layer, and once."""
    saved, measured = adapter(), measurements(seen(*scales))
    trained = measured.as_trained(saved)
    assert tuple(layer.scale for layer in trained.layers.values()) == scales
    assert measured.as_trained(saved) is trained


@pytest.mark.parametrize(
    ("saved", "trained"),
    [(adapter(), []), (adapter(), [seen(1.0, 1.0)]), (adapter(8.0), [seen(2.0, 2.0)])],
    ids=["nothing known", "the same", "recorded"],
)
def test_any_other_adapter_is_measured_as_it_is(saved: Adapter, trained: list[SeenAdapter]) -> None:
    """Where the file says what it was trained with, or nothing says that it was another, the file is what is measured."""
    assert measurements(*trained).as_trained(saved) is saved
