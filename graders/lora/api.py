"""What a notebook may import: measurements that are no part of what an exercise asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def style_similarity(pictures: Sequence[Any], reference: str | Path, judge: str | Path, device: str = "auto") -> float:
    """Mean cosine similarity, in the eyes of a CLIP model, of pictures to those in a folder.

    ``pictures`` are PIL images, or arrays or tensors of uint8 or of floats in [0, 1]; ``reference`` is an imagefolder with a
    ``metadata.jsonl``; ``judge`` is the folder or Hub id of a `CLIPModel` with its processor.
    """
    # Imported when called: `import graders` must stay fast, and not every exercise needs a CLIP model.
    from graders.lora.measures.clip import Clip
    from graders.lora.measures.pictures import read_pictures
    from graders.lora.measures.style import mean_similarity

    eyes = Clip(judge, device)
    return mean_similarity(eyes.see(pictures), eyes.see(read_pictures(reference).images))
