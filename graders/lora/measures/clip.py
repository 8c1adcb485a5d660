"""A CLIP model, which embeds pictures and captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from graders.lora.measures.pictures import as_picture

BATCH = 64
MAX_SIDE = 1024
"""Of a picture whose sides are both longer the shorter one is made so long before CLIP's processor sees it, which takes 12
bytes for each pixel and colour, and makes 224 pixels of it in the end."""
PIXELS = 1 << 24
"""Pixels that are processed at once: 64 pictures of 512 × 512."""


def pick_device(wanted: str = "auto") -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def _batches(pictures: Sequence[Any] | np.ndarray) -> Iterator[list[Image.Image]]:
    """The pictures as PIL has them, of bounded size, at most :data:`BATCH` and :data:`PIXELS` at a time."""
    batch: list[Image.Image] = []
    pixels = 0
    for picture in pictures:
        image = _bounded(as_picture(picture))
        pixels += image.width * image.height
        if batch and (len(batch) == BATCH or pixels > PIXELS):
            yield batch
            batch, pixels = [], image.width * image.height
        batch.append(image)
    if batch:
        yield batch


def _bounded(image: Image.Image) -> Image.Image:
    shorter = min(image.size)
    if shorter <= MAX_SIDE:
        return image
    width, height = (round(side * MAX_SIDE / shorter) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


class Clip:
    """Unit-length embeddings of pictures and texts; their dot products are cosine similarities.

    ``model`` is a folder with a `CLIPModel` and its processor, or a Hub id.
    """

    def __init__(self, model: str | Path, device: str = "auto") -> None:
        self.device = pick_device(device)
        from transformers import CLIPModel, CLIPProcessor  # see graders.lora.libraries

        self.model = CLIPModel.from_pretrained(str(model), dtype=torch.float32).to(self.device).eval()
        self.processor = CLIPProcessor.from_pretrained(str(model))

    @torch.no_grad()
    def see(self, pictures: Sequence[Any] | np.ndarray) -> Tensor:
        """Embeddings of pictures (PIL, numpy or torch): float32 [n, d] on the CPU."""
        embeddings = []
        for images in _batches(pictures):
            inputs = self.processor(images=images, return_tensors="pt").to(self.device)
            embeddings.append(self.model.get_image_features(**inputs).pooler_output)
        return F.normalize(torch.cat(embeddings), dim=-1).cpu()

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts: float32 [n, d] on the CPU."""
        inputs = self.processor(text=list(texts), padding=True, truncation=True, return_tensors="pt").to(self.device)
        return F.normalize(self.model.get_text_features(**inputs).pooler_output, dim=-1).cpu()

    def recognise(self, pictures: Tensor, choices: dict[str, list[str]]) -> list[str]:
        """For each picture embedding, the choice whose texts, averaged, come nearest."""
        names = list(choices)
        texts = self.read([text for name in names for text in choices[name]])
        classes = torch.stack([part.mean(0) for part in texts.split([len(choices[name]) for name in names])])
        nearest = (pictures @ F.normalize(classes, dim=-1).T).argmax(dim=-1)
        return [names[i] for i in nearest.tolist()]
