"""Which exercises a notebook holds, told by what it assigns, and which of its cells each of them needs.

A class may hand in one notebook with all exercises in it. It is graded for each, and then no more of it runs than that one needs.
"""

from __future__ import annotations

from collections.abc import Sequence

from nbformat import NotebookNode

from graders.harness.data.names import exercises_named
from graders.harness.lesson import Exercise
from graders.harness.run import source
from graders.harness.run.dataflow import Notebook
from graders.harness.run.notebook import NotebookError, parameter_cells

HOLDS, LACKS = 0.5, 0.25
"""The share of an exercise's names that a notebook assigns at least if it holds it, and at most if it does not."""


class Contents:
    """What a notebook holds of the ``exercises`` of a lesson; ``cells`` are its code cells."""

    def __init__(self, notebook: NotebookNode, exercises: Sequence[Exercise]) -> None:
        self._exercises = {exercise.name: exercise for exercise in exercises}
        self.cells = source.code(notebook)
        self._known = Notebook(self.cells)
        self._flows = self._known.flows
        self._results = {name for exercise in exercises for name in exercise.hand_in}
        self._filled = set[str]().union(*(flow.fills for flow in self._flows))
        homes = {cell.id for cell in parameter_cells(notebook, {name for one in exercises for name in one.parameters})}
        self._homes = [at for at, cell in enumerate(self.cells) if cell.id in homes]

    @property
    def held(self) -> list[str]:
        """The exercises that it holds, in the order of the lesson."""
        return [
            name
            for name, exercise in self._exercises.items()
            if self._share(name) >= HOLDS and len(self._filled & {*exercise.hand_in}) >= HOLDS * len(exercise.hand_in)
        ]

    def ensure_meant(self, name: str) -> None:
        """:class:`NotebookError` if it is plainly the notebook of another exercise."""
        held = self.held
        if held and name not in held and self._share(name) <= LACKS:
            listed = " and ".join(f"exercise {one[2:]}" for one in held)
            raise NotebookError(
                f"This looks like {listed}, not like exercise {name[2:]}.",
                f"Hand in the notebook of exercise {name[2:]}, or grade this one with: grade {held[0]} NOTEBOOK",
            )

    def left_out(self, name: str) -> list[str] | None:
        """The ids of the cells that do not run for one of several exercises that it holds; None if it holds no more than that."""
        held = self.held
        if name not in held or len(held) < 2:
            return None
        begins, ends = self._section(name, held)
        parameters = self._exercises[name].parameters.keys()
        before = [at for at in self._homes if at <= ends]
        home = max(before, key=lambda at: (len(self._flows[at].binds & parameters), at), default=None)
        needed = self._known.needed({*range(begins, ends + 1)} | ({home} if home is not None else set()))
        # A cell that does not compile would end the run, and does so where it belongs to this exercise
        needed -= {at for at, cell in enumerate(self.cells) if cell.fault and not begins <= at <= ends}
        return [cell.id for at, cell in enumerate(self.cells) if at not in needed]

    def _section(self, name: str, held: Sequence[str]) -> tuple[int, int]:
        """The first and the last cell of an exercise: the last that fills what is to be handed in, before another one begins."""
        own, hand_in = self._signs(name, held), {*self._exercises[name].hand_in}
        others = [self._signs(other, held) for other in held if other != name]
        inputs = {sign for signs in others for sign in signs if sign not in self._results}
        results = {sign for signs in others for sign in signs if sign in self._results}
        touched = [flow.uses | flow.fills if at not in self._homes else set() for at, flow in enumerate(self._flows)]
        fills = [at for at, flow in enumerate(self._flows) if flow.fills & hand_in]
        begins = next((at for at, names in enumerate(touched) if names & own), fills[0])
        titled = [self._titled(at) & {*held} for at in range(len(self.cells))]
        begins = max((at for at in range(begins + 1) if titled[at] == {name}), default=begins)
        foreign = [
            bool(titled[at] - {name} or (flow.uses | flow.fills) & inputs or flow.fills & results)
            or (bool(flow.uses & results) and at not in fills)
            for at, flow in enumerate(self._flows)
        ]
        # As far as what it fills outweighs what is plainly of other exercises: names that one needs, another may use by chance
        best, ends, seen, passed = -1, begins, set[str](), 0
        for at in range(begins, len(self.cells)):
            passed += foreign[at] and at > begins
            seen |= self._flows[at].fills & hand_in
            if len(seen) - passed > best:
                best, ends = len(seen) - passed, at
        stop = next((at for at in range(ends + 1, len(foreign)) if foreign[at] or at in self._homes), len(foreign))
        return begins, max((at for at in fills if begins <= at < stop), default=ends)

    def _share(self, name: str) -> float:
        names = self._signs(name, [*self._exercises]) | {*self._exercises[name].hand_in}
        return len(names & self._filled) / len(names)

    def _signs(self, name: str, among: Sequence[str]) -> set[str]:
        """The names that stand for one exercise: parameters of no other or, where there are none, what is to be handed in."""
        others = {parameter for other in among if other != name for parameter in self._exercises[other].parameters}
        return self._exercises[name].parameters.keys() - others or {*self._exercises[name].hand_in}

    def _titled(self, at: int) -> set[str]:
        return {one for heading in self.cells[at].headings for one in exercises_named(heading)}
