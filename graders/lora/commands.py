"""The `grade` commands that this lesson brings: `style-shift`, and `fixtures …`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from graders.harness import options as shared
from graders.lora import options


@click.command("style-shift")
@click.option("--base", required=True, help="Folder or Hub id of a StableDiffusionPipeline.")
@click.option(
    "--adapter",
    "adapters",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="LoRA adapter, a file or a folder (may be repeated).",
)
@click.option("--reference", required=True, type=click.Path(path_type=Path), help="Imagefolder of the style.")
@click.option("--plain", type=click.Path(path_type=Path), help="Plain pictures of the same captions, if there are any.")
@click.option("--judge", help="Folder or Hub id of a CLIP model; without it, the one that comes with the graders.")
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Write base beside adapters here (PNG)."
)
@click.option("--device", default="auto", show_default=True)
def style_shift(
    base: str,
    adapters: tuple[Path, ...],
    reference: Path,
    plain: Path | None,
    judge: str | None,
    picture: Path | None,
    device: str,
) -> None:
    """Measure how far an adapter moves the pictures of BASE towards the style of REFERENCE.

    The captions of REFERENCE are generated with and without the adapter from the same noise. 0 % is the base model,
    100 % a real picture of the style.
    """
    console = Console()
    with console.status("Loading…"):
        from graders.lora import catalog
        from graders.lora.measures.adaptation import Adaptation
        from graders.lora.measures.adapter_files import read_adapter
        from graders.lora.measures.comparison import sheet

        bench = Adaptation(base, judge or catalog.CLIP, reference, plain, device)
        loaded = {path: read_adapter(path, bench.base_model.unet) for path in adapters}
    rows: list[tuple[str, Any]] = []
    for path, adapter in loaded.items():
        with console.status(f"Generating with {escape(str(path))}…"):
            shift = bench.shift(adapter)
        if not rows:
            rows.append(("base", bench.base_pictures))
            console.print(f"base model: {shift.base_score:+.3f}; real pictures of the style: {shift.real_score:+.3f}")
        rows.append((path.name, bench.pictures(adapter)))
        console.print(f"[bold]{escape(str(path))}[/]", highlight=False)
        console.print(f"  style shift {shift.shift}, to {shift.adapted_score:+.3f}")
        console.print(f"  {shift.fraction.percent()} of the way to real pictures of the style")
    if picture:
        rows.append(("real pictures", [bench.style_pictures.images[i] for i in bench.chosen]))
        shown = slice(0, 24, 3)  # not every second or fourth, which would show the same subjects again and again
        sheet([(label, pictures[shown]) for label, pictures in rows], bench.prompts[shown]).save(picture)
        console.print(f"Picture: {escape(str(picture))}", highlight=False)


@click.group()
def fixtures() -> None:
    """Make and verify the models, data sets and adapters that notebooks are graded with."""


@fixtures.command()
@click.option("--again", multiple=True, metavar="STAGE", help="Make this stage again (may be repeated).")
def build(again: tuple[str, ...]) -> None:
    """Make all fixtures, which takes about an hour and a half on two cores; an interrupted build goes on."""
    from graders.lora import catalog
    from graders.lora.fixtures.build import Build

    Build(catalog.ROOT, Console()).run(again)


@fixtures.command()
@shared.profile()
@options.model()
def fetch(profile: Path | None, model: str | None) -> None:
    """Download the models and data sets of a profile ahead, from the Hugging Face Hub; what was interrupted goes on."""
    if not (profile or model):
        raise click.UsageError("what is to be fetched? Give --profile FILE or --model HUB-ID.")
    options.named(profile, model).fetch(console := Console())
    console.print("All of it is on this machine.")


@fixtures.command()
def verify() -> None:
    """Recompute the hashes and the figures of the fixtures and compare them with the manifest."""
    from graders.lora import catalog
    from graders.lora.fixtures.verification import verify as check

    sys.exit(0 if check(catalog.ROOT, Console()) else 1)


@fixtures.command()
@shared.profile()
@shared.device()
def calibrate(profile: Path | None, device: str | None) -> None:
    """Derive the graders' thresholds again from the adapters of known nature.

    For the models and data of a profile such adapters are trained first, which takes hours with a model of true size on a
    GPU. What was interrupted goes on.
    """
    from graders.lora import catalog
    from graders.lora.fixtures import calibration

    if profile:
        calibration.calibrate_profile(options.named(profile).profile(), device or "auto", Console())
    else:
        calibration.calibrate(catalog.ROOT, Console())


@fixtures.command()
@click.option("--seeds", default=33, show_default=True, help="Trainings at each rank.")
def independence(seeds: int) -> None:
    """Train adapters from many seeds, disguise copies of known ones, and measure how well the two are told apart.

    An hour on two cores from nothing; it can be interrupted and goes on.
    """
    from graders.lora import catalog
    from graders.lora.fixtures.independence import measure

    measure(catalog.ROOT, seeds, Console())


@fixtures.command()
@click.option("--seeds", default=20, show_default=True, help="Trainings of each kind.")
def trials(seeds: int) -> None:
    """Train adapters of known nature from many seeds and count the false verdicts of the statistical checks.

    Two hours on two cores from nothing; it can be interrupted and goes on, and what is there already is only counted.
    """
    from graders.lora import catalog
    from graders.lora.fixtures import trials as many

    sys.exit(0 if many.run(catalog.ROOT, seeds, Console()) else 1)


COMMANDS = (style_shift, fixtures)
