"""The judge: a CLIP model that looks at pictures and reads captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPProcessor

from graders.checks.pictures import as_picture

BATCH = 64


def pick_device(wanted: str = "auto") -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


class Judge:
    """Unit-length embeddings of pictures and texts; their dot products are cosine similarities.

    ``model`` is a folder with a `CLIPModel` and its processor, or a Hub id.
    """

    def __init__(self, model: str | Path, device: str = "auto") -> None:
        self.device = pick_device(device)
        self.model = CLIPModel.from_pretrained(str(model), dtype=torch.float32).to(self.device).eval()
        self.processor = CLIPProcessor.from_pretrained(str(model))

    @torch.no_grad()
    def see(self, pictures: Sequence[Any] | np.ndarray) -> Tensor:
        """Embeddings of pictures (PIL, numpy or torch): float32 [n, d] on the CPU."""
        images = [as_picture(picture) for picture in pictures]
        embeddings = []
        for first in range(0, len(images), BATCH):
            inputs = self.processor(images=images[first : first + BATCH], return_tensors="pt").to(self.device)
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
