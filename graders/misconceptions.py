"""The misconceptions that feedback names, each in a sentence that says what has happened."""

from __future__ import annotations

MISCONCEPTIONS = {
    "alpha-not-saved": "the adapter was trained at another strength than its file is loaded with",
    "base-trained": "the base model's own weights were trained or saved, not an adapter beside them",
    "convolution-targeted": "the adapter sits on convolutions, which never see the prompt",
    "every-layer-targeted": "the adapter sits on every kind of layer, as if one place were as good as another",
    "lora-never-applied": "the pictures were painted without the adapter",
    "loss-diverged": "training made the loss larger instead of smaller",
    "loss-not-finite": "training ran into NaN or infinity, and everything after that is lost",
    "memorised": "the adapter knows some training pictures by heart instead of what they have in common",
    "prompt-forgotten": "the adapter overwrote what the base model knew of subjects and colours",
    "same-rank-twice": "both adapters have the same rank, so there is nothing to compare",
    "self-attention-targeted": "the adapter sits on self-attention, which looks at the picture alone; in a language model "
    "that is where the text is, here it is not",
    "table-does-not-match": "the numbers were not computed from what was handed in",
    "too-few-steps": "training was stopped before the adapter could learn the style",
    "trained-on-noise": "the adapter is good at denoising random pixels: its training pictures showed nothing",
    "trained-on-other-data": "the adapter learned something, but from other pictures than those of the style",
    "untrained": "the adapter is as it was made: no training step ever reached it",
}
