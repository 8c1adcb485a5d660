"""Automated grading of LoRA fine-tuning exercises for Stable Diffusion."""

import os
import sys
from typing import Any

from graders.lora.api import style_similarity

__all__ = ["load_ipython_extension", "style_similarity", "unload_ipython_extension"]


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
