"""Automated grading of LoRA fine-tuning exercises for Stable Diffusion."""

from graders.api import style_similarity

__all__ = ["style_similarity"]
