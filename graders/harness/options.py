"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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


def profile() -> Callable[[Any], Any]:
    """`--profile`: with which models and data."""
    return click.option(
        "--profile",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="A TOML file with other models and data to grade with.",
    )


def python() -> Callable[[Any], Any]:
    """`--python`: in which Python notebooks run."""
    return click.option(
        "--python",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Run notebooks in this Python, such as ENVIRONMENT/bin/python; it needs ipykernel.",
    )


def check_limit() -> Callable[[Any], Any]:
    """`--check-limit`: after how many seconds a check hangs."""
    return click.option(
        "--check-limit",
        type=click.FloatRange(min=0.001),
        metavar="SECONDS",
        help="Give up a check that takes longer, as a fault of the grader; otherwise after 15 minutes.",
    )
