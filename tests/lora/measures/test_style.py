"""Style shift, on the real base model with adapters whose nature is known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graders.lora import catalog
from graders.lora.measures import thresholds
from graders.lora.measures.adaptation import Adaptation
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.style import StyleShift
from tests.command import grade

HELD_OUT, PLAIN = catalog.dataset("watercolor/held-out"), catalog.dataset("plain/held-out")


@pytest.fixture(scope="module")
def bench() -> Adaptation:
    """With a quarter of the prompts that verdicts rest on."""
    return Adaptation(catalog.TINY_SD, catalog.CLIP, HELD_OUT, PLAIN, "cpu", prompts=8)


def shift(bench: Adaptation, name: str) -> StyleShift:
    return bench.shift(read_adapter(catalog.adapter(name), bench.base_model.unet))


def test_the_style_adapter_clears_every_null_adapter(bench: Adaptation) -> None:
    """The lower end of the style adapter's interval lies above the upper end of each null adapter's, by a wide margin."""
    style = shift(bench, "known/style-rank4-1").fraction
    limit = thresholds.load().style_shift
    assert style.low > limit + 0.1
    for name in ("null/untrained", "null/noise", "null/plain", "null/other-style", "style"):
        assert shift(bench, name).fraction.high < limit - 0.1, name


def test_an_untrained_adapter_shifts_nothing(bench: Adaptation) -> None:
    """With B = 0 the pictures are those of the base model, to the bit."""
    adapter = read_adapter(catalog.adapter("null/untrained"), bench.base_model.unet)
    assert np.array_equal(bench.pictures(adapter), bench.base_pictures)
    assert bench.shift(adapter).fraction.mean == 0


def test_command_prints_figures_and_paints(tmp_path: Path) -> None:
    """`grade style-shift` gives figures with their interval and a picture for any base, adapter, judge and data set."""
    done = grade(
        *("style-shift", "--base", catalog.TINY_SD, "--adapter", catalog.adapter("known/style-rank4-1")),
        *("--reference", HELD_OUT, "--plain", PLAIN, "--picture", tmp_path / "shift.png", "--device", "cpu"),
        folder=tmp_path,
    )
    assert done.status == 0, done.printed
    assert "95 % interval" in done.stdout
    assert "of the way to real pictures of the style" in done.stdout
    with Image.open(tmp_path / "shift.png") as picture:
        assert picture.width > 500
