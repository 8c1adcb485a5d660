"""The lesson on LoRA fine-tuning of Stable Diffusion: everything that the harness may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graders.harness.exhibits import Drawer, Exhibit
from graders.harness.finding import Finding
from graders.harness.lesson import Alike, Exercise, Lesson, Outline
from graders.harness.profile import Profile
from graders.lora import catalog
from graders.lora.fixtures import digests
from graders.lora.misconceptions import MISCONCEPTIONS
from graders.lora.true_size import TRUE_UNET

if TYPE_CHECKING:
    from graders.harness.hand_in import Evidence, HandIn
    from graders.harness.result import Result

_HERE = Path(__file__).parent


class _Lora(Lesson):
    """What a lesson does only when it is asked, so that nothing is imported before it is needed."""

    @cached_property
    def standard(self) -> Profile:
        from graders.lora.profile import STANDARD

        return STANDARD

    def profile_options(self) -> Sequence[Callable[[Any], Any]]:
        from graders.lora import options

        return (options.model(),)

    def read_profile(self, file: Path | None, **options: Any) -> tuple[Profile, str | None]:
        from graders.lora.options import named

        asked = named(file, options.get("model"))
        return asked.profile(), asked.python

    def ensure_gradable(self, profile: Profile, exercise: Exercise, parameters: Mapping[str, Any]) -> None:
        from graders.lora.gradable import ensure_gradable

        ensure_gradable(profile, exercise, parameters)  # type: ignore[arg-type]

    def ensure_decides(self, profile: Profile, exercises: Iterable[str], *, calibrated: bool = False) -> None:
        from graders.lora.measures import thresholds

        check = thresholds.ensure if calibrated else thresholds.ensure_decides
        check(profile, tuple(exercises))  # type: ignore[arg-type]

    def sightings(self, evidence: Evidence) -> Mapping[str, int]:
        from graders.lora.sightings import read

        return read(evidence)

    def exhibits(self, exercise: str, hand_in: HandIn, result: Result) -> Iterator[Exhibit]:
        from graders.lora.exhibits import exhibits

        return exhibits(exercise, hand_in.evidence, {check.id: check.measured for check in result.checks})

    def drawers(self) -> Mapping[str, Drawer]:
        from graders.lora.figures.drawers import drawers

        return drawers()

    def alike(self, exercise: str, runs: Mapping[Any, Evidence], profiles: Mapping[Any, Profile]) -> Iterator[Alike]:
        if not self.exercise(exercise).seeds:
            return iter(())
        from graders.lora.alike import alike

        return alike(runs, profiles, self.exercise(exercise).parameters["RANKS"])  # type: ignore[arg-type]

    def advice(self, run: Mapping[str, Any]) -> Iterator[str]:
        if (unets := run.get("unets_at_once", 0)) > 1:
            yield (
                f"{unets} U-Nets were in memory at once. With Stable Diffusion 1.5 each takes {TRUE_UNET / 1e9:.1f} GB before "
                "anything is computed: delete one before you load the next, or keep one and put the adapters on and off."
            )

    def before_run(self, exercise: str | None, parameters: Mapping[str, Any], isolation: str) -> Iterator[Finding]:
        from graders.lora.examination import before_run

        return before_run(exercise, parameters, isolation)

    def extra_memory(self, exercise: str, parameters: Mapping[str, Any]) -> int:
        from graders.lora.examination import extra_memory

        return extra_memory(exercise, parameters)

    def examine(self, *, network: bool) -> Iterator[tuple[str, Iterator[Finding]]]:
        from graders.lora.examination import examine

        return examine(network=network)

    def commands(self) -> Sequence[Any]:
        from graders.lora.commands import COMMANDS

        return COMMANDS

    def for_students(self) -> Sequence[str]:
        return catalog.FOR_STUDENTS


LESSON = _Lora(
    name="lora",
    version=version("lora-graders"),
    title="LoRA fine-tuning of Stable Diffusion",
    home=_HERE,
    # What `python -m tests.harness.machine.needs` printed of each reference solution, with both its runs and the checks, on the
    # CPU and two cores, with torch 2.13.0+cpu, diffusers 0.42.1 and Python 3.11. Exercises 3 and 4 ran with
    # `-p NUM_INFERENCE_STEPS=2`, and 3 with `-p STEPS=10`: it takes more time to do the same more often, and no more memory.
    outlines={
        "ex1": Outline("graders.ex1", points=20, memory=932 << 20, disk=1 << 20, seconds=10),
        "ex2": Outline("graders.ex2", points=25, memory=1160 << 20, disk=42 << 20, seconds=20),
        "ex3": Outline("graders.ex3", points=35, memory=1545 << 20, disk=3 << 20, seconds=150),
        "ex4": Outline("graders.ex4", points=20, memory=1154 << 20, disk=2 << 20, seconds=40),
    },
    notebooks=catalog.data_folder("assignments"),
    fixtures=digests.fixtures(),
    misconceptions=MISCONCEPTIONS,
    solutions=_HERE.parent / "reference_solutions",
    zoo=_HERE.parent / "tests" / "submissions",
    watchers=_HERE / "lora" / "watchers.py",
    libraries="graders.lora.libraries",
    distributions=("torch", "diffusers", "peft", "transformers", "datasets", "numpy"),
    further_parameters=("PRECISION",),
    shared=(
        "lora/__init__.py", "lora/api.py",
        *(f"lora/measures/{name}.py" for name in ("__init__", "clip", "pictures", "statistics", "style")),
    ),
    undecisive=("harness", "lesson.py", "lora/commands.py", "lora/figures", "lora/options.py"),
    for_instructors=("ex3",),
)  # fmt: skip
