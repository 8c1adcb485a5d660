"""Options that say with which models and data, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from graders.lora.profile_file import Named


def model() -> Callable[[Any], Any]:
    """`--model`: with which base model, and everything else as it is."""
    return click.option("--model", metavar="FOLDER|HUB-ID", help="Another base model, of Stable Diffusion's kind.")


def named(profile: Path | None, model: str | None = None) -> Named:
    """The profile that these two options ask for."""
    from dataclasses import replace

    from graders.lora.profile_file import Named, read

    asked = read(profile) if profile else Named()
    return replace(asked, model=model, thresholds=None) if model else asked
