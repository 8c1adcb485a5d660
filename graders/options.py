"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from graders.profile_file import Named


def isolation(default: str, advice: str) -> Callable[[Any], Any]:
    """`--isolation`: where a notebook's code runs; ``advice`` says when to choose what."""
    return click.option(
        "--isolation",
        type=click.Choice(["bubblewrap", "none"]),
        default=default,
        show_default=True,
        help=f"Where the notebook's code runs; {advice}",
    )


def check_limit() -> Callable[[Any], Any]:
    """`--check-limit`: after how many seconds a check hangs."""
    return click.option(
        "--check-limit",
        type=click.FloatRange(min=0.001),
        metavar="SECONDS",
        help="Give up a check that takes longer, as a fault of the grader; otherwise after 15 minutes.",
    )


def device() -> Callable[[Any], Any]:
    """`--device`: where notebooks compute."""
    return click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to run.")


def profile() -> Callable[[Any], Any]:
    """`--profile`: with which models and data."""
    return click.option(
        "--profile",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="A TOML file with other models and data to grade with.",
    )


def model() -> Callable[[Any], Any]:
    """`--model`: with which base model, and everything else as it is."""
    return click.option("--model", metavar="FOLDER|HUB-ID", help="Another base model, of Stable Diffusion's kind.")


def named(profile: Path | None, model: str | None = None) -> Named:
    """The profile that these two options ask for."""
    from dataclasses import replace

    from graders.profile_file import Named, read

    asked = read(profile) if profile else Named()
    return replace(asked, model=model, thresholds=None) if model else asked
