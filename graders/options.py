"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def isolation(default: str, advice: str) -> Callable[[Any], Any]:
    """`--isolation`: where a notebook's code runs; ``advice`` says when to choose what."""
    return click.option(
        "--isolation",
        type=click.Choice(["bubblewrap", "none"]),
        default=default,
        show_default=True,
        help=f"Where the notebook's code runs; {advice}",
    )


def device() -> Callable[[Any], Any]:
    """`--device`: where notebooks compute."""
    return click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to run.")
