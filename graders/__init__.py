"""Automated grading of a lesson's exercises: first of all of those on LoRA fine-tuning of Stable Diffusion."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graders.lora.api import style_similarity

__all__ = ["load_ipython_extension", "style_similarity", "unload_ipython_extension"]


def __getattr__(name: str) -> Any:
    """What notebooks of the lesson import, where it is."""
    if name == "style_similarity":
        from graders.lora import api

        return api.style_similarity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext graders`: adds the magic `%grade` to a notebook; in one that is being graded, it does nothing."""
    from graders.harness.run import MARK

    if os.environ.get(MARK):  # where there is no more of this package than notebooks may use
        shell.magics_manager.register_function(lambda line: None, magic_name="grade")
        return
    from graders.harness.live.magic import load  # `import graders` must stay fast

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext graders`."""
    if magic := sys.modules.get("graders.harness.live.magic"):
        magic.unload(shell)
