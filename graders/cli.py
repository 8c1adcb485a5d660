"""The `grade` command."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from graders import options
from graders.batch.commands import autograder, batch, report, rescore
from graders.errors import ExplainedError
from graders.exercise import EXERCISES
from graders.fixtures.commands import fixtures
from graders.machine.packages import explained
from graders.result import Result
from graders.running.values import one_line

EXIT_UNGRADABLE, EXIT_FAULT = 2, 3


class _Commands(click.Group):
    """Exercises are commands of their own: `grade ex3`."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ExplainedError as error:
            _complain(error.problem, error.fix)
            ctx.exit(EXIT_UNGRADABLE)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if os.environ.get("GRADE_DEBUG"):
                raise
            if isinstance(error, ImportError) and (reason := explained(error)):
                _complain(reason.problem, reason.fix)
                ctx.exit(EXIT_UNGRADABLE)
            _complain(
                f"The graders failed ({type(error).__name__}: {error}).",
                "Run it with GRADE_DEBUG=1 and report what it says.",
            )
            ctx.exit(EXIT_FAULT)


def _complain(problem: str, fix: str) -> None:
    console = Console(stderr=True)
    console.print(f"[red]Cannot go on:[/] {_plain(problem)}", highlight=False)
    console.print(f"[dim]What to do:[/]   {_plain(fix)}", highlight=False)


def _plain(text: object) -> str:
    """Text in which names may be a hand-in's: on one line, without what steers terminals or marks up."""
    return escape(one_line(str(text), 1000))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lora-graders")
def main() -> None:
    """Grade the exercises of a lesson on LoRA fine-tuning of Stable Diffusion."""
    _quiet()


def _quiet() -> None:
    """Keep the libraries' own progress bars and advice off the terminal."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@contextmanager
def _progress(console: Console, what: str) -> Iterator[Any]:
    from graders.grading import Watcher

    with console.status(f"{what}: starting…") as status:

        def on_run(progress: Any) -> None:
            said = f": {escape(progress.text)}" if progress.text else ""
            status.update(f"{what}: running code cell {progress.cell} of {progress.of}{said}")

        yield Watcher(on_run, lambda title: status.update(f"{what}: checking: {escape(title)}"))


def _given(parameters: tuple[str, ...], device: str | None) -> dict[str, Any]:
    """NAME=VALUE as a mapping, with the device; a value that is no Python literal is taken as text."""
    parsed: dict[str, Any] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{parameter!r} is not NAME=VALUE", param_hint="--parameter")
        try:
            parsed[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[name] = value
    return parsed | ({"DEVICE": device} if device else {})


_parameters = click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Run it with this parameter instead.",
)
_device = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to run.")
_isolation = options.isolation("none", "bubblewrap is a sandbox, for notebooks that are not your own.")
_verbose = click.option("--verbose", is_flag=True, help="Also say what passing checks saw.")


def _before_run(exercise: str | None, given: dict[str, Any], isolation: str, console: Console) -> None:
    """Refuse what cannot come to anything on this machine, before torch is waited for, and warn of what may not."""
    from graders.feedback.doctor import show
    from graders.machine.examination import before_run

    for finding in before_run(exercise, given, isolation, Path.cwd()):
        show(finding, console)


def _grade(name: str, notebook: Path, given: dict[str, Any], console: Console, verbose: bool, isolation: str) -> Result:
    """Grade one notebook, keep everything in the folder .grade, and print the feedback."""
    from graders import grading
    from graders.feedback import terminal

    # Of "...ipynb" the stem is "..", which is the folder of all results, and would be emptied
    folder = Path.cwd() / ".grade" / name / (notebook.stem if notebook.stem.strip(".") else notebook.name)
    with _progress(console, name) as watcher:
        result = grading.grade(name, notebook, folder, given, watcher, within=grading.setting(isolation))
    terminal.render(result, console, title=grading.module_of(name).EXERCISE.title, verbose=verbose)
    faults = folder / "grader-faults.log"
    if faults.exists():
        console.print("The grader itself failed in a check, which costs no points. Tell your instructor and send")
        console.print(_plain(faults))
    return result


def _exercise(name: str) -> click.Command:
    @click.command(name, short_help=f"Run and grade a notebook of exercise {name[2:]}.")
    @click.argument("notebook", required=False, type=click.Path(path_type=Path))
    @click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the result here.")
    @_verbose
    @_parameters
    @_device
    @_isolation
    def command(
        notebook: Path | None,
        json_file: Path | None,
        verbose: bool,
        parameters: tuple[str, ...],
        device: str | None,
        isolation: str,
    ) -> None:
        # Taken now: while checks run, their own output is caught.
        console = Console(file=sys.stdout)
        given = _given(parameters, device)
        _before_run(name, given, isolation, console)
        from graders import grading

        notebook = notebook or grading.find_notebook(name, Path.cwd())
        if json_file and not json_file.absolute().parent.is_dir():
            raise grading.GradingError(
                f"There is no folder {json_file.parent}.", "Make it, or write the result elsewhere."
            )
        result = _grade(name, notebook, given, console, verbose, isolation)
        if json_file:
            result.save(json_file)
        sys.exit(result.exit_status)

    command.help = (
        f"Run NOTEBOOK afresh on the grading fixtures and grade it as {name}.\n\n"
        f"Without NOTEBOOK, looks for {name}*.ipynb here, then in assignments/."
    )
    return command


for _name in EXERCISES:
    main.add_command(_exercise(_name))


@main.command("all")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_verbose
@_device
@_isolation
def grade_all(folder: Path, verbose: bool, device: str | None, isolation: str) -> None:
    """Grade the notebooks of all exercises in FOLDER, one after the other."""
    console = Console(file=sys.stdout)
    _before_run(None, _given((), device), isolation, console)
    from graders import grading

    table = Table("exercise", "notebook", Column("points", justify="right"), box=None)
    statuses = []
    for name in EXERCISES:
        try:
            notebook = grading.find_notebook(name, folder)
            result = _grade(name, notebook, _given((), device), console, verbose, isolation)
        except ExplainedError as error:  # one missing notebook must not keep the others from being graded
            _complain(error.problem, error.fix)
            table.add_row(name, "", "not graded")
            statuses.append(EXIT_UNGRADABLE)
        else:
            table.add_row(name, _plain(notebook.name), f"{result.score:g} of {result.max_score:g}")
            statuses.append(result.exit_status)
    console.print()
    console.print(table)
    sys.exit(max(statuses))


@main.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_device
@_isolation
def reference(folder: Path, device: str | None, isolation: str) -> None:
    """Grade every reference solution in FOLDER (a checkout) on everything that hand-ins may meet.

    Fails unless each gets full marks with every set of parameters.
    """
    from graders import grading
    from graders.feedback import terminal

    console = Console(file=sys.stdout)
    failed = False
    for name in EXERCISES:
        notebook = folder / "reference_solutions" / f"{name}.ipynb"
        exercise = grading.module_of(name).EXERCISE
        for other in range(max(1, len(exercise.others))):
            place = Path.cwd() / ".grade" / "reference" / f"{name}-{other}"
            with _progress(console, name) as watcher:
                result = grading.grade(
                    name, notebook, place, _given((), device), watcher, other, grading.setting(isolation)
                )
            right = result.exit_status == 0
            failed = failed or not right
            shown = f", parameters {other + 1} of {len(exercise.others)}" if len(exercise.others) > 1 else ""
            mark = "[green]✓[/]" if right else "[red]✗[/]"
            console.print(f"{mark} {name}{shown}: {result.score:g} of {result.max_score:g}", highlight=False)
            if not right:
                terminal.render(result, console, title=exercise.title)
    sys.exit(1 if failed else 0)


@main.command()
@click.option("--sandbox", is_flag=True, help="Fail as well if other people's notebooks cannot be run safely here.")
@click.option("--network", is_flag=True, help="Ask as well whether the Hugging Face Hub can be reached.")
def doctor(sandbox: bool, network: bool) -> None:
    """Find out what is wrong with this machine, if anything is, and what helps.

    Looks at the packages, the models and data of the exercises, the GPU, memory, disk, and the cache of other models, and
    puts every promise of the sandbox to the test by an attempt to break it. Fails only if your own notebooks cannot be
    graded here, for which no sandbox is needed.
    """
    from graders.feedback.doctor import render
    from graders.machine.examination import examine

    own, others = render(examine(Path.cwd(), network=network), Console())
    sys.exit(0 if own and (others or not sandbox) else 1)


@main.command()
@click.argument("folder", default="lora-exercises", type=click.Path(path_type=Path, file_okay=False))
def start(folder: Path) -> None:
    """Put the exercises, with the models and data that they need, into FOLDER. Nothing that is there is replaced."""
    from graders.release import start as copy

    for notebook, new in copy(folder):
        click.echo(f"{notebook}{'' if new else ' is there already and stays as it is'}")
    click.echo(f"Go on with: cd {folder}, open assignments in Jupyter, and run grade ex1 whenever you want to know.")


@main.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--exercise", "exercises", multiple=True, type=click.Choice(EXERCISES), help="Only this one (repeat).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep notebooks, results and feedback here, and go on with what is here already.",
)
def zoo(folder: Path, exercises: tuple[str, ...], output: Path | None) -> None:
    """Grade every hand-in of the zoo in FOLDER (a checkout) and compare each verdict with what is known."""
    from graders import zoo as keeping
    from graders.feedback.zoo import render

    console = Console(file=sys.stdout)
    with TemporaryDirectory(prefix="grade-zoo-") as place:
        keeper = keeping.Keeper((output or Path(place)).resolve())
        try:
            futures = [
                future
                for name in exercises or EXERCISES
                for pen in [keeping.load(name, folder)]
                for future in keeper.grade(pen, pen.submissions).values()
            ]
            sys.exit(render(futures, console))
        finally:
            keeper.close()


@main.command("answers")
@click.argument("file", default="written-answers.csv", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--references",
    default="reference_solutions",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The reference solutions, which hold the questions and model answers.",
)
def collect_answers(file: Path, references: Path) -> None:
    """Collect the written answers of all hand-ins graded here into FILE, where a person enters points.

    Run it again after grading more, or after entering points: what was entered stays, and the points are added up.
    """
    from graders import answers as written

    found = written.collect(Path.cwd() / ".grade", references)
    if not found:
        raise written.PointsError("No hand-in has been graded in this folder.", "Grade some first: grade all FOLDER")
    if file.exists():
        found = written.with_points(found, written.read_points(file))
    written.write(found, file)
    table = Table("exercise", "hand-in", Column("read", justify="right"), Column("points", justify="right"), box=None)
    for exercise, hand_in in dict.fromkeys((a.exercise, a.hand_in) for a in found):
        mine = [a for a in found if (a.exercise, a.hand_in) == (exercise, hand_in)]
        given = [a.points for a in mine if a.points is not None]
        table.add_row(
            exercise, _plain(hand_in), f"{len(given)} of {len(mine)}", f"{sum(given):g} of {sum(a.of for a in mine):g}"
        )
    console = Console()
    console.print(table)
    console.print(f"{escape(str(file))}: enter points in the last column, then run this again.", highlight=False)


@main.command("style-shift")
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

    The captions of REFERENCE are painted with and without the adapter from the same noise. 0 % is the base model,
    100 % a real picture of the style.
    """
    console = Console()
    with console.status("Loading…"):
        from graders.checks.adaptation import Adaptation
        from graders.checks.adapter_files import read_adapter
        from graders.checks.comparison import sheet
        from graders.fixtures import catalog

        bench = Adaptation(base, judge or catalog.JUDGE, reference, plain, device)
        loaded = {path: read_adapter(path, bench.painter.unet) for path in adapters}
    rows: list[tuple[str, Any]] = []
    for path, adapter in loaded.items():
        with console.status(f"Painting with {escape(str(path))}…"):
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


@main.command()
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
def release(folder: Path) -> None:
    """Write assignments/ from reference_solutions/ in FOLDER (a checkout of the graders)."""
    from graders.release import release as make

    for solution in sorted((folder / "reference_solutions").glob("*.ipynb")):
        assignment = folder / "assignments" / solution.name
        make(solution, assignment)
        click.echo(assignment)


for _command in (batch, rescore, report, autograder, fixtures):
    main.add_command(_command)
