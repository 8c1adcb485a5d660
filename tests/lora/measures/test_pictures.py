"""Pictures in every type that a notebook may hold them in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graders.lora.measures.pictures import PicturesError, as_picture, read_pictures

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(PIXELS),
        Image.fromarray(PIXELS).convert("RGBA"),
        PIXELS,
        PIXELS / 255,
        PIXELS.transpose(2, 0, 1),
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
        (torch.from_numpy(PIXELS) / 255).double().requires_grad_(),
    ],
    ids=["PIL", "RGBA", "uint8", "float", "channels first", "tensor", "CHW tensor", "float tensor", "in the graph"],
)
def test_same_picture(picture: object) -> None:
    """The same picture comes back from every type."""
    assert np.array_equal(np.asarray(as_picture(picture)), PIXELS)


@pytest.mark.parametrize("metadata", [None, "", "{", '{"file_name": "gone.png", "text": "x"}', '{"text": "x"}', "[1]"])
def test_unusable_folder(tmp_path: Path, metadata: str | None) -> None:
    """A folder that is no imagefolder is refused in words."""
    if metadata is not None:
        (tmp_path / "metadata.jsonl").write_text(metadata)
    with pytest.raises(PicturesError):
        read_pictures(tmp_path)
