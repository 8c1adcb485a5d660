"""What an adapter does to the noise that a model predicts."""

import pytest

from graders.lora import catalog
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.denoising import BINS, DenoisingProbe
from graders.lora.measures.generation import BaseModel
from graders.lora.measures.pictures import Pictures, read_pictures


@pytest.fixture(scope="module")
def probe() -> DenoisingProbe:
    """A few of the held-out pictures."""
    pictures = read_pictures(catalog.dataset("watercolor/held-out"))
    base_model = BaseModel(catalog.TINY_SD, "cpu")
    return DenoisingProbe(lambda: base_model, Pictures(pictures.images[:16], pictures.rows[:16]))


def test_a_style_acts_where_details_are_made(probe: DenoisingProbe) -> None:
    """A style adapter moves the prediction several times farther where little noise is left than where all is noise."""
    adapter = read_adapter(catalog.ROOT / "adapters" / "known" / "style-rank4-1", probe._base_model().unet)
    profile = probe.profile(adapter)
    assert profile.timestep == (62.5, 187.5, 312.5, 437.5, 562.5, 687.5, 812.5, 937.5)
    assert len(profile.difference) == BINS
    assert profile.difference[0] > 3 * profile.difference[-1] > 0.1


def test_an_untrained_adapter_acts_nowhere(probe: DenoisingProbe) -> None:
    """Where B is 0 the prediction is the base model's at every timestep, and so is the error."""
    adapter = read_adapter(catalog.ROOT / "adapters" / "null" / "untrained", probe._base_model().unet)
    assert probe.profile(adapter).difference == (0.0,) * BINS
    assert (probe.losses(adapter) == probe.base).all()
