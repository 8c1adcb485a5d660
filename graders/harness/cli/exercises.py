"""Exercises as they are named on the command line: `ex3`, or `lora/ex3` to say of which lesson."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from graders.harness import lessons


def named(text: str) -> str:
    """The name of the exercise; if it says of which lesson, that one is meant from here on. Raises :class:`LessonError`."""
    lesson, slash, exercise = text.rpartition("/")
    if slash:
        lessons.mean(lesson)
    return exercise


def mean_lesson_of(ctx: click.Context) -> None:
    """Have the lesson meant that the results which a command is about name, if they name one."""
    from graders.harness.course import settings

    if results := ctx.params.get("results") or ctx.params.get("output"):
        settings.mean_lesson(results)


class ExerciseName(click.ParamType[str, str]):
    """An exercise of the lesson that is meant."""

    name = "exercise"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Its name."""
        name = named(value)
        if ctx:
            mean_lesson_of(ctx)
        if name not in lessons.meant().names:
            self.fail(f"{value!r} is not one of {', '.join(lessons.meant().names)}.", param, ctx)
        return name

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """As it is shown in help."""
        return "EXERCISE"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The exercises that begin so."""
        return [CompletionItem(name) for name in lessons.meant().names if name.startswith(incomplete)]
