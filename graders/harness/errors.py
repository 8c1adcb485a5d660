"""Errors that explain themselves: one line that says what is wrong, one that says what to do."""

from __future__ import annotations


class ExplainedError(Exception):
    """Something that was given, or is missing, keeps the graders from going on.

    ``problem`` and ``fix`` are sentences for whoever has to mend it.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix

    def __str__(self) -> str:
        return f"{self.problem}\n{self.fix}"


class HandInError(ExplainedError):
    """What was handed in is missing something or holds something that it must not: the hand-in's fault, in words."""


class MachineError(ExplainedError):
    """This machine, or what is installed on it, keeps the graders from going on."""


class TroubleError(ExplainedError):
    """The graders' own part of a run failed, which says nothing about the notebook: nobody knows how it would have ended."""
